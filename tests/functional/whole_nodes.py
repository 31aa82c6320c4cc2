"""Whole nodes, with files, sockets and an Electrum server, in this process; each may be killed at any commit.

A `WholeNode` is what the front ends open, on the sandbox's chain. `crash_at` arms it: at the n-th commit from then on
the process "dies", either just before the commit (nothing of it is on disk, as when the disk is full) or just after
(all of it is on disk, and nothing has left). `reopen` goes on from the file alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from tests.stand_in import put_in_place_of
from wallet.bitcoin.address import REGTEST, address_to_script
from wallet.bitcoin.bip39 import mnemonic_from_entropy
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.tx import Txid, txid_from_hex, txid_hex
from wallet.chain.electrum.session import ServerAddress
from wallet.chain.interfaces import ConfirmationTarget
from wallet.ln.config import ChannelHandshakeConfig, UserConfig
from wallet.node import peers
from wallet.node.commands import run
from wallet.node.generation import Origin
from wallet.node.host import OpenNode, create_wallet_file, open_node
from wallet.node.node import Node
from wallet.node.options import NodeOptions
from wallet.sandbox.chain import SandboxChain
from wallet.sandbox.electrum_server import SandboxElectrumServer

T = TypeVar("T")
Json = Any  # what a command answers is the test's to know
HOST = "127.0.0.1"
WAIT_SECONDS = 60
CONFIG = UserConfig(
    channel_handshake_config=ChannelHandshakeConfig(minimum_depth_blocks=1, our_to_self_delay_blocks=144),
    accept_forwards=True,
    accept_forwards_to_priv_channels=True,
    manually_accept_inbound_channels=True,
)


class Rates:
    """One fee rate for everything; a young chain has no estimates."""

    def get_est_sat_per_1000_weight(self, confirmation_target: ConfirmationTarget) -> int:
        least = confirmation_target in (
            ConfirmationTarget.MIN_ALLOWED_ANCHOR_CHANNEL_REMOTE_FEE,
            ConfirmationTarget.MIN_ALLOWED_NON_ANCHOR_CHANNEL_REMOTE_FEE,
        )
        return 253 if least else 1_000


class Killed(Exception):
    """Stands for SIGKILL."""


class Faults(logging.Handler):
    """What nodes logged as an error, which no good test has, but for the death itself."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "Killed" not in record.getMessage():
            self.lines.append(record.getMessage())


class WholeNode:
    """A node that can be killed. Attributes: `node` while it runs; `dead` once it was killed."""

    def __init__(self, world: WholeWorld, name: str) -> None:
        self.world = world
        self.name = name
        self.options = NodeOptions(
            network_name="regtest",
            root=world.folder / name,
            servers=(world.address,),
            single_server_ok=True,
            listen=(HOST, 0),
            user_config=world.config,
            accept_without_reserve=True,
        )
        create_wallet_file(self.options, mnemonic_from_entropy(sha256(name.encode())[:16]).split(), "")
        self._open: OpenNode | None = None
        self.dead = asyncio.Event()

    @property
    def node(self) -> Node:
        assert self._open is not None, f"{self.name} is not running"
        return self._open.node

    @property
    def node_id(self) -> str:
        return self.node.keys_manager.get_node_id().hex()

    @property
    def uri(self) -> str:
        return f"{self.node_id}@{HOST}:{self.node.listening_port}"

    async def start(self) -> None:
        """Opens the file and catches up with the chain; the port stays the same."""
        self.dead = asyncio.Event()
        self._open = await open_node(self.options, "", fee_estimator=Rates())
        self.options = replace(self.options, listen=(HOST, self.node.listening_port or 0))
        await self.call("wait_for_sync")

    def crash_at(self, commit: int, *, after: bool) -> None:
        """Dies at the n-th commit from now (0: the next one), before it or after it."""
        store, dead, loop = self.node.store, self.dead, asyncio.get_running_loop()
        really_commit = store._commit
        left = commit

        def commit_or_die(batches: Any) -> None:
            nonlocal left
            left -= 1
            if left >= 0:
                really_commit(batches)
                return
            if after:
                really_commit(batches)
            loop.call_soon_threadsafe(dead.set)
            raise Killed

        # The kernel's part in it, until the store ends.
        put_in_place_of(store, "_commit", commit_or_die)

    @contextlib.contextmanager
    def slow_disk(self) -> Iterator[None]:
        """Nothing is durable until the `with` ends, as on a disk that is busy with something else."""
        store, free = self.node.store, threading.Event()
        really_commit = store._commit

        def commit_later(batches: Any) -> None:
            free.wait(WAIT_SECONDS)
            really_commit(batches)

        with patch.object(store, "_commit", commit_later):
            # Known to be slow: its commits are the writer thread's, and the loop goes on.
            store._commit_seconds = WAIT_SECONDS
            try:
                yield
            finally:
                free.set()

    def hang_up(self) -> None:
        """Every Lightning connection is lost."""
        for peer_socket in list(self.node.connections._open):
            peer_socket.drop()

    async def bury(self) -> None:
        """Ends a node without another word to the disk or to the world."""
        opened, self._open = self._open, None
        if opened is None:
            return
        store = opened.node.store
        with store._lock:
            store._failure = store._failure or Killed()
            store._queue.clear()
        opened.node._stopping = True
        await opened.close()

    async def reopen(self) -> None:
        await self.bury()
        await self.start()
        # Whatever it died of, its own file is never taken for an old one.
        assert self.node.recovery.origin is Origin.CURRENT

    async def call(self, command: str, **arguments: Json) -> Json:
        async with asyncio.timeout(WAIT_SECONDS):
            return await run(self.node, command, arguments)

    async def until(self, what: str, check: Callable[[], T | None]) -> T:
        """What `check` answers once that is true; asked again whenever the node says that something changed."""
        views = self.node.views
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    version = views.version
                    if value := check():
                        return value
                    await views.changed_since(version)
        except TimeoutError:
            raise AssertionError(f"{self.name} never saw {what}: {self.node.snapshot().channels}") from None

    # --- verbs ----------------------------------------------------------------------------

    def channels_with(self, other: WholeNode | str) -> list[Any]:
        node_id = other if isinstance(other, str) else other.node_id
        with self.node.core.locked():
            return [
                item
                for item in self.node.manager.list_channels()
                if item.counterparty_node_id.hex() == node_id and item.funding_outpoint is not None
            ]

    async def fund(self, amount_sat: int, coins: int = 1) -> None:
        before = self.onchain_sat()
        for _ in range(coins):
            address = await self.call("createnewaddress")
            self.world.chain.faucet(address_to_script(address, REGTEST), amount_sat // coins)
        self.world.chain.mine(1)
        await self.until("its coins", lambda: self.onchain_sat() == before + amount_sat // coins * coins)

    def onchain_sat(self) -> int:
        """Confirmed or not, reserved or not."""
        with self.node.core.locked():
            return sum(coin.output.value_sat for coin in self.node.onchain.coins())

    def reserved_sat(self) -> int:
        with self.node.core.locked():
            return sum(coin.output.value_sat for coin in self.node.onchain.coins() if coin.reserved)

    def fee_sat(self, txid: Txid) -> int:
        """What one of its transactions cost."""
        with self.node.core.locked():
            entry = self.node.onchain.entry_by_hex(txid_hex(txid))
        assert entry is not None
        assert entry.fee_sat is not None
        return entry.fee_sat

    async def open_channel(self, other: WholeNode, amount_sat: int, push_sat: int = 0) -> str:
        opened = await self.call(
            "open_channel", connection_string=other.uri, amount_sat=amount_sat, push_sat=push_sat
        )
        await self.world.mined(opened["funding_txid"])
        await self.until("a usable channel", lambda: self.usable(other))
        await other.until("a usable channel", lambda: other.usable(self))
        return str(opened["channel_id"])

    def usable(self, other: WholeNode) -> bool:
        found = self.channels_with(other)
        return bool(found) and all(item.is_usable for item in found)

    def quiet(self) -> bool:
        """Nothing is pending in any channel."""
        with self.node.core.locked():
            return not any(item.pending_htlcs for item in self.node.manager.list_channels())

    def channel_msat(self) -> int:
        with self.node.core.locked():
            return sum(item.balance_msat for item in self.node.manager.list_channels())

    async def history(self) -> dict[str, int]:
        """Payment hash to amount, negative for what was sent."""
        return {entry["payment_hash"]: entry["amount_msat"] for entry in await self.call("lightning_history")}


@dataclass(slots=True)
class WholeWorld:
    """A chain, its server, and the nodes on it."""

    folder: Path
    config: UserConfig = CONFIG
    chain: SandboxChain = field(default_factory=SandboxChain)
    nodes: list[WholeNode] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    address: ServerAddress = field(default_factory=lambda: ServerAddress(HOST, 1, False))

    @classmethod
    @contextlib.asynccontextmanager
    async def made(
        cls, folder: Path, names: Sequence[str], *, config: UserConfig = CONFIG
    ) -> AsyncIterator[WholeWorld]:
        world = cls(folder, config)
        server = SandboxElectrumServer(world.chain)
        world.address = ServerAddress(HOST, await server.start(), False)
        log = logging.getLogger("leyden")
        log.addHandler(world.faults)
        retries = peers.FIRST_RETRY_SECONDS, peers.LAST_RETRY_SECONDS
        # Whoever dies often is given up on for minutes, out there.
        peers.FIRST_RETRY_SECONDS, peers.LAST_RETRY_SECONDS = 0.05, 0.2
        try:
            for name in names:
                node = WholeNode(world, name)
                world.nodes.append(node)
                await node.start()
            yield world
            assert not world.faults.lines
        finally:
            peers.FIRST_RETRY_SECONDS, peers.LAST_RETRY_SECONDS = retries
            log.removeHandler(world.faults)
            for node in world.nodes:
                await node.bury()
            await server.stop()

    async def mined(self, txid: str, blocks: int = 6) -> None:
        """Waits for a transaction in the mempool, and mines it."""
        await self.sees(txid)
        self.chain.mine(blocks)

    async def sees(self, txid: str) -> None:
        """Until the chain, or its mempool, has a transaction."""
        wanted = txid_from_hex(txid)
        changed = asyncio.Event()

        def ring(_touched: set[bytes], _tip_changed: bool) -> None:
            changed.set()

        self.chain.listeners.append(ring)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while self.chain.transaction(wanted) is None:
                    changed.clear()
                    await changed.wait()
        finally:
            self.chain.listeners.remove(ring)


@contextlib.asynccontextmanager
async def payer_and_payee(
    folder: Path, *, config: UserConfig = CONFIG
) -> AsyncIterator[tuple[WholeNode, WholeNode]]:
    """Two nodes with a channel between them; all that is in it is the payer's."""
    async with WholeWorld.made(folder, ("payer", "payee"), config=config) as world:
        payer, payee = world.nodes
        await payer.fund(2_000_000, coins=2)
        await payer.open_channel(payee, 1_000_000)
        yield payer, payee


def play(scenario: Coroutine[Any, Any, None]) -> None:
    """Runs an asyncio test with all the node's own settings."""
    asyncio.run(scenario)
