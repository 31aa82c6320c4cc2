"""Nodes joined in memory, and the verbs of the functional tests: open, pay, mine, cut, reload.

Every message goes through its bytes. Every transaction that a node broadcasts is checked by Bitcoin Core's script
engine against the outputs that it spends. Rows land in a store that `reload_node` starts from, as a killed process
would. `World.done` fails on whatever was left unread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from tests.consensus import check_transaction
from wallet.bitcoin.address import REGTEST
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.script import p2wpkh
from wallet.bitcoin.tx import (
    BlockHash,
    BlockHeader,
    OutPoint,
    Transaction,
    Txid,
    TxIn,
    TxOut,
)
from wallet.chain.interfaces import BroadcastPackage, ConfirmationTarget, LogLevel, Row, TxInBlock
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.chainmonitor import ChainMonitor
from wallet.ln.channel_details import ChannelDetails
from wallet.ln.channel_reestablish import disconnect
from wallet.ln.channel_state import read_channels
from wallet.ln.channel_step import Draft
from wallet.ln.channelmanager import ChannelManager
from wallet.ln.config import ChannelConfig, ChannelHandshakeConfig, UserConfig
from wallet.ln.events import ErrorAction, HandleError, SendMessage
from wallet.ln.keysinterface import KeysManager
from wallet.ln.route import (
    FirstHop,
    InFlightHtlcs,
    Path,
    PaymentParameters,
    Route,
    RouteHop,
    RouteNotFound,
    RouteParameters,
)
from wallet.ln.types import (
    ChannelError,
    ChannelId,
    NodeId,
    Now,
    PaymentHash,
    PaymentId,
    PaymentPreimage,
    PaymentSecret,
    PeerError,
    ShortChannelId,
)
from wallet.ln.watch import ChannelMonitorUpdateStatus

FINAL_CLTV_DELTA = 70

E = TypeVar("E")


@dataclass
class Store:
    """Rows as a committed file holds them."""

    rows: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    writes: int = 0

    def write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.writes += 1
            if row.value is None:
                self.rows.pop((row.space, row.key), None)
            else:
                self.rows[(row.space, row.key)] = row.value

    def read_space(self, space: str) -> list[tuple[bytes, bytes]]:
        return sorted((key, value) for (name, key), value in self.rows.items() if name == space)

    def read(self, key: bytes) -> bytes | None:
        return self.rows.get(("revoked", key))


@dataclass
class Fees:
    """Fee rates that a test may turn."""

    sat_per_kw: int = 253
    by_target: dict[ConfirmationTarget, int] = field(default_factory=dict)

    def get_est_sat_per_1000_weight(self, confirmation_target: ConfirmationTarget) -> int:
        return self.by_target.get(confirmation_target, self.sat_per_kw)


class TestLogger:
    __test__ = False

    def __init__(self) -> None:
        self.errors: list[str] = []

    def log(self, level: LogLevel, message: str, *args: object) -> None:
        if level is LogLevel.ERROR:
            self.errors.append(message % args)


class PresetRouter:
    """Hands out routes that a test has put in; without one, there is no way."""

    def __init__(self) -> None:
        self.routes: deque[Route] = deque()
        self.asked: list[RouteParameters] = []

    def find_route(
        self,
        payer: NodeId,
        route_params: RouteParameters,
        first_hops: Sequence[FirstHop],
        inflight: InFlightHtlcs,
    ) -> Route:
        self.asked.append(route_params)
        if not self.routes:
            raise RouteNotFound("There is no way.")
        return replace(self.routes.popleft(), route_params=route_params)


class Node:
    """One node: a manager, a chain monitor, and what surrounds them."""

    def __init__(self, world: World, name: str, config: UserConfig) -> None:
        self.world = world
        self.name = name
        self.config = config
        self.store = Store()
        self.fees = Fees()
        self.logger = TestLogger()
        self.router = PresetRouter()
        self.events: list[ev.Event] = []
        self.inbox: deque[tuple[NodeId, bytes]] = deque()
        self.sent: list[tuple[NodeId, msgs.Message]] = []
        self._entropy_counter = 0
        self.copies_late = False
        self.copies_due: list[tuple[ChannelId, int]] = []
        self.keys = self._make_keys()
        self.monitor = ChainMonitor(
            filter=None,
            broadcaster=self,
            fee_estimator=self.fees,
            keys_manager=self.keys,
            persist=self.store,
            revoked_states=self.store,
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
            persist=self.store,
            logger=self.logger,
            config=config,
            best_block=world.tip,
        )

    def _make_keys(self) -> KeysManager:
        return KeysManager(sha256(self.name.encode()), REGTEST, self._entropy)

    def _entropy(self) -> bytes:
        self._entropy_counter += 1
        return sha256(f"{self.name} {self._entropy_counter}".encode())

    def _further_copy(self, channel_id: ChannelId, update_id: int) -> ChannelMonitorUpdateStatus:
        """A second copy of every monitor, somewhere far away."""
        if not self.copies_late:
            return ChannelMonitorUpdateStatus.COMPLETED
        self.copies_due.append((channel_id, update_id))
        return ChannelMonitorUpdateStatus.IN_PROGRESS

    def complete_copies(self) -> None:
        due, self.copies_due = self.copies_due, []
        for channel_id, update_id in due:
            self.monitor.channel_monitor_updated(channel_id, update_id)

    @property
    def node_id(self) -> NodeId:
        return self.keys.get_node_id()

    def __repr__(self) -> str:
        return self.name

    # BroadcasterInterface
    def broadcast_transactions(self, package: BroadcastPackage) -> None:
        for tx in package.txs:
            self.world.broadcast(tx)

    def check_rows(self) -> None:
        """What a restart would find is what is in memory, but for what is not durable."""
        found = {
            channel.channel_id: channel
            for channel in read_channels(
                self.store.read_space("channel"), self.store.read_space("channel_htlc")
            )
        }
        live = self.manager._channels
        assert found.keys() == live.keys()
        for channel_id, channel in live.items():
            draft = Draft(channel)
            disconnect(draft)
            durable = draft.finish().state
            assert found[channel_id] == durable

    def reload(self) -> None:
        """As after SIGKILL: what was in memory only is gone."""
        self.copies_due.clear()
        self.keys = self._make_keys()
        self.monitor = ChainMonitor.read(
            self.store.read_space,
            filter=None,
            broadcaster=self,
            fee_estimator=self.fees,
            keys_manager=self.keys,
            persist=self.store,
            revoked_states=self.store,
            logger=self.logger,
            further_copy=self._further_copy,
        )
        update_ids: dict[ChannelId, int] = {}
        for channel_id in self.monitor.list_monitors():
            monitor = self.monitor.get_monitor(channel_id)
            assert monitor is not None
            update_ids[channel_id] = monitor.latest_update_id
        self.manager = ChannelManager.read(
            self.store.read_space,
            network=REGTEST,
            fee_estimator=self.fees,
            chain_monitor=self.monitor,
            tx_broadcaster=self,
            filter=None,
            router=self.router,
            keys_manager=self.keys,
            persist=self.store,
            logger=self.logger,
            config=self.config,
            best_block=self.world.tip,
            monitor_update_ids=update_ids,
        )
        self.inbox.clear()

    def take_events(self) -> list[ev.Event]:
        def handle(_event_id: int, event: ev.Event) -> None:
            self.events.append(event)

        self.manager.process_pending_events(handler=handle)
        self.monitor.process_pending_events(handle)
        taken, self.events = self.events, []
        return taken

    def one_event(self, kind: type[E]) -> E:
        """The one pending event of a kind; others of other kinds are passed over, a second one fails."""
        found = [event for event in self.take_events() if isinstance(event, kind)]
        assert len(found) == 1, f"{self} has {len(found)} {kind.__name__}"
        return found[0]

    def one_event_or_none(self, kind: type[E]) -> E | None:
        found = [event for event in self.take_events() if isinstance(event, kind)]
        assert len(found) <= 1
        return found[0] if found else None

    def channel(self, peer: Node) -> ChannelDetails:
        found = [c for c in self.manager.list_channels() if c.counterparty_node_id == peer.node_id]
        assert len(found) == 1, f"{self} has {len(found)} channels with {peer}"
        return found[0]

    def channels(self, peer: Node) -> list[ChannelDetails]:
        return [c for c in self.manager.list_channels() if c.counterparty_node_id == peer.node_id]


FORWARDING = UserConfig(accept_forwards=True, accept_forwards_to_priv_channels=True)


def config(
    *,
    anchors: bool = True,
    announced: bool = False,
    scid_privacy: bool = False,
    manual: bool = False,
    fixed_script: bool = True,
    channel: ChannelConfig | None = None,
    max_htlcs: int = 100,
) -> UserConfig:
    return UserConfig(
        channel_handshake_config=ChannelHandshakeConfig(
            negotiate_anchors_zero_fee_htlc_tx=anchors,
            announce_for_forwarding=announced,
            negotiate_scid_privacy=scid_privacy,
            commit_upfront_shutdown_pubkey=fixed_script,
            our_max_accepted_htlcs=max_htlcs,
        ),
        channel_config=channel or ChannelConfig(),
        accept_forwards=True,
        accept_forwards_to_priv_channels=True,
        manually_accept_inbound_channels=manual,
    )


@dataclass(frozen=True)
class Payment:
    """A payment that a test has sent."""

    payment_id: PaymentId
    payment_hash: PaymentHash
    payment_preimage: PaymentPreimage
    payment_secret: PaymentSecret
    amount_msat: int


class World:
    """The chain, the wires, and all nodes."""

    def __init__(self) -> None:
        self.nodes: dict[NodeId, Node] = {}
        self.links: set[frozenset[NodeId]] = set()
        self.blocks: list[tuple[BlockHeader, list[Transaction]]] = []
        self.mempool: dict[Txid, Transaction] = {}
        self.outputs: dict[OutPoint, TxOut] = {}
        self.spent_by: dict[OutPoint, Txid] = {}
        self.broadcasts: list[Transaction] = []
        self.mono_ms = 1_000_000
        self._coins = 0
        self._payments = 0
        self._forks = 0
        self.check_rows = True
        self.filter: Callable[[Node, Node, msgs.Message], bool] | None = None
        for _ in range(10):
            self._append([])

    # --- chain ---

    @property
    def height(self) -> int:
        return len(self.blocks)

    @property
    def tip(self) -> tuple[BlockHash, int]:
        return self.blocks[-1][0].hash, self.height

    @property
    def now(self) -> Now:
        return Now(self.blocks[-1][0].time_at, self.mono_ms)

    def _append(self, txs: list[Transaction]) -> BlockHeader:
        before = self.blocks[-1][0].hash if self.blocks else BlockHash(bytes(32))
        root = sha256(b"".join(tx.txid for tx in txs) + self._forks.to_bytes(4, "big"))
        time_at = 1_700_000_000 + 600 * (len(self.blocks) + 1)
        header = BlockHeader(0x20000000, before, root, time_at, 0x207FFFFF, 0)
        self.blocks.append((header, txs))
        return header

    def broadcast(self, tx: Transaction) -> None:
        """Judges a transaction as a node of the network would; a conflict with the mempool is left out."""
        if tx.txid in self.mempool or any(tx.txid == known.txid for _, txs in self.blocks for known in txs):
            return
        spent = []
        for txin in tx.inputs:
            assert txin.prevout in self.outputs, f"{tx.txid.hex()} spends an output that never was"
            spent.append(self.outputs[txin.prevout])
        check_transaction(tx, spent)
        self.broadcasts.append(tx)
        if any(txin.prevout in self.spent_by for txin in tx.inputs):
            return
        self.mempool[tx.txid] = tx
        for txin in tx.inputs:
            self.spent_by[txin.prevout] = tx.txid
        for vout, output in enumerate(tx.outputs):
            self.outputs[OutPoint(tx.txid, vout)] = output

    def fund(self, script_pubkey: bytes, value_sat: int) -> Transaction:
        """A transaction out of thin air that pays to a script; its coin needs no signature."""
        self._coins += 1
        prevout = OutPoint(Txid(sha256(b"coin" + self._coins.to_bytes(4, "big"))), 0)
        # Anyone can spend it: the hash of OP_TRUE.
        op_true = b"\x51"
        self.outputs[prevout] = TxOut(value_sat + 10_000, b"\x00\x20" + sha256(op_true))
        change = TxOut(5_000, p2wpkh(b"\x02" * 33))
        return Transaction(
            2, (TxIn(prevout, witness=(op_true,)),), (change, TxOut(value_sat, script_pubkey)), 0
        )

    def mine(self, count: int = 1, *, empty: bool = False) -> None:
        for _ in range(count):
            txs = [] if empty else list(self.mempool.values())
            if not empty:
                self.mempool.clear()
            header = self._append(txs)
            found = [TxInBlock(index + 1, tx) for index, tx in enumerate(txs)]
            for node in self.nodes.values():
                for listener in (node.monitor, node.manager):
                    if found:
                        listener.transactions_confirmed(header, self.height, found)
                    listener.best_block_updated(header, self.height)
            self.settle()

    def reorganise(self, depth: int, *, keep_transactions: bool = True) -> None:
        """Replaces the last blocks by as many and one more; their transactions are mined again in the last one."""
        self._forks += 1
        lost = self.blocks[-depth:]
        del self.blocks[-depth:]
        for _, txs in reversed(lost):
            for tx in reversed(txs):
                for node in self.nodes.values():
                    node.monitor.transaction_unconfirmed(tx.txid)
                    node.manager.transaction_unconfirmed(tx.txid)
        if keep_transactions:
            for _, txs in lost:
                self.mempool.update({tx.txid: tx for tx in txs})
        self.mine(depth, empty=True)
        self.mine(1)

    # --- nodes and wires ---

    def node(self, name: str, settings: UserConfig | None = None) -> Node:
        node = Node(self, name, settings or FORWARDING)
        self.nodes[node.node_id] = node
        return node

    def connect(self, a: Node, b: Node, *, settle: bool = True) -> None:
        self.links.add(frozenset((a.node_id, b.node_id)))
        for one, other in ((a, b), (b, a)):
            init = msgs.Init(features=other.manager.provided_init_features(one.node_id))
            one.manager.peer_connected(other.node_id, init, one is b)
        if settle:
            self.settle()

    def disconnect(self, a: Node, b: Node) -> None:
        self.links.discard(frozenset((a.node_id, b.node_id)))
        for one, other in ((a, b), (b, a)):
            one.inbox = deque(item for item in one.inbox if item[0] != other.node_id)
            one.manager.peer_disconnected(other.node_id)

    def reload_node(self, node: Node) -> None:
        """Kills a node and starts it again from its rows; its peers see the connection go."""
        for link in list(self.links):
            if node.node_id in link:
                (peer_id,) = link - {node.node_id}
                self.links.discard(link)
                peer = self.nodes[peer_id]
                peer.inbox = deque(item for item in peer.inbox if item[0] != node.node_id)
                peer.manager.peer_disconnected(node.node_id)
        node.reload()

    def collect(self, node: Node) -> None:
        """Puts what a node wants to send on the wires."""
        for event in node.manager.get_and_clear_pending_msg_events():
            match event:
                case SendMessage(node_id=peer_id, msg=msg):
                    node.sent.append((peer_id, msg))
                    if frozenset((node.node_id, peer_id)) in self.links:
                        peer = self.nodes[peer_id]
                        if self.filter is not None and not self.filter(node, peer, msg):
                            continue
                        peer.inbox.append((node.node_id, msgs.encode_message(msg)))
                case HandleError():
                    self._handle_error(node, event)
                case _:
                    pass

    def _handle_error(self, node: Node, event: HandleError) -> None:
        peer = self.nodes[event.node_id]
        if event.action in (ErrorAction.SEND_ERROR, ErrorAction.SEND_ERROR_AND_DISCONNECT):
            error = msgs.Error(
                channel_id=event.channel_id or ChannelId(bytes(32)), data=event.message.encode()
            )
            node.sent.append((event.node_id, error))
            if frozenset((node.node_id, event.node_id)) in self.links:
                peer.inbox.append((node.node_id, msgs.encode_message(error)))
        if event.action in (
            ErrorAction.DISCONNECT,
            ErrorAction.SEND_ERROR_AND_DISCONNECT,
            ErrorAction.SEND_WARNING_AND_DISCONNECT,
        ):
            self.disconnect(node, peer)

    def deliver_one(self, node: Node) -> bool:
        """Hands one message to a node."""
        if not node.inbox:
            return False
        sender, raw = node.inbox.popleft()
        msg = msgs.decode_message(raw)
        handler = {
            msgs.OpenChannel: node.manager.handle_open_channel,
            msgs.AcceptChannel: node.manager.handle_accept_channel,
            msgs.FundingCreated: node.manager.handle_funding_created,
            msgs.FundingSigned: node.manager.handle_funding_signed,
            msgs.ChannelReady: node.manager.handle_channel_ready,
            msgs.ChannelReestablish: node.manager.handle_channel_reestablish,
            msgs.UpdateAddHtlc: node.manager.handle_update_add_htlc,
            msgs.UpdateFulfillHtlc: node.manager.handle_update_fulfill_htlc,
            msgs.UpdateFailHtlc: node.manager.handle_update_fail_htlc,
            msgs.UpdateFailMalformedHtlc: node.manager.handle_update_fail_malformed_htlc,
            msgs.UpdateFee: node.manager.handle_update_fee,
            msgs.CommitmentSigned: node.manager.handle_commitment_signed,
            msgs.RevokeAndAck: node.manager.handle_revoke_and_ack,
            msgs.Shutdown: node.manager.handle_shutdown,
            msgs.ClosingSigned: node.manager.handle_closing_signed,
            msgs.AnnouncementSignatures: node.manager.handle_announcement_signatures,
            msgs.ChannelUpdate: node.manager.handle_channel_update,
            msgs.Error: node.manager.handle_error,
        }[type(msg)]
        try:
            handler(sender, msg)  # type: ignore[operator]  # each handler takes the type that it is found by
        except ChannelError as error:
            self._handle_error(
                node, HandleError(sender, ErrorAction.SEND_ERROR, error.message, error.channel_id)
            )
        except PeerError as error:
            if error.disconnect:
                self.disconnect(node, self.nodes[sender])
        return True

    def step(self) -> bool:
        """One round: everybody's messages go out, one message is delivered to each."""
        for node in self.nodes.values():
            node.manager.process_pending_monitor_events()
            self.collect(node)
        worked = False
        for node in list(self.nodes.values()):
            worked |= self.deliver_one(node)
            if self.check_rows:
                node.check_rows()
            if node.manager.needs_forwarding:
                node.manager.process_pending_htlc_forwards(self.now)
                worked = True
        return worked

    def settle(self) -> None:
        """Until nobody has anything to say."""
        for _ in range(20_000):
            if not self.step():
                return
        raise AssertionError("the nodes never come to rest")

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.mono_ms += 60_000
            for node in self.nodes.values():
                node.manager.timer_tick_occurred(self.now)
            self.settle()

    # --- channels ---

    def open_channel(
        self,
        a: Node,
        b: Node,
        value_sat: int = 1_000_000,
        push_msat: int = 0,
        settings: UserConfig | None = None,
        *,
        confirm: bool = True,
    ) -> ChannelId:
        """From connect to both sides' channel_ready."""
        if frozenset((a.node_id, b.node_id)) not in self.links:
            self.connect(a, b)
        a.manager.create_channel(b.node_id, value_sat, push_msat, 42, settings)
        self.settle()
        if b.config.manually_accept_inbound_channels:
            request = b.one_event(ev.OpenChannelRequest)
            b.manager.accept_inbound_channel(request.temporary_channel_id, a.node_id, 7)
            self.settle()
        ready = a.one_event(ev.FundingGenerationReady)
        tx = self.fund(ready.output_script, ready.channel_value_sat)
        a.manager.funding_transaction_generated(ready.temporary_channel_id, b.node_id, tx)
        self.settle()
        assert tx.txid in self.mempool, "the funding transaction was not broadcast"
        pending = a.one_event(ev.ChannelPending)
        assert b.one_event(ev.ChannelPending).channel_id == pending.channel_id
        if confirm:
            self.mine(6)
            assert a.one_event(ev.ChannelReadyEvent).channel_id == pending.channel_id
            assert b.one_event(ev.ChannelReadyEvent).channel_id == pending.channel_id
        return pending.channel_id

    # --- payments ---

    def invoice(self, payee: Node, amount_msat: int) -> Payment:
        self._payments += 1
        payment_hash, payment_secret = payee.manager.create_inbound_payment(amount_msat, 3600, self.now)
        return Payment(
            payment_id=PaymentId(sha256(b"payment" + self._payments.to_bytes(4, "big"))),
            payment_hash=payment_hash,
            payment_preimage=payee.manager.get_payment_preimage(payment_hash, payment_secret),
            payment_secret=payment_secret,
            amount_msat=amount_msat,
        )

    def scid(self, a: Node, b: Node, *, first: bool, index: int = 0) -> ShortChannelId:
        details = [c for c in a.channels(b) if c.is_usable or not first][index]
        scid = details.outbound_payment_scid if first else details.outbound_scid_alias
        assert scid is not None
        return scid

    def path(self, nodes: Sequence[Node], amount_msat: int, *, index: int = 0) -> Path:
        """Along the nodes; each forwarder takes what its channel's settings ask for."""
        hops: list[RouteHop] = []
        carried_msat = amount_msat
        for place in range(len(nodes) - 1, 0, -1):
            last = place == len(nodes) - 1
            if last:
                fee_msat, delta = amount_msat, FINAL_CLTV_DELTA
            else:
                settings = nodes[place].channels(nodes[place + 1])[0].config
                assert settings is not None
                fee_msat = settings.forwarding_fee_base_msat
                fee_msat += carried_msat * settings.forwarding_fee_proportional_millionths // 1_000_000
                delta = settings.cltv_expiry_delta
                carried_msat += fee_msat
            hops.append(
                RouteHop(
                    node_id=nodes[place].node_id,
                    short_channel_id=self.scid(
                        nodes[place - 1], nodes[place], first=place == 1, index=index if place == 1 else 0
                    ),
                    fee_msat=fee_msat,
                    cltv_expiry_delta=delta,
                )
            )
        return Path(hops=tuple(reversed(hops)))

    def route(self, paths: Sequence[Path], payee: Node) -> Route:
        amount_msat = sum(path.final_value_msat for path in paths)
        return Route(
            paths=tuple(paths),
            route_params=RouteParameters(
                payment_params=PaymentParameters(payee=payee.node_id, final_cltv_delta=FINAL_CLTV_DELTA),
                final_value_msat=amount_msat,
            ),
        )

    def send(self, payment: Payment, payer: Node, route: Route) -> None:
        payer.manager.send_payment_with_route(
            payment.payment_hash, payment.payment_secret, None, payment.payment_id, route, self.now
        )

    def route_payment(self, nodes: Sequence[Node], amount_msat: int, *, settle: bool = True) -> Payment:
        """Until the payee can claim it."""
        payment = self.invoice(nodes[-1], amount_msat)
        self.send(payment, nodes[0], self.route([self.path(nodes, amount_msat)], nodes[-1]))
        if settle:
            self.settle()
            claimable = nodes[-1].one_event(ev.PaymentClaimable)
            assert claimable.payment_hash == payment.payment_hash
            assert claimable.payment_preimage == payment.payment_preimage
            assert claimable.amount_msat == amount_msat
        return payment

    def claim(self, nodes: Sequence[Node], payment: Payment) -> ev.PaymentSent:
        nodes[-1].manager.claim_funds(payment.payment_preimage)
        self.settle()
        claimed = nodes[-1].one_event(ev.PaymentClaimed)
        assert claimed.payment_hash == payment.payment_hash
        sent = nodes[0].one_event(ev.PaymentSent)
        assert sent.payment_preimage == payment.payment_preimage
        return sent

    def pay(self, nodes: Sequence[Node], amount_msat: int) -> ev.PaymentSent:
        return self.claim(nodes, self.route_payment(nodes, amount_msat))

    # --- the end ---

    def done(self) -> None:
        """Nothing was left unread, no channel is frozen, and both ends agree on every balance."""
        for node in self.nodes.values():
            self.collect(node)
            assert not node.inbox, f"{node} has unread messages"
            assert not node.logger.errors, node.logger.errors
            for details in node.manager.list_channels():
                peer = self.nodes[details.counterparty_node_id]
                if details.pending_htlcs or not details.is_usable:
                    continue
                mirror = [c for c in peer.manager.list_channels() if c.channel_id == details.channel_id]
                if mirror and not mirror[0].pending_htlcs:
                    total_msat = details.balance_msat + mirror[0].balance_msat
                    assert total_msat == details.channel_value_sat * 1000
