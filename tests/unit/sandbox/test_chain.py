"""The sandbox chain: every block is judged by Bitcoin Core's kernel, every refusal is in a node's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from wallet.bitcoin.address import REGTEST, script_to_address
from wallet.bitcoin.curve import pubkey_from_secret, sign_ecdsa, signature_to_der
from wallet.bitcoin.script import OP_CHECKSEQUENCEVERIFY, number, op_return, p2wpkh, p2wpkh_script_code, p2wsh
from wallet.bitcoin.tx import (
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    sighash_segwit_v0,
    txid_from_hex,
)
from wallet.chain.electrum.broadcast import Verdict, classify
from wallet.sandbox import consensus
from wallet.sandbox.chain import Coin, SandboxChain, TxRejected

SECRET = bytes(range(1, 33))
PUBKEY = pubkey_from_secret(SECRET)
SCRIPT = p2wpkh(PUBKEY)
ADDRESS = script_to_address(SCRIPT, REGTEST) or ""


@pytest.fixture
def chain(tmp_path: Path) -> SandboxChain:
    assert consensus.is_installed()
    return SandboxChain(judge_directory=tmp_path / "kernel")


def coin_of(chain: SandboxChain) -> tuple[OutPoint, Coin]:
    return chain.unspent(SCRIPT)[-1]


def spend(
    chain: SandboxChain,
    coins: list[tuple[OutPoint, Coin]],
    *,
    fee_sat: int = 1_000,
    outputs: tuple[TxOut, ...] = (),
    sequence: int = 0xFFFFFFFD,
    lock_time: int = 0,
) -> Transaction:
    total_sat = sum(coin.output.value_sat for _, coin in coins)
    rest_sat = total_sat - fee_sat - sum(output.value_sat for output in outputs)
    tx = Transaction(
        2,
        tuple(TxIn(outpoint, sequence=sequence) for outpoint, _ in coins),
        (*outputs, TxOut(rest_sat, SCRIPT)),
        lock_time,
    )
    signed = tx
    for i, (_, coin) in enumerate(coins):
        digest = sighash_segwit_v0(tx, i, p2wpkh_script_code(SCRIPT), coin.output.value_sat)
        signed = signed.with_witness(i, (signature_to_der(sign_ecdsa(digest, SECRET)) + b"\x01", PUBKEY))
    return signed


def give(chain: SandboxChain, amount_sat: int = 1_000_000) -> tuple[OutPoint, Coin]:
    chain.faucet(ADDRESS, amount_sat)
    chain.mine(1)
    return coin_of(chain)


def test_blocks_are_valid_and_hold_what_waits(chain: SandboxChain) -> None:
    assert chain.height == 110
    first = txid_from_hex(chain.faucet(ADDRESS, 500_000))
    assert chain.history(SCRIPT) == [(first, 0)]
    tx = spend(chain, [coin_of(chain)])
    chain.send(tx)
    assert chain.history(SCRIPT)[-1] == (tx.txid, -1)
    chain.mine(2)
    assert [height for _, height in chain.history(SCRIPT)] == [111, 111]
    assert not chain.mempool
    assert chain.unspent(SCRIPT)[0][1].output.value_sat == 499_000
    # Many blocks: the rewards halve, and the kernel agrees.
    chain.mine(60)


def refusal(chain: SandboxChain, tx: Transaction) -> Verdict:
    with pytest.raises(TxRejected) as caught:
        chain.send(tx)
    return classify(str(caught.value))


def test_refusals(chain: SandboxChain) -> None:
    coin = give(chain)
    assert refusal(chain, spend(chain, [coin], fee_sat=10)) is Verdict.FEE_BELOW_MINIMUM
    chain.mempool_minimum_sat_per_kvb = 50_000
    assert refusal(chain, spend(chain, [coin])) is Verdict.FEE_BELOW_MINIMUM
    chain.mempool_minimum_sat_per_kvb = 1_000
    assert refusal(chain, spend(chain, [coin], fee_sat=999_900)) is Verdict.DUST
    assert refusal(chain, spend(chain, [coin], lock_time=chain.height + 1)) is Verdict.NOT_FINAL
    assert refusal(chain, spend(chain, [coin], sequence=5)) is Verdict.NOT_FINAL
    assert refusal(chain, spend(chain, [coin], fee_sat=-5)) is Verdict.INVALID
    broken = spend(chain, [coin])
    broken = broken.with_witness(0, (broken.inputs[0].witness[0][:-1] + b"\x03", PUBKEY))
    assert refusal(chain, broken) is Verdict.INVALID
    tx = spend(chain, [coin], outputs=(TxOut(0, op_return(b"a note")),))
    chain.send(tx)
    assert refusal(chain, tx) is Verdict.ALREADY_KNOWN
    assert refusal(chain, spend(chain, [coin], fee_sat=1_050)) is Verdict.REPLACEMENT_FEE_TOO_LOW
    dearer = spend(chain, [coin], fee_sat=3_000)
    chain.send(dearer)
    assert chain.mempool_txids() == [dearer.txid]
    chain.mine(1)
    assert refusal(chain, dearer) is Verdict.ALREADY_KNOWN
    assert refusal(chain, tx) is Verdict.MISSING_INPUTS
    reward = chain.tip.txs[0]
    immature = Transaction(2, (TxIn(reward.outpoint(0)),), (TxOut(1_000, SCRIPT),))
    assert refusal(chain, immature) is Verdict.NOT_FINAL


def test_long_chains_and_packages(chain: SandboxChain) -> None:
    coin = give(chain)
    for _ in range(25):
        tx = spend(chain, [coin])
        chain.send(tx)
        coin = coin_of(chain)
    assert refusal(chain, spend(chain, [coin])) is Verdict.CHAIN_TOO_LONG
    chain.mine(1)
    coin = coin_of(chain)
    parent = spend(chain, [coin], fee_sat=0)
    made = (parent.outpoint(0), Coin(parent.outputs[0], 0, False))
    child = spend(chain, [made], fee_sat=2_000)
    assert refusal(chain, parent) is Verdict.FEE_BELOW_MINIMUM
    poor = spend(chain, [made], fee_sat=20)
    with pytest.raises(TxRejected):
        chain.send_package([parent, poor])
    assert not chain.mempool
    chain.send_package([parent, child])
    assert chain.mempool_txids() == [parent.txid, child.txid]
    chain.mine(1)
    assert chain.height_of(child.txid) == chain.height


def test_relative_lock_times(chain: SandboxChain) -> None:
    witness_script = number(3) + bytes([OP_CHECKSEQUENCEVERIFY])
    chain.faucet(p2wsh(witness_script), 100_000)
    chain.mine(1)
    ((outpoint, _),) = chain.unspent(p2wsh(witness_script))
    tx = Transaction(2, (TxIn(outpoint, b"", 3, (witness_script,)),), (TxOut(99_000, SCRIPT),))
    for _ in range(2):
        assert refusal(chain, tx) is Verdict.NOT_FINAL
        chain.mine(1)
    chain.send(tx)
    chain.mine(1)
    assert chain.height_of(tx.txid) == chain.height


def test_reorganisation(chain: SandboxChain) -> None:
    heard: list[tuple[set[bytes], bool]] = []
    coin = give(chain)
    chain.listeners.append(lambda touched, tip_changed: heard.append((touched, tip_changed)))
    tx = spend(chain, [coin])
    chain.send(tx)
    assert heard[-1] == ({SCRIPT}, False)
    chain.mine(3)
    before = chain.tip.hash
    chain.reorganise(3, empty=True)
    assert chain.height == 115
    assert heard[-1][1]
    assert SCRIPT in heard[-1][0]
    assert chain.tip.hash != before
    assert chain.history(SCRIPT)[-1] == (tx.txid, 0)
    chain.mine(1)
    assert chain.height_of(tx.txid) == 116
    # As many blocks, and fewer: the same transactions, other blocks.
    chain.reorganise(1, blocks=1)
    assert chain.height_of(tx.txid) == 116
    chain.reorganise(2, blocks=1)
    assert chain.height == 115
    # A child in the same block goes back with its parent.
    child = spend(chain, [coin_of(chain)])
    chain.send(child)
    chain.mine(1)
    chain.reorganise(2)
    assert chain.height_of(child.txid) is not None


def test_folder_keeps_blocks_and_mempool(tmp_path: Path) -> None:
    chain = SandboxChain.load(tmp_path)
    give(chain)
    chain.mine(2)
    chain.reorganise(1)
    waiting = txid_from_hex(chain.faucet(ADDRESS, 7_000))
    chain.save()
    again = SandboxChain.load(tmp_path)
    assert again.tip.hash == chain.tip.hash
    assert again.unspent(SCRIPT) == chain.unspent(SCRIPT)
    assert again.mempool_txids() == [waiting]
    with (tmp_path / "blocks").open("ab") as file:
        file.write(b"\x10\x00\x00\x00cut short")
    assert SandboxChain.load(tmp_path).height == chain.height


def test_faucet_serves_many_at_once(chain: SandboxChain) -> None:
    for i in range(60):
        chain.faucet(ADDRESS, 10_000 + i)
    chain.mine(1)
    assert len(chain.unspent(SCRIPT)) == 60
