"""Losing and finding the peer: what is forgotten, what is sent again. BOLT 2, message retransmission."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from wallet.bitcoin import curve
from wallet.ln import msgs
from wallet.ln.channel_closing import send_shutdown
from wallet.ln.channel_commitment import resend_commitment
from wallet.ln.channel_htlcs import add_message, removal_message
from wallet.ln.channel_state import (
    FeeStage,
    FundedChannel,
    HeldAdd,
    HeldRemoval,
    InboundHtlc,
    InboundStage,
    LastSent,
    Link,
    OutboundHtlc,
    OutboundStage,
)
from wallet.ln.channel_step import Draft, SignRevocation, TellChannelClosed
from wallet.ln.events import ClosureKind, ClosureReason
from wallet.ln.types import ChannelError, DecodeError, InvariantError

__all__ = ["disconnect", "hold_again", "make_reestablish", "receive_reestablish", "send_channel_ready"]


def disconnect(draft: Draft) -> None:
    """Forgets what the peer announced and never committed to. BOLT 2: uncommitted updates are reversed."""
    fresh = [number for number, htlc in draft.inbound.items() if htlc.stage is InboundStage.RCVD_ADD]
    for number in fresh:
        del draft.inbound[number]
    for number, htlc in draft.outbound.items():
        if htlc.stage is OutboundStage.RCVD_REMOVE:
            draft.outbound[number] = OutboundHtlc(
                add=htlc.add, source=htlc.source, stage=OutboundStage.COMMITTED
            )
    hold_again(draft)
    kept = tuple(update for update in draft.core.fee_updates if update.stage is not FeeStage.RCVD)
    if fresh or kept != draft.core.fee_updates:
        draft.core = replace(
            draft.core,
            fee_updates=kept,
            next_inbound_htlc_id=draft.core.next_inbound_htlc_id - len(fresh),
        )
    draft.link = Link.DOWN
    # BOLT 2: the negotiation of a closing fee starts again with each connection.
    draft.negotiation = None


def hold_again(draft: Draft) -> None:
    """Updates of ours that no commitment_signed followed, because the entry was broken off: they are held again."""
    adds = [htlc for htlc in draft.outbound.values() if htlc.stage is OutboundStage.SENT_ADD]
    removals = [htlc for htlc in draft.inbound.values() if htlc.stage is InboundStage.SENT_REMOVE]
    for sent in adds:
        del draft.outbound[sent.add.htlc_id]
        draft.held = (*draft.held, HeldAdd(add=replace(sent.add, htlc_id=0), source=sent.source))
    for received in removals:
        if received.removal is not None:
            htlc_id = received.add.htlc_id
            draft.inbound[htlc_id] = InboundHtlc(add=received.add, stage=InboundStage.COMMITTED)
            draft.held = (*draft.held, HeldRemoval(htlc_id=htlc_id, removal=received.removal))
    fees = tuple(update for update in draft.core.fee_updates if update.stage is not FeeStage.SENT)
    if adds or fees != draft.core.fee_updates:
        draft.core = replace(
            draft.core,
            fee_updates=fees,
            next_outbound_htlc_id=draft.core.next_outbound_htlc_id - len(adds),
        )


def make_reestablish(channel: FundedChannel, current_point: bytes) -> msgs.ChannelReestablish:
    """`current_point`: of our newest commitment; readers ignore it, but it has to be a point."""
    core = channel.core
    last_secret = bytes(32)
    if core.counterparty_revoked:
        found = channel.secrets.get_secret(core.counterparty_revoked - 1)
        if found is None:
            raise InvariantError("the secret of a revoked commitment is missing")
        last_secret = found
    return msgs.ChannelReestablish(
        channel_id=channel.channel_id,
        next_commitment_number=core.holder_number + 1,
        next_revocation_number=core.counterparty_revoked,
        your_last_per_commitment_secret=last_secret,
        my_current_per_commitment_point=current_point,
    )


def send_channel_ready(draft: Draft, second_point: bytes) -> None:
    draft.send(
        msgs.ChannelReady(
            channel_id=draft.channel.channel_id,
            second_per_commitment_point=second_point,
            short_channel_id_alias=draft.channel.terms.scid_alias,
        ),
        needs_monitor=True,
    )


def receive_reestablish(
    draft: Draft, msg: msgs.ChannelReestablish, holder_point: Callable[[int], bytes]
) -> None:
    """BOLT 2, channel_reestablish, receiver. `holder_point` gives our per-commitment point of a number."""
    core = draft.core
    if draft.link is not Link.AWAITING_REESTABLISH:
        raise ChannelError("channel_reestablish came when none was due.")
    if msg.next_commitment_number == 0:
        raise ChannelError("channel_reestablish expects commitment number 0.")
    if not _secret_is_ours(msg, holder_point):
        raise ChannelError("channel_reestablish has a last secret that we never gave.")
    if msg.next_revocation_number > core.holder_number:
        # The peer has proved that we revoked what we believe to be current: our state is old.
        # BOLT 2: never broadcast it, and ask the peer to close.
        draft.core = replace(core, outdated=True)
        sentence = "Our state of this channel is outdated: please close it from your side."
        draft.tells.append(
            TellChannelClosed(
                ClosureReason(ClosureKind.OUTDATED_STATE, sentence), broadcast=False, message=sentence
            )
        )
        return
    if msg.next_revocation_number < core.holder_number - 1 or (
        core.holder_number == 0 and msg.next_revocation_number != 0
    ):
        raise ChannelError("The peer has lost state: it expects a revocation that it had long ago.")
    if msg.next_commitment_number > core.counterparty_number + 1:
        raise ChannelError("The peer expects a commitment that follows one we never signed.")
    if msg.next_commitment_number < core.counterparty_number:
        raise ChannelError("The peer has lost state: it expects a commitment that it had long ago.")
    lacks_commitment = msg.next_commitment_number == core.counterparty_number
    if lacks_commitment and not draft.is_awaiting_revocation:
        raise ChannelError("The peer expects a commitment again that it has revoked.")
    lacks_revocation = msg.next_revocation_number == core.holder_number - 1

    draft.link = Link.UP
    if core.holder_ready and core.holder_number == 0 and msg.next_commitment_number == 1:
        send_channel_ready(draft, core.holder_next_point)
    # BOLT 2: both, where both are missing, in the order in which they were sent first.
    if lacks_revocation and not (lacks_commitment and core.last_sent is LastSent.REVOKE_AND_ACK):
        _resend_revocation(draft)
        lacks_revocation = False
    if lacks_commitment:
        _resend_updates(draft)
        resend_commitment(draft)
    if lacks_revocation:
        _resend_revocation(draft)
    if core.closing is not None and core.closing.holder_script is not None:
        send_shutdown(draft)


def _secret_is_ours(msg: msgs.ChannelReestablish, holder_point: Callable[[int], bytes]) -> bool:
    number, secret = msg.next_revocation_number, msg.your_last_per_commitment_secret
    if number == 0:
        return True
    try:
        return curve.pubkey_from_secret(secret) == holder_point(number - 1)
    except (DecodeError, ValueError):
        return False


def _resend_revocation(draft: Draft) -> None:
    core = draft.core
    draft.effects.append(SignRevocation(core.holder_number - 1, None))
    draft.send(
        msgs.RevokeAndAck(
            channel_id=draft.channel.channel_id,
            per_commitment_secret=bytes(32),
            next_per_commitment_point=core.holder_next_point,
        ),
        needs_monitor=True,
    )


def _resend_updates(draft: Draft) -> None:
    """The updates that our last commitment_signed covered, in an order that is valid at every step."""
    channel = draft.channel
    for number, received in draft.inbound.items():
        if received.stage is InboundStage.SENT_REMOVE_COMMIT and received.removal is not None:
            draft.send(removal_message(channel, number, received.removal))
    for update in draft.core.fee_updates:
        if update.stage is FeeStage.SENT_COMMIT:
            draft.send(
                msgs.UpdateFee(channel_id=channel.channel_id, feerate_sat_per_kw=update.feerate_sat_per_kw)
            )
    for sent in draft.outbound.values():
        if sent.stage is OutboundStage.SENT_ADD_COMMIT:
            draft.send(add_message(channel, sent.add))
