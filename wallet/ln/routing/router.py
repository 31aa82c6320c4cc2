"""`get_route`: ways for a payment through the network, within its limits.

Theory of operation. The search is Dijkstra's, backwards from the payee, because fees are charged on what a
node passes on: at each node the exact amount that has to arrive there is known, and so are the fee and the
expiry that the node before asks. The cost of a hop is its fee plus the scorer's penalty. The search ends at
us, through one of our own channels (`first_hops`), which charge nothing.

One way for the whole amount is tried first. Where there is none, and the payee takes parts, ways for half as
much, a quarter, ... are looked for; each is then made to carry as much as it can, and what it carries is no
longer there for the next. A remainder that is too small to be sent alone makes the parts even instead.

Limits are kept exactly: a way that would break one is not gone on with. As a way that is likely may be
dear, or slow, the search is repeated for the cheapest, or the quickest, where such a limit stood in the way
of the first. The error says what stood in the way.

The search itself is `pathfinding.py`, on the graph's `Layout`. Nodes and channels are meant by their index in the
`GraphSnapshot`; nodes that only the invoice knows follow behind. A direction of a public channel is
`2 * channel + direction`; hints and our own channels are listed apart, and meant by negative numbers.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wallet.bitcoin.hashes import sha256
from wallet.i18n import _
from wallet.ln.features import Feature
from wallet.ln.route import (
    FirstHop,
    InFlightHtlcs,
    Path,
    PaymentParameters,
    Route,
    RouteHop,
    RouteNotFound,
    RouteParameters,
)
from wallet.ln.routing.graph import CAPACITY_UNKNOWN, GraphSnapshot, NetworkGraph
from wallet.ln.routing.kernel import FASTEST, Kernel
from wallet.ln.routing.layout import MAX_EXTRA, Scratch
from wallet.ln.routing.pathfinding import (
    CHEAP,
    EDGE_LENGTH,
    LABEL_LENGTH,
    LIKELY,
    MAX_AMOUNT_MSAT,
    MAX_CAPACITY_MSAT,
    NO_NUMBER,
    OBSTACLE_CAPACITY,
    OBSTACLE_CLTV,
    OBSTACLE_FEE,
    OBSTACLE_LENGTH,
    QUICK,
    PathFinder,
)
from wallet.ln.routing.scoring import ProbabilisticScorer, ScoreLookUp
from wallet.ln.types import InvariantError, NodeId, Now, ShortChannelId

__all__ = ["get_route"]

_UNLIMITED_MSAT: Final = MAX_CAPACITY_MSAT
_PPM: Final = 1_000_000
MAX_OVERPAYMENT_FACTOR: Final = 2
"""BOLT 4, final node: up to twice the amount is accepted."""
SHADOW_HOPS: Final = 3
"""Steps of the random walk that hides how near the payee is. BOLT 7, recommendations for routing."""
MAX_SHADOW_CLTV_DELTA: Final = 3 * 144


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edge:
    """One direction of a channel, with the terms of its source.

    Attributes:
        number: see the module's docstring.
        first_hop: the position among `first_hops`, for our own channels.
        capacity_msat: what the scorer is told.
        announced: whether others can know the channel.
    """

    number: int
    source: int
    target: int
    short_channel_id: ShortChannelId
    direction: int
    fee_base_msat: int = 0
    fee_proportional_millionths: int = 0
    cltv_expiry_delta: int = 0
    htlc_minimum_msat: int
    htlc_maximum_msat: int
    capacity_msat: int
    first_hop: int | None = None
    announced: bool = False

    def fee_for_msat(self, amount_msat: int) -> int:
        """BOLT 7, HTLC fees."""
        return self.fee_base_msat + amount_msat * self.fee_proportional_millionths // _PPM


@dataclass(slots=True)
class _Obstacles:
    """What stood in the way of a search.

    Attributes:
        minimum_msat: the smallest minimum that was above the amount.
    """

    fee: bool = False
    cltv: bool = False
    length: bool = False
    capacity: bool = False
    minimum_msat: int | None = None

    def note(self, flags: int, minimum_msat: int) -> None:
        """Take in what the kernel met."""
        self.fee |= bool(flags & OBSTACLE_FEE)
        self.cltv |= bool(flags & OBSTACLE_CLTV)
        self.length |= bool(flags & OBSTACLE_LENGTH)
        self.capacity |= bool(flags & OBSTACLE_CAPACITY)
        if minimum_msat >= 0 and (self.minimum_msat is None or minimum_msat < self.minimum_msat):
            self.minimum_msat = minimum_msat


@dataclass(frozen=True, slots=True)
class _Part:
    """A way, and what it carries.

    Attributes:
        edges: from us to the payee.
        amounts_msat: what goes over each.
    """

    edges: tuple[_Edge, ...]
    amounts_msat: tuple[int, ...]

    @property
    def delivered_msat(self) -> int:
        return self.amounts_msat[-1]

    @property
    def fee_msat(self) -> int:
        return self.amounts_msat[0] - self.amounts_msat[-1]


def get_route(
    our_node_id: NodeId,
    route_params: RouteParameters,
    graph: GraphSnapshot | NetworkGraph,
    first_hops: Sequence[FirstHop],
    scorer: ScoreLookUp | ProbabilisticScorer,
    inflight: InFlightHtlcs,
    now: Now,
    *,
    random_seed: bytes | None = None,
    kernel: Kernel = FASTEST,
) -> Route:
    """Find paths that together deliver the amount that is asked for; raises `RouteNotFound` with words why.

    `inflight` is what our payments hold on channels of others; our own channels' limits count it already.
    With a `random_seed`, the expiry is padded as if the payee were some hops further away. A `NetworkGraph` must not
    change meanwhile; a snapshot does not.
    """
    snapshot = graph.live() if isinstance(graph, NetworkGraph) else graph
    params = route_params.payment_params
    if route_params.final_value_msat <= 0:
        raise RouteNotFound(_("A payment needs an amount."))
    if params.payee == our_node_id:
        raise RouteNotFound(_("The payment is to this wallet itself."))
    if route_params.final_value_msat > MAX_AMOUNT_MSAT:
        raise RouteNotFound(
            _("A payment of more than %s cannot be sent at once.") % _sat_text(MAX_AMOUNT_MSAT)
        )
    search = _Search(our_node_id, route_params, snapshot, first_hops, inflight, kernel)
    search.check_feasibility()
    search.begin()
    try:
        search.prepare(scorer, now)
        parts = search.find_parts()
    finally:
        search.clean_up()
    shadow = _shadow_cltv_delta(params, snapshot, parts, random_seed) if random_seed else 0
    return Route(
        paths=tuple(search.to_path(part, params.final_cltv_delta + shadow) for part in parts),
        route_params=route_params,
    )


class _Search:
    """One call of `get_route`: what it may use, and what it has used up."""

    def __init__(
        self,
        our_node_id: NodeId,
        route_params: RouteParameters,
        graph: GraphSnapshot,
        first_hops: Sequence[FirstHop],
        inflight: InFlightHtlcs,
        kernel: Kernel,
    ) -> None:
        self._route_params = route_params
        self._params = route_params.payment_params
        self._graph = graph
        self._inflight = inflight
        self._failed = frozenset(self._params.previously_failed_channels)
        # By channel and direction, the amount from which on it was found to be too much.
        self._ceilings_msat = {
            (item.short_channel_id, 0 if item.ascending else 1): item.from_msat
            for item in self._params.shunned
        }
        # Node indices behind those of the graph: us, the payee, and what hints name.
        self._extra_nodes: list[NodeId] = []
        self._extra_index: dict[NodeId, int] = {}
        self._us = self._node_index(our_node_id)
        self._payee = self._node_index(self._params.payee)
        # Edges that are not public, by number: -1 - number is how a search means one.
        self._extra_edges: list[_Edge] = []
        self._extra_into: dict[int, list[int]] = {}
        self._sendable_msat: list[int] = []
        self._add_first_hops(our_node_id, first_hops)
        self._add_hints(our_node_id)
        # What the parts found so far hold.
        self._used_msat: dict[tuple[ShortChannelId, int], int] = {}
        self._obstacles = _Obstacles()
        self._found_some = False
        self._layout = graph.layout(kernel)
        self._scratch: Scratch
        self._finder: PathFinder
        # The extra edges as records, those behind our own and the hints being public ones.
        self._records = array("q")
        self._extra_targets: list[int] = []
        self._used_numbers: list[int] = []
        self._skipped_channels: list[int] = []

    # --- what there is ----------------------------------------------------------------------------

    def _node_index(self, node_id: NodeId) -> int:
        known = self._graph.node_index(node_id)
        if known is not None:
            return known
        if node_id not in self._extra_index:
            self._extra_index[node_id] = self._graph.node_count + len(self._extra_nodes)
            self._extra_nodes.append(node_id)
        return self._extra_index[node_id]

    def _node_id(self, index: int) -> NodeId:
        count = self._graph.node_count
        return self._graph.node_ids[index] if index < count else self._extra_nodes[index - count]

    def _add_edge(self, edge: _Edge) -> None:
        self._extra_into.setdefault(edge.target, []).append(-1 - len(self._extra_edges))
        self._extra_edges.append(edge)

    def _add_first_hops(self, our_node_id: NodeId, first_hops: Sequence[FirstHop]) -> None:
        # The smallest that suffices is taken, so that large ones stay whole: it comes first among equals.
        for hop in sorted(first_hops, key=lambda hop: hop.next_outbound_htlc_limit_msat):
            scid = hop.outbound_payment_scid
            if scid is None or scid in self._failed or hop.next_outbound_htlc_limit_msat <= 0:
                continue
            self._add_edge(
                _Edge(
                    number=-1 - len(self._extra_edges),
                    source=self._us,
                    target=self._node_index(hop.counterparty_node_id),
                    short_channel_id=scid,
                    direction=0 if our_node_id < hop.counterparty_node_id else 1,
                    htlc_minimum_msat=hop.next_outbound_htlc_minimum_msat,
                    htlc_maximum_msat=hop.next_outbound_htlc_limit_msat,
                    capacity_msat=hop.next_outbound_htlc_limit_msat,
                    first_hop=len(self._sendable_msat),
                    announced=self._graph.channel_index(scid) is not None,
                )
            )
            self._sendable_msat.append(hop.next_outbound_htlc_limit_msat)

    def _add_hints(self, our_node_id: NodeId) -> None:
        for hint in self._params.hints:
            target = self._params.payee
            for hop in reversed(hint):
                source, scid = hop.node_id, hop.short_channel_id
                # What is public is better known to the graph; what is ours, to our channels.
                public = self._graph.channel_index(scid) is not None
                if source not in (our_node_id, target) and scid not in self._failed and not public:
                    maximum_msat = hop.htlc_maximum_msat
                    self._add_edge(
                        _Edge(
                            number=-1 - len(self._extra_edges),
                            source=self._node_index(source),
                            target=self._node_index(target),
                            short_channel_id=scid,
                            direction=0 if source < target else 1,
                            fee_base_msat=hop.fee_base_msat,
                            fee_proportional_millionths=hop.fee_proportional_millionths,
                            cltv_expiry_delta=hop.cltv_expiry_delta,
                            htlc_minimum_msat=hop.htlc_minimum_msat or 0,
                            htlc_maximum_msat=_UNLIMITED_MSAT if maximum_msat is None else maximum_msat,
                            capacity_msat=_UNLIMITED_MSAT,
                        )
                    )
                target = source

    def _edge(self, number: int) -> _Edge:
        """Describe an edge that a search named."""
        if number < 0:
            return self._extra_edges[-1 - number]
        arrays = self._graph.arrays
        channel, direction = number >> 1, number & 1
        nodes = (arrays.channel_node_1[channel], arrays.channel_node_2[channel])
        return _Edge(
            number=number,
            source=nodes[direction],
            target=nodes[1 - direction],
            short_channel_id=ShortChannelId(arrays.channel_scid[channel]),
            direction=direction,
            fee_base_msat=arrays.fee_base_msat[number],
            fee_proportional_millionths=arrays.fee_proportional_millionths[number],
            cltv_expiry_delta=arrays.cltv_expiry_delta[number],
            htlc_minimum_msat=arrays.htlc_minimum_msat[number],
            htlc_maximum_msat=self._public_limit_msat(number),
            capacity_msat=self._capacity_msat(number),
            announced=True,
        )

    def _capacity_msat(self, number: int) -> int:
        capacity_sat = self._graph.arrays.capacity_sat[number >> 1]
        if capacity_sat == CAPACITY_UNKNOWN:
            return self._graph.arrays.htlc_maximum_msat[number]
        return capacity_sat * 1_000

    def _public_limit_msat(self, number: int) -> int:
        return min(self._graph.arrays.htlc_maximum_msat[number], self._capacity_msat(number))

    def _used(self, edge_scid: ShortChannelId, direction: int, *, ours: bool) -> int:
        """What is held on a channel: by the parts found, and by other payments where it is not our own."""
        used_msat = self._used_msat.get((edge_scid, direction), 0)
        if not ours:
            used_msat += self._inflight.used_msat.get((edge_scid, direction == 0), 0)
        return used_msat

    def _available_msat(self, edge: _Edge, *, widening: bool = False) -> int:
        """How much one more part may put on an edge; when `widening`, no more than is likely to be there."""
        used_msat = self._used(edge.short_channel_id, edge.direction, ours=edge.first_hop is not None)
        available_msat = min(edge.htlc_maximum_msat, edge.capacity_msat - used_msat)
        ceiling_msat = self._ceilings_msat.get((edge.short_channel_id, edge.direction))
        if ceiling_msat is None:
            return available_msat
        # Of what is below the ceiling nothing is known: to go up to it would be to fail again, as like as not.
        limit_msat = ceiling_msat // 2 if widening else ceiling_msat - 1
        return min(available_msat, limit_msat - used_msat)

    @property
    def _takes_parts(self) -> bool:
        features = self._params.features
        return (
            self._params.max_path_count > 1 and features is not None and features.supports(Feature.BASIC_MPP)
        )

    # --- what is asked ----------------------------------------------------------------------------

    def check_feasibility(self) -> None:
        """Refuse what no search can find, in words of its own."""
        if not self._sendable_msat:
            raise RouteNotFound(_("There is no channel that can send now."))
        value_msat = self._route_params.final_value_msat
        sendable_msat = sum(self._sendable_msat) if self._takes_parts else max(self._sendable_msat)
        if value_msat > sendable_msat:
            if self._takes_parts or value_msat > sum(self._sendable_msat):
                text = _("Your channels can send at most %s now.")
            else:
                text = _(
                    "The recipient takes no split payments, and no single channel can send more than %s now."
                )
            raise RouteNotFound(text % _sat_text(sendable_msat))
        in_graph = self._payee < self._graph.node_count and self._graph.node_channels[self._payee]
        if not in_graph and self._payee not in self._extra_into:
            raise RouteNotFound(
                _("The recipient is not in the network graph, and the invoice names no way to it.")
            )

    def find_parts(self) -> list[_Part]:
        """Find parts for the whole amount; raises `RouteNotFound`."""
        value_msat = self._route_params.final_value_msat
        fee_limit_msat = self._route_params.max_total_routing_fee_msat
        limit_msat = _UNLIMITED_MSAT if fee_limit_msat is None else fee_limit_msat
        parts = self._try(value_msat, limit_msat)
        if parts is not None:
            return parts
        obstacles = self._obstacles
        minimum_msat = obstacles.minimum_msat
        # BOLT 4: a payee takes up to twice the amount, where a channel's minimum asks for it.
        if minimum_msat is not None and value_msat < minimum_msat <= MAX_OVERPAYMENT_FACTOR * value_msat:
            parts = self._try(minimum_msat, limit_msat - (minimum_msat - value_msat))
            if parts is not None:
                return parts
        raise RouteNotFound(self._why_not(value_msat, obstacles, fee_limit_msat))

    def _try(self, value_msat: int, fee_limit_msat: int) -> list[_Part] | None:
        """Try the most likely ways first, then what stood in their way."""
        self._obstacles = obstacles = _Obstacles()
        if fee_limit_msat < 0:
            obstacles.fee = True
            return None
        power = self._params.max_channel_saturation_power_of_half
        for saturation in dict.fromkeys((power, 0)):
            parts = self._collect(value_msat, value_msat, fee_limit_msat, LIKELY, saturation)
            if parts is not None:
                return parts
        # Even parts help where only the remainder found no way; not where nothing did.
        if self._takes_parts and self._found_some:
            for count in dict.fromkeys((2, 3, 5, self._params.max_path_count)):
                if count <= self._params.max_path_count:
                    share_msat = -(-value_msat // count)
                    parts = self._collect(value_msat, share_msat, fee_limit_msat, LIKELY, 0)
                    if parts is not None:
                        return parts
        for stood_in_the_way, aim in ((obstacles.fee, CHEAP), (obstacles.cltv, QUICK)):
            if stood_in_the_way:
                parts = self._collect(value_msat, value_msat, fee_limit_msat, aim, 0)
                if parts is not None:
                    return parts
        return None

    def _collect(
        self, value_msat: int, part_limit_msat: int, fee_limit_msat: int, aim: int, saturation: int
    ) -> list[_Part] | None:
        """Gather parts of up to `part_limit_msat` until they deliver the value."""
        self._use_nothing()
        parts: list[_Part] = []
        remaining_msat = value_msat
        count = self._params.max_path_count if self._takes_parts else 1
        while remaining_msat > 0:
            if len(parts) == count:
                return None
            wanted_msat = min(remaining_msat, part_limit_msat)
            least_msat = min(wanted_msat, -(-remaining_msat // (count - len(parts))))
            part = self._find_part(wanted_msat, least_msat, fee_limit_msat, aim, saturation)
            if part is None:
                self._found_some = bool(parts)
                return None
            parts.append(part)
            self._use(part)
            remaining_msat -= part.delivered_msat
            fee_limit_msat -= part.fee_msat
        return parts

    def _find_part(
        self, wanted_msat: int, least_msat: int, fee_limit_msat: int, aim: int, saturation: int
    ) -> _Part | None:
        """Find a way for as much as wanted, or for half, a quarter, ... but no less than the least."""
        edges = self._dijkstra(wanted_msat, fee_limit_msat, aim, saturation)
        if edges is not None:
            return self._widen(edges, wanted_msat, wanted_msat, fee_limit_msat)
        if least_msat == wanted_msat:
            return None
        # Without a way for the least there is none for more either, unless it is less than a channel's minimum.
        least_edges = self._dijkstra(least_msat, fee_limit_msat, aim, saturation)
        if least_edges is None and self._obstacles.minimum_msat is None:
            return None
        amount_msat = wanted_msat // 2
        while amount_msat > least_msat:
            edges = self._dijkstra(amount_msat, fee_limit_msat, aim, saturation)
            if edges is not None:
                return self._widen(edges, amount_msat, wanted_msat, fee_limit_msat)
            amount_msat //= 2
        if least_edges is None:
            return None
        return self._widen(least_edges, least_msat, wanted_msat, fee_limit_msat)

    def _widen(
        self, edges: tuple[_Edge, ...], found_msat: int, wanted_msat: int, fee_limit_msat: int
    ) -> _Part:
        """Make a way carry as much as it can, between what it was found for and what is wanted."""
        best = self._carry(edges, found_msat, fee_limit_msat)
        if best is None:
            raise InvariantError("A way that was found does not carry its amount.")
        low_msat, high_msat = found_msat, wanted_msat
        while low_msat < high_msat:
            middle_msat = (low_msat + high_msat + 1) // 2
            part = self._carry(edges, middle_msat, fee_limit_msat, widening=True)
            if part is None:
                high_msat = middle_msat - 1
            else:
                low_msat, best = middle_msat, part
        return best

    def _carry(
        self, edges: tuple[_Edge, ...], delivered_msat: int, fee_limit_msat: int, *, widening: bool = False
    ) -> _Part | None:
        """Work out what goes over each edge; None when one cannot take it."""
        amounts_msat: list[int] = []
        amount_msat = delivered_msat
        for edge in reversed(edges):
            if not edge.htlc_minimum_msat <= amount_msat <= self._available_msat(edge, widening=widening):
                return None
            amounts_msat.append(amount_msat)
            if edge.first_hop is None:
                amount_msat += edge.fee_for_msat(amount_msat)
        part = _Part(edges, tuple(reversed(amounts_msat)))
        return None if part.fee_msat > fee_limit_msat else part

    # --- the search -------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take what `clean_up` gives back."""
        self._scratch = self._layout.take_scratch()
        self._finder = self._scratch.finder

    def prepare(self, scorer: ScoreLookUp | ProbabilisticScorer, now: Now) -> None:
        """Tell the kernel what only this search knows."""
        finder, scratch, graph = self._finder, self._scratch, self._graph
        if graph.node_count + len(self._extra_nodes) > scratch.node_room:
            raise RouteNotFound(_("The invoice names more nodes on the way than can be looked at."))
        if isinstance(scorer, ProbabilisticScorer) and scorer.knows(graph.graph):
            scorer.tell(finder, now)
        else:
            scores = scorer.scores(now) if isinstance(scorer, ProbabilisticScorer) else scorer
            scids, ask = graph.arrays.channel_scid, scores.channel_penalty_msat
            finder.lookup = lambda number, amount_msat, used_msat, capacity_msat: ask(
                ShortChannelId(scids[number >> 1]), number & 1, amount_msat, used_msat, capacity_msat
            )
        for (scid, ascending), used_msat in self._inflight.used_msat.items():
            channel = graph.channel_index(scid)
            if channel is not None:
                number = 2 * channel + (0 if ascending else 1)
                scratch.used_msat[number] = min(used_msat, MAX_CAPACITY_MSAT)
                self._used_numbers.append(number)
        for scid in self._failed:
            channel = graph.channel_index(scid)
            if channel is not None:
                scratch.skipped[channel] = 1
                self._skipped_channels.append(channel)
        ceilings = array("q")
        for (scid, direction), from_msat in self._ceilings_msat.items():
            channel = graph.channel_index(scid)
            if channel is not None and scratch.skipped[channel] != 1:
                scratch.skipped[channel] = 2
                self._skipped_channels.append(channel)
                ceilings.extend((2 * channel + direction, min(from_msat, MAX_CAPACITY_MSAT)))
        finder.ceilings = ceilings
        for number, edge in enumerate(self._extra_edges):
            self._add_record(
                edge.target,
                (
                    edge.source, -1 - number, edge.fee_base_msat, edge.fee_proportional_millionths,
                    edge.cltv_expiry_delta, edge.htlc_minimum_msat, 0, 0,
                ),
            )  # fmt: skip
        self._add_public_records()
        if len(self._extra_targets) > MAX_EXTRA:
            raise RouteNotFound(_("There are more channels and hints than can be looked at."))
        # Linked from the last, so that the first of a node's is looked at first.
        following = array("i", bytes(4 * len(self._extra_targets)))
        for index in range(len(self._extra_targets) - 1, -1, -1):
            target = self._extra_targets[index]
            following[index] = scratch.extra_first[target]
            scratch.extra_first[target] = index
        finder.extra_next = following
        finder.extra = self._records

    def _add_record(self, target: int, record: tuple[int, ...]) -> None:
        self._extra_targets.append(target)
        self._records.extend(record)

    def _add_public_records(self) -> None:
        """Add the public edges that the layout does not lead to: new ones, and what lies behind dead ends that can be
        reached now."""
        layout, arrays = self._layout, self._graph.arrays
        awake: set[int] = set()
        for number in layout.fresh:
            target = (arrays.channel_node_1 if number & 1 else arrays.channel_node_2)[number >> 1]
            self._add_record(target, layout.record(number))
        for node in self._extra_targets[:]:
            if node >= layout.node_count or layout.sole[node] == -2 or node in awake:
                continue
            awake.add(node)
            outward = (
                2 * channel + (0 if arrays.channel_node_1[channel] == node else 1)
                for channel in self._graph.node_channels[node]
            )
            for number in layout.dead_ends(outward):
                target = (arrays.channel_node_1 if number & 1 else arrays.channel_node_2)[number >> 1]
                self._add_record(target, layout.record(number))

    def clean_up(self) -> None:
        """Leave the scratch as it was."""
        scratch, finder = self._scratch, self._finder
        for number in self._used_numbers:
            scratch.used_msat[number] = 0
        for channel in self._skipped_channels:
            scratch.skipped[channel] = 0
        for target in self._extra_targets:
            scratch.extra_first[target] = -1
        finder.lookup = None
        self._layout.put_scratch(scratch)

    def _use_nothing(self) -> None:
        """Forget the parts found so far."""
        self._used_msat = {}
        used_msat = self._scratch.used_msat
        for number in self._used_numbers:
            used_msat[number] = 0
        for (scid, ascending), held_msat in self._inflight.used_msat.items():
            channel = self._graph.channel_index(scid)
            if channel is not None:
                used_msat[2 * channel + (0 if ascending else 1)] = min(held_msat, MAX_CAPACITY_MSAT)

    def _use(self, part: _Part) -> None:
        """Count what a part holds."""
        for edge, amount_msat in zip(part.edges, part.amounts_msat, strict=True):
            key = (edge.short_channel_id, edge.direction)
            self._used_msat[key] = self._used_msat.get(key, 0) + amount_msat
            if edge.number >= 0:
                self._scratch.used_msat[edge.number] += amount_msat
                self._used_numbers.append(edge.number)

    def _dijkstra(
        self, value_msat: int, fee_limit_msat: int, aim: int, saturation: int
    ) -> tuple[_Edge, ...] | None:
        """Find the best way for an amount, as edges from us to the payee."""
        finder, params = self._finder, self._params
        for number, edge in enumerate(self._extra_edges):
            available_msat = min(self._available_msat(edge), MAX_CAPACITY_MSAT)
            self._records[EDGE_LENGTH * number + 6] = available_msat
        finder.obstacles, finder.minimum_msat = 0, -1
        found = finder.search(
            self._us,
            self._payee,
            value_msat,
            params.final_cltv_delta,
            min(fee_limit_msat, MAX_AMOUNT_MSAT),
            params.max_total_cltv_delta,
            params.max_path_length,
            aim,
            saturation,
        )
        self._obstacles.note(finder.obstacles, finder.minimum_msat)
        return self._edges_from_us() if found else None

    def _edges_from_us(self) -> tuple[_Edge, ...]:
        labels = self._scratch.labels
        edges: list[_Edge] = []
        node = self._us
        while (number := labels[LABEL_LENGTH * node + 5]) != NO_NUMBER:
            edge = self._edge(number)
            edges.append(edge)
            node = edge.target
        return tuple(edges)

    # --- answers ----------------------------------------------------------------------------------

    def _why_not(self, value_msat: int, obstacles: _Obstacles, fee_limit_msat: int | None) -> str:
        """Say what stood in the way, by lifting one limit after the other."""
        if obstacles.fee and fee_limit_msat is not None:
            parts = self._collect(value_msat, value_msat, _UNLIMITED_MSAT, CHEAP, 0)
            if parts is not None:
                fee_msat = sum(part.fee_msat for part in parts)
                return _("The cheapest way found costs %(fee)s in fees; the limit is %(limit)s.") % {
                    "fee": _sat_text(fee_msat),
                    "limit": _sat_text(fee_limit_msat),
                }
        if obstacles.minimum_msat is not None and not obstacles.capacity:
            return _("The amount is too small: channels on the way take %s at least.") % _sat_text(
                obstacles.minimum_msat
            )
        if obstacles.cltv and not obstacles.capacity:
            return _("Every way found would lock the coins for longer than %d blocks.") % (
                self._params.max_total_cltv_delta
            )
        if obstacles.length and not obstacles.capacity:
            return _("Every way found has more than %d hops.") % self._params.max_path_length
        return _("No way to the recipient that can carry %s is known now.") % _sat_text(value_msat)

    def to_path(self, part: _Part, final_cltv_delta: int) -> Path:
        """Put a part in the words of `Path`: what a node keeps and asks is told by the channel after it."""
        hops: list[RouteHop] = []
        last = len(part.edges) - 1
        for position, edge in enumerate(part.edges):
            amount_msat = part.amounts_msat[position]
            hops.append(
                RouteHop(
                    node_id=self._node_id(edge.target),
                    short_channel_id=edge.short_channel_id,
                    fee_msat=amount_msat
                    if position == last
                    else amount_msat - part.amounts_msat[position + 1],
                    cltv_expiry_delta=(
                        final_cltv_delta if position == last else part.edges[position + 1].cltv_expiry_delta
                    ),
                    maybe_announced_channel=edge.announced,
                )
            )
        return Path(hops=tuple(hops))


def _shadow_cltv_delta(
    params: PaymentParameters, graph: GraphSnapshot, parts: list[_Part], random_seed: bytes
) -> int:
    """Walk at random from the payee, and give the blocks that this walk would have added, within the
    limits."""
    slowest = max(sum(edge.cltv_expiry_delta for edge in part.edges) for part in parts)
    room = min(MAX_SHADOW_CLTV_DELTA, params.max_total_cltv_delta - params.final_cltv_delta - slowest)
    node = graph.node_index(params.payee)
    if node is None and len(parts[0].edges) > 1:
        # A payee that the graph does not know: from the node before it.
        node = parts[0].edges[-1].source
    arrays = graph.arrays
    shadow = 0
    for step in range(SHADOW_HOPS):
        channels = graph.node_channels[node] if node is not None and node < graph.node_count else ()
        if not channels:
            break
        draw = int.from_bytes(sha256(random_seed + bytes((step,)))[:8], "big")
        channel = channels[draw % len(channels)]
        direction = 0 if arrays.channel_node_1[channel] == node else 1
        shadow += arrays.cltv_expiry_delta[2 * channel + direction]
        node = arrays.channel_node_2[channel] if direction == 0 else arrays.channel_node_1[channel]
    return max(0, min(shadow, room))


def _sat_text(amount_msat: int) -> str:
    """Write an amount for people, in satoshi."""
    sat, rest_msat = divmod(amount_msat, 1_000)
    digits = f"{sat:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return _("%s sat") % (f"{digits}.{rest_msat:03}" if rest_msat else digits)
