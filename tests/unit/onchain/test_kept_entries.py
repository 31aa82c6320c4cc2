"""Entries that are kept through a step are those that would be made anew."""

from __future__ import annotations

import random

import pytest

from tests.unit.onchain.world import World
from wallet.bitcoin.tx import OutPoint, Transaction, TxOut, txid_hex
from wallet.onchain.accounting import entry_of
from wallet.onchain.errors import OnchainError
from wallet.onchain.keyring import GAP_LIMIT, Branch, Purpose


def _anew(world: World) -> list[object]:
    wallet = world.wallet
    return [
        entry_of(wallet._state, wallet._keyring, entry.txid, txid_hex(entry.txid))
        for entry in wallet.history()
    ]


@pytest.mark.parametrize("number", range(12))
def test_kept_entries_are_those_that_are_made_anew_after_each_step(number: int) -> None:
    draw = random.Random(number)
    world = World()
    world.fund(90_000, 80_000, 70_000)
    waiting: list[Transaction] = []
    for _step in range(60):
        match draw.randrange(8):
            case 0 | 1:
                tx = world.foreign(TxOut(draw.randrange(1_000, 90_000), world.script()))
                waiting.append(tx)
                world.see(tx)
            case 2:
                try:
                    waiting.append(world.send(draw.randrange(1_000, 30_000)).tx)
                except OnchainError:
                    world.fund(90_000)
            case 3:
                world.mine(*waiting)
                waiting = []
            case 4 if world.height > 2:
                world.unmine(1)
                world.mine()
                waiting = []
            case 5:
                entry = draw.choice(world.wallet.history())
                world.wallet.label(txid_hex(entry.txid), f"label {_step}")
            case 6:
                # A child that is known before its parent.
                parent = world.foreign(TxOut(5_000, world.script()))
                child = world.foreign(TxOut(4_000, world.script()), spends=OutPoint(parent.txid, 0))
                world.see(child)
                world.see(parent)
            case _:
                world.mine_empty(1)
        assert list(world.wallet.history()) == _anew(world)


def test_a_parent_that_comes_after_its_confirmed_child_gives_the_child_its_fee() -> None:
    world = World()
    parent = world.foreign(TxOut(5_000, world.script()))
    child = world.foreign(TxOut(4_000, world.script()), spends=OutPoint(parent.txid, 0))
    world.mine(child)
    assert [entry.fee_sat for entry in world.wallet.history()] == [None]
    world.mine(parent)
    fees = {entry.txid: entry.fee_sat for entry in world.wallet.history()}
    assert fees[child.txid] == 1_000
    assert list(world.wallet.history()) == _anew(world)


def test_an_output_counts_from_when_its_script_comes_into_view() -> None:
    world = World()
    branch = Branch(Purpose.BIP84, False)
    # Scripts of the same seed, so that this wallet has not looked so far ahead yet.
    ahead = World().wallet._keyring
    near, far = ahead.script(branch, GAP_LIMIT - 1), ahead.script(branch, GAP_LIMIT + 3)
    both = world.foreign(TxOut(1_000, world.script()), TxOut(2_000, far))
    world.mine(both)
    before = {entry.txid: entry.delta_sat for entry in world.wallet.history()}[both.txid]
    world.mine(world.foreign(TxOut(3_000, near)))
    after = {entry.txid: entry.delta_sat for entry in world.wallet.history()}[both.txid]
    assert (before, after) == (1_000, 3_000)
    assert list(world.wallet.history()) == _anew(world)
