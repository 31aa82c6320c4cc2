"""Closing with a real rust-lightning node: together, and by force, with everything taken home to the satoshi."""

from __future__ import annotations

import pytest

from tests.real.conftest import StartPair
from tests.real.lightning import Pair

TYPES = pytest.mark.parametrize("anchors", [True, False], ids=["anchors", "static_remotekey"])
CLOSERS = pytest.mark.parametrize("by_us", [True, False], ids=["by us", "by them"])
OPENERS = pytest.mark.parametrize("we_open", [True, False], ids=["we open", "they open"])


def open_channel(pair: Pair, *, anchors: bool, we_open: bool) -> None:
    """A channel with coins on both sides that are no whole satoshis."""
    if we_open:
        pair.we_open(1_000_000, push_sat=400_000, static_remotekey=not anchors)
    else:
        pair.they_open(1_000_000, push_sat=600_000)
    pair.we_pay(10_000_400)
    pair.they_pay(2_000_100)
    pair.check_books()


@TYPES
@CLOSERS
@OPENERS
def test_cooperative_close(pair: StartPair, anchors: bool, by_us: bool, we_open: bool) -> None:
    now = pair(anchors=anchors)
    open_channel(now, anchors=anchors, we_open=we_open)
    if by_us:
        now.us.call("close_channel", channel_id=now.channel_id)
    else:
        now.them.call("close", channel_id=now.channel_id)
    txid = now.wait_closing_tx()
    ours_sat, theirs_sat = now.ours_msat // 1000, (now.capacity_sat * 1000 - now.ours_msat) // 1000
    # Who opened pays the fee; the fractions of a satoshi go to the miner besides.
    fee_sat = now.fee_sat(txid) - (now.capacity_sat - ours_sat - theirs_sat)
    assert 0 < fee_sat < 5_000
    ours_sat -= fee_sat * we_open
    theirs_sat -= fee_sat * (not we_open)
    assert sorted(now.values_sat(txid)) == sorted([ours_sat, theirs_sat])
    now.mine(6)
    now.us.wait_channel(now.channel_id, state="CLOSED")
    now.onchain_sat += ours_sat
    now.us.wait("the coins", lambda: now.balance_sat() == now.onchain_sat)
    assert list(now.us.call("getbalance")) == ["confirmed"]
    now.them.wait_event("ChannelClosed", channel_id=now.channel_id)
