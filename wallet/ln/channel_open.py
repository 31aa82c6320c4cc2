"""Opening a channel, version 1, from both sides. BOLT 2, channel establishment v1.

Each stage is a type of its own; what has not been agreed yet has no field. None of them is durable: until the
funding is agreed nothing is at stake, and BOLT 2 has the opening forgotten at a disconnection. The last function of
each side gives back a `Funded`: the channel, and both first commitments, for the monitor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from wallet.bitcoin.script import p2wsh, witness_program
from wallet.bitcoin.tx import OutPoint, Transaction, Txid
from wallet.i18n import _
from wallet.ln import msgs
from wallet.ln.chan_utils import (
    ANCHOR_OUTPUT_SAT,
    ChannelPublicKeys,
    ChannelTransactionParameters,
    CommitmentTransaction,
    HolderCommitmentTransaction,
    commit_tx_fee_sat,
    funding_script,
)
from wallet.ln.channel_commitment import initial_commitment, verify_commitment
from wallet.ln.channel_htlcs import FeeBounds, check_feerate
from wallet.ln.channel_state import (
    ChannelCore,
    ChannelTerms,
    FundedChannel,
    FundingScope,
    Link,
    SideTerms,
)
from wallet.ln.config import MAX_ACCEPTED_HTLCS, MAX_DUST_LIMIT_SAT, UserConfig
from wallet.ln.features import ChannelTypeFeatures, Feature, Features
from wallet.ln.types import APIError, ChannelError, ChannelId, NodeId, ShortChannelId

__all__ = [
    "ANNOUNCE_CHANNEL",
    "Accepted",
    "Funded",
    "OpeningKeys",
    "ReceivedOpen",
    "SentAccept",
    "SentFundingCreated",
    "SentOpen",
    "UnfundedChannel",
    "accept_message",
    "accept_open",
    "channel_id_of",
    "channel_type_fallback",
    "funding_output_script",
    "is_legal_shutdown_script",
    "open_message",
    "preferred_channel_type",
    "propose_channel",
    "receive_accept",
    "receive_funding_created",
    "receive_funding_signed",
    "receive_open",
    "use_funding",
    "with_channel_type",
]

MAX_FUNDING_WITHOUT_WUMBO_SAT: Final = (1 << 24) - 1
"""BOLT 2, open_channel: more needs option_support_large_channel on both sides."""

HOLDER_DUST_LIMIT_SAT: Final = 354
"""BOLT 3, dust limits: above it, a segwit output of any version is relayed."""

MIN_DUST_LIMIT_SAT: Final = 354

MIN_CHANNEL_RESERVE_SAT: Final = 1_000

_NO_TXID: Final = Txid(bytes(32))

ANNOUNCE_CHANNEL: Final = 1
"""The one defined bit of channel_flags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningKeys:
    """What the signer gives for a new channel."""

    channel_keys_id: bytes
    pubkeys: ChannelPublicKeys
    first_point: bytes
    second_point: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Our side of an opening, whoever opens."""

    temporary_channel_id: ChannelId
    counterparty_node_id: NodeId
    user_channel_id: int
    config: UserConfig
    keys: OpeningKeys
    holder: SideTerms
    to_self_delay_blocks: int
    channel_value_sat: int
    push_msat: int
    feerate_sat_per_kw: int
    channel_type: ChannelTypeFeatures
    is_announced: bool
    shutdown_script: bytes
    scid_alias: ShortChannelId
    best_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """The peer's side of an opening."""

    counterparty: SideTerms
    pubkeys: ChannelPublicKeys
    first_point: bytes
    to_self_delay_blocks: int
    minimum_depth_blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SentOpen:
    """open_channel sent, accept_channel awaited.

    Attributes:
        refusal: what the peer said of the same opening with another channel type; empty at the first try.
    """

    offer: Offer
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """accept_channel received; the wallet makes the funding transaction."""

    offer: Offer
    counter: Counter


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFundingCreated:
    """funding_created sent, funding_signed awaited; the funding transaction is kept back."""

    offer: Offer
    counter: Counter
    channel_id: ChannelId
    scope: FundingScope
    counterparty_commitment: CommitmentTransaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedOpen:
    """open_channel received; the person is asked."""

    msg: msgs.OpenChannel
    counterparty_node_id: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class SentAccept:
    """accept_channel sent, funding_created awaited."""

    offer: Offer
    counter: Counter


UnfundedChannel = SentOpen | Accepted | SentFundingCreated | ReceivedOpen | SentAccept


@dataclass(frozen=True, slots=True, kw_only=True)
class Funded:
    """The funding is agreed: what the manager keeps, and what the monitor starts from."""

    channel: FundedChannel
    holder_commitment: HolderCommitmentTransaction
    counterparty_commitment: CommitmentTransaction


# --- channel types ------------------------------------------------------------


def preferred_channel_type(
    config: UserConfig, ours: Features, theirs: Features, *, is_announced: bool
) -> ChannelTypeFeatures:
    """The best type that both sides know."""
    features = [Feature.STATIC_REMOTE_KEY]
    handshake = config.channel_handshake_config
    if handshake.negotiate_anchors_zero_fee_htlc_tx and ours.negotiated_with(theirs, Feature.ANCHORS):
        features.append(Feature.ANCHORS)
    # BOLT 2, open_channel: scid_alias is for channels that are not announced.
    if handshake.negotiate_scid_privacy and not is_announced:
        if ours.negotiated_with(theirs, Feature.SCID_ALIAS):
            features.append(Feature.SCID_ALIAS)
    return ChannelTypeFeatures([feature.required_bit for feature in features])


def channel_type_fallback(channel_type: ChannelTypeFeatures) -> ChannelTypeFeatures | None:
    """A humbler type to try after a refusal: first without privacy, then without anchors."""
    if channel_type.scid_privacy:
        return ChannelTypeFeatures(channel_type.without(Feature.SCID_ALIAS).bits)
    if channel_type.anchors:
        return ChannelTypeFeatures(channel_type.without(Feature.ANCHORS).bits)
    return None


def is_legal_shutdown_script(script: bytes, *, any_segwit: bool) -> bool:
    """BOLT 2, shutdown, sender: witness version 0, or any with option_shutdown_anysegwit."""
    program = witness_program(script)
    if program is None:
        return False
    version, data = program
    if version == 0:
        return len(data) in (20, 32)
    return any_segwit


# --- our terms ----------------------------------------------------------------


def _holder_terms(config: UserConfig, channel_value_sat: int, shutdown_script: bytes) -> SideTerms:
    handshake = config.channel_handshake_config
    reserve_sat = channel_value_sat * handshake.their_channel_reserve_proportional_millionths // 1_000_000
    return SideTerms(
        dust_limit_sat=HOLDER_DUST_LIMIT_SAT,
        max_htlc_value_in_flight_msat=channel_value_sat
        * 1000
        * handshake.max_inbound_htlc_value_in_flight_percent
        // 100,
        channel_reserve_sat=min(channel_value_sat, max(reserve_sat, MIN_CHANNEL_RESERVE_SAT)),
        htlc_minimum_msat=max(1, handshake.our_htlc_minimum_msat),
        max_accepted_htlcs=handshake.our_max_accepted_htlcs,
        upfront_shutdown_script=shutdown_script if handshake.commit_upfront_shutdown_pubkey else None,
    )


def propose_channel(
    *,
    temporary_channel_id: ChannelId,
    counterparty_node_id: NodeId,
    user_channel_id: int,
    config: UserConfig,
    ours: Features,
    theirs: Features,
    keys: OpeningKeys,
    channel_value_sat: int,
    push_msat: int,
    feerate_sat_per_kw: int,
    channel_type: ChannelTypeFeatures,
    shutdown_script: bytes,
    scid_alias: ShortChannelId,
    best_height: int,
) -> SentOpen:
    """Our offer; raises APIError for one that BOLT 2 forbids, or that cannot work."""
    # BOLT 2, open_channel, sender: large channels only where both sides say so.
    if channel_value_sat > MAX_FUNDING_WITHOUT_WUMBO_SAT:
        if not ours.negotiated_with(theirs, Feature.SUPPORT_LARGE_CHANNEL):
            raise APIError(
                _("The peer takes channels of up to {limit} sat only.").format(
                    limit=MAX_FUNDING_WITHOUT_WUMBO_SAT
                )
            )
    if channel_value_sat < config.channel_handshake_limits.min_funding_sat:
        raise APIError(
            _("A channel needs at least {limit} sat.").format(
                limit=config.channel_handshake_limits.min_funding_sat
            )
        )
    # BOLT 2, open_channel, sender: no push above the funding.
    if push_msat > channel_value_sat * 1000:
        raise APIError(_("The amount to give to the peer is above the channel's value."))
    holder = _holder_terms(config, channel_value_sat, shutdown_script)
    cost_sat = commit_tx_fee_sat(feerate_sat_per_kw, 4, channel_type)
    if channel_type.anchors:
        cost_sat += 2 * ANCHOR_OUTPUT_SAT
    if channel_value_sat - (push_msat + 999) // 1000 < cost_sat + holder.channel_reserve_sat:
        raise APIError(_("What would remain on our side cannot pay for the channel's own fees."))
    if not is_legal_shutdown_script(shutdown_script, any_segwit=True):
        raise APIError(_("Channels can be closed to segwit addresses only."))
    return SentOpen(
        offer=Offer(
            temporary_channel_id=temporary_channel_id,
            counterparty_node_id=counterparty_node_id,
            user_channel_id=user_channel_id,
            config=config,
            keys=keys,
            holder=holder,
            to_self_delay_blocks=config.channel_handshake_config.to_self_delay_for(channel_value_sat),
            channel_value_sat=channel_value_sat,
            push_msat=push_msat,
            feerate_sat_per_kw=feerate_sat_per_kw,
            channel_type=channel_type,
            is_announced=config.channel_handshake_config.announce_for_forwarding,
            shutdown_script=shutdown_script,
            scid_alias=scid_alias,
            best_height=best_height,
        )
    )


def open_message(state: SentOpen, chain_hash: bytes) -> msgs.OpenChannel:
    offer = state.offer
    keys = offer.keys.pubkeys
    return msgs.OpenChannel(
        chain_hash=chain_hash,
        temporary_channel_id=offer.temporary_channel_id,
        funding_sat=offer.channel_value_sat,
        push_msat=offer.push_msat,
        dust_limit_sat=offer.holder.dust_limit_sat,
        max_htlc_value_in_flight_msat=offer.holder.max_htlc_value_in_flight_msat,
        channel_reserve_sat=offer.holder.channel_reserve_sat,
        htlc_minimum_msat=offer.holder.htlc_minimum_msat,
        feerate_sat_per_kw=offer.feerate_sat_per_kw,
        to_self_delay_blocks=offer.to_self_delay_blocks,
        max_accepted_htlcs=offer.holder.max_accepted_htlcs,
        funding_pubkey=keys.funding_pubkey,
        revocation_basepoint=keys.revocation_basepoint,
        payment_basepoint=keys.payment_point,
        delayed_payment_basepoint=keys.delayed_payment_basepoint,
        htlc_basepoint=keys.htlc_basepoint,
        first_per_commitment_point=offer.keys.first_point,
        channel_flags=ANNOUNCE_CHANNEL if offer.is_announced else 0,
        # BOLT 2: present whenever both know the feature; empty where nothing is fixed.
        upfront_shutdown_script=offer.holder.upfront_shutdown_script or b"",
        channel_type=offer.channel_type.to_bytes(),
    )


def accept_message(state: SentAccept) -> msgs.AcceptChannel:
    offer = state.offer
    keys = offer.keys.pubkeys
    return msgs.AcceptChannel(
        temporary_channel_id=offer.temporary_channel_id,
        dust_limit_sat=offer.holder.dust_limit_sat,
        max_htlc_value_in_flight_msat=offer.holder.max_htlc_value_in_flight_msat,
        channel_reserve_sat=offer.holder.channel_reserve_sat,
        htlc_minimum_msat=offer.holder.htlc_minimum_msat,
        minimum_depth_blocks=state.counter.minimum_depth_blocks,
        to_self_delay_blocks=offer.to_self_delay_blocks,
        max_accepted_htlcs=offer.holder.max_accepted_htlcs,
        funding_pubkey=keys.funding_pubkey,
        revocation_basepoint=keys.revocation_basepoint,
        payment_basepoint=keys.payment_point,
        delayed_payment_basepoint=keys.delayed_payment_basepoint,
        htlc_basepoint=keys.htlc_basepoint,
        first_per_commitment_point=offer.keys.first_point,
        upfront_shutdown_script=offer.holder.upfront_shutdown_script or b"",
        channel_type=offer.channel_type.to_bytes(),
    )


# --- the peer's terms ---------------------------------------------------------


def _check_common(
    msg: msgs.OpenChannel | msgs.AcceptChannel, config: UserConfig, channel_value_sat: int
) -> None:
    """BOLT 2, open_channel, receiver; accept_channel has the same rules for the same fields."""
    limits = config.channel_handshake_limits
    if msg.max_accepted_htlcs > MAX_ACCEPTED_HTLCS:
        raise ChannelError(f"max_accepted_htlcs is {msg.max_accepted_htlcs}, above {MAX_ACCEPTED_HTLCS}.")
    if msg.max_accepted_htlcs < limits.min_max_accepted_htlcs:
        raise ChannelError("max_accepted_htlcs is too small for us.")
    if msg.to_self_delay_blocks > limits.their_to_self_delay_blocks:
        raise ChannelError(
            f"to_self_delay is {msg.to_self_delay_blocks} blocks; "
            f"we wait for {limits.their_to_self_delay_blocks} at most."
        )
    if msg.dust_limit_sat < MIN_DUST_LIMIT_SAT:
        raise ChannelError(f"dust_limit is {msg.dust_limit_sat} sat, below {MIN_DUST_LIMIT_SAT}.")
    if msg.dust_limit_sat > MAX_DUST_LIMIT_SAT:
        raise ChannelError(f"dust_limit is {msg.dust_limit_sat} sat, above {MAX_DUST_LIMIT_SAT}.")
    if msg.channel_reserve_sat > channel_value_sat * limits.max_channel_reserve_millionths // 1_000_000:
        if msg.channel_reserve_sat > MIN_CHANNEL_RESERVE_SAT:
            raise ChannelError(f"channel_reserve is {msg.channel_reserve_sat} sat, which is too much for us.")
    if msg.htlc_minimum_msat > limits.max_htlc_minimum_msat:
        raise ChannelError(f"htlc_minimum is {msg.htlc_minimum_msat} msat, which is too much for us.")
    if msg.htlc_minimum_msat >= (channel_value_sat - msg.channel_reserve_sat) * 1000:
        raise ChannelError("htlc_minimum is as much as the channel can carry.")
    if msg.max_htlc_value_in_flight_msat < min(
        limits.min_max_htlc_value_in_flight_msat, channel_value_sat * 1000 // 2
    ):
        raise ChannelError("max_htlc_value_in_flight is too small for us.")


def _upfront_script(
    msg: msgs.OpenChannel | msgs.AcceptChannel, ours: Features, theirs: Features
) -> bytes | None:
    if not ours.negotiated_with(theirs, Feature.UPFRONT_SHUTDOWN_SCRIPT) or not msg.upfront_shutdown_script:
        return None
    any_segwit = ours.negotiated_with(theirs, Feature.SHUTDOWN_ANYSEGWIT)
    if not is_legal_shutdown_script(msg.upfront_shutdown_script, any_segwit=any_segwit):
        raise ChannelError("upfront_shutdown_script is of no form that BOLT 2 allows.")
    return msg.upfront_shutdown_script


def _counter(
    msg: msgs.OpenChannel | msgs.AcceptChannel, script: bytes | None, minimum_depth_blocks: int
) -> Counter:
    return Counter(
        counterparty=SideTerms(
            dust_limit_sat=msg.dust_limit_sat,
            max_htlc_value_in_flight_msat=msg.max_htlc_value_in_flight_msat,
            channel_reserve_sat=msg.channel_reserve_sat,
            htlc_minimum_msat=msg.htlc_minimum_msat,
            max_accepted_htlcs=msg.max_accepted_htlcs,
            upfront_shutdown_script=script,
        ),
        pubkeys=ChannelPublicKeys(
            funding_pubkey=msg.funding_pubkey,
            revocation_basepoint=msg.revocation_basepoint,
            payment_point=msg.payment_basepoint,
            delayed_payment_basepoint=msg.delayed_payment_basepoint,
            htlc_basepoint=msg.htlc_basepoint,
        ),
        first_point=msg.first_per_commitment_point,
        to_self_delay_blocks=msg.to_self_delay_blocks,
        minimum_depth_blocks=minimum_depth_blocks,
    )


def receive_open(
    msg: msgs.OpenChannel,
    counterparty_node_id: NodeId,
    *,
    chain_hash: bytes,
    config: UserConfig,
    ours: Features,
    theirs: Features,
    bounds: FeeBounds,
) -> ReceivedOpen:
    """Checks an offer of the peer's. BOLT 2, open_channel, receiver."""
    limits = config.channel_handshake_limits
    if msg.chain_hash != chain_hash:
        raise ChannelError("open_channel is for another chain than ours.")
    if msg.channel_type is None:
        raise ChannelError("open_channel has no channel_type.")
    channel_type = ChannelTypeFeatures.from_bytes(msg.channel_type)
    is_announced = bool(msg.channel_flags & ANNOUNCE_CHANNEL)
    if not channel_type.is_known:
        raise ChannelError("We do not know this channel_type.")
    for feature in (Feature.STATIC_REMOTE_KEY, Feature.ANCHORS, Feature.SCID_ALIAS, Feature.ZEROCONF):
        if channel_type.requires(feature) and not ours.supports(feature):
            raise ChannelError("The channel_type uses a feature that we do not offer.")
    if channel_type.anchors and not config.channel_handshake_config.negotiate_anchors_zero_fee_htlc_tx:
        raise ChannelError("We do not open channels with anchors.")
    if channel_type.scid_privacy and is_announced:
        raise ChannelError("A channel that is announced cannot hide its short channel id.")
    if msg.funding_sat > MAX_FUNDING_WITHOUT_WUMBO_SAT and not ours.supports(Feature.SUPPORT_LARGE_CHANNEL):
        raise ChannelError("We do not take channels of this size.")
    if msg.funding_sat > limits.max_funding_sat:
        raise ChannelError(f"We take channels of up to {limits.max_funding_sat} sat.")
    if msg.funding_sat < limits.min_funding_sat:
        raise ChannelError(f"We take channels from {limits.min_funding_sat} sat on.")
    # BOLT 2, open_channel, receiver: refuse a push above the funding.
    if msg.push_msat > msg.funding_sat * 1000:
        raise ChannelError("push_msat is above the funding.")
    if limits.force_announced_channel_preference and is_announced:
        # BOLT 2 lets each side refuse: an announcement tells the world who holds these coins.
        if not config.channel_handshake_config.announce_for_forwarding:
            raise ChannelError("Our channels are private: please do not announce this one.")
    _check_common(msg, config, msg.funding_sat)
    if msg.dust_limit_sat > msg.channel_reserve_sat:
        raise ChannelError("dust_limit is above channel_reserve.")
    holder = _holder_terms(config, msg.funding_sat, b"")
    # BOLT 2, accept_channel, sender: each dust limit is at most either reserve.
    if msg.dust_limit_sat > holder.channel_reserve_sat:
        raise ChannelError("dust_limit is above the reserve that we would ask for.")
    if holder.dust_limit_sat > msg.channel_reserve_sat:
        raise ChannelError("channel_reserve is below our dust limit.")
    check_feerate(msg.feerate_sat_per_kw, bounds, None)
    cost_sat = commit_tx_fee_sat(msg.feerate_sat_per_kw, 0, channel_type)
    if channel_type.anchors:
        cost_sat += 2 * ANCHOR_OUTPUT_SAT
    funder_sat = (msg.funding_sat * 1000 - msg.push_msat) // 1000
    if funder_sat < cost_sat:
        raise ChannelError("The funder could not pay the fee of the first commitment.")
    # BOLT 2: one side at least is above the reserve, so that there is an output.
    if max(funder_sat - cost_sat, msg.push_msat // 1000) <= max(
        msg.channel_reserve_sat, holder.channel_reserve_sat
    ):
        raise ChannelError("Both sides would start below the channel reserve.")
    _upfront_script(msg, ours, theirs)
    return ReceivedOpen(msg=msg, counterparty_node_id=counterparty_node_id)


def accept_open(
    state: ReceivedOpen,
    *,
    config: UserConfig,
    ours: Features,
    theirs: Features,
    keys: OpeningKeys,
    user_channel_id: int,
    shutdown_script: bytes,
    scid_alias: ShortChannelId,
    best_height: int,
    zero_conf: bool,
) -> SentAccept:
    """Our answer to an offer that was checked. APIError where the type asks for trust that was not given."""
    msg = state.msg
    channel_type = ChannelTypeFeatures.from_bytes(msg.channel_type or b"")
    if channel_type.zeroconf and not zero_conf:
        raise APIError(_("The peer asks to use the channel before it confirms; that was not agreed to."))
    # BOLT 2, accept_channel, sender: zeroconf has a depth of 0.
    depth_blocks = 0 if zero_conf else config.channel_handshake_config.minimum_depth_for(msg.funding_sat)
    return SentAccept(
        offer=Offer(
            temporary_channel_id=msg.temporary_channel_id,
            counterparty_node_id=state.counterparty_node_id,
            user_channel_id=user_channel_id,
            config=config,
            keys=keys,
            holder=_holder_terms(config, msg.funding_sat, shutdown_script),
            to_self_delay_blocks=config.channel_handshake_config.to_self_delay_for(msg.funding_sat),
            channel_value_sat=msg.funding_sat,
            push_msat=msg.push_msat,
            feerate_sat_per_kw=msg.feerate_sat_per_kw,
            channel_type=channel_type,
            is_announced=bool(msg.channel_flags & ANNOUNCE_CHANNEL),
            shutdown_script=shutdown_script,
            scid_alias=scid_alias,
            best_height=best_height,
        ),
        counter=_counter(msg, _upfront_script(msg, ours, theirs), depth_blocks),
    )


def receive_accept(state: SentOpen, msg: msgs.AcceptChannel, *, ours: Features, theirs: Features) -> Accepted:
    """BOLT 2, accept_channel, receiver."""
    offer = state.offer
    limits = offer.config.channel_handshake_limits
    if msg.channel_type is None:
        raise ChannelError("accept_channel has no channel_type.")
    if ChannelTypeFeatures.from_bytes(msg.channel_type) != offer.channel_type:
        raise ChannelError("accept_channel has another channel_type than we asked for.")
    if msg.minimum_depth_blocks > limits.max_minimum_depth_blocks:
        raise ChannelError(f"The peer wants to wait for {msg.minimum_depth_blocks} confirmations.")
    if offer.channel_type.zeroconf and msg.minimum_depth_blocks != 0:
        raise ChannelError("accept_channel of a zeroconf channel asks for confirmations.")
    _check_common(msg, offer.config, offer.channel_value_sat)
    if msg.channel_reserve_sat < offer.holder.dust_limit_sat:
        raise ChannelError("channel_reserve is below our dust limit.")
    if offer.holder.channel_reserve_sat < msg.dust_limit_sat:
        raise ChannelError("dust_limit is above the reserve that we asked for.")
    if msg.channel_reserve_sat < msg.dust_limit_sat:
        raise ChannelError("dust_limit is above channel_reserve.")
    return Accepted(
        offer=offer,
        counter=_counter(msg, _upfront_script(msg, ours, theirs), msg.minimum_depth_blocks),
    )


# --- funding ------------------------------------------------------------------


def channel_id_of(outpoint: OutPoint) -> ChannelId:
    """BOLT 2, definition of channel_id: the txid, its last two bytes XORed with the output's index."""
    txid = outpoint.txid
    return ChannelId(txid[:30] + (int.from_bytes(txid[30:], "big") ^ outpoint.vout).to_bytes(2, "big"))


def _parameters(
    offer: Offer, counter: Counter, outpoint: OutPoint, *, is_outbound: bool
) -> ChannelTransactionParameters:
    return ChannelTransactionParameters(
        holder_pubkeys=offer.keys.pubkeys,
        counterparty_pubkeys=counter.pubkeys,
        holder_selected_contest_delay_blocks=offer.to_self_delay_blocks,
        counterparty_selected_contest_delay_blocks=counter.to_self_delay_blocks,
        is_outbound_from_holder=is_outbound,
        funding_outpoint=outpoint,
        channel_value_sat=offer.channel_value_sat,
        channel_type=offer.channel_type,
    )


def funding_output_script(state: Accepted) -> bytes:
    """What the funding transaction has to pay to."""
    nowhere = OutPoint(txid=_NO_TXID, vout=0)
    return p2wsh(funding_script(_parameters(state.offer, state.counter, nowhere, is_outbound=True)))


def _first_commitment(
    offer: Offer, counter: Counter, scope: FundingScope, *, of_holder: bool
) -> CommitmentTransaction:
    is_outbound = scope.params.is_outbound_from_holder
    funder_msat = offer.channel_value_sat * 1000 - offer.push_msat
    return initial_commitment(
        scope=scope,
        holder=offer.holder,
        counterparty=counter.counterparty,
        of_holder=of_holder,
        per_commitment_point=offer.keys.first_point if of_holder else counter.first_point,
        value_to_self_msat=funder_msat if is_outbound else offer.push_msat,
        feerate_sat_per_kw=offer.feerate_sat_per_kw,
    )


def _outputs_paying(tx: Transaction, script: bytes, value_sat: int) -> Iterator[int]:
    for index, output in enumerate(tx.outputs):
        if output.script_pubkey == script and output.value_sat == value_sat:
            yield index


def use_funding(state: Accepted, tx: Transaction) -> SentFundingCreated:
    """Takes the wallet's transaction; APIError if it does not pay what was asked."""
    script = funding_output_script(state)
    index = next(_outputs_paying(tx, script, state.offer.channel_value_sat), None)
    if index is None:
        raise APIError(_("The funding transaction has no output of the channel's script and value."))
    if index > 0xFFFF:
        raise APIError(_("The funding output is too far back in its transaction."))
    # BOLT 2, funding_created, sender: not malleable.
    if any(txin.script_sig for txin in tx.inputs) or not all(txin.witness for txin in tx.inputs):
        raise APIError(_("The funding transaction has to spend signed segwit coins only."))
    outpoint = OutPoint(tx.txid, index)
    params = _parameters(state.offer, state.counter, outpoint, is_outbound=True)
    scope = FundingScope(params=params, funding_tx=tx)
    return SentFundingCreated(
        offer=state.offer,
        counter=state.counter,
        channel_id=channel_id_of(outpoint),
        scope=scope,
        counterparty_commitment=_first_commitment(state.offer, state.counter, scope, of_holder=False),
    )


def _funded(
    offer: Offer,
    counter: Counter,
    scope: FundingScope,
    holder_tx: HolderCommitmentTransaction,
    counterparty_commitment: CommitmentTransaction,
) -> Funded:
    is_outbound = scope.params.is_outbound_from_holder
    funder_msat = offer.channel_value_sat * 1000 - offer.push_msat
    trusted = counter.minimum_depth_blocks == 0
    if is_outbound:
        trusted = trusted and offer.config.channel_handshake_limits.trust_own_funding_0conf
    channel = FundedChannel(
        terms=ChannelTerms(
            channel_id=channel_id_of(scope.funding_outpoint),
            temporary_channel_id=offer.temporary_channel_id,
            user_channel_id=offer.user_channel_id,
            counterparty_node_id=offer.counterparty_node_id,
            channel_keys_id=offer.keys.channel_keys_id,
            is_outbound=is_outbound,
            is_announced=offer.is_announced,
            holder=offer.holder,
            counterparty=counter.counterparty,
            minimum_depth_blocks=0 if trusted else max(1, counter.minimum_depth_blocks),
            scid_alias=offer.scid_alias,
            opened_at_height=offer.best_height,
            shutdown_script=offer.shutdown_script,
            may_use_unconfirmed=trusted,
        ),
        scope=scope,
        config=offer.config.channel_config,
        core=ChannelCore(
            value_to_self_msat=funder_msat if is_outbound else offer.push_msat,
            feerate_sat_per_kw=offer.feerate_sat_per_kw,
            holder_next_point=offer.keys.second_point,
            counterparty_current_point=counter.first_point,
        ),
        link=Link.UP,
    )
    return Funded(
        channel=channel, holder_commitment=holder_tx, counterparty_commitment=counterparty_commitment
    )


def receive_funding_created(state: SentAccept, msg: msgs.FundingCreated) -> Funded:
    """BOLT 2, funding_created, receiver: the signature is valid for our first commitment."""
    outpoint = OutPoint(msg.funding_txid, msg.funding_output_index)
    scope = FundingScope(params=_parameters(state.offer, state.counter, outpoint, is_outbound=False))
    commitment = _first_commitment(state.offer, state.counter, scope, of_holder=True)
    holder_tx = verify_commitment(scope, commitment, msg.signature)
    theirs = _first_commitment(state.offer, state.counter, scope, of_holder=False)
    return _funded(state.offer, state.counter, scope, holder_tx, theirs)


def receive_funding_signed(state: SentFundingCreated, msg: msgs.FundingSigned) -> Funded:
    """BOLT 2, funding_signed, receiver: only now may the funding transaction leave."""
    commitment = _first_commitment(state.offer, state.counter, state.scope, of_holder=True)
    holder_tx = verify_commitment(state.scope, commitment, msg.signature)
    return _funded(state.offer, state.counter, state.scope, holder_tx, state.counterparty_commitment)


def with_channel_type(state: SentOpen, channel_type: ChannelTypeFeatures) -> SentOpen:
    """The same offer with a humbler type."""
    return SentOpen(offer=replace(state.offer, channel_type=channel_type))
