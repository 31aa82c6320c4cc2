"""The command line's end of JSON-RPC: one request to the daemon of a network folder, one answer.

Kept light, because every command pays for what is imported here: a socket and a dozen lines of HTTP rather than
`http.client`, which brings TLS and a mail parser along.
"""

from __future__ import annotations

import base64
import json
import socket
from typing import TYPE_CHECKING

from wallet.i18n import _
from wallet.node.api import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wallet.node.api import Json

__all__ = ["HOST", "RPC_FILE", "call_daemon", "daemon_answers"]

HOST = "127.0.0.1"
RPC_FILE = "daemon_rpc"
CONNECT_TIMEOUT_SECONDS = 10.0
PING_TIMEOUT_SECONDS = 5.0
PIECE_BYTES = 64 * 1024


def _no_daemon(message: str) -> CommandError:
    return CommandError(message, code="no_daemon")


def _credentials(folder: Path) -> tuple[int, str]:
    """Port, and what goes into the authorization header."""
    try:
        found = json.loads((folder / RPC_FILE).read_text())
        port, user, password = found["port"], found["user"], found["password"]
        if not (isinstance(port, int) and 0 < port < 65536):
            raise ValueError("not a port")
        return port, base64.b64encode(f"{user}:{password}".encode()).decode()
    except PermissionError:
        raise _no_daemon(
            _(
                "The daemon here belongs to somebody else: its credentials in {file} are not yours to read."
            ).format(file=folder / RPC_FILE)
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise _no_daemon(_("No daemon is running here. `leyden daemon -d` starts one.")) from None


def call_daemon(
    folder: Path,
    method: str,
    params: Mapping[str, Json] | Sequence[Json],
    *,
    timeout_seconds: float | None = None,
) -> Json:
    """Runs a command in the daemon of a network folder; raises `CommandError`."""
    port, authorization = _credentials(folder)
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    # Text is sent as ASCII; what a terminal typed that is no text arrives as a lone surrogate and is refused there.
    body = json.dumps(request).encode()
    head = (
        f"POST / HTTP/1.1\r\nHost: {HOST}:{port}\r\nAuthorization: Basic {authorization}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    try:
        with socket.create_connection(
            (HOST, port), timeout=timeout_seconds or CONNECT_TIMEOUT_SECONDS
        ) as sock:
            sock.settimeout(timeout_seconds)
            sock.sendall(head.encode() + body)
            raw = _read_all(sock)
    except TimeoutError:
        raise _no_daemon(_("The daemon does not answer in time.")) from None
    except OSError:
        raise _no_daemon(
            _("The daemon does not answer. It may have stopped: `leyden daemon -d` starts it.")
        ) from None
    return _result(raw)


def _read_all(sock: socket.socket) -> bytes:
    pieces = []
    while piece := sock.recv(PIECE_BYTES):
        pieces.append(piece)
    return b"".join(pieces)


def _result(raw: bytes) -> Json:
    """What an HTTP answer with JSON-RPC in it says; raises `CommandError`."""
    head, blank, body = raw.partition(b"\r\n\r\n")
    if not raw:
        raise _no_daemon(_("The daemon hung up without an answer: it may have stopped."))
    words = head.split(None, 2)
    if len(words) > 1 and words[1] == b"401":
        raise _no_daemon(_("The daemon refused the credentials in {file}.").format(file=RPC_FILE))
    try:
        answer = json.loads(body) if blank else None
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
        raise _no_daemon(_("The daemon's answer cannot be read."))
    error = answer.get("error")
    if error:
        data = error.get("data") if isinstance(error, dict) else None
        code = data.get("code", "failed") if isinstance(data, dict) else "failed"
        raise CommandError(str(error.get("message") if isinstance(error, dict) else error), code=str(code))
    result: Json = answer.get("result")
    return result


def daemon_answers(folder: Path) -> bool:
    """Whether a daemon of this network folder is running."""
    try:
        call_daemon(folder, "ping", {}, timeout_seconds=PING_TIMEOUT_SECONDS)
    except CommandError:
        return False
    return True
