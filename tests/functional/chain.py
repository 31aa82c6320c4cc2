"""The chain that joined nodes share: blocks, a mempool with replacement, reorganisations.

Every transaction that is broadcast is judged by Bitcoin Core's script engine against the outputs that it spends, and
its lock times, absolute and relative, have to have come. What conflicts with the mempool replaces it if it pays more.
"""

from __future__ import annotations

from tests.consensus import check_transaction
from tests.functional.delivery import Block
from tests.stateful.small_chain import OP_TRUE, OP_TRUE_SCRIPT
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.script import p2wpkh
from wallet.bitcoin.tx import BlockHash, BlockHeader, OutPoint, Transaction, Txid, TxIn, TxOut
from wallet.chain.interfaces import TxInBlock

_LOCK_TIME_IS_TIME = 500_000_000
_SEQUENCE_DISABLED = 1 << 31
_SEQUENCE_IS_TIME = 1 << 22


class Chain:
    """Heights count from 1.

    Attributes:
        mempool: in an order in which a block can take them.
        broadcasts: every valid transaction that was ever sent, once, in order.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.mempool: dict[Txid, Transaction] = {}
        self.broadcasts: list[Transaction] = []
        self._sent: set[Txid] = set()
        self._outputs: dict[OutPoint, TxOut] = {}
        self._spent_by: dict[OutPoint, Txid] = {}
        self._confirmed_at: dict[Txid, int] = {}
        self._coins: set[Txid] = set()
        self._forks = 0

    @property
    def height(self) -> int:
        return len(self.blocks)

    @property
    def tip(self) -> tuple[BlockHash, int]:
        return self.blocks[-1].header.hash, self.height

    def is_confirmed(self, txid: Txid) -> bool:
        return txid in self._confirmed_at

    def spender_of(self, outpoint: OutPoint) -> Txid | None:
        """Which confirmed transaction spends it."""
        return self._spent_by.get(outpoint)

    # --- blocks ---

    def append_block(self, *, empty: bool = False) -> Block:
        """The next block, with whatever of the mempool can be in it."""
        height = self.height + 1
        txs: list[Transaction] = []
        if not empty:
            taken: set[Txid] = set()
            for txid, tx in self.mempool.items():
                parents = {txin.prevout.txid for txin in tx.inputs}
                whole = all(parent in taken or self._is_there(parent) for parent in parents)
                if whole and self._why_not_yet(tx) is None:
                    taken.add(txid)
                    txs.append(tx)
            for txid in taken:
                del self.mempool[txid]
        before = self.blocks[-1].header.hash if self.blocks else BlockHash(bytes(32))
        root = sha256(b"".join(tx.txid for tx in txs) + self._forks.to_bytes(4, "big"))
        header = BlockHeader(0x20000000, before, root, 1_700_000_000 + 600 * height, 0x207FFFFF, 0)
        block = Block(header, height, tuple(TxInBlock(index + 1, tx) for index, tx in enumerate(txs)))
        self.blocks.append(block)
        for tx in txs:
            self._confirmed_at[tx.txid] = height
            for txin in tx.inputs:
                self._spent_by[txin.prevout] = tx.txid
        return block

    def remove_blocks(self, depth: int, *, keep_transactions: bool) -> list[Block]:
        """Takes blocks off the tip; their transactions wait again, or never were."""
        self._forks += 1
        lost = self.blocks[-depth:]
        del self.blocks[-depth:]
        txs = [item.tx for block in lost for item in block.txs]
        for tx in txs:
            del self._confirmed_at[tx.txid]
            for txin in tx.inputs:
                del self._spent_by[txin.prevout]
        waited = list(self.mempool.values())
        self.mempool.clear()
        if keep_transactions:
            self.mempool.update({tx.txid: tx for tx in txs})
        for tx in waited:
            if all(
                self._is_there(txin.prevout.txid) or txin.prevout.txid in self.mempool for txin in tx.inputs
            ):
                self.mempool[tx.txid] = tx
        return lost

    # --- the mempool ---

    def broadcast(self, tx: Transaction) -> bool:
        """Judges a transaction as a node of the network would. Whether it is in the mempool now, and was not."""
        if tx.txid in self.mempool or tx.txid in self._confirmed_at:
            return False
        spent = []
        for txin in tx.inputs:
            assert txin.prevout in self._outputs, f"{tx.txid.hex()} spends an output that never was"
            spent.append(self._outputs[txin.prevout])
        check_transaction(tx, spent)
        for vout, output in enumerate(tx.outputs):
            self._outputs[OutPoint(tx.txid, vout)] = output
        if tx.txid not in self._sent:
            self._sent.add(tx.txid)
            self.broadcasts.append(tx)
        for txin in tx.inputs:
            parent = txin.prevout.txid
            if txin.prevout in self._spent_by or not (self._is_there(parent) or parent in self.mempool):
                return False
        too_early = self._why_not_yet(tx)
        assert too_early is None, too_early
        replaced = self._conflicts(tx)
        if any(txin.prevout.txid in replaced for txin in tx.inputs):
            return False
        if replaced and self.fee_sat(tx) <= sum(self.fee_sat(self.mempool[txid]) for txid in replaced):
            return False
        for txid in replaced:
            del self.mempool[txid]
        self.mempool[tx.txid] = tx
        return True

    def evict(self, txid: Txid) -> None:
        """Falls out of every mempool, with what descends from it."""
        for gone in (*self._descendants({txid}), txid):
            self.mempool.pop(gone, None)

    def fee_sat(self, tx: Transaction) -> int:
        return sum(self._outputs[txin.prevout].value_sat for txin in tx.inputs) - tx.total_output_sat

    def _is_there(self, txid: Txid) -> bool:
        return txid in self._confirmed_at or txid in self._coins

    def _conflicts(self, tx: Transaction) -> set[Txid]:
        spent = {txin.prevout for txin in tx.inputs}
        direct = {
            txid
            for txid, other in self.mempool.items()
            if any(txin.prevout in spent for txin in other.inputs)
        }
        return direct | self._descendants(direct)

    def _descendants(self, txids: set[Txid]) -> set[Txid]:
        found: set[Txid] = set()
        for txid, other in self.mempool.items():
            if any(txin.prevout.txid in txids or txin.prevout.txid in found for txin in other.inputs):
                found.add(txid)
        return found

    def _why_not_yet(self, tx: Transaction) -> str | None:
        """BIP 113 and BIP 68: why the next block cannot hold it."""
        next_height = self.height + 1
        if any(txin.sequence != 0xFFFFFFFF for txin in tx.inputs):
            # A commitment hides its number in a lock time that is a time long past.
            is_time = tx.lock_time >= _LOCK_TIME_IS_TIME
            if tx.lock_time >= (1_700_000_000 if is_time else next_height):
                return f"{tx.txid.hex()} is sent before its lock time {tx.lock_time} at height {self.height}"
        for txin in tx.inputs:
            if tx.version < 2 or txin.sequence & _SEQUENCE_DISABLED:
                continue
            assert not txin.sequence & _SEQUENCE_IS_TIME, "a relative lock time in seconds"
            wait = txin.sequence & 0xFFFF
            parent = txin.prevout.txid
            since = 0 if parent in self._coins else self._confirmed_at.get(parent, next_height)
            if wait and since + wait > next_height:
                return (
                    f"{tx.txid.hex()} is sent {since + wait - next_height} blocks before its sequence allows"
                )
        return None

    # --- coins out of thin air ---

    def coin(self, value_sat: int) -> tuple[OutPoint, TxOut]:
        """A confirmed coin that anyone can spend."""
        txid = Txid(sha256(b"coin" + len(self._coins).to_bytes(4, "big")))
        self._coins.add(txid)
        outpoint, output = OutPoint(txid, 0), TxOut(value_sat, OP_TRUE_SCRIPT)
        self._outputs[outpoint] = output
        return outpoint, output

    def fund(self, script_pubkey: bytes, value_sat: int) -> Transaction:
        """A transaction that pays to a script; its coin needs no signature."""
        prevout, _ = self.coin(value_sat + 10_000)
        change = TxOut(5_000, p2wpkh(b"\x02" * 33))
        tx = Transaction(
            2, (TxIn(prevout, witness=(OP_TRUE,)),), (change, TxOut(value_sat, script_pubkey)), 0
        )
        # Whoever knows the transaction may spend from it, be it that nobody has sent it yet.
        for vout, output in enumerate(tx.outputs):
            self._outputs[OutPoint(tx.txid, vout)] = output
        return tx
