"""The channels as a table. `sync` brings it to a snapshot by inserting, moving and changing single rows; the
order and what is searched for are `arranged` before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PyQt6.QtCore import QModelIndex, Qt

from wallet.gui import format as fmt
from wallet.gui.describe import channel_look, channel_sentence, channel_wait
from wallet.gui.models.columns import ColumnsModel
from wallet.gui.tips import plain_tip
from wallet.i18n import _
from wallet.node.api import ChannelPhase, ChannelView

__all__ = [
    "CHANNEL_ROLE",
    "ORDERS",
    "WAIT_ROLE",
    "WORTH_ROLE",
    "ChannelsModel",
    "arranged",
    "order_words",
    "uptime_text",
]

CHANNEL_ROLE = Qt.ItemDataRole.UserRole + 1
WORTH_ROLE = Qt.ItemDataRole.UserRole + 2
"""What an amount is worth in the person's money, where that was chosen."""
WAIT_ROLE = Qt.ItemDataRole.UserRole + 3
"""How far an opening is."""
PEER, STATE, CAN_SEND, CAN_RECEIVE, CAPACITY, UPTIME, EARNED = COLUMNS = range(7)

ORDERS = ("name", "state", "send", "receive", "capacity", "uptime", "earned")
"""By what channels are sorted, one a column."""
_PHASES = {phase: place for place, phase in enumerate(ChannelPhase)}


def order_words(order: str) -> str:
    return {
        "name": _("Name"),
        "state": _("State"),
        "send": _("Can send"),
        "receive": _("Can receive"),
        "capacity": _("Capacity"),
        "uptime": _("Uptime"),
        "earned": _("Fees earned"),
    }[order]


def uptime_text(channel: ChannelView) -> str:
    """How much of the time the peer was there, while we were: "98.5 %"; a dash before that says anything."""
    permille = channel.uptime_permille
    return "–" if permille is None else f"{permille // 10}.{permille % 10}\u00a0%"


def _key(channel: ChannelView, order: str) -> tuple[int | str, ...]:
    name = fmt.node_name(channel.peer_alias, channel.peer_id).casefold()
    match order:
        case "state":
            return (_PHASES[channel.phase], name)
        case "send":
            return (channel.can_send_msat, name)
        case "receive":
            return (channel.can_receive_msat, name)
        case "capacity":
            return (channel.capacity_sat, name)
        case "uptime":
            return (-1 if channel.uptime_permille is None else channel.uptime_permille, name)
        case "earned":
            return (channel.fees_earned_msat, name)
        case _:
            return (name, channel.channel_id)


def arranged(
    channels: Sequence[ChannelView], *, text: str = "", order: str = "", descending: bool = True
) -> list[ChannelView]:
    """Those that a search finds by name, id, state or channel id, in an order; without one as they come."""
    wanted = text.strip().casefold()
    found = [
        channel
        for channel in channels
        if not wanted
        or any(
            wanted in part.casefold()
            for part in (
                fmt.node_name(channel.peer_alias, channel.peer_id),
                channel.peer_id,
                channel.channel_id,
                channel.short_channel_id or "",
                channel.funding_txid or "",
                channel_look(channel)[0],
            )
        )
    ]
    if order:
        found.sort(key=lambda channel: _key(channel, order), reverse=descending)
    return found


class ChannelsModel(ColumnsModel):
    """One row a channel: peer, state, can send, can receive, capacity, uptime, fees earned."""

    columns = len(COLUMNS)
    first_number = CAN_SEND

    def __init__(self, channels: Sequence[ChannelView] = ()) -> None:
        super().__init__()
        self._rows: list[ChannelView] = list(channels)

    # --- reading ----------------------------------------------------------------

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self._rows)

    def channel(self, row: int) -> ChannelView | None:
        return self._rows[row] if 0 <= row < len(self._rows) else None

    def headings(self) -> Sequence[str]:
        unit = fmt.unit()
        return (
            _("Peer"),
            _("State"),
            _("Can send ({unit})").format(unit=unit),
            _("Can receive ({unit})").format(unit=unit),
            _("Capacity ({unit})").format(unit=unit),
            _("Uptime"),
            _("Earned ({unit})").format(unit=unit),
        )

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        channel = self.channel(index.row()) if index.isValid() else None
        if channel is None:
            return None
        if role == CHANNEL_ROLE:
            return channel
        if role == WAIT_ROLE:
            return channel_wait(channel) if index.column() == STATE else ""
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self.alignment(index.column())
        if role == Qt.ItemDataRole.ToolTipRole and index.column() == STATE:
            return plain_tip(channel_sentence(channel))
        if role == Qt.ItemDataRole.ToolTipRole and index.column() == PEER:
            return plain_tip(self._text(channel, PEER))
        if role == WORTH_ROLE or (
            role == Qt.ItemDataRole.ToolTipRole
            and index.column() in {CAN_SEND, CAN_RECEIVE, CAPACITY, EARNED}
        ):
            return self._worth(channel, index.column())
        if role == Qt.ItemDataRole.AccessibleTextRole:
            header = self.headerData(index.column(), Qt.Orientation.Horizontal)
            worth = self._worth(channel, index.column())
            if index.column() == STATE:
                worth = channel_wait(channel)
            return f"{header}: {self._text(channel, index.column())} {worth}".rstrip()
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(channel, index.column())
        return None

    @staticmethod
    def _text(channel: ChannelView, column: int) -> str:
        if column == PEER:
            return fmt.node_name(channel.peer_alias, channel.peer_id)
        if column == STATE:
            return channel_look(channel)[0]
        if column == CAN_SEND:
            return fmt.number(channel.can_send_msat)
        if column == CAN_RECEIVE:
            return fmt.number(channel.can_receive_msat)
        if column == UPTIME:
            return uptime_text(channel)
        if column == EARNED:
            return fmt.number(channel.fees_earned_msat)
        return fmt.number_sat(channel.capacity_sat)

    @staticmethod
    def _worth(channel: ChannelView, column: int) -> str:
        amounts_msat = {
            CAN_SEND: channel.can_send_msat,
            CAN_RECEIVE: channel.can_receive_msat,
            CAPACITY: channel.capacity_sat * 1000,
            EARNED: channel.fees_earned_msat,
        }
        amount_msat = amounts_msat.get(column, 0)
        return fmt.in_fiat(amount_msat) if amount_msat else ""

    # --- following --------------------------------------------------------------

    def sync(self, channels: Sequence[ChannelView]) -> None:
        """Rows that went are removed, new ones appended, changed ones told of; then all are put in their order."""
        wanted = {channel.channel_id: channel for channel in channels}
        for row in reversed(range(len(self._rows))):
            if self._rows[row].channel_id not in wanted:
                self.beginRemoveRows(QModelIndex(), row, row)
                del self._rows[row]
                self.endRemoveRows()
        for row, old in enumerate(self._rows):
            new = wanted[old.channel_id]
            if new != old:
                self._rows[row] = new
                self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))
        known = {channel.channel_id for channel in self._rows}
        added = [channel for channel in channels if channel.channel_id not in known]
        if added:
            first = len(self._rows)
            self.beginInsertRows(QModelIndex(), first, first + len(added) - 1)
            self._rows.extend(added)
            self.endInsertRows()
        for row, channel in enumerate(channels):
            old_row = next(
                place
                for place in range(row, len(self._rows))
                if self._rows[place].channel_id == channel.channel_id
            )
            if old_row != row:
                self.beginMoveRows(QModelIndex(), old_row, old_row, QModelIndex(), row)
                self._rows.insert(row, self._rows.pop(old_row))
                self.endMoveRows()
