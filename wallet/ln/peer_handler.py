"""`PeerManager`: between sockets that carry bytes and handlers that take messages.

Theory of operation. The node's network loop owns the sockets and calls in with what they bring; `PeerManager`
owns a BOLT 8 end per socket, decrypts, decodes, checks and hands each message to one handler. Handlers answer
by events, which `process_events` collects, encrypts and gives to the sockets. Nothing here waits, and nothing
here is called by two threads at a time: the caller holds the core's lock.

The caller calls `process_events` after every entry into the core whose batch is durable, and
`timer_tick_occurred` every ten seconds. Where a socket must be closed, `SocketDescriptor.disconnect_socket`
is called, and everything here about it is forgotten first; later calls that name it do nothing.

What a peer can make us keep is bounded. Input: one message and what one read brought. Output: gossip is
dropped (or not yet made) above `OUTBOUND_BUFFER_SIZE_LIMIT_DROP_GOSSIP`; reading pauses above
`OUTBOUND_BUFFER_LIMIT_READ_PAUSE`; a peer that lets more than `OUTBOUND_BUFFER_SIZE_LIMIT_DISCONNECT` pile
up is disconnected. Answers to gossip queries, and the backfill of a gossip filter, are made only as its
socket drains. News of a channel or a node that come too often are held back, the newest of each
(`RelayLimit`); what we say ourselves never is.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final, Generic, Protocol, TypeAlias, TypeVar, assert_never

from wallet.bitcoin import curve
from wallet.bitcoin.address import Network
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.chain.interfaces import Logger, LogLevel
from wallet.i18n import _
from wallet.ln.events import (
    BroadcastMessage,
    ErrorAction,
    HandleError,
    MessageSendEvent,
    MessageSendEventsProvider,
    SendMessage,
)
from wallet.ln.features import Feature, FeatureContext, Features, feature_name
from wallet.ln.msg_handler import (
    ChannelMessageHandler,
    CustomMessageHandler,
    OnionMessageHandler,
    PeerStorageHandler,
    RoutingMessageHandler,
    SocketDescriptor,
)
from wallet.ln.msgs import (
    ALL_CHANNELS,
    AcceptChannel,
    AddressKind,
    AnnouncementSignatures,
    ChannelAnnouncement,
    ChannelReady,
    ChannelReestablish,
    ChannelUpdate,
    ClosingComplete,
    ClosingSig,
    ClosingSigned,
    CommitmentSigned,
    Error,
    FundingCreated,
    FundingSigned,
    GossipTimestampFilter,
    Init,
    LspsMessage,
    Message,
    NodeAnnouncement,
    OnionMessage,
    OpenChannel,
    PeerStorage,
    PeerStorageRetrieval,
    Ping,
    Pong,
    QueryChannelRange,
    QueryShortChannelIds,
    ReplyChannelRange,
    ReplyShortChannelIdsEnd,
    RevokeAndAck,
    Shutdown,
    SocketAddress,
    StartBatch,
    Stfu,
    TxAbort,
    UnknownMessage,
    UpdateAddHtlc,
    UpdateFailHtlc,
    UpdateFailMalformedHtlc,
    UpdateFee,
    UpdateFulfillHtlc,
    Warning_,
    decode_message,
    encode_addresses,
    encode_message,
)
from wallet.ln.peer_channel_encryptor import (
    ACT_ONE_LENGTH,
    ACT_THREE_LENGTH,
    ACT_TWO_LENGTH,
    LENGTH_HEADER_LENGTH,
    MAC_LENGTH,
    PeerChannelEncryptor,
)
from wallet.ln.relay_limit import RelayLimit
from wallet.ln.sign import EntropySource, NodeSigner
from wallet.ln.types import ChannelError, ChannelId, NodeId, PeerError, ShortChannelId

__all__ = ["PeerDetails", "PeerManager", "PeerManagerKeys"]

Endpoint: TypeAlias = SocketAddress | tuple[str, int]
"""Where a peer is: typed, or as sockets say it."""

OUTBOUND_BUFFER_LIMIT_READ_PAUSE: Final = 1 << 20
"""Bytes that wait for a peer before we stop reading from it. Well above what re-establishing a full channel
takes (966 HTLCs of 1.5 kB each at most), so that honest work alone does not make two ends stop reading."""
OUTBOUND_BUFFER_SIZE_LIMIT_DROP_GOSSIP: Final = 128 * 1024
"""rust-lightning's figure: two messages of the largest size, or some hundred announcements."""
OUTBOUND_BUFFER_SIZE_LIMIT_DISCONNECT: Final = 16 << 20
SEND_CHUNK_LENGTH: Final = 64 * 1024

HANDSHAKE_TIMEOUT_TICKS: Final = 3
"""Handshake and `init` together: 20 to 30 seconds, enough for a slow Tor circuit."""
PING_INTERVAL_TICKS: Final = 3
PONG_TIMEOUT_TICKS: Final = 4
"""Ticks without any message after a ping."""
PONG_TIMEOUT_TICKS_WHILE_RECEIVING: Final = 24
"""Ticks without the pong while other messages arrive: it may stand behind a long gossip answer."""
PONGS_PER_TICK: Final = 32
"""BOLT 1, ping: limited precautions against flooding, with latitude for delays."""
COMPLAINTS_PER_TICK: Final = 512
"""Errors and warnings within ten seconds, the peer's and our answers to it: above it, nothing good comes any more. A
peer that has lost hundreds of channels names each of them once."""
LOGGED_COMPLAINTS_PER_TICK: Final = 16
"""What of that is logged: a peer may not fill our disk with its words."""
MAX_BATCH_SIZE: Final = 20
"""BOLT 2, start_batch: a larger one is there to make us queue."""
RELAY_INTERVAL_TICKS: Final = 6
"""BOLT 7, rebroadcasting: gossip of others is flushed once every 60 seconds."""
RELAY_QUEUE_LIMIT: Final = 4_096
RELAY_HELD_LIMIT: Final = 1_024
"""News that was told too often lately, and waits for its turn; what comes above it is not passed on."""
BACKFILL_SCANS_PER_PUMP: Final = 512
"""Channels looked at for one peer in one go, when its filter lets few of them through."""
PING_PADDING_LENGTH: Final = 64
MAX_PONG_LENGTH: Final = 65_531
"""BOLT 1, ping: a longer one cannot be answered, and means that no answer is wanted."""

# BOLT 7, gossip_timestamp_filter: as first timestamp it means that none is wanted.
_NO_GOSSIP_AT: Final = 0xFFFF_FFFF

# BOLT 9, ASSUMED: a peer may require these though nobody lists them any more.
_ASSUMED: Final = Features.of(
    optional=(
        Feature.DATA_LOSS_PROTECT,
        Feature.VAR_ONION_OPTIN,
        Feature.STATIC_REMOTE_KEY,
        Feature.PAYMENT_SECRET,
        Feature.CHANNEL_TYPE,
    )
)


_D = TypeVar("_D", bound=SocketDescriptor)
_K = TypeVar("_K", bound=Hashable)


class PeerManagerKeys(NodeSigner, EntropySource, Protocol):
    """What `PeerManager` needs of the keys: the node's key, and randomness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerDetails:
    """A connected peer, as it is shown.

    Attributes:
        features: what its `init` said.
        remote_address: where it is connected from or to, where known.
        inbound: it connected to us.
        last_warning: the last `warning` or `error` it sent, made printable; untrusted words.
    """

    node_id: NodeId
    features: Features
    remote_address: SocketAddress | None
    inbound: bool
    last_warning: str | None


class _Backfill(Enum):
    """How far the gossip that a peer asked for has been sent to it."""

    NOT_ASKED = auto()
    CHANNELS = auto()
    NODES = auto()
    DONE = auto()


class _Peer(Generic[_D]):
    """One connection."""

    __slots__ = (
        "awaiting_pong_length",
        "backfill",
        "backfill_channel",
        "backfill_node",
        "complaints_this_tick",
        "descriptor",
        "encryptor",
        "expected_length",
        "gossip",
        "gossip_filter",
        "gossip_size",
        "got_message_since_tick",
        "handlers_know",
        "inbound",
        "init",
        "init_came",
        "input",
        "last_warning",
        "message_length",
        "outbound",
        "pongs_this_tick",
        "read_paused",
        "received_gossip_since_backlog",
        "remote_address",
        "ticks",
        "ticks_awaiting_pong",
        "ticks_silent",
    )

    def __init__(
        self,
        descriptor: _D,
        encryptor: PeerChannelEncryptor,
        remote_address: SocketAddress | None,
        *,
        inbound: bool,
    ) -> None:
        self.descriptor = descriptor
        self.encryptor = encryptor
        self.remote_address = remote_address
        self.inbound = inbound
        self.init_came = False
        # Set once the peer's init is accepted.
        self.init: Init | None = None
        self.handlers_know = False
        self.last_warning: str | None = None

        self.input = bytearray()
        self.expected_length = ACT_ONE_LENGTH if inbound else ACT_TWO_LENGTH
        # None while a handshake act or a length header is expected.
        self.message_length: int | None = None

        self.outbound = bytearray()
        # Encoded, not yet encrypted: gossip waits until nothing else does.
        self.gossip: deque[bytes] = deque()
        self.gossip_size = 0
        self.read_paused = False
        self.received_gossip_since_backlog = False

        self.gossip_filter: GossipTimestampFilter | None = None
        self.backfill = _Backfill.NOT_ASKED
        self.backfill_channel = ShortChannelId(0)
        self.backfill_node: NodeId | None = None

        self.ticks = 0
        self.awaiting_pong_length: int | None = None
        self.ticks_awaiting_pong = 0
        self.ticks_silent = 0
        self.got_message_since_tick = False
        self.pongs_this_tick = 0
        self.complaints_this_tick = 0

    @property
    def their_node_id(self) -> NodeId | None:
        return self.encryptor.their_node_id

    @property
    def name(self) -> str:
        node_id = self.their_node_id
        return "a peer without a name yet" if node_id is None else f"peer {node_id.hex()}"

    def wants(self, timestamp_at: int) -> bool:
        """Tell whether the peer asked for gossip of this time. BOLT 7, gossip_timestamp_filter."""
        wanted = self.gossip_filter
        if wanted is None:
            return False
        return 0 <= timestamp_at - wanted.first_timestamp_at < wanted.timestamp_range_seconds

    @property
    def wanted_times(self) -> range:
        """The times of which it asked for gossip."""
        wanted = self.gossip_filter
        if wanted is None:
            return range(0)
        return range(wanted.first_timestamp_at, wanted.first_timestamp_at + wanted.timestamp_range_seconds)


class _Disconnect(Exception):
    """Ends a connection; raised and caught in this module only.

    Attributes:
        reason: for the log.
        farewell: what the peer is told first.
    """

    def __init__(self, reason: str, farewell: Message | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.farewell = farewell


class _RelayEntry:
    """Gossip of others that waits for the next flush."""

    __slots__ = ("encoded", "origin", "timestamp_at")

    def __init__(self, encoded: bytes, origin: NodeId | None, timestamp_at: int) -> None:
        self.encoded = encoded
        self.origin = origin
        self.timestamp_at = timestamp_at


class PeerManager(Generic[_D]):
    """All connections to peers. See the module's docstring for who calls what and when."""

    def __init__(
        self,
        *,
        message_handler: ChannelMessageHandler,
        route_handler: RoutingMessageHandler,
        onion_message_handler: OnionMessageHandler | None = None,
        peer_storage_handler: PeerStorageHandler | None = None,
        custom_message_handler: CustomMessageHandler | None = None,
        msg_events: MessageSendEventsProvider,
        keys_manager: PeerManagerKeys,
        logger: Logger,
        network: Network,
    ) -> None:
        self._message_handler = message_handler
        self._route_handler = route_handler
        self._onion_message_handler = onion_message_handler
        self._peer_storage_handler = peer_storage_handler
        self._custom_message_handler = custom_message_handler
        self._msg_events = msg_events
        self._keys_manager = keys_manager
        self._logger = logger
        self._network = network
        self._our_node_id = keys_manager.get_node_id()
        self._peers: dict[_D, _Peer[_D]] = {}
        # Those whose handshake is done.
        self._by_node_id: dict[NodeId, _Peer[_D]] = {}
        self._announcements_to_relay: dict[ShortChannelId, _RelayEntry] = {}
        self._updates_to_relay: dict[tuple[ShortChannelId, int], _RelayEntry] = {}
        self._nodes_to_relay: dict[NodeId, _RelayEntry] = {}
        self._relay_limit = RelayLimit()
        # The newest of those that have no token left.
        self._held_updates: dict[tuple[ShortChannelId, int], _RelayEntry] = {}
        self._held_nodes: dict[NodeId, _RelayEntry] = {}
        self._ticks = 0
        self._peers_changed = False

    # --- connections ------------------------------------------------------------------------------

    def new_outbound_connection(
        self, their_node_id: NodeId, descriptor: _D, remote_address: Endpoint | None = None
    ) -> bytes:
        """Register a socket that we opened; return the bytes to send on it first, before any others."""
        if their_node_id == self._our_node_id:
            raise APIError(_("This node cannot connect to itself."))
        self._refuse_known(descriptor)
        encryptor = PeerChannelEncryptor.new_outbound(
            their_node_id, self._ephemeral_secret(), self._keys_manager.ecdh, self._our_node_id
        )
        self._peers[descriptor] = _Peer(descriptor, encryptor, _socket_address(remote_address), inbound=False)
        return encryptor.get_act_one()

    def new_inbound_connection(self, descriptor: _D, remote_address: Endpoint | None = None) -> None:
        """Register a socket that a peer opened."""
        self._refuse_known(descriptor)
        encryptor = PeerChannelEncryptor.new_inbound(
            self._ephemeral_secret(), self._keys_manager.ecdh, self._our_node_id
        )
        self._peers[descriptor] = _Peer(descriptor, encryptor, _socket_address(remote_address), inbound=True)

    def _refuse_known(self, descriptor: _D) -> None:
        if descriptor in self._peers:
            raise APIError("This socket is registered already.")

    def _ephemeral_secret(self) -> bytes:
        while not curve.is_valid_secret(secret := self._keys_manager.get_secure_random_bytes()):
            pass  # Once in 2^127 calls.
        return secret

    def socket_disconnected(self, descriptor: _D) -> None:
        """Hear that a socket is gone. Harmless for one that is not known any more."""
        peer = self._peers.get(descriptor)
        if peer is not None:
            self._forget(peer, "the socket was closed")

    def disconnect_by_node_id(self, node_id: NodeId) -> None:
        """Hang up, where connected."""
        peer = self._by_node_id.get(node_id)
        if peer is not None:
            self._disconnect(peer, _Disconnect("we were asked to"))

    def disconnect_all_peers(self) -> None:
        """Hang up on everybody, those in the handshake included."""
        for peer in list(self._peers.values()):
            self._disconnect(peer, _Disconnect("we were asked to disconnect from everybody"))

    def list_peers(self) -> list[PeerDetails]:
        """List those whose `init` was accepted."""
        return [
            PeerDetails(
                node_id=node_id,
                features=peer.init.all_features,
                remote_address=peer.remote_address,
                inbound=peer.inbound,
                last_warning=peer.last_warning,
            )
            for node_id, peer in self._by_node_id.items()
            if peer.init is not None
        ]

    def socket_of(self, node_id: NodeId) -> _D | None:
        """The connection that a message to this node would go over now."""
        peer = self._by_node_id.get(node_id)
        return None if peer is None else peer.descriptor

    def take_peers_changed(self) -> bool:
        """Tell whether a peer came or went since the last call."""
        changed, self._peers_changed = self._peers_changed, False
        return changed

    def _forget(self, peer: _Peer[_D], reason: str) -> None:
        """Drop everything about a connection, then tell the handlers; the socket is the caller's."""
        if self._peers.pop(peer.descriptor, None) is None:
            return
        node_id = peer.their_node_id
        self._logger.log(LogLevel.DEBUG, "Disconnected from %s: %s", peer.name, reason)
        if node_id is not None and self._by_node_id.get(node_id) is peer:
            del self._by_node_id[node_id]
        if node_id is not None and peer.handlers_know:
            peer.handlers_know = False
            self._peers_changed = True
            self._route_handler.peer_disconnected(node_id)
            self._message_handler.peer_disconnected(node_id)
            if self._onion_message_handler is not None:
                self._onion_message_handler.peer_disconnected(node_id)
            if self._custom_message_handler is not None:
                self._custom_message_handler.peer_disconnected(node_id)

    def _disconnect(self, peer: _Peer[_D], why: _Disconnect) -> None:
        if peer.descriptor not in self._peers:
            return
        # BOLT 1, init: nothing but init may be sent before the peer's init has come.
        if why.farewell is not None and peer.init_came:
            self._encrypt(peer, why.farewell)
            self._send_outbound(peer)
        self._forget(peer, why.reason)
        peer.descriptor.disconnect_socket()

    # --- bytes in ---------------------------------------------------------------------------------

    def read_event(self, descriptor: _D, data: bytes) -> bool:
        """Take what a socket brought; True asks the caller to stop reading until `send_data` resumes it."""
        peer = self._peers.get(descriptor)
        if peer is None:
            # It was disconnected while these bytes were on their way.
            return True
        try:
            self._read(peer, data)
        except _Disconnect as why:
            self._disconnect(peer, why)
            return True
        self._pump(peer)
        if descriptor not in self._peers:
            return True
        peer.read_paused = not self._should_read(peer)
        return peer.read_paused

    def _read(self, peer: _Peer[_D], data: bytes) -> None:
        peer.input += data
        position = 0
        buffer = peer.input
        try:
            while len(buffer) - position >= peer.expected_length:
                piece = bytes(buffer[position : position + peer.expected_length])
                position += peer.expected_length
                try:
                    self._take(peer, piece)
                except DecodeError as error:
                    # The handshake failed, or a MAC: nothing that is said can be trusted or understood.
                    raise _Disconnect(str(error)) from error
                if peer.descriptor not in self._peers:
                    return
        finally:
            del buffer[:position]

    def _take(self, peer: _Peer[_D], piece: bytes) -> None:
        """Take one act, one length header or one message, whichever was expected."""
        encryptor = peer.encryptor
        if not encryptor.is_ready_for_encryption:
            self._take_act(peer, piece)
        elif peer.message_length is None:
            peer.message_length = encryptor.decrypt_length_header(piece)
            # BOLT 1: a message has at least its type.
            if peer.message_length < 2:
                raise _Disconnect("a message was too short to have a type")
            peer.expected_length = peer.message_length + MAC_LENGTH
        else:
            raw = encryptor.decrypt_message(piece)
            peer.message_length = None
            peer.expected_length = LENGTH_HEADER_LENGTH
            peer.got_message_since_tick = True
            self._take_message(peer, raw)

    def _take_act(self, peer: _Peer[_D], act: bytes) -> None:
        encryptor = peer.encryptor
        if not peer.inbound:
            act_three = encryptor.process_act_two(act)
            self._admit(peer)
            peer.outbound += act_three
        elif peer.expected_length == ACT_ONE_LENGTH:
            peer.outbound += encryptor.process_act_one(act)
            peer.expected_length = ACT_THREE_LENGTH
            return
        else:
            encryptor.process_act_three(act)
            self._admit(peer)
        peer.expected_length = LENGTH_HEADER_LENGTH
        self._send_init(peer)

    def _admit(self, peer: _Peer[_D]) -> None:
        """Let a peer whose key is proven in, unless it is connected already."""
        node_id = peer.their_node_id
        if node_id is None:
            raise _Disconnect("the handshake ended without a node id")
        if node_id == self._our_node_id:
            raise _Disconnect("this node connected to itself")
        older = self._by_node_id.get(node_id)
        if older is not None:
            # BOLT 1, connection handling: a single connection per peer. The first stays, unless it looks
            # dead: it owes us a pong for a whole tick or more, and has sent nothing else since.
            if older.ticks_silent == 0:
                raise _Disconnect("the same peer is connected already")
            self._disconnect(older, _Disconnect("the peer has connected anew"))
        self._by_node_id[node_id] = peer

    # --- init -------------------------------------------------------------------------------------

    def _our_features(self, node_id: NodeId) -> Features:
        features = self._message_handler.provided_init_features(node_id)
        features |= self._route_handler.provided_init_features(node_id)
        if self._onion_message_handler is not None:
            features |= self._onion_message_handler.provided_init_features(node_id)
        if self._custom_message_handler is not None:
            features |= self._custom_message_handler.provided_init_features(node_id)
        return features

    def _send_init(self, peer: _Peer[_D]) -> None:
        node_id = peer.their_node_id
        if node_id is None:
            return
        features = self._our_features(node_id)
        # BOLT 1, init, sender: the historical field repeats the features up to bit 13 only.
        legacy = Features(features.bits & 0x3FFF)
        self._encrypt(
            peer,
            Init(
                global_features=legacy,
                features=features,
                networks=(self._network.chain_hash,),
                remote_addr=_public_descriptor(peer.remote_address) if peer.inbound else None,
            ),
        )

    def _take_init(self, peer: _Peer[_D], node_id: NodeId, init: Init) -> None:
        if peer.init is not None:
            raise PeerError("A second init came.")
        peer.init_came = True
        theirs = init.all_features
        ours = self._our_features(node_id) | _ASSUMED
        # BOLT 1, init, receiver: close on an even bit that is unknown, or known but not supported by us.
        unknown = theirs.unknown_required(FeatureContext.INIT) or theirs.required_but_not_in(ours)
        if unknown:
            names = ", ".join(map(feature_name, unknown[:16]))
            raise PeerError(f"The features {names} are required, but not supported here.")
        missing = self._our_features(node_id).required_but_not_in(theirs | _ASSUMED)
        if missing:
            raise PeerError(f"The features {', '.join(map(feature_name, missing))} are required here.")
        # BOLT 1, init, receiver: close when a feature lacks what it depends on.
        lacking = theirs.missing_dependencies(FeatureContext.INIT)
        if lacking:
            names = ", ".join(feature.name.lower() for feature in lacking)
            raise PeerError(f"The features {names} are needed by others that were set.")
        # BOLT 1, init, receiver: without a common chain there is nothing to talk about.
        if init.networks and self._network.chain_hash not in init.networks:
            raise PeerError("There is no common chain.")
        peer.init = init
        peer.ticks = 0
        self._logger.log(LogLevel.DEBUG, "Connected to %s", peer.name)
        # From here on `peer_disconnected` follows, even when one of these refuses the peer.
        peer.handlers_know = self._peers_changed = True
        self._route_handler.peer_connected(node_id, init, peer.inbound)
        self._message_handler.peer_connected(node_id, init, peer.inbound)
        if self._onion_message_handler is not None:
            self._onion_message_handler.peer_connected(node_id, init, peer.inbound)

    # --- messages in ------------------------------------------------------------------------------

    def _take_message(self, peer: _Peer[_D], raw: bytes) -> None:
        """Decode and dispatch one message; the one place that turns what handlers raise into answers."""
        node_id = peer.their_node_id
        if node_id is None:
            raise _Disconnect("a message came before the handshake was done")
        message: Message | UnknownMessage | None = None
        try:
            message = decode_message(raw)
            self._dispatch(peer, node_id, message)
        except DecodeError as error:
            text = f"Message {int.from_bytes(raw[:2], 'big')} could not be read: {error}"
            raise _Disconnect(text, Warning_(data=text.encode())) from error
        except PeerError as error:
            words = error.message.encode()
            answer: Warning_ | Error
            answer = Warning_(data=words) if error.warn_only else Error(channel_id=ALL_CHANNELS, data=words)
            # Before its init was accepted there is nothing to go on with.
            if error.disconnect or peer.init is None:
                raise _Disconnect(error.message, answer) from error
            self._complain(peer, LogLevel.INFO, "Warning %s: %s", peer.name, error.message)
            self._encrypt(peer, answer)
        except ChannelError as error:
            self._complain(peer, LogLevel.WARN, "A channel with %s failed: %s", peer.name, error.message)
            channel_id = error.channel_id if error.channel_id is not None else _channel_of(message)
            words = error.message.encode()
            # An all-zero id would fail every channel; where none is known, a warning has to do.
            if channel_id is None:
                self._encrypt(peer, Warning_(data=words))
            else:
                self._encrypt(peer, Error(channel_id=channel_id, data=words))

    def _dispatch(self, peer: _Peer[_D], node_id: NodeId, message: Message | UnknownMessage) -> None:
        # BOLT 1, init: it comes first, and once.
        if peer.init is None and not isinstance(message, Init | Error | Warning_):
            raise PeerError("A message came before init.")
        channels = self._message_handler
        match message:
            case UpdateAddHtlc():
                channels.handle_update_add_htlc(node_id, message)
            case CommitmentSigned():
                channels.handle_commitment_signed(node_id, message)
            case RevokeAndAck():
                channels.handle_revoke_and_ack(node_id, message)
            case UpdateFulfillHtlc():
                channels.handle_update_fulfill_htlc(node_id, message)
            case UpdateFailHtlc():
                channels.handle_update_fail_htlc(node_id, message)
            case ChannelUpdate():
                channels.handle_channel_update(node_id, message)
                peer.received_gossip_since_backlog = True
                if self._route_handler.handle_channel_update(node_id, message):
                    self._queue_relay(message, node_id)
            case ChannelAnnouncement():
                peer.received_gossip_since_backlog = True
                if self._route_handler.handle_channel_announcement(node_id, message):
                    self._queue_relay(message, node_id)
            case NodeAnnouncement():
                peer.received_gossip_since_backlog = True
                if self._route_handler.handle_node_announcement(node_id, message):
                    self._queue_relay(message, node_id)
            case Ping():
                self._take_ping(peer, message)
            case Pong():
                # A pong nobody asked for, or of the wrong size, means nothing.
                if peer.awaiting_pong_length == message.byteslen:
                    peer.awaiting_pong_length = None
                    peer.ticks_awaiting_pong = peer.ticks_silent = 0
            case Init():
                self._take_init(peer, node_id, message)
            case Error():
                self._take_error(peer, node_id, message)
            case Warning_():
                peer.last_warning = message.text
                self._complain(peer, LogLevel.WARN, "Warned by %s: %s", peer.name, message.text)
            case UpdateFailMalformedHtlc():
                channels.handle_update_fail_malformed_htlc(node_id, message)
            case UpdateFee():
                channels.handle_update_fee(node_id, message)
            case ChannelReestablish():
                channels.handle_channel_reestablish(node_id, message)
            case OpenChannel():
                channels.handle_open_channel(node_id, message)
            case AcceptChannel():
                channels.handle_accept_channel(node_id, message)
            case FundingCreated():
                channels.handle_funding_created(node_id, message)
            case FundingSigned():
                channels.handle_funding_signed(node_id, message)
            case ChannelReady():
                channels.handle_channel_ready(node_id, message)
            case Shutdown():
                channels.handle_shutdown(node_id, message)
            case ClosingSigned():
                channels.handle_closing_signed(node_id, message)
            case AnnouncementSignatures():
                channels.handle_announcement_signatures(node_id, message)
            case QueryChannelRange():
                self._route_handler.handle_query_channel_range(node_id, message)
            case QueryShortChannelIds():
                self._route_handler.handle_query_short_channel_ids(node_id, message)
            case ReplyChannelRange():
                self._route_handler.handle_reply_channel_range(node_id, message)
            case ReplyShortChannelIdsEnd():
                self._route_handler.handle_reply_short_channel_ids_end(node_id, message)
            case GossipTimestampFilter():
                self._take_gossip_filter(peer, message)
            case OnionMessage():
                if self._onion_message_handler is not None:
                    self._onion_message_handler.handle_onion_message(node_id, message)
            case PeerStorage():
                if self._peer_storage_handler is not None:
                    self._peer_storage_handler.handle_peer_storage(node_id, message)
            case PeerStorageRetrieval():
                if self._peer_storage_handler is not None:
                    self._peer_storage_handler.handle_peer_storage_retrieval(node_id, message)
            case LspsMessage():
                if self._custom_message_handler is not None:
                    self._custom_message_handler.handle_lsps_message(node_id, message)
            case StartBatch():
                self._take_start_batch(message)
            case Stfu() | TxAbort() | ClosingComplete() | ClosingSig():
                self._take_unsupported(message.MESSAGE_TYPE)
            case UnknownMessage():
                self._take_unsupported(message.type_number)
            case _:
                assert_never(message)

    def _take_unsupported(self, type_number: int) -> None:
        # BOLT 1, lightning message format, receiver: close on an even type, ignore an odd one.
        if type_number % 2 == 0:
            raise PeerError(f"Messages of type {type_number} are not supported here.")

    def _take_start_batch(self, batch: StartBatch) -> None:
        # BOLT 2, start_batch, receiver. Without splices what follows is taken one by one, so that nothing is queued.
        if batch.batch_size > MAX_BATCH_SIZE:
            raise PeerError(f"A batch of {batch.batch_size} messages is too large.")
        if batch.batch_size <= 1:
            raise PeerError("A batch has at least two messages.", disconnect=False)

    def _complain(self, peer: _Peer[_D], level: LogLevel, message: str, *args: object) -> None:
        """Count, and log, what is wrong between a peer and us; too much of it ends the connection."""
        peer.complaints_this_tick += 1
        if peer.complaints_this_tick <= LOGGED_COMPLAINTS_PER_TICK:
            self._logger.log(level, message, *args)
        if peer.complaints_this_tick > COMPLAINTS_PER_TICK:
            raise _Disconnect("there are too many errors and warnings")

    def _take_ping(self, peer: _Peer[_D], ping: Ping) -> None:
        # BOLT 1, ping, receiver: this size says that no answer is wanted.
        if ping.num_pong_bytes > MAX_PONG_LENGTH:
            return
        peer.pongs_this_tick += 1
        if peer.pongs_this_tick <= PONGS_PER_TICK:
            self._encrypt(peer, Pong(byteslen=ping.num_pong_bytes))

    def _take_error(self, peer: _Peer[_D], node_id: NodeId, error: Error) -> None:
        peer.last_warning = error.text
        self._complain(
            peer,
            LogLevel.WARN,
            "Error from %s for channel %s: %s",
            peer.name,
            error.channel_id.hex(),
            error.text,
        )
        if peer.handlers_know:
            self._message_handler.handle_error(node_id, error)
        # BOLT 1, error, receiver: an all-zero id is about everything; there is nothing left to talk about.
        if error.channel_id == ALL_CHANNELS:
            raise _Disconnect(f"the peer failed all channels: {error.text}")

    def _take_gossip_filter(self, peer: _Peer[_D], wanted: GossipTimestampFilter) -> None:
        if wanted.chain_hash != self._network.chain_hash:
            return
        peer.gossip_filter = wanted
        # The first filter that lets the past through starts the backfill; a later one changes what passes.
        wants_past = wanted.timestamp_range_seconds > 0 and wanted.first_timestamp_at < _NO_GOSSIP_AT
        if peer.backfill is _Backfill.NOT_ASKED and wants_past:
            peer.backfill = _Backfill.CHANNELS

    # --- gossip out -------------------------------------------------------------------------------

    def _queue_relay(
        self, message: ChannelAnnouncement | ChannelUpdate | NodeAnnouncement, origin: NodeId | None
    ) -> None:
        """Keep gossip of others for the next flush; news replaces what it supersedes."""
        queued = len(self._announcements_to_relay) + len(self._updates_to_relay) + len(self._nodes_to_relay)
        if queued >= RELAY_QUEUE_LIMIT:
            return
        encoded = encode_message(message)
        match message:
            case ChannelAnnouncement():
                entry = _RelayEntry(encoded, origin, 0)
                self._announcements_to_relay[message.short_channel_id] = entry
            case ChannelUpdate():
                # BOLT 7, channel_update: this flag keeps it between the two ends.
                if message.dont_forward:
                    return
                key = (message.short_channel_id, message.direction)
                self._updates_to_relay[key] = _RelayEntry(encoded, origin, message.timestamp_at)
            case NodeAnnouncement():
                entry = _RelayEntry(encoded, origin, message.timestamp_at)
                self._nodes_to_relay[message.node_id] = entry
            case _:
                assert_never(message)

    def _flush_relay(self) -> None:
        """Pass queued gossip on to those who asked for it. BOLT 7, rebroadcasting."""
        self._relay_limit.sweep(self._ticks // RELAY_INTERVAL_TICKS)
        announcements = self._announcements_to_relay
        batch: list[_RelayEntry] = []
        updates, self._held_updates = self._let_through(self._held_updates, self._updates_to_relay)
        for (scid, _direction), entry in updates.items():
            # BOLT 7: an announcement has the time of an update, goes before it, and not without one.
            announcement = announcements.pop(scid, None)
            if announcement is not None:
                announcement.timestamp_at = entry.timestamp_at
                batch.append(announcement)
            batch.append(entry)
        nodes, self._held_nodes = self._let_through(self._held_nodes, self._nodes_to_relay)
        batch += nodes.values()
        self._updates_to_relay = {}
        self._nodes_to_relay = {}
        if len(announcements) > RELAY_QUEUE_LIMIT // 2:
            self._announcements_to_relay = {}
        for node_id, peer in self._by_node_id.items():
            for entry in batch:
                if entry.origin != node_id and peer.wants(entry.timestamp_at):
                    self._queue_gossip(peer, entry.encoded)

    def _let_through(
        self, held: dict[_K, _RelayEntry], news: dict[_K, _RelayEntry]
    ) -> tuple[dict[_K, _RelayEntry], dict[_K, _RelayEntry]]:
        """Give what may be told now, and what is held back: the newest of what was told too often lately."""
        minute = self._ticks // RELAY_INTERVAL_TICKS
        passing: dict[_K, _RelayEntry] = {}
        staying: dict[_K, _RelayEntry] = {}
        for key, entry in (held | news).items():
            if self._relay_limit.take(key, minute):
                passing[key] = entry
            elif len(staying) < RELAY_HELD_LIMIT:
                staying[key] = entry
        return passing, staying

    def _queue_gossip(self, peer: _Peer[_D], encoded: bytes) -> None:
        """Queue gossip for one peer, or drop it where too much waits."""
        if peer.gossip_size + len(peer.outbound) > OUTBOUND_BUFFER_SIZE_LIMIT_DROP_GOSSIP:
            return
        peer.gossip.append(encoded)
        peer.gossip_size += len(encoded)

    def _fill_with_gossip(self, peer: _Peer[_D]) -> None:
        """Move gossip into an empty outbound buffer: what was relayed, then answers, then backfill."""
        node_id = peer.their_node_id
        if node_id is None or peer.init is None:
            return
        while peer.gossip and len(peer.outbound) < SEND_CHUNK_LENGTH:
            encoded = peer.gossip.popleft()
            peer.gossip_size -= len(encoded)
            peer.outbound += peer.encryptor.encrypt_message(encoded)
        while len(peer.outbound) < SEND_CHUNK_LENGTH:
            reply = self._route_handler.get_next_query_reply(node_id)
            if reply is None:
                break
            self._encrypt(peer, reply)
        for _scan in range(BACKFILL_SCANS_PER_PUMP):
            if len(peer.outbound) >= SEND_CHUNK_LENGTH or not self._backfill_one(peer):
                break

    def _backfill_one(self, peer: _Peer[_D]) -> bool:
        """Look at the next channel or node for the backfill; False when there is none, or none yet."""
        if peer.backfill is _Backfill.CHANNELS:
            found = self._route_handler.get_next_channel_announcement(
                peer.backfill_channel, peer.wanted_times
            )
            if found is None:
                peer.backfill = _Backfill.NODES
                return True
            if not isinstance(found, tuple):
                peer.backfill_channel = found
                return False
            announcement, *updates = found
            peer.backfill_channel = ShortChannelId(announcement.short_channel_id + 1)
            wanted = [update for update in updates if update and peer.wants(update.timestamp_at)]
            if wanted:
                self._encrypt(peer, announcement)
            for update in wanted:
                self._encrypt(peer, update)
            return True
        if peer.backfill is _Backfill.NODES:
            node = self._route_handler.get_next_node_announcement(peer.backfill_node, peer.wanted_times)
            if node is None:
                peer.backfill = _Backfill.DONE
                return False
            if not isinstance(node, NodeAnnouncement):
                peer.backfill_node = node
                return False
            peer.backfill_node = node.node_id
            if peer.wants(node.timestamp_at):
                self._encrypt(peer, node)
            return True
        return False

    # --- bytes out --------------------------------------------------------------------------------

    def _encrypt(self, peer: _Peer[_D], message: Message) -> None:
        """Append a message to what waits for the peer."""
        peer.outbound += peer.encryptor.encrypt_message(encode_message(message))

    def _should_read(self, peer: _Peer[_D]) -> bool:
        if len(peer.outbound) > OUTBOUND_BUFFER_LIMIT_READ_PAUSE:
            return False
        if not self._route_handler.processing_queue_high():
            peer.received_gossip_since_backlog = False
        return not peer.received_gossip_since_backlog or not self._route_handler.processing_queue_high()

    def _send_outbound(self, peer: _Peer[_D]) -> bool:
        """Offer what waits to the socket; True when it took all of it."""
        while peer.outbound:
            chunk = bytes(peer.outbound[:SEND_CHUNK_LENGTH])
            sent = peer.descriptor.send_data(chunk, False)
            if not 0 <= sent <= len(chunk):
                raise APIError(f"A socket was given {len(chunk)} bytes and claims to have taken {sent}.")
            del peer.outbound[:sent]
            if sent < len(chunk):
                return False
        return True

    def _pump(self, peer: _Peer[_D]) -> None:
        """Send what can be sent, make gossip while the socket takes it, and resume reading where possible."""
        if peer.encryptor.is_ready_for_encryption or peer.outbound:
            while self._send_outbound(peer):
                self._fill_with_gossip(peer)
                if not peer.outbound:
                    break
        if len(peer.outbound) > OUTBOUND_BUFFER_SIZE_LIMIT_DISCONNECT:
            self._disconnect(peer, _Disconnect("the peer does not take what it is sent"))
        elif peer.read_paused and self._should_read(peer):
            peer.read_paused = False
            peer.descriptor.send_data(b"", True)

    def write_buffer_space_avail(self, descriptor: _D) -> None:
        """Hear that a socket that took less than it was offered has room again."""
        peer = self._peers.get(descriptor)
        if peer is not None:
            self._pump(peer)

    # --- events -----------------------------------------------------------------------------------

    def process_events(self) -> None:
        """Send what the handlers want to be sent. Call it once what it rests on is durable."""
        for event in self._msg_events.get_and_clear_pending_msg_events():
            self._process_event(event, ours=True)
        for event in self._route_handler.get_and_clear_pending_msg_events():
            self._process_event(event, ours=False)
        if self._onion_message_handler is not None:
            for event in self._onion_message_handler.get_and_clear_pending_msg_events():
                self._process_event(event, ours=False)
        for peer in list(self._peers.values()):
            if peer.descriptor in self._peers:
                self._pump(peer)

    def _process_event(self, event: MessageSendEvent, *, ours: bool) -> None:
        match event:
            case SendMessage(node_id=node_id, msg=message):
                peer = self._by_node_id.get(node_id)
                if peer is not None and peer.init is not None:
                    self._encrypt(peer, message)
            case BroadcastMessage(msg=message, origin=origin):
                if isinstance(message, ChannelAnnouncement | ChannelUpdate | NodeAnnouncement) and not ours:
                    self._queue_relay(message, origin)
                    return
                self._tell_graph(message)
                self._gossip_to_all(message)
            case HandleError():
                self._process_handle_error(event)
            case _:
                assert_never(event)

    def broadcast_node_announcement(
        self, *, rgb_color: bytes, alias: bytes, addresses: tuple[SocketAddress, ...], at: int
    ) -> bool:
        """Sign who we are and tell every peer; False, and nothing is told, unless it is news to our own graph.

        Without a public channel the graph does not know us, and nobody else would take it either.

        Args:
            rgb_color: 3 bytes.
            alias: 32 bytes, zeros behind the name.
            at: seconds since 1970; above that of the announcement before.
        """
        features = self._message_handler.provided_node_features()
        features |= self._route_handler.provided_node_features()
        if self._onion_message_handler is not None:
            features |= self._onion_message_handler.provided_node_features()
        if self._custom_message_handler is not None:
            features |= self._custom_message_handler.provided_node_features()
        unsigned = NodeAnnouncement(
            signature=bytes(64),
            features=features,
            timestamp_at=at,
            node_id=self._our_node_id,
            rgb_color=rgb_color,
            alias=alias,
            address_data=encode_addresses(addresses),
        )
        made = replace(unsigned, signature=self._keys_manager.sign_gossip_message(unsigned.digest()))
        if not self._tell_graph(made):
            return False
        self._gossip_to_all(made)
        return True

    def _gossip_to_all(self, message: Message) -> None:
        # BOLT 7: what we say ourselves goes to everybody, whatever their filters.
        encoded = encode_message(message)
        for peer in self._by_node_id.values():
            if peer.init is not None:
                self._queue_gossip(peer, encoded)

    def _tell_graph(self, message: Message) -> bool:
        """Let our own graph hear what we announce; True when it is news to it."""
        try:
            if isinstance(message, ChannelAnnouncement):
                return self._route_handler.handle_channel_announcement(None, message)
            if isinstance(message, ChannelUpdate):
                return self._route_handler.handle_channel_update(None, message)
            if isinstance(message, NodeAnnouncement):
                return self._route_handler.handle_node_announcement(None, message)
        except (PeerError, DecodeError) as error:
            self._logger.log(LogLevel.ERROR, "The graph refuses our own announcement: %s", error)
        return False

    def _process_handle_error(self, event: HandleError) -> None:
        peer = self._by_node_id.get(event.node_id)
        if peer is None or peer.init is None:
            return
        channel_id = ALL_CHANNELS if event.channel_id is None else event.channel_id
        words = event.message.encode()
        warning = Warning_(channel_id=channel_id, data=words)
        error = Error(channel_id=channel_id, data=words)
        try:
            self._complain(peer, LogLevel.INFO, "%s with %s: %s", event.action.name, peer.name, event.message)
        except _Disconnect as why:
            self._disconnect(peer, why)
            return
        match event.action:
            case ErrorAction.IGNORE:
                pass
            case ErrorAction.SEND_WARNING:
                self._encrypt(peer, warning)
            case ErrorAction.SEND_ERROR:
                self._encrypt(peer, error)
            case ErrorAction.SEND_WARNING_AND_DISCONNECT:
                self._disconnect(peer, _Disconnect(event.message, warning))
            case ErrorAction.SEND_ERROR_AND_DISCONNECT:
                self._disconnect(peer, _Disconnect(event.message, error))
            case ErrorAction.DISCONNECT:
                self._disconnect(peer, _Disconnect(event.message))
            case _:
                assert_never(event.action)

    # --- time -------------------------------------------------------------------------------------

    def timer_tick_occurred(self) -> None:
        """Count ten seconds: time-outs, pings, and every minute the gossip of others."""
        self._ticks += 1
        self._route_handler.timer_tick_occurred()
        if self._ticks % RELAY_INTERVAL_TICKS == 0:
            self._flush_relay()
        for peer in list(self._peers.values()):
            if peer.descriptor not in self._peers:
                continue
            try:
                self._tick(peer)
            except _Disconnect as why:
                self._disconnect(peer, why)
                continue
            self._pump(peer)

    def _tick(self, peer: _Peer[_D]) -> None:
        peer.ticks += 1
        peer.pongs_this_tick = peer.complaints_this_tick = 0
        got_message, peer.got_message_since_tick = peer.got_message_since_tick, False
        if peer.init is None:
            if peer.ticks >= HANDSHAKE_TIMEOUT_TICKS:
                raise _Disconnect("the handshake took too long")
            return
        if peer.awaiting_pong_length is None:
            if peer.ticks % PING_INTERVAL_TICKS == 0:
                # BOLT 1, ping: bytes that are ignored, so that it looks like other traffic.
                peer.awaiting_pong_length = 0
                self._encrypt(peer, Ping(num_pong_bytes=0, byteslen=PING_PADDING_LENGTH))
            return
        # While we do not read, the pong cannot reach us.
        if peer.read_paused:
            return
        peer.ticks_awaiting_pong += 1
        peer.ticks_silent = 0 if got_message else peer.ticks_silent + 1
        # BOLT 1, ping: without a pong the connection may be closed; no channel fails for it.
        if (
            peer.ticks_silent >= PONG_TIMEOUT_TICKS
            or peer.ticks_awaiting_pong >= PONG_TIMEOUT_TICKS_WHILE_RECEIVING
        ):
            raise _Disconnect("the peer did not answer a ping")


def _channel_of(message: Message | UnknownMessage | None) -> ChannelId | None:
    """Name the channel that a message is about."""
    match message:
        case OpenChannel() | AcceptChannel() | FundingCreated():
            return message.temporary_channel_id
        case (
            FundingSigned()
            | ChannelReady()
            | Shutdown()
            | ClosingSigned()
            | UpdateAddHtlc()
            | UpdateFulfillHtlc()
            | UpdateFailHtlc()
            | UpdateFailMalformedHtlc()
            | CommitmentSigned()
            | RevokeAndAck()
            | UpdateFee()
            | ChannelReestablish()
            | AnnouncementSignatures()
        ):
            return message.channel_id
        case _:
            return None


def _socket_address(endpoint: Endpoint | None) -> SocketAddress | None:
    """Type an address; what is no address (a socket without one) is dropped: it is only shown."""
    if endpoint is None or isinstance(endpoint, SocketAddress):
        return endpoint
    host, port = endpoint
    try:
        return SocketAddress.parse(f"[{host}]" if ":" in host else host, default_port=port)
    except DecodeError:
        return None


def _public_descriptor(address: SocketAddress | None) -> bytes | None:
    """Give the peer its own address as we see it. BOLT 1, init: public IP addresses only."""
    if address is None or address.kind not in (AddressKind.IPV4, AddressKind.IPV6):
        return None
    return address.encode() if ipaddress.ip_address(address.host).is_global else None
