"""One node of the stateful tests: the core, and around it a store that remembers every state a crash may leave.

Theory of operation. Every call into the core is an entry, and the rows of an entry are a batch, as in
`wallet/node/core.py`. The store keeps the batches one by one. Whatever leaves the node (a message that is delivered, a
transaction that is relayed, a further copy that is reported durable) needs its batch, and all before it, on
disk: `left` says so, and folds them into the floor. A crash may bring the node back at any batch from the floor on. A
node whose writer is slow (`deferred`) lets nothing leave until `commit` is called.

A further copy is the monitor as it was at its update; `durable_copies` is what is there should this computer burn. A
preimage that a monitor claims by, and that its copy lacks, has to be in the copy of some other channel: in words, or as
an HTLC that its taker still has to show the preimage for.

What the test itself concludes from an event of a batch goes the way of the batch: `undo_with_batch` takes it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.functional.joined import PresetRouter, TestLogger
from tests.stateful.small_chain import Coins, SmallChain
from wallet.bitcoin.address import REGTEST
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.tx import Transaction
from wallet.chain.interfaces import BroadcastPackage, ConfirmationTarget, Row, TxInBlock
from wallet.ln import msgs
from wallet.ln.bump_transaction import BumpTransactionEventHandler
from wallet.ln.chainmonitor import ChainMonitor
from wallet.ln.channel_reestablish import disconnect
from wallet.ln.channel_state import read_channels
from wallet.ln.channel_step import Draft
from wallet.ln.channelmanager import ChannelManager
from wallet.ln.config import UserConfig
from wallet.ln.events import ErrorAction, HandleError, SendMessage
from wallet.ln.keysinterface import KeysManager
from wallet.ln.monitor_state import MonitorState
from wallet.ln.types import ChannelError, ChannelId, NodeId, Now, PaymentHash, PeerError
from wallet.ln.watch import ChannelMonitorUpdateStatus

MAX_FEE_SAT_PER_KW = 10_000
FLOOR_SAT_PER_KW = 253

_HEIGHT = ("harness", b"height")


class Fees:
    """Rates that no peer can find too low or too high; only that of commitments without anchors moves."""

    def __init__(self) -> None:
        self.channel_sat_per_kw = FLOOR_SAT_PER_KW

    def get_est_sat_per_1000_weight(self, confirmation_target: ConfirmationTarget) -> int:
        match confirmation_target:
            case ConfirmationTarget.MAXIMUM_FEE_ESTIMATE | ConfirmationTarget.URGENT_ON_CHAIN_SWEEP:
                return MAX_FEE_SAT_PER_KW
            case ConfirmationTarget.NON_ANCHOR_CHANNEL_FEE:
                return min(self.channel_sat_per_kw, MAX_FEE_SAT_PER_KW)
            case _:
                return FLOOR_SAT_PER_KW


class Journal:
    """Rows, batch by batch. `Persist` and `RevokedStates`."""

    def __init__(self, rows: dict[tuple[str, bytes], bytes]) -> None:
        self.rows = dict(rows)
        self.floor = 0
        self._at_floor = dict(rows)
        self._batches: list[list[Row]] = []
        self._current: list[Row] = []

    @property
    def latest(self) -> int:
        return self.floor + len(self._batches)

    @property
    def next_batch(self) -> int:
        return self.latest + 1

    @property
    def has_changes(self) -> bool:
        return bool(self._current)

    def write(self, rows: Iterable[Row]) -> None:
        added = list(rows)
        self._current += added
        _apply(self.rows, added)

    def read(self, key: bytes) -> bytes | None:
        return self.rows.get(("revoked", key))

    def read_space(self, space: str) -> list[tuple[bytes, bytes]]:
        return sorted((key, value) for (name, key), value in self.rows.items() if name == space)

    def close_batch(self) -> None:
        self._batches.append(self._current)
        self._current = []

    def raise_floor(self, batch: int) -> None:
        while self.floor < batch:
            _apply(self._at_floor, self._batches.pop(0))
            self.floor += 1

    def roll_back(self, batch: int) -> None:
        """What a crash after `batch` leaves."""
        assert self.floor <= batch <= self.latest
        self.raise_floor(batch)
        self._batches.clear()
        self._current.clear()
        self.rows = dict(self._at_floor)


def _apply(rows: dict[tuple[str, bytes], bytes], changes: Iterable[Row]) -> None:
    for row in changes:
        if row.value is None:
            rows.pop((row.space, row.key), None)
        else:
            rows[(row.space, row.key)] = row.value


@dataclass(frozen=True)
class HangUp:
    """Ends a connection."""

    message: str


@dataclass(frozen=True)
class Outgoing:
    """Something on its way to a peer; it may leave once its batch is on disk."""

    to: NodeId
    what: msgs.Message | HangUp
    batch: int


@dataclass(frozen=True)
class FurtherCopy:
    update_id: int
    batch: int
    state: MonitorState


def _holds(state: MonitorState, payment_hash: PaymentHash, *, of_peer: bool = False) -> bool:
    """Whether a commitment that may reach the chain holds an HTLC of this hash; `of_peer`: one offered to us."""
    return any(
        item.htlc.payment_hash == payment_hash and (item.source is None or not of_peer)
        for items in (state.holder.htlcs, *(commitment.htlcs for commitment in state.counterparty))
        for item in items
    )


class StoredNode:
    """See the module.

    Attributes:
        queue: taken from the manager, in order; the next to be delivered first.
        copies: further copies that are not reported durable yet.
        durable_copies: what the further copies hold for certain.
        style: how further copies are answered; a change counts from the next start on.
    """

    def __init__(
        self,
        name: str,
        config: UserConfig,
        chain: SmallChain,
        coins: Coins,
        rows: dict[tuple[str, bytes], bytes] | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.chain = chain
        self.coins = coins
        self.fees = Fees()
        self.logger = TestLogger()
        self.router = PresetRouter()
        self.journal = Journal(rows or {})
        self.deferred = False
        self.committed = 0
        self.style = ChannelMonitorUpdateStatus.COMPLETED
        self.last_settled_sat_per_kw = FLOOR_SAT_PER_KW
        self.mono_ms = 1_000_000
        self.queue: list[Outgoing] = []
        self._fresh: list[Outgoing] = []
        self.unrelayed: list[tuple[int, Transaction]] = []
        self.copies: dict[ChannelId, list[FurtherCopy]] = {}
        self._held_from: dict[ChannelId, int] = {}
        self._copied_up_to: dict[ChannelId, int] = {}
        self.durable_copies: dict[ChannelId, MonitorState] = {}
        self._claimed_on: dict[PaymentHash, set[ChannelId]] = {}
        self._undo: list[tuple[int, Callable[[], None]]] = []
        self._entropy_counter = 0
        self._inside = False
        self._live_style = self.style
        if rows is None:
            self._make()
        else:
            self._read()
            for channel_id in self.monitor.list_monitors():
                self._copied_up_to[channel_id] = self._latest_update(channel_id)
                self.durable_copies[channel_id] = self._state_of(channel_id)

    def __repr__(self) -> str:
        return self.name

    # --- making ---

    def _make_keys(self) -> KeysManager:
        return KeysManager(sha256(self.name.encode()), REGTEST, self._entropy)

    def _entropy(self) -> bytes:
        # Never the same twice, over restarts either.
        self._entropy_counter += 1
        return sha256(f"{self.name} {self._entropy_counter}".encode())

    def _make(self) -> None:
        self.keys = self._make_keys()
        with self.entry():
            self.height = self.chain.height
            self.monitor = ChainMonitor(
                filter=None,
                broadcaster=self,
                fee_estimator=self.fees,
                keys_manager=self.keys,
                persist=self.journal,
                revoked_states=self.journal,
                logger=self.logger,
                further_copy=self._further_copy,
            )
            self.manager = ChannelManager(
                network=REGTEST,
                fee_estimator=self.fees,
                chain_monitor=self.monitor,
                tx_broadcaster=self,
                filter=None,
                router=self.router,
                keys_manager=self.keys,
                persist=self.journal,
                logger=self.logger,
                config=self.config,
                best_block=self.chain.tip_at(self.height),
            )
            self._keep_height()

    def _read(self) -> None:
        self.keys = self._make_keys()
        self._live_style = self.style
        with self.entry():
            self.height = int.from_bytes(self.journal.rows[_HEIGHT], "big")
            self.monitor = ChainMonitor.read(
                self.journal.read_space,
                filter=None,
                broadcaster=self,
                fee_estimator=self.fees,
                keys_manager=self.keys,
                persist=self.journal,
                revoked_states=self.journal,
                logger=self.logger,
                further_copy=self._further_copy,
            )
            update_ids: dict[ChannelId, int] = {}
            for channel_id in self.monitor.list_monitors():
                update_ids[channel_id] = self._latest_update(channel_id)
            self.manager = ChannelManager.read(
                self.journal.read_space,
                network=REGTEST,
                fee_estimator=self.fees,
                chain_monitor=self.monitor,
                tx_broadcaster=self,
                filter=None,
                router=self.router,
                keys_manager=self.keys,
                persist=self.journal,
                logger=self.logger,
                config=self.config,
                best_block=self.chain.tip_at(self.height),
                monitor_update_ids=update_ids,
            )

    def restart(self, batch: int) -> None:
        """Killed, and started again with what `batch` left; then it catches up with the chain."""
        self.journal.roll_back(batch)
        while self._undo and self._undo[-1][0] > batch:
            self._undo.pop()[1]()
        self._undo.clear()
        self.committed = batch
        self.queue.clear()
        self._fresh.clear()
        self.unrelayed.clear()
        self.copies.clear()
        self._held_from.clear()
        self._read()
        for channel_id in self.monitor.list_monitors():
            if self._latest_update(channel_id) > self._copied_up_to.get(channel_id, 0):
                # The copy lacks something, whether or not the core thinks of that.
                self._held_from.setdefault(channel_id, 0)
        self.follow_chain(None)

    @property
    def node_id(self) -> NodeId:
        return self.keys.get_node_id()

    @property
    def now(self) -> Now:
        return Now(1_700_000_000, self.mono_ms)

    def use_style(self) -> None:
        """As if started with the style that is set."""
        self._live_style = self.style

    # --- entries ---

    @contextmanager
    def entry(self) -> Iterator[None]:
        """Around every call into the core: one batch."""
        assert not self._inside, "entered from within"
        self._inside = True
        try:
            yield
        finally:
            self._inside = False
        batch = self.journal.next_batch
        for event in self.manager.get_and_clear_pending_msg_events():
            match event:
                case SendMessage(node_id=to, msg=msg):
                    self._fresh.append(Outgoing(to, msg, batch))
                case HandleError():
                    self._fresh += self._outgoing_error(event, batch)
                case _:
                    pass
        self._check_held(batch)
        said = any(item.batch == batch for item in self._fresh)
        if self.journal.has_changes or said or any(item[0] == batch for item in self.unrelayed):
            self.journal.close_batch()
        if not self.deferred:
            self.commit()

    def commit(self) -> bool:
        """All batches are on disk. Whether there was anything to do."""
        worked = self.committed != self.journal.latest
        self.committed = self.journal.latest
        return worked

    def left(self, batch: int) -> None:
        """Something has left that needs this batch."""
        assert batch <= self.committed, "something leaves before it is on disk"
        self.journal.raise_floor(batch)
        while self._undo and self._undo[0][0] <= batch:
            del self._undo[0]

    def undo_with_batch(self, undo: Callable[[], None]) -> None:
        """Taken back should the batch of the current entry be lost in a crash."""
        assert self._inside
        self._undo.append((self.journal.next_batch, undo))

    @staticmethod
    def _outgoing_error(event: HandleError, batch: int) -> list[Outgoing]:
        found: list[Outgoing] = []
        if event.action in (ErrorAction.SEND_ERROR, ErrorAction.SEND_ERROR_AND_DISCONNECT):
            error = msgs.Error(
                channel_id=event.channel_id or ChannelId(bytes(32)), data=event.message.encode()
            )
            found.append(Outgoing(event.node_id, error, batch))
        if event.action in (
            ErrorAction.DISCONNECT,
            ErrorAction.SEND_ERROR_AND_DISCONNECT,
            ErrorAction.SEND_WARNING_AND_DISCONNECT,
        ):
            found.append(Outgoing(event.node_id, HangUp(event.message), batch))
        return found

    # --- messages ---

    def take_fresh(self) -> list[Outgoing]:
        """What the manager has to say, of batches that are on disk."""
        with self.entry():
            self.manager.process_pending_monitor_events()
        ready = [item for item in self._fresh if item.batch <= self.committed]
        self._fresh = self._fresh[len(ready) :]
        return ready

    def drop_messages_to(self, node_id: NodeId) -> None:
        self.queue = [item for item in self.queue if item.to != node_id]
        self._fresh = [item for item in self._fresh if item.to != node_id]

    def receive(self, sender: NodeId, raw: bytes) -> None:
        msg = msgs.decode_message(raw)
        manager = self.manager
        with self.entry():
            try:
                match msg:
                    case msgs.OpenChannel():
                        manager.handle_open_channel(sender, msg)
                    case msgs.AcceptChannel():
                        manager.handle_accept_channel(sender, msg)
                    case msgs.FundingCreated():
                        manager.handle_funding_created(sender, msg)
                    case msgs.FundingSigned():
                        manager.handle_funding_signed(sender, msg)
                    case msgs.ChannelReady():
                        manager.handle_channel_ready(sender, msg)
                    case msgs.ChannelReestablish():
                        manager.handle_channel_reestablish(sender, msg)
                    case msgs.UpdateAddHtlc():
                        manager.handle_update_add_htlc(sender, msg)
                    case msgs.UpdateFulfillHtlc():
                        manager.handle_update_fulfill_htlc(sender, msg)
                    case msgs.UpdateFailHtlc():
                        manager.handle_update_fail_htlc(sender, msg)
                    case msgs.UpdateFailMalformedHtlc():
                        manager.handle_update_fail_malformed_htlc(sender, msg)
                    case msgs.UpdateFee():
                        manager.handle_update_fee(sender, msg)
                    case msgs.CommitmentSigned():
                        manager.handle_commitment_signed(sender, msg)
                    case msgs.RevokeAndAck():
                        manager.handle_revoke_and_ack(sender, msg)
                    case msgs.ChannelUpdate():
                        manager.handle_channel_update(sender, msg)
                    case msgs.Error():
                        manager.handle_error(sender, msg)
                    case _:
                        raise AssertionError(f"{self} was sent {msg}")
            except ChannelError as error:
                action = HandleError(sender, ErrorAction.SEND_ERROR, error.message, error.channel_id)
                self._fresh += self._outgoing_error(action, self.journal.next_batch)
            except PeerError as error:
                raise AssertionError(f"{self} refuses {type(msg).__name__}: {error}") from error

    def connected(self, other: StoredNode, *, inbound: bool) -> None:
        init = msgs.Init(features=other.manager.provided_init_features(self.node_id))
        with self.entry():
            self.manager.peer_connected(other.node_id, init, inbound)

    def disconnected(self, other: NodeId) -> None:
        with self.entry():
            self.manager.peer_disconnected(other)
        self.drop_messages_to(other)

    # --- further copies ---

    def _further_copy(self, channel_id: ChannelId, update_id: int) -> ChannelMonitorUpdateStatus:
        state = self._state_of(channel_id)
        for payment_hash in state.preimages:
            self._claimed_on.setdefault(payment_hash, set()).add(channel_id)
        if self._live_style is ChannelMonitorUpdateStatus.IN_PROGRESS:
            copy = FurtherCopy(update_id, self.journal.next_batch, state)
            self.copies.setdefault(channel_id, []).append(copy)
            # Where in the manager's messages of this entry the copy begins to be waited for.
            waiting = getattr(self, "manager", None)
            self._held_from.setdefault(channel_id, 0 if waiting is None else len(waiting._outbox))
        else:
            self.durable_copies[channel_id] = state
            self._copied_up_to[channel_id] = update_id
            self._held_from.pop(channel_id, None)
        return self._live_style

    def _check_held(self, batch: int) -> None:
        """No commitment_signed or revoke_and_ack leaves while a further copy of its channel is not durable."""
        mine = [item for item in self._fresh if item.batch == batch]
        for channel_id, start in self._held_from.items():
            for item in mine[start:]:
                msg = item.what
                if isinstance(msg, msgs.CommitmentSigned | msgs.RevokeAndAck):
                    assert msg.channel_id != channel_id, f"{self} sends {type(msg).__name__} before its copy"
            self._held_from[channel_id] = 0

    def _state_of(self, channel_id: ChannelId) -> MonitorState:
        monitor = self.monitor.get_monitor(channel_id)
        assert monitor is not None
        return monitor.state

    def _latest_update(self, channel_id: ChannelId) -> int:
        return self._state_of(channel_id).head.update_id

    def complete_copy(self, channel_id: ChannelId, place: int) -> bool:
        """Reports one further copy as durable, if it can be there."""
        waiting = self.copies.get(channel_id, [])
        if not -len(waiting) <= place < len(waiting):
            return False
        copy = waiting[place]
        if copy.batch > self.committed:
            return False
        del waiting[place]
        if not waiting or waiting[0].update_id > copy.update_id:
            # Copies count in order: this one is the last of those that are there without a gap.
            self.durable_copies[channel_id] = copy.state
        if not waiting:
            del self.copies[channel_id]
            self._held_from.pop(channel_id, None)
            self._copied_up_to[channel_id] = self._latest_update(channel_id)
        self.left(copy.batch)
        with self.entry():
            self.monitor.channel_monitor_updated(channel_id, copy.update_id)
        return True

    def complete_copies(self, channel_id: ChannelId) -> bool:
        worked = False
        while self.complete_copy(channel_id, 0):
            worked = True
        return worked

    # --- the chain ---

    def broadcast_transactions(self, package: BroadcastPackage) -> None:
        assert self._inside
        for tx in package.txs:
            self.unrelayed.append((self.journal.next_batch, tx))

    def relay(self) -> int:
        """What may leave goes to the chain. How many transactions were new there."""
        ready = [item for item in self.unrelayed if item[0] <= self.committed]
        self.unrelayed = self.unrelayed[len(ready) :]
        count = 0
        for batch, tx in ready:
            self.left(batch)
            count += self.chain.relay(tx)
        return count

    def _keep_height(self) -> None:
        self.journal.write((Row(_HEIGHT[0], _HEIGHT[1], self.height.to_bytes(4, "big")),))

    def follow_chain(self, blocks: int | None) -> None:
        """Hears of blocks, each with transactions in an entry of its own; empty ones are skipped over."""
        goal = self.chain.height if blocks is None else min(self.height + blocks, self.chain.height)
        while self.height < goal:
            height = self.height + 1
            while height < goal and not self.chain.blocks[height].txs:
                height += 1
            block = self.chain.blocks[height]
            found = [TxInBlock(index + 1, tx) for index, tx in enumerate(block.txs)]
            with self.entry():
                for listener in (self.monitor, self.manager):
                    if found:
                        listener.transactions_confirmed(block.header, height, found)
                    listener.best_block_updated(block.header, height)
                self.height = height
                self._keep_height()

    def bump_handler(self) -> BumpTransactionEventHandler:
        return BumpTransactionEventHandler(self, self.coins, self.keys, self.logger)

    def tick(self) -> None:
        self.mono_ms += 60_000
        with self.entry():
            self.manager.timer_tick_occurred(self.now)

    # --- checks ---

    def check(self) -> None:
        """After every command: nothing is frozen, nothing impossible was logged."""
        assert not self.logger.errors, f"{self} logs: {self.logger.errors}"
        assert not self.monitor.frozen(), f"{self} has frozen monitors"
        assert not self.manager._frozen, f"{self} has frozen channels"
        self._check_copies()

    def _check_copies(self) -> None:
        """No preimage that is still needed is in none of the further copies, once one of them has had it."""
        for channel_id, copy in self.durable_copies.items():
            monitor = self.monitor.get_monitor(channel_id)
            if monitor is None or copy.preimages is monitor.state.preimages:
                continue
            for payment_hash in monitor.state.preimages:
                if payment_hash in copy.preimages or not _holds(copy, payment_hash, of_peer=True):
                    continue
                others = [
                    self.durable_copies[other]
                    for other in self._claimed_on[payment_hash]
                    if other != channel_id and other in self.durable_copies
                ]
                assert not others or any(
                    payment_hash in other.preimages or _holds(other, payment_hash) for other in others
                ), f"{self} has forgotten a preimage that the copy of {channel_id.hex()} lacks"

    def check_rows(self) -> None:
        """What a restart would find is what is in memory, but for what is not durable."""
        found = {
            channel.channel_id: channel
            for channel in read_channels(
                self.journal.read_space("channel"), self.journal.read_space("channel_htlc")
            )
        }
        assert found.keys() == self.manager._channels.keys()
        for channel_id, channel in self.manager._channels.items():
            draft = Draft(channel)
            disconnect(draft)
            assert found[channel_id] == draft.finish().state
