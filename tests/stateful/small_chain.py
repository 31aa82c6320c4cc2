"""A small chain for the stateful tests: blocks, a mempool with replacement, and coins that need no key.

Every transaction that reaches the mempool runs through Bitcoin Core's script engine; lock times, absolute and
relative, have to have come. A conflict replaces what it conflicts with when it pays more, as in any relay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.consensus import check_transaction
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.script import op_return
from wallet.bitcoin.tx import (
    BlockHash,
    BlockHeader,
    OutPoint,
    Transaction,
    Txid,
    TxIn,
    TxOut,
)
from wallet.ln.bump_transaction import CoinSelection, MustSpend, NotEnoughCoins, Utxo

OP_TRUE = b"\x51"
OP_TRUE_SCRIPT = b"\x00\x20" + sha256(OP_TRUE)
"""Pays to whoever likes to have it."""

_LOCK_TIME_IS_TIME = 500_000_000
_SEQUENCE_DISABLED = 1 << 31
_SEQUENCE_IS_TIME = 1 << 22

# A commitment hides its number in its lock time, which is a time long past, and in its sequence.
_PAST = 0x21000000


@dataclass(frozen=True)
class Block:
    header: BlockHeader
    txs: tuple[Transaction, ...]


class SmallChain:
    """Block 0 is empty; heights are indices.

    Attributes:
        unspent: outputs of confirmed transactions.
        mempool: in an order in which a block can take them.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.unspent: dict[OutPoint, TxOut] = {}
        self.confirmed_at: dict[Txid, int] = {}
        self.mempool: dict[Txid, Transaction] = {}
        self.fees_sat: dict[Txid, int] = {}
        self._append(())

    def copy(self) -> SmallChain:
        other = SmallChain()
        other.blocks = list(self.blocks)
        other.unspent = dict(self.unspent)
        other.confirmed_at = dict(self.confirmed_at)
        other.mempool = dict(self.mempool)
        other.fees_sat = dict(self.fees_sat)
        return other

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    def tip_at(self, height: int) -> tuple[BlockHash, int]:
        return self.blocks[height].header.hash, height

    def _append(self, txs: tuple[Transaction, ...]) -> None:
        before = self.blocks[-1].header.hash if self.blocks else BlockHash(bytes(32))
        root = sha256(b"".join(tx.txid for tx in txs))
        # The time stands still: no payment expires by the clock.
        self.blocks.append(Block(BlockHeader(0x20000000, before, root, 1_700_000_000, 0x207FFFFF, 0), txs))

    def spender_of(self, outpoint: OutPoint | None) -> Transaction | None:
        for block in reversed(self.blocks):
            for tx in block.txs:
                if any(txin.prevout == outpoint for txin in tx.inputs):
                    return tx
        return None

    def mine_directly(self, tx: Transaction) -> None:
        """A transaction out of thin air, for setting up."""
        self._confirm((tx,))

    def _confirm(self, txs: tuple[Transaction, ...]) -> None:
        self._append(txs)
        for tx in txs:
            self.confirmed_at[tx.txid] = self.height
            for txin in tx.inputs:
                self.unspent.pop(txin.prevout, None)
            for vout, output in enumerate(tx.outputs):
                self.unspent[OutPoint(tx.txid, vout)] = output

    def mine(self, count: int) -> tuple[Transaction, ...]:
        """The mempool goes into the first block; answers with it."""
        txs = tuple(self.mempool.values())
        self.mempool.clear()
        self._confirm(txs)
        for _ in range(count - 1):
            self._append(())
        return txs

    # --- mempool ---

    def relay(self, tx: Transaction) -> bool:
        """Judges a transaction as a node of the network would; whether it is new in the mempool."""
        if tx.txid in self.confirmed_at or tx.txid in self.mempool:
            return False
        spent = self._spent_outputs(tx)
        if spent is None:
            return False
        self._check_lock_times(tx)
        check_transaction(tx, spent)
        fee_sat = sum(output.value_sat for output in spent) - tx.total_output_sat
        replaced = self._conflicts(tx)
        if any(txin.prevout.txid in replaced for txin in tx.inputs):
            return False
        if replaced and fee_sat <= sum(self.fees_sat[txid] for txid in replaced):
            return False
        for txid in replaced:
            del self.mempool[txid]
        self.mempool[tx.txid] = tx
        self.fees_sat[tx.txid] = fee_sat
        return True

    def _spent_outputs(self, tx: Transaction) -> list[TxOut] | None:
        found: list[TxOut] = []
        for txin in tx.inputs:
            prevout = txin.prevout
            parent = self.mempool.get(prevout.txid)
            if parent is not None:
                found.append(parent.outputs[prevout.vout])
            elif prevout in self.unspent:
                found.append(self.unspent[prevout])
            else:
                return None
        return found

    def _check_lock_times(self, tx: Transaction) -> None:
        next_height = self.height + 1
        if any(txin.sequence != 0xFFFFFFFF for txin in tx.inputs):
            if tx.lock_time < _LOCK_TIME_IS_TIME:
                assert tx.lock_time < next_height, f"lock time {tx.lock_time} has not come at {self.height}"
            else:
                assert tx.lock_time < _PAST, "a transaction that waits for a time"
        for txin in tx.inputs:
            if tx.version < 2 or txin.sequence & _SEQUENCE_DISABLED:
                continue
            assert not txin.sequence & _SEQUENCE_IS_TIME, "a relative lock time in seconds"
            wait = txin.sequence & 0xFFFF
            if wait:
                since = self.confirmed_at.get(txin.prevout.txid, next_height)
                assert since + wait <= next_height, (
                    f"sequence {wait} of {txin.prevout} has not come at {self.height}"
                )

    def _conflicts(self, tx: Transaction) -> set[Txid]:
        spent = {txin.prevout for txin in tx.inputs}
        gone: set[Txid] = set()
        for txid, other in self.mempool.items():
            if any(txin.prevout in spent or txin.prevout.txid in gone for txin in other.inputs):
                gone.add(txid)
        return gone


class Coins:
    """A wallet of coins that anyone can spend: `CoinSelectionSource` for the fees of claims."""

    def __init__(self, coins: Iterable[tuple[OutPoint, TxOut]]) -> None:
        self.coins = dict(coins)
        self._claim_of: dict[OutPoint, bytes] = {}

    def block_connected(self, txs: Iterable[Transaction]) -> None:
        for tx in txs:
            for txin in tx.inputs:
                if self.coins.pop(txin.prevout, None) is not None:
                    self._claim_of.pop(txin.prevout, None)
                    # Change belongs to whoever spent.
                    for vout, output in enumerate(tx.outputs):
                        if output.script_pubkey == OP_TRUE_SCRIPT:
                            self.coins[OutPoint(tx.txid, vout)] = output

    def select_confirmed_utxos(
        self,
        claim_id: bytes,
        must_spend: Sequence[MustSpend],
        must_pay_to: Sequence[TxOut],
        target_feerate_sat_per_kw: int,
    ) -> CoinSelection:
        change_weight = 4 * (9 + len(OP_TRUE_SCRIPT))
        weight = 4 * 10 + 2 + change_weight
        weight += sum(164 + item.satisfaction_weight for item in must_spend)
        weight += sum(4 * (9 + len(output.script_pubkey)) for output in must_pay_to)
        have_sat = sum(item.value_sat for item in must_spend)
        need_sat = sum(output.value_sat for output in must_pay_to)
        own = [outpoint for outpoint in self.coins if self._claim_of.get(outpoint) == claim_id]
        free = [outpoint for outpoint in self.coins if outpoint not in self._claim_of]
        chosen: list[Utxo] = []
        for outpoint in (*own, *free):
            output = self.coins[outpoint]
            chosen.append(Utxo(outpoint=outpoint, output=output, satisfaction_weight=3))
            weight += 164 + 3
            have_sat += output.value_sat
            change_sat = have_sat - need_sat - -(-weight * target_feerate_sat_per_kw // 1000)
            if change_sat >= 330:
                for utxo in chosen:
                    self._claim_of[utxo.outpoint] = claim_id
                return CoinSelection(
                    confirmed_utxos=tuple(chosen), change_output=TxOut(change_sat, OP_TRUE_SCRIPT)
                )
        raise NotEnoughCoins

    def sign_inputs(self, tx: Transaction, spent_outputs: Sequence[TxOut]) -> Transaction:
        for index, output in enumerate(spent_outputs):
            if output.script_pubkey == OP_TRUE_SCRIPT:
                tx = tx.with_witness(index, (OP_TRUE,))
        return tx


def thin_air(number: int, outputs: tuple[TxOut, ...]) -> Transaction:
    """A transaction whose input never was, for setting up."""
    prevout = OutPoint(Txid(sha256(b"thin air" + number.to_bytes(4, "big"))), 0)
    return Transaction(2, (TxIn(prevout, witness=(OP_TRUE,)),), (*outputs, TxOut(0, op_return(b""))), 0)
