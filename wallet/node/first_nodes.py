"""Where a wallet without a graph begins: the shipped lists of seeds and public nodes, and the DNS seeds of BOLT 10.

A seed is asked for SRV records. Each names a node by a virtual host, whose first label is the node's id, and a port;
the host's addresses come along in the answer, or are asked for. What an answer claims is believed for dialling only:
who answers there has to prove the id.

DNS goes out in the clear, past any proxy. So nobody makes a `DnsSeeds` where a proxy is set (`GossipPeers`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wallet.bitcoin.bech32 import Spec, bech32_decode, convert_bits
from wallet.bitcoin.curve import is_valid_pubkey
from wallet.bitcoin.errors import DecodeError
from wallet.ln.types import NodeId
from wallet.node.sockets import NodeUri, parse_node_uri
from wallet.node.web import is_public_address

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver
    from dns.message import Message
    from dns.name import Name

__all__ = ["DnsSeeds", "FirstNodes", "Seeds", "is_public", "read_first_nodes"]

RESOURCES = Path(__file__).resolve().parents[2] / "resources" / "nodes"
NODE_HRP = "ln"
NODE_ID_LENGTH = 33
QUERY_TIMEOUT_SECONDS = 5.0
"""For one question, with its repetitions."""
MAX_NODES_PER_SEED = 12
"""Of the 25 that a seed tells: each may cost a question of its own for the address."""


@dataclass(frozen=True, slots=True)
class FirstNodes:
    """Attributes: seeds: roots of DNS seeds. nodes: public nodes."""

    seeds: tuple[str, ...] = ()
    nodes: tuple[NodeUri, ...] = ()


def read_first_nodes(network_name: str, default_port: int, folder: Path = RESOURCES) -> FirstNodes:
    """The shipped list of a network; empty where there is none. A node's name may follow it. Raises `DecodeError` for a
    line that is neither seed nor node."""
    path = folder / f"{network_name}.txt"
    if not path.is_file():
        return FirstNodes()
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    entries = [line for line in lines if line and not line.startswith("#")]
    return FirstNodes(
        seeds=tuple(entry.removeprefix("seed ") for entry in entries if entry.startswith("seed ")),
        nodes=tuple(
            parse_node_uri(entry.split(" ")[0], default_port)
            for entry in entries
            if not entry.startswith("seed ")
        ),
    )


def is_public(host: str) -> bool:
    """Whether it is an IP address of the public internet: what strangers tell must not lead into the home network."""
    return is_public_address(host)


class Seeds(Protocol):
    """Tells nodes of the network."""

    async def nodes_of(self, seed: str) -> Sequence[NodeUri]:
        """Nodes that a seed tells now, in no order; none where it does not answer. Never raises."""
        ...


class DnsSeeds:
    """`Seeds` over DNS. dnspython is imported when the first question is asked: that takes a tenth of a second."""

    def __init__(self, name_server: tuple[str, int] | None = None) -> None:
        """`name_server`, an IP address and a port, is asked rather than the system's."""
        self._name_server = name_server

    async def nodes_of(self, seed: str) -> Sequence[NodeUri]:
        loop = asyncio.get_running_loop()
        resolver = await loop.run_in_executor(None, self._resolver)
        if resolver is None:
            return ()
        answer = await _ask(resolver, seed, "SRV")
        told = [] if answer is None else _told_nodes(answer)
        chosen = random.sample(told, min(len(told), MAX_NODES_PER_SEED))
        hosts = await asyncio.gather(*(_host(resolver, answer, name) for _node_id, name, _port in chosen))
        return [
            NodeUri(node_id, host, port)
            for (node_id, _name, port), host in zip(chosen, hosts, strict=True)
            if host
        ]

    def _resolver(self) -> Resolver | None:
        """On a thread; None where the system names no name server."""
        from dns.asyncresolver import Resolver
        from dns.exception import DNSException

        try:
            resolver = Resolver(configure=self._name_server is None)
        except DNSException:
            return None
        if self._name_server is not None:
            resolver.nameservers = [self._name_server[0]]
            resolver.port = self._name_server[1]
        resolver.lifetime = QUERY_TIMEOUT_SECONDS
        return resolver


async def _ask(resolver: Resolver, name: Name | str, kind: str) -> Message | None:
    from dns.exception import DNSException

    try:
        # BOLT 10 has conditions as well (`r0.a6.`); seeds that run today answer nothing to them.
        answer = await resolver.resolve(name, kind, search=False)
    except (DNSException, OSError):
        return None
    return answer.response


def _told_nodes(answer: Message) -> list[tuple[NodeId, Name, int]]:
    """Node id, virtual host and port of each SRV record that makes sense."""
    from dns.rdtypes.IN.SRV import SRV

    told = []
    for rrset in answer.answer:
        for record in rrset:
            if isinstance(record, SRV) and record.port:
                node_id = _node_id(record.target)
                if node_id is not None:
                    told.append((node_id, record.target, record.port))
    return told


def _node_id(name: Name) -> NodeId | None:
    """The id in a virtual host's first label. BOLT 10, Reply Construction."""
    try:
        hrp, values = bech32_decode(name.labels[0].decode("ascii"), Spec.BECH32)
        node_id = bytes(convert_bits(values, 5, 8, pad=False))
    except (DecodeError, UnicodeDecodeError):
        return None
    if hrp != NODE_HRP or len(node_id) != NODE_ID_LENGTH or not is_valid_pubkey(node_id):
        return None
    return NodeId(node_id)


async def _host(resolver: Resolver, answer: Message | None, name: Name) -> str:
    """A public address of a virtual host: from the answer, else asked for; "" where there is none."""
    found = [] if answer is None else _addresses(answer.additional, name)
    for kind in ("A", "AAAA"):
        if found:
            break
        reply = await _ask(resolver, name, kind)
        found = [] if reply is None else _addresses(reply.answer, name)
    return found[0] if found else ""


def _addresses(section: Sequence[object], name: Name) -> list[str]:
    from dns.rdtypes.IN.A import A
    from dns.rdtypes.IN.AAAA import AAAA
    from dns.rrset import RRset

    return [
        record.address
        for rrset in section
        if isinstance(rrset, RRset) and rrset.name == name
        for record in rrset
        if isinstance(record, A | AAAA) and is_public(record.address)
    ]
