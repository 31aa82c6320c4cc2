"""`NetGraphMsgHandler`: what peers tell about the network goes into `NetworkGraph`, and out of it to peers.

Theory of operation. In: an announcement is judged in the order of cost: chain, known already, time,
signatures, and last, where a `chain.Access` is given, the funding output. That answer may come later; until
then the channel waits outside the graph with the newest updates and node announcements that belong to it.
Where `SignatureChecks` are given, signatures are verified outside the lock, many at once, and the answers come
later as well, in order: what hangs on a channel whose signatures are being verified is taken as if they were good,
and finds no channel should they turn out not to be.
When too much waits, `processing_queue_high` makes `PeerManager` stop reading from those who send gossip.
Where the network is so large that its look-ups would be an imposition on the servers, a channel is believed
first, and checked later: a few each tick, drawn at random, so that no server learns which are to be paid over.

Sync: every peer that may have gossip, up to `MAX_SYNC_PEERS`, is asked for what is new from an hour ago on
(`gossip_timestamp_filter`); the first `MAX_FULL_SYNC_PEERS` are asked as well for the ids of all channels
(`query_channel_range`), and then, in batches, for those that are missing or outdated here; by the checksums of
peers that tell them, an update that only repeats what is known is left out. The next batch is asked for when
the one before is answered and its look-ups are done. A peer that does not answer is asked for two weeks of
gossip by a filter instead.

What is passed on: news. Terms that are only signed anew are kept here, but told once in half a week; how often a
channel's news are told is limited by `PeerManager`. Answers to queries hold the newest always.

Out: answers to a peer's queries are generators; `PeerManager` pulls the next message when the socket has
room.

Who calls: `PeerManager`, under the lock; and `prune` hourly.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import partial
from typing import Final, Protocol

from wallet.bitcoin import curve, script
from wallet.bitcoin.hashes import sha256d
from wallet.bitcoin.tx import TxOut
from wallet.chain.interfaces import Access, Logger, LogLevel, UtxoAnswer, UtxoError
from wallet.ln.events import BroadcastMessage, ErrorAction, HandleError, MessageSendEvent, SendMessage
from wallet.ln.features import Feature, Features
from wallet.ln.msg_handler import ChannelGossip
from wallet.ln.msgs import (
    ChannelAnnouncement,
    ChannelUpdate,
    GossipTimestampFilter,
    Init,
    Message,
    NodeAnnouncement,
    QueryChannelRange,
    QueryShortChannelIds,
    ReplyChannelRange,
    ReplyShortChannelIdsEnd,
)
from wallet.ln.msgs.addresses import count_hostnames
from wallet.ln.routing.graph import STALE_CHANNEL_SECONDS, ChannelInfo, GraphSnapshot, NetworkGraph, NodeInfo
from wallet.ln.routing.unverified import Unverified
from wallet.ln.types import NodeId, Now, PeerError, ShortChannelId

__all__ = [
    "ChannelInfo",
    "GraphSnapshot",
    "NetGraphMsgHandler",
    "NetworkGraph",
    "NodeInfo",
    "SignatureChecks",
    "SyncProgress",
    "SyncState",
    "verify_channel_announcement",
    "verify_channel_update",
    "verify_node_announcement",
]

MAX_SYNC_PEERS: Final = 5
MAX_FULL_SYNC_PEERS: Final = 2
ONE_MORE_TICKS: Final = 360
"""Once an hour one more peer is asked for everything, in case those before have hidden some of it."""
ASK_AGAIN_TICKS: Final = 24 * ONE_MORE_TICKS
"""Where all were, one is asked again once a day: there may have been no room for what it told."""
WHOLE_LIST: Final = 8
"""A list of less than this fraction of the graph is no measure of the network. Room for made-up channels is less than
that, so that they do not make a true list look short."""
RECENT_GOSSIP_SECONDS: Final = 3_600
MAX_FUTURE_SECONDS: Final = 86_400
"""An update from further ahead would block all honest ones after it."""
SHORT_IDS_PER_QUERY: Final = 500
SHORT_IDS_PER_REPLY: Final = 8_000
"""BOLT 1: 65,535 bytes hold 8,180 ids of 8 bytes; with two timestamps each, and two checksums, a third of that."""
SUMMED_IDS_PER_REPLY: Final = 1_000
"""With checksums: making one takes some microseconds, under the lock, when it is asked for first."""
REFRESH_SECONDS: Final = STALE_CHANNEL_SECONDS // 2
"""From this age on an update that differs in its time only is asked for as well, or it would be stale here."""
KEEP_ALIVE_SECONDS: Final = STALE_CHANNEL_SECONDS // 4
"""Of updates that differ in their time only one is passed on in each such spell. Two that are passed on are less than
two spells apart, so nobody who hears of a living channel by us takes it for stale."""
MAX_CHANNELS_IN_RANGE: Final = 250_000
"""About three times what the network has ever had: a peer that lists more is lying."""
MAX_BELIEVED_CHANNELS: Final = 150_000
"""Channels in the graph from which on none is believed without a look-up: whoever has a key can make them up, and they
cost memory until their turn comes."""
MAX_BELIEVED_OF_ONE_PEER: Final = MAX_BELIEVED_CHANNELS // 2
"""Half as many again as the public network has: the first peer may tell all of it, and leaves room for others."""
MAX_BELIEVED_OF_ONE_NODE: Final = 8_192
"""Channels of a node above which no more of it are believed: twice what any public node has had. Work for a node grows
with its channels, and whoever makes them up could give them all to one."""
MAX_TELLERS: Final = 1_024
"""Peers of which it is known how many unchecked channels they told, connected still or not."""
MAX_GONE_CHANNELS: Final = 150_000
"""Places in the graph of channels that are gone, which stay until the next start: above it nothing is believed, or one
peer could have us take in made-up channels, and check them, for ever."""
MAX_CONTESTED: Final = 1_024
"""Unchecked channels that somebody contradicted, and that are looked up before others."""
MAX_KNOWN_OUTPUTS: Final = 8_192
KNOWN_OUTPUT_SECONDS: Final = 86_400
"""Of so many places, for so long, it is known what stands there instead of a channel that was made up."""
MAX_STORED_GOSSIP_LENGTH: Final = 2_048
"""Of one message. The longest of today's network has a quarter of that; one of 65 kB is made to fill our memory."""
QUERY_TIMEOUT_TICKS: Final = 6
"""About a minute."""
MAX_EXCESS_BYTES_FOR_RELAY: Final = 1_024
SIGNATURE_LENGTH: Final = 64
MAX_UNVERIFIED: Final = 4_096
"""Messages whose signatures are being verified, above which no more gossip is read: some 0.2 s of work."""
PENDING_LOOKUPS_HIGH: Final = 256
"""Look-ups under way above which no more gossip is asked for or read."""
MAX_PENDING_LOOKUPS: Final = 2_048
MAX_WAITING_NODES: Final = 1_024
CHANNELS_PER_LOOK: Final = 8_192
UNWANTED_PER_LOOK: Final = 1_024
NODES_PER_LOOK: Final = 512
"""So many are looked at in one go for something to tell a peer: a millisecond or so, under the lock."""
CHECKS_PER_TICK: Final = 5
"""Of channels that were believed first. With ticks of ten seconds, 50,000 channels take a bit more than a day."""


ALL_TIMES: Final = range(1 << 33)

_BAD_CHANNEL: Final = "A channel_announcement has a signature that is not correct."
_BAD_UPDATE: Final = "A channel_update has a signature that is not correct."
_BAD_NODE: Final = "A node_announcement has a signature that is not correct."


class SignatureChecks(Protocol):
    """Verifies signatures outside the lock."""

    def submit(self, checks: bytes, answered: Callable[[bytes], None]) -> None:
        """Take records of `curve.CHECK_LENGTH` bytes; later, under the lock and in the order of the calls, `answered`
        is told 1 for each that verifies and 0 for each other. Never calls it at once."""
        ...


def _channel_checks(msg: ChannelAnnouncement, encoded: bytes) -> bytes:
    digest = sha256d(encoded[4 * SIGNATURE_LENGTH :])
    return b"".join(
        (
            msg.node_signature_1, digest, msg.node_id_1,
            msg.node_signature_2, digest, msg.node_id_2,
            msg.bitcoin_signature_1, digest, msg.bitcoin_key_1,
            msg.bitcoin_signature_2, digest, msg.bitcoin_key_2,
        )
    )  # fmt: skip


def verify_channel_announcement(msg: ChannelAnnouncement) -> bool:
    """Check all four signatures. BOLT 7, channel_announcement."""
    digest = msg.digest()
    return curve.verify_ecdsa_many(
        (
            (msg.node_signature_1, digest, msg.node_id_1),
            (msg.node_signature_2, digest, msg.node_id_2),
            (msg.bitcoin_signature_1, digest, msg.bitcoin_key_1),
            (msg.bitcoin_signature_2, digest, msg.bitcoin_key_2),
        )
    )


def verify_channel_update(msg: ChannelUpdate, node_id: NodeId) -> bool:
    """Check the signature of the node whose direction it is."""
    return curve.verify_ecdsa(msg.signature, msg.digest(), node_id)


def verify_node_announcement(msg: NodeAnnouncement) -> bool:
    return curve.verify_ecdsa(msg.signature, msg.digest(), msg.node_id)


@dataclass(slots=True)
class _PendingChannel:
    """A channel whose funding output is being looked up.

    Attributes:
        teller: who told it first.
        updates: by direction, the newest, its signature checked.
    """

    announcement: ChannelAnnouncement
    teller: NodeId
    updates: dict[int, ChannelUpdate] = field(default_factory=dict)


class SyncState(Enum):
    """NOT_STARTED: nobody is asked. RANGES: for the ids of all channels. CHANNELS: for what is missing here.

    SIGNATURES: all of it has come, and is being verified or looked up. DONE: all that a peer listed is here.
    """

    NOT_STARTED = auto()
    RANGES = auto()
    CHANNELS = auto()
    SIGNATURES = auto()
    DONE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncProgress:
    """How far the sync of the graph is; with several peers, with the one that lists most.

    Attributes:
        known: of the channels that the peer lists, how many need not be asked for any more.
        listed: how many it lists, without those that are stale.
        signatures: messages that wait for their signatures to be verified.
        busy: peers with which it goes on.
        synced_at: when a sync ended last in this run; None before the first.
    """

    state: SyncState
    known: int
    listed: int
    signatures: int
    busy: int
    synced_at: int | None


@dataclass(slots=True)
class _PeerSync:
    """What is under way with one peer.

    Attributes:
        asks_for_times: the peer understands `query_option_flags`.
        answers: it can be asked for gossip of our chain, and has not failed to answer.
        full_sync: it was asked for all channel ids.
        awaiting_range, awaiting_ids: a query of ours is not answered in full yet.
        listed: ids that it told; `fresh`: those of them that are not stale.
        wanted: channels to query, with the flags of BOLT 7 where only part is wanted.
        asked: how many the query under way asks for.
        synced: all that it listed is here.
        ticks: since the last answer.
        replies: what answers its own queries; None is a pause, in which others have the lock.
    """

    asks_for_times: bool
    answers: bool = False
    full_sync: bool = False
    awaiting_range: bool = False
    awaiting_ids: bool = False
    listed: int = 0
    fresh: int = 0
    wanted: deque[tuple[ShortChannelId, int]] = field(default_factory=deque)
    asked: int = 0
    synced: bool = False
    ticks: int = 0
    replies: Iterator[Message | None] | None = None

    @property
    def missing(self) -> int:
        """Channels that are still to come from it."""
        return len(self.wanted) + self.asked


# BOLT 7, query_option_flags.
_WITH_TIMES: Final = 1
_WITH_CHECKSUMS: Final = 2
# BOLT 7, query_flags.
_WANT_UPDATE: Final = (0b00010, 0b00100)
_WANT_ALL: Final = 0b11111

_FEATURES: Final = Features.of(optional=(Feature.GOSSIP_QUERIES, Feature.GOSSIP_QUERIES_EX))


def _may_be_relayed(msg: NodeAnnouncement) -> bool:
    """BOLT 7, node_announcement, receiver: not passed on with more than one host name."""
    return len(msg.excess_data) <= MAX_EXCESS_BYTES_FOR_RELAY and count_hostnames(msg.address_data) <= 1


def _is_for_others(update: ChannelUpdate) -> bool:
    """BOLT 7, channel_update: not what its sender keeps between the two ends; and nothing bulky."""
    return not update.dont_forward and len(update.excess_data) <= MAX_EXCESS_BYTES_FOR_RELAY


class NetGraphMsgHandler:
    """See the module's docstring.

    Attributes:
        network_graph: what has been accepted.
    """

    def __init__(
        self,
        network_graph: NetworkGraph,
        utxo_lookup: Access | None,
        logger: Logger,
        *,
        clock: Callable[[], Now],
        draw: Callable[[], bytes] | None = None,
        signature_checks: SignatureChecks | None = None,
    ) -> None:
        """With `draw`, which gives random bytes, channels are believed first and checked later. Without
        `signature_checks`, signatures are verified at once."""
        self.network_graph = network_graph
        self._utxo_lookup = utxo_lookup
        self._logger = logger
        self._clock = clock
        self._draw = draw
        self._signature_checks = signature_checks
        self._unverified = Unverified()
        self._checking: set[ShortChannelId] = set()
        # Believed first, and told to nobody before they are checked; our own need no check.
        self._believes = utxo_lookup is not None and draw is not None
        self._own: set[ShortChannelId] = set()
        # At most so many of what a peer told are unchecked still; kept when it goes, or it would come again.
        self._told_unchecked: dict[NodeId, int] = {}
        # In the graph as it was read from its file there were so many of which it is not known who told them.
        self._shared: NetworkGraph | None = None
        self._nameless = 0
        # Two tell different nodes of them, or one has terms that the nodes we were told have not signed.
        self._contested: dict[ShortChannelId, None] = {}
        # Outputs that are there, but not of the channel that was announced, and when that was found.
        self._outputs: dict[ShortChannelId, tuple[TxOut, int]] = {}
        self._chain_hash = network_graph.network.chain_hash
        self._peers: dict[NodeId, _PeerSync] = {}
        self._pending: dict[ShortChannelId, _PendingChannel] = {}
        # Announcements of nodes that have no channel yet but one that is looked up.
        self._waiting_nodes: dict[NodeId, NodeAnnouncement] = {}
        self._pending_nodes: dict[NodeId, int] = {}
        self._events: list[MessageSendEvent] = []
        self._synced_at: int | None = None
        self._ticks = 0

    # --- peers ------------------------------------------------------------------------------------

    def provided_node_features(self) -> Features:
        return _FEATURES

    def provided_init_features(self, their_node_id: NodeId) -> Features:
        return _FEATURES

    def peer_connected(self, their_node_id: NodeId, init: Init, inbound: bool) -> None:
        features = init.all_features
        sync = _PeerSync(asks_for_times=features.supports(Feature.GOSSIP_QUERIES_EX))
        self._peers[their_node_id] = sync
        # BOLT 7, query messages: a peer without this feature is not worth asking.
        if not features.supports(Feature.GOSSIP_QUERIES):
            return
        if init.networks and self._chain_hash not in init.networks:
            return
        sync.answers = True
        if len(self._peers) <= MAX_SYNC_PEERS:
            self._send_filter(their_node_id, RECENT_GOSSIP_SECONDS)
        if self._may_ask_one_more():
            self._query_ranges(their_node_id, sync)

    def _may_ask_one_more(self) -> bool:
        """Who is done and had little to tell takes no place."""
        asked = (sync for sync in self._peers.values() if sync.full_sync)
        return sum(not sync.synced or self._has_much(sync) for sync in asked) < MAX_FULL_SYNC_PEERS

    def _has_much(self, sync: _PeerSync) -> bool:
        return sync.fresh > 0 and sync.fresh * WHOLE_LIST >= self.network_graph.channel_count

    def _query_ranges(self, node_id: NodeId, sync: _PeerSync) -> None:
        """Ask for the ids of all channels."""
        sync.full_sync = sync.awaiting_range = True
        sync.synced = False
        sync.ticks = sync.listed = sync.fresh = 0
        self._send(
            node_id,
            QueryChannelRange(
                chain_hash=self._chain_hash,
                first_block_height=0,
                number_of_blocks=0xFFFF_FFFF,
                query_option_flags=_WITH_TIMES | _WITH_CHECKSUMS if sync.asks_for_times else None,
            ),
        )

    def sync_peers(self) -> frozenset[NodeId]:
        """Connected peers that gossip can be had from: not those that are done and had little."""
        useful = (peer for peer in self._peers.items() if not peer[1].synced or self._has_much(peer[1]))
        return frozenset(node_id for node_id, sync in useful if sync.answers)

    def sync_progress(self) -> SyncProgress:
        """How far the sync is."""
        asked = [sync for sync in self._peers.values() if sync.full_sync]
        telling = [sync for sync in asked if not sync.awaiting_range]
        # A peer that has little is no measure for the network.
        best = max(telling, key=lambda sync: (sync.fresh, -sync.missing), default=None)
        if best is not None and best.synced:
            state = SyncState.DONE
        elif best is not None:
            state = SyncState.CHANNELS if best.missing else SyncState.SIGNATURES
        elif asked:
            state = SyncState.RANGES
        else:
            state = SyncState.NOT_STARTED if self._synced_at is None else SyncState.DONE
        return SyncProgress(
            state=state,
            known=0 if best is None else max(0, best.fresh - best.missing),
            listed=0 if best is None else best.fresh,
            signatures=self._unverified.messages,
            busy=sum(not sync.synced for sync in asked),
            synced_at=self._synced_at,
        )

    def peer_disconnected(self, their_node_id: NodeId) -> None:
        self._peers.pop(their_node_id, None)

    def _send(self, node_id: NodeId, message: Message) -> None:
        self._events.append(SendMessage(node_id, message))

    def _send_filter(self, node_id: NodeId, seconds_back: int) -> None:
        self._send(
            node_id,
            GossipTimestampFilter(
                chain_hash=self._chain_hash,
                first_timestamp_at=max(0, self._clock().at - seconds_back),
                timestamp_range_seconds=0xFFFF_FFFF,
            ),
        )

    def get_and_clear_pending_msg_events(self) -> list[MessageSendEvent]:
        events, self._events = self._events, []
        return events

    @property
    def has_pending_msg_events(self) -> bool:
        return bool(self._events)

    @property
    def unverified_count(self) -> int:
        """Messages whose signatures are being verified."""
        return self._unverified.messages

    def processing_queue_high(self) -> bool:
        return len(self._pending) > PENDING_LOOKUPS_HIGH or self._unverified.messages > MAX_UNVERIFIED

    def timer_tick_occurred(self) -> None:
        """Give up on queries that are not answered, and go on with those that wait for look-ups."""
        for node_id, sync in self._peers.items():
            if sync.awaiting_range or sync.awaiting_ids:
                sync.ticks += 1
                if sync.ticks >= QUERY_TIMEOUT_TICKS:
                    self._logger.log(LogLevel.DEBUG, "Peer %s does not answer queries", node_id.hex())
                    sync.awaiting_range = sync.awaiting_ids = sync.full_sync = sync.answers = False
                    sync.wanted.clear()
                    sync.asked = 0
                    self._send_filter(node_id, STALE_CHANNEL_SECONDS)
            self._query_next(node_id, sync)
        self._ask_in_their_place()
        self._ticks += 1
        if self._ticks % ONE_MORE_TICKS == 0:
            self._ask_one_more()
        self._check_some()

    def _ask_one_more(self) -> None:
        """The longest connected that was not asked for everything; where there is none, one again."""
        again = self._ticks % ASK_AGAIN_TICKS == 0
        for node_id, sync in sorted(self._peers.items(), key=lambda item: item[1].full_sync):
            if sync.answers and (not sync.full_sync or (again and sync.synced and not sync.missing)):
                self._query_ranges(node_id, sync)
                return

    def _ask_in_their_place(self) -> None:
        """Until a first sync has ended, ask others in place of those that have gone or do not answer."""
        for node_id, sync in self._peers.items():
            if self._synced_at is None and sync.answers and not sync.full_sync and self._may_ask_one_more():
                self._query_ranges(node_id, sync)

    def prune(self, now: Now) -> None:
        """Drop what is two weeks old."""
        removed = self.network_graph.remove_stale_channels_and_tracking(now.at)
        if removed:
            self._logger.log(LogLevel.DEBUG, "Pruned %d stale channels", removed)
        unchecked = self.network_graph.unchecked_count
        self._told_unchecked = {
            peer: min(told, unchecked) for peer, told in self._told_unchecked.items() if unchecked
        }
        oldest_at = now.at - KNOWN_OUTPUT_SECONDS
        self._outputs = {scid: known for scid, known in self._outputs.items() if known[1] >= oldest_at}

    # --- announcements in -------------------------------------------------------------------------

    def handle_channel_announcement(self, their_node_id: NodeId | None, msg: ChannelAnnouncement) -> bool:
        """Take in a channel; True when it is news that can be passed on at once."""
        scid = msg.short_channel_id
        # BOLT 7, channel_announcement, receiver: ignore other chains.
        if msg.chain_hash != self._chain_hash:
            return False
        graph = self.network_graph
        if their_node_id is None:
            self._own.add(scid)
            # Who is in it we know best.
            if graph.nodes_of(scid) not in (None, (msg.node_id_1, msg.node_id_2)):
                graph.forget_channel(scid)
        # BOLT 7: the first of a channel is kept. Once its output was looked up, a different one could only come from
        # leaked keys; taking neither side needs no blacklist. Before that, the first may be the one that is made up.
        if graph.is_announced(scid):
            if self._believes and graph.nodes_of(scid) != (msg.node_id_1, msg.node_id_2):
                self._contest(scid)
            return False
        if scid in self._pending or graph.was_removed(scid):
            return False
        # Ours waits for nobody: its other end tells it in the same moment, and our terms follow at once.
        if scid in self._unverified.channels and their_node_id is not None:
            return False
        if len(msg.excess_data) + len(msg.features) > MAX_STORED_GOSSIP_LENGTH:
            return False
        # BOLT 7, channel_announcement, origin: node ids ascend.
        if msg.node_id_1 >= msg.node_id_2:
            raise PeerError("A channel_announcement has its nodes in the wrong order.")
        if self._signature_checks is not None and their_node_id is not None:
            self._unverified.add_channel(msg)
            encoded = msg.encode_payload()
            self._verify_later(
                _channel_checks(msg, encoded), partial(self._channel_verified, their_node_id, msg, encoded)
            )
            return False
        if not verify_channel_announcement(msg):
            raise PeerError(_BAD_CHANNEL)
        return self._take_channel(their_node_id, msg)

    def _verify_later(self, checks: bytes, answered: Callable[[bytes], None]) -> None:
        if self._signature_checks is not None:
            self._unverified.messages += 1
            self._signature_checks.submit(checks, answered)

    def _verified(self, their_node_id: NodeId, verdicts: bytes, complaint: str) -> bool:
        """Count one message that comes back; who sent a bad signature is told, and hung up on, with a complaint."""
        self._unverified.messages -= 1
        if self._unverified.messages in (0, MAX_UNVERIFIED // 2):
            for peer_id, sync in self._peers.items():
                self._query_next(peer_id, sync)
        if 0 not in verdicts:
            return True
        if complaint:
            self._events.append(
                HandleError(their_node_id, ErrorAction.SEND_WARNING_AND_DISCONNECT, complaint)
            )
        return False

    def _channel_verified(
        self, their_node_id: NodeId, msg: ChannelAnnouncement, encoded: bytes, verdicts: bytes
    ) -> None:
        self._unverified.remove_channel(msg)
        if not self._verified(their_node_id, verdicts, _BAD_CHANNEL):
            return
        if self._take_channel(their_node_id, msg, encoded):
            self._events.append(BroadcastMessage(msg, their_node_id))

    def _take_channel(
        self, their_node_id: NodeId | None, msg: ChannelAnnouncement, encoded: bytes | None = None
    ) -> bool:
        """Go on with a channel whose signatures are good; True when it is news that can be passed on at once."""
        scid, graph = msg.short_channel_id, self.network_graph
        if graph.is_announced(scid) or scid in self._pending or graph.was_removed(scid):
            return False
        if self._utxo_lookup is None or their_node_id is None:
            self._accept_channel(msg, None, encoded)
            return len(msg.excess_data) <= MAX_EXCESS_BYTES_FOR_RELAY
        if scid in self._outputs:
            known = UtxoAnswer(scid, self._outputs[scid][0], None)
            return self._take_checked_channel(msg, known, encoded)
        if self._draw is not None:
            # BOLT 7, channel_announcement: what is not checked is not passed on.
            # One that a snapshot told counts already.
            if graph.has_channel(scid) or self._is_believed_by(their_node_id, msg):
                self._accept_channel(msg, None, encoded)
            return False
        if len(self._pending) >= MAX_PENDING_LOOKUPS:
            return False
        answer = self._utxo_lookup.get_utxo(msg.chain_hash, scid, self._utxo_answered)
        if answer is not None:
            return self._take_checked_channel(msg, answer, encoded)
        self._pending[scid] = _PendingChannel(msg, their_node_id)
        for node_id in (msg.node_id_1, msg.node_id_2):
            self._pending_nodes[node_id] = self._pending_nodes.get(node_id, 0) + 1
        return False

    def _take_checked_channel(
        self, msg: ChannelAnnouncement, answer: UtxoAnswer, encoded: bytes | None
    ) -> bool:
        capacity_sat = self._judge_utxo(msg, answer)
        if capacity_sat is None:
            return False
        self._outputs.pop(msg.short_channel_id, None)
        self._accept_channel(msg, capacity_sat, encoded)
        return len(msg.excess_data) <= MAX_EXCESS_BYTES_FOR_RELAY

    def _is_believed_by(self, their_node_id: NodeId, msg: ChannelAnnouncement) -> bool:
        """Count one more channel that a peer tells and nobody checked; False where there is no room for it."""
        graph, told = self.network_graph, self._told_unchecked
        unchecked = graph.unchecked_count
        if unchecked >= MAX_BELIEVED_CHANNELS or graph.gone_count >= MAX_GONE_CHANNELS:
            return False
        if max(map(graph.channel_count_of, (msg.node_id_1, msg.node_id_2))) >= MAX_BELIEVED_OF_ONE_NODE:
            return False
        if self._shared is not graph:
            self._shared, self._nameless = graph, unchecked
        # Who told them before a restart may be anybody, this peer too: its share is one of the places that are left.
        self._nameless = min(self._nameless, unchecked)
        left = MAX_BELIEVED_CHANNELS - self._nameless
        # Which of them were checked since is not kept; more than there are in all cannot be unchecked.
        theirs = min(told.get(their_node_id, 0), unchecked)
        if theirs >= MAX_BELIEVED_OF_ONE_PEER * left // MAX_BELIEVED_CHANNELS:
            return False
        if their_node_id not in told and len(told) >= MAX_TELLERS:
            del told[min(told, key=told.__getitem__)]
        told[their_node_id] = theirs + 1
        return True

    def _accept_channel(
        self, msg: ChannelAnnouncement, capacity_sat: int | None, encoded: bytes | None = None
    ) -> None:
        self.network_graph.add_channel(msg, capacity_sat, self._clock().at, encoded)

    def _judge_utxo(self, msg: ChannelAnnouncement, answer: UtxoAnswer) -> int | None:
        """Give the channel's capacity, or None when its funding output is not what it must be."""
        if answer.output is None:
            # An output that is not there may be spent, or the server may be behind: it can be announced again.
            level = LogLevel.DEBUG if answer.error is not UtxoError.UNAVAILABLE else LogLevel.TRACE
            self._logger.log(
                level, "Channel %d has no funding output: %s", msg.short_channel_id, answer.error
            )
            return None
        # BOLT 7, channel_announcement, receiver: the output pays to both bitcoin keys.
        expected = script.p2wsh(script.multisig_2of2(msg.bitcoin_key_1, msg.bitcoin_key_2))
        if answer.output.script_pubkey != expected:
            # Anybody can announce somebody else's output with keys of his own. So the place is not closed: what comes
            # next is judged by the output, without a look-up; and whoever lists channels is asked for it.
            scid = msg.short_channel_id
            self._logger.log(LogLevel.DEBUG, "Channel %d is not funded by its keys", scid)
            if scid not in self._outputs and len(self._outputs) < MAX_KNOWN_OUTPUTS:
                self._outputs[scid] = (answer.output, self._clock().at)
                for sync in self._peers.values():
                    if sync.answers and sync.full_sync and len(sync.wanted) < MAX_CHANNELS_IN_RANGE:
                        sync.wanted.append((scid, _WANT_ALL))
            return None
        return answer.output.value_sat

    def _utxo_answered(self, answer: UtxoAnswer) -> None:
        """Finish what waited for a look-up; what is news is passed on by an event."""
        pending = self._pending.pop(ShortChannelId(answer.short_channel_id), None)
        if pending is None:
            return
        msg = pending.announcement
        nodes = (msg.node_id_1, msg.node_id_2)
        capacity_sat = self._judge_utxo(msg, answer)
        if capacity_sat is not None:
            self._accept_channel(msg, capacity_sat)
            if len(msg.excess_data) <= MAX_EXCESS_BYTES_FOR_RELAY:
                self._events.append(BroadcastMessage(msg))
            for update in pending.updates.values():
                if self._apply_update(update):
                    self._events.append(BroadcastMessage(update))
        for node_id in nodes:
            self._pending_nodes[node_id] -= 1
            last = self._pending_nodes[node_id] == 0
            if last:
                del self._pending_nodes[node_id]
            if capacity_sat is not None or last:
                waiting = self._waiting_nodes.pop(node_id, None)
                if waiting is not None and self.network_graph.apply_node_announcement(waiting):
                    if self._node_may_be_told(node_id) and _may_be_relayed(waiting):
                        self._events.append(BroadcastMessage(waiting))
        for peer_id, sync in self._peers.items():
            self._query_next(peer_id, sync)

    def _check_some(self) -> None:
        """Look up the funding outputs of a few channels that were believed so far."""
        lookup, draw = self._utxo_lookup, self._draw
        if lookup is None or draw is None:
            return
        graph = self.network_graph
        for _ in range(CHECKS_PER_TICK - len(self._checking)):
            count = graph.to_check_count
            # From the one drawn on, past those that are under way already: fewer than there are draws.
            first = int.from_bytes(draw(), "big") if count else 0
            drawn = (graph.to_check((first + step) % count) for step in range(min(count, CHECKS_PER_TICK)))
            scid = self._next_contested() or next((s for s in drawn if s not in self._checking), None)
            if scid is None:
                return
            self._checking.add(scid)
            answer = lookup.get_utxo(self._chain_hash, scid, self._checked)
            if answer is not None:
                self._checked(answer)

    def _contest(self, scid: ShortChannelId) -> None:
        """Hear that a channel may be made up: if nobody has looked, it is looked up before others."""
        if not self._may_be_told(scid) and len(self._contested) < MAX_CONTESTED:
            self._contested[scid] = None

    def _next_contested(self) -> ShortChannelId | None:
        while self._contested:
            scid = next(iter(self._contested))
            del self._contested[scid]
            if self.network_graph.is_announced(scid) and not self._may_be_told(scid):
                if scid not in self._checking:
                    return scid
        return None

    def _checked(self, answer: UtxoAnswer) -> None:
        """A channel that was believed has its capacity now, or is gone."""
        scid = ShortChannelId(answer.short_channel_id)
        self._checking.discard(scid)
        announcement = self.network_graph.channel_announcement(scid)
        if announcement is None:
            return
        capacity_sat = self._judge_utxo(announcement, answer)
        if capacity_sat is not None:
            self.network_graph.set_capacity(scid, capacity_sat)
            self._drop_impossible_terms(scid, capacity_sat)
            self._pass_on(announcement)
        elif answer.output is not None:
            self.network_graph.forget_channel(scid)
        elif answer.error is UtxoError.UNKNOWN_TX:
            # BOLT 7: a channel whose output is spent is forgotten.
            self.network_graph.channel_failed_permanent(scid, self._clock().at)

    def _drop_impossible_terms(self, scid: ShortChannelId, capacity_sat: int) -> None:
        """What came before the capacity was known is treated as if it came now: see `_apply_update`."""
        info = self.network_graph.channel(scid)
        for direction, terms in enumerate(info.directions if info is not None else ()):
            if terms is not None and terms.htlc_maximum_msat > capacity_sat * 1_000:
                self.network_graph.forget_terms(scid, direction)

    def _pass_on(self, announcement: ChannelAnnouncement) -> None:
        """Tell others of a channel that was believed so far, with the terms that came meanwhile."""
        scid, graph = announcement.short_channel_id, self.network_graph
        if scid in self._own or len(announcement.excess_data) > MAX_EXCESS_BYTES_FOR_RELAY:
            return
        self._events.append(BroadcastMessage(announcement))
        for update in (graph.channel_update(scid, 0), graph.channel_update(scid, 1)):
            if update is not None and _is_for_others(update):
                self._events.append(BroadcastMessage(update))
        for node_id in (announcement.node_id_1, announcement.node_id_2):
            node = graph.node_announcement(node_id)
            # Until this channel nobody was to hear of a node that has no other.
            if (
                node is not None
                and not self._node_may_be_told(node_id, besides=scid)
                and _may_be_relayed(node)
            ):
                self._events.append(BroadcastMessage(node))

    def _node_may_be_told(self, node_id: NodeId, besides: ShortChannelId | None = None) -> bool:
        """BOLT 7, node_announcement, receiver: only of nodes with a channel that others have heard of. `besides` is one
        that was just checked, and does not count."""
        graph = self.network_graph
        if not self._believes:
            return graph.has_announced_channel(node_id)
        # Not one by one: whoever makes channels up could give a node thousands, and announce it all the time.
        if graph.checked_count_of(node_id) > (besides is not None):
            return True
        return any(node_id in (self._announced_nodes(scid) or ()) for scid in self._own)

    def _may_be_told(self, scid: ShortChannelId) -> bool:
        """BOLT 7, channel_announcement, receiver: what is not checked is not passed on, in an answer either."""
        return not self._believes or scid in self._own or self.network_graph.capacity_sat(scid) is not None

    def handle_channel_update(self, their_node_id: NodeId | None, msg: ChannelUpdate) -> bool:
        """Take in one side's terms; True when they are news that may be passed on."""
        if msg.chain_hash != self._chain_hash:
            return False
        now_at = self._clock().at
        # BOLT 7, channel_update, receiver: too old is stale, too far ahead may be discarded.
        if not now_at - STALE_CHANNEL_SECONDS <= msg.timestamp_at <= now_at + MAX_FUTURE_SECONDS:
            return False
        scid, direction = msg.short_channel_id, msg.direction
        if their_node_id is None:
            self._own.add(scid)
        known_at = self._updated_at(scid, direction)
        nodes = self._nodes_of(scid)
        # BOLT 7, channel_update, receiver: ignore those without an announcement.
        if nodes is None or msg.timestamp_at <= known_at or len(msg.excess_data) > MAX_STORED_GOSSIP_LENGTH:
            return False
        signer = nodes[direction]
        if self._signature_checks is not None and their_node_id is not None:
            if msg.timestamp_at <= self._unverified.updates.get((scid, direction), 0):
                return False
            self._unverified.updates[scid, direction] = msg.timestamp_at
            encoded = msg.encode_payload()
            self._verify_later(
                msg.signature + sha256d(encoded[SIGNATURE_LENGTH:]) + signer,
                partial(self._update_verified, their_node_id, msg, encoded, signer),
            )
            return False
        if not verify_channel_update(msg, signer):
            if not self._is_at_fault(their_node_id, msg, signer):
                return False
            raise PeerError(_BAD_UPDATE)
        return self._take_update(msg, signer)

    def _is_at_fault(self, their_node_id: NodeId | None, msg: ChannelUpdate, signer: NodeId) -> bool:
        """Tell whether it is the teller's fault that `signer` has not signed an update. Somebody else may have made up
        a channel of other nodes: as long as nobody has looked, who tells the true terms is not hung up on for it."""
        scid = msg.short_channel_id
        pending = self._pending.get(scid)
        if pending is not None:
            return pending.teller == their_node_id
        nodes = self._announced_nodes(scid)
        if nodes is None or nodes[msg.direction] != signer:
            return False
        self._contest(scid)
        return self._may_be_told(scid)

    def _nodes_of(self, scid: ShortChannelId) -> tuple[NodeId, NodeId] | None:
        """Of a channel in the graph, or on its way there."""
        pending = self._pending.get(scid)
        if pending is not None:
            return pending.announcement.node_id_1, pending.announcement.node_id_2
        return self._announced_nodes(scid) or self._unverified.channels.get(scid)

    def _announced_nodes(self, scid: ShortChannelId) -> tuple[NodeId, NodeId] | None:
        """Who an unsigned snapshot says they are counts for nothing here."""
        return self.network_graph.nodes_of(scid) if self.network_graph.is_announced(scid) else None

    def _updated_at(self, scid: ShortChannelId, direction: int) -> int:
        pending = self._pending.get(scid)
        if pending is None:
            return self.network_graph.updated_at(scid, direction)
        known = pending.updates.get(direction)
        return known.timestamp_at if known is not None else 0

    def _update_verified(
        self, their_node_id: NodeId, msg: ChannelUpdate, encoded: bytes, signer: NodeId, verdicts: bytes
    ) -> None:
        key = (msg.short_channel_id, msg.direction)
        if self._unverified.updates.get(key) == msg.timestamp_at:
            del self._unverified.updates[key]
        at_fault = 0 in verdicts and self._is_at_fault(their_node_id, msg, signer)
        if not self._verified(their_node_id, verdicts, _BAD_UPDATE if at_fault else ""):
            return
        if self._take_update(msg, signer, encoded):
            self._events.append(BroadcastMessage(msg, their_node_id))

    def _take_update(self, msg: ChannelUpdate, signer: NodeId, encoded: bytes | None = None) -> bool:
        """Go on with an update that `signer` has signed; True when it may be passed on."""
        scid, direction = msg.short_channel_id, msg.direction
        pending = self._pending.get(scid)
        if pending is None:
            nodes = self._announced_nodes(scid)
            return nodes is not None and nodes[direction] == signer and self._apply_update(msg, encoded)
        announcement = pending.announcement
        if (announcement.node_id_1, announcement.node_id_2)[direction] == signer:
            if msg.timestamp_at > self._updated_at(scid, direction):
                pending.updates[direction] = msg
        return False

    def _apply_update(self, msg: ChannelUpdate, encoded: bytes | None = None) -> bool:
        """Put a checked update into the graph; True when it may be passed on."""
        capacity_sat = self.network_graph.capacity_sat(msg.short_channel_id)
        # BOLT 7, channel_update: it cannot send more than there is; such terms are not used.
        if capacity_sat is not None and msg.htlc_maximum_msat > capacity_sat * 1_000:
            return False
        may_be_told = (
            _is_for_others(msg) and self._may_be_told(msg.short_channel_id) and not self._is_needless(msg)
        )
        return self.network_graph.apply_update(msg, encoded) and may_be_told

    def _is_needless(self, msg: ChannelUpdate) -> bool:
        """Tell whether an update says only that its channel lives, and others have heard that lately. BOLT 7,
        channel_update: redundant ones are spam."""
        scid, direction = msg.short_channel_id, msg.direction
        known_at = self.network_graph.updated_at(scid, direction)
        if not known_at:
            return False
        # The first of each spell is passed on, however often they come; by the id, not all channels in the same hour.
        shift = scid % KEEP_ALIVE_SECONDS
        if (known_at + shift) // KEEP_ALIVE_SECONDS != (msg.timestamp_at + shift) // KEEP_ALIVE_SECONDS:
            return False
        known = self.network_graph.channel_update(scid, direction)
        return known is not None and msg == replace(
            known, signature=msg.signature, timestamp_at=msg.timestamp_at
        )

    def handle_node_announcement(self, their_node_id: NodeId | None, msg: NodeAnnouncement) -> bool:
        """Take in what a node says about itself; True when it is news that may be passed on."""
        node_id = msg.node_id
        waits = not self.network_graph.has_node(node_id)
        # BOLT 7, node_announcement, receiver: ignore nodes without a channel.
        if waits and node_id not in self._pending_nodes and node_id not in self._unverified.nodes:
            return False
        if not self._is_news(msg):
            return False
        length = len(msg.features.to_bytes()) + len(msg.address_data) + len(msg.excess_data)
        if length > MAX_STORED_GOSSIP_LENGTH:
            return False
        if self._signature_checks is not None and their_node_id is not None:
            if msg.timestamp_at <= self._unverified.announcements.get(node_id, -1):
                return False
            self._unverified.announcements[node_id] = msg.timestamp_at
            encoded = msg.encode_payload()
            self._verify_later(
                msg.signature + sha256d(encoded[SIGNATURE_LENGTH:]) + node_id,
                partial(self._node_verified, their_node_id, msg, encoded),
            )
            return False
        if not verify_node_announcement(msg):
            raise PeerError(_BAD_NODE)
        return self._take_node(msg, is_ours=their_node_id is None)

    def _is_news(self, msg: NodeAnnouncement) -> bool:
        known_at = self.network_graph.node_announced_at(msg.node_id)
        waiting = self._waiting_nodes.get(msg.node_id)
        if waiting is not None and not self.network_graph.has_node(msg.node_id):
            known_at = waiting.timestamp_at
        return known_at is None or msg.timestamp_at > known_at

    def _node_verified(
        self, their_node_id: NodeId, msg: NodeAnnouncement, encoded: bytes, verdicts: bytes
    ) -> None:
        if self._unverified.announcements.get(msg.node_id) == msg.timestamp_at:
            del self._unverified.announcements[msg.node_id]
        if self._verified(their_node_id, verdicts, _BAD_NODE) and self._take_node(msg, encoded):
            self._events.append(BroadcastMessage(msg, their_node_id))

    def _take_node(
        self, msg: NodeAnnouncement, encoded: bytes | None = None, *, is_ours: bool = False
    ) -> bool:
        """Go on with an announcement whose signature is good; True when it may be passed on."""
        graph = self.network_graph
        if not self._is_news(msg):
            return False
        if not graph.has_node(msg.node_id):
            known = msg.node_id in self._waiting_nodes or len(self._waiting_nodes) < MAX_WAITING_NODES
            if known and msg.node_id in self._pending_nodes:
                self._waiting_nodes[msg.node_id] = msg
            return False
        if not graph.apply_node_announcement(msg, encoded):
            return False
        # After a restart nobody has said yet which channels are ours.
        return (is_ours or self._node_may_be_told(msg.node_id)) and _may_be_relayed(msg)

    # --- gossip out -------------------------------------------------------------------------------

    def get_next_channel_announcement(
        self, start: ShortChannelId, wanted: range = ALL_TIMES
    ) -> ChannelGossip | ShortChannelId | None:
        """The first channel with id `start` or higher that has an update of a wanted time and may be told, and its
        updates."""
        graph, passed_by = self.network_graph, 0
        looked_at = graph.channels_from(start, CHANNELS_PER_LOOK)
        for scid in looked_at:
            if not self._has_news(scid):
                continue
            # By the times alone: most peers want the last hour, and nothing is to be read for the rest.
            one_at, other_at = graph.update_times(scid)
            found = self._gossip_of(scid) if one_at in wanted or other_at in wanted else None
            if found is not None:
                return found
            passed_by += 1
            if passed_by == UNWANTED_PER_LOOK:
                return ShortChannelId(scid + 1)
        return ShortChannelId(looked_at[-1] + 1) if len(looked_at) == CHANNELS_PER_LOOK else None

    def _has_news(self, scid: ShortChannelId) -> bool:
        """Tell whether a channel may be told of. BOLT 7: not without an update."""
        return self._may_be_told(scid) and self.network_graph.has_update(scid)

    def _gossip_of(self, scid: ShortChannelId) -> ChannelGossip | None:
        graph = self.network_graph
        announcement = graph.channel_announcement(scid)
        if announcement is None:
            return None
        one, other = graph.channel_update(scid, 0), graph.channel_update(scid, 1)
        # BOLT 7, channel_update: what was meant for us alone is in no answer either.
        return (
            announcement,
            None if one is not None and one.dont_forward else one,
            None if other is not None and other.dont_forward else other,
        )

    def get_next_node_announcement(
        self, start: NodeId | None, wanted: range = ALL_TIMES
    ) -> NodeAnnouncement | NodeId | None:
        graph = self.network_graph
        looked_at = graph.announced_nodes_behind(start, NODES_PER_LOOK)
        for node_id in looked_at:
            if graph.node_announced_at(node_id) in wanted and self._node_may_be_told(node_id):
                found = graph.node_announcement(node_id)
                if found is not None:
                    return found
        return looked_at[-1] if len(looked_at) == NODES_PER_LOOK else None

    # --- their queries ----------------------------------------------------------------------------

    def _answer(self, their_node_id: NodeId, replies: Iterator[Message | None]) -> None:
        sync = self._peers.get(their_node_id)
        if sync is None:
            return
        # BOLT 7, query messages, receiver: one query at a time.
        if sync.replies is not None:
            raise PeerError("The query before is not answered in full yet.", disconnect=False)
        sync.replies = replies

    def get_next_query_reply(self, their_node_id: NodeId) -> Message | None:
        """The next message that answers a peer's query; None when there is none, or none yet."""
        sync = self._peers.get(their_node_id)
        if sync is None or sync.replies is None:
            return None
        for reply in sync.replies:
            return reply
        sync.replies = None
        return None

    def handle_query_channel_range(self, their_node_id: NodeId, msg: QueryChannelRange) -> None:
        if msg.number_of_blocks == 0:
            raise PeerError("A query_channel_range asks for no block.", disconnect=False)
        self._answer(their_node_id, self._range_replies(msg))

    def _range_replies(self, query: QueryChannelRange) -> Iterator[Message | None]:
        """Answer a range. BOLT 7: replies ascend, overlap the range, and the last one reaches its end."""
        option = query.query_option_flags or 0
        wants_times, wants_checksums = bool(option & _WITH_TIMES), bool(option & _WITH_CHECKSUMS)
        graph = self.network_graph
        first, end = query.first_block_height, query.end_height
        batch_length = SHORT_IDS_PER_REPLY // 3 if wants_times else SHORT_IDS_PER_REPLY
        if wants_checksums:
            batch_length = min(batch_length, SUMMED_IDS_PER_REPLY)
        scids: list[ShortChannelId] = []
        start, goes_on = first << 40, query.chain_hash == self._chain_hash
        while True:
            # One more than fits tells that this reply is not the last.
            while goes_on and len(scids) <= batch_length:
                before = len(scids)
                looked_at = graph.channels_from(start, CHANNELS_PER_LOOK)
                in_range = looked_at[: bisect_left(looked_at, end << 40)]
                for scid in in_range:
                    start = scid + 1
                    if self._has_news(scid):
                        scids.append(scid)
                        if len(scids) > batch_length:
                            break
                else:
                    goes_on = len(in_range) == CHANNELS_PER_LOOK
                if goes_on and len(scids) == before:
                    yield None
            batch = tuple(scids[:batch_length])
            del scids[:batch_length]
            complete = not scids
            last = end - 1 if complete else batch[-1] >> 40
            timestamps = None
            if wants_times:
                timestamps = tuple(graph.update_times(scid) for scid in batch)
            checksums = None
            if wants_checksums:
                checksum = graph.update_checksum
                checksums = tuple((checksum(scid, 0), checksum(scid, 1)) for scid in batch)
            yield ReplyChannelRange(
                chain_hash=query.chain_hash,
                first_block_height=first,
                number_of_blocks=max(1, last - first + 1),
                sync_complete=complete,
                short_channel_ids=batch,
                timestamps=timestamps,
                checksums=checksums,
            )
            if complete:
                return
            # A block that did not fit goes on in the next reply.
            first = last

    def handle_query_short_channel_ids(self, their_node_id: NodeId, msg: QueryShortChannelIds) -> None:
        self._answer(their_node_id, self._id_replies(msg))

    def _id_replies(self, query: QueryShortChannelIds) -> Iterator[Message]:
        graph = self.network_graph
        ours = query.chain_hash == self._chain_hash
        nodes: dict[NodeId, None] = {}
        flags = query.query_flags or (_WANT_ALL,) * len(query.short_channel_ids)
        for scid, flag in zip(query.short_channel_ids if ours else (), flags, strict=False):
            found = self._gossip_of(scid) if self._may_be_told(scid) else None
            if found is None:
                continue
            announcement, *updates = found
            if flag & 1:
                yield announcement
            for direction, update in enumerate(updates):
                if update is not None and flag & _WANT_UPDATE[direction]:
                    yield update
            if flag & 0b01000:
                nodes[announcement.node_id_1] = None
            if flag & 0b10000:
                nodes[announcement.node_id_2] = None
        # BOLT 7, query_short_channel_ids, receiver: each node once.
        for node_id in nodes:
            node = graph.node_announcement(node_id)
            if node is not None:
                yield node
        yield ReplyShortChannelIdsEnd(chain_hash=query.chain_hash, full_information=ours)

    # --- our queries ------------------------------------------------------------------------------

    def handle_reply_channel_range(self, their_node_id: NodeId, msg: ReplyChannelRange) -> None:
        sync = self._peers.get(their_node_id)
        if sync is None or not sync.awaiting_range or msg.chain_hash != self._chain_hash:
            return
        sync.ticks = 0
        sync.listed += len(msg.short_channel_ids)
        if sync.listed > MAX_CHANNELS_IN_RANGE:
            raise PeerError("There are not so many channels.")
        graph = self.network_graph
        oldest_at = self._clock().at - STALE_CHANNEL_SECONDS
        for number, scid in enumerate(msg.short_channel_ids):
            times = msg.timestamps[number] if msg.timestamps is not None else None
            # What is stale on both sides would be pruned at once.
            if times is not None and max(times) < oldest_at:
                continue
            sync.fresh += 1
            if not graph.is_announced(scid):
                if scid not in self._pending and not graph.was_removed(scid):
                    sync.wanted.append((scid, _WANT_ALL))
            elif times is not None:
                checksums = msg.checksums[number] if msg.checksums is not None else None
                flag = sum(
                    _WANT_UPDATE[side] for side in (0, 1) if self._is_wanted(scid, side, times, checksums)
                )
                if flag:
                    sync.wanted.append((scid, flag))
        # BOLT 7, reply_channel_range: old nodes leave the flag 0, and are complete when the range is covered.
        covers_all = msg.first_block_height + msg.number_of_blocks >= 0xFFFF_FFFF
        if msg.sync_complete or covers_all:
            sync.awaiting_range = False
            self._logger.log(
                LogLevel.DEBUG, "Peer %s lists %d channels, %d are news", their_node_id.hex(),
                sync.listed, len(sync.wanted),
            )  # fmt: skip
            self._query_next(their_node_id, sync)

    def _is_wanted(
        self, scid: ShortChannelId, side: int, times: tuple[int, int], checksums: tuple[int, int] | None
    ) -> bool:
        """Tell whether a peer's update of a direction, by its time and checksum, is worth asking for."""
        known_at = self.network_graph.update_times(scid)[side]
        if times[side] <= known_at:
            return False
        if checksums is None or known_at < self._clock().at - REFRESH_SECONDS:
            return True
        return checksums[side] != self.network_graph.update_checksum(scid, side)

    def _query_next(self, node_id: NodeId, sync: _PeerSync) -> None:
        """Ask for the next batch, unless something is under way still."""
        if sync.awaiting_range or sync.awaiting_ids or self.processing_queue_high():
            return
        batch: list[tuple[ShortChannelId, int]] = []
        while sync.wanted and len(batch) < SHORT_IDS_PER_QUERY:
            scid, flag = sync.wanted.popleft()
            # Another peer may have told it by now.
            if flag != _WANT_ALL or not self._is_coming(scid):
                batch.append((scid, flag))
        if not batch:
            self._note_synced(sync)
            return
        sync.awaiting_ids, sync.ticks, sync.asked = True, 0, len(batch)
        # BOLT 7: ids ascend.
        batch.sort()
        flags = tuple(flag for _, flag in batch)
        self._send(
            node_id,
            QueryShortChannelIds(
                chain_hash=self._chain_hash,
                short_channel_ids=tuple(scid for scid, _ in batch),
                query_flags=flags if sync.asks_for_times else None,
            ),
        )

    def _note_synced(self, sync: _PeerSync) -> None:
        """Once nothing is left to ask a peer for, and what came has been judged."""
        if sync.full_sync and not sync.synced and not self._unverified.messages and not self._pending:
            sync.synced = True
            # With who has little it was none, unless nobody has told anything.
            if self._has_much(sync) or not self.network_graph.channel_count:
                self._synced_at = self._clock().at

    def _is_coming(self, scid: ShortChannelId) -> bool:
        """Tell whether a channel is known, or is being checked."""
        return (
            self.network_graph.is_announced(scid)
            or scid in self._pending
            or scid in self._unverified.channels
        )

    def handle_reply_short_channel_ids_end(self, their_node_id: NodeId, msg: ReplyShortChannelIdsEnd) -> None:
        sync = self._peers.get(their_node_id)
        if sync is None or not sync.awaiting_ids or msg.chain_hash != self._chain_hash:
            return
        sync.awaiting_ids, sync.ticks, sync.asked = False, 0, 0
        self._query_next(their_node_id, sync)
