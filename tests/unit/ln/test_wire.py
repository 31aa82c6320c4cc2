"""The codec: readers that never run over, and stored records that older and newer programs can read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet.bitcoin.errors import APIError, DecodeError
from wallet.ln.wire import (
    Reader,
    StateReader,
    StateWriter,
    Writer,
    decode_tlv_stream,
    encode_bigsize,
    encode_tlv_stream,
)


@given(st.integers(0, 2**64 - 1), st.binary(max_size=5))
def test_integers_there_and_back(value: int, tail: bytes) -> None:
    raw = Writer().bigsize(value).u64(value).bytes(tail).getvalue()
    reader = Reader(raw)
    assert (reader.bigsize(), reader.u64(), reader.rest()) == (value, value, tail)
    reader.expect_end()
    assert Reader(Writer().tu64(value).getvalue()).tu64() == value


@given(st.dictionaries(st.integers(0, 2**64 - 1), st.binary(max_size=300), max_size=8))
def test_tlv_streams_there_and_back(records: dict[int, bytes]) -> None:
    assert decode_tlv_stream(encode_tlv_stream(records), None) == records


@given(st.binary(max_size=80))
def test_noise_raises_only_decode_error(noise: bytes) -> None:
    reads: list[Callable[[Reader], object]] = [
        Reader.u8, Reader.u16, Reader.u32, Reader.u64, Reader.s64, Reader.tu16, Reader.tu32, Reader.tu64,
        Reader.bigsize, Reader.u16_bytes, Reader.bigsize_bytes, Reader.tlv_stream, Reader.expect_end,
    ]  # fmt: skip
    for read in reads:
        with contextlib.suppress(DecodeError):
            read(Reader(noise))
    try:
        reader = StateReader(noise, max_version=255)
        reader.list(1), reader.optional_int(2), reader.optional_bool(3), reader.optional_text(4)
        reader.finish()
    except DecodeError:
        pass


def test_values_that_do_not_fit() -> None:
    for write in (lambda: Writer().u8(256), lambda: Writer().u64(-1), lambda: encode_bigsize(2**64)):
        with pytest.raises(APIError):
            write()
    with pytest.raises(APIError):
        Writer().bytes(b"abc", 2)
    with pytest.raises(APIError):
        encode_tlv_stream([(1, b""), (1, b"")])
    with pytest.raises(DecodeError):
        Reader(b"abc").bytes(-1)


def test_state_there_and_back() -> None:
    raw = (
        StateWriter(version=1)
        .bytes(0, b"id")
        .int(2, 2**63)
        .int(4, 0)
        .signed(6, -5)
        .bool(8, True)
        .text(10, "Ein Wort")
        .list(12, [b"a", b"", b"bc"])
        .int(14, None)
        .finish()
    )
    reader = StateReader(raw)
    assert reader.bytes(0, 2) == b"id"
    assert reader.int(2) == 2**63
    assert reader.int(4) == 0
    assert reader.signed(6) == -5
    assert reader.bool(8) is True
    assert reader.text(10) == "Ein Wort"
    assert reader.list(12) == [b"a", b"", b"bc"]
    assert reader.optional_int(14) is None
    assert reader.int(14, default=7) == 7
    assert reader.bool(16, default=False) is False
    reader.finish()


def test_state_from_a_newer_program() -> None:
    # An odd field that nobody asks for is passed over; an even one is not.
    StateReader(StateWriter().int(1, 5).finish()).finish()
    with pytest.raises(DecodeError):
        StateReader(StateWriter().int(2, 5).finish()).finish()
    with pytest.raises(DecodeError):
        StateReader(StateWriter(version=2).finish(), max_version=1)
    assert StateReader(StateWriter(version=1).finish(), max_version=2).version == 1


def test_state_that_is_wrong() -> None:
    reader = StateReader(StateWriter().bytes(0, b"\x02").bytes(2, b"\xff").finish())
    with pytest.raises(DecodeError):
        reader.bool(0)
    with pytest.raises(DecodeError):
        reader.text(2)
    with pytest.raises(DecodeError):
        reader.bytes(0, 4)
    with pytest.raises(DecodeError):
        reader.int(4)
    with pytest.raises(DecodeError):
        StateReader(b"")
    with pytest.raises(APIError):
        StateWriter().int(1, 1).int(1, 1)
