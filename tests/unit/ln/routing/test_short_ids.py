"""Arrays of BOLT 7's queries: compressed as nodes of before write them, and the checksums of updates."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import pytest

from tests.unit.ln.routing.graph_builder import NOW, announce_terms, scid, sign_update
from wallet.bitcoin.errors import DecodeError
from wallet.ln import msgs
from wallet.ln.msgs.gossip import MAX_SHORT_IDS, crc32c, decode_short_ids, encode_short_ids, update_checksum

CHAIN = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"


def packed(*ids: int) -> bytes:
    return struct.pack(f">{len(ids)}Q", *ids)


def compressed(*ids: int) -> bytes:
    return b"\x01" + zlib.compress(packed(*ids))


# The vectors of BOLT 7, extended queries.
ZLIB_RANGE = (
    f"0108{CHAIN}0001ddde000005dc01001801789c63600001036730c55e710d4cbb3d3c080017c303b1"
    "012201789c63606a3ac8c0577e9481bd622d8327d7060686ad150c53a3ff0300554707db"
    "031800000457000008ae00000d050000115c000015b300001a0a"
)
ZLIB_IDS = f"0105{CHAIN}001801789c63600001c12b608a69e73e30edbaec0800203b040e"
ZLIB_FLAGS = f"0105{CHAIN}0019000000000000002fc80000000000003cc4000000000045a6c4010c01789c6364620100000e0008"
ZLIB_BOTH = f"0105{CHAIN}001801789c63600001f30a30c5b0cd144cb92e3b020017c6034a010c01789c6364620100000e0008"


def number(transaction: int, output: int) -> int:
    return transaction << 16 | output


def test_a_compressed_range_reply() -> None:
    reply = msgs.decode_message(bytes.fromhex(ZLIB_RANGE))
    assert isinstance(reply, msgs.ReplyChannelRange)
    assert reply.short_channel_ids == (12_355, number(7, 30_934), number(70, 57_793))
    assert reply.timestamps == ((164_545, 948_165), (489_645, 4_786_864), (46_456, 9_788_415))
    assert reply.checksums == ((1111, 2222), (3333, 4444), (5555, 6666))
    # BOLT 7: it is never written so any more.
    assert b"\x78\x9c" not in msgs.encode_message(reply)


@pytest.mark.parametrize(
    ("raw", "ids", "flags"),
    [
        (ZLIB_IDS, (4_564, number(2, 47_550), number(69, 42_692)), None),
        (ZLIB_FLAGS, (12_232, 15_556, number(69, 42_692)), (1, 2, 4)),
        (ZLIB_BOTH, (14_200, 46_645, number(69, 42_692)), (1, 2, 4)),
    ],
    ids=["ids", "flags", "both"],
)
def test_a_compressed_query(raw: str, ids: tuple[int, ...], flags: tuple[int, ...] | None) -> None:
    query = msgs.decode_message(bytes.fromhex(raw))
    assert isinstance(query, msgs.QueryShortChannelIds)
    assert query.short_channel_ids == ids
    assert query.query_flags == flags


def test_as_many_compressed_ids_as_fit_uncompressed() -> None:
    ids = tuple(range(1, MAX_SHORT_IDS + 1))
    assert decode_short_ids(compressed(*ids)) == ids
    assert len(encode_short_ids(ids)) <= 0xFFFF
    with pytest.raises(DecodeError, match="more than"):
        decode_short_ids(compressed(*ids, MAX_SHORT_IDS + 1))


@pytest.mark.parametrize(
    "bad",
    [
        b"\x01" + zlib.compress(bytes(50_000_000)),
        compressed(1, 2, 2),
        compressed(2, 1),
        b"\x01" + zlib.compress(bytes(15)),
        compressed(1, 2)[:-1],
        compressed(1, 2) + b"\x00",
        b"\x01" + packed(1),
        b"\x02" + packed(1),
    ],
    ids=["bomb", "twice", "descending", "odd", "cut", "trailing", "not_zlib", "unknown_encoding"],
)
def test_compressed_ids_that_are_none(bad: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_short_ids(bad)


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    class Stream:
        def __init__(self) -> None:
            self.stream = zlib_stream()

        def decompress(self, data: bytes, limit: int = 0) -> bytes:
            found = self.stream.decompress(data, limit)
            lengths.append(len(found))
            return found

    zlib_stream = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Stream)
    with pytest.raises(DecodeError, match="more than"):
        decode_short_ids(b"\x01" + zlib.compress(bytes(50_000_000)))
    assert lengths == [8 * MAX_SHORT_IDS + 1]


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        # RFC 3720, appendix B.4; its bytes are in the order of the wire.
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
    ids=["zeros", "ones", "ascending", "descending"],
)
def test_crc32c(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum


def test_a_checksum_leaves_out_signature_and_time_only() -> None:
    update = replace(announce_terms("A", "B", scid(100)), excess_data=b"later")
    first = update_checksum(update.encode_payload())
    again = sign_update(replace(update, timestamp_at=NOW.at), "A")
    assert update_checksum(again.encode_payload()) == first
    for change in (
        {"chain_hash": bytes(32)},
        {"short_channel_id": scid(101)},
        {"message_flags": 3},
        {"channel_flags": update.channel_flags ^ 2},
        {"cltv_expiry_delta": 41},
        {"htlc_minimum_msat": 2},
        {"fee_base_msat": 1},
        {"fee_proportional_millionths": 1},
        {"htlc_maximum_msat": 5},
        {"excess_data": b"other"},
    ):
        other = replace(update, **change)
        assert update_checksum(other.encode_payload()) != first
