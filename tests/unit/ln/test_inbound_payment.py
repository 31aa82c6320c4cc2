"""Stateless payment secrets: what was asked for is known again, and nothing else is."""

from __future__ import annotations

from hashlib import sha256

import pytest

from wallet.ln.inbound_payment import (
    ExpandedKey,
    NewInbound,
    VerifiedInbound,
    create,
    create_from_hash,
    get_payment_preimage,
    verify,
)
from wallet.ln.types import APIError, PaymentHash, PaymentPreimage, PaymentSecret

KEYS = ExpandedKey.from_secret(b"\x07" * 32)
OTHER_KEYS = ExpandedKey.from_secret(b"\x08" * 32)
NOW_AT = 1_700_000_000
PREIMAGE = PaymentPreimage(b"p" * 32)
HASH = PaymentHash(sha256(PREIMAGE).digest())


def ask(amount_msat: int | None = 5_000, delta: int | None = 40, metadata: bytes | None = None) -> NewInbound:
    return create(
        KEYS,
        min_value_msat=amount_msat,
        expiry_seconds=600,
        random_bytes=b"r" * 32,
        highest_seen_at=NOW_AT,
        min_final_cltv_delta=delta,
        payment_metadata=metadata,
    )


def ask_for_hash(amount_msat: int | None = 5_000, metadata: bytes | None = None) -> NewInbound:
    return create_from_hash(
        KEYS,
        HASH,
        min_value_msat=amount_msat,
        expiry_seconds=600,
        random_bytes=b"r" * 32,
        highest_seen_at=NOW_AT,
        payment_metadata=metadata,
    )


def check(
    new: NewInbound, *, total_msat: int = 5_000, at: int = NOW_AT, keys: ExpandedKey = KEYS
) -> VerifiedInbound | None:
    return verify(
        keys,
        new.payment_hash,
        new.payment_secret,
        total_msat=total_msat,
        highest_seen_at=at,
        payment_metadata=new.payment_metadata,
    )


def test_own_hash() -> None:
    new = ask()
    verified = check(new)
    assert verified is not None
    assert verified.payment_preimage is not None
    assert sha256(verified.payment_preimage).digest() == new.payment_hash
    assert verified.min_final_cltv_delta == 40
    assert get_payment_preimage(KEYS, new.payment_hash, new.payment_secret) == verified.payment_preimage


def test_given_hash() -> None:
    new = ask_for_hash()
    verified = check(new)
    assert verified == VerifiedInbound(
        payment_preimage=None, min_final_cltv_delta=None, payment_metadata=None
    )
    with pytest.raises(APIError, match="did not make"):
        get_payment_preimage(KEYS, new.payment_hash, new.payment_secret)


@pytest.mark.parametrize("make", [ask, ask_for_hash])
def test_metadata_is_hidden_and_bound(make: object) -> None:
    new = ask(metadata=b"order 17") if make is ask else ask_for_hash(metadata=b"order 17")
    assert new.payment_metadata is not None
    assert b"order" not in new.payment_metadata
    verified = check(new)
    assert verified is not None
    assert verified.payment_metadata == b"order 17"
    for wrong in (None, b"", new.payment_metadata[:-1] + b"\x00", new.payment_metadata + b"\x00"):
        changed = NewInbound(
            payment_hash=new.payment_hash, payment_secret=new.payment_secret, payment_metadata=wrong
        )
        assert check(changed) is None


def test_amount_rules() -> None:
    assert check(ask(), total_msat=4_999) is None
    assert check(ask(), total_msat=10_000) is not None
    assert check(ask(), total_msat=10_001) is None
    assert check(ask(amount_msat=None), total_msat=1) is not None
    assert check(ask(amount_msat=None), total_msat=10**15) is not None


def test_expiry_has_two_hours_of_grace() -> None:
    assert check(ask(), at=NOW_AT + 600 + 7200) is not None
    assert check(ask(), at=NOW_AT + 600 + 7201) is None


def test_wrong_and_unknown_look_alike() -> None:
    new = ask()
    assert check(new, keys=OTHER_KEYS) is None
    for position in range(32):
        secret = bytearray(new.payment_secret)
        secret[position] ^= 0x20
        wrong = NewInbound(
            payment_hash=new.payment_hash,
            payment_secret=PaymentSecret(bytes(secret)),
            payment_metadata=None,
        )
        assert check(wrong) is None
    unknown = NewInbound(payment_hash=HASH, payment_secret=new.payment_secret, payment_metadata=None)
    assert check(unknown) is None
    short = NewInbound(payment_hash=HASH, payment_secret=PaymentSecret(b"s"), payment_metadata=None)
    assert check(short) is None


def test_a_secret_for_one_hash_does_not_serve_another() -> None:
    other = PaymentHash(b"\x55" * 32)
    new = ask_for_hash()
    assert verify(KEYS, other, new.payment_secret, total_msat=5_000, highest_seen_at=NOW_AT) is None


@pytest.mark.parametrize("amount_msat", [0, 21_000_000 * 100_000_000 * 1000 + 1])
def test_impossible_amounts(amount_msat: int) -> None:
    with pytest.raises(APIError):
        ask(amount_msat=amount_msat)


def test_key_material_does_not_show() -> None:
    assert "07" not in repr(KEYS)
