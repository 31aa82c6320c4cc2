"""What a search of the history found: ids in their order, and what came and went since put into its place.

Theory of operation. A search of a hundred thousand lines is done by a thread that nobody waits for, and in small
pieces: one sort of them all would keep the interpreter's lock, and with it the window, for longer than a picture may
take. Once it is done it is kept. What a change of the books takes out or puts in finds its place by halves, in columns
of numbers beside the ids, so that a new payment costs a search next to nothing.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

from wallet.node.api import ActivityOrder, ActivityQuery
from wallet.node.pages import MOST_MSAT, Page

__all__ = ["Found", "Hit", "Key", "in_order", "keys_of"]

Hit = tuple[int, str, int, int]
"""(at, item id, size_msat, fee_msat)."""
Key = tuple[int, int, str]
"""(what is sorted by, at, item id): smaller stands further in front."""
AT_ONCE: Final = 2_048
"""So many are sorted at a stretch."""


def keys_of(query: ActivityQuery, hits: Iterable[Hit]) -> list[Key]:
    """By time they are kept oldest first, whichever way they are shown. Among equal amounts the oldest is the first."""
    if query.order is ActivityOrder.WHEN:
        return [(at, at, item_id) for at, item_id, _size_msat, _fee_msat in hits]
    sign = -1 if query.descending else 1
    if query.order is ActivityOrder.AMOUNT:
        return [(sign * min(size_msat, MOST_MSAT), at, item_id) for at, item_id, size_msat, _fee_msat in hits]
    return [(sign * min(fee_msat, MOST_MSAT), at, item_id) for at, item_id, _size_msat, fee_msat in hits]


def in_order(keys: list[Key]) -> list[Key]:
    """The same as `sorted`, and never long at a stretch: they are first dealt out to drawers of some `AT_ONCE`."""
    drawers_wanted = len(keys) // AT_ONCE
    if drawers_wanted < 2:
        return sorted(keys)
    sample = sorted(keys[:: max(1, len(keys) // (16 * drawers_wanted))])
    borders = sample[16::16]
    drawers: list[list[Key]] = [[] for _border in range(len(borders) + 1)]
    for key in keys:
        drawers[bisect_right(borders, key)].append(key)
    ordered: list[Key] = []
    for drawer in drawers:
        drawer.sort()
        ordered += drawer
    return ordered


class _Places(Sequence[Key]):
    """The columns as `bisect` reads them."""

    def __init__(self, by: array[int], at: array[int], ids: list[str]) -> None:
        self._by, self._at, self._ids = by, at, ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, place: int) -> Key:  # type: ignore[override]  # no slices are asked for
        return self._by[place], self._at[place], self._ids[place]


class Found:
    """The answer to one question, as it was at one generation of the index. It never changes.

    Attributes:
        ids: all that match, in the order that was asked for.
        named: the nodes whose name had the words. pages: what was looked through.
    """

    __slots__ = ("_at", "_by", "_ordered", "generation", "ids", "named", "pages", "query")

    def __init__(
        self,
        query: ActivityQuery,
        generation: int,
        named: frozenset[bytes],
        pages: tuple[Page, ...],
        columns: tuple[array[int], array[int], list[str]],
        ids: tuple[str, ...] | None = None,
    ) -> None:
        self.query, self.generation, self.named, self.pages = query, generation, named, pages
        self._by, self._at, self._ordered = columns
        is_backwards = query.order is ActivityOrder.WHEN and query.descending
        ordered = self._ordered
        self.ids = ids if ids is not None else tuple(reversed(ordered) if is_backwards else ordered)

    @classmethod
    def of(
        cls,
        query: ActivityQuery,
        generation: int,
        named: frozenset[bytes],
        pages: tuple[Page, ...],
        keys: list[Key],
    ) -> Found:
        ordered = in_order(keys)
        columns = (
            array("q", (by for by, _at, _item_id in ordered)),
            array("q", (at for _by, at, _item_id in ordered)),
            [item_id for _by, _at, item_id in ordered],
        )
        return cls(query, generation, named, pages, columns)

    def after(
        self, generation: int, pages: tuple[Page, ...], gone: Iterable[Key], new: Iterable[Key]
    ) -> Found | None:
        """With some taken out and some put in; None where one that should go is not there."""
        gone, new = list(gone), list(new)
        if not gone and not new:
            columns = self._by, self._at, self._ordered
            return Found(self.query, generation, self.named, pages, columns, self.ids)
        by, at, ids = self._by[:], self._at[:], list(self._ordered)
        places = _Places(by, at, ids)
        for key in gone:
            place = bisect_left(places, key)
            if place == len(ids) or places[place] != key:
                return None
            del by[place], at[place], ids[place]
        for key in new:
            place = bisect_left(places, key)
            by.insert(place, key[0])
            at.insert(place, key[1])
            ids.insert(place, key[2])
        return Found(self.query, generation, self.named, pages, (by, at, ids))
