"""HTLCs that nobody settles in time, with a real rust-lightning node: the channel goes to the chain, unasked."""

from __future__ import annotations

import pytest

from tests.real.conftest import StartPair
from tests.real.force_close import FINAL_BLOCKS, OUR_DELAY_BLOCKS, ForceClose
from tests.real.lightning import Pair
from wallet.ln.config import CLTV_CLAIM_BUFFER_BLOCKS, LATENCY_GRACE_PERIOD_BLOCKS

TYPES = pytest.mark.parametrize("anchors", [True, False], ids=["anchors", "static_remotekey"])


@TYPES
def test_what_we_took_is_claimed_before_it_expires(pair: StartPair, anchors: bool) -> None:
    """We know the preimage and the peer is away: our commitment and our claim confirm before the expiry."""
    now = pair(anchors=anchors)
    now.we_open(1_000_000, push_sat=600_000, static_remotekey=not anchors)
    held = now.they_pay_held(70_000_000)
    close = ForceClose(now, anchors=anchors, by_us=True, we_open=True, htlcs=[held])
    now.hang_up()
    now.us.call("settle_hold_invoice", preimage=held.preimage)
    blocks = close.expiries[held.payment_hash] - CLTV_CLAIM_BUFFER_BLOCKS - now.node.height
    now.mine(blocks - 1)
    assert now.channel()["state"] == "OPEN"
    now.mine(1)
    close.confirm()
    close.wait_taken(held)
    now.mine(1)
    assert held.end.result(timeout=30)["status"] == "sent"
    assert now.node.height < close.expiries[held.payment_hash]
    now.mine(OUR_DELAY_BLOCKS)
    close.finish(came_home=[held])


@TYPES
def test_what_the_peer_never_answers_comes_back(pair: StartPair, anchors: bool) -> None:
    """The payee is away with our payment: after its expiry we close and take it back; the payment has failed."""
    now = pair(anchors=anchors)
    now.we_open(1_000_000, push_sat=600_000, static_remotekey=not anchors)
    held = now.we_pay_held(50_000_000)
    close = ForceClose(now, anchors=anchors, by_us=True, we_open=True, htlcs=[held])
    now.hang_up()
    now.them.stop()
    blocks = close.expiries[held.payment_hash] + LATENCY_GRACE_PERIOD_BLOCKS - now.node.height
    now.mine(blocks - 1)
    assert now.channel()["state"] == "OPEN"
    now.mine(1)
    close.confirm()
    close.wait_taken(held)
    now.mine(FINAL_BLOCKS)
    failed = held.end.result(timeout=30)
    assert not failed["success"], failed
    now.mine(OUR_DELAY_BLOCKS)
    close.finish(came_home=[held])


@TYPES
def test_what_we_hold_too_long_goes_back(pair: StartPair, anchors: bool) -> None:
    """We never say a word about a held payment: it is given back in time and the channel stays open."""
    now = pair(anchors=anchors)
    now.we_open(1_000_000, push_sat=600_000, static_remotekey=not anchors)
    held = now.they_pay_held(70_000_000)
    expiry = now.us.call("test_expiries")[held.payment_hash]
    now.mine(expiry - CLTV_CLAIM_BUFFER_BLOCKS - LATENCY_GRACE_PERIOD_BLOCKS - now.node.height)
    assert held.end.result(timeout=30)["status"] == "failed"
    now.mine(CLTV_CLAIM_BUFFER_BLOCKS + 2 * LATENCY_GRACE_PERIOD_BLOCKS)
    now.check_books()
    now.we_pay(1_000_000)


@TYPES
def test_the_peer_goes_away_with_payments_both_ways(pair: StartPair, anchors: bool) -> None:
    """Two each way, of which we can claim one. The first deadline takes all of them to the chain, and no block sooner;
    there each is settled in the first block in which it can be."""
    now = pair(anchors=anchors)
    now.we_open(1_000_000, push_sat=600_000, static_remotekey=not anchors)
    returned = [now.we_pay_held(50_000_000), now.we_pay_held(60_000_000)]
    got, lapsed = now.they_pay_held(70_000_000), now.they_pay_held(80_000_000)
    close = ForceClose(now, anchors=anchors, by_us=True, we_open=True, htlcs=[*returned, got, lapsed])
    now.hang_up()
    now.them.stop()
    now.us.call("settle_hold_invoice", preimage=got.preimage)
    deadline = min(close.expiries[held.payment_hash] for held in returned) + LATENCY_GRACE_PERIOD_BLOCKS
    assert deadline < close.expiries[got.payment_hash] - CLTV_CLAIM_BUFFER_BLOCKS
    now.mine(deadline - now.node.height - 1)
    assert now.channel()["state"] == "OPEN"
    now.mine(1)
    close.confirm()
    assert height_of(now, close.txid) == deadline + 1

    # Ours are over and theirs is claimed by its preimage: all at once. The last one is the peer's, should it come back.
    stages = [close.wait_second_stage(held) for held in (*returned, got)]
    now.mine(1)
    assert {height_of(now, txid) for txid, _vout in stages} == {deadline + 2}
    assert not close.is_taken(lapsed)
    now.mine(FINAL_BLOCKS - 2)
    assert not any(held.end.done() for held in returned)
    now.mine(1)
    for held in returned:
        failed = held.end.result(timeout=30)
        assert not failed["success"], failed
    assert now.held_status(got.payment_hash) == "settled"

    # What the second stages hold is ours after the delay, and no block sooner.
    now.mine(deadline + 2 + OUR_DELAY_BLOCKS - 2 - now.node.height)
    assert not any(now.spender(*stage) for stage in stages)
    now.mine(1)
    sweeps = {now.wait_spent(*stage) for stage in stages}
    now.mine(1)
    assert {height_of(now, txid) for txid in sweeps} == {deadline + 2 + OUR_DELAY_BLOCKS}
    close.finish(came_home=[*returned, got], closed=False)


def height_of(pair: Pair, txid: str) -> int:
    """Of the block that a transaction is in."""
    confirmations = pair.node.rpc("getrawtransaction", txid, 1)["confirmations"]
    return int(pair.node.height - confirmations + 1)
