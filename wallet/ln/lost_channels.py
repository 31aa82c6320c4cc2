"""`LostChannels`: finds on the chain what channels left whose state is lost, and hands it to the sweeper.

Theory of operation. Two things may be known of a lost channel. The words alone give the to_remote keys, a fixed set:
each of their scripts is followed, so that whatever a peer's commitment pays to us is found. A `ChannelBackup` names
the funding output besides; what spends it is told by its commitment number (BOLT 3, obscured): if it was a commitment
of our own, the number gives the per-commitment point, and that the script of its `to_local` and of the outputs of its
HTLC transactions. HTLCs that were in flight are lost with the state.

What is durable is the backups and the confirmed transactions that matter; everything else is read out of them anew, so
that no order of delivery and no reorganisation makes a difference. An output goes to the sweeper once it is buried and
its delay is over; there it is a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from wallet.bitcoin.records import decode, encode
from wallet.bitcoin.script import p2wsh
from wallet.bitcoin.tx import BlockHash, BlockHeader, OutPoint, Transaction, Txid
from wallet.chain.interfaces import Persist, Row, ScriptFilter, TxInBlock
from wallet.ln.chan_utils import (
    TxCreationKeys,
    commitment_number_of,
    derive_tx_keys,
    funding_script,
    revokeable_script,
)
from wallet.ln.channel_backup import ChannelBackup
from wallet.ln.channel_open import channel_id_of
from wallet.ln.channelmonitor import IRREVOCABLE_DEPTH_BLOCKS
from wallet.ln.events import DelayedPaymentOutput, SpendableOutputDescriptor, StaticPaymentOutput
from wallet.ln.keysinterface import TO_REMOTE_KEYS, KeysManager
from wallet.ln.monitor_state import ConfirmedTx, Rows
from wallet.ln.resolution import buried_height
from wallet.ln.types import ChannelId, NodeId

__all__ = ["CHANNEL_SPACE", "CloseKind", "LostChannel", "LostChannels", "LostOutput"]

CHANNEL_SPACE: Final = "lost_channel"
TX_SPACE: Final = "lost_tx"

Track = Callable[[Sequence[SpendableOutputDescriptor], ChannelId], None]


class CloseKind(Enum):
    """How a lost channel ended."""

    OPEN = auto()
    """It has not: the peer has to close it."""
    BY_PEER = auto()
    """By a commitment of the peer's."""
    BY_US = auto()
    """By a commitment of our own, from before everything was lost."""
    AGREED = auto()
    """By a transaction that both had agreed on; its part of ours is among the on-chain coins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LostOutput:
    """An output of ours that was found.

    Attributes:
        spendable_height: with this tip it can be swept.
        spent_by: confirmed; by our sweep, in all likelihood.
    """

    descriptor: SpendableOutputDescriptor
    spendable_height: int
    spent_by: Txid | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LostChannel:
    """How far the recovery of one channel has come.

    Attributes:
        close: the confirmed spend of the funding output.
    """

    backup: ChannelBackup
    kind: CloseKind
    close: ConfirmedTx | None
    outputs: tuple[LostOutput, ...]


@dataclass(frozen=True, slots=True)
class _Delayed:
    """A script of one of our own commitments."""

    backup: ChannelBackup
    keys: TxCreationKeys


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the transactions say.

    Attributes:
        outputs: everything of ours, by where it is.
        kinds: of the lost channels that are closed.
    """

    outputs: dict[OutPoint, LostOutput]
    kinds: dict[ChannelId, tuple[CloseKind, ConfirmedTx]]


class LostChannels:
    """Implements `Confirm`. All calls are within an entry.

    `track` is `OutputSweeper.track_spendable_outputs`.
    """

    def __init__(
        self,
        *,
        filter: ScriptFilter,
        keys_manager: KeysManager,
        persist: Persist,
        track: Track,
        best_height: int,
    ) -> None:
        self._filter = filter
        self._keys = keys_manager
        self._persist = persist
        self._track = track
        self._best_height = best_height
        self._channels: dict[ChannelId, ChannelBackup] = {}
        self._txs: dict[Txid, ConfirmedTx] = {}
        self._static: dict[bytes, tuple[int, bool]] = {}
        self._delayed: dict[bytes, _Delayed] = {}
        self._reading = _Reading({}, {})

    # --- life ---

    def read(self, rows: Rows) -> None:
        """Takes up what an earlier run left. Raises DecodeError."""
        for _, value in rows(CHANNEL_SPACE):
            backup = decode(ChannelBackup, value)
            self._channels[backup.channel_id] = backup
        self._txs = {Txid(key): decode(ConfirmedTx, value) for key, value in rows(TX_SPACE)}

    def start(self, *, scan: bool) -> None:
        """Follows what there is. `scan`: all to_remote scripts of the seed, because the words are all there was."""
        if scan:
            for position, script_pubkey in enumerate(self._keys.possible_to_remote_scripts()):
                self._static[script_pubkey] = (position // 2, position % 2 == 1)
                self._filter.register_script(script_pubkey)
        for backup in self._channels.values():
            self._follow(backup)
        self._read_again()

    def add(self, backups: Iterable[ChannelBackup]) -> None:
        """More channels that are lost."""
        fresh = [backup for backup in backups if backup.channel_id not in self._channels]
        for backup in fresh:
            self._channels[backup.channel_id] = backup
            self._persist.write((Row(CHANNEL_SPACE, backup.channel_id, encode(backup)),))
            self._follow(backup)
        if fresh:
            self._read_again()

    def _follow(self, backup: ChannelBackup) -> None:
        params = backup.params(self._keys)
        self._filter.register_output(backup.funding_outpoint, p2wsh(funding_script(params)), None)
        index = int.from_bytes(backup.channel_keys_id[:4], "big") % TO_REMOTE_KEYS
        for script_pubkey, anchors in self._keys.to_remote_scripts(index):
            if script_pubkey not in self._static:
                self._static[script_pubkey] = (index, anchors)
                self._filter.register_script(script_pubkey)

    # --- questions ---

    def channels(self) -> tuple[LostChannel, ...]:
        """Every channel of the backups, and how it stands."""
        found = []
        for channel_id, backup in self._channels.items():
            kind, close = self._reading.kinds.get(channel_id, (CloseKind.OPEN, None))
            outputs = tuple(
                output
                for output in self._reading.outputs.values()
                if output.descriptor.channel_id == channel_id
            )
            found.append(LostChannel(backup=backup, kind=kind, close=close, outputs=outputs))
        return tuple(found)

    def other_outputs(self) -> tuple[LostOutput, ...]:
        """What the words alone have found: outputs of channels that no backup names."""
        return tuple(
            output
            for output in self._reading.outputs.values()
            if output.descriptor.channel_id not in self._channels
        )

    def to_be_closed(self) -> dict[NodeId, list[ChannelBackup]]:
        """Channels that their peers have to close, by peer."""
        found: dict[NodeId, list[ChannelBackup]] = {}
        for channel_id, backup in self._channels.items():
            if channel_id not in self._reading.kinds:
                found.setdefault(backup.counterparty_node_id, []).append(backup)
        return found

    # --- Confirm ---

    def transactions_confirmed(self, header: BlockHeader, height: int, txdata: Sequence[TxInBlock]) -> None:
        for item in txdata:
            known = self._txs.get(item.tx.txid)
            if known is not None and known.block_hash == header.hash:
                continue
            # In block order, so that a descendant in the same block finds what it spends.
            if self._matters(item.tx):
                confirmed = ConfirmedTx(tx=item.tx, height=height, block_hash=header.hash)
                self._txs[item.tx.txid] = confirmed
                self._persist.write((Row(TX_SPACE, item.tx.txid, encode(confirmed)),))
                self._read_again()

    def transaction_unconfirmed(self, txid: Txid) -> None:
        self._forget({txid} & self._txs.keys())

    def best_block_updated(self, header: BlockHeader, height: int) -> None:
        self._best_height = height
        # A tip that is lower, or another at the same height: what stood above it is gone.
        self._forget(
            {
                txid
                for txid, item in self._txs.items()
                if item.height > height or (item.height == height and item.block_hash != header.hash)
            }
        )
        for output in self._reading.outputs.values():
            if output.spent_by is None and output.spendable_height <= height:
                self._track((output.descriptor,), output.descriptor.channel_id)

    def get_relevant_txids(self) -> Sequence[tuple[Txid, int, BlockHash | None]]:
        lowest = self._best_height - IRREVOCABLE_DEPTH_BLOCKS
        return [
            (txid, item.height, item.block_hash) for txid, item in self._txs.items() if item.height > lowest
        ]

    def transactions_seen(self, txs: Sequence[Transaction]) -> None:
        """Nothing depends on what is not confirmed."""

    def transactions_evicted(self, txids: Sequence[Txid]) -> None:
        """As for `transactions_seen`."""

    # --- inside ---

    def _matters(self, tx: Transaction) -> bool:
        if any(output.script_pubkey in self._static for output in tx.outputs):
            return True
        if any(output.script_pubkey in self._delayed for output in tx.outputs):
            return True
        fundings = {backup.funding_outpoint for backup in self._channels.values()}
        return any(txin.prevout in fundings or txin.prevout in self._reading.outputs for txin in tx.inputs)

    def _forget(self, txids: set[Txid]) -> None:
        for txid in txids:
            del self._txs[txid]
            self._persist.write((Row(TX_SPACE, txid, None),))
        if txids:
            self._read_again()

    def _read_again(self) -> None:
        spenders = {txin.prevout: item for item in self._txs.values() for txin in item.tx.inputs}
        spends = {
            channel_id: spend
            for channel_id, backup in self._channels.items()
            if (spend := spenders.get(backup.funding_outpoint)) is not None
        }
        for channel_id, spend in spends.items():
            self._follow_own_commitment(self._channels[channel_id], spend.tx)
        outputs: dict[OutPoint, LostOutput] = {}
        for item in sorted(self._txs.values(), key=lambda item: (item.height, item.tx.txid)):
            for vout, output in enumerate(item.tx.outputs):
                outpoint = OutPoint(item.tx.txid, vout)
                found = self._ours(item, outpoint, output.script_pubkey)
                if found is not None:
                    descriptor, spendable_height = found
                    spender = spenders.get(outpoint)
                    outputs[outpoint] = LostOutput(
                        descriptor=descriptor,
                        spendable_height=spendable_height,
                        spent_by=None if spender is None else spender.tx.txid,
                    )
        kinds = {channel_id: (self._kind(spend.tx, outputs), spend) for channel_id, spend in spends.items()}
        self._reading = _Reading(outputs, kinds)

    def _follow_own_commitment(self, backup: ChannelBackup, tx: Transaction) -> None:
        """Learns the delayed script that `tx` has, if it is a commitment of our own."""
        params = backup.params(self._keys)
        number = commitment_number_of(params, tx)
        if number is None:
            return
        point = self._keys.derive_channel_signer(backup.channel_keys_id).get_per_commitment_point(number)
        keys = derive_tx_keys(point, params.holder_pubkeys, params.counterparty_pubkeys)
        script_pubkey = p2wsh(
            revokeable_script(
                keys.revocation_key,
                params.counterparty_selected_contest_delay_blocks,
                keys.broadcaster_delayed_payment_key,
            )
        )
        if script_pubkey not in self._delayed:
            self._delayed[script_pubkey] = _Delayed(backup, keys)
            # As a whole: outputs of HTLC transactions have the same script.
            self._filter.register_script(script_pubkey)

    def _ours(
        self, item: ConfirmedTx, outpoint: OutPoint, script_pubkey: bytes
    ) -> tuple[SpendableOutputDescriptor, int] | None:
        """An output of ours, and the tip with which it can be swept."""
        output = item.tx.outputs[outpoint.vout]
        delayed = self._delayed.get(script_pubkey)
        if delayed is not None:
            delay_blocks = delayed.backup.counterparty_selected_contest_delay_blocks
            height = max(buried_height(item.height), item.height + delay_blocks - 1)
            return (
                DelayedPaymentOutput(
                    outpoint=outpoint,
                    output=output,
                    channel_id=delayed.backup.channel_id,
                    channel_keys_id=delayed.backup.channel_keys_id,
                    per_commitment_point=delayed.keys.per_commitment_point,
                    revocation_pubkey=delayed.keys.revocation_key,
                    to_self_delay_blocks=delay_blocks,
                ),
                height,
            )
        static = self._static.get(script_pubkey)
        if static is None:
            return None
        index, anchors = static
        # Of a channel's keys id, only the number of its to_remote key is needed here.
        keys_id = index.to_bytes(4, "big") + bytes(28)
        funding = item.tx.inputs[0].prevout
        descriptor = StaticPaymentOutput(
            outpoint=outpoint,
            output=output,
            channel_id=channel_id_of(funding),
            channel_keys_id=keys_id,
            anchors=anchors,
        )
        return descriptor, buried_height(item.height)

    def _kind(self, tx: Transaction, outputs: dict[OutPoint, LostOutput]) -> CloseKind:
        for vout in range(len(tx.outputs)):
            found = outputs.get(OutPoint(tx.txid, vout))
            if found is not None:
                ours = isinstance(found.descriptor, DelayedPaymentOutput)
                return CloseKind.BY_US if ours else CloseKind.BY_PEER
        # BOLT 3: only commitments have this lock time.
        return CloseKind.BY_PEER if tx.lock_time >> 24 == 0x20 else CloseKind.AGREED
