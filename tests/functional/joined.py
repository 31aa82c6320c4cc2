"""Nodes joined in memory, and the verbs of the functional tests: open, pay, mine, cut, reload.

Every message goes through its bytes. Every transaction that a node broadcasts is checked by Bitcoin Core's script
engine against the outputs that it spends (`chain.py`). Rows land in a store that `reload_node` starts from, as a killed
process would. Each node hears of the chain in a style of its own (`delivery.py`).

A test takes the fixture `world`, or `make_world` where it needs several. At its end `World.look_through` fails on a
message or an event that nobody read, on an update whose copy is still awaited, and on a state that a restart would not
find again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any, TypeVar

from tests.functional.chain import Chain
from tests.functional.delivery import ChainView, StyleDraw
from tests.stateful.small_chain import OP_TRUE_SCRIPT, Coins
from wallet.bitcoin.address import REGTEST
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.tx import OutPoint, Transaction
from wallet.chain.interfaces import (
    BroadcasterInterface,
    BroadcastPackage,
    Confirm,
    ConfirmationTarget,
    LogLevel,
    Row,
)
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.bump_transaction import BumpTransactionEventHandler
from wallet.ln.chainmonitor import ChainMonitor
from wallet.ln.chan_utils import ANCHOR_OUTPUT_SAT, sign_funding_witness
from wallet.ln.channel_details import ChannelDetails
from wallet.ln.channel_reestablish import disconnect
from wallet.ln.channel_state import FundedChannel, read_channels
from wallet.ln.channel_step import Draft
from wallet.ln.channelmanager import ChannelManager
from wallet.ln.config import ChannelConfig, ChannelHandshakeConfig, UserConfig
from wallet.ln.events import ErrorAction, HandleError, SendMessage
from wallet.ln.keysinterface import KeysManager
from wallet.ln.monitor_state import MonitorState
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
from wallet.ln.sweep import OutputSweeper, SweptOutput
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


class Nowhere:
    """A broadcaster for a node that is read only to be compared."""

    def broadcast_transactions(self, package: BroadcastPackage) -> None:
        pass


REPORTS = (
    ev.PaymentPathSuccessful,
    ev.PaymentPathFailed,
    ev.PaymentForwarded,
    ev.HTLCHandlingFailed,
)
"""Events for lists and logs: nothing waits for them, and so a test need not read them."""


class Node:
    """One node: a manager, a chain monitor, a sweeper, and what surrounds them.

    Attributes:
        events: taken from the queues, and not read by the test yet.
        reports: the same, of those that need not be read.
        spendable: what closed channels left; the sweeper has it.
        coins: pay for anchor channels' closes; none unless a test gives some.
    """

    def __init__(self, world: World, name: str, config: UserConfig, style: str | None = None) -> None:
        self.world = world
        self.name = name
        self.config = config
        self.store = Store()
        self.fees = Fees()
        self.logger = TestLogger()
        self.router = PresetRouter()
        self.coins = Coins(())
        self.events: list[ev.Event] = []
        self.reports: list[ev.Event] = []
        self.spendable: list[ev.SpendableOutputs] = []
        self.inbox: deque[tuple[NodeId, bytes]] = deque()
        self.sent: list[tuple[NodeId, msgs.Message]] = []
        self._entropy_counter = 0
        self.copies_late = False
        self.copies_due: list[tuple[ChannelId, int]] = []
        self.chain = ChainView(world.draw.next_style(style), world.blocks, self._listeners)
        self.keys = self.make_keys()
        self.monitor = ChainMonitor(
            filter=self.chain.filter,
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
            filter=self.chain.filter,
            router=self.router,
            keys_manager=self.keys,
            persist=self.store,
            logger=self.logger,
            config=config,
            best_block=world.tip,
        )
        self.sweeper = self._make_sweeper(self.store, self)

    def make_keys(self) -> KeysManager:
        return KeysManager(sha256(self.name.encode()), REGTEST, self._entropy)

    def _make_sweeper(self, store: Store, broadcaster: BroadcasterInterface) -> OutputSweeper:
        return OutputSweeper(
            filter=self.chain.filter,
            broadcaster=broadcaster,
            fee_estimator=self.fees,
            keys_manager=self.keys,
            change_script=lambda: OP_TRUE_SCRIPT,
            persist=store,
            logger=self.logger,
            best_height=self.world.height,
        )

    def _listeners(self) -> Sequence[Confirm]:
        """In the order in which the running wallet has them, or the other way round."""
        listeners: tuple[Confirm, ...] = (self.monitor, self.manager, self.sweeper)
        return listeners[::-1] if self.chain.style.manager_first else listeners

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

    # --- what is durable ---

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
            assert found[channel_id] == _durable(channel)

    def check_survives(self) -> None:
        """All that the node knows, and nothing else, is found again by a node that is read from its rows."""
        store = Store(rows=dict(self.store.rows))
        promised = store.read_space("channel_promised")
        monitor, manager = self._read(store, Nowhere(), further_copies=False)
        sweeper = self._make_sweeper(store, Nowhere())
        sweeper.read(store.read_space)
        live = _monitor_states(self.monitor)
        assert set(monitor.list_monitors()) == set(live), f"{self} would not find again its monitors"
        for channel_id, state in _monitor_states(monitor).items():
            for part in fields(state):
                if part.name.startswith("seen_"):
                    # Only a hint of the mempool.
                    continue
                found, known = getattr(state, part.name), getattr(live[channel_id], part.name)
                assert found == known, f"{self} would not find again the {part.name} of a monitor"
        compared: dict[str, tuple[object, object]] = {
            "monitors' events": (monitor.events.pending(), self.monitor.events.pending()),
            "channels": (
                manager._channels,
                {channel_id: _durable(channel) for channel_id, channel in self.manager._channels.items()},
            ),
            "closed channels": (manager._closed, self.manager._closed),
            "claimable payments": (manager._claimable, self.manager._claimable),
            "forwards": (manager._forwards, self.manager._forwards),
            "payments": (manager._outbound._payments, self.manager._outbound._payments),
            "finished payments": (dict(manager._outbound._finished), dict(self.manager._outbound._finished)),
            "clock": (manager.highest_seen_at, self.manager.highest_seen_at),
            "outputs to sweep": (_by_outpoint(sweeper), _by_outpoint(self.sweeper)),
        }
        if not promised:
            # Otherwise a restart tells that nothing comes of an opening that was under way.
            compared["events"] = (manager.pending_events(), self.manager.pending_events())
        for name, (found_again, known_now) in compared.items():
            assert found_again == known_now, f"{self} would not find again its {name}"
        assert not manager.needs_forwarding, f"{self} would have to decide about an HTLC again"

    # --- restarts ---

    def reload(self) -> None:
        """As after SIGKILL: what was in memory only is gone."""
        self.copies_due.clear()
        self.keys = self.make_keys()
        self.chain.begin_again()
        self.monitor, self.manager = self._read(self.store, self, further_copies=True)
        self.sweeper = self._make_sweeper(self.store, self)
        self.sweeper.read(self.store.read_space)
        self.inbox.clear()
        self.chain.catch_up()

    def _read(
        self, store: Store, broadcaster: BroadcasterInterface, *, further_copies: bool
    ) -> tuple[ChainMonitor, ChannelManager]:
        monitor = ChainMonitor.read(
            store.read_space,
            filter=self.chain.filter,
            broadcaster=broadcaster,
            fee_estimator=self.fees,
            keys_manager=self.keys,
            persist=store,
            revoked_states=store,
            logger=self.logger,
            further_copy=self._further_copy if further_copies else None,
        )
        update_ids: dict[ChannelId, int] = {}
        for channel_id in monitor.list_monitors():
            found = monitor.get_monitor(channel_id)
            assert found is not None
            update_ids[channel_id] = found.latest_update_id
        manager = ChannelManager.read(
            store.read_space,
            network=REGTEST,
            fee_estimator=self.fees,
            chain_monitor=monitor,
            tx_broadcaster=broadcaster,
            filter=self.chain.filter,
            router=self.router,
            keys_manager=self.keys,
            persist=store,
            logger=self.logger,
            config=self.config,
            best_block=self.world.tip,
            monitor_update_ids=update_ids,
        )
        return monitor, manager

    # --- events ---

    def hear_monitors(self) -> None:
        """Acts on what the monitors ask for, as a wallet does by itself."""

        def handle(_event_id: int, event: ev.Event) -> None:
            match event:
                case ev.BumpCommitment() | ev.BumpHtlcs():
                    handler = BumpTransactionEventHandler(self, self.coins, self.keys, self.logger)
                    handler.handle_event(event)
                case ev.SpendableOutputs():
                    self.spendable.append(event)
                    self.sweeper.track_spendable_outputs(event.outputs, event.channel_id)
                case _:
                    raise AssertionError(f"a monitor tells {event}")

        self.monitor.process_pending_events(handle)

    def hear_events(self) -> None:
        """Takes the manager's events out of their queue, in which they outlive a restart."""

        def handle(_event_id: int, event: ev.Event) -> None:
            (self.reports if isinstance(event, REPORTS) else self.events).append(event)

        self.manager.process_pending_events(handle)

    def take_events(self) -> list[ev.Event]:
        """All that there is to read."""
        self.hear_events()
        taken = [*self.events, *self.reports]
        self.events, self.reports = [], []
        return taken

    def events_of(self, kind: type[E]) -> list[E]:
        """Reads the events of one kind; others stay unread."""
        self.hear_events()
        found: list[E] = [event for event in (*self.events, *self.reports) if isinstance(event, kind)]
        self.events = [event for event in self.events if not isinstance(event, kind)]
        self.reports = [event for event in self.reports if not isinstance(event, kind)]
        return found

    def one_event(self, kind: type[E]) -> E:
        """The one event of a kind; a second one fails."""
        found = self.events_of(kind)
        assert len(found) == 1, f"{self} has {len(found)} {kind.__name__}"
        return found[0]

    def expect_events(self, *kinds: type[ev.Event]) -> list[ev.Event]:
        """Reads everything: of events that count, one of each of these kinds is there, in whatever order."""
        self.hear_events()
        taken, self.events, self.reports = self.events, [], []
        names = sorted(type(event).__name__ for event in taken)
        assert names == sorted(kind.__name__ for kind in kinds), f"{self} has {taken}"
        return sorted(taken, key=lambda event: kinds.index(type(event)))

    def one_event_or_none(self, kind: type[E]) -> E | None:
        found = self.events_of(kind)
        assert len(found) <= 1
        return found[0] if found else None

    def channel(self, peer: Node) -> ChannelDetails:
        found = self.channels(peer)
        assert len(found) == 1, f"{self} has {len(found)} channels with {peer}"
        return found[0]

    def channels(self, peer: Node) -> list[ChannelDetails]:
        return [c for c in self.manager.list_channels() if c.counterparty_node_id == peer.node_id]

    def balances(self) -> list[tuple[ev.BalanceKind, int, int | None]]:
        """What waits in all channels, open or closed: kind, amount in sat, height."""
        found = self.monitor.get_claimable_balances()
        return sorted(
            ((item.kind, item.amount_sat, item.height) for item in found), key=lambda item: item[0].name
        )

    def came_home_sat(self) -> int:
        """What closed channels have given back so far, before the sweeps' own fees."""
        return sum(item.output.value_sat for event in self.spendable for item in event.outputs)

    def sweeps_under_way(self) -> int:
        return sum(item.spent is None for item in self.sweeper.tracked_spendable_outputs())

    def give_coins(self, count: int, value_sat: int = 100_000) -> None:
        """Coins out of thin air, for fees of anchor channels."""
        self.coins = Coins((*self.coins.coins.items(), *(self.world.coin(value_sat) for _ in range(count))))


def _durable(channel: FundedChannel) -> FundedChannel:
    """A channel as a restart finds it."""
    draft = Draft(channel)
    disconnect(draft)
    return draft.finish().state


def _by_outpoint(sweeper: OutputSweeper) -> dict[OutPoint, SweptOutput]:
    return {item.descriptor.outpoint: item for item in sweeper.tracked_spendable_outputs()}


def _monitor_states(chain_monitor: ChainMonitor) -> dict[ChannelId, MonitorState]:
    found = {}
    for channel_id in chain_monitor.list_monitors():
        monitor = chain_monitor.get_monitor(channel_id)
        assert monitor is not None
        found[channel_id] = monitor.state
    return found


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
    delay_blocks: int = 1_008,
) -> UserConfig:
    return UserConfig(
        channel_handshake_config=ChannelHandshakeConfig(
            negotiate_anchors_zero_fee_htlc_tx=anchors,
            announce_for_forwarding=announced,
            negotiate_scid_privacy=scid_privacy,
            commit_upfront_shutdown_pubkey=fixed_script,
            our_max_accepted_htlcs=max_htlcs,
            our_to_self_delay_blocks=delay_blocks,
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


class World(Chain):
    """The chain, the wires, and all nodes."""

    def __init__(self, draw: StyleDraw) -> None:
        super().__init__()
        self.draw = draw
        self.nodes: dict[NodeId, Node] = {}
        self.links: set[frozenset[NodeId]] = set()
        self.mono_ms = 1_000_000
        self._payments = 0
        self.check_rows = True
        self.filter: Callable[[Node, Node, msgs.Message], bool] | None = None
        for _ in range(10):
            self.append_block(empty=True)

    # --- chain ---

    @property
    def now(self) -> Now:
        return Now(self.blocks[-1].header.time_at, self.mono_ms)

    def mine(self, count: int = 1, *, empty: bool = False) -> None:
        """Everybody hears of these blocks, in their own ways; of all of them once the last one is there."""
        for number in range(count):
            block = self.append_block(empty=empty)
            for node in self.nodes.values():
                node.chain.connect(block, last=number == count - 1)
                node.coins.block_connected(item.tx for item in block.txs)
            self.settle()

    def mine_to(self, height: int) -> None:
        """Block by block, each of which everybody hears of before the next."""
        while self.height < height:
            self.mine(1)

    def disconnect_blocks(self, depth: int, *, keep_transactions: bool = True) -> None:
        """The last blocks are none any more."""
        lost = self.remove_blocks(depth, keep_transactions=keep_transactions)
        for node in self.nodes.values():
            node.chain.disconnect(lost)

    def reorganise(self, depth: int, *, keep_transactions: bool = True) -> None:
        """Replaces the last blocks by as many and one more; their transactions are mined again in the last one."""
        self.disconnect_blocks(depth, keep_transactions=keep_transactions)
        self.mine(depth, empty=True)
        self.mine(1)

    # --- nodes and wires ---

    def node(self, name: str, settings: UserConfig | None = None, style: str | None = None) -> Node:
        node = Node(self, name, settings or FORWARDING, style)
        self.nodes[node.node_id] = node
        return node

    def nodes_named(self, *names: str, settings: UserConfig | None = None) -> list[Node]:
        return [self.node(name, settings or config()) for name in names]

    def connect(self, a: Node, b: Node, *, settle: bool = True) -> None:
        self.links.add(frozenset((a.node_id, b.node_id)))
        for one, other in ((a, b), (b, a)):
            init = msgs.Init(features=other.manager.provided_init_features(one.node_id))
            one.manager.peer_connected(other.node_id, init, one is b)
        if settle:
            self.settle()

    def change_on_the_way(self, sender: Node, kind: type[msgs.Message], **changes: Any) -> None:
        """From now on such messages of the sender arrive with other values."""

        def change(node: Node, receiver: Node, msg: msgs.Message) -> bool:
            if node is not sender or not isinstance(msg, kind):
                return True
            receiver.inbox.append((node.node_id, msgs.encode_message(replace(msg, **changes))))
            return False

        self.filter = change

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
        # Each takes the type that it is found by.
        handlers: dict[type, Callable[[NodeId, Any], None]] = {
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
        }
        try:
            handlers[type(msg)](sender, msg)
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
        worked = False
        for node in self.nodes.values():
            worked |= node.chain.look_at_mempool(self.mempool)
            node.hear_monitors()
            node.manager.process_pending_monitor_events()
            self.collect(node)
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
        tx = self.fund_channel(a, b)
        assert tx.txid in self.mempool, "the funding transaction was not broadcast"
        pending = a.one_event(ev.ChannelPending)
        assert b.one_event(ev.ChannelPending).channel_id == pending.channel_id
        if confirm:
            self.mine(6)
            assert a.one_event(ev.ChannelReadyEvent).channel_id == pending.channel_id
            assert b.one_event(ev.ChannelReadyEvent).channel_id == pending.channel_id
        return pending.channel_id

    def open_without_confirmations(self, a: Node, b: Node, push_msat: int = 300_000_000) -> Transaction:
        """B, who accepts by hand, trusts A: the channel works while its funding is in the mempool."""
        self.connect(a, b)
        a.manager.create_channel(b.node_id, 1_000_000, push_msat, 1)
        self.settle()
        request = b.one_event(ev.OpenChannelRequest)
        b.manager.accept_inbound_channel(request.temporary_channel_id, a.node_id, 5, zero_conf=True)
        self.settle()
        return self.fund_channel(a, b)

    def fund_channel(self, a: Node, b: Node) -> Transaction:
        """A's wallet gives what a channel that B has accepted asks for."""
        ready = a.one_event(ev.FundingGenerationReady)
        tx = self.fund(ready.output_script, ready.channel_value_sat)
        a.manager.funding_transaction_generated(ready.temporary_channel_id, b.node_id, tx)
        self.settle()
        return tx

    def line(self, *names: str, value_sat: int = 1_000_000, settings: UserConfig | None = None) -> list[Node]:
        """Nodes in a row, each with a channel to the next, half of it pushed."""
        nodes = self.nodes_named(*names, settings=settings)
        for one, other in pairwise(nodes):
            self.open_channel(one, other, value_sat, value_sat * 500)
        return nodes

    def force_close(self, closer: Node, other: Node) -> Transaction:
        """Without a word to the other side. Answers with the commitment, which is in the mempool."""
        channel_id = closer.channel(other).channel_id
        if frozenset((closer.node_id, other.node_id)) in self.links:
            self.disconnect(closer, other)
        closer.manager.force_close_broadcasting_latest_txn(channel_id, other.node_id, "test")
        self.settle()
        assert closer.one_event(ev.ChannelClosed).reason.kind is ev.ClosureKind.HOLDER_FORCE_CLOSED
        funding = self.funding_of(closer, channel_id)
        found = [tx for tx in self.mempool.values() if tx.inputs[0].prevout == funding]
        assert len(found) == 1
        return found[0]

    def confirm_close(self, *others: Node) -> None:
        """Mines the commitment that waits; those who did not send it learn of it."""
        self.mine(1)
        for node in others:
            kind = node.one_event(ev.ChannelClosed).reason.kind
            assert kind is ev.ClosureKind.COMMITMENT_TX_CONFIRMED

    def funding_of(self, node: Node, channel_id: ChannelId) -> OutPoint:
        monitor = node.monitor.get_monitor(channel_id)
        assert monitor is not None
        return monitor.funding_outpoint

    def commitment_of(self, node: Node, channel_id: ChannelId) -> Transaction:
        """A node's commitment as it is now, signed: what a cheater keeps for later."""
        monitor = node.monitor.get_monitor(channel_id)
        assert monitor is not None
        signed = monitor.state.holder.commitment
        params = monitor.state.params
        forgetful = node.make_keys().derive_channel_signer(monitor.state.static.channel_keys_id)
        signature = forgetful.sign_holder_commitment(params, signed)
        return sign_funding_witness(params, signed.commitment.tx, signature, signed.counterparty_sig)

    def check_all_claimed(self, funding: OutPoint, *nodes: Node) -> None:
        """Of a channel's coins nothing was left lying: each output is a node's own by now, or an anchor."""
        told = {item.outpoint for node in nodes for event in node.spendable for item in event.outputs}
        confirmed = {item.tx.txid: item.tx for block in self.blocks for item in block.txs}
        to_follow = [funding]
        while to_follow:
            outpoint = to_follow.pop()
            spender = self.spender_of(outpoint)
            assert spender is not None, f"{outpoint} was left"
            for vout, output in enumerate(confirmed[spender].outputs):
                child = OutPoint(spender, vout)
                if child in told or output.script_pubkey == OP_TRUE_SCRIPT:
                    continue
                if output.value_sat != ANCHOR_OUTPUT_SAT:
                    to_follow.append(child)

    def drain(self, *nodes: Node, most_blocks: int = 400) -> None:
        """Mines until nothing of closed channels waits any more."""

        def waits(node: Node) -> bool:
            opened = [details.channel_id for details in node.manager.list_channels()]
            return bool(node.monitor.get_claimable_balances(opened) or node.sweeps_under_way())

        for _ in range(most_blocks):
            if not any(waits(node) for node in nodes):
                return
            self.mine(1)
        raise AssertionError(f"these balances stay: {[node.balances() for node in nodes]}")

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

    def look_through(self) -> None:
        """Nothing was left unread or unwritten, no channel is frozen, and both ends agree on every balance."""
        for node in self.nodes.values():
            node.hear_monitors()
            node.manager.process_pending_monitor_events()
            self.collect(node)
        for node in self.nodes.values():
            assert not node.inbox, f"{node} has unread messages: {[_name_of(raw) for _, raw in node.inbox]}"
            assert not node.logger.errors, node.logger.errors
            assert not node.manager._frozen, f"{node} has frozen channels"
            assert not node.monitor.frozen(), f"{node} has frozen monitors"
            assert not node.manager.needs_forwarding, f"{node} has HTLCs to process"
            assert not node.copies_due, f"{node} waits for copies of monitors: {node.copies_due}"
            assert not node.manager._in_progress, f"{node} waits for its monitors"
            assert not node.manager._blocked, f"{node} keeps back messages"
            assert not node.manager._waiting, f"{node} keeps messages waiting"
            node.check_survives()
            node.hear_events()
            unread = [type(event).__name__ for event in node.events]
            assert not unread, f"{node} has unread events: {unread}"
        self._compare_balances()

    def _compare_balances(self) -> None:
        for node in self.nodes.values():
            for details in node.manager.list_channels():
                peer = self.nodes[details.counterparty_node_id]
                if details.pending_htlcs or not details.is_usable:
                    continue
                mirror = [c for c in peer.manager.list_channels() if c.channel_id == details.channel_id]
                if mirror and not mirror[0].pending_htlcs:
                    total_msat = details.balance_msat + mirror[0].balance_msat
                    assert total_msat == details.channel_value_sat * 1000


def _name_of(raw: bytes) -> str:
    return type(msgs.decode_message(raw)).__name__


class WorldMaker:
    """Makes the worlds of one test, and looks each through before the next, and at the test's end.

    Attributes:
        failed: the test has failed already; what it left says nothing.
    """

    def __init__(self, test_id: str, named_styles: str, seed: str) -> None:
        self._draw = StyleDraw(test_id, named_styles, seed)
        self._world: World | None = None
        self.failed = False

    def __call__(self) -> World:
        self.look_through()
        self._draw.begin()
        self._world = World(self._draw)
        return self._world

    def look_through(self) -> None:
        if self._world is not None:
            self._world.look_through()
            self._world = None

    def how_to_repeat(self) -> str:
        return self._draw.how_to_repeat()
