"""Channels in the making: killed at every message, given up, funded wrongly, named twice, and never too many."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.functional.joined import Node, World, WorldMaker, config
from wallet.bitcoin.tx import Transaction, TxOut
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.channel_details import ChannelState
from wallet.ln.manager_opening import MAX_UNFUNDED_CHANNELS_PER_PEER, UNFUNDED_AGE_LIMIT_TICKS
from wallet.ln.types import APIError, ChannelId


def ask(world: World, one: Node, other: Node, number: int = 1) -> ev.FundingGenerationReady:
    """From the offer to where the funding transaction is wanted."""
    if frozenset((one.node_id, other.node_id)) not in world.links:
        world.connect(one, other)
    one.manager.create_channel(other.node_id, 1_000_000, 300_000_000, number)
    world.settle()
    return one.one_event(ev.FundingGenerationReady)


@pytest.mark.parametrize("victim", ["funder", "fundee", "wire"])
def test_a_cut_at_every_message_leaves_a_whole_channel_or_none(make_world: WorldMaker, victim: str) -> None:
    for moment in range(14):
        world = make_world()
        alice, bob = world.nodes_named("alice", "bob")
        world.connect(alice, bob)
        alice.manager.create_channel(bob.node_id, 1_000_000, 300_000_000, 1)
        tx = None
        for _ in range(moment):
            world.step()
            ready = alice.one_event_or_none(ev.FundingGenerationReady)
            if ready is not None:
                tx = world.fund(ready.output_script, ready.channel_value_sat)
                alice.manager.funding_transaction_generated(ready.temporary_channel_id, bob.node_id, tx)
        if victim == "wire":
            world.disconnect(alice, bob)
        else:
            world.reload_node(alice if victim == "funder" else bob)
        world.connect(alice, bob)
        world.mine(6)
        if alice.events_of(ev.ChannelReadyEvent):
            # The funding was broadcast, and so both sides have signed for it, and know it.
            assert len(bob.events_of(ev.ChannelReadyEvent)) == 1
            for node in (alice, bob):
                node.expect_events(ev.ChannelPending)
            world.pay([alice, bob], 10_000_000)
            world.pay([bob, alice], 10_000_000)
            continue
        assert tx is None or not world.is_confirmed(tx.txid)
        assert not alice.manager.list_channels()
        # The coins are free again, and the person knows.
        discarded = [event.tx for event in alice.events_of(ev.DiscardFunding)]
        assert discarded == ([] if tx is None else [tx])
        assert len(alice.events_of(ev.ChannelClosed)) == (tx is not None or victim != "funder")
        # Bob may have a channel for which no money came; it costs him nothing, and is forgotten in time.
        for details in bob.manager.list_channels():
            assert details.state is ChannelState.AWAITING_CONFIRMATIONS
        bob.take_events()
        alice.take_events()


@pytest.mark.parametrize("wrong", ["amount", "script"])
def test_a_funding_that_does_not_pay_what_was_asked_for_is_refused(world: World, wrong: str) -> None:
    alice, bob = world.nodes_named("alice", "bob")
    ready = ask(world, alice, bob)
    good = world.fund(ready.output_script, ready.channel_value_sat)
    outputs = [
        TxOut(output.value_sat - 1, output.script_pubkey)
        if wrong == "amount"
        else TxOut(output.value_sat, b"\x00\x20" + bytes(32))
        for output in good.outputs
    ]
    bad = Transaction(2, good.inputs, tuple(outputs), 0)
    with pytest.raises(APIError):
        alice.manager.funding_transaction_generated(ready.temporary_channel_id, bob.node_id, bad)
    # The right one still may come.
    alice.manager.funding_transaction_generated(ready.temporary_channel_id, bob.node_id, good)
    world.settle()
    world.mine(6)
    for node in (alice, bob):
        node.expect_events(ev.ChannelPending, ev.ChannelReadyEvent)


def test_an_opening_that_takes_too_long_is_given_up_by_both(world: World) -> None:
    alice, bob = world.nodes_named("alice", "bob")
    ask(world, alice, bob)
    world.tick(UNFUNDED_AGE_LIMIT_TICKS)
    assert len(alice.manager.list_channels()) == len(bob.manager.list_channels()) == 1
    world.tick(2)
    for node in (alice, bob):
        assert not node.manager.list_channels()
        node.expect_events(ev.ChannelClosed)


def test_an_opening_can_be_given_up(world: World) -> None:
    alice, bob = world.nodes_named("alice", "bob")
    ready = ask(world, alice, bob)
    alice.manager.force_close_broadcasting_latest_txn(ready.temporary_channel_id, bob.node_id, "no more")
    world.settle()
    for node in (alice, bob):
        assert not node.manager.list_channels()
    alice.expect_events(ev.ChannelClosed)
    assert "no more" in bob.one_event(ev.ChannelClosed).reason.message
    assert not world.mempool


def test_a_peer_has_a_few_openings_at_a_time(world: World) -> None:
    alice, bob = world.nodes_named("alice", "bob")
    world.connect(alice, bob)
    for number in range(MAX_UNFUNDED_CHANNELS_PER_PEER + 2):
        alice.manager.create_channel(bob.node_id, 1_000_000, 0, number)
    world.settle()
    assert len(bob.manager.list_channels()) == MAX_UNFUNDED_CHANNELS_PER_PEER
    # Whoever was refused was told, at the first try and at the humbler second.
    assert len(alice.events_of(ev.ChannelClosed)) == 2
    assert len(alice.events_of(ev.FundingGenerationReady)) == MAX_UNFUNDED_CHANNELS_PER_PEER
    # Another peer is not kept out by this one.
    carol = world.node("carol", config())
    world.open_channel(carol, bob)


def test_two_peers_may_choose_the_same_temporary_id(world: World) -> None:
    alice, bob, carol = world.nodes_named("alice", "bob", "carol")
    first = ask(world, alice, bob)
    ours: list[ChannelId] = []

    def rename(sender: Node, receiver: Node, msg: msgs.Message) -> bool:
        """Carol's opening has Alice's id; on the way back it has its own again."""
        theirs = first.temporary_channel_id
        if sender is carol and isinstance(msg, msgs.OpenChannel | msgs.FundingCreated):
            ours.append(msg.temporary_channel_id)
            renamed: msgs.Message = replace(msg, temporary_channel_id=theirs)
        elif receiver is carol and isinstance(msg, msgs.AcceptChannel):
            renamed = replace(msg, temporary_channel_id=ours[0])
        else:
            return True
        receiver.inbox.append((sender.node_id, msgs.encode_message(renamed)))
        return False

    world.filter = rename
    second = ask(world, carol, bob)
    for node, ready in ((alice, first), (carol, second)):
        tx = world.fund(ready.output_script, ready.channel_value_sat)
        node.manager.funding_transaction_generated(ready.temporary_channel_id, bob.node_id, tx)
        world.settle()
    world.mine(6)
    for node in (alice, carol):
        node.expect_events(ev.ChannelPending, ev.ChannelReadyEvent)
        world.pay([node, bob], 10_000_000)
    assert len(bob.events_of(ev.ChannelPending)) == len(bob.events_of(ev.ChannelReadyEvent)) == 2


def test_a_funding_output_that_is_another_channels_is_refused(world: World) -> None:
    """Carol names Alice's funding output as hers: Alice's channel with Bob does not suffer."""
    alice, bob, carol = world.nodes_named("alice", "bob", "carol")
    world.open_channel(alice, bob, 1_000_000, 300_000_000)
    outpoint = alice.channel(bob).funding_outpoint
    assert outpoint is not None
    ready = ask(world, carol, bob)

    def steal(sender: Node, receiver: Node, msg: msgs.Message) -> bool:
        if isinstance(msg, msgs.FundingCreated):
            bad = replace(msg, funding_txid=outpoint.txid, funding_output_index=outpoint.vout)
            receiver.inbox.append((sender.node_id, msgs.encode_message(bad)))
            return False
        return True

    world.filter = steal
    tx = world.fund(ready.output_script, ready.channel_value_sat)
    carol.manager.funding_transaction_generated(ready.temporary_channel_id, bob.node_id, tx)
    world.settle()
    world.filter = None
    assert not bob.channels(carol)
    assert tx.txid not in world.mempool
    bob.one_event(ev.ChannelClosed)
    carol.expect_events(ev.ChannelClosed, ev.DiscardFunding)
    world.pay([alice, bob], 10_000_000)


@pytest.mark.parametrize("late", ["funder", "fundee", "both"])
def test_an_opening_waits_for_late_copies_of_either_side(world: World, late: str) -> None:
    alice, bob = world.nodes_named("alice", "bob")
    ready = ask(world, alice, bob)
    waiting = {"funder": [alice], "fundee": [bob], "both": [alice, bob]}[late]
    for node in waiting:
        node.copies_late = True
    tx = world.fund(ready.output_script, ready.channel_value_sat)
    alice.manager.funding_transaction_generated(ready.temporary_channel_id, bob.node_id, tx)
    world.settle()
    # Nobody's money is bound before the one who could lose it can watch it everywhere.
    assert tx.txid not in world.mempool
    if bob in waiting:
        assert not any(isinstance(msg, msgs.FundingSigned) for _, msg in bob.sent)
    for node in reversed(waiting):
        assert tx.txid not in world.mempool
        node.copies_late = False
        node.complete_copies()
        world.settle()
    assert tx.txid in world.mempool
    world.mine(6)
    for node in (alice, bob):
        node.expect_events(ev.ChannelPending, ev.ChannelReadyEvent)
    world.pay([alice, bob], 10_000_000)


def test_a_funder_who_is_killed_sends_the_funding_again(world: World) -> None:
    """It was signed for and agreed on; that it is not in any mempool any more is no reason to give it up."""
    alice, bob = world.nodes_named("alice", "bob")
    world.open_channel(alice, bob, 1_000_000, 300_000_000, confirm=False)
    (txid,) = world.mempool
    world.evict(txid)
    world.reload_node(alice)
    assert txid in world.mempool
    world.connect(alice, bob)
    world.mine(6)
    for node in (alice, bob):
        node.expect_events(ev.ChannelReadyEvent)
    world.pay([alice, bob], 10_000_000)
