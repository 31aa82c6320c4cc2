"""A peer that publishes what it has revoked loses everything, whatever it does next."""

from __future__ import annotations

import pytest

from tests.unit.ln.monitor_world import Chain, Channel, Htlc, Side, coin, htlc, make
from wallet.bitcoin.curve import pubkey_from_secret, sign_ecdsa
from wallet.bitcoin.script import p2pkh_from_hash
from wallet.bitcoin.tx import OutPoint, Transaction, TxIn, TxOut, sighash_segwit_v0
from wallet.ln.chan_utils import build_htlc_transaction, htlc_witness, witness_signature
from wallet.ln.events import BalanceKind, SpendableOutputs, StaticOutput
from wallet.ln.features import ANCHORS_ZERO_FEE_HTLC_TX, STATIC_REMOTE_KEY, ChannelTypeFeatures
from wallet.ln.monitor_update import CommitmentTxConfirmed, HTLCEvent

TYPES = [
    pytest.param(STATIC_REMOTE_KEY, id="static_remotekey"),
    pytest.param(ANCHORS_ZERO_FEE_HTLC_TX, id="anchors"),
]

OURS = htlc(True, 50_000, 300, 1)
THEIRS = htlc(False, 40_000, 310, 2)


def cheat(channel_type: ChannelTypeFeatures) -> tuple[Chain, Side, Side, Channel, Transaction]:
    """Bob's commitment with an HTLC each way is revoked; one of them is still under way."""
    chain, alice, bob, channel = make(channel_type)
    channel.commit(add=[OURS, THEIRS])
    channel.commit(remove=[THEIRS])
    channel.commit()
    alice.restart()
    return chain, alice, bob, channel, channel.commitment_of(bob, 1)


def second_stage(channel: Channel, chain: Chain, bob: Side, number: int, item: Htlc) -> Transaction:
    """Bob's HTLC transaction of a revoked commitment; with anchors a coin pays its fee."""
    signed = channel.end(bob).history[number]
    commitment = signed.commitment
    index, placed = next(
        (i, placed)
        for i, placed in enumerate(commitment.htlcs)
        if (placed.payment_hash, placed.cltv_expiry_height) == (item.payment_hash, item.cltv_expiry_height)
    )
    tx = build_htlc_transaction(commitment, placed)
    secret = b""
    output = TxOut(0, b"")
    if commitment.anchors:
        outpoint, output, secret = coin(chain, item.preimage, 10_000)
        tx = Transaction(2, (*tx.inputs, TxIn(outpoint)), tx.outputs, tx.lock_time)
    script = commitment.htlc_script(placed)
    own = channel.dishonest(bob).sign_holder_htlc_transaction(tx, 0, placed.amount_sat, number, script)
    preimage = None if placed.offered else item.preimage
    signed_tx = tx.with_witness(
        0, htlc_witness(signed.counterparty_htlc_sigs[index], own, preimage, script, commitment.anchors)
    )
    if secret:
        code = p2pkh_from_hash(output.script_pubkey[2:])
        digest = sighash_segwit_v0(tx, 1, code, output.value_sat)
        witness = (witness_signature(sign_ecdsa(digest, secret)), pubkey_from_secret(secret))
        signed_tx = signed_tx.with_witness(1, witness)
    return signed_tx


def claimed_sat(side: Side) -> int:
    return sum(
        item.output.value_sat
        for event in side.take_events()
        if isinstance(event, SpendableOutputs)
        for item in event.outputs
        if isinstance(item, StaticOutput)
    )


@pytest.mark.parametrize("channel_type", TYPES)
def test_everything_is_taken(channel_type: ChannelTypeFeatures) -> None:
    chain, alice, _, channel, revoked = cheat(channel_type)
    chain.mine(revoked)
    (event,) = alice.take_monitor_events()
    assert isinstance(event, CommitmentTxConfirmed)
    assert "revoked" in event.reason
    kinds = [kind for kind, _, _ in alice.balances()]
    assert kinds.count(BalanceKind.COUNTERPARTY_REVOKED_OUTPUT_CLAIMABLE) == 3
    alice.restart()
    mined = chain.mine_broadcasts(alice)
    assert sum(len(tx.inputs) for tx in mined) == 3
    # to_local is never held up by what the cheater could pin.
    to_local_sat = channel.end(channel.bob.side).history[1].commitment.to_broadcaster_sat
    if channel_type.anchors:
        assert len(mined) == 2
    assert all(tx.outputs[0].value_sat for tx in mined)
    taken_sat = sum(tx.outputs[0].value_sat for tx in mined)
    assert taken_sat > to_local_sat + 90_000 - 3_000
    assert alice.take_monitor_events() == []
    chain.mine_empty(5)
    # The HTLC that was under way can never be claimed any more.
    (event,) = alice.take_monitor_events()
    assert isinstance(event, HTLCEvent)
    assert (event.source, event.payment_preimage) == (OURS.source, None)
    assert claimed_sat(alice) == taken_sat
    assert alice.balances() == []
    alice.restart()


@pytest.mark.parametrize("channel_type", TYPES)
def test_second_stages_are_taken(channel_type: ChannelTypeFeatures) -> None:
    """Bob gets both HTLC outputs into his HTLC transactions first; that only moves what Alice takes."""
    chain, alice, bob, channel, revoked = cheat(channel_type)
    chain.mine(revoked)
    alice.take_monitor_events()
    alice.sent.take()
    success = second_stage(channel, chain, bob, 1, OURS)
    chain.mine_empty(1)
    chain.mine(success)
    # His HTLC-success shows the preimage: that is told at once.
    (event,) = alice.take_monitor_events()
    assert isinstance(event, HTLCEvent)
    assert (event.source, event.payment_preimage) == (OURS.source, OURS.preimage)
    alice.restart()
    mined = chain.mine_broadcasts(alice)
    spent = {txin.prevout for tx in mined for txin in tx.inputs}
    assert OutPoint(success.txid, 0) in spent
    # What was aggregated with the output that he took is sent anew without it.
    alice.chain_monitor.rebroadcast_pending_claims()
    chain.mine_broadcasts(alice)
    chain.mine_empty(6)
    assert alice.balances() == []
    total_sat = claimed_sat(alice)
    to_local_sat = channel.end(bob).history[1].commitment.to_broadcaster_sat
    assert total_sat > to_local_sat + 90_000 - 6_000


@pytest.mark.parametrize("channel_type", TYPES)
def test_a_hint_starts_justice(channel_type: ChannelTypeFeatures) -> None:
    chain, alice, _, _, revoked = cheat(channel_type)
    alice.sent.take()
    forged = revoked.with_witness(0, (b"", *revoked.inputs[0].witness[2:0:-1], revoked.inputs[0].witness[3]))
    alice.chain_monitor.transactions_seen([forged])
    assert alice.sent.take() == []
    alice.chain_monitor.transactions_seen([revoked])
    early = alice.sent.take()
    assert sum(len(tx.inputs) for tx in early) == 3
    # A hint is no confirmation: nothing else moves.
    assert alice.take_monitor_events() == []
    assert alice.balances()[0][0] is BalanceKind.CLAIMABLE_ON_CHANNEL_CLOSE
    chain.mine(revoked, *early)
    assert isinstance(alice.take_monitor_events()[0], CommitmentTxConfirmed)
    chain.mine_empty(5)
    assert claimed_sat(alice) == sum(tx.outputs[0].value_sat for tx in early)


def test_a_hint_that_goes_away() -> None:
    chain, alice, _, _, revoked = cheat(STATIC_REMOTE_KEY)
    alice.chain_monitor.transactions_seen([revoked])
    assert alice.sent.take()
    alice.chain_monitor.transactions_evicted([revoked.txid])
    alice.chain_monitor.rebroadcast_pending_claims()
    chain.mine()
    assert alice.sent.take() == []


@pytest.mark.parametrize("channel_type", TYPES)
def test_justice_is_bumped_until_it_confirms(channel_type: ChannelTypeFeatures) -> None:
    chain, alice, _, _, revoked = cheat(channel_type)
    chain.mine(revoked)
    first = {tx.inputs[0].prevout: tx for tx in alice.sent.take()}
    fees: dict[OutPoint, list[int]] = {}
    last: list[Transaction] = []
    for _ in range(25):
        chain.mine()
        sent = alice.sent.take()
        for tx in sent:
            spent_sat = sum(output.value_sat for output in chain.spent_outputs(tx))
            fees.setdefault(tx.inputs[0].prevout, []).append(spent_sat - tx.total_output_sat)
            assert chain.problem(tx, chain.height + 1) is None
        last = sent or last
    assert first
    for each in fees.values():
        assert each == sorted(set(each)), "every replacement pays more than the one before"
    # The cheater's turn at to_local comes after 30 blocks: its claim is tried ever more often.
    assert max(len(each) for each in fees.values()) >= 5
    assert last


def test_a_long_channel_keeps_its_memory_flat() -> None:
    chain, alice, bob, channel = make(STATIC_REMOTE_KEY)
    channel.commit(add=[OURS])
    for _ in range(40):
        channel.commit()
    state = channel.monitor(alice).state
    assert len(state.counterparty) == 1
    assert len(alice.rows.spaces["revoked"]) == 41
    assert len(state.secrets.buckets) <= 7
    alice.rows.writes = 0
    channel.commit()
    # Head thrice, the peer's new commitment, ours, one secret, one row moved to the revoked.
    assert alice.rows.writes <= 8
    alice.restart()
    chain.mine(channel.commitment_of(bob, 17))
    mined = chain.mine_broadcasts(alice)
    assert sum(len(tx.inputs) for tx in mined) == 2
