"""The chain as it can be: reorganised, late, in any order, with hints, and with commitments that differ."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ln.monitor_world import START_HEIGHT, Chain, Channel, Htlc, Side, htlc, make
from wallet.bitcoin.script import p2wpkh
from wallet.bitcoin.tx import BlockHeader, OutPoint, Transaction, TxIn
from wallet.chain.interfaces import TxInBlock
from wallet.ln.chan_utils import build_closing_transaction, sign_funding_witness
from wallet.ln.channelmonitor import ARCHIVAL_DELAY_BLOCKS
from wallet.ln.events import BalanceKind, SpendableOutputs, StaticOutput, StaticPaymentOutput
from wallet.ln.features import ANCHORS_ZERO_FEE_HTLC_TX, STATIC_REMOTE_KEY, ChannelTypeFeatures
from wallet.ln.monitor_update import (
    ChannelMonitorUpdate,
    CommitmentSecret,
    CommitmentTxConfirmed,
    ForceClosed,
    HTLCEvent,
    PreimageKnown,
    ShutdownScript,
)
from wallet.ln.watch import ChannelMonitorUpdateStatus

TYPES = [
    pytest.param(STATIC_REMOTE_KEY, id="static_remotekey"),
    pytest.param(ANCHORS_ZERO_FEE_HTLC_TX, id="anchors"),
]
BOTH_WAYS = pytest.mark.parametrize("by_txid", [False, True])
OURS = htlc(True, 50_000, START_HEIGHT + 40, 1)
THEIRS = htlc(False, 40_000, START_HEIGHT + 80, 2)


def htlc_events(side: Side) -> list[tuple[object, bytes | None]]:
    return [
        (event.source, event.payment_preimage)
        for event in side.take_monitor_events()
        if isinstance(event, HTLCEvent)
    ]


# --- reorganisations ----------------------------------------------------------


@BOTH_WAYS
@pytest.mark.parametrize("channel_type", TYPES)
def test_one_commitment_goes_and_the_other_comes(channel_type: ChannelTypeFeatures, by_txid: bool) -> None:
    chain, alice, bob, channel = make(channel_type)
    channel.commit(add=[OURS, THEIRS])
    channel.knows(alice, THEIRS)
    chain.mine(channel.commitment_of(bob))
    theirs = alice.sent.take()
    assert theirs
    assert len(alice.take_monitor_events()) == 1
    chain.mine_empty(3)
    alice.restart()
    (commitment, *_) = chain.disconnect(4, by_txid=by_txid)
    # The peer's commitment is sent again, whoever it helps.
    assert commitment in alice.sent.take()
    assert alice.balances()[0][0] is BalanceKind.CLAIMABLE_ON_CHANNEL_CLOSE
    alice.restart()
    own = channel.commitment_of(alice)
    chain.mine(own)
    # Now it is our commitment that has to be claimed from, and the event is not told twice.
    assert alice.take_monitor_events() == []
    kinds = [kind for kind, _, _ in alice.balances()]
    assert BalanceKind.CONTENTIOUS_CLAIMABLE in kinds
    assert BalanceKind.MAYBE_TIMEOUT_CLAIMABLE_HTLC in kinds
    if not channel_type.anchors:
        (claim,) = chain.mine_broadcasts(alice)
        assert claim.inputs[0].prevout.txid == own.txid


@BOTH_WAYS
def test_a_claim_that_leaves_its_block_is_sent_again(by_txid: bool) -> None:
    chain, alice, bob, channel = make(ANCHORS_ZERO_FEE_HTLC_TX)
    channel.commit(add=[OURS, THEIRS])
    chain.mine(channel.commitment_of(bob))
    channel.knows(alice, THEIRS)
    (claim,) = chain.mine_broadcasts(alice)
    chain.mine_empty(2)
    assert alice.sent.take() == []
    lost = chain.disconnect(3, by_txid=by_txid)
    assert lost == [claim]
    (again,) = alice.sent.take()
    assert again.inputs[0].prevout == claim.inputs[0].prevout
    chain.mine(again)
    chain.mine_empty(5)
    items = [i for e in alice.take_events() if isinstance(e, SpendableOutputs) for i in e.outputs]
    assert {type(item) for item in items} == {StaticOutput, StaticPaymentOutput}


def test_an_htlc_is_failed_only_when_buried() -> None:
    chain, alice, bob, channel = make(STATIC_REMOTE_KEY)
    channel.commit(add=[OURS])
    chain.mine(channel.commitment_of(bob))
    chain.mine_to(OURS.cltv_expiry_height)
    chain.mine_broadcasts(alice)
    chain.mine_empty(4)
    assert htlc_events(alice) == []
    # Five deep, and gone; the peer's claim takes its place.
    chain.disconnect(5)
    assert alice.sent.take()
    channel.knows(bob, OURS)
    assert len(chain.mine_broadcasts(bob)) == 1
    assert htlc_events(alice) == [(OURS.source, OURS.preimage)]
    chain.mine_empty(10)
    assert htlc_events(alice) == []


# --- hints --------------------------------------------------------------------


@pytest.mark.parametrize("channel_type", TYPES)
def test_a_preimage_in_the_mempool_is_learnt(channel_type: ChannelTypeFeatures) -> None:
    chain, alice, bob, channel = make(channel_type)
    channel.commit(add=[OURS])
    chain.mine(channel.commitment_of(alice))
    channel.knows(bob, OURS)
    (claim,) = bob.sent.take()
    alice.take_monitor_events()
    script = claim.inputs[0].witness[-1]
    wrong = claim.with_witness(0, (claim.inputs[0].witness[0], bytes(32), script))
    elsewhere = Transaction(
        2, (TxIn(OutPoint(claim.txid, 9), b"", 0, claim.inputs[0].witness),), claim.outputs, 0
    )
    alice.chain_monitor.transactions_seen([wrong, elsewhere])
    assert htlc_events(alice) == []
    alice.chain_monitor.transactions_seen([claim])
    assert htlc_events(alice) == [(OURS.source, OURS.preimage)]
    # Confirmed later, it is not told again.
    chain.mine(claim)
    chain.mine_empty(10)
    assert htlc_events(alice) == []


# --- two commitments of the peer's --------------------------------------------


@pytest.mark.parametrize("newer", [False, True])
@pytest.mark.parametrize("channel_type", TYPES)
def test_the_peer_may_publish_either_of_two(channel_type: ChannelTypeFeatures, newer: bool) -> None:
    chain, alice, bob, channel = make(channel_type)
    old, new = OURS, htlc(True, 30_000, START_HEIGHT + 45, 3)
    channel.commit(add=[old])
    channel.half_commit(add=[new], remove=[old])
    alice.restart()
    number = 2 if newer else 1
    present, missing = (new, old) if newer else (old, new)
    chain.mine(channel.commitment_of(bob, number))
    chain.mine_empty(4)
    assert htlc_events(alice) == []
    chain.mine()
    # What is not in it fails with its burial; what is in it only once its time-out is buried.
    assert htlc_events(alice) == [(missing.source, None)]
    chain.mine_to(present.cltv_expiry_height)
    (claim,) = chain.mine_broadcasts(alice)
    assert claim.lock_time == present.cltv_expiry_height
    chain.mine_empty(5)
    assert htlc_events(alice) == [(present.source, None)]


def test_a_known_preimage_fulfils_what_the_commitment_lacks() -> None:
    chain, alice, bob, channel = make(STATIC_REMOTE_KEY)
    channel.commit(add=[OURS])
    channel.half_commit(remove=[OURS])
    # The peer had fulfilled it, before it went silent.
    channel.knows(alice, OURS)
    chain.mine(channel.commitment_of(bob, 2))
    assert htlc_events(alice) == [(OURS.source, OURS.preimage)]


@pytest.mark.parametrize("channel_type", TYPES)
def test_a_newer_commitment_than_we_know(channel_type: ChannelTypeFeatures) -> None:
    """After a loss of data only to_remote comes back."""
    chain, alice, bob, channel = make(channel_type)
    channel.commit(add=[OURS])
    copy = {space: dict(rows) for space, rows in alice.rows.spaces.items()}
    channel.commit()
    channel.commit()
    channel.commit()
    alice.rows.spaces = copy
    state = channel.monitor(alice).state
    alice.chain_monitor._monitors.clear()
    alice.restart(restored=True)
    assert channel.monitor(alice).state != state
    chain.mine(channel.commitment_of(bob))
    (event,) = alice.take_monitor_events()
    assert isinstance(event, CommitmentTxConfirmed)
    assert "newer" in event.reason
    chain.mine_empty(5)
    items = [i for e in alice.take_events() if isinstance(e, SpendableOutputs) for i in e.outputs]
    assert [type(item) for item in items] == [StaticPaymentOutput]
    assert htlc_events(alice) == []
    chain.mine_to(OURS.cltv_expiry_height + 6)
    assert htlc_events(alice) == [(OURS.source, None)]


# --- co-operative closes ------------------------------------------------------


def test_a_co_operative_close() -> None:
    chain, alice, bob, channel = make(STATIC_REMOTE_KEY)
    channel.commit()
    home = p2wpkh(b"\x02" + bytes([9]) * 32)
    channel.update(alice, ShutdownScript(script_pubkey=home))
    params = channel.alice.params
    closing = build_closing_transaction(
        params,
        to_holder_sat=599_000,
        to_counterparty_sat=400_000,
        to_holder_script=home,
        to_counterparty_script=p2wpkh(b"\x03" + bytes([9]) * 32),
    )
    mirrored = replace(
        closing,
        to_holder_sat=closing.to_counterparty_sat,
        to_counterparty_sat=closing.to_holder_sat,
        to_holder_script=closing.to_counterparty_script,
        to_counterparty_script=closing.to_holder_script,
    )
    channel.alice.signer.agree_to_close(closing.to_holder_script)
    channel.bob.signer.agree_to_close(mirrored.to_holder_script)
    ours = channel.alice.signer.sign_closing_transaction(params, closing, 1_000)
    theirs = channel.bob.signer.sign_closing_transaction(channel.bob.params, mirrored, 1_000)
    chain.mine(sign_funding_witness(params, closing.tx, ours, theirs))
    assert alice.balances() == [(BalanceKind.CLAIMABLE_AWAITING_CONFIRMATIONS, 599_000, chain.height + 5)]
    alice.restart()
    chain.mine_empty(5)
    items = [i for e in alice.take_events() if isinstance(e, SpendableOutputs) for i in e.outputs]
    assert [(type(item), item.output.value_sat) for item in items] == [(StaticOutput, 599_000)]
    assert alice.sent.take() == bob.sent.take() == []

    # Four weeks after everything is settled it may be forgotten.
    alice.take_monitor_events()
    chain.mine_empty(100)
    monitor = channel.monitor(alice)
    resolved_height = monitor.state.onchain.resolved_height
    assert resolved_height is not None
    alice.chain_monitor.archive_fully_resolved_monitors()
    assert alice.chain_monitor.list_monitors() == [channel.channel_id]
    header = BlockHeader(1, chain.tip, bytes(32), 0, 0, 0)
    alice.chain_monitor.best_block_updated(header, resolved_height + ARCHIVAL_DELAY_BLOCKS)
    alice.chain_monitor.archive_fully_resolved_monitors()
    assert alice.chain_monitor.list_monitors() == []
    left = {space for space, rows in alice.rows.spaces.items() if rows}
    assert left <= {"monitor_archived", "revoked", "event"}


# --- updates ------------------------------------------------------------------


def test_a_closed_channel_takes_no_new_commitments() -> None:
    chain, alice, bob, channel = make(STATIC_REMOTE_KEY)
    channel.commit(add=[THEIRS])
    channel.force_close(alice)
    first = alice.sent.take()
    channel.number += 1
    holder, counterparty = channel._steps(channel.alice, channel.bob)
    assert channel.update(alice, holder) is ChannelMonitorUpdateStatus.IN_PROGRESS
    assert channel.update(alice, counterparty) is ChannelMonitorUpdateStatus.IN_PROGRESS
    alice.restart()
    # Offered again after the restart, it is still refused: nothing that depends on it may leave.
    for update_id, step in ((channel.alice.update_id - 1, holder), (channel.alice.update_id, counterparty)):
        update = ChannelMonitorUpdate(channel_id=channel.channel_id, update_id=update_id, steps=(step,))
        status = alice.chain_monitor.update_channel(channel.channel_id, update)
        assert status is ChannelMonitorUpdateStatus.IN_PROGRESS
    # Preimages still pass, and lead to claims.
    channel.knows(alice, THEIRS)
    chain.mine(*first)
    assert len(chain.mine_broadcasts(alice)) == 1
    assert htlc_events(bob) == [(THEIRS.source, THEIRS.preimage)]


def revoke_the_newest(channel: Channel, alice: Side) -> ChannelMonitorUpdateStatus:
    return channel.update(alice, CommitmentSecret(number=channel.number, secret=bytes(32)))


def skip_an_update(channel: Channel, alice: Side) -> ChannelMonitorUpdateStatus:
    channel.alice.update_id += 1
    return channel.update(alice, ForceClosed(should_broadcast=True))


@pytest.mark.parametrize("break_it", [revoke_the_newest, skip_an_update])
def test_what_cannot_be_freezes_the_monitor(
    break_it: Callable[[Channel, Side], ChannelMonitorUpdateStatus],
) -> None:
    chain, alice, _, channel = make(STATIC_REMOTE_KEY)
    channel.commit()
    before = channel.monitor(alice).state
    assert break_it(channel, alice) is ChannelMonitorUpdateStatus.UNRECOVERABLE
    assert channel.monitor(alice).state is before
    assert list(alice.chain_monitor.frozen()) == [channel.channel_id]
    chain.mine()
    assert alice.sent.take() == []


def test_an_outdated_commitment_never_leaves() -> None:
    chain, alice, _, channel = make(STATIC_REMOTE_KEY)
    channel.commit(add=[OURS])
    channel.update(alice, ForceClosed(should_broadcast=False))
    alice.restart()
    chain.mine_to(OURS.cltv_expiry_height + 20)
    assert alice.sent.take() == []
    # By hand it can be forced.
    alice.chain_monitor.broadcast_latest_holder_commitment_txn(channel.channel_id)
    assert alice.sent.take() == [channel.commitment_of(alice)]


def test_preimages_are_kept_as_long_as_they_are_needed() -> None:
    _, alice, _, channel = make(STATIC_REMOTE_KEY)
    channel.commit(add=[THEIRS])
    channel.knows(alice, THEIRS)
    alice.restart()
    assert channel.monitor(alice).state.preimages
    channel.commit(remove=[THEIRS], claimed=True)
    assert not channel.monitor(alice).state.preimages
    assert alice.rows.spaces["monitor_preimage"] == {}
    alice.restart()


def test_a_further_copy_holds_updates_back() -> None:
    _, alice, _, channel = make(STATIC_REMOTE_KEY)
    answers: dict[int, ChannelMonitorUpdateStatus] = {}
    alice.chain_monitor._further_copy = lambda _, n: answers.get(n, ChannelMonitorUpdateStatus.COMPLETED)
    answers[1] = ChannelMonitorUpdateStatus.IN_PROGRESS
    item = PreimageKnown(payment_hash=THEIRS.payment_hash, payment_preimage=THEIRS.preimage)
    assert channel.update(alice, item) is ChannelMonitorUpdateStatus.IN_PROGRESS
    assert channel.update(alice, item) is ChannelMonitorUpdateStatus.IN_PROGRESS
    assert alice.take_monitor_events() == []
    alice.chain_monitor.channel_monitor_updated(channel.channel_id, 1)
    (event,) = alice.take_monitor_events()
    assert getattr(event, "update_id", None) == 2
    assert channel.update(alice, item) is ChannelMonitorUpdateStatus.COMPLETED


# --- any order ----------------------------------------------------------------


def story() -> tuple[Chain, Side, Channel, list[tuple[BlockHeader, list[Transaction]]]]:
    """Bob's commitment, claims of both sides on it in later blocks, and their burial."""
    chain, alice, bob, channel = make(STATIC_REMOTE_KEY)
    other: Htlc = htlc(True, 20_000, START_HEIGHT + 60, 7)
    channel.commit(add=[OURS, THEIRS, other])
    channel.knows(alice, THEIRS)
    channel.knows(bob, other)
    start = len(chain.blocks)
    chain.mine(channel.commitment_of(bob))
    chain.mine_broadcasts(alice, bob)
    chain.mine_to(OURS.cltv_expiry_height)
    chain.mine_broadcasts(alice)
    chain.mine_empty(8)
    return chain, alice, channel, chain.blocks[start:]


def outcome(side: Side) -> tuple[object, ...]:
    monitor = side.chain_monitor.get_monitor(side.chain_monitor.list_monitors()[0])
    assert monitor is not None
    return (
        {txid: item.height for txid, item in monitor.state.txs.items()},
        monitor.state.onchain.told_sources,
        monitor.state.onchain.told_spendable,
        sorted(side.balances(), key=repr),
        sorted(htlc_events(side), key=repr),
    )


@settings(max_examples=40)
@given(st.integers(0, 1 << 30))
def test_any_order_ends_alike(seed: int) -> None:
    """Blocks with transactions at once or piecemeal, tips one by one or skipped, and detours over a fork."""
    dice = random.Random(seed)
    _, alice, channel, blocks = story()
    expected = outcome(alice)
    again, fresh, bob, same = make(STATIC_REMOTE_KEY)
    same.commit(add=list(channel.htlcs))
    same.knows(fresh, THEIRS)
    assert same.commitment_of(bob) == channel.commitment_of(channel.bob.side)
    base = again.height
    confirm = fresh.chain_monitor
    position = 0
    while position < len(blocks):
        header, txs = blocks[position]
        height = base + position + 1
        if txs:
            items = [TxInBlock(index, tx) for index, tx in enumerate(txs)]
            if dice.random() < 0.5:
                confirm.transactions_confirmed(header, height, items)
            else:
                for item in items:
                    confirm.transactions_confirmed(header, height, [item])
            if dice.random() < 0.5:
                confirm.transactions_confirmed(header, height, items)
        if dice.random() < 0.5 or position == len(blocks) - 1:
            confirm.best_block_updated(header, height)
        if dice.random() < 0.1 and 0 < position < len(blocks) - 9:
            # A fork: a lower tip, or each transaction taken back; then the same blocks again.
            back = dice.randint(1, min(position, 4))
            if dice.random() < 0.5:
                for _, lost in blocks[position - back + 1 : position + 1]:
                    for tx in lost:
                        confirm.transaction_unconfirmed(tx.txid)
            confirm.best_block_updated(blocks[position - back][0], base + position - back + 1)
            position -= back
        if dice.random() < 0.1:
            fresh.restart()
            confirm = fresh.chain_monitor
        position += 1
    assert outcome(fresh)[:4] == expected[:4]
    fresh.restart()
