"""What was tried for a payment is written down: over whole nodes, through a failure, and across a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.functional.whole_nodes import WholeNode, WholeWorld, payer_and_payee, play
from wallet.node.api import ActivityStatus
from wallet.node.records import PaymentState

AMOUNT_MSAT = 20_000_000
TOO_MUCH_MSAT = 300_000_000
BASE_FEE_MSAT = 1_000


async def a_line(world: WholeWorld) -> tuple[WholeNode, WholeNode, WholeNode]:
    """Payer, hub and shop; the hub can send the shop less than the payer can send the hub."""
    payer, hub, shop = world.nodes
    await payer.fund(2_000_000, coins=2)
    await hub.fund(2_000_000, coins=2)
    await payer.open_channel(hub, 1_000_000)
    await hub.open_channel(shop, 200_000)
    await shop.until("the hub's terms", lambda: shop.channels_with(hub)[0].counterparty_forwarding)
    return payer, hub, shop


async def invoice_of(shop: WholeNode, amount_msat: int) -> str:
    request = await shop.call("add_request", amount_msat=amount_msat, lightning=True)
    return str(request["lightning_invoice"])


def test_each_attempt_is_told_and_outlives_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("payer", "hub", "shop")) as world:
            payer, hub, shop = await a_line(world)
            too_much = await invoice_of(shop, TOO_MUCH_MSAT)
            answer = await payer.call("lnpay", invoice=too_much, trace=True)
            assert not answer["success"]
            first = answer["attempts"][0]
            assert first["status"] == "failed"
            assert (first["failed_hop"], first["failure_name"]) == (0, "temporary_channel_failure")
            assert first["failed_channel"] == first["path"][1]["short_channel_id"]
            assert "could not carry" in first["failure"]
            assert [hop["node_id"] for hop in first["path"]] == [hub.node_id, shop.node_id]
            # The hub alone had it in hand, and says for how long.
            assert first["path"][0]["hold_time_ms"] is not None
            assert first["took_ms"] >= 0
            assert "300" in answer["reason"]
            assert "Nothing was paid" in answer["reason"]

            paid = await payer.call("lnpay", invoice=await invoice_of(shop, AMOUNT_MSAT), trace=True)
            assert paid["success"]
            (attempt,) = paid["attempts"]
            assert (attempt["status"], attempt["amount_msat"]) == ("done", AMOUNT_MSAT)
            assert attempt["fee_msat"] == paid["fee_msat"] == BASE_FEE_MSAT
            assert [(hop["amount_msat"], hop["fee_msat"]) for hop in attempt["path"]] == [
                (AMOUNT_MSAT + BASE_FEE_MSAT, BASE_FEE_MSAT),
                (AMOUNT_MSAT, 0),
            ]
            holds = [hop["hold_time_ms"] for hop in attempt["path"]]
            assert all(isinstance(hold_ms, int) for hold_ms in holds)
            # Each hop counts what those behind it took; attribution data tells tenths of a second.
            assert holds[1] - 100 <= holds[0] <= attempt["took_ms"] + 100

            await payer.reopen()
            assert await recorded(payer, answer["payment_hash"]) == answer["attempts"]
            assert await recorded(payer, paid["payment_hash"]) == paid["attempts"]
            (view,) = payer.node.payment_attempts(f"ln:{paid['payment_hash']}")
            assert view.status is ActivityStatus.DONE
            assert [hop.node_id for hop in view.hops] == [hub.node_id, shop.node_id]

    play(scenario())


def test_every_part_of_a_split_payment_is_timed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("payer", "payee")) as world:
            payer, payee = world.nodes
            await payer.fund(2_000_000, coins=4)
            for _ in range(2):
                await payer.open_channel(payee, 200_000)
            paid = await payer.call("lnpay", invoice=await invoice_of(payee, 250_000_000), trace=True)
            assert paid["success"]
            assert sum(attempt["amount_msat"] for attempt in paid["attempts"]) == 250_000_000
            assert len(paid["attempts"]) > 1
            # The preimage of one part is the proof; the others are timed as they are settled.
            payment = f"ln:{paid['payment_hash']}"
            await payer.until(
                "all parts timed",
                lambda: all(view.took_ms is not None for view in payer.node.payment_attempts(payment)),
            )
            views = payer.node.payment_attempts(payment)
            assert len(views) == len(paid["attempts"])
            assert all(view.hops[0].hold_time_ms is not None for view in views)

    play(scenario())


async def recorded(node: WholeNode, payment_hash: str) -> Any:
    """The attempts that the history tells of a payment."""
    history = await node.call("lightning_history", details=True)
    (entry,) = [entry for entry in history if entry["payment_hash"] == payment_hash]
    return entry["attempts"]


def test_an_attempt_under_way_is_shown_and_a_second_try_of_a_payment_keeps_the_first(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with payer_and_payee(tmp_path) as (payer, payee):
            held = await payee.call(
                "add_hold_invoice",
                payment_hash="66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925",
                amount_msat=AMOUNT_MSAT,
            )
            answer = await payer.call("lnpay", invoice=held["invoice"], timeout=1, trace=True)
            payment_hash = answer["payment_hash"]
            assert answer["pending"]
            assert [attempt["status"] for attempt in answer["attempts"]] == ["pending"]
            assert "under way" in answer["attempts"][0]["text"]

            await payee.until("the payment held", lambda: is_held(payee, payment_hash))
            await payee.call("cancel_hold_invoice", payment_hash=payment_hash)
            await payer.until("the payment back", lambda: has_failed(payer, payment_hash))
            (refused,) = await recorded(payer, payment_hash)
            assert refused["failure_name"] == "incorrect_or_unknown_payment_details"
            assert refused["failed_hop"] == 0

            again = await payer.call("lnpay", invoice=held["invoice"], trace=True)
            assert [attempt["status"] for attempt in again["attempts"]] == ["failed", "failed"]
            assert again["attempts"][0] == refused

    play(scenario())


def is_held(node: WholeNode, payment_hash: str) -> bool:
    record = node.node.ledger.requests.get(bytes.fromhex(payment_hash))
    return record is not None and record.claim_deadline_height > 0


def has_failed(node: WholeNode, payment_hash: str) -> bool:
    return node.node.ledger.payments[bytes.fromhex(payment_hash)].state is PaymentState.FAILED
