"""The mempool's minimum has risen since the servers were asked: a refusal says so, and what waits is sent anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.functional.whole_nodes import WholeWorld, play
from wallet.chain.interfaces import ConfirmationTarget
from wallet.node.api import CommandError

RISEN_SAT_PER_KVB, RISEN_SAT_PER_KW = 20_000, 5_060
"""With the room for nodes that count in whole vbytes."""


def test_a_refusal_for_its_fee_has_the_servers_asked_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("payer",)) as world:
            (payer,) = world.nodes
            estimator = payer.node.electrum.fee_estimator
            await payer.fund(3_000_000, coins=2)
            await payer.until("fee rates", lambda: estimator.snapshot.servers)
            world.chain.mempool_minimum_sat_per_kvb = RISEN_SAT_PER_KVB
            assert estimator.get_est_sat_per_1000_weight(ConfirmationTarget.OUTPUT_SPENDING_FEE) < 2_000
            address = await payer.call("createnewaddress")
            sent = await payer.call("payto", destination=address, amount="0.001", feerate="1", unsigned=False)
            with pytest.raises(CommandError) as refused:
                await payer.call("broadcast", tx=sent)
            assert "Its fee is below what the network asks for" in str(refused.value)
            await payer.until(
                "the risen rate",
                lambda: (
                    estimator.get_est_sat_per_1000_weight(ConfirmationTarget.OUTPUT_SPENDING_FEE)
                    == RISEN_SAT_PER_KW
                ),
            )

    play(scenario())
