"""`NetworkGraph` and `NetGraphMsgHandler`: what is believed, what is passed on, and how two of them sync."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ln.connection_pair import ConnectionPair, Log, Node
from tests.unit.ln.routing.graph_builder import (
    NOW,
    Net,
    announce_channel,
    announce_node,
    announce_terms,
    node_id,
    scid,
    sign_update,
)
from tests.unit.ln.test_peer_handler import FILTER_ALL, Stranger
from wallet.bitcoin import script
from wallet.bitcoin.address import MAINNET, REGTEST
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.tx import TxOut
from wallet.chain.interfaces import UtxoAnswer, UtxoError
from wallet.ln import msgs
from wallet.ln.events import BroadcastMessage, SendMessage
from wallet.ln.features import Feature, Features
from wallet.ln.msgs import ChannelAnnouncement, Init, Message
from wallet.ln.routing import gossip
from wallet.ln.routing.gossip import CHECKS_PER_TICK, NetGraphMsgHandler, NetworkGraph
from wallet.ln.routing.graph import REMOVED_MEMORY_SECONDS, STALE_CHANNEL_SECONDS
from wallet.ln.types import NodeId, Now, PeerError, ShortChannelId

PEER = NodeId(node_id("peer"))
OTHER_PEER = NodeId(node_id("other peer"))
GOSSIPS = Init(features=Features.of(optional=(Feature.GOSSIP_QUERIES,)))
GOSSIPS_EX = Init(features=Features.of(optional=(Feature.GOSSIP_QUERIES, Feature.GOSSIP_QUERIES_EX)))


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> Now:
        return self.now

    def pass_seconds(self, seconds: int) -> None:
        self.now = Now(at=self.now.at + seconds, mono_ms=0)


class Utxos:
    """A `chain.Access` that answers at once, or when `answer` is called."""

    def __init__(self, *, at_once: bool = False) -> None:
        self.at_once = at_once
        self.outputs: dict[int, TxOut] = {}
        self.waiting: list[tuple[int, Callable[[UtxoAnswer], None]]] = []
        self.asked: list[int] = []

    def fund(self, announcement: ChannelAnnouncement, value_sat: int = 1_000_000) -> None:
        keys = (announcement.bitcoin_key_1, announcement.bitcoin_key_2)
        output = TxOut(value_sat, script.p2wsh(script.multisig_2of2(*keys)))
        self.outputs[announcement.short_channel_id] = output

    def get_utxo(
        self, chain_hash: bytes, short_channel_id: int, answer: Callable[[UtxoAnswer], None]
    ) -> UtxoAnswer | None:
        assert chain_hash == REGTEST.chain_hash
        self.asked.append(short_channel_id)
        if self.at_once:
            return self.answer_for(short_channel_id)
        self.waiting.append((short_channel_id, answer))
        return None

    def answer_for(self, short_channel_id: int) -> UtxoAnswer:
        output = self.outputs.get(short_channel_id)
        return UtxoAnswer(short_channel_id, output, None if output is not None else UtxoError.UNKNOWN_TX)

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for short_channel_id, answer in waiting:
            answer(self.answer_for(short_channel_id))


def handler(utxos: Utxos | None = None, clock: Clock | None = None) -> NetGraphMsgHandler:
    return NetGraphMsgHandler(NetworkGraph(REGTEST), utxos, Log(), clock=clock or Clock())


def events(net: NetGraphMsgHandler) -> list[Message]:
    return [event.msg for event in net.get_and_clear_pending_msg_events() if not hasattr(event, "action")]


CHANNEL = announce_channel("A", "B", scid(100))


# --- what is believed -----------------------------------------------------------------------------


def test_channel_then_terms_then_nodes() -> None:
    net = handler()
    graph = net.network_graph
    assert not net.handle_node_announcement(PEER, announce_node("A"))
    assert not net.handle_channel_update(PEER, announce_terms("A", "B", scid(100)))
    assert net.handle_channel_announcement(PEER, CHANNEL)
    assert not net.handle_channel_announcement(PEER, CHANNEL)
    assert net.handle_channel_update(PEER, announce_terms("A", "B", scid(100), fee_base_msat=7))
    assert net.handle_node_announcement(PEER, announce_node("A"))
    assert (graph.channel_count, graph.node_count) == (1, 2)
    info = graph.channel(scid(100))
    assert info is not None
    assert {info.node_id_1, info.node_id_2} == {node_id("A"), node_id("B")}
    side, other = info.directions if node_id("A") < node_id("B") else reversed(info.directions)
    assert side is not None
    assert side.fee_base_msat == 7
    assert other is None
    assert graph.alias(node_id("A")) == "node A"
    assert graph.alias(node_id("B")) is None
    assert graph.last_update_at == NOW.at - 100
    node = graph.node(node_id("A"))
    assert node is not None
    assert node.channels == (scid(100),)
    assert sorted(graph.node_ids()) == sorted((node_id("A"), node_id("B")))


@pytest.mark.parametrize(
    "field", ["node_signature_1", "node_signature_2", "bitcoin_signature_1", "bitcoin_signature_2"]
)
def test_channel_signatures_are_checked(field: str) -> None:
    net = handler()
    wrong: dict[str, Any] = {field: CHANNEL.node_signature_1[:63] + b"\x00"}
    with pytest.raises(PeerError):
        net.handle_channel_announcement(PEER, replace(CHANNEL, **wrong))
    with pytest.raises(PeerError):
        net.handle_channel_announcement(PEER, replace(CHANNEL, excess_data=b"unsigned"))
    assert net.network_graph.channel_count == 0


def test_what_is_signed_with_what_comes_later() -> None:
    raw = msgs.encode_message(announce_terms("A", "B", scid(100)))
    update = msgs.decode_message(raw + b"what comes later")
    assert isinstance(update, msgs.ChannelUpdate)
    update = sign_update(update, "A")
    net = handler()
    net.handle_channel_announcement(PEER, CHANNEL)
    assert net.handle_channel_update(PEER, update)
    assert net.network_graph.channel_update(scid(100), update.direction) == update


def test_other_signatures_are_checked() -> None:
    net = handler()
    net.handle_channel_announcement(PEER, CHANNEL)
    with pytest.raises(PeerError):
        net.handle_channel_update(PEER, replace(announce_terms("A", "B", scid(100)), fee_base_msat=1))
    with pytest.raises(PeerError):
        net.handle_node_announcement(PEER, replace(announce_node("A"), alias=bytes(32)))
    # Terms of B's side that A has signed.
    other_side = announce_terms("B", "A", scid(100))
    with pytest.raises(PeerError):
        net.handle_channel_update(PEER, sign_update(other_side, "A"))
    assert net.network_graph.update_times(scid(100)) == (0, 0)


def test_nodes_in_the_wrong_order() -> None:
    swapped = replace(CHANNEL, node_id_1=CHANNEL.node_id_2, node_id_2=CHANNEL.node_id_1)
    with pytest.raises(PeerError):
        handler().handle_channel_announcement(PEER, swapped)


def test_other_chains_are_ignored() -> None:
    net = handler()
    assert not net.handle_channel_announcement(PEER, replace(CHANNEL, chain_hash=MAINNET.chain_hash))
    net.handle_channel_announcement(PEER, CHANNEL)
    update = announce_terms("A", "B", scid(100))
    assert not net.handle_channel_update(PEER, replace(update, chain_hash=MAINNET.chain_hash))


def test_only_newer_news_counts() -> None:
    net = handler()
    net.handle_channel_announcement(PEER, CHANNEL)
    update = announce_terms("A", "B", scid(100), timestamp_at=NOW.at - 10)
    assert net.handle_channel_update(PEER, update)
    assert not net.handle_channel_update(PEER, update)
    assert not net.handle_channel_update(PEER, announce_terms("A", "B", scid(100), timestamp_at=NOW.at - 11))
    assert net.handle_channel_update(PEER, announce_terms("B", "A", scid(100), timestamp_at=NOW.at - 11))
    assert net.handle_node_announcement(PEER, announce_node("A", NOW.at - 5))
    assert not net.handle_node_announcement(PEER, announce_node("A", NOW.at - 5))
    assert net.handle_node_announcement(PEER, announce_node("A", NOW.at - 4))


@pytest.mark.parametrize("offset", [-STALE_CHANNEL_SECONDS - 1, gossip.MAX_FUTURE_SECONDS + 1])
def test_news_of_another_time(offset: int) -> None:
    net = handler()
    net.handle_channel_announcement(PEER, CHANNEL)
    late = announce_terms("A", "B", scid(100), timestamp_at=NOW.at + offset)
    assert not net.handle_channel_update(PEER, late)
    assert net.network_graph.update_times(scid(100)) == (0, 0)


def test_what_is_not_passed_on() -> None:
    net = handler()
    net.handle_channel_announcement(PEER, CHANNEL)
    update = announce_terms("A", "B", scid(100))
    private = sign_update(replace(update, message_flags=3), "A")
    assert not net.handle_channel_update(PEER, private)
    assert max(net.network_graph.update_times(scid(100))) == update.timestamp_at
    bulky = sign_update(replace(announce_terms("B", "A", scid(100)), excess_data=bytes(2_000)), "B")
    assert not net.handle_channel_update(PEER, bulky)
    name = msgs.SocketAddress(msgs.AddressKind.HOSTNAME, "example.org", 1).encode()
    assert not net.handle_node_announcement(PEER, announce_node("A", address_data=name + name))
    assert net.network_graph.alias(node_id("A")) == "node A"
    assert net.handle_node_announcement(PEER, announce_node("B", address_data=name))


def test_terms_that_are_for_us_alone_are_told_in_no_answer_and_no_backfill() -> None:
    net = handler()
    net.handle_channel_announcement(OTHER_PEER, CHANNEL)
    net.peer_connected(PEER, GOSSIPS, False)
    net.get_and_clear_pending_msg_events()
    private = sign_update(replace(announce_terms("A", "B", scid(100)), message_flags=3), "A")
    public = announce_terms("B", "A", scid(100))
    net.handle_channel_update(OTHER_PEER, private)
    assert told(net)[1] == [CHANNEL]
    net.handle_channel_update(OTHER_PEER, public)
    assert told(net)[1] == [CHANNEL, public]
    found = net.get_next_channel_announcement(scid(0))
    assert isinstance(found, tuple)
    assert [update for update in found[1:] if update is not None] == [public]


def test_terms_that_are_only_signed_anew_are_passed_on_as_often_as_needed() -> None:
    """Twice a day the same terms: others hear them often enough not to take the channel for stale."""
    clock = Clock()
    net = handler(clock=clock)
    net.handle_channel_announcement(PEER, CHANNEL)
    told = []
    for _ in range(60):
        clock.pass_seconds(12 * 3_600)
        if net.handle_channel_update(PEER, announce_terms("A", "B", scid(100), timestamp_at=clock.now.at)):
            told.append(clock.now.at)
        # Our own graph has the newest.
        assert max(net.network_graph.update_times(scid(100))) == clock.now.at
    gaps = [after - before for before, after in pairwise(told)]
    # 30 days have nine spells, or parts of them; and the first of all was news.
    assert len(told) == 10
    assert max(gaps) <= gossip.KEEP_ALIVE_SECONDS + 12 * 3_600 < STALE_CHANNEL_SECONDS // 2
    # Other terms are news at any time; the other side's are another matter.
    clock.pass_seconds(1)
    other = announce_terms("A", "B", scid(100), timestamp_at=clock.now.at, disabled=True)
    assert net.handle_channel_update(PEER, other)
    assert net.handle_channel_update(PEER, announce_terms("B", "A", scid(100), timestamp_at=clock.now.at))


# --- funding outputs ------------------------------------------------------------------------------


# --- believed first, checked later ----------------------------------------------------------------


def believing(utxos: Utxos) -> NetGraphMsgHandler:
    draws = iter(range(1_000_000))
    return NetGraphMsgHandler(
        NetworkGraph(REGTEST),
        utxos,
        Log(),
        clock=Clock(),
        draw=lambda: (next(draws) * 7919).to_bytes(8, "big"),
    )


def test_a_channel_is_believed_first_and_gets_its_capacity_later() -> None:
    utxos = Utxos()
    utxos.fund(CHANNEL, 777)
    net = believing(utxos)
    assert not net.handle_channel_announcement(PEER, CHANNEL)
    assert net.network_graph.has_channel(scid(100))
    assert utxos.asked == []
    net.timer_tick_occurred()
    net.timer_tick_occurred()
    assert utxos.asked == [scid(100)]
    utxos.answer()
    assert net.network_graph.capacity_sat(scid(100)) == 777
    net.timer_tick_occurred()
    assert utxos.asked == [scid(100)]


def test_what_a_check_finds_spent_is_forgotten() -> None:
    utxos = Utxos()
    net = believing(utxos)
    net.handle_channel_announcement(PEER, CHANNEL)
    net.timer_tick_occurred()
    utxos.answer()
    assert not net.network_graph.has_channel(scid(100))
    assert not net.handle_channel_announcement(PEER, CHANNEL)
    assert not net.network_graph.has_channel(scid(100))


def test_a_check_that_no_server_answers_is_made_again() -> None:
    utxos = Utxos()
    net = believing(utxos)
    net.handle_channel_announcement(PEER, CHANNEL)
    net.timer_tick_occurred()
    ((asked, answer),) = utxos.waiting
    answer(UtxoAnswer(asked, None, UtxoError.UNAVAILABLE))
    assert net.network_graph.has_channel(scid(100))
    net.timer_tick_occurred()
    assert utxos.asked == [scid(100)] * 2


def test_checks_are_few_at_a_time_and_in_disorder() -> None:
    utxos = Utxos()
    net = believing(utxos)
    announcements = [announce_channel("A", "B", scid(100 + number)) for number in range(20)]
    for announcement in announcements:
        utxos.fund(announcement)
        net.handle_channel_announcement(PEER, announcement)
    net.timer_tick_occurred()
    assert len(utxos.asked) == CHECKS_PER_TICK
    net.timer_tick_occurred()
    assert len(utxos.asked) == CHECKS_PER_TICK
    while net.network_graph.to_check_count:
        utxos.answer()
        net.timer_tick_occurred()
    assert sorted(utxos.asked) == [scid(100 + number) for number in range(20)]
    assert utxos.asked != sorted(utxos.asked)


def told(net: NetGraphMsgHandler) -> tuple[bool, list[Message], tuple[ShortChannelId, ...]]:
    """Whether a channel is in a backfill, what a query for it brings, and which channels a range lists."""
    net.handle_query_short_channel_ids(
        PEER, msgs.QueryShortChannelIds(chain_hash=REGTEST.chain_hash, short_channel_ids=(scid(100),))
    )
    *replies, _end = answers(net)
    net.handle_query_channel_range(PEER, query_range(0, 1_000))
    (listed,) = answers(net)
    assert isinstance(listed, msgs.ReplyChannelRange)
    return net.get_next_channel_announcement(scid(0)) is not None, replies, listed.short_channel_ids


def test_an_unchecked_channel_is_told_to_nobody_before_it_is_checked() -> None:
    utxos = Utxos()
    utxos.fund(CHANNEL, 10**9)
    net = believing(utxos)
    net.peer_connected(PEER, GOSSIPS, False)
    terms = announce_terms("A", "B", scid(100))
    assert not net.handle_channel_announcement(OTHER_PEER, CHANNEL)
    assert not net.handle_channel_update(OTHER_PEER, terms)
    assert max(net.network_graph.update_times(scid(100))) == terms.timestamp_at
    net.get_and_clear_pending_msg_events()
    assert told(net) == (False, [], ())
    net.timer_tick_occurred()
    utxos.answer()
    news = net.get_and_clear_pending_msg_events()
    assert [event.msg for event in news if isinstance(event, BroadcastMessage)] == [CHANNEL, terms]
    assert told(net) == (True, [CHANNEL, terms], (scid(100),))
    later = announce_terms("A", "B", scid(100), timestamp_at=terms.timestamp_at + 1, fee_base_msat=5)
    assert net.handle_channel_update(OTHER_PEER, later)


def test_a_node_is_told_to_nobody_before_one_of_its_channels_was_checked() -> None:
    utxos = Utxos()
    second = announce_channel("A", "C", scid(101))
    for channel in (CHANNEL, second):
        utxos.fund(channel)
    net = believing(utxos)
    net.peer_connected(PEER, GOSSIPS, False)
    for channel in (CHANNEL, second):
        net.handle_channel_announcement(OTHER_PEER, channel)
    node = announce_node("A")
    assert not net.handle_node_announcement(OTHER_PEER, node)
    assert net.network_graph.node_announcement(node.node_id) == node
    assert net.get_next_node_announcement(None) is None
    net.get_and_clear_pending_msg_events()
    net.timer_tick_occurred()
    utxos.answer()
    news = [e.msg for e in net.get_and_clear_pending_msg_events() if isinstance(e, BroadcastMessage)]
    # With the first of its channels, and once.
    assert news.count(node) == 1
    assert {CHANNEL, second} <= set(news)
    assert net.get_next_node_announcement(None) == node
    assert net.handle_node_announcement(OTHER_PEER, announce_node("A", node.timestamp_at + 1))


def unchecked_but_one(count: int) -> tuple[NetGraphMsgHandler, ShortChannelId]:
    """Channels with terms, and nodes that say who they are; the last channel was looked up."""
    net = believing(Utxos())
    names = [f"node {number}" for number in range(count)]
    for number, name in enumerate(names):
        channel = scid(100 + number)
        net.handle_channel_announcement(OTHER_PEER, announce_channel("hub", name, channel))
        net.handle_channel_update(OTHER_PEER, announce_terms("hub", name, channel))
    for name in names:
        net.handle_node_announcement(OTHER_PEER, announce_node(name))
    last = scid(100 + count - 1)
    net.network_graph.set_capacity(last, 10**9)
    net.peer_connected(PEER, GOSSIPS, False)
    net.get_and_clear_pending_msg_events()
    return net, last


def test_what_may_not_be_told_is_passed_by_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is held for one look only, however many there are."""
    monkeypatch.setattr(gossip, "CHANNELS_PER_LOOK", 3)
    monkeypatch.setattr(gossip, "NODES_PER_LOOK", 3)
    net, last = unchecked_but_one(10)
    starts = [scid(0)]
    while isinstance(found := net.get_next_channel_announcement(starts[-1]), int):
        starts.append(found)
    assert starts == [scid(0), scid(102) + 1, scid(105) + 1, scid(108) + 1]
    assert isinstance(found, tuple)
    assert found[0].short_channel_id == last
    assert net.get_next_channel_announcement(ShortChannelId(last + 1)) is None
    behind: list[NodeId | None] = [None]
    told = []
    while (node := net.get_next_node_announcement(behind[-1])) is not None:
        if isinstance(node, msgs.NodeAnnouncement):
            told.append(node.node_id)
        behind.append(node.node_id if isinstance(node, msgs.NodeAnnouncement) else node)
    assert told == [node_id("node 9")]
    assert len(behind) > 3
    net.handle_query_channel_range(PEER, query_range(0, 1_000))
    replies = [net.get_next_query_reply(PEER) for _ in range(5)]
    assert replies[:3] == [None] * 3
    assert isinstance(replies[3], msgs.ReplyChannelRange)
    assert (replies[3].short_channel_ids, replies[3].sync_complete) == ((last,), True)
    assert replies[4] is None
    # That was all: another query is welcome.
    net.handle_query_channel_range(PEER, query_range(0, 101))
    assert net.get_next_query_reply(PEER) == replace(replies[3], short_channel_ids=(), number_of_blocks=101)


def test_a_backfill_goes_on_behind_what_may_not_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "CHANNELS_PER_LOOK", 3)
    monkeypatch.setattr(gossip, "NODES_PER_LOOK", 3)
    net, last = unchecked_but_one(10)
    node = Node(1, gossip=net)
    stranger = Stranger(node).greet()
    stranger.send(FILTER_ALL)
    heard: list[Message] = []
    for _ in range(12):
        node.peers.process_events()
        heard += stranger.hear()
    expected = net.network_graph.channel_announcement(last)
    assert heard == [expected, announce_terms("hub", "node 9", last), announce_node("node 9")]


def test_what_a_peer_does_not_want_is_passed_by_unread_and_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly everybody wants the last hour only: reading all the rest for it would take seconds, under the lock."""
    monkeypatch.setattr(gossip, "UNWANTED_PER_LOOK", 3)
    net = handler()
    graph = net.network_graph
    last = scid(109)
    for number in range(10):
        name, channel = f"node {number}", scid(100 + number)
        at = NOW.at - 10 if channel == last else NOW.at - 4_000
        net.handle_channel_announcement(OTHER_PEER, announce_channel("hub", name, channel))
        net.handle_channel_update(OTHER_PEER, announce_terms("hub", name, channel, timestamp_at=at))
        net.handle_node_announcement(OTHER_PEER, announce_node(name, at))
    read: list[object] = []

    def noted(get: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def noting(key: Any) -> Any:
            read.append(key)
            return get(key)

        return noting

    for name in ("channel_announcement", "node_announcement"):
        monkeypatch.setattr(graph, name, noted(getattr(graph, name)))
    wanted = range(NOW.at - 3_600, NOW.at + 3_600)
    starts = [scid(0)]
    while isinstance(found := net.get_next_channel_announcement(starts[-1], wanted), int):
        starts.append(found)
    assert starts == [scid(0), scid(102) + 1, scid(105) + 1, scid(108) + 1]
    assert isinstance(found, tuple)
    assert found[0].short_channel_id == last
    node = net.get_next_node_announcement(None, wanted)
    assert isinstance(node, msgs.NodeAnnouncement)
    assert read == [last, node_id("node 9")]
    # The same by a connection.
    theirs = Node(1, gossip=net)
    stranger = Stranger(theirs).greet()
    stranger.send(
        replace(FILTER_ALL, first_timestamp_at=wanted.start, timestamp_range_seconds=len(wanted)),
    )
    heard: list[Message] = []
    for _ in range(6):
        theirs.peers.process_events()
        heard += stranger.hear()
    assert heard == [found[0], announce_terms("hub", "node 9", last, timestamp_at=NOW.at - 10), node]


def test_nothing_but_gossip_looks_up_a_funding_output() -> None:
    """Never because of a payment: what is looked up when would tell a server each route."""
    wallet = Path(gossip.__file__).parents[2]
    callers = [
        file.relative_to(wallet).as_posix()
        for file in wallet.rglob("*.py")
        if ".get_utxo(" in file.read_text(encoding="utf-8")
    ]
    assert callers == ["ln/routing/gossip.py"]


def test_our_own_channel_is_told_before_anybody_looks_it_up() -> None:
    net = believing(Utxos())
    net.peer_connected(PEER, GOSSIPS, False)
    assert net.handle_channel_announcement(None, CHANNEL)
    terms = announce_terms("A", "B", scid(100))
    assert net.handle_channel_update(None, terms)
    net.get_and_clear_pending_msg_events()
    assert told(net) == (True, [CHANNEL, terms], (scid(100),))


def test_what_we_are_called_is_told_after_a_restart_too() -> None:
    """Our channel is in the graph's file, and nobody has looked it up, nor told again that it is ours."""
    before = believing(Utxos())
    before.handle_channel_announcement(None, CHANNEL)
    net = believing(Utxos())
    net.network_graph = NetworkGraph.read(before.network_graph.write(), REGTEST)
    assert not net.handle_node_announcement(PEER, announce_node("A"))
    assert net.handle_node_announcement(None, announce_node("B"))


def test_no_more_is_believed_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "MAX_BELIEVED_CHANNELS", 2)
    utxos = Utxos()
    net = believing(utxos)
    channels = [announce_channel("A", "B", scid(number)) for number in (100, 101, 102)]
    for channel in channels:
        utxos.fund(channel)
        net.handle_channel_announcement(PEER, channel)
    assert not net.network_graph.has_channel(scid(102))
    net.timer_tick_occurred()
    utxos.answer()
    net.handle_channel_announcement(PEER, channels[2])
    assert net.network_graph.has_channel(scid(102))


def test_a_funding_output_that_is_told_at_once() -> None:
    utxos = Utxos(at_once=True)
    net = handler(utxos)
    assert not net.handle_channel_announcement(PEER, CHANNEL)
    utxos.fund(CHANNEL, 777)
    assert net.handle_channel_announcement(PEER, CHANNEL)
    assert net.network_graph.capacity_sat(scid(100)) == 777


def test_a_funding_output_of_other_keys() -> None:
    utxos = Utxos(at_once=True)
    utxos.outputs[scid(100)] = TxOut(5, bytes(34))
    net = handler(utxos)
    assert not net.handle_channel_announcement(PEER, CHANNEL)
    # It is not looked up again and again.
    assert not net.handle_channel_announcement(PEER, CHANNEL)
    assert utxos.asked == [scid(100)]
    assert net.network_graph.channel_count == 0


def test_a_funding_output_that_is_told_later() -> None:
    utxos = Utxos()
    net = handler(utxos)
    update = announce_terms("A", "B", scid(100), htlc_maximum_msat=500)
    assert not net.handle_channel_announcement(PEER, CHANNEL)
    assert not net.handle_channel_announcement(OTHER_PEER, CHANNEL)
    assert not net.handle_channel_update(PEER, announce_terms("A", "B", scid(100), timestamp_at=NOW.at - 500))
    assert not net.handle_channel_update(PEER, update)
    assert not net.handle_node_announcement(PEER, announce_node("A"))
    with pytest.raises(PeerError):
        net.handle_channel_update(PEER, replace(announce_terms("B", "A", scid(100)), fee_base_msat=9))
    assert net.network_graph.channel_count == 0
    assert events(net) == []
    utxos.fund(CHANNEL)
    utxos.answer()
    assert utxos.asked == [scid(100)]
    assert events(net) == [CHANNEL, update, announce_node("A")]
    assert net.network_graph.capacity_sat(scid(100)) == 1_000_000
    assert net.network_graph.alias(node_id("A")) == "node A"


def test_a_funding_output_that_is_not_there() -> None:
    utxos = Utxos()
    net = handler(utxos)
    net.handle_channel_announcement(PEER, CHANNEL)
    net.handle_node_announcement(PEER, announce_node("A"))
    utxos.answer()
    assert events(net) == []
    assert net.network_graph.channel_count == 0
    # The server may have been behind: it is asked again when it is announced again.
    net.handle_channel_announcement(PEER, CHANNEL)
    assert len(utxos.waiting) == 1
    assert not net.handle_node_announcement(PEER, announce_node("A"))


def test_terms_above_the_capacity_are_not_used() -> None:
    utxos = Utxos(at_once=True)
    utxos.fund(CHANNEL, 100)
    net = handler(utxos)
    net.handle_channel_announcement(PEER, CHANNEL)
    assert not net.handle_channel_update(PEER, announce_terms("A", "B", scid(100), htlc_maximum_msat=100_001))
    assert net.handle_channel_update(PEER, announce_terms("A", "B", scid(100), htlc_maximum_msat=100_000))


def test_terms_above_the_capacity_are_dropped_when_it_becomes_known() -> None:
    """As if they had come later: nobody is told of them, in no answer and no backfill."""
    utxos = Utxos()
    utxos.fund(CHANNEL, 100)
    net = believing(utxos)
    graph = net.network_graph
    net.peer_connected(PEER, GOSSIPS, False)
    net.handle_channel_announcement(OTHER_PEER, CHANNEL)
    too_much = announce_terms("A", "B", scid(100), htlc_maximum_msat=100_001)
    fitting = announce_terms("B", "A", scid(100), htlc_maximum_msat=100_000)
    for terms in (too_much, fitting):
        net.handle_channel_update(OTHER_PEER, terms)
    assert graph.update_checksum(scid(100), too_much.direction)
    net.get_and_clear_pending_msg_events()
    net.timer_tick_occurred()
    utxos.answer()
    news = net.get_and_clear_pending_msg_events()
    assert [event.msg for event in news if isinstance(event, BroadcastMessage)] == [CHANNEL, fitting]
    assert told(net) == (True, [CHANNEL, fitting], (scid(100),))
    found = net.get_next_channel_announcement(scid(0))
    assert isinstance(found, tuple)
    assert [update for update in found[1:] if update] == [fitting]
    info = graph.channel(scid(100))
    assert info is not None
    assert info.directions[too_much.direction] is None
    assert info.directions[fitting.direction] is not None
    times = graph.update_times(scid(100))
    assert (times[too_much.direction], times[fitting.direction]) == (0, fitting.timestamp_at)
    assert graph.update_checksum(scid(100), too_much.direction) == 0
    # Terms that can be kept to are taken at any time, the same age or not.
    mended = announce_terms("A", "B", scid(100), htlc_maximum_msat=100_000)
    assert net.handle_channel_update(OTHER_PEER, mended)


def test_our_own_channel_is_not_looked_up() -> None:
    utxos = Utxos()
    net = handler(utxos)
    assert net.handle_channel_announcement(None, CHANNEL)
    assert utxos.asked == []


# --- ageing ---------------------------------------------------------------------------------------


def test_pruning() -> None:
    clock = Clock()
    net = handler(clock=clock)
    graph = net.network_graph
    for number, (a, b) in enumerate((("A", "B"), ("B", "C"), ("C", "D"))):
        net.handle_channel_announcement(PEER, announce_channel(a, b, scid(100 + number)))
    net.handle_node_announcement(PEER, announce_node("A"))
    for a, b, at in (("A", "B", 0), ("B", "A", 0), ("B", "C", 0), ("C", "B", 86_000), ("C", "D", 86_000)):
        channel = scid(100 + "ABC".index(min(a, b)))
        assert net.handle_channel_update(PEER, announce_terms(a, b, channel, timestamp_at=NOW.at + at))
    clock.pass_seconds(STALE_CHANNEL_SECONDS)
    net.prune(clock.now)
    assert graph.channel_count == 3
    clock.pass_seconds(1)
    net.prune(clock.now)
    # Both sides must be fresh; one that never spoke counts from the announcement.
    assert graph.channel_count == 0
    assert graph.node_count == 0
    assert graph.alias(node_id("A")) is None
    assert net.get_next_node_announcement(None) is None


def test_pruning_keeps_what_is_fresh() -> None:
    clock = Clock()
    net = handler(clock=clock)
    net.handle_channel_announcement(PEER, CHANNEL)
    clock.pass_seconds(STALE_CHANNEL_SECONDS)
    for a, b in (("A", "B"), ("B", "A")):
        net.handle_channel_update(PEER, announce_terms(a, b, scid(100), timestamp_at=clock.now.at - 3))
    clock.pass_seconds(100)
    net.prune(clock.now)
    assert net.network_graph.channel_count == 1


def test_a_closed_channel_stays_out_for_a_while() -> None:
    clock = Clock()
    net = handler(clock=clock)
    net.handle_channel_announcement(PEER, CHANNEL)
    net.network_graph.channel_failed_permanent(scid(100), clock.now.at)
    assert net.network_graph.channel_count == 0
    assert not net.handle_channel_announcement(PEER, CHANNEL)
    clock.pass_seconds(REMOVED_MEMORY_SECONDS + 1)
    net.prune(clock.now)
    assert net.handle_channel_announcement(PEER, CHANNEL)


def test_a_node_out_of_service_takes_its_channels_along() -> None:
    net = Net()
    for a, b in (("A", "B"), ("B", "C"), ("C", "D")):
        net.open(a, b)
    net.graph.node_failed_permanent(node_id("B"), NOW.at)
    assert net.graph.channel_count == 1
    assert not net.graph.has_node(node_id("A"))
    assert net.graph.has_node(node_id("C"))


# --- storing --------------------------------------------------------------------------------------


def test_there_and_back() -> None:
    net = handler()
    graph = net.network_graph
    for number, (a, b) in enumerate((("A", "B"), ("B", "C"), ("C", "D"), ("D", "A"))):
        net.handle_channel_announcement(PEER, announce_channel(a, b, scid(100 + number)))
        net.handle_channel_update(PEER, announce_terms(a, b, scid(100 + number), fee_base_msat=number))
    net.handle_node_announcement(PEER, announce_node("A"))
    graph.set_capacity(scid(101), 5_000)
    graph.channel_failed_permanent(scid(103), NOW.at)
    raw = graph.write()
    read = NetworkGraph.read(raw, REGTEST)
    assert read.write() == raw
    assert read.short_channel_ids() == [scid(100), scid(101), scid(102)]
    assert read.capacity_sat(scid(101)) == 5_000
    assert read.capacity_sat(scid(100)) is None
    assert read.channel(scid(102)) == graph.channel(scid(102))
    assert read.alias(node_id("A")) == "node A"
    assert read.was_removed(scid(103))
    assert sorted(read.to_check(number) for number in range(read.to_check_count)) == [scid(100), scid(102)]
    with pytest.raises(DecodeError):
        NetworkGraph.read(raw, MAINNET)
    for damaged in (b"", raw[:-1], raw[:50], raw[:200] + b"\x00" + raw[201:], raw + b"\x00"):
        with pytest.raises(DecodeError):
            NetworkGraph.read(damaged, REGTEST)


@given(st.binary(max_size=200))
def test_noise_is_no_graph(noise: bytes) -> None:
    with pytest.raises(DecodeError):
        NetworkGraph.read(noise, REGTEST)


# --- asking ---------------------------------------------------------------------------------------


def kinds(messages: list[Message]) -> list[str]:
    return [type(message).__name__ for message in messages]


def test_first_peers_are_asked_for_everything_later_ones_for_news_or_nothing() -> None:
    net = handler()
    asked = []
    for number in range(gossip.MAX_SYNC_PEERS + 1):
        net.peer_connected(node_id(f"peer {number}"), GOSSIPS, False)
        asked.append(kinds(events(net)))
    both = ["GossipTimestampFilter", "QueryChannelRange"]
    full = gossip.MAX_FULL_SYNC_PEERS
    assert asked == [both] * full + [both[:1]] * (gossip.MAX_SYNC_PEERS - full) + [[]]
    # When one that was asked for everything goes, the next to come is.
    net.peer_disconnected(node_id("peer 0"))
    net.peer_disconnected(node_id("peer 3"))
    net.peer_connected(node_id("another"), GOSSIPS, False)
    assert kinds(events(net)) == both


@pytest.mark.parametrize(
    "init", [Init(features=Features()), replace(GOSSIPS, networks=(MAINNET.chain_hash,))]
)
def test_peers_that_have_no_gossip_are_not_asked(init: Init) -> None:
    net = handler()
    net.peer_connected(PEER, init, True)
    assert events(net) == []


def range_reply(*scids: ShortChannelId, complete: bool = True, **more: Any) -> msgs.ReplyChannelRange:
    reply = msgs.ReplyChannelRange(
        chain_hash=REGTEST.chain_hash,
        first_block_height=0,
        number_of_blocks=1,
        sync_complete=complete,
        short_channel_ids=scids,
    )
    return replace(reply, **more)


def test_what_is_missing_is_asked_for_in_batches() -> None:
    net = handler()
    net.handle_channel_announcement(PEER, CHANNEL)
    net.handle_reply_channel_range(PEER, range_reply(scid(1)))
    net.peer_connected(PEER, GOSSIPS, False)
    events(net)
    ids = [scid(1_000 + number) for number in range(gossip.SHORT_IDS_PER_QUERY + 5)]
    net.handle_reply_channel_range(PEER, range_reply(*reversed(ids[:50]), scid(100), complete=False))
    assert events(net) == []
    net.handle_reply_channel_range(PEER, range_reply(*ids[50:]))
    (query,) = events(net)
    assert isinstance(query, msgs.QueryShortChannelIds)
    assert query.short_channel_ids == tuple(ids[:500])
    assert query.query_flags is None
    end = msgs.ReplyShortChannelIdsEnd(chain_hash=REGTEST.chain_hash, full_information=True)
    net.handle_reply_short_channel_ids_end(PEER, end)
    (query,) = events(net)
    assert isinstance(query, msgs.QueryShortChannelIds)
    assert query.short_channel_ids == tuple(ids[500:])
    net.handle_reply_short_channel_ids_end(PEER, end)
    net.handle_reply_short_channel_ids_end(PEER, end)
    assert events(net) == []


def test_only_what_is_newer_is_asked_of_a_peer_that_tells_times() -> None:
    net = handler()
    net.handle_channel_announcement(PEER, CHANNEL)
    update = announce_terms("A", "B", scid(100))
    net.handle_channel_update(PEER, update)
    net.peer_connected(PEER, GOSSIPS_EX, False)
    query = events(net)[1]
    assert isinstance(query, msgs.QueryChannelRange)
    assert query.query_option_flags == 0b11
    fresh, stale = NOW.at - 5, NOW.at - STALE_CHANNEL_SECONDS - 5
    times = [0, fresh] if update.direction == 0 else [fresh, 0]
    net.handle_reply_channel_range(
        PEER,
        range_reply(
            scid(100), scid(200), scid(300),
            timestamps=((times[0], times[1]), (stale, 0), (fresh, 0)),
        ),
    )  # fmt: skip
    (ids,) = events(net)
    assert isinstance(ids, msgs.QueryShortChannelIds)
    assert ids.short_channel_ids == (scid(100), scid(300))
    assert ids.query_flags == (0b100 if update.direction == 0 else 0b010, 0b11111)


def test_an_update_with_the_checksum_of_ours_is_not_asked_for() -> None:
    clock = Clock()
    net = handler(clock=clock)
    graph = net.network_graph
    net.handle_channel_announcement(PEER, CHANNEL)
    update = announce_terms("A", "B", scid(100), fee_base_msat=7)
    net.handle_channel_update(PEER, update)
    side = update.direction
    same = msgs.update_checksum(update.encode_payload())
    assert graph.update_checksum(scid(100), side) == same
    assert graph.update_checksum(scid(100), 1 - side) == 0

    def asked(checksum: int) -> list[int]:
        net.peer_disconnected(PEER)
        net.peer_connected(PEER, GOSSIPS_EX, False)
        events(net)
        pair = [[0, 0], [0, 0]]
        pair[0][side], pair[1][side] = clock.now.at, checksum
        times, sums = ((first, second) for first, second in pair)
        net.handle_reply_channel_range(PEER, range_reply(scid(100), timestamps=(times,), checksums=(sums,)))
        return [
            flag
            for query in events(net)
            if isinstance(query, msgs.QueryShortChannelIds)
            for flag in query.query_flags or ()
        ]

    wanted = 0b100 if side else 0b010
    assert asked(same) == []
    assert asked(same ^ 1) == [wanted]
    newer = announce_terms("A", "B", scid(100), fee_base_msat=8, timestamp_at=NOW.at - 50)
    net.handle_channel_update(PEER, newer)
    assert asked(same) == [wanted]
    same = msgs.update_checksum(newer.encode_payload())
    assert asked(same) == []
    # One that would go stale here is asked for although it says nothing else.
    clock.pass_seconds(gossip.REFRESH_SECONDS)
    assert asked(same) == [wanted]


def test_checksums_are_told_to_those_that_ask() -> None:
    net = big_graph(3)
    graph = net.network_graph
    net.handle_query_channel_range(PEER, query_range(0, 1_000, 0b11))
    (reply,) = answers(net)
    assert isinstance(reply, msgs.ReplyChannelRange)
    expected = []
    for channel in reply.short_channel_ids:
        updates = [graph.channel_update(channel, side) for side in (0, 1)]
        expected.append(tuple(msgs.update_checksum(u.encode_payload()) for u in updates if u is not None))
    assert list(reply.checksums or ()) == expected
    again = NetworkGraph.read(graph.write(), REGTEST)
    assert again.update_checksum(reply.short_channel_ids[0], 0) == expected[0][0]
    graph.channel_failed_permanent(reply.short_channel_ids[0], NOW.at)
    assert graph.update_checksum(reply.short_channel_ids[0], 0) == 0


def test_a_peer_that_does_not_answer_is_asked_by_a_filter() -> None:
    net = handler()
    net.peer_connected(PEER, GOSSIPS, False)
    events(net)
    for _ in range(gossip.QUERY_TIMEOUT_TICKS):
        assert events(net) == []
        net.timer_tick_occurred()
    (filter_,) = events(net)
    assert isinstance(filter_, msgs.GossipTimestampFilter)
    assert filter_.first_timestamp_at == NOW.at - STALE_CHANNEL_SECONDS
    net.timer_tick_occurred()
    assert events(net) == []


def test_a_peer_that_lists_too_many_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "MAX_CHANNELS_IN_RANGE", 10)
    net = handler()
    net.peer_connected(PEER, GOSSIPS, False)
    with pytest.raises(PeerError):
        net.handle_reply_channel_range(PEER, range_reply(*map(scid, range(11))))


def test_no_more_is_asked_for_while_look_ups_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "PENDING_LOOKUPS_HIGH", 2)
    utxos = Utxos()
    net = handler(utxos)
    net.peer_connected(PEER, GOSSIPS, False)
    events(net)
    for number in range(3):
        assert not net.processing_queue_high()
        net.handle_channel_announcement(PEER, announce_channel("A", "B", scid(100 + number)))
    assert net.processing_queue_high()
    net.handle_reply_channel_range(PEER, range_reply(scid(500)))
    assert events(net) == []
    utxos.answer()
    assert not net.processing_queue_high()
    assert kinds(events(net)) == ["QueryShortChannelIds"]


# --- answering ------------------------------------------------------------------------------------


def answers(net: NetGraphMsgHandler) -> list[Message]:
    found = []
    while (reply := net.get_next_query_reply(PEER)) is not None:
        found.append(reply)
    return found


def big_graph(count: int) -> NetGraphMsgHandler:
    builder = Net()
    for _ in range(count):
        builder.open("A", "B")
    net = NetGraphMsgHandler(builder.graph, None, Log(), clock=Clock())
    net.peer_connected(PEER, GOSSIPS, False)
    net.get_and_clear_pending_msg_events()
    return net


def query_range(first: int, count: int, flags: int | None = None) -> msgs.QueryChannelRange:
    return msgs.QueryChannelRange(
        chain_hash=REGTEST.chain_hash,
        first_block_height=first,
        number_of_blocks=count,
        query_option_flags=flags,
    )


@pytest.mark.parametrize(("first", "count"), [(0, 0xFFFFFFFF), (105, 10), (0, 50), (100, 1_000), (5, 1)])
@pytest.mark.parametrize("batch", [1, 3, 8_000])
@pytest.mark.parametrize("flags", [None, 1, 2, 3])
def test_range_replies_cover_the_range(
    first: int, count: int, batch: int, flags: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gossip, "SHORT_IDS_PER_REPLY", batch if flags is None else 3 * batch)
    monkeypatch.setattr(gossip, "SUMMED_IDS_PER_REPLY", batch)
    net = big_graph(30)
    unheard = announce_channel("C", "D", scid(110, 9))
    net.network_graph.add_channel(unheard, None, NOW.at)
    net.handle_query_channel_range(PEER, query_range(first, count, flags))
    replies = answers(net)
    found: list[ShortChannelId] = []
    before = first
    for number, reply in enumerate(replies):
        assert isinstance(reply, msgs.ReplyChannelRange)
        assert reply.first_block_height >= before
        before = reply.first_block_height
        assert reply.sync_complete == (number == len(replies) - 1)
        found += reply.short_channel_ids
        for channel in reply.short_channel_ids:
            end = reply.first_block_height + reply.number_of_blocks
            assert reply.first_block_height <= channel >> 40 < end
        assert (reply.timestamps is not None) == (flags in (1, 3))
        assert (reply.checksums is not None) == (flags in (2, 3))
    last = replies[-1]
    assert isinstance(last, msgs.ReplyChannelRange)
    assert last.first_block_height + last.number_of_blocks >= min(first + count, 0xFFFFFFFF)
    assert found == [s for s in net.network_graph.short_channel_ids(first << 40, (first + count) << 40)
                     if s != unheard.short_channel_id]  # fmt: skip


def test_a_full_reply_fits_into_a_message() -> None:
    ids = tuple(scid(number) for number in range(gossip.SHORT_IDS_PER_REPLY))
    msgs.encode_message(range_reply(*ids))
    third = ids[: gossip.SHORT_IDS_PER_REPLY // 3]
    pairs = ((1, 2),) * len(third)
    msgs.encode_message(range_reply(*third, timestamps=pairs, checksums=pairs))
    query = msgs.QueryShortChannelIds(
        chain_hash=REGTEST.chain_hash,
        short_channel_ids=ids[: gossip.SHORT_IDS_PER_QUERY],
        query_flags=(31,) * gossip.SHORT_IDS_PER_QUERY,
    )
    msgs.encode_message(query)


def test_range_of_another_chain() -> None:
    net = big_graph(1)
    net.handle_query_channel_range(PEER, replace(query_range(0, 1_000), chain_hash=MAINNET.chain_hash))
    (reply,) = answers(net)
    assert isinstance(reply, msgs.ReplyChannelRange)
    assert reply.short_channel_ids == ()
    assert reply.chain_hash == MAINNET.chain_hash


def test_one_query_at_a_time() -> None:
    net = big_graph(1)
    net.handle_query_channel_range(PEER, query_range(0, 1_000))
    with pytest.raises(PeerError) as raised:
        net.handle_query_channel_range(PEER, query_range(0, 1_000))
    assert not raised.value.disconnect
    assert len(answers(net)) == 1
    net.handle_query_channel_range(PEER, query_range(0, 1_000))
    with pytest.raises(PeerError):
        net.handle_query_channel_range(PEER, query_range(0, 0))


def test_id_replies() -> None:
    net = handler()
    net.peer_connected(PEER, GOSSIPS, False)
    update = announce_terms("A", "B", scid(100))
    other = announce_terms("B", "A", scid(100))
    first, second = (update, other) if update.direction == 0 else (other, update)
    net.handle_channel_announcement(None, CHANNEL)
    for message in (update, other):
        net.handle_channel_update(None, message)
    for name in "AB":
        net.handle_node_announcement(None, announce_node(name))
    end = msgs.ReplyShortChannelIdsEnd(chain_hash=REGTEST.chain_hash, full_information=True)
    node_1, node_2 = sorted((announce_node(name) for name in "AB"), key=lambda node: node.node_id)

    def reply(*flags: int) -> list[Message]:
        query = msgs.QueryShortChannelIds(
            chain_hash=REGTEST.chain_hash,
            short_channel_ids=(scid(99), scid(100), scid(100)),
            query_flags=flags or None,
        )
        net.handle_query_short_channel_ids(PEER, query)
        return answers(net)

    everything: list[Message] = [CHANNEL, first, second, CHANNEL, first, second, node_1, node_2, end]
    assert reply() == everything
    assert reply(31, 2, 4) == [first, second, end]
    assert reply(31, 9, 16) == [CHANNEL, node_1, node_2, end]
    assert reply(31, 0, 0) == [end]


# --- two of them ----------------------------------------------------------------------------------


def pair_scid(a: str, b: str) -> ShortChannelId:
    return scid(100 * ord(a) + ord(b))


class GossipNode(Node):
    def __init__(self, number: int, utxos: Utxos | None = None) -> None:
        self.net = handler(utxos)
        super().__init__(number, gossip=self.net)

    @property
    def graph(self) -> NetworkGraph:
        return self.net.network_graph

    def learn(self, names: str) -> None:
        """Learn a chain of channels from somewhere."""
        for a, b in pairwise(names):
            channel = pair_scid(a, b)
            self.net.handle_channel_announcement(None, announce_channel(a, b, channel))
            for source, target in ((a, b), (b, a)):
                self.net.handle_channel_update(None, announce_terms(source, target, channel))
        for name in names:
            self.net.handle_node_announcement(None, announce_node(name))


def settle(pair: ConnectionPair) -> None:
    for _ in range(6):
        pair.a.peers.process_events()
        pair.b.peers.process_events()
        pair.exchange()


def test_two_nodes_sync_both_ways() -> None:
    a, b = GossipNode(1), GossipNode(2)
    a.learn("ABCDEFG")
    b.learn("ABCXYZ")
    pair = ConnectionPair(a, b, chunk=3_000).connect()
    settle(pair)
    assert a.graph.short_channel_ids() == b.graph.short_channel_ids()
    assert a.graph.node_count == b.graph.node_count
    for name in "ABCDEFG":
        assert b.graph.alias(node_id(name)) == f"node {name}"
    # What comes later is passed on within a minute.
    update = announce_terms("A", "B", pair_scid("A", "B"), timestamp_at=NOW.at, fee_base_msat=5)
    a.broadcast(update)
    pair.exchange()
    for node in (a, b):
        assert node.graph.channel_update(update.short_channel_id, update.direction) == update


def test_news_passes_through_a_node_in_the_middle() -> None:
    utxos = Utxos()
    a, b, c = GossipNode(1), GossipNode(2, utxos), GossipNode(3)
    first, second = ConnectionPair(a, b).connect(), ConnectionPair(b, c).connect()
    settle(first)
    settle(second)
    utxos.fund(CHANNEL)
    update = announce_terms("A", "B", scid(100), htlc_maximum_msat=10**8)
    for message in (CHANNEL, update, announce_node("A")):
        a.broadcast(message)
    first.exchange()
    assert b.graph.channel_count == 0
    utxos.answer()
    assert b.graph.channel_count == 1
    for _ in range(6):
        second.tick()
        settle(second)
    assert c.graph.channel_update(scid(100), update.direction) == update
    assert c.graph.alias(node_id("A")) == "node A"


def test_bad_gossip_is_answered_by_a_warning_and_hanging_up() -> None:
    a, b = GossipNode(1), GossipNode(2)
    pair = ConnectionPair(a, b).connect()
    settle(pair)
    a.say(b, replace(CHANNEL, node_signature_1=bytes(64)))
    pair.exchange()
    assert not b.is_connected(a)
    assert "signature" in a.log


def test_events_are_of_two_kinds() -> None:
    net = handler()
    net.peer_connected(PEER, GOSSIPS, False)
    assert all(isinstance(event, SendMessage) for event in net.get_and_clear_pending_msg_events())
    assert not any(isinstance(event, BroadcastMessage) for event in net.get_and_clear_pending_msg_events())
