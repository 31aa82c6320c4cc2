"""The look at the end of every functional test finds what it is there to find."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.functional.joined import Node, World, WorldMaker
from tests.stateful.small_chain import OP_TRUE, OP_TRUE_SCRIPT
from wallet.bitcoin.tx import OutPoint, Transaction, TxIn, TxOut
from wallet.ln import msgs
from wallet.ln.types import ChannelId, InvariantError


def start() -> tuple[WorldMaker, World, Node, Node]:
    maker = WorldMaker("looked through", "", "")
    world = maker()
    alice, bob = world.line("alice", "bob")
    return maker, world, alice, bob


def unread_message(world: World, alice: Node, bob: Node) -> None:
    alice.inbox.append((bob.node_id, msgs.encode_message(msgs.Error(channel_id=ChannelId(bytes(32))))))


def unsent_message(world: World, alice: Node, bob: Node) -> None:
    world.route_payment([alice, bob], 1_000_000, settle=False)


def unread_event(world: World, alice: Node, bob: Node) -> None:
    world.route_payment([alice, bob], 1_000_000, settle=False)
    world.settle()


def late_copy(world: World, alice: Node, bob: Node) -> None:
    alice.copies_late = True
    world.route_payment([alice, bob], 1_000_000, settle=False)
    world.settle()


def frozen_channel(world: World, alice: Node, bob: Node) -> None:
    alice.manager._freeze(alice.channel(bob).channel_id, InvariantError("a test"))
    alice.logger.errors.clear()
    alice.manager.get_and_clear_pending_msg_events()


def logged_error(world: World, alice: Node, bob: Node) -> None:
    alice.logger.errors.append("something went wrong")


def lost_channel_row(world: World, alice: Node, bob: Node) -> None:
    old = dict(alice.store.rows)
    world.pay([alice, bob], 1_000_000)
    alice.store.rows.update({key: value for key, value in old.items() if key[0] == "channel"})


def lost_monitor_row(world: World, alice: Node, bob: Node) -> None:
    world.force_close(alice, bob)
    world.confirm_close(bob)
    for key in [key for key in alice.store.rows if key[0] == "monitor_tx"]:
        del alice.store.rows[key]


def lost_event_row(world: World, alice: Node, bob: Node) -> None:
    unread_event(world, alice, bob)
    for key in [key for key in bob.store.rows if key[0] == "event"]:
        del bob.store.rows[key]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (unread_message, "unread messages"),
        (unsent_message, "unread messages"),
        (unread_event, "unread events"),
        (late_copy, "waits for copies"),
        (frozen_channel, "frozen channels"),
        (logged_error, "something went wrong"),
        (lost_channel_row, "would not find again the head of a monitor"),
        (lost_monitor_row, "would not find again the txs"),
        (lost_event_row, "would not find again its events"),
    ],
)
def test_what_is_left_over_fails(spoil: Callable[[World, Node, Node], None], words: str) -> None:
    maker, world, alice, bob = start()
    spoil(world, alice, bob)
    with pytest.raises(AssertionError, match=words):
        maker.look_through()


def test_a_world_in_order_passes() -> None:
    maker, world, alice, bob = start()
    world.pay([alice, bob], 1_000_000)
    maker.look_through()


def test_a_world_is_looked_through_before_the_next_one_is_made() -> None:
    maker, world, alice, bob = start()
    unread_event(world, alice, bob)
    with pytest.raises(AssertionError, match="unread events"):
        maker()


@pytest.mark.parametrize("fault", ["signature", "amount", "lock time", "sequence"])
def test_a_transaction_that_no_block_could_hold_fails_at_once(fault: str) -> None:
    maker, world, alice, bob = start()
    commitment = world.commitment_of(alice, alice.channel(bob).channel_id)
    home = TxOut(9_000, b"\x00\x14" + bytes(20))
    coin, _ = world.coin(10_000)
    young = world.fund(OP_TRUE_SCRIPT, 10_000)
    assert world.broadcast(young)

    def spend(outpoint: OutPoint, sequence: int, output: TxOut, lock_time: int) -> Transaction:
        return Transaction(2, (TxIn(outpoint, sequence=sequence, witness=(OP_TRUE,)),), (output,), lock_time)

    spoilt = {
        "signature": commitment.with_witness(0, (b"", b"\x01", *commitment.inputs[0].witness[2:])),
        "amount": spend(coin, 0, TxOut(10_001, home.script_pubkey), 0),
        "lock time": spend(coin, 0, home, world.height + 1),
        "sequence": spend(OutPoint(young.txid, 1), 2, home, 0),
    }[fault]
    with pytest.raises(AssertionError):
        world.broadcast(spoilt)
    assert spoilt.txid not in world.mempool
    maker.look_through()
