"""The seams around `PeerManager`: sockets on one side, those who act on messages on the other.

A handler is called under the core's lock, one message at a time, and answers by events
(`get_and_clear_pending_msg_events`), never by calling back into `PeerManager`. It may raise:

* `ChannelError`: the peer broke one channel; it is sent `error` with that channel's id;
* `PeerError`: the peer is warned (or sent `error`) and, where it says so, disconnected;
* `DecodeError`: as a `PeerError` that warns and disconnects.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

from wallet.ln.events import MessageSendEventsProvider
from wallet.ln.features import Features
from wallet.ln.msgs import (
    AcceptChannel,
    AnnouncementSignatures,
    ChannelAnnouncement,
    ChannelReady,
    ChannelReestablish,
    ChannelUpdate,
    ClosingSigned,
    CommitmentSigned,
    Error,
    FundingCreated,
    FundingSigned,
    Init,
    LspsMessage,
    Message,
    NodeAnnouncement,
    OnionMessage,
    OpenChannel,
    PeerStorage,
    PeerStorageRetrieval,
    QueryChannelRange,
    QueryShortChannelIds,
    ReplyChannelRange,
    ReplyShortChannelIdsEnd,
    RevokeAndAck,
    Shutdown,
    UpdateAddHtlc,
    UpdateFailHtlc,
    UpdateFailMalformedHtlc,
    UpdateFee,
    UpdateFulfillHtlc,
)
from wallet.ln.types import NodeId, ShortChannelId

__all__ = [
    "ChannelGossip",
    "ChannelMessageHandler",
    "CustomMessageHandler",
    "MessageSendEventsProvider",
    "OnionMessageHandler",
    "PeerStorageHandler",
    "RoutingMessageHandler",
    "SocketDescriptor",
]

ChannelGossip: TypeAlias = tuple[ChannelAnnouncement, ChannelUpdate | None, ChannelUpdate | None]
"""A channel's announcement and the last update of each direction."""


class SocketDescriptor(Protocol):
    """One socket. Hashable; equal to itself only. Neither method may call back into `PeerManager`."""

    def send_data(self, data: bytes, resume_read: bool) -> int:
        """Take bytes to send and return how many were taken, from the front.

        When fewer were taken than given, `PeerManager.write_buffer_space_avail` must be called once there
        is room. `resume_read` says that reading goes on, should `read_event` have paused it; `data` may be
        empty.
        """
        ...

    def disconnect_socket(self) -> None:
        """Close, after what `send_data` took has gone to the network. `PeerManager` has forgotten it."""
        ...

    def __hash__(self) -> int: ...


class ChannelMessageHandler(Protocol):
    """Who acts on the messages of BOLT 2: `ChannelManager`."""

    def provided_node_features(self) -> Features: ...

    def provided_init_features(self, their_node_id: NodeId) -> Features: ...

    def peer_connected(self, their_node_id: NodeId, init: Init, inbound: bool) -> None:
        """Hear of a peer whose `init` was accepted; a `PeerError` refuses it."""
        ...

    def peer_disconnected(self, their_node_id: NodeId) -> None:
        """Hear that a peer is gone; comes once after each `peer_connected`, one that raised included."""
        ...

    def handle_open_channel(self, their_node_id: NodeId, msg: OpenChannel) -> None: ...

    def handle_accept_channel(self, their_node_id: NodeId, msg: AcceptChannel) -> None: ...

    def handle_funding_created(self, their_node_id: NodeId, msg: FundingCreated) -> None: ...

    def handle_funding_signed(self, their_node_id: NodeId, msg: FundingSigned) -> None: ...

    def handle_channel_ready(self, their_node_id: NodeId, msg: ChannelReady) -> None: ...

    def handle_shutdown(self, their_node_id: NodeId, msg: Shutdown) -> None: ...

    def handle_closing_signed(self, their_node_id: NodeId, msg: ClosingSigned) -> None: ...

    def handle_update_add_htlc(self, their_node_id: NodeId, msg: UpdateAddHtlc) -> None: ...

    def handle_update_fulfill_htlc(self, their_node_id: NodeId, msg: UpdateFulfillHtlc) -> None: ...

    def handle_update_fail_htlc(self, their_node_id: NodeId, msg: UpdateFailHtlc) -> None: ...

    def handle_update_fail_malformed_htlc(
        self, their_node_id: NodeId, msg: UpdateFailMalformedHtlc
    ) -> None: ...

    def handle_commitment_signed(self, their_node_id: NodeId, msg: CommitmentSigned) -> None: ...

    def handle_revoke_and_ack(self, their_node_id: NodeId, msg: RevokeAndAck) -> None: ...

    def handle_update_fee(self, their_node_id: NodeId, msg: UpdateFee) -> None: ...

    def handle_channel_reestablish(self, their_node_id: NodeId, msg: ChannelReestablish) -> None: ...

    def handle_announcement_signatures(self, their_node_id: NodeId, msg: AnnouncementSignatures) -> None: ...

    def handle_channel_update(self, their_node_id: NodeId, msg: ChannelUpdate) -> None:
        """Learn the peer's terms for a channel of ours; updates of other channels come here as well."""
        ...

    def handle_error(self, their_node_id: NodeId, msg: Error) -> None:
        """Fail the channel named, or, where the id is all zero, every channel with the peer."""
        ...


class RoutingMessageHandler(MessageSendEventsProvider, Protocol):
    """Who acts on the messages of BOLT 7: `NetGraphMsgHandler`.

    A `BroadcastMessage` among its events is gossip of others: it goes to those who asked for gossip.
    """

    def provided_node_features(self) -> Features: ...

    def provided_init_features(self, their_node_id: NodeId) -> Features: ...

    def peer_connected(self, their_node_id: NodeId, init: Init, inbound: bool) -> None: ...

    def peer_disconnected(self, their_node_id: NodeId) -> None: ...

    def handle_node_announcement(self, their_node_id: NodeId | None, msg: NodeAnnouncement) -> bool:
        """Take the message in; True when it is news that may be passed on."""
        ...

    def handle_channel_announcement(self, their_node_id: NodeId | None, msg: ChannelAnnouncement) -> bool: ...

    def handle_channel_update(self, their_node_id: NodeId | None, msg: ChannelUpdate) -> bool: ...

    def get_next_channel_announcement(
        self, start: ShortChannelId, wanted: range
    ) -> ChannelGossip | ShortChannelId | None:
        """The first channel whose id is `start` or higher, and which has at least one update of a time in `wanted`; or
        an id to go on from another time, as there are many that may not be told, or have none."""
        ...

    def get_next_node_announcement(
        self, start: NodeId | None, wanted: range
    ) -> NodeAnnouncement | NodeId | None:
        """The first node behind `start`, or the first of all, that was announced at a time in `wanted`; or a node to go
        on behind, as above."""
        ...

    def handle_reply_channel_range(self, their_node_id: NodeId, msg: ReplyChannelRange) -> None: ...

    def handle_reply_short_channel_ids_end(
        self, their_node_id: NodeId, msg: ReplyShortChannelIdsEnd
    ) -> None: ...

    def handle_query_channel_range(self, their_node_id: NodeId, msg: QueryChannelRange) -> None: ...

    def handle_query_short_channel_ids(self, their_node_id: NodeId, msg: QueryShortChannelIds) -> None: ...

    def get_next_query_reply(self, their_node_id: NodeId) -> Message | None:
        """The next message that answers a peer's query; asked for as the peer's socket drains. None: there is none, or
        more is to be looked through another time."""
        ...

    def timer_tick_occurred(self) -> None:
        """Hear that ten seconds have passed."""
        ...

    def processing_queue_high(self) -> bool:
        """Tell whether so much awaits checking that peers had better send no more gossip for now."""
        ...


class OnionMessageHandler(MessageSendEventsProvider, Protocol):
    """Who acts on onion messages."""

    def provided_node_features(self) -> Features: ...

    def provided_init_features(self, their_node_id: NodeId) -> Features: ...

    def peer_connected(self, their_node_id: NodeId, init: Init, inbound: bool) -> None: ...

    def peer_disconnected(self, their_node_id: NodeId) -> None: ...

    def handle_onion_message(self, their_node_id: NodeId, msg: OnionMessage) -> None: ...


class PeerStorageHandler(Protocol):
    """Who keeps blobs for peers, and gets ours back. BOLT 1, peer storage."""

    def handle_peer_storage(self, their_node_id: NodeId, msg: PeerStorage) -> None: ...

    def handle_peer_storage_retrieval(self, their_node_id: NodeId, msg: PeerStorageRetrieval) -> None: ...


class CustomMessageHandler(Protocol):
    """Who acts on messages that no BOLT has: bLIP 50's. What it sends goes by the channel manager, with its batch."""

    def provided_node_features(self) -> Features: ...

    def provided_init_features(self, their_node_id: NodeId) -> Features: ...

    def peer_disconnected(self, their_node_id: NodeId) -> None: ...

    def handle_lsps_message(self, their_node_id: NodeId, msg: LspsMessage) -> None: ...
