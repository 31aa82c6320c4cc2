"""What may go wrong between core, disk and sockets: each of these once lost, or could have lost, somebody something."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.functional.whole_nodes import CONFIG, WholeNode, WholeWorld, payer_and_payee, play
from tests.stand_in import put_in_place_of
from wallet.bitcoin.address import REGTEST, address_to_script
from wallet.node.api import CommandError
from wallet.node.caches import RoutingCaches
from wallet.node.records import RequestState

AMOUNT_MSAT = 2_000_000


def test_what_a_slow_disk_holds_back_does_not_go_over_a_later_connection(tmp_path: Path) -> None:
    """The peer would get a commitment_signed before channel_reestablish, and close the channel."""

    async def scenario() -> None:
        async with payer_and_payee(tmp_path) as (payer, payee):
            request = await payee.call("add_request", amount_msat=AMOUNT_MSAT, lightning=True)
            with payer.slow_disk():
                paying = asyncio.ensure_future(payer.call("lnpay", invoice=request["lightning_invoice"]))
                await payer.until("the HTLC on its way", lambda: not payer.quiet())
                payee.hang_up()
                await payer.until("the peer gone", lambda: not payer.node.peers.online)
                await payer.until("the peer back", lambda: payer.node.peers.online)
            assert (await paying)["success"]
            await payer.until("the end of all HTLCs", payer.quiet)
            assert payer.usable(payee)
            assert payee.channel_msat() == AMOUNT_MSAT

    play(scenario())


def test_a_cache_that_fails_for_a_fault_of_ours_keeps_no_peer_away(tmp_path: Path) -> None:
    async def scenario() -> None:
        with patch.object(RoutingCaches, "read", side_effect=ValueError("a fault of ours")):
            async with WholeWorld.made(tmp_path, ["alice"]) as world:
                (alice,) = world.nodes
                await alice.until("the peers called", lambda: alice.node._chain_known)
                # Nothing waits for it any more.
                assert alice.node.graph_is_read

    play(scenario())


def test_the_ticks_of_a_wallet_at_rest_change_nothing(tmp_path: Path) -> None:
    """Twice a minute, for years: no address is handed out, nothing is written, no window is told."""

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice"]) as world:
            (alice,) = world.nodes
            await alice.fund(1_000_000)
            onchain = alice.node.onchain
            before = onchain._state, onchain.version
            for _ in range(3):
                alice.node.ticks.rebroadcast()
            assert (onchain._state, onchain.version) == before

    play(scenario())


def test_a_held_payment_that_has_gone_back_cannot_be_settled(tmp_path: Path) -> None:
    """Whoever is told "settled" hands out what was sold."""

    async def scenario() -> None:
        async with payer_and_payee(tmp_path) as (payer, payee):
            world = payer.world
            preimage = bytes(32)
            payment_hash = sha256(preimage)
            invoice = await payee.call(
                "add_hold_invoice", payment_hash=payment_hash.hexdigest(), amount_msat=AMOUNT_MSAT
            )
            paying = asyncio.ensure_future(payer.call("lnpay", invoice=invoice["invoice"]))
            requests = payee.node.ledger.requests
            request = await payee.until(
                "the payment",
                lambda: (
                    found if (found := requests[payment_hash.digest()]).state is RequestState.HELD else None
                ),
            )
            world.chain.mine(request.claim_deadline_height - world.chain.height)
            assert not (await paying)["success"]
            with pytest.raises(CommandError) as refused:
                await payee.call("settle_hold_invoice", preimage=preimage.hex())
            assert refused.value.code == "not_held"
            status = await payee.call("check_hold_invoice", payment_hash=payment_hash.hexdigest())
            assert status["status"] == "unpaid"
            assert status["received_amount_sat"] == 0

    play(scenario())


def test_a_payment_that_waits_for_room_can_be_called_off(tmp_path: Path) -> None:
    """Else its invoice would be "under way" for ever, although nothing is."""

    async def scenario() -> None:
        narrow = replace(CONFIG.channel_handshake_config, max_inbound_htlc_value_in_flight_percent=10)
        config = replace(CONFIG, channel_handshake_config=narrow)
        async with payer_and_payee(tmp_path, config=config) as (payer, payee):
            preimage = bytes(32)
            held = await payee.call(
                "add_hold_invoice", payment_hash=sha256(preimage).hexdigest(), amount_msat=60_000_000
            )
            first = asyncio.ensure_future(payer.call("lnpay", invoice=held["invoice"]))
            await payee.until("the payment", lambda: not payee.quiet())
            request = await payee.call("add_request", amount_msat=60_000_000, lightning=True)
            second = asyncio.ensure_future(payer.call("lnpay", invoice=request["lightning_invoice"]))
            await payer.until("two payments", lambda: len(payer.node.ledger.payments) == 2)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            await payee.call("cancel_hold_invoice", payment_hash=sha256(preimage).hexdigest())
            assert not (await first)["success"]
            assert (await payer.call("lnpay", invoice=request["lightning_invoice"]))["success"]

    play(scenario())


def test_a_full_disk_ends_what_waits_and_hangs_up(tmp_path: Path) -> None:
    """Nobody may be left waiting, the peer included: its HTLCs have deadlines."""

    async def scenario() -> None:
        async with payer_and_payee(tmp_path) as (payer, payee):
            request = await payee.call("add_request", amount_msat=AMOUNT_MSAT, lightning=True)
            await settled_on_disk(payer)
            payer.crash_at(0, after=False)
            paying = asyncio.ensure_future(payer.call("lnpay", invoice=request["lightning_invoice"]))
            asking = asyncio.ensure_future(payer.call("createnewaddress"))
            for command in (paying, asking):
                with pytest.raises(CommandError) as ended:
                    await command
                assert ended.value.code == "file"
            with pytest.raises(CommandError) as refused:
                await payer.call("createnewaddress")
            assert refused.value.code == "file"
            await payee.until("the peer gone", lambda: not payee.node.peers.online)
            assert "file" in payer.node.snapshot().status.problem
            await payer.reopen()
            await payer.until("a usable channel", lambda: payer.usable(payee))
            assert (await payer.call("lnpay", invoice=request["lightning_invoice"]))["success"]

    play(scenario())


async def settled_on_disk(node: WholeNode) -> None:
    """Nothing is waiting for the disk."""
    with node.node.core.entry():
        durable = node.node.durable()
    await durable


def test_an_event_whose_handler_fails_stops_nothing_and_is_not_lost(tmp_path: Path) -> None:
    """Else every later entry would meet it again, and so would every start: nothing would watch the chain."""

    async def scenario() -> None:
        async with payer_and_payee(tmp_path) as (payer, payee):
            world = payer.world

            def fail(event: object) -> None:
                raise RuntimeError("a fault of ours")

            handler = payer.node.events
            with patch.object(handler, "_sent", fail):
                invoices = []
                for _ in range(2):
                    request = await payee.call("add_request", amount_msat=AMOUNT_MSAT, lightning=True)
                    invoices.append(request["lightning_invoice"])
                paying = asyncio.ensure_future(payer.call("lnpay", invoice=invoices[0], timeout=2))
                await payee.until("the payment", lambda: payee.channel_msat() == AMOUNT_MSAT)
                await payer.until("the end of all HTLCs", payer.quiet)
            assert (await payer.call("lnpay", invoice=invoices[1]))["success"]
            assert (await paying)["pending"]
            assert len(await payer.history()) == 1
            assert world.faults.lines
            world.faults.lines.clear()
            await payer.reopen()
            assert len(await payer.history()) == 2

    play(scenario())


def test_a_listener_that_fails_does_not_blind_the_others(tmp_path: Path) -> None:
    """Heights decide over HTLCs, whatever is wrong with the on-chain funds."""

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("one",)) as world:
            (one,) = world.nodes

            def fail(*_args: object) -> None:
                raise RuntimeError("a fault of ours")

            put_in_place_of(one.node.onchain, "transactions_confirmed", fail)
            address = await one.call("createnewaddress")
            world.chain.faucet(address_to_script(address, REGTEST), 100_000)
            world.chain.mine(3)
            height = world.chain.height
            await one.until("the block", lambda: one.node.manager.current_best_block[1] == height)
            assert world.faults.lines
            world.faults.lines.clear()
            await one.reopen()
            assert one.onchain_sat() == 100_000

    play(scenario())
