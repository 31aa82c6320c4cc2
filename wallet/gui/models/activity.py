"""The history as a table of any length: the node sorts and filters, the model knows all ids, and reads items by pages.

`query` asks anew. `changed` brings the rows to the node's list: what came is inserted where it stands, what went is
removed, what changed is announced, and the others stay as they are. No reset, and no proxy over thousands of rows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from PyQt6.QtCore import QModelIndex, Qt

from wallet.gui import format as fmt
from wallet.gui.describe import item_amount, item_state, item_title, item_worth
from wallet.gui.models.columns import ColumnsModel
from wallet.gui.tips import plain_tip
from wallet.i18n import _
from wallet.node.api import ActivityItem, ActivityOrder, ActivityQuery, ActivityStatus

__all__ = ["ITEM_ROLE", "ActivityModel", "ActivitySource"]

ITEM_ROLE = Qt.ItemDataRole.UserRole + 1
PAGE = 100
KEPT = 1_000
"""Items that are kept: a screen holds twenty."""
ONE_BY_ONE = 500
"""More differences than this are announced in one piece."""
WHAT, WHEN, FEE, AMOUNT = range(4)
ORDERS = {WHEN: ActivityOrder.WHEN, FEE: ActivityOrder.FEE, AMOUNT: ActivityOrder.AMOUNT}


class ActivitySource(Protocol):
    """The part of `NodeApi` that the model reads."""

    def activity_ids(self, query: ActivityQuery) -> Sequence[str]: ...

    def activity_items(self, item_ids: Sequence[str]) -> Sequence[ActivityItem | None]: ...


class ActivityModel(ColumnsModel):
    """Columns: what, when, fee, amount."""

    columns = 4
    first_number = FEE

    def __init__(self, source: ActivitySource) -> None:
        super().__init__()
        self._source = source
        self._query = ActivityQuery()
        self._ids: list[str] = list(source.activity_ids(self._query))
        self._kept: OrderedDict[str, ActivityItem] = OrderedDict()

    @property
    def total(self) -> int:
        return len(self._ids)

    @property
    def query(self) -> ActivityQuery:
        return self._query

    def item(self, row: int) -> ActivityItem | None:
        if not 0 <= row < len(self._ids):
            return None
        found = self._kept.get(self._ids[row])
        if found is None:
            self._read(row)
            found = self._kept.get(self._ids[row])
        return found

    def _read(self, row: int) -> None:
        first = row - row % PAGE
        wanted = self._ids[first : first + PAGE]
        for item_id, item in zip(wanted, self._source.activity_items(wanted), strict=True):
            if item is not None:
                self._kept[item_id] = item
                self._kept.move_to_end(item_id)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    # --- reading ----------------------------------------------------------------

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self._ids)

    def headings(self) -> Sequence[str]:
        unit = fmt.unit()
        return (
            _("What"),
            _("When"),
            _("Fee ({unit})").format(unit=unit),
            _("Amount ({unit})").format(unit=unit),
        )

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        column = index.column()
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self.alignment(column)
        item = self.item(index.row())
        if item is None:
            return None
        if role == ITEM_ROLE:
            return item
        if role == Qt.ItemDataRole.ToolTipRole and column == WHEN:
            return fmt.date_time(item.at)
        if role == Qt.ItemDataRole.ToolTipRole and column == WHAT:
            return plain_tip(f"{item_title(item)}\n{item_state(item)}")
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text_of(item, column)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            if column == WHAT:
                return f"{item_title(item)}, {item_state(item)}"
            spoken = f"{self.headerData(column, Qt.Orientation.Horizontal)}: {self._text_of(item, column)}"
            return f"{spoken} {item_worth(item)}".rstrip() if column == AMOUNT else spoken
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
        return item_amount(item)

    # --- asking -----------------------------------------------------------------

    def ask(self, query: ActivityQuery) -> None:
        """Begins anew with what matches."""
        if query != self._query:
            self._query = query
            self._exchange(list(self._source.activity_ids(query)))

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """The node sorts; what an item is cannot be sorted by."""
        wanted = ORDERS.get(column)
        if wanted is not None:
            self.ask(replace(self._query, order=wanted, descending=order == Qt.SortOrder.DescendingOrder))

    def _exchange(self, ids: list[str]) -> None:
        self._remove(0, len(self._ids))
        self._insert(0, ids)

    def changed(self) -> None:
        """Something in the history changed: brings the rows to the node's list, and what was read up to date."""
        kept = list(self._kept)
        differing = set()
        # Before the rows: whoever is told of those reads what is kept.
        for item_id, item in zip(kept, self._source.activity_items(kept), strict=True):
            if item is None:
                del self._kept[item_id]
            elif item != self._kept[item_id]:
                self._kept[item_id] = item
                differing.add(item_id)
        self._bring(list(self._source.activity_ids(self._query)))
        if differing:
            for row, item_id in enumerate(self._ids):
                if item_id in differing:
                    self.dataChanged.emit(self.index(row, 0), self.index(row, 3))

    def _bring(self, wanted: list[str]) -> None:
        have = self._ids
        if wanted == have:
            return
        head = _alike(have, wanted)
        tail = _alike(have[head:][::-1], wanted[head:][::-1])
        old, new = have[head : len(have) - tail], wanted[head : len(wanted) - tail]
        if max(len(old), len(new)) > ONE_BY_ONE:
            # Also a plain insertion is a single piece.
            self._remove(head, len(old))
            self._insert(head, new)
            return
        if not old:
            self._insert(head, new)
            return
        staying = set(new)
        for row in reversed(range(head, head + len(old))):
            if self._ids[row] not in staying:
                self._remove(row, 1)
        for place, item_id in enumerate(new, head):
            end = len(self._ids) - tail
            if place < end and self._ids[place] == item_id:
                continue
            if item_id in self._ids[place:end]:  # it has moved forward
                self._remove(self._ids.index(item_id, place), 1)
            self._insert(place, [item_id])

    def _remove(self, first: int, count: int) -> None:
        if count:
            self.beginRemoveRows(QModelIndex(), first, first + count - 1)
            del self._ids[first : first + count]
            self.endRemoveRows()

    def _insert(self, first: int, ids: list[str]) -> None:
        if ids:
            self.beginInsertRows(QModelIndex(), first, first + len(ids) - 1)
            self._ids[first:first] = ids
            self.endInsertRows()


def _alike(a: list[str], b: list[str]) -> int:
    """How many are the same from the front. By halves: comparing slices is what Python does fast."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
