"""Overview and Activity through real widgets: the balance over time, search and filters, details, labels out and in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PyQt6.QtCore import QPoint, QRect, Qt
from PyQt6.QtGui import QGuiApplication
from PyQt6.QtTest import QAbstractItemModelTester
from pytestqt.qtbot import QtBot

from tests.gui import scenes
from tests.gui.conftest import Desk
from tests.gui.fake_node import FakeNode
from tests.gui.hands import click, press, type_text
from wallet.gui import format as fmt
from wallet.gui.models.activity import AMOUNT, ITEM_ROLE, WHEN
from wallet.gui.pages.activity import ActivityPageView, day_at
from wallet.gui.pages.item_dialog import ItemDialog, proof_text
from wallet.gui.pages.overview import OverviewPage, balance_parts
from wallet.gui.pages.overview_chart import SplitRow, balance_split
from wallet.gui.widgets.basic import Label
from wallet.gui.widgets.chart import BalanceTableModel, nice_step_sat, tick_days, tick_text, without_emptiness
from wallet.gui.widgets.ids import Fold
from wallet.node.api import (
    ActivityDirection,
    ActivityKind,
    ActivityOrder,
    ActivityStatus,
    BalanceView,
    CommandError,
    LockedCoin,
    NodeStatus,
    ReservedPart,
    ReserveReason,
    WalletSnapshot,
)

DAY = 86_400


def overview(desk: Desk) -> OverviewPage:
    desk.go("overview")
    page = desk.page(OverviewPage)
    desk.until(lambda: page.over_time.isVisible() and bool(page.over_time.chart.points))
    return page


def activity(desk: Desk) -> ActivityPageView:
    desk.go("activity")
    page = desk.page(ActivityPageView)
    desk.until(lambda: page.table.isVisible())
    return page


def clipboard() -> str:
    found = QGuiApplication.clipboard()
    assert found is not None
    return found.text()


# --- overview ---------------------------------------------------------------------------


STATUS = NodeStatus(
    network="mainnet",
    wallet_name="Savings",
    node_id="02" * 33,
    synced=True,
    height=912_345,
    tip_at=0,
    servers=(),
    peers_online=0,
    peers_total=0,
    graph_nodes=0,
    graph_channels=0,
    graph_updated_at=None,
    backup_text="",
    safe_until_height=None,
    problem="",
)


def check_split(snapshot: WalletSnapshot) -> None:
    """Lines add up to the line above them, and these to the balance; the reserved ones to the one sum of the legend."""
    rows = balance_split(snapshot)
    whole_msat = snapshot.balance.total_sat * 1000
    assert sum(row.amount_msat for row in rows if row.level == 0) == whole_msat
    groups: list[list[SplitRow]] = []
    for row in rows:
        if row.level == 0:
            groups.append([row])
        else:
            groups[-1].append(row)
    for head, *parts in groups:
        assert sum(part.amount_msat for part in parts) == head.amount_msat
        assert len({part.name for part in parts}) == len(parts) or head.name == "Locked"
    assert all(row.why for row in rows if row.level == 1)
    kept_msat = sum(
        row.amount_msat
        for head, *parts in groups
        for row in parts
        if head.name != "Locked" and row.name not in {"Spendable", "Incoming"}
    )
    legend = {look: amount_msat for look, _name, amount_msat, _why in balance_parts(snapshot.balance)}
    assert legend.get("reserve", 0) == kept_msat
    assert sum(legend.values()) == whole_msat


def test_the_parts_of_the_balance_add_up(qtbot: QtBot) -> None:
    aside = scenes.typical()
    aside.set_aside = {
        reason: 10_000 + place for place, reason in enumerate(ReserveReason) if reason.is_onchain
    }
    del aside.set_aside[ReserveReason.ANCHOR_FEES]
    for node in (scenes.typical(), scenes.trouble(), scenes.funded(), scenes.new(), aside):
        check_split(node.snapshot())
    names = {row.name for row in balance_split(aside.snapshot())}
    assert {"Frozen by you", "For a new channel", "In a signed PSBT", "For bringing money home"} <= names


@given(
    st.lists(st.integers(0, 10**15), min_size=4, max_size=4),
    st.dictionaries(st.sampled_from(ReserveReason), st.integers(1, 10**15)),
    st.lists(st.integers(1, 10**15), max_size=3),
)
def test_a_line_for_each_reason_whatever_is_reserved(
    amounts_sat: list[int], kept_sat: dict[ReserveReason, int], locked_sat: list[int]
) -> None:
    coins_sat, arriving_sat, channels_sat, rest_msat = amounts_sat
    onchain_sat = sum(amount for reason, amount in kept_sat.items() if reason.is_onchain)
    lightning_sat = channels_sat + sum(kept_sat.values()) - onchain_sat
    balance = BalanceView(
        onchain_confirmed_sat=coins_sat + onchain_sat,
        onchain_unconfirmed_sat=arriving_sat,
        onchain_spendable_sat=coins_sat,
        lightning_msat=lightning_sat * 1000 + rest_msat % 1000,
        reserved=tuple(
            ReservedPart(reason=reason, amount_sat=kept_sat[reason])
            for reason in ReserveReason
            if reason in kept_sat
        ),
        locked=tuple(
            LockedCoin(amount_sat=amount, reason="why", until_height=None, channel_id=None)
            for amount in locked_sat
        ),
    )
    snapshot = WalletSnapshot(status=STATUS, balance=balance, channels=(), peers=(), requests=(), recent=())
    check_split(snapshot)
    lines = [row for row in balance_split(snapshot) if row.level == 1]
    assert sorted(kept_sat.values()) == sorted(
        row.amount_msat // 1000
        for row in lines
        if row.name not in {"Spendable", "Incoming", "On its way home"}
    )


def test_what_the_balance_is_made_of_folds_out(desk: Callable[[FakeNode], Desk]) -> None:
    opened = desk(scenes.trouble())
    page = overview(opened)
    assert not page.split.isVisible()
    click(page.split_fold.button)
    assert page.split.isVisible()
    words = [label.text() for label in page.split.findChildren(Label)]
    assert "Locked" in words
    assert any(word.startswith("Until about 20") for word in words)
    assert any("closed without its peer" in word for word in words)
    assert "In channels" in words
    assert "Peer away" in words
    assert not any("on their way in payments" in word for word in words)


def test_what_payments_carry_stands_beside_the_balance(desk: Callable[[FakeNode], Desk]) -> None:
    opened = desk(scenes.typical())
    page = overview(opened)
    click(page.split_fold.button)
    words = [label.text() for label in page.split.findChildren(Label)]
    assert any(word.startswith(f"Besides, {fmt.amount_sat(252_000)} are on their way") for word in words)


def test_the_line_ends_at_the_balance_and_a_table_says_the_same(typical: Desk) -> None:
    page = overview(typical)
    total_sat = typical.node.snapshot().balance.total_sat
    assert page.over_time.chart.points[-1][1] == total_sat
    click(page.over_time.table_button)
    assert page.over_time.table.isVisible()
    assert not page.over_time.chart.isVisible()
    model = page.over_time.model
    tester = QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Fatal)
    assert model.rowCount() == len(page.over_time.chart.points)
    assert model.data(model.index(0, 1)) == fmt.number_sat(total_sat)
    click(page.over_time.table_button)
    assert page.over_time.chart.isVisible()
    assert tester is not None


def test_the_arrow_keys_walk_along_the_line(typical: Desk) -> None:
    chart = overview(typical).over_time.chart
    chart.setFocus(Qt.FocusReason.TabFocusReason)
    press(chart, Qt.Key.Key_End)
    last = len(chart.points) - 1
    assert chart.place == last
    assert fmt.amount_sat(chart.points[last][1]) in chart.accessibleDescription()
    press(chart, Qt.Key.Key_Left)
    press(chart, Qt.Key.Key_Left)
    assert chart.place == last - 2
    press(chart, Qt.Key.Key_Right)
    assert chart.place == last - 1
    press(chart, Qt.Key.Key_Home)
    press(chart, Qt.Key.Key_Left)
    assert chart.place == 0
    said = chart.accessibleDescription()
    assert fmt.date(chart.points[0][0]) in said
    assert fmt.amount_sat(chart.points[0][1]) in said


def test_the_pointer_shows_the_step_that_holds_there(typical: Desk) -> None:
    chart = overview(typical).over_time.chart
    area = chart._area()
    for place, (at, _sat) in enumerate(chart.points[:-1]):
        after = chart.points[place + 1][0]
        if chart._x(area, after) - chart._x(area, at) > 4:
            middle = (chart._x(area, at) + chart._x(area, after)) / 2
            assert chart.place_at(middle) == place
    assert chart.place_at(0) == 0
    assert chart.place_at(chart.width()) == len(chart.points) - 1


def history_asked(desk: Desk, days: int) -> bool:
    return ("balance_history", {"days": days}) in desk.node.calls


def test_each_range_is_asked_for_and_a_payment_moves_the_end(typical: Desk) -> None:
    page = overview(typical)
    for key, days in (("week", 7), ("year", 366), ("all", 0)):
        click(page.over_time.ranges.button(key))
        typical.until(partial(history_asked, typical, days))
    before_sat = typical.node.snapshot().balance.total_sat
    typical.node.submit(typical.node.give_coins, 123_456).result(30)
    typical.until(lambda: page.over_time.chart.points[-1][1] == before_sat + 123_456)


def test_hidden_amounts_are_hidden_in_the_chart_too(typical: Desk) -> None:
    page = overview(typical)
    typical.shell.context.preferences.choose_hidden(True)
    try:
        assert fmt.HIDDEN in page.over_time.chart.sentence()
        assert set(page.over_time.chart._amounts()) == {fmt.HIDDEN}
        assert page.over_time.model.data(page.over_time.model.index(0, 1)) == fmt.HIDDEN
    finally:
        typical.shell.context.preferences.choose_hidden(False)


def test_a_new_wallet_has_no_chart(desk: Callable[[FakeNode], Desk]) -> None:
    opened = desk(scenes.new("mainnet"))
    page = opened.page(OverviewPage)
    opened.until(lambda: ("balance_history", {"days": 31}) in opened.node.calls)
    opened.node.settle()
    opened.go("overview")
    assert not page.over_time.isVisible()
    assert not page.split_fold.isVisible()


@pytest.mark.parametrize(
    ("top_sat", "step_sat"), [(0, 1), (4, 1), (5, 2), (9, 5), (21, 10), (4_213_720, 2_000_000), (800, 200)]
)
def test_the_lines_are_at_round_amounts_and_reach_above_the_top(top_sat: int, step_sat: int) -> None:
    assert nice_step_sat(top_sat) == step_sat
    assert nice_step_sat(top_sat) * 4 >= top_sat


@pytest.mark.parametrize(("days", "count"), [(0, 2), (1, 2), (3, 4), (7, 6), (366, 6)])
def test_at_most_six_dates(days: int, count: int) -> None:
    ticks = tick_days(1_000_000, 1_000_000 + days * DAY)
    assert len(ticks) == count
    assert ticks[0] == 1_000_000
    assert ticks[-1] == 1_000_000 + max(1, days * DAY)


def test_the_time_before_the_first_coins_is_short() -> None:
    month = [(0, 0), (30 * DAY, 500), (30 * DAY + 3_600, 400)]
    shown = without_emptiness(month, 30 * DAY + 7_200)
    assert shown[1:] == month[1:]
    assert 30 * DAY - 3_600 < shown[0][0] < 30 * DAY
    assert shown[0][1] == 0
    # Where there was something, nothing is left out.
    assert without_emptiness([(0, 7), *month[1:]], 31 * DAY) == [(0, 7), *month[1:]]
    assert without_emptiness([(0, 0)], 31 * DAY) == [(0, 0)]


def test_a_day_has_hours_and_a_month_has_dates() -> None:
    noon_at = day_at("2026-11-22")
    assert noon_at is not None
    assert tick_text(noon_at + 12 * 3_600, DAY) == "12:00"
    assert tick_text(noon_at + 12 * 3_600, 30 * DAY) == "2026-11-22"


def test_the_table_of_the_balance_follows(qtbot: QtBot) -> None:
    model = BalanceTableModel()
    tester = QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Fatal)
    resets: list[None] = []
    model.modelReset.connect(lambda: resets.append(None))
    model.show_points([(DAY, 5), (2 * DAY, 7)])
    assert model.rowCount() == 2
    assert [model.data(model.index(0, column)) for column in (1, 2)] == ["7", "+2"]
    assert model.data(model.index(1, 2)) == ""
    model.show_points([])
    assert model.rowCount() == 0
    assert resets == []
    assert tester is not None


# --- activity ---------------------------------------------------------------------------


def test_filters_ask_the_node(typical: Desk) -> None:
    page = activity(typical)
    everything = page.model.rowCount()
    click(page.filter_button)
    assert page.filters.isVisible()
    click(page.filters.directions.button("moved"))
    assert 0 < page.model.rowCount() < everything
    assert page.filter_button.text() == "Filters (1)"
    shown = [page.model.item(row) for row in range(page.model.rowCount())]
    assert {item.direction for item in shown if item is not None} == {ActivityDirection.MOVED}
    click(page.filters.states.button("failed"))
    assert page.model.rowCount() == 0
    assert page._nothing.isVisible()
    click(page.filters.kinds.button("lightning"))
    asked = typical.node.queries[-1]
    assert asked.kind is ActivityKind.LIGHTNING
    assert asked.status is ActivityStatus.FAILED
    assert asked.direction is ActivityDirection.MOVED
    click(page.clear_button)
    assert page.model.rowCount() == everything
    assert page.filter_button.text() == "Filters"


def test_a_search_that_fails_says_so_and_is_tried_again(
    typical: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = activity(typical)
    everything = page.model.rowCount()
    broken: Future[Sequence[str]] = Future()
    broken.set_exception(CommandError("The wallet's file cannot be read (Input/output error)."))
    with monkeypatch.context() as patched:
        patched.setattr(typical.node, "find_activity", lambda _query: broken)
        click(page.filter_button)
        click(page.filters.directions.button("moved"))
        typical.until(page.broken_off.isVisible)
    assert "cannot be read" in page.broken_off.text()
    assert page.count.text() == "Not all of it is here"
    again = page.broken_off.button
    assert again is not None
    click(again)
    typical.until(lambda: not page.broken_off.isVisible() and page.model.is_whole)
    assert 0 < page.model.rowCount() < everything
    assert "item" in page.count.text()


def test_every_choice_is_seen_in_a_small_window(typical: Desk) -> None:
    typical.window.resize(800, 600)
    page = activity(typical)
    click(page.filter_button)
    click(page.filters.periods.button("days"))
    filters = page.filters
    groups = (filters.kinds, filters.directions, filters.states, filters.periods, filters.orders)

    def all_seen() -> bool:
        """The table gives way: nothing scrolls, and each choice is within what is seen."""
        return filters.height() >= filters.sizeHint().height() and all(
            filters.rect().contains(QRect(group.mapTo(filters, QPoint(0, 0)), group.size()))
            for group in groups
        )

    typical.until(all_seen)
    filters.resize(360, filters.height())
    holder = filters._holder
    typical.until(
        lambda: all(holder.rect().contains(group.geometry()) and group.width() <= 360 for group in groups)
    )


def test_days_are_typed_and_a_wrong_one_is_said(typical: Desk) -> None:
    page = activity(typical)
    everything = page.model.rowCount()
    newest = page.model.item(0)
    assert newest is not None
    click(page.filter_button)
    click(page.filters.periods.button("days"))
    assert page.model.rowCount() == everything
    type_text(page.filters.since, "2026-13-40")
    page.filters.since.left.emit()  # as when the focus goes on
    typical.until(lambda: page.filters._since_field.problem() != "")
    assert page.model.rowCount() == everything
    page.filters.since.clear()
    type_text(page.filters.since, fmt.date(newest.at))
    type_text(page.filters.until, fmt.date(newest.at))
    assert page.filters._since_field.problem() == ""
    asked = typical.node.queries[-1]
    assert asked.since_at is not None
    assert asked.until_at is not None
    assert asked.since_at <= newest.at < asked.until_at
    assert 0 < page.model.rowCount() < everything


@pytest.mark.parametrize("text", ["", "yesterday", "2026-02-30", "2026-1", "99999-01-01", "2026-00-10"])
def test_what_is_no_day(text: str) -> None:
    assert day_at(text) is None


def test_a_day_is_from_midnight_to_midnight() -> None:
    begins, ends = day_at("2026-11-22"), day_at("2026-11-22", days_later=1)
    assert begins is not None
    assert ends is not None
    assert fmt.date_time(begins) == "2026-11-22 00:00"
    assert fmt.date_time(ends) == "2026-11-23 00:00"


def test_a_column_is_sorted_by_clicking_its_head(typical: Desk) -> None:
    page = activity(typical)
    across = page.table.horizontalHeader()
    assert across is not None
    view = across.viewport()
    assert view is not None
    middle = across.sectionViewportPosition(AMOUNT) + across.sectionSize(AMOUNT) // 2
    click(view, QPoint(middle, across.height() // 2))
    first = page.model.query
    assert first.order is ActivityOrder.AMOUNT
    click(view, QPoint(middle, across.height() // 2))
    assert page.model.query == replace(first, descending=not first.descending)
    # A filter keeps the order.
    click(page.filter_button)
    click(page.filters.kinds.button("lightning"))
    assert page.model.query.order.value == "amount"
    middle = across.sectionViewportPosition(WHEN) + across.sectionSize(WHEN) // 2
    click(view, QPoint(middle, across.height() // 2))
    assert page.model.query.order.value == "when"


def test_the_order_is_chosen_by_keyboard_too(typical: Desk) -> None:
    page = activity(typical)
    click(page.filter_button)
    largest = page.filters.orders.button("amount")
    largest.setFocus()
    press(largest, Qt.Key.Key_Space)
    assert page.model.query.order is ActivityOrder.AMOUNT
    assert page.model.query.descending
    first = page.model.item(0)
    assert first is not None
    sizes = [abs(item.amount_msat) or item.moved_msat for item in typical.node.activity]
    assert (abs(first.amount_msat) or first.moved_msat) == max(sizes)
    # The heads and the choice say the same.
    across = page.table.horizontalHeader()
    assert across is not None
    assert across.sortIndicatorSection() == AMOUNT
    across.setSortIndicator(WHEN, Qt.SortOrder.DescendingOrder)
    assert page.filters.orders.current() == "when"


def test_a_long_list_is_walked_from_end_to_end(desk: Callable[[FakeNode], Desk]) -> None:
    node = scenes.typical()
    node.activity = scenes.items(2_000)
    opened = desk(node)
    page = activity(opened)
    assert page.count.text() == "2\u202f000 items"
    page.table.setFocus()
    press(page.table, Qt.Key.Key_End, Qt.KeyboardModifier.ControlModifier)
    assert page.table.currentIndex().row() == 1_999
    assert page.table.currentIndex().data(ITEM_ROLE) == node.activity[-1]
    opened.node.submit(opened.node.give_coins, 5_000).result(30)
    opened.until(lambda: page.model.rowCount() == 2_001)
    # What one looks at stays under one's eyes.
    assert page.table.currentIndex().row() == 2_000


def test_details_show_the_attempts_and_the_proof(typical: Desk) -> None:
    page = activity(typical)
    page.table.setFocus()
    page.table.setCurrentIndex(page.model.index(0, 0))
    press(page.table, Qt.Key.Key_Return)
    dialog = typical.dialog(ItemDialog)
    assert dialog.attempts is not None
    assert dialog.copy_proof is not None
    for fold in dialog.findChildren(Fold):
        if not fold.button.isChecked():
            click(fold.button)
    words = "\n".join(label.text() for label in dialog.attempts.findChildren(Label))
    assert "Route 1: failed" in words
    assert "Route 2: arrived" in words
    assert "It failed here." in words
    assert "912002x2x1" in words
    assert "2.4\u00a0s" in words
    click(dialog.copy_proof)
    assert clipboard() == proof_text(dialog.item)
    assert f"preimage: {dialog.item.preimage}" in clipboard()
    assert f"payment_hash: {dialog.item.payment_hash}" in clipboard()


def test_an_attempt_is_shown_on_the_graph(typical: Desk) -> None:
    from wallet.gui.pages.network import NetworkPage

    first = typical.node.activity[0]
    typical.shell.show_item(first.item_id)
    dialog = typical.dialog(ItemDialog)
    assert dialog.on_graph is not None
    for fold in dialog.findChildren(Fold):
        fold.button.setChecked(True)
    click(dialog.on_graph)
    typical.until(lambda: typical.page(NetworkPage).isVisible())
    shown = typical.page(NetworkPage)._shown_attempts
    tried = typical.node.attempts[first.item_id]
    own_id = typical.node.status.node_id
    assert [attempt.nodes for attempt in shown] == [
        (own_id, *(hop.node_id for hop in attempt.hops)) for attempt in tried
    ]
    assert [attempt.failed_at for attempt in shown] == [2, None]
    assert [attempt.arrived for attempt in shown] == [False, True]
    assert shown[0].reason == tried[0].failure


def test_what_was_moved_is_no_payment(typical: Desk) -> None:
    moved = next(item for item in typical.node.activity if item.moved_msat and item.fee_msat)
    typical.shell.show_item(moved.item_id)
    dialog = typical.dialog(ItemDialog)
    words = [label.text() for label in dialog.findChildren(Label)]
    assert any("Only the fee is gone" in word for word in words)
    assert "Sandbox hub" in words
    assert dialog.copy_proof is None


def test_a_note_is_changed(typical: Desk) -> None:
    first = typical.node.activity[0]
    typical.shell.show_item(first.item_id)
    dialog = typical.dialog(ItemDialog)
    dialog.note.selectAll()
    type_text(dialog.note, "My own words")
    click(dialog.save)
    typical.until(lambda: typical.node.activity[0].label == "My own words")
    page = activity(typical)
    typical.until(lambda: page.model.data(page.model.index(0, 0)) == "My own words")


def saved(desk: Desk, command: str) -> list[dict[str, Any]]:
    return [arguments for name, arguments in desk.node.calls if name == command]


def test_history_and_labels_go_out_and_labels_come_in(typical: Desk) -> None:
    page = activity(typical)
    page.save_history(Path("/somewhere/history.csv"))
    page.save_labels(Path("/somewhere/labels.jsonl"))
    assert saved(typical, "export_history") == [{"file": "/somewhere/history.csv"}]
    assert saved(typical, "export_labels") == [{"file": "/somewhere/labels.jsonl"}]
    page.import_labels(Path("/somewhere/labels.jsonl"))
    typical.until(lambda: "1 label was taken over" in page.banner.text())
    typical.until(lambda: page.model.data(page.model.index(0, 0)) == "From the file")
    typical.node.fail("export_history", "There is a file /somewhere/history.csv already.")
    page.save_history(Path("/somewhere/history.csv"))
    typical.until(lambda: "already" in page.banner.text())


def test_the_buttons_menu_offers_both_files(typical: Desk) -> None:
    from PyQt6.QtWidgets import QFileDialog, QMenu

    page = activity(typical)
    click(page.more)
    typical.until(lambda: any(menu.isVisible() for menu in page.findChildren(QMenu)))
    shown = next(menu for menu in page.findChildren(QMenu) if menu.isVisible())
    texts = [action.text() for action in shown.actions() if action.text()]
    assert len(texts) == 3
    next(
        action for action in shown.actions() if "BIP 329" in action.text() and "Save" in action.text()
    ).trigger()
    shown.close()
    asked = page.findChild(QFileDialog)
    assert asked is not None
    assert asked.selectedFiles()[0].endswith(".jsonl")
    asked.reject()
