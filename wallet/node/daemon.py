"""The daemon: nodes that run without a window, and are told what to do over JSON-RPC.

It answers a handful of calls itself (`load_wallet`, `list_wallets`, `stop`, `ping`); every other one is a command for
the wallet that is loaded. It ends on `stop`, SIGTERM or SIGINT, with everything durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace

from wallet.chain.interfaces import FeeEstimator
from wallet.i18n import _
from wallet.node.api import CommandError, Json
from wallet.node.commands import by_place, find_command, from_words, run
from wallet.node.host import OpenNode, failed_within, open_node
from wallet.node.node import Node
from wallet.node.options import NodeOptions
from wallet.node.rpc import Params, RpcServer
from wallet.node.store import StoreError, WalletLock
from wallet.node.wallets import check_password, folder_refused, make_folder

__all__ = ["Daemon"]

LOCK_FILE = "daemon_lock"
OWN_PARAMETERS = {"load_wallet": ("wallet", "password"), "close_wallet": ("wallet",)}
"""In their order, for those who give them by place."""


class Daemon:
    """One network folder's daemon."""

    def __init__(
        self,
        options: NodeOptions,
        *,
        fee_estimator: FeeEstimator | None = None,
        started: Callable[[Node], None] = lambda node: None,
    ) -> None:
        self._options = options
        self._fee_estimator = fee_estimator
        self._started = started
        self._open: OpenNode | None = None
        self._opening = asyncio.Lock()
        self._stop = asyncio.Event()
        self._stopping = False
        self._rpc = RpcServer(options.network_dir, self.handle)

    async def serve(self, *, rpc_port: int = 0, wallet_password: str | None = None) -> None:
        """Runs until it is told to stop. Raises `CommandError` for what keeps it from starting."""
        folder = self._options.network_dir
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as undo:
            undo.callback(self._lock().release)
            for number in (signal.SIGTERM, signal.SIGINT):
                # Windows has no such handlers: there, Ctrl-C ends the loop.
                with contextlib.suppress(NotImplementedError):
                    loop.add_signal_handler(number, self._stop.set)
            try:
                port = await self._rpc.start(rpc_port)
                if wallet_password is not None:
                    await self._load(self._options.wallet_name, wallet_password)
                print(
                    _("Leyden is running; commands are taken on port {port}.").format(port=port), flush=True
                )
                await self._stop.wait()
            except OSError as error:
                raise folder_refused(folder, error) from None
            finally:
                self._stopping = True
                await self._rpc.close()
                await self._close_wallet()

    def _lock(self) -> WalletLock:
        """One daemon a folder. Raises `CommandError`."""
        folder = self._options.network_dir
        try:
            make_folder(folder)
            return WalletLock(folder / LOCK_FILE)
        except OSError as error:
            raise folder_refused(folder, error) from None
        except StoreError:
            raise CommandError(_("A daemon is running here already."), code="running") from None

    async def handle(self, method: str, params: Params) -> Json:
        """One call."""
        if method == "ping":
            return "pong"
        if self._stopping:
            raise CommandError(_("Leyden is stopping."), code="stopping")
        if method in OWN_PARAMETERS or method in ("stop", "list_wallets"):
            names = OWN_PARAMETERS.get(method, ())
            given = dict(params if isinstance(params, Mapping) else zip(names, params, strict=False))
            if unknown := [name for name in given if name not in names]:
                raise CommandError(
                    _("{name} takes no argument {argument!r}.").format(name=method, argument=unknown[0][:40]),
                    code="usage",
                )
            return await self._own(method, given)
        return await self._wallets_command(method, params)

    async def _own(self, method: str, params: Mapping[str, Json]) -> Json:
        name = str(params.get("wallet") or self._options.wallet_name)
        match method:
            case "stop":
                # Whoever asked may start another at once: the wallet is closed, and its lock free, when it is told so.
                self._stopping = True
                self._rpc.withdraw()
                await self._close_wallet()
                asyncio.get_running_loop().call_soon(self._stop.set)
                return _("Daemon stopped")
            case "load_wallet":
                return await self._load(name, str(params.get("password") or ""))
            case "close_wallet":
                if self._open is None or self._open.node.options.wallet_name != name:
                    return False
                await self._close_wallet()
                return True
            case _:
                return self._wallets()

    def _wallets(self) -> Json:
        if self._open is None:
            return []
        node = self._open.node
        synced = node.electrum.status().is_synced
        return [{"path": str(node.options.wallet_file), "synchronized": synced, "unlocked": True}]

    async def _wallets_command(self, method: str, params: Params) -> Json:
        """A command for the wallet that is loaded: by name, by place, or as it was typed."""
        if method == "command_line":
            name, words = _typed(params)
            found = find_command(name)
            arguments = from_words(found, words)
        else:
            found = find_command(method)
            arguments = dict(params) if isinstance(params, Mapping) else by_place(found, params)
        if self._open is None:
            raise CommandError(_("No wallet is loaded: `leyden load_wallet` opens one."), code="no_wallet")
        return await run(self._open.node, found.name, arguments)

    async def _close_wallet(self) -> None:
        async with self._opening:
            opened, self._open = self._open, None
            if opened is not None:
                await opened.close()

    async def _load(self, name: str, password: str) -> Json:
        options = replace(self._options, wallet_name=name)
        async with self._opening:
            if self._open is not None:
                if self._open.node.options.wallet_name == name:
                    return True
                # Before the other is closed for it: a mistyped name or password costs nothing.
                await asyncio.get_running_loop().run_in_executor(None, check_password, options, password)
                opened, self._open = self._open, None
                await opened.close()
            try:
                self._open = await open_node(options, password, fee_estimator=self._fee_estimator)
            except CommandError:
                raise
            except Exception as error:
                raise failed_within(_("Opening the wallet"), error) from error
            self._open.node.on_failure = self._failed
            self._started(self._open.node)
        return True

    def _failed(self, error: BaseException) -> None:
        """The file cannot be written: nothing more may leave. The next start goes on from the file."""
        print(
            _(
                "The wallet file cannot be written ({why}). Leyden stops; "
                "nothing was lost. Free some space, then start it again."
            ).format(why=error),
            file=sys.stderr,
            flush=True,
        )
        self._stop.set()


def _typed(params: Params) -> tuple[str, list[str]]:
    """The words of a command line; raises `CommandError`."""
    name = params.get("command") if isinstance(params, Mapping) else None
    words = params.get("words") if isinstance(params, Mapping) else None
    if not isinstance(name, str) or not isinstance(words, list):
        raise CommandError(_("A command line is a command and its words."), code="usage")
    return name, [str(word) for word in words]
