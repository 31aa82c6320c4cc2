"""Our `PeerManager` and graph against real rust-lightning nodes: handshake, init, pings, gossip, refusals.

No node of ours runs here: a thin adapter carries bytes between a blocking socket and the peer manager.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.real.conftest import StartLdkPeer, StartRegtest
from tests.real.harness import LdkLines, LdkPeer
from tests.real.process import HOST
from tests.stand_in import put_in_place_of
from tests.unit.ln.connection_pair import Channels, Keys, Log
from wallet.bitcoin.address import REGTEST, TESTNET4, Network
from wallet.ln import msgs, peer_handler
from wallet.ln.events import SendMessage
from wallet.ln.peer_handler import PeerManager
from wallet.ln.routing.gossip import NetGraphMsgHandler, NetworkGraph
from wallet.ln.types import NodeId, Now


def now() -> Now:
    return Now(at=int(time.time()), mono_ms=time.monotonic_ns() // 1_000_000)


class Wire:
    """A `SocketDescriptor` over a blocking socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.open = True

    def send_data(self, data: bytes, resume_read: bool) -> int:
        self.connection.sendall(data)
        return len(data)

    def disconnect_socket(self) -> None:
        self.open = False

    def is_open(self) -> bool:
        return self.open


class Us:
    """A peer manager with a real graph, and channels that only listen."""

    def __init__(self, network: Network = REGTEST, number: int = 9) -> None:
        self.keys = Keys(bytes((number,)) * 32)
        self.channels = Channels()
        self.log = Log()
        self.graph = NetworkGraph(network)
        self.peers: PeerManager[Wire] = PeerManager(
            message_handler=self.channels,
            route_handler=NetGraphMsgHandler(self.graph, None, self.log, clock=now),
            msg_events=self.channels,
            keys_manager=self.keys,
            logger=self.log,
            network=network,
        )

    def read(self, wire: Wire, until: Callable[[], bool], what: str, timeout_seconds: float = 60) -> None:
        """Carry bytes until something holds."""
        deadline = time.monotonic() + timeout_seconds
        with selectors.DefaultSelector() as selector:
            selector.register(wire.connection, selectors.EVENT_READ)
            while not until():
                left = deadline - time.monotonic()
                assert left > 0, f"{what} did not happen: {self.log.lines[-10:]}"
                if not selector.select(left):
                    continue
                data = wire.connection.recv(65_536)
                if not data:
                    self.peers.socket_disconnected(wire)
                    wire.open = False
                    assert until(), f"the peer hung up before {what}: {self.log.lines[-10:]}"
                    return
                self.peers.read_event(wire, data)
                self.peers.process_events()

    def is_connected(self) -> bool:
        return bool(self.peers.list_peers())


@contextmanager
def connection(us: Us, peer: LdkPeer) -> Iterator[Wire]:
    with socket.create_connection((HOST, peer.port), timeout=10) as connected:
        wire = Wire(connected)
        connected.sendall(
            us.peers.new_outbound_connection(NodeId(bytes.fromhex(peer.node_id)), wire, (HOST, peer.port))
        )
        yield wire
        us.peers.socket_disconnected(wire)


def test_handshake_init_and_pings_over_key_rotations(regtest: StartRegtest, ldk_peer: StartLdkPeer) -> None:
    net = regtest(electrumx=None)
    alice = ldk_peer(net, "alice")
    us = Us()
    with connection(us, alice) as wire:
        us.read(wire, us.is_connected, "init")
        (init, inbound), *_ = us.channels.inits
        assert not inbound
        assert REGTEST.chain_hash in init.networks
        alice.call("wait_peer", pubkey=us.keys.get_node_id().hex())
        pongs = 0
        take = us.peers._dispatch

        def count(peer: Any, node_id: NodeId, message: Any) -> None:
            nonlocal pongs
            pongs += isinstance(message, msgs.Pong)
            take(peer, node_id, message)

        put_in_place_of(us.peers, "_dispatch", count)
        # Each message takes two nonces: 600 pings and pongs rotate the key of both directions.
        for number in range(600):
            ping = msgs.Ping(num_pong_bytes=number % 50, byteslen=number % 70)
            us.channels.events.append(SendMessage(NodeId(bytes.fromhex(alice.node_id)), ping))
        us.peers.process_events()
        us.read(wire, lambda: pongs == 600, "600 pongs")
        for _ in range(peer_handler.PING_INTERVAL_TICKS):
            us.peers.timer_tick_occurred()
        us.read(wire, lambda: pongs == 601, "the pong of our own ping")
        us.peers.disconnect_by_node_id(NodeId(bytes.fromhex(alice.node_id)))
        assert not wire.is_open()
    alice.call("wait_peer", pubkey=us.keys.get_node_id().hex(), gone=True)


def test_they_connect_to_us(regtest: StartRegtest, ldk_peer: StartLdkPeer) -> None:
    net = regtest(electrumx=None)
    alice = ldk_peer(net, "alice")
    us = Us()
    with socket.create_server((HOST, 0)) as server, alice_connects(alice, us, server) as wire:
        us.read(wire, us.is_connected, "init")
        assert us.channels.inits[0][1]
        assert us.peers.list_peers()[0].node_id.hex() == alice.node_id


@contextmanager
def alice_connects(alice: LdkPeer, us: Us, server: socket.socket) -> Iterator[Wire]:
    """Let the peer dial us in the background: its command answers only after the handshake."""
    with LdkLines(alice) as lines:
        lines.send("connect", pubkey=us.keys.get_node_id().hex(), port=server.getsockname()[1])
        connected, address = server.accept()
        with connected:
            wire = Wire(connected)
            us.peers.new_inbound_connection(wire, (address[0], address[1]))
            yield wire


def test_another_network_is_refused(regtest: StartRegtest, ldk_peer: StartLdkPeer) -> None:
    net = regtest(electrumx=None)
    alice = ldk_peer(net, "alice")
    us = Us(TESTNET4)
    with connection(us, alice) as wire:
        us.read(wire, lambda: not wire.is_open(), "the refusal")
    assert us.channels.inits == []


def test_the_network_is_learnt_from_a_peer(regtest: StartRegtest, ldk_peer: StartLdkPeer) -> None:
    net = regtest(electrumx=None)
    alice = ldk_peer(net, "alice", fund_sat=30_000_000)
    bob, carol = ldk_peer(net, "bob", fund_sat=30_000_000), ldk_peer(net, "carol")
    net.open_channel(alice, bob, amount_sat=1_000_000, push_msat=400_000_000, public=True)
    net.open_channel(bob, carol, amount_sat=2_000_000, public=True)
    for peer in (alice, bob, carol):
        peer.call("announce")
    for peer in (alice, bob, carol):
        peer.call("wait_graph", channels=2)
    us = Us()

    def complete() -> bool:
        graph = us.graph
        both = [0 not in graph.update_times(scid) for scid in graph.short_channel_ids()]
        named = [graph.alias(node_id) for node_id in graph.node_ids()]
        return both == [True, True] and len(named) == 3 and all(named)

    # Channels, both sides' terms, and the names of all three, all signatures checked.
    with connection(us, alice) as wire:
        us.read(wire, complete, "the graph")
    infos = [us.graph.channel(scid) for scid in us.graph.short_channel_ids()]
    nodes = {node.hex() for info in infos if info is not None for node in (info.node_id_1, info.node_id_2)}
    assert nodes == {alice.node_id, bob.node_id, carol.node_id}
    # What we learnt, a fresh peer learns from us: it checks every signature, and our answers to its queries.
    dave = ldk_peer(net, "dave")
    with connection(us, dave) as wire:
        us.read(wire, us.is_connected, "init")
        ticks = 0
        deadline = time.monotonic() + 60
        while dave.call("graph")["channels"] < 2:
            assert time.monotonic() < deadline, dave.call("graph")
            us.peers.process_events()
            wire.connection.settimeout(0.2)
            try:
                us.peers.read_event(wire, wire.connection.recv(65_536))
            except TimeoutError:
                continue
            if ticks < 8:  # a tick follows what the peer said: several in a row would count as its silence
                us.peers.timer_tick_occurred()
                ticks += 1
