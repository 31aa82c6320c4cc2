"""The few public nodes that are called for gossip only: when the graph is missing or old, and until it is here.

Theory of operation. `look` is one turn: it judges the graph, calls who is missing, hangs up on who is not needed, and
says in how many seconds to look again; `start` makes turns until the end. Nodes are drawn from the graph where there is
one; where it is too small, or nobody in it could be reached, from the first nodes: DNS seeds and the shipped list by
turns, so that no single source fills all the places. A call goes through `PeerKeeper`, as for any peer; who is called
here is not remembered, and is hung up on once its gossip is here, unless a channel or the person keeps it.

Nobody is called in a restored wallet before the person has agreed; where the person switched it off; or on a network
that has no public nodes, unless some were named. With a proxy, names are resolved behind it, and seeds are not asked:
DNS would go past it. Who fails is left alone for a while, and when a turn reaches nobody the next one waits twice as
long.

Everything runs on the network loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from wallet.bitcoin.errors import DecodeError
from wallet.chain.interfaces import LogLevel
from wallet.ln.msgs.addresses import AddressKind, SocketAddress, decode_addresses
from wallet.ln.routing.gossip import WHOLE_LIST, SyncState
from wallet.ln.types import NodeId
from wallet.node.first_nodes import DnsSeeds, FirstNodes, Seeds, is_public, read_first_nodes
from wallet.node.questions import EndedError, Questions
from wallet.node.sockets import NodeUri, parse_node_uri

if TYPE_CHECKING:
    from wallet.ln.routing.gossip import SyncProgress
    from wallet.node.node import Node

__all__ = ["NETWORKS_WITHOUT", "GossipPeers"]

GOSSIP_PEERS = 3
"""Connected peers that have gossip, with which a sync is content: two are asked for everything, one is in reserve."""
GRAPH_TOO_OLD_SECONDS = 12 * 60 * 60
"""Since the last whole sync. Nodes repeat their terms every one to two weeks; fees change within hours."""
KEPT_PART = (3, 4)
"""Of the channels of the last sync: with fewer, the graph was lost, or its file is older."""
MIN_GRAPH_NODES = 100
"""With fewer to draw from, first nodes are called as well."""
GRAPH_DRAWS = 24
MAX_CALLS = 12
"""In one turn."""
FIRST_PAUSE_SECONDS = 30.0
LAST_PAUSE_SECONDS = 60.0 * 60
LEAVE_ALONE_SECONDS = 60.0 * 60
"""A node that could not be reached, or had nothing to tell."""
WATCH_SECONDS = 30.0
"""Between two turns while a sync goes on."""
IDLE_SECONDS = 10.0 * 60
LINGER_SECONDS = 10 * 60
"""How long other peers may go on once the sync with one has ended."""
CHANNEL_PEERS_FIRST_SECONDS = 20.0
"""At the start, peers of channels have this long to come: they have gossip too."""
CHOICE_SETTING = "gossip_peers"
SYNCED_SETTING = "graph_synced"
"""When, and with how many channels."""
NETWORKS_WITHOUT = ("regtest", "sandbox")
"""Practice networks: all of one is on this computer."""


class GossipPeers:
    """See the module's docstring."""

    def __init__(self, node: Node, *, seeds: Seeds | None = None, first: FirstNodes | None = None) -> None:
        """`seeds` and `first` stand in for DNS and the shipped list."""
        self._node = node
        self._seeds = seeds
        self._first = first
        self._called: set[NodeId] = set()
        self._left_alone: dict[NodeId, float] = {}
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._graph_failed = False
        self._noted_at: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._kick = asyncio.Event()
        self._questions = Questions()

    # --- on and off -----------------------------------------------------------------------

    @property
    def is_on(self) -> bool:
        """Whether public nodes may be called."""
        return self.can_be_chosen and self._node.ledger.settings.get(CHOICE_SETTING) != "no"

    @property
    def can_be_chosen(self) -> bool:
        """The command line's word stands over the stored choice, and some networks have no public nodes."""
        options = self._node.options
        if not options.call_gossip_peers:
            return False
        return options.network_name not in NETWORKS_WITHOUT or bool(options.first_peers)

    def choose(self, on: bool) -> None:
        """Stores the person's choice; within an entry, on the loop."""
        self._node.ledger.put_setting(CHOICE_SETTING, "yes" if on else "no")
        self.kick()

    @property
    def called(self) -> frozenset[NodeId]:
        """Who was called for gossip, and is still wanted for it."""
        return frozenset(self._called)

    # --- life -----------------------------------------------------------------------------

    def start(self) -> None:
        """Once peers may be called: the chain is known, and a restored wallet's owner has agreed."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def kick(self) -> None:
        """Looks at once: the computer woke up, or the choice has changed."""
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._left_alone.clear()
        self._kick.set()

    def end_questions(self) -> None:
        """A proxy was chosen, or another one: what is asked past it goes on no longer."""
        self._questions.end_all()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        with self._node.core.locked():
            has_channels = bool(self._node.manager.list_channels())
        wait_seconds = CHANNEL_PEERS_FIRST_SECONDS if has_channels else 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._kick.wait()
            # Before the turn: what kicks during it wants another one.
            self._kick.clear()
            try:
                wait_seconds = await self.look()
            except Exception as error:
                # A fault here costs the graph's age, not the wallet.
                self._node.log(LogLevel.ERROR, "peers for gossip: %r", error)
                wait_seconds = LAST_PAUSE_SECONDS

    # --- a turn ---------------------------------------------------------------------------

    async def look(self) -> float:
        """One turn; how many seconds until the next."""
        node = self._node
        if not node.recovery.contact_allowed:
            return IDLE_SECONDS
        with node.core.locked():
            progress, useful = node.gossip.sync_progress(), node.gossip.sync_peers()
            channels = node.graph.channel_count
        self._note(progress, channels)
        if not self.is_on or not self._is_needed(progress, channels):
            if self.is_on and self._others_go_on(progress):
                return WATCH_SECONDS
            self._let_go(self._called)
            self._pause_seconds = FIRST_PAUSE_SECONDS
            return IDLE_SECONDS
        online = node.peers.online
        # Who has gone by itself is not called back at once.
        self._leave_alone(self._called - online)
        self._called &= online
        useless = self._called - useful
        if progress.state is SyncState.DONE and not channels:
            # They have answered, and know of no channel.
            useless = set(self._called)
        self._leave_alone(useless)
        self._let_go(useless)
        missing = GOSSIP_PEERS - len((online & useful) - useless)
        if missing <= 0:
            return WATCH_SECONDS
        if await self._call_some(missing):
            self._pause_seconds = FIRST_PAUSE_SECONDS
            return WATCH_SECONDS
        pause_seconds, self._pause_seconds = (
            self._pause_seconds,
            min(self._pause_seconds * 2, LAST_PAUSE_SECONDS),
        )
        return pause_seconds

    def _note(self, progress: SyncProgress, channels: int) -> None:
        """Writes down that a sync has ended, and how much there was."""
        if (
            progress.synced_at in (None, self._noted_at)
            or progress.state is not SyncState.DONE
            or not channels
        ):
            return
        self._noted_at = progress.synced_at
        with self._node.core.entry():
            self._node.ledger.put_setting(SYNCED_SETTING, f"{self._node.wall_clock_at()} {channels}")

    def _is_needed(self, progress: SyncProgress, channels: int) -> bool:
        """Whether the graph is missing, old or not whole."""
        synced = _synced(self._node.ledger.settings.get(SYNCED_SETTING, ""))
        if not channels or synced is None:
            return True
        if progress.state is SyncState.DONE and progress.listed and progress.listed * WHOLE_LIST >= channels:
            # With a peer that is connected: its news come by themselves. One that has little, or hides the rest, is
            # none.
            return False
        synced_at, synced_channels = synced
        kept, whole = KEPT_PART
        if channels * whole < synced_channels * kept:
            return True
        return not 0 <= self._node.wall_clock_at() - synced_at < GRAPH_TOO_OLD_SECONDS

    def _others_go_on(self, progress: SyncProgress) -> bool:
        """Whether a second peer still tells what the first did not have."""
        if not progress.busy or progress.synced_at is None:
            return False
        return self._node.wall_clock_at() - progress.synced_at < LINGER_SECONDS

    # --- calling and hanging up -----------------------------------------------------------

    async def _call_some(self, missing: int) -> bool:
        """Calls until as many as are missing are there; whether anybody was reached."""
        candidates = self._from_graph()
        drawn = len(candidates)
        if drawn < MIN_GRAPH_NODES // 10 or self._graph_failed:
            candidates += await self._first_nodes()
        reached = 0
        calls = [uri for uri in _each_once(candidates) if self._may_be_called(uri)][:MAX_CALLS]
        while calls and reached < missing:
            batch, calls = calls[: missing - reached], calls[missing - reached :]
            reached += sum(await asyncio.gather(*(self._call(uri) for uri in batch)))
        self._graph_failed = not reached
        return reached > 0

    async def _call(self, uri: NodeUri) -> bool:
        """Never raises."""
        node = self._node
        self._called.add(uri.node_id)
        try:
            await node.peers.connect(uri)
        except (OSError, TimeoutError) as error:
            node.log(LogLevel.DEBUG, "no gossip from %s: %r", uri.node_id.hex()[:12], error)
            self._called.discard(uri.node_id)
            self._leave_alone((uri.node_id,))
            return False
        return True

    def _may_be_called(self, uri: NodeUri) -> bool:
        now = asyncio.get_running_loop().time()
        node = self._node
        if uri.node_id in node.peers.online or uri.node_id == node.keys_manager.get_node_id():
            return False
        return self._left_alone.get(uri.node_id, 0.0) <= now

    def _leave_alone(self, node_ids: Iterable[NodeId]) -> None:
        now = asyncio.get_running_loop().time()
        self._left_alone = {node_id: until for node_id, until in self._left_alone.items() if until > now}
        for node_id in node_ids:
            self._left_alone[node_id] = now + LEAVE_ALONE_SECONDS

    def _let_go(self, node_ids: Iterable[NodeId]) -> None:
        """Hangs up on those that nothing but gossip keeps."""
        node = self._node
        for node_id in tuple(node_ids):
            self._called.discard(node_id)
            if node_id in node.peers.online and not self._is_kept(node_id):
                node.hang_up(node_id)

    def _is_kept(self, node_id: NodeId) -> bool:
        """By a channel, or by the person, who has asked for it: then its address was written down."""
        return node_id in self._node.ledger.peers or self._node.has_channel_with(node_id)

    # --- whom to call ---------------------------------------------------------------------

    def _from_graph(self) -> list[NodeUri]:
        """Nodes at random that say where they can be reached."""
        found = []
        with self._node.core.locked():
            graph = self._node.graph
            if graph.node_count < MIN_GRAPH_NODES:
                return []
            for _draw in range(GRAPH_DRAWS):
                start = NodeId(bytes((random.choice((2, 3)),)) + random.randbytes(32))
                node_id = graph.next_announced_node(start) or graph.next_announced_node(None)
                announcement = None if node_id is None else graph.node_announcement(node_id)
                if node_id is None or announcement is None:
                    continue
                with contextlib.suppress(DecodeError):
                    if uri := self._reachable(node_id, decode_addresses(announcement.address_data)):
                        found.append(uri)
        return found

    def _reachable(self, node_id: NodeId, addresses: Iterable[SocketAddress]) -> NodeUri | None:
        """At its first address that we can dial; onion services only through a proxy, and no names: they would have
        to be asked for."""
        for address in addresses:
            if address.kind is AddressKind.TOR_V3:
                if self._node.proxy is not None and address.port:
                    return NodeUri(node_id, address.host, address.port)
            elif is_public(address.host):
                return NodeUri(node_id, address.host, address.port)
        return None

    async def _first_nodes(self) -> list[NodeUri]:
        """Seeds and the shipped list by turns; those that the person named, instead, where there are any."""
        options = self._node.options
        port = options.network.default_ln_port
        if options.first_peers:
            return [parse_node_uri(text, port) for text in options.first_peers]
        if self._first is None:
            loop = asyncio.get_running_loop()
            self._first = await loop.run_in_executor(None, read_first_nodes, options.network_name, port)
        shipped = random.sample(self._first.nodes, len(self._first.nodes))
        told = await self._ask_seeds(self._first.seeds)
        return [uri for uri in chain.from_iterable(zip_longest(told, shipped)) if uri is not None]

    async def _ask_seeds(self, seeds: tuple[str, ...]) -> list[NodeUri]:
        """What DNS seeds tell. Never with a proxy: the question would go past it."""
        if self._node.proxy is not None or not seeds:
            return []
        if self._seeds is None:
            self._seeds = DnsSeeds()
        asked = self._seeds
        try:
            async with self._questions.within(None):
                answers = await asyncio.gather(*(asked.nodes_of(seed) for seed in seeds))
        except EndedError:
            return []
        told = [uri for answer in answers for uri in answer]
        return random.sample(told, len(told))


def _synced(text: str) -> tuple[int, int] | None:
    """When the last whole sync was, and how many channels there were; None where that is not what it says."""
    parts = text.split(" ")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 12 for part in parts):
        return None
    return int(parts[0]), int(parts[1])


def _each_once(uris: Iterable[NodeUri]) -> list[NodeUri]:
    return list({uri.node_id: uri for uri in uris}.values())
