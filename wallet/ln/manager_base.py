"""The ground that the rooms of `ChannelManager` stand on: entries, effects, rows, and how a channel ends.

Theory of operation. Every call from outside is one entry. Within it, transitions are computed one after the other,
each over one channel: the step first, then the swap of the state, then its effects in order. What a step tells is
queued and worked off before the entry ends, because it may move other channels (a preimage goes upstream).
Last, channels with updates that are not signed for yet get their one commitment_signed, and the rows by
which all touched channels differ from what was written before go to `Persist`. Messages, broadcasts and
registrations only queue; the node lets them leave after the commit.

A channel that breaks a rule of ours inside (`InvariantError`) is frozen: nothing of it goes on, no message
for it is answered, and its monitor keeps watch. The others work on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Final, assert_never

from wallet.bitcoin.address import Network
from wallet.bitcoin.frozen import replace
from wallet.bitcoin.records import encode
from wallet.bitcoin.script import p2wsh
from wallet.bitcoin.tx import BlockHash, Txid
from wallet.chain.interfaces import (
    BroadcasterInterface,
    BroadcastPackage,
    ConfirmationTarget,
    FeeEstimator,
    Filter,
    Logger,
    LogLevel,
    Persist,
    Row,
)
from wallet.i18n import _
from wallet.ln import msgs
from wallet.ln.chan_utils import funding_script, sign_funding_witness
from wallet.ln.channel_chain import funding_deadline_height
from wallet.ln.channel_closing import ClosingFees
from wallet.ln.channel_commitment import needs_commitment, send_commitment
from wallet.ln.channel_htlcs import FeeBounds, drop_held_adds
from wallet.ln.channel_limits import settled_balance_msat
from wallet.ln.channel_open import UnfundedChannel
from wallet.ln.channel_reestablish import hold_again, make_reestablish
from wallet.ln.channel_state import FundedChannel, Link, OutboundStage, rows_of, rows_of_removal
from wallet.ln.channel_step import (
    BroadcastClosing,
    BroadcastFunding,
    Draft,
    Effect,
    Send,
    SignClosing,
    SignCounterpartyCommitment,
    SignRevocation,
    Step,
    Tell,
    TellChannelClosed,
    TellChannelReady,
    TellHeldAddFailed,
    TellHtlcFailed,
    TellHtlcFulfilled,
    TellHtlcsCommitted,
    TellHtlcSettled,
    UpdateMonitor,
    ValidateRevocation,
)
from wallet.ln.config import ChannelConfig, UserConfig
from wallet.ln.event_queue import CHANNEL_MANAGER_EVENTS, EventQueue
from wallet.ln.events import (
    ChannelClosed,
    ClosureKind,
    ClosureReason,
    ErrorAction,
    Event,
    HandleError,
    MessageSendEvent,
    SendMessage,
)
from wallet.ln.features import Features
from wallet.ln.htlc import HTLCSource
from wallet.ln.monitor_update import ChannelMonitorUpdate, ForceClosed, MonitorUpdateStep
from wallet.ln.types import (
    APIError,
    ChannelError,
    ChannelId,
    InvariantError,
    NodeId,
    Now,
    PeerError,
    ShortChannelId,
)
from wallet.ln.watch import ChannelMonitorUpdateStatus, Watch

if TYPE_CHECKING:
    from wallet.ln.sign import ChannelSigner, KeysInterface

__all__ = ["CLOSED_SPACE", "AgreedClose", "ClosedChannel", "ManagerBase", "PeerState"]

CLOSED_SPACE: Final = "channel_closed"
_BY_AGREEMENT: Final = (ClosureKind.COOPERATIVE_BY_HOLDER, ClosureKind.COOPERATIVE_BY_COUNTERPARTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedClose:
    """What a peer is told once more that has missed our last word of a close: messages, whole, with their types.

    Attributes:
        is_outbound: we paid the fee, and speak of it first.
        reestablish: with the numbers that the channel ended with.
        shutdown: as it was sent.
        closing_signed: for the transaction that both sides have signed, and for its fee alone.
    """

    is_outbound: bool
    reestablish: bytes
    shutdown: bytes
    closing_signed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedChannel:
    """What is left of a channel in the manager: its monitor may still have to learn preimages.

    Attributes:
        last_update_id: of the monitor.
        sources: of HTLCs that we offered, and whose end the monitor has still to tell.
        by_agreement: both sides have signed the closing transaction.
        agreed: what we said of it; None where only the chain told of it.
    """

    counterparty_node_id: NodeId
    last_update_id: int
    sources: tuple[HTLCSource, ...] = ()
    by_agreement: bool = field(default=False, metadata={"tlv": 1})
    agreed: AgreedClose | None = field(default=None, metadata={"tlv": 3})


@dataclass(slots=True)
class PeerState:
    """A connected peer, for as long as it is connected.

    Attributes:
        features: of its `init`.
        unfunded: openings under way, by temporary channel id; two peers may choose the same one.
        closing_again: closed channels that it asked for on this connection, and whether our closing_signed was said.
    """

    features: Features
    unfunded: dict[ChannelId, UnfundedChannel]
    closing_again: dict[ChannelId, bool] = field(default_factory=dict)


class _Entry:
    """`with self._entry:` around every call from outside."""

    __slots__ = ("_manager", "depth")

    def __init__(self, manager: ManagerBase) -> None:
        self._manager = manager
        self.depth = 0

    def __enter__(self) -> None:
        if self.depth:
            raise InvariantError("the channel manager was entered from within")
        self.depth = 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # What was swapped in before an error stands; it has to be written like anything else.
            self._manager._settle()
        finally:
            self.depth = 0


class ManagerBase(ABC):
    """State and services of the manager; its methods are for the rooms, not for the outside."""

    def __init__(
        self,
        *,
        network: Network,
        fee_estimator: FeeEstimator,
        chain_monitor: Watch,
        tx_broadcaster: BroadcasterInterface,
        filter: Filter | None,
        keys_manager: KeysInterface,
        persist: Persist,
        logger: Logger,
        config: UserConfig,
        best_block: tuple[BlockHash, int],
    ) -> None:
        self._network = network
        self._fee_estimator = fee_estimator
        self._chain_monitor = chain_monitor
        self._broadcaster = tx_broadcaster
        self._filter = filter
        self._keys = keys_manager
        self._persist = persist
        self._logger = logger
        self._config = config
        self._best_hash, self._best_height = best_block
        self._highest_seen_at = 0
        self._now: Now | None = None
        self._our_node_id = keys_manager.get_node_id()

        self._entry = _Entry(self)
        self._events = EventQueue(persist, CHANNEL_MANAGER_EVENTS)
        self._outbox: list[MessageSendEvent] = []
        self._peers: dict[NodeId, PeerState] = {}
        self._channels: dict[ChannelId, FundedChannel] = {}
        self._closed: dict[ChannelId, ClosedChannel] = {}
        self._by_funding: dict[Txid, ChannelId] = {}
        self._by_scid: dict[ShortChannelId, ChannelId] = {}
        self._signers: dict[ChannelId, ChannelSigner] = {}
        self._frozen: set[ChannelId] = set()
        self._in_progress: dict[ChannelId, int] = {}
        self._blocked: dict[ChannelId, list[Send]] = {}
        self._waiting: dict[ChannelId, dict[Callable[[], None], int]] = {}
        """What peers said from a revoke_and_ack on that would have us forget a preimage too early, in order, with the
        bytes that each message had."""
        self._agreed: dict[ChannelId, AgreedClose] = {}
        """Of closes that were agreed on in this entry, until the channel has left."""
        self._announced: set[ChannelId] = set()
        self._disabled: set[ChannelId] = set()
        self._offline_ticks: dict[ChannelId, int] = {}
        self._previous_configs: dict[ChannelId, tuple[ChannelConfig, int]] = {}
        self._ticks_awaiting: dict[ChannelId, int] = {}
        self._unfunded_ticks: dict[tuple[NodeId, ChannelId], int] = {}
        self._closing_scripts: list[bytes] = []
        """Of ours, for the closes of channels that are not there yet."""
        self._lost: dict[NodeId, dict[ChannelId, bytes]] = {}
        """Channels whose state is lost, with their keys ids: their peers are asked to close them."""
        self.channel_reestablished: Callable[[ChannelId], None] = lambda channel_id: None
        """Called within the entry in which a peer has shown that our state of a channel is current."""
        self.greetings: Callable[[NodeId, Features], Sequence[msgs.Message]] = lambda node_id, features: ()
        """What goes to a peer after `init` and before any channel_reestablish."""
        self.offers_storage = False
        """Whether blobs are kept for peers: BOLT 1, option_provide_storage."""
        self.may_know_too_little = False
        """The wallet was made of words alone: channels that it does not know may be another copy's."""
        self.claimants: set[NodeId] = set()
        """Peers that named such a channel."""

        # Of the current entry.
        self._monitor_moved = False
        self._tells: deque[tuple[ChannelId, FundedChannel, Tell]] = deque()
        self._written: dict[ChannelId, FundedChannel] = {}
        self._touched: dict[ChannelId, None] = {}
        self._with_new_points: set[ChannelId] = set()
        self._to_commit: dict[ChannelId, None] = {}

    # --- provided by other rooms ---

    @abstractmethod
    def _on_htlcs_committed(self, channel_id: ChannelId, tell: TellHtlcsCommitted) -> None: ...

    @abstractmethod
    def _on_htlc_fulfilled(self, channel_id: ChannelId, tell: TellHtlcFulfilled) -> None: ...

    @abstractmethod
    def _on_htlc_failed(self, channel_id: ChannelId, tell: TellHtlcFailed) -> None: ...

    @abstractmethod
    def _on_htlc_settled(self, channel_id: ChannelId, tell: TellHtlcSettled) -> None: ...

    @abstractmethod
    def _on_held_add_failed(self, channel_id: ChannelId, tell: TellHeldAddFailed) -> None: ...

    @abstractmethod
    def _on_channel_ready(self, channel_id: ChannelId) -> None: ...

    # --- small things ---

    def _log(self, level: LogLevel, message: str, *args: object) -> None:
        self._logger.log(level, message, *args)

    def _push_event(self, event: Event) -> None:
        self._events.push(event)

    def _send_to(self, node_id: NodeId, msg: msgs.Message) -> None:
        self._outbox.append(SendMessage(node_id, msg))

    def _max_dust_exposure_msat(self, channel: FundedChannel) -> int:
        feerate = self._fee_estimator.get_est_sat_per_1000_weight(ConfirmationTarget.MAXIMUM_FEE_ESTIMATE)
        return channel.config.max_dust_htlc_exposure.limit_msat(feerate)

    def _fee_bounds(self, *, anchors: bool) -> FeeBounds:
        estimate = self._fee_estimator.get_est_sat_per_1000_weight
        lowest = (
            ConfirmationTarget.MIN_ALLOWED_ANCHOR_CHANNEL_REMOTE_FEE
            if anchors
            else ConfirmationTarget.MIN_ALLOWED_NON_ANCHOR_CHANNEL_REMOTE_FEE
        )
        # Ten times the dearest estimate: estimates differ, and a dear fee is the funder's loss before it is ours.
        most_sat_per_kw = max(25_000, 10 * estimate(ConfirmationTarget.MAXIMUM_FEE_ESTIMATE))
        return FeeBounds(min_sat_per_kw=estimate(lowest), max_sat_per_kw=most_sat_per_kw)

    def _closing_fees(self, channel: FundedChannel) -> ClosingFees:
        estimate = self._fee_estimator.get_est_sat_per_1000_weight
        return ClosingFees(
            min_sat_per_kw=estimate(ConfirmationTarget.CHANNEL_CLOSE_MINIMUM),
            target_sat_per_kw=estimate(ConfirmationTarget.NON_ANCHOR_CHANNEL_FEE),
            max_extra_sat=channel.config.force_close_avoidance_max_fee_sat,
        )

    def _channel_feerate(self, *, anchors: bool) -> int:
        target = (
            ConfirmationTarget.ANCHOR_CHANNEL_FEE if anchors else ConfirmationTarget.NON_ANCHOR_CHANNEL_FEE
        )
        return self._fee_estimator.get_est_sat_per_1000_weight(target)

    def _hold_time_ms(self, since_ms: int | None) -> int:
        if since_ms is None or self._now is None:
            return 0
        return max(0, self._now.mono_ms - since_ms)

    # --- channels ---

    def _signer(self, channel: FundedChannel) -> ChannelSigner:
        signer = self._signers.get(channel.channel_id)
        if signer is None:
            signer = self._keys.derive_channel_signer(channel.terms.channel_keys_id)
            self._signers[channel.channel_id] = signer
        return signer

    def _channel_with(self, node_id: NodeId, channel_id: ChannelId) -> FundedChannel:
        """The peer's funded channel; a peer that names another one is told so."""
        channel = self._channels.get(channel_id)
        if channel is None or channel.counterparty_node_id != node_id:
            closed = self._closed.get(channel_id)
            if closed is not None and closed.by_agreement and closed.counterparty_node_id == node_id:
                # Our last word may have been lost with the connection. To an error, the peer would publish its
                # commitment against the transaction that both have signed.
                raise PeerError(
                    "This channel is closed: its closing transaction is on its way.", disconnect=False
                )
            raise ChannelError("There is no such channel between us.", channel_id=channel_id)
        if channel_id in self._frozen:
            raise PeerError("This channel is out of order on our side.", disconnect=True)
        return channel

    def _add_channel(self, channel: FundedChannel) -> None:
        """A channel enters: it is named in all ways, and its funding is watched for."""
        channel_id = channel.channel_id
        self._channels[channel_id] = channel
        self._touched[channel_id] = None
        self._name_channel(channel)
        self._register(channel)

    def _name_channel(self, channel: FundedChannel) -> None:
        channel_id = channel.channel_id
        self._by_funding[channel.scope.funding_outpoint.txid] = channel_id
        self._by_scid[channel.terms.scid_alias] = channel_id
        scid = channel.scope.short_channel_id
        if scid is not None:
            self._by_scid[scid] = channel_id

    def _register(self, channel: FundedChannel) -> None:
        if self._filter is not None:
            script_pubkey = p2wsh(funding_script(channel.scope.params))
            self._filter.register_tx(channel.scope.funding_outpoint.txid, script_pubkey)

    def _run(self, channel: FundedChannel, transition: Callable[[Draft], None]) -> bool:
        """One transition of one channel, with every way in which it may go wrong. False if it went wrong.

        It starts from the channel's state as it is now, whatever the caller has seen of it before.
        """
        channel_id = channel.channel_id
        current = self._channels.get(channel_id)
        if current is None or channel_id in self._frozen:
            return False
        try:
            draft = Draft(current)
            transition(draft)
            self._apply(draft.finish())
        except ChannelError as error:
            self._close_channel(
                self._channels[channel_id],
                ClosureReason(ClosureKind.PROCESSING_ERROR, error.message),
                broadcast=True,
                message=error.message,
            )
            return False
        except (APIError, PeerError):
            # The caller's mistake, or the peer's: nothing has happened.
            raise
        except Exception as error:
            self._freeze(channel_id, error)
            return False
        return True

    def _freeze(self, channel_id: ChannelId, error: Exception) -> None:
        """A fault of ours. Until the next start reads the channel from its rows, nothing of it goes on."""
        self._log(LogLevel.ERROR, "channel %s is frozen: %r", channel_id.hex(), error)
        self._frozen.add(channel_id)
        self._waiting.pop(channel_id, None)
        channel = self._channels.get(channel_id)
        if channel is not None:
            self._outbox.append(
                HandleError(
                    channel.counterparty_node_id, ErrorAction.DISCONNECT, "internal error", channel_id
                )
            )

    # --- effects ---

    def _apply(self, step: Step) -> None:
        """Swaps the new state in, then carries its effects out, in order."""
        channel = step.state
        channel_id = channel.channel_id
        old = self._channels[channel_id]
        self._channels[channel_id] = channel
        self._touched[channel_id] = None
        if old.scope is not channel.scope:
            self._rename(old, channel)
        if (
            old.core.holder_next_point != channel.core.holder_next_point
            or old.core.counterparty_next_point != channel.core.counterparty_next_point
        ):
            self._with_new_points.add(channel_id)
        self._monitor_moved = False
        said = len(self._outbox)
        try:
            self._carry_out(channel, step)
        except Exception:
            # The channel goes as far as its monitor went. What was to be said of it is not: a later
            # channel_reestablish shows what the peer lacks.
            if not self._monitor_moved:
                self._channels[channel_id] = old
            del self._outbox[said:]
            raise

    def _rename(self, old: FundedChannel, new: FundedChannel) -> None:
        before, after = old.scope.short_channel_id, new.scope.short_channel_id
        if before is not None and before != after:
            self._by_scid.pop(before, None)
        if after is not None:
            self._by_scid[after] = new.channel_id

    def _filled(self, channel: FundedChannel, effects: tuple[Effect, ...]) -> list[Effect]:
        """The effects with every signature in its place. A signer that refuses does so before anything happened."""
        signer = self._signer(channel)
        signature = b""
        htlc_signatures: tuple[bytes, ...] = ()
        secret = b""
        filled: list[Effect] = []
        for effect in effects:
            match effect:
                case SignCounterpartyCommitment():
                    signature, htlc_signatures = signer.sign_counterparty_commitment(
                        channel.scope.params, effect.commitment
                    )
                case SignRevocation():
                    if effect.replacement is not None:
                        signer.validate_holder_commitment(channel.scope.params, effect.replacement)
                    secret = signer.release_commitment_secret(effect.number)
                case SignClosing():
                    signature = signer.sign_closing_transaction(
                        channel.scope.params, effect.closing, effect.most_fee_sat
                    )
                case ValidateRevocation():
                    signer.validate_counterparty_revocation(effect.number, effect.secret)
                case Send(msg=msgs.CommitmentSigned() as commit):
                    commit = replace(commit, signature=signature, htlc_signatures=htlc_signatures)
                    filled.append(Send(commit, effect.needs_monitor))
                case Send(msg=msgs.RevokeAndAck() as revoke):
                    filled.append(Send(replace(revoke, per_commitment_secret=secret), effect.needs_monitor))
                case Send(msg=msgs.Shutdown() as shutdown):
                    signer.agree_to_close(shutdown.script_pubkey)
                    filled.append(effect)
                case Send(msg=msgs.ClosingSigned() as closing):
                    filled.append(Send(replace(closing, signature=signature), effect.needs_monitor))
                case _:
                    filled.append(effect)
        return filled

    def _carry_out(self, channel: FundedChannel, step: Step) -> None:
        channel_id = channel.channel_id
        for effect in self._filled(channel, step.effects):
            match effect:
                case UpdateMonitor():
                    self._update_monitor(channel_id, effect.update)
                case Send():
                    self._send(channel, effect)
                case BroadcastFunding():
                    if channel_id not in self._in_progress:
                        self._broadcaster.broadcast_transactions(
                            BroadcastPackage((effect.tx,), label="channel funding")
                        )
                case BroadcastClosing():
                    ours = self._signer(channel).sign_closing_transaction(
                        channel.scope.params, effect.closing, effect.most_fee_sat
                    )
                    tx = sign_funding_witness(
                        channel.scope.params, effect.closing.tx, ours, effect.counterparty_sig
                    )
                    self._agreed[channel_id] = self._agreed_close(channel, effect, ours)
                    self._broadcaster.broadcast_transactions(BroadcastPackage((tx,), label="channel close"))
                case (
                    TellHtlcsCommitted()
                    | TellHtlcFulfilled()
                    | TellHtlcFailed()
                    | TellHtlcSettled()
                    | TellHeldAddFailed()
                    | TellChannelReady()
                    | TellChannelClosed()
                ):
                    self._tells.append((channel_id, channel, effect))
                case SignCounterpartyCommitment() | SignRevocation() | SignClosing() | ValidateRevocation():
                    raise InvariantError("a signature was asked for after the signatures were made")
                case _:
                    assert_never(effect)

    def _agreed_close(
        self, channel: FundedChannel, effect: BroadcastClosing, signature: bytes
    ) -> AgreedClose:
        point = self._signer(channel).get_per_commitment_point(channel.core.holder_number)
        closing_signed = msgs.ClosingSigned(
            channel_id=channel.channel_id,
            fee_sat=effect.fee_sat,
            signature=signature,
            fee_range=(effect.fee_sat, effect.fee_sat),
        )
        shutdown = msgs.Shutdown(channel_id=channel.channel_id, script_pubkey=effect.closing.to_holder_script)
        return AgreedClose(
            is_outbound=channel.terms.is_outbound,
            reestablish=msgs.encode_message(make_reestablish(channel, point)),
            shutdown=msgs.encode_message(shutdown),
            closing_signed=msgs.encode_message(closing_signed),
        )

    def _send(self, channel: FundedChannel, effect: Send) -> None:
        channel_id = channel.channel_id
        waiting = self._blocked.get(channel_id)
        if waiting is not None or (effect.needs_monitor and channel_id in self._in_progress):
            # Whatever follows a message that has to wait keeps its place behind it.
            self._blocked.setdefault(channel_id, []).append(effect)
            return
        self._send_to(channel.counterparty_node_id, effect.msg)

    def _update_monitor(self, channel_id: ChannelId, update: ChannelMonitorUpdate) -> None:
        match self._chain_monitor.update_channel(channel_id, update):
            case ChannelMonitorUpdateStatus.COMPLETED:
                self._monitor_moved = True
            case ChannelMonitorUpdateStatus.IN_PROGRESS:
                self._monitor_moved = True
                if channel_id in self._channels:
                    self._in_progress[channel_id] = update.update_id
            case ChannelMonitorUpdateStatus.UNRECOVERABLE:
                raise InvariantError("the monitor does not take its updates any more")

    def _monitor_completed(self, channel_id: ChannelId, update_id: int) -> None:
        """Lets go what had to wait for the monitor, once nothing is in progress."""
        if self._in_progress.get(channel_id, 0) > update_id:
            return
        self._in_progress.pop(channel_id, None)
        channel = self._channels.get(channel_id)
        waiting = self._blocked.pop(channel_id, [])
        if channel is None:
            return
        for effect in waiting:
            self._send_to(channel.counterparty_node_id, effect.msg)
        if channel.scope.funding_tx is not None and channel.scope.confirmation is None:
            self._broadcaster.broadcast_transactions(
                BroadcastPackage((channel.scope.funding_tx,), label="channel funding")
            )

    def _update_closed_monitor(self, channel_id: ChannelId, steps: tuple[MonitorUpdateStep, ...]) -> None:
        """An update for a channel that has left: preimages that its monitor still needs."""
        closed = self._closed.get(channel_id)
        if closed is None:
            return
        closed = replace(closed, last_update_id=closed.last_update_id + 1)
        self._closed[channel_id] = closed
        self._persist.write((Row(CLOSED_SPACE, channel_id, encode(closed)),))
        update = ChannelMonitorUpdate(channel_id=channel_id, update_id=closed.last_update_id, steps=steps)
        try:
            self._update_monitor(channel_id, update)
        except InvariantError as error:
            # There is no channel left to freeze; others must not suffer.
            self._log(LogLevel.ERROR, "the monitor of closed channel %s: %s", channel_id.hex(), error)

    # --- the end of an entry ---

    def _settle(self) -> None:
        try:
            self._work_off()
        finally:
            self._write_touched()

    def _work_off(self) -> None:
        while self._tells or self._to_commit:
            while self._tells:
                channel_id, channel, tell = self._tells.popleft()
                try:
                    self._hear(channel_id, channel, tell)
                except Exception as error:
                    # What it told was not heard: it must not go on as if it had been.
                    self._freeze(channel_id, error)
            for channel_id in list(self._to_commit):
                del self._to_commit[channel_id]
                current = self._channels.get(channel_id)
                if current is not None and channel_id not in self._frozen:
                    self._commit(current)

    def _write_touched(self) -> None:
        rows: list[Row] = []
        for channel_id in self._touched:
            before, now = self._written.get(channel_id), self._channels.get(channel_id)
            if now is None:
                if before is not None:
                    rows.extend(rows_of_removal(before))
                    del self._written[channel_id]
                continue
            if before is not now:
                rows.extend(rows_of(before, now))
                self._written[channel_id] = now
        self._touched.clear()
        if rows:
            self._persist.write(rows)

    def _commit(self, channel: FundedChannel) -> None:
        def transition(draft: Draft) -> None:
            if needs_commitment(draft):
                send_commitment(draft)

        if channel.link is Link.UP and not channel.is_awaiting_revocation:
            self._run(channel, transition)

    def _hear(self, channel_id: ChannelId, channel: FundedChannel, tell: Tell) -> None:
        match tell:
            case TellHtlcsCommitted():
                self._on_htlcs_committed(channel_id, tell)
            case TellHtlcFulfilled():
                self._on_htlc_fulfilled(channel_id, tell)
            case TellHtlcFailed():
                self._on_htlc_failed(channel_id, tell)
            case TellHtlcSettled():
                self._on_htlc_settled(channel_id, tell)
            case TellHeldAddFailed():
                self._on_held_add_failed(channel_id, tell)
            case TellChannelReady():
                self._on_channel_ready(channel_id)
            case TellChannelClosed():
                self._close_channel(
                    self._channels.get(channel_id, channel),
                    tell.reason,
                    broadcast=tell.broadcast,
                    message=tell.message,
                )
            case _:
                assert_never(tell)

    # --- the end of a channel ---

    def _close_channel(
        self,
        channel: FundedChannel,
        reason: ClosureReason,
        *,
        broadcast: bool,
        message: str | None,
        tell_monitor: bool = True,
    ) -> None:
        """A channel leaves the manager. Its HTLCs are its monitor's business from now on.

        `message`: sent to the peer as an `error`, unless it is empty; None after a co-operative close.
        `tell_monitor`: False where the monitor was first to know.
        """
        channel_id = channel.channel_id
        if self._channels.pop(channel_id, None) is None:
            return
        self._log(LogLevel.INFO, "channel %s closes: %s", channel_id.hex(), reason)
        self._touched[channel_id] = None
        self._to_commit.pop(channel_id, None)
        self._in_progress.pop(channel_id, None)
        self._blocked.pop(channel_id, None)
        self._waiting.pop(channel_id, None)
        self._ticks_awaiting.pop(channel_id, None)
        self._by_funding.pop(channel.scope.funding_outpoint.txid, None)
        for scid in (channel.terms.scid_alias, channel.scope.short_channel_id):
            if scid is not None:
                self._by_scid.pop(scid, None)
        agreed = self._agreed.pop(channel_id, None)
        by_agreement = reason.kind in _BY_AGREEMENT
        closed = ClosedChannel(
            counterparty_node_id=channel.counterparty_node_id,
            last_update_id=channel.core.last_update_id,
            # Of what no commitment holds, no monitor would ever tell.
            sources=tuple(
                htlc.source for htlc in channel.outbound.values() if htlc.stage is not OutboundStage.SENT_ADD
            ),
            by_agreement=by_agreement,
            agreed=agreed if by_agreement else None,
        )
        self._closed[channel_id] = closed
        self._persist.write((Row(CLOSED_SPACE, channel_id, encode(closed)),))
        if message is not None:
            if tell_monitor:
                by_peer = reason.kind is ClosureKind.COUNTERPARTY_FORCE_CLOSED
                should_broadcast = broadcast and not channel.core.outdated
                step = ForceClosed(
                    should_broadcast=should_broadcast,
                    by_counterparty=by_peer,
                    unfunded=reason.kind is ClosureKind.FUNDING_TIMED_OUT,
                    funding_deadline_height=funding_deadline_height(channel),
                )
                self._update_closed_monitor(channel_id, (step,))
            if message and channel.counterparty_node_id in self._peers:
                self._outbox.append(
                    HandleError(channel.counterparty_node_id, ErrorAction.SEND_ERROR, message, channel_id)
                )
        self._give_back(channel)
        self._push_event(
            ChannelClosed(
                channel_id,
                channel.counterparty_node_id,
                channel.terms.user_channel_id,
                reason,
                channel.channel_value_sat,
                channel.scope.funding_outpoint,
                True,
                channel.terms.is_outbound,
                settled_balance_msat(channel),
            )
        )

    def _give_back(self, channel: FundedChannel) -> None:
        """HTLCs that were never offered: no commitment holds them."""
        draft = Draft(channel)
        hold_again(draft)
        drop_held_adds(draft, _("The channel is closed."))
        for tell in draft.tells:
            self._tells.append((channel.channel_id, channel, tell))

    def _peer_features(self, node_id: NodeId) -> Features | None:
        peer = self._peers.get(node_id)
        return None if peer is None else peer.features
