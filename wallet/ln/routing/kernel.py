"""Chooses between the two forms of `pathfinding.py`: compiled where it was built, else as it stands."""

from __future__ import annotations

import importlib
from typing import Final, Protocol, cast

from wallet.ln.routing import pathfinding
from wallet.ln.routing.pathfinding import Numbers, PathFinder

__all__ = ["COMPILED", "FASTEST", "INTERPRETED", "Kernel"]


class Kernel(Protocol):
    """What both forms have."""

    COMPILED: bool

    def PathFinder(self) -> PathFinder: ...

    def lay_out(
        self,
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
    ) -> int: ...


def _compiled() -> Kernel | None:
    try:
        module: object = importlib.import_module("wallet.ln.routing._pathfinding")
    except ImportError:
        return None
    # One that was built from another text would not give the same routes.
    if getattr(module, "VERSION", None) != pathfinding.VERSION:
        return None
    return cast(Kernel, module)


INTERPRETED: Final = cast(Kernel, pathfinding)
COMPILED: Final = _compiled()
FASTEST: Final = COMPILED or INTERPRETED
