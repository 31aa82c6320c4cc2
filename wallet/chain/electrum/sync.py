"""`ElectrumSync`: the pool of Electrum servers, and what the node sees of the chain.

Theory of operation. Up to `MAX_CONNECTED` of the configured servers are connected; one that fails is tried
again after a pause that doubles, others take its place meanwhile; one that lied is left alone for long.
The first in order that follows our best chain is the primary: it alone is asked about the wallet's own
addresses, and it stays so while it behaves. Everything happens in the loop that calls `start`.

Up to date (`is_synced`) means: the core has been told of the tip of our header chain, and as many servers as
required (two, or one where the person named it) had answered everything at that tip.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from wallet.bitcoin.address import Network
from wallet.bitcoin.tx import BlockHash
from wallet.chain.electrum.broadcast import BroadcastResult, ElectrumBroadcaster
from wallet.chain.electrum.certificates import CertificateStore
from wallet.chain.electrum.errors import ServerError, ServerErrorKind
from wallet.chain.electrum.fees import ElectrumFeeEstimator
from wallet.chain.electrum.filter import Deliver, ElectrumFilter, RelevantTxids, WaitingTxids
from wallet.chain.electrum.headers import Connected, HeaderChain, read_checkpoints
from wallet.chain.electrum.rpc import Proxy
from wallet.chain.electrum.server import Server, ServerState
from wallet.chain.electrum.session import ServerAddress
from wallet.chain.electrum.utxo_lookup import ElectrumUtxoLookup, Enter
from wallet.chain.interfaces import Logger, LogLevel
from wallet.i18n import _

__all__ = [
    "ElectrumSync",
    "Proxy",
    "ServerAddress",
    "ServerStatus",
    "SyncState",
    "SyncStatus",
    "default_servers",
]

RESOURCES = Path(__file__).resolve().parents[3] / "resources"
MAX_CONNECTED = 4
REQUIRED_SERVERS = 2
FIRST_RETRY_MS = 500
LAST_RETRY_MS = 300_000
LASTING_RETRY_MS = 60 * 60 * 1000
"""A server that lied, or that is on another network, is left alone this long; a minute where there is no
other."""
ALONE_RETRY_MS = 60_000
PROVEN_AFTER_MS = 60_000
"""A connection that lasted this long ends the doubling of pauses."""
BEHIND_AFTER_MS = 60_000
"""A server is behind that does not have our tip after this long; honest ones take seconds."""
STALE_AFTER_MS = 10 * 60 * 1000
NO_BLOCK_SECONDS = 2 * 60 * 60
"""No block for two hours happens once in half a year by chance: other servers are asked."""
ROTATE_MS = 10 * 60 * 1000
TICK_SECONDS = 5.0
RESUME_PING_SECONDS = 10.0


class SyncState(Enum):
    """OFFLINE: no server. HEADERS: catching up with the chain. SCRIPTS: looking up what is registered.

    WAITING: everything is answered, but by fewer servers than required, or none is at our tip. SYNCED.
    """

    OFFLINE = auto()
    HEADERS = auto()
    SCRIPTS = auto()
    WAITING = auto()
    SYNCED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """One server, as the window shows it.

    Attributes:
        height: of its tip; -1 while unknown.
        error, reason: why it was left last, a sentence; while it is connected, how it differs from the others. None
            and empty where all is well.
        retry_seconds: until it is tried again; 0 while it is connected.
        checking: the computer slept, and the server has not answered since.
    """

    address: ServerAddress
    state: ServerState
    is_primary: bool
    software: str
    protocol: str
    height: int
    is_on_best: bool
    error: ServerErrorKind | None
    reason: str
    retry_seconds: int
    checking: bool = False

    @property
    def is_connected(self) -> bool:
        """Whether it answers, as far as is known."""
        return self.state in (ServerState.SYNCING, ServerState.ONLINE) and not self.checking

    @property
    def shows_other_certificate(self) -> bool:
        """Whether it is left alone for another certificate than it showed first."""
        return not self.is_connected and self.error is ServerErrorKind.CERTIFICATE


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncStatus:
    """The chain source at one moment.

    Attributes:
        height, tip_hash, tip_at: of our header chain; -1, None and 0 before the first header.
        connected: how many servers are up to date with our chain or on the way there.
        agreeing: how many of them stand at our tip.
    """

    state: SyncState
    height: int
    tip_hash: BlockHash | None
    tip_at: int
    connected: int
    agreeing: int
    required: int
    watched_scripts: int
    servers: tuple[ServerStatus, ...]

    @property
    def is_synced(self) -> bool:
        return self.state is SyncState.SYNCED


def default_servers(network: Network) -> tuple[ServerAddress, ...]:
    """The servers that are shipped for a network, in random order."""
    try:
        lines = (RESOURCES / "servers" / f"{network.name}.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    servers = [ServerAddress.parse(line) for line in lines if line.strip() and not line.startswith("#")]
    random.shuffle(servers)
    return tuple(servers)


class ElectrumSync:
    """The chain source of a node.

    Attributes:
        filter: takes registrations (`chain.ScriptFilter`).
        fee_estimator, broadcaster, utxo_lookup: the other seams.
        chain: our header chain.
    """

    def __init__(
        self,
        network: Network,
        servers: Iterable[ServerAddress],
        data_dir: Path | None,
        deliver: Deliver,
        best_known: tuple[BlockHash, int] | None = None,
        proxy: Proxy | None = None,
        *,
        logger: Logger,
        single_server_ok: bool = False,
        relevant_txids: RelevantTxids = tuple,
        waiting_txids: WaitingTxids = tuple,
        on_status: Callable[[SyncStatus], None] | None = None,
        on_broadcast: Callable[[BroadcastResult], None] | None = None,
        on_fees: Callable[[], None] | None = None,
        enter: Enter | None = None,
    ) -> None:
        """Nothing happens before `start`.

        `deliver` is called in the loop's thread, one update at a time, and awaited if it answers with an
        awaitable. `relevant_txids` (what is confirmed) and `waiting_txids` (what is held for unconfirmed) are
        asked after the start and after each reorganisation, in the loop's thread too. `enter` runs the
        answers of `utxo_lookup`: the node hands in what takes its lock.
        """
        self.network = network
        self.chain = HeaderChain(
            network,
            data_dir / "headers" if data_dir else None,
            read_checkpoints(RESOURCES / "checkpoints" / f"{network.name}.txt"),
        )
        self.header_lock = asyncio.Lock()
        self.certificates = CertificateStore(data_dir / "server-certificates.json" if data_dir else None)
        self.filter = ElectrumFilter(
            self, deliver, relevant_txids, waiting_txids, best_known, logger, on_progress=self._progressed
        )
        self.fee_estimator = ElectrumFeeEstimator(self, on_fees)
        self.broadcaster = ElectrumBroadcaster(self, logger, on_broadcast)
        self.utxo_lookup = ElectrumUtxoLookup(self, network, enter)
        self._proxy = proxy
        self._logger = logger
        self._single_server_ok = single_server_ok
        self._on_status = on_status
        self._servers: list[Server] = [Server(address, self, logger) for address in dict.fromkeys(servers)]
        self._primary: Server | None = None
        self._tip_since_ms = _now_ms()
        self._rotated_at_ms = _now_ms()
        self._tasks: list[asyncio.Task[None]] = []
        self._checks: set[asyncio.Task[None]] = set()
        self._manage = asyncio.Event()
        self._synced = asyncio.Event()
        self._status_due = False
        self._running = False

    # --- for the node ---

    async def start(self) -> None:
        """Connects and follows the chain from now on; returns at once."""
        if self._running:
            return
        self._running = True
        self._tip_since_ms = _now_ms()
        self._tasks = [
            asyncio.create_task(self._supervise(work))
            for work in (
                self._manage_servers,
                self.filter.run,
                self.fee_estimator.run,
                self.broadcaster.run,
                self.utxo_lookup.run,
            )
        ]

    async def stop(self) -> None:
        """Hangs up everywhere; nothing is delivered once it returns."""
        self._running = False
        tasks = [*self._tasks, *self._checks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks = []
        for server in self._servers:
            await self._end(server)
        self._synced.clear()

    async def wait_synced(self) -> None:
        """Returns when everything registered is known at the tip."""
        while not self._refresh_synced():
            self._synced.clear()
            await self._synced.wait()

    @property
    def is_synced(self) -> bool:
        return self._state() is SyncState.SYNCED

    async def set_servers(self, servers: Iterable[ServerAddress], *, single_server_ok: bool) -> None:
        """Uses these servers from now on; connections to the ones that stay are kept."""
        wanted = list(dict.fromkeys(servers))
        self._single_server_ok = single_server_ok
        known = {server.address: server for server in self._servers}
        leaving = [server for server in self._servers if server.address not in wanted]
        self._servers = [
            known[address] if address in known else Server(address, self, self._logger) for address in wanted
        ]
        for server in leaving:
            await self._end(server)
        for server in self._servers:
            server.retry_at_ms = 0
        self._manage.set()

    async def set_proxy(self, proxy: Proxy | None) -> None:
        """Reaches every server through this proxy from now on: connections are made anew."""
        if proxy == self._proxy:
            return
        self._proxy = proxy
        for server in self._servers:
            await self._end(server)
            server.failures = 0
            server.retry_at_ms = 0
        self._manage.set()

    def reconnect(self) -> None:
        """After a resume from sleep, or a change of network: whoever waits is tried now, others are pinged, and count
        as not connected until they answer."""
        for server in self._servers:
            if server.state is ServerState.WAITING:
                server.retry_at_ms = 0
            elif server.is_online:
                server.checking = True
                task = asyncio.create_task(self._check_alive(server))
                self._checks.add(task)
                task.add_done_callback(self._checks.discard)
        self._manage.set()
        self._status_changed()

    def forget_certificate(self, address: ServerAddress) -> None:
        """The person accepts that a server shows another certificate: it is as good as any other again."""
        self.certificates.forget(f"{address.host}:{address.port}")
        for server in self._servers:
            if server.address == address:
                server.error, server.failures, server.retry_at_ms = None, 0, 0
        self._manage.set()

    def status(self) -> SyncStatus:
        tip = self.chain.tip()
        return SyncStatus(
            state=self._state(),
            height=self.chain.height if tip is not None else -1,
            tip_hash=tip.hash if tip is not None else None,
            tip_at=tip.time_at if tip is not None else 0,
            connected=sum(server.is_online for server in self._servers),
            agreeing=sum(server.is_at_tip for server in self._servers),
            required=self.required(),
            watched_scripts=self.filter.watched_scripts,
            servers=tuple(self._server_status(server) for server in self._servers),
        )

    def _server_status(self, server: Server) -> ServerStatus:
        session = server.session
        waits = server.state in (ServerState.WAITING, ServerState.DROPPED)
        error = self._difference(server) if server.is_online else server.error
        return ServerStatus(
            address=server.address,
            state=server.state,
            is_primary=server is self._primary,
            software=session.software if session is not None else "",
            protocol=".".join(map(str, session.protocol)) if session is not None else "",
            height=server.height,
            is_on_best=server.is_on_best,
            error=error.kind if error is not None else None,
            reason=error.message if error is not None else "",
            retry_seconds=max(0, server.retry_at_ms - _now_ms()) // 1000 if waits else 0,
            checking=server.checking,
        )

    def _difference(self, server: Server) -> ServerError | None:
        """How a connected server differs from the chain with most work."""
        if not server.is_on_best:
            return ServerError(
                ServerErrorKind.STALE,
                _("The server follows another chain, with less work than the best one."),
            )
        if server.is_at_tip or self.tip_age_ms() < BEHIND_AFTER_MS:
            return None
        return ServerError(
            ServerErrorKind.STALE,
            _("The server is at block {height}; others are at {best}.").format(
                height=server.height, best=self.chain.height
            ),
        )

    def _state(self) -> SyncState:
        online = self.online()
        if not online:
            connecting = any(server.state is ServerState.SYNCING for server in self._servers)
            return SyncState.HEADERS if connecting else SyncState.OFFLINE
        if self.filter.best is not None and self.filter.best[0] == self.chain.tip_hash:
            if self.filter.is_settled and self.filter.answered >= self.required():
                at_tip = sum(server.is_at_tip for server in online)
                return SyncState.SYNCED if at_tip >= self.required() else SyncState.WAITING
            return SyncState.WAITING if self.filter.is_settled else SyncState.SCRIPTS
        return SyncState.SCRIPTS if any(server.is_at_tip for server in online) else SyncState.WAITING

    # --- FilterPool ---

    @property
    def highest_announced(self) -> int:
        """The height of the highest tip that a server has told; -1 for none."""
        return max((server.announced_height for server in self._servers), default=-1)

    def online(self) -> list[Server]:
        servers = [server for server in self._servers if server.is_online]
        primary = self._primary
        if primary is not None and primary in servers:
            servers.remove(primary)
            servers.insert(0, primary)
        return servers

    def primary(self) -> Server | None:
        return self._primary

    def required(self) -> int:
        return 1 if self._single_server_ok else REQUIRED_SERVERS

    def tip_age_ms(self) -> int:
        return _now_ms() - self._tip_since_ms

    # --- ServerOwner ---

    def chain_changed(self, connected: Connected) -> None:
        self._tip_since_ms = _now_ms()
        if connected.replaced:
            self._logger.log(
                LogLevel.INFO,
                "reorganisation: %d blocks replaced above %d",
                connected.replaced,
                connected.fork_height,
            )
            self.filter.chain_reorganised()
        self.filter.poke()
        self._status_changed()

    def server_changed(self, server: Server) -> None:
        self._choose_primary()
        if server.is_online:
            self.broadcaster.poke()
            self.fee_estimator.poke()
            self.utxo_lookup.poke()
        self.filter.poke()
        self._status_changed()

    def script_answered(self, server: Server, script_pubkey: bytes) -> None:
        self.filter.script_answered(script_pubkey)

    def scripts_for(self, server: Server) -> Sequence[bytes]:
        return self.filter.scripts_for(server)

    # --- the pool ---

    async def _supervise(self, work: Callable[[], object]) -> None:
        """Runs one of the loops for ever: a fault of ours in one is logged, and must not end the others."""
        while True:
            try:
                result = work()
                if asyncio.iscoroutine(result):
                    await result
                return
            except asyncio.CancelledError:
                raise
            except Exception as exc:
                self._logger.log(LogLevel.ERROR, "chain source: %r", exc)
                await asyncio.sleep(1)

    async def _manage_servers(self) -> None:
        while True:
            self._manage.clear()
            self._replace_primary()
            self._drop_stale()
            self._rotate()
            for server in self._to_connect():
                server.state = ServerState.CONNECTING
                server.task = asyncio.create_task(self._run(server))
            self._status_changed()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_to_next()):
                    await self._manage.wait()

    def _to_connect(self) -> list[Server]:
        """Who to try now, so that enough are connected: those that never failed first, in their order."""
        now_ms = _now_ms()
        in_use = sum(server.task is not None for server in self._servers)
        candidates = [
            server for server in self._servers if server.task is None and server.retry_at_ms <= now_ms
        ]
        candidates.sort(key=lambda server: server.failures)
        return candidates[: max(0, MAX_CONNECTED - in_use)]

    def _seconds_to_next(self) -> float:
        waits_ms = [server.retry_at_ms - _now_ms() for server in self._servers if server.task is None]
        due_ms = min((wait_ms for wait_ms in waits_ms if wait_ms > 0), default=LAST_RETRY_MS)
        return min(TICK_SECONDS, max(0.05, due_ms / 1000))

    async def _run(self, server: Server) -> None:
        try:
            await server.run(self.network.chain_hash, self.certificates, self._proxy)
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            self._logger.log(LogLevel.ERROR, "%s: %r", str(server), exc)
            server.error = ServerError(
                ServerErrorKind.CLOSED, _("Something went wrong on our side; see the log.")
            )
        self._ended(server)

    def _ended(self, server: Server) -> None:
        """The connection is over: when to try again."""
        server.task = None
        now_ms = _now_ms()
        kind = server.error.kind if server.error is not None else ServerErrorKind.CLOSED
        if server.online_since_ms and now_ms - server.online_since_ms > PROVEN_AFTER_MS:
            server.failures = 0
        server.online_since_ms = 0
        server.failures += 1
        if kind.is_lasting:
            server.state = ServerState.DROPPED
            alone = not any(other.is_online for other in self._servers)
            pause_ms = ALONE_RETRY_MS if alone else LASTING_RETRY_MS
        else:
            server.state = ServerState.WAITING
            pause_ms = min(LAST_RETRY_MS, FIRST_RETRY_MS << min(server.failures - 1, 16))
        # Not all at the same moment, here and in other wallets.
        server.retry_at_ms = now_ms + pause_ms * random.randrange(75, 126) // 100
        self._choose_primary()
        self.filter.poke()
        self._manage.set()
        self._status_changed()

    async def _check_alive(self, server: Server) -> None:
        """A connection from before a sleep may be dead without a sign."""
        try:
            with contextlib.suppress(ServerError):
                await server.guard(server.need().ping(RESUME_PING_SECONDS))
        finally:
            server.checking = False
            self._status_changed()

    async def _end(self, server: Server) -> None:
        task, server.task = server.task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        server.state = ServerState.IDLE
        if server is self._primary:
            self._primary = None

    def _choose_primary(self) -> None:
        primary = self._primary
        if primary is not None and primary.is_online and primary in self._servers and primary.is_on_best:
            return
        self._primary = next(
            (server for server in self._servers if server.is_online and server.is_on_best), None
        )
        if self._primary is None and primary is not None and primary.is_online and primary in self._servers:
            # All are on another chain for the moment: no reason to tell a second one the addresses.
            self._primary = primary
        if self._primary is not None and self._primary is not primary:
            self._primary.ask(self.filter.scripts_for(self._primary))

    def _replace_primary(self) -> None:
        """A primary that stays behind while others go on keeps our own coins from being seen: another takes its
        part."""
        primary = self._primary
        if primary is None or primary.is_at_tip or self.tip_age_ms() < BEHIND_AFTER_MS:
            return
        better = next((server for server in self._servers if server.is_at_tip), None)
        if better is not None:
            self._primary = better
            better.ask(self.filter.scripts_for(better))

    def _drop_stale(self) -> None:
        """Servers that stay behind while others follow the chain."""
        if self.tip_age_ms() < STALE_AFTER_MS or not any(server.is_at_tip for server in self._servers):
            return
        for server in self._servers:
            if server.is_online and not server.is_at_tip:
                server.fail(
                    ServerError(
                        ServerErrorKind.STALE,
                        _("The server is stuck at block {height}; others are at {best}.").format(
                            height=server.height, best=self.chain.height
                        ),
                    )
                )

    def _rotate(self) -> None:
        """Without a block for long, a server that was not asked yet takes one's place."""
        tip = self.chain.tip()
        if tip is None or not self.network.has_value or time.time() - tip.time_at < NO_BLOCK_SECONDS:
            return
        spare = [server for server in self._servers if server.task is None and server.failures == 0]
        others = [server for server in self._servers if server.is_online and server is not self._primary]
        if spare and others and _now_ms() - self._rotated_at_ms > ROTATE_MS:
            self._rotated_at_ms = _now_ms()
            others[-1].fail(
                ServerError(
                    ServerErrorKind.CLOSED, _("No block for two hours: another server is asked instead.")
                )
            )

    # --- status ---

    def _progressed(self) -> None:
        self._status_changed()

    def _refresh_synced(self) -> bool:
        synced = self.is_synced
        if synced:
            self._synced.set()
        else:
            self._synced.clear()
        return synced

    def _status_changed(self) -> None:
        """Many changes in one turn of the loop are one snapshot."""
        if not self._status_due and self._running:
            self._status_due = True
            asyncio.get_running_loop().call_soon(self._tell_status)

    def _tell_status(self) -> None:
        self._status_due = False
        if not self._running:
            return
        self._refresh_synced()
        if self._on_status is not None:
            self._on_status(self.status())


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
