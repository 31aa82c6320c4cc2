"""Immutable snapshots of a node for its front ends, and the change-sets that announce them.

A snapshot is made on the network loop, at most 20 a second, and only where somebody listens; it takes the core's
lock for as long as it copies. Reading it afterwards costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from wallet.bitcoin.tx import Txid, txid_hex
from wallet.chain.electrum.sync import NO_BLOCK_SECONDS, SyncState, SyncStatus
from wallet.i18n import _, ngettext
from wallet.ln.channel_details import ChannelDetails, ChannelState
from wallet.ln.events import Balance, BalanceKind, SentPart
from wallet.ln.routing.gossip import SyncState as GossipState
from wallet.ln.types import ChannelId, NodeId, PaymentId
from wallet.node.activity import ActivityIndex
from wallet.node.api import (
    ActivityKind,
    ActivityPage,
    ActivityQuery,
    ActivityStatus,
    AttemptView,
    ChangeSet,
    ChannelPhase,
    ChannelView,
    GraphSync,
    GraphSyncState,
    LockedCoin,
    NodeStatus,
    PeerView,
    Problem,
    ProblemKind,
    RecoveryView,
    RequestStatus,
    RequestView,
    ServerView,
    WalletSnapshot,
)
from wallet.node.attempts import attempt_view, read_trace, under_way
from wallet.node.balance import balance_view
from wallet.node.core import read_clocks
from wallet.node.details import in_flight_msat, type_name
from wallet.node.futures import resolve
from wallet.node.receipts import paid_onchain
from wallet.node.records import (
    ChannelStatRecord,
    ClosedChannelRecord,
    PaymentState,
    RequestRecord,
    RequestState,
)
from wallet.node.sentences import duration_text

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__ = ["Views", "scid_text"]

PUBLISH_INTERVAL_SECONDS = 0.05
RECENT_ITEMS = 5
RECENT_REQUESTS = 100
ANTI_REORG_BLOCKS = 6
SAFETY_MARGIN_BLOCKS = 144
"""A day: what it may take to come back and get a transaction confirmed."""
BLOCK_MINUTES = 10
UPTIME_TELLS_SECONDS = 600
"""A share of less than ten minutes says nothing about a peer."""


def scid_text(short_channel_id: int | None) -> str | None:
    """912345x12x1, as the field writes it."""
    if short_channel_id is None:
        return None
    return f"{short_channel_id >> 40}x{short_channel_id >> 16 & 0xFFFFFF}x{short_channel_id & 0xFFFF}"


_SYNC_STATES = {
    GossipState.NOT_STARTED: GraphSyncState.NOT_STARTED,
    GossipState.RANGES: GraphSyncState.ASKING_RANGES,
    GossipState.CHANNELS: GraphSyncState.CHANNELS,
    GossipState.SIGNATURES: GraphSyncState.SIGNATURES,
    GossipState.DONE: GraphSyncState.DONE,
}


class Views:
    """Makes snapshots, keeps the last one that was told, tells those who subscribed."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._listeners: list[Callable[[ChangeSet], None]] = []
        self._scheduled: asyncio.TimerHandle | None = None
        # What subscribers know. Commands make snapshots of their own: those tell nobody anything.
        self._told: WalletSnapshot | None = None
        self._parts_seen: tuple[PaymentId | None, tuple[SentPart, ...]] = None, ()
        self.activity = ActivityIndex(node)
        self._waiting: list[asyncio.Future[None]] = []
        self.version = 0
        # Of a snapshot of the graph: the command that takes it over says it.
        self.imported_percent: int | None = None

    # --- telling ----------------------------------------------------------------------

    def subscribe(self, listener: Callable[[ChangeSet], None]) -> Callable[[], None]:
        """From any thread; the listener is called on the network loop."""
        self._listeners.append(listener)
        self._node.loop.call_soon_threadsafe(self.publish_soon)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    def publish_soon(self) -> None:
        """On the loop: a change-set follows within 50 ms, however often this is called."""
        self.version += 1
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            resolve(future, None)
        if not self._listeners:
            # Whoever comes later begins with a snapshot; until then the list would grow with each payment.
            self._node.ledger.take_changed()
        elif self._scheduled is None:
            self._scheduled = self._node.loop.call_later(PUBLISH_INTERVAL_SECONDS, self._publish)

    async def changed_since(self, version: int) -> int:
        """Waits until something is newer than `version`; the version now."""
        if version == self.version:
            future: asyncio.Future[None] = self._node.loop.create_future()
            self._waiting.append(future)
            await future
        return self.version

    def close(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
        self._listeners.clear()
        self.activity.close()

    def _publish(self) -> None:
        self._scheduled = None
        old = self._told
        new = self._told = self.snapshot()
        changed = self._node.ledger.take_changed()
        before = {channel.channel_id: channel for channel in old.channels} if old is not None else {}
        after = {channel.channel_id: channel for channel in new.channels}
        change = ChangeSet(
            snapshot=new,
            status=old is None or old.status != new.status,
            balance=old is None or old.balance != new.balance,
            channels=frozenset(
                key for key in before.keys() | after.keys() if before.get(key) != after.get(key)
            ),
            peers=old is None or old.peers != new.peers,
            activity=frozenset(changed.activity),
            requests=frozenset(changed.requests),
            payment_progress=changed.progress,
        )
        quiet = not (change.status or change.balance or change.channels or change.peers)
        if quiet and not (change.activity or change.requests or change.payment_progress):
            return
        for listener in list(self._listeners):
            listener(change)

    # --- the snapshot -------------------------------------------------------------------

    def snapshot(self) -> WalletSnapshot:
        """Takes the lock for a moment; from any thread but one that is inside the core."""
        node = self._node
        with node.core.locked():
            details = tuple(
                item for item in node.manager.list_channels() if item.channel_id not in node.events.probes
            )
            node.remember_details(details)
            closing_ids = frozenset(node.ledger.closed)
            balances = node.chain_monitor.get_claimable_balances(
                frozenset(item.channel_id for item in details if item.channel_id not in closing_ids)
            )
            onchain = node.onchain.balance()
            reserve_sat = node.anchor_reserve_sat()
            sweeping = [item for item in node.sweeper.tracked_spendable_outputs() if item.spent is None]
            home_ids = {
                channel_id.hex()
                for channel_id in {balance.channel_id for balance in balances}
                if self._is_home(channel_id)
            }
        locked = [self.locked_coin(balance) for balance in balances]
        locked += [
            LockedCoin(
                amount_sat=item.descriptor.output.value_sat,
                reason=_("Spendable; on its way into your on-chain coins."),
                until_height=None,
                channel_id=item.channel_id.hex(),
            )
            for item in sweeping
        ]
        channels = tuple(self._channel(item) for item in details) + tuple(
            self._closed_channel(record, locked)
            for record in sorted(node.ledger.closed.values(), key=lambda record: -record.closed_at)
            if record.was_funded
        )
        apart = tuple(coin for coin in locked if coin.channel_id not in home_ids)
        balance = balance_view(onchain, reserve_sat, details, node.peers.online, apart)
        return WalletSnapshot(
            status=self._status(details),
            balance=balance,
            channels=channels,
            peers=self._peers(details),
            requests=tuple(
                self.request_view(record) for record in node.ledger.newest_requests(RECENT_REQUESTS)
            ),
            recent=self.activity_page(offset=0, limit=RECENT_ITEMS).items,
        )

    def _status(self, details: tuple[ChannelDetails, ...]) -> NodeStatus:
        node = self._node
        chain = node.electrum.status()
        with node.core.locked():
            recovery, backup_text = node.recovery.view(), node.recovery.backup_text()
            sync = node.gossip.sync_progress()
        problems = self._problems(chain, recovery)
        with_channels = {item.counterparty_node_id for item in details}
        online = node.peers.online
        # Who is called for gossip only goes again by itself.
        strangers = online - node.gossip_peers.called
        pending_heights = [htlc.cltv_expiry_height for item in details for htlc in item.pending_htlcs]
        delays = [item.force_close_spend_delay_blocks or 0 for item in details if item.is_channel_ready]
        safe_until = None
        if delays:
            limits = [node.best_height + min(delays), *pending_heights]
            safe_until = max(node.best_height, min(limits) - SAFETY_MARGIN_BLOCKS)
        return NodeStatus(
            network=node.options.network_name,
            wallet_name=node.options.wallet_name,
            node_id=node.keys_manager.get_node_id().hex(),
            synced=chain.is_synced,
            height=node.best_height,
            tip_at=chain.tip_at,
            servers=tuple(
                ServerView(
                    address=str(server.address),
                    connected=server.is_connected,
                    height=server.height,
                    protocol=server.protocol,
                    problem=server.reason,
                )
                for server in chain.servers
            ),
            peers_online=len(online & with_channels) if with_channels else len(strangers),
            peers_total=len(with_channels) if with_channels else len(strangers),
            graph_nodes=node.graph.node_count,
            graph_channels=node.graph.channel_count,
            graph_updated_at=node.graph.last_update_at,
            graph_sync=GraphSync(
                state=_SYNC_STATES[sync.state],
                known_channels=sync.known,
                listed_channels=sync.listed,
                signatures_waiting=sync.signatures,
                synced_at=sync.synced_at,
                calls_public_nodes=node.gossip_peers.is_on if node.gossip_peers.can_be_chosen else None,
                imported_percent=self.imported_percent,
            ),
            backup_text=backup_text,
            safe_until_height=safe_until,
            planned_channel=node.plans.sentence(),
            plan_is_waiting=node.plans.plan is not None,
            recovery=recovery,
            fiat=node.rates.view,
            problem=problems[0].text if problems else "",
            problems=problems,
        )

    def _problems(self, chain: SyncStatus, recovery: RecoveryView) -> tuple[Problem, ...]:
        """What stops everything first, then what the person alone can mend."""
        node = self._node
        found = (
            (ProblemKind.FILE, node.failure),
            (ProblemKind.RESTORED, recovery.problem if recovery.is_restored else ""),
            (ProblemKind.BACKUP, recovery.backup_problem if recovery.is_restored else recovery.problem),
            (ProblemKind.SERVERS, node.pause_sentence() or self._chain_problem(chain)),
            (ProblemKind.COINS, self._coins_problem()),
            (ProblemKind.REQUESTS, self._request_problem(len(node.events.channel_requests))),
        )
        return tuple(Problem(kind=kind, text=text) for kind, text in found if text)

    def _chain_problem(self, chain: SyncStatus) -> str:
        """What is wrong between us and the chain; a lie that was found out is told as long as the liar is left."""
        silence_seconds = self._node.silence_seconds()
        if silence_seconds >= min(
            NO_BLOCK_SECONDS, self._node.options.htlc_pause_seconds or NO_BLOCK_SECONDS
        ):
            return _(
                "No new block has come for {time}: other servers are asked. Check the connection, and the computer's "
                "clock."
            ).format(time=duration_text(silence_seconds))
        if chain.state is SyncState.OFFLINE:
            return _("No server can be reached: nothing new is seen. Leyden keeps trying.")
        liars = [server for server in chain.servers if server.error is not None and server.error.is_dishonest]
        words = []
        if chain.state is SyncState.WAITING and chain.agreeing < chain.required:
            agreeing = ngettext(
                "{count} of {need} server agrees on the newest block; Leyden looks for another one.",
                "{count} of {need} servers agree on the newest block; Leyden looks for another one.",
                chain.required,
            )
            words.append(agreeing.format(count=chain.agreeing, need=chain.required))
        elif not chain.is_synced:
            # Also where enough servers stand at the tip and one still tells what there is for us.
            words.append(_("Catching up with the chain."))
        words += [
            _("{address} is not believed any more. {why}").format(address=liar.address, why=liar.reason)
            for liar in liars
        ]
        return " ".join(words)

    def _coins_problem(self) -> str:
        claim = self._node.events.claim_without_coins()
        if claim is None:
            return ""
        if not claim.amount_sat:
            return _(
                "A channel's closing transaction may take long: coins are missing to pay its fee. Send coins to this "
                "wallet; they should be confirmed before block {height}."
            ).format(height=claim.deadline_height)
        return _(
            "Coins are missing to pay for the claim of {amount} sat of a closed channel. Send coins to this wallet; "
            "they should be confirmed before block {height}."
        ).format(amount=f"{claim.amount_sat:,}", height=claim.deadline_height)

    @staticmethod
    def _request_problem(requests: int) -> str:
        if requests:
            return ngettext(
                "A peer wants to open a channel: your word is needed",
                "{count} peers want to open channels: your word is needed",
                requests,
            ).format(count=requests)
        return ""

    def _peers(self, details: tuple[ChannelDetails, ...]) -> tuple[PeerView, ...]:
        node = self._node
        online = node.peers.online
        known = {bytes(node_id) for node_id in online} | set(node.ledger.peers)
        views = []
        for node_id in sorted(known):
            record = node.ledger.peers.get(node_id)
            calls = node.peers.calls(NodeId(node_id))
            seen_at = record.last_seen_at if record is not None else None
            views.append(
                PeerView(
                    node_id=node_id.hex(),
                    alias=node.alias_of(node_id),
                    address=f"{record.host}:{record.port}" if record is not None else "",
                    online=node_id in online,
                    last_seen_at=max(filter(None, (seen_at, calls.seen_at)), default=None),
                    channels=sum(1 for item in details if item.counterparty_node_id == node_id),
                    attempts=calls.attempts,
                    tried_at=calls.tried_at,
                    next_try_at=calls.next_at,
                    problem=calls.problem,
                )
            )
        return tuple(views)

    def _is_home(self, channel_id: ChannelId) -> bool:
        """Whether the transaction that closes a channel pays the wallet itself, as one does on which both sides agreed:
        then its coins are counted on chain from when it leaves, though the channel waits until it is buried."""
        record = self._node.ledger.closed.get(channel_id)
        if record is None or record.closing_txid is None:
            return False
        onchain = self._node.onchain
        entry = onchain.entry(Txid(record.closing_txid))
        return entry is not None and any(onchain.is_mine(out.script_pubkey) for out in entry.tx.outputs)

    def locked_coin(self, balance: Balance) -> LockedCoin:
        """What keeps an amount of a channel from being spent, in words."""
        height = balance.height
        match balance.kind:
            case BalanceKind.CLAIMABLE_ON_CHANNEL_CLOSE:
                reason = _("The closing transaction is on its way into the chain.")
            case BalanceKind.CLAIMABLE_AWAITING_CONFIRMATIONS:
                reason = _("On the chain and yours; it waits for its delay to pass.")
            case BalanceKind.CONTENTIOUS_CLAIMABLE:
                reason = _("A payment to you that Leyden claims on the chain.")
            case BalanceKind.MAYBE_TIMEOUT_CLAIMABLE_HTLC:
                reason = _("A payment of yours that comes back unless the payee takes it.")
            case BalanceKind.MAYBE_PREIMAGE_CLAIMABLE_HTLC:
                reason = _("A payment that becomes yours only if its proof arrives in time.")
            case BalanceKind.COUNTERPARTY_REVOKED_OUTPUT_CLAIMABLE:
                reason = _("The peer cheated: Leyden takes this output as the penalty.")
        return LockedCoin(
            amount_sat=balance.amount_sat,
            reason=reason,
            until_height=height,
            channel_id=balance.channel_id.hex(),
            is_certain=balance.kind is not BalanceKind.MAYBE_PREIMAGE_CLAIMABLE_HTLC,
        )

    # --- channels -------------------------------------------------------------------------

    def _channel(self, item: ChannelDetails) -> ChannelView:
        node = self._node
        online = item.counterparty_node_id in node.peers.online
        phase, text = self._phase(item, online)
        stat = node.ledger.stats.get(item.channel_id, ChannelStatRecord())
        outpoint = item.funding_outpoint
        return ChannelView(
            channel_id=item.channel_id.hex(),
            short_channel_id=scid_text(item.short_channel_id),
            peer_id=item.counterparty_node_id.hex(),
            peer_alias=node.alias_of(item.counterparty_node_id),
            peer_online=online,
            phase=phase,
            phase_text=text,
            is_usable=item.is_usable,
            is_outbound=item.is_outbound,
            is_announced=item.is_announced,
            channel_type=type_name(item),
            capacity_sat=item.channel_value_sat,
            local_msat=item.balance_msat,
            remote_msat=max(0, item.channel_value_sat * 1000 - item.balance_msat),
            can_send_msat=item.next_outbound_htlc_limit_msat,
            can_receive_msat=item.inbound_capacity_msat,
            holder_reserve_sat=item.unspendable_punishment_reserve_sat or 0,
            counterparty_reserve_sat=item.counterparty_reserve_sat or 0,
            inflight_out_msat=in_flight_msat(item, outbound=True),
            inflight_in_msat=in_flight_msat(item, outbound=False),
            funding_txid=txid_hex(outpoint.txid) if outpoint is not None else None,
            funding_vout=outpoint.vout if outpoint is not None else None,
            closing_txid=None,
            confirmations=item.confirmations or 0,
            confirmations_required=item.confirmations_required or 0,
            to_self_delay_blocks=item.force_close_spend_delay_blocks or 0,
            feerate_sat_per_kw=item.feerate_sat_per_kw or 0,
            details=(
                (_("Channel id"), item.channel_id.hex()),
                (_("Short channel id"), scid_text(item.short_channel_id) or "–"),
                (_("Peer"), item.counterparty_node_id.hex()),
                (_("Type"), type_name(item)),
                (_("Fee rate"), f"{item.feerate_sat_per_kw or 0} sat/kw"),
            ),
            held=item.channel_id in node.recovery.held,
            fees_earned_msat=stat.fees_earned_msat,
            forwards=stat.forwards,
            uptime_permille=None
            if stat.watched_seconds < UPTIME_TELLS_SECONDS
            else 1000 * stat.online_seconds // stat.watched_seconds,
        )

    @staticmethod
    def _phase(item: ChannelDetails, online: bool) -> tuple[ChannelPhase, str]:
        if item.state in (ChannelState.SHUTTING_DOWN, ChannelState.CLOSING):
            return ChannelPhase.SHUTTING_DOWN, _(
                "Closing: waiting for payments under way and for the peer's word"
            )
        if item.funding_outpoint is None:
            return ChannelPhase.NEGOTIATING, _("Agreeing on the channel with the peer")
        if not item.is_channel_ready:
            have, need = item.confirmations or 0, item.confirmations_required or 0
            if have < need:
                text = ngettext("{have} of {need} confirmation", "{have} of {need} confirmations", need)
                minutes = (need - have) * BLOCK_MINUTES
                tail = _(", about {minutes} minutes").format(minutes=minutes)
                return ChannelPhase.AWAITING_CONFIRMATIONS, text.format(have=have, need=need) + tail
            return ChannelPhase.AWAITING_PEER, _("Confirmed; waiting for the peer to see it too")
        if not online:
            return ChannelPhase.PEER_OFFLINE, _("The peer is offline; Leyden keeps trying")
        return ChannelPhase.READY, _("Ready")

    def _closed_channel(self, record: ClosedChannelRecord, locked: list[LockedCoin]) -> ChannelView:
        node = self._node
        mine = tuple(coin for coin in locked if coin.channel_id == record.channel_id.hex())
        phase = ChannelPhase.CLOSED
        if mine:
            phase = ChannelPhase.FORCE_CLOSING if record.forced else ChannelPhase.CLOSING
        if mine:
            sure = [coin for coin in mine if coin.is_certain]
            heights = [coin.until_height for coin in sure if coin.until_height is not None]
            if not sure:
                text = _("Waits for the proof of a payment to you")
            elif heights and max(heights) > node.best_height:
                blocks = max(heights) - node.best_height
                text = ngettext("All yours in {blocks} block", "All yours in {blocks} blocks", blocks).format(
                    blocks=blocks
                )
            else:
                text = _("On its way home")
        else:
            text = _("Closed")
        return ChannelView(
            channel_id=record.channel_id.hex(),
            short_channel_id=None,
            peer_id=record.counterparty_node_id.hex(),
            peer_alias=node.alias_of(record.counterparty_node_id),
            peer_online=record.counterparty_node_id in node.peers.online,
            phase=phase,
            phase_text=text,
            is_usable=False,
            is_outbound=record.is_outbound,
            is_announced=False,
            channel_type=record.channel_type,
            capacity_sat=record.capacity_sat,
            local_msat=record.local_msat,
            remote_msat=max(0, record.capacity_sat * 1000 - record.local_msat),
            can_send_msat=0,
            can_receive_msat=0,
            holder_reserve_sat=0,
            counterparty_reserve_sat=0,
            inflight_out_msat=0,
            inflight_in_msat=0,
            funding_txid=txid_hex(record.funding_txid) if record.funding_txid is not None else None,
            funding_vout=record.funding_vout,
            closing_txid=txid_hex(record.closing_txid) if record.closing_txid is not None else None,
            confirmations=0,
            confirmations_required=0,
            to_self_delay_blocks=record.to_self_delay_blocks,
            feerate_sat_per_kw=0,
            closure_text=record.reason,
            locked=mine,
        )

    # --- requests and activity --------------------------------------------------------------

    def request_view(self, record: RequestRecord) -> RequestView:
        status = {
            RequestState.UNPAID: RequestStatus.UNPAID,
            RequestState.PAID: RequestStatus.PAID,
            RequestState.HELD: RequestStatus.HELD,
            RequestState.CANCELLED: RequestStatus.CANCELLED,
        }[record.state]
        status = self._paid_onchain(record) or status
        if status is RequestStatus.UNPAID and record.expires_at <= self._node.wall_clock_at():
            status = RequestStatus.EXPIRED
        return RequestView(
            request_id=record.request_id.hex(),
            amount_msat=record.amount_msat,
            message=record.message,
            created_at=record.created_at,
            expires_at=record.expires_at,
            status=status,
            invoice=record.invoice,
            address=record.address,
            payment_hash=record.request_id.hex(),
            txid=None if record.paid_txid is None else txid_hex(Txid(record.paid_txid)),
            paid_twice=self._is_paid_twice(record),
        )

    def _is_paid_twice(self, record: RequestRecord) -> bool:
        """Over Lightning, and to the address as well."""
        if record.state is not RequestState.PAID or record.paid_txid is None:
            return False
        with self._node.core.locked():
            return paid_onchain(self._node, record) is not None

    def _paid_onchain(self, record: RequestRecord) -> RequestStatus | None:
        """How far a payment to the request's address has come; None where there is none, or none any more."""
        if record.state is not RequestState.UNPAID or record.paid_txid is None:
            return None
        with self._node.core.locked():
            entry = self._node.onchain.entry_by_hex(txid_hex(Txid(record.paid_txid)))
        if entry is None:
            return None
        return RequestStatus.PENDING if entry.height is None else RequestStatus.PAID

    @property
    def waits(self) -> bool:
        """Whether readers wait for a busy core. A window does not: it is told of each change once the change is in what
        it reads."""
        return not self._listeners

    def payment_attempts(self, item_id: str, *, wait: bool = True) -> tuple[AttemptView, ...]:
        """What was tried for a payment of ours, oldest first; takes the lock for a moment while it is under way. Who
        does not wait sees the parts that were seen last, where the core is busy."""
        node = self._node
        kind, _colon, rest = item_id.partition(":")
        record = node.ledger.payments.get(bytes.fromhex(rest)) if kind == "ln" else None
        if record is None:
            return ()
        attempts = list(read_trace(record.trace).attempts)
        if record.state is PaymentState.PENDING:
            payment_id = PaymentId(record.payment_hash)
            seen_of, seen = self._parts_seen
            parts = seen if seen_of == payment_id else ()
            with node.core.locked() if wait else node.core.locked_soon() as is_held:
                if is_held is not False:
                    parts = node.manager.payment_parts_under_way(payment_id)
            self._parts_seen = payment_id, parts
            now = read_clocks()
            attempts += [under_way(part, now) for part in parts]
        return tuple(attempt_view(attempt, node.alias_of, scid_text) for attempt in attempts)

    def activity_page(
        self,
        *,
        offset: int,
        limit: int,
        text: str = "",
        kind: ActivityKind | None = None,
        status: ActivityStatus | None = None,
        wait: bool = True,
    ) -> ActivityPage:
        """Newest first; takes the lock for a moment."""
        query = ActivityQuery(text=text, kind=kind, status=status)
        return self.activity.page(query, offset=offset, limit=limit, wait=wait)
