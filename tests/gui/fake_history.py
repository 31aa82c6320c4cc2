"""The history of the fake node: questions to a long one are answered by a thread, as the real node does it, and what is
read by id is not looked for.

Tests write to `FakeNode.activity` as to any list. What they do to it is noted, so that reading one item of a hundred
thousand takes no longer than of ten.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, SupportsIndex

from wallet.node.api import (
    ActivityItem,
    ActivityKind,
    ActivityOrder,
    ActivityPage,
    ActivityQuery,
    ActivityStatus,
    Json,
)

__all__ = ["FakeHistory", "Items", "matches"]

SHORT = 2_000
"""A history of no more is searched on the spot."""


def matches(item: ActivityItem, query: ActivityQuery) -> bool:
    """Whether an item is wanted."""
    return (
        (query.kind is None or item.kind is query.kind)
        and (query.status is None or item.status is query.status)
        and (query.direction is None or item.direction is query.direction)
        and (query.since_at is None or item.at >= query.since_at)
        and (query.until_at is None or item.at < query.until_at)
        and query.text.lower() in f"{item.label} {item.counterparty} {item.item_id}".lower()
    )


class Items(list[ActivityItem]):
    """Newest first. `by_id` follows what the fake node and the tests do to a list: they insert and they replace."""

    def __init__(self, items: Iterable[ActivityItem] = ()) -> None:
        super().__init__(items)
        self.by_id = {item.item_id: item for item in self}

    def insert(self, place: SupportsIndex, item: ActivityItem) -> None:
        super().insert(place, item)
        self.by_id[item.item_id] = item

    def __setitem__(self, place: Any, item: Any) -> None:
        super().__setitem__(place, item)
        if isinstance(item, ActivityItem):
            self.by_id[item.item_id] = item
        else:
            self._anew()

    def __delitem__(self, place: Any) -> None:
        super().__delitem__(place)
        self._anew()

    def append(self, item: ActivityItem) -> None:
        super().append(item)
        self.by_id[item.item_id] = item

    def extend(self, items: Iterable[ActivityItem]) -> None:
        super().extend(items)
        self._anew()

    def clear(self) -> None:
        super().clear()
        self._anew()

    def pop(self, place: SupportsIndex = -1) -> ActivityItem:
        item = super().pop(place)
        self._anew()
        return item

    def remove(self, item: ActivityItem) -> None:
        super().remove(item)
        self._anew()

    def _anew(self) -> None:
        self.by_id = {item.item_id: item for item in self}


class FakeHistory:
    """What `NodeApi` says of the history. Attribute: `queries`, what was asked."""

    _lock: threading.RLock

    def __init__(self) -> None:
        self.queries: list[ActivityQuery] = []
        self._items = Items()
        self._searching = ThreadPoolExecutor(1, thread_name_prefix="fake-history")

    @property
    def activity(self) -> Items:
        return self._items

    @activity.setter
    def activity(self, items: Iterable[ActivityItem]) -> None:
        self._items = items if isinstance(items, Items) else Items(items)

    if TYPE_CHECKING:

        def do_set_label(self, item_id: str, label: str) -> Json: ...

    def settle_searches(self) -> None:
        """Waits until all that was asked is answered, and the window's thread is told."""
        self._searching.submit(lambda: None).result(60)

    def stop_searching(self) -> None:
        self._searching.shutdown(wait=True, cancel_futures=True)

    def activity_page(
        self,
        *,
        offset: int,
        limit: int,
        text: str = "",
        kind: ActivityKind | None = None,
        status: ActivityStatus | None = None,
    ) -> ActivityPage:
        query = ActivityQuery(text=text, kind=kind, status=status)
        with self._lock:
            if query == ActivityQuery():
                shown = tuple(self.activity[offset : offset + limit])
                return ActivityPage(items=shown, offset=offset, total=len(self.activity))
            wanted = [item for item in self.activity if matches(item, query)]
        return ActivityPage(items=tuple(wanted[offset : offset + limit]), offset=offset, total=len(wanted))

    def activity_ids(self, query: ActivityQuery) -> Sequence[str]:
        self.queries.append(query)
        return self._answer(query)

    def find_activity(self, query: ActivityQuery) -> Future[Sequence[str]]:
        self.queries.append(query)
        found: Future[Sequence[str]] = Future()
        if len(self.activity) <= SHORT:
            found.set_result(self._answer(query))
        else:
            self._searching.submit(self._search, query, found)
        return found

    def _search(self, query: ActivityQuery, found: Future[Sequence[str]]) -> None:
        with suppress(InvalidStateError):
            if not found.cancelled():
                found.set_result(self._answer(query))

    def _answer(self, query: ActivityQuery) -> Sequence[str]:
        with self._lock:
            every = list(self.activity)
        found = [item for item in every if matches(item, query)]
        match query.order:
            case ActivityOrder.AMOUNT:
                found.sort(key=lambda item: abs(item.amount_msat) or item.moved_msat)
            case ActivityOrder.FEE:
                found.sort(key=lambda item: item.fee_msat)
            case _:
                found.reverse()
        return tuple(item.item_id for item in (reversed(found) if query.descending else found))

    def activity_items(self, item_ids: Sequence[str]) -> Sequence[ActivityItem | None]:
        by_id = self.activity.by_id
        return [by_id.get(item_id) for item_id in item_ids]

    def do_export_history(self, file: str) -> Json:
        return {"path": file, "count": len(self.activity)}

    def do_export_labels(self, file: str) -> Json:
        return {"path": file, "count": sum(bool(item.label) for item in self.activity)}

    def do_import_labels(self, file: str) -> Json:
        first = self.activity[0]
        self.do_set_label(first.item_id, "From the file")
        return {
            "labels": 1, "not_ours": 2, "unreadable": 0, "cut_short": 0,
            "message": "1 label was taken over. 2 lines are not about this wallet, or could not be read.",
        }  # fmt: skip
