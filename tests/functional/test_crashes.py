"""A cut wire or a killed process, at every message of a payment: nothing is lost, nothing is paid twice."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.functional.joined import Node, Payment, World, WorldMaker, config
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.events import ClosureKind


def start(world: World, count: int = 3) -> list[Node]:
    nodes = [world.node(name, config()) for name in ("alice", "bob", "carol")[:count]]
    for one, other in pairwise(nodes):
        world.open_channel(one, other, 1_000_000, 500_000_000)
    return nodes


def reconnect_all(world: World, nodes: list[Node]) -> None:
    for one, other in pairwise(nodes):
        if frozenset((one.node_id, other.node_id)) not in world.links:
            world.connect(one, other)
    world.settle()


def finish(world: World, nodes: list[Node], payment: Payment) -> None:
    """Claims wherever the payee may; then everything has to have come to its end."""
    payer, payee = nodes[0], nodes[-1]
    told: list[ev.Event] = []
    for _ in range(4):
        for event in payee.take_events():
            if isinstance(event, ev.PaymentClaimable) and event.payment_preimage is not None:
                payee.manager.claim_funds(event.payment_preimage)
        world.settle()
        told += payer.take_events()
    ends = [event for event in told if isinstance(event, ev.PaymentSent | ev.PaymentFailed)]
    assert len(ends) == 1, told
    for node in nodes:
        for details in node.manager.list_channels():
            assert details.is_usable
            assert details.pending_htlcs == (), f"{node}: {details.pending_htlcs}"
    sent = isinstance(ends[0], ev.PaymentSent)
    moved_msat = payment.amount_msat if sent else 0
    assert payee.channel(nodes[-2]).balance_msat == 500_000_000 + moved_msat


@pytest.mark.parametrize("victim", [0, 1, 2])
@pytest.mark.parametrize("kill", [False, True])
def test_cut_or_killed_after_every_message(make_world: WorldMaker, victim: int, kill: bool) -> None:
    for moment in range(60):
        world = make_world()
        nodes = start(world)
        payment = world.route_payment(nodes, 20_000_000, settle=False)
        claimed = False
        steps = 0
        while steps < moment:
            steps += 1
            worked = world.step()
            for event in nodes[-1].take_events():
                if isinstance(event, ev.PaymentClaimable):
                    nodes[-1].manager.claim_funds(payment.payment_preimage)
                    claimed = worked = True
            if not worked:
                break
        else:
            if kill:
                world.reload_node(nodes[victim])
            else:
                for peer in nodes:
                    if frozenset((nodes[victim].node_id, peer.node_id)) in world.links:
                        world.disconnect(nodes[victim], peer)
            reconnect_all(world, nodes)
            finish(world, nodes, payment)
            continue
        # The payment was through before this moment: so it is for all later ones.
        assert claimed
        finish(world, nodes, payment)
        return
    raise AssertionError("the payment never ended")


@pytest.mark.parametrize("kill", [False, True])
def test_many_payments_both_ways_with_cuts(world: World, kill: bool) -> None:
    alice, bob = start(world, 2)
    there = [world.route_payment([alice, bob], 1_000_000 + i, settle=False) for i in range(8)]
    back = [world.route_payment([bob, alice], 2_000_000 + i, settle=False) for i in range(8)]
    ends = {alice: 0, bob: 0}
    for moment in range(40):
        for _ in range(moment % 7):
            world.step()
        if kill:
            world.reload_node((alice, bob)[moment % 2])
        else:
            world.disconnect(alice, bob)
        world.connect(alice, bob, settle=False)
        for node in (alice, bob):
            for event in node.take_events():
                if isinstance(event, ev.PaymentClaimable) and event.payment_preimage is not None:
                    node.manager.claim_funds(event.payment_preimage)
                elif isinstance(event, ev.PaymentSent):
                    ends[node] += 1
    world.settle()
    for _ in range(3):
        for node in (alice, bob):
            for event in node.take_events():
                if isinstance(event, ev.PaymentClaimable) and event.payment_preimage is not None:
                    node.manager.claim_funds(event.payment_preimage)
                elif isinstance(event, ev.PaymentSent):
                    ends[node] += 1
        world.settle()
    assert ends == {alice: len(there), bob: len(back)}
    assert alice.channel(bob).pending_htlcs == ()
    moved_msat = sum(p.amount_msat for p in back) - sum(p.amount_msat for p in there)
    assert alice.channel(bob).balance_msat == 500_000_000 + moved_msat


def test_an_old_state_is_found_out_and_never_broadcast(world: World) -> None:
    alice, bob = start(world, 2)
    old = dict(bob.store.rows)
    world.pay([alice, bob], 20_000_000)
    world.pay([alice, bob], 10_000_000)
    bob.store.rows = old
    world.reload_node(bob)
    world.connect(alice, bob)
    assert bob.one_event(ev.ChannelClosed).reason.kind is ClosureKind.OUTDATED_STATE
    # Alice's newest commitment goes to the chain, and nothing of Bob's.
    assert alice.one_event(ev.ChannelClosed).reason.kind is ClosureKind.PROCESSING_ERROR
    (commitment,) = world.mempool.values()
    paid_sat = [output.value_sat for output in commitment.outputs]
    assert 530_000 in paid_sat
    world.mine(6)
    assert [item.output.value_sat for event in bob.spendable for item in event.outputs] == [530_000]


def test_a_peer_that_lost_state_is_closed_on(world: World) -> None:
    alice, bob = start(world, 2)
    world.pay([alice, bob], 20_000_000)
    world.disconnect(alice, bob)

    def forget(sender: Node, _receiver: Node, msg: msgs.Message) -> bool:
        if isinstance(msg, msgs.ChannelReestablish) and sender is bob:
            alice.inbox.append(
                (
                    bob.node_id,
                    msgs.encode_message(
                        msgs.ChannelReestablish(
                            channel_id=msg.channel_id,
                            next_commitment_number=1,
                            next_revocation_number=0,
                            your_last_per_commitment_secret=bytes(32),
                            my_current_per_commitment_point=msg.my_current_per_commitment_point,
                        )
                    ),
                )
            )
            return False
        return True

    world.filter = forget
    world.connect(alice, bob)
    assert alice.one_event(ev.ChannelClosed).reason.kind is ClosureKind.PROCESSING_ERROR
    bob.one_event(ev.ChannelClosed)
    assert len(world.mempool) == 1


@pytest.mark.parametrize("updates", [1, 4])
def test_a_monitor_that_lags_behind_its_channel_never_broadcasts(world: World, updates: int) -> None:
    """What it holds may be revoked. The peer is asked to close, and the balance comes back."""
    alice, bob = start(world, 2)
    (channel_id,) = alice.monitor.list_monitors()
    states: dict[int, dict[tuple[str, bytes], bytes]] = {}

    def settle() -> None:
        while world.step():
            monitor = alice.monitor.get_monitor(channel_id)
            assert monitor is not None
            states[monitor.latest_update_id] = {
                key: value for key, value in alice.store.rows.items() if key[0].startswith("monitor")
            }

    payment = world.route_payment([alice, bob], 20_000_000, settle=False)
    settle()
    bob.one_event(ev.PaymentClaimable)
    bob.manager.claim_funds(payment.payment_preimage)
    settle()
    bob.one_event(ev.PaymentClaimed)
    alice.one_event(ev.PaymentSent)
    world.disconnect(alice, bob)
    now = alice.manager._channels[channel_id].core.last_update_id
    kept = {key: value for key, value in alice.store.rows.items() if not key[0].startswith("monitor")}
    alice.store.rows = {**kept, **states[now - updates]}
    alice.reload()
    assert alice.one_event(ev.ChannelClosed).reason.kind is ClosureKind.PROCESSING_ERROR
    world.mine(100)
    assert not [tx for tx in world.broadcasts if tx.lock_time]
    assert len(alice.logger.errors) == 1
    alice.logger.errors.clear()
    world.connect(alice, bob)
    assert bob.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COUNTERPARTY_FORCE_CLOSED
    bob.monitor.rebroadcast_pending_claims()
    bob.monitor.rebroadcast_pending_claims()
    world.settle()
    world.mine(10)
    # Her half, less the payment, the fee of the commitment and both anchors.
    assert alice.came_home_sat() == 500_000 - 20_000 - 284 - 660


def test_a_channel_that_lags_behind_its_monitor_is_closed_by_the_monitor(world: World) -> None:
    alice, bob = start(world, 2)
    old = {key: value for key, value in alice.store.rows.items() if key[0].startswith("channel")}
    world.pay([alice, bob], 20_000_000)
    world.disconnect(alice, bob)
    kept = {key: value for key, value in alice.store.rows.items() if not key[0].startswith("channel")}
    alice.store.rows = {**kept, **old}
    alice.reload()
    assert alice.one_event(ev.ChannelClosed).reason.kind is ClosureKind.PROCESSING_ERROR
    (commitment,) = world.mempool.values()
    # The newest one: revoked ones would have cost everything.
    assert 520_000 in [output.value_sat for output in commitment.outputs]
    alice.logger.errors.clear()
    world.mine(3)
    assert not [
        tx for tx in world.broadcasts if tx.inputs[0].prevout.txid == commitment.txid and tx.lock_time
    ]
    bob.one_event(ev.ChannelClosed)
