"""Gossip whose signatures are verified outside: the same graph comes of it, whenever the answers come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.unit.ln.connection_pair import Log
from tests.unit.ln.routing.graph_builder import (
    NOW,
    announce_channel,
    announce_node,
    announce_terms,
    node_id,
    scid,
)
from wallet.bitcoin.address import REGTEST
from wallet.bitcoin.curve import EcdsaChecks
from wallet.ln.events import BroadcastMessage, ErrorAction, HandleError, MessageSendEvent
from wallet.ln.msgs import ChannelAnnouncement, ChannelUpdate, NodeAnnouncement
from wallet.ln.routing import gossip
from wallet.ln.routing.gossip import NetGraphMsgHandler, NetworkGraph

PEER, OTHER = node_id("peer"), node_id("other")
CHANNEL = scid(700)
Gossip = ChannelAnnouncement | ChannelUpdate | NodeAnnouncement


class Later:
    """`SignatureChecks` that answer when they are told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, Callable[[bytes], None]]] = []
        self.verifier = EcdsaChecks()

    def submit(self, checks: bytes, answered: Callable[[bytes], None]) -> None:
        self.waiting.append((checks, answered))

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for checks, answered in waiting:
            answered(self.verifier.verify(checks))


class World:
    def __init__(self) -> None:
        self.checks = Later()
        self.graph = NetworkGraph(REGTEST)
        self.handler = NetGraphMsgHandler(
            self.graph, None, Log(), clock=lambda: NOW, signature_checks=self.checks
        )

    def hear(self, *messages: Gossip, peer: bytes | None = PEER) -> list[bool]:
        return [self._hear(message, peer) for message in messages]

    def _hear(self, message: Gossip, peer: bytes | None) -> bool:
        their = None if peer is None else node_id("peer" if peer == PEER else "other")
        if isinstance(message, ChannelAnnouncement):
            return self.handler.handle_channel_announcement(their, message)
        if isinstance(message, ChannelUpdate):
            return self.handler.handle_channel_update(their, message)
        return self.handler.handle_node_announcement(their, message)

    def answer(self) -> list[MessageSendEvent]:
        self.checks.answer()
        return self.handler.get_and_clear_pending_msg_events()


def everything() -> tuple[Gossip, ...]:
    return (
        announce_channel("a", "b", CHANNEL),
        announce_terms("a", "b", CHANNEL),
        announce_terms("b", "a", CHANNEL),
        announce_node("a"),
        announce_node("b"),
    )


def test_what_hangs_on_a_channel_is_verified_along_with_it() -> None:
    world, messages = World(), everything()
    assert world.hear(*messages) == [False] * 5
    assert world.graph.channel_count == 0
    assert world.handler.unverified_count == 5
    # What is news is passed on, but not to who told it.
    assert world.answer() == [BroadcastMessage(message, PEER) for message in messages]
    assert world.handler.unverified_count == 0
    at_once = NetGraphMsgHandler(NetworkGraph(REGTEST), None, Log(), clock=lambda: NOW)
    for message in messages:
        if isinstance(message, ChannelAnnouncement):
            at_once.handle_channel_announcement(PEER, message)
        elif isinstance(message, ChannelUpdate):
            at_once.handle_channel_update(PEER, message)
        else:
            at_once.handle_node_announcement(PEER, message)
    assert world.graph.write() == at_once.network_graph.write()


def test_the_same_from_two_peers_is_verified_once() -> None:
    world, messages = World(), everything()
    world.hear(*messages)
    world.hear(*messages, peer=OTHER)
    assert len(world.checks.waiting) == 5
    world.answer()
    world.hear(*messages)
    assert world.checks.waiting == []


def test_of_two_updates_under_way_the_newer_stays() -> None:
    world = World()
    world.hear(*everything())
    world.answer()
    older, newer = (announce_terms("a", "b", CHANNEL, timestamp_at=NOW.at - back) for back in (20, 10))
    world.hear(newer, older)
    assert len(world.checks.waiting) == 1
    world.answer()
    world.hear(older)
    assert world.checks.waiting == []
    assert max(world.graph.update_times(CHANNEL)) == NOW.at - 10


@pytest.mark.parametrize("position", [0, 1, 3], ids=["channel", "update", "node"])
def test_who_sends_a_bad_signature_is_hung_up_on(position: int) -> None:
    world, messages = World(), list(everything())
    message = messages[position]
    if isinstance(message, ChannelAnnouncement):
        messages[position] = replace(message, bitcoin_signature_2=message.bitcoin_signature_1)
    else:
        messages[position] = replace(message, signature=bytes(63) + b"\x01")
    world.hear(*messages)
    errors = [event for event in world.answer() if isinstance(event, HandleError)]
    assert [(error.node_id, error.action) for error in errors] == [
        (PEER, ErrorAction.SEND_WARNING_AND_DISCONNECT)
    ]
    if position == 0:
        # Nothing of what hung on it stays, and the true announcement is taken from the next.
        assert (world.graph.channel_count, world.graph.node_count) == (0, 0)
        world.hear(*everything(), peer=OTHER)
        world.answer()
        assert world.graph.update_times(CHANNEL) == (NOW.at - 100, NOW.at - 100)


def test_an_update_signed_by_the_other_node_is_refused() -> None:
    world = World()
    channel, terms, *_rest = everything()
    assert isinstance(terms, ChannelUpdate)
    world.hear(channel, replace(terms, channel_flags=terms.channel_flags ^ 1))
    assert [type(event) for event in world.answer()] == [BroadcastMessage, HandleError]
    assert world.graph.update_times(CHANNEL) == (0, 0)


def test_reading_pauses_while_much_is_being_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "MAX_UNVERIFIED", 3)
    world = World()
    world.hear(*everything()[:3])
    assert not world.handler.processing_queue_high()
    world.hear(*everything()[3:])
    assert world.handler.processing_queue_high()
    world.answer()
    assert not world.handler.processing_queue_high()


def test_our_own_announcements_wait_for_nobody() -> None:
    world = World()
    assert world.hear(*everything(), peer=None) == [True] * 5
    assert world.graph.channel_count == 1
