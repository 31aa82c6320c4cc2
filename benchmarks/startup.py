"""How soon the window is there, and what it holds in memory: exec to first paint, and VmRSS after half a minute.

Under Xvfb, with a wallet that was used before (so the caches of Python and of the disk are warm), as the second start
of a day would find it. The time is from just before the process is made until its first paint is done.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.figures import Figure, of_samples
from tests.real.harness import Regtest
from tests.real.leyden import ROOT, LeydenDaemon
from tests.real.process import Process, ProcessError, memory_kib

STARTS = 10
PAINT_LIMIT_SECONDS = 1.0
IDLE_SECONDS = 30.0
MEMORY_LIMIT_MB = 140.0
SCREEN = "1440x900x24"


@contextlib.contextmanager
def display(directory: Path) -> Iterator[dict[str, str]]:
    """An X server of our own; the environment that leads to it."""
    program = shutil.which("Xvfb")
    if program is None:
        raise ProcessError("Xvfb is not there: `make system-test` installs it")
    server = Process(
        "xvfb",
        [program, "-displayfd", "1", "-screen", "0", SCREEN, "-nolisten", "tcp", "-noreset"],
        directory=directory,
    )
    try:
        number = server.wait_line(r"^(\d+)$").group(1)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("QT_")}
        yield {
            **kept, "DISPLAY": f":{number}", "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1", "XDG_CONFIG_HOME": str(directory / "config"),
        }  # fmt: skip
    finally:
        server.stop()


def window(directory: Path, env: dict[str, str], args: list[str], *flags: str) -> Process:
    argv = [sys.executable, "-m", "benchmarks.first_paint", *args, *flags]
    return Process("window", argv, directory=directory, env=env)


def first_paint_seconds(directory: Path, env: dict[str, str], args: list[str]) -> float:
    began_ns = time.monotonic_ns()
    process = window(directory, env, args, "--quit")
    painted = re.match(r"PAINTED (\d+)", process.wait_line(r"^PAINTED \d+").group(0))
    assert painted is not None
    process.stop()
    return (int(painted[1]) - began_ns) / 1e9


def idle_memory_mb(directory: Path, env: dict[str, str], args: list[str]) -> float:
    """VmRSS of the window, unlocked and left alone for half a minute."""
    process = window(directory, env, args, "--unlock")
    try:
        process.wait_line("^UNLOCKED")
        # This is the one wait of the suite that is for time to pass: it is what is measured.
        with contextlib.suppress(ProcessError):
            process.wait_until("ends", lambda: not process.alive, timeout_seconds=IDLE_SECONDS)
        if not process.alive:
            raise ProcessError(f"the window ended by itself:\n{process.tail()}")
        return memory_kib(process.pid) / 1024
    finally:
        process.stop()


def measure(directory: Path, *, starts: int = STARTS, say: Callable[[str], None] = print) -> list[Figure]:
    """Starts everything, measures, and ends it."""
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(Regtest(directory / "net"))
        daemon = LeydenDaemon(net, directory, "leyden")
        daemon.start()
        daemon.fund(5_000_000, coins=3)
        daemon.stop()
        env = stack.enter_context(display(directory))
        args = [
            "--regtest",
            "-D",
            str(daemon.directory),
            "--server",
            f"{net.electrum.host}:{net.electrum.port}:t",
        ]
        first_paint_seconds(directory, env, args)
        samples = []
        for number in range(starts):
            samples.append(first_paint_seconds(directory, env, args))
            say(f"  start {number + 1}: first paint after {samples[-1]:.2f} s")
        memory_mb = idle_memory_mb(directory, env, args)
        say(f"  VmRSS after {IDLE_SECONDS:.0f} s: {memory_mb:.0f} MB")
        return [
            of_samples("exec to first paint of the window", samples, "s", PAINT_LIMIT_SECONDS, "lower"),
            of_samples("memory of the window, idle", [memory_mb], "MB", MEMORY_LIMIT_MB, "lower"),
        ]


if __name__ == "__main__":
    from benchmarks.figures import table

    with tempfile.TemporaryDirectory(prefix="leyden-bench-") as folder:
        print(table(measure(Path(folder))))
