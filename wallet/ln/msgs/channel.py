"""The messages of BOLT 2: opening, running and closing a channel.

Sizes are checked here, points too; what a value means is judged by the channel. The messages of an HTLC's
life are decoded thousands of times a second, so each is one `struct` and a slice.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar, Final

from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.tx import Txid
from wallet.ln.msgs._base import check_extension, fixed, point, prefix_u16, record, short, sized, u16_prefixed
from wallet.ln.types import ChannelId, PaymentHash, PaymentPreimage, ShortChannelId
from wallet.ln.wire import decode_tlv_stream

__all__ = [
    "ATTRIBUTION_DATA_LENGTH",
    "ONION_PACKET_LENGTH",
    "AcceptChannel",
    "ChannelReady",
    "ChannelReestablish",
    "ClosingComplete",
    "ClosingSig",
    "ClosingSigned",
    "CommitmentSigned",
    "FundingCreated",
    "FundingSigned",
    "OpenChannel",
    "RevokeAndAck",
    "Shutdown",
    "StartBatch",
    "Stfu",
    "TxAbort",
    "UpdateAddHtlc",
    "UpdateFailHtlc",
    "UpdateFailMalformedHtlc",
    "UpdateFee",
    "UpdateFulfillHtlc",
]

ONION_PACKET_LENGTH: Final = 1366
"""BOLT 4: version, ephemeral key, 1,300 bytes of hop payloads, HMAC."""
ATTRIBUTION_DATA_LENGTH: Final = 20 * 4 + 210 * 4
"""BOLT 4, attribution data: 20 hold times and 210 truncated HMACs."""

_U64: Final = struct.Struct(">Q")
_OPEN_TLVS: Final = frozenset((0, 1))

_OPEN: Final = struct.Struct(">32s32sQQQQQQIHH33s33s33s33s33s33sB")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenChannel:
    """Proposes a channel that the sender funds. BOLT 2, open_channel.

    Attributes:
        upfront_shutdown_script: None when absent; empty when the sender commits to none.
        channel_type: feature bits as on the wire.
    """

    MESSAGE_TYPE: ClassVar[int] = 32

    chain_hash: bytes
    temporary_channel_id: ChannelId
    funding_sat: int
    push_msat: int
    dust_limit_sat: int
    max_htlc_value_in_flight_msat: int
    channel_reserve_sat: int
    htlc_minimum_msat: int
    feerate_sat_per_kw: int
    to_self_delay_blocks: int
    max_accepted_htlcs: int
    funding_pubkey: bytes
    revocation_basepoint: bytes
    payment_basepoint: bytes
    delayed_payment_basepoint: bytes
    htlc_basepoint: bytes
    first_per_commitment_point: bytes
    channel_flags: int
    upfront_shutdown_script: bytes | None = None
    channel_type: bytes | None = None

    @property
    def announce_channel(self) -> bool:
        """Tell whether the sender wants the channel announced; the other flag bits are reserved."""
        return bool(self.channel_flags & 1)

    def encode_payload(self) -> bytes:
        fields = _OPEN.pack(
            fixed(self.chain_hash, 32, "chain_hash"),
            fixed(self.temporary_channel_id, 32, "temporary_channel_id"),
            self.funding_sat,
            self.push_msat,
            self.dust_limit_sat,
            self.max_htlc_value_in_flight_msat,
            self.channel_reserve_sat,
            self.htlc_minimum_msat,
            self.feerate_sat_per_kw,
            self.to_self_delay_blocks,
            self.max_accepted_htlcs,
            fixed(self.funding_pubkey, 33, "funding_pubkey"),
            fixed(self.revocation_basepoint, 33, "revocation_basepoint"),
            fixed(self.payment_basepoint, 33, "payment_basepoint"),
            fixed(self.delayed_payment_basepoint, 33, "delayed_payment_basepoint"),
            fixed(self.htlc_basepoint, 33, "htlc_basepoint"),
            fixed(self.first_per_commitment_point, 33, "first_per_commitment_point"),
            self.channel_flags,
        )
        return fields + _open_tlvs(self.upfront_shutdown_script, self.channel_type)

    @classmethod
    def decode_payload(cls, payload: bytes) -> OpenChannel:
        if len(payload) < _OPEN.size:
            raise short("open_channel", payload, _OPEN.size)
        values = _OPEN.unpack_from(payload)
        stream = decode_tlv_stream(payload[_OPEN.size :], _OPEN_TLVS)
        return cls(
            chain_hash=values[0],
            temporary_channel_id=ChannelId(values[1]),
            funding_sat=values[2],
            push_msat=values[3],
            dust_limit_sat=values[4],
            max_htlc_value_in_flight_msat=values[5],
            channel_reserve_sat=values[6],
            htlc_minimum_msat=values[7],
            feerate_sat_per_kw=values[8],
            to_self_delay_blocks=values[9],
            max_accepted_htlcs=values[10],
            funding_pubkey=point(values[11]),
            revocation_basepoint=point(values[12]),
            payment_basepoint=point(values[13]),
            delayed_payment_basepoint=point(values[14]),
            htlc_basepoint=point(values[15]),
            first_per_commitment_point=point(values[16]),
            channel_flags=values[17],
            upfront_shutdown_script=stream.get(0),
            channel_type=stream.get(1),
        )


def _open_tlvs(upfront_shutdown_script: bytes | None, channel_type: bytes | None) -> bytes:
    tlvs = b"" if upfront_shutdown_script is None else record(0, upfront_shutdown_script)
    return tlvs if channel_type is None else tlvs + record(1, channel_type)


_ACCEPT: Final = struct.Struct(">32sQQQQIHH33s33s33s33s33s33s")


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptChannel:
    """Accepts a proposed channel. BOLT 2, accept_channel."""

    MESSAGE_TYPE: ClassVar[int] = 33

    temporary_channel_id: ChannelId
    dust_limit_sat: int
    max_htlc_value_in_flight_msat: int
    channel_reserve_sat: int
    htlc_minimum_msat: int
    minimum_depth_blocks: int
    to_self_delay_blocks: int
    max_accepted_htlcs: int
    funding_pubkey: bytes
    revocation_basepoint: bytes
    payment_basepoint: bytes
    delayed_payment_basepoint: bytes
    htlc_basepoint: bytes
    first_per_commitment_point: bytes
    upfront_shutdown_script: bytes | None = None
    channel_type: bytes | None = None

    def encode_payload(self) -> bytes:
        fields = _ACCEPT.pack(
            fixed(self.temporary_channel_id, 32, "temporary_channel_id"),
            self.dust_limit_sat,
            self.max_htlc_value_in_flight_msat,
            self.channel_reserve_sat,
            self.htlc_minimum_msat,
            self.minimum_depth_blocks,
            self.to_self_delay_blocks,
            self.max_accepted_htlcs,
            fixed(self.funding_pubkey, 33, "funding_pubkey"),
            fixed(self.revocation_basepoint, 33, "revocation_basepoint"),
            fixed(self.payment_basepoint, 33, "payment_basepoint"),
            fixed(self.delayed_payment_basepoint, 33, "delayed_payment_basepoint"),
            fixed(self.htlc_basepoint, 33, "htlc_basepoint"),
            fixed(self.first_per_commitment_point, 33, "first_per_commitment_point"),
        )
        return fields + _open_tlvs(self.upfront_shutdown_script, self.channel_type)

    @classmethod
    def decode_payload(cls, payload: bytes) -> AcceptChannel:
        if len(payload) < _ACCEPT.size:
            raise short("accept_channel", payload, _ACCEPT.size)
        values = _ACCEPT.unpack_from(payload)
        stream = decode_tlv_stream(payload[_ACCEPT.size :], _OPEN_TLVS)
        return cls(
            temporary_channel_id=ChannelId(values[0]),
            dust_limit_sat=values[1],
            max_htlc_value_in_flight_msat=values[2],
            channel_reserve_sat=values[3],
            htlc_minimum_msat=values[4],
            minimum_depth_blocks=values[5],
            to_self_delay_blocks=values[6],
            max_accepted_htlcs=values[7],
            funding_pubkey=point(values[8]),
            revocation_basepoint=point(values[9]),
            payment_basepoint=point(values[10]),
            delayed_payment_basepoint=point(values[11]),
            htlc_basepoint=point(values[12]),
            first_per_commitment_point=point(values[13]),
            upfront_shutdown_script=stream.get(0),
            channel_type=stream.get(1),
        )


_FUNDING_CREATED: Final = struct.Struct(">32s32sH64s")


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingCreated:
    """Names the funding output and signs the receiver's first commitment.

    Attributes:
        funding_txid: in internal byte order, as on the wire.
    """

    MESSAGE_TYPE: ClassVar[int] = 34

    temporary_channel_id: ChannelId
    funding_txid: Txid
    funding_output_index: int
    signature: bytes

    def encode_payload(self) -> bytes:
        return _FUNDING_CREATED.pack(
            fixed(self.temporary_channel_id, 32, "temporary_channel_id"),
            fixed(self.funding_txid, 32, "funding_txid"),
            self.funding_output_index,
            fixed(self.signature, 64, "signature"),
        )

    @classmethod
    def decode_payload(cls, payload: bytes) -> FundingCreated:
        if len(payload) < _FUNDING_CREATED.size:
            raise short("funding_created", payload, _FUNDING_CREATED.size)
        check_extension(payload, _FUNDING_CREATED.size)
        values = _FUNDING_CREATED.unpack_from(payload)
        return cls(
            temporary_channel_id=ChannelId(values[0]),
            funding_txid=Txid(values[1]),
            funding_output_index=values[2],
            signature=values[3],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingSigned:
    """Signs the funder's first commitment."""

    MESSAGE_TYPE: ClassVar[int] = 35

    channel_id: ChannelId
    signature: bytes

    def encode_payload(self) -> bytes:
        return fixed(self.channel_id, 32, "channel_id") + fixed(self.signature, 64, "signature")

    @classmethod
    def decode_payload(cls, payload: bytes) -> FundingSigned:
        if len(payload) < 96:
            raise short("funding_signed", payload, 96)
        check_extension(payload, 96)
        return cls(channel_id=ChannelId(payload[:32]), signature=payload[32:96])


_READY_TLVS: Final = frozenset((1,))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelReady:
    """Says that the funding is deep enough for the sender.

    Attributes:
        short_channel_id_alias: by what the receiver shall name the channel in the sender's onions.
    """

    MESSAGE_TYPE: ClassVar[int] = 36

    channel_id: ChannelId
    second_per_commitment_point: bytes
    short_channel_id_alias: ShortChannelId | None = None

    def encode_payload(self) -> bytes:
        fields = fixed(self.channel_id, 32, "channel_id") + fixed(
            self.second_per_commitment_point, 33, "second_per_commitment_point"
        )
        if self.short_channel_id_alias is None:
            return fields
        return fields + record(1, _U64.pack(self.short_channel_id_alias))

    @classmethod
    def decode_payload(cls, payload: bytes) -> ChannelReady:
        if len(payload) < 65:
            raise short("channel_ready", payload, 65)
        alias = sized(decode_tlv_stream(payload[65:], _READY_TLVS), 1, 8)
        return cls(
            channel_id=ChannelId(payload[:32]),
            second_per_commitment_point=point(payload[32:65]),
            short_channel_id_alias=None if alias is None else ShortChannelId(int.from_bytes(alias, "big")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stfu:
    """Asks for quiescence. BOLT 2, stfu."""

    MESSAGE_TYPE: ClassVar[int] = 2

    channel_id: ChannelId
    initiator: bool

    def encode_payload(self) -> bytes:
        return fixed(self.channel_id, 32, "channel_id") + (b"\x01" if self.initiator else b"\x00")

    @classmethod
    def decode_payload(cls, payload: bytes) -> Stfu:
        if len(payload) < 33:
            raise short("stfu", payload, 33)
        if payload[32] > 1:
            raise DecodeError(f"stfu says {payload[32]} where 0 or 1 is expected.")
        check_extension(payload, 33)
        return cls(channel_id=ChannelId(payload[:32]), initiator=payload[32] == 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """Begins to close a channel together."""

    MESSAGE_TYPE: ClassVar[int] = 38

    channel_id: ChannelId
    script_pubkey: bytes

    def encode_payload(self) -> bytes:
        return fixed(self.channel_id, 32, "channel_id") + prefix_u16(self.script_pubkey)

    @classmethod
    def decode_payload(cls, payload: bytes) -> Shutdown:
        script_pubkey, offset = u16_prefixed(payload, 32, "shutdown")
        check_extension(payload, offset)
        return cls(channel_id=ChannelId(payload[:32]), script_pubkey=script_pubkey)


_CLOSING_SIGNED: Final = struct.Struct(">32sQ64s")
_TWO_U64: Final = struct.Struct(">QQ")
_CLOSING_SIGNED_TLVS: Final = frozenset((1,))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingSigned:
    """Proposes a fee for the closing transaction and signs it.

    Attributes:
        fee_range: lowest and highest fee the sender takes, in satoshi.
    """

    MESSAGE_TYPE: ClassVar[int] = 39

    channel_id: ChannelId
    fee_sat: int
    signature: bytes
    fee_range: tuple[int, int] | None = None

    def encode_payload(self) -> bytes:
        fields = _CLOSING_SIGNED.pack(
            fixed(self.channel_id, 32, "channel_id"), self.fee_sat, fixed(self.signature, 64, "signature")
        )
        return fields if self.fee_range is None else fields + record(1, _TWO_U64.pack(*self.fee_range))

    @classmethod
    def decode_payload(cls, payload: bytes) -> ClosingSigned:
        if len(payload) < _CLOSING_SIGNED.size:
            raise short("closing_signed", payload, _CLOSING_SIGNED.size)
        channel_id, fee_sat, signature = _CLOSING_SIGNED.unpack_from(payload)
        fee_range = sized(decode_tlv_stream(payload[_CLOSING_SIGNED.size :], _CLOSING_SIGNED_TLVS), 1, 16)
        return cls(
            channel_id=ChannelId(channel_id),
            fee_sat=fee_sat,
            signature=signature,
            fee_range=None if fee_range is None else _TWO_U64.unpack(fee_range),
        )


_CLOSING_TLVS: Final = frozenset((1, 2, 3))
_FEE_AND_LOCKTIME: Final = struct.Struct(">QI")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingComplete:
    """Offers a closing transaction whose fee the sender pays (option_simple_close).

    Attributes:
        closer_output_only, closee_output_only, closer_and_closee_outputs: a signature for each form offered.
    """

    MESSAGE_TYPE: ClassVar[int] = 40

    channel_id: ChannelId
    closer_script_pubkey: bytes
    closee_script_pubkey: bytes
    fee_sat: int
    lock_time: int
    closer_output_only: bytes | None = None
    closee_output_only: bytes | None = None
    closer_and_closee_outputs: bytes | None = None

    def encode_payload(self) -> bytes:
        return _encode_closing(self)

    @classmethod
    def decode_payload(cls, payload: bytes) -> ClosingComplete:
        closer, closee, fee_sat, lock_time, signatures = _decode_closing(payload, "closing_complete")
        return cls(
            channel_id=ChannelId(payload[:32]),
            closer_script_pubkey=closer,
            closee_script_pubkey=closee,
            fee_sat=fee_sat,
            lock_time=lock_time,
            closer_output_only=signatures[0],
            closee_output_only=signatures[1],
            closer_and_closee_outputs=signatures[2],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingSig:
    """Answers `ClosingComplete` with one signature (option_simple_close)."""

    MESSAGE_TYPE: ClassVar[int] = 41

    channel_id: ChannelId
    closer_script_pubkey: bytes
    closee_script_pubkey: bytes
    fee_sat: int
    lock_time: int
    closer_output_only: bytes | None = None
    closee_output_only: bytes | None = None
    closer_and_closee_outputs: bytes | None = None

    def encode_payload(self) -> bytes:
        return _encode_closing(self)

    @classmethod
    def decode_payload(cls, payload: bytes) -> ClosingSig:
        closer, closee, fee_sat, lock_time, signatures = _decode_closing(payload, "closing_sig")
        return cls(
            channel_id=ChannelId(payload[:32]),
            closer_script_pubkey=closer,
            closee_script_pubkey=closee,
            fee_sat=fee_sat,
            lock_time=lock_time,
            closer_output_only=signatures[0],
            closee_output_only=signatures[1],
            closer_and_closee_outputs=signatures[2],
        )


def _encode_closing(message: ClosingComplete | ClosingSig) -> bytes:
    parts = [
        fixed(message.channel_id, 32, "channel_id"),
        prefix_u16(message.closer_script_pubkey),
        prefix_u16(message.closee_script_pubkey),
        _FEE_AND_LOCKTIME.pack(message.fee_sat, message.lock_time),
    ]
    signatures = (message.closer_output_only, message.closee_output_only, message.closer_and_closee_outputs)
    for tlv_type, signature in enumerate(signatures, start=1):
        if signature is not None:
            parts.append(record(tlv_type, fixed(signature, 64, "signature")))
    return b"".join(parts)


def _decode_closing(
    payload: bytes, name: str
) -> tuple[bytes, bytes, int, int, tuple[bytes | None, bytes | None, bytes | None]]:
    closer, offset = u16_prefixed(payload, 32, name)
    closee, offset = u16_prefixed(payload, offset, name)
    if len(payload) < offset + _FEE_AND_LOCKTIME.size:
        raise short(name, payload, offset + _FEE_AND_LOCKTIME.size)
    fee_sat, lock_time = _FEE_AND_LOCKTIME.unpack_from(payload, offset)
    stream = decode_tlv_stream(payload[offset + _FEE_AND_LOCKTIME.size :], _CLOSING_TLVS)
    signatures = (sized(stream, 1, 64), sized(stream, 2, 64), sized(stream, 3, 64))
    return closer, closee, fee_sat, lock_time, signatures


@dataclass(frozen=True, slots=True, kw_only=True)
class TxAbort:
    """Gives up building a transaction together."""

    MESSAGE_TYPE: ClassVar[int] = 74

    channel_id: ChannelId
    data: bytes = b""

    def encode_payload(self) -> bytes:
        return fixed(self.channel_id, 32, "channel_id") + prefix_u16(self.data)

    @classmethod
    def decode_payload(cls, payload: bytes) -> TxAbort:
        data, offset = u16_prefixed(payload, 32, "tx_abort")
        check_extension(payload, offset)
        return cls(channel_id=ChannelId(payload[:32]), data=data)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartBatch:
    """Says how many messages that follow belong together.

    Attributes:
        message_type: the type they have; None when not told.
    """

    MESSAGE_TYPE: ClassVar[int] = 127

    channel_id: ChannelId
    batch_size: int
    message_type: int | None = None

    def encode_payload(self) -> bytes:
        fields = fixed(self.channel_id, 32, "channel_id") + self.batch_size.to_bytes(2, "big")
        if self.message_type is None:
            return fields
        return fields + record(1, self.message_type.to_bytes(2, "big"))

    @classmethod
    def decode_payload(cls, payload: bytes) -> StartBatch:
        if len(payload) < 34:
            raise short("start_batch", payload, 34)
        message_type = sized(decode_tlv_stream(payload[34:], _READY_TLVS), 1, 2)
        return cls(
            channel_id=ChannelId(payload[:32]),
            batch_size=int.from_bytes(payload[32:34], "big"),
            message_type=None if message_type is None else int.from_bytes(message_type, "big"),
        )


_ADD: Final = struct.Struct(f">32sQQ32sI{ONION_PACKET_LENGTH}s")
_ADD_TLVS: Final = frozenset((0,))


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAddHtlc:
    """Offers an HTLC.

    Attributes:
        blinding_point: BOLT 2 calls it path_key.
    """

    MESSAGE_TYPE: ClassVar[int] = 128

    channel_id: ChannelId
    htlc_id: int
    amount_msat: int
    payment_hash: PaymentHash
    cltv_expiry_height: int
    onion_routing_packet: bytes
    blinding_point: bytes | None = None

    def encode_payload(self) -> bytes:
        fields = _ADD.pack(
            fixed(self.channel_id, 32, "channel_id"),
            self.htlc_id,
            self.amount_msat,
            fixed(self.payment_hash, 32, "payment_hash"),
            self.cltv_expiry_height,
            fixed(self.onion_routing_packet, ONION_PACKET_LENGTH, "onion_routing_packet"),
        )
        if self.blinding_point is None:
            return fields
        return fields + record(0, fixed(self.blinding_point, 33, "blinding_point"))

    @classmethod
    def decode_payload(cls, payload: bytes) -> UpdateAddHtlc:
        if len(payload) < _ADD.size:
            raise short("update_add_htlc", payload, _ADD.size)
        channel_id, htlc_id, amount_msat, payment_hash, cltv_expiry_height, onion = _ADD.unpack_from(payload)
        blinding_point = None
        if len(payload) != _ADD.size:
            blinding_point = sized(decode_tlv_stream(payload[_ADD.size :], _ADD_TLVS), 0, 33)
            if blinding_point is not None:
                blinding_point = point(blinding_point)
        return cls(
            channel_id=ChannelId(channel_id),
            htlc_id=htlc_id,
            amount_msat=amount_msat,
            payment_hash=PaymentHash(payment_hash),
            cltv_expiry_height=cltv_expiry_height,
            onion_routing_packet=onion,
            blinding_point=blinding_point,
        )


_FULFILL: Final = struct.Struct(">32sQ32s")
_ATTRIBUTION_TLVS: Final = frozenset((1,))


def _encode_attribution(attribution_data: bytes | None) -> bytes:
    if attribution_data is None:
        return b""
    return record(1, fixed(attribution_data, ATTRIBUTION_DATA_LENGTH, "attribution_data"))


def _decode_attribution(payload: bytes, offset: int) -> bytes | None:
    if len(payload) == offset:
        return None
    return sized(decode_tlv_stream(payload[offset:], _ATTRIBUTION_TLVS), 1, ATTRIBUTION_DATA_LENGTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFulfillHtlc:
    """Claims an HTLC with its preimage."""

    MESSAGE_TYPE: ClassVar[int] = 130

    channel_id: ChannelId
    htlc_id: int
    payment_preimage: PaymentPreimage
    attribution_data: bytes | None = None

    def encode_payload(self) -> bytes:
        fields = _FULFILL.pack(
            fixed(self.channel_id, 32, "channel_id"),
            self.htlc_id,
            fixed(self.payment_preimage, 32, "payment_preimage"),
        )
        return fields + _encode_attribution(self.attribution_data)

    @classmethod
    def decode_payload(cls, payload: bytes) -> UpdateFulfillHtlc:
        if len(payload) < _FULFILL.size:
            raise short("update_fulfill_htlc", payload, _FULFILL.size)
        channel_id, htlc_id, payment_preimage = _FULFILL.unpack_from(payload)
        return cls(
            channel_id=ChannelId(channel_id),
            htlc_id=htlc_id,
            payment_preimage=PaymentPreimage(payment_preimage),
            attribution_data=_decode_attribution(payload, _FULFILL.size),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFailHtlc:
    """Fails an HTLC; `reason` is an onion for the payer."""

    MESSAGE_TYPE: ClassVar[int] = 131

    channel_id: ChannelId
    htlc_id: int
    reason: bytes
    attribution_data: bytes | None = None

    def encode_payload(self) -> bytes:
        fields = fixed(self.channel_id, 32, "channel_id") + _U64.pack(self.htlc_id) + prefix_u16(self.reason)
        return fields + _encode_attribution(self.attribution_data)

    @classmethod
    def decode_payload(cls, payload: bytes) -> UpdateFailHtlc:
        reason, offset = u16_prefixed(payload, 40, "update_fail_htlc")
        return cls(
            channel_id=ChannelId(payload[:32]),
            htlc_id=int.from_bytes(payload[32:40], "big"),
            reason=reason,
            attribution_data=_decode_attribution(payload, offset),
        )


_MALFORMED: Final = struct.Struct(">32sQ32sH")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFailMalformedHtlc:
    """Fails an HTLC whose onion could not be read."""

    MESSAGE_TYPE: ClassVar[int] = 135

    channel_id: ChannelId
    htlc_id: int
    sha256_of_onion: bytes
    failure_code: int

    def encode_payload(self) -> bytes:
        return _MALFORMED.pack(
            fixed(self.channel_id, 32, "channel_id"),
            self.htlc_id,
            fixed(self.sha256_of_onion, 32, "sha256_of_onion"),
            self.failure_code,
        )

    @classmethod
    def decode_payload(cls, payload: bytes) -> UpdateFailMalformedHtlc:
        if len(payload) < _MALFORMED.size:
            raise short("update_fail_malformed_htlc", payload, _MALFORMED.size)
        check_extension(payload, _MALFORMED.size)
        channel_id, htlc_id, sha256_of_onion, failure_code = _MALFORMED.unpack_from(payload)
        return cls(
            channel_id=ChannelId(channel_id),
            htlc_id=htlc_id,
            sha256_of_onion=sha256_of_onion,
            failure_code=failure_code,
        )


_FEE: Final = struct.Struct(">32sI")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateFee:
    """Sets the feerate of later commitments."""

    MESSAGE_TYPE: ClassVar[int] = 134

    channel_id: ChannelId
    feerate_sat_per_kw: int

    def encode_payload(self) -> bytes:
        return _FEE.pack(fixed(self.channel_id, 32, "channel_id"), self.feerate_sat_per_kw)

    @classmethod
    def decode_payload(cls, payload: bytes) -> UpdateFee:
        if len(payload) < _FEE.size:
            raise short("update_fee", payload, _FEE.size)
        check_extension(payload, _FEE.size)
        channel_id, feerate_sat_per_kw = _FEE.unpack_from(payload)
        return cls(channel_id=ChannelId(channel_id), feerate_sat_per_kw=feerate_sat_per_kw)


_COMMITMENT: Final = struct.Struct(">32s64sH")
_COMMITMENT_TLVS: Final = frozenset((1,))


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentSigned:
    """Signs the receiver's next commitment and its HTLC transactions.

    Attributes:
        funding_txid: which funding output is spent, where there may be more than one.
        unknown_tlvs: odd records we do not know, kept as they came.
    """

    MESSAGE_TYPE: ClassVar[int] = 132

    channel_id: ChannelId
    signature: bytes
    htlc_signatures: tuple[bytes, ...] = ()
    funding_txid: Txid | None = None
    unknown_tlvs: tuple[tuple[int, bytes], ...] = ()

    def encode_payload(self) -> bytes:
        parts = [
            _COMMITMENT.pack(
                fixed(self.channel_id, 32, "channel_id"),
                fixed(self.signature, 64, "signature"),
                len(self.htlc_signatures),
            )
        ]
        parts += self.htlc_signatures
        if sum(map(len, self.htlc_signatures)) != 64 * len(self.htlc_signatures):
            raise APIError("An HTLC signature is not 64 bytes long.")
        if self.funding_txid is not None:
            parts.append(record(1, fixed(self.funding_txid, 32, "funding_txid")))
        parts += [record(tlv_type, value) for tlv_type, value in self.unknown_tlvs]
        return b"".join(parts)

    @classmethod
    def decode_payload(cls, payload: bytes) -> CommitmentSigned:
        if len(payload) < _COMMITMENT.size:
            raise short("commitment_signed", payload, _COMMITMENT.size)
        channel_id, signature, count = _COMMITMENT.unpack_from(payload)
        start = _COMMITMENT.size
        end = start + 64 * count
        if len(payload) < end:
            raise short("commitment_signed", payload, end)
        htlc_signatures = tuple(payload[at : at + 64] for at in range(start, end, 64))
        if len(payload) == end:
            return cls(channel_id=ChannelId(channel_id), signature=signature, htlc_signatures=htlc_signatures)
        stream = decode_tlv_stream(payload[end:], _COMMITMENT_TLVS)
        funding_txid = sized(stream, 1, 32)
        stream.pop(1, None)
        return cls(
            channel_id=ChannelId(channel_id),
            signature=signature,
            htlc_signatures=htlc_signatures,
            funding_txid=None if funding_txid is None else Txid(funding_txid),
            unknown_tlvs=tuple(stream.items()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeAndAck:
    """Revokes the sender's previous commitment and gives the point for the one after next."""

    MESSAGE_TYPE: ClassVar[int] = 133

    channel_id: ChannelId
    per_commitment_secret: bytes
    next_per_commitment_point: bytes

    def encode_payload(self) -> bytes:
        return (
            fixed(self.channel_id, 32, "channel_id")
            + fixed(self.per_commitment_secret, 32, "per_commitment_secret")
            + fixed(self.next_per_commitment_point, 33, "next_per_commitment_point")
        )

    @classmethod
    def decode_payload(cls, payload: bytes) -> RevokeAndAck:
        if len(payload) < 97:
            raise short("revoke_and_ack", payload, 97)
        check_extension(payload, 97)
        return cls(
            channel_id=ChannelId(payload[:32]),
            per_commitment_secret=payload[32:64],
            next_per_commitment_point=point(payload[64:97]),
        )


_REESTABLISH: Final = struct.Struct(">32sQQ32s33s")
_REESTABLISH_TLVS: Final = frozenset((1, 5))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelReestablish:
    """Tells, after a reconnection, which commitment and revocation the sender expects next.

    Attributes:
        next_funding: txid and flags of a splice being signed; None without one.
        my_current_funding_locked: txid and flags of the last splice that locked.
    """

    MESSAGE_TYPE: ClassVar[int] = 136

    channel_id: ChannelId
    next_commitment_number: int
    next_revocation_number: int
    your_last_per_commitment_secret: bytes
    my_current_per_commitment_point: bytes
    next_funding: tuple[Txid, int] | None = None
    my_current_funding_locked: tuple[Txid, int] | None = None

    def encode_payload(self) -> bytes:
        fields = _REESTABLISH.pack(
            fixed(self.channel_id, 32, "channel_id"),
            self.next_commitment_number,
            self.next_revocation_number,
            fixed(self.your_last_per_commitment_secret, 32, "your_last_per_commitment_secret"),
            fixed(self.my_current_per_commitment_point, 33, "my_current_per_commitment_point"),
        )
        for tlv_type, funding in ((1, self.next_funding), (5, self.my_current_funding_locked)):
            if funding is not None:
                fields += record(tlv_type, fixed(funding[0], 32, "txid") + funding[1].to_bytes(1, "big"))
        return fields

    @classmethod
    def decode_payload(cls, payload: bytes) -> ChannelReestablish:
        if len(payload) < _REESTABLISH.size:
            raise short("channel_reestablish", payload, _REESTABLISH.size)
        channel_id, next_commitment, next_revocation, secret, current = _REESTABLISH.unpack_from(payload)
        stream = decode_tlv_stream(payload[_REESTABLISH.size :], _REESTABLISH_TLVS)
        return cls(
            channel_id=ChannelId(channel_id),
            next_commitment_number=next_commitment,
            next_revocation_number=next_revocation,
            your_last_per_commitment_secret=secret,
            my_current_per_commitment_point=point(current),
            next_funding=_funding(sized(stream, 1, 33)),
            my_current_funding_locked=_funding(sized(stream, 5, 33)),
        )


def _funding(value: bytes | None) -> tuple[Txid, int] | None:
    return None if value is None else (Txid(value[:32]), value[32])
