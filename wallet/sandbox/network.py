"""The practice network and its controls: a chain, an Electrum server on it, the hub, the shop, and a timer that mines
a block now and then. The chain is kept in the sandbox's folder, so practice goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Future
from typing import TYPE_CHECKING, cast

from wallet.bitcoin.address import address_to_script
from wallet.chain.electrum.session import ServerAddress
from wallet.chain.interfaces import LogLevel
from wallet.i18n import _
from wallet.node.commands import run
from wallet.node.futures import run_on
from wallet.node.sentences import sat_text
from wallet.sandbox.chain import SandboxChain
from wallet.sandbox.electrum_server import SandboxElectrumServer
from wallet.sandbox.peers import LOCALHOST, FriendlyPeer
from wallet.sandbox.seller import ChannelSeller, channel_price_sat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wallet.node.node import Node
    from wallet.node.options import NodeOptions

__all__ = ["Sandbox"]

BLOCK_INTERVAL_SECONDS = 20.0
HUB_COINS_SAT = 500_000_000
HUB_TO_SHOP_SAT = 20_000_000
FIRST_BLOCKS = 110
"""Enough for the first coinbases to be spendable."""
CONFIRM_BLOCKS = 6


class Sandbox:
    """The practice network: chain, server, hub, shop. Everything runs on the network loop."""

    def __init__(self, options: NodeOptions) -> None:
        self._options = options
        self._folder = options.root / "sandbox-chain"
        self.chain: SandboxChain
        self.server: SandboxElectrumServer
        self.hub: FriendlyPeer
        self.shop: FriendlyPeer
        self.seller: ChannelSeller
        self._miner: asyncio.Task[None] | None = None
        self._node: Node | None = None
        self._loop = asyncio.get_running_loop()

    async def start(self) -> ServerAddress:
        """Starts everything; where its server listens."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.chain = SandboxChain.load(self._folder)
        if self.chain.height < FIRST_BLOCKS:
            self.chain.mine(FIRST_BLOCKS - self.chain.height)
        self.server = SandboxElectrumServer(self.chain)
        port = await self.server.start()
        address = ServerAddress(LOCALHOST, port, False)
        self.hub = await FriendlyPeer.start("hub", self._options, address)
        self.shop = await FriendlyPeer.start("shop", self._options, address)
        self.seller = ChannelSeller(self.hub.opened.node)
        self.seller.start()
        await self._prepare_peers()
        self._miner = self._loop.create_task(self._mine_now_and_then())
        return address

    async def _prepare_peers(self) -> None:
        """Gives the hub coins and a channel to the shop, the first time."""
        await self.hub.call("wait_for_sync")
        await self.shop.call("wait_for_sync")
        await self.hub.call("add_peer", connection_string=str(self.shop.uri))
        channels = cast("list[Mapping[str, object]]", await self.hub.call("list_channels", active=False))
        if any(channel["state"] in ("OPEN", "OPENING") for channel in channels):
            return
        address = cast("str", await self.hub.call("getunusedaddress"))
        self.chain.faucet(address_to_script(address, self._options.network), HUB_COINS_SAT)
        self.chain.mine(1)
        await self._until(lambda: self.hub.opened.node.snapshot().balance.onchain_confirmed_sat > 0)
        await self.hub.call(
            "open_channel",
            connection_string=str(self.shop.uri),
            amount_sat=HUB_TO_SHOP_SAT,
            push_sat=HUB_TO_SHOP_SAT // 2,
        )
        await self._until(lambda: bool(self.chain.mempool_txids()))
        self.chain.mine(CONFIRM_BLOCKS)
        await self._until(
            lambda: any(channel.is_usable for channel in self.hub.opened.node.snapshot().channels)
        )

    async def _until(self, ready: Callable[[], bool]) -> None:
        """Waits for the hub to come to where `ready()` holds."""
        node = self.hub.opened.node
        version = node.views.version
        while not ready():
            version = await node.views.changed_since(version)

    async def _mine_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(BLOCK_INTERVAL_SECONDS)
            self.chain.mine(1)

    async def close(self) -> None:
        if self._miner is not None:
            self._miner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._miner
        await self.seller.close()
        await self.shop.close()
        await self.hub.close()
        await self.server.stop()
        self.chain.save()

    # --- SandboxControl, from any thread ------------------------------------------------

    def attach(self, node: Node) -> None:
        """The wallet that the controls serve."""
        self._node = node
        node.sandbox_control = self
        node.own_names[bytes(self.hub.uri.node_id)] = _("The hub")
        node.own_names[bytes(self.shop.uri.node_id)] = _("The shop")
        with node.core.entry():
            for peer in (self.hub, self.shop):
                # At each start they listen on another port.
                node.peers.moved(peer.uri)

    def mine(self, blocks: int = 1) -> Future[int]:
        async def work() -> int:
            self.chain.mine(blocks)
            return self.chain.height

        return run_on(self._loop, work())

    def give_coins(self, amount_sat: int) -> Future[str]:
        async def work() -> str:
            node = self._wallet()
            address = cast("str", await run(node, "getunusedaddress", {}))
            node.log(LogLevel.INFO, "the faucet gives %s", sat_text(amount_sat))
            return self.chain.faucet(address_to_script(address, self._options.network), amount_sat)

        return run_on(self._loop, work())

    async def welcome(self, amount_sat: int) -> None:
        """The first coins, confirmed; on the loop."""
        node = self._wallet()
        await node.electrum.wait_synced()
        with node.core.entry():
            script = address_to_script(node.onchain.unused_address(), self._options.network)
        self.chain.faucet(script, amount_sat)
        self.chain.mine(1)

    def hub_uri(self) -> str:
        return str(self.hub.uri)

    def channel_price_sat(self, capacity_sat: int) -> int:
        return channel_price_sat(capacity_sat)

    def buy_channel(self, capacity_sat: int) -> Future[str]:
        async def work() -> str:
            bought = cast(
                "Mapping[str, str]",
                await run(
                    self._wallet(),
                    "buy_channel",
                    {
                        "peer": self.hub_uri(),
                        "amount_sat": capacity_sat,
                        "max_fee_sat": channel_price_sat(capacity_sat),
                    },
                ),
            )
            return bought["sentence"]

        return run_on(self._loop, work())

    def shop_invoice(self, amount_msat: int, description: str) -> Future[str]:
        async def work() -> str:
            request = cast(
                "Mapping[str, str]",
                await self.shop.call(
                    "add_request", amount_msat=amount_msat, message=description, lightning=True
                ),
            )
            return request["lightning_invoice"]

        return run_on(self._loop, work())

    def shop_pay(self, invoice: str) -> Future[str]:
        async def work() -> str:
            paid = cast("Mapping[str, str]", await self.shop.call("lnpay", invoice=invoice))
            return paid.get("preimage") or ""

        return run_on(self._loop, work())

    def _wallet(self) -> Node:
        if self._node is None:
            raise RuntimeError("no wallet is open")
        return self._node
