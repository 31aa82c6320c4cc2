"""A window is told of each change, and reads what it shows without waiting for a core that is busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.functional.test_activity import CAPACITY_SAT, COINS_SAT, history, pay
from tests.functional.whole_nodes import WholeWorld, play
from wallet.node.api import ActivityQuery, ChangeSet
from wallet.node.core import Core

GIVES_UP_SECONDS = 60


@contextmanager
def busy(core: Core) -> Iterator[Callable[[], bool]]:
    """Another thread is inside the core all the while; what is yielded says whether it still is."""
    inside, done = threading.Event(), threading.Event()
    left = threading.Event()

    def hold() -> None:
        with core.locked():
            inside.set()
            done.wait(GIVES_UP_SECONDS)
            left.set()

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(GIVES_UP_SECONDS)
    try:
        yield lambda: not left.is_set()
    finally:
        done.set()
        thread.join()


def taken(lock: threading.Lock) -> bool:
    """Waits until somebody has the lock."""
    until = time.monotonic() + GIVES_UP_SECONDS / 2
    while not lock.locked() and time.monotonic() < until:
        time.sleep(0.001)
    return lock.locked()


def test_what_a_window_reads_does_not_wait_for_the_core(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await alice.fund(COINS_SAT)
            await alice.open_channel(bob, CAPACITY_SAT)
            await pay(alice, bob, "Coffee and a bun")
            told: list[ChangeSet] = []
            end = alice.node.subscribe(told.append)
            await alice.until("the first news", lambda: told)
            before = history(alice)
            index = alice.node.views.activity
            with busy(alice.node.core) as is_busy:
                # As if something had changed just now, and nobody could look yet.
                index._version = (-1, -1, -1)
                assert history(alice) == before
                found = alice.node.activity_page(offset=0, limit=50)
                assert [item.item_id for item in found.items] == list(
                    alice.node.activity_ids(ActivityQuery())
                )
                for item in before:
                    assert list(alice.node.activity_items([item.item_id])) == [item]
                    assert len(alice.node.payment_attempts(item.item_id)) == (item.txid is None)
                assert is_busy()
            # It is looked at once the core is free again.
            assert history(alice) == before
            assert index._version == index._versions()
            end()

    play(scenario())


def test_who_is_told_of_nothing_waits_and_reads_what_is_true(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice"]) as world:
            (alice,) = world.nodes
            await alice.fund(COINS_SAT)
            index = alice.node.views.activity
            with busy(alice.node.core) as is_busy:
                index._version = (-1, -1, -1)
                seen: list[int] = []
                reader = threading.Thread(target=lambda: seen.append(len(history(alice))))
                reader.start()
                # It stands at the core's door, with the index's own lock in its hand. The loop must not run meanwhile.
                assert taken(index._lock)
                assert is_busy()
                assert seen == []
            reader.join()
            assert seen == [1]

    play(scenario())
