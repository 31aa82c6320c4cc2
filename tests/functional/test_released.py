"""What a commit lets leave: to hang up on one peer keeps back nothing of the others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.functional.test_bad_peers_node import offer
from tests.functional.whole_nodes import WholeWorld, play
from wallet.ln import msgs
from wallet.ln.events import ErrorAction, HandleError
from wallet.ln.types import ChannelId

WAIT_SECONDS = 60


def test_a_peer_with_an_opening_is_hung_up_on_and_all_else_leaves(tmp_path: Path) -> None:
    """Its opening ends with the connection, which is a change of its own: it has to be written in an entry."""

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await bob.fund(1_000_000)
            await bob.open_channel(alice, 500_000)
            node, peer = alice.node, bob.node.keys_manager.get_node_id()
            left: list[str] = []
            opening = msgs.decode_message(offer(1))
            assert isinstance(opening, msgs.OpenChannel)
            with node.core.entry():
                node.manager.handle_open_channel(peer, opening)
            warning = HandleError(
                peer, ErrorAction.SEND_WARNING_AND_DISCONNECT, "no answer", ChannelId(bytes(32))
            )
            with node.core.entry() as batch:
                batch.messages.append(warning)
                node.core.afterwards(lambda: left.append("what waited"))
                durable = node.durable()
            async with asyncio.timeout(WAIT_SECONDS):
                await durable
            assert left == ["what waited"]
            # The keeper calls again, and the channel goes on.
            await alice.until("the peer again", lambda: bool(node.manager.list_usable_channels()))

    play(scenario())


def test_a_fault_while_messages_leave_keeps_back_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await bob.fund(1_000_000)
            await bob.open_channel(alice, 500_000)
            node, peer = alice.node, bob.node.keys_manager.get_node_id()
            faults: list[str] = []

            def fault() -> None:
                faults.append("a fault")
                raise ValueError("a fault of ours")

            monkeypatch.setattr(node.peer_manager, "process_events", fault)
            with node.core.entry() as batch:
                batch.messages.append(HandleError(peer, ErrorAction.IGNORE, "nothing", ChannelId(bytes(32))))
                durable = node.durable()
            async with asyncio.timeout(WAIT_SECONDS):
                await durable
            monkeypatch.undo()
            assert faults
            (told,) = world.faults.lines
            assert "a fault of ours" in told
            world.faults.lines.clear()

    play(scenario())
