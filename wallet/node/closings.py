"""What the chain tells the books of closed channels: which transaction closed one, what it left to us, and which
transactions bring that home. In the history these are no payments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wallet.bitcoin.tx import OutPoint, Transaction, Txid, txid_hex
from wallet.i18n import _
from wallet.ln.types import ChannelId
from wallet.node.records import MoveKind, MoveRecord

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__ = ["Closings"]


class Closings:
    """Every method is called within an entry."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._spends: dict[OutPoint, Txid] = {}

    def spender(self, outpoint: OutPoint) -> Txid | None:
        """What spends a funding output, as far as this run has heard."""
        return self._spends.get(outpoint)

    def note(self, txs: Sequence[Transaction], *, confirmed: bool) -> None:
        """Remembers which transaction closed which channel. A hint fills a gap and changes nothing: a single server can
        make one up."""
        ledger = self._node.ledger
        spent = {txin.prevout: tx.txid for tx in txs for txin in tx.inputs}
        for outpoint, txid in spent.items():
            if confirmed or outpoint not in self._spends:
                self._spends[outpoint] = txid
        for record in list(ledger.closed.values()):
            if record.funding_txid is None or (record.closing_txid is not None and not confirmed):
                continue
            closing_txid = spent.get(OutPoint(Txid(record.funding_txid), record.funding_vout))
            if closing_txid is not None and closing_txid != record.closing_txid:
                ledger.put_closed(
                    dataclasses.replace(record, closing_txid=closing_txid, commitment_own_sat=None)
                )
                self._name(closing_txid, _("Channel closing"))

    def note_commitments(self) -> None:
        """Remembers what a commitment that confirmed leaves to us: the rest was the price of the close."""
        node = self._node
        for record in list(node.ledger.closed.values()):
            if record.commitment_own_sat is not None or record.final_msat is None:
                continue
            monitor = node.chain_monitor.get_monitor(ChannelId(record.channel_id))
            found = None if monitor is None else monitor.own_output_of_commitment()
            if found is not None and found[0] == record.closing_txid:
                node.ledger.put_closed(dataclasses.replace(record, commitment_own_sat=found[1]))

    def note_claims(self, txs: Sequence[Transaction]) -> None:
        """Remembers which transaction brings home what a closed channel left."""
        node = self._node
        swept = {item.descriptor.outpoint: item for item in node.sweeper.tracked_spendable_outputs()}
        if not swept:
            return
        for tx in txs:
            claimed = [swept[txin.prevout] for txin in tx.inputs if txin.prevout in swept]
            if not claimed:
                continue
            value_sat = sum(item.descriptor.output.value_sat for item in claimed)
            paid_sat = sum(out.value_sat for out in tx.outputs)
            closed = node.ledger.closed.get(claimed[0].channel_id)
            node.ledger.put_move(
                tx.txid,
                MoveRecord(
                    kind=MoveKind.CLAIM,
                    channel_id=claimed[0].channel_id,
                    counterparty_node_id=closed.counterparty_node_id if closed is not None else b"",
                    moved_sat=value_sat,
                    # Where others have a part in it, nobody can say who paid for what.
                    fee_sat=max(0, value_sat - paid_sat) if len(claimed) == len(tx.inputs) else 0,
                ),
            )

    def _name(self, txid: Txid, label: str) -> None:
        """Labels a transaction of ours, unless it has a label."""
        node = self._node
        entry = node.onchain.entry_by_hex(txid_hex(txid))
        if entry is not None and not entry.label:
            node.onchain.label(txid_hex(txid), label)
            node.ledger.onchain_changed(txid_hex(txid))
