"""A real rust-lightning node publishes a revoked commitment: it loses everything that was on it.

It is put back to an older copy of its files, as after a restored disk, and told to close: it does not know better.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.real.conftest import StartPair
from tests.real.lightning import ANCHOR_SAT, Held, Pair

FINAL_BLOCKS = 6
TYPES = pytest.mark.parametrize("anchors", [True, False], ids=["anchors", "static_remotekey"])
OPENERS = pytest.mark.parametrize("we_open", [True, False], ids=["we open", "they open"])


def open_channel(pair: Pair, *, anchors: bool, we_open: bool) -> None:
    """A channel in which most is theirs: what they would like to go back to."""
    if we_open:
        pair.we_open(1_000_000, push_sat=700_000, static_remotekey=not anchors)
    else:
        pair.they_open(1_000_000, push_sat=300_000)
    pair.we_pay(10_000_400)
    pair.wait_no_htlcs()


def save(pair: Pair) -> Path:
    """A copy of the peer's files as they are now; then all goes on."""
    pair.hang_up()
    pair.them.stop()
    copy = pair.them.save_state("copy")
    pair.them.start()
    pair.call_back()
    return copy


def cheat(pair: Pair, copy: Path) -> str:
    """The peer publishes the commitment of that day; its txid."""
    pair.hang_up()
    pair.them.stop()
    pair.them.restore_state(copy)
    pair.them.start()
    pair.them.call("close", channel_id=pair.channel_id, force=True)
    return pair.wait_closing_tx()


def check_punished(pair: Pair, txid: str, second_stages: Iterable[tuple[str, int]] = ()) -> None:
    """Every output but the anchors ends among our coins, less what our transactions paid; nobody else got one."""
    stages = dict(second_stages)
    values = pair.values_sat(txid)
    pair.wait_spent(txid, values.index(max(values)))  # at once: what was theirs
    pair.mine(FINAL_BLOCKS)
    due_sat = 0
    for vout, value_sat in enumerate(values):
        if value_sat == ANCHOR_SAT:
            continue
        spender = pair.wait_spent(txid, vout)
        if spender in stages:  # theirs: its output is as revoked as the commitment
            due_sat += pair.values_sat(spender)[stages[spender]]
            pair.wait_spent(spender, stages[spender])
        else:
            due_sat += value_sat
    pair.mine(FINAL_BLOCKS)
    # What the commitment pays us is swept once it is final, and so is what the penalties brought.
    pair.us.wait("has everything", lambda: list(pair.us.call("getbalance")) == ["confirmed"])
    pair.us.wait_channel(pair.channel_id, state="CLOSED")
    made = pair.our_txids(pair.log_mark)
    assert txid not in made
    pair.onchain_sat += due_sat - sum(pair.fee_sat(ours) for ours in made)
    assert pair.balance_sat() == pair.onchain_sat


@TYPES
@OPENERS
def test_an_old_commitment(pair: StartPair, anchors: bool, we_open: bool) -> None:
    now = pair(anchors=anchors, persistent=True)
    open_channel(now, anchors=anchors, we_open=we_open)
    copy = save(now)
    now.they_pay(400_000_000)
    now.we_pay(1_000_000)
    now.check_books()
    now.log_mark = len(now.us.log())
    txid = cheat(now, copy)
    now.mine(1)
    check_punished(now, txid)


@TYPES
@OPENERS
def test_an_old_commitment_with_htlcs(pair: StartPair, anchors: bool, we_open: bool) -> None:
    """Payments were under way both ways in the state that was revoked; all came to their end since."""
    now = pair(anchors=anchors, persistent=True)
    open_channel(now, anchors=anchors, we_open=we_open)
    ours, theirs = hold(now)
    copy = save(now)
    let_go(now, ours, theirs)
    now.they_pay(300_000_000)
    now.log_mark = len(now.us.log())
    txid = cheat(now, copy)
    assert len(now.values_sat(txid)) == 6 + 2 * anchors
    now.mine(1)
    check_punished(now, txid)


@TYPES
def test_an_old_commitment_whose_htlc_they_took(pair: StartPair, anchors: bool) -> None:
    """While we are away, the peer takes an HTLC of the old commitment by its preimage: we take it from there."""
    now = pair(anchors=anchors, persistent=True)
    open_channel(now, anchors=anchors, we_open=True)
    ours, theirs = hold(now)
    copy = save(now)
    let_go(now, ours, theirs)
    now.they_pay(300_000_000)
    now.log_mark = len(now.us.log())
    now.hang_up()
    now.us.kill()
    now.them.stop()
    now.them.restore_state(copy)
    now.them.start()
    now.them.call("close", channel_id=now.channel_id, force=True)
    txid = now.wait_closing_tx()
    now.net.mine(1)
    now.they_claim(ours[0])
    htlc = now.values_sat(txid).index(ours[0].sat)
    stage = now.wait_spent(txid, htlc)
    place = [(vin["txid"], vin["vout"]) for vin in now.raw(stage)["vin"]].index((txid, htlc))
    now.net.mine(1)
    # Of the commitment's block before the next one: a claim may be made of what is taken there.
    now.may_be_refused = "MISSING_INPUTS"
    now.us.start()
    check_punished(now, txid, [(stage, place)])


def hold(pair: Pair) -> tuple[list[Held], list[Held]]:
    ours = [pair.we_pay_held(50_000_000), pair.we_pay_held(60_000_000)]
    theirs = [pair.they_pay_held(70_000_000), pair.they_pay_held(80_000_000)]
    return ours, theirs


def let_go(pair: Pair, ours: list[Held], theirs: list[Held]) -> None:
    """One each way arrives, one each way comes back."""
    pair.they_claim(ours[0])
    pair.them.call("fail", payment_hash=ours[1].payment_hash)
    pair.us.call("settle_hold_invoice", preimage=theirs[0].preimage)
    pair.us.call("cancel_hold_invoice", payment_hash=theirs[1].payment_hash)
    assert [held.end.result(timeout=30)["success"] for held in ours] == [True, False]
    pair.ours_msat += theirs[0].amount_msat - ours[0].amount_msat
    pair.check_books()
