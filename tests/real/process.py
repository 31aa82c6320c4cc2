"""Child processes of the tests: started here, watched by what they print, ended by their own pid.

Nobody polls. A thread reads what a child prints, copies it to a log file, and wakes whoever waits for a line.
A child also ends when the test process dies (the kernel sends it SIGTERM): a killed run leaves nothing.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

HOST = "127.0.0.1"
TAIL_LINES = 4000
T = TypeVar("T")


class ProcessError(AssertionError):
    """A child did not do what it was waited for; the message ends with what it printed last."""


class Ports:
    """Ports of 127.0.0.1 for the servers of one network, which nobody else takes in the meantime.

    Below the range that the kernel hands to outgoing connections, of which these tests make many; and each
    reserved under a name that the kernel gives to one process at a time, since tests run side by side.
    """

    FIRST, LAST = 10_000, 32_000

    def __init__(self) -> None:
        self._reservations: list[socket.socket] = []

    def take(self) -> int:
        while True:
            port = secrets.randbelow(self.LAST - self.FIRST) + self.FIRST
            name = socket.socket(socket.AF_UNIX)
            try:
                name.bind(f"\0leyden-test-port-{port}")
                with socket.socket() as probe:
                    probe.bind((HOST, port))
            except OSError:
                name.close()
                continue
            self._reservations.append(name)
            return port

    def close(self) -> None:
        for name in self._reservations:
            name.close()
        self._reservations.clear()


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used so far, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks_a_second: int = os.sysconf("SC_CLK_TCK")
    return (int(fields[11]) + int(fields[12])) / ticks_a_second


def memory_kib(pid: int, field: str = "VmRSS") -> int:
    """A process' resident memory (or `VmHWM`, its peak) as the kernel counts it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise ValueError(f"no {field} for pid {pid}")


def _die_with_us() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


class Process:
    """One running child.

    Attributes:
        name: how it is called in messages, and the stem of its log file.
        log_path: everything it printed, from all its runs.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        directory: Path,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.log_path = directory / f"{name}.log"
        self._on_line = on_line
        self._changed = threading.Condition()
        self._lines: deque[tuple[int, str]] = deque(maxlen=TAIL_LINES)
        self._count = 0
        self._ended = False
        self._child = subprocess.Popen(
            [*_die_with_us(), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=directory,
            start_new_session=True,  # a Ctrl-C in the terminal is for the tests, which then end it in order
        )
        self._reader = threading.Thread(target=self._read, name=f"{name} output", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def _read(self) -> None:
        stream = self._child.stdout
        if stream is None:
            raise ProcessError(f"{self.name} has no output to read")
        with self.log_path.open("ab") as log:
            for raw in stream:
                log.write(raw)
                log.flush()
                line = raw.decode(errors="replace").rstrip("\n")
                if self._on_line is not None:
                    self._on_line(line)
                with self._changed:
                    self._lines.append((self._count, line))
                    self._count += 1
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def mark(self) -> int:
        """A place in the output; `wait_line(since=...)` looks from there on."""
        with self._changed:
            return self._count

    def wait_line(self, pattern: str, *, timeout_seconds: float = 60, since: int = 0) -> re.Match[str]:
        """The first line from `since` on that the pattern is found in; waits for it."""
        compiled = re.compile(pattern)
        position = since

        def look() -> re.Match[str] | None:
            nonlocal position
            with self._changed:
                lines = list(self._lines)
            for number, line in lines:
                if number >= position:
                    position = number + 1
                    if found := compiled.search(line):
                        return found
            return None

        return self.wait_until(f"prints {pattern!r}", look, timeout_seconds=timeout_seconds)

    def wait_until(self, what: str, check: Callable[[], T | None], *, timeout_seconds: float = 60) -> T:
        """What `check` answers once that is true; it is asked again after each line the child prints."""
        end = time.monotonic() + timeout_seconds
        while True:
            with self._changed:
                seen = self._count
            if value := check():
                return value
            with self._changed:
                if self._ended:
                    raise ProcessError(f"{self.name} ended before it {what}:\n{self._tail()}")
                left = end - time.monotonic()
                if left <= 0:
                    raise ProcessError(f"{self.name}: waited {timeout_seconds} s for: {what}\n{self._tail()}")
                if self._count == seen:
                    self._changed.wait(left)

    def _tail(self, lines: int = 25) -> str:
        return "\n".join(line for _, line in list(self._lines)[-lines:])

    def tail(self, lines: int = 40) -> str:
        """What it printed last."""
        with self._changed:
            return self._tail(lines)

    def kill(self) -> None:
        """SIGKILL, at once: what a power cut does."""
        if self.alive:
            self._child.kill()
        self._reap()

    def stop(self, *, timeout_seconds: float = 30) -> int:
        """Asks it to end, waits, and only then kills it; the exit code (negative: the signal)."""
        if self.alive:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                self._child.kill()
        return self._reap()

    def _reap(self) -> int:
        code = self._child.wait()
        self._reader.join(timeout=10)
        if self._child.stdout is not None:
            self._child.stdout.close()
        return code
