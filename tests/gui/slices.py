"""What the window's thread does at a stretch, on a real node: `python -m tests.gui.slices DIR`.

The tour walks through the sandbox in this process. Each event that Qt delivers is a slice: its own CPU time, and how
long it stood at a lock, a condition or a future of ours. Where the driver presses a button, or would take a picture,
another slice begins: a person would have acted twice. What listening to Qt's events costs is taken off. Beside it a
thread that only sleeps tells how late it wakes: who calls into C and keeps the interpreter's lock keeps it waiting.
Prints a line of JSON: of each step of the tour its longest slice, what it waited of that, and what it was; the longest
that the lock was kept; and how long a fixed piece of work takes here.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PyQt6.QtCore import QEvent, QObject
from PyQt6.QtWidgets import QApplication

__all__ = [
    "Application", "Counted", "LockWatch", "Longest", "Waits", "cost_of_hearing_ms", "count_waits", "work",
]  # fmt: skip

WORK_MS = 10
"""What `work` takes on the machine that the limit was meant for."""
SLOWEST = 2.0
"""As many times as slow a machine may be: beyond that the limits grow no more."""


def work() -> float:
    """How many times as long as there a fixed piece of work takes here, as far as that counts."""
    since = time.thread_time()
    total = 0
    for number in range(160_000):
        total += number % 7
    return min(SLOWEST, (time.thread_time() - since) * 1000 / WORK_MS)


class Waits:
    """How long one thread has stood at doors. Attributes: `seconds`, `times`."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.seconds = 0.0
        self.times = 0

    def count(self, since: float) -> None:
        self.seconds += time.perf_counter() - since
        self.times += 1


class Counted:
    """A lock that counts for how long the watched thread stood at it."""

    def __init__(self, waits: Waits, lock: Any) -> None:
        self._waits, self._lock = waits, lock

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if threading.get_ident() != self._waits.thread or not blocking:
            return bool(self._lock.acquire(blocking, timeout))
        if self._lock.acquire(False):
            return True
        since = time.perf_counter()
        try:
            return bool(self._lock.acquire(True, timeout))
        finally:
            self._waits.count(since)

    def release(self) -> None:
        self._lock.release()

    def locked(self) -> bool:
        return bool(self._lock.locked())

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_error: object) -> None:
        self.release()


def count_waits(waits: Waits) -> None:
    """Locks that modules of Leyden make from now on, and what is built on conditions: events, futures, queues."""
    lock, wait = threading.Lock, threading.Condition.wait

    def made() -> Any:
        ours = str(sys._getframe(1).f_globals.get("__name__", "")).startswith("wallet.")
        return Counted(waits, lock()) if ours else lock()

    def waited(self: threading.Condition, timeout: float | None = None) -> bool:
        # Until a thread has begun is Python's own business, and some microseconds.
        if (
            threading.get_ident() != waits.thread
            or sys._getframe(2).f_code is threading.Thread.start.__code__
        ):
            return wait(self, timeout)
        since = time.perf_counter()
        try:
            return wait(self, timeout)
        finally:
            waits.count(since)

    threading.Lock = made  # type: ignore[assignment]
    threading.Condition.wait = waited  # type: ignore[method-assign]


class LockWatch:
    """For how long at a stretch others have kept the interpreter's lock, in ms: the longest since it was asked last.

    A thread that sleeps a moment is late by that, or by what other programs took of the processor: of the two times,
    its clock's and what this process worked meanwhile, the shorter one counts. Python's own lines hand the lock on
    twice a millisecond when they are asked to.
    """

    NAP_SECONDS = 0.001

    def __init__(self) -> None:
        self._longest_ms = 0.0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lock-watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        clock, worked = time.perf_counter, time.process_time
        while not self._ends.is_set():
            began, worked_before = clock(), worked()
            time.sleep(self.NAP_SECONDS)
            late_seconds = min(clock() - began - self.NAP_SECONDS, worked() - worked_before)
            self._longest_ms = max(self._longest_ms, 1000 * late_seconds)

    def longest_ms(self) -> float:
        found, self._longest_ms = self._longest_ms, 0.0
        return found

    def end(self) -> None:
        self._ends.set()
        self._thread.join()


@dataclass(slots=True)
class Longest:
    """Of each step its longest slice: (milliseconds, of these waited, what it was)."""

    waits: Waits
    step: int = 0
    found: dict[int, tuple[float, float, str]] = field(default_factory=dict)
    slices: int = 0
    began: tuple[float, float] = (0.0, 0.0)
    heard: int = 0
    """Events within the slice."""
    heard_ms: float = 0.0
    """What it costs to hear one."""

    def begin(self) -> None:
        self.began = time.thread_time(), self.waits.seconds
        self.heard = 0

    def end(self, what: str) -> None:
        waited_ms = (self.waits.seconds - self.began[1]) * 1000
        took_ms = (time.thread_time() - self.began[0]) * 1000 + waited_ms - self.heard * self.heard_ms
        self.slices += 1
        if took_ms > self.found.get(self.step, (0.0, 0.0, ""))[0]:
            self.found[self.step] = took_ms, waited_ms, what


class Application(QApplication):
    """Attributes: `longest`."""

    longest: Longest | None = None
    _is_within = False

    def notify(self, receiver: QObject | None, event: QEvent | None) -> bool:
        if self.longest is None:
            return super().notify(receiver, event)
        if self._is_within:
            self.longest.heard += 1
            return super().notify(receiver, event)
        self._is_within = True
        self.longest.begin()
        try:
            return super().notify(receiver, event)
        finally:
            self._is_within = False
            kind = "" if event is None else event.type().name
            self.longest.end(f"{kind} of {type(receiver).__name__}")


def cost_of_hearing_ms(app: Application) -> float:
    """What this application's `notify` adds to one event within a slice."""
    receiver, event = QObject(), QEvent(QEvent.Type.User)
    notify = QApplication.notify
    app._is_within = True

    def timed(send: Callable[[], object]) -> float:
        since = time.thread_time()
        for _turn in range(4000):
            send()
        return time.thread_time() - since

    try:
        # The first goes from Qt's side into `notify`, as the events of a slice do.
        through = timed(lambda: QApplication.sendEvent(receiver, event))
        past = timed(lambda: notify(app, receiver, event))
    finally:
        app._is_within = False
    return max(0.0, through - past) / 4000 * 1000


def main(folder: Path) -> int:
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    waits = Waits()
    count_waits(waits)
    app = Application(["leyden"])
    from wallet.gui import tour
    from wallet.gui.ahead import Ahead
    from wallet.gui.widgets.basic import Button
    from wallet.node.cli import parse
    from wallet.node.interpreter import tune
    from wallet.node.warm_up import import_core
    from wallet.sandbox import consensus
    from wallet.sandbox.host import SandboxHost

    tune()
    import_core()
    # A library of the tests, which people do not have: loading it keeps the interpreter's lock for 0.1 s.
    consensus.is_installed()
    ahead = Ahead(app)
    while ahead.left:
        ahead._next()
    longest = app.longest = Longest(waits)
    longest.heard_ms = cost_of_hearing_ms(app)
    scale = work()
    watch = LockWatch()
    kept: dict[int, float] = {}

    def say(self: tour.Tour, _sentence: str) -> None:
        kept[longest.step] = watch.longest_ms()
        longest.step += 1

    def cut(_tour: tour.Tour | None, name: str) -> None:
        longest.end(f"up to {name}")
        longest.begin()

    click = Button.click

    def press(button: Button) -> None:
        cut(None, f"the press of {button.text()}")
        click(button)

    Button.click = press  # type: ignore[method-assign,assignment]
    tour.Tour.say = say  # type: ignore[method-assign,assignment]
    tour.Tour.picture = cut  # type: ignore[method-assign,assignment]
    options = parse(["--sandbox", "--dir", str(folder)]).options
    code = tour.run_tour(SandboxHost(options), "sandbox", folder / "pictures")
    watch.end()
    told = {
        "code": code, "slices": longest.slices, "steps": longest.found, "waits": waits.times, "kept": kept,
        "scale": max(scale, work()), "hearing_ms": longest.heard_ms,
    }  # fmt: skip
    print(json.dumps(told))
    return code


if __name__ == "__main__":
    ended = main(Path(sys.argv[1]))
    sys.stdout.flush()
    # Not by way of taking everything apart: Qt would still ask an application whose `notify` is gone.
    os._exit(ended)
