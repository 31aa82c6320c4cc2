"""How soon the window is there, what it holds in memory and what it does while nobody touches it.

    python -m benchmarks.startup [--topology FILE.npz] [--starts N]

Exec to first paint; VmRSS after half a minute; the CPU time of the minute after that. Without a graph, and with one in
the wallet's folder. Under Xvfb, with a wallet that was used before (so the caches of Python and of the disk are warm),
as the second start of a day would find it. The time is from just before the process is made until its first paint is
done.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import inputs
from benchmarks.figures import Figure, of_samples, table
from benchmarks.topology import graph_of, read_npz, synthetic
from tests.real.harness import Regtest
from tests.real.leyden import ROOT, LeydenDaemon
from tests.real.process import Process, ProcessError, cpu_seconds, memory_kib
from tests.unit.ln.connection_pair import Log
from wallet.bitcoin.address import REGTEST
from wallet.node.caches import RoutingCaches

STARTS = 10
PAINT_LIMIT_SECONDS = 1.0
IDLE_SECONDS = 30.0
MEMORY_LIMIT_MB = 140.0
PAINT_WITH_GRAPH_LIMIT_SECONDS = 0.7
MEMORY_WITH_GRAPH_LIMIT_MB = 150.0
CPU_SECONDS = 60.0
CPU_LIMIT_PERCENT = 1.0
SCREEN = "1440x900x24"


@contextlib.contextmanager
def display(directory: Path, screen: str = SCREEN) -> Iterator[dict[str, str]]:
    """An X server of our own; the environment that leads to it."""
    program = shutil.which("Xvfb")
    if program is None:
        raise ProcessError("Xvfb is not there: `make system-test` installs it")
    server = Process(
        "xvfb",
        [program, "-displayfd", "1", "-screen", "0", screen, "-nolisten", "tcp", "-noreset"],
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


def idle(directory: Path, env: dict[str, str], args: list[str]) -> tuple[float, float]:
    """The window, unlocked and left alone: VmRSS in MB after half a minute, then percent of a core over a minute."""
    process = window(directory, env, args, "--unlock")
    try:
        process.wait_line("^UNLOCKED")
        _stay(process, IDLE_SECONDS)
        memory_mb = memory_kib(process.pid) / 1024
        before_seconds, began = cpu_seconds(process.pid), time.monotonic()
        _stay(process, CPU_SECONDS)
        used_seconds = cpu_seconds(process.pid) - before_seconds
        return memory_mb, 100 * used_seconds / (time.monotonic() - began)
    finally:
        process.stop()


def _stay(process: Process, seconds: float) -> None:
    """This is the one wait of the suite that is for time to pass: it is what is measured."""
    with contextlib.suppress(ProcessError):
        process.wait_until("ends", lambda: not process.alive, timeout_seconds=seconds)
    if not process.alive:
        raise ProcessError(f"the window ended by itself:\n{process.tail()}")


def measure(
    directory: Path,
    *,
    starts: int = STARTS,
    say: Callable[[str], None] = print,
    topology: Path | None = None,
) -> list[Figure]:
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
        figures = []
        for name, paint_seconds, memory_mb in (
            ("", PAINT_LIMIT_SECONDS, MEMORY_LIMIT_MB),
            (", with graph", PAINT_WITH_GRAPH_LIMIT_SECONDS, MEMORY_WITH_GRAPH_LIMIT_MB),
        ):
            if name:
                graph = graph_of(synthetic() if topology is None else read_npz(topology), REGTEST)
                say(f"  a graph of {graph.channel_count} channels")
                caches = RoutingCaches(daemon.folder, daemon.options.wallet_dir, bytes(64), REGTEST, Log())
                caches.save_graph(graph.image())
                del graph, caches
            first_paint_seconds(directory, env, args)
            samples = []
            for number in range(starts):
                samples.append(first_paint_seconds(directory, env, args))
                say(f"  start {number + 1}{name}: first paint after {samples[-1]:.2f} s")
            used_mb, percent = idle(directory, env, args)
            say(
                f"  VmRSS after {IDLE_SECONDS:.0f} s{name}: {used_mb:.0f} MB; {percent:.2f} % of a core after that"
            )
            figures += [
                of_samples(f"exec to first paint of the window{name}", samples, "s", paint_seconds, "lower"),
                of_samples(f"memory of the window, idle{name}", [used_mb], "MB", memory_mb, "lower"),
                of_samples(f"CPU of the window, idle{name}", [percent], "%", CPU_LIMIT_PERCENT, "lower"),
            ]
        return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--topology", type=Path, help="the graph; else one is made up")
    parser.add_argument("--starts", type=inputs.count, default=STARTS)
    given = parser.parse_args()
    with inputs.refused(parser), tempfile.TemporaryDirectory(prefix="leyden-bench-") as folder:
        print(table(measure(Path(folder), starts=given.starts, topology=given.topology)))
