"""Keeps the peers that matter connected: whoever shares a channel with us, and whoever the person asked for.

Reconnection backs off from one second to five minutes, with a little disorder so that peers do not see all our
connections come at once. It runs on the network loop and is woken by events, never by polling.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wallet.chain.interfaces import LogLevel
from wallet.i18n import _
from wallet.ln.types import NodeId
from wallet.node.records import PeerRecord
from wallet.node.sockets import NodeUri

if TYPE_CHECKING:
    from wallet.node.node import Node
    from wallet.node.sockets import PeerSocket

__all__ = ["Calls", "PeerKeeper"]

FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 300.0
STABLE_SECONDS = 60.0
"""A connection that held this long was a good one: the next is tried soon again."""
HANDSHAKE_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """How a peer that is away is being called; all unix time.

    Attributes:
        seen_at: when it was there last, since we began; None where it was not.
        attempts: in vain, since it went or since we began.
        next_at: None while it is being called.
        problem: of the last call, in a few words.
    """

    seen_at: int | None = None
    attempts: int = 0
    tried_at: int | None = None
    next_at: int | None = None
    problem: str = ""


class PeerKeeper:
    """One task per peer to keep. `connected` and `disconnected` are called on the loop when that is known."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._tasks: dict[NodeId, asyncio.Task[None]] = {}
        self._uris: dict[NodeId, NodeUri] = {}
        """Where each is called: the address that was good last."""
        self._gone: dict[NodeId, asyncio.Event] = {}
        self._waiting: dict[NodeId, list[asyncio.Future[None]]] = {}
        self._online: set[NodeId] = set()
        self._closing = False
        self._kick: dict[NodeId, asyncio.Event] = {}
        self._calls: dict[NodeId, Calls] = {}

    def calls(self, node_id: NodeId) -> Calls:
        """For the views; from any thread."""
        return self._calls.get(node_id, Calls())

    @property
    def online(self) -> frozenset[NodeId]:
        return frozenset(self._online)

    def start(self) -> None:
        """Connects to every known peer that we share a channel with."""
        with self._node.core.locked():
            wanted = {details.counterparty_node_id for details in self._node.manager.list_channels()}
        for record in list(self._node.ledger.peers.values()):
            if record.node_id in wanted:
                self.keep(NodeUri(NodeId(record.node_id), record.host, record.port))

    def keep(self, uri: NodeUri) -> None:
        """Connects, and connects again whenever the connection is lost."""
        task = self._tasks.get(uri.node_id)
        if task is None or task.done():
            self._uris[uri.node_id] = uri
            self._tasks[uri.node_id] = asyncio.get_running_loop().create_task(self._keep(uri.node_id))

    async def connect(self, uri: NodeUri) -> None:
        """Returns once the peer is connected and has said `init`; raises `OSError` or `TimeoutError`."""
        if uri.node_id in self._online:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(uri.node_id, []).append(done)
        try:
            peer_socket = await self._node.connections.connect(uri)
            await self._shake_hands(peer_socket, done)
        finally:
            waiting = self._waiting.get(uri.node_id, [])
            if done in waiting:
                waiting.remove(done)
            if not waiting:
                self._waiting.pop(uri.node_id, None)
        self._uris[uri.node_id] = uri
        self.keep(uri)

    @staticmethod
    async def _shake_hands(peer_socket: PeerSocket, done: asyncio.Future[None]) -> None:
        """Waits for `init`, over this connection or another; raises `OSError` when it is hung up on before."""
        gone = asyncio.get_running_loop().create_task(peer_socket.gone.wait())
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_SECONDS):
                await asyncio.wait((done, gone), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            peer_socket.drop()
            raise
        finally:
            gone.cancel()
        if not done.done():
            raise OSError(errno.ECONNRESET, _("it hung up during the handshake: is the node id right?"))

    def moved(self, uri: NodeUri) -> None:
        """A peer that we know is to be called elsewhere from now on; within an entry."""
        if uri.node_id not in self._node.ledger.peers:
            return
        self.remember(uri)
        if uri.node_id in self._uris:
            self._uris[uri.node_id] = uri
            self._kick.setdefault(uri.node_id, asyncio.Event()).set()

    def kick(self) -> None:
        """Tries again at once, wherever a retry is being waited for: the computer woke up, or the network is back."""
        for event in self._kick.values():
            event.set()

    async def close(self) -> None:
        self._closing = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- told by the node -----------------------------------------------------------

    def connected(self, node_id: NodeId) -> None:
        self._online.add(node_id)
        self._calls[node_id] = Calls(seen_at=self._node.wall_clock_at())
        self._gone.setdefault(node_id, asyncio.Event()).clear()
        for done in self._waiting.pop(node_id, []):
            if not done.done():
                done.set_result(None)

    def disconnected(self, node_id: NodeId) -> None:
        self._online.discard(node_id)
        self._calls[node_id] = Calls(seen_at=self._node.wall_clock_at())
        self._gone.setdefault(node_id, asyncio.Event()).set()

    # --- keeping ----------------------------------------------------------------------

    async def _keep(self, node_id: NodeId) -> None:
        delay_seconds = FIRST_RETRY_SECONDS
        while not self._closing:
            if node_id in self._online:
                since_seconds = time.monotonic()
                await self._gone.setdefault(node_id, asyncio.Event()).wait()
                if not self._node.has_channel_with(node_id):
                    return
                if time.monotonic() - since_seconds > STABLE_SECONDS:
                    delay_seconds = FIRST_RETRY_SECONDS
            else:
                self._tell(node_id, next_at=None)
                try:
                    await self.connect(self._uris[node_id])
                    continue
                except Exception as error:
                    # A fault of ours, too: channels with the peer need it, so it is called again whatever happens.
                    level = LogLevel.INFO if isinstance(error, OSError) else LogLevel.ERROR
                    self._failed(node_id, error)
                    self._node.log(level, "cannot reach %s: %r", node_id.hex()[:12], error)
            # Also after a connection that did hold: a peer that takes us and hangs up at once is not to be hammered.
            wait_seconds = delay_seconds * random.uniform(0.8, 1.2)
            self._tell(node_id, next_at=self._node.wall_clock_at() + int(wait_seconds))
            await self._wait_or_kick(node_id, wait_seconds)
            delay_seconds = min(delay_seconds * 2, LAST_RETRY_SECONDS)

    def _failed(self, node_id: NodeId, error: Exception) -> None:
        known = self.calls(node_id)
        problem = _("no answer in time")
        if not isinstance(error, TimeoutError):
            problem = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        self._calls[node_id] = dataclasses.replace(
            known, attempts=known.attempts + 1, tried_at=self._node.wall_clock_at(), problem=problem
        )

    def _tell(self, node_id: NodeId, *, next_at: int | None) -> None:
        self._calls[node_id] = dataclasses.replace(self.calls(node_id), next_at=next_at)
        self._node.views.publish_soon()

    async def _wait_or_kick(self, node_id: NodeId, wait_seconds: float) -> None:
        kick = self._kick.setdefault(node_id, asyncio.Event())
        kick.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds):
                await kick.wait()

    def note_seen(self) -> None:
        """Writes down who is there now, so that it can be told after a restart as well; within an entry."""
        for node_id in self.online:
            known = self._node.ledger.peers.get(node_id)
            if known is not None:
                now_at = self._node.core.now.at
                self._node.ledger.put_peer(dataclasses.replace(known, last_seen_at=now_at))

    def remember(self, uri: NodeUri) -> None:
        """Writes the peer's address down; within an entry."""
        known = self._node.ledger.peers.get(uri.node_id)
        record = PeerRecord(
            node_id=uri.node_id, host=uri.host, port=uri.port, last_seen_at=self._node.core.now.at
        )
        if known is not None:
            record = dataclasses.replace(
                known, host=uri.host, port=uri.port, last_seen_at=self._node.core.now.at
            )
        self._node.ledger.put_peer(record)
