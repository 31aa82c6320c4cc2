"""What the core tells: events for the wallet, and messages for peers.

`Event`s are durable: each is a row (space "event", key its 8-byte id) until the wallet has acted on it, and its
effect and its deletion are one commit. `MessageSendEvent`s are not: what a peer needs again is derived from the
channel's state when it reconnects. Both unions are closed: a `match` over them ends with `assert_never`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

# Imported at run time: the codec of durable records reads the type hints.
from wallet.bitcoin.tx import OutPoint, Transaction, Txid, TxOut
from wallet.ln.route import Path
from wallet.ln.types import (
    ChannelId,
    NodeId,
    PaymentHash,
    PaymentId,
    PaymentPreimage,
    PaymentSecret,
    ShortChannelId,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from wallet.ln.msgs import Message

# --- to peers -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendMessage:
    """One message to one peer; dropped when the peer is not connected."""

    node_id: NodeId
    msg: Message


@dataclass(frozen=True, slots=True)
class BroadcastMessage:
    """A gossip message for all peers that want gossip.

    Attributes:
        origin: who told it, and need not be told.
    """

    msg: Message
    origin: NodeId | None = None


class ErrorAction(Enum):
    """What follows a peer's mistake. rust-lightning's `ErrorAction`."""

    IGNORE = auto()
    SEND_WARNING = auto()
    SEND_ERROR = auto()
    SEND_WARNING_AND_DISCONNECT = auto()
    SEND_ERROR_AND_DISCONNECT = auto()
    DISCONNECT = auto()


@dataclass(frozen=True, slots=True)
class HandleError:
    """Tells a peer what it did wrong; `channel_id` None means the whole connection (all-zero id)."""

    node_id: NodeId
    action: ErrorAction
    message: str
    channel_id: ChannelId | None = None


MessageSendEvent = SendMessage | BroadcastMessage | HandleError


class MessageSendEventsProvider(Protocol):
    def get_and_clear_pending_msg_events(self) -> list[MessageSendEvent]:
        """The messages that may leave now, in order."""
        ...


# --- reasons ------------------------------------------------------------------


class PaymentFailureReason(Enum):
    """Why a payment of ours failed for good; the sentence for a person is made by the node."""

    RECIPIENT_REJECTED = auto()
    USER_ABANDONED = auto()
    RETRIES_EXHAUSTED = auto()
    PAYMENT_EXPIRED = auto()
    ROUTE_NOT_FOUND = auto()
    UNEXPECTED_ERROR = auto()
    UNKNOWN_REQUIRED_FEATURES = auto()
    INSUFFICIENT_BALANCE = auto()
    FEE_LIMIT = auto()


class ClosureKind(Enum):
    """Why a channel closed; documented by who started it."""

    COUNTERPARTY_FORCE_CLOSED = auto()
    HOLDER_FORCE_CLOSED = auto()
    COOPERATIVE_BY_COUNTERPARTY = auto()
    COOPERATIVE_BY_HOLDER = auto()
    COMMITMENT_TX_CONFIRMED = auto()
    FUNDING_TIMED_OUT = auto()
    PROCESSING_ERROR = auto()
    DISCONNECTED_BEFORE_FUNDING = auto()
    OUTDATED_STATE = auto()
    COUNTERPARTY_COOP_CLOSED_UNFUNDED = auto()
    FUNDING_BATCH_OR_BROADCAST_FAILED = auto()
    HTLCS_TIMED_OUT = auto()
    PEER_FEERATE_TOO_LOW = auto()
    HOLDER_COOP_CLOSED_UNFUNDED = auto()


@dataclass(frozen=True, slots=True)
class ClosureReason:
    """Why a channel closed.

    Attributes:
        message: what the peer or our own rule said, untrusted text when it is the peer's.
    """

    kind: ClosureKind
    message: str = ""


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One path that failed, kept for the person to look at.

    Attributes:
        hop_index: which hop of `path` reported it (0 is our peer), None when it failed at home or is unreadable.
        failure_code: BOLT 4 failure code, 0 when unknown.
        short_channel_id: the channel that could not carry it, when known.
        part_id, sent_at, sent_mono_ms: as in `SentPart`.
        hold_times_ms: how long each hop held it, first hop first, as far as hops vouch for it.
        came_too_late: refused by a payee that had seen so many blocks more that its time limit could not be kept.
    """

    path: Path
    hop_index: int | None
    failure_code: int
    short_channel_id: ShortChannelId | None
    payee_rejected: bool
    message: str
    part_id: int = field(default=0, metadata={"tlv": 101})
    sent_at: int = field(default=0, metadata={"tlv": 103})
    sent_mono_ms: int = field(default=0, metadata={"tlv": 105})
    hold_times_ms: tuple[int, ...] = field(default=(), metadata={"tlv": 107})
    came_too_late: bool = field(default=False, metadata={"tlv": 109})


@dataclass(frozen=True, slots=True)
class SentPart:
    """One HTLC of a payment that arrived.

    Attributes:
        part_id: unique within the payment.
        sent_at, sent_mono_ms: both clocks when it was offered; the second one means nothing after a restart.
    """

    part_id: int
    path: Path
    sent_at: int
    sent_mono_ms: int


# --- spendable outputs --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StaticOutput:
    """Pays to a script that the on-chain wallet or the keys' destination script owns: nothing special is needed."""

    outpoint: OutPoint
    output: TxOut
    channel_id: ChannelId


@dataclass(frozen=True, slots=True)
class DelayedPaymentOutput:
    """Our `to_local`, or a second-stage HTLC output: spendable `to_self_delay_blocks` after it confirmed."""

    outpoint: OutPoint
    output: TxOut
    channel_id: ChannelId
    channel_keys_id: bytes
    per_commitment_point: bytes
    revocation_pubkey: bytes
    to_self_delay_blocks: int


@dataclass(frozen=True, slots=True)
class StaticPaymentOutput:
    """Our `to_remote` on the peer's commitment: ours at once (one block later with anchors)."""

    outpoint: OutPoint
    output: TxOut
    channel_id: ChannelId
    channel_keys_id: bytes
    anchors: bool


SpendableOutputDescriptor = StaticOutput | DelayedPaymentOutput | StaticPaymentOutput


# --- events -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FundingGenerationReady:
    """`open_channel` was accepted: make (do not broadcast) a transaction that pays `output_script`.

    Answer with `ChannelManager.funding_transaction_generated`.
    """

    temporary_channel_id: ChannelId
    counterparty_node_id: NodeId
    channel_value_sat: int
    output_script: bytes
    user_channel_id: int


@dataclass(frozen=True, slots=True)
class OpenChannelRequest:
    """A peer wants to open a channel to us; answer with `accept_inbound_channel` or `reject_inbound_channel`."""

    temporary_channel_id: ChannelId
    counterparty_node_id: NodeId
    funding_sat: int
    push_msat: int
    channel_type: bytes
    is_announced: bool
    needs_anchor_reserve: bool


@dataclass(frozen=True, slots=True)
class ChannelPending:
    """The funding transaction is signed for; its outpoint is known, and it is broadcast if it is ours."""

    channel_id: ChannelId
    temporary_channel_id: ChannelId
    counterparty_node_id: NodeId
    user_channel_id: int
    funding_outpoint: OutPoint


@dataclass(frozen=True, slots=True)
class ChannelReadyEvent:
    """Both sides have said `channel_ready`: payments can pass."""

    channel_id: ChannelId
    counterparty_node_id: NodeId
    user_channel_id: int


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """The channel is closed, or about to be: its transaction is known or will be."""

    channel_id: ChannelId
    counterparty_node_id: NodeId
    user_channel_id: int
    reason: ClosureReason
    channel_capacity_sat: int
    funding_outpoint: OutPoint | None
    was_funded: bool
    is_outbound: bool = field(default=False, metadata={"tlv": 101})
    """We had offered it. What peers offer, and never fund, is nothing to remember."""
    balance_msat: int | None = field(default=None, metadata={"tlv": 103})
    """Ours, HTLCs of ours on their way subtracted, before the fees of closing; None of one that was never funded."""


@dataclass(frozen=True, slots=True)
class DiscardFunding:
    """The funding transaction will never be needed: its inputs are free again."""

    channel_id: ChannelId
    tx: Transaction


@dataclass(frozen=True, slots=True)
class PaymentClaimable:
    """All parts of a payment to us have arrived; answer with `claim_funds` or `fail_htlc_backwards`.

    Attributes:
        payment_preimage: None for an invoice made for somebody else's hash (hold invoices).
        claim_deadline_height: before this height it has to be claimed.
    """

    payment_hash: PaymentHash
    payment_preimage: PaymentPreimage | None
    payment_secret: PaymentSecret | None
    amount_msat: int
    counterparty_skimmed_fee_msat: int
    claim_deadline_height: int
    via_channel_ids: tuple[ChannelId, ...]
    is_keysend: bool


@dataclass(frozen=True, slots=True)
class PaymentClaimed:
    """A payment to us is ours: its preimage is durable in the monitors of all its channels."""

    payment_hash: PaymentHash
    payment_preimage: PaymentPreimage
    amount_msat: int
    is_keysend: bool


@dataclass(frozen=True, slots=True)
class PaymentSent:
    """A payment of ours arrived; the preimage proves it. Comes once per payment id.

    Attributes:
        amount_msat, fee_paid_msat: of all `parts`. One that comes back after all was not paid: `PaymentPathFailed`.
        parts: which it was made of, those that failed before left out.
        part_id: of the part whose preimage came first.
        hold_times_ms: of that part, as in `FailedAttempt`.
    """

    payment_id: PaymentId
    payment_hash: PaymentHash
    payment_preimage: PaymentPreimage
    amount_msat: int
    fee_paid_msat: int
    parts: tuple[SentPart, ...] = field(default=(), metadata={"tlv": 101})
    part_id: int = field(default=0, metadata={"tlv": 103})
    hold_times_ms: tuple[int, ...] = field(default=(), metadata={"tlv": 105})


@dataclass(frozen=True, slots=True)
class PaymentFailed:
    """A payment of ours failed for good, and no part of it can still arrive."""

    payment_id: PaymentId
    payment_hash: PaymentHash | None
    reason: PaymentFailureReason
    attempts: tuple[FailedAttempt, ...]


@dataclass(frozen=True, slots=True)
class PaymentPathSuccessful:
    """A part of a payment that arrived is irrevocably settled.

    Attributes:
        part_id, sent_at, sent_mono_ms: as in `SentPart`.
        hold_times_ms: as in `FailedAttempt`.
    """

    payment_id: PaymentId
    payment_hash: PaymentHash
    path: Path
    part_id: int = field(default=0, metadata={"tlv": 101})
    sent_at: int = field(default=0, metadata={"tlv": 103})
    sent_mono_ms: int = field(default=0, metadata={"tlv": 105})
    hold_times_ms: tuple[int, ...] = field(default=(), metadata={"tlv": 107})


@dataclass(frozen=True, slots=True)
class PaymentPathFailed:
    payment_id: PaymentId
    payment_hash: PaymentHash
    attempt: FailedAttempt


@dataclass(frozen=True, slots=True)
class PaymentForwarded:
    """We forwarded a payment and were paid for it.

    Attributes:
        fee_earned_msat: None when the outgoing side was claimed on chain and the amounts are not known.
    """

    prev_channel_id: ChannelId
    next_channel_id: ChannelId
    fee_earned_msat: int | None
    outbound_amount_msat: int
    claimed_on_chain: bool


@dataclass(frozen=True, slots=True)
class HTLCHandlingFailed:
    """An incoming HTLC was failed back.

    Attributes:
        next_channel_id: where it should have gone; None when it was for us or the next hop is unknown.
    """

    prev_channel_id: ChannelId
    next_channel_id: ChannelId | None
    payment_hash: PaymentHash
    failure_code: int
    message: str


@dataclass(frozen=True, slots=True)
class SpendableOutputs:
    """Outputs of closed channels that are ours; `OutputSweeper` takes them home."""

    outputs: tuple[SpendableOutputDescriptor, ...]
    channel_id: ChannelId


@dataclass(frozen=True, slots=True)
class BumpCommitment:
    """An anchor commitment of ours needs a child that pays for both. Answered by `BumpTransactionEventHandler`."""

    channel_id: ChannelId
    claim_id: bytes
    counterparty_node_id: NodeId
    package_target_feerate_sat_per_kw: int
    commitment_tx: Transaction
    commitment_tx_fee_sat: int
    anchor_vout: int
    channel_keys_id: bytes
    funding_pubkey: bytes
    deadline_height: int


@dataclass(frozen=True, slots=True)
class HtlcBumpDescriptor:
    """One zero-fee HTLC transaction's input and output, ready to be aggregated and given fee inputs."""

    htlc_outpoint: OutPoint
    htlc_output: TxOut
    witness_script: bytes
    counterparty_signature: bytes
    payment_preimage: PaymentPreimage | None
    cltv_expiry_height: int
    per_commitment_number: int
    per_commitment_point: bytes
    second_stage_output: TxOut
    channel_keys_id: bytes


@dataclass(frozen=True, slots=True)
class BumpHtlcs:
    """HTLC outputs of our anchor commitment to claim, with fees from the on-chain coins."""

    channel_id: ChannelId
    claim_id: bytes
    counterparty_node_id: NodeId
    target_feerate_sat_per_kw: int
    htlcs: tuple[HtlcBumpDescriptor, ...]
    tx_lock_time: int
    deadline_height: int


Event = (
    FundingGenerationReady
    | OpenChannelRequest
    | ChannelPending
    | ChannelReadyEvent
    | ChannelClosed
    | DiscardFunding
    | PaymentClaimable
    | PaymentClaimed
    | PaymentSent
    | PaymentFailed
    | PaymentPathSuccessful
    | PaymentPathFailed
    | PaymentForwarded
    | HTLCHandlingFailed
    | SpendableOutputs
    | BumpCommitment
    | BumpHtlcs
)


class EventsProvider(Protocol):
    def process_pending_events(self, handler: Callable[[int, Event], None]) -> None:
        """Hands each pending event with its durable id to `handler`, in order; when the handler returns, the event is
        deleted in the same commit that carries its effect. An event whose handler raises stays."""
        ...


# --- balances -----------------------------------------------------------------


class BalanceKind(Enum):
    """What keeps an amount from being spent; documented by what it waits for."""

    CLAIMABLE_ON_CHANNEL_CLOSE = auto()
    """In an open channel."""
    CLAIMABLE_AWAITING_CONFIRMATIONS = auto()
    """Confirmed on chain; waits for its delay or for the anti-reorganisation depth, until `height`."""
    CONTENTIOUS_CLAIMABLE = auto()
    """We have the preimage and race the peer's time-out at `height`."""
    MAYBE_TIMEOUT_CLAIMABLE_HTLC = auto()
    """An HTLC of ours that comes back at `height` unless the peer shows its preimage."""
    MAYBE_PREIMAGE_CLAIMABLE_HTLC = auto()
    """An HTLC to us that becomes ours if we learn the preimage before `height`."""
    COUNTERPARTY_REVOKED_OUTPUT_CLAIMABLE = auto()
    """The peer cheated; its output is ours."""


@dataclass(frozen=True, slots=True)
class Balance:
    """One amount of one channel: how much, why it is not spendable yet, and until when.

    Attributes:
        height: the block height of the kind's condition, None where there is none.
        outpoint_txid: the transaction that holds it, once it is on chain.
    """

    kind: BalanceKind
    channel_id: ChannelId
    amount_sat: int
    height: int | None = None
    payment_hash: PaymentHash | None = None
    outpoint_txid: Txid | None = None
