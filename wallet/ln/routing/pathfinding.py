"""The kernel of `get_route`: Dijkstra's search, backwards from the payee, over flat arrays of integers.

Theory of operation. This file runs as it stands. Where a C compiler was found at installation, the same text is also
compiled (`setup.py`, with the types of `pathfinding.pxd`) as `_pathfinding`, some forty times as fast; `kernel.py`
chooses. Both give the same routes: there are only integers, each quotient is of numbers that are not negative, and
the queue yields the smallest pair (cost, node), which no two waiting entries share unless they are the same.

An edge is one direction of a channel, as a record of eight integers: source, number (2 * channel + direction),
the source's terms, and the channel's capacity; negative where nobody has looked it up. The records of all edges
that lead to a node stand together: first those that a way can pass, then the dead ends, whose source can be
reached over that same node only. Edges that only one search knows (our channels, hints) are records of a list of
their own, linked by their target; their number is negative, unless they are public edges that are told apart.

A label is what is known of a node in one search: cost, amount that has to arrive there, fees and expiry from there
on, hops, the edge that is taken from there, and a stamp, which makes clearing the labels needless.

In the compiled form all numbers have 64 bits. Amounts and fee limits are up to `MAX_AMOUNT_MSAT`, so that with
overpayment and fees no amount reaches four times that, and no sum or product needs more.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, MutableSequence
from heapq import heappop, heappush
from math import log10

Numbers = MutableSequence[int]

VERSION = 2
"""Raised with each change to this file that a form compiled from the text before would not follow."""
COMPILED = not __file__.endswith(".py")
_COMPILED = COMPILED

# Aims: what a search minimises.
LIKELY, CHEAP, QUICK = range(3)

# Bits of `PathFinder.obstacles`.
OBSTACLE_FEE, OBSTACLE_CLTV, OBSTACLE_LENGTH, OBSTACLE_CAPACITY = 1, 2, 4, 8

EDGE_LENGTH = 8
LABEL_LENGTH = 8

MAX_AMOUNT_MSAT = 1 << 46
"""703 bitcoin. Below 2^48 with all that comes on top: times a fee rate (32 bits, in millionths) below 2^61."""
MAX_CAPACITY_MSAT = 1 << 50
"""What a channel's capacity and limits are cut to."""
NO_NUMBER = -(1 << 62)
"""In place of an edge's number: there is none."""

_HALVING = 616_512
"""log10(2) * 2048, in thousandths."""
# -2048 * log10 of the middle of each 4,096th. The whole costs nothing: certain is certain.
_NEGATIVE_LOG10 = array("i", [round(-2048 * log10((part + 0.5) / 4096)) for part in range(4096)] + [0])


def negative_log10_times_2048(numerator: int, denominator: int) -> int:
    """-log10(numerator / denominator) * 2048 for 0 < numerator <= denominator; never negative."""
    halvings = 0
    while numerator << 6 <= denominator:
        numerator <<= 6
        halvings += 6
    return _NEGATIVE_LOG10[(numerator << 12) // denominator] + halvings * _HALVING // 1000


def lay_out(
    node_count: int,
    channel_node_1: Numbers,
    channel_node_2: Numbers,
    channel_blocked: Numbers,
    node_blocked: Numbers,
    direction_flags: Numbers,
    cltv_expiry_delta: Numbers,
    htlc_minimum_msat: Numbers,
    htlc_maximum_msat: Numbers,
    fee_base_msat: Numbers,
    fee_proportional_millionths: Numbers,
    capacity_sat: Numbers,
    starts: Numbers,
    ends: Numbers,
    sole: Numbers,
    position: Numbers,
    borders: Numbers,
    edges: Numbers,
) -> int:
    """Fill the last six from the others; return how many edges there are.

    `starts` has one entry more than there are nodes; `ends`, `sole` and `borders` (scratch) have one for each;
    `position` has one for each direction, and `edges` a record. `ends` is where a node's dead ends begin, which
    `starts` of the next node ends. `sole` is the one node that leads to a node: -1 for none, -2 for several.
    """
    directions = 2 * len(channel_node_1)
    for node in range(node_count):
        starts[node] = 0
        ends[node] = 0
        sole[node] = -1
    starts[node_count] = 0
    # How many lead to each node, and from where.
    for number in range(directions):
        channel = number >> 1
        position[number] = -1
        if direction_flags[number] != 1 or channel_blocked[channel]:
            continue
        if number & 1:
            source, target = channel_node_2[channel], channel_node_1[channel]
        else:
            source, target = channel_node_1[channel], channel_node_2[channel]
        if node_blocked[source]:
            continue
        starts[target] += 1
        if sole[target] == -1:
            sole[target] = source
        elif sole[target] != source:
            sole[target] = -2
    count = 0
    for node in range(node_count):
        here = starts[node]
        starts[node] = count
        ends[node] = count
        count += here
    starts[node_count] = count
    # Those that can be passed first, in the order of their channels; then the dead ends.
    for dead in range(2):
        for number in range(directions):
            channel = number >> 1
            if direction_flags[number] != 1 or channel_blocked[channel]:
                continue
            if number & 1:
                source, target = channel_node_2[channel], channel_node_1[channel]
            else:
                source, target = channel_node_1[channel], channel_node_2[channel]
            if node_blocked[source]:
                continue
            is_dead = sole[source] == -1 or sole[source] == target
            if is_dead != (dead == 1):
                continue
            place = ends[target]
            ends[target] = place + 1
            position[number] = place
            record = place * EDGE_LENGTH
            maximum_msat = htlc_maximum_msat[number]
            if maximum_msat > MAX_CAPACITY_MSAT:
                maximum_msat = MAX_CAPACITY_MSAT
            minimum_msat = htlc_minimum_msat[number]
            if minimum_msat > MAX_CAPACITY_MSAT:
                minimum_msat = MAX_CAPACITY_MSAT
            capacity = capacity_sat[channel]
            if capacity < 0:
                capacity = -maximum_msat
            elif capacity > MAX_CAPACITY_MSAT // 1000:
                capacity = MAX_CAPACITY_MSAT
            else:
                capacity *= 1000
            edges[record] = source
            edges[record + 1] = number
            edges[record + 2] = fee_base_msat[number]
            edges[record + 3] = fee_proportional_millionths[number]
            edges[record + 4] = cltv_expiry_delta[number]
            edges[record + 5] = minimum_msat
            edges[record + 6] = maximum_msat
            edges[record + 7] = capacity
        if dead == 0:
            for node in range(node_count):
                borders[node] = ends[node]
    for node in range(node_count):
        ends[node] = borders[node]
    return count


class PathFinder:
    """One graph's arrays, one scorer's knowledge, and the scratch space of a search; for one search at a time.

    Attributes:
        starts, ends, edges: see `lay_out`.
        node_count: nodes of the graph; further labels are for nodes that only one search knows.
        labels, heap: scratch.
        used_msat: by edge number, what payments of ours hold there; zero between searches.
        skipped: by channel, 1 for those that are not to be used, 2 for those of `ceilings`; zero between searches.
        ceilings: pairs of an edge's number and the amount from which on it is not to be used.
        extra, extra_first, extra_next: edges of one search. `extra_first` is by target, -1 for none.
        slots: by channel, where in `liquidity` it is, or -1.
        liquidity: by slot, both offsets of `LiquidityRange`, and their time.
        half_life_seconds, ...: of `ProbabilisticScoringParameters`.
        lookup: asked in place of all these where it is not None: (number, amount, used, capacity) to penalty.
        obstacles, minimum_msat: what stood in the way; the smallest minimum above the amount, or -1.
    """

    starts: Numbers
    ends: Numbers
    edges: Numbers
    node_count: int
    labels: Numbers
    heap: Numbers
    used_msat: Numbers
    skipped: Numbers
    ceilings: Numbers
    extra: Numbers
    extra_first: Numbers
    extra_next: Numbers
    slots: Numbers
    liquidity: Numbers
    now_at: int
    half_life_seconds: int
    base_penalty_msat: int
    base_penalty_amount_multiplier_msat: int
    liquidity_penalty_multiplier_msat: int
    liquidity_penalty_amount_multiplier_msat: int
    considered_impossible_penalty_msat: int
    unchecked_penalty_msat: int
    lookup: Callable[[int, int, int, int], int] | None
    obstacles: int
    minimum_msat: int
    stamp: int

    # What one search is about.
    _us: int
    _fee_limit_msat: int
    _max_cltv_delta: int
    _aim: int
    _saturation: int
    # What one node is about: its label, and what is the same for all edges that lead to it.
    _cost: int
    _amount_msat: int
    _millions: int
    _rest: int
    _fee_msat: int
    _cltv_here: int
    _hops: int
    _base_msat: int
    _factor: int
    _best: int
    _waiting: int

    def __init__(self) -> None:
        self.lookup = None
        self.now_at = 0
        self.half_life_seconds = 1
        self.base_penalty_msat = 0
        self.base_penalty_amount_multiplier_msat = 0
        self.liquidity_penalty_multiplier_msat = 0
        self.liquidity_penalty_amount_multiplier_msat = 0
        self.considered_impossible_penalty_msat = 0
        self.unchecked_penalty_msat = 0
        self.obstacles = 0
        self.minimum_msat = -1
        self.stamp = 0

    def search(
        self,
        us: int,
        payee: int,
        value_msat: int,
        final_cltv_delta: int,
        fee_limit_msat: int,
        max_cltv_delta: int,
        max_hops: int,
        aim: int,
        saturation: int,
    ) -> bool:
        """Find the best way for an amount, and tell whether there is one; `labels` then lead from us to the payee."""
        labels = self.labels
        extra_first = self.extra_first
        extra_next = self.extra_next
        queue: list[tuple[int, int]] = []
        self.stamp += 2
        stamp = self.stamp
        self._us = us
        self._fee_limit_msat = fee_limit_msat
        self._max_cltv_delta = max_cltv_delta
        self._aim = aim
        self._saturation = saturation
        self._best = -1
        self._waiting = 0
        if final_cltv_delta > max_cltv_delta:
            self.obstacles |= OBSTACLE_CLTV
            return False
        label = payee * LABEL_LENGTH
        labels[label] = 0
        labels[label + 1] = value_msat
        labels[label + 2] = 0
        labels[label + 3] = final_cltv_delta
        labels[label + 4] = 0
        labels[label + 5] = NO_NUMBER
        labels[label + 6] = stamp
        if _COMPILED:
            self._push(0, payee)
        else:
            heappush(queue, (0, payee))
        while True:
            if _COMPILED:
                if self._waiting == 0:
                    return False
                cost = self.heap[0]
                node = self.heap[1]
                self._pop()
            else:
                if not queue:
                    return False
                cost, node = heappop(queue)
            label = node * LABEL_LENGTH
            if labels[label + 6] != stamp or cost > labels[label]:
                continue
            # Settled.
            labels[label + 6] = stamp + 1
            if node == us:
                return True
            if labels[label + 4] >= max_hops:
                self.obstacles |= OBSTACLE_LENGTH
                continue
            amount_msat = labels[label + 1]
            self._cost = cost
            self._amount_msat = amount_msat
            self._millions = amount_msat // 1_000_000
            self._rest = amount_msat % 1_000_000
            self._fee_msat = labels[label + 2]
            self._cltv_here = labels[label + 3]
            self._hops = labels[label + 4] + 1
            self._base_msat = self.base_penalty_msat + (
                self.base_penalty_amount_multiplier_msat * amount_msat >> 30
            )
            self._factor = self.liquidity_penalty_multiplier_msat + (
                self.liquidity_penalty_amount_multiplier_msat * amount_msat >> 20
            )
            index = extra_first[node]
            while index >= 0:
                self._relax(self.extra, index * EDGE_LENGTH, (index + 1) * EDGE_LENGTH, queue)
                index = extra_next[index]
            if node < self.node_count:
                self._relax(self.edges, self.starts[node] * EDGE_LENGTH, self.ends[node] * EDGE_LENGTH, queue)

    def _relax(self, edges: Numbers, first: int, end: int, queue: list[tuple[int, int]]) -> int:
        """Look at the edges of records `first` up to `end`, which lead to the node that was settled last."""
        labels = self.labels
        skipped = self.skipped
        held_msat = self.used_msat
        us = self._us
        open_stamp = self.stamp
        aim = self._aim
        saturation = self._saturation
        cost_here = self._cost
        amount_msat = self._amount_msat
        millions = self._millions
        rest = self._rest
        fee_here_msat = self._fee_msat
        fee_limit_msat = self._fee_limit_msat
        cltv_here = self._cltv_here
        max_cltv = self._max_cltv_delta
        for record in range(first, end, EDGE_LENGTH):
            source = edges[record]
            label = source * LABEL_LENGTH
            stamp = labels[label + 6]
            if stamp > open_stamp:
                continue
            number = edges[record + 1]
            used_msat = 0
            if number >= 0:
                # Our own channels are known better by `extra`.
                closed = skipped[number >> 1]
                if source == us or closed == 1:
                    continue
                used_msat = held_msat[number]
                if closed and self._is_too_much(number, amount_msat + used_msat):
                    self.obstacles |= OBSTACLE_CAPACITY
                    continue
            minimum_msat = edges[record + 5]
            maximum_msat = edges[record + 6]
            if amount_msat < minimum_msat:
                if amount_msat <= maximum_msat and (
                    self.minimum_msat < 0 or minimum_msat < self.minimum_msat
                ):
                    self.minimum_msat = minimum_msat
                continue
            if amount_msat > maximum_msat:
                self.obstacles |= OBSTACLE_CAPACITY
                continue
            capacity_msat = edges[record + 7]
            unchecked = capacity_msat < 0
            if unchecked:
                capacity_msat = -capacity_msat
            if number >= 0 and amount_msat + used_msat > capacity_msat >> saturation:
                self.obstacles |= OBSTACLE_CAPACITY
                continue
            # BOLT 7, HTLC fees. In two steps, so that no product needs more than 64 bits.
            rate = edges[record + 3]
            fee_msat = edges[record + 2] + millions * rate + rest * rate // 1_000_000
            total_fee_msat = fee_here_msat + fee_msat
            if total_fee_msat > fee_limit_msat:
                self.obstacles |= OBSTACLE_FEE
                continue
            cltv_delta = edges[record + 4]
            if cltv_here + cltv_delta > max_cltv:
                self.obstacles |= OBSTACLE_CLTV
                continue
            cost = cost_here + (cltv_delta if aim == QUICK else fee_msat)
            known = stamp == open_stamp
            if known and labels[label] <= cost:
                continue
            # What costs as much as a whole way that is known is no part of a better one.
            if 0 <= self._best <= cost:
                continue
            if aim == LIKELY and number >= 0:
                cost += self._penalty(number, amount_msat, used_msat, capacity_msat, unchecked)
                if known and labels[label] <= cost:
                    continue
                if 0 <= self._best <= cost:
                    continue
            if source == us:
                self._best = cost
            labels[label] = cost
            labels[label + 1] = amount_msat + fee_msat
            labels[label + 2] = total_fee_msat
            labels[label + 3] = cltv_here + cltv_delta
            labels[label + 4] = self._hops
            labels[label + 5] = number
            labels[label + 6] = open_stamp
            if _COMPILED:
                self._push(cost, source)
            else:
                heappush(queue, (cost, source))
        return 0

    def _is_too_much(self, number: int, total_msat: int) -> bool:
        """Tell whether an edge has shown already that it lacks so much."""
        ceilings = self.ceilings
        for place in range(0, len(ceilings), 2):
            if ceilings[place] == number and total_msat >= ceilings[place + 1]:
                return True
        return False

    def _penalty(
        self, number: int, amount_msat: int, used_msat: int, capacity_msat: int, unchecked: bool
    ) -> int:
        """How much dearer than its fee an edge is; `scoring.py` says what the numbers mean."""
        if self.lookup is not None:
            return self.lookup(number, amount_msat, used_msat, capacity_msat)
        penalty_msat = self._base_msat
        if unchecked:
            penalty_msat += self.unchecked_penalty_msat
        total_msat = amount_msat + used_msat
        if total_msat > capacity_msat:
            return penalty_msat + self.considered_impossible_penalty_msat
        low_msat = 0
        high_msat = capacity_msat
        slot = self.slots[number >> 1]
        if slot >= 0:
            slot *= 3
            elapsed_seconds = self.now_at - self.liquidity[slot + 2]
            if elapsed_seconds < 0:
                elapsed_seconds = 0
            low_msat = self._decayed(self.liquidity[slot], elapsed_seconds)
            upper_msat = self._decayed(self.liquidity[slot + 1], elapsed_seconds)
            if number & 1:
                low_msat, upper_msat = upper_msat, low_msat
            if low_msat > capacity_msat:
                low_msat = capacity_msat
            high_msat = capacity_msat - upper_msat
            if high_msat < low_msat:
                high_msat = low_msat
        if total_msat <= low_msat:
            return penalty_msat
        if total_msat >= high_msat and slot >= 0:
            return penalty_msat + self.considered_impossible_penalty_msat
        # One msat is added on both sides, so that the whole capacity of an unknown channel is unlikely, not
        # impossible.
        log = negative_log10_times_2048(high_msat - total_msat + 1, high_msat - low_msat + 1)
        return penalty_msat + (log * self._factor >> 11)

    def penalty_msat(
        self, number: int, amount_msat: int, used_msat: int, capacity_msat: int, unchecked: bool
    ) -> int:
        """The same for one edge by itself."""
        self._base_msat = self.base_penalty_msat + (
            self.base_penalty_amount_multiplier_msat * amount_msat >> 30
        )
        self._factor = self.liquidity_penalty_multiplier_msat + (
            self.liquidity_penalty_amount_multiplier_msat * amount_msat >> 20
        )
        return self._penalty(number, amount_msat, used_msat, capacity_msat, unchecked)

    def _decayed(self, offset_msat: int, elapsed_seconds: int) -> int:
        """Forget with time: whole half-lives halve, and the rest goes in a straight line."""
        halvings = elapsed_seconds // self.half_life_seconds
        if halvings >= 62:
            return 0
        span = 2 * self.half_life_seconds
        left = span - elapsed_seconds % self.half_life_seconds
        offset_msat >>= halvings
        return offset_msat // span * left + offset_msat % span * left // span

    # --- the queue of the compiled form; `heapq` is faster for the interpreted one ----------------

    def _push(self, cost: int, node: int) -> None:
        heap = self.heap
        place = self._waiting
        self._waiting = place + 1
        while place > 0:
            parent = (place - 1) >> 1
            if heap[2 * parent] < cost or (heap[2 * parent] == cost and heap[2 * parent + 1] <= node):
                break
            heap[2 * place] = heap[2 * parent]
            heap[2 * place + 1] = heap[2 * parent + 1]
            place = parent
        heap[2 * place] = cost
        heap[2 * place + 1] = node

    def _pop(self) -> None:
        """Take the first away: the last moves down from its place."""
        heap = self.heap
        self._waiting -= 1
        end = self._waiting
        cost = heap[2 * end]
        node = heap[2 * end + 1]
        place = 0
        child = 1
        while child < end:
            other = child + 1
            if other < end and (
                heap[2 * other] < heap[2 * child]
                or (heap[2 * other] == heap[2 * child] and heap[2 * other + 1] < heap[2 * child + 1])
            ):
                child = other
            if cost < heap[2 * child] or (cost == heap[2 * child] and node <= heap[2 * child + 1]):
                break
            heap[2 * place] = heap[2 * child]
            heap[2 * place + 1] = heap[2 * child + 1]
            place = child
            child = 2 * place + 1
        heap[2 * place] = cost
        heap[2 * place + 1] = node
