"""What the window sees of the public network: one immutable map, in columns, and the ways that payments tried."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

__all__ = ["MapSource", "NetworkMap", "RouteAttempt", "scid_from_text", "scid_text"]

NODE_ID_LENGTH = 33
MODES = ("capacity", "fee", "age")


def scid_text(short_channel_id: int) -> str:
    """912345x12x1, as the field writes it."""
    return f"{short_channel_id >> 40}x{short_channel_id >> 16 & 0xFFFFFF}x{short_channel_id & 0xFFFF}"


def scid_from_text(text: str) -> int | None:
    """The reverse; None for what is none. Colons are taken as well."""
    parts = text.strip().lower().replace(":", "x").split("x")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 9 for part in parts):
        return None
    block, index, output = map(int, parts)
    return (
        block << 40 | index << 16 | output
        if block < 1 << 24 and index < 1 << 24 and output < 1 << 16
        else None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteAttempt:
    """One way that a payment tried, for the map.

    Attributes:
        nodes: ids in hex, from us to the payee.
        channels: one less, as 912345x12x1; None or missing where it is not known, or not public.
        failed_at: the number of the channel that did not carry it, from 0; None while under way, or when it arrived.
        reason: a sentence on why it failed; empty otherwise.
        arrived: whether the payment was made by it.
    """

    nodes: tuple[str, ...]
    channels: tuple[str | None, ...] = ()
    failed_at: int | None = None
    reason: str = ""
    arrived: bool = False


def _column(typecode: str, data: bytes) -> array[int]:
    column: array[int] = array(typecode)
    column.frombytes(data)
    return column


def _floats(data: bytes) -> array[float]:
    column = array("d")
    column.frombytes(data)
    return column


class NetworkMap:
    """The public network at one moment, laid out. Nothing in it changes; making it takes a millisecond or two.

    A node is its number here, a channel as well: channels are in order of capacity, the largest first.

    Attributes:
        version: of the graph that it was made of.
        node_count, channel_count: how many there are.
        height: of the chain.
        x, y: where nodes stand, 0 to 1.
        names: what nodes call themselves, printable, empty for no name.
        colours: three bytes a node; `announced` tells which have said one.
        addresses: where nodes are reached, "host:port" or empty.
        node_capacity_sat, oldest_height, node_fee_millionths: sum, first channel's block, median fee (-1 for none).
        scid, node_1, node_2, capacity_sat: of channels; a capacity that nobody has looked up is -1.
        fee_millionths, fee_base_msat: by 2 * channel + side, side 0 is what node 1 asks; -1 where it forwards nothing.
        node_classes, channel_classes: by "capacity", "fee", "age": classes 0 to 4, 5 for unknown.
        channel_starts, channels_of: each node's channels, the largest first.
    """

    def __init__(self, columns: Mapping[str, bytes], *, version: int = 0, height: int = 0) -> None:
        self.version = version
        self.height = height
        self.id_bytes = columns["node_ids"]
        self.node_count = len(self.id_bytes) // NODE_ID_LENGTH
        self.x, self.y = _floats(columns["x"]), _floats(columns["y"])
        names = columns["names"].decode()
        self.names: tuple[str, ...] = tuple(names.split("\n")) if self.node_count else ()
        addresses = columns["addresses"].decode()
        self.addresses: tuple[str, ...] = tuple(addresses.split("\n")) if self.node_count else ()
        self.colours = columns["colours"]
        self.announced = columns["announced"]
        self.node_capacity_sat = _column("q", columns["node_capacity_sat"])
        self.oldest_height = _column("Q", columns["oldest_height"])
        self.node_fee_millionths = _column("q", columns["node_fee_millionths"])
        self.scid = _column("Q", columns["scid"])
        self.channel_count = len(self.scid)
        self.node_1, self.node_2 = _column("I", columns["node_1"]), _column("I", columns["node_2"])
        self.capacity_sat = _column("q", columns["capacity_sat"])
        self.fee_millionths = _column("q", columns["fee_millionths"])
        self.fee_base_msat = _column("q", columns["fee_base_msat"])
        self.node_classes = {mode: columns[f"node_class_{mode}"] for mode in MODES}
        self.channel_classes = {mode: columns[f"channel_class_{mode}"] for mode in MODES}
        self.channel_starts = _column("I", columns["channel_starts"])
        self.channels_of = _column("I", columns["channels_of"])
        self._folded = columns["folded"].decode()

    def node_id(self, node: int) -> str:
        """In hex."""
        return self.id_bytes[NODE_ID_LENGTH * node : NODE_ID_LENGTH * (node + 1)].hex()

    def node(self, node_id: str) -> int | None:
        """The number of a node, None where the map does not have it."""
        try:
            wanted = bytes.fromhex(node_id)
        except ValueError:
            return None
        if len(wanted) != NODE_ID_LENGTH:
            return None
        at = self.id_bytes.find(wanted)
        while at >= 0 and at % NODE_ID_LENGTH:
            at = self.id_bytes.find(wanted, at + 1)
        return at // NODE_ID_LENGTH if at >= 0 else None

    def channel(self, short_channel_id: int) -> int | None:
        """The number of a channel."""
        try:
            return self.scid.index(short_channel_id)
        except ValueError:
            return None

    def channels(self, node: int) -> array[int]:
        """A node's channels, the largest first."""
        return self.channels_of[self.channel_starts[node] : self.channel_starts[node + 1]]

    def other_end(self, channel: int, node: int) -> int:
        return self.node_2[channel] if self.node_1[channel] == node else self.node_1[channel]

    def channels_between(self, a: int, b: int) -> list[int]:
        return [channel for channel in self.channels(a) if self.other_end(channel, a) == b]

    @cached_property
    def by_size(self) -> list[int]:
        """All nodes, the one with the largest capacity first."""
        sizes = self.node_capacity_sat
        return sorted(range(self.node_count), key=sizes.__getitem__, reverse=True)

    @cached_property
    def _name_starts(self) -> list[int]:
        starts, start = [], 0
        for name in self._folded.split("\n"):
            starts.append(start)
            start += len(name) + 1
        return starts

    @cached_property
    def _id_text(self) -> str:
        return self.id_bytes.hex()

    def prepare(self) -> None:
        """Make what searching and painting need, so that the window finds it there."""
        _ = self._name_starts, self._id_text, self.by_size

    def search(self, text: str, limit: int = 200) -> list[int]:
        """Nodes whose name holds the text, or whose id begins with it: names that begin with it first, then by size."""
        from bisect import bisect_right

        wanted = " ".join(text.casefold().split())
        if not wanted or not self.node_count:
            return []
        begins: set[int] = set()
        holds: set[int] = set()
        at = self._folded.find(wanted)
        while at >= 0:
            node = bisect_right(self._name_starts, at) - 1
            (begins if at == self._name_starts[node] else holds).add(node)
            # On to the next name: one match of each is enough.
            following = self._name_starts[node + 1] if node + 1 < self.node_count else len(self._folded)
            at = self._folded.find(wanted, following)
        if len(wanted) >= 4 and all(char in "0123456789abcdef" for char in wanted):
            at = self._id_text.find(wanted)
            while at >= 0 and len(begins) < 1_000:
                node, within = divmod(at, 2 * NODE_ID_LENGTH)
                if within == 0:
                    begins.add(node)
                at = self._id_text.find(wanted, at + 1)
        size = self.node_capacity_sat.__getitem__
        found = sorted(begins, key=size, reverse=True)[:limit]
        return found + sorted(holds - begins, key=size, reverse=True)[: limit - len(found)]


@runtime_checkable
class MapSource(Protocol):
    """A running wallet that can give the map."""

    def network_map(self) -> Future[NetworkMap]:
        """The public network, laid out; from any thread, and it is made in a process of its own."""
        ...


def numbers(values: Sequence[int], typecode: str) -> bytes:
    """A column as bytes, for those who make maps by hand."""
    return array(typecode, values).tobytes()
