"""`PeerManager` through both real ends: who may connect, what is said, and what a hostile peer can do."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ln.connection_pair import ConnectionPair, Node, Socket, connected
from wallet.bitcoin import curve
from wallet.bitcoin.address import MAINNET, REGTEST
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.ln import msgs, peer_handler
from wallet.ln.events import BroadcastMessage, ErrorAction, HandleError, SendMessage
from wallet.ln.features import Feature, Features
from wallet.ln.msgs import ALL_CHANNELS, AddressKind, Message, SocketAddress, encode_message
from wallet.ln.peer_channel_encryptor import PeerChannelEncryptor
from wallet.ln.types import ChannelError, ChannelId, NodeId, PaymentHash, PeerError, ShortChannelId

CHANNEL_ID = ChannelId(b"\x01" * 32)
UPDATE_FEE = msgs.UpdateFee(channel_id=CHANNEL_ID, feerate_sat_per_kw=500)
ADD = msgs.UpdateAddHtlc(
    channel_id=CHANNEL_ID,
    htlc_id=0,
    amount_msat=1_000,
    payment_hash=PaymentHash(bytes(32)),
    cltv_expiry_height=100,
    onion_routing_packet=bytes(1366),
)


def channel_update(scid: int, timestamp_at: int = 1_000, direction: int = 0) -> msgs.ChannelUpdate:
    return msgs.ChannelUpdate(
        signature=bytes(64),
        chain_hash=REGTEST.chain_hash,
        short_channel_id=ShortChannelId(scid),
        timestamp_at=timestamp_at,
        channel_flags=direction,
        cltv_expiry_delta=40,
        htlc_minimum_msat=1,
        fee_base_msat=1,
        fee_proportional_millionths=1,
        htlc_maximum_msat=10**9,
    )


def channel_announcement(scid: int) -> msgs.ChannelAnnouncement:
    point = curve.pubkey_from_secret(b"\x07" * 32)
    return msgs.ChannelAnnouncement(
        node_signature_1=bytes(64),
        node_signature_2=bytes(64),
        bitcoin_signature_1=bytes(64),
        bitcoin_signature_2=bytes(64),
        features=b"",
        chain_hash=REGTEST.chain_hash,
        short_channel_id=ShortChannelId(scid),
        node_id_1=NodeId(point),
        node_id_2=NodeId(point),
        bitcoin_key_1=point,
        bitcoin_key_2=point,
    )


def node_announcement(number: int, timestamp_at: int = 1_000) -> msgs.NodeAnnouncement:
    return msgs.NodeAnnouncement(
        signature=bytes(64),
        features=Features(),
        timestamp_at=timestamp_at,
        node_id=NodeId(b"\x02" + bytes((number,)) * 32),
        rgb_color=bytes(3),
        alias=bytes(32),
    )


FILTER_ALL = msgs.GossipTimestampFilter(
    chain_hash=REGTEST.chain_hash, first_timestamp_at=0, timestamp_range_seconds=0xFFFFFFFF
)


class Stranger:
    """A peer that is only a BOLT 8 end: it says whatever bytes it is told to, and hears whatever comes."""

    def __init__(self, node: Node, secret: bytes = b"\x63" * 32) -> None:
        self.node = node
        self.socket = Socket()
        self.id = NodeId(curve.pubkey_from_secret(secret))
        self.encryptor = PeerChannelEncryptor.new_outbound(
            node.id, b"\x64" * 32, partial(curve.ecdh, secret), self.id
        )
        node.peers.new_inbound_connection(self.socket, None)
        node.peers.read_event(self.socket, self.encryptor.get_act_one())
        self.send_raw(self.encryptor.process_act_two(self.take()))

    def take(self) -> bytes:
        said = bytes(self.socket.wire)
        self.socket.wire.clear()
        return said

    def send_raw(self, data: bytes) -> None:
        self.node.peers.read_event(self.socket, data)

    def send(self, message: Message | bytes) -> None:
        raw = message if isinstance(message, bytes) else encode_message(message)
        self.send_raw(self.encryptor.encrypt_message(raw))

    def hear(self) -> list[Message]:
        """Decrypt all that has come since the last call."""
        said, heard = self.take(), []
        while said:
            length = self.encryptor.decrypt_length_header(said[:18]) + 16
            message = msgs.decode_message(self.encryptor.decrypt_message(said[18 : 18 + length]))
            assert not isinstance(message, msgs.UnknownMessage)
            heard.append(message)
            said = said[18 + length :]
        return heard

    def greet(self) -> Stranger:
        self.send(msgs.Init(features=Features([9, 12, 14])))
        self.hear()
        assert self.id in self.node.channels.connected
        return self


# --- connecting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("chunk", [1, 17, 5_000])
def test_connect_in_pieces_of_any_size(seed: int, chunk: int) -> None:
    pair = connected(seed=seed, chunk=chunk)
    (init, inbound), (other_init, other_inbound) = pair.a.channels.inits[0], pair.b.channels.inits[0]
    assert (inbound, other_inbound) == (False, True)
    assert init.networks == other_init.networks == (REGTEST.chain_hash,)
    assert init.all_features.supports(Feature.GOSSIP_QUERIES)


@given(
    st.integers(0, 2**32), st.integers(1, 3_000), st.lists(st.sampled_from([ADD, UPDATE_FEE]), max_size=12)
)
@settings(max_examples=25)
def test_messages_arrive_whole_and_in_order(seed: int, chunk: int, messages: list[Message]) -> None:
    pair = connected(seed=seed, chunk=chunk)
    pair.a.say(pair.b, *messages)
    pair.b.say(pair.a, *messages)
    pair.exchange()
    assert pair.b.heard() == messages
    assert pair.a.heard() == messages


def test_a_thousand_messages_across_key_rotations() -> None:
    pair = connected(chunk=4_096)
    pair.a.say(pair.b, *[UPDATE_FEE] * 1_200)
    pair.exchange()
    assert pair.b.heard() == [UPDATE_FEE] * 1_200


def test_init_tells_an_inbound_peer_its_public_address() -> None:
    node = Node(2)
    for host, told in (("8.8.8.8", True), ("192.168.1.1", False), ("2001:4860:4860::8888", True)):
        kind = AddressKind.IPV6 if ":" in host else AddressKind.IPV4
        address = SocketAddress(kind, host, 4_000)
        stranger = Stranger.__new__(Stranger)
        stranger.node, stranger.socket = node, Socket()
        secret = b"\x55" * 32
        stranger.encryptor = PeerChannelEncryptor.new_outbound(
            node.id, b"\x64" * 32, partial(curve.ecdh, secret), NodeId(curve.pubkey_from_secret(secret))
        )
        node.peers.new_inbound_connection(stranger.socket, address)
        stranger.send_raw(stranger.encryptor.get_act_one())
        stranger.send_raw(stranger.encryptor.process_act_two(stranger.take()))
        (init,) = stranger.hear()
        assert isinstance(init, msgs.Init)
        assert init.remote_addr == (address.encode() if told else None)
        node.peers.socket_disconnected(stranger.socket)


def test_wrong_node_id_is_found_out() -> None:
    a, b, other = Node(1), Node(2), Node(3)
    pair = ConnectionPair(a, b)
    a.peers.socket_disconnected(pair.socket_a)
    pair.socket_a = Socket()
    pair.socket_a.wire += a.peers.new_outbound_connection(other.id, pair.socket_a, None)
    pair.exchange()
    assert pair.socket_b.is_closed()
    assert not b.peers.list_peers()


def test_refuses_itself() -> None:
    node = Node(1)
    with pytest.raises(APIError):
        node.peers.new_outbound_connection(node.id, Socket(), None)
    stranger = Stranger(node, secret=node.keys.secret)
    assert stranger.socket.is_closed()


def test_a_socket_is_registered_once() -> None:
    node, socket = Node(1), Socket()
    node.peers.new_inbound_connection(socket, None)
    with pytest.raises(APIError):
        node.peers.new_inbound_connection(socket, None)


@pytest.mark.parametrize("act_length", [50, 116])
def test_garbage_in_the_handshake(act_length: int) -> None:
    node, socket = Node(1), Socket()
    node.peers.new_inbound_connection(socket, None)
    node.peers.read_event(socket, b"\x00" * act_length)
    assert socket.is_closed()
    assert not socket.wire


def test_handshake_times_out() -> None:
    node, socket = Node(1), Socket()
    node.peers.new_inbound_connection(socket, None)
    for _ in range(peer_handler.HANDSHAKE_TIMEOUT_TICKS):
        assert not socket.is_closed()
        node.peers.timer_tick_occurred()
    assert socket.is_closed()
    # Late bytes of a socket that is forgotten do no harm.
    assert node.peers.read_event(socket, b"late") is True
    node.peers.write_buffer_space_avail(socket)
    node.peers.socket_disconnected(socket)


def test_init_times_out() -> None:
    stranger = Stranger(Node(1))
    for _ in range(peer_handler.HANDSHAKE_TIMEOUT_TICKS):
        stranger.node.peers.timer_tick_occurred()
    assert stranger.socket.is_closed()
    assert stranger.node.channels.inits == []


def test_second_connection_is_refused_while_the_first_lives() -> None:
    pair = connected()
    again = ConnectionPair(pair.a, pair.b, seed=1)
    again.exchange()
    assert again.socket_a.is_closed()
    assert again.socket_b.is_closed()
    assert not pair.socket_a.is_closed()
    assert pair.a.is_connected(pair.b)


def test_second_connection_replaces_a_dead_first() -> None:
    pair = connected()
    # The old connection hangs: nothing is carried any more, and both ends have pinged in vain.
    for _ in range(peer_handler.PING_INTERVAL_TICKS + 1):
        pair.a.peers.timer_tick_occurred()
        pair.b.peers.timer_tick_occurred()
    again = ConnectionPair(pair.a, pair.b, seed=1).connect()
    assert pair.socket_a.is_closed()
    assert pair.socket_b.is_closed()
    again.a.say(again.b, UPDATE_FEE)
    again.exchange()
    assert again.b.heard() == [UPDATE_FEE]


# --- init -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("init", "words"),
    [
        (msgs.Init(features=Features([100])), "bit 100"),
        (msgs.Init(features=Features(), global_features=Features([200])), "bit 200"),
        # Known, but nothing that we offer.
        (msgs.Init(features=Features([28])), "dual_fund"),
        (msgs.Init(features=Features([51])), "scid_alias"),
        (msgs.Init(features=Features([17])), "payment_secret"),
        (msgs.Init(features=Features(), networks=(MAINNET.chain_hash,)), "common chain"),
    ],
)
def test_init_that_is_refused(init: msgs.Init, words: str) -> None:
    stranger = Stranger(Node(1))
    stranger.send(init)
    assert stranger.socket.is_closed()
    ours, warning = stranger.hear()
    assert isinstance(ours, msgs.Init)
    assert isinstance(warning, msgs.Warning_)
    assert words in warning.text
    assert stranger.node.channels.inits == []


@pytest.mark.parametrize(
    "init",
    [
        msgs.Init(features=Features([101, 2_001])),
        msgs.Init(features=Features([0, 8, 12, 14, 44])),
        msgs.Init(features=Features(), networks=(MAINNET.chain_hash, REGTEST.chain_hash)),
    ],
)
def test_init_that_is_accepted(init: msgs.Init) -> None:
    stranger = Stranger(Node(1))
    stranger.send(init)
    assert stranger.node.channels.connected == [stranger.id]


def test_what_we_require_they_must_offer() -> None:
    node = Node(1)
    node.channels.features = Features.of(required=(Feature.ANCHORS,))
    stranger = Stranger(node)
    stranger.send(msgs.Init(features=Features([9])))
    assert stranger.socket.is_closed()
    assert stranger.node.channels.inits == []


@pytest.mark.parametrize("message", [UPDATE_FEE, msgs.Ping(num_pong_bytes=1), b"\x80\x01"])
def test_nothing_comes_before_init(message: Message | bytes) -> None:
    stranger = Stranger(Node(1))
    stranger.send(message)
    assert stranger.socket.is_closed()
    # BOLT 1: nothing but init leaves before the other's init has come.
    assert [type(said) for said in stranger.hear()] == [msgs.Init]
    assert stranger.node.heard() == []


def test_nothing_leaves_before_their_init() -> None:
    stranger = Stranger(Node(1))
    stranger.hear()
    node = stranger.node
    node.channels.events = [
        HandleError(stranger.id, ErrorAction.SEND_WARNING, "early"),
        SendMessage(stranger.id, UPDATE_FEE),
        BroadcastMessage(channel_update(1)),
    ]
    node.peers.process_events()
    node.peers.timer_tick_occurred()
    assert stranger.hear() == []


def test_second_init() -> None:
    stranger = Stranger(Node(1)).greet()
    stranger.send(msgs.Init(features=Features()))
    assert stranger.socket.is_closed()
    assert stranger.node.channels.connected == []


def test_a_handler_may_refuse_a_peer() -> None:
    node = Node(1)
    node.channels.refuse = PeerError("No room.", warn_only=False)
    stranger = Stranger(node)
    stranger.send(msgs.Init(features=Features()))
    assert stranger.hear()[1] == msgs.Error(channel_id=ALL_CHANNELS, data=b"No room.")
    assert stranger.socket.is_closed()
    assert node.channels.connected == node.routes.connected == []


# --- messages that break rules --------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw", [b"\x00", b"", b"\x00\x26", b"\x00\x26" + bytes(33), b"\x00\x86" + bytes(36) + b"\x00\x00"]
)
def test_malformed_message(raw: bytes) -> None:
    stranger = Stranger(Node(1)).greet()
    stranger.send(raw)
    assert stranger.socket.is_closed()
    if len(raw) > 1:
        assert [type(said) for said in stranger.hear()] == [msgs.Warning_]
    assert stranger.node.channels.connected == []


def test_unknown_types() -> None:
    stranger = Stranger(Node(1)).greet()
    stranger.send(b"\x80\x01whatever")
    stranger.send(msgs.StartBatch(channel_id=CHANNEL_ID, batch_size=2))
    stranger.send(msgs.OnionMessage(path_key=stranger.id, onion_routing_packet=b""))
    stranger.send(msgs.PeerStorage(blob=b""))
    assert not stranger.socket.is_closed()
    assert stranger.hear() == []
    stranger.send(b"\x80\x02whatever")
    assert stranger.socket.is_closed()
    assert [type(said) for said in stranger.hear()] == [msgs.Warning_]


def test_even_message_of_a_feature_that_was_not_negotiated() -> None:
    stranger = Stranger(Node(1)).greet()
    stranger.send(msgs.Stfu(channel_id=CHANNEL_ID, initiator=True))
    assert stranger.socket.is_closed()


def test_changed_ciphertext() -> None:
    stranger = Stranger(Node(1)).greet()
    sealed = bytearray(stranger.encryptor.encrypt_message(encode_message(UPDATE_FEE)))
    sealed[-1] ^= 1
    stranger.send_raw(bytes(sealed))
    assert stranger.socket.is_closed()
    assert stranger.node.heard() == []


def test_nothing_is_taken_after_a_disconnect() -> None:
    stranger = Stranger(Node(1)).greet()
    pieces = [stranger.encryptor.encrypt_message(raw) for raw in (b"\x80\x02", encode_message(UPDATE_FEE))]
    stranger.send_raw(b"".join(pieces))
    assert stranger.socket.is_closed()
    assert stranger.node.heard() == []


@pytest.mark.parametrize(
    ("raised", "said", "closes"),
    [
        (PeerError("Tut."), msgs.Warning_(data=b"Tut."), True),
        (PeerError("Tut.", disconnect=False), msgs.Warning_(data=b"Tut."), False),
        (PeerError("No.", warn_only=False), msgs.Error(channel_id=ALL_CHANNELS, data=b"No."), True),
        (ChannelError("Bad fee."), msgs.Error(channel_id=CHANNEL_ID, data=b"Bad fee."), False),
        (
            ChannelError("Bad fee.", channel_id=ChannelId(b"\x05" * 32)),
            msgs.Error(channel_id=ChannelId(b"\x05" * 32), data=b"Bad fee."),
            False,
        ),
    ],
)
def test_what_handlers_raise(raised: Exception, said: Message, closes: bool) -> None:
    stranger = Stranger(Node(1)).greet()
    stranger.node.channels.raises[msgs.UpdateFee] = raised
    stranger.send(UPDATE_FEE)
    assert stranger.hear() == [said]
    assert stranger.socket.is_closed() == closes
    assert (stranger.id in stranger.node.channels.connected) != closes


def test_a_handler_that_cannot_decode() -> None:
    stranger = Stranger(Node(1)).greet()
    stranger.node.channels.raises[msgs.UpdateFee] = DecodeError("inner")
    stranger.send(UPDATE_FEE)
    assert [type(said) for said in stranger.hear()] == [msgs.Warning_]
    assert stranger.socket.is_closed()


def test_errors_and_warnings_of_the_peer() -> None:
    stranger = Stranger(Node(1)).greet()
    node = stranger.node
    stranger.send(msgs.Warning_(data=b"slow \x1b[0m down"))
    assert node.heard() == []
    assert "slow .[0m down" in node.log
    assert node.peers.list_peers()[0].last_warning == "slow .[0m down"
    error = msgs.Error(channel_id=CHANNEL_ID, data=b"broken")
    stranger.send(error)
    assert node.heard() == [error]
    assert not stranger.socket.is_closed()
    stranger.send(msgs.Error(channel_id=ALL_CHANNELS, data=b"all broken"))
    assert node.heard()[-1] == msgs.Error(channel_id=ALL_CHANNELS, data=b"all broken")
    assert stranger.socket.is_closed()
    assert node.channels.connected == []


@pytest.mark.parametrize("action", ErrorAction)
def test_handle_error_events(action: ErrorAction) -> None:
    stranger = Stranger(Node(1)).greet()
    stranger.node.complain(HandleError(stranger.id, action, "why", CHANNEL_ID))
    heard = [type(said) for said in stranger.hear()]
    expected = {"WARNING": [msgs.Warning_], "ERROR": [msgs.Error]}
    assert heard == next((kinds for name, kinds in expected.items() if name in action.name), [])
    assert stranger.socket.is_closed() == ("DISCONNECT" in action.name)


def test_disconnecting() -> None:
    pair = connected()
    pair.a.peers.disconnect_by_node_id(pair.b.id)
    pair.exchange()
    assert not pair.a.is_connected(pair.b)
    assert not pair.b.is_connected(pair.a)
    pair.a.peers.disconnect_by_node_id(pair.b.id)
    pair.a.say(pair.b, UPDATE_FEE)
    again = ConnectionPair(pair.a, pair.b).connect()
    again.a.peers.disconnect_all_peers()
    again.exchange()
    assert not again.b.is_connected(again.a)


# --- ping and pong --------------------------------------------------------------------------------


def test_pings_keep_a_connection_alive() -> None:
    pair = connected()
    pair.tick(60)
    assert pair.a.is_connected(pair.b)
    assert pair.b.is_connected(pair.a)


def test_ping_without_pong_disconnects() -> None:
    stranger = Stranger(Node(1)).greet()
    for _ in range(peer_handler.PING_INTERVAL_TICKS + peer_handler.PONG_TIMEOUT_TICKS - 1):
        stranger.node.peers.timer_tick_occurred()
    assert not stranger.socket.is_closed()
    # A pong of a size that was not asked for is no answer.
    stranger.send(msgs.Pong(byteslen=3))
    stranger.node.peers.timer_tick_occurred()
    for _ in range(peer_handler.PONG_TIMEOUT_TICKS):
        stranger.node.peers.timer_tick_occurred()
    assert stranger.socket.is_closed()
    assert stranger.node.channels.connected == []
    assert msgs.Ping in [type(said) for said in stranger.hear()]


def test_messages_prolong_the_wait_for_a_pong_but_not_for_ever() -> None:
    stranger = Stranger(Node(1)).greet()
    ticks = 0
    while not stranger.socket.is_closed():
        stranger.node.peers.timer_tick_occurred()
        if not stranger.socket.is_closed():
            stranger.send(UPDATE_FEE)
        ticks += 1
    assert ticks == peer_handler.PING_INTERVAL_TICKS + peer_handler.PONG_TIMEOUT_TICKS_WHILE_RECEIVING


def test_pings_are_answered_within_limits() -> None:
    stranger = Stranger(Node(1)).greet()
    stranger.send(msgs.Ping(num_pong_bytes=100))
    assert stranger.hear() == [msgs.Pong(byteslen=100)]
    stranger.send(msgs.Ping(num_pong_bytes=65_531))
    assert stranger.hear() == [msgs.Pong(byteslen=65_531)]
    stranger.send(msgs.Ping(num_pong_bytes=65_532))
    assert stranger.hear() == []
    for _ in range(1_000):
        stranger.send(msgs.Ping(num_pong_bytes=0))
        stranger.send(msgs.Pong(byteslen=9))
    assert len(stranger.hear()) == peer_handler.PONGS_PER_TICK - 2
    stranger.node.peers.timer_tick_occurred()
    stranger.hear()
    stranger.send(msgs.Ping(num_pong_bytes=7))
    assert stranger.hear() == [msgs.Pong(byteslen=7)]


# --- back-pressure and gossip ---------------------------------------------------------------------


@pytest.mark.parametrize("room", [1, 100, 3_000])
def test_sockets_that_take_little(room: int) -> None:
    pair = connected(chunk=200, room=room)
    pair.a.say(pair.b, *[ADD] * 20)
    pair.exchange()
    assert pair.b.heard() == [ADD] * 20


def test_reading_pauses_while_the_peer_does_not_take_answers() -> None:
    stranger = Stranger(Node(1)).greet()
    node = stranger.node
    stranger.socket.room = 0
    node.channels.events = [SendMessage(stranger.id, ADD)] * 900
    node.peers.process_events()
    ping = stranger.encryptor.encrypt_message(encode_message(msgs.Ping(num_pong_bytes=1)))
    stranger.socket.paused = node.peers.read_event(stranger.socket, ping)
    assert stranger.socket.is_paused()
    stranger.socket.room = 1 << 30
    node.peers.write_buffer_space_avail(stranger.socket)
    assert not stranger.socket.is_paused()
    assert len(stranger.hear()) == 901


def test_a_peer_that_takes_nothing_is_disconnected() -> None:
    stranger = Stranger(Node(1)).greet()
    stranger.socket.room = 0
    stranger.node.channels.events = [SendMessage(stranger.id, ADD)] * 12_000
    stranger.node.peers.process_events()
    assert stranger.socket.is_closed()
    assert stranger.node.channels.connected == []


def test_gossip_is_dropped_first() -> None:
    stranger = Stranger(Node(1)).greet()
    stranger.socket.room = 0
    for scid in range(3_000):
        stranger.node.broadcast(channel_update(scid))
    stranger.node.channels.events = [SendMessage(stranger.id, UPDATE_FEE)]
    stranger.node.peers.process_events()
    stranger.socket.room = 1 << 30
    stranger.node.peers.write_buffer_space_avail(stranger.socket)
    heard = stranger.hear()
    gossip = [said for said in heard if isinstance(said, msgs.ChannelUpdate)]
    assert UPDATE_FEE in heard
    assert 500 < len(gossip) < 1_500


def test_gossip_backlog_stops_reading_from_those_who_send_gossip() -> None:
    node = Node(1)
    gossiper, other = Stranger(node).greet(), Stranger(node, b"\x65" * 32).greet()
    node.routes.backlogged = True
    update = gossiper.encryptor.encrypt_message(encode_message(channel_update(1)))
    gossiper.socket.paused = node.peers.read_event(gossiper.socket, update)
    fee = other.encryptor.encrypt_message(encode_message(UPDATE_FEE))
    other.socket.paused = node.peers.read_event(other.socket, fee)
    assert gossiper.socket.is_paused()
    assert not other.socket.is_paused()
    node.routes.backlogged = False
    node.peers.process_events()
    assert not gossiper.socket.is_paused()


def gossip_heard(stranger: Stranger) -> list[Message]:
    return [said for said in stranger.hear() if not isinstance(said, msgs.Ping)]


def minute(*strangers: Stranger) -> None:
    """Let a minute pass in which all answer pings."""
    for _ in range(peer_handler.RELAY_INTERVAL_TICKS):
        strangers[0].node.peers.timer_tick_occurred()
        for stranger in strangers:
            stranger.send(msgs.Pong(byteslen=0))


def test_news_is_relayed_to_those_who_asked() -> None:
    node = Node(1)
    source, reader = Stranger(node).greet(), Stranger(node, b"\x65" * 32).greet()
    deaf, late = Stranger(node, b"\x66" * 32).greet(), Stranger(node, b"\x67" * 32).greet()
    reader.send(FILTER_ALL)
    source.send(FILTER_ALL)
    late.send(
        msgs.GossipTimestampFilter(
            chain_hash=REGTEST.chain_hash, first_timestamp_at=2_000, timestamp_range_seconds=10
        )
    )
    # The announcement goes right before its update, the node last; a superseded update not at all.
    for message in (
        node_announcement(5), channel_update(9, 900), channel_announcement(9),
        channel_announcement(10), channel_update(9, 1_000),
    ):  # fmt: skip
        source.send(message)
    minute(reader, source, deaf, late)
    assert gossip_heard(reader) == [channel_announcement(9), channel_update(9, 1_000), node_announcement(5)]
    assert gossip_heard(source) == gossip_heard(deaf) == gossip_heard(late) == []
    source.send(channel_update(10, 2_005, direction=1))
    minute(reader, source, deaf, late)
    expected = [channel_announcement(10), channel_update(10, 2_005, direction=1)]
    assert gossip_heard(reader) == gossip_heard(late) == expected
    node.routes.news = False
    source.send(channel_update(10, 2_006))
    minute(reader, source, deaf, late)
    assert gossip_heard(reader) == []


def test_our_own_gossip_goes_to_everybody() -> None:
    stranger = Stranger(Node(1)).greet()
    stranger.node.broadcast(channel_update(1))
    assert stranger.hear() == [channel_update(1)]


def test_a_filter_starts_the_backfill() -> None:
    node = Node(1)
    for scid in range(0, 3_000, 3):
        updates = (channel_update(scid, 1_000 + scid), channel_update(scid, 5, direction=1))
        node.routes.channels[ShortChannelId(scid)] = (channel_announcement(scid), *updates)
    node.routes.nodes = {n.node_id: n for n in (node_announcement(1), node_announcement(2, 2_000))}
    stranger = Stranger(node).greet()
    stranger.send(
        msgs.GossipTimestampFilter(
            chain_hash=REGTEST.chain_hash, first_timestamp_at=1_600, timestamp_range_seconds=10_000
        )
    )
    heard: list[Message] = []
    for _ in range(10):
        node.peers.process_events()
        heard += stranger.hear()
    expected: list[Message] = []
    for scid in range(600, 3_000, 3):
        expected += [channel_announcement(scid), channel_update(scid, 1_000 + scid)]
    assert heard == [*expected, node_announcement(2, 2_000)]


def test_answers_are_made_as_the_socket_drains() -> None:
    stranger = Stranger(Node(1)).greet()
    node = stranger.node
    node.routes.replies.extend(channel_announcement(scid) for scid in range(2_000))
    stranger.socket.room = 1_000
    node.peers.process_events()
    assert len(node.routes.replies) > 1_500
    stranger.socket.room = 1 << 30
    node.peers.write_buffer_space_avail(stranger.socket)
    assert not node.routes.replies
    assert len(stranger.hear()) == 2_000


def test_queries_reach_the_route_handler() -> None:
    stranger = Stranger(Node(1)).greet()
    queries: list[Message] = [
        msgs.QueryChannelRange(chain_hash=REGTEST.chain_hash, first_block_height=0, number_of_blocks=5),
        msgs.QueryShortChannelIds(chain_hash=REGTEST.chain_hash, short_channel_ids=()),
        msgs.ReplyShortChannelIdsEnd(chain_hash=REGTEST.chain_hash, full_information=True),
        msgs.ReplyChannelRange(
            chain_hash=REGTEST.chain_hash,
            first_block_height=0,
            number_of_blocks=5,
            sync_complete=True,
            short_channel_ids=(),
        ),
    ]
    for query in queries:
        stranger.send(query)
    assert stranger.node.routes.heard == queries


@given(st.lists(st.binary(max_size=200), max_size=6), st.integers(0, 2**32))
@settings(max_examples=40)
def test_noise_after_the_handshake(messages: list[bytes], seed: int) -> None:
    stranger = Stranger(Node(1)).greet()
    for raw in messages:
        if not stranger.socket.is_closed():
            stranger.send(raw)


@given(st.binary(max_size=400))
@settings(max_examples=40)
def test_noise_instead_of_a_handshake(noise: bytes) -> None:
    node, socket = Node(1), Socket()
    node.peers.new_inbound_connection(socket, None)
    if noise:
        node.peers.read_event(socket, noise)
    assert node.heard() == []
