"""A wallet whose payments lie on the disk: nothing that asks for them sees a difference."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.functional.whole_nodes import WholeNode, payer_and_payee, play
from wallet.node import shelf
from wallet.node.api import ActivityQuery, CommandError

PAYMENTS = 14


def in_order(entries: Any) -> list[Any]:
    """Of one second, whichever comes first."""
    return sorted(entries, key=lambda entry: entry["label"])


def fits(node: WholeNode) -> bool:
    ledger = node.node.ledger
    return not ledger.has_old and bool(ledger.payments.pages or ledger.requests.pages)


def test_settled_payments_leave_memory_and_are_found_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "KEPT", 3)
    monkeypatch.setattr(shelf, "PAGE_LINES", 4)

    async def scenario() -> None:
        async with payer_and_payee(tmp_path) as (payer, payee):
            world = payer.world
            invoices = []
            for number in range(PAYMENTS):
                asked = await payee.call(
                    "add_request", amount_msat=1_000 + number, message=f"Cup {number:02}", lightning=True
                )
                invoices.append(asked["lightning_invoice"])
                assert (await payer.call("lnpay", invoice=invoices[-1]))["success"]
            await payee.until("the end of all HTLCs", payee.quiet)
            await payer.until("the end of all HTLCs", payer.quiet)
            for node in world.nodes:
                await node.until("a short memory", partial(fits, node))
            before = [in_order(await node.call("lightning_history", details=True)) for node in world.nodes]
            asked_before = await payee.call("list_requests", paid=True)
            assert [len(history) for history in before] == [PAYMENTS, PAYMENTS]
            for node in world.nodes:
                await node.reopen()
            for node, sign in ((payer, -1), (payee, 1)):
                live = node.node.ledger.payments.live if sign < 0 else node.node.ledger.requests.live
                assert len(live) < 3 + 4
                whole = await node.call("lightning_history", details=True)
                assert in_order(whole) == before[world.nodes.index(node)]
                assert [entry["amount_msat"] for entry in in_order(whole)] == [
                    sign * (1_000 + number) for number in range(PAYMENTS)
                ]
                part = await node.call("lightning_history", details=True, limit=3, offset=2)
                assert part == whole[-5:-2]
                table = await node.call("export_history")
                assert all(f"Cup {number:02}" in table for number in range(PAYMENTS))
                found = node.node.activity_page(offset=0, limit=10, text="cup 1")
                assert found.total == PAYMENTS - 10
            asked = await payee.call("list_requests", paid=True)
            assert {entry["rhash"] for entry in asked} == {entry["rhash"] for entry in asked_before}
            assert await payee.call("list_requests", limit=2, offset=1) == asked[1:3]
            for entry in asked:
                assert await payee.call("get_request", request_id=entry["request_id"]) == entry
            # What is paid is paid, and can still be named.
            with pytest.raises(CommandError, match="already"):
                await payer.call("lnpay", invoice=invoices[0])
            key = before[0][0]["payment_hash"]
            with payer.node.core.entry():
                payer.node.set_label(f"ln:{key}", "The first cup")
            named = {entry["payment_hash"]: entry["label"] for entry in await payer.call("lightning_history")}
            assert named[key] == "The first cup"
            assert len(named) == PAYMENTS

    play(scenario())


def test_a_window_that_asks_while_the_wallet_closes_gets_nothing_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "KEPT", 0)
    monkeypatch.setattr(shelf, "PAGE_LINES", 1)

    async def scenario() -> None:
        async with payer_and_payee(tmp_path) as (payer, payee):
            for _ in range(2):
                assert (await payer.call("keysend", node_id=payee.node_id, amount_msat=1_000))["success"]
            await payer.until("a short memory", lambda: not payer.node.ledger.payments.live)
            node = payer.node
            ids = [item_id for item_id in node.activity_ids(ActivityQuery()) if item_id.startswith("ln:")]
            assert [item is not None for item in node.activity_items(ids)] == [True, True]
            await payer.bury()
            assert list(node.activity_items(ids)) == [None, None]
            assert node.find_activity(ActivityQuery(text="anything")).cancelled()

    play(scenario())
