"""What a channel tells its monitor, and what the monitor tells back.

Theory of operation. A `ChannelMonitorUpdate` has one number and one or more steps; numbers count up by one
from 1 and are applied in order. Whatever depends on an update (a `commitment_signed`, a `revoke_and_ack`)
leaves only once the update is durable. Once the monitor has signed our commitment for broadcast, or has seen
the funding output spent, it takes no new commitments: such an update is answered with IN_PROGRESS for ever,
so that nothing that depends on it leaves; preimages, secrets and force-closes still pass.

A `MonitorEvent` is told once, and again after a restart until the entry that handled it is committed. It may
name an HTLC that the channel has resolved already: whoever handles it must be idempotent by its source.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wallet.bitcoin.records import tagged
from wallet.ln.chan_utils import HolderCommitmentTransaction, HTLCOutputInCommitment
from wallet.ln.htlc import HTLCSource
from wallet.ln.types import ChannelId, PaymentHash, PaymentPreimage

__all__ = [
    "ChannelMonitorUpdate",
    "CommitmentHtlc",
    "CommitmentSecret",
    "CommitmentTxConfirmed",
    "ForceClosed",
    "HTLCEvent",
    "HolderForceClosed",
    "LatestCounterpartyCommitment",
    "LatestHolderCommitment",
    "MonitorEvent",
    "MonitorUpdateCompleted",
    "MonitorUpdateStep",
    "PreimageKnown",
    "ShutdownScript",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentHtlc:
    """An HTLC of one commitment, trimmed ones (`htlc.output_index` None) included.

    Attributes:
        source: set for HTLCs that we offered, None for those of the peer.
    """

    htlc: HTLCOutputInCommitment
    source: HTLCSource | None = None


@tagged(0)
@dataclass(frozen=True, slots=True, kw_only=True)
class LatestHolderCommitment:
    """Our new commitment, with the peer's signatures. After it is durable the one before may be revoked."""

    commitment: HolderCommitmentTransaction
    htlcs: tuple[CommitmentHtlc, ...]


@tagged(2)
@dataclass(frozen=True, slots=True, kw_only=True)
class LatestCounterpartyCommitment:
    """The peer's new commitment, about to be signed by us.

    Attributes:
        to_broadcaster_sat: the peer's own output, 0 if trimmed.
        to_countersignatory_sat: our output, 0 if trimmed.
        htlcs: `offered` means offered by the peer here, since it is the broadcaster.
    """

    number: int
    per_commitment_point: bytes
    feerate_sat_per_kw: int
    to_broadcaster_sat: int
    to_countersignatory_sat: int
    htlcs: tuple[CommitmentHtlc, ...]


@tagged(4)
@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentSecret:
    """The peer revoked its commitment `number`."""

    number: int
    secret: bytes


@tagged(6)
@dataclass(frozen=True, slots=True, kw_only=True)
class PreimageKnown:
    """We know this preimage: HTLCs to us with this hash are claimed on chain, should it come to that.

    Also sent when the peer fulfilled an HTLC of ours, so that the monitor never fails it upstream.
    """

    payment_hash: PaymentHash
    payment_preimage: PaymentPreimage


@tagged(8)
@dataclass(frozen=True, slots=True, kw_only=True)
class ForceClosed:
    """The channel is closed from our side; nothing but preimages follows.

    Attributes:
        should_broadcast: False where our commitment is outdated, or the funding never confirmed.
        by_counterparty: the peer has said that it closes: its own commitment may be on its way.
        unfunded: the peer's funding never came: nothing is left to be watched.
        funding_deadline_height: the peer's funding has not confirmed: there is nothing before it does, and after
            this height nothing is left to be watched.
    """

    should_broadcast: bool
    by_counterparty: bool = field(default=False, metadata={"tlv": 1})
    unfunded: bool = field(default=False, metadata={"tlv": 3})
    funding_deadline_height: int | None = field(default=None, metadata={"tlv": 5})


@tagged(10)
@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownScript:
    """Where our part of a co-operative close goes; known late when it was not agreed upfront."""

    script_pubkey: bytes


MonitorUpdateStep = (
    LatestHolderCommitment
    | LatestCounterpartyCommitment
    | CommitmentSecret
    | PreimageKnown
    | ForceClosed
    | ShutdownScript
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelMonitorUpdate:
    """Steps that become durable together, in order.

    Attributes:
        update_id: counts up by one from 1 for each channel; the new monitor stands at 0.
    """

    channel_id: ChannelId
    update_id: int
    steps: tuple[MonitorUpdateStep, ...]


# --- back to the channel ------------------------------------------------------


@tagged(0)
@dataclass(frozen=True, slots=True, kw_only=True)
class HTLCEvent:
    """An HTLC that we offered has ended on chain.

    Attributes:
        payment_preimage: fulfilled, told at once; None: it can never be claimed any more, told once that is
            buried.
    """

    channel_id: ChannelId
    source: HTLCSource
    payment_hash: PaymentHash
    payment_preimage: PaymentPreimage | None
    amount_msat: int


@tagged(2)
@dataclass(frozen=True, slots=True, kw_only=True)
class HolderForceClosed:
    """The monitor has broadcast our commitment by itself: an HTLC came too near to its deadline."""

    channel_id: ChannelId
    reason: str


@tagged(4)
@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentTxConfirmed:
    """A commitment (or another spend of the funding output) is on chain: the channel is over.

    Attributes:
        by_agreement: it is the transaction of a cooperative close.
    """

    channel_id: ChannelId
    reason: str
    by_agreement: bool = False


@tagged(6)
@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorUpdateCompleted:
    """All updates up to this one, which had been answered with IN_PROGRESS, are durable everywhere."""

    channel_id: ChannelId
    update_id: int


MonitorEvent = HTLCEvent | HolderForceClosed | CommitmentTxConfirmed | MonitorUpdateCompleted
