"""Amounts are plain integers whose names carry the unit; here is the arithmetic that rounds."""

from __future__ import annotations

from typing import Final

SAT_PER_BTC: Final = 100_000_000
MSAT_PER_SAT: Final = 1_000

# Consensus, MAX_MONEY: no output, and no sum of outputs, is above this.
MAX_MONEY_SAT: Final = 21_000_000 * SAT_PER_BTC
MAX_MONEY_MSAT: Final = MAX_MONEY_SAT * MSAT_PER_SAT

# 1 vbyte is 4 weight units (BIP 141).
WEIGHT_PER_VBYTE: Final = 4


def fee_sat(weight: int, feerate_sat_per_kw: int) -> int:
    """The fee of a commitment or HTLC transaction. BOLT 3, fee calculation: rounded down."""
    return weight * feerate_sat_per_kw // 1_000


def fee_sat_ceil(weight: int, feerate_sat_per_kw: int) -> int:
    """The fee that reaches this feerate whatever the rounding: for on-chain transactions of our own."""
    return -(-weight * feerate_sat_per_kw // 1_000)


def feerate_sat_per_kw(fee_paid_sat: int, weight: int) -> int:
    """The feerate that a fee amounts to, rounded down."""
    return fee_paid_sat * 1_000 // weight


def sat_per_vb_from_sat_per_kw_ceil(feerate_sat_per_kw: int) -> int:
    return -(-feerate_sat_per_kw // 250)


def vbytes_from_weight(weight: int) -> int:
    """Virtual size: a quarter of the weight, rounded up (BIP 141)."""
    return (weight + 3) // WEIGHT_PER_VBYTE
