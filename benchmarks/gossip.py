"""How long all gossip takes, from bytes to the graph, beside the curve library's own time for the same signatures.

    python -m benchmarks.gossip [--messages FILE | --topology FILE.npz] [--rounds N]

FILE: repeated a length in two bytes, big-endian, and a message (`python -m benchmarks.gossip_file` makes one). In
memory: decoded, every signature checked, added. Over a socket: one peer, a process of its own, has encrypted it all
before the clock starts, and sends as fast as it is read. The reference: the same checks, and nothing else, on as many
threads as there are cores; each key is parsed each time.

Where `make peers` was run, rust-lightning (WASM, one core) checks and adds a sample of the same messages: the first
thousand channels with their terms, and their nodes. Its time for all is that of the sample, by the signatures.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import gossip_file, rust_lightning
from benchmarks.figures import Figure, of_samples, table
from benchmarks.inputs import InputError, count, refused
from benchmarks.rust_lightning import RustLightning
from benchmarks.topology import read_npz, synthetic
from tests.unit.ln.connection_pair import Channels, Keys, Log
from wallet.bitcoin.address import MAINNET
from wallet.bitcoin.curve import EcdsaChecks
from wallet.ln.msgs import ChannelAnnouncement, ChannelUpdate, NodeAnnouncement, decode_message
from wallet.ln.peer_handler import PeerManager
from wallet.ln.routing.gossip import NetGraphMsgHandler, NetworkGraph
from wallet.ln.types import NodeId, Now, ShortChannelId
from wallet.node.interpreter import tune
from wallet.node.signatures import SignaturePool

IN_MEMORY_LIMIT = 1.5
SOCKET_LIMIT = 2.2
REFERENCE = "libsecp256k1, the checks alone on all cores"
ROUNDS = 3
TIMEOUT_SECONDS = 300.0
SAMPLE_CHANNELS = 1_000
PEER_LIMIT = 1.0
PEER = NodeId(b"\x02" * 33)


def checks_of(messages: Sequence[bytes]) -> bytes:
    """All signatures with what they sign, as `EcdsaChecks` takes them."""
    nodes: dict[int, tuple[NodeId, NodeId]] = {}
    parts: list[bytes] = []
    for raw in messages:
        message = decode_message(raw)
        if isinstance(message, ChannelAnnouncement):
            nodes[message.short_channel_id] = (message.node_id_1, message.node_id_2)
            digest = message.digest()
            parts += (
                message.node_signature_1, digest, message.node_id_1,
                message.node_signature_2, digest, message.node_id_2,
                message.bitcoin_signature_1, digest, message.bitcoin_key_1,
                message.bitcoin_signature_2, digest, message.bitcoin_key_2,
            )  # fmt: skip
        elif isinstance(message, ChannelUpdate):
            if message.short_channel_id not in nodes:
                raise InputError(
                    f"An update comes before the announcement of its channel {message.short_channel_id}."
                )
            key = nodes[message.short_channel_id][message.direction]
            parts += (message.signature, message.digest(), key)
        elif isinstance(message, NodeAnnouncement):
            parts += (message.signature, message.digest(), message.node_id)
    return b"".join(parts)


def reference_seconds(checks: bytes) -> float:
    """The checks alone."""
    cores = os.cpu_count() or 1
    total = len(checks) // 129
    bounds = [129 * (total * part // cores) for part in range(cores + 1)]
    shares = [checks[start:end] for start, end in itertools.pairwise(bounds)]
    bad: list[int] = []

    def verify(share: bytes) -> None:
        bad.append(EcdsaChecks(keys_kept=0).verify(share).count(0))

    threads = [threading.Thread(target=verify, args=(share,)) for share in shares]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if sum(bad):
        raise InputError(f"{sum(bad)} of the {total} signatures in the file are not correct.")
    return seconds


def sample_of(messages: Sequence[bytes], channels: int) -> list[bytes]:
    """The first channels of a file, their updates and their nodes' announcements, in the file's order."""
    known: set[ShortChannelId] = set()
    nodes: set[NodeId] = set()
    sample = []
    for raw in messages:
        message = decode_message(raw)
        if isinstance(message, ChannelAnnouncement):
            if len(known) == channels:
                continue
            known.add(message.short_channel_id)
            nodes |= {message.node_id_1, message.node_id_2}
            sample.append(raw)
        elif isinstance(message, ChannelUpdate):
            if message.short_channel_id in known:
                sample.append(raw)
        elif isinstance(message, NodeAnnouncement) and message.node_id in nodes:
            sample.append(raw)
    return sample


def clock_of(messages: Sequence[bytes]) -> Now:
    """A little later than the newest message."""
    times = [
        message.timestamp_at
        for message in map(decode_message, messages)
        if isinstance(message, ChannelUpdate | NodeAnnouncement)
    ]
    if not times:
        raise InputError("The file has no channel_update and no node_announcement.")
    return Now(at=max(times) + 60, mono_ms=0)


def in_memory_seconds(messages: Sequence[bytes], now: Now) -> tuple[float, NetworkGraph]:
    graph = NetworkGraph(MAINNET)
    answers: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    pool = SignaturePool(answers.put)
    handler = NetGraphMsgHandler(graph, None, Log(), clock=lambda: now, signature_checks=pool)
    began = time.perf_counter()
    for raw in messages:
        message = decode_message(raw)
        if isinstance(message, ChannelUpdate):
            handler.handle_channel_update(PEER, message)
        elif isinstance(message, ChannelAnnouncement):
            handler.handle_channel_announcement(PEER, message)
        elif isinstance(message, NodeAnnouncement):
            handler.handle_node_announcement(PEER, message)
        while handler.processing_queue_high() or not answers.empty():
            answers.get(timeout=TIMEOUT_SECONDS)()
    while handler.unverified_count:
        answers.get(timeout=TIMEOUT_SECONDS)()
    seconds = time.perf_counter() - began
    pool.close()
    handler.get_and_clear_pending_msg_events()
    return seconds, graph


class _Socket(asyncio.Protocol):
    """A `SocketDescriptor` over asyncio, as the node has one."""

    def __init__(self, peers: PeerManager[_Socket]) -> None:
        self.peers = peers
        self.transport: asyncio.Transport | None = None
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.peers.new_inbound_connection(self)

    def data_received(self, data: bytes) -> None:
        if self.peers.read_event(self, data) and self.transport is not None:
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.peers.socket_disconnected(self)
        self.lost.set()

    def send_data(self, data: bytes, resume_read: bool) -> int:
        if self.transport is None:
            return 0
        if resume_read and not self.transport.is_reading():
            self.transport.resume_reading()
        self.transport.write(data)
        return len(data)

    def disconnect_socket(self) -> None:
        if self.transport is not None:
            self.transport.close()


async def _socket_round(messages: Path, now: Now) -> tuple[float, NetworkGraph]:
    loop = asyncio.get_running_loop()
    graph, keys, channels = NetworkGraph(MAINNET), Keys(b"\x07" * 32), Channels()

    idle = asyncio.Event()

    def answered(answer: Callable[[], None]) -> None:
        answer()
        peers.process_events()
        idle.set()

    pool = SignaturePool(lambda answer: loop.call_soon_threadsafe(answered, answer))
    handler = NetGraphMsgHandler(graph, None, Log(), clock=lambda: now, signature_checks=pool)
    peers: PeerManager[_Socket] = PeerManager(
        message_handler=channels, route_handler=handler, msg_events=channels, keys_manager=keys, logger=Log(),
        network=MAINNET,
    )  # fmt: skip
    sockets: list[_Socket] = []

    def accept() -> _Socket:
        sockets.append(_Socket(peers))
        return sockets[-1]

    server = await loop.create_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sender = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.gossip_sender", str(port), keys.get_node_id().hex(), str(messages),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert sender.stdin is not None
    assert sender.stdout is not None
    async with asyncio.timeout(TIMEOUT_SECONDS):
        assert await sender.stdout.readline() == b"ready\n"
        began = time.perf_counter()
        sender.stdin.write(b"go\n")
        # It hangs up when it has sent everything.
        await sockets[0].lost.wait()
        while handler.unverified_count:
            idle.clear()
            await idle.wait()
        seconds = time.perf_counter() - began
        await sender.wait()
    server.close()
    pool.close()
    return seconds, graph


def run(messages_file: Path, rounds: int, say: Callable[[str], None]) -> list[Figure]:
    # As the program has it.
    tune()
    messages = gossip_file.read(messages_file)
    checks = checks_of(messages)
    now = clock_of(messages)
    say(f"{len(messages)} messages, {len(checks) // 129} signatures")
    references, in_memory, over_socket, peer = [], [], [], []
    sample = sample_of(messages, SAMPLE_CHANNELS)
    share = len(checks_of(sample)) / len(checks)
    with_peer = rust_lightning.is_installed()
    if not with_peer:
        say("no rust-lightning beside us: `make peers` installs it")
    for _ in range(rounds):
        references.append(reference_seconds(checks))
        seconds, graph = in_memory_seconds(messages, now)
        in_memory.append(seconds)
        told = graph.channel_count, graph.node_count
        seconds, graph = asyncio.run(_socket_round(messages_file, now))
        over_socket.append(seconds)
        assert told == (graph.channel_count, graph.node_count), "the socket told another graph"
        say(
            f"  reference {references[-1]:.2f} s, in memory {in_memory[-1]:.2f} s, socket {over_socket[-1]:.2f} s"
        )
        if with_peer:
            # Each round in a new process: the time that its engine takes to compile is part of it, as with a peer.
            with (
                tempfile.TemporaryDirectory(prefix="leyden-bench-") as folder,
                RustLightning(Path(folder)) as ldk,
            ):
                seconds = ldk.gossip_seconds(sample)
            peer.append(seconds / share)
            say(
                f"  {rust_lightning.NAME}: {len(sample)} messages in {seconds:.2f} s, so all in {peer[-1]:.0f} s"
            )
    figures = [
        of_samples(
            name,
            samples,
            "s",
            limit,
            "lower",
            reference=REFERENCE,
            reference_samples=references,
            is_ratio=True,
        )
        for name, samples, limit in (
            ("all gossip checked and added", in_memory, IN_MEMORY_LIMIT),
            ("the same over a socket", over_socket, SOCKET_LIMIT),
        )
    ]
    if with_peer:
        figures.append(
            of_samples(
                "all gossip checked and added, beside a peer's core", in_memory, "s", PEER_LIMIT, "lower",
                reference=f"{rust_lightning.NAME}, one core, by a sample", reference_samples=peer, is_ratio=True,
            )
        )  # fmt: skip
    return figures


def measure(
    folder: Path, say: Callable[[str], None], topology: Path | None = None, rounds: int = ROUNDS
) -> list[Figure]:
    """For `make bench`."""
    file = folder / "gossip"
    gossip_file.write(file, gossip_file.signed(synthetic() if topology is None else read_npz(topology)))
    return run(file, rounds, say)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gossip", description=__doc__)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--messages", type=Path)
    source.add_argument("--topology", type=Path)
    parser.add_argument("--rounds", type=count, default=ROUNDS)
    args = parser.parse_args()
    with refused(parser), tempfile.TemporaryDirectory(prefix="leyden-bench-") as folder:
        if args.messages is None:
            figures = measure(Path(folder), print, args.topology, args.rounds)
        else:
            figures = run(args.messages, args.rounds, print)
        print(table(figures))


if __name__ == "__main__":
    main()
