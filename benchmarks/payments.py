"""Payments a second: Leyden to a rust-lightning peer and back, against two such peers, in the same run.

Both pairs have an anchor channel with the same values, on the same chain. Their rounds alternate, so that whatever
else the computer does meets both; of the rounds' ratios the median counts. A payment is timed from its command to the
answer that says it is final; invoices are made before the clock runs. "30 at once" keeps thirty payments in flight.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gc
import json
import selectors
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks import inputs
from benchmarks.figures import Figure, of_samples, table
from tests.real.harness import LdkLines, LdkPeer, Regtest
from tests.real.leyden import LeydenDaemon
from tests.real.process import HOST
from wallet.node.rpc_client import RPC_FILE

CHANNEL_SAT = 10_000_000
AMOUNT_MSAT = 10_000
WARM_UP = 60
"""The peer's first payments are slow: its engine compiles as it runs. Ours share its fate."""
ROUNDS = 7
SEQUENTIAL = 50
PARALLEL = 240
AT_ONCE = 30
REFERENCE = "rust-lightning"
SEQUENTIAL_LIMIT = 1.0
PARALLEL_LIMIT = 0.7

Pay = Callable[[Sequence[str], int], None]
"""Pays these invoices, keeping so many in flight; returns when all have arrived."""
Invoices = Callable[[int], list[str]]


class RpcLines:
    """Connections to Leyden's daemon that stay open, each with one command under way."""

    def __init__(self, leyden: LeydenDaemon, connections: int) -> None:
        found = json.loads((leyden.folder / RPC_FILE).read_text())
        token = base64.b64encode(f"{found['user']}:{found['password']}".encode()).decode()
        self._head = f"POST / HTTP/1.1\r\nAuthorization: Basic {token}\r\nContent-Length: "
        self._selector = selectors.DefaultSelector()
        self._free: list[socket.socket] = []
        self._partial: dict[socket.socket, bytes] = {}
        for _ in range(connections):
            sock = socket.create_connection((HOST, found["port"]), timeout=120)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(sock, selectors.EVENT_READ)
            self._free.append(sock)

    @property
    def has_room(self) -> bool:
        return bool(self._free)

    def send(self, method: str, **params: Any) -> None:
        sock = self._free.pop()
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        self._partial[sock] = b""
        sock.sendall(f"{self._head}{len(body)}\r\n\r\n{body}".encode())

    def receive(self) -> list[Any]:
        """The results that have come, one at least."""
        results: list[Any] = []
        while not results:
            for key, _events in self._selector.select(120):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                data = self._partial[sock] + sock.recv(65536)
                head, blank, body = data.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(None, 1)[0]) if blank else -1
                if len(body) != length:
                    assert data != self._partial[sock], "the daemon hung up"
                    self._partial[sock] = data
                    continue
                answer = json.loads(body)
                assert not answer.get("error"), answer["error"]
                self._free.append(sock)
                results.append(answer["result"])
        return results

    def close(self) -> None:
        self._selector.close()
        for sock in self._free + list(self._partial):
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def leyden_pays(leyden: LeydenDaemon) -> Pay:
    def pay(invoices: Sequence[str], at_once: int) -> None:
        waiting = list(invoices)
        left = len(waiting)
        with RpcLines(leyden, at_once) as lines:
            while left:
                while waiting and lines.has_room:
                    lines.send("lnpay", invoice=waiting.pop())
                for paid in lines.receive():
                    assert paid["success"], paid
                    left -= 1

    return pay


def peer_pays(peer: LdkPeer) -> Pay:
    def pay(invoices: Sequence[str], at_once: int) -> None:
        waiting = list(invoices)
        in_flight = 0
        with LdkLines(peer) as lines:
            while waiting or in_flight:
                while waiting and in_flight < at_once:
                    lines.send("pay", bolt11=waiting.pop())
                    in_flight += 1
                _number, paid = lines.receive()
                assert paid["status"] == "sent", paid
                in_flight -= 1

    return pay


def peer_asks(peer: LdkPeer) -> Invoices:
    def make(count: int) -> list[str]:
        return [peer.call("invoice", amount_msat=AMOUNT_MSAT)["bolt11"] for _ in range(count)]

    return make


def leyden_asks(leyden: LeydenDaemon) -> Invoices:
    return lambda count: [leyden.invoice(AMOUNT_MSAT) for _ in range(count)]


def payments_a_second(ways: Sequence[tuple[Pay, Invoices]], count: int, at_once: int) -> float:
    """`count` payments each way, one way after the other."""
    took_seconds = 0.0
    for pay, make in ways:
        invoices = make(count)
        gc.collect()
        began = time.perf_counter()
        pay(invoices, at_once)
        took_seconds += time.perf_counter() - began
    return len(ways) * count / took_seconds


def two_peers(net: Regtest) -> tuple[LdkPeer, LdkPeer]:
    """Two rust-lightning peers with a channel, half on each side: the reference."""
    # A peer waits 10 ms before it looks at what came in, unless told otherwise: at its best, for its own sake.
    # And room for HTLCs that are settled but not yet revoked: their payments count as done already.
    alice, bob = (net.ldk_peer(name, forward_delay_ms=0, max_accepted_htlcs=483) for name in ("alice", "bob"))
    alice.fund(40_000_000)
    net.mine(1)
    net.open_channel(alice, bob, amount_sat=CHANNEL_SAT, push_msat=CHANNEL_SAT * 1000 // 2)
    return alice, bob


def measure(
    directory: Path,
    *,
    rounds: int = ROUNDS,
    parallel: int = PARALLEL,
    at_once: int = AT_ONCE,
    say: Callable[[str], None] = print,
) -> list[Figure]:
    """Starts everything, measures, and ends it."""
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(Regtest(directory / "net"))
        alice, bob = two_peers(net)
        leyden = stack.enter_context(LeydenDaemon(net, directory, "leyden"))
        # Coins to close with: an inbound anchor channel is taken only by who has some.
        leyden.fund(1_000_000)
        open_to_leyden(net, alice, leyden, CHANNEL_SAT * 1000 // 2)
        pairs = {
            "peer": ((peer_pays(alice), peer_asks(bob)), (peer_pays(bob), peer_asks(alice))),
            "leyden": ((leyden_pays(leyden), peer_asks(alice)), (peer_pays(alice), leyden_asks(leyden))),
        }
        for ways in pairs.values():
            payments_a_second(ways, WARM_UP, 10)
        figures = []
        for name, count, width, limit in (
            ("payments a second, one after the other", SEQUENTIAL, 1, SEQUENTIAL_LIMIT),
            (f"payments a second, {at_once} at once", parallel, at_once, PARALLEL_LIMIT),
        ):
            found: dict[str, list[float]] = {"peer": [], "leyden": []}
            for number in range(rounds):
                for who, ways in pairs.items():
                    found[who].append(payments_a_second(ways, count, width))
                say(
                    f"  {name}, round {number + 1}: Leyden {found['leyden'][-1]:.1f}, "
                    f"peer {found['peer'][-1]:.1f}"
                )
            figures.append(
                of_samples(
                    name,
                    found["leyden"],
                    "/s",
                    limit,
                    "higher",
                    reference=REFERENCE,
                    reference_samples=found["peer"],
                    is_ratio=True,
                )
            )
        return figures


def open_to_leyden(net: Regtest, peer: LdkPeer, leyden: LeydenDaemon, push_msat: int) -> str:
    """A channel from the peer, confirmed and usable on both sides; its id."""
    peer.call("connect", pubkey=leyden.node_id, port=leyden.port)
    opened = peer.call("open_channel", pubkey=leyden.node_id, sats=CHANNEL_SAT, push_msat=push_msat)
    net.node.wait_for_tx(opened["funding"].split(":")[0])
    leyden.mine(6)
    channel_id = str(opened["channel_id"])
    peer.wait_channel(channel_id)
    leyden.wait_channel(channel_id)
    return channel_id


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.payments", description=__doc__)
    parser.add_argument(
        "--parallel", type=inputs.count, default=AT_ONCE, help="how many payments are in flight"
    )
    parser.add_argument(
        "--count", type=inputs.count, default=PARALLEL, help="how many payments each way and round"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leyden-bench-") as folder:
        print(table(measure(Path(folder), parallel=given.count, at_once=given.parallel)))
