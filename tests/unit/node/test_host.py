"""Opening wallets: whatever is wrong is a sentence, and everything is let go of again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.stand_in import put_in_place_of
from wallet.chain.electrum.session import ServerAddress
from wallet.node import node as node_module
from wallet.node.api import CommandError, Json, WalletInfo
from wallet.node.daemon import Daemon
from wallet.node.host import Host, open_node
from wallet.node.node import Node
from wallet.node.options import NodeOptions
from wallet.node.rpc_client import RPC_FILE
from wallet.node.wallets import check_password, check_words, create_wallet_file, lock_wallet, new_words

WORDS = [
    "legal",
    "winner",
    "thank",
    "year",
    "wave",
    "sausage",
    "worth",
    "useful",
    "legal",
    "winner",
    "thank",
    "yellow",
]
WAIT_SECONDS = 60


@pytest.fixture
def options(tmp_path: Path) -> NodeOptions:
    """A wallet whose only server is nobody: it starts, and waits for a chain."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    return NodeOptions(
        network_name="regtest",
        root=tmp_path / "data",
        servers=(ServerAddress("127.0.0.1", port, False),),
        single_server_ok=True,
        listen=("127.0.0.1", 0),
    )


def refusal(options: NodeOptions, password: str = "") -> CommandError:
    """Why a wallet does not open; another attempt must meet the same reason, not what this one left behind."""

    async def attempt() -> CommandError:
        with pytest.raises(CommandError) as caught:
            await open_node(options, password)
        return caught.value

    first, second = (asyncio.run(attempt()) for _ in range(2))
    assert first.message == second.message
    assert "Traceback" not in first.message
    assert first.message.endswith((".", "?"))
    return first


def test_it_opens_closes_and_opens_again(options: NodeOptions) -> None:
    create_wallet_file(options, WORDS, "secret")

    async def run() -> bytes:
        opened = await open_node(options, "secret")
        assert opened.node.words() == tuple(WORDS)
        node_id = opened.node.keys_manager.get_node_id()
        with pytest.raises(CommandError, match="already open") as caught:
            await open_node(options, "secret")
        assert caught.value.code == "locked"
        await opened.close()
        return bytes(node_id)

    assert asyncio.run(run()) == asyncio.run(run())


def test_no_wallet(options: NodeOptions) -> None:
    assert refusal(options).code == "unknown"
    options.wallet_dir.mkdir(parents=True)
    assert "no wallet file" in refusal(options).message


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a\\b", "\x00", "x" * 200])
def test_names_that_are_paths(options: NodeOptions, name: str) -> None:
    assert refusal(replace(options, wallet_name=name)).code == "usage"
    with pytest.raises(CommandError):
        create_wallet_file(replace(options, wallet_name=name), WORDS, "")


def test_a_wrong_password(options: NodeOptions) -> None:
    create_wallet_file(options, WORDS, "secret")
    assert refusal(options, "Secret").code == "password"
    assert refusal(options).code == "password"


def test_a_wallet_of_another_network(options: NodeOptions) -> None:
    signet = replace(options, network_name="signet")
    create_wallet_file(signet, WORDS, "")
    options.wallet_dir.mkdir(parents=True)
    signet.wallet_file.rename(options.wallet_file)
    found = refusal(options)
    assert (found.code, found.message) == ("network", "This wallet belongs to signet, not to regtest.")


def without_words(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM rows")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.truncate(path, 5000),
        lambda path: path.write_bytes(b"no database" * 500),
        lambda path: path.write_bytes(b""),
        without_words,
    ],
)
def test_a_damaged_file(options: NodeOptions, change: Callable[[Path], object]) -> None:
    create_wallet_file(options, WORDS, "")
    change(options.wallet_file)
    assert refusal(options).code == "file"


def test_a_file_that_may_only_be_read_is_not_said_to_be_damaged(
    options: NodeOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a copy from a disc, or by another user: to restore would be the wrong advice."""
    create_wallet_file(options, WORDS, "")
    asked: list[Path] = []

    def access(path: Path, mode: int) -> bool:
        # Whoever runs the tests may be allowed everything.
        asked.append(path)
        return not mode & os.W_OK

    monkeypatch.setattr(os, "access", access)
    found = refusal(options)
    assert found.code == "file"
    assert "cannot be opened (Permission denied). May you read and write it?" in found.message
    assert options.wallet_file in asked


def test_a_folder_that_cannot_be_looked_into_is_a_sentence(options: NodeOptions) -> None:
    unusable = replace(options, root=options.root / ("x" * 300))
    with pytest.raises(CommandError, match="cannot be used") as caught:
        create_wallet_file(unusable, WORDS, "")
    assert caught.value.code == "folder"
    with pytest.raises(CommandError, match="cannot be used") as caught:
        check_password(unusable, "")
    assert caught.value.code == "folder"


def test_a_port_in_use(options: NodeOptions) -> None:
    create_wallet_file(options, WORDS, "")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        taken = replace(options, listen=("127.0.0.1", sock.getsockname()[1]))
        found = refusal(taken)
        assert found.code == "port"
        assert f"127.0.0.1:{sock.getsockname()[1]}" in found.message

    async def run() -> None:
        await (await open_node(options, "")).close()

    asyncio.run(run())


def test_a_fault_of_ours_lets_go_of_the_wallet(options: NodeOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    create_wallet_file(options, WORDS, "")

    def broken(*args: object, **kwargs: object) -> None:
        raise KeyError("a fault")

    async def run() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(node_module, "Node", broken)
            with pytest.raises(KeyError):
                await open_node(options, "")
        await (await open_node(options, "")).close()

    asyncio.run(run())


# --- words -------------------------------------------------------------------------------------


def test_new_words_are_good_words(options: NodeOptions) -> None:
    for count in (12, 24):
        words = new_words(count)
        assert len(words) == count
        assert check_words(words).usable
    with pytest.raises(CommandError):
        new_words(13)
    with pytest.raises(CommandError) as caught:
        create_wallet_file(options, ["zoo"] * 12, "")
    assert caught.value.code == "words"
    assert not options.wallet_dir.exists()


def test_words_as_people_type_them(options: NodeOptions) -> None:
    create_wallet_file(options, ["", *(f" {word.upper()} " for word in WORDS)], "")

    async def run() -> tuple[str, ...]:
        opened = await open_node(options, "")
        words = opened.node.words()
        await opened.close()
        return words

    assert asyncio.run(run()) == tuple(WORDS)


# --- the front end's host ------------------------------------------------------------------------


def test_a_host_lists_creates_opens_and_closes(options: NodeOptions) -> None:
    host = Host(options)
    assert host.wallets("regtest") == []
    host.close().result(WAIT_SECONDS)
    info = host.create(network="regtest", name="alice", words=WORDS, password="secret", restored=True).result(
        WAIT_SECONDS
    )
    assert host.wallets("regtest") == [info]
    assert info.encrypted
    with pytest.raises(CommandError):
        host.create(network="regtest", name="alice", words=WORDS, password="", restored=True).result(
            WAIT_SECONDS
        )
    with pytest.raises(CommandError, match="does not open"):
        host.open(info, "wrong").result(WAIT_SECONDS)
    api = host.open(info, "secret").result(WAIT_SECONDS)
    assert api.call("getseed", password="secret").result(WAIT_SECONDS) == " ".join(WORDS)
    with pytest.raises(CommandError, match="not the wallet's password"):
        api.call("getseed", password="x").result(WAIT_SECONDS)
    # It stays open when another is asked for in vain.
    with pytest.raises(CommandError, match="no wallet 'bob'"):
        host.open(WalletInfo(name="bob", network="regtest", path=info.path, encrypted=False), "").result(
            WAIT_SECONDS
        )
    assert api.call("nodeid").result(WAIT_SECONDS)
    # Another process, or this list, may look while it is open.
    assert [wallet.name for wallet in host.wallets("regtest")] == ["alice"]
    host.close().result(WAIT_SECONDS)
    host.open(info, "secret").result(WAIT_SECONDS)
    host.close().result(WAIT_SECONDS)


def test_a_locked_wallet_runs_on_and_a_failed_one_is_built_anew(options: NodeOptions) -> None:
    host = Host(options)
    info = host.create(network="regtest", name="alice", words=WORDS, password="secret", restored=True).result(
        WAIT_SECONDS
    )
    running = host.open(info, "secret").result(WAIT_SECONDS)
    assert isinstance(running, Node)
    with pytest.raises(CommandError, match="does not open"):
        host.open(info, "wrong").result(WAIT_SECONDS)
    assert host.open(info, "secret").result(WAIT_SECONDS) is running
    assert running.call("nodeid").result(WAIT_SECONDS)
    running.failure = "The wallet file cannot be written."
    anew = host.open(info, "secret").result(WAIT_SECONDS)
    assert anew is not running
    assert anew.call("nodeid").result(WAIT_SECONDS)
    host.close().result(WAIT_SECONDS)


def test_a_wallet_that_is_open_still_asks_for_its_password(options: NodeOptions) -> None:
    """Behind its lock it is one of the list: chosen there, it opens as any other."""
    host = Host(options)
    info = host.create(network="regtest", name="alice", words=WORDS, password="secret", restored=True).result(
        WAIT_SECONDS
    )
    host.open(info, "secret").result(WAIT_SECONDS)
    assert host.wallets("regtest") == [info]
    assert host.is_running(host.wallets("regtest")[0])
    host.close().result(WAIT_SECONDS)
    assert not host.is_running(info)


def test_wallets_that_are_asked_for_at_once_are_opened_one_after_the_other(options: NodeOptions) -> None:
    """Whoever chooses another wallet while one is being opened leaves none behind that nobody can close."""
    host = Host(options)
    infos = [
        host.create(network="regtest", name=name, words=new_words(), password="", restored=False).result(
            WAIT_SECONDS
        )
        for name in ("alice", "bob")
    ]
    opening = [host.open(info, "") for info in infos]
    nodes = [future.result(WAIT_SECONDS) for future in opening]
    assert [node.snapshot().status.wallet_name for node in nodes] == ["alice", "bob"]
    # The first was closed for the second: its lock is free.
    lock_wallet(replace(options, wallet_name="alice")).release()
    with pytest.raises(CommandError):
        lock_wallet(replace(options, wallet_name="bob"))
    host.close().result(WAIT_SECONDS)
    lock_wallet(replace(options, wallet_name="bob")).release()


def test_a_host_that_is_closed_while_a_wallet_opens_leaves_none_open(options: NodeOptions) -> None:
    host = Host(options)
    info = host.create(network="regtest", name="alice", words=WORDS, password="", restored=True).result(
        WAIT_SECONDS
    )
    opening = host.open(info, "")
    host.close().result(WAIT_SECONDS)
    opening.result(WAIT_SECONDS)
    lock_wallet(replace(options, wallet_name="alice")).release()


def test_a_strange_file_among_the_wallets(options: NodeOptions) -> None:
    create_wallet_file(options, WORDS, "")
    other = options.wallet_dir.parent / "strange"
    other.mkdir()
    (other / "wallet.leyden").write_text("not a wallet")
    (options.wallet_dir.parent / "loose file").write_text("")
    assert [wallet.name for wallet in Host(options).wallets("regtest")] == ["default_wallet", "strange"]


# --- the daemon ------------------------------------------------------------------------------------


async def serving(daemon: Daemon) -> asyncio.Task[None]:
    """Starts a daemon; returns once it takes commands."""
    ready = asyncio.Event()
    start = daemon._rpc.start

    async def start_and_tell(port: int = 0) -> int:
        bound = await start(port)
        ready.set()
        return bound

    put_in_place_of(daemon._rpc, "start", start_and_tell)
    task = asyncio.create_task(daemon.serve())
    async with asyncio.timeout(WAIT_SECONDS):
        await ready.wait()
    return task


@contextlib.asynccontextmanager
async def running(options: NodeOptions) -> AsyncIterator[Daemon]:
    daemon = Daemon(options)
    task = await serving(daemon)
    try:
        yield daemon
    finally:
        if not daemon._stopping:
            await daemon.handle("stop", {})
        await task


def in_daemon(options: NodeOptions, test: Callable[[Daemon], Awaitable[None]]) -> None:
    async def run() -> None:
        async with running(options) as daemon:
            await test(daemon)

    asyncio.run(run())
    assert not (options.network_dir / RPC_FILE).exists()


async def refused(daemon: Daemon, method: str, params: dict[str, Json] | list[Json]) -> str:
    with pytest.raises(CommandError) as caught:
        await daemon.handle(method, params)
    return caught.value.message


def test_a_daemon_and_its_wallets(options: NodeOptions) -> None:
    create_wallet_file(replace(options, wallet_name="alice"), WORDS, "")
    create_wallet_file(replace(options, wallet_name="bob"), new_words(), "secret")

    async def test(daemon: Daemon) -> None:
        assert await daemon.handle("ping", {}) == "pong"
        assert await daemon.handle("list_wallets", {}) == []
        assert "No wallet is loaded" in await refused(daemon, "getbalance", {})
        assert "no command 'nonsense'" in await refused(daemon, "nonsense", {})
        assert "no wallet 'default_wallet'" in await refused(daemon, "load_wallet", {})
        assert await daemon.handle("load_wallet", ["alice", ""]) is True
        alice = await daemon.handle("nodeid", {})
        # Mistakes on the way to another leave this one open.
        assert "does not open" in await refused(daemon, "load_wallet", {"wallet": "bob", "password": "x"})
        assert "no wallet 'carol'" in await refused(daemon, "load_wallet", {"wallet": "carol"})
        assert "name" in await refused(daemon, "load_wallet", {"wallet": "../alice"})
        assert "takes no argument" in await refused(daemon, "load_wallet", {"nonsense": 1})
        assert await daemon.handle("nodeid", {}) == alice
        assert await daemon.handle("close_wallet", ["bob"]) is False
        assert await daemon.handle("load_wallet", {"wallet": "bob", "password": "secret"}) is True
        assert await daemon.handle("nodeid", {}) != alice
        words = {"command": "getseed", "words": ["--password", "secret"]}
        assert len(str(await daemon.handle("command_line", words)).split()) == 12
        assert "is used so" in await refused(
            daemon, "command_line", {"command": "getseed", "words": ["a", "b"]}
        )
        assert "command line" in await refused(daemon, "command_line", {"command": 5})
        assert await daemon.handle("getunusedaddress", [])
        assert "no more than 0" in await refused(daemon, "getunusedaddress", ["x"])
        assert await daemon.handle("close_wallet", ["bob"]) is True
        assert await daemon.handle("list_wallets", {}) == []

    in_daemon(options, test)


def test_one_daemon_a_folder(options: NodeOptions) -> None:
    async def test(daemon: Daemon) -> None:
        with pytest.raises(CommandError, match="running here already"):
            await Daemon(options).serve()
        assert (options.network_dir / RPC_FILE).exists()

    in_daemon(options, test)


def test_after_stop_another_may_start_at_once(options: NodeOptions) -> None:
    create_wallet_file(options, WORDS, "")

    async def test(daemon: Daemon) -> None:
        await daemon.handle("load_wallet", {})
        assert await daemon.handle("stop", {}) == "Daemon stopped"
        assert "is stopping" in await refused(daemon, "getinfo", {})
        await (await open_node(options, "")).close()

    in_daemon(options, test)


def test_a_file_that_cannot_be_written_ends_the_daemon(
    options: NodeOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk: nothing later leaves, the daemon says so and ends; the next start goes on from the file."""
    create_wallet_file(options, WORDS, "")
    leaked: list[threading.Thread] = []

    async def run() -> None:
        daemon = Daemon(options)
        task = await serving(daemon)
        async with asyncio.timeout(WAIT_SECONDS):
            await daemon.handle("load_wallet", {})
            opened = daemon._open
            assert opened is not None
            store = opened.node.store

            def full(batches: object) -> None:
                raise sqlite3.OperationalError("database or disk is full")

            put_in_place_of(store, "_commit", full)
            waits = asyncio.create_task(daemon.handle("add_request", {"amount": "0.1"}))
            await task
            waits.cancel()
            await asyncio.gather(waits, return_exceptions=True)
        leaked.extend(
            thread for thread in threading.enumerate() if thread.name in ("leyden-writer", "leyden-timer")
        )

    asyncio.run(run())
    assert "cannot be written (database or disk is full)" in capsys.readouterr().err
    assert leaked == []

    async def again() -> None:
        opened = await open_node(options, "")
        assert len(opened.node.ledger.requests) == 0
        await opened.close()

    asyncio.run(again())
