"""Closing with a real rust-lightning node: together, and by force, with everything taken home to the satoshi."""

from __future__ import annotations

import pytest

from tests.real.conftest import StartPair
from tests.real.force_close import FINAL_BLOCKS, OUR_DELAY_BLOCKS, ForceClose
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
    check_closed_together(now, we_open=we_open)


def check_closed_together(now: Pair, *, we_open: bool) -> None:
    """One transaction pays both, the funder less its fee; our part is a coin of ours."""
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


@TYPES
@CLOSERS
def test_force_close(pair: StartPair, anchors: bool, by_us: bool) -> None:
    now = pair(anchors=anchors)
    open_channel(now, anchors=anchors, we_open=True)
    close = ForceClose(now, anchors=anchors, by_us=by_us, we_open=True)
    close.publish()
    if by_us:
        now.mine(OUR_DELAY_BLOCKS)
    else:
        now.mine(FINAL_BLOCKS)
    close.finish()


@TYPES
@CLOSERS
@OPENERS
def test_force_close_with_htlcs_both_ways(pair: StartPair, anchors: bool, by_us: bool, we_open: bool) -> None:
    """Four held payments: one each way is claimed by its preimage, the others come back at their expiry."""
    now = pair(anchors=anchors)
    open_channel(now, anchors=anchors, we_open=we_open)
    taken, returned = now.we_pay_held(50_000_000), now.we_pay_held(60_000_000)
    got = now.they_pay_held(70_000_000)
    now.mine(1)  # LDK issue 3859: outbound HTLCs of theirs should not expire together
    lapsed = now.they_pay_held(80_000_000)
    dust = now.we_pay_held(200_000)
    close = ForceClose(
        now, anchors=anchors, by_us=by_us, we_open=we_open, htlcs=[taken, returned, got, lapsed], dust=[dust]
    )
    close.publish()

    # Ours by its preimage, theirs by its preimage: learnt from the chain, our payment succeeds.
    now.us.call("settle_hold_invoice", preimage=got.preimage)
    close.wait_taken(got)
    now.they_claim(taken)
    close.wait_taken(taken)
    now.mine(1)
    paid = taken.end.result(timeout=30)
    assert paid["success"], paid
    assert got.end.result(timeout=30)["status"] == "sent"
    now.mine(FINAL_BLOCKS)
    assert not dust.end.result(timeout=30)["success"]

    # Ours comes back at its expiry, theirs at its own, a day later.
    close.mine_to_expiry(returned)
    close.wait_taken(returned)
    now.mine(FINAL_BLOCKS)
    failed = returned.end.result(timeout=30)
    assert not failed["success"], failed
    assert failed["reason"]
    close.mine_to_expiry(lapsed)
    close.wait_taken(lapsed)
    now.mine(OUR_DELAY_BLOCKS)
    close.finish(came_home=[returned, got])
    assert now.held_status(got.payment_hash) == "settled"


@CLOSERS
def test_cooperative_close_waits_for_payments(pair: StartPair, by_us: bool) -> None:
    """Payments under way both ways, a cut, a kill: they end, nothing new begins, and then the channel closes."""
    now = pair()
    open_channel(now, anchors=True, we_open=True)
    ours, theirs = now.we_pay_held(50_000_000), now.they_pay_held(70_000_000)
    if by_us:
        now.us.call("close_channel", channel_id=now.channel_id)
    else:
        now.them.call("close", channel_id=now.channel_id, wait=False)
    now.us.wait_channel(now.channel_id, state="SHUTDOWN")
    assert not now.us.call("lnpay", invoice=now.their_invoice(1_000))["success"]
    now.us.kill()
    now.us.start()
    now.them.call("wait_peer", pubkey=now.us.node_id)
    now.us.call("settle_hold_invoice", preimage=theirs.preimage)
    assert theirs.end.result(timeout=30)["status"] == "sent"
    now.hang_up()
    now.them.call("fail", payment_hash=ours.payment_hash)
    now.us.call("add_peer", connection_string=now.them.uri)
    now.ours_msat += theirs.amount_msat
    check_closed_together(now, we_open=True)
    history = {item["payment_hash"]: item["status"] for item in now.us.call("history")}
    assert (history[ours.payment_hash], history[theirs.payment_hash]) == ("failed", "done")


@CLOSERS
def test_fees_that_are_far_apart(pair: StartPair, by_us: bool) -> None:
    """Our idea of a fair fee and theirs differ twentyfold: they meet within both ranges, or the funder's is taken."""
    now = pair()
    open_channel(now, anchors=True, we_open=True)
    now.us.call("test_fees", target="NON_ANCHOR_CHANNEL_FEE", sat_per_kw=5_000)
    now.them.call("set", fees={"NonAnchorChannelFee": 253, "ChannelCloseMinimum": 253})
    if by_us:
        now.us.call("close_channel", channel_id=now.channel_id)
    else:
        now.them.call("close", channel_id=now.channel_id)
    check_closed_together(now, we_open=True)


@CLOSERS
def test_a_word_makes_both_publish(pair: StartPair, by_us: bool) -> None:
    """One side force-closes while we are connected and says so. Theirs is seen in the mempool: ours stays back, and so
    nothing of ours waits for a delay. When it is us who say so, they publish as well, and one of the two confirms."""
    now = pair()
    open_channel(now, anchors=True, we_open=False)
    close = ForceClose(now, anchors=True, by_us=False, we_open=False)
    if by_us:
        now.us.call("close_channel", channel_id=now.channel_id, force=True)
        now.them.wait_event("ChannelClosed", channel_id=now.channel_id)
    else:
        now.them.call("close", channel_id=now.channel_id, force=True)
    now.us.wait("has closed", lambda: now.channel()["state"] in ("CLOSING", "CLOSED"))
    now.us.wait("has seen a close", lambda: now.channel()["closing_txid"])
    if not by_us:
        # Were it not for theirs, ours would leave at one of these ticks.
        for _ in range(3):
            now.us.call("test_rebroadcast")
    now.mine(1)
    close.txid = now.wait_closing_tx()
    now.mine(OUR_DELAY_BLOCKS if by_us else FINAL_BLOCKS)
    close.finish()


@CLOSERS
def test_force_close_with_thirty_htlcs(pair: StartPair, by_us: bool) -> None:
    """Fifteen each way, of which some are claimed and some expire; each satoshi of ours comes home."""
    now = pair(max_accepted_htlcs=50)
    now.we_open(10_000_000, push_sat=5_000_000)
    ours = [now.we_pay_held(20_000_000 + 1_000_000 * n) for n in range(15)]
    theirs = [now.they_pay_held(50_000_000 + 1_000_000 * n) for n in range(15)]
    now.ours_msat = now.channel()["local_balance_msat"] + sum(held.amount_msat for held in ours)
    close = ForceClose(now, anchors=True, by_us=by_us, we_open=True, htlcs=[*ours, *theirs])
    close.publish()
    for held in theirs[:8]:
        now.us.call("settle_hold_invoice", preimage=held.preimage)
    for held in ours[:7]:
        now.they_claim(held)
    # What became known in quick succession is claimed by one transaction of one coin, where that costs a coin: the
    # tick that would come within half a minute joins it. Before any block, all that is ours is on its way.
    now.us.call("test_rebroadcast")
    for held in theirs[:8]:
        close.wait_taken(held)
    assert not by_us or len({close.wait_taken(held) for held in theirs[:8]}) == 1
    if by_us:
        for held in ours[:7]:
            close.wait_taken(held)
    # On their own commitment each claim of theirs wants a coin of its own.
    while untaken := [held for held in ours[:7] if not close.is_taken(held)]:
        now.mine(1)
        now.them.call("rebroadcast")
        now.node.wait_until("has one more", lambda: any(map(close.is_taken, untaken)))
    now.mine(FINAL_BLOCKS)
    assert all(held.end.result(timeout=30)["success"] for held in ours[:7])
    assert all(held.end.result(timeout=30)["status"] == "sent" for held in theirs[:8])
    close.mine_to_expiry(ours[-1])
    for held in ours[7:]:
        close.wait_taken(held)
    now.mine(FINAL_BLOCKS)
    assert not any(held.end.result(timeout=30)["success"] for held in ours[7:])
    now.mine(OUR_DELAY_BLOCKS)
    # LDK issue 3859: of what comes back to them, some may stay where it is. It is not ours.
    close.finish(came_home=[*theirs[:8], *ours[7:]], closed=False)
