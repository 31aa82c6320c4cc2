"""Channels to and from a real rust-lightning node: opened by either side, paid through both ways, fees updated."""

from __future__ import annotations

import pytest

from tests.real.conftest import StartPair
from tests.real.lightning import Pair
from wallet.node.api import CommandError

AMOUNTS_MSAT = (1, 999, 1_000, 353_999, 354_000, 1_000_001, 10_000_000)


def both_ways(pair: Pair) -> None:
    """From one millisatoshi to all that fits, both ways."""
    for amount_msat in AMOUNTS_MSAT:
        pair.we_pay(amount_msat)
        pair.they_pay(amount_msat)
    # An invoice that leaves the amount to the payer.
    pair.we_pay(123_456, pair.their_invoice(None), named=False)
    pair.they_pay(654_321, pair.our_invoice(None), named=False)
    to_the_limit(pair)


def to_the_limit(pair: Pair) -> None:
    """All that either can send, and not a millisatoshi more."""
    pair.check_books()
    limit_msat = pair.channel()["can_send_msat"]
    with pytest.raises(AssertionError, match="success': False"):
        pair.we_pay(limit_msat + 1)
    pair.we_pay(limit_msat)
    pair.check_books()
    limit_msat = pair.them.wait_channel(pair.channel_id)["next_outbound_htlc_limit_msat"]
    assert limit_msat <= pair.channel()["can_receive_msat"]
    pair.they_pay(limit_msat)
    pair.check_books()


@pytest.mark.parametrize("anchors", [True, False], ids=["anchors", "static_remotekey"])
def test_we_open_and_pay_both_ways(pair: StartPair, anchors: bool) -> None:
    now = pair(anchors=anchors)
    now.we_open(1_000_000, push_sat=300_000, static_remotekey=not anchors)
    assert now.channel()["channel_type"] == ("anchors_zero_fee_htlc_tx" if anchors else "static_remotekey")
    both_ways(now)


@pytest.mark.parametrize("anchors", [True, False], ids=["anchors", "static_remotekey"])
def test_they_open_and_both_pay(pair: StartPair, anchors: bool) -> None:
    now = pair(anchors=anchors)
    now.they_open(1_000_000, push_sat=300_000)
    assert now.channel()["channel_type"] == ("anchors_zero_fee_htlc_tx" if anchors else "static_remotekey")
    both_ways(now)


def test_nothing_pushed_pays_from_the_first_sat(pair: StartPair) -> None:
    """A side that starts with nothing receives one millisatoshi, and can send only beyond its reserve."""
    now = pair()
    now.they_open(500_000)
    now.they_pay(1)
    with pytest.raises(AssertionError, match="success': False"):
        now.we_pay(1)
    now.they_pay(20_000_000)
    to_the_limit(now)


def test_thirty_at_once_each_way(pair: StartPair) -> None:
    now = pair()
    now.we_open(10_000_000, push_sat=5_000_000)
    now.at_once(ours_msat=[100_000 + n for n in range(30)])
    now.check_books()
    now.at_once(theirs_msat=[200_000 + n for n in range(30)])
    now.check_books()
    # Some too small for outputs of their own, some larger.
    now.at_once(
        ours_msat=[1_000 + 100_003 * n for n in range(30)],
        theirs_msat=[1_000 + 200_003 * n for n in range(30)],
    )
    now.check_books()


def test_our_update_fee(pair: StartPair) -> None:
    now = pair()
    now.we_open(1_000_000, push_sat=300_000)
    for rate in (1_500, 5_000, 600):
        now.us.call("test_fees", target="ANCHOR_CHANNEL_FEE", sat_per_kw=rate)
        now.us.call("test_tick")
        now.them.wait_channel(now.channel_id, feerate_per_kw=rate)
        now.us.wait_channel(now.channel_id, feerate_sat_per_kw=rate)
        now.we_pay(10_000_000)
        now.they_pay(10_000_000)
        now.check_books()
    # While HTLCs are under way.
    now.us.call("test_fees", target="ANCHOR_CHANNEL_FEE", sat_per_kw=2_000)
    now.at_once(
        ours_msat=[1_000_000 + n for n in range(10)],
        theirs_msat=[1_000_000 + n for n in range(10)],
        meanwhile=lambda: now.us.call("test_tick"),
    )
    now.them.wait_channel(now.channel_id, feerate_per_kw=2_000)
    to_the_limit(now)


def test_their_update_fee(pair: StartPair) -> None:
    now = pair()
    now.they_open(1_000_000, push_sat=300_000)
    for rate in (1_500, 5_000, 600):
        now.them.call("set", fees={"AnchorChannelFee": rate})
        now.them.call("tick")
        now.us.wait_channel(now.channel_id, feerate_sat_per_kw=rate)
        now.we_pay(10_000_000)
        now.they_pay(10_000_000)
        now.check_books()
    now.them.call("set", fees={"AnchorChannelFee": 2_000})
    now.at_once(
        ours_msat=[1_000_000 + n for n in range(10)],
        theirs_msat=[1_000_000 + n for n in range(10)],
        meanwhile=lambda: now.them.call("tick"),
    )
    now.us.wait_channel(now.channel_id, feerate_sat_per_kw=2_000)
    to_the_limit(now)


def test_an_invoice_is_paid_once(pair: StartPair) -> None:
    now = pair()
    now.we_open(1_000_000, push_sat=300_000)
    invoice = now.their_invoice(5_000_000)
    now.we_pay(5_000_000, invoice)
    with pytest.raises(CommandError, match="paid already"):
        now.us.call("lnpay", invoice=invoice)
    ours = now.our_invoice(5_000_000)
    now.they_pay(5_000_000, ours)
    with pytest.raises(CommandError, match="your own"):
        now.us.call("lnpay", invoice=ours)
    now.check_books()


def test_spontaneous_payments_both_ways(pair: StartPair) -> None:
    now = pair()
    now.we_open(1_000_000, push_sat=300_000)
    paid = now.us.call("keysend", node_id=now.them.node_id, amount_msat=1_234_567, trace=True)
    assert paid["success"], paid
    now.ours_msat -= 1_234_567
    (attempt,) = paid["attempts"]
    assert (attempt["status"], attempt["path"][0]["amount_msat"]) == ("done", 1_234_567)
    theirs = now.them.call(
        "keysend", pubkey=now.us.call("nodeid").split("@")[0], amount_msat=7_654_321, final_cltv=60
    )
    assert theirs["status"] == "sent", theirs
    now.ours_msat += 7_654_321
    now.check_books()
    received = {entry["payment_hash"]: entry["amount_msat"] for entry in now.us.call("lightning_history")}
    assert received == {paid["payment_hash"]: -1_234_567, theirs["payment_hash"]: 7_654_321}
