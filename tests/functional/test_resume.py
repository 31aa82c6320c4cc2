"""A computer that slept, on a whole node: what the window is told, before any server has answered again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.functional.whole_nodes import WAIT_SECONDS, WholeWorld
from wallet.chain.electrum.session import ElectrumSession
from wallet.gui.widgets.statusbar import status_items
from wallet.node import background
from wallet.node.api import ChangeSet

SLEEP_SECONDS = 3600.0


class Wall:
    """The module `time` for the timer thread; the wall clock jumps when the computer has slept."""

    def __init__(self) -> None:
        self.slept_seconds = 0.0

    def time(self) -> float:
        return time.time() + self.slept_seconds

    def monotonic(self) -> float:
        return time.monotonic()


def test_after_a_sleep_the_window_says_reconnecting_until_a_server_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How soon the sleep is noticed is `test_a_sleep_is_noticed_within_two_seconds_whatever_is_due`."""
    wall = Wall()
    monkeypatch.setattr(background, "time", wall)

    async def scenario() -> None:
        answers = asyncio.Event()
        told: asyncio.Queue[list[str]] = asyncio.Queue()
        really_ping = ElectrumSession.ping

        async def ping(session: ElectrumSession, timeout_seconds: float | None = None) -> None:
            await answers.wait()
            await really_ping(session, timeout_seconds)

        def listen(change: ChangeSet) -> None:
            told.put_nowait([item.text for item in status_items(change.snapshot)])

        async def until_told(text: str) -> None:
            while text not in await told.get():
                pass

        async with asyncio.timeout(WAIT_SECONDS), WholeWorld.made(tmp_path, ("alice",)) as world:
            node = world.nodes[0].node
            end = node.views.subscribe(listen)
            await until_told("Connected to 1 server")
            monkeypatch.setattr(ElectrumSession, "ping", ping)
            wall.slept_seconds = SLEEP_SECONDS
            await until_told("No server: reconnecting")
            # Nothing but an answer ends it, and an answer does.
            assert all("Connected to 1 server" not in texts for texts in iter_now(told))
            answers.set()
            await until_told("Connected to 1 server")
            end()

    asyncio.run(scenario())


def iter_now(queue: asyncio.Queue[list[str]]) -> list[list[str]]:
    """What has come already."""
    return [queue.get_nowait() for _ in range(queue.qsize())]
