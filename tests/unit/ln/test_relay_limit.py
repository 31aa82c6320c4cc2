"""How often news of one channel or node is passed on."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.unit.ln.connection_pair import Node
from tests.unit.ln.test_peer_handler import (
    FILTER_ALL,
    Stranger,
    channel_announcement,
    channel_update,
    gossip_heard,
    minute,
    node_announcement,
)
from wallet.ln import msgs, peer_handler, relay_limit
from wallet.ln.relay_limit import BURST, REFILL_MINUTES, RelayLimit


def test_a_burst_then_one_each_refill() -> None:
    limit = RelayLimit()
    told_at = [at for at in range(2_000) if limit.take("channel", at)]
    assert told_at[:BURST] == list(range(BURST))
    later = told_at[BURST - 1 :]
    assert len(told_at) == BURST + 1_999 // REFILL_MINUTES
    assert {after - before for before, after in pairwise(later[1:])} == {REFILL_MINUTES}


def test_each_has_its_own_bucket() -> None:
    limit = RelayLimit()
    while limit.take((9, 0), 5):
        pass
    assert limit.take((9, 1), 5)
    assert limit.take((10, 0), 5)
    assert not limit.take((9, 0), 5)


def test_who_was_quiet_long_enough_has_all_tokens_again() -> None:
    limit = RelayLimit()
    assert [limit.take("channel", 0) for _ in range(BURST + 1)] == [True] * BURST + [False]
    later = BURST * REFILL_MINUTES
    assert [limit.take("channel", later) for _ in range(BURST + 1)] == [True] * BURST + [False]


def test_full_buckets_are_forgotten_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_limit, "SWEPT_PER_MINUTE", 3)
    limit = RelayLimit()
    for number in range(4):
        while limit.take(f"busy {number}", 0):
            pass
    for number in range(5):
        assert limit.take(number, 0)
    limit.sweep(REFILL_MINUTES - 1)
    assert len(limit) == 9
    # In three minutes all nine are looked at, whichever comes first.
    for at in range(REFILL_MINUTES, REFILL_MINUTES + 3):
        limit.sweep(at)
    assert len(limit) == 4
    assert limit.take("busy 0", REFILL_MINUTES)
    assert not limit.take("busy 0", REFILL_MINUTES)
    for at in range((BURST + 1) * REFILL_MINUTES, (BURST + 1) * REFILL_MINUTES + 2):
        limit.sweep(at)
    assert len(limit) == 0


def test_buckets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_limit, "MAX_BUCKETS", 3)
    limit = RelayLimit()
    assert [limit.take(number, 0) for number in range(5)] == [True] * 3 + [False] * 2
    assert limit.take(0, 0)
    limit.sweep(2 * REFILL_MINUTES)
    assert limit.take(4, 2 * REFILL_MINUTES)


def reader_and_source() -> tuple[Node, Stranger, Stranger]:
    node = Node(1)
    reader, source = Stranger(node).greet(), Stranger(node, b"\x65" * 32).greet()
    reader.send(FILTER_ALL)
    return node, reader, source


def told_times(reader: Stranger) -> list[int]:
    heard = gossip_heard(reader)
    return [
        said.timestamp_at for said in heard if isinstance(said, msgs.ChannelUpdate | msgs.NodeAnnouncement)
    ]


@pytest.mark.parametrize("what", ["channel", "node"])
def test_who_signs_anew_each_minute_is_passed_on_seldom_and_never_with_old_terms(what: str) -> None:
    node, reader, source = reader_and_source()
    told: list[int] = []
    for at in range(2 * REFILL_MINUTES):
        source.send(channel_update(9, 1_000 + at) if what == "channel" else node_announcement(9, 1_000 + at))
        minute(reader, source)
        # What is told is the newest at that time.
        told += (times := told_times(reader))
        assert times in ([], [1_000 + at])
    assert told[:BURST] == [1_000 + at for at in range(BURST)]
    assert len(told) == BURST + 1
    # Our graph has heard each of them.
    assert len(node.routes.heard) == 2 * REFILL_MINUTES
    assert len(node.peers._relay_limit) == 1


def test_the_last_of_a_burst_is_passed_on_when_its_turn_comes() -> None:
    _node, reader, source = reader_and_source()
    for at in range(BURST):
        source.send(channel_update(9, 1_000 + at))
        minute(reader, source)
    assert len(told_times(reader)) == BURST
    # Too often: the announcement waits with the terms, and only the newest are told.
    source.send(channel_announcement(9))
    for at in (2_000, 2_001):
        source.send(channel_update(9, at))
        minute(reader, source)
    assert gossip_heard(reader) == []
    # Other directions are not held back by it.
    source.send(channel_update(9, 3_000, direction=1))
    minute(reader, source)
    assert told_times(reader) == [3_000]
    for _ in range(REFILL_MINUTES):
        minute(reader, source)
    assert told_times(reader) == [2_001]


def test_who_is_quiet_again_takes_no_memory() -> None:
    node, reader, source = reader_and_source()
    source.send(channel_update(9))
    source.send(node_announcement(9))
    minute(reader, source)
    assert len(gossip_heard(reader)) == len(node.peers._relay_limit) == 2
    for _ in range(REFILL_MINUTES):
        minute(reader, source)
    assert len(node.peers._relay_limit) == 0


def test_what_is_held_back_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_limit, "BURST", 0)
    monkeypatch.setattr(peer_handler, "RELAY_HELD_LIMIT", 3)
    node, reader, source = reader_and_source()
    for number in range(10):
        source.send(channel_update(number))
    minute(reader, source)
    assert gossip_heard(reader) == []
    assert len(node.peers._held_updates) == 3


def test_what_we_say_ourselves_is_not_limited() -> None:
    node, reader, source = reader_and_source()
    for at in range(4 * BURST):
        node.broadcast(channel_update(9, 1_000 + at))
        minute(reader, source)
    assert told_times(reader) == [1_000 + at for at in range(4 * BURST)]
