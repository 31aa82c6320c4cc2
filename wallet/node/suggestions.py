"""Whom to open a channel with: from a shipped list until the graph is there, then by lot among the well-connected.

Nothing here ranks nodes: whoever is best would be everybody's peer. Each suggestion says in words why it is one. And
what peers answer to an opening that they refuse is read here, because most say how much they want.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from wallet.i18n import _, ngettext

__all__ = [
    "NodeFacts",
    "Suggestion",
    "draw",
    "graph_reason",
    "listed",
    "minimum_in",
    "sensible_sat",
    "well_connected",
]

GRAPH_IS_THERE_NODES = 1_000
"""A graph with fewer nodes is one that is still being read: its well-connected nodes are those that came first."""
WELL_CONNECTED = 300
"""So many nodes are drawn from: each reaches nearly all of the network in a few hops."""
LEAST_PEERS = 20
BLOCKS_A_YEAR = 52_560
SENSIBLE_TIMES = 50
"""A sensible channel is fifty times what opening and closing it cost: two parts in a hundred."""
SENSIBLE_LEAST_SAT = 100_000
SAT_PER_BTC = 100_000_000
_LISTED = re.compile(r"([0-9a-f]{66})@(\S+)(?:\s+(.*))?")
_BITCOIN_MINIMUM = re.compile(r"(?:min|below)[^0-9]{0,40}([0-9]{1,8}\.[0-9]{1,8}) ?btc")
_SAT_MINIMUM = re.compile(
    r"(?:min[^0-9=]{0,40}=?|below|channels from|channels of at least) ?([0-9][0-9,]{0,20}) ?(msat|sat|\)|$|,)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A node to open a channel with. `reason` is a sentence; `address` is host:port."""

    node_id: str
    address: str
    alias: str
    reason: str

    @property
    def uri(self) -> str:
        return f"{self.node_id}@{self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What the graph says of a node: whom it is connected with, since when, with how much."""

    channels: int
    capacity_sat: int
    oldest_height: int


def listed(text: str) -> list[Suggestion]:
    """The nodes of a shipped list: a node URI a line, its name after it; `#` begins a remark."""
    found = []
    for line in text.splitlines():
        match = _LISTED.fullmatch(line.split("#", 1)[0].strip())
        if match is not None:
            found.append(
                Suggestion(
                    node_id=match[1],
                    address=match[2],
                    alias=(match[3] or "").strip(),
                    reason=_("A public node of the list that comes with Leyden, drawn by lot."),
                )
            )
    return found


def well_connected(channel_counts: Sequence[int]) -> list[int]:
    """The indices of the nodes that are worth drawing from, in any order."""
    worth = [index for index, count in enumerate(channel_counts) if count >= LEAST_PEERS]
    return sorted(worth, key=lambda index: -channel_counts[index])[:WELL_CONNECTED]


def draw(items: Iterable[int], entropy: Callable[[], bytes]) -> list[int]:
    """The items in an order that nobody can foresee."""
    return [item for _lot, item in sorted((entropy(), item) for item in items)]


def graph_reason(facts: NodeFacts, best_height: int) -> str:
    """Why a node of the graph is suggested, in words."""
    count = ngettext("{n} channel", "{n} channels", facts.channels).format(n=facts.channels)
    years = max(0, best_height - facts.oldest_height) // BLOCKS_A_YEAR
    if years:
        age = ngettext("the oldest is {n} year old", "the oldest is {n} years old", years).format(n=years)
    else:
        age = _("all of them younger than a year")
    whole_btc = facts.capacity_sat // SAT_PER_BTC
    if whole_btc:
        return _("Drawn by lot among the well-connected: {count} with {btc} BTC, {age}.").format(
            count=count, btc=whole_btc, age=age
        )
    return _("Drawn by lot among the well-connected: {count}, {age}.").format(count=count, age=age)


def minimum_in(refusal: str, offered_sat: int) -> int | None:
    """The smallest channel in sat that a peer's refusal of `offered_sat` names; None where it names none.

    A figure that is not above what was offered is about something else.

    As today's nodes write it: "chan size of 0.0002 BTC is below min chan size of 0.004 BTC", "invalid
    funding_amount=20000 sat (min=100000 sat)", "channel capacity is 18000sat, which is below 1000000sat", and
    Leyden's own "channels from 20000 sat on".
    """
    text = refusal.lower()
    match = _BITCOIN_MINIMUM.search(text)
    if match is not None:
        whole, _point, rest = match[1].partition(".")
        minimum_sat = int(whole) * SAT_PER_BTC + int(rest.ljust(8, "0"))
    else:
        match = _SAT_MINIMUM.search(text)
        if match is None:
            return None
        value = int(match[1].replace(",", ""))
        minimum_sat = -(-value // 1_000) if match[2] == "msat" else value
    return minimum_sat if offered_sat < minimum_sat < 21_000_000 * SAT_PER_BTC else None


def sensible_sat(costs_sat: int, peer_minimum_sat: int = 0) -> int:
    """A size at which what opening and closing cost today does not matter much: a round figure."""
    wanted_sat = max(SENSIBLE_TIMES * costs_sat, SENSIBLE_LEAST_SAT, peer_minimum_sat)
    step_sat = int("1" + "0" * max(0, len(str(wanted_sat)) - 2))
    return -(-wanted_sat // step_sat) * step_sat
