"""The sandbox as the front ends see it: a `WalletHost` whose network lives in this process.

Opening a wallet starts the practice network; closing ends it. That network is a whole Leyden twice over, so it is
imported only then: the window is there sooner.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from wallet.node.host import Host

if TYPE_CHECKING:
    from wallet.node.node import Node
    from wallet.node.options import NodeOptions
    from wallet.sandbox.network import Sandbox

__all__ = ["SandboxHost"]


class SandboxHost(Host):
    """`WalletHost` on play money."""

    def __init__(self, options: NodeOptions, *, first_coins_sat: int = 0) -> None:
        """`first_coins_sat`: what the faucet gives to a wallet that has never had anything."""
        super().__init__(
            replace(options, network_name="sandbox"),
            prepare=self._prepare_sandbox,
            started=self._attach,
            closed=self._close_sandbox,
        )
        self._sandbox: Sandbox | None = None
        self._first_coins_sat = first_coins_sat

    async def _prepare_sandbox(self, options: NodeOptions) -> NodeOptions:
        from wallet.sandbox.network import Sandbox

        if self._sandbox is None:
            sandbox = Sandbox(options)
            address = await sandbox.start()
            self._sandbox, self._address = sandbox, address
        return replace(
            options, servers=(self._address,), single_server_ok=True, listen=(self._address.host, 0)
        )

    def _attach(self, node: Node) -> None:
        if self._sandbox is not None:
            self._sandbox.attach(node)
            if self._first_coins_sat and not node.views.activity_page(offset=0, limit=1).total:
                self._welcome = asyncio.get_running_loop().create_task(
                    self._sandbox.welcome(self._first_coins_sat)
                )

    async def _close_sandbox(self) -> None:
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            await sandbox.close()

    @staticmethod
    def reset(options: NodeOptions) -> None:
        """Throws the practice network and its wallets away, for a fresh start."""
        for name in ("sandbox-chain", "sandbox-peers", "sandbox"):
            shutil.rmtree(options.root / name, ignore_errors=True)
