"""The graph as the search wants it: its edges in order of the node they lead to, and scratch space.

Theory of operation. A layout is made by the kernel in one go, which takes a few milliseconds (compiled), and is then
kept up with the graph: new terms are put into the record they belong to. What has no record, because it was not
usable when the layout was made, is `fresh`: each search is told of it apart. When that becomes much, or the room for
new nodes and channels is used up, the graph makes a new layout.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final, Protocol

from wallet.ln.routing.kernel import Kernel
from wallet.ln.routing.pathfinding import EDGE_LENGTH, LABEL_LENGTH, MAX_CAPACITY_MSAT, PathFinder

__all__ = ["MAX_EXTRA", "Columns", "Layout", "Scratch"]

ROOM: Final = 1_024
"""For so many more nodes, and as many channels, a layout has scratch space."""
MAX_FRESH: Final = 256
MAX_EXTRA: Final = 4_096
"""Edges of one search: our channels, hints, what is fresh, and the dead ends that these lead to."""
USABLE: Final = 1
"""`direction_flags` of a direction that is known and not disabled."""
_NOT_USABLE: Final = (1 << 60, -1)


class Columns(Protocol):
    """The graph's arrays, as far as a layout is made of them."""

    @property
    def node_blocked(self) -> array[int]: ...
    @property
    def channel_node_1(self) -> array[int]: ...
    @property
    def channel_node_2(self) -> array[int]: ...
    @property
    def channel_blocked(self) -> array[int]: ...
    @property
    def capacity_sat(self) -> array[int]: ...
    @property
    def direction_flags(self) -> array[int]: ...
    @property
    def cltv_expiry_delta(self) -> array[int]: ...
    @property
    def htlc_minimum_msat(self) -> array[int]: ...
    @property
    def htlc_maximum_msat(self) -> array[int]: ...
    @property
    def fee_base_msat(self) -> array[int]: ...
    @property
    def fee_proportional_millionths(self) -> array[int]: ...


def _zeros(typecode: str, length: int) -> array[int]:
    zero: array[int] = array(typecode, (0,))
    return zero * length


def record_of(columns: Columns, number: int) -> tuple[int, ...]:
    """One direction as a record of `pathfinding.py`."""
    channel = number >> 1
    source = (columns.channel_node_2 if number & 1 else columns.channel_node_1)[channel]
    minimum_msat = min(columns.htlc_minimum_msat[number], MAX_CAPACITY_MSAT)
    maximum_msat = min(columns.htlc_maximum_msat[number], MAX_CAPACITY_MSAT)
    capacity_sat = columns.capacity_sat[channel]
    usable = (
        columns.direction_flags[number] == USABLE
        and not columns.channel_blocked[channel]
        and not columns.node_blocked[source]
    )
    return (
        source,
        number,
        columns.fee_base_msat[number],
        columns.fee_proportional_millionths[number],
        columns.cltv_expiry_delta[number],
        *((minimum_msat, maximum_msat) if usable else _NOT_USABLE),
        -maximum_msat if capacity_sat < 0 else min(capacity_sat * 1_000, MAX_CAPACITY_MSAT),
    )


class Layout:
    """See the module's docstring.

    Attributes:
        sole: by node, the only one that leads there: -1 for none, -2 for several.
        fresh: usable edges without a record, by number.
    """

    def __init__(self, columns: Columns, kernel: Kernel) -> None:
        self._columns = columns
        self._kernel = kernel
        self.node_count = len(columns.node_blocked)
        self.channel_count = len(columns.channel_node_1)
        self._starts = _zeros("i", self.node_count + 1)
        self._ends = _zeros("i", self.node_count)
        self.sole = _zeros("i", self.node_count)
        self._position = _zeros("i", 2 * self.channel_count)
        usable = columns.direction_flags.tobytes().count(USABLE)
        self._edges = _zeros("q", EDGE_LENGTH * usable)
        kernel.lay_out(
            self.node_count,
            columns.channel_node_1,
            columns.channel_node_2,
            columns.channel_blocked,
            columns.node_blocked,
            columns.direction_flags,
            columns.cltv_expiry_delta,
            columns.htlc_minimum_msat,
            columns.htlc_maximum_msat,
            columns.fee_base_msat,
            columns.fee_proportional_millionths,
            columns.capacity_sat,
            self._starts,
            self._ends,
            self.sole,
            self._position,
            _zeros("i", self.node_count),
            self._edges,
        )
        self.fresh: dict[int, None] = {}
        self._scratches: list[Scratch] = []

    def fits(self, node_count: int, channel_count: int) -> bool:
        """Tell whether there is room for so many nodes and channels, and little is told apart."""
        return (
            node_count <= self.node_count + ROOM
            and channel_count <= self.channel_count + ROOM
            and len(self.fresh) <= MAX_FRESH
        )

    def changed(self, number: int) -> None:
        """Take over what the columns say of one direction now."""
        place = self._position[number] if number < len(self._position) else -1
        record = record_of(self._columns, number)
        if place >= 0:
            self._edges[place * EDGE_LENGTH : (place + 1) * EDGE_LENGTH] = array("q", record)
        elif record[6] >= 0:
            self.fresh[number] = None
        else:
            self.fresh.pop(number, None)

    def dead_ends(self, numbers: Iterator[int]) -> Iterator[int]:
        """Those of some directions that have a record which no search passes by itself."""
        for number in numbers:
            place = self._position[number] if number < len(self._position) else -1
            if place < 0:
                continue
            channel = number >> 1
            nodes = self._columns.channel_node_1, self._columns.channel_node_2
            target = nodes[0 if number & 1 else 1][channel]
            if place >= self._ends[target]:
                yield number

    def record(self, number: int) -> tuple[int, ...]:
        return record_of(self._columns, number)

    def take_scratch(self) -> Scratch:
        """A search's own; give it back with `put_scratch`, everything in it as it was."""
        if self._scratches:
            return self._scratches.pop()
        finder = self._kernel.PathFinder()
        finder.starts, finder.ends, finder.edges = self._starts, self._ends, self._edges
        finder.node_count = self.node_count
        return Scratch(finder, self.node_count + 2 * ROOM, self.channel_count + ROOM, len(self._edges))

    def put_scratch(self, scratch: Scratch) -> None:
        self._scratches.append(scratch)


class Scratch:
    """What one search works on: a `PathFinder` and those of its arrays that a search fills.

    Attributes:
        node_room: how many node indices it is good for.
    """

    __slots__ = ("extra_first", "finder", "labels", "node_room", "skipped", "used_msat")

    def __init__(self, finder: PathFinder, nodes: int, channels: int, edge_numbers: int) -> None:
        self.finder = finder
        self.node_room = nodes
        self.labels = finder.labels = _zeros("q", LABEL_LENGTH * nodes)
        self.used_msat = finder.used_msat = _zeros("q", 2 * channels)
        self.skipped = finder.skipped = _zeros("B", channels)
        self.extra_first = finder.extra_first = array("i", (-1,)) * nodes
        # Each edge is put into the queue once at most: those with a record, and those of the search.
        finder.heap = _zeros("q", 2 * (edge_numbers // EDGE_LENGTH + MAX_EXTRA + 1))
        finder.extra = finder.liquidity = finder.ceilings = _zeros("q", 0)
        finder.extra_next = finder.slots = _zeros("i", 0)
