"""What a long history costs: a channel that has carried many payments, beside one that has carried none.

    python -m benchmarks.history [--count N] [--rounds N]

Two pairs of wallets, as in `benchmarks.loopback`. The first makes `N` payments over its channel; then the rounds of
both pairs alternate. Beside the rates: the memory and the file that a thousand payments have added.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import inputs
from benchmarks.figures import Figure, of_samples, table
from benchmarks.loopback import CountingDaemon, open_between, rate
from benchmarks.payments import AMOUNT_MSAT, CHANNEL_SAT, Invoices, Pay, RpcLines, leyden_pays
from tests.real.harness import Regtest
from tests.real.leyden import LeydenDaemon

COUNT = 100_000
STEP = 1_000
ROUNDS = 3
SEQUENTIAL = 100
PARALLEL = 500
AT_ONCE = 50
WARM_UP = 1_000
"""Caches and the memory of the interpreter grow for a while with any use."""
REFERENCE = "a channel without a history"
RATIO_LIMIT = 0.9
MEMORY_LIMIT_MB = 0.5
"""A thousand payments; what a person may look up is on disk, an index of it in memory."""
FILE_LIMIT_MB = 3.0


def asks_at_once(leyden: LeydenDaemon) -> Invoices:
    """Makes invoices over many connections."""

    def make(count: int) -> list[str]:
        made: list[str] = []
        asked = 0
        with RpcLines(leyden, min(count, AT_ONCE)) as lines:
            while len(made) < count:
                while asked < count and lines.has_room:
                    lines.send("add_request", amount_msat=AMOUNT_MSAT, message="", lightning=True)
                    asked += 1
                made += [str(answer["lightning_invoice"]) for answer in lines.receive()]
        return made

    return make


def measure(
    directory: Path,
    *,
    count: int = COUNT,
    rounds: int = ROUNDS,
    say: Callable[[str], None] = print,
) -> list[Figure]:
    """Starts two pairs of wallets, measures, and ends them."""
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(Regtest(directory / "net"))
        pairs: dict[str, tuple[CountingDaemon, CountingDaemon]] = {}
        ways: dict[str, tuple[Pay, Invoices]] = {}
        for name in ("old", "new"):
            first, second = (
                stack.enter_context(CountingDaemon(net, directory, f"{name} {who}"))
                for who in ("payer", "payee")
            )
            # A history is paid from one side to the other.
            first.fund(CHANNEL_SAT + 1_000_000)
            second.fund(1_000_000)
            open_between(net, first, second)
            pairs[name] = first, second
            ways[name] = leyden_pays(first), asks_at_once(second)
            _pay(ways[name], WARM_UP)
        before = [_size(wallet) for wallet in pairs["old"]]
        began = time.perf_counter()
        for done in range(0, count, STEP):
            step_began = time.perf_counter()
            _pay(ways["old"], min(STEP, count - done))
            took_seconds = time.perf_counter() - step_began
            if done // STEP % 10 == 0:
                mb = max(wallet.memory_kib() for wallet in pairs["old"]) / 1024
                say(f"  {done + STEP} payments: the last {STEP} took {took_seconds:.1f} s; {mb:.0f} MB")
        say(f"  {count} payments in {time.perf_counter() - began:.0f} s")
        after = [_size(wallet) for wallet in pairs["old"]]
        thousands = count / 1_000
        added = [(now[0] - then[0], now[1] - then[1]) for then, now in zip(before, after, strict=True)]
        figures = [
            of_samples(
                f"memory that a thousand of {count} payments add",
                [max(memory_mb for memory_mb, _file in added) / thousands],
                "MB",
                MEMORY_LIMIT_MB,
                "lower",
            ),
            of_samples(
                f"file that a thousand of {count} payments add",
                [max(file_mb for _memory, file_mb in added) / thousands],
                "MB",
                FILE_LIMIT_MB,
                "lower",
            ),
        ]
        for name, number, width in (
            (f"payments a second after {count}, one after the other", SEQUENTIAL, 1),
            (f"payments a second after {count}, {AT_ONCE} at once", PARALLEL, AT_ONCE),
        ):
            found: dict[str, list[float]] = {"old": [], "new": []}
            for _ in range(rounds):
                for who, (pay, ask) in ways.items():
                    found[who].append(rate(pay, ask(number), width))
                say(f"  {name}: old {found['old'][-1]:.1f}, new {found['new'][-1]:.1f}")
            figures.append(
                of_samples(
                    name,
                    found["old"],
                    "/s",
                    RATIO_LIMIT,
                    "higher",
                    reference=REFERENCE,
                    reference_samples=found["new"],
                    is_ratio=True,
                )
            )
        return figures


def _pay(way: tuple[Pay, Invoices], count: int) -> None:
    pay, ask = way
    pay(ask(count), AT_ONCE)


def _size(wallet: LeydenDaemon) -> tuple[float, float]:
    """VmRSS and the wallet's file, in MB."""
    file = wallet.options.wallet_file
    log = file.with_name(f"{file.name}-wal")
    length = file.stat().st_size + (log.stat().st_size if log.exists() else 0)
    return wallet.memory_kib() / 1024, length / 2**20


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("--count", type=inputs.count, default=COUNT, help="how many payments the history has")
    parser.add_argument("--rounds", type=inputs.count, default=ROUNDS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leyden-bench-") as folder:
        print(table(measure(Path(folder), count=given.count, rounds=given.rounds)))
