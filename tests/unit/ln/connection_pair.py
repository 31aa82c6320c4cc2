"""Two `PeerManager`s joined in memory: every message is really encrypted, and cut at random boundaries.

Verbs: `connect`, `exchange` (until nothing moves), `a.say(msg)` (as if a's channels had said it), `tick`.
"""

from __future__ import annotations

from collections import deque
from random import Random

from wallet.bitcoin import curve
from wallet.bitcoin.address import REGTEST, Network
from wallet.chain.interfaces import LogLevel
from wallet.ln import msgs
from wallet.ln.events import BroadcastMessage, HandleError, MessageSendEvent, SendMessage
from wallet.ln.features import Feature, Features
from wallet.ln.msg_handler import ChannelGossip, RoutingMessageHandler
from wallet.ln.msgs import Init, Message
from wallet.ln.peer_handler import PeerManager
from wallet.ln.types import NodeId, ShortChannelId

DEFAULT_FEATURES = Features.of(
    required=(Feature.STATIC_REMOTE_KEY,),
    optional=(Feature.DATA_LOSS_PROTECT, Feature.VAR_ONION_OPTIN, Feature.PAYMENT_SECRET, Feature.BASIC_MPP),
)


class Keys:
    """A node key and a source of randomness that gives the same bytes each time."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.random = Random(secret)

    def get_secure_random_bytes(self) -> bytes:
        return self.random.randbytes(32)

    def get_node_id(self) -> NodeId:
        return NodeId(curve.pubkey_from_secret(self.secret))

    def ecdh(self, pubkey: bytes) -> bytes:
        return curve.ecdh(self.secret, pubkey)

    def get_inbound_payment_key(self) -> bytes:
        return bytes(32)

    def sign_invoice(self, digest: bytes) -> bytes:
        return curve.sign_recoverable(digest, self.secret)

    def sign_gossip_message(self, digest: bytes) -> bytes:
        return curve.sign_ecdsa(digest, self.secret)


class Log:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, level: LogLevel, message: str, *args: object) -> None:
        self.lines.append(f"{level.name} {message % args}")

    def __contains__(self, text: str) -> bool:
        return any(text in line for line in self.lines)


class Channels:
    """A `ChannelMessageHandler` that writes down what it hears, and raises where it is told to."""

    def __init__(self) -> None:
        self.heard: list[tuple[NodeId, Message]] = []
        self.connected: list[NodeId] = []
        self.inits: list[tuple[Init, bool]] = []
        self.events: list[MessageSendEvent] = []
        self.features = DEFAULT_FEATURES
        self.raises: dict[type[Message], Exception] = {}
        self.refuse: Exception | None = None

    def provided_node_features(self) -> Features:
        return self.features

    def provided_init_features(self, their_node_id: NodeId) -> Features:
        return self.features

    def peer_connected(self, their_node_id: NodeId, init: Init, inbound: bool) -> None:
        self.connected.append(their_node_id)
        self.inits.append((init, inbound))
        if self.refuse is not None:
            raise self.refuse

    def peer_disconnected(self, their_node_id: NodeId) -> None:
        self.connected.remove(their_node_id)

    def get_and_clear_pending_msg_events(self) -> list[MessageSendEvent]:
        events, self.events = self.events, []
        return events

    def hear(self, their_node_id: NodeId, msg: Message) -> None:
        self.heard.append((their_node_id, msg))
        if type(msg) in self.raises:
            raise self.raises[type(msg)]

    def handle_open_channel(self, their_node_id: NodeId, msg: msgs.OpenChannel) -> None:
        self.hear(their_node_id, msg)

    def handle_accept_channel(self, their_node_id: NodeId, msg: msgs.AcceptChannel) -> None:
        self.hear(their_node_id, msg)

    def handle_funding_created(self, their_node_id: NodeId, msg: msgs.FundingCreated) -> None:
        self.hear(their_node_id, msg)

    def handle_funding_signed(self, their_node_id: NodeId, msg: msgs.FundingSigned) -> None:
        self.hear(their_node_id, msg)

    def handle_channel_ready(self, their_node_id: NodeId, msg: msgs.ChannelReady) -> None:
        self.hear(their_node_id, msg)

    def handle_shutdown(self, their_node_id: NodeId, msg: msgs.Shutdown) -> None:
        self.hear(their_node_id, msg)

    def handle_closing_signed(self, their_node_id: NodeId, msg: msgs.ClosingSigned) -> None:
        self.hear(their_node_id, msg)

    def handle_update_add_htlc(self, their_node_id: NodeId, msg: msgs.UpdateAddHtlc) -> None:
        self.hear(their_node_id, msg)

    def handle_update_fulfill_htlc(self, their_node_id: NodeId, msg: msgs.UpdateFulfillHtlc) -> None:
        self.hear(their_node_id, msg)

    def handle_update_fail_htlc(self, their_node_id: NodeId, msg: msgs.UpdateFailHtlc) -> None:
        self.hear(their_node_id, msg)

    def handle_update_fail_malformed_htlc(
        self, their_node_id: NodeId, msg: msgs.UpdateFailMalformedHtlc
    ) -> None:
        self.hear(their_node_id, msg)

    def handle_commitment_signed(self, their_node_id: NodeId, msg: msgs.CommitmentSigned) -> None:
        self.hear(their_node_id, msg)

    def handle_revoke_and_ack(self, their_node_id: NodeId, msg: msgs.RevokeAndAck) -> None:
        self.hear(their_node_id, msg)

    def handle_update_fee(self, their_node_id: NodeId, msg: msgs.UpdateFee) -> None:
        self.hear(their_node_id, msg)

    def handle_channel_reestablish(self, their_node_id: NodeId, msg: msgs.ChannelReestablish) -> None:
        self.hear(their_node_id, msg)

    def handle_announcement_signatures(self, their_node_id: NodeId, msg: msgs.AnnouncementSignatures) -> None:
        self.hear(their_node_id, msg)

    def handle_channel_update(self, their_node_id: NodeId, msg: msgs.ChannelUpdate) -> None:
        self.hear(their_node_id, msg)

    def handle_error(self, their_node_id: NodeId, msg: msgs.Error) -> None:
        self.hear(their_node_id, msg)


class Routes:
    """A `RoutingMessageHandler` over a list of channels; every announcement is news to it."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.connected: list[NodeId] = []
        self.events: list[MessageSendEvent] = []
        self.channels: dict[ShortChannelId, ChannelGossip] = {}
        self.nodes: dict[NodeId, msgs.NodeAnnouncement] = {}
        self.replies: deque[Message] = deque()
        self.news = True
        self.backlogged = False
        self.features = Features.of(optional=(Feature.GOSSIP_QUERIES,))

    def provided_node_features(self) -> Features:
        return self.features

    def provided_init_features(self, their_node_id: NodeId) -> Features:
        return self.features

    def peer_connected(self, their_node_id: NodeId, init: Init, inbound: bool) -> None:
        self.connected.append(their_node_id)

    def peer_disconnected(self, their_node_id: NodeId) -> None:
        self.connected.remove(their_node_id)

    def get_and_clear_pending_msg_events(self) -> list[MessageSendEvent]:
        events, self.events = self.events, []
        return events

    def handle_node_announcement(self, their_node_id: NodeId | None, msg: msgs.NodeAnnouncement) -> bool:
        self.heard.append(msg)
        return self.news

    def handle_channel_announcement(
        self, their_node_id: NodeId | None, msg: msgs.ChannelAnnouncement
    ) -> bool:
        self.heard.append(msg)
        return self.news

    def handle_channel_update(self, their_node_id: NodeId | None, msg: msgs.ChannelUpdate) -> bool:
        self.heard.append(msg)
        return self.news

    def get_next_channel_announcement(self, start: ShortChannelId, wanted: range) -> ChannelGossip | None:
        scid = min((scid for scid in self.channels if scid >= start), default=None)
        return None if scid is None else self.channels[scid]

    def get_next_node_announcement(self, start: NodeId | None, wanted: range) -> msgs.NodeAnnouncement | None:
        node_id = min((node for node in self.nodes if start is None or node > start), default=None)
        return None if node_id is None else self.nodes[node_id]

    def handle_reply_channel_range(self, their_node_id: NodeId, msg: msgs.ReplyChannelRange) -> None:
        self.heard.append(msg)

    def handle_reply_short_channel_ids_end(
        self, their_node_id: NodeId, msg: msgs.ReplyShortChannelIdsEnd
    ) -> None:
        self.heard.append(msg)

    def handle_query_channel_range(self, their_node_id: NodeId, msg: msgs.QueryChannelRange) -> None:
        self.heard.append(msg)

    def handle_query_short_channel_ids(self, their_node_id: NodeId, msg: msgs.QueryShortChannelIds) -> None:
        self.heard.append(msg)

    def get_next_query_reply(self, their_node_id: NodeId) -> Message | None:
        return self.replies.popleft() if self.replies else None

    def timer_tick_occurred(self) -> None:
        pass

    def processing_queue_high(self) -> bool:
        return self.backlogged


class Socket:
    """One end of a connection. What was taken from `PeerManager` waits in `wire` until it is carried over.

    Attributes:
        room: how many bytes are taken before the socket is full.
        paused: `PeerManager` asked for no more reads.
    """

    def __init__(self, room: int = 1 << 30) -> None:
        self.wire = bytearray()
        self.room = room
        self._closed = False
        self.paused = False

    def is_closed(self) -> bool:
        return self._closed

    def is_paused(self) -> bool:
        return self.paused

    def send_data(self, data: bytes, resume_read: bool) -> int:
        assert not self._closed, "a closed socket was written to"
        if resume_read:
            self.paused = False
        taken = min(len(data), max(0, self.room - len(self.wire)))
        self.wire += data[:taken]
        return taken

    def disconnect_socket(self) -> None:
        assert not self._closed, "a socket was closed twice"
        self._closed = True


class Node:
    """A `PeerManager` with handlers that only listen; `gossip` may be a real one."""

    def __init__(
        self, number: int, network: Network = REGTEST, gossip: RoutingMessageHandler | None = None
    ) -> None:
        self.keys = Keys(bytes((number,)) * 32)
        self.id = self.keys.get_node_id()
        self.channels = Channels()
        self.routes = Routes()
        self.log = Log()
        self.peers: PeerManager[Socket] = PeerManager(
            message_handler=self.channels,
            route_handler=self.routes if gossip is None else gossip,
            msg_events=self.channels,
            keys_manager=self.keys,
            logger=self.log,
            network=network,
        )

    def is_connected(self, other: Node) -> bool:
        connected = other.id in [peer.node_id for peer in self.peers.list_peers()]
        assert (other.id in self.channels.connected) == connected
        return connected

    def say(self, other: Node, *messages: Message) -> None:
        self.channels.events += [SendMessage(other.id, message) for message in messages]
        self.peers.process_events()

    def broadcast(self, message: Message) -> None:
        self.channels.events.append(BroadcastMessage(message))
        self.peers.process_events()

    def complain(self, error: HandleError) -> None:
        self.channels.events.append(error)
        self.peers.process_events()

    def heard(self, kind: type[Message] | None = None) -> list[Message]:
        messages = [*(message for _, message in self.channels.heard), *self.routes.heard]
        return [message for message in messages if kind is None or type(message) is kind]


class ConnectionPair:
    """One connection from `a` to `b`, both real ends.

    Attributes:
        chunk: the largest piece in which bytes are carried over; each piece is of random length up to it.
    """

    def __init__(self, a: Node, b: Node, *, seed: int = 0, chunk: int = 100, room: int = 1 << 30) -> None:
        self.a, self.b = a, b
        self.random = Random(seed)
        self.chunk = chunk
        self.socket_a, self.socket_b = Socket(room), Socket(room)
        b.peers.new_inbound_connection(self.socket_b, None)
        self.socket_a.wire += a.peers.new_outbound_connection(b.id, self.socket_a, None)

    def connect(self) -> ConnectionPair:
        self.exchange()
        assert self.a.is_connected(self.b)
        assert self.b.is_connected(self.a)
        return self

    def carry(self, sender: Node, out: Socket, receiver: Node, into: Socket) -> bool:
        """Carry one piece; False when there was nothing to carry or nobody to take it."""
        if not out.wire or into.paused:
            return False
        length = self.random.randint(1, self.chunk)
        piece = bytes(out.wire[:length])
        del out.wire[:length]
        if not into.is_closed():
            into.paused = receiver.peers.read_event(into, piece)
        if not out.is_closed():
            sender.peers.write_buffer_space_avail(out)
        return True

    def exchange(self) -> None:
        """Carry pieces both ways until nothing moves, and pass a closed end on to the other."""
        moved = True
        while moved:
            moved = self.carry(self.a, self.socket_a, self.b, self.socket_b)
            moved |= self.carry(self.b, self.socket_b, self.a, self.socket_a)
        for mine, other, node in (
            (self.socket_a, self.socket_b, self.b),
            (self.socket_b, self.socket_a, self.a),
        ):
            if mine.is_closed() and not mine.wire and not other.is_closed():
                node.peers.socket_disconnected(other)
                other.disconnect_socket()

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.a.peers.timer_tick_occurred()
            self.b.peers.timer_tick_occurred()
            self.exchange()


def connected(seed: int = 0, chunk: int = 100, room: int = 1 << 30) -> ConnectionPair:
    return ConnectionPair(Node(1), Node(2), seed=seed, chunk=chunk, room=room).connect()
