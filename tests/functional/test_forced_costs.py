"""What is told of a forced close before it is done is what it costs: the commitment, its child, HTLCs, the sweeps."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.joined import World, config
from wallet.bitcoin.tx import OutPoint, Txid
from wallet.ln import events as ev
from wallet.ln.chan_utils import ANCHOR_OUTPUT_SAT
from wallet.ln.closing_costs import ForcedCosts, HtlcAtStake, costs_of_state, forced_costs

DELAY_BLOCKS = 20
PATIENT_SAT_PER_KW = 2_000
LONGER_SWEEP_WEIGHT = 4 * 12
"""The wallet's sweeps pay to P2WPKH, those of this world to P2WSH."""


@pytest.mark.parametrize("in_flight", [False, True], ids=["quiet", "in_flight"])
@pytest.mark.parametrize("anchors", [False, True], ids=["static_remotekey", "anchors"])
def test_a_forced_close_costs_what_was_told_before(world: World, anchors: bool, in_flight: bool) -> None:
    alice, bob = world.line("alice", "bob", settings=config(anchors=anchors, delay_blocks=DELAY_BLOCKS))
    alice.give_coins(6)
    channel_id = alice.channel(bob).channel_id
    funding = world.funding_of(alice, channel_id)
    if in_flight:
        world.route_payment([alice, bob], 40_000_000)
        world.route_payment([alice, bob], 100_000)
    alice.fees.sat_per_kw = PATIENT_SAT_PER_KW
    monitor = alice.monitor.get_monitor(channel_id)
    assert monitor is not None
    told = costs_of_state(
        monitor.state, pressing_sat_per_kw=PATIENT_SAT_PER_KW, patient_sat_per_kw=PATIENT_SAT_PER_KW
    )

    commitment = world.force_close(alice, bob)
    world.drain(alice)
    world.drain(bob)

    assert world.spender_of(funding) == commitment.txid
    bobs = {item.outpoint for event in bob.spendable for item in event.outputs}
    confirmed = [item.tx for block in world.blocks for item in block.txs]
    paid_sat, ours = 0, set[Txid]()
    for tx in confirmed:
        parents = {txin.prevout.txid for txin in tx.inputs if txin.prevout not in bobs}
        if tx.txid == commitment.txid or parents & ours:
            ours.add(tx.txid)
            paid_sat += world.fee_sat(tx)
    for vout, output in enumerate(commitment.outputs):
        if output.value_sat == ANCHOR_OUTPUT_SAT and not world.spender_of(OutPoint(commitment.txid, vout)):
            paid_sat += ANCHOR_OUTPUT_SAT
    # The commitment and the sweep; its child; and with a payment the HTLC's transaction, and what that leaves.
    assert len(ours) == 2 + anchors + 2 * in_flight
    paid_sat -= (1 + in_flight) * LONGER_SWEEP_WEIGHT * PATIENT_SAT_PER_KW // 1000
    assert paid_sat <= told.total_sat <= paid_sat * 11 // 10
    assert len(alice.events_of(ev.PaymentFailed)) == 2 * in_flight
    assert len(bob.events_of(ev.ChannelClosed)) == 1
    assert bool(told.from_coins_sat) is anchors
    assert bool(told.htlcs_sat) is in_flight


def costs(**changes: Any) -> ForcedCosts:
    arguments: dict[str, Any] = {
        "is_funder": True,
        "anchors": True,
        "feerate_sat_per_kw": 1_000,
        "own_sat": 500_000,
        "htlcs": (),
        "pressing_sat_per_kw": 5_000,
        "patient_sat_per_kw": 1_000,
    }
    return forced_costs(**{**arguments, **changes})


def test_who_did_not_open_the_channel_pays_no_commitment() -> None:
    ours, theirs = costs(), costs(is_funder=False)
    assert ours.commitment_sat == 1_124 + 660
    assert theirs.commitment_sat == 0
    assert theirs.total_sat == ours.total_sat - ours.commitment_sat


def test_a_commitment_at_todays_rate_needs_no_child() -> None:
    assert costs().bump_sat == 0
    assert costs(patient_sat_per_kw=4_000).bump_sat > 4_000


def test_a_payment_that_may_come_back_presses_and_one_of_the_peers_does_not() -> None:
    sent = HtlcAtStake(amount_sat=40_000, offered=True, has_output=True, may_be_ours=True)
    coming = HtlcAtStake(amount_sat=40_000, offered=False, has_output=True, may_be_ours=False)
    assert costs(htlcs=[sent]).bump_sat > 5_000
    assert costs(htlcs=[sent]).htlcs_sat > 5_000
    assert costs(htlcs=[coming]).bump_sat == 0
    assert costs(htlcs=[coming]).htlcs_sat == 0


def test_never_more_is_counted_than_there_is() -> None:
    small = HtlcAtStake(amount_sat=900, offered=True, has_output=True, may_be_ours=True)
    dust = HtlcAtStake(amount_sat=90, offered=True, has_output=False, may_be_ours=True)
    assert costs(htlcs=[small, dust]).htlcs_sat == 990
    little = costs(own_sat=300)
    assert (little.sweep_sat, little.home_sat) == (300, 0)
    assert little.bump_sat == 0
