"""The command `import_graph` with a web address, and with what is compressed."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.ln.routing.snapshot_builder import snapshot
from tests.unit.node.test_import_graph import SEEN_AT, StandIn, import_graph
from tests.unit.node.web_server import LOCALHOST, SocksProxy, WebServer, answer, client_context
from wallet.chain.electrum.rpc import Proxy
from wallet.ln.routing import rapid_gossip
from wallet.node import cli
from wallet.node.api import CommandError
from wallet.node.commands import network, run
from wallet.node.web import WebClient

SNAPSHOT = snapshot(seen_at=SEEN_AT)
ONION = "a" * 55 + "d.onion"
Respond = Callable[[str, dict[str, str]], bytes]


class WebStandIn(StandIn):
    """Attributes: client: what `web_client` makes."""

    client = WebClient()

    def web_client(self) -> WebClient:
        return self.client


def from_the_web(
    folder: Path, respond: Respond, *, silent: bool = False
) -> tuple[WebStandIn, Any, WebServer]:
    """Imports what a server on this computer answers; the node, what the command said, and the server."""

    async def ask() -> tuple[WebStandIn, Any, WebServer]:
        server = WebServer(folder, respond)
        server.silent = silent
        port = await server.start()
        node = WebStandIn()
        node.client = WebClient(context=client_context(folder))
        standing: Any = node
        try:
            url = f"https://{LOCALHOST}:{port}/snapshot/0"
            return node, await run(standing, "import_graph", {"file": url}), server
        finally:
            await server.stop()

    return asyncio.run(ask())


def refused(folder: Path, respond: Respond, *, silent: bool = False) -> str:
    with pytest.raises(CommandError) as raised:
        from_the_web(folder, respond, silent=silent)
    return raised.value.message


@pytest.mark.parametrize("contents", [SNAPSHOT, gzip.compress(SNAPSHOT)], ids=["plain", "gzip"])
def test_a_snapshot_is_taken_from_the_web(tmp_path: Path, contents: bytes) -> None:
    node, said, server = from_the_web(tmp_path, lambda *_: answer(contents))
    assert node.graph.channel_count == said["new_channels"] == 2
    assert server.asked == ["/snapshot/0"]


@pytest.mark.parametrize(
    "contents",
    [gzip.compress(SNAPSHOT), gzip.compress(SNAPSHOT[:40]) + gzip.compress(SNAPSHOT[40:])],
    ids=["one part", "two parts"],
)
def test_a_compressed_file_is_unpacked(tmp_path: Path, contents: bytes) -> None:
    file = tmp_path / "snapshot.gz"
    file.write_bytes(contents)
    node = StandIn()
    import_graph(node, file)
    assert node.graph.channel_count == 2


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        (gzip.compress(SNAPSHOT)[:-9], "damaged or cut short"),
        (gzip.compress(SNAPSHOT)[:40] + b"\x00" * 40, "damaged or cut short"),
        (gzip.compress(bytes(2_000_000)), "too large"),
        (gzip.compress(gzip.compress(SNAPSHOT)), "not a snapshot"),
    ],
    ids=["cut", "damaged", "bomb", "twice"],
)
def test_what_cannot_be_unpacked_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: bytes, says: str
) -> None:
    for module in (network, rapid_gossip):
        monkeypatch.setattr(module, "MAX_SNAPSHOT_LENGTH", 1_000_000)
    file = tmp_path / "snapshot.gz"
    file.write_bytes(contents)
    node = StandIn()
    with pytest.raises(CommandError, match=says) as raised:
        import_graph(node, file)
    assert str(file) in raised.value.message
    assert node.graph.channel_count == 0


def test_a_bomb_is_not_unpacked_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "MAX_SNAPSHOT_LENGTH", 1_000)
    assert len(network._unpacked(gzip.compress(bytes(10_000_000)))) == 1_001


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (answer(b"no", "404 Not Found"), "error 404"),
        (answer(bytes(2_001)), "longer than"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2_001), "longer than"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d1\r\n", "longer than"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "makes no sense"),
        (answer(b"<html>"), "not a snapshot"),
        (answer(b"", "302 Found", Location="http://127.0.0.1/other"), "not encrypted"),
    ],
    ids=["404", "long", "long without length", "long chunk", "cut", "page", "redirect"],
)
def test_what_the_web_answers_instead_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: bytes, says: str
) -> None:
    monkeypatch.setattr(network, "MAX_SNAPSHOT_LENGTH", 2_000)
    monkeypatch.setattr(network, "DOWNLOAD_TIMEOUT_SECONDS", 30.0)
    # An answer that is cut ends with the connection.
    cut = raw.endswith(b"short")
    message = refused(tmp_path, lambda *_: raw) if not cut else _cut_off(tmp_path, monkeypatch, raw)
    assert says in message
    assert LOCALHOST in message


def _cut_off(folder: Path, monkeypatch: pytest.MonkeyPatch, raw: bytes) -> str:
    async def serve(self: WebServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()
        writer.close()

    monkeypatch.setattr(WebServer, "_serve", serve)
    return refused(folder, lambda *_: raw)


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "DOWNLOAD_TIMEOUT_SECONDS", 0.3)
    assert "did not answer within" in refused(tmp_path, lambda *_: b"", silent=True)


@pytest.mark.parametrize(
    "address", ["http://snapshots.example/0", "ftp://snapshots.example/0", "file:///etc/passwd", "https://"]
)
def test_only_https_addresses_are_asked(address: str) -> None:
    with pytest.raises(CommandError, match="not an https address"):
        import_graph(WebStandIn(), address)


def test_an_onion_service_may_be_asked_over_plain_http_but_needs_the_proxy() -> None:
    with pytest.raises(CommandError, match="over Tor only"):
        import_graph(WebStandIn(), f"http://{ONION}/snapshot/0")


def test_with_a_proxy_the_name_is_asked_for_there(tmp_path: Path) -> None:
    async def ask() -> tuple[list[tuple[str, int]], int]:
        server = WebServer(tmp_path, lambda *_: answer(SNAPSHOT))
        proxy = SocksProxy(await server.start())
        node = WebStandIn()
        # Whatever port is asked for, this proxy leads to the server.
        node.client = WebClient(proxy=Proxy(LOCALHOST, await proxy.start()), context=client_context(tmp_path))
        standing: Any = node
        try:
            await run(standing, "import_graph", {"file": f"https://{LOCALHOST}/snapshot/0"})
            return proxy.wanted, node.graph.channel_count
        finally:
            await proxy.stop()
            await server.stop()

    assert asyncio.run(ask()) == ([(LOCALHOST, 443)], 2)


def test_the_command_line_makes_paths_whole_and_leaves_addresses() -> None:
    assert "import_graph" in cli.FILE_COMMANDS
    assert cli._whole_path("https://snapshots.example/0") == "https://snapshots.example/0"
    assert cli._whole_path("snapshot.bin") == str(Path("snapshot.bin").absolute())
