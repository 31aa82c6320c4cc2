"""Anchors: the wallet's coins bring commitments and HTLC transactions to the fee rate that is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.consensus import check_transaction
from tests.unit.ln.monitor_world import START_HEIGHT, Chain, Log, Side, coin, htlc, make
from wallet.bitcoin.amounts import fee_sat_ceil
from wallet.bitcoin.curve import pubkey_from_secret, sign_ecdsa
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.script import dust_limit_sat, p2wpkh, p2wpkh_script_code
from wallet.bitcoin.tx import OutPoint, Transaction, TxOut, sighash_segwit_v0
from wallet.ln.bump_transaction import (
    BumpResult,
    BumpTransactionEventHandler,
    CoinSelection,
    MustSpend,
    NotEnoughCoins,
    Utxo,
)
from wallet.ln.chan_utils import witness_signature
from wallet.ln.events import BumpCommitment, BumpHtlcs, DelayedPaymentOutput, SpendableOutputs
from wallet.ln.features import ANCHORS_ZERO_FEE_HTLC_TX
from wallet.ln.monitor_update import HTLCEvent


class SmallWallet:
    """Takes the largest coins first, and of those none that another claim has while there are others."""

    def __init__(self, chain: Chain, *amounts_sat: int, name: bytes = b"") -> None:
        self.chain = chain
        self.change_script = p2wpkh(pubkey_from_secret(sha256(b"change")))
        self.coins: dict[OutPoint, tuple[TxOut, bytes]] = {}
        self.holders: dict[OutPoint, bytes] = {}
        for number, amount_sat in enumerate(amounts_sat):
            outpoint, output, secret = coin(chain, name + number.to_bytes(2, "big"), amount_sat)
            self.coins[outpoint] = (output, secret)

    def select_confirmed_utxos(
        self,
        claim_id: bytes,
        must_spend: Sequence[MustSpend],
        must_pay_to: Sequence[TxOut],
        target_feerate_sat_per_kw: int,
    ) -> CoinSelection:
        assert len(claim_id) == 32
        weight = 4 * 10 + 2 + sum(164 + item.satisfaction_weight for item in must_spend)
        weight += sum(4 * (9 + len(output.script_pubkey)) for output in must_pay_to)
        have_sat = sum(item.value_sat for item in must_spend) - sum(o.value_sat for o in must_pay_to)
        chosen: list[Utxo] = []
        available = sorted(
            (item for item in self.coins.items() if item[0] in self.chain.unspent),
            key=lambda item: (self.holders.get(item[0], claim_id) != claim_id, -item[1][0].value_sat),
        )
        while True:
            change_weight = weight + 4 * (9 + 22)
            change_sat = have_sat - fee_sat_ceil(change_weight, target_feerate_sat_per_kw)
            if chosen and change_sat >= dust_limit_sat(self.change_script):
                self.holders.update({coin.outpoint: claim_id for coin in chosen})
                return CoinSelection(
                    confirmed_utxos=tuple(chosen), change_output=TxOut(change_sat, self.change_script)
                )
            if not available:
                raise NotEnoughCoins
            outpoint, (output, _) = available.pop(0)
            chosen.append(Utxo(outpoint=outpoint, output=output, satisfaction_weight=109))
            weight += 164 + 109
            have_sat += output.value_sat

    def sign_inputs(self, tx: Transaction, spent_outputs: Sequence[TxOut]) -> Transaction:
        for index, (txin, output) in enumerate(zip(tx.inputs, spent_outputs, strict=True)):
            if txin.prevout in self.coins:
                assert self.coins[txin.prevout][0] == output
                secret = self.coins[txin.prevout][1]
                digest = sighash_segwit_v0(
                    tx, index, p2wpkh_script_code(output.script_pubkey), output.value_sat
                )
                witness = (witness_signature(sign_ecdsa(digest, secret)), pubkey_from_secret(secret))
                tx = tx.with_witness(index, witness)
        return tx


def handler_of(side: Side, wallet: SmallWallet) -> BumpTransactionEventHandler:
    return BumpTransactionEventHandler(side.sent, wallet, side.keys, Log())


def fee_of(tx: Transaction, spent: Sequence[TxOut]) -> int:
    check_transaction(tx, spent)
    return sum(output.value_sat for output in spent) - tx.total_output_sat


def test_a_commitment_and_its_child_reach_the_rate() -> None:
    chain, alice, _, channel = make(ANCHORS_ZERO_FEE_HTLC_TX, feerate_sat_per_kw=253)
    channel.commit(add=[htlc(True, 50_000, START_HEIGHT + 30, 1)])
    alice.fees.sat_per_kw = 5_000
    channel.force_close(alice)
    # Alone as well, should there be no coins.
    assert alice.sent.take() == [channel.commitment_of(alice)]
    (event,) = alice.take_events()
    assert isinstance(event, BumpCommitment)
    assert event.package_target_feerate_sat_per_kw == 5_000
    assert handler_of(alice, SmallWallet(chain, 2_000)).handle_event(event) is BumpResult.NOT_ENOUGH_COINS
    wallet = SmallWallet(chain, 30_000, 40_000)
    assert handler_of(alice, wallet).handle_event(event) is BumpResult.SENT
    commitment, child = alice.sent.take()
    commitment_fee_sat = fee_of(commitment, chain.spent_outputs(commitment))
    assert commitment_fee_sat == event.commitment_tx_fee_sat
    spent = [commitment.outputs[event.anchor_vout], *(wallet.coins[i.prevout][0] for i in child.inputs[1:])]
    package_sat = commitment_fee_sat + fee_of(child, spent)
    assert package_sat * 1000 >= 5_000 * (commitment.weight + child.weight)
    assert package_sat * 1000 < 5_300 * (commitment.weight + child.weight)

    # While it does not confirm, it is asked for again at a higher rate; a rebroadcast asks for the same.
    alice.chain_monitor.rebroadcast_pending_claims()
    (again,) = alice.take_events()
    assert again == event
    chain.mine_empty(15)
    raised = [item for item in alice.take_events() if isinstance(item, BumpCommitment)]
    assert raised
    assert raised[-1].package_target_feerate_sat_per_kw == 6_250
    assert raised[-1].claim_id == event.claim_id
    chain.mine(commitment, child)
    assert alice.take_events() == []


def test_a_commitment_that_pays_enough_needs_no_coins() -> None:
    _, alice, _, channel = make(ANCHORS_ZERO_FEE_HTLC_TX, feerate_sat_per_kw=2_000)
    channel.commit()
    channel.force_close(alice)
    assert alice.sent.take() == [channel.commitment_of(alice)]
    assert alice.take_events() == []


def test_htlc_transactions_are_combined_and_paid_for() -> None:
    chain, alice, bob, channel = make(ANCHORS_ZERO_FEE_HTLC_TX, feerate_sat_per_kw=2_000)
    expiry = START_HEIGHT + 30
    lost = [htlc(True, 20_000 + n, expiry, 1 + n) for n in range(3)]
    later = htlc(True, 25_000, expiry + 5, 10)
    won = [htlc(False, 30_000 + n, expiry + 60, 20 + n) for n in range(2)]
    channel.commit(add=[*lost, later, *won])
    channel.commit()
    for item in won:
        channel.knows(alice, item)
    channel.force_close(alice)
    chain.mine_broadcasts(alice)
    alice.take_monitor_events()
    alice.restart()
    wallet = SmallWallet(chain, 50_000, 60_000)
    handler = handler_of(alice, wallet)

    (success,) = alice.take_events()
    assert isinstance(success, BumpHtlcs)
    assert {item.payment_preimage for item in success.htlcs} == {item.preimage for item in won}
    assert success.tx_lock_time == 0
    assert handler.handle_event(success) is BumpResult.SENT
    (tx,) = alice.sent.take()
    assert len(tx.inputs) == 3
    fee_sat = fee_of(tx, chain.spent_outputs(tx))
    assert fee_sat * 1000 >= success.target_feerate_sat_per_kw * tx.weight
    chain.mine(tx)
    # Bob learns the preimages from it, at once.
    told = [event for event in bob.take_monitor_events() if isinstance(event, HTLCEvent)]
    assert {event.payment_preimage for event in told} == {item.preimage for item in won}

    chain.mine_to(expiry)
    alice.restart()
    wallet = SmallWallet(chain, 45_000, 70_000)
    handler = handler_of(alice, wallet)
    earlier = alice.take_events()
    (timeout,) = [event for event in earlier if isinstance(event, BumpHtlcs)]
    assert timeout.tx_lock_time == expiry
    assert handler.handle_event(timeout) is BumpResult.SENT
    (tx,) = alice.sent.take()
    assert len(tx.inputs) == 4
    chain.mine(tx)
    chain.mine_empty(5)
    events = alice.take_events()
    assert any(isinstance(event, BumpHtlcs) and event.tx_lock_time == expiry + 5 for event in events)
    failed = {event.source for event in alice.take_monitor_events() if isinstance(event, HTLCEvent)}
    assert failed == {item.source for item in lost}
    chain.mine_empty(30)
    items = [
        item
        for event in (*earlier, *events, *alice.take_events())
        if isinstance(event, SpendableOutputs)
        for item in event.outputs
    ]
    # to_local, two successes, three time-outs.
    assert len(items) == 6
    assert all(isinstance(item, DelayedPaymentOutput) for item in items)
    chain.mine(alice.keys.spend_spendable_outputs(items, [], wallet.change_script, 400, chain.height))


@pytest.mark.parametrize("amount_sat", [5_000, 1_000])
def test_too_few_coins_claim_what_they_can(amount_sat: int) -> None:
    chain, alice, _, channel = make(ANCHORS_ZERO_FEE_HTLC_TX, feerate_sat_per_kw=2_000)
    items = [htlc(False, 20_000 + n * 1_000, START_HEIGHT + 90, 1 + n) for n in range(8)]
    channel.commit(add=items)
    for item in items:
        channel.knows(alice, item)
    alice.fees.sat_per_kw = 1_500
    channel.force_close(alice)
    chain.mine_broadcasts(alice)
    (event,) = alice.take_events()
    assert isinstance(event, BumpHtlcs)
    result = handler_of(alice, SmallWallet(chain, amount_sat)).handle_event(event)
    assert result is BumpResult.NOT_ENOUGH_COINS
    sent = alice.sent.take()
    if amount_sat == 1_000:
        assert sent == []
        return
    (tx,) = sent
    chain.mine(tx)
    # The most valuable came first; the others are asked for again.
    assert tx.outputs[0].value_sat == 27_000
    alice.chain_monitor.rebroadcast_pending_claims()
    (event,) = alice.take_events()
    assert isinstance(event, BumpHtlcs)
    assert len(event.htlcs) == 8 - (len(tx.inputs) - 1)


def test_htlcs_below_their_fee_are_left() -> None:
    chain, alice, _, channel = make(ANCHORS_ZERO_FEE_HTLC_TX, feerate_sat_per_kw=2_000)
    item = htlc(False, 1_000, START_HEIGHT + 90, 1)
    channel.commit(add=[item])
    channel.knows(alice, item)
    channel.force_close(alice)
    chain.mine_broadcasts(alice)
    alice.fees.sat_per_kw = 10_000
    alice.chain_monitor.rebroadcast_pending_claims()
    event = alice.take_events()[-1]
    assert isinstance(event, BumpHtlcs)
    wallet = SmallWallet(chain, 100_000)
    assert handler_of(alice, wallet).handle_event(event) is BumpResult.NOT_WORTH_IT
