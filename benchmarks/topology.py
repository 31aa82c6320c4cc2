"""Networks to measure on: read from a file (`--topology`), or made up in the shape of the public one.

A file is what numpy's `savez` writes: arrays `node_id` (33 bytes each), `scid`, `node1`, `node2`, `capacity_sat`, and
of each update `u_chan`, `u_dir`, `u_enabled`, `u_htlc_min_msat`, `u_htlc_max_msat`, `u_fee_base_msat`, `u_fee_ppm`,
`u_cltv_delta`. Only its plain form is read, without numpy.
"""

from __future__ import annotations

import ast
import io
import random
import struct
import sys
import zipfile
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.inputs import InputError, read_bytes
from wallet.bitcoin import curve
from wallet.bitcoin.address import MAINNET, Network
from wallet.bitcoin.hashes import sha256
from wallet.ln.msgs import ChannelAnnouncement, ChannelUpdate
from wallet.ln.routing.graph import NetworkGraph
from wallet.ln.types import NodeId, ShortChannelId

UPDATED_AT = 1_770_100_000
_TYPECODES = {"|u1": "B", "<u2": "H", "<u4": "I", "<u8": "Q", "<i4": "i", "<i8": "q"}


@dataclass(frozen=True, slots=True)
class Terms:
    """What one side of a channel asks."""

    channel: int
    direction: int
    enabled: bool
    htlc_minimum_msat: int
    htlc_maximum_msat: int
    fee_base_msat: int
    fee_proportional_millionths: int
    cltv_expiry_delta: int


@dataclass(frozen=True, slots=True)
class Topology:
    """Nodes by their ids, channels by their two nodes, and terms.

    Attributes:
        channels: id, two node indices, capacity in sat. The first node is not always the one with the smaller id;
            direction 0 of `terms` is from the first to the second.
    """

    node_ids: list[bytes]
    channels: list[tuple[int, int, int, int]]
    terms: list[Terms]


def read_npz(path: Path) -> Topology:
    """Read a file; see the module's docstring."""
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path))) as archive:
            columns = {name.removesuffix(".npy"): _npy(archive.read(name)) for name in archive.namelist()}
        return _topology(columns)
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is not what numpy's savez writes.") from error
    except KeyError as error:
        raise InputError(f"{path} lacks the array {error}.") from error
    except (ValueError, SyntaxError, TypeError, struct.error, IndexError) as error:
        raise InputError(f"{path} is no network: {error}.") from error


def _topology(columns: Mapping[str, array[Any]]) -> Topology:
    ids = columns["node_id"].tobytes()
    node_ids = [ids[start : start + 33] for start in range(0, len(ids), 33)]
    channels = list(zip(*(columns[name] for name in ("scid", "node1", "node2", "capacity_sat")), strict=True))
    names = (
        "u_chan", "u_dir", "u_enabled", "u_htlc_min_msat", "u_htlc_max_msat", "u_fee_base_msat", "u_fee_ppm",
        "u_cltv_delta",
    )  # fmt: skip
    rows = zip(*(columns[name] for name in names), strict=True)
    terms = [Terms(channel, direction, bool(enabled), *rest) for channel, direction, enabled, *rest in rows]
    if not channels or len(node_ids) < 2:
        raise ValueError("it has no channels")
    if any(max(first, second) >= len(node_ids) or first == second for _, first, second, _ in channels):
        raise ValueError("a channel names a node that is not there")
    if any(term.channel >= len(channels) or term.direction > 1 for term in terms):
        raise ValueError("terms name a channel that is not there")
    return Topology(node_ids, channels, terms)


def _npy(data: bytes) -> array[Any]:
    if data[:6] != b"\x93NUMPY":
        raise ValueError("this is no array of numpy's")
    wide = data[6] > 1
    (length,) = struct.unpack_from("<I" if wide else "<H", data, 8)
    start = (12 if wide else 10) + length
    header = ast.literal_eval(data[12 if wide else 10 : start].decode("latin-1"))
    if header["fortran_order"] or header["descr"] not in _TYPECODES:
        raise ValueError(f"arrays of {header['descr']} are not read")
    column: array[Any] = array(_TYPECODES[header["descr"]])
    column.frombytes(data[start:])
    if sys.byteorder == "big":
        column.byteswap()
    return column


def node_secret(index: int) -> bytes:
    return sha256(b"benchmark node %d" % index)


def synthetic(nodes: int = 2_000, channels: int = 6_000, seed: int = 1) -> Topology:
    """A network in which few nodes have many channels and many have few, as in the public one."""
    draw = random.Random(seed)
    node_ids = [curve.pubkey_from_secret(node_secret(index)) for index in range(nodes)]
    ends = [0, 1]
    pairs = [(0, 1)]
    for number in range(1, channels):
        # Each node is connected once; then who has many channels gets more.
        first = number + 1 if number + 1 < nodes else draw.choice(ends)
        second = draw.choice(ends)
        while second == first:
            second = draw.randrange(min(nodes, number + 1))
        pairs.append((first, second))
        ends += (first, second)
    rows, terms = [], []
    for number, (first, second) in enumerate(pairs):
        capacity_sat = int(10 ** draw.uniform(4.3, 8.0))
        rows.append(((600_000 + number) << 40 | 1 << 16, first, second, capacity_sat))
        for direction in (0, 1):
            terms.append(
                Terms(
                    channel=number,
                    direction=direction,
                    enabled=draw.random() < 0.7,
                    htlc_minimum_msat=draw.choice((1, 1, 1_000, 1_000, 100_000)),
                    htlc_maximum_msat=capacity_sat * draw.choice((1_000, 990, 450)),
                    fee_base_msat=draw.choice((0, 0, 1, 1_000, 1_000)),
                    fee_proportional_millionths=int(10 ** draw.uniform(0, 3.5)),
                    cltv_expiry_delta=draw.choice((34, 40, 80, 144)),
                )
            )
    return Topology(node_ids, rows, terms)


def graph_of(topology: Topology, network: Network = MAINNET) -> NetworkGraph:
    """The network as one that was believed: no signature in it is checked."""
    graph = NetworkGraph(network)
    swapped = []
    for channel in topology.channels:
        message, swap = announcement_of(topology, channel, network.chain_hash)
        swapped.append(swap)
        graph.add_channel(message, channel[3], UPDATED_AT)
    for terms in topology.terms:
        graph.apply_update(
            update_of(topology, terms, swapped=swapped[terms.channel], chain_hash=network.chain_hash)
        )
    return graph


def announcement_of(
    topology: Topology, channel: tuple[int, int, int, int], chain_hash: bytes
) -> tuple[ChannelAnnouncement, bool]:
    """Without signatures, funded by its nodes' own keys; and whether the two nodes changed places in it."""
    ids = topology.node_ids[channel[1]], topology.node_ids[channel[2]]
    nothing = bytes(64)
    message = ChannelAnnouncement(
        node_signature_1=nothing,
        node_signature_2=nothing,
        bitcoin_signature_1=nothing,
        bitcoin_signature_2=nothing,
        features=b"",
        chain_hash=chain_hash,
        short_channel_id=ShortChannelId(channel[0]),
        node_id_1=NodeId(min(ids)),
        node_id_2=NodeId(max(ids)),
        bitcoin_key_1=min(ids),
        bitcoin_key_2=max(ids),
    )
    return message, ids[0] > ids[1]


def update_of(topology: Topology, terms: Terms, *, swapped: bool, chain_hash: bytes) -> ChannelUpdate:
    return ChannelUpdate(
        signature=bytes(64),
        chain_hash=chain_hash,
        short_channel_id=ShortChannelId(topology.channels[terms.channel][0]),
        timestamp_at=UPDATED_AT,
        channel_flags=terms.direction ^ swapped | (0 if terms.enabled else 2),
        cltv_expiry_delta=terms.cltv_expiry_delta,
        htlc_minimum_msat=terms.htlc_minimum_msat,
        fee_base_msat=terms.fee_base_msat,
        fee_proportional_millionths=terms.fee_proportional_millionths,
        htlc_maximum_msat=terms.htlc_maximum_msat,
    )
