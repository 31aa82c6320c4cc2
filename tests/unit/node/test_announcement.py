"""When our own node_announcement is said, and what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.ln.connection_pair import ConnectionPair, Node
from wallet.ln.msgs import NodeAnnouncement, SocketAddress
from wallet.ln.routing.gossip import verify_node_announcement
from wallet.ln.types import NodeId, Now
from wallet.node.announcement import REFRESH_SECONDS, NodeAnnouncer

ALIAS = "Léyden ⚡"
ADDRESS = SocketAddress.parse("203.0.113.5:9735")


class Graph:
    """What the graph took of our announcements."""

    def __init__(self) -> None:
        self.said: NodeAnnouncement | None = None
        self.has_public_channel = True

    def has_node(self, node_id: NodeId) -> bool:
        return self.has_public_channel

    def node_announcement(self, node_id: NodeId) -> NodeAnnouncement | None:
        return self.said


class Told:
    def __init__(self, graph: Graph) -> None:
        self.us, self.peer = Node(1), Node(2)
        self.graph = graph
        self.pair = ConnectionPair(self.us, self.peer).connect()

    def announcer(
        self, *, alias: str = ALIAS, addresses: tuple[SocketAddress, ...] = (ADDRESS,)
    ) -> NodeAnnouncer:
        return NodeAnnouncer(self.us.id, alias=alias, addresses=addresses, peers=self.us.peers)

    def heard(self) -> list[NodeAnnouncement]:
        """What the peer was told since the last time."""
        self.us.peers.process_events()
        self.pair.exchange()
        found = [msg for msg in self.peer.routes.heard if isinstance(msg, NodeAnnouncement)]
        self.peer.routes.heard.clear()
        return found


@pytest.fixture
def told() -> Told:
    return Told(Graph())


def now(at: int) -> Now:
    return Now(at=at, mono_ms=0)


def test_every_peer_hears_who_we_are(told: Told) -> None:
    told.announcer().tick(told.graph, now(1_000_000))
    (msg,) = told.heard()
    assert verify_node_announcement(msg)
    assert (msg.node_id, msg.alias_text, msg.addresses) == (told.us.id, ALIAS, (ADDRESS,))
    assert msg.timestamp_at == 1_000_000
    assert len(msg.alias) == 32


def test_without_a_public_channel_nothing_is_said(told: Told) -> None:
    told.graph.has_public_channel = False
    told.announcer().tick(told.graph, now(1_000_000))
    assert told.heard() == []


def test_what_our_own_graph_refuses_is_not_said(told: Told) -> None:
    told.us.routes.news = False
    told.announcer().tick(told.graph, now(1_000_000))
    assert told.heard() == []


def test_it_is_said_again_after_a_day_or_when_it_changed(told: Told) -> None:
    announcer = told.announcer()
    announcer.tick(told.graph, now(1_000_000))
    (told.graph.said,) = told.heard()
    announcer.tick(told.graph, now(1_000_000 + REFRESH_SECONDS - 1))
    assert told.heard() == []
    announcer.tick(told.graph, now(1_000_000 + REFRESH_SECONDS))
    assert [msg.timestamp_at for msg in told.heard()] == [1_000_000 + REFRESH_SECONDS]
    for changed in (told.announcer(alias="Other"), told.announcer(addresses=())):
        changed.tick(told.graph, now(1_000_060))
        assert [msg.timestamp_at for msg in told.heard()] == [1_000_060]


def test_a_clock_that_was_put_back_does_not_silence_us(told: Told) -> None:
    announcer = told.announcer()
    announcer.tick(told.graph, now(1_000_000))
    (said,) = told.heard()
    told.graph.said = replace(said, alias=bytes(32))
    announcer.tick(told.graph, now(500_000))
    assert [msg.timestamp_at for msg in told.heard()] == [1_000_001]
