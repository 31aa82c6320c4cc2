"""The history in short: packed pages of lines, for what is settled and lies on the disk.

Theory of operation. A wallet may hold a hundred thousand payments; a line of sixty bytes for each is enough to sort,
filter, search and sum them up, and whatever else there is to say is read from the file when somebody looks. Lines are
packed column by column into pages of a few hundred, sorted by time. A page is a row of the file, in the same form in
which it lies in memory, so that a start reads a few hundred rows and unpacks none of them. Pages are never changed:
who takes a line out puts another page in its place.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from wallet.bitcoin.errors import DecodeError

__all__ = [
    "DONE",
    "FAILED",
    "HIDDEN",
    "ID_LENGTH",
    "IN",
    "LIGHTNING",
    "MOVED",
    "ONCHAIN",
    "OUT",
    "PENDING",
    "Line",
    "LinePage",
    "Page",
    "pack",
]

LIGHTNING, ONCHAIN = 1, 2
PENDING, DONE, FAILED = 4, 8, 16
IN, OUT, MOVED = 32, 64, 128
HIDDEN = 256
"""No part of the history: a request that was never paid, or the other end of a payment to oneself."""
ID_LENGTH: Final = 32
PARTY_LENGTH: Final = 33
NO_PARTY: Final = 0xFFFF
BETWEEN_WORDS: Final = b"\xff"
"""Stands in no UTF-8 text."""
MOST_MSAT: Final = (1 << 63) - 1
FARTHEST_SECONDS: Final = (1 << 31) - 1


class Line(NamedTuple):
    """One payment or request in short; sorted by its first two fields.

    Attributes:
        at: when it stands in the history. other_seconds: how much later its other time is: when a payment was settled,
            when a request was made (that is earlier: it is negative).
        size_msat: without its sign.
        words: the label in small letters. party: the node that was paid, empty where there is none.
    """

    at: int
    key: bytes
    bits: int
    size_msat: int
    fee_msat: int
    other_seconds: int
    words: str
    party: bytes

    @property
    def change_msat(self) -> int:
        return change_msat(self.bits, self.size_msat, self.fee_msat)


def change_msat(bits: int, size_msat: int, fee_msat: int) -> int:
    """What a line of Lightning that is settled changed in the balance."""
    if bits & FAILED:
        return 0
    return (size_msat if bits & IN else -size_msat) - fee_msat


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePage:
    """The row of a page: columns of little-endian numbers, one entry a line.

    Attributes:
        keys: payment hashes, 32 bytes each.
        party: the place in `parties`, 33 bytes each; 65,535 for none.
        words: in UTF-8, with a byte of 255 between two lines.
    """

    keys: bytes
    at: bytes
    bits: bytes
    size_msat: bytes
    fee_msat: bytes
    other_seconds: bytes
    party: bytes
    parties: bytes
    words: bytes


def _column(code: str, values: Iterable[int]) -> bytes:
    column = array(code, values)
    if sys.byteorder == "big":  # pragma: no cover - no computer of today that runs Qt
        column.byteswap()
    return column.tobytes()


def _numbers(code: str, data: bytes) -> array[int]:
    column = array(code)
    column.frombytes(data)
    if sys.byteorder == "big":  # pragma: no cover - no computer of today that runs Qt
        column.byteswap()
    return column


def pack(lines: Collection[Line]) -> LinePage:
    """A page of a few hundred lines."""
    ordered = sorted(lines)
    parties: dict[bytes, int] = {}
    for line in ordered:
        if len(line.party) == PARTY_LENGTH:
            parties.setdefault(line.party, len(parties))
    return LinePage(
        keys=b"".join(line.key for line in ordered),
        at=_column("q", (line.at for line in ordered)),
        bits=_column("H", (line.bits for line in ordered)),
        size_msat=_column("q", (min(line.size_msat, MOST_MSAT) for line in ordered)),
        fee_msat=_column("q", (min(line.fee_msat, MOST_MSAT) for line in ordered)),
        other_seconds=_column(
            "i",
            (max(-FARTHEST_SECONDS, min(line.other_seconds, FARTHEST_SECONDS)) for line in ordered),
        ),
        party=_column("H", (parties.get(line.party, NO_PARTY) for line in ordered)),
        parties=b"".join(parties),
        words=BETWEEN_WORDS.join(line.words.encode("utf-8", "replace") for line in ordered),
    )


class Page:
    """A page as it is read: columns become numbers when they are asked for, and are not kept."""

    __slots__ = ("count", "first_at", "has_hidden", "last_at", "row", "shown")

    def __init__(self, row: LinePage) -> None:
        """Raises `DecodeError` where the columns are of different lengths."""
        self.row = row
        self.count = count = len(row.keys) // ID_LENGTH
        lengths = (row.at, 8), (row.bits, 2), (row.size_msat, 8), (row.fee_msat, 8), (row.other_seconds, 4)
        if (
            not count
            or len(row.keys) % ID_LENGTH
            or len(row.parties) % PARTY_LENGTH
            or len(row.party) != 2 * count
            or any(len(column) != size * count for column, size in lengths)
            or row.words.count(BETWEEN_WORDS) != count - 1
        ):
            raise DecodeError("a page of the history has columns of different lengths")
        at = self.at
        self.first_at, self.last_at = at[0], at[-1]
        hidden = sum(1 for bits in self.bits if bits & HIDDEN)
        self.has_hidden = hidden > 0
        self.shown = count - hidden

    @property
    def at(self) -> array[int]:
        return _numbers("q", self.row.at)

    @property
    def bits(self) -> array[int]:
        return _numbers("H", self.row.bits)

    @property
    def size_msat(self) -> array[int]:
        return _numbers("q", self.row.size_msat)

    @property
    def fee_msat(self) -> array[int]:
        return _numbers("q", self.row.fee_msat)

    @property
    def other_seconds(self) -> array[int]:
        return _numbers("i", self.row.other_seconds)

    @property
    def keys(self) -> list[bytes]:
        keys = self.row.keys
        return [keys[place : place + ID_LENGTH] for place in range(0, len(keys), ID_LENGTH)]

    @property
    def parties(self) -> list[bytes]:
        """Each once."""
        parties = self.row.parties
        return [parties[place : place + PARTY_LENGTH] for place in range(0, len(parties), PARTY_LENGTH)]

    def holds(self, wanted: Collection[bytes]) -> bool:
        """Whether a line is of one of these."""
        if len(wanted) > 4:
            return not set(wanted).isdisjoint(self.keys)
        return any(_aligned(self.row.keys, key) for key in wanted)

    def lines(self) -> Iterator[Line]:
        parties = self.parties
        words = self.row.words.split(BETWEEN_WORDS)
        columns = zip(
            self.at, self.keys, self.bits, self.size_msat, self.fee_msat, self.other_seconds, words,
            _numbers("H", self.row.party), strict=True,
        )  # fmt: skip
        for at, key, bits, size_msat, fee_msat, other_seconds, text, party in columns:
            yield Line(
                at,
                key,
                bits,
                size_msat,
                fee_msat,
                other_seconds,
                text.decode("utf-8", "replace"),
                parties[party] if party < len(parties) else b"",
            )

    def changes(self) -> Iterator[tuple[int, int]]:
        """(at, msat) of what is shown."""
        for at, bits, size_msat, fee_msat in zip(
            self.at, self.bits, self.size_msat, self.fee_msat, strict=True
        ):
            if not bits & HIDDEN:
                yield at, change_msat(bits, size_msat, fee_msat)

    def matching(
        self, bits: int, wanted: str, id_part: str, named: Collection[bytes]
    ) -> list[tuple[int, str, int, int]]:
        """(at, item id, size, fee) of what is shown, has all `bits` and one of the words.

        `id_part`: what may be a part of an id; empty where it cannot. `named`: nodes whose name has the words.
        """
        ids = self.row.keys.hex()
        found: Iterable[tuple[int, int, int, int]] = zip(
            range(self.count), self.at, self.size_msat, self.fee_msat, strict=True
        )
        if bits or self.has_hidden:
            keep = [flags & bits == bits and not flags & HIDDEN for flags in self.bits]
            found = [line for line in found if keep[line[0]]]
        if wanted:
            hits = self._hits(wanted, id_part, ids, named)
            if not hits:
                return []
            found = [line for line in found if line[0] in hits]
        return [
            (at, "ln:" + ids[64 * place : 64 * place + 64], size_msat, fee_msat)
            for place, at, size_msat, fee_msat in found
        ]

    def _hits(self, wanted: str, id_part: str, ids: str, named: Collection[bytes]) -> set[int]:
        hits: set[int] = set()
        sought = wanted.encode("utf-8", "replace")
        if sought in self.row.words:
            hits.update(
                place for place, text in enumerate(self.row.words.split(BETWEEN_WORDS)) if sought in text
            )
        if id_part:
            bare = id_part.removeprefix("ln:")
            from_start = bare != id_part
            if not id_part.startswith("tx:") and bare in ids:
                for place in range(self.count):
                    text = ids[64 * place : 64 * place + 64]
                    if text.startswith(bare) if from_start else bare in text:
                        hits.add(place)
        if named:
            meant = {place for place, party in enumerate(self.parties) if party in named}
            if meant:
                hits.update(
                    place for place, party in enumerate(_numbers("H", self.row.party)) if party in meant
                )
        return hits


def _aligned(keys: bytes, key: bytes) -> bool:
    place = keys.find(key)
    while place > 0 and place % ID_LENGTH:
        place = keys.find(key, place + 1)
    return place >= 0


class KnownKeys:
    """Whether a key may be on the disk, in two bytes a key: what was never there is hardly ever looked for.

    A filter of bits, made of as many parts as are needed; each holds 32,768 keys and is wrong about one in two hundred.
    """

    __slots__ = ("_count", "_parts")

    PART_BITS: Final = 19
    PART_KEYS: Final = 1 << 15

    def __init__(self) -> None:
        self._parts: list[bytearray] = []
        self._count = 0

    def add(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            if self._count % self.PART_KEYS == 0:
                self._parts.append(bytearray(1 << (self.PART_BITS - 3)))
            self._count += 1
            part = self._parts[-1]
            for place in self._places(key):
                part[place >> 3] |= 1 << (place & 7)

    def may_hold(self, key: bytes) -> bool:
        if not self._parts:
            return False
        first, second, third = self._places(key)
        # Written out: it is asked several times a payment, and the parts grow in number with the history.
        for part in self._parts:
            if (
                part[first >> 3] >> (first & 7) & 1
                and part[second >> 3] >> (second & 7) & 1
                and part[third >> 3] >> (third & 7) & 1
            ):
                return True
        return False

    def _places(self, key: bytes) -> tuple[int, int, int]:
        # Keyed by the interpreter with a number of this run: nobody can choose hashes that collide.
        drawn = hash(key)
        mask = (1 << self.PART_BITS) - 1
        return drawn & mask, (drawn >> self.PART_BITS) & mask, (drawn >> 2 * self.PART_BITS) & mask
