"""The running wallet: core, chain, store and sockets wired together. The composition and the life of a node.

Theory of operation. A `Node` lives on one asyncio loop (the network loop). Whatever calls the core does so through
`Core.entry()`: sockets and the chain source on the loop, the timer thread, commands. A batch's effects come back to
the loop in `_release`, in order, once they are durable.

Starting: the core is rebuilt from its rows; the chain source delivers what happened since; only when headers,
registered outputs and known transactions have reached one tip are peers connected.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec

from wallet.bitcoin.hashes import hkdf_sha256
from wallet.bitcoin.tx import BlockHash, BlockHeader, Transaction, Txid
from wallet.chain.electrum.broadcast import BroadcastResult, Verdict
from wallet.chain.electrum.sync import ElectrumSync, Proxy, default_servers
from wallet.chain.interfaces import (
    BestBlock,
    BroadcastPackage,
    ChainUpdate,
    ConfirmationTarget,
    FeeEstimator,
    LogLevel,
    Row,
    TransactionsConfirmed,
    TransactionsEvicted,
    TransactionsSeen,
    TransactionUnconfirmed,
)
from wallet.i18n import _
from wallet.ln.bump_transaction import BumpTransactionEventHandler
from wallet.ln.chainmonitor import ChainMonitor
from wallet.ln.channel_details import ChannelDetails
from wallet.ln.channelmanager import ChannelManager
from wallet.ln.config import UserConfig
from wallet.ln.event_queue import decode_event, encode_event
from wallet.ln.events import Event, FailedAttempt, PaymentClaimed, SendMessage
from wallet.ln.keysinterface import KeysManager
from wallet.ln.lsps0 import LspsHandler
from wallet.ln.msgs import SocketAddress
from wallet.ln.peer_handler import PeerManager
from wallet.ln.route import Path
from wallet.ln.routing.gossip import NetGraphMsgHandler, NetworkGraph
from wallet.ln.routing.scoring import ProbabilisticScorer
from wallet.ln.sweep import OutputSweeper
from wallet.ln.types import ChannelId, NodeId
from wallet.node.address_book import AddressBook
from wallet.node.announcement import NodeAnnouncer
from wallet.node.api import (
    ActivityItem,
    ActivityKind,
    ActivityPage,
    ActivityQuery,
    ActivityStatus,
    AttemptView,
    ChangeSet,
    CommandError,
    Json,
    SandboxControl,
    WalletSnapshot,
)
from wallet.node.caches import RoutingCaches
from wallet.node.closings import Closings
from wallet.node.coins import WalletCoins
from wallet.node.commands import run
from wallet.node.core import Batch, Core, ReleasedMessages, read_clocks
from wallet.node.details import has_anchors
from wallet.node.event_handler import EventHandler
from wallet.node.futures import resolve, run_on
from wallet.node.generation import Generation
from wallet.node.gossip_peers import NETWORKS_WITHOUT, GossipPeers
from wallet.node.ledger import Ledger
from wallet.node.map_api import NetworkMap
from wallet.node.network_map import MapMaker
from wallet.node.options import NodeOptions
from wallet.node.orders import ChannelOrders
from wallet.node.peers import PeerKeeper
from wallet.node.plans import PlannedOpening
from wallet.node.questions import Questions
from wallet.node.rates import Rates
from wallet.node.receipts import note_receipts, script_of
from wallet.node.records import (
    PaymentState,
    RequestRecord,
    RequestState,
)
from wallet.node.recovery import NodeRecovery
from wallet.node.router import GraphRouter
from wallet.node.sentences import duration_text, peer_text
from wallet.node.settings import with_choices
from wallet.node.signatures import SignaturePool
from wallet.node.sockets import Connections, NodeUri, PeerEntries, PeerSocket
from wallet.node.store import Store, StoreError
from wallet.node.ticks import Ticks
from wallet.node.views import Views
from wallet.node.wallets import SECRET_SPACE, WORDS_KEY
from wallet.node.web import WebClient
from wallet.onchain.ledger import PSBT_OWNER
from wallet.onchain.wallet import OnchainWallet

if TYPE_CHECKING:
    from wallet.ln.events import MessageSendEvent

__all__ = ["Node", "NodeLogger"]

P = ParamSpec("P")

BEST_SPACE = "node_best_block"
FAILED_EVENT_SPACE = "node_failed_event"
LAZY_COMMIT_SECONDS = 0.005
"""How long rows may wait for company, when nothing that leaves depends on them."""
LIGHTNING_SALT = b"leyden lightning"

GRAPH_PUBLISH_SECONDS = 1.0
"""Between two tellings of how far the graph is."""


class NodeLogger:
    """`Logger` on the standard library's logging. Secrets, preimages and keys never come here."""

    def __init__(self, name: str = "leyden") -> None:
        self._logger = logging.getLogger(name)

    def log(self, level: LogLevel, message: str, *args: object) -> None:
        self._logger.log(level.value, message, *args)


class Node:
    """A wallet that runs. Made on the network loop; `start` connects it, `stop` leaves everything durable.

    Attributes:
        core, store: the lock, the commit cycle, the file.
        manager, chain_monitor, peer_manager, graph: the Lightning core.
        onchain: the on-chain funds.
        ledger: payments, requests, peers, closed channels. closings: what the chain tells it of the latter.
        orders: channels that were ordered of sellers. lsps: asks those, and answers where this node sells.
        address_book: contacts, names of one's own for nodes, what payment links said.
        web_client: makes what asks payment links, through the proxy.
        questions: what is being asked of the web; ended when another proxy is chosen.
        ticks: what the timer thread does, `background`.
        recovery: restored mode, the channel backup, channels to be brought back.
        views: snapshots for front ends.
        servers_named: the command line names this run's servers.
        proxy: the SOCKS5 proxy that servers and peers are reached through now.
        rates: what a bitcoin costs, where that was asked for.
        failure: a sentence once the file cannot be written: nothing is done any more, and the next start goes on
            from the file.
    """

    def __init__(
        self,
        options: NodeOptions,
        store: Store,
        *,
        bip39_seed: bytes,
        loop: asyncio.AbstractEventLoop,
        fee_estimator: FeeEstimator | None = None,
        generation: Generation | None = None,
    ) -> None:
        self.store = store
        self.loop = loop
        self.logger = NodeLogger()
        self.core = Core(store)
        self.ledger = Ledger(self.core, store.read_rows, partial(script_of, network=options.network))
        self.ledger.read(store.rows)
        self.address_book = AddressBook(self.core)
        self.address_book.read(store.rows)
        self.servers_named = bool(options.servers)
        self.options = options = with_choices(options, self.ledger.settings)
        self.proxy = options.proxy
        self.best_block = self._read_best_block()
        self._released = ReleasedMessages()
        self.own_names: dict[bytes, str] = {}
        self.questions = Questions()
        self.web_client: Callable[[], WebClient] = self._web_client
        self.peer_minimums_sat: dict[bytes, int] = {}
        self._loop_thread = threading.get_ident()
        self._flush_timer: asyncio.TimerHandle | None = None
        self._graph_timer: asyncio.TimerHandle | None = None
        self._commit_called = False
        self._putting_away = False
        self._last_details: dict[ChannelId, ChannelDetails] = {}
        self._stopping = False
        self._chain_known = False
        self.on_failure: Callable[[BaseException], None] = lambda error: None
        self.failure = ""
        self._promises: set[asyncio.Future[Any]] = set()
        self._failed_events = list(store.rows(FAILED_EVENT_SPACE))
        self._hanging_up: asyncio.Task[None] | None = None

        network = options.network
        self.electrum = ElectrumSync(
            network=network,
            servers=options.servers or default_servers(network),
            data_dir=options.network_dir,
            deliver=self._deliver,
            best_known=self.best_block,
            relevant_txids=self._relevant_txids,
            waiting_txids=self._waiting_txids,
            proxy=Proxy(*options.proxy) if options.proxy is not None else None,
            logger=self.logger,
            single_server_ok=options.single_server_ok,
            on_status=lambda _status: self.views.publish_soon(),
            on_broadcast=self._broadcast_answered,
            on_fees=self._fees_changed,
            enter=self._utxo_answered,
        )
        self.fee_estimator: FeeEstimator = fee_estimator or self.electrum.fee_estimator
        self.onchain = OnchainWallet(
            seed=bip39_seed,
            network=network,
            persist=self.core,
            chain_filter=self.electrum.filter,
            logger=self.logger,
            entropy=lambda: os.urandom(32),
        )
        self.keys_manager = KeysManager(
            hkdf_sha256(LIGHTNING_SALT, bip39_seed, b"channel keys", 32),
            network,
            entropy=lambda: os.urandom(32),
            destination_script=self.onchain.next_script,
            shutdown_script=self.onchain.next_script,
        )
        self.graph = NetworkGraph(network)
        self.scorer = ProbabilisticScorer(self.graph)
        self.router = GraphRouter(self.graph, self.scorer, lambda: self.core.now, lambda: os.urandom(32))
        self.caches = RoutingCaches(options.network_dir, options.wallet_dir, bip39_seed, network, self.logger)
        self._caches_read = False
        self._graph_saved = 0
        self._generation = generation
        self.recovery = NodeRecovery(self, bip39_seed, generation)
        self.plans = PlannedOpening(self)
        self.orders = ChannelOrders(self)
        self.orders.read(store.rows)
        with self.core.entry():
            self._read_core()
        # 50,000 look-ups at once would be an imposition on a public server: there, gossip is believed first.
        large = options.network_name == "mainnet"
        self.signatures = SignaturePool(
            lambda answer: self.loop.call_soon_threadsafe(self._signatures_verified, answer)
        )
        self.gossip = NetGraphMsgHandler(
            self.graph,
            self.electrum.utxo_lookup,
            self.logger,
            clock=read_clocks,
            draw=(lambda: os.urandom(8)) if large else None,
            signature_checks=self.signatures,
        )
        self.lsps = LspsHandler(
            send=self.manager.send_beside, entropy=lambda: os.urandom(32), logger=self.logger
        )
        self.peer_manager: PeerManager[PeerSocket] = PeerManager(
            message_handler=self.manager,
            route_handler=self.gossip,
            onion_message_handler=None,
            peer_storage_handler=self.recovery.storage,
            custom_message_handler=self.lsps,
            msg_events=self._released,
            keys_manager=self.keys_manager,
            logger=self.logger,
            network=network,
        )
        self.rates = Rates(self, self.wall_clock_at)
        self.announcer = NodeAnnouncer(
            self.keys_manager.get_node_id(),
            alias=options.alias,
            addresses=tuple(SocketAddress.parse(text) for text in options.announce),
            peers=self.peer_manager,
        )
        self.events = EventHandler(self)
        self.closings = Closings(self)
        self.connections = Connections(
            PeerEntries(
                outbound=self._peer_outbound,
                inbound=self._peer_inbound,
                received=self._peer_received,
                writable=self._peer_writable,
                lost=self._peer_lost,
                with_channels=self._sockets_with_channels,
            ),
            self.logger,
            proxy=options.proxy,
        )
        self.peers = PeerKeeper(self)
        self.gossip_peers = GossipPeers(self)
        self.views = Views(self)
        self.maps = MapMaker(self, options.network_dir)
        self.listening_port: int | None = None
        self._first_sync: asyncio.Task[None] | None = None
        self.sandbox_control: SandboxControl | None = None
        self.ticks = Ticks(self)
        self.background = self.ticks.thread()
        self.core.settle = self._settle
        self.core.take_messages = self._take_messages
        self.core.release = self._hand_over
        self.core.flush_soon = self._flush_soon
        self.core.commit_soon = self._commit_soon
        self.store.failed = self._store_failed

    def _web_client(self) -> WebClient:
        return WebClient(
            proxy=None if self.proxy is None else Proxy(*self.proxy),
            public_only=self.options.network_name not in NETWORKS_WITHOUT,
            questions=self.questions,
        )

    def _read_best_block(self) -> tuple[BlockHash, int] | None:
        """The tip that the core was told of last; None for a new wallet."""
        value = self.store.read_row(BEST_SPACE, b"")
        return None if value is None else (BlockHash(value[:32]), int.from_bytes(value[32:], "big"))

    def _put_best_block(self, header: BlockHeader, height: int) -> None:
        """Within the entry that tells the core of it."""
        self.best_block = (header.hash, height)
        self.core.write((Row(BEST_SPACE, b"", header.hash + height.to_bytes(4, "big")),))

    @property
    def best_height(self) -> int:
        """Of the tip that the core knows."""
        return 0 if self.best_block is None else self.best_block[1]

    def _read_core(self) -> None:
        """Rebuilds the core from its rows; within an entry, because replayed updates may write."""
        rows = self.store.rows
        best_block = self.best_block or (BlockHash(self.options.network.genesis_header.hash), 0)
        self.onchain.read(rows)
        self.recovery.read_held()
        self.chain_monitor = ChainMonitor.read(
            rows,
            filter=self.electrum.filter,
            broadcaster=self.core,
            fee_estimator=self.fee_estimator,
            keys_manager=self.keys_manager,
            persist=self.core,
            revoked_states=self.store,
            logger=self.logger,
            held=self.recovery.held,
        )
        monitors = {
            channel_id: monitor
            for channel_id in self.chain_monitor.list_monitors()
            if (monitor := self.chain_monitor.get_monitor(channel_id)) is not None
        }
        self.manager = ChannelManager.read(
            rows,
            network=self.options.network,
            fee_estimator=self.fee_estimator,
            chain_monitor=self.chain_monitor,
            tx_broadcaster=self.core,
            filter=self.electrum.filter,
            router=self.router,
            keys_manager=self.keys_manager,
            persist=self.core,
            logger=self.logger,
            config=dataclasses.replace(
                self.options.user_config, htlc_pause_seconds=self.options.htlc_pause_seconds
            ),
            best_block=best_block,
            monitor_update_ids={
                channel_id: monitor.latest_update_id for channel_id, monitor in monitors.items()
            },
        )
        self.sweeper = OutputSweeper(
            filter=self.electrum.filter,
            broadcaster=self.core,
            fee_estimator=self.fee_estimator,
            keys_manager=self.keys_manager,
            change_script=self.onchain.next_script,
            persist=self.core,
            logger=self.logger,
            best_height=best_block[1],
        )
        self.sweeper.read(rows)
        self.bump_handler = BumpTransactionEventHandler(
            broadcaster=self.core,
            coins=WalletCoins(self.onchain),
            keys=self.keys_manager,
            logger=self.logger,
        )

    # --- life -----------------------------------------------------------------------

    async def start(self) -> None:
        """Starts everything; returns at once with the chain still to be followed. Raises `OSError` for a taken port."""
        await self.recovery.open_second()
        with self.core.entry():
            self.recovery.start()
            self.onchain.start()
            contents = self.recovery.contents()
        # Before the first batch is released: no funding transaction leaves that no backup names.
        await self.loop.run_in_executor(None, self.recovery.backup.save, contents)
        self.store.start()
        # A long history is read here and not when the window first asks for it.
        await self.loop.run_in_executor(None, self.views.activity.refresh)
        if self.recovery.contact_allowed:
            await self.listen()
        with self.core.entry():
            self._handle_failed_events()
            self._fail_interrupted_payments()
            self._settle_reservations()
            self.send_pending_again()
            self.orders.forget_old(self.core.now.at)
        await self.electrum.start()
        self._first_sync = self.loop.create_task(self._when_synced())
        self.rates.start()
        self.background.start()

    async def listen(self) -> None:
        """Takes connections of peers, if that was asked for. Raises `OSError` for a taken port."""
        if self.options.listen is not None and self.listening_port is None:
            self.listening_port = await self.connections.listen(*self.options.listen)

    def _settle_reservations(self) -> None:
        """Coins that were set aside for an opening which an earlier run did not finish are free again."""
        fundings = {
            item.funding_outpoint.txid
            for item in self.manager.list_channels()
            if item.funding_outpoint is not None
        }
        for txid, owner in self.onchain.reservations():
            # Whoever has our signature of a PSBT may use it whenever they like.
            if owner != PSBT_OWNER and txid not in fundings:
                self.onchain.release(txid)

    def send_pending_again(self) -> None:
        """Transactions of ours that wait: the servers may have forgotten them."""
        for tx in self.onchain.pending_transactions():
            self.core.broadcast_transactions(BroadcastPackage((tx,), label="a waiting transaction"))

    def _fail_interrupted_payments(self) -> None:
        """Payments that were asked for, but of which nothing had left when an earlier run ended."""
        under_way = {bytes(payment.payment_id) for payment in self.manager.list_recent_payments()}
        for record in list(self.ledger.payments.live.values()):
            if record.state is PaymentState.PENDING and record.payment_hash not in under_way:
                self.ledger.put_payment(
                    dataclasses.replace(
                        record,
                        state=PaymentState.FAILED,
                        failure=_("Leyden ended before anything was sent. Nothing was paid; try again."),
                        settled_at=self.core.now.at,
                    )
                )

    async def _when_synced(self) -> None:
        """Peers come only once the chain is known: before that a cheat could go unseen."""
        try:
            await self._read_caches()
        except Exception as error:
            # Losing them costs time only; without peers, payments and channels would stand still.
            self.log(LogLevel.WARN, "the graph of last time cannot be used: %r", error)
            self._caches_read = True
        await self.electrum.wait_synced()
        self._chain_known = True
        self.meet_peers()
        self.views.publish_soon()

    def meet_peers(self) -> None:
        """Calls the peers of our channels, once the chain is known; in a restored wallet not before the person has
        said that no other copy of it is running."""
        if self.recovery.contact_allowed and self._chain_known:
            with self.core.entry():
                self.recovery.ask_peers()
            self.peers.start()
            self.recovery.reach_peers()
            self.orders.start()
            self.gossip_peers.start()

    async def stop(self) -> None:
        """Hangs up, stops the timer, commits what waits, closes the file."""
        self._stopping = True
        await self.plans.close()
        await self.orders.close()
        if self._first_sync is not None:
            self._first_sync.cancel()
        if self._graph_timer is not None:
            self._graph_timer.cancel()
        await self.rates.stop()
        await self.loop.run_in_executor(None, self.background.stop)
        await self.recovery.close()
        await self._hang_up()
        await self.loop.run_in_executor(None, self.signatures.close)
        await self.electrum.stop()
        self.views.close()
        self.maps.close()
        await self.loop.run_in_executor(None, self.save_caches)
        await self.loop.run_in_executor(None, self.store.close)
        if self._generation is not None:
            await self.loop.run_in_executor(None, self._generation.close)

    async def _read_caches(self) -> None:
        """The graph and the scores of last time; before the first peer comes, so nothing is lost by it."""
        graph, scorer = await self.loop.run_in_executor(None, self.caches.read)
        with self.core.locked():
            self.graph, self.scorer = graph, scorer
            self.router.use(graph, scorer)
            self.gossip.network_graph = graph
            self._graph_saved = graph.version
            self._caches_read = True

    @property
    def graph_is_read(self) -> bool:
        """Whether the graph of last time is in its place: until then another one takes it soon."""
        return self._caches_read

    def save_caches(self) -> None:
        """On any thread but the loop's. The graph is written with no lock held, and only where it has changed."""
        with self.core.locked():
            if not self._caches_read:
                return
            graph, scores = self.graph, self.scorer.write()
            image = graph.image() if graph.version != self._graph_saved else None
        if image is not None and (messages := self.caches.save_graph(image)) is not None:
            with self.core.locked():
                graph.rebase(image, messages)
                self._graph_saved = image.version
        self.caches.save_scores(scores)

    def log(self, level: LogLevel, message: str, *args: object) -> None:
        self.logger.log(level, message, *args)

    # --- the commit cycle -------------------------------------------------------------

    def _settle(self) -> None:
        """Whatever an entry set off, until nothing more comes of it."""
        while True:
            self.manager.process_pending_monitor_events()
            self.manager.process_pending_events(self._handle_event)
            self.chain_monitor.process_pending_events(self._handle_event)
            if not self.manager.needs_forwarding:
                break
            self.manager.process_pending_htlc_forwards(self.core.now)
        self.recovery.note(self.core.batch)
        if self.ledger.has_old and not self._putting_away and not self._stopping:
            self._putting_away = True
            self.loop.call_soon_threadsafe(self._put_away)

    def _put_away(self) -> None:
        """On the loop, a page at a time: what is settled goes from memory to the disk."""
        self._putting_away = False
        if self._stopping:
            return
        with self.core.entry():
            # The entry's end calls for the next page.
            self.ledger.put_away()
        # Before the list of what changed is long, even if no front end ever asks.
        self.views.activity.refresh()

    def _handle_event(self, event_id: int, event: Event) -> None:
        """A fault in handling one event keeps back neither the others nor the next start: it is tried again then."""
        try:
            self.events.handle(event_id, event)
        except Exception as error:
            self.log(LogLevel.ERROR, "%s could not be handled: %r", type(event).__name__, error)
            # Ids begin again once their queue is empty: the time keeps two runs apart.
            key = self.core.now.at.to_bytes(8, "big") + event_id.to_bytes(8, "big")
            self.core.write((Row(FAILED_EVENT_SPACE, key, encode_event(event)),))

    def _handle_failed_events(self) -> None:
        """Within the first entries of a run: what an earlier one could not handle."""
        failed, self._failed_events = self._failed_events, []
        for key, value in failed:
            self.core.write((Row(FAILED_EVENT_SPACE, key, None),))
            self._handle_event(int.from_bytes(key[8:], "big"), decode_event(value))

    def _take_messages(self) -> list[MessageSendEvent]:
        messages = self.manager.get_and_clear_pending_msg_events()
        for message in messages:
            if isinstance(message, SendMessage):
                self.core.batch.sockets[message.node_id] = self.peer_manager.socket_of(message.node_id)
        return messages

    def _may_still_leave(self, batch: Batch, message: MessageSendEvent) -> bool:
        """Not over a connection that came later, while the disk was busy: there, channel_reestablish comes first, and
        what it shows to be missing is sent again."""
        if not isinstance(message, SendMessage):
            return True
        return self.peer_manager.socket_of(message.node_id) is batch.sockets.get(message.node_id)

    def _hand_over(self, batch: Batch) -> None:
        """On the thread that has committed: the batch is durable."""
        self.recovery.save(batch)
        if batch.messages or batch.packages or batch.afterwards or batch.rows:
            # On the loop too it takes its turn, behind what the writer thread has handed over.
            if threading.get_ident() == self._loop_thread:
                self.loop.call_soon(self._release, batch)
            else:
                self.loop.call_soon_threadsafe(self._release, batch)

    def _commit_soon(self) -> bool:
        """On any thread: whether the loop commits the entry at its next turn."""
        if threading.get_ident() != self._loop_thread or not self.store.is_quick:
            return False
        if not self._commit_called:
            self._commit_called = True
            self.loop.call_soon(self._commit_here)
        return True

    def _commit_here(self) -> None:
        self._commit_called = False
        self.store.commit_here()

    def _flush_soon(self) -> None:
        """On any thread: a batch that nobody waits for is committed within `LAZY_COMMIT_SECONDS`."""
        if threading.get_ident() == self._loop_thread:
            self._flush_later()
        else:
            self.loop.call_soon_threadsafe(self._flush_later)

    def _flush_later(self) -> None:
        if self._flush_timer is None:
            self._flush_timer = self.loop.call_later(LAZY_COMMIT_SECONDS, self._flush)

    def _flush(self) -> None:
        self._flush_timer = None
        self.store.commit_here()

    def _release(self, batch: Batch) -> None:
        """On the loop: what the batch wanted to leave, leaves."""
        if self._stopping:
            return
        if batch.messages:
            # An entry of its own: whom this hangs up on takes openings along that are not funded yet.
            with self.core.entry(may_be_idle=True):
                self._released.extend(m for m in batch.messages if self._may_still_leave(batch, m))
                self._tell(self.peer_manager.process_events)
            self.peers_changed()
        for package in batch.packages:
            if not self.recovery.may_leave([tx.txid for tx in package.txs]):
                # It is sent again with each block: the backup may be written by then.
                continue
            self.electrum.broadcaster.broadcast_transactions(package)
        for call in batch.afterwards:
            try:
                call()
            except Exception as error:
                # What one waiter does with the news is no reason for the others to miss theirs.
                self.log(LogLevel.ERROR, "a call after a commit failed: %r", error)
        if batch.rows:
            self.views.publish_soon()
        # The peers have the word: what their answers will ask for is ready when they come.
        with self.core.locked():
            self.manager.derive_keys_ahead()

    def _store_failed(self, error: BaseException) -> None:
        """On the writer thread: nothing later may leave. Sockets close; the owner rebuilds from the file."""
        self.log(LogLevel.ERROR, "the wallet file cannot be written: %r", error)
        self._stopping = True
        self.loop.call_soon_threadsafe(self._give_up, error)

    def _give_up(self, error: BaseException) -> None:
        """On the loop: whoever waits is told, and peers are hung up on, so that they do not wait either."""
        self.failure = _(
            "The wallet file cannot be written ({why}). Leyden has stopped; nothing was lost. Free some space on the "
            "disk, then start it again."
        ).format(why=error)
        for promise in list(self._promises):
            if not promise.done():
                promise.set_exception(CommandError(self.failure, code="file"))
        self._hanging_up = self.loop.create_task(self._hang_up())
        self.views.publish_soon()
        self.on_failure(error)

    async def _hang_up(self) -> None:
        await self.gossip_peers.close()
        await self.peers.close()
        await self.connections.close()

    def promise(self) -> asyncio.Future[Any]:
        """On the loop: a future for what depends on a commit; it fails when nothing can be committed any more."""
        future = self.loop.create_future()
        self._promises.add(future)
        future.add_done_callback(self._promises.discard)
        return future

    # --- the chain ----------------------------------------------------------------------

    def _deliver(self, update: ChainUpdate) -> None:
        """On the loop: what the servers proved, in one entry."""
        with self.core.entry():
            listeners = (self.onchain, self.chain_monitor, self.manager, self.sweeper, self.recovery.lost)
            for step in update.steps:
                match step:
                    case TransactionsConfirmed(header, height, txdata):
                        self._note([item.tx for item in txdata], confirmed=True)
                        for listener in listeners:
                            self._tell(listener.transactions_confirmed, header, height, txdata)
                    case TransactionUnconfirmed(txid):
                        for listener in listeners:
                            self._tell(listener.transaction_unconfirmed, txid)
                    case BestBlock(header, height):
                        self._put_best_block(header, height)
                        for listener in listeners:
                            self._tell(listener.best_block_updated, header, height)
                    case TransactionsSeen(txs):
                        self._note(txs, confirmed=False)
                        for listener in listeners:
                            self._tell(listener.transactions_seen, txs)
                    case TransactionsEvicted(txids):
                        for listener in listeners:
                            self._tell(listener.transactions_evicted, txids)
            self.closings.note_commitments()
            self.recovery.chain_moved()
        if update.done is not None:
            update.done()
        self.plans.chain_moved()
        self.views.publish_soon()

    def _tell(self, hear: Callable[P, None], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """A fault in one listener must not blind the others. It hears of all that counts again at the next start."""
        try:
            hear(*args, **kwargs)
        except Exception as error:
            self.log(LogLevel.ERROR, "news was not taken (%s): %r", hear, error)

    def _note(self, txs: Sequence[Transaction], *, confirmed: bool) -> None:
        """The books hear of transactions before the core acts on them."""
        self._tell(self.closings.note, txs, confirmed=confirmed)
        self._tell(self.closings.note_claims, txs)
        self._tell(note_receipts, self, txs)

    def _relevant_txids(self) -> Sequence[tuple[Txid, int, BlockHash | None]]:
        with self.core.locked():
            listeners = (self.onchain, self.chain_monitor, self.manager, self.sweeper, self.recovery.lost)
            return [entry for listener in listeners for entry in listener.get_relevant_txids()]

    def silence_seconds(self) -> int:
        """The age of the newest block that the core knows, by the computer's clock; 0 where blocks do not come by
        themselves, and before the first one is known."""
        newest_at = self.manager.highest_seen_at
        if not self.options.htlc_pause_seconds or not newest_at:
            return 0
        return max(0, self.wall_clock_at() - newest_at)

    def pause_sentence(self) -> str:
        """Why no payment moves now; empty while they do."""
        seconds = self.silence_seconds()
        if not seconds or seconds < self.options.htlc_pause_seconds:
            return ""
        return _(
            "No new block has come for {time}: the servers may be keeping the chain from you. Payments over Lightning "
            "are paused until one comes. Check the connection, the servers, and the computer's clock."
        ).format(time=duration_text(seconds))

    def _waiting_txids(self) -> Sequence[Txid]:
        with self.core.locked():
            return self.onchain.waiting_txids()

    def fee_sat_per_kw(self, target: ConfirmationTarget) -> int:
        return self.fee_estimator.get_est_sat_per_1000_weight(target)

    def _broadcast_answered(self, result: BroadcastResult) -> None:
        """On the loop: what became of a package."""
        if any(item.verdict is Verdict.FEE_BELOW_MINIMUM for item in result.verdicts):
            self.electrum.fee_estimator.refused()

    def _fees_changed(self) -> None:
        """On the loop: what waits for its block may have to pay more."""
        with self.core.entry():
            self.chain_monitor.rebroadcast_pending_claims()
            self.sweeper.regenerate_and_broadcast_spend_if_necessary()
        self.views.publish_soon()

    def _utxo_answered(self, tell: Callable[[], None]) -> None:
        """On the loop: a server's answer about the funding output of somebody's channel."""
        with self.core.entry():
            tell()
            self.peer_manager.process_events()

    def _signatures_verified(self, answer: Callable[[], None]) -> None:
        """On the loop: a batch of gossip whose signatures have been verified."""
        if self._stopping:
            return
        with self.core.entry():
            answer()
            self.peer_manager.process_events()
        self.graph_moved()

    def graph_moved(self) -> None:
        """On the loop: tells front ends again how far the graph is, once a second while it comes in."""
        if self._graph_timer is None and not self._stopping:
            self._graph_timer = self.loop.call_later(GRAPH_PUBLISH_SECONDS, self._publish_graph)

    def _publish_graph(self) -> None:
        self._graph_timer = None
        self.views.publish_soon()

    # --- peers ----------------------------------------------------------------------------

    def _peer_outbound(
        self, node_id: NodeId, peer_socket: PeerSocket, address: tuple[str, int] | None
    ) -> bytes:
        with self.core.entry():
            return self.peer_manager.new_outbound_connection(node_id, peer_socket, address)

    def _peer_inbound(self, peer_socket: PeerSocket, address: tuple[str, int] | None) -> None:
        with self.core.entry():
            self.peer_manager.new_inbound_connection(peer_socket, address)

    def _peer_received(self, peer_socket: PeerSocket, data: bytes) -> bool:
        if self._stopping:
            return False
        with self.core.entry():
            pause = self.peer_manager.read_event(peer_socket, data)
            if self.gossip.has_pending_msg_events:
                # Its questions wait for nothing on the disk, and not for the next tick.
                self.peer_manager.process_events()
        self.peers_changed()
        return pause

    def _peer_writable(self, peer_socket: PeerSocket) -> None:
        with self.core.entry():
            self.peer_manager.write_buffer_space_avail(peer_socket)

    def _peer_lost(self, peer_socket: PeerSocket) -> None:
        with self.core.entry():
            self.peer_manager.socket_disconnected(peer_socket)
        self.peers_changed()

    def _sockets_with_channels(self) -> set[PeerSocket]:
        with self.core.locked():
            peers = {channel.counterparty_node_id for channel in self.manager.list_channels()}
            found = (self.peer_manager.socket_of(node_id) for node_id in peers)
            return {peer_socket for peer_socket in found if peer_socket is not None}

    def peers_changed(self) -> None:
        """Tells the keeper who came and who went."""
        if not self.peer_manager.take_peers_changed():
            return
        with self.core.locked():
            online = {peer.node_id for peer in self.peer_manager.list_peers()}
        for node_id in online - self.peers.online:
            self.peers.connected(node_id)
        for node_id in self.peers.online - online:
            self.peers.disconnected(node_id)
        self.views.publish_soon()

    async def connect_peer(self, uri: NodeUri) -> None:
        """Connects and remembers the address; raises `OSError` or `TimeoutError`, and `CommandError` for a peer
        that may not be called yet."""
        if not self.recovery.contact_allowed:
            with self.core.locked():
                old = self.recovery.is_old_peer(uri.node_id)
            if old:
                raise CommandError(
                    _(
                        "This wallet was restored, and had a channel with this peer. Say first that no other copy of "
                        "the wallet is running: `leyden old_installation_stopped`."
                    ),
                    code="restored",
                )
        await self.peers.connect(uri)
        with self.core.entry():
            self.peers.remember(uri)

    def hang_up(self, node_id: NodeId) -> None:
        """Ends a connection, on the loop."""
        with self.core.entry():
            self.peer_manager.disconnect_by_node_id(node_id)
        self.peers_changed()

    def has_channel_with(self, node_id: NodeId) -> bool:
        with self.core.locked():
            if node_id in self.recovery.to_be_closed() or self.orders.awaits(node_id):
                return True
            return any(d.counterparty_node_id == node_id for d in self.manager.list_channels())

    # --- what events and commands ask -----------------------------------------------------

    def alias_of(self, node_id: bytes) -> str:
        """A node's name for people: one's own for it, its alias, made harmless, else "Unnamed 02ab12cd"."""
        own = self.address_book.names.get(node_id) or self.own_names.get(node_id)
        if own:
            return own
        record = self.ledger.peers.get(node_id)
        if record is not None and record.alias:
            return record.alias
        alias = self.graph.alias(NodeId(node_id))
        return peer_text(alias) if alias else f"Unnamed {node_id.hex()[:8]}"

    def last_details(self, channel_id: ChannelId) -> ChannelDetails | None:
        """A channel as it was before it closed."""
        return self._last_details.get(channel_id)

    def forget_details(self, channel_id: ChannelId) -> None:
        """An opening came to nothing, and is written down where it has to be."""
        self._last_details.pop(channel_id, None)

    def remember_details(self, details: Sequence[ChannelDetails]) -> None:
        for item in details:
            self._last_details[item.channel_id] = item

    def has_anchor_reserve(self, *, one_more: bool) -> bool:
        """Whether the on-chain coins could pay for closing every anchor channel; within an entry or the lock."""
        return self.onchain.balance().spendable_sat >= self.anchor_reserve_sat(extra_channels=int(one_more))

    def anchor_reserve_sat(self, *, extra_channels: int = 0) -> int:
        details = self.manager.list_channels()
        anchors = [item for item in details if has_anchors(item)]
        htlcs = sum(len(item.pending_htlcs) for item in anchors)
        return self.onchain.anchor_reserve_sat(
            anchor_channels=len(anchors) + extra_channels,
            htlc_inputs=htlcs,
            feerate_sat_per_kw=self.fee_sat_per_kw(ConfirmationTarget.ANCHOR_CHANNEL_FEE),
        )

    def keysend_request(self, event: PaymentClaimed) -> RequestRecord:
        """The books' entry of a payment that nobody had asked for."""
        now = self.core.now
        return RequestRecord(
            request_id=event.payment_hash,
            amount_msat=event.amount_msat,
            message=_("Payment without an invoice"),
            created_at=now.at,
            expiry_seconds=0,
            invoice=None,
            address=None,
            state=RequestState.UNPAID,
            received_msat=0,
            paid_at=0,
        )

    def scorer_succeeded(self, path: Path) -> None:
        self.scorer.payment_path_successful(path, self.core.now)

    def scorer_failed(self, attempt: FailedAttempt) -> None:
        last = len(attempt.path.hops) - 1
        if attempt.payee_rejected or (attempt.hop_index is not None and attempt.hop_index >= last):
            # Whatever the payee says of it, a probe, a refusal, a time-out: the way there was free.
            self.scorer.probe_successful(attempt.path, self.core.now)
        elif attempt.short_channel_id is not None:
            self.scorer.payment_path_failed(attempt.path, attempt.short_channel_id, self.core.now)

    def durable(self) -> asyncio.Future[None]:
        """Within an entry, on the loop: a future that is done once the entry is on disk."""
        future: asyncio.Future[None] = self.promise()
        self.core.afterwards(lambda: resolve(future, None))
        return future

    def open_config(self, *, public: bool, anchors: bool) -> UserConfig:
        """The settings of one opening."""
        config = self.options.user_config
        handshake = dataclasses.replace(
            config.channel_handshake_config,
            announce_for_forwarding=public,
            negotiate_anchors_zero_fee_htlc_tx=anchors,
        )
        return dataclasses.replace(config, channel_handshake_config=handshake)

    @staticmethod
    def wall_clock_at() -> int:
        """Unix time now, for what is shown and for invoices."""
        return read_clocks().at

    def check_password(self, password: str) -> None:
        """Raises `CommandError` unless it opens the file."""
        if not self.store.password_matches(password):
            raise CommandError(_("This is not the wallet's password."), code="password")

    def words(self) -> tuple[str, ...]:
        """The BIP39 words of the wallet."""
        value = self.store.read_row(SECRET_SPACE, WORDS_KEY)
        if value is None:
            raise CommandError(_("This wallet was made without words."), code="unknown")
        return tuple(value.decode().split())

    def set_label(self, item_id: str, label: str) -> None:
        """Names a payment, request or transaction; within an entry."""
        kind, _colon, rest = item_id.partition(":")
        if kind == "ln":
            key = bytes.fromhex(rest)
            payment = self.ledger.payments.get(key)
            request = None if payment is not None else self.ledger.requests.get(key)
            if payment is not None:
                self.ledger.put_payment(dataclasses.replace(payment, description=label))
            elif request is not None:
                self.ledger.put_request(dataclasses.replace(request, message=label))
            return
        txid = rest if kind == "tx" else item_id
        self.onchain.label(txid, label)
        self.ledger.onchain_changed(txid)

    # --- NodeApi ----------------------------------------------------------------------------

    def call(self, command: str, /, **arguments: Json) -> concurrent.futures.Future[Json]:
        """Runs a command on the loop, from any thread."""
        return run_on(self.loop, self._run(command, arguments))

    async def _run(self, command: str, arguments: Mapping[str, Json]) -> Json:
        try:
            return await run(self, command, arguments)
        except CommandError:
            raise
        except Exception as error:
            logging.getLogger("leyden").exception("the command %s failed", command)
            raise CommandError(
                _("{command} failed within Leyden ({kind}). Nothing was lost; the log says more.").format(
                    command=command, kind=type(error).__name__
                ),
                code="internal",
            ) from error

    def snapshot(self) -> WalletSnapshot:
        return self.views.snapshot()

    def activity_page(
        self,
        *,
        offset: int,
        limit: int,
        text: str = "",
        kind: ActivityKind | None = None,
        status: ActivityStatus | None = None,
    ) -> ActivityPage:
        return self.views.activity_page(
            offset=offset, limit=limit, text=text, kind=kind, status=status, wait=self.views.waits
        )

    def activity_ids(self, query: ActivityQuery) -> Sequence[str]:
        return self.views.activity.ids(query, wait=self.views.waits)

    def find_activity(self, query: ActivityQuery) -> concurrent.futures.Future[Sequence[str]]:
        return self.views.activity.find(query)

    def activity_items(self, item_ids: Sequence[str]) -> Sequence[ActivityItem | None]:
        try:
            return self.views.activity.items(item_ids, wait=self.views.waits)
        except StoreError:
            if not self._stopping:
                raise
            # The file is closed already, and a window that is about to close asks once more.
            return (None,) * len(item_ids)

    def payment_attempts(self, item_id: str) -> Sequence[AttemptView]:
        return self.views.payment_attempts(item_id, wait=self.views.waits)

    def subscribe(self, listener: Callable[[ChangeSet], None]) -> Callable[[], None]:
        return self.views.subscribe(listener)

    def network_map(self) -> concurrent.futures.Future[NetworkMap]:
        """`MapSource`."""
        return run_on(self.loop, self.maps.current())

    def sandbox(self) -> SandboxControl | None:
        return self.sandbox_control
