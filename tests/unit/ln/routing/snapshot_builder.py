"""Writes snapshots of rapid gossip sync: nodes are named by letters, channels by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.unit.ln.routing.graph_builder import node_id, scid
from wallet.bitcoin.address import REGTEST, Network
from wallet.ln.wire import Writer

DEFAULTS = (40, 1_000, 1_000, 1, 10**9)
"""CLTV delta, minimum, base fee, proportional fee, maximum."""
# The flag of each field and its width, in the order of the wire.
FIELDS = ((64, 2), (32, 8), (16, 4), (8, 4), (4, 8))


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What an update says: `values` are as `DEFAULTS`, None for those left out."""

    height: int
    direction: int
    values: Sequence[int | None] = (None,) * 5
    disabled: bool = False
    incremental: bool = False


def ordered(a: str, b: str) -> tuple[str, str]:
    first, second = sorted((a, b), key=node_id)
    return first, second


def snapshot(
    *,
    seen_at: int,
    version: int = 1,
    channels: Sequence[tuple[str, str, int]] = (("A", "B", 100), ("B", "C", 101)),
    terms: Sequence[Terms] = (Terms(height=100, direction=0), Terms(height=101, direction=1)),
    features: bytes = b"",
    network: Network = REGTEST,
    additions: bool = False,
) -> bytes:
    """`additions` has version 2 write everything that may stand between the lines."""
    names = sorted({name for a, b, _ in channels for name in (a, b)})
    out = Writer().bytes(b"LDK").u8(version).bytes(network.chain_hash).u32(seen_at)
    if version >= 2:
        out.u8(1).u16_bytes(b"\x01")
    out.u32(len(names))
    for name in names:
        raw = node_id(name)
        if not additions:
            out.bytes(raw)
            continue
        flags = 0b1011_1100 if name == names[0] else 0b0100_1000
        out.u8(raw[0] | flags).bytes(raw[1:])
        if name == names[0]:
            out.u8(2).u8(1).bytes(b"\x09").u8(7).bytes(b"\x01\x7f\x00\x00\x01\x26\x07")
            out.u16_bytes(b"\x02\x00").u16_bytes(b"later")
    out.u32(len(channels))
    before = 0
    for a, b, height in channels:
        first, second = map(names.index, ordered(a, b))
        out.u16_bytes(features).bigsize(scid(height) - before).bigsize(first)
        out.bigsize(second | additions << 63)
        if additions:
            out.u16_bytes(b"\x20later")
        before = scid(height)
    out.u32(len(terms) * (1 + additions))
    if terms:
        for default, (_, width) in zip(DEFAULTS, FIELDS, strict=True):
            out.bytes(default.to_bytes(width, "big"))
    before = 0
    for each in terms:
        flags = each.direction | each.disabled << 1 | each.incremental << 7
        flags |= sum(flag for value, (flag, _) in zip(each.values, FIELDS, strict=True) if value is not None)
        out.bigsize(scid(each.height) - before).u8(flags)
        before = scid(each.height)
        for value, (_, width) in zip(each.values, FIELDS, strict=True):
            if value is not None:
                out.bytes(value.to_bytes(width, "big"))
        if additions:
            out.bigsize(0).u8(each.direction).u16_bytes(b"later")
    return out.getvalue()
