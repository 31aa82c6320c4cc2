"""What was tried for a payment of ours: each path, what went over each hop, how it ended, how long it took.

Attempts are kept with the payment's own row, as one sealed value that is decoded only where somebody asks: a wallet
that has made a hundred thousand payments holds them all in memory. They are written in the batches that change the
payment anyway. The newest are kept (`MAX_KEPT`), and how many were left out is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.records import decode, encode
from wallet.i18n import _
from wallet.ln.events import FailedAttempt, PaymentPathSuccessful, PaymentSent, SentPart
from wallet.ln.onion_failure import FailureCode
from wallet.ln.route import Path
from wallet.ln.types import Now
from wallet.node.api import ActivityStatus, AttemptHopView, AttemptView, Json
from wallet.node.sentences import duration_ms_text, msat_text

__all__ = [
    "MAX_KEPT",
    "Attempt",
    "AttemptHop",
    "AttemptState",
    "Trace",
    "arrived",
    "attempt_json",
    "attempt_view",
    "failed",
    "read_trace",
    "settled",
    "under_way",
    "write_trace",
]

MAX_KEPT = 32
"""As many as the core keeps of a payment that is under way."""
CLOCK_TOLERANCE_MS = 2_000
"""By so much the two clocks may differ within one run; by more, the steady one belongs to another run."""


class AttemptState(Enum):
    """UNDER_WAY is never stored: such a part is in the core's own row."""

    ARRIVED = 1
    FAILED = 2
    UNDER_WAY = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptHop:
    """One node on the way, and the channel that leads to it.

    Attributes:
        amount_msat: what went over that channel.
        fee_msat: what the node would have kept; 0 for the payee.
        hold_time_ms: how long it says that it held the payment; None where it says nothing.
    """

    node_id: bytes
    short_channel_id: int
    amount_msat: int
    fee_msat: int
    hold_time_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One path that was tried for one part of a payment.

    Attributes:
        part_id: unique within one try of the payment, the first is 0.
        sent_at: unix time.
        took_ms: until it arrived or came back; None while nobody knows.
        failed_hop: which hop reported the failure, from 0; None when it failed at home, or nobody can say where.
        failed_channel: which channel could not carry it, where that is known.
        failure_code: of BOLT 4; 0 where there is none.
        failure: in words.
    """

    part_id: int
    sent_at: int
    state: AttemptState
    hops: tuple[AttemptHop, ...]
    took_ms: int | None = None
    failed_hop: int | None = None
    failed_channel: int | None = None
    failure_code: int = 0
    failure: str = ""

    @property
    def amount_msat(self) -> int:
        """What the payee was to get."""
        return self.hops[-1].amount_msat if self.hops else 0

    @property
    def fee_msat(self) -> int:
        return sum(hop.fee_msat for hop in self.hops)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """All that was tried, oldest first.

    Attributes:
        left_out: older attempts that are not kept.
    """

    attempts: tuple[Attempt, ...] = ()
    left_out: int = 0

    def with_attempt(self, attempt: Attempt) -> Trace:
        """One more, or another word on one that was said to arrive."""
        attempts = (*(known for known in self.attempts if not _is_arrived(known, attempt)), attempt)
        more = max(0, len(attempts) - MAX_KEPT)
        return replace(self, attempts=attempts[more:], left_out=self.left_out + more)

    def says_arrived(self, attempt: Attempt) -> bool:
        """Whether this part is down as one that arrived, or will."""
        return any(_is_arrived(known, attempt) for known in self.attempts)


def _is_arrived(known: Attempt, attempt: Attempt) -> bool:
    """Whether both are of the same part, and the first says that it arrived. Of one that has come back nothing more is
    heard: what has its number and its second is another try of the same payment."""
    same = (known.part_id, known.sent_at) == (attempt.part_id, attempt.sent_at)
    return same and known.state is AttemptState.ARRIVED


def read_trace(data: bytes) -> Trace:
    """What `write_trace` gave. What a newer release wrote, and this one cannot read, is as if it were not there: the
    payment itself does not hang on it."""
    try:
        return decode(Trace, data) if data else Trace()
    except DecodeError:
        return Trace()


def write_trace(trace: Trace) -> bytes:
    return encode(trace)


# --- from the core's words ------------------------------------------------------------


def _hops(path: Path, hold_times_ms: tuple[int, ...], took_ms: int | None) -> tuple[AttemptHop, ...]:
    """A hop that says it held the payment for longer than all of it took says nothing that is worth keeping."""
    last = len(path.hops) - 1
    longest_ms = None if took_ms is None else took_ms + CLOCK_TOLERANCE_MS
    return tuple(
        AttemptHop(
            node_id=bytes(hop.node_id),
            short_channel_id=hop.short_channel_id,
            amount_msat=path.amount_over_msat(index),
            fee_msat=0 if index == last and path.blinded_tail is None else hop.fee_msat,
            hold_time_ms=hold_times_ms[index]
            if index < len(hold_times_ms) and (longest_ms is None or hold_times_ms[index] <= longest_ms)
            else None,
        )
        for index, hop in enumerate(path.hops)
    )


def took_ms(sent_at: int, sent_mono_ms: int, now: Now) -> int:
    """How long ago it was sent. The steady clock counts, unless it was another run's."""
    rough_ms = max(0, now.at - sent_at) * 1_000
    exact_ms = now.mono_ms - sent_mono_ms
    return exact_ms if exact_ms >= 0 and abs(exact_ms - rough_ms) <= CLOCK_TOLERANCE_MS else rough_ms


def failed(attempt: FailedAttempt, now: Now) -> Attempt:
    took = took_ms(attempt.sent_at, attempt.sent_mono_ms, now)
    return Attempt(
        part_id=attempt.part_id,
        sent_at=attempt.sent_at,
        state=AttemptState.FAILED,
        hops=_hops(attempt.path, attempt.hold_times_ms, took),
        took_ms=took,
        failed_hop=attempt.hop_index,
        failed_channel=attempt.short_channel_id,
        failure_code=attempt.failure_code,
        failure=attempt.message,
    )


def arrived(event: PaymentSent, now: Now) -> tuple[Attempt, ...]:
    """The parts of a payment that arrived. Of all but one it is only known that they will: the preimage is out."""
    found = []
    for part in event.parts:
        first = part.part_id == event.part_id
        took = took_ms(part.sent_at, part.sent_mono_ms, now) if first else None
        found.append(
            Attempt(
                part_id=part.part_id,
                sent_at=part.sent_at,
                state=AttemptState.ARRIVED,
                hops=_hops(part.path, event.hold_times_ms if first else (), took),
                took_ms=took,
            )
        )
    return tuple(found)


def settled(event: PaymentPathSuccessful, now: Now) -> Attempt:
    took = took_ms(event.sent_at, event.sent_mono_ms, now)
    return Attempt(
        part_id=event.part_id,
        sent_at=event.sent_at,
        state=AttemptState.ARRIVED,
        hops=_hops(event.path, event.hold_times_ms, took),
        took_ms=took,
    )


def under_way(part: SentPart, now: Now) -> Attempt:
    return Attempt(
        part_id=part.part_id,
        sent_at=part.sent_at,
        state=AttemptState.UNDER_WAY,
        hops=_hops(part.path, (), None),
        took_ms=took_ms(part.sent_at, part.sent_mono_ms, now),
    )


# --- for people and programs ----------------------------------------------------------

_STATUS = {
    AttemptState.ARRIVED: ActivityStatus.DONE,
    AttemptState.FAILED: ActivityStatus.FAILED,
    AttemptState.UNDER_WAY: ActivityStatus.PENDING,
}


def _code_name(code: int) -> str:
    """The code as BOLT 4 calls it; empty for none."""
    if code == 0:
        return ""
    try:
        return FailureCode(code).name.lower()
    except ValueError:
        return f"{code:#06x}"


def attempt_view(
    attempt: Attempt, alias_of: Callable[[bytes], str], scid_text: Callable[[int], str | None]
) -> AttemptView:
    hops = tuple(
        AttemptHopView(
            node_id=hop.node_id.hex(),
            alias=alias_of(hop.node_id),
            short_channel_id=scid_text(hop.short_channel_id) or "",
            amount_msat=hop.amount_msat,
            fee_msat=hop.fee_msat,
            hold_time_ms=hop.hold_time_ms,
        )
        for hop in attempt.hops
    )
    channel = None if attempt.failed_channel is None else scid_text(attempt.failed_channel)
    return AttemptView(
        status=_STATUS[attempt.state],
        sent_at=attempt.sent_at,
        took_ms=attempt.took_ms,
        amount_msat=attempt.amount_msat,
        fee_msat=attempt.fee_msat,
        hops=hops,
        failed_hop=attempt.failed_hop,
        failed_channel=channel,
        failure_code=attempt.failure_code,
        failure_name=_code_name(attempt.failure_code),
        failure=attempt.failure,
        text=_sentence(attempt, hops),
    )


def _sentence(attempt: Attempt, hops: tuple[AttemptHopView, ...]) -> str:
    what = _("{amount} and {fee} of fees over {names}").format(
        amount=msat_text(attempt.amount_msat),
        fee=msat_text(attempt.fee_msat),
        names=", ".join(hop.alias for hop in hops),
    )
    took = "?" if attempt.took_ms is None else duration_ms_text(attempt.took_ms)
    match attempt.state:
        case AttemptState.UNDER_WAY:
            return _("{what}: under way for {took}.").format(what=what, took=took)
        case AttemptState.ARRIVED:
            if attempt.took_ms is None:
                return _("{what}: arrived.").format(what=what)
            return _("{what}: arrived after {took}.").format(what=what, took=took)
        case AttemptState.FAILED:
            if attempt.failed_hop is None or not hops:
                return _("{what}: came back after {took}. {why}").format(
                    what=what, took=took, why=attempt.failure
                )
            index = min(attempt.failed_hop, len(hops) - 1)
            return _("{what}: came back after {took}, from hop {number}, {name}. {why}").format(
                what=what, took=took, number=index + 1, name=hops[index].alias, why=attempt.failure
            )


def attempt_json(view: AttemptView) -> dict[str, Json]:
    """For the command line and programs."""
    return {
        "status": view.status.value,
        "sent_at": view.sent_at,
        "took_ms": view.took_ms,
        "amount_msat": view.amount_msat,
        "fee_msat": view.fee_msat,
        "path": [
            {
                "node_id": hop.node_id,
                "alias": hop.alias,
                "short_channel_id": hop.short_channel_id,
                "amount_msat": hop.amount_msat,
                "fee_msat": hop.fee_msat,
                "hold_time_ms": hop.hold_time_ms,
            }
            for hop in view.hops
        ],
        "failed_hop": view.failed_hop,
        "failed_channel": view.failed_channel,
        "failure_code": view.failure_code,
        "failure_name": view.failure_name,
        "failure": view.failure,
        "text": view.text,
    }
