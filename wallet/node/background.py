"""The timer thread: it calls the periodic ticks, and does nothing else.

The core has no clock. Each task has a period; a tick that is late (the computer slept) is made once, not many times.
A task that raises is logged and called again at its next time: a tick is never the end of the wallet.

The thread looks up every second, whatever is due: a computer that woke up is noticed at once, and nothing that was
known before its sleep is shown as if it were current.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from wallet.chain.interfaces import Logger, LogLevel

__all__ = ["BackgroundProcessor", "PeriodicTask", "Schedule"]

LOOK_UP_SECONDS = 1.0
SLEEP_JUMP_SECONDS = 30
"""A wall clock that went on by this much more than waits and ticks account for means that the computer slept."""


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """A call to make every `period_seconds`."""

    name: str
    period_seconds: float
    call: Callable[[], None]


class Schedule:
    """When each task is due, on a clock that the caller reads. Times are monotonic seconds."""

    def __init__(self, tasks: tuple[PeriodicTask, ...], now_seconds: float) -> None:
        self._tasks = tasks
        self._due = [now_seconds + task.period_seconds for task in tasks]

    def wait_seconds(self, now_seconds: float) -> float | None:
        """Until the next task is due; None where there is none."""
        return max(0.0, min(self._due) - now_seconds) if self._due else None

    def run_due(self, call: Callable[[PeriodicTask], bool], clock: Callable[[], float]) -> None:
        """Calls what is due, each once however late it is, until `call` says that it is enough. A task's next time
        counts from the end of this one: one that takes longer than its period leaves room for the others."""
        for index, task in enumerate(self._tasks):
            if clock() >= self._due[index]:
                go_on = call(task)
                self._due[index] = clock() + task.period_seconds
                if not go_on:
                    return


class BackgroundProcessor:
    """Runs `PeriodicTask`s on one thread until it is stopped. `resumed` is called after each sleep of the computer."""

    def __init__(
        self, tasks: tuple[PeriodicTask, ...], logger: Logger, *, resumed: Callable[[], None] = lambda: None
    ) -> None:
        self._tasks = tasks
        self._logger = logger
        self._resumed = resumed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leyden-timer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when no tick is under way and none will come."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        schedule = Schedule(self._tasks, time.monotonic())
        looked_at, looked_seconds = time.time(), time.monotonic()
        while True:
            asked_seconds = time.monotonic()
            wait_seconds = schedule.wait_seconds(asked_seconds)
            if wait_seconds is None:
                self._stop.wait()
                return
            wait_seconds = min(wait_seconds, LOOK_UP_SECONDS)
            if self._stop.wait(wait_seconds):
                return
            # The monotonic clock stands still while the computer sleeps, the wall clock does not. Counted from the last
            # look, because a sleep may begin while a tick is under way; what the tick itself took is no sleep.
            now_at = time.time()
            slept_seconds = now_at - looked_at - (asked_seconds - looked_seconds) - wait_seconds
            looked_at, looked_seconds = now_at, time.monotonic()
            if slept_seconds > SLEEP_JUMP_SECONDS:
                self._call(PeriodicTask("resume", 0, self._resumed))
            schedule.run_due(self._call, time.monotonic)

    def _call(self, task: PeriodicTask) -> bool:
        """Whether to go on."""
        try:
            task.call()
        except Exception as error:
            self._logger.log(LogLevel.ERROR, "the tick %s failed: %r", task.name, error)
        return not self._stop.is_set()
