"""Payments a second of a window whose graph page is open while gossip comes in, beside those of a quiet wallet.

    python -m benchmarks.busy [--count N] [--rounds N]

Two payers with a channel each to one payee, as in `benchmarks.loopback`. One is a daemon that is left alone. The other
is a window (`benchmarks.window_daemon`) that shows the map of a network of the public one's size, and a third peer
tells it a hundred fresh terms of channels a second, each of which is checked and taken. Their rounds alternate.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import inputs
from benchmarks.figures import Figure, of_samples, table
from benchmarks.history import asks_at_once
from benchmarks.loopback import CountingDaemon, open_between, rate
from benchmarks.payments import CHANNEL_SAT, leyden_pays
from benchmarks.topology import graph_of, synthetic
from tests.real.harness import Regtest
from tests.real.leyden import LeydenDaemon
from tests.unit.ln.connection_pair import Log
from wallet.bitcoin.address import REGTEST
from wallet.node.caches import RoutingCaches

ROUNDS = 3
SEQUENTIAL = 200
PARALLEL = 1_000
AT_ONCE = 50
WARM_UP = 100
RATIO_LIMIT = 0.7
REFERENCE = "the same without window and gossip"
LAP = 100_000
"""More terms than one round tells: each round begins where none was told before."""


class WindowDaemon(CountingDaemon):
    """A window on its Network page that takes commands."""

    module = "benchmarks.window_daemon"


@contextlib.contextmanager
def gossip_for(wallet: LeydenDaemon, start: int) -> Iterator[list[int]]:
    """Gossip comes in meanwhile; how many messages it was is in the list afterwards."""
    argv = [sys.executable, "-m", "benchmarks.gossip_stream", str(wallet.port), wallet.node_id, str(start)]
    told: list[int] = []
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stream:
        assert stream.stdin is not None
        assert stream.stdout is not None
        assert stream.stdout.readline() == "ready\n"
        try:
            yield told
        finally:
            stream.stdin.close()
            told.append(int(stream.stdout.readline()))


def measure(
    directory: Path,
    *,
    rounds: int = ROUNDS,
    sequential: int = SEQUENTIAL,
    parallel: int = PARALLEL,
    say: Callable[[str], None] = print,
) -> list[Figure]:
    """Starts three wallets, measures, and ends them."""
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(Regtest(directory / "net"))
        alone, payee = (CountingDaemon(net, directory, name) for name in ("alone", "payee"))
        window = WindowDaemon(net, directory, "window")
        caches = RoutingCaches(window.folder, window.options.wallet_dir, bytes(64), REGTEST, Log())
        caches.save_graph(graph_of(synthetic(), REGTEST).image())
        for wallet in (alone, payee, window):
            stack.enter_context(wallet)
        payee.fund(1_000_000)
        ask = asks_at_once(payee)
        for payer in (alone, window):
            payer.fund(CHANNEL_SAT + 1_000_000)
            open_between(net, payer, payee)
            leyden_pays(payer)(ask(WARM_UP), 10)
        figures: list[Figure] = []
        start = 0
        for name, count, width in (
            ("graph page open and gossip coming in, payments a second, one after the other", sequential, 1),
            (
                f"graph page open and gossip coming in, payments a second, {AT_ONCE} at once",
                parallel,
                AT_ONCE,
            ),
        ):
            quiet, busy = [], []
            for _ in range(rounds):
                quiet.append(rate(leyden_pays(alone), ask(count), width))
                invoices = ask(count)
                before = window.call("bench_graph_version")
                with gossip_for(window, start) as told:
                    busy.append(rate(leyden_pays(window), invoices, width))
                taken = window.call("bench_graph_version") - before
                assert taken > 0, "no gossip was taken: nothing was measured"
                start += LAP
                say(
                    f"  {name}: {busy[-1]:.1f}, alone {quiet[-1]:.1f}; {told[0]} messages told, {taken} taken"
                )
            figures.append(
                of_samples(
                    name,
                    busy,
                    "/s",
                    RATIO_LIMIT,
                    "higher",
                    reference=REFERENCE,
                    reference_samples=quiet,
                    is_ratio=True,
                )
            )
        return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.busy", description=__doc__)
    parser.add_argument(
        "--count", type=inputs.count, default=PARALLEL, help="how many payments a round at once"
    )
    parser.add_argument("--rounds", type=inputs.count, default=ROUNDS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leyden-bench-") as folder:
        print(table(measure(Path(folder), parallel=given.count, rounds=given.rounds)))
