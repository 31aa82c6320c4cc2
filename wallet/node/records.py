"""The node's own durable rows: payments made, requests issued, peers known, channels closed, settings.

The core forgets what is settled; this is what a person may look at years later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from wallet.bitcoin.records import decode, encode
from wallet.chain.interfaces import Row

__all__ = [
    "ChannelStatRecord",
    "ClosedChannelRecord",
    "MoveKind",
    "MoveRecord",
    "PaymentRecord",
    "PaymentState",
    "PeerRecord",
    "RequestRecord",
    "RequestState",
    "SettingRecord",
    "row",
    "unpack",
]

T = TypeVar("T")


class PaymentState(Enum):
    """A payment of ours."""

    PENDING = 1
    SUCCEEDED = 2
    FAILED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRecord:
    """A payment that we made or try to make; space "node_payment", key the payment hash.

    Attributes:
        fee_msat: what the route took; known when it succeeded.
        failure: a sentence; empty unless it failed.
        attempts: a sentence per path that failed.
        trace: everything that was tried, as `wallet/node/attempts.py` writes it.
        probes: what was sent ahead of it, as `wallet/node/probes.py` writes it.
    """

    payment_hash: bytes
    amount_msat: int
    fee_msat: int
    created_at: int
    settled_at: int
    state: PaymentState
    invoice: str
    description: str
    payee: bytes
    preimage: bytes | None = None
    failure: str = ""
    attempts: tuple[str, ...] = ()
    trace: bytes = field(default=b"", metadata={"tlv": 101})
    probes: bytes = field(default=b"", metadata={"tlv": 103})


class RequestState(Enum):
    """An invoice or address of ours. EXPIRED is not stored: it follows from the time."""

    UNPAID = 1
    PAID = 2
    HELD = 3
    CANCELLED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """Something we asked to be paid; space "node_request", key the payment hash (or the script's hash).

    Attributes:
        amount_msat: None lets the payer choose.
        hold: the preimage is somebody else's to give: the payment waits for `settle_hold_invoice`.
        received_msat: what came in, 0 until it is ours.
        claim_deadline_height: of a held payment; 0 otherwise.
        paid_txid: a transaction that pays the address enough, confirmed or not.
    """

    request_id: bytes
    amount_msat: int | None
    message: str
    created_at: int
    expiry_seconds: int
    invoice: str | None
    address: str | None
    state: RequestState
    received_msat: int
    paid_at: int
    preimage: bytes | None = None
    hold: bool = False
    claim_deadline_height: int = 0
    paid_txid: bytes | None = field(default=None, metadata={"tlv": 27})

    @property
    def expires_at(self) -> int:
        return self.created_at + self.expiry_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRecord:
    """A peer that we connect to by ourselves; space "node_peer", key the node id."""

    node_id: bytes
    host: str
    port: int
    last_seen_at: int
    alias: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedChannelRecord:
    """A channel that is no more, as the person last saw it; space "node_closed_channel", key the channel id.

    Attributes:
        final_msat: what was ours when it closed, before fees; None for one that an earlier release closed.
        commitment_own_sat: the output that is ours in the commitment which confirmed; None before, and otherwise.
        forced: it was not closed by agreement; False as well for one that an earlier release closed.
    """

    channel_id: bytes
    counterparty_node_id: bytes
    capacity_sat: int
    local_msat: int
    funding_txid: bytes | None
    funding_vout: int
    closed_at: int
    closed_height: int
    reason: str
    was_funded: bool
    by_us: bool
    is_outbound: bool
    channel_type: str
    closing_txid: bytes | None = None
    to_self_delay_blocks: int = 0
    final_msat: int | None = field(default=None, metadata={"tlv": 101})
    commitment_own_sat: int | None = field(default=None, metadata={"tlv": 103})
    forced: bool = field(default=False, metadata={"tlv": 105})

    @property
    def commitment_cost_msat(self) -> int | None:
        """What the commitment took from us: its fee and the anchors, if we opened the channel, and the rest of a
        satoshi. None where it did not come to a commitment, or nothing is known of it."""
        if self.final_msat is None or self.commitment_own_sat is None:
            return None
        return self.final_msat - 1000 * self.commitment_own_sat


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStatRecord:
    """What a channel has done for us so far; space "node_channel_stat", key the channel id.

    Attributes:
        forwards, fees_earned_msat: of payments that left by this channel.
        watched_seconds, online_seconds: how long we ran with the channel, and how long its peer was there meanwhile.
    """

    forwards: int = 0
    fees_earned_msat: int = 0
    watched_seconds: int = 0
    online_seconds: int = 0


class MoveKind(Enum):
    """Why one's own money changed its place: a channel was opened, or an output of a closed one came home."""

    OPENING = 1
    CLAIM = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveRecord:
    """A transaction that is no payment; space "node_move", key the transaction id.

    Attributes:
        moved_sat: into channels; of a claim, what was claimed before its fee.
        fee_sat: of a claim.
    """

    kind: MoveKind
    channel_id: bytes
    counterparty_node_id: bytes
    moved_sat: int
    fee_sat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRecord:
    """One setting; space "node_setting", key its name."""

    text: str


def row(space: str, key: bytes, record: object) -> Row:
    """The durable row of a record."""
    return Row(space, key, encode(record))


def unpack(cls: type[T], value: bytes) -> T:
    """A record back; raises `DecodeError`."""
    return decode(cls, value)
