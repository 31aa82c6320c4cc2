"""The frozen state of one channel, and the tables by which its updates move.

Theory of operation. BOLT 2 lets each side keep its own view of the next commitments; an update (an HTLC
added, an HTLC removed, a new fee rate) travels through fixed stages. Three things move updates on, and they
move all of them together: we send `commitment_signed` (SEND_COMMIT), the peer revokes (RECV_REVOKE), and the peer sends
`commitment_signed`, to which we answer at once with `revoke_and_ack` (RECV_COMMIT). The tables
`OUTBOUND_MOVES`, `INBOUND_MOVES` and `FEE_MOVES` say where each stage goes on each of the three; a stage
that a table does not name stays. `IN_HOLDER_COMMITMENT` and `IN_COUNTERPARTY_COMMITMENT` say which stages
have an output in whose newest commitment. Everything else, balances included, is a fold over these stages
(`channel_commitment.balances`).

Two numbers count up for each side: a side's commitments, from 0, and how many of them are revoked. We never owe
an answer, because we answer in the same step; the peer owes one while its newest commitment is not the only one
that is unrevoked.

What a record of this file holds is durable, except where it says otherwise. `rows_of` turns two states into the
rows by which they differ; a state is never written as a whole. An update of the peer's that no `commitment_signed`
of its own has covered is not durable: BOLT 2 has it forgotten at a disconnection, and so does a restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

from wallet.bitcoin.frozen import replace
from wallet.bitcoin.records import decode, encode, register, tagged
from wallet.bitcoin.tx import BlockHash, OutPoint, Transaction
from wallet.chain.interfaces import Row
from wallet.ln.chan_utils import (
    ChannelTransactionParameters,
    CounterpartyCommitmentSecrets,
)
from wallet.ln.config import ChannelConfig
from wallet.ln.features import ChannelTypeFeatures
from wallet.ln.htlc import HTLCSource
from wallet.ln.types import (
    ChannelId,
    DecodeError,
    NodeId,
    PaymentHash,
    PaymentPreimage,
    ShortChannelId,
)

__all__ = [
    "FEE_MOVES",
    "INBOUND_MOVES",
    "IN_COUNTERPARTY_COMMITMENT_INBOUND",
    "IN_COUNTERPARTY_COMMITMENT_OUTBOUND",
    "IN_HOLDER_COMMITMENT_INBOUND",
    "IN_HOLDER_COMMITMENT_OUTBOUND",
    "OUTBOUND_MOVES",
    "AddedHtlc",
    "ChannelCore",
    "ChannelTerms",
    "ClosingNegotiation",
    "ClosingState",
    "CounterpartyForwarding",
    "Failed",
    "FailedMalformed",
    "FeeStage",
    "FeeUpdate",
    "Fulfilled",
    "FundedChannel",
    "FundingConfirmation",
    "FundingScope",
    "HeldAdd",
    "HeldRemoval",
    "HeldUpdate",
    "InboundHtlc",
    "InboundStage",
    "LastSent",
    "Link",
    "Move",
    "OutboundHtlc",
    "OutboundStage",
    "Removal",
    "SideTerms",
    "read_channels",
    "rows_of",
    "rows_of_removal",
]

register(ChannelTypeFeatures, ChannelTypeFeatures.to_bytes, ChannelTypeFeatures.from_bytes)

# --- stages -------------------------------------------------------------------


class Move(Enum):
    """What moves updates on."""

    SEND_COMMIT = 0
    RECV_REVOKE = 1
    RECV_COMMIT = 2
    """Together with our `revoke_and_ack`, which follows in the same step."""


class OutboundStage(Enum):
    """An HTLC that we offered; documented by the message that led there."""

    SENT_ADD = 0
    """update_add_htlc sent; within a step only, as a commitment_signed follows."""
    SENT_ADD_COMMIT = 1
    """commitment_signed sent."""
    RCVD_ADD_REVOCATION = 2
    """revoke_and_ack received: in the peer's commitment for good, not yet in ours."""
    COMMITTED = 3
    """commitment_signed received, revoke_and_ack sent: irrevocably committed."""
    RCVD_REMOVE = 4
    """update_fulfill_htlc, update_fail_htlc or update_fail_malformed_htlc received. Not durable."""
    SENT_REMOVE_REVOCATION = 5
    """commitment_signed received, revoke_and_ack sent: gone from our commitment."""
    SENT_REMOVE_COMMIT = 6
    """commitment_signed sent; the peer's revoke_and_ack will end it."""


class InboundStage(Enum):
    """An HTLC that the peer offered; documented by the message that led there."""

    RCVD_ADD = 0
    """update_add_htlc received. Not durable."""
    SENT_ADD_REVOCATION = 1
    """commitment_signed received, revoke_and_ack sent: in our commitment, not yet in the peer's."""
    SENT_ADD_COMMIT = 2
    """commitment_signed sent."""
    COMMITTED = 3
    """revoke_and_ack received: irrevocably committed; it may be forwarded, claimed or failed."""
    SENT_REMOVE = 4
    """update_fulfill_htlc, update_fail_htlc or update_fail_malformed_htlc sent; within a step only."""
    SENT_REMOVE_COMMIT = 5
    """commitment_signed sent."""
    RCVD_REMOVE_REVOCATION = 6
    """revoke_and_ack received: gone from the peer's commitment; its commitment_signed will end it."""


class FeeStage(Enum):
    """A fee rate on its way; ours if we are the funder."""

    SENT = 0
    SENT_COMMIT = 1
    RCVD_REVOCATION = 2
    RCVD = 3
    """Not durable."""
    SENT_REVOCATION = 4
    SENT_ACK_COMMIT = 5


# A target of None ends the update.
OUTBOUND_MOVES: Final[Mapping[Move, Mapping[OutboundStage, OutboundStage | None]]] = MappingProxyType(
    {
        Move.SEND_COMMIT: {
            OutboundStage.SENT_ADD: OutboundStage.SENT_ADD_COMMIT,
            OutboundStage.SENT_REMOVE_REVOCATION: OutboundStage.SENT_REMOVE_COMMIT,
        },
        Move.RECV_REVOKE: {
            OutboundStage.SENT_ADD_COMMIT: OutboundStage.RCVD_ADD_REVOCATION,
            OutboundStage.SENT_REMOVE_COMMIT: None,
        },
        Move.RECV_COMMIT: {
            OutboundStage.RCVD_ADD_REVOCATION: OutboundStage.COMMITTED,
            OutboundStage.RCVD_REMOVE: OutboundStage.SENT_REMOVE_REVOCATION,
        },
    }
)
INBOUND_MOVES: Final[Mapping[Move, Mapping[InboundStage, InboundStage | None]]] = MappingProxyType(
    {
        Move.SEND_COMMIT: {
            InboundStage.SENT_ADD_REVOCATION: InboundStage.SENT_ADD_COMMIT,
            InboundStage.SENT_REMOVE: InboundStage.SENT_REMOVE_COMMIT,
        },
        Move.RECV_REVOKE: {
            InboundStage.SENT_ADD_COMMIT: InboundStage.COMMITTED,
            InboundStage.SENT_REMOVE_COMMIT: InboundStage.RCVD_REMOVE_REVOCATION,
        },
        Move.RECV_COMMIT: {
            InboundStage.RCVD_ADD: InboundStage.SENT_ADD_REVOCATION,
            InboundStage.RCVD_REMOVE_REVOCATION: None,
        },
    }
)
FEE_MOVES: Final[Mapping[Move, Mapping[FeeStage, FeeStage | None]]] = MappingProxyType(
    {
        Move.SEND_COMMIT: {
            FeeStage.SENT: FeeStage.SENT_COMMIT,
            FeeStage.SENT_REVOCATION: FeeStage.SENT_ACK_COMMIT,
        },
        Move.RECV_REVOKE: {FeeStage.SENT_COMMIT: FeeStage.RCVD_REVOCATION, FeeStage.SENT_ACK_COMMIT: None},
        Move.RECV_COMMIT: {FeeStage.RCVD: FeeStage.SENT_REVOCATION, FeeStage.RCVD_REVOCATION: None},
    }
)

# Which stages stand in the newest commitment of each side, after the move that made it.
IN_HOLDER_COMMITMENT_OUTBOUND: Final = frozenset({OutboundStage.COMMITTED, OutboundStage.RCVD_REMOVE})
IN_HOLDER_COMMITMENT_INBOUND: Final = frozenset(
    {
        InboundStage.SENT_ADD_REVOCATION,
        InboundStage.SENT_ADD_COMMIT,
        InboundStage.COMMITTED,
        InboundStage.SENT_REMOVE,
        InboundStage.SENT_REMOVE_COMMIT,
        InboundStage.RCVD_REMOVE_REVOCATION,
    }
)
IN_COUNTERPARTY_COMMITMENT_OUTBOUND: Final = frozenset(
    {
        OutboundStage.SENT_ADD_COMMIT,
        OutboundStage.RCVD_ADD_REVOCATION,
        OutboundStage.COMMITTED,
        OutboundStage.RCVD_REMOVE,
        OutboundStage.SENT_REMOVE_REVOCATION,
    }
)
IN_COUNTERPARTY_COMMITMENT_INBOUND: Final = frozenset(
    {InboundStage.SENT_ADD_COMMIT, InboundStage.COMMITTED, InboundStage.SENT_REMOVE}
)
FEE_IN_HOLDER_COMMITMENT: Final = frozenset({FeeStage.SENT_REVOCATION, FeeStage.SENT_ACK_COMMIT})
FEE_IN_COUNTERPARTY_COMMITMENT: Final = frozenset(
    {FeeStage.SENT_COMMIT, FeeStage.RCVD_REVOCATION, FeeStage.SENT_ACK_COMMIT}
)

# What the next commitment_signed of ours would tell the peer.
OUTBOUND_TO_COMMIT: Final = frozenset({OutboundStage.SENT_ADD, OutboundStage.SENT_REMOVE_REVOCATION})
INBOUND_TO_COMMIT: Final = frozenset({InboundStage.SENT_ADD_REVOCATION, InboundStage.SENT_REMOVE})
FEE_TO_COMMIT: Final = frozenset({FeeStage.SENT, FeeStage.SENT_REVOCATION})

# --- HTLCs --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedHtlc:
    """What `update_add_htlc` said; it never changes.

    Attributes:
        onion_routing_packet: as it came, or as it was sent.
        blinding_point: the path key inside a blinded path.
    """

    htlc_id: int
    amount_msat: int
    payment_hash: PaymentHash
    cltv_expiry_height: int
    onion_routing_packet: bytes
    blinding_point: bytes | None = None


@tagged(0)
@dataclass(frozen=True, slots=True, kw_only=True)
class Fulfilled:
    payment_preimage: PaymentPreimage
    attribution_data: bytes | None = None


@tagged(1)
@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """`reason` is encrypted for the payer."""

    reason: bytes
    attribution_data: bytes | None = None


@tagged(2)
@dataclass(frozen=True, slots=True, kw_only=True)
class FailedMalformed:
    sha256_of_onion: bytes
    failure_code: int


Removal = Fulfilled | Failed | FailedMalformed


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundHtlc:
    """An HTLC that we offered.

    Attributes:
        removal: set from RCVD_REMOVE on.
    """

    add: AddedHtlc
    source: HTLCSource
    stage: OutboundStage
    removal: Removal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundHtlc:
    """An HTLC that the peer offered.

    Attributes:
        removal: set from SENT_REMOVE on.
    """

    add: AddedHtlc
    stage: InboundStage
    removal: Removal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeUpdate:
    feerate_sat_per_kw: int
    stage: FeeStage


@tagged(0)
@dataclass(frozen=True, slots=True, kw_only=True)
class HeldAdd:
    """An HTLC to offer as soon as the peer has revoked; its id is given then (`add.htlc_id` is 0)."""

    add: AddedHtlc
    source: HTLCSource


@tagged(1)
@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRemoval:
    """An HTLC of the peer's to remove as soon as it has revoked."""

    htlc_id: int
    removal: Removal


HeldUpdate = HeldAdd | HeldRemoval

# --- the channel --------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SideTerms:
    """What one side asked for when the channel was opened.

    Attributes:
        dust_limit_sat: of this side's own commitment.
        max_htlc_value_in_flight_msat, htlc_minimum_msat, max_accepted_htlcs: of HTLCs towards this side.
        channel_reserve_sat: what this side demands of the other to keep.
        upfront_shutdown_script: where this side's part of a close goes, when it fixed that.
    """

    dust_limit_sat: int
    max_htlc_value_in_flight_msat: int
    channel_reserve_sat: int
    htlc_minimum_msat: int
    max_accepted_htlcs: int
    upfront_shutdown_script: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTerms:
    """What was agreed at the opening and never changes.

    Attributes:
        scid_alias: the name for the channel that we gave the peer; it uses it for payments towards us.
        opened_at_height: our height when the funding was agreed; a funding transaction is waited for from
            then.
        shutdown_script: where our part of a co-operative close goes, unless the person says otherwise.
    """

    channel_id: ChannelId
    temporary_channel_id: ChannelId
    user_channel_id: int
    counterparty_node_id: NodeId
    channel_keys_id: bytes
    is_outbound: bool
    is_announced: bool
    holder: SideTerms
    counterparty: SideTerms
    minimum_depth_blocks: int
    scid_alias: ShortChannelId
    opened_at_height: int
    shutdown_script: bytes
    may_use_unconfirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingConfirmation:
    block_hash: BlockHash
    height: int
    tx_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingScope:
    """What depends on one funding output; splicing would give a channel several.

    Attributes:
        funding_tx: ours to broadcast until it is confirmed; None if the peer funds.
        confirmation: where the transaction is in the best chain.
        lost_at_height: our height when a reorganisation took the confirmation away.
    """

    params: ChannelTransactionParameters
    funding_tx: Transaction | None = None
    confirmation: FundingConfirmation | None = None
    lost_at_height: int | None = None

    @property
    def funding_outpoint(self) -> OutPoint:
        return self.params.funding_outpoint

    @property
    def channel_value_sat(self) -> int:
        return self.params.channel_value_sat

    @property
    def short_channel_id(self) -> ShortChannelId | None:
        """BOLT 7: height, index and output. It belongs to the scope, and goes with the confirmation."""
        if self.confirmation is None:
            return None
        place = self.confirmation
        return ShortChannelId(place.height << 40 | place.tx_index << 16 | self.params.funding_outpoint.vout)

    def confirmations(self, best_height: int) -> int:
        if self.confirmation is None:
            return 0
        return max(0, best_height - self.confirmation.height + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingState:
    """A co-operative close under way.

    Attributes:
        holder_script: set once we have decided to send `shutdown` (which needs no pending updates of ours).
        counterparty_script: set once the peer's `shutdown` came.
        holder_initiated: the person asked for it, rather than the peer.
        target_feerate_sat_per_kw: what the person asked for.
    """

    holder_script: bytes | None = None
    counterparty_script: bytes | None = None
    holder_initiated: bool = False
    target_feerate_sat_per_kw: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingNegotiation:
    """`closing_signed` since the last connection: BOLT 2 has it start again with each. Not durable.

    Attributes:
        fee_range: ours, as it was sent.
        sent_fee_sat: our last proposal; None before the first.
        received_fee_sat: the peer's last proposal.
    """

    fee_range: tuple[int, int]
    sent_fee_sat: int | None = None
    received_fee_sat: int | None = None


class LastSent(Enum):
    """Which of the two was sent last: when both have to be sent again, it is the second. BOLT 2."""

    NOTHING = 0
    COMMITMENT_SIGNED = 1
    REVOKE_AND_ACK = 2


class Link(Enum):
    """The connection, as far as this channel is concerned. Not durable."""

    DOWN = 0
    AWAITING_REESTABLISH = 1
    """Our channel_reestablish was sent, the peer's is awaited."""
    UP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterpartyForwarding:
    """What the peer asks for forwarding to us, by its last channel_update for this channel."""

    fee_base_msat: int
    fee_proportional_millionths: int
    cltv_expiry_delta: int
    htlc_minimum_msat: int
    htlc_maximum_msat: int
    timestamp_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelCore:
    """What changes as the channel works.

    Attributes:
        value_to_self_msat: our balance once every HTLC that is still here failed.
        holder_number: of our newest commitment; all before it are revoked.
        holder_next_point: the per-commitment point of `holder_number` + 1.
        counterparty_number: of the newest commitment that we signed for the peer.
        counterparty_revoked: how many of the peer's commitments are revoked.
        counterparty_current_point: of its commitment number `counterparty_revoked`.
        counterparty_next_point: of the one after; None until its `channel_ready`.
        feerate_sat_per_kw: the last one that both sides are committed to.
        fee_updates: oldest first.
        held_feerate_sat_per_kw: to be sent once the peer has revoked.
        holder_ready, counterparty_ready: `channel_ready` was sent, received.
        counterparty_alias: how we name the channel in route hints: the alias that the peer gave us.
        last_update_id: of the monitor.
        outdated: the peer has proved that our state is old: nothing of ours may be broadcast.
        announcement_sigs_received: the peer's `announcement_signatures`: node's, then funding key's.
        update_timestamp_at: of our last channel_update.
    """

    value_to_self_msat: int
    feerate_sat_per_kw: int
    holder_next_point: bytes
    counterparty_current_point: bytes
    counterparty_next_point: bytes | None = None
    holder_number: int = 0
    counterparty_number: int = 0
    counterparty_revoked: int = 0
    fee_updates: tuple[FeeUpdate, ...] = ()
    held_feerate_sat_per_kw: int | None = None
    next_outbound_htlc_id: int = 0
    next_inbound_htlc_id: int = 0
    last_sent: LastSent = LastSent.NOTHING
    holder_ready: bool = False
    counterparty_ready: bool = False
    counterparty_alias: ShortChannelId | None = None
    closing: ClosingState | None = None
    last_update_id: int = 0
    outdated: bool = False
    announcement_sigs_received: tuple[bytes, bytes] | None = None
    update_timestamp_at: int = 0
    counterparty_forwarding: CounterpartyForwarding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FundedChannel:
    """A channel from the moment when its funding is agreed until it leaves the manager.

    Attributes:
        outbound, inbound: by HTLC id, ascending. Never changed in place.
        held: updates that wait for the peer's revoke_and_ack, oldest first.
        link, negotiation: not durable.
    """

    terms: ChannelTerms
    scope: FundingScope
    config: ChannelConfig
    core: ChannelCore
    secrets: CounterpartyCommitmentSecrets = field(default_factory=CounterpartyCommitmentSecrets)
    outbound: Mapping[int, OutboundHtlc] = field(default_factory=dict)
    inbound: Mapping[int, InboundHtlc] = field(default_factory=dict)
    held: tuple[HeldUpdate, ...] = ()
    link: Link = Link.DOWN
    negotiation: ClosingNegotiation | None = None

    @property
    def channel_id(self) -> ChannelId:
        return self.terms.channel_id

    @property
    def counterparty_node_id(self) -> NodeId:
        return self.terms.counterparty_node_id

    @property
    def channel_value_sat(self) -> int:
        return self.scope.params.channel_value_sat

    @property
    def channel_type(self) -> ChannelTypeFeatures:
        return self.scope.params.channel_type

    @property
    def is_awaiting_revocation(self) -> bool:
        """The peer owes a revoke_and_ack: no commitment_signed may be sent."""
        return self.core.counterparty_number > self.core.counterparty_revoked

    @property
    def is_ready(self) -> bool:
        """Both sides have said `channel_ready`."""
        return self.core.holder_ready and self.core.counterparty_ready

    @property
    def is_shutting_down(self) -> bool:
        return self.core.closing is not None

    @property
    def is_usable(self) -> bool:
        """Payments can be sent now."""
        return self.is_ready and self.link is Link.UP and not self.is_shutting_down


# --- rows ---------------------------------------------------------------------

SPACE: Final = "channel"
HTLC_SPACE: Final = "channel_htlc"

# The last byte of a key in space "channel".
_TERMS, _SCOPE, _CONFIG, _CORE, _SECRETS = range(5)
# The byte behind the channel id of a key in space "channel_htlc"; then 8 bytes of id, and one that names the
# part.
_OUTBOUND, _INBOUND, _HELD = range(3)
_ADD, _PROGRESS = range(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OutboundAdd:
    add: AddedHtlc
    source: HTLCSource


@dataclass(frozen=True, slots=True, kw_only=True)
class _OutboundProgress:
    stage: OutboundStage
    removal: Removal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _InboundProgress:
    stage: InboundStage
    removal: Removal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    update: HeldUpdate


# Stages that a restart undoes, as a disconnection does.
_VOLATILE_OUTBOUND: Final = OutboundStage.RCVD_REMOVE
_VOLATILE_INBOUND: Final = InboundStage.RCVD_ADD


def _htlc_key(channel_id: ChannelId, kind: int, number: int, part: int) -> bytes:
    return channel_id + bytes((kind,)) + number.to_bytes(8, "big") + bytes((part,))


def _durable_outbound(htlc: OutboundHtlc) -> _OutboundProgress:
    if htlc.stage is _VOLATILE_OUTBOUND:
        return _OutboundProgress(stage=OutboundStage.COMMITTED, removal=None)
    return _OutboundProgress(stage=htlc.stage, removal=htlc.removal)


def _durable_core(channel: FundedChannel) -> ChannelCore:
    core = channel.core
    volatile = [htlc for htlc in channel.inbound.values() if htlc.stage is _VOLATILE_INBOUND]
    if volatile:
        core = replace(core, next_inbound_htlc_id=core.next_inbound_htlc_id - len(volatile))
    if any(update.stage is FeeStage.RCVD for update in core.fee_updates):
        kept = tuple(update for update in core.fee_updates if update.stage is not FeeStage.RCVD)
        core = replace(core, fee_updates=kept)
    return core


def rows_of(old: FundedChannel | None, new: FundedChannel) -> Iterator[Row]:
    """What has to be written so that a restart finds `new`; compares by identity."""
    channel_id = new.channel_id
    if old is None or old.terms is not new.terms:
        yield Row(SPACE, channel_id + bytes((_TERMS,)), encode(new.terms))
    if old is None or old.scope is not new.scope:
        yield Row(SPACE, channel_id + bytes((_SCOPE,)), encode(new.scope))
    if old is None or old.config is not new.config:
        yield Row(SPACE, channel_id + bytes((_CONFIG,)), encode(new.config))
    if old is None or old.secrets is not new.secrets:
        yield Row(SPACE, channel_id + bytes((_SECRETS,)), encode(new.secrets))
    if old is None or old.core is not new.core:
        core = _durable_core(new)
        if old is None or core != _durable_core(old):
            yield Row(SPACE, channel_id + bytes((_CORE,)), encode(core))
    if old is None or old.outbound is not new.outbound:
        yield from _outbound_rows(channel_id, {} if old is None else old.outbound, new.outbound)
    if old is None or old.inbound is not new.inbound:
        yield from _inbound_rows(channel_id, {} if old is None else old.inbound, new.inbound)
    before = () if old is None else old.held
    if before is not new.held:
        for number in range(max(len(before), len(new.held))):
            key = _htlc_key(channel_id, _HELD, number, _ADD)
            if number >= len(new.held):
                yield Row(HTLC_SPACE, key, None)
            elif number >= len(before) or before[number] is not new.held[number]:
                yield Row(HTLC_SPACE, key, encode(_Held(update=new.held[number])))


def _outbound_rows(
    channel_id: ChannelId, before: Mapping[int, OutboundHtlc], after: Mapping[int, OutboundHtlc]
) -> Iterator[Row]:
    for number, htlc in after.items():
        known = before.get(number)
        if known is htlc:
            continue
        if known is None:
            value = encode(_OutboundAdd(add=htlc.add, source=htlc.source))
            yield Row(HTLC_SPACE, _htlc_key(channel_id, _OUTBOUND, number, _ADD), value)
        progress = _durable_outbound(htlc)
        if known is None or progress != _durable_outbound(known):
            yield Row(HTLC_SPACE, _htlc_key(channel_id, _OUTBOUND, number, _PROGRESS), encode(progress))
    for number in before:
        if number not in after:
            yield Row(HTLC_SPACE, _htlc_key(channel_id, _OUTBOUND, number, _ADD), None)
            yield Row(HTLC_SPACE, _htlc_key(channel_id, _OUTBOUND, number, _PROGRESS), None)


def _inbound_rows(
    channel_id: ChannelId, before: Mapping[int, InboundHtlc], after: Mapping[int, InboundHtlc]
) -> Iterator[Row]:
    for number, htlc in after.items():
        known = before.get(number)
        if known is htlc or htlc.stage is _VOLATILE_INBOUND:
            continue
        if known is None or known.stage is _VOLATILE_INBOUND:
            yield Row(HTLC_SPACE, _htlc_key(channel_id, _INBOUND, number, _ADD), encode(htlc.add))
        progress = _InboundProgress(stage=htlc.stage, removal=htlc.removal)
        yield Row(HTLC_SPACE, _htlc_key(channel_id, _INBOUND, number, _PROGRESS), encode(progress))
    for number, htlc in before.items():
        if number not in after and htlc.stage is not _VOLATILE_INBOUND:
            yield Row(HTLC_SPACE, _htlc_key(channel_id, _INBOUND, number, _ADD), None)
            yield Row(HTLC_SPACE, _htlc_key(channel_id, _INBOUND, number, _PROGRESS), None)


def rows_of_removal(channel: FundedChannel) -> Iterator[Row]:
    """Deletes all rows of a channel that has left the manager; its monitor lives on."""
    for part in (_TERMS, _SCOPE, _CONFIG, _CORE, _SECRETS):
        yield Row(SPACE, channel.channel_id + bytes((part,)), None)
    yield from _outbound_rows(channel.channel_id, channel.outbound, {})
    yield from _inbound_rows(channel.channel_id, channel.inbound, {})
    for number in range(len(channel.held)):
        yield Row(HTLC_SPACE, _htlc_key(channel.channel_id, _HELD, number, _ADD), None)


def read_channels(
    channel_rows: Iterable[tuple[bytes, bytes]], htlc_rows: Iterable[tuple[bytes, bytes]]
) -> list[FundedChannel]:
    """Rebuilds all channels, disconnected, from the rows that `rows_of` wrote. Raises DecodeError."""
    parts: dict[bytes, dict[int, bytes]] = {}
    for key, value in channel_rows:
        if len(key) != 33:
            raise DecodeError("a channel's row has a key of the wrong length")
        parts.setdefault(key[:32], {})[key[32]] = value
    htlcs: dict[bytes, dict[tuple[int, int], dict[int, bytes]]] = {}
    for key, value in htlc_rows:
        if len(key) != 42:
            raise DecodeError("an HTLC's row has a key of the wrong length")
        number = int.from_bytes(key[33:41], "big")
        htlcs.setdefault(key[:32], {}).setdefault((key[32], number), {})[key[41]] = value
    return [_read_channel(found, htlcs.get(channel_id, {})) for channel_id, found in parts.items()]


def _read_channel(
    parts: Mapping[int, bytes], htlcs: Mapping[tuple[int, int], Mapping[int, bytes]]
) -> FundedChannel:
    outbound: dict[int, OutboundHtlc] = {}
    inbound: dict[int, InboundHtlc] = {}
    held: list[HeldUpdate] = []
    try:
        for (kind, number), row in sorted(htlcs.items()):
            if kind == _OUTBOUND:
                added = decode(_OutboundAdd, row[_ADD])
                went = decode(_OutboundProgress, row[_PROGRESS])
                outbound[number] = OutboundHtlc(
                    add=added.add, source=added.source, stage=went.stage, removal=went.removal
                )
            elif kind == _INBOUND:
                add = decode(AddedHtlc, row[_ADD])
                came = decode(_InboundProgress, row[_PROGRESS])
                inbound[number] = InboundHtlc(add=add, stage=came.stage, removal=came.removal)
            elif kind == _HELD:
                held.append(decode(_Held, row[_ADD]).update)
            else:
                raise DecodeError("an HTLC's row is of a kind that this release does not know")
        return FundedChannel(
            terms=decode(ChannelTerms, parts[_TERMS]),
            scope=decode(FundingScope, parts[_SCOPE]),
            config=decode(ChannelConfig, parts[_CONFIG]),
            core=decode(ChannelCore, parts[_CORE]),
            secrets=decode(CounterpartyCommitmentSecrets, parts[_SECRETS]),
            outbound=outbound,
            inbound=inbound,
            held=tuple(held),
        )
    except KeyError:
        raise DecodeError("a channel lacks one of its rows") from None
