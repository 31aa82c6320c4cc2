"""JSON-RPC over HTTP on 127.0.0.1: how the command line talks to a running daemon.

The credentials are random, made at each start, and lie with the port in a file that only its owner can read. A
request is one HTTP POST with one JSON-RPC 2.0 object; connections are kept open for more. This is not a web server:
what is not a small, well-formed POST is refused and hung up on.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import http.client
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wallet.i18n import _
from wallet.node.api import CommandError, Json

__all__ = ["RpcServer", "call_daemon", "daemon_answers"]

HOST = "127.0.0.1"
MAX_HEADER_BYTES = 16 * 1024
MAX_BODY_BYTES = 4 * 1024 * 1024
READ_TIMEOUT_SECONDS = 60.0
RPC_FILE = "daemon_rpc"
USER = "leyden"

Handler = Callable[[str, Mapping[str, Json]], Awaitable[Json]]


@dataclass(frozen=True, slots=True)
class _Request:
    body: bytes
    authorized: bool
    keep_alive: bool


class RpcServer:
    """Serves `handler(method, params)` until it is closed."""

    def __init__(self, folder: Path, handler: Handler) -> None:
        self._file = folder / RPC_FILE
        self._handler = handler
        self._password = secrets.token_urlsafe(24)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> int:
        """Listens and writes the credentials; returns the port. Raises `OSError` when the port is taken."""
        self._server = await asyncio.start_server(self._accept, HOST, port, limit=MAX_HEADER_BYTES)
        bound = int(self._server.sockets[0].getsockname()[1])
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"port": bound, "user": USER, "password": self._password, "pid": os.getpid()}, file)
        os.replace(temporary, self._file)
        return bound

    async def close(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._file.unlink()
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                    request = await self._read(reader)
                if request is None:
                    return
                status, body = await self._answer(request)
                connection = "keep-alive" if request.keep_alive else "close"
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                    f"Connection: {connection}\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
                if not request.keep_alive:
                    return
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> _Request | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        if not first.startswith("POST "):
            raise ValueError("not a POST")
        headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if colon:
                headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        if not 0 < length <= MAX_BODY_BYTES:
            raise ValueError("no body, or too much of one")
        expected = "Basic " + base64.b64encode(f"{USER}:{self._password}".encode()).decode()
        return _Request(
            body=await reader.readexactly(length),
            authorized=hmac.compare_digest(headers.get("authorization", "").encode(), expected.encode()),
            keep_alive=headers.get("connection", "").lower() != "close",
        )

    async def _answer(self, request: _Request) -> tuple[str, bytes]:
        if not request.authorized:
            return "401 Unauthorized", b'{"error":"wrong credentials"}'
        identity: Json = None
        try:
            parsed = json.loads(request.body)
            if not isinstance(parsed, dict) or not isinstance(parsed.get("method"), str):
                raise CommandError(_("This is not a JSON-RPC request."), code="usage")
            identity = parsed.get("id")
            params = parsed.get("params") or {}
            if not isinstance(params, dict):
                raise CommandError(_("Parameters are given by name."), code="usage")
            result = await self._handler(parsed["method"], params)
        except CommandError as error:
            return "200 OK", _reply(
                identity, error={"code": 1, "message": error.message, "data": {"code": error.code}}
            )
        except json.JSONDecodeError:
            return "200 OK", _reply(None, error={"code": -32700, "message": _("This is not JSON.")})
        return "200 OK", _reply(identity, result=result)


def _reply(identity: Json, *, result: Json = None, error: Json = None) -> bytes:
    reply = {"jsonrpc": "2.0", "id": identity, "result": result}
    if error is not None:
        reply["error"] = error
    return json.dumps(reply).encode()


# --- the other end ---------------------------------------------------------------------


def _credentials(folder: Path) -> tuple[int, str]:
    try:
        found = json.loads((folder / RPC_FILE).read_text())
        return int(found["port"]), base64.b64encode(f"{found['user']}:{found['password']}".encode()).decode()
    except (OSError, ValueError, KeyError):
        raise CommandError(
            _("No daemon is running here. `leyden daemon -d` starts one."), code="no_daemon"
        ) from None


def call_daemon(
    folder: Path, method: str, params: Mapping[str, Json], *, timeout_seconds: float | None = None
) -> Json:
    """Runs a command in the daemon of a network folder; raises `CommandError`."""
    port, authorization = _credentials(folder)
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_seconds)
    try:
        connection.request(
            "POST",
            "/",
            body=json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": dict(params)}),
            headers={"Authorization": f"Basic {authorization}", "Connection": "close"},
        )
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException):
        raise CommandError(
            _("The daemon does not answer. It may have stopped: `leyden daemon -d` starts it."),
            code="no_daemon",
        ) from None
    finally:
        connection.close()
    if response.status == 401:
        raise CommandError(
            _("The daemon refused the credentials in {file}.").format(file=RPC_FILE), code="no_daemon"
        )
    try:
        answer = json.loads(body)
    except ValueError:
        raise CommandError(_("The daemon's answer cannot be read."), code="no_daemon") from None
    if answer.get("error"):
        error = answer["error"]
        raise CommandError(
            str(error.get("message")), code=str((error.get("data") or {}).get("code", "failed"))
        )
    result: Json = answer["result"]
    return result


def daemon_answers(folder: Path) -> bool:
    """Whether a daemon of this network folder is running."""
    try:
        call_daemon(folder, "ping", {}, timeout_seconds=5)
    except CommandError:
        return False
    return True
