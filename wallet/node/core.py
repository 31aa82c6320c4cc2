"""The one way into the core: a lock, a batch, a commit, and only then what leaves.

Theory of operation. `Core.entry()` takes the one lock, lets the caller call the core, settles what that set off
(monitor events, forwards, events for the wallet) and hands the batch to the store: rows in, effects ordered behind
them. When the batch is durable its effects are released on the network loop: messages to peers, broadcasts, and
what the front ends are told. Nothing of a batch leaves before its rows are on disk, nor before an earlier batch.

The lock is not re-entrant: what the core calls out to (filter, broadcaster, signer) only queues. A thread that enters
while it is inside already meets an `InvariantError` rather than a deadlock.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from wallet.chain.interfaces import BroadcastPackage, Row
from wallet.ln.channel_backup import ChannelBackups
from wallet.ln.events import MessageSendEvent
from wallet.ln.types import InvariantError, NodeId, Now
from wallet.node.store import Store

__all__ = ["SOON_SECONDS", "Batch", "Core", "ReleasedMessages", "read_clocks"]

SOON_SECONDS = 0.01
"""How long a window's thread waits for a busy core at most: less than a picture takes to change."""


def read_clocks() -> Now:
    """The computer's two clocks, read once an entry."""
    return Now(at=int(time.time()), mono_ms=time.monotonic_ns() // 1_000_000)


@dataclass(slots=True)
class Batch:
    """What one entry changed, and what has to leave once that is durable.

    Attributes:
        sockets: over which connection each message is to go; a later one begins with another conversation.
        backup: to be written before anything leaves, because the channels have changed.
    """

    now: Now
    rows: dict[tuple[str, bytes], Row] = field(default_factory=dict)
    messages: list[MessageSendEvent] = field(default_factory=list)
    sockets: dict[NodeId, object] = field(default_factory=dict)
    packages: list[BroadcastPackage] = field(default_factory=list)
    afterwards: list[Callable[[], None]] = field(default_factory=list)
    backup: ChannelBackups | None = None

    @property
    def waited_for(self) -> bool:
        """Whether something is to leave. Else the rows may wait a moment for the next commit: should they be lost
        with the process, nobody has been told of them, and the peer tells us again."""
        return bool(self.messages or self.packages or self.afterwards)


class ReleasedMessages:
    """`MessageSendEventsProvider` of what is durable: the `PeerManager` pulls from here, never from the core."""

    def __init__(self) -> None:
        self._pending: list[MessageSendEvent] = []

    def extend(self, messages: Iterable[MessageSendEvent]) -> None:
        self._pending.extend(messages)

    def get_and_clear_pending_msg_events(self) -> list[MessageSendEvent]:
        pending, self._pending = self._pending, []
        return pending


class Core:
    """The lock and the commit cycle. It is `Persist` and `BroadcasterInterface` to the core.

    Attributes, set by the composition before the first entry:
        settle: calls whatever an entry may have set off; within the lock, at the end of each entry.
        take_messages: the core's pending messages.
        release: sends a durable batch out; called on the thread that has committed, has to hand over quickly.
        flush_soon: calls `Store.flush` within a moment.
        commit_soon: calls `Store.commit_here` once the calling thread is out of the core; False where it cannot, and
            the writer thread has to.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.settle: Callable[[], None] = lambda: None
        self.take_messages: Callable[[], list[MessageSendEvent]] = list
        self.release: Callable[[Batch], None] = lambda batch: None
        self.flush_soon: Callable[[], None] = store.flush
        self.commit_soon: Callable[[], bool] = lambda: False
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._batch: Batch | None = None
        self.entries = 0

    # --- entering -----------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """The lock alone: for reading, and for handing durable messages to the `PeerManager`."""
        me = threading.get_ident()
        if self._owner == me:
            raise InvariantError("the core was entered from within itself")
        with self._lock:
            self._owner = me
            try:
                yield
            finally:
                self._owner = None

    @contextlib.contextmanager
    def locked_soon(self) -> Iterator[bool]:
        """The lock, where it is free within `SOON_SECONDS`; whether it is held now. For a window's thread, which has
        something to show without it."""
        me = threading.get_ident()
        if self._owner == me:
            raise InvariantError("the core was entered from within itself")
        if not self._lock.acquire(timeout=SOON_SECONDS):
            yield False
            return
        self._owner = me
        try:
            yield True
        finally:
            self._owner = None
            self._lock.release()

    @contextlib.contextmanager
    def entry(self, *, may_be_idle: bool = False) -> Iterator[Batch]:
        """One entry into the core: everything that it changes is one commit. `may_be_idle`: where it changes nothing,
        what waits on its way to the disk is not hurried for it.

        An exception is the caller's to see; what the core had already swapped in before it is committed all the
        same, because the core's steps are whole: memory and disk never disagree.
        """
        with self.locked():
            batch = self._batch = Batch(read_clocks())
            self.entries += 1
            try:
                try:
                    yield batch
                finally:
                    self.settle()
                    batch.messages.extend(self.take_messages())
            finally:
                self._batch = None
                if not may_be_idle or batch.rows or batch.waited_for:
                    self._submit(batch)

    def _submit(self, batch: Batch) -> None:
        urgent = batch.waited_for or not batch.rows
        # A backup is a file of its own, written before anything leaves: that may take the disk long.
        by_thread = batch.backup is not None or (urgent and not self.commit_soon())
        self.store.submit(batch.rows.values(), lambda: self.release(batch), urgent=by_thread)
        if not urgent:
            self.flush_soon()

    @property
    def batch(self) -> Batch:
        """The batch of the entry under way."""
        if self._batch is None:
            raise InvariantError("the core was called outside an entry")
        return self._batch

    @property
    def now(self) -> Now:
        """The clocks as they were read when the entry began."""
        return self.batch.now

    # --- what the core calls --------------------------------------------------------

    def write(self, rows: Iterable[Row]) -> None:
        """`Persist`."""
        batch = self.batch
        for row in rows:
            batch.rows[row.space, row.key] = row

    def broadcast_transactions(self, package: BroadcastPackage) -> None:
        """`BroadcasterInterface`: leaves after the commit."""
        self.batch.packages.append(package)

    def afterwards(self, call: Callable[[], None]) -> None:
        """Calls `call` on the network loop once the entry is durable."""
        self.batch.afterwards.append(call)
