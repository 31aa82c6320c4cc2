"""`Router` over the routing graph: what `ChannelManager` asks for ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wallet.ln.route import FirstHop, InFlightHtlcs, Route, RouteParameters
from wallet.ln.routing.gossip import NetworkGraph
from wallet.ln.routing.router import get_route
from wallet.ln.routing.scoring import ProbabilisticScorer
from wallet.ln.types import NodeId, Now

__all__ = ["GraphRouter"]


class GraphRouter:
    """Joins graph, scorer, clock and entropy to `get_route`."""

    def __init__(
        self,
        graph: NetworkGraph,
        scorer: ProbabilisticScorer,
        now: Callable[[], Now],
        entropy: Callable[[], bytes],
    ) -> None:
        self._graph = graph
        self._scorer = scorer
        self._now = now
        self._entropy = entropy

    def use(self, graph: NetworkGraph, scorer: ProbabilisticScorer) -> None:
        """From now on ways are found in these."""
        self._graph = graph
        self._scorer = scorer

    def find_route(
        self,
        payer: NodeId,
        route_params: RouteParameters,
        first_hops: Sequence[FirstHop],
        inflight: InFlightHtlcs,
    ) -> Route:
        """Raises `RouteNotFound`."""
        return get_route(
            payer,
            route_params,
            self._graph,
            first_hops,
            self._scorer,
            inflight,
            self._now(),
            random_seed=self._entropy(),
        )
