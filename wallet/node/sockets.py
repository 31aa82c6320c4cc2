"""Lightning connections: asyncio sockets around the `PeerManager`, with back-pressure both ways.

A `PeerSocket` is the `SocketDescriptor` that the `PeerManager` writes to. Reading pauses while the peer manager
says so; writing takes as much as the transport's buffer may hold and reports when there is room again.
Everything here runs on the network loop; each call into the peer manager is an entry into the core. Only the timer
thread calls from outside (its pings): asyncio's transports do not stand that, so a socket says that it is full then,
and asks for the bytes again on the loop.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

from wallet.bitcoin.curve import is_valid_pubkey
from wallet.chain.electrum.rpc import Proxy, connect_through
from wallet.chain.interfaces import Logger, LogLevel
from wallet.i18n import _
from wallet.ln.types import APIError, DecodeError, NodeId
from wallet.node.questions import Questions

__all__ = ["Connections", "NodeUri", "PeerEntries", "PeerSocket", "address_group", "parse_node_uri"]

CONNECT_TIMEOUT_SECONDS = 20.0
SEND_BUFFER_BYTES = 256 * 1024
"""What the transport may hold of one peer's outgoing bytes before `send_data` says that it is full."""
CLOSE_TIMEOUT_SECONDS = 5.0
"""How long a peer that was hung up on may take to read our last words."""
ACCEPT_TURNS = 3
"""An event loop takes this many turns from accepting a connection to making it."""
MAX_INBOUND_CONNECTIONS = 64
MAX_STRANGERS_PER_GROUP = 8
"""Connections without a channel from one group of addresses: who has one machine, or one network, has no more."""
IPV4_GROUP_BITS = 16
IPV6_GROUP_BITS = 32
"""As Bitcoin Core groups addresses: what one provider hands out, and so what is cheap to have much of."""
MAX_HOST = 255


@dataclass(frozen=True, slots=True)
class NodeUri:
    """node_id@host:port. `host` may be a name, an address, or an onion service."""

    node_id: NodeId
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.node_id.hex()}@{host}:{self.port}"


def parse_node_uri(text: str, default_port: int = 9735) -> NodeUri:
    """Reads node_id@host:port; raises `DecodeError` with a sentence."""
    node_id_hex, at, address = text.strip().partition("@")
    try:
        node_id = bytes.fromhex(node_id_hex)
    except ValueError:
        node_id = b""
    if len(node_id) != 33 or node_id[0] not in (2, 3):
        raise DecodeError(_("A node id is 66 characters of 0-9 and a-f that begin with 02 or 03."))
    if not is_valid_pubkey(node_id):
        raise DecodeError(_("There is no node of this id: a character of it must be wrong."))
    if not at or not address:
        raise DecodeError(_("The node's address is missing: it is written node_id@host:port."))
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        port_text = rest.removeprefix(":") if bracket and (not rest or rest.startswith(":")) else "?"
    else:
        host, _colon, port_text = address.partition(":")
    port_text = port_text or str(default_port)
    digits = port_text.isascii() and port_text.isdigit() and len(port_text) <= 5
    plain = host.isprintable() and not any(c in ' /\\@[]"' for c in host) and len(host) <= MAX_HOST
    if not host or not plain or not digits or not 0 < int(port_text) < 65536:
        raise DecodeError(_("The node's address is not of the form host:port."))
    return NodeUri(NodeId(node_id), host, int(port_text))


class PeerSocket(asyncio.Protocol):
    """One connection. Hashable by identity, as `SocketDescriptor` asks.

    Attributes:
        connected_to: whom we called; None when they called us.
        gone: set once the connection is lost.
    """

    def __init__(self, connections: Connections, connected_to: NodeUri | None = None) -> None:
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._full = False
        self._told = False
        self.connected_to = connected_to
        self.gone = asyncio.Event()

    # --- SocketDescriptor -----------------------------------------------------------

    def send_data(self, data: bytes, resume_read: bool) -> int:
        if threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self._ask_again, resume_read)
            return 0
        transport = self._transport
        if transport is None or transport.is_closing():
            return 0
        if resume_read and not transport.is_reading():
            transport.resume_reading()
        sent = 0
        # The kernel may take much at once and leave the buffer below the mark at which asyncio reports room: whoever
        # is told "not all" must be certain of a report, so only a buffer that is over the mark ends this.
        while sent < len(data) and not self._full and not transport.is_closing():
            room = SEND_BUFFER_BYTES - transport.get_write_buffer_size()
            if room <= 0:
                break
            part = data[sent : sent + room]
            transport.write(part)
            sent += len(part)
        return sent

    def _ask_again(self, resume_read: bool) -> None:
        """On the loop, for another thread's `send_data`."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._told:
            return
        if resume_read and not transport.is_reading():
            transport.resume_reading()
        self._connections.writable(self)

    def disconnect_socket(self) -> None:
        self._told = True
        if threading.get_ident() == self._thread:
            self._close()
        else:
            self._loop.call_soon_threadsafe(self._close)

    def _close(self) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.close()
            self._loop.call_later(CLOSE_TIMEOUT_SECONDS, transport.abort)

    # --- asyncio.Protocol -----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a peer's connection is a stream")
        self._transport = transport
        transport.set_write_buffer_limits(high=SEND_BUFFER_BYTES // 2, low=SEND_BUFFER_BYTES // 8)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.opened(self)
        if self.connected_to is not None:
            # Until the peer manager knows this socket; the first act that is sent starts the reading.
            transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if not self._told and self._connections.received(self, data) and self._transport is not None:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if not self._told:
            self._connections.writable(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.gone.set()
        self._connections.lost(self, told=self._told)

    @property
    def is_leaving(self) -> bool:
        """Whether it is hung up on already."""
        return self._transport is None or self._transport.is_closing()

    @property
    def remote_address(self) -> tuple[str, int] | None:
        """The other end's IP address and port; None when it is not an IP socket."""
        name = None if self._transport is None else self._transport.get_extra_info("peername")
        if not isinstance(name, tuple) or len(name) < 2:
            return None
        try:
            ipaddress.ip_address(name[0])
        except ValueError:
            return None
        return name[0], name[1]

    def abort(self) -> None:
        """Hangs up at once, without the peer manager."""
        self._told = True
        self.drop()

    def drop(self) -> None:
        """Hangs up at once; the peer manager hears of it as of any lost connection."""
        if self._transport is not None:
            self._transport.abort()


def address_group(address: tuple[str, int] | None) -> str | None:
    """The network that an address belongs to; None for one that no stranger has: ours, or of our own network, from
    which an onion service's and a proxy's connections come as well."""
    if address is None:
        return None
    host = ipaddress.ip_address(address[0].partition("%")[0])
    if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
        host = host.ipv4_mapped
    if not host.is_global:
        return None
    bits = IPV4_GROUP_BITS if host.version == 4 else IPV6_GROUP_BITS
    return str(ipaddress.ip_network((host, bits), strict=False))


class PeerEntries:
    """What `Connections` calls; made by the node, each an entry into the core. `with_channels` says which sockets are
    those of peers that have a channel with us."""

    def __init__(
        self,
        *,
        outbound: Callable[[NodeId, PeerSocket, tuple[str, int] | None], bytes],
        inbound: Callable[[PeerSocket, tuple[str, int] | None], None],
        received: Callable[[PeerSocket, bytes], bool],
        writable: Callable[[PeerSocket], None],
        lost: Callable[[PeerSocket], None],
        with_channels: Callable[[], Collection[PeerSocket]],
    ) -> None:
        self.outbound = outbound
        self.inbound = inbound
        self.received = received
        self.writable = writable
        self.lost = lost
        self.with_channels = with_channels


class Connections:
    """All Lightning sockets of the node: listening, connecting, closing."""

    def __init__(self, entries: PeerEntries, logger: Logger, *, proxy: tuple[str, int] | None = None) -> None:
        self._entries = entries
        self._logger = logger
        self._proxy = proxy
        self._server: asyncio.Server | None = None
        # The oldest first.
        self._open: dict[PeerSocket, None] = {}
        self._dialling = Questions()
        self._closing = False
        self._all_gone = asyncio.Event()

    async def listen(self, host: str, port: int) -> int:
        """Listens; returns the port. Raises `OSError` when it is taken, or not ours to take."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: PeerSocket(self), host, port)
        except UnicodeError:
            raise OSError(errno.EINVAL, _("there is no such host")) from None
        return int(self._server.sockets[0].getsockname()[1])

    def set_proxy(self, proxy: tuple[str, int] | None) -> None:
        """Peers are called through this proxy from now on; connections that we made by the old way end at once,
        and calls that go out by it."""
        if proxy == self._proxy:
            return
        self._proxy = proxy
        self._dialling.end_all()
        for peer_socket in list(self._open):
            if peer_socket.connected_to is not None:
                peer_socket.drop()

    async def connect(self, uri: NodeUri) -> PeerSocket:
        """Opens a connection and sends the first act; raises `OSError` or `TimeoutError`."""
        peer_socket = PeerSocket(self, uri)
        async with self._dialling.within(CONNECT_TIMEOUT_SECONDS):
            await self._dial(peer_socket, uri)
        if self._closing or peer_socket.gone.is_set():
            peer_socket.abort()
            raise OSError(errno.ECONNABORTED, _("the connection was closed at once"))
        try:
            act_one = self._entries.outbound(uri.node_id, peer_socket, peer_socket.remote_address)
        except APIError as error:
            peer_socket.abort()
            raise OSError(errno.EINVAL, str(error)) from None
        except BaseException:
            peer_socket.abort()
            raise
        peer_socket.send_data(act_one, True)
        return peer_socket

    async def _dial(self, peer_socket: PeerSocket, uri: NodeUri) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._proxy is not None:
                await connect_through(Proxy(*self._proxy), lambda: peer_socket, uri.host, uri.port)
            else:
                await loop.create_connection(lambda: peer_socket, uri.host, uri.port)
        except UnicodeError:
            # The resolver's word for a name that no name server could know.
            raise OSError(errno.EINVAL, _("there is no such host")) from None

    async def close(self) -> None:
        """Hangs up everywhere; returns when every socket is gone."""
        self._closing = True
        if self._server is not None:
            self._server.close()
        for peer_socket in list(self._open):
            peer_socket.abort()
        for _turn in range(ACCEPT_TURNS):
            # One that was accepted just before is made, and refused, on the loop's next turns.
            await asyncio.sleep(0)
        while self._open:
            self._all_gone.clear()
            await self._all_gone.wait()
        if self._server is not None:
            await self._server.wait_closed()

    # --- from the sockets -------------------------------------------------------------

    def opened(self, peer_socket: PeerSocket) -> None:
        """A connection stands: one that called us is told to the peer manager here."""
        self._open[peer_socket] = None
        if peer_socket.connected_to is not None:
            return
        if self._closing or not self._has_place(peer_socket):
            self._logger.log(
                LogLevel.WARN, "refused a connection: all places are taken by peers with channels"
            )
            peer_socket.abort()
            return
        self._entries.inbound(peer_socket, peer_socket.remote_address)

    def _has_place(self, new: PeerSocket) -> bool:
        """Makes room for one that calls us. Whoever has had most time to open a channel, and has none, goes first, from
        the network that has most such connections: a stranger with many addresses displaces himself. Who is new stays
        long enough to show who it is, so that a peer with a channel finds its way in through any crowd."""
        others = [
            each
            for each in self._open
            if each.connected_to is None and each is not new and not each.is_leaving
        ]
        group = address_group(new.remote_address)
        near = [each for each in others if group is not None and address_group(each.remote_address) == group]
        if len(others) < MAX_INBOUND_CONNECTIONS and len(near) < MAX_STRANGERS_PER_GROUP:
            return True
        known = self._entries.with_channels()
        near = [each for each in near if each not in known]
        if len(near) >= MAX_STRANGERS_PER_GROUP:
            self._evict(near[0])
            return True
        if len(others) < MAX_INBOUND_CONNECTIONS:
            return True
        strangers: dict[str | None, list[PeerSocket]] = {}
        for each in others:
            if each not in known:
                strangers.setdefault(address_group(each.remote_address), []).append(each)
        if not strangers:
            return False
        self._evict(max(strangers.values(), key=len)[0])
        return True

    def _evict(self, peer_socket: PeerSocket) -> None:
        self._logger.log(LogLevel.INFO, "hung up on a peer without a channel: others want its place")
        peer_socket.drop()

    def received(self, peer_socket: PeerSocket, data: bytes) -> bool:
        return self._entries.received(peer_socket, data)

    def writable(self, peer_socket: PeerSocket) -> None:
        self._entries.writable(peer_socket)

    def lost(self, peer_socket: PeerSocket, *, told: bool) -> None:
        self._open.pop(peer_socket, None)
        if not self._open:
            self._all_gone.set()
        if not told:
            self._entries.lost(peer_socket)
