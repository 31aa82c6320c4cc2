"""A web server with a certificate of its own, and a SOCKS5 proxy, for what the wallet asks of the web."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import ssl
import urllib.parse
from collections.abc import Callable
from pathlib import Path

from cryptography import x509

from tests.unit.certificate import self_signed

__all__ = ["LOCALHOST", "SocksProxy", "WebServer", "answer", "client_context"]

LOCALHOST = "127.0.0.1"
Answer = Callable[[str, dict[str, str]], bytes]


def answer(body: object, status: str = "200 OK", **headers: str) -> bytes:
    """A whole HTTP answer; `body` is bytes, or becomes JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(raw)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + raw


def _certificate(folder: Path) -> tuple[Path, Path]:
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address(LOCALHOST))])
    made = self_signed(
        LOCALHOST,
        valid_days=2,
        extensions=((x509.BasicConstraints(ca=True, path_length=None), True), (addresses, False)),
    )
    certificate_file, key_file = folder / "web.pem", folder / "web.key"
    certificate_file.write_bytes(made.pem)
    key_file.write_bytes(made.key_pem)
    return certificate_file, key_file


def client_context(folder: Path) -> ssl.SSLContext:
    """Trusts the server of this folder, and nobody else."""
    return ssl.create_default_context(cafile=str(folder / "web.pem"))


class WebServer:
    """Answers each request with what `respond` makes of its path and query.

    Attributes:
        asked: the request lines' targets; `requests` the whole requests.
        silent: takes requests and says nothing.
    """

    def __init__(self, folder: Path, respond: Answer) -> None:
        self.respond = respond
        self.asked: list[str] = []
        self.requests: list[bytes] = []
        self.silent = False
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate_file, key_file = _certificate(folder)
        self._context.load_cert_chain(certificate_file, key_file)
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, LOCALHOST, 0, ssl=self._context)
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request)
            target = request.split(b" ")[1].decode()
            self.asked.append(target)
            path, _mark, query = target.partition("?")
            if not self.silent:
                writer.write(self.respond(path, dict(urllib.parse.parse_qsl(query))))
                await writer.drain()
                await reader.read()
            else:
                await reader.read()
        except (OSError, EOFError):
            return
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def stop(self) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()


class SocksProxy:
    """As much of SOCKS5 as a client needs. Attributes: `wanted`: hosts and ports that were asked for."""

    def __init__(self, port: int) -> None:
        self.wanted: list[tuple[str, int]] = []
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, LOCALHOST, 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        methods = await reader.readexactly((await reader.readexactly(2))[1])
        if 2 in methods:
            writer.write(b"\x05\x02")
            for _part in range(2):
                await reader.readexactly((await reader.readexactly(1 + (_part == 0)))[-1])
            writer.write(b"\x01\x00")
        else:
            writer.write(b"\x05\x00")
        head = await reader.readexactly(4)
        if head[3] == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.IPv4Address(await reader.readexactly(4)))
        self.wanted.append((host, int.from_bytes(await reader.readexactly(2), "big")))
        onward_reader, onward_writer = await asyncio.open_connection(LOCALHOST, self._port)
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await asyncio.gather(self._pass(reader, onward_writer), self._pass(onward_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()

    async def stop(self) -> None:
        self._server.close()
