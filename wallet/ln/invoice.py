"""BOLT 11 invoices, read and written.

An invoice is Bech32 text: the network and the amount in the readable part, then 35 bits of time, tagged
fields of five-bit values, and a signature whose key is the payee. `parse_invoice` checks everything that
can be checked without a clock or a graph; whether it has expired, is our own, or has been paid is for the
caller.

Reading is as strict as the specification, with one choice where it disagrees with itself: a `p`, `s`, `h`
or `n` of the wrong length is overlooked, as in its example of fields that must be ignored, and so the
invoice fails only if no right one is left. Texts from an invoice are untrusted when shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Final

from wallet.bitcoin import curve, script
from wallet.bitcoin.address import NETWORKS, Network, address_to_script, script_to_address
from wallet.bitcoin.amounts import MAX_MONEY_MSAT
from wallet.bitcoin.bech32 import bech32_decode, bech32_encode, convert_bits
from wallet.i18n import _
from wallet.ln.features import Feature, FeatureContext, Features, feature_name
from wallet.ln.onion_payload import RecipientOnion
from wallet.ln.route import PaymentParameters, RouteHint, RouteHintHop, RouteParameters
from wallet.ln.types import APIError, DecodeError, NodeId, PaymentHash, PaymentSecret, ShortChannelId

__all__ = [
    "DEFAULT_EXPIRY_SECONDS",
    "DEFAULT_MIN_FINAL_CLTV_DELTA",
    "Fallback",
    "Invoice",
    "build_invoice",
    "invoice_features",
    "parse_invoice",
]

# BOLT 11, tagged fields: what an absent `x` and an absent `c` mean.
DEFAULT_EXPIRY_SECONDS: Final = 3600
DEFAULT_MIN_FINAL_CLTV_DELTA: Final = 18

_MAX_FIELD_VALUES: Final = 1023
_MAX_FIELD_BYTES: Final = _MAX_FIELD_VALUES * 5 // 8
_TIMESTAMP_VALUES: Final = 7
_SIGNATURE_VALUES: Final = 104
_HASH_VALUES: Final = 52
_NODE_ID_VALUES: Final = 53
_HINT_HOP_BYTES: Final = 33 + 8 + 4 + 4 + 2
_MAX_EXPIRY_SECONDS: Final = (1 << 63) - 1 - (1 << 35)

_P2PKH_VERSION: Final = 17
_P2SH_VERSION: Final = 18


class _Tag(IntEnum):
    """BOLT 11, tagged fields."""

    PAYMENT_HASH = 1
    ROUTE_HINT = 3
    FEATURES = 5
    EXPIRY = 6
    FALLBACK = 9
    DESCRIPTION = 13
    PAYMENT_SECRET = 16
    PAYEE = 19
    DESCRIPTION_HASH = 23
    MIN_FINAL_CLTV = 24
    METADATA = 27


@dataclass(frozen=True, slots=True)
class Fallback:
    """An on-chain address to pay where Lightning fails.

    Attributes:
        version: of the witness program, or 17 for a public key hash, 18 for a script hash.
    """

    version: int
    program: bytes

    @property
    def script_pubkey(self) -> bytes:
        if self.version == _P2PKH_VERSION:
            return script.p2pkh_from_hash(self.program)
        if self.version == _P2SH_VERSION:
            return script.p2sh_from_hash(self.program)
        return script.witness_program_script(self.version, self.program)

    @classmethod
    def from_address(cls, address: str, network: Network) -> Fallback:
        """Raises `DecodeError` with a sentence."""
        script_pubkey = address_to_script(address, network)
        found = script.witness_program(script_pubkey)
        if found is not None:
            return cls(*found)
        if script.is_p2pkh(script_pubkey):
            return cls(_P2PKH_VERSION, script_pubkey[3:23])
        return cls(_P2SH_VERSION, script_pubkey[2:22])


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """A checked invoice.

    Attributes:
        text: as it was read, in lower case.
        network: the network it was read for.
        amount_msat: None leaves the amount to the payer.
        description: what it is for; None where only `description_hash` stands.
        payee: the node to be paid: given by the field `n`, else recovered from the signature.
        payee_is_given: whether `n` stands in it.
        min_final_cltv_delta: 18 where the invoice says nothing.
        fallbacks, hints: in the payee's order of preference.
        payment_metadata: to be sent along with every part.
        signature: compact, 64 bytes, then the recovery id.
    """

    text: str
    network: Network
    amount_msat: int | None
    created_at: int
    payment_hash: PaymentHash
    payment_secret: PaymentSecret
    description: str | None
    description_hash: bytes | None
    payee: NodeId
    payee_is_given: bool
    expiry_seconds: int
    min_final_cltv_delta: int
    fallbacks: tuple[Fallback, ...]
    hints: tuple[RouteHint, ...]
    features: Features
    payment_metadata: bytes | None
    signature: bytes

    @property
    def expires_at(self) -> int:
        return self.created_at + self.expiry_seconds

    def is_expired(self, now_at: int) -> bool:
        return now_at >= self.expires_at

    @property
    def fallback_addresses(self) -> tuple[str, ...]:
        found = (script_to_address(fallback.script_pubkey, self.network) for fallback in self.fallbacks)
        return tuple(address for address in found if address is not None)

    def matches_description(self, description: str) -> bool:
        """Check a description that came by another way. BOLT 11, reader, field `h`."""
        if self.description_hash is None:
            return description == self.description
        return sha256(description.encode("utf-8")).digest() == self.description_hash

    def amount_to_pay_msat(self, amount_msat: int | None = None) -> int:
        """The amount to send: `amount_msat` where the invoice leaves it open, or pays it generously.

        Raises `APIError` with a sentence when the two do not go together.
        """
        if self.amount_msat is None:
            if amount_msat is None:
                raise APIError(_("The invoice leaves the amount to you: enter one."))
            if not 0 < amount_msat <= MAX_MONEY_MSAT:
                raise APIError(_("This amount cannot be paid."))
            return amount_msat
        if amount_msat is None:
            return self.amount_msat
        # BOLT 4, basic multi-part payments, writer: at least the amount asked for, and at most twice that.
        if not self.amount_msat <= amount_msat <= 2 * self.amount_msat:
            raise APIError(_("Pay at least what the invoice asks for, and at most twice that."))
        return amount_msat

    def recipient_onion(self, amount_msat: int | None = None) -> RecipientOnion:
        """What must reach the payee with each part."""
        return RecipientOnion(
            total_msat=self.amount_to_pay_msat(amount_msat),
            payment_secret=self.payment_secret,
            payment_metadata=self.payment_metadata,
        )

    def payment_parameters(self) -> PaymentParameters:
        params = PaymentParameters(
            payee=self.payee,
            final_cltv_delta=self.min_final_cltv_delta,
            hints=self.hints,
            features=self.features,
            expiry_at=self.expires_at,
        )
        return params

    def route_parameters(self, amount_msat: int | None = None) -> RouteParameters:
        """What to ask a router, with the usual fee limit."""
        return RouteParameters.from_payment_params_and_value(
            self.payment_parameters(), self.amount_to_pay_msat(amount_msat)
        )


# --- the readable part --------------------------------------------------------

_READABLE_PART: Final = re.compile(r"(ln[a-z]*)(?:([0-9]+)([a-z]?))?")

# msat in one unit of each multiplier, times ten for the sake of pico.
_TENTHS_MSAT: Final[dict[str, int]] = {
    "": 1_000_000_000_000,
    "m": 1_000_000_000,
    "u": 1_000_000,
    "n": 1_000,
    "p": 1,
}
_MAX_AMOUNT_DIGITS: Final = 20


def _title(network: Network) -> str:
    match network.name:
        case "testnet4":
            return _("Bitcoin test network 4")
        case "signet":
            return _("Bitcoin signet")
        case "regtest":
            return _("Bitcoin regression test")
        case "sandbox":
            return _("Sandbox")
        case _:
            return network.title


def _parse_readable_part(hrp: str, network: Network) -> int | None:
    match = _READABLE_PART.fullmatch(hrp)
    if match is None:
        raise DecodeError(_("This is not a Lightning invoice."))
    prefix, digits, multiplier = match[1], match[2], match[3] or ""
    if prefix != network.bolt11_prefix:
        # BOLT 11, human-readable part, reader: refuse a prefix that we do not understand.
        for other in NETWORKS.values():
            if other.bolt11_prefix == prefix:
                raise DecodeError(
                    _("This invoice is for {other}; this wallet is on {ours}.").format(
                        other=_title(other), ours=_title(network)
                    )
                )
        if prefix.startswith(("lno", "lnr", "lni")):
            raise DecodeError(_("This is a BOLT 12 offer or request, not an invoice."))
        raise DecodeError(_("This invoice is for a network that this wallet does not know."))
    if digits is None:
        return None
    tenths = _TENTHS_MSAT.get(multiplier)
    if tenths is None:
        raise DecodeError(
            _("The invoice's amount has an unknown multiplier ({letter}).").format(letter=multiplier)
        )
    if len(digits) > _MAX_AMOUNT_DIGITS:
        raise DecodeError(_("The invoice asks for more bitcoin than can exist."))
    amount_msat, rest = divmod(int(digits) * tenths, 10)
    # BOLT 11, human-readable part, reader: in pico-bitcoin the last digit is 0, as HTLCs carry whole msat.
    if rest:
        raise DecodeError(_("The invoice asks for a fraction of a millisatoshi."))
    if amount_msat == 0:
        raise DecodeError(_("The invoice asks for an amount of zero."))
    if amount_msat > MAX_MONEY_MSAT:
        raise DecodeError(_("The invoice asks for more bitcoin than can exist."))
    return amount_msat


def _amount_text(amount_msat: int | None) -> str:
    """The shortest form: the largest multiplier that leaves a whole number."""
    if amount_msat is None:
        return ""
    for letter, tenths in _TENTHS_MSAT.items():
        amount, rest = divmod(amount_msat * 10, tenths)
        if not rest:
            return f"{amount}{letter}"
    raise APIError("An amount in msat always has a form in pico-bitcoin.")


# --- the data part ------------------------------------------------------------


def _number(values: Iterable[int]) -> int:
    number = 0
    for value in values:
        number = number << 5 | value
    return number


def _to_bytes(values: Sequence[int]) -> bytes:
    """Whole bytes from the front; what is left over is padding."""
    length, padding = divmod(len(values) * 5, 8)
    return (_number(values) >> padding).to_bytes(length, "big")


def _from_bytes(data: bytes) -> list[int]:
    return convert_bits(data, 8, 5, pad=True)


def _shortest(number: int) -> list[int]:
    """Five-bit values, big-endian, without leading zeros."""
    length = (number.bit_length() + 4) // 5
    return [number >> 5 * (length - 1 - index) & 31 for index in range(length)]


def _digest(hrp: str, values: Sequence[int]) -> bytes:
    """BOLT 11, requirements: the readable part, then the data before the signature, padded with zero bits."""
    return sha256(hrp.encode("ascii") + bytes(convert_bits(values, 5, 8, pad=True))).digest()


def _parse_hint(values: Sequence[int]) -> RouteHint:
    raw = _to_bytes(values)
    if not raw or len(raw) % _HINT_HOP_BYTES:
        raise DecodeError(_("The invoice's route hint is cut short."))
    hops: list[RouteHintHop] = []
    for start in range(0, len(raw), _HINT_HOP_BYTES):
        hop = raw[start : start + _HINT_HOP_BYTES]
        if not curve.is_valid_pubkey(hop[:33]):
            raise DecodeError(_("The invoice's route hint names an impossible node."))
        hops.append(
            RouteHintHop(
                node_id=NodeId(hop[:33]),
                short_channel_id=ShortChannelId(int.from_bytes(hop[33:41], "big")),
                fee_base_msat=int.from_bytes(hop[41:45], "big"),
                fee_proportional_millionths=int.from_bytes(hop[45:49], "big"),
                cltv_expiry_delta=int.from_bytes(hop[49:51], "big"),
            )
        )
    return tuple(hops)


def _parse_fallback(values: Sequence[int]) -> Fallback | None:
    if not values:
        return None
    version, program = values[0], _to_bytes(values[1:])
    # BOLT 11, reader: skip over `f` fields of unknown version; what no script can hold is as unknown.
    if version in (_P2PKH_VERSION, _P2SH_VERSION):
        return Fallback(version, program) if len(program) == 20 else None
    if version > 16 or not 2 <= len(program) <= 40 or (version == 0 and len(program) not in (20, 32)):
        return None
    return Fallback(version, program)


class _Fields:
    """The tagged fields of one invoice, by tag, each as five-bit values, in order."""

    __slots__ = ("_by_tag",)

    def __init__(self, values: Sequence[int]) -> None:
        self._by_tag: dict[int, list[Sequence[int]]] = {}
        at, end = 0, len(values)
        while at < end:
            if end - at < 3:
                raise DecodeError(_("The invoice is cut short."))
            tag, length = values[at], values[at + 1] << 5 | values[at + 2]
            stop = at + 3 + length
            if stop > end:
                raise DecodeError(_("The invoice is cut short."))
            self._by_tag.setdefault(tag, []).append(values[at + 3 : stop])
            at = stop

    def all(self, tag: _Tag) -> list[Sequence[int]]:
        return self._by_tag.get(tag, [])

    def fixed(self, tag: _Tag, length: int, name: str) -> bytes | None:
        """The one field of this tag that has the right length."""
        found = [values for values in self.all(tag) if len(values) == length]
        if len(found) > 1:
            raise DecodeError(_("The invoice has more than one {field}.").format(field=name))
        return _to_bytes(found[0]) if found else None

    def first(self, tag: _Tag) -> Sequence[int] | None:
        found = self.all(tag)
        return found[0] if found else None

    def minimal(self, tag: _Tag, name: str) -> Sequence[int] | None:
        """The first field of this tag. BOLT 11, reader: `c`, `x` and `9` do not begin with zeros."""
        values = self.first(tag)
        if values and values[0] == 0:
            raise DecodeError(_("The invoice's {field} is not in its shortest form.").format(field=name))
        return values


def parse_invoice(text: str, network: Network) -> Invoice:
    """Read and check an invoice for `network`. Raises `DecodeError` with a sentence for the person.

    Surrounding blanks and the prefix `lightning:` are taken off.
    """
    text = text.strip()
    if text[:10].lower() == "lightning:":
        text = text[10:].lstrip("/")
    try:
        hrp, values = bech32_decode(text)
    except DecodeError as error:
        raise DecodeError(_("This is not a valid invoice.") + f" {error}") from None
    amount_msat = _parse_readable_part(hrp, network)
    if len(values) < _TIMESTAMP_VALUES + _SIGNATURE_VALUES:
        raise DecodeError(_("The invoice is too short."))
    signed, signature = values[:-_SIGNATURE_VALUES], _to_bytes(values[-_SIGNATURE_VALUES:])
    fields = _Fields(signed[_TIMESTAMP_VALUES:])

    # The signature first: nothing else is worth a sentence if the payee did not write it.
    given_payee = fields.fixed(_Tag.PAYEE, _NODE_ID_VALUES, "payee")
    payee = _check_signature(signature, _digest(hrp, signed), given_payee)

    features = _parse_features(fields)
    payment_hash = fields.fixed(_Tag.PAYMENT_HASH, _HASH_VALUES, "payment hash")
    if payment_hash is None:
        raise DecodeError(_("The invoice has no payment hash."))
    # BOLT 11, reader: without a payment secret, nodes on the way could probe the payee.
    payment_secret = fields.fixed(_Tag.PAYMENT_SECRET, _HASH_VALUES, "payment secret")
    if payment_secret is None:
        raise DecodeError(_("The invoice has no payment secret; it comes from software that is too old."))
    description, description_hash = _parse_description(fields)
    fallbacks = (_parse_fallback(field) for field in fields.all(_Tag.FALLBACK))
    metadata = fields.first(_Tag.METADATA)
    return Invoice(
        text=text.lower(),
        network=network,
        amount_msat=amount_msat,
        created_at=_number(signed[:_TIMESTAMP_VALUES]),
        payment_hash=PaymentHash(payment_hash),
        payment_secret=PaymentSecret(payment_secret),
        description=description,
        description_hash=description_hash,
        payee=payee,
        payee_is_given=given_payee is not None,
        expiry_seconds=_parse_expiry_seconds(fields),
        min_final_cltv_delta=_parse_min_final_cltv_delta(fields),
        fallbacks=tuple(fallback for fallback in fallbacks if fallback is not None),
        hints=tuple(_parse_hint(field) for field in fields.all(_Tag.ROUTE_HINT)),
        features=features,
        payment_metadata=None if metadata is None else _to_bytes(metadata),
        signature=signature,
    )


def _check_signature(signature: bytes, digest: bytes, given_payee: bytes | None) -> NodeId:
    compact, recovery_id = signature[:64], signature[64]
    if given_payee is not None:
        # BOLT 11, reader: `n` validates the signature, which must then be low-S.
        if not curve.verify_ecdsa(compact, digest, given_payee):
            raise DecodeError(_("The invoice's signature is not that of the payee it names."))
        return NodeId(given_payee)
    try:
        return NodeId(curve.recover_pubkey(compact, recovery_id, digest))
    except DecodeError:
        raise DecodeError(_("The invoice's signature is not valid.")) from None


def _parse_features(fields: _Fields) -> Features:
    values = fields.minimal(_Tag.FEATURES, "feature list")
    features = Features(_number(values or ()))
    unknown = features.unknown_required(FeatureContext.INVOICE)
    if unknown:
        names = ", ".join(feature_name(bit) for bit in unknown)
        raise DecodeError(
            _("The invoice requires features that this wallet does not know: {names}.").format(names=names)
        )
    return features


def _parse_description(fields: _Fields) -> tuple[str | None, bytes | None]:
    description_hash = fields.fixed(_Tag.DESCRIPTION_HASH, _HASH_VALUES, "description hash")
    described = fields.all(_Tag.DESCRIPTION)
    # BOLT 11, reader: one of `d` and `h`, and only one.
    if len(described) + (description_hash is not None) != 1:
        raise DecodeError(_("The invoice must have one description, or the hash of one."))
    if description_hash is not None:
        return None, description_hash
    try:
        return _to_bytes(described[0]).decode("utf-8"), None
    except UnicodeDecodeError:
        raise DecodeError(_("The invoice's description is not readable text.")) from None


def _parse_expiry_seconds(fields: _Fields) -> int:
    values = fields.minimal(_Tag.EXPIRY, "expiry time")
    return DEFAULT_EXPIRY_SECONDS if values is None else min(_number(values), _MAX_EXPIRY_SECONDS)


def _parse_min_final_cltv_delta(fields: _Fields) -> int:
    values = fields.minimal(_Tag.MIN_FINAL_CLTV, "final time limit")
    if values is None:
        return DEFAULT_MIN_FINAL_CLTV_DELTA
    min_final_cltv_delta = _number(values)
    if min_final_cltv_delta > 0xFFFF:
        raise DecodeError(_("The invoice asks for an impossible time limit."))
    return min_final_cltv_delta


# --- writing ------------------------------------------------------------------


def invoice_features(*, basic_mpp: bool = True, payment_metadata: bool = False) -> Features:
    """What our own invoices ask for: onions with TLVs and the payment secret are required."""
    features = Features.of(required=(Feature.VAR_ONION_OPTIN, Feature.PAYMENT_SECRET))
    if basic_mpp:
        features = features.with_optional(Feature.BASIC_MPP)
    # BOLT 9: who pays learns that the last hop too says how long it took.
    features = features.with_optional(Feature.ATTRIBUTION_DATA)
    if payment_metadata:
        features = features.with_required(Feature.PAYMENT_METADATA)
    return features


def _field(tag: _Tag, values: Sequence[int]) -> list[int]:
    if len(values) > _MAX_FIELD_VALUES:
        raise APIError(
            _("A field of the invoice is too long: at most {limit} bytes fit.").format(limit=_MAX_FIELD_BYTES)
        )
    return [tag, len(values) >> 5, len(values) & 31, *values]


def _hint_values(hint: RouteHint) -> list[int]:
    raw = b"".join(
        hop.node_id
        + hop.short_channel_id.to_bytes(8, "big")
        + hop.fee_base_msat.to_bytes(4, "big")
        + hop.fee_proportional_millionths.to_bytes(4, "big")
        + hop.cltv_expiry_delta.to_bytes(2, "big")
        for hop in hint
    )
    return _from_bytes(raw)


def build_invoice(
    *,
    network: Network,
    payment_hash: PaymentHash,
    payment_secret: PaymentSecret,
    created_at: int,
    sign: Callable[[bytes], bytes],
    amount_msat: int | None = None,
    description: str | None = None,
    description_hash: bytes | None = None,
    expiry_seconds: int = DEFAULT_EXPIRY_SECONDS,
    min_final_cltv_delta: int = DEFAULT_MIN_FINAL_CLTV_DELTA,
    fallbacks: Sequence[Fallback] = (),
    hints: Sequence[RouteHint] = (),
    features: Features | None = None,
    payment_metadata: bytes | None = None,
    payee: NodeId | None = None,
) -> Invoice:
    """Write and sign an invoice. `payee` puts the node id into it; else it is recovered from the signature.

    `sign` makes 65 bytes of a digest: the compact signature, then the recovery id. Raises `APIError`.
    """
    if (description is None) == (description_hash is None):
        raise APIError(_("An invoice needs a description, or the hash of one, and not both."))
    if amount_msat is not None and not 0 < amount_msat <= MAX_MONEY_MSAT:
        raise APIError(_("An invoice cannot ask for this amount."))
    if not 0 <= created_at < 1 << 35:
        raise APIError(_("An invoice cannot carry this date."))
    if not 0 < expiry_seconds <= _MAX_EXPIRY_SECONDS or not 0 < min_final_cltv_delta <= 0xFFFF:
        raise APIError(_("An invoice cannot carry this time limit."))
    if features is None:
        features = invoice_features(payment_metadata=payment_metadata is not None)

    values = [created_at >> 5 * (_TIMESTAMP_VALUES - 1 - index) & 31 for index in range(_TIMESTAMP_VALUES)]
    values += _field(_Tag.PAYMENT_SECRET, _from_bytes(payment_secret))
    values += _field(_Tag.PAYMENT_HASH, _from_bytes(payment_hash))
    if description is not None:
        values += _field(_Tag.DESCRIPTION, _from_bytes(description.encode("utf-8")))
    if description_hash is not None:
        values += _field(_Tag.DESCRIPTION_HASH, _from_bytes(description_hash))
    if payee is not None:
        values += _field(_Tag.PAYEE, _from_bytes(payee))
    if expiry_seconds != DEFAULT_EXPIRY_SECONDS:
        values += _field(_Tag.EXPIRY, _shortest(expiry_seconds))
    if min_final_cltv_delta != DEFAULT_MIN_FINAL_CLTV_DELTA:
        values += _field(_Tag.MIN_FINAL_CLTV, _shortest(min_final_cltv_delta))
    for fallback in fallbacks:
        values += _field(_Tag.FALLBACK, [fallback.version, *_from_bytes(fallback.program)])
    for hint in hints:
        values += _field(_Tag.ROUTE_HINT, _hint_values(hint))
    if payment_metadata is not None:
        values += _field(_Tag.METADATA, _from_bytes(payment_metadata))
    if features:
        values += _field(_Tag.FEATURES, _shortest(features.bits))

    hrp = network.bolt11_prefix + _amount_text(amount_msat)
    signature = sign(_digest(hrp, values))
    if len(signature) != 65:
        raise APIError("An invoice's signature has 65 bytes.")
    text = bech32_encode(hrp, values + _from_bytes(signature))
    # Read back by the same rules that payers will apply: what we hand out is what they will see.
    return parse_invoice(text, network)
