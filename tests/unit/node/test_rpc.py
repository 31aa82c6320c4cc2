"""JSON-RPC on 127.0.0.1: credentials, what is refused, and that nobody can hold it up."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from wallet.node import rpc
from wallet.node.api import CommandError, Json
from wallet.node.rpc import Params, RpcServer, call_daemon, daemon_answers
from wallet.node.rpc_client import RPC_FILE

WAIT_SECONDS = 30


class World:
    """A server whose commands are a few for tests, and clients of all manners."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = RpcServer(folder, self.handle)
        self.port = 0
        self.held = asyncio.Event()
        self.entered = asyncio.Event()

    async def handle(self, method: str, params: Params) -> Json:
        match method:
            case "ping":
                return "pong"
            case "echo":
                return dict(params) if isinstance(params, dict) else list(params)
            case "refuse":
                raise CommandError("There is not enough of it.", code="funds")
            case "break":
                raise KeyError("an inner thing")
            case "unspeakable":
                return b"bytes"
            case "hold":
                self.entered.set()
                await self.held.wait()
                return True
        raise CommandError("no such command", code="usage")

    @property
    def credentials(self) -> str:
        found = json.loads((self.folder / RPC_FILE).read_text())
        return base64.b64encode(f"{found['user']}:{found['password']}".encode()).decode()

    def head(self, length: object, *, authorization: str | None = None, extra: str = "") -> bytes:
        token = self.credentials if authorization is None else authorization
        return (
            f"POST / HTTP/1.1\r\nAuthorization: Basic {token}\r\nContent-Length: {length}\r\n{extra}\r\n"
        ).encode()

    async def send(self, data: bytes) -> bytes:
        """What comes back for some bytes, until the server hangs up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            await writer.drain()
            async with asyncio.timeout(WAIT_SECONDS):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def post(self, body: bytes) -> Any:
        answer = await self.send(self.head(len(body), extra="Connection: close\r\n") + body)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        return json.loads(answer.partition(b"\r\n\r\n")[2])

    async def call(self, method: str, params: Any) -> Json:
        return await asyncio.to_thread(call_daemon, self.folder, method, params, timeout_seconds=WAIT_SECONDS)


def serve(folder: Path, test: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        world = World(folder)
        world.port = await world.server.start()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await test(world)
        finally:
            await world.server.close()

    asyncio.run(run())


def test_a_command_and_its_answer(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        assert await world.call("echo", {"a": 1, "b": "ä☂"}) == {"a": 1, "b": "ä☂"}
        assert await world.call("echo", ["x", None, True]) == ["x", None, True]
        assert await world.call("echo", {}) == {}
        assert await asyncio.to_thread(daemon_answers, world.folder)
        with pytest.raises(CommandError, match="There is not enough of it") as caught:
            await world.call("refuse", {})
        assert caught.value.code == "funds"

    serve(tmp_path, test)


def test_credentials_are_the_owners_alone_and_go_with_the_server(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "regtest"
    old = os.umask(0)
    try:

        async def test(world: World) -> None:
            mode = (folder / RPC_FILE).stat().st_mode & 0o777
            assert mode == 0o600
            assert folder.stat().st_mode & 0o777 == 0o700
            assert sorted(child.name for child in folder.iterdir()) == [RPC_FILE]

        serve(folder, test)
    finally:
        os.umask(old)
    assert list(folder.iterdir()) == []
    assert not daemon_answers(folder)


def test_an_older_daemon_leaves_the_newer_ones_credentials(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        newer = RpcServer(tmp_path, world.handle)
        await newer.start()
        world.server.withdraw()
        assert await world.call("ping", {}) == "pong"
        await newer.close()
        assert not (tmp_path / RPC_FILE).exists()

    serve(tmp_path, test)


@pytest.mark.parametrize("authorization", ["", "x", base64.b64encode(b"leyden:").decode(), "ÿ" * 10])
def test_wrong_credentials(tmp_path: Path, authorization: str) -> None:
    async def test(world: World) -> None:
        # The body is not waited for: who may not ask cannot make the server hold megabytes.
        answer = await world.send(world.head(4_000_000, authorization=authorization))
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"pong" not in answer

    serve(tmp_path, test)


def test_the_clients_word_on_wrong_credentials(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        found = json.loads((tmp_path / RPC_FILE).read_text())
        (tmp_path / RPC_FILE).write_text(json.dumps({**found, "password": "other"}))
        with pytest.raises(CommandError, match="refused the credentials"):
            await world.call("ping", {})

    serve(tmp_path, test)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n{auth}\r\n", b"405"),
        (b"POST / HTTP/1.1\r\n{auth}\r\n", b"411"),
        (b"POST / HTTP/1.1\r\n{auth}Content-Length: -5\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\n{auth}Content-Length: 1_0\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\n{auth}Content-Length: many\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\n{auth}Content-Length: 4194305\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\n{auth}Content-Length: " + b"9" * 5000 + b"\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", b"431"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"401"),
        (b"\r\n\r\n", b"401"),
    ],
)
def test_what_is_no_request_is_refused(tmp_path: Path, request_bytes: bytes, status: bytes) -> None:
    async def test(world: World) -> None:
        auth = f"Authorization: Basic {world.credentials}\r\n".encode()
        answer = await world.send(request_bytes.replace(b"{auth}", auth))
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert await world.call("ping", {}) == "pong"

    serve(tmp_path, test)


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe{}", -32700),
        (b"[" * 100_000, -32700),
        (b'{"a":' * 100_000, -32700),
        (b'{"id": ' + b"9" * 5000 + b"}", -32700),
        (b"[]", -32600),
        (b'"ping"', -32600),
        (b"{}", -32600),
        (b'{"method": 5}', -32600),
        (b'{"method": "echo", "params": "x"}', -32600),
        (b'{"method": "echo", "id": {}}', -32600),
        (b'{"method": "echo", "id": 1.5}', -32600),
    ],
)
def test_what_is_no_json_rpc_is_told_so(tmp_path: Path, body: bytes, number: int) -> None:
    async def test(world: World) -> None:
        answer = await world.post(body)
        assert answer["error"]["code"] == number
        assert answer["error"]["message"].endswith(".")
        assert answer["result"] is None

    serve(tmp_path, test)


@pytest.mark.parametrize("method", ["break", "unspeakable"])
def test_a_fault_of_ours_is_a_sentence_and_is_logged(
    tmp_path: Path, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(world: World) -> None:
        with pytest.raises(CommandError, match=f"{method} failed within Leyden") as caught:
            await world.call(method, {})
        assert caught.value.code == "internal"
        assert "inner thing" not in caught.value.message

    serve(tmp_path, test)
    assert f"the command {method} failed" in caplog.text


def test_many_requests_over_one_connection(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        for number in range(3):
            body = json.dumps({"method": "echo", "params": [number], "id": number}).encode()
            writer.write(world.head(len(body)) + body)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"Connection: keep-alive" in head
            length = int(head.partition(b"Content-Length: ")[2].split()[0])
            answer = json.loads(await reader.readexactly(length))
            assert (answer["id"], answer["result"]) == (number, [number])
        writer.close()

    serve(tmp_path, test)


def test_a_slow_client_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "READ_TIMEOUT_SECONDS", 0.05)

    async def test(world: World) -> None:
        for start in (b"", b"POST / HT", world.head(100), world.head(100) + b"{"):
            assert await world.send(start) == b""

    serve(tmp_path, test)


def test_a_slow_command_is_not_a_slow_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "READ_TIMEOUT_SECONDS", 0.05)

    async def test(world: World) -> None:
        asyncio.get_running_loop().call_later(0.2, world.held.set)
        assert await world.call("hold", {}) is True

    serve(tmp_path, test)


def test_a_client_that_never_reads_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "WRITE_TIMEOUT_SECONDS", 0.05)

    async def test(world: World) -> None:
        body = json.dumps({"method": "echo", "params": ["x" * 4_000_000]}).encode()
        sock = socket.create_connection(("127.0.0.1", world.port))
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        for _ in range(10):
            try:
                await loop.sock_sendall(sock, world.head(len(body)) + body)
            except ConnectionError:
                break
            if not world.server._tasks:
                break
        else:
            pytest.fail("it took forty megabytes from somebody who reads nothing")
        sock.close()

    serve(tmp_path, test)


def test_too_many_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "MAX_CONNECTIONS", 3)

    async def test(world: World) -> None:
        held = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(3)]
        # Their tasks are made when the loop gets to it, before this one's.
        assert await world.send(world.head(2) + b"{}") == b""
        for _reader, writer in held:
            writer.close()
            await writer.wait_closed()
        for _ in range(100):
            if not world.server._tasks:
                break
            await asyncio.sleep(0.01)
        assert await world.call("ping", {}) == "pong"

    serve(tmp_path, test)


def test_commands_under_way_are_told_when_it_stops(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        call = asyncio.create_task(world.call("hold", {}))
        await world.entered.wait()
        await world.server.close()
        with pytest.raises(CommandError, match="is stopping") as caught:
            await call
        assert caught.value.code == "stopping"

    serve(tmp_path, test)


def test_a_port_in_use_and_one_that_is_none(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        for port in (world.port, 70_000, -1):
            with pytest.raises(CommandError, match=f"port {port} for commands cannot be used") as caught:
                await RpcServer(tmp_path / "other", world.handle).start(port)
            assert caught.value.code == "port"

    serve(tmp_path, test)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def test(world: World) -> None:
        with pytest.raises(CommandError, match="cannot be used") as caught:
            await RpcServer(tmp_path / "file" / "regtest", world.handle).start()
        assert caught.value.code == "folder"

    serve(tmp_path, test)


# --- the client against whatever listens there ------------------------------------------------


def answers(tmp_path: Path, raw: bytes) -> str:
    """What `call_daemon` says of a server that answers so."""

    async def run() -> str:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        (tmp_path / RPC_FILE).write_text(json.dumps({"port": port, "user": "u", "password": "p"}))
        with pytest.raises(CommandError) as caught:
            await asyncio.to_thread(call_daemon, tmp_path, "ping", {}, timeout_seconds=WAIT_SECONDS)
        server.close()
        return caught.value.message

    return asyncio.run(run())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nnot json",
        b"HTTP/1.1 200 OK\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000,
        b"HTTP/1.1 200 OK\r\n\r\n\xff",
    ],
)
def test_a_strange_answer_is_a_sentence(tmp_path: Path, raw: bytes) -> None:
    assert answers(tmp_path, raw).startswith(("The daemon's answer cannot", "The daemon hung up"))


@pytest.mark.parametrize("error", ["text", {"message": 5}, {"message": "m", "data": []}, ["x"]])
def test_a_strange_error_is_an_error(tmp_path: Path, error: Any) -> None:
    assert answers(tmp_path, b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps({"error": error}).encode())


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"port": 99999, "user": 1, "password": 2}', '{"port": "x"}', "\x00\xff"]
)
def test_credentials_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / RPC_FILE).write_text(text)
    with pytest.raises(CommandError, match="No daemon is running") as caught:
        call_daemon(tmp_path, "ping", {})
    assert caught.value.code == "no_daemon"


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    (tmp_path / RPC_FILE).write_text(json.dumps({"port": port, "user": "u", "password": "p"}))
    with pytest.raises(CommandError, match="does not answer"):
        call_daemon(tmp_path, "ping", {})


def test_a_daemon_that_hangs(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        (tmp_path / RPC_FILE).write_text(json.dumps({"port": port, "user": "u", "password": "p"}))
        with pytest.raises(CommandError, match="in time"):
            call_daemon(tmp_path, "ping", {}, timeout_seconds=0.1)
