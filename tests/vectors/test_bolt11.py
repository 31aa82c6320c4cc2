"""Every example of BOLT 11: what the valid ones say, and why the invalid ones are refused."""

from __future__ import annotations

import json
from dataclasses import fields
from functools import partial
from hashlib import sha256
from pathlib import Path as FilePath
from typing import Any

import pytest

from wallet.bitcoin import curve
from wallet.bitcoin.address import MAINNET, REGTEST, TESTNET4, Network
from wallet.bitcoin.errors import DecodeError
from wallet.ln.features import Features
from wallet.ln.invoice import Fallback, Invoice, build_invoice, parse_invoice
from wallet.ln.route import RouteHintHop
from wallet.ln.types import NodeId, PaymentHash, PaymentSecret, ShortChannelId

EXAMPLES = json.loads((FilePath(__file__).parent / "data" / "bolt11-examples.json").read_text())
VALID = [example["text"] for example in EXAMPLES["valid"]]
INVALID = [example["text"] for example in EXAMPLES["invalid"]]
SECRET_KEY = bytes.fromhex(EXAMPLES["secret_key"])

PAYEE = NodeId(bytes.fromhex("03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad"))
OTHER_PAYEE = NodeId(bytes.fromhex("02d0139ce7427d6dfffd26a326c18be754ef1e64672b42694ba5b23ef6e6e7803d"))
LIST_OF_THINGS = (
    "One piece of chocolate cake, one icecream cone, one pickle, one slice of swiss cheese, "
    "one slice of salami, one lollypop, one piece of cherry pie, one sausage, one cupcake, "
    "and one slice of watermelon"
)
LIST_HASH = sha256(LIST_OF_THINGS.encode()).digest()
BTC_MSAT = 100_000_000_000


def scid(text: str) -> ShortChannelId:
    block, index, output = map(int, text.split("x"))
    return ShortChannelId(block << 40 | index << 16 | output)


def hint_hop(node_id: str, channel: str, base_msat: int, millionths: int, delta: int) -> RouteHintHop:
    return RouteHintHop(
        node_id=NodeId(bytes.fromhex(node_id)),
        short_channel_id=scid(channel),
        fee_base_msat=base_msat,
        fee_proportional_millionths=millionths,
        cltv_expiry_delta=delta,
    )


NODE_29E = "029e03a901b85534ff1e92c43c74431f7ce72046060fcf7a95c37e148f78c77255"
NODE_39E = "039e03a901b85534ff1e92c43c74431f7ce72046060fcf7a95c37e148f78c77255"

# What the examples have in common, unless a row below says otherwise.
COMMON: dict[str, Any] = {
    "network": MAINNET,
    "amount_msat": 20 * BTC_MSAT // 1000,
    "created_at": 1496314658,
    "payment_hash": bytes.fromhex("0001020304050607080900010203040506070809000102030405060708090102"),
    "payment_secret": bytes.fromhex("11" * 32),
    "description": None,
    "description_hash": LIST_HASH,
    "payee": PAYEE,
    "payee_is_given": False,
    "expiry_seconds": 3600,
    "min_final_cltv_delta": 18,
    "hints": (),
    "features": Features([8, 14]),
    "payment_metadata": None,
}


def described(text: str, **facts: Any) -> dict[str, Any]:
    return COMMON | {"description": text, "description_hash": None} | facts


PLEASE = "Please consider supporting this project"
BEANS = described("coffee beans", amount_msat=25 * BTC_MSAT // 1000, features=Features([8, 14, 99]))
FACTS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    (described(PLEASE, amount_msat=None), ()),
    (described("1 cup coffee", amount_msat=250_000_000, expiry_seconds=60), ()),
    (described("ナンセンス 1杯", amount_msat=250_000_000, expiry_seconds=60), ()),
    (COMMON, ()),
    (COMMON | {"network": TESTNET4}, ("mk2QpYatsKicvFVuTAQLBryyccRXMUaGHP",)),
    (
        COMMON
        | {
            "hints": (
                (
                    hint_hop(NODE_29E, "66051x263430x1800", 1, 20, 3),
                    hint_hop(NODE_39E, "197637x395016x2314", 2, 30, 4),
                ),
            )
        },
        ("1RustyRX2oai4EYYDpQGWvEL62BBGqN9T",),
    ),
    (COMMON, ("3EktnHQD7RiAE6uzMj2ZifT9YgRrkSgzQX",)),
    (COMMON, ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",)),
    (COMMON, ("bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3",)),
    (COMMON, ("bc1pptdvg0d2nj99568qn6ssdy4cygnwuxgw2ukmnwgwz7jpqjz2kszse2s3lm",)),
    (
        described(
            "Blockstream Store: 88.85 USD for Blockstream Ledger Nano S x 1, "
            '"Back In My Day" Sticker x 2, "I Got Lightning Working" Sticker x 2 and 1 more items',
            amount_msat=967_878_534,
            created_at=1572468703,
            payment_hash=bytes.fromhex("462264ede7e14047e9b249da94fefc47f41f7d02ee9b091815a5506bc8abf75f"),
            expiry_seconds=604_800,
            min_final_cltv_delta=10,
            hints=(
                (
                    hint_hop(
                        "03d06758583bb5154774a6eb221b1276c9e82d65bbaceca806d90e20c108f4b1c7",
                        "589390x3312x1",
                        1000,
                        2500,
                        40,
                    ),
                ),
            ),
        ),
        (),
    ),
    (BEANS, ()),
    (BEANS, ()),
    (BEANS, ()),
    (
        described(
            "payment metadata inside",
            amount_msat=BTC_MSAT // 100,
            payment_metadata=bytes.fromhex("01fafaf0"),
            features=Features([8, 14, 48]),
        ),
        (),
    ),
    # The first example's signature with S negated and the recovery id as it was: that of another key.
    (described(PLEASE, amount_msat=None, payee=OTHER_PAYEE), ()),
]


def parse(index: int) -> Invoice:
    return parse_invoice(VALID[index], FACTS[index][0]["network"])


@pytest.mark.parametrize("index", range(16))
def test_valid(index: int) -> None:
    facts, addresses = FACTS[index]
    invoice = parse(index)
    said = {field.name: getattr(invoice, field.name) for field in fields(invoice) if field.name in facts}
    assert said == facts
    assert invoice.fallback_addresses == addresses
    assert invoice.text == VALID[index].lower()


def test_all_examples_have_facts() -> None:
    assert len(VALID) == len(FACTS) == 16
    assert len(INVALID) == 10


def test_hashed_description() -> None:
    invoice = parse(3)
    assert invoice.matches_description(LIST_OF_THINGS)
    assert not invoice.matches_description(LIST_OF_THINGS + ".")


# Those whose fields stand in the order in which we write them come out letter for letter.
@pytest.mark.parametrize("index", [0, 1, 2, 3, 5, 9])
def test_written_as_in_the_example(index: int) -> None:
    facts, addresses = FACTS[index]
    network: Network = facts["network"]
    built = build_invoice(
        network=network,
        payment_hash=PaymentHash(facts["payment_hash"]),
        payment_secret=PaymentSecret(facts["payment_secret"]),
        created_at=facts["created_at"],
        sign=partial(curve.sign_recoverable, secret=SECRET_KEY),
        amount_msat=facts["amount_msat"],
        description=facts["description"],
        description_hash=facts["description_hash"],
        expiry_seconds=facts["expiry_seconds"],
        min_final_cltv_delta=facts["min_final_cltv_delta"],
        fallbacks=[Fallback.from_address(address, network) for address in addresses],
        hints=facts["hints"],
        features=facts["features"],
    )
    assert built.text == VALID[index]


REASONS = [
    "features that this wallet does not know: bit 100",
    "checksum does not match",
    "incomplete",
    "mixed",
    "signature is not valid",
    "too short",
    r"unknown multiplier \(x\)",
    "fraction of a millisatoshi",
    "no payment secret",
    "not that of the payee",
]


@pytest.mark.parametrize(("text", "reason"), list(zip(INVALID, REASONS, strict=True)))
def test_invalid(text: str, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        parse_invoice(text, MAINNET)


def test_another_network() -> None:
    with pytest.raises(
        DecodeError, match=r"This invoice is for Bitcoin; this wallet is on Bitcoin regression"
    ):
        parse_invoice(VALID[0], REGTEST)
