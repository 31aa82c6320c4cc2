"""Lightning sockets: addresses, back-pressure both ways, and connections that end at every point."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from wallet.bitcoin.curve import pubkey_from_secret
from wallet.chain.interfaces import LogLevel
from wallet.ln.types import APIError, NodeId
from wallet.node import sockets
from wallet.node.questions import EndedError
from wallet.node.sockets import (
    Connections,
    NodeUri,
    PeerEntries,
    PeerSocket,
    address_group,
    parse_node_uri,
)

WAIT_SECONDS = 30
NODE_ID = pubkey_from_secret(b"\x01" * 32)
HEX = NODE_ID.hex()


# --- addresses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (f"{HEX}@example.org:9736", "example.org", 9736),
        (f"  {HEX.upper()}@1.2.3.4\n", "1.2.3.4", 9735),
        (f"{HEX}@[2001:db8::1]:19735", "2001:db8::1", 19735),
        (f"{HEX}@[::1]", "::1", 9735),
        (f"{HEX}@{'a' * 56}.onion:9735", f"{'a' * 56}.onion", 9735),
        (f"{HEX}@bücher.example:1", "bücher.example", 1),
    ],
)
def test_node_uris(text: str, host: str, port: int) -> None:
    uri = parse_node_uri(text)
    assert uri == NodeUri(NodeId(NODE_ID), host, port)
    assert parse_node_uri(str(uri)) == uri


@pytest.mark.parametrize(
    "text",
    [
        "", "@", HEX, f"{HEX}@", f"{HEX}@:9735", f"@{HEX}", f"{HEX[:-2]}@a:1", f"{HEX}00@a:1", f"04{HEX[2:]}@a:1",
        f"02{'ff' * 32}@a:1", f"02{'00' * 32}@a:1", "z" * 66 + "@a:1", f"{HEX}@a:0", f"{HEX}@a:65536", f"{HEX}@a:-1",
        f"{HEX}@a:b", f"{HEX}@a:{'9' * 5000}", f"{HEX}@a:\u0661", f"{HEX}@::1", f"{HEX}@fe80::1:9735", f"{HEX}@[::1",
        f"{HEX}@[::1]9735", f"{HEX}@[]:1", f"{HEX}@a b:1", f"{HEX}@a/b:1", f"{HEX}@a@b:1", f"{HEX}@a\x00b:1",
        f"{HEX}@{'a' * 256}:1", f"{HEX}@\u202eb:1", "\ud800",
    ],
)  # fmt: skip
def test_what_is_no_node_uri(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_node_uri(text)
    assert str(caught.value).endswith(".")
    assert "int()" not in str(caught.value)


# --- connections ------------------------------------------------------------------------------


class Log:
    def log(self, level: LogLevel, message: str, *args: object) -> None:
        pass


class FakePeerManager:
    """Keeps what it is told; its outgoing bytes are in `waiting`, as the real one's are."""

    def __init__(self) -> None:
        self.connections = Connections(
            PeerEntries(
                outbound=self.outbound,
                inbound=self.inbound,
                received=self.take,
                writable=self.writable,
                lost=self.gone,
                with_channels=lambda: self.with_channels,
            ),
            Log(),
        )
        self.known: list[PeerSocket] = []
        self.with_channels: set[PeerSocket] = set()
        self.received = bytearray()
        self.lost: list[PeerSocket] = []
        self.waiting: dict[PeerSocket, bytes] = {}
        self.pause_after: int | None = None
        self.refusal: Exception | None = None
        self.writable_threads: list[int] = []
        self.changed = asyncio.Event()

    def outbound(self, node_id: NodeId, peer_socket: PeerSocket, address: tuple[str, int] | None) -> bytes:
        if self.refusal is not None:
            raise self.refusal
        self.known.append(peer_socket)
        return b"act one"

    def inbound(self, peer_socket: PeerSocket, address: tuple[str, int] | None) -> None:
        assert address is not None
        assert address[0] == "127.0.0.1"
        self.known.append(peer_socket)
        self.changed.set()

    def take(self, peer_socket: PeerSocket, data: bytes) -> bool:
        assert peer_socket in self.known
        self.received += data
        self.changed.set()
        return self.pause_after is not None and len(self.received) >= self.pause_after

    def writable(self, peer_socket: PeerSocket) -> None:
        self.writable_threads.append(threading.get_ident())
        self.push(peer_socket)

    def gone(self, peer_socket: PeerSocket) -> None:
        self.lost.append(peer_socket)
        self.changed.set()

    def knows(self, count: int) -> bool:
        return len(self.known) == count

    def push(self, peer_socket: PeerSocket) -> int:
        waiting = self.waiting.get(peer_socket, b"")
        sent = peer_socket.send_data(waiting, False)
        self.waiting[peer_socket] = waiting[sent:]
        return sent

    async def until(self, check: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not check():
                self.changed.clear()
                await self.changed.wait()


class RawServer:
    """The other end of a connection: a plain socket server of a test."""

    def __init__(self) -> None:
        self.accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.greeting = b""
        self.hangs_up = False
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> NodeUri:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return NodeUri(NodeId(NODE_ID), "127.0.0.1", self._server.sockets[0].getsockname()[1])

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        writer.write(self.greeting)
        if self.hangs_up:
            writer.transport.abort()
        self.accepted.put_nowait((reader, writer))

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def address_of(peer_socket: PeerSocket) -> tuple[str, int] | None:
    return peer_socket.remote_address


def with_server(test: Callable[[FakePeerManager, RawServer, NodeUri], Awaitable[None]]) -> None:
    async def run() -> None:
        manager, server = FakePeerManager(), RawServer()
        uri = await server.start()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await test(manager, server, uri)
        finally:
            async with asyncio.timeout(WAIT_SECONDS):
                await manager.connections.close()
                await server.close()
        left.extend(manager.connections._open)

    left: list[PeerSocket] = []
    asyncio.run(run())
    assert left == []


def test_the_first_act_goes_out_and_bytes_come_in() -> None:
    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        peer_socket = await manager.connections.connect(uri)
        reader, writer = await server.accepted.get()
        assert await reader.readexactly(7) == b"act one"
        writer.write(b"act two")
        await manager.until(lambda: bytes(manager.received) == b"act two")
        assert address_of(peer_socket) == ("127.0.0.1", uri.port)
        writer.close()
        await manager.until(lambda: manager.lost == [peer_socket])
        assert peer_socket.gone.is_set()
        assert address_of(peer_socket) is None
        assert peer_socket.send_data(b"too late", True) == 0

    with_server(test)


def test_who_speaks_first_is_not_lost_nor_too_early() -> None:
    """An SSH server greets at once: before the peer manager knows the socket."""

    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        server.greeting = b"SSH-2.0\r\n"
        await manager.connections.connect(uri)
        await manager.until(lambda: bytes(manager.received) == b"SSH-2.0\r\n")

    with_server(test)


def test_who_hangs_up_at_once() -> None:
    """Whenever it is noticed: no socket stays behind that closing would wait for."""

    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        server.hangs_up = True
        for _ in range(20):
            with contextlib.suppress(OSError):
                await manager.connections.connect(uri)
        await manager.until(lambda: not manager.connections._open)

    with_server(test)


def test_the_core_refuses_a_connection() -> None:
    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        manager.refusal = APIError("This node cannot connect to itself.")
        with pytest.raises(OSError, match="cannot connect to itself") as caught:
            await manager.connections.connect(uri)
        assert caught.value.strerror == "This node cannot connect to itself."
        assert manager.lost == []

    with_server(test)


@pytest.mark.parametrize("host", ["a..b", "." * 3, "x" * 70 + ".example", "-"])
def test_hosts_that_no_resolver_knows_are_os_errors(host: str) -> None:
    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        with pytest.raises(OSError):
            await manager.connections.connect(NodeUri(uri.node_id, host, 9735))
        with pytest.raises(OSError):
            await manager.connections.listen(host, 0)

    with_server(test)


def test_nobody_listens_and_a_taken_port() -> None:
    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        with pytest.raises(OSError):
            await manager.connections.listen("127.0.0.1", uri.port)
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            nobody = NodeUri(uri.node_id, "127.0.0.1", sock.getsockname()[1])
        with pytest.raises(OSError):
            await manager.connections.connect(nobody)

    with_server(test)


def test_a_call_on_its_way_ends_when_another_proxy_is_chosen() -> None:
    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        # A proxy that takes the call and never answers.
        behind = Connections(manager.connections._entries, Log(), proxy=("127.0.0.1", uri.port))
        calling = asyncio.create_task(behind.connect(uri))
        reader, _writer = await server.accepted.get()
        behind.set_proxy(("127.0.0.1", 1))
        with pytest.raises(EndedError):
            await calling
        await reader.read()
        assert manager.known == []
        assert not behind._open

    with_server(test)


def test_a_proxy_that_is_none() -> None:
    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        server.greeting = b"HTTP/1.1 400 Bad Request\r\n\r\n"
        behind = Connections(manager.connections._entries, Log(), proxy=("127.0.0.1", uri.port))
        with pytest.raises(OSError):
            await behind.connect(NodeUri(uri.node_id, "example.org", 9735))

    with_server(test)


def test_all_bytes_arrive_though_the_other_end_reads_slowly() -> None:
    """What was not taken is always asked for again, however much the kernel took at once."""

    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        peer_socket = await manager.connections.connect(uri)
        reader, _writer = await server.accepted.get()
        await reader.readexactly(7)
        everything = bytes(range(256)) * 40_000
        for size in (1, 100_000, 700_000, 10_000_000):
            manager.waiting[peer_socket] = everything[:size]
            taken = manager.push(peer_socket)
            assert taken <= size
            got = bytearray()
            while len(got) < size:
                got += await reader.read(50_000)
            assert got == everything[:size]
            assert manager.waiting[peer_socket] == b""

    with_server(test)


def test_a_partial_write_leaves_the_buffer_over_the_mark() -> None:
    """asyncio reports room only to who was told to pause: "not all" without a pause would wait for ever."""

    class Eager(asyncio.Transport):
        """A kernel that takes 200 kB of the first write at once, and nothing later."""

        def __init__(self, protocol: PeerSocket) -> None:
            super().__init__()
            self.buffered = 0
            self.kernel = 200_000
            self.high = 0
            self.protocol = protocol

        def write(self, data: Any) -> None:
            at_once = 0 if self.buffered else min(self.kernel, len(data))
            self.kernel -= at_once
            self.buffered += len(data) - at_once
            if self.buffered > self.high:
                self.protocol.pause_writing()

        def get_write_buffer_size(self) -> int:
            return self.buffered

        def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
            self.high = high or 0

        def is_closing(self) -> bool:
            return False

        def is_reading(self) -> bool:
            return True

        def get_extra_info(self, name: str, default: object = None) -> Any:
            return ("127.0.0.1", 1) if name == "peername" else None

    async def run() -> None:
        manager = FakePeerManager()
        peer_socket = PeerSocket(manager.connections)
        transport = Eager(peer_socket)
        peer_socket.connection_made(transport)
        sent = peer_socket.send_data(bytes(1_000_000), False)
        assert sent < 1_000_000
        assert peer_socket._full
        assert transport.buffered > transport.high

    asyncio.run(run())


def test_reading_pauses_until_it_is_resumed() -> None:
    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        manager.pause_after = 1
        peer_socket = await manager.connections.connect(uri)
        _reader, writer = await server.accepted.get()
        writer.write(bytes(5_000_000))
        await manager.until(lambda: len(manager.received) > 0)
        # Nothing comes while it is paused, though millions of bytes wait.
        for _ in range(20):
            await asyncio.sleep(0)
        first = len(manager.received)
        assert first < 5_000_000
        peer_socket.send_data(b"", True)
        await manager.until(lambda: len(manager.received) > first)
        manager.pause_after = None
        peer_socket.send_data(b"", True)
        await manager.until(lambda: len(manager.received) == 5_000_000)

    with_server(test)


def test_another_thread_only_leaves_word() -> None:
    """The timer thread's pings: the bytes are asked for again on the loop."""

    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        peer_socket = await manager.connections.connect(uri)
        reader, _writer = await server.accepted.get()
        await reader.readexactly(7)
        manager.waiting[peer_socket] = b"ping"
        assert await asyncio.to_thread(manager.push, peer_socket) == 0
        assert await reader.readexactly(4) == b"ping"
        assert set(manager.writable_threads) == {threading.get_ident()}
        await asyncio.to_thread(peer_socket.disconnect_socket)
        assert await reader.read() == b""
        assert manager.lost == [], "it was the peer manager that hung up"

    with_server(test)


def test_last_words_are_sent_and_a_peer_that_does_not_read_them_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sockets, "CLOSE_TIMEOUT_SECONDS", 0.05)

    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        polite = await manager.connections.connect(uri)
        reader, _writer = await server.accepted.get()
        polite.send_data(b"goodbye", False)
        polite.disconnect_socket()
        assert await reader.read() == b"act onegoodbye"
        deaf = await manager.connections.connect(uri)
        _reader, writer = await server.accepted.get()
        assert isinstance(writer.transport, asyncio.ReadTransport)
        writer.transport.pause_reading()
        for _ in range(100):
            if deaf.send_data(bytes(1_000_000), False) < 1_000_000:
                break
            await asyncio.sleep(0)
        deaf.disconnect_socket()
        await deaf.gone.wait()

    with_server(test)


def test_dropped_is_told_and_aborted_is_not() -> None:
    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        first = await manager.connections.connect(uri)
        second = await manager.connections.connect(uri)
        first.abort()
        second.drop()
        await first.gone.wait()
        await second.gone.wait()
        assert manager.lost == [second]

    with_server(test)


def test_too_many_that_call_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "MAX_INBOUND_CONNECTIONS", 2)

    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        # Those that we called do not count.
        for _ in range(3):
            await manager.connections.connect(uri)
        port = await manager.connections.listen("127.0.0.1", 0)
        writers = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
        await manager.until(lambda: len(manager.known) == 5)
        # All of them have channels: nobody goes for another's sake.
        manager.with_channels = set(manager.known)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert len(manager.known) == 5
        assert manager.lost == []
        for writer in writers:
            writer.close()

    with_server(test)


def test_who_has_no_channel_goes_when_all_places_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "MAX_INBOUND_CONNECTIONS", 3)

    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        called = await manager.connections.connect(uri)
        port = await manager.connections.listen("127.0.0.1", 0)
        writers = []
        for count in range(5):
            writers.append((await asyncio.open_connection("127.0.0.1", port))[1])
            await manager.until(partial(manager.knows, count + 2))
            if count == 0:
                manager.with_channels = {manager.known[1]}
        await manager.until(lambda: len(manager.lost) == 2)
        # The oldest of those without one; never the one with a channel, nor one that we called.
        assert manager.lost == manager.known[2:4]
        assert not called.gone.is_set()
        for writer in writers:
            writer.close()

    with_server(test)


def test_one_network_does_not_hold_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "MAX_INBOUND_CONNECTIONS", 6)
    monkeypatch.setattr(sockets, "MAX_STRANGERS_PER_GROUP", 2)
    # Whose turn it is to call; all connections of the test come from here.
    hosts = [
        "8.8.1.1",
        "8.8.2.2",
        "8.8.3.3",
        "8.8.4.4",
        "9.9.1.1",
        "9.9.1.2",
        "1.1.1.1",
        "2.2.1.1",
        "3.3.1.1",
    ]
    addresses: dict[PeerSocket, tuple[str, int]] = {}

    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        def address(peer_socket: PeerSocket) -> tuple[str, int]:
            if peer_socket not in addresses:
                addresses[peer_socket] = (hosts[len(addresses)], 1)
            return addresses[peer_socket]

        def inbound(peer_socket: PeerSocket, _address: tuple[str, int] | None) -> None:
            manager.known.append(peer_socket)
            manager.changed.set()

        monkeypatch.setattr(PeerSocket, "remote_address", property(address))
        monkeypatch.setattr(manager.connections._entries, "inbound", inbound)
        port = await manager.connections.listen("127.0.0.1", 0)
        writers = []
        for count in range(len(hosts)):
            writers.append((await asyncio.open_connection("127.0.0.1", port))[1])
            await manager.until(partial(manager.knows, count + 1))
            if count == 0:
                # Its first has a channel, and counts against nobody.
                manager.with_channels = {manager.known[0]}
        await manager.until(lambda: len(manager.lost) == 3)
        # 8.8.x.x displaced itself; when all was full, the oldest of the largest group went, and then again.
        assert [addresses[each][0] for each in manager.lost] == ["8.8.2.2", "8.8.3.3", "9.9.1.1"]
        for writer in writers:
            writer.close()

    with_server(test)


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("8.8.4.4", "8.8.0.0/16"),
        ("::ffff:8.8.200.1", "8.8.0.0/16"),
        ("2a00:1450:4001::1", "2a00:1450::/32"),
        ("127.0.0.1", None),
        ("::1", None),
        ("192.168.1.7", None),
        ("fe80::1%eth0", None),
    ],
)
def test_addresses_of_one_network_are_one_group(host: str, group: str | None) -> None:
    assert address_group((host, 9735)) == group
    assert address_group(None) is None


def test_closing_ends_what_is_being_opened() -> None:
    async def test(manager: FakePeerManager, server: RawServer, uri: NodeUri) -> None:
        port = await manager.connections.listen("127.0.0.1", 0)
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await manager.until(lambda: len(manager.known) == 1)
        opening = asyncio.create_task(manager.connections.connect(uri))
        await manager.connections.close()
        with pytest.raises(OSError, match="closed at once"):
            await opening
        writer.close()

    with_server(test)
