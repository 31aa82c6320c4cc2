"""Payments that nobody asked for: sent by the command, taken by whoever has not refused them, never in parts."""

from __future__ import annotations

import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from tests.functional.joined import World, config
from tests.functional.whole_nodes import CONFIG, WholeWorld, payer_and_payee, play
from wallet.bitcoin.curve import pubkey_from_secret
from wallet.ln import events as ev
from wallet.ln.features import Feature
from wallet.ln.onion_failure import FailureCode
from wallet.ln.onion_payload import RecipientOnion
from wallet.ln.outbound_payment import Retry
from wallet.ln.types import PaymentHash, PaymentId, PaymentPreimage, PaymentSecret
from wallet.node.api import ActivityStatus, CommandError
from wallet.node.records import RequestState

AMOUNT_MSAT = 12_345_678
PREIMAGE = PaymentPreimage(b"\x07" * 32)
HASH = PaymentHash(sha256(PREIMAGE).digest())
PAYMENT = PaymentId(bytes(32))


def test_a_spontaneous_payment_between_wallets_is_in_both_histories(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with payer_and_payee(tmp_path) as (payer, payee):
            paid = await payer.call(
                "keysend", node_id=payee.node_id, amount_msat=AMOUNT_MSAT, memo="thanks", trace=True
            )
            assert paid["success"]
            assert sha256(bytes.fromhex(paid["preimage"])).hexdigest() == paid["payment_hash"]
            assert [attempt["status"] for attempt in paid["attempts"]] == ["done"]
            key = bytes.fromhex(paid["payment_hash"])
            await payee.until("the payment", lambda: is_paid(payee, key))
            for node, amount_msat in ((payer, -AMOUNT_MSAT), (payee, AMOUNT_MSAT)):
                (entry,) = await node.call("lightning_history")
                assert entry["amount_msat"] == amount_msat
                assert entry["preimage"] == paid["preimage"]
                (item,) = [
                    item
                    for item in node.node.activity_page(offset=0, limit=10).items
                    if item.payment_hash == paid["payment_hash"]
                ]
                assert (item.amount_msat, item.status) == (amount_msat, ActivityStatus.DONE)
                assert item.label
            # The books of the payee outlive a restart, and a second one is another payment.
            await payee.until("the end of all HTLCs", payee.quiet)
            await payee.reopen()
            assert is_paid(payee, key)
            await payer.until("the channel back", lambda: payer.usable(payee))
            again = await payer.call("keysend", node_id=payee.node_id, amount_msat=AMOUNT_MSAT)
            assert again["success"]
            assert again["payment_hash"] != paid["payment_hash"]

    play(scenario())


def test_a_preimage_of_ones_own_names_the_payment_beforehand_and_is_used_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with payer_and_payee(tmp_path) as (payer, payee):
            asked: dict[str, Any] = {"node_id": payee.node_id, "amount_msat": AMOUNT_MSAT}
            for wrong in ("ab", "zz" * 32, "07" * 33):
                with pytest.raises(CommandError, match="64 characters"):
                    await payer.call("keysend", **asked, preimage=wrong)
            with pytest.raises(CommandError, match="not below 0"):
                await payer.call("keysend", **asked, max_fee_msat=-1)
            paid = await payer.call("keysend", **asked, preimage=PREIMAGE.hex())
            assert (paid["success"], paid["payment_hash"]) == (True, HASH.hex())
            with pytest.raises(CommandError, match="used before"):
                await payer.call("keysend", **asked, preimage=PREIMAGE.hex())
            assert len(await payer.call("lightning_history")) == 1

    play(scenario())


def is_paid(node: Any, payment_hash: bytes) -> bool:
    record = node.node.ledger.requests.get(payment_hash)
    return record is not None and record.state is RequestState.PAID


def test_a_spontaneous_payment_settles_no_request(tmp_path: Path) -> None:
    """Whoever gets to know the preimage of a held payment could settle it with a millisatoshi."""

    async def scenario() -> None:
        async with payer_and_payee(tmp_path) as (payer, payee):
            await payee.call("add_hold_invoice", payment_hash=HASH.hex(), amount_msat=AMOUNT_MSAT)
            module = sys.modules["wallet.node.commands.keysend"]
            with patch.object(module, "os", SimpleNamespace(urandom=lambda _length: bytes(PREIMAGE))):
                stolen = await payer.call("keysend", node_id=payee.node_id, amount_msat=1_000)
            assert stolen["payment_hash"] == HASH.hex()
            assert not stolen["success"]
            assert payee.node.ledger.requests[HASH].state is RequestState.UNPAID

    play(scenario())


def test_who_wants_no_spontaneous_payments_gets_none(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with payer_and_payee(tmp_path, config=replace(CONFIG, accept_keysend=False)) as (payer, payee):
            refused = await payer.call("keysend", node_id=payee.node_id, amount_msat=AMOUNT_MSAT)
            assert not refused["success"]
            assert "refused the payment of 12" in refused["reason"]
            assert "ask for an invoice" in refused["reason"]
            assert payee.channel_msat() == 0
            # What was asked for is taken as before.
            request = await payee.call("add_request", amount_msat=AMOUNT_MSAT, lightning=True)
            assert (await payer.call("lnpay", invoice=request["lightning_invoice"]))["success"]

    play(scenario())


def test_mistakes_are_told_before_anything_is_sent(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("payer",)) as world:
            (payer,) = world.nodes
            other = pubkey_from_secret(b"\x11" * 32).hex()
            for arguments, code in (
                ({"node_id": "02ab", "amount_msat": 1}, "usage"),
                ({"node_id": "02" + "ff" * 32, "amount_msat": 1}, "usage"),
                ({"node_id": payer.node_id, "amount_msat": 1}, "own"),
                ({"node_id": other}, "amount"),
                ({"node_id": other, "amount_msat": 0}, "amount"),
                ({"node_id": other, "amount": "0.1", "amount_msat": 1}, "usage"),
            ):
                with pytest.raises(CommandError) as raised:
                    await payer.call("keysend", **arguments)
                assert raised.value.code == code
            answer = await payer.call("keysend", node_id=other, amount_msat=5_000)
            assert not answer["success"]
            assert "Nothing of the 5\u00a0sat was paid" in answer["reason"]

    play(scenario())


def test_only_who_takes_them_says_so(world: World) -> None:
    takes = world.node("takes")
    refuses = world.node("refuses", replace(config(), accept_keysend=False))
    assert takes.manager.provided_node_features().supports(Feature.KEYSEND)
    assert not refuses.manager.provided_node_features().supports(Feature.KEYSEND)


def test_a_spontaneous_payment_in_parts_is_refused(world: World) -> None:
    """A secret of the payer's own making would let anybody add parts to it."""
    alice, bob = world.node("alice", config()), world.node("bob", config())
    for _ in range(2):
        world.open_channel(alice, bob, 500_000, 100_000_000)
    paths = [world.path([alice, bob], 1_500_000, index=0), world.path([alice, bob], 1_300_000, index=1)]
    route = world.route(paths, bob)
    with alice.manager._entry:
        alice.manager._outbound.send_payment_with_route(
            PAYMENT,
            HASH,
            RecipientOnion(total_msat=2_800_000, payment_secret=PaymentSecret(b"\x01" * 32)),
            route,
            now=world.now,
            best_height=alice.manager._best_height,
            keysend_preimage=PREIMAGE,
        )
    world.settle()
    failed = alice.one_event(ev.PaymentFailed)
    assert failed.reason is ev.PaymentFailureReason.RECIPIENT_REJECTED
    assert {attempt.failure_code for attempt in failed.attempts} == {
        FailureCode.INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS
    }
    assert not bob.events_of(ev.PaymentClaimable)
    bob.take_events()


def test_our_own_are_never_split(world: World) -> None:
    alice, bob = world.node("alice", config()), world.node("bob", config())
    for _ in range(2):
        world.open_channel(alice, bob, 500_000, 100_000_000)
    path = world.path([alice, bob], 1_500_000, index=0)
    route = world.route([path], bob)
    alice.router.routes.append(route)
    alice.manager.send_spontaneous_payment(PREIMAGE, PAYMENT, route.route_params, Retry(), world.now)
    assert alice.router.asked[0].payment_params.max_path_count == 1
    world.settle()
    bob.one_event(ev.PaymentClaimable)
    bob.manager.claim_funds(PREIMAGE)
    world.settle()
    alice.one_event(ev.PaymentSent)
    bob.one_event(ev.PaymentClaimed)
