"""The timer thread: ticks come, a raising one is logged and comes again, a late one is made once."""

from __future__ import annotations

import threading
import time

import pytest

from wallet.chain.interfaces import LogLevel
from wallet.node import background
from wallet.node.background import LOOK_UP_SECONDS, BackgroundProcessor, PeriodicTask, Schedule
from wallet.node.views import PUBLISH_INTERVAL_SECONDS

WAIT_SECONDS = 30


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[LogLevel, str]] = []

    def log(self, level: LogLevel, message: str, *args: object) -> None:
        self.lines.append((level, message % args))


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def nothing() -> None:
    pass


class Made:
    """What was called, in order, and when."""

    def __init__(self, clock: Clock, *, go_on: bool = True) -> None:
        self.calls: list[tuple[float, str]] = []
        self._clock = clock
        self._go_on = go_on

    def __call__(self, task: PeriodicTask) -> bool:
        self.calls.append((self._clock.now, task.name))
        return self._go_on


def test_each_task_comes_with_its_period() -> None:
    clock = Clock()
    tasks = (PeriodicTask("fast", 10, nothing), PeriodicTask("slow", 25, nothing))
    schedule = Schedule(tasks, clock.now)
    made = Made(clock)
    while clock.now < 150:
        wait = schedule.wait_seconds(clock.now)
        assert wait is not None
        clock.now += wait
        schedule.run_due(made, clock)
    assert made.calls == [
        (110, "fast"), (120, "fast"), (125, "slow"), (130, "fast"), (140, "fast"), (150, "fast"), (150, "slow")
    ]  # fmt: skip


def test_a_late_tick_is_made_once() -> None:
    clock = Clock()
    schedule = Schedule((PeriodicTask("tick", 10, nothing),), clock.now)
    made = Made(clock)
    clock.now += 3600
    schedule.run_due(made, clock)
    schedule.run_due(made, clock)
    assert made.calls == [(3700, "tick")]
    assert schedule.wait_seconds(clock.now) == 10


def test_a_tick_that_takes_longer_than_its_period_leaves_room_for_others() -> None:
    clock = Clock()
    schedule = Schedule((PeriodicTask("long", 10, nothing), PeriodicTask("other", 10, nothing)), clock.now)
    made: list[str] = []

    def call(task: PeriodicTask) -> bool:
        made.append(task.name)
        clock.now += 15 if task.name == "long" else 0
        return True

    for _ in range(3):
        clock.now += schedule.wait_seconds(clock.now) or 0
        schedule.run_due(call, clock)
    assert made[:2] == ["long", "other"]
    assert made.count("other") >= 2
    assert schedule.wait_seconds(clock.now) is not None


def test_enough_is_enough() -> None:
    clock = Clock()
    schedule = Schedule((PeriodicTask("a", 1, nothing), PeriodicTask("b", 1, nothing)), clock.now)
    clock.now += 5
    made = Made(clock, go_on=False)
    schedule.run_due(made, clock)
    assert made.calls == [(105, "a")]
    assert Schedule((), 0).wait_seconds(5) is None


def test_a_tick_that_raises_is_logged_and_comes_again() -> None:
    log = Log()
    enough = threading.Event()
    count = [0]

    def broken() -> None:
        count[0] += 1
        if count[0] == 3:
            enough.set()
        raise ValueError("it broke")

    processor = BackgroundProcessor((PeriodicTask("breaking", 0.001, broken),), log)
    processor.start()
    assert enough.wait(WAIT_SECONDS)
    processor.stop()
    assert log.lines[0] == (LogLevel.ERROR, "the tick breaking failed: ValueError('it broke')")
    made = count[0]
    processor.stop()
    assert count[0] == made


def test_stop_waits_for_the_tick_under_way_and_may_come_from_it() -> None:
    inside, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        inside.set()
        assert go_on.wait(WAIT_SECONDS)
        ended.set()

    processor = BackgroundProcessor((PeriodicTask("slow", 0.001, slow),), Log())
    processor.start()
    assert inside.wait(WAIT_SECONDS)
    threading.Timer(0.05, go_on.set).start()
    processor.stop()
    assert ended.is_set()

    stopped = threading.Event()
    own: list[BackgroundProcessor] = []

    def stops_itself() -> None:
        own[0].stop()
        stopped.set()

    own.append(BackgroundProcessor((PeriodicTask("own", 0.001, stops_itself),), Log()))
    own[0].start()
    assert stopped.wait(WAIT_SECONDS)


def test_one_that_was_never_started_stops_too() -> None:
    BackgroundProcessor((), Log()).stop()
    idle = BackgroundProcessor((), Log())
    idle.start()
    idle.stop()


def test_after_a_sleep_of_the_computer_resumed_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    ticked = threading.Event()
    order: list[str] = []
    real = time.time
    jumps = iter([0.0, 3600.0])

    class Wall:
        """The wall clock went on by an hour while the monotonic one stood still."""

        monotonic = staticmethod(time.monotonic)

        @staticmethod
        def time() -> float:
            return real() + next(jumps, 3600.0)

    monkeypatch.setattr(background, "time", Wall)

    def tick() -> None:
        order.append("tick")
        ticked.set()

    processor = BackgroundProcessor(
        (PeriodicTask("tick", 0.001, tick),), Log(), resumed=lambda: order.append("resumed")
    )
    processor.start()
    assert ticked.wait(WAIT_SECONDS)
    processor.stop()
    assert order[0] == "resumed"
    assert order.count("resumed") == 1


class SleepyComputer:
    """A computer that sleeps once, while the timer thread waits or while a tick is under way. In place of the module
    `time`, and of the event on which the thread waits: nothing here takes real time.

    Attributes: awake_seconds: since the start, without the sleep. woke_seconds: when it woke up, by the same clock.
    """

    SLEEP_SECONDS = 3600.0

    def __init__(self, waits_before_sleep: int) -> None:
        self.awake_seconds = 0.0
        self.slept_seconds = 0.0
        self.woke_seconds = 0.0
        self._waits_left = waits_before_sleep
        self._is_stopped = False

    def monotonic(self) -> float:
        return 100.0 + self.awake_seconds

    def time(self) -> float:
        return 1_700_000_000.0 + self.awake_seconds + self.slept_seconds

    def sleep_now(self) -> None:
        """As it falls asleep its clock of waking time stands still, and a wait goes on as if nothing had been."""
        self.slept_seconds += self.SLEEP_SECONDS
        self.woke_seconds = self.awake_seconds

    # --- the event ----------------------------------------------------------------------

    def wait(self, seconds: float) -> bool:
        self._waits_left -= 1
        if self._waits_left == 0:
            # At its worst: as the wait begins, so that all of it is still to come.
            self.sleep_now()
        self.awake_seconds += seconds
        return self._is_stopped

    def set(self) -> None:
        self._is_stopped = True

    def is_set(self) -> bool:
        return self._is_stopped


@pytest.mark.parametrize("during_a_tick", [False, True], ids=["while it waits", "during a tick"])
def test_a_sleep_is_noticed_within_two_seconds_whatever_is_due(
    monkeypatch: pytest.MonkeyPatch, during_a_tick: bool
) -> None:
    """By the clock of waking time, with the time that news take to the window. The next tick is far, or under way."""
    computer = SleepyComputer(0 if during_a_tick else 7)
    monkeypatch.setattr(background, "time", computer)
    noticed: list[float] = []
    ticks = 0

    def resumed() -> None:
        noticed.append(computer.awake_seconds - computer.woke_seconds)

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        # A tick that takes long is no sleep.
        computer.awake_seconds += 100
        if during_a_tick and ticks == 2:
            computer.sleep_now()
        if ticks == 5:
            computer.set()

    processor = BackgroundProcessor((PeriodicTask("tick", 600, tick),), Log(), resumed=resumed)
    monkeypatch.setattr(processor, "_stop", computer)
    processor._run()
    assert len(noticed) == 1
    assert 0 < noticed[0] <= LOOK_UP_SECONDS
    assert noticed[0] + PUBLISH_INTERVAL_SECONDS <= 1.5
