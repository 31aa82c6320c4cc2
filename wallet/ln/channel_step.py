"""What a transition of a channel gives back: the new state, and effects in the order of their durability.

Effects are a closed union. Their order is the durability contract: the monitor's update stands before every
message that relies on it, a `Sign` effect stands before the send that it fills, and what the manager is told
comes last. A step never signs: `ChannelManager` asks the signer, fills the next send, and goes on, in the same
entry.

Within a transition, a `Draft` collects the changes; it never leaves the function that made it. An exception
on the way throws the draft away, and the old state stays whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from wallet.bitcoin.frozen import replace
from wallet.bitcoin.tx import Transaction
from wallet.ln.chan_utils import (
    ClosingTransaction,
    CommitmentTransaction,
    CounterpartyCommitmentSecrets,
    HolderCommitmentTransaction,
)
from wallet.ln.channel_state import (
    AddedHtlc,
    ChannelCore,
    ClosingNegotiation,
    FundedChannel,
    FundingScope,
    HeldAdd,
    HeldUpdate,
    InboundHtlc,
    Link,
    OutboundHtlc,
    Removal,
)
from wallet.ln.events import ClosureReason
from wallet.ln.htlc import HTLCSource
from wallet.ln.monitor_update import ChannelMonitorUpdate, MonitorUpdateStep
from wallet.ln.msgs import Message
from wallet.ln.types import PaymentHash, PaymentPreimage

__all__ = [
    "BroadcastClosing",
    "BroadcastFunding",
    "Draft",
    "Effect",
    "Send",
    "SignClosing",
    "SignCounterpartyCommitment",
    "SignRevocation",
    "Step",
    "Tell",
    "TellChannelClosed",
    "TellChannelReady",
    "TellHeldAddFailed",
    "TellHtlcFailed",
    "TellHtlcFulfilled",
    "TellHtlcSettled",
    "TellHtlcsCommitted",
    "UpdateMonitor",
    "ValidateRevocation",
]

# --- effects ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UpdateMonitor:
    """To `Watch.update_channel`."""

    update: ChannelMonitorUpdate


@dataclass(frozen=True, slots=True)
class SignCounterpartyCommitment:
    """Fills `signature` and `htlc_signatures` of the send that follows."""

    commitment: CommitmentTransaction


@dataclass(frozen=True, slots=True)
class SignRevocation:
    """Fills `per_commitment_secret` of the revoke_and_ack that follows.

    Attributes:
        number: of the commitment to revoke.
        replacement: the one that takes its place; None when the revocation is only sent again.
    """

    number: int
    replacement: HolderCommitmentTransaction | None


@dataclass(frozen=True, slots=True)
class SignClosing:
    """Fills `signature` of the closing_signed that follows. `most_fee_sat`: what we have offered at most."""

    closing: ClosingTransaction
    most_fee_sat: int


@dataclass(frozen=True, slots=True)
class ValidateRevocation:
    """The signer learns that the peer revoked a commitment."""

    number: int
    secret: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """One message to the peer; fields that a `Sign` effect fills are empty.

    Attributes:
        needs_monitor: held back while an update of the channel's monitor is IN_PROGRESS.
    """

    msg: Message
    needs_monitor: bool = False


@dataclass(frozen=True, slots=True)
class BroadcastFunding:
    tx: Transaction


@dataclass(frozen=True, slots=True)
class BroadcastClosing:
    """To be signed by us, completed with the peer's signature, and sent to the network.

    Attributes:
        fee_sat: as both sides named it; what is dust goes to the miners on top of it.
    """

    closing: ClosingTransaction
    counterparty_sig: bytes
    fee_sat: int
    most_fee_sat: int


@dataclass(frozen=True, slots=True)
class TellHtlcsCommitted:
    """Inbound HTLCs that are now irrevocably committed, and may be forwarded, claimed or failed."""

    htlcs: tuple[AddedHtlc, ...]


@dataclass(frozen=True, slots=True)
class TellHtlcFulfilled:
    """The peer showed the preimage of an HTLC that we offered. May be told again after a reconnection."""

    htlc_id: int
    source: HTLCSource
    payment_hash: PaymentHash
    payment_preimage: PaymentPreimage
    amount_msat: int
    attribution_data: bytes | None


@dataclass(frozen=True, slots=True)
class TellHtlcFailed:
    """An HTLC that we offered is irrevocably gone, unpaid."""

    htlc_id: int
    source: HTLCSource
    payment_hash: PaymentHash
    amount_msat: int
    removal: Removal


@dataclass(frozen=True, slots=True)
class TellHtlcSettled:
    """An HTLC that we offered, and that was fulfilled, is irrevocably gone."""

    htlc_id: int
    source: HTLCSource


@dataclass(frozen=True, slots=True)
class TellHeldAddFailed:
    """An HTLC that waited for the peer's revocation can no longer be offered."""

    held: HeldAdd
    reason: str


@dataclass(frozen=True, slots=True)
class TellChannelReady:
    """Both sides have said channel_ready."""


@dataclass(frozen=True, slots=True)
class TellChannelClosed:
    """The channel has to leave the manager.

    Attributes:
        broadcast: our newest commitment goes to the chain.
        message: an `error` for the peer; None where a co-operative close is done.
    """

    reason: ClosureReason
    broadcast: bool
    message: str | None


Tell = (
    TellHtlcsCommitted
    | TellHtlcFulfilled
    | TellHtlcFailed
    | TellHtlcSettled
    | TellHeldAddFailed
    | TellChannelReady
    | TellChannelClosed
)

Effect = (
    UpdateMonitor
    | SignCounterpartyCommitment
    | SignRevocation
    | SignClosing
    | ValidateRevocation
    | Send
    | BroadcastFunding
    | BroadcastClosing
    | Tell
)


@dataclass(frozen=True, slots=True)
class Step:
    """The state after a transition, and what has to happen, in order."""

    state: FundedChannel
    effects: tuple[Effect, ...] = ()


# --- the draft ----------------------------------------------------------------


class Draft:
    """A state in the making, local to one transition."""

    __slots__ = (
        "channel",
        "core",
        "effects",
        "held",
        "inbound",
        "link",
        "monitor_steps",
        "negotiation",
        "outbound",
        "scope",
        "secrets",
        "tells",
    )

    def __init__(self, channel: FundedChannel) -> None:
        self.channel = channel
        self.core: ChannelCore = channel.core
        self.scope: FundingScope = channel.scope
        self.secrets: CounterpartyCommitmentSecrets = channel.secrets
        self.outbound: dict[int, OutboundHtlc] = dict(channel.outbound)
        self.inbound: dict[int, InboundHtlc] = dict(channel.inbound)
        self.held: tuple[HeldUpdate, ...] = channel.held
        self.link: Link = channel.link
        self.negotiation: ClosingNegotiation | None = channel.negotiation
        self.monitor_steps: list[MonitorUpdateStep] = []
        self.effects: list[Effect] = []
        self.tells: list[Tell] = []

    @property
    def is_awaiting_revocation(self) -> bool:
        return self.core.counterparty_number > self.core.counterparty_revoked

    def send(self, msg: Message, *, needs_monitor: bool = False) -> None:
        self.effects.append(Send(msg, needs_monitor))

    def finish(self) -> Step:
        """Freezes the draft. All steps for the monitor become one update, in front of every message."""
        effects: list[Effect] = self.effects
        core = self.core
        if self.monitor_steps:
            update = ChannelMonitorUpdate(
                channel_id=self.channel.channel_id,
                update_id=core.last_update_id + 1,
                steps=tuple(self.monitor_steps),
            )
            core = replace(core, last_update_id=update.update_id)
            effects = [UpdateMonitor(update), *effects]
        self.core = core
        return Step(self.frozen(), (*effects, *self.tells))

    def frozen(self) -> FundedChannel:
        """The state as it stands, for looking at."""
        old = self.channel
        return FundedChannel(
            terms=old.terms,
            scope=self.scope,
            config=old.config,
            core=self.core,
            secrets=self.secrets,
            # Identity tells `rows_of` what changed.
            outbound=old.outbound if self.outbound == old.outbound else self.outbound,
            inbound=old.inbound if self.inbound == old.inbound else self.inbound,
            held=self.held,
            link=self.link,
            negotiation=self.negotiation,
        )
