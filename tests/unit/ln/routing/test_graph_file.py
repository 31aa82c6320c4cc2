"""The graph's file: messages stay in it, what came since is kept, and damage is met."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.unit.ln.routing.graph_builder import (
    NOW,
    announce_channel,
    announce_node,
    announce_terms,
    node_id,
    scid,
)
from tests.unit.node.test_caches import caches
from wallet.bitcoin.address import REGTEST
from wallet.bitcoin.errors import DecodeError
from wallet.ln.routing.graph import NetworkGraph
from wallet.ln.routing.graph_file import PREFIX_LENGTH, read_prefix

FIRST, SECOND = scid(500), scid(501)


def a_graph() -> NetworkGraph:
    graph = NetworkGraph(REGTEST)
    for a, b, channel in (("a", "b", FIRST), ("b", "c", SECOND)):
        graph.add_channel(announce_channel(a, b, channel), 1_000_000, NOW.at)
        graph.apply_update(announce_terms(a, b, channel))
        graph.apply_update(announce_terms(b, a, channel))
    graph.apply_node_announcement(announce_node("a"))
    return graph


def test_messages_stay_in_the_file(tmp_path: Path) -> None:
    store, log = caches(tmp_path)
    written = a_graph()
    assert written.fresh_length > 1_000
    assert store.save_graph(written.image()) is not None
    graph, _scorer = store.read()
    assert graph.fresh_length == 0
    assert graph.channel_announcement(FIRST) == announce_channel("a", "b", FIRST)
    assert graph.channel_update(SECOND, 0) == written.channel_update(SECOND, 0)
    assert graph.node_announcement(node_id("a")) == announce_node("a")
    assert graph.write() == written.write()
    assert log.lines == []


def test_a_saved_graph_reads_from_the_file_what_has_not_changed_since(tmp_path: Path) -> None:
    store, _log = caches(tmp_path)
    graph = a_graph()
    image = graph.image()
    newer = announce_terms("a", "b", FIRST, timestamp_at=NOW.at - 1)
    graph.apply_update(newer)
    graph.channel_failed_permanent(SECOND, NOW.at)
    graph.add_channel(announce_channel("a", "d", scid(502)), None, NOW.at)
    as_it_was = graph.write()
    messages = store.save_graph(image)
    assert messages is not None
    before = graph.fresh_length
    graph.rebase(image, messages)
    assert 0 < graph.fresh_length < before
    assert graph.write() == as_it_was
    assert graph.channel_update(FIRST, newer.direction) == newer
    assert graph.channel_announcement(SECOND) is None
    # And once more, from one file to the next.
    image = graph.image()
    messages = store.save_graph(image)
    assert messages is not None
    graph.rebase(image, messages)
    assert graph.fresh_length == 0
    assert graph.write() == as_it_was


def test_a_damaged_message_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    store, _log = caches(tmp_path)
    store.save_graph(a_graph().image())
    path = tmp_path / "graph.bin"
    data = bytearray(path.read_bytes())
    prefix = read_prefix(bytes(data), REGTEST)
    data[PREFIX_LENGTH + prefix.head_length + 10] ^= 1
    path.write_bytes(data)
    graph, _scorer = store.read()
    assert graph.channel_announcement(FIRST) is None
    assert graph.channel_announcement(SECOND) == announce_channel("b", "c", SECOND)
    # Its channel is known all the same, and the next file is as good as this one.
    assert graph.has_channel(FIRST)
    assert NetworkGraph.read(graph.write(), REGTEST).channel_announcement(FIRST) is None


def resealed(data: bytes) -> bytes:
    """With a hash that fits, as a file that was written so."""
    end = PREFIX_LENGTH + read_prefix(data, REGTEST).head_length
    return data[: end - 32] + hashlib.sha256(data[: end - 32]).digest() + data[end:]


def test_columns_that_contradict_each_other_are_refused() -> None:
    data = a_graph().write()
    assert NetworkGraph.read(resealed(data), REGTEST).write() == data
    refused = 0
    for position in range(PREFIX_LENGTH, PREFIX_LENGTH + 32 + 3 * (33 + 1 + 8) + 2 * (8 + 4 + 4)):
        changed = bytearray(data)
        changed[position] ^= 0xFF
        try:
            graph = NetworkGraph.read(resealed(bytes(changed)), REGTEST)
        except DecodeError:
            refused += 1
        else:
            graph.write()
            graph.snapshot()
    # Each byte of the three counts, at the least.
    assert refused >= 24


def test_a_graph_is_counted_as_it_was(tmp_path: Path) -> None:
    graph = a_graph()
    graph.add_channel(announce_channel("c", "d", scid(503)), None, NOW.at)
    read = NetworkGraph.read(graph.write(), REGTEST)
    assert (read.channel_count, read.node_count, read.unchecked_count) == (3, 4, 1)
    read.set_capacity(scid(503), 5)
    assert read.unchecked_count == 0
    assert read.last_update_at == graph.last_update_at
    with pytest.raises(DecodeError):
        NetworkGraph.read(graph.write()[:40], REGTEST)
