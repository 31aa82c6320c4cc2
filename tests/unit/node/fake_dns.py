"""A DNS server on 127.0.0.1 that knows what it is told, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from wallet.bitcoin.bech32 import bech32_encode, convert_bits
from wallet.ln.types import NodeId

__all__ = ["FakeDns", "fake_dns", "virtual_host"]


def virtual_host(node_id: NodeId | bytes, seed: str, hrp: str = "ln") -> str:
    """A node's host name below a seed, as BOLT 10 makes it."""
    return f"{bech32_encode(hrp, convert_bits(node_id, 8, 5, pad=True))}.{seed}."


class FakeDns(asyncio.DatagramProtocol):
    """Attributes: records, additional: by name and type, the records as zone files write them. asked: each question.
    garbled: answers make no sense. truncates: over UDP only the head of an answer comes; over TCP all of it."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.additional: dict[tuple[str, str], list[str]] = {}
        self.asked: list[tuple[str, str]] = []
        self.garbled = False
        self.truncates = False
        self._transport: asyncio.DatagramTransport | None = None

    def node(self, seed: str, node_id: NodeId | bytes, host: str, port: int, *, along: bool = True) -> None:
        """A node that the seed tells; its address comes along with the answer, or has to be asked for."""
        name = virtual_host(node_id, seed)
        self.records.setdefault((f"{seed}.", "SRV"), []).append(f"10 10 {port} {name}")
        kind = "AAAA" if ":" in host else "A"
        (self.additional if along else self.records)[name, kind] = [host]

    @property
    def address(self) -> tuple[str, int]:
        if self._transport is None:
            raise RuntimeError("not started")
        host, port = self._transport.get_extra_info("sockname")
        return str(host), int(port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.garbled:
            self.send(data[:2] + b"\x81\x80" + b"\xff" * 9, addr)
            return
        reply = self.answer(data)
        if self.truncates:
            reply.answer, reply.additional = [], []
            reply.flags |= dns.flags.TC
        self.send(reply.to_wire(), addr)

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(2), "big")
        reply = self.answer(await reader.readexactly(length)).to_wire()
        writer.write(len(reply).to_bytes(2, "big") + reply)
        await writer.drain()
        writer.close()

    def answer(self, data: bytes) -> dns.message.Message:
        query = dns.message.from_wire(data)
        (question,) = query.question
        key = (question.name.to_text(), dns.rdatatype.to_text(question.rdtype))
        self.asked.append(key)
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        if key in self.records:
            reply.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", key[1], self.records[key]))
        elif not any(name == key[0] for name, _kind in [*self.records, *self.additional]):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        for (name, kind), texts in self.additional.items():
            if key[1] == "SRV" and name.endswith(key[0]):
                reply.additional.append(
                    dns.rrset.from_text_list(dns.name.from_text(name), 60, "IN", kind, texts)
                )
        return reply

    def send(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None:
            self._transport.sendto(data, addr)


@contextlib.asynccontextmanager
async def fake_dns() -> AsyncIterator[FakeDns]:
    """A server that runs, over UDP and TCP."""
    loop = asyncio.get_running_loop()
    while True:
        transport, server = await loop.create_datagram_endpoint(FakeDns, local_addr=("127.0.0.1", 0))
        try:
            tcp = await asyncio.start_server(server.serve_tcp, *server.address)
            break
        except OSError:
            # Somebody has this port over TCP: another one.
            transport.close()
    try:
        yield server
    finally:
        transport.close()
        tcp.close()
        await tcp.wait_closed()
