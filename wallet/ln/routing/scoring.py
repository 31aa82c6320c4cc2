"""`ProbabilisticScorer`: how likely a channel is to carry an amount, learnt from our own payments.

Theory of operation. Of a channel one knows the capacity, not how it is split. A payment that went through
shows that at least its amount was there; one that failed at a channel shows that less was. So for each
channel two bounds are kept on what its node 1 can send; what node 2 can send is the rest of the capacity.
Between the bounds every split counts as equally likely (Pickhardt and Richter), so an amount `a` gets
through with

    p(a) = (upper - a) / (upper - lower)

and costs `-log10(p)` times a multiplier. Bounds decay: half of what they say is forgotten in each half-life.

Penalties are integers in msat, which compete with fees; they are never paid. All arithmetic is on integers,
so that the same payments give the same routes on any machine; it is done in `pathfinding.py`, where the search
needs it. The scorer is a cache: `write` and `read`.
"""

from __future__ import annotations

from array import array
from collections.abc import MutableSequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.frozen import replace
from wallet.ln.route import Path
from wallet.ln.routing.graph import NetworkGraph
from wallet.ln.routing.pathfinding import MAX_CAPACITY_MSAT, PathFinder, negative_log10_times_2048
from wallet.ln.types import Now, ShortChannelId
from wallet.ln.wire import Reader, Writer

__all__ = [
    "ChannelScores",
    "LiquidityRange",
    "ProbabilisticScorer",
    "ProbabilisticScoringParameters",
    "ScoreLookUp",
    "negative_log10_times_2048",
]

FORGOTTEN_AFTER_HALF_LIVES: Final = 20
"""After so many, less than a millionth of a bound is left: the channel is forgotten."""


# So that no penalty needs more than 64 bits (amounts: `pathfinding.MAX_AMOUNT_MSAT`).
MAX_MULTIPLIER_MSAT: Final = 1 << 14
MAX_PENALTY_MSAT: Final = 1 << 40
MAX_HALF_LIFE_SECONDS: Final = 10 * 365 * 86_400


class ScoreLookUp(Protocol):
    """What the router asks for each channel it looks at."""

    def channel_penalty_msat(
        self,
        short_channel_id: ShortChannelId,
        direction: int,
        amount_msat: int,
        inflight_msat: int,
        capacity_msat: int,
    ) -> int:
        """How much dearer than its fee the channel is.

        `direction` 0 is from the smaller node id to the larger; `inflight_msat` is what our own payments hold
        there already, on top of `amount_msat`.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbabilisticScoringParameters:
    """Rust-lightning's knobs, with the values it had while it judged by liquidity bounds alone.

    Attributes:
        base_penalty_msat: of every hop: shorter paths fail less.
        base_penalty_amount_multiplier_msat: and so much for each 2^30 msat of amount.
        liquidity_penalty_multiplier_msat: for each factor of ten that success is less likely.
        liquidity_penalty_amount_multiplier_msat: the same, for each 2^20 msat of amount.
        half_life_seconds: in which half of what is known is forgotten.
        considered_impossible_penalty_msat: of a channel that has just failed a smaller amount.
        unchecked_penalty_msat: of a channel whose funding output nobody has looked up. Ours: about what two hops more
        cost, so that such a channel is used where the checked ones are clearly worse.
    """

    base_penalty_msat: int = 500
    base_penalty_amount_multiplier_msat: int = 8_192
    liquidity_penalty_multiplier_msat: int = 30_000
    liquidity_penalty_amount_multiplier_msat: int = 192
    half_life_seconds: int = 6 * 3_600
    considered_impossible_penalty_msat: int = 100_000_000_000
    unchecked_penalty_msat: int = 1_000

    def __post_init__(self) -> None:
        multipliers_msat = (
            self.base_penalty_amount_multiplier_msat, self.liquidity_penalty_amount_multiplier_msat,
        )  # fmt: skip
        penalties_msat = (
            self.base_penalty_msat, self.liquidity_penalty_multiplier_msat,
            self.considered_impossible_penalty_msat, self.unchecked_penalty_msat,
        )  # fmt: skip
        if not all(0 <= value_msat <= MAX_MULTIPLIER_MSAT for value_msat in multipliers_msat):
            raise APIError(f"A multiplier of amounts is 0 to {MAX_MULTIPLIER_MSAT}.")
        if not all(0 <= value_msat <= MAX_PENALTY_MSAT for value_msat in penalties_msat):
            raise APIError(f"A penalty is 0 to {MAX_PENALTY_MSAT} msat.")
        if not 0 < self.half_life_seconds <= MAX_HALF_LIFE_SECONDS:
            raise APIError(f"A half-life is 1 to {MAX_HALF_LIFE_SECONDS} seconds.")


@dataclass(frozen=True, slots=True)
class LiquidityRange:
    """What is known of one channel.

    Attributes:
        lower_offset_msat: node 1 can send at least this much.
        upper_offset_msat: node 1 can send at most the capacity less this, since node 2 can send it.
        updated_at: when both held.
    """

    lower_offset_msat: int
    upper_offset_msat: int
    updated_at: int

    def decayed(self, now_at: int, half_life_seconds: int) -> LiquidityRange:
        """Forget with time: whole half-lives halve, and the rest goes in a straight line."""
        elapsed_seconds = max(0, now_at - self.updated_at)
        halvings, rest_seconds = divmod(elapsed_seconds, half_life_seconds)
        if halvings >= 64:
            return LiquidityRange(0, 0, now_at)
        if not elapsed_seconds:
            return self
        span = 2 * half_life_seconds
        left = span - rest_seconds
        return LiquidityRange(
            (self.lower_offset_msat >> halvings) * left // span,
            (self.upper_offset_msat >> halvings) * left // span,
            max(now_at, self.updated_at),
        )

    def bounds_msat(self, direction: int, capacity_msat: int) -> tuple[int, int]:
        """The least and the most that `direction` can send."""
        lower, upper = self.lower_offset_msat, self.upper_offset_msat
        if direction:
            lower, upper = upper, lower
        # The two ends may contradict each other after a capacity was learnt; the newer truth is not known.
        low_msat = min(lower, capacity_msat)
        return low_msat, max(low_msat, capacity_msat - upper)

    @classmethod
    def from_bounds(
        cls, direction: int, low_msat: int, high_msat: int, capacity_msat: int, updated_at: int
    ) -> LiquidityRange:
        lower, upper = low_msat, capacity_msat - high_msat
        if direction:
            lower, upper = upper, lower
        return cls(lower, upper, updated_at)


_NOTHING_KNOWN: Final = LiquidityRange(0, 0, 0)


def _set_parameters(finder: PathFinder, parameters: ProbabilisticScoringParameters, now_at: int) -> None:
    finder.lookup = None
    finder.now_at = now_at
    finder.half_life_seconds = parameters.half_life_seconds
    finder.base_penalty_msat = parameters.base_penalty_msat
    finder.base_penalty_amount_multiplier_msat = parameters.base_penalty_amount_multiplier_msat
    finder.liquidity_penalty_multiplier_msat = parameters.liquidity_penalty_multiplier_msat
    finder.liquidity_penalty_amount_multiplier_msat = parameters.liquidity_penalty_amount_multiplier_msat
    finder.considered_impossible_penalty_msat = parameters.considered_impossible_penalty_msat
    finder.unchecked_penalty_msat = parameters.unchecked_penalty_msat


class ChannelScores:
    """The scorer's knowledge at one moment: a `ScoreLookUp`."""

    __slots__ = ("_finder", "_liquidities")

    def __init__(
        self,
        liquidities: dict[ShortChannelId, LiquidityRange],
        parameters: ProbabilisticScoringParameters,
        now_at: int,
    ) -> None:
        self._liquidities = liquidities
        self._finder = PathFinder()
        _set_parameters(self._finder, parameters, now_at)

    def channel_penalty_msat(
        self,
        short_channel_id: ShortChannelId,
        direction: int,
        amount_msat: int,
        inflight_msat: int,
        capacity_msat: int,
    ) -> int:
        # The kernel's own words, for a graph of one channel.
        finder, known = self._finder, self._liquidities.get(short_channel_id)
        finder.slots = [-1 if known is None else 0]
        if known is not None:
            finder.liquidity = [known.lower_offset_msat, known.upper_offset_msat, known.updated_at]
        return finder.penalty_msat(direction, amount_msat, inflight_msat, capacity_msat, False)


class _Columns:
    """What is known, as the kernel reads it; made anew when it no longer fits.

    Attributes:
        slots, liquidity: see `PathFinder`. Never made longer, because a search may hold them.
    """

    __slots__ = ("_count", "liquidity", "slots")

    def __init__(self, channels: int, known: int) -> None:
        self.slots = array("i", (-1,)) * (channels + _ROOM)
        self.liquidity = array("q", (0,)) * (3 * (known + known // 2 + _ROOM))
        self._count = 0

    def fits(self, channels: int) -> bool:
        return channels <= len(self.slots) and 3 * self._count < len(self.liquidity)

    def put(self, channel: int, known: LiquidityRange) -> None:
        slot = self.slots[channel]
        if slot < 0:
            slot = self.slots[channel] = self._count
            self._count += 1
        liquidity: MutableSequence[int] = self.liquidity
        liquidity[3 * slot] = min(known.lower_offset_msat, MAX_CAPACITY_MSAT)
        liquidity[3 * slot + 1] = min(known.upper_offset_msat, MAX_CAPACITY_MSAT)
        liquidity[3 * slot + 2] = min(known.updated_at, _LATEST_AT)


_ROOM: Final = 1_024
_LATEST_AT: Final = 1 << 40


class ProbabilisticScorer:
    """See the module's docstring.

    Only channels that others may know are learnt about (`RouteHop.maybe_announced_channel`), and only those
    of the graph, because without a capacity a bound says nothing about the other direction.
    """

    def __init__(
        self,
        network_graph: NetworkGraph,
        parameters: ProbabilisticScoringParameters | None = None,
    ) -> None:
        self._graph = network_graph
        self._parameters = parameters or ProbabilisticScoringParameters()
        self._liquidities: dict[ShortChannelId, LiquidityRange] = {}
        self._columns: _Columns | None = None

    def knows(self, graph: NetworkGraph) -> bool:
        """Tell whether it learns about the channels of this graph."""
        return graph is self._graph

    def tell(self, finder: PathFinder, now: Now) -> None:
        """Let a search on the graph use what is known now."""
        _set_parameters(finder, self._parameters, now.at)
        columns = self._columns
        if columns is None or not columns.fits(self._graph.channel_index_count):
            columns = self._columns = _Columns(self._graph.channel_index_count, len(self._liquidities))
            for scid, known in self._liquidities.items():
                channel = self._graph.channel_index(scid)
                if channel is not None:
                    columns.put(channel, known)
        finder.slots, finder.liquidity = columns.slots, columns.liquidity

    def _put(self, scid: ShortChannelId, known: LiquidityRange) -> None:
        self._liquidities[scid] = known
        channel = self._graph.channel_index(scid)
        if self._columns is None or channel is None:
            return
        if self._columns.fits(self._graph.channel_index_count):
            self._columns.put(channel, known)
        else:
            self._columns = None

    def scores(self, now: Now) -> ChannelScores:
        """Give what is known now, unaffected by what is learnt later."""
        return ChannelScores(dict(self._liquidities), self._parameters, now.at)

    def liquidity_bounds_msat(
        self, short_channel_id: ShortChannelId, direction: int, now: Now
    ) -> tuple[int, int] | None:
        """The least and the most that a direction can send, as far as is known; None where nothing is."""
        known = self._liquidities.get(short_channel_id)
        capacity_msat = self._capacity_msat(short_channel_id)
        if known is None or capacity_msat is None:
            return None
        return known.decayed(now.at, self._parameters.half_life_seconds).bounds_msat(direction, capacity_msat)

    def _capacity_msat(self, short_channel_id: ShortChannelId) -> int | None:
        """The capacity, or where it was not looked up, the larger of what both sides say they carry."""
        channel = self._graph.channel(short_channel_id)
        if channel is None:
            return None
        if channel.capacity_sat is not None:
            return channel.capacity_sat * 1_000
        return max((side.htlc_maximum_msat for side in channel.directions if side is not None), default=None)

    def payment_path_failed(self, path: Path, short_channel_id: ShortChannelId | None, now: Now) -> None:
        """Learn that a part failed at a channel: those before it had the amount, that one had not."""
        # At our own channel, or at one that is not on the path, nothing was learnt about others.
        if short_channel_id not in [hop.short_channel_id for hop in path.hops[1:]]:
            return
        for scid, direction, amount_msat, known_to_others in _hops(path):
            if scid == short_channel_id:
                if known_to_others:
                    self._learn_failure(scid, direction, amount_msat, now.at)
                return
            if known_to_others:
                self._learn_passed(scid, direction, amount_msat, now.at)

    def payment_path_successful(self, path: Path, now: Now) -> None:
        """Learn that a part arrived: each channel had the amount, and has moved it to the other side."""
        for scid, direction, amount_msat, known_to_others in _hops(path):
            if known_to_others:
                self._learn_success(scid, direction, amount_msat, now.at)

    def probe_successful(self, path: Path, now: Now) -> None:
        """Learn that an amount was there everywhere, though nothing moved."""
        for scid, direction, amount_msat, known_to_others in _hops(path):
            if known_to_others:
                self._learn_passed(scid, direction, amount_msat, now.at)

    def _bounds(self, scid: ShortChannelId, direction: int, now_at: int) -> tuple[int, int, int] | None:
        capacity_msat = self._capacity_msat(scid)
        if capacity_msat is None:
            return None
        known = self._liquidities.get(scid, _NOTHING_KNOWN).decayed(
            now_at, self._parameters.half_life_seconds
        )
        return (*known.bounds_msat(direction, capacity_msat), capacity_msat)

    def _set(
        self, scid: ShortChannelId, direction: int, low: int, high: int, capacity: int, now_at: int
    ) -> None:
        self._put(scid, LiquidityRange.from_bounds(direction, low, high, capacity, now_at))

    def _learn_failure(self, scid: ShortChannelId, direction: int, amount_msat: int, now_at: int) -> None:
        bounds = self._bounds(scid, direction, now_at)
        if bounds is None:
            return
        low, high, capacity = bounds
        high = min(high, max(0, amount_msat - 1))
        self._set(scid, direction, min(low, high), high, capacity, now_at)

    def _learn_passed(self, scid: ShortChannelId, direction: int, amount_msat: int, now_at: int) -> None:
        bounds = self._bounds(scid, direction, now_at)
        if bounds is None:
            return
        low, high, capacity = bounds
        low = min(capacity, max(low, amount_msat))
        self._set(scid, direction, low, max(low, high), capacity, now_at)

    def _learn_success(self, scid: ShortChannelId, direction: int, amount_msat: int, now_at: int) -> None:
        bounds = self._bounds(scid, direction, now_at)
        if bounds is None:
            return
        low, high, capacity = bounds
        high = max(0, max(high, min(amount_msat, capacity)) - amount_msat)
        self._set(scid, direction, min(max(0, low - amount_msat), high), high, capacity, now_at)

    def forget_decayed(self, now: Now) -> None:
        """Drop what time has made worthless. What a clock that ran ahead has dated is of now: from here on it fades."""
        after_seconds = FORGOTTEN_AFTER_HALF_LIVES * self._parameters.half_life_seconds
        self._liquidities = {
            scid: known if known.updated_at <= now.at else replace(known, updated_at=now.at)
            for scid, known in self._liquidities.items()
            if now.at - known.updated_at < after_seconds
        }
        self._columns = None

    # --- storing ----------------------------------------------------------------------------------

    def write(self) -> bytes:
        writer = Writer().u8(1).u32(len(self._liquidities))
        for scid, known in sorted(self._liquidities.items()):
            writer.u64(scid).u64(known.lower_offset_msat).u64(known.upper_offset_msat).u64(known.updated_at)
        return writer.getvalue()

    @classmethod
    def read(
        cls,
        data: bytes,
        network_graph: NetworkGraph,
        parameters: ProbabilisticScoringParameters | None = None,
    ) -> ProbabilisticScorer:
        """Restore what `write` gave; raises `DecodeError` where it is damaged."""
        reader = Reader(data)
        if reader.u8() != 1:
            raise DecodeError("The stored scores are of another version.")
        scorer = cls(network_graph, parameters)
        for _ in range(reader.u32()):
            scid = ShortChannelId(reader.u64())
            scorer._liquidities[scid] = LiquidityRange(reader.u64(), reader.u64(), reader.u64())
        reader.expect_end()
        return scorer


def _hops(path: Path) -> list[tuple[ShortChannelId, int, int, bool]]:
    """List each channel with its direction, the amount it carries, and whether others may know it.

    Our own first channel is left out: we know what is in it.
    """
    hops: list[tuple[ShortChannelId, int, int, bool]] = []
    amount_msat = path.amount_with_fees_msat - path.hops[0].fee_msat
    for previous, hop in pairwise(path.hops):
        direction = 0 if previous.node_id < hop.node_id else 1
        hops.append((hop.short_channel_id, direction, amount_msat, hop.maybe_announced_channel))
        amount_msat -= hop.fee_msat
    return hops
