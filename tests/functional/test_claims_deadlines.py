"""No HTLC is left past its deadline, even when each transaction takes as long as it may take."""

from __future__ import annotations

import pytest

from tests.functional.test_claims_mempool import Play
from tests.unit.ln.monitor_world import START_HEIGHT, htlc
from wallet.ln.config import (
    ANTI_REORG_DELAY_BLOCKS,
    CLTV_CLAIM_BUFFER_BLOCKS,
    LATENCY_GRACE_PERIOD_BLOCKS,
    MAX_BLOCKS_FOR_CONF,
    MIN_CLTV_EXPIRY_DELTA,
)
from wallet.ln.features import ANCHORS_ZERO_FEE_HTLC_TX, STATIC_REMOTE_KEY, ChannelTypeFeatures
from wallet.ln.package import PEERS_TURN_BLOCKS

TYPES = pytest.mark.parametrize(
    "channel_type", [STATIC_REMOTE_KEY, ANCHORS_ZERO_FEE_HTLC_TX], ids=["static_remotekey", "anchors"]
)
EXPIRY_HEIGHT = START_HEIGHT + 80
BOLT_2_MINIMUM_DELTA = 34


def slowly(play: Play) -> None:
    """What has left is mined by the last block in which we count on it."""
    for _ in range(MAX_BLOCKS_FOR_CONF - 1):
        play.block()
        play.tick()
    play.block(full=True)


def test_the_constants_fit_together() -> None:
    assert BOLT_2_MINIMUM_DELTA <= MIN_CLTV_EXPIRY_DELTA == 48
    # HTLCs of a commitment that took all its time can still share a transaction.
    assert PEERS_TURN_BLOCKS < MAX_BLOCKS_FOR_CONF <= CLTV_CLAIM_BUFFER_BLOCKS // 2


@TYPES
def test_what_we_offered_is_over_before_the_htlc_that_pays_for_it(channel_type: ChannelTypeFeatures) -> None:
    """The peer is away: as a forward's, its upstream HTLC ends 48 blocks later, and has to be failed before that."""
    item = htlc(True, 50_000, EXPIRY_HEIGHT, 1)
    play = Play(channel_type, [item])
    while play.chain.height < EXPIRY_HEIGHT + LATENCY_GRACE_PERIOD_BLOCKS:
        assert not play.mempool.entries
        play.block()
    play.act()
    assert play.mempool.entries
    slowly(play)
    slowly(play)
    told_height = play.chain.height + ANTI_REORG_DELAY_BLOCKS - 1
    while play.chain.height < told_height:
        assert item.source not in play.player.ends
        play.block(full=True)
    assert play.player.ends[item.source] is None
    assert play.chain.height < EXPIRY_HEIGHT + MIN_CLTV_EXPIRY_DELTA - LATENCY_GRACE_PERIOD_BLOCKS
    assert play.mempool.refusals == []


@TYPES
@pytest.mark.parametrize("count", [1, 3])
def test_what_was_offered_to_us_is_ours_before_it_can_be_taken_back(
    channel_type: ChannelTypeFeatures, count: int
) -> None:
    items = [htlc(False, 50_000 + number, EXPIRY_HEIGHT, number + 1) for number in range(count)]
    play = Play(channel_type, items)
    for item in items:
        play.channel.knows(play.alice, item)
    while play.chain.height < EXPIRY_HEIGHT - CLTV_CLAIM_BUFFER_BLOCKS:
        assert not play.mempool.entries
        play.block()
    play.act()
    assert play.mempool.entries
    slowly(play)
    slowly(play)
    # The peer's transactions have this height as their lock time: they come one block later.
    assert play.chain.height == EXPIRY_HEIGHT
    vouts = {
        place for place in play.chain.unspent if place.txid == play.channel.commitment_of(play.alice).txid
    }
    amounts_sat = {play.chain.unspent[place][0].value_sat for place in vouts}
    assert not amounts_sat & {item.amount_msat // 1000 for item in items}
    assert play.mempool.refusals == []
