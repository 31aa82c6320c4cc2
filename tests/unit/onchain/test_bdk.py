"""Against bdk, a wallet that we did not write: the same words give the same addresses, and the same transactions the
same balance."""

from __future__ import annotations

from typing import Any

import bdkpython as bdk
import pytest

from tests.unit.onchain.world import STRANGER, WORDS, World
from wallet.bitcoin.address import MAINNET, REGTEST, Network
from wallet.bitcoin.bip39 import seed_from_mnemonic
from wallet.bitcoin.tx import Transaction, TxOut
from wallet.onchain.accounting import OnchainBalance
from wallet.onchain.keyring import Branch, Keyring, Purpose

OTHER_WORDS = "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong"


def bdk_wallet(words: str, purpose: Purpose, network: Network) -> Any:
    bdk_network = bdk.Network.BITCOIN if network is MAINNET else bdk.Network.REGTEST
    kind = getattr(bdk, "NetworkKind", None)
    root_network = bdk_network if kind is None else (kind.MAIN if network is MAINNET else kind.TEST)
    root = bdk.DescriptorSecretKey(root_network, bdk.Mnemonic.from_string(words), "")
    make = bdk.Descriptor.new_bip84 if purpose is Purpose.BIP84 else bdk.Descriptor.new_bip86
    external = make(root, bdk.KeychainKind.EXTERNAL, root_network)
    internal = make(root, bdk.KeychainKind.INTERNAL, root_network)
    return bdk.Wallet(external, internal, bdk_network, bdk.Persister.new_in_memory())


@pytest.mark.parametrize("network", [MAINNET, REGTEST], ids=lambda network: network.name)
@pytest.mark.parametrize("words", [WORDS, OTHER_WORDS])
@pytest.mark.parametrize("purpose", list(Purpose))
def test_addresses(words: str, purpose: Purpose, network: Network) -> None:
    keyring = Keyring(seed_from_mnemonic(words), network)
    theirs = bdk_wallet(words, purpose, network)
    for is_change, keychain in ((False, bdk.KeychainKind.EXTERNAL), (True, bdk.KeychainKind.INTERNAL)):
        for index in (*range(25), 500):
            expected = str(theirs.peek_address(keychain, index).address)
            assert keyring.address(Branch(purpose, is_change), index) == expected


def bdk_balance(world: World) -> OnchainBalance:
    """What bdk makes of the same blocks and mempool, BIP 84 account."""
    theirs = bdk_wallet(WORDS, Purpose.BIP84, REGTEST)
    for keychain in (bdk.KeychainKind.EXTERNAL, bdk.KeychainKind.INTERNAL):
        theirs.reveal_addresses_to(keychain, 60)
    waiting = [
        bdk.UnconfirmedTx(tx=bdk.Transaction(entry.tx.serialize()), last_seen=number + 1)
        for number, entry in enumerate(world.wallet.history())
    ]
    theirs.apply_unconfirmed_txs(waiting)
    balance = theirs.balance()
    return OnchainBalance(
        unconfirmed_sat=balance.trusted_pending.to_sat() + balance.untrusted_pending.to_sat(),
        confirmed_sat=balance.confirmed.to_sat(),
        immature_sat=balance.immature.to_sat(),
    )


def test_balance_of_a_life() -> None:
    """Everything unconfirmed on bdk's side (blocks need a server there); sums must agree after each step."""
    world = World()

    def agree() -> None:
        theirs = bdk_balance(world)
        assert world.total_sat() == theirs.unconfirmed_sat + theirs.confirmed_sat

    world.fund(100_000, 40_000, 35_000)
    agree()
    first = world.send(60_000)
    agree()
    bumped = world.check(world.wallet.draft_bump(first.tx.txid, 4_000))
    world.wallet.commit(bumped)
    agree()
    world.see(world.foreign(TxOut(12_345, world.script()), TxOut(1, STRANGER)))
    agree()
    world.mine(bumped.tx)
    world.send(30_000, rate=3_000)
    agree()
    draft = world.wallet.draft(outputs=(), send_all_to=STRANGER, feerate_sat_per_kw=700, keep_sat=9_000)
    world.wallet.commit(world.check(draft))
    agree()
    assert world.total_sat() == 9_000 + 12_345


def test_bdk_signs_what_we_sign() -> None:
    """The same coin, the same payment: bdk's transaction and ours differ in nothing that costs money."""
    world = World()
    (tx,) = world.fund(100_000)
    theirs = bdk_wallet(WORDS, Purpose.BIP84, REGTEST)
    theirs.reveal_addresses_to(bdk.KeychainKind.EXTERNAL, 30)
    theirs.apply_unconfirmed_txs([bdk.UnconfirmedTx(tx=bdk.Transaction(tx.serialize()), last_seen=1)])
    builder = bdk.TxBuilder().add_recipient(bdk.Script(STRANGER), bdk.Amount.from_sat(60_000))
    builder = builder.fee_rate(bdk.FeeRate.from_sat_per_kwu(1_000))
    psbt = builder.finish(theirs)
    theirs.sign(psbt, None)
    other = Transaction.parse(bytes(psbt.extract_tx().serialize()))
    mine = world.send(60_000).tx
    assert abs(mine.weight - other.weight) <= 2
    assert TxOut(60_000, STRANGER) in other.outputs
    assert abs(mine.total_output_sat - other.total_output_sat) <= 5
