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
from dataclasses import dataclass
from typing import Final, assert_never

from wallet.bitcoin.curve import signature_from_der, verify_ecdsa
from wallet.bitcoin.errors import DecodeError, InvariantError
from wallet.bitcoin.frozen import replace
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
    holder_balance_sat,
    htlc_witness,
    point_of_revealed_secret,
    sign_funding_witness,
)
from wallet.ln.config import (
    CLTV_CLAIM_BUFFER_BLOCKS,
    LATENCY_GRACE_PERIOD_BLOCKS,
    MAX_BLOCKS_FOR_CONF,
    MIN_CLTV_EXPIRY_DELTA,
)
from wallet.ln.events import (
    Balance,
    BumpCommitment,
    BumpHtlcs,
    Event,
    HtlcBumpDescriptor,
    SpendableOutputDescriptor,
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

PATIENCE_BLOCKS: Final = MAX_BLOCKS_FOR_CONF
"""For how long the peer's close that was seen in the mempool may take before ours competes with it: as long as
a transaction is given to confirm. On the peer's commitment nothing of ours waits for a delay."""

PATIENCE_TICKS: Final = 2
"""After the peer has said that it closes, its commitment has this many ticks of 30 seconds to show itself, and
until the next block at most, before ours leaves."""

FUNDING_WITNESS_WEIGHT: Final = 224
"""BOLT 3, appendix A: the witness of the input that spends the funding output, with marker and flag."""

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


@dataclass(frozen=True, slots=True)
class _Classified:
    """A spend, and the commitments that it was compared with."""

    holder: LatestHolderCommitment
    counterparty: tuple[LatestCounterpartyCommitment, ...]
    spend: FundingSpend


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
        self._patience_ticks = 0
        self._seen_height = 0
        self._registered: set[OutPoint] = set()
        self._classified: _Classified | None = None
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

    def can_claim(self, payment_hash: PaymentHash) -> bool:
        """Whether the peer offers an HTLC of this hash, and we know its preimage."""
        state = self.state
        if payment_hash not in state.preimages:
            return False
        return any(
            item.source is None and item.htlc.payment_hash == payment_hash
            for items in (state.holder.htlcs, *(commitment.htlcs for commitment in state.counterparty))
            for item in items
        )

    @property
    def latest_update_id(self) -> int:
        return self.state.head.update_id

    @property
    def funding_outpoint(self) -> OutPoint:
        return self.state.params.funding_outpoint

    def get_claimable_balances(self) -> tuple[Balance, ...]:
        """What each amount of the channel waits for."""
        if _confirmed_spend(self.state) is None:
            head = self.state.head
            nothing = head.unfunded or head.funding_deadline_height is not None
            return () if nothing else open_balances(self.state)
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
        outputs = {self.funding_outpoint: p2wsh(funding_script(self.state.params))}
        if self._resolution is not None:
            outputs.update(self._resolution.watched)
        return outputs

    def spendable_outputs(self) -> tuple[tuple[int, SpendableOutputDescriptor], ...]:
        """Outputs of the closed channel that are ours, told or not, with the tip at which each can be swept."""
        if self._resolution is None or not self.is_spent:
            return ()
        return self._resolution.spendable

    def own_output_of_commitment(self) -> tuple[Txid, int] | None:
        """(the commitment that confirmed, what of it is ours without an HTLC, in satoshis). None where nothing has
        confirmed, where it was a close by agreement, and where the peer published a state that it had revoked."""
        confirmed = _confirmed_spend(self.state)
        known = self._classified
        if confirmed is None or known is None or known.spend.tx.txid != confirmed.tx.txid:
            return None
        if known.spend.kind not in (SpendKind.HOLDER, SpendKind.COUNTERPARTY):
            return None
        txid = confirmed.tx.txid
        own = (item for _height, item in self.spendable_outputs() if item.outpoint.txid == txid)
        return txid, sum(item.output.value_sat for item in own)

    def peers_output_of_commitment(self) -> int | None:
        """What of the commitment that confirmed is the peer's without an HTLC, in satoshis. None where no valid
        commitment did."""
        confirmed = _confirmed_spend(self.state)
        known = self._classified
        if confirmed is None or known is None or known.spend.tx.txid != confirmed.tx.txid:
            return None
        if known.spend.kind is SpendKind.HOLDER:
            return known.holder.commitment.commitment.to_countersignatory_sat
        if known.spend.kind is not SpendKind.COUNTERPARTY:
            return None
        found = (item for item in known.counterparty if item.number == known.spend.number)
        return next((item.to_broadcaster_sat for item in found), None)

    @property
    def is_spent(self) -> bool:
        """Whether a spend of the funding output is confirmed."""
        return _confirmed_spend(self.state) is not None

    @property
    def is_archivable(self) -> bool:
        head = self.state.head
        late = head.funding_deadline_height is not None and head.best_height >= head.funding_deadline_height
        if (head.unfunded or late) and not self.is_spent:
            # BOLT 2, channel_ready: a fundee forgets it. Otherwise openings without a funding would fill our disk.
            return True
        resolved_height = self.state.onchain.resolved_height
        if resolved_height is None:
            return False
        return self.state.head.best_height >= resolved_height + ARCHIVAL_DELAY_BLOCKS

    def signer_state(self) -> SignerState:
        """What the signer has to know after a restart; where it cannot be known, the careful answer."""
        state = self.state
        newest = state.holder.commitment.commitment
        number = newest.number
        return SignerState(
            holder_number=number,
            holder_secrets_released=number,
            holder_broadcast_number=number if state.head.holder_broadcast else None,
            counterparty_number=state.counterparty[-1].number,
            counterparty_revoked=state.secrets.revoked_count,
            counterparty_points=tuple(
                (item.number, item.per_commitment_point) for item in state.counterparty
            ),
            holder_balance_sat=holder_balance_sat(state.params, newest),
            holder_htlcs=len(newest.htlcs),
        )

    def all_rows(self) -> list[Row]:
        return all_rows(self.state)

    def deleting_rows(self) -> list[Row]:
        return deleting_rows(self.state)

    # --- updates of the channel ---

    def update_monitor(
        self, update: ChannelMonitorUpdate, env: MonitorEnv
    ) -> tuple[ChannelMonitorUpdateStatus, list[Effect]]:
        """Applies one update. Raises InvariantError, and changes nothing, when it cannot be right."""
        state = self.state
        head = state.head
        commits = any(
            isinstance(step, LatestHolderCommitment | LatestCounterpartyCommitment) for step in update.steps
        )
        if update.update_id <= head.update_id:
            # Offered again after a restart, perhaps by its number alone; what was refused then is refused still.
            refused = head.refused_update_id
            if refused is not None and update.update_id >= refused:
                return ChannelMonitorUpdateStatus.IN_PROGRESS, []
            return ChannelMonitorUpdateStatus.COMPLETED, []
        if update.update_id != head.update_id + 1:
            raise InvariantError(f"Update {update.update_id} of a monitor came after {head.update_id}.")
        closed = _is_closed_to_commitments(state)
        status = ChannelMonitorUpdateStatus.COMPLETED
        head = replace(head, update_id=update.update_id)
        if closed and commits:
            status = ChannelMonitorUpdateStatus.IN_PROGRESS
            if head.refused_update_id is None:
                head = replace(head, refused_update_id=update.update_id)
        state = replace(state, head=head)
        for step in update.steps:
            state = _apply(state, step, closed)
            if isinstance(step, ForceClosed) and step.by_counterparty and not head.holder_broadcast:
                self._patience_ticks = PATIENCE_TICKS
        effects: list[Effect] = []
        if _is_closed_to_commitments(state):
            state, effects = self._settle(state, env)
        self._swap(state, env)
        return status, effects

    def broadcast_latest_holder_commitment(self, env: MonitorEnv) -> list[Effect]:
        """By hand: our commitment goes to the chain, whatever forbade it. Should it be outdated, all is
        lost."""
        self.held = False
        self._patience_ticks = 0
        head = replace(self.state.head, force_closed=True, broadcast_forbidden=False, holder_broadcast=True)
        return self._settled(replace(self.state, head=head), env)

    def take_events(self, env: MonitorEnv) -> tuple[MonitorEvent, ...]:
        events = self.state.onchain.events
        if events:
            self._swap(replace(self.state, onchain=replace(self.state.onchain, events=())), env)
        return events

    # --- the chain ---

    def transactions_confirmed(
        self, header: BlockHeader, height: int, txdata: Sequence[TxInBlock], env: MonitorEnv
    ) -> list[Effect]:
        state = self.state
        for item in txdata:
            if item.tx.txid == self.funding_outpoint.txid and state.head.funding_deadline_height is not None:
                # It came after all, and our part of it is not forgotten any more.
                state = replace(state, head=replace(state.head, funding_deadline_height=None))
            # In block order, so that a descendant in the same block finds what it spends already watched.
            if self._matters(state, item.tx):
                txs = _without_conflicts(state.txs, item.tx)
                txs[item.tx.txid] = ConfirmedTx(tx=item.tx, height=height, block_hash=header.hash)
                state = replace(state, txs=txs)
                self._read(state, env)
        if height > state.head.best_height:
            self._patience_ticks = 0
            head = replace(state.head, best_height=height, best_hash=header.hash)
            state = replace(state, head=head)
        return [] if state is self.state else self._settled(state, env)

    def transaction_unconfirmed(self, txid: Txid, env: MonitorEnv) -> list[Effect]:
        return self._forget({txid}, self.state, env) if txid in self.state.txs else []

    def best_block_updated(self, header: BlockHeader, height: int, env: MonitorEnv) -> list[Effect]:
        state = self.state
        head = state.head
        if head.best_height == height and head.best_hash == header.hash:
            return []
        # A tip that is lower, or another at the same height: what stood above it is gone.
        gone = {
            txid
            for txid, item in state.txs.items()
            if item.height > height or (item.height == height and item.block_hash != header.hash)
        }
        self._patience_ticks = 0
        state = replace(state, head=replace(head, best_height=height, best_hash=header.hash))
        return self._forget(gone, state, env) if gone else self._settled(state, env)

    def transactions_seen(self, txs: Sequence[Transaction], env: MonitorEnv) -> list[Effect]:
        """Hints: justice may start, and preimages are learnt; nothing is failed and nothing counts as
        depth."""
        state = self.state
        for tx in txs:
            if _confirmed_spend(state) is None and _is_signed_spend(state, tx):
                state = replace(state, seen_spend=tx)
                self._seen_height = state.head.best_height
        spend, _ = self._spend(state, env)
        if spend is not None:
            state = _learn_preimages(state, spend, txs)
        return [] if state is self.state else self._settled(state, env)

    def transactions_evicted(self, txids: Sequence[Txid], env: MonitorEnv) -> list[Effect]:
        seen = self.state.seen_spend
        if seen is None or seen.txid not in txids:
            return []
        return self._settled(replace(self.state, seen_spend=None), env)

    def rebroadcast_pending_claims(self, env: MonitorEnv) -> list[Effect]:
        """Sends again what is on its way, at a higher rate if the estimates have risen."""
        if self._patience_ticks:
            self._patience_ticks -= 1
        ours_waits = self.state.head.holder_broadcast and not self.is_spent
        if not self.state.onchain.claims.requests and not ours_waits:
            return []
        return self._settled(self.state, env, resend=True)

    def release_hold(self, env: MonitorEnv) -> list[Effect]:
        """The channel is shown to be current: deadlines count again."""
        self.held = False
        return self._settled(self.state, env)

    def load(self, env: MonitorEnv) -> list[Effect]:
        """After a restart: the signer learns what it may not sign, and the outputs are watched again."""
        env.keys.derive_channel_signer(self.state.static.channel_keys_id).restore(self.signer_state())
        self._read(self.state, env)
        return self._new_registrations(self.state)

    # --- inside ---

    def _swap(self, state: MonitorState, env: MonitorEnv) -> None:
        """The end of every step: rows, then memory."""
        if state is not self.state:
            env.persist.write(changed_rows(self.state, state))
            self.state = state

    def _settled(self, state: MonitorState, env: MonitorEnv, *, resend: bool = False) -> list[Effect]:
        state, effects = self._settle(state, env, resend=resend)
        self._swap(state, env)
        return effects

    def _matters(self, state: MonitorState, tx: Transaction) -> bool:
        watched: Mapping[OutPoint, bytes] = {} if self._resolution is None else self._resolution.watched
        return any(
            txin.prevout == state.params.funding_outpoint or txin.prevout in watched for txin in tx.inputs
        )

    def _spend(self, state: MonitorState, env: MonitorEnv) -> tuple[FundingSpend | None, ConfirmedTx | None]:
        """What spends the funding output, confirmed or else seen; understood once for the same
        commitments."""
        confirmed = _confirmed_spend(state)
        tx = state.seen_spend if confirmed is None else confirmed.tx
        if tx is None:
            return None, None
        known = self._classified
        if (
            known is not None
            and known.spend.tx.txid == tx.txid
            and known.holder is state.holder
            and known.counterparty is state.counterparty
        ):
            return known.spend, confirmed

        def read_revoked(number: int) -> RevokedCommitment | None:
            data = env.revoked_states.read(revoked_key(state.channel_id, number))
            try:
                return None if data is None else decode_revoked(data)
            except DecodeError as error:
                # The secret alone still takes the cheater's main output.
                env.logger.log(LogLevel.ERROR, "revoked commitment %d cannot be read: %s", number, error)
                return None

        spend = classify(state, tx, read_revoked)
        self._classified = _Classified(state.holder, state.counterparty, spend)
        return spend, confirmed

    def _read(self, state: MonitorState, env: MonitorEnv) -> Resolution | None:
        """The chain as it stands; kept for questions until the next reading."""
        spend, confirmed = self._spend(state, env)
        self._resolution = None if spend is None else resolve(state, spend, confirmed)
        return self._resolution

    def _new_registrations(self, state: MonitorState) -> list[Effect]:
        effects: list[Effect] = []
        for outpoint, script_pubkey in self.get_outputs_to_watch().items():
            if outpoint not in self._registered:
                self._registered.add(outpoint)
                creator = state.txs.get(outpoint.txid)
                block_hash = None if creator is None else creator.block_hash
                effects.append(WatchOutput(outpoint, script_pubkey, block_hash))
        return effects

    def _forget(self, txids: set[Txid], state: MonitorState, env: MonitorEnv) -> list[Effect]:
        """Takes transactions, and what descends from them, out of the chain."""
        spend, confirmed = self._spend(self.state, env)
        txs = _without(state.txs, txids)
        state, effects = self._settle(replace(state, txs=txs), env)
        if spend is not None and confirmed is not None and confirmed.tx.txid not in txs:
            # Not a revoked one: of the peer's it would be a gift, and of ours (OTHER) the peer could take all of it.
            never = spend.kind in (SpendKind.REVOKED, SpendKind.OTHER)
            if not never and not (self.held and spend.kind is SpendKind.HOLDER):
                # Whoever sent it, the channel ends by it: a reorganisation should not leave it hanging.
                label = "the close that a reorganisation took out"
                effects.append(Broadcast(BroadcastPackage(txs=(confirmed.tx,), label=label)))
        self._swap(state, env)
        return effects

    # --- settling ---

    def _settle(
        self, state: MonitorState, env: MonitorEnv, *, resend: bool = False
    ) -> tuple[MonitorState, list[Effect]]:
        """Reads the chain, tells what has come of it, and brings the claims in line."""
        effects: list[Effect] = []
        claims: list[Claim] = []
        spend, confirmed = self._spend(state, env)
        best_height = state.head.best_height
        if confirmed is None:
            state = self._check_deadlines(state, env)
            head = state.head
            ours = head.holder_broadcast and not head.broadcast_forbidden and not self.held
            # Without its funding it could not leave, and would bind coins for a child that pays for it.
            ours = ours and head.funding_deadline_height is None
            if ours and not self._leaves_it_to_the_peer(state, spend):
                claims.append(_commitment_claim(state))
        resolution = self._read(state, env)
        if resolution is not None and spend is not None:
            if confirmed is not None:
                state = _tell(state, spend, resolution, effects)
            claims += [claim for height, claim in resolution.claims if height <= best_height]
        claim_state, attempts = plan(
            state.onchain.claims,
            claims,
            state.static.destination_script,
            best_height,
            env.fee_estimator,
            resend=resend,
        )
        if claim_state is not state.onchain.claims:
            state = replace(state, onchain=replace(state.onchain, claims=claim_state))
        if attempts:
            signer = env.keys.derive_channel_signer(state.static.channel_keys_id)
            for attempt in attempts:
                effects += _carry_out(state, attempt, signer)
        # What was just told waits no longer.
        resolution = self._read(state, env)
        state = _note_resolved(state, resolution, confirmed)
        return state, [*self._new_registrations(state), *effects]

    def _leaves_it_to_the_peer(self, state: MonitorState, seen: FundingSpend | None) -> bool:
        """Whether our commitment can wait for another close that is on its way, or is said to be. Were it to take
        that one's place, our coins would have to wait for our own delay."""
        if _pressing_htlc(state) is not None:
            return False
        if seen is None:
            return self._patience_ticks > 0
        if seen.kind not in (SpendKind.COUNTERPARTY, SpendKind.REVOKED, SpendKind.CLOSING):
            return False
        return state.head.best_height < self._seen_height + PATIENCE_BLOCKS

    def _check_deadlines(self, state: MonitorState, env: MonitorEnv) -> MonitorState:
        """Closes the channel when waiting any longer could lose an HTLC."""
        head = state.head
        if head.holder_broadcast or head.broadcast_forbidden or self.held:
            return state
        reason = _pressing_htlc(state)
        if reason is None:
            return state
        env.logger.log(LogLevel.WARN, "channel %s: %s", state.channel_id.hex(), reason)
        event = HolderForceClosed(channel_id=state.channel_id, reason=reason)
        onchain = replace(state.onchain, events=(*state.onchain.events, event))
        return replace(state, head=replace(head, holder_broadcast=True), onchain=onchain)


# --- steps --------------------------------------------------------------------


def _confirmed_spend(state: MonitorState) -> ConfirmedTx | None:
    funding = state.params.funding_outpoint
    for item in state.txs.values():
        for txin in item.tx.inputs:
            if txin.prevout == funding:
                return item
    return None


def _is_closed_to_commitments(state: MonitorState) -> bool:
    head = state.head
    if head.force_closed or head.holder_broadcast or state.onchain.told_spend:
        return True
    return _confirmed_spend(state) is not None


def _apply(state: MonitorState, step: MonitorUpdateStep, closed: bool) -> MonitorState:
    match step:
        case LatestHolderCommitment():
            if closed:
                return state
            number = state.holder.commitment.commitment.number
            if step.commitment.commitment.number != number + 1:
                raise InvariantError(f"Our commitment after {number} was skipped.")
            return replace(state, holder=step)
        case LatestCounterpartyCommitment():
            if closed:
                return state
            latest = state.counterparty[-1]
            if step.number == latest.number and len(state.counterparty) == 2:
                # Signed again, after a reconnection.
                return replace(state, counterparty=(state.counterparty[0], step))
            if len(state.counterparty) != 1 or step.number != latest.number + 1:
                raise InvariantError(f"The peer's commitment after {latest.number} was skipped.")
            return replace(state, counterparty=(latest, step))
        case CommitmentSecret():
            return _revoke(state, step)
        case PreimageKnown():
            if step.payment_hash in state.preimages:
                return state
            preimages = {**state.preimages, step.payment_hash: step.payment_preimage}
            return replace(state, preimages=preimages)
        case ForceClosed():
            head = replace(
                state.head,
                force_closed=True,
                unfunded=step.unfunded,
                funding_deadline_height=step.funding_deadline_height,
            )
            if step.should_broadcast:
                head = replace(head, holder_broadcast=not head.broadcast_forbidden)
            elif not state.onchain.told_spend and not head.holder_broadcast:
                head = replace(head, broadcast_forbidden=True)
            return replace(state, head=head)
        case ShutdownScript():
            return replace(state, head=replace(state.head, shutdown_script=step.script_pubkey))
        case _:
            assert_never(step)


def _revoke(state: MonitorState, step: CommitmentSecret) -> MonitorState:
    revoked = state.counterparty[0]
    if len(state.counterparty) != 2 or step.number != revoked.number:
        raise InvariantError(f"The peer's commitment {step.number} cannot be revoked now.")
    if point_of_revealed_secret(step.secret) != revoked.per_commitment_point:
        raise InvariantError(f"The secret of the peer's commitment {step.number} is not its point's.")
    try:
        secrets = state.secrets.provide_secret(step.number, step.secret)
    except DecodeError as error:
        raise InvariantError(str(error)) from None
    state = replace(state, secrets=secrets, counterparty=state.counterparty[1:])
    # A preimage is needed as long as a commitment holds its HTLC.
    needed = {item.htlc.payment_hash for item in state.holder.htlcs}
    for commitment in state.counterparty:
        needed.update(item.htlc.payment_hash for item in commitment.htlcs)
    kept: dict[PaymentHash, PaymentPreimage] = {
        payment_hash: preimage for payment_hash, preimage in state.preimages.items() if payment_hash in needed
    }
    return state if len(kept) == len(state.preimages) else replace(state, preimages=kept)


def _without(txs: Mapping[Txid, ConfirmedTx], txids: set[Txid]) -> dict[Txid, ConfirmedTx]:
    """Without some transactions, and without what descends from them."""
    kept = dict(txs)
    gone = set(txids)
    while gone:
        for txid in gone:
            kept.pop(txid, None)
        gone = {
            txid for txid, item in kept.items() if any(txin.prevout.txid in gone for txin in item.tx.inputs)
        }
    return kept


def _without_conflicts(txs: Mapping[Txid, ConfirmedTx], tx: Transaction) -> dict[Txid, ConfirmedTx]:
    """What can be confirmed beside `tx`: a block that takes it makes other spends of its inputs
    impossible."""
    spent = {txin.prevout for txin in tx.inputs}
    return _without(
        txs,
        {
            txid
            for txid, item in txs.items()
            if txid != tx.txid and any(txin.prevout in spent for txin in item.tx.inputs)
        },
    )


def _is_signed_spend(state: MonitorState, tx: Transaction) -> bool:
    """Whether an unconfirmed transaction spends the funding output by both sides' signatures."""
    params = state.params
    if len(tx.inputs) != 1 or tx.inputs[0].prevout != params.funding_outpoint:
        return False
    witness = tx.inputs[0].witness
    if len(witness) != 4 or witness[3] != funding_script(params):
        return False
    digest = commitment_sighash(params, tx)
    pubkeys = sorted((params.holder_pubkeys.funding_pubkey, params.counterparty_pubkeys.funding_pubkey))
    for pubkey, item in zip(pubkeys, witness[1:3], strict=True):
        if item[-1:] != bytes((SIGHASH_ALL,)):
            return False
        try:
            signature = signature_from_der(item[:-1])
        except DecodeError:
            return False
        if not verify_ecdsa(signature, digest, pubkey):
            return False
    return True


def _pressing_htlc(state: MonitorState) -> str | None:
    """Why the channel has to go to the chain now; None while there is time."""
    best_height = state.head.best_height
    lists = [(state.holder.htlcs, True), *((item.htlcs, False) for item in state.counterparty)]
    for items, holder_is_broadcaster in lists:
        for item in items:
            htlc = item.htlc
            if htlc.offered == holder_is_broadcaster:
                # BOLT 2, cltv_expiry_delta selection: ours is over, and the peer has not failed it in time.
                if htlc.cltv_expiry_height + LATENCY_GRACE_PERIOD_BLOCKS <= best_height:
                    return f"An outgoing payment expired at block {htlc.cltv_expiry_height}."
            elif htlc.output_index is not None and htlc.payment_hash in state.preimages:
                # The commitment and the claim both need time to confirm before the peer may take it back.
                if htlc.cltv_expiry_height <= best_height + CLTV_CLAIM_BUFFER_BLOCKS:
                    return f"An incoming payment has to be claimed before block {htlc.cltv_expiry_height}."
    return None


def _commitment_claim(state: MonitorState) -> HolderCommitmentClaim:
    deadlines = []
    commitment = state.holder.commitment.commitment
    value_sat = commitment.to_broadcaster_sat
    for item in state.holder.htlcs:
        htlc = item.htlc
        if htlc.offered:
            # One without an output is lost as well, should it be settled upstream before this is over.
            value_sat += htlc.amount_sat
            if htlc.output_index is not None:
                deadlines.append(htlc.cltv_expiry_height + MIN_CLTV_EXPIRY_DELTA)
        elif htlc.output_index is not None and htlc.payment_hash in state.preimages:
            value_sat += htlc.amount_sat
            deadlines.append(htlc.cltv_expiry_height)
    return HolderCommitmentClaim(
        outpoint=state.params.funding_outpoint,
        deadline_height=min(deadlines) if deadlines else None,
        value_sat=value_sat,
        weight=commitment.tx.weight + FUNDING_WITNESS_WEIGHT,
    )


# --- telling ------------------------------------------------------------------

_SPEND_SENTENCES: Final[Mapping[SpendKind, str]] = {
    SpendKind.HOLDER: "Our own commitment transaction is on the chain.",
    SpendKind.COUNTERPARTY: "The peer's commitment transaction is on the chain.",
    SpendKind.REVOKED: "The peer has published a revoked commitment transaction; its coins are being taken.",
    SpendKind.FUTURE: "The peer's commitment transaction is newer than our data; only our balance comes back.",
    SpendKind.CLOSING: "The transaction on which both sides agreed is on the chain.",
    SpendKind.OTHER: "The channel's coins were spent by a transaction that should not exist: they may be lost.",
}


def _tell(
    state: MonitorState, spend: FundingSpend, resolution: Resolution, effects: list[Effect]
) -> MonitorState:
    """Tells, once each, what the confirmed chain makes certain enough."""
    onchain = state.onchain
    best_height = state.head.best_height
    events: list[MonitorEvent] = []
    if not onchain.told_spend:
        reason = f"{_SPEND_SENTENCES[spend.kind]} ({txid_hex(spend.tx.txid)})"
        by_agreement = spend.kind is SpendKind.CLOSING
        events.append(
            CommitmentTxConfirmed(channel_id=state.channel_id, reason=reason, by_agreement=by_agreement)
        )
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


def _learn_preimages(state: MonitorState, spend: FundingSpend, txs: Sequence[Transaction]) -> MonitorState:
    """A preimage proves itself, be it confirmed or not."""
    outputs = {
        OutPoint(spend.tx.txid, item.vout): item for item in spend.htlcs if item.item.source is not None
    }
    live = live_htlcs(state)
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
        malleable, state.params, signer, state.static.destination_script, attempt.output_sat
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
