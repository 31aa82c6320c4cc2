"""The friendly peers of the sandbox: a hub that forwards and a shop behind it, both made of our own core.

Each is a whole `Node` on the network loop, with a wallet file of its own in the sandbox's folder, so what the person
practises with is what they will use. The hub takes channels from anybody, and keeps one to the shop.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wallet.bitcoin import bip39
from wallet.ln.config import ChannelConfig, ChannelHandshakeConfig, UserConfig
from wallet.node.commands import run
from wallet.node.host import OpenNode, create_wallet_file, open_node
from wallet.node.options import NodeOptions
from wallet.node.sockets import NodeUri

if TYPE_CHECKING:
    from wallet.chain.electrum.session import ServerAddress
    from wallet.node.api import Json

__all__ = ["FriendlyPeer"]

LOCALHOST = "127.0.0.1"

FRIENDLY_CONFIG = UserConfig(
    channel_handshake_config=ChannelHandshakeConfig(minimum_depth_blocks=1, our_to_self_delay_blocks=144),
    channel_config=ChannelConfig(forwarding_fee_base_msat=1_000, forwarding_fee_proportional_millionths=100),
    accept_forwards=True,
    accept_forwards_to_priv_channels=True,
    manually_accept_inbound_channels=True,
)


@dataclass(slots=True)
class FriendlyPeer:
    """A peer that runs. Its words follow from its name and the sandbox: the same node after each start."""

    name: str
    opened: OpenNode

    @classmethod
    async def start(cls, name: str, sandbox: NodeOptions, server: ServerAddress) -> FriendlyPeer:
        """Starts the peer, making its wallet the first time."""
        options = replace(
            sandbox,
            root=sandbox.root / "sandbox-peers",
            wallet_name=name,
            servers=(server,),
            single_server_ok=True,
            listen=(LOCALHOST, 0),
            user_config=FRIENDLY_CONFIG,
            alias=name.capitalize(),
            proxy=None,
            accept_without_reserve=True,
        )
        if not options.wallet_file.exists():
            entropy = hashlib.sha256(b"leyden sandbox " + name.encode()).digest()[:16]
            create_wallet_file(options, bip39.mnemonic_from_entropy(entropy).split(), "")
        return cls(name, await open_node(options, ""))

    @property
    def uri(self) -> NodeUri:
        node = self.opened.node
        return NodeUri(node.keys_manager.get_node_id(), LOCALHOST, node.listening_port or 0)

    async def call(self, command: str, **arguments: Json) -> Json:
        """A command of this peer's wallet."""
        return await run(self.opened.node, command, arguments)

    async def close(self) -> None:
        await self.opened.close()
