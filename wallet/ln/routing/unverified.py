"""What gossip's handler keeps of messages while their signatures are verified outside the lock."""

from __future__ import annotations

from dataclasses import dataclass, field

from wallet.ln.msgs import ChannelAnnouncement
from wallet.ln.types import NodeId, ShortChannelId

__all__ = ["Unverified"]


@dataclass(slots=True)
class Unverified:
    """What is being verified, so that it is not verified twice, and what hangs on it.

    Attributes:
        messages: how many.
        channels: the nodes of announced channels.
        nodes: how many of these channels a node has.
        updates, announcements: the time of the newest.
    """

    messages: int = 0
    channels: dict[ShortChannelId, tuple[NodeId, NodeId]] = field(default_factory=dict)
    nodes: dict[NodeId, int] = field(default_factory=dict)
    updates: dict[tuple[ShortChannelId, int], int] = field(default_factory=dict)
    announcements: dict[NodeId, int] = field(default_factory=dict)

    def add_channel(self, msg: ChannelAnnouncement) -> None:
        self.channels[msg.short_channel_id] = (msg.node_id_1, msg.node_id_2)
        for node_id in (msg.node_id_1, msg.node_id_2):
            self.nodes[node_id] = self.nodes.get(node_id, 0) + 1

    def remove_channel(self, msg: ChannelAnnouncement) -> None:
        del self.channels[msg.short_channel_id]
        for node_id in (msg.node_id_1, msg.node_id_2):
            self.nodes[node_id] -= 1
            if not self.nodes[node_id]:
                del self.nodes[node_id]
