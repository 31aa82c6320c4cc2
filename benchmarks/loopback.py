"""Payments a second from Leyden to Leyden over loopback, with durable disks, beside two rust-lightning peers.

Both wallets are processes of their own, with files on this disk: each commit is synchronous. A payment is timed from
its command to the answer that says it is final. Beside the rate: how many durable commits each node made for a payment.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks import inputs
from benchmarks.figures import Figure, of_samples, table
from benchmarks.payments import (
    CHANNEL_SAT,
    REFERENCE,
    Pay,
    leyden_asks,
    leyden_pays,
    peer_asks,
    peer_pays,
    two_peers,
)
from tests.real.harness import Regtest
from tests.real.leyden import LeydenDaemon

WARM_UP = 100
ROUNDS = 3
SEQUENTIAL = 200
PARALLEL = 1_000
AT_ONCE = 50
SEQUENTIAL_LIMIT = 100
PARALLEL_LIMIT = 400
COMMITS_SEQUENTIAL = 4.0
COMMITS_PARALLEL = 0.5


class CountingDaemon(LeydenDaemon):
    """A daemon that tells how many commits its store has made."""

    module = "benchmarks.counting_daemon"

    def commits(self) -> int:
        return int(self.call("bench_commits"))


def rate(pay: Pay, invoices: Sequence[str], at_once: int) -> float:
    gc.collect()
    began = time.perf_counter()
    pay(invoices, at_once)
    return len(invoices) / (time.perf_counter() - began)


def measure(
    directory: Path,
    *,
    rounds: int = ROUNDS,
    sequential: int = SEQUENTIAL,
    parallel: int = PARALLEL,
    at_once: int = AT_ONCE,
    say: Callable[[str], None] = print,
) -> list[Figure]:
    """Starts two wallets and two peers, measures both pairs in turn, and ends them."""
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(Regtest(directory / "net"))
        alice, bob = two_peers(net)
        first, second = (
            stack.enter_context(CountingDaemon(net, directory, name)) for name in ("first", "second")
        )
        first.fund(CHANNEL_SAT + 1_000_000)
        second.fund(1_000_000)
        open_between(net, first, second)
        pairs = {
            "peer": (peer_pays(alice), peer_asks(bob)),
            "leyden": (leyden_pays(first), leyden_asks(second)),
        }
        for pay, ask in pairs.values():
            pay(ask(WARM_UP), 10)
        figures: list[Figure] = []
        for name, count, width, rate_limit, commit_limit in (
            ("loopback payments a second, one after the other", sequential, 1, SEQUENTIAL_LIMIT, COMMITS_SEQUENTIAL),
            (f"loopback payments a second, {at_once} at once", parallel, at_once, PARALLEL_LIMIT, COMMITS_PARALLEL),
        ):  # fmt: skip
            found: dict[str, list[float]] = {"peer": [], "leyden": []}
            commits: list[float] = []
            for number in range(rounds):
                for who, (pay, ask) in pairs.items():
                    invoices = ask(count)
                    before = first.commits(), second.commits()
                    found[who].append(rate(pay, invoices, width))
                    if who == "leyden":
                        made = first.commits() - before[0], second.commits() - before[1]
                        commits.append(max(made) / count)
                say(
                    f"  {name}, round {number + 1}: Leyden {found['leyden'][-1]:.1f}, peer "
                    f"{found['peer'][-1]:.1f}; {commits[-1]:.2f} commits a payment and node"
                )
            figures.append(
                of_samples(
                    name,
                    found["leyden"],
                    "/s",
                    rate_limit,
                    "higher",
                    reference=REFERENCE,
                    reference_samples=found["peer"],
                )
            )
            figures.append(
                of_samples(
                    f"durable commits a payment and node, {width} at once", commits, "", commit_limit, "lower"
                )
            )
        return figures


def open_between(net: Regtest, first: LeydenDaemon, second: LeydenDaemon) -> None:
    """A channel from one wallet to the other, half on each side, confirmed and usable on both."""
    first.call("add_peer", connection_string=second.uri)
    opened = first.call(
        "open_channel", connection_string=second.uri, amount_sat=CHANNEL_SAT, push_sat=CHANNEL_SAT // 2
    )
    net.node.wait_for_tx(opened["channel_point"].partition(":")[0])
    first.mine(6)
    second.sync()
    for wallet in (first, second):
        wallet.wait("has a usable channel", partial(_is_usable, wallet))


def _is_usable(wallet: LeydenDaemon) -> bool:
    return any(row["is_usable"] for row in wallet.call("list_channels"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loopback", description=__doc__)
    parser.add_argument(
        "--parallel", type=inputs.count, default=AT_ONCE, help="how many payments are in flight"
    )
    parser.add_argument("--count", type=inputs.count, default=PARALLEL, help="how many payments a round")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leyden-bench-") as folder:
        print(table(measure(Path(folder), parallel=given.count, at_once=given.parallel)))
