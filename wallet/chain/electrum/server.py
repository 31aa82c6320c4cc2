"""One server of the pool: its connection, how far it follows our header chain, and what it says of our
scripts.

Theory of operation. `run` lives as long as the connection. Three tasks share it: one follows the server's
headers (the pool's lock lets one server at a time extend the chain), one asks about scripts, one pings.
The first of them that meets a `ServerError` ends the connection; so does `fail`, by which others report
what they caught.

Scripts: what has to be asked stands in `todo`. A script gets there when it is registered, when the server
notifies of a change, and, as servers may lose notifications and send them after the header, when the
server has a new tip. Asking means subscribing (which also tells whether anything changed) and fetching the
history if it did. A view is fresh at the tip that the server had when the question was sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, TypeVar

from wallet.bitcoin.tx import BlockHash
from wallet.chain.electrum.certificates import CertificateStore
from wallet.chain.electrum.errors import ServerError, ServerErrorKind, ServerRefused
from wallet.chain.electrum.headers import PERIOD_BLOCKS, Connected, HeaderChain, HeaderError, HeaderFault
from wallet.chain.electrum.rpc import Proxy
from wallet.chain.electrum.session import ElectrumSession, HistoryItem, ServerAddress, SessionListener, Tip
from wallet.chain.interfaces import Logger, LogLevel
from wallet.i18n import _

__all__ = ["ScriptView", "Server", "ServerOwner", "ServerState"]

T = TypeVar("T")

PING_SECONDS = 60.0
HEADER_REQUESTS_AT_ONCE = 8
REFUSALS_BEFORE_DROP = 4
RETRY_REFUSED_SECONDS = 1.0
SCRIPTS_ASKED_EAGERLY = 200
HEADERS_TURN_SECONDS = 60.0
"""A server that has more work than we know is asked for its headers alone; for this long at most for each
eight portions, so that one that drips keeps no other from telling its blocks."""
IDLE_NOTIFICATIONS_PER_MINUTE = 200
"""Notifications that nothing has come of: each makes us ask, which is more work for us than for the server."""


class ServerState(Enum):
    """IDLE: not used now. CONNECTING. SYNCING: its headers are coming in. ONLINE. WAITING: tried again later.

    DROPPED: it lied, or something lasting is wrong with it.
    """

    IDLE = auto()
    CONNECTING = auto()
    SYNCING = auto()
    ONLINE = auto()
    WAITING = auto()
    DROPPED = auto()


@dataclass(slots=True)
class ScriptView:
    """What one server says of one script.

    Attributes:
        history: as fetched last; None before the first time.
        fresh_at: the server's tip when the status was asked for last.
        outdated: the history may have changed since it was fetched.
        notified: the server has said so.
        refusals: how often in a row the server would not answer.
    """

    status: str | None = None
    history: tuple[HistoryItem, ...] | None = None
    fresh_at: BlockHash | None = None
    outdated: bool = False
    notified: bool = False
    refusals: int = 0


class ServerOwner(Protocol):
    """The pool, as a server sees it."""

    chain: HeaderChain
    header_lock: asyncio.Lock

    def chain_changed(self, connected: Connected) -> None:
        """Our header chain has grown, or was replaced from a height on."""
        ...

    def server_changed(self, server: Server) -> None:
        """State, tip or freshness of the server changed."""
        ...

    def script_answered(self, server: Server, script_pubkey: bytes) -> None:
        """A view of the server changed."""
        ...

    def scripts_for(self, server: Server) -> Iterable[bytes]:
        """Every script that this server is to be asked about anew at each tip."""
        ...


class Server(SessionListener):
    """One server, connected or not.

    Attributes:
        height, hash: the server's tip, once our chain has it (or has found it to have less work).
        views: by script.
        error: why it was left last.
        checking: the computer slept, and it has not answered since.
    """

    def __init__(self, address: ServerAddress, owner: ServerOwner, logger: Logger) -> None:
        self.address = address
        self.state = ServerState.IDLE
        self.session: ElectrumSession | None = None
        self.height = -1
        self.hash: BlockHash | None = None
        self.views: dict[bytes, ScriptView] = {}
        self.todo: dict[bytes, None] = {}
        self.error: ServerError | None = None
        self.failures = 0
        self.retry_at_ms = 0
        self.online_since_ms = 0
        self.checking = False
        self.task: asyncio.Task[None] | None = None
        self._owner = owner
        self._logger = logger
        self._announced: Tip | None = None
        self._header_event = asyncio.Event()
        self._script_event = asyncio.Event()
        self._failure: asyncio.Future[ServerError] | None = None
        self._asking = 0
        self._idle_since_ms = 0
        self._idle_notifications = 0

    def __str__(self) -> str:
        return str(self.address)

    @property
    def is_online(self) -> bool:
        return self.state is ServerState.ONLINE and self.session is not None

    @property
    def is_on_best(self) -> bool:
        """Whether the server's tip is in our best chain (perhaps below our tip)."""
        return self.hash is not None and self._owner.chain.hash_at(self.height) == self.hash

    @property
    def is_at_tip(self) -> bool:
        return self.is_online and self.hash == self._owner.chain.tip_hash

    @property
    def announced_height(self) -> int:
        """Of the last tip that it told, while it is connected; else -1. Its headers may be missing here still."""
        return -1 if self.session is None or self._announced is None else self._announced.height

    @property
    def is_settled(self) -> bool:
        """Whether everything that was to be asked is answered."""
        return not self.todo and not self._asking

    # --- the connection ---

    async def run(self, genesis_hash: BlockHash, certificates: CertificateStore, proxy: Proxy | None) -> None:
        """Connects and serves until something ends it; never raises but on cancellation. `error` says why."""
        self._failure = asyncio.get_running_loop().create_future()
        self._announced, self.height, self.hash = None, -1, None
        self.views, self.todo, self._asking = {}, {}, 0
        self._set_state(ServerState.CONNECTING)
        error: ServerError
        try:
            self.session = await ElectrumSession.open(
                self.address, genesis_hash=genesis_hash, listener=self, certificates=certificates, proxy=proxy
            )
            self._set_state(ServerState.SYNCING)
            error = await self._serve(self._failure)
        except ServerError as exc:
            error = exc
        finally:
            if self.session is not None:
                await self.session.close()
            self.session = None
            self.views, self.todo, self._asking = {}, {}, 0
            self.height, self.hash = -1, None
        self.error = error
        level = LogLevel.WARN if error.kind.is_dishonest else LogLevel.INFO
        self._logger.log(level, "%s: %s", str(self), error.message)

    def fail(self, error: ServerError) -> None:
        """Something is wrong with this server: the connection ends."""
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(error)

    async def guard(self, call: Awaitable[T]) -> T:
        """Awaits a call on the session; what is wrong with the server ends the connection, a mere refusal
        not. To be awaited where it is called: a task of its own may be cancelled before it awaits the call."""
        try:
            return await call
        except ServerRefused:
            raise
        except ServerError as exc:
            self.fail(exc)
            raise

    def need(self) -> ElectrumSession:
        """The session; ServerError where there is none."""
        if self.session is None:
            raise ServerError(ServerErrorKind.CLOSED, _("The server is not connected."))
        return self.session

    async def _serve(self, failure: asyncio.Future[ServerError]) -> ServerError:
        tasks = [
            asyncio.create_task(self._follow_headers()),
            asyncio.create_task(self._ask_scripts()),
            asyncio.create_task(self._keep_alive()),
        ]
        try:
            waiters: list[asyncio.Future[None] | asyncio.Future[ServerError]] = [*tasks, failure]
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
            if failure.done():
                return failure.result()
            for task in tasks:
                if task.done() and not task.cancelled():
                    task.result()
            return ServerError(ServerErrorKind.CLOSED, _("The connection ended."))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            await self.need().ping()

    def _set_state(self, state: ServerState) -> None:
        if self.state is not state:
            self.state = state
            if state is ServerState.ONLINE:
                self.online_since_ms = time.monotonic_ns() // 1_000_000
            self._owner.server_changed(self)

    # --- SessionListener ---

    def on_header(self, tip: Tip) -> None:
        if tip.height <= self.height:
            self._note_idle()
        self._announced = tip
        self._header_event.set()

    def on_script(self, script_pubkey: bytes, status: str | None) -> None:
        view = self.views.get(script_pubkey)
        if view is not None and view.status != status:
            view.status = status
            view.outdated = view.notified = True
            self.ask([script_pubkey])

    def _note_idle(self) -> None:
        """A notification of something that was no news."""
        now_ms = time.monotonic_ns() // 1_000_000
        if now_ms - self._idle_since_ms > 60_000:
            self._idle_since_ms, self._idle_notifications = now_ms, 0
        self._idle_notifications += 1
        if self._idle_notifications > IDLE_NOTIFICATIONS_PER_MINUTE:
            self.fail(
                ServerError(ServerErrorKind.FLOOD, _("The server floods us with notifications of nothing."))
            )

    def on_closed(self, error: ServerError) -> None:
        self.fail(error)

    # --- headers ---

    async def _follow_headers(self) -> None:
        if self._announced is None:
            self._announced = self.need().first_tip
        while True:
            self._header_event.clear()
            announced = self._announced
            if announced is None:
                raise ServerError(ServerErrorKind.BAD_ANSWER, _("The server does not tell its chain's tip."))
            await self._follow(announced)
            if announced is not self._announced:
                continue
            self.height, self.hash = announced.height, announced.hash
            self._set_state(ServerState.ONLINE)
            self.ask(self._owner.scripts_for(self))
            self._owner.server_changed(self)
            await self._header_event.wait()

    async def _follow(self, tip: Tip) -> None:
        """Takes the server's chain up to its tip, where it has more work than ours."""
        if self._is_followed(tip):
            return
        async with self._owner.header_lock:
            if self._is_followed(tip):
                return
            try:
                await self._download(tip)
            except HeaderError as exc:
                self._not_taken(exc)

    def _is_followed(self, tip: Tip) -> bool:
        """Whether our chain has the tip, or has it now: the next block, as a rule, waits for nobody."""
        chain = self._owner.chain
        if chain.hash_at(tip.height) == tip.hash:
            return True
        if tip.height != chain.height + 1 or tip.raw[4:36] != chain.tip_hash or chain.is_empty:
            return False
        try:
            self._connect(tip.height, [tip.raw])
        except HeaderError as exc:
            self._not_taken(exc)
        return True

    def _not_taken(self, error: HeaderError) -> None:
        if error.fault is not HeaderFault.WEAKER:
            raise ServerError(ServerErrorKind.LIED, error.message) from None
        self._logger.log(LogLevel.INFO, "%s: %s", str(self), error.message)

    def _connect(self, start_height: int, raws: list[bytes]) -> None:
        connected = self._owner.chain.connect(start_height, raws)
        if connected.fork_height != connected.height:
            self._owner.chain_changed(connected)

    async def _download(self, tip: Tip) -> None:
        chain = self._owner.chain
        if tip.height < chain.base_height:
            raise ServerError(
                ServerErrorKind.STALE, _("The server is far behind; it is still catching up itself.")
            )
        if tip.height > chain.height:
            try:
                await self._extend(chain.height + 1, tip)
                return
            except HeaderError as exc:
                if exc.fault is not HeaderFault.UNLINKED:
                    raise
        fork_height = await self._find_fork(tip)
        branch = await self._fetch(fork_height + 1, tip.height)
        self._connect(fork_height + 1, branch)

    async def _extend(self, start_height: int, tip: Tip) -> None:
        """Fetches what follows ours, several portions under way at once."""
        while start_height <= tip.height:
            end_height = min(tip.height, start_height + PERIOD_BLOCKS * HEADER_REQUESTS_AT_ONCE - 1)
            raws = await self._fetch(start_height, end_height)
            for i in range(0, len(raws), PERIOD_BLOCKS):
                self._connect(start_height + i, raws[i : i + PERIOD_BLOCKS])
                # Checking a portion takes milliseconds; others want the loop in between.
                await asyncio.sleep(0)
            start_height = end_height + 1

    async def _fetch(self, start_height: int, end_height: int) -> list[bytes]:
        """All headers of a range; a server that has fewer than its tip promises has been reorganised
        meanwhile."""
        try:
            async with asyncio.timeout(HEADERS_TURN_SECONDS):
                return await self._fetch_all(start_height, end_height)
        except TimeoutError:
            raise ServerError(
                ServerErrorKind.TIMEOUT, _("The server is too slow to tell its block headers.")
            ) from None

    async def _fetch_all(self, start_height: int, end_height: int) -> list[bytes]:
        session = self.need()
        starts = range(start_height, end_height + 1, PERIOD_BLOCKS)
        portions = await asyncio.gather(
            *(session.block_headers(start, min(PERIOD_BLOCKS, end_height + 1 - start)) for start in starts)
        )
        raws: list[bytes] = []
        for start, portion in zip(starts, portions, strict=True):
            wanted = min(PERIOD_BLOCKS, end_height + 1 - start)
            while len(portion) < wanted:
                # Servers may give less than asked for at once.
                more = await session.block_headers(start + len(portion), wanted - len(portion))
                if not more:
                    raise ServerError(
                        ServerErrorKind.CLOSED, _("The server's chain changed while it was read.")
                    )
                portion += more
            raws += portion
        return raws

    async def _find_fork(self, tip: Tip) -> int:
        """The last height at which the server's chain is ours."""
        chain = self._owner.chain
        top = min(tip.height, chain.height)
        step = 10
        while top >= chain.base_height:
            start = max(chain.base_height, top - step + 1)
            raws = await self._fetch(start, top)
            for height in range(top, start - 1, -1):
                if chain.raw(height) == raws[height - start]:
                    return height
            top, step = start - 1, step * 4
        if chain.base_height == 0:
            raise ServerError(ServerErrorKind.WRONG_NETWORK, _("The server's chain has another first block."))
        raise ServerError(
            ServerErrorKind.LIED, _("The server's chain leaves ours below the last checkpoint.")
        )

    # --- scripts ---

    def ask(self, scripts: Iterable[bytes]) -> None:
        """Adds to what has to be asked."""
        self.todo.update(dict.fromkeys(scripts))
        if self.todo:
            self._script_event.set()

    def ask_again(self, scripts: Iterable[bytes]) -> None:
        """Asks for histories anew, whatever their status says."""
        doubtful = [script_pubkey for script_pubkey in scripts if script_pubkey in self.views]
        for script_pubkey in doubtful:
            self.views[script_pubkey].outdated = True
        self.ask(doubtful)

    async def _ask_scripts(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                await self._script_event.wait()
                self._script_event.clear()
                while self.todo:
                    script_pubkey = next(iter(self.todo))
                    del self.todo[script_pubkey]
                    self._asking += 1
                    group.create_task(self._ask(script_pubkey))

    async def _ask(self, script_pubkey: bytes) -> None:
        try:
            await self._ask_once(script_pubkey)
        except ServerRefused as exc:
            view = self.views.setdefault(script_pubkey, ScriptView())
            view.refusals += 1
            view.fresh_at = None
            if view.refusals >= REFUSALS_BEFORE_DROP:
                self.fail(ServerError(ServerErrorKind.STALE, exc.message))
                return
            # A reorganisation under way, or a node that is away: soon again.
            await asyncio.sleep(RETRY_REFUSED_SECONDS * view.refusals)
            self.ask([script_pubkey])
        except ServerError as exc:
            self.fail(exc)
        finally:
            self._asking -= 1
            if self.is_settled:
                self._owner.server_changed(self)

    async def _ask_once(self, script_pubkey: bytes) -> None:
        session = self.need()
        view = self.views.get(script_pubkey)
        if view is None:
            view = self.views[script_pubkey] = ScriptView()
        tip_hash = self.hash
        changed = False
        if view.fresh_at is None or view.fresh_at != tip_hash:
            if view.outdated or (view.history is None and len(self.views) <= SCRIPTS_ASKED_EAGERLY):
                # The history will be wanted: both at once, as answers may be held back for a second.
                view.outdated = view.notified = False
                status, history = await asyncio.gather(
                    session.subscribe_script(script_pubkey), session.script_history(script_pubkey)
                )
                changed = history != view.history
                view.status, view.history = status, history
            else:
                status = await session.subscribe_script(script_pubkey)
                if status != view.status:
                    view.status = status
                    view.outdated = True
        while view.outdated or view.history is None:
            notified, view.outdated, view.notified = view.notified, False, False
            history = () if view.status is None else await session.script_history(script_pubkey)
            if history != view.history:
                changed = True
            elif notified:
                self._note_idle()
            view.history = history
        view.fresh_at = tip_hash
        view.refusals = 0
        if changed:
            self._owner.script_answered(self, script_pubkey)
