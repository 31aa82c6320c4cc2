"""Scripts, addresses, networks and amounts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
import wallycore
from hypothesis import given
from hypothesis import strategies as st

from tests.consensus import check_transaction
from wallet.bitcoin import amounts, curve, script
from wallet.bitcoin.address import (
    MAINNET,
    NETWORKS,
    REGTEST,
    SANDBOX,
    SIGNET,
    TESTNET4,
    Network,
    address_to_script,
    script_to_address,
)
from wallet.bitcoin.base58 import base58check_decode, base58check_encode
from wallet.bitcoin.bech32 import Spec, bech32_decode, bech32_encode, convert_bits
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.hashes import (
    hash160,
    hkdf_sha256,
    hmac_sha256,
    ripemd160,
    sha256,
    sha256d,
    tagged_hash,
)
from wallet.bitcoin.tx import OutPoint, Transaction, Txid, TxIn, TxOut, hash_hex

networks = st.sampled_from(sorted(NETWORKS.values(), key=lambda network: network.name))
PUBKEY = curve.pubkey_from_secret(bytes(31) + b"\x01")


# --- hashes -----------------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.binary(max_size=100))
def test_hashes_agree_with_libwally(data: bytes, key: bytes) -> None:
    assert sha256(data) == wallycore.sha256(data)
    assert sha256d(data) == wallycore.sha256d(data)
    assert hash160(data) == wallycore.hash160(data)
    if data:
        assert tagged_hash("TapLeaf", data) == wallycore.bip340_tagged_hash(data, "TapLeaf")
    if key and data:
        assert hmac_sha256(key, data) == wallycore.hmac_sha256(key, data)
    for result in (sha256(data), hash160(data), ripemd160(data)):
        assert type(result) is bytes


def test_hkdf() -> None:
    # RFC 5869, test cases 1 and 3.
    okm = hkdf_sha256(bytes(range(13)), b"\x0b" * 22, bytes(range(0xF0, 0xFA)), 42)
    assert okm.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    okm = hkdf_sha256(b"", b"\x0b" * 22, b"", 42)
    assert okm.hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )
    for length in (0, -1, 255 * 32 + 1):
        with pytest.raises(APIError):
            hkdf_sha256(b"", b"", b"", length)


# --- scripts ----------------------------------------------------------------------------------------


@given(st.binary(max_size=520))
def test_push_is_minimal_and_read_back(data: bytes) -> None:
    pushed = script.push(data)
    (op,) = script.parse_script(pushed)
    if isinstance(op, bytes):
        assert op == data
    else:
        assert op == script.OP_0 or op == script.OP_1NEGATE or script.OP_1 <= op <= script.OP_16
        assert len(data) <= 1
    if len(data) > 1:
        assert pushed == wallycore.script_push_from_bytes(data, 0)


def test_push_limit() -> None:
    with pytest.raises(APIError):
        script.push(bytes(521))


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (0, "00"),
        (1, "51"),
        (16, "60"),
        (-1, "4f"),
        (17, "0111"),
        (127, "017f"),
        (128, "028000"),
        (-128, "028080"),
        (255, "02ff00"),
        (256, "020001"),
        (32767, "02ff7f"),
        (32768, "03008000"),
        (500_000_000, "040065cd1d"),
        (0x7FFFFFFF, "04ffffff7f"),
        (0xFFFFFFFF, "05ffffffff00"),
    ],
)
def test_numbers(n: int, expected: str) -> None:
    assert script.number(n).hex() == expected


def test_numbers_out_of_range() -> None:
    for n in (1 << 39, -(1 << 31)):
        with pytest.raises(APIError):
            script.number(n)


@given(st.integers(1, 0x7FFFFFFF))
def test_numbers_mean_to_core_what_they_mean_to_us(n: int) -> None:
    # <n> CHECKLOCKTIMEVERIFY passes exactly when the lock time is n or later (of the same kind).
    witness_script = script.number(n) + bytes((script.OP_CHECKLOCKTIMEVERIFY,))
    spent = TxOut(1_000, script.p2wsh(witness_script))
    for lock_time, valid in ((n, True), (n - 1, False)):
        if (n < 500_000_000) != (lock_time < 500_000_000):
            continue
        tx = Transaction(
            2,
            (TxIn(OutPoint(Txid(bytes(32)), 0), b"", 0, (witness_script,)),),
            (TxOut(1_000, b"\x51"),),
            lock_time,
        )
        with contextlib.nullcontext() if valid else pytest.raises(AssertionError):
            check_transaction(tx, [spent])


@given(st.binary(max_size=120))
def test_parse_script_raises_nothing_else(raw: bytes) -> None:
    with contextlib.suppress(DecodeError):
        ops = script.parse_script(raw)
        assert all(isinstance(op, bytes) or op == 0 or 0x4E < op <= 0xFF for op in ops)


@pytest.mark.parametrize("raw", ["01", "4c", "4c01", "4d00", "4d0100", "4e000000", "4effffffff00"])
def test_pushes_beyond_the_end(raw: str) -> None:
    with pytest.raises(DecodeError):
        script.parse_script(bytes.fromhex(raw))


@given(st.binary(max_size=45))
def test_recognising_scripts(raw: bytes) -> None:
    found = script.witness_program(raw)
    if found is not None:
        assert script.witness_program_script(*found) == raw
    kinds = [
        script.is_p2pkh,
        script.is_p2sh,
        script.is_p2wpkh,
        script.is_p2wsh,
        script.is_p2tr,
        script.is_p2a,
    ]
    assert sum(kind(raw) for kind in kinds) <= 1


def test_standard_scripts() -> None:
    key_hash = hash160(PUBKEY)
    made = {
        script.p2pkh(PUBKEY): script.is_p2pkh,
        script.p2sh(b"\x51"): script.is_p2sh,
        script.p2wpkh(PUBKEY): script.is_p2wpkh,
        script.p2wsh(b"\x51"): script.is_p2wsh,
        script.p2tr(PUBKEY[1:]): script.is_p2tr,
        script.p2a(): script.is_p2a,
        script.op_return(b"x"): script.is_op_return,
    }
    for made_script, is_kind in made.items():
        assert is_kind(made_script)
    assert script.p2wpkh(PUBKEY) == wallycore.witness_program_from_bytes(key_hash, 0)
    assert script.p2wpkh_script_code(script.p2wpkh(PUBKEY)) == script.p2pkh(PUBKEY)
    bad: list[Callable[[], bytes]] = [
        lambda: script.p2tr(PUBKEY),
        lambda: script.p2wpkh(PUBKEY[1:]),
        lambda: script.multisig_2of2(PUBKEY, b""),
        lambda: script.p2wpkh_script_code(script.p2pkh(PUBKEY)),
        lambda: script.witness_program_script(17, bytes(20)),
        lambda: script.witness_program_script(1, bytes(41)),
    ]
    for call in bad:
        with pytest.raises(APIError):
            call()


def test_funding_script_does_not_depend_on_the_order() -> None:
    # BOLT 3, appendix B: the two funding keys and the witness script.
    local = bytes.fromhex("023da092f6980e58d2c037173180e9a465476026ee50f96695963e8efe436f54eb")
    remote = bytes.fromhex("030e9f7b623d2ccc7c9bd44d66d5ce21ce504c0acf6385a132cec6d3c39fa711c1")
    expected = (
        "5221023da092f6980e58d2c037173180e9a465476026ee50f96695963e8efe436f54eb"
        "21030e9f7b623d2ccc7c9bd44d66d5ce21ce504c0acf6385a132cec6d3c39fa711c152ae"
    )
    assert script.multisig_2of2(local, remote).hex() == expected
    assert script.multisig_2of2(remote, local).hex() == expected


@pytest.mark.parametrize(
    ("script_pubkey", "limit_sat"),
    [
        (script.p2pkh(PUBKEY), 546),
        (script.p2sh(b""), 540),
        (script.p2wpkh(PUBKEY), 294),
        (script.p2wsh(b""), 330),
        (script.p2tr(bytes(32)), 330),
        (script.p2a(), 240),
        # BOLT 3, dust limits: the longest witness program there can be.
        (script.witness_program_script(16, bytes(40)), 354),
        (script.op_return(b"x"), 0),
    ],
)
def test_dust_limits(script_pubkey: bytes, limit_sat: int) -> None:
    assert script.dust_limit_sat(script_pubkey) == limit_sat


def test_electrum_script_hash() -> None:
    # The example of the Electrum protocol's documentation.
    script_pubkey = address_to_script("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", MAINNET)
    assert script.script_hash_electrum(script_pubkey) == (
        "8b01df4e368ea28f8dc0423bcf7a4923e3a12d307c875e47a0cfbf90b5c39161"
    )


# --- networks and addresses -------------------------------------------------------------------------


def test_networks() -> None:
    expected = {
        "mainnet": "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
        "testnet4": "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
        "signet": "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
        "regtest": "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
        "sandbox": "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
    }
    assert {name: hash_hex(network.chain_hash) for name, network in NETWORKS.items()} == expected
    for network in NETWORKS.values():
        assert network.genesis_header.meets_target
        assert network.has_value is (network is MAINNET)
        assert network.bolt11_prefix.startswith("ln")
    assert len({network.bolt11_prefix for network in (MAINNET, TESTNET4, SIGNET, REGTEST)}) == 4
    assert SANDBOX != REGTEST


programs = st.integers(1, 16).flatmap(
    lambda version: st.binary(min_size=2, max_size=40).map(
        lambda program: script.witness_program_script(version, program)
    )
)
hashes20 = st.binary(min_size=20, max_size=20)
addressable = st.one_of(
    programs,
    hashes20.map(script.p2pkh_from_hash),
    hashes20.map(script.p2sh_from_hash),
    hashes20.map(lambda program: script.witness_program_script(0, program)),
    st.binary(min_size=32, max_size=32).map(lambda program: script.witness_program_script(0, program)),
)


@given(addressable, networks)
def test_addresses_round_trip(script_pubkey: bytes, network: Network) -> None:
    address = script_to_address(script_pubkey, network)
    assert address is not None
    assert address_to_script(address, network) == script_pubkey
    assert address_to_script(f"  {address}\n", network) == script_pubkey
    if script.witness_program(script_pubkey) is not None:
        assert address_to_script(address.upper(), network) == script_pubkey
        assert address == wallycore.addr_segwit_from_bytes(script_pubkey, network.bech32_hrp, 0)
    if network is not MAINNET:
        with pytest.raises(DecodeError, match="belongs to a"):
            address_to_script(address, MAINNET)
    else:
        with pytest.raises(DecodeError, match="the main Bitcoin network; this wallet is on signet"):
            address_to_script(address, SIGNET)


@given(st.binary(max_size=60), networks)
def test_scripts_without_address(raw: bytes, network: Network) -> None:
    address = script_to_address(raw, network)
    if address is not None:
        assert address_to_script(address, network) == raw


@given(st.text(max_size=100), networks)
def test_any_text_is_refused_in_words(text: str, network: Network) -> None:
    with pytest.raises(DecodeError, match=r"\.$"):
        address_to_script(text, network)


@given(addressable, st.data())
def test_a_wrong_character_is_found(script_pubkey: bytes, data: st.DataObject) -> None:
    address = script_to_address(script_pubkey, MAINNET)
    assert address is not None
    position = data.draw(st.integers(0, len(address) - 1))
    other = data.draw(st.sampled_from("023456789acdefghjklmnpqrstuvwxyzABC"))
    if other.lower() == address[position].lower():
        return
    with pytest.raises(DecodeError):
        address_to_script(address[:position] + other + address[position + 1 :], MAINNET)


@given(st.binary(max_size=80))
def test_base58(payload: bytes) -> None:
    text = base58check_encode(payload)
    assert base58check_decode(text) == payload
    if payload:
        assert text == wallycore.base58check_from_bytes(payload)


@given(st.text(max_size=300))
def test_base58_of_any_text(text: str) -> None:
    with contextlib.suppress(DecodeError):
        assert base58check_encode(base58check_decode(text)) == text


@given(st.binary(max_size=1200), st.sampled_from(Spec))
def test_bech32_of_any_length(payload: bytes, spec: Spec) -> None:
    groups = convert_bits(payload, 8, 5, pad=True)
    text = bech32_encode("lnbc20m", groups, spec)
    assert bech32_decode(text, spec) == ("lnbc20m", groups)
    assert bytes(convert_bits(groups, 5, 8, pad=False)) == payload


def test_convert_bits_refuses_what_does_not_fit() -> None:
    with pytest.raises(DecodeError):
        convert_bits([32], 5, 8, pad=True)
    with pytest.raises(DecodeError):
        convert_bits([-1], 5, 8, pad=True)


# --- amounts ----------------------------------------------------------------------------------------


def test_amounts_round_the_way_their_names_say() -> None:
    # BOLT 3, appendix C: an untrimmed commitment with five HTLCs at 647 sat/kw.
    assert amounts.fee_sat(724 + 5 * 172, 647) == 1_024
    assert amounts.fee_sat_ceil(724 + 5 * 172, 647) == 1_025
    assert amounts.vbytes_from_weight(561) == 141
    assert amounts.sat_per_vb_from_sat_per_kw_ceil(253) == 2


@given(st.integers(1, 4_000_000), st.integers(0, 10_000_000))
def test_feerates_are_met(weight: int, feerate_sat_per_kw: int) -> None:
    paid_sat = amounts.fee_sat_ceil(weight, feerate_sat_per_kw)
    assert amounts.feerate_sat_per_kw(paid_sat, weight) >= feerate_sat_per_kw
    assert paid_sat - amounts.fee_sat(weight, feerate_sat_per_kw) in (0, 1)
