"""The timer thread: it calls the periodic ticks, and does nothing else.

The core has no clock. Each task has a period; a tick that is late (the computer slept) is made once, not many times.
A task that raises is logged and called again at its next time: a tick is never the end of the wallet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from wallet.chain.interfaces import Logger, LogLevel

__all__ = ["BackgroundProcessor", "PeriodicTask"]

SLEEP_JUMP_SECONDS = 30
"""A wait that took this much longer than asked for means that the computer slept."""


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """A call to make every `period_seconds`."""

    name: str
    period_seconds: float
    call: Callable[[], None]


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
        due_at = {task.name: time.monotonic() + task.period_seconds for task in self._tasks}
        while True:
            wait_seconds = max(0.0, min(due_at.values()) - time.monotonic())
            asked_at = time.time()
            if self._stop.wait(wait_seconds):
                return
            if time.time() - asked_at - wait_seconds > SLEEP_JUMP_SECONDS:
                self._call(PeriodicTask("resume", 0, self._resumed))
            for task in self._tasks:
                if time.monotonic() >= due_at[task.name]:
                    self._call(task)
                    due_at[task.name] = time.monotonic() + task.period_seconds
                if self._stop.is_set():
                    return

    def _call(self, task: PeriodicTask) -> None:
        try:
            task.call()
        except Exception as error:
            self._logger.log(LogLevel.ERROR, "the tick %s failed: %r", task.name, error)
