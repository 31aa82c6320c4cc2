"""Snapshots of rapid gossip sync: what is read, what is refused, and that nobody is told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.ln.connection_pair import Log
from tests.unit.ln.routing.graph_builder import (
    NOW,
    announce_channel,
    announce_node,
    announce_terms,
    node_id,
    scid,
)
from tests.unit.ln.routing.snapshot_builder import Terms, ordered, snapshot
from wallet.bitcoin.address import MAINNET, REGTEST
from wallet.bitcoin.errors import DecodeError
from wallet.ln import msgs
from wallet.ln.features import Feature, Features
from wallet.ln.msgs import Init, Message
from wallet.ln.routing import rapid_gossip
from wallet.ln.routing.gossip import NetGraphMsgHandler
from wallet.ln.routing.graph import STALE_CHANNEL_SECONDS, DirectionInfo, NetworkGraph
from wallet.ln.routing.rapid_gossip import Applied, apply_snapshot, read_snapshot
from wallet.ln.types import NodeId

SEEN_AT = NOW.at - 86_400
PEER = NodeId(node_id("peer"))
# What rust-lightning tries its reader with: two channels of 2022, and one whose nodes have addresses and features.
VERSION_1 = bytes.fromhex(
    "4c444b016fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d619000000000061e362da00000004021607cfce19a4c5e7e6"
    "e738663dfafbbbac262e4ff76c2c9b30dbeefc35c0064302247d9db0dfafea745ef8c9e161eb322f73ac3f8858d8730b6fd97254747c"
    "e76b029e01f279986acc83ba235d46d80aede0b7595f410353b93a8ab540bb677f443202c913118a8895b9e29c89af6e20ed00d95a1f"
    "64e4952edbafa84d048f26804c61000000020000ff0899c000021b000000010000ff0244e200060b0001020300000004002800000000"
    "000003e8000003e800000001000000001d8119c0ff0899c000021b00003c000000000000000100000064000002e0000000003a5574d8"
    "001d000000010000007d000000003a5574d8ff0244e200060b0001000001"
)
VERSION_2 = bytes.fromhex(
    "4c444b026fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d61900000000006661cef000000000023f1b84c5567b126440"
    "995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f052604010101010101010101010101010101010101010101010101010101"
    "0101010101000203000407017f00000125a30e050a676f6f676c652e636f6d01bb13020101010101010101010101010101010105390d"
    "030102030405060708090a0b0c000217303e4d4b6cd1361032ca9bd2aeb9d900aa4d45d9ead80ac9423374c451a7254d076600000219"
    "3000000001000001010000000002000000000000000000000000000600000000000000000000000001000001"
)


def applied(data: bytes, graph: NetworkGraph, now_at: int = NOW.at) -> Applied:
    *_, whole = apply_snapshot(read_snapshot(data, graph.network, now_at), graph)
    return whole


def side(graph: NetworkGraph, height: int, direction: int) -> DirectionInfo | None:
    channel = graph.channel(scid(height))
    assert channel is not None
    return channel.directions[direction]


def test_a_snapshot_of_version_1_that_others_read() -> None:
    graph = NetworkGraph(MAINNET)
    assert applied(VERSION_1, graph, 1_642_291_930) == Applied(channels=2, terms=4)
    assert graph.short_channel_ids() == [619737530008010752, 783241506229452801]
    first = graph.channel(graph.short_channel_ids()[0])
    assert first is not None
    assert first.node_id_1.hex() == "021607cfce19a4c5e7e6e738663dfafbbbac262e4ff76c2c9b30dbeefc35c00643"
    assert first.node_id_2.hex() == "02247d9db0dfafea745ef8c9e161eb322f73ac3f8858d8730b6fd97254747ce76b"
    assert first.capacity_sat is None
    expected = DirectionInfo(
        enabled=True,
        updated_at=1_642_291_930,
        cltv_expiry_delta=40,
        htlc_minimum_msat=1,
        htlc_maximum_msat=978_679_000,
        fee_base_msat=100,
        fee_proportional_millionths=736,
    )
    assert first.directions[0] == expected
    assert first.directions[1] == replace(
        expected, htlc_minimum_msat=1_000, fee_base_msat=1, fee_proportional_millionths=125
    )


def test_a_snapshot_of_version_2_that_others_read() -> None:
    graph = NetworkGraph(MAINNET)
    assert applied(VERSION_2, graph, 1_717_686_000) == Applied(channels=1, terms=2)
    assert sorted(node.hex()[:8] for node in graph.node_ids()) == ["024d4b6c", "031b84c5"]


@pytest.mark.parametrize(("version", "additions"), [(1, False), (2, False), (2, True)])
def test_both_versions_say_the_same(version: int, additions: bool) -> None:
    graph = NetworkGraph(REGTEST)
    data = snapshot(seen_at=SEEN_AT, version=version, additions=additions)
    assert applied(data, graph) == Applied(channels=2, terms=2)
    assert (graph.node_count, graph.unchecked_count, graph.to_check_count) == (3, 2, 0)
    assert graph.nodes_of(scid(100)) == tuple(map(node_id, ordered("A", "B")))
    found = side(graph, 100, 0)
    assert found is not None
    assert (found.cltv_expiry_delta, found.htlc_maximum_msat, found.updated_at) == (40, 10**9, SEEN_AT)
    assert side(graph, 100, 1) is None
    assert NetworkGraph.read(graph.write(), REGTEST).channel(scid(101)) == graph.channel(scid(101))


def test_increments_change_what_is_known_only() -> None:
    graph = NetworkGraph(REGTEST)
    applied(snapshot(seen_at=SEEN_AT), graph)
    change = Terms(
        height=100, direction=0, values=(None, None, 7, None, None), disabled=True, incremental=True
    )
    unknown = replace(change, direction=1)
    data = snapshot(seen_at=SEEN_AT + 60, channels=(), terms=(change, unknown))
    before = side(graph, 100, 0)
    assert before is not None
    assert applied(data, graph) == Applied(channels=0, terms=1)
    assert side(graph, 100, 0) == replace(before, fee_base_msat=7, enabled=False, updated_at=SEEN_AT + 60)
    assert side(graph, 100, 1) is None
    # An older one changes nothing any more.
    assert applied(snapshot(seen_at=SEEN_AT), graph) == Applied(channels=0, terms=1)
    assert side(graph, 100, 0) == replace(before, fee_base_msat=7, enabled=False, updated_at=SEEN_AT + 60)


def test_nothing_of_it_is_passed_on_or_told() -> None:
    graph = NetworkGraph(REGTEST)
    applied(snapshot(seen_at=SEEN_AT), graph)
    net = NetGraphMsgHandler(graph, None, Log(), clock=lambda: NOW)
    net.peer_connected(PEER, Init(features=Features.of(optional=(Feature.GOSSIP_QUERIES,))), True)
    assert net.get_next_channel_announcement(scid(0)) is None
    everything = msgs.QueryChannelRange(
        chain_hash=REGTEST.chain_hash, first_block_height=0, number_of_blocks=1_000, query_option_flags=3
    )
    net.handle_query_channel_range(PEER, everything)
    reply = net.get_next_query_reply(PEER)
    assert isinstance(reply, msgs.ReplyChannelRange)
    assert reply.short_channel_ids == ()
    assert net.get_next_query_reply(PEER) is None
    ids = msgs.QueryShortChannelIds(chain_hash=REGTEST.chain_hash, short_channel_ids=(scid(100), scid(101)))
    net.handle_query_short_channel_ids(PEER, ids)
    assert isinstance(net.get_next_query_reply(PEER), msgs.ReplyShortChannelIdsEnd)
    # A node whose channels nobody has proved is not told of either.
    assert not net.handle_node_announcement(PEER, announce_node("A"))
    assert graph.alias(node_id("A")) == "node A"


def test_what_peers_prove_takes_its_place() -> None:
    graph = NetworkGraph(REGTEST)
    applied(snapshot(seen_at=SEEN_AT), graph)
    net = NetGraphMsgHandler(graph, None, Log(), clock=lambda: NOW)
    # Older than the snapshot, and yet better: it is signed.
    a, b = ordered("A", "B")
    update = announce_terms(a, b, scid(100), timestamp_at=SEEN_AT - 60, fee_base_msat=5)
    assert not net.handle_channel_update(PEER, update)
    assert side(graph, 100, 0) is not None
    assert net.handle_channel_announcement(PEER, announce_channel("A", "B", scid(100)))
    kept = side(graph, 100, 0)
    assert kept is not None
    assert (kept.fee_base_msat, kept.updated_at) == (1_000, SEEN_AT)
    assert net.handle_channel_update(PEER, update)
    signed = side(graph, 100, 0)
    assert signed is not None
    assert (signed.fee_base_msat, signed.updated_at) == (5, SEEN_AT - 60)
    assert graph.to_check_count == 1
    assert graph.to_check(0) == scid(100)
    # From now on no snapshot changes it.
    assert applied(snapshot(seen_at=NOW.at), graph) == Applied(channels=0, terms=1)
    assert side(graph, 100, 0) == signed
    assert (graph.channel_count, graph.node_count, graph.unchecked_count) == (2, 3, 2)


def test_a_lie_about_a_channel_ends_with_its_announcement() -> None:
    graph = NetworkGraph(REGTEST)
    applied(
        snapshot(seen_at=SEEN_AT, channels=(("A", "C", 100),), terms=(Terms(height=100, direction=0),)), graph
    )
    net = NetGraphMsgHandler(graph, None, Log(), clock=lambda: NOW)
    # An honest peer is not hung up on because the snapshot says otherwise.
    assert not net.handle_channel_update(PEER, announce_terms("A", "B", scid(100)))
    assert net.handle_channel_announcement(PEER, announce_channel("A", "B", scid(100)))
    assert graph.nodes_of(scid(100)) == tuple(map(node_id, ordered("A", "B")))
    assert (side(graph, 100, 0), side(graph, 100, 1)) == (None, None)
    assert not graph.has_node(node_id("C"))
    assert net.handle_channel_update(PEER, announce_terms("A", "B", scid(100)))


def test_it_is_asked_for_and_forgotten_after_two_weeks() -> None:
    graph = NetworkGraph(REGTEST)
    applied(snapshot(seen_at=SEEN_AT), graph)
    net = NetGraphMsgHandler(graph, None, Log(), clock=lambda: NOW)
    net.peer_connected(PEER, Init(features=Features.of(optional=(Feature.GOSSIP_QUERIES,))), True)
    net.get_and_clear_pending_msg_events()
    net.handle_reply_channel_range(
        PEER,
        msgs.ReplyChannelRange(
            chain_hash=REGTEST.chain_hash,
            first_block_height=0,
            number_of_blocks=1_000,
            sync_complete=True,
            short_channel_ids=(scid(100), scid(101)),
        ),
    )
    sent: list[Message] = [
        event.msg for event in net.get_and_clear_pending_msg_events() if not hasattr(event, "action")
    ]
    (query,) = sent
    assert isinstance(query, msgs.QueryShortChannelIds)
    assert query.short_channel_ids == (scid(100), scid(101))
    assert graph.remove_stale_channels_and_tracking(SEEN_AT + STALE_CHANNEL_SECONDS) == 0
    assert graph.remove_stale_channels_and_tracking(SEEN_AT + STALE_CHANNEL_SECONDS + 1) == 2


def test_what_was_closed_lately_does_not_come_back() -> None:
    graph = NetworkGraph(REGTEST)
    graph.channel_failed_permanent(scid(100), NOW.at)
    assert applied(snapshot(seen_at=SEEN_AT), graph) == Applied(channels=1, terms=1)


def test_no_more_unproved_channels_than_gossip_may_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rapid_gossip, "MAX_BELIEVED_CHANNELS", 1)
    graph = NetworkGraph(REGTEST)
    assert applied(snapshot(seen_at=SEEN_AT), graph) == Applied(channels=1, terms=1)


def test_it_goes_in_by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rapid_gossip, "RECORDS_PER_STEP", 1)
    graph = NetworkGraph(REGTEST)
    steps = apply_snapshot(read_snapshot(snapshot(seen_at=SEEN_AT), REGTEST, NOW.at), graph)
    assert next(steps) == Applied(channels=1, terms=0)
    assert graph.channel_count == 1
    assert list(steps)[-1] == Applied(channels=2, terms=2)


GOOD = snapshot(seen_at=SEEN_AT)
NODES_AT = 3 + 1 + 32 + 4


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a snapshot"),
        (b"\x1f\x8b" + GOOD, "compressed"),
        (b"LDK\x03" + GOOD[4:], "version 3"),
        (snapshot(seen_at=SEEN_AT, network=MAINNET), "network"),
        (snapshot(seen_at=NOW.at - STALE_CHANNEL_SECONDS - 1), "two weeks"),
        (snapshot(seen_at=NOW.at + 86_401), "future"),
        (GOOD[:NODES_AT] + b"\xff" * 4 + GOOD[NODES_AT + 4 :], "nodes"),
        (GOOD[: NODES_AT + 4] + b"\x02" + b"\xff" * 32 + GOOD[NODES_AT + 37 :], "public key"),
        (snapshot(seen_at=SEEN_AT, channels=(("A", "A", 100),)), "order"),
        (snapshot(seen_at=SEEN_AT, features=b"\x01" * 3_000), "features"),
        (GOOD.ljust(rapid_gossip.MAX_SNAPSHOT_LENGTH + 1, b"\x00"), "too large"),
    ],
    ids=[
        "empty", "packed", "version", "network", "old", "future", "nodes", "no_key", "order", "features", "large",
    ],
)  # fmt: skip
def test_snapshots_that_are_none(data: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        read_snapshot(data, REGTEST, NOW.at)


@pytest.mark.parametrize("version", [1, 2])
def test_one_that_is_cut_short_anywhere_is_refused(version: int) -> None:
    data = snapshot(seen_at=SEEN_AT, version=version, additions=version == 2)
    for length in range(len(data)):
        with pytest.raises(DecodeError, match="not a snapshot" if length < 3 else "damaged or cut short"):
            read_snapshot(data[:length], REGTEST, NOW.at)
