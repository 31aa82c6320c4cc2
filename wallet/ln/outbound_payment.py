"""Payments of ours: states, parts, retries, and the events that tell how they end.

Theory of operation. A payment is `Retryable` from its first part on. It becomes `Fulfilled` by the first
preimage, and `Abandoned` when the payee refuses it, retries run out, or the person gives up; then its last
part's failure ends it with `PaymentFailed`. A preimage wins over everything: an abandoned payment whose
part still arrives was sent.

    send ──> Retryable ──claim──> Fulfilled ──all parts final, some ticks──> forgotten
                │   ▲                 ▲
          part fails │            claim │
                └───┘   abandon ──> Abandoned ──last part fails──> PaymentFailed, forgotten

What is durable is the state: one row for each payment, rewritten when it changes. What a retry needs
(payee, hints, limits) is kept in memory only, in a `_RetryContext`: after a restart a payment is never
started again by itself, for the person may have paid otherwise meanwhile; its parts under way are still
followed to their end.

A part is in the row before its HTLC is offered, and both are in the same batch. The transitions are pure
functions over frozen states; `OutboundPayments` computes one, swaps it in, writes the row, and only then
calls out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from hashlib import sha256
from itertools import chain
from typing import Final, Protocol, assert_never

from wallet.bitcoin.curve import is_valid_secret
from wallet.bitcoin.frozen import replace
from wallet.bitcoin.records import decode, encode, tagged
from wallet.chain.interfaces import Persist, Row
from wallet.i18n import _
from wallet.ln.events import (
    Event,
    FailedAttempt,
    PaymentFailed,
    PaymentFailureReason,
    PaymentPathFailed,
    PaymentPathSuccessful,
    PaymentSent,
    SentPart,
)
from wallet.ln.finished_payments import FinishedPayments
from wallet.ln.invoice import Invoice
from wallet.ln.onion_failure import Failure, FailureCode, failure_sentence
from wallet.ln.onion_payload import RecipientOnion
from wallet.ln.onion_payment import create_payment_onion, path_keys
from wallet.ln.onion_utils import (
    DecodedFailure,
    FailurePacket,
    OnionKeys,
    decode_failure,
    decode_fulfill_attribution,
)
from wallet.ln.route import (
    ChannelLack,
    FirstHop,
    InFlightHtlcs,
    Path,
    PaymentParameters,
    Route,
    RouteNotFound,
    RouteParameters,
    Router,
)
from wallet.ln.types import (
    APIError,
    ChannelError,
    InvariantError,
    NodeId,
    Now,
    PaymentHash,
    PaymentId,
    PaymentPreimage,
    PaymentSecret,
    ShortChannelId,
)

__all__ = [
    "SPACE",
    "Abandoned",
    "DuplicatePayment",
    "Fulfilled",
    "OutboundPayments",
    "Part",
    "PaymentNotSent",
    "PaymentState",
    "PaymentStatus",
    "RecentPayment",
    "Retry",
    "Retryable",
    "SendAlongPath",
    "Verdict",
    "judge_failure",
    "learn_from",
]

SPACE: Final = "outbound_payment"

IDEMPOTENCY_TIMEOUT_TICKS: Final = 7
"""Ticks (of a minute) that a finished payment is remembered, so that a repeated call finds its id taken."""

MAX_RECORDED_ATTEMPTS: Final = 32
"""Failed paths that are kept for the person to look at; older ones go first."""

MAX_RETRIES_AT_ONCE: Final = 16
"""Tries of one payment in one entry, where our own channels refuse at once; more wait for the next entry."""

MAX_PATH_HOPS: Final = 20
"""BOLT 4: what fits into an onion, and what attribution data covers."""


# --- records ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One HTLC of a payment.

    Attributes:
        part_id: unique within the payment, never used again; together they are the HTLC's source.
        session_key: from which all keys of its onion come.
        sent_at, sent_mono_ms: both clocks when it was offered.
        claimed: its own preimage came by message: it is paid, wherever its HTLC ends.
    """

    part_id: int
    session_key: bytes
    path: Path
    sent_at: int = field(default=0, metadata={"tlv": 101})
    sent_mono_ms: int = field(default=0, metadata={"tlv": 103})
    claimed: bool = field(default=False, metadata={"tlv": 105})


@tagged(0)
@dataclass(frozen=True, slots=True, kw_only=True)
class Retryable:
    """Under way, or between two tries.

    Attributes:
        total_msat: to be delivered by all parts together.
        started_at: when the person sent it.
        next_part_id: for the next part.
        attempts: failed paths so far.
    """

    payment_hash: PaymentHash
    total_msat: int
    started_at: int
    parts: tuple[Part, ...] = ()
    next_part_id: int = 0
    attempts: tuple[FailedAttempt, ...] = ()


@tagged(2)
@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned:
    """Given up, with parts that may still arrive."""

    payment_hash: PaymentHash
    total_msat: int
    started_at: int
    reason: PaymentFailureReason
    parts: tuple[Part, ...] = ()
    attempts: tuple[FailedAttempt, ...] = ()


@tagged(4)
@dataclass(frozen=True, slots=True, kw_only=True)
class Fulfilled:
    """Arrived: the preimage is known, and `PaymentSent` was told.

    Attributes:
        parts: whose HTLCs are not yet irrevocably removed.
    """

    payment_hash: PaymentHash
    payment_preimage: PaymentPreimage
    amount_msat: int
    fee_paid_msat: int
    started_at: int
    parts: tuple[Part, ...] = ()


PaymentState = Retryable | Abandoned | Fulfilled


@dataclass(frozen=True, slots=True, kw_only=True)
class _PaymentRow:
    """What a row holds: one field, so that the state's kind is written with it."""

    state: Retryable | Abandoned | Fulfilled


# --- transitions --------------------------------------------------------------


def _delivered_msat(parts: Iterable[Part]) -> int:
    return sum(part.path.final_value_msat for part in parts)


def _fees_msat(parts: Iterable[Part]) -> int:
    return sum(part.path.fee_msat for part in parts)


def _find_part(state: PaymentState, part_id: int) -> Part | None:
    for part in state.parts:
        if part.part_id == part_id:
            return part
    return None


def _with_parts(
    state: Retryable, paths: Sequence[Path], session_keys: Sequence[bytes], now: Now
) -> Retryable:
    new = tuple(
        Part(
            part_id=state.next_part_id + index,
            session_key=key,
            path=path.without_features(),
            sent_at=now.at,
            sent_mono_ms=now.mono_ms,
        )
        for index, (path, key) in enumerate(zip(paths, session_keys, strict=True))
    )
    return replace(state, parts=state.parts + new, next_part_id=state.next_part_id + len(new))


def _without_part(state: PaymentState, part_id: int) -> PaymentState:
    return replace(state, parts=tuple(part for part in state.parts if part.part_id != part_id))


def _with_claimed(state: PaymentState, part_id: int) -> PaymentState:
    part = _find_part(state, part_id)
    if part is None or part.claimed:
        return state
    parts = tuple(replace(item, claimed=True) if item is part else item for item in state.parts)
    return replace(state, parts=parts)


def _with_attempt(state: Retryable | Abandoned, attempt: FailedAttempt) -> Retryable | Abandoned:
    return replace(state, attempts=(*state.attempts, attempt)[-MAX_RECORDED_ATTEMPTS:])


def _abandon(state: Retryable, reason: PaymentFailureReason) -> Abandoned:
    return Abandoned(
        payment_hash=state.payment_hash,
        total_msat=state.total_msat,
        started_at=state.started_at,
        reason=reason,
        parts=state.parts,
        attempts=state.attempts,
    )


def _fulfil(state: Retryable | Abandoned, payment_preimage: PaymentPreimage) -> Fulfilled:
    return Fulfilled(
        payment_hash=state.payment_hash,
        payment_preimage=payment_preimage,
        amount_msat=_delivered_msat(state.parts),
        fee_paid_msat=_fees_msat(state.parts),
        started_at=state.started_at,
        parts=state.parts,
    )


# --- what a failure teaches ---------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What follows from a failed part.

    Attributes:
        attempt: for the events and the record.
        failed_channels: not to be used again for this payment.
        lack: what a channel could not carry: less may still pass.
    """

    attempt: FailedAttempt
    failed_channels: tuple[ShortChannelId, ...]
    lack: ChannelLack | None = None


def judge_failure(path: Path, decoded: DecodedFailure, last_height: int | None = None) -> Verdict:
    """Say who is to blame for a failure that came back along `path`. BOLT 4, receiving failure codes.

    `last_height`: of the tip at which the payee would still have been in time, as far as is known.
    """
    verdict = _judge(path, decoded)
    attempt = replace(verdict.attempt, hold_times_ms=decoded.hold_times_ms)
    height = None if decoded.failure is None else decoded.failure.payee_height
    if attempt.payee_rejected and last_height is not None and height is not None and height > last_height:
        # BOLT 4, incorrect_or_unknown_payment_details: the height tells this from an invoice that is wrong.
        message = failure_sentence(FailureCode.FINAL_EXPIRY_TOO_SOON)
        attempt = replace(attempt, came_too_late=True, message=message)
    return replace(verdict, attempt=attempt)


def _judge(path: Path, decoded: DecodedFailure) -> Verdict:
    hops = path.hops
    last = len(hops) - 1
    if decoded.hop_index is None:
        return _unreadable(path, decoded)
    index = min(decoded.hop_index, last)
    into = hops[index].short_channel_id
    failure = decoded.failure
    if path.blinded_tail is not None and decoded.hop_index >= last:
        # Inside a hidden path nobody can be blamed; what its last hop says is the payee's word.
        payee = decoded.hop_index == last + len(path.blinded_tail.hops) - 1
        rejected = payee and failure is not None and failure.is_permanent and not failure.is_bad_onion
        return _verdict(path, decoded, (), None, rejected)
    if failure is None:
        # Authentic, but garbled: a node that answers so is no use, and a payee neither.
        return _verdict(path, decoded, (into,), into, index == last)
    if index == last:
        # BOLT 4, origin node, error by the final node: PERM ends the payment, anything else may be tried
        # again.
        if failure.is_permanent:
            return _verdict(path, decoded, (), None, True)
        if failure.code == FailureCode.MPP_TIMEOUT:
            return _verdict(path, decoded, (), None, False)
        return _verdict(path, decoded, (into,), into, False)
    out_of = hops[index + 1].short_channel_id
    if failure.is_node and not failure.is_bad_onion:
        # BOLT 4, origin node: with NODE set, none of the erring node's channels is to be used.
        return _verdict(path, decoded, (into, out_of), into, False)
    if failure.code == FailureCode.TEMPORARY_CHANNEL_FAILURE:
        lack = ChannelLack(
            short_channel_id=out_of,
            ascending=hops[index].node_id < hops[index + 1].node_id,
            amount_msat=path.amount_over_msat(index + 1),
        )
        return replace(_verdict(path, decoded, (), out_of, False), lack=lack)
    return _verdict(path, decoded, (out_of,), out_of, False)


def learn_from(params: PaymentParameters, attempt: FailedAttempt) -> PaymentParameters:
    """The same parameters, once a probe has come back from on the way."""
    scid, index = attempt.short_channel_id, attempt.hop_index
    hops = attempt.path.hops
    if scid is None:
        if index is None:
            # Unreadable, and nobody to name: the same channels as after a payment's failure.
            for suspect in _suspects(attempt.path):
                params = params.with_failed_channel(suspect)
        return params
    lacks = attempt.failure_code == FailureCode.TEMPORARY_CHANNEL_FAILURE
    # The last hop has no channel behind it, whatever it says of one.
    if lacks and index is not None and index + 1 < len(hops):
        lack = ChannelLack(
            short_channel_id=scid,
            ascending=hops[index].node_id < hops[index + 1].node_id,
            amount_msat=attempt.path.amount_over_msat(index + 1),
        )
        return params.with_shunned(lack, held_msat=0)
    failure = Failure(attempt.failure_code)
    if failure.is_node and not failure.is_bad_onion and index is not None and index + 1 < len(hops):
        # BOLT 4, origin node: with NODE set, none of the erring node's channels is to be used.
        params = params.with_failed_channel(hops[index + 1].short_channel_id)
    return params.with_failed_channel(scid)


def _suspects(path: Path) -> tuple[ShortChannelId, ...]:
    """The channels between the first and the last hop; of two hops, the last. Our own is never among them."""
    return tuple(hop.short_channel_id for hop in (path.hops[1:-1] or path.hops[1:]))


def _verdict(
    path: Path,
    decoded: DecodedFailure,
    failed_channels: tuple[ShortChannelId, ...],
    short_channel_id: ShortChannelId | None,
    payee_rejected: bool,
) -> Verdict:
    failure = decoded.failure
    attempt = FailedAttempt(
        path=path,
        hop_index=decoded.hop_index,
        failure_code=0 if failure is None else failure.code,
        short_channel_id=short_channel_id,
        payee_rejected=payee_rejected,
        message=_("The node's answer cannot be read.") if failure is None else failure.sentence,
    )
    return Verdict(attempt=attempt, failed_channels=failed_channels)


def _unreadable(path: Path, decoded: DecodedFailure) -> Verdict:
    """Nobody's key fits: attribution data names a channel, or else all between first and last are shunned."""
    hops = path.hops
    failed_at = decoded.attribution_failed_at
    channels: tuple[ShortChannelId, ...]
    if failed_at is not None and 0 < failed_at < len(hops):
        # The channel into the first hop without valid attribution: one of its two ends has tampered.
        channels = (hops[failed_at].short_channel_id,)
    else:
        channels = _suspects(path)
    # From a payee who is our own peer, unreadable is final.
    return _verdict(path, decoded, channels, channels[0] if len(channels) == 1 else None, len(hops) == 1)


# --- retries ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How long a payment is tried again.

    Attributes:
        max_retries: tries after the first; None: no such limit.
        timeout_ms: from the first try on; None: no such limit.
    """

    max_retries: int | None = None
    timeout_ms: int | None = None

    @classmethod
    def attempts(cls, count: int) -> Retry:
        return cls(max_retries=count)

    @classmethod
    def timeout(cls, timeout_seconds: int) -> Retry:
        return cls(timeout_ms=timeout_seconds * 1000)

    def allows(self, retries_made: int, elapsed_ms: int) -> bool:
        if self.max_retries is not None and retries_made >= self.max_retries:
            return False
        if self.timeout_ms is not None and elapsed_ms >= self.timeout_ms:
            return False
        return self.max_retries is not None or self.timeout_ms is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class _RetryContext:
    """What another try needs; lost with the process, on purpose."""

    payment_params: PaymentParameters
    max_total_routing_fee_msat: int | None
    recipient: RecipientOnion
    keysend_preimage: PaymentPreimage | None
    retry: Retry
    started_mono_ms: int
    retries_made: int = 0

    def shunning(self, verdict: Verdict, inflight: InFlightHtlcs) -> _RetryContext:
        """What the failure of a part teaches, once that part holds nothing any more."""
        params = self.payment_params
        for short_channel_id in verdict.failed_channels:
            params = params.with_failed_channel(short_channel_id)
        lack = verdict.lack
        if lack is not None:
            held_msat = inflight.used_msat.get((lack.short_channel_id, lack.ascending), 0)
            params = params.with_shunned(lack, held_msat)
        return replace(self, payment_params=params)


# --- the seams ----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SendAlongPath:
    """One HTLC to be offered over `path.hops[0].short_channel_id`, with source (payment_id, part_id)."""

    payment_id: PaymentId
    part_id: int
    path: Path
    payment_hash: PaymentHash
    amount_msat: int
    cltv_expiry_height: int
    onion_packet: bytes


class Entropy(Protocol):
    """The part of `EntropySource` that payments need."""

    def get_secure_random_bytes(self) -> bytes: ...


class DuplicatePayment(APIError):
    """The payment id, or the payment hash, is that of a payment under way or just finished."""


class PaymentNotSent(Exception):
    """Nothing was sent, and no event follows: the call may be repeated.

    Attributes:
        reason: for the program; message: a sentence for the person.
    """

    def __init__(self, reason: PaymentFailureReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class PaymentStatus(Enum):
    PENDING = auto()
    ABANDONED = auto()
    FULFILLED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentPayment:
    """A payment that is still remembered, for lists. Attributes as in the states."""

    payment_id: PaymentId
    payment_hash: PaymentHash
    status: PaymentStatus
    total_msat: int
    fee_msat: int
    started_at: int
    parts_pending: int


# --- the shell ----------------------------------------------------------------


class OutboundPayments:
    """All payments of ours that are not yet forgotten. Called by `ChannelManager` only, within its entry."""

    def __init__(
        self,
        *,
        payer: NodeId,
        router: Router,
        first_hops: Callable[[], Sequence[FirstHop]],
        send_along_path: Callable[[SendAlongPath], None],
        persist: Persist,
        emit: Callable[[Event], object],
        entropy: Entropy,
    ) -> None:
        """`send_along_path` offers the HTLC, or raises `APIError` or `ChannelError` and changes nothing."""
        self._payer = payer
        self._router = router
        self._first_hops = first_hops
        self._send_along_path = send_along_path
        self._persist = persist
        self._emit = emit
        self._entropy = entropy
        self._payments: dict[PaymentId, PaymentState] = {}
        self._by_hash: dict[PaymentHash, PaymentId] = {}
        self._contexts: dict[PaymentId, _RetryContext] = {}
        self._to_retry: dict[PaymentId, None] = {}
        self._finished = FinishedPayments(IDEMPOTENCY_TIMEOUT_TICKS)
        # Of parts under way: what their session keys would give again, and what their hops said of the time.
        self._keys: dict[tuple[PaymentId, int], tuple[OnionKeys, ...]] = {}
        self._hold_times_ms: dict[tuple[PaymentId, int], tuple[int, ...]] = {}
        # Of parts under way: the last tip at which their payee is in time. Lost with the process, for words only.
        self._last_heights: dict[tuple[PaymentId, int], int] = {}
        self._inflight = InFlightHtlcs()

    def read(self, rows: Callable[[str], Iterable[tuple[bytes, bytes]]]) -> None:
        """Take up what an earlier run left. Raises `DecodeError`."""
        for key, value in rows(SPACE):
            payment_id, state = PaymentId(key), decode(_PaymentRow, value).state
            if isinstance(state, Fulfilled) and not state.parts:
                self._finished.add(payment_id, state.payment_hash, value)
                continue
            self._payments[payment_id] = state
            self._by_hash[state.payment_hash] = payment_id
            for part in state.parts:
                self._inflight.process_path(part.path, self._payer)
            if isinstance(state, Retryable) and not state.parts:
                # Killed between two tries: `check_retry_payments` ends it.
                self._to_retry[payment_id] = None

    # --- questions ---

    @property
    def needs_retry(self) -> bool:
        """Whether `check_retry_payments` has something to do."""
        return bool(self._to_retry)

    def state(self, payment_id: PaymentId) -> PaymentState | None:
        row = self._finished.get(payment_id)
        return self._payments.get(payment_id) if row is None else decode(_PaymentRow, row).state

    def knows(self, payment_id: PaymentId) -> bool:
        """Whether it is under way, or arrived not long ago."""
        return payment_id in self._payments or self._finished.get(payment_id) is not None

    def part(self, payment_id: PaymentId, part_id: int) -> Part | None:
        state = self._payments.get(payment_id)
        return None if state is None else _find_part(state, part_id)

    def parts_under_way(self, payment_id: PaymentId) -> tuple[SentPart, ...]:
        """The parts whose HTLCs are out."""
        state = self._payments.get(payment_id)
        return () if state is None else tuple(_sent_part(part) for part in state.parts)

    def list_recent_payments(self) -> tuple[RecentPayment, ...]:
        finished = ((payment_id, decode(_PaymentRow, row).state) for payment_id, row in self._finished)
        return tuple(_recent(*item) for item in chain(finished, self._payments.items()))

    # --- sending ---

    def send_payment(
        self,
        payment_id: PaymentId,
        payment_hash: PaymentHash,
        recipient: RecipientOnion,
        route_params: RouteParameters,
        retry: Retry,
        *,
        now: Now,
        best_height: int,
        keysend_preimage: PaymentPreimage | None = None,
        first_route: Route | None = None,
    ) -> None:
        """Find a way and send. Raises `DuplicatePayment`, or `PaymentNotSent` when nothing has left.

        A `first_route` is taken at once, and what fails of it is sent another way. Once it returns, the
        payment's end comes as `PaymentSent` or `PaymentFailed`, whatever happens.
        """
        self._check_new(payment_id, payment_hash)
        if first_route is not None:
            route_params = replace(
                route_params,
                payment_params=_as_learnt(
                    route_params.payment_params, first_route.route_params.payment_params
                ),
            )
        if _has_expired(route_params.payment_params, now):
            raise PaymentNotSent(PaymentFailureReason.PAYMENT_EXPIRED, _("The invoice has expired."))
        route = self.find_route(route_params) if first_route is None else first_route
        problem = self._problem_of(route, route_params, recipient)
        if problem is not None:
            raise PaymentNotSent(PaymentFailureReason.UNEXPECTED_ERROR, problem)
        self._begin(payment_id, payment_hash, recipient, route_params, retry, now, keysend_preimage)
        self._send_over(payment_id, route, now, best_height)
        self.check_retry_payments(now, best_height, only=payment_id)

    def send_payment_with_route(
        self,
        payment_id: PaymentId,
        payment_hash: PaymentHash,
        recipient: RecipientOnion,
        route: Route,
        *,
        now: Now,
        best_height: int,
        keysend_preimage: PaymentPreimage | None = None,
    ) -> None:
        """Send over a route that the caller chose; there are no retries. Raises as `send_payment`."""
        self._check_new(payment_id, payment_hash)
        problem = self._problem_of(route, route.route_params, recipient)
        if problem is not None:
            raise PaymentNotSent(PaymentFailureReason.UNEXPECTED_ERROR, problem)
        params = route.route_params
        self._begin(payment_id, payment_hash, recipient, params, Retry(), now, keysend_preimage)
        self._send_over(payment_id, route, now, best_height)
        self.check_retry_payments(now, best_height, only=payment_id)

    def pay_for_bolt11_invoice(
        self,
        invoice: Invoice,
        payment_id: PaymentId,
        amount_msat: int | None,
        retry: Retry,
        *,
        now: Now,
        best_height: int,
        max_total_routing_fee_msat: int | None = None,
        first_route: Route | None = None,
    ) -> None:
        """Pay an invoice; `amount_msat` where it leaves the amount open.

        Raises as `send_payment`, and `APIError` when amount and invoice do not go together.
        """
        route_params = invoice.route_parameters(amount_msat)
        if max_total_routing_fee_msat is not None:
            route_params = replace(route_params, max_total_routing_fee_msat=max_total_routing_fee_msat)
        self.send_payment(
            payment_id,
            invoice.payment_hash,
            invoice.recipient_onion(amount_msat),
            route_params,
            retry,
            now=now,
            best_height=best_height,
            first_route=first_route,
        )

    def send_probe(self, path: Path, params: PaymentParameters, *, now: Now, best_height: int) -> PaymentHash:
        """Send what looks like a payment, with a hash whose preimage nobody knows; answer with that hash.

        It comes back for sure, as `PaymentFailed`: `RECIPIENT_REJECTED` says that the amount would arrive.
        """
        payment_hash = PaymentHash(self._entropy.get_secure_random_bytes())
        amount_msat = path.final_value_msat
        self.send_payment_with_route(
            PaymentId(payment_hash),
            payment_hash,
            RecipientOnion(
                total_msat=amount_msat,
                payment_secret=PaymentSecret(self._entropy.get_secure_random_bytes()),
            ),
            Route(
                paths=(path,),
                route_params=RouteParameters(payment_params=params, final_value_msat=amount_msat),
            ),
            now=now,
            best_height=best_height,
        )
        return payment_hash

    def send_spontaneous_payment(
        self,
        payment_id: PaymentId,
        payment_preimage: PaymentPreimage,
        route_params: RouteParameters,
        retry: Retry,
        *,
        now: Now,
        best_height: int,
        custom_tlvs: tuple[tuple[int, bytes], ...] = (),
    ) -> PaymentHash:
        """Send without an invoice, as one part: the onion carries the preimage. Raises as `send_payment`."""
        payment_hash = PaymentHash(sha256(payment_preimage).digest())
        params = replace(route_params.payment_params, max_path_count=1)
        self.send_payment(
            payment_id,
            payment_hash,
            RecipientOnion(total_msat=route_params.final_value_msat, custom_tlvs=custom_tlvs),
            replace(route_params, payment_params=params),
            retry,
            now=now,
            best_height=best_height,
            keysend_preimage=payment_preimage,
        )
        return payment_hash

    def check_retry_payments(self, now: Now, best_height: int, *, only: PaymentId | None = None) -> None:
        """Send again what has failed in part and may be tried again; end what may not.

        To be called in each entry that failed a part, after the channels' states are swapped in.
        """
        waiting = list(self._to_retry) if only is None else [only]
        for payment_id in waiting:
            for _try in range(MAX_RETRIES_AT_ONCE):
                if payment_id not in self._to_retry:
                    break
                del self._to_retry[payment_id]
                try:
                    self._retry(payment_id, now, best_height)
                except Exception:
                    # A fault of ours. Nobody would try again, and a payment that waits for that never ends.
                    self.abandon_payment(payment_id, PaymentFailureReason.UNEXPECTED_ERROR)
                    raise

    # --- answers from the channels ---

    def claim_htlc(
        self,
        payment_id: PaymentId,
        part_id: int,
        payment_preimage: PaymentPreimage,
        *,
        from_onchain: bool = False,
        attribution_data: bytes | None = None,
    ) -> None:
        """A part's preimage has arrived: by a peer's message, or (`from_onchain`) out of a transaction.

        `attribution_data` is what the message said of the time that each hop took.

        Harmless when repeated. A preimage by message is followed by `finalize_claim`.
        """
        state = self._payments.get(payment_id)
        if state is None:
            return
        if sha256(payment_preimage).digest() != state.payment_hash:
            raise InvariantError("A preimage does not belong to the payment that it should settle.")
        self._read_hold_times(payment_id, part_id, attribution_data)
        claimed = _with_claimed(state, part_id)
        if isinstance(claimed, Fulfilled):
            if claimed is not state and not from_onchain:
                self._swap(payment_id, claimed)
        else:
            fulfilled = _fulfil(claimed, payment_preimage)
            self._forget_retry(payment_id)
            self._swap(payment_id, fulfilled)
            self._emit(
                PaymentSent(
                    payment_id,
                    fulfilled.payment_hash,
                    payment_preimage,
                    fulfilled.amount_msat,
                    fulfilled.fee_paid_msat,
                    tuple(_sent_part(part) for part in fulfilled.parts),
                    part_id,
                    self._hold_times_ms.get((payment_id, part_id), ()),
                )
            )
        if from_onchain:
            self.finalize_claim(payment_id, part_id)

    def finalize_claim(self, payment_id: PaymentId, part_id: int) -> None:
        """A fulfilled part is irrevocably gone from both commitments (or its claim is on chain)."""
        state = self._payments.get(payment_id)
        part = None if state is None else _find_part(state, part_id)
        if state is None or part is None:
            return
        if not isinstance(state, Fulfilled):
            raise InvariantError("A part is final whose preimage is not known.")
        self._inflight.remove_path(part.path, self._payer)
        self._swap(payment_id, _without_part(state, part_id))
        self._keys.pop((payment_id, part_id), None)
        self._last_heights.pop((payment_id, part_id), None)
        hold_times_ms = self._hold_times_ms.pop((payment_id, part_id), ())
        self._emit(
            PaymentPathSuccessful(
                payment_id,
                state.payment_hash,
                part.path,
                part_id,
                part.sent_at,
                part.sent_mono_ms,
                hold_times_ms,
            )
        )

    def fail_htlc(self, payment_id: PaymentId, part_id: int, packet: FailurePacket) -> None:
        """A part came back with an onion failure (`update_fail_htlc`), irrevocably."""
        part = self.part(payment_id, part_id)
        if part is None:
            return
        decoded = decode_failure(self._keys_of(payment_id, part), packet)
        last_height = self._last_heights.get((payment_id, part_id))
        self._fail_part(payment_id, part, judge_failure(part.path, decoded, last_height))

    def fail_htlc_locally(
        self, payment_id: PaymentId, part_id: int, failure: Failure, message: str | None = None
    ) -> None:
        """A part ended at our own channel: it was timed out on chain, or our peer could not read the onion
        (`update_fail_malformed_htlc`). `message` says so, where the code alone does not."""
        part = self.part(payment_id, part_id)
        if part is None:
            return
        short_channel_id = part.path.hops[0].short_channel_id
        attempt = FailedAttempt(
            path=part.path,
            hop_index=None,
            failure_code=failure.code,
            short_channel_id=short_channel_id,
            payee_rejected=False,
            message=message or failure.sentence,
        )
        self._fail_part(payment_id, part, Verdict(attempt=attempt, failed_channels=(short_channel_id,)))

    def abandon_payment(
        self, payment_id: PaymentId, reason: PaymentFailureReason = PaymentFailureReason.USER_ABANDONED
    ) -> None:
        """Try no more. Parts under way may still arrive; the end comes as an event either way."""
        state = self._payments.get(payment_id)
        if isinstance(state, Retryable):
            self._forget_retry(payment_id)
            self._end_or_swap(payment_id, _abandon(state, reason))

    def reconcile(self, under_way: Collection[tuple[PaymentId, int]]) -> None:
        """After a restart: fail each part that no channel and no monitor knows of; none can arrive."""
        for payment_id, state in list(self._payments.items()):
            for part in state.parts:
                if (payment_id, part.part_id) in under_way:
                    continue
                if isinstance(state, Fulfilled):
                    self.finalize_claim(payment_id, part.part_id)
                else:
                    self.fail_htlc_locally(
                        payment_id,
                        part.part_id,
                        Failure.temporary_channel_failure(),
                        _("The payment was interrupted before it left."),
                    )

    def timer_tick_occurred(self, undelivered: Collection[PaymentId] = ()) -> None:
        """Forget payments that finished some ticks ago. `undelivered`: their events still wait."""
        forgotten = self._finished.tick(undelivered)
        if forgotten:
            self._persist.write([Row(SPACE, payment_id, None) for payment_id in forgotten])

    # --- inside ---

    def _keys_of(self, payment_id: PaymentId, part: Part) -> tuple[OnionKeys, ...]:
        return self._keys.get((payment_id, part.part_id)) or path_keys(part.path, part.session_key)

    def _read_hold_times(self, payment_id: PaymentId, part_id: int, attribution_data: bytes | None) -> None:
        part = self.part(payment_id, part_id)
        if part is not None and attribution_data is not None:
            keys = self._keys_of(payment_id, part)
            self._hold_times_ms[payment_id, part_id] = decode_fulfill_attribution(keys, attribution_data)

    def _swap(self, payment_id: PaymentId, state: PaymentState | None) -> None:
        """Put a new state in place (None: forget), and write its row."""
        old = self._payments.get(payment_id)
        value = None if state is None else encode(_PaymentRow(state=state))
        is_finished = isinstance(state, Fulfilled) and not state.parts
        if state is not None and not is_finished:
            self._payments[payment_id] = state
            self._by_hash[state.payment_hash] = payment_id
        elif old is not None:
            del self._payments[payment_id]
            if self._by_hash.get(old.payment_hash) == payment_id:
                del self._by_hash[old.payment_hash]
        if state is not None and value is not None and is_finished:
            self._finished.add(payment_id, state.payment_hash, value)
        self._persist.write((Row(SPACE, payment_id, value),))

    def _end_or_swap(self, payment_id: PaymentId, state: Abandoned) -> None:
        """An abandoned payment without parts has failed: tell, and forget."""
        if state.parts:
            self._swap(payment_id, state)
            return
        self._swap(payment_id, None)
        self._emit(PaymentFailed(payment_id, state.payment_hash, state.reason, state.attempts))

    def _forget_retry(self, payment_id: PaymentId) -> None:
        self._contexts.pop(payment_id, None)
        self._to_retry.pop(payment_id, None)

    def _check_new(self, payment_id: PaymentId, payment_hash: PaymentHash) -> None:
        if len(payment_id) != 32 or len(payment_hash) != 32:
            raise APIError("A payment id and a payment hash have 32 bytes.")
        if self._finished.knows(payment_id, payment_hash):
            raise DuplicatePayment(_("This has been paid already."))
        known = self._payments.get(payment_id)
        other = self._by_hash.get(payment_hash)
        if known is None and other is not None:
            # A node on the way that has seen the preimage could keep a second payment to the same hash.
            known = self._payments[other]
        if known is None:
            return
        if isinstance(known, Fulfilled):
            raise DuplicatePayment(_("This has been paid already."))
        raise DuplicatePayment(_("This payment is under way already."))

    def _find_route(self, route_params: RouteParameters, first_hops: Sequence[FirstHop]) -> Route:
        return self._router.find_route(self._payer, route_params, first_hops, self._inflight.copy())

    def find_route(self, route_params: RouteParameters) -> Route:
        """A way for a payment that begins; raises `PaymentNotSent` with the reason."""
        first_hops = self._first_hops()
        try:
            return self._find_route(route_params, first_hops)
        except RouteNotFound as error:
            raise self._why_no_route(route_params, first_hops, error) from error

    def _why_no_route(
        self, route_params: RouteParameters, first_hops: Sequence[FirstHop], error: RouteNotFound
    ) -> PaymentNotSent:
        """Too little to send with, a fee limit that is too low, or really no way."""
        sendable_msat = sum(hop.next_outbound_htlc_limit_msat for hop in first_hops)
        if sendable_msat < route_params.final_value_msat:
            return PaymentNotSent(
                PaymentFailureReason.INSUFFICIENT_BALANCE,
                _("Your channels can send {sat} sat now; this payment needs more.").format(
                    sat=f"{sendable_msat // 1000:,}"
                ),
            )
        limit_msat = route_params.max_total_routing_fee_msat
        if limit_msat is not None:
            try:
                route = self._find_route(replace(route_params, max_total_routing_fee_msat=None), first_hops)
            except RouteNotFound:
                pass
            else:
                return PaymentNotSent(
                    PaymentFailureReason.FEE_LIMIT,
                    _("The fee would be {fee} sat; the limit is {limit} sat.").format(
                        fee=f"{-(-route.total_fees_msat // 1000):,}", limit=f"{limit_msat // 1000:,}"
                    ),
                )
        return PaymentNotSent(PaymentFailureReason.ROUTE_NOT_FOUND, error.message)

    def _problem_of(self, route: Route, asked: RouteParameters, recipient: RecipientOnion) -> str | None:
        """What a router must not hand out; a sentence, or None."""
        if not route.paths:
            return _("The route has no path.")
        if route.total_amount_msat < asked.final_value_msat:
            return _("The route delivers less than the payment.")
        if recipient.payment_secret is None and len(route.paths) > 1:
            return _("A payment without a payment secret cannot be split.")
        limit_msat = asked.max_total_routing_fee_msat
        if limit_msat is not None and route.total_fees_msat > limit_msat:
            return _("The route costs more than the fee limit.")
        for path in route.paths:
            # By its nodes: an alias is its node's choice, and two of them may have made the same.
            nodes = {hop.node_id for hop in path.hops}
            if len(path.hops) > MAX_PATH_HOPS or len(nodes) != len(path.hops):
                return _("The route runs in a circle.")
            if any(hop.node_id == self._payer for hop in path.hops[:-1]):
                return _("The route leads back through this wallet.")
            if path.blinded_tail is None and path.payee != asked.payment_params.payee:
                return _("The route leads to somebody else.")
        return None

    def _begin(
        self,
        payment_id: PaymentId,
        payment_hash: PaymentHash,
        recipient: RecipientOnion,
        route_params: RouteParameters,
        retry: Retry,
        now: Now,
        keysend_preimage: PaymentPreimage | None,
    ) -> None:
        # The row is written with the first parts, in the same entry.
        state = Retryable(
            payment_hash=payment_hash, total_msat=route_params.final_value_msat, started_at=now.at
        )
        self._contexts[payment_id] = _RetryContext(
            payment_params=route_params.payment_params,
            max_total_routing_fee_msat=route_params.max_total_routing_fee_msat,
            recipient=recipient,
            keysend_preimage=keysend_preimage,
            retry=retry,
            started_mono_ms=now.mono_ms,
        )
        self._payments[payment_id] = state
        self._by_hash[payment_hash] = payment_id

    def _session_key(self) -> bytes:
        key = self._entropy.get_secure_random_bytes()
        while not is_valid_secret(key):
            key = self._entropy.get_secure_random_bytes()
        return key

    def _send_over(self, payment_id: PaymentId, route: Route, now: Now, best_height: int) -> None:
        """Add a part for each path, durable first, then offer their HTLCs."""
        state, context = self._payments[payment_id], self._contexts[payment_id]
        if not isinstance(state, Retryable):
            raise InvariantError("A payment that is over was to be sent.")
        first_new = state.next_part_id
        state = _with_parts(state, route.paths, [self._session_key() for _path in route.paths], now)
        self._swap(payment_id, state)
        new_parts = [part for part in state.parts if part.part_id >= first_new]
        for part in new_parts:
            self._inflight.process_path(part.path, self._payer)
        for part in new_parts:
            try:
                onion = create_payment_onion(
                    part.path,
                    part.session_key,
                    context.recipient,
                    state.payment_hash,
                    # The HTLC is judged by whoever gets it after the next block at the latest.
                    best_height + 1,
                    keysend_preimage=context.keysend_preimage,
                )
                self._keys[payment_id, part.part_id] = onion.keys
                if (delta := part.path.final_cltv_delta) is not None:
                    spare_cltv_delta = delta - context.payment_params.final_cltv_delta
                    self._last_heights[payment_id, part.part_id] = best_height + 1 + spare_cltv_delta
                self._send_along_path(
                    SendAlongPath(
                        payment_id=payment_id,
                        part_id=part.part_id,
                        path=part.path,
                        payment_hash=state.payment_hash,
                        amount_msat=onion.amount_msat,
                        cltv_expiry_height=onion.cltv_expiry_height,
                        onion_packet=onion.packet,
                    )
                )
            except (APIError, ChannelError) as error:
                self._not_offered(payment_id, part, str(error))

    def _not_offered(self, payment_id: PaymentId, part: Part, message: str) -> None:
        short_channel_id = part.path.hops[0].short_channel_id
        attempt = FailedAttempt(
            path=part.path,
            hop_index=None,
            failure_code=0,
            short_channel_id=short_channel_id,
            payee_rejected=False,
            message=message,
        )
        self._fail_part(payment_id, part, Verdict(attempt=attempt, failed_channels=(short_channel_id,)))

    def _fail_part(self, payment_id: PaymentId, part: Part, verdict: Verdict) -> None:
        state = self._payments[payment_id]
        self._inflight.remove_path(part.path, self._payer)
        self._keys.pop((payment_id, part.part_id), None)
        self._last_heights.pop((payment_id, part.part_id), None)
        verdict = replace(
            verdict,
            attempt=replace(
                verdict.attempt, part_id=part.part_id, sent_at=part.sent_at, sent_mono_ms=part.sent_mono_ms
            ),
        )
        rest = _without_part(state, part.part_id)
        if isinstance(rest, Fulfilled):
            if part.claimed:
                # The channel closed without this HTLC, because it was paid for already.
                self._swap(payment_id, rest)
                return
            # The proof came with another part, and this one came back: it was not paid.
            rest = replace(
                rest,
                amount_msat=rest.amount_msat - part.path.final_value_msat,
                fee_paid_msat=rest.fee_paid_msat - part.path.fee_msat,
            )
            self._swap(payment_id, rest)
            self._emit(PaymentPathFailed(payment_id, rest.payment_hash, verdict.attempt))
            return
        rest = _with_attempt(rest, verdict.attempt)
        context = self._contexts.get(payment_id)
        if isinstance(rest, Retryable):
            if verdict.attempt.payee_rejected:
                rest = _abandon(rest, PaymentFailureReason.RECIPIENT_REJECTED)
            elif context is None:
                rest = _abandon(rest, PaymentFailureReason.RETRIES_EXHAUSTED)
        if isinstance(rest, Retryable) and context is not None:
            self._contexts[payment_id] = context.shunning(verdict, self._inflight)
            self._to_retry[payment_id] = None
            self._swap(payment_id, rest)
            self._emit(PaymentPathFailed(payment_id, rest.payment_hash, verdict.attempt))
            return
        if isinstance(rest, Abandoned):
            self._forget_retry(payment_id)
            self._emit(PaymentPathFailed(payment_id, rest.payment_hash, verdict.attempt))
            self._end_or_swap(payment_id, rest)

    def _retry(self, payment_id: PaymentId, now: Now, best_height: int) -> None:
        state, context = self._payments.get(payment_id), self._contexts.get(payment_id)
        if not isinstance(state, Retryable):
            return
        missing_msat = state.total_msat - _delivered_msat(state.parts)
        if missing_msat <= 0:
            return
        elapsed_ms = 0 if context is None else now.mono_ms - context.started_mono_ms
        if context is None or not context.retry.allows(context.retries_made, elapsed_ms):
            self.abandon_payment(payment_id, PaymentFailureReason.RETRIES_EXHAUSTED)
            return
        if _has_expired(context.payment_params, now):
            self.abandon_payment(payment_id, PaymentFailureReason.PAYMENT_EXPIRED)
            return
        limit_msat = context.max_total_routing_fee_msat
        # The parts that are still out count to the number that the payment may have at a time.
        parts_left = max(1, context.payment_params.max_path_count - len(state.parts))
        route_params = RouteParameters(
            payment_params=replace(context.payment_params, max_path_count=parts_left),
            final_value_msat=missing_msat,
            max_total_routing_fee_msat=None
            if limit_msat is None
            else max(0, limit_msat - _fees_msat(state.parts)),
        )
        self._contexts[payment_id] = replace(context, retries_made=context.retries_made + 1)
        try:
            route = self._find_route(route_params, self._first_hops())
        except RouteNotFound:
            self.abandon_payment(payment_id, PaymentFailureReason.ROUTE_NOT_FOUND)
            return
        if self._problem_of(route, route_params, context.recipient) is not None:
            self.abandon_payment(payment_id, PaymentFailureReason.UNEXPECTED_ERROR)
            return
        self._send_over(payment_id, route, now, best_height)


def _as_learnt(params: PaymentParameters, others: PaymentParameters) -> PaymentParameters:
    """What was learnt while a way was looked for holds for the tries after it too."""
    return replace(
        params, previously_failed_channels=others.previously_failed_channels, shunned=others.shunned
    )


def _sent_part(part: Part) -> SentPart:
    return SentPart(part.part_id, part.path, part.sent_at, part.sent_mono_ms)


def _has_expired(params: PaymentParameters, now: Now) -> bool:
    return params.expiry_at is not None and now.at >= params.expiry_at


def _recent(payment_id: PaymentId, state: PaymentState) -> RecentPayment:
    match state:
        case Fulfilled():
            status, total_msat, fee_msat = PaymentStatus.FULFILLED, state.amount_msat, state.fee_paid_msat
        case Retryable():
            status, total_msat, fee_msat = PaymentStatus.PENDING, state.total_msat, _fees_msat(state.parts)
        case Abandoned():
            status, total_msat, fee_msat = PaymentStatus.ABANDONED, state.total_msat, _fees_msat(state.parts)
        case _:
            assert_never(state)
    return RecentPayment(
        payment_id=payment_id,
        payment_hash=state.payment_hash,
        status=status,
        total_msat=total_msat,
        fee_msat=fee_msat,
        started_at=state.started_at,
        parts_pending=len(state.parts),
    )
