"""Wallets on this computer, and the thread that a running one lives on.

`NodeThread` is the asyncio loop of the node in a thread of its own. `Host` is the `WalletHost` of the front ends: it
lists, creates, unlocks and closes wallets; one is open at a time.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import hmac
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar

from wallet.bitcoin import bip39
from wallet.bitcoin.errors import DecodeError
from wallet.chain.interfaces import FeeEstimator, Row
from wallet.i18n import _
from wallet.node.api import CommandError, NodeApi, WalletInfo, WordsReport
from wallet.node.node import SECRET_SPACE, WORDS_KEY, Node
from wallet.node.options import NodeOptions
from wallet.node.store import Store, StoreError, WalletLock, WrongPassword

__all__ = ["Host", "NodeThread", "create_wallet_file", "open_node"]

T = TypeVar("T")
WALLET_FILE = "wallet.leyden"
LOCK_FILE = "lock"
ELECTRUM_SEED_VERSIONS = ("01", "100", "101", "102")
AEZEED_FIRST_WORDS = frozenset(bip39.ENGLISH[:8])
"""LND's words begin with a version byte of 0: their first eleven bits are below 8."""
_WORD_SET = frozenset(bip39.ENGLISH)


class NodeThread:
    """An asyncio loop in a thread: the network loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="leyden-network", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Runs a coroutine on the loop, from any other thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def stop(self) -> None:
        """Ends the loop; whatever ran on it has to be finished before."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()


def create_wallet_file(options: NodeOptions, words: Sequence[str], password: str) -> None:
    """Makes the wallet's folder and file, durable when it returns; raises `CommandError`."""
    try:
        bip39.mnemonic_to_entropy(list(words))
    except DecodeError as error:
        raise CommandError(str(error), code="words") from None
    try:
        options.wallet_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = Store.create(options.wallet_file, network=options.network_name, password=password)
        try:
            store.write_now((Row(SECRET_SPACE, WORDS_KEY, " ".join(words).encode()),))
        finally:
            store.close()
    except StoreError as error:
        raise CommandError(str(error), code="file") from None
    except OSError as error:
        raise CommandError(
            _("The wallet could not be written to {path}: {why}.").format(
                path=options.wallet_dir, why=error.strerror or error
            ),
            code="file",
        ) from None


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
    """Unlocks and starts a wallet on the running loop; raises `CommandError`."""
    loop = asyncio.get_running_loop()
    try:
        lock = WalletLock(options.wallet_dir / LOCK_FILE)
    except FileNotFoundError:
        raise CommandError(
            _("There is no wallet {name!r} here. `leyden create` makes one.").format(
                name=options.wallet_name
            ),
            code="unknown",
        ) from None
    except StoreError as error:
        raise CommandError(str(error), code="locked") from None
    with contextlib.ExitStack() as undo:
        undo.callback(lock.release)
        try:
            store = await loop.run_in_executor(
                None, lambda: Store.open(options.wallet_file, password=password)
            )
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
        words = store.read_row(SECRET_SPACE, WORDS_KEY)
        if words is None:
            store.close()
            raise CommandError(_("The wallet file has no words in it: it is damaged."), code="file")
        try:
            seed = bip39.seed_from_mnemonic(words.decode().split())
            node = Node(options, store, bip39_seed=seed, loop=loop, fee_estimator=fee_estimator)
        except (DecodeError, StoreError) as error:
            store.close()
            raise CommandError(
                _("The wallet file cannot be read ({why}). Keep a copy of it and ask for help.").format(
                    why=error
                ),
                code="file",
            ) from None
        try:
            await node.start()
        except OSError as error:
            await node.stop()
            raise CommandError(
                _("Leyden cannot listen on {address}: {why}. Is another program using the port?").format(
                    address=options.listen, why=error.strerror or error
                ),
                code="port",
            ) from None
        undo.pop_all()
    return OpenNode(node, lock)


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

    def _loop_thread(self) -> NodeThread:
        if self._thread is None:
            self._thread = NodeThread()
        return self._thread

    def _for_network(self, network: str, name: str) -> NodeOptions:
        return replace(self._options, network_name=network, wallet_name=name)

    # --- WalletHost -------------------------------------------------------------------

    def wallets(self, network: str) -> Sequence[WalletInfo]:
        folder = self._for_network(network, "x").wallet_dir.parent
        found = []
        for path in sorted(folder.glob(f"*/{WALLET_FILE}")):
            if self._open is not None and self._open.node.options.wallet_file == path:
                encrypted = False
            else:
                try:
                    encrypted = Store.is_encrypted(path)
                except StoreError:
                    encrypted = True
            found.append(WalletInfo(name=path.parent.name, network=network, path=path, encrypted=encrypted))
        return found

    def new_words(self, count: int = 12) -> Sequence[str]:
        return bip39.mnemonic_from_entropy(os.urandom({12: 16, 24: 32}[count])).split()

    def complete_word(self, prefix: str) -> Sequence[str]:
        return bip39.words_starting_with(prefix.strip().lower())

    def check_words(self, words: Sequence[str]) -> WordsReport:
        return check_words(words)

    def create(
        self, *, network: str, name: str, words: Sequence[str], password: str, restored: bool
    ) -> Future[WalletInfo]:
        options = self._for_network(network, name)

        def work() -> WalletInfo:
            create_wallet_file(options, words, password)
            return WalletInfo(name=name, network=network, path=options.wallet_file, encrypted=bool(password))

        return _in_thread(work)

    def open(self, info: WalletInfo, password: str) -> Future[NodeApi]:
        return self._loop_thread().submit(
            self._open_wallet(self._for_network(info.network, info.name), password)
        )

    async def _open_wallet(self, options: NodeOptions, password: str) -> NodeApi:
        if self._open is not None:
            await self._close_open()
        if self._prepare is not None:
            options = await self._prepare(options)
        self._open = await open_node(options, password, fee_estimator=self._fee_estimator)
        self._started(self._open.node)
        return self._open.node

    def close(self) -> Future[None]:
        return self._loop_thread().submit(self._close_all())

    async def _close_open(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            await opened.close()

    async def _close_all(self) -> None:
        await self._close_open()
        if self._closed is not None:
            await self._closed()


def _in_thread(work: Callable[[], T]) -> Future[T]:
    future: Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, name="leyden-set-up", daemon=True).start()
    return future


def check_words(words: Sequence[str]) -> WordsReport:
    """What a list of words is, and what it can bring back in Leyden."""
    cleaned = [word.strip().lower() for word in words if word.strip()]
    wrong = tuple(index for index, word in enumerate(cleaned) if word not in _WORD_SET)
    if not cleaned:
        return WordsReport(kind="invalid", usable=False, message=_("Type your words, one after the other."))
    if _is_electrum_seed(cleaned):
        return WordsReport(
            kind="electrum",
            usable=False,
            message=_(
                "These are words of an Electrum wallet. Leyden derives its "
                "keys another way and cannot bring its coins back: "
                "open them in Electrum and send the coins here."
            ),
        )
    if len(cleaned) == 24 and not wrong and not _valid(cleaned) and cleaned[0] in AEZEED_FIRST_WORDS:
        return WordsReport(
            kind="aezeed",
            usable=False,
            message=_(
                "These look like words of an LND node. Leyden cannot restore that kind: sweep its coins with LND."
            ),
        )
    if wrong:
        positions = ", ".join(str(index + 1) for index in wrong[:5])
        return WordsReport(
            kind="invalid",
            usable=False,
            message=_("These words are not in the list: number {positions}. Check their spelling.").format(
                positions=positions
            ),
            wrong_words=wrong,
        )
    if len(cleaned) not in (12, 15, 18, 21, 24):
        return WordsReport(
            kind="invalid",
            usable=False,
            message=_("{count} words so far: a wallet has 12 or 24.").format(count=len(cleaned)),
        )
    if not _valid(cleaned):
        return WordsReport(
            kind="invalid",
            usable=False,
            message=_(
                "One of the words is not the right one, or two are swapped: their checksum does not fit."
            ),
        )
    return WordsReport(
        kind="leyden",
        usable=True,
        message=_(
            "These words bring back the on-chain coins, and what peers "
            "pay out of channels that they close. Open channels "
            "need the channel backup as well."
        ),
    )


def _valid(words: list[str]) -> bool:
    try:
        bip39.mnemonic_to_entropy(words)
    except DecodeError:
        return False
    return True


def _is_electrum_seed(words: list[str]) -> bool:
    """Electrum marks its seeds by an HMAC that begins with a version; a BIP39 seed does so by chance one time in 256,
    which is why a valid BIP39 checksum goes first."""
    if _valid(words) or len(words) < 12:
        return False
    digest = hmac.new(b"Seed version", " ".join(words).encode(), "sha512").hexdigest()
    return digest.startswith(ELECTRUM_SEED_VERSIONS)
