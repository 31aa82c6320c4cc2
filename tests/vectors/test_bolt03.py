"""BOLT 3, appendices C to F: commitments, HTLC transactions, secrets and keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wallet.bitcoin.curve import pubkey_from_secret, sign_ecdsa, signature_from_der, verify_ecdsa
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.tx import OutPoint, sighash_segwit_v0, txid_from_hex
from wallet.ln.chan_utils import (
    ANCHOR_OUTPUT_SAT,
    COMMITMENT_NUMBER_MAX,
    ChannelPublicKeys,
    ChannelTransactionParameters,
    CommitmentSecrets,
    CommitmentTransaction,
    CounterpartyCommitmentSecrets,
    HTLCOutputInCommitment,
    build_commitment_secret,
    build_commitment_transaction,
    build_htlc_transaction,
    commit_tx_fee_sat,
    commitment_number_of,
    commitment_sighash,
    derive_private_key,
    derive_private_revocation_key,
    derive_public_key,
    derive_public_revocation_key,
    htlc_sighashes,
    htlc_witness,
    is_dust_htlc,
    obscure_factor,
    sign_funding_witness,
)
from wallet.ln.features import ANCHORS_ZERO_FEE_HTLC_TX, STATIC_REMOTE_KEY, ChannelTypeFeatures
from wallet.ln.keysinterface import ChannelSecrets, InMemorySigner
from wallet.ln.types import PaymentHash, PaymentPreimage

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "bolt03.json").read_text())

FUNDING = OutPoint(txid_from_hex("8984484a580b825b9972d7adb15050b3ab624ccd731946b3eeddb92f4e7ef6be"), 0)
FUNDING_SAT = 10_000_000
NUMBER = 42
DELAY_BLOCKS = 144
POINT = pubkey_from_secret(bytes(range(0x1F, -1, -1)))


def secrets(funding: str, fill: int, revocation: int, delayed: int) -> ChannelSecrets:
    return ChannelSecrets(
        funding_key=bytes.fromhex(funding),
        revocation_base_key=bytes([revocation]) * 32,
        payment_key=bytes([fill]) * 32,
        delayed_payment_base_key=bytes([delayed]) * 32,
        htlc_base_key=bytes([fill]) * 32,
        commitment_seed=bytes(32),
    )


LOCAL = secrets("30ff4956bbdd3222d44cc5e8a1261dab1e07957bdac5ae88fe3261ef321f3749", 0x11, 0x99, 0x33)
REMOTE = secrets("1552dfba4f6cf29a62a0af13c8d6981d36d0ef8d61ba10fb0fe90da7634d7e13", 0x44, 0x22, 0x98)

# Number, offered by local, amount, expiry, what its preimage is made of.
HTLCS = {
    0: (False, 1_000_000, 500, 0),
    1: (False, 2_000_000, 501, 1),
    2: (True, 2_000_000, 502, 2),
    3: (True, 3_000_000, 503, 3),
    4: (False, 4_000_000, 504, 4),
    5: (True, 5_000_000, 506, 5),
    6: (True, 5_000_001, 505, 5),
}


def preimage(number: int) -> PaymentPreimage:
    return PaymentPreimage(bytes([HTLCS[number][3]]) * 32)


def params(channel_type: ChannelTypeFeatures) -> ChannelTransactionParameters:
    local, remote = InMemorySigner(bytes(32), LOCAL).pubkeys(), InMemorySigner(bytes(32), REMOTE).pubkeys()
    return ChannelTransactionParameters(
        holder_pubkeys=local,
        counterparty_pubkeys=remote,
        holder_selected_contest_delay_blocks=1,
        counterparty_selected_contest_delay_blocks=DELAY_BLOCKS,
        is_outbound_from_holder=True,
        funding_outpoint=FUNDING,
        channel_value_sat=FUNDING_SAT,
        channel_type=channel_type,
    )


def mirrored(ours: ChannelTransactionParameters) -> ChannelTransactionParameters:
    """The same channel as the peer sees it."""
    return ChannelTransactionParameters(
        holder_pubkeys=ours.counterparty_pubkeys,
        counterparty_pubkeys=ours.holder_pubkeys,
        holder_selected_contest_delay_blocks=ours.counterparty_selected_contest_delay_blocks,
        counterparty_selected_contest_delay_blocks=ours.holder_selected_contest_delay_blocks,
        is_outbound_from_holder=not ours.is_outbound_from_holder,
        funding_outpoint=ours.funding_outpoint,
        channel_value_sat=ours.channel_value_sat,
        channel_type=ours.channel_type,
    )


def commitment(
    parameters: ChannelTransactionParameters,
    to_local_msat: int,
    to_remote_msat: int,
    feerate_sat_per_kw: int,
    dust_limit_sat: int,
    numbers: list[int],
    holder_is_broadcaster: bool,
) -> tuple[CommitmentTransaction, list[int]]:
    """Trims as the spec says; answers with the numbers of the HTLCs in output order too."""
    kept = [
        n
        for n in numbers
        if not is_dust_htlc(
            HTLCS[n][0], HTLCS[n][1], feerate_sat_per_kw, dust_limit_sat, parameters.channel_type
        )
    ]
    htlcs = [
        HTLCOutputInCommitment(
            offered=HTLCS[n][0],
            amount_msat=HTLCS[n][1],
            cltv_expiry_height=HTLCS[n][2],
            payment_hash=PaymentHash(sha256(preimage(n))),
        )
        for n in kept
    ]
    to_local_sat = to_local_msat // 1000
    to_local_sat -= commit_tx_fee_sat(feerate_sat_per_kw, len(kept), parameters.channel_type)
    if parameters.anchors:
        to_local_sat -= 2 * ANCHOR_OUTPUT_SAT
    to_remote_sat = to_remote_msat // 1000
    built = build_commitment_transaction(
        parameters,
        holder_is_broadcaster=holder_is_broadcaster,
        number=NUMBER,
        per_commitment_point=POINT,
        to_broadcaster_sat=to_local_sat if to_local_sat >= dust_limit_sat else 0,
        to_countersignatory_sat=to_remote_sat if to_remote_sat >= dust_limit_sat else 0,
        htlcs=htlcs,
        feerate_sat_per_kw=feerate_sat_per_kw,
    )
    return built, [kept[position] for position in built.htlc_order]


def check(
    channel_type: ChannelTypeFeatures,
    amounts: tuple[int, int, int, int],
    numbers: list[int],
    remote_sig: str,
    commit_tx: str,
    htlc_txs: list[tuple[str, str]],
) -> None:
    """Builds it from both ends, signs it with both ends' keys, and compares every byte."""
    parameters = params(channel_type)
    ours, order = commitment(parameters, *amounts, numbers, True)
    theirs, _ = commitment(mirrored(parameters), *amounts, numbers, False)
    assert ours.tx == theirs.tx
    assert commitment_number_of(parameters, ours.tx) == NUMBER

    # The peer's half: as its own signer makes it, all HTLC signatures in one batch.
    signer = InMemorySigner(bytes(32), REMOTE)
    signer.restore(type(signer.state)(counterparty_number=NUMBER, counterparty_revoked=NUMBER))
    signature, htlc_signatures = signer.sign_counterparty_commitment(mirrored(parameters), theirs)
    assert signature == signature_from_der(bytes.fromhex(remote_sig))
    assert htlc_signatures == tuple(signature_from_der(bytes.fromhex(sig)) for sig, _ in htlc_txs)
    digest = commitment_sighash(parameters, ours.tx)
    assert verify_ecdsa(signature, digest, parameters.counterparty_pubkeys.funding_pubkey)
    for htlc_digest, htlc_signature in zip(htlc_sighashes(ours), htlc_signatures, strict=True):
        assert verify_ecdsa(htlc_signature, htlc_digest, ours.keys.countersignatory_htlc_key)

    # Our half.
    local = InMemorySigner(bytes(32), LOCAL)
    complete = sign_funding_witness(parameters, ours.tx, sign_ecdsa(digest, LOCAL.funding_key), signature)
    assert complete.serialize().hex() == commit_tx
    assert local.pubkeys() == parameters.holder_pubkeys

    key = derive_private_key(POINT, LOCAL.htlc_base_key)
    assert len(order) == len(htlc_txs)
    for htlc, number, htlc_signature, (_, expected) in zip(
        ours.htlcs, order, htlc_signatures, htlc_txs, strict=True
    ):
        tx = build_htlc_transaction(ours, htlc)
        script = ours.htlc_script(htlc)
        own = sign_ecdsa(sighash_segwit_v0(tx, 0, script, htlc.amount_sat), key)
        known = None if htlc.offered else preimage(number)
        witness = htlc_witness(htlc_signature, own, known, script, ours.anchors)
        assert tx.with_witness(0, witness).serialize().hex() == expected


def test_keys_and_obscured_number() -> None:
    parameters = params(STATIC_REMOTE_KEY)
    assert obscure_factor(parameters) == obscure_factor(mirrored(parameters)) == 0x2BB038521914
    holder: ChannelPublicKeys = parameters.holder_pubkeys
    assert holder.payment_point.hex() == "034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa"


@pytest.mark.parametrize("vector", VECTORS["appendix_c"], ids=lambda vector: vector["name"])
def test_static_remotekey(vector: dict[str, Any]) -> None:
    if "same amount and preimage" in vector["name"]:
        numbers = [1, 5, 6]
    else:
        numbers = [] if "no HTLCs" in vector["name"] else [0, 1, 2, 3, 4]
    amounts = (vector["to_local_msat"], vector["to_remote_msat"], vector["local_feerate_per_kw"], 546)
    htlc_txs = [(item["remote_sig"], item["tx"]) for item in vector["htlc_txs"]]
    check(STATIC_REMOTE_KEY, amounts, numbers, vector["remote_signature"], vector["commit_tx"], htlc_txs)


@pytest.mark.parametrize("vector", VECTORS["appendix_f"], ids=lambda vector: vector["Name"])
def test_anchors(vector: dict[str, Any]) -> None:
    if "same amount and preimage" in vector["Name"]:
        numbers = [1, 5, 6]
    else:
        numbers = [0, 1, 2, 3, 4] if vector["UseTestHtlcs"] else []
    amounts = (
        vector["LocalBalance"],
        vector["RemoteBalance"],
        vector["FeePerKw"],
        vector["DustLimitSatoshis"],
    )
    htlc_txs = [(item["RemoteSigHex"], item["ResolutionTxHex"]) for item in vector["HtlcDescs"]]
    check(
        ANCHORS_ZERO_FEE_HTLC_TX,
        amounts,
        numbers,
        vector["RemoteSigHex"],
        vector["ExpectedCommitmentTxHex"],
        htlc_txs,
    )


@pytest.mark.parametrize("vector", VECTORS["appendix_d_generation"], ids=lambda vector: vector["name"])
def test_secret_generation(vector: dict[str, Any]) -> None:
    number = COMMITMENT_NUMBER_MAX - vector["index"]
    assert build_commitment_secret(bytes.fromhex(vector["seed"]), number).hex() == vector["output"]


@pytest.mark.parametrize("vector", VECTORS["appendix_d_storage"], ids=lambda vector: vector["name"])
def test_secret_storage(vector: dict[str, Any]) -> None:
    store = CounterpartyCommitmentSecrets()
    given = []
    for step in vector["steps"]:
        number = COMMITMENT_NUMBER_MAX - step["index"]
        secret = bytes.fromhex(step["secret"])
        if not step["ok"]:
            with pytest.raises(DecodeError):
                store.provide_secret(number, secret)
            return
        store = store.provide_secret(number, secret)
        given.append((number, secret))
        for earlier, expected in given:
            assert store.get_secret(earlier) == expected
        assert store.get_secret(number + 1) is None
        assert store.revoked_count == number + 1


def test_secrets_of_a_seed_are_the_same_in_any_order() -> None:
    seed = sha256(b"a channel")
    kept = CommitmentSecrets(seed)
    numbers = [0, 1, 2, 1, 1022, 1023, 1024, 1025, 1023, 2**20, 5, 2**32 + 7, COMMITMENT_NUMBER_MAX, 0]
    for number in numbers:
        assert kept.get(number) == build_commitment_secret(seed, number)
    with pytest.raises(APIError):
        kept.get(COMMITMENT_NUMBER_MAX + 1)


def test_long_secret_storage() -> None:
    seed = sha256(b"a channel")
    store = CounterpartyCommitmentSecrets()
    for number in range(600):
        store = store.provide_secret(number, build_commitment_secret(seed, number))
    assert all(store.get_secret(n) == build_commitment_secret(seed, n) for n in range(600))
    assert len(store.buckets) <= 11
    with pytest.raises(DecodeError):
        store.provide_secret(600 + 5, bytes(32))


def test_key_derivation() -> None:
    vector = {name: bytes.fromhex(value) for name, value in VECTORS["appendix_e"].items()}
    point, base = vector["per_commitment_point"], vector["base_point"]
    assert derive_public_key(point, base) == vector["localpubkey"]
    assert derive_private_key(point, vector["base_secret"]) == vector["localprivkey"]
    assert derive_public_revocation_key(point, base) == vector["revocationpubkey"]
    private = derive_private_revocation_key(vector["per_commitment_secret"], vector["base_secret"])
    assert private == vector["revocationprivkey"]
