"""What waits to be broadcast, and who waits for the answer."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wallet.bitcoin.tx import OutPoint, Transaction, Txid, TxIn, TxOut
from wallet.chain.electrum import broadcast as broadcast_module
from wallet.chain.electrum.broadcast import BroadcastResult, ElectrumBroadcaster
from wallet.chain.electrum.errors import ServerRefused
from wallet.chain.interfaces import BroadcastPackage, LogLevel
from wallet.node.api import CommandError
from wallet.node.commands import onchain, run


def package(number: int, *, deadline_height: int | None = None) -> BroadcastPackage:
    spent = OutPoint(Txid(number.to_bytes(32, "big")), 0)
    tx = Transaction(2, (TxIn(spent),), (TxOut(1_000, b"\x51"),))
    return BroadcastPackage((tx,), deadline_height=deadline_height)


class Session:
    """Takes every transaction, and shows it where `shows` says so."""

    takes_packages = False

    def __init__(self, sent: list[Transaction], *, shows: bool) -> None:
        self._sent = sent
        self._shows = shows

    async def broadcast(self, tx: Transaction) -> None:
        self._sent.append(tx)

    async def transaction(self, txid: Txid) -> Transaction:
        if not self._shows:
            raise ServerRefused("transaction.get", 2, "not here")
        return next(tx for tx in self._sent if tx.txid == txid)


class Server:
    def __init__(self, sent: list[Transaction], *, shows: bool = True) -> None:
        self.address = "a server"
        self._session = Session(sent, shows=shows)

    def need(self) -> Session:
        return self._session

    async def guard(self, call: Any) -> Any:
        return await call


class Pool:
    def __init__(self) -> None:
        self.servers: list[Server] = []

    def online(self) -> Any:
        return self.servers


class Lines:
    """The log."""

    def __init__(self) -> None:
        self.lines: list[tuple[LogLevel, str]] = []

    def log(self, level: LogLevel, message: str, *args: object) -> None:
        self.lines.append((level, message % args))


def test_a_full_queue_drops_what_nobody_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast_module, "MAX_QUEUED", 2)

    async def scenario() -> None:
        pool, sent = Pool(), list[Transaction]()
        results = asyncio.Queue[BroadcastResult]()
        broadcaster = ElectrumBroadcaster(pool, Lines(), results.put_nowait)
        asked = package(0)
        answer = asyncio.get_running_loop().create_future()
        broadcaster._put(asked, answer)
        for number in range(1, 5):
            broadcaster.broadcast_transactions(package(number))
        pool.servers.append(Server(sent))
        async with asyncio.TaskGroup() as group:
            runs = group.create_task(broadcaster.run())
            broadcaster.poke()
            async with asyncio.timeout(60):
                assert (await answer).is_success
                assert {(await results.get()).package for _ in range(2)} == {asked, package(4)}
            runs.cancel()
        assert sent == [*asked.txs, *package(4).txs]

    asyncio.run(scenario())


@pytest.mark.parametrize("shows", [True, False], ids=["shown", "hidden"])
def test_what_a_deadline_presses_for_and_nobody_shows_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, shows: bool
) -> None:
    monkeypatch.setattr(broadcast_module, "SHOW_PAUSE_SECONDS", 0)

    async def scenario() -> None:
        log, pool, sent = Lines(), Pool(), list[Transaction]()
        pool.servers.append(Server(sent, shows=shows))
        broadcaster = ElectrumBroadcaster(pool, log)
        async with asyncio.TaskGroup() as group:
            runs = group.create_task(broadcaster.run())
            # As when a server comes: it need not have begun by now.
            broadcaster.poke()
            async with asyncio.timeout(60):
                result = await broadcaster.broadcast(package(1, deadline_height=200))
            runs.cancel()
        assert result.is_success
        assert result.counts_as_sent is shows
        ((level, line),) = log.lines
        assert (level is LogLevel.WARN) is not shows
        assert ("too few servers show it" in line) is not shows

    asyncio.run(scenario())


def test_without_a_server_the_command_says_so_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onchain, "BROADCAST_TIMEOUT_SECONDS", 0)

    async def scenario() -> None:
        broadcaster = ElectrumBroadcaster(Pool(), Lines())
        node = SimpleNamespace(electrum=SimpleNamespace(broadcaster=broadcaster), failure="")
        with pytest.raises(CommandError, match="No server has answered") as refused:
            await run(cast("Any", node), "broadcast", {"tx": package(1).txs[0].serialize().hex()})
        assert refused.value.code == "offline"

    asyncio.run(scenario())
