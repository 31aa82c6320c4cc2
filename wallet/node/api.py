"""What the window and the command line see of a running wallet: commands, and immutable snapshots.

Theory of operation. A front end never touches the core. It calls a command by its name (the same set that the
command line and JSON-RPC use) and gets a future; it reads `NodeApi.snapshot()`, which is immutable and cheap, and
it subscribes to typed change-sets, which arrive on the node's thread, coalesced to at most 20 a second. A command
that fails raises `CommandError`, whose text is a sentence for a person: what happened, to which amount, what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol, TypeAlias

__all__ = [
    "HELD_CHANNEL_PHRASE",
    "ActivityDirection",
    "ActivityItem",
    "ActivityKind",
    "ActivityOrder",
    "ActivityPage",
    "ActivityQuery",
    "ActivityStatus",
    "AttemptHopView",
    "AttemptView",
    "BackupReport",
    "BalanceView",
    "ChangeSet",
    "ChannelPhase",
    "ChannelView",
    "CommandError",
    "GraphSync",
    "GraphSyncState",
    "Json",
    "LockedCoin",
    "NodeApi",
    "NodeStatus",
    "PeerView",
    "Problem",
    "ProblemKind",
    "RecoveryView",
    "RequestStatus",
    "RequestView",
    "ReservedPart",
    "ReserveReason",
    "SandboxControl",
    "ServerView",
    "WalletHost",
    "WalletInfo",
    "WalletSnapshot",
    "WordsReport",
]

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"
"""What a command takes and gives: no floats anywhere near money."""

HELD_CHANNEL_PHRASE = "I may lose this channel"
"""What a person types before a commitment that may be outdated is published. For programs too: never translated."""


class CommandError(Exception):
    """A command could not be done. The text is a whole sentence for a person; `code` is stable for programs."""

    def __init__(self, message: str, *, code: str = "failed") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


# --- snapshots ----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedCoin:
    """An amount that is ours and cannot be spent yet: why, and until when.

    Attributes:
        reason: a sentence.
        until_height: block height, None where nobody can say.
        is_certain: False where it is ours only if a proof of payment arrives in time; no balance counts it.
    """

    amount_sat: int
    reason: str
    until_height: int | None
    channel_id: str | None
    is_certain: bool = True


class ReserveReason(Enum):
    """Why a part of the balance is ours and cannot be sent now. What is kept on chain first, then in channels."""

    ANCHOR_FEES = "fees for closing"
    FROZEN = "frozen"
    OPENING_COINS = "coins for an opening"
    PSBT = "coins in a PSBT"
    CLAIM_FEES = "fees of a claim"
    CHANNEL_RESERVE = "channel reserve"
    COMMITMENT_FEE = "commitment fee"
    OPENING_CHANNEL = "channel not open yet"
    PEER_AWAY = "peer away"
    CLOSING_CHANNEL = "channel being closed"

    @property
    def is_onchain(self) -> bool:
        return self in _ONCHAIN_REASONS


_ONCHAIN_REASONS = frozenset(
    {
        ReserveReason.ANCHOR_FEES,
        ReserveReason.FROZEN,
        ReserveReason.OPENING_COINS,
        ReserveReason.PSBT,
        ReserveReason.CLAIM_FEES,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservedPart:
    reason: ReserveReason
    amount_sat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceView:
    """One balance for both layers, in whole satoshis: what can be sent, what arrives, what is locked, what is
    reserved. These are the whole of it.

    Attributes:
        onchain_confirmed_sat, onchain_unconfirmed_sat: coins of the on-chain wallet.
        onchain_spendable_sat: what can be sent on chain now, after the anchor reserve.
        lightning_msat: ours in open channels, whatever can be sent of it.
        can_send_msat: the most that one payment over Lightning can carry now (before routing fees).
        can_receive_msat: the most that can be received over Lightning now.
        reserved: what cannot be sent now, one part for each reason that there is.
        locked: what is on its way home from closed channels.
    """

    onchain_confirmed_sat: int = 0
    onchain_unconfirmed_sat: int = 0
    onchain_spendable_sat: int = 0
    lightning_msat: int = 0
    can_send_msat: int = 0
    can_receive_msat: int = 0
    reserved: tuple[ReservedPart, ...] = ()
    locked: tuple[LockedCoin, ...] = ()

    @property
    def locked_sat(self) -> int:
        return sum(coin.amount_sat for coin in self.locked if coin.is_certain)

    @property
    def onchain_sat(self) -> int:
        return self.onchain_confirmed_sat + self.onchain_unconfirmed_sat

    @property
    def lightning_sat(self) -> int:
        return self.lightning_msat // 1000

    @property
    def total_sat(self) -> int:
        return self.onchain_sat + self.lightning_sat + self.locked_sat

    @property
    def reserved_sat(self) -> int:
        return sum(part.amount_sat for part in self.reserved)

    @property
    def incoming_sat(self) -> int:
        """What waits for its first confirmation before it is ours to trust."""
        kept_sat = sum(part.amount_sat for part in self.reserved if part.reason.is_onchain)
        return self.onchain_sat - self.onchain_spendable_sat - kept_sat

    @property
    def lightning_spendable_sat(self) -> int:
        """What usable channels hold beyond what they keep back; several payments may be needed to send it all."""
        return self.lightning_sat - sum(
            part.amount_sat for part in self.reserved if not part.reason.is_onchain
        )

    @property
    def spendable_sat(self) -> int:
        return self.onchain_spendable_sat + self.lightning_spendable_sat


class ChannelPhase(Enum):
    """Where a channel is in its life; documented by what it waits for."""

    NEGOTIATING = "negotiating"
    AWAITING_CONFIRMATIONS = "awaiting confirmations"
    AWAITING_PEER = "awaiting the peer"
    READY = "ready"
    PEER_OFFLINE = "peer offline"
    SHUTTING_DOWN = "shutting down"
    CLOSING = "closing"
    FORCE_CLOSING = "force-closing"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelView:
    """One channel, open or closed.

    Attributes:
        channel_id: hex; the temporary one before the funding is known.
        phase_text: one sentence for a person, with numbers ("1 of 3 confirmations").
        holder_reserve_sat, counterparty_reserve_sat: what each side has to keep.
        inflight_out_msat, inflight_in_msat: HTLCs pending.
        closure_text: why it closed, a sentence; empty while it is open.
        details: label and value pairs for the folded details (ids, heights, delays, fee rate).
        held: a channel of a restored wallet, which is not closed from here before its peer has shown that the
            wallet file is current.
        fees_earned_msat, forwards: of payments that were forwarded and left by this channel.
        uptime_permille: how much of the time that we ran the peer was there; None before that says anything.
    """

    channel_id: str
    short_channel_id: str | None
    peer_id: str
    peer_alias: str
    peer_online: bool
    phase: ChannelPhase
    phase_text: str
    is_usable: bool
    is_outbound: bool
    is_announced: bool
    channel_type: str
    capacity_sat: int
    local_msat: int
    remote_msat: int
    can_send_msat: int
    can_receive_msat: int
    holder_reserve_sat: int
    counterparty_reserve_sat: int
    inflight_out_msat: int
    inflight_in_msat: int
    funding_txid: str | None
    funding_vout: int | None
    closing_txid: str | None
    confirmations: int
    confirmations_required: int
    to_self_delay_blocks: int
    feerate_sat_per_kw: int
    closure_text: str = ""
    locked: tuple[LockedCoin, ...] = ()
    details: tuple[tuple[str, str], ...] = ()
    held: bool = False
    fees_earned_msat: int = 0
    forwards: int = 0
    uptime_permille: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerView:
    """A peer that is connected, or that we connect to by ourselves.

    Attributes:
        address: where it is called; empty where we know none, and it has to call us.
        last_seen_at: unix time; None where that is not known.
        attempts: how often it was called in vain since it went, or since Leyden began.
        tried_at, next_try_at: unix time of the last call and of the next; None where there is none.
        problem: why the last call failed, a few words; empty where none did.
    """

    node_id: str
    alias: str
    address: str
    online: bool
    last_seen_at: int | None
    channels: int
    attempts: int = 0
    tried_at: int | None = None
    next_try_at: int | None = None
    problem: str = ""


class ActivityKind(Enum):
    LIGHTNING = "lightning"
    ONCHAIN = "onchain"


class ActivityStatus(Enum):
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class ActivityDirection(Enum):
    """Which way an amount went; MOVED is one's own money that changed its place, with a fee as the only cost."""

    IN = "in"
    OUT = "out"
    MOVED = "moved"


class ActivityOrder(Enum):
    """By what the history is sorted."""

    WHEN = "when"
    AMOUNT = "amount"
    FEE = "fee"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityQuery:
    """What is wanted of the history; what is left at its default asks for nothing.

    Attributes:
        text: within a note or a name, in capitals or not; three characters or more also within a payment hash or a
            transaction id.
        since_at, until_at: unix time; from the first on, and before the second.
        descending: newest, largest or dearest first.
    """

    text: str = ""
    kind: ActivityKind | None = None
    status: ActivityStatus | None = None
    direction: ActivityDirection | None = None
    since_at: int | None = None
    until_at: int | None = None
    order: ActivityOrder = ActivityOrder.WHEN
    descending: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityItem:
    """One line of the history of both layers.

    Attributes:
        item_id: stable; "ln:<payment hash>" or "tx:<txid>".
        amount_msat: what it changed, positive for in, negative for out, without the fee.
        fee_msat: what was paid besides; 0 for incoming.
        at: unix time.
        status_text: a sentence: "1 of 3 confirmations", or why it failed.
        preimage: proof of payment, hex.
        height: block height of an on-chain transaction, None while unconfirmed.
        attempts: one sentence per failed attempt.
        moved_msat: what changed its place within the wallet, into or out of a channel, without the fee; 0 for payments.
        channel_id: of the channel that it moved into or out of.
    """

    item_id: str
    kind: ActivityKind
    amount_msat: int
    fee_msat: int
    at: int
    status: ActivityStatus
    status_text: str
    label: str
    counterparty: str = ""
    payment_hash: str | None = None
    preimage: str | None = None
    txid: str | None = None
    height: int | None = None
    invoice: str | None = None
    attempts: tuple[str, ...] = ()
    moved_msat: int = 0
    channel_id: str | None = None

    @property
    def direction(self) -> ActivityDirection:
        if self.amount_msat > 0:
            return ActivityDirection.IN
        return ActivityDirection.OUT if self.amount_msat < 0 else ActivityDirection.MOVED


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptHopView:
    """One node on the way of an attempt, and the channel that leads to it.

    Attributes:
        amount_msat: what went over that channel.
        fee_msat: what the node keeps; 0 for the payee.
        hold_time_ms: how long it says that it held the payment; None where it says nothing.
    """

    node_id: str
    alias: str
    short_channel_id: str
    amount_msat: int
    fee_msat: int
    hold_time_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One path that was tried for a payment, or for a part of it.

    Attributes:
        took_ms: until it arrived or came back, or so far; None while nobody knows.
        amount_msat, fee_msat: what the payee was to get by it, and what the way there costs.
        failed_hop: which of `hops` reported the failure; None when it failed at home, or nobody can say where.
        failed_channel: the channel that could not carry it, where that is known.
        failure_code, failure_name: as BOLT 4 has them; 0 and empty where there is none.
        failure: why it failed, a sentence.
        text: the whole attempt as a sentence.
    """

    status: ActivityStatus
    sent_at: int
    took_ms: int | None
    amount_msat: int
    fee_msat: int
    hops: tuple[AttemptHopView, ...]
    failed_hop: int | None = None
    failed_channel: str | None = None
    failure_code: int = 0
    failure_name: str = ""
    failure: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityPage:
    """A page of the history, newest first. `total` counts all that match."""

    items: tuple[ActivityItem, ...]
    offset: int
    total: int


class RequestStatus(Enum):
    UNPAID = "unpaid"
    PENDING = "arriving"
    PAID = "paid"
    EXPIRED = "expired"
    HELD = "held"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """Something we asked to be paid: an invoice, an address, or both. `txid` pays the address; `paid_twice`: it does
    so although the invoice was paid."""

    request_id: str
    amount_msat: int | None
    message: str
    created_at: int
    expires_at: int | None
    status: RequestStatus
    invoice: str | None
    address: str | None
    payment_hash: str | None
    txid: str | None = None
    paid_twice: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerView:
    """An Electrum server. `problem` is a sentence, empty when all is well."""

    address: str
    connected: bool
    height: int
    protocol: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryView:
    """What a restored wallet waits for, and whether the channel backup is written.

    Attributes:
        asks: the person has to say whether another copy of this wallet still runs; until then the peers of its
            channels are left alone.
        held: how many channels wait for their peers to show that the wallet file is current.
        lost: how many channels, which only a backup names, wait for their peers to close them.
        problem: a sentence for the command line on the first of these; empty when there is none.
        backup_problem: a sentence on a channel backup that could not be written; empty when all are up to date.
    """

    asks: bool = False
    held: int = 0
    lost: int = 0
    problem: str = ""
    backup_problem: str = ""

    @property
    def is_restored(self) -> bool:
        return self.asks or self.held > 0 or self.lost > 0


class GraphSyncState(Enum):
    """Where the sync of the public network's graph is; payments go at any of them."""

    NOT_STARTED = "not started"
    ASKING_RANGES = "asking ranges"
    CHANNELS = "channels"
    SIGNATURES = "signatures"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSync:
    """How far the graph's sync is.

    Attributes:
        known_channels: of `listed_channels`, which the peer that is asked knows of, how many have come.
        signatures_waiting: messages that are still to be verified.
        synced_at: when a sync ended last in this run; None before the first.
        calls_public_nodes: a few are called while the graph is missing or old; None where that cannot be chosen.
        imported_percent: of a snapshot that is being taken over; 0 while it is fetched and read, None without one.
    """

    state: GraphSyncState = GraphSyncState.NOT_STARTED
    known_channels: int = 0
    listed_channels: int = 0
    signatures_waiting: int = 0
    synced_at: int | None = None
    calls_public_nodes: bool | None = None
    imported_percent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FiatView:
    """What a bitcoin costs in the person's money, for the window alone.

    Attributes:
        rate_hundredths: hundredths of the currency for one bitcoin; 0 while unknown.
        at: when that was so, unix time.
        source: who says so.
        problem: a sentence when the last question had no answer.
        days: the rates of days, as "2026-01-31", with which the history says what a payment was worth then.
    """

    currency: str
    rate_hundredths: int
    at: int
    source: str
    problem: str
    days: Mapping[str, int] = field(default_factory=dict)


class ProblemKind(Enum):
    """What needs attention; documented by where it is mended."""

    FILE = "wallet file"
    """The wallet file cannot be written: outside Leyden, and then by a new start."""
    RESTORED = "restored wallet"
    """In the recovery report, and by the person's word."""
    BACKUP = "backup"
    """Where the places of the backup are chosen."""
    SERVERS = "servers"
    """Where the servers are chosen."""
    COINS = "coins"
    """By a deposit."""
    REQUESTS = "requests"
    """By the person's word on a channel that a peer wants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """`text` is a sentence."""

    kind: ProblemKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """How the wallet stands, for the status bar.

    Attributes:
        network: "mainnet", "testnet4", "signet", "regtest" or "sandbox".
        tip_at: block time of the tip, unix seconds.
        graph_updated_at: the newest that the graph knows; its age counts from there. None for an empty one.
        safe_until_height: until this height it is safe to be away; None while nothing is at risk.
        problem: a sentence on what needs attention first, empty otherwise.
        problems: all of what needs attention, the first thing first.
        planned_channel: a sentence on the channel that opens once a deposit has confirmed, or on why it did not;
            `plan_is_waiting` tells which.
    """

    network: str
    wallet_name: str
    node_id: str
    synced: bool
    height: int
    tip_at: int
    servers: tuple[ServerView, ...]
    peers_online: int
    peers_total: int
    graph_nodes: int
    graph_channels: int
    graph_updated_at: int | None
    backup_text: str
    safe_until_height: int | None
    problem: str
    problems: tuple[Problem, ...] = ()
    recovery: RecoveryView = RecoveryView()
    fiat: FiatView | None = None
    graph_sync: GraphSync = GraphSync()
    planned_channel: str = ""
    plan_is_waiting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletSnapshot:
    status: NodeStatus
    balance: BalanceView
    channels: tuple[ChannelView, ...]
    peers: tuple[PeerView, ...]
    requests: tuple[RequestView, ...]
    recent: tuple[ActivityItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSet:
    """What changed since the last one; a front end reads the new values from `snapshot`.

    Attributes:
        channels: ids of channels that changed, appeared or went.
        activity: item ids that changed or appeared.
        requests: request ids that changed.
        payment_progress: item id to a sentence, for payments under way ("trying route 2, 3 hops").
    """

    snapshot: WalletSnapshot
    status: bool
    balance: bool
    channels: frozenset[str]
    peers: bool
    activity: frozenset[str]
    requests: frozenset[str]
    payment_progress: Mapping[str, str]


# --- the seams of a front end ---------------------------------------------------


class NodeApi(Protocol):
    """A running, unlocked wallet. Every method may be called from any thread and returns at once."""

    def call(self, command: str, /, **arguments: Json) -> Future[Json]:
        """Runs a command of `wallet.node.commands`; the future raises `CommandError`."""
        ...

    def snapshot(self) -> WalletSnapshot: ...

    def activity_page(
        self,
        *,
        offset: int,
        limit: int,
        text: str = "",
        kind: ActivityKind | None = None,
        status: ActivityStatus | None = None,
    ) -> ActivityPage: ...

    def activity_ids(self, query: ActivityQuery) -> Sequence[str]:
        """The ids of all that match, in order; of a hundred thousand they take a tenth of a second. For whoever may
        wait: a window asks `find_activity`."""
        ...

    def find_activity(self, query: ActivityQuery) -> Future[Sequence[str]]:
        """The same, and it never waits: done when it returns where the history is short or the answer is known. Who
        does not want to know any more cancels it."""
        ...

    def activity_items(self, item_ids: Sequence[str]) -> Sequence[ActivityItem | None]:
        """The items of some ids, in their order; None for one that is gone."""
        ...

    def payment_attempts(self, item_id: str) -> Sequence[AttemptView]:
        """What was tried for a Lightning payment of ours, oldest first; nothing for any other item."""
        ...

    def subscribe(self, listener: Callable[[ChangeSet], None]) -> Callable[[], None]:
        """Calls `listener` on the node's thread at each change; returns what ends the subscription."""
        ...

    def sandbox(self) -> SandboxControl | None:
        """The practice network's controls, None on any other network."""
        ...


class SandboxControl(Protocol):
    """What only play money can do."""

    def mine(self, blocks: int = 1) -> Future[int]:
        """Mines; the new height."""
        ...

    def give_coins(self, amount_sat: int) -> Future[str]:
        """Sends play coins to a fresh address of the wallet; the transaction id."""
        ...

    def hub_uri(self) -> str:
        """node_id@host:port of the friendly hub."""
        ...

    def channel_price_sat(self, capacity_sat: int) -> int:
        """What the hub asks for opening a channel to us."""
        ...

    def buy_channel(self, capacity_sat: int) -> Future[str]:
        """Buys a channel of the hub, so that we can receive: over Lightning, where that reaches, else on chain. A
        sentence on where the order is."""
        ...

    def shop_invoice(self, amount_msat: int, description: str) -> Future[str]:
        """An invoice of the shop, which is a channel behind the hub."""
        ...

    def shop_pay(self, invoice: str) -> Future[str]:
        """The shop pays our invoice; its preimage in hex."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletInfo:
    """A wallet on this computer, open or not."""

    name: str
    network: str
    path: Path
    encrypted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsReport:
    """What a list of words is, and what it can bring back here.

    Attributes:
        kind: "leyden" for BIP39 words with a valid checksum, "electrum" for Electrum's own kind, "aezeed",
            "invalid" otherwise.
        message: a sentence: which word is wrong, or what these words restore here.
        wrong_words: positions, from 0.
    """

    kind: str
    usable: bool
    message: str
    wrong_words: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """What a channel backup holds.

    Attributes:
        made_at: unix time.
        channels: how many it names.
        capacity_sat: what these channels hold together, of both sides: our part is known once they are closed.
        peers: node ids, hex.
    """

    made_at: int
    channels: int
    capacity_sat: int
    peers: tuple[str, ...]


class WalletHost(Protocol):
    """Wallets on this computer: the first-run wizard and the unlock dialog talk to it."""

    def wallets(self, network: str) -> Sequence[WalletInfo]: ...

    def new_words(self, count: int = 12) -> Sequence[str]: ...

    def check_words(self, words: Sequence[str]) -> WordsReport: ...

    def complete_word(self, prefix: str) -> Sequence[str]: ...

    def check_channel_backup(self, *, network: str, words: Sequence[str], file: Path) -> Future[BackupReport]:
        """Reads a channel backup with the words; raises `CommandError` with a sentence for a file that is none, is
        damaged, or belongs to other words or another network."""
        ...

    def create(
        self,
        *,
        network: str,
        name: str,
        words: Sequence[str],
        password: str,
        restored: bool,
        channel_backup: Path | None = None,
        old_installation_stopped: bool = False,
    ) -> Future[WalletInfo]:
        """Makes the wallet's folder and file; durable when the future is done.

        A restored one looks for what its words and the channel backup lead to. The peers of its channels are called
        only once the person has said that the old installation does not run any more, here or by the command
        `old_installation_stopped`.
        """
        ...

    def open(self, info: WalletInfo, password: str) -> Future[NodeApi]:
        """Unlocks and starts a wallet; raises `CommandError` with a sentence for a wrong password, a lock held by
        another process, a damaged or newer file. One that runs already is handed out again once the password is
        right, unless it has failed: then it is built anew from its file. The code is "daemon" where a daemon of this
        computer has the wallet, and can be asked for it."""
        ...

    def take_over(self, info: WalletInfo, password: str) -> Future[None]:
        """Has the daemon close the wallet; done once it may be opened here. Raises `CommandError` with a sentence: its
        code is "busy" where the daemon may still do it."""
        ...

    def is_running(self, info: WalletInfo) -> bool:
        """Whether this wallet is open here, be it behind a lock."""
        ...

    def close(self) -> Future[None]:
        """Stops the wallet that is open, everything durable."""
        ...
