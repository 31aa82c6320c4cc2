"""The channels as a table. `sync` brings it to a snapshot by inserting, moving out and changing single
rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PyQt6.QtCore import QAbstractTableModel, QModelIndex, Qt

from wallet.gui import format as fmt
from wallet.gui.describe import channel_look, channel_sentence
from wallet.i18n import _
from wallet.node.api import ChannelView

__all__ = ["CHANNEL_ROLE", "ChannelsModel"]

CHANNEL_ROLE = Qt.ItemDataRole.UserRole + 1
PEER, STATE, CAN_SEND, CAN_RECEIVE, CAPACITY = range(5)


class ChannelsModel(QAbstractTableModel):
    """One row a channel: peer, state, can send, can receive, capacity (all in satoshis)."""

    def __init__(self, channels: Sequence[ChannelView] = ()) -> None:
        super().__init__()
        self._rows: list[ChannelView] = list(channels)

    # --- reading ----------------------------------------------------------------

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else 5

    def channel(self, row: int) -> ChannelView | None:
        return self._rows[row] if 0 <= row < len(self._rows) else None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self._alignment(section)
        if role != Qt.ItemDataRole.DisplayRole or not 0 <= section < 5:
            return None
        unit = fmt.unit()
        return (
            _("Peer"),
            _("State"),
            _("Can send ({unit})").format(unit=unit),
            _("Can receive ({unit})").format(unit=unit),
            _("Capacity ({unit})").format(unit=unit),
        )[section]

    @staticmethod
    def _alignment(column: int) -> Qt.AlignmentFlag:
        side = Qt.AlignmentFlag.AlignRight if column >= CAN_SEND else Qt.AlignmentFlag.AlignLeft
        return side | Qt.AlignmentFlag.AlignVCenter

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        channel = self.channel(index.row()) if index.isValid() else None
        if channel is None:
            return None
        if role == CHANNEL_ROLE:
            return channel
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self._alignment(index.column())
        if role == Qt.ItemDataRole.ToolTipRole and index.column() == STATE:
            return channel_sentence(channel)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            header = self.headerData(index.column(), Qt.Orientation.Horizontal)
            return f"{header}: {self._text(channel, index.column())}"
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
        return fmt.number_sat(channel.capacity_sat)

    # --- following --------------------------------------------------------------

    def sync(self, channels: Sequence[ChannelView]) -> None:
        """Rows that went are removed, new ones appended in the snapshot's order, changed ones told of."""
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
                self.dataChanged.emit(self.index(row, 0), self.index(row, 4))
        known = {channel.channel_id for channel in self._rows}
        added = [channel for channel in channels if channel.channel_id not in known]
        if added:
            first = len(self._rows)
            self.beginInsertRows(QModelIndex(), first, first + len(added) - 1)
            self._rows.extend(added)
            self.endInsertRows()

    def repaint_amounts(self) -> None:
        """The unit changed, or amounts were hidden."""
        if self._rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._rows) - 1, 4))
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, 4)
