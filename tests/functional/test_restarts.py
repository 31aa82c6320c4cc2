"""Killed and started again: at every block of a close, in the middle of payments, between an event and its reader."""

from __future__ import annotations

import pytest

from tests.functional.joined import Node, Payment, World, WorldMaker, config
from tests.functional.test_balances import DELAY_BLOCKS, expiry_of, pair, settings
from wallet.ln import events as ev
from wallet.ln.config import UserConfig
from wallet.ln.outbound_payment import DuplicatePayment
from wallet.ln.types import PaymentHash

__all__ = ["settings"]


def restart_all(world: World) -> None:
    """All at once, and all connections that there were again."""
    links = [tuple(link) for link in world.links]
    for node in world.nodes.values():
        world.reload_node(node)
    for one, other in links:
        if frozenset((one, other)) not in world.links:
            world.connect(world.nodes[one], world.nodes[other], settle=False)
    world.settle()


# --- on the chain -------------------------------------------------------------


@pytest.mark.parametrize("closer", ["alice", "bob"])
def test_a_restart_at_every_block_of_a_close(world: World, settings: UserConfig, closer: str) -> None:
    """Payments both ways, claimed and lost: each ends once, and all comes home, as without any restart."""
    alice, bob = pair(world, settings)
    funding = world.funding_of(alice, alice.channel(bob).channel_id)
    there, lost_there = (world.route_payment([alice, bob], amount) for amount in (40_000_000, 41_000_000))
    back, lost_back = (world.route_payment([bob, alice], amount) for amount in (30_000_000, 31_000_000))
    last_height = max(expiry_of(alice, lost_there), expiry_of(bob, lost_back))
    by, other = (alice, bob) if closer == "alice" else (bob, alice)
    world.force_close(by, other)
    restart_all(world)
    world.confirm_close(other)
    alice.manager.claim_funds(back.payment_preimage)
    restart_all(world)
    bob.manager.claim_funds(there.payment_preimage)
    while world.height < last_height + DELAY_BLOCKS + 10:
        restart_all(world)
        world.mine(1)
    world.drain(alice, bob)
    assert alice.one_event(ev.PaymentSent).payment_hash == there.payment_hash
    assert bob.one_event(ev.PaymentSent).payment_hash == back.payment_hash
    assert alice.one_event(ev.PaymentFailed).payment_hash == lost_there.payment_hash
    assert bob.one_event(ev.PaymentFailed).payment_hash == lost_back.payment_hash
    for node in (alice, bob):
        node.one_event(ev.PaymentClaimed)
    world.check_all_claimed(funding, alice, bob)


def test_a_restart_at_every_block_after_a_theft(world: World, settings: UserConfig) -> None:
    alice, bob = pair(world, settings)
    channel_id = alice.channel(bob).channel_id
    funding = world.funding_of(alice, channel_id)
    payment = world.route_payment([alice, bob], 40_000_000)
    revoked = world.commitment_of(bob, channel_id)
    world.claim([alice, bob], payment)
    world.disconnect(alice, bob)
    world.broadcast(revoked)
    for _ in range(12):
        world.mine(1)
        world.reload_node(alice)
    world.drain(alice)
    for node in (alice, bob):
        node.one_event(ev.ChannelClosed)
    assert bob.came_home_sat() == 0
    world.check_all_claimed(funding, alice)


@pytest.mark.parametrize("victim", ["alice", "bob", "carol"])
def test_a_restart_at_every_block_of_a_forward_that_ends_on_the_chain(
    world: World, settings: UserConfig, victim: str
) -> None:
    nodes = alice, bob, carol = world.line("alice", "bob", "carol", settings=settings)
    for node in (bob, carol):
        node.give_coins(4)
    claimed = world.route_payment(list(nodes), 25_000_000)
    lost = world.route_payment(list(nodes), 26_000_000)
    last_height = expiry_of(bob, lost)
    world.force_close(carol, bob)
    carol.manager.claim_funds(claimed.payment_preimage)
    node = {"alice": alice, "bob": bob, "carol": carol}[victim]
    while world.height < last_height + 12:
        world.mine(1)
        world.reload_node(node)
        if frozenset((alice.node_id, bob.node_id)) not in world.links:
            world.connect(alice, bob)
    world.drain(bob, carol)
    assert alice.one_event(ev.PaymentSent).payment_hash == claimed.payment_hash
    assert alice.one_event(ev.PaymentFailed).payment_hash == lost.payment_hash
    bob.one_event(ev.ChannelClosed)
    carol.one_event(ev.PaymentClaimed)
    assert bob.channel(alice).balance_msat == 500_000_000 + 25_000_000 + 1_000


# --- in the channels ----------------------------------------------------------


def two_ways(world: World) -> tuple[list[Node], Payment]:
    """Alice to Dave, in two parts, over Bob and over Carol."""
    alice, bob, carol, dave = nodes = world.nodes_named("alice", "bob", "carol", "dave")
    for one, other in ((alice, bob), (alice, carol), (bob, dave), (carol, dave)):
        world.open_channel(one, other, 1_000_000, 500_000_000)
    paths = [world.path([alice, bob, dave], 10_000_000), world.path([alice, carol, dave], 20_000_000)]
    payment = world.invoice(dave, 30_000_000)
    world.send(payment, alice, world.route(paths, dave))
    return nodes, payment


@pytest.mark.parametrize("end", ["claim", "fail"])
def test_all_killed_in_the_middle_of_a_payment_in_two_parts(make_world: WorldMaker, end: str) -> None:
    for moment in range(1, 41, 4):
        world = make_world()
        nodes, payment = two_ways(world)
        alice, dave = nodes[0], nodes[-1]
        decided = False
        for _ in range(moment):
            worked = world.step()
            if dave.events_of(ev.PaymentClaimable):
                decided = worked = True
                decide(dave, payment, end)
            if not worked:
                break
        restart_all(world)
        for _ in range(3):
            if dave.events_of(ev.PaymentClaimable):
                # It is told again where it was not decided; it may be told once more where it was not heard.
                decided = True
                decide(dave, payment, end)
            world.settle()
        if not decided:
            # Killed before all parts had left: nothing can arrive any more.
            world.tick(3)
            assert len(alice.events_of(ev.PaymentFailed)) == 1
        else:
            ended = alice.events_of(ev.PaymentSent), alice.events_of(ev.PaymentFailed)
            assert (len(ended[0]), len(ended[1])) == ((1, 0) if end == "claim" else (0, 1))
            assert len(dave.events_of(ev.PaymentClaimed)) == (end == "claim")
        for node in nodes:
            for details in node.manager.list_channels():
                assert details.is_usable
                assert not details.pending_htlcs
        total_msat = sum(details.balance_msat for details in dave.manager.list_channels())
        assert total_msat == 1_000_000_000 + (30_000_000 if decided and end == "claim" else 0)


def decide(payee: Node, payment: Payment, end: str) -> None:
    if end == "claim":
        payee.manager.claim_funds(payment.payment_preimage)
    else:
        payee.manager.fail_htlc_backwards(payment.payment_hash)


# --- events -------------------------------------------------------------------


def test_events_outlive_a_restart_until_they_are_read(world: World) -> None:
    alice, bob = world.line("alice", "bob")
    payment = world.route_payment([alice, bob], 5_000_000, settle=False)
    world.settle()
    for _ in range(2):
        restart_all(world)
    assert bob.one_event(ev.PaymentClaimable).payment_hash == payment.payment_hash
    restart_all(world)
    assert not bob.events_of(ev.PaymentClaimable)
    bob.manager.claim_funds(payment.payment_preimage)
    world.settle()
    restart_all(world)
    # What is told twice would be booked twice.
    assert bob.one_event(ev.PaymentClaimed).amount_msat == 5_000_000
    assert alice.one_event(ev.PaymentSent).payment_hash == payment.payment_hash
    restart_all(world)
    for node in (alice, bob):
        node.expect_events()


def test_what_was_claimed_is_not_claimable_after_a_restart(world: World) -> None:
    alice, bob = world.line("alice", "bob")
    payment = world.route_payment([alice, bob], 5_000_000)
    world.filter = lambda sender, _receiver, _msg: sender is not bob
    bob.manager.claim_funds(payment.payment_preimage)
    bob.one_event(ev.PaymentClaimed)
    world.filter = None
    restart_all(world)
    # The fulfilment, which never left, is made good; nobody is asked again.
    assert not bob.take_events()
    assert alice.one_event(ev.PaymentSent).payment_hash == payment.payment_hash
    bob.manager.claim_funds(payment.payment_preimage)
    world.settle()
    assert not bob.take_events()


def test_a_payment_that_was_sent_is_not_sent_again_after_a_restart(world: World) -> None:
    alice, bob = world.line("alice", "bob")
    payment = world.route_payment([alice, bob], 5_000_000)
    world.claim([alice, bob], payment)
    restart_all(world)
    before = alice.channel(bob).balance_msat
    route = world.route([world.path([alice, bob], 5_000_000)], bob)
    with pytest.raises(DuplicatePayment):
        world.send(payment, alice, route)
    world.settle()
    assert alice.channel(bob).balance_msat == before


def hashes(events: list[ev.PaymentFailed]) -> set[PaymentHash | None]:
    return {event.payment_hash for event in events}


def test_payments_on_a_closed_channel_outlive_restarts_and_forgetting(world: World) -> None:
    """The channel is gone from the manager; its payments are still under way, and end as the chain says."""
    alice, bob = world.line("alice", "bob", settings=config(anchors=False, delay_blocks=DELAY_BLOCKS))
    lost = [world.route_payment([alice, bob], 10_000_000 + number) for number in range(3)]
    world.force_close(bob, alice)
    world.confirm_close(alice)
    for _ in range(3):
        restart_all(world)
        world.tick(3)
    assert not alice.events_of(ev.PaymentFailed)
    world.drain(alice, bob)
    assert hashes(alice.events_of(ev.PaymentFailed)) == {payment.payment_hash for payment in lost}
    restart_all(world)
    alice.expect_events()
