"""Where an HTLC that we offered came from: the only thing a monitor has to know to tell of its end upstream.

A source is small on purpose. The manager keeps onion secrets with the inbound HTLC's own row, and paths and
session keys in the payment's row; channel, monitor and payment share one commit, so identities are enough.
"""

from __future__ import annotations

from dataclasses import dataclass

from wallet.bitcoin.records import tagged
from wallet.ln.types import ChannelId, PaymentId

__all__ = ["HTLCSource", "OurPayment", "PreviousHop"]


@tagged(0)
@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousHop:
    """Forwarded: the HTLC of another channel of ours that pays for it.

    Attributes:
        htlc_id: the id that the previous node gave it in its `update_add_htlc`.
    """

    channel_id: ChannelId
    htlc_id: int


@tagged(2)
@dataclass(frozen=True, slots=True, kw_only=True)
class OurPayment:
    """One part of a payment of our own."""

    payment_id: PaymentId
    part_id: int


HTLCSource = PreviousHop | OurPayment
