"""Words and key trees, against libwally and against typing errors."""

from __future__ import annotations

import contextlib

import pytest
import wallycore
from hypothesis import given, settings
from hypothesis import strategies as st

from wallet.bitcoin.address import MAINNET, REGTEST, SANDBOX, TESTNET4
from wallet.bitcoin.bip32 import HARDENED, ExtendedKey, format_path, parse_path
from wallet.bitcoin.bip39 import (
    ENGLISH,
    mnemonic_from_entropy,
    mnemonic_to_entropy,
    seed_from_mnemonic,
    words_starting_with,
)
from wallet.bitcoin.errors import APIError, DecodeError

entropies = st.sampled_from([16, 20, 24, 28, 32]).flatmap(
    lambda size: st.binary(min_size=size, max_size=size)
)
paths = st.lists(st.integers(0, 0xFFFFFFFF), max_size=4).map(tuple)
ABANDON = "abandon " * 11 + "about"


# --- words ------------------------------------------------------------------------------------------


def test_word_list() -> None:
    assert len(set(ENGLISH)) == 2_048
    assert list(ENGLISH) == sorted(ENGLISH)
    assert len({word[:4] for word in ENGLISH}) == 2_048  # BIP 39: four letters name a word


@given(entropies)
def test_words_agree_with_libwally(entropy: bytes) -> None:
    mnemonic = mnemonic_from_entropy(entropy)
    assert mnemonic == wallycore.bip39_mnemonic_from_bytes(None, entropy)
    assert mnemonic_to_entropy(mnemonic) == entropy
    assert mnemonic_to_entropy(mnemonic.upper().replace(" ", " \n ")) == entropy
    assert mnemonic_to_entropy(mnemonic.split()) == entropy


@settings(max_examples=20)
@given(entropies, st.text(max_size=20))
def test_seeds_agree_with_libwally(entropy: bytes, passphrase: str) -> None:
    mnemonic = mnemonic_from_entropy(entropy)
    seed = seed_from_mnemonic(mnemonic, passphrase)
    assert len(seed) == 64
    assert seed == seed_from_mnemonic(mnemonic.split(), passphrase)
    if passphrase.isascii() and "\0" not in passphrase:
        assert seed == wallycore.bip39_mnemonic_to_seed512(mnemonic, passphrase)


def test_passphrases_are_normalised() -> None:
    assert seed_from_mnemonic(ABANDON, "caf\u00e9") == seed_from_mnemonic(ABANDON, "cafe\u0301")
    assert seed_from_mnemonic(ABANDON, "cafe") != seed_from_mnemonic(ABANDON, "caf\u00e9")
    assert seed_from_mnemonic(ABANDON, " ") != seed_from_mnemonic(ABANDON, "")


@pytest.mark.parametrize(
    ("mnemonic", "complaint"),
    [
        ("", "not 0"),
        ("abandon", "not 1"),
        ("abandon " * 11, "not 11"),
        ("abandon " * 13, "not 13"),
        ("abandon " * 2_000, "not 2000"),
        ("abandon " * 12, "do not fit together"),
        ("about " + "abandon " * 11, "do not fit together"),
        ("abandon abandn " + "abandon " * 10, "Word 2, “abandn”"),
        ("abandon " * 11 + "ab", "Word 12, “ab”"),
        ("abandon " * 11 + "зебра", "Word 12"),
    ],
)
def test_what_is_wrong_with_a_mnemonic(mnemonic: str, complaint: str) -> None:
    with pytest.raises(DecodeError, match=complaint):
        mnemonic_to_entropy(mnemonic)
    with pytest.raises(DecodeError, match=complaint):
        seed_from_mnemonic(mnemonic)


@given(st.text(max_size=200))
def test_any_text_as_mnemonic(text: str) -> None:
    with contextlib.suppress(DecodeError):
        mnemonic_to_entropy(text)


@pytest.mark.parametrize("size", [0, 12, 15, 17, 31, 33, 64])
def test_entropy_of_other_sizes(size: int) -> None:
    with pytest.raises(APIError):
        mnemonic_from_entropy(bytes(size))


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz", max_size=4))
def test_prefixes(prefix: str) -> None:
    assert words_starting_with(prefix) == [word for word in ENGLISH if word.startswith(prefix)]


def test_prefixes_as_people_type_them() -> None:
    assert words_starting_with(" Zo") == ["zone", "zoo"]
    assert words_starting_with("zoom") == []
    assert len(words_starting_with("")) == 2_048


# --- key trees --------------------------------------------------------------------------------------


@given(st.binary(min_size=16, max_size=16) | st.binary(min_size=64, max_size=64), paths)
def test_derivation_agrees_with_libwally(seed: bytes, path: tuple[int, ...]) -> None:
    key = ExtendedKey.from_seed(seed, MAINNET).derive(path)
    other = wallycore.bip32_key_from_seed(seed, wallycore.BIP32_VER_MAIN_PRIVATE, 0)
    if path:
        other = wallycore.bip32_key_from_parent_path(other, list(path), wallycore.BIP32_FLAG_KEY_PRIVATE)
    assert key.to_base58() == wallycore.bip32_key_to_base58(other, wallycore.BIP32_FLAG_KEY_PRIVATE)
    assert key.neuter().to_base58() == wallycore.bip32_key_to_base58(other, wallycore.BIP32_FLAG_KEY_PUBLIC)
    assert key.fingerprint == wallycore.bip32_key_get_fingerprint(other)
    assert key == ExtendedKey.from_seed(seed, MAINNET).derive(format_path(path))


@given(st.binary(min_size=32, max_size=32), st.lists(st.integers(0, HARDENED - 1), max_size=3))
def test_neutered_keys_derive_the_same_public_keys(seed: bytes, path: list[int]) -> None:
    key = ExtendedKey.from_seed(seed, TESTNET4)
    assert key.derive(path).neuter() == key.neuter().derive(path)
    with pytest.raises(APIError):
        _ = key.neuter().secret
    with pytest.raises(APIError):
        key.neuter().child(HARDENED)
    with pytest.raises(APIError):
        _ = key.neuter().secret
    assert ExtendedKey.from_base58(key.to_base58(), TESTNET4) == key


def test_secrets_are_not_shown() -> None:
    key = ExtendedKey.from_seed(bytes(range(32)), MAINNET)
    assert key.secret.hex() not in repr(key)
    assert repr(key.secret) not in repr(key)
    assert repr(key.chain_code) not in repr(key)


def test_limits_of_derivation() -> None:
    with pytest.raises(APIError):
        ExtendedKey.from_seed(bytes(15), MAINNET)
    with pytest.raises(APIError):
        ExtendedKey.from_seed(bytes(65), MAINNET)
    key = ExtendedKey.from_seed(bytes(16), MAINNET)
    for index in (-1, 1 << 32):
        with pytest.raises(APIError):
            key.child(index)
    for _ in range(255):
        key = key.child(0)
    with pytest.raises(APIError):
        key.child(0)


def test_extended_keys_of_other_networks() -> None:
    text = ExtendedKey.from_seed(bytes(16), MAINNET).to_base58()
    with pytest.raises(DecodeError, match="another Bitcoin network"):
        ExtendedKey.from_base58(text, REGTEST)
    regtest_text = ExtendedKey.from_seed(bytes(16), REGTEST).to_base58()
    assert ExtendedKey.from_base58(regtest_text, SANDBOX).to_base58() == regtest_text


@given(st.text(max_size=120))
def test_any_text_as_extended_key(text: str) -> None:
    with pytest.raises(DecodeError):
        ExtendedKey.from_base58(text, MAINNET)


@given(paths)
def test_paths(path: tuple[int, ...]) -> None:
    text = format_path(path)
    assert parse_path(text) == path
    assert parse_path(text.replace("h", "'")) == path
    assert parse_path(text.replace("h", "H")) == path


@pytest.mark.parametrize(
    "text",
    ["", "m/", "m//0", "m/x", "m/-1", "m/2147483648", "m/0hh", "m/h", "M/0", "m/ 0", "m/²", "0//1", "/0"],
)
def test_texts_that_are_no_paths(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_path(text)
