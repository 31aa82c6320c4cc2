"""PSBTs: round trips, a second opinion by libwally and BDK, finished transactions judged by Bitcoin Core."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import replace

import bdkpython
import pytest
import wallycore
from hypothesis import given
from hypothesis import strategies as st

from tests.consensus import check_transaction
from wallet.bitcoin import curve, script
from wallet.bitcoin.amounts import MAX_MONEY_SAT
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.psbt import KeyOrigin, Psbt, PsbtInput, PsbtOutput
from wallet.bitcoin.tx import (
    OutPoint,
    Transaction,
    Txid,
    TxIn,
    TxOut,
    sighash_segwit_v0,
    sighash_taproot,
)

SECRETS = [bytes((n,)) * 32 for n in range(1, 4)]
KEYS = [curve.pubkey_from_secret(secret) for secret in SECRETS]
ORIGIN = KeyOrigin(fingerprint=b"\x01\x02\x03\x04", path=(0x80000054, 0x80000000, 5))
TAP_OUTPUT, _ = curve.taproot_tweak_pubkey(curve.xonly(KEYS[1]))
MULTISIG = script.multisig_2of2(KEYS[0], KEYS[2])

# One output of each kind that the wallet finalizes.
SPENT = [
    TxOut(10_000, script.p2wpkh(KEYS[0])),
    TxOut(20_000, script.p2tr(TAP_OUTPUT)),
    TxOut(30_000, script.p2wsh(MULTISIG)),
    TxOut(40_000, script.p2sh(script.p2wpkh(KEYS[2]))),
]
FUNDING = Transaction(2, (TxIn(OutPoint(Txid(b"\x07" * 32), 0)),), tuple(SPENT), 0)
UNSIGNED = Transaction(
    2,
    tuple(TxIn(FUNDING.outpoint(vout), sequence=0xFFFFFFFD) for vout in range(4)),
    (TxOut(90_000, script.p2wpkh(KEYS[1])), TxOut(5_000, script.p2tr(TAP_OUTPUT))),
    500,
)


def unsigned_psbt() -> Psbt:
    psbt = Psbt.from_transaction(
        UNSIGNED,
        SPENT,
        input_origins=[[(KEYS[0], ORIGIN)], [(curve.xonly(KEYS[1]), ORIGIN)], [], []],
        output_origins=[[(KEYS[1], ORIGIN)], [(curve.xonly(KEYS[1]), ORIGIN)]],
    )
    psbt = psbt.with_input(1, replace(psbt.inputs[1], tap_internal_key=curve.xonly(KEYS[1])))
    psbt = psbt.with_input(2, replace(psbt.inputs[2], witness_script=MULTISIG))
    return psbt.with_input(3, replace(psbt.inputs[3], redeem_script=script.p2wpkh(KEYS[2])))


def ecdsa(index: int, key: int, script_code: bytes) -> bytes:
    digest = sighash_segwit_v0(UNSIGNED, index, script_code, SPENT[index].value_sat)
    return curve.signature_to_der(curve.sign_ecdsa_low_r(digest, SECRETS[key])) + b"\x01"


def signed_psbt() -> Psbt:
    psbt = unsigned_psbt().with_partial_signature(0, KEYS[0], ecdsa(0, 0, script.p2pkh(KEYS[0])))
    tap_signature = curve.sign_schnorr(
        sighash_taproot(UNSIGNED, 1, SPENT), curve.taproot_tweak_secret(SECRETS[1])
    )
    psbt = psbt.with_tap_key_signature(1, tap_signature)
    for key in (2, 0):  # the wrong order: the script decides
        psbt = psbt.with_partial_signature(2, KEYS[key], ecdsa(2, key, MULTISIG))
    return psbt.with_partial_signature(3, KEYS[2], ecdsa(3, 2, script.p2pkh(KEYS[2])))


@pytest.mark.parametrize("make", [unsigned_psbt, signed_psbt, lambda: signed_psbt().finalize()])
def test_others_read_what_we_write(make: object) -> None:
    assert callable(make)
    psbt = make()
    text = psbt.to_base64()
    assert Psbt.parse(text) == psbt
    assert Psbt.parse(base64.b64decode(text)) == psbt
    assert Psbt.parse(f"\n {text[:50]}\n{text[50:]} ") == psbt
    theirs = wallycore.psbt_from_base64(text, 0)
    assert Psbt.parse(wallycore.psbt_to_base64(theirs, 0)) == psbt
    assert Psbt.parse(bdkpython.Psbt(text).serialize()) == psbt


def test_finished_transactions_are_valid() -> None:
    psbt = signed_psbt()
    assert psbt.fee_sat == 5_000
    assert not psbt.is_final
    with pytest.raises(APIError):
        psbt.extract()
    final = psbt.finalize()
    assert final.is_final
    assert final.finalize() == final
    tx = final.extract()
    assert tx.inputs[3].script_sig == script.push(script.p2wpkh(KEYS[2]))
    check_transaction(tx, SPENT)
    theirs = bdkpython.Psbt(psbt.to_base64()).finalize()
    assert theirs.could_finalize
    assert theirs.psbt.extract_tx().serialize() == tx.serialize()


def test_incomplete_inputs_stay_as_they_are() -> None:
    psbt = unsigned_psbt()
    assert psbt.finalize() == psbt
    one_of_two = psbt.with_partial_signature(2, KEYS[0], ecdsa(2, 0, MULTISIG))
    assert one_of_two.finalize() == one_of_two
    strange = psbt.with_partial_signature(0, KEYS[1], b"by a key that the script does not name")
    assert strange.finalize() == strange
    wrong_script = signed_psbt()
    wrong_script = wrong_script.with_input(2, replace(wrong_script.inputs[2], witness_script=b"\x51"))
    assert not wrong_script.finalize().inputs[2].is_final


def test_signatures_of_several_are_united() -> None:
    base = unsigned_psbt()
    first = base.with_partial_signature(2, KEYS[0], ecdsa(2, 0, MULTISIG))
    second = base.with_partial_signature(2, KEYS[2], ecdsa(2, 2, MULTISIG))
    combined = first.combine(second)
    assert combined.finalize().inputs[2].is_final
    assert combined.combine(base) == combined
    with pytest.raises(APIError):
        base.combine(Psbt.from_transaction(replace(UNSIGNED, lock_time=1), SPENT))


def test_previous_transactions_must_be_the_right_ones() -> None:
    psbt = Psbt.from_transaction(UNSIGNED, previous_txs=[FUNDING] * 4)
    assert [psbt.spent_output(index) for index in range(4)] == SPENT
    assert Psbt.parse(psbt.serialize()) == psbt
    with pytest.raises(APIError, match="previous"):
        Psbt.from_transaction(UNSIGNED, previous_txs=[UNSIGNED] * 4)
    lie = replace(psbt.inputs[0], witness_utxo=TxOut(9_999, SPENT[0].script_pubkey))
    with pytest.raises(DecodeError, match="two different amounts"):
        Psbt.parse(psbt.with_input(0, lie).serialize())


def test_signatures_in_the_transaction_are_dropped() -> None:
    signed = signed_psbt().finalize().extract()
    assert Psbt.from_transaction(signed, SPENT).tx == UNSIGNED


def test_fee_is_unknown_without_amounts() -> None:
    assert Psbt.from_transaction(UNSIGNED).fee_sat is None


def test_misuse() -> None:
    psbt = unsigned_psbt()
    with pytest.raises(APIError):
        Psbt.from_transaction(UNSIGNED, SPENT[:3])
    for index in (-1, 4):
        with pytest.raises(APIError):
            psbt.spent_output(index)
        with pytest.raises(APIError):
            psbt.with_input(index, PsbtInput())


def test_nothing_to_spend_yet() -> None:
    psbt = Psbt.from_transaction(Transaction(2, (), UNSIGNED.outputs, 0))
    assert Psbt.parse(psbt.to_base64()) == psbt


# --- input from outside -----------------------------------------------------------------------------

RAW = unsigned_psbt().serialize()


def test_cut_short_or_followed_by_something() -> None:
    for length in range(len(RAW)):
        with pytest.raises(DecodeError):
            Psbt.parse(RAW[:length])
    for tail in (b"\x00", b"\x01", RAW):
        with pytest.raises(DecodeError):
            Psbt.parse(RAW + tail)


@given(st.data())
def test_altered(data: st.DataObject) -> None:
    raw = bytearray(signed_psbt().serialize())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DecodeError):
        psbt = Psbt.parse(bytes(raw))
        assert Psbt.parse(psbt.serialize()) == psbt
        psbt.finalize()


@given(st.binary(max_size=100), st.text(max_size=100))
def test_anything(raw: bytes, text: str) -> None:
    for candidate in (raw, b"psbt\xff" + raw, text):
        with pytest.raises(DecodeError):
            Psbt.parse(candidate)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ((b"\x03", b"\x01\x00"), "length"),  # a sighash type of two bytes
        ((b"\x03\x00", b"\x01\x00\x00\x00"), "length"),  # its key is longer than its type
        ((b"\x02" + bytes(32), b"x"), "length"),
        ((b"\x06" + KEYS[0], b"abc"), "length"),
        ((b"\x06" + KEYS[0], b"abcdefg"), "length"),
        ((b"\x13", bytes(63)), "length"),
        ((b"\x16" + bytes(32), b"\xff" * 9), "cut short"),
        ((b"\x17", bytes(33)), "length"),
        ((b"\x01", bytes(8)), "cut short"),
        ((b"\x01", (MAX_MONEY_SAT + 1).to_bytes(8, "little") + b"\x00"), "amount"),
        ((b"\x01", b"\xff" * 8 + b"\x00"), "amount"),
        ((b"\x01", bytes(8) + b"\x01"), "length"),
        ((b"\x08", b"\xff" + b"\xff" * 8), "cut short"),
        ((b"\x08", b"\x01\x00\x00"), "length"),
        ((b"\x00", b"\x00"), "cut short"),
    ],
)
def test_fields_that_are_wrong(entry: tuple[bytes, bytes], complaint: str) -> None:
    psbt = Psbt.from_transaction(replace(UNSIGNED, inputs=UNSIGNED.inputs[:1]))
    broken = psbt.with_input(0, PsbtInput(unknown=(entry,)))
    with pytest.raises(DecodeError, match=complaint):
        Psbt.parse(broken.serialize())


def test_said_twice() -> None:
    psbt = replace(unsigned_psbt(), unknown=((b"\xf0", b"a"), (b"\xf0", b"b")))
    with pytest.raises(DecodeError, match="twice"):
        Psbt.parse(psbt.serialize())


def test_other_versions() -> None:
    psbt = replace(unsigned_psbt(), unknown=((b"\xfb", b"\x02\x00\x00\x00"),))
    with pytest.raises(DecodeError, match="version 2"):
        Psbt.parse(psbt.serialize())


def test_signed_already() -> None:
    tx = UNSIGNED.with_script_sig(0, b"\x51")
    psbt = Psbt(tx=tx, inputs=(PsbtInput(),) * 4, outputs=(PsbtOutput(),) * 2)
    with pytest.raises(DecodeError, match="signed"):
        Psbt.parse(psbt.serialize())


def test_unknown_fields_pass_through() -> None:
    psbt = unsigned_psbt()
    psbt = replace(psbt, unknown=((b"\x01" + bytes(78), b"12345678"), (b"\xfc\x03abc", b"proprietary")))
    psbt = psbt.with_input(0, replace(psbt.inputs[0], unknown=((b"\xee\x01", b"kept"),)))
    psbt = replace(psbt, outputs=(replace(psbt.outputs[0], unknown=((b"\xee", b""),)), psbt.outputs[1]))
    assert Psbt.parse(psbt.serialize()) == psbt
    assert psbt.finalize().unknown == psbt.unknown


# --- the consensus check itself ---------------------------------------------------------------------


def test_consensus_check_names_the_input() -> None:
    tx = signed_psbt().finalize().extract()
    for index in range(4):
        broken = tx.with_witness(index, (b"\x01", *tx.inputs[index].witness[1:]))
        with pytest.raises(AssertionError, match=f"input {index}"):
            check_transaction(broken, SPENT)
    with pytest.raises(AssertionError, match="made out of"):
        check_transaction(replace(tx, outputs=(TxOut(100_001, b"\x51"),)), SPENT)
    with pytest.raises(AssertionError, match="twice"):
        check_transaction(replace(tx, inputs=(tx.inputs[0],) * 4), SPENT)
    wrong_amounts = [replace(SPENT[0], value_sat=10_001), *SPENT[1:]]
    with pytest.raises(AssertionError, match="input 0"):
        check_transaction(tx, wrong_amounts)
