"""Leyden's own daemon as a test drives it: a process of its own, its commands by JSON-RPC, no sleeping and no polling.

    with LeydenDaemon(net, directory, "leyden") as leyden:
        leyden.call("add_peer", connection_string=bob.uri)
        leyden.wait("sees its coins", lambda: leyden.call("getbalance")["confirmed"] != "0.")

Waiting is built on the command `wait_for_change`: the daemon answers it as soon as anything is newer than what was
seen, and then the check is made again.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.real.harness import Json, Regtest
from tests.real.process import HOST, Process, ProcessError, memory_kib
from wallet.node.api import CommandError
from wallet.node.options import NodeOptions
from wallet.node.rpc_client import call_daemon
from wallet.node.wallets import create_wallet_file, new_words

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
WALLET = "default_wallet"
CHANGE_SECONDS = 10
"""The longest one `wait_for_change` is asked to take: what changes outside the wallet is looked at this often."""


class LeydenDaemon:
    """A wallet and its daemon. `start`, `stop`, `kill` and `start` again as often as a test likes.

    Attributes:
        words: of the wallet.
        folder: of the network, with the log of the daemon beside it.
        node_id: hex.
        port: where it takes Lightning connections; another after each start.
        module: the program that is run.
    """

    module = "wallet"

    def __init__(
        self,
        net: Regtest,
        directory: Path,
        name: str = "leyden",
        extra_args: Sequence[str] = (),
        *,
        words: Sequence[str] | None = None,
        password: str = "",
    ) -> None:
        self.net = net
        self.name = name
        self.directory = directory / name
        self.directory.mkdir(parents=True, exist_ok=True)
        self.extra_args = list(extra_args)
        self.password = password
        self.words = list(words) if words is not None else new_words()
        self.options = NodeOptions(network_name="regtest", root=self.directory, wallet_name=WALLET)
        self.folder = self.options.network_dir
        self.node_id = ""
        self.port = 0
        self.process: Process | None = None
        create_wallet_file(self.options, self.words, password)

    @property
    def running(self) -> Process:
        if self.process is None:
            raise ProcessError(f"{self.name} is not running")
        return self.process

    @property
    def uri(self) -> str:
        return f"{self.node_id}@{HOST}:{self.port}"

    def start(self, *, sync: bool = True) -> None:
        """Starts the daemon, loads the wallet and, with `sync`, waits until it has caught up with the chain."""
        servers = [f"{server.host}:{server.port}:t" for server in self.net.servers]
        argv = [
            sys.executable,
            "-X",
            "faulthandler",
            "-m",
            self.module,
            "--regtest",
            "-D",
            str(self.directory),
        ]
        for server in servers:
            argv += ["--server", server]
        argv += ["--listen", f"{HOST}:0", *self.extra_args, "daemon"]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.process = Process(self.name, argv, directory=self.directory, env=env)
        self.process.wait_line(r"commands are taken on port (\d+)")
        self.call("load_wallet", wallet=WALLET, password=self.password)
        listening = str(self.call("nodeid"))
        found = re.fullmatch(rf"([0-9a-f]{{66}})@{re.escape(HOST)}:(\d+)", listening)
        if found is None:
            raise ProcessError(f"{self.name} does not listen: {listening}")
        self.node_id, self.port = found[1], int(found[2])
        if sync:
            self.sync()

    def stop(self) -> None:
        """Asks it to end (SIGTERM); it leaves everything durable."""
        process, self.process = self.process, None
        if process is not None:
            code = process.stop()
            if code != 0:
                raise ProcessError(f"{self.name} ended with {code}:\n{process.tail()}")

    def kill(self) -> None:
        """SIGKILL: what a power cut does."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()

    def call(self, command: str, *, timeout_seconds: float | None = 120, **args: Json) -> Any:
        """One command, its arguments by name; raises `CommandError`."""
        return call_daemon(self.folder, command, args, timeout_seconds=timeout_seconds)

    def wait(self, what: str, check: Callable[[], T | None], *, timeout_seconds: float = 60) -> T:
        """What `check` answers once that is true; it is asked again after each change of the wallet."""
        end = time.monotonic() + timeout_seconds
        seen = -1
        while True:
            # Before the check: what changes while it looks is newer than this.
            seen = int(self.call("wait_for_change", seen=seen, timeout=CHANGE_SECONDS))
            if value := check():
                return value
            if not self.running.alive:
                raise ProcessError(f"{self.name} ended before it {what}:\n{self.running.tail()}")
            left = end - time.monotonic()
            if left <= 0:
                raise ProcessError(
                    f"{self.name}: waited {timeout_seconds} s until it {what}\n{self.running.tail()}"
                )

    # --- verbs ----------------------------------------------------------------------------

    def sync(self, *, timeout_seconds: float = 60) -> None:
        """Until it stands at the node's tip."""
        self.call("wait_for_sync", timeout=int(timeout_seconds), timeout_seconds=timeout_seconds + 10)
        self.wait(
            "stands at the tip",
            lambda: self.call("getinfo")["blockchain_height"] >= self.net.node.height,
            timeout_seconds=timeout_seconds,
        )

    def mine(self, blocks: int = 1) -> None:
        """Mines, and waits until servers, peers and this wallet have seen it."""
        self.net.mine(blocks)
        self.sync()

    def fund(self, amount_sat: int, *, coins: int = 1) -> None:
        """Gives it confirmed coins."""
        for _ in range(coins):
            self.net.node.send(self.call("getunusedaddress"), amount_sat // coins)
            self.net.node.mine(1)
        self.net.sync()
        self.sync()

    def channel(self, channel_id: str) -> Any:
        """Its row in `list_channels`, or None."""
        found = [row for row in self.call("list_channels") if row["channel_id"] == channel_id]
        return found[0] if found else None

    def wait_channel(self, channel_id: str, *, timeout_seconds: float = 60, **match: Json) -> Any:
        """A channel's row once it is usable, or once its fields are as named (`state="CLOSED"`)."""
        wanted = match or {"is_usable": True}

        def look() -> Any:
            row = self.channel(channel_id)
            return row if row and all(row.get(key) == value for key, value in wanted.items()) else None

        return self.wait(
            f"has channel {channel_id[:12]} with {wanted}", look, timeout_seconds=timeout_seconds
        )

    def pay(self, invoice: str, **args: Json) -> Any:
        """Pays, and asserts that it arrived; the answer of `lnpay`."""
        paid = self.call("lnpay", invoice=invoice, **args)
        assert paid["success"], f"{self.name}: {paid}"
        return paid

    def invoice(self, amount_msat: int, message: str = "") -> str:
        """A BOLT 11 invoice of ours."""
        made = self.call("add_request", amount_msat=amount_msat, message=message, lightning=True)
        return str(made["lightning_invoice"])

    def refusal(self, command: str, **args: Json) -> CommandError:
        """The error of a command that has to fail."""
        try:
            answer = self.call(command, **args)
        except CommandError as error:
            return error
        raise AssertionError(f"{self.name}: {command} was to fail and answered {answer}")

    def memory_kib(self) -> int:
        return memory_kib(self.running.pid)

    def processes(self) -> Iterator[Process]:
        if self.process is not None:
            yield self.process

    def tails(self, lines: int = 60) -> Iterator[tuple[str, str]]:
        """(name, last lines) of the running daemon, or of the log of one that ended: what a failed test shows."""
        if self.process is not None:
            yield self.name, self.process.tail(lines)
        else:
            log = self.directory / f"{self.name}.log"
            if log.exists():
                yield self.name, "\n".join(log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
