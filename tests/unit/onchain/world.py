"""A world for the on-chain wallet: a chain of made-up blocks, rows in memory, and a filter that takes notes.

Every transaction that the wallet signs goes through Bitcoin Core's script check (`World.check`), and after every
step the wallet can be read back from its rows and has to be the same (`World.check_rows`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.consensus import check_transaction
from wallet.bitcoin.address import REGTEST, address_to_script
from wallet.bitcoin.bip39 import seed_from_mnemonic
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.script import p2wpkh
from wallet.bitcoin.tx import BlockHash, BlockHeader, OutPoint, Transaction, Txid, TxIn, TxOut
from wallet.chain.interfaces import LogLevel, Row, TxInBlock
from wallet.onchain.wallet import Draft, OnchainWallet

WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
STRANGER = p2wpkh(b"\x02" + sha256(b"a stranger"))
FIRST_AT = 1_700_000_000


class MemoryStore:
    """`Persist`: the rows as they are on disk."""

    def __init__(self) -> None:
        self.data: dict[tuple[str, bytes], bytes] = {}
        self.written = 0

    def write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.written += 1
            if row.value is None:
                self.data.pop((row.space, row.key), None)
            else:
                self.data[row.space, row.key] = row.value

    def rows(self, space: str) -> list[tuple[bytes, bytes]]:
        return sorted((key, value) for (kind, key), value in self.data.items() if kind == space)


class NotingFilter:
    """`ScriptFilter`: what was registered."""

    def __init__(self) -> None:
        self.scripts: list[bytes] = []

    def register_script(self, script_pubkey: bytes) -> None:
        self.scripts.append(script_pubkey)

    def register_tx(self, txid: Txid, script_pubkey: bytes) -> None:
        raise AssertionError("the wallet follows scripts only")

    def register_output(
        self, outpoint: OutPoint, script_pubkey: bytes, block_hash: BlockHash | None = None
    ) -> None:
        raise AssertionError("the wallet follows scripts only")


class SilentLogger:
    def log(self, level: LogLevel, message: str, *args: object) -> None:
        message % args


class World:
    def __init__(self, words: str = WORDS) -> None:
        self.seed = seed_from_mnemonic(words)
        self.store = MemoryStore()
        self.filter = NotingFilter()
        self.salt = 0
        self.height = 0
        self.blocks: dict[int, tuple[BlockHeader, list[TxInBlock]]] = {}
        self.wallet = self.open()
        self.wallet.start()

    def entropy(self) -> bytes:
        self.salt += 1
        return sha256(b"entropy" + self.salt.to_bytes(4, "big"))

    def open(self) -> OnchainWallet:
        wallet = OnchainWallet(
            seed=self.seed,
            network=REGTEST,
            persist=self.store,
            chain_filter=self.filter,
            logger=SilentLogger(),
            entropy=self.entropy,
        )
        wallet.read(self.store.rows)
        return wallet

    # --- transactions ---

    def script(self) -> bytes:
        return address_to_script(self.wallet.new_address(), REGTEST)

    def foreign(self, *outputs: TxOut, spends: OutPoint | None = None) -> Transaction:
        """A transaction of somebody else's."""
        self.salt += 1
        source = spends or OutPoint(Txid(sha256(b"source" + self.salt.to_bytes(4, "big"))), 0)
        return Transaction(2, (TxIn(source, b"", 0xFFFFFFFD, (b"\x01",)),), outputs, 0)

    def coinbase(self, *outputs: TxOut) -> Transaction:
        self.salt += 1
        script_sig = b"\x04" + self.salt.to_bytes(4, "big")
        return Transaction(2, (TxIn(OutPoint(Txid(bytes(32)), 0xFFFFFFFF), script_sig),), outputs, 0)

    def fund(self, *values_sat: int) -> list[Transaction]:
        """Confirmed coins of these values, one transaction each."""
        txs = [self.foreign(TxOut(value_sat, self.script())) for value_sat in values_sat]
        self.mine(*txs)
        return txs

    def check(self, draft: Draft) -> Draft:
        """The transaction is valid, and pays what the draft says."""
        check_transaction(draft.tx, [coin.output for coin in draft.inputs])
        spent_sat = sum(coin.output.value_sat for coin in draft.inputs)
        assert spent_sat - draft.tx.total_output_sat == draft.fee_sat
        if draft.change_sat is not None:
            assert any(
                output.value_sat == draft.change_sat and self.wallet.is_mine(output.script_pubkey)
                for output in draft.tx.outputs
            )
        return draft

    def send(self, value_sat: int, *, to: bytes = STRANGER, rate: int = 1_000, keep_sat: int = 0) -> Draft:
        draft = self.check(
            self.wallet.draft(
                outputs=(TxOut(value_sat, to),),
                feerate_sat_per_kw=rate,
                keep_sat=keep_sat,
                lock_time=self.height,
            )
        )
        self.wallet.commit(draft.tx, "")
        return draft

    # --- the chain ---

    def header(self, height: int) -> BlockHeader:
        self.salt += 1
        root = sha256(b"root" + self.salt.to_bytes(4, "big"))
        return BlockHeader(1, BlockHash(bytes(32)), root, FIRST_AT + 600 * height, 0x207FFFFF, self.salt)

    def mine(self, *txs: Transaction) -> None:
        self.height += 1
        header = self.header(self.height)
        placed = [TxInBlock(index + 1, tx) for index, tx in enumerate(txs)]
        self.blocks[self.height] = (header, placed)
        if placed:
            self.wallet.transactions_confirmed(header, self.height, placed)
        self.wallet.best_block_updated(header, self.height)

    def mine_empty(self, count: int) -> None:
        for _ in range(count):
            self.mine()

    def unmine(self, count: int = 1) -> list[Transaction]:
        """Takes the last blocks off the chain; their transactions wait again."""
        gone: list[Transaction] = []
        for _ in range(count):
            _header, placed = self.blocks.pop(self.height)
            for item in reversed(placed):
                self.wallet.transaction_unconfirmed(item.tx.txid)
            gone[:0] = [item.tx for item in placed]
            self.height -= 1
        header = self.blocks[self.height][0] if self.height in self.blocks else self.header(self.height)
        self.wallet.best_block_updated(header, self.height)
        return gone

    def see(self, *txs: Transaction) -> None:
        self.wallet.transactions_seen(txs)

    # --- checks ---

    def check_rows(self) -> None:
        """What was written is what is there: a wallet read back shows the same in every respect."""
        again = self.open()
        mine, theirs = self.wallet, again
        assert theirs.coins() == mine.coins()
        assert theirs.balance() == mine.balance()
        assert theirs.history() == mine.history()
        assert theirs.labels() == mine.labels()
        assert theirs._state == mine._state
        # No coin is left out, and none is counted twice.
        parts = mine.balance()
        whole_sat = parts.spendable_sat + parts.arriving_sat + parts.reserved_sat
        assert whole_sat == parts.confirmed_sat + parts.unconfirmed_sat
        spoken_sat = parts.opening_sat + parts.psbt_sat + parts.claims_sat
        assert parts.reserved_sat == parts.frozen_sat + spoken_sat
        # And a dict keeps its order by chance only: what is shown does not depend on it.
        assert theirs.get_relevant_txids() is not None

    def total_sat(self) -> int:
        balance = self.wallet.balance()
        return balance.confirmed_sat + balance.unconfirmed_sat + balance.immature_sat


def values(coins: Sequence[object]) -> list[int]:
    return [getattr(coin, "value_sat", 0) for coin in coins]
