"""Peers that want to wear us down: floods, storms, endless or oversized messages. What they cost us is bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.ln.connection_pair import Node, Socket
from tests.unit.ln.routing.graph_builder import (
    NOW,
    announce_channel,
    announce_node,
    announce_terms,
    node_id,
    scid,
    sign_update,
)
from tests.unit.ln.routing.test_gossip import CHANNEL, OTHER_PEER, PEER, believing, handler
from tests.unit.ln.routing.test_gossip import Utxos as NoUtxos
from tests.unit.ln.test_peer_handler import CHANNEL_ID, UPDATE_FEE, Stranger
from wallet.bitcoin.address import REGTEST
from wallet.bitcoin.hashes import sha256
from wallet.ln import msgs, peer_handler
from wallet.ln.events import ErrorAction, HandleError
from wallet.ln.features import Features
from wallet.ln.msgs import ALL_CHANNELS, encode_message
from wallet.ln.routing import gossip
from wallet.ln.routing import graph as graph_module
from wallet.ln.routing.graph import NetworkGraph
from wallet.ln.types import ChannelError, ChannelId, NodeId, PeerError

PER_TICK = peer_handler.COMPLAINTS_PER_TICK


def memory(node: Node) -> int:
    """Bytes of all connections that wait for something."""
    return sum(len(peer.input) + len(peer.outbound) + peer.gossip_size for peer in node.peers._peers.values())


# --- errors and warnings -------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        msgs.Warning_(data=b"w" * 60_000),
        msgs.Error(channel_id=CHANNEL_ID, data=b"e" * 60_000),
        msgs.StartBatch(channel_id=CHANNEL_ID, batch_size=1),
    ],
    ids=["warning", "error", "answered"],
)
def test_a_flood_of_complaints_is_logged_in_part_and_ends_the_connection(message: msgs.Message) -> None:
    stranger = Stranger(Node(1)).greet()
    node = stranger.node
    lines = len(node.log.lines)
    for _ in range(PER_TICK):
        stranger.send(message)
    assert not stranger.socket.is_closed()
    assert len(node.log.lines) - lines == peer_handler.LOGGED_COMPLAINTS_PER_TICK
    # Not more than is shown is kept of a peer's words.
    assert all(len(line) < 1_000 for line in node.log.lines)
    # The next ten seconds are counted anew.
    node.peers.timer_tick_occurred()
    stranger.send(message)
    assert len(node.log.lines) - lines == peer_handler.LOGGED_COMPLAINTS_PER_TICK + 1
    for _ in range(PER_TICK):
        assert not stranger.socket.is_closed()
        stranger.send(message)
    assert stranger.socket.is_closed()
    assert node.channels.connected == []


def test_a_flood_of_messages_for_channels_that_are_not_there_ends_the_connection() -> None:
    stranger = Stranger(Node(1)).greet()
    stranger.node.channels.raises[msgs.UpdateFee] = ChannelError("no such channel", channel_id=CHANNEL_ID)
    for _ in range(PER_TICK):
        stranger.send(UPDATE_FEE)
    assert [type(said) for said in stranger.hear()] == [msgs.Error] * PER_TICK
    stranger.send(UPDATE_FEE)
    assert stranger.socket.is_closed()


def test_a_peer_that_has_us_fail_one_opening_after_the_other_is_hung_up_on() -> None:
    stranger = Stranger(Node(1)).greet()
    for _ in range(PER_TICK + 1):
        assert not stranger.socket.is_closed()
        stranger.node.complain(HandleError(stranger.id, ErrorAction.SEND_ERROR, "refused", CHANNEL_ID))
    assert stranger.socket.is_closed()


# --- floods that are ignored -----------------------------------------------------------


def test_a_flood_of_unknown_odd_messages_leaves_nothing_behind() -> None:
    stranger = Stranger(Node(1)).greet()
    node = stranger.node
    lines = len(node.log.lines)
    for number in range(500):
        stranger.send((0x8001 + 2 * number).to_bytes(2, "big") + bytes(60_000))
    assert not stranger.socket.is_closed()
    assert stranger.hear() == []
    assert node.heard() == []
    assert len(node.log.lines) == lines
    assert memory(node) == 0


def test_a_message_in_pieces_costs_no_more_than_itself() -> None:
    """Whoever announces the longest message, and never ends it, holds one message's worth of memory."""
    stranger = Stranger(Node(1)).greet()
    raw = stranger.encryptor.encrypt_message((0x8001).to_bytes(2, "big") + bytes(65_533))
    for place in range(0, len(raw) - 1, 1_000):
        stranger.send_raw(raw[place : min(place + 1_000, len(raw) - 1)])
    assert memory(stranger.node) == len(raw) - 1 - 18
    assert memory(stranger.node) < 66_000
    stranger.send_raw(raw[-1:])
    assert memory(stranger.node) == 0


def test_a_handshake_that_drips_is_given_up() -> None:
    node = Node(1)
    sockets = [Socket() for _ in range(64)]
    for socket in sockets:
        node.peers.new_inbound_connection(socket, None)
    for _ in range(peer_handler.HANDSHAKE_TIMEOUT_TICKS):
        for socket in sockets:
            assert not socket.is_closed()
            node.peers.read_event(socket, b"\x00")
        node.peers.timer_tick_occurred()
    assert all(socket.is_closed() for socket in sockets)
    assert not node.peers._peers


# --- reconnecting -----------------------------------------------------------------------


def test_a_storm_of_connections_leaves_nothing_behind() -> None:
    """Each of its own node, each broken off at another place; then one node again and again."""
    node = Node(1)
    for number in range(60):
        stranger = Stranger(node, sha256(b"stranger" + bytes((number,))))
        if number % 3:
            stranger.greet()
        if number % 2:
            node.peers.socket_disconnected(stranger.socket)
        else:
            stranger.send(msgs.Error(channel_id=ALL_CHANNELS))
    for _ in range(60):
        node.peers.socket_disconnected(Stranger(node).greet().socket)
    assert not node.peers._peers
    assert not node.peers._by_node_id
    assert node.channels.connected == []
    assert node.routes.connected == []


def test_a_second_connection_of_a_living_peer_costs_one_handshake() -> None:
    node = Node(1)
    first = Stranger(node).greet()
    for _ in range(20):
        second = Stranger(node)
        assert second.socket.is_closed()
    assert not first.socket.is_closed()
    assert len(node.peers._peers) == 1


# --- oversized parts ---------------------------------------------------------------------


def test_an_init_with_as_many_features_as_fit_is_taken() -> None:
    """BOLT 1, init: unknown odd bits are ignored, whatever their number; one even bit among them ends it."""
    bits = [*range(10_001, 260_001, 2), 9, 12, 14]
    odd = Features(bits)
    stranger = Stranger(Node(1))
    stranger.send(msgs.Init(features=odd))
    assert stranger.id in stranger.node.channels.connected
    even = Features([*bits, 400_000])
    other = Stranger(Node(1))
    other.send(msgs.Init(features=even))
    assert other.socket.is_closed()
    said = [message for message in other.hear() if isinstance(message, msgs.Warning_)]
    assert len(said) == 1
    assert len(said[0].data) < 300


def test_the_longest_tlv_is_read_and_thrown_away() -> None:
    stranger = Stranger(Node(1)).greet()
    tail = b"\xfd\x03\xe9" + b"\xfd" + (60_000).to_bytes(2, "big") + bytes(60_000)
    stranger.send(encode_message(UPDATE_FEE) + tail)
    assert stranger.node.heard() == [UPDATE_FEE]
    # The same of an even type; and one that claims more than there is.
    for bad in (
        b"\xfd\x03\xe8" + tail[3:],
        b"\xfd\x03\xe9\xff" + (2**63).to_bytes(8, "big") + bytes(100),
    ):
        other = Stranger(Node(1)).greet()
        other.send(encode_message(UPDATE_FEE) + bad)
        assert other.socket.is_closed()
        assert other.node.heard() == []


@pytest.mark.parametrize(("size", "answer"), [(0, msgs.Warning_), (1, msgs.Warning_), (2, None), (20, None)])
def test_start_batch(size: int, answer: type[msgs.Message] | None) -> None:
    """BOLT 2, start_batch, receiver: one of less than two is ignored, with a warning."""
    stranger = Stranger(Node(1)).greet()
    stranger.send(msgs.StartBatch(channel_id=CHANNEL_ID, batch_size=size, message_type=132))
    assert [type(said) for said in stranger.hear()] == ([] if answer is None else [answer])
    assert not stranger.socket.is_closed()


def test_a_batch_that_is_too_large_ends_the_connection() -> None:
    """BOLT 2, start_batch, receiver: nobody has us queue more than twenty."""
    stranger = Stranger(Node(1)).greet()
    stranger.send(msgs.StartBatch(channel_id=CHANNEL_ID, batch_size=21, message_type=132))
    assert [type(said) for said in stranger.hear()] == [msgs.Warning_]
    assert stranger.socket.is_closed()


# --- gossip --------------------------------------------------------------------------------


def test_gossip_that_is_made_to_fill_our_memory_is_not_kept() -> None:
    net = handler()
    long = bytes(gossip.MAX_STORED_GOSSIP_LENGTH + 1)
    assert not net.handle_channel_announcement(PEER, replace(CHANNEL, excess_data=long))
    assert not net.handle_channel_announcement(PEER, replace(CHANNEL, features=long))
    assert net.network_graph.channel_count == 0
    assert net.handle_channel_announcement(PEER, CHANNEL)
    terms = sign_update(replace(announce_terms("A", "B", scid(100)), excess_data=long), "A")
    assert not net.handle_channel_update(PEER, terms)
    assert net.network_graph.update_times(scid(100)) == (0, 0)
    node = announce_node("A")
    assert not net.handle_node_announcement(PEER, replace(node, excess_data=long))
    assert not net.handle_node_announcement(PEER, replace(node, features=Features([8 * len(long) + 1])))
    assert net.network_graph.node_announced_at(CHANNEL.node_id_1) is None
    assert net.network_graph.node_announced_at(CHANNEL.node_id_2) is None


def test_only_so_many_channels_are_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "MAX_BELIEVED_CHANNELS", 10)
    net = believing(NoUtxos())
    for number in range(20):
        net.handle_channel_announcement(PEER, announce_channel("A", "B", scid(100 + number)))
    assert net.network_graph.channel_count == 10


def test_one_peer_cannot_take_all_places_for_channels_that_nobody_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gossip, "MAX_BELIEVED_CHANNELS", 10)
    monkeypatch.setattr(gossip, "MAX_BELIEVED_OF_ONE_PEER", 4)
    net = believing(NoUtxos())
    graph = net.network_graph

    def tell(peer: NodeId | None, *heights: int) -> int:
        """Channels; how many are new to the graph."""
        before = graph.channel_count
        for height in heights:
            net.handle_channel_announcement(peer, announce_channel("A", "B", scid(height)))
        return graph.channel_count - before

    assert tell(PEER, *range(100, 110)) == 4
    # To go and come again gives no new places.
    net.peer_disconnected(PEER)
    net.peer_connected(PEER, msgs.Init(features=Features()), False)
    assert tell(PEER, 110) == 0
    # Those of others, and ours, have room.
    assert tell(OTHER_PEER, *range(200, 203)) == 3
    assert tell(None, 300) == 1
    # What is checked needs no place any more: of three that are left at most three are this peer's.
    for height in range(100, 104):
        graph.set_capacity(scid(height), 1_000_000)
    graph.set_capacity(scid(300), 1_000_000)
    assert tell(PEER, *range(400, 410)) == 1
    for height in range(200, 203):
        graph.set_capacity(scid(height), 1_000_000)
    # One is left, this peer's or another's. That it is no more is remembered when others tell more.
    net.prune(NOW)
    assert tell(OTHER_PEER, *range(500, 510)) == 3
    assert tell(PEER, *range(600, 610)) == 3


def test_a_restart_gives_no_peer_the_places_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who told what the file holds is not known: so a peer gets a part of what is free, however often we start."""
    monkeypatch.setattr(gossip, "MAX_BELIEVED_CHANNELS", 16)
    monkeypatch.setattr(gossip, "MAX_BELIEVED_OF_ONE_PEER", 8)
    net = believing(NoUtxos())
    free = []
    for start in range(4):
        for number in range(16):
            channel = announce_channel("A", "B", scid(100 * (start + 1) + number))
            net.handle_channel_announcement(PEER, channel)
        free.append(16 - net.network_graph.channel_count)
        stored = net.network_graph.write()
        net = believing(NoUtxos())
        net.network_graph = NetworkGraph.read(stored, REGTEST)
    assert free == [8, 4, 2, 1]
    # What was checked meanwhile is free again, for everybody.
    for scid_ in net.network_graph.short_channel_ids()[:8]:
        net.network_graph.set_capacity(scid_, 1_000_000)
    before = net.network_graph.channel_count
    for number in range(16):
        net.handle_channel_announcement(PEER, announce_channel("A", "B", scid(900 + number)))
    assert net.network_graph.channel_count - before == 4


def test_the_first_peer_may_tell_the_whole_public_network() -> None:
    """Of some 50,000 channels; and two of them may not fill the graph before anybody else is heard."""
    assert gossip.MAX_BELIEVED_OF_ONE_PEER >= 75_000
    assert gossip.MAX_BELIEVED_CHANNELS >= 2 * gossip.MAX_BELIEVED_OF_ONE_PEER


def test_of_so_many_peers_it_is_known_how_much_they_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "MAX_TELLERS", 2)
    net = believing(NoUtxos())
    for number, name in enumerate("PPQQRS"):
        net.handle_channel_announcement(node_id(name), announce_channel("A", "B", scid(100 + number)))
    # Who told least is forgotten for who comes new.
    assert len(net._told_unchecked) == 2
    assert net.network_graph.channel_count == 6


def test_made_up_channels_that_were_found_out_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A place in the graph is kept until the next start: so there may be only so many that are empty."""
    monkeypatch.setattr(gossip, "MAX_GONE_CHANNELS", 12)
    utxos = NoUtxos()
    net = believing(utxos)
    for number in range(60):
        net.handle_channel_announcement(PEER, announce_channel("A", "B", scid(100 + number)))
        net.timer_tick_occurred()
        utxos.answer()
    assert net.network_graph.channel_count == 0
    assert net.network_graph.channel_index_count == 12


def test_channels_that_were_removed_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "MAX_REMOVED", 3)
    graph = NetworkGraph(REGTEST)
    for number in (1, 2, 3, 1, 4):
        graph.channel_failed_permanent(scid(number), NOW.at)
    # The oldest goes; one that was removed again is not the oldest.
    assert [graph.was_removed(scid(number)) for number in (1, 2, 3, 4)] == [True, False, True, True]


def test_look_ups_that_a_peer_can_set_off_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "MAX_PENDING_LOOKUPS", 10)
    monkeypatch.setattr(gossip, "PENDING_LOOKUPS_HIGH", 5)
    utxos = NoUtxos()
    net = handler(utxos)
    for number in range(20):
        net.handle_channel_announcement(PEER, announce_channel("A", "B", scid(100 + number)))
    assert len(utxos.asked) == len(net._pending) == 10
    assert net.processing_queue_high()


def test_nodes_that_wait_for_a_look_up_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "MAX_WAITING_NODES", 1)
    net = handler(NoUtxos())
    net.handle_channel_announcement(PEER, CHANNEL)
    for name in ("A", "B"):
        net.handle_node_announcement(PEER, announce_node(name))
    assert len(net._waiting_nodes) == 1


def test_gossip_that_waits_to_be_passed_on_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_handler, "RELAY_QUEUE_LIMIT", 10)
    stranger = Stranger(Node(1)).greet()
    for number in range(100):
        stranger.send(announce_terms("A", "B", scid(number)))
    assert len(stranger.node.peers._updates_to_relay) == 10


def test_bad_gossip_is_answered_once() -> None:
    """BOLT 7: a warning, and the connection ends; nothing of it is kept."""
    stranger = Stranger(Node(1, gossip=handler())).greet()
    bad = replace(CHANNEL, node_signature_1=bytes(64))
    for _ in range(3):
        stranger.send(bad)
    assert [type(said) for said in stranger.hear()[-1:]] == [msgs.Warning_]
    assert stranger.socket.is_closed()


def test_a_handler_that_asks_for_silence_is_obeyed_by_the_connection() -> None:
    """What a refused peer still has in its pipe is thrown away unread."""
    stranger = Stranger(Node(1)).greet()
    stranger.node.channels.raises[msgs.UpdateFee] = PeerError("enough")
    stranger.send(UPDATE_FEE)
    for _ in range(100):
        stranger.send(UPDATE_FEE)
    assert len(stranger.node.heard()) == 1
    assert memory(stranger.node) == 0
    assert ChannelId(bytes(32)) == ALL_CHANNELS


@pytest.mark.parametrize(
    ("ids", "flags"),
    [
        (b"\x02" + bytes(8), None),
        (b"\x00" + bytes(7), None),
        (b"\x00" + bytes(16), b"\x00\x01"),
        (b"\x00" + bytes(8), b"\x00\x01\x01"),
        (b"\x00" + bytes(8), b"\x01\x01"),
        (b"\x00" + bytes(8), b""),
    ],
    ids=["encoding", "length", "too_few_flags", "too_many_flags", "flag_encoding", "no_flags"],
)
def test_a_query_that_is_none_ends_the_connection(ids: bytes, flags: bytes | None) -> None:
    """BOLT 7, query_short_channel_ids, receiver: whole ids, in an encoding that is known, one flag for each."""
    raw = (261).to_bytes(2, "big") + bytes(32) + len(ids).to_bytes(2, "big") + ids
    if flags is not None:
        raw += b"\x01" + bytes((len(flags),)) + flags
    stranger = Stranger(Node(1)).greet()
    stranger.send(raw)
    assert [type(said) for said in stranger.hear()] == [msgs.Warning_]
    assert stranger.socket.is_closed()
