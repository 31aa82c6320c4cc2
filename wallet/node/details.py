"""What the node reads out of a `ChannelDetails`: names, sums, route hints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wallet.ln.route import RouteHint, RouteHintHop

if TYPE_CHECKING:
    from wallet.ln.channel_details import ChannelDetails

__all__ = ["has_anchors", "in_flight_msat", "route_hint", "type_name"]


def has_anchors(item: ChannelDetails) -> bool:
    return item.channel_type is not None and item.channel_type.anchors


def type_name(item: ChannelDetails) -> str:
    """The channel type in the field's words; empty before it is known."""
    if item.channel_type is None:
        return ""
    return "anchors_zero_fee_htlc_tx" if item.channel_type.anchors else "static_remotekey"


def in_flight_msat(item: ChannelDetails, *, outbound: bool) -> int:
    """HTLCs on their way in one direction."""
    return sum(htlc.amount_msat for htlc in item.pending_htlcs if htlc.outbound is outbound)


def route_hint(item: ChannelDetails) -> RouteHint | None:
    """The way over a channel to us, for an invoice; None before the peer has said its terms."""
    short_channel_id = item.inbound_payment_scid
    terms = item.counterparty_forwarding
    if short_channel_id is None or terms is None:
        return None
    return (
        RouteHintHop(
            node_id=item.counterparty_node_id,
            short_channel_id=short_channel_id,
            fee_base_msat=terms.fee_base_msat,
            fee_proportional_millionths=terms.fee_proportional_millionths,
            cltv_expiry_delta=terms.cltv_expiry_delta,
        ),
    )
