"""Every commitment, every kind of HTLC, and either side first where both may claim: each output ends at its owner.

One channel holds an HTLC of each row of the table. A commitment is published; both sides act as their monitors say,
with coins of their own where anchors ask for them, through restarts; then the chain is read for who got what.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.unit.ln.monitor_world import START_HEIGHT, Channel, Htlc, Side, htlc, make
from tests.unit.ln.test_monitor_fuzz import Player
from tests.unit.ln.test_revoked import second_stage
from wallet.bitcoin.tx import OutPoint, Transaction
from wallet.ln.events import BalanceKind
from wallet.ln.features import ANCHORS_ZERO_FEE_HTLC_TX, STATIC_REMOTE_KEY, ChannelTypeFeatures
from wallet.ln.htlc import HTLCSource, OurPayment
from wallet.ln.package import CounterpartyHtlcClaim, build_claim_transaction
from wallet.ln.resolution import classify, resolve
from wallet.ln.types import PaymentId, PaymentPreimage

EXPIRY_HEIGHT = START_HEIGHT + 60
RESTART_EVERY_BLOCKS = 7
EARLY, LATE, NEVER = "early", "late", "never"
TYPES = pytest.mark.parametrize(
    "channel_type", [STATIC_REMOTE_KEY, ANCHORS_ZERO_FEE_HTLC_TX], ids=["static_remotekey", "anchors"]
)
FIRST = pytest.mark.parametrize("alice_is_first", [True, False], ids=["alice first", "bob first"])


@dataclass(frozen=True)
class Row:
    """An HTLC, when its receiver learns the preimage, and who has to end up with it; None: a miner.

    Attributes:
        kind: what Alice's balance says while neither side has claimed it.
    """

    item: Htlc
    known: str
    kind: BalanceKind | None

    def owner_is_alice(self, *, alice_is_first: bool) -> bool | None:
        if self.kind is None:
            return None
        if self.known == LATE:
            return alice_is_first
        return self.item.from_alice == (self.known == NEVER)


def table() -> list[Row]:
    timeout, preimage = BalanceKind.MAYBE_TIMEOUT_CLAIMABLE_HTLC, BalanceKind.MAYBE_PREIMAGE_CLAIMABLE_HTLC
    rows = [
        (True, 50_000, EARLY, timeout),
        (True, 51_000, LATE, timeout),
        (True, 52_000, NEVER, timeout),
        (True, 300, NEVER, None),
        (True, 301, EARLY, None),
        (False, 53_000, EARLY, BalanceKind.CONTENTIOUS_CLAIMABLE),
        (False, 54_000, LATE, preimage),
        (False, 55_000, NEVER, preimage),
        (False, 302, NEVER, None),
        (False, 303, EARLY, None),
    ]
    return [
        Row(htlc(from_alice, amount_sat, EXPIRY_HEIGHT, number + 1), known, kind)
        for number, (from_alice, amount_sat, known, kind) in enumerate(rows)
    ]


class Play:
    """The two sides and the chain between them."""

    def __init__(self, channel_type: ChannelTypeFeatures) -> None:
        self.chain, self.alice, self.bob, self.channel = make(channel_type)
        self.players = {
            side.name: Player(self.chain, side, number) for number, side in enumerate((self.alice, self.bob))
        }

    def act(self) -> None:
        for player in self.players.values():
            player.act()

    def block(self, *sides: Side) -> list[Transaction]:
        """The next block, with what these sides have sent; both, if none is named."""
        if self.chain.height % RESTART_EVERY_BLOCKS == 0:
            self.alice.restart()
            self.bob.restart()
        self.act()
        mined = self.chain.mine_broadcasts(*sides)
        for side in sides and (self.alice, self.bob):
            side.chain_monitor.rebroadcast_pending_claims()
        self.act()
        return mined

    def to(self, height: int) -> None:
        while self.chain.height < height:
            self.block()

    def learn(self, rows: list[Row], when: str) -> None:
        for row in rows:
            if row.known == when:
                self.channel.knows(self.bob if row.item.from_alice else self.alice, row.item)

    def owner(self, outpoint: OutPoint) -> str | None:
        """Whose coin it became, through however many transactions; None while nobody's."""
        for _, txs in self.chain.blocks:
            for tx in txs:
                for index, txin in enumerate(tx.inputs):
                    if txin.prevout == outpoint:
                        # Second stages stand at their input's index; what was joined has one output.
                        next_place = OutPoint(tx.txid, index if len(tx.outputs) > 1 else 0)
                        for name, player in self.players.items():
                            if next_place in player.got:
                                return name
                        return self.owner(next_place)
        return None

    def check(self, rows: list[Row], commitment: Transaction, *, alice_is_first: bool) -> None:
        for row in rows:
            amount_sat = row.item.amount_msat // 1000
            vouts = [n for n, output in enumerate(commitment.outputs) if output.value_sat == amount_sat]
            alices = row.owner_is_alice(alice_is_first=alice_is_first)
            owner = None if alices is None else "Alice" if alices else "Bob"
            assert len(vouts) == (0 if owner is None else 1), row
            if owner is not None:
                assert self.owner(OutPoint(commitment.txid, vouts[0])) == owner, row
            offerer, receiver = ("Alice", "Bob") if row.item.from_alice else ("Bob", "Alice")
            told = self.players[offerer].ends[row.item.source]
            assert told == (row.item.preimage if owner == receiver else None), row

    def check_balances(self, rows: list[Row]) -> None:
        """Right after the commitment: each amount, why it waits, and until when."""
        found = [(item.amount_sat, item.kind, item.height) for item in self.alice.all_balances()]
        for row in rows:
            if row.kind is not None:
                assert (row.item.amount_msat // 1000, row.kind, EXPIRY_HEIGHT) in found, row


@TYPES
@FIRST
@pytest.mark.parametrize("ours", [True, False], ids=["ours", "theirs"])
def test_a_commitment_gives_everybody_theirs(
    channel_type: ChannelTypeFeatures, ours: bool, alice_is_first: bool
) -> None:
    play, rows = Play(channel_type), table()
    play.channel.commit(add=[row.item for row in rows])
    play.channel.commit()
    play.learn(rows, EARLY)
    closer = play.alice if ours else play.bob
    play.channel.force_close(closer)
    play.act()
    commitment = play.block(closer)[0]
    assert commitment == play.channel.commitment_of(closer)
    play.check_balances(rows)
    play.to(EXPIRY_HEIGHT)
    # From now on both can claim what the receiver learns only now.
    play.learn(rows, LATE)
    play.block(play.alice if alice_is_first else play.bob)
    play.to(EXPIRY_HEIGHT + 60)
    play.check(rows, commitment, alice_is_first=alice_is_first)
    assert play.alice.all_balances() == []
    assert play.bob.all_balances() == []


@TYPES
@FIRST
@pytest.mark.parametrize("next_one", [True, False], ids=["next", "current"])
def test_two_commitments_of_the_peer_are_both_good(
    channel_type: ChannelTypeFeatures, next_one: bool, alice_is_first: bool
) -> None:
    """It has a newer one and has not revoked the other: an HTLC that only one of them holds ends either way."""
    play, rows = Play(channel_type), table()
    play.channel.commit(add=[row.item for row in rows])
    added = htlc(True, 40_000, EXPIRY_HEIGHT, 99)
    play.channel.half_commit(add=[added])
    play.learn(rows, EARLY)
    commitment = play.channel.commitment_of(play.bob, play.channel.number - (0 if next_one else 1))
    play.chain.mine(commitment)
    play.check_balances(rows)
    closed_height = play.chain.height
    play.to(closed_height + 5)
    alice = play.players["Alice"]
    # Without an output it has failed as soon as the commitment is buried.
    assert (added.source in alice.ends) == (not next_one)
    play.to(EXPIRY_HEIGHT)
    play.learn(rows, LATE)
    play.block(play.alice if alice_is_first else play.bob)
    play.to(EXPIRY_HEIGHT + 60)
    assert alice.ends[added.source] is None
    if next_one:
        (vout,) = [n for n, output in enumerate(commitment.outputs) if output.value_sat == 40_000]
        assert play.owner(OutPoint(commitment.txid, vout)) == "Alice"
        play.check(rows, commitment, alice_is_first=alice_is_first)
    else:
        # Bob's monitor knows the newer one and claims nothing: all that Alice may have is hers.
        for row in rows:
            if row.kind is not None and row.item.from_alice | (row.known != NEVER):
                amount_sat = row.item.amount_msat // 1000
                (vout,) = [n for n, output in enumerate(commitment.outputs) if output.value_sat == amount_sat]
                assert play.owner(OutPoint(commitment.txid, vout)) == "Alice", row
    # What was Bob's to take back is still there.
    left_sat = set() if next_one else {55_000}
    assert {item.amount_sat for item in play.alice.all_balances()} == left_sat


@TYPES
@pytest.mark.parametrize("away", [False, True], ids=["at once", "after the cheater's second stages"])
def test_all_of_a_cheater_is_ours(channel_type: ChannelTypeFeatures, away: bool) -> None:
    """Each HTLC output of a revoked commitment, or what the cheater made of it first, and its own balance."""
    play, rows = Play(channel_type), table()
    alice = play.players["Alice"]
    play.channel.commit(add=[row.item for row in rows])
    number = play.channel.number
    play.channel.commit()
    play.chain.mine_to(EXPIRY_HEIGHT - 1)
    commitment = play.channel.commitment_of(play.bob, number)
    play.chain.mine(commitment)
    found = [(item.kind, item.amount_sat) for item in play.alice.all_balances()]
    outputs = [row for row in rows if row.kind is not None]
    for row in outputs:
        wanted = (BalanceKind.COUNTERPARTY_REVOKED_OUTPUT_CLAIMABLE, row.item.amount_msat // 1000)
        assert wanted in found
    shown = set()
    if away:
        play.chain.mine_empty(1)
        # The cheater has every preimage of Alice's, and takes back what it offered.
        stages = [second_stage(play.channel, play.chain, play.bob, number, row.item) for row in outputs]
        shown = {row.item.source for row in outputs if row.item.from_alice}
        play.chain.mine(*stages)
    for _ in range(40):
        alice.act()
        play.chain.mine_broadcasts(play.alice)
        play.alice.chain_monitor.rebroadcast_pending_claims()
        if play.chain.height % RESTART_EVERY_BLOCKS == 0:
            play.alice.restart()
    alice.act()
    for row in outputs:
        amount_sat = row.item.amount_msat // 1000
        (vout,) = [n for n, output in enumerate(commitment.outputs) if output.value_sat == amount_sat]
        assert play.owner(OutPoint(commitment.txid, vout)) == "Alice", row
    own_sat = play.channel.end(play.bob).history[number].commitment.to_broadcaster_sat
    (vout,) = [n for n, output in enumerate(commitment.outputs) if output.value_sat == own_sat]
    assert play.owner(OutPoint(commitment.txid, vout)) == "Alice"
    for row in rows:
        if row.item.from_alice:
            source = row.item.source
            assert alice.ends[source] == (row.item.preimage if source in shown else None), row
    assert play.alice.all_balances() == []


# --- twins --------------------------------------------------------------------


@dataclass(frozen=True)
class Twin(Htlc):
    """A second part with the hash and the amount of another."""

    @property
    def source(self) -> HTLCSource:
        return OurPayment(payment_id=PaymentId(self.payment_hash), part_id=1)


@TYPES
@pytest.mark.parametrize("ours", [True, False], ids=["ours", "theirs"])
@pytest.mark.parametrize("later_one", [True, False], ids=["the later one", "the earlier one"])
def test_twins_are_told_apart(channel_type: ChannelTypeFeatures, ours: bool, later_one: bool) -> None:
    """Two HTLCs with one hash and one amount: the peer takes one of them, and the other comes back."""
    play = Play(channel_type)
    preimage = PaymentPreimage(b"\x07" * 32)
    one = Htlc(True, 50_000_000, EXPIRY_HEIGHT, preimage)
    two = Twin(True, 50_000_000, EXPIRY_HEIGHT + 5, preimage)
    play.channel.commit(add=[one, two])
    play.channel.commit()
    closer = play.alice if ours else play.bob
    play.channel.force_close(closer)
    play.act()
    commitment = play.block(closer)[0]
    taken, left = (two, one) if later_one else (one, two)
    history = play.channel.end(closer).history[-1].commitment
    vout_of = {placed.cltv_expiry_height: placed.output_index for placed in history.htlcs}
    wanted = OutPoint(commitment.txid, vout_of[taken.cltv_expiry_height] or 0)
    assert vout_of[taken.cltv_expiry_height] is not None
    play.channel.knows(play.bob, one)
    claim = bobs_claim(play.channel, commitment, taken, ours=ours)
    assert wanted in {txin.prevout for txin in claim.inputs}
    play.chain.mine(claim)
    play.act()
    alice = play.players["Alice"]
    assert alice.ends == {taken.source: preimage}
    # Whatever Bob would do with the other, he is gone.
    while play.chain.height < EXPIRY_HEIGHT + 60:
        alice.act()
        play.chain.mine_broadcasts(play.alice)
    alice.act()
    assert alice.ends == {taken.source: preimage, left.source: None}
    other = OutPoint(commitment.txid, vout_of[left.cltv_expiry_height] or 0)
    assert play.owner(other) == "Alice"
    assert play.alice.all_balances() == []


def bobs_claim(channel: Channel, commitment: Transaction, item: Htlc, *, ours: bool) -> Transaction:
    """Bob's claim by preimage of one output and no other; it pays well."""
    bob = channel.bob.side
    if not ours:
        return second_stage(channel, channel.chain, bob, channel.number, item)
    state = channel.monitor(bob).state
    spend = classify(state, commitment, lambda number: None)
    (claim,) = [
        claim
        for _, claim in resolve(state, spend, state.txs[commitment.txid]).claims
        if isinstance(claim, CounterpartyHtlcClaim)
        and claim.htlc.cltv_expiry_height == item.cltv_expiry_height
    ]
    end = channel.end(bob)
    return build_claim_transaction([claim], end.params, end.signer, state.static.destination_script, 45_000)
