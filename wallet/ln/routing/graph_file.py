"""The graph as a file: columns that are read in one go, and behind them the messages, which are not.

Theory of operation. A file is a prefix (what it is, of which network, how long its two parts are), the head, and the
messages one behind the other. The head is the graph's columns as they stand in memory, little-endian, nodes in the
order of their ids and channels in that of theirs, and a hash. Of the messages it has the lengths and checksums; they
stay in the file, and are read one by one when a peer asks for them. What came since is kept as bytes.

Losing the file costs time only. One that is damaged raises `DecodeError`; a damaged message is as if it were not there.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypeAlias

from wallet.bitcoin.address import Network
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.hashes import sha256

__all__ = [
    "PREFIX_LENGTH",
    "GraphImage",
    "HeadReader",
    "HeadWriter",
    "MessageReader",
    "MessageStore",
    "Prefix",
    "read_prefix",
]

MessageReader: TypeAlias = Callable[[int, int], bytes]
"""Gives so many bytes from an offset within the messages of a file; fewer where there are none."""

_MAGIC: Final = b"leyden-graph\x02"
_PREFIX: Final = struct.Struct("<13s32sIQ")
PREFIX_LENGTH: Final = _PREFIX.size
_HASH_LENGTH: Final = 32
_CHUNK_MESSAGES: Final = 1_024


@dataclass(frozen=True, slots=True)
class Prefix:
    """How long the parts of a file are."""

    head_length: int
    messages_length: int


def read_prefix(data: bytes, network: Network) -> Prefix:
    """Raises `DecodeError` for a file of another kind, version or network."""
    if len(data) < PREFIX_LENGTH or not data.startswith(_MAGIC):
        raise DecodeError("The stored graph is damaged, or of another version.")
    _, chain_hash, head_length, messages_length = _PREFIX.unpack_from(data)
    if chain_hash != network.chain_hash:
        raise DecodeError("The stored graph is of another network.")
    return Prefix(head_length, messages_length)


class MessageStore:
    """Messages by number: in a file, or as bytes where they came since.

    Attributes:
        fresh_length: bytes that are kept in memory.
    """

    __slots__ = ("_fresh", "_lengths", "_offsets", "_read", "_sums", "fresh_length")

    def __init__(self) -> None:
        self._read: MessageReader | None = None
        self._offsets = array("Q")
        self._lengths = array("H")
        self._sums = array("I")
        self._fresh: dict[int, bytes] = {}
        self.fresh_length = 0

    @classmethod
    def of_file(cls, read: MessageReader, first: int, lengths: array[int], sums: array[int]) -> MessageStore:
        """Those that stand one behind the other from offset `first` on."""
        store = cls()
        store._read = read
        store._offsets = array("Q", accumulate(lengths, initial=first))
        store._offsets.pop()
        store._lengths, store._sums = lengths, sums
        return store

    def append(self, message: bytes | None) -> None:
        self._offsets.append(0)
        self._lengths.append(0)
        self._sums.append(0)
        self.put(len(self._lengths) - 1, message)

    def put(self, number: int, message: bytes | None) -> None:
        """Replace a message; None takes it away."""
        self._lengths[number] = 0
        self.fresh_length -= len(self._fresh.pop(number, b""))
        if message:
            self._fresh[number] = message
            self.fresh_length += len(message)

    def has(self, number: int) -> bool:
        return self._lengths[number] != 0 or number in self._fresh

    def get(self, number: int) -> bytes | None:
        fresh = self._fresh.get(number)
        length = self._lengths[number]
        if fresh is not None or not length or self._read is None:
            return fresh
        message = self._read(self._offsets[number], length)
        return message if len(message) == length and zlib.crc32(message) == self._sums[number] else None

    def measures(self, order: Sequence[int]) -> tuple[array[int], array[int]]:
        """Lengths and checksums of some."""
        lengths, sums, fresh = array("H"), array("I"), self._fresh
        for number in order:
            message = fresh.get(number)
            if message is None:
                lengths.append(self._lengths[number])
                sums.append(self._sums[number])
            else:
                lengths.append(len(message))
                sums.append(zlib.crc32(message))
        return lengths, sums

    def still(self) -> MessageStore:
        """A copy that stays as it is, to be read without a lock."""
        copy = MessageStore()
        copy._read = self._read
        copy._offsets, copy._lengths, copy._sums = self._offsets[:], self._lengths[:], self._sums[:]
        copy._fresh = dict(self._fresh)
        return copy

    def rebase(
        self, read: MessageReader, was: MessageStore, order: Sequence[int], measures: tuple[array[int], array[int]],
        first: int,
    ) -> None:  # fmt: skip
        """From now on they are in another file, where they were written as they `was`, in `order`."""
        offset = first
        fresh = self._fresh
        self._read = read
        for number, length, checksum in zip(order, *measures, strict=True):
            # What was replaced or taken away since is not what the file has.
            if fresh.get(number) is was._fresh.get(number) and (length == 0 or self.has(number)):
                self._offsets[number] = offset
                self._lengths[number] = length
                self._sums[number] = checksum
                self.fresh_length -= len(fresh.pop(number, b""))
            offset += length
        # A dictionary never shrinks: a copy takes its place.
        self._fresh = dict(fresh)


@dataclass(frozen=True, slots=True)
class GraphImage:
    """The graph at one moment, as it goes into a file; read it with no lock held.

    Attributes:
        head: prefix and head.
        parts: of each kind of message, the store as it was, the numbers in order, and their measures.
        version: of the graph.
    """

    head: bytes
    parts: tuple[tuple[MessageStore, Sequence[int], tuple[array[int], array[int]]], ...]
    version: int

    def chunks(self) -> Iterator[bytes]:
        """The file, piece by piece."""
        yield self.head
        for store, order, (lengths, _sums) in self.parts:
            for start in range(0, len(order), _CHUNK_MESSAGES):
                pieces = []
                for position in range(start, min(start + _CHUNK_MESSAGES, len(order))):
                    # What can no longer be read keeps its place: its checksum says so.
                    message = store.get(order[position]) or b""
                    pieces.append(message.ljust(lengths[position], b"\x00"))
                yield b"".join(pieces)


def _little(column: array[int]) -> array[int]:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column


class HeadWriter:
    """Collects columns."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._parts: list[bytes] = []
        self._messages_length = 0

    def numbers(self, *values: int) -> None:
        self._parts.append(struct.pack(f"<{len(values)}Q", *values))

    def raw(self, data: bytes) -> None:
        self._parts.append(data)

    def column(self, column: array[int], order: Sequence[int] | None = None) -> None:
        """A column, or of it what `order` names."""
        if order is not None:
            column = array(column.typecode, map(column.__getitem__, order))
        self._parts.append(_little(column).tobytes())

    def messages(self, measures: tuple[array[int], array[int]]) -> None:
        for column in measures:
            self.column(column)
        self._messages_length += sum(measures[0])

    def getvalue(self) -> bytes:
        body = b"".join(self._parts)
        prefix = _PREFIX.pack(
            _MAGIC, self._network.chain_hash, len(body) + _HASH_LENGTH, self._messages_length
        )
        return prefix + body + sha256(prefix + body)


class HeadReader:
    """Takes columns off a head whose hash is right; raises `DecodeError` where there is too little."""

    def __init__(self, data: bytes, network: Network) -> None:
        self.prefix = read_prefix(data, network)
        end = PREFIX_LENGTH + self.prefix.head_length
        body_end = end - _HASH_LENGTH
        if self.prefix.head_length < _HASH_LENGTH or len(data) < end:
            raise DecodeError("The stored graph is cut short.")
        if sha256(data[:body_end]) != data[body_end:end]:
            raise DecodeError("The stored graph is damaged.")
        self._data = memoryview(data)[PREFIX_LENGTH:body_end]
        self._offset = 0
        self._messages_offset = 0

    def _take(self, length: int) -> memoryview:
        start = self._offset
        self._offset += length
        if length < 0 or self._offset > len(self._data):
            raise DecodeError("The stored graph has too little in it.")
        return self._data[start : self._offset]

    def numbers(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}Q", self._take(8 * count))

    def raw(self, length: int) -> bytes:
        return bytes(self._take(length))

    def column(self, typecode: str, length: int) -> array[int]:
        column: array[int] = array(typecode)
        column.frombytes(self._take(length * column.itemsize))
        return _little(column)

    def messages(self, read: MessageReader, count: int) -> MessageStore:
        lengths, sums = self.column("H", count), self.column("I", count)
        store = MessageStore.of_file(read, self._messages_offset, lengths, sums)
        self._messages_offset += sum(lengths)
        return store

    def expect_end(self) -> None:
        if self._offset != len(self._data) or self._messages_offset != self.prefix.messages_length:
            raise DecodeError("The stored graph has too much in it.")
