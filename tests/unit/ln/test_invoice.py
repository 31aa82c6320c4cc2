"""Invoices beyond the specification's examples: round trips, hostile texts, sentences, and amounts."""

from __future__ import annotations

import contextlib
from functools import partial
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wallet.bitcoin import curve
from wallet.bitcoin.address import MAINNET, NETWORKS, REGTEST, SIGNET
from wallet.bitcoin.bech32 import bech32_encode, convert_bits
from wallet.ln.features import Feature, Features
from wallet.ln.invoice import Fallback, Invoice, build_invoice, parse_invoice
from wallet.ln.onion_payload import RecipientOnion
from wallet.ln.route import RouteHintHop
from wallet.ln.types import APIError, DecodeError, NodeId, PaymentHash, PaymentSecret, ShortChannelId

SECRET_KEY = b"\x11" * 32
NODE = NodeId(curve.pubkey_from_secret(SECRET_KEY))
SIGN = partial(curve.sign_recoverable, secret=SECRET_KEY)
HASH, SECRET = PaymentHash(b"h" * 32), PaymentSecret(b"s" * 32)
CREATED_AT = 1_700_000_000


def make(amount_msat: int | None = 123_456, **changes: Any) -> Invoice:
    arguments: dict[str, Any] = {
        "network": REGTEST,
        "payment_hash": HASH,
        "payment_secret": SECRET,
        "created_at": CREATED_AT,
        "sign": SIGN,
        "amount_msat": amount_msat,
        "description": "tea",
    }
    return build_invoice(**(arguments | changes))


HOPS = st.builds(
    RouteHintHop,
    node_id=st.just(NODE),
    short_channel_id=st.integers(0, 2**64 - 1).map(ShortChannelId),
    fee_base_msat=st.integers(0, 2**32 - 1),
    fee_proportional_millionths=st.integers(0, 2**32 - 1),
    cltv_expiry_delta=st.integers(0, 2**16 - 1),
)
FALLBACKS = st.one_of(
    st.builds(Fallback, st.sampled_from([0, 17, 18]), st.binary(min_size=20, max_size=20)),
    st.builds(Fallback, st.integers(0, 16), st.binary(min_size=32, max_size=32)),
)


@settings(max_examples=150, deadline=None)
@given(
    network=st.sampled_from(list(NETWORKS.values())),
    amount_msat=st.none() | st.integers(1, 21_000_000 * 100_000_000 * 1000),
    described=st.text(max_size=150) | st.binary(min_size=32, max_size=32),
    created_at=st.integers(0, 2**35 - 1),
    expiry_seconds=st.integers(1, 2**40),
    delta=st.integers(1, 2**16 - 1),
    fallbacks=st.lists(FALLBACKS, max_size=3),
    hints=st.lists(st.lists(HOPS, min_size=1, max_size=4).map(tuple), max_size=3),
    metadata=st.none() | st.binary(max_size=300),
    with_payee=st.booleans(),
)
def test_round_trip(
    network: object,
    amount_msat: int | None,
    described: str | bytes,
    created_at: int,
    expiry_seconds: int,
    delta: int,
    fallbacks: list[Fallback],
    hints: list[tuple[RouteHintHop, ...]],
    metadata: bytes | None,
    with_payee: bool,
) -> None:
    description = described if isinstance(described, str) else None
    description_hash = described if isinstance(described, bytes) else None
    invoice = make(
        amount_msat,
        network=network,
        description=description,
        description_hash=description_hash,
        created_at=created_at,
        expiry_seconds=expiry_seconds,
        min_final_cltv_delta=delta,
        fallbacks=fallbacks,
        hints=hints,
        payment_metadata=metadata,
        payee=NODE if with_payee else None,
    )
    assert invoice.amount_msat == amount_msat
    assert (invoice.description, invoice.description_hash) == (description, description_hash)
    assert invoice.created_at == created_at
    assert invoice.expiry_seconds == expiry_seconds
    assert invoice.min_final_cltv_delta == delta
    assert invoice.fallbacks == tuple(fallbacks)
    assert invoice.hints == tuple(hints)
    assert invoice.payment_metadata == metadata
    assert (invoice.payee, invoice.payee_is_given) == (NODE, with_payee)
    assert invoice.features.requires(Feature.PAYMENT_SECRET)
    assert len(invoice.fallback_addresses) == len(fallbacks)
    assert parse_invoice("  LIGHTNING:" + invoice.text.upper() + "\n", invoice.network) == invoice


@pytest.mark.parametrize(
    ("amount_msat", "text"),
    [
        (1, "10p"),
        (100, "1n"),
        (150, "1500p"),
        (100_000, "1u"),
        (250_000_000, "2500u"),
        (100_000_000, "1m"),
        (100_000_000_000, "1"),
        (2_100_000_000_000, "21"),
        (967_878_534, "9678785340p"),
    ],
)
def test_amounts_take_their_shortest_form(amount_msat: int, text: str) -> None:
    invoice = make(amount_msat)
    assert invoice.text.rpartition("1")[0] == f"lnbcrt{text}"
    assert invoice.amount_msat == amount_msat


def signed(hrp: str, values: list[int]) -> str:
    digest = sha256(hrp.encode() + bytes(convert_bits(values, 5, 8, pad=True))).digest()
    return bech32_encode(hrp, values + convert_bits(SIGN(digest), 8, 5, pad=True))


def fields(*parts: tuple[int, list[int]]) -> list[int]:
    values = [0] * 7
    for tag, data in parts:
        values += [tag, len(data) >> 5, len(data) & 31, *data]
    return values


P, S, D, H = (1, [1] * 52), (16, [2] * 52), (13, [0] * 8), (23, [3] * 52)


@pytest.mark.parametrize(
    ("hrp", "values", "sentence"),
    [
        ("lnbcrt0u", fields(P, S, D), "zero"),
        ("lnbcrt99999999999999999999", fields(P, S, D), "more bitcoin than can exist"),
        ("lnbcrt1234567890123456789012345u", fields(P, S, D), "more bitcoin than can exist"),
        ("lnbcrt", fields(S, D), "no payment hash"),
        ("lnbcrt", fields(P, P, S, D), "more than one payment hash"),
        ("lnbcrt", fields(P, D), "no payment secret"),
        ("lnbcrt", fields(P, S), "one description"),
        ("lnbcrt", fields(P, S, D, H), "one description"),
        ("lnbcrt", fields(P, S, D, D), "one description"),
        ("lnbcrt", fields(P, S, (13, [31] * 8)), "not readable text"),
        ("lnbcrt", fields(P, S, D, (6, [0, 5])), "expiry time is not in its shortest form"),
        ("lnbcrt", fields(P, S, D, (24, [0, 5])), "final time limit is not in its shortest form"),
        ("lnbcrt", fields(P, S, D, (24, [31] * 5)), "impossible time limit"),
        ("lnbcrt", fields(P, S, D, (5, [0, 1])), "feature list is not in its shortest form"),
        ("lnbcrt", fields(P, S, D, (5, [2, 0, 0, 0, 0, 0])), "does not know"),
        ("lnbcrt", fields(P, S, D, (3, [0] * 40)), "route hint is cut short"),
        ("lnbcrt", fields(P, S, D, (3, [0] * 82)), "impossible node"),
        ("lnbcrt", [*fields(P, S, D), 1, 31], "cut short"),
        ("lnbcrt", [*fields(P, S, D), 1, 31, 31], "cut short"),
        ("lnbc", fields(P, S, D), "for Bitcoin; this wallet is on"),
        ("lntbs", fields(P, S, D), "this wallet is on"),
        ("lnxyz", fields(P, S, D), "does not know"),
        ("lno", fields(P, S, D), "offer"),
        ("bcrt", fields(P, S, D), "not a Lightning invoice"),
        ("lnbcrt5uu", fields(P, S, D), "not a Lightning invoice"),
    ],
)
def test_refused_with_a_sentence(hrp: str, values: list[int], sentence: str) -> None:
    with pytest.raises(DecodeError, match=sentence):
        parse_invoice(signed(hrp, values), REGTEST)


def test_odd_things_that_are_overlooked() -> None:
    values = fields(P, S, D, (2, [1, 2]), (9, []), (9, [19, 1]), (9, [0, 1, 1]), (19, [1] * 52), (6, []))
    invoice = parse_invoice(signed("lnbcrt", values), REGTEST)
    assert invoice.fallbacks == ()
    assert invoice.payee == NODE
    assert invoice.expiry_seconds == 0
    assert invoice.features == Features()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="lnbcrt1qpzry9x8gf2tvdw0s3jn54khce6mua7l", max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_invoice(text, REGTEST)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 31), max_size=300))
def test_any_signed_fields_are_read_or_refused(values: list[int]) -> None:
    with contextlib.suppress(DecodeError):
        parse_invoice(signed("lnbcrt", fields(P, S, D) + values), REGTEST)


@given(st.data())
def test_a_changed_letter_is_found(data: st.DataObject) -> None:
    text = make().text
    position = data.draw(st.integers(7, len(text) - 1))
    letter = data.draw(st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
    changed = text[:position] + letter + text[position + 1 :]
    if changed != text:
        with pytest.raises(DecodeError):
            parse_invoice(changed, REGTEST)


def test_expiry() -> None:
    invoice = make(expiry_seconds=60)
    assert not invoice.is_expired(CREATED_AT + 59)
    assert invoice.is_expired(CREATED_AT + 60)


def test_what_to_pay() -> None:
    fixed, free = make(1_000), make(None)
    assert fixed.amount_to_pay_msat() == fixed.amount_to_pay_msat(1_000) == 1_000
    assert fixed.amount_to_pay_msat(2_000) == 2_000
    assert free.amount_to_pay_msat(77) == 77
    for invoice, amount_msat in ((fixed, 999), (fixed, 2_001), (free, None), (free, 0)):
        with pytest.raises(APIError):
            invoice.amount_to_pay_msat(amount_msat)
    assert free.recipient_onion(77) == RecipientOnion(total_msat=77, payment_secret=SECRET)
    params = fixed.route_parameters()
    assert params.final_value_msat == 1_000
    assert params.max_total_routing_fee_msat == 50_010
    assert params.payment_params.payee == NODE
    assert params.payment_params.expiry_at == fixed.expires_at


@pytest.mark.parametrize(
    "changes",
    [
        {"description": None},
        {"description_hash": bytes(32)},
        {"amount_msat": 0},
        {"amount_msat": 21_000_000 * 100_000_000 * 1000 + 1},
        {"description": "x" * 640},
        {"created_at": 2**35},
        {"expiry_seconds": 0},
        {"min_final_cltv_delta": 0},
    ],
)
def test_not_written(changes: dict[str, Any]) -> None:
    with pytest.raises(APIError):
        make(**changes)


def test_fallback_addresses() -> None:
    address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
    invoice = make(network=MAINNET, fallbacks=[Fallback.from_address(address, MAINNET)])
    assert invoice.fallback_addresses == (address,)
    with pytest.raises(DecodeError):
        Fallback.from_address(address, SIGNET)
