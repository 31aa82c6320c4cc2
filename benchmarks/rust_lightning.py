"""rust-lightning on the same graph: its graph file, its scorer, its `find_route` and its checks of gossip.

It is the npm package that the tests have a peer of (`make peers`), rust-lightning compiled to WASM: the one form of it
that a package registry has ready to run. A process of its own does what it is told, one line of JSON at a time, and
takes its times around the calls alone; so neither the pipe nor the making of arguments counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks.topology import Topology, announcement_of, update_of
from tests.real.harness import part
from tests.real.process import memory_kib
from wallet.bitcoin.address import MAINNET
from wallet.bitcoin.hashes import sha256
from wallet.ln.msgs import encode_message

PROGRAM = Path(__file__).with_suffix(".mjs")
KEPT = Path(__file__).resolve().parents[1] / "build" / "rust-lightning"
NAME = "rust-lightning (WASM)"
SIGNATURE_BYTES = 64
TYPE_BYTES = 2


def unsigned(topology: Topology) -> Iterator[bytes]:
    """The topology as messages without their signatures, each channel's capacity in front of its announcement."""
    swapped = []
    for channel in topology.channels:
        message, swap = announcement_of(topology, channel, MAINNET.chain_hash)
        swapped.append(swap)
        raw = encode_message(message)
        yield raw[:TYPE_BYTES] + channel[3].to_bytes(8, "big") + raw[TYPE_BYTES + 4 * SIGNATURE_BYTES :]
    for terms in topology.terms:
        swap = swapped[terms.channel]
        raw = encode_message(update_of(topology, terms, swapped=swap, chain_hash=MAINNET.chain_hash))
        yield raw[:TYPE_BYTES] + raw[TYPE_BYTES + SIGNATURE_BYTES :]


def graph_file(folder: Path, topology: Topology, say: Callable[[str], None]) -> Path:
    """rust-lightning's own file of the network, which it writes once it was told each message.

    That takes it a minute for the public one, so the file stays in `build` for the next run.
    """
    messages = b"".join(len(record).to_bytes(2, "big") + record for record in unsigned(topology))
    made = KEPT / f"{sha256(messages).hex()[:16]}.graph"
    if not made.exists():
        say("  rust-lightning is told the network: once, a minute for the public one")
        KEPT.mkdir(parents=True, exist_ok=True)
        told, new = folder / "unsigned", folder / "network-graph"
        told.write_bytes(messages)
        with RustLightning(folder) as process:
            process.ask("load", file=str(told), cache=str(new))
        # Whole or not at all: a run that is broken off leaves no half of a file.
        shutil.copy(new, made.with_suffix(f".{os.getpid()}"))
        made.with_suffix(f".{os.getpid()}").rename(made)
    return made


class RustLightning:
    """The process.

    Attributes:
        folder: where its program stands beside its packages.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "rust-lightning"
        self.folder.mkdir(exist_ok=True)
        program = self.folder / PROGRAM.name
        if not program.exists():
            # Node.js looks for packages beside who imports them.
            shutil.copy(PROGRAM, program)
            (self.folder / "node_modules").symlink_to(part("ldk/node_modules"))
        node = part("nodejs-venv/nodejs/bin/node")
        self._process = subprocess.Popen(
            [str(node), str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._answer() == {"ready": True}

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "rust-lightning's process has ended"
        answer: dict[str, Any] = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer

    def ask(self, command: str, **given: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"command": command, **given}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def read(self, graph_file: Path) -> tuple[float, float, int]:
        """Read the graph from its file: seconds, megabytes by which the process grows, channels."""
        before_kib = memory_kib(self._process.pid)
        found = self.ask("read", cache=str(graph_file))
        return found["ms"] / 1_000, (memory_kib(self._process.pid) - before_kib) / 1024, found["channels"]

    def gossip_seconds(self, messages: Sequence[bytes]) -> float:
        """Decode, check and add these, on the one core that it has."""
        file = self.folder / "gossip"
        file.write_bytes(b"".join(len(raw).to_bytes(2, "big") + raw for raw in messages))
        return float(self.ask("gossip", file=str(file))["ms"]) / 1_000

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def is_installed() -> bool:
    """Whether `make peers` was run: figures of ours need no other's program."""
    try:
        part("ldk/node_modules")
        part("nodejs-venv/nodejs/bin/node")
    except AssertionError:
        return False
    return True
