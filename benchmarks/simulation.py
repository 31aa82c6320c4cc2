"""How many payments arrive, after how many attempts and for which fees, on a network whose balances are hidden.

    python -m benchmarks.simulation [--topology FILE.npz] [--count N] [--seed N]

Each channel's capacity is split between its two nodes, and nobody but these two knows how. The same payments are
made three times, from the same start, by wallets that differ in their scorer alone: the product's; one that looks at
fees only (cheapest first); and the product's, but told nothing. All three shun a channel that has failed the payment
at hand, as the product does, and try again as often as it does. A part goes from hop to hop and fails at the first
that holds too little. Parts that arrived wait for the others; what arrives in full moves the balances.

Splits are drawn in two ways, because both are found in writings on the network: uniform (Pickhardt and Richter,
2021, assume it), and bimodal, with most of the capacity on one side (rust-lightning's scorer has come to assume a
density that grows with the square of the distance from the middle; that is drawn here).

Payer and payee are drawn at random among the pairs that could do business: there is a public way, one channel of the
payer holds the amount and 1 % for fees, and one of the payee can take it in. Even so a payment may be impossible, for
all alike. Attempts are those of all payments; fees, of those that arrived for all three. A payment takes a minute, so
that what was learnt fades as it does in the product.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Final

from benchmarks.figures import Better, Figure, table
from benchmarks.inputs import count, refused
from benchmarks.route import MPP, NOW, OwnChannel
from benchmarks.topology import Topology, graph_of, read_npz, synthetic
from wallet.ln.route import ChannelLack, InFlightHtlcs, PaymentParameters, RouteNotFound, RouteParameters
from wallet.ln.route import Path as PaymentPath
from wallet.ln.routing.graph import NetworkGraph
from wallet.ln.routing.kernel import COMPILED
from wallet.ln.routing.router import get_route
from wallet.ln.routing.scoring import ProbabilisticScorer, ProbabilisticScoringParameters
from wallet.ln.types import InvariantError, NodeId, Now, ShortChannelId
from wallet.node.commands.payments import RETRY_ATTEMPTS

COUNT: Final = 1_000
INTERPRETED_COUNT: Final = 100
FEE_LIMIT_RATIO: Final = 1.25
"""An attempt less is worth a somewhat higher fee, not any."""
AMOUNTS_SAT: Final = (10_000, 1_000_000)
SECONDS_A_PAYMENT: Final = 60
FEES_ONLY: Final = ProbabilisticScoringParameters(
    base_penalty_msat=0,
    base_penalty_amount_multiplier_msat=0,
    liquidity_penalty_multiplier_msat=0,
    liquidity_penalty_amount_multiplier_msat=0,
    considered_impossible_penalty_msat=0,
    unchecked_penalty_msat=0,
)


def uniform(draw: random.Random) -> float:
    return draw.random()


def bimodal(draw: random.Random) -> float:
    """The density is 3 (2x - 1)^2 between 0 and 1; its integral is inverted."""
    deviation = 2 * draw.random() - 1
    root = math.pow(abs(deviation), 1 / 3)
    return (1 + (root if deviation > 0 else -root)) / 2


SPLITS: Final[dict[str, Callable[[random.Random], float]]] = {"uniform": uniform, "bimodal": bimodal}


@dataclass(frozen=True, slots=True)
class Payment:
    """Who pays whom, and how much."""

    payer: NodeId
    payee: NodeId
    amount_msat: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a payment ended.

    Attributes:
        attempts: paths that were tried.
        fee_msat: paid beyond the amount; 0 where it failed.
    """

    arrived: bool
    attempts: int
    fee_msat: int


@dataclass(frozen=True, slots=True)
class Held:
    """What a part has taken on its way: out of (channel, direction), and not yet given to the other side."""

    path: PaymentPath
    amounts_msat: tuple[tuple[ShortChannelId, int, int], ...]


class Balances:
    """What each side of each channel holds.

    Attributes:
        side_msat: by channel: of the node with the smaller id, then of the other.
    """

    def __init__(self, topology: Topology, split: Callable[[random.Random], float], seed: int) -> None:
        draw = random.Random(seed)
        self.side_msat: dict[ShortChannelId, list[int]] = {}
        self._capacity_msat = {ShortChannelId(row[0]): row[3] * 1_000 for row in topology.channels}
        self._channels: dict[NodeId, list[tuple[ShortChannelId, NodeId]]] = {}
        for number, first, second, capacity_sat in topology.channels:
            scid = ShortChannelId(number)
            ends = NodeId(topology.node_ids[first]), NodeId(topology.node_ids[second])
            share_msat = int(capacity_sat * 1_000 * split(draw))
            self.side_msat[scid] = [share_msat, capacity_sat * 1_000 - share_msat]
            for node, other in (ends, ends[::-1]):
                self._channels.setdefault(node, []).append((scid, other))

    def copy(self) -> Balances:
        twin = Balances.__new__(Balances)
        twin.side_msat = {scid: list(sides) for scid, sides in self.side_msat.items()}
        twin._capacity_msat, twin._channels = self._capacity_msat, self._channels
        return twin

    def check(self) -> None:
        """Raise where a channel holds more or less than its capacity, or a side less than nothing."""
        for scid, sides in self.side_msat.items():
            if sum(sides) != self._capacity_msat[scid] or min(sides) < 0:
                raise InvariantError(f"Channel {scid} holds {sides} of {self._capacity_msat[scid]} msat.")

    def channels(self, node: NodeId) -> list[OwnChannel]:
        """The node's channels, with what it can send; that is the one thing that a payer knows."""
        return [
            OwnChannel(other, scid, self.side_msat[scid][_direction(node, other)])
            for scid, other in self._channels.get(node, ())
        ]

    def most_msat(self, node: NodeId) -> tuple[int, int]:
        """The most that one channel of a node can send, and can take in."""
        sides = [
            (self.side_msat[scid][_direction(node, other)], self.side_msat[scid][_direction(other, node)])
            for scid, other in self._channels.get(node, ())
        ]
        return max((own for own, _ in sides), default=0), max((theirs for _, theirs in sides), default=0)

    def send(self, payer: NodeId, path: PaymentPath) -> Held | ShortChannelId:
        """Send a part from hop to hop; gives what it took, or the channel that held too little."""
        taken: list[tuple[ShortChannelId, int, int]] = []
        source, amount_msat = payer, path.amount_with_fees_msat
        for hop in path.hops:
            direction = _direction(source, hop.node_id)
            if self.side_msat[hop.short_channel_id][direction] < amount_msat:
                self.give_back(Held(path, tuple(taken)))
                return hop.short_channel_id
            self.side_msat[hop.short_channel_id][direction] -= amount_msat
            taken.append((hop.short_channel_id, direction, amount_msat))
            source, amount_msat = hop.node_id, amount_msat - hop.fee_msat
        return Held(path, tuple(taken))

    def give_back(self, held: Held) -> None:
        for scid, direction, amount_msat in held.amounts_msat:
            self.side_msat[scid][direction] += amount_msat

    def settle(self, held: Held) -> None:
        for scid, direction, amount_msat in held.amounts_msat:
            self.side_msat[scid][1 - direction] += amount_msat


def _lack(payer: NodeId, path: PaymentPath, scid: ShortChannelId) -> ChannelLack:
    """What the channel could not carry."""
    index = [hop.short_channel_id for hop in path.hops].index(scid)
    source = path.hops[index - 1].node_id if index else payer
    return ChannelLack(
        short_channel_id=scid,
        ascending=_direction(source, path.hops[index].node_id) == 0,
        amount_msat=path.amount_over_msat(index),
    )


def _direction(source: NodeId, target: NodeId) -> int:
    return 0 if source < target else 1


class Simulation:
    """A wallet that pays: one scorer, and balances that move.

    Attributes:
        learns: whether the scorer is told how payments went.
    """

    def __init__(
        self, graph: NetworkGraph, balances: Balances, scorer: ProbabilisticScorer, *, learns: bool = True
    ) -> None:
        self.graph = graph
        self.balances = balances
        self.scorer = scorer
        self.learns = learns

    def play(self, payments: Sequence[Payment]) -> list[Outcome]:
        outcomes = [
            self.pay(payment, replace(NOW, at=NOW.at + SECONDS_A_PAYMENT * number))
            for number, payment in enumerate(payments)
        ]
        self.balances.check()
        return outcomes

    def pay(self, payment: Payment, now: Now) -> Outcome:
        """Try until it is paid, no way is left, or the product's limit is reached."""
        params = PaymentParameters(payee=payment.payee, final_cltv_delta=18, features=MPP)
        asked = RouteParameters.from_payment_params_and_value(params, payment.amount_msat)
        limit_msat = asked.max_total_routing_fee_msat
        arrived: list[Held] = []
        attempts = 0
        for _ in range(1 + RETRY_ATTEMPTS):
            try:
                paths = self._ways(payment, asked, arrived, now)
            except RouteNotFound:
                break
            for path in paths:
                attempts += 1
                result = self.balances.send(payment.payer, path)
                if isinstance(result, Held):
                    arrived.append(result)
                else:
                    held_now = InFlightHtlcs.from_paths([held.path for held in arrived], payment.payer)
                    lack = _lack(payment.payer, path, result)
                    held_msat = held_now.used_msat.get((lack.short_channel_id, lack.ascending), 0)
                    params = params.with_shunned(lack, held_msat)
                    if self.learns:
                        self.scorer.payment_path_failed(path, result, now)
            fee_msat = sum(held.path.fee_msat for held in arrived)
            missing_msat = payment.amount_msat - sum(held.path.final_value_msat for held in arrived)
            if missing_msat <= 0:
                for held in arrived:
                    self.balances.settle(held)
                    if self.learns:
                        self.scorer.payment_path_successful(held.path, now)
                spent_msat = sum(held.path.amount_with_fees_msat for held in arrived)
                return Outcome(True, attempts, spent_msat - payment.amount_msat)
            left_msat = None if limit_msat is None else max(0, limit_msat - fee_msat)
            asked = RouteParameters(
                payment_params=params, final_value_msat=missing_msat, max_total_routing_fee_msat=left_msat
            )
        for held in arrived:
            self.balances.give_back(held)
        return Outcome(False, attempts, 0)

    def _ways(
        self, payment: Payment, asked: RouteParameters, arrived: Sequence[Held], now: Now
    ) -> tuple[PaymentPath, ...]:
        inflight = InFlightHtlcs.from_paths([held.path for held in arrived], payment.payer)
        hops = self.balances.channels(payment.payer)
        return get_route(payment.payer, asked, self.graph, hops, self.scorer, inflight, now).paths


def draw_payments(graph: NetworkGraph, balances: Balances, count: int, seed: int) -> list[Payment]:
    """Random pairs that could do business; see the module's docstring."""
    draw = random.Random(seed)
    nodes = list(graph.node_ids())
    blind = ProbabilisticScorer(graph, FEES_ONLY)
    least, most = AMOUNTS_SAT
    payments: list[Payment] = []
    while len(payments) < count:
        payer, payee = draw.sample(nodes, 2)
        # Small amounts are as frequent as large ones, by their order of magnitude.
        amount_msat = int(least * (most / least) ** draw.random()) * 1_000
        sendable_msat, receivable_msat = balances.most_msat(payer)[0], balances.most_msat(payee)[1]
        if sendable_msat < amount_msat * 101 // 100 or receivable_msat < amount_msat:
            continue
        params = PaymentParameters(payee=payee, final_cltv_delta=18)
        asked = RouteParameters.from_payment_params_and_value(params, amount_msat)
        try:
            get_route(payer, asked, graph, balances.channels(payer), blind, InFlightHtlcs(), NOW)
        except RouteNotFound:
            continue
        payments.append(Payment(payer, payee, amount_msat))
    return payments


def compare(
    split: str,
    ours: Sequence[Outcome],
    cheapest: Sequence[Outcome],
    untaught: Sequence[Outcome],
) -> list[Figure]:
    """Figures of the same payments, made with the scorer, by fees only, and with a scorer that learns nothing."""

    def figure(
        name: str,
        of: Callable[[Sequence[Outcome]], float],
        unit: str,
        target: float,
        better: Better,
        reference: str = "cheapest first",
        theirs: Sequence[Outcome] = cheapest,
    ) -> Figure:
        return Figure(
            name=f"{split} balances: {name}",
            value=of(ours),
            unit=unit,
            target=target,
            better=better,
            reference=reference,
            reference_value=of(theirs),
            is_ratio=True,
        )

    shared = [
        number
        for number, outcomes in enumerate(zip(ours, cheapest, untaught, strict=True))
        if all(outcome.arrived for outcome in outcomes)
    ]

    def arrived(outcomes: Sequence[Outcome]) -> float:
        return 100 * mean(outcome.arrived for outcome in outcomes)

    def attempts(outcomes: Sequence[Outcome]) -> float:
        return mean(outcome.attempts for outcome in outcomes)

    def middle(outcomes: Sequence[Outcome]) -> float:
        return median(outcome.attempts for outcome in outcomes)

    def fee_sat(outcomes: Sequence[Outcome]) -> float:
        return mean(outcomes[number].fee_msat for number in shared) / 1_000

    return [
        figure("payments that arrive", arrived, "%", 1.0, "higher"),
        figure("attempts a payment, mean", attempts, "", 1.0, "lower"),
        figure("attempts a payment, median", middle, "", 1.0, "lower"),
        figure("the same mean, beside no lessons", attempts, "", 1.0, "lower", "scorer untaught", untaught),
        figure("fee of a payment, mean", fee_sat, "sat", FEE_LIMIT_RATIO, "lower"),
    ]


def run(topology: Path | None, count: int, seed: int, say: Callable[[str], None]) -> list[Figure]:
    network = synthetic() if topology is None else read_npz(topology)
    graph = graph_of(network)
    say(f"{graph.node_count} nodes, {graph.channel_count} channels, {count} payments")
    figures = []
    for name, split in SPLITS.items():
        start = Balances(network, split, seed)
        payments = draw_payments(graph, start, count, seed)

        def play(
            parameters: ProbabilisticScoringParameters | None,
            *,
            learns: bool,
            start: Balances = start,
            payments: Sequence[Payment] = payments,
        ) -> list[Outcome]:
            scorer = ProbabilisticScorer(graph, parameters)
            return Simulation(graph, start.copy(), scorer, learns=learns).play(payments)

        ours, cheapest = play(None, learns=True), play(FEES_ONLY, learns=False)
        figures += compare(name, ours, cheapest, play(None, learns=False))
        for who, outcomes in (("scorer", ours), ("cheapest first", cheapest)):
            arrived = sum(outcome.arrived for outcome in outcomes)
            at_once = sum(outcome.arrived and outcome.attempts == 1 for outcome in outcomes)
            say(f"  {name}, {who}: {arrived} arrived, {at_once} of them at the first attempt")
    return figures


def measure(folder: Path, say: Callable[[str], None], topology: Path | None = None) -> list[Figure]:
    """For `make bench`: fewer payments where routes take long."""
    return run(topology, INTERPRETED_COUNT if COMPILED is None else COUNT, 1, say)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--topology", type=Path)
    parser.add_argument("--count", type=count, default=COUNT)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with refused(parser):
        print(table(run(args.topology, args.count, args.seed, print)))


if __name__ == "__main__":
    main()
