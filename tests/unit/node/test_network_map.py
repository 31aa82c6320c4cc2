"""The map of the network as the window gets it: made of a graph, by another process, and kept in a file."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.ln.routing.graph_builder import announce_channel, announce_node, announce_terms, node_id, scid
from wallet.bitcoin.address import REGTEST
from wallet.ln.routing.graph import NetworkGraph
from wallet.node import network_map
from wallet.node.api import CommandError
from wallet.node.map_api import NetworkMap, scid_from_text, scid_text
from wallet.node.map_worker import UNKNOWN, make_map, pack, unpack
from wallet.node.network_map import MAP_FILE, MapMaker, graph_columns

ROOT = Path(__file__).parents[3]
NAMES = "abcdef"


class Core:
    """Counts how often it is locked."""

    def __init__(self) -> None:
        self.entries = 0

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        self.entries += 1
        yield


def small_graph() -> NetworkGraph:
    """a is joined to all others; the channel to f was never looked up, and nobody knows what it asks."""
    graph = NetworkGraph(REGTEST)
    for number, name in enumerate(NAMES[1:], 1):
        capacity_sat = None if name == "f" else 500_000 * number
        graph.add_channel(announce_channel("a", name, scid(100 + number)), capacity_sat, 1)
        if name != "f":
            graph.apply_update(
                announce_terms("a", name, scid(100 + number), fee_proportional_millionths=50 * number)
            )
    graph.apply_node_announcement(announce_node("a", address_data=b"\x01\x7f\x00\x00\x01\x26\x07"))
    graph.apply_node_announcement(announce_node("b"))
    return graph


def wallet_node(graph: NetworkGraph) -> Any:
    said: list[str] = []
    made = SimpleNamespace(
        core=Core(), graph=graph, best_height=5_000, said=said, own=[],
        log=lambda _level, message, *args: said.append(message % args), loop=None,
        keys_manager=SimpleNamespace(get_node_id=lambda: node_id("us")),
    )  # fmt: skip
    made.manager = SimpleNamespace(list_channels=lambda: tuple(made.own))
    return made


def map_of(graph: NetworkGraph, path: str = "", height: int = 5_000) -> NetworkMap:
    _version, columns = graph_columns(wallet_node(graph))
    return NetworkMap(
        make_map(columns | {"height": str(height).encode(), "path": path.encode()}), height=height
    )


@pytest.fixture
def small() -> NetworkMap:
    return map_of(small_graph())


def place(made: NetworkMap, name: str) -> int:
    found = made.node(node_id(name).hex())
    assert found is not None
    return found


def test_names_colours_and_addresses_come_from_the_announcements(small: NetworkMap) -> None:
    a, b, c = (place(small, name) for name in "abc")
    assert (small.names[a], small.names[b], small.names[c]) == ("node a", "node b", "")
    assert small.addresses[a] == "127.0.0.1:9735"
    assert small.addresses[b] == ""
    assert small.colours[3 * a : 3 * a + 3] == b"\x10\x20\x30"
    assert (small.announced[b], small.announced[c]) == (1, 0)


def test_channels_stand_in_order_of_capacity_and_the_unknown_last(small: NetworkMap) -> None:
    assert list(small.capacity_sat) == [2_000_000, 1_500_000, 1_000_000, 500_000, -1]
    assert scid_text(small.scid[0]) == "104x1x0"
    a = place(small, "a")
    assert list(small.channels(a)) == [0, 1, 2, 3, 4]
    assert [small.other_end(channel, a) for channel in small.channels(a)] == [
        place(small, n) for n in "edcbf"
    ]
    assert small.node_capacity_sat[a] == 5_000_000


def test_fees_are_those_of_each_side_and_a_nodes_own_is_their_median(small: NetworkMap) -> None:
    channel = small.channel(scid(104))
    assert channel is not None
    a = place(small, "a")
    side = 0 if small.node_1[channel] == a else 1
    assert small.fee_millionths[2 * channel + side] == 200
    assert small.fee_millionths[2 * channel + 1 - side] == -1
    assert small.node_fee_millionths[a] == 150
    assert small.node_fee_millionths[place(small, "b")] == -1


def test_classes_tell_capacity_fee_and_age(small: NetworkMap) -> None:
    a, f = place(small, "a"), place(small, "f")
    assert small.node_classes["capacity"][a] == 2
    assert small.node_classes["capacity"][f] == UNKNOWN
    assert small.node_classes["fee"][a] == 2
    assert small.node_classes["fee"][f] == UNKNOWN
    assert small.node_classes["age"][a] == 1  # of block 101 at height 5,000: more than a month
    assert map_of(small_graph(), height=110).node_classes["age"][a] == 0
    assert small.channel_classes["capacity"][4] == UNKNOWN


def test_channels_that_are_gone_and_nodes_without_any_are_not_on_the_map() -> None:
    graph = small_graph()
    graph.channel_failed_permanent(scid(102), 1)
    made = map_of(graph)
    assert made.node(node_id("c").hex()) is None
    assert (made.node_count, made.channel_count) == (5, 4)


def test_a_map_is_kept_in_the_folder_and_nodes_stay_where_they_were(tmp_path: Path) -> None:
    net = net_of(80)
    path = tmp_path / MAP_FILE
    before = map_of(net, str(path))
    assert path.exists()
    net.channel_failed_permanent(scid(1), 1)
    after = map_of(net, str(path))
    moved = [
        node
        for node in range(after.node_count)
        if (old := before.node(after.node_id(node))) is not None
        and (after.x[node], after.y[node]) != (before.x[old], before.y[old])
    ]
    assert moved == []


@pytest.mark.parametrize(
    "damage", [b"", b"{}", b'{"version": 1}\n\x01', b"\xff" * 100], ids=["0", "1", "2", "3"]
)
def test_a_damaged_file_costs_a_map_made_anew(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / MAP_FILE
    path.write_bytes(damage)
    made = map_of(small_graph(), str(path))
    assert made.node_count == 6
    assert unpack(path.read_bytes())["version"]


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_file(tmp_path: Path) -> None:
    assert map_of(small_graph(), str(tmp_path / "nowhere" / MAP_FILE)).node_count == 6


def test_a_map_that_few_are_left_of_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / MAP_FILE
    map_of(net_of(80), str(path))
    made = map_of(net_of(80, prefix="other"), str(path))
    assert unpack(path.read_bytes())["original"] == b"\x01" * made.node_count


def net_of(nodes: int, prefix: str = "n") -> NetworkGraph:
    """A hub, and each of the others joined to it and to the one before."""
    graph = NetworkGraph(REGTEST)
    for number in range(1, nodes):
        graph.add_channel(
            announce_channel(f"{prefix}0", f"{prefix}{number}", scid(number)), 1_000_000 + number, 1
        )
        if number > 1:
            graph.add_channel(
                announce_channel(f"{prefix}{number}", f"{prefix}{number - 1}", scid(number, 2)), 50_000, 1
            )
    return graph


def test_an_empty_graph_gives_an_empty_map() -> None:
    made = map_of(NetworkGraph(REGTEST))
    assert (made.node_count, made.channel_count, made.names) == (0, 0, ())
    assert made.search("a") == []


def test_the_process_reads_columns_and_writes_the_same_map() -> None:
    _version, columns = graph_columns(wallet_node(small_graph()))
    columns |= {"height": b"5000", "path": b""}
    done = subprocess.run(
        [sys.executable, "-m", "wallet.node.map_worker"],
        input=pack(columns),
        capture_output=True,
        check=True,
        cwd=ROOT,
        timeout=60,
    )
    assert unpack(done.stdout) == make_map(columns)


def made_by(node: Any, folder: Path, times: int = 1) -> list[NetworkMap]:
    async def work() -> list[NetworkMap]:
        node.loop = asyncio.get_running_loop()
        maker = MapMaker(cast(Any, node), folder)
        return [await maker.current() for _ in range(times)]

    return asyncio.run(work())


def test_the_map_is_made_once_for_one_graph(tmp_path: Path) -> None:
    node = wallet_node(small_graph())
    first, second = made_by(node, tmp_path, 2)
    assert first is second
    assert first.node_count == 6
    assert (tmp_path / MAP_FILE).exists()


def own_channel(peer: str, number: int, *, is_ready: bool = True) -> SimpleNamespace:
    return SimpleNamespace(
        counterparty_node_id=node_id(peer),
        short_channel_id=scid(number),
        channel_value_sat=700_000,
        is_channel_ready=is_ready,
    )


def test_a_small_map_shows_our_own_channels_and_keeps_them_to_itself(tmp_path: Path) -> None:
    node = wallet_node(small_graph())
    node.own = [own_channel("a", 900), own_channel("z", 901), own_channel("b", 902, is_ready=False)]
    (made,) = made_by(node, tmp_path)
    assert (made.node_count, made.channel_count) == (6 + 2, 5 + 2)
    us = place(made, "us")
    assert {made.other_end(channel, us) for channel in made.channels(us)} == {
        place(made, "a"),
        place(made, "z"),
    }
    assert not (tmp_path / MAP_FILE).exists()


def test_without_any_graph_we_and_our_peers_are_the_map_and_it_grows_with_us(tmp_path: Path) -> None:
    node = wallet_node(NetworkGraph(REGTEST))

    async def work() -> list[int]:
        node.loop = asyncio.get_running_loop()
        maker = MapMaker(cast(Any, node), tmp_path)
        counts = []
        for own in ([], [own_channel("a", 900)], [own_channel("a", 900), own_channel("b", 901)]):
            node.own = own
            counts.append((await maker.current()).node_count)
        return counts

    assert asyncio.run(work()) == [0, 2, 3]


def test_a_channel_of_ours_that_is_announced_is_shown_once() -> None:
    node = wallet_node(small_graph())
    _version, columns = graph_columns(node)
    own = ((node_id("b"), scid(101), 500_000),)
    assert network_map.with_own(columns, node_id("a"), own)["scid"] == columns["scid"]


def test_the_lock_is_let_go_between_parts_of_the_announcements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_map, "ANNOUNCEMENTS_AT_ONCE", 2)
    node = wallet_node(small_graph())
    graph_columns(node)
    assert node.core.entries == 1 + 3


def test_a_process_that_fails_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        network_map, "worker_command", lambda: [sys.executable, "-c", "raise SystemExit('oh')"]
    )
    node = wallet_node(small_graph())
    with pytest.raises(CommandError, match="could not be made"):
        made_by(node, tmp_path)
    assert node.said == ["the map of the network could not be made: oh"]


def test_closing_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = threading.Event()

    def command() -> list[str]:
        began.set()
        return [sys.executable, "-c", "import signal; signal.pause()"]

    monkeypatch.setattr(network_map, "worker_command", command)
    node = wallet_node(small_graph())

    async def work() -> None:
        node.loop = asyncio.get_running_loop()
        maker = MapMaker(cast(Any, node), tmp_path)
        task = asyncio.ensure_future(maker.current())
        assert await node.loop.run_in_executor(None, began.wait, 60)
        # Waits until the process is there: it is started under the same guard.
        maker.close()
        with pytest.raises(CommandError):
            await task

    asyncio.run(work())


def test_a_frozen_program_starts_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert network_map.worker_command() == [sys.executable, "--make-network-map"]


@pytest.mark.parametrize(
    "text", ["", "1x2", "1x2x3x4", "ax2x3", "1x2x70000", "99999999x1x1", "١x2x3"], ids=str
)
def test_what_is_no_channel_id_is_none(text: str) -> None:
    assert scid_from_text(text) is None


def test_channel_ids_are_read_with_either_sign() -> None:
    assert scid_from_text(" 104X1x0 ") == scid_from_text("104:1:0") == scid(104)


def test_search_finds_names_in_any_case_and_ids_by_their_beginning(small: NetworkMap) -> None:
    a, b = place(small, "a"), place(small, "b")
    assert small.search("NODE") == [a, b]
    assert small.search("de b") == [b]
    assert small.search(small.node_id(b)[:10]) == [b]
    assert small.search("nobody") == []


def test_names_that_begin_with_the_text_come_first_then_the_larger_ones() -> None:
    columns = make_map(graph_columns(wallet_node(small_graph()))[1] | {"height": b"1", "path": b""})
    names = ["x hub", "hub", "Hub two", "", "the hub", "other"]
    columns["names"] = "\n".join(names).encode()
    columns["folded"] = "\n".join(name.casefold() for name in names).encode()
    columns["node_capacity_sat"] = array("q", [9, 1, 2, 8, 7, 6]).tobytes()
    assert NetworkMap(columns).search("hub") == [2, 1, 0, 4]
    assert NetworkMap(columns).search("hub", limit=3) == [2, 1, 0]
