"""BIP 32, 39, 84 and 86: words, key trees and the addresses that wallets derive from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wallet.bitcoin import curve, script
from wallet.bitcoin.address import MAINNET, script_to_address
from wallet.bitcoin.base58 import base58check_decode
from wallet.bitcoin.bip32 import ExtendedKey
from wallet.bitcoin.bip39 import mnemonic_from_entropy, mnemonic_to_entropy, seed_from_mnemonic
from wallet.bitcoin.errors import DecodeError

DATA = Path(__file__).parent / "data"


def load(name: str) -> Any:
    return json.loads((DATA / name).read_text())


@pytest.mark.parametrize("vector", load("bip0032.json")["valid"], ids=lambda v: v["path"])
def test_bip32_chains(vector: dict[str, str]) -> None:
    key = ExtendedKey.from_seed(bytes.fromhex(vector["seed"]), MAINNET).derive(vector["path"])
    assert key.to_base58() == vector["xprv"]
    assert key.neuter().to_base58() == vector["xpub"]
    assert ExtendedKey.from_base58(vector["xprv"], MAINNET) == key
    assert ExtendedKey.from_base58(vector["xpub"], MAINNET) == key.neuter()


@pytest.mark.parametrize("vector", load("bip0032.json")["invalid"], ids=lambda v: v["reason"])
def test_bip32_refuses(vector: dict[str, str]) -> None:
    with pytest.raises(DecodeError):
        ExtendedKey.from_base58(vector["key"], MAINNET)


@pytest.mark.parametrize("vector", load("bip0039.json"), ids=lambda v: v["entropy"])
def test_bip39(vector: dict[str, str]) -> None:
    entropy = bytes.fromhex(vector["entropy"])
    assert mnemonic_from_entropy(entropy) == vector["mnemonic"]
    assert mnemonic_to_entropy(vector["mnemonic"]) == entropy
    assert seed_from_mnemonic(vector["mnemonic"], "TREZOR").hex() == vector["seed"]


def test_bip84() -> None:
    vector = load("bip0084.json")
    root = ExtendedKey.from_seed(seed_from_mnemonic(vector["mnemonic"]), MAINNET)
    account = root.derive("m/84h/0h/0h")
    # The vectors carry other version bytes (zprv, zpub) in front of the same key.
    assert base58check_decode(root.to_base58())[4:] == base58check_decode(vector["rootpriv"])[4:]
    assert base58check_decode(account.to_base58())[4:] == base58check_decode(vector["account_priv"])[4:]
    assert (
        base58check_decode(account.neuter().to_base58())[4:] == base58check_decode(vector["account_pub"])[4:]
    )
    assert len(vector["addresses"]) == 3
    for entry in vector["addresses"]:
        key = root.derive(entry["path"])
        assert base58check_decode(entry["wif"]) == bytes((MAINNET.wif_version,)) + key.secret + b"\x01"
        assert key.pubkey.hex() == entry["pubkey"]
        assert script_to_address(script.p2wpkh(key.pubkey), MAINNET) == entry["address"]


def test_bip86() -> None:
    vector = load("bip0086.json")
    root = ExtendedKey.from_seed(seed_from_mnemonic(vector["mnemonic"]), MAINNET)
    assert root.to_base58() == vector["rootpriv"]
    assert root.neuter().to_base58() == vector["rootpub"]
    account = root.derive("m/86h/0h/0h")
    assert account.to_base58() == vector["account_priv"]
    assert account.neuter().to_base58() == vector["account_pub"]
    assert len(vector["addresses"]) == 3
    for entry in vector["addresses"]:
        key = root.derive(entry["path"])
        assert key.to_base58() == entry["xprv"]
        assert key.neuter().to_base58() == entry["xpub"]
        internal = curve.xonly(key.pubkey)
        output, _ = curve.taproot_tweak_pubkey(internal)
        assert internal.hex() == entry["internal_key"]
        assert output.hex() == entry["output_key"]
        assert script.p2tr(output).hex() == entry["script_pubkey"]
        assert script_to_address(script.p2tr(output), MAINNET) == entry["address"]
