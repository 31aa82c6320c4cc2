"""BIP 173 and 350: Bech32, Bech32m and the addresses made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wallet.bitcoin.address import MAINNET, TESTNET4, address_to_script, script_to_address
from wallet.bitcoin.bech32 import Spec, bech32_decode, bech32_encode
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.script import witness_program

DATA = Path(__file__).parent / "data"
SPECS = {"bip0173.json": Spec.BECH32, "bip0350.json": Spec.BECH32M}


def load(name: str) -> Any:
    return json.loads((DATA / name).read_text())


def cases(kind: str) -> list[tuple[Spec, Any]]:
    return [(spec, vector) for name, spec in SPECS.items() for vector in load(name)[kind]]


@pytest.mark.parametrize(("spec", "text"), cases("valid"))
def test_valid_text(spec: Spec, text: str) -> None:
    hrp, data = bech32_decode(text, spec)
    assert bech32_encode(hrp, data, spec) == text.lower()
    (other,) = set(Spec) - {spec}
    with pytest.raises(DecodeError):
        bech32_decode(text, other)
    # One wrong character is always found.
    wrong = text[:-1] + ("q" if text[-1] not in "qQ" else "p")
    with pytest.raises(DecodeError):
        bech32_decode(wrong, spec)


@pytest.mark.parametrize(("spec", "vector"), cases("invalid"))
def test_invalid_text(spec: Spec, vector: dict[str, str]) -> None:
    if vector["reason"] == "overall max length exceeded":
        # Addresses have that limit, invoices do not: the decoder itself sets none.
        with pytest.raises(DecodeError):
            address_to_script(vector["text"], MAINNET)
        return
    with pytest.raises(DecodeError):
        bech32_decode(vector["text"], spec)


@pytest.mark.parametrize(("spec", "vector"), cases("addresses"))
def test_addresses(spec: Spec, vector: dict[str, str]) -> None:
    address, script_pubkey = vector["address"], bytes.fromhex(vector["script_pubkey"])
    network, other = (MAINNET, TESTNET4) if address.lower().startswith("bc") else (TESTNET4, MAINNET)
    found = witness_program(script_pubkey)
    assert found is not None
    if spec is Spec.BECH32 and found[0] != 0:
        # BIP 350 gave versions above 0 another checksum: the old form of such an address is no longer valid.
        with pytest.raises(DecodeError):
            address_to_script(address, network)
        return
    assert address_to_script(address, network) == script_pubkey
    assert script_to_address(script_pubkey, network) == address.lower()
    with pytest.raises(DecodeError, match="belongs to"):
        address_to_script(address, other)


@pytest.mark.parametrize(("spec", "vector"), cases("invalid_addresses"))
@pytest.mark.parametrize("network", [MAINNET, TESTNET4], ids=lambda network: network.name)
def test_invalid_addresses(spec: Spec, vector: dict[str, str], network: Any) -> None:
    with pytest.raises(DecodeError):
        address_to_script(vector["address"], network)
