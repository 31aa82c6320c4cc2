"""`ChainMonitor`: all channels' monitors behind one face. It is `chain.Watch`, `Confirm` and an
`EventsProvider`.

It hands each piece of news to each monitor and carries out what they answer with: registrations at the chain
source, broadcasts, durable events. A monitor in which something impossible happened is frozen alone: it is
left as it was, reported, and asked nothing more, while the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from wallet.bitcoin.records import encode
from wallet.bitcoin.script import p2wsh
from wallet.bitcoin.tx import BlockHash, BlockHeader, Transaction, Txid
from wallet.chain.interfaces import (
    BroadcasterInterface,
    FeeEstimator,
    Filter,
    Logger,
    LogLevel,
    Persist,
    RevokedStates,
    Row,
    TxInBlock,
)
from wallet.ln.chan_utils import funding_script
from wallet.ln.channelmonitor import (
    Broadcast,
    ChannelMonitor,
    Effect,
    MonitorEnv,
    TellEvent,
    WatchOutput,
)
from wallet.ln.event_queue import CHAIN_MONITOR_EVENTS, EventQueue
from wallet.ln.events import Balance, Event
from wallet.ln.monitor_state import Rows, read_states
from wallet.ln.monitor_update import ChannelMonitorUpdate, MonitorEvent, MonitorUpdateCompleted
from wallet.ln.sign import SignerProvider
from wallet.ln.types import APIError, ChannelId, PaymentHash
from wallet.ln.watch import ChannelMonitorUpdateStatus

__all__ = ["ChainMonitor", "FurtherCopy"]

ARCHIVE_SPACE: Final = "monitor_archived"

FurtherCopy = Callable[[ChannelId, int], ChannelMonitorUpdateStatus]
"""Puts update `n` of a channel somewhere else as well; IN_PROGRESS is followed by
`channel_monitor_updated`, UNRECOVERABLE by nothing: the channel stands still until the next start."""


class ChainMonitor:
    """Implements `Watch`, `Confirm` and `EventsProvider`.

    Attributes:
        events: durable events that the wallet has not acted on yet.
    """

    def __init__(
        self,
        *,
        filter: Filter | None,
        broadcaster: BroadcasterInterface,
        fee_estimator: FeeEstimator,
        keys_manager: SignerProvider,
        persist: Persist,
        revoked_states: RevokedStates,
        logger: Logger,
        further_copy: FurtherCopy | None = None,
    ) -> None:
        self._filter = filter
        self._broadcaster = broadcaster
        self._persist = persist
        self._logger = logger
        self._further_copy = further_copy
        self._env = MonitorEnv(
            fee_estimator=fee_estimator,
            keys=keys_manager,
            persist=persist,
            revoked_states=revoked_states,
            logger=logger,
        )
        self.events = EventQueue(persist, CHAIN_MONITOR_EVENTS)
        self._monitors: dict[ChannelId, ChannelMonitor] = {}
        self._frozen: dict[ChannelId, str] = {}
        self._in_progress: dict[ChannelId, set[int]] = {}
        self._completed: list[MonitorEvent] = []

    @classmethod
    def read(
        cls,
        rows: Rows,
        *,
        filter: Filter | None,
        broadcaster: BroadcasterInterface,
        fee_estimator: FeeEstimator,
        keys_manager: SignerProvider,
        persist: Persist,
        revoked_states: RevokedStates,
        logger: Logger,
        further_copy: FurtherCopy | None = None,
        restored: bool = False,
        held: Collection[ChannelId] = (),
    ) -> ChainMonitor:
        """Rebuilds everything from its rows, and watches again. Raises DecodeError when they are damaged.

        `restored`: nothing of our own commitments leaves before `release_hold` has been called for a channel.
        `held`: the same for these channels only, which an earlier run held and did not release.
        """
        chain_monitor = cls(
            filter=filter,
            broadcaster=broadcaster,
            fee_estimator=fee_estimator,
            keys_manager=keys_manager,
            persist=persist,
            revoked_states=revoked_states,
            logger=logger,
            further_copy=further_copy,
        )
        chain_monitor.events.read(rows)
        for state in read_states(rows):
            monitor = ChannelMonitor(state)
            monitor.held = restored or state.channel_id in held
            chain_monitor._monitors[state.channel_id] = monitor
            chain_monitor._register_funding(monitor)
            chain_monitor._carry_out(monitor.load(chain_monitor._env))
        return chain_monitor

    # --- chain.Watch ---

    def watch_channel(self, channel_id: ChannelId, monitor: ChannelMonitor) -> ChannelMonitorUpdateStatus:
        if channel_id != monitor.channel_id:
            raise APIError("This monitor is another channel's.")
        if channel_id in self._monitors:
            return ChannelMonitorUpdateStatus.UNRECOVERABLE
        self._persist.write(monitor.all_rows())
        self._monitors[channel_id] = monitor
        self._register_funding(monitor)
        self._carry_out(monitor.load(self._env))
        return self._copied(channel_id, monitor.latest_update_id)

    def update_channel(
        self, channel_id: ChannelId, update: ChannelMonitorUpdate
    ) -> ChannelMonitorUpdateStatus:
        monitor = self._monitors.get(channel_id)
        if monitor is None or channel_id in self._frozen:
            return ChannelMonitorUpdateStatus.UNRECOVERABLE
        try:
            status, effects = monitor.update_monitor(update, self._env)
        except Exception as error:
            self._freeze(channel_id, error)
            return ChannelMonitorUpdateStatus.UNRECOVERABLE
        self._carry_out(effects)
        # A refused commitment may have come with a preimage: that has to be copied as well.
        copied = self._copied(channel_id, update.update_id)
        return copied if status is ChannelMonitorUpdateStatus.COMPLETED else status

    def is_preimage_pending(self, payment_hash: PaymentHash, besides: ChannelId) -> bool:
        return any(
            self._monitors[channel_id].can_claim(payment_hash)
            for channel_id in self._in_progress
            if channel_id != besides
        )

    def release_pending_monitor_events(self) -> list[MonitorEvent]:
        taken, self._completed = self._completed, []
        for monitor in self._monitors.values():
            taken.extend(monitor.take_events(self._env))
        return taken

    def channel_monitor_updated(self, channel_id: ChannelId, update_id: int) -> None:
        """A further copy of an update is durable."""
        waiting = self._in_progress.get(channel_id)
        if waiting is None or update_id not in waiting:
            raise APIError(f"Nothing waits for update {update_id}.")
        waiting.discard(update_id)
        if not waiting:
            del self._in_progress[channel_id]
            head = self._monitors[channel_id].state.head
            refused = head.refused_update_id
            # What depends on a commitment that was refused never leaves.
            latest = head.update_id if refused is None else min(head.update_id, refused - 1)
            self._completed.append(MonitorUpdateCompleted(channel_id=channel_id, update_id=latest))

    def _copied(self, channel_id: ChannelId, update_id: int) -> ChannelMonitorUpdateStatus:
        if self._further_copy is None:
            return ChannelMonitorUpdateStatus.COMPLETED
        status = self._further_copy(channel_id, update_id)
        if status is ChannelMonitorUpdateStatus.UNRECOVERABLE:
            # The update itself is taken. What depends on it waits until a restart offers it to the copy again.
            self._logger.log(LogLevel.ERROR, "update %d of %s has no copy", update_id, channel_id.hex())
            status = ChannelMonitorUpdateStatus.IN_PROGRESS
        if status is ChannelMonitorUpdateStatus.IN_PROGRESS:
            self._in_progress.setdefault(channel_id, set()).add(update_id)
        elif channel_id in self._in_progress:
            # Updates are durable in order: this one counts once those before it do.
            return ChannelMonitorUpdateStatus.IN_PROGRESS
        return status

    # --- chain.Confirm ---

    def transactions_confirmed(self, header: BlockHeader, height: int, txdata: Sequence[TxInBlock]) -> None:
        self._each(lambda monitor: monitor.transactions_confirmed(header, height, txdata, self._env))

    def transaction_unconfirmed(self, txid: Txid) -> None:
        self._each(lambda monitor: monitor.transaction_unconfirmed(txid, self._env))

    def best_block_updated(self, header: BlockHeader, height: int) -> None:
        self._each(lambda monitor: monitor.best_block_updated(header, height, self._env))

    def get_relevant_txids(self) -> Sequence[tuple[Txid, int, BlockHash | None]]:
        found = {item for monitor in self._monitors.values() for item in monitor.get_relevant_txids()}
        return sorted(found, key=lambda item: (item[1], item[0]))

    def transactions_seen(self, txs: Sequence[Transaction]) -> None:
        self._each(lambda monitor: monitor.transactions_seen(txs, self._env))

    def transactions_evicted(self, txids: Sequence[Txid]) -> None:
        self._each(lambda monitor: monitor.transactions_evicted(txids, self._env))

    # --- EventsProvider ---

    def process_pending_events(self, handler: Callable[[int, Event], None]) -> None:
        self.events.process(handler)

    # --- what the node asks ---

    def rebroadcast_pending_claims(self) -> None:
        """Every 30 seconds or so."""
        self._each(lambda monitor: monitor.rebroadcast_pending_claims(self._env))

    def release_hold(self, channel_id: ChannelId) -> None:
        """A restored wallet's channel is shown to be current: its commitment may be broadcast again."""
        monitor = self._monitors.get(channel_id)
        if monitor is not None and monitor.held:
            self._one(monitor, lambda it: it.release_hold(self._env))

    def broadcast_latest_holder_commitment_txn(self, channel_id: ChannelId) -> None:
        """By hand, whatever forbids it: if our commitment is outdated, the peer may take all of the
        channel."""
        monitor = self._monitors.get(channel_id)
        if monitor is None:
            raise APIError("There is no such channel.")
        self._one(monitor, lambda it: it.broadcast_latest_holder_commitment(self._env))

    def get_claimable_balances(self, ignored_open: Collection[ChannelId] = ()) -> list[Balance]:
        """What each amount waits for; open channels that are shown elsewhere can be left out."""
        return [
            balance
            for channel_id, monitor in self._monitors.items()
            if channel_id not in ignored_open or monitor.is_spent
            for balance in monitor.get_claimable_balances()
        ]

    def list_monitors(self) -> list[ChannelId]:
        return list(self._monitors)

    def get_monitor(self, channel_id: ChannelId) -> ChannelMonitor | None:
        return self._monitors.get(channel_id)

    def frozen(self) -> dict[ChannelId, str]:
        """Monitors that are asked nothing more, and why. The person has to be told."""
        return dict(self._frozen)

    def archive_fully_resolved_monitors(self) -> None:
        """Forgets channels in which nothing has been left to do for four weeks."""
        for channel_id, monitor in list(self._monitors.items()):
            if monitor.is_archivable and channel_id not in self._in_progress:
                self._persist.write(
                    [
                        *monitor.deleting_rows(),
                        Row(ARCHIVE_SPACE, channel_id, encode(monitor.state.static)),
                    ]
                )
                del self._monitors[channel_id]

    # --- inside ---

    def _each(self, call: Callable[[ChannelMonitor], list[Effect]]) -> None:
        for monitor in list(self._monitors.values()):
            self._one(monitor, call)

    def _one(self, monitor: ChannelMonitor, call: Callable[[ChannelMonitor], list[Effect]]) -> None:
        if monitor.channel_id in self._frozen:
            return
        try:
            effects = call(monitor)
        except Exception as error:
            self._freeze(monitor.channel_id, error)
            return
        self._carry_out(effects)

    def _freeze(self, channel_id: ChannelId, error: Exception) -> None:
        self._frozen[channel_id] = str(error)
        self._logger.log(LogLevel.ERROR, "the monitor of channel %s is frozen: %r", channel_id.hex(), error)

    def _register_funding(self, monitor: ChannelMonitor) -> None:
        if self._filter is not None:
            script_pubkey = p2wsh(funding_script(monitor.state.params))
            self._filter.register_tx(monitor.funding_outpoint.txid, script_pubkey)

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        """The monitor has moved already: one effect that fails must not keep back the others."""
        for effect in effects:
            try:
                self._carry_out_one(effect)
            except Exception as error:
                self._logger.log(LogLevel.ERROR, "%s failed: %r", type(effect).__name__, error)

    def _carry_out_one(self, effect: Effect) -> None:
        match effect:
            case WatchOutput():
                if self._filter is not None:
                    self._filter.register_output(effect.outpoint, effect.script_pubkey, effect.block_hash)
            case Broadcast():
                self._broadcaster.broadcast_transactions(effect.package)
            case TellEvent():
                # What waits unchanged need not wait twice.
                if effect.event not in self.events.pending():
                    self.events.push(effect.event)
