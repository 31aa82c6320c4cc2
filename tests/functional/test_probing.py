"""`lnpay --probe`: what nobody can take is sent ahead, and nothing is paid unless it has reached the payee."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.functional.test_attempts import AMOUNT_MSAT, TOO_MUCH_MSAT, a_line, invoice_of
from tests.functional.whole_nodes import WholeWorld, play
from wallet.ln.peer_handler import PeerManager


def test_a_probe_reaches_the_payee_and_the_payment_follows_its_route(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("payer", "hub", "shop")) as world:
            payer, _hub, shop = await a_line(world)
            invoice = await invoice_of(shop, AMOUNT_MSAT)
            answer = await payer.call("lnpay", invoice=invoice, probe=True, trace=True)
            assert answer["success"]
            (probe,) = answer["probes"]
            assert probe["reached_payee"]
            assert probe["failure_name"] == "incorrect_or_unknown_payment_details"
            (attempt,) = answer["attempts"]
            assert attempt["path"][-1]["node_id"] == shop.node_id
            assert way(probe) == way(attempt)
            # It is no payment of the books, but is kept with the one that it went ahead of.
            (entry,) = await payer.call("lightning_history", details=True)
            assert entry["probes"] == [probe]
            await payer.until("the end of all HTLCs", payer.quiet)
            await shop.until("the end of all HTLCs", shop.quiet)
            assert shop.channel_msat() == AMOUNT_MSAT

    play(scenario())


def way(attempt: dict[str, list[dict[str, object]]]) -> list[tuple[object, object]]:
    return [(hop["short_channel_id"], hop["amount_msat"]) for hop in attempt["path"]]


def test_where_no_probe_arrives_nothing_is_paid(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("payer", "hub", "shop")) as world:
            payer, _hub, shop = await a_line(world)
            invoice = await invoice_of(shop, TOO_MUCH_MSAT)
            before_msat = payer.channel_msat()
            answer = await payer.call("lnpay", invoice=invoice, probe=True)
            assert not answer["success"]
            assert not any(probe["reached_payee"] for probe in answer["probes"])
            assert answer["probes"][0]["failure_name"] == "temporary_channel_failure"
            assert "was paid" in answer["reason"]
            assert await payer.call("lightning_history", details=True) == []
            await payer.until("the end of all HTLCs", payer.quiet)
            assert payer.channel_msat() == before_msat
            # The same invoice may be paid, or tried, once more.
            again = await payer.call("lnpay", invoice=invoice)
            assert not again["success"]

    play(scenario())


def test_a_probe_that_hangs_is_given_up_and_holds_no_payment_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The payee hears nothing: the person is told in time, and what was sent ahead comes back by itself later."""

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("payer", "hub", "shop")) as world:
            payer, _hub, shop = await a_line(world)
            invoice = await invoice_of(shop, AMOUNT_MSAT)
            deaf, hear = shop.node.peer_manager, PeerManager.read_event

            def received(manager: PeerManager[Any], descriptor: Any, data: bytes) -> bool:
                return False if manager is deaf else hear(manager, descriptor, data)

            monkeypatch.setattr(PeerManager, "read_event", received)
            answer = await payer.call("lnpay", invoice=invoice, probe=True, timeout=1)
            assert not answer["success"]
            assert "did not come back in time. Nothing was paid" in answer["reason"]
            assert await payer.call("lightning_history", details=True) == []
            assert not payer.quiet()
            # The invoice can be paid all the same, and the probe's end is nobody's any more.
            monkeypatch.undo()
            await shop.reopen()
            await payer.until("the end of the probe", payer.quiet)
            assert payer.node.events.probe_waiters == {}
            assert (await payer.call("lnpay", invoice=invoice))["success"]
            assert len(await payer.call("lightning_history", details=True)) == 1

    play(scenario())
