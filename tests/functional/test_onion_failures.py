"""What goes wrong along a route: who is blamed, with which code, and that everybody before gets their HTLC back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.functional.joined import FINAL_CLTV_DELTA, Node, Payment, World
from tests.stand_in import put_in_place_of
from wallet.bitcoin.hashes import sha256
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.channel_state import AddedHtlc, FundedChannel
from wallet.ln.config import ChannelHandshakeConfig, UserConfig
from wallet.ln.events import FailedAttempt, PaymentFailureReason
from wallet.ln.htlc import HTLCSource
from wallet.ln.onion_failure import FailureCode
from wallet.ln.outbound_payment import Retry, SendAlongPath
from wallet.ln.route import Path, Route
from wallet.ln.types import PaymentHash, PaymentId, PaymentPreimage, ShortChannelId


def pay_along(world: World, nodes: list[Node], amount_msat: int, path: Path) -> Payment:
    payment = world.invoice(nodes[-1], amount_msat)
    world.send(payment, nodes[0], world.route([path], nodes[-1]))
    world.settle()
    return payment


def only_attempt(world: World, nodes: list[Node]) -> FailedAttempt:
    """The payment has failed, and nothing of it is left anywhere."""
    world.settle()
    failed = nodes[0].one_event(ev.PaymentFailed)
    for node in nodes:
        for details in node.manager.list_channels():
            assert not details.pending_htlcs
            assert details.is_usable
    assert len(failed.attempts) == 1
    return failed.attempts[0]


def with_hop(path: Path, place: int, **changes: Any) -> Path:
    hops = list(path.hops)
    hops[place] = replace(hops[place], **changes)
    return Path(hops=tuple(hops))


@pytest.mark.parametrize("place", [1, 2])
def test_an_unknown_next_channel(world: World, place: int) -> None:
    nodes = world.line("alice", "bob", "carol", "dave")
    path = with_hop(world.path(nodes, 1_000_000), place, short_channel_id=ShortChannelId(4711))
    pay_along(world, nodes, 1_000_000, path)
    attempt = only_attempt(world, nodes)
    assert attempt.failure_code == FailureCode.UNKNOWN_NEXT_PEER
    assert attempt.hop_index == place - 1
    assert attempt.short_channel_id == 4711


@pytest.mark.parametrize("place", [0, 1])
def test_a_fee_that_is_too_low_by_one(world: World, place: int) -> None:
    nodes = world.line("alice", "bob", "carol", "dave")
    path = world.path(nodes, 1_000_000)
    pay_along(world, nodes, 1_000_000, with_hop(path, place, fee_msat=path.hops[place].fee_msat - 1))
    attempt = only_attempt(world, nodes)
    assert attempt.failure_code == FailureCode.FEE_INSUFFICIENT
    assert attempt.hop_index == place


@pytest.mark.parametrize("place", [0, 1])
def test_a_delta_that_is_too_short_by_one(world: World, place: int) -> None:
    nodes = world.line("alice", "bob", "carol", "dave")
    path = world.path(nodes, 1_000_000)
    delta = path.hops[place].cltv_expiry_delta - 1
    pay_along(world, nodes, 1_000_000, with_hop(path, place, cltv_expiry_delta=delta))
    attempt = only_attempt(world, nodes)
    assert attempt.failure_code == FailureCode.INCORRECT_CLTV_EXPIRY
    assert attempt.hop_index == place


def test_an_amount_below_the_next_channels_minimum(world: World) -> None:
    alice, bob = world.nodes_named("alice", "bob")
    carol = world.node(
        "carol",
        UserConfig(channel_handshake_config=ChannelHandshakeConfig(our_htlc_minimum_msat=10_000)),
    )
    world.open_channel(alice, bob, 1_000_000, 500_000_000)
    world.open_channel(bob, carol, 1_000_000, 500_000_000)
    nodes = [alice, bob, carol]
    pay_along(world, nodes, 9_999, world.path(nodes, 9_999))
    attempt = only_attempt(world, nodes)
    assert attempt.failure_code == FailureCode.AMOUNT_BELOW_MINIMUM
    assert attempt.hop_index == 0
    world.pay(nodes, 10_000)


def test_more_than_the_next_channel_can_carry(world: World) -> None:
    alice, bob, carol = nodes = world.nodes_named("alice", "bob", "carol")
    world.open_channel(alice, bob, 2_000_000)
    world.open_channel(bob, carol, 1_000_000)
    pay_along(world, nodes, 995_000_000, world.path(nodes, 995_000_000))
    attempt = only_attempt(world, nodes)
    assert attempt.failure_code == FailureCode.TEMPORARY_CHANNEL_FAILURE
    assert attempt.short_channel_id == world.scid(bob, carol, first=False)


def test_a_time_limit_beyond_two_weeks(world: World) -> None:
    nodes = world.line("alice", "bob", "carol")
    path = with_hop(world.path(nodes, 1_000_000), 1, cltv_expiry_delta=2_017)
    pay_along(world, nodes, 1_000_000, path)
    attempt = only_attempt(world, nodes)
    assert attempt.failure_code == FailureCode.EXPIRY_TOO_FAR
    assert attempt.hop_index == 0


def test_a_time_limit_that_is_too_near_for_the_forwarder(world: World) -> None:
    """The blocks have gone on while the HTLC was on its way."""
    nodes = alice, bob, carol = world.line("alice", "bob", "carol")
    world.filter = lambda sender, _receiver, _msg: sender is not alice
    payment = world.invoice(carol, 1_000_000)
    world.send(payment, alice, world.route([world.path(list(nodes), 1_000_000)], carol))
    world.settle()
    world.disconnect(alice, bob)
    world.mine_to(world.height + FINAL_CLTV_DELTA + 72 - 30)
    world.filter = None
    world.connect(alice, bob)
    attempt = only_attempt(world, list(nodes))
    assert attempt.failure_code == FailureCode.EXPIRY_TOO_SOON
    assert attempt.hop_index == 0


def test_a_time_limit_that_is_too_near_for_the_payee_says_nothing_else(world: World) -> None:
    """BOLT 4: a payee answers every wrong detail alike."""
    nodes = world.line("alice", "bob", "carol")
    path = with_hop(world.path(nodes, 1_000_000), 1, cltv_expiry_delta=30)
    payment = pay_along(world, nodes, 1_000_000, path)
    attempt = only_attempt(world, nodes)
    assert attempt.failure_code == FailureCode.INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS
    assert attempt.hop_index == 1
    # The same payment, with time enough, is as good as it was.
    world.send(
        replace(payment, payment_id=PaymentId(sha256(b"again"))),
        nodes[0],
        world.route([world.path(nodes, 1_000_000)], nodes[-1]),
    )
    world.settle()
    nodes[-1].one_event(ev.PaymentClaimable)
    world.claim(nodes, payment)


@pytest.mark.parametrize("amount_msat", [999_999, 2_000_001])
def test_too_little_and_far_too_much_for_the_invoice(world: World, amount_msat: int) -> None:
    nodes = world.line("alice", "bob")
    payment = world.invoice(nodes[-1], 1_000_000)
    world.send(payment, nodes[0], world.route([world.path(nodes, amount_msat)], nodes[-1]))
    attempt = only_attempt(world, nodes)
    assert attempt.failure_code == FailureCode.INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS


def test_an_invoice_that_has_expired_is_unknown(world: World) -> None:
    nodes = world.line("alice", "bob")
    payment = world.invoice(nodes[-1], 1_000_000)
    path = world.path(nodes, 1_000_000)
    # An hour, and two hours of grace for clocks of blocks, are 18 blocks here.
    world.mine(20)
    world.send(payment, nodes[0], world.route([path], nodes[-1]))
    attempt = only_attempt(world, nodes)
    assert attempt.failure_code == FailureCode.INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS


Offer = Callable[[FundedChannel, AddedHtlc, HTLCSource], str | None]


def dishonest(node: Node, **changes: int) -> None:
    """A forwarder that passes on something else than it was told to."""
    really: Offer = node.manager._offer

    def offer(channel: FundedChannel, add: AddedHtlc, source: HTLCSource) -> str | None:
        return really(
            channel,
            replace(
                add,
                amount_msat=add.amount_msat + changes.get("amount_msat", 0),
                cltv_expiry_height=add.cltv_expiry_height + changes.get("cltv_expiry_height", 0),
            ),
            source,
        )

    put_in_place_of(node.manager, "_offer", offer)


def test_a_forwarder_that_keeps_some_is_found_out_by_the_payee(world: World) -> None:
    nodes = world.line("alice", "bob", "carol")
    dishonest(nodes[1], amount_msat=-1)
    pay_along(world, nodes, 1_000_000, world.path(nodes, 1_000_000))
    attempt = only_attempt(world, nodes)
    assert attempt.failure_code == FailureCode.FINAL_INCORRECT_HTLC_AMOUNT
    assert attempt.hop_index == 1


def test_a_forwarder_that_shortens_the_time_is_found_out_by_the_payee(world: World) -> None:
    nodes = world.line("alice", "bob", "carol")
    dishonest(nodes[1], cltv_expiry_height=-1)
    pay_along(world, nodes, 1_000_000, world.path(nodes, 1_000_000))
    attempt = only_attempt(world, nodes)
    assert attempt.failure_code == FailureCode.FINAL_INCORRECT_CLTV_EXPIRY


def test_a_forwarder_that_keeps_some_is_found_out_by_the_next_forwarder(world: World) -> None:
    nodes = world.line("alice", "bob", "carol", "dave")
    dishonest(nodes[1], amount_msat=-1)
    pay_along(world, nodes, 1_000_000, world.path(nodes, 1_000_000))
    attempt = only_attempt(world, nodes)
    assert attempt.failure_code == FailureCode.FEE_INSUFFICIENT
    assert attempt.hop_index == 1


@pytest.mark.parametrize("place", [1, 2])
def test_an_answer_that_somebody_spoilt_blames_nobody_for_sure(world: World, place: int) -> None:
    """The payer cannot read it: the payment fails, and no single node is named by it."""
    nodes = world.line("alice", "bob", "carol", "dave")
    payment = world.route_payment(nodes, 1_000_000)
    spoiler = nodes[place]

    def spoil(sender: Node, receiver: Node, msg: msgs.Message) -> bool:
        if isinstance(msg, msgs.UpdateFailHtlc) and sender is spoiler:
            bad = replace(msg, reason=bytes(len(msg.reason)), attribution_data=None)
            receiver.inbox.append((sender.node_id, msgs.encode_message(bad)))
            return False
        return True

    world.filter = spoil
    nodes[-1].manager.fail_htlc_backwards(payment.payment_hash)
    attempt = only_attempt(world, nodes)
    assert attempt.hop_index is None
    assert attempt.failure_code == 0


@pytest.mark.parametrize("length", [0, 1, 291, 2_000])
def test_a_failure_of_any_length_is_passed_on_and_ends_the_payment(world: World, length: int) -> None:
    """BOLT 4: what the next hop answers is wrapped, whatever it is; the HTLC comes back all the same."""
    nodes = world.line("alice", "bob", "carol")
    payment = world.route_payment(nodes, 1_000_000)

    def shorten(sender: Node, receiver: Node, msg: msgs.Message) -> bool:
        if isinstance(msg, msgs.UpdateFailHtlc) and sender is nodes[2]:
            bad = replace(msg, reason=bytes(length), attribution_data=None)
            receiver.inbox.append((sender.node_id, msgs.encode_message(bad)))
            return False
        return True

    world.filter = shorten
    nodes[-1].manager.fail_htlc_backwards(payment.payment_hash)
    attempt = only_attempt(world, nodes)
    assert attempt.failure_code == 0


# --- payments in parts --------------------------------------------------------


def two_ways(world: World) -> tuple[list[Node], list[Path]]:
    """Alice to Dave over Bob, and over Carol."""
    alice, bob, carol, dave = nodes = world.nodes_named("alice", "bob", "carol", "dave")
    for one, other in ((alice, bob), (alice, carol), (bob, dave), (carol, dave)):
        world.open_channel(one, other, 1_000_000, 500_000_000)
    paths = [world.path([alice, bob, dave], 10_000_000), world.path([alice, carol, dave], 20_000_000)]
    return nodes, paths


def test_a_part_that_fails_does_not_lose_the_one_that_arrived(world: World) -> None:
    nodes, paths = two_ways(world)
    alice, _, carol, dave = nodes
    world.disconnect(carol, dave)
    payment = world.invoice(dave, 30_000_000)
    world.send(payment, alice, world.route(paths, dave))
    world.settle()
    # The first part waits at the payee; nothing is claimable, and it is not the payee's.
    assert not dave.events_of(ev.PaymentClaimable)
    dave.manager.claim_funds(payment.payment_preimage)
    world.settle()
    assert not alice.events_of(ev.PaymentSent)
    world.connect(carol, dave)
    world.tick(3)
    failed = alice.one_event(ev.PaymentFailed)
    codes = {attempt.failure_code for attempt in failed.attempts}
    assert FailureCode.TEMPORARY_CHANNEL_FAILURE in codes


def test_parts_that_disagree_about_the_whole_are_refused(world: World) -> None:
    """BOLT 4, basic multi-part payments: the totals of a set are equal; the first part waits in vain."""
    nodes, paths = two_ways(world)
    alice, bob, _, dave = nodes
    payment = world.invoice(dave, 30_000_000)
    world.disconnect(nodes[2], dave)
    world.send(payment, alice, world.route(paths, dave))
    world.settle()
    assert not dave.events_of(ev.PaymentClaimable)
    # Bob knows the invoice as well, and pays with another total.
    other = replace(payment, payment_id=PaymentId(sha256(b"other")))
    world.send(other, bob, world.route([world.path([bob, dave], 31_000_000)], dave))
    world.settle()
    assert bob.one_event(ev.PaymentFailed).reason is PaymentFailureReason.RECIPIENT_REJECTED
    assert not dave.events_of(ev.PaymentClaimable)
    world.tick(3)
    assert alice.one_event(ev.PaymentFailed).payment_hash == payment.payment_hash


def test_the_same_hash_paid_twice_is_claimable_once(world: World) -> None:
    """Another payer pays the same invoice while the first payment waits: it is refused, the first is not touched."""
    nodes, paths = two_ways(world)
    alice, bob, _, dave = nodes
    payment = world.invoice(dave, 10_000_000)
    world.send(payment, alice, world.route([paths[0]], dave))
    world.settle()
    dave.one_event(ev.PaymentClaimable)
    again = replace(payment, payment_id=PaymentId(sha256(b"again")))
    world.send(again, bob, world.route([world.path([bob, dave], 10_000_000)], dave))
    world.settle()
    assert bob.one_event(ev.PaymentFailed).reason is PaymentFailureReason.RECIPIENT_REJECTED
    world.claim([alice, bob, dave], payment)
    # Nor can it be paid once more.
    third = replace(payment, payment_id=PaymentId(sha256(b"third")))
    world.send(third, bob, world.route([world.path([bob, dave], 10_000_000)], dave))
    world.settle()
    claimable = dave.events_of(ev.PaymentClaimable)
    for event in claimable:
        dave.manager.fail_htlc_backwards(event.payment_hash)
    world.settle()
    bob.one_event(ev.PaymentFailed)


def test_a_spontaneous_payment_with_a_wrong_preimage(world: World) -> None:
    alice, bob = world.line("alice", "bob")
    route = world.route([world.path([alice, bob], 7_000)], bob)
    alice.router.routes.append(route)
    original = alice.manager._outbound._send_along_path

    def lie(send: SendAlongPath) -> None:
        original(replace(send, payment_hash=PaymentHash(sha256(b"something else"))))

    alice.manager._outbound._send_along_path = lie
    alice.manager.send_spontaneous_payment(
        PaymentPreimage(sha256(b"key")),
        PaymentId(sha256(b"id")),
        route.route_params,
        Retry.attempts(0),
        world.now,
    )
    world.settle()
    failed = alice.one_event(ev.PaymentFailed)
    # The onion is bound to the hash that it was made for.
    assert failed.attempts[0].failure_code == FailureCode.INVALID_ONION_HMAC
    assert not bob.events_of(ev.PaymentClaimable)


def test_a_search_that_goes_wrong_ends_its_payment_and_hurts_no_other(world: World) -> None:
    """The fault is met while the peer's answer is worked off: that entry has to end as any other."""
    nodes = alice, _bob, carol = world.line("alice", "bob", "carol")
    route = world.route(
        [with_hop(world.path(nodes, 1_000_000), 1, short_channel_id=ShortChannelId(4711))], carol
    )
    payment = world.invoice(carol, 1_000_000)
    alice.router.routes.append(route)
    alice.manager.send_payment(
        payment.payment_hash,
        payment.payment_secret,
        None,
        payment.payment_id,
        route.route_params,
        Retry.attempts(3),
        world.now,
    )

    def goes_wrong(*_args: object) -> Route:
        raise ZeroDivisionError

    put_in_place_of(alice.router, "find_route", goes_wrong)
    world.settle()
    assert alice.one_event(ev.PaymentFailed).reason is PaymentFailureReason.UNEXPECTED_ERROR
    assert [text.partition(":")[0] for text in alice.logger.errors] == ["a payment could not be tried again"]
    alice.logger.errors.clear()
    assert not alice.manager.needs_forwarding
    world.pay(nodes, 1_000_000)
