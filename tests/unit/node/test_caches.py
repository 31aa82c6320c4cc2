"""The graph and the scores as files: what is saved comes back, what is damaged is thrown away; of the scores, which
tell where payments went, nothing is in the clear."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.ln.routing.graph_builder import announce_channel, announce_terms, node_id, scid
from wallet.bitcoin.address import REGTEST, SIGNET
from wallet.chain.interfaces import LogLevel
from wallet.ln.routing.gossip import NetworkGraph
from wallet.ln.routing.scoring import ProbabilisticScorer
from wallet.node.caches import RoutingCaches

CHANNEL = scid(500)
SEED = bytes(range(64))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class Lines:
    """A `Logger` that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, level: LogLevel, message: str, *args: object) -> None:
        self.lines.append(message % args)


def a_graph() -> NetworkGraph:
    graph = NetworkGraph(REGTEST)
    graph.add_channel(announce_channel("a", "b", CHANNEL), 1_000_000, 1_700_000_000)
    graph.apply_update(announce_terms("a", "b", CHANNEL))
    return graph


def caches(folder: Path) -> tuple[RoutingCaches, Lines]:
    log = Lines()
    return RoutingCaches(folder, folder / "w", SEED, REGTEST, log), log


@pytest.fixture(autouse=True)
def wallet_folder(tmp_path: Path) -> Path:
    made = tmp_path / "w"
    made.mkdir()
    return made


def save(store: RoutingCaches, graph: NetworkGraph) -> None:
    store.save(graph.write(), ProbabilisticScorer(graph).write())


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    store, log = caches(tmp_path)
    save(store, a_graph())
    graph, scorer = store.read()
    assert graph.channel_count == 1
    assert graph.nodes_of(CHANNEL) == tuple(sorted((node_id("a"), node_id("b"))))
    assert graph.write() == a_graph().write()
    assert scorer.write() == ProbabilisticScorer(graph).write()
    assert log.lines == []
    assert files(tmp_path) == ["graph.bin", "w/scores.bin"]


def test_scores_are_sealed_and_open_for_one_wallet_only(tmp_path: Path) -> None:
    store, log = caches(tmp_path)
    (tmp_path / "scores.bin").write_bytes(b"of an earlier Leyden")
    plain = b"channels that payments went through"
    store.save(a_graph().write(), plain)
    assert plain not in (tmp_path / "w" / "scores.bin").read_bytes()
    assert store._unsealed((tmp_path / "w" / "scores.bin").read_bytes()) == plain
    other = RoutingCaches(tmp_path, tmp_path / "w", bytes(64), REGTEST, log)
    other.read()
    assert [line.split()[0] for line in log.lines] == ["scores.bin"]
    assert files(tmp_path) == ["graph.bin"], "the unsealed ones are gone as well"


def test_nothing_saved_is_an_empty_graph(tmp_path: Path) -> None:
    store, log = caches(tmp_path)
    graph, _scorer = store.read()
    assert graph.channel_count == 0
    assert log.lines == []


def test_damage_is_thrown_away_and_said(tmp_path: Path) -> None:
    store, log = caches(tmp_path)
    save(store, a_graph())
    for name in ("graph.bin", "w/scores.bin"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[:-2])
    graph, _scorer = store.read()
    assert graph.channel_count == 0
    assert [line.split()[0] for line in log.lines] == ["graph.bin", "scores.bin"]
    assert files(tmp_path) == []


def test_another_networks_graph_is_not_read(tmp_path: Path) -> None:
    store, _log = caches(tmp_path)
    save(store, a_graph())
    other = RoutingCaches(tmp_path, tmp_path / "w", SEED, SIGNET, Lines())
    assert other.read()[0].channel_count == 0


def test_a_folder_that_cannot_be_written_costs_a_line(tmp_path: Path) -> None:
    store, log = caches(tmp_path / "gone")
    save(store, a_graph())
    assert [line.split()[0] for line in log.lines] == ["graph.bin", "scores.bin"]
