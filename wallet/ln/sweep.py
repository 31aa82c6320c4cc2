"""`OutputSweeper`: takes home what closed channels left, and sees to it until it is buried.

Theory of operation. Each output is a row from the moment it is handed over, in the same commit as the event
that told of it. At each new block, outputs that are due are spent by one transaction to a script of the
wallet; what is under way is sent again, and every few blocks at a higher fee rate. Whatever spends an output
counts, be it an earlier version of ours. An output is forgotten when its spend is irrevocable; a
reorganisation makes it due again.

An output that the on-chain coins own already (`StaticOutput`, unless its script is the keys' own) is left to
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from wallet.bitcoin.amounts import fee_sat_ceil
from wallet.bitcoin.records import decode, encode
from wallet.bitcoin.tx import BlockHash, BlockHeader, OutPoint, Transaction, Txid
from wallet.chain.interfaces import (
    BroadcasterInterface,
    BroadcastPackage,
    ConfirmationTarget,
    FeeEstimator,
    Filter,
    Logger,
    LogLevel,
    Persist,
    Row,
    TxInBlock,
)
from wallet.ln import event_queue
from wallet.ln.channelmonitor import IRREVOCABLE_DEPTH_BLOCKS
from wallet.ln.events import SpendableOutputDescriptor
from wallet.ln.keysinterface import KeysManager, spendable_input_weight
from wallet.ln.monitor_state import Rows
from wallet.ln.onchaintx import (
    BUMP_DIVISOR,
    INCREMENTAL_RELAY_FEE_SAT_PER_KW,
    MAX_BUMP_OVER_ESTIMATE,
)
from wallet.ln.types import APIError, ChannelId

__all__ = ["OutputSweeper", "Sweep", "SweptOutput"]

SPACE: Final = "sweep"

BUMP_INTERVAL_BLOCKS: Final = 6
"""How long a sweep may wait before it offers more. Nobody else can take these outputs."""

# The numbers of the descriptor union are set there.
_ = event_queue.SPACE


# --- records ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A transaction of ours that spends one or more outputs.

    Attributes:
        next_height: from this tip on a higher rate is offered.
    """

    tx: Transaction
    feerate_sat_per_kw: int
    next_height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """A confirmed spend, ours or not."""

    txid: Txid
    height: int
    block_hash: BlockHash


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptOutput:
    """One output and how far it has come.

    Attributes:
        sweep: on its way since; None: not yet tried.
        spent: confirmed; None: still there.
        not_before_height: the tip from which it may be swept.
    """

    descriptor: SpendableOutputDescriptor
    channel_id: ChannelId
    not_before_height: int = 0
    sweep: Sweep | None = None
    spent: Spent | None = None


# --- the sweeper --------------------------------------------------------------


class OutputSweeper:
    """Implements `Confirm`."""

    def __init__(
        self,
        *,
        filter: Filter | None,
        broadcaster: BroadcasterInterface,
        fee_estimator: FeeEstimator,
        keys_manager: KeysManager,
        change_script: Callable[[], bytes],
        persist: Persist,
        logger: Logger,
        best_height: int,
    ) -> None:
        self._filter = filter
        self._broadcaster = broadcaster
        self._fee_estimator = fee_estimator
        self._keys = keys_manager
        self._change_script = change_script
        self._persist = persist
        self._logger = logger
        self._best_height = best_height
        self._outputs: Mapping[OutPoint, SweptOutput] = {}
        self._unused_script: bytes | None = None
        """Handed out for a sweep that came to nothing: the next one's. Each that is asked for is an address less."""

    def read(self, rows: Rows) -> None:
        """Takes up what an earlier run left. Raises DecodeError."""
        self._outputs = {OutPoint.parse(key): decode(SweptOutput, value) for key, value in rows(SPACE)}
        for item in self._outputs.values():
            self._watch(item)

    def track_spendable_outputs(
        self,
        descriptors: Sequence[SpendableOutputDescriptor],
        channel_id: ChannelId,
        *,
        not_before_height: int = 0,
    ) -> None:
        """Durable with the entry in which it is called. What is known already, or not ours to spend, is left
        out."""
        changed = dict(self._outputs)
        for descriptor in descriptors:
            if descriptor.outpoint not in changed and self._keys.can_spend(descriptor):
                changed[descriptor.outpoint] = SweptOutput(
                    descriptor=descriptor, channel_id=channel_id, not_before_height=not_before_height
                )
        added = [item for outpoint, item in changed.items() if outpoint not in self._outputs]
        self._swap(changed)
        for item in added:
            self._watch(item)
        if added:
            self.regenerate_and_broadcast_spend_if_necessary()

    def tracked_spendable_outputs(self) -> tuple[SweptOutput, ...]:
        return tuple(self._outputs.values())

    def regenerate_and_broadcast_spend_if_necessary(self) -> None:
        """Sweeps what is due, and sends again what is under way."""
        changed = dict(self._outputs)
        packages: list[Transaction] = []
        fresh = [
            item
            for item in changed.values()
            if item.spent is None and item.sweep is None and item.not_before_height <= self._best_height
        ]
        self._sweep(fresh, None, changed, packages)
        by_sweep: dict[Txid, list[SweptOutput]] = {}
        for item in self._outputs.values():
            if item.spent is None and item.sweep is not None:
                by_sweep.setdefault(item.sweep.tx.txid, []).append(item)
        for items in by_sweep.values():
            sweep = items[0].sweep
            if sweep is None:
                continue
            # Something else may have spent a part of it: then it can never confirm.
            whole = len(items) == len(sweep.tx.inputs)
            due = not whole or self._best_height >= sweep.next_height
            replaced = due and self._sweep(items, sweep, changed, packages, whole=whole)
            if whole and not replaced:
                packages.append(sweep.tx)
        self._swap(changed)
        for tx in packages:
            self._broadcaster.broadcast_transactions(BroadcastPackage(txs=(tx,), label="sweep"))

    def speed_up(self, channel_id: ChannelId) -> bool:
        """Offers a higher rate at once for what sweeps the outputs of a channel; False when none is on its way, or when
        it pays far more than the going rate already."""
        changed = dict(self._outputs)
        packages: list[Transaction] = []
        wanted = {
            item.sweep.tx.txid
            for item in self._outputs.values()
            if item.channel_id == channel_id and item.sweep is not None and item.spent is None
        }
        for txid in wanted:
            items = [
                item
                for item in self._outputs.values()
                if item.spent is None and item.sweep is not None and item.sweep.tx.txid == txid
            ]
            sweep = items[0].sweep
            if sweep is not None:
                self._sweep(items, sweep, changed, packages, whole=len(items) == len(sweep.tx.inputs))
        self._swap(changed)
        for tx in packages:
            self._broadcaster.broadcast_transactions(BroadcastPackage(txs=(tx,), label="sweep"))
        return bool(packages)

    # --- Confirm ---

    def transactions_confirmed(self, header: BlockHeader, height: int, txdata: Sequence[TxInBlock]) -> None:
        changed = dict(self._outputs)
        for item in txdata:
            for txin in item.tx.inputs:
                output = changed.get(txin.prevout)
                if output is not None:
                    spent = Spent(txid=item.tx.txid, height=height, block_hash=header.hash)
                    changed[txin.prevout] = replace(output, spent=spent)
        self._best_height = max(self._best_height, height)
        self._swap(changed)

    def transaction_unconfirmed(self, txid: Txid) -> None:
        self._unspend(lambda spent: spent.txid == txid)

    def best_block_updated(self, header: BlockHeader, height: int) -> None:
        def gone(spent: Spent) -> bool:
            # A tip that is lower, or another at the same height.
            return spent.height > height or (spent.height == height and spent.block_hash != header.hash)

        self._unspend(gone)
        self._best_height = height
        buried_height = height - IRREVOCABLE_DEPTH_BLOCKS + 1
        self._swap(
            {
                outpoint: item
                for outpoint, item in self._outputs.items()
                if item.spent is None or item.spent.height > buried_height
            }
        )
        self.regenerate_and_broadcast_spend_if_necessary()

    def get_relevant_txids(self) -> Sequence[tuple[Txid, int, BlockHash | None]]:
        found = {
            (item.spent.txid, item.spent.height, item.spent.block_hash)
            for item in self._outputs.values()
            if item.spent is not None
        }
        return sorted(found, key=lambda item: (item[1], item[0]))

    def transactions_seen(self, txs: Sequence[Transaction]) -> None:
        """Nothing depends on it."""

    def transactions_evicted(self, txids: Sequence[Txid]) -> None:
        """The next block sends again what is under way."""

    # --- inside ---

    def _unspend(self, gone: Callable[[Spent], bool]) -> None:
        self._swap(
            {
                outpoint: replace(item, spent=None) if item.spent is not None and gone(item.spent) else item
                for outpoint, item in self._outputs.items()
            }
        )

    def _swap(self, outputs: Mapping[OutPoint, SweptOutput]) -> None:
        rows = [
            Row(SPACE, outpoint.serialize(), encode(item))
            for outpoint, item in outputs.items()
            if self._outputs.get(outpoint) is not item
        ]
        rows += [
            Row(SPACE, outpoint.serialize(), None) for outpoint in self._outputs if outpoint not in outputs
        ]
        if rows:
            self._persist.write(rows)
            self._outputs = outputs

    def _watch(self, item: SweptOutput) -> None:
        if self._filter is not None:
            descriptor = item.descriptor
            self._filter.register_output(descriptor.outpoint, descriptor.output.script_pubkey, None)

    def _sweep(
        self,
        items: Sequence[SweptOutput],
        previous: Sweep | None,
        changed: dict[OutPoint, SweptOutput],
        packages: list[Transaction],
        *,
        whole: bool = True,
    ) -> bool:
        """One transaction for all of `items` that are worth it; False when there is none.

        `whole`: `previous` may confirm still, and has to be outbid.
        """
        feerate_sat_per_kw = self._fee_estimator.get_est_sat_per_1000_weight(
            ConfirmationTarget.OUTPUT_SPENDING_FEE
        )
        if previous is None:
            # An output that costs more than it is worth waits for lower fees.
            items = [
                item
                for item in items
                if item.descriptor.output.value_sat
                > fee_sat_ceil(spendable_input_weight(item.descriptor), feerate_sat_per_kw)
            ]
        else:
            raised_sat_per_kw = previous.feerate_sat_per_kw
            if whole:
                # BIP 125, rules 3 and 4: of the same inputs, so that a higher rate is a higher fee.
                step_sat_per_kw = raised_sat_per_kw // BUMP_DIVISOR
                raised_sat_per_kw += max(step_sat_per_kw, INCREMENTAL_RELAY_FEE_SAT_PER_KW)
                if raised_sat_per_kw > feerate_sat_per_kw * MAX_BUMP_OVER_ESTIMATE:
                    # Nothing presses: it is not for want of a fee that it does not confirm.
                    return False
            feerate_sat_per_kw = max(feerate_sat_per_kw, raised_sat_per_kw)
        if not items:
            return False
        if previous is not None:
            change_script = previous.tx.outputs[-1].script_pubkey
        else:
            change_script = self._unused_script = self._unused_script or self._change_script()
        try:
            tx = self._keys.spend_spendable_outputs(
                [item.descriptor for item in items], (), change_script, feerate_sat_per_kw, self._best_height
            )
        except APIError as error:
            self._logger.log(LogLevel.INFO, "outputs of closed channels wait: %s", error)
            return False
        if previous is None:
            self._unused_script = None
        sweep = Sweep(
            tx=tx,
            feerate_sat_per_kw=feerate_sat_per_kw,
            next_height=self._best_height + BUMP_INTERVAL_BLOCKS,
        )
        for item in items:
            changed[item.descriptor.outpoint] = replace(item, sweep=sweep)
        packages.append(tx)
        return True
