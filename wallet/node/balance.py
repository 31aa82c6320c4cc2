"""The balance of both layers: what can be sent, what arrives, what is locked, and what is reserved and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from wallet.ln.channel_details import ChannelDetails, ChannelState
from wallet.ln.types import NodeId
from wallet.node.api import BalanceView, LockedCoin, ReservedPart, ReserveReason
from wallet.onchain.accounting import OnchainBalance

__all__ = ["balance_view"]


def balance_view(
    onchain: OnchainBalance,
    anchor_reserve_sat: int,
    channels: Iterable[ChannelDetails],
    online: Collection[NodeId],
    locked: tuple[LockedCoin, ...],
) -> BalanceView:
    """`anchor_reserve_sat`: what should stay on chain to be able to pay for closing. `online`: peers."""
    details = tuple(channels)
    anchors_sat = min(anchor_reserve_sat, onchain.spendable_sat)
    counted = [item for item in details if _counts(item)]
    in_channels = _in_channels(counted, online)
    kept_sat = {
        ReserveReason.ANCHOR_FEES: anchors_sat,
        ReserveReason.FROZEN: onchain.frozen_sat,
        ReserveReason.OPENING_COINS: onchain.opening_sat,
        ReserveReason.PSBT: onchain.psbt_sat,
        ReserveReason.CLAIM_FEES: onchain.claims_sat,
        **in_channels,
    }
    return BalanceView(
        onchain_confirmed_sat=onchain.confirmed_sat,
        onchain_unconfirmed_sat=onchain.unconfirmed_sat,
        onchain_spendable_sat=onchain.spendable_sat - anchors_sat,
        lightning_msat=sum(item.balance_msat for item in counted),
        can_send_msat=sum(item.next_outbound_htlc_limit_msat for item in details if item.is_usable),
        can_receive_msat=sum(item.inbound_capacity_msat for item in details if item.is_usable),
        reserved=tuple(
            ReservedPart(reason=reason, amount_sat=kept_sat[reason])
            for reason in ReserveReason
            if kept_sat.get(reason, 0)
        ),
        locked=locked,
    )


def _counts(item: ChannelDetails) -> bool:
    """Whether a channel's balance is ours already: what somebody else funds is not before it is deep enough."""
    return item.is_channel_ready or (item.is_outbound and item.funding_outpoint is not None)


def _in_channels(counted: Collection[ChannelDetails], online: Collection[NodeId]) -> dict[ReserveReason, int]:
    """In whole satoshis, so that together with what is left they are the balance in whole satoshis."""
    kept_msat: dict[ReserveReason, int] = {}
    for item in counted:
        for reason, amount_msat in _kept(item, is_online=item.counterparty_node_id in online):
            kept_msat[reason] = kept_msat.get(reason, 0) + amount_msat
    kept_sat: dict[ReserveReason, int] = {}
    # Each part ends where the sum up to it, rounded down, ends: so no fraction is lost or counted twice. What can be
    # sent is the first: a fraction of it and one of what is kept are together no satoshi to send.
    so_far_msat = sum(item.balance_msat for item in counted) - sum(kept_msat.values())
    for reason, amount_msat in sorted(kept_msat.items(), key=lambda part: _ORDER[part[0]]):
        before_sat = so_far_msat // 1000
        so_far_msat += amount_msat
        kept_sat[reason] = so_far_msat // 1000 - before_sat
    return kept_sat


_ORDER = {reason: place for place, reason in enumerate(ReserveReason)}


def _kept(item: ChannelDetails, *, is_online: bool) -> list[tuple[ReserveReason, int]]:
    """(reason, amount) of what cannot be sent of one channel's balance."""
    if item.state in (ChannelState.SHUTTING_DOWN, ChannelState.CLOSING):
        return [(ReserveReason.CLOSING_CHANNEL, item.balance_msat)]
    if not item.is_channel_ready:
        return [(ReserveReason.OPENING_CHANNEL, item.balance_msat)]
    reserve_msat = min(item.balance_msat, 1000 * (item.unspendable_punishment_reserve_sat or 0))
    fee_msat = min(item.balance_msat - reserve_msat, item.commitment_fee_reserve_msat)
    parts = [(ReserveReason.CHANNEL_RESERVE, reserve_msat), (ReserveReason.COMMITMENT_FEE, fee_msat)]
    if not is_online:
        parts.append((ReserveReason.PEER_AWAY, item.balance_msat - reserve_msat - fee_msat))
    return parts
