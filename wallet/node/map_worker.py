"""The process that makes the map of the public network: it reads columns from its input and writes a map to its output.

It holds nobody up: neither the lock nor the interpreter of the process that asked. Where nodes stood is kept in a file
in the network's folder, which names public nodes only; a file that is of no use costs a map made anew. Both ways the
columns travel as one JSON line, which says how long each is, and their bytes.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import json
import os
import sys
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import BinaryIO, Final

from wallet.node.map_layout import lay_out

__all__ = ["AGE_BLOCKS", "CAPACITY_SAT", "FEE_MILLIONTHS", "UNKNOWN", "main", "make_map", "pack", "unpack"]

NODE_ID_LENGTH: Final = 33
LAYOUT_VERSION: Final = 1
"""Raised when maps are laid out in another way: then no map of before is kept."""
LEAST_KEPT_PERCENT: Final = 60
"""A map is kept while at least so many of its nodes are those that it was laid out for."""

# Borders of the classes that colours stand for, 0 to 4; the legend names the same.
CAPACITY_SAT: Final = (1_000_000, 5_000_000, 20_000_000, 100_000_000)
FEE_MILLIONTHS: Final = (10, 100, 300, 1_000)
AGE_BLOCKS: Final = (4_320, 25_920, 52_560, 157_680)
"""A month, half a year, a year, three years."""
UNKNOWN: Final = 5

# node_announcement (BOLT 7): signature, features with their length, timestamp, id, colour, alias.
_FEATURES_AT: Final = 64
_COLOUR_BEHIND: Final = 4 + NODE_ID_LENGTH
_ALIAS_LENGTH: Final = 32
_ADDRESS_LENGTH: Final = {1: 4, 2: 16, 3: 10, 4: 35}


def pack(columns: Mapping[str, bytes]) -> bytes:
    """Columns as one text of bytes."""
    head = json.dumps({name: len(column) for name, column in columns.items()}).encode()
    return b"".join((head, b"\n", *columns.values()))


def unpack(data: bytes) -> dict[str, bytes]:
    """The reverse; raises `ValueError`."""
    end = data.index(b"\n")
    lengths = json.loads(data[:end])
    columns, start = {}, end + 1
    for name, length in lengths.items():
        columns[name] = data[start : start + length]
        start += length
    if start != len(data):
        raise ValueError("the columns are cut short, or too long")
    return columns


def _numbers(typecode: str, data: bytes) -> array[int]:
    column: array[int] = array(typecode)
    column.frombytes(data)
    return column


def _described(raw: bytes) -> tuple[bytes, str, str]:
    """Colour, name and address of a node, out of its announcement."""
    features = int.from_bytes(raw[_FEATURES_AT : _FEATURES_AT + 2], "big")
    start = _FEATURES_AT + 2 + features + _COLOUR_BEHIND
    text = raw[start + 3 : start + 3 + _ALIAS_LENGTH].rstrip(b"\0").decode("utf-8", "replace")
    if not text.isprintable():
        # Neither control characters nor those that turn the direction of writing.
        text = "".join(char for char in text if char.isprintable())
    behind = start + 3 + _ALIAS_LENGTH
    length = int.from_bytes(raw[behind : behind + 2], "big")
    return raw[start : start + 3], " ".join(text.split()), _address(raw[behind + 2 : behind + 2 + length])


def _address(data: bytes) -> str:
    """The first address that can be written as host:port. BOLT 7, node_announcement: the descriptors."""
    while data:
        kind, data = data[0], data[1:]
        length = data[0] + 1 if kind == 5 and data else _ADDRESS_LENGTH.get(kind, 0)
        host, port = data[:length], data[length : length + 2]
        if not length or len(port) < 2:
            break
        data = data[length + 2 :]
        if kind == 1:
            name = ".".join(map(str, host))
        elif kind == 2:
            name = f"[{IPv6Address(host)}]"
        elif kind == 4:
            name = base64.b32encode(host).decode().lower() + ".onion"
        elif kind == 5:
            name = host[1:].decode("ascii", "replace")
        else:
            continue
        if name.isascii() and name.isprintable() and " " not in name:
            return f"{name}:{int.from_bytes(port, 'big')}"
    return ""


class _Kept:
    """The map of last time, from its file."""

    def __init__(self, path: Path) -> None:
        self.places: dict[bytes, tuple[float, float]] = {}
        self.original: frozenset[bytes] = frozenset()
        try:
            columns = unpack(path.read_bytes())
            if columns["version"] != str(LAYOUT_VERSION).encode():
                return
            ids = columns["ids"]
            nodes = [ids[start : start + NODE_ID_LENGTH] for start in range(0, len(ids), NODE_ID_LENGTH)]
            x, y = array("d"), array("d")
            x.frombytes(columns["x"])
            y.frombytes(columns["y"])
            places = dict(zip(nodes, zip(x, y, strict=True), strict=True))
            original = frozenset(
                node for node, is_one in zip(nodes, columns["original"], strict=True) if is_one
            )
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return
        if all(0.0 <= value <= 1.0 for place in places.values() for value in place):
            self.places, self.original = places, original


def _keep(path: Path, nodes: Sequence[bytes], x: array[float], y: array[float], original: bytes) -> None:
    columns = {
        "version": str(LAYOUT_VERSION).encode(),
        "ids": b"".join(nodes),
        "x": x.tobytes(),
        "y": y.tobytes(),
        "original": original,
    }
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        temporary.write_bytes(pack(columns))
        temporary.replace(path)
    except OSError:
        # The map is shown all the same; next time it is laid out anew.
        with contextlib.suppress(OSError):
            temporary.unlink()


def _place(
    path: Path | None,
    nodes: Sequence[bytes],
    first: Sequence[int],
    second: Sequence[int],
    capacity_sat: Sequence[int],
) -> tuple[array[float], array[float]]:
    """Lay out, beginning with what is kept, and keep that."""
    last = _Kept(path) if path is not None else None
    kept = None
    original = bytes(1 for _node in nodes)
    if last is not None and last.places:
        still = sum(node in last.original for node in nodes)
        if 100 * still >= LEAST_KEPT_PERCENT * len(nodes):
            kept = [last.places.get(node) for node in nodes]
            original = bytes(node in last.original for node in nodes)
    x, y = lay_out(nodes, first, second, capacity_sat, kept)
    if path is not None and nodes:
        _keep(path, nodes, x, y, original)
    return x, y


def make_map(columns: Mapping[str, bytes]) -> dict[str, bytes]:
    """A map of what a graph holds.

    Taken are, by the graph's indices, `node_ids`, `announcements` with their `lengths`, the channels' `scid`, `node_1`,
    `node_2`, `capacity_sat`, the directions' `flags`, `fee_base_msat`, `fee_millionths`; and `live`, the channels that
    there are, `height`, and the `path` of the file, empty for none. Given are the columns of `api.NetworkMap`.
    """
    all_scids = _numbers("Q", columns["scid"])
    all_first, all_second = _numbers("I", columns["node_1"]), _numbers("I", columns["node_2"])
    all_capacity_sat = _numbers("q", columns["capacity_sat"])
    # The strongest first, so that a channel's number is its rank.
    live = sorted(
        _numbers("I", columns["live"]), key=lambda index: (-all_capacity_sat[index], all_scids[index])
    )
    used = sorted({all_first[index] for index in live} | {all_second[index] for index in live})
    number = dict(zip(used, range(len(used)), strict=True))
    first = array("I", [number[all_first[index]] for index in live])
    second = array("I", [number[all_second[index]] for index in live])
    scids = array("Q", [all_scids[index] for index in live])
    capacity_sat = array("q", [all_capacity_sat[index] for index in live])
    ids = columns["node_ids"]
    nodes = [ids[NODE_ID_LENGTH * node : NODE_ID_LENGTH * (node + 1)] for node in used]
    path = columns["path"].decode()
    x, y = _place(Path(path) if path else None, nodes, first, second, capacity_sat)
    made = {
        "node_ids": b"".join(nodes),
        "x": x.tobytes(),
        "y": y.tobytes(),
        "scid": scids.tobytes(),
        "node_1": first.tobytes(),
        "node_2": second.tobytes(),
        "capacity_sat": capacity_sat.tobytes(),
    }
    made |= _names(columns, used)
    made |= _terms(columns, live, len(used), first, second)
    made |= _classes(made, int(columns["height"]), len(used), first, second, scids, capacity_sat)
    return made | _channels_of_nodes(len(used), first, second)


def _names(columns: Mapping[str, bytes], used: Sequence[int]) -> dict[str, bytes]:
    lengths = _numbers("I", columns["lengths"])
    starts, start = [], 0
    for length in lengths:
        starts.append(start)
        start += length
    raw = columns["announcements"]
    names, addresses, colours, announced = [], [], bytearray(), bytearray()
    for node in used:
        length = lengths[node]
        colour, name, address = (
            _described(raw[starts[node] : starts[node] + length]) if length else (b"", "", "")
        )
        announced.append(len(colour) == 3)
        colours += colour if len(colour) == 3 else bytes(3)
        names.append(name)
        addresses.append(address)
    return {
        "names": "\n".join(names).encode("utf-8", "replace"),
        "folded": "\n".join(name.casefold() for name in names).encode("utf-8", "replace"),
        "addresses": "\n".join(addresses).encode(),
        "colours": bytes(colours),
        "announced": bytes(announced),
    }


def _terms(
    columns: Mapping[str, bytes], live: Sequence[int], count: int, first: Sequence[int], second: Sequence[int]
) -> dict[str, bytes]:
    """Fees by channel, two each, -1 where none is known or the direction is closed; of a node the median of its own."""
    flags = columns["flags"]
    base_msat = _numbers("I", columns["fee_base_msat"])
    rate = _numbers("I", columns["fee_millionths"])
    fees, bases = array("q"), array("q")
    asked: list[list[int]] = [[] for _ in range(count)]
    for place, channel in enumerate(live):
        for side, node in ((0, first[place]), (1, second[place])):
            index = 2 * channel + side
            # Known, and not disabled.
            is_open = flags[index] == 1
            fees.append(rate[index] if is_open else -1)
            bases.append(base_msat[index] if is_open else -1)
            if is_open:
                asked[node].append(rate[index])
    medians = array("q", [sorted(theirs)[len(theirs) // 2] if theirs else -1 for theirs in asked])
    return {
        "fee_millionths": fees.tobytes(),
        "fee_base_msat": bases.tobytes(),
        "node_fee_millionths": medians.tobytes(),
    }


def _classes(
    made: Mapping[str, bytes],
    height: int,
    count: int,
    first: Sequence[int],
    second: Sequence[int],
    scids: Sequence[int],
    capacity_sat: Sequence[int],
) -> dict[str, bytes]:
    """What the colours tell: of each node and channel a class of capacity, fee and age."""
    node_capacity_sat = array("q", bytes(8 * count))
    oldest = array("Q", [0]) * count
    knows = bytearray(count)
    for a, b, scid, amount_sat in zip(first, second, scids, capacity_sat, strict=True):
        for node in (a, b):
            if amount_sat >= 0:
                node_capacity_sat[node] += amount_sat
                knows[node] = 1
            if not oldest[node] or scid >> 40 < oldest[node]:
                oldest[node] = scid >> 40
    top = max(height, max((scid >> 40 for scid in scids), default=0))
    fees = _numbers("q", made["fee_millionths"])
    medians = _numbers("q", made["node_fee_millionths"])
    channel_fee = bytearray()
    for place in range(len(scids)):
        known = [fee for fee in fees[2 * place : 2 * place + 2] if fee >= 0]
        channel_fee.append(bisect_right(FEE_MILLIONTHS, sum(known) // len(known)) if known else UNKNOWN)
    return {
        "node_capacity_sat": node_capacity_sat.tobytes(),
        "oldest_height": oldest.tobytes(),
        "node_class_capacity": bytes(
            bisect_right(CAPACITY_SAT, amount_sat) if known else UNKNOWN
            for amount_sat, known in zip(node_capacity_sat, knows, strict=True)
        ),
        "node_class_fee": bytes(
            bisect_right(FEE_MILLIONTHS, fee) if fee >= 0 else UNKNOWN for fee in medians
        ),
        "node_class_age": bytes(bisect_right(AGE_BLOCKS, top - at) for at in oldest),
        "channel_class_capacity": bytes(
            bisect_right(CAPACITY_SAT, amount_sat) if amount_sat >= 0 else UNKNOWN
            for amount_sat in capacity_sat
        ),
        "channel_class_fee": bytes(channel_fee),
        "channel_class_age": bytes(bisect_right(AGE_BLOCKS, top - (scid >> 40)) for scid in scids),
    }


def _channels_of_nodes(count: int, first: Sequence[int], second: Sequence[int]) -> dict[str, bytes]:
    """Each node's channels, the strongest first, all in one column, and where each node's begin."""
    theirs: list[list[int]] = [[] for _ in range(count)]
    for place, (a, b) in enumerate(zip(first, second, strict=True)):
        theirs[a].append(place)
        theirs[b].append(place)
    starts, column = array("I", [0]), array("I")
    for places in theirs:
        column.extend(places)
        starts.append(len(column))
    return {"channel_starts": starts.tobytes(), "channels_of": column.tobytes()}


def main(source: BinaryIO | None = None, target: BinaryIO | None = None) -> int:
    """The process: input, map, output."""
    # The process makes one map and ends.
    gc.disable()
    data = (source or sys.stdin.buffer).read()
    out = target or sys.stdout.buffer
    out.write(pack(make_map(unpack(data))))
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
