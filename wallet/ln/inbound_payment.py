"""Payments to us without a database: everything to check one is sealed into its payment secret.

Theory of operation, after rust-lightning. A payment secret is 16 bytes of IV and 16 bytes of encrypted
info. The info holds the method (3 bits), the least amount (61 bits), the least final CLTV delta (16) and
the expiry (48).

* Our own hash: the IV is random; the preimage is an HMAC over IV and info, so it needs no storing either. If
  it hashes to the payment hash, then IV and info are ours.
* A hash that was handed in (hold invoices, swaps): the IV is an HMAC over info and hash, and proves the same.

Payment metadata is encrypted, and part of either HMAC. Making invoices thus costs no storage, and an
attacker who probes with made-up hashes or secrets gets the same answer, None, for the unknown and for the
wrong.

Times are those of block headers ("highest seen"), not of the person's clock; two hours are added to each
expiry, because a header may be that far in the future.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from wallet.bitcoin.amounts import MAX_MONEY_MSAT
from wallet.bitcoin.hashes import hkdf_sha256
from wallet.i18n import _
from wallet.ln.types import APIError, PaymentHash, PaymentPreimage, PaymentSecret

__all__ = [
    "ExpandedKey",
    "NewInbound",
    "VerifiedInbound",
    "create",
    "create_from_hash",
    "get_payment_preimage",
    "verify",
]

_IV_LEN: Final = 16
_AMOUNT_BITS: Final = 61
_EXPIRY_BITS: Final = 48
_HEADER_DRIFT_SECONDS: Final = 2 * 3600
"""Consensus lets a block's time be two hours ahead."""


class _Method(IntEnum):
    """The top three bits of the info; what is not listed was not made by us."""

    OWN_HASH = 0
    GIVEN_HASH = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpandedKey:
    """The keys of inbound payments, all from one secret of the seed. Make it once and keep it.

    Attributes:
        info_key: encrypts amount and expiry.
        own_hash_key: authenticates payments whose preimage we make.
        given_hash_key: authenticates payments to a hash that was handed in.
        metadata_key: encrypts payment metadata.
    """

    info_key: bytes
    own_hash_key: bytes
    given_hash_key: bytes
    metadata_key: bytes

    def __repr__(self) -> str:
        return "ExpandedKey(...)"

    @classmethod
    def from_secret(cls, key_material: bytes) -> ExpandedKey:
        if len(key_material) != 32:
            raise APIError("The key material of inbound payments has 32 bytes.")
        raw = hkdf_sha256(b"Leyden inbound payment keys", key_material, length=4 * 32)
        return cls(
            info_key=raw[:32],
            own_hash_key=raw[32:64],
            given_hash_key=raw[64:96],
            metadata_key=raw[96:],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInbound:
    """What an invoice needs. `payment_metadata` is the encrypted form, to be put there as it is."""

    payment_hash: PaymentHash
    payment_secret: PaymentSecret
    payment_metadata: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedInbound:
    """A payment that we did ask for.

    Attributes:
        payment_preimage: None for a hash that was handed in.
        min_final_cltv_delta: what the invoice demanded; None where it was not fixed.
        payment_metadata: decrypted.
    """

    payment_preimage: PaymentPreimage | None
    min_final_cltv_delta: int | None
    payment_metadata: bytes | None


# --- making -------------------------------------------------------------------


def create(
    keys: ExpandedKey,
    *,
    min_value_msat: int | None,
    expiry_seconds: int,
    random_bytes: bytes,
    highest_seen_at: int,
    min_final_cltv_delta: int | None = None,
    payment_metadata: bytes | None = None,
) -> NewInbound:
    """A new hash of our own, and its secret. `random_bytes`: at least 16, fresh for each call."""
    info = _info(_Method.OWN_HASH, min_value_msat, expiry_seconds, highest_seen_at, min_final_cltv_delta)
    iv = _iv_of(random_bytes)
    metadata = None if payment_metadata is None else _crypt(keys.metadata_key, iv, payment_metadata)
    preimage = _own_preimage(keys, iv, info, metadata)
    return NewInbound(
        payment_hash=PaymentHash(sha256(preimage).digest()),
        payment_secret=_seal(keys, iv, info),
        payment_metadata=metadata,
    )


def create_from_hash(
    keys: ExpandedKey,
    payment_hash: PaymentHash,
    *,
    min_value_msat: int | None,
    expiry_seconds: int,
    random_bytes: bytes,
    highest_seen_at: int,
    min_final_cltv_delta: int | None = None,
    payment_metadata: bytes | None = None,
) -> NewInbound:
    """A secret for a hash whose preimage we may not know. `random_bytes` serve the metadata only."""
    info = _info(_Method.GIVEN_HASH, min_value_msat, expiry_seconds, highest_seen_at, min_final_cltv_delta)
    metadata = None
    if payment_metadata is not None:
        metadata_iv = _iv_of(random_bytes)
        metadata = _crypt(keys.metadata_key, metadata_iv, payment_metadata) + metadata_iv
    iv = _given_hash_iv(keys, info, payment_hash, metadata)
    return NewInbound(
        payment_hash=payment_hash, payment_secret=_seal(keys, iv, info), payment_metadata=metadata
    )


def _info(
    method: _Method,
    min_value_msat: int | None,
    expiry_seconds: int,
    highest_seen_at: int,
    min_final_cltv_delta: int | None,
) -> bytes:
    if min_value_msat is not None and not 0 < min_value_msat <= MAX_MONEY_MSAT:
        raise APIError(_("This amount cannot be asked for."))
    if min_final_cltv_delta is not None and not 0 < min_final_cltv_delta <= 0xFFFF:
        raise APIError(_("This final time limit cannot be asked for."))
    expires_at = highest_seen_at + expiry_seconds + _HEADER_DRIFT_SECONDS
    if expiry_seconds < 0 or not 0 <= expires_at < 1 << _EXPIRY_BITS:
        raise APIError(_("This expiry time is out of range."))
    amount = method << _AMOUNT_BITS | (min_value_msat or 0)
    rest = (min_final_cltv_delta or 0) << _EXPIRY_BITS | expires_at
    return amount.to_bytes(8, "big") + rest.to_bytes(8, "big")


def _iv_of(random_bytes: bytes) -> bytes:
    if len(random_bytes) < _IV_LEN:
        raise APIError(f"At least {_IV_LEN} random bytes are needed.")
    return random_bytes[:_IV_LEN]


def _crypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    return Cipher(ChaCha20(key, iv), mode=None).encryptor().update(data)


def _seal(keys: ExpandedKey, iv: bytes, info: bytes) -> PaymentSecret:
    return PaymentSecret(iv + _crypt(keys.info_key, iv, info))


def _with_length(metadata: bytes | None) -> bytes:
    return b"" if metadata is None else len(metadata).to_bytes(8, "big") + metadata


def _own_preimage(keys: ExpandedKey, iv: bytes, info: bytes, metadata: bytes | None) -> bytes:
    return hmac.digest(keys.own_hash_key, iv + info + _with_length(metadata), "sha256")


def _given_hash_iv(
    keys: ExpandedKey, info: bytes, payment_hash: PaymentHash, metadata: bytes | None
) -> bytes:
    mac = hmac.digest(keys.given_hash_key, info + payment_hash + _with_length(metadata), "sha256")
    return mac[:_IV_LEN]


# --- checking -----------------------------------------------------------------


def verify(
    keys: ExpandedKey,
    payment_hash: PaymentHash,
    payment_secret: PaymentSecret,
    *,
    total_msat: int,
    highest_seen_at: int,
    payment_metadata: bytes | None = None,
) -> VerifiedInbound | None:
    """Whether we asked for this payment, and what it needs; None if we did not, or not so, or no longer."""
    opened = _authenticate(keys, payment_hash, payment_secret, payment_metadata)
    if opened is None:
        return None
    info, verified = opened
    amount, rest = int.from_bytes(info[:8], "big"), int.from_bytes(info[8:], "big")
    min_value_msat = amount & ((1 << _AMOUNT_BITS) - 1)
    expires_at = rest & ((1 << _EXPIRY_BITS) - 1)
    # BOLT 4, failure messages, final node: too little; more than twice of what was asked for; too late.
    if total_msat < min_value_msat:
        return None
    if min_value_msat and total_msat > 2 * min_value_msat:
        return None
    if expires_at < highest_seen_at:
        return None
    return verified


def get_payment_preimage(
    keys: ExpandedKey,
    payment_hash: PaymentHash,
    payment_secret: PaymentSecret,
    payment_metadata: bytes | None = None,
) -> PaymentPreimage:
    """The preimage of a hash of our own. Raises `APIError` for any other."""
    opened = _authenticate(keys, payment_hash, payment_secret, payment_metadata)
    preimage = None if opened is None else opened[1].payment_preimage
    if preimage is None:
        raise APIError("We did not make this payment hash.")
    return preimage


def _authenticate(
    keys: ExpandedKey, payment_hash: PaymentHash, payment_secret: PaymentSecret, metadata: bytes | None
) -> tuple[bytes, VerifiedInbound] | None:
    """Open a secret, and check that it is ours and belongs to the hash; before anything else is looked at."""
    if len(payment_secret) != 32:
        return None
    iv = payment_secret[:_IV_LEN]
    info = _crypt(keys.info_key, iv, payment_secret[_IV_LEN:])
    method = info[0] >> (_AMOUNT_BITS - 56)
    preimage: PaymentPreimage | None = None
    plain: bytes | None = None
    # Both checks always run, so that the time taken tells nothing of the method either.
    own_preimage = _own_preimage(keys, iv, info, metadata)
    is_own = hmac.compare_digest(sha256(own_preimage).digest(), payment_hash)
    is_given = hmac.compare_digest(_given_hash_iv(keys, info, payment_hash, metadata), iv)
    if method == _Method.OWN_HASH and is_own:
        preimage = PaymentPreimage(own_preimage)
        if metadata is not None:
            plain = _crypt(keys.metadata_key, iv, metadata)
    elif method == _Method.GIVEN_HASH and is_given:
        if metadata is not None:
            plain = _crypt(keys.metadata_key, metadata[-_IV_LEN:], metadata[:-_IV_LEN])
    else:
        return None
    min_final_cltv_delta = int.from_bytes(info[8:10], "big")
    return info, VerifiedInbound(
        payment_preimage=preimage,
        min_final_cltv_delta=min_final_cltv_delta or None,
        payment_metadata=plain,
    )
