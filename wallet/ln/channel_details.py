"""Snapshots of channels for those outside the core: frozen, and in the words of rust-lightning's
`ChannelDetails`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from wallet.bitcoin.tx import OutPoint, Transaction
from wallet.ln.channel_limits import available_balances
from wallet.ln.channel_open import (
    Accepted,
    ReceivedOpen,
    SentAccept,
    SentFundingCreated,
    SentOpen,
    UnfundedChannel,
)
from wallet.ln.channel_state import (
    CounterpartyForwarding,
    FundedChannel,
    HeldAdd,
    InboundStage,
    Link,
    OutboundStage,
)
from wallet.ln.config import ChannelConfig
from wallet.ln.features import ChannelTypeFeatures, Features
from wallet.ln.types import ChannelId, NodeId, PaymentHash, ShortChannelId

__all__ = [
    "ChannelDetails",
    "ChannelState",
    "PendingHtlc",
    "PendingHtlcState",
    "details_of",
    "unfunded_details",
]


class ChannelState(Enum):
    """Where a channel is in its life, for a person; documented by what it waits for."""

    NEGOTIATING = auto()
    """The peers talk about the terms."""
    AWAITING_FUNDING = auto()
    """The funding transaction has to be made, or signed for."""
    AWAITING_CONFIRMATIONS = auto()
    """The funding transaction has to confirm."""
    AWAITING_PEER_READY = auto()
    """We are ready; the peer is not, yet."""
    OFFLINE = auto()
    """The peer is not connected."""
    OPEN = auto()
    """Payments can pass."""
    SHUTTING_DOWN = auto()
    """Nothing new is offered; HTLCs under way are waited for."""
    CLOSING = auto()
    """The closing transaction is agreed on."""


class PendingHtlcState(Enum):
    """Documented by what it waits for."""

    WAITING_TO_BE_SENT = auto()
    BEING_ADDED = auto()
    COMMITTED = auto()
    BEING_REMOVED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingHtlc:
    outbound: bool
    htlc_id: int | None
    amount_msat: int
    payment_hash: PaymentHash
    cltv_expiry_height: int
    state: PendingHtlcState


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelDetails:
    """One channel at one moment.

    Attributes:
        channel_id: temporary while `funding_outpoint` is None.
        balance_msat: ours; what could be taken home, fees and HTLCs on their way apart.
        outbound_capacity_msat, inbound_capacity_msat: above the reserves.
        next_outbound_htlc_limit_msat, next_outbound_htlc_minimum_msat: of the next HTLC that we offer.
        commitment_fee_reserve_msat: above that reserve, what we keep to pay the commitment transaction's fee.
        unspendable_punishment_reserve_sat: what we have to keep, by the peer's wish; None before it is known.
        inbound_scid_alias: what the peer calls the channel: for route hints.
        outbound_scid_alias: what we call it.
        short_channel_id: where the funding is in the chain; None before it is confirmed.
        confirmations_required: None before it is known.
        force_close_spend_delay_blocks: how long our coins are locked after we force-close.
        counterparty_forwarding: what the peer asks for forwarding to us.
    """

    channel_id: ChannelId
    counterparty_node_id: NodeId
    counterparty_features: Features | None
    user_channel_id: int
    state: ChannelState
    is_outbound: bool
    is_announced: bool
    is_channel_ready: bool
    is_usable: bool
    is_connected: bool
    channel_type: ChannelTypeFeatures | None
    channel_value_sat: int
    balance_msat: int
    outbound_capacity_msat: int
    inbound_capacity_msat: int
    next_outbound_htlc_limit_msat: int
    next_outbound_htlc_minimum_msat: int
    unspendable_punishment_reserve_sat: int | None
    counterparty_reserve_sat: int | None
    funding_outpoint: OutPoint | None = None
    funding_tx: Transaction | None = None
    short_channel_id: ShortChannelId | None = None
    outbound_scid_alias: ShortChannelId | None = None
    inbound_scid_alias: ShortChannelId | None = None
    confirmations: int | None = None
    confirmations_required: int | None = None
    feerate_sat_per_kw: int | None = None
    force_close_spend_delay_blocks: int | None = None
    inbound_htlc_minimum_msat: int | None = None
    inbound_htlc_maximum_msat: int | None = None
    config: ChannelConfig | None = None
    counterparty_forwarding: CounterpartyForwarding | None = None
    pending_htlcs: tuple[PendingHtlc, ...] = ()
    commitment_fee_reserve_msat: int = 0

    @property
    def inbound_payment_scid(self) -> ShortChannelId | None:
        """How an invoice's route hint names the channel: the peer's alias, or the real id if it may be
        told."""
        if self.inbound_scid_alias is not None:
            return self.inbound_scid_alias
        if self.channel_type is not None and self.channel_type.scid_privacy:
            return None
        return self.short_channel_id

    @property
    def outbound_payment_scid(self) -> ShortChannelId | None:
        """How a route of ours names the channel."""
        return self.short_channel_id if self.short_channel_id is not None else self.outbound_scid_alias


_OUTBOUND_WORDS = {
    OutboundStage.SENT_ADD: PendingHtlcState.BEING_ADDED,
    OutboundStage.SENT_ADD_COMMIT: PendingHtlcState.BEING_ADDED,
    OutboundStage.RCVD_ADD_REVOCATION: PendingHtlcState.BEING_ADDED,
    OutboundStage.COMMITTED: PendingHtlcState.COMMITTED,
    OutboundStage.RCVD_REMOVE: PendingHtlcState.BEING_REMOVED,
    OutboundStage.SENT_REMOVE_REVOCATION: PendingHtlcState.BEING_REMOVED,
    OutboundStage.SENT_REMOVE_COMMIT: PendingHtlcState.BEING_REMOVED,
}
_INBOUND_WORDS = {
    InboundStage.RCVD_ADD: PendingHtlcState.BEING_ADDED,
    InboundStage.SENT_ADD_REVOCATION: PendingHtlcState.BEING_ADDED,
    InboundStage.SENT_ADD_COMMIT: PendingHtlcState.BEING_ADDED,
    InboundStage.COMMITTED: PendingHtlcState.COMMITTED,
    InboundStage.SENT_REMOVE: PendingHtlcState.BEING_REMOVED,
    InboundStage.SENT_REMOVE_COMMIT: PendingHtlcState.BEING_REMOVED,
    InboundStage.RCVD_REMOVE_REVOCATION: PendingHtlcState.BEING_REMOVED,
}


def _pending(channel: FundedChannel) -> tuple[PendingHtlc, ...]:
    pending = [
        PendingHtlc(
            outbound=True,
            htlc_id=sent.add.htlc_id,
            amount_msat=sent.add.amount_msat,
            payment_hash=sent.add.payment_hash,
            cltv_expiry_height=sent.add.cltv_expiry_height,
            state=_OUTBOUND_WORDS[sent.stage],
        )
        for sent in channel.outbound.values()
    ]
    pending += [
        PendingHtlc(
            outbound=False,
            htlc_id=received.add.htlc_id,
            amount_msat=received.add.amount_msat,
            payment_hash=received.add.payment_hash,
            cltv_expiry_height=received.add.cltv_expiry_height,
            state=_INBOUND_WORDS[received.stage],
        )
        for received in channel.inbound.values()
    ]
    pending += [
        PendingHtlc(
            outbound=True,
            htlc_id=None,
            amount_msat=held.add.amount_msat,
            payment_hash=held.add.payment_hash,
            cltv_expiry_height=held.add.cltv_expiry_height,
            state=PendingHtlcState.WAITING_TO_BE_SENT,
        )
        for held in channel.held
        if isinstance(held, HeldAdd)
    ]
    return tuple(pending)


def _state_of(channel: FundedChannel) -> ChannelState:
    if channel.is_shutting_down:
        return ChannelState.SHUTTING_DOWN
    if not channel.core.holder_ready:
        return ChannelState.AWAITING_CONFIRMATIONS
    if not channel.core.counterparty_ready:
        return ChannelState.AWAITING_PEER_READY
    return ChannelState.OPEN if channel.link is Link.UP else ChannelState.OFFLINE


def details_of(
    channel: FundedChannel,
    best_height: int,
    max_dust_exposure_msat: int,
    counterparty_features: Features | None,
    *,
    with_htlcs: bool = True,
) -> ChannelDetails:
    """`with_htlcs`: False leaves the HTLCs under way out, for who asks once a payment and does not look at them."""
    terms, core, scope = channel.terms, channel.core, channel.scope
    balances = available_balances(channel, max_dust_exposure_msat)
    in_flight_msat = terms.holder.max_htlc_value_in_flight_msat
    return ChannelDetails(
        channel_id=terms.channel_id,
        counterparty_node_id=terms.counterparty_node_id,
        counterparty_features=counterparty_features,
        user_channel_id=terms.user_channel_id,
        state=_state_of(channel),
        is_outbound=terms.is_outbound,
        is_announced=terms.is_announced,
        is_channel_ready=channel.is_ready,
        is_usable=channel.is_usable,
        is_connected=channel.link is not Link.DOWN,
        channel_type=channel.channel_type,
        channel_value_sat=channel.channel_value_sat,
        balance_msat=balances.balance_msat,
        outbound_capacity_msat=balances.outbound_capacity_msat,
        inbound_capacity_msat=balances.inbound_capacity_msat,
        next_outbound_htlc_limit_msat=balances.next_outbound_htlc_limit_msat,
        next_outbound_htlc_minimum_msat=balances.next_outbound_htlc_minimum_msat,
        unspendable_punishment_reserve_sat=terms.counterparty.channel_reserve_sat,
        counterparty_reserve_sat=terms.holder.channel_reserve_sat,
        funding_outpoint=scope.funding_outpoint,
        funding_tx=scope.funding_tx,
        short_channel_id=scope.short_channel_id,
        outbound_scid_alias=terms.scid_alias,
        inbound_scid_alias=core.counterparty_alias,
        confirmations=scope.confirmations(best_height),
        confirmations_required=terms.minimum_depth_blocks,
        feerate_sat_per_kw=core.feerate_sat_per_kw,
        force_close_spend_delay_blocks=scope.params.counterparty_selected_contest_delay_blocks,
        inbound_htlc_minimum_msat=terms.holder.htlc_minimum_msat,
        inbound_htlc_maximum_msat=in_flight_msat,
        config=channel.config,
        counterparty_forwarding=core.counterparty_forwarding,
        pending_htlcs=_pending(channel) if with_htlcs else (),
        commitment_fee_reserve_msat=balances.fee_reserve_msat,
    )


def unfunded_details(channel: UnfundedChannel, counterparty_features: Features | None) -> ChannelDetails:
    if isinstance(channel, ReceivedOpen):
        msg = channel.msg
        return ChannelDetails(
            channel_id=msg.temporary_channel_id,
            counterparty_node_id=channel.counterparty_node_id,
            counterparty_features=counterparty_features,
            user_channel_id=0,
            state=ChannelState.NEGOTIATING,
            is_outbound=False,
            is_announced=bool(msg.channel_flags & 1),
            is_channel_ready=False,
            is_usable=False,
            is_connected=True,
            channel_type=ChannelTypeFeatures.from_bytes(msg.channel_type or b""),
            channel_value_sat=msg.funding_sat,
            balance_msat=0,
            outbound_capacity_msat=0,
            inbound_capacity_msat=0,
            next_outbound_htlc_limit_msat=0,
            next_outbound_htlc_minimum_msat=0,
            unspendable_punishment_reserve_sat=msg.channel_reserve_sat,
            counterparty_reserve_sat=None,
        )
    offer = channel.offer
    is_outbound = not isinstance(channel, SentAccept)
    counter = None if isinstance(channel, SentOpen) else channel.counter
    waits_for_funding = isinstance(channel, Accepted | SentFundingCreated | SentAccept)
    return ChannelDetails(
        channel_id=offer.temporary_channel_id,
        counterparty_node_id=offer.counterparty_node_id,
        counterparty_features=counterparty_features,
        user_channel_id=offer.user_channel_id,
        state=ChannelState.AWAITING_FUNDING if waits_for_funding else ChannelState.NEGOTIATING,
        is_outbound=is_outbound,
        is_announced=offer.is_announced,
        is_channel_ready=False,
        is_usable=False,
        is_connected=True,
        channel_type=offer.channel_type,
        channel_value_sat=offer.channel_value_sat,
        # BOLT 2: what was pushed is not ours before the funding is deep enough.
        balance_msat=0,
        outbound_capacity_msat=0,
        inbound_capacity_msat=0,
        next_outbound_htlc_limit_msat=0,
        next_outbound_htlc_minimum_msat=0,
        unspendable_punishment_reserve_sat=None
        if counter is None
        else counter.counterparty.channel_reserve_sat,
        counterparty_reserve_sat=offer.holder.channel_reserve_sat,
        confirmations_required=None if counter is None else counter.minimum_depth_blocks,
        feerate_sat_per_kw=offer.feerate_sat_per_kw,
    )
