"""The history as a table, fetched page by page from the node's index; no reset, no proxy over thousands of
rows.

`changed` fetches what is loaded once more and brings the rows to it: an item is known by its id, so new
ones are inserted where they stand and the others stay as they are. A new filter takes the rows out and
begins anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PyQt6.QtCore import QAbstractTableModel, QModelIndex, Qt

from wallet.gui import format as fmt
from wallet.gui.describe import item_state, item_title
from wallet.i18n import _
from wallet.node.api import ActivityItem, ActivityKind, ActivityPage, ActivityStatus

__all__ = ["ITEM_ROLE", "ActivityModel"]

ITEM_ROLE = Qt.ItemDataRole.UserRole + 1
PAGE = 100
WHAT, WHEN, FEE, AMOUNT = range(4)

Fetch = Callable[[int, int, str, ActivityKind | None], ActivityPage]
"""(offset, limit, text, kind) to a page."""


class ActivityModel(QAbstractTableModel):
    """Columns: what, when, fee, amount."""

    def __init__(self, fetch: Fetch) -> None:
        super().__init__()
        self._fetch = fetch
        self._rows: list[ActivityItem] = []
        self._total = 0
        self._text = ""
        self._kind: ActivityKind | None = None
        self._syncing = False  # a view may ask for more while it is told of a change
        self._load(PAGE)

    @property
    def total(self) -> int:
        return self._total

    def item(self, row: int) -> ActivityItem | None:
        return self._rows[row] if 0 <= row < len(self._rows) else None

    def row_of(self, item_id: str) -> int:
        return next((row for row, item in enumerate(self._rows) if item.item_id == item_id), -1)

    # --- reading ----------------------------------------------------------------

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else 4

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < 4:
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self._alignment(section)
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        unit = fmt.unit()
        return (
            _("What"),
            _("When"),
            _("Fee ({unit})").format(unit=unit),
            _("Amount ({unit})").format(unit=unit),
        )[section]

    @staticmethod
    def _alignment(column: int) -> Qt.AlignmentFlag:
        side = Qt.AlignmentFlag.AlignRight if column >= FEE else Qt.AlignmentFlag.AlignLeft
        return side | Qt.AlignmentFlag.AlignVCenter

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        item = self.item(index.row()) if index.isValid() else None
        if item is None:
            return None
        column = index.column()
        if role == ITEM_ROLE:
            return item
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self._alignment(column)
        if role == Qt.ItemDataRole.ToolTipRole and column == WHEN:
            return fmt.date_time(item.at)
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text_of(item, column)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            if column == WHAT:
                return f"{item_title(item)}, {item_state(item)}"
            return f"{self.headerData(column, Qt.Orientation.Horizontal)}: {self._text_of(item, column)}"
        return None

    @staticmethod
    def _text_of(item: ActivityItem, column: int) -> str:
        if column == WHAT:
            return item_title(item)
        if column == WHEN:
            return fmt.ago(item.at)
        if column == FEE:
            if item.fee_msat <= 0 or item.status is ActivityStatus.FAILED:
                return ""
            return fmt.number(item.fee_msat) if item.fee_msat >= 1000 else _("under 1")
        return fmt.signed(item.amount_msat)

    # --- paging -----------------------------------------------------------------

    def canFetchMore(self, parent: QModelIndex) -> bool:
        return not parent.isValid() and not self._syncing and len(self._rows) < self._total

    def fetchMore(self, parent: QModelIndex) -> None:
        if self.canFetchMore(parent):
            self._load(PAGE)

    def _load(self, count: int) -> None:
        page = self._fetch(len(self._rows), count, self._text, self._kind)
        self._total = page.total
        known = {item.item_id for item in self._rows}
        fresh = [item for item in page.items if item.item_id not in known]
        if fresh:
            first = len(self._rows)
            self._syncing = True
            try:
                self.beginInsertRows(QModelIndex(), first, first + len(fresh) - 1)
                self._rows.extend(fresh)
                self.endInsertRows()
            finally:
                self._syncing = False

    def filter(self, text: str, kind: ActivityKind | None) -> None:
        """Begins anew with what matches."""
        if (text, kind) == (self._text, self._kind):
            return
        self._text, self._kind = text, kind
        self._syncing = True
        try:
            if self._rows:
                self.beginRemoveRows(QModelIndex(), 0, len(self._rows) - 1)
                self._rows.clear()
                self.endRemoveRows()
        finally:
            self._syncing = False
        self._load(PAGE)

    def changed(self) -> None:
        """Something in the history changed: brings the rows that are loaded to the node's index."""
        self._syncing = True
        try:
            self._bring()
        finally:
            self._syncing = False

    def _bring(self) -> None:
        page = self._fetch(0, max(PAGE, len(self._rows) + 1), self._text, self._kind)
        self._total = page.total
        wanted = {item.item_id for item in page.items}
        for row in reversed(range(len(self._rows))):
            if self._rows[row].item_id not in wanted:
                self._remove(row)
        for place, item in enumerate(page.items):
            if place < len(self._rows) and self._rows[place].item_id == item.item_id:
                if self._rows[place] != item:
                    self._rows[place] = item
                    self.dataChanged.emit(self.index(place, 0), self.index(place, 3))
                continue
            later = self.row_of(item.item_id)
            if later >= 0:  # it has moved forward
                self._remove(later)
            self.beginInsertRows(QModelIndex(), place, place)
            self._rows.insert(place, item)
            self.endInsertRows()

    def _remove(self, row: int) -> None:
        self.beginRemoveRows(QModelIndex(), row, row)
        del self._rows[row]
        self.endRemoveRows()

    def repaint_amounts(self) -> None:
        """The unit changed, amounts were hidden, or time has passed."""
        if self._rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._rows) - 1, 3))
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, 3)
