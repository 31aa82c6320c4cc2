"""JSON-RPC over TCP, TLS or SOCKS: the one module that touches aiorpcx.

aiorpcx brings the framing, the JSON-RPC rules, the transport with its back-pressure, and a SOCKS5 client.
This module gives them types, and changes what a wallet must not leave to chance:

- numbers with a fraction arrive as `Decimal`, so no float comes near money;
- messages are handled in the order in which they came, without a task each;
- whatever breaks the rules (a message over the size limit, JSON nested a million deep, an answer to a
  question that nobody asked, a flood of notifications) closes the connection with a sentence that says why;
- a connection that ends, ends every waiting request with `RpcClosed`, never with a cancellation that the
  caller could take for its own.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

import aiorpcx
from aiorpcx.framing import NewlineFramer
from aiorpcx.jsonrpc import JSONRPCConnection, JSONRPCv2, ProtocolError
from aiorpcx.rawsocket import RSTransport

from wallet.i18n import _

__all__ = [
    "Json",
    "Proxy",
    "ProxyRefused",
    "RpcBroken",
    "RpcClosed",
    "RpcConnection",
    "RpcPeer",
    "RpcRefusal",
    "RpcServer",
    "connect_through",
    "RpcTimeout",
    "connect",
    "serve",
]

Json = None | bool | int | Decimal | str | list["Json"] | dict[str, "Json"]

MAX_MESSAGE_BYTES = 16_000_000
"""A block-sized transaction is 8 million hex digits; no honest answer to what we ask is twice that."""
MAX_IN_FLIGHT = 100
"""Requests on the wire at once, per connection: enough to hide any delay, few enough for a server's
patience."""
NOTIFICATIONS_PER_MINUTE = 20_000
CLOSE_AFTER_SECONDS = 1.0


class RpcClosed(ConnectionError):
    """The connection ended before the answer came."""


class RpcTimeout(TimeoutError):
    """No answer in time."""


class RpcBroken(ConnectionError):
    """The other side broke the rules of JSON-RPC, or its limits; the message says how."""


class RpcRefusal(Exception):
    """The other side answered with an error. Its text is untrusted."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Proxy:
    """A SOCKS5 proxy, such as Tor's. Names are resolved behind it.

    Attributes:
        username, password: left empty, each connection gets random ones, which makes Tor use a circuit of
        its own.
    """

    host: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)


class _Framer(NewlineFramer):  # type: ignore[misc]  # aiorpcx is untyped
    """Says that a message is too long, rather than skipping it and letting its request wait for ever."""

    async def receive_message(self) -> bytes:
        try:
            message: bytes = await super().receive_message()
        except MemoryError:
            raise RpcBroken(
                _("The server sent a message of over {count} bytes.").format(count=f"{self.max_size:,}")
            ) from None
        return message


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no number")


class _Protocol(JSONRPCv2):  # type: ignore[misc]  # aiorpcx is untyped
    @classmethod
    def _message_to_payload(cls, message: bytes) -> object:
        try:
            return json.loads(message, parse_float=Decimal, parse_constant=_no_constant)
        except (ValueError, RecursionError, InvalidOperation):
            # InvalidOperation: a number whose exponent has more digits than any computer counts.
            raise RpcBroken(_("The server sent something that is not JSON.")) from None


class _Transport(RSTransport):  # type: ignore[misc]  # aiorpcx is untyped
    """Keeps the TLS object where it can be asked for the certificate."""

    ssl_object: ssl.SSLObject | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.ssl_object = transport.get_extra_info("ssl_object")
        super().connection_made(transport)


class _SocksProxy(aiorpcx.SOCKSProxy):  # type: ignore[misc]  # aiorpcx is untyped
    """Closes the socket of an attempt that failed, which the library leaves to the collector."""

    async def _connect_one(self, remote_address: object) -> socket.socket | Exception:
        loop = asyncio.get_running_loop()
        failure: Exception = OSError(_("its name cannot be looked up"))
        for family, _kind, _protocol, _name, address in await loop.getaddrinfo(
            str(self.address.host), self.address.port, type=socket.SOCK_STREAM
        ):
            sock = socket.socket(family=family)
            try:
                sock.setblocking(False)
                await loop.sock_connect(sock, address)
                await self._handshake(self.protocol(remote_address, self.auth), sock, loop)
            except (OSError, aiorpcx.SOCKSError) as exc:
                sock.close()
                failure = exc
            except BaseException:
                sock.close()
                raise
            else:
                self.peername = sock.getpeername()
                return sock
        return failure


class _Session(aiorpcx.RPCSession):  # type: ignore[misc]  # aiorpcx is untyped
    def __init__(self, transport: object) -> None:
        super().__init__(transport, connection=JSONRPCConnection(_Protocol))
        self.broken: RpcBroken | None = None
        self.receiver: Callable[[Any], None] | None = None
        self.on_closed: Callable[[], None] | None = None
        self._early: list[Any] = []

    def default_framer(self) -> _Framer:
        return _Framer(max_size=MAX_MESSAGE_BYTES)

    def bump_cost(self, delta: float) -> None:
        """The library's accounting is for servers; the limits here are in this module."""

    def start(self, receiver: Callable[[Any], None], on_closed: Callable[[], None]) -> None:
        self.receiver = receiver
        self.on_closed = on_closed
        early, self._early = self._early, []
        for item in early:
            receiver(item)

    async def process_messages(self, recv_message: Callable[[], Awaitable[bytes]]) -> None:
        try:
            while True:
                message = await recv_message()
                for item in self.connection.receive_message(message):
                    if self.receiver is None:
                        self._early.append(item)
                    else:
                        self.receiver(item)
        except RpcBroken as exc:
            self.broken = exc
        except ProtocolError:
            self.broken = RpcBroken(_("The server broke the rules of JSON-RPC."))
        finally:
            self.connection.cancel_pending_requests()
            if self.broken is not None:
                await self.transport.abort()
            if self.on_closed is not None:
                self.on_closed()


class _Base:
    """What both ends share."""

    def __init__(self, session: _Session) -> None:
        self._session = session
        self.closed = False
        """Whether the connection has ended, for whatever reason."""

    @property
    def broken(self) -> RpcBroken | None:
        """Why this side hung up, where it did."""
        return self._session.broken

    async def _write(self, message: bytes, timeout_seconds: float) -> None:
        if self.closed:
            raise self.broken or RpcClosed("the connection is closed")
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._session.transport.write(message)
        except TimeoutError:
            await self._session.transport.abort()
            raise RpcTimeout(_("The server hangs: it does not read what is sent to it.")) from None

    async def notify(self, method: str, params: Sequence[object], timeout_seconds: float = 30.0) -> None:
        message = self._session.connection.send_notification(aiorpcx.Notification(method, list(params)))
        await self._write(message, timeout_seconds)

    def abort(self) -> None:
        """Drops the connection at once."""
        transport = self._session.transport
        if transport._asyncio_transport is not None:
            transport._asyncio_transport.abort()

    async def close(self) -> None:
        self.closed = True
        await self._session.transport.close(CLOSE_AFTER_SECONDS)


class RpcConnection(_Base):
    """The client's end of one connection."""

    def __init__(
        self,
        session: _Session,
        on_notification: Callable[[str, list[Json]], None],
        on_closed: Callable[[], None],
    ) -> None:
        super().__init__(session)
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._on_notification = on_notification
        self._on_closed = on_closed
        self._window_started_ms = time.monotonic_ns() // 1_000_000
        self._notifications = 0
        session.start(self._receive, self._ended)

    def certificate(self) -> bytes | None:
        """The server's certificate (DER), where the connection is TLS."""
        ssl_object: ssl.SSLObject | None = self._session.transport.ssl_object
        return ssl_object.getpeercert(binary_form=True) if ssl_object is not None else None

    async def request(self, method: str, params: Sequence[object], timeout_seconds: float) -> Json:
        """One question and its answer. Many may wait at once; they are answered in any order.

        Raises RpcRefusal, RpcTimeout, RpcClosed, RpcBroken.
        """
        async with self._slots:
            if self.closed:
                raise self.broken or RpcClosed("the connection is closed")
            message, future = self._session.connection.send_request(aiorpcx.Request(method, list(params)))
            future.add_done_callback(_swallow)
            await self._write(message, timeout_seconds)
            done, _waiting = await asyncio.wait({future}, timeout=timeout_seconds)
            if not done:
                raise RpcTimeout(
                    _("The server hangs: {method} was not answered in {seconds} seconds.").format(
                        method=method, seconds=f"{timeout_seconds:g}"
                    )
                )
            if future.cancelled():
                raise self.broken or RpcClosed("the connection was closed")
            error = future.exception()
            if isinstance(error, ProtocolError):
                raise RpcBroken(
                    _("The server answered {method} against the rules of JSON-RPC.").format(method=method)
                )
            if isinstance(error, aiorpcx.RPCError):
                raise RpcRefusal(int(error.code), str(error.message))
            if error is not None:
                raise RpcBroken(
                    _("The server answered {method} with something unreadable.").format(method=method)
                )
            result: Json = future.result()
            return result

    def _receive(self, item: object) -> None:
        if not isinstance(item, aiorpcx.Notification):
            raise RpcBroken(_("The server asks questions, which is the client's part."))
        now_ms = time.monotonic_ns() // 1_000_000
        if now_ms - self._window_started_ms > 60_000:
            self._window_started_ms, self._notifications = now_ms, 0
        self._notifications += 1
        if self._notifications > NOTIFICATIONS_PER_MINUTE:
            raise RpcBroken(_("The server floods us with notifications."))
        method, args = item.method, item.args
        if not isinstance(method, str) or not isinstance(args, list):
            raise RpcBroken(_("The server sent a notification that cannot be read."))
        self._on_notification(method, args)

    def _ended(self) -> None:
        self.closed = True
        self._on_closed()


def _swallow(future: asyncio.Future[object]) -> None:
    """An error that comes after its request gave up is nobody's."""
    if not future.cancelled():
        future.exception()


class ProxyRefused(ConnectionError):
    """The proxy was reached, and does not lead on."""


async def connect(
    host: str,
    port: int,
    *,
    on_notification: Callable[[str, list[Json]], None],
    on_closed: Callable[[], None],
    ssl_context: ssl.SSLContext | None = None,
    proxy: Proxy | None = None,
    timeout_seconds: float = 20.0,
) -> RpcConnection:
    """Opens a connection. Raises OSError, ssl.SSLError (an OSError) or TimeoutError, with the system's
    words."""
    socks = None
    if proxy is not None:
        if proxy.username:
            auth = aiorpcx.SOCKSUserAuth(proxy.username, proxy.password)
        else:
            auth = aiorpcx.SOCKSRandomAuth()
        socks = _SocksProxy(aiorpcx.NetAddress(proxy.host, proxy.port), aiorpcx.SOCKS5, auth)
    client = aiorpcx.connect_rs(
        host, port, proxy=socks, session_factory=_Session, transport=_Transport, ssl=ssl_context
    )
    try:
        async with asyncio.timeout(timeout_seconds):
            _loop, transport = await client.create_connection()
    except aiorpcx.SOCKSError as exc:
        raise ProxyRefused(_("the proxy says: {words}").format(words=exc)) from None
    except UnicodeError:
        raise OSError(_("the server's name cannot be looked up")) from None
    return RpcConnection(transport.session, on_notification, on_closed)


async def connect_through(
    proxy: Proxy, protocol_factory: Callable[[], asyncio.Protocol], host: str, port: int
) -> None:
    """Opens a connection for any protocol behind a proxy, which resolves the name. Raises OSError."""
    auth = (
        aiorpcx.SOCKSUserAuth(proxy.username, proxy.password) if proxy.username else aiorpcx.SOCKSRandomAuth()
    )
    socks = _SocksProxy(aiorpcx.NetAddress(proxy.host, proxy.port), aiorpcx.SOCKS5, auth)
    try:
        await socks.create_connection(protocol_factory, host, port)
    except aiorpcx.SOCKSError as exc:
        raise ProxyRefused(_("the proxy says: {words}").format(words=exc)) from None


# --- the server's end: the sandbox, and tests -------------------------------------------------------


class RpcHandler(Protocol):
    """Answers one client."""

    async def handle(self, method: str, params: list[Json]) -> object:
        """The result, as something that JSON can carry; RpcRefusal for an error."""
        ...

    def ended(self) -> None:
        """The client is gone."""
        ...


class RpcPeer(_Base):
    """The server's end of one connection."""

    def __init__(self, session: _Session) -> None:
        super().__init__(session)
        self._handler: RpcHandler | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, handler: RpcHandler) -> None:
        self._handler = handler
        self._session.start(self._receive, self._ended)

    def _receive(self, item: Any) -> None:
        if isinstance(item, aiorpcx.Request):
            task = asyncio.get_running_loop().create_task(self._answer(item))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Any) -> None:
        if self._handler is None:
            return
        try:
            args = request.args if isinstance(request.args, list) else []
            result = await self._handler.handle(str(request.method), args)
        except RpcRefusal as exc:
            result = aiorpcx.RPCError(exc.code, exc.message)
        message = request.send_result(result)
        if message:
            try:
                await self._write(message, 30.0)
            except (RpcClosed, RpcTimeout, RpcBroken):
                return

    def _ended(self) -> None:
        self.closed = True
        for task in self._tasks:
            task.cancel()
        if self._handler is not None:
            self._handler.ended()


class RpcServer:
    """A listening socket."""

    def __init__(self, server: asyncio.Server, peers: set[RpcPeer]) -> None:
        self._server = server
        self._peers = peers

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stops listening and hangs up on everybody."""
        self._server.close()
        for peer in list(self._peers):
            await peer.close()
        await self._server.wait_closed()


async def serve(
    host: str,
    port: int,
    accept: Callable[[RpcPeer], RpcHandler],
    *,
    ssl_context: ssl.SSLContext | None = None,
) -> RpcServer:
    """Listens; `accept` makes the handler of each new client. Port 0 takes a free one."""
    peers: set[RpcPeer] = set()

    def factory(transport: object) -> _Session:
        session = _Session(transport)
        peer = RpcPeer(session)
        handler = accept(peer)
        peers.add(peer)

        class Wrapped:
            async def handle(self, method: str, params: list[Json]) -> object:
                return await handler.handle(method, params)

            def ended(self) -> None:
                peers.discard(peer)
                handler.ended()

        peer.start(Wrapped())
        return session

    server = await aiorpcx.serve_rs(factory, host, port, transport=_Transport, ssl=ssl_context)
    return RpcServer(server, peers)
