"""Our commitment gives way to another close that is on its way, as long as nothing is lost by that."""

from __future__ import annotations

import pytest

from tests.unit.ln.monitor_world import START_HEIGHT, Chain, Channel, Side, htlc, make
from wallet.bitcoin.tx import Transaction
from wallet.ln.channelmonitor import PATIENCE_BLOCKS, PATIENCE_TICKS
from wallet.ln.config import CLTV_CLAIM_BUFFER_BLOCKS
from wallet.ln.features import ANCHORS_ZERO_FEE_HTLC_TX, STATIC_REMOTE_KEY, ChannelTypeFeatures
from wallet.ln.monitor_update import ForceClosed
from wallet.ln.watch import ChannelMonitorUpdateStatus

TYPES = pytest.mark.parametrize(
    "channel_type", [STATIC_REMOTE_KEY, ANCHORS_ZERO_FEE_HTLC_TX], ids=["static_remotekey", "anchors"]
)
EXPIRY_HEIGHT = START_HEIGHT + 100
THEIRS = htlc(False, 50_000, EXPIRY_HEIGHT, 1)


def start(channel_type: ChannelTypeFeatures) -> tuple[Chain, Side, Channel, Transaction]:
    chain, alice, bob, channel = make(channel_type)
    channel.commit(add=[THEIRS])
    return chain, alice, channel, channel.commitment_of(bob)


def ours_left(channel: Channel, alice: Side) -> bool:
    left = channel.commitment_of(alice) in alice.sent.take()
    alice.take_events()
    return left


def peer_closes(channel: Channel, alice: Side) -> None:
    step = ForceClosed(should_broadcast=True, by_counterparty=True)
    assert channel.update(alice, step) is ChannelMonitorUpdateStatus.COMPLETED


@TYPES
def test_theirs_in_the_mempool_keeps_ours_back_for_a_while(channel_type: ChannelTypeFeatures) -> None:
    chain, alice, channel, theirs = start(channel_type)
    alice.chain_monitor.transactions_seen([theirs])
    channel.force_close(alice)
    for _ in range(PATIENCE_BLOCKS - 1):
        chain.mine()
        alice.chain_monitor.rebroadcast_pending_claims()
        assert not ours_left(channel, alice)
    chain.mine()
    assert ours_left(channel, alice)


@TYPES
def test_ours_leaves_when_theirs_has_gone(channel_type: ChannelTypeFeatures) -> None:
    _, alice, channel, theirs = start(channel_type)
    alice.chain_monitor.transactions_seen([theirs])
    channel.force_close(alice)
    assert not ours_left(channel, alice)
    alice.chain_monitor.transactions_evicted([theirs.txid])
    assert ours_left(channel, alice)


@TYPES
def test_a_deadline_does_not_wait_for_theirs(channel_type: ChannelTypeFeatures) -> None:
    chain, alice, channel, theirs = start(channel_type)
    channel.knows(alice, THEIRS)
    chain.mine_to(EXPIRY_HEIGHT - CLTV_CLAIM_BUFFER_BLOCKS - 2)
    channel.force_close(alice)
    assert ours_left(channel, alice)
    # Theirs takes the place of ours.
    alice.chain_monitor.transactions_seen([theirs])
    alice.chain_monitor.rebroadcast_pending_claims()
    assert not ours_left(channel, alice)
    chain.mine()
    assert not ours_left(channel, alice)
    chain.mine()
    assert ours_left(channel, alice)


@TYPES
def test_ours_seen_keeps_nothing_back(channel_type: ChannelTypeFeatures) -> None:
    _, alice, channel, _ = start(channel_type)
    alice.chain_monitor.transactions_seen([channel.commitment_of(alice)])
    channel.force_close(alice)
    assert ours_left(channel, alice)


@TYPES
def test_a_revoked_commitment_in_the_mempool_is_not_outbid(channel_type: ChannelTypeFeatures) -> None:
    _, alice, channel, revoked = start(channel_type)
    channel.commit()
    alice.chain_monitor.transactions_seen([revoked])
    # Justice is on its way already.
    assert alice.sent.take()
    channel.force_close(alice)
    assert not ours_left(channel, alice)


@TYPES
@pytest.mark.parametrize("restart", [False, True])
def test_a_peer_that_says_it_closes_has_a_minute(channel_type: ChannelTypeFeatures, restart: bool) -> None:
    _, alice, channel, _ = start(channel_type)
    peer_closes(channel, alice)
    assert not ours_left(channel, alice)
    if restart:
        alice.restart()
    else:
        for _ in range(PATIENCE_TICKS - 1):
            alice.chain_monitor.rebroadcast_pending_claims()
            assert not ours_left(channel, alice)
    alice.chain_monitor.rebroadcast_pending_claims()
    assert ours_left(channel, alice)


@TYPES
def test_a_peer_that_says_it_closes_has_until_the_next_block(channel_type: ChannelTypeFeatures) -> None:
    chain, alice, channel, _ = start(channel_type)
    peer_closes(channel, alice)
    assert not ours_left(channel, alice)
    chain.mine()
    assert ours_left(channel, alice)


@TYPES
def test_a_word_of_the_peer_does_not_make_a_deadline_wait(channel_type: ChannelTypeFeatures) -> None:
    chain, alice, channel, _ = start(channel_type)
    chain.mine_to(EXPIRY_HEIGHT - CLTV_CLAIM_BUFFER_BLOCKS)
    channel.knows(alice, THEIRS)
    peer_closes(channel, alice)
    assert ours_left(channel, alice)


@TYPES
def test_a_second_word_takes_nothing_back(channel_type: ChannelTypeFeatures) -> None:
    _, alice, channel, _ = start(channel_type)
    channel.force_close(alice)
    assert ours_left(channel, alice)
    peer_closes(channel, alice)
    alice.chain_monitor.rebroadcast_pending_claims()
    assert ours_left(channel, alice)
