"""`ChannelManager`: many channels, and the payments in, out and through them.

Its rooms, each in a file of its own, stand on one another: `manager_base` (entries, effects, rows, closing),
`manager_opening`, `manager_messages` (peers, living channels, own gossip), `manager_payments`, `manager_chain`;
this file adds what needs all of them: making, reading back, snapshots and events.

It implements `ChannelMessageHandler`, `MessageSendEventsProvider`, `EventsProvider` and `Confirm`. Methods without
an underscore are entries: called under the core's lock, never from within one another. Before an entry of the node
ends, it calls `process_pending_htlc_forwards` while `needs_forwarding`, and takes
`get_and_clear_pending_msg_events()` into the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from wallet.bitcoin.address import Network
from wallet.bitcoin.records import decode
from wallet.bitcoin.tx import BlockHash
from wallet.chain.interfaces import (
    BroadcasterInterface,
    BroadcastPackage,
    FeeEstimator,
    Filter,
    Logger,
    LogLevel,
    Persist,
    Row,
)
from wallet.ln import inbound_payment
from wallet.ln.channel_details import ChannelDetails, details_of, unfunded_details
from wallet.ln.channel_state import read_channels
from wallet.ln.config import UserConfig
from wallet.ln.events import ClosureKind, ClosureReason, Event
from wallet.ln.manager_base import CLOSED_SPACE, ClosedChannel
from wallet.ln.manager_chain import ChainRoom
from wallet.ln.monitor_update import ChannelMonitorUpdate
from wallet.ln.outbound_payment import OutboundPayments
from wallet.ln.route import Router
from wallet.ln.sign import KeysInterface, SignerState
from wallet.ln.types import ChannelId, DecodeError, InvariantError, NodeId
from wallet.ln.watch import Watch

__all__ = ["ChannelManager"]

_MANAGER_SPACE = "manager"
_HIGHEST_SEEN = b"highest_seen_at"

Rows = Callable[[str], Iterable[tuple[bytes, bytes]]]


class ChannelManager(ChainRoom):
    """See the module."""

    def __init__(
        self,
        *,
        network: Network,
        fee_estimator: FeeEstimator,
        chain_monitor: Watch,
        tx_broadcaster: BroadcasterInterface,
        filter: Filter | None,
        router: Router,
        keys_manager: KeysInterface,
        persist: Persist,
        logger: Logger,
        config: UserConfig,
        best_block: tuple[BlockHash, int],
    ) -> None:
        super().__init__(
            network=network,
            fee_estimator=fee_estimator,
            chain_monitor=chain_monitor,
            tx_broadcaster=tx_broadcaster,
            filter=filter,
            keys_manager=keys_manager,
            persist=persist,
            logger=logger,
            config=config,
            best_block=best_block,
        )
        self._inbound_keys = inbound_payment.ExpandedKey.from_secret(keys_manager.get_inbound_payment_key())
        self._outbound = OutboundPayments(
            payer=self._our_node_id,
            router=router,
            first_hops=self._first_hops,
            send_along_path=self._send_along_path,
            persist=persist,
            emit=self._push_event,
            entropy=keys_manager,
        )
        self._init_payments()

    @classmethod
    def read(
        cls,
        rows: Rows,
        *,
        network: Network,
        fee_estimator: FeeEstimator,
        chain_monitor: Watch,
        tx_broadcaster: BroadcasterInterface,
        filter: Filter | None,
        router: Router,
        keys_manager: KeysInterface,
        persist: Persist,
        logger: Logger,
        config: UserConfig,
        best_block: tuple[BlockHash, int],
        monitor_update_ids: Mapping[ChannelId, int] | None = None,
    ) -> ChannelManager:
        """Rebuilds the manager from its rows; raises DecodeError.

        `monitor_update_ids`: the latest update of every monitor that was read. A channel whose monitor is missing,
        ahead of it or behind it, is closed: one of the two is not the newest. Parts of payments that no channel knows
        of are failed.
        """
        manager = cls(
            network=network,
            fee_estimator=fee_estimator,
            chain_monitor=chain_monitor,
            tx_broadcaster=tx_broadcaster,
            filter=filter,
            router=router,
            keys_manager=keys_manager,
            persist=persist,
            logger=logger,
            config=config,
            best_block=best_block,
        )
        manager._read(rows, monitor_update_ids)
        return manager

    def _read(
        self,
        rows: Rows,
        monitor_update_ids: Mapping[ChannelId, int] | None,
    ) -> None:
        with self._entry:
            self._events.read(rows)
            for key, value in rows(_MANAGER_SPACE):
                if key == _HIGHEST_SEEN:
                    self._highest_seen_at = int.from_bytes(value, "big")
            self._written_highest_seen_at = self._highest_seen_at
            for key, value in rows(CLOSED_SPACE):
                closed = decode(ClosedChannel, value)
                # A monitor that a fault kept from an update has to take the next preimage nevertheless.
                known_id = (monitor_update_ids or {}).get(ChannelId(key), closed.last_update_id)
                self._closed[ChannelId(key)] = replace(closed, last_update_id=known_id)
            for channel in read_channels(rows("channel"), rows("channel_htlc")):
                channel_id = channel.channel_id
                if channel_id in self._channels:
                    raise DecodeError("a channel is there twice")
                self._channels[channel_id] = channel
                self._written[channel_id] = channel
                self._name_channel(channel)
                self._register(channel)
                core = channel.core
                self._signer(channel).restore(
                    SignerState(
                        holder_number=core.holder_number,
                        holder_secrets_released=core.holder_number,
                        counterparty_number=core.counterparty_number,
                        counterparty_revoked=core.counterparty_revoked,
                        closing_script=core.closing.holder_script if core.closing is not None else None,
                    )
                )
            self._read_promised(rows)
            self._outbound.read(rows)
            if monitor_update_ids is not None:
                # Before anything is claimed again: that is an update.
                self._compare_with_monitors(monitor_update_ids)
            self._read_payments(rows)
            self._offer_again(monitor_update_ids or {})
            self._outbound.reconcile(self._parts_under_way())
            for channel_id, channel in self._channels.items():
                if channel_id in self._in_progress:
                    continue
                if channel.scope.funding_tx is not None and channel.scope.confirmation is None:
                    self._broadcaster.broadcast_transactions(
                        BroadcastPackage((channel.scope.funding_tx,), label="channel funding")
                    )

    def _compare_with_monitors(self, monitor_update_ids: Mapping[ChannelId, int]) -> None:
        """Both are rows of one commit: where they differ, one of them is not the newest, and the channel ends."""
        for channel_id, channel in list(self._channels.items()):
            known = monitor_update_ids.get(channel_id)
            if known == channel.core.last_update_id:
                continue
            self._log(LogLevel.ERROR, "channel %s and its monitor do not agree", channel_id.hex())
            if known is not None:
                # If it is newer than what we know, the monitor's commitment is the one to be broadcast. If it is older,
                # that commitment may be revoked: it never leaves, and the peer is asked to close.
                outdated = channel.core.outdated or known < channel.core.last_update_id
                channel = replace(
                    channel, core=replace(channel.core, last_update_id=known, outdated=outdated)
                )
            message = "Our state of this channel is damaged."
            self._close_channel(
                channel,
                ClosureReason(ClosureKind.PROCESSING_ERROR, message),
                broadcast=True,
                message=None if known is None else message,
            )

    def _offer_again(self, monitor_update_ids: Mapping[ChannelId, int]) -> None:
        """A further copy may lack the last updates: until it has them, what depends on them still has to wait."""
        latest = {
            channel_id: closed.last_update_id
            for channel_id, closed in self._closed.items()
            if channel_id in monitor_update_ids
        }
        latest |= {channel_id: channel.core.last_update_id for channel_id, channel in self._channels.items()}
        for channel_id, update_id in latest.items():
            update = ChannelMonitorUpdate(channel_id=channel_id, update_id=update_id, steps=())
            try:
                self._update_monitor(channel_id, update)
            except InvariantError as error:
                if channel_id in self._channels:
                    self._freeze(channel_id, error)
                else:
                    # There is no channel left to freeze.
                    self._log(LogLevel.ERROR, "the monitor of closed channel %s: %s", channel_id.hex(), error)

    # --- questions ---

    def get_our_node_id(self) -> NodeId:
        return self._our_node_id

    @property
    def current_best_block(self) -> tuple[BlockHash, int]:
        return self._best_hash, self._best_height

    @property
    def highest_seen_at(self) -> int:
        """The latest time in a header that was seen: what judges the expiry of payments to us."""
        return self._highest_seen_at

    def list_channels(self) -> tuple[ChannelDetails, ...]:
        """All channels, openings under way included."""
        funded = [
            details_of(
                channel,
                self._best_height,
                self._max_dust_exposure_msat(channel),
                self._peer_features(channel.counterparty_node_id),
            )
            for channel in self._channels.values()
        ]
        opening = [
            unfunded_details(state, peer.features)
            for peer in self._peers.values()
            for state in peer.unfunded.values()
        ]
        return (*funded, *opening)

    def list_usable_channels(self) -> tuple[ChannelDetails, ...]:
        """Those that a payment could leave by now."""
        return tuple(self._first_hops(with_htlcs=True))

    def list_connected_peers(self) -> tuple[NodeId, ...]:
        return tuple(self._peers)

    def forget_closed_channel(self, channel_id: ChannelId) -> None:
        """The monitor was archived: nothing will ever have to be told to it."""
        with self._entry:
            if self._closed.pop(channel_id, None) is not None:
                self._persist.write((Row(CLOSED_SPACE, channel_id, None),))

    # --- events ---

    def process_pending_events(self, handler: Callable[[int, Event], None]) -> None:
        """Hands out the events. The handler may call entries of the manager."""
        self._events.process(handler)

    def pending_events(self) -> tuple[Event, ...]:
        """What waits to be handled, for tests and status lines."""
        return self._events.pending()

    def _settle(self) -> None:
        super()._settle()
        # The clock that judges invoices does not go back over a restart.
        if self._highest_seen_at != self._written_highest_seen_at:
            self._written_highest_seen_at = self._highest_seen_at
            value = self._highest_seen_at.to_bytes(8, "big")
            self._persist.write((Row(_MANAGER_SPACE, _HIGHEST_SEEN, value),))

    _written_highest_seen_at: int = 0
