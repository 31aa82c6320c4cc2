"""Co-operative closes: with payments under way, over cut wires, without fee ranges, with outputs that are dust."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.functional.joined import Node, World, WorldMaker, config
from wallet.bitcoin.script import p2tr, p2wsh
from wallet.chain.interfaces import ConfirmationTarget
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.channel_details import ChannelState
from wallet.ln.events import ClosureKind
from wallet.ln.onion_failure import FailureCode
from wallet.ln.types import APIError, PeerError


def closed(world: World, *nodes: Node, word_may_be_lost: bool = False) -> None:
    """Both ends are rid of the channel, and one transaction waits; it comes home when it is buried.

    One whose peer died before its last word left hears of the close from the chain.
    """
    world.settle()
    assert len(world.mempool) == 1
    waiting = [node for node in nodes if node.manager.list_channels()]
    if waiting and word_may_be_lost:
        assert len(waiting) < len(nodes)
        world.mine(1)
    for node in nodes:
        node.expect_events(ev.ChannelClosed)
        assert not node.manager.list_channels()
    world.drain(*nodes)


@pytest.mark.parametrize("end", ["claimed", "failed"])
@pytest.mark.parametrize("kill", [False, True])
def test_a_payment_under_way_ends_before_the_channel(world: World, end: str, kill: bool) -> None:
    alice, bob = world.line("alice", "bob")
    channel_id = alice.channel(bob).channel_id
    payment = world.route_payment([alice, bob], 30_000_000)
    alice.manager.close_channel(channel_id, bob.node_id)
    world.settle()
    assert bob.channel(alice).state is ChannelState.SHUTTING_DOWN
    if kill:
        for node in (alice, bob):
            world.reload_node(node)
        world.connect(alice, bob)
        assert alice.channel(bob).state is ChannelState.SHUTTING_DOWN
    if end == "claimed":
        world.claim([alice, bob], payment)
    else:
        bob.manager.fail_htlc_backwards(payment.payment_hash)
        world.settle()
        assert alice.one_event(ev.PaymentFailed).payment_hash == payment.payment_hash
    closed(world, alice, bob)
    assert bob.came_home_sat() == (530_000 if end == "claimed" else 500_000)


def test_nothing_new_enters_a_channel_that_closes(world: World) -> None:
    alice, bob = world.line("alice", "bob")
    held = world.route_payment([alice, bob], 30_000_000)
    alice.manager.close_channel(alice.channel(bob).channel_id, bob.node_id)
    world.settle()
    assert not alice.manager.list_usable_channels()
    assert not bob.manager.list_usable_channels()
    with pytest.raises(APIError):
        alice.manager.close_channel(alice.channel(bob).channel_id, bob.node_id)
    world.claim([alice, bob], held)
    closed(world, alice, bob)


def test_a_forward_into_a_channel_that_closes_comes_back(world: World) -> None:
    alice, bob, carol = world.line("alice", "bob", "carol")
    path = world.path([alice, bob, carol], 1_000_000)
    held = world.route_payment([bob, carol], 5_000_000)
    bob.manager.close_channel(bob.channel(carol).channel_id, carol.node_id)
    world.settle()
    payment = world.invoice(carol, 1_000_000)
    world.send(payment, alice, world.route([path], carol))
    world.settle()
    failed = alice.one_event(ev.PaymentFailed)
    assert failed.attempts[0].failure_code in (
        FailureCode.PERMANENT_CHANNEL_FAILURE,
        FailureCode.UNKNOWN_NEXT_PEER,
    )
    world.claim([bob, carol], held)
    for node in (bob, carol):
        node.expect_events(ev.ChannelClosed)
    world.drain(bob, carol)


def test_what_came_from_a_channel_that_closes_still_goes_on(world: World) -> None:
    """The HTLC was committed before the shutdown: it is forwarded, and paid for, before the close."""
    alice, bob, carol = world.line("alice", "bob", "carol")
    payment = world.route_payment([alice, bob, carol], 20_000_000)
    alice.manager.close_channel(alice.channel(bob).channel_id, bob.node_id)
    world.settle()
    assert alice.channel(bob).state is ChannelState.SHUTTING_DOWN
    world.claim([alice, bob, carol], payment)
    for node in (alice, bob):
        node.expect_events(ev.ChannelClosed)
    world.drain(alice, bob)
    assert bob.came_home_sat() == 520_001


def test_both_sides_close_at_once(world: World) -> None:
    alice, bob = world.line("alice", "bob")
    channel_id = alice.channel(bob).channel_id
    alice.manager.close_channel(channel_id, bob.node_id)
    bob.manager.close_channel(channel_id, alice.node_id)
    closed(world, alice, bob)


def test_a_close_before_the_funding_is_deep_enough(world: World) -> None:
    alice, bob = world.nodes_named("alice", "bob")
    channel_id = world.open_channel(alice, bob, 1_000_000, 300_000_000, confirm=False)
    alice.manager.close_channel(channel_id, bob.node_id)
    world.settle()
    for node in (alice, bob):
        node.expect_events(ev.ChannelClosed)
    assert len(world.mempool) == 2
    world.drain(alice, bob)
    assert bob.came_home_sat() == 300_000


@pytest.mark.parametrize(("push_msat", "outputs"), [(0, 1), (200_000, 1), (353_999, 1), (354_000, 2)])
def test_an_output_that_is_dust_is_left_out(world: World, push_msat: int, outputs: int) -> None:
    """BOLT 3, closing transaction: below the dust limit there is no output, and the other's is as it was."""
    alice, bob = world.nodes_named("alice", "bob")
    channel_id = world.open_channel(alice, bob, 1_000_000, push_msat)
    bob.manager.close_channel(channel_id, alice.node_id)
    world.settle()
    (tx,) = world.mempool.values()
    assert len(tx.outputs) == outputs
    for node in (alice, bob):
        node.expect_events(ev.ChannelClosed)
    # An output that is worth less than its sweep waits for lower fees.
    world.drain(alice)
    assert bob.came_home_sat() == (push_msat // 1000 if outputs == 2 else 0)
    assert alice.came_home_sat() == 1_000_000 - push_msat // 1000 - world.fee_sat(tx) + (
        push_msat // 1000 if outputs == 1 else 0
    )


@pytest.mark.parametrize("script", [p2tr(b"\x07" * 32), p2wsh(b"\x51")])
def test_a_close_to_any_segwit_script(world: World, script: bytes) -> None:
    alice, bob = world.line("alice", "bob", settings=config(fixed_script=False))
    bob.manager.close_channel(bob.channel(alice).channel_id, alice.node_id, None, script)
    world.settle()
    (tx,) = world.mempool.values()
    assert script in [output.script_pubkey for output in tx.outputs]
    closed(world, alice, bob)
    # It went where Bob said; that is nobody's to sweep.
    assert bob.came_home_sat() in (0, 500_000)


def test_a_script_that_nobody_relays_is_refused_at_home(world: World) -> None:
    alice, bob = world.line("alice", "bob", settings=config(fixed_script=False))
    with pytest.raises(APIError):
        alice.manager.close_channel(alice.channel(bob).channel_id, bob.node_id, None, b"\x6a\x04cash")
    assert alice.channel(bob).is_usable


@pytest.mark.parametrize("minimum_sat_per_kw", [253, 900, 1_400])
def test_a_peer_without_fee_ranges_comes_closer_step_by_step(world: World, minimum_sat_per_kw: int) -> None:
    """BOLT 2, closing_signed: older peers know no range, and each proposal lies between the last two."""
    alice, bob = world.line("alice", "bob")
    alice.fees.sat_per_kw = 1_000
    bob.fees.by_target[ConfirmationTarget.CHANNEL_CLOSE_MINIMUM] = minimum_sat_per_kw

    def strip(sender: Node, receiver: Node, msg: msgs.Message) -> bool:
        if isinstance(msg, msgs.ClosingSigned) and msg.fee_range is not None:
            receiver.inbox.append((sender.node_id, msgs.encode_message(replace(msg, fee_range=None))))
            return False
        return True

    world.filter = strip
    alice.manager.close_channel(alice.channel(bob).channel_id, bob.node_id)
    closed(world, alice, bob)


def test_a_close_waits_for_a_late_copy(world: World) -> None:
    alice, bob = world.line("alice", "bob")
    payment = world.route_payment([alice, bob], 30_000_000)
    alice.manager.close_channel(alice.channel(bob).channel_id, bob.node_id)
    world.settle()
    bob.copies_late = True
    bob.manager.claim_funds(payment.payment_preimage)
    world.settle()
    assert not world.mempool
    bob.copies_late = False
    for _ in range(5):
        bob.complete_copies()
        world.settle()
    assert alice.one_event(ev.PaymentSent).payment_hash == payment.payment_hash
    bob.one_event(ev.PaymentClaimed)
    closed(world, alice, bob)


def test_a_fee_rate_on_its_way_ends_before_the_close(make_world: WorldMaker) -> None:
    for moment in range(6):
        world = make_world()
        alice, bob = world.line("alice", "bob")
        alice.fees.sat_per_kw = 900
        alice.manager.timer_tick_occurred(world.now)
        for _ in range(moment):
            world.step()
        bob.manager.close_channel(bob.channel(alice).channel_id, alice.node_id)
        closed(world, alice, bob)


@pytest.mark.parametrize("closer", ["alice", "bob"])
def test_a_close_over_a_kill_at_every_message_with_a_payment_under_way(
    make_world: WorldMaker, closer: str
) -> None:
    for moment in range(16):
        world = make_world()
        alice, bob = world.line("alice", "bob")
        channel_id = alice.channel(bob).channel_id
        payment = world.route_payment([alice, bob], 30_000_000)
        by, other = (alice, bob) if closer == "alice" else (bob, alice)
        by.manager.close_channel(channel_id, other.node_id)
        bob.manager.claim_funds(payment.payment_preimage)
        for _ in range(moment):
            world.step()
        world.reload_node((alice, bob)[moment % 2])
        world.connect(alice, bob)
        alice.one_event(ev.PaymentSent)
        bob.one_event(ev.PaymentClaimed)
        closed(world, alice, bob, word_may_be_lost=True)
        assert bob.came_home_sat() == 530_000


@pytest.mark.parametrize("closer", ["alice", "bob"])
def test_a_close_of_which_only_the_chain_tells_was_by_agreement(world: World, closer: str) -> None:
    """The peer's last word is lost with the connection, and its transaction confirms."""
    alice, bob = world.line("alice", "bob")
    by, other = (alice, bob) if closer == "alice" else (bob, alice)
    world.filter = lambda sender, _receiver, msg: not (sender is bob and isinstance(msg, msgs.ClosingSigned))
    by.manager.close_channel(by.channel(other).channel_id, other.node_id)
    world.settle()
    bob.expect_events(ev.ChannelClosed)
    assert alice.channel(bob).state is ChannelState.SHUTTING_DOWN
    world.filter = None
    world.mine(1)
    kind = alice.one_event(ev.ChannelClosed).reason.kind
    by_us = ClosureKind.COOPERATIVE_BY_HOLDER if by is alice else ClosureKind.COOPERATIVE_BY_COUNTERPARTY
    assert kind is by_us
    world.drain(alice, bob)
    assert bob.came_home_sat() == 500_000


BY_AGREEMENT = (ClosureKind.COOPERATIVE_BY_HOLDER, ClosureKind.COOPERATIVE_BY_COUNTERPARTY)


def without_the_last_word(make_world: WorldMaker, closer: str, last: str) -> tuple[World, Node, Node]:
    """(the world, who agreed last, who has not heard of it). Alice pays the fee; the closing transaction waits."""
    world = make_world()
    alice, bob = world.line("alice", "bob")
    by, other = (alice, bob) if closer == "alice" else (bob, alice)
    speaker, deaf = (alice, bob) if last == "alice" else (bob, alice)
    if last == "alice":
        # Her first proposal is too low for Bob; his own she repeats, and that is what he misses.
        alice.fees.sat_per_kw = 1_000
        bob.fees.by_target[ConfirmationTarget.CHANNEL_CLOSE_MINIMUM] = 1_200
    said = []

    def lose(sender: Node, _receiver: Node, msg: msgs.Message) -> bool:
        if sender is not speaker or not isinstance(msg, msgs.ClosingSigned):
            return True
        said.append(msg)
        return last == "alice" and len(said) == 1

    world.filter = lose
    by.manager.close_channel(by.channel(other).channel_id, other.node_id)
    world.settle()
    world.filter = None
    speaker.expect_events(ev.ChannelClosed)
    assert not deaf.events_of(ev.ChannelClosed)
    return world, speaker, deaf


@pytest.mark.parametrize("last", ["alice", "bob"])
@pytest.mark.parametrize("closer", ["alice", "bob"])
def test_a_peer_that_missed_the_last_word_hears_it_again(
    make_world: WorldMaker, closer: str, last: str
) -> None:
    """BOLT 2, message retransmission: for the same transaction, whatever fees are by now, over a restart as well."""
    for kill in (False, True):
        world, speaker, deaf = without_the_last_word(make_world, closer, last)
        (closing,) = world.mempool.values()
        for node in (speaker, deaf):
            node.fees.by_target[ConfirmationTarget.NON_ANCHOR_CHANNEL_FEE] = 1_250
        fee_sat = [msg for _, msg in speaker.sent if isinstance(msg, msgs.ClosingSigned)][-1].fee_sat
        if kill:
            world.reload_node(speaker)
        else:
            world.disconnect(speaker, deaf)
        speaker.sent.clear()
        world.connect(speaker, deaf)
        assert deaf.one_event(ev.ChannelClosed).reason.kind in BY_AGREEMENT
        assert not deaf.manager.list_channels()
        assert list(world.mempool.values()) == [closing]
        again = [msg for _, msg in speaker.sent if isinstance(msg, msgs.ClosingSigned)]
        assert [msg.fee_sat for msg in again] == [fee_sat]
        assert not [msg for _, msg in speaker.sent if isinstance(msg, msgs.Error)]
        # Now both know, and a further connection has nothing to say.
        speaker.sent.clear()
        world.disconnect(speaker, deaf)
        world.connect(speaker, deaf)
        assert not speaker.sent
        world.drain(speaker, deaf)


def test_a_close_is_said_again_once_a_connection(make_world: WorldMaker) -> None:
    world, bob, alice = without_the_last_word(make_world, "alice", "bob")
    world.disconnect(alice, bob)
    # What Alice hears is lost each time; she asks, and proposes, again and again.
    world.filter = lambda sender, _receiver, _msg: sender is not bob
    world.connect(alice, bob)
    (ask,) = [msg for _, msg in alice.sent if isinstance(msg, msgs.ChannelReestablish)][-1:]
    bob.sent.clear()
    (closing,) = [msg for _, msg in alice.sent if isinstance(msg, msgs.ClosingSigned)][-1:]
    for _ in range(3):
        with pytest.raises(PeerError, match="none was due"):
            bob.manager.handle_channel_reestablish(alice.node_id, ask)
        # Another fee changes nothing.
        bob.manager.handle_closing_signed(alice.node_id, replace(closing, fee_sat=closing.fee_sat - 10))
    world.collect(bob)
    (again,) = [msg for _, msg in bob.sent]
    assert isinstance(again, msgs.ClosingSigned)
    assert (again.fee_sat, again.fee_range) == (closing.fee_sat, (closing.fee_sat, closing.fee_sat))
    world.filter = None
    world.disconnect(alice, bob)
    world.connect(alice, bob)
    assert alice.one_event(ev.ChannelClosed).reason.kind in BY_AGREEMENT
    world.drain(alice, bob)


def test_a_peer_that_lost_its_state_is_left_to_the_chain(make_world: WorldMaker) -> None:
    """It asks for a close, and the close is on its way: neither an error nor a word that it could not follow."""
    world, bob, alice = without_the_last_word(make_world, "alice", "bob")
    world.disconnect(alice, bob)
    world.connect(alice, bob, settle=False)
    (ask,) = [
        event.msg
        for event in alice.manager.get_and_clear_pending_msg_events()
        if isinstance(event, ev.SendMessage) and isinstance(event.msg, msgs.ChannelReestablish)
    ]
    with pytest.raises(PeerError, match="on its way") as refusal:
        bob.manager.handle_channel_reestablish(alice.node_id, replace(ask, next_commitment_number=0))
    assert not refusal.value.disconnect
    bob.sent.clear()
    world.collect(bob)
    assert not bob.sent
    world.mine(1)
    assert alice.one_event(ev.ChannelClosed).reason.kind in BY_AGREEMENT
    world.drain(alice, bob)


def test_a_close_that_the_peer_does_not_finish_can_be_forced(world: World) -> None:
    alice, bob = world.line("alice", "bob", settings=config(anchors=False, delay_blocks=20))
    channel_id = alice.channel(bob).channel_id
    world.filter = lambda sender, _receiver, msg: (
        not (sender is bob and isinstance(msg, msgs.Shutdown | msgs.ClosingSigned))
    )
    alice.manager.close_channel(channel_id, bob.node_id)
    world.settle()
    assert not world.mempool
    world.force_close(alice, bob)
    world.filter = None
    world.confirm_close()
    reason = bob.one_event(ev.ChannelClosed).reason
    assert reason.kind is ClosureKind.COMMITMENT_TX_CONFIRMED
    world.drain(alice, bob)
    assert bob.came_home_sat() == 500_000
