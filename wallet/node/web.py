"""One HTTPS question and its answer, through the configured proxy: all that LNURL and a snapshot of the graph ask of
the web.

A server is a stranger: its answer has a size limit and a time limit, its certificate is checked, and a redirect leads
to another https page or to an onion service, never to plain http. Nothing is sent but the page's own address: no
cookie, no name of this program, no referrer.

A link is a stranger's as well. It must not have this computer ask its own services, or those of its home network: a
name is looked up first, and only what is public of its addresses is called (`public_only`). The address that was
looked at is the one that is called, so that a name cannot stand for another place a moment later. Behind a proxy names
are looked up elsewhere; there, what can only mean a private place is refused by its text.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import ssl
import urllib.parse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from wallet.chain.electrum.rpc import Proxy, connect_through
from wallet.i18n import _
from wallet.node.questions import EndedError, Questions

__all__ = ["MAX_ANSWER_BYTES", "WebClient", "WebError", "WebUrl", "is_public_address", "parse_url"]

MAX_ANSWER_BYTES = 512 * 1024
"""A payRequest may carry a picture of 136,536 characters; nothing honest is four times that."""
MAX_URL = 4096
MAX_HEADERS = 100
MAX_LINE_BYTES = 16 * 1024
MAX_REDIRECTS = 3
TIMEOUT_SECONDS = 20.0
REDIRECTS = {301, 302, 303, 307, 308}
_PRIVATE_NAMES = (
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "private",
    "lan",
    "home",
    "corp",
    "home.arpa",
)
"""Ends of names that no public name server answers for: RFC 6761, 6762 and 8375, and what homes and firms use."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GIVEN_OUT = ipaddress.IPv6Network("2000::/3")
"""All that IANA has given out of IPv6 for the internet. Beyond it stand more ways to write a private place: a site's
own fec0::/10, 64:ff9b:1::/48 of RFC 8215, an IPv4 address after zeros (::/96) or translated (::ffff:0:0:0/96)."""
_IPV6_BOOKS = ipaddress.IPv6Network("3fff::/20")
"""RFC 9637: for examples; the library does not know it in every version."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a name."""


async def _look_up(host: str, port: int) -> list[str]:
    """As the system knows them; raises `OSError`, and `ValueError` for what can be no name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_rest, address in found))


def is_public_address(text: str) -> bool:
    """Whether an IP address is one of the public internet, whatever it is wrapped in."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is None:
            return address.is_global and address in _GIVEN_OUT and address not in _IPV6_BOOKS
        address = inner
    return address.is_global and not address.is_multicast


def _means_a_private_place(host: str) -> bool:
    """By its text alone, as a proxy's client sees it. A last label of digits is an address, however it is written."""
    if ":" in host:
        return not is_public_address(host)
    last = host.rpartition(".")[2]
    if last.isdigit() or last.lower().startswith("0x"):
        return not is_public_address(host)
    lowered = host.lower()
    return "." not in host or any(lowered == end or lowered.endswith(f".{end}") for end in _PRIVATE_NAMES)


class WebError(Exception):
    """The question has no usable answer; the message is a sentence for people."""


class _TooLong(ValueError):
    """The answer is longer than it may be."""


@dataclass(frozen=True, slots=True)
class WebUrl:
    """Attributes: `target` is path and query, as they stand in the request; `tls` whether it is https."""

    host: str
    port: int
    target: str
    tls: bool

    @property
    def is_onion(self) -> bool:
        return self.host.endswith(".onion")

    def __str__(self) -> str:
        default_port = 443 if self.tls else 80
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == default_port else f":{self.port}"
        return f"http{'s' if self.tls else ''}://{host}{port}{self.target}"

    def with_query(self, fields: dict[str, str]) -> WebUrl:
        """The same page, asked with further fields."""
        joint = "&" if "?" in self.target else "?"
        query = urllib.parse.urlencode(fields, quote_via=urllib.parse.quote)
        return WebUrl(self.host, self.port, f"{self.target}{joint}{query}", self.tls)


def parse_url(text: str) -> WebUrl:
    """An https address, or an http one of an onion service; raises `WebError`."""
    wrong = WebError(_("This link's address cannot be read."))
    if len(text) > MAX_URL or not text.isascii() or any(ord(char) <= 32 or ord(char) == 127 for char in text):
        raise wrong
    try:
        parts = urllib.parse.urlsplit(text)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise wrong from None
    if not host or "@" in parts.netloc:
        raise wrong
    tls = parts.scheme.lower() == "https"
    if not tls and not (parts.scheme.lower() == "http" and host.endswith(".onion")):
        raise WebError(
            _(
                "This link is not encrypted: anybody on the way could change whom you pay. Ask for an https link."
            )
        )
    if port == 0:
        raise wrong
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebUrl(host, port or (443 if tls else 80), target, tls)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What of an answer: its kind, its size at most, and whether only public addresses may give it."""

    accept: str
    max_bytes: int
    public_only: bool


class WebClient:
    """Asks; keeps nothing between questions.

    Attributes:
        proxy: a SOCKS5 proxy that every question goes through; names are resolved behind it.
        public_only: nobody is asked who is at a private address, such as this computer's own.
        questions: where each question stands while it runs, so that it can be ended.
    """

    def __init__(
        self,
        *,
        proxy: Proxy | None = None,
        public_only: bool = False,
        questions: Questions | None = None,
        context: ssl.SSLContext | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        resolve: Resolve = _look_up,
    ) -> None:
        self.proxy = proxy
        self.public_only = public_only
        self.questions = Questions() if questions is None else questions
        self._context = context
        self._timeout_seconds = timeout_seconds
        self._resolve = resolve

    async def get_json(self, url: WebUrl) -> dict[str, object]:
        """The object at an address; raises `WebError`."""
        wanted = _Wanted("application/json", MAX_ANSWER_BYTES, self.public_only)
        return _object(*await self._within(self._timeout_seconds, url, wanted))

    async def get_bytes(self, url: WebUrl, *, max_bytes: int, timeout_seconds: float) -> bytes:
        """A file as it is, all of it within this time, from where a person said: that may be a computer at home, but
        no page elsewhere may send us there. Raises `WebError`."""
        wanted = _Wanted("*/*", max_bytes, False)
        host, status, body = await self._within(timeout_seconds, url, wanted)
        if status != 200:
            raise WebError(
                _("{host} has nothing at this address: it answers with error {status}.").format(
                    host=host, status=status
                )
            )
        return body

    async def _within(self, timeout_seconds: float, url: WebUrl, wanted: _Wanted) -> tuple[str, int, bytes]:
        try:
            async with self.questions.within(timeout_seconds):
                return await self._follow(url, wanted)
        except EndedError:
            raise WebError(
                _(
                    "The proxy was changed while {host} was being asked, so the question was ended. Ask again."
                ).format(host=url.host)
            ) from None
        except TimeoutError:
            raise WebError(
                _("{host} did not answer within {seconds} seconds. Try again later.").format(
                    host=url.host, seconds=int(timeout_seconds)
                )
            ) from None

    async def _follow(self, url: WebUrl, wanted: _Wanted) -> tuple[str, int, bytes]:
        """Who answered in the end; status and body."""
        for _redirect in range(MAX_REDIRECTS + 1):
            status, headers, body = await self._ask(url, wanted)
            if status not in REDIRECTS:
                return url.host, status, body
            wanted = replace(wanted, public_only=self.public_only)
            place = headers.get("location", "")
            try:
                url = parse_url(urllib.parse.urljoin(str(url), place))
            except (WebError, ValueError):
                raise WebError(
                    _("{host} sends on to a page that is not encrypted. Nothing was asked there.").format(
                        host=url.host
                    )
                ) from None
        raise WebError(_("{host} sends from one page to the next without end.").format(host=url.host))

    async def _ask(self, url: WebUrl, wanted: _Wanted) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, body."""
        if url.is_onion and self.proxy is None:
            raise WebError(_("{host} can be reached over Tor only. Set a proxy first.").format(host=url.host))
        try:
            reader, writer = await self._connect(url, wanted.public_only)
        except ssl.SSLCertVerificationError:
            raise WebError(
                _("{host} cannot prove who it is: its certificate is not valid. Nothing was asked.").format(
                    host=url.host
                )
            ) from None
        except (OSError, ValueError):
            # A host that cannot be one is a ValueError: to the proxy's client, and to the encoding of names.
            raise WebError(
                _("{host} cannot be reached. Check the address and your connection.").format(host=url.host)
            ) from None
        try:
            writer.write(_request(url, wanted.accept))
            await writer.drain()
            return await _read_answer(reader, wanted.max_bytes)
        except _TooLong:
            raise WebError(
                _("{host} gave an answer that makes no sense: it is longer than {most} kB.").format(
                    host=url.host, most=f"{wanted.max_bytes // 1024:,}"
                )
            ) from None
        except (OSError, EOFError, ValueError):
            # Too long a line, a cut answer, a header without sense: none of it is worth a word of its own.
            raise WebError(_("{host} gave an answer that makes no sense.").format(host=url.host)) from None
        finally:
            # At once: who asks after a stranger's goodbye may wait for it for ever.
            writer.transport.abort()

    async def _connect(
        self, url: WebUrl, public_only: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises `WebError` for a private place, where only public ones may be asked."""
        private = public_only and not url.is_onion and _means_a_private_place(url.host)
        if self.proxy is None and not private:
            addresses = await self._resolve(url.host, url.port)
            called = [each for each in addresses if is_public_address(each)] if public_only else addresses
            private = bool(addresses) and not called
            if not private:
                return await self._call_one_of(called, url)
        if private:
            raise WebError(
                _(
                    "{host} is in a private network, or is this computer itself. A payment link must not have Leyden "
                    "ask there: nothing was asked. Ask for a link that leads to a public address."
                ).format(host=url.host)
            )
        return await self._connect_through(url)

    async def _call_one_of(
        self, addresses: list[str], url: WebUrl
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The first that takes the call; raises what the last one said."""
        problem: OSError = OSError("a name without an address")
        for address in addresses:
            try:
                return await asyncio.open_connection(
                    address,
                    url.port,
                    ssl=self._tls() if url.tls else None,
                    server_hostname=url.host if url.tls else None,
                    limit=MAX_LINE_BYTES,
                )
            except OSError as error:
                problem = error
        raise problem

    async def _connect_through(self, url: WebUrl) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.proxy is None:
            raise OSError("no proxy")
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_LINE_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        made: list[asyncio.BaseTransport] = []

        class _Keep(asyncio.Protocol):
            """Hands the connection to the reader, and keeps hold of the transport."""

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                made.append(transport)
                if isinstance(transport, asyncio.Transport):
                    transport.set_protocol(protocol)
                protocol.connection_made(transport)

        await connect_through(self.proxy, _Keep, url.host, url.port)
        transport = made[0]
        if not isinstance(transport, asyncio.Transport):
            raise OSError("a proxy's connection is a stream")
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        if url.tls:
            try:
                await writer.start_tls(self._tls(), server_hostname=url.host)
            except BaseException:
                transport.abort()
                raise
        return reader, writer

    def _tls(self) -> ssl.SSLContext:
        # Made on first use: reading the system's certificates takes some 20 ms.
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context


def _request(url: WebUrl, accept: str) -> bytes:
    port = "" if url.port == (443 if url.tls else 80) else f":{url.port}"
    host = f"[{url.host}]" if ":" in url.host else url.host
    lines = (
        f"GET {url.target} HTTP/1.1",
        f"Host: {host}{port}",
        f"Accept: {accept}",
        "Accept-Encoding: identity",
        "Connection: close",
        "",
        "",
    )
    return "\r\n".join(lines).encode("ascii")


async def _read_answer(reader: asyncio.StreamReader, max_bytes: int) -> tuple[int, dict[str, str], bytes]:
    """Raises `ValueError`, `EOFError` or `OSError` for what is no answer."""
    version, _space, rest = (await reader.readline()).decode("latin-1").partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):
        raise ValueError("no status line")
    headers: dict[str, str] = {}
    for _header in range(MAX_HEADERS + 1):
        line = (await reader.readline()).decode("latin-1")
        if not line.endswith("\n"):
            raise EOFError
        if not line.strip():
            break
        name, _colon, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    else:
        raise ValueError("too many headers")
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return int(code), headers, await _read_chunks(reader, max_bytes)
    length = headers.get("content-length")
    if length is None:
        return int(code), headers, await _read_to_end(reader, max_bytes)
    if not (length.isascii() and length.isdigit()):
        raise ValueError("no length")
    if len(length) > 9 or int(length) > max_bytes:
        raise _TooLong
    return int(code), headers, await reader.readexactly(int(length))


async def _read_to_end(reader: asyncio.StreamReader, max_bytes: int) -> bytes:
    body = bytearray()
    while part := await reader.read(MAX_LINE_BYTES):
        body += part
        if len(body) > max_bytes:
            raise _TooLong
    return bytes(body)


async def _read_chunks(reader: asyncio.StreamReader, max_bytes: int) -> bytes:
    body = bytearray()
    while True:
        size_text = (await reader.readline()).partition(b";")[0].strip()
        if not size_text or len(size_text) > 8:
            raise ValueError("no size of a chunk")
        size = int(size_text, 16)
        if size < 0:
            raise ValueError("no size of a chunk")
        if len(body) + size > max_bytes:
            raise _TooLong
        if size == 0:
            return bytes(body)
        body += await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise ValueError("a chunk without an end")


def _object(host: str, status: int, body: bytes) -> dict[str, object]:
    try:
        # Numbers with a point stay text: no float comes near an amount.
        found = json.loads(body.decode("utf-8"), parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        # LNURL services send their reasons with 400 and 404 as well.
        return found
    if status == 404:
        raise WebError(_("{host} knows nobody of this name.").format(host=host))
    if status >= 400:
        raise WebError(
            _("{host} answers with error {status}. Try again later.").format(host=host, status=status)
        )
    raise WebError(_("{host} gave an answer that makes no sense.").format(host=host))
