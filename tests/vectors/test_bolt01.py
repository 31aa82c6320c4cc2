"""Every vector of the appendices of BOLT 1: BigSize, TLV streams, the extension of init, signed integers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wallet.bitcoin import curve
from wallet.bitcoin.errors import DecodeError
from wallet.ln.msgs import Init, decode_message
from wallet.ln.wire import (
    Reader,
    Writer,
    decode_bigsize,
    decode_tlv_stream,
    encode_bigsize,
    encode_tlv_stream,
)

VECTORS = json.loads((Path(__file__).parent / "data" / "bolt01.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["bigsize_decoding"], ids=lambda vector: vector["name"])
def test_bigsize_decoding(vector: dict[str, str | int]) -> None:
    raw = bytes.fromhex(str(vector["bytes"]))
    if "exp_error" in vector:
        with pytest.raises(DecodeError):
            decode_bigsize(raw)
    else:
        assert decode_bigsize(raw) == (vector["value"], len(raw))
        assert Reader(raw).bigsize() == vector["value"]


@pytest.mark.parametrize("vector", VECTORS["bigsize_encoding"], ids=lambda vector: vector["name"])
def test_bigsize_encoding(vector: dict[str, str | int]) -> None:
    assert encode_bigsize(int(vector["value"])).hex() == vector["bytes"]


def decode_n1(stream: bytes) -> dict[int, tuple[int | bytes, ...]]:
    decoded: dict[int, tuple[int | bytes, ...]] = {}
    for tlv_type, value in decode_tlv_stream(stream, (1, 2, 3, 254), keep_unknown_odd=False).items():
        reader = Reader(value)
        if tlv_type == 1:
            decoded[1] = (reader.tu64(),)
        elif tlv_type == 2:
            decoded[2] = (reader.u64(),)
        elif tlv_type == 3:
            node_id = reader.bytes(33)
            if not curve.is_valid_pubkey(node_id):
                raise DecodeError("not a point")
            decoded[3] = (node_id, reader.u64(), reader.u64())
        else:
            decoded[254] = (reader.u16(),)
        reader.expect_end()
    return decoded


def decode_n2(stream: bytes) -> dict[int, tuple[int | bytes, ...]]:
    decoded: dict[int, tuple[int | bytes, ...]] = {}
    for tlv_type, value in decode_tlv_stream(stream, (0, 11), keep_unknown_odd=False).items():
        reader = Reader(value)
        decoded[tlv_type] = (reader.tu64(),) if tlv_type == 0 else (reader.tu32(),)
        reader.expect_end()
    return decoded


NAMESPACES = {"n1": decode_n1, "n2": decode_n2}
TLV_CASES = [
    pytest.param(name, vector, id=f"{name}-{vector['stream'] or 'empty'}-{vector['about']}"[:90])
    for vector in VECTORS["tlv"]
    for name in vector["namespaces"]
]


@pytest.mark.parametrize(("namespace", "vector"), TLV_CASES)
def test_tlv_stream(namespace: str, vector: dict[str, str | bool]) -> None:
    stream = bytes.fromhex(str(vector["stream"]))
    decode = NAMESPACES[namespace]
    if vector["valid"]:
        decode(stream)
        assert encode_tlv_stream(decode_tlv_stream(stream, None)) == stream
    else:
        with pytest.raises(DecodeError):
            decode(stream)


def test_tlv_values() -> None:
    valid = [v for v in VECTORS["tlv"] if v["valid"] and v["namespaces"] == ["n1"]]
    assert valid
    for vector in valid:
        decoded = decode_n1(bytes.fromhex(vector["stream"]))
        if "`amount_msat`=" in vector["about"]:
            assert decoded == {1: (int(vector["about"].rsplit("=", 1)[1]),)}
        elif "`scid`" in vector["about"]:
            assert decoded == {2: (550,)}
        elif "`cltv_delta`" in vector["about"]:
            assert decoded == {254: (550,)}
        else:
            node_id = "023da092f6980e58d2c037173180e9a465476026ee50f96695963e8efe436f54eb"
            assert decoded == {3: (bytes.fromhex(node_id), 1, 2)}


def test_an_invalid_stream_spoils_a_valid_one_and_higher_types_extend_it() -> None:
    streams = [v for v in VECTORS["tlv"] if "n1" in v["namespaces"]]
    valid = [bytes.fromhex(v["stream"]) for v in streams if v["valid"]]
    invalid = [bytes.fromhex(v["stream"]) for v in streams if not v["valid"]]
    for first in valid:
        for second in invalid:
            with pytest.raises(DecodeError):
                decode_n1(first + second)
        for second in valid:
            types = [*decode_tlv_stream(first, None), *decode_tlv_stream(second, None)]
            if types == sorted(set(types)):
                decode_n1(first + second)
            else:
                with pytest.raises(DecodeError):
                    decode_n1(first + second)


@pytest.mark.parametrize("raw", VECTORS["init_valid"])
def test_init_extension_is_accepted(raw: str) -> None:
    assert isinstance(decode_message(bytes.fromhex(raw)), Init)


@pytest.mark.parametrize("raw", VECTORS["init_invalid"])
def test_init_extension_is_refused(raw: str) -> None:
    with pytest.raises(DecodeError):
        decode_message(bytes.fromhex(raw))


@pytest.mark.parametrize("vector", [v for v in VECTORS["signed"] if len(v["bytes"]) == 16])
def test_signed_integers(vector: dict[str, str | int]) -> None:
    raw = bytes.fromhex(str(vector["bytes"]))
    assert Reader(raw).s64() == vector["value"]
    assert Writer().s64(int(vector["value"])).getvalue() == raw
