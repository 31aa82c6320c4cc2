"""The search: both forms give the same routes, the routes are the best there are, and a layout follows its graph."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from array import array
from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.route import NOW as BENCH_NOW
from benchmarks.route import Bench, first_hops
from benchmarks.topology import graph_of, synthetic
from tests.unit.ln.routing.graph_builder import (
    NOW,
    Net,
    OwnChannel,
    announce_node,
    node_id,
    own_channel,
    scid,
)
from tests.unit.ln.routing.test_router import MPP, Indifferent, ask
from wallet.ln.features import Features
from wallet.ln.route import (
    InFlightHtlcs,
    PaymentParameters,
    Route,
    RouteHintHop,
    RouteNotFound,
    RouteParameters,
    Shunned,
)
from wallet.ln.routing import layout as layouts
from wallet.ln.routing import pathfinding
from wallet.ln.routing.graph import GraphSnapshot, NetworkGraph
from wallet.ln.routing.kernel import COMPILED, FASTEST, INTERPRETED, Kernel
from wallet.ln.routing.pathfinding import MAX_AMOUNT_MSAT, PathFinder
from wallet.ln.routing.router import get_route
from wallet.ln.routing.scoring import ProbabilisticScorer, ProbabilisticScoringParameters, ScoreLookUp
from wallet.ln.types import APIError, Now

BOTH = (INTERPRETED, FASTEST)


def can_compile() -> bool:
    return importlib.util.find_spec("Cython") is not None and shutil.which("cc") is not None


def test_the_kernel_is_compiled_where_a_compiler_is() -> None:
    assert not INTERPRETED.COMPILED
    assert (COMPILED is not None) == can_compile(), "run `make kernel`"
    if COMPILED is not None:
        assert COMPILED.COMPILED
        # Compiled with its types: without them it would be as slow as it stands.
        with pytest.raises(OverflowError):
            COMPILED.PathFinder().now_at = 1 << 64


def test_the_compiled_form_is_of_this_text() -> None:
    """A module of an older text would give other routes; what was compiled is kept beside."""
    copy = (
        Path(__file__).resolve().parents[4]
        / "build"
        / "kernel"
        / "wallet"
        / "ln"
        / "routing"
        / "_pathfinding.py"
    )
    if COMPILED is not None and copy.exists():
        assert copy.read_bytes() == Path(pathfinding.__file__).read_bytes(), "run `make kernel`"


def test_the_wallet_never_imports_the_compiler() -> None:
    program = "import sys, wallet.node.node; print({'Cython', 'cython'} & set(sys.modules) != set())"
    told = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    assert told.stdout == "False\n"


def a_hint(source: str, base_msat: int, ppm: int) -> RouteHintHop:
    return RouteHintHop(
        node_id=node_id(source),
        short_channel_id=scid(9),
        fee_base_msat=base_msat,
        fee_proportional_millionths=ppm,
        cltv_expiry_delta=20,
    )


def route_or_words(
    net: NetworkGraph | GraphSnapshot,
    asked: RouteParameters,
    hops: list[OwnChannel],
    scorer: ScoreLookUp | ProbabilisticScorer,
    kernel: Kernel,
    inflight: InFlightHtlcs | None = None,
    now: Now = NOW,
) -> Route | str:
    try:
        return get_route(
            node_id("us"), asked, net, hops, scorer, inflight or InFlightHtlcs(), now, kernel=kernel,
            random_seed=b"seed",
        )  # fmt: skip
    except RouteNotFound as error:
        return error.message


# --- both forms -----------------------------------------------------------------------------------


def test_a_large_network_gives_the_same_routes_in_both_forms() -> None:
    graph = graph_of(synthetic(nodes=400, channels=1_200, seed=7))
    bench = Bench(graph, 3)
    bench.teach(60)
    pairs = [bench.random_pair() for _ in range(60)]
    inflight = InFlightHtlcs()
    found = 0
    for number, pair in enumerate(pairs):
        hops = first_hops(graph, pair.source)
        params = PaymentParameters(
            payee=pair.destination, final_cltv_delta=18, features=MPP, max_path_count=1 + 9 * (number % 2)
        )
        # Every third amount is one that hardly fits.
        amount_msat = pair.amount_msat * (200 if number % 3 == 0 else 1)
        asked = RouteParameters.from_payment_params_and_value(params, amount_msat)
        answers: list[Route | str] = []
        for kernel in BOTH:
            try:
                answers.append(
                    get_route(
                        pair.source, asked, graph, hops, bench.scorer, inflight, BENCH_NOW,
                        random_seed=bytes(32), kernel=kernel,
                    )
                )  # fmt: skip
            except RouteNotFound as error:
                answers.append(error.message)
        assert answers[0] == answers[1]
        if isinstance(answers[0], Route):
            found += 1
            for path in answers[0].paths:
                inflight.process_path(path, pair.source)
    assert found > 20


CHANNEL = st.tuples(
    st.sampled_from("ABCDEFG"), st.sampled_from("ABCDEFG"), st.one_of(st.none(), st.integers(1, 2_000)),
    st.integers(0, 5_000), st.integers(0, 100_000), st.integers(1, 300), st.integers(1, 200_000),
    st.integers(1, 2_000_000), st.booleans(),
)  # fmt: skip
LESSON = st.tuples(st.integers(0, 15), st.integers(0, 1), st.integers(1, 2_000_000), st.integers(0, 200_000))


@given(
    st.lists(CHANNEL, max_size=16), st.integers(1, 3_000_000), st.one_of(st.none(), st.integers(0, 50_000)),
    st.integers(1, 6), st.lists(st.integers(1, 2_000_000), min_size=1, max_size=3), st.lists(LESSON, max_size=6),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_both_forms_agree_whatever_the_network(
    channels: list[tuple[str, str, int | None, int, int, int, int, int, bool]],
    amount_msat: int,
    fee_limit_msat: int | None,
    parts: int,
    limits: list[int],
    lessons: list[tuple[int, int, int, int]],
    hinted: bool,
) -> None:
    net = Net()
    scids = []
    for a, b, capacity_sat, base, ppm, cltv, minimum, maximum, disabled in channels:
        if a != b:
            channel = net.open(
                a, b, capacity_sat, base=base, ppm=ppm, cltv=cltv, minimum=minimum, maximum=maximum
            )
            if disabled:
                net.terms(a, b, channel, disabled=1)
            scids.append(channel)
    scorer = ProbabilisticScorer(net.graph)
    inflight = InFlightHtlcs()
    for number, direction, held_msat, ago_seconds in lessons:
        if scids:
            channel = scids[number % len(scids)]
            inflight.used_msat[channel, bool(direction)] = held_msat
            scorer._learn_failure(channel, direction, held_msat, NOW.at - ago_seconds)
    hops = [own_channel("ABC"[number], limit, number + 1) for number, limit in enumerate(limits)]
    hint = a_hint("D", 100, 10)
    # What lacked an amount in this payment already: some of the channels, and one of them for good.
    shunned = {
        (scids[number % len(scids)], bool(direction)): from_msat
        for number, direction, from_msat, _ in lessons[:4]
        if scids
    }
    asked = ask(
        "Z" if hinted else "G", amount_msat, fee_limit_msat, max_path_count=parts, max_path_length=5,
        hints=((hint,),) if hinted else (),
        previously_failed_channels=tuple(scids[5:6]),
        shunned=tuple(
            Shunned(short_channel_id=channel, ascending=ascending, from_msat=from_msat)
            for (channel, ascending), from_msat in shunned.items()
        ),
    )  # fmt: skip
    for judge in (scorer, Indifferent()):
        answers = [route_or_words(net.graph, asked, hops, judge, kernel, inflight) for kernel in BOTH]
        assert answers[0] == answers[1]
        for path in answers[0].paths if isinstance(answers[0], Route) else ():
            for index, (before, hop) in enumerate(pairwise(path.hops)):
                ceiling_msat = shunned.get((hop.short_channel_id, before.node_id < hop.node_id))
                assert ceiling_msat is None or path.amount_over_msat(index + 1) < ceiling_msat
        # A snapshot is the graph laid out anew.
        assert route_or_words(net.graph.snapshot(), asked, hops, judge, FASTEST, inflight) == answers[0]


@given(
    st.integers(0, 1 << 46), st.integers(0, 1 << 46), st.integers(1, 1 << 50), st.integers(0, 1 << 50),
    st.integers(0, 1 << 50), st.integers(0, 1 << 33), st.integers(0, 1), st.booleans(), st.booleans(),
)  # fmt: skip
def test_both_forms_give_the_same_penalty_up_to_the_largest_amounts(
    amount_msat: int,
    used_msat: int,
    capacity_msat: int,
    lower_msat: int,
    upper_msat: int,
    elapsed_seconds: int,
    direction: int,
    known: bool,
    unchecked: bool,
) -> None:
    answers = []
    for kernel in BOTH:
        finder: PathFinder = kernel.PathFinder()
        parameters = ProbabilisticScoringParameters()
        for name in (
            "base_penalty_msat", "base_penalty_amount_multiplier_msat", "liquidity_penalty_multiplier_msat",
            "liquidity_penalty_amount_multiplier_msat", "considered_impossible_penalty_msat",
            "unchecked_penalty_msat", "half_life_seconds",
        ):  # fmt: skip
            setattr(finder, name, getattr(parameters, name))
        finder.now_at = elapsed_seconds
        finder.slots = array("i", (0 if known else -1,))
        finder.liquidity = array("q", (lower_msat, upper_msat, 0))
        answers.append(finder.penalty_msat(direction, amount_msat, used_msat, capacity_msat, unchecked))
    assert answers[0] == answers[1] >= 0


# --- the best -------------------------------------------------------------------------------------

TERMS = st.tuples(
    st.sampled_from("ABCDE"), st.sampled_from("ABCDE"), st.integers(0, 3_000), st.integers(0, 50_000),
    st.integers(1, 1_000_000),
)  # fmt: skip


@given(st.lists(TERMS, min_size=1, max_size=12), st.integers(1, 900_000))
@settings(max_examples=150, deadline=None)
def test_no_way_is_cheaper_than_the_one_found(
    channels: list[tuple[str, str, int, int, int]], amount_msat: int
) -> None:
    """Against all ways there are, hop by hop."""
    net = Net()
    edges: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    for a, b, base, ppm, maximum in channels:
        if a != b:
            net.open(a, b, base=base, ppm=ppm, maximum=maximum)
            for pair in ((a, b), (b, a)):
                edges.setdefault(pair, []).append((base, ppm, maximum))

    def cheapest_msat() -> int | None:
        found = []
        for length in range(5):
            for between in permutations("BCD", length) if length <= 3 else ():
                way = ("A", *between, "E")
                carried: int | None = amount_msat
                for pair in reversed(list(pairwise(way))):
                    options = [
                        carried + base + carried * ppm // 1_000_000
                        for base, ppm, maximum in edges.get(pair, ())
                        if carried is not None and carried <= maximum
                    ]
                    carried = min(options, default=None)
                    if carried is None:
                        break
                if carried is not None:
                    found.append(carried)
        return min(found, default=None)

    asked = ask("E", amount_msat, features=Features(0), max_channel_saturation_power_of_half=0)
    expected_msat = cheapest_msat()
    for kernel in BOTH:
        route = route_or_words(net.graph, asked, [own_channel("A", 10**9)], Indifferent(), kernel)
        if expected_msat is None:
            assert isinstance(route, str)
        else:
            assert isinstance(route, Route)
            assert route.paths[0].amount_with_fees_msat == expected_msat


def test_an_unchecked_channel_is_taken_where_the_checked_ones_are_clearly_worse() -> None:
    net = Net()
    net.open("A", "B", None, maximum=1_000_000_000)
    checked = net.open("A", "B", 1_000_000, base=300)
    scorer = ProbabilisticScorer(net.graph)
    asked = ask("B", 1_000)
    hops = [own_channel("A", 10**9)]

    def way() -> int:
        route = route_or_words(net.graph, asked, hops, scorer, FASTEST)
        assert isinstance(route, Route)
        return route.paths[0].hops[1].short_channel_id

    assert way() == checked
    net.terms("A", "B", checked, base=3_000)
    assert way() != checked


# --- layouts --------------------------------------------------------------------------------------

CHANGE = st.tuples(
    st.sampled_from(["open", "terms", "disable", "close", "capacity", "block"]), st.integers(0, 20),
    st.sampled_from("ABCDEF"), st.sampled_from("ABCDEF"), st.integers(0, 2_000), st.integers(1, 3_000),
)  # fmt: skip


def cost_of(found: Route | str) -> int | str:
    return found if isinstance(found, str) else sum(path.amount_with_fees_msat for path in found.paths)


@given(st.lists(CHANGE, max_size=20), st.integers(1, 1_500_000), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_layout_that_was_kept_up_is_as_good_as_a_new_one(
    changes: list[tuple[str, int, str, str, int, int]], amount_msat: int, crowded: bool
) -> None:
    net = Net()
    scids = [net.open("A", "B"), net.open("B", "C")]
    hops: list[OwnChannel] = [own_channel("A", 10**9), own_channel("F", 10**9, 2)]
    asked = ask("C", amount_msat)
    with pytest.MonkeyPatch.context() as limits:
        if crowded:
            # Layouts are made anew often, so that their limits are met as well.
            limits.setattr(layouts, "ROOM", 3)
            limits.setattr(layouts, "MAX_FRESH", 1)
        for what, number, a, b, base, capacity_sat in changes:
            channel = scids[number % len(scids)]
            nodes = net.graph.nodes_of(channel)
            if what == "open" and a != b:
                scids.append(net.open(a, b, capacity_sat, base=base))
            elif what in ("terms", "disable") and nodes is not None:
                names = {node_id(name): name for name in "ABCDEF"}
                net.terms(
                    names[nodes[0]], names[nodes[1]], channel, base=base, disabled=int(what == "disable")
                )
            elif what == "close":
                net.graph.channel_failed_permanent(channel, NOW.at)
            elif what == "capacity":
                net.graph.set_capacity(channel, capacity_sat)
            elif what == "block" and net.graph.has_node(node_id(a)):
                at = (net.graph.node_announced_at(node_id(a)) or NOW.at) + 1
                net.graph.apply_node_announcement(
                    announce_node(a, at, Features([200]) if number % 2 else Features(0))
                )
            anew = route_or_words(net.graph.snapshot(), asked, hops, Indifferent(), INTERPRETED)
            kept_up = [route_or_words(net.graph, asked, hops, Indifferent(), kernel) for kernel in BOTH]
            # Of channels that are equally good, each layout meets another one first; both forms meet the same.
            assert kept_up[0] == kept_up[1]
            assert cost_of(kept_up[0]) == cost_of(anew)


@pytest.mark.parametrize("kernel", BOTH, ids=["interpreted", "fastest"])
def test_a_search_leaves_nothing_behind(kernel: Kernel) -> None:
    """What one search held back, held or hinted means nothing to the next, one that failed included."""
    net = Net()
    channel = net.open("A", "B", base=10)
    hops: list[OwnChannel] = [own_channel("A", 10**9)]
    plain = route_or_words(net.graph, ask("B", 1_000), hops, Indifferent(), kernel)
    assert isinstance(plain, Route)
    full = InFlightHtlcs({(channel, True): 10**9, (channel, False): 10**9})
    assert isinstance(route_or_words(net.graph, ask("B", 1_000), hops, Indifferent(), kernel, full), str)
    shunned = ask("B", 1_000, previously_failed_channels=(channel,))
    assert isinstance(route_or_words(net.graph, shunned, hops, Indifferent(), kernel), str)
    hint = a_hint("B", 0, 0)
    assert isinstance(
        route_or_words(net.graph, ask("Z", 1_000, hints=((hint,),)), hops, Indifferent(), kernel), Route
    )

    class Breaks(Indifferent):
        def channel_penalty_msat(self, *args: object, **kwargs: object) -> int:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        route_or_words(net.graph, ask("B", 1_000), hops, Breaks(), kernel)
    assert route_or_words(net.graph, ask("B", 1_000), hops, Indifferent(), kernel) == plain


def test_amounts_beyond_what_the_kernel_counts() -> None:
    net = Net()
    net.open("A", "B", 10**12, maximum=1 << 63, ppm=0xFFFF_FFFF)
    hops = [own_channel("A", 1 << 60)]
    for kernel in BOTH:
        words = route_or_words(net.graph, ask("B", MAX_AMOUNT_MSAT + 1), hops, Indifferent(), kernel)
        assert isinstance(words, str)
        assert "cannot be sent at once" in words
        # The largest amount at the largest fee rate overflows nothing: it is found too dear.
        words = route_or_words(net.graph, ask("B", MAX_AMOUNT_MSAT), hops, Indifferent(), kernel)
        assert isinstance(words, str)
        assert "at once" not in words


def test_parameters_that_need_more_than_64_bits_are_refused() -> None:
    for bad in (
        {"base_penalty_amount_multiplier_msat": (1 << 14) + 1},
        {"liquidity_penalty_multiplier_msat": -1},
        {"half_life_seconds": 0},
    ):
        with pytest.raises(APIError):
            replace(ProbabilisticScoringParameters(), **bad)


def test_a_scorer_of_another_graph_is_asked_channel_by_channel() -> None:
    net, other = Net(), Net()
    channel = net.open("A", "B")
    scorer = ProbabilisticScorer(other.graph)
    assert not scorer.knows(net.graph)
    route = route_or_words(net.graph, ask("B", 1_000), [own_channel("A", 10**9)], scorer, FASTEST)
    assert isinstance(route, Route)
    assert route.paths[0].hops[1].short_channel_id == channel
