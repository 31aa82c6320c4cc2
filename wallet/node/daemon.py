"""The daemon: nodes that run without a window, and are told what to do over JSON-RPC.

It answers a handful of calls itself (`load_wallet`, `list_wallets`, `stop`, `ping`); every other one is a command for
the wallet that is loaded. It ends on `stop`, SIGTERM or SIGINT, with everything durable.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace

from wallet.chain.interfaces import FeeEstimator
from wallet.i18n import _
from wallet.node.api import CommandError, Json
from wallet.node.commands import run
from wallet.node.host import OpenNode, open_node
from wallet.node.node import Node
from wallet.node.options import NodeOptions
from wallet.node.rpc import RpcServer

__all__ = ["Daemon"]


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

    async def serve(self, *, rpc_port: int = 0, wallet_password: str | None = None) -> None:
        """Runs until it is told to stop. Raises `CommandError` for what keeps it from starting."""
        folder = self._options.network_dir
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        rpc = RpcServer(folder, self.handle)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        try:
            port = await rpc.start(rpc_port)
        except OSError as error:
            raise CommandError(
                _("The port {port} for commands is taken ({why}).").format(port=rpc_port, why=error.strerror),
                code="port",
            ) from None
        try:
            if wallet_password is not None:
                await self._load(self._options.wallet_name, wallet_password)
            print(_("Leyden is running; commands are taken on port {port}.").format(port=port), flush=True)
            await self._stop.wait()
        finally:
            await rpc.close()
            if self._open is not None:
                await self._open.close()

    async def handle(self, method: str, params: Mapping[str, Json]) -> Json:
        """One call."""
        match method:
            case "ping":
                return "pong"
            case "stop":
                asyncio.get_running_loop().call_soon(self._stop.set)
                return _("Daemon stopped")
            case "load_wallet":
                name = params.get("wallet") or self._options.wallet_name
                return await self._load(str(name), str(params.get("password") or ""))
            case "list_wallets":
                if self._open is None:
                    return []
                return [
                    {"path": str(self._open.node.options.wallet_file), "synchronized": True, "unlocked": True}
                ]
            case _:
                if self._open is None:
                    raise CommandError(
                        _("No wallet is loaded: `leyden load_wallet` opens one."), code="no_wallet"
                    )
                return await self._run(self._open.node, method, params)

    @staticmethod
    async def _run(node: Node, method: str, params: Mapping[str, Json]) -> Json:
        try:
            return await run(node, method, params)
        except CommandError:
            raise
        except Exception as error:
            logging.getLogger("leyden").exception("the command %s failed", method)
            raise CommandError(
                _("{method} failed within Leyden ({kind}). Nothing was lost; the log says more.").format(
                    method=method, kind=type(error).__name__
                ),
                code="internal",
            ) from error

    async def _load(self, name: str, password: str) -> Json:
        async with self._opening:
            if self._open is not None:
                if self._open.node.options.wallet_name == name:
                    return True
                await self._open.close()
                self._open = None
            options = replace(self._options, wallet_name=name)
            self._open = await open_node(options, password, fee_estimator=self._fee_estimator)
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
