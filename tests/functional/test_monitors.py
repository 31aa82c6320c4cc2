"""What depends on a monitor waits for it; what the chain tells a monitor reaches the payments."""

from __future__ import annotations

import pytest

from tests.functional.joined import Node, World, config
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.events import ClosureKind


def start(world: World, count: int = 2, *, anchors: bool = True) -> list[Node]:
    nodes = [world.node(name, config(anchors=anchors)) for name in ("alice", "bob", "carol")[:count]]
    for index in range(count - 1):
        world.open_channel(nodes[index], nodes[index + 1], 1_000_000, 500_000_000)
    return nodes


def test_commitments_wait_for_a_late_copy(world: World) -> None:
    alice, bob = start(world)
    alice.copies_late = True
    alice.sent.clear()
    payment = world.route_payment([alice, bob], 5_000_000, settle=False)
    world.settle()
    assert not any(isinstance(msg, msgs.CommitmentSigned) for _, msg in alice.sent)
    alice.complete_copies()
    world.settle()
    assert any(isinstance(msg, msgs.CommitmentSigned) for _, msg in alice.sent)
    for _ in range(6):
        alice.complete_copies()
        world.settle()
    bob.one_event(ev.PaymentClaimable)
    bob.manager.claim_funds(payment.payment_preimage)
    world.settle()
    # The preimage counts at once, whatever the copies do.
    alice.one_event(ev.PaymentSent)
    alice.copies_late = False
    for _ in range(3):
        alice.complete_copies()
        world.settle()
    assert not alice.channel(bob).pending_htlcs
    bob.one_event(ev.PaymentClaimed)


def test_commitments_wait_for_a_late_copy_after_a_restart_too(world: World) -> None:
    alice, bob = start(world)
    alice.copies_late = True
    world.route_payment([alice, bob], 5_000_000, settle=False)
    world.settle()
    world.reload_node(alice)
    alice.sent.clear()
    world.connect(alice, bob)
    # What the copy may lack is offered to it again; until it is there, nothing leaves that needs it.
    assert len(alice.copies_due) == 1
    assert not any(isinstance(msg, msgs.CommitmentSigned) for _, msg in alice.sent)
    for _ in range(6):
        alice.complete_copies()
        world.settle()
    bob.one_event(ev.PaymentClaimable)


@pytest.mark.parametrize("kill", [False, True])
def test_a_cut_while_a_copy_is_late(world: World, kill: bool) -> None:
    alice, bob = start(world)
    bob.copies_late = True
    payment = world.route_payment([alice, bob], 5_000_000, settle=False)
    world.settle()
    if kill:
        world.reload_node(alice)
    else:
        world.disconnect(alice, bob)
    world.connect(alice, bob)
    for _ in range(8):
        bob.complete_copies()
        world.settle()
    bob.copies_late = False
    bob.complete_copies()
    world.settle()
    bob.one_event(ev.PaymentClaimable)
    world.claim([alice, bob], payment)


def test_opening_waits_for_a_late_copy(world: World) -> None:
    alice, bob = world.node("alice", config()), world.node("bob", config())
    world.connect(alice, bob)
    alice.copies_late = True
    alice.manager.create_channel(bob.node_id, 1_000_000, 0, 1)
    world.settle()
    tx = world.fund_channel(alice, bob)
    assert tx.txid not in world.mempool
    alice.copies_late = False
    alice.complete_copies()
    world.settle()
    assert tx.txid in world.mempool
    world.mine(6)
    for node in (alice, bob):
        node.expect_events(ev.ChannelPending, ev.ChannelReadyEvent)
    world.pay([alice, bob], 5_000_000)


@pytest.mark.parametrize("reload", [False, True])
def test_a_preimage_that_is_seen_on_the_chain_goes_upstream(world: World, reload: bool) -> None:
    alice, bob, carol = start(world, 3, anchors=False)
    payment = world.route_payment([alice, bob, carol], 20_000_000)
    channel_id = carol.channel(bob).channel_id
    world.disconnect(bob, carol)
    carol.manager.force_close_broadcasting_latest_txn(channel_id, bob.node_id, "test")
    world.mine(1)
    assert bob.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COMMITMENT_TX_CONFIRMED
    if reload:
        world.reload_node(bob)
        world.connect(alice, bob)
    carol.manager.claim_funds(payment.payment_preimage)
    world.settle()
    world.mine(2)
    assert alice.one_event(ev.PaymentSent).payment_preimage == payment.payment_preimage
    forwarded = bob.one_event(ev.PaymentForwarded)
    assert forwarded.claimed_on_chain
    assert not alice.channel(bob).pending_htlcs
    carol.expect_events(ev.ChannelClosed, ev.PaymentClaimed)


@pytest.mark.parametrize("reload", [False, True])
@pytest.mark.parametrize("amount_msat", [20_000_000, 100_000])
def test_a_time_out_on_the_chain_goes_upstream(world: World, reload: bool, amount_msat: int) -> None:
    """With an output, and as dust that has none."""
    alice, bob, carol = start(world, 3, anchors=False)
    world.route_payment([alice, bob, carol], amount_msat)
    channel_id = bob.channel(carol).channel_id
    world.disconnect(bob, carol)
    bob.manager.force_close_broadcasting_latest_txn(channel_id, carol.node_id, "test")
    world.mine(1)
    if reload:
        world.reload_node(bob)
        world.connect(alice, bob)
    failed = None
    for _ in range(110):
        world.mine(1)
        failed = failed or alice.one_event_or_none(ev.PaymentFailed)
    assert failed is not None
    assert failed.attempts[0].hop_index == 0
    assert alice.channel(bob).is_usable
    assert not alice.channel(bob).pending_htlcs
    for node in (bob, carol):
        node.expect_events(ev.ChannelClosed)


@pytest.mark.parametrize("reload", [False, True])
def test_a_payment_of_ours_on_a_closed_channel_ends_by_the_chain(world: World, reload: bool) -> None:
    alice, bob = start(world, 2, anchors=False)
    paid = world.route_payment([alice, bob], 20_000_000)
    lost = world.route_payment([alice, bob], 30_000_000)
    channel_id = alice.channel(bob).channel_id
    world.disconnect(alice, bob)
    alice.manager.force_close_broadcasting_latest_txn(channel_id, bob.node_id, "test")
    if reload:
        world.reload_node(alice)
    assert not [e for e in alice.take_events() if isinstance(e, ev.PaymentFailed)]
    world.mine(1)
    bob.manager.claim_funds(paid.payment_preimage)
    world.settle()
    world.mine(1)
    if reload:
        world.reload_node(alice)
    assert alice.one_event(ev.PaymentSent).payment_hash == paid.payment_hash
    failed = None
    for _ in range(110):
        world.mine(1)
        failed = failed or alice.one_event_or_none(ev.PaymentFailed)
    assert failed is not None
    assert failed.payment_hash == lost.payment_hash
    bob.expect_events(ev.ChannelClosed, ev.PaymentClaimed)


def test_an_htlc_that_nobody_resolves_closes_the_channel_in_time(world: World) -> None:
    alice, bob = start(world, 2, anchors=False)
    payment = world.route_payment([alice, bob], 20_000_000)
    world.disconnect(alice, bob)
    # Bob has claimed, and Alice will not hear of it: his monitor goes to the chain before the time-out.
    bob.manager.claim_funds(payment.payment_preimage)
    world.mine(75)
    closed = bob.one_event(ev.ChannelClosed)
    assert closed.reason.kind in (ClosureKind.HTLCS_TIMED_OUT, ClosureKind.COMMITMENT_TX_CONFIRMED)
    world.mine(3)
    assert alice.one_event(ev.PaymentSent).payment_hash == payment.payment_hash
    alice.expect_events(ev.ChannelClosed)
    bob.expect_events(ev.PaymentClaimed)


def test_an_unclaimed_payment_is_given_back_in_time(world: World) -> None:
    alice, bob = start(world)
    payment = world.route_payment([alice, bob], 20_000_000)
    world.mine(40)
    assert alice.one_event(ev.PaymentFailed).payment_hash == payment.payment_hash
    assert alice.channel(bob).is_usable
    bob.manager.claim_funds(payment.payment_preimage)
    world.settle()
