"""JSON-RPC over HTTP on 127.0.0.1: how the command line, and programs of the same person, talk to a daemon.

The credentials are random, made at each start, and lie with the port in a file that only its owner can read. A
request is one HTTP POST with one JSON-RPC 2.0 object; connections are kept open for more. This is not a web server:
what is not a small, well-formed POST is refused and hung up on, and nobody without the credentials gets to send more
than a header.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wallet.i18n import _
from wallet.node.api import CommandError, Json
from wallet.node.rpc_client import HOST, RPC_FILE, call_daemon, daemon_answers
from wallet.node.wallets import folder_refused, make_folder

__all__ = ["Params", "RpcServer", "call_daemon", "daemon_answers"]

MAX_HEADER_BYTES = 16 * 1024
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_CONNECTIONS = 64
READ_TIMEOUT_SECONDS = 60.0
WRITE_TIMEOUT_SECONDS = 60.0
USER = "leyden"

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
COMMAND_FAILED = 1

Params = Mapping[str, Json] | Sequence[Json]
Handler = Callable[[str, Params], Awaitable[Json]]


@dataclass(frozen=True, slots=True)
class _Request:
    body: bytes
    keep_alive: bool


class _Refused(Exception):
    """Not a request that we answer; the text is the HTTP status. The connection is closed after it."""


class RpcServer:
    """Serves `handler(method, params)` until it is closed. Params come by name, or by place as a list."""

    def __init__(self, folder: Path, handler: Handler) -> None:
        self._file = folder / RPC_FILE
        self._handler = handler
        self._password = secrets.token_urlsafe(24)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> int:
        """Listens and writes the credentials; returns the port. Raises `CommandError`."""
        try:
            self._server = await asyncio.start_server(self._accept, HOST, port, limit=MAX_HEADER_BYTES)
        except (OSError, OverflowError) as error:
            raise CommandError(
                _(
                    "The port {port} for commands cannot be used ({why}). Choose another with --rpcport."
                ).format(port=port, why=getattr(error, "strerror", None) or error),
                code="port",
            ) from None
        bound = int(self._server.sockets[0].getsockname()[1])
        try:
            self._write_credentials(bound)
        except OSError as error:
            await self.close()
            raise folder_refused(self._file.parent, error) from None
        return bound

    def _write_credentials(self, port: int) -> None:
        make_folder(self._file.parent)
        unfinished = self._file.with_name(f"{RPC_FILE}.{os.getpid()}.new")
        unfinished.unlink(missing_ok=True)
        # A file of our own making, so that nobody holds it open already or made it readable.
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"port": port, "user": USER, "password": self._password, "pid": os.getpid()}, file)
        os.replace(unfinished, self._file)

    def withdraw(self) -> None:
        """Takes the credentials away, if they are still ours: nobody else finds the way in."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            if json.loads(self._file.read_text())["password"] == self._password:
                self._file.unlink()

    async def close(self) -> None:
        """Stops listening; commands that are under way are told so."""
        self.withdraw()
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
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
                try:
                    body = await self._answer(request.body)
                except asyncio.CancelledError:
                    gone = _("Leyden is stopping. Ask again when it is back how this ended.")
                    self._write(writer, "200 OK", _failed(None, gone, code="stopping"), keep_alive=False)
                    raise
                self._write(writer, "200 OK", body, keep_alive=request.keep_alive)
                async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
                    await writer.drain()
                if not request.keep_alive:
                    return
        except _Refused as refused:
            status = str(refused)
            self._write(writer, status, json.dumps({"error": status}).encode(), keep_alive=False)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Not closed but cut: a client that reads nothing would keep what was written for it for ever.
            writer.transport.abort()
        finally:
            writer.close()

    @staticmethod
    def _write(writer: asyncio.StreamWriter, status: str, body: bytes, *, keep_alive: bool) -> None:
        connection = "keep-alive" if keep_alive else "close"
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Connection: {connection}\r\n\r\n".encode()
            + body
        )

    async def _read(self, reader: asyncio.StreamReader) -> _Request | None:
        """The next request; None at the end. Raises `_Refused`."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError:
            raise _Refused("431 Request Header Fields Too Large") from None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if colon:
                headers[name.strip().lower()] = value.strip()
        # Who may not ask is not read any further.
        expected = "Basic " + base64.b64encode(f"{USER}:{self._password}".encode()).decode()
        if not hmac.compare_digest(headers.get("authorization", "").encode(), expected.encode()):
            raise _Refused("401 Unauthorized")
        if not first.startswith("POST "):
            raise _Refused("405 Method Not Allowed")
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            raise _Refused("411 Length Required")
        if len(length) > len(str(MAX_BODY_BYTES)) or int(length) > MAX_BODY_BYTES:
            raise _Refused("413 Content Too Large")
        return _Request(
            body=await reader.readexactly(int(length)),
            keep_alive=headers.get("connection", "").lower() != "close",
        )

    async def _answer(self, body: bytes) -> bytes:
        """The reply to one JSON-RPC request, whatever it is."""
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError):
            return _failed(None, _("This is not JSON."), number=PARSE_ERROR)
        if not isinstance(parsed, dict) or not isinstance(parsed.get("method"), str):
            return _failed(None, _("This is not a JSON-RPC request."), number=INVALID_REQUEST)
        identity = parsed.get("id")
        if not isinstance(identity, str | int | None):
            return _failed(None, _("A request's id is a number or a text."), number=INVALID_REQUEST)
        params = parsed.get("params")
        if not isinstance(params, dict | list | None):
            return _failed(identity, _("Parameters are an object or a list."), number=INVALID_REQUEST)
        method = parsed["method"]
        try:
            result = await self._handler(method, params or {})
            return json.dumps({"jsonrpc": "2.0", "id": identity, "result": result}).encode()
        except CommandError as error:
            return _failed(identity, error.message, code=error.code)
        except Exception as error:
            logging.getLogger("leyden").exception("the command %s failed", method[:40])
            message = _(
                "{method} failed within Leyden ({kind}). Nothing was lost; the log says more."
            ).format(method=method[:40], kind=type(error).__name__)
            return _failed(identity, message, code="internal")


def _failed(identity: Json, message: str, *, code: str = "usage", number: int = COMMAND_FAILED) -> bytes:
    error = {"code": number, "message": message, "data": {"code": code}}
    return json.dumps({"jsonrpc": "2.0", "id": identity, "result": None, "error": error}).encode()
