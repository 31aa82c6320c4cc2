"""Wallets on this computer, and the thread that a running one lives on.

`NodeThread` is the asyncio loop of the node in a thread of its own. `Host` is the `WalletHost` of the front ends: it
lists, creates, unlocks and closes wallets; one is open at a time.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from wallet.bitcoin import bip39
from wallet.bitcoin.errors import DecodeError
from wallet.chain.interfaces import FeeEstimator
from wallet.i18n import _
from wallet.node.api import BackupReport, CommandError, NodeApi, WalletInfo, WordsReport
from wallet.node.backup import BackupError, read_file
from wallet.node.futures import run_on
from wallet.node.generation import Generation
from wallet.node.options import NodeOptions
from wallet.node.store import Store, StoreError, WalletLock, WrongPassword
from wallet.node.take_over import daemon_holds, held_by_daemon, take_over
from wallet.node.wallets import (
    SECRET_SPACE,
    WALLET_FILE,
    WORDS_KEY,
    Restored,
    check_password,
    check_wallet_name,
    check_words,
    clean_words,
    create_wallet_file,
    lock_wallet,
    new_words,
    read_backup,
)
from wallet.node.warm_up import import_core

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__ = ["Host", "NodeThread", "OpenNode", "check_words", "create_wallet_file", "in_thread", "open_node"]

T = TypeVar("T")

# What is still under way when the network loop ends is given this long to notice.
LAST_TASKS_SECONDS = 5.0


class NodeThread:
    """An asyncio loop in a thread: the network loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="leyden-network", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.run_until_complete(_end_tasks())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Runs a coroutine on the loop, from any other thread."""
        return run_on(self.loop, work)

    def end(self) -> None:
        """Ends the loop, and the thread after it; whatever ran on it has to be finished before."""
        self.loop.call_soon_threadsafe(self.loop.stop)

    def stop(self) -> None:
        """Ends the loop and waits for the thread; from another one."""
        self.end()
        self._thread.join()


async def _end_tasks() -> None:
    """Cancels what is left on the running loop, and sees it end: whoever waits for it is told."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=LAST_TASKS_SECONDS)


class OpenNode:
    """A running node with its lock; `close` ends both."""

    def __init__(self, node: Node, lock: WalletLock) -> None:
        self.node = node
        self._lock = lock

    async def close(self) -> None:
        try:
            await self.node.stop()
        finally:
            self._lock.release()


async def open_node(
    options: NodeOptions, password: str, *, fee_estimator: FeeEstimator | None = None
) -> OpenNode:
    """Unlocks and starts a wallet on the running loop; raises `CommandError`, with everything let go again."""
    # The core is the most of what Leyden imports: the window is there before it, and asks for the password.
    from wallet.node.node import Node

    check_wallet_name(options.wallet_name)
    lock = lock_wallet(options)
    async with contextlib.AsyncExitStack() as undo:
        undo.callback(lock.release)
        store = await _open_store(options, password)
        undo.callback(store.close)
        try:
            words = store.read_row(SECRET_SPACE, WORDS_KEY)
            if words is None:
                raise CommandError(_("The wallet file has no words in it: it is damaged."), code="file")
            seed = bip39.seed_from_mnemonic(words.decode().split())
            loop = asyncio.get_running_loop()
            generation = await loop.run_in_executor(None, Generation.take, options.network_dir, store)
            undo.callback(generation.close)
            node = Node(
                options,
                store,
                bip39_seed=seed,
                loop=loop,
                fee_estimator=fee_estimator,
                generation=generation,
            )
        except StoreError as error:
            raise CommandError(str(error), code="file") from None
        except DecodeError as error:
            raise CommandError(
                _("The wallet file cannot be read ({why}). Keep a copy of it and ask for help.").format(
                    why=error
                ),
                code="file",
            ) from None
        undo.push_async_callback(node.stop)
        try:
            await node.start()
        except OSError as error:
            raise CommandError(
                _("Leyden cannot listen on {address}: {why}. Is another program using the port?").format(
                    address=":".join(map(str, options.listen or ())), why=error.strerror or error
                ),
                code="port",
            ) from None
        undo.pop_all()
    return OpenNode(node, lock)


async def _open_store(options: NodeOptions, password: str) -> Store:
    """The wallet's file, if it is of this network; raises `CommandError`."""
    loop = asyncio.get_running_loop()
    try:
        # In a thread: the password takes a second on purpose.
        store = await loop.run_in_executor(None, lambda: Store.open(options.wallet_file, password=password))
    except WrongPassword as error:
        raise CommandError(str(error), code="password") from None
    except StoreError as error:
        raise CommandError(str(error), code="file") from None
    if store.network != options.network_name:
        store.close()
        raise CommandError(
            _("This wallet belongs to {other}, not to {network}.").format(
                other=store.network, network=options.network_name
            ),
            code="network",
        )
    return store


class Host:
    """`WalletHost` for one network folder at a time.

    `started` is called on the network loop with each node that was opened, before the front end sees it: the
    sandbox uses it to hand over its controls.
    """

    def __init__(
        self,
        options: NodeOptions,
        *,
        prepare: Callable[[NodeOptions], Coroutine[Any, Any, NodeOptions]] | None = None,
        started: Callable[[Node], None] = lambda node: None,
        closed: Callable[[], Coroutine[Any, Any, None]] | None = None,
        fee_estimator: FeeEstimator | None = None,
    ) -> None:
        self._options = options
        self._prepare = prepare
        self._started = started
        self._closed = closed
        self._fee_estimator = fee_estimator
        self._thread: NodeThread | None = None
        self._open: OpenNode | None = None
        self._turns = asyncio.Lock()
        """Opening and closing take turns: of two wallets that are asked for at once, one is closed for the other."""

    def _loop_thread(self) -> NodeThread:
        if self._thread is None:
            self._thread, self._turns = NodeThread(), asyncio.Lock()
        return self._thread

    def _for_network(self, network: str, name: str) -> NodeOptions:
        return replace(self._options, network_name=network, wallet_name=name)

    # --- WalletHost -------------------------------------------------------------------

    def wallets(self, network: str) -> Sequence[WalletInfo]:
        folder = self._for_network(network, "x").wallet_dir.parent
        found, opened = [], self._open
        for path in sorted(folder.glob(f"*/{WALLET_FILE}")):
            if opened is not None and opened.node.options.wallet_file == path:
                # Not read a second time while it is open, and it may have a password since it was opened.
                encrypted = opened.node.store.has_password
            else:
                try:
                    encrypted = Store.is_encrypted(path)
                except StoreError:
                    encrypted = True
            found.append(WalletInfo(name=path.parent.name, network=network, path=path, encrypted=encrypted))
        return found

    def new_words(self, count: int = 12) -> Sequence[str]:
        return new_words(count)

    def complete_word(self, prefix: str) -> Sequence[str]:
        return bip39.words_starting_with(prefix.strip().lower())

    def check_words(self, words: Sequence[str]) -> WordsReport:
        return check_words(words)

    def check_channel_backup(self, *, network: str, words: Sequence[str], file: Path) -> Future[BackupReport]:
        def work() -> BackupReport:
            backups = read_backup(network, clean_words(words), _backup_data(file))
            return BackupReport(
                made_at=backups.made_at,
                channels=len(backups.channels),
                capacity_sat=sum(channel.channel_value_sat for channel in backups.channels),
                peers=tuple(sorted({channel.counterparty_node_id.hex() for channel in backups.channels})),
            )

        return in_thread(work)

    def create(
        self,
        *,
        network: str,
        name: str,
        words: Sequence[str],
        password: str,
        restored: bool,
        channel_backup: Path | None = None,
        old_installation_stopped: bool = False,
    ) -> Future[WalletInfo]:
        options = self._for_network(network, name)

        def work() -> WalletInfo:
            create_wallet_file(
                options,
                words,
                password,
                _restored(channel_backup, old_installation_stopped) if restored else None,
            )
            return WalletInfo(name=name, network=network, path=options.wallet_file, encrypted=bool(password))

        return in_thread(work)

    def open(self, info: WalletInfo, password: str) -> Future[NodeApi]:
        thread = self._loop_thread()
        return thread.submit(
            self._open_wallet(self._turns, self._for_network(info.network, info.name), password)
        )

    def is_running(self, info: WalletInfo) -> bool:
        opened = self._open
        return opened is not None and opened.node.options.wallet_file == info.path

    def take_over(self, info: WalletInfo, password: str) -> Future[None]:
        options = self._for_network(info.network, info.name)
        return in_thread(lambda: take_over(options, password))

    async def _open_wallet(self, turns: asyncio.Lock, options: NodeOptions, password: str) -> NodeApi:
        async with turns:
            return await self._open_in_turn(options, password)

    async def _open_in_turn(self, options: NodeOptions, password: str) -> NodeApi:
        if self._open is not None:
            # Before the wallet that is open is closed for it: a mistyped password costs nothing.
            await asyncio.get_running_loop().run_in_executor(None, check_password, options, password)
            running = self._open.node
            if running.options.wallet_file == options.wallet_file and not running.failure:
                return running
            await self._close_open()
        try:
            # Mostly there already, since the window was painted.
            await asyncio.get_running_loop().run_in_executor(None, import_core)
            if self._prepare is not None:
                options = await self._prepare(options)
            self._open = await open_node(options, password, fee_estimator=self._fee_estimator)
        except CommandError as error:
            loop = asyncio.get_running_loop()
            if error.code == "locked" and await loop.run_in_executor(None, daemon_holds, options):
                raise held_by_daemon() from None
            raise
        except Exception as error:
            raise failed_within(_("Opening the wallet"), error) from error
        self._started(self._open.node)
        return self._open.node

    def close(self) -> Future[None]:
        thread, self._thread = self._thread, None
        if thread is None:
            nothing: Future[None] = concurrent.futures.Future()
            nothing.set_result(None)
            return nothing
        closing = thread.submit(self._close_all(self._turns))
        closing.add_done_callback(lambda _closed: thread.end())
        return closing

    async def _close_open(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            await opened.close()

    async def _close_all(self, turns: asyncio.Lock) -> None:
        async with turns:
            await self._close_open()
            if self._closed is not None:
                await self._closed()


def _restored(channel_backup: Path | None, old_installation_stopped: bool) -> Restored:
    """Raises `CommandError`."""
    data = None if channel_backup is None else _backup_data(channel_backup)
    return Restored(backup=data, old_installation_stopped=old_installation_stopped)


def _backup_data(channel_backup: Path) -> bytes:
    """Raises `CommandError`."""
    try:
        return read_file(channel_backup)
    except BackupError as error:
        raise CommandError(str(error), code="backup") from None
    except OSError as error:
        raise CommandError(
            _("{path} cannot be read: {why}.").format(path=channel_backup, why=error.strerror or error),
            code="file",
        ) from None


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Does something that takes its time in a thread of its own."""
    future: Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, name="leyden-set-up", daemon=True).start()
    return future


def failed_within(what: str, error: Exception) -> CommandError:
    """A fault of ours: logged with where it was, told in a sentence."""
    logging.getLogger("leyden").error("%s failed", what, exc_info=error)
    return CommandError(
        _("{what} failed within Leyden ({kind}). Nothing was lost; the log says more.").format(
            what=what, kind=type(error).__name__
        ),
        code="internal",
    )
