"""The history as a table of any length: the node sorts and filters, the model knows all ids, and reads items by pages.

`ask` asks anew. `changed` brings the rows to the node's list: what came is inserted where it stands, what went is
removed, what changed is announced, and the others stay as they are. No reset, and no proxy over thousands of rows.

The node answers at once for a short history. A long one is searched by a thread of its own: until its answer is there,
a new question has no rows, but for the newest ones of a history that nothing is asked of. News waits for an answer
under way and asks once more; a new question does not, and the answer to the one before is not taken any more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from PyQt6.QtCore import QModelIndex, Qt, pyqtSignal

from wallet.gui import format as fmt
from wallet.gui.bridge import run
from wallet.gui.describe import item_amount, item_state, item_title, item_worth
from wallet.gui.models.columns import ColumnsModel
from wallet.gui.tips import plain_tip
from wallet.i18n import _
from wallet.node.api import ActivityItem, ActivityOrder, ActivityPage, ActivityQuery, ActivityStatus

__all__ = ["ITEM_ROLE", "ActivityModel", "ActivitySource"]

ITEM_ROLE = Qt.ItemDataRole.UserRole + 1
PAGE = 100
KEPT = 1_000
"""Items that are kept: a screen holds twenty."""
LOOKED_AT = 200
"""Of these, those that were looked at last, and are read again when something changes: no screen holds more."""
BLOCK = 1_024
ONE_BY_ONE = 500
"""More differences than this are announced in one piece."""
WHAT, WHEN, FEE, AMOUNT = range(4)
ORDERS = {WHEN: ActivityOrder.WHEN, FEE: ActivityOrder.FEE, AMOUNT: ActivityOrder.AMOUNT}


class ActivitySource(Protocol):
    """The part of `NodeApi` that the model reads."""

    def find_activity(self, query: ActivityQuery) -> Future[Sequence[str]]: ...

    def activity_page(self, *, offset: int, limit: int) -> ActivityPage: ...

    def activity_items(self, item_ids: Sequence[str]) -> Sequence[ActivityItem | None]: ...


class ActivityModel(ColumnsModel):
    """Columns: what, when, fee, amount.

    Signals: `arrived`, the rows are brought to an answer that was waited for. `failed(str)`, there is none, and why.
    """

    arrived = pyqtSignal()
    failed = pyqtSignal(str)

    columns = 4
    first_number = FEE

    def __init__(self, source: ActivitySource) -> None:
        super().__init__()
        self._source = source
        self._query = ActivityQuery()
        self._ids: list[str] = []
        self._kept: OrderedDict[str, ActivityItem] = OrderedDict()
        self._answer: Sequence[str] | None = None
        self._asked: Future[Sequence[str]] | None = None
        self._asks_again = False
        self._look()

    @property
    def is_whole(self) -> bool:
        """Whether the rows are all that the question has."""
        return self._answer is not None

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
        else:
            self._kept.move_to_end(found.item_id)
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
            # The time too: where it has no column of its own it stands in this one.
            return plain_tip(f"{item_title(item)}\n{fmt.ago(item.at)} · {item_state(item)}")
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text_of(item, column)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            if column == WHAT:
                return f"{item_title(item)}, {fmt.ago(item.at)}, {item_state(item)}"
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
            self._answer = None
            self._asks_again = False
            if self._asked is not None:
                self._asked.cancel()
                self._asked = None
            self._look()

    def _look(self) -> None:
        """Brings the rows to the node's list, now or when a thread of the node's has it."""
        if self._asked is not None:
            self._asks_again = True
            return
        asked = self._source.find_activity(self._query)
        if asked.done() and not asked.cancelled() and asked.exception() is None:
            if self._answer is None:
                self._remove(0, len(self._ids))
            self._take(asked.result())
            return
        self._asked = asked
        if self._answer is None:
            # What is shown is no answer to this question.
            self._remove(0, len(self._ids))
            if self._query == ActivityQuery():
                newest = self._source.activity_page(offset=0, limit=PAGE)
                self._insert(0, [item.item_id for item in newest.items])
        run(asked, partial(self._found, asked), partial(self._not_found, asked), owner=self)

    def _found(self, asked: Future[Sequence[str]], ids: Sequence[str]) -> None:
        if asked is self._asked:
            self._asked = None
            self._take(ids)
            if self._asks_again:
                self._asks_again = False
                self._look()
            self.arrived.emit()

    def _not_found(self, asked: Future[Sequence[str]], sentence: str) -> None:
        if asked is self._asked:
            self._asked = None
            self._asks_again = False
            if not asked.cancelled():
                self.failed.emit(sentence)

    def _take(self, ids: Sequence[str]) -> None:
        if ids is not self._answer:
            self._answer = ids
            self._bring(list(ids))

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """The node sorts; what an item is cannot be sorted by."""
        wanted = ORDERS.get(column)
        if wanted is not None:
            self.ask(replace(self._query, order=wanted, descending=order == Qt.SortOrder.DescendingOrder))

    def changed(self) -> None:
        """Something in the history changed: brings the rows to the node's list, and what was read up to date."""
        # What nobody looks at is read when somebody does.
        while len(self._kept) > LOOKED_AT:
            self._kept.popitem(last=False)
        kept = list(self._kept)
        differing: set[str] = set()
        # Before the rows: whoever is told of those reads what is kept.
        for item_id, item in zip(kept, self._source.activity_items(kept), strict=True):
            if item is None:
                del self._kept[item_id]
            elif item != self._kept[item_id]:
                self._kept[item_id] = item
                differing.add(item_id)
        self._look()
        for first in range(0, len(self._ids) if differing else 0, BLOCK):
            block = self._ids[first : first + BLOCK]
            if not differing.isdisjoint(block):
                for row, item_id in enumerate(block, first):
                    if item_id in differing:
                        self.dataChanged.emit(self.index(row, 0), self.index(row, 3))

    def _bring(self, wanted: list[str]) -> None:
        have = self._ids
        head = _alike(have, wanted)
        if head == len(have) == len(wanted):
            return
        tail = _alike_at_the_end(have, wanted, min(len(have), len(wanted)) - head)
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
    """How many are the same from the front. By blocks: comparing slices is what Python does fast."""
    most = min(len(a), len(b))
    place = 0
    while place + BLOCK <= most and a[place : place + BLOCK] == b[place : place + BLOCK]:
        place += BLOCK
    while place < most and a[place] == b[place]:
        place += 1
    return place


def _alike_at_the_end(a: list[str], b: list[str], most: int) -> int:
    """How many are the same from the end, `most` of them at most."""
    count = 0
    while count + BLOCK <= most and (
        a[len(a) - count - BLOCK : len(a) - count] == b[len(b) - count - BLOCK : len(b) - count]
    ):
        count += BLOCK
    while count < most and a[len(a) - count - 1] == b[len(b) - count - 1]:
        count += 1
    return count
