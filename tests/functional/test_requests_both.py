"""One request for both layers: whoever pays chooses, and either way it is seen to be paid."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.functional.whole_nodes import WholeWorld, play
from wallet.bitcoin.address import REGTEST, address_to_script
from wallet.node.api import RequestStatus, RequestView


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


def test_what_is_paid_on_chain_takes_no_lightning_payment(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await bob.fund(1_000_000)
            await bob.open_channel(alice, 500_000)
            asked = await alice.call("add_request", amount_msat=30_000_000, both=True)

            def status() -> RequestStatus:
                return next(
                    r.status for r in alice.node.snapshot().requests if r.request_id == asked["request_id"]
                )

            txid = world.chain.faucet(address_to_script(asked["address"], REGTEST), 30_000)
            await alice.until("what is on its way", lambda: status() is RequestStatus.PENDING)
            refused = await bob.call("lnpay", invoice=asked["lightning_invoice"])
            assert not refused["success"]
            assert "may be paid already" in refused["reason"]
            await world.mined(txid, blocks=1)
            await alice.until("the payment", lambda: status() is RequestStatus.PAID)
            assert not (await bob.call("lnpay", invoice=asked["lightning_invoice"]))["success"]
            assert alice.node.snapshot().balance.lightning_msat == 0

    play(scenario())


def test_a_request_that_is_paid_on_both_layers_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await bob.fund(1_000_000)
            await bob.open_channel(alice, 500_000)
            asked = await alice.call("add_request", amount_msat=30_000_000, both=True)
            assert (await bob.call("lnpay", invoice=asked["lightning_invoice"]))["success"]

            def shown() -> RequestView:
                return next(r for r in alice.node.snapshot().requests if r.request_id == asked["request_id"])

            await alice.until("the payment", lambda: shown().status is RequestStatus.PAID)
            assert not shown().paid_twice
            world.chain.faucet(address_to_script(asked["address"], REGTEST), 30_000)
            await alice.until("the second payment", lambda: shown().paid_twice)
            assert shown().status is RequestStatus.PAID
            await alice.reopen()
            assert shown().paid_twice

    play(scenario())


def test_who_paid_one_layer_is_told_before_the_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await bob.fund(1_000_000)
            await bob.open_channel(alice, 500_000)

            async def ask() -> tuple[dict[str, Any], str]:
                asked = await alice.call("add_request", amount_msat=30_000_000, both=True)
                invoice = asked["lightning_invoice"]
                return asked, f"bitcoin:{asked['address']}?amount=0.0003&lightning={invoice}"

            asked, link = await ask()
            found = await bob.call("recognise", text=link)
            assert found["can_pay"]
            assert found["fallback"]["paid_before"] is None
            sent = await bob.call("payto", destination=asked["address"], amount_sat="30000", target_blocks=6)
            before = (await bob.call("recognise", text=link))["fallback"]["paid_before"]
            assert (before["txid"], before["amount_sat"]) == (sent["txid"], 30_000)
            assert (before["confirmed"], before["times"]) == (False, 1)
            address = await bob.call("recognise", text=asked["address"])
            assert address["paid_before"] == before
            await world.mined(sent["txid"], blocks=1)

            def confirmed() -> bool:
                entry = bob.node.onchain.entry_by_hex(sent["txid"])
                return entry is not None and entry.height is not None

            await bob.until("the block", confirmed)
            assert (await bob.call("recognise", text=asked["address"]))["paid_before"]["confirmed"]
            # Coins that somebody else sent there are no payment of ours.
            other = await alice.call("createnewaddress")
            txid = world.chain.faucet(address_to_script(other, REGTEST), 20_000)
            await world.mined(txid, blocks=1)
            assert (await bob.call("recognise", text=other))["paid_before"] is None
            # Over Lightning first: the address is no longer offered.
            _asked, link = await ask()
            assert (await bob.call("recognise", text=link))["fallback"] is not None
            assert (await bob.call("lnpay", invoice=_asked["lightning_invoice"]))["success"]
            found = await bob.call("recognise", text=link)
            assert (found["kind"], found["already_paid"]) == ("invoice", True)
            assert "fallback" not in found

    play(scenario())


def test_while_a_payment_is_under_way_its_address_is_not_offered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await bob.fund(1_000_000)
            await bob.open_channel(alice, 500_000)
            held = await alice.call("add_hold_invoice", payment_hash="ab" * 32, amount_msat=30_000_000)
            address = await alice.call("createnewaddress")
            paying = asyncio.create_task(bob.call("lnpay", invoice=held["invoice"]))
            await alice.until(
                "the payment that is held",
                lambda: any(r.status is RequestStatus.HELD for r in alice.node.snapshot().requests),
            )
            link = f"bitcoin:{address}?amount=0.0003&lightning={held['invoice']}"
            found = await bob.call("recognise", text=link)
            assert found["kind"] == "invoice"
            assert found["pending"]
            payment_hash = found["payment_hash"]
            deadline = await bob.call("payment_deadline", payment_hash=payment_hash)
            (htlc,) = bob.node.manager.list_channels()[0].pending_htlcs
            assert deadline == {
                "height": htlc.cltv_expiry_height,
                "blocks": htlc.cltv_expiry_height - bob.node.best_height,
            }
            assert deadline["blocks"] > 0
            assert not found["can_pay"]
            assert "fallback" not in found
            await alice.call("cancel_hold_invoice", payment_hash="ab" * 32)
            assert not (await paying)["success"]
            await bob.until("the end of all HTLCs", bob.quiet)
            assert await bob.call("payment_deadline", payment_hash=payment_hash) == {}
            assert (await bob.call("recognise", text=link))["fallback"]["address"] == address

    play(scenario())
