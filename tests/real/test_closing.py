"""Closing with a real rust-lightning node: together, and by force, with everything taken home to the satoshi."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.real.conftest import StartPair
from tests.real.lightning import ANCHOR_SAT, Held, Pair

TYPES = pytest.mark.parametrize("anchors", [True, False], ids=["anchors", "static_remotekey"])
CLOSERS = pytest.mark.parametrize("by_us", [True, False], ids=["by us", "by them"])
OUR_DELAY_BLOCKS = 144
"""What the peer asks of us after our force-close, and the least that it can."""
FINAL_BLOCKS = 6
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


class ForceClose:
    """One force-close, its outputs, and what of it has to come home.

    Attributes:
        txid: of the commitment.
        main_sat: our own output on it.
    """

    def __init__(
        self, pair: Pair, *, anchors: bool, by_us: bool, we_open: bool,
        htlcs: Sequence[Held] = (), dust: Sequence[Held] = (),
    ) -> None:  # fmt: skip
        self.pair = pair
        self.anchors = anchors
        self.by_us = by_us
        channel = pair.channel()
        sent_msat = channel["local_unsettled_sent"] * 1000
        assert channel["local_balance_msat"] + sent_msat == pair.ours_msat
        # BOLT 3, fee calculation.
        weight = (1124 if anchors else 724) + 172 * len(htlcs)
        cost_sat = channel["feerate_sat_per_kw"] * weight // 1000 + (2 * ANCHOR_SAT if anchors else 0)
        self.main_sat = channel["local_balance_msat"] // 1000 - cost_sat * we_open
        self.expiries = pair.us.call("test_expiries")
        self.outputs = len(htlcs) + 2 + 2 * anchors
        pair.log_mark = len(pair.us.log())
        self.txid = ""

    def publish(self) -> None:
        """The commitment goes out, with its child where it needs one, and confirms."""
        now = self.pair
        if self.by_us:
            now.us.call("close_channel", channel_id=now.channel_id, force=True)
        else:
            # Not connected: else the peer says why, we publish our commitment as well, and either may confirm.
            now.hang_up()
            now.them.call("close", channel_id=now.channel_id, force=True)
        self.txid = now.wait_closing_tx()
        values = now.values_sat(self.txid)
        assert len(values) == self.outputs, values
        assert values.count(self.main_sat) == 1, (values, self.main_sat)
        if self.by_us and self.anchors:
            # The child that pays for it: a commitment is for years and its own fee is low.
            now.node.wait_until("has the child", lambda: any(map(self.child_of, self.anchor_vouts())))
        now.mine(1)
        assert now.node.rpc("getrawtransaction", self.txid, 1)["confirmations"] == 1

    def anchor_vouts(self) -> list[int]:
        return [vout for vout, value in enumerate(self.pair.values_sat(self.txid)) if value == ANCHOR_SAT]

    def child_of(self, vout: int) -> str | None:
        return self.pair.spender(self.txid, vout)

    def wait_taken(self, held: Held) -> str:
        """Until an HTLC's output is spent; by which transaction."""
        return self.pair.wait_spent(self.txid, self.pair.values_sat(self.txid).index(held.sat))

    def mine_to_expiry(self, held: Held) -> None:
        """Until a transaction that waits for the expiry can be in the next block."""
        blocks = self.expiries[held.payment_hash] - self.pair.node.height
        assert blocks > 0
        self.pair.mine(blocks)

    def finish(self, came_home: Sequence[Held] = ()) -> None:
        """Our outputs are swept, second stages included; then the books: each satoshi is a coin of ours or a fee."""
        now = self.pair
        homes = [(self.txid, now.values_sat(self.txid).index(self.main_sat))]
        for held in came_home:
            claim = self.wait_taken(held)
            if self.by_us:  # a second stage, which waits for the delay
                spent = [(vin["txid"], vin["vout"]) for vin in now.raw(claim)["vin"]]
                htlc = (self.txid, now.values_sat(self.txid).index(held.sat))
                homes.append((claim, spent.index(htlc)))
        for txid, vout in homes:
            now.wait_spent(txid, vout)
        now.mine(FINAL_BLOCKS)
        now.us.wait_channel(now.channel_id, state="CLOSED")
        now.onchain_sat += self.main_sat + sum(held.sat for held in came_home)
        for txid in now.our_txids(now.log_mark):
            if txid != self.txid:
                now.onchain_sat -= now.fee_sat(txid)
                now.onchain_sat += ANCHOR_SAT * sum(
                    (vin["txid"], vin["vout"]) in {(self.txid, vout) for vout in self.anchor_vouts()}
                    for vin in now.raw(txid)["vin"]
                )
        now.us.wait("the coins", lambda: list(now.us.call("getbalance")) == ["confirmed"])
        assert now.balance_sat() == now.onchain_sat


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
