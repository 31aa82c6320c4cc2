"""Blocks that are none any more: fundings, closes, claims and time-outs leave the chain, and others come."""

from __future__ import annotations

import pytest

from tests.functional.joined import World, config
from tests.functional.test_balances import DELAY_BLOCKS, REVOKED, expiry_of, kinds, pair, settings
from wallet.bitcoin import curve
from wallet.bitcoin.tx import Transaction
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.channel_details import ChannelState
from wallet.ln.config import ANTI_REORG_DELAY_BLOCKS, UserConfig
from wallet.ln.events import ClosureKind

__all__ = ["settings"]


def claims_of(world: World, commitment: Transaction) -> list[Transaction]:
    """What waits to spend from a commitment."""
    return [
        tx for tx in world.mempool.values() if any(txin.prevout.txid == commitment.txid for txin in tx.inputs)
    ]


# --- fundings -----------------------------------------------------------------


def test_a_funding_that_moves_to_another_block_changes_its_name(world: World) -> None:
    alice, bob = world.line("alice", "bob")
    before = alice.channel(bob).short_channel_id
    # As deep as it is buried; it is mined again in the one block by which the new branch is longer.
    world.reorganise(6)
    assert alice.channel(bob).short_channel_id not in (None, before)
    assert alice.channel(bob).short_channel_id == bob.channel(alice).short_channel_id
    world.pay([alice, bob], 10_000_000)
    world.pay([bob, alice], 10_000_000)


def test_a_funding_that_is_gone_closes_the_channel_once_a_longer_branch_lacks_it(world: World) -> None:
    alice, bob = world.line("alice", "bob", settings=config(delay_blocks=DELAY_BLOCKS))
    world.disconnect_blocks(6, keep_transactions=False)
    for _ in range(7):
        world.mine(1, empty=True)
    assert len(alice.channels(bob)) == len(bob.channels(alice)) == 1
    world.mine(1, empty=True)
    for node in (alice, bob):
        reason = node.one_event(ev.ChannelClosed).reason
        assert reason.kind in (ClosureKind.PROCESSING_ERROR, ClosureKind.COUNTERPARTY_FORCE_CLOSED)
    # The funding is sent again with the close: should it come back, both get theirs.
    for node in (alice, bob):
        node.give_coins(4)
    world.mine(1)
    world.drain(alice, bob)
    assert bob.came_home_sat() == 500_000


def test_an_announcement_names_the_place_that_the_funding_moved_to(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(announced=True)
    alice, bob = world.line("alice", "bob", settings=settings)
    heard: list[msgs.ChannelAnnouncement] = []
    original = alice.manager.get_and_clear_pending_msg_events

    def listen() -> list[ev.MessageSendEvent]:
        events = original()
        for event in events:
            if isinstance(event, ev.BroadcastMessage) and isinstance(event.msg, msgs.ChannelAnnouncement):
                heard.append(event.msg)
        return events

    monkeypatch.setattr(alice.manager, "get_and_clear_pending_msg_events", listen)
    world.reorganise(6)
    world.mine(6)
    assert heard
    assert heard[-1].short_channel_id == alice.channel(bob).short_channel_id
    for announcement in heard:
        if announcement.short_channel_id == alice.channel(bob).short_channel_id:
            digest = announcement.digest()
            assert curve.verify_ecdsa_many(
                [
                    (announcement.node_signature_1, digest, announcement.node_id_1),
                    (announcement.node_signature_2, digest, announcement.node_id_2),
                    (announcement.bitcoin_signature_1, digest, announcement.bitcoin_key_1),
                    (announcement.bitcoin_signature_2, digest, announcement.bitcoin_key_2),
                ]
            )


def test_funding_and_close_in_one_block(world: World, settings: UserConfig) -> None:
    """Nobody knew that the funding was there when the close that spends it came with it."""
    alice, bob = world.nodes_named("alice", "bob", settings=settings)
    for node in (alice, bob):
        node.give_coins(4)
    channel_id = world.open_channel(alice, bob, 1_000_000, 300_000_000, confirm=False)
    funding = world.funding_of(alice, channel_id)
    world.force_close(alice, bob)
    world.mine(1)
    assert bob.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COMMITMENT_TX_CONFIRMED
    world.drain(alice, bob)
    assert bob.came_home_sat() == 300_000
    world.check_all_claimed(funding, alice, bob)


def test_a_channel_without_confirmations_outlives_the_loss_of_its_block(world: World) -> None:
    alice, bob = world.node("alice", config()), world.node("bob", config(manual=True))
    world.open_without_confirmations(alice, bob)
    for node in (alice, bob):
        node.expect_events(ev.ChannelPending, ev.ChannelReadyEvent)
    world.mine(3)
    world.pay([alice, bob], 10_000_000)
    world.disconnect_blocks(3)
    world.mine(5, empty=True)
    assert alice.channel(bob).short_channel_id is None
    world.pay([bob, alice], 10_000_000)
    world.mine(1)
    assert alice.channel(bob).confirmations == 1
    world.pay([alice, bob], 10_000_000)


# --- closes -------------------------------------------------------------------


@pytest.mark.parametrize("closer", ["alice", "bob"])
def test_a_close_that_leaves_its_block_is_sent_again(world: World, settings: UserConfig, closer: str) -> None:
    """Nobody but the two knew it: every mempool has forgotten it."""
    alice, bob = pair(world, settings)
    funding = world.funding_of(alice, alice.channel(bob).channel_id)
    by, other = (alice, bob) if closer == "alice" else (bob, alice)
    commitment = world.force_close(by, other)
    world.confirm_close(other)
    world.mine(2)
    world.disconnect_blocks(3, keep_transactions=False)
    world.mine(4, empty=True)
    assert commitment.txid in world.mempool
    world.drain(alice, bob)
    world.check_all_claimed(funding, alice, bob)


def test_another_commitment_takes_the_place_of_the_first(world: World, settings: UserConfig) -> None:
    """What was claimed from one commitment is claimed anew from the other, with payments both ways."""
    alice, bob = pair(world, settings)
    channel_id = alice.channel(bob).channel_id
    funding = world.funding_of(alice, channel_id)
    there = world.route_payment([alice, bob], 40_000_000)
    back = world.route_payment([bob, alice], 30_000_000)
    of_alice = world.commitment_of(alice, channel_id)
    first = world.force_close(bob, alice)
    world.confirm_close(alice)
    alice.manager.claim_funds(back.payment_preimage)
    bob.manager.claim_funds(there.payment_preimage)
    world.mine(2)
    assert bob.one_event(ev.PaymentSent).payment_hash == back.payment_hash
    world.disconnect_blocks(3, keep_transactions=False)
    # Alice's own was sent into the gap.
    world.evict(first.txid)
    world.broadcast(of_alice)
    world.mine(4)
    assert world.is_confirmed(of_alice.txid)
    assert not world.is_confirmed(first.txid)
    world.drain(alice, bob)
    # What was learnt stays learnt, and is not told twice.
    assert alice.one_event(ev.PaymentSent).payment_hash == there.payment_hash
    assert not bob.events_of(ev.PaymentSent)
    for node in (alice, bob):
        node.one_event(ev.PaymentClaimed)
    world.check_all_claimed(funding, alice, bob)


def test_a_revoked_commitment_that_leaves_its_block(world: World, settings: UserConfig) -> None:
    """Justice is not paid for a theft that did not happen; if it happens again, it is."""
    alice, bob = pair(world, settings)
    channel_id = alice.channel(bob).channel_id
    funding = world.funding_of(alice, channel_id)
    payment = world.route_payment([alice, bob], 40_000_000)
    revoked = world.commitment_of(bob, channel_id)
    world.claim([alice, bob], payment)
    world.disconnect(alice, bob)
    world.broadcast(revoked)
    world.confirm_close(alice, bob)
    assert REVOKED in [kind for kind, _ in kinds(alice)]
    world.disconnect_blocks(1, keep_transactions=False)
    world.mine(3, empty=True)
    assert REVOKED not in [kind for kind, _ in kinds(alice)]
    # Nobody sends it again, and an honest Bob, whom an old copy has brought into this, least of all.
    assert not world.mempool
    world.broadcast(revoked)
    world.mine(1)
    world.drain(alice)
    world.check_all_claimed(funding, alice)
    assert bob.came_home_sat() == 0


# --- claims -------------------------------------------------------------------


@pytest.mark.parametrize("closer", ["alice", "bob"])
def test_a_claim_by_preimage_that_leaves_its_block_settles_nothing_twice(
    world: World, settings: UserConfig, closer: str
) -> None:
    alice, bob = pair(world, settings)
    funding = world.funding_of(alice, alice.channel(bob).channel_id)
    payment = world.route_payment([alice, bob], 40_000_000)
    by, other = (alice, bob) if closer == "alice" else (bob, alice)
    commitment = world.force_close(by, other)
    world.confirm_close(other)
    bob.manager.claim_funds(payment.payment_preimage)
    world.settle()
    world.mine(2)
    assert alice.one_event(ev.PaymentSent).payment_hash == payment.payment_hash
    world.disconnect_blocks(2, keep_transactions=False)
    world.mine(3, empty=True)
    # Bob sends his claim again; Alice has nothing new to tell.
    bob.monitor.rebroadcast_pending_claims()
    world.settle()
    assert claims_of(world, commitment)
    world.drain(alice, bob)
    assert bob.one_event(ev.PaymentClaimed).amount_msat == 40_000_000
    assert not alice.events_of(ev.PaymentSent)
    world.check_all_claimed(funding, alice, bob)


@pytest.mark.parametrize("closer", ["alice", "bob"])
def test_a_time_out_counts_only_when_it_is_buried(world: World, settings: UserConfig, closer: str) -> None:
    """Five deep it leaves the chain, and the payee's claim takes its place: the payment was sent after all."""
    alice, bob = pair(world, settings)
    funding = world.funding_of(alice, alice.channel(bob).channel_id)
    payment = world.route_payment([alice, bob], 40_000_000)
    expiry_height = expiry_of(alice, payment)
    by, other = (alice, bob) if closer == "alice" else (bob, alice)
    # Bob has the preimage, and is too slow with it.
    commitment = world.force_close(by, other)
    world.confirm_close(other)
    world.mine_to(expiry_height - 40)
    bob.manager.claim_funds(payment.payment_preimage)
    world.settle()
    slow = claims_of(world, commitment)
    assert slow
    for tx in slow:
        world.evict(tx.txid)
    while world.height < expiry_height:
        world.mine(1, empty=True)
        for tx in claims_of(world, commitment):
            world.evict(tx.txid)
    alice.monitor.rebroadcast_pending_claims()
    world.settle()
    alice.hear_monitors()
    assert claims_of(world, commitment)
    time_outs = claims_of(world, commitment)
    world.mine(ANTI_REORG_DELAY_BLOCKS - 1)
    assert all(world.is_confirmed(tx.txid) for tx in time_outs)
    assert not alice.events_of(ev.PaymentFailed)
    world.disconnect_blocks(ANTI_REORG_DELAY_BLOCKS - 1, keep_transactions=False)
    for tx in slow:
        world.broadcast(tx)
    world.mine(ANTI_REORG_DELAY_BLOCKS)
    assert alice.one_event(ev.PaymentSent).payment_hash == payment.payment_hash
    bob.one_event(ev.PaymentClaimed)
    world.drain(alice, bob)
    assert not alice.events_of(ev.PaymentFailed)
    world.check_all_claimed(funding, alice, bob)


def test_a_forward_that_timed_out_is_failed_back_only_when_that_is_buried(
    world: World, settings: UserConfig
) -> None:
    alice, bob, carol = world.line("alice", "bob", "carol", settings=settings)
    bob.give_coins(4)
    payment = world.route_payment([alice, bob, carol], 25_000_000)
    expiry_height = expiry_of(bob, payment)
    world.force_close(bob, carol)
    world.confirm_close(carol)
    world.mine_to(expiry_height)
    world.mine(1)
    for _ in range(ANTI_REORG_DELAY_BLOCKS - 2):
        world.mine(1)
        assert alice.channel(bob).pending_htlcs
    # Not quite, and from the beginning.
    world.reorganise(ANTI_REORG_DELAY_BLOCKS - 1)
    assert alice.channel(bob).pending_htlcs
    world.mine(ANTI_REORG_DELAY_BLOCKS)
    assert alice.one_event(ev.PaymentFailed).payment_hash == payment.payment_hash
    assert not alice.channel(bob).pending_htlcs
    world.drain(bob, carol)


def test_a_co_operative_close_that_leaves_its_block_is_mined_again(world: World) -> None:
    alice, bob = world.line("alice", "bob")
    channel_id = alice.channel(bob).channel_id
    bob.manager.close_channel(channel_id, alice.node_id)
    world.settle()
    for node in (alice, bob):
        node.one_event(ev.ChannelClosed)
    (closing,) = world.mempool.values()
    world.mine(4)
    world.disconnect_blocks(4, keep_transactions=False)
    world.mine(5, empty=True)
    assert closing.txid in world.mempool
    world.drain(alice, bob)
    assert bob.came_home_sat() == 500_000


def test_before_channel_ready_a_lost_funding_is_waited_for(world: World) -> None:
    alice, bob = world.nodes_named("alice", "bob")
    world.open_channel(alice, bob, 1_000_000, 100_000_000, confirm=False)
    world.mine(2)
    world.disconnect_blocks(2)
    world.mine(6, empty=True)
    assert alice.channel(bob).state is ChannelState.AWAITING_CONFIRMATIONS
    world.mine(3)
    for node in (alice, bob):
        node.one_event(ev.ChannelReadyEvent)
    world.pay([alice, bob], 10_000_000)
