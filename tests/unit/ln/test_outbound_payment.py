"""Payments of ours over a network of onion-peeling nodes that exist in this file only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wallet.bitcoin.curve import ecdh, pubkey_from_secret
from wallet.chain.interfaces import Row
from wallet.ln.events import (
    Event,
    PaymentFailed,
    PaymentFailureReason,
    PaymentPathFailed,
    PaymentPathSuccessful,
    PaymentSent,
    SentPart,
)
from wallet.ln.features import Features
from wallet.ln.onion_failure import Failure, FailureCode
from wallet.ln.onion_payload import RecipientOnion
from wallet.ln.onion_payment import IncomingForward, IncomingReceive, decode_incoming_htlc
from wallet.ln.onion_utils import (
    DecodedFailure,
    FailurePacket,
    build_failure_packet,
    build_fulfill_attribution,
    wrap_failure_packet,
)
from wallet.ln.outbound_payment import (
    SPACE,
    Abandoned,
    DuplicatePayment,
    Fulfilled,
    OutboundPayments,
    PaymentNotSent,
    PaymentStatus,
    Retry,
    Retryable,
    SendAlongPath,
    judge_failure,
    learn_from,
)
from wallet.ln.route import (
    ChannelLack,
    FirstHop,
    InFlightHtlcs,
    Path,
    PaymentParameters,
    Route,
    RouteHop,
    RouteNotFound,
    RouteParameters,
    Shunned,
)
from wallet.ln.types import (
    APIError,
    InvariantError,
    NodeId,
    Now,
    PaymentHash,
    PaymentId,
    PaymentPreimage,
    PaymentSecret,
    ShortChannelId,
)

HEIGHT = 800_000
START = Now(at=1_700_000_000, mono_ms=5_000)
SECRET = PaymentSecret(b"s" * 32)


def node_secret(name: str) -> bytes:
    return sha256(name.encode()).digest()


def node_id(name: str) -> NodeId:
    return NodeId(pubkey_from_secret(node_secret(name)))


NAMES = {node_id(name): name for name in ("us", "hub", "hub2", "mid", "payee")}
US, PAYEE = node_id("us"), node_id("payee")


def hop(name: str, scid: int, fee_msat: int, delta: int = 40) -> RouteHop:
    return RouteHop(
        node_id=node_id(name),
        short_channel_id=ShortChannelId(scid),
        fee_msat=fee_msat,
        cltv_expiry_delta=delta,
        node_features=Features([9]),
    )


def by_hub(amount_msat: int) -> Path:
    return Path(hops=(hop("hub", 1, 10), hop("payee", 2, amount_msat, 18)))


def by_hub2(amount_msat: int) -> Path:
    return Path(hops=(hop("hub2", 3, 20), hop("payee", 4, amount_msat, 18)))


def by_mid(amount_msat: int) -> Path:
    return Path(hops=(hop("hub", 1, 10), hop("mid", 5, 30), hop("payee", 6, amount_msat, 18)))


def by_far(amount_msat: int) -> Path:
    hops = (hop("hub", 1, 10), hop("mid", 5, 30), hop("hub2", 8, 20), hop("payee", 4, amount_msat, 18))
    return Path(hops=hops)


def direct(amount_msat: int) -> Path:
    return Path(hops=(hop("payee", 7, amount_msat, 18),))


Way = Callable[[int], Path]


@dataclass
class OurChannel:
    counterparty_node_id: NodeId
    outbound_payment_scid: ShortChannelId
    next_outbound_htlc_limit_msat: int = 10**9
    next_outbound_htlc_minimum_msat: int = 1


@dataclass
class FakeRouter:
    """Takes the first way whose channels are not shunned, or splits evenly over as many as `split` says."""

    ways: list[Way]
    split: int = 1
    asked: list[RouteParameters] = field(default_factory=list)
    inflight: list[InFlightHtlcs] = field(default_factory=list)

    def find_route(
        self,
        payer: NodeId,
        route_params: RouteParameters,
        first_hops: Sequence[FirstHop],
        inflight: InFlightHtlcs,
    ) -> Route:
        assert payer == US
        self.asked.append(route_params)
        self.inflight.append(inflight)
        shunned = set(route_params.payment_params.previously_failed_channels)
        lacking = {
            (item.short_channel_id, item.ascending): item.from_msat
            for item in route_params.payment_params.shunned
        }

        def is_usable(path: Path) -> bool:
            amounts = {
                (hop.short_channel_id, before < hop.node_id): path.amount_over_msat(index)
                for index, (before, hop) in enumerate(
                    zip((US, *(h.node_id for h in path.hops[:-1])), path.hops, strict=True)
                )
            }
            too_much = any(key in lacking and amounts[key] >= lacking[key] for key in amounts)
            return not too_much and not shunned & {hop.short_channel_id for hop in path.hops}

        usable = [way for way in self.ways if is_usable(way(route_params.final_value_msat // self.split))]
        if not usable:
            raise RouteNotFound("There is no way to the payee.")
        count = min(self.split, len(usable))
        share, rest = divmod(route_params.final_value_msat, count)
        paths = tuple(usable[i](share + (rest if i == 0 else 0)) for i in range(count))
        route = Route(paths=paths, route_params=route_params)
        limit_msat = route_params.max_total_routing_fee_msat
        if limit_msat is not None and route.total_fees_msat > limit_msat:
            raise RouteNotFound("It costs too much.")
        return route


@dataclass
class World:
    """`OutboundPayments` with everything around it, rows and events included."""

    router: FakeRouter
    channels: list[OurChannel] = field(
        default_factory=lambda: [
            OurChannel(node_id("hub"), ShortChannelId(1)),
            OurChannel(node_id("hub2"), ShortChannelId(3)),
        ]
    )
    rows: dict[bytes, bytes] = field(default_factory=dict)
    writes: int = 0
    events: list[Event] = field(default_factory=list)
    offered: dict[tuple[PaymentId, int], SendAlongPath] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    entropy: int = 0

    def __post_init__(self) -> None:
        self.payments = self.start()

    def start(self) -> OutboundPayments:
        self.payments = OutboundPayments(
            payer=US,
            router=self.router,
            first_hops=lambda: self.channels,
            send_along_path=self.offer,
            persist=self,
            emit=self.events.append,
            entropy=self,
        )
        self.payments.read(lambda space: sorted(self.rows.items()) if space == SPACE else [])
        return self.payments

    def write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            assert row.space == SPACE
            self.writes += 1
            if row.value is None:
                del self.rows[row.key]
            else:
                self.rows[row.key] = row.value

    def get_secure_random_bytes(self) -> bytes:
        self.entropy += 1
        return sha256(self.entropy.to_bytes(8, "big")).digest()

    def offer(self, args: SendAlongPath) -> None:
        # The part is durable before its HTLC is.
        assert args.payment_id in self.rows
        scid = args.path.hops[0].short_channel_id
        if scid in self.refused:
            raise APIError(self.refused[scid])
        self.offered[args.payment_id, args.part_id] = args

    def take_events(self) -> list[Event]:
        events = list(self.events)
        self.events.clear()
        return events

    # --- what tests do ---

    def pay(
        self,
        number: int = 0,
        amount_msat: int = 1_000_000,
        retry: Retry | None = None,
        now: Now = START,
        max_total_routing_fee_msat: int | None = None,
    ) -> PaymentId:
        payment_id = PaymentId(number.to_bytes(32, "big"))
        params = PaymentParameters(payee=PAYEE, final_cltv_delta=18, expiry_at=START.at + 3600)
        route_params = RouteParameters(
            payment_params=params,
            final_value_msat=amount_msat,
            max_total_routing_fee_msat=max_total_routing_fee_msat,
        )
        self.payments.send_payment(
            payment_id,
            payment_hash(number),
            RecipientOnion(total_msat=amount_msat, payment_secret=SECRET),
            route_params,
            Retry.attempts(3) if retry is None else retry,
            now=now,
            best_height=HEIGHT,
        )
        return payment_id

    def retry(self, now: Now = START) -> None:
        self.payments.check_retry_payments(now, HEIGHT)

    def one_part(self, payment_id: PaymentId) -> SendAlongPath:
        (args,) = [args for (owner, _), args in self.offered.items() if owner == payment_id]
        return args

    def arrive(self, args: SendAlongPath) -> None:
        """The payee takes it; the preimage comes back, and the HTLC is removed."""
        assert carry(args)[-1] == "payee"
        del self.offered[args.payment_id, args.part_id]
        preimage = preimage_of(int.from_bytes(args.payment_id, "big"))
        self.payments.claim_htlc(args.payment_id, args.part_id, preimage)
        self.payments.finalize_claim(args.payment_id, args.part_id)

    def fail(self, args: SendAlongPath, at: str, failure: Failure) -> None:
        del self.offered[args.payment_id, args.part_id]
        self.payments.fail_htlc(args.payment_id, args.part_id, answer(args, at, failure))


def preimage_of(number: int) -> PaymentPreimage:
    return PaymentPreimage(sha256(b"preimage" + number.to_bytes(32, "big")).digest())


def payment_hash(number: int) -> PaymentHash:
    return PaymentHash(sha256(preimage_of(number)).digest())


def peel(args: SendAlongPath) -> list[tuple[str, bytes]]:
    """The nodes that the onion visits, with their shared secrets; amounts and expiries are checked."""
    packet, amount_msat, height = args.onion_packet, args.amount_msat, args.cltv_expiry_height
    visited = []
    for index, step in enumerate(args.path.hops):
        name = NAMES[step.node_id]
        incoming = decode_incoming_htlc(packet, args.payment_hash, partial(ecdh, node_secret(name)))
        assert isinstance(incoming, IncomingForward | IncomingReceive)
        visited.append((name, incoming.shared_secret))
        if isinstance(incoming, IncomingForward):
            assert amount_msat - incoming.payload.amt_to_forward_msat == step.fee_msat
            assert height - incoming.payload.outgoing_cltv_height == step.cltv_expiry_delta
            assert incoming.payload.short_channel_id == args.path.hops[index + 1].short_channel_id
            packet = incoming.next_packet
            amount_msat = incoming.payload.amt_to_forward_msat
            height = incoming.payload.outgoing_cltv_height
        else:
            assert incoming.payload.amount_msat == amount_msat == step.fee_msat
            assert incoming.payload.cltv_expiry_height == height == HEIGHT + 1 + 18
            # A probe's id is its hash, and its secret is its own.
            is_probe = bytes(args.payment_id) == bytes(args.payment_hash)
            assert (incoming.payload.payment_secret == SECRET) != is_probe
    return visited


def carry(args: SendAlongPath) -> list[str]:
    return [name for name, _ in peel(args)]


def answer(args: SendAlongPath, at: str, failure: Failure) -> FailurePacket:
    visited = peel(args)
    index = [name for name, _ in visited].index(at)
    packet = build_failure_packet(visited[index][1], failure)
    for _, secret in reversed(visited[:index]):
        packet = wrap_failure_packet(secret, packet)
    return packet


def world(*ways: Way, split: int = 1) -> World:
    return World(FakeRouter(list(ways) or [by_hub, by_hub2], split=split))


# --- success ------------------------------------------------------------------


def test_sent_in_one_part() -> None:
    w = world()
    pid = w.pay()
    args = w.one_part(pid)
    assert args.amount_msat == 1_000_010
    assert args.cltv_expiry_height == HEIGHT + 1 + 18 + 40
    assert carry(args) == ["hub", "payee"]
    w.arrive(args)
    sent, successful = w.take_events()
    part = SentPart(0, by_hub(1_000_000).without_features(), START.at, START.mono_ms)
    assert sent == PaymentSent(pid, payment_hash(0), preimage_of(0), 1_000_000, 10, (part,), 0)
    assert successful == PaymentPathSuccessful(
        pid, payment_hash(0), part.path, part.part_id, START.at, START.mono_ms
    )
    assert isinstance(w.payments.state(pid), Fulfilled)


def test_sent_in_two_parts_with_one_event() -> None:
    w = world(split=2)
    pid = w.pay(amount_msat=1_000_001)
    first, second = w.offered.values()
    assert first.path.final_value_msat + second.path.final_value_msat == 1_000_001
    w.arrive(first)
    w.arrive(second)
    kinds = [type(event) for event in w.take_events()]
    assert kinds == [PaymentSent, PaymentPathSuccessful, PaymentPathSuccessful]
    state = w.payments.state(pid)
    assert isinstance(state, Fulfilled)
    assert (state.amount_msat, state.fee_paid_msat, state.parts) == (1_000_001, 30, ())


def test_keysend_carries_its_preimage() -> None:
    w = world()
    preimage = preimage_of(5)
    params = PaymentParameters(payee=PAYEE, final_cltv_delta=18)
    got = w.payments.send_spontaneous_payment(
        PaymentId(b"k" * 32),
        preimage,
        RouteParameters(payment_params=params, final_value_msat=7_000),
        Retry.attempts(0),
        now=START,
        best_height=HEIGHT,
        custom_tlvs=((70_001, b"hello"),),
    )
    assert got == payment_hash(5)
    assert w.router.asked[0].payment_params.max_path_count == 1
    args = w.one_part(PaymentId(b"k" * 32))
    hub = decode_incoming_htlc(args.onion_packet, got, partial(ecdh, node_secret("hub")))
    assert isinstance(hub, IncomingForward)
    payee = decode_incoming_htlc(hub.next_packet, got, partial(ecdh, node_secret("payee")))
    assert isinstance(payee, IncomingReceive)
    assert payee.payload.keysend_preimage == preimage
    assert payee.payload.custom_tlvs == ((70_001, b"hello"),)
    assert payee.payload.payment_secret is None


# --- failure and retry --------------------------------------------------------


def test_a_channel_that_cannot_carry_it_is_shunned_and_the_payment_tried_again() -> None:
    w = world()
    pid = w.pay()
    w.fail(w.one_part(pid), "hub", Failure.temporary_channel_failure())
    assert w.payments.needs_retry
    w.retry()
    (event,) = w.take_events()
    assert isinstance(event, PaymentPathFailed)
    assert event.attempt.hop_index == 0
    assert event.attempt.failure_code == FailureCode.TEMPORARY_CHANNEL_FAILURE
    assert event.attempt.short_channel_id == 2
    assert (event.attempt.part_id, event.attempt.sent_at) == (0, START.at)
    params = w.router.asked[1].payment_params
    assert params.previously_failed_channels == ()
    # Only as much as it lacked, less what other fees behind it would make of the same amount, and only that way.
    assert params.shunned == (
        Shunned(short_channel_id=ShortChannelId(2), ascending=node_id("hub") < PAYEE, from_msat=968_750),
    )
    args = w.one_part(pid)
    assert carry(args) == ["hub2", "payee"]
    w.arrive(args)
    assert isinstance(w.take_events()[0], PaymentSent)


def test_what_a_channel_lacks_again_and_again_is_never_asked_of_it_again() -> None:
    params = PaymentParameters(payee=PAYEE, final_cltv_delta=18)
    channel = ShortChannelId(2)

    def lacking(before: PaymentParameters, amount_msat: int, held_msat: int = 0) -> PaymentParameters:
        lack = ChannelLack(short_channel_id=channel, ascending=True, amount_msat=amount_msat)
        return before.with_shunned(lack, held_msat)

    once = lacking(params, 3_200, 10_000)
    assert [item.from_msat for item in once.shunned] == [13_100]
    # A larger amount that fails later, of another part, teaches nothing new.
    assert [item.from_msat for item in lacking(once, 64_000).shunned] == [13_100]
    twice = lacking(once, 1_600)
    assert [(item.from_msat, item.times) for item in twice.shunned] == [(1_550, 2)]
    other_way = twice.with_shunned(
        ChannelLack(short_channel_id=channel, ascending=False, amount_msat=32), held_msat=0
    )
    assert len(other_way.shunned) == 2
    thrice = lacking(other_way, 800)
    assert thrice.previously_failed_channels == (channel,)
    assert [item.ascending for item in thrice.shunned] == [False]


@pytest.mark.parametrize(
    "failure",
    [Failure.unknown_next_peer(), Failure.channel_disabled(), Failure.fee_insufficient(1_000)],
    ids=["unknown_next_peer", "channel_disabled", "fee_insufficient"],
)
def test_what_no_smaller_amount_would_mend_shuns_the_channel(failure: Failure) -> None:
    w = world()
    pid = w.pay()
    w.fail(w.one_part(pid), "hub", failure)
    w.retry()
    assert w.router.asked[1].payment_params.previously_failed_channels == (2,)
    assert w.router.asked[1].payment_params.shunned == ()
    assert carry(w.one_part(pid)) == ["hub2", "payee"]


def test_what_other_parts_hold_counts_to_what_a_channel_lacked() -> None:
    w = world(by_hub, by_mid, split=2)
    pid = w.pay()
    first, second = w.offered.values()
    w.fail(second, "mid", Failure.temporary_channel_failure())
    w.retry()
    (shunned,) = w.router.asked[1].payment_params.shunned
    # Nothing of the first part goes over the channel from mid.
    assert shunned.from_msat == 500_000 - 500_000 // 32
    assert carry(first) == ["hub", "payee"]
    assert pid == first.payment_id


def test_the_payees_refusal_is_final() -> None:
    w = world()
    pid = w.pay()
    w.fail(w.one_part(pid), "payee", Failure.incorrect_or_unknown_payment_details(1_000_000, HEIGHT))
    path_failed, failed = w.take_events()
    assert isinstance(path_failed, PaymentPathFailed)
    assert path_failed.attempt.payee_rejected
    assert isinstance(failed, PaymentFailed)
    assert failed.reason is PaymentFailureReason.RECIPIENT_REJECTED
    assert failed.attempts == (path_failed.attempt,)
    assert not w.payments.needs_retry
    assert w.rows == {}
    # The id is free again: nothing of it can arrive any more.
    w.pay()


@pytest.mark.parametrize(("blocks", "too_late"), [(1, False), (2, True)])
def test_a_payee_that_is_further_than_the_time_limit_allows_for_says_so(blocks: int, too_late: bool) -> None:
    """The next block is reckoned with. Of a payment that comes later, the invoice is as good as it was."""
    w = world()
    pid = w.pay()
    answered = Failure.incorrect_or_unknown_payment_details(1_000_000, HEIGHT + blocks)
    w.fail(w.one_part(pid), "payee", answered)
    failed = w.take_events()[-1]
    assert isinstance(failed, PaymentFailed)
    assert failed.reason is PaymentFailureReason.RECIPIENT_REJECTED
    (attempt,) = failed.attempts
    assert attempt.came_too_late is too_late
    code = FailureCode.FINAL_EXPIRY_TOO_SOON if too_late else answered.code
    assert attempt.message == Failure(code).sentence
    assert attempt.failure_code == answered.code
    assert w.payments._last_heights == {}


def test_blocks_that_were_added_to_hide_the_payee_are_time_to_spare() -> None:
    w = world(lambda amount: Path(hops=(hop("hub", 1, 10), hop("payee", 2, amount, 18 + 40))))
    pid = w.pay()
    args = w.one_part(pid)
    for blocks, too_late in ((41, False), (42, True)):
        decoded = DecodedFailure(1, Failure.incorrect_or_unknown_payment_details(1, HEIGHT + blocks))
        last_height = w.payments._last_heights[pid, args.part_id]
        assert judge_failure(args.path, decoded, last_height).attempt.came_too_late is too_late


def test_retries_run_out() -> None:
    w = world(by_hub, by_hub2, by_mid)
    pid = w.pay(retry=Retry.attempts(1))
    w.fail(w.one_part(pid), "payee", Failure.mpp_timeout())
    w.retry()
    w.fail(w.one_part(pid), "payee", Failure.mpp_timeout())
    w.retry()
    failed = w.take_events()[-1]
    assert isinstance(failed, PaymentFailed)
    assert failed.reason is PaymentFailureReason.RETRIES_EXHAUSTED
    assert len(failed.attempts) == 2


def test_retries_end_after_their_time() -> None:
    w = world()
    pid = w.pay(retry=Retry.timeout(10))
    w.fail(w.one_part(pid), "payee", Failure.mpp_timeout())
    w.retry(Now(at=START.at + 9, mono_ms=START.mono_ms + 9_999))
    w.fail(w.one_part(pid), "payee", Failure.mpp_timeout())
    w.retry(Now(at=START.at + 10, mono_ms=START.mono_ms + 10_000))
    failed = w.take_events()[-1]
    assert isinstance(failed, PaymentFailed)
    assert failed.reason is PaymentFailureReason.RETRIES_EXHAUSTED


def test_no_retry_after_the_invoice_ended() -> None:
    w = world()
    pid = w.pay()
    w.fail(w.one_part(pid), "hub", Failure.temporary_channel_failure())
    w.retry(Now(at=START.at + 3600, mono_ms=START.mono_ms))
    failed = w.take_events()[-1]
    assert isinstance(failed, PaymentFailed)
    assert failed.reason is PaymentFailureReason.PAYMENT_EXPIRED


def test_no_way_left() -> None:
    w = world(by_hub)
    pid = w.pay()
    w.fail(w.one_part(pid), "hub", Failure.unknown_next_peer())
    w.retry()
    failed = w.take_events()[-1]
    assert isinstance(failed, PaymentFailed)
    assert failed.reason is PaymentFailureReason.ROUTE_NOT_FOUND


def test_of_two_parts_only_the_failed_one_is_sent_again_within_the_fees_left() -> None:
    w = world(by_hub, by_hub2, by_mid, split=2)
    pid = w.pay(max_total_routing_fee_msat=100)
    by_hub2_args = next(args for args in w.offered.values() if carry(args)[0] == "hub2")
    w.fail(by_hub2_args, "hub2", Failure.temporary_channel_failure())
    w.router.split = 1
    w.retry()
    assert w.router.asked[1].final_value_msat == 500_000
    assert w.router.asked[1].max_total_routing_fee_msat == 90
    assert len(w.offered) == 2
    for args in list(w.offered.values()):
        w.arrive(args)
    state = w.payments.state(pid)
    assert isinstance(state, Fulfilled)
    assert state.amount_msat == 1_000_000


def test_parts_that_are_out_count_to_the_number_that_a_payment_may_have() -> None:
    w = world(by_hub, by_hub2, by_mid, split=2)
    w.pay()
    allowed = w.router.asked[0].payment_params.max_path_count
    for number in (1, 2):
        part = next(args for args in w.offered.values() if carry(args)[0] == "hub2")
        w.fail(part, "payee", Failure.mpp_timeout())
        w.router.split, w.router.ways = 1, [by_hub2]
        w.retry()
        # One is out each time; what was allowed at first is not forgotten.
        assert w.router.asked[number].payment_params.max_path_count == allowed - 1


def test_a_part_may_arrive_after_the_payment_was_given_up() -> None:
    w = world(split=2)
    pid = w.pay(retry=Retry())
    first, second = w.offered.values()
    w.fail(first, "payee", Failure.mpp_timeout())
    w.retry()
    state = w.payments.state(pid)
    assert isinstance(state, Abandoned)
    assert not any(isinstance(event, PaymentFailed) for event in w.take_events())
    w.arrive(second)
    sent = w.take_events()[0]
    assert isinstance(sent, PaymentSent)
    assert (sent.amount_msat, sent.fee_paid_msat) == (500_000, 20)


def test_a_part_that_comes_back_after_the_proof_was_not_paid() -> None:
    w = world(split=2)
    pid = w.pay()
    first, second = w.offered.values()
    w.payments.claim_htlc(pid, first.part_id, preimage_of(0))
    (sent,) = w.take_events()
    assert isinstance(sent, PaymentSent)
    assert (sent.amount_msat, sent.fee_paid_msat) == (1_000_000, 30)
    w.fail(second, "hub2", Failure.temporary_channel_failure())
    w.retry()
    (path_failed,) = w.take_events()
    assert isinstance(path_failed, PaymentPathFailed)
    assert path_failed.attempt.part_id == second.part_id
    w.payments.finalize_claim(pid, first.part_id)
    state = w.payments.state(pid)
    assert isinstance(state, Fulfilled)
    assert (state.amount_msat, state.fee_paid_msat, state.parts) == (500_000, 10, ())


@pytest.mark.parametrize("restarted", [False, True], ids=["same_run", "restarted"])
def test_a_part_whose_channel_closes_after_its_own_proof_was_paid(restarted: bool) -> None:
    """The peer has said the preimage, and the commitment on the chain does without the HTLC: it is the peer's."""
    w = world(split=2)
    pid = w.pay()
    first, second = w.offered.values()
    for args in (first, second):
        w.payments.claim_htlc(pid, args.part_id, preimage_of(0))
    if restarted:
        w.start()
    w.take_events()
    for args in (first, second):
        w.payments.fail_htlc_locally(pid, args.part_id, Failure.permanent_channel_failure())
    assert w.take_events() == []
    state = w.payments.state(pid)
    assert isinstance(state, Fulfilled)
    assert (state.amount_msat, state.fee_paid_msat, state.parts) == (1_000_000, 30, ())


def test_given_up_by_the_person() -> None:
    w = world()
    pid = w.pay()
    w.payments.abandon_payment(pid)
    assert w.take_events() == []
    w.fail(w.one_part(pid), "hub", Failure.temporary_channel_failure())
    failed = w.take_events()[-1]
    assert isinstance(failed, PaymentFailed)
    assert failed.reason is PaymentFailureReason.USER_ABANDONED
    assert not w.payments.needs_retry


def test_our_own_channel_refuses_and_the_other_takes_it() -> None:
    w = world()
    w.refused[1] = "The channel is full."
    pid = w.pay()
    (event,) = w.take_events()
    assert isinstance(event, PaymentPathFailed)
    assert event.attempt.message == "The channel is full."
    assert event.attempt.hop_index is None
    assert carry(w.one_part(pid)) == ["hub2", "payee"]


def test_all_our_channels_refuse() -> None:
    w = world()
    w.refused |= {1: "Full.", 3: "Closed."}
    w.pay()
    events = w.take_events()
    assert isinstance(events[-1], PaymentFailed)
    assert [a.message for a in events[-1].attempts] == ["Full.", "Closed."]
    assert w.rows == {}


def test_our_peer_could_not_read_the_onion() -> None:
    w = world()
    pid = w.pay()
    args = w.one_part(pid)
    del w.offered[pid, args.part_id]
    failure = Failure.bad_onion(FailureCode.INVALID_ONION_HMAC, bytes(32))
    w.payments.fail_htlc_locally(pid, args.part_id, failure)
    w.retry()
    assert carry(w.one_part(pid)) == ["hub2", "payee"]


def test_an_unreadable_failure_shuns_the_middle() -> None:
    w = world(by_mid, by_hub2)
    pid = w.pay()
    args = w.one_part(pid)
    del w.offered[pid, args.part_id]
    w.payments.fail_htlc(pid, args.part_id, FailurePacket(b"\x55" * 292))
    w.retry()
    assert w.router.asked[1].payment_params.previously_failed_channels == (5,)
    assert carry(w.one_part(pid)) == ["hub2", "payee"]


def test_attribution_names_the_hop_that_tampered() -> None:
    w = world(by_mid, by_hub2)
    pid = w.pay()
    args = w.one_part(pid)
    visited = peel(args)
    honest = wrap_failure_packet(visited[1][1], build_failure_packet(visited[2][1], Failure.mpp_timeout()))
    tampered = replace(honest, data=bytes(len(honest.data)))
    del w.offered[pid, args.part_id]
    w.payments.fail_htlc(pid, args.part_id, wrap_failure_packet(visited[0][1], tampered))
    w.retry()
    # The first hop vouches for what it passed on; what is wrong lies behind the channel into the second.
    assert w.router.asked[1].payment_params.previously_failed_channels == (5,)


def test_a_node_failure_shuns_both_its_channels() -> None:
    w = world(by_mid, by_hub2)
    pid = w.pay()
    w.fail(w.one_part(pid), "mid", Failure.permanent_node_failure())
    w.retry()
    assert w.router.asked[1].payment_params.previously_failed_channels == (5, 6)


def test_an_unreadable_answer_of_a_payee_next_door_is_final() -> None:
    w = world(direct)
    pid = w.pay()
    args = w.one_part(pid)
    w.payments.fail_htlc(pid, args.part_id, FailurePacket(bytes(292)))
    failed = w.take_events()[-1]
    assert isinstance(failed, PaymentFailed)
    assert failed.reason is PaymentFailureReason.RECIPIENT_REJECTED


# --- what is refused before anything leaves -----------------------------------


def test_the_same_id_or_hash_is_not_paid_twice() -> None:
    w = world()
    pid = w.pay()
    with pytest.raises(DuplicatePayment, match="under way"):
        w.pay()
    w.arrive(w.one_part(pid))
    with pytest.raises(DuplicatePayment, match="paid already"):
        w.pay()
    recipient = RecipientOnion(total_msat=5, payment_secret=SECRET)
    params = PaymentParameters(payee=PAYEE, final_cltv_delta=18)
    with pytest.raises(DuplicatePayment):
        w.payments.send_payment(
            PaymentId(b"x" * 32),
            payment_hash(0),
            recipient,
            RouteParameters(payment_params=params, final_value_msat=5),
            Retry.attempts(0),
            now=START,
            best_height=HEIGHT,
        )


def test_finished_payments_are_forgotten_after_some_ticks() -> None:
    w = world()
    pid = w.pay()
    w.arrive(w.one_part(pid))
    for _ in range(7):
        w.payments.timer_tick_occurred()
    assert w.payments.state(pid) is not None
    assert w.payments.knows(pid)
    w.payments.timer_tick_occurred(undelivered=[pid])
    for _ in range(8):
        w.payments.timer_tick_occurred()
    assert w.payments.state(pid) is None
    assert not w.payments.knows(pid)
    assert w.rows == {}
    w.pay()
    assert w.payments.knows(pid)


@pytest.mark.parametrize(
    ("ways", "amount_msat", "max_fee_msat", "reason"),
    [
        ([], 3 * 10**9, None, PaymentFailureReason.INSUFFICIENT_BALANCE),
        ([by_hub, by_hub2], 1_000, 5, PaymentFailureReason.FEE_LIMIT),
        ([], 1_000, 5, PaymentFailureReason.ROUTE_NOT_FOUND),
    ],
)
def test_refused_at_once(
    ways: list[Way], amount_msat: int, max_fee_msat: int | None, reason: PaymentFailureReason
) -> None:
    w = World(FakeRouter(ways))
    with pytest.raises(PaymentNotSent) as caught:
        w.pay(amount_msat=amount_msat, max_total_routing_fee_msat=max_fee_msat)
    assert caught.value.reason is reason
    assert caught.value.message
    assert w.rows == {}
    assert w.take_events() == []
    assert w.payments.list_recent_payments() == ()


def test_expired_invoices_are_not_paid() -> None:
    w = world()
    with pytest.raises(PaymentNotSent) as caught:
        w.pay(now=Now(at=START.at + 3600, mono_ms=0))
    assert caught.value.reason is PaymentFailureReason.PAYMENT_EXPIRED


@pytest.mark.parametrize(
    "bad",
    [
        lambda amount: Path(hops=(hop("hub", 1, 10), hop("us", 8, 10), hop("payee", 2, amount))),
        lambda amount: Path(
            hops=(hop("hub", 1, 10), hop("mid", 5, 30), hop("hub", 9, 10), hop("payee", 2, amount))
        ),
        lambda amount: Path(hops=(hop("hub", 1, 10), hop("mid", 2, amount))),
        lambda amount: Path(hops=(hop("hub", 1, 10), hop("payee", 2, amount - 1))),
    ],
)
def test_a_router_gone_wrong_costs_nothing(bad: Way) -> None:
    w = world(bad)
    with pytest.raises(PaymentNotSent) as caught:
        w.pay()
    assert caught.value.reason is PaymentFailureReason.UNEXPECTED_ERROR


def test_two_channels_of_one_alias_are_no_circle() -> None:
    """Each node chooses the aliases of its own channels; an invoice may name two that happen to be the same."""
    w = world(lambda amount: Path(hops=(hop("hub", 1, 10), hop("mid", 5, 30), hop("payee", 5, amount, 18))))
    pid = w.pay()
    args = w.one_part(pid)
    assert carry(args) == ["hub", "mid", "payee"]
    w.arrive(args)
    assert isinstance(w.take_events()[0], PaymentSent)


def test_a_fault_while_a_payment_is_tried_again_ends_it_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    w = world()
    pid, other = w.pay(0), w.pay(1)
    w.fail(w.one_part(pid), "hub", Failure.temporary_channel_failure())
    w.fail(w.one_part(other), "hub", Failure.temporary_channel_failure())
    with monkeypatch.context() as broken:
        broken.setattr(w.router, "find_route", goes_wrong)
        with pytest.raises(InvariantError):
            w.retry()
    failed = w.take_events()[-1]
    assert isinstance(failed, PaymentFailed)
    assert (failed.payment_id, failed.reason) == (pid, PaymentFailureReason.UNEXPECTED_ERROR)
    assert w.payments.state(pid) is None
    w.retry()
    assert carry(w.one_part(other)) == ["hub2", "payee"]


def goes_wrong(*_args: object) -> Route:
    raise InvariantError("The search went wrong.")


# --- restart ------------------------------------------------------------------


def test_a_payment_under_way_outlives_the_process() -> None:
    w = world(split=2)
    pid = w.pay()
    before = w.payments.state(pid)
    w.start()
    assert w.payments.state(pid) == before
    with pytest.raises(DuplicatePayment):
        w.pay()
    for args in list(w.offered.values()):
        w.arrive(args)
    assert isinstance(w.take_events()[0], PaymentSent)
    w.start()
    with pytest.raises(DuplicatePayment, match="paid already"):
        w.pay()


def test_after_a_restart_a_failed_part_ends_the_payment() -> None:
    w = world()
    pid = w.pay()
    w.start()
    w.fail(w.one_part(pid), "hub", Failure.temporary_channel_failure())
    failed = w.take_events()[-1]
    assert isinstance(failed, PaymentFailed)
    assert failed.reason is PaymentFailureReason.RETRIES_EXHAUSTED
    assert w.rows == {}


def test_killed_between_two_tries() -> None:
    w = world()
    pid = w.pay()
    w.fail(w.one_part(pid), "hub", Failure.temporary_channel_failure())
    state = w.payments.state(pid)
    assert isinstance(state, Retryable)
    assert state.parts == ()
    w.take_events()
    w.start()
    w.retry()
    (failed,) = w.take_events()
    assert isinstance(failed, PaymentFailed)
    assert len(failed.attempts) == 1
    assert w.rows == {}


def test_parts_that_no_channel_knows_are_failed_at_start() -> None:
    w = world(split=2)
    pid = w.pay()
    kept, lost = w.offered
    w.start()
    w.payments.reconcile([kept])
    state = w.payments.state(pid)
    assert state is not None
    assert [part.part_id for part in state.parts] == [kept[1]]
    assert lost != kept


def test_repeated_answers_are_harmless() -> None:
    w = world()
    pid = w.pay()
    args = w.one_part(pid)
    w.payments.claim_htlc(pid, 0, preimage_of(0))
    w.payments.claim_htlc(pid, 0, preimage_of(0), from_onchain=True)
    w.payments.claim_htlc(pid, 0, preimage_of(0), from_onchain=True)
    w.payments.finalize_claim(pid, 0)
    w.payments.fail_htlc(pid, 0, answer(args, "hub", Failure.mpp_timeout()))
    assert [type(event) for event in w.take_events()] == [PaymentSent, PaymentPathSuccessful]
    w.payments.claim_htlc(PaymentId(b"?" * 32), 0, preimage_of(0))


def test_a_wrong_preimage_is_an_error_of_ours() -> None:
    w = world()
    pid = w.pay()
    with pytest.raises(InvariantError):
        w.payments.claim_htlc(pid, 0, preimage_of(1))


# --- many at once -------------------------------------------------------------


def test_forty_at_once() -> None:
    w = world()
    ids = [w.pay(number) for number in range(40)]
    assert len(w.rows) == 40
    assert w.writes == 40
    # The router is told what the others hold on each channel.
    assert w.router.inflight[-1].used_liquidity_msat(US, node_id("hub"), ShortChannelId(1)) == 39 * 1_000_010
    for number, pid in enumerate(ids):
        args = w.one_part(pid)
        if number % 4 == 3:
            w.fail(args, "payee", Failure.incorrect_or_unknown_payment_details(1, HEIGHT))
        else:
            w.arrive(args)
    w.retry()
    events = w.take_events()
    assert sum(isinstance(event, PaymentSent) for event in events) == 30
    assert sum(isinstance(event, PaymentFailed) for event in events) == 10
    statuses = [payment.status for payment in w.payments.list_recent_payments()]
    assert statuses == [PaymentStatus.FULFILLED] * 30
    assert w.payments._inflight.used_msat == {}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_payment_ends_once(data: st.DataObject) -> None:
    """Whatever happens in whatever order, restarts included: one end, no leftover, never both ends."""
    w = world(by_hub, by_hub2, by_mid, direct, split=data.draw(st.integers(1, 3)))
    w.channels.append(OurChannel(PAYEE, ShortChannelId(7)))
    count = data.draw(st.integers(1, 4))
    arrived: set[PaymentId] = set()
    ids = []
    for number in range(count):
        if data.draw(st.booleans()):
            w.refused = {data.draw(st.sampled_from([1, 3, 7])): "Full."}
        ids.append(w.pay(number, retry=Retry.attempts(data.draw(st.integers(0, 2)))))
        w.refused = {}
    for _ in range(200):
        if not w.offered:
            break
        args = w.offered[data.draw(st.sampled_from(sorted(w.offered)))]
        names = [NAMES[step.node_id] for step in args.path.hops]
        match data.draw(st.sampled_from(["arrive", "fail", "refuse", "garbage", "abandon", "restart"])):
            case "arrive":
                arrived.add(args.payment_id)
                w.arrive(args)
            case "fail":
                w.fail(args, data.draw(st.sampled_from(names)), Failure.temporary_channel_failure())
            case "refuse":
                w.fail(args, "payee", Failure.incorrect_or_unknown_payment_details(1, HEIGHT))
            case "garbage":
                del w.offered[args.payment_id, args.part_id]
                w.payments.fail_htlc(args.payment_id, args.part_id, FailurePacket(b"\x01" * 292))
            case "abandon":
                w.payments.abandon_payment(args.payment_id)
            case "restart":
                w.start()
        w.retry()
    for args in list(w.offered.values()):
        w.fail(args, "payee", Failure.incorrect_or_unknown_payment_details(1, HEIGHT))
    w.retry()
    sent = [event.payment_id for event in w.events if isinstance(event, PaymentSent)]
    failed = [event.payment_id for event in w.events if isinstance(event, PaymentFailed)]
    assert sorted(sent + failed) == sorted(ids)
    assert set(sent) == arrived
    assert sorted(w.rows) == sorted(sent)
    assert w.payments._inflight.used_msat == {}


# --- probes -------------------------------------------------------------------


def probe(w: World, way: Way = by_hub, amount_msat: int = 1_000_000) -> PaymentId:
    params = PaymentParameters(payee=PAYEE, final_cltv_delta=18)
    return PaymentId(w.payments.send_probe(way(amount_msat), params, now=START, best_height=HEIGHT))


def test_a_probe_looks_like_a_payment_and_comes_back_from_the_payee() -> None:
    w = world()
    pid = probe(w)
    args = w.one_part(pid)
    assert (args.amount_msat, args.cltv_expiry_height) == (1_000_010, HEIGHT + 1 + 18 + 40)
    hub = decode_incoming_htlc(args.onion_packet, args.payment_hash, partial(ecdh, node_secret("hub")))
    assert isinstance(hub, IncomingForward)
    payee = decode_incoming_htlc(hub.next_packet, args.payment_hash, partial(ecdh, node_secret("payee")))
    assert isinstance(payee, IncomingReceive)
    assert payee.payload.payment_secret is not None
    assert payee.payload.keysend_preimage is None
    assert (payee.payload.amount_msat, payee.payload.total_msat) == (1_000_000, 1_000_000)
    w.fail(args, "payee", Failure.incorrect_or_unknown_payment_details(1_000_000, HEIGHT))
    path_failed, failed = w.take_events()
    assert isinstance(path_failed, PaymentPathFailed)
    assert isinstance(failed, PaymentFailed)
    assert failed.reason is PaymentFailureReason.RECIPIENT_REJECTED
    assert w.rows == {}


def test_a_probe_that_comes_back_from_on_the_way_is_not_sent_again_and_teaches() -> None:
    w = world()
    pid = probe(w)
    w.fail(w.one_part(pid), "hub", Failure.temporary_channel_failure())
    w.retry()
    failed = w.take_events()[-1]
    assert isinstance(failed, PaymentFailed)
    assert failed.reason is PaymentFailureReason.RETRIES_EXHAUSTED
    assert w.offered == {}
    params = learn_from(PaymentParameters(payee=PAYEE, final_cltv_delta=18), failed.attempts[0])
    assert [(item.short_channel_id, item.from_msat) for item in params.shunned] == [(2, 968_750)]
    pid = probe(w)
    w.fail(w.one_part(pid), "hub", Failure.channel_disabled())
    w.retry()
    failed = w.take_events()[-1]
    assert isinstance(failed, PaymentFailed)
    assert learn_from(params, failed.attempts[0]).previously_failed_channels == (2,)


def test_a_payee_that_speaks_of_a_channel_behind_it_teaches_no_amount() -> None:
    w = world()
    w.fail(w.one_part(probe(w)), "payee", Failure.temporary_channel_failure())
    w.retry()
    failed = w.take_events()[-1]
    assert isinstance(failed, PaymentFailed)
    assert learn_from(PaymentParameters(payee=PAYEE, final_cltv_delta=18), failed.attempts[0]).shunned == ()


@pytest.mark.parametrize(("way", "shunned"), [(by_mid, (5,)), (by_far, (5, 8))], ids=["one", "several"])
def test_a_probe_whose_answer_cannot_be_read_is_not_sent_the_same_way_again(
    way: Way, shunned: tuple[int, ...]
) -> None:
    w = world()
    pid = probe(w, way)
    args = w.one_part(pid)
    del w.offered[pid, args.part_id]
    w.payments.fail_htlc(pid, args.part_id, FailurePacket(b"\x55" * 292))
    w.retry()
    failed = w.take_events()[-1]
    assert isinstance(failed, PaymentFailed)
    params = PaymentParameters(payee=PAYEE, final_cltv_delta=18)
    assert learn_from(params, failed.attempts[0]).previously_failed_channels == shunned


def test_a_node_that_fails_a_probe_is_gone_around() -> None:
    w = world()
    w.fail(w.one_part(probe(w, by_mid)), "mid", Failure.permanent_node_failure())
    w.retry()
    failed = w.take_events()[-1]
    assert isinstance(failed, PaymentFailed)
    params = PaymentParameters(payee=PAYEE, final_cltv_delta=18)
    assert set(learn_from(params, failed.attempts[0]).previously_failed_channels) == {5, 6}


def test_two_probes_are_two_payments() -> None:
    w = world()
    assert probe(w) != probe(w, by_hub2)
    assert len(w.offered) == 2


def test_a_payment_takes_the_route_that_was_found_for_it_first() -> None:
    w = world()
    params = RouteParameters(
        payment_params=PaymentParameters(payee=PAYEE, final_cltv_delta=18), final_value_msat=1_000_000
    )
    pid = PaymentId(bytes(32))
    w.payments.send_payment(
        pid,
        payment_hash(0),
        RecipientOnion(total_msat=1_000_000, payment_secret=SECRET),
        params,
        Retry.attempts(1),
        now=START,
        best_height=HEIGHT,
        first_route=Route(paths=(by_mid(1_000_000),), route_params=params),
    )
    assert w.router.asked == []
    assert carry(w.one_part(pid)) == ["hub", "mid", "payee"]
    w.fail(w.one_part(pid), "mid", Failure.unknown_next_peer())
    w.retry()
    assert carry(w.one_part(pid)) == ["hub", "payee"]


def test_what_probes_taught_holds_for_the_tries_after_the_first_route() -> None:
    w = world()
    params = PaymentParameters(payee=PAYEE, final_cltv_delta=18)
    lack = ChannelLack(short_channel_id=ShortChannelId(9), ascending=True, amount_msat=3_200)
    learnt = params.with_failed_channel(ShortChannelId(2)).with_shunned(lack, held_msat=0)
    asked = RouteParameters(payment_params=params, final_value_msat=1_000_000)
    pid = PaymentId(bytes(32))
    w.payments.send_payment(
        pid,
        payment_hash(0),
        RecipientOnion(total_msat=1_000_000, payment_secret=SECRET),
        asked,
        Retry.attempts(1),
        now=START,
        best_height=HEIGHT,
        first_route=Route(paths=(by_mid(1_000_000),), route_params=replace(asked, payment_params=learnt)),
    )
    w.fail(w.one_part(pid), "mid", Failure.unknown_next_peer())
    w.retry()
    assert w.router.asked[0].payment_params == learnt.with_failed_channel(ShortChannelId(6))
    assert carry(w.one_part(pid)) == ["hub2", "payee"]


# --- attribution data ---------------------------------------------------------


def attributed(args: SendAlongPath, *held_ms: int, liar: int | None = None) -> bytes:
    """What the hops' attribution data becomes on its way back, the payee's first; `liar` signs for another payment."""
    packet, secrets = args.onion_packet, []
    for hop in args.path.hops:
        incoming = decode_incoming_htlc(
            packet, args.payment_hash, partial(ecdh, node_secret(NAMES[hop.node_id]))
        )
        assert isinstance(incoming, IncomingForward | IncomingReceive)
        secrets.append(incoming.shared_secret)
        packet = incoming.next_packet if isinstance(incoming, IncomingForward) else b""
    if liar is not None:
        secrets[liar] = bytes(32)
    data: bytes | None = None
    for secret, hold_ms in zip(reversed(secrets), reversed(held_ms), strict=True):
        data = build_fulfill_attribution(secret, data, hold_ms)
    assert data is not None
    return data


@pytest.mark.parametrize("restarted", [False, True], ids=["same_run", "restarted"])
def test_how_long_each_hop_held_a_payment_that_arrived(restarted: bool) -> None:
    w = world(by_mid)
    pid = w.pay()
    args = w.one_part(pid)
    if restarted:
        # The keys come out of the row again.
        w.start()
    data = attributed(args, 900, 500, 100)
    w.payments.claim_htlc(pid, args.part_id, preimage_of(0), attribution_data=data)
    w.payments.finalize_claim(pid, args.part_id)
    sent, successful = w.take_events()
    assert isinstance(sent, PaymentSent)
    assert isinstance(successful, PaymentPathSuccessful)
    assert sent.hold_times_ms == successful.hold_times_ms == (900, 500, 100)


def test_hold_times_end_where_the_first_hop_vouches_for_none() -> None:
    w = world(by_mid)
    pid = w.pay()
    args = w.one_part(pid)
    data = attributed(args, 900, 500, 100, liar=1)
    w.payments.claim_htlc(pid, args.part_id, preimage_of(0), attribution_data=data)
    (sent,) = w.take_events()
    assert isinstance(sent, PaymentSent)
    assert sent.hold_times_ms == (900,)


def test_how_long_each_hop_held_a_payment_that_failed() -> None:
    w = world(by_mid)
    pid = w.pay(retry=Retry())
    w.fail(w.one_part(pid), "mid", Failure.temporary_channel_failure())
    event = w.take_events()[0]
    assert isinstance(event, PaymentPathFailed)
    assert len(event.attempt.hold_times_ms) == 2
