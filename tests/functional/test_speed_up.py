"""A payment on chain that waits is made quicker: what that costs is told before, and is what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.functional.whole_nodes import WholeWorld, play
from wallet.bitcoin.address import REGTEST, address_to_script
from wallet.node.api import CommandError


def test_the_price_of_speed_is_told_and_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await bob.fund(1_000_000)
            address = await alice.call("createnewaddress")
            sent = await bob.call("payto", destination=address, amount_sat="30000", feerate_sat_per_vb=2)
            await world.sees(sent["txid"])
            quote = await bob.call("quote_bump", txid=sent["txid"])
            assert quote["replaces"]
            assert quote["costs_sat"] == quote["fee_sat"] - sent["fee_sat"] > 0
            faster = await bob.call("bump_fee", txid=sent["txid"], feerate=quote["feerate"])
            assert faster["fee_sat"] == quote["fee_sat"]
            await world.mined(faster["txid"], blocks=1)

            def confirmed() -> bool:
                entry = bob.node.onchain.entry_by_hex(faster["txid"])
                return entry is not None and entry.height is not None

            await bob.until("the block", confirmed)
            with pytest.raises(CommandError):
                await bob.call("quote_bump", txid=faster["txid"])

    play(scenario())


def test_coins_that_arrive_slowly_are_hurried_by_a_child(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, _bob = world.nodes
            address = await alice.call("createnewaddress")
            txid = world.chain.faucet(address_to_script(address, REGTEST), 200_000)
            await alice.until("what arrives", lambda: alice.node.onchain.entry_by_hex(txid) is not None)
            quote = await alice.call("quote_bump", txid=txid)
            assert not quote["replaces"]
            assert quote["costs_sat"] == quote["fee_sat"] > 0
            child = await alice.call("bump_fee", txid=txid)
            assert child["fee_sat"] == quote["fee_sat"]
            await world.sees(child["txid"])

    play(scenario())
