"""Coins, what spending them weighs, and which of them pay for a transaction.

Theory of operation. All arithmetic is exact: a weight times a feerate in sat per 1000 weight is a number of
millisatoshis, so sums over inputs do not pile up rounding; only the final fee is rounded, up, to a satoshi. A coin
counts with its effective value, what is left of it after its own input is paid for; a coin that costs more than it
gives is never picked.

Three ways, in this order. Branch and bound looks for coins that need no change (Murch's algorithm, as Bitcoin Core
has it). Otherwise a single random draw; the shuffle comes from a seed that the caller hands in, so that the
same question gets the same answer. Where that fails, or where it costs more at a feerate above the
long-term one, the largest coins first.

What a transaction pays is never above the feerate that was asked for, with one exception: a remainder that is not
worth an output of its own (`Target.drop_limit_sat`) goes to the fee.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from wallet.bitcoin.amounts import WEIGHT_PER_VBYTE, fee_sat_ceil
from wallet.bitcoin.script import dust_limit_sat, is_p2tr
from wallet.bitcoin.tx import OutPoint, TxOut

__all__ = [
    "MAX_TX_WEIGHT",
    "Coin",
    "Selection",
    "Target",
    "input_weight_for_script",
    "output_weight_of",
    "satisfaction_weight_for_script",
    "select",
]

# Outpoint 36, sequence 4 and the length of the empty script, 1.
BASE_INPUT_WEIGHT: Final = 41 * WEIGHT_PER_VBYTE
# The number of witness items; the signature's length, 70 bytes of DER with a low r and the sighash byte; the key's
# length and the key.
P2WPKH_SATISFACTION_WEIGHT: Final = 1 + 1 + 71 + 1 + 33
# As above, with the 64 bytes of a Schnorr signature only.
P2TR_SATISFACTION_WEIGHT: Final = 1 + 1 + 64
P2WPKH_INPUT_WEIGHT: Final = BASE_INPUT_WEIGHT + P2WPKH_SATISFACTION_WEIGHT
# Version and lock time, then the two bytes that mark a witness.
BASE_TX_WEIGHT: Final = 8 * WEIGHT_PER_VBYTE + 2

# Bitcoin Core, policy: MAX_STANDARD_TX_WEIGHT.
MAX_TX_WEIGHT: Final = 400_000

# What a coin is expected to cost when it is spent one day: 10 sat/vB, Bitcoin Core's -consolidatefeerate.
LONG_TERM_FEERATE_SAT_PER_KW: Final = 2_500

# Bitcoin Core tries 100,000 times; this is a fifth of that, some 20 ms here.
MAX_TRIES: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Coin:
    """An unspent output of ours.

    Attributes:
        height: of its block; None while it waits.
        is_change: it was paid by ourselves to ourselves.
        trusted: confirmed (and mature), or made by us from trusted coins only.
        frozen: the user does not want it spent. reserved: it is spoken for.
        is_mature: False for a coinbase output of less than 100 blocks.
    """

    outpoint: OutPoint
    output: TxOut
    height: int | None
    is_change: bool
    trusted: bool
    frozen: bool = False
    reserved: bool = False
    is_mature: bool = True

    @property
    def value_sat(self) -> int:
        return self.output.value_sat

    @property
    def satisfaction_weight(self) -> int:
        """What its input's witness weighs at most; outpoint, sequence and script length come on top."""
        return satisfaction_weight_for_script(self.output.script_pubkey)

    @property
    def input_weight(self) -> int:
        return BASE_INPUT_WEIGHT + self.satisfaction_weight


def satisfaction_weight_for_script(script_pubkey: bytes) -> int:
    return P2TR_SATISFACTION_WEIGHT if is_p2tr(script_pubkey) else P2WPKH_SATISFACTION_WEIGHT


def input_weight_for_script(script_pubkey: bytes) -> int:
    return BASE_INPUT_WEIGHT + satisfaction_weight_for_script(script_pubkey)


def output_weight_of(script_pubkey: bytes) -> int:
    length = len(script_pubkey)
    return WEIGHT_PER_VBYTE * (8 + _count_bytes(length) + length)


def _count_bytes(count: int) -> int:
    return 1 if count < 0xFD else 3 if count <= 0xFFFF else 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What coins are wanted for.

    Attributes:
        outputs: what is to be paid. change_script: where the remainder goes.
        fixed_inputs: (value, input weight) of inputs that are there anyway.
        extra_fee_sat: what the transaction pays for others (its unconfirmed parents).
    """

    outputs: Sequence[TxOut]
    change_script: bytes
    feerate_sat_per_kw: int
    fixed_inputs: Sequence[tuple[int, int]] = ()
    extra_fee_sat: int = 0

    @property
    def outputs_sat(self) -> int:
        return sum(output.value_sat for output in self.outputs)

    @property
    def fixed_sat(self) -> int:
        return sum(value_sat for value_sat, _ in self.fixed_inputs)

    @property
    def change_weight(self) -> int:
        return output_weight_of(self.change_script)

    @property
    def drop_limit_sat(self) -> int:
        """Change below this is not made: it is dust, or costs more to spend one day than it is worth."""
        rate_sat_per_kw = min(self.feerate_sat_per_kw, LONG_TERM_FEERATE_SAT_PER_KW)
        spend_fee_sat = fee_sat_ceil(input_weight_for_script(self.change_script), rate_sat_per_kw)
        return max(dust_limit_sat(self.change_script), spend_fee_sat)

    def total_weight(self, coins: Sequence[Coin], *, with_change: bool) -> int:
        """The exact weight of the signed transaction (a signature may happen to be a byte shorter)."""
        inputs = len(self.fixed_inputs) + len(coins)
        outputs = len(self.outputs) + int(with_change)
        total_weight = BASE_TX_WEIGHT + WEIGHT_PER_VBYTE * (_count_bytes(inputs) + _count_bytes(outputs))
        total_weight += sum(input_weight for _, input_weight in self.fixed_inputs)
        total_weight += sum(coin.input_weight for coin in coins)
        total_weight += sum(output_weight_of(output.script_pubkey) for output in self.outputs)
        if with_change:
            total_weight += self.change_weight
        return total_weight

    def fee_sat(self, coins: Sequence[Coin], *, with_change: bool) -> int:
        total_weight = self.total_weight(coins, with_change=with_change)
        return fee_sat_ceil(total_weight, self.feerate_sat_per_kw) + self.extra_fee_sat

    def settle(self, coins: Sequence[Coin]) -> Selection | None:
        """The transaction that these coins make; None when they do not reach, or weigh too much."""
        left_sat = self.fixed_sat + sum(coin.value_sat for coin in coins) - self.outputs_sat
        if self.total_weight(coins, with_change=True) > MAX_TX_WEIGHT:
            return None
        change_sat = left_sat - self.fee_sat(coins, with_change=True)
        if change_sat >= self.drop_limit_sat:
            return Selection(coins=tuple(coins), change_sat=change_sat, fee_sat=left_sat - change_sat)
        # A transaction has at least one output, and one input.
        if not self.outputs or not (coins or self.fixed_inputs):
            return None
        if left_sat < self.fee_sat(coins, with_change=False):
            return None
        return Selection(coins=tuple(coins), change_sat=None, fee_sat=left_sat)

    def most_that_fit(self, coins: Sequence[Coin]) -> list[Coin]:
        """Every coin that is worth its input, or, of very many, the best that one transaction holds."""
        useful = [coin for coin in coins if effective_msat(coin, self.feerate_sat_per_kw) > 0]
        useful.sort(key=lambda coin: (-effective_msat(coin, self.feerate_sat_per_kw), coin.outpoint))
        excess_weight = self.total_weight(useful, with_change=True) - MAX_TX_WEIGHT
        while excess_weight > 0:
            excess_weight -= useful.pop().input_weight
        return useful

    def needed_sat(self) -> int:
        """What is missing before any coin is taken: amounts and the fee of everything but the coins' own inputs."""
        with_change = not self.outputs
        fee_sat = self.fee_sat((), with_change=with_change)
        change_sat = self.drop_limit_sat if with_change else 0
        return max(0, self.outputs_sat + fee_sat + change_sat - self.fixed_sat)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Coins that pay for a target, and what becomes of the money."""

    coins: tuple[Coin, ...]
    change_sat: int | None
    fee_sat: int


def effective_msat(coin: Coin, feerate_sat_per_kw: int) -> int:
    """What is left of a coin after its input's fee; negative for coins that are not worth spending."""
    return coin.value_sat * 1_000 - coin.input_weight * feerate_sat_per_kw


def select(
    coins: Sequence[Coin],
    target: Target,
    *,
    seed: bytes,
    accept: Callable[[Selection], bool] = lambda selection: True,
) -> Selection | None:
    """Picks coins for a target; None when no choice reaches. `accept` may refuse a choice (it keeps a reserve)."""
    rate_sat_per_kw = target.feerate_sat_per_kw
    useful = [coin for coin in coins if effective_msat(coin, rate_sat_per_kw) > 0]
    useful.sort(key=lambda coin: (-effective_msat(coin, rate_sat_per_kw), coin.outpoint))

    def good(chosen: Sequence[Coin] | None) -> Selection | None:
        selection = None if chosen is None else target.settle(chosen)
        return selection if selection is not None and accept(selection) else None

    alone = good(())
    if alone is not None:
        return alone
    exact = good(_branch_and_bound(useful, target))
    if exact is not None and exact.change_sat is None:
        return exact
    drawn = good(_single_random_draw(useful, target, seed))
    if drawn is not None and rate_sat_per_kw <= LONG_TERM_FEERATE_SAT_PER_KW:
        return drawn
    largest = good(_largest_first(useful, target))
    if drawn is not None and (largest is None or drawn.fee_sat <= largest.fee_sat):
        return drawn
    return largest or good(useful)


def _wanted_msat(target: Target) -> int:
    """What the effective values have to add up to without change (while the inputs number less than 253)."""
    base_weight = target.total_weight((), with_change=False)
    needed_sat = target.outputs_sat + target.extra_fee_sat - target.fixed_sat
    return needed_sat * 1_000 + base_weight * target.feerate_sat_per_kw


def _spare_msat(target: Target) -> int:
    """How much more than that may be given up, rather than making change of it."""
    return target.change_weight * target.feerate_sat_per_kw + target.drop_limit_sat * 1_000


def _branch_and_bound(coins: Sequence[Coin], target: Target) -> list[Coin] | None:
    """Coins, largest first, searched depth first for the sum that gives up least; every branch that can no longer
    reach, or has gone over, is cut."""
    if not target.outputs:
        return None
    values_msat = [effective_msat(coin, target.feerate_sat_per_kw) for coin in coins]
    wanted_msat = _wanted_msat(target)
    most_msat = wanted_msat + _spare_msat(target) - 1
    rest_msat = sum(values_msat)
    if wanted_msat <= 0 or rest_msat < wanted_msat:
        return None
    best: list[int] | None = None
    best_msat = 0
    picked: list[int] = []
    sum_msat = 0
    position = 0
    for _ in range(MAX_TRIES):
        backtrack = False
        if sum_msat + rest_msat < wanted_msat or sum_msat > most_msat:
            backtrack = True
        elif sum_msat >= wanted_msat:
            if best is None or sum_msat < best_msat:
                best, best_msat = list(picked), sum_msat
                if sum_msat == wanted_msat:
                    break
            backtrack = True
        elif position == len(values_msat):
            backtrack = True
        if not backtrack:
            value_msat = values_msat[position]
            rest_msat -= value_msat
            # A coin like one that was just left out would lead to the same sums again.
            if not picked or picked[-1] == position - 1 or value_msat != values_msat[position - 1]:
                picked.append(position)
                sum_msat += value_msat
            position += 1
            continue
        if not picked:
            break
        # Back to the last coin that was taken, and on without it.
        position -= 1
        while position > picked[-1]:
            rest_msat += values_msat[position]
            position -= 1
        sum_msat -= values_msat[position]
        picked.pop()
        position += 1
    return None if best is None else [coins[index] for index in best]


def _single_random_draw(coins: Sequence[Coin], target: Target, seed: bytes) -> list[Coin] | None:
    """Shuffled coins until there is enough for a change worth making."""
    wanted_msat = _wanted_msat(target) + _spare_msat(target)
    chosen: list[Coin] = []
    sum_msat = 0
    for coin in shuffled(coins, seed):
        if sum_msat >= wanted_msat and target.settle(chosen) is not None:
            return chosen
        chosen.append(coin)
        sum_msat += effective_msat(coin, target.feerate_sat_per_kw)
    return chosen if target.settle(chosen) is not None else None


def _largest_first(coins: Sequence[Coin], target: Target) -> list[Coin] | None:
    wanted_msat = _wanted_msat(target)
    chosen: list[Coin] = []
    sum_msat = 0
    for coin in coins:
        chosen.append(coin)
        sum_msat += effective_msat(coin, target.feerate_sat_per_kw)
        if sum_msat >= wanted_msat and target.settle(chosen) is not None:
            return chosen
    return None


def random_numbers(seed: bytes) -> Iterator[int]:
    """64-bit numbers from a seed, without end."""
    counter = 0
    while True:
        digest = sha256(seed + counter.to_bytes(8, "big")).digest()
        for at in range(0, 32, 8):
            yield int.from_bytes(digest[at : at + 8], "big")
        counter += 1


def shuffled(coins: Sequence[Coin], seed: bytes) -> list[Coin]:
    """Fisher and Yates; 64 bits modulo a few thousand favour nobody by more than 2^-50."""
    out = list(coins)
    numbers = random_numbers(seed)
    for last in range(len(out) - 1, 0, -1):
        other = next(numbers) % (last + 1)
        out[last], out[other] = out[other], out[last]
    return out
