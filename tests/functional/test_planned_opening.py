"""The peer first, then the deposit: the channel opens by itself once the deposit has confirmed, and only once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.functional.whole_nodes import WholeWorld, play
from wallet.bitcoin.address import REGTEST, address_to_script
from wallet.node.api import CommandError, ReserveReason
from wallet.node.plans import Plan


def test_a_planned_channel_opens_with_the_deposit_also_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            planned = await alice.call("plan_channel", peer=bob.uri)
            assert "once your deposit has confirmed" in planned["sentence"]
            assert alice.node.snapshot().status.plan_is_waiting
            await alice.reopen()
            assert alice.node.snapshot().status.plan_is_waiting
            script = address_to_script(planned["address"], REGTEST)
            # What does not reach for a channel waits on.
            world.chain.faucet(script, 15_000)
            world.chain.mine(1)
            await alice.until("the small deposit", lambda: alice.onchain_sat() == 15_000)
            assert alice.node.snapshot().status.plan_is_waiting
            world.chain.faucet(script, 400_000)
            world.chain.mine(1)
            opened = await alice.until("the channel", lambda: alice.channels_with(bob))
            assert 380_000 < opened[0].channel_value_sat < 415_000
            await alice.until("no plan any more", lambda: not alice.node.snapshot().status.planned_channel)
            await world.mined(opened[0].funding_outpoint.txid[::-1].hex())
            await alice.until("a usable channel", lambda: alice.usable(bob))
            # What the channel keeps back is told apart, and what is left is what can be sent.
            balance = alice.node.snapshot().balance
            kept_sat = {
                part.reason: part.amount_sat for part in balance.reserved if not part.reason.is_onchain
            }
            assert set(kept_sat) == {ReserveReason.CHANNEL_RESERVE, ReserveReason.COMMITMENT_FEE}
            assert balance.lightning_spendable_sat == balance.can_send_msat // 1000 > 0
            whole_sat = balance.spendable_sat + balance.incoming_sat + balance.reserved_sat
            assert whole_sat == balance.total_sat
            assert len(alice.channels_with(bob)) == 1

    play(scenario())


def test_a_peer_that_is_away_keeps_its_plan_and_one_under_way_is_left_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            uri = bob.uri
            await bob.bury()
            await alice.call("plan_channel", peer=uri, amount_sat=100_000)
            plan = alice.node.plans.plan
            await alice.fund(500_000)
            plans = alice.node.plans
            while plans._task is not None and not plans._task.done():
                await plans._task
            plans.chain_moved()
            assert plans._task is not None
            await plans._task
            assert plans.plan == plan
            plans.is_opening = True
            with pytest.raises(CommandError, match="being opened just now"):
                await alice.call("plan_channel")
            assert alice.node.plans.plan == plan
            alice.node.plans.is_opening = False
            await alice.call("plan_channel")
            assert alice.node.plans.plan is None

    play(scenario())


def test_a_plan_can_be_forgotten_and_a_silly_one_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            with pytest.raises(CommandError, match="eaten by its fees"):
                await alice.call("plan_channel", peer=bob.uri, amount_sat=500)
            await alice.call("plan_channel", peer=bob.uri, amount_sat=100_000)
            await alice.call("plan_channel")
            assert alice.node.plans.plan is None
            await alice.fund(500_000)
            height = world.chain.height
            await alice.until("the tip", lambda: alice.node.best_height == height)
            assert not alice.channels_with(bob)

    play(scenario())


@pytest.mark.parametrize("text", ["", "one two", "one two three", "a 1 2 3", "a -1 2"])
def test_a_setting_that_makes_no_sense_is_no_plan(text: str) -> None:
    assert Plan.read(text) is None
