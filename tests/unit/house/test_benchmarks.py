"""What the benchmarks take in and give out: bad input is refused in a sentence, a missed line ends in an error."""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import __main__ as all_of_them
from benchmarks import gossip, gossip_file, graph, inputs, route, simulation
from benchmarks.figures import Figure
from benchmarks.rust_lightning import unsigned
from benchmarks.topology import Topology, graph_of, read_npz, synthetic
from wallet.ln.msgs import ChannelAnnouncement, ChannelUpdate, decode_message
from wallet.ln.types import NodeId

SMALL = synthetic(nodes=60, channels=240)


def figure(value: float, better: str = "lower") -> Figure:
    return Figure(
        name="a line", value=value, unit="s", target=1.0, better="lower" if better == "lower" else "higher",
        reference="another", reference_value=2.0,
    )  # fmt: skip


def run_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: float, *arguments: str
) -> tuple[int, Path]:
    def measure(folder: Path, say: Callable[[str], None]) -> list[Figure]:
        return [figure(value)]

    result = tmp_path / "build" / "bench.json"
    monkeypatch.setattr(all_of_them, "PARTS", {"one": measure})
    monkeypatch.setattr(all_of_them, "RESULT", result)
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    return all_of_them.main(), result


def test_a_line_that_is_missed_ends_the_run_with_an_error_and_stands_in_the_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, result = run_all(monkeypatch, tmp_path, 1.5)
    assert code == 1
    printed = capsys.readouterr().out
    assert "MISSED" in printed
    assert "at most 1 s" in printed
    assert "2 s (another)" in printed
    (record,) = json.loads(result.read_text())
    wanted = {"name": "a line", "value": 1.5, "unit": "s", "target": 1.0, "better": "lower"}
    assert wanted | {"reference": "another", "reference_value": 2.0} == {
        key: record[key]
        for key in ("name", "value", "unit", "target", "better", "reference", "reference_value")
    }


def test_a_run_in_which_all_is_met_ends_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run_all(monkeypatch, tmp_path, 0.5)[0] == 0


def test_a_part_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        run_all(monkeypatch, tmp_path, 0.5, "two")
    assert ended.value.code == 2


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "", "²"])
def test_a_count_is_a_whole_number_above_zero(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        inputs.count(text)


def test_pairs_are_read_by_position_and_by_id(tmp_path: Path) -> None:
    file = tmp_path / "pairs"
    file.write_text(f"0 1 10000000\n\n{SMALL.node_ids[2].hex()} 3 1\n")
    assert route.read_pairs(file, SMALL.node_ids) == [
        route.Pair(NodeId(SMALL.node_ids[0]), NodeId(SMALL.node_ids[1]), 10_000_000),
        route.Pair(NodeId(SMALL.node_ids[2]), NodeId(SMALL.node_ids[3]), 1),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0 1\n", "line 1: a line is"),
        ("0 1 5\n0 60 5\n", "line 2: 60 is neither"),
        (f"0 {'02' * 33} 5\n", "no node of this network"),
        (f"0 {'zz' * 33} 5\n", "no node of this network"),
        ("0 1 0\n", "no amount"),
        ("0 1 -5\n", "no amount"),
        ("0 1 99999999999999999999\n", "no amount"),
        ("4 4 5\n", "nobody pays himself"),
        ("\n", "has no pairs"),
    ],
)
def test_pairs_that_make_no_sense_are_refused_with_the_line(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "pairs"
    file.write_text(text)
    with pytest.raises(inputs.InputError, match=why):
        route.read_pairs(file, SMALL.node_ids)


def test_pairs_without_a_route_are_left_out_and_counted() -> None:
    network = Topology(SMALL.node_ids, SMALL.channels[:1], SMALL.terms[:2])
    bench = route.Bench(graph_of(network), 1)
    first, second = (NodeId(network.node_ids[index]) for index in network.channels[0][1:3])
    stranger = NodeId(SMALL.node_ids[59])
    said: list[str] = []
    pairs = [route.Pair(first, second, 1_000_000), route.Pair(first, stranger, 1_000_000)]
    assert route.with_a_route(bench, pairs, 1, said.append) == pairs[:1]
    assert "1 of 2 pairs" in said[0]
    with pytest.raises(inputs.InputError, match="Not one"):
        route.with_a_route(bench, pairs[1:], 1, said.append)


def test_pairs_that_need_several_parts_have_no_route_in_one() -> None:
    bench = route.Bench(graph_of(SMALL), 1)
    for pair in bench.routable(5, 10, but_not_in_one=True):
        assert bench.has_route(pair, 10)
        assert not bench.has_route(pair, 1)


def test_a_file_of_gossip_comes_back_as_it_was_signed(tmp_path: Path) -> None:
    messages = list(gossip_file.signed(SMALL))
    gossip_file.write(tmp_path / "gossip", iter(messages))
    assert gossip_file.read(tmp_path / "gossip") == messages


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no messages"),
        (b"\x00\x10abc", "in the middle of message 1"),
        (b"\x00\x03\x01\x00x", "message 1, at byte 0"),
    ],
    ids=["empty", "cut off", "no message"],
)
def test_gossip_that_cannot_be_read_is_refused_with_its_place(tmp_path: Path, data: bytes, why: str) -> None:
    file = tmp_path / "gossip"
    file.write_bytes(data)
    with pytest.raises(inputs.InputError, match=why):
        gossip_file.read(file)


def test_gossip_with_a_wrong_signature_is_not_measured() -> None:
    messages = list(gossip_file.signed(synthetic(nodes=4, channels=4)))
    checks = gossip.checks_of(messages)
    with pytest.raises(inputs.InputError, match=r"1 of the \d+ signatures"):
        gossip.reference_seconds(bytes([checks[0] ^ 1]) + checks[1:])


def test_a_sample_of_gossip_is_whole_channels_with_their_nodes() -> None:
    sample = gossip.sample_of(list(gossip_file.signed(SMALL)), 10)
    kinds = [type(decode_message(raw)).__name__ for raw in sample]
    assert kinds.count("ChannelAnnouncement") == 10
    assert kinds.count("ChannelUpdate") == 20
    announced = [message for raw in sample if isinstance(message := decode_message(raw), ChannelAnnouncement)]
    nodes = {node for message in announced for node in (message.node_id_1, message.node_id_2)}
    assert kinds.count("NodeAnnouncement") == len(nodes)


def test_what_rust_lightning_is_told_is_the_same_network() -> None:
    """Each record is a message without its signatures; with some put back, it reads as the message."""
    records = list(unsigned(SMALL))
    assert len(records) == len(SMALL.channels) + len(SMALL.terms)
    for record, channel in zip(records, SMALL.channels, strict=False):
        message = decode_message(record[:2] + bytes(256) + record[10:])
        assert isinstance(message, ChannelAnnouncement)
        assert message.short_channel_id == channel[0]
        assert {message.node_id_1, message.node_id_2} == {SMALL.node_ids[index] for index in channel[1:3]}
        assert int.from_bytes(record[2:10], "big") == channel[3]
    for record, terms in zip(records[len(SMALL.channels) :], SMALL.terms, strict=True):
        update = decode_message(record[:2] + bytes(64) + record[2:])
        assert isinstance(update, ChannelUpdate)
        assert update.fee_proportional_millionths == terms.fee_proportional_millionths
        assert update.htlc_maximum_msat == terms.htlc_maximum_msat


def test_a_network_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    nothing, other, empty = (tmp_path / name for name in ("nothing.npz", "other.npz", "empty.npz"))
    other.write_bytes(b"this is no archive")
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("node_id.npy", b"no array")
    for file, why in ((nothing, "cannot be read"), (other, "savez"), (empty, "no array of numpy's")):
        with pytest.raises(inputs.InputError, match=why):
            read_npz(file)


@pytest.mark.parametrize(
    "module", [route, graph, gossip, simulation], ids=lambda module: str(module.__name__)
)
def test_each_benchmark_says_what_is_wrong_and_ends(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--topology", str(tmp_path / "nothing.npz")])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 2
    assert "nothing.npz cannot be read" in capsys.readouterr().err
