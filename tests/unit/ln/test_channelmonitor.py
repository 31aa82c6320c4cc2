"""A channel that goes to the chain, from either side, with HTLCs and without."""

from __future__ import annotations

import pytest

from tests.unit.ln.monitor_world import START_HEIGHT, Chain, Side, htlc, make
from wallet.bitcoin.tx import Transaction
from wallet.ln.events import (
    BalanceKind,
    DelayedPaymentOutput,
    SpendableOutputDescriptor,
    SpendableOutputs,
    StaticOutput,
    StaticPaymentOutput,
)
from wallet.ln.features import ANCHORS_ZERO_FEE_HTLC_TX, STATIC_REMOTE_KEY, ChannelTypeFeatures
from wallet.ln.monitor_update import CommitmentTxConfirmed, HolderForceClosed, HTLCEvent

TYPES = [
    pytest.param(STATIC_REMOTE_KEY, id="static_remotekey"),
    pytest.param(ANCHORS_ZERO_FEE_HTLC_TX, id="anchors"),
]


def spendable(side: Side) -> list[SpendableOutputDescriptor]:
    return [
        item for event in side.take_events() if isinstance(event, SpendableOutputs) for item in event.outputs
    ]


def sweep(chain: Chain, side: Side, items: list[SpendableOutputDescriptor]) -> Transaction:
    """Spends them at once: the chain accepts it in the next block, not earlier."""
    ours = [item for item in items if side.keys.can_spend(item)]
    tx = side.keys.spend_spendable_outputs(
        ours, [], side.keys.get_destination_script(bytes(32)), 500, chain.height
    )
    chain.mine(tx)
    return tx


@pytest.mark.parametrize("channel_type", TYPES)
def test_we_close(channel_type: ChannelTypeFeatures) -> None:
    chain, alice, bob, channel = make(channel_type)
    channel.commit()
    assert alice.balances()[0][0] is BalanceKind.CLAIMABLE_ON_CHANNEL_CLOSE
    channel.force_close(alice)
    (commitment,) = chain.mine_broadcasts(alice)
    assert commitment == channel.commitment_of(alice)
    closed_height = chain.height
    for side in (alice, bob):
        (event,) = side.take_monitor_events()
        assert isinstance(event, CommitmentTxConfirmed)
        side.restart()

    # Bob's balance is his six blocks later.
    assert bob.balances() == [(BalanceKind.CLAIMABLE_AWAITING_CONFIRMATIONS, 400_000, closed_height + 5)]
    chain.mine_empty(4)
    assert spendable(bob) == []
    chain.mine()
    (item,) = spendable(bob)
    assert isinstance(item, StaticPaymentOutput)
    assert item.anchors == channel_type.anchors
    sweep(chain, bob, [item])
    assert bob.balances() == []

    # Alice's after the delay that Bob asked for.
    chain.mine_to(closed_height + 20 - 2)
    assert spendable(alice) == []
    alice.restart()
    chain.mine()
    (item,) = spendable(alice)
    assert isinstance(item, DelayedPaymentOutput)
    sweep(chain, alice, [item])
    assert alice.balances() == []
    for side in (alice, bob):
        assert side.take_monitor_events() == []
        side.restart()


# With anchors, HTLC transactions of our own need coins: see test_bump_transaction.
@pytest.mark.parametrize(
    ("channel_type", "by_bob"),
    [
        pytest.param(STATIC_REMOTE_KEY, False, id="static_remotekey, ours"),
        pytest.param(STATIC_REMOTE_KEY, True, id="static_remotekey, the peer's"),
        pytest.param(ANCHORS_ZERO_FEE_HTLC_TX, True, id="anchors, the peer's"),
    ],
)
def test_htlcs_both_ways_time_out_or_are_claimed(channel_type: ChannelTypeFeatures, by_bob: bool) -> None:
    """One HTLC each way that is claimed by preimage, one each way that is not, and a trimmed one."""
    chain, alice, bob, channel = make(channel_type)
    claimed_by_bob = htlc(True, 50_000, 300, 1)
    timed_out_alice = htlc(True, 60_000, 310, 2)
    claimed_by_alice = htlc(False, 40_000, 320, 3)
    timed_out_bob = htlc(False, 30_000, 330, 4)
    dust = htlc(True, 300, 300, 5)
    channel.commit(add=[claimed_by_bob, timed_out_alice, claimed_by_alice, timed_out_bob, dust])
    channel.commit()
    closer = bob if by_bob else alice
    if channel_type.anchors:
        # Only the other side's claims pay for themselves.
        chain.mine(channel.commitment_of(bob))
    else:
        channel.force_close(closer)
        chain.mine_broadcasts(closer)
    closed_height = chain.height
    channel.knows(bob, claimed_by_bob)
    channel.knows(alice, claimed_by_alice)
    kinds = {kind for kind, _, _ in alice.balances()}
    assert {BalanceKind.CONTENTIOUS_CLAIMABLE, BalanceKind.MAYBE_TIMEOUT_CLAIMABLE_HTLC} <= kinds
    for side in (alice, bob):
        side.restart()
        (event,) = side.take_monitor_events()
        assert isinstance(event, CommitmentTxConfirmed)

    mined = chain.mine_broadcasts(alice, bob)
    # Both claims by preimage; with anchors Bob's own HTLC transaction waits for his coins.
    assert len(mined) == (1 if channel_type.anchors else 2)
    if not channel_type.anchors:
        (event,) = alice.take_monitor_events()
        assert event == HTLCEvent(
            channel_id=channel.channel_id,
            source=claimed_by_bob.source,
            payment_hash=claimed_by_bob.payment_hash,
            payment_preimage=claimed_by_bob.preimage,
            amount_msat=50_000_000,
        )
    (event,) = bob.take_monitor_events()
    assert isinstance(event, HTLCEvent)
    assert event.payment_preimage == claimed_by_alice.preimage
    alice.restart()
    bob.restart()

    # The trimmed one has failed once the commitment is buried, and not before.
    chain.mine_to(closed_height + 4)
    assert alice.take_monitor_events() == []
    chain.mine()
    (event,) = alice.take_monitor_events()
    assert isinstance(event, HTLCEvent)
    assert (event.source, event.payment_preimage) == (dust.source, None)

    chain.mine_to(timed_out_alice.cltv_expiry_height)
    mined = chain.mine_broadcasts(alice)
    assert len(mined) == (2 if channel_type.anchors else 1)
    if not by_bob:
        assert mined[0].lock_time == timed_out_alice.cltv_expiry_height
    chain.mine_empty(4)
    assert alice.take_monitor_events() == []
    alice.restart()
    chain.mine()
    failed = [event.source for event in alice.take_monitor_events() if isinstance(event, HTLCEvent)]
    if channel_type.anchors:
        # Bob never showed the preimage: that one came back as well.
        assert set(failed) == {timed_out_alice.source, claimed_by_bob.source}
    else:
        assert failed == [timed_out_alice.source]
        chain.mine_to(timed_out_bob.cltv_expiry_height)
        assert len(chain.mine_broadcasts(bob)) == 1
        chain.mine_empty(5)
        (event,) = bob.take_monitor_events()
        assert isinstance(event, HTLCEvent)
        assert (event.source, event.payment_preimage) == (timed_out_bob.source, None)
    chain.mine_empty(40)
    items = spendable(alice)
    swept_sat = sum(item.output.value_sat for item in items)
    assert swept_sat > 600_000 - 50_000 - 300 - 5_000 + (40_000 if not channel_type.anchors else 0)
    sweep(chain, alice, items)
    assert all(isinstance(item, StaticOutput | StaticPaymentOutput) for item in items) == by_bob


@pytest.mark.parametrize("channel_type", TYPES)
def test_an_expired_htlc_of_ours_closes_the_channel(channel_type: ChannelTypeFeatures) -> None:
    chain, alice, _, channel = make(channel_type)
    channel.commit(add=[htlc(True, 50_000, START_HEIGHT + 50, 1)])
    chain.mine_to(START_HEIGHT + 52)
    assert alice.take_monitor_events() == []
    assert alice.sent.take() == []
    chain.mine()
    (event,) = alice.take_monitor_events()
    assert isinstance(event, HolderForceClosed)
    assert alice.sent.take()[0] == channel.commitment_of(alice)


@pytest.mark.parametrize("channel_type", TYPES)
def test_an_incoming_htlc_near_its_expiry_closes_the_channel(channel_type: ChannelTypeFeatures) -> None:
    chain, alice, _, channel = make(channel_type)
    item = htlc(False, 50_000, START_HEIGHT + 80, 1)
    channel.commit(add=[item])
    chain.mine_to(START_HEIGHT + 50)
    # Without the preimage there is nothing to lose.
    assert alice.take_monitor_events() == []
    channel.knows(alice, item)
    chain.mine()
    (event,) = alice.take_monitor_events()
    assert isinstance(event, HolderForceClosed)
    assert alice.sent.take()[0] == channel.commitment_of(alice)


def test_a_restored_wallet_holds_back_its_commitment() -> None:
    chain, alice, _, channel = make(STATIC_REMOTE_KEY)
    channel.commit(add=[htlc(True, 50_000, START_HEIGHT + 50, 1)])
    alice.restart(restored=True)
    chain.mine_to(START_HEIGHT + 60)
    assert alice.sent.take() == []
    assert alice.take_monitor_events() == []
    alice.chain_monitor.release_hold(channel.channel_id)
    assert alice.sent.take() == [channel.commitment_of(alice)]
