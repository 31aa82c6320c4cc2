"""`SignatureChecks` on all cores: gossip's signatures are verified in batches, outside the core's lock.

Theory of operation. What is submitted piles up; each worker that is free takes what there is, up to a batch, verifies
it with the interpreter's lock released once, and puts the verdicts down. So a single message does not wait for company,
and a flood comes in large batches. Answers are given in the order of the submissions, a batch in one go.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence

from wallet.bitcoin.curve import CHECK_LENGTH, EcdsaChecks

__all__ = ["SignaturePool"]

Answer = Callable[[bytes], None]

BATCH_CHECKS = 512
"""Some 15 ms of work, so that the lock is taken back seldom; answered within a few milliseconds."""


class SignaturePool:
    """See the module's docstring. The threads start with the first submission, and end with `close`."""

    def __init__(self, deliver: Callable[[Callable[[], None]], object], threads: int | None = None) -> None:
        """`deliver` is given what answers a batch, on a worker's thread, in order; it has it called under the lock."""
        self._deliver = deliver
        self._count = threads or os.cpu_count() or 1
        self._threads: list[threading.Thread] = []
        self._condition = threading.Condition()
        self._waiting: deque[tuple[bytes, Answer]] = deque()
        self._closing = False
        # Workers that wait. Raised before they look whether there is work: who adds some sees it, or is seen.
        self._idle = 0
        # Batches are numbered as they are taken; those that are done early wait for those before them.
        self._taken = 0
        self._delivered = 0
        self._done: dict[int, tuple[Sequence[tuple[bytes, Answer]], bytes]] = {}

    def submit(self, checks: bytes, answered: Answer) -> None:
        """`SignatureChecks`. Takes no lock while all workers are busy: a flood comes one message at a time."""
        self._waiting.append((checks, answered))
        if not self._idle and len(self._threads) == self._count:
            return
        with self._condition:
            if self._closing:
                self._waiting.clear()
            elif not self._idle and len(self._threads) < self._count:
                thread = threading.Thread(target=self._run, name="leyden-signatures", daemon=True)
                self._threads.append(thread)
                thread.start()
            else:
                self._condition.notify()

    def close(self) -> None:
        """Ends the threads; what waits is not answered any more."""
        with self._condition:
            self._closing = True
            self._waiting.clear()
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        verifier = EcdsaChecks()
        while (taken := self._take()) is not None:
            number, batch = taken
            verdicts = verifier.verify(b"".join(checks for checks, _ in batch))
            with self._condition:
                self._done[number] = (batch, verdicts)
                # Delivered within the lock, because the order of the calls is the order of the answers.
                while (done := self._done.pop(self._delivered, None)) is not None:
                    self._delivered += 1
                    if not self._closing:
                        self._deliver(_answer(*done))

    def _take(self) -> tuple[int, Sequence[tuple[bytes, Answer]]] | None:
        """The next batch, once there is one; None at the end."""
        with self._condition:
            self._idle += 1
            while not self._waiting and not self._closing:
                self._condition.wait()
            self._idle -= 1
            if self._closing:
                return None
            length = BATCH_CHECKS * CHECK_LENGTH
            batch = []
            while self._waiting and length > 0:
                item = self._waiting.popleft()
                batch.append(item)
                length -= len(item[0])
            number = self._taken
            self._taken += 1
            return number, batch


def _answer(batch: Sequence[tuple[bytes, Answer]], verdicts: bytes) -> Callable[[], None]:
    def answer() -> None:
        position = 0
        for checks, answered in batch:
            end = position + len(checks) // CHECK_LENGTH
            answered(verdicts[position:end])
            position = end

    return answer
