"""Where the keyboard is after a control under it was used up: on what takes its place, and the page stays put."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QScrollArea, QScrollBar

from tests.gui import scenes
from tests.gui.conftest import Desk
from tests.gui.fake_node import HUB_URI, FakeNode
from tests.gui.hands import press, type_text
from wallet.gui.pages.open_channel import OpenChannelDialog
from wallet.gui.pages.overview import OverviewPage
from wallet.gui.pages.receive import ReceivePage
from wallet.gui.widgets.basic import Button
from wallet.gui.widgets.rows import PaymentRow
from wallet.gui.widgets.why import tell_why

Make = Callable[[FakeNode], Desk]


def scroll_bar(page: OverviewPage) -> QScrollBar:
    bar = page.findChildren(QScrollArea)[0].verticalScrollBar()
    assert bar is not None
    return bar


def step_button(page: OverviewPage, text: str) -> Button | None:
    return next((b for b in page.findChildren(Button) if b.isVisible() and text in b.text()), None)


def test_the_practice_round_stays_in_view_and_under_the_keyboard(desk: Make) -> None:
    one = desk(scenes.funded())
    one.window.resize(1000, 620)
    page = one.page(OverviewPage)
    one.node.submit(one.node.give_coins, 400_000)
    one.until(lambda: step_button(page, "Open a channel") is not None and scroll_bar(page).maximum() > 0)
    action = step_button(page, "Open a channel")
    assert action is not None
    bar = scroll_bar(page)
    bar.setValue(0)
    action.setFocus(Qt.FocusReason.TabFocusReason)
    # The step is drawn anew, with another button.
    one.node.submit(one.node.do_open_channel, HUB_URI, 500_000)
    one.until(lambda: step_button(page, "Mine three blocks") is not None)
    assert one.window.focusWidget() is step_button(page, "Mine three blocks")
    assert bar.value() == 0


def test_news_leave_the_keyboard_on_the_payment_that_it_was_on(typical: Desk) -> None:
    page = typical.page(OverviewPage)
    rows = page.findChildren(PaymentRow)
    assert len(rows) > 1
    rows[0].setFocus(Qt.FocusReason.TabFocusReason)
    before = rows[0].accessibleName()
    typical.node.submit(typical.node.give_coins, 77_000)
    typical.until(lambda: any("77" in row.accessibleName() for row in page.findChildren(PaymentRow)))
    now = typical.window.focusWidget()
    assert isinstance(now, PaymentRow)
    assert now is not rows[0]
    assert now.accessibleName().split(",")[:2] == before.split(",")[:2]


def test_what_was_pressed_has_the_keyboard_again_when_it_can_be_pressed(typical: Desk) -> None:
    """Meanwhile Qt would give it to whatever comes next, and scroll there."""
    typical.go("receive")
    button = typical.page(ReceivePage).create_button
    button.setFocus(Qt.FocusReason.TabFocusReason)
    tell_why(button, "Making the request.")
    assert typical.window.focusWidget() is None
    tell_why(button, "")
    assert typical.window.focusWidget() is button


def test_who_went_on_meanwhile_is_left_there(typical: Desk) -> None:
    typical.go("receive")
    page = typical.page(ReceivePage)
    page.create_button.setFocus(Qt.FocusReason.TabFocusReason)
    tell_why(page.create_button, "Making the request.")
    page.note.setFocus(Qt.FocusReason.TabFocusReason)
    tell_why(page.create_button, "")
    assert typical.window.focusWidget() is page.note


def test_enter_in_a_field_makes_the_request(typical: Desk) -> None:
    typical.go("receive")
    page = typical.page(ReceivePage)
    type_text(page.amount_field, "10000")
    type_text(page.note, "Lunch")
    press(page.note, Qt.Key.Key_Return)
    typical.until(lambda: page._shown is not None)
    assert page._shown is not None
    assert page._shown["amount_msat"] == 10_000_000


def test_who_practises_is_paid_from_the_request_itself(typical: Desk) -> None:
    typical.go("receive")
    page = typical.page(ReceivePage)
    type_text(page.amount_field, "10000")
    press(page.amount_field, Qt.Key.Key_Return)
    typical.until(page.shop.isVisible)
    typical.click(page.shop)
    typical.until(page.is_paid)


def test_where_money_is_real_no_shop_is_offered(desk: Make) -> None:
    one = desk(scenes.typical("mainnet"))
    one.go("receive")
    page = one.page(ReceivePage)
    type_text(page.amount_field, "10000")
    press(page.amount_field, Qt.Key.Key_Return)
    one.until(page.code.isVisible)
    assert not page.shop.isVisible()


def test_a_dialog_for_a_known_node_has_the_keyboard_on_its_amount_once_that_is_asked_for(desk: Make) -> None:
    """The node says first what it takes; were the keyboard on Cancel by then, Enter would call it all off."""
    one = desk(scenes.funded())
    one.node.hold("peer_terms")
    one.shell.open_channel(HUB_URI)
    dialog = one.dialog(OpenChannelDialog)
    one.until(dialog.isActiveWindow)
    assert not dialog.amount_field.isVisible()
    one.node.release("peer_terms")
    one.until(dialog.amount_field.isVisible)
    assert dialog.focusWidget() is dialog.amount_field
    dialog.reject()
