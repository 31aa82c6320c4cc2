"""How long the graph takes to be read from its file, and how much memory it adds, in a process of its own.

    python -m benchmarks.graph [--topology FILE.npz | --messages FILE] [--rounds N]

The time is that of `RoutingCaches.read`; the memory is how much VmRSS grows by it, and by the first route that is
looked for, whose layout and scratch space stay.

Where `make peers` was run, rust-lightning reads the same network from a file of its own beside us, in a fresh process
too: its time is that of `NetworkGraph::read` alone, without the disk. Its file has no messages in it, as ours has.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import gossip_file, rust_lightning
from benchmarks.figures import Figure, of_samples, table
from benchmarks.inputs import count, refused
from benchmarks.rust_lightning import RustLightning
from benchmarks.topology import UPDATED_AT, graph_of, read_npz, synthetic
from tests.real.process import memory_kib
from tests.unit.ln.connection_pair import Log
from wallet.bitcoin.address import MAINNET
from wallet.ln.msgs import ChannelAnnouncement, ChannelUpdate, NodeAnnouncement, decode_message
from wallet.ln.routing.graph import NetworkGraph
from wallet.node.caches import RoutingCaches

LOAD_LIMIT_SECONDS = 0.15
MEMORY_LIMIT_MB = 60.0
ROUNDS = 5


def caches(folder: Path) -> RoutingCaches:
    return RoutingCaches(folder, folder, bytes(64), MAINNET, Log())


def child(folder: Path) -> None:
    """Read the graph, look for one route, and print what that took."""
    from benchmarks.route import Bench
    from wallet.ln.routing.kernel import FASTEST

    gc.collect()
    before_kib = memory_kib(os.getpid())
    began = time.perf_counter()
    graph, scorer = caches(folder).read()
    seconds = time.perf_counter() - began
    loaded_kib = memory_kib(os.getpid())
    bench = Bench(graph, 1)
    bench.scorer = scorer
    bench.routable(1)
    found = {
        "seconds": seconds,
        "loaded_mb": (loaded_kib - before_kib) / 1024,
        "routed_mb": (memory_kib(os.getpid()) - before_kib) / 1024,
        "channels": graph.channel_count,
        "compiled": FASTEST.COMPILED,
    }
    print(json.dumps(found))


def graph_of_messages(path: Path) -> NetworkGraph:
    """A graph of all messages, none of which is checked."""
    graph = NetworkGraph(MAINNET)
    for raw in gossip_file.read(path):
        message = decode_message(raw)
        if isinstance(message, ChannelAnnouncement):
            graph.add_channel(message, 1_000_000, UPDATED_AT)
        elif isinstance(message, ChannelUpdate):
            graph.apply_update(message)
        elif isinstance(message, NodeAnnouncement):
            graph.apply_node_announcement(message)
    return graph


def run(
    folder: Path, graph: NetworkGraph, rounds: int, say: Callable[[str], None], theirs: Path | None = None
) -> list[Figure]:
    """`theirs` is rust-lightning's file of the same network."""
    caches(folder).save_graph(graph.image())
    say(f"{graph.channel_count} channels, {(folder / 'graph.bin').stat().st_size / 2**20:.1f} MB on disk")
    seconds, loaded_mb, routed_mb = [], [], []
    their_seconds, their_mb = [], []
    for _ in range(rounds):
        if theirs is not None:
            with RustLightning(folder) as process:
                took_seconds, grown_mb, channels = process.read(theirs)
            assert channels == graph.channel_count, "rust-lightning's file has another graph"
            their_seconds.append(took_seconds)
            their_mb.append(grown_mb)
        argv = [sys.executable, "-m", "benchmarks.graph", "--child", str(folder)]
        found = json.loads(subprocess.run(argv, check=True, capture_output=True, timeout=300).stdout)
        assert found["channels"] == graph.channel_count, "the file has another graph"
        seconds.append(found["seconds"])
        loaded_mb.append(found["loaded_mb"])
        routed_mb.append(found["routed_mb"])
    reference = rust_lightning.NAME if theirs is not None else ""
    return [
        of_samples(
            "graph loaded from its file", seconds, "s", LOAD_LIMIT_SECONDS, "lower",
            reference=reference, reference_samples=their_seconds,
        ),
        of_samples(
            "memory that adds", loaded_mb, "MB", MEMORY_LIMIT_MB, "lower",
            reference=reference, reference_samples=their_mb,
        ),
        of_samples("memory with a first route", routed_mb, "MB", MEMORY_LIMIT_MB, "lower"),
    ]  # fmt: skip


def on_topology(folder: Path, topology: Path | None, rounds: int, say: Callable[[str], None]) -> list[Figure]:
    network = synthetic() if topology is None else read_npz(topology)
    theirs = None
    if rust_lightning.is_installed():
        theirs = rust_lightning.graph_file(folder, network, say)
    else:
        say("no rust-lightning beside us: `make peers` installs it")
    return run(folder, graph_of(network), rounds, say, theirs)


def measure(folder: Path, say: Callable[[str], None], topology: Path | None = None) -> list[Figure]:
    """For `make bench`."""
    return on_topology(folder, topology, ROUNDS, say)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.graph", description=__doc__)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--topology", type=Path)
    source.add_argument("--messages", type=Path)
    source.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=count, default=ROUNDS)
    args = parser.parse_args()
    if args.child is not None:
        child(args.child)
        return
    with refused(parser), tempfile.TemporaryDirectory(prefix="leyden-bench-") as folder:
        if args.messages is not None:
            figures = run(Path(folder), graph_of_messages(args.messages), args.rounds, print)
        else:
            figures = on_topology(Path(folder), args.topology, args.rounds, print)
        print(table(figures))


if __name__ == "__main__":
    main()
