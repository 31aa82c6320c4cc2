"""The frozen state of a `ChannelMonitor`, and its rows.

Theory of operation. A transition makes a new `MonitorState` that shares with the old one whatever did not
change; `changed_rows` compares the two by identity and writes only what differs. What it costs to persist an
update is so the size of that update, whatever the channel's age: revoked commitments go to rows of their own
and leave memory.

| space | key | value |
| --- | --- | --- |
| `monitor` | channel | `MonitorStatic`, written once |
| `monitor_head` | channel | `MonitorHead`: update id and flags |
| `monitor_holder` | channel | our current commitment |
| `monitor_counterparty` | channel, number | the peer's commitments that are not revoked (one or two) |
| `monitor_secret` | channel, bucket | the peer's secrets |
| `monitor_preimage` | channel, payment hash | preimage |
| `monitor_tx` | channel, txid | a confirmed transaction that matters |
| `monitor_onchain` | channel | `OnchainState`: claims on their way, what was told |
| `revoked` | channel, scope, number | a revoked commitment of the peer's; append-only |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.records import decode, encode
from wallet.bitcoin.tx import BlockHash, OutPoint, Transaction, Txid
from wallet.chain.interfaces import Row
from wallet.ln.chan_utils import (
    ChannelTransactionParameters,
    CounterpartyCommitmentSecrets,
    HolderCommitmentTransaction,
    build_commitment_transaction,
)
from wallet.ln.htlc import HTLCSource
from wallet.ln.monitor_update import (
    CommitmentHtlc,
    LatestCounterpartyCommitment,
    LatestHolderCommitment,
    MonitorEvent,
)
from wallet.ln.onchaintx import ClaimState
from wallet.ln.types import ChannelId, NodeId, PaymentHash, PaymentPreimage

__all__ = [
    "SPACES",
    "ConfirmedTx",
    "MonitorHead",
    "MonitorState",
    "MonitorStatic",
    "OnchainState",
    "RevokedCommitment",
    "all_rows",
    "changed_rows",
    "decode_revoked",
    "read_states",
    "revoked_key",
]

Rows = Callable[[str], Iterable[tuple[bytes, bytes]]]
"""Row space -> its keys and values in key order."""

SPACES: Final = (
    "monitor",
    "monitor_head",
    "monitor_holder",
    "monitor_counterparty",
    "monitor_secret",
    "monitor_preimage",
    "monitor_tx",
    "monitor_onchain",
)

FUNDING_SCOPE: Final = 0
"""Which funding output of the channel; there is one until channels can be spliced."""


# --- records ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorStatic:
    """What never changes.

    Attributes:
        destination_script: claims pay here.
    """

    channel_id: ChannelId
    counterparty_node_id: NodeId
    channel_keys_id: bytes
    params: ChannelTransactionParameters
    destination_script: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorHead:
    """The small things.

    Attributes:
        shutdown_script: our output of a co-operative close, once agreed.
        force_closed: the channel gave up: no new commitments are taken.
        broadcast_forbidden: our commitment is outdated; it never leaves.
        holder_broadcast: our commitment is to be confirmed.
        refused_update_id: the first update whose commitment came too late to be taken.
        unfunded: the peer's funding never came.
        funding_deadline_height: of a closed channel whose funding, the peer's, has never been seen in a block.
    """

    update_id: int = 0
    shutdown_script: bytes | None = None
    force_closed: bool = False
    broadcast_forbidden: bool = False
    holder_broadcast: bool = False
    refused_update_id: int | None = None
    best_height: int
    best_hash: BlockHash
    unfunded: bool = field(default=False, metadata={"tlv": 1})
    funding_deadline_height: int | None = field(default=None, metadata={"tlv": 3})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedTx:
    tx: Transaction
    height: int
    block_hash: BlockHash


@dataclass(frozen=True, slots=True, kw_only=True)
class OnchainState:
    """What came of the chain so far.

    Attributes:
        told_sources: HTLCs of ours whose end was told.
        told_spendable: outputs for which `SpendableOutputs` was told.
        told_spend: the spend of the funding output was told.
        events: not yet taken by the manager.
        resolved_height: since when nothing is left to do; for archiving.
    """

    claims: ClaimState = field(default_factory=ClaimState)
    told_sources: frozenset[HTLCSource] = frozenset()
    told_spendable: frozenset[OutPoint] = frozenset()
    told_spend: bool = False
    events: tuple[MonitorEvent, ...] = ()
    resolved_height: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedCommitment:
    """A revoked commitment of the peer's: with its secret, all that justice needs."""

    htlcs: tuple[CommitmentHtlc, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHolderCommitment:
    """Our commitment without what can be built again.

    Attributes:
        htlcs: those with an output first, in output order; then the trimmed ones.
    """

    number: int
    per_commitment_point: bytes
    feerate_sat_per_kw: int
    to_broadcaster_sat: int
    to_countersignatory_sat: int
    htlcs: tuple[CommitmentHtlc, ...]
    counterparty_sig: bytes
    counterparty_htlc_sigs: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorState:
    """All of a monitor.

    Attributes:
        counterparty: the peer's commitments that it has not revoked, by rising number: one or two.
        preimages, txs: treated as immutable.
        seen_spend: an unconfirmed spend of the funding output, its signatures checked. Not durable: it is a
            hint.
    """

    static: MonitorStatic
    head: MonitorHead
    holder: LatestHolderCommitment
    counterparty: tuple[LatestCounterpartyCommitment, ...]
    secrets: CounterpartyCommitmentSecrets
    preimages: Mapping[PaymentHash, PaymentPreimage]
    txs: Mapping[Txid, ConfirmedTx]
    onchain: OnchainState
    seen_spend: Transaction | None = None

    @property
    def params(self) -> ChannelTransactionParameters:
        return self.static.params

    @property
    def channel_id(self) -> ChannelId:
        return self.static.channel_id


# --- rows ---------------------------------------------------------------------


def revoked_key(channel_id: ChannelId, number: int) -> bytes:
    return channel_id + FUNDING_SCOPE.to_bytes(2, "big") + number.to_bytes(8, "big")


def decode_revoked(data: bytes) -> RevokedCommitment:
    return decode(RevokedCommitment, data)


def _number_key(channel_id: ChannelId, number: int) -> bytes:
    return channel_id + number.to_bytes(8, "big")


def _encode_holder(holder: LatestHolderCommitment) -> bytes:
    signed = holder.commitment
    commitment = signed.commitment
    return encode(
        StoredHolderCommitment(
            number=commitment.number,
            per_commitment_point=commitment.per_commitment_point,
            feerate_sat_per_kw=commitment.feerate_sat_per_kw,
            to_broadcaster_sat=commitment.to_broadcaster_sat,
            to_countersignatory_sat=commitment.to_countersignatory_sat,
            htlcs=holder.htlcs,
            counterparty_sig=signed.counterparty_sig,
            counterparty_htlc_sigs=b"".join(signed.counterparty_htlc_sigs),
        )
    )


def _decode_holder(data: bytes, params: ChannelTransactionParameters) -> LatestHolderCommitment:
    stored = decode(StoredHolderCommitment, data)
    placed = sorted(
        (item.htlc for item in stored.htlcs if item.htlc.output_index is not None),
        key=lambda htlc: htlc.output_index or 0,
    )
    commitment = build_commitment_transaction(
        params,
        holder_is_broadcaster=True,
        number=stored.number,
        per_commitment_point=stored.per_commitment_point,
        to_broadcaster_sat=stored.to_broadcaster_sat,
        to_countersignatory_sat=stored.to_countersignatory_sat,
        htlcs=placed,
        feerate_sat_per_kw=stored.feerate_sat_per_kw,
    )
    sigs = stored.counterparty_htlc_sigs
    if commitment.htlcs != tuple(placed) or len(sigs) != 64 * len(placed):
        raise DecodeError("A commitment of ours does not come out as it was stored.")
    return LatestHolderCommitment(
        commitment=HolderCommitmentTransaction(
            commitment=commitment,
            counterparty_sig=stored.counterparty_sig,
            counterparty_htlc_sigs=tuple(sigs[i : i + 64] for i in range(0, len(sigs), 64)),
        ),
        htlcs=stored.htlcs,
    )


def _encode_bucket(bucket: tuple[int, bytes]) -> bytes:
    return bucket[0].to_bytes(6, "big") + bucket[1]


def changed_rows(old: MonitorState | None, new: MonitorState) -> list[Row]:
    """What to write so that `new` is what will be read; everything when there was no `old`."""
    channel_id = new.channel_id
    rows: list[Row] = []
    if old is None:
        rows.append(Row("monitor", channel_id, encode(new.static)))
    if old is None or old.head is not new.head:
        rows.append(Row("monitor_head", channel_id, encode(new.head)))
    if old is None or old.holder is not new.holder:
        rows.append(Row("monitor_holder", channel_id, _encode_holder(new.holder)))
    if old is None or old.counterparty is not new.counterparty:
        before = {} if old is None else {item.number: item for item in old.counterparty}
        for item in new.counterparty:
            if before.pop(item.number, None) is not item:
                rows.append(Row("monitor_counterparty", _number_key(channel_id, item.number), encode(item)))
        for number, gone in before.items():
            rows.append(Row("monitor_counterparty", _number_key(channel_id, number), None))
            revoked = RevokedCommitment(htlcs=gone.htlcs)
            rows.append(Row("revoked", revoked_key(channel_id, number), encode(revoked)))
    if old is None or old.secrets is not new.secrets:
        known = () if old is None else old.secrets.buckets
        for position, bucket in enumerate(new.secrets.buckets):
            if position >= len(known) or known[position] is not bucket:
                key = channel_id + position.to_bytes(1, "big")
                rows.append(Row("monitor_secret", key, _encode_bucket(bucket)))
    if old is None or old.preimages is not new.preimages:
        had: Mapping[PaymentHash, PaymentPreimage] = {} if old is None else old.preimages
        for payment_hash, preimage in new.preimages.items():
            if payment_hash not in had:
                rows.append(Row("monitor_preimage", channel_id + payment_hash, preimage))
        for payment_hash in had:
            if payment_hash not in new.preimages:
                rows.append(Row("monitor_preimage", channel_id + payment_hash, None))
    if old is None or old.txs is not new.txs:
        held: Mapping[Txid, ConfirmedTx] = {} if old is None else old.txs
        for txid, confirmed in new.txs.items():
            if held.get(txid) is not confirmed:
                rows.append(Row("monitor_tx", channel_id + txid, encode(confirmed)))
        for txid in held:
            if txid not in new.txs:
                rows.append(Row("monitor_tx", channel_id + txid, None))
    if old is None or old.onchain is not new.onchain:
        rows.append(Row("monitor_onchain", channel_id, encode(new.onchain)))
    return rows


def all_rows(state: MonitorState) -> list[Row]:
    return changed_rows(None, state)


def deleting_rows(state: MonitorState) -> list[Row]:
    """Forgets a monitor; its revoked rows stay."""
    return [Row(row.space, row.key, None) for row in all_rows(state)]


def read_states(rows: Rows) -> list[MonitorState]:
    """Every monitor that was stored. Raises DecodeError: then the file is damaged, and nothing may go on."""
    statics = [decode(MonitorStatic, value) for _, value in rows("monitor")]
    heads = {key: decode(MonitorHead, value) for key, value in rows("monitor_head")}
    holders = dict(rows("monitor_holder"))
    onchain = {key: decode(OnchainState, value) for key, value in rows("monitor_onchain")}
    counterparty: dict[bytes, list[LatestCounterpartyCommitment]] = {}
    for key, value in rows("monitor_counterparty"):
        counterparty.setdefault(key[:32], []).append(decode(LatestCounterpartyCommitment, value))
    buckets: dict[bytes, list[tuple[int, bytes]]] = {}
    for key, value in rows("monitor_secret"):
        buckets.setdefault(key[:32], []).append((int.from_bytes(value[:6], "big"), value[6:]))
    preimages: dict[bytes, dict[PaymentHash, PaymentPreimage]] = {}
    for key, value in rows("monitor_preimage"):
        preimages.setdefault(key[:32], {})[PaymentHash(key[32:])] = PaymentPreimage(value)
    txs: dict[bytes, dict[Txid, ConfirmedTx]] = {}
    for key, value in rows("monitor_tx"):
        txs.setdefault(key[:32], {})[Txid(key[32:])] = decode(ConfirmedTx, value)
    states = []
    for static in statics:
        key = static.channel_id
        if key not in heads or key not in holders or key not in counterparty or key not in onchain:
            raise DecodeError("A channel's monitor is incomplete.")
        states.append(
            MonitorState(
                static=static,
                head=heads[key],
                holder=_decode_holder(holders[key], static.params),
                counterparty=tuple(counterparty[key]),
                secrets=CounterpartyCommitmentSecrets(buckets=tuple(buckets.get(key, ()))),
                preimages=preimages.get(key, {}),
                txs=txs.get(key, {}),
                onchain=onchain[key],
            )
        )
    return states
