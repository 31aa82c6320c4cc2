"""Routes, and what is asked of a router: shared by the router, the onion builder and outbound payments.

The meaning of the numbers is rust-lightning's. A `Path` starts at our first peer and ends at the payee (or at
the first node of a blinded path). A hop's `fee_msat` is what that node keeps for using the *next* channel;
the last hop keeps nothing, so there it is the amount delivered. `cltv_expiry_delta` is, in the same way, the
delta of the next channel, and at the last hop the final delta that the payee asked for. Working from the
back, the amount and expiry of each HTLC are therefore plain running sums.

All records are frozen and hashable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from wallet.bitcoin.records import register
from wallet.ln.features import Features
from wallet.ln.types import APIError, NodeId, ShortChannelId

__all__ = [
    "DEFAULT_MAX_PATH_COUNT",
    "DEFAULT_MAX_TOTAL_CLTV_DELTA",
    "MAX_PATH_LENGTH_ESTIMATE",
    "BlindedHop",
    "BlindedTail",
    "ChannelLack",
    "FirstHop",
    "InFlightHtlcs",
    "Path",
    "PaymentParameters",
    "Route",
    "RouteHint",
    "RouteHintHop",
    "RouteHop",
    "RouteNotFound",
    "RouteParameters",
    "Router",
    "Shunned",
]

# Paths and payments are stored as records; a feature vector is one value there.
register(Features, Features.to_bytes, Features.from_bytes)

DEFAULT_MAX_TOTAL_CLTV_DELTA = 1008
"""A week of blocks: the longest that a stuck payment may lock coins."""

DEFAULT_MAX_PATH_COUNT = 10
"""Parts of one payment at most: with more, the chance that one of them fails outgrows the gain."""

MAX_PATH_LENGTH_ESTIMATE = 19
"""BOLT 4: 1,300 bytes of hop payloads. A forward needs 3 + 32 framing (length, HMAC), 10 amount, 6 expiry and
10 channel id = 61 at most; the last hop 3 + 32 + 10 + 6 + 42 = 93. (1,300 - 93) // 61 = 19."""

DEFAULT_MAX_CHANNEL_SATURATION_POWER_OF_HALF = 2

DEFAULT_FEE_LIMIT_BASE_MSAT = 50_000
DEFAULT_FEE_LIMIT_DIVISOR = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteHop:
    """A node, and the channel that leads to it.

    Attributes:
        node_id: the node at the end of the channel.
        short_channel_id: the channel from the previous node; an alias for channels that are not announced.
        fee_msat: what the node keeps for the next channel; at the last hop, the amount delivered.
        cltv_expiry_delta: of the next channel, in blocks; at the last hop, the final delta.
        node_features: of the node, where known.
        channel_features: of the channel, where known.
        maybe_announced_channel: whether others can know the channel (scores are kept for those only).
    """

    node_id: NodeId
    short_channel_id: ShortChannelId
    fee_msat: int
    cltv_expiry_delta: int
    node_features: Features | None = None
    channel_features: Features | None = None
    maybe_announced_channel: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindedHop:
    """One node of a blinded path. BOLT 4, blinded_path_hop."""

    blinded_node_id: NodeId
    encrypted_recipient_data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindedTail:
    """The blinded rest of a path; its first hop is the node of the last `RouteHop`.

    With a tail, the last `RouteHop.fee_msat` is the fee of the whole blinded path and its
    `cltv_expiry_delta` the delta of the whole blinded path.
    """

    hops: tuple[BlindedHop, ...]
    blinding_point: bytes
    excess_final_cltv_delta: int
    final_value_msat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One way through the network for one part of a payment."""

    hops: tuple[RouteHop, ...]
    blinded_tail: BlindedTail | None = None

    def __post_init__(self) -> None:
        if not self.hops:
            raise APIError("A payment path needs at least one hop.")

    @property
    def fee_msat(self) -> int:
        """What the nodes on the way keep."""
        hops = self.hops if self.blinded_tail is not None else self.hops[:-1]
        return sum(hop.fee_msat for hop in hops)

    @property
    def final_value_msat(self) -> int:
        """What the payee gets."""
        if self.blinded_tail is not None:
            return self.blinded_tail.final_value_msat
        return self.hops[-1].fee_msat

    @property
    def amount_with_fees_msat(self) -> int:
        """What leaves our first channel."""
        return self.fee_msat + self.final_value_msat

    def amount_over_msat(self, index: int) -> int:
        """What goes over the channel to the hop of this index."""
        behind_msat = 0 if self.blinded_tail is None else self.blinded_tail.final_value_msat
        return behind_msat + sum(hop.fee_msat for hop in self.hops[index:])

    @property
    def final_cltv_delta(self) -> int | None:
        """The last hop's delta; unknown (None) behind a blinded tail."""
        return None if self.blinded_tail is not None else self.hops[-1].cltv_expiry_delta

    @property
    def total_cltv_delta(self) -> int:
        return sum(hop.cltv_expiry_delta for hop in self.hops)

    @property
    def payee(self) -> NodeId:
        """The last node that is known by name."""
        return self.hops[-1].node_id

    def without_features(self) -> Path:
        """The same path for the record: what the nodes could do matters no more once it is taken."""
        if all(hop.node_features is None and hop.channel_features is None for hop in self.hops):
            return self
        return replace(
            self,
            hops=tuple(replace(hop, node_features=None, channel_features=None) for hop in self.hops),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteHintHop:
    """A channel that an invoice names: it leads from `node_id` towards the payee. BOLT 11, field `r`."""

    node_id: NodeId
    short_channel_id: ShortChannelId
    fee_base_msat: int
    fee_proportional_millionths: int
    cltv_expiry_delta: int
    htlc_minimum_msat: int | None = None
    htlc_maximum_msat: int | None = None

    def fee_for_msat(self, amount_msat: int) -> int:
        """BOLT 7, HTLC fees: base plus a rounded-down share of the amount forwarded."""
        return self.fee_base_msat + amount_msat * self.fee_proportional_millionths // 1_000_000


RouteHint = tuple[RouteHintHop, ...]
"""Channels in a row, from a public node to the payee."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLack:
    """One direction of a channel could not carry an amount.

    Attributes:
        ascending: True when the sending node's id is the smaller one.
    """

    short_channel_id: ShortChannelId
    ascending: bool
    amount_msat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shunned:
    """One direction of a channel that lacked an amount: not used for so much again, less may pass.

    Attributes:
        ascending: as in `ChannelLack`.
        from_msat: this much, and all above, counting what payments of ours hold there already.
        times: how often it lacked something.
    """

    short_channel_id: ShortChannelId
    ascending: bool
    from_msat: int
    times: int = 1


SAME_AMOUNT_DIVISOR = 32
"""What is less by one part in 32 only is no smaller amount: another way behind the channel has other fees."""

MAX_LACKS = 3
"""So many failures, each at a smaller amount, and a channel is not used again for this payment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentParameters:
    """Who is to be paid, and within which limits; grows by failed channels from try to try.

    Attributes:
        payee: the node to be paid.
        hints: ways to the payee that its invoice names.
        features: the payee's invoice features; None where there was no invoice.
        final_cltv_delta: blocks that the payee asks for on the last HTLC; never 0.
        expiry_at: when the invoice ends; no try starts afterwards.
        max_total_cltv_delta: of a whole path, the final delta included.
        max_path_count: parts at a time.
        max_path_length: hops of one path.
        max_channel_saturation_power_of_half: n means 1/2^n of a channel's capacity at most, while a way
        exists.
        previously_failed_channels: channels that have failed this payment at any amount: not used again.
        shunned: directions that lacked an amount, one record each.
    """

    payee: NodeId
    final_cltv_delta: int
    hints: tuple[RouteHint, ...] = ()
    features: Features | None = None
    expiry_at: int | None = None
    max_total_cltv_delta: int = DEFAULT_MAX_TOTAL_CLTV_DELTA
    max_path_count: int = DEFAULT_MAX_PATH_COUNT
    max_path_length: int = MAX_PATH_LENGTH_ESTIMATE
    max_channel_saturation_power_of_half: int = DEFAULT_MAX_CHANNEL_SATURATION_POWER_OF_HALF
    previously_failed_channels: tuple[ShortChannelId, ...] = ()
    shunned: tuple[Shunned, ...] = ()

    def with_failed_channel(self, short_channel_id: ShortChannelId) -> PaymentParameters:
        """The same parameters, shunning one more channel."""
        if short_channel_id in self.previously_failed_channels:
            return self
        return replace(self, previously_failed_channels=(*self.previously_failed_channels, short_channel_id))

    def with_shunned(self, lack: ChannelLack, held_msat: int) -> PaymentParameters:
        """The same parameters, after a direction lacked an amount while payments of ours held `held_msat` there."""
        from_msat, times = held_msat + lack.amount_msat - lack.amount_msat // SAME_AMOUNT_DIVISOR, 1
        others: list[Shunned] = []
        for known in self.shunned:
            if (known.short_channel_id, known.ascending) == (lack.short_channel_id, lack.ascending):
                from_msat, times = min(from_msat, known.from_msat), known.times + 1
            else:
                others.append(known)
        if times >= MAX_LACKS:
            # It is not the amount, or what is there is not worth another try.
            return replace(self, shunned=tuple(others)).with_failed_channel(lack.short_channel_id)
        found = Shunned(
            short_channel_id=lack.short_channel_id, ascending=lack.ascending, from_msat=from_msat, times=times
        )
        return replace(self, shunned=(*others, found))


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteParameters:
    """What a router is asked.

    Attributes:
        final_value_msat: to be delivered (of a retry: only what is still missing).
        max_total_routing_fee_msat: fees of all paths together; None: no limit.
    """

    payment_params: PaymentParameters
    final_value_msat: int
    max_total_routing_fee_msat: int | None = None

    @classmethod
    def from_payment_params_and_value(
        cls, payment_params: PaymentParameters, final_value_msat: int
    ) -> RouteParameters:
        """With the usual fee limit: 1 % and 50 sat."""
        limit_msat = final_value_msat // DEFAULT_FEE_LIMIT_DIVISOR + DEFAULT_FEE_LIMIT_BASE_MSAT
        return cls(
            payment_params=payment_params,
            final_value_msat=final_value_msat,
            max_total_routing_fee_msat=limit_msat,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The paths that together carry a payment, or the part of it that was asked for."""

    paths: tuple[Path, ...]
    route_params: RouteParameters

    @property
    def total_amount_msat(self) -> int:
        """What the payee gets; may exceed what was asked where a channel's minimum demanded it."""
        return sum(path.final_value_msat for path in self.paths)

    @property
    def total_fees_msat(self) -> int:
        """Fees, and whatever is paid beyond the amount asked for."""
        overpaid_msat = max(0, self.total_amount_msat - self.route_params.final_value_msat)
        return overpaid_msat + sum(path.fee_msat for path in self.paths)


@dataclass(slots=True)
class InFlightHtlcs:
    """How much of our own payments is under way on each channel and direction.

    A direction is True when the sending node's id is the smaller one.
    """

    used_msat: dict[tuple[ShortChannelId, bool], int] = field(default_factory=dict)

    def process_path(self, path: Path, payer: NodeId) -> None:
        """Count what one path under way holds on each of its channels."""
        self._count(path, payer, 1)

    def remove_path(self, path: Path, payer: NodeId) -> None:
        """Undo `process_path` once the path is done with."""
        self._count(path, payer, -1)

    def copy(self) -> InFlightHtlcs:
        return InFlightHtlcs(dict(self.used_msat))

    def _count(self, path: Path, payer: NodeId, sign: int) -> None:
        amount_msat = path.blinded_tail.final_value_msat if path.blinded_tail is not None else 0
        for index in range(len(path.hops) - 1, -1, -1):
            hop = path.hops[index]
            amount_msat += hop.fee_msat
            source = path.hops[index - 1].node_id if index else payer
            key = (hop.short_channel_id, source < hop.node_id)
            used_msat = self.used_msat.get(key, 0) + sign * amount_msat
            if used_msat > 0:
                self.used_msat[key] = used_msat
            else:
                self.used_msat.pop(key, None)

    def used_liquidity_msat(self, source: NodeId, target: NodeId, short_channel_id: ShortChannelId) -> int:
        return self.used_msat.get((short_channel_id, source < target), 0)

    @classmethod
    def from_paths(cls, paths: Iterable[Path], payer: NodeId) -> InFlightHtlcs:
        inflight = cls()
        for path in paths:
            inflight.process_path(path, payer)
        return inflight


class FirstHop(Protocol):
    """What a router needs to know of one of our own usable channels; `ChannelDetails` has all of it."""

    @property
    def counterparty_node_id(self) -> NodeId: ...

    @property
    def outbound_payment_scid(self) -> ShortChannelId | None:
        """How the channel is named in `RouteHop.short_channel_id`: the real id, else our alias for it."""

    @property
    def next_outbound_htlc_limit_msat(self) -> int:
        """The largest HTLC that the channel takes now."""

    @property
    def next_outbound_htlc_minimum_msat(self) -> int:
        """The smallest HTLC that the channel takes now."""


class RouteNotFound(Exception):
    """There is no way, or none within the limits.

    Attributes:
        message: a sentence for the person.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Router(Protocol):
    """Finds ways. An answer commits to nothing; what failed comes back by `previously_failed_channels`."""

    def find_route(
        self,
        payer: NodeId,
        route_params: RouteParameters,
        first_hops: Sequence[FirstHop],
        inflight: InFlightHtlcs,
    ) -> Route:
        """Paths that deliver at least `route_params.final_value_msat` within its limits.

        Raises `RouteNotFound`.
        """
