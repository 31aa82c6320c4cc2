"""What the chain means to a channel: its funding's depth, reorganisations, HTLCs that run out of time."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from wallet.bitcoin.tx import BlockHash
from wallet.i18n import _
from wallet.ln import msgs
from wallet.ln.channel_htlcs import drop_held_adds
from wallet.ln.channel_reestablish import send_channel_ready
from wallet.ln.channel_state import (
    FundedChannel,
    FundingConfirmation,
    HeldAdd,
    HeldUpdate,
    Link,
)
from wallet.ln.channel_step import (
    BroadcastFunding,
    Draft,
    TellChannelClosed,
    TellChannelReady,
    TellHeldAddFailed,
)
from wallet.ln.config import LATENCY_GRACE_PERIOD_BLOCKS
from wallet.ln.events import ClosureKind, ClosureReason
from wallet.ln.types import ChannelError

__all__ = [
    "FUNDING_DEADLINE_BLOCKS",
    "become_ready",
    "best_block",
    "funding_confirmed",
    "funding_deadline_height",
    "funding_unconfirmed",
    "receive_channel_ready",
]

FUNDING_DEADLINE_BLOCKS: Final = 2016
"""BOLT 2, channel_ready: a fundee forgets a channel whose funding has not confirmed for so long."""


def depth_reached(channel: FundedChannel, best_height: int) -> bool:
    """`channel_ready` may be sent."""
    terms = channel.terms
    if terms.minimum_depth_blocks == 0:
        return terms.may_use_unconfirmed
    return channel.scope.confirmations(best_height) >= terms.minimum_depth_blocks


def become_ready(draft: Draft, best_height: int, first_point: bytes) -> None:
    """Sends `channel_ready` once the funding is deep enough. `first_point`: of our commitment number 1."""
    if draft.core.holder_ready or not depth_reached(draft.frozen(), best_height):
        return
    draft.core = replace(draft.core, holder_ready=True)
    if draft.link is Link.UP:
        send_channel_ready(draft, first_point)
    if draft.core.counterparty_ready:
        draft.tells.append(TellChannelReady())


def receive_channel_ready(draft: Draft, msg: msgs.ChannelReady) -> None:
    """BOLT 2, channel_ready, receiver. A repeated one may bring another alias, and nothing else."""
    core = draft.core
    if draft.link is not Link.UP:
        raise ChannelError("channel_ready came before channel_reestablish.")
    alias = msg.short_channel_id_alias
    if alias is not None and alias != core.counterparty_alias:
        draft.core = core = replace(core, counterparty_alias=alias)
    if core.counterparty_ready:
        if core.counterparty_revoked == 0 and core.counterparty_next_point not in (
            None,
            msg.second_per_commitment_point,
        ):
            raise ChannelError("channel_ready came again with another point.")
        return
    draft.core = replace(
        core, counterparty_ready=True, counterparty_next_point=msg.second_per_commitment_point
    )
    if core.holder_ready:
        draft.tells.append(TellChannelReady())


def funding_confirmed(draft: Draft, place: FundingConfirmation) -> None:
    if draft.scope.confirmation != place:
        draft.scope = replace(draft.scope, confirmation=place, lost_at_height=None)


def funding_unconfirmed(draft: Draft, highest_height: int) -> None:
    """The funding left the best chain. It may come back with the next blocks; `best_block` judges.

    `highest_height`: of any tip there was: a branch is no better than the one before until it is longer.
    """
    if draft.scope.confirmation is not None:
        draft.scope = replace(draft.scope, confirmation=None, lost_at_height=highest_height)


def funding_deadline_height(channel: FundedChannel | Draft) -> int | None:
    """Until when the peer's funding is waited for, while it has never been deep enough; None where that is no question.

    BOLT 2, channel_ready: the fundee forgets a channel whose funding never came.
    """
    terms = channel.channel.terms if isinstance(channel, Draft) else channel.terms
    if terms.is_outbound or channel.scope.confirmation is not None or channel.core.holder_ready:
        return None
    return terms.opened_at_height + FUNDING_DEADLINE_BLOCKS


def best_block(
    draft: Draft, best_hash: BlockHash, best_height: int, highest_height: int, first_point: bytes
) -> None:
    """A new tip: ready, too late, or an HTLC that can no longer be offered."""
    place = draft.scope.confirmation
    if place is not None and (
        place.height > best_height or (place.height == best_height and place.block_hash != best_hash)
    ):
        # A tip that is lower, or another at the same height: nobody need name what stood above it.
        funding_unconfirmed(draft, highest_height)
    channel = draft.channel
    scope, terms = draft.scope, channel.terms
    lost = scope.lost_at_height
    if scope.confirmation is None and lost is not None and draft.core.holder_ready:
        # One block more than a better branch needs: its tip may be told before its transactions.
        if best_height > lost + 1 and not terms.may_use_unconfirmed:
            _close(
                draft,
                ClosureReason(
                    ClosureKind.PROCESSING_ERROR,
                    "The funding transaction was confirmed, and left the chain again.",
                ),
                broadcast=True,
            )
            return
    deadline_height = funding_deadline_height(draft)
    if deadline_height is not None and best_height >= deadline_height:
        _close(
            draft,
            ClosureReason(ClosureKind.FUNDING_TIMED_OUT, "The funding transaction did not confirm."),
            broadcast=False,
        )
        return
    become_ready(draft, best_height, first_point)
    kept: list[HeldUpdate] = []
    for held in draft.held:
        if isinstance(held, HeldAdd) and (
            held.add.cltv_expiry_height <= best_height + LATENCY_GRACE_PERIOD_BLOCKS
        ):
            draft.tells.append(TellHeldAddFailed(held, _("The payment waited too long to be offered.")))
        else:
            kept.append(held)
    if len(kept) != len(draft.held):
        draft.held = tuple(kept)
    if scope.confirmation is None and scope.funding_tx is not None:
        draft.effects.append(BroadcastFunding(scope.funding_tx))


def _close(draft: Draft, reason: ClosureReason, *, broadcast: bool) -> None:
    drop_held_adds(draft, _("The channel is closed."))
    draft.tells.append(TellChannelClosed(reason, broadcast=broadcast, message=reason.message))
