"""The record of what was tried for a payment."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet.ln.events import FailedAttempt, PaymentPathFailed, PaymentPathSuccessful, PaymentSent, SentPart
from wallet.ln.onion_failure import FailureCode
from wallet.ln.route import Path, RouteHop
from wallet.ln.types import NodeId, Now, PaymentHash, PaymentId, PaymentPreimage, ShortChannelId
from wallet.node.api import ActivityStatus
from wallet.node.attempts import (
    MAX_KEPT,
    Attempt,
    AttemptState,
    Trace,
    arrived,
    attempt_json,
    attempt_view,
    failed,
    read_trace,
    took_ms,
    under_way,
    write_trace,
)
from wallet.node.commands.payments import _not_sent
from wallet.node.event_handler import EventHandler
from wallet.node.node import Node
from wallet.node.probes import Probe, read_probes, with_probes
from wallet.node.records import PaymentRecord, PaymentState

NOW = Now(at=1_000_000, mono_ms=50_000)
HUB, SHOP = b"\x02" * 33, b"\x03" * 33
NAMES = {HUB: "Hub", SHOP: "Shop"}


def a_path(amount_msat: int = 5_000) -> Path:
    def hop(node_id: bytes, scid: int, fee_msat: int) -> RouteHop:
        return RouteHop(
            node_id=NodeId(node_id),
            short_channel_id=ShortChannelId(scid),
            fee_msat=fee_msat,
            cltv_expiry_delta=40,
        )

    return Path(hops=(hop(HUB, 7, 12), hop(SHOP, 8, amount_msat)))


def a_failure(hop_index: int | None = 0, part_id: int = 0) -> FailedAttempt:
    return FailedAttempt(
        path=a_path(),
        hop_index=hop_index,
        failure_code=FailureCode.TEMPORARY_CHANNEL_FAILURE,
        short_channel_id=ShortChannelId(8),
        payee_rejected=False,
        message="The channel could not carry this amount now.",
        part_id=part_id,
        sent_at=NOW.at - 1,
        sent_mono_ms=NOW.mono_ms - 1_250,
        hold_times_ms=(900,),
    )


def sent(*parts: SentPart) -> PaymentSent:
    return PaymentSent(
        PaymentId(bytes(32)),
        PaymentHash(bytes(32)),
        PaymentPreimage(bytes(32)),
        5_000,
        12,
        parts,
        1,
        (300, 100),
    )


def show(attempt: Attempt) -> str:
    return attempt_view(attempt, lambda node_id: NAMES[node_id], str).text


def test_a_failure_says_where_why_and_after_how_long() -> None:
    view = attempt_view(failed(a_failure(), NOW), lambda node_id: NAMES[node_id], lambda scid: f"1x2x{scid}")
    assert view.status is ActivityStatus.FAILED
    assert (view.took_ms, view.amount_msat, view.fee_msat) == (1_250, 5_000, 12)
    assert [(hop.alias, hop.amount_msat, hop.fee_msat, hop.hold_time_ms) for hop in view.hops] == [
        ("Hub", 5_012, 12, 900),
        ("Shop", 5_000, 0, None),
    ]
    assert (view.failed_hop, view.failed_channel) == (0, "1x2x8")
    assert (view.failure_code, view.failure_name) == (0x1007, "temporary_channel_failure")
    assert view.text == (
        "5\u00a0sat and 0.012\u00a0sat of fees over Hub, Shop: came back after 1.2 s, from hop 1, Hub. "
        "The channel could not carry this amount now."
    )
    told = attempt_json(view)
    assert told["text"] == view.text
    assert cast("Any", told["path"])[0]["short_channel_id"] == "1x2x7"


@pytest.mark.parametrize(("said_ms", "kept_ms"), [(3_200, 3_200), (3_300, None), (0xFFFF_FFFF * 100, None)])
def test_a_hop_that_held_it_for_longer_than_it_took_is_not_believed(
    said_ms: int, kept_ms: int | None
) -> None:
    """It took 1.25 s, and the clocks may differ by two."""
    told = replace(a_failure(), hold_times_ms=(said_ms, 100))
    assert [hop.hold_time_ms for hop in failed(told, NOW).hops] == [kept_ms, 100]


def test_a_failure_at_home_names_nobody() -> None:
    assert "hop " not in show(failed(a_failure(None), NOW))


def test_of_the_parts_that_arrive_only_the_first_is_timed() -> None:
    parts = tuple(SentPart(number, a_path(), NOW.at - 3, NOW.mono_ms - 2_500) for number in range(3))
    attempts = arrived(sent(*parts), NOW)
    assert [attempt.took_ms for attempt in attempts] == [None, 2_500, None]
    assert [attempt.hops[0].hold_time_ms for attempt in attempts] == [None, 300, None]
    assert show(attempts[0]).endswith("arrived.")
    assert show(attempts[1]).endswith("arrived after 2.5 s.")


def test_a_part_that_is_out_says_so() -> None:
    attempt = under_way(SentPart(0, a_path(), NOW.at, NOW.mono_ms - 40), NOW)
    assert attempt.state is AttemptState.UNDER_WAY
    assert show(attempt).endswith("under way for 40 ms.")


def test_the_steady_clock_counts_within_one_run_only() -> None:
    assert took_ms(NOW.at - 10, NOW.mono_ms - 9_500, NOW) == 9_500
    # Another run's clock began elsewhere.
    assert took_ms(NOW.at - 10, NOW.mono_ms + 5, NOW) == 10_000
    assert took_ms(NOW.at - 10, NOW.mono_ms - 40_000, NOW) == 10_000
    # The computer's clock was put back meanwhile.
    assert took_ms(NOW.at + 500, NOW.mono_ms - 40_000, NOW) == 0


@given(st.integers(0, 3 * MAX_KEPT))
def test_the_newest_attempts_are_kept_and_the_others_counted(count: int) -> None:
    trace = Trace()
    for number in range(count):
        trace = read_trace(write_trace(trace.with_attempt(failed(a_failure(part_id=number), NOW))))
    assert len(trace.attempts) == min(count, MAX_KEPT)
    assert trace.left_out == max(0, count - MAX_KEPT)
    if count:
        assert trace.attempts[-1] == failed(a_failure(part_id=count - 1), NOW)


def test_another_word_on_an_attempt_takes_the_place_of_the_first() -> None:
    parts = tuple(SentPart(number, a_path(), NOW.at, NOW.mono_ms) for number in range(2))
    trace = Trace()
    for attempt in arrived(sent(*parts), NOW):
        trace = trace.with_attempt(attempt)
    later = failed(a_failure(part_id=0), Now(at=NOW.at + 1, mono_ms=0))
    assert len(trace.with_attempt(later).attempts) == 3
    again = arrived(sent(*parts), Now(at=NOW.at, mono_ms=NOW.mono_ms + 5))[1]
    assert trace.with_attempt(again).attempts[-1].took_ms == 5
    assert len(trace.with_attempt(again).attempts) == 2


def test_no_trace_is_an_empty_one_and_so_is_one_that_cannot_be_read() -> None:
    assert read_trace(b"") == Trace()
    newer = write_trace(Trace(left_out=3)) + b"\x64\x01\x00"
    assert read_trace(newer) == Trace()


def test_two_tries_of_one_payment_within_a_second_are_two_attempts() -> None:
    """Their parts have the same numbers: each try begins with 0."""
    trace = Trace()
    for _try in range(2):
        trace = trace.with_attempt(failed(a_failure(), NOW))
    assert len(trace.attempts) == 2
    (part,) = arrived(sent(SentPart(0, a_path(), NOW.at - 1, 0)), NOW)
    assert [known.state for known in trace.with_attempt(part).attempts] == [
        AttemptState.FAILED,
        AttemptState.FAILED,
        AttemptState.ARRIVED,
    ]


class Books:
    """A node of nothing but a ledger with one payment."""

    def __init__(self) -> None:
        self.record = PaymentRecord(
            payment_hash=bytes(32),
            amount_msat=10_000,
            fee_msat=0,
            created_at=NOW.at - 3,
            settled_at=0,
            state=PaymentState.PENDING,
            invoice="",
            description="",
            payee=SHOP,
        )
        self.payments = {bytes(32): self.record}
        self.ledger = self
        self.core = SimpleNamespace(now=NOW, afterwards=lambda call: None)
        self.scorer = SimpleNamespace(liquidity_bounds_msat=lambda *_args: None)

    def put_payment(self, record: PaymentRecord) -> None:
        self.record = self.payments[bytes(32)] = record

    def progress(self, payment_hash: bytes, sentence: str) -> None:
        pass

    def scorer_failed(self, attempt: FailedAttempt) -> None:
        pass

    def scorer_succeeded(self, path: Path) -> None:
        pass

    def alias_of(self, node_id: bytes) -> str:
        return NAMES[node_id]


def test_a_part_that_comes_back_after_the_proof_is_taken_off_what_was_paid() -> None:
    books = Books()
    handler = EventHandler(cast("Any", books))
    parts = tuple(SentPart(number, a_path(), NOW.at - 1, NOW.mono_ms - 1_250) for number in range(2))
    before = replace(a_failure(part_id=7), sent_at=NOW.at - 2)
    handler.handle(0, PaymentPathFailed(PaymentId(bytes(32)), PaymentHash(bytes(32)), before))
    assert (books.record.amount_msat, books.record.fee_msat) == (10_000, 0)
    whole = replace(sent(*parts), amount_msat=10_000, fee_paid_msat=24)
    handler.handle(1, whole)
    assert (books.record.amount_msat, books.record.fee_msat) == (10_000, 24)
    back = PaymentPathFailed(PaymentId(bytes(32)), PaymentHash(bytes(32)), a_failure(part_id=0))
    # Told twice, it is taken off once; and what had failed before the proof is not taken off at all.
    for event in (back, back, PaymentPathFailed(PaymentId(bytes(32)), PaymentHash(bytes(32)), before)):
        handler.handle(2, event)
        assert (books.record.amount_msat, books.record.fee_msat) == (5_000, 12)
    assert books.record.state is PaymentState.SUCCEEDED
    states = {attempt.part_id: attempt.state for attempt in read_trace(books.record.trace).attempts}
    assert states == {0: AttemptState.FAILED, 1: AttemptState.ARRIVED, 7: AttemptState.FAILED}
    assert handler._untimed == {}


def test_every_part_that_is_settled_after_the_proof_is_timed() -> None:
    books = Books()
    handler = EventHandler(cast("Any", books))
    parts = tuple(SentPart(number, a_path(), NOW.at - 1, NOW.mono_ms - 1_250) for number in range(2))
    handler.handle(0, sent(*parts))
    for number in range(2):
        handler.handle(
            1,
            PaymentPathSuccessful(
                PaymentId(bytes(32)), PaymentHash(bytes(32)), a_path(), number, NOW.at - 1, NOW.mono_ms - 700
            ),
        )
    took = {attempt.part_id: attempt.took_ms for attempt in read_trace(books.record.trace).attempts}
    assert took == {0: 700, 1: 1_250}
    assert handler._untimed == {}


@pytest.mark.parametrize(
    ("hop_index", "rejected", "lesson"),
    [(0, False, "failed"), (1, False, "free"), (1, True, "free"), (None, False, "failed")],
    ids=["on the way", "by the payee for now", "by the payee for good", "unreadable"],
)
def test_what_the_payee_sends_back_teaches_that_the_way_was_free(
    hop_index: int | None, rejected: bool, lesson: str
) -> None:
    learnt: list[str] = []
    scorer = SimpleNamespace(
        probe_successful=lambda path, now: learnt.append("free"),
        payment_path_failed=lambda path, scid, now: learnt.append("failed"),
    )
    node: Any = SimpleNamespace(scorer=scorer, core=SimpleNamespace(now=NOW))
    Node.scorer_failed(node, replace(a_failure(hop_index), payee_rejected=rejected))
    assert learnt == [lesson]


@pytest.mark.parametrize(
    ("known", "state"),
    [(False, PaymentState.FAILED), (True, PaymentState.PENDING)],
    ids=["never left", "left"],
)
def test_what_never_left_ends_at_once_without_a_look_at_all_that_arrived(
    known: bool, state: PaymentState
) -> None:
    """There may be tens of thousands of those, and this is done with the core's lock held."""
    books: Any = Books()
    books.manager = SimpleNamespace(knows_payment=lambda payment_id: known)
    told: list[bytes] = []
    books.events = SimpleNamespace(tell_waiters=told.append)
    _not_sent(books, bytes(32), "No way.")
    assert books.record.state is state
    assert told == ([] if known else [bytes(32)])


def test_what_was_sent_ahead_is_kept_with_the_payment() -> None:
    def a_probe(number: int) -> Probe:
        return Probe(attempt=failed(a_failure(part_id=number), NOW), reached_payee=number % 2 == 0)

    assert with_probes(b"", ()) == b""
    data = with_probes(b"", [a_probe(0)])
    data = with_probes(data, [a_probe(number) for number in range(1, MAX_KEPT + 2)])
    assert read_probes(data) == tuple(a_probe(number) for number in range(2, MAX_KEPT + 2))
    assert with_probes(data, ()) == data
    assert read_probes(b"\x01") == ()
