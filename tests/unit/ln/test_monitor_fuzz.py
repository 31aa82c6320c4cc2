"""Any set of HTLCs, any commitment, any knowledge: everybody gets what is theirs, and hears how it ended."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ln.monitor_world import START_HEIGHT, Chain, Channel, Htlc, Log, Side, htlc, make
from tests.unit.ln.test_bump_transaction import SmallWallet
from wallet.bitcoin.tx import LOCKTIME_THRESHOLD, OutPoint
from wallet.ln.bump_transaction import BumpTransactionEventHandler
from wallet.ln.events import BumpCommitment, BumpHtlcs, SpendableOutputs
from wallet.ln.features import ANCHORS_ZERO_FEE_HTLC_TX, STATIC_REMOTE_KEY, ChannelTypeFeatures
from wallet.ln.monitor_update import HTLCEvent

# What the claims of one channel may cost at the fee rates of these tests, for each claimed output.
CLAIM_COST_SAT = 2_500


@dataclass(frozen=True)
class Case:
    """One HTLC, and whether its receiver knows the preimage, and since when it is in the commitments."""

    item: Htlc
    known: bool
    removed: bool


@st.composite
def cases(draw: st.DrawFn) -> list[Case]:
    count = draw(st.integers(0, 7))
    return [
        Case(
            item=htlc(
                draw(st.booleans()),
                draw(st.sampled_from([200, 5_000, 9_000, 20_000])),
                START_HEIGHT + draw(st.sampled_from([60, 61, 75, 90])),
                number + 1,
            ),
            known=draw(st.booleans()),
            removed=draw(st.booleans()),
        )
        for number in range(count)
    ]


# Step of the play -> how many blocks are replaced, how that is told, whether claims come back by themselves.
Forks = dict[int, tuple[int, bool, bool]]
forks_drawn = st.dictionaries(
    st.integers(0, 100), st.tuples(st.integers(1, 5), st.booleans(), st.booleans()), max_size=3
)


class Player:
    """A side with coins: answers its events, and keeps what becomes spendable."""

    def __init__(self, chain: Chain, side: Side, number: int) -> None:
        self.side = side
        wallet = SmallWallet(chain, *(100_000 + n for n in range(6)), name=bytes([number]))
        self.handler = BumpTransactionEventHandler(side.sent, wallet, side.keys, Log())
        self.wallet = wallet
        self.got: dict[OutPoint, int] = {}
        self.ends: dict[object, bytes | None] = {}

    def act(self) -> None:
        for event in self.side.take_events():
            if isinstance(event, SpendableOutputs):
                for item in event.outputs:
                    assert item.outpoint not in self.got
                    self.got[item.outpoint] = item.output.value_sat
            elif isinstance(event, BumpCommitment | BumpHtlcs):
                self.handler.handle_event(event)
        for told in self.side.take_monitor_events():
            if isinstance(told, HTLCEvent):
                assert told.source not in self.ends, "told twice"
                self.ends[told.source] = told.payment_preimage


def play(chain: Chain, players: list[Player], blocks: int, restart_every: int, forks: Forks) -> None:
    for step in range(blocks):
        if step in forks:
            depth, by_txid, keep = forks[step]
            lost = chain.disconnect(min(depth, len(chain.blocks) - 1), by_txid=by_txid)
            # Commitments come back; of the claims, only what their owners send again, or all.
            for tx in lost:
                if (keep or tx.lock_time >= LOCKTIME_THRESHOLD) and not chain.problem(tx, chain.height + 1):
                    chain.mine(tx)
            chain.mine_empty(2)
        for player in players:
            player.act()
        chain.mine_broadcasts()
        if step % 7 == 3:
            for player in players:
                player.side.chain_monitor.rebroadcast_pending_claims()
        if step % restart_every == restart_every - 1:
            for player in players:
                player.side.restart()
    for player in players:
        player.act()


def set_up(channel_type: ChannelTypeFeatures, found: list[Case]) -> tuple[Chain, Side, Side, Channel]:
    chain, alice, bob, channel = make(channel_type)
    if found:
        channel.commit(add=[case.item for case in found])
    for case in found:
        if case.known:
            channel.knows(bob if case.item.from_alice else alice, case.item)
    return chain, alice, bob, channel


@pytest.mark.parametrize(
    "channel_type", [STATIC_REMOTE_KEY, ANCHORS_ZERO_FEE_HTLC_TX], ids=["static", "anchors"]
)
@settings(max_examples=40)
@given(found=cases(), by_alice=st.booleans(), restart_every=st.integers(5, 60), forks=forks_drawn)
def test_a_close_gives_everybody_theirs(
    channel_type: ChannelTypeFeatures, found: list[Case], by_alice: bool, restart_every: int, forks: Forks
) -> None:
    chain, alice, bob, channel = set_up(channel_type, found)
    channel.force_close(alice if by_alice else bob)
    closer = channel.alice if by_alice else channel.bob
    commitment = closer.history[-1].commitment
    with_output = {placed.payment_hash for placed in commitment.htlcs}
    players = [Player(chain, alice, 0), Player(chain, bob, 1)]
    play(chain, players, 150, restart_every, forks)

    alice_sat, bob_sat = (
        (commitment.to_broadcaster_sat, commitment.to_countersignatory_sat)
        if by_alice
        else (commitment.to_countersignatory_sat, commitment.to_broadcaster_sat)
    )
    for case in found:
        item = case.item
        if item.payment_hash not in with_output:
            continue
        if item.from_alice != case.known:
            alice_sat += item.amount_msat // 1000
        else:
            bob_sat += item.amount_msat // 1000
    for player, expected_sat in zip(players, (alice_sat, bob_sat), strict=True):
        got_sat = sum(player.got.values())
        assert expected_sat - CLAIM_COST_SAT * (len(found) + 1) <= got_sat <= expected_sat
        assert player.side.all_balances() == []
        assert player.side.chain_monitor.frozen() == {}
    for case in found:
        offerer = players[0] if case.item.from_alice else players[1]
        claimed = case.known and case.item.payment_hash in with_output
        assert offerer.ends[case.item.source] == (case.item.preimage if claimed else None)
    assert sum(len(player.ends) for player in players) == len(found)


@pytest.mark.parametrize(
    "channel_type", [STATIC_REMOTE_KEY, ANCHORS_ZERO_FEE_HTLC_TX], ids=["static", "anchors"]
)
@settings(max_examples=40)
@given(found=cases(), hinted=st.booleans(), restart_every=st.integers(5, 60), forks=forks_drawn)
def test_a_cheater_loses_everything(
    channel_type: ChannelTypeFeatures, found: list[Case], hinted: bool, restart_every: int, forks: Forks
) -> None:
    chain, alice, bob, channel = set_up(channel_type, found)
    removed = [case.item for case in found if case.removed]
    channel.commit(remove=removed)
    revoked = channel.commitment_of(bob, channel.number - 1)
    player = Player(chain, alice, 0)
    if hinted:
        alice.chain_monitor.transactions_seen([revoked])
    chain.mine(revoked)
    play(chain, [player], 60, restart_every, forks)
    got_sat = sum(player.got.values())
    total_sat = revoked.total_output_sat - (660 if channel_type.anchors else 0)
    assert total_sat - CLAIM_COST_SAT * (len(found) + 2) <= got_sat <= total_sat
    assert alice.all_balances() == []
    # HTLCs that were still under way have failed; those settled before are nobody's concern.
    open_sources = {case.item.source for case in found if case.item.from_alice and not case.removed}
    assert set(player.ends) == open_sources
    assert set(player.ends.values()) <= {None}
