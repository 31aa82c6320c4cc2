"""What the timer thread does: a tick each for peers, channels, claims and the graph, in entries of their own, and what
has to be done when the computer woke up. What concerns connections and front ends is handed to the loop.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from wallet.chain.interfaces import LogLevel
from wallet.ln.routing.gossip import SyncState
from wallet.node.background import BackgroundProcessor, PeriodicTask
from wallet.node.records import ChannelStatRecord

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__ = ["Ticks"]

PEERS_SECONDS = 10.0
CHANNELS_SECONDS = 60.0
REBROADCAST_SECONDS = 30.0
GRAPH_SECONDS = 3600.0
GRAPH_SAVE_BYTES = 8 << 20
"""So much gossip that came since the last save is enough for another one, before the hour is over."""


class Ticks:
    """The ticks of a node, each a call without arguments."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._graph_state = SyncState.NOT_STARTED

    def thread(self) -> BackgroundProcessor:
        """The timer thread that makes them; not started yet."""
        tasks = (
            PeriodicTask("peers", PEERS_SECONDS, self.peers),
            PeriodicTask("channels", CHANNELS_SECONDS, self.channels),
            PeriodicTask("rebroadcast", REBROADCAST_SECONDS, self.rebroadcast),
            PeriodicTask("graph", GRAPH_SECONDS, self.graph),
        )
        return BackgroundProcessor(tasks, self._node.logger, resumed=self.resumed)

    def peers(self) -> None:
        node = self._node
        with node.core.entry():
            node.peer_manager.timer_tick_occurred()
            before, self._graph_state = self._graph_state, node.gossip.sync_progress().state
        node.loop.call_soon_threadsafe(node.peers_changed)
        if self._graph_state is not before:
            # Nothing was verified: nothing else says it.
            node.loop.call_soon_threadsafe(node.graph_moved)

    def channels(self) -> None:
        node = self._node
        with node.core.entry():
            node.manager.timer_tick_occurred(node.core.now)
            node.announcer.tick(node.graph, node.core.now)
            node.recovery.storage.tick()
            self._count_uptime()
            node.ledger.note_expired(node.core.now.at)
        # After a sync: messages that are in the file need not be in memory.
        if node.graph.fresh_length > GRAPH_SAVE_BYTES:
            node.save_caches()
        if node.silence_seconds():
            # Nothing else says that time goes by without a block.
            node.loop.call_soon_threadsafe(node.views.publish_soon)

    def _count_uptime(self) -> None:
        """One tick more for every channel that is ready; what a sleeping computer missed is not counted."""
        node = self._node
        node.peers.note_seen()
        step_seconds = int(CHANNELS_SECONDS)
        for item in node.manager.list_channels():
            if not item.is_channel_ready:
                continue
            before = node.ledger.stats.get(item.channel_id, ChannelStatRecord())
            node.ledger.put_stat(
                item.channel_id,
                dataclasses.replace(
                    before,
                    watched_seconds=before.watched_seconds + step_seconds,
                    online_seconds=before.online_seconds + (step_seconds if item.is_connected else 0),
                ),
            )

    def rebroadcast(self) -> None:
        node = self._node
        with node.core.entry():
            node.chain_monitor.rebroadcast_pending_claims()
            node.sweeper.regenerate_and_broadcast_spend_if_necessary()
            node.send_pending_again()
        node.recovery.tick()

    def graph(self) -> None:
        node = self._node
        with node.core.entry():
            node.gossip.prune(node.core.now)
            self._forget_resolved_channels()
            node.recovery.storage.forget_strangers()
            node.scorer.forget_decayed(node.core.now)
        node.save_caches()

    def _forget_resolved_channels(self) -> None:
        """Monitors whose every output is home and buried are put away."""
        node = self._node
        watched = set(node.chain_monitor.list_monitors())
        node.chain_monitor.archive_fully_resolved_monitors()
        for channel_id in watched - set(node.chain_monitor.list_monitors()):
            node.manager.forget_closed_channel(channel_id)

    def resumed(self) -> None:
        node = self._node
        node.log(LogLevel.INFO, "the computer woke up: reconnecting")
        node.loop.call_soon_threadsafe(node.electrum.reconnect)
        node.loop.call_soon_threadsafe(node.peers.kick)
        node.loop.call_soon_threadsafe(node.gossip_peers.kick)
