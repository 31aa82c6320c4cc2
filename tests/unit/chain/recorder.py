"""A listener for chain updates: keeps what a node would, and fails on what a node must never be told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from wallet.bitcoin.address import REGTEST, Network
from wallet.bitcoin.tx import BlockHash, Transaction, Txid
from wallet.chain.electrum.broadcast import BroadcastResult
from wallet.chain.electrum.sync import ElectrumSync, Proxy, ServerAddress, SyncStatus
from wallet.chain.interfaces import (
    BestBlock,
    ChainStep,
    ChainUpdate,
    LogLevel,
    TransactionsConfirmed,
    TransactionsEvicted,
    TransactionsSeen,
    TransactionUnconfirmed,
)


class ListLogger:
    """Keeps the lines; errors of ours make the test fail at its end."""

    def __init__(self) -> None:
        self.lines: list[tuple[LogLevel, str]] = []

    def log(self, level: LogLevel, message: str, *args: object) -> None:
        self.lines.append((level, message % args))

    def check(self) -> None:
        assert not [line for level, line in self.lines if level is LogLevel.ERROR]


class Recorder:
    """Attributes:
    steps: everything, in order.
    confirmed: where each transaction is confirmed now.
    seen: hints that were not taken back and did not confirm.
    """

    def __init__(self) -> None:
        self.steps: list[ChainStep] = []
        self.confirmed: dict[Txid, tuple[int, BlockHash]] = {}
        self.seen: dict[Txid, Transaction] = {}
        self.txs: dict[Txid, Transaction] = {}
        self.best: tuple[BlockHash, int] | None = None
        self.on_tx: Callable[[Transaction, int | None], None] | None = None
        self.statuses: list[SyncStatus] = []
        self.broadcasts: list[BroadcastResult] = []
        self.logger = ListLogger()
        self._changed = asyncio.Event()

    def deliver(self, update: ChainUpdate) -> None:
        for step in update.steps:
            self.steps.append(step)
            self._apply(step)
        self._changed.set()

    def _apply(self, step: ChainStep) -> None:
        match step:
            case TransactionsConfirmed(header, height, txdata):
                assert [item.index for item in txdata] == sorted({item.index for item in txdata})
                for item in txdata:
                    self.txs[item.tx.txid] = item.tx
                    known = self.confirmed.get(item.tx.txid)
                    assert known in (None, (height, header.hash)), "confirmed twice without being unconfirmed"
                    self.confirmed[item.tx.txid] = (height, header.hash)
                    self.seen.pop(item.tx.txid, None)
                    if self.on_tx is not None:
                        self.on_tx(item.tx, height)
            case TransactionUnconfirmed(txid):
                del self.confirmed[txid]
                self.seen[txid] = self.txs[txid]
            case BestBlock(header, height):
                self.best = (header.hash, height)
            case TransactionsSeen(txs):
                for tx in txs:
                    assert tx.txid not in self.confirmed
                    self.seen[tx.txid] = tx
                    if self.on_tx is not None:
                        self.on_tx(tx, None)
            case TransactionsEvicted(txids):
                for txid in txids:
                    del self.seen[txid]

    def relevant_txids(self) -> Sequence[tuple[Txid, int, BlockHash | None]]:
        return [(txid, height, block_hash) for txid, (height, block_hash) in self.confirmed.items()]

    def waiting_txids(self) -> Sequence[Txid]:
        return list(self.seen)

    def on_status(self, status: SyncStatus) -> None:
        self.statuses.append(status)
        self._changed.set()

    def on_broadcast(self, result: BroadcastResult) -> None:
        self.broadcasts.append(result)
        self._changed.set()

    async def wait_for(self, what: Callable[[], bool], timeout_seconds: float = 60) -> None:
        async with asyncio.timeout(timeout_seconds):
            while not what():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def syncing(
    recorder: Recorder,
    servers: Sequence[ServerAddress],
    data_dir: Path | None = None,
    *,
    single_server_ok: bool = True,
    network: Network = REGTEST,
    start: bool = True,
    proxy: Proxy | None = None,
) -> AsyncIterator[ElectrumSync]:
    """An `ElectrumSync` that feeds the recorder; stopped at the end, and its log looked through."""
    sync = ElectrumSync(
        network,
        servers,
        data_dir,
        recorder.deliver,
        recorder.best,
        proxy,
        logger=recorder.logger,
        single_server_ok=single_server_ok,
        relevant_txids=recorder.relevant_txids,
        waiting_txids=recorder.waiting_txids,
        on_status=recorder.on_status,
        on_broadcast=recorder.on_broadcast,
    )
    if start:
        await sync.start()
    try:
        yield sync
    finally:
        await sync.stop()
        recorder.logger.check()
