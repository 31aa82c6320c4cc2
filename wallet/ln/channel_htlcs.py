"""HTLCs and fee rates: offered, received, removed. BOLT 2, normal operation.

Each function works on a `Draft` and breaks no rule of BOLT 2 as a sender: what cannot be sent now is held until the
peer's revoke_and_ack (or, for removals, until it is connected again). As a receiver, each MUST is one `if`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wallet.bitcoin.frozen import replace
from wallet.bitcoin.hashes import sha256
from wallet.chain.interfaces import FLOOR_FEERATE_SAT_PER_KW
from wallet.i18n import _
from wallet.ln import msgs
from wallet.ln.chan_utils import commit_tx_fee_sat
from wallet.ln.channel_commitment import anchors_cost_sat
from wallet.ln.channel_limits import (
    available_balances,
    counterparty_msat,
    dust_exposure_msat,
    dust_feerate,
    exceeds_dust_exposure,
    newest_feerate,
    pending_amounts,
    untrimmed_count,
)
from wallet.ln.channel_state import (
    IN_HOLDER_COMMITMENT_INBOUND,
    IN_HOLDER_COMMITMENT_OUTBOUND,
    AddedHtlc,
    Failed,
    FailedMalformed,
    FeeStage,
    FeeUpdate,
    Fulfilled,
    FundedChannel,
    HeldAdd,
    HeldRemoval,
    HeldUpdate,
    InboundHtlc,
    InboundStage,
    Link,
    OutboundHtlc,
    OutboundStage,
    Removal,
)
from wallet.ln.channel_step import Draft, TellHeldAddFailed, TellHtlcFulfilled
from wallet.ln.htlc import HTLCSource
from wallet.ln.onion_failure import BADONION
from wallet.ln.types import ChannelError, InvariantError, PaymentHash

__all__ = [
    "FeeBounds",
    "add_htlc",
    "add_message",
    "check_feerate",
    "drop_held_adds",
    "free_held",
    "receive_add",
    "receive_fail",
    "receive_fail_malformed",
    "receive_fulfill",
    "receive_update_fee",
    "refusal_to_add",
    "remove_htlc",
    "removal_message",
    "update_fee",
]

MAX_CLTV_EXPIRY_HEIGHT: Final = 500_000_000
"""BOLT 2, update_add_htlc: from here on, a lock time is a time."""


# --- ours ---------------------------------------------------------------------


def refusal_to_add(channel: FundedChannel, amount_msat: int, max_dust_exposure_msat: int) -> str | None:
    """Why an HTLC of this amount cannot be offered now; None if it can."""
    if not channel.is_ready:
        return _("The channel is not ready yet.")
    if channel.is_shutting_down:
        return _("The channel is being closed.")
    if channel.link is not Link.UP:
        return _("The peer is not connected.")
    balances = available_balances(channel, max_dust_exposure_msat)
    # BOLT 2, update_add_htlc, sender: not below the peer's minimum, not above any limit.
    if amount_msat < balances.next_outbound_htlc_minimum_msat:
        return _("The channel takes no less than {amount} msat now.").format(
            amount=balances.next_outbound_htlc_minimum_msat
        )
    if amount_msat > balances.next_outbound_htlc_limit_msat:
        return _("The channel takes no more than {amount} msat now.").format(
            amount=balances.next_outbound_htlc_limit_msat
        )
    if exceeds_dust_exposure(channel, amount_msat, max_dust_exposure_msat):
        return _("Too many payments that are too small for the chain are on their way.")
    return None


def add_htlc(draft: Draft, add: AddedHtlc, source: HTLCSource) -> None:
    """Offers an HTLC that `refusal_to_add` has let pass, now or as soon as the peer has revoked."""
    if draft.is_awaiting_revocation:
        draft.held = (*draft.held, HeldAdd(add=add, source=source))
        return
    _send_add(draft, add, source)


def _send_add(draft: Draft, add: AddedHtlc, source: HTLCSource) -> None:
    htlc_id = draft.core.next_outbound_htlc_id
    add = replace(add, htlc_id=htlc_id)
    draft.core = replace(draft.core, next_outbound_htlc_id=htlc_id + 1)
    draft.outbound[htlc_id] = OutboundHtlc(add=add, source=source, stage=OutboundStage.SENT_ADD)
    draft.send(add_message(draft.channel, add))


def add_message(channel: FundedChannel, add: AddedHtlc) -> msgs.UpdateAddHtlc:
    return msgs.UpdateAddHtlc(
        channel_id=channel.channel_id,
        htlc_id=add.htlc_id,
        amount_msat=add.amount_msat,
        payment_hash=add.payment_hash,
        cltv_expiry_height=add.cltv_expiry_height,
        onion_routing_packet=add.onion_routing_packet,
        blinding_point=add.blinding_point,
    )


def removal_message(
    channel: FundedChannel, htlc_id: int, removal: Removal
) -> msgs.UpdateFulfillHtlc | msgs.UpdateFailHtlc | msgs.UpdateFailMalformedHtlc:
    match removal:
        case Fulfilled():
            return msgs.UpdateFulfillHtlc(
                channel_id=channel.channel_id,
                htlc_id=htlc_id,
                payment_preimage=removal.payment_preimage,
                attribution_data=removal.attribution_data,
            )
        case Failed():
            return msgs.UpdateFailHtlc(
                channel_id=channel.channel_id,
                htlc_id=htlc_id,
                reason=removal.reason,
                attribution_data=removal.attribution_data,
            )
        case FailedMalformed():
            return msgs.UpdateFailMalformedHtlc(
                channel_id=channel.channel_id,
                htlc_id=htlc_id,
                sha256_of_onion=removal.sha256_of_onion,
                failure_code=removal.failure_code,
            )


def remove_htlc(draft: Draft, htlc_id: int, removal: Removal) -> bool:
    """Removes an inbound HTLC, now or as soon as possible. False if that is done, or decided, already.

    A preimage wins over a failure that has not left yet.
    """
    htlc = draft.inbound.get(htlc_id)
    if htlc is None or htlc.removal is not None:
        return False
    # BOLT 2: no removal before the HTLC is irrevocably committed.
    if htlc.stage is not InboundStage.COMMITTED:
        raise InvariantError("an HTLC is to be removed before it is committed")
    for held in draft.held:
        if isinstance(held, HeldRemoval) and held.htlc_id == htlc_id:
            if isinstance(removal, Fulfilled) and not isinstance(held.removal, Fulfilled):
                kept = tuple(other for other in draft.held if other is not held)
                draft.held = (*kept, HeldRemoval(htlc_id=htlc_id, removal=removal))
                return True
            return False
    if draft.link is not Link.UP or draft.is_awaiting_revocation:
        draft.held = (*draft.held, HeldRemoval(htlc_id=htlc_id, removal=removal))
    else:
        _send_removal(draft, htlc, removal)
    return True


def _send_removal(draft: Draft, htlc: InboundHtlc, removal: Removal) -> None:
    htlc_id = htlc.add.htlc_id
    draft.inbound[htlc_id] = InboundHtlc(add=htlc.add, stage=InboundStage.SENT_REMOVE, removal=removal)
    draft.send(removal_message(draft.channel, htlc_id, removal))


def update_fee(draft: Draft, feerate_sat_per_kw: int, max_dust_exposure_msat: int) -> bool:
    """As the funder, asks for a new fee rate, if we can pay it. False if nothing came of it."""
    channel = draft.channel
    if not channel.terms.is_outbound:
        raise InvariantError("only the funder changes the fee rate")
    if draft.link is not Link.UP or not channel.is_ready:
        return False
    amounts = pending_amounts(draft)
    count = max(
        untrimmed_count(channel, amounts, feerate_sat_per_kw, of_holder=True),
        untrimmed_count(channel, amounts, feerate_sat_per_kw, of_holder=False),
    )
    fee_sat = commit_tx_fee_sat(feerate_sat_per_kw, count + 1, channel.channel_type)
    outbound_msat = sum(amount_msat for by_us, amount_msat in amounts if by_us)
    needed_sat = channel.terms.counterparty.channel_reserve_sat + anchors_cost_sat(draft.scope) + fee_sat
    if draft.core.value_to_self_msat - outbound_msat < needed_sat * 1000:
        return False
    # BOLT 2, update_fee, sender: do not make more dust than we would risk.
    buffered_sat_per_kw = dust_feerate(channel, feerate_sat_per_kw)
    for of_holder in (True, False):
        exposure_msat = dust_exposure_msat(channel, amounts, buffered_sat_per_kw, of_holder=of_holder)
        if not channel.channel_type.anchors and exposure_msat > max_dust_exposure_msat:
            return False
    if draft.is_awaiting_revocation or draft.core.fee_updates:
        draft.core = replace(draft.core, held_feerate_sat_per_kw=feerate_sat_per_kw)
        return True
    _send_fee(draft, feerate_sat_per_kw)
    return True


def _send_fee(draft: Draft, feerate_sat_per_kw: int) -> None:
    update = FeeUpdate(feerate_sat_per_kw=feerate_sat_per_kw, stage=FeeStage.SENT)
    draft.core = replace(draft.core, fee_updates=(*draft.core.fee_updates, update))
    draft.send(msgs.UpdateFee(channel_id=draft.channel.channel_id, feerate_sat_per_kw=feerate_sat_per_kw))


def free_held(draft: Draft, max_dust_exposure_msat: int) -> None:
    """Sends what was held, one commitment_signed for all; an add that no longer fits is given back."""
    if draft.link is not Link.UP or draft.is_awaiting_revocation:
        return
    feerate_sat_per_kw = draft.core.held_feerate_sat_per_kw
    if feerate_sat_per_kw is not None and not draft.core.fee_updates:
        draft.core = replace(draft.core, held_feerate_sat_per_kw=None)
        update_fee(draft, feerate_sat_per_kw, max_dust_exposure_msat)
    held, draft.held = draft.held, ()
    adds: list[HeldAdd] = []
    for update in held:
        if isinstance(update, HeldAdd):
            adds.append(update)
            continue
        htlc = draft.inbound.get(update.htlc_id)
        if htlc is not None and htlc.stage is InboundStage.COMMITTED:
            _send_removal(draft, htlc, update.removal)
    if adds:
        _send_held_adds(draft, adds, max_dust_exposure_msat)


def _send_held_adds(draft: Draft, adds: list[HeldAdd], max_dust_exposure_msat: int) -> None:
    for held in adds:
        reason = refusal_to_add(draft.frozen(), held.add.amount_msat, max_dust_exposure_msat)
        if reason is None:
            _send_add(draft, held.add, held.source)
        else:
            draft.tells.append(TellHeldAddFailed(held, reason))


def drop_held_adds(draft: Draft, reason: str) -> None:
    """Gives back every HTLC that was not offered yet."""
    kept: list[HeldUpdate] = []
    for held in draft.held:
        if isinstance(held, HeldAdd):
            draft.tells.append(TellHeldAddFailed(held, reason))
        else:
            kept.append(held)
    if len(kept) != len(draft.held):
        draft.held = tuple(kept)


# --- the peer's ---------------------------------------------------------------


def _check_may_update(draft: Draft, name: str) -> None:
    if draft.link is not Link.UP:
        raise ChannelError(f"{name} came before channel_reestablish.")
    if not draft.channel.is_ready:
        raise ChannelError(f"{name} came before channel_ready.")


def receive_add(draft: Draft, msg: msgs.UpdateAddHtlc) -> None:
    """BOLT 2, update_add_htlc, receiver; and sender, whose promises are ours to check."""
    _check_may_update(draft, "update_add_htlc")
    channel, core = draft.channel, draft.core
    ours = channel.terms.holder
    if core.closing is not None and core.closing.counterparty_script is not None:
        # BOLT 2, shutdown, sender: no update_add_htlc afterwards.
        raise ChannelError("update_add_htlc came after shutdown.")
    if msg.amount_msat == 0:
        raise ChannelError("update_add_htlc offers nothing.")
    if msg.amount_msat < ours.htlc_minimum_msat:
        raise ChannelError(
            f"update_add_htlc offers {msg.amount_msat} msat; our minimum is {ours.htlc_minimum_msat}."
        )
    if msg.htlc_id != core.next_inbound_htlc_id:
        raise ChannelError(
            f"update_add_htlc has the id {msg.htlc_id}; {core.next_inbound_htlc_id} comes next."
        )
    if msg.cltv_expiry_height >= MAX_CLTV_EXPIRY_HEIGHT:
        raise ChannelError("update_add_htlc expires at a time, rather than at a height.")
    # Those that we have removed from the peer's commitment, it need not count any more.
    here = [
        htlc.add.amount_msat
        for htlc in draft.inbound.values()
        if htlc.stage not in (InboundStage.SENT_REMOVE_COMMIT, InboundStage.RCVD_REMOVE_REVOCATION)
    ]
    if len(here) + 1 > ours.max_accepted_htlcs:
        raise ChannelError(f"update_add_htlc exceeds our limit of {ours.max_accepted_htlcs} HTLCs.")
    if sum(here) + msg.amount_msat > ours.max_htlc_value_in_flight_msat:
        raise ChannelError(
            f"update_add_htlc exceeds our limit of {ours.max_htlc_value_in_flight_msat} msat in flight."
        )
    balance_msat = counterparty_msat(draft) - msg.amount_msat
    if balance_msat < 0:
        raise ChannelError("update_add_htlc offers more than the channel holds for the sender.")
    needed_msat = ours.channel_reserve_sat * 1000
    if not channel.terms.is_outbound:
        # BOLT 2: the funder keeps enough for the fee and the anchors.
        amounts = [*pending_amounts(draft), (False, msg.amount_msat)]
        feerate_sat_per_kw = newest_feerate(core.feerate_sat_per_kw, core.fee_updates)
        stay = [amount for amount in amounts if not amount[0]] + _acknowledged_of_ours(draft)
        theirs_sat, ours_sat = (
            commit_tx_fee_sat(
                feerate_sat_per_kw,
                untrimmed_count(channel, stay, feerate_sat_per_kw, of_holder=of_holder),
                channel.channel_type,
            )
            + anchors_cost_sat(draft.scope)
            for of_holder in (False, True)
        )
        # What is dust to the funder may not be to us: our own commitment has to be paid for as well, be it from the
        # reserve, or it could not be broadcast.
        needed_msat = 1000 * max(ours.channel_reserve_sat + theirs_sat, ours_sat)
    if balance_msat < needed_msat:
        raise ChannelError("update_add_htlc leaves its sender less than its reserve and the fee.")
    draft.core = replace(core, next_inbound_htlc_id=msg.htlc_id + 1)
    draft.inbound[msg.htlc_id] = InboundHtlc(
        add=AddedHtlc(
            htlc_id=msg.htlc_id,
            amount_msat=msg.amount_msat,
            payment_hash=msg.payment_hash,
            cltv_expiry_height=msg.cltv_expiry_height,
            onion_routing_packet=msg.onion_routing_packet,
            blinding_point=msg.blinding_point,
        ),
        stage=InboundStage.RCVD_ADD,
    )


def _acknowledged_of_ours(draft: Draft) -> list[tuple[bool, int]]:
    """HTLCs of ours that the peer knew of, and could not remove, when it computed its fee."""
    return [
        (True, htlc.add.amount_msat)
        for htlc in draft.outbound.values()
        if htlc.stage in (OutboundStage.RCVD_ADD_REVOCATION, OutboundStage.COMMITTED)
    ]


def _removable(draft: Draft, htlc_id: int, name: str) -> OutboundHtlc:
    _check_may_update(draft, name)
    htlc = draft.outbound.get(htlc_id)
    if htlc is None:
        raise ChannelError(f"{name} names the HTLC {htlc_id}, which is not there.")
    # BOLT 2: a removal waits until the addition is irrevocably committed, and comes once.
    if htlc.stage is not OutboundStage.COMMITTED:
        raise ChannelError(f"{name} names the HTLC {htlc_id}, which cannot be removed now.")
    return htlc


def _remove(draft: Draft, htlc: OutboundHtlc, removal: Removal) -> None:
    draft.outbound[htlc.add.htlc_id] = OutboundHtlc(
        add=htlc.add, source=htlc.source, stage=OutboundStage.RCVD_REMOVE, removal=removal
    )


def receive_fulfill(draft: Draft, msg: msgs.UpdateFulfillHtlc) -> None:
    """The preimage is used at once: knowing it cannot be revoked."""
    htlc = _removable(draft, msg.htlc_id, "update_fulfill_htlc")
    if PaymentHash(sha256(msg.payment_preimage)) != htlc.add.payment_hash:
        raise ChannelError("The preimage in update_fulfill_htlc does not fit its HTLC.")
    _remove(
        draft,
        htlc,
        Fulfilled(payment_preimage=msg.payment_preimage, attribution_data=msg.attribution_data),
    )
    draft.tells.append(
        TellHtlcFulfilled(
            msg.htlc_id,
            htlc.source,
            htlc.add.payment_hash,
            msg.payment_preimage,
            htlc.add.amount_msat,
            msg.attribution_data,
        )
    )


def receive_fail(draft: Draft, msg: msgs.UpdateFailHtlc) -> None:
    htlc = _removable(draft, msg.htlc_id, "update_fail_htlc")
    _remove(draft, htlc, Failed(reason=msg.reason, attribution_data=msg.attribution_data))


def receive_fail_malformed(draft: Draft, msg: msgs.UpdateFailMalformedHtlc) -> None:
    htlc = _removable(draft, msg.htlc_id, "update_fail_malformed_htlc")
    if not msg.failure_code & BADONION:
        # BOLT 2, update_fail_malformed_htlc, receiver.
        raise ChannelError("update_fail_malformed_htlc has a code without the BADONION bit.")
    _remove(
        draft,
        htlc,
        FailedMalformed(sha256_of_onion=msg.sha256_of_onion, failure_code=msg.failure_code),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeBounds:
    """What fee rates we put up with from a funder, by our own estimates."""

    min_sat_per_kw: int
    max_sat_per_kw: int


def check_feerate(feerate_sat_per_kw: int, bounds: FeeBounds, current_sat_per_kw: int | None) -> None:
    """BOLT 2: neither too low for timely processing nor unreasonably large. A step in the right direction
    passes."""
    if feerate_sat_per_kw < bounds.min_sat_per_kw:
        if current_sat_per_kw is None or feerate_sat_per_kw <= current_sat_per_kw:
            raise ChannelError(
                f"The fee rate of {feerate_sat_per_kw} sat/kw is too low; at least {bounds.min_sat_per_kw} "
                "would be needed to be confirmed."
            )
    if feerate_sat_per_kw > bounds.max_sat_per_kw:
        if current_sat_per_kw is None or feerate_sat_per_kw >= current_sat_per_kw:
            raise ChannelError(
                f"The fee rate of {feerate_sat_per_kw} sat/kw is above our limit of {bounds.max_sat_per_kw}."
            )


def receive_update_fee(
    draft: Draft, msg: msgs.UpdateFee, bounds: FeeBounds, max_dust_exposure_msat: int
) -> None:
    """BOLT 2, update_fee, receiver."""
    _check_may_update(draft, "update_fee")
    channel, core = draft.channel, draft.core
    if channel.terms.is_outbound:
        raise ChannelError("update_fee came from the side that does not pay the fee.")
    feerate_sat_per_kw = msg.feerate_sat_per_kw
    if channel.channel_type.anchors:
        # With anchors a commitment need only be relayed, for a child can pay for it: that is no reason to close.
        bounds = replace(bounds, min_sat_per_kw=min(bounds.min_sat_per_kw, FLOOR_FEERATE_SAT_PER_KW))
    check_feerate(feerate_sat_per_kw, bounds, core.feerate_sat_per_kw)
    # BOLT 2: the sender can afford it, on our current commitment.
    here = [
        (True, htlc.add.amount_msat)
        for htlc in draft.outbound.values()
        if htlc.stage in IN_HOLDER_COMMITMENT_OUTBOUND
    ]
    here += [
        (False, htlc.add.amount_msat)
        for htlc in draft.inbound.values()
        if htlc.stage in IN_HOLDER_COMMITMENT_INBOUND
    ]
    count = untrimmed_count(channel, here, feerate_sat_per_kw, of_holder=True)
    cost_sat = commit_tx_fee_sat(feerate_sat_per_kw, count, channel.channel_type)
    cost_sat += anchors_cost_sat(draft.scope)
    if counterparty_msat(draft) < cost_sat * 1000:
        raise ChannelError("update_fee asks for more than its sender can pay.")
    if not channel.channel_type.anchors and feerate_sat_per_kw > core.feerate_sat_per_kw:
        for of_holder in (True, False):
            exposure_msat = dust_exposure_msat(
                channel, pending_amounts(draft), feerate_sat_per_kw, of_holder=of_holder
            )
            if exposure_msat > max_dust_exposure_msat:
                raise ChannelError("update_fee would turn too many HTLCs into dust.")
    kept = tuple(update for update in core.fee_updates if update.stage is not FeeStage.RCVD)
    update = FeeUpdate(feerate_sat_per_kw=feerate_sat_per_kw, stage=FeeStage.RCVD)
    draft.core = replace(core, fee_updates=(*kept, update))
