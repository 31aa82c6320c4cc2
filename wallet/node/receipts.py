"""Which transaction pays a request's address.

A request for both layers is to be paid once. Once coins are on their way to its address, a Lightning payment for it is
refused, so that the payer keeps his money (`EventHandler`). The other way round nothing can be refused: coins that come
to the address of a request that was paid over Lightning are only told of (`RequestView.paid_twice`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from wallet.bitcoin.address import Network, address_to_script
from wallet.bitcoin.tx import Transaction, Txid
from wallet.node.records import RequestRecord, RequestState

if TYPE_CHECKING:
    from wallet.node.node import Node
    from wallet.onchain.accounting import OnchainEntry

__all__ = ["note_receipts", "paid_onchain", "script_of"]

SCRIPTS_KEPT: Final = 16_384
"""Of addresses of requests that may still be paid: to decode each again at every step of the chain would take longer
than all the rest. Addresses come round, so there are fewer of them than requests."""

LEAST_OF_ANY_SAT: Final = 1_000
"""So much at least pays a request that leaves the amount open. Dust is sent to addresses by strangers, to follow their
coins; a request that counted as paid by it would refuse the payment that was meant."""


@lru_cache(maxsize=SCRIPTS_KEPT)
def script_of(address: str, network: Network) -> bytes:
    """Of the address of a request."""
    return address_to_script(address, network)


def paid_onchain(node: Node, record: RequestRecord) -> OnchainEntry | None:
    """The transaction that pays a request's address, as far as it is known now; within the lock."""
    return None if record.paid_txid is None else node.onchain.entry(Txid(record.paid_txid))


def note_receipts(node: Node, txs: Sequence[Transaction]) -> None:
    """Remembers which transaction pays a request's address what was asked for; within an entry.

    At the gap limit addresses come round again, so several requests may have one address. What comes there pays one of
    them: another must not count as paid, nor one that was paid over Lightning as paid twice.
    """
    scripts = {out.script_pubkey for tx in txs for out in tx.outputs}
    node.ledger.bring_back_paid(scripts)
    asked: dict[bytes, list[RequestRecord]] = {}
    for record in node.ledger.requests.live.values():
        if record.address is None or record.state not in (RequestState.UNPAID, RequestState.PAID):
            continue
        script = script_of(record.address, node.options.network)
        if script in scripts:
            asked.setdefault(script, []).append(record)
    for script, records in asked.items():
        taken = {record.paid_txid for record in records}
        for tx in txs:
            value_sat = max((out.value_sat for out in tx.outputs if out.script_pubkey == script), default=0)
            if not value_sat or tx.txid in taken:
                continue
            payee = _payee(node, records, tx, value_sat)
            if payee is not None:
                # A later one of these transactions pays another.
                records.remove(payee)
                node.ledger.put_request(dataclasses.replace(payee, paid_txid=tx.txid))


def _payee(
    node: Node, records: Sequence[RequestRecord], tx: Transaction, value_sat: int
) -> RequestRecord | None:
    """Whom of those with one address a transaction pays: rather who is unpaid, who asked for just that, the newest."""
    best: tuple[bool, bool, bool, bool, int, int] | None = None
    found = None
    spent = {txin.prevout for txin in tx.inputs}
    for place, record in enumerate(records):
        known = paid_onchain(node, record)
        least_msat = LEAST_OF_ANY_SAT * 1000 if record.amount_msat is None else record.amount_msat
        if (known is not None and known.height is not None) or value_sat * 1000 < least_msat:
            continue  # a block holds what pays it: what is seen later does not take its place
        rank = (
            known is not None
            and any(txin.prevout in spent for txin in known.tx.inputs),  # it takes its place
            record.state is RequestState.UNPAID,
            known is None,
            record.amount_msat == value_sat * 1000,
            record.created_at,
            place,
        )
        if best is None or rank > best:
            best, found = rank, record
    return found
