"""Coin selection: what holds for every choice, whatever the coins."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet.bitcoin.amounts import fee_sat_ceil
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.script import dust_limit_sat
from wallet.bitcoin.tx import OutPoint, Txid, TxOut
from wallet.onchain.coins import (
    MAX_TX_WEIGHT,
    Coin,
    Target,
    _branch_and_bound,
    _single_random_draw,
    _spare_msat,
    _wanted_msat,
    effective_msat,
    input_weight_for_script,
    select,
    shuffled,
)

P2WPKH = b"\x00\x14" + bytes(20)
P2TR = b"\x51\x20" + bytes(32)
P2WSH = b"\x00\x20" + bytes(32)
SEED = bytes(32)


def coin(number: int, value_sat: int, script: bytes = P2WPKH) -> Coin:
    outpoint = OutPoint(Txid(sha256(number.to_bytes(4, "big"))), 0)
    return Coin(outpoint=outpoint, output=TxOut(value_sat, script), height=1, is_change=False, trusted=True)


def target(value_sat: int, rate: int, script: bytes = P2WPKH) -> Target:
    return Target(outputs=(TxOut(value_sat, script),), change_script=P2WPKH, feerate_sat_per_kw=rate)


coin_lists = st.lists(
    st.tuples(st.integers(300, 5_000_000), st.sampled_from([P2WPKH, P2TR])), min_size=0, max_size=40
).map(lambda items: [coin(number, value_sat, script) for number, (value_sat, script) in enumerate(items)])
rates = st.one_of(st.integers(253, 3_000), st.integers(253, 200_000))


@given(coin_lists, st.integers(330, 6_000_000), rates, st.binary(min_size=32, max_size=32))
def test_every_selection_is_sound(coins: list[Coin], value_sat: int, rate: int, seed: bytes) -> None:
    wanted = target(value_sat, rate)
    found = select(coins, wanted, seed=seed)
    useful = [item for item in coins if effective_msat(item, rate) > 0]
    if found is None:
        # Only where really nothing reaches.
        assert wanted.settle(useful) is None
        return
    assert len(set(found.coins)) == len(found.coins)
    assert set(found.coins) <= set(useful)
    in_sat = sum(item.value_sat for item in found.coins)
    assert in_sat == value_sat + found.fee_sat + (found.change_sat or 0)
    with_change = found.change_sat is not None
    asked_sat = fee_sat_ceil(wanted.total_weight(found.coins, with_change=with_change), rate)
    assert wanted.total_weight(found.coins, with_change=with_change) <= MAX_TX_WEIGHT
    if found.change_sat is not None:
        assert found.fee_sat == asked_sat
        assert found.change_sat >= dust_limit_sat(P2WPKH)
    else:
        assert asked_sat <= found.fee_sat
        # What goes to the fee beyond that would not have been worth an output.
        assert found.fee_sat * 1_000 < asked_sat * 1_000 + _spare_msat(wanted) + 1_000


@given(coin_lists, st.integers(330, 6_000_000), rates)
def test_the_same_question_gets_the_same_answer(coins: list[Coin], value_sat: int, rate: int) -> None:
    first = select(coins, target(value_sat, rate), seed=SEED)
    second = select(list(reversed(coins)), target(value_sat, rate), seed=SEED)
    assert first == second


@given(
    st.lists(st.integers(2_000, 60_000), min_size=1, max_size=9),
    st.integers(1_000, 200_000),
    st.sampled_from([253, 1_000, 5_000]),
)
def test_branch_and_bound_finds_the_best(values_sat: list[int], value_sat: int, rate: int) -> None:
    coins = [coin(number, value) for number, value in enumerate(values_sat)]
    coins = [item for item in coins if effective_msat(item, rate) > 0]
    coins.sort(key=lambda item: -item.value_sat)
    wanted = target(value_sat, rate)
    low_msat, high_msat = _wanted_msat(wanted), _wanted_msat(wanted) + _spare_msat(wanted)
    sums_msat = [
        sum(effective_msat(item, rate) for item in chosen)
        for size in range(1, len(coins) + 1)
        for chosen in combinations(coins, size)
    ]
    fitting_msat = [total_msat for total_msat in sums_msat if low_msat <= total_msat < high_msat]
    found = _branch_and_bound(coins, wanted)
    if not fitting_msat:
        assert found is None
    else:
        assert found is not None
        assert sum(effective_msat(item, rate) for item in found) == min(fitting_msat)


def test_an_exact_match_makes_no_change() -> None:
    rate = 1_000
    coins = [coin(1, 100_000), coin(2, 61_000), coin(3, 47_000), coin(4, 9_000)]
    wanted = target(61_000 + 9_000 - 1_000, rate)
    fee_sat = wanted.fee_sat(coins[:2], with_change=False)
    wanted = target(61_000 + 9_000 - fee_sat, rate)
    found = select(coins, wanted, seed=SEED)
    assert found is not None
    assert found.change_sat is None
    assert found.fee_sat == fee_sat
    assert {item.value_sat for item in found.coins} == {61_000, 9_000}


def test_taproot_coins_cost_less() -> None:
    assert input_weight_for_script(P2TR) == 230
    assert input_weight_for_script(P2WPKH) == 271


def test_coins_that_cost_more_than_they_give_stay() -> None:
    rate = 25_000
    dust = [coin(number, 5_000) for number in range(1, 20)]
    found = select([*dust, coin(0, 1_000_000)], target(500_000, rate), seed=SEED)
    assert found is not None
    assert [item.value_sat for item in found.coins] == [1_000_000]
    assert select(dust, target(10_000, rate), seed=SEED) is None


def test_high_fee_rates_take_few_coins() -> None:
    coins = [coin(number, 20_000) for number in range(1, 60)] + [coin(0, 900_000)]
    found = select(coins, target(700_000, 5_000), seed=SEED)
    assert found is not None
    assert len(found.coins) <= 2


def test_the_draw_depends_on_the_seed_only() -> None:
    coins = [coin(number, 10_000 + number) for number in range(30)]
    assert shuffled(coins, SEED) == shuffled(coins, SEED)
    orders = {tuple(shuffled(coins, bytes([number]) * 32)) for number in range(50)}
    assert len(orders) == 50
    firsts = {shuffled(coins, number.to_bytes(2, "big"))[0] for number in range(400)}
    assert len(firsts) == 30
    assert _single_random_draw(coins, target(10_000_000, 253), SEED) is None


@pytest.mark.parametrize("count", [252, 253, 300])
def test_the_count_of_inputs_is_weighed(count: int) -> None:
    coins = [coin(number, 10_000) for number in range(count)]
    rate = 1_000
    wanted = target(1, rate)
    fee_sat = wanted.fee_sat(coins, with_change=False)
    wanted = target(10_000 * count - fee_sat, rate)
    found = select(coins, wanted, seed=SEED)
    assert found is not None
    assert (found.fee_sat, found.change_sat) == (fee_sat, None)
    over = target(10_000 * count - fee_sat + 1, rate)
    assert select(coins, over, seed=SEED) is None


def test_a_transaction_stays_standard() -> None:
    coins = [coin(number, 1_000) for number in range(3_000)]
    assert select(coins, target(2_000_000, 253), seed=SEED) is None
    fitting = target(1_000, 253).most_that_fit(coins)
    assert len(fitting) == 1_474
    assert target(1_000, 253).settle(fitting) is not None


@given(coin_lists, st.integers(0, 3_000_000), st.integers(330, 3_000_000), rates)
def test_a_refused_choice_is_never_taken(coins: list[Coin], keep_sat: int, value_sat: int, rate: int) -> None:
    worth_sat = sum(item.value_sat for item in coins if effective_msat(item, rate) > 0)

    def left_sat(chosen: tuple[Coin, ...], change_sat: int | None) -> int:
        return worth_sat - sum(item.value_sat for item in chosen) + (change_sat or 0)

    found = select(
        coins,
        target(value_sat, rate, P2WSH),
        seed=SEED,
        accept=lambda selection: left_sat(selection.coins, selection.change_sat) >= keep_sat,
    )
    if found is not None:
        assert left_sat(found.coins, found.change_sat) >= keep_sat
