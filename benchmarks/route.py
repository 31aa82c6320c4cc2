"""How long `get_route` takes, compiled and interpreted, for one part and for up to ten.

    python -m benchmarks.route [--topology FILE.npz] [--pairs FILE] [--seed N]

A pair is a line `source destination amount_msat`; source and destination are node ids (66 digits) or positions in
the topology. Without `--pairs`, 100 random ones between which a way exists are drawn, of 10,000 to 1,000,000 sat.
The source's channels stand for our own; each can send all of its capacity.
The scorer has learnt from 2,000 payments, half of which failed, within the last hours.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles

from benchmarks.figures import Figure, of_samples, table
from benchmarks.topology import UPDATED_AT, graph_of, read_npz, synthetic
from wallet.ln.features import Feature, Features
from wallet.ln.route import InFlightHtlcs, PaymentParameters, Route, RouteNotFound, RouteParameters
from wallet.ln.routing.graph import NetworkGraph
from wallet.ln.routing.kernel import COMPILED, INTERPRETED, Kernel
from wallet.ln.routing.router import get_route
from wallet.ln.routing.scoring import ProbabilisticScorer
from wallet.ln.types import NodeId, Now, ShortChannelId

MPP = Features.of(optional=(Feature.VAR_ONION_OPTIN, Feature.PAYMENT_SECRET, Feature.BASIC_MPP))
NOW = Now(at=UPDATED_AT + 3_600, mono_ms=0)
PAIRS = 100
AMOUNTS_SAT = (10_000, 1_000_000)
LESSONS = 2_000
COMPILED_LIMIT_MS = 1.0
PARTS_LIMIT_MS = 5.0
INTERPRETED_LIMIT_MS = 60.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Who pays whom, and how much."""

    source: NodeId
    destination: NodeId
    amount_msat: int


@dataclass(frozen=True, slots=True)
class OwnChannel:
    """A `FirstHop`."""

    counterparty_node_id: NodeId
    outbound_payment_scid: ShortChannelId | None
    next_outbound_htlc_limit_msat: int
    next_outbound_htlc_minimum_msat: int = 1


def first_hops(graph: NetworkGraph, source: NodeId) -> list[OwnChannel]:
    """The source's channels, as if they were ours."""
    info = graph.node(source)
    hops = []
    for scid in info.channels if info is not None else ():
        channel = graph.channel(scid)
        if channel is not None:
            other = channel.node_id_2 if channel.node_id_1 == source else channel.node_id_1
            hops.append(OwnChannel(other, scid, (channel.capacity_sat or 0) * 1_000))
    return hops


def ask(pair: Pair, max_parts: int) -> RouteParameters:
    params = PaymentParameters(
        payee=pair.destination, final_cltv_delta=18, features=MPP, max_path_count=max_parts
    )
    return RouteParameters.from_payment_params_and_value(params, pair.amount_msat)


class Bench:
    """A graph, a scorer that knows something, and pairs."""

    def __init__(self, graph: NetworkGraph, seed: int) -> None:
        self.graph = graph
        self.scorer = ProbabilisticScorer(graph)
        self.draw = random.Random(seed)
        self.nodes = list(graph.node_ids())

    def route(self, pair: Pair, max_parts: int, kernel: Kernel, hops: Sequence[OwnChannel]) -> Route:
        return get_route(
            pair.source, ask(pair, max_parts), self.graph, hops, self.scorer, InFlightHtlcs(), NOW,
            random_seed=bytes(32), kernel=kernel,
        )  # fmt: skip

    def random_pair(self) -> Pair:
        source, destination = self.draw.sample(self.nodes, 2)
        return Pair(source, destination, self.draw.randint(*AMOUNTS_SAT) * 1_000)

    def routable(self, count: int, max_parts: int = 1) -> list[Pair]:
        """Random pairs between which there is a way."""
        kernel = COMPILED or INTERPRETED
        pairs: list[Pair] = []
        while len(pairs) < count:
            pair = self.random_pair()
            try:
                self.route(pair, max_parts, kernel, first_hops(self.graph, pair.source))
            except RouteNotFound:
                continue
            pairs.append(pair)
        return pairs

    def teach(self, payments: int) -> None:
        """Let the scorer learn from payments, every other of which failed somewhere."""
        for number, pair in enumerate(self.routable(payments)):
            now = replace(NOW, at=NOW.at - self.draw.randrange(20_000))
            path = self.route(pair, 1, COMPILED or INTERPRETED, first_hops(self.graph, pair.source)).paths[0]
            if number % 2 and len(path.hops) > 1:
                failed = self.draw.choice(path.hops[1:]).short_channel_id
                self.scorer.payment_path_failed(path, failed, now)
            else:
                self.scorer.payment_path_successful(path, now)

    def times_ms(self, pairs: Sequence[Pair], max_parts: int, kernel: Kernel) -> list[float]:
        """How long each pair takes; what is found is checked elsewhere, that it is found, here."""
        hops = [first_hops(self.graph, pair.source) for pair in pairs]
        self.route(pairs[0], max_parts, kernel, hops[0])
        found = []
        for pair, ours in zip(pairs, hops, strict=True):
            began_ns = time.perf_counter_ns()
            self.route(pair, max_parts, kernel, ours)
            found.append((time.perf_counter_ns() - began_ns) / 1e6)
        return found


def read_pairs(path: Path, node_ids: Sequence[bytes]) -> list[Pair]:
    def node(text: str) -> NodeId:
        return NodeId(bytes.fromhex(text) if len(text) == 66 else node_ids[int(text)])

    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    return [Pair(node(source), node(target), int(amount)) for source, target, amount in lines]


def run(
    topology: Path | None, pairs_file: Path | None, seed: int, say: Callable[[str], None]
) -> list[Figure]:
    network = synthetic() if topology is None else read_npz(topology)
    graph = graph_of(network)
    say(f"{graph.node_count} nodes, {graph.channel_count} channels")
    bench = Bench(graph, seed)
    bench.teach(LESSONS)
    pairs = read_pairs(pairs_file, network.node_ids) if pairs_file else bench.routable(PAIRS)
    figures = []
    if COMPILED is None:
        say("the kernel is not compiled here: no compiler, or `make kernel` was not run")
    else:
        for name, parts, limit_ms in (("", 1, COMPILED_LIMIT_MS), (", up to 10 parts", 10, PARTS_LIMIT_MS)):
            samples = bench.times_ms(pairs, parts, COMPILED)
            figures.append(of_samples(f"get_route{name}", samples, "ms", limit_ms, "lower"))
            say(
                f"  {figures[-1].name}: {median(samples):.3f} ms, 90 % below {quantiles(samples, n=10)[-1]:.3f} ms"
            )
    samples = bench.times_ms(pairs, 1, INTERPRETED)
    figures.append(of_samples("get_route, interpreted", samples, "ms", INTERPRETED_LIMIT_MS, "lower"))
    return figures


def measure(folder: Path, say: Callable[[str], None], topology: Path | None = None) -> list[Figure]:
    """For `make bench`."""
    return run(topology, None, 1, say)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.route", description=__doc__)
    parser.add_argument("--topology", type=Path)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(table(run(args.topology, args.pairs, args.seed, print)))


if __name__ == "__main__":
    main()
