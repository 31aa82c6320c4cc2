"""Reserves, fees that stay payable, limits in number and value, dust: what a channel carries, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from tests.functional.joined import FINAL_CLTV_DELTA, Node, Payment, World, config
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.chan_utils import commit_tx_fee_sat
from wallet.ln.config import (
    LATENCY_GRACE_PERIOD_BLOCKS,
    ChannelConfig,
    ChannelHandshakeConfig,
    MaxDustExposure,
    UserConfig,
)
from wallet.ln.onion_failure import FailureCode

BOTH_TYPES = pytest.mark.parametrize("anchors", [False, True], ids=["static_remotekey", "anchors"])


def offer(world: World, nodes: list[Node], amount_msat: int) -> Payment:
    """Sends without waiting for anything; what cannot be offered fails at once."""
    return world.route_payment(nodes, amount_msat, settle=False)


def refused(payer: Node) -> str:
    failed = payer.one_event(ev.PaymentFailed)
    assert failed.attempts[0].hop_index is None
    return failed.attempts[0].message


@BOTH_TYPES
@pytest.mark.parametrize("payer", ["funder", "fundee"])
def test_whoever_pays_all_they_can_keeps_the_reserve(world: World, anchors: bool, payer: str) -> None:
    alice, bob = world.line("alice", "bob", settings=config(anchors=anchors))
    nodes = [alice, bob] if payer == "funder" else [bob, alice]
    one, other = nodes
    for _ in range(10):
        limit_msat = one.channel(other).next_outbound_htlc_limit_msat
        if not limit_msat:
            break
        world.pay(nodes, limit_msat)
    details = one.channel(other)
    reserve_sat = details.unspendable_punishment_reserve_sat
    assert reserve_sat == 10_000
    left_msat = details.balance_msat - reserve_sat * 1000
    assert left_msat >= 0
    if payer == "funder":
        assert details.channel_type is not None
        assert details.feerate_sat_per_kw is not None
        # One more HTLC could still be paid for, whoever offers it, at twice the fee rate.
        fee_sat = commit_tx_fee_sat(2 * details.feerate_sat_per_kw, 1, details.channel_type)
        assert left_msat >= fee_sat * 1000
    # And the way back is open.
    world.pay(nodes[::-1], 50_000_000)


@BOTH_TYPES
@pytest.mark.parametrize("seed", range(4))
def test_whatever_our_limit_allows_the_peer_accepts(world: World, anchors: bool, seed: int) -> None:
    """HTLCs of all sizes in all stages, and always one of exactly the limit: nobody's rule is broken."""
    dice = Random(seed)
    alice, bob = world.line("alice", "bob", value_sat=300_000, settings=config(anchors=anchors))
    payments: list[tuple[Node, Payment]] = []
    for _ in range(30):
        nodes = dice.choice([[alice, bob], [bob, alice]])
        details = nodes[0].channel(nodes[1])
        limit_msat = details.next_outbound_htlc_limit_msat
        least_msat = details.next_outbound_htlc_minimum_msat
        if limit_msat:
            amount_msat = dice.choice([limit_msat, least_msat, dice.randint(least_msat, limit_msat)])
            payments.append((nodes[1], offer(world, nodes, amount_msat)))
        if dice.random() < 0.4:
            for _ in range(dice.randrange(6)):
                world.step()
        if dice.random() < 0.3:
            world.settle()
        for payee in (alice, bob):
            for claimable in payee.events_of(ev.PaymentClaimable):
                if dice.random() < 0.3 and claimable.payment_preimage is not None:
                    payee.manager.claim_funds(claimable.payment_preimage)
    world.settle()
    for payee, payment in payments:
        payee.manager.claim_funds(payment.payment_preimage)
    world.settle()
    for node in (alice, bob):
        assert not node.channels(bob if node is alice else alice)[0].pending_htlcs
        assert not node.events_of(ev.ChannelClosed)
        node.take_events()


@BOTH_TYPES
def test_what_waits_for_a_revocation_counts(world: World, anchors: bool) -> None:
    """Bob is silent: HTLCs that cannot leave yet use the channel up as others do."""
    alice, bob = world.line("alice", "bob", settings=config(anchors=anchors))
    sent = [offer(world, [alice, bob], 150_000_000) for _ in range(3)]
    offer(world, [alice, bob], 150_000_000)
    assert "no more than" in refused(alice)
    world.settle()
    assert len(bob.events_of(ev.PaymentClaimable)) == len(sent)
    for payment in sent:
        bob.manager.claim_funds(payment.payment_preimage)
    world.settle()
    assert len(alice.events_of(ev.PaymentSent)) == len(bob.events_of(ev.PaymentClaimed)) == len(sent)


def test_the_number_of_htlcs_is_limited_by_each_side(world: World) -> None:
    alice, bob = world.line("alice", "bob", settings=config(max_htlcs=5))
    held = [world.route_payment([alice, bob], 1_000_000) for _ in range(5)]
    assert alice.channel(bob).next_outbound_htlc_limit_msat == 0
    offer(world, [alice, bob], 1_000_000)
    assert refused(alice)
    # The other way there is room, and again here once one has ended.
    world.pay([bob, alice], 1_000_000)
    world.claim([alice, bob], held.pop())
    held.append(world.route_payment([alice, bob], 1_000_000))
    for payment in held:
        world.claim([alice, bob], payment)


def test_the_value_in_flight_is_limited_by_the_receiver(world: World) -> None:
    limited = UserConfig(
        channel_handshake_config=ChannelHandshakeConfig(max_inbound_htlc_value_in_flight_percent=20)
    )
    alice, bob = world.node("alice", config()), world.node("bob", limited)
    world.open_channel(alice, bob, 1_000_000)
    first = world.route_payment([alice, bob], 150_000_000)
    assert alice.channel(bob).next_outbound_htlc_limit_msat == 50_000_000
    offer(world, [alice, bob], 50_000_001)
    assert refused(alice)
    second = world.route_payment([alice, bob], 50_000_000)
    for payment in (first, second):
        world.claim([alice, bob], payment)


def test_the_receivers_minimum_is_kept(world: World) -> None:
    limited = UserConfig(channel_handshake_config=ChannelHandshakeConfig(our_htlc_minimum_msat=5_000))
    alice, bob = world.node("alice", config()), world.node("bob", limited)
    world.open_channel(alice, bob, 1_000_000)
    offer(world, [alice, bob], 4_999)
    assert "no less than" in refused(alice)
    world.pay([alice, bob], 5_000)


# --- dust ---------------------------------------------------------------------


def dusty(limit_msat: int, *, anchors: bool = True) -> UserConfig:
    exposure = MaxDustExposure(fee_rate_multiplier=0, fixed_limit_msat=limit_msat)
    return config(anchors=anchors, channel=ChannelConfig(max_dust_htlc_exposure=exposure))


def test_no_more_dust_is_offered_than_we_would_lose(world: World) -> None:
    alice, bob = world.node("alice", dusty(1_000_000)), world.node("bob", dusty(10_000_000))
    world.open_channel(alice, bob, 1_000_000, 500_000_000)
    held = [world.route_payment([alice, bob], 300_000) for _ in range(3)]
    offer(world, [alice, bob], 300_000)
    assert refused(alice)
    # What is not dust passes as ever; and dust again, once some of it is through.
    world.pay([alice, bob], 1_000_000)
    world.claim([alice, bob], held[0])
    world.pay([alice, bob], 300_000)
    for payment in held[1:]:
        world.claim([alice, bob], payment)


@pytest.mark.parametrize("forwarded", [False, True])
def test_dust_that_is_too_much_for_the_receiver_comes_back(world: World, forwarded: bool) -> None:
    """BOLT 2: it is failed once it is committed, and its preimage is not shown."""
    alice, bob = world.node("alice", dusty(10_000_000)), world.node("bob", dusty(700_000))
    world.open_channel(alice, bob, 1_000_000, 500_000_000)
    nodes = [alice, bob]
    if forwarded:
        carol = world.node("carol", dusty(10_000_000))
        world.open_channel(bob, carol, 1_000_000, 500_000_000)
        nodes.append(carol)
    held = [world.route_payment([alice, bob], 300_000) for _ in range(2)]
    offer(world, nodes, 300_000)
    world.settle()
    failed = alice.one_event(ev.PaymentFailed)
    code = FailureCode.TEMPORARY_CHANNEL_FAILURE if forwarded else FailureCode.TEMPORARY_NODE_FAILURE
    assert failed.attempts[0].failure_code == code
    for payment in held:
        world.claim([alice, bob], payment)


def test_a_higher_fee_rate_that_would_make_too_much_dust_is_not_asked_for(world: World) -> None:
    """Without anchors the fee decides what is dust: HTLCs under way must not become it."""
    alice, bob = world.line("alice", "bob", settings=dusty(3_000_000, anchors=False))
    held = [world.route_payment([alice, bob], 3_000_000) for _ in range(4)]
    alice.fees.sat_per_kw = 20_000
    bob.fees.sat_per_kw = 20_000
    world.tick()
    assert alice.channel(bob).feerate_sat_per_kw == 253
    for payment in held:
        world.claim([alice, bob], payment)
    world.tick()
    assert alice.channel(bob).feerate_sat_per_kw == 20_000


# --- what had to wait ---------------------------------------------------------


def held_behind(world: World, alice: Node, bob: Node) -> tuple[Payment, Payment]:
    """Bob owes a revocation for the first, and so the second waits."""
    world.filter = lambda sender, _receiver, _msg: sender is not bob
    return offer(world, [alice, bob], 10_000_000), offer(world, [alice, bob], 20_000_000)


def test_an_htlc_that_waited_too_long_is_given_back(world: World) -> None:
    alice, bob = world.line("alice", "bob")
    first, second = held_behind(world, alice, bob)
    world.settle()
    expiry_height = world.height + 1 + FINAL_CLTV_DELTA
    world.mine_to(expiry_height - LATENCY_GRACE_PERIOD_BLOCKS - 1)
    assert not alice.events_of(ev.PaymentFailed)
    world.mine_to(expiry_height - LATENCY_GRACE_PERIOD_BLOCKS + 1)
    assert alice.one_event(ev.PaymentFailed).payment_hash == second.payment_hash
    # Bob is back, and finds the first too near to its end.
    world.filter = None
    world.disconnect(alice, bob)
    world.connect(alice, bob)
    assert alice.one_event(ev.PaymentFailed).payment_hash == first.payment_hash
    assert alice.channel(bob).is_usable


@pytest.mark.parametrize("kill", [False, True])
def test_an_htlc_that_waited_over_a_cut_goes_its_way(world: World, kill: bool) -> None:
    alice, bob = world.line("alice", "bob")
    payments = held_behind(world, alice, bob)
    world.settle()
    world.filter = None
    if kill:
        world.reload_node(alice)
    else:
        world.disconnect(alice, bob)
    world.connect(alice, bob)
    assert len(bob.events_of(ev.PaymentClaimable)) == 2
    for payment in payments:
        world.claim([alice, bob], payment)


def test_htlcs_that_wait_are_given_back_when_the_channel_closes(world: World) -> None:
    """The one that was offered is on the chain; the other one never was anywhere."""
    alice, bob = world.line("alice", "bob", settings=config(anchors=False, delay_blocks=20))
    first, second = held_behind(world, alice, bob)
    world.settle()
    world.force_close(alice, bob)
    world.filter = None
    assert alice.one_event(ev.PaymentFailed).payment_hash == second.payment_hash
    world.confirm_close(bob)
    world.drain(alice, bob)
    assert alice.one_event(ev.PaymentFailed).payment_hash == first.payment_hash


def test_the_fee_that_rises_meanwhile_gives_back_what_no_longer_fits(world: World) -> None:
    """A held HTLC fitted when it was taken; when its turn comes, the channel has no room for it."""
    alice, bob = world.line("alice", "bob", settings=config(anchors=False))
    world.filter = lambda sender, _receiver, _msg: sender is not bob
    offer(world, [alice, bob], 10_000_000)
    limit_msat = alice.channel(bob).next_outbound_htlc_limit_msat
    largest = offer(world, [alice, bob], limit_msat)
    world.settle()
    assert not alice.events_of(ev.PaymentFailed)
    # While it waits, the fee rate is raised: that comes first.
    for node in (alice, bob):
        node.fees.sat_per_kw = 5_000
    channel_id = alice.channel(bob).channel_id
    channel = alice.manager._channels[channel_id]
    core = replace(channel.core, held_feerate_sat_per_kw=5_000)
    alice.manager._channels[channel_id] = replace(channel, core=core)
    alice.manager._touched[channel_id] = None
    world.filter = None
    world.disconnect(alice, bob)
    world.connect(alice, bob)
    world.tick()
    ends = alice.events_of(ev.PaymentFailed)
    claimable = bob.events_of(ev.PaymentClaimable)
    assert len(ends) + len(claimable) == 2
    # The fee could not be raised without it, or it could not be offered beside it; nothing in between.
    assert (alice.channel(bob).feerate_sat_per_kw == 5_000) == bool(ends)
    assert all(event.payment_hash == largest.payment_hash for event in ends)
    for event in claimable:
        assert event.payment_preimage is not None
        bob.manager.claim_funds(event.payment_preimage)
    world.settle()
    assert len(alice.events_of(ev.PaymentSent)) == len(bob.events_of(ev.PaymentClaimed)) == len(claimable)


def unanswered(world: World, alice: Node, kind: type[msgs.Message]) -> Callable[[], bool]:
    """Whether Alice has sent a message of a kind since."""
    before = len(alice.sent)
    return lambda: any(isinstance(msg, kind) for _, msg in alice.sent[before:])


def test_ids_of_htlcs_go_on_after_one_that_was_refused(world: World) -> None:
    """BOLT 2: ids count up by one; an HTLC that never left takes none."""
    alice, bob = world.line("alice", "bob", settings=config(max_htlcs=2))
    sends = unanswered(world, alice, msgs.UpdateAddHtlc)
    held = [world.route_payment([alice, bob], 1_000_000) for _ in range(2)]
    assert sends()
    sends = unanswered(world, alice, msgs.UpdateAddHtlc)
    offer(world, [alice, bob], 1_000_000)
    refused(alice)
    assert not sends()
    for payment in held:
        world.claim([alice, bob], payment)
    world.pay([alice, bob], 1_000_000)
    ids = [msg.htlc_id for _, msg in alice.sent if isinstance(msg, msgs.UpdateAddHtlc)]
    assert ids == [0, 1, 2]
