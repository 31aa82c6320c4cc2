"""Every transaction that a wallet under test hands to the servers is written down, and judged afterwards.

What the real node took into its mempool is fine by that. What it never took, because another transaction had been
faster or paid more, has to pass Bitcoin Core's own script check with the outputs that it spends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

from tests.consensus import check_transaction
from tests.real.harness import Regtest, RPCError
from tests.stand_in import put_in_place_of
from wallet.bitcoin.tx import Transaction, Txid, TxOut, txid_hex
from wallet.chain.electrum.broadcast import BroadcastResult, ElectrumBroadcaster
from wallet.chain.interfaces import BroadcastPackage

__all__ = ["came_too_late", "check_broadcasts", "was_made_anew", "write_down"]

_put = ElectrumBroadcaster._put


def write_down(file: Path) -> None:
    """From now on each broadcast of this process goes into the file, a line of hexadecimal each."""
    known: set[Txid] = set()

    def noting(
        self: ElectrumBroadcaster, package: BroadcastPackage, future: asyncio.Future[BroadcastResult] | None
    ) -> None:
        new = [tx for tx in package.txs if tx.txid not in known]
        known.update(tx.txid for tx in new)
        with file.open("a") as out:
            out.writelines(f"{tx.serialize().hex()}\n" for tx in new)
        _put(self, package, future)

    put_in_place_of(ElectrumBroadcaster, "_put", noting)


def check_broadcasts(file: Path, net: Regtest, never_funded: Collection[str] = ()) -> int:
    """Answers with how many transactions were judged by the script check, because the node never had them.

    What spends a transaction of `never_funded` (ids) cannot be judged: nobody has that.
    """
    if not file.exists():
        return 0
    txs = {tx.txid: tx for tx in map(Transaction.parse, map(bytes.fromhex, file.read_text().split()))}
    judged = 0
    for tx in txs.values():
        if txid_hex(tx.txid) in net.node.seen_txids:
            continue
        if any(txid_hex(txin.prevout.txid) in never_funded for txin in tx.inputs):
            continue
        check_transaction(tx, [_spent(txin.prevout.txid, txin.prevout.vout, txs, net) for txin in tx.inputs])
        judged += 1
    return judged


def came_too_late(file: Path, net: Regtest, txid: str) -> bool:
    """Whether the chain has an earlier version of it: blocks that are mined at once come faster than servers tell of
    them, so that a wallet offers more for what has confirmed."""
    earlier: list[Transaction] = []
    for tx in map(Transaction.parse, map(bytes.fromhex, file.read_text().split())):
        if txid_hex(tx.txid) == txid:
            spent = {txin.prevout for other in earlier for txin in other.inputs if _is_confirmed(other, net)}
            return any(txin.prevout in spent for txin in tx.inputs)
        earlier.append(tx)
    return False


def was_made_anew(file: Path, net: Regtest, txid: str) -> bool:
    """Whether it wanted the coin of another claim that was made in the same moment, before the wallet could see that
    one wait, and what it claims was claimed by a later one: the next block or tick tries again with another coin."""
    txs = [Transaction.parse(raw) for raw in map(bytes.fromhex, file.read_text().split())]
    place = next(place for place, tx in enumerate(txs) if txid_hex(tx.txid) == txid)
    claimed, *coins = (txin.prevout for txin in txs[place].inputs)
    before = {txin.prevout for tx in txs[:place] for txin in tx.inputs}
    after = [tx for tx in txs[place + 1 :] if claimed in {txin.prevout for txin in tx.inputs}]
    return (
        claimed not in before and not before.isdisjoint(coins) and any(_is_confirmed(tx, net) for tx in after)
    )


def _is_confirmed(tx: Transaction, net: Regtest) -> bool:
    try:
        return bool(net.node.rpc("getrawtransaction", txid_hex(tx.txid), 1).get("confirmations"))
    except RPCError:
        return False


def _spent(txid: Txid, vout: int, txs: dict[Txid, Transaction], net: Regtest) -> TxOut:
    parent = txs.get(txid)
    if parent is None:
        parent = Transaction.parse(bytes.fromhex(net.node.rpc("getrawtransaction", txid_hex(txid))))
    return parent.outputs[vout]
