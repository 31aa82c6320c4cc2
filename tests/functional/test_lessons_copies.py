"""What rust-lightning learnt about monitors whose updates are durable late, played with late copies of ours.

docs/lessons.md says which test is whose. `test_late_copies.py` has the rule itself.
"""

from __future__ import annotations

import pytest

from tests.functional.joined import Node, Payment, World, config
from tests.functional.test_late_copies import all_arrive, arrive, in_parts, knows, restart, row
from wallet.ln import events as ev
from wallet.ln import msgs


def two_channels(world: World) -> list[Node]:
    """Alice and Bob, with two channels on which Alice can pay."""
    alice, bob = world.nodes_named("alice", "bob")
    for _ in range(2):
        world.open_channel(alice, bob, 1_000_000, 200_000_000)
    return [alice, bob]


def at_rest(alice: Node, bob: Node) -> None:
    assert not any(details.pending_htlcs for details in (*alice.channels(bob), *bob.channels(alice)))


@pytest.mark.parametrize("kill", [False, True], ids=["on", "killed"])
def test_a_revocation_that_comes_before_the_claims_copies(world: World, kill: bool) -> None:
    """#4236: claiming while one channel awaits a revocation, which comes while a copy of the claim is late."""
    alice, bob = two_channels(world)
    payment = in_parts(world, alice, bob, 40_000_000)
    one, other = (details.channel_id for details in bob.channels(alice))
    # Bob pays back on the first channel; Alice's revocation is held up on the wire.
    held: list[bytes] = []

    def hold(sender: Node, _receiver: Node, msg: msgs.Message) -> bool:
        if sender is alice and isinstance(msg, msgs.RevokeAndAck | msgs.CommitmentSigned):
            held.append(msgs.encode_message(msg))
            return False
        return True

    world.filter = hold
    back = world.invoice(alice, 1_000_000)
    world.send(back, bob, world.route([world.path([bob, alice], 1_000_000)], alice))
    world.settle()
    assert held
    bob.copies_late = True
    bob.manager.claim_funds(payment.payment_preimage)
    world.settle()
    world.filter = None
    if kill:
        restart(world, bob, [alice])
    else:
        bob.inbox.extend((alice.node_id, raw) for raw in held)
    world.settle()
    arrive(world, bob, one)
    arrive(world, bob, other)
    all_arrive(world, bob)
    bob.copies_late = False
    assert alice.one_event(ev.PaymentSent).payment_preimage == payment.payment_preimage
    bob.one_event(ev.PaymentClaimed)
    alice.one_event(ev.PaymentClaimable)
    world.claim([bob, alice], back)
    at_rest(alice, bob)


@pytest.mark.parametrize("restarts", [0, 1, 2])
def test_parts_are_claimed_while_another_payment_is_forwarded(world: World, restarts: int) -> None:
    """#4520, #3928: copies of one part are late, the other channel goes on, and the process dies, once or twice."""
    alice, bob = two_channels(world)
    carol = world.node("carol", config())
    world.open_channel(bob, carol, 1_000_000, 0)
    payment = in_parts(world, alice, bob, 40_000_000)
    one, other = (details.channel_id for details in bob.channels(alice))
    bob.copies_late = True
    bob.manager.claim_funds(payment.payment_preimage)
    world.settle()
    arrive(world, bob, one)
    # On the way is a payment for Carol, by the channel whose claim is not complete.
    forwarded = world.invoice(carol, 3_000_000)
    world.send(forwarded, alice, world.route([world.path([alice, bob, carol], 3_000_000, index=1)], carol))
    world.settle()
    for _ in range(restarts):
        restart(world, bob, [alice, carol])
        arrive(world, bob, one)
        assert knows(bob, one, payment.payment_hash)
        assert knows(bob, other, payment.payment_hash)
    all_arrive(world, bob)
    bob.copies_late = False
    assert alice.one_event(ev.PaymentSent).payment_preimage == payment.payment_preimage
    assert bob.one_event(ev.PaymentClaimed).amount_msat == 40_000_000
    carol.one_event(ev.PaymentClaimable)
    world.claim([alice, bob, carol], forwarded)
    at_rest(alice, bob)
    at_rest(bob, carol)


def test_a_copy_that_was_done_before_two_restarts_with_a_block_between(world: World) -> None:
    """#4377: whether a copy was reported or not, after each start the channel goes on."""
    alice, bob, carol = row(world)
    up, down = bob.channel(alice).channel_id, bob.channel(carol).channel_id
    payment = world.route_payment([alice, bob, carol], 20_000_000)
    bob.copies_late = True
    carol.manager.claim_funds(payment.payment_preimage)
    world.settle()
    arrive(world, bob, up)
    restart(world, bob, [])
    world.mine(1)
    restart(world, bob, [alice, carol])
    arrive(world, bob, down)
    all_arrive(world, bob)
    assert alice.one_event(ev.PaymentSent).payment_preimage == payment.payment_preimage
    carol.one_event(ev.PaymentClaimed)
    at_rest(alice, bob)
    at_rest(bob, carol)
    bob.copies_late = False
    world.pay([alice, bob, carol], 1_000_000)


def test_a_claim_is_told_though_many_updates_follow_before_its_copy(world: World) -> None:
    """#3988: PaymentClaimed outlives a restart, whatever the channel did meanwhile."""
    alice, bob = world.nodes_named("alice", "bob")
    world.open_channel(alice, bob, 1_000_000, 200_000_000)
    payments = [world.route_payment([alice, bob], 10_000_000 + place) for place in range(4)]
    bob.copies_late = True
    for payment in payments:
        bob.manager.claim_funds(payment.payment_preimage)
        world.settle()
    restart(world, bob, [alice])
    restart(world, bob, [alice])
    all_arrive(world, bob)
    told = {event.payment_hash for event in bob.events_of(ev.PaymentClaimed)}
    assert told == {payment.payment_hash for payment in payments}
    assert len(alice.events_of(ev.PaymentSent)) == 4
    at_rest(alice, bob)


@pytest.mark.parametrize("closer", ["bob", "carol"])
def test_a_channel_that_waits_for_anothers_copy_is_closed(world: World, closer: str) -> None:
    """#3858, and #3989: nothing falls over, and no preimage is lost."""
    alice, bob, carol = row(world, anchors=False)
    down = bob.channel(carol).channel_id
    payment = world.route_payment([alice, bob, carol], 20_000_000)
    bob.copies_late = True
    carol.manager.claim_funds(payment.payment_preimage)
    world.settle()
    arrive(world, bob, down)
    assert bob.channel(carol).pending_htlcs
    one, other = (bob, carol) if closer == "bob" else (carol, bob)
    world.disconnect(bob, carol)
    one.manager.force_close_broadcasting_latest_txn(down, other.node_id, "test")
    world.settle()
    all_arrive(world, bob)
    bob.copies_late = False
    world.mine(1)
    assert alice.one_event(ev.PaymentSent).payment_preimage == payment.payment_preimage
    carol.one_event(ev.PaymentClaimed)
    for node in (bob, carol):
        node.one_event(ev.ChannelClosed)
    at_rest(alice, bob)
    funding = world.funding_of(bob, down)
    world.drain(bob, carol, most_blocks=1_200)
    world.check_all_claimed(funding, bob, carol)


def in_parts_on_one_channel(world: World, payer: Node, payee: Node, count: int) -> Payment:
    payment = world.invoice(payee, count * 5_000_000)
    paths = [world.path([payer, payee], 5_000_000) for _ in range(count)]
    world.send(payment, payer, world.route(paths, payee))
    world.settle()
    payee.one_event(ev.PaymentClaimable)
    return payment


@pytest.mark.parametrize("late", [False, True], ids=["at_once", "late"])
@pytest.mark.parametrize("kill", [False, True], ids=["on", "killed"])
def test_parts_of_one_payment_on_one_channel(world: World, late: bool, kill: bool) -> None:
    """#3680: claiming several parts over the same channel does not hang it."""
    alice, bob = world.nodes_named("alice", "bob")
    world.open_channel(alice, bob, 1_000_000, 200_000_000)
    payment = in_parts_on_one_channel(world, alice, bob, 3)
    bob.copies_late = late
    bob.manager.claim_funds(payment.payment_preimage)
    if not kill:
        world.settle()
    else:
        restart(world, bob, [alice])
    all_arrive(world, bob)
    bob.copies_late = False
    assert alice.one_event(ev.PaymentSent).payment_preimage == payment.payment_preimage
    assert bob.one_event(ev.PaymentClaimed).amount_msat == 15_000_000
    at_rest(alice, bob)
    world.pay([alice, bob], 1_000_000)


def test_what_was_swept_is_not_swept_again_after_restarts(world: World) -> None:
    """#3559: a monitor that lives on does not tell of outputs again that the sweeper has forgotten."""
    alice, bob = world.nodes_named("alice", "bob", settings=config(anchors=False))
    channel_id = world.open_channel(alice, bob, 1_000_000, 400_000_000)
    funding = world.funding_of(bob, channel_id)
    world.force_close(alice, bob)
    world.confirm_close(bob)
    world.drain(alice, bob, most_blocks=1_200)
    world.check_all_claimed(funding, alice, bob)
    world.mine(120)
    assert not bob.sweeper.tracked_spendable_outputs()
    sent = len(world.broadcasts)
    told = len(bob.spendable)
    world.reload_node(bob)
    world.mine(10)
    world.reload_node(bob)
    world.mine(10)
    assert len(world.broadcasts) == sent
    assert len(bob.spendable) == told
    assert not bob.sweeper.tracked_spendable_outputs()
    assert bob.events_of(ev.ChannelClosed) == []
