"""How peers that are away are called is told: how often, why in vain, and when next."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wallet.ln.types import NodeId
from wallet.node import peers
from wallet.node.node import Node
from wallet.node.peers import Calls, PeerKeeper
from wallet.node.records import PeerRecord
from wallet.node.sockets import NodeUri

PEER = NodeId(b"\x02" * 33)
URI = NodeUri(PEER, "198.51.100.1", 9735)
WAIT_SECONDS = 60


class Place:
    """As much of a node as a keeper needs. Attribute: `error`, what a call ends with."""

    def __init__(self) -> None:
        self.error: Exception = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        self.at = 1_000
        self.told = asyncio.Event()
        self.written: list[PeerRecord] = []
        record = PeerRecord(node_id=PEER, host=URI.host, port=URI.port, last_seen_at=5)
        node = SimpleNamespace(
            connections=SimpleNamespace(connect=self.connect),
            views=SimpleNamespace(publish_soon=self.told.set),
            wall_clock_at=lambda: self.at,
            has_channel_with=lambda _node_id: True,
            log=lambda *_words: None,
            core=SimpleNamespace(now=SimpleNamespace(at=7_000)),
            ledger=SimpleNamespace(peers={bytes(PEER): record}, put_peer=self.written.append),
        )
        self.keeper = PeerKeeper(cast("Node", node))

    async def connect(self, _uri: NodeUri) -> Any:
        raise self.error

    async def until(self, condition: Callable[[Calls], bool]) -> Calls:
        """Waits for what is told."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition(self.keeper.calls(PEER)):
                self.told.clear()
                await self.told.wait()
        return self.keeper.calls(PEER)


def test_each_call_in_vain_is_counted_and_told_with_its_reason_and_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Nothing but a kick makes it call again.
    monkeypatch.setattr(peers, "FIRST_RETRY_SECONDS", 100_000.0)
    monkeypatch.setattr(peers, "LAST_RETRY_SECONDS", 100_000.0)

    async def scenario() -> None:
        place = Place()
        keeper = place.keeper
        assert keeper.calls(PEER) == Calls()
        keeper.keep(URI)
        calls = await place.until(lambda calls: calls.attempts == 1 and calls.next_at is not None)
        assert (calls.tried_at, calls.problem, calls.seen_at) == (1_000, "Connection refused", None)
        assert calls.next_at is not None
        assert 81_000 <= calls.next_at <= 121_000
        place.error, place.at = TimeoutError(), 2_000
        keeper.kick()
        calls = await place.until(lambda calls: calls.attempts == 2 and calls.next_at is not None)
        assert (calls.tried_at, calls.problem) == (2_000, "no answer in time")
        place.error, place.at = RuntimeError("a fault of ours"), 3_000
        keeper.kick()
        calls = await place.until(lambda calls: calls.attempts == 3 and calls.next_at is not None)
        assert (calls.tried_at, calls.problem) == (3_000, "RuntimeError")
        # It calls us by itself: what was in vain is forgotten.
        keeper.connected(PEER)
        assert keeper.calls(PEER) == Calls(seen_at=3_000)
        place.at = 9_000
        keeper.disconnected(PEER)
        assert keeper.calls(PEER).seen_at == 9_000
        assert keeper.calls(PEER).attempts == 0
        await keeper.close()

    asyncio.run(scenario())


def test_a_peer_that_has_moved_is_called_where_it_was_found_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "FIRST_RETRY_SECONDS", 100_000.0)
    monkeypatch.setattr(peers, "LAST_RETRY_SECONDS", 100_000.0)
    moved = NodeUri(PEER, "203.0.113.7", 9735)

    async def scenario() -> None:
        place, called = Place(), asyncio.Queue[NodeUri]()
        keeper = place.keeper

        async def connect(uri: NodeUri) -> Any:
            called.put_nowait(uri)
            if uri != moved:
                raise place.error
            keeper.connected(PEER)
            return SimpleNamespace(gone=asyncio.Event(), drop=lambda: None)

        keeper._node.connections = cast("Any", SimpleNamespace(connect=connect))
        keeper.keep(URI)
        await place.until(lambda calls: calls.attempts == 1 and calls.next_at is not None)
        # The person learns where it is now.
        await keeper.connect(moved)
        keeper.disconnected(PEER)
        keeper.kick()
        async with asyncio.timeout(WAIT_SECONDS):
            assert [await called.get() for _ in range(3)] == [URI, moved, moved]
        await keeper.close()

    asyncio.run(scenario())


def test_who_is_there_is_written_down_for_after_a_restart() -> None:
    async def scenario() -> None:
        place = Place()
        place.keeper.note_seen()
        assert not place.written
        place.keeper.connected(PEER)
        place.keeper.connected(NodeId(b"\x03" * 33))
        place.keeper.note_seen()
        assert [(record.node_id, record.last_seen_at) for record in place.written] == [(bytes(PEER), 7_000)]

    asyncio.run(scenario())
