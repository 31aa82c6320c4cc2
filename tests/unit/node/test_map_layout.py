"""The map of the network is deterministic, stays on its sheet, and hardly moves from day to day."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot
from pathlib import Path
from statistics import median

import pytest

from benchmarks.topology import read_npz
from wallet.node.map_layout import core_numbers, lay_out

Links = list[tuple[int, int, int]]
TOPOLOGY = os.environ.get("LEYDEN_TOPOLOGY", "")
"""A file with the public network (see `benchmarks.topology`), for those who have one."""


@dataclass(frozen=True)
class Net:
    ids: list[bytes]
    links: Links

    def placed(self, kept: Sequence[tuple[float, float] | None] | None = None) -> list[tuple[float, float]]:
        first, second, capacity = zip(*self.links, strict=True)
        return list(zip(*lay_out(self.ids, first, second, capacity, kept), strict=True))


def node_id(number: int) -> bytes:
    return b"\x02" + number.to_bytes(32, "big")


def grown(nodes: int, links: int, seed: int = 7) -> Net:
    """Few have many channels, most have few."""
    draw = random.Random(seed)
    ends, made = [0, 1], [(0, 1, 1_000_000)]
    for number in range(1, links):
        a = number + 1 if number + 1 < nodes else draw.choice(ends)
        b = draw.choice(ends)
        while b == a:
            b = draw.randrange(min(nodes, number + 1))
        made.append((a, b, int(10 ** draw.uniform(4.5, 8))))
        ends += (a, b)
    return Net([node_id(number) for number in range(nodes)], made)


def public() -> Net:
    topology = read_npz(Path(TOPOLOGY))
    return Net(topology.node_ids, [(a, b, capacity) for _scid, a, b, capacity in topology.channels])


def next_day(net: Net, seed: int = 3) -> Net:
    """2 % of the channels are replaced by others."""
    draw = random.Random(seed)
    links = net.links[:]
    for place in draw.sample(range(len(links)), len(links) // 50):
        a, b = draw.sample(range(len(net.ids)), 2)
        links[place] = (a, b, links[place][2])
    alive = {end for a, b, _capacity in links for end in (a, b)}
    number = {node: place for place, node in enumerate(sorted(alive))}
    return Net([net.ids[node] for node in sorted(alive)], [(number[a], number[b], c) for a, b, c in links])


@pytest.fixture(scope="module", params=["grown", *(["public"] if TOPOLOGY else [])])
def large(request: pytest.FixtureRequest) -> Net:
    return public() if request.param == "public" else grown(2_500, 7_000)


def test_with_two_percent_of_the_channels_replaced_nodes_move_by_two_percent_of_the_width_at_most(
    large: Net,
) -> None:
    before = dict(zip(large.ids, large.placed(), strict=True))
    tomorrow = next_day(large)
    after = tomorrow.placed([before.get(node) for node in tomorrow.ids])
    moves = [
        hypot(place[0] - before[node][0], place[1] - before[node][1])
        for node, place in zip(tomorrow.ids, after, strict=True)
    ]
    assert len(moves) > 0.95 * len(large.ids)
    assert median(moves) <= 0.02


def test_a_map_made_anew_would_move_them_further(large: Net) -> None:
    before = dict(zip(large.ids, large.placed(), strict=True))
    tomorrow = next_day(large)
    moves = [
        hypot(place[0] - before[node][0], place[1] - before[node][1])
        for node, place in zip(tomorrow.ids, tomorrow.placed(), strict=True)
    ]
    assert median(moves) > 0.02


def test_everybody_stands_on_the_sheet_and_the_whole_of_it_is_used(large: Net) -> None:
    places = large.placed()
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in places)
    assert max(x for x, _ in places) - min(x for x, _ in places) > 0.8
    assert max(y for _, y in places) - min(y for _, y in places) > 0.6


def test_nobody_stands_on_anybody(large: Net) -> None:
    places = large.placed()
    assert len({(round(x, 6), round(y, 6)) for x, y in places}) > 0.98 * len(places)


def test_the_same_network_gives_the_same_map() -> None:
    assert grown(300, 800).placed() == grown(300, 800).placed()


def test_who_has_one_neighbour_lies_close_to_it() -> None:
    net = grown(600, 900)
    places = net.placed()
    degree = [0] * len(net.ids)
    for a, b, _capacity in net.links:
        degree[a] += 1
        degree[b] += 1
    dust = [
        hypot(places[a][0] - places[b][0], places[a][1] - places[b][1])
        for a, b, _capacity in net.links
        if 1 in (degree[a], degree[b])
    ]
    others = [
        hypot(places[a][0] - places[b][0], places[a][1] - places[b][1])
        for a, b, _capacity in net.links
        if 1 not in (degree[a], degree[b])
    ]
    assert median(dust) < median(others) / 3


def test_who_is_new_stands_beside_a_neighbour() -> None:
    net = grown(600, 1_500)
    kept: list[tuple[float, float] | None] = [*net.placed(), None]
    larger = Net([*net.ids, node_id(9_999)], [*net.links, (600, 5, 1_000_000)])
    after = larger.placed(kept)
    assert after[:-1] == kept[:-1]
    assert hypot(after[-1][0] - after[5][0], after[-1][1] - after[5][1]) < 0.1


@pytest.mark.parametrize("nodes", [1, 2, 3, 6, 25])
def test_a_handful_is_spread_over_the_sheet(nodes: int) -> None:
    net = Net(
        [node_id(number) for number in range(nodes)],
        [(0, n, 1_000_000) for n in range(1, nodes)] or [(0, 0, 1)],
    )
    places = net.placed()
    assert all(0.05 <= x <= 0.95 and 0.05 <= y <= 0.95 for x, y in places)
    gaps = [hypot(a[0] - b[0], a[1] - b[1]) for i, a in enumerate(places) for b in places[:i]]
    assert all(gap > 0.04 for gap in gaps)


def test_parts_that_are_not_joined_have_places_too() -> None:
    net = grown(200, 500)
    pairs = [(200 + 2 * n, 201 + 2 * n, 50_000) for n in range(20)]
    islands = Net([node_id(number) for number in range(240)], [*net.links, *pairs])
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in islands.placed())


def test_core_numbers_of_a_triangle_with_a_tail() -> None:
    assert core_numbers([[1, 2], [0, 2], [0, 1, 3], [2]]) == [2, 2, 2, 1]
