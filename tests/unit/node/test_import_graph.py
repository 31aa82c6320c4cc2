"""The command `import_graph`: what it takes in, what it says, and what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.ln.routing.graph_builder import NOW
from tests.unit.ln.routing.snapshot_builder import snapshot
from wallet.bitcoin.address import REGTEST
from wallet.ln.routing import rapid_gossip
from wallet.ln.routing.gossip import NetworkGraph
from wallet.node.api import CommandError, Json
from wallet.node.commands import network, run

SEEN_AT = NOW.at - 3_600


class StandIn:
    """What the command asks of a node."""

    failure = ""
    imported_percent: int | None = None

    def __init__(self) -> None:
        self.graph = NetworkGraph(REGTEST)
        self.graph_is_read = True
        self.options = self.core = self.views = self
        self.network = REGTEST
        self.is_locked = False
        self.published: list[int | None] = []

    def wall_clock_at(self) -> int:
        return NOW.at

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        self.is_locked = True
        yield
        self.is_locked = False

    def publish_soon(self) -> None:
        self.published.append(self.imported_percent)


def import_graph(node: Any, path: Path | str) -> Json:
    return asyncio.run(run(node, "import_graph", {"file": str(path)}))


def test_a_snapshot_is_taken_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "snapshot.lngossip"
    file.write_bytes(snapshot(seen_at=SEEN_AT))
    node = StandIn()
    locked = []
    add = node.graph.add_unsigned_channel

    def watched(*arguments: Any) -> bool:
        locked.append(node.is_locked)
        return add(*arguments)

    monkeypatch.setattr(node.graph, "add_unsigned_channel", watched)
    told = {"channels": 2, "seen_at": SEEN_AT, "age_seconds": 3_600}
    assert import_graph(node, file) == {**told, "new_channels": 2, "new_updates": 2}
    assert (node.graph.channel_count, node.graph.unchecked_count) == (2, 2)
    assert node.published == [0, 100, None]
    assert locked == [True, True]
    assert import_graph(node, file) == {**told, "new_channels": 0, "new_updates": 2}


@pytest.mark.parametrize(
    ("contents", "why"),
    [
        (snapshot(seen_at=NOW.at - 15 * 86_400), "two weeks old"),
        (snapshot(seen_at=SEEN_AT)[:-1], r"cannot be used: It is damaged or cut short\.$"),
        (b"something else", "not a snapshot"),
        (None, "No such file"),
    ],
    ids=["old", "cut", "other", "none"],
)
def test_what_cannot_be_taken_in_is_refused_in_words(
    tmp_path: Path, contents: bytes | None, why: str
) -> None:
    file = tmp_path / "snapshot.lngossip"
    if contents is not None:
        file.write_bytes(contents)
    node = StandIn()
    with pytest.raises(CommandError, match=why) as raised:
        import_graph(node, file)
    assert str(file) in raised.value.message
    assert node.graph.channel_count == 0
    assert node.published == [0, None]


def test_it_tells_how_much_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rapid_gossip, network):
        monkeypatch.setattr(module, "RECORDS_PER_STEP", 1)
    file = tmp_path / "snapshot.lngossip"
    file.write_bytes(snapshot(seen_at=SEEN_AT))
    node = StandIn()
    import_graph(node, file)
    # Two channels, two sides' terms, and what was left.
    assert node.published == [0, 20, 40, 60, 80, 100, None]


def test_one_at_a_time(tmp_path: Path) -> None:
    node = StandIn()
    node.imported_percent = 40
    with pytest.raises(CommandError, match="already"):
        import_graph(node, tmp_path / "snapshot.lngossip")
    assert node.imported_percent == 40


def test_the_path_is_whole_and_the_graph_of_last_time_is_in_place(tmp_path: Path) -> None:
    node = StandIn()
    with pytest.raises(CommandError, match="whole path"):
        import_graph(node, "snapshot.lngossip")
    node.graph_is_read = False
    with pytest.raises(CommandError, match="Try again"):
        import_graph(node, tmp_path / "snapshot.lngossip")
