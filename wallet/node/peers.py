"""Keeps the peers that matter connected: whoever shares a channel with us, and whoever the person asked for.

Reconnection backs off from one second to five minutes, with a little disorder so that peers do not see all our
connections come at once. It runs on the network loop and is woken by events, never by polling.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from typing import TYPE_CHECKING

from wallet.chain.interfaces import LogLevel
from wallet.ln.types import NodeId
from wallet.node.records import PeerRecord
from wallet.node.sockets import NodeUri

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__ = ["PeerKeeper"]

FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 300.0
HANDSHAKE_TIMEOUT_SECONDS = 20.0


class PeerKeeper:
    """One task per peer to keep. `connected` and `disconnected` are called on the loop when that is known."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._tasks: dict[NodeId, asyncio.Task[None]] = {}
        self._gone: dict[NodeId, asyncio.Event] = {}
        self._waiting: dict[NodeId, list[asyncio.Future[None]]] = {}
        self._online: set[NodeId] = set()
        self._closing = False
        self._kick: dict[NodeId, asyncio.Event] = {}

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
            self._tasks[uri.node_id] = asyncio.get_running_loop().create_task(self._keep(uri))

    async def connect(self, uri: NodeUri) -> None:
        """Returns once the peer is connected and has said `init`; raises `OSError` or `TimeoutError`."""
        if uri.node_id in self._online:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(uri.node_id, []).append(done)
        try:
            peer_socket = await self._node.connections.connect(uri)
            try:
                async with asyncio.timeout(HANDSHAKE_TIMEOUT_SECONDS):
                    await done
            except TimeoutError:
                peer_socket.abort()
                raise
        finally:
            waiting = self._waiting.get(uri.node_id, [])
            if done in waiting:
                waiting.remove(done)
        self.keep(uri)

    def kick(self) -> None:
        """Tries again at once, wherever a retry is being waited for: the computer woke up, or the network is back."""
        for event in self._kick.values():
            event.set()

    async def close(self) -> None:
        self._closing = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    # --- told by the node -----------------------------------------------------------

    def connected(self, node_id: NodeId) -> None:
        self._online.add(node_id)
        self._gone.setdefault(node_id, asyncio.Event()).clear()
        for done in self._waiting.pop(node_id, []):
            if not done.done():
                done.set_result(None)

    def disconnected(self, node_id: NodeId) -> None:
        self._online.discard(node_id)
        self._gone.setdefault(node_id, asyncio.Event()).set()

    # --- keeping ----------------------------------------------------------------------

    async def _keep(self, uri: NodeUri) -> None:
        delay_seconds = FIRST_RETRY_SECONDS
        while not self._closing:
            if uri.node_id in self._online:
                await self._gone.setdefault(uri.node_id, asyncio.Event()).wait()
                delay_seconds = FIRST_RETRY_SECONDS
                if not self._node.has_channel_with(uri.node_id):
                    return
            try:
                await self.connect(uri)
                continue
            except (OSError, TimeoutError) as error:
                self._node.log(LogLevel.INFO, "cannot reach %s: %r", uri.node_id.hex()[:12], error)
            kick = self._kick.setdefault(uri.node_id, asyncio.Event())
            kick.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_seconds * random.uniform(0.8, 1.2)):
                    await kick.wait()
            delay_seconds = min(delay_seconds * 2, LAST_RETRY_SECONDS)

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
