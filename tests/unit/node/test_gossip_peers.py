"""Peers that are called for gossip only: when, whom, how often, and until when."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.unit.ln.routing.graph_builder import Net, announce_node, node_id
from wallet.bitcoin.address import MAINNET, REGTEST
from wallet.ln.msgs.addresses import SocketAddress, encode_addresses
from wallet.ln.routing.gossip import SyncProgress, SyncState
from wallet.ln.types import NodeId
from wallet.node import gossip_peers
from wallet.node.first_nodes import FirstNodes
from wallet.node.gossip_peers import (
    CHANNEL_PEERS_FIRST_SECONDS,
    FIRST_PAUSE_SECONDS,
    GOSSIP_PEERS,
    GRAPH_TOO_OLD_SECONDS,
    IDLE_SECONDS,
    LAST_PAUSE_SECONDS,
    LINGER_SECONDS,
    WATCH_SECONDS,
    GossipPeers,
)
from wallet.node.sockets import NodeUri

NOW_AT = 1_800_000_000
ASKING = SyncProgress(state=SyncState.RANGES, known=0, listed=0, signatures=0, busy=1, synced_at=None)
NOTHING = replace(ASKING, state=SyncState.NOT_STARTED, busy=0)
DONE = SyncProgress(state=SyncState.DONE, known=900, listed=900, signatures=0, busy=0, synced_at=NOW_AT)
AFTERWARDS = replace(DONE, known=0, listed=0)
"""When the peers of a sync that ended have gone."""


def uri(name: str, host: str = "8.8.8.8", port: int = 9735) -> NodeUri:
    return NodeUri(node_id(name), host, port)


@dataclass
class Told:
    """`Seeds` that tell the nodes they are given, and count the questions."""

    nodes: Sequence[NodeUri] = ()
    asked: int = 0

    async def nodes_of(self, seed: str) -> Sequence[NodeUri]:
        self.asked += 1
        return self.nodes


class StandIn:
    """What `GossipPeers` asks of a node; peers answer at once unless they are in `dead`."""

    def __init__(self, network_name: str = "mainnet") -> None:
        self.core = self.gossip = self.peers = self.recovery = self.keys_manager = self
        self.options = self.ledger = self.manager = self
        self.network_name = network_name
        self.network = MAINNET if network_name == "mainnet" else REGTEST
        self.call_gossip_peers = True
        self.first_peers: tuple[str, ...] = ()
        self.proxy: tuple[str, int] | None = None
        self.settings: dict[str, str] = {}
        self.contact_allowed = True
        self.progress = NOTHING
        self.graph: Any = Graph()
        self.online: set[NodeId] = set()
        self.without_gossip: set[NodeId] = set()
        self.with_channel: set[NodeId] = set()
        self.written_down: set[NodeId] = set()
        self.dead: set[NodeId] = set()
        self.called: list[NodeUri] = []
        self.hung_up: list[NodeId] = []
        self.log_lines: list[str] = []
        self.now_at = NOW_AT
        self.has_entered = False

    @contextlib.contextmanager
    def entry(self) -> Iterator[None]:
        self.has_entered = True
        yield
        self.has_entered = False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        yield

    def put_setting(self, name: str, text: str) -> None:
        assert self.has_entered
        self.settings[name] = text

    def sync_progress(self) -> SyncProgress:
        return self.progress

    def sync_peers(self) -> frozenset[NodeId]:
        return frozenset(self.online - self.without_gossip)

    async def connect(self, uri: NodeUri) -> None:
        self.called.append(uri)
        await asyncio.sleep(0)
        if uri.node_id in self.dead:
            raise OSError("nobody there")
        self.online.add(uri.node_id)

    def hang_up(self, node_id: NodeId) -> None:
        self.online.discard(node_id)
        self.hung_up.append(node_id)

    def has_channel_with(self, node_id: NodeId) -> bool:
        return node_id in self.with_channel

    def list_channels(self) -> list[NodeId]:
        return list(self.with_channel)

    def get_node_id(self) -> NodeId:
        return node_id("us")

    def wall_clock_at(self) -> int:
        return self.now_at

    def log(self, level: object, message: str, *args: object) -> None:
        self.log_lines.append(message % args)

    def __contains__(self, node_id: NodeId) -> bool:
        """Of the books' peers, whose address was written down."""
        return node_id in self.written_down


class Graph:
    """A graph of so many channels, whose nodes cannot be drawn from."""

    node_count = 0

    def __init__(self, channel_count: int = 0) -> None:
        self.channel_count = channel_count


class Turns:
    """A node and its `GossipPeers`, with first nodes of both sources."""

    def __init__(self, node: StandIn | None = None, told: str = "abc", shipped: str = "xyz") -> None:
        given: Any = node or StandIn()
        self.node = given
        self.seeds = Told([uri(name) for name in told])
        first = FirstNodes(("seed.example",), tuple(uri(name) for name in shipped))
        self.peers = GossipPeers(self.node, seeds=self.seeds, first=first)
        self.told = {node_id(name) for name in told}
        self.shipped = {node_id(name) for name in shipped}

    async def look(self) -> float:
        return await self.peers.look()

    @property
    def called(self) -> list[NodeId]:
        return [each.node_id for each in self.node.called]


def looked(turns: Turns) -> float:
    return asyncio.run(turns.look())


def test_without_a_graph_a_few_first_nodes_of_both_sources_are_called() -> None:
    turns = Turns()
    assert looked(turns) == WATCH_SECONDS
    assert len(turns.called) == len(set(turns.called)) == GOSSIP_PEERS
    # By turns: neither source fills all the places.
    assert set(turns.called) & turns.told
    assert set(turns.called) & turns.shipped
    assert turns.peers.called == set(turns.called)
    # While they tell, nobody else is called.
    turns.node.progress = ASKING
    assert looked(turns) == WATCH_SECONDS
    assert len(turns.called) == GOSSIP_PEERS
    assert turns.seeds.asked == 1


def test_with_a_proxy_no_seed_is_asked() -> None:
    turns = Turns()
    turns.node.proxy = ("127.0.0.1", 9050)
    looked(turns)
    assert turns.seeds.asked == 0
    assert set(turns.called) == turns.shipped


def test_a_proxy_that_is_set_while_it_runs_counts_too() -> None:
    turns = Turns()
    turns.node.dead |= turns.told | turns.shipped
    looked(turns)
    assert turns.seeds.asked == 1
    turns.node.proxy = ("127.0.0.1", 9050)
    turns.peers.kick()
    looked(turns)
    assert turns.seeds.asked == 1


def test_a_proxy_that_is_set_while_a_seed_is_asked_ends_the_question() -> None:
    turns = Turns()

    class Slow:
        ended = False

        async def nodes_of(self, seed: str) -> Sequence[NodeUri]:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.ended = True
            return turns.seeds.nodes

    async def scenario() -> None:
        turn = asyncio.create_task(turns.look())
        await asked.wait()
        turns.node.proxy = ("127.0.0.1", 9050)
        turns.peers.end_questions()
        await turn

    asked, slow = asyncio.Event(), Slow()
    turns.peers._seeds = slow
    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert slow.ended
    # The turn goes on with those that it knows without asking.
    assert set(turns.called) == turns.shipped


def test_peers_of_channels_count() -> None:
    turns = Turns()
    turns.node.online = {node_id("hub"), node_id("other")}
    looked(turns)
    assert len(turns.called) == GOSSIP_PEERS - 2


def test_a_restored_wallet_calls_nobody_before_the_person_has_agreed() -> None:
    turns = Turns()
    turns.node.contact_allowed = False
    assert looked(turns) == IDLE_SECONDS
    assert turns.called == []
    assert turns.seeds.asked == 0
    turns.node.contact_allowed = True
    looked(turns)
    assert len(turns.called) == GOSSIP_PEERS


def test_the_command_line_and_the_person_can_switch_it_off() -> None:
    off = StandIn()
    off.call_gossip_peers = False
    turns = Turns(off)
    assert looked(turns) == IDLE_SECONDS
    assert turns.called == []
    turns = Turns()
    looked(turns)
    called = set(turns.called)
    with turns.node.entry():
        turns.peers.choose(False)
    assert not turns.peers.is_on
    assert looked(turns) == IDLE_SECONDS
    assert set(turns.node.hung_up) == called
    # It is kept for the next run; the command line stands over it.
    assert not GossipPeers(turns.node).is_on
    with turns.node.entry():
        turns.peers.choose(True)
    assert GossipPeers(turns.node).is_on
    turns.node.call_gossip_peers = False
    assert not turns.peers.is_on


@pytest.mark.parametrize("network_name", ["regtest", "sandbox"])
def test_a_network_without_public_nodes_calls_those_that_are_named(network_name: str) -> None:
    node = StandIn(network_name)
    turns = Turns(node)
    assert looked(turns) == IDLE_SECONDS
    assert turns.called == []
    node.first_peers = (f"{node_id('mine').hex()}@127.0.0.1:19846",)
    looked(turns)
    assert node.called == [uri("mine", "127.0.0.1", 19846)]


def test_who_is_named_is_called_in_place_of_the_list_and_the_seeds() -> None:
    node = StandIn()
    node.first_peers = (f"{node_id('mine').hex()}@127.0.0.1:9735",)
    turns = Turns(node)
    looked(turns)
    assert turns.called == [node_id("mine")]
    assert turns.seeds.asked == 0


def synced(channels: int = 1_000) -> Turns:
    """After a first sync."""
    turns = Turns()
    looked(turns)
    turns.node.graph = Graph(channels)
    turns.node.progress = DONE
    assert looked(turns) == IDLE_SECONDS
    return turns


def test_once_the_graph_is_here_they_are_hung_up_on() -> None:
    turns = synced()
    assert set(turns.node.hung_up) == set(turns.called)
    assert turns.node.online == set()
    assert turns.peers.called == frozenset()


def test_whom_a_channel_or_the_person_keeps_is_not_hung_up_on() -> None:
    turns = Turns()
    looked(turns)
    friend, asked_for = turns.called[:2]
    turns.node.with_channel.add(friend)
    turns.node.written_down.add(asked_for)
    turns.node.graph, turns.node.progress = Graph(1_000), DONE
    looked(turns)
    assert turns.node.online == {friend, asked_for}


def test_others_may_go_on_for_a_while_when_the_first_is_done() -> None:
    turns = Turns()
    looked(turns)
    turns.node.graph, turns.node.progress = Graph(1_000), replace(DONE, busy=1)
    assert looked(turns) == WATCH_SECONDS
    assert turns.node.hung_up == []
    turns.node.now_at += LINGER_SECONDS
    assert looked(turns) == IDLE_SECONDS
    assert len(turns.node.hung_up) == GOSSIP_PEERS


@pytest.mark.parametrize("restarted", [False, True], ids=["this run", "next run"])
@pytest.mark.parametrize(
    ("passed_seconds", "channels", "is_needed"),
    [
        (GRAPH_TOO_OLD_SECONDS - 1, 1_000, False),
        (GRAPH_TOO_OLD_SECONDS, 1_000, True),
        (60, 750, False),
        (60, 749, True),
        (60, 0, True),
        (-60, 1_000, True),
    ],
    ids=["fresh", "old", "most", "part", "lost", "clock went back"],
)
def test_the_graph_is_fetched_again_when_it_is_old_or_not_whole(
    restarted: bool, passed_seconds: int, channels: int, is_needed: bool
) -> None:
    turns = synced()
    node = turns.node
    node.called.clear()
    node.now_at += passed_seconds
    node.graph = Graph(channels)
    node.progress = NOTHING if restarted else AFTERWARDS
    peers = GossipPeers(node, seeds=turns.seeds, first=turns.peers._first) if restarted else turns.peers
    asyncio.run(peers.look())
    assert bool(node.called) is is_needed


def test_while_a_peer_that_has_told_all_is_connected_the_graph_is_not_old() -> None:
    turns = synced()
    turns.node.called.clear()
    turns.node.now_at += 10 * GRAPH_TOO_OLD_SECONDS
    assert looked(turns) == IDLE_SECONDS
    assert turns.called == []


@pytest.mark.parametrize(("listed", "is_needed"), [(124, True), (125, False)], ids=["little", "enough"])
def test_a_peer_that_has_little_or_hides_the_rest_is_not_enough(listed: int, is_needed: bool) -> None:
    """Of a channel, say: it would be the only one that tells us of ways, and they would all be its own."""
    turns = synced()
    turns.node.called.clear()
    turns.node.progress = replace(DONE, known=listed, listed=listed)
    turns.node.now_at += GRAPH_TOO_OLD_SECONDS
    looked(turns)
    assert bool(turns.called) is is_needed


def test_who_cannot_be_reached_is_left_alone_and_pauses_grow() -> None:
    turns = Turns()
    turns.node.dead |= turns.told | turns.shipped

    async def turn_by_turn() -> None:
        assert await turns.look() == FIRST_PAUSE_SECONDS
        assert set(turns.called) == turns.told | turns.shipped
        assert len(turns.called) == 6
        pauses = [await turns.look() for _turn in range(10)]
        assert pauses[:3] == [FIRST_PAUSE_SECONDS * 2, FIRST_PAUSE_SECONDS * 4, FIRST_PAUSE_SECONDS * 8]
        assert pauses[-1] == LAST_PAUSE_SECONDS
        assert len(turns.called) == 6
        # The computer woke up, or the network is back.
        turns.peers.kick()
        assert await turns.look() == FIRST_PAUSE_SECONDS
        assert len(turns.called) == 12

    asyncio.run(turn_by_turn())


def test_who_was_left_alone_long_enough_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip_peers, "LEAVE_ALONE_SECONDS", 0.0)
    turns = Turns()
    turns.node.dead |= turns.told | turns.shipped
    looked(turns)
    assert len(turns.called) == 6
    assert set(turns.peers._left_alone) == {turns.node.called[-1].node_id}


def test_one_of_many_that_are_dead_is_found() -> None:
    turns = Turns(told="abcd", shipped="wxyz")
    turns.node.dead |= {*turns.told, *turns.shipped} - {node_id("d")}
    assert looked(turns) == WATCH_SECONDS
    assert turns.node.online == {node_id("d")}


def test_no_more_than_a_dozen_are_called_in_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip_peers, "MAX_CALLS", 4)
    turns = Turns()
    turns.node.dead |= turns.told | turns.shipped
    looked(turns)
    assert len(turns.called) == 4


def test_who_has_no_gossip_makes_room_for_another() -> None:
    turns = Turns()
    turns.node.without_gossip = set(turns.told)

    async def turn_by_turn() -> None:
        await turns.look()
        useless = set(turns.called) & turns.told
        await turns.look()
        assert useless <= set(turns.node.hung_up)
        await turns.look()
        assert turns.node.online - turns.told <= turns.shipped
        # Nobody is called twice.
        assert len(turns.called) == len(set(turns.called))

    asyncio.run(turn_by_turn())


def test_who_knows_of_no_channel_makes_room_for_another() -> None:
    turns = Turns()

    async def turn_by_turn() -> None:
        await turns.look()
        first = set(turns.called)
        turns.node.progress = replace(DONE, known=0, listed=0)
        await turns.look()
        assert first == set(turns.node.hung_up)
        assert turns.node.online == (turns.told | turns.shipped) - first

    asyncio.run(turn_by_turn())


def test_who_hangs_up_is_not_called_back_at_once() -> None:
    turns = Turns(told="a", shipped="")

    async def turn_by_turn() -> None:
        await turns.look()
        turns.node.online.clear()
        assert await turns.look() == FIRST_PAUSE_SECONDS
        assert turns.called == [node_id("a")]

    asyncio.run(turn_by_turn())


# --- drawn from the graph -------------------------------------------------------------------------


def graph_of(addresses: Sequence[str], nodes: int = 12) -> Any:
    """A ring whose nodes all tell these addresses."""
    net = Net()
    data = encode_addresses(SocketAddress.parse(text) for text in addresses)
    for number in range(nodes):
        net.open(f"n{number}", f"n{(number + 1) % nodes}")
    for number in range(nodes):
        net.graph.apply_node_announcement(announce_node(f"n{number}", address_data=data))
    return net.graph


def old_graph(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> Turns:
    monkeypatch.setattr(gossip_peers, "MIN_GRAPH_NODES", 10)
    monkeypatch.setattr(gossip_peers, "GRAPH_DRAWS", 200)
    turns = Turns()
    turns.node.graph = graph_of(addresses)
    return turns


def test_with_a_graph_nodes_are_drawn_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = old_graph(monkeypatch, "9.9.9.9:4242")
    looked(turns)
    assert len(turns.called) == GOSSIP_PEERS
    assert {(each.host, each.port) for each in turns.node.called} == {("9.9.9.9", 4242)}
    assert turns.seeds.asked == 0


def test_when_nobody_of_the_graph_is_there_first_nodes_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = old_graph(monkeypatch, "9.9.9.9:4242")
    turns.node.dead = {node_id(f"n{number}") for number in range(12)}

    async def turn_by_turn() -> None:
        assert await turns.look() == FIRST_PAUSE_SECONDS
        assert turns.seeds.asked == 0
        assert await turns.look() == WATCH_SECONDS
        assert turns.node.online <= turns.told | turns.shipped

    asyncio.run(turn_by_turn())


@pytest.mark.parametrize("address", ["192.168.1.7:9735", "[fe80::7]:9735", "home.example:9735"])
def test_the_graph_does_not_lead_into_the_home_network(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    turns = old_graph(monkeypatch, address)
    looked(turns)
    assert set(turns.called) <= turns.told | turns.shipped


@pytest.mark.parametrize("has_proxy", [False, True], ids=["no proxy", "proxy"])
def test_onion_services_are_called_through_a_proxy_only(
    monkeypatch: pytest.MonkeyPatch, has_proxy: bool
) -> None:
    onion = "a" * 55 + "d.onion"
    turns = old_graph(monkeypatch, f"{onion}:9735")
    if has_proxy:
        turns.node.proxy = ("127.0.0.1", 9050)
    looked(turns)
    assert {each.host for each in turns.node.called} == ({onion} if has_proxy else {"8.8.8.8"})


# --- the task -------------------------------------------------------------------------------------


def test_turns_are_made_until_the_end_and_a_fault_does_not_end_them(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()
    looks: list[int] = []

    async def run() -> None:
        three = asyncio.Event()

        async def look() -> float:
            looks.append(len(looks))
            if len(looks) == 1:
                turns.peers.kick()
                raise RuntimeError("a fault")
            if len(looks) == 3:
                three.set()
                return 1_000.0
            return 0.0

        monkeypatch.setattr(turns.peers, "look", look)
        turns.peers.start()
        turns.peers.start()
        await three.wait()
        await turns.peers.close()

    asyncio.run(run())
    assert looks == [0, 1, 2]
    assert any("a fault" in line for line in turns.node.log_lines)


def test_peers_of_channels_have_time_to_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()
    turns.node.with_channel.add(node_id("hub"))
    waited: list[float | None] = []

    async def run() -> None:
        asked, real = asyncio.Event(), asyncio.timeout

        def timeout(seconds: float | None) -> asyncio.Timeout:
            waited.append(seconds)
            asked.set()
            return real(seconds)

        monkeypatch.setattr(asyncio, "timeout", timeout)
        turns.peers.start()
        await asked.wait()
        await turns.peers.close()

    asyncio.run(run())
    assert waited == [CHANNEL_PEERS_FIRST_SECONDS]
    assert turns.called == []
