"""A commitment confirms while the channel is at work: at every message of a payment, before anybody has heard of it."""

from __future__ import annotations

import pytest

from tests.functional.joined import Node, Payment, World, WorldMaker, config
from tests.functional.test_balances import DELAY_BLOCKS, settings
from wallet.ln import events as ev
from wallet.ln.config import UserConfig
from wallet.ln.events import ClosureKind

__all__ = ["settings"]

AMOUNT_SAT = 100_000
MOST_FEES_SAT = 5_000


def claim_what_came(payee: Node, payment: Payment) -> bool:
    if not payee.events_of(ev.PaymentClaimable):
        return False
    payee.manager.claim_funds(payment.payment_preimage)
    return True


def run_to(world: World, moment: int, payee: Node, payment: Payment) -> bool:
    """So many rounds of messages. Whether there was something to do in all of them."""
    for _ in range(moment):
        worked = world.step()
        if not claim_what_came(payee, payment) and not worked:
            return False
    return True


def confirm_unheard(world: World, rounds: int) -> None:
    """The monitors know of the block; the manager hears of it only after some more messages."""
    block = world.append_block()
    for node in world.nodes.values():
        node.chain.connect(block, last=True)
    for _ in range(rounds):
        for node in world.nodes.values():
            world.collect(node)
        for node in list(world.nodes.values()):
            world.deliver_one(node)
    world.settle()


@pytest.mark.parametrize("closer", ["bob", "carol"])
@pytest.mark.parametrize("rounds", [0, 3])
def test_a_commitment_that_confirms_in_the_middle_of_a_forward(
    make_world: WorldMaker, closer: str, rounds: int
) -> None:
    """The payer's payment ends once; the forwarder, whichever of its two channels closed, loses fees at most."""
    settings = config(anchors=False, delay_blocks=DELAY_BLOCKS)
    ends = set()
    for moment in range(1, 40, 3):
        world = make_world()
        alice, bob, carol = world.line("alice", "bob", "carol", settings=settings)
        funding = world.funding_of(bob, bob.channel(carol).channel_id)
        channel_id = bob.channel(carol).channel_id
        payment = world.route_payment([alice, bob, carol], AMOUNT_SAT * 1000, settle=False)
        going_on = run_to(world, moment, carol, payment)
        world.broadcast(world.commitment_of(bob if closer == "bob" else carol, channel_id))
        confirm_unheard(world, rounds)
        claim_what_came(carol, payment)
        world.drain(bob, carol)
        world.settle()
        claim_what_came(carol, payment)
        world.drain(bob, carol)
        sent, failed = alice.events_of(ev.PaymentSent), alice.events_of(ev.PaymentFailed)
        assert len(sent) + len(failed) == 1
        ends.add(bool(sent))
        for node in (bob, carol):
            assert len(node.events_of(ev.ChannelClosed)) == 1
        assert not alice.channel(bob).pending_htlcs
        bob_sat = bob.channel(alice).balance_msat // 1000 + bob.came_home_sat()
        carol_sat = carol.came_home_sat()
        moved_sat = AMOUNT_SAT if sent else 0
        assert bob_sat >= 1_000_000 - MOST_FEES_SAT
        assert carol_sat >= 500_000 + moved_sat - MOST_FEES_SAT
        if sent:
            assert carol.events_of(ev.PaymentClaimed)
        carol.take_events()
        world.check_all_claimed(funding, bob, carol)
        if not going_on:
            break
    assert ends == {True, False}


@pytest.mark.parametrize("closer", ["alice", "bob"])
def test_a_commitment_of_the_upstream_channel_that_confirms_in_the_middle_of_a_forward(
    make_world: WorldMaker, closer: str
) -> None:
    """What is paid downstream is claimed upstream, from whatever commitment is there."""
    settings = config(anchors=False, delay_blocks=DELAY_BLOCKS)
    for moment in range(2, 40, 4):
        world = make_world()
        alice, bob, carol = world.line("alice", "bob", "carol", settings=settings)
        channel_id = alice.channel(bob).channel_id
        funding = world.funding_of(alice, channel_id)
        payment = world.route_payment([alice, bob, carol], AMOUNT_SAT * 1000, settle=False)
        going_on = run_to(world, moment, carol, payment)
        world.broadcast(world.commitment_of(alice if closer == "alice" else bob, channel_id))
        confirm_unheard(world, 2)
        claim_what_came(carol, payment)
        world.settle()
        for _ in range(150):
            claim_what_came(carol, payment)
            world.mine(1)
        world.drain(alice, bob)
        sent, failed = alice.events_of(ev.PaymentSent), alice.events_of(ev.PaymentFailed)
        assert len(sent) + len(failed) == 1
        assert not bob.channel(carol).pending_htlcs
        bob_sat = bob.channel(carol).balance_msat // 1000 + bob.came_home_sat()
        assert bob_sat >= 1_000_000 - MOST_FEES_SAT
        paid_sat = carol.channel(bob).balance_msat // 1000 - 500_000
        assert paid_sat == (AMOUNT_SAT if sent else 0)
        for node in (alice, bob):
            assert node.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COMMITMENT_TX_CONFIRMED
        carol.take_events()
        world.check_all_claimed(funding, alice, bob)
        if not going_on:
            break


def test_a_preimage_on_the_chain_and_off_it_counts_once(world: World, settings: UserConfig) -> None:
    """Carol fulfils by message, and her commitment, which still has the HTLC, confirms with a claim of it."""
    alice, bob, carol = world.line("alice", "bob", "carol", settings=settings)
    for node in (bob, carol):
        node.give_coins(4)
    channel_id = bob.channel(carol).channel_id
    funding = world.funding_of(bob, channel_id)
    payment = world.route_payment([alice, bob, carol], AMOUNT_SAT * 1000)
    with_htlc = world.commitment_of(carol, channel_id)
    carol.manager.claim_funds(payment.payment_preimage)
    # The fulfilment arrives, and nothing behind it.
    world.collect(carol)
    world.deliver_one(bob)
    world.disconnect(bob, carol)
    world.settle()
    assert alice.one_event(ev.PaymentSent).payment_hash == payment.payment_hash
    world.broadcast(with_htlc)
    world.confirm_close(bob, carol)
    world.drain(bob, carol)
    carol.one_event(ev.PaymentClaimed)
    assert len(bob.events_of(ev.PaymentForwarded)) == 1
    assert bob.channel(alice).balance_msat == 500_000_000 + AMOUNT_SAT * 1000 + 1_000
    world.check_all_claimed(funding, bob, carol)


def test_one_hash_in_both_directions_of_one_commitment(world: World, settings: UserConfig) -> None:
    """The peer pays us with the hash of a payment of ours: each of the two outputs is claimed for what it is."""
    alice, bob = world.line("alice", "bob", settings=settings)
    for node in (alice, bob):
        node.give_coins(6)
    channel_id = alice.channel(bob).channel_id
    funding = world.funding_of(alice, channel_id)
    payment = world.route_payment([alice, bob], 40_000_000)
    secret = alice.manager.create_inbound_payment_for_hash(payment.payment_hash, 20_000_000, 3600, world.now)
    back = Payment(
        payment_id=payment.payment_id,
        payment_hash=payment.payment_hash,
        payment_preimage=payment.payment_preimage,
        payment_secret=secret,
        amount_msat=20_000_000,
    )
    world.send(back, bob, world.route([world.path([bob, alice], 20_000_000)], alice))
    world.settle()
    assert alice.one_event(ev.PaymentClaimable).amount_msat == 20_000_000
    world.force_close(alice, bob)
    world.confirm_close(bob)
    bob.manager.claim_funds(payment.payment_preimage)
    world.settle()
    world.mine(2)
    # Bob's claim shows the preimage, with which Alice takes hers.
    preimage = alice.one_event(ev.PaymentSent).payment_preimage
    alice.manager.claim_funds(preimage)
    world.settle()
    world.drain(alice, bob)
    assert bob.one_event(ev.PaymentSent).amount_msat == 20_000_000
    for node in (alice, bob):
        node.one_event(ev.PaymentClaimed)
    world.check_all_claimed(funding, alice, bob)


@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.parametrize("end", ["claimed", "refused"])
def test_a_payment_in_parts_of_which_one_channel_has_closed(
    world: World, settings: UserConfig, end: str, kill: bool
) -> None:
    """One part is in a living channel, the other on the chain: both are taken, or none is."""
    alice, bob, carol, dave = world.nodes_named("alice", "bob", "carol", "dave", settings=settings)
    for one, other in ((alice, bob), (alice, carol), (bob, dave), (carol, dave)):
        world.open_channel(one, other, 1_000_000, 500_000_000)
    for node in (carol, dave):
        node.give_coins(4)
    funding = world.funding_of(carol, carol.channel(dave).channel_id)
    paths = [world.path([alice, bob, dave], 10_000_000), world.path([alice, carol, dave], 20_000_000)]
    payment = world.invoice(dave, 30_000_000)
    world.send(payment, alice, world.route(paths, dave))
    world.settle()
    dave.one_event(ev.PaymentClaimable)
    world.force_close(carol, dave)
    world.confirm_close(dave)
    if kill:
        world.reload_node(dave)
        world.connect(bob, dave)
    if end == "claimed":
        dave.manager.claim_funds(payment.payment_preimage)
    else:
        dave.manager.fail_htlc_backwards(payment.payment_hash)
    world.settle()
    if kill:
        world.reload_node(dave)
        world.connect(bob, dave)
    world.drain(carol, dave)
    if end == "claimed":
        assert alice.one_event(ev.PaymentSent).amount_msat == 30_000_000
        assert dave.one_event(ev.PaymentClaimed).amount_msat == 30_000_000
    else:
        assert alice.one_event(ev.PaymentFailed).payment_hash == payment.payment_hash
    paid = end == "claimed"
    assert dave.channel(bob).balance_msat == 500_000_000 + 10_000_000 * paid
    assert carol.channel(alice).balance_msat == 500_000_000 + (20_000_000 + 1_000) * paid
    assert dave.came_home_sat() >= 500_000 + 19_000 * paid
    for node in (alice, bob):
        for details in node.manager.list_channels():
            assert not details.pending_htlcs
    world.check_all_claimed(funding, carol, dave)
