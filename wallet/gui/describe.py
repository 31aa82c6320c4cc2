"""Words and marks for the node's states: one place, used by pages, rows and models alike."""

from __future__ import annotations

from wallet.gui import format as fmt
from wallet.i18n import _, ngettext
from wallet.node.api import (
    ActivityDirection,
    ActivityItem,
    ActivityKind,
    ActivityStatus,
    ChannelPhase,
    ChannelView,
    NodeStatus,
    RecoveryView,
    RequestStatus,
)

__all__ = [
    "CLOSED", "channel_look", "channel_sentence", "channel_wait", "item_amount", "item_icon", "item_state",
    "item_title", "item_tone", "item_worth", "phase_look", "problem_sentence", "request_look",
    "restored_sentence", "together_problem",
]  # fmt: skip

CLOSED = frozenset({ChannelPhase.CLOSING, ChannelPhase.FORCE_CLOSING, ChannelPhase.CLOSED})
"""Phases of a channel that carries no payments any more and never will."""


def item_title(item: ActivityItem) -> str:
    """The user's own words first, then whom, then what."""
    if item.label:
        return fmt.foreign(item.label, 80)
    if item.counterparty and item.amount_msat:
        return fmt.foreign(item.counterparty, 60)
    if item.amount_msat:
        return _("Received") if item.amount_msat > 0 else _("Sent")
    if item.channel_id is None:
        return _("Moved to an address of your own")
    return _("Moved home from a channel") if item.moved_msat else _("Fee for closing a channel")


def item_amount(item: ActivityItem) -> str:
    """With its sign; what was only moved has none."""
    if item.direction is ActivityDirection.MOVED:
        return fmt.number(item.moved_msat)
    return fmt.signed(item.amount_msat)


def item_worth(item: ActivityItem) -> str:
    """What it was worth on its day; empty where the person wants none of that, or nothing is known."""
    moved = item.direction is ActivityDirection.MOVED
    return fmt.in_fiat_then(item.moved_msat if moved else item.amount_msat, item.at)


def item_tone(item: ActivityItem) -> str:
    """The token of its amount."""
    if item.status is ActivityStatus.FAILED:
        return "text3"
    return {
        ActivityDirection.IN: "success",
        ActivityDirection.OUT: "text",
        ActivityDirection.MOVED: "text2",
    }[item.direction]


def item_icon(item: ActivityItem) -> tuple[str, str]:
    """(icon, token): what the row's mark shows."""
    if item.status is ActivityStatus.FAILED:
        return "cross-circle", "danger"
    if item.status is ActivityStatus.PENDING:
        return "hourglass", "brass"
    return {
        ActivityDirection.IN: ("receive", "success"),
        ActivityDirection.OUT: ("send", "text2"),
        ActivityDirection.MOVED: ("moved", "text2"),
    }[item.direction]


def item_state(item: ActivityItem) -> str:
    layer = _("Lightning") if item.kind is ActivityKind.LIGHTNING else _("On chain")
    if item.direction is ActivityDirection.MOVED:
        moved = _("moved, still yours")
        layer = f"{layer} · {moved}"
    text = fmt.retold(fmt.plain(item.status_text))
    return f"{layer} · {text}" if item.status is not ActivityStatus.DONE and text else layer


def channel_look(channel: ChannelView) -> tuple[str, str, str]:
    """(word, tone, icon) of how a channel stands."""
    if channel.held and channel.phase not in CLOSED:
        return _("Held back"), "warning", "lock"
    return phase_look(channel.phase)


def phase_look(phase: ChannelPhase) -> tuple[str, str, str]:
    """(word, tone, icon) of a channel's phase."""
    return {
        ChannelPhase.NEGOTIATING: (_("Negotiating"), "neutral", "hourglass"),
        ChannelPhase.AWAITING_CONFIRMATIONS: (_("Confirming"), "accent", "hourglass"),
        ChannelPhase.AWAITING_PEER: (_("Waiting for the peer"), "accent", "hourglass"),
        ChannelPhase.READY: (_("Ready"), "success", "check"),
        ChannelPhase.PEER_OFFLINE: (_("Peer offline"), "warning", "offline"),
        ChannelPhase.SHUTTING_DOWN: (_("Shutting down"), "neutral", "hourglass"),
        ChannelPhase.CLOSING: (_("Closing"), "neutral", "hourglass"),
        ChannelPhase.FORCE_CLOSING: (_("Force-closing"), "warning", "hourglass"),
        ChannelPhase.CLOSED: (_("Closed"), "neutral", "close"),
    }[phase]


def channel_sentence(channel: ChannelView) -> str:
    """What a channel waits for; for one that is held, why nothing is done."""
    if channel.held and channel.phase not in CLOSED:
        return _(
            "Restored: not closed from here before its peer has shown that this wallet file is current. That comes by "
            "itself once the peer is online."
        )
    return fmt.plain(channel.phase_text, 240)


def channel_wait(channel: ChannelView) -> str:
    """How far an opening is, short enough for a cell: "1 of 3, about 20 minutes"; empty for all else."""
    if channel.phase is not ChannelPhase.AWAITING_CONFIRMATIONS:
        return ""
    need = max(1, channel.confirmations_required)
    have = min(channel.confirmations, need)
    time = fmt.seconds_long(max(1, need - have) * fmt.SECONDS_PER_BLOCK)
    return _("{have} of {need}, {time}").format(have=have, need=need, time=time)


def together_problem(channel: ChannelView) -> str:
    """Why a channel cannot be closed together with its peer now; empty where it can. Payments on their way are no
    hindrance: the closing waits for them."""
    if channel.phase in CLOSED:
        return _("This channel is closed already.")
    if channel.phase is ChannelPhase.SHUTTING_DOWN:
        return _("Closing together is under way already. Should it take long, close without the peer.")
    if channel.phase is ChannelPhase.NEGOTIATING:
        return _("The opening is not agreed on yet: there is nothing to close together.")
    if not channel.peer_online:
        return _(
            "The peer is not connected, so it cannot agree to a closing. Wait until it is back, or close without it."
        )
    return ""


def restored_sentence(recovery: RecoveryView) -> str:
    """What a restored wallet waits for first; empty for any other."""
    if recovery.asks:
        return _(
            "This wallet was restored. The peers of its channels are left alone until you say that no other copy of "
            "it runs."
        )
    if recovery.held:
        return ngettext(
            "Restored wallet: this file may be an old copy. {n} channel is not closed from here before its peer has "
            "shown that the file is current.",
            "Restored wallet: this file may be an old copy. {n} channels are not closed from here before their peers "
            "have shown that the file is current.",
            recovery.held,
        ).format(n=recovery.held)
    if recovery.lost:
        return ngettext(
            "Restored wallet: {n} channel of your backup waits for its peer to close it.",
            "Restored wallet: {n} channels of your backup wait for their peers to close them.",
            recovery.lost,
        ).format(n=recovery.lost)
    return ""


def problem_sentence(status: NodeStatus) -> str:
    """What needs attention first, in the window's words; empty when all is well."""
    restored = restored_sentence(status.recovery)
    if restored and status.problem == status.recovery.problem:
        return restored
    return fmt.plain(status.problem, 300)


def request_look(status: RequestStatus) -> tuple[str, str, str]:
    """(word, tone, icon) of a request."""
    return {
        RequestStatus.UNPAID: (_("Waiting"), "neutral", "hourglass"),
        RequestStatus.PENDING: (_("Arriving"), "accent", "hourglass"),
        RequestStatus.PAID: (_("Paid"), "success", "check"),
        RequestStatus.EXPIRED: (_("Expired"), "neutral", "clock"),
        RequestStatus.HELD: (_("Held"), "warning", "lock"),
        RequestStatus.CANCELLED: (_("Cancelled"), "neutral", "close"),
    }[status]
