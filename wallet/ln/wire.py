"""One codec for everything that is made of bytes: BOLT messages, TLV streams, and the rows we store.

`Reader` and `Writer` speak big-endian, as BOLT 1 does. `Reader` raises `DecodeError` on anything that is
cut short, not minimal or out of order, and nothing else. `StateWriter` and `StateReader` are the same TLV
streams behind one version byte, for state that must outlive the program that wrote it:

* a field that an older program may overlook gets an odd type; it reads the row without it;
* a field without which the row would be misread gets an even type; an older program then refuses the row;
* the version byte names the oldest reader that may try, and is raised only when the layout itself changes.
"""

from __future__ import annotations

import builtins
import struct
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from wallet.bitcoin.errors import APIError, DecodeError

__all__ = [
    "Reader",
    "StateReader",
    "StateWriter",
    "TlvStream",
    "Writer",
    "decode_bigsize",
    "decode_tlv_stream",
    "encode_bigsize",
    "encode_tlv_stream",
]

# The methods named `bytes`, `int` and so on below hide the types inside their classes.
_Bytes: TypeAlias = builtins.bytes
_Int: TypeAlias = builtins.int
_Bool: TypeAlias = builtins.bool
_List: TypeAlias = builtins.list

_T = TypeVar("_T")

TlvStream: TypeAlias = dict[int, bytes]
"""Raw values by type, in ascending order of type."""

_U64 = struct.Struct(">Q")
_U64_MAX = 0xFFFF_FFFF_FFFF_FFFF


def encode_bigsize(value: int) -> bytes:
    """Encode an integer of up to 64 bits. BOLT 1, appendix A."""
    if 0 <= value < 0xFD:
        return value.to_bytes(1, "big")
    if 0 <= value <= 0xFFFF:
        return b"\xfd" + value.to_bytes(2, "big")
    if 0 <= value <= 0xFFFF_FFFF:
        return b"\xfe" + value.to_bytes(4, "big")
    if 0 <= value <= _U64_MAX:
        return b"\xff" + value.to_bytes(8, "big")
    raise APIError(f"A BigSize holds 0 to 2^64 - 1, not {value}.")


def decode_bigsize(data: bytes, offset: int = 0) -> tuple[int, int]:
    """Decode the BigSize at `offset`; return its value and the offset behind it."""
    end = len(data)
    if offset >= end:
        raise DecodeError("A BigSize was expected, but the data ends.")
    first = data[offset]
    if first < 0xFD:
        return first, offset + 1
    if first == 0xFD:
        width, least = 2, 0xFD
    elif first == 0xFE:
        width, least = 4, 0x1_0000
    else:
        width, least = 8, 0x1_0000_0000
    stop = offset + 1 + width
    if stop > end:
        raise DecodeError("A BigSize is cut short.")
    value = int.from_bytes(data[offset + 1 : stop], "big")
    if value < least:
        raise DecodeError(f"The BigSize of {value} is not minimally encoded.")
    return value, stop


def decode_tlv_stream(
    data: bytes, known: Collection[int] | None = (), *, keep_unknown_odd: bool = True
) -> TlvStream:
    """Decode a whole TLV stream into raw values, ordered by type.

    An even type that is not in `known` is an error; an odd one is kept raw (or dropped). `known=None` keeps
    every type, for callers that apply the odd/even rule themselves.
    """
    stream: TlvStream = {}
    last_type = -1
    offset, end = 0, len(data)
    while offset < end:
        tlv_type, offset = decode_bigsize(data, offset)
        # BOLT 1, TLV, receiver: types strictly increase, so that each occurs once.
        if tlv_type <= last_type:
            raise DecodeError(f"TLV type {tlv_type} follows type {last_type}; types must increase.")
        last_type = tlv_type
        length, offset = decode_bigsize(data, offset)
        stop = offset + length
        if stop > end:
            raise DecodeError(f"TLV type {tlv_type} claims {length} bytes, but {end - offset} are left.")
        if known is None or tlv_type in known:
            stream[tlv_type] = data[offset:stop]
        elif tlv_type % 2 == 0:
            # BOLT 1, TLV, receiver: fail on an even type that is not understood.
            raise DecodeError(f"TLV type {tlv_type} is even and unknown.")
        elif keep_unknown_odd:
            stream[tlv_type] = data[offset:stop]
        offset = stop
    return stream


def encode_tlv_stream(records: Mapping[int, bytes] | Iterable[tuple[int, bytes]]) -> bytes:
    """Encode records in ascending order of type."""
    pairs = records.items() if isinstance(records, Mapping) else records
    parts: list[bytes] = []
    last_type = -1
    for tlv_type, value in sorted(pairs):
        if tlv_type == last_type:
            raise APIError(f"TLV type {tlv_type} is given twice.")
        last_type = tlv_type
        parts += (encode_bigsize(tlv_type), encode_bigsize(len(value)), value)
    return b"".join(parts)


class Reader:
    """Reads fields from the front of `data`; every method raises `DecodeError` when there is too little.

    Attributes:
        data: all of it.
        offset: how far it has been read.
    """

    __slots__ = ("data", "offset")

    def __init__(self, data: _Bytes, offset: int = 0) -> None:
        self.data = data
        self.offset = offset

    @property
    def remaining(self) -> int:
        return len(self.data) - self.offset

    def bytes(self, length: int) -> _Bytes:
        """Take exactly `length` bytes."""
        start = self.offset
        stop = start + length
        if length < 0 or stop > len(self.data):
            raise DecodeError(f"{length} bytes were expected, but {len(self.data) - start} are left.")
        self.offset = stop
        return self.data[start:stop]

    def rest(self) -> _Bytes:
        """Take all that is left, which may be nothing."""
        start = self.offset
        self.offset = len(self.data)
        return self.data[start:]

    def expect_end(self) -> None:
        """Refuse trailing bytes."""
        if self.offset != len(self.data):
            raise DecodeError(f"{self.remaining} bytes are left over.")

    def u8(self) -> int:
        return self.bytes(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.bytes(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self.bytes(4), "big")

    def u64(self) -> int:
        return int.from_bytes(self.bytes(8), "big")

    def s64(self) -> int:
        return int.from_bytes(self.bytes(8), "big", signed=True)

    def _truncated(self, width: int) -> int:
        raw = self.rest()
        if len(raw) > width:
            raise DecodeError(f"A truncated integer has {len(raw)} bytes; {width} is the most.")
        # BOLT 1, fundamental types: leading zeros are omitted.
        if raw and raw[0] == 0:
            raise DecodeError("A truncated integer starts with a zero byte.")
        return int.from_bytes(raw, "big")

    def tu16(self) -> int:
        """Take the rest as a truncated integer."""
        return self._truncated(2)

    def tu32(self) -> int:
        """Take the rest as a truncated integer."""
        return self._truncated(4)

    def tu64(self) -> int:
        """Take the rest as a truncated integer."""
        return self._truncated(8)

    def bigsize(self) -> int:
        value, self.offset = decode_bigsize(self.data, self.offset)
        return value

    def u16_bytes(self) -> _Bytes:
        """Take a u16 length and that many bytes."""
        return self.bytes(self.u16())

    def bigsize_bytes(self) -> _Bytes:
        """Take a BigSize length and that many bytes."""
        return self.bytes(self.bigsize())

    def tlv_stream(self, known: Collection[int] | None = ()) -> TlvStream:
        """Take the rest as a TLV stream."""
        return decode_tlv_stream(self.rest(), known)


class Writer:
    """Collects fields; every method returns the writer, so that calls can be chained."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[_Bytes] = []

    def getvalue(self) -> _Bytes:
        return b"".join(self._parts)

    def bytes(self, data: _Bytes, length: int | None = None) -> Writer:
        """Append `data`; `length`, where given, is what it must have."""
        if length is not None and len(data) != length:
            raise APIError(f"A field of {length} bytes was given {len(data)}.")
        self._parts.append(data)
        return self

    def _int(self, value: int, width: int) -> Writer:
        if not 0 <= value < 1 << (8 * width):
            raise APIError(f"{value} does not fit into {width} unsigned bytes.")
        self._parts.append(value.to_bytes(width, "big"))
        return self

    def u8(self, value: int) -> Writer:
        return self._int(value, 1)

    def u16(self, value: int) -> Writer:
        return self._int(value, 2)

    def u32(self, value: int) -> Writer:
        return self._int(value, 4)

    def u64(self, value: int) -> Writer:
        return self._int(value, 8)

    def s64(self, value: int) -> Writer:
        if not -(1 << 63) <= value < 1 << 63:
            raise APIError(f"{value} does not fit into 8 signed bytes.")
        self._parts.append(value.to_bytes(8, "big", signed=True))
        return self

    def _truncated(self, value: int, width: int) -> Writer:
        if not 0 <= value < 1 << (8 * width):
            raise APIError(f"{value} does not fit into {width} unsigned bytes.")
        self._parts.append(value.to_bytes((value.bit_length() + 7) // 8, "big"))
        return self

    def tu16(self, value: int) -> Writer:
        return self._truncated(value, 2)

    def tu32(self, value: int) -> Writer:
        return self._truncated(value, 4)

    def tu64(self, value: int) -> Writer:
        return self._truncated(value, 8)

    def bigsize(self, value: int) -> Writer:
        self._parts.append(encode_bigsize(value))
        return self

    def u16_bytes(self, data: _Bytes) -> Writer:
        """Append a u16 length and the data."""
        return self.u16(len(data)).bytes(data)

    def bigsize_bytes(self, data: _Bytes) -> Writer:
        """Append a BigSize length and the data."""
        return self.bigsize(len(data)).bytes(data)

    def tlv_stream(self, records: Mapping[int, _Bytes] | Iterable[tuple[int, _Bytes]]) -> Writer:
        self._parts.append(encode_tlv_stream(records))
        return self


class StateWriter:
    """Builds one stored record: a version byte, then a TLV stream.

    Each method takes the TLV type first. A value of None is left out. Integers are truncated (no leading
    zeros), so that a field can grow without a new type.
    """

    __slots__ = ("_records", "_version")

    def __init__(self, version: int = 1) -> None:
        if not 0 <= version <= 0xFF:
            raise APIError(f"The version is one byte, not {version}.")
        self._version = version
        self._records: TlvStream = {}

    def bytes(self, tlv_type: _Int, value: _Bytes | None) -> StateWriter:
        if value is None:
            return self
        if tlv_type in self._records:
            raise APIError(f"State field {tlv_type} is written twice.")
        self._records[tlv_type] = bytes(value)
        return self

    def int(self, tlv_type: _Int, value: _Int | None) -> StateWriter:
        """Write a non-negative integer of up to 64 bits."""
        return self if value is None else self.bytes(tlv_type, Writer().tu64(value).getvalue())

    def signed(self, tlv_type: _Int, value: _Int | None) -> StateWriter:
        """Write an integer of up to 63 bits and a sign."""
        return self if value is None else self.bytes(tlv_type, Writer().s64(value).getvalue())

    def bool(self, tlv_type: _Int, value: _Bool | None) -> StateWriter:
        return self if value is None else self.bytes(tlv_type, b"\x01" if value else b"\x00")

    def text(self, tlv_type: _Int, value: str | None) -> StateWriter:
        return self if value is None else self.bytes(tlv_type, value.encode("utf-8"))

    def list(self, tlv_type: _Int, items: Iterable[_Bytes]) -> StateWriter:
        """Write a list of byte strings, each behind its BigSize length. An empty list is written too."""
        writer = Writer()
        for item in items:
            writer.bigsize_bytes(item)
        return self.bytes(tlv_type, writer.getvalue())

    def finish(self) -> _Bytes:
        return bytes((self._version,)) + encode_tlv_stream(self._records)


class StateReader:
    """Reads what `StateWriter` wrote. Ask in any order; `finish` applies the odd/even rule.

    Methods named `optional_*` give None where the field is absent; the others raise `DecodeError`, or give
    the `default` where one is named.

    Attributes:
        version: the version byte that was written.
    """

    __slots__ = ("_records", "_unread", "version")

    def __init__(self, data: _Bytes, max_version: int = 1) -> None:
        if not data:
            raise DecodeError("A stored record is empty.")
        self.version = data[0]
        if self.version > max_version:
            raise DecodeError(
                f"A stored record has version {self.version}; this program reads up to {max_version}."
            )
        self._records = decode_tlv_stream(data[1:], None)
        self._unread = set(self._records)

    def has(self, tlv_type: _Int) -> _Bool:
        return tlv_type in self._records

    def optional_bytes(self, tlv_type: _Int) -> _Bytes | None:
        self._unread.discard(tlv_type)
        return self._records.get(tlv_type)

    def bytes(self, tlv_type: _Int, length: _Int | None = None, *, default: _Bytes | None = None) -> _Bytes:
        """Take a field, which must have `length` bytes where that is given."""
        value = self.optional_bytes(tlv_type)
        if value is None:
            if default is None:
                raise DecodeError(f"A stored record lacks its field {tlv_type}.")
            return default
        if length is not None and len(value) != length:
            raise DecodeError(f"Stored field {tlv_type} has {len(value)} bytes instead of {length}.")
        return value

    def optional_int(self, tlv_type: _Int) -> _Int | None:
        raw = self.optional_bytes(tlv_type)
        return None if raw is None else Reader(raw).tu64()

    def int(self, tlv_type: _Int, *, default: _Int | None = None) -> _Int:
        value = self.optional_int(tlv_type)
        return value if value is not None else _required(tlv_type, default)

    def optional_signed(self, tlv_type: _Int) -> _Int | None:
        raw = self.optional_bytes(tlv_type)
        return None if raw is None else _whole(raw, Reader.s64)

    def signed(self, tlv_type: _Int, *, default: _Int | None = None) -> _Int:
        value = self.optional_signed(tlv_type)
        return value if value is not None else _required(tlv_type, default)

    def optional_bool(self, tlv_type: _Int) -> _Bool | None:
        raw = self.optional_bytes(tlv_type)
        if raw is None:
            return None
        if raw not in (b"\x00", b"\x01"):
            raise DecodeError(f"Stored field {tlv_type} is neither true nor false.")
        return raw == b"\x01"

    def bool(self, tlv_type: _Int, *, default: _Bool | None = None) -> _Bool:
        value = self.optional_bool(tlv_type)
        return value if value is not None else _required(tlv_type, default)

    def optional_text(self, tlv_type: _Int) -> str | None:
        raw = self.optional_bytes(tlv_type)
        if raw is None:
            return None
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DecodeError(f"Stored field {tlv_type} is not UTF-8.") from error

    def text(self, tlv_type: _Int, *, default: str | None = None) -> str:
        value = self.optional_text(tlv_type)
        return value if value is not None else _required(tlv_type, default)

    def list(self, tlv_type: _Int) -> Sequence[_Bytes]:
        """Take a list; an absent field is an empty one."""
        reader = Reader(self.optional_bytes(tlv_type) or b"")
        items: _List[_Bytes] = []
        while reader.remaining:
            items.append(reader.bigsize_bytes())
        return items

    def finish(self) -> None:
        """Refuse the record when it holds an even field that nobody asked for."""
        for tlv_type in sorted(self._unread):
            if tlv_type % 2 == 0:
                raise DecodeError(
                    f"A newer program wrote the stored field {tlv_type}, which must be understood."
                )


def _whole(raw: bytes, take: Callable[[Reader], _T]) -> _T:
    reader = Reader(raw)
    value = take(reader)
    reader.expect_end()
    return value


def _required(tlv_type: int, default: _T | None) -> _T:
    if default is None:
        raise DecodeError(f"A stored record lacks its field {tlv_type}.")
    return default
