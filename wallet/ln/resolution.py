"""BOLT 5 as a reading of the chain: from a channel's commitments and what is confirmed, what is to be done.

Theory of operation. Nothing here remembers anything: `resolve` looks at the confirmed transactions that spend
the channel's outputs and says which outputs are ours to claim now or later, which HTLCs of ours have ended,
which outputs are spendable and when, and what every amount waits for. A reorganisation takes transactions
away, and the same reading of what is left is right again; no order of delivery can matter.

`FundingSpend` says what spent the funding output. It is told by its scripts: a commitment of ours by its id,
one of the peer's by its number (BOLT 3, obscured) and by holding outputs that only that commitment can hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from wallet.bitcoin.curve import pubkey_from_secret
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.script import p2wsh
from wallet.bitcoin.tx import OutPoint, Transaction, TxOut
from wallet.ln.chan_utils import (
    TxCreationKeys,
    commitment_number_of,
    derive_tx_keys,
    htlc_script,
    revokeable_script,
    to_remote_script_pubkey,
)
from wallet.ln.config import ANTI_REORG_DELAY_BLOCKS
from wallet.ln.events import (
    Balance,
    BalanceKind,
    DelayedPaymentOutput,
    SpendableOutputDescriptor,
    StaticOutput,
    StaticPaymentOutput,
)
from wallet.ln.htlc import HTLCSource
from wallet.ln.monitor_state import ConfirmedTx, MonitorState, RevokedCommitment
from wallet.ln.monitor_update import CommitmentHtlc
from wallet.ln.package import (
    Claim,
    CounterpartyHtlcClaim,
    HolderHtlcClaim,
    RevokedHtlcClaim,
    RevokedOutputClaim,
)
from wallet.ln.types import PaymentHash, PaymentPreimage

__all__ = [
    "FundingSpend",
    "HtlcEnd",
    "Resolution",
    "SpendKind",
    "buried_height",
    "classify",
    "live_htlcs",
    "preimage_in",
    "resolve",
]


def buried_height(confirmed_height: int) -> int:
    """From this tip on, something that confirmed at `confirmed_height` counts as final."""
    return confirmed_height + ANTI_REORG_DELAY_BLOCKS - 1


# --- what spent the funding output --------------------------------------------


class SpendKind(Enum):
    """Documented by who broadcast what."""

    HOLDER = auto()
    """Our own current commitment."""
    COUNTERPARTY = auto()
    """A commitment that the peer has not revoked."""
    REVOKED = auto()
    """The peer cheated."""
    FUTURE = auto()
    """A commitment of the peer's that we do not know: we have lost data, and only to_remote can be
    salvaged."""
    CLOSING = auto()
    """No commitment, but signed by both: a co-operative close."""
    OTHER = auto()
    """An outdated commitment of our own, or something that should not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HtlcOutput:
    """An HTLC of a commitment that is on chain, at its output."""

    item: CommitmentHtlc
    vout: int
    witness_script: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingSpend:
    """A transaction that spends the funding output, understood.

    Attributes:
        keys, to_local_script: of the commitment, where we know it.
        htlcs: those with an output.
        per_commitment_secret: of a revoked one.
    """

    kind: SpendKind
    tx: Transaction
    number: int | None = None
    keys: TxCreationKeys | None = None
    to_local_script: bytes | None = None
    htlcs: tuple[HtlcOutput, ...] = ()
    per_commitment_secret: bytes | None = None


def classify(
    state: MonitorState, tx: Transaction, read_revoked: Callable[[int], RevokedCommitment | None]
) -> FundingSpend:
    """Understands a spend of the funding output."""
    params = state.params
    ours = state.holder.commitment.commitment
    if tx.txid == ours.tx.txid:
        return _placed(
            FundingSpend(
                kind=SpendKind.HOLDER,
                tx=tx,
                number=ours.number,
                keys=ours.keys,
                to_local_script=ours.to_local_script,
            ),
            state.holder.htlcs,
            params.anchors,
        )
    number = commitment_number_of(params, tx)
    if number is None:
        return FundingSpend(kind=SpendKind.CLOSING, tx=tx)
    for candidate in state.counterparty:
        if candidate.number == number:
            spend = _peers(state, tx, SpendKind.COUNTERPARTY, candidate.per_commitment_point, number)
            spend = _placed(spend, candidate.htlcs, params.anchors)
            return spend if _holds_own_outputs(spend) else _to_remote_only_or_other(state, spend)
    secret = state.secrets.get_secret(number)
    if secret is None:
        kind = SpendKind.FUTURE if number > state.counterparty[-1].number else SpendKind.OTHER
        return FundingSpend(kind=kind, tx=tx, number=number)
    spend = _peers(state, tx, SpendKind.REVOKED, pubkey_from_secret(secret), number, secret)
    row = read_revoked(number)
    spend = _placed(spend, () if row is None else row.htlcs, params.anchors)
    return spend if _holds_own_outputs(spend) else _to_remote_only_or_other(state, spend)


def _peers(
    state: MonitorState,
    tx: Transaction,
    kind: SpendKind,
    per_commitment_point: bytes,
    number: int,
    secret: bytes | None = None,
) -> FundingSpend:
    params = state.params
    keys = derive_tx_keys(per_commitment_point, params.counterparty_pubkeys, params.holder_pubkeys)
    return FundingSpend(
        kind=kind,
        tx=tx,
        number=number,
        keys=keys,
        to_local_script=revokeable_script(
            keys.revocation_key,
            params.holder_selected_contest_delay_blocks,
            keys.broadcaster_delayed_payment_key,
        ),
        per_commitment_secret=secret,
    )


def _placed(spend: FundingSpend, items: Sequence[CommitmentHtlc], anchors: bool) -> FundingSpend:
    """Finds the HTLCs' outputs; an index that does not hold the HTLC's script is not believed."""
    if spend.keys is None:
        return spend
    found = []
    for item in items:
        vout = item.htlc.output_index
        if vout is None or vout >= len(spend.tx.outputs):
            continue
        script = htlc_script(item.htlc, spend.keys, anchors)
        if spend.tx.outputs[vout].script_pubkey == p2wsh(script):
            found.append(HtlcOutput(item=item, vout=vout, witness_script=script))
    return FundingSpend(
        kind=spend.kind,
        tx=spend.tx,
        number=spend.number,
        keys=spend.keys,
        to_local_script=spend.to_local_script,
        htlcs=tuple(found),
        per_commitment_secret=spend.per_commitment_secret,
    )


def _holds_own_outputs(spend: FundingSpend) -> bool:
    """Whether it holds an output that only this very commitment of the peer's can hold."""
    if spend.htlcs:
        return True
    if spend.to_local_script is None:
        return False
    script_pubkey = p2wsh(spend.to_local_script)
    return any(output.script_pubkey == script_pubkey for output in spend.tx.outputs)


def _to_remote_only_or_other(state: MonitorState, spend: FundingSpend) -> FundingSpend:
    """With neither to_local nor HTLCs, the peer's commitment pays to us alone; otherwise it is none of the
    peer's."""
    params = state.params
    script_pubkey = to_remote_script_pubkey(params.holder_pubkeys.payment_point, params.anchors)
    if any(output.script_pubkey == script_pubkey for output in spend.tx.outputs):
        return spend
    return FundingSpend(kind=SpendKind.OTHER, tx=spend.tx, number=spend.number)


# --- the reading --------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HtlcEnd:
    """How an HTLC of ours ended.

    Attributes:
        payment_preimage: fulfilled; None: the peer can never claim it.
        tell_height: the tip from which it may be told.
    """

    source: HTLCSource
    payment_hash: PaymentHash
    amount_msat: int
    payment_preimage: PaymentPreimage | None
    tell_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveHtlc:
    """An HTLC of ours that is in a commitment which could still reach the chain."""

    source: HTLCSource
    payment_hash: PaymentHash
    amount_msat: int
    cltv_expiry_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What is to be done.

    Attributes:
        claims: with the tip from which each can be broadcast.
        watched: outputs whose spending matters, and their scripts.
        ends: of our HTLCs, told or not.
        spendable: with the tip from which each may be told, told or not.
        balances: what waits, and for what.
    """

    claims: tuple[tuple[int, Claim], ...] = ()
    watched: Mapping[OutPoint, bytes]
    ends: tuple[HtlcEnd, ...] = ()
    spendable: tuple[tuple[int, SpendableOutputDescriptor], ...] = ()
    balances: tuple[Balance, ...] = ()


def live_htlcs(state: MonitorState) -> dict[HTLCSource, LiveHtlc]:
    found: dict[HTLCSource, LiveHtlc] = {}
    for items in (state.holder.htlcs, *(item.htlcs for item in state.counterparty)):
        for item in items:
            if item.source is not None:
                found[item.source] = LiveHtlc(
                    source=item.source,
                    payment_hash=item.htlc.payment_hash,
                    amount_msat=item.htlc.amount_msat,
                    cltv_expiry_height=item.htlc.cltv_expiry_height,
                )
    return found


def preimage_in(witness: Sequence[bytes], payment_hash: PaymentHash) -> PaymentPreimage | None:
    """The preimage that a spend of an HTLC output shows. It proves itself by its hash."""
    for item in witness[:-1]:
        if len(item) == 32 and sha256(item) == payment_hash:
            return PaymentPreimage(item)
    return None


class _Reading:
    """Collects a `Resolution`; lives for one call."""

    def __init__(self, state: MonitorState, spend: FundingSpend, confirmed: ConfirmedTx | None) -> None:
        self.state = state
        self.spend = spend
        self.confirmed = confirmed
        self.spenders: dict[OutPoint, tuple[ConfirmedTx, int]] = {
            txin.prevout: (item, index)
            for item in state.txs.values()
            for index, txin in enumerate(item.tx.inputs)
        }
        self.claims: list[tuple[int, Claim]] = []
        self.watched: dict[OutPoint, bytes] = {}
        self.ends: dict[HTLCSource, HtlcEnd] = {}
        self.spendable: list[tuple[int, SpendableOutputDescriptor]] = []
        self.balances: list[Balance] = []

    # --- helpers ---

    def waits(
        self,
        kind: BalanceKind,
        output: TxOut,
        height: int | None,
        outpoint: OutPoint,
        item: CommitmentHtlc | None,
    ) -> None:
        if self.confirmed is None:
            return
        self.balances.append(
            Balance(
                kind=kind,
                channel_id=self.state.channel_id,
                amount_sat=output.value_sat,
                height=height,
                payment_hash=None if item is None else item.htlc.payment_hash,
                outpoint_txid=outpoint.txid,
            )
        )

    def will_be_spendable(self, height: int, descriptor: SpendableOutputDescriptor) -> None:
        self.spendable.append((height, descriptor))
        if descriptor.outpoint not in self.state.onchain.told_spendable:
            kind = BalanceKind.CLAIMABLE_AWAITING_CONFIRMATIONS
            self.waits(kind, descriptor.output, height, descriptor.outpoint, None)

    def outputs(self, tx: Transaction) -> Iterator[tuple[OutPoint, TxOut]]:
        for vout, output in enumerate(tx.outputs):
            yield OutPoint(tx.txid, vout), output

    # --- our commitment ---

    def read_holder(self, height: int) -> None:
        spend, state = self.spend, self.state
        if spend.keys is None or spend.to_local_script is None:
            return
        signed = state.holder.commitment
        to_local = p2wsh(spend.to_local_script)
        for outpoint, output in self.outputs(spend.tx):
            if output.script_pubkey == to_local:
                self.delayed(height, outpoint, output, spend.keys)
        signatures = {
            htlc.output_index: signature
            for htlc, signature in zip(signed.commitment.htlcs, signed.counterparty_htlc_sigs, strict=True)
        }
        for htlc_output in spend.htlcs:
            item = htlc_output.item
            htlc = item.htlc
            outpoint = OutPoint(spend.tx.txid, htlc_output.vout)
            output = spend.tx.outputs[htlc_output.vout]
            self.watched[outpoint] = output.script_pubkey
            spender = self.spenders.get(outpoint)
            if spender is not None:
                self.holder_htlc_spent(item, *spender)
                continue
            preimage = None if htlc.offered else state.preimages.get(htlc.payment_hash)
            self.htlc_waits(item, htlc.offered, preimage, output, outpoint)
            if htlc.offered or preimage is not None:
                claim = HolderHtlcClaim(
                    outpoint=outpoint,
                    output=output,
                    htlc=htlc,
                    witness_script=htlc_output.witness_script,
                    counterparty_signature=signatures[htlc_output.vout],
                    payment_preimage=preimage,
                    anchors=state.params.anchors,
                    contested=item.source in state.onchain.told_sources,
                )
                self.claims.append((htlc.cltv_expiry_height if htlc.offered else height, claim))

    def holder_htlc_spent(self, item: CommitmentHtlc, by: ConfirmedTx, index: int) -> None:
        spend = self.spend
        self.htlc_spent(item, by, index)
        if spend.keys is None or spend.to_local_script is None:
            return
        # BOLT 3: an HTLC transaction's output stands at its input's index, alone or combined with others.
        if index < len(by.tx.outputs):
            output = by.tx.outputs[index]
            if output.script_pubkey == p2wsh(spend.to_local_script):
                self.delayed(by.height, OutPoint(by.tx.txid, index), output, spend.keys)

    def delayed(self, height: int, outpoint: OutPoint, output: TxOut, keys: TxCreationKeys) -> None:
        delay_blocks = self.state.params.counterparty_selected_contest_delay_blocks
        descriptor = DelayedPaymentOutput(
            outpoint=outpoint,
            output=output,
            channel_id=self.state.channel_id,
            channel_keys_id=self.state.static.channel_keys_id,
            per_commitment_point=keys.per_commitment_point,
            revocation_pubkey=keys.revocation_key,
            to_self_delay_blocks=delay_blocks,
        )
        # With the tip one below the height that the delay ends at, the spend can be in the next block.
        self.will_be_spendable(max(buried_height(height), height + delay_blocks - 1), descriptor)

    # --- the peer's ---

    def read_to_remote(self, height: int) -> None:
        params = self.state.params
        script_pubkey = to_remote_script_pubkey(params.holder_pubkeys.payment_point, params.anchors)
        for outpoint, output in self.outputs(self.spend.tx):
            if output.script_pubkey == script_pubkey:
                descriptor = StaticPaymentOutput(
                    outpoint=outpoint,
                    output=output,
                    channel_id=self.state.channel_id,
                    channel_keys_id=self.state.static.channel_keys_id,
                    anchors=params.anchors,
                )
                self.will_be_spendable(buried_height(height), descriptor)

    def read_counterparty(self, height: int) -> None:
        spend, state = self.spend, self.state
        if spend.keys is None:
            return
        for htlc_output in spend.htlcs:
            item = htlc_output.item
            htlc = item.htlc
            outpoint = OutPoint(spend.tx.txid, htlc_output.vout)
            output = spend.tx.outputs[htlc_output.vout]
            self.watched[outpoint] = output.script_pubkey
            spender = self.spenders.get(outpoint)
            if spender is not None:
                self.htlc_spent(item, *spender)
                continue
            preimage = state.preimages.get(htlc.payment_hash) if htlc.offered else None
            self.htlc_waits(item, not htlc.offered, preimage, output, outpoint)
            if not htlc.offered or preimage is not None:
                claim = CounterpartyHtlcClaim(
                    outpoint=outpoint,
                    output=output,
                    per_commitment_point=spend.keys.per_commitment_point,
                    htlc=htlc,
                    witness_script=htlc_output.witness_script,
                    payment_preimage=preimage,
                    # Told of while its output is unspent: the preimage was seen in the mempool.
                    contested=item.source in state.onchain.told_sources,
                )
                self.claims.append((height if htlc.offered else htlc.cltv_expiry_height, claim))

    def read_revoked(self, height: int) -> None:
        """BOLT 5, revoked transactions: every output of the cheater's, and what it made of the HTLC
        outputs."""
        spend = self.spend
        if spend.keys is None or spend.to_local_script is None or spend.per_commitment_secret is None:
            return
        to_local = p2wsh(spend.to_local_script)
        for outpoint, output in self.outputs(spend.tx):
            if output.script_pubkey == to_local:
                self.revoked_output(height, outpoint, output)
        second_stages: dict[OutPoint, tuple[int, TxOut]] = {}
        for htlc_output in spend.htlcs:
            outpoint = OutPoint(spend.tx.txid, htlc_output.vout)
            output = spend.tx.outputs[htlc_output.vout]
            self.watched[outpoint] = output.script_pubkey
            spender = self.spenders.get(outpoint)
            if spender is not None:
                by, index = spender
                self.htlc_spent(htlc_output.item, by, index)
                for second, second_output in self.outputs(by.tx):
                    if second_output.script_pubkey == to_local:
                        second_stages[second] = (by.height, second_output)
                continue
            kind = BalanceKind.COUNTERPARTY_REVOKED_OUTPUT_CLAIMABLE
            self.waits(kind, output, None, outpoint, htlc_output.item)
            claim = RevokedHtlcClaim(
                outpoint=outpoint,
                output=output,
                per_commitment_secret=spend.per_commitment_secret,
                per_commitment_point=spend.keys.per_commitment_point,
                htlc=htlc_output.item.htlc,
                witness_script=htlc_output.witness_script,
            )
            self.claims.append((height, claim))
        for second, (second_height, second_output) in second_stages.items():
            self.revoked_output(second_height, second, second_output)

    def revoked_output(self, height: int, outpoint: OutPoint, output: TxOut) -> None:
        spend = self.spend
        if spend.to_local_script is None or spend.per_commitment_secret is None:
            return
        self.watched[outpoint] = output.script_pubkey
        if outpoint in self.spenders:
            return
        deadline_height = height + self.state.params.holder_selected_contest_delay_blocks
        kind = BalanceKind.COUNTERPARTY_REVOKED_OUTPUT_CLAIMABLE
        self.waits(kind, output, deadline_height, outpoint, None)
        claim = RevokedOutputClaim(
            outpoint=outpoint,
            output=output,
            per_commitment_secret=spend.per_commitment_secret,
            witness_script=spend.to_local_script,
            deadline_height=deadline_height,
        )
        self.claims.append((height, claim))

    # --- HTLCs of any commitment ---

    def htlc_waits(
        self,
        item: CommitmentHtlc,
        ours: bool,
        preimage: PaymentPreimage | None,
        output: TxOut,
        outpoint: OutPoint,
    ) -> None:
        if ours:
            kind = BalanceKind.MAYBE_TIMEOUT_CLAIMABLE_HTLC
        elif preimage is not None:
            kind = BalanceKind.CONTENTIOUS_CLAIMABLE
        else:
            kind = BalanceKind.MAYBE_PREIMAGE_CLAIMABLE_HTLC
        self.waits(kind, output, item.htlc.cltv_expiry_height, outpoint, item)

    def htlc_spent(self, item: CommitmentHtlc, by: ConfirmedTx, index: int) -> None:
        """BOLT 5: a preimage ends it at once; anything else once that is buried."""
        if item.source is None:
            return
        preimage = preimage_in(by.tx.inputs[index].witness, item.htlc.payment_hash)
        self.ends[item.source] = HtlcEnd(
            source=item.source,
            payment_hash=item.htlc.payment_hash,
            amount_msat=item.htlc.amount_msat,
            payment_preimage=preimage,
            tell_height=by.height if preimage is not None else buried_height(by.height),
        )

    def read_missing_htlcs(self, height: int) -> None:
        """BOLT 5: HTLCs of ours without an output here end with the commitment, once it is buried."""
        present = {item.item.source for item in self.spend.htlcs}
        for source, live in live_htlcs(self.state).items():
            if source in present:
                continue
            preimage = self.state.preimages.get(live.payment_hash)
            tell_height = height if preimage is not None else buried_height(height)
            if self.spend.kind is SpendKind.FUTURE and preimage is None:
                # It may be there under keys that we cannot derive: not before its time is over.
                tell_height = max(tell_height, buried_height(live.cltv_expiry_height))
            self.ends[source] = HtlcEnd(
                source=source,
                payment_hash=live.payment_hash,
                amount_msat=live.amount_msat,
                payment_preimage=preimage,
                tell_height=tell_height,
            )

    def read_own_outputs(self) -> None:
        """Whatever pays to our own scripts: claims of ours, co-operative closes."""
        static, head = self.state.static, self.state.head
        scripts = {static.destination_script, head.shutdown_script}
        # In an order that is the same whatever order they came in.
        for item in sorted(self.state.txs.values(), key=lambda item: (item.height, item.tx.txid)):
            for outpoint, output in self.outputs(item.tx):
                if output.script_pubkey in scripts:
                    descriptor = StaticOutput(outpoint=outpoint, output=output, channel_id=static.channel_id)
                    self.will_be_spendable(buried_height(item.height), descriptor)


def resolve(state: MonitorState, spend: FundingSpend, confirmed: ConfirmedTx | None) -> Resolution:
    """Reads the chain. `confirmed` None: `spend` is a hint, and starts nothing but justice."""
    reading = _Reading(state, spend, confirmed)
    if confirmed is None:
        if spend.kind is SpendKind.REVOKED:
            # As if it confirmed in the next block.
            reading.read_revoked(state.head.best_height + 1)
        claims = tuple((state.head.best_height, claim) for _, claim in reading.claims)
        return Resolution(claims=claims, watched=reading.watched)
    height = confirmed.height
    match spend.kind:
        case SpendKind.HOLDER:
            reading.read_holder(height)
        case SpendKind.COUNTERPARTY:
            reading.read_to_remote(height)
            reading.read_counterparty(height)
        case SpendKind.REVOKED:
            reading.read_to_remote(height)
            reading.read_revoked(height)
        case SpendKind.FUTURE | SpendKind.CLOSING | SpendKind.OTHER:
            reading.read_to_remote(height)
    reading.read_missing_htlcs(height)
    reading.read_own_outputs()
    return Resolution(
        claims=tuple(reading.claims),
        watched=reading.watched,
        ends=tuple(reading.ends.values()),
        spendable=tuple(reading.spendable),
        balances=tuple(reading.balances),
    )


def open_balances(state: MonitorState) -> tuple[Balance, ...]:
    """What our current commitment holds while nothing has spent the funding output."""
    commitment = state.holder.commitment.commitment
    channel_id = state.channel_id
    own_sat = commitment.to_broadcaster_sat
    balances = []
    for htlc in commitment.htlcs:
        if not htlc.offered and htlc.payment_hash in state.preimages:
            own_sat += htlc.amount_sat
            continue
        kind = (
            BalanceKind.MAYBE_TIMEOUT_CLAIMABLE_HTLC
            if htlc.offered
            else BalanceKind.MAYBE_PREIMAGE_CLAIMABLE_HTLC
        )
        balances.append(
            Balance(
                kind=kind,
                channel_id=channel_id,
                amount_sat=htlc.amount_sat,
                height=htlc.cltv_expiry_height,
                payment_hash=htlc.payment_hash,
            )
        )
    kind = BalanceKind.CLAIMABLE_ON_CHANNEL_CLOSE
    return (Balance(kind=kind, channel_id=channel_id, amount_sat=own_sat), *balances)
