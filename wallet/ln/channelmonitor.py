"""`ChannelMonitor`: watches the chain for one channel, and can claim everything of it from a bare restart.

Theory of operation. The state is frozen (`monitor_state.py`). Every input, an update of the channel or news
of the chain, makes a new state and then settles it: the chain is read anew (`resolution.py`), what has come
of it is told once, and the claims on their way are brought in line with what there is to claim
(`onchaintx.py`). Only when all that has come out whole are the changed rows written and the state swapped;
broadcasts, registrations and events are returned as effects, which the caller carries out afterwards.

A confirmed spend of the funding output, or our own commitment on its way there, closes the monitor to new
commitments (see `monitor_update.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, assert_never

from wallet.bitcoin.curve import pubkey_from_secret, signature_from_der, verify_ecdsa
from wallet.bitcoin.errors import DecodeError, InvariantError
from wallet.bitcoin.records import encode
from wallet.bitcoin.script import p2wsh
from wallet.bitcoin.tx import SIGHASH_ALL, BlockHash, BlockHeader, OutPoint, Transaction, Txid, txid_hex
from wallet.chain.interfaces import (
    BroadcastPackage,
    FeeEstimator,
    Logger,
    LogLevel,
    Persist,
    RevokedStates,
    Row,
    TxInBlock,
)
from wallet.ln.chan_utils import (
    ChannelTransactionParameters,
    CounterpartyCommitmentSecrets,
    anchor_script,
    build_htlc_transaction,
    commitment_sighash,
    funding_script,
    htlc_witness,
    sign_funding_witness,
)
from wallet.ln.config import CLTV_CLAIM_BUFFER_BLOCKS, LATENCY_GRACE_PERIOD_BLOCKS, MIN_CLTV_EXPIRY_DELTA
from wallet.ln.events import (
    Balance,
    BumpCommitment,
    BumpHtlcs,
    Event,
    HtlcBumpDescriptor,
    SpendableOutputs,
)
from wallet.ln.monitor_state import (
    ConfirmedTx,
    MonitorHead,
    MonitorState,
    MonitorStatic,
    OnchainState,
    RevokedCommitment,
    all_rows,
    changed_rows,
    decode_revoked,
    deleting_rows,
    revoked_key,
)
from wallet.ln.monitor_update import (
    ChannelMonitorUpdate,
    CommitmentSecret,
    CommitmentTxConfirmed,
    ForceClosed,
    HolderForceClosed,
    HTLCEvent,
    LatestCounterpartyCommitment,
    LatestHolderCommitment,
    MonitorEvent,
    MonitorUpdateStep,
    PreimageKnown,
    ShutdownScript,
)
from wallet.ln.onchaintx import Attempt, plan
from wallet.ln.package import (
    Claim,
    HolderCommitmentClaim,
    HolderHtlcClaim,
    build_claim_transaction,
    lock_time_of,
)
from wallet.ln.resolution import (
    FundingSpend,
    Resolution,
    SpendKind,
    classify,
    live_htlcs,
    open_balances,
    preimage_in,
    resolve,
)
from wallet.ln.sign import ChannelSigner, SignerProvider, SignerState
from wallet.ln.types import ChannelId, NodeId, PaymentHash, PaymentPreimage
from wallet.ln.watch import ChannelMonitorUpdateStatus

__all__ = [
    "ARCHIVAL_DELAY_BLOCKS",
    "IRREVOCABLE_DEPTH_BLOCKS",
    "Broadcast",
    "ChannelMonitor",
    "CommitmentTxConfirmed",
    "Effect",
    "HTLCEvent",
    "HolderForceClosed",
    "MonitorEnv",
    "MonitorEvent",
    "TellEvent",
    "WatchOutput",
]

IRREVOCABLE_DEPTH_BLOCKS: Final = 100
"""BOLT 5: at this depth something is irrevocably resolved; nobody need ask about it any more."""

ARCHIVAL_DELAY_BLOCKS: Final = 4032
"""Four weeks after everything is settled a monitor may be forgotten. As rust-lightning."""


# --- effects ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Broadcast:
    package: BroadcastPackage


@dataclass(frozen=True, slots=True)
class TellEvent:
    event: Event


@dataclass(frozen=True, slots=True)
class WatchOutput:
    outpoint: OutPoint
    script_pubkey: bytes
    block_hash: BlockHash | None


Effect = Broadcast | TellEvent | WatchOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorEnv:
    """What a monitor needs of others."""

    fee_estimator: FeeEstimator
    keys: SignerProvider
    persist: Persist
    revoked_states: RevokedStates
    logger: Logger


# --- the monitor --------------------------------------------------------------


class ChannelMonitor:
    """One channel's watch on the chain.

    Attributes:
        state: replaced as a whole by each call that changes it.
        held: nothing of our own commitment is broadcast, for a deadline either: a wallet that was restored
            from a backup does not know yet whether it is current.
    """

    def __init__(self, state: MonitorState) -> None:
        self.state = state
        self.held = False
        self._registered: set[OutPoint] = set()
        self._classified: tuple[object, ...] | None = None
        self._resolution: Resolution | None = None

    @classmethod
    def new(
        cls,
        *,
        channel_id: ChannelId,
        params: ChannelTransactionParameters,
        channel_keys_id: bytes,
        counterparty_node_id: NodeId,
        holder: LatestHolderCommitment,
        counterparty: LatestCounterpartyCommitment,
        best_height: int,
        best_hash: BlockHash,
        destination_script: bytes,
        shutdown_script: bytes | None = None,
    ) -> ChannelMonitor:
        """A monitor of a channel whose first commitments are signed; durable once it is watched."""
        return cls(
            MonitorState(
                static=MonitorStatic(
                    channel_id=channel_id,
                    counterparty_node_id=counterparty_node_id,
                    channel_keys_id=channel_keys_id,
                    params=params,
                    destination_script=destination_script,
                ),
                head=MonitorHead(
                    shutdown_script=shutdown_script, best_height=best_height, best_hash=best_hash
                ),
                holder=holder,
                counterparty=(counterparty,),
                secrets=CounterpartyCommitmentSecrets(),
                preimages={},
                txs={},
                onchain=OnchainState(),
            )
        )

    # --- what others ask ---

    @property
    def channel_id(self) -> ChannelId:
        return self.state.channel_id

    @property
    def counterparty_node_id(self) -> NodeId:
        return self.state.static.counterparty_node_id

    @property
    def latest_update_id(self) -> int:
        return self.state.head.update_id

    @property
    def funding_outpoint(self) -> OutPoint:
        return self.state.params.funding_outpoint

    def get_claimable_balances(self) -> tuple[Balance, ...]:
        """What each amount of the channel waits for."""
        if self._confirmed_spend(self.state) is None:
            return open_balances(self.state)
        return self._resolution.balances if self._resolution is not None else ()

    def get_relevant_txids(self) -> list[tuple[Txid, int, BlockHash | None]]:
        lowest = self.state.head.best_height - IRREVOCABLE_DEPTH_BLOCKS
        return [
            (txid, item.height, item.block_hash)
            for txid, item in self.state.txs.items()
            if item.height > lowest
        ]

    def get_outputs_to_watch(self) -> dict[OutPoint, bytes]:
        """Outputs whose spending has to be heard of, and their scripts."""
        outputs = {
        OutPoint(spend.tx.txid, item.vout): item for item in spend.htlcs if item.item.source is not None
    }
    live = live_htlcs(state)
    onchain = state.onchain
    best_height = state.head.best_height
    events: list[MonitorEvent] = []
    if not onchain.told_spend:
        reason = f"{_SPEND_SENTENCES[spend.kind]} ({txid_hex(spend.tx.txid)})"
        events.append(CommitmentTxConfirmed(channel_id=state.channel_id, reason=reason))
    live = live_htlcs(state)
    ended = []
    for end in resolution.ends:
        # An HTLC of an old commitment that was settled long ago is nobody's concern any more.
        if end.source in live and end.source not in onchain.told_sources and end.tell_height <= best_height:
            ended.append(end.source)
            events.append(
                HTLCEvent(
                    channel_id=state.channel_id,
                    source=end.source,
                    payment_hash=end.payment_hash,
                    payment_preimage=end.payment_preimage,
                    amount_msat=end.amount_msat,
                )
            )
    spendable = tuple(
        descriptor
        for height, descriptor in resolution.spendable
        if height <= best_height and descriptor.outpoint not in onchain.told_spendable
    )
    if spendable:
        effects.append(TellEvent(SpendableOutputs(outputs=spendable, channel_id=state.channel_id)))
    if not events and not spendable:
        return state
    onchain = replace(
        onchain,
        told_spend=True,
        told_sources=onchain.told_sources.union(ended),
        told_spendable=onchain.told_spendable.union(item.outpoint for item in spendable),
        events=(*onchain.events, *events),
    )
    return replace(state, onchain=onchain)


def _learn_preimages(
    state: MonitorState, spend: FundingSpend, txs: Sequence[Transaction]
) -> MonitorState:
    """A preimage proves itself, be it confirmed or not."""
    outputs = {
        OutPoint(spend.tx.txid, item.vout): item for item in spend.htlcs if item.item.source is not None
    } live = live_htlcs(state)
    onchain = state.onchain
    for tx in txs:
        for txin in tx.inputs:
            output = outputs.get(txin.prevout)
            if output is None or txin.witness[-1:] != (output.witness_script,):
                continue
            source = output.item.source
            htlc = output.item.htlc
            preimage = preimage_in(txin.witness, htlc.payment_hash)
            if source is None or preimage is None or source not in live or source in onchain.told_sources:
                continue
            event = HTLCEvent(
                channel_id=state.channel_id,
                source=source,
                payment_hash=htlc.payment_hash,
                payment_preimage=preimage,
                amount_msat=htlc.amount_msat,
            )
            onchain = replace(
                onchain,
                told_sources=onchain.told_sources.union((source,)),
                events=(*onchain.events, event),
            )
    return state if onchain is state.onchain else replace(state, onchain=onchain)


def _note_resolved(
    state: MonitorState, resolution: Resolution | None, confirmed: ConfirmedTx | None
) -> MonitorState:
    """Remembers since when nothing is left to do."""
    onchain = state.onchain
    resolved = (
        resolution is not None
        and confirmed is not None
        and not resolution.balances
        and not onchain.events
        and all(source in onchain.told_sources for source in live_htlcs(state))
        and state.head.best_height >= confirmed.height + IRREVOCABLE_DEPTH_BLOCKS - 1
    )
    if resolved == (onchain.resolved_height is not None):
        return state
    resolved_height = state.head.best_height if resolved else None
    return replace(state, onchain=replace(onchain, resolved_height=resolved_height))


# --- carrying out -------------------------------------------------------------


def _carry_out(state: MonitorState, attempt: Attempt, signer: ChannelSigner) -> list[Effect]:
    """Makes one attempt into transactions or, where the wallet's coins have to help, into an event."""
    first = attempt.claims[0]
    if isinstance(first, HolderCommitmentClaim):
        return _broadcast_commitment(state, attempt, signer)
    if isinstance(first, HolderHtlcClaim):
        htlcs = [claim for claim in attempt.claims if isinstance(claim, HolderHtlcClaim)]
        if first.anchors:
            return [TellEvent(_bump_htlcs(state, attempt, htlcs))]
        return [_broadcast_htlc_transaction(state, claim, attempt, signer) for claim in htlcs]
    malleable = [
        claim for claim in attempt.claims if not isinstance(claim, HolderHtlcClaim | HolderCommitmentClaim)
    ]
    tx = build_claim_transaction(
        malleable,
        state.params,
        signer,
        state.static.destination_script,
        attempt.output_sat,
        state.head.best_height,
    )
    package = BroadcastPackage(txs=(tx,), deadline_height=attempt.deadline_height, label="claim")
    return [Broadcast(package)]


def _broadcast_commitment(state: MonitorState, attempt: Attempt, signer: ChannelSigner) -> list[Effect]:
    params, signed = state.params, state.holder.commitment
    signature = signer.sign_holder_commitment(params, signed)
    tx = sign_funding_witness(params, signed.commitment.tx, signature, signed.counterparty_sig)
    # Alone as well: it may be good enough, and there may be no coins to help it.
    effects: list[Effect] = [
        Broadcast(
            BroadcastPackage(txs=(tx,), deadline_height=attempt.deadline_height, label="our commitment")
        )
    ]
    if not params.anchors:
        return effects
    fee_sat = params.channel_value_sat - tx.total_output_sat
    if fee_sat * 1000 >= attempt.feerate_sat_per_kw * tx.weight:
        return effects
    funding_pubkey = params.holder_pubkeys.funding_pubkey
    script_pubkey = p2wsh(anchor_script(funding_pubkey))
    for vout, output in enumerate(tx.outputs):
        if output.script_pubkey == script_pubkey:
            event = BumpCommitment(
                channel_id=state.channel_id,
                claim_id=attempt.claim_id,
                counterparty_node_id=state.static.counterparty_node_id,
                package_target_feerate_sat_per_kw=attempt.feerate_sat_per_kw,
                commitment_tx=tx,
                commitment_tx_fee_sat=fee_sat,
                anchor_vout=vout,
                channel_keys_id=state.static.channel_keys_id,
                funding_pubkey=funding_pubkey,
                deadline_height=_deadline(state, attempt),
            )
            effects.append(TellEvent(event))
            break
    return effects


def _deadline(state: MonitorState, attempt: Attempt) -> int:
    """Events carry a height always: without a deadline, the one until which waiting costs nothing."""
    if attempt.deadline_height is not None:
        return attempt.deadline_height
    return state.head.best_height + state.params.counterparty_selected_contest_delay_blocks


def _broadcast_htlc_transaction(
    state: MonitorState, claim: HolderHtlcClaim, attempt: Attempt, signer: ChannelSigner
) -> Effect:
    commitment = state.holder.commitment.commitment
    unsigned = build_htlc_transaction(commitment, claim.htlc)
    signature = signer.sign_holder_htlc_transaction(
        unsigned, 0, claim.output.value_sat, commitment.number, claim.witness_script
    )
    witness = htlc_witness(
        claim.counterparty_signature,
        signature,
        claim.payment_preimage,
        claim.witness_script,
        commitment.anchors,
    )
    tx = unsigned.with_witness(0, witness)
    label = "HTLC-timeout" if claim.payment_preimage is None else "HTLC-success"
    return Broadcast(BroadcastPackage(txs=(tx,), deadline_height=attempt.deadline_height, label=label))


def _bump_htlcs(state: MonitorState, attempt: Attempt, claims: Sequence[HolderHtlcClaim]) -> BumpHtlcs:
    commitment = state.holder.commitment.commitment
    return BumpHtlcs(
        channel_id=state.channel_id,
        claim_id=attempt.claim_id,
        counterparty_node_id=state.static.counterparty_node_id,
        target_feerate_sat_per_kw=attempt.feerate_sat_per_kw,
        htlcs=tuple(
            HtlcBumpDescriptor(
                htlc_outpoint=claim.outpoint,
                htlc_output=claim.output,
                witness_script=claim.witness_script,
                counterparty_signature=claim.counterparty_signature,
                payment_preimage=claim.payment_preimage,
                cltv_expiry_height=claim.htlc.cltv_expiry_height,
                per_commitment_number=commitment.number,
                per_commitment_point=commitment.per_commitment_point,
                second_stage_output=build_htlc_transaction(commitment, claim.htlc).outputs[0],
                channel_keys_id=state.static.channel_keys_id,
            )
            for claim in claims
        ),
        tx_lock_time=lock_time_of(claims[0]),
        deadline_height=_deadline(state, attempt),
    )
