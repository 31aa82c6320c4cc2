"""Records by their key: those that may still change in memory, the settled ones on the disk, read when asked for.

Theory of operation. A record is written to `space`, and is in memory, until it is settled and a page of others is
older: then the oldest settled ones move to `old_space`, which no start reads, and one packed page of lines
(`wallet/node/pages.py`) stands for them in memory. Rows and page change in one batch. Who changes a record that has
moved brings it back first. Memory so holds a few hundred records, whatever the history is.

Reading is for any thread: what moves is found in `_leaving` until the next page, and long before that on the disk.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Final, Generic, TypeVar

from wallet.chain.interfaces import Persist, Row
from wallet.node.pages import KnownKeys, Line, LinePage, Page, pack
from wallet.node.records import row, unpack

__all__ = ["KEPT", "PAGE_LINES", "ReadRows", "Shelf"]

KEPT: Final = 256
"""Settled records that stay in memory at least: what a front end shows first."""
PAGE_LINES: Final = 256

T = TypeVar("T")
ReadRows = Callable[[str, Sequence[bytes]], Mapping[bytes, bytes]]


class Shelf(Generic[T]):
    """Changes happen within an entry into the core.

    Attributes:
        live: what is in memory. pages: what is on the disk, in short; replaced at each change.
    """

    def __init__(
        self,
        cls: type[T],
        space: str,
        *,
        persist: Persist,
        read_rows: ReadRows,
        key_of: Callable[[T], bytes],
        made_at: Callable[[T], int],
        is_settled: Callable[[T], bool],
        line: Callable[[T], Line],
    ) -> None:
        self._cls = cls
        self.space, self.old_space, self.page_space = space, f"{space}_old", f"{space}_page"
        self._persist = persist
        self._read_rows = read_rows
        self._key_of = key_of
        self._made_at = made_at
        self._is_settled = is_settled
        self._line = line
        self.live: dict[bytes, T] = {}
        self.pages: dict[int, Page] = {}
        self._settled: dict[bytes, None] = {}
        self._leaving: dict[bytes, T] = {}
        self._known = KnownKeys()
        self._old_count = 0
        self._next_page = 0

    def read(self, rows: Callable[[str], Iterable[tuple[bytes, bytes]]]) -> None:
        """Takes up what is on disk; raises `DecodeError`."""
        self.live = {key: unpack(self._cls, value) for key, value in rows(self.space)}
        self._settled = dict.fromkeys(key for key, record in self.live.items() if self._is_settled(record))
        pages: dict[int, Page] = {}
        for key, value in rows(self.page_space):
            pages[int.from_bytes(key, "big")] = page = Page(unpack(LinePage, value))
            self._known.add(page.keys)
            self._old_count += page.count
        self.pages = pages
        self._next_page = max(pages, default=-1) + 1

    # --- reading ------------------------------------------------------------------

    def get(self, key: bytes) -> T | None:
        found = self.live.get(key)
        return found if found is not None or not self._known.may_hold(key) else self._old(key)

    def _old(self, key: bytes) -> T | None:
        found = self._leaving.get(key)
        if found is not None:
            return found
        value = self._read_rows(self.old_space, (key,)).get(key)
        return None if value is None else unpack(self._cls, value)

    def many(self, keys: Iterable[bytes]) -> dict[bytes, T]:
        """Those that there are; takes one look at the disk."""
        found: dict[bytes, T] = {}
        missing: list[bytes] = []
        for key in keys:
            here = self.live.get(key) or self._leaving.get(key)
            if here is not None:
                found[key] = here
            elif self._known.may_hold(key):
                missing.append(key)
        if missing:
            rows = self._read_rows(self.old_space, missing)
            found.update((key, unpack(self._cls, value)) for key, value in rows.items())
        return found

    def __getitem__(self, key: bytes) -> T:
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        return isinstance(key, bytes) and self.get(key) is not None

    def __len__(self) -> int:
        return len(self.live) + self._old_count

    def __iter__(self) -> Iterator[bytes]:
        yield from list(self.live)
        for page in list(self.pages.values()):
            yield from page.keys

    def values(self) -> Iterator[T]:
        """All of them, a page in memory at a time."""
        yield from list(self.live.values())
        for page in list(self.pages.values()):
            yield from self.many(page.keys).values()

    def keys_by_time(
        self, time_of: Callable[[T], int | None], old_time_of: Callable[[int, int, int], int | None]
    ) -> list[tuple[int, bytes]]:
        """(time, key) of all for which there is a time, the earliest first. `old_time_of` is given what a line has:
        at, bits, other_seconds."""
        found: list[tuple[int, bytes]] = []
        live = list(self.live.items())
        for page in list(self.pages.values()):
            for key, *line in zip(page.keys, page.at, page.bits, page.other_seconds, strict=True):
                when = old_time_of(*line)
                if when is not None:
                    found.append((when, key))
        found += [(at, key) for key, record in live if (at := time_of(record)) is not None]
        found.sort(key=itemgetter(0))
        return found

    # --- changing -----------------------------------------------------------------

    def put(self, record: T) -> None:
        key = self._key_of(record)
        if key not in self.live:
            self.take_out((key,))
        self.live[key] = record
        if self._is_settled(record):
            self._settled[key] = None
        else:
            self._settled.pop(key, None)
        self._persist.write((row(self.space, key, record),))

    def settle(self, keys: Iterable[bytes]) -> None:
        """Says that these will hardly change any more, whatever their state is."""
        self._settled.update((key, None) for key in keys if key in self.live)

    @property
    def is_due(self) -> bool:
        return len(self._settled) >= KEPT + PAGE_LINES

    def put_away(self, line: Callable[[Line], Line] = lambda line: line) -> Collection[bytes]:
        """Moves the oldest page of what is settled to the disk; within an entry. Which those were."""
        live = self.live
        keys = sorted(self._settled, key=lambda key: self._made_at(live[key]))[:PAGE_LINES]
        leaving = {key: live[key] for key in keys}
        page = pack([line(self._line(record)) for record in leaving.values()])
        self._leaving = leaving
        self._known.add(keys)
        self._write_page(self._next_page, page)
        self._next_page += 1
        self._old_count += len(keys)
        self._persist.write(
            [Row(self.space, key, None) for key in keys]
            + [row(self.old_space, key, record) for key, record in leaving.items()]
        )
        for key in keys:
            del live[key], self._settled[key]
        return keys

    def take_out(self, keys: Iterable[bytes]) -> Collection[bytes]:
        """Brings back what is on the disk of these, so that it can change; within an entry. Which those were."""
        wanted = {key for key in keys if key not in self.live and self._known.may_hold(key)}
        if not wanted:
            return ()
        found = self.many(wanted)
        missing = set(found)
        times = sorted(self._line(record).at for record in found.values())
        # First the pages of their time: there are hundreds of others.
        for number, page in sorted(self.pages.items(), key=lambda entry: not _is_within(entry[1], times)):
            if not missing:
                break
            if page.holds(missing):
                left = [line for line in page.lines() if line.key not in missing]
                missing.difference_update(page.keys)
                self._write_page(number, pack(left) if left else None)
                self._old_count -= page.count - len(left)
        self.live.update(found)
        self._settled.update(dict.fromkeys(key for key, record in found.items() if self._is_settled(record)))
        for key in found:
            self._leaving.pop(key, None)
        self._persist.write(
            [Row(self.old_space, key, None) for key in found]
            + [row(self.space, key, record) for key, record in found.items()]
        )
        return found

    def _write_page(self, number: int, page: LinePage | None) -> None:
        key = number.to_bytes(4, "big")
        pages = dict(self.pages)
        if page is None:
            del pages[number]
            self._persist.write((Row(self.page_space, key, None),))
        else:
            pages[number] = Page(page)
            self._persist.write((row(self.page_space, key, page),))
        self.pages = pages


def _is_within(page: Page, times: list[int]) -> bool:
    """Whether one of the times, in order, lies within the page's."""
    place = bisect_left(times, page.first_at)
    return place < len(times) and times[place] <= page.last_at
