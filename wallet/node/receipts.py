"""Which transaction pays a request's address.

A request for both layers is to be paid once. Once coins are on their way to its address, a Lightning payment for it is
refused, so that the payer keeps his money (`EventHandler`). The other way round nothing can be refused: coins that come
to the address of a request that was paid over Lightning are only told of (`RequestView.paid_twice`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wallet.bitcoin.address import address_to_script
from wallet.bitcoin.tx import Transaction, Txid
from wallet.node.records import RequestRecord, RequestState

if TYPE_CHECKING:
    from wallet.node.node import Node
    from wallet.onchain.accounting import OnchainEntry

__all__ = ["note_receipts", "paid_onchain"]


def paid_onchain(node: Node, record: RequestRecord) -> OnchainEntry | None:
    """The transaction that pays a request's address, as far as it is known now; within the lock."""
    return None if record.paid_txid is None else node.onchain.entry(Txid(record.paid_txid))


def note_receipts(node: Node, txs: Sequence[Transaction]) -> None:
    """Remembers which transaction pays a request's address what was asked for; within an entry."""
    paid: dict[bytes, list[tuple[int, Txid]]] = {}
    for tx in txs:
        for out in tx.outputs:
            paid.setdefault(out.script_pubkey, []).append((out.value_sat, tx.txid))
    for record in list(node.ledger.requests.live.values()):
        if record.address is None or record.state not in (RequestState.UNPAID, RequestState.PAID):
            continue
        known = paid_onchain(node, record)
        if known is not None and known.height is not None:
            continue  # a block holds it: what is seen later does not take its place
        found = paid.get(address_to_script(record.address, node.options.network), ())
        enough = [txid for value_sat, txid in found if value_sat * 1000 >= (record.amount_msat or 0)]
        if enough and record.paid_txid != enough[0]:
            node.ledger.put_request(dataclasses.replace(record, paid_txid=enough[0]))
