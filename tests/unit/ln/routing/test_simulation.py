"""The simulated network of `benchmarks/simulation.py`: nothing is lost in it, and it tells scorers apart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.route import NOW
from benchmarks.simulation import (
    FEES_ONLY,
    SPLITS,
    Balances,
    Outcome,
    Payment,
    Simulation,
    compare,
    draw_payments,
)
from benchmarks.topology import Terms, Topology, graph_of, node_secret, synthetic
from wallet.bitcoin import curve
from wallet.ln.routing.scoring import ProbabilisticScorer, ProbabilisticScoringParameters
from wallet.ln.types import InvariantError, NodeId, ShortChannelId

CAPACITY_SAT = 2_000_000
AMOUNT_MSAT = 100_000_000
CHEAP_PPM, DEAR_PPM = 10, 200


def holdings_msat(balances: Balances, node: NodeId) -> int:
    return sum(hop.next_outbound_htlc_limit_msat for hop in balances.channels(node))


class TwoWays:
    """A pays D over B, which is cheap and has nothing in its channel to D, or over C, which is dear."""

    def __init__(self) -> None:
        ids = [curve.pubkey_from_secret(node_secret(index)) for index in range(4)]
        ends = ((0, 1), (1, 3), (0, 2), (2, 3))
        channels = [(number << 40, *pair, CAPACITY_SAT) for number, pair in enumerate(ends, 600_000)]
        terms = [
            Terms(
                channel=channel,
                direction=direction,
                enabled=True,
                htlc_minimum_msat=1,
                htlc_maximum_msat=CAPACITY_SAT * 1_000,
                fee_base_msat=0,
                fee_proportional_millionths=CHEAP_PPM if channel < 2 else DEAR_PPM,
                cltv_expiry_delta=40,
            )
            for channel in range(4)
            for direction in (0, 1)
        ]
        topology = Topology(ids, channels, terms)
        self.graph = graph_of(topology)
        self.balances = Balances(topology, lambda draw: 0.5, 1)
        self.nodes = dict(zip("ABCD", map(NodeId, ids), strict=True))
        self.payment = Payment(NodeId(ids[0]), NodeId(ids[3]), AMOUNT_MSAT)
        empty = self.balances.side_msat[ShortChannelId(600_001 << 40)]
        b_side = 0 if ids[1] < ids[3] else 1
        empty[b_side], empty[1 - b_side] = 0, CAPACITY_SAT * 1_000

    def play(
        self, count: int, parameters: ProbabilisticScoringParameters | None = None, *, learns: bool
    ) -> list[Outcome]:
        scorer = ProbabilisticScorer(self.graph, parameters)
        return Simulation(self.graph, self.balances.copy(), scorer, learns=learns).play(
            [self.payment] * count
        )


def test_a_payment_fails_at_the_hop_that_holds_too_little_and_goes_another_way() -> None:
    dear = Outcome(True, 2, AMOUNT_MSAT * DEAR_PPM // 1_000_000)
    assert TwoWays().play(3, FEES_ONLY, learns=False) == [dear] * 3


def test_a_scorer_that_learns_does_not_fail_twice_in_the_same_place_and_one_that_does_not_is_noticed() -> (
    None
):
    world = TwoWays()
    learnt, untaught = world.play(4, learns=True), world.play(4, learns=False)
    cheapest = world.play(4, FEES_ONLY, learns=False)
    assert [outcome.attempts for outcome in learnt] == [2, 1, 1, 1]
    assert [outcome.attempts for outcome in untaught] == [2, 2, 2, 2]
    assert all(figure.ok for figure in compare("hand-made", learnt, cheapest, untaught))
    missed = [figure.name for figure in compare("hand-made", untaught, cheapest, learnt) if not figure.ok]
    assert missed == ["hand-made balances: the same mean, beside no lessons"]


def test_nodes_on_the_way_keep_their_fee_and_the_scorer_is_told_what_happened_where() -> None:
    world = TwoWays()
    b, c, d = (world.nodes[name] for name in "BCD")
    before = [holdings_msat(world.balances, node) for node in (b, c, d)]
    scorer = ProbabilisticScorer(world.graph)
    outcome = Simulation(world.graph, world.balances, scorer).pay(world.payment, NOW)
    after = [holdings_msat(world.balances, node) for node in (b, c, d)]
    gained_msat = [later - earlier for earlier, later in zip(before, after, strict=True)]
    assert outcome.fee_msat > 0
    assert gained_msat == [0, outcome.fee_msat, AMOUNT_MSAT]
    failed, carried = ShortChannelId(600_001 << 40), ShortChannelId(600_003 << 40)
    assert scorer.liquidity_bounds_msat(failed, int(b > d), NOW) == (0, AMOUNT_MSAT - 1)
    assert scorer.liquidity_bounds_msat(carried, int(c > d), NOW) == (0, CAPACITY_SAT * 1_000 - AMOUNT_MSAT)


def test_a_payment_that_cannot_arrive_leaves_all_as_it_was() -> None:
    world = TwoWays()
    before = {scid: list(sides) for scid, sides in world.balances.side_msat.items()}
    too_much = replace(world.payment, amount_msat=AMOUNT_MSAT * 11)
    simulation = Simulation(world.graph, world.balances, ProbabilisticScorer(world.graph))
    outcome = simulation.pay(too_much, NOW)
    assert not outcome.arrived
    assert outcome.attempts > 1
    assert world.balances.side_msat == before


@pytest.mark.parametrize("amount_msat", [1_100_000_000, 1_400_000_000, 1_550_000_000])
def test_a_channel_that_lacked_a_part_carries_a_smaller_one(amount_msat: int) -> None:
    """Both ways are needed, so that the payment fails where one failure shuns a channel at any amount."""
    world = TwoWays()
    b_side = 0 if world.nodes["B"] < world.nodes["D"] else 1
    narrow = world.balances.side_msat[ShortChannelId(600_001 << 40)]
    narrow[b_side], narrow[1 - b_side] = 600_000_000, CAPACITY_SAT * 1_000 - 600_000_000
    payment = replace(world.payment, amount_msat=amount_msat)
    outcome = Simulation(world.graph, world.balances, ProbabilisticScorer(world.graph)).pay(payment, NOW)
    assert outcome.arrived
    assert outcome.attempts > 2


@pytest.mark.parametrize("split", sorted(SPLITS))
def test_no_msat_is_lost_or_made_and_the_same_seed_gives_the_same_payments(split: str) -> None:
    topology = synthetic(nodes=200, channels=700)
    graph = graph_of(topology)
    start = Balances(topology, SPLITS[split], 7)
    payments = draw_payments(graph, start, 40, 7)
    assert payments == draw_payments(graph, start, 40, 7)
    simulation = Simulation(graph, start.copy(), ProbabilisticScorer(graph))
    balances = simulation.balances
    outcomes = []
    for payment in payments:
        before = [holdings_msat(balances, node) for node in (payment.payer, payment.payee)]
        outcome = simulation.pay(payment, NOW)
        after = [holdings_msat(balances, node) for node in (payment.payer, payment.payee)]
        spent_msat = payment.amount_msat + outcome.fee_msat if outcome.arrived else 0
        assert before[0] - after[0] == spent_msat
        assert (after[1] - before[1] >= payment.amount_msat) == outcome.arrived
        balances.check()
        outcomes.append(outcome)
    # Some fail on the way, so that what they held was given back.
    assert any(outcome.attempts > 1 for outcome in outcomes)
    assert any(outcome.arrived for outcome in outcomes)
    assert balances.side_msat != start.side_msat


def test_balances_that_do_not_add_up_are_noticed() -> None:
    world = TwoWays()
    world.balances.side_msat[ShortChannelId(600_000 << 40)][0] += 1
    with pytest.raises(InvariantError, match="holds"):
        world.balances.check()
