"""A channel looked into: its HTLCs, its past states, and after its end each output's way home."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tests.functional.whole_nodes import WAIT_SECONDS, Json, WholeNode, WholeWorld, play
from wallet.node.api import ChannelPhase, CommandError
from wallet.node.records import RequestState


def test_each_past_state_of_a_channel_is_there_newest_first(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await alice.fund(1_000_000)
            channel_id = await alice.open_channel(bob, 500_000)
            before = await alice.call("channel_states", channel_id=channel_id)
            assert before["htlcs"] == []
            assert [state["number"] for state in before["past"]] == list(range(before["total"]))[::-1]
            invoice = (await bob.call("add_request", amount_msat=7_000_000, lightning=True))[
                "lightning_invoice"
            ]
            paid = await alice.call("lnpay", invoice=invoice)
            assert paid["success"]
            await alice.until("a quiet channel", alice.quiet)
            await bob.until("a quiet channel", bob.quiet)
            after = await alice.call("channel_states", channel_id=channel_id)
            assert after["total"] > before["total"]
            seen = [htlc for state in after["past"] for htlc in state["htlcs"]]
            assert {(htlc["amount_msat"], htlc["outgoing"]) for htlc in seen} == {(7_000_000, True)}
            assert {htlc["payment_hash"] for htlc in seen} == {paid["payment_hash"]}
            assert after["current"][0]["ours_sat"] + after["current"][0]["theirs_sat"] < 500_000
            assert after["current"][0]["theirs_sat"] == 7_000
            page = await alice.call("channel_states", channel_id=channel_id, offset=1, limit=1)
            assert page["past"] == after["past"][1:2]
            assert page["current"] == []
            with pytest.raises(CommandError, match="There is no channel"):
                await alice.call("channel_states", channel_id="00" * 32)

    play(scenario())


async def reported(node: WholeNode, channel_id: str, wanted: Callable[[Json], bool]) -> Json:
    """What is said of a closed channel once it is what is wanted; asked again whenever something changed."""
    views = node.node.views
    report = None
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                version = views.version
                report = await node.call("closing_report", channel_id=channel_id)
                if wanted(report):
                    return report
                await views.changed_since(version)
    except TimeoutError:
        raise AssertionError(f"{node.name} never said what was wanted: {report}") from None


def states(report: Json) -> list[str]:
    return [output["state"] for output in report["outputs"]]


def test_a_forced_close_is_followed_until_the_money_is_home(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await alice.fund(1_000_000)
            channel_id = await alice.open_channel(bob, 500_000, push_sat=120_000)
            with pytest.raises(CommandError, match="There is no channel"):
                await alice.call("closing_report", channel_id=channel_id)
            await alice.call("close_channel", channel_id=channel_id, force=True)

            def report() -> dict[str, object] | None:
                record = alice.node.ledger.closed.get(bytes.fromhex(channel_id))
                return (
                    None if record is None or record.closing_txid is None else {"txid": record.closing_txid}
                )

            await alice.until("a closing transaction", report)
            asked = await alice.call("closing_report", channel_id=channel_id)
            (view,) = alice.node.views.snapshot().channels
            assert view.phase is ChannelPhase.FORCE_CLOSING
            await world.mined(asked["closing_txid"])
            height = world.chain.height
            waits = await reported(
                alice,
                channel_id,
                lambda r: r["closing_confirmations"] == 6 and states(r) == ["locked"] and r["peer_sat"],
            )
            assert waits["best_height"] == height
            (output,) = waits["outputs"]
            assert output["until_height"] > height
            assert 370_000 < output["amount_sat"] < 380_000
            assert waits["peer_sat"] == 120_000
            assert output["goes"] == "home"
            assert [step[1] for step in output["steps"]] == ["done", "current", "waiting"]
            with pytest.raises(CommandError, match="waits for a delay"):
                await alice.call("speed_up_closing", channel_id=channel_id)
            world.chain.mine(output["until_height"] - height)
            swept = await reported(
                alice,
                channel_id,
                lambda r: states(r) == ["sweeping"] and r["outputs"][0]["can_speed_up"],
            )
            (sweeping,) = swept["outputs"]
            await world.sees(sweeping["txid"])
            assert await alice.call("speed_up_closing", channel_id=channel_id) == {"raised": True}
            (raised,) = (await alice.call("closing_report", channel_id=channel_id))["outputs"]
            assert raised["txid"] != sweeping["txid"]
            await world.mined(raised["txid"])
            (home,) = (await reported(alice, channel_id, lambda r: states(r) == ["home"]))["outputs"]
            assert home["txid"] == raised["txid"]

    play(scenario())


def test_a_close_by_agreement_pays_the_wallet_and_can_be_sped_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await alice.fund(1_000_000)
            channel_id = await alice.open_channel(bob, 500_000)
            await alice.call("close_channel", channel_id=channel_id)
            key = bytes.fromhex(channel_id)

            def closing() -> bytes | None:
                record = alice.node.ledger.closed.get(key)
                return None if record is None else record.closing_txid

            await alice.until("a closing transaction", closing)
            txid = (await alice.call("closing_report", channel_id=channel_id))["closing_txid"]
            await alice.until("its output", lambda: alice.node.onchain.entry_by_hex(txid))
            (output,) = (await alice.call("closing_report", channel_id=channel_id))["outputs"]
            assert (output["state"], output["txid"]) == ("confirming", txid)
            (view,) = alice.node.views.snapshot().channels
            assert view.phase is not ChannelPhase.FORCE_CLOSING
            await world.mined(txid)
            (home,) = (await reported(alice, channel_id, lambda r: states(r) == ["home"]))["outputs"]
            assert home["amount_sat"] == output["amount_sat"]
            assert (home["goes"], output["goes"]) == ("home", "home")
            assert 0 < output["confirming_blocks"] <= 6
            assert home["confirming_blocks"] is None

    play(scenario())


def fates(report: Json) -> dict[str, int]:
    return {
        output["goes"]: output["amount_sat"] for output in report["outputs"] if output["state"] == "locked"
    }


def test_a_payment_that_was_held_is_told_apart_from_what_comes_home(tmp_path: Path) -> None:
    """To the payer it comes back unless the payee takes it; the payee needs its proof."""
    payment_hash = sha256(bytes(32)).digest()

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "bob"]) as world:
            alice, bob = world.nodes
            await alice.fund(1_000_000)
            channel_id = await alice.open_channel(bob, 500_000, push_sat=120_000)
            held = await bob.call("add_hold_invoice", payment_hash=payment_hash.hex(), amount_msat=30_000_000)
            paying = asyncio.ensure_future(alice.call("lnpay", invoice=held["invoice"]))
            requests = bob.node.ledger.requests
            await bob.until("the payment", lambda: requests[payment_hash].state is RequestState.HELD or None)
            await alice.call("close_channel", channel_id=channel_id, force=True)
            key = bytes.fromhex(channel_id)

            def closing() -> bytes | None:
                record = alice.node.ledger.closed.get(key)
                return None if record is None else record.closing_txid

            await alice.until("a closing transaction", closing)
            txid = (await alice.call("closing_report", channel_id=channel_id))["closing_txid"]
            await world.mined(txid, 1)
            await bob.until("the close", lambda: bob.node.ledger.closed.get(key))
            ours = await reported(
                alice, channel_id, lambda r: r["peer_sat"] and fates(r).keys() == {"home", "unless taken"}
            )
            assert fates(ours)["unless taken"] == 30_000
            assert 340_000 < fates(ours)["home"] < 350_000
            assert ours["peer_sat"] == 120_000
            theirs = await reported(bob, channel_id, lambda r: r["peer_sat"] and "if proven" in fates(r))
            assert fates(theirs)["if proven"] == 30_000
            assert theirs["peer_sat"] == fates(ours)["home"]
            (view,) = bob.node.views.snapshot().channels
            assert view.phase is ChannelPhase.FORCE_CLOSING
            paying.cancel()
            await asyncio.gather(paying, return_exceptions=True)

    play(scenario())
