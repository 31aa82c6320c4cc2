"""Peers are asked what channels they take before there is money, and nothing of the question is left behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.functional.whole_nodes import CONFIG, WholeNode, WholeWorld, play
from wallet.ln.config import ChannelHandshakeLimits
from wallet.node.api import CommandError
from wallet.onchain.wallet import INTERNAL


def test_a_peer_is_asked_for_its_minimum_without_coins_and_nothing_is_left(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            terms = await alice.call("peer_terms", peer=bob.uri)
            assert terms["minimum_sat"] == 20_000
            assert terms["sensible_sat"] >= 100_000
            assert terms["uri"] == bob.uri
            with alice.node.core.locked():
                assert not alice.node.manager.list_channels()
                assert not alice.node.events.probes
                assert not alice.node.ledger.closed
            await alice.fund(1_000_000)
            quote = await alice.call("quote_open_channel", peer=bob.uri, amount_sat="100000")
            assert quote["peer_minimum_sat"] == 20_000
            assert not quote["warning"]
            # The question was no promise: a channel can be opened still.
            await alice.open_channel(bob, 200_000)

    play(scenario())


def test_questions_and_offers_that_come_to_nothing_tell_one_address_and_no_more(tmp_path: Path) -> None:
    """Each opening names where a close is to pay: a stranger's, too, who only wants to hear that."""

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes

            def handed_out() -> list[int]:
                return [each.node.onchain._state.branches[INTERNAL].handed_count for each in (alice, bob)]

            before = handed_out()
            for _ in range(3):
                await alice.call("peer_terms", peer=bob.uri)
            assert handed_out() == [count + 1 for count in before]
            # A channel that comes to be keeps its address, and the next opening has another one.
            await alice.fund(1_000_000)
            await alice.open_channel(bob, 200_000)
            await alice.open_channel(bob, 200_000)
            for each in (alice, bob):
                channels = each.node.manager._channels.values()
                assert len({channel.terms.shutdown_script for channel in channels}) == 2

    play(scenario())


def test_a_refusal_is_understood_at_the_first_try_and_the_second(tmp_path: Path) -> None:
    limits = ChannelHandshakeLimits(min_funding_sat=150_000)

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice"]) as world:
            world.config = replace(CONFIG, channel_handshake_limits=limits)
            alice, bob = world.nodes[0], WholeNode(world, "bob")
            world.nodes.append(bob)
            await bob.start()
            terms = await alice.call("peer_terms", peer=bob.uri)
            assert terms["minimum_sat"] == 150_000
            assert not alice.node.ledger.closed
            assert not alice.node.events.probes
            await alice.fund(1_000_000)
            quote = await alice.call("quote_open_channel", peer=bob.uri, amount_sat="100000")
            assert "150\u202f000" in quote["warning"]
            with pytest.raises(CommandError, match="150"):
                await alice.call("open_channel", peer=bob.uri, amount_sat=100_000)

    play(scenario())


def test_nobody_is_suggested_where_there_is_neither_list_nor_graph(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice"]) as world:
            assert await world.nodes[0].call("suggest_peers") == []
            with pytest.raises(CommandError, match="Between 1 and 30"):
                await world.nodes[0].call("suggest_peers", count=31)

    play(scenario())
