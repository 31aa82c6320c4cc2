"""How long `get_route` takes, compiled and interpreted, for one part and for up to ten.

    python -m benchmarks.route [--topology FILE.npz] [--pairs FILE] [--seed N]

A pair is a line `source destination amount_msat`; source and destination are node ids (66 digits) or positions in
the topology. Without `--pairs`, 100 random ones between which a way exists are drawn, of 10,000 to 1,000,000 sat; for
up to ten parts, 100 more that ten parts can pay, and 100 that one part cannot.
The source's channels stand for our own; each can send all of its capacity.
The scorer has learnt from 2,000 payments, half of which failed, within the last hours.

Where `make peers` was run, rust-lightning answers the same questions beside us: the same graph, our channels as its
first hops, and its own scorer, which was told of the same payments. Rounds alternate; of each pair the median of the
rounds counts. How many pairs found no route there is said: their time counts as any other.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median, quantiles

from benchmarks import rust_lightning
from benchmarks.figures import Figure, of_samples, table
from benchmarks.inputs import InputError, read_bytes, refused
from benchmarks.rust_lightning import RustLightning
from benchmarks.topology import UPDATED_AT, graph_of, read_npz, synthetic
from wallet.ln.features import Feature, Features
from wallet.ln.route import InFlightHtlcs, PaymentParameters, Route, RouteNotFound, RouteParameters
from wallet.ln.routing.graph import NetworkGraph
from wallet.ln.routing.kernel import COMPILED, INTERPRETED, Kernel
from wallet.ln.routing.pathfinding import MAX_AMOUNT_MSAT
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
SEVERAL_LIMIT_MS = 10.0
"""Nobody asked for this line; a search for each part takes longer than one."""
INTERPRETED_LIMIT_MS = 60.0
FINAL_CLTV_DELTA = 18
ROUNDS = 3


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
        payee=pair.destination, final_cltv_delta=FINAL_CLTV_DELTA, features=MPP, max_path_count=max_parts
    )
    return RouteParameters.from_payment_params_and_value(params, pair.amount_msat)


class Bench:
    """A graph, a scorer that knows something, and pairs.

    Attributes:
        lessons: what the scorer was taught, as another program can be told it.
    """

    def __init__(self, graph: NetworkGraph, seed: int) -> None:
        self.graph = graph
        self.scorer = ProbabilisticScorer(graph)
        self.draw = random.Random(seed)
        self.nodes = list(graph.node_ids())
        self.lessons: list[dict[str, object]] = []

    def route(self, pair: Pair, max_parts: int, kernel: Kernel, hops: Sequence[OwnChannel]) -> Route:
        return get_route(
            pair.source, ask(pair, max_parts), self.graph, hops, self.scorer, InFlightHtlcs(), NOW,
            random_seed=bytes(32), kernel=kernel,
        )  # fmt: skip

    def has_route(self, pair: Pair, max_parts: int) -> bool:
        try:
            self.route(pair, max_parts, COMPILED or INTERPRETED, first_hops(self.graph, pair.source))
        except RouteNotFound:
            return False
        return True

    def random_pair(self) -> Pair:
        source, destination = self.draw.sample(self.nodes, 2)
        return Pair(source, destination, self.draw.randint(*AMOUNTS_SAT) * 1_000)

    def routable(self, count: int, max_parts: int = 1, *, but_not_in_one: bool = False) -> list[Pair]:
        """Random pairs between which there is a way; `but_not_in_one` leaves those that need several parts."""
        pairs: list[Pair] = []
        while len(pairs) < count:
            pair = self.random_pair()
            if self.has_route(pair, max_parts) and not (but_not_in_one and self.has_route(pair, 1)):
                pairs.append(pair)
        return pairs

    def teach(self, payments: int) -> None:
        """Let the scorer learn from payments, every other of which failed somewhere."""
        for number, pair in enumerate(self.routable(payments)):
            now = replace(NOW, at=NOW.at - self.draw.randrange(20_000))
            path = self.route(pair, 1, COMPILED or INTERPRETED, first_hops(self.graph, pair.source)).paths[0]
            failed = None
            if number % 2 and len(path.hops) > 1:
                failed = self.draw.choice(path.hops[1:]).short_channel_id
                self.scorer.payment_path_failed(path, failed, now)
            else:
                self.scorer.payment_path_successful(path, now)
            hops = [
                (hop.node_id.hex(), str(int(hop.short_channel_id)), hop.fee_msat, hop.cltv_expiry_delta)
                for hop in path.hops
            ]
            lesson: dict[str, object] = {
                "hops": hops,
                "failed": None if failed is None else str(int(failed)),
                "at": now.at,
            }
            self.lessons.append(lesson)

    def times_ms(
        self, pairs: Sequence[Pair], max_parts: int, kernel: Kernel
    ) -> tuple[list[float], list[Route]]:
        """How long each pair takes, and what was found."""
        hops = [first_hops(self.graph, pair.source) for pair in pairs]
        self.route(pairs[0], max_parts, kernel, hops[0])
        times_ms, found = [], []
        for pair, ours in zip(pairs, hops, strict=True):
            began_ns = time.perf_counter_ns()
            found.append(self.route(pair, max_parts, kernel, ours))
            times_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
        return times_ms, found


class Beside:
    """rust-lightning, which knows the same network and the same lessons."""

    def __init__(self, process: RustLightning, bench: Bench) -> None:
        self._process = process
        self._graph = bench.graph
        process.ask("teach", lessons=bench.lessons)

    def look_at(self, pairs: Sequence[Pair]) -> None:
        """From now on, these pairs."""
        asked = [
            {
                "source": pair.source.hex(),
                "payee": pair.destination.hex(),
                "amount_msat": pair.amount_msat,
                "hops": [
                    (
                        hop.counterparty_node_id.hex(),
                        str(int(hop.outbound_payment_scid or 0)),
                        hop.next_outbound_htlc_limit_msat,
                    )
                    for hop in first_hops(self._graph, pair.source)
                ],
            }
            for pair in pairs
        ]
        self._process.ask("pairs", pairs=asked)

    def times_ms(self, max_parts: int) -> tuple[list[float], int]:
        """How long each pair takes, and for how many there was a route."""
        routes = self._process.ask("routes", parts=max_parts, final_cltv_delta=FINAL_CLTV_DELTA)["routes"]
        return [route["ms"] for route in routes], sum(route["parts"] > 0 for route in routes)


def read_pairs(path: Path, node_ids: Sequence[bytes]) -> list[Pair]:
    """Lines `source destination amount_msat`; blank ones are passed over."""
    known = set(node_ids)

    def node(text: str, where: str) -> NodeId:
        if len(text) == 66:
            with contextlib.suppress(ValueError):
                node_id = bytes.fromhex(text)
                if node_id in known:
                    return NodeId(node_id)
            raise InputError(f"{where}: no node of this network has the id {text}.")
        if not text.isascii() or not text.isdecimal() or int(text) >= len(node_ids):
            raise InputError(f"{where}: {text} is neither a node id nor a number below {len(node_ids)}.")
        return NodeId(node_ids[int(text)])

    pairs = []
    try:
        lines = read_bytes(path).decode().splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text.") from error
    for number, line in enumerate(lines, 1):
        where, fields = f"{path}, line {number}", line.split()
        if not fields:
            continue
        if len(fields) != 3:
            raise InputError(
                f"{where}: a line is `source destination amount_msat`, this one has {len(fields)} words."
            )
        if not fields[2].isascii() or not fields[2].isdecimal() or not 0 < int(fields[2]) <= MAX_AMOUNT_MSAT:
            raise InputError(f"{where}: {fields[2]} is no amount in msat.")
        source, target = (node(text, where) for text in fields[:2])
        if source == target:
            raise InputError(f"{where}: nobody pays himself.")
        pairs.append(Pair(source, target, int(fields[2])))
    if not pairs:
        raise InputError(f"{path} has no pairs.")
    return pairs


def with_a_route(
    bench: Bench, pairs: Sequence[Pair], max_parts: int, say: Callable[[str], None]
) -> list[Pair]:
    """Those of a file's pairs that can be paid; what is left out is said."""
    found = [pair for pair in pairs if bench.has_route(pair, max_parts)]
    if len(found) < len(pairs):
        say(f"  {len(pairs) - len(found)} of {len(pairs)} pairs have no route in {max_parts} parts: left out")
    if not found:
        raise InputError(f"Not one of the {len(pairs)} pairs has a route in {max_parts} parts.")
    return found


def timed(
    name: str, bench: Bench, beside: Beside | None, pairs: Sequence[Pair], parts: int, limit_ms: float,
    kernel: Kernel, say: Callable[[str], None],
) -> tuple[Figure, list[Route]]:  # fmt: skip
    """One line of the table, and the routes that were found."""
    ours, theirs = [], []
    if beside is not None:
        beside.look_at(pairs)
    for _ in range(ROUNDS):
        times_ms, found = bench.times_ms(pairs, parts, kernel)
        ours.append(times_ms)
        if beside is not None:
            times_ms, routed = beside.times_ms(parts)
            theirs.append(times_ms)
    samples = [median(times_ms) for times_ms in zip(*ours, strict=True)]
    references = [median(times_ms) for times_ms in zip(*theirs, strict=True)]
    several = sum(len(route.paths) > 1 for route in found)
    figure = of_samples(
        name, samples, "ms", limit_ms, "lower",
        reference=rust_lightning.NAME if references else "", reference_samples=references,
    )  # fmt: skip
    say(
        f"  {name}: {median(samples):.3f} ms, mean {fmean(samples):.3f}, 90 % below "
        f"{quantiles(samples, n=10)[-1] if len(samples) > 1 else samples[0]:.3f} ms; "
        f"{several} of {len(pairs)} in several parts"
    )
    if references:
        say(
            f"    {rust_lightning.NAME}: {median(references):.3f} ms, mean {fmean(references):.3f}; "
            f"{routed} of {len(pairs)} found"
        )
    return figure, found


def run(
    topology: Path | None, pairs_file: Path | None, seed: int, say: Callable[[str], None]
) -> list[Figure]:
    network = synthetic() if topology is None else read_npz(topology)
    given = read_pairs(pairs_file, network.node_ids) if pairs_file else None
    graph = graph_of(network)
    say(f"{graph.node_count} nodes, {graph.channel_count} channels")
    bench = Bench(graph, seed)
    bench.teach(LESSONS)
    in_one = bench.routable(PAIRS) if given is None else with_a_route(bench, given, 1, say)
    if COMPILED is None:
        say("the kernel is not compiled here: no compiler, or `make kernel` was not run")
        return [_interpreted(bench, in_one, None, say)]
    with contextlib.ExitStack() as stack:
        beside = None
        if rust_lightning.is_installed():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leyden-bench-")))
            file = rust_lightning.graph_file(folder, network, say)
            process = stack.enter_context(RustLightning(folder))
            process.read(file)
            beside = Beside(process, bench)
        else:
            say("no rust-lightning beside us: `make peers` installs it")
        lines = [("get_route", in_one, 1, COMPILED_LIMIT_MS)]
        if given is None:
            lines += [
                ("get_route, up to 10 parts", bench.routable(PAIRS, 10), 10, PARTS_LIMIT_MS),
                (
                    "get_route, several parts needed",
                    bench.routable(PAIRS, 10, but_not_in_one=True),
                    10,
                    SEVERAL_LIMIT_MS,
                ),
            ]
        else:
            pairs = with_a_route(bench, given, 10, say)
            lines.append(("get_route, up to 10 parts", pairs, 10, PARTS_LIMIT_MS))
        results = [
            timed(name, bench, beside, pairs, parts, limit_ms, COMPILED, say)
            for name, pairs, parts, limit_ms in lines
        ]
    figures = [figure for figure, _ in results]
    return [*figures, _interpreted(bench, in_one, results[0][1], say)]


def _interpreted(
    bench: Bench, pairs: Sequence[Pair], compiled: list[Route] | None, say: Callable[[str], None]
) -> Figure:
    figure, found = timed(
        "get_route, interpreted", bench, None, pairs, 1, INTERPRETED_LIMIT_MS, INTERPRETED, say
    )
    assert compiled is None or found == compiled, "the compiled kernel finds other routes"
    return figure


def measure(folder: Path, say: Callable[[str], None], topology: Path | None = None) -> list[Figure]:
    """For `make bench`."""
    return run(topology, None, 1, say)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.route", description=__doc__)
    parser.add_argument("--topology", type=Path)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with refused(parser):
        print(table(run(args.topology, args.pairs, args.seed, print)))


if __name__ == "__main__":
    main()
