"""No preimage is forgotten before each monitor that needs it has it in every copy, in whatever order copies come.

Bob has further copies of his monitors, and they are late. A test says which of them get there, and when.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from tests.functional.joined import Node, Payment, World, config
from wallet.ln import events as ev
from wallet.ln import manager_messages, msgs
from wallet.ln.events import ClosureKind
from wallet.ln.types import ChannelId, PaymentHash
from wallet.ln.watch import ChannelMonitorUpdateStatus


def row(world: World, *, anchors: bool = True) -> list[Node]:
    """Alice, Bob and Carol, each with a channel to the next."""
    nodes = world.nodes_named("alice", "bob", "carol", settings=config(anchors=anchors))
    for one, other in pairwise(nodes):
        world.open_channel(one, other, 1_000_000, 500_000_000)
    return nodes


def arrive(world: World, node: Node, channel_id: ChannelId, *, newest_first: bool = False) -> None:
    """The copies of one channel get there, until the channel needs no more; those of the others stay away."""
    for _ in range(10):
        mine = [item for item in node.copies_due if item[0] == channel_id]
        if not mine:
            return
        node.copies_due = [item for item in node.copies_due if item[0] != channel_id]
        for item in mine[::-1] if newest_first else mine:
            node.monitor.channel_monitor_updated(*item)
        world.settle()
    raise AssertionError("the copies never come to an end")


def all_arrive(world: World, node: Node) -> None:
    for _ in range(20):
        if not node.copies_due:
            return
        node.complete_copies()
        world.settle()
    raise AssertionError("the copies never come to an end")


def knows(node: Node, channel_id: ChannelId, payment_hash: PaymentHash) -> bool:
    monitor = node.monitor.get_monitor(channel_id)
    assert monitor is not None
    return payment_hash in monitor.state.preimages


def restart(world: World, node: Node, peers: Sequence[Node]) -> None:
    world.reload_node(node)
    for peer in peers:
        world.connect(node, peer)


@pytest.mark.parametrize("newest_first", [False, True], ids=["in_order", "newest_first"])
@pytest.mark.parametrize("kill", [False, True], ids=["on", "killed"])
def test_what_was_fulfilled_downstream_is_not_forgotten_before_the_preimage_is_copied_upstream(
    world: World, newest_first: bool, kill: bool
) -> None:
    alice, bob, carol = row(world)
    up, down = bob.channel(alice).channel_id, bob.channel(carol).channel_id
    payment = world.route_payment([alice, bob, carol], 20_000_000)
    bob.copies_late = True
    carol.manager.claim_funds(payment.payment_preimage)
    world.settle()
    # The preimage itself waits for nobody.
    assert alice.one_event(ev.PaymentSent).payment_preimage == payment.payment_preimage
    arrive(world, bob, down, newest_first=newest_first)
    assert knows(bob, down, payment.payment_hash)
    assert bob.channel(carol).pending_htlcs
    if kill:
        # Carol says again what Bob has not taken in, and again it waits.
        restart(world, bob, [alice, carol])
        arrive(world, bob, down, newest_first=newest_first)
        assert knows(bob, down, payment.payment_hash)
    assert not world.filter
    arrive(world, bob, up, newest_first=newest_first)
    all_arrive(world, bob)
    assert not bob.channel(carol).pending_htlcs
    assert not alice.channel(bob).pending_htlcs
    assert not knows(bob, down, payment.payment_hash)
    carol.one_event(ev.PaymentClaimed)
    bob.copies_late = False
    world.pay([alice, bob, carol], 1_000_000)


def test_nothing_waits_where_the_copy_upstream_is_in_time(world: World) -> None:
    alice, bob, carol = row(world)
    up, down = bob.channel(alice).channel_id, bob.channel(carol).channel_id
    payment = world.route_payment([alice, bob, carol], 20_000_000)
    bob.copies_late = True
    carol.manager.claim_funds(payment.payment_preimage)
    world.settle()
    arrive(world, bob, up)
    arrive(world, bob, down)
    assert not bob.channel(carol).pending_htlcs
    all_arrive(world, bob)
    alice.one_event(ev.PaymentSent)
    carol.one_event(ev.PaymentClaimed)


def in_parts(world: World, payer: Node, payee: Node, amount_msat: int) -> Payment:
    payment = world.invoice(payee, amount_msat)
    each_msat = amount_msat // 2
    paths = [world.path([payer, payee], each_msat, index=index) for index in range(2)]
    world.send(payment, payer, world.route(paths, payee))
    world.settle()
    payee.one_event(ev.PaymentClaimable)
    return payment


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("kill", [False, True], ids=["on", "killed"])
def test_no_part_is_forgotten_before_all_monitors_know_the_preimage(
    world: World, first: int, kill: bool
) -> None:
    alice, bob = world.nodes_named("alice", "bob")
    for _ in range(2):
        world.open_channel(alice, bob, 1_000_000, 0)
    payment = in_parts(world, alice, bob, 40_000_000)
    bob.copies_late = True
    bob.manager.claim_funds(payment.payment_preimage)
    world.settle()
    one, other = [details.channel_id for details in bob.channels(alice)][:: 1 if first == 0 else -1]
    arrive(world, bob, one)
    parts = {details.channel_id: details.pending_htlcs for details in bob.channels(alice)}
    assert parts[one], "a part is over, and the monitor of the other may not know the preimage"
    assert knows(bob, one, payment.payment_hash)
    if kill:
        restart(world, bob, [alice])
        arrive(world, bob, one)
        assert {details.channel_id: details.pending_htlcs for details in bob.channels(alice)}[one]
        assert knows(bob, one, payment.payment_hash)
    arrive(world, bob, other)
    all_arrive(world, bob)
    assert not any(details.pending_htlcs for details in bob.channels(alice))
    assert alice.one_event(ev.PaymentSent).payment_preimage == payment.payment_preimage
    bob.one_event(ev.PaymentClaimed)


def test_a_later_preimage_passes_what_waits(world: World) -> None:
    alice, bob, carol = row(world)
    up, down = bob.channel(alice).channel_id, bob.channel(carol).channel_id
    first = world.route_payment([alice, bob, carol], 20_000_000)
    second = world.route_payment([alice, bob, carol], 30_000_000)
    bob.copies_late = True
    carol.manager.claim_funds(first.payment_preimage)
    world.settle()
    alice.one_event(ev.PaymentSent)
    arrive(world, bob, down)
    bob.sent.clear()
    carol.manager.claim_funds(second.payment_preimage)
    world.settle()
    # Behind the revocation that waits there is the second fulfilment: it is used, and only its message waits.
    assert knows(bob, up, second.payment_hash)
    all_arrive(world, bob)
    assert alice.one_event(ev.PaymentSent).payment_hash == second.payment_hash
    assert not bob.channel(carol).pending_htlcs
    assert len(carol.events_of(ev.PaymentClaimed)) == 2


@pytest.mark.parametrize(
    ("limit", "most", "noises"),
    [
        ("MAX_WAITING_MESSAGES", 5, 5),
        # Few, and long: what BOLT 4 has to say of a failure is not what a peer may send.
        ("MAX_WAITING_BYTES", 150_000, 3),
    ],
)
def test_a_peer_cannot_pile_up_messages_behind_one_that_waits(
    world: World, monkeypatch: pytest.MonkeyPatch, limit: str, most: int, noises: int
) -> None:
    monkeypatch.setattr(manager_messages, limit, most)
    alice, bob, carol = row(world)
    down = bob.channel(carol).channel_id
    payment = world.route_payment([alice, bob, carol], 20_000_000)
    bob.copies_late = True
    carol.manager.claim_funds(payment.payment_preimage)
    world.settle()
    arrive(world, bob, down)
    noise: msgs.Message = msgs.UpdateFee(channel_id=down, feerate_sat_per_kw=253)
    if limit == "MAX_WAITING_BYTES":
        noise = msgs.UpdateFailHtlc(channel_id=down, htlc_id=7, reason=bytes(60_000))
    for _ in range(noises):
        bob.inbox.append((carol.node_id, msgs.encode_message(noise)))
    world.settle()
    # Bob hung up: what waited is gone, and comes again in good order.
    assert frozenset((bob.node_id, carol.node_id)) not in world.links
    world.connect(bob, carol)
    all_arrive(world, bob)
    assert not bob.channel(carol).pending_htlcs
    alice.one_event(ev.PaymentSent)
    carol.one_event(ev.PaymentClaimed)


def test_a_peer_that_waits_is_not_hung_up_on(world: World) -> None:
    """rust-lightning's #3721: who is kept waiting by us owes us nothing."""
    alice, bob, carol = row(world)
    down = bob.channel(carol).channel_id
    payment = world.route_payment([alice, bob, carol], 20_000_000)
    bob.copies_late = True
    carol.manager.claim_funds(payment.payment_preimage)
    world.settle()
    arrive(world, bob, down)
    for _ in range(5):
        bob.manager.timer_tick_occurred(world.now)
        world.settle()
    assert frozenset((bob.node_id, carol.node_id)) in world.links
    all_arrive(world, bob)
    alice.one_event(ev.PaymentSent)
    carol.one_event(ev.PaymentClaimed)


@pytest.mark.parametrize("kill", [False, True], ids=["on", "killed"])
def test_the_monitor_of_a_closed_channel_counts_too(world: World, kill: bool) -> None:
    alice, bob, carol = row(world, anchors=False)
    up, down = bob.channel(alice).channel_id, bob.channel(carol).channel_id
    payment = world.route_payment([alice, bob, carol], 20_000_000)
    world.disconnect(alice, bob)
    bob.manager.force_close_broadcasting_latest_txn(up, alice.node_id, "test")
    assert bob.one_event(ev.ChannelClosed).reason.kind is ClosureKind.HOLDER_FORCE_CLOSED
    bob.copies_late = True
    carol.manager.claim_funds(payment.payment_preimage)
    world.settle()
    arrive(world, bob, down)
    assert bob.channel(carol).pending_htlcs
    if kill:
        restart(world, bob, [carol])
        arrive(world, bob, down)
        assert bob.channel(carol).pending_htlcs
    assert knows(bob, down, payment.payment_hash)
    all_arrive(world, bob)
    assert not bob.channel(carol).pending_htlcs
    bob.copies_late = False
    for _ in range(3):
        world.mine(1)
    assert alice.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COMMITMENT_TX_CONFIRMED
    assert alice.one_event(ev.PaymentSent).payment_preimage == payment.payment_preimage
    carol.one_event(ev.PaymentClaimed)
    world.mine(1010)


def test_a_copy_that_cannot_be_made_holds_its_channel_until_a_restart(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, carol = row(world)
    monkeypatch.setattr(bob.monitor, "_further_copy", lambda *_args: ChannelMonitorUpdateStatus.UNRECOVERABLE)
    bob.sent.clear()
    payment = world.route_payment([alice, bob, carol], 20_000_000, settle=False)
    world.settle()
    assert not any(isinstance(msg, msgs.CommitmentSigned | msgs.RevokeAndAck) for _, msg in bob.sent)
    # It is said, once for each update, and no channel is closed for it.
    assert bob.logger.errors
    assert all("has no copy" in error for error in bob.logger.errors)
    assert len(bob.manager.list_channels()) == 2
    bob.logger.errors.clear()
    restart(world, bob, [carol, alice])
    carol.one_event(ev.PaymentClaimable)
    world.claim([alice, bob, carol], payment)
    assert not bob.channel(carol).pending_htlcs


def test_payments_both_ways_wait_for_one_another_and_end(world: World) -> None:
    """Each channel has a preimage that the other one must not forget: nobody waits for ever."""
    alice, bob, carol = row(world)
    there = [world.route_payment([alice, bob, carol], 10_000_000 + place) for place in range(3)]
    back = [world.route_payment([carol, bob, alice], 20_000_000 + place) for place in range(3)]
    bob.copies_late = True
    for payment in there:
        carol.manager.claim_funds(payment.payment_preimage)
    for payment in back:
        alice.manager.claim_funds(payment.payment_preimage)
    world.settle()
    for place in range(40):
        if not bob.copies_due:
            break
        channel_id = bob.copies_due[-(place % 2)][0]
        mine = [item for item in bob.copies_due if item[0] == channel_id]
        bob.copies_due = [item for item in bob.copies_due if item[0] != channel_id]
        for item in mine:
            bob.monitor.channel_monitor_updated(*item)
        world.settle()
    assert not bob.copies_due
    for node, payments in ((alice, there), (carol, back)):
        hashes = {event.payment_hash for event in node.events_of(ev.PaymentSent)}
        assert hashes == {payment.payment_hash for payment in payments}
        assert not node.channel(bob).pending_htlcs
        node.events_of(ev.PaymentClaimed)
