"""The commit cycle: one entry, one batch; nothing leaves before its rows are on disk, nor out of order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wallet.chain.interfaces import BroadcastPackage, Row
from wallet.ln.channel_backup import ChannelBackups
from wallet.ln.events import MessageSendEvent, SendMessage
from wallet.ln.msgs import Ping
from wallet.ln.types import InvariantError, NodeId
from wallet.node.core import Batch, Core, ReleasedMessages
from wallet.node.store import Store

WAIT_SECONDS = 30


class Harness:
    """A core over a real file, with a list of what was released."""

    def __init__(self, path: Path) -> None:
        self.store = Store.create(path, network="regtest", password="")
        self.core = Core(self.store)
        self.released: list[Batch] = []
        self.order: list[str] = []
        self.core.release = self._release
        self._changed = threading.Condition()

    def _release(self, batch: Batch) -> None:
        with self._changed:
            self.released.append(batch)
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.released) >= count, WAIT_SECONDS)


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    made = Harness(tmp_path / "w" / "wallet.leyden")
    yield made
    made.store.close()


def row(key: bytes, value: bytes = b"v") -> Row:
    return Row("channel", key, value)


def a_message() -> MessageSendEvent:
    return SendMessage(NodeId(bytes(33)), Ping(num_pong_bytes=0, byteslen=0))


def messages(batch: Batch) -> list[object]:
    return list(batch.messages)


def test_entering_from_within_is_an_invariant_error(harness: Harness) -> None:
    with harness.core.entry():
        with pytest.raises(InvariantError, match="within itself"), harness.core.entry():
            pass
        with pytest.raises(InvariantError, match="within itself"), harness.core.locked():
            pass
    # The lock is free again, and the entry was whole.
    with harness.core.locked(), pytest.raises(InvariantError, match="within itself"), harness.core.entry():
        pass
    with harness.core.entry():
        pass


def test_another_thread_waits_for_its_turn(harness: Harness) -> None:
    order: list[str] = []
    entered = threading.Event()

    def other() -> None:
        entered.set()
        with harness.core.entry():
            order.append("other")

    thread = threading.Thread(target=other)
    with harness.core.entry():
        thread.start()
        assert entered.wait(WAIT_SECONDS)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]


def test_outside_an_entry_nothing_is_written(harness: Harness) -> None:
    for call in (
        lambda: harness.core.write([row(b"k")]),
        lambda: harness.core.broadcast_transactions(BroadcastPackage(())),
        lambda: harness.core.afterwards(lambda: None),
        lambda: harness.core.now,
    ):
        with pytest.raises(InvariantError, match="outside an entry"):
            call()
    with harness.core.locked(), pytest.raises(InvariantError, match="outside an entry"):
        harness.core.write([row(b"k")])


def test_an_exception_is_the_callers_and_what_was_done_is_committed(harness: Harness) -> None:
    settled: list[int] = []
    harness.core.settle = lambda: settled.append(harness.core.now.at)

    def fail_within() -> None:
        with harness.core.entry():
            harness.core.write([row(b"done")])
            raise KeyError("no such channel")

    with pytest.raises(KeyError, match="no such channel"):
        fail_within()
    assert len(settled) == 1
    harness.store.start()
    harness.wait(1)
    assert harness.store.read_row("channel", b"done") == b"v"
    with harness.core.entry():
        harness.core.write([row(b"next")])
    harness.wait(2)


def test_an_exception_while_settling_keeps_rows_and_messages(harness: Harness) -> None:
    pending: list[MessageSendEvent] = []
    said = a_message()
    harness.core.take_messages = lambda: [pending.pop(0) for _ in list(pending)]

    def settle() -> None:
        harness.core.write([row(b"before")])
        pending.append(said)
        raise InvariantError("a handler broke")

    harness.core.settle = settle
    with pytest.raises(InvariantError, match="a handler broke"), harness.core.entry():
        harness.core.write([row(b"first")])
    harness.core.settle = lambda: None
    with harness.core.entry():
        pass
    harness.store.start()
    harness.wait(2)
    assert [list(batch.rows) for batch in harness.released] == [
        [("channel", b"first"), ("channel", b"before")],
        [],
    ]
    # The message that was ready then leaves with the next entry, behind the rows that it relies on.
    assert [messages(batch) for batch in harness.released] == [[], [said]]


def test_batches_are_released_in_the_order_of_their_entries(harness: Harness) -> None:
    """Rows, no rows, from several threads: the order is that of the lock."""
    entered: list[Batch] = []
    harness.store.start()

    def work(number: int) -> None:
        for count in range(50):
            with harness.core.entry() as batch:
                entered.append(batch)
                if (number + count) % 3:
                    harness.core.write([row(bytes([number, count]))])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    harness.wait(200)
    assert len(harness.released) == 200
    assert all(one is other for one, other in zip(entered, harness.released, strict=True))
    assert harness.core.entries == 200


def test_an_entry_is_one_batch_with_all_that_settling_sets_off(harness: Harness) -> None:
    said = [a_message()]
    harness.core.settle = lambda: harness.core.write([row(b"k", b"2"), row(b"l")])
    harness.core.take_messages = lambda: said
    package = BroadcastPackage(())
    with harness.core.entry() as batch:
        harness.core.write([row(b"k", b"1")])
        harness.core.broadcast_transactions(package)
        harness.core.afterwards(lambda: harness.order.append("told"))
        assert harness.core.now is batch.now
    harness.store.start()
    harness.wait(1)
    assert [(r.key, r.value) for r in batch.rows.values()] == [(b"k", b"2"), (b"l", b"v")]
    assert (batch.messages, batch.packages) == (said, [package])
    assert harness.order == [], "released, but it is the loop that calls"
    assert harness.store.commits == 1


def test_released_messages_are_taken_once() -> None:
    released = ReleasedMessages()
    first = a_message()
    released.extend([first])
    assert released.get_and_clear_pending_msg_events() == [first]
    assert released.get_and_clear_pending_msg_events() == []


def test_the_calling_thread_commits_where_it_says_that_it_will(harness: Harness) -> None:
    asked: list[int] = []

    def commit_soon() -> bool:
        asked.append(threading.get_ident())
        return True

    harness.core.commit_soon = commit_soon
    harness.store.start()
    with harness.core.entry() as batch:
        harness.core.write([row(b"1")])
        harness.core.afterwards(lambda: None)
    assert asked == [threading.get_ident()]
    assert harness.released == []
    harness.store.commit_here()
    assert harness.released == [batch]


def test_a_batch_with_a_backup_is_left_to_the_writer_thread(harness: Harness) -> None:
    """The backup is written, and forced to disk, before anything leaves: nobody else is to wait for that."""
    harness.core.commit_soon = lambda: True
    harness.store.start()
    with harness.core.entry() as batch:
        harness.core.write([row(b"1")])
        batch.backup = ChannelBackups(network="regtest", node_id=NodeId(bytes(33)), made_at=0, channels=())
    harness.wait(1)
    assert harness.released == [batch]
