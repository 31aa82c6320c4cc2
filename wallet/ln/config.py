"""What the person, or the node on their behalf, may set about channels: `UserConfig` and its parts.

Names follow rust-lightning's `UserConfig`. The defaults are those of a desktop wallet: it sleeps, so the
peer's delays are long; its channels are private; it forwards for nobody unless it is told to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from wallet.i18n import _
from wallet.ln.types import APIError

__all__ = [
    "ANTI_REORG_DELAY_BLOCKS",
    "CLTV_CLAIM_BUFFER_BLOCKS",
    "HTLC_FAIL_BACK_BUFFER_BLOCKS",
    "LATENCY_GRACE_PERIOD_BLOCKS",
    "MAX_ACCEPTED_HTLCS",
    "MAX_BLOCKS_FOR_CONF",
    "MAX_DUST_LIMIT_SAT",
    "MIN_CLAIMABLE_EXPIRY_DELTA",
    "MIN_CLTV_EXPIRY_DELTA",
    "MIN_FINAL_CLTV_EXPIRY_DELTA",
    "ChannelConfig",
    "ChannelHandshakeConfig",
    "ChannelHandshakeLimits",
    "MaxDustExposure",
    "UserConfig",
]

MAX_DUST_LIMIT_SAT: Final = 10_000
"""BOLT 2: a large dust limit is a way to grief; but a second stage must stay worth its fee. A close may leave out
what is below it."""

MAX_ACCEPTED_HTLCS: Final = 483
"""BOLT 2, update_add_htlc: with more each way, a commitment_signed would outgrow a message."""

ANTI_REORG_DELAY_BLOCKS: Final = 6
"""Depth at which something on the chain counts as final."""

MAX_BLOCKS_FOR_CONF: Final = 18
"""Within this many blocks a transaction of ours confirms, raised as its deadline comes nearer. BOLT 2's S is 12."""

CLTV_CLAIM_BUFFER_BLOCKS: Final = 2 * MAX_BLOCKS_FOR_CONF
"""For the commitment to confirm, then the claim of an HTLC on it, before the HTLC's expiry. BOLT 2, cltv_expiry_delta
selection, asks for 18 at the least (2R + G + S)."""

LATENCY_GRACE_PERIOD_BLOCKS: Final = 3
"""BOLT 2, cltv_expiry_delta selection, G: how long a peer may be slow before the channel goes to the
chain."""

HTLC_FAIL_BACK_BUFFER_BLOCKS: Final = CLTV_CLAIM_BUFFER_BLOCKS + LATENCY_GRACE_PERIOD_BLOCKS
"""An HTLC to us that is nearer to its expiry than this is failed back rather than claimed or kept."""

MIN_FINAL_CLTV_EXPIRY_DELTA: Final = HTLC_FAIL_BACK_BUFFER_BLOCKS + 3
"""The least that an invoice of ours asks for: three blocks may pass while the payment is on its way."""

MIN_CLAIMABLE_EXPIRY_DELTA: Final = HTLC_FAIL_BACK_BUFFER_BLOCKS + 1
"""An HTLC to us that arrives nearer to its expiry could not be claimed for sure: it is refused."""

MIN_CLTV_EXPIRY_DELTA: Final = (
    LATENCY_GRACE_PERIOD_BLOCKS
    + CLTV_CLAIM_BUFFER_BLOCKS
    + ANTI_REORG_DELAY_BLOCKS
    + LATENCY_GRACE_PERIOD_BLOCKS
)
"""The least that our channels ask for between the incoming and the outgoing HTLC: 48. After the outgoing one's expiry
its peer has its grace; then our commitment and our HTLC transaction confirm, and are buried; and the incoming one is
failed while its own peer still waits. BOLT 2 asks for 34 (3R + 2G + 2S)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxDustExposure:
    """How much of the HTLCs under way may be too small to be enforced on chain.

    Attributes:
        fee_rate_multiplier: the limit is this many times the dearest current fee rate (sat/kw), in msat; 0:
            use `fixed_limit_msat`. A limit that follows the fee rate does not shut a channel when fees rise.
        fixed_limit_msat: the limit as an amount.
    """

    fee_rate_multiplier: int = 10_000
    fixed_limit_msat: int = 5_000_000

    def limit_msat(self, dust_feerate_sat_per_kw: int) -> int:
        if self.fee_rate_multiplier:
            return self.fee_rate_multiplier * dust_feerate_sat_per_kw
        return self.fixed_limit_msat


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelConfig:
    """What may change while a channel lives.

    Attributes:
        forwarding_fee_base_msat, forwarding_fee_proportional_millionths: our
            price for forwarding out of the channel.
        cltv_expiry_delta: blocks between an incoming HTLC and the outgoing one on this channel.
        force_close_avoidance_max_fee_sat: as funder, how much above our estimate a cooperative close may
            cost.
        accept_underpaying_htlcs: a peer may keep some of an HTLC to us (a fee agreed with it before).
    """

    forwarding_fee_base_msat: int = 1_000
    forwarding_fee_proportional_millionths: int = 0
    cltv_expiry_delta: int = 72
    max_dust_htlc_exposure: MaxDustExposure = field(default_factory=MaxDustExposure)
    force_close_avoidance_max_fee_sat: int = 1_000
    accept_underpaying_htlcs: bool = False

    def __post_init__(self) -> None:
        if not MIN_CLTV_EXPIRY_DELTA <= self.cltv_expiry_delta <= 0xFFFF:
            raise APIError(
                _("The CLTV delta of a channel is at least {least} blocks.").format(
                    least=MIN_CLTV_EXPIRY_DELTA
                )
            )
        if max(self.forwarding_fee_base_msat, self.forwarding_fee_proportional_millionths) > 0xFFFFFFFF:
            raise APIError(_("A forwarding fee does not fit into the message that announces it."))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelHandshakeConfig:
    """What we ask for when a channel is opened, by us or to us.

    Attributes:
        minimum_depth_blocks: of the funding transaction, for channels opened to us.
        large_minimum_depth_blocks: the same, for channels of at least `large_channel_sat`: rewriting the
            chain has to cost more than the channel holds.
        our_to_self_delay_blocks: how long the peer's own coins wait after it force-closes: how long we may
            be away.
        large_to_self_delay_blocks: the same, for large channels.
        large_channel_sat: where a channel begins to be large. BOLT 2 draws its own line at 2^24 sat.
        our_htlc_minimum_msat: the smallest HTLC that we take.
        max_inbound_htlc_value_in_flight_percent: of the channel, that may be under way towards us.
        negotiate_scid_privacy: ask for `option_scid_alias` in the channel type of private channels.
        announce_for_forwarding: tell the network about the channel.
        commit_upfront_shutdown_pubkey: fix the script of a cooperative close at the opening.
        their_channel_reserve_proportional_millionths: how much of the channel the peer always keeps at stake.
        our_max_accepted_htlcs: towards us at a time.
    """

    minimum_depth_blocks: int = 3
    large_minimum_depth_blocks: int = 6
    our_to_self_delay_blocks: int = 1_008
    large_to_self_delay_blocks: int = 2_016
    large_channel_sat: int = 16_777_216
    our_htlc_minimum_msat: int = 1
    max_inbound_htlc_value_in_flight_percent: int = 100
    negotiate_scid_privacy: bool = False
    announce_for_forwarding: bool = False
    commit_upfront_shutdown_pubkey: bool = True
    their_channel_reserve_proportional_millionths: int = 10_000
    negotiate_anchors_zero_fee_htlc_tx: bool = True
    our_max_accepted_htlcs: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.max_inbound_htlc_value_in_flight_percent <= 100:
            raise APIError(_("The share of a channel that may be in flight is 1 to 100 percent."))
        if not 1 <= self.our_max_accepted_htlcs <= MAX_ACCEPTED_HTLCS:
            raise APIError(_("A channel holds 1 to {most} HTLCs each way.").format(most=MAX_ACCEPTED_HTLCS))
        if not self.our_to_self_delay_blocks <= 0xFFFF or not self.large_to_self_delay_blocks <= 0xFFFF:
            raise APIError(_("A to_self_delay does not fit into its message."))

    def minimum_depth_for(self, channel_value_sat: int) -> int:
        """Confirmations that we ask of a funding transaction that we did not make."""
        if channel_value_sat >= self.large_channel_sat:
            return self.large_minimum_depth_blocks
        return self.minimum_depth_blocks

    def to_self_delay_for(self, channel_value_sat: int) -> int:
        """The delay on the peer's own outputs that we ask for."""
        if channel_value_sat >= self.large_channel_sat:
            return self.large_to_self_delay_blocks
        return self.our_to_self_delay_blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelHandshakeLimits:
    """What we put up with from a peer when a channel is opened.

    Attributes:
        their_to_self_delay_blocks: how long, at most, our coins may be locked after we force-close.
        max_minimum_depth_blocks: confirmations that the peer may ask of our funding transaction.
        force_announced_channel_preference: refuse a peer's channel that is to be announced, while ours are
            private. With `manually_accept_inbound_channels` that is left to whoever is asked.
        trust_own_funding_0conf: use a channel that we funded before it confirms, where the peer offers that.
    """

    min_funding_sat: int = 20_000
    max_funding_sat: int = 1_000_000_000
    max_htlc_minimum_msat: int = 1_000_000
    min_max_htlc_value_in_flight_msat: int = 1_000_000
    max_channel_reserve_millionths: int = 200_000
    min_max_accepted_htlcs: int = 1
    max_minimum_depth_blocks: int = 144
    trust_own_funding_0conf: bool = True
    force_announced_channel_preference: bool = True
    their_to_self_delay_blocks: int = 2_016


@dataclass(frozen=True, slots=True, kw_only=True)
class UserConfig:
    """All settings of the core.

    Attributes:
        accept_forwards: forward payments of others at all.
        accept_forwards_to_priv_channels: also into channels that are not announced.
        accept_inbound_channels: let peers open channels to us.
        manually_accept_inbound_channels: ask (`OpenChannelRequest`) before each; needed for zero-conf.
        accept_keysend: take payments that were not asked for, whose onion carries the preimage.
        final_cltv_expiry_delta: asked for in invoices; about a day, because a desktop sleeps.
        htlc_pause_seconds: when the newest known block is older than this by the wall clock, no HTLC is offered,
            forwarded or accepted: the chain may be hidden from us, and with it the deadlines. 0: never, where
            blocks do not come by themselves.
    """

    channel_handshake_config: ChannelHandshakeConfig = field(default_factory=ChannelHandshakeConfig)
    channel_handshake_limits: ChannelHandshakeLimits = field(default_factory=ChannelHandshakeLimits)
    channel_config: ChannelConfig = field(default_factory=ChannelConfig)
    accept_forwards: bool = False
    accept_forwards_to_priv_channels: bool = False
    accept_inbound_channels: bool = True
    manually_accept_inbound_channels: bool = False
    accept_keysend: bool = True
    final_cltv_expiry_delta: int = 147
    htlc_pause_seconds: int = 0

    def __post_init__(self) -> None:
        if self.final_cltv_expiry_delta < MIN_FINAL_CLTV_EXPIRY_DELTA:
            raise APIError(
                _("Invoices ask for a CLTV delta of at least {least} blocks.").format(
                    least=MIN_FINAL_CLTV_EXPIRY_DELTA
                )
            )
