"""Where each node of the public network stands on its map: a core, regions around it, and a rim.

Theory of operation. Nodes with a single neighbour are dust: they lie as a small disc round their hub and need no
thought of their own. The best connected of the others, and hubs with much dust, are capitals; everybody else belongs to
the capital that he is most bound to, and so there are regions. A region is a disc as large as what is in it. Regions
touch and do not overlap: the strongest lies in the middle, each next as close as it can to those that it has channels
with. Inside a region who is in a high k-core and holds much stands near the capital, who hangs by a few channels far
from it; towards which side is told by the neighbours in other regions. So the middle of the map is the core, and its
rim are those who hang by little.

A map is kept from day to day: who stood on the last one stays there, and who is new is placed beside those he has
channels with. Only when little of a map is left as it was laid out, it is made anew. A handful of nodes is laid out by
springs instead.

Everything is deterministic. Coordinates are from 0 to 1. Nothing here is money: the numbers are floats.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from hashlib import sha256
from math import atan2, cos, hypot, pi, sin, sqrt
from typing import TypeAlias

__all__ = ["Kept", "Placed", "core_numbers", "lay_out"]

FEW_NODES = 60
SPRING_ROUNDS = 160
CAPITALS = 36
CAPITAL_DUST = 40
SWEEPS = 3
SIDES = 40
REGION_GAP = 1.05
GOLDEN_ANGLE = pi * (3 - sqrt(5))
DUST_AREA = 0.5
"""What a node of the dust needs, as a share of what one of the others needs."""
RIM = 0.49
"""The radius of the map: a little less than half of the width."""

Placed: TypeAlias = "tuple[array[float], array[float]]"
"""Abscissas and ordinates, by node."""
Kept: TypeAlias = "Sequence[tuple[float, float] | None]"
"""Where nodes stood on the last map."""


def lay_out(
    node_ids: Sequence[bytes],
    first: Sequence[int],
    second: Sequence[int],
    capacity_sat: Sequence[int],
    kept: Kept | None = None,
) -> Placed:
    """Place all nodes; `first`, `second` and `capacity_sat` are the channels', the capacity negative if unknown; `kept`
    is where nodes stood on the last map, None for a map made anew."""
    count = len(node_ids)
    if count <= FEW_NODES:
        return _springs(node_ids, first, second, kept if kept is not None else [None] * count)
    if kept is not None:
        return _Kept(node_ids, first, second, capacity_sat, kept).placed()
    return _Map(node_ids, first, second, capacity_sat).anew()


def core_numbers(neighbours: Sequence[Sequence[int]]) -> list[int]:
    """Of each node the largest k such that it is in a part of the graph where all have k neighbours."""
    count = len(neighbours)
    degree = [len(theirs) for theirs in neighbours]
    highest = max(degree, default=0)
    starts = [0] * (highest + 2)
    for k in degree:
        starts[k + 1] += 1
    for k in range(1, highest + 2):
        starts[k] += starts[k - 1]
    fill = starts[:]
    order = [0] * count
    place = [0] * count
    for node in range(count):
        place[node] = fill[degree[node]]
        order[place[node]] = node
        fill[degree[node]] += 1
    # Nodes in order of what is left of their degree; who is taken leaves each neighbour one less.
    for node in order:
        for other in neighbours[node]:
            if degree[other] > degree[node]:
                edge = starts[degree[other]]
                head = order[edge]
                if head != other:
                    mine = place[other]
                    order[mine], order[edge] = head, other
                    place[head], place[other] = mine, edge
                starts[degree[other]] += 1
                degree[other] -= 1
    return degree


def _share(node_id: bytes, what: bytes) -> float:
    """A number from 0 to 1 that belongs to a node, the same on every day and computer."""
    return int.from_bytes(sha256(what + node_id).digest()[:6], "big") / (1 << 48)


class _Map:
    """One large map as it comes about."""

    def __init__(
        self,
        node_ids: Sequence[bytes],
        first: Sequence[int],
        second: Sequence[int],
        capacity_sat: Sequence[int],
    ) -> None:
        self.node_ids = node_ids
        self.count = len(node_ids)
        self.all_links: list[dict[int, float]] = [{} for _ in range(self.count)]
        self.strength = [0.0] * self.count
        for a, b, capacity in zip(first, second, capacity_sat, strict=True):
            # The square root: a channel of 4 times the capacity pulls twice as hard.
            pull = sqrt(max(capacity, 20_000))
            self.all_links[a][b] = self.all_links[a].get(b, 0.0) + pull
            self.all_links[b][a] = self.all_links[b].get(a, 0.0) + pull
            self.strength[a] += pull
            self.strength[b] += pull
        self.hub = [-1] * self.count
        for node, theirs in enumerate(self.all_links):
            if len(theirs) == 1:
                (other,) = theirs
                if len(self.all_links[other]) > 1:
                    self.hub[node] = other
        self.dust: list[list[int]] = [[] for _ in range(self.count)]
        for node, hub in enumerate(self.hub):
            if hub >= 0:
                self.dust[hub].append(node)
        self.links = [
            [(other, pull) for other, pull in theirs.items() if self.hub[other] < 0]
            if self.hub[node] < 0
            else []
            for node, theirs in enumerate(self.all_links)
        ]
        self.x = array("d", bytes(8 * self.count))
        self.y = array("d", bytes(8 * self.count))
        self.area = [1.0 + DUST_AREA * len(self.dust[node]) for node in range(self.count)]

    def _by_depth(self) -> list[int]:
        """All but the dust, from the core to the rim."""
        cores = core_numbers([[other for other, _pull in theirs] for theirs in self.links])
        nodes = [node for node in range(self.count) if self.hub[node] < 0]
        nodes.sort(key=lambda node: (-cores[node], -self.strength[node], self.node_ids[node]))
        return nodes

    # --- a map made anew ----------------------------------------------------------------------

    def anew(self) -> Placed:
        self.backbone = self._by_depth()
        self._found_regions()
        self._pack_regions()
        for sweep in range(SWEEPS):
            self._fill_regions(sweep)
        grain = self.unit * sqrt(DUST_AREA / pi)
        for hub in self.backbone:
            self._strew(hub, grain)
        return self._moved_to_the_middle()

    def _found_regions(self) -> None:
        """Choose the capitals, and give everybody one."""
        strongest = sorted(self.backbone, key=lambda node: (-self.strength[node], self.node_ids[node]))
        capitals = set(strongest[:CAPITALS])
        capitals.update(node for node in self.backbone if len(self.dust[node]) >= CAPITAL_DUST)
        self.capitals = [node for node in strongest if node in capitals]
        self.home = [-1] * self.count
        for node in self.capitals:
            self.home[node] = node
        size = {node: self.area[node] for node in self.capitals}
        for node in self.backbone:
            if node in capitals:
                continue
            bound: dict[int, float] = {}
            for other, pull in self.links[node]:
                home = self.home[other]
                if home >= 0:
                    bound[home] = bound.get(home, 0.0) + pull
            # Who is large already draws less: else the largest would take everybody.
            best = max(bound, key=lambda home: (bound[home] / (80 + size[home]) ** 0.8, -home), default=-1)
            if best < 0:
                # A part of the network that no capital is in.
                best = self.capitals[int(_share(self.node_ids[node], b"home") * len(self.capitals))]
            self.home[node] = best
            size[best] += self.area[node]
        self.members: dict[int, list[int]] = {node: [] for node in self.capitals}
        for node in self.backbone:
            if node not in capitals:
                self.members[self.home[node]].append(node)
        self.size = size

    def _pack_regions(self) -> None:
        """Lay the regions beside each other, the strongest in the middle; in units of one node's area."""
        pulls: dict[tuple[int, int], float] = {}
        for node in self.backbone:
            mine = self.home[node]
            for other, pull in self.links[node]:
                theirs = self.home[other]
                if theirs != mine:
                    pulls[mine, theirs] = pulls.get((mine, theirs), 0.0) + pull
        reach = {node: sqrt(self.size[node] / pi) * REGION_GAP for node in self.capitals}
        done: list[tuple[float, float, float, int]] = []
        for capital in self.capitals:
            room = reach[capital]
            if not done:
                done.append((0.0, 0.0, room, capital))
                continue
            weight = sum(pulls.get((capital, other), 0.0) for *_, other in done)
            goal_x = sum(x * pulls.get((capital, other), 0.0) for x, _y, _r, other in done) / (weight or 1.0)
            goal_y = sum(y * pulls.get((capital, other), 0.0) for _x, y, _r, other in done) / (weight or 1.0)
            places = []
            turn = _share(self.node_ids[capital], b"side")
            for x, y, radius, _other in done:
                for side in range(SIDES):
                    angle = 2 * pi * (side + turn) / SIDES
                    to_x, to_y = x + (radius + room) * cos(angle), y + (radius + room) * sin(angle)
                    far = hypot(to_x, to_y) + 0.25 * hypot(to_x - goal_x, to_y - goal_y)
                    places.append((far, to_x, to_y))
            places.sort()
            for _far, x, y in places:
                if all(
                    hypot(x - other_x, y - other_y) > radius + room - 1e-6
                    for other_x, other_y, radius, _ in done
                ):
                    done.append((x, y, room, capital))
                    break
        left, right = min(x - r for x, _y, r, _ in done), max(x + r for x, _y, r, _ in done)
        low, high = min(y - r for _x, y, r, _ in done), max(y + r for _x, y, r, _ in done)
        self.unit = 2 * RIM / max(right - left, high - low)
        middle_x, middle_y = (left + right) / 2, (low + high) / 2
        for x, y, _radius, capital in done:
            self.x[capital], self.y[capital] = (x - middle_x) * self.unit, (y - middle_y) * self.unit
        for node in self.backbone:
            home = self.home[node]
            self.x[node], self.y[node] = self.x[home], self.y[home]

    def _fill_regions(self, sweep: int) -> None:
        """Place the members of each region: how far from the capital by depth, on which side by their neighbours."""
        x, y = self.x, self.y
        for capital in self.capitals:
            centre_x, centre_y = x[capital], y[capital]
            inside = self.area[capital]
            ring: list[tuple[float, int, float]] = []
            members = self.members[capital]
            width = max(6.0, sqrt(self.size[capital]) * 1.6)
            filled, start = 0.0, inside
            for number, node in enumerate(members):
                toward_x = toward_y = 0.0
                for other, pull in self.links[node]:
                    if self.home[other] != capital or sweep:
                        toward_x += pull * (x[other] - centre_x)
                        toward_y += pull * (y[other] - centre_y)
                if abs(toward_x) + abs(toward_y) < 1e-9:
                    # Nobody outside: away from the middle of the map.
                    toward_x, toward_y = centre_x, centre_y
                swing = (_share(self.node_ids[node], b"swing") - 0.5) * 1.2
                ring.append((atan2(toward_y, toward_x) + swing, node, self.area[node]))
                filled += self.area[node]
                if filled >= width or number == len(members) - 1:
                    self._set_ring(ring, centre_x, centre_y, start, filled)
                    start += filled
                    ring, filled = [], 0.0

    def _set_ring(
        self,
        ring: list[tuple[float, int, float]],
        centre_x: float,
        centre_y: float,
        start: float,
        filled: float,
    ) -> None:
        """Spread a ring evenly, turned as a whole to where its nodes want to be."""
        ring.sort()
        done, lag_x, lag_y = 0.0, 0.0, 0.0
        places = []
        for angle, _node, area in ring:
            even = -pi + 2 * pi * (done + area / 2) / filled
            places.append(even)
            lag_x += cos(angle - even)
            lag_y += sin(angle - even)
            done += area
        lag = atan2(lag_y, lag_x)
        for (_angle, node, _area), place in zip(ring, places, strict=True):
            # Anywhere within the ring's breadth: it is a region, not a target.
            depth = start + filled * _share(self.node_ids[node], b"depth")
            radius = self.unit * sqrt(depth / pi)
            self.x[node] = centre_x + radius * cos(place + lag)
            self.y[node] = centre_y + radius * sin(place + lag)

    def _strew(self, hub: int, grain: float) -> None:
        """Lay the dust round its hub, the strongest next to it."""
        theirs = sorted(self.dust[hub], key=lambda node: (-self.strength[node], self.node_ids[node]))
        start = 2 * pi * _share(self.node_ids[hub], b"dust")
        for number, node in enumerate(theirs):
            away = grain * sqrt(number + 1.8)
            angle = start + number * GOLDEN_ANGLE
            self.x[node] = self.x[hub] + away * cos(angle)
            self.y[node] = self.y[hub] + away * sin(angle)

    def _moved_to_the_middle(self) -> Placed:
        for node in range(self.count):
            self.x[node] += 0.5
            self.y[node] += 0.5
        return self.x, self.y


class _Kept:
    """A map that is kept: everybody stays where he stood, and the new ones find places."""

    def __init__(
        self,
        node_ids: Sequence[bytes],
        first: Sequence[int],
        second: Sequence[int],
        capacity_sat: Sequence[int],
        before: Kept,
    ) -> None:
        self.node_ids = node_ids
        self.count = len(node_ids)
        self.x, self.y = array("d", bytes(8 * self.count)), array("d", bytes(8 * self.count))
        self.here = bytearray(self.count)
        for node, place in enumerate(before):
            if place is not None:
                self.x[node], self.y[node] = place
                self.here[node] = 1
        self.links: dict[int, dict[int, float]] = {
            node: {} for node in range(self.count) if not self.here[node]
        }
        self.degree = [0] * self.count
        if not self.links:
            return
        for a, b, capacity in zip(first, second, capacity_sat, strict=True):
            self.degree[a] += 1
            self.degree[b] += 1
            for node, other in ((a, b), (b, a)):
                if not self.here[node]:
                    theirs = self.links[node]
                    theirs[other] = theirs.get(other, 0.0) + sqrt(max(capacity, 20_000))

    def placed(self) -> Placed:
        """Beside the neighbour that they are most bound to, who has most of them first."""
        x, y, here = self.x, self.y, self.here
        grain = RIM * sqrt(1.2 / self.count)
        taken: dict[tuple[int, int], list[int]] = {}
        if self.links:
            for node in range(self.count):
                if here[node]:
                    taken.setdefault((int(x[node] / grain), int(y[node] / grain)), []).append(node)
        for node in sorted(self.links, key=lambda node: (-len(self.links[node]), self.node_ids[node])):
            theirs = self.links[node]
            beside = max(
                (other for other in theirs if here[other]),
                key=lambda other: (theirs[other] / sqrt(self.degree[other]), self.node_ids[other]),
                default=-1,
            )
            if beside >= 0:
                near_x, near_y = x[beside], y[beside]
            else:
                angle = 2 * pi * _share(self.node_ids[node], b"rim")
                near_x, near_y = 0.5 + RIM * cos(angle), 0.5 + RIM * sin(angle)
            x[node], y[node] = self._free_place(node, near_x, near_y, grain, taken)
            here[node] = 1
            taken.setdefault((int(x[node] / grain), int(y[node] / grain)), []).append(node)
        return x, y

    def _free_place(
        self, node: int, near_x: float, near_y: float, grain: float, taken: dict[tuple[int, int], list[int]]
    ) -> tuple[float, float]:
        """The first place along a spiral that has room for one."""
        start = 2 * pi * _share(self.node_ids[node], b"place")
        best, room = (near_x, near_y), -1.0
        for number in range(1, 60):
            away = 0.7 * grain * sqrt(number)
            at_x = min(max(near_x + away * cos(start + number * GOLDEN_ANGLE), 0.0), 1.0)
            at_y = min(max(near_y + away * sin(start + number * GOLDEN_ANGLE), 0.0), 1.0)
            column, row = int(at_x / grain), int(at_y / grain)
            free = min(
                (
                    hypot(at_x - self.x[other], at_y - self.y[other])
                    for i in (column - 1, column, column + 1)
                    for j in (row - 1, row, row + 1)
                    for other in taken.get((i, j), ())
                ),
                default=grain,
            )
            if free > room:
                best, room = (at_x, at_y), free
            if free >= 0.5 * grain:
                break
        return best


def _springs(
    node_ids: Sequence[bytes],
    first: Sequence[int],
    second: Sequence[int],
    before: Sequence[tuple[float, float] | None],
) -> Placed:
    """A few nodes: those that share a channel pull at each other, and all push each other away."""
    count = len(node_ids)
    pairs = sorted({(min(a, b), max(a, b)) for a, b in zip(first, second, strict=True)})
    order = sorted(range(count), key=node_ids.__getitem__)
    x, y = [0.0] * count, [0.0] * count
    known = 0
    for number, node in enumerate(order):
        place = before[node]
        if place is not None:
            known += 1
            x[node], y[node] = place
        else:
            angle = 2 * pi * number / count
            x[node], y[node] = 0.5 + 0.3 * cos(angle), 0.5 + 0.3 * sin(angle)
    if count > 1 and known < count:
        length = 0.6 / sqrt(count)
        for turn in range(SPRING_ROUNDS):
            warmth = 0.1 * (1 - turn / SPRING_ROUNDS) + 0.001
            push_x, push_y = [0.0] * count, [0.0] * count
            for a in range(count):
                for b in range(a):
                    dx, dy = x[a] - x[b], y[a] - y[b]
                    away = max(hypot(dx, dy), 1e-4)
                    push = length * length / away / away
                    push_x[a] += dx * push
                    push_y[a] += dy * push
                    push_x[b] -= dx * push
                    push_y[b] -= dy * push
            for a, b in pairs:
                dx, dy = x[a] - x[b], y[a] - y[b]
                pull = hypot(dx, dy) / length
                push_x[a] -= dx * pull
                push_y[a] -= dy * pull
                push_x[b] += dx * pull
                push_y[b] += dy * pull
            for node in range(count):
                push_x[node] += (0.5 - x[node]) * 0.1
                push_y[node] += (0.5 - y[node]) * 0.1
                strength = max(hypot(push_x[node], push_y[node]), 1e-9)
                step = min(strength, warmth) / strength
                x[node] += push_x[node] * step
                y[node] += push_y[node] * step
    wide = max((max(x) - min(x), max(y) - min(y)), default=0.0) if count else 0.0
    if known < count and wide > 0.8:
        x = [0.5 + (value - 0.5) * 0.8 / wide for value in x]
        y = [0.5 + (value - 0.5) * 0.8 / wide for value in y]
    return array("d", x), array("d", y)
