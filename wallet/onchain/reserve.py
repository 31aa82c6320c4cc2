"""What closing anchor channels costs: the money that has to stay on chain for it.

The weights are those of BOLT 3, appendix A, for the commitment and HTLC transactions, and of the inputs and outputs
that our coins add. An upper bound: each HTLC is reckoned with a transaction of its own (they are bundled where
their expiries allow), and the commitment as if it paid nothing itself.
"""

from __future__ import annotations

from typing import Final

from wallet.bitcoin.amounts import WEIGHT_PER_VBYTE, fee_sat_ceil
from wallet.onchain.coins import BASE_TX_WEIGHT, P2WPKH_INPUT_WEIGHT

__all__ = ["anchor_need_sat"]

# BOLT 3, appendix A: a commitment transaction with anchors, and what each HTLC output adds.
COMMITMENT_WEIGHT: Final = 900 + 224
COMMITMENT_HTLC_WEIGHT: Final = 172
# BOLT 3, appendix A: an HTLC-success transaction with anchors; HTLC-timeout weighs 40 less.
HTLC_SUCCESS_WEIGHT: Final = 706
# Outpoint, sequence and script length; the number of items, a signature of 72 bytes and a script of 40, with lengths.
ANCHOR_INPUT_WEIGHT: Final = 41 * WEIGHT_PER_VBYTE + 1 + 1 + 72 + 1 + 40
P2WPKH_OUTPUT_WEIGHT: Final = (8 + 1 + 22) * WEIGHT_PER_VBYTE
# The numbers of inputs and outputs are a byte each.
ANCHOR_SPEND_WEIGHT: Final = (
    BASE_TX_WEIGHT + 2 * WEIGHT_PER_VBYTE + ANCHOR_INPUT_WEIGHT + P2WPKH_OUTPUT_WEIGHT
)

CHANNEL_WEIGHT: Final = COMMITMENT_WEIGHT + ANCHOR_SPEND_WEIGHT
HTLC_WEIGHT: Final = COMMITMENT_HTLC_WEIGHT + HTLC_SUCCESS_WEIGHT + P2WPKH_INPUT_WEIGHT + P2WPKH_OUTPUT_WEIGHT


def anchor_need_sat(*, anchor_channels: int, htlc_inputs: int, feerate_sat_per_kw: int) -> int:
    """What has to be there after the first coin's input is paid for: one coin serves each channel's anchor, and
    each further channel's and each HTLC's own coin is counted with its input."""
    if anchor_channels <= 0:
        return 0
    total_weight = anchor_channels * CHANNEL_WEIGHT + (anchor_channels - 1) * P2WPKH_INPUT_WEIGHT
    total_weight += htlc_inputs * HTLC_WEIGHT
    return fee_sat_ceil(total_weight, feerate_sat_per_kw)
