"""The seams between the Lightning core, the on-chain funds, and what stands outside them.

Every seam is a `typing.Protocol`: the core names what it needs, the running wallet hands it in. Nothing here
blocks, and nothing here may be called while another call into the core is under way, except where it says so.

Theory of operation. One entry into the core, under the one lock, yields one batch: the rows that changed
(`Persist.write`) and what has to leave the process (messages, broadcasts, registrations, events). The batch is
committed to disk first; only then does anything leave. Memory may run ahead of the disk; what has left never may.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from wallet.bitcoin.tx import BlockHash, BlockHeader, OutPoint, Transaction, Txid, TxOut

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Access",
    "BestBlock",
    "BroadcastPackage",
    "BroadcasterInterface",
    "ChainStep",
    "ChainUpdate",
    "ConfirmationTarget",
    "Confirm",
    "FeeEstimator",
    "Filter",
    "LogLevel",
    "Logger",
    "Persist",
    "RevokedStates",
    "Row",
    "ScriptFilter",
    "TransactionUnconfirmed",
    "TransactionsConfirmed",
    "TransactionsEvicted",
    "TransactionsSeen",
    "TxInBlock",
    "UtxoAnswer",
    "UtxoError",
]

FLOOR_FEERATE_SAT_PER_KW = 253
"""1 sat/vB is 250 sat per 1000 weight; 253 survives the rounding of weight to vbytes. As every implementation does."""


# --- durable rows -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One durable value.

    Attributes:
        space: which kind of thing; a short lower-case name. "revoked" is append-only.
        key: bytes that order as the space wants its rows to be read.
        value: the encoded record, or None to delete it.
    """

    space: str
    key: bytes
    value: bytes | None


class Persist(Protocol):
    """Where changed rows go. They become durable together with everything else of the same entry."""

    def write(self, rows: Iterable[Row]) -> None:
        """Adds rows to the batch of the current entry. A later row of the same space and key replaces an
        earlier one."""
        ...


class RevokedStates(Protocol):
    """The only read of the core: packed rows of revoked commitments, written with `Persist` in space "revoked"."""

    def read(self, key: bytes) -> bytes | None:
        """Answers with the row's value, whether or not its batch is committed yet; None if there is none."""
        ...


# --- the chain, inwards -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TxInBlock:
    """A transaction and its place in its block."""

    index: int
    tx: Transaction


class Confirm(Protocol):
    """Who wants to hear of the chain. Any order of delivery that the chain allows ends in the same state."""

    def transactions_confirmed(self, header: BlockHeader, height: int, txdata: Sequence[TxInBlock]) -> None:
        """Relevant transactions of one block, in block order. May be called again for the same block with more."""
        ...

    def transaction_unconfirmed(self, txid: Txid) -> None:
        """A transaction that was confirmed left the best chain with its block. Not needed for what stood above a lower
        tip, or at the height of another one."""
        ...

    def best_block_updated(self, header: BlockHeader, height: int) -> None:
        """The best tip moved (forwards, by several blocks, or back); comes after the block's transactions, but for
        those that were asked for late: nothing may be lost by a tip that comes first."""
        ...

    def get_relevant_txids(self) -> Sequence[tuple[Txid, int, BlockHash | None]]:
        """Transactions whose confirmation still matters: id, height, and the block they were confirmed in."""
        ...

    def transactions_seen(self, txs: Sequence[Transaction]) -> None:
        """Unconfirmed transactions: hints. They may start broadcasts and teach preimages, and never change a balance
        of a channel, fail an HTLC, or count as depth."""
        ...

    def transactions_evicted(self, txids: Sequence[Txid]) -> None:
        """Transactions seen before that are no longer in any server's mempool, nor confirmed."""
        ...


@dataclass(frozen=True, slots=True)
class TransactionsConfirmed:
    header: BlockHeader
    height: int
    txdata: tuple[TxInBlock, ...]


@dataclass(frozen=True, slots=True)
class TransactionUnconfirmed:
    txid: Txid


@dataclass(frozen=True, slots=True)
class BestBlock:
    header: BlockHeader
    height: int


@dataclass(frozen=True, slots=True)
class TransactionsSeen:
    txs: tuple[Transaction, ...]


@dataclass(frozen=True, slots=True)
class TransactionsEvicted:
    txids: tuple[Txid, ...]


ChainStep = (
    TransactionsConfirmed | TransactionUnconfirmed | BestBlock | TransactionsSeen | TransactionsEvicted
)


@dataclass(frozen=True, slots=True)
class ChainUpdate:
    """What the chain source hands to the node in one entry; the node applies the steps in order to each `Confirm`.

    Attributes:
        steps: in the order in which they are to be applied.
        done: called (outside the lock) once the batch that the update caused has been taken into memory.
    """

    steps: tuple[ChainStep, ...]
    done: Callable[[], None] | None = None


# --- the chain, outwards ------------------------------------------------------


class Filter(Protocol):
    """Which transactions the core wants to hear of. Never blocks, may be called re-entrantly: it queues.

    After a registration no matching transaction may be missed, nor a descendant of one in the same block.
    """

    def register_tx(self, txid: Txid, script_pubkey: bytes) -> None:
        """The transaction itself, found by one of its output scripts."""
        ...

    def register_output(
        self, outpoint: OutPoint, script_pubkey: bytes, block_hash: BlockHash | None = None
    ) -> None:
        """Whatever spends the output (and the transaction that creates it)."""
        ...


class ScriptFilter(Filter, Protocol):
    """A `Filter` that follows whole scripts too: the addresses of the on-chain funds."""

    def register_script(self, script_pubkey: bytes) -> None:
        """Every transaction that pays to the script or spends from it, since ever."""
        ...


class UtxoError(Enum):
    UNKNOWN_CHAIN = auto()
    UNKNOWN_TX = auto()
    UNAVAILABLE = auto()


@dataclass(frozen=True, slots=True)
class UtxoAnswer:
    """The output that a short channel id points to, or why there is none."""

    short_channel_id: int
    output: TxOut | None
    error: UtxoError | None


class Access(Protocol):
    """`chain.Access`: looks up the funding outputs of other people's channels."""

    def get_utxo(
        self, chain_hash: bytes, short_channel_id: int, answer: Callable[[UtxoAnswer], None]
    ) -> UtxoAnswer | None:
        """Answers at once, or returns None and calls `answer` later, in an entry of its own, under the lock."""
        ...


class ConfirmationTarget(Enum):
    """What a fee rate is for; names and meaning follow rust-lightning's `ConfirmationTarget`."""

    MAXIMUM_FEE_ESTIMATE = auto()
    URGENT_ON_CHAIN_SWEEP = auto()
    MIN_ALLOWED_ANCHOR_CHANNEL_REMOTE_FEE = auto()
    MIN_ALLOWED_NON_ANCHOR_CHANNEL_REMOTE_FEE = auto()
    ANCHOR_CHANNEL_FEE = auto()
    NON_ANCHOR_CHANNEL_FEE = auto()
    CHANNEL_CLOSE_MINIMUM = auto()
    OUTPUT_SPENDING_FEE = auto()


class FeeEstimator(Protocol):
    def get_est_sat_per_1000_weight(self, confirmation_target: ConfirmationTarget) -> int:
        """Satoshis per 1000 weight, never below `FLOOR_FEERATE_SAT_PER_KW`; answers at once from what is known."""
        ...


@dataclass(frozen=True, slots=True)
class BroadcastPackage:
    """Transactions to be sent together, parents first.

    Attributes:
        deadline_height: after this height money may be lost if it is not confirmed; None where nothing presses.
    """

    txs: tuple[Transaction, ...]
    deadline_height: int | None = None
    label: str = ""


class BroadcasterInterface(Protocol):
    def broadcast_transactions(self, package: BroadcastPackage) -> None:
        """Queues; leaves only after the commit of the entry. Sending the same again is harmless."""
        ...


# --- logging ------------------------------------------------------------------


class LogLevel(Enum):
    TRACE = 5
    DEBUG = 10
    INFO = 20
    WARN = 30
    ERROR = 40


class Logger(Protocol):
    def log(self, level: LogLevel, message: str, *args: object) -> None:
        """`message` is a %-format; keys, secrets and preimages never come here."""
        ...
