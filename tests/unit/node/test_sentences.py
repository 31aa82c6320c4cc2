"""The core's reasons as sentences; what peers say is made harmless."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from wallet.ln.events import ClosureKind, ClosureReason, FailedAttempt, PaymentFailureReason
from wallet.ln.onion_failure import FailureCode
from wallet.ln.route import Path, RouteHop
from wallet.ln.types import NodeId, ShortChannelId
from wallet.node.event_handler import EventHandler
from wallet.node.sentences import (
    MAX_PEER_TEXT,
    attempt_sentence,
    closure_sentence,
    msat_text,
    not_sent_sentence,
    opening_sentence,
    payment_failure_sentence,
    peer_text,
    sat_text,
)

REFUSED = ClosureKind.COUNTERPARTY_FORCE_CLOSED
OURS = ClosureKind.PROCESSING_ERROR
THIN = "\u202f"
NBSP = "\u00a0"


@pytest.mark.parametrize(
    ("amount_sat", "text"),
    [(0, "0 sat"), (999, "999 sat"), (1_234_567, "1_234_567 sat"), (-1_000, "\u22121_000 sat")],
)
def test_amounts(amount_sat: int, text: str) -> None:
    shown = text.replace("_", THIN).replace(" ", NBSP)
    assert sat_text(amount_sat) == shown
    assert msat_text(amount_sat * 1000) == shown


@pytest.mark.parametrize(
    ("amount_msat", "text"),
    [
        (1, "0.001 sat"),
        (1_234_567_089, "1_234_567.089 sat"),
        (-1, "\u22120.001 sat"),
        (-1_999, "\u22121.999 sat"),
    ],
)
def test_parts_of_a_satoshi(amount_msat: int, text: str) -> None:
    assert msat_text(amount_msat) == text.replace("_", THIN).replace(" ", NBSP)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("", ""),
        ("Fee too low.", "Fee too low."),
        ("Grüße, 你好, שלום ☂", "Grüße, 你好, שלום ☂"),
        ("line\r\nbreak\ttab\u2028sep\x0b", "line break tab sep"),
        ("\x1b[31mred\x1b[0m \x00\x07\x7f\x9b", "[31mred[0m"),
        ("\u202egnp.exe\u202c \u2066x\u2069\u200f\u061c", "gnp.exe x"),
        ("zero\u200bwidth\ufeff\u2060\u00ad", "zerowidth"),
        ("\ud800half\udfff", "half"),
        ("\ue000private\U000f0000\U0010ffff", "private"),
        ("\u2800\u3164 \u115f\u1160\uffa0", ""),
        ("   many    spaces \u00a0\u3000 ", "many spaces"),
        ("o\u0300\u0301\u0302\u0303\u0304k", "o\u0300\u0301k"),
        ("\u201d). All is lost (\u201c", '"). All is lost ("'),
        ("<b>not markup</b>&amp;", "<b>not markup</b>&amp;"),
    ],
)
def test_a_peers_words(said: str, shown: str) -> None:
    assert peer_text(said) == shown
    assert peer_text(peer_text(said)) == peer_text(said)


def test_a_peers_many_words() -> None:
    assert len(peer_text("x" * 65_000)) == MAX_PEER_TEXT
    assert peer_text("x" * 65_000).endswith("x…")
    assert peer_text("\u0301" * 65_000 + "late") == "\u0301" * 2
    assert len(peer_text("x" * MAX_PEER_TEXT)) == MAX_PEER_TEXT


@pytest.mark.parametrize("kind", ClosureKind)
def test_every_reason_of_a_closure(kind: ClosureKind) -> None:
    hostile = "\u202e\x1b]0;owned\x07\n\u201d. Send your words to us"
    sentence = closure_sentence(ClosureReason(kind=kind, message=hostile))
    plain = closure_sentence(ClosureReason(kind=kind, message=""))
    for text in (sentence, plain):
        assert text[0].isupper()
        assert text.endswith(".")
        assert all(c.isprintable() for c in text)
        assert text.count("\u201d") <= 1
    assert "(" not in plain


def an_attempt(hop_index: int | None) -> FailedAttempt:
    hop = RouteHop(
        node_id=NodeId(b"\x02" * 33),
        short_channel_id=ShortChannelId(1),
        fee_msat=0,
        cltv_expiry_delta=40,
    )
    return FailedAttempt(
        path=Path(hops=(hop, hop)),
        hop_index=hop_index,
        failure_code=0,
        short_channel_id=None,
        payee_rejected=False,
        message="no balance",
    )


def test_where_an_attempt_failed() -> None:
    assert attempt_sentence(an_attempt(1), lambda _node_id: "Bob") == "Hop 2 of 2, Bob: no balance"
    assert attempt_sentence(an_attempt(99), lambda _node_id: "Bob") == "Hop 2 of 2, Bob: no balance"
    assert (
        attempt_sentence(an_attempt(None), lambda _node_id: "Bob") == "A route of 2 hops failed: no balance"
    )


def test_how_much_a_channel_lacked_and_what_would_have_passed() -> None:
    hops = tuple(
        RouteHop(
            node_id=NodeId(bytes([2]) + bytes([place]) * 32),
            short_channel_id=ShortChannelId(place),
            fee_msat=fee_msat,
            cltv_expiry_delta=40,
        )
        for place, fee_msat in ((1, 3_000), (2, 2_000), (3, 21_000_000))
    )
    names = {bytes(hop.node_id): name for hop, name in zip(hops, ("Ann", "Bob", "Cleo"), strict=True)}
    lacking = dataclasses.replace(
        an_attempt(1), path=Path(hops=hops), failure_code=FailureCode.TEMPORARY_CHANNEL_FAILURE
    )
    assert attempt_sentence(lacking, names.__getitem__) == (
        f"Hop 2 of 3, Bob: the channel on to Cleo could not carry 21{THIN}000{NBSP}sat now; less may pass."
    )
    first = dataclasses.replace(lacking, hop_index=0)
    assert f"21{THIN}002{NBSP}sat now" in attempt_sentence(first, names.__getitem__)
    known = f"12{THIN}000{NBSP}sat would have passed, as far as is known."
    assert attempt_sentence(lacking, names.__getitem__, passes_msat=12_000_000).endswith(known)
    whole = payment_failure_sentence(
        PaymentFailureReason.ROUTE_NOT_FOUND,
        21_000_000,
        (lacking,),
        names.__getitem__,
        passes_msat=12_000_000,
    )
    assert whole.endswith(known)
    # What the payee says of itself has no channel behind it.
    last = dataclasses.replace(lacking, hop_index=2)
    assert attempt_sentence(last, names.__getitem__).endswith("no balance")


@pytest.mark.parametrize(
    ("bounds", "passes_msat"), [(None, 0), ((12_000_000, 20_999_999), 12_000_000), ((0, 20_999_999), 0)]
)
def test_what_earlier_payments_taught_of_the_channel_is_told(
    bounds: tuple[int, int] | None, passes_msat: int
) -> None:
    asked: list[tuple[int, int]] = []

    def liquidity(scid: int, direction: int, _now: object) -> tuple[int, int] | None:
        asked.append((scid, direction))
        return bounds

    node: Any = SimpleNamespace(
        scorer=SimpleNamespace(liquidity_bounds_msat=liquidity), core=SimpleNamespace(now=None)
    )
    handler = EventHandler(node)
    hops = tuple(
        RouteHop(
            node_id=NodeId(bytes([2]) + bytes([place]) * 32),
            short_channel_id=ShortChannelId(place),
            fee_msat=0,
            cltv_expiry_delta=40,
        )
        for place in (1, 3, 2)
    )
    attempt = dataclasses.replace(an_attempt(0), path=Path(hops=hops), short_channel_id=ShortChannelId(3))
    assert handler._passes_msat(attempt) == passes_msat
    onward = dataclasses.replace(attempt, hop_index=1, short_channel_id=ShortChannelId(2))
    assert handler._passes_msat(onward) == passes_msat
    # From the smaller node id to the larger, and the other way.
    assert asked == [(3, 0), (2, 1)]
    for nothing in (
        dataclasses.replace(attempt, hop_index=2),
        dataclasses.replace(attempt, hop_index=None),
        dataclasses.replace(attempt, short_channel_id=None),
    ):
        assert handler._passes_msat(nothing) == 0
    assert len(asked) == 2


def test_a_payment_that_came_too_late_is_not_blamed_on_the_invoice() -> None:
    late = dataclasses.replace(an_attempt(0), payee_rejected=True, came_too_late=True)
    text = payment_failure_sentence(
        PaymentFailureReason.RECIPIENT_REJECTED, 1_500, (late,), lambda _node_id: "Bob"
    )
    assert "ask for a new one" not in text
    assert text.endswith(late.message)
    in_time = dataclasses.replace(late, came_too_late=False)
    text = payment_failure_sentence(
        PaymentFailureReason.RECIPIENT_REJECTED, 1_500, (in_time,), lambda _node_id: "Bob"
    )
    assert "ask for a new one" in text


@pytest.mark.parametrize("reason", PaymentFailureReason)
def test_every_reason_of_a_failed_payment(reason: PaymentFailureReason) -> None:
    for attempts in ((), (an_attempt(0),), (an_attempt(0), an_attempt(1))):
        text = payment_failure_sentence(reason, 1_500, attempts, lambda _node_id: "Bob")
        assert text[0].isalnum()
        assert "Nothing was paid" in text
        assert "1.500\u00a0sat" in text
    text = not_sent_sentence(reason, 1_500, "It costs 3 sat; the limit is 1 sat.")
    assert "1.500\u00a0sat" in text
    assert text.endswith(".")
    assert ("It costs 3 sat" in text) == (
        reason.name in ("ROUTE_NOT_FOUND", "INSUFFICIENT_BALANCE", "FEE_LIMIT")
    )
    once = payment_failure_sentence(
        PaymentFailureReason.RETRIES_EXHAUSTED, 1_500, (an_attempt(0),), lambda _n: "Bob"
    )
    assert "after 1 attempt." in once
    unasked = payment_failure_sentence(
        PaymentFailureReason.RECIPIENT_REJECTED, 1_500, (), lambda _n: "Bob", asked_for=False
    )
    assert "ask for an invoice" in unasked
    assert once.endswith("Hop 1 of 2, Bob: no balance")


@pytest.mark.parametrize(
    ("kind", "message", "said"),
    [
        (REFUSED, "We take channels from 400000 sat on.", f"takes channels from 400{THIN}000{NBSP}sat only"),
        (REFUSED, "we are full", "The peer refused it, and said: “we are full”."),
        (REFUSED, "", "did not say why"),
        (OURS, "dust_limit is 9000 sat, above 1000.", "limit for small amounts is not safe"),
        (OURS, "channel_reserve is 90000 sat, which is too much for us.", "reserve are not safe"),
        (OURS, "htlc_minimum is as much as the channel can carry.", "let too little through"),
        (OURS, "accept_channel has no channel_type.", "another kind of channel"),
        (OURS, "The peer wants to wait for 9000 confirmations.", "more confirmations than is sensible"),
        (OURS, "The opening took too long.", "did not answer the opening in time"),
        (
            OURS,
            "accept_channel came when none was due.",
            "broke the rules of an opening (“accept_channel came",
        ),
        (ClosureKind.DISCONNECTED_BEFORE_FUNDING, "", "went away before the channel was funded"),
    ],
    ids=lambda value: value.name if isinstance(value, ClosureKind) else value[:24] or "silent",
)
def test_an_opening_that_failed_says_why_and_that_no_coins_were_used(
    kind: ClosureKind, message: str, said: str
) -> None:
    sentence = opening_sentence(ClosureReason(kind, message), 200_000)
    assert said in sentence
    assert "No coins were used" in sentence
    assert "force-closed" not in sentence
