"""Transactions: what is accepted survives its own bytes and means the same to libwally and Bitcoin Core."""

from __future__ import annotations

import contextlib
import copy
import pickle
from dataclasses import FrozenInstanceError, replace

import pbk
import pytest
import wallycore
from hypothesis import given
from hypothesis import strategies as st

from wallet.bitcoin import tx as tx_module
from wallet.bitcoin.amounts import MAX_MONEY_SAT
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.hashes import tagged_hash
from wallet.bitcoin.tx import (
    BlockHeader,
    OutPoint,
    Transaction,
    Txid,
    TxIn,
    TxOut,
    bits_from_target,
    compact_size,
    hash_from_hex,
    hash_hex,
    read_compact_size,
    sighash_segwit_v0,
    sighash_taproot,
    target_from_bits,
    txid_from_hex,
    txid_hex,
)

u32 = st.integers(0, 0xFFFFFFFF)
txids = st.binary(min_size=32, max_size=32).map(Txid)
scripts = st.binary(max_size=300)
outpoints = st.builds(OutPoint, txids, u32)
witnesses = st.lists(scripts, max_size=4).map(tuple)
inputs = st.builds(TxIn, outpoints, scripts, u32, witnesses)
outputs = st.builds(TxOut, st.integers(0, MAX_MONEY_SAT // 8), scripts)
transactions = st.builds(
    Transaction,
    u32,
    st.lists(inputs, min_size=1, max_size=5).map(tuple),
    st.lists(outputs, min_size=1, max_size=5).map(tuple),
    u32,
)
WITNESS = wallycore.WALLY_TX_FLAG_USE_WITNESS

SIMPLE = Transaction(
    2, (TxIn(OutPoint(Txid(bytes(range(32))), 7), b"", 5, (b"a", b"")),), (TxOut(1, b"\x51"),), 9
)


def without_witness(tx: Transaction) -> Transaction:
    return replace(tx, inputs=tuple(TxIn(txin.prevout, txin.script_sig, txin.sequence) for txin in tx.inputs))


# --- meaning ----------------------------------------------------------------------------------------


@given(transactions)
def test_round_trip_and_ids_agree_with_others(tx: Transaction) -> None:
    raw = tx.serialize()
    parsed = Transaction.parse(raw)
    assert parsed == tx
    assert hash(parsed) == hash(tx)
    assert parsed.serialize() == raw
    other = wallycore.tx_from_bytes(raw, WITNESS)
    assert tx.txid == wallycore.tx_get_txid(other)
    assert tx.weight == wallycore.tx_get_weight(other)
    assert tx.vsize_vbytes == wallycore.tx_get_vsize(other)
    assert bytes(pbk.Transaction(raw).txid) == tx.txid
    assert tx.weight == 3 * len(tx.serialize(witness=False)) + len(raw)
    bare = without_witness(tx)
    assert bare.txid == bare.wtxid == tx.txid
    assert (tx.wtxid == tx.txid) is not tx.has_witness
    assert Transaction.parse_without_witness(tx.serialize(witness=False)) == bare


@given(transactions, st.data())
def test_altered_bytes_are_refused_or_mean_what_core_reads(tx: Transaction, data: st.DataObject) -> None:
    raw = bytearray(tx.serialize())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        parsed = Transaction.parse(bytes(raw))
    except DecodeError:
        return
    assert parsed.serialize() == bytes(raw)
    # The kernel refuses transactions without inputs in the old form when they look like the new one.
    if parsed.inputs:
        assert bytes(pbk.Transaction(bytes(raw)).txid) == parsed.txid


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    with contextlib.suppress(DecodeError):
        assert Transaction.parse(raw).serialize() == raw
    with contextlib.suppress(DecodeError):
        assert Transaction.parse_without_witness(raw).serialize() == raw


@given(transactions)
def test_cut_short_or_followed_by_something(tx: Transaction) -> None:
    raw = tx.serialize()
    altered = [raw[:length] for length in range(len(raw))] + [raw + tail for tail in (b"\x00", raw, bytes(4))]
    for candidate in altered:
        # What is cut out of a signed transaction can happen to read as one that has no inputs.
        for parse in (Transaction.parse, Transaction.parse_without_witness):
            with contextlib.suppress(DecodeError):
                assert not parse(candidate).inputs
                assert tx.has_witness


# --- what no transaction may say --------------------------------------------------------------------


def build(*parts: bytes) -> bytes:
    return b"".join(parts)


VERSION, LOCK = b"\x02\x00\x00\x00", bytes(4)
ONE_INPUT = b"\x01" + bytes(36) + b"\x00" + b"\xff" * 4
ONE_OUTPUT = b"\x01" + (5).to_bytes(8, "little") + b"\x00"


def test_the_parts_below_are_sound() -> None:
    assert len(Transaction.parse(build(VERSION, ONE_INPUT, ONE_OUTPUT, LOCK)).outputs) == 1
    marked = build(VERSION, b"\x00\x01", ONE_INPUT, ONE_OUTPUT, b"\x01\x01\xaa", LOCK)
    assert Transaction.parse(marked).inputs[0].witness == (b"\xaa",)


@pytest.mark.parametrize(
    "raw",
    [
        build(VERSION, b"\xff" + b"\xff" * 8, LOCK),  # 2^64 - 1 inputs
        build(VERSION, b"\xfe\xff\xff\xff\xff", bytes(100), LOCK),
        build(VERSION, ONE_INPUT, b"\xff" + b"\xff" * 8, LOCK),
        build(VERSION, ONE_INPUT, b"\xfd\xff\xff", bytes(40), LOCK),
        build(VERSION, b"\x01" + bytes(36) + b"\xff" + b"\xff" * 8 + b"\xff" * 4, ONE_OUTPUT, LOCK),
        build(VERSION, ONE_INPUT, b"\x01" + bytes(8) + b"\xff" + b"\xff" * 8, LOCK),
        build(VERSION, b"\x00\x01", ONE_INPUT, ONE_OUTPUT, b"\xff" + b"\xff" * 8, LOCK),
        build(VERSION, b"\x00\x01", ONE_INPUT, ONE_OUTPUT, b"\x01\xfe\xff\xff\xff\xff", LOCK),
    ],
    ids=range(8),
)
def test_absurd_counts(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        Transaction.parse(raw)


@pytest.mark.parametrize(
    "raw",
    [
        build(VERSION, b"\xfd\x01\x00" + ONE_INPUT[1:], ONE_OUTPUT, LOCK),
        build(VERSION, ONE_INPUT, b"\xfe\x01\x00\x00\x00" + ONE_OUTPUT[1:], LOCK),
        build(VERSION, ONE_INPUT, b"\x01" + bytes(8) + b"\xfd\x00\x00", LOCK),
        build(VERSION, b"\x00\x01", ONE_INPUT, ONE_OUTPUT, b"\x01\xfd\x01\x00\xaa", LOCK),
    ],
    ids=range(4),
)
def test_lengths_that_are_not_minimal(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        Transaction.parse(raw)


@pytest.mark.parametrize("value_sat", [-1, -(2**63), MAX_MONEY_SAT + 1, 2**63 - 1])
def test_amounts_that_cannot_exist(value_sat: int) -> None:
    amount = value_sat.to_bytes(8, "little", signed=True)
    with pytest.raises(DecodeError, match="amount"):
        Transaction.parse(build(VERSION, ONE_INPUT, b"\x01", amount, b"\x00", LOCK))


def test_amounts_whose_sum_cannot_exist() -> None:
    amount = MAX_MONEY_SAT.to_bytes(8, "little") + b"\x00"
    assert (
        Transaction.parse(build(VERSION, ONE_INPUT, b"\x01", amount, LOCK)).total_output_sat == MAX_MONEY_SAT
    )
    with pytest.raises(DecodeError, match="amount"):
        Transaction.parse(
            build(VERSION, ONE_INPUT, b"\x02", amount, (1).to_bytes(8, "little"), b"\x00", LOCK)
        )


def test_marked_as_signed_without_a_witness() -> None:
    with pytest.raises(DecodeError, match="witness"):
        Transaction.parse(build(VERSION, b"\x00\x01", ONE_INPUT, ONE_OUTPUT, b"\x00", LOCK))
    with pytest.raises(DecodeError):  # an unknown flag
        Transaction.parse(build(VERSION, b"\x00\x02", ONE_INPUT, ONE_OUTPUT, b"\x01\x00", LOCK))


def test_too_large_for_a_block() -> None:
    with pytest.raises(DecodeError, match="block"):
        Transaction.parse(bytes(tx_module.MAX_TRANSACTION_BYTES + 1))


@given(st.lists(outputs, max_size=4))
def test_no_inputs_as_funding_flows_have_it(outs: list[TxOut]) -> None:
    tx = Transaction(2, (), tuple(outs), 0)
    raw = tx.serialize()
    assert Transaction.parse_without_witness(raw) == tx
    assert Transaction.parse(raw) == tx
    assert tx.weight == 4 * len(raw)


@pytest.mark.parametrize(
    "tx",
    [
        replace(SIMPLE, outputs=(TxOut(-1, b""),)),
        replace(SIMPLE, version=-1),
        replace(SIMPLE, lock_time=1 << 32),
        replace(SIMPLE, inputs=(TxIn(OutPoint(Txid(bytes(32)), -1)),)),
        replace(SIMPLE, inputs=(TxIn(OutPoint(Txid(bytes(32)), 0), b"", 1 << 32),)),
    ],
    ids=range(5),
)
def test_numbers_that_do_not_fit_are_not_written(tx: Transaction) -> None:
    with pytest.raises(APIError):
        tx.serialize()
    with pytest.raises(APIError):
        _ = tx.txid
    with pytest.raises(APIError):
        sighash_segwit_v0(tx, 0, b"", 1)
    with pytest.raises(APIError):
        sighash_taproot(tx, 0, [TxOut(1, b"")])


# --- values -----------------------------------------------------------------------------------------


def test_values_are_frozen_and_copies_are_equal() -> None:
    with pytest.raises(FrozenInstanceError):
        SIMPLE.version = 3  # type: ignore[misc]  # frozen: it has to raise
    with pytest.raises(FrozenInstanceError):
        Transaction.parse(SIMPLE.serialize()).outputs[0].value_sat = 3  # type: ignore[misc]  # frozen: it has to raise
    _ = SIMPLE.txid
    for clone in (pickle.loads(pickle.dumps(SIMPLE)), copy.deepcopy(SIMPLE), copy.copy(SIMPLE)):
        assert clone == SIMPLE
        assert clone.txid == SIMPLE.txid
    # What was computed for one transaction does not leak into a changed one.
    assert (
        replace(SIMPLE, lock_time=1).txid == Transaction.parse(replace(SIMPLE, lock_time=1).serialize()).txid
    )


@given(transactions, witnesses, st.data())
def test_with_witness(tx: Transaction, witness: tuple[bytes, ...], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(tx.inputs) - 1))
    _ = tx.txid, tx.wtxid, tx.weight
    sighash_segwit_v0(tx, index, b"", 0)
    changed = tx.with_witness(index, list(witness))
    fresh = Transaction.parse(changed.serialize())
    assert changed.inputs[index].witness == witness
    assert (changed.txid, changed.wtxid, changed.weight) == (fresh.txid, fresh.wtxid, fresh.weight)
    assert changed.txid == tx.txid
    assert sighash_segwit_v0(changed, index, b"x", 1) == sighash_segwit_v0(fresh, index, b"x", 1)
    rescripted = tx.with_script_sig(index, b"\x51")
    assert rescripted.txid == Transaction.parse(rescripted.serialize()).txid
    for bad in (-1, len(tx.inputs)):
        with pytest.raises(APIError):
            tx.with_witness(bad, [])


@given(outpoints)
def test_outpoints(outpoint: OutPoint) -> None:
    assert OutPoint.parse(outpoint.serialize()) == outpoint
    assert OutPoint.from_text(str(outpoint)) == outpoint
    assert str(outpoint) == f"{txid_hex(outpoint.txid)}:{outpoint.vout}"
    assert {outpoint: 1}[OutPoint(outpoint.txid, outpoint.vout)] == 1


def test_outpoints_have_an_order() -> None:
    low, high = Txid(b"\x00" * 32), Txid(b"\x01" * 32)
    assert sorted([OutPoint(high, 0), OutPoint(low, 2), OutPoint(low, 1)]) == [
        OutPoint(low, 1),
        OutPoint(low, 2),
        OutPoint(high, 0),
    ]
    assert SIMPLE.outpoint(0) == OutPoint(SIMPLE.txid, 0)
    with pytest.raises(APIError):
        SIMPLE.outpoint(1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "00" * 32,
        "00" * 32 + ":",
        "00" * 32 + ":-1",
        "00" * 32 + ":01",
        "00" * 32 + ":²",
        "00" * 32 + ":4294967296",
        "0g" * 32 + ":0",
        "00" * 31 + ":0",
        " " + "00" * 31 + "0:0",
    ],
)
def test_texts_that_are_no_outpoints(text: str) -> None:
    with pytest.raises(DecodeError):
        OutPoint.from_text(text)


def test_hashes_for_people() -> None:
    text = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
    assert txid_hex(txid_from_hex(text)) == text
    assert hash_hex(hash_from_hex(text.upper())) == text
    assert txid_from_hex(text)[0] == 0x3B
    for bad in ("", text[:-1], text + "0", text[:-1] + " ", text[:-1] + "é"):
        with pytest.raises(DecodeError):
            txid_from_hex(bad)


@given(st.integers(0, 2**64 - 1))
def test_compact_sizes(number: int) -> None:
    raw = compact_size(number)
    assert read_compact_size(b"x" + raw + b"y", 1) == (number, 1 + len(raw))
    assert raw == wallycore.varint_to_bytes(number)
    for length in range(len(raw)):
        with pytest.raises(DecodeError):
            read_compact_size(raw[:length], 0)


# --- signature hashes -------------------------------------------------------------------------------


@given(transactions, scripts.filter(bool), st.integers(0, MAX_MONEY_SAT), st.data())
def test_segwit_hashes_agree_with_libwally(
    tx: Transaction, script_code: bytes, value_sat: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(tx.inputs) - 1))
    sighash_type = data.draw(st.sampled_from([0x01, 0x02, 0x03, 0x81, 0x82, 0x83]))
    ours = sighash_segwit_v0(tx, index, script_code, value_sat, sighash_type)
    theirs = wallycore.tx_get_btc_signature_hash(
        wallycore.tx_from_bytes(tx.serialize(), WITNESS), index, script_code, value_sat, sighash_type, WITNESS
    )
    assert ours == theirs
    # The mid-states are kept from the first time: they are the same.
    assert sighash_segwit_v0(tx, index, script_code, value_sat, sighash_type) == ours


@given(transactions, st.data())
def test_taproot_hashes_agree_with_libwally(tx: Transaction, data: st.DataObject) -> None:
    spent = [
        TxOut(data.draw(st.integers(0, MAX_MONEY_SAT)), b"\x51\x20" + data.draw(txids)) for _ in tx.inputs
    ]
    index = data.draw(st.integers(0, len(tx.inputs) - 1))
    sighash_type = data.draw(st.sampled_from([0x00, 0x01, 0x02, 0x03, 0x81, 0x82, 0x83]))
    leaf_script = data.draw(st.none() | st.binary(min_size=1, max_size=300))
    leaf_hash = None
    if leaf_script is not None:
        leaf_hash = tagged_hash("TapLeaf", b"\xc0" + compact_size(len(leaf_script)) + leaf_script)
    if sighash_type & 3 == 3 and index >= len(tx.outputs):
        with pytest.raises(APIError):
            sighash_taproot(tx, index, spent, sighash_type, leaf_hash)
        return
    ours = sighash_taproot(tx, index, spent, sighash_type, leaf_hash)
    scripts_map = wallycore.map_init(len(spent), None)
    for position, output in enumerate(spent):
        wallycore.map_add_integer(scripts_map, position, output.script_pubkey)
    theirs = wallycore.tx_get_btc_taproot_signature_hash(
        wallycore.tx_from_bytes(tx.serialize(), WITNESS),
        index,
        scripts_map,
        [output.value_sat for output in spent],
        leaf_script,
        0,
        0xFFFFFFFF,
        None,
        sighash_type,
        0,
    )
    assert ours == theirs


def test_signature_hashes_of_nothing() -> None:
    for bad in (-1, 1):
        with pytest.raises(APIError):
            sighash_segwit_v0(SIMPLE, bad, b"", 0)
        with pytest.raises(APIError):
            sighash_taproot(SIMPLE, bad, [TxOut(1, b"")])
    with pytest.raises(APIError):
        sighash_segwit_v0(SIMPLE, 0, b"", -1)
    with pytest.raises(APIError):
        sighash_taproot(SIMPLE, 0, [])
    with pytest.raises(APIError):
        sighash_taproot(SIMPLE, 0, [TxOut(1, b"")], 0x04)
    with pytest.raises(APIError):
        sighash_taproot(SIMPLE, 0, [TxOut(1, b"")], 0, b"short")


# --- blocks -----------------------------------------------------------------------------------------


@given(st.binary(min_size=80, max_size=80))
def test_headers(raw: bytes) -> None:
    header = BlockHeader.parse(raw)
    assert header.serialize() == raw
    assert header.hash == bytes(pbk.BlockHeader(raw).block_hash)
    assert header.work >= 0
    assert not (header.meets_target and header.target == 0)


def test_headers_of_other_lengths() -> None:
    for length in (0, 79, 81, 160):
        with pytest.raises(DecodeError):
            BlockHeader.parse(bytes(length))


@pytest.mark.parametrize(
    ("bits", "target"),
    [
        (0x1D00FFFF, 0xFFFF << 208),
        (0x207FFFFF, 0x7FFFFF << 232),
        (0x01003456, 0),
        (0x01123456, 0x12),
        (0x02123456, 0x1234),
        (0x03123456, 0x123456),
        (0x04123456, 0x12345600),
        (0x04923456, 0),  # negative
        (0xFF123456, 0),  # beyond 256 bits
        (0x00000000, 0),
    ],
)
def test_compact_targets(bits: int, target: int) -> None:
    assert target_from_bits(bits) == target


@given(st.integers(1, 2**255))
def test_targets_round_down(target: int) -> None:
    bits = bits_from_target(target)
    stored = target_from_bits(bits)
    assert stored <= target
    assert (target - stored) << 15 < max(target, 1 << 15)
    assert bits_from_target(stored) == bits


def test_work_of_the_first_block() -> None:
    assert BlockHeader(1, hash_from_hex("00" * 32), bytes(32), 0, 0x1D00FFFF, 0).work == 0x100010001
