"""What amounts are worth in the person's money, once that was chosen: beside each, and history by its day's rate."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import QModelIndex, Qt

from tests.gui import scenes
from tests.gui.conftest import Desk
from tests.gui.fake_node import FakeNode
from wallet.gui import format as fmt
from wallet.gui.models.channels import CAN_SEND, CAPACITY, EARNED, PEER, WORTH_ROLE
from wallet.gui.pages.activity import ActivityPageView
from wallet.gui.pages.channels import ChannelsPage
from wallet.gui.pages.settings import SettingsPage
from wallet.gui.widgets.rows import PaymentRow

Make = Callable[[FakeNode], Desk]
THAT_DAY = 5_000_000
"""The rate of each day of the fake node's history; today's is another one."""


def with_rates(one: Desk) -> None:
    one.go("settings")
    one.page(SettingsPage).choose_fiat("EUR")
    one.until(lambda: fmt.style.fiat is not None)


def spoken(index: QModelIndex) -> str:
    return str(index.data(Qt.ItemDataRole.AccessibleTextRole))


def test_the_history_has_its_days_rates(desk: Make) -> None:
    one = desk(scenes.typical("mainnet"))
    one.go("activity")
    page = one.page(ActivityPageView)
    assert "≈" not in spoken(page.model.index(0, 3))
    bare = page.table.grab().toImage()
    with_rates(one)
    one.go("activity")
    item = page.model.item(0)
    assert item is not None
    then = fmt.in_fiat(item.amount_msat, rate_hundredths=THAT_DAY)
    assert then != fmt.in_fiat(item.amount_msat)
    assert spoken(page.model.index(0, 3)).endswith(then)
    assert page.table.grab().toImage() != bare


def test_the_last_payments_have_them_as_well(desk: Make) -> None:
    one = desk(scenes.typical("mainnet"))
    with_rates(one)
    one.go("overview")
    item = one.node.snapshot().recent[0]
    then = fmt.in_fiat(item.amount_msat, rate_hundredths=THAT_DAY)
    rows = [row for row in one.window.findChildren(PaymentRow) if row.isVisible()]
    assert then in rows[0].accessibleName()


def test_channels_say_what_they_are_worth_today(desk: Make) -> None:
    one = desk(scenes.typical("mainnet"))
    one.go("channels")
    page = one.page(ChannelsPage)
    assert page.model.index(0, CAN_SEND).data(WORTH_ROLE) == ""
    with_rates(one)
    one.go("channels")
    channel = page.model.channel(0)
    assert channel is not None
    index = page.model.index
    assert index(0, CAN_SEND).data(WORTH_ROLE) == fmt.in_fiat(channel.can_send_msat)
    assert index(0, CAPACITY).data(Qt.ItemDataRole.ToolTipRole) == fmt.in_fiat(channel.capacity_sat * 1000)
    assert spoken(index(0, CAN_SEND)).endswith(fmt.in_fiat(channel.can_send_msat))
    # Nothing is worth nothing, and need not say so.
    assert channel.fees_earned_msat == 0
    assert index(0, EARNED).data(WORTH_ROLE) == ""
    assert index(0, PEER).data(WORTH_ROLE) == ""


def test_a_rate_that_arrives_is_shown_at_once(desk: Make) -> None:
    one = desk(scenes.typical("mainnet"))
    one.go("channels")
    page = one.page(ChannelsPage)
    cards = list(page.cards.values())
    assert not any("≈" in card._send.text() for card in cards)
    one.node.do_set_fiat("EUR")
    one.until(lambda: any("≈" in card._send.text() for card in cards))
    one.node.do_set_fiat("")
    one.until(lambda: not any("≈" in card._send.text() for card in cards))
