"""Our own node_announcement: what we are called and where we listen, once a channel of ours is public.

The graph keeps what was said last, over restarts too; nothing is said anew while that is still right and fresh.
"""

from __future__ import annotations

from typing import Protocol

from wallet.ln.msgs import NodeAnnouncement, SocketAddress
from wallet.ln.types import NodeId, Now
from wallet.node.options import ALIAS_LENGTH

__all__ = ["REFRESH_SECONDS", "NodeAnnouncer"]

REFRESH_SECONDS = 24 * 60 * 60
"""Others forget a node whose channels are silent for two weeks; once a day leaves room for a peer that lost it."""
RGB_COLOR = bytes.fromhex("0f766e")


class KnownNodes(Protocol):
    """What the graph knows of a node."""

    def has_node(self, node_id: NodeId) -> bool: ...

    def node_announcement(self, node_id: NodeId) -> NodeAnnouncement | None: ...


class Announces(Protocol):
    """Who signs and tells: `PeerManager`."""

    def broadcast_node_announcement(
        self, *, rgb_color: bytes, alias: bytes, addresses: tuple[SocketAddress, ...], at: int
    ) -> bool: ...


class NodeAnnouncer:
    """Says who we are when it is news. `tick` runs within an entry into the core."""

    def __init__(
        self,
        node_id: NodeId,
        *,
        alias: str,
        addresses: tuple[SocketAddress, ...],
        peers: Announces,
    ) -> None:
        self._node_id = node_id
        self._alias = alias.encode().ljust(ALIAS_LENGTH, b"\x00")
        self._addresses = addresses
        self._peers = peers

    def tick(self, graph: KnownNodes, now: Now) -> None:
        """Without a public channel the graph does not know us, and nobody would listen."""
        if not graph.has_node(self._node_id):
            return
        said = graph.node_announcement(self._node_id)
        at = now.at
        if said is not None:
            same = said.alias == self._alias and set(said.addresses) == set(self._addresses)
            if same and now.at - said.timestamp_at < REFRESH_SECONDS:
                return
            # BOLT 7, node_announcement, sender: each is younger than the one before, whatever our clock does.
            at = max(at, said.timestamp_at + 1)
        self._peers.broadcast_node_announcement(
            rgb_color=RGB_COLOR, alias=self._alias, addresses=self._addresses, at=at
        )
