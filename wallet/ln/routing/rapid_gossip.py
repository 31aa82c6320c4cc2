"""Snapshots of rapid gossip sync (versions 1 and 2): the graph as somebody else saw it, without signatures.

Theory of operation. A snapshot is a head (magic, version, chain, when it was taken), the ids of nodes, the channels
between them, and the terms of their directions as they differ from defaults, or from what an earlier snapshot said.
`read_snapshot` judges all of it and needs no lock. `apply_snapshot` puts it into a graph, some records a step, so that
the lock is free in between.

What it tells is believed for finding routes only, and until something better comes: nothing signed is changed by it, a
peer's announcement or update takes the place of what it said, nobody is told of it, its channels count as unchecked,
and two weeks after it was taken the rest is forgotten. What it says of nodes (addresses, features) is passed over: they
say that themselves.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from wallet.bitcoin import curve
from wallet.bitcoin.address import Network
from wallet.bitcoin.errors import DecodeError
from wallet.i18n import _
from wallet.ln.routing.gossip import (
    MAX_BELIEVED_CHANNELS,
    MAX_CHANNELS_IN_RANGE,
    MAX_FUTURE_SECONDS,
    MAX_STORED_GOSSIP_LENGTH,
)
from wallet.ln.routing.graph import STALE_CHANNEL_SECONDS, DirectionInfo, NetworkGraph
from wallet.ln.types import NodeId, ShortChannelId
from wallet.ln.wire import Reader

__all__ = [
    "MAX_SNAPSHOT_LENGTH",
    "RECORDS_PER_STEP",
    "Applied",
    "Snapshot",
    "apply_snapshot",
    "read_snapshot",
]

_MAGIC: Final = b"LDK"
_VERSIONS: Final = (1, 2)
MAX_SNAPSHOT_LENGTH: Final = 32_000_000
"""Ten times that of the network in 2024."""
RECORDS_PER_STEP: Final = 500
"""Some milliseconds under the lock."""

# The first byte of a node's id in version 2.
_NODE_PARITY: Final = 0b0000_0011
_NODE_HAS_ADDRESSES: Final = 0b0000_0100
_NODE_FEATURES_SHIFT: Final = 3
_NODE_FEATURES_MASK: Final = 0b111
_NODE_OWN_FEATURES: Final = 7
_NODE_HAS_MORE: Final = 0b1000_0000

_CHANNEL_HAS_MORE: Final = 1 << 63

# The flags of an update.
_DIRECTION: Final = 0b0000_0001
_DISABLED: Final = 0b0000_0010
_HTLC_MAXIMUM: Final = 0b0000_0100
_FEE_PROPORTIONAL: Final = 0b0000_1000
_FEE_BASE: Final = 0b0001_0000
_HTLC_MINIMUM: Final = 0b0010_0000
_CLTV_EXPIRY: Final = 0b0100_0000
_INCREMENTAL: Final = 0b1000_0000


class _SnapshotReader(Reader):
    """Says what is wrong with the file, rather than how many bytes are missing."""

    __slots__ = ()

    def bytes(self, length: int) -> builtins.bytes:
        try:
            return super().bytes(length)
        except DecodeError:
            raise _damaged() from None

    def bigsize(self) -> int:
        try:
            return super().bigsize()
        except DecodeError:
            raise _damaged() from None


def _damaged() -> DecodeError:
    return DecodeError(_("It is damaged or cut short."))


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotChannel:
    """A channel, as told."""

    short_channel_id: ShortChannelId
    nodes: tuple[NodeId, NodeId]
    features: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotTerms:
    """The terms of one direction, as told.

    Attributes:
        incremental: None of a field means as it was before, rather than the snapshot's default.
    """

    short_channel_id: ShortChannelId
    direction: int
    enabled: bool
    incremental: bool
    cltv_expiry_delta: int | None
    htlc_minimum_msat: int | None
    fee_base_msat: int | None
    fee_proportional_millionths: int | None
    htlc_maximum_msat: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot that makes sense.

    Attributes:
        seen_at: the newest that was in it.
        defaults: for what complete terms leave out; None where there are no terms.
    """

    seen_at: int
    channels: tuple[SnapshotChannel, ...]
    terms: tuple[SnapshotTerms, ...]
    defaults: DirectionInfo | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a graph took in so far.

    Attributes:
        channels: that it did not know.
        terms: of directions.
    """

    channels: int
    terms: int


def read_snapshot(data: bytes, network: Network, now_at: int) -> Snapshot:
    """Read a snapshot; raises `DecodeError` for what is none, of another network, too old or from the future."""
    if len(data) > MAX_SNAPSHOT_LENGTH:
        raise DecodeError(_("The snapshot is too large to be one of the network."))
    reader = _SnapshotReader(data)
    if data[:3] != _MAGIC:
        raise DecodeError(
            _("This is not a snapshot of rapid gossip sync. (If it is compressed, unpack it first.)")
        )
    reader.bytes(3)
    version = reader.u8()
    if version not in _VERSIONS:
        raise DecodeError(
            _("The snapshot is of version {version}; only 1 and 2 are known.").format(version=version)
        )
    if reader.bytes(32) != network.chain_hash:
        raise DecodeError(_("The snapshot is of another network."))
    seen_at = reader.u32()
    if seen_at < now_at - STALE_CHANNEL_SECONDS:
        raise DecodeError(_("The snapshot is more than two weeks old, and what it tells is out of date."))
    if seen_at > now_at + MAX_FUTURE_SECONDS:
        raise DecodeError(
            _("The snapshot is from the future: its date, or the clock of this computer, is wrong.")
        )
    nodes = _nodes(reader, version)
    channels = _channels(reader, version, nodes)
    count = _count(
        reader,
        2 * MAX_CHANNELS_IN_RANGE,
        _("The snapshot claims to have {count} updates; there are not so many."),
    )
    defaults, terms = (_defaults(reader, seen_at), _terms(reader, version, count)) if count else (None, ())
    # What stands behind is passed over, as others do.
    return Snapshot(seen_at=seen_at, channels=channels, terms=terms, defaults=defaults)


def _count(reader: Reader, limit: int, too_many: str) -> int:
    count = reader.u32()
    if count > limit:
        raise DecodeError(too_many.format(count=count))
    return count


def _skip_more(reader: Reader) -> bytes:
    """What later releases may add."""
    length = reader.u16()
    # From here on the length itself would be longer.
    if length == 0xFFFF:
        raise DecodeError(_("The snapshot has an addition that is too long."))
    return reader.bytes(length)


def _nodes(reader: Reader, version: int) -> list[NodeId]:
    default_features = 0
    if version >= 2:
        default_features = reader.u8()
        for _number in range(default_features):
            reader.u16_bytes()
    nodes: list[NodeId] = []
    for _number in range(
        _count(
            reader,
            2 * MAX_CHANNELS_IN_RANGE,
            _("The snapshot claims to have {count} nodes; there are not so many."),
        )
    ):
        raw = reader.bytes(33)
        details = 0
        if version >= 2:
            details = raw[0] & ~_NODE_PARITY
            raw = bytes((raw[0] & _NODE_PARITY,)) + raw[1:]
        # An onion for such a node could not be made.
        if not curve.is_valid_pubkey(raw):
            raise DecodeError(_("The snapshot has a node whose id is no public key."))
        nodes.append(NodeId(raw))
        if details:
            _pass_over_details(reader, details, default_features)
    return nodes


def _pass_over_details(reader: Reader, details: int, default_features: int) -> None:
    if details & _NODE_HAS_ADDRESSES:
        for _number in range(reader.u8()):
            reader.bytes(reader.u8())
    features = details >> _NODE_FEATURES_SHIFT & _NODE_FEATURES_MASK
    if features == _NODE_OWN_FEATURES:
        reader.u16_bytes()
    elif features > default_features:
        raise DecodeError(_("The snapshot has a node with features that are not listed."))
    if details & _NODE_HAS_MORE:
        _skip_more(reader)


def _next_scid(reader: Reader, before: int) -> int:
    scid = before + reader.bigsize()
    if scid >= 1 << 64:
        raise DecodeError(_("The snapshot has a channel id that is too large."))
    return scid


def _channels(reader: Reader, version: int, nodes: list[NodeId]) -> tuple[SnapshotChannel, ...]:
    channels: list[SnapshotChannel] = []
    scid = 0
    for _number in range(
        _count(
            reader,
            MAX_CHANNELS_IN_RANGE,
            _("The snapshot claims to have {count} channels; there are not so many."),
        )
    ):
        features = reader.u16_bytes()
        scid = _next_scid(reader, scid)
        first, second = reader.bigsize(), reader.bigsize()
        if version >= 2 and second & _CHANNEL_HAS_MORE:
            second &= ~_CHANNEL_HAS_MORE
            # Its first number is what the channel holds, which nobody has looked up here.
            _SnapshotReader(_skip_more(reader)).bigsize()
        if max(first, second) >= len(nodes):
            raise DecodeError(_("The snapshot has a channel with a node that is not listed."))
        # BOLT 7, channel_announcement: node ids ascend; which direction is which depends on it.
        if nodes[first] >= nodes[second]:
            raise DecodeError(_("The snapshot has a channel with its nodes in the wrong order."))
        if len(features) > MAX_STORED_GOSSIP_LENGTH:
            raise DecodeError(_("The snapshot has a channel with too many features."))
        channels.append(
            SnapshotChannel(
                short_channel_id=ShortChannelId(scid), nodes=(nodes[first], nodes[second]), features=features
            )
        )
    return tuple(channels)


def _defaults(reader: Reader, seen_at: int) -> DirectionInfo:
    cltv_expiry_delta, htlc_minimum_msat = reader.u16(), reader.u64()
    fee_base_msat, fee_proportional_millionths = reader.u32(), reader.u32()
    return DirectionInfo(
        enabled=True,
        updated_at=seen_at,
        cltv_expiry_delta=cltv_expiry_delta,
        htlc_minimum_msat=htlc_minimum_msat,
        fee_base_msat=fee_base_msat,
        fee_proportional_millionths=fee_proportional_millionths,
        htlc_maximum_msat=reader.u64(),
    )


def _terms(reader: Reader, version: int, count: int) -> tuple[SnapshotTerms, ...]:
    found: list[SnapshotTerms] = []
    scid, before = 0, -1
    for _number in range(count):
        step_start = scid
        scid = _next_scid(reader, scid)
        flags = reader.u8()
        direction = flags & _DIRECTION
        # Version 2: the same direction once more brings what later releases may add.
        if version >= 2 and scid == step_start and direction == before:
            _skip_more(reader)
            continue
        before = direction
        found.append(
            SnapshotTerms(
                short_channel_id=ShortChannelId(scid),
                direction=direction,
                enabled=not flags & _DISABLED,
                incremental=bool(flags & _INCREMENTAL),
                cltv_expiry_delta=reader.u16() if flags & _CLTV_EXPIRY else None,
                htlc_minimum_msat=reader.u64() if flags & _HTLC_MINIMUM else None,
                fee_base_msat=reader.u32() if flags & _FEE_BASE else None,
                fee_proportional_millionths=reader.u32() if flags & _FEE_PROPORTIONAL else None,
                htlc_maximum_msat=reader.u64() if flags & _HTLC_MAXIMUM else None,
            )
        )
    return tuple(found)


def apply_snapshot(snapshot: Snapshot, graph: NetworkGraph) -> Iterator[Applied]:
    """Put a snapshot into a graph, some records for each value that is asked for; the last value is the whole."""
    channels = terms = 0
    for number, channel in enumerate(snapshot.channels):
        if graph.unchecked_count < MAX_BELIEVED_CHANNELS:
            channels += graph.add_unsigned_channel(
                channel.short_channel_id, channel.nodes, channel.features, snapshot.seen_at
            )
        if number % RECORDS_PER_STEP == RECORDS_PER_STEP - 1:
            yield Applied(channels=channels, terms=terms)
    for number, told in enumerate(snapshot.terms):
        full = _completed(told, snapshot, graph)
        if full is not None:
            terms += graph.apply_unsigned_terms(told.short_channel_id, told.direction, full)
        if number % RECORDS_PER_STEP == RECORDS_PER_STEP - 1:
            yield Applied(channels=channels, terms=terms)
    yield Applied(channels=channels, terms=terms)


def _completed(told: SnapshotTerms, snapshot: Snapshot, graph: NetworkGraph) -> DirectionInfo | None:
    """The terms with what they left out; None where they only change what is not known."""
    base = snapshot.defaults
    if told.incremental:
        known = graph.channel(told.short_channel_id)
        base = known.directions[told.direction] if known is not None else None
    if base is None:
        return None
    return replace(
        base,
        enabled=told.enabled,
        updated_at=snapshot.seen_at,
        cltv_expiry_delta=_either(told.cltv_expiry_delta, base.cltv_expiry_delta),
        htlc_minimum_msat=_either(told.htlc_minimum_msat, base.htlc_minimum_msat),
        fee_base_msat=_either(told.fee_base_msat, base.fee_base_msat),
        fee_proportional_millionths=_either(
            told.fee_proportional_millionths, base.fee_proportional_millionths
        ),
        htlc_maximum_msat=_either(told.htlc_maximum_msat, base.htlc_maximum_msat),
    )


def _either(told: int | None, base: int) -> int:
    return base if told is None else told
