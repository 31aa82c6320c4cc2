"""Buying a channel, through the real widgets: the terms, the price, and only then the payment."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QLabel, QScrollBar
from pytestqt.qtbot import QtBot

from tests.gui import scenes
from tests.gui.conftest import Desk
from tests.gui.fake_channels import suggested_id
from tests.gui.fake_node import HUB_URI, FakeNode
from tests.gui.hands import PATIENCE_MS, click, type_text
from tests.gui.shot_scenes import SCENES
from tests.gui.shots import Stage
from wallet.gui.pages.buy_channel import BuyChannelDialog
from wallet.gui.pages.receive import ReceivePage

Make = Callable[[FakeNode], Desk]
SELLER = f"{suggested_id(1)}@seller.example:9735"


def opened(one: Desk) -> BuyChannelDialog:
    one.go("receive")
    click(one.page(ReceivePage).ways.buy)
    return one.dialog(BuyChannelDialog)


def told(dialog: BuyChannelDialog) -> set[str]:
    return {label.text() for label in dialog.findChildren(QLabel) if label.isVisible()}


def commands(one: Desk) -> list[str]:
    wanted = {"channel_offer", "buy_channel", "pay_order"}
    return [command for command, _arguments in one.node.calls if command in wanted]


def priced(one: Desk, dialog: BuyChannelDialog) -> None:
    one.until(lambda: dialog.offer is not None and dialog.buy_button.isEnabled())
    assert dialog.buy_button.text() == "Show the price"
    click(dialog.buy_button)
    one.until(lambda: dialog.order is not None and dialog.buy_button.isEnabled())


def test_the_hub_is_asked_at_once_and_is_paid_on_chain_where_there_is_no_channel(desk: Make) -> None:
    one = desk(scenes.funded())
    dialog = opened(one)
    one.until(lambda: dialog.offer is not None and dialog.buy_button.isEnabled())
    assert dialog.seller.text() == HUB_URI
    dialog.amount_field.set_amount_sat(900_000_000)
    click(dialog.buy_button)
    one.until(lambda: "do not reach" in dialog.reason.text())
    assert not dialog.buy_button.isEnabled()
    # Another size is another order: nothing can be paid before its own price was shown.
    dialog.amount_field.set_amount_sat(500_000)
    assert dialog.order is None
    priced(one, dialog)
    assert dialog.way.current() == "onchain"
    one.until(lambda: "141\u00a0sat" in told(dialog))
    assert dialog.buy_button.text() == "Buy for 2\u202f500\u00a0sat"
    assert "pay_order" not in commands(one)
    click(dialog.buy_button)
    one.until(lambda: any(c.capacity_sat == 500_000 for c in one.node.snapshot().channels))
    one.until(lambda: not one.window.findChildren(BuyChannelDialog))
    paid = next(arguments for command, arguments in one.node.calls if command == "pay_order")
    assert paid["order_id"] == one.node.orders[0]["order_id"]


def test_any_seller_can_be_named_and_is_paid_over_lightning_where_that_reaches(desk: Make) -> None:
    one = desk(scenes.typical("mainnet"))
    dialog = opened(one)
    assert not dialog.buy_button.isEnabled()
    type_text(dialog.seller, SELLER)
    assert dialog.buy_button.text() == "Ask for the terms"
    click(dialog.buy_button)
    priced(one, dialog)
    assert dialog.way.current() == "lightning"
    one.until(lambda: "25\u00a0sat" in told(dialog))
    # No protocol makes sure of it.
    assert "An honest seller takes the money only once the channel is funded." in told(dialog)
    # What the fee is of the whole stands beside it.
    assert any("(0.50\u00a0%)" in text or "(0.50 %)" in text for text in told(dialog))
    asked = next(arguments for command, arguments in one.node.calls if command == "buy_channel")
    assert asked["public"] is False
    assert any("A private channel from The hub" in text for text in told(dialog))
    click(dialog.way.button("onchain"))
    one.until(lambda: dialog.way.current() == "onchain")
    click(dialog.way.button("lightning"))
    click(dialog.buy_button)
    one.until(lambda: not one.window.findChildren(BuyChannelDialog))
    assert commands(one) == ["channel_offer", "buy_channel", "pay_order"]
    assert one.node.orders[0]["paid_by"] == "lightning"


def test_who_sells_nothing_says_so_and_another_can_be_named(desk: Make) -> None:
    node = scenes.new("mainnet")
    node.strangers.add(suggested_id(2))
    one = desk(node)
    dialog = opened(one)
    dialog.seller.setText(f"{suggested_id(2)}@quiet.example:9735")
    click(dialog.buy_button)
    one.until(lambda: "does not sell channels" in dialog.banner.text())
    assert dialog.seller.isEnabled()
    dialog.seller.setText(SELLER)
    assert not dialog.banner.text()
    click(dialog.buy_button)
    one.until(lambda: dialog.offer is not None and dialog.buy_button.isEnabled())
    dialog.amount_field.set_amount_sat(1_000)
    assert "to receive" in dialog.reason.text()
    assert not dialog.buy_button.isEnabled()
    dialog.reject()


def test_a_payment_that_fails_says_why_and_its_order_is_not_paid_again(desk: Make) -> None:
    one = desk(scenes.funded())
    one.node.fail("pay_order", "The channel was not bought, and nothing was paid.")
    dialog = opened(one)
    priced(one, dialog)
    click(dialog.buy_button)
    one.until(lambda: "nothing was paid" in dialog.banner.text())
    assert dialog.order is None
    assert dialog.buy_button.text() == "Show the price"
    dialog.reject()


def test_an_order_that_is_under_way_is_told_first(desk: Make) -> None:
    node = scenes.funded()
    node.orders.append({"status": "paying", "problem": "", "sentence": "Its channel is awaited."})
    node.orders.append({"status": "arrived", "problem": "", "sentence": "Long there."})
    one = desk(node)
    dialog = opened(one)
    one.until(lambda: dialog.earlier.text() == "Its channel is awaited.")
    one.until(lambda: dialog.offer is not None and dialog.buy_button.isEnabled())
    # The hub was asked at once: it is still seen beside the terms.
    assert dialog.earlier.isVisible()
    dialog.reject()


def test_a_public_channel_is_a_choice_that_says_what_it_means(desk: Make) -> None:
    one = desk(scenes.funded())
    dialog = opened(one)
    priced(one, dialog)
    assert not dialog.kind.isVisible()
    # Back to what is ordered, and from there to the seller.
    click(dialog.change)
    assert dialog.order is None
    assert any("Only those whom you ask for a payment" in text for text in told(dialog))
    click(dialog.kind.button("public"))
    one.until(lambda: any(text.startswith("Everybody: ") for text in told(dialog)))
    priced(one, dialog)
    assert any("A public channel from Friendly hub" in text for text in told(dialog))
    asked = [arguments["public"] for command, arguments in one.node.calls if command == "buy_channel"]
    assert asked == [False, True]
    click(dialog.change)
    assert not dialog.seller.isVisible()
    click(dialog.change)
    assert dialog.offer is None
    assert dialog.seller.isVisible()
    assert dialog.buy_button.text() == "Ask for the terms"
    dialog.reject()


def test_an_order_that_is_late_is_told_first(desk: Make) -> None:
    node = scenes.new("mainnet")
    node.orders.append({"status": "arrived", "problem": "", "late": True, "sentence": "It is not released."})
    one = desk(node)
    dialog = opened(one)
    one.until(lambda: dialog.earlier.text() == "It is not released.")
    assert dialog.earlier.isVisible()
    dialog.reject()


@pytest.mark.parametrize("name", ["dialog-buy-terms", "dialog-buy-channel"])
def test_each_step_of_buying_is_seen_whole_in_the_smallest_window(name: str, qtbot: QtBot) -> None:
    stage = Stage((800, 600), "light", language="de")
    try:
        SCENES[name](stage)
        assert stage.window is not None
        dialog = stage.window.findChild(BuyChannelDialog)
        assert dialog is not None
        bars = [b for b in dialog.findChildren(QScrollBar) if b.orientation() == Qt.Orientation.Vertical]
        assert bars
        qtbot.waitUntil(lambda: all(bar.maximum() == 0 for bar in bars), timeout=PATIENCE_MS)
    finally:
        stage.end()
