"""The instructions that each hop finds in its onion: records, and their TLV form. BOLT 4, payload format.

A payload is read in two steps. `decode_payload` knows from the onion whether we are the last hop, and gives
one of four records; of a blinded hop it can only say that its instructions are sealed. `open_recipient_data`
opens them with the secret that the path key gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, assert_never

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from wallet.bitcoin.amounts import MAX_MONEY_MSAT
from wallet.bitcoin.curve import is_valid_pubkey
from wallet.bitcoin.hashes import hmac_sha256
from wallet.i18n import _
from wallet.ln.features import Features
from wallet.ln.route import Path
from wallet.ln.types import APIError, DecodeError, NodeId, PaymentPreimage, PaymentSecret, ShortChannelId
from wallet.ln.wire import Reader, TlvStream, Writer, decode_tlv_stream, encode_tlv_stream

__all__ = [
    "CUSTOM_TLV_START",
    "KEYSEND_TLV",
    "MAX_VALUE_MSAT",
    "BlindedForwardPayload",
    "BlindedReceivePayload",
    "ForwardPayload",
    "HopPayload",
    "InvalidPayload",
    "PaymentConstraints",
    "PaymentRelay",
    "ReceivePayload",
    "RecipientData",
    "RecipientOnion",
    "build_onion_payloads",
    "decode_payload",
    "encode_payload",
    "open_recipient_data",
    "seal_recipient_data",
]

MAX_VALUE_MSAT: Final = MAX_MONEY_MSAT
"""No payment can exceed all coins that there will ever be."""

CUSTOM_TLV_START: Final = 65_536
"""BOLT 1: types from here on are free for private use."""

KEYSEND_TLV: Final = 5_482_373_484
"""bLIP 3: the preimage of a payment that was not asked for."""

_AMT_TO_FORWARD: Final = 2
_OUTGOING_CLTV: Final = 4
_SHORT_CHANNEL_ID: Final = 6
_PAYMENT_DATA: Final = 8
_ENCRYPTED_RECIPIENT_DATA: Final = 10
_CURRENT_PATH_KEY: Final = 12
_PAYMENT_METADATA: Final = 16
_TOTAL_AMOUNT: Final = 18

_KNOWN: Final = frozenset(
    {
        _AMT_TO_FORWARD,
        _OUTGOING_CLTV,
        _SHORT_CHANNEL_ID,
        _PAYMENT_DATA,
        _ENCRYPTED_RECIPIENT_DATA,
        _CURRENT_PATH_KEY,
        _PAYMENT_METADATA,
        _TOTAL_AMOUNT,
        KEYSEND_TLV,
    }
)


class InvalidPayload(DecodeError):
    """A payload that cannot be obeyed.

    Attributes:
        tlv_type: which field is wrong or missing, for `invalid_onion_payload`; 0 when no single one is.
    """

    def __init__(self, message: str, tlv_type: int = 0) -> None:
        super().__init__(message)
        self.tlv_type = tlv_type


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardPayload:
    """Pass it on: over which channel, how much, and until when."""

    short_channel_id: ShortChannelId
    amt_to_forward_msat: int
    outgoing_cltv_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivePayload:
    """It is for us.

    Attributes:
        amount_msat: what this part should at least bring.
        cltv_expiry_height: what the HTLC should at least last to.
        total_msat: of all parts; the amount itself where the sender says nothing.
        custom_tlvs: private fields that may be overlooked (odd types from 65,536).
    """

    amount_msat: int
    cltv_expiry_height: int
    total_msat: int
    payment_secret: PaymentSecret | None = None
    payment_metadata: bytes | None = None
    keysend_preimage: PaymentPreimage | None = None
    custom_tlvs: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindedForwardPayload:
    """Pass it on; where to is sealed by the payee.

    Attributes:
        current_path_key: present at the first hop of the blinded path only.
    """

    encrypted_recipient_data: bytes
    current_path_key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindedReceivePayload:
    """It is for us, over a blinded path of our own making."""

    encrypted_recipient_data: bytes
    amount_msat: int
    cltv_expiry_height: int
    total_msat: int
    current_path_key: bytes | None = None
    keysend_preimage: PaymentPreimage | None = None
    custom_tlvs: tuple[tuple[int, bytes], ...] = ()


HopPayload = ForwardPayload | ReceivePayload | BlindedForwardPayload | BlindedReceivePayload


# --- writing ------------------------------------------------------------------


def encode_payload(payload: HopPayload) -> bytes:
    """The TLV stream of a payload, without its length."""
    match payload:
        case ForwardPayload():
            return encode_tlv_stream(
                {
                    _AMT_TO_FORWARD: _tu(payload.amt_to_forward_msat),
                    _OUTGOING_CLTV: _tu(payload.outgoing_cltv_height),
                    _SHORT_CHANNEL_ID: payload.short_channel_id.to_bytes(8, "big"),
                }
            )
        case ReceivePayload():
            records = _amount_and_expiry(payload)
            if payload.payment_secret is not None:
                records[_PAYMENT_DATA] = payload.payment_secret + _tu(payload.total_msat)
            if payload.payment_metadata is not None:
                records[_PAYMENT_METADATA] = payload.payment_metadata
            return encode_tlv_stream(records)
        case BlindedForwardPayload():
            return encode_tlv_stream(_sealed(payload))
        case BlindedReceivePayload():
            records = _amount_and_expiry(payload) | _sealed(payload)
            records[_TOTAL_AMOUNT] = _tu(payload.total_msat)
            return encode_tlv_stream(records)
        case _:
            assert_never(payload)


def _tu(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _amount_and_expiry(payload: ReceivePayload | BlindedReceivePayload) -> dict[int, bytes]:
    records = {
        _AMT_TO_FORWARD: _tu(payload.amount_msat),
        _OUTGOING_CLTV: _tu(payload.cltv_expiry_height),
        **dict(payload.custom_tlvs),
    }
    if payload.keysend_preimage is not None:
        records[KEYSEND_TLV] = payload.keysend_preimage
    return records


def _sealed(payload: BlindedForwardPayload | BlindedReceivePayload) -> dict[int, bytes]:
    records = {_ENCRYPTED_RECIPIENT_DATA: payload.encrypted_recipient_data}
    if payload.current_path_key is not None:
        records[_CURRENT_PATH_KEY] = payload.current_path_key
    return records


# --- reading ------------------------------------------------------------------


def _number(stream: TlvStream, tlv_type: int, name: str, limit: int) -> int:
    raw = stream.get(tlv_type)
    if raw is None:
        raise InvalidPayload(f"The instructions lack the {name}.", tlv_type)
    return _limited(raw, tlv_type, name, limit)


def _limited(raw: bytes, tlv_type: int, name: str, limit: int) -> int:
    try:
        value = Reader(raw).tu64()
    except DecodeError as error:
        raise InvalidPayload(f"The {name} in the instructions is not a number.", tlv_type) from error
    if value > limit:
        raise InvalidPayload(f"The {name} in the instructions is out of range.", tlv_type)
    return value


def _amount_msat(stream: TlvStream) -> int:
    return _number(stream, _AMT_TO_FORWARD, "amount", MAX_VALUE_MSAT)


def _cltv_height(stream: TlvStream) -> int:
    return _number(stream, _OUTGOING_CLTV, "time limit", 0xFFFF_FFFF)


def _exactly(stream: TlvStream, tlv_type: int, length: int, name: str) -> bytes | None:
    raw = stream.get(tlv_type)
    if raw is not None and len(raw) != length:
        raise InvalidPayload(f"The {name} in the instructions has {len(raw)} bytes.", tlv_type)
    return raw


def decode_payload(raw: bytes, *, is_final: bool) -> HopPayload:
    """Read a payload, knowing from the onion whether it is the last. Raises `InvalidPayload` only."""
    try:
        stream = decode_tlv_stream(raw, _KNOWN)
    except DecodeError as error:
        raise InvalidPayload(str(error)) from error
    if _ENCRYPTED_RECIPIENT_DATA in stream:
        return _decode_blinded(stream, is_final)
    # BOLT 4, payload, reader, not blinded: refuse a path key.
    if _CURRENT_PATH_KEY in stream:
        raise InvalidPayload("The instructions hold a path key without sealed data.", _CURRENT_PATH_KEY)
    amount_msat, cltv_height = _amount_msat(stream), _cltv_height(stream)
    if not is_final:
        short_channel_id = _exactly(stream, _SHORT_CHANNEL_ID, 8, "channel id")
        if short_channel_id is None:
            raise InvalidPayload("The instructions do not say where to forward to.", _SHORT_CHANNEL_ID)
        return ForwardPayload(
            short_channel_id=ShortChannelId(int.from_bytes(short_channel_id, "big")),
            amt_to_forward_msat=amount_msat,
            outgoing_cltv_height=cltv_height,
        )
    # BOLT 4, payload, reader, final node: a total that is not given is the amount itself.
    payment_secret, total_msat = None, amount_msat
    payment_data = stream.get(_PAYMENT_DATA)
    if payment_data is not None:
        if len(payment_data) < 32:
            raise InvalidPayload("The payment secret in the instructions is cut short.", _PAYMENT_DATA)
        payment_secret = PaymentSecret(payment_data[:32])
        total_msat = _limited(payment_data[32:], _PAYMENT_DATA, "total", MAX_VALUE_MSAT)
    return ReceivePayload(
        amount_msat=amount_msat,
        cltv_expiry_height=cltv_height,
        total_msat=total_msat,
        payment_secret=payment_secret,
        payment_metadata=stream.get(_PAYMENT_METADATA),
        keysend_preimage=_preimage(stream),
        custom_tlvs=_custom(stream),
    )


def _preimage(stream: TlvStream) -> PaymentPreimage | None:
    raw = _exactly(stream, KEYSEND_TLV, 32, "preimage")
    return None if raw is None else PaymentPreimage(raw)


def _custom(stream: TlvStream) -> tuple[tuple[int, bytes], ...]:
    return tuple((t, value) for t, value in stream.items() if t >= CUSTOM_TLV_START and t != KEYSEND_TLV)


_BLINDED_FORWARD_FIELDS: Final = frozenset({_ENCRYPTED_RECIPIENT_DATA, _CURRENT_PATH_KEY})
_BLINDED_RECEIVE_FIELDS: Final = _BLINDED_FORWARD_FIELDS | {
    _AMT_TO_FORWARD,
    _OUTGOING_CLTV,
    _TOTAL_AMOUNT,
}


def _decode_blinded(stream: TlvStream, is_final: bool) -> BlindedForwardPayload | BlindedReceivePayload:
    # BOLT 4, payload, reader, blinded: refuse any field that is not listed. Private ones of the payer pass.
    allowed = _BLINDED_RECEIVE_FIELDS if is_final else _BLINDED_FORWARD_FIELDS
    for tlv_type in stream:
        if tlv_type not in allowed and not (is_final and tlv_type >= CUSTOM_TLV_START):
            raise InvalidPayload(f"Sealed instructions came with field {tlv_type}.", tlv_type)
    path_key = _exactly(stream, _CURRENT_PATH_KEY, 33, "path key")
    sealed = stream[_ENCRYPTED_RECIPIENT_DATA]
    if not is_final:
        return BlindedForwardPayload(encrypted_recipient_data=sealed, current_path_key=path_key)
    return BlindedReceivePayload(
        encrypted_recipient_data=sealed,
        amount_msat=_amount_msat(stream),
        cltv_expiry_height=_cltv_height(stream),
        total_msat=_number(stream, _TOTAL_AMOUNT, "total", MAX_VALUE_MSAT),
        current_path_key=path_key,
        keysend_preimage=_preimage(stream),
        custom_tlvs=_custom(stream),
    )


# --- sealed data --------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRelay:
    """What a blinded hop keeps for forwarding."""

    cltv_expiry_delta: int
    fee_proportional_millionths: int
    fee_base_msat: int

    def amount_to_forward_msat(self, incoming_msat: int) -> int | None:
        """BOLT 4, payload, reader, blinded: the formula, rounded as there; None if the fee eats it all."""
        if incoming_msat < self.fee_base_msat:
            return None
        divisor = 1_000_000 + self.fee_proportional_millionths
        return ((incoming_msat - self.fee_base_msat) * 1_000_000 + divisor - 1) // divisor


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentConstraints:
    """Until when, and from which amount on, a blinded hop may be used."""

    max_cltv_expiry_height: int
    htlc_minimum_msat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientData:
    """What the payee sealed for one hop. BOLT 4, encrypted_data_tlv."""

    short_channel_id: ShortChannelId | None = None
    next_node_id: NodeId | None = None
    path_id: bytes | None = None
    next_path_key_override: bytes | None = None
    payment_relay: PaymentRelay | None = None
    payment_constraints: PaymentConstraints | None = None
    allowed_features: Features | None = None
    padding: bytes | None = None


_SEALED_KNOWN: Final = frozenset({1, 2, 4, 6, 8, 10, 12, 14})


def _rho(shared_secret: bytes) -> bytes:
    return hmac_sha256(b"rho", shared_secret)


def seal_recipient_data(shared_secret: bytes, data: RecipientData) -> bytes:
    """Seal for the hop with which `shared_secret` is shared. BOLT 4, route blinding."""
    records: dict[int, bytes] = {}
    if data.padding is not None:
        records[1] = data.padding
    if data.short_channel_id is not None:
        records[2] = data.short_channel_id.to_bytes(8, "big")
    if data.next_node_id is not None:
        records[4] = data.next_node_id
    if data.path_id is not None:
        records[6] = data.path_id
    if data.next_path_key_override is not None:
        records[8] = data.next_path_key_override
    relay = data.payment_relay
    if relay is not None:
        writer = Writer().u16(relay.cltv_expiry_delta).u32(relay.fee_proportional_millionths)
        records[10] = writer.tu32(relay.fee_base_msat).getvalue()
    limits = data.payment_constraints
    if limits is not None:
        records[12] = Writer().u32(limits.max_cltv_expiry_height).tu64(limits.htlc_minimum_msat).getvalue()
    if data.allowed_features is not None:
        records[14] = data.allowed_features.to_bytes()
    return ChaCha20Poly1305(_rho(shared_secret)).encrypt(bytes(12), encode_tlv_stream(records), None)


def open_recipient_data(shared_secret: bytes, sealed: bytes) -> RecipientData:
    """Open what was sealed for us. BOLT 4, route blinding, reader. Raises `DecodeError`."""
    try:
        plain = ChaCha20Poly1305(_rho(shared_secret)).decrypt(bytes(12), sealed, None)
    except InvalidTag as error:
        raise DecodeError("The sealed instructions are not for us.") from error
    stream = decode_tlv_stream(plain, _SEALED_KNOWN)
    if 2 in stream and 4 in stream:
        raise DecodeError("The sealed instructions name two ways on.")
    relay = constraints = features = None
    if 10 in stream:
        reader = Reader(stream[10])
        relay = PaymentRelay(
            cltv_expiry_delta=reader.u16(),
            fee_proportional_millionths=reader.u32(),
            fee_base_msat=reader.tu32(),
        )
    if 12 in stream:
        reader = Reader(stream[12])
        constraints = PaymentConstraints(max_cltv_expiry_height=reader.u32(), htlc_minimum_msat=reader.tu64())
    if 14 in stream:
        features = Features.from_bytes(stream[14])
        # BOLT 4, payload, reader, blinded: no feature is defined there yet, so that any bit is unknown.
        if features:
            raise DecodeError("The sealed instructions ask for an unknown feature.")
    short_channel_id = _exactly(stream, 2, 8, "channel id")
    next_node_id = _point(stream, 4)
    return RecipientData(
        short_channel_id=None
        if short_channel_id is None
        else ShortChannelId(int.from_bytes(short_channel_id, "big")),
        next_node_id=None if next_node_id is None else NodeId(next_node_id),
        path_id=stream.get(6),
        next_path_key_override=_point(stream, 8),
        payment_relay=relay,
        payment_constraints=constraints,
        allowed_features=features,
        padding=stream.get(1),
    )


def _point(stream: TlvStream, tlv_type: int) -> bytes | None:
    raw = _exactly(stream, tlv_type, 33, "key")
    if raw is not None and not is_valid_pubkey(raw):
        raise InvalidPayload("A key in the instructions is not on the curve.", tlv_type)
    return raw


# --- the payloads of a path ---------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientOnion:
    """What the payee's invoice says must reach the payee.

    Attributes:
        total_msat: of all parts together.
        custom_tlvs: private fields, types from 65,536.
    """

    total_msat: int
    payment_secret: PaymentSecret | None = None
    payment_metadata: bytes | None = None
    custom_tlvs: tuple[tuple[int, bytes], ...] = ()

    def __post_init__(self) -> None:
        types = [tlv_type for tlv_type, _value in self.custom_tlvs]
        if types != sorted(set(types)) or any(t < CUSTOM_TLV_START or t == KEYSEND_TLV for t in types):
            raise APIError(_("Private fields of a payment need rising types from 65536, without keysend's."))


def build_onion_payloads(
    path: Path,
    recipient: RecipientOnion,
    starting_height: int,
    keysend_preimage: PaymentPreimage | None = None,
) -> tuple[tuple[bytes, ...], int, int]:
    """The encoded payloads of a path, first hop first; then the amount in msat and the expiry of its HTLC.

    `starting_height` is the next block's. BOLT 4, payload, writer.
    """
    payloads: list[bytes] = []
    amount_msat, cltv_height = 0, starting_height
    tail = path.blinded_tail
    last = len(path.hops) - 1
    if tail is not None:
        amount_msat = tail.final_value_msat
        for index, blinded in enumerate(tail.hops):
            path_key = tail.blinding_point if index == 0 else None
            if index < len(tail.hops) - 1:
                sealed = BlindedForwardPayload(
                    encrypted_recipient_data=blinded.encrypted_recipient_data, current_path_key=path_key
                )
                payloads.append(encode_payload(sealed))
                continue
            payloads.append(
                encode_payload(
                    BlindedReceivePayload(
                        encrypted_recipient_data=blinded.encrypted_recipient_data,
                        amount_msat=tail.final_value_msat,
                        cltv_expiry_height=starting_height + tail.excess_final_cltv_delta,
                        total_msat=recipient.total_msat,
                        current_path_key=path_key,
                        keysend_preimage=keysend_preimage,
                        custom_tlvs=recipient.custom_tlvs,
                    )
                )
            )
        payloads.reverse()
    for index in range(last, -1, -1):
        hop = path.hops[index]
        if index < last:
            forward = ForwardPayload(
                short_channel_id=path.hops[index + 1].short_channel_id,
                amt_to_forward_msat=amount_msat,
                outgoing_cltv_height=cltv_height,
            )
            payloads.append(encode_payload(forward))
        amount_msat += hop.fee_msat
        cltv_height += hop.cltv_expiry_delta
        if index == last and tail is None:
            received = ReceivePayload(
                amount_msat=amount_msat,
                cltv_expiry_height=cltv_height,
                total_msat=recipient.total_msat,
                payment_secret=recipient.payment_secret,
                payment_metadata=recipient.payment_metadata,
                keysend_preimage=keysend_preimage,
                custom_tlvs=recipient.custom_tlvs,
            )
            payloads.append(encode_payload(received))
    payloads.reverse()
    return tuple(payloads), amount_msat, cltv_height
