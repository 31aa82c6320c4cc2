"""A channel is bought of a node that sells channels, by the very protocol: two whole nodes, one with the hub's shop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.functional.whole_nodes import WholeNode, WholeWorld, play
from wallet.bitcoin.tx import txid_from_hex, txid_hex
from wallet.ln import lsps1
from wallet.ln.features import Features
from wallet.ln.types import NodeId
from wallet.node.api import CommandError
from wallet.node.orders import OrderStep
from wallet.sandbox import seller as seller_module
from wallet.sandbox.seller import ChannelSeller, SoldOrder, SoldStep, channel_price_sat

BOUGHT_SAT = 300_000


@contextlib.asynccontextmanager
async def selling(hub: WholeNode, *, opens: bool = True) -> AsyncIterator[ChannelSeller]:
    """Without `opens` it answers, and sees no payment."""
    seller = ChannelSeller(hub.node)
    if opens:
        seller.start()
    else:
        hub.node.lsps.service = seller
    try:
        yield seller
    finally:
        await seller.close()


async def came(world: WholeWorld, buyer: WholeNode, order: dict[str, Any]) -> None:
    """The order's channel comes, by the buyer's books; it counts once it is confirmed."""
    key = bytes.fromhex(order["order_id"])
    opening = await buyer.until("the opening", lambda: buyer.node.orders.records[key].channel_id)
    assert buyer.node.orders.records[key].step is OrderStep.PAYING
    assert "first confirmation" in next(
        item["sentence"] for item in await buyer.call("list_orders") if item["order_id"] == order["order_id"]
    )
    with buyer.node.core.locked():
        channels = buyer.node.manager.list_channels()
    funding = next(item.funding_outpoint for item in channels if item.channel_id == opening)
    assert funding is not None
    await world.mined(txid_hex(funding.txid), 1)
    await buyer.until("the channel", lambda: buyer.node.orders.records[key].step is OrderStep.ARRIVED)


async def sold(seller: ChannelSeller, hub: WholeNode, step: SoldStep) -> None:
    await hub.until(f"an order that is {step}", lambda: [o.step for o in seller._orders.values()] == [step])


async def usable_after_blocks(world: WholeWorld, buyer: WholeNode, hub: WholeNode) -> None:
    world.chain.mine(6)
    await buyer.until("usable channels", lambda: buyer.usable(hub))


def test_a_channel_is_paid_over_lightning_and_settled_once_it_is_funded(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "hub"]) as world:
            alice, hub = world.nodes
            await alice.fund(1_000_000)
            await hub.fund(2_000_000)
            await alice.open_channel(hub, 200_000)
            async with selling(hub) as seller:
                terms = await alice.call("channel_offer", peer=hub.uri)
                assert (terms["min_sat"], terms["max_sat"]) == (20_000, 15_000_000)
                order = await alice.call(
                    "buy_channel", peer=hub.uri, amount_sat=BOUGHT_SAT, client_sat=40_000
                )
                fee_sat = channel_price_sat(BOUGHT_SAT)
                assert order["status"] == "offered"
                assert order["lightning"] == {"total_sat": 40_000 + fee_sat, "fee_sat": fee_sat}
                assert "Nothing is paid yet" in order["sentence"]
                await alice.call("pay_order", order_id=order["order_id"], pay="lightning")
                await came(world, alice, order)
                await sold(seller, hub, SoldStep.SOLD)
                await usable_after_blocks(world, alice, hub)
                bought = next(c for c in alice.channels_with(hub) if not c.is_outbound)
                assert bought.channel_value_sat == BOUGHT_SAT + 40_000
                assert bought.balance_msat == 40_000_000
                listed = (await alice.call("list_orders"))[0]
                assert listed["status"] == "arrived"
                assert listed["channel_id"] == bought.channel_id.hex()
                # What was paid is neither paid again nor forgotten.
                with pytest.raises(CommandError, match="paid already"):
                    await alice.call("pay_order", order_id=order["order_id"])

    play(scenario())


def test_who_has_no_channel_pays_on_chain_and_a_restart_loses_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "hub"]) as world:
            alice, hub = world.nodes
            await alice.fund(100_000)
            await hub.fund(2_000_000)
            async with selling(hub):
                order = await alice.call("buy_channel", peer=hub.uri, amount_sat=BOUGHT_SAT)
                quoted_sat = order["ways"]["mining_fee_sat"]
            # The seller is away while the payment leaves, and the buyer dies.
            await hub.bury()
            with pytest.raises(CommandError, match="cannot be reached"):
                await alice.call("pay_order", order_id=order["order_id"])
            assert (await alice.call("list_orders"))[0]["status"] == "offered"
            await hub.start()
            async with selling(hub, opens=False):
                paid = await alice.call("pay_order", order_id=order["order_id"], pay="onchain")
            assert "awaited" in paid["sentence"]
            await world.sees(paid["paid_txid"])
            assert alice.fee_sat(txid_from_hex(paid["paid_txid"])) == quoted_sat
            await alice.reopen()
            assert (await alice.call("list_orders"))[0]["status"] == "paying"
            async with selling(hub) as seller:
                await came(world, alice, order)
                await sold(seller, hub, SoldStep.SOLD)
            await usable_after_blocks(world, alice, hub)
            assert [c.channel_value_sat for c in alice.channels_with(hub)] == [BOUGHT_SAT]

    play(scenario())


def test_a_held_payment_comes_back_when_the_channel_cannot_be_opened(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "hub"]) as world:
            alice, hub = world.nodes
            await alice.fund(1_000_000)
            await alice.open_channel(hub, 200_000)
            before_msat = alice.channel_msat()
            async with selling(hub) as seller:
                # The hub has no coins at all.
                with pytest.raises(CommandError, match="nothing was paid"):
                    await alice.call("buy_channel", peer=hub.uri, amount_sat=BOUGHT_SAT, max_fee_sat=5_000)
                await sold(seller, hub, SoldStep.ENDED)
            await alice.until("the payment back", alice.quiet)
            assert alice.channel_msat() == before_msat
            listed = (await alice.call("list_orders"))[0]
            assert listed["status"] == "refunded"
            assert "came back" in listed["sentence"]

    play(scenario())


def test_a_payment_on_chain_is_sent_back_when_the_channel_cannot_be_opened(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "hub"]) as world:
            alice, hub = world.nodes
            await alice.fund(1_000_000)
            async with selling(hub) as seller:
                paid = await alice.call(
                    "buy_channel", peer=hub.uri, amount_sat=BOUGHT_SAT, client_sat=100_000, max_fee_sat=5_000
                )
                key = bytes.fromhex(paid["order_id"])
                await world.mined(paid["paid_txid"], 1)
                await sold(seller, hub, SoldStep.ENDED)
                refund = await hub.until("the refund", lambda: hub.node.onchain.pending_transactions())
                await world.mined(refund[0].txid[::-1].hex(), 1)
                records = alice.node.orders.records
                await alice.until("the money back", lambda: records[key].step is OrderStep.REFUNDED)
            assert "came back" in (await alice.call("list_orders"))[0]["sentence"]
            assert alice.onchain_sat() > 995_000
            assert not alice.channels_with(hub)

    play(scenario())


def test_a_payment_that_is_held_survives_the_buyers_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "hub"]) as world:
            alice, hub = world.nodes
            await alice.fund(1_000_000)
            await hub.fund(2_000_000)
            await alice.open_channel(hub, 200_000)
            really_open = ChannelSeller._open
            may_open = False

            async def open_later(seller: ChannelSeller, order: SoldOrder) -> SoldOrder:
                return await really_open(seller, order) if may_open else order

            monkeypatch.setattr(ChannelSeller, "_open", open_later)
            async with selling(hub) as seller:
                order = await alice.call("buy_channel", peer=hub.uri, amount_sat=BOUGHT_SAT)
                paying = asyncio.ensure_future(alice.call("pay_order", order_id=order["order_id"]))
                await sold(seller, hub, SoldStep.OPENING)
                paying.cancel()
                await asyncio.gather(paying, return_exceptions=True)
                await alice.reopen()
                assert "are held for" in (await alice.call("list_orders"))[0]["sentence"]
                await hub.until("the buyer", lambda: hub.usable(alice))
                may_open = True
                hub.node.views.publish_soon()
                await came(world, alice, order)
                await sold(seller, hub, SoldStep.SOLD)
            await usable_after_blocks(world, alice, hub)
            assert min((await alice.history()).values()) == -order["lightning"]["total_sat"] * 1000

    play(scenario())


def test_a_channel_that_is_less_than_what_was_paid_for_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "hub"]) as world:
            alice, hub = world.nodes
            await alice.fund(100_000)
            await hub.fund(2_000_000)
            async with selling(hub, opens=False):
                order = await alice.call("buy_channel", peer=hub.uri, amount_sat=BOUGHT_SAT)
                await alice.call("pay_order", order_id=order["order_id"])
            # Nobody sells any more: what the hub opens now, it opens by hand.
            with pytest.raises(CommandError, match="less than what was ordered"):
                await hub.call("open_channel", connection_string=alice.uri, amount_sat=BOUGHT_SAT - 1)
            assert not alice.channels_with(hub)
            with pytest.raises(CommandError, match="a private one was ordered"):
                await hub.call(
                    "open_channel", connection_string=alice.uri, amount_sat=BOUGHT_SAT, public=True
                )
            assert "you paid for a private one" in (await alice.call("list_orders"))[0]["sentence"]
            await hub.call("open_channel", connection_string=alice.uri, amount_sat=BOUGHT_SAT + 1)
            await came(world, alice, order)
            # What nobody ordered stays private; who orders a public channel gets that.
            with pytest.raises(CommandError, match="Our channels are private"):
                await hub.call(
                    "open_channel", connection_string=alice.uri, amount_sat=BOUGHT_SAT, public=True
                )
            await hub.fund(2_000_000)
            async with selling(hub):
                public = await alice.call("buy_channel", peer=hub.uri, amount_sat=BOUGHT_SAT, public=True)
                assert public["public"]
                await alice.call("pay_order", order_id=public["order_id"])
                await came(world, alice, public)
            assert {c.channel_value_sat: c.is_announced for c in alice.channels_with(hub)} == {
                BOUGHT_SAT + 1: False,
                BOUGHT_SAT: True,
            }

    play(scenario())


def test_a_seller_that_changes_its_terms_or_answers_nothing_is_told_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "hub"]) as world:
            alice, hub = world.nodes
            await alice.fund(100_000)
            await hub.fund(2_000_000)
            async with selling(hub) as seller:
                order = await alice.call("buy_channel", peer=hub.uri, amount_sat=BOUGHT_SAT)
                really_call = seller.call

                def dearer(
                    node_id: NodeId, method: str, params: Mapping[str, object]
                ) -> Mapping[str, object]:
                    answer: dict[str, Any] = dict(really_call(node_id, method, params))
                    if method == "lsps1.get_order":
                        answer["lsp_balance_sat"] = "20000"
                    return answer

                async def never(_seller: ChannelSeller, unpaid: SoldOrder) -> SoldOrder:
                    return unpaid

                monkeypatch.setattr(seller, "call", dearer)
                monkeypatch.setattr(ChannelSeller, "_look_for_payment", never)
                # It is asked again before anything leaves.
                with pytest.raises(CommandError, match="no longer stands by this offer"):
                    await alice.call("pay_order", order_id=order["order_id"])
                assert (await alice.call("list_orders"))[0]["status"] == "offered"
                assert alice.onchain_sat() == 100_000
                monkeypatch.setattr(seller, "call", really_call)
                await alice.call("pay_order", order_id=order["order_id"])
                record = bytes.fromhex(order["order_id"])
                orders = alice.node.orders
                monkeypatch.setattr(seller, "call", dearer)
                world.chain.mine(1)
                await alice.until("the problem", lambda: "was agreed" in orders.records[record].problem)
                assert orders.records[record].order.params.lsp_balance_sat == BOUGHT_SAT
                # A new order of which the answer is another one is not kept at all.
                monkeypatch.setattr(seller, "call", lambda *_asked: {"order_id": "x"})
                with pytest.raises(CommandError, match="Nothing was paid"):
                    await alice.call("channel_offer", peer=hub.uri)
            monkeypatch.setattr("wallet.node.orders.QUIET_TIMEOUT_SECONDS", 0)
            monkeypatch.setattr("wallet.node.orders.ASK_TIMEOUT_SECONDS", 0)
            with pytest.raises(CommandError, match="perhaps it sells no channels"):
                await alice.call("channel_offer", peer=hub.uri)
            assert len(await alice.call("list_orders")) == 1

    play(scenario())


def test_dearer_than_was_allowed_is_not_paid_and_who_sells_nothing_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "hub"]) as world:
            alice, hub = world.nodes
            await alice.fund(1_000_000)
            async with selling(hub):
                with pytest.raises(CommandError, match=r"more than the 1\D999\Dsat that you allow"):
                    await alice.call("buy_channel", peer=hub.uri, amount_sat=BOUGHT_SAT, max_fee_sat=1_999)
                with pytest.raises(CommandError, match=r"sells channels with 20\D000\Dsat to"):
                    await alice.call("buy_channel", peer=hub.uri, amount_sat=1_000)
                with pytest.raises(CommandError, match="no channel that is ready"):
                    await alice.call(
                        "buy_channel", peer=hub.uri, amount_sat=BOUGHT_SAT, max_fee_sat=5_000, pay="lightning"
                    )
            assert alice.onchain_sat() == 1_000_000
            assert {item["status"] for item in await alice.call("list_orders")} == {"offered"}

    play(scenario())


def test_what_would_be_refused_or_costs_more_than_allowed_is_not_even_ordered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "hub"]) as world:
            alice, hub = world.nodes
            await alice.fund(1_000_000)
            async with selling(hub) as seller:
                options = replace(
                    seller_module.OPTIONS,
                    max_initial_client_balance_sat=20_000_000,
                    max_initial_lsp_balance_sat=30_000_000,
                    max_channel_balance_sat=50_000_000,
                    min_channel_balance_sat=1,
                    min_initial_lsp_balance_sat=1,
                )
                monkeypatch.setattr(seller_module, "OPTIONS", options)

                async def refused(match: str, **asked: Any) -> None:
                    with pytest.raises(CommandError, match=match):
                        await alice.call(
                            "buy_channel", **({"peer": hub.uri, "amount_sat": BOUGHT_SAT} | asked)
                        )

                await refused(r"with 20\D000\Dsat to", amount_sat=19_999)
                assert (await alice.call("channel_offer", peer=hub.uri))["max_sat"] == 30_000_000
                with monkeypatch.context() as small:
                    small.setattr(alice.node.manager, "provided_init_features", lambda _node_id: Features())
                    await refused(r"to 16\D777\D215\Dsat", amount_sat=16_777_216)
                    await refused("both sides together", amount_sat=16_000_000, client_sat=777_216)
                    assert (await alice.call("channel_offer", peer=hub.uri))["max_sat"] == 16_777_215
                # A seller whose leases are short is not paid without a word about that.
                monkeypatch.setattr(seller_module, "OPTIONS", replace(options, max_channel_expiry_blocks=10))
                await refused("keeps a channel open for 10 blocks", max_fee_sat=5_000)
                assert not seller._orders
                assert not alice.node.orders.records
                # Nor one that wants a side of ours that nobody spoke of.
                monkeypatch.setattr(
                    seller_module, "OPTIONS", replace(options, min_initial_client_balance_sat=100_000)
                )
                await refused(r"of which 100\D000\Dsat come to lie on your side", max_fee_sat=5_000)
                assert {record.step for record in alice.node.orders.records.values()} == {OrderStep.OFFERED}
                assert alice.onchain_sat() == 1_000_000
                paid = await alice.call(
                    "buy_channel", peer=hub.uri, amount_sat=BOUGHT_SAT, client_sat=100_000, max_fee_sat=2_000
                )
                assert paid["onchain"]["total_sat"] == 102_000

    play(scenario())


def test_prices_use_up_no_addresses_and_an_order_that_is_dead_or_late_is_not_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ["alice", "hub"]) as world:
            alice, hub = world.nodes
            await alice.fund(100_000)
            await hub.fund(2_000_000)
            records = alice.node.orders.records

            def addresses() -> list[str]:
                return [record.order.params.refund_onchain_address for record in records.values()]

            async with selling(hub) as seller:
                with pytest.raises(CommandError, match="does not sell such a channel"):
                    await alice.call(
                        "buy_channel", peer=hub.uri, amount_sat=BOUGHT_SAT, client_sat=0, expiry_blocks=60_000
                    )
                first = await alice.call("buy_channel", peer=hub.uri, amount_sat=BOUGHT_SAT)
                second = await alice.call("buy_channel", peer=hub.uri, amount_sat=BOUGHT_SAT + 1)
                assert len(addresses()) == 2
                assert len(set(addresses())) == 1
                request = await alice.call("add_request", amount_msat=1_000_000)
                assert request["address"] not in addresses()
                # Too little time is left for a block.
                late_at = first["expires_at"] - 29 * 60
                with monkeypatch.context() as later:
                    later.setattr(alice.node, "wall_clock_at", lambda: late_at)
                    with pytest.raises(CommandError, match="too little time"):
                        await alice.call("pay_order", order_id=first["order_id"])
                # The seller has ended it.
                for sold_order in list(seller._orders.values()):
                    if sold_order.order.params.lsp_balance_sat == BOUGHT_SAT + 1:
                        await seller._move(sold_order, SoldStep.ENDED, state=lsps1.OrderState.FAILED)
                with pytest.raises(CommandError, match="no longer waits for your payment"):
                    await alice.call("pay_order", order_id=second["order_id"])
                assert alice.onchain_sat() == 100_000
                third = await alice.call("buy_channel", peer=hub.uri, amount_sat=BOUGHT_SAT + 2)
                await alice.call("pay_order", order_id=first["order_id"])
                # One refund each.
                with pytest.raises(CommandError, match="same address for a refund"):
                    await alice.call("pay_order", order_id=third["order_id"], pay="onchain")
                await alice.call("buy_channel", peer=hub.uri, amount_sat=BOUGHT_SAT + 3)
                assert len(set(addresses())) == 2

    play(scenario())
