"""`ProbabilisticScorer`: bounds that hold, decay, and what they cost."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ln.routing.graph_builder import NOW, Net, node_id, own_channel, scid
from wallet.bitcoin.errors import DecodeError
from wallet.ln.route import InFlightHtlcs, Path, PaymentParameters, RouteHop, RouteParameters
from wallet.ln.routing.router import get_route
from wallet.ln.routing.scoring import (
    LiquidityRange,
    ProbabilisticScorer,
    ProbabilisticScoringParameters,
    negative_log10_times_2048,
)
from wallet.ln.types import Now, ShortChannelId

CAPACITY = 1_000_000_000
PARAMETERS = ProbabilisticScoringParameters()


def later(seconds: int) -> Now:
    return Now(at=NOW.at + seconds, mono_ms=0)


class World:
    """us - A - B - C, each public channel of 1,000,000 sat."""

    def __init__(self) -> None:
        self.net = Net()
        self.ab = self.net.open("A", "B")
        self.bc = self.net.open("B", "C")
        self.scorer = ProbabilisticScorer(self.net.graph)
        self.direction = {self.ab: direction("A", "B"), self.bc: direction("B", "C")}

    def path(self, amount_msat: int) -> Path:
        hops = (("A", scid(1), 0), ("B", self.ab, 0), ("C", self.bc, amount_msat))
        return Path(
            hops=tuple(
                RouteHop(
                    node_id=node_id(name),
                    short_channel_id=channel,
                    fee_msat=fee_msat,
                    cltv_expiry_delta=40,
                    maybe_announced_channel=channel != scid(1),
                )
                for name, channel, fee_msat in hops
            )
        )

    def bounds(
        self, channel: ShortChannelId, now: Now = NOW, *, back: bool = False
    ) -> tuple[int, int] | None:
        return self.scorer.liquidity_bounds_msat(channel, self.direction[channel] ^ back, now)

    def penalty(
        self, channel: ShortChannelId, amount_msat: int, inflight_msat: int = 0, now: Now = NOW
    ) -> int:
        return self.scorer.scores(now).channel_penalty_msat(
            channel, self.direction[channel], amount_msat, inflight_msat, CAPACITY
        )


def direction(source: str, target: str) -> int:
    return 0 if node_id(source) < node_id(target) else 1


@given(st.integers(1, 2**64), st.integers(1, 2**64))
def test_logarithm(a: int, b: int) -> None:
    numerator, denominator = min(a, b), max(a, b)
    exact = (math.log10(denominator) - math.log10(numerator)) * 2048
    # Seven binary digits leave log2(1 + 1/64) * 616.5 = 13.8 open on either side, and rounding one more.
    assert abs(negative_log10_times_2048(numerator, denominator) - exact) < 15


def test_an_unknown_channel_costs_more_the_more_of_it_is_asked_for() -> None:
    world = World()
    penalties = [world.penalty(world.ab, CAPACITY * tenth // 10) for tenth in range(1, 11)]
    assert penalties == sorted(penalties)
    assert penalties[0] < 5_000
    # -log10(1/2) * 30,000, and what the amount adds.
    assert penalties[4] > 9_000
    assert penalties[-1] < PARAMETERS.considered_impossible_penalty_msat
    impossible = PARAMETERS.considered_impossible_penalty_msat
    assert world.penalty(world.ab, CAPACITY + 1) > impossible
    assert world.penalty(world.ab, CAPACITY // 2, CAPACITY // 2 + 1) > impossible
    assert world.penalty(world.ab, 1_000, CAPACITY // 2) > world.penalty(world.ab, 1_000)


def test_failure_bounds_from_above_and_what_came_before_from_below() -> None:
    world = World()
    world.scorer.payment_path_failed(world.path(400_000_000), world.bc, NOW)
    assert world.bounds(world.ab) == (400_000_000, CAPACITY)
    assert world.bounds(world.bc) == (0, 399_999_999)
    # What one side cannot send, the other can.
    assert world.bounds(world.bc, back=True) == (CAPACITY - 399_999_999, CAPACITY)
    assert world.penalty(world.ab, 400_000_000) < world.penalty(world.ab, 500_000_000)
    assert world.penalty(world.bc, 400_000_000) > PARAMETERS.considered_impossible_penalty_msat
    assert world.penalty(world.bc, 100_000_000) < PARAMETERS.considered_impossible_penalty_msat


def test_success_moves_the_bounds() -> None:
    world = World()
    world.scorer.probe_successful(world.path(400_000_000), NOW)
    world.scorer.payment_path_successful(world.path(100_000_000), NOW)
    for channel in (world.ab, world.bc):
        assert world.bounds(channel) == (300_000_000, CAPACITY - 100_000_000)


def test_our_own_channel_and_hints_teach_nothing() -> None:
    world = World()
    world.scorer.payment_path_failed(world.path(400_000_000), scid(1), NOW)
    world.scorer.payment_path_failed(world.path(400_000_000), None, NOW)
    world.scorer.payment_path_failed(world.path(400_000_000), scid(999), NOW)
    assert world.bounds(world.ab) is None
    path = world.path(400_000_000)
    hidden = replace(path, hops=(*path.hops[:2], replace(path.hops[2], maybe_announced_channel=False)))
    world.scorer.payment_path_failed(hidden, world.bc, NOW)
    assert world.bounds(world.ab) == (400_000_000, CAPACITY)
    assert world.bounds(world.bc) is None


def test_knowledge_decays() -> None:
    world = World()
    world.scorer.payment_path_failed(world.path(400_000_000), world.bc, NOW)
    half = PARAMETERS.half_life_seconds
    assert world.bounds(world.ab, later(half)) == (200_000_000, CAPACITY)
    assert world.bounds(world.ab, later(half // 2)) == (300_000_000, CAPACITY)
    assert world.bounds(world.bc, later(half)) == (0, CAPACITY - (CAPACITY - 399_999_999) // 2)
    low, high = world.bounds(world.bc, later(40 * half)) or (-1, -1)
    assert (low, high) == (0, CAPACITY)
    # A clock that goes back changes nothing.
    assert world.bounds(world.ab, later(-500)) == (400_000_000, CAPACITY)
    world.scorer.forget_decayed(later(19 * half))
    assert world.bounds(world.ab) is not None
    world.scorer.forget_decayed(later(20 * half))
    assert world.bounds(world.ab) is None


def test_what_a_clock_that_ran_ahead_has_dated_fades_from_now_on() -> None:
    world = World()
    half = PARAMETERS.half_life_seconds
    world.scorer.payment_path_failed(world.path(400_000_000), world.bc, later(1_000 * half))
    assert world.bounds(world.ab) == (400_000_000, CAPACITY)
    world.scorer.forget_decayed(NOW)
    assert world.bounds(world.ab) == (400_000_000, CAPACITY)
    assert world.bounds(world.ab, later(half)) == (200_000_000, CAPACITY)
    world.scorer.forget_decayed(later(20 * half))
    assert world.bounds(world.ab) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["failed", "passed", "successful"]), st.integers(0, 2 * CAPACITY),
            st.integers(0, 100_000),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_bounds_always_make_sense(history: list[tuple[str, int, int]]) -> None:
    world = World()
    now = NOW
    for what, amount_msat, seconds in history:
        now = Now(at=now.at + seconds, mono_ms=0)
        path = world.path(amount_msat)
        if what == "failed":
            world.scorer.payment_path_failed(path, world.bc, now)
        elif what == "passed":
            world.scorer.probe_successful(path, now)
        else:
            world.scorer.payment_path_successful(path, now)
        for channel in (world.ab, world.bc):
            for back in (False, True):
                bounds = world.bounds(channel, now, back=back)
                if bounds is not None:
                    low, high = bounds
                    assert 0 <= low <= high <= CAPACITY
            assert world.penalty(channel, amount_msat, now=now) >= 0


def test_a_failed_channel_is_avoided_and_tried_again_later() -> None:
    net = Net()
    direct = net.open("A", "C", base=1)
    net.open("A", "B", base=50)
    net.open("B", "C", base=50)
    scorer = ProbabilisticScorer(net.graph)
    asked = RouteParameters(
        payment_params=PaymentParameters(payee=node_id("C"), final_cltv_delta=18),
        final_value_msat=50_000_000,
    )

    def route(now: Now) -> Path:
        hops = (own_channel("A", 10**10),)
        return get_route(node_id("us"), asked, net.graph, hops, scorer, InFlightHtlcs(), now).paths[0]

    first = route(NOW)
    assert len(first.hops) == 2
    scorer.payment_path_failed(first, direct, NOW)
    assert len(route(NOW).hops) == 3
    assert len(route(later(30 * PARAMETERS.half_life_seconds)).hops) == 2


def test_there_and_back() -> None:
    world = World()
    world.scorer.payment_path_failed(world.path(400_000_000), world.bc, NOW)
    raw = world.scorer.write()
    read = ProbabilisticScorer.read(raw, world.net.graph)
    assert read.write() == raw
    world.scorer = read
    assert world.bounds(world.ab) == (400_000_000, CAPACITY)
    for damaged in (b"", b"\x02" + raw[1:], raw[:-1], raw + b"\x00"):
        with pytest.raises(DecodeError):
            ProbabilisticScorer.read(damaged, world.net.graph)


def test_contradicting_bounds_are_met() -> None:
    known = LiquidityRange(900, 900, NOW.at)
    assert known.bounds_msat(0, 1_000) == (900, 900)
    assert known.bounds_msat(1, 1_000) == (900, 900)
    assert known.bounds_msat(0, 500) == (500, 500)
