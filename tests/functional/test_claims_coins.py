"""Claims that lack coins: the person is told what is missing and until when."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.functional.whole_nodes import Rates, WholeWorld, play


def test_the_person_hears_that_coins_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("rich", "poor")) as world:
            rich, poor = world.nodes
            await rich.fund(3_000_000, coins=2)
            await rich.open_channel(poor, 1_000_000, push_sat=300_000)
            monkeypatch.setattr(Rates, "get_est_sat_per_1000_weight", lambda *_: 5_000)
            channel_id = poor.channels_with(rich)[0].channel_id.hex()
            await poor.call("close_channel", channel_id=channel_id, force=True)

            def problem() -> str:
                return poor.node.snapshot().status.problem

            await poor.until(
                "that coins are missing", lambda: "coins are missing to pay its fee" in problem()
            )
            # Asked again, it is said again; and no more once a miner has taken it for what it paid itself.
            poor.node.ticks.rebroadcast()
            assert problem()
            world.chain.mine(3)
            await poor.until("that all is well", lambda: not problem())

    play(scenario())
