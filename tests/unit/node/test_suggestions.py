"""Whom to open a channel with, what peers say they take, and what size makes sense."""

from __future__ import annotations

import itertools

import pytest

from wallet.node.suggestions import (
    LEAST_PEERS,
    WELL_CONNECTED,
    NodeFacts,
    draw,
    graph_reason,
    listed,
    minimum_in,
    sensible_sat,
    well_connected,
)

NODE = "02" + "ab" * 32


@pytest.mark.parametrize(
    ("said", "minimum_sat"),
    [
        ("chan size of 0.0002 BTC is below min chan size of 0.004 BTC", 400_000),
        ("chan size of 0.0002 BTC is below min chan size of 1.5 BTC; invalid channel type", 150_000_000),
        ("chan size of 20000sat is below min chan size of 200000sat", 200_000),
        ("invalid funding_amount=20000 sat (min=100000 sat)", 100_000),
        ("invalid funding_amount=20000 sat (min=100000 sat); invalid channel_type=0x1000", 100_000),
        ("channel capacity with funding 20000sat, channel capacity is 18000sat, which is below 1000000sat", 1_000_000),
        ("channel capacity is 18000sat, which is below 50000500msat", 50_001),
        ("We take channels from 150000 sat on.", 150_000),
        ("the minimum channel size is 1,000,000 sat", 1_000_000),
    ],
)  # fmt: skip
def test_a_refusal_that_names_a_minimum_is_understood(said: str, minimum_sat: int) -> None:
    assert minimum_in(said, 20_000) == minimum_sat


@pytest.mark.parametrize(
    "said",
    [
        "",
        "channel rejected",
        "feerate 253 is below 500",
        "no more than 3 pending channels",
        "min chan size of 99999999999999999999 sat",
        "at the minimum",
    ],
)
def test_any_other_refusal_names_none_that_would_be_believed(said: str) -> None:
    assert minimum_in(said, 20_000) is None


def test_a_list_is_read_and_what_is_no_node_is_passed_over() -> None:
    text = f"# remarks\n\n{NODE}@node.example:9735  A node  # a remark\n02ab@short:1\n{NODE}@[::1]:9735\n"
    found = listed(text)
    assert [(item.address, item.alias) for item in found] == [
        ("node.example:9735", "A node"),
        ("[::1]:9735", ""),
    ]
    assert found[0].uri == f"{NODE}@node.example:9735"
    assert all(item.reason for item in found)


def test_the_lot_is_drawn_among_the_well_connected_alone() -> None:
    counts = [*range(LEAST_PEERS), *range(LEAST_PEERS, LEAST_PEERS + 2 * WELL_CONNECTED)]
    worth = well_connected(counts)
    assert len(worth) == WELL_CONNECTED
    assert min(counts[index] for index in worth) == LEAST_PEERS + WELL_CONNECTED
    assert well_connected([LEAST_PEERS - 1]) == []
    lots = itertools.count(0)
    backwards = draw(worth, lambda: (1_000 - next(lots)).to_bytes(2, "big"))
    assert backwards == worth[::-1]


def test_the_reason_tells_size_and_age() -> None:
    facts = NodeFacts(channels=120, capacity_sat=310_000_000, oldest_height=600_000)
    assert graph_reason(facts, 800_000) == (
        "Drawn by lot among the well-connected: 120 channels with 3 BTC, the oldest is 3 years old."
    )
    young = NodeFacts(channels=30, capacity_sat=90_000_000, oldest_height=799_000)
    assert "all of them younger than a year" in graph_reason(young, 800_000)


@pytest.mark.parametrize(
    ("costs_sat", "minimum_sat", "size_sat"),
    [(0, 0, 100_000), (500, 0, 100_000), (3_010, 0, 160_000), (3_010, 1_000_000, 1_000_000), (123_456, 0, 6_200_000)],
)  # fmt: skip
def test_a_sensible_size_follows_the_fees_and_the_peer(
    costs_sat: int, minimum_sat: int, size_sat: int
) -> None:
    assert sensible_sat(costs_sat, minimum_sat) == size_sat
