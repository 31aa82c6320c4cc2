"""Payments through three nodes, in parts, failing, held; many at once; with crashes in between."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.functional.joined import Node, Payment, World, config
from wallet.bitcoin.hashes import sha256
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.config import ChannelConfig, UserConfig
from wallet.ln.events import PaymentFailureReason
from wallet.ln.onion_failure import FailureCode
from wallet.ln.outbound_payment import Retry
from wallet.ln.types import PaymentHash, PaymentId, PaymentPreimage, PaymentSecret


def line(world: World, *names: str, value_sat: int = 1_000_000) -> list[Node]:
    """Nodes in a row, each with a channel to the next, half of it pushed."""
    nodes = [world.node(name, config()) for name in names]
    for one, other in pairwise(nodes):
        world.open_channel(one, other, value_sat, value_sat * 500)
    return nodes


def test_forwarding_there_and_back(world: World) -> None:
    nodes = line(world, "alice", "bob", "carol")
    before_msat = nodes[1].channel(nodes[0]).balance_msat + nodes[1].channel(nodes[2]).balance_msat
    world.pay(nodes, 30_000_000)
    forwarded = nodes[1].one_event(ev.PaymentForwarded)
    assert forwarded.fee_earned_msat == 1_000
    world.pay(nodes[::-1], 10_000_000)
    after_msat = nodes[1].channel(nodes[0]).balance_msat + nodes[1].channel(nodes[2]).balance_msat
    assert after_msat == before_msat + 2_000


def test_four_hops_and_dust(world: World) -> None:
    nodes = line(world, "alice", "bob", "carol", "dave")
    for amount_msat in (1, 999, 353_999, 354_000, 100_000_000):
        world.pay(nodes, amount_msat)


def fail_back(world: World, nodes: list[Node], payment: Payment) -> ev.PaymentFailed:
    nodes[-1].manager.fail_htlc_backwards(payment.payment_hash)
    world.settle()
    return nodes[0].one_event(ev.PaymentFailed)


def test_refused_by_the_payee(world: World) -> None:
    nodes = line(world, "alice", "bob", "carol")
    payment = world.route_payment(nodes, 5_000_000)
    failed = fail_back(world, nodes, payment)
    assert failed.reason is PaymentFailureReason.RECIPIENT_REJECTED
    assert failed.attempts[0].hop_index == 1
    assert failed.attempts[0].failure_code == FailureCode.INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS
    assert not nodes[1].channel(nodes[2]).pending_htlcs


def test_wrong_secret_is_refused_as_unknown(world: World) -> None:
    nodes = line(world, "alice", "bob")
    payment = world.invoice(nodes[1], 5_000)
    route = world.route([world.path(nodes, 5_000)], nodes[1])
    nodes[0].manager.send_payment_with_route(
        payment.payment_hash,
        PaymentSecret(bytes(32)),
        None,
        payment.payment_id,
        route,
        world.now,
    )
    world.settle()
    failed = nodes[0].one_event(ev.PaymentFailed)
    assert failed.attempts[0].failure_code == FailureCode.INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS


def test_underpaid_fee_and_short_delta_are_refused_with_their_codes(world: World) -> None:
    nodes = line(world, "alice", "bob", "carol")
    dear = ChannelConfig(forwarding_fee_base_msat=5_000, cltv_expiry_delta=100)
    path = world.path(nodes, 1_000_000)
    carol_side = nodes[1].channel(nodes[2])
    nodes[1].manager.update_channel_config(nodes[2].node_id, carol_side.channel_id, dear)
    # For a while the old terms still hold.
    payment = world.invoice(nodes[2], 1_000_000)
    world.send(payment, nodes[0], world.route([path], nodes[2]))
    world.settle()
    nodes[-1].one_event(ev.PaymentClaimable)
    world.claim(nodes, payment)
    world.tick(10)
    payment = world.invoice(nodes[2], 1_000_000)
    world.send(payment, nodes[0], world.route([path], nodes[2]))
    world.settle()
    failed = nodes[0].one_event(ev.PaymentFailed)
    assert failed.attempts[0].failure_code == FailureCode.FEE_INSUFFICIENT
    assert failed.attempts[0].hop_index == 0
    slow = ChannelConfig(forwarding_fee_base_msat=0, cltv_expiry_delta=200)
    nodes[1].manager.update_channel_config(nodes[2].node_id, carol_side.channel_id, slow)
    world.tick(10)
    payment = world.invoice(nodes[2], 1_000_000)
    world.send(payment, nodes[0], world.route([path], nodes[2]))
    world.settle()
    failed = nodes[0].one_event(ev.PaymentFailed)
    assert failed.attempts[0].failure_code == FailureCode.INCORRECT_CLTV_EXPIRY


def test_next_peer_gone(world: World) -> None:
    nodes = line(world, "alice", "bob", "carol")
    path = world.path(nodes, 1_000_000)
    world.disconnect(nodes[1], nodes[2])
    payment = world.invoice(nodes[2], 1_000_000)
    world.send(payment, nodes[0], world.route([path], nodes[2]))
    world.settle()
    failed = nodes[0].one_event(ev.PaymentFailed)
    assert failed.attempts[0].failure_code == FailureCode.TEMPORARY_CHANNEL_FAILURE


def test_a_retry_takes_another_way(world: World) -> None:
    alice, bob, carol, dave = (*line(world, "alice", "bob", "carol"), world.node("dave", config()))
    world.open_channel(alice, dave, 1_000_000, 500_000_000)
    world.open_channel(dave, carol, 1_000_000, 500_000_000)
    first, second = world.path([alice, bob, carol], 1_000_000), world.path([alice, dave, carol], 1_000_000)
    world.disconnect(bob, carol)
    payment = world.invoice(carol, 1_000_000)
    alice.router.routes.extend([world.route([first], carol), world.route([second], carol)])
    params = world.route([first], carol).route_params
    alice.manager.send_payment(
        payment.payment_hash,
        payment.payment_secret,
        None,
        payment.payment_id,
        params,
        Retry.attempts(3),
        world.now,
    )
    world.settle()
    carol.one_event(ev.PaymentClaimable)
    world.claim([alice, carol], payment)
    (shunned,) = alice.router.asked[1].payment_params.shunned
    assert shunned.short_channel_id == first.hops[1].short_channel_id
    assert shunned.from_msat < 1_000_000


def two_channels(world: World) -> tuple[Node, Node]:
    alice, bob = world.node("alice", config()), world.node("bob", config())
    for _ in range(2):
        world.open_channel(alice, bob, 500_000, 100_000_000)
    return alice, bob


def test_two_parts_over_two_channels(world: World) -> None:
    alice, bob = two_channels(world)
    paths = [world.path([alice, bob], 150_000_000, index=0), world.path([alice, bob], 130_000_000, index=1)]
    payment = world.invoice(bob, 280_000_000)
    world.send(payment, alice, world.route(paths, bob))
    world.settle()
    claimable = bob.one_event(ev.PaymentClaimable)
    assert claimable.amount_msat == 280_000_000
    assert len(claimable.via_channel_ids) == 2
    world.claim([alice, bob], payment)


def test_an_incomplete_payment_times_out(world: World) -> None:
    alice, bob = two_channels(world)
    paths = [world.path([alice, bob], 150_000_000, index=0), world.path([alice, bob], 130_000_000, index=1)]
    payment = world.invoice(bob, 280_000_000)
    world.filter = lambda sender, _, msg: (
        not (isinstance(msg, msgs.UpdateAddHtlc) and msg.channel_id == alice.channels(bob)[1].channel_id)
    )
    # The second part is lost on the wire, with everything behind it.
    lost = alice.channels(bob)[1].channel_id
    world.filter = lambda sender, _, msg: sender is not alice or getattr(msg, "channel_id", None) != lost
    world.send(payment, alice, world.route(paths, bob))
    world.settle()
    assert not [e for e in bob.take_events() if isinstance(e, ev.PaymentClaimable)]
    world.filter = None
    for _ in range(3):
        bob.manager.timer_tick_occurred(world.now)
        world.settle()
    failed = bob.one_event(ev.HTLCHandlingFailed)
    assert failed.failure_code == FailureCode.MPP_TIMEOUT


def test_hold_invoice(world: World) -> None:
    alice, bob = line(world, "alice", "bob")
    preimage = PaymentPreimage(sha256(b"held"))
    payment_hash = PaymentHash(sha256(preimage))
    secret = bob.manager.create_inbound_payment_for_hash(payment_hash, 7_000, 3600, world.now)
    payment = Payment(PaymentId(sha256(b"id")), payment_hash, preimage, secret, 7_000)
    world.send(payment, alice, world.route([world.path([alice, bob], 7_000)], bob))
    world.settle()
    assert bob.one_event(ev.PaymentClaimable).payment_preimage is None
    world.reload_node(bob)
    world.connect(alice, bob)
    world.claim([alice, bob], payment)


def test_spontaneous_payment(world: World) -> None:
    alice, bob = line(world, "alice", "bob")
    path = world.path([alice, bob], 7_000)
    route = world.route([path], bob)
    alice.router.routes.append(route)
    alice.manager.send_spontaneous_payment(
        None, PaymentId(sha256(b"id")), route.route_params, Retry.attempts(0), world.now
    )
    world.settle()
    claimable = bob.one_event(ev.PaymentClaimable)
    assert claimable.is_keysend
    assert claimable.payment_preimage is not None
    bob.manager.claim_funds(claimable.payment_preimage)
    world.settle()
    alice.one_event(ev.PaymentSent)
    bob.one_event(ev.PaymentClaimed)


@pytest.mark.parametrize("anchors", [True, False])
def test_thirty_at_once_each_way(world: World, anchors: bool) -> None:
    settings = config(anchors=anchors)
    alice, bob = world.node("alice", settings), world.node("bob", settings)
    world.open_channel(alice, bob, 10_000_000, 5_000_000_000)
    there = [world.route_payment([alice, bob], 10_000_000 + i, settle=False) for i in range(30)]
    back = [world.route_payment([bob, alice], 20_000_000 + i, settle=False) for i in range(30)]
    world.settle()
    assert len(alice.channel(bob).pending_htlcs) == 60
    for payment in there:
        bob.manager.claim_funds(payment.payment_preimage)
    for payment in back:
        alice.manager.claim_funds(payment.payment_preimage)
    world.settle()
    for node in (alice, bob):
        assert sum(isinstance(event, ev.PaymentSent) for event in node.take_events()) == 30
    assert alice.channel(bob).pending_htlcs == ()


def test_many_in_one_commitment(world: World) -> None:
    """Parts that leave in one entry share one commitment_signed, and so do those that had to wait."""
    alice, bob = line(world, "alice", "bob", value_sat=10_000_000)
    payments = [world.route_payment([alice, bob], 1_000_000 + i, settle=False) for i in range(20)]
    world.settle()
    commits = sum(isinstance(msg, msgs.CommitmentSigned) for _, msg in alice.sent)
    assert commits <= 4
    for payment in payments:
        bob.manager.claim_funds(payment.payment_preimage)
    world.settle()
    assert len(alice.events_of(ev.PaymentSent)) == len(payments)
    assert len(bob.events_of(ev.PaymentClaimable)) == len(bob.events_of(ev.PaymentClaimed)) == len(payments)


def test_limit_is_what_it_says(world: World) -> None:
    alice, bob = world.node("alice", config()), world.node("bob", config())
    world.open_channel(alice, bob, 1_000_000)
    limit_msat = alice.channel(bob).next_outbound_htlc_limit_msat
    too_much = world.invoice(bob, limit_msat + 1)
    world.send(too_much, alice, world.route([world.path([alice, bob], limit_msat + 1)], bob))
    assert alice.one_event(ev.PaymentFailed).reason is not None
    world.pay([alice, bob], limit_msat)
    limit_msat = bob.channel(alice).next_outbound_htlc_limit_msat
    world.pay([bob, alice], limit_msat)


def test_no_way_through_a_node_that_does_not_forward(world: World) -> None:
    alice, bob, carol = world.node("alice"), world.node("bob", UserConfig()), world.node("carol")
    world.open_channel(alice, bob, 1_000_000)
    world.open_channel(carol, bob, 1_000_000, 500_000_000)
    payment = world.invoice(carol, 1_000_000)
    world.send(payment, alice, world.route([world.path([alice, bob, carol], 1_000_000)], carol))
    world.settle()
    failed = alice.one_event(ev.PaymentFailed)
    assert failed.attempts[0].failure_code == FailureCode.UNKNOWN_NEXT_PEER
