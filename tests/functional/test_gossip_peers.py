"""A newcomer that has no channel learns of the network from a node that it calls for that, and hangs up again."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from tests.functional.whole_nodes import WholeNode, WholeWorld, play
from tests.unit.ln.routing.graph_builder import announce_channel, announce_node, announce_terms, scid
from wallet.ln.routing.gossip import SyncState
from wallet.node.node import Node

NAMES = "ABCDEFGH"


def learn(node: WholeNode) -> None:
    """A chain of channels, from nowhere."""
    gossip = node.node.gossip
    with node.node.core.entry():
        now_at = node.node.core.now.at
        for number, (a, b) in enumerate(pairwise(NAMES)):
            channel = scid(100 + number)
            gossip.handle_channel_announcement(None, announce_channel(a, b, channel))
            for source, target in ((a, b), (b, a)):
                gossip.handle_channel_update(
                    None, announce_terms(source, target, channel, timestamp_at=now_at - 240)
                )
        for name in NAMES:
            gossip.handle_node_announcement(None, announce_node(name, timestamp_at=now_at - 240))


def is_synced(node: Node) -> bool:
    """With whoever is asked, and nobody is asked any more: the next turn hangs up."""
    progress = node.gossip.sync_progress()
    return progress.state is SyncState.DONE and not progress.busy


def test_a_newcomer_calls_a_named_node_for_the_graph_and_hangs_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("newcomer", "knower")) as world:
            newcomer, knower = world.nodes
            learn(knower)
            node = newcomer.node
            told = await newcomer.call("getinfo")
            assert (told["graph_sync"], told["graph_age_seconds"], told["gossip_peers"]) == (
                "not started",
                None,
                "off",
            )
            # These channels are on no chain.
            node.gossip._utxo_lookup = None
            node.options = replace(node.options, first_peers=(knower.uri,))
            node.gossip_peers.kick()
            await newcomer.until("the end of the sync", lambda: is_synced(node))
            assert node.graph.channel_count == len(NAMES) - 1
            told = await newcomer.call("getinfo")
            assert (told["graph_sync"], told["graph_sync_channels"], told["graph_sync_channels_listed"]) == (
                "done",
                len(NAMES) - 1,
                len(NAMES) - 1,
            )
            assert told["graph_age_seconds"] >= 240
            assert told["gossip_peers"] == "on"
            # Who is called for gossip goes again: it is not one of the person's peers.
            assert node.snapshot().status.peers_total == 0
            # The next turn finds it done.
            node.gossip_peers.kick()
            await newcomer.until("the hanging up", lambda: not node.peers.online)
            await knower.until("the hanging up", lambda: not knower.node.peers.online)
            # Nothing of it is written down but that there was a sync.
            assert node.ledger.peers == {}
            assert not node.gossip_peers._is_needed(node.gossip.sync_progress(), node.graph.channel_count)

    play(scenario())


def test_the_choice_to_call_nobody_is_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("newcomer",)) as world:
            (newcomer,) = world.nodes
            newcomer.options = replace(newcomer.options, first_peers=(newcomer.uri,))
            await newcomer.bury()
            await newcomer.reopen()
            assert (await newcomer.call("getinfo"))["gossip_peers"] == "on"
            assert await newcomer.call("set_gossip_peers", on_or_off="off") == {"gossip_peers": "off"}
            await newcomer.bury()
            await newcomer.reopen()
            assert (await newcomer.call("getinfo"))["gossip_peers"] == "off"

    play(scenario())
