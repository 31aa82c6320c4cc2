"""No node refuses what we broadcast: claims that join, part, rise and come back, judged by the rules of replacement.

The mempool here is that of BIP 125 and of Bitcoin Core's policy: a minimum rate, and for whatever replaces another
transaction a higher rate, a higher fee by its own bandwidth, and no input that waits itself unless the other had it.
Blocks come empty for as long as a test wants; the chain then takes what the mempool holds.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from tests.functional.test_claims_table import bobs_claim
from tests.unit.ln.monitor_world import START_HEIGHT, Chain, Htlc, Side, htlc, make
from tests.unit.ln.test_monitor_fuzz import Player
from wallet.bitcoin.amounts import fee_sat_ceil
from wallet.bitcoin.tx import OutPoint, Transaction, Txid, TxOut
from wallet.chain.interfaces import BroadcastPackage
from wallet.ln.config import MIN_CLTV_EXPIRY_DELTA
from wallet.ln.features import ANCHORS_ZERO_FEE_HTLC_TX, STATIC_REMOTE_KEY, ChannelTypeFeatures
from wallet.ln.monitor_update import HTLCEvent
from wallet.ln.package import SECURITY_DELAY_BLOCKS

TYPES = pytest.mark.parametrize(
    "channel_type", [STATIC_REMOTE_KEY, ANCHORS_ZERO_FEE_HTLC_TX], ids=["static_remotekey", "anchors"]
)
SEEDS = pytest.mark.parametrize("seed", range(8))
# 1 sat/vB, for the least rate and for a replacement's bandwidth.
RELAY_SAT_PER_KW = 250


@dataclass(frozen=True)
class Entry:
    tx: Transaction
    fee_sat: int


class Mempool:
    """What a node holds, and why it refused what it did not take."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.entries: dict[Txid, Entry] = {}
        self.refusals: list[str] = []
        self.replaced = 0

    def output(self, prevout: OutPoint) -> TxOut | None:
        entry = self.entries.get(prevout.txid)
        if entry is not None:
            return entry.tx.outputs[prevout.vout]
        known = self.chain.unspent.get(prevout)
        return None if known is None else known[0]

    def conflicts(self, tx: Transaction) -> list[Entry]:
        spent = {txin.prevout for txin in tx.inputs}
        return [
            entry for entry in self.entries.values() if any(txin.prevout in spent for txin in entry.tx.inputs)
        ]

    def with_descendants(self, entries: list[Entry]) -> dict[Txid, Entry]:
        found = {entry.tx.txid: entry for entry in entries}
        grown = True
        while grown:
            grown = False
            for txid, entry in self.entries.items():
                if txid not in found and any(txin.prevout.txid in found for txin in entry.tx.inputs):
                    found[txid] = entry
                    grown = True
        return found

    def offer(self, package: BroadcastPackage) -> None:
        for index, tx in enumerate(package.txs):
            reason = self.problem(tx, package.txs[index + 1 :])
            if reason is not None:
                self.refusals.append(f"{package.label} at {self.chain.height}: {reason}")

    def problem(self, tx: Transaction, children: tuple[Transaction, ...]) -> str | None:
        if tx.txid in self.entries:
            return None
        outputs = [self.output(txin.prevout) for txin in tx.inputs]
        if any(output is None for output in outputs):
            return "an input is missing or spent"
        spent = [output for output in outputs if output is not None]
        if all(txin.prevout in self.chain.unspent for txin in tx.inputs):
            reason = self.chain.problem(tx, self.chain.height + 1)
            if reason is not None:
                return reason
        fee_sat = sum(output.value_sat for output in spent) - tx.total_output_sat
        package_sat, weight = fee_sat, tx.weight
        for child in children:
            # A parent may be too cheap if its child pays for both.
            for txin in child.inputs:
                output = tx.outputs[txin.prevout.vout] if txin.prevout.txid == tx.txid else None
                output = output or self.output(txin.prevout)
                package_sat += 0 if output is None else output.value_sat
            package_sat -= child.total_output_sat
            weight += child.weight
        if (
            max(fee_sat * weight, package_sat * tx.weight)
            < fee_sat_ceil(tx.weight, RELAY_SAT_PER_KW) * weight
        ):
            return f"{fee_sat} sat for {tx.weight} is too cheap"
        direct = self.conflicts(tx)
        gone = self.with_descendants(direct)
        if gone:
            inputs_before = {txin.prevout for entry in direct for txin in entry.tx.inputs}
            new = {txin.prevout for txin in tx.inputs} - inputs_before
            if any(prevout.txid in self.entries for prevout in new):
                return "a replacement brings an input that waits"
            paid_sat = sum(entry.fee_sat for entry in gone.values())
            if fee_sat < paid_sat + fee_sat_ceil(tx.weight, RELAY_SAT_PER_KW):
                return f"{fee_sat} sat do not outbid {paid_sat} sat ({len(tx.inputs)} inputs)"
            if any(fee_sat * entry.tx.weight <= entry.fee_sat * tx.weight for entry in direct):
                return "a replacement at no higher rate"
            self.replaced += 1
        for txid in gone:
            del self.entries[txid]
        self.entries[tx.txid] = Entry(tx, fee_sat)
        return None

    def mine(self) -> None:
        """All that can be in the next block; parents first."""
        txs: list[Transaction] = []
        for entry in self.entries.values():
            if not any(txin.prevout.txid in self.entries for txin in entry.tx.inputs):
                txs.append(entry.tx)
        self.chain.mine(*txs)
        for tx in txs:
            del self.entries[tx.txid]


class Play:
    def __init__(self, channel_type: ChannelTypeFeatures, items: list[Htlc]) -> None:
        self.chain, self.alice, self.bob, self.channel = make(channel_type, 1_000)
        self.channel.commit(add=items)
        self.channel.commit()
        self.alice.sent.take()
        self.player = Player(self.chain, self.alice, 0)
        self.mempool = Mempool(self.chain)

    def act(self) -> None:
        self.player.act()
        packages, self.alice.sent.packages = self.alice.sent.packages, []
        for package in packages:
            self.mempool.offer(package)

    def tick(self) -> None:
        self.alice.chain_monitor.rebroadcast_pending_claims()
        self.act()

    def block(self, *, full: bool = False) -> None:
        self.act()
        if full:
            self.mempool.mine()
        else:
            self.chain.mine()
        self.act()


def drift(side: Side, dice: random.Random) -> None:
    """Estimates go up and down, now and then by a lot."""
    if dice.random() < 0.3:
        side.fees.sat_per_kw = max(
            253, min(20_000, side.fees.sat_per_kw * dice.choice([50, 90, 105, 130, 300]) // 100)
        )


def finish(play: Play) -> None:
    for _ in range(60):
        play.block(full=True)
        play.tick()
    assert play.mempool.refusals == []


@TYPES
@SEEDS
@pytest.mark.parametrize("ours", [True, False], ids=["ours", "theirs"])
def test_nothing_is_refused(channel_type: ChannelTypeFeatures, ours: bool, seed: int) -> None:
    """Preimages come one by one, HTLCs of ours expire, and the miners take long."""
    dice = random.Random(seed)
    expiries = [START_HEIGHT + 60 + dice.randrange(30) for _ in range(4)]
    items = [
        htlc(dice.random() < 0.5, dice.randrange(20_000, 60_000), dice.choice(expiries), number + 1)
        for number in range(12)
    ]
    play = Play(channel_type, items)
    if ours:
        play.channel.force_close(play.alice)
        play.block(full=True)
    else:
        play.chain.mine(play.channel.commitment_of(play.bob))
    unknown = [item for item in items if not item.from_alice]
    # As long as their HTLCs last: what the peer may spend as well is another matter.
    while play.chain.height < max(expiries) - 1:
        drift(play.alice, dice)
        while unknown and dice.random() < 0.3:
            play.channel.knows(play.alice, unknown.pop())
            play.act()
        if dice.random() < 0.7:
            play.tick()
        if dice.random() < 0.1:
            play.alice.restart()
        play.block(full=dice.random() < 0.05)
    for item in unknown:
        play.channel.knows(play.alice, item)
    finish(play)
    for item in items:
        if item.from_alice:
            assert play.player.ends[item.source] is None
    assert play.alice.all_balances() == []


@TYPES
@SEEDS
def test_a_close_that_is_not_mined_is_not_refused(channel_type: ChannelTypeFeatures, seed: int) -> None:
    dice = random.Random(seed)
    items = [htlc(True, 50_000, START_HEIGHT + 60, 1)]
    play = Play(channel_type, items)
    play.channel.force_close(play.alice)
    for _ in range(100):
        drift(play.alice, dice)
        play.tick()
        play.block()
    assert play.mempool.replaced >= (3 if channel_type.anchors else 0)
    finish(play)


@TYPES
@SEEDS
def test_justice_that_is_not_mined_is_not_refused(channel_type: ChannelTypeFeatures, seed: int) -> None:
    dice = random.Random(seed)
    items = [
        htlc(
            dice.random() < 0.5,
            dice.randrange(5_000, 60_000),
            START_HEIGHT + 20 + dice.randrange(30),
            number + 1,
        )
        for number in range(8)
    ]
    play = Play(channel_type, items)
    play.chain.mine(play.channel.commitment_of(play.bob, play.channel.number - 1))
    # Up to the cheater's turn.
    for _ in range(29):
        drift(play.alice, dice)
        play.tick()
        play.block()
    assert play.mempool.replaced > 3
    finish(play)
    assert play.alice.all_balances() == []


@TYPES
@pytest.mark.parametrize("depth", [2, 3, 4], ids=["2 blocks", "3 blocks", "4 blocks"])
def test_a_reorganisation_sends_what_the_mempool_has(channel_type: ChannelTypeFeatures, depth: int) -> None:
    """What was mined and comes back waits in the mempools: we send the same, not another at the same rate."""
    items = [htlc(False, 50_000, START_HEIGHT + 90, 1), htlc(False, 60_000, START_HEIGHT + 90, 2)]
    play = Play(channel_type, items)
    play.channel.force_close(play.alice)
    play.act()
    for item in items:
        play.channel.knows(play.alice, item)
    play.block(full=True)
    # The miners take long: what they take in the end has risen above the estimates.
    for _ in range(20):
        play.block()
        play.tick()
    replaced = play.mempool.replaced
    assert replaced or not channel_type.anchors
    for _ in range(4):
        play.block(full=True)
        play.tick()
    assert not play.mempool.entries
    lost = play.chain.disconnect(depth)
    for tx in lost:
        spent = [play.mempool.output(txin.prevout) for txin in tx.inputs]
        fee_sat = sum(output.value_sat for output in spent if output is not None) - tx.total_output_sat
        play.mempool.entries[tx.txid] = Entry(tx, fee_sat)
    before = set(play.mempool.entries)
    play.act()
    play.tick()
    assert set(play.mempool.entries) == before
    finish(play)


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "theirs"])
@pytest.mark.parametrize("seen", [True, False], ids=["seen", "unseen"])
def test_one_hostile_input_holds_nothing_else_back(ours: bool, seen: bool) -> None:
    """Our HTLCs have expired and are claimed together. Then the peer shows the preimage of one, and outbids us: the
    others go without it, at once where we have seen that, and in time in any case."""
    expiry_height = START_HEIGHT + 20
    items = [htlc(True, 50_000, expiry_height, number + 1) for number in range(4)]
    play = Play(ANCHORS_ZERO_FEE_HTLC_TX, items)
    closer = play.alice if ours else play.bob
    commitment = play.channel.commitment_of(closer)
    play.chain.mine(commitment)
    while play.chain.height < expiry_height:
        play.block()
    play.act()
    (joined,) = play.mempool.entries.values()
    assert sum(txin.prevout.txid == commitment.txid for txin in joined.tx.inputs) == 4
    play.channel.knows(play.bob, items[0])
    hostile = bobs_claim(play.channel, commitment, items[0], ours=ours)
    play.mempool.offer(BroadcastPackage(txs=(hostile,), label="theirs"))
    assert play.mempool.refusals == []
    assert list(play.mempool.entries) == [hostile.txid]
    if seen:
        play.alice.chain_monitor.transactions_seen([hostile])
        (told,) = play.alice.take_monitor_events()[-1:]
        assert isinstance(told, HTLCEvent)
        assert told.payment_preimage == items[0].preimage
    else:
        while play.chain.height < expiry_height + MIN_CLTV_EXPIRY_DELTA - SECURITY_DELAY_BLOCKS:
            play.block()
    play.act()
    spent = {txin.prevout for entry in play.mempool.entries.values() for txin in entry.tx.inputs}
    assert hostile.txid in play.mempool.entries
    vouts = {place.vout for place in spent if place.txid == commitment.txid}
    assert len(vouts) == 4
    # Only what fights with theirs for one output may have been refused, while all four stood together or alone.
    play.mempool.refusals.clear()
    play.mempool.mine()
    finish(play)
