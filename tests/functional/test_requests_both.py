"""One request for both layers: whoever pays chooses, and either way it is seen to be paid."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.functional.whole_nodes import WholeWorld, play
from wallet.bitcoin.address import REGTEST, address_to_script
from wallet.node.api import RequestStatus


@pytest.mark.parametrize("both", [True, False], ids=["either way", "on chain only"])
def test_a_payment_on_chain_arrives_and_then_is_there(tmp_path: Path, both: bool) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            if both:
                await bob.fund(1_000_000)
                await bob.open_channel(alice, 500_000)
            asked = await alice.call("add_request", amount_msat=30_000_000, message="Two tickets", both=both)
            assert bool(asked["lightning_invoice"]) is both

            def status() -> RequestStatus:
                return next(
                    r.status for r in alice.node.snapshot().requests if r.request_id == asked["request_id"]
                )

            script = address_to_script(asked["address"], REGTEST)
            world.chain.faucet(script, 29_999)
            world.chain.mine(1)
            height = world.chain.height
            await alice.until("the new tip", lambda: alice.node.best_height == height)
            assert status() is RequestStatus.UNPAID
            txid = world.chain.faucet(script, 30_000)
            await alice.until("what is on its way", lambda: status() is RequestStatus.PENDING)
            await world.mined(txid, blocks=1)
            await alice.until("the payment", lambda: status() is RequestStatus.PAID)
            await alice.reopen()
            assert status() is RequestStatus.PAID

    play(scenario())


def test_a_payment_over_lightning_pays_the_same_request(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await bob.fund(1_000_000)
            await bob.open_channel(alice, 500_000)
            asked = await alice.call("add_request", amount_msat=30_000_000, both=True)
            assert asked["address"]
            assert (await bob.call("lnpay", invoice=asked["lightning_invoice"]))["success"]
            await alice.until(
                "the payment",
                lambda: any(
                    r.request_id == asked["request_id"] and r.status is RequestStatus.PAID
                    for r in alice.node.snapshot().requests
                ),
            )

    play(scenario())
