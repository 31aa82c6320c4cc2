"""Closed channels, of both types: what each amount waits for, how each payment ends, and that everything comes home."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.functional.joined import Node, Payment, World, config
from wallet.bitcoin.tx import Transaction
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.config import ANTI_REORG_DELAY_BLOCKS, LATENCY_GRACE_PERIOD_BLOCKS, UserConfig
from wallet.ln.events import BalanceKind, ClosureKind

DELAY_BLOCKS = 20

ON_CLOSE = BalanceKind.CLAIMABLE_ON_CHANNEL_CLOSE
AWAITING = BalanceKind.CLAIMABLE_AWAITING_CONFIRMATIONS
CONTENTIOUS = BalanceKind.CONTENTIOUS_CLAIMABLE
MAYBE_TIMEOUT = BalanceKind.MAYBE_TIMEOUT_CLAIMABLE_HTLC
MAYBE_PREIMAGE = BalanceKind.MAYBE_PREIMAGE_CLAIMABLE_HTLC
REVOKED = BalanceKind.COUNTERPARTY_REVOKED_OUTPUT_CLAIMABLE


@pytest.fixture(params=[False, True], ids=["static_remotekey", "anchors"])
def settings(request: pytest.FixtureRequest) -> UserConfig:
    return config(anchors=request.param, delay_blocks=DELAY_BLOCKS)


def pair(world: World, settings: UserConfig) -> tuple[Node, Node]:
    """Alice opened the channel and pays its fees; both have coins for those of a close."""
    alice, bob = world.line("alice", "bob", settings=settings)
    for node in (alice, bob):
        node.give_coins(6)
    return alice, bob


def kinds(node: Node) -> list[tuple[BalanceKind, int]]:
    return [(kind, amount_sat) for kind, amount_sat, _ in node.balances()]


def output_sat(tx: Transaction, nearest_sat: int) -> int:
    """The output that is nearest to an amount: the balance, less the fee."""
    return min((output.value_sat for output in tx.outputs), key=lambda value: abs(value - nearest_sat))


def expiry_of(node: Node, payment: Payment) -> int:
    """Of a payment that the node has offered, in its channel's monitor."""
    for channel_id in node.monitor.list_monitors():
        monitor = node.monitor.get_monitor(channel_id)
        assert monitor is not None
        for item in monitor.state.holder.htlcs:
            if item.htlc.offered and item.htlc.payment_hash == payment.payment_hash:
                return item.htlc.cltv_expiry_height
    raise AssertionError("no channel has this payment")


def test_an_open_channel_says_what_a_close_would_bring(world: World, settings: UserConfig) -> None:
    alice, bob = pair(world, settings)
    there = world.route_payment([alice, bob], 40_000_000)
    height = expiry_of(alice, there)
    commitment = world.commitment_of(alice, alice.channel(bob).channel_id)
    own_sat = output_sat(commitment, 460_000)
    assert alice.balances() == [(ON_CLOSE, own_sat, None), (MAYBE_TIMEOUT, 40_000, height)]
    assert bob.balances() == [(ON_CLOSE, 500_000, None), (MAYBE_PREIMAGE, 40_000, height)]
    world.claim([alice, bob], there)
    assert kinds(bob) == [(ON_CLOSE, 540_000)]
    assert [kind for kind, _ in kinds(alice)] == [ON_CLOSE]


@pytest.mark.parametrize("closer", ["alice", "bob"])
def test_a_close_with_payments_both_ways(world: World, settings: UserConfig, closer: str) -> None:
    """One payment each way is claimed on the chain, and one each way runs out."""
    alice, bob = pair(world, settings)
    funding = world.funding_of(alice, alice.channel(bob).channel_id)
    there, lost_there = (world.route_payment([alice, bob], amount) for amount in (40_000_000, 41_000_000))
    back, lost_back = (world.route_payment([bob, alice], amount) for amount in (30_000_000, 31_000_000))
    by, other = (alice, bob) if closer == "alice" else (bob, alice)
    commitment = world.force_close(by, other)
    world.confirm_close(other)
    confirmed_height = world.height
    alice_sat, bob_sat = output_sat(commitment, 419_000), output_sat(commitment, 439_000)
    buried_height = confirmed_height + ANTI_REORG_DELAY_BLOCKS - 1
    delayed_height = max(buried_height, confirmed_height + DELAY_BLOCKS - 1)
    wait_height = delayed_height if by is alice else buried_height
    assert alice.balances() == sorted(
        [
            (AWAITING, alice_sat, wait_height),
            (MAYBE_PREIMAGE, 30_000, expiry_of(bob, back)),
            (MAYBE_PREIMAGE, 31_000, expiry_of(bob, lost_back)),
            (MAYBE_TIMEOUT, 40_000, expiry_of(alice, there)),
            (MAYBE_TIMEOUT, 41_000, expiry_of(alice, lost_there)),
        ],
        key=lambda item: item[0].name,
    )
    assert (AWAITING, bob_sat) in kinds(bob)

    # The preimages come late, and win the race that the balances tell of.
    alice.manager.claim_funds(back.payment_preimage)
    bob.manager.claim_funds(there.payment_preimage)
    world.settle()
    assert (CONTENTIOUS, 30_000) in kinds(alice)
    assert (CONTENTIOUS, 40_000) in kinds(bob)
    world.mine(2)
    assert alice.one_event(ev.PaymentSent).payment_hash == there.payment_hash
    assert bob.one_event(ev.PaymentSent).payment_hash == back.payment_hash
    assert alice.one_event(ev.PaymentClaimed).amount_msat == 30_000_000
    assert bob.one_event(ev.PaymentClaimed).amount_msat == 40_000_000

    # What was not claimed comes back, but not before its time-out is buried.
    last_height = max(expiry_of(alice, lost_there), expiry_of(bob, lost_back))
    world.mine_to(last_height)
    assert not alice.events_of(ev.PaymentFailed)
    assert not bob.events_of(ev.PaymentFailed)
    world.drain(alice, bob)
    assert alice.one_event(ev.PaymentFailed).payment_hash == lost_there.payment_hash
    assert bob.one_event(ev.PaymentFailed).payment_hash == lost_back.payment_hash
    world.check_all_claimed(funding, alice, bob)
    if settings.channel_handshake_config.negotiate_anchors_zero_fee_htlc_tx:
        # HTLC transactions without a fee: whoever closed gets every satoshi of theirs.
        whole_sat = {"alice": alice_sat + 30_000 + 41_000, "bob": bob_sat + 40_000 + 31_000}[closer]
        assert by.came_home_sat() == whole_sat


def test_dust_that_closes_with_the_channel_is_told_once_that_is_buried(
    world: World, settings: UserConfig
) -> None:
    alice, bob = pair(world, settings)
    dust = world.route_payment([alice, bob], 100_000)
    world.force_close(alice, bob)
    world.confirm_close(bob)
    for _ in range(ANTI_REORG_DELAY_BLOCKS - 2):
        world.mine(1)
    assert not alice.events_of(ev.PaymentFailed)
    world.mine(1)
    assert alice.one_event(ev.PaymentFailed).payment_hash == dust.payment_hash
    world.drain(alice, bob)


@pytest.mark.parametrize("reload", [False, True])
def test_a_cheater_loses_all_of_the_channel(world: World, settings: UserConfig, reload: bool) -> None:
    """A revoked commitment with payments both ways; second stages included, if the cheater is quick."""
    alice, bob = pair(world, settings)
    channel_id = alice.channel(bob).channel_id
    funding = world.funding_of(alice, channel_id)
    there = world.route_payment([alice, bob], 40_000_000)
    back = world.route_payment([bob, alice], 30_000_000)
    revoked = world.commitment_of(bob, channel_id)
    world.claim([alice, bob], there)
    world.claim([bob, alice], back)
    world.pay([bob, alice], 100_000_000)
    world.disconnect(alice, bob)
    if reload:
        world.reload_node(alice)
    world.broadcast(revoked)
    world.mine(1)
    assert alice.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COMMITMENT_TX_CONFIRMED
    assert bob.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COMMITMENT_TX_CONFIRMED
    punished = [amount_sat for kind, amount_sat in kinds(alice) if kind is REVOKED]
    assert sorted(punished) == sorted([30_000, 40_000, output_sat(revoked, 470_000)])
    world.drain(alice)
    assert bob.came_home_sat() == 0
    told = {item.outpoint for event in alice.spendable for item in event.outputs}
    spent_sat = sum(
        world.fee_sat(tx)
        for tx in world.broadcasts
        if world.is_confirmed(tx.txid) and spends(tx, revoked) and tx.inputs[0].prevout not in told
    )
    anchors_sat = 330 * sum(output.value_sat == 330 for output in revoked.outputs)
    assert alice.came_home_sat() == 1_000_000 - world.fee_sat(revoked) - spent_sat - anchors_sat
    world.check_all_claimed(funding, alice)


def spends(tx: Transaction, parent: Transaction) -> bool:
    return any(txin.prevout.txid == parent.txid for txin in tx.inputs)


def test_a_forward_is_failed_back_when_the_next_peer_publishes_an_old_commitment(
    world: World, settings: UserConfig
) -> None:
    """The HTLC is not in what is on the chain, and never was: upstream gets it back once that is buried."""
    alice, bob, carol = world.line("alice", "bob", "carol", settings=settings)
    bob.give_coins(4)
    channel_id = bob.channel(carol).channel_id
    stale = world.commitment_of(carol, channel_id)
    payment = world.route_payment([alice, bob, carol], 25_000_000)
    world.disconnect(bob, carol)
    world.broadcast(stale)
    world.confirm_close(bob, carol)
    for _ in range(ANTI_REORG_DELAY_BLOCKS - 2):
        world.mine(1)
    assert alice.channel(bob).pending_htlcs
    world.mine(1)
    failed = alice.one_event(ev.PaymentFailed)
    assert failed.payment_hash == payment.payment_hash
    assert alice.channel(bob).is_usable
    assert not alice.channel(bob).pending_htlcs
    world.drain(bob)


def test_a_forward_whose_time_runs_out_is_closed_downstream_before_upstream(
    world: World, settings: UserConfig
) -> None:
    """The next peer is away for good: our channel with it closes in time to give back what we were handed."""
    alice, bob, carol = world.line("alice", "bob", "carol", settings=settings)
    for node in (bob, carol):
        node.give_coins(4)
    funding = world.funding_of(bob, bob.channel(carol).channel_id)
    payment = world.route_payment([alice, bob, carol], 25_000_000)
    expiry_height = expiry_of(bob, payment)
    world.disconnect(bob, carol)
    world.mine_to(expiry_height + LATENCY_GRACE_PERIOD_BLOCKS - 1)
    assert len(bob.channels(carol)) == 1
    world.mine(1)
    assert bob.one_event(ev.ChannelClosed).reason.kind is ClosureKind.HTLCS_TIMED_OUT
    world.drain(bob, carol)
    assert carol.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COMMITMENT_TX_CONFIRMED
    assert alice.one_event(ev.PaymentFailed).payment_hash == payment.payment_hash
    assert alice.channel(bob).is_usable
    world.check_all_claimed(funding, bob, carol)


def test_a_preimage_that_comes_with_the_peers_claim_is_taken_upstream_off_the_chain(
    world: World, settings: UserConfig
) -> None:
    """Carol closes and claims on the chain; Bob learns the preimage there, and Alice never sees the chain."""
    alice, bob, carol = world.line("alice", "bob", "carol", settings=settings)
    for node in (bob, carol):
        node.give_coins(4)
    funding = world.funding_of(bob, bob.channel(carol).channel_id)
    payment = world.route_payment([alice, bob, carol], 25_000_000)
    world.force_close(carol, bob)
    carol.manager.claim_funds(payment.payment_preimage)
    world.confirm_close(bob)
    world.mine(2)
    assert alice.one_event(ev.PaymentSent).payment_hash == payment.payment_hash
    assert carol.one_event(ev.PaymentClaimed).amount_msat == 25_000_000
    assert bob.one_event(ev.PaymentForwarded).claimed_on_chain
    world.drain(bob, carol)
    world.check_all_claimed(funding, bob, carol)
    assert bob.channel(alice).balance_msat == 500_000_000 + 25_000_000 + 1_000


def test_two_channels_that_close_at_once_claim_one_payment_through(
    world: World, settings: UserConfig
) -> None:
    """From chain to chain: the preimage on one commitment is what claims the other."""
    alice, bob, carol = world.line("alice", "bob", "carol", settings=settings)
    for node in (alice, bob, carol):
        node.give_coins(4)
    fundings = [world.funding_of(bob, channel.channel_id) for channel in bob.manager.list_channels()]
    payment = world.route_payment([alice, bob, carol], 25_000_000)
    world.force_close(alice, bob)
    world.force_close(bob, carol)
    world.confirm_close(bob, carol)
    carol.manager.claim_funds(payment.payment_preimage)
    world.settle()
    world.drain(alice, bob, carol)
    assert alice.one_event(ev.PaymentSent).payment_hash == payment.payment_hash
    carol.one_event(ev.PaymentClaimed)
    for funding in fundings:
        world.check_all_claimed(funding, alice, bob, carol)


def test_equal_hash_and_amount_twice_are_told_apart(world: World, settings: UserConfig) -> None:
    """Two HTLCs of one hash and one amount in one commitment; each comes to its own end."""
    alice, bob = pair(world, settings)
    funding = world.funding_of(alice, alice.channel(bob).channel_id)
    payment = world.invoice(bob, 40_000_000)
    path = world.path([alice, bob], 20_000_000)
    world.send(payment, alice, world.route([path, path], bob))
    world.settle()
    assert bob.one_event(ev.PaymentClaimable).amount_msat == 40_000_000
    world.force_close(bob, alice)
    bob.manager.claim_funds(payment.payment_preimage)
    world.confirm_close(alice)
    world.drain(alice, bob)
    assert bob.one_event(ev.PaymentClaimed).amount_msat == 40_000_000
    assert alice.one_event(ev.PaymentSent).amount_msat == 40_000_000
    assert not alice.manager.list_recent_payments() or not alice.channels(bob)
    world.check_all_claimed(funding, alice, bob)


def test_a_co_operative_close_waits_until_it_is_buried(world: World, settings: UserConfig) -> None:
    alice, bob = pair(world, settings)
    channel_id = alice.channel(bob).channel_id
    world.pay([alice, bob], 100_000_000)
    alice.manager.close_channel(channel_id, bob.node_id)
    world.settle()
    for node in (alice, bob):
        node.one_event(ev.ChannelClosed)
    (closing,) = world.mempool.values()
    world.mine(1)
    height = world.height + ANTI_REORG_DELAY_BLOCKS - 1
    assert alice.balances() == [(AWAITING, output_sat(closing, 399_000), height)]
    assert bob.balances() == [(AWAITING, 600_000, height)]
    world.drain(alice, bob)
    assert bob.came_home_sat() == 600_000


def test_a_close_that_both_sides_send_at_once(world: World, settings: UserConfig) -> None:
    """One of the two commitments confirms; whichever it is, both sides claim from it."""
    alice, bob = pair(world, settings)
    channel_id = alice.channel(bob).channel_id
    funding = world.funding_of(alice, channel_id)
    there = world.route_payment([alice, bob], 40_000_000)
    back = world.route_payment([bob, alice], 30_000_000)
    world.disconnect(alice, bob)
    for one, other in ((alice, bob), (bob, alice)):
        one.manager.force_close_broadcasting_latest_txn(channel_id, other.node_id, "test")
    world.settle()
    alice.manager.claim_funds(back.payment_preimage)
    world.drain(alice, bob)
    for node in (alice, bob):
        assert node.one_event(ev.ChannelClosed).reason.kind is ClosureKind.HOLDER_FORCE_CLOSED
    assert bob.one_event(ev.PaymentSent).payment_hash == back.payment_hash
    assert alice.one_event(ev.PaymentFailed).payment_hash == there.payment_hash
    alice.one_event(ev.PaymentClaimed)
    world.check_all_claimed(funding, alice, bob)


def test_an_error_from_the_peer_closes_and_nothing_is_lost(world: World, settings: UserConfig) -> None:
    alice, bob = pair(world, settings)
    channel_id = alice.channel(bob).channel_id
    funding = world.funding_of(alice, channel_id)
    payment = world.route_payment([alice, bob], 40_000_000)
    alice.inbox.append((bob.node_id, msgs.encode_message(msgs.Error(channel_id=channel_id, data=b"no"))))
    world.settle()
    bob.manager.claim_funds(payment.payment_preimage)
    world.drain(alice, bob)
    assert alice.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COUNTERPARTY_FORCE_CLOSED
    bob.one_event(ev.ChannelClosed)
    bob.one_event(ev.PaymentClaimed)
    assert alice.one_event(ev.PaymentSent).payment_hash == payment.payment_hash
    world.check_all_claimed(funding, alice, bob)


def test_claims_rise_with_the_fee_rates_until_they_confirm(world: World, settings: UserConfig) -> None:
    """Nothing of ours confirms, and fees rise tenfold: what is sent is always worth more to a miner."""
    alice, bob = pair(world, settings)
    for node in (alice, bob):
        node.give_coins(6)
    funding = world.funding_of(alice, alice.channel(bob).channel_id)
    payment = world.route_payment([alice, bob], 40_000_000)
    world.force_close(alice, bob)
    world.confirm_close(bob)
    bob.manager.claim_funds(payment.payment_preimage)
    world.settle()

    def claim_fee_sat() -> int:
        claims = [tx for tx in world.mempool.values() if any(txin.witness for txin in tx.inputs)]
        return sum(world.fee_sat(tx) for tx in claims)

    first_sat = claim_fee_sat()
    assert first_sat > 0
    for node in (alice, bob):
        node.fees.sat_per_kw = 2_530
    for _ in range(20):
        world.mine(1, empty=True)
    assert claim_fee_sat() > 2 * first_sat
    world.drain(alice, bob)
    assert alice.one_event(ev.PaymentSent).payment_hash == payment.payment_hash
    bob.one_event(ev.PaymentClaimed)
    world.check_all_claimed(funding, alice, bob)


def test_a_channel_that_is_settled_for_four_weeks_is_forgotten(world: World) -> None:
    settings = replace(config(anchors=False, delay_blocks=DELAY_BLOCKS))
    alice, bob = world.line("alice", "bob", settings=settings)
    channel_id = alice.channel(bob).channel_id
    world.force_close(alice, bob)
    world.confirm_close(bob)
    world.drain(alice, bob)
    world.mine(100)
    monitor = alice.monitor.get_monitor(channel_id)
    assert monitor is not None
    assert monitor.state.onchain.resolved_height is not None
    assert not monitor.is_archivable
    assert not alice.balances()
