"""A whole node is killed just before and just after every commit of what it does, and goes on from its file.

Before a commit is also what a full disk does: nothing of the batch is on disk, so nothing of it may have left. After it
is the other half: all of it is on disk and nothing has left, so it has to be made up for.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from tests.functional.whole_nodes import WAIT_SECONDS, WholeNode, WholeWorld, payer_and_payee, play
from wallet.bitcoin.tx import txid_from_hex, txid_hex
from wallet.node.api import CommandError

MOST_COMMITS = 60
AMOUNT_MSAT = 2_000_000


async def at_every_commit(
    victim: WholeNode, act: Callable[[], Awaitable[object]], settle: Callable[[], Awaitable[None]]
) -> int:
    """Acts again and again, the victim dying at its first, second, ... commit; `settle` looks at what became of it.

    Answers with the number of commits that one act takes.
    """
    for commit in range(MOST_COMMITS):
        for after in (False, True):
            victim.crash_at(commit, after=after)
            acting = asyncio.ensure_future(act())
            dying = asyncio.ensure_future(victim.dead.wait())
            await asyncio.wait({acting, dying}, timeout=WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            died = dying.done()
            dying.cancel()
            assert died or acting.done(), f"commit {commit}, after={after}: neither done nor dead"
            if died:
                acting.cancel()
            try:
                await acting
            except (asyncio.CancelledError, CommandError):
                # A command whose process died has no answer.
                if not died:
                    raise
            await victim.reopen()
            try:
                await settle()
            except AssertionError as error:
                error.add_note(f"killed {'after' if after else 'before'} commit {commit}")
                raise
        if not died:
            return commit
    raise AssertionError("the act never ends")


async def usable(one: WholeNode, other: WholeNode) -> None:
    for node, peer in ((one, other), (other, one)):
        await node.until("a usable channel", partial(node.usable, peer))


async def settled(one: WholeNode, other: WholeNode) -> None:
    """Connected again, and no HTLC on the way."""
    await usable(one, other)
    for node in (one, other):
        await node.until("the end of all HTLCs", node.quiet)


async def pay_again(payer: WholeNode, invoice: str) -> None:
    """What a person does whose wallet ended in the middle: it must not cost twice."""
    try:
        answer = await payer.call("lnpay", invoice=invoice)
        assert answer["success"], answer
    except CommandError as error:
        assert error.code == "paid", error  # noqa: PT017 - either end is good


@pytest.mark.parametrize("payer_dies", [True, False])
def test_a_payment(tmp_path: Path, payer_dies: bool) -> None:
    async def scenario() -> None:
        async with payer_and_payee(tmp_path) as (payer, payee):
            victim = payer if payer_dies else payee
            start_msat = payer.channel_msat()
            invoices: list[str] = []

            async def act() -> None:
                request = await payee.call("add_request", amount_msat=AMOUNT_MSAT, lightning=True)
                invoices.append(request["lightning_invoice"])
                await payer.call("lnpay", invoice=invoices[-1])
                await payer.until("the end of all HTLCs", payer.quiet)
                await payee.until("the end of all HTLCs", payee.quiet)

            async def settle() -> None:
                await settled(payer, payee)
                sent, received = await payer.history(), await payee.history()
                assert {key: -amount_msat for key, amount_msat in sent.items()} == received
                if invoices:
                    await pay_again(payer, invoices[-1])
                    await settled(payer, payee)
                sent, received = await payer.history(), await payee.history()
                assert {key: -amount_msat for key, amount_msat in sent.items()} == received
                assert len(sent) == len(set(invoices))
                assert payer.channel_msat() == start_msat - AMOUNT_MSAT * len(sent)
                assert payee.channel_msat() == AMOUNT_MSAT * len(sent)

            commits = await at_every_commit(victim, act, settle)
            assert commits >= 2

    play(scenario())


@pytest.mark.parametrize("give_back", [False, True])
def test_a_held_payment(tmp_path: Path, give_back: bool) -> None:
    async def scenario() -> None:
        async with payer_and_payee(tmp_path) as (payer, payee):
            start_msat = payer.channel_msat()
            made: dict[str, bytes] = {}
            numbers = itertools.count()

            async def finish(payment_hash: str) -> None:
                if give_back:
                    await payee.call("cancel_hold_invoice", payment_hash=payment_hash)
                else:
                    await payee.call("settle_hold_invoice", preimage=made[payment_hash].hex())

            async def status(payment_hash: str) -> str:
                return str((await payee.call("check_hold_invoice", payment_hash=payment_hash))["status"])

            paying: list[asyncio.Task[object]] = []

            async def act() -> None:
                preimage = next(numbers).to_bytes(32, "big")
                payment_hash = sha256(preimage).hexdigest()
                invoice = await payee.call(
                    "add_hold_invoice", payment_hash=payment_hash, amount_msat=AMOUNT_MSAT
                )
                made[payment_hash] = preimage
                paying.append(asyncio.ensure_future(payer.call("lnpay", invoice=invoice["invoice"])))
                key = bytes.fromhex(payment_hash)
                await payee.until("the payment", lambda: payee.node.ledger.requests[key].received_msat)
                await finish(payment_hash)
                await payer.until("the end of all HTLCs", payer.quiet)
                await payee.until("the end of all HTLCs", payee.quiet)

            def arrived_or_gone(payment_hash: str) -> bool:
                request = payee.node.ledger.requests[bytes.fromhex(payment_hash)]
                return bool(request.received_msat) or payer.quiet()

            async def settle() -> None:
                await usable(payer, payee)
                for payment_hash in made:
                    if await status(payment_hash) == "unpaid":
                        # It is still to arrive, or never left.
                        await payee.until("the payment", partial(arrived_or_gone, payment_hash))
                    if await status(payment_hash) == "paid":
                        await finish(payment_hash)
                await settled(payer, payee)
                for task in paying:
                    with contextlib.suppress(CommandError):
                        await task
                sent, received = await payer.history(), await payee.history()
                assert {key: -amount_msat for key, amount_msat in sent.items()} == received
                assert not (give_back and sent)
                assert payer.channel_msat() == start_msat - AMOUNT_MSAT * len(sent)
                assert payee.channel_msat() == AMOUNT_MSAT * len(sent)

            commits = await at_every_commit(payee, act, settle)
            assert commits >= 2
            assert give_back or await payer.history()

    play(scenario())


def test_a_payment_for_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("payer", "between", "payee")) as world:
            payer, between, payee = world.nodes
            await payer.fund(2_000_000, coins=2)
            await between.fund(2_000_000, coins=2)
            await payer.open_channel(between, 1_000_000)
            await between.open_channel(payee, 1_000_000)
            start_msat = payer.channel_msat(), between.channel_msat()
            invoices: list[str] = []

            async def act() -> None:
                await payee.until("the way to it", lambda: has_hint(payee))
                request = await payee.call("add_request", amount_msat=AMOUNT_MSAT, lightning=True)
                invoices.append(request["lightning_invoice"])
                await payer.call("lnpay", invoice=invoices[-1])
                for node in world.nodes:
                    await node.until("the end of all HTLCs", node.quiet)

            async def settle() -> None:
                await settled(payer, between)
                await settled(between, payee)
                await payer.until("the end of all HTLCs", payer.quiet)
                if invoices:
                    await pay_again(payer, invoices[-1])
                    await settled(payer, between)
                    await settled(between, payee)
                sent, received = await payer.history(), await payee.history()
                assert {key: -amount_msat for key, amount_msat in sent.items()} == received
                assert len(sent) == len(set(invoices))
                assert payee.channel_msat() == AMOUNT_MSAT * len(sent)
                # Whoever is in between has no less than before.
                assert between.channel_msat() >= start_msat[1]
                total_msat = sum(node.channel_msat() for node in world.nodes)
                assert total_msat == sum(start_msat)

            commits = await at_every_commit(between, act, settle)
            assert commits >= 2

    play(scenario())


def has_hint(node: WholeNode) -> bool:
    with node.node.core.locked():
        return any(item.counterparty_forwarding for item in node.node.manager.list_usable_channels())


@pytest.mark.parametrize("funder_dies", [True, False])
def test_an_opening(tmp_path: Path, funder_dies: bool) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("funder", "other")) as world:
            funder, other = world.nodes
            victim = funder if funder_dies else other
            await funder.fund(20_000_000, coins=20)

            async def act() -> None:
                opened = await funder.call(
                    "open_channel", connection_string=other.uri, amount_sat=100_000, timeout=10
                )
                await world.mined(opened["funding_txid"])
                await funder.until("a usable channel", lambda: funder.usable(other))

            before_sat = funder.onchain_sat()

            async def settle() -> None:
                nonlocal before_sat
                for item in funder.channels_with(other):
                    if item.confirmations:
                        continue
                    assert item.funding_outpoint is not None
                    await world.mined(txid_hex(item.funding_outpoint.txid))
                if funder.channels_with(other):
                    await funder.until("a usable channel", lambda: funder.usable(other))
                await funder.until("its coins back", lambda: funder.reserved_sat() == 0)
                opened_sat = 0
                for item in funder.channels_with(other):
                    assert item.funding_outpoint is not None
                    opened_sat += item.channel_value_sat + funder.fee_sat(item.funding_outpoint.txid)
                assert funder.onchain_sat() + opened_sat == before_sat

            commits = await at_every_commit(victim, act, settle)
            assert commits >= 2

    play(scenario())


def test_coins_that_are_sent(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("sender", "receiver")) as world:
            sender, receiver = world.nodes
            await sender.fund(2_000_000, coins=20)
            address = await receiver.call("createnewaddress")
            start_sat = sender.onchain_sat()

            async def act() -> None:
                sent = await sender.call("payto", destination=address, amount_sat="10000")
                await world.sees(sent["txid"])

            async def settle() -> None:
                entries = [entry for entry in await sender.call("history") if entry["amount_sat"] < 0]
                for entry in entries:
                    await world.sees(entry["txid"])
                fees_sat = sum(sender.fee_sat(txid_from_hex(entry["txid"])) for entry in entries)
                assert sender.onchain_sat() == start_sat - 10_000 * len(entries) - fees_sat

            await at_every_commit(sender, act, settle)
            world.chain.mine(1)

    play(scenario())
