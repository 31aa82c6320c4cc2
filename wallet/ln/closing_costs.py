"""What closing a channel without the peer costs in all, before it is done.

Theory of operation. Four things are paid for: our commitment transaction and its anchors (by who opened the channel);
the child that brings the commitment to today's rate, with a coin of the wallet; each HTLC output that may become ours,
by a transaction of its own; and at last the sweep of what has waited for its delay. The weights and the choice of the
rates are those of `onchaintx.py`, `bump_transaction.py` and `sweep.py`. HTLCs are reckoned one by one, although those
of one expiry share a transaction: it costs what is told or less, as long as the rates stay. BOLT 3, BOLT 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wallet.bitcoin.amounts import fee_sat, fee_sat_ceil
from wallet.chain.interfaces import FLOOR_FEERATE_SAT_PER_KW
from wallet.ln.chan_utils import (
    ANCHOR_OUTPUT_SAT,
    COMMITMENT_WEIGHT,
    COMMITMENT_WEIGHT_ANCHORS,
    COMMITMENT_WEIGHT_PER_HTLC,
    htlc_fee_sat,
    htlc_weight,
)
from wallet.ln.keysinterface import DELAYED_INPUT_WEIGHT
from wallet.ln.monitor_state import MonitorState
from wallet.ln.package import ANCHOR_INPUT_WEIGHT, outside_weight

__all__ = ["ForcedCosts", "HtlcAtStake", "costs_of_state", "forced_costs"]

# Version, lock time, counts, the segwit marker and flag, and a P2WPKH output.
_SWEEP_FRAME_WEIGHT: Final = 4 * 10 + 2 + 4 * 31


@dataclass(frozen=True, slots=True, kw_only=True)
class HtlcAtStake:
    """An HTLC of our commitment.

    Attributes:
        has_output: False where it is too small for one: it goes to the fee then.
        may_be_ours: we offered it, so that it comes back unless the payee takes it; or we have its preimage.
    """

    amount_sat: int
    offered: bool
    has_output: bool
    may_be_ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcedCosts:
    """What is paid, by what it is paid for.

    Attributes:
        commitment_sat: the fee inside our commitment and the anchors' amounts; 0 where the peer opened the channel.
        bump_sat: what the wallet's coins add, so that it confirms at today's rate.
        htlcs_sat: for the outputs of payments on their way, if all of them become ours.
        sweep_sat: for bringing our own output home.
        own_sat: our own output.
        from_coins_sat: which part of all that is paid with coins that are on chain already.
    """

    commitment_sat: int
    bump_sat: int
    htlcs_sat: int
    sweep_sat: int
    own_sat: int
    from_coins_sat: int

    @property
    def total_sat(self) -> int:
        return self.commitment_sat + self.bump_sat + self.htlcs_sat + self.sweep_sat

    @property
    def home_sat(self) -> int:
        """What of our own output arrives."""
        return self.own_sat - self.sweep_sat


def forced_costs(
    *,
    is_funder: bool,
    anchors: bool,
    feerate_sat_per_kw: int,
    own_sat: int,
    htlcs: Sequence[HtlcAtStake],
    pressing_sat_per_kw: int,
    patient_sat_per_kw: int,
) -> ForcedCosts:
    """`pressing_sat_per_kw` is paid where a deadline presses, `patient_sat_per_kw` for what waits anyway."""
    outputs = [htlc for htlc in htlcs if htlc.has_output]
    weight = COMMITMENT_WEIGHT_ANCHORS if anchors else COMMITMENT_WEIGHT
    weight += COMMITMENT_WEIGHT_PER_HTLC * len(outputs)
    commitment_fee_sat = fee_sat(weight, feerate_sat_per_kw)
    commitment_sat = 0
    if is_funder:
        commitment_sat = commitment_fee_sat + (2 * ANCHOR_OUTPUT_SAT if anchors else 0)
    ours = [htlc for htlc in htlcs if htlc.may_be_ours]
    bump_sat = 0
    if anchors:
        presses = any(htlc.has_output for htlc in ours)
        bump_sat = _bump_sat(
            weight,
            commitment_fee_sat,
            own_sat + sum(htlc.amount_sat for htlc in ours),
            pressing_sat_per_kw if presses else patient_sat_per_kw,
        )
    htlcs_sat, htlc_coins_sat = 0, 0
    for htlc in ours:
        from_coins_sat, lost_sat = _htlc_sat(
            htlc, anchors, feerate_sat_per_kw, pressing_sat_per_kw, patient_sat_per_kw
        )
        htlc_coins_sat += from_coins_sat
        htlcs_sat += from_coins_sat + lost_sat
    return ForcedCosts(
        commitment_sat=commitment_sat,
        bump_sat=bump_sat,
        htlcs_sat=htlcs_sat,
        sweep_sat=_sweep_sat(own_sat, patient_sat_per_kw),
        own_sat=own_sat,
        from_coins_sat=bump_sat + htlc_coins_sat,
    )


def costs_of_state(state: MonitorState, *, pressing_sat_per_kw: int, patient_sat_per_kw: int) -> ForcedCosts:
    """Of a channel as it stands: of the commitment that would be published."""
    commitment = state.holder.commitment.commitment
    return forced_costs(
        is_funder=state.params.is_outbound_from_holder,
        anchors=state.params.anchors,
        feerate_sat_per_kw=commitment.feerate_sat_per_kw,
        own_sat=commitment.to_broadcaster_sat,
        htlcs=[
            HtlcAtStake(
                amount_sat=item.htlc.amount_sat,
                offered=item.htlc.offered,
                has_output=item.htlc.output_index is not None,
                may_be_ours=item.htlc.offered or item.htlc.payment_hash in state.preimages,
            )
            for item in state.holder.htlcs
        ],
        pressing_sat_per_kw=pressing_sat_per_kw,
        patient_sat_per_kw=patient_sat_per_kw,
    )


def _bump_sat(
    commitment_weight: int, commitment_fee_sat: int, value_sat: int, feerate_sat_per_kw: int
) -> int:
    """What a coin of the wallet adds; our anchor comes back with its change."""
    weight = outside_weight(()) + ANCHOR_INPUT_WEIGHT + commitment_weight
    if value_sat * 1000 // weight < feerate_sat_per_kw:
        # No more is paid for it than it brings: it goes alone.
        feerate_sat_per_kw = FLOOR_FEERATE_SAT_PER_KW
    if commitment_fee_sat * 1000 >= feerate_sat_per_kw * commitment_weight:
        return 0
    return max(0, fee_sat_ceil(weight, feerate_sat_per_kw) - commitment_fee_sat - ANCHOR_OUTPUT_SAT)


def _htlc_sat(
    htlc: HtlcAtStake,
    anchors: bool,
    feerate_sat_per_kw: int,
    pressing_sat_per_kw: int,
    patient_sat_per_kw: int,
) -> tuple[int, int]:
    """(what the wallet's coins pay, what of its amount does not arrive)."""
    if not htlc.has_output:
        return 0, htlc.amount_sat
    from_coins_sat = 0
    left_sat = htlc.amount_sat - htlc_fee_sat(feerate_sat_per_kw, htlc.offered, anchors)
    if anchors:
        own_weight = htlc_weight(htlc.offered, anchors)
        if htlc.amount_sat <= fee_sat_ceil(own_weight, pressing_sat_per_kw):
            # It is left: claiming it would cost more.
            return 0, htlc.amount_sat
        from_coins_sat = fee_sat_ceil(outside_weight(()) + own_weight, pressing_sat_per_kw)
    left_sat -= _sweep_sat(left_sat, patient_sat_per_kw)
    return from_coins_sat, htlc.amount_sat - left_sat


def _sweep_sat(value_sat: int, feerate_sat_per_kw: int) -> int:
    """What of an output goes to the fee of bringing it home: all of it where that costs more."""
    return min(value_sat, fee_sat_ceil(_SWEEP_FRAME_WEIGHT + DELAYED_INPUT_WEIGHT, feerate_sat_per_kw))
