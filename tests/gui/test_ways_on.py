"""Where a newcomer would stand before a wall: no channel to pay by, or one that was closed before its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.gui import scenes
from tests.gui.conftest import Desk
from tests.gui.fake_node import HUB, FakeNode, make_channel
from tests.gui.hands import click
from wallet.gui.pages.channels import ChannelsPage
from wallet.gui.pages.item_dialog import ItemDialog
from wallet.gui.pages.open_channel import OpenChannelDialog
from wallet.gui.pages.overview import guide_step
from wallet.gui.pages.pay_cards import InvoiceCard
from wallet.gui.pages.send import SendPage
from wallet.node.api import ActivityItem, ActivityKind, ActivityStatus, ChannelPhase, ChannelView

Make = Callable[[FakeNode], Desk]

NO_CHANNEL = "You have no channel that is ready to pay with."


def channel_of(phase: ChannelPhase) -> ChannelView:
    return make_channel(
        7,
        node_id=HUB,
        alias="Friendly hub",
        capacity_sat=1_000_000,
        local_msat=900_000_000,
        inflight_msat=0,
        phase=phase,
    )


def shown(desk: Desk, invoice: str) -> tuple[SendPage, InvoiceCard]:
    desk.go("send")
    page = desk.page(SendPage)
    page.take(invoice)
    desk.until(lambda: isinstance(page.card, InvoiceCard))
    assert isinstance(page.card, InvoiceCard)
    return page, page.card


def test_who_has_no_channel_is_led_from_the_invoice_to_opening_one(desk: Make) -> None:
    one = desk(scenes.funded())
    invoice = one.node.foreign_invoice(21_000_000, "Coffee", can_pay=False, why_not=NO_CHANNEL)
    _page, card = shown(one, invoice)
    assert not card.button.isEnabled()
    assert card.channel_way.button.isVisible()
    assert card.channel_way.button.text() == "Open a channel"
    click(card.channel_way.button)
    assert one.dialog(OpenChannelDialog).isVisible()


def test_who_waits_for_a_channel_is_led_to_it(desk: Make) -> None:
    node = scenes.funded()
    coming = channel_of(ChannelPhase.AWAITING_CONFIRMATIONS)
    node.channels[coming.channel_id] = coming
    one = desk(node)
    invoice = node.foreign_invoice(21_000_000, "Coffee", can_pay=False, why_not=NO_CHANNEL)
    _page, card = shown(one, invoice)
    assert card.channel_way.button.text() == "To the channels"
    click(card.channel_way.button)
    one.until(lambda: one.shell.current_key == "channels")
    assert one.page(ChannelsPage).isVisible()


def test_what_the_channels_can_carry_offers_no_other(typical: Desk) -> None:
    _page, card = shown(typical, typical.node.foreign_invoice(21_000_000, "Coffee"))
    assert card.button.isEnabled()
    assert not card.channel_way.isVisible()


def test_an_invoice_that_is_refused_for_itself_offers_no_channel(desk: Make) -> None:
    one = desk(scenes.funded())
    own = one.node.foreign_invoice(21_000_000, "Mine", own=True, can_pay=False, why_not="Your own.")
    _page, card = shown(one, own)
    assert not card.button.isEnabled()
    assert not card.channel_way.isVisible()


def test_an_invoice_that_waited_for_a_channel_can_be_paid_once_it_is_ready(desk: Make) -> None:
    one = desk(scenes.funded())
    node = one.node
    invoice = node.foreign_invoice(21_000_000, "Coffee", can_pay=False, why_not=NO_CHANNEL)
    page, refused = shown(one, invoice)
    assert not refused.button.isEnabled()

    def comes_ready() -> None:
        node.invoices[invoice] |= {"can_pay": True, "why_not": ""}
        ready = channel_of(ChannelPhase.READY)
        node.channels[ready.channel_id] = ready
        node.tell(channels=[ready.channel_id])

    node.submit(comes_ready)
    one.until(lambda: isinstance(page.card, InvoiceCard) and page.card.button.isEnabled())
    assert page.card is not refused
    assert page.field.text() == invoice


@pytest.mark.parametrize("status", list(ActivityStatus), ids=lambda status: status.name.lower())
def test_a_payment_that_failed_is_tried_again_from_its_details(desk: Make, status: ActivityStatus) -> None:
    node = scenes.typical()
    invoice = node.foreign_invoice(21_000_000, "Coffee")
    [item] = lightning(-21_000_000)
    node.activity = [replace(item, status=status, status_text="No way was found.", invoice=invoice)]
    one = desk(node)
    one.shell.show_item(item.item_id)
    dialog = one.dialog(ItemDialog)
    if status is not ActivityStatus.FAILED:
        assert dialog.again is None
        return
    assert dialog.again is not None
    assert dialog.again.text() == "Try again"
    click(dialog.again)
    page = one.page(SendPage)
    one.until(lambda: isinstance(page.card, InvoiceCard) and page.card.button.isEnabled())
    assert page.field.text() == invoice
    assert not any(left.isVisible() for left in one.window.findChildren(ItemDialog))


def lightning(*amounts_msat: int) -> list[ActivityItem]:
    return [
        replace(
            item,
            item_id=f"ln:{number}",
            kind=ActivityKind.LIGHTNING,
            status=ActivityStatus.DONE,
            amount_msat=amount_msat,
        )
        for number, (item, amount_msat) in enumerate(zip(scenes.items(60), amounts_msat, strict=False))
    ]


@pytest.mark.parametrize(
    ("phases", "amounts_msat", "step"),
    [
        ((), (), 1),
        ((ChannelPhase.READY,), (), 2),
        ((ChannelPhase.READY,), (-5_000,), 3),
        ((ChannelPhase.READY,), (-5_000, 7_000), 4),
        ((ChannelPhase.CLOSED,), (-5_000, 7_000), 5),
        ((ChannelPhase.CLOSED,), (), 1),
        ((ChannelPhase.FORCE_CLOSING,), (-5_000,), 1),
        ((ChannelPhase.CLOSED, ChannelPhase.READY), (), 2),
        ((ChannelPhase.CLOSED, ChannelPhase.READY), (-5_000,), 3),
    ],
    ids=[
        "coins",
        "open",
        "paid",
        "been-paid",
        "round",
        "closed-early",
        "forced-early",
        "again",
        "again-paid",
    ],
)
def test_the_guide_says_it_is_done_only_to_who_went_all_the_way_round(
    phases: tuple[ChannelPhase, ...], amounts_msat: tuple[int, ...], step: int
) -> None:
    node = scenes.funded()
    try:
        for number, phase in enumerate(phases):
            node.channels[f"channel-{number}"] = replace(channel_of(phase), channel_id=f"channel-{number}")
        assert guide_step(node.snapshot(), lightning(*amounts_msat)) == step
    finally:
        node.stop()
