"""Fee rates of commitments: asked for at any moment, over cuts and kills, afforded or not."""

from __future__ import annotations

import pytest

from tests.functional.joined import Node, World, WorldMaker, config
from tests.functional.test_limits import dusty
from wallet.chain.interfaces import ConfirmationTarget
from wallet.ln import events as ev
from wallet.ln import msgs

BOTH_TYPES = pytest.mark.parametrize("anchors", [False, True], ids=["static_remotekey", "anchors"])


def set_fees(feerate_sat_per_kw: int, *nodes: Node) -> None:
    """Of the next blocks; what a peer may go down to stays, as in any estimator that looks further ahead."""
    for node in nodes:
        node.fees.sat_per_kw = feerate_sat_per_kw
        node.fees.by_target[ConfirmationTarget.MIN_ALLOWED_ANCHOR_CHANNEL_REMOTE_FEE] = 253
        node.fees.by_target[ConfirmationTarget.MIN_ALLOWED_NON_ANCHOR_CHANNEL_REMOTE_FEE] = 253


def finish(world: World, alice: Node, bob: Node, count: int) -> None:
    """Every payment under way is claimed; both sides agree on the commitments."""
    world.settle()
    for node in (alice, bob):
        for event in node.events_of(ev.PaymentClaimable):
            assert event.payment_preimage is not None
            node.manager.claim_funds(event.payment_preimage)
    world.settle()
    for node in (alice, bob):
        assert len(node.events_of(ev.PaymentSent)) == len(node.events_of(ev.PaymentClaimed)) == count
    assert not alice.channel(bob).pending_htlcs
    assert alice.channel(bob).is_usable
    assert alice.channel(bob).feerate_sat_per_kw == bob.channel(alice).feerate_sat_per_kw


@BOTH_TYPES
@pytest.mark.parametrize("victim", ["funder", "fundee", "both", "wire"])
def test_a_cut_at_every_message_of_a_new_rate_with_payments_both_ways(
    make_world: WorldMaker, anchors: bool, victim: str
) -> None:
    for moment in range(14):
        world = make_world()
        alice, bob = world.line("alice", "bob", settings=config(anchors=anchors))
        set_fees(900, alice, bob)
        world.route_payment([bob, alice], 3_000_000, settle=False)
        alice.manager.timer_tick_occurred(world.now)
        world.route_payment([alice, bob], 2_000_000, settle=False)
        for _ in range(moment):
            world.step()
        if victim == "wire":
            world.disconnect(alice, bob)
        for node in {"funder": [alice], "fundee": [bob], "both": [alice, bob], "wire": []}[victim]:
            world.reload_node(node)
        world.connect(alice, bob)
        finish(world, alice, bob, 1)
        # An update that was forgotten with the connection is made again.
        world.tick()
        assert alice.channel(bob).feerate_sat_per_kw == 900


@BOTH_TYPES
def test_rates_that_follow_one_another_before_the_first_is_through(world: World, anchors: bool) -> None:
    alice, bob = world.line("alice", "bob", settings=config(anchors=anchors))
    for number, feerate_sat_per_kw in enumerate((600, 900, 1_200, 700, 3_000)):
        set_fees(feerate_sat_per_kw, alice, bob)
        alice.manager.timer_tick_occurred(world.now)
        world.route_payment([alice, bob], 1_000_000 + number, settle=False)
        world.step()
        if number % 2:
            # Ticks are minutes: a peer that answered to none of them would be hung up on.
            world.settle()
    world.settle()
    world.tick(2)
    assert alice.channel(bob).feerate_sat_per_kw == 3_000
    assert len(bob.events_of(ev.PaymentClaimable)) == 5
    for claimable in bob.manager._claimable.copy().values():
        assert claimable.payment_preimage is not None
        bob.manager.claim_funds(claimable.payment_preimage)
    world.settle()
    assert len(alice.events_of(ev.PaymentSent)) == len(bob.events_of(ev.PaymentClaimed)) == 5


@BOTH_TYPES
def test_a_rate_that_the_funder_cannot_afford_is_not_asked_for(world: World, anchors: bool) -> None:
    alice, bob = world.nodes_named("alice", "bob", settings=config(anchors=anchors))
    world.open_channel(alice, bob, 100_000)
    while alice.channel(bob).next_outbound_htlc_limit_msat:
        world.pay([alice, bob], alice.channel(bob).next_outbound_htlc_limit_msat)
    set_fees(20_000, alice, bob)
    before = len(alice.sent)
    world.tick(3)
    assert not any(isinstance(msg, msgs.UpdateFee) for _, msg in alice.sent[before:])
    assert alice.channel(bob).feerate_sat_per_kw == 253
    # With money back, it is.
    world.pay([bob, alice], 80_000_000)
    world.tick()
    assert alice.channel(bob).feerate_sat_per_kw == 20_000


@BOTH_TYPES
def test_a_rate_that_the_funder_cannot_afford_beside_an_htlc_that_came_meanwhile(
    world: World, anchors: bool
) -> None:
    """Both are on their way at once: the fundee's HTLC makes the commitment dearer than the funder reckoned with."""
    alice, bob = world.nodes_named("alice", "bob", settings=config(anchors=anchors))
    world.open_channel(alice, bob, 200_000, 100_000_000)
    world.pay([alice, bob], 70_000_000)
    held = [world.route_payment([bob, alice], 5_000_000, settle=False) for _ in range(3)]
    set_fees(8_000, alice, bob)
    alice.manager.timer_tick_occurred(world.now)
    world.settle()
    assert not alice.events_of(ev.ChannelClosed)
    assert not bob.events_of(ev.ChannelClosed)
    assert len(alice.events_of(ev.PaymentClaimable)) == len(held)
    for payment in held:
        alice.manager.claim_funds(payment.payment_preimage)
    world.settle()
    assert len(bob.events_of(ev.PaymentSent)) == len(alice.events_of(ev.PaymentClaimed)) == len(held)


def test_htlcs_that_become_dust_by_a_new_rate_and_again_are_not(world: World) -> None:
    """Without anchors the rate decides which HTLCs have outputs; amounts stay what they are."""
    alice, bob = world.line("alice", "bob", settings=dusty(100_000_000, anchors=False))
    held = [world.route_payment([alice, bob], 1_500_000) for _ in range(3)]
    back = [world.route_payment([bob, alice], 1_600_000) for _ in range(3)]
    for feerate_sat_per_kw in (3_000, 400, 2_500, 253):
        set_fees(feerate_sat_per_kw, alice, bob)
        world.tick()
        assert bob.channel(alice).feerate_sat_per_kw == feerate_sat_per_kw
    for payment in held:
        world.claim([alice, bob], payment)
    for payment in back:
        world.claim([bob, alice], payment)


@pytest.mark.parametrize("feerate_sat_per_kw", [400, 3_000])
def test_a_close_at_a_new_rate_is_the_commitment_that_both_agreed_on(
    world: World, feerate_sat_per_kw: int
) -> None:
    """HTLCs on both sides of the dust limit, at the rate that came last: every signature fits."""
    alice, bob = world.line("alice", "bob", settings=config(anchors=False, delay_blocks=20))
    funding = world.funding_of(alice, alice.channel(bob).channel_id)
    lost = [world.route_payment([alice, bob], amount_msat) for amount_msat in (1_500_000, 20_000_000)]
    set_fees(feerate_sat_per_kw, alice, bob)
    world.tick()
    assert bob.channel(alice).feerate_sat_per_kw == feerate_sat_per_kw
    world.force_close(bob, alice)
    world.confirm_close(alice)
    world.drain(alice, bob)
    failed = {event.payment_hash for event in alice.events_of(ev.PaymentFailed)}
    assert failed == {payment.payment_hash for payment in lost}
    world.check_all_claimed(funding, alice, bob)
