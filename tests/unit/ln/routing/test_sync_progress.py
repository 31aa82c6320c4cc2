"""How far the sync of the graph is, who gossip can be had from, and that payments do not wait for the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.unit.ln.connection_pair import Log
from tests.unit.ln.routing.graph_builder import (
    NOW,
    announce_channel,
    announce_terms,
    node_id,
    own_channel,
    scid,
)
from wallet.bitcoin.address import MAINNET, REGTEST
from wallet.bitcoin.curve import EcdsaChecks
from wallet.ln import msgs
from wallet.ln.events import SendMessage
from wallet.ln.features import Feature, Features
from wallet.ln.msgs import Init, Message
from wallet.ln.route import InFlightHtlcs, PaymentParameters, RouteParameters
from wallet.ln.routing import gossip
from wallet.ln.routing.gossip import NetGraphMsgHandler, NetworkGraph, SyncProgress, SyncState
from wallet.ln.routing.graph import STALE_CHANNEL_SECONDS
from wallet.ln.routing.router import get_route
from wallet.ln.routing.scoring import ProbabilisticScorer
from wallet.ln.types import NodeId, Now, ShortChannelId

PEER, OTHER, THIRD = node_id("peer"), node_id("other"), node_id("third")
GOSSIPS = Init(features=Features.of(optional=(Feature.GOSSIP_QUERIES,)))
END = msgs.ReplyShortChannelIdsEnd(chain_hash=REGTEST.chain_hash, full_information=True)
AB, BC, CD = scid(700), scid(800), scid(900)


class World:
    """A handler whose signatures are verified when `answer` says so, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW
        self.verifier = EcdsaChecks()
        self.waiting: list[tuple[bytes, Callable[[bytes], None]]] = []
        self.graph = NetworkGraph(REGTEST)
        self.net = NetGraphMsgHandler(
            self.graph, None, Log(), clock=lambda: self.now, signature_checks=self
        )  # fmt: skip

    def submit(self, checks: bytes, answered: Callable[[bytes], None]) -> None:
        self.waiting.append((checks, answered))

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for checks, answered in waiting:
            answered(self.verifier.verify(checks))

    def sent(self) -> list[Message]:
        events = self.net.get_and_clear_pending_msg_events()
        return [event.msg for event in events if isinstance(event, SendMessage)]

    def lists(self, peer: NodeId, *scids: ShortChannelId) -> None:
        self.net.handle_reply_channel_range(
            peer,
            msgs.ReplyChannelRange(
                chain_hash=REGTEST.chain_hash,
                first_block_height=0,
                number_of_blocks=1,
                sync_complete=True,
                short_channel_ids=scids,
            ),
        )

    def tells(self, a: str, b: str, channel: ShortChannelId) -> None:
        self.net.handle_channel_announcement(PEER, announce_channel(a, b, channel))
        for source, target in ((a, b), (b, a)):
            self.net.handle_channel_update(PEER, announce_terms(source, target, channel))

    def ends(self) -> None:
        self.net.handle_reply_short_channel_ids_end(PEER, END)

    def progress(self) -> SyncProgress:
        return self.net.sync_progress()


def told(progress: SyncProgress) -> tuple[SyncState, int, int, int]:
    return progress.state, progress.known, progress.listed, progress.signatures


def test_a_sync_from_its_first_question_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "SHORT_IDS_PER_QUERY", 2)
    world = World()
    assert told(world.progress()) == (SyncState.NOT_STARTED, 0, 0, 0)
    world.net.peer_connected(PEER, GOSSIPS, False)
    assert told(world.progress()) == (SyncState.RANGES, 0, 0, 0)
    world.lists(PEER, AB, BC, CD)
    assert told(world.progress()) == (SyncState.CHANNELS, 0, 3, 0)
    world.tells("A", "B", AB)
    world.tells("B", "C", BC)
    world.answer()
    world.ends()
    # The second batch is asked for: two of three need not be asked for any more.
    assert told(world.progress()) == (SyncState.CHANNELS, 2, 3, 0)
    assert world.progress().busy == 1
    world.tells("C", "D", CD)
    world.ends()
    assert told(world.progress()) == (SyncState.SIGNATURES, 3, 3, 3)
    assert world.progress().synced_at is None
    world.now = Now(at=NOW.at + 7, mono_ms=0)
    world.answer()
    assert told(world.progress()) == (SyncState.DONE, 3, 3, 0)
    assert (world.progress().synced_at, world.progress().busy) == (NOW.at + 7, 0)
    # It stays done when the peer goes.
    world.net.peer_disconnected(PEER)
    assert world.progress().state is SyncState.DONE


def test_what_is_stale_is_not_counted() -> None:
    world = World()
    features = Features.of(optional=(Feature.GOSSIP_QUERIES, Feature.GOSSIP_QUERIES_EX))
    world.net.peer_connected(PEER, Init(features=features), False)
    old = NOW.at - STALE_CHANNEL_SECONDS - 1
    world.net.handle_reply_channel_range(
        PEER,
        msgs.ReplyChannelRange(
            chain_hash=REGTEST.chain_hash,
            first_block_height=0,
            number_of_blocks=1,
            sync_complete=True,
            short_channel_ids=(AB, BC),
            timestamps=((old, old), (NOW.at - 5, 0)),
        ),
    )
    assert told(world.progress()) == (SyncState.CHANNELS, 0, 1, 0)


def test_of_two_peers_the_one_that_lists_more_counts() -> None:
    world = World()
    for peer in (PEER, OTHER):
        world.net.peer_connected(peer, GOSSIPS, False)
    world.lists(OTHER)
    assert told(world.progress()) == (SyncState.DONE, 0, 0, 0)
    assert world.progress().busy == 1
    world.lists(PEER, AB, BC, CD)
    assert told(world.progress()) == (SyncState.CHANNELS, 0, 3, 0)
    world.net.peer_disconnected(PEER)
    assert told(world.progress()) == (SyncState.DONE, 0, 0, 0)


def test_who_gossip_can_be_had_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "QUERY_TIMEOUT_TICKS", 1)
    world = World()
    world.net.peer_connected(PEER, GOSSIPS, False)
    world.net.peer_connected(OTHER, Init(features=Features()), False)
    world.net.peer_connected(THIRD, replace(GOSSIPS, networks=(MAINNET.chain_hash,)), False)
    assert world.net.sync_peers() == {PEER}
    world.net.timer_tick_occurred()
    assert world.net.sync_peers() == frozenset()
    assert world.progress().state is SyncState.NOT_STARTED


def test_another_is_asked_in_the_place_of_one_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "QUERY_TIMEOUT_TICKS", 1)
    monkeypatch.setattr(gossip, "MAX_FULL_SYNC_PEERS", 1)
    world = World()
    world.net.peer_connected(PEER, GOSSIPS, False)
    world.net.peer_connected(OTHER, GOSSIPS, False)
    world.sent()
    world.net.timer_tick_occurred()
    kinds = [type(message).__name__ for message in world.sent()]
    assert kinds == ["GossipTimestampFilter", "QueryChannelRange"]
    assert world.progress().state is SyncState.RANGES
    world.lists(OTHER)
    assert world.progress().state is SyncState.DONE
    # Once there was a sync, a filter is enough.
    world.net.peer_disconnected(OTHER)
    world.net.peer_connected(THIRD, GOSSIPS, False)
    world.sent()
    world.net.peer_connected(OTHER, GOSSIPS, False)
    assert [type(message).__name__ for message in world.sent()] == ["GossipTimestampFilter"]
    world.net.peer_disconnected(THIRD)
    world.net.timer_tick_occurred()
    assert world.sent() == []


def asked_for_everything(world: World) -> list[NodeId]:
    events = world.net.get_and_clear_pending_msg_events()
    sent = [event for event in events if isinstance(event, SendMessage)]
    return [event.node_id for event in sent if isinstance(event.msg, msgs.QueryChannelRange)]


@pytest.mark.parametrize("channels", [0, 9], ids=["nothing here", "a graph here"])
def test_peers_that_have_little_to_tell_keep_no_other_from_being_asked(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gossip, "MAX_FULL_SYNC_PEERS", 1)
    world = World()
    for number in range(channels):
        world.graph.add_channel(announce_channel("A", "B", scid(100 + number)), None, NOW.at)
    world.net.peer_connected(PEER, GOSSIPS, False)
    # Of nine, one: who hides the rest.
    world.lists(PEER, *world.graph.short_channel_ids()[:1])
    assert world.progress().state is SyncState.DONE
    # With a graph here that was no sync; without one, nobody knows better.
    assert (world.progress().synced_at is None) is (channels > 0)
    asked_for_everything(world)
    world.net.peer_connected(OTHER, GOSSIPS, False)
    assert asked_for_everything(world) == [OTHER]
    world.lists(OTHER, AB, BC, CD)
    world.ends()
    world.net.peer_connected(THIRD, GOSSIPS, False)
    assert asked_for_everything(world) == []


def test_who_is_done_and_had_little_counts_for_nobody_that_gossip_can_be_had_from() -> None:
    """Three such peers, of channels say, would keep us from calling any other."""
    world = World()
    for number in range(9):
        world.graph.add_channel(announce_channel("A", "B", scid(100 + number)), None, NOW.at)
    channels = world.graph.short_channel_ids()
    world.net.peer_connected(PEER, GOSSIPS, False)
    world.net.peer_connected(OTHER, GOSSIPS, False)
    assert world.net.sync_peers() == {PEER, OTHER}
    world.lists(PEER, *channels[:1])
    world.lists(OTHER, *channels[:2])
    assert world.net.sync_peers() == {OTHER}


def test_once_an_hour_one_more_is_asked_for_everything_and_once_a_day_one_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gossip, "ONE_MORE_TICKS", 3)
    monkeypatch.setattr(gossip, "ASK_AGAIN_TICKS", 12)
    monkeypatch.setattr(gossip, "MAX_FULL_SYNC_PEERS", 1)
    world = World()
    for a, b, channel in (("A", "B", AB), ("B", "C", BC), ("C", "D", CD)):
        world.graph.add_channel(announce_channel(a, b, channel), None, NOW.at)
    for peer in (PEER, OTHER, THIRD):
        world.net.peer_connected(peer, GOSSIPS, False)
    assert asked_for_everything(world) == [PEER]
    world.lists(PEER, AB, BC, CD)
    asked = []
    for _ in range(12):
        world.net.timer_tick_occurred()
        now_asked = asked_for_everything(world)
        asked.append(now_asked)
        for peer in now_asked:
            if peer != PEER:
                world.lists(peer, AB, BC, CD)
    assert asked == [[], [], [OTHER], [], [], [THIRD], [], [], [], [], [], [PEER]]
    # It is counted anew.
    assert world.progress().busy == 1
    world.lists(PEER, AB, BC, CD)
    assert told(world.progress()) == (SyncState.DONE, 3, 3, 0)


def test_a_payment_finds_its_way_before_the_sync_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "SHORT_IDS_PER_QUERY", 2)
    world = World()
    world.net.peer_connected(PEER, GOSSIPS, False)
    world.lists(PEER, AB, BC, CD)
    world.tells("A", "B", AB)
    world.tells("B", "C", BC)
    world.answer()
    assert world.progress().state is SyncState.CHANNELS
    params = PaymentParameters(payee=node_id("C"), final_cltv_delta=18, features=Features())
    asked = RouteParameters(payment_params=params, final_value_msat=1_000, max_total_routing_fee_msat=None)
    route = get_route(
        node_id("us"), asked, world.graph, (own_channel("A", 1_000_000),), ProbabilisticScorer(world.graph),
        InFlightHtlcs(), NOW,
    )  # fmt: skip
    assert [hop.short_channel_id for hop in route.paths[0].hops][1:] == [AB, BC]
