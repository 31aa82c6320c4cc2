"""A small regtest chain in this process: mempool, mining, reorganisations, a faucet.

Theory of operation. The chain is one list of blocks, with what is needed to take each back. A transaction
gets into the mempool by the rules that matter to a Lightning wallet, and is refused in the words that
Bitcoin Core uses: coins that exist, maturity, lock times (absolute and relative), fees, dust, replacement,
long chains of unconfirmed transactions, packages of a child with its parents, and scripts, judged by
Bitcoin Core's kernel where that is installed. Blocks are real regtest blocks: proof of work (two tries on
average), merkle root, witness commitment.

Everything is synchronous and belongs to one thread. Listeners are told which scripts a change touched.

With a path the chain lives on: blocks are appended to a file and connected again at the next start.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wallet.bitcoin.address import REGTEST, Network, address_to_script
from wallet.bitcoin.curve import pubkey_from_secret, sign_ecdsa, signature_to_der
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.hashes import sha256, sha256d
from wallet.bitcoin.script import (
    dust_limit_sat,
    is_op_return,
    number,
    p2wpkh,
    p2wpkh_script_code,
    push,
    script_hash_electrum,
)
from wallet.bitcoin.tx import (
    LOCKTIME_THRESHOLD,
    NULL_OUTPOINT,
    SEQUENCE_DISABLE_FLAG,
    SEQUENCE_FINAL,
    SEQUENCE_SECONDS_FLAG,
    SIGHASH_ALL,
    BlockHash,
    BlockHeader,
    OutPoint,
    Transaction,
    Txid,
    TxIn,
    TxOut,
    compact_size,
    read_compact_size,
    sighash_segwit_v0,
    txid_hex,
)
from wallet.sandbox import consensus
from wallet.sandbox.consensus import BlockJudge

__all__ = ["Block", "SandboxChain", "TxRejected"]

COIN_SAT = 100_000_000
HALVING_BLOCKS = 150
"""Regtest's."""
MATURITY_BLOCKS = 100
FIRST_BLOCKS = 110
"""Mined at the start: ten mature rewards, and the time between them as on the real chain."""
BLOCK_SECONDS = 600
BITS = 0x207FFFFF
MIN_RELAY_SAT_PER_KVB = 1_000
INCREMENTAL_SAT_PER_KVB = 1_000
MAX_STANDARD_WEIGHT = 400_000
MAX_ANCESTORS = 25
MAX_REPLACED = 100
MIN_TX_BYTES = 65
BLOCK_WEIGHT = 3_900_000
SEQUENCE_SECONDS_STEP = 512
FAUCET_SECRET = sha256(b"the sandbox's faucet: this money is worth nothing")
FAUCET_FEE_SAT_PER_VB = 2
FAUCET_SPLIT = 20


class TxRejected(Exception):
    """The mempool does not take a transaction; the message is the reason in Bitcoin Core's words."""


@dataclass(frozen=True, slots=True)
class Coin:
    """An unspent output.

    Attributes:
        height: of the block that made it; one above the tip for the mempool's.
    """

    output: TxOut
    height: int
    is_coinbase: bool


@dataclass(frozen=True, slots=True)
class Block:
    header: BlockHeader
    txs: tuple[Transaction, ...]

    def serialize(self) -> bytes:
        return (
            self.header.serialize()
            + compact_size(len(self.txs))
            + b"".join(tx.serialize() for tx in self.txs)
        )

    @property
    def hash(self) -> BlockHash:
        return self.header.hash


@dataclass(slots=True)
class Entry:
    """One transaction of the mempool.

    Attributes:
        arrival: mining takes them in this order, parents before children.
        scripts: all that it pays to or spends from.
    """

    tx: Transaction
    fee_sat: int
    arrival: int
    scripts: set[bytes]

    @property
    def vsize_vbytes(self) -> int:
        return self.tx.vsize_vbytes


Listener = Callable[[set[bytes], bool], None]


@dataclass(slots=True)
class _Undo:
    """What connecting a block took away, and which scripts it touched."""

    spent: dict[OutPoint, Coin] = field(default_factory=dict)
    touched: set[bytes] = field(default_factory=set)


class SandboxChain:
    """The chain.

    Attributes:
        blocks: from the genesis block on.
        mempool: by id, in the order of arrival.
        listeners: called with the touched scripts and whether the tip changed.
    """

    def __init__(
        self,
        *,
        network: Network = REGTEST,
        clock: Callable[[], int] | None = None,
        path: Path | None = None,
        judge_directory: Path | None = None,
        first_blocks: int = FIRST_BLOCKS,
        mempool_minimum_sat_per_kvb: int = MIN_RELAY_SAT_PER_KVB,
    ) -> None:
        """`judge_directory`: where Bitcoin Core's kernel keeps a chain state to judge our blocks; None: it
        does not."""
        self.network = network
        self.mempool: dict[Txid, Entry] = {}
        self.listeners: list[Listener] = []
        self.mempool_minimum_sat_per_kvb = mempool_minimum_sat_per_kvb
        self.estimate_sat_per_kvb: int | None = None
        self._clock = clock if clock is not None else _now_at
        self._judge = BlockJudge(judge_directory) if judge_directory is not None else None
        self._coins: dict[OutPoint, Coin] = {}
        self._spent_by: dict[OutPoint, Txid] = {}
        self._undo: list[_Undo] = [_Undo()]
        self._history: dict[bytes, list[tuple[int, Txid]]] = {}
        self._txs: dict[Txid, tuple[Transaction, int]] = {}
        self._script_hashes: dict[str, bytes] = {}
        self._known_scripts: set[bytes] = set()
        self._arrivals = 0
        self._salt = 0
        self._path = path
        self.blocks: list[Block] = [Block(network.genesis_header, ())]
        self._faucet_script = p2wpkh(pubkey_from_secret(FAUCET_SECRET))
        if path is not None:
            self._load(path)
        if self.height < first_blocks:
            count = first_blocks - self.height
            start_at = self._clock() - count * BLOCK_SECONDS
            for i in range(count):
                self._mine_one(self._faucet_script, [], start_at + i * BLOCK_SECONDS)

    # --- reading ---

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    @property
    def tip(self) -> Block:
        return self.blocks[-1]

    def transaction(self, txid: Txid) -> Transaction | None:
        """From the mempool or a block."""
        entry = self.mempool.get(txid)
        if entry is not None:
            return entry.tx
        found = self._txs.get(txid)
        return found[0] if found is not None else None

    def height_of(self, txid: Txid) -> int | None:
        """Of the block that holds it."""
        found = self._txs.get(txid)
        return found[1] if found is not None else None

    def history(self, script_pubkey: bytes) -> list[tuple[Txid, int]]:
        """As an Electrum server tells it: blocks first, then the mempool (0, or -1 with a parent there)."""
        confirmed = [(txid, height) for height, txid in self._history.get(script_pubkey, [])]
        waiting = []
        for txid, entry in self.mempool.items():
            if script_pubkey in entry.scripts:
                has_parent = any(txin.prevout.txid in self.mempool for txin in entry.tx.inputs)
                waiting.append((txid, -1 if has_parent else 0))
        return confirmed + waiting

    def script_of(self, script_hash: str) -> bytes | None:
        """The script that an Electrum client names by its hash, once the chain or the mempool has seen it."""
        return self._script_hashes.get(script_hash)

    def _learn(self, scripts: Iterable[bytes]) -> None:
        for script in scripts:
            if script not in self._known_scripts:
                self._known_scripts.add(script)
                self._script_hashes[script_hash_electrum(script)] = script

    def unspent(self, script_pubkey: bytes) -> list[tuple[OutPoint, Coin]]:
        """The script's outputs, those in the mempool (height 0) included, without the ones that it spends."""
        found = []
        for txid, _height in self.history(script_pubkey):
            tx = self.transaction(txid)
            for vout, output in enumerate(tx.outputs if tx is not None else ()):
                outpoint = OutPoint(txid, vout)
                if output.script_pubkey != script_pubkey or outpoint in self._spent_by:
                    continue
                coin = self._coins.get(outpoint)
                if coin is not None:
                    found.append((outpoint, coin))
                elif txid in self.mempool:
                    found.append((outpoint, Coin(output, 0, False)))
        return found

    def spender(self, outpoint: OutPoint) -> Transaction | None:
        """Which transaction, mined or waiting, spends an output."""
        txid = self._spent_by.get(outpoint)
        if txid is not None:
            return self.mempool[txid].tx
        for block in reversed(self.blocks):
            for tx in block.txs:
                if any(txin.prevout == outpoint for txin in tx.inputs):
                    return tx
        return None

    def median_time_at(self) -> int:
        """Of the last eleven blocks: the clock of lock times."""
        times_at = sorted(block.header.time_at for block in self.blocks[-11:])
        return times_at[len(times_at) // 2]

    def fee_of(self, txid: Txid) -> int:
        return self.mempool[txid].fee_sat

    def mempool_txids(self) -> list[Txid]:
        return list(self.mempool)

    # --- the mempool ---

    def send(self, tx: Transaction) -> Txid:
        """Takes a transaction into the mempool; TxRejected otherwise."""
        touched = self._accept(tx, package_fee=None)
        self._tell(touched, tip_changed=False)
        return tx.txid

    def send_package(self, txs: Sequence[Transaction]) -> None:
        """A child with its parents, whose fees are judged together; TxRejected, and none is taken,
        otherwise."""
        before = dict(self.mempool), dict(self._spent_by)
        touched: set[bytes] = set()
        new = [tx for tx in txs if tx.txid not in self.mempool]
        try:
            fee_sat, outputs = 0, {}
            for tx in txs:
                outputs.update({tx.outpoint(i): output for i, output in enumerate(tx.outputs)})
            for tx in new:
                spent_sat = 0
                for txin in tx.inputs:
                    coin = self._coin(txin.prevout)
                    output = coin.output if coin is not None else outputs.get(txin.prevout)
                    spent_sat += output.value_sat if output is not None else 0
                fee_sat += spent_sat - tx.total_output_sat
            vsize_vbytes = sum(tx.vsize_vbytes for tx in new)
            for tx in new:
                touched |= self._accept(tx, package_fee=(fee_sat, vsize_vbytes))
        except TxRejected:
            self.mempool, self._spent_by = before
            raise
        self._tell(touched, tip_changed=False)

    def _accept(self, tx: Transaction, package_fee: tuple[int, int] | None) -> set[bytes]:
        self._check_form(tx)
        conflicts: dict[Txid, None] = {}
        spent: list[TxOut] = []
        for txin in tx.inputs:
            coin = self._coin(txin.prevout)
            if coin is None:
                raise TxRejected("bad-txns-inputs-missingorspent")
            rival = self._spent_by.get(txin.prevout)
            if rival is not None:
                conflicts[rival] = None
            if coin.is_coinbase and self.height + 1 - coin.height < MATURITY_BLOCKS:
                raise TxRejected("bad-txns-premature-spend-of-coinbase")
            spent.append(coin.output)
        self._check_locks(tx)
        fee_sat = sum(output.value_sat for output in spent) - tx.total_output_sat
        if fee_sat < 0:
            raise TxRejected("bad-txns-in-belowout")
        paid_sat, size_vbytes = package_fee if package_fee is not None else (fee_sat, tx.vsize_vbytes)
        if paid_sat * 1000 < self.mempool_minimum_sat_per_kvb * size_vbytes:
            above_relay = self.mempool_minimum_sat_per_kvb > MIN_RELAY_SAT_PER_KVB
            words = "mempool min fee not met" if above_relay else "min relay fee not met"
            wanted_sat = -(-self.mempool_minimum_sat_per_kvb * size_vbytes // 1000)
            raise TxRejected(f"{words}, {paid_sat} < {wanted_sat}")
        replaced = self._check_replacement(tx, fee_sat, list(conflicts))
        ancestors = self._ancestors(tx)
        if len(ancestors - replaced) + 1 > MAX_ANCESTORS:
            raise TxRejected("too-long-mempool-chain, too many unconfirmed ancestors [limit: 25]")
        bad = consensus.failing_input(tx, spent)
        if bad is not None:
            raise TxRejected(f"mandatory-script-verify-flag-failed (input {bad})")
        touched = set()
        for txid in replaced:
            touched |= self._remove(txid)
        self._arrivals += 1
        entry = Entry(tx, fee_sat, self._arrivals, self._scripts_of(tx))
        self.mempool[tx.txid] = entry
        for txin in tx.inputs:
            self._spent_by[txin.prevout] = tx.txid
        self._learn(entry.scripts)
        return touched | entry.scripts

    def _check_form(self, tx: Transaction) -> None:
        if tx.txid in self.mempool:
            raise TxRejected("txn-already-in-mempool")
        if tx.txid in self._txs:
            raise TxRejected("Transaction outputs already in utxo set")
        if not tx.inputs or not tx.outputs:
            raise TxRejected("bad-txns-vin-empty" if not tx.inputs else "bad-txns-vout-empty")
        if tx.is_coinbase:
            raise TxRejected("coinbase")
        if len({txin.prevout for txin in tx.inputs}) != len(tx.inputs):
            raise TxRejected("bad-txns-inputs-duplicate")
        if tx.version not in (1, 2, 3):
            raise TxRejected("version")
        if tx.weight > MAX_STANDARD_WEIGHT:
            raise TxRejected("tx-size")
        if len(tx.serialize(witness=False)) < MIN_TX_BYTES:
            raise TxRejected("tx-size-small")
        for output in tx.outputs:
            if not is_op_return(output.script_pubkey):
                if output.value_sat < dust_limit_sat(output.script_pubkey):
                    raise TxRejected("dust")

    def _check_locks(self, tx: Transaction) -> None:
        """Whether the next block may hold it: absolute (BIP 113) and relative (BIP 68) lock times."""
        next_height, median_at = self.height + 1, self.median_time_at()
        if tx.lock_time and any(txin.sequence != SEQUENCE_FINAL for txin in tx.inputs):
            by_height = tx.lock_time < LOCKTIME_THRESHOLD
            if tx.lock_time >= (next_height if by_height else median_at):
                raise TxRejected("non-final")
        if tx.version < 2:
            return
        for txin in tx.inputs:
            if txin.sequence & SEQUENCE_DISABLE_FLAG:
                continue
            coin = self._coin(txin.prevout)
            if coin is None:
                raise TxRejected("bad-txns-inputs-missingorspent")
            wait = txin.sequence & 0xFFFF
            if txin.sequence & SEQUENCE_SECONDS_FLAG:
                made_at = self._median_time_before(coin.height)
                if made_at + wait * SEQUENCE_SECONDS_STEP > median_at:
                    raise TxRejected("non-BIP68-final")
            elif coin.height + wait > next_height:
                raise TxRejected("non-BIP68-final")

    def _median_time_before(self, height: int) -> int:
        times_at = sorted(block.header.time_at for block in self.blocks[max(0, height - 11) : height])
        return times_at[len(times_at) // 2] if times_at else 0

    def _check_replacement(self, tx: Transaction, fee_sat: int, conflicts: list[Txid]) -> set[Txid]:
        """What the transaction pushes out; as Bitcoin Core's rules of today: every transaction is
        replaceable."""
        if not conflicts:
            return set()
        replaced: set[Txid] = set()
        for txid in conflicts:
            replaced |= {txid} | self._descendants(txid)
        if len(replaced) > MAX_REPLACED:
            raise TxRejected("too many potential replacements")
        if any(txin.prevout.txid in replaced for txin in tx.inputs):
            raise TxRejected("bad-txns-spends-conflicting-tx")
        for txid in conflicts:
            rival = self.mempool[txid]
            if fee_sat * rival.vsize_vbytes <= rival.fee_sat * tx.vsize_vbytes:
                raise TxRejected("insufficient fee, rejecting replacement; new feerate <= old feerate")
        old_fees_sat = sum(self.mempool[txid].fee_sat for txid in replaced)
        if fee_sat < old_fees_sat:
            raise TxRejected("insufficient fee, rejecting replacement, less fees than conflicting txs")
        if (fee_sat - old_fees_sat) * 1000 < INCREMENTAL_SAT_PER_KVB * tx.vsize_vbytes:
            raise TxRejected("insufficient fee, rejecting replacement, not enough additional fees to relay")
        return replaced

    def _coin(self, outpoint: OutPoint) -> Coin | None:
        """An output of the chain or the mempool, whether or not the mempool spends it."""
        coin = self._coins.get(outpoint)
        if coin is not None:
            return coin
        entry = self.mempool.get(outpoint.txid)
        if entry is None or outpoint.vout >= len(entry.tx.outputs):
            return None
        return Coin(entry.tx.outputs[outpoint.vout], self.height + 1, False)

    def _ancestors(self, tx: Transaction) -> set[Txid]:
        found: set[Txid] = set()
        stack = [txin.prevout.txid for txin in tx.inputs]
        while stack:
            txid = stack.pop()
            if txid in self.mempool and txid not in found:
                found.add(txid)
                stack += [txin.prevout.txid for txin in self.mempool[txid].tx.inputs]
        return found

    def _descendants(self, txid: Txid) -> set[Txid]:
        found: set[Txid] = set()
        stack = [txid]
        while stack:
            tx = self.mempool[stack.pop()].tx
            for vout in range(len(tx.outputs)):
                child = self._spent_by.get(tx.outpoint(vout))
                if child is not None and child not in found:
                    found.add(child)
                    stack.append(child)
        return found

    def _remove(self, txid: Txid) -> set[bytes]:
        """Takes one transaction out of the mempool; its descendants are the caller's to remove."""
        entry = self.mempool.get(txid)
        if entry is None:
            return set()
        touched = set(entry.scripts)
        del self.mempool[txid]
        for txin in entry.tx.inputs:
            if self._spent_by.get(txin.prevout) == txid:
                del self._spent_by[txin.prevout]
        return touched

    def evict(self, txid: Txid) -> None:
        """The mempool forgets a transaction, and what depends on it, as a full one would."""
        touched: set[bytes] = set()
        for gone in [*self._descendants(txid), txid]:
            touched |= self._remove(gone)
        self._tell(touched, tip_changed=False)

    def _scripts_of(self, tx: Transaction) -> set[bytes]:
        """Every script that the transaction pays to or spends from."""
        scripts = {output.script_pubkey for output in tx.outputs}
        for txin in tx.inputs:
            parent = self.transaction(txin.prevout.txid)
            if parent is not None and txin.prevout.vout < len(parent.outputs):
                scripts.add(parent.outputs[txin.prevout.vout].script_pubkey)
        return scripts

    # --- mining ---

    def mine(
        self, n: int = 1, *, address: str | None = None, txs: Iterable[Transaction] | None = None
    ) -> list[BlockHash]:
        """Mines blocks; the mempool goes into the first, unless `txs` names what does (may be nothing)."""
        script = self._faucet_script if address is None else address_to_script(address, self.network)
        mined: list[BlockHash] = []
        touched: set[bytes] = set()
        for i in range(n):
            chosen = self._template() if txs is None else (list(txs) if i == 0 else [])
            touched |= self._mine_one(script, chosen, self._clock())
            mined.append(self.tip.hash)
        self._tell(touched, tip_changed=True)
        return mined

    def _template(self) -> list[Transaction]:
        chosen: list[Transaction] = []
        weight = 0
        for entry in sorted(self.mempool.values(), key=lambda entry: entry.arrival):
            if weight + entry.tx.weight <= BLOCK_WEIGHT:
                chosen.append(entry.tx)
                weight += entry.tx.weight
        return chosen

    def _mine_one(self, script: bytes, txs: list[Transaction], time_at: int) -> set[bytes]:
        height = self.height + 1
        fees_sat = 0
        made: dict[OutPoint, TxOut] = {}
        for tx in txs:
            for txin in tx.inputs:
                coin = self._coins.get(txin.prevout)
                output = coin.output if coin is not None else made[txin.prevout]
                fees_sat += output.value_sat
            fees_sat -= tx.total_output_sat
            made.update({tx.outpoint(i): output for i, output in enumerate(tx.outputs)})
        reward_sat = (50 * COIN_SAT >> height // HALVING_BLOCKS) + fees_sat
        # BIP 141: the coinbase commits to every witness of the block.
        reserved = bytes(32)
        witness_root = _merkle_root([bytes(32), *(tx.wtxid for tx in txs)])
        commitment = bytes.fromhex("6a24aa21a9ed") + sha256d(witness_root + reserved)
        # Another salt each time, so that a replaced block is another one.
        self._salt += 1
        coinbase = Transaction(
            version=2,
            inputs=(
                TxIn(
                    NULL_OUTPOINT,
                    number(height) + push(struct.pack("<Q", self._salt)),
                    0xFFFFFFFF,
                    (reserved,),
                ),
            ),
            outputs=(TxOut(reward_sat, script), TxOut(0, commitment)),
        )
        block_txs = (coinbase, *txs)
        root = _merkle_root([tx.txid for tx in block_txs])
        time_at = max(time_at, self.median_time_at() + 1)
        nonce = 0
        while True:
            header = BlockHeader(0x20000000, self.tip.hash, root, time_at, BITS, nonce)
            if header.meets_target:
                break
            nonce += 1
        return self._connect(Block(header, block_txs))

    def _connect(self, block: Block) -> set[bytes]:
        if self._judge is not None and not self._judge.accepts(block.serialize()):
            raise TxRejected("Bitcoin Core's kernel refuses this block")
        height = self.height + 1
        undo = _Undo()
        for index, tx in enumerate(block.txs):
            scripts = {output.script_pubkey for output in tx.outputs}
            for txin in tx.inputs if index else ():
                coin = self._coins.pop(txin.prevout)
                undo.spent[txin.prevout] = coin
                scripts.add(coin.output.script_pubkey)
                self._spent_by.pop(txin.prevout, None)
            for vout, output in enumerate(tx.outputs):
                if not is_op_return(output.script_pubkey):
                    self._coins[tx.outpoint(vout)] = Coin(output, height, index == 0)
            for script in scripts:
                self._history.setdefault(script, []).append((height, tx.txid))
            self._txs[tx.txid] = (tx, height)
            undo.touched |= scripts
        self._learn(undo.touched)
        self.blocks.append(block)
        self._undo.append(undo)
        touched = set(undo.touched)
        for tx in block.txs:
            self.mempool.pop(tx.txid, None)
        # Whatever waits and spends what the block spent can never be mined any more.
        for txid in [
            txid
            for txid, entry in self.mempool.items()
            if any(txin.prevout in undo.spent for txin in entry.tx.inputs)
        ]:
            if txid in self.mempool:
                for gone in [*self._descendants(txid), txid]:
                    touched |= self._remove(gone)
        self._rebuild_spent_by()
        if self._path is not None:
            raw = block.serialize()
            with self._path.open("ab") as file:
                file.write(struct.pack("<I", len(raw)) + raw)
        return touched

    def _disconnect(self) -> tuple[Block, set[bytes]]:
        block, undo, height = self.blocks.pop(), self._undo.pop(), len(self.blocks)
        for tx in block.txs:
            for vout in range(len(tx.outputs)):
                self._coins.pop(tx.outpoint(vout), None)
            del self._txs[tx.txid]
        for script in undo.touched:
            rows = [row for row in self._history[script] if row[0] != height]
            if rows:
                self._history[script] = rows
            else:
                del self._history[script]
        made_here = {tx.txid for tx in block.txs}
        self._coins.update({out: coin for out, coin in undo.spent.items() if out.txid not in made_here})
        return block, set(undo.touched)

    def reorganise(self, depth: int, *, blocks: int | None = None, empty: bool = False) -> list[BlockHash]:
        """Replaces the last `depth` blocks by `blocks` others (one more, if not said); their transactions
        go back to the mempool, and into the first new block unless `empty`.

        Fewer or as many blocks are possible too: what a node does after its tip was found invalid.
        """
        if not 0 < depth <= self.height:
            raise ValueError(f"the chain has {self.height} blocks to replace, not {depth}")
        touched: set[bytes] = set()
        returned: list[Transaction] = []
        for _ in range(depth):
            block, scripts = self._disconnect()
            touched |= scripts
            returned = [*block.txs[1:], *returned]
        waiting = [entry.tx for entry in self.mempool.values()]
        self.mempool, self._spent_by = {}, {}
        for tx in [*returned, *waiting]:
            # What depended on a reward that is gone, or is not final any more, is lost.
            try:
                touched |= self._accept(tx, package_fee=(1, 0))
            except TxRejected:
                touched |= self._scripts_of(tx)
        self._rewrite()
        mined = []
        for i in range(depth + 1 if blocks is None else blocks):
            chosen = self._template() if i == 0 and not empty else []
            touched |= self._mine_one(self._faucet_script, chosen, self._clock())
            mined.append(self.tip.hash)
        self._tell(touched, tip_changed=True)
        return mined

    def _rebuild_spent_by(self) -> None:
        self._spent_by = {
            txin.prevout: txid for txid, entry in self.mempool.items() for txin in entry.tx.inputs
        }

    # --- money for everybody ---

    def faucet(self, destination: str | bytes, amount_sat: int) -> str:
        """Sends play money to an address or a script; it confirms with the next block. The transaction's
        id."""
        if isinstance(destination, str):
            destination = address_to_script(destination, self.network)
        chosen: list[tuple[OutPoint, Coin]] = []
        total_sat, fee_sat = 0, 0
        # Confirmed coins first: a long chain of unconfirmed change would be refused.
        coins = sorted(
            self._faucet_coins(), key=lambda item: (item[1].height == 0, -item[1].output.value_sat)
        )
        for outpoint, coin in coins:
            chosen.append((outpoint, coin))
            total_sat += coin.output.value_sat
            fee_sat = (11 + 31 * (FAUCET_SPLIT + 2) + 68 * len(chosen)) * FAUCET_FEE_SAT_PER_VB
            if total_sat >= amount_sat + fee_sat:
                break
        change_sat = total_sat - amount_sat - fee_sat
        if change_sat < 0:
            raise TxRejected("the faucet is empty: mine some blocks")
        outputs = [TxOut(amount_sat, destination)]
        # Large change is split, so that the next calls have confirmed coins of their own.
        parts = FAUCET_SPLIT if change_sat > COIN_SAT else 1
        if change_sat // parts >= 1_000:
            outputs += [TxOut(change_sat // parts, self._faucet_script)] * parts
        tx = Transaction(
            2, tuple(TxIn(outpoint, sequence=0xFFFFFFFD) for outpoint, _ in chosen), tuple(outputs)
        )
        pubkey = pubkey_from_secret(FAUCET_SECRET)
        code = p2wpkh_script_code(self._faucet_script)
        signed = tx
        for i, (_, coin) in enumerate(chosen):
            digest = sighash_segwit_v0(tx, i, code, coin.output.value_sat, SIGHASH_ALL)
            signature = signature_to_der(sign_ecdsa(digest, FAUCET_SECRET)) + bytes([SIGHASH_ALL])
            signed = signed.with_witness(i, (signature, pubkey))
        return txid_hex(self.send(signed))

    def _faucet_coins(self) -> Iterator[tuple[OutPoint, Coin]]:
        for outpoint, coin in self.unspent(self._faucet_script):
            mature = not coin.is_coinbase or self.height + 1 - coin.height >= MATURITY_BLOCKS
            if mature and coin.output.value_sat > 1_000:
                yield outpoint, coin

    # --- copies, listeners, the file ---

    @classmethod
    def load(cls, folder: Path, *, network: Network = REGTEST) -> SandboxChain:
        """The chain of a folder, as it was when it was saved last; a new one with its first blocks
        otherwise."""
        chain = cls(network=network, path=folder / "blocks")
        waiting = folder / "mempool"
        raw, offset = waiting.read_bytes() if waiting.exists() else b"", 0
        while offset < len(raw):
            try:
                end = _transaction_end(raw, offset)
                chain.send(Transaction.parse(raw[offset:end]))
            except DecodeError:
                break
            except TxRejected:
                # Mined or replaced meanwhile.
                pass
            offset = end
        return chain

    def save(self) -> None:
        """Blocks are in the file already; this keeps what still waits for one."""
        if self._path is not None:
            entries = sorted(self.mempool.values(), key=lambda entry: entry.arrival)
            self._path.with_name("mempool").write_bytes(b"".join(entry.tx.serialize() for entry in entries))

    def clone(self) -> SandboxChain:
        """Another chain with the same past, which goes its own way from here; nobody listens to it."""
        other = SandboxChain(network=self.network, clock=self._clock, first_blocks=0)
        for block in self.blocks[1:]:
            other._connect(block)
        other._salt = self._salt + 1_000_000
        return other

    def _tell(self, touched: set[bytes], *, tip_changed: bool) -> None:
        for listener in list(self.listeners):
            listener(touched, tip_changed)

    def _rewrite(self) -> None:
        if self._path is not None:
            self._path.write_bytes(
                b"".join(
                    struct.pack("<I", len(raw)) + raw
                    for raw in (block.serialize() for block in self.blocks[1:])
                )
            )

    def _load(self, path: Path) -> None:
        """Connects the blocks of the file; one that was not written whole ends it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes() if path.exists() else b""
        self._path = None
        offset = 0
        while offset + 4 <= len(data):
            (length,) = struct.unpack_from("<I", data, offset)
            raw = data[offset + 4 : offset + 4 + length]
            try:
                block = parse_block(raw)
                if block.header.prev_hash != self.tip.hash or not block.header.meets_target:
                    break
                self._connect(block)
            except (DecodeError, KeyError):
                break
            offset += 4 + length
        self._salt = int.from_bytes(self.tip.hash[:6], "little")
        path.write_bytes(data[:offset])
        self._path = path


def parse_block(raw: bytes) -> Block:
    """Reads a block. DecodeError on anything else."""
    header = BlockHeader.parse(raw[:80])
    count, offset = read_compact_size(raw, 80)
    txs = []
    for _ in range(count):
        end = _transaction_end(raw, offset)
        txs.append(Transaction.parse(raw[offset:end]))
        offset = end
    if offset != len(raw):
        raise DecodeError("There are bytes behind the block.")
    if _merkle_root([tx.txid for tx in txs]) != header.merkle_root:
        raise DecodeError("The block's transactions are not those of its header.")
    return Block(header, tuple(txs))


def _transaction_end(raw: bytes, offset: int) -> int:
    """Where a transaction that stands inside a block ends."""
    at = offset + 4
    extended = raw[at : at + 2] == b"\x00\x01"
    at += 2 if extended else 0
    inputs, at = read_compact_size(raw, at)
    for _ in range(inputs):
        length, at = read_compact_size(raw, at + 36)
        at += length + 4
    outputs, at = read_compact_size(raw, at)
    for _ in range(outputs):
        length, at = read_compact_size(raw, at + 8)
        at += length
    for _ in range(inputs if extended else 0):
        items, at = read_compact_size(raw, at)
        for _ in range(items):
            length, at = read_compact_size(raw, at)
            at += length
    at += 4
    if at > len(raw):
        raise DecodeError("The block is cut short.")
    return at


def _merkle_root(leaves: Sequence[bytes]) -> bytes:
    level = list(leaves)
    while len(level) > 1:
        if len(level) & 1:
            level.append(level[-1])
        level = [sha256d(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


def _now_at() -> int:
    return int(time.time())
