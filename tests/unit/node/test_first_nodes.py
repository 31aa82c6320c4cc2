"""Where a wallet without a graph begins: what is shipped, and what the seeds of BOLT 10 tell."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.unit.ln.routing.graph_builder import node_id
from tests.unit.node.fake_dns import FakeDns, fake_dns, virtual_host
from wallet.bitcoin.address import NETWORKS
from wallet.ln.types import DecodeError
from wallet.node import first_nodes
from wallet.node.first_nodes import DnsSeeds, is_public, read_first_nodes
from wallet.node.sockets import NodeUri

SEED = "nodes.seed.example"
HERE, THERE = "8.8.4.4", "2001:4860:4860::8844"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_nodes, "QUERY_TIMEOUT_SECONDS", 60.0)


async def _tell(server: FakeDns) -> Sequence[NodeUri]:
    return await DnsSeeds(server.address).nodes_of(SEED)


def told(*nodes: tuple[str, str, int], along: bool = True) -> tuple[set[str], list[str]]:
    """What a seed with these nodes tells, and which kinds of questions that took."""

    async def ask() -> tuple[set[str], list[str]]:
        async with fake_dns() as server:
            for name, host, port in nodes:
                server.node(SEED, node_id(name), host, port, along=along)
            # A question that is asked again because the machine is busy counts once.
            return {str(uri) for uri in await _tell(server)}, [kind for _name, kind in set(server.asked)]

    return asyncio.run(ask())


def test_the_shipped_lists_can_be_read() -> None:
    found = {name: read_first_nodes(name, 9735) for name in NETWORKS}
    assert {name: bool(first.seeds) for name, first in found.items()} == {
        "mainnet": True,
        "testnet4": True,
        "signet": True,
        "regtest": False,
        "sandbox": False,
    }
    assert len(found["mainnet"].nodes) > 20
    assert len(found["signet"].nodes) > 10
    for first in found.values():
        assert len({uri.node_id for uri in first.nodes}) == len(first.nodes)
    assert all(is_public(uri.host) for uri in found["mainnet"].nodes)


def test_a_line_that_is_no_node_is_found(tmp_path: Path) -> None:
    (tmp_path / "here.txt").write_text("# words\nseed a.example\nnonsense\n")
    with pytest.raises(DecodeError):
        read_first_nodes("here", 9735, tmp_path)


def test_each_of_a_seeds_nodes_has_its_id_its_port_and_an_address() -> None:
    nodes, kinds = told(("a", HERE, 9735), ("b", THERE, 4280))
    assert nodes == {f"{node_id('a').hex()}@{HERE}:9735", f"{node_id('b').hex()}@[{THERE}]:4280"}
    assert kinds == ["SRV"]


def test_an_address_that_does_not_come_along_is_asked_for() -> None:
    nodes, kinds = told(("a", HERE, 9735), ("b", THERE, 9735), along=False)
    assert nodes == {f"{node_id('a').hex()}@{HERE}:9735", f"{node_id('b').hex()}@[{THERE}]:9735"}
    assert sorted(kinds) == ["A", "A", "AAAA", "SRV"]


@pytest.mark.parametrize("host", ["192.168.1.1", "127.0.0.1", "10.0.0.7", "169.254.1.1", "fe80::1", "::1"])
def test_what_is_told_does_not_lead_into_the_home_network(host: str) -> None:
    assert told(("a", host, 9735), ("b", HERE, 9735))[0] == {f"{node_id('b').hex()}@{HERE}:9735"}


def test_what_is_no_node_is_passed_over() -> None:
    async def ask() -> Sequence[NodeUri]:
        async with fake_dns() as server:
            server.node(SEED, b"\x02" + bytes(32), HERE, 9735)
            server.node(SEED, node_id("short")[:32], HERE, 9735)
            server.node(SEED, node_id("port"), HERE, 0)
            other = virtual_host(node_id("other"), SEED, hrp="lx")
            server.records[f"{SEED}.", "SRV"] += [f"10 10 9735 {other}", f"10 10 9735 www.{SEED}."]
            return await _tell(server)

    assert list(asyncio.run(ask())) == []


def test_an_answer_that_is_too_long_for_udp_is_asked_for_again() -> None:
    async def ask() -> Sequence[NodeUri]:
        async with fake_dns() as server:
            server.truncates = True
            for number in range(25):
                server.node(SEED, node_id(f"n{number}"), HERE, 9735)
            return await _tell(server)

    assert len(asyncio.run(ask())) == first_nodes.MAX_NODES_PER_SEED


def test_no_more_than_a_few_of_many_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_nodes, "MAX_NODES_PER_SEED", 2)
    nodes, kinds = told(*((name, HERE, 9735) for name in "abcde"), along=False)
    assert len(nodes) == 2
    assert sorted(kinds) == ["A", "A", "SRV"]


@pytest.mark.parametrize("how", ["unknown", "garbled", "silent"])
def test_a_seed_that_does_not_answer_tells_nothing(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_nodes, "QUERY_TIMEOUT_SECONDS", 0.2)

    async def ask() -> Sequence[NodeUri]:
        async with fake_dns() as server:
            server.garbled = how == "garbled"
            if how == "silent":
                monkeypatch.setattr(server, "send", lambda data, addr: None)
            return await _tell(server)

    assert list(asyncio.run(ask())) == []


def test_dnspython_is_imported_for_the_first_question_only() -> None:
    code = "import sys, wallet.node.node; sys.exit('dns' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
