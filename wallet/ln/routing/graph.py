"""`NetworkGraph`: the public nodes and channels, as flat arrays.

Theory of operation. A node has an index and a channel has an index; both are given once and never reused
while the program runs. What the router reads is in arrays by channel index, or by `2 * channel + direction`
for the terms of one direction: direction 0 is set by node 1 and leads to node 2. `snapshot` copies the
arrays (a few megabytes, about a millisecond) so that a search can run while gossip comes in. The messages
themselves are kept as bytes, because peers may ask for them.

The graph believes what it is told: signatures, times and funding outputs are the gossip handler's to check.
What a snapshot of somebody else told has no message: it serves for routes only, and what a peer proves takes its place.
It holds nothing that cannot be fetched again; `write` and `read` are a cache (`graph_file.py`).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import eq, lt
from typing import Final

from wallet.bitcoin.address import Network
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.ln.features import FeatureContext, Features
from wallet.ln.msgs import ChannelAnnouncement, ChannelUpdate, NodeAnnouncement, update_checksum
from wallet.ln.routing.bag import Bag
from wallet.ln.routing.graph_file import (
    PREFIX_LENGTH,
    GraphImage,
    HeadReader,
    HeadWriter,
    MessageReader,
    MessageStore,
)
from wallet.ln.routing.kernel import Kernel
from wallet.ln.routing.layout import Layout
from wallet.ln.types import NodeId, ShortChannelId

__all__ = [
    "CAPACITY_UNKNOWN",
    "STALE_CHANNEL_SECONDS",
    "ChannelInfo",
    "DirectionInfo",
    "GraphSnapshot",
    "NetworkGraph",
    "NodeInfo",
]

STALE_CHANNEL_SECONDS: Final = 1_209_600
"""BOLT 7, pruning: two weeks without an update."""
REMOVED_MEMORY_SECONDS: Final = 7 * 86_400
"""So long a channel that was closed, or proved to be none, is not taken in again."""
MANY_CHANNELS: Final = 256
"""Above it removing goes through everything once, in place of cutting each out."""
MAX_REMOVED: Final = 65_536
"""Above it the oldest are forgotten sooner. In a week the public network closes some thousands."""

CAPACITY_UNKNOWN: Final = -1

# Bits of `direction_flags`.
DIRECTION_KNOWN: Final = 1
DIRECTION_DISABLED: Final = 2

_DIRECTION_COLUMNS: Final = (
    "direction_flags", "cltv_expiry_delta", "htlc_minimum_msat", "htlc_maximum_msat", "fee_base_msat",
    "fee_proportional_millionths",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionInfo:
    """What one side of a channel asks for forwarding through it."""

    enabled: bool
    updated_at: int
    cltv_expiry_delta: int
    htlc_minimum_msat: int
    htlc_maximum_msat: int
    fee_base_msat: int
    fee_proportional_millionths: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelInfo:
    """A public channel.

    Attributes:
        capacity_sat: of its funding output, where it has been looked up.
        directions: what node 1 asks, and what node 2 asks; None where no update has come.
    """

    short_channel_id: ShortChannelId
    node_id_1: NodeId
    node_id_2: NodeId
    capacity_sat: int | None
    directions: tuple[DirectionInfo | None, DirectionInfo | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """A public node.

    Attributes:
        announcement: its own words; None when it has said none.
    """

    node_id: NodeId
    announcement: NodeAnnouncement | None
    channels: tuple[ShortChannelId, ...]


class _Arrays:
    """The columns that the router reads; the graph's own and a snapshot's are the same."""

    __slots__ = (
        "capacity_sat",
        "channel_blocked",
        "channel_node_1",
        "channel_node_2",
        "channel_scid",
        "cltv_expiry_delta",
        "direction_flags",
        "fee_base_msat",
        "fee_proportional_millionths",
        "htlc_maximum_msat",
        "htlc_minimum_msat",
        "node_blocked",
    )

    def __init__(self) -> None:
        # By node index.
        self.node_blocked = array("B")
        # By channel index.
        self.channel_scid = array("Q")
        self.channel_node_1 = array("I")
        self.channel_node_2 = array("I")
        self.channel_blocked = array("B")
        self.capacity_sat = array("q")
        # By 2 * channel index + direction.
        self.direction_flags = array("B")
        self.cltv_expiry_delta = array("H")
        self.htlc_minimum_msat = array("Q")
        self.htlc_maximum_msat = array("Q")
        self.fee_base_msat = array("I")
        self.fee_proportional_millionths = array("I")

    def copy(self) -> _Arrays:
        other = _Arrays()
        for name in self.__slots__:
            setattr(other, name, getattr(self, name)[:])
        return other


class GraphSnapshot:
    """The graph at one moment, for the router; it never changes.

    Attributes:
        arrays: see `_Arrays`.
        node_ids: by node index.
        node_channels: by node index, the channel indices of its channels.
        graph: whose moment it is.
    """

    __slots__ = ("_channel_index", "_layouts", "_node_index", "arrays", "graph", "node_channels", "node_ids")

    def __init__(
        self,
        arrays: _Arrays,
        node_ids: list[NodeId],
        node_channels: list[tuple[int, ...]],
        node_index: dict[NodeId, int],
        channel_index: dict[ShortChannelId, int],
        layouts: dict[bool, Layout],
        graph: NetworkGraph,
    ) -> None:
        self.graph = graph
        self._layouts = layouts
        self.arrays = arrays
        self.node_ids = node_ids
        self.node_channels = node_channels
        # Shared with the graph, which only ever adds nodes; what came later is told by its index.
        self._node_index = node_index
        self._channel_index = channel_index

    @property
    def node_count(self) -> int:
        """How many node indices there are, those without channels included."""
        return len(self.node_ids)

    def layout(self, kernel: Kernel) -> Layout:
        """The same for a search."""
        layout = self._layouts.get(kernel.COMPILED)
        if layout is None or not layout.fits(self.node_count, len(self.arrays.channel_scid)):
            layout = self._layouts[kernel.COMPILED] = Layout(self.arrays, kernel)
        return layout

    def node_index(self, node_id: NodeId) -> int | None:
        index = self._node_index.get(node_id)
        return index if index is not None and index < len(self.node_ids) else None

    def channel_index(self, short_channel_id: ShortChannelId) -> int | None:
        index = self._channel_index.get(short_channel_id)
        return index if index is not None and index < len(self.arrays.channel_scid) else None


class NetworkGraph:
    """See the module's docstring.

    Attributes:
        network: whose channels these are.
        last_update_at: the latest time that any accepted update bears; None before the first.
        version: counts changes.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.last_update_at: int | None = None
        self.version = 0
        self._arrays = _Arrays()
        self._node_ids: list[NodeId] = []
        self._node_index: dict[NodeId, int] = {}
        # Tuples, so that a snapshot can share them.
        self._node_channels: list[tuple[int, ...]] = []
        self._node_announcements = MessageStore()
        # By node index; -1 for never.
        self._node_announced_at = array("q")
        # By node index: see `checked_count_of`.
        self._node_checked = array("I")
        self._sorted_announced: list[NodeId] = []
        self._channel_index: dict[ShortChannelId, int] = {}
        self._sorted_scids: list[ShortChannelId] = []
        self._announcements = MessageStore()
        self._received_at = array("I")
        # By 2 * channel index + direction.
        self._updates = MessageStore()
        self._updated_at = array("I")
        # Checksums of updates, once somebody asked for them; 0 where that is to be done.
        self._checksums = array("I")
        self._removed_at: dict[ShortChannelId, int] = {}
        self._node_count = 0
        self._unchecked_count = 0
        self._to_check = Bag()
        self._snapshot: GraphSnapshot | None = None
        # By whether the kernel that made it is compiled; kept up with the arrays.
        self._layouts: dict[bool, Layout] = {}

    # --- reading ----------------------------------------------------------------------------------

    @property
    def node_count(self) -> int:
        """How many nodes have a channel."""
        return self._node_count

    @property
    def channel_count(self) -> int:
        return len(self._channel_index)

    def snapshot(self) -> GraphSnapshot:
        """Give the graph as it is now; the same object as before when nothing has changed since."""
        if self._snapshot is None:
            self._snapshot = GraphSnapshot(
                self._arrays.copy(),
                self._node_ids[:],
                self._node_channels[:],
                self._node_index,
                dict(self._channel_index),
                {},
                self,
            )
        return self._snapshot

    def live(self) -> GraphSnapshot:
        """The graph itself in the form of a snapshot, for a search that ends before the next change."""
        return GraphSnapshot(
            self._arrays,
            self._node_ids,
            self._node_channels,
            self._node_index,
            self._channel_index,
            self._layouts,
            self,
        )

    def _changed(self) -> None:
        self._snapshot = None
        self.version += 1

    def _terms_changed(self, channel: int) -> None:
        self._changed()
        for layout in self._layouts.values():
            layout.changed(2 * channel)
            layout.changed(2 * channel + 1)

    @property
    def channel_index_count(self) -> int:
        """How many channel indices were given, those of channels that are gone included."""
        return len(self._arrays.channel_scid)

    @property
    def gone_count(self) -> int:
        """How many channels that are gone have their index still."""
        return len(self._arrays.channel_scid) - len(self._channel_index)

    def channel_index(self, short_channel_id: ShortChannelId) -> int | None:
        """Where a channel is in the arrays."""
        return self._channel_index.get(short_channel_id)

    def has_channel(self, short_channel_id: ShortChannelId) -> bool:
        return short_channel_id in self._channel_index

    def is_announced(self, short_channel_id: ShortChannelId) -> bool:
        """Tell whether the channel has an announcement that its nodes signed."""
        index = self._channel_index.get(short_channel_id)
        return index is not None and self._announcements.has(index)

    def has_announced_channel(self, node_id: NodeId) -> bool:
        """Tell whether one of the node's channels has an announcement."""
        index = self._node_index.get(node_id)
        return index is not None and any(map(self._announcements.has, self._node_channels[index]))

    def channel_count_of(self, node_id: NodeId) -> int:
        """How many channels the node has."""
        index = self._node_index.get(node_id)
        return 0 if index is None else len(self._node_channels[index])

    def checked_count_of(self, node_id: NodeId) -> int:
        """How many of the node's channels have an announcement, and a funding output that was looked up."""
        index = self._node_index.get(node_id)
        return 0 if index is None else self._node_checked[index]

    def has_node(self, node_id: NodeId) -> bool:
        """Tell whether the node has a channel."""
        index = self._node_index.get(node_id)
        return index is not None and bool(self._node_channels[index])

    def was_removed(self, short_channel_id: ShortChannelId) -> bool:
        """Tell whether the channel was removed for good, lately."""
        return short_channel_id in self._removed_at

    def channel(self, short_channel_id: ShortChannelId) -> ChannelInfo | None:
        index = self._channel_index.get(short_channel_id)
        if index is None:
            return None
        arrays = self._arrays
        capacity_sat = arrays.capacity_sat[index]
        return ChannelInfo(
            short_channel_id=short_channel_id,
            node_id_1=self._node_ids[arrays.channel_node_1[index]],
            node_id_2=self._node_ids[arrays.channel_node_2[index]],
            capacity_sat=None if capacity_sat == CAPACITY_UNKNOWN else capacity_sat,
            directions=(self._direction(2 * index), self._direction(2 * index + 1)),
        )

    def _direction(self, index: int) -> DirectionInfo | None:
        arrays = self._arrays
        flags = arrays.direction_flags[index]
        if not flags & DIRECTION_KNOWN:
            return None
        return DirectionInfo(
            enabled=not flags & DIRECTION_DISABLED,
            updated_at=self._updated_at[index],
            cltv_expiry_delta=arrays.cltv_expiry_delta[index],
            htlc_minimum_msat=arrays.htlc_minimum_msat[index],
            htlc_maximum_msat=arrays.htlc_maximum_msat[index],
            fee_base_msat=arrays.fee_base_msat[index],
            fee_proportional_millionths=arrays.fee_proportional_millionths[index],
        )

    def node(self, node_id: NodeId) -> NodeInfo | None:
        index = self._node_index.get(node_id)
        if index is None or not self._node_channels[index]:
            return None
        return NodeInfo(
            node_id=node_id,
            announcement=self.node_announcement(node_id),
            channels=tuple(
                ShortChannelId(self._arrays.channel_scid[channel]) for channel in self._node_channels[index]
            ),
        )

    def alias(self, node_id: NodeId) -> str | None:
        """The name that a node gives itself, made printable; None when it has given none."""
        announcement = self.node_announcement(node_id)
        return announcement.alias_text or None if announcement is not None else None

    def node_announcement(self, node_id: NodeId) -> NodeAnnouncement | None:
        index = self._node_index.get(node_id)
        raw = None if index is None else self._node_announcements.get(index)
        return None if raw is None else NodeAnnouncement.decode_payload(raw)

    def node_announcement_bytes(self, start: int, end: int) -> list[bytes]:
        """What the nodes with these indices said of themselves, as payloads; empty where that is nothing."""
        get = self._node_announcements.get
        return [get(index) or b"" for index in range(start, min(end, len(self._node_ids)))]

    def node_announced_at(self, node_id: NodeId) -> int | None:
        index = self._node_index.get(node_id)
        announced_at = -1 if index is None else self._node_announced_at[index]
        return None if announced_at < 0 else announced_at

    def channel_announcement(self, short_channel_id: ShortChannelId) -> ChannelAnnouncement | None:
        index = self._channel_index.get(short_channel_id)
        raw = None if index is None else self._announcements.get(index)
        return None if raw is None else ChannelAnnouncement.decode_payload(raw)

    def channel_update(self, short_channel_id: ShortChannelId, direction: int) -> ChannelUpdate | None:
        index = self._channel_index.get(short_channel_id)
        raw = None if index is None else self._updates.get(2 * index + direction)
        return None if raw is None else ChannelUpdate.decode_payload(raw)

    def update_times(self, short_channel_id: ShortChannelId) -> tuple[int, int]:
        """When each direction was last updated by a message; 0 for never. BOLT 7, channel_update_timestamps."""
        channel = self._channel_index.get(short_channel_id)
        return (0, 0) if channel is None else (self._signed_at(2 * channel), self._signed_at(2 * channel + 1))

    def has_update(self, short_channel_id: ShortChannelId) -> bool:
        """Tell whether a message has set terms of it, in any direction."""
        channel = self._channel_index.get(short_channel_id)
        return channel is not None and (self._updates.has(2 * channel) or self._updates.has(2 * channel + 1))

    def updated_at(self, short_channel_id: ShortChannelId, direction: int) -> int:
        """The same of one direction."""
        channel = self._channel_index.get(short_channel_id)
        return 0 if channel is None else self._signed_at(2 * channel + direction)

    def _signed_at(self, index: int) -> int:
        return self._updated_at[index] if self._updates.has(index) else 0

    def update_checksum(self, short_channel_id: ShortChannelId, direction: int) -> int:
        """The checksum of a direction's update; 0 for none. BOLT 7, channel_update_checksums."""
        channel = self._channel_index.get(short_channel_id)
        if channel is None:
            return 0
        index = 2 * channel + direction
        checksum = self._checksums[index]
        if not checksum and (raw := self._updates.get(index)) is not None:
            checksum = self._checksums[index] = update_checksum(raw)
        return checksum

    def nodes_of(self, short_channel_id: ShortChannelId) -> tuple[NodeId, NodeId] | None:
        index = self._channel_index.get(short_channel_id)
        if index is None:
            return None
        arrays = self._arrays
        return self._node_ids[arrays.channel_node_1[index]], self._node_ids[arrays.channel_node_2[index]]

    def capacity_sat(self, short_channel_id: ShortChannelId) -> int | None:
        index = self._channel_index.get(short_channel_id)
        if index is None or self._arrays.capacity_sat[index] == CAPACITY_UNKNOWN:
            return None
        return self._arrays.capacity_sat[index]

    def short_channel_ids(self, start: int = 0, end: int = 1 << 64) -> list[ShortChannelId]:
        """The ids from `start` up to, not including, `end`, ascending."""
        scids = self._sorted_scids
        return scids[bisect_left(scids, start) : bisect_left(scids, end)]

    def channels_from(self, start: int, count: int) -> list[ShortChannelId]:
        """The ids from `start` on, ascending, up to so many."""
        position = bisect_left(self._sorted_scids, start)
        return self._sorted_scids[position : position + count]

    @property
    def to_check_count(self) -> int:
        """How many were not looked up, and can be: their announcement names the funding output's keys."""
        return len(self._to_check)

    def to_check(self, number: int) -> ShortChannelId:
        """One of them, by a number below `to_check_count`; in no order, so that any can be drawn at once."""
        return ShortChannelId(self._arrays.channel_scid[self._to_check[number]])

    @property
    def unchecked_count(self) -> int:
        """How many were not looked up, without announcement or with."""
        return self._unchecked_count

    def announced_nodes_behind(self, start: NodeId | None, count: int) -> list[NodeId]:
        """Nodes that have announced themselves, ascending, the first of all or those behind `start`, up to so many."""
        position = 0 if start is None else bisect_left(self._sorted_announced, start + b"\x00")
        return self._sorted_announced[position : position + count]

    def next_announced_node(self, start: NodeId | None) -> NodeId | None:
        """The first node behind `start` that has announced itself."""
        return next(iter(self.announced_nodes_behind(start, 1)), None)

    def node_ids(self) -> Iterator[NodeId]:
        """All nodes that have a channel."""
        return (node for node, channels in zip(self._node_ids, self._node_channels, strict=True) if channels)

    # --- writing ----------------------------------------------------------------------------------

    def add_channel(
        self,
        announcement: ChannelAnnouncement,
        capacity_sat: int | None,
        received_at: int,
        encoded: bytes | None = None,
    ) -> bool:
        """Take in a channel whose announcement has been checked; False when it is known. `encoded` is the
        announcement's payload, where the caller has it."""
        scid = announcement.short_channel_id
        if self.is_announced(scid):
            return False
        # What was told without a signature goes; its terms stay if it told the truth.
        nodes = (announcement.node_id_1, announcement.node_id_2)
        told = self.channel(scid) if self.nodes_of(scid) == nodes else None
        self._remove(scid)
        self._add_channel(
            scid,
            nodes,
            announcement.features,
            capacity_sat,
            received_at,
            encoded or announcement.encode_payload(),
        )
        for direction, terms in enumerate(told.directions if told is not None else ()):
            if terms is not None:
                self.apply_unsigned_terms(scid, direction, terms)
        return True

    def add_unsigned_channel(
        self,
        short_channel_id: ShortChannelId,
        nodes: tuple[NodeId, NodeId],
        features: bytes,
        received_at: int,
    ) -> bool:
        """Take in a channel that nobody has proved; False when it is known, or was removed lately."""
        if short_channel_id in self._channel_index or short_channel_id in self._removed_at:
            return False
        self._add_channel(short_channel_id, nodes, features, None, received_at, None)
        return True

    def _add_channel(
        self,
        scid: ShortChannelId,
        nodes: tuple[NodeId, NodeId],
        feature_bytes: bytes,
        capacity_sat: int | None,
        received_at: int,
        encoded: bytes | None,
    ) -> None:
        if nodes[0] == nodes[1]:
            raise APIError("A channel has two different nodes.")
        arrays = self._arrays
        index = len(arrays.channel_scid)
        node_1, node_2 = map(self._intern_node, nodes)
        arrays.channel_scid.append(scid)
        arrays.channel_node_1.append(node_1)
        arrays.channel_node_2.append(node_2)
        # BOLT 7, channel_announcement, receiver: no payment through a channel with an unknown even feature.
        features = Features.from_bytes(feature_bytes)
        arrays.channel_blocked.append(bool(features.unknown_required(FeatureContext.CHANNEL)))
        arrays.capacity_sat.append(CAPACITY_UNKNOWN if capacity_sat is None else capacity_sat)
        for column in (
            arrays.direction_flags,
            arrays.cltv_expiry_delta,
            arrays.htlc_minimum_msat,
            arrays.htlc_maximum_msat,
            arrays.fee_base_msat,
            arrays.fee_proportional_millionths,
            self._updated_at,
            self._checksums,
        ):
            column.extend((0, 0))
        self._unchecked_count += capacity_sat is None
        self._announcements.append(encoded)
        self._updates.append(None)
        self._updates.append(None)
        self._received_at.append(received_at)
        self._channel_index[scid] = index
        insort(self._sorted_scids, scid)
        if capacity_sat is None and encoded is not None:
            self._to_check.add(index)
        checked = capacity_sat is not None and encoded is not None
        for node in (node_1, node_2):
            if not self._node_channels[node]:
                self._node_count += 1
            self._node_channels[node] += (index,)
            self._node_checked[node] += checked
        self._changed()

    def _intern_node(self, node_id: NodeId) -> int:
        index = self._node_index.get(node_id)
        if index is None:
            index = self._node_index[node_id] = len(self._node_ids)
            self._node_ids.append(node_id)
            self._node_channels.append(())
            self._node_announcements.append(None)
            self._node_announced_at.append(-1)
            self._node_checked.append(0)
            self._arrays.node_blocked.append(0)
        return index

    def forget_terms(self, short_channel_id: ShortChannelId, direction: int) -> None:
        """Drop one direction's terms, and the update that set them."""
        channel = self._channel_index.get(short_channel_id)
        if channel is not None:
            self._clear(2 * channel + direction)
            self._terms_changed(channel)

    def _clear(self, index: int) -> None:
        self._arrays.direction_flags[index] = 0
        self._updates.put(index, None)
        self._updated_at[index] = 0
        self._checksums[index] = 0

    def set_capacity(self, short_channel_id: ShortChannelId, capacity_sat: int) -> None:
        """Learn what a channel's funding output holds."""
        index = self._channel_index.get(short_channel_id)
        if index is not None:
            arrays = self._arrays
            if arrays.capacity_sat[index] == CAPACITY_UNKNOWN:
                self._unchecked_count -= 1
                for node in (arrays.channel_node_1[index], arrays.channel_node_2[index]):
                    self._node_checked[node] += self._announcements.has(index)
            arrays.capacity_sat[index] = capacity_sat
            self._to_check.discard(index)
            self._terms_changed(index)

    def apply_update(self, update: ChannelUpdate, encoded: bytes | None = None) -> bool:
        """Take in an update that has been checked; False when it is not newer, or its channel is unknown."""
        channel = self._channel_index.get(update.short_channel_id)
        if channel is None:
            return False
        index = 2 * channel + update.direction
        if update.timestamp_at <= self._signed_at(index):
            return False
        self._updates.put(index, encoded or update.encode_payload())
        self._set_terms(index, update, update.timestamp_at, update.disabled)
        return True

    def apply_unsigned_terms(
        self, short_channel_id: ShortChannelId, direction: int, terms: DirectionInfo
    ) -> bool:
        """Take in terms that nobody signed; False where there are signed or newer ones, or the channel is unknown."""
        channel = self._channel_index.get(short_channel_id)
        if channel is None:
            return False
        index = 2 * channel + direction
        if self._updates.has(index) or terms.updated_at < self._updated_at[index]:
            return False
        self._set_terms(index, terms, terms.updated_at, not terms.enabled)
        return True

    def _set_terms(
        self, index: int, terms: ChannelUpdate | DirectionInfo, updated_at: int, disabled: bool
    ) -> None:
        arrays = self._arrays
        arrays.direction_flags[index] = DIRECTION_KNOWN | (DIRECTION_DISABLED if disabled else 0)
        arrays.cltv_expiry_delta[index] = terms.cltv_expiry_delta
        arrays.htlc_minimum_msat[index] = terms.htlc_minimum_msat
        arrays.htlc_maximum_msat[index] = terms.htlc_maximum_msat
        arrays.fee_base_msat[index] = terms.fee_base_msat
        arrays.fee_proportional_millionths[index] = terms.fee_proportional_millionths
        self._updated_at[index] = updated_at
        self._checksums[index] = 0
        self.last_update_at = max(updated_at, self.last_update_at or 0)
        self._changed()
        for layout in self._layouts.values():
            layout.changed(index)

    def apply_node_announcement(self, announcement: NodeAnnouncement, encoded: bytes | None = None) -> bool:
        """Take in an announcement that has been checked; False when not newer, or its node has no channel."""
        index = self._node_index.get(announcement.node_id)
        if index is None or not self._node_channels[index]:
            return False
        if announcement.timestamp_at <= self._node_announced_at[index]:
            return False
        if not self._node_announcements.has(index):
            insort(self._sorted_announced, announcement.node_id)
        self._node_announcements.put(index, encoded or announcement.encode_payload())
        self.version += 1
        self._node_announced_at[index] = announcement.timestamp_at
        # BOLT 7, node_announcement, receiver: no payment through a node with an unknown even feature.
        blocked = bool(announcement.features.unknown_required(FeatureContext.NODE))
        if self._arrays.node_blocked[index] != blocked:
            self._arrays.node_blocked[index] = blocked
            self._changed()
            self._layouts.clear()
        return True

    def channel_failed_permanent(self, short_channel_id: ShortChannelId, removed_at: int) -> None:
        """Remove a channel that is closed, and keep it out for a while."""
        self._keep_out(short_channel_id, removed_at)
        self._remove(short_channel_id)

    def _keep_out(self, short_channel_id: ShortChannelId, removed_at: int) -> None:
        # The oldest stand first.
        self._removed_at.pop(short_channel_id, None)
        self._removed_at[short_channel_id] = removed_at
        while len(self._removed_at) > MAX_REMOVED:
            del self._removed_at[next(iter(self._removed_at))]
        self.version += 1

    def forget_channel(self, short_channel_id: ShortChannelId) -> None:
        """Remove a channel; what is true of its place may be taken in at once."""
        self._remove(short_channel_id)

    def node_failed_permanent(self, node_id: NodeId, removed_at: int) -> None:
        """Remove all channels of a node that is out of service."""
        info = self.node(node_id)
        if info is not None:
            for scid in info.channels:
                self._keep_out(scid, removed_at)
            self._remove_all(info.channels)

    def _remove(self, short_channel_id: ShortChannelId) -> None:
        if short_channel_id in self._channel_index:
            self._remove_all((short_channel_id,))

    def _remove_all(self, short_channel_ids: Sequence[ShortChannelId]) -> None:
        """Remove channels that are here, each named once. Many go in one pass, also where they are all of one node."""
        arrays, places = self._arrays, self._channel_index
        gone = [places.pop(scid) for scid in short_channel_ids]
        at_once = len(gone) > MANY_CHANNELS
        theirs: dict[int, set[int]] = {}
        for scid, channel in zip(short_channel_ids, gone, strict=True):
            if not at_once:
                del self._sorted_scids[bisect_left(self._sorted_scids, scid)]
            unchecked = arrays.capacity_sat[channel] == CAPACITY_UNKNOWN
            self._unchecked_count -= unchecked
            checked = not unchecked and self._announcements.has(channel)
            arrays.channel_blocked[channel] = 1
            self._to_check.discard(channel)
            self._announcements.put(channel, None)
            for index in (2 * channel, 2 * channel + 1):
                self._clear(index)
            for node in (arrays.channel_node_1[channel], arrays.channel_node_2[channel]):
                theirs.setdefault(node, set()).add(channel)
                self._node_checked[node] -= checked
        if at_once:
            self._sorted_scids = [scid for scid in self._sorted_scids if scid in places]
        for node, channels in theirs.items():
            self._node_channels[node] = tuple(c for c in self._node_channels[node] if c not in channels)
            if not self._node_channels[node]:
                self._forget_node(node, at_once)
        if at_once:
            self._sorted_announced = [
                node_id
                for node_id in self._sorted_announced
                if self._node_announcements.has(self._node_index[node_id])
            ]
            # A new one is made faster than so many edges are changed.
            self._layouts.clear()
            self._changed()
        else:
            for channel in gone:
                self._terms_changed(channel)

    def _forget_node(self, node: int, at_once: bool) -> None:
        """BOLT 7, pruning: a node without channels is forgotten."""
        self._node_count -= 1
        if self._node_announcements.has(node):
            self._node_announcements.put(node, None)
            if not at_once:
                del self._sorted_announced[bisect_left(self._sorted_announced, self._node_ids[node])]
        self._node_announced_at[node] = -1

    def remove_stale_channels_and_tracking(self, now_at: int) -> int:
        """Remove what has had no update for two weeks; return how many channels went. BOLT 7, pruning."""
        oldest_at = now_at - STALE_CHANNEL_SECONDS
        stale: list[ShortChannelId] = []
        updated_at, received_at = self._updated_at, self._received_at
        for scid, channel in self._channel_index.items():
            one_at, other_at = updated_at[2 * channel], updated_at[2 * channel + 1]
            if one_at >= oldest_at and other_at >= oldest_at:
                continue
            # A direction that was never updated counts from when its channel was heard of. Both sides must be there for
            # the channel to be usable: the older one decides.
            if min(one_at or received_at[channel], other_at or received_at[channel]) < oldest_at:
                stale.append(scid)
        self._remove_all(stale)
        forget_before_at = now_at - REMOVED_MEMORY_SECONDS
        self._removed_at = {scid: at for scid, at in self._removed_at.items() if at >= forget_before_at}
        return len(stale)

    # --- storing ----------------------------------------------------------------------------------

    def image(self) -> GraphImage:
        """Give everything as it goes into a file."""
        arrays = self._arrays
        channels = [self._channel_index[scid] for scid in self._sorted_scids]
        directions = [2 * channel + side for channel in channels for side in (0, 1)]
        nodes = sorted(
            (index for index, theirs in enumerate(self._node_channels) if theirs),
            key=self._node_ids.__getitem__,
        )
        place = array("I", bytes(4 * len(self._node_ids)))
        for position, node in enumerate(nodes):
            place[node] = position
        parts = tuple(
            (store.still(), order, store.measures(order))
            for store, order in (
                (self._announcements, channels), (self._updates, directions), (self._node_announcements, nodes),
            )
        )  # fmt: skip
        head = HeadWriter(self.network)
        head.numbers(len(nodes), len(channels), len(self._removed_at), self.last_update_at or 0)
        head.raw(b"".join(self._node_ids[node] for node in nodes))
        head.column(arrays.node_blocked, nodes)
        head.column(self._node_announced_at, nodes)
        head.column(arrays.channel_scid, channels)
        for column in (arrays.channel_node_1, arrays.channel_node_2):
            head.column(array("I", (place[column[channel]] for channel in channels)))
        for column in (arrays.channel_blocked, arrays.capacity_sat, self._received_at):
            head.column(column, channels)
        for name in _DIRECTION_COLUMNS:
            head.column(getattr(arrays, name), directions)
        head.column(self._updated_at, directions)
        for _store, _order, measures in parts:
            head.messages(measures)
        head.column(array("Q", self._removed_at))
        head.column(array("Q", self._removed_at.values()))
        return GraphImage(head.getvalue(), parts, self.version)

    def write(self) -> bytes:
        """Give everything as bytes."""
        return b"".join(self.image().chunks())

    def rebase(self, image: GraphImage, read: MessageReader) -> None:
        """From now on the messages of an image are in the file that it was written to, not in memory."""
        first = 0
        stores = (self._announcements, self._updates, self._node_announcements)
        for store, (was, order, measures) in zip(stores, image.parts, strict=True):
            store.rebase(read, was, order, measures, first)
            first += sum(measures[0])

    @property
    def fresh_length(self) -> int:
        """Bytes of messages that are in no file yet."""
        return sum(
            store.fresh_length for store in (self._announcements, self._updates, self._node_announcements)
        )

    @classmethod
    def read(cls, data: bytes, network: Network, messages: MessageReader | None = None) -> NetworkGraph:
        """Restore what `write` gave; raises `DecodeError` where that is damaged or of another network.

        With `messages`, which reads those of the file, `data` ends before them.
        """
        head = HeadReader(data, network)
        if messages is None:
            first = PREFIX_LENGTH + head.prefix.head_length
            if len(data) != first + head.prefix.messages_length:
                raise DecodeError("The stored graph is cut short, or too long.")
            messages = partial(_slice, data[first:])
        graph = cls(network)
        arrays = graph._arrays
        node_count, channel_count, removed_count, last_update_at = head.numbers(4)
        ids = head.raw(33 * node_count)
        graph._node_ids = [NodeId(ids[start : start + 33]) for start in range(0, len(ids), 33)]
        arrays.node_blocked = head.column("B", node_count)
        graph._node_announced_at = head.column("q", node_count)
        arrays.channel_scid = head.column("Q", channel_count)
        arrays.channel_node_1 = head.column("I", channel_count)
        arrays.channel_node_2 = head.column("I", channel_count)
        arrays.channel_blocked = head.column("B", channel_count)
        arrays.capacity_sat = head.column("q", channel_count)
        graph._received_at = head.column("I", channel_count)
        for name in _DIRECTION_COLUMNS:
            setattr(arrays, name, head.column(getattr(arrays, name).typecode, 2 * channel_count))
        graph._updated_at = head.column("I", 2 * channel_count)
        graph._checksums = array("I", bytes(8 * channel_count))
        graph._announcements = head.messages(messages, channel_count)
        graph._updates = head.messages(messages, 2 * channel_count)
        graph._node_announcements = head.messages(messages, node_count)
        removed = head.column("Q", removed_count), head.column("Q", removed_count)
        head.expect_end()
        graph._removed_at = {ShortChannelId(scid): at for scid, at in zip(*removed, strict=True)}
        graph.last_update_at = last_update_at or None
        graph._index()
        return graph

    def _index(self) -> None:
        """Make the tables that the columns imply, and refuse columns that make no sense."""
        arrays = self._arrays
        scids = [ShortChannelId(scid) for scid in arrays.channel_scid]
        nodes = arrays.channel_node_1, arrays.channel_node_2
        node_count = len(self._node_ids)
        sane = (
            all(map(lt, scids, scids[1:]))
            and all(map(lt, self._node_ids, self._node_ids[1:]))
            and all(not column or max(column) < node_count for column in nodes)
            and not any(map(eq, *nodes))
            and (not scids or min(arrays.capacity_sat) >= CAPACITY_UNKNOWN)
        )
        if not sane:
            raise DecodeError("The stored graph contradicts itself.")
        self._sorted_scids = scids
        channels = range(len(scids))
        self._channel_index = dict(zip(scids, channels, strict=True))
        self._node_index = dict(zip(self._node_ids, range(node_count), strict=True))
        neighbours: list[list[int]] = [[] for _ in range(node_count)]
        for channel, first, second in zip(self._channel_index.values(), *nodes, strict=True):
            neighbours[first].append(channel)
            neighbours[second].append(channel)
        self._node_channels = list(map(tuple, neighbours))
        self._node_count = sum(map(bool, neighbours))
        self._node_checked = array("I", bytes(4 * node_count))
        unchecked = []
        for channel, capacity_sat in enumerate(arrays.capacity_sat):
            if capacity_sat == CAPACITY_UNKNOWN:
                unchecked.append(channel)
            elif self._announcements.has(channel):
                self._node_checked[nodes[0][channel]] += 1
                self._node_checked[nodes[1][channel]] += 1
        self._unchecked_count = len(unchecked)
        self._to_check = Bag([channel for channel in unchecked if self._announcements.has(channel)])
        self._sorted_announced = [
            node_id for index, node_id in enumerate(self._node_ids) if self._node_announcements.has(index)
        ]


def _slice(data: bytes, start: int, length: int) -> bytes:
    return data[start : start + length]
