"""The address descriptors of BOLT 7: where a node listens."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from wallet.bitcoin.errors import APIError, DecodeError
from wallet.i18n import _

__all__ = ["AddressKind", "SocketAddress", "decode_addresses", "encode_addresses"]


class AddressKind(IntEnum):
    """The descriptor types that are defined; type 3, Tor v2, no longer works and is kept as bytes only."""

    IPV4 = 1
    IPV6 = 2
    TOR_V3 = 4
    HOSTNAME = 5


_TOR_V2: Final = 3
_HOST_LENGTHS: Final = {1: 4, 2: 16, 3: 10, 4: 35}
_HOSTNAME_BYTES: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


@dataclass(frozen=True, slots=True, order=True)
class SocketAddress:
    """Where to connect to.

    Attributes:
        kind: the descriptor type.
        host: as people write it: dotted quad, colons, `....onion`, or an ASCII host name.
        port: 1 to 65535 in what we make; 0 may be met in what peers send and is dropped there.
    """

    kind: AddressKind
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.kind is AddressKind.IPV6 else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: str, default_port: int = 9735) -> SocketAddress:
        """Read `host`, `host:port` or `[v6]:port`; raises `DecodeError` with a sentence."""
        text = text.strip()
        host, port_text = text, ""
        if text.startswith("["):
            host, bracket, rest = text[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                raise DecodeError(_("“{text}” is not an address.").format(text=text))
            port_text = rest[1:]
        elif text.count(":") == 1:
            host, _colon, port_text = text.partition(":")
        if port_text and not (port_text.isascii() and port_text.isdigit()):
            raise DecodeError(_("“{port_text}” is not a port.").format(port_text=port_text))
        port = int(port_text) if port_text else default_port
        if not 0 < port <= 65_535:
            raise DecodeError(_("{port} is not a port.").format(port=port))
        return cls(_kind_of(host), host.lower() if host.lower().endswith(".onion") else host, port)

    def encode(self) -> bytes:
        """Write the descriptor, its type byte included."""
        if not 0 <= self.port <= 65_535:
            raise APIError(f"{self.port} is not a port.")
        if self.kind is AddressKind.HOSTNAME:
            name = self.host.encode("ascii")
            body = bytes((len(name),)) + name
        elif self.kind is AddressKind.TOR_V3:
            body = base64.b32decode(self.host.removesuffix(".onion").upper())
        else:
            body = ipaddress.ip_address(self.host).packed
        return bytes((self.kind,)) + body + self.port.to_bytes(2, "big")


def _kind_of(host: str) -> AddressKind:
    if host.lower().endswith(".onion"):
        try:
            raw = base64.b32decode(host[:-6].upper())
        except ValueError as error:
            raise DecodeError(_("“{host}” is not an onion address.").format(host=host)) from error
        if len(raw) != 35:
            raise DecodeError(_("“{host}” is not a version 3 onion address.").format(host=host))
        return AddressKind.TOR_V3
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        if not host or len(host) > 255 or not _HOSTNAME_BYTES.issuperset(host.encode("utf-8")):
            raise DecodeError(_("“{host}” is not a host name.").format(host=host)) from None
        return AddressKind.HOSTNAME
    return AddressKind.IPV4 if version == 4 else AddressKind.IPV6


def encode_addresses(addresses: Iterable[SocketAddress]) -> bytes:
    """Write descriptors in ascending order of type. BOLT 7, node_announcement, sender."""
    return b"".join(sorted(address.encode() for address in addresses))


def decode_addresses(data: bytes) -> tuple[SocketAddress, ...]:
    """Read descriptors up to the first of an unknown type; `DecodeError` when a known one is cut short.

    Tor v2, port 0 (except Tor) and any host name after the first are left out.
    """
    addresses: list[SocketAddress] = []
    offset, end = 0, len(data)
    hostnames = 0
    while offset < end:
        kind = data[offset]
        offset += 1
        if kind == AddressKind.HOSTNAME:
            if offset >= end:
                raise DecodeError("A host name is cut short.")
            length = data[offset]
            offset += 1
        elif kind in _HOST_LENGTHS:
            length = _HOST_LENGTHS[kind]
        else:
            # BOLT 7, node_announcement, receiver: what follows an unknown type cannot be read.
            break
        if offset + length + 2 > end:
            raise DecodeError(f"An address of type {kind} is cut short.")
        raw = data[offset : offset + length]
        port = int.from_bytes(data[offset + length : offset + length + 2], "big")
        offset += length + 2
        if kind == _TOR_V2:
            continue
        if kind == AddressKind.HOSTNAME:
            hostnames += 1
            if hostnames > 1:
                continue
            if not raw or not _HOSTNAME_BYTES.issuperset(raw):
                raise DecodeError("A host name has characters that no host name has.")
            host = raw.decode("ascii")
        elif kind == AddressKind.TOR_V3:
            host = base64.b32encode(raw).decode("ascii").lower() + ".onion"
        elif kind == AddressKind.IPV4:
            host = str(ipaddress.IPv4Address(raw))
        else:
            host = str(ipaddress.IPv6Address(raw))
        # BOLT 7: port 0 means nothing for these kinds.
        if port == 0 and kind != AddressKind.TOR_V3:
            continue
        addresses.append(SocketAddress(AddressKind(kind), host, port))
    return tuple(addresses)


def count_hostnames(data: bytes) -> int:
    """Count host names: an announcement with two is not passed on. BOLT 7, node_announcement, receiver."""
    count = offset = 0
    while offset < len(data):
        kind = data[offset]
        if kind == AddressKind.HOSTNAME and offset + 1 < len(data):
            count += 1
            offset += 4 + data[offset + 1]
        elif kind in _HOST_LENGTHS:
            offset += 3 + _HOST_LENGTHS[kind]
        else:
            break
    return count
