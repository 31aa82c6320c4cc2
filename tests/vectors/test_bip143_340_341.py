"""BIP 143, 340 and 341: signature hashes, Schnorr signatures, taproot outputs and their key path."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.consensus import check_transaction
from wallet.bitcoin import curve, script
from wallet.bitcoin.address import MAINNET, script_to_address
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.hashes import sha256d, tagged_hash
from wallet.bitcoin.tx import (
    OutPoint,
    Transaction,
    TxOut,
    compact_size,
    read_compact_size,
    sighash_segwit_v0,
    sighash_taproot,
)

DATA = Path(__file__).parent / "data"


def load(name: str) -> Any:
    return json.loads((DATA / name).read_text())


BIP143 = load("bip0143.json")
BIP341 = load("bip0341.json")


# --- BIP 143 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", BIP143, ids=range(len(BIP143)))
def test_bip143_hashes(group: dict[str, Any]) -> None:
    tx = Transaction.parse(bytes.fromhex(group["unsigned"]))
    assert tx.serialize().hex() == group["unsigned"]
    assert group["hashes"]
    for vector in group["hashes"]:
        preimage = bytes.fromhex(vector["preimage"])
        assert sha256d(preimage).hex() == vector["sighash"]
        # Everything that is signed stands in the preimage: take the arguments from there.
        prevout = OutPoint.parse(preimage[68:104])
        index = [txin.prevout for txin in tx.inputs].index(prevout)
        length, offset = read_compact_size(preimage, 104)
        script_code = preimage[offset : offset + length]
        value_sat = int.from_bytes(preimage[offset + length : offset + length + 8], "little")
        sighash_type = int.from_bytes(preimage[-4:], "little")
        digest = sighash_segwit_v0(tx, index, script_code, value_sat, sighash_type)
        assert digest.hex() == vector["sighash"]
        if vector["public_key"] and vector["private_key"]:
            assert (
                curve.pubkey_from_secret(bytes.fromhex(vector["private_key"])).hex() == vector["public_key"]
            )
            signature = bytes.fromhex(vector["signature"])
            assert signature[-1] == sighash_type
            compact = curve.signature_from_der(signature[:-1])
            assert curve.verify_ecdsa(compact, digest, bytes.fromhex(vector["public_key"]))


@pytest.mark.parametrize("group", BIP143, ids=range(len(BIP143)))
def test_bip143_signed_transactions(group: dict[str, Any]) -> None:
    raw = bytes.fromhex(group["signed"])
    tx = Transaction.parse(raw)
    assert tx.serialize() == raw
    unsigned = Transaction.parse(bytes.fromhex(group["unsigned"]))
    assert tx.outputs == unsigned.outputs
    assert [txin.prevout for txin in tx.inputs] == [txin.prevout for txin in unsigned.inputs]
    spent = [
        TxOut(int(Decimal(entry["value_btc"]) * 100_000_000), bytes.fromhex(entry["script_pubkey"]))
        for entry in group["spent"]
    ]
    check_transaction(tx, spent)


# --- BIP 340 ----------------------------------------------------------------------------------------


def _bip340() -> list[dict[str, str]]:
    with (DATA / "bip0340.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", _bip340(), ids=lambda row: row["index"])
def test_bip340(row: dict[str, str]) -> None:
    pubkey, message = bytes.fromhex(row["public key"]), bytes.fromhex(row["message"])
    signature = bytes.fromhex(row["signature"])
    assert curve.verify_schnorr(signature, message, pubkey) is (row["verification result"] == "TRUE")
    if row["secret key"]:
        secret = bytes.fromhex(row["secret key"])
        assert curve.xonly(curve.pubkey_from_secret(secret)) == pubkey
        if len(message) == 32:
            assert curve.sign_schnorr(message, secret, bytes.fromhex(row["aux_rand"])) == signature
        else:
            with pytest.raises(DecodeError):
                curve.sign_schnorr(message, secret)  # what we sign are digests


# --- BIP 341 ----------------------------------------------------------------------------------------


def leaf_hash(tree: dict[str, Any]) -> bytes:
    leaf_script = bytes.fromhex(tree["script"])
    return tagged_hash(
        "TapLeaf", bytes((tree["leafVersion"],)) + compact_size(len(leaf_script)) + leaf_script
    )


def merkle_root(tree: Any) -> bytes:
    if tree is None:
        return b""
    if isinstance(tree, dict):
        return leaf_hash(tree)
    return tagged_hash("TapBranch", b"".join(sorted(merkle_root(branch) for branch in tree)))


@pytest.mark.parametrize("vector", BIP341["scriptPubKey"], ids=range(len(BIP341["scriptPubKey"])))
def test_bip341_script_pubkeys(vector: dict[str, Any]) -> None:
    internal = bytes.fromhex(vector["given"]["internalPubkey"])
    root = merkle_root(vector["given"]["scriptTree"])
    assert root.hex() == (vector["intermediary"]["merkleRoot"] or "")
    output, parity = curve.taproot_tweak_pubkey(internal, root)
    assert output.hex() == vector["intermediary"]["tweakedPubkey"]
    assert script.p2tr(output).hex() == vector["expected"]["scriptPubKey"]
    assert script_to_address(script.p2tr(output), MAINNET) == vector["expected"]["bip350Address"]
    for control in vector["expected"].get("scriptPathControlBlocks", []):
        assert bytes.fromhex(control)[0] & 1 == parity


def test_bip341_key_path_spending() -> None:
    (group,) = BIP341["keyPathSpending"]
    tx = Transaction.parse(bytes.fromhex(group["given"]["rawUnsignedTx"]))
    spent = [
        TxOut(entry["amountSats"], bytes.fromhex(entry["scriptPubKey"]))
        for entry in group["given"]["utxosSpent"]
    ]
    signed = Transaction.parse(bytes.fromhex(group["auxiliary"]["fullySignedTx"]))
    assert signed.serialize().hex() == group["auxiliary"]["fullySignedTx"]
    ours = signed
    for vector in group["inputSpending"]:
        given, between = vector["given"], vector["intermediary"]
        index, sighash_type = given["txinIndex"], given["hashType"]
        secret = bytes.fromhex(given["internalPrivkey"])
        root = bytes.fromhex(given["merkleRoot"] or "")
        assert curve.xonly(curve.pubkey_from_secret(secret)).hex() == between["internalPubkey"]
        tweaked = curve.taproot_tweak_secret(secret, root)
        assert tweaked.hex() == between["tweakedPrivkey"]
        digest = sighash_taproot(tx, index, spent, sighash_type)
        assert digest.hex() == between["sigHash"]
        signature = curve.sign_schnorr(digest, tweaked)
        assert curve.verify_schnorr(signature, digest, spent[index].script_pubkey[2:])
        if sighash_type:
            signature += bytes((sighash_type,))
        assert [signature.hex()] == vector["expected"]["witness"]
        ours = ours.with_witness(index, (signature,))
    assert ours == signed
    check_transaction(signed, spent)
