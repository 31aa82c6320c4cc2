"""What the message modules share: field sizes and the checks that every message makes."""

from __future__ import annotations

from typing import Final

from wallet.bitcoin import curve
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.ln.wire import TlvStream, decode_tlv_stream, encode_bigsize

MAX_MESSAGE_LENGTH: Final = 65_535
"""BOLT 8: the length of a message, its type included, travels in two bytes."""

_NO_TYPES: Final[frozenset[int]] = frozenset()


def short(name: str, payload: bytes, needed: int) -> DecodeError:
    """Build the error for a payload that ends before its fixed fields do."""
    return DecodeError(f"{name} has {len(payload)} bytes; its fixed fields need {needed}.")


def check_extension(payload: bytes, offset: int) -> None:
    """Check the TLV stream behind a message that defines no TLVs. BOLT 1: odd ones are ignored."""
    if offset != len(payload):
        decode_tlv_stream(payload[offset:], _NO_TYPES, keep_unknown_odd=False)


def point(data: bytes) -> bytes:
    """Pass on a compressed point, or raise `DecodeError` when it is none."""
    if not curve.is_valid_pubkey(data):
        raise DecodeError("A field that must be a point on the curve is none.")
    return data


def sized(stream: TlvStream, tlv_type: int, length: int) -> bytes | None:
    """Take a TLV value of exactly `length` bytes, or None when it is absent."""
    value = stream.get(tlv_type)
    if value is not None and len(value) != length:
        raise DecodeError(f"TLV type {tlv_type} has {len(value)} bytes instead of {length}.")
    return value


def record(tlv_type: int, value: bytes) -> bytes:
    """Encode one TLV record."""
    return encode_bigsize(tlv_type) + encode_bigsize(len(value)) + value


def fixed(value: bytes, length: int, name: str) -> bytes:
    """Pass on a field that we are about to send, or raise `APIError` when its size is wrong."""
    if len(value) != length:
        raise APIError(f"{name} has {len(value)} bytes instead of {length}.")
    return value


def u16_prefixed(payload: bytes, offset: int, name: str) -> tuple[bytes, int]:
    """Take a u16 length and that many bytes at `offset`; return them and the offset behind them."""
    start = offset + 2
    if start > len(payload):
        raise short(name, payload, start)
    stop = start + int.from_bytes(payload[offset:start], "big")
    if stop > len(payload):
        raise short(name, payload, stop)
    return payload[start:stop], stop


def prefix_u16(data: bytes) -> bytes:
    """Put a u16 length before the data."""
    if len(data) > MAX_MESSAGE_LENGTH:
        raise APIError(f"A field of {len(data)} bytes does not fit into a message.")
    return len(data).to_bytes(2, "big") + data
