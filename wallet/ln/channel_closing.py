"""Co-operative closing: `shutdown`, then `closing_signed` with fee ranges. BOLT 2, channel close (legacy
form)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from wallet.bitcoin import curve
from wallet.i18n import _
from wallet.ln import msgs
from wallet.ln.chan_utils import ClosingTransaction, build_closing_transaction, commitment_sighash
from wallet.ln.channel_htlcs import drop_held_adds
from wallet.ln.channel_open import is_legal_shutdown_script
from wallet.ln.channel_state import ClosingNegotiation, ClosingState, Link
from wallet.ln.channel_step import BroadcastClosing, Draft, SignClosing, TellChannelClosed
from wallet.ln.events import ClosureKind, ClosureReason
from wallet.ln.types import ChannelError, InvariantError, PeerError

__all__ = ["ClosingFees", "begin_shutdown", "continue_closing", "receive_closing_signed", "receive_shutdown"]

_CLOSING_WEIGHT_WITHOUT_OUTPUTS: Final = 4 * (4 + 1 + 41 + 1 + 4) + 2 + (1 + 1 + 73 + 73 + 72)
"""BOLT 3, closing transaction: one input; its witness has two signatures of at most 72 bytes and a 71-byte
script."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingFees:
    """What a co-operative close may cost, by our own estimates.

    Attributes:
        min_sat_per_kw: below it, the transaction would not be relayed.
        target_sat_per_kw: what we propose as the funder.
        max_extra_sat: what we would pay above our target to be spared a force-close.
    """

    min_sat_per_kw: int
    target_sat_per_kw: int
    max_extra_sat: int


def _scripts(draft: Draft) -> tuple[bytes, bytes] | None:
    closing = draft.core.closing
    if closing is None or closing.holder_script is None or closing.counterparty_script is None:
        return None
    return closing.holder_script, closing.counterparty_script


def begin_shutdown(
    draft: Draft, script: bytes, *, holder_initiated: bool, target_feerate_sat_per_kw: int | None = None
) -> None:
    """Decides to close: from now on nothing new is offered. The `shutdown` leaves now, or at the
    reconnection."""
    closing = draft.core.closing or ClosingState()
    if closing.holder_script is not None:
        return
    fixed = draft.channel.terms.holder.upfront_shutdown_script
    if fixed:
        # BOLT 2, shutdown, sender: what was fixed at the opening stays.
        script = fixed
    draft.core = replace(
        draft.core,
        held_feerate_sat_per_kw=None,
        closing=replace(
            closing,
            holder_script=script,
            holder_initiated=holder_initiated,
            target_feerate_sat_per_kw=target_feerate_sat_per_kw,
        ),
    )
    drop_held_adds(draft, _("The channel is being closed."))
    if draft.link is Link.UP:
        send_shutdown(draft)


def send_shutdown(draft: Draft) -> None:
    closing = draft.core.closing
    if closing is None or closing.holder_script is None:
        raise InvariantError("shutdown is to be sent without a script")
    draft.send(msgs.Shutdown(channel_id=draft.channel.channel_id, script_pubkey=closing.holder_script))


def receive_shutdown(draft: Draft, msg: msgs.Shutdown, our_script: bytes, *, any_segwit: bool) -> None:
    """BOLT 2, shutdown, receiver. Answers with our own, if that has not been sent."""
    if draft.link is not Link.UP:
        raise ChannelError("shutdown came before channel_reestablish.")
    if not is_legal_shutdown_script(msg.script_pubkey, any_segwit=any_segwit):
        raise PeerError("The script in shutdown is of no form that BOLT 2 allows.")
    fixed = draft.channel.terms.counterparty.upfront_shutdown_script
    if fixed and fixed != msg.script_pubkey:
        # BOLT 2: whoever fixed its script at the opening, and sends another, is hung up on.
        raise PeerError("The script in shutdown is not the one that was fixed at the opening.")
    closing = draft.core.closing or ClosingState()
    if closing.counterparty_script is not None and closing.counterparty_script != msg.script_pubkey:
        raise PeerError("shutdown came again with another script.")
    if closing.counterparty_script is None:
        draft.core = replace(draft.core, closing=replace(closing, counterparty_script=msg.script_pubkey))
        drop_held_adds(draft, _("The channel is being closed."))
    if closing.holder_script is None:
        begin_shutdown(draft, our_script, holder_initiated=False)


# --- closing_signed -----------------------------------------------------------


def _is_clear(draft: Draft) -> bool:
    """BOLT 2: no HTLC is left in either commitment, no update is pending, nobody owes a revocation."""
    return (
        not draft.outbound
        and not draft.inbound
        and not draft.held
        and not draft.core.fee_updates
        and not draft.is_awaiting_revocation
    )


def _weight(scripts: tuple[bytes, bytes]) -> int:
    return _CLOSING_WEIGHT_WITHOUT_OUTPUTS + sum(4 * (8 + 1 + len(script)) for script in scripts)


def _funder_sat(draft: Draft) -> int:
    total_msat = draft.channel.channel_value_sat * 1000
    ours_msat = draft.core.value_to_self_msat
    return (ours_msat if draft.channel.terms.is_outbound else total_msat - ours_msat) // 1000


def _fee_range(draft: Draft, scripts: tuple[bytes, bytes], fees: ClosingFees) -> tuple[int, int, int]:
    """(least, proposed, most) in satoshis."""
    weight = _weight(scripts)
    funder_sat = _funder_sat(draft)
    closing = draft.core.closing
    wanted = closing.target_feerate_sat_per_kw if closing is not None else None
    target_sat = weight * max(wanted or fees.target_sat_per_kw, fees.min_sat_per_kw) // 1000
    least_sat = min(weight * fees.min_sat_per_kw // 1000, funder_sat)
    if not draft.channel.terms.is_outbound:
        # BOLT 2, closing_signed, sender: the side that does not pay sets no upper limit.
        return least_sat, min(target_sat, funder_sat), funder_sat
    most_sat = min(target_sat + fees.max_extra_sat, funder_sat)
    return least_sat, min(target_sat, most_sat), most_sat


def _closing_transactions(
    draft: Draft, scripts: tuple[bytes, bytes], fee_sat: int
) -> Iterator[ClosingTransaction]:
    """The close at this fee: first ours, then the other forms that the peer may have signed.

    BOLT 3, closing transaction: each side drops outputs below its own dust limit, and may drop its own.
    """
    terms = draft.channel.terms
    holder_sat = draft.core.value_to_self_msat // 1000
    counterparty_sat = (draft.channel.channel_value_sat * 1000 - draft.core.value_to_self_msat) // 1000
    if terms.is_outbound:
        holder_sat -= fee_sat
    else:
        counterparty_sat -= fee_sat
    if holder_sat < 0 or counterparty_sat < 0:
        raise ChannelError(f"A closing fee of {fee_sat} sat is more than its payer has.")
    seen: set[tuple[int, int]] = set()
    for dust_limit_sat, drop_theirs in (
        (terms.holder.dust_limit_sat, False),
        (terms.counterparty.dust_limit_sat, False),
        (terms.holder.dust_limit_sat, True),
    ):
        amounts = (
            holder_sat if holder_sat >= dust_limit_sat else 0,
            0 if drop_theirs or counterparty_sat < dust_limit_sat else counterparty_sat,
        )
        if amounts in seen or amounts == (0, 0):
            continue
        seen.add(amounts)
        yield build_closing_transaction(
            draft.scope.params,
            to_holder_sat=amounts[0],
            to_counterparty_sat=amounts[1],
            to_holder_script=scripts[0],
            to_counterparty_script=scripts[1],
        )


def _propose(draft: Draft, scripts: tuple[bytes, bytes], fee_sat: int, fee_range: tuple[int, int]) -> None:
    closing = next(_closing_transactions(draft, scripts, fee_sat), None)
    if closing is None:
        raise ChannelError("A closing transaction would have no output.")
    draft.effects.append(SignClosing(closing, fee_range[1]))
    draft.send(
        msgs.ClosingSigned(
            channel_id=draft.channel.channel_id, fee_sat=fee_sat, signature=bytes(64), fee_range=fee_range
        )
    )
    before = draft.negotiation
    draft.negotiation = ClosingNegotiation(
        fee_range=fee_range,
        sent_fee_sat=fee_sat,
        received_fee_sat=before.received_fee_sat if before is not None else None,
    )


def continue_closing(draft: Draft, fees: ClosingFees) -> None:
    """As the funder, makes the first proposal once the channel is clear; otherwise does nothing."""
    scripts = _scripts(draft)
    if scripts is None or draft.link is not Link.UP or not draft.channel.terms.is_outbound:
        return
    if not _is_clear(draft) or draft.negotiation is not None:
        return
    least_sat, proposed_sat, most_sat = _fee_range(draft, scripts, fees)
    _propose(draft, scripts, proposed_sat, (least_sat, most_sat))


def receive_closing_signed(draft: Draft, msg: msgs.ClosingSigned, fees: ClosingFees) -> None:
    """BOLT 2, closing_signed, receiver: agree, propose, or fail."""
    scripts = _scripts(draft)
    if scripts is None or draft.link is not Link.UP:
        raise ChannelError("closing_signed came before both sides had sent shutdown.")
    if not _is_clear(draft):
        raise ChannelError("closing_signed came while updates were still pending.")
    signed = _verified(draft, scripts, msg)
    least_sat, proposed_sat, most_sat = _fee_range(draft, scripts, fees)
    negotiation = draft.negotiation
    is_funder = draft.channel.terms.is_outbound
    ours = negotiation.fee_range if negotiation is not None else (least_sat, most_sat)
    sent_sat = negotiation.sent_fee_sat if negotiation is not None else None
    if sent_sat == msg.fee_sat:
        _agree(draft, signed, msg, ours)
        return
    if is_funder and negotiation is None:
        raise ChannelError("closing_signed came before the funder's.")
    if msg.fee_range is not None:
        low_sat, high_sat = max(ours[0], msg.fee_range[0]), min(ours[1], msg.fee_range[1])
        if low_sat > high_sat:
            raise PeerError(
                f"The closing fees of {msg.fee_range[0]} to {msg.fee_range[1]} sat and of {ours[0]} to "
                f"{ours[1]} sat have nothing in common.",
                disconnect=False,
            )
        if is_funder:
            if not low_sat <= msg.fee_sat <= high_sat:
                raise ChannelError("The closing fee is outside of what both sides agreed to.")
        elif sent_sat is not None:
            raise ChannelError("The funder answered with another closing fee than it was offered.")
        elif not low_sat <= msg.fee_sat <= high_sat:
            _remember(draft, ours, msg)
            _propose(draft, scripts, min(max(proposed_sat, low_sat), high_sat), ours)
            return
    elif not ours[0] <= msg.fee_sat <= ours[1]:
        _haggle(draft, scripts, msg, ours)
        return
    _propose(draft, scripts, msg.fee_sat, ours)
    _agree(draft, signed, msg, ours)


def _verified(draft: Draft, scripts: tuple[bytes, bytes], msg: msgs.ClosingSigned) -> ClosingTransaction:
    params = draft.scope.params
    for closing in _closing_transactions(draft, scripts, msg.fee_sat):
        digest = commitment_sighash(params, closing.tx)
        if curve.verify_ecdsa(msg.signature, digest, params.counterparty_pubkeys.funding_pubkey):
            return closing
    raise ChannelError("The signature in closing_signed is not valid.")


def _remember(draft: Draft, ours: tuple[int, int], msg: msgs.ClosingSigned) -> None:
    negotiation = draft.negotiation or ClosingNegotiation(fee_range=ours)
    draft.negotiation = replace(negotiation, received_fee_sat=msg.fee_sat)


def _haggle(
    draft: Draft, scripts: tuple[bytes, bytes], msg: msgs.ClosingSigned, ours: tuple[int, int]
) -> None:
    """A peer without fee ranges: BOLT 2 has both come closer with each proposal."""
    negotiation = draft.negotiation
    if negotiation is not None and negotiation.sent_fee_sat is not None:
        if negotiation.received_fee_sat is not None:
            low_sat, high_sat = sorted((negotiation.sent_fee_sat, negotiation.received_fee_sat))
            if not low_sat < msg.fee_sat < high_sat:
                raise PeerError("The closing fee does not lie between the proposals before it.")
        answer_sat = (negotiation.sent_fee_sat + msg.fee_sat) // 2
        answer_sat = min(max(answer_sat, ours[0]), ours[1])
        if answer_sat == negotiation.sent_fee_sat:
            raise ChannelError(f"We cannot agree to a closing fee of {msg.fee_sat} sat.")
    else:
        answer_sat = min(max(msg.fee_sat, ours[0]), ours[1])
    _remember(draft, ours, msg)
    _propose(draft, scripts, answer_sat, ours)


def _agree(draft: Draft, closing: ClosingTransaction, msg: msgs.ClosingSigned, ours: tuple[int, int]) -> None:
    draft.effects.append(BroadcastClosing(closing, msg.signature, msg.fee_sat, ours[1]))
    state = draft.core.closing
    by_us = state is not None and state.holder_initiated
    kind = ClosureKind.COOPERATIVE_BY_HOLDER if by_us else ClosureKind.COOPERATIVE_BY_COUNTERPARTY
    draft.tells.append(TellChannelClosed(ClosureReason(kind), broadcast=False, message=None))
