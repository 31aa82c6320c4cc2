"""The messages of BOLT 7: announcements and queries.

What is signed is signed with everything behind the known fields, so announcements keep that as `excess_data`
and give the same bytes back. Points and signatures are judged by the graph, many at once, not here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from operator import lt
from typing import ClassVar, Final

from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.hashes import sha256d
from wallet.ln.features import Features
from wallet.ln.msgs._base import check_extension, fixed, prefix_u16, record, short, sized, u16_prefixed
from wallet.ln.msgs.addresses import SocketAddress, decode_addresses
from wallet.ln.types import ChannelId, NodeId, ShortChannelId
from wallet.ln.wire import Reader, decode_tlv_stream, encode_bigsize

__all__ = [
    "AnnouncementSignatures",
    "ChannelAnnouncement",
    "ChannelUpdate",
    "GossipTimestampFilter",
    "NodeAnnouncement",
    "QueryChannelRange",
    "QueryShortChannelIds",
    "ReplyChannelRange",
    "ReplyShortChannelIdsEnd",
    "decode_short_ids",
    "encode_short_ids",
    "update_checksum",
]

_SIGNATURES: Final = struct.Struct(">32sQ64s64s")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncementSignatures:
    """Gives the sender's half of the signatures of a `ChannelAnnouncement`."""

    MESSAGE_TYPE: ClassVar[int] = 259

    channel_id: ChannelId
    short_channel_id: ShortChannelId
    node_signature: bytes
    bitcoin_signature: bytes

    def encode_payload(self) -> bytes:
        return _SIGNATURES.pack(
            fixed(self.channel_id, 32, "channel_id"),
            self.short_channel_id,
            fixed(self.node_signature, 64, "node_signature"),
            fixed(self.bitcoin_signature, 64, "bitcoin_signature"),
        )

    @classmethod
    def decode_payload(cls, payload: bytes) -> AnnouncementSignatures:
        if len(payload) < _SIGNATURES.size:
            raise short("announcement_signatures", payload, _SIGNATURES.size)
        check_extension(payload, _SIGNATURES.size)
        channel_id, short_channel_id, node_signature, bitcoin_signature = _SIGNATURES.unpack_from(payload)
        return cls(
            channel_id=ChannelId(channel_id),
            short_channel_id=ShortChannelId(short_channel_id),
            node_signature=node_signature,
            bitcoin_signature=bitcoin_signature,
        )


_ANNOUNCED: Final = struct.Struct(">32sQ33s33s33s33s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelAnnouncement:
    """Proves that two nodes own a channel."""

    MESSAGE_TYPE: ClassVar[int] = 256

    node_signature_1: bytes
    node_signature_2: bytes
    bitcoin_signature_1: bytes
    bitcoin_signature_2: bytes
    features: bytes
    chain_hash: bytes
    short_channel_id: ShortChannelId
    node_id_1: NodeId
    node_id_2: NodeId
    bitcoin_key_1: bytes
    bitcoin_key_2: bytes
    excess_data: bytes = b""

    def signed_payload(self) -> bytes:
        """What the four signatures cover."""
        return (
            prefix_u16(self.features)
            + _ANNOUNCED.pack(
                fixed(self.chain_hash, 32, "chain_hash"),
                self.short_channel_id,
                fixed(self.node_id_1, 33, "node_id_1"),
                fixed(self.node_id_2, 33, "node_id_2"),
                fixed(self.bitcoin_key_1, 33, "bitcoin_key_1"),
                fixed(self.bitcoin_key_2, 33, "bitcoin_key_2"),
            )
            + self.excess_data
        )

    def digest(self) -> bytes:
        """The hash that is signed."""
        return sha256d(self.signed_payload())

    def encode_payload(self) -> bytes:
        return (
            fixed(self.node_signature_1, 64, "node_signature_1")
            + fixed(self.node_signature_2, 64, "node_signature_2")
            + fixed(self.bitcoin_signature_1, 64, "bitcoin_signature_1")
            + fixed(self.bitcoin_signature_2, 64, "bitcoin_signature_2")
            + self.signed_payload()
        )

    @classmethod
    def decode_payload(cls, payload: bytes) -> ChannelAnnouncement:
        features, offset = u16_prefixed(payload, 256, "channel_announcement")
        end = offset + _ANNOUNCED.size
        if len(payload) < end:
            raise short("channel_announcement", payload, end)
        chain_hash, scid, node_id_1, node_id_2, key_1, key_2 = _ANNOUNCED.unpack_from(payload, offset)
        return cls(
            node_signature_1=payload[:64],
            node_signature_2=payload[64:128],
            bitcoin_signature_1=payload[128:192],
            bitcoin_signature_2=payload[192:256],
            features=features,
            chain_hash=chain_hash,
            short_channel_id=ShortChannelId(scid),
            node_id_1=NodeId(node_id_1),
            node_id_2=NodeId(node_id_2),
            bitcoin_key_1=key_1,
            bitcoin_key_2=key_2,
            excess_data=payload[end:],
        )


_NODE: Final = struct.Struct(">I33s3s32s")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAnnouncement:
    """Tells a node's name, colour, features and addresses, signed by itself.

    Attributes:
        alias: 32 bytes, chosen by anybody; `alias_text` is safe to show.
        address_data: the descriptors as on the wire; `addresses` reads them.
    """

    MESSAGE_TYPE: ClassVar[int] = 257

    signature: bytes
    features: Features
    features_raw: bytes | None = None
    timestamp_at: int
    node_id: NodeId
    rgb_color: bytes
    alias: bytes
    address_data: bytes = b""
    excess_data: bytes = b""

    @property
    def addresses(self) -> tuple[SocketAddress, ...]:
        return decode_addresses(self.address_data)

    @property
    def alias_text(self) -> str:
        """The alias without trailing zeros and without anything that is not printable."""
        text = self.alias.rstrip(b"\x00").decode("utf-8", "replace")
        return "".join(char if char.isprintable() else "\ufffd" for char in text)

    def signed_payload(self) -> bytes:
        """What the signature covers."""
        # Padding in the peer's feature field is part of what it signed.
        features = self.features.to_bytes() if self.features_raw is None else self.features_raw
        return (
            prefix_u16(features)
            + _NODE.pack(
                self.timestamp_at,
                fixed(self.node_id, 33, "node_id"),
                fixed(self.rgb_color, 3, "rgb_color"),
                fixed(self.alias, 32, "alias"),
            )
            + prefix_u16(self.address_data)
            + self.excess_data
        )

    def digest(self) -> bytes:
        """The hash that is signed."""
        return sha256d(self.signed_payload())

    def encode_payload(self) -> bytes:
        return fixed(self.signature, 64, "signature") + self.signed_payload()

    @classmethod
    def decode_payload(cls, payload: bytes) -> NodeAnnouncement:
        raw, offset = u16_prefixed(payload, 64, "node_announcement")
        if len(payload) < offset + _NODE.size:
            raise short("node_announcement", payload, offset + _NODE.size)
        timestamp_at, node_id, rgb_color, alias = _NODE.unpack_from(payload, offset)
        address_data, offset = u16_prefixed(payload, offset + _NODE.size, "node_announcement")
        decode_addresses(address_data)
        features = Features.from_bytes(raw)
        return cls(
            signature=payload[:64],
            features=features,
            features_raw=None if not raw or raw[0] else raw,
            timestamp_at=timestamp_at,
            node_id=NodeId(node_id),
            rgb_color=rgb_color,
            alias=alias,
            address_data=address_data,
            excess_data=payload[offset:],
        )


_UPDATE: Final = struct.Struct(">64s32sQIBBHQIIQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelUpdate:
    """Sets what one side of a channel asks for forwarding, signed by that side.

    Attributes:
        message_flags: bit 0 must be one, bit 1 says not to forward this message.
        channel_flags: bit 0 is the direction, bit 1 disables it.
    """

    MESSAGE_TYPE: ClassVar[int] = 258

    signature: bytes
    chain_hash: bytes
    short_channel_id: ShortChannelId
    timestamp_at: int
    message_flags: int = 1
    channel_flags: int
    cltv_expiry_delta: int
    htlc_minimum_msat: int
    fee_base_msat: int
    fee_proportional_millionths: int
    htlc_maximum_msat: int
    excess_data: bytes = b""

    @property
    def direction(self) -> int:
        """0 when it is from node 1, 1 when from node 2."""
        return self.channel_flags & 1

    @property
    def disabled(self) -> bool:
        return bool(self.channel_flags & 2)

    @property
    def dont_forward(self) -> bool:
        return bool(self.message_flags & 2)

    def signed_payload(self) -> bytes:
        """What the signature covers."""
        return self.encode_payload()[64:]

    def digest(self) -> bytes:
        """The hash that is signed."""
        return sha256d(self.signed_payload())

    def encode_payload(self) -> bytes:
        return (
            _UPDATE.pack(
                fixed(self.signature, 64, "signature"),
                fixed(self.chain_hash, 32, "chain_hash"),
                self.short_channel_id,
                self.timestamp_at,
                self.message_flags,
                self.channel_flags,
                self.cltv_expiry_delta,
                self.htlc_minimum_msat,
                self.fee_base_msat,
                self.fee_proportional_millionths,
                self.htlc_maximum_msat,
            )
            + self.excess_data
        )

    @classmethod
    def decode_payload(cls, payload: bytes) -> ChannelUpdate:
        if len(payload) < _UPDATE.size:
            raise short("channel_update", payload, _UPDATE.size)
        values = _UPDATE.unpack_from(payload)
        return cls(
            signature=values[0],
            chain_hash=values[1],
            short_channel_id=ShortChannelId(values[2]),
            timestamp_at=values[3],
            message_flags=values[4],
            channel_flags=values[5],
            cltv_expiry_delta=values[6],
            htlc_minimum_msat=values[7],
            fee_base_msat=values[8],
            fee_proportional_millionths=values[9],
            htlc_maximum_msat=values[10],
            excess_data=payload[_UPDATE.size :],
        )


_SIGNATURE_END: Final = 64
_TIMESTAMP_START: Final = 104
_TIMESTAMP_END: Final = 108
_CRC32C_POLYNOMIAL: Final = 0x82F63B78
"""RFC 3720, appendix B.4: 0x1EDC6F41, its bits in reverse."""


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for rest in range(256):
        for _ in range(8):
            rest = rest >> 1 ^ (_CRC32C_POLYNOMIAL if rest & 1 else 0)
        table.append(rest)
    return tuple(table)


_CRC32C_TABLE: Final = _crc32c_table()


def crc32c(data: bytes) -> int:
    """The checksum of RFC 3720, which is not that of zlib."""
    table, rest = _CRC32C_TABLE, 0xFFFF_FFFF
    for byte in data:
        rest = table[(rest ^ byte) & 0xFF] ^ rest >> 8
    return rest ^ 0xFFFF_FFFF


def update_checksum(payload: bytes) -> int:
    """The checksum of an encoded `ChannelUpdate`: the same for two that differ in time only. BOLT 7,
    channel_update_checksums."""
    return crc32c(payload[_SIGNATURE_END:_TIMESTAMP_START] + payload[_TIMESTAMP_END:])


def encode_short_ids(short_channel_ids: Iterable[int]) -> bytes:
    """Write `encoded_short_ids`, uncompressed. BOLT 7, query messages."""
    ids = tuple(short_channel_ids)
    return b"\x00" + struct.pack(f">{len(ids)}Q", *ids)


_RAW: Final = 0
_ZLIB: Final = 1
MAX_SHORT_IDS: Final = (0xFFFF - 1) // 8
"""As many as a field of 65,535 bytes holds uncompressed. No sender ever put more into a message compressed."""


def _encoded_array(data: bytes, limit: int, what: str) -> bytes:
    """Take the encoding off an `encoded_` array of BOLT 7, which inflates to `limit` bytes at most."""
    encoding = data[0] if data else -1
    if encoding == _RAW:
        return data[1:]
    if encoding != _ZLIB:
        raise DecodeError(f"{what} come in an encoding that is not known.")
    return _inflated(data[1:], limit, what)


def _inflated(data: bytes, limit: int, what: str) -> bytes:
    stream = zlib.decompressobj()
    try:
        # One byte more than may come: a stream that gives it is a bomb, and no more of it is unpacked.
        found = stream.decompress(data, limit + 1)
    except zlib.error:
        raise DecodeError(f"{what} are compressed, and damaged.") from None
    if len(found) > limit:
        raise DecodeError(f"{what} are compressed, and more than {limit} bytes.")
    if not stream.eof or stream.unused_data:
        raise DecodeError(f"{what} are compressed, and cut short or too long.")
    return found


def decode_short_ids(data: bytes) -> tuple[ShortChannelId, ...]:
    """Read `encoded_short_ids`, also compressed: BOLT 7 has that written no more, but nodes of before still write it.

    Compressed ids have to ascend, each once: a few bytes could ask for the same channel thousands of times.
    """
    raw = _encoded_array(data, 8 * MAX_SHORT_IDS, "Short channel ids")
    if len(raw) % 8:
        raise DecodeError("Encoded short channel ids are not a whole number of ids.")
    ids = struct.unpack(f">{len(raw) // 8}Q", raw)
    if data[0] == _ZLIB and not all(map(lt, ids, ids[1:])):
        raise DecodeError("Compressed short channel ids do not ascend.")
    return tuple(map(ShortChannelId, ids))


_QUERY_TLVS: Final = frozenset((1,))


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryShortChannelIds:
    """Asks for the gossip of some channels.

    Attributes:
        query_flags: what is wanted of each channel; None for everything.
    """

    MESSAGE_TYPE: ClassVar[int] = 261

    chain_hash: bytes
    short_channel_ids: tuple[ShortChannelId, ...]
    query_flags: tuple[int, ...] | None = None

    def encode_payload(self) -> bytes:
        encoded = encode_short_ids(self.short_channel_ids)
        fields = fixed(self.chain_hash, 32, "chain_hash") + prefix_u16(encoded)
        if self.query_flags is None:
            return fields
        if len(self.query_flags) != len(self.short_channel_ids):
            raise APIError("There is one query flag for each short channel id.")
        return fields + record(1, b"\x00" + b"".join(map(encode_bigsize, self.query_flags)))

    @classmethod
    def decode_payload(cls, payload: bytes) -> QueryShortChannelIds:
        encoded, offset = u16_prefixed(payload, 32, "query_short_channel_ids")
        ids = decode_short_ids(encoded)
        raw_flags = decode_tlv_stream(payload[offset:], _QUERY_TLVS).get(1)
        flags: tuple[int, ...] | None = None
        if raw_flags is not None:
            reader = Reader(_encoded_array(raw_flags, 9 * len(ids), "Query flags"))
            flags = tuple(reader.bigsize() for _ in ids)
            # BOLT 7, query_short_channel_ids, receiver: exactly one flag for each id.
            reader.expect_end()
        return cls(chain_hash=payload[:32], short_channel_ids=ids, query_flags=flags)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyShortChannelIdsEnd:
    """Ends the answer to `QueryShortChannelIds`."""

    MESSAGE_TYPE: ClassVar[int] = 262

    chain_hash: bytes
    full_information: bool

    def encode_payload(self) -> bytes:
        return fixed(self.chain_hash, 32, "chain_hash") + (b"\x01" if self.full_information else b"\x00")

    @classmethod
    def decode_payload(cls, payload: bytes) -> ReplyShortChannelIdsEnd:
        if len(payload) < 33:
            raise short("reply_short_channel_ids_end", payload, 33)
        check_extension(payload, 33)
        return cls(chain_hash=payload[:32], full_information=payload[32] != 0)


_RANGE: Final = struct.Struct(">32sII")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryChannelRange:
    """Asks which channels were funded in a range of blocks.

    Attributes:
        query_option_flags: bit 0 asks for timestamps, bit 1 for checksums; None for neither.
    """

    MESSAGE_TYPE: ClassVar[int] = 263

    chain_hash: bytes
    first_block_height: int
    number_of_blocks: int
    query_option_flags: int | None = None

    @property
    def end_height(self) -> int:
        """The height behind the last that is asked for; never above what 32 bits hold."""
        return min(self.first_block_height + self.number_of_blocks, 0xFFFF_FFFF)

    def encode_payload(self) -> bytes:
        fields = _RANGE.pack(
            fixed(self.chain_hash, 32, "chain_hash"), self.first_block_height, self.number_of_blocks
        )
        if self.query_option_flags is None:
            return fields
        return fields + record(1, encode_bigsize(self.query_option_flags))

    @classmethod
    def decode_payload(cls, payload: bytes) -> QueryChannelRange:
        if len(payload) < _RANGE.size:
            raise short("query_channel_range", payload, _RANGE.size)
        chain_hash, first_block_height, number_of_blocks = _RANGE.unpack_from(payload)
        raw_option = decode_tlv_stream(payload[_RANGE.size :], _QUERY_TLVS).get(1)
        option = None
        if raw_option is not None:
            reader = Reader(raw_option)
            option = reader.bigsize()
            reader.expect_end()
        return cls(
            chain_hash=chain_hash,
            first_block_height=first_block_height,
            number_of_blocks=number_of_blocks,
            query_option_flags=option,
        )


_REPLY_RANGE: Final = struct.Struct(">32sIIB")
_REPLY_TLVS: Final = frozenset((1, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyChannelRange:
    """Lists the channels of a range of blocks, or of a part of it.

    Attributes:
        timestamps: for each channel, the two `channel_update` times (0 for none); None when not told.
        checksums: for each channel, the two CRC32C sums; None when not told.
    """

    MESSAGE_TYPE: ClassVar[int] = 264

    chain_hash: bytes
    first_block_height: int
    number_of_blocks: int
    sync_complete: bool
    short_channel_ids: tuple[ShortChannelId, ...]
    timestamps: tuple[tuple[int, int], ...] | None = None
    checksums: tuple[tuple[int, int], ...] | None = None

    def encode_payload(self) -> bytes:
        parts = [
            _REPLY_RANGE.pack(
                fixed(self.chain_hash, 32, "chain_hash"),
                self.first_block_height,
                self.number_of_blocks,
                self.sync_complete,
            ),
            prefix_u16(encode_short_ids(self.short_channel_ids)),
        ]
        if self.timestamps is not None:
            parts.append(record(1, b"\x00" + _pack_pairs(self.timestamps)))
        if self.checksums is not None:
            parts.append(record(3, _pack_pairs(self.checksums)))
        return b"".join(parts)

    @classmethod
    def decode_payload(cls, payload: bytes) -> ReplyChannelRange:
        if len(payload) < _REPLY_RANGE.size:
            raise short("reply_channel_range", payload, _REPLY_RANGE.size)
        chain_hash, first_block_height, number_of_blocks, complete = _REPLY_RANGE.unpack_from(payload)
        encoded, offset = u16_prefixed(payload, _REPLY_RANGE.size, "reply_channel_range")
        ids = decode_short_ids(encoded)
        stream = decode_tlv_stream(payload[offset:], _REPLY_TLVS)
        timestamps = checksums = None
        # What comes in an encoding of later times is as if it were not told.
        if (raw := stream.get(1)) is not None and raw[:1] in (b"\x00", b"\x01"):
            timestamps = _unpack_pairs(_encoded_array(raw, 8 * len(ids), "Timestamps"), len(ids))
        if 3 in stream:
            checksums = _unpack_pairs(sized(stream, 3, 8 * len(ids)) or b"", len(ids))
        return cls(
            chain_hash=chain_hash,
            first_block_height=first_block_height,
            number_of_blocks=number_of_blocks,
            sync_complete=complete != 0,
            short_channel_ids=ids,
            timestamps=timestamps,
            checksums=checksums,
        )


def _pack_pairs(pairs: tuple[tuple[int, int], ...]) -> bytes:
    return b"".join(struct.pack(">II", *pair) for pair in pairs)


def _unpack_pairs(raw: bytes, count: int) -> tuple[tuple[int, int], ...]:
    if len(raw) != 8 * count:
        raise DecodeError(f"{count} channels come with {len(raw)} bytes of numbers; 8 each are needed.")
    return tuple((first, second) for first, second in struct.iter_unpack(">II", raw))


@dataclass(frozen=True, slots=True, kw_only=True)
class GossipTimestampFilter:
    """Says which gossip the sender wants to be sent from now on."""

    MESSAGE_TYPE: ClassVar[int] = 265

    chain_hash: bytes
    first_timestamp_at: int
    timestamp_range_seconds: int

    def encode_payload(self) -> bytes:
        return _RANGE.pack(
            fixed(self.chain_hash, 32, "chain_hash"), self.first_timestamp_at, self.timestamp_range_seconds
        )

    @classmethod
    def decode_payload(cls, payload: bytes) -> GossipTimestampFilter:
        if len(payload) < _RANGE.size:
            raise short("gossip_timestamp_filter", payload, _RANGE.size)
        check_extension(payload, _RANGE.size)
        chain_hash, first_timestamp_at, timestamp_range_seconds = _RANGE.unpack_from(payload)
        return cls(
            chain_hash=chain_hash,
            first_timestamp_at=first_timestamp_at,
            timestamp_range_seconds=timestamp_range_seconds,
        )
