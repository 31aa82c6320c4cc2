"""A real chain, real Electrum servers and real Lightning peers for tests, each in processes of their own.

    with Regtest(directory) as net:
        alice = net.ldk_peer("alice", fund_sat=10_000_000)
        net.mine(6)

Everything listens on 127.0.0.1 at ports that were free, lives in one directory, and is ended by pid. Nothing
here sleeps: waiting means waiting for a line, a notification or an answer. `make peers` installs the parts; a
test without them fails with that sentence and is not skipped.

`python -m tests.real.harness` starts one such network by hand and says where it listens.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from tests.real.process import HOST, Ports, Process, ProcessError, memory_kib

HERE = Path(__file__).resolve().parent
PEERS = Path(
    os.environ.get("PEERS")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leyden-peers"
)
MATURE_BLOCKS = 101
T = TypeVar("T")
Json = Any  # what a JSON answer holds is the test's to know


class RPCError(Exception):
    """A node, server or peer answered with an error.

    Attributes:
        code: JSON-RPC's number, or None where there is none.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


def part(relative: str) -> Path:
    """An installed program, or a sentence on how to install it."""
    path = PEERS / relative
    if not path.exists():
        raise ProcessError(f"{path} is not there: run `make peers` once")
    return path


def btc_text(amount_sat: int) -> str:
    """Satoshis as the node's RPC takes them, without a float on the way."""
    return f"{amount_sat // 100_000_000}.{amount_sat % 100_000_000:08d}"


def sat_from_btc(amount: Decimal | int | str) -> int:
    scaled = Decimal(amount) * 100_000_000
    if scaled != int(scaled):
        raise ValueError(f"{amount} is not a whole number of satoshis")
    return int(scaled)


def _post(port: int, path: str, body: Json, *, headers: dict[str, str], timeout_seconds: float) -> Json:
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_seconds)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **headers})
        reply = connection.getresponse()
        raw = reply.read()
    finally:
        connection.close()
    if not raw:
        raise RPCError(f"HTTP {reply.status}", -reply.status)
    return json.loads(raw, parse_float=Decimal)


# ----------------------------------------------------------------------------------------- the node


class BitcoinNode:
    """A regtest bitcoind with a mining wallet that has money.

    Attributes:
        ports: where servers and peers on this chain take theirs from.
        rpc_port, rpc_user, rpc_password: for others that want to talk to it.
        seen_txids: every transaction that it ever took into its mempool, in order.
    """

    def __init__(self, directory: Path, ports: Ports, *, extra_args: Sequence[str] = ()) -> None:
        self.directory = directory
        self.ports = ports
        self.extra_args = list(extra_args)
        self.rpc_port = ports.take()
        self.rpc_user = "regtest"
        self.rpc_password = secrets.token_hex(16)
        self.seen_txids: list[str] = []
        self.miner_address = ""
        self.process: Process | None = None

    @property
    def running(self) -> Process:
        if self.process is None:
            raise ProcessError("bitcoind is not running")
        return self.process

    def _on_line(self, line: str) -> None:
        if "Enqueuing TransactionAddedToMempool" in line:
            self.seen_txids.append(line.split("txid=", 1)[1].split()[0])

    def start(self) -> None:
        data = self.directory / "bitcoind"
        data.mkdir(exist_ok=True)
        # In a file that only we can read, rather than on a command line that everybody can.
        conf = data / "bitcoin.conf"
        conf.touch(mode=0o600)
        conf.write_text(f"[regtest]\nrpcuser={self.rpc_user}\nrpcpassword={self.rpc_password}\n")
        argv = [
            str(part("bitcoin/bin/bitcoind")), "-regtest", f"-datadir={data}", "-server=1", "-txindex=1",
            f"-rpcbind={HOST}", f"-rpcallowip={HOST}", f"-rpcport={self.rpc_port}", "-rpcthreads=4",
            "-rpcworkqueue=512", "-listen=0", "-dnsseed=0", "-fixedseeds=0", "-discover=0", "-natpmp=0",
            "-listenonion=0", "-i2pacceptincoming=0", "-dbcache=16", "-par=1", "-fallbackfee=0.0001",
            "-printtoconsole=1", "-nodebuglogfile", "-logthreadnames=0",
            "-debug=validation",        # says what enters the mempool and the chain: what we wait for
            "-corepolicy=1",            # Knots relays by rules of its own otherwise (no zero-fee packages)
            "-addresstype=bech32", "-changetype=bech32",  # legacy ones otherwise
            "-softwareexpiry=0",        # Knots stops by itself at a date otherwise
            *self.extra_args,
        ]  # fmt: skip
        self.process = Process("bitcoind", argv, directory=self.directory, on_line=self._on_line)
        self.process.wait_line(r"Done loading")
        if (chain := self.rpc("getblockchaininfo")["chain"]) != "regtest":
            raise ProcessError(f"bitcoind runs on {chain}, not on regtest")
        if not self.miner_address:
            self.rpc("createwallet", "miner")
            self.miner_address = self.rpc("getnewaddress", wallet="miner")
        elif "miner" not in self.rpc("listwallets"):
            self.rpc("loadwallet", "miner")

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()
            self.process = None

    def rpc(self, method: str, *params: Json, wallet: str | None = None, timeout_seconds: float = 60) -> Json:
        token = base64.b64encode(f"{self.rpc_user}:{self.rpc_password}".encode()).decode()
        body = _post(
            self.rpc_port,
            "/" if wallet is None else f"/wallet/{wallet}",
            {"id": 0, "method": method, "params": params},
            headers={"Authorization": f"Basic {token}"},
            timeout_seconds=timeout_seconds,
        )
        if error := body.get("error"):
            raise RPCError(f"{method}: {error['message']} ({error['code']})", error["code"])
        return body["result"]

    @property
    def height(self) -> int:
        return int(self.rpc("getblockcount"))

    def mine(self, blocks: int = 1, *, address: str | None = None) -> list[str]:
        """Mines blocks with what the mempool holds; their hashes. Nobody is waited for."""
        return list(self.rpc("generatetoaddress", blocks, address or self.miner_address))

    def mine_empty(self, blocks: int = 1) -> None:
        """Mines blocks without any transaction of the mempool."""
        address = self.rpc("getnewaddress", wallet="miner")
        for _ in range(blocks):
            self.rpc("generateblock", address, [])

    def reorganise(self, depth_blocks: int, *, empty: bool = False) -> None:
        """Replaces the last blocks by one more than they were; with `empty` nothing is confirmed again.

        One more, because an ElectrumX server looks at a new chain only once that is higher than its own.
        """
        stale = self.rpc("getblockhash", self.height - depth_blocks + 1)
        self.rpc("invalidateblock", stale)
        if empty:
            self.mine_empty(depth_blocks + 1)
        else:
            # To another address: the same coinbase could give the same block.
            self.mine(depth_blocks + 1, address=self.rpc("getnewaddress", wallet="miner"))

    def send(self, address: str, amount_sat: int) -> str:
        """Pays an address from the mining wallet; the txid."""
        return str(self.rpc("sendtoaddress", address, btc_text(amount_sat), wallet="miner"))

    def mempool(self) -> set[str]:
        return set(self.rpc("getrawmempool"))

    def wait_until(self, what: str, check: Callable[[], T | None], *, timeout_seconds: float = 60) -> T:
        """Asks again whenever the mempool or the chain changed (the node's log says so)."""
        return self.running.wait_until(what, check, timeout_seconds=timeout_seconds)

    def wait_for_tx(self, txid: str, *, timeout_seconds: float = 60) -> None:
        """Until the node has taken this transaction."""
        self.wait_until(f"has {txid}", lambda: txid in self.seen_txids, timeout_seconds=timeout_seconds)

    def spender(self, txid: str, vout: int) -> str | None:
        """Which transaction of the mempool spends an output."""
        found = self.rpc("gettxspendingprevout", [{"txid": txid, "vout": vout}])[0].get("spendingtxid")
        return None if found is None else str(found)

    def wait_for_spend(self, txid: str, vout: int, *, timeout_seconds: float = 60) -> str:
        """Until a transaction of the mempool spends this output; its txid."""
        return self.wait_until(
            f"has a spend of {txid}:{vout}", lambda: self.spender(txid, vout), timeout_seconds=timeout_seconds
        )


# ----------------------------------------------------------------------------- the Electrum server


class ElectrumConnection:
    """A plain Electrum connection: requests one by one, and the newest header the server told of."""

    def __init__(self, port: int, *, client: str = "harness", version: str = "1.4") -> None:
        self._sock = socket.create_connection((HOST, port), timeout=30)
        self._sock.settimeout(None)
        self._file = self._sock.makefile("rwb")
        self._changed = threading.Condition()
        self._answers: dict[int, Json] = {}
        self._next_id = 0
        self._closed = False
        self.tip_height = -1
        self._reader = threading.Thread(target=self._read, name="electrum answers", daemon=True)
        self._reader.start()
        try:
            self.call("server.version", client, version)
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in self._file:
                message = json.loads(line)
                with self._changed:
                    if message.get("id") is not None:
                        self._answers[message["id"]] = message
                    elif message.get("method") == "blockchain.headers.subscribe":
                        self.tip_height = message["params"][0]["height"]
                    self._changed.notify_all()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def call(self, method: str, *params: Json, timeout_seconds: float = 30) -> Json:
        with self._changed:
            number = self._next_id
            self._next_id += 1
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            self._file.write(json.dumps(request).encode() + b"\n")
            self._file.flush()
            if not self._changed.wait_for(lambda: number in self._answers or self._closed, timeout_seconds):
                raise ProcessError(f"the Electrum server did not answer {method} in {timeout_seconds} s")
            if number not in self._answers:
                raise ConnectionError("the Electrum server hung up")
            answer = self._answers.pop(number)
        if answer.get("error"):
            raise RPCError(f"{method}: {answer['error']['message']}", answer["error"].get("code"))
        return answer["result"]

    def follow(self) -> None:
        tip = self.call("blockchain.headers.subscribe")
        with self._changed:
            self.tip_height = max(self.tip_height, tip["height"])

    def wait_height(self, height: int, *, timeout_seconds: float = 60) -> None:
        with self._changed:
            ok = self._changed.wait_for(lambda: self.tip_height >= height or self._closed, timeout_seconds)
            if not ok or self.tip_height < height:
                raise ProcessError(f"the Electrum server stands at {self.tip_height}, not at {height}")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._reader.join(timeout=10)
        with contextlib.suppress(OSError):
            self._file.close()
        self._sock.close()


class ElectrumServer:
    """ElectrumX on a node. It can be stopped, killed and started again at the same port.

    Attributes:
        version: "1" is ElectrumX 1.20 (protocols 1.4 to 1.6), "2" is 2.0 (up to 1.7).
        port, tls_port: where it listens; no TLS unless asked for.
        certificate: path of the self-signed certificate, with TLS.
    """

    def __init__(
        self,
        node: BitcoinNode,
        name: str,
        *,
        version: Literal["1", "2"] = "1",
        protocol_max: str | None = None,
        poll_ms: int = 100,
        send_wait: float | None = 0.0,
        tls: bool = False,
    ) -> None:
        self.node = node
        self.name = name
        self.version = version
        self.protocol_max = protocol_max
        self.poll_ms = poll_ms
        self.send_wait = send_wait
        self.port = node.ports.take()
        self.admin_port = node.ports.take()
        self.tls_port = node.ports.take() if tls else None
        self.certificate = node.directory / f"{name}.crt"
        self.process: Process | None = None
        self._watch: ElectrumConnection | None = None

    @property
    def host(self) -> str:
        return HOST

    def _environment(self) -> dict[str, str]:
        data = self.node.directory / self.name
        data.mkdir(exist_ok=True)
        services = [f"tcp://{HOST}:{self.port}", f"rpc://{HOST}:{self.admin_port}"]
        # An environment of its own, so that nothing of the caller's leaks in.
        env = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")}
        env |= {
            "PYTHONUNBUFFERED": "1", "COIN": "Bitcoin", "NET": "regtest", "DB_ENGINE": "leveldb",
            "DAEMON_URL": f"http://{self.node.rpc_user}:{self.node.rpc_password}@{HOST}:{self.node.rpc_port}/",
            "DB_DIRECTORY": str(data), "PEER_DISCOVERY": "off", "PEER_ANNOUNCE": "", "ALLOW_ROOT": "1",
            "CACHE_MB": "32", "COST_SOFT_LIMIT": "0", "COST_HARD_LIMIT": "0", "MAX_SESSIONS": "500",
            "LOG_SESSIONS": "0", "SESSION_TIMEOUT": "3600",
            # Five seconds by default.
            "DAEMON_POLL_INTERVAL_BLOCKS": str(self.poll_ms),
            "DAEMON_POLL_INTERVAL_MEMPOOL": str(self.poll_ms),
        }  # fmt: skip
        if self.tls_port is not None:
            key = self.certificate.with_suffix(".key")
            if not self.certificate.exists():
                make_certificate(self.certificate, key)
            services.append(f"ssl://{HOST}:{self.tls_port}")
            env |= {"SSL_CERTFILE": str(self.certificate), "SSL_KEYFILE": str(key)}
        env["SERVICES"] = ",".join(services)
        if self.protocol_max is not None:
            env["REGTEST_PROTOCOL_MAX"] = self.protocol_max
        if self.send_wait is not None:
            env["REGTEST_SEND_WAIT"] = str(self.send_wait)
        if self.version == "2":  # it asks for a daemon 31.0 with txospenderindex, for 1.7's outpoints
            env |= {
                "REGTEST_DAEMON_MIN": "28.0",
                "REGTEST_INDEXES": "txindex",
                "REGTEST_FIND_SPENDERS": "1",
            }
        return env

    def start(self) -> None:
        """Starts it and waits until it serves the node's tip."""
        python = part("electrumx-venv" if self.version == "2" else "electrumx1-venv") / "bin/python"
        argv = [str(python), str(HERE / "regtest" / "electrumx_regtest.py")]
        self.process = Process(self.name, argv, directory=self.node.directory, env=self._environment())
        # It only logs that a port is taken, and goes on: then we would talk to somebody else's server.
        found = self.process.wait_line(rf"server (failed to listen .*|listening on \S*{HOST}:{self.port}$)")
        if "failed" in found.group(1):
            raise ProcessError(f"{self.name}: {found.group(1)}")
        self._watch = ElectrumConnection(self.port)
        self._watch.follow()
        self.wait_synced()

    def wait_synced(self, *, timeout_seconds: float = 60) -> None:
        """Until the server tells of a tip as high as the node's."""
        if self._watch is None:
            raise ProcessError(f"{self.name} is not running")
        self._watch.wait_height(self.node.height, timeout_seconds=timeout_seconds)

    def connect(self, *, version: str = "1.4") -> ElectrumConnection:
        return ElectrumConnection(self.port, version=version)

    def _let_go(self) -> Process | None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        process, self.process = self.process, None
        return process

    def stop(self) -> None:
        if process := self._let_go():
            process.stop()

    def kill(self) -> None:
        if process := self._let_go():
            process.kill()


def make_certificate(certificate: Path, key: Path) -> None:
    """A self-signed certificate for 127.0.0.1, as most Electrum servers have one."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650",
         "-subj", "/CN=localhost", "-addext", f"subjectAltName=DNS:localhost,IP:{HOST}",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    key.chmod(0o600)


# --------------------------------------------------------------------------- the Lightning peer


class LdkPeer:
    """A rust-lightning node (ldk/ldk-peer.mjs; ldk/README.md lists its commands).

    Options are the program's, with underscores: `LdkPeer(node, "bob", no_anchors=True, to_self_delay=288)`.

    Attributes:
        node_id: its public key, hex.
        port: where it takes Lightning connections; the same after a restart.
    """

    def __init__(
        self, node: BitcoinNode, name: str, *, persistent: bool = False, **options: str | int | bool
    ) -> None:
        self.node = node
        self.name = name
        self.options = options
        self.port = node.ports.take()
        self.control_port = node.ports.take()
        self.node_id = ""
        self.directory = node.directory / name if persistent else None
        self.process: Process | None = None

    @property
    def running(self) -> Process:
        if self.process is None:
            raise ProcessError(f"{self.name} is not running")
        return self.process

    @property
    def uri(self) -> str:
        return f"{self.node_id}@{HOST}:{self.port}"

    def start(self) -> None:
        values: dict[str, str | int | bool] = {
            "name": self.name, "seed": self.name, "ln_port": self.port, "ctl_port": self.control_port,
            "rpc_url": f"http://{HOST}:{self.node.rpc_port}", "rpc_user": self.node.rpc_user,
            "rpc_pass": self.node.rpc_password, "poll_ms": 100, **self.options,
        }  # fmt: skip
        if self.directory is not None:
            self.directory.mkdir(exist_ok=True)
            values["datadir"] = str(self.directory)
        argv = [str(part("nodejs-venv/nodejs/bin/node")), str(_peer_program(self.node.directory))]
        for key, value in values.items():
            flag = "--" + key.replace("_", "-")
            if value is True:
                argv.append(flag)
            elif value is not False:
                argv += [flag, str(value)]
        self.process = Process(self.name, argv, directory=self.node.directory)
        ready = json.loads(self.process.wait_line(r"^READY (\{.*\})").group(1))
        self.node_id = ready["node_id"]

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            code = process.stop()
            # SIGTERM saves its state and exits 0. 3 is a Rust panic: the peer's, or one that we provoked.
            if code == 3:
                raise ProcessError(f"{self.name} panicked:\n{process.tail()}")

    def kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()

    def save_state(self, name: str) -> Path:
        """Copies a stopped peer's files: putting an old copy back makes it publish a revoked commitment."""
        if self.process is not None or self.directory is None:
            raise ProcessError(f"{self.name} must be persistent and stopped to be copied")
        return Path(shutil.copytree(self.directory, self.node.directory / f"{self.name}-{name}"))

    def restore_state(self, copy: Path) -> None:
        if self.process is not None or self.directory is None:
            raise ProcessError(f"{self.name} must be persistent and stopped to be put back")
        shutil.rmtree(self.directory)
        shutil.copytree(copy, self.directory)

    def call(self, method: str, *, timeout_seconds: float = 120, **params: Json) -> Json:
        """One command; params as ldk/README.md lists them."""
        reply = _post(self.control_port, "/" + method, params, headers={}, timeout_seconds=timeout_seconds)
        if "error" in reply:
            raise RPCError(f"{self.name}.{method}: {reply['error']}")
        return reply["result"]

    def sync(self) -> None:
        """Until it has seen the node's tip, and what it broadcasts has been sent."""
        self.call("sync")

    def wait_event(self, kind: str, *, timeout_seconds: float = 60, since: int = 0, **match: Json) -> Json:
        """The first event of a kind (LDK's name) whose fields match, looking back to `since`."""
        return self.call(
            "wait_event", type=kind, match=match, since=since, timeout_ms=int(timeout_seconds * 1000),
            timeout_seconds=timeout_seconds + 10,
        )  # fmt: skip

    def wait_channel(self, channel_id: str, *, timeout_seconds: float = 60, **match: Json) -> Json:
        """A channel's row once it is usable, or once its fields are as named (`htlcs_in=3`)."""
        wanted = {"match": match} if match else {}
        return self.call(
            "wait_channel", channel_id=channel_id, timeout_ms=int(timeout_seconds * 1000),
            timeout_seconds=timeout_seconds + 10, **wanted,
        )  # fmt: skip

    def fund(self, amount_sat: int, *, coins: int = 3) -> None:
        """Gives it coins (several, since one is locked by each opening); they need a block."""
        for _ in range(coins):
            self.node.send(self.call("newaddress"), amount_sat // coins)

    def memory_kib(self) -> int:
        return memory_kib(self.running.pid)


def _peer_program(directory: Path) -> Path:
    """The peer's program beside its npm packages: Node.js looks for packages beside who imports them."""
    place = directory / "ldk-program"
    if not place.exists():
        place.mkdir()
        for source in (HERE / "ldk").glob("*.mjs"):
            shutil.copy(source, place)
        (place / "node_modules").symlink_to(part("ldk/node_modules"))
    return place / "ldk-peer.mjs"


class LdkLines:
    """Many commands in flight to one peer, over one connection, answered as they finish."""

    def __init__(self, peer: LdkPeer) -> None:
        self._sock = socket.create_connection((HOST, peer.control_port), timeout=120)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._sock.makefile("rwb")
        self._next_id = 0

    def send(self, method: str, **params: Json) -> int:
        """Sends one command and does not wait; its number."""
        self._next_id += 1
        request = {"id": self._next_id, "method": method, "params": params}
        self._file.write(json.dumps(request).encode() + b"\n")
        self._file.flush()
        return self._next_id

    def receive(self) -> tuple[int, Json]:
        """The next answer, whichever command's it is."""
        line = self._file.readline()
        if not line:
            raise ConnectionError("the peer hung up")
        answer = json.loads(line, parse_float=Decimal)
        if "error" in answer:
            raise RPCError(answer["error"])
        return answer["id"], answer["result"]

    def close(self) -> None:
        self._file.close()
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


# ---------------------------------------------------------------------------------- all of it


class Regtest:
    """A node, an Electrum server on it, and whatever servers and peers a test adds.

    Attributes:
        node: the chain.
        electrum: the first server.
        servers, peers: all of them, stopped ones included.
    """

    def __init__(
        self,
        directory: Path,
        *,
        electrumx: Literal["1", "2"] | None = "1",
        protocol_max: str | None = None,
        poll_ms: int = 100,
        send_wait: float | None = 0.0,
        tls: bool = False,
        blocks: int = MATURE_BLOCKS + 9,
        bitcoind_args: Sequence[str] = (),
    ) -> None:
        """`electrumx=None` starts no server; `send_wait=None` leaves ElectrumX's own second."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.ports = Ports()
        self.node = BitcoinNode(directory, self.ports, extra_args=bitcoind_args)
        self.servers: list[ElectrumServer] = []
        self.peers: list[LdkPeer] = []
        try:
            self.node.start()
            self.node.mine(blocks)
            if electrumx is not None:
                self.add_server(
                    version=electrumx,
                    protocol_max=protocol_max,
                    poll_ms=poll_ms,
                    send_wait=send_wait,
                    tls=tls,
                )
        except BaseException:
            self.close()
            raise

    @property
    def electrum(self) -> ElectrumServer:
        return self.servers[0]

    def add_server(
        self,
        *,
        version: Literal["1", "2"] = "1",
        protocol_max: str | None = None,
        poll_ms: int = 100,
        send_wait: float | None = 0.0,
        tls: bool = False,
    ) -> ElectrumServer:
        name = f"electrumx-{len(self.servers) + 1}"
        server = ElectrumServer(
            self.node, name, version=version, protocol_max=protocol_max, poll_ms=poll_ms,
            send_wait=send_wait, tls=tls,
        )  # fmt: skip
        self.servers.append(server)
        server.start()
        return server

    def ldk_peer(
        self, name: str, *, fund_sat: int = 0, persistent: bool = False, **options: str | int | bool
    ) -> LdkPeer:
        """Starts a peer; `fund_sat` gives it that in three coins, and mines a block."""
        peer = LdkPeer(self.node, name, persistent=persistent, **options)
        self.peers.append(peer)
        peer.start()
        if fund_sat:
            peer.fund(fund_sat)
            self.mine(1)
        return peer

    def open_channel(
        self,
        opener: LdkPeer,
        other: LdkPeer,
        *,
        amount_sat: int,
        push_msat: int = 0,
        public: bool = False,
        **params: Json,
    ) -> str:
        """A channel between two LDK peers, confirmed and usable on both sides; its id."""
        opener.call("connect", pubkey=other.node_id, port=other.port)
        opened = opener.call(
            "open_channel",
            pubkey=other.node_id,
            sats=amount_sat,
            push_msat=push_msat,
            public=public,
            **params,
        )
        # The peer answers before its broadcast has reached the node: too early to mine.
        self.node.wait_for_tx(opened["funding"].split(":")[0])
        self.mine(6)
        for peer in (opener, other):
            peer.wait_channel(opened["channel_id"])
        if public:
            # Who saw the sixth block first has sent its announcement_signatures to one who took them for too early
            # and dropped them. They are sent again on reconnection.
            opener.call("disconnect", pubkey=other.node_id)
            for peer, gone in ((opener, other), (other, opener)):
                peer.call("wait_peer", pubkey=gone.node_id, gone=True)
            opener.call("connect", pubkey=other.node_id, port=other.port)
            for peer in (opener, other):
                peer.wait_channel(opened["channel_id"])
        return str(opened["channel_id"])

    def sync(self) -> None:
        """Until every running server and peer stands at the node's tip."""
        for server in self.servers:
            if server.process is not None:
                server.wait_synced()
        for peer in self.peers:
            if peer.process is not None:
                peer.sync()

    def mine(self, blocks: int = 1) -> None:
        """Mines, and waits until servers and peers have seen it."""
        self.node.mine(blocks)
        self.sync()

    def _owners(self) -> list[BitcoinNode | ElectrumServer | LdkPeer]:
        return [self.node, *self.servers, *self.peers]

    def processes(self) -> Iterator[Process]:
        for owner in self._owners():
            if owner.process is not None:
                yield owner.process

    def tails(self, lines: int = 40) -> Iterator[tuple[str, str]]:
        """(name, last lines) of each running process: what a failed test shows."""
        for process in self.processes():
            yield process.name, process.tail(lines)

    def close(self) -> None:
        """Ends everything, the node last; the first trouble is raised once all have ended."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.ports.close)
            for owner in self._owners():
                stack.callback(owner.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def main() -> None:
    """Starts a network, prints where it listens, and ends it at Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.real.harness", description=main.__doc__)
    parser.add_argument("--dir", type=Path, help="where it lives (default: a temporary directory)")
    parser.add_argument("--electrumx", choices=("1", "2"), default="1", help="1: up to 1.6; 2: up to 1.7")
    parser.add_argument("--protocol-max", help="offer no higher protocol than this")
    parser.add_argument("--poll-ms", type=int, default=100)
    parser.add_argument("--send-wait", default="0", help="seconds to hold answers back, or 'stock'")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument(
        "--ldk", nargs="*", default=[], metavar="NAME", help="Lightning peers to start, funded"
    )
    args = parser.parse_args()
    directory = args.dir or Path(tempfile.mkdtemp(prefix="leyden-regtest-"))
    started = time.monotonic()
    with Regtest(
        directory.resolve(),
        electrumx=args.electrumx,
        protocol_max=args.protocol_max,
        poll_ms=args.poll_ms,
        send_wait=None if args.send_wait == "stock" else float(args.send_wait),
        tls=args.tls,
    ) as net:
        for name in args.ldk:
            net.ldk_peer(name, fund_sat=1_000_000_000)
        cli = PEERS / "bitcoin/bin/bitcoin-cli"
        where = {
            "directory": str(net.directory),
            "electrum": f"{HOST}:{net.electrum.port}:t",
            "electrum_tls": f"{HOST}:{net.electrum.tls_port}:s" if args.tls else None,
            "bitcoin_cli": f"{cli} -regtest -datadir={net.directory}/bitcoind -rpcport={net.node.rpc_port}",
            "peers": {
                peer.name: {"uri": peer.uri, "control": f"http://{HOST}:{peer.control_port}"}
                for peer in net.peers
            },
            "seconds": round(time.monotonic() - started, 1),
        }
        print(json.dumps(where, indent=1), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
        # A second one must not interrupt the ending.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    if args.dir is None:
        shutil.rmtree(directory)


if __name__ == "__main__":
    # SIGTERM ends as Ctrl-C does: through the `with` above.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
