"""What the chain does to the ledger: reorganisations, double spends, evictions, forged hints, any order."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.onchain.world import STRANGER, World
from wallet.bitcoin.address import REGTEST, address_to_script
from wallet.bitcoin.errors import APIError
from wallet.bitcoin.tx import OutPoint, Transaction, Txid, TxIn, TxOut
from wallet.chain.interfaces import TxInBlock
from wallet.onchain.errors import InsufficientFunds, OnchainError
from wallet.onchain.keyring import Purpose


@pytest.fixture
def world() -> World:
    return World()


# --- reorganisations ----------------------------------------------------------------------------


def test_a_reorganisation_unconfirms_and_confirms_again(world: World) -> None:
    world.mine_empty(2)
    (tx,) = world.fund(80_000)
    confirmed = world.wallet.coins()
    (relevant,) = world.wallet.get_relevant_txids()
    assert relevant[:2] == (tx.txid, 3)
    world.unmine()
    assert world.wallet.balance().unconfirmed_sat == 80_000
    assert world.wallet.get_relevant_txids() == []
    world.check_rows()
    world.mine_empty(1)
    world.mine(tx)
    assert world.wallet.coins()[0].height == 4
    assert [coin.outpoint for coin in world.wallet.coins()] == [coin.outpoint for coin in confirmed]


def test_what_waits_is_named_until_it_confirms_or_is_taken_back(world: World) -> None:
    world.mine_empty(2)
    (tx,) = world.fund(80_000)
    assert world.wallet.waiting_txids() == []
    world.unmine()
    assert world.wallet.waiting_txids() == [tx.txid]
    world.wallet.transactions_evicted([tx.txid])
    assert world.wallet.waiting_txids() == []
    assert world.wallet.balance().unconfirmed_sat == 0
    world.check_rows()


def test_a_reward_dies_with_its_block(world: World) -> None:
    world.mine(world.coinbase(TxOut(5_000_000, world.script())))
    world.mine_empty(100)
    draft = world.send(10_000)
    world.unmine(101)
    assert world.wallet.history() == ()
    assert draft.tx.txid not in world.wallet._state.txs
    world.check_rows()


def test_a_block_may_come_in_pieces(world: World) -> None:
    """Further transactions of a block that was delivered before, a spend of its own coins among them."""
    first = world.foreign(TxOut(60_000, world.script()))
    header = world.header(1)
    world.wallet.transactions_confirmed(header, 1, [TxInBlock(3, first)])
    draft = world.wallet.draft(outputs=(TxOut(20_000, STRANGER),), feerate_sat_per_kw=500)
    world.wallet.transactions_confirmed(header, 1, [TxInBlock(4, draft.tx)])
    world.wallet.transactions_confirmed(header, 1, [TxInBlock(3, first), TxInBlock(4, draft.tx)])
    world.wallet.best_block_updated(header, 1)
    assert world.total_sat() == 40_000 - draft.fee_sat
    assert [entry.txid for entry in world.wallet.history()] == [first.txid, draft.tx.txid]
    world.check_rows()


def test_a_chain_within_one_block(world: World) -> None:
    helper = World()
    tx = helper.foreign(TxOut(60_000, helper.script()))
    helper.mine(tx)
    draft = helper.send(20_000)
    world.mine(tx, draft.tx)
    assert world.wallet.balance().confirmed_sat == helper.total_sat()
    assert world.wallet.history()[-1].fee_sat == draft.fee_sat


# --- conflicts ----------------------------------------------------------------------------------


def test_a_confirmed_double_spend_removes_the_loser_and_its_descendants(world: World) -> None:
    source = OutPoint(Txid(b"\x05" * 32), 0)
    loser = world.foreign(TxOut(50_000, world.script()), spends=source)
    winner = world.foreign(TxOut(49_000, world.script()), spends=source)
    world.see(loser)
    child = world.wallet.draft(
        outputs=(TxOut(10_000, STRANGER),), feerate_sat_per_kw=500, coins=(loser.outpoint(0),)
    )
    world.wallet.commit(child)
    assert len(world.wallet.history()) == 2
    world.mine(winner)
    assert [entry.txid for entry in world.wallet.history()] == [winner.txid]
    assert world.total_sat() == 49_000
    world.check_rows()
    # An echo of the loser changes nothing.
    world.see(loser)
    assert world.total_sat() == 49_000
    # The chain may change its mind.
    world.unmine()
    world.mine(loser)
    assert world.total_sat() == 50_000
    world.check_rows()


def test_a_double_spend_that_does_not_concern_us_removes_the_loser_too(world: World) -> None:
    source = OutPoint(Txid(b"\x05" * 32), 0)
    world.see(world.foreign(TxOut(50_000, world.script()), spends=source))
    world.mine(world.foreign(TxOut(49_000, STRANGER), spends=source))
    assert world.wallet.history() == ()
    world.check_rows()


def test_a_replacement_of_an_incoming_payment(world: World) -> None:
    source = OutPoint(Txid(b"\x05" * 32), 0)
    script = world.script()
    world.see(world.foreign(TxOut(50_000, script), spends=source))
    world.see(world.foreign(TxOut(49_000, script), spends=source))
    assert world.total_sat() == 49_000
    world.check_rows()


def test_evicted_payments_to_us_go_and_ours_stay(world: World) -> None:
    world.fund(100_000)
    theirs = world.foreign(TxOut(50_000, world.script()))
    world.see(theirs)
    mine = world.send(30_000)
    world.see(mine.tx)
    assert world.wallet.history()[-1].in_mempool
    world.wallet.transactions_evicted((theirs.txid, mine.tx.txid, Txid(bytes(32))))
    assert world.wallet.entry(theirs.txid) is None
    entry = world.wallet.entry(mine.tx.txid)
    assert entry is not None
    assert not entry.in_mempool
    with pytest.raises(InsufficientFunds):
        world.wallet.draft(outputs=(TxOut(80_000, STRANGER),), feerate_sat_per_kw=500)
    world.check_rows()


def test_another_copy_of_the_wallet_spends(world: World) -> None:
    world.fund(100_000, 70_000)
    mine = world.wallet.draft(outputs=(TxOut(150_000, STRANGER),), feerate_sat_per_kw=500)
    theirs = world.wallet.draft(outputs=(TxOut(140_000, STRANGER),), feerate_sat_per_kw=900)
    world.wallet.commit(mine)
    world.see(theirs.tx)
    assert world.wallet.entry(mine.tx.txid) is None
    entry = world.wallet.entry(theirs.tx.txid)
    assert entry is not None
    # It could be another copy's channel: it is not ours to replace.
    assert not entry.can_bump
    world.check_rows()


@pytest.mark.parametrize("purpose", list(Purpose))
def test_a_forged_spend_is_no_hint(world: World, purpose: Purpose) -> None:
    script = address_to_script(world.wallet.new_address(purpose), REGTEST)
    tx = world.foreign(TxOut(100_000, script))
    world.mine(tx)
    real = world.wallet.draft(outputs=(TxOut(50_000, STRANGER),), feerate_sat_per_kw=500).tx
    forged = Transaction(2, real.inputs, (TxOut(99_000, STRANGER),), 0)
    for fake in (
        forged,
        real.with_witness(0, ()),
        real.with_witness(0, (b"", b"")),
        real.with_witness(0, (b"\x30",)),
    ):
        world.see(fake)
        assert world.wallet.balance().spendable_sat == 100_000
    world.see(real)
    assert world.wallet.balance().confirmed_sat == 0
    assert world.wallet.entry(real.txid) is not None


def test_a_failing_step_leaves_the_old_state(world: World) -> None:
    world.fund(100_000)
    good = world.foreign(TxOut(50_000, world.script()))
    bad = Transaction(2, (TxIn(OutPoint(Txid(bytes(32)), 0)),), (TxOut(-5, world.script()),), 0)
    before, rows = world.wallet._state, dict(world.store.data)
    with pytest.raises(APIError):
        world.wallet.transactions_confirmed(world.header(2), 2, [TxInBlock(1, good), TxInBlock(2, bad)])
    assert world.wallet._state is before
    assert world.store.data == rows


# --- everything at once -------------------------------------------------------------------------


class Life(RuleBasedStateMachine):
    """Payments in and out, blocks, reorganisations, bumps and evictions, in any order that the chain allows."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.mempool: dict[Txid, Transaction] = {}

    def _send_to_mempool(self, tx: Transaction) -> None:
        spent = {txin.prevout for txin in tx.inputs}
        for txid, other in list(self.mempool.items()):
            if spent & {txin.prevout for txin in other.inputs}:
                self._forget(txid)
        self.mempool[tx.txid] = tx

    def _forget(self, txid: Txid) -> None:
        tx = self.mempool.pop(txid, None)
        if tx is None:
            return
        for child in list(self.mempool.values()):
            if any(txin.prevout.txid == txid for txin in child.inputs):
                self._forget(child.txid)

    @rule(value_sat=st.integers(1_000, 500_000), change=st.booleans())
    def receive(self, value_sat: int, change: bool) -> None:
        script = self.world.wallet.next_script() if change else self.world.script()
        tx = self.world.foreign(TxOut(value_sat, script), TxOut(1_000, STRANGER))
        self._send_to_mempool(tx)
        self.world.see(tx)

    @rule(value_sat=st.integers(1_000, 400_000), rate=st.integers(253, 3_000))
    def pay(self, value_sat: int, rate: int) -> None:
        try:
            draft = self.world.send(value_sat, rate=rate)
        except InsufficientFunds:
            return
        self._send_to_mempool(draft.tx)

    @rule(rate=st.integers(253, 3_000), keep_sat=st.sampled_from([0, 3_000]))
    def pay_all(self, rate: int, keep_sat: int) -> None:
        try:
            draft = self.world.wallet.draft(
                outputs=(), send_all_to=STRANGER, feerate_sat_per_kw=rate, keep_sat=keep_sat
            )
        except InsufficientFunds:
            return
        self.world.check(draft)
        self.world.wallet.commit(draft)
        self._send_to_mempool(draft.tx)

    @rule(rate=st.integers(600, 9_000), data=st.data())
    def bump(self, rate: int, data: st.DataObject) -> None:
        waiting = [entry for entry in self.world.wallet.history() if entry.height is None]
        if not waiting:
            return
        entry = data.draw(st.sampled_from(waiting))
        try:
            if entry.can_bump:
                draft = self.world.wallet.draft_bump(entry.txid, rate)
            else:
                draft = self.world.wallet.draft_cpfp(entry.txid, rate)
        except OnchainError:
            return
        self.world.check(draft)
        if entry.can_bump and entry.fee_sat is not None:
            assert draft.fee_sat > entry.fee_sat
        self.world.wallet.commit(draft, "bumped")
        self._send_to_mempool(draft.tx)

    @rule(owner=st.binary(min_size=1, max_size=2), commit=st.booleans())
    def fund_channel(self, owner: bytes, commit: bool) -> None:
        try:
            draft = self.world.wallet.draft(
                outputs=(TxOut(40_000, b"\x00\x20" + bytes(32)),), feerate_sat_per_kw=500
            )
        except InsufficientFunds:
            return
        self.world.check(draft)
        self.world.wallet.reserve(draft, owner)
        if commit:
            self.world.wallet.commit(draft)
            self._send_to_mempool(draft.tx)
        else:
            self.world.wallet.release_owner(owner)

    @precondition(lambda self: self.mempool)
    @rule()
    def mine_all(self) -> None:
        txs = list(self.mempool.values())
        self.mempool.clear()
        self.world.mine(*txs)

    @precondition(lambda self: self.mempool)
    @rule()
    def mine_first(self) -> None:
        self.world.mine(self.mempool.pop(next(iter(self.mempool))))

    @rule()
    def echo(self) -> None:
        self.world.see(*self.mempool.values())

    @precondition(lambda self: self.world.height > 2)
    @rule(count=st.integers(1, 2))
    def reorganise(self, count: int) -> None:
        gone = self.world.unmine(count)
        self.mempool = {tx.txid: tx for tx in (*gone, *self.mempool.values())}

    @precondition(lambda self: self.mempool)
    @rule()
    def double_spend(self) -> None:
        """A stranger's payment to us turns out to have gone elsewhere."""
        for txid, tx in self.mempool.items():
            entry = self.world.wallet.entry(txid)
            if entry is not None and entry.delta_sat > 0 and not entry.is_own and len(tx.inputs) == 1:
                self._forget(txid)
                self.world.mine(self.world.foreign(TxOut(500, STRANGER), spends=tx.inputs[0].prevout))
                return

    @invariant()
    def coins_add_up(self) -> None:
        wallet = self.world.wallet
        assert sum(entry.delta_sat for entry in wallet.history()) == self.world.total_sat()
        spent = {txin.prevout for entry in wallet.history() for txin in entry.tx.inputs}
        assert not spent & {coin.outpoint for coin in wallet.coins()}
        assert sum(len(entry.tx.inputs) for entry in wallet.history()) == len(spent)

    @invariant()
    def rows_hold_everything(self) -> None:
        self.world.check_rows()

    @invariant()
    def every_script_is_registered_once(self) -> None:
        scripts = self.world.filter.scripts
        assert len(scripts) == len(set(scripts))
        registered = set(scripts)
        for coin in self.world.wallet.coins():
            assert coin.output.script_pubkey in registered

    def teardown(self) -> None:
        """Told afresh from the chain alone, a wallet from the same words has the same coins."""
        fresh = World()
        for height in sorted(self.world.blocks):
            header, placed = self.world.blocks[height]
            fresh.wallet.transactions_confirmed(header, height, placed)
            fresh.wallet.best_block_updated(header, height)
        old = {entry.txid for entry in self.world.wallet.history() if entry.height is not None}
        assert {entry.txid for entry in fresh.wallet.history()} == old


Life.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestLife = Life.TestCase
