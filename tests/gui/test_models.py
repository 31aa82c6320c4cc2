"""The item models, under Qt's own tester: rows come, go and change one by one, never by a reset."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

import pytest
from PyQt6.QtCore import QAbstractItemModel, Qt
from PyQt6.QtTest import QAbstractItemModelTester
from pytestqt.qtbot import QtBot

from tests.gui import scenes
from tests.gui.fake_history import matches
from tests.gui.hands import PATIENCE_MS
from wallet.gui.models.activity import AMOUNT, FEE, KEPT, LOOKED_AT, ONE_BY_ONE, PAGE, WHAT, ActivityModel
from wallet.gui.models.channels import CAN_SEND, PEER, ChannelsModel
from wallet.node.api import (
    ActivityItem,
    ActivityKind,
    ActivityOrder,
    ActivityPage,
    ActivityQuery,
    ChannelView,
    CommandError,
)


def watched(model: QAbstractItemModel) -> QAbstractItemModelTester:
    return QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Fatal)


class History:
    """An index of items, as the node keeps one."""

    def __init__(self, count: int) -> None:
        self.items: list[ActivityItem] = scenes.items(count)
        self.read = 0
        self.asked = 0

    def find_activity(self, query: ActivityQuery) -> Future[Sequence[str]]:
        self.asked += 1
        answer: Future[Sequence[str]] = Future()
        answer.set_result(self.answer(query))
        return answer

    def answer(self, query: ActivityQuery) -> Sequence[str]:
        found = [item.item_id for item in self.items if matches(item, query)]
        return found if query.descending else found[::-1]

    def activity_page(self, *, offset: int, limit: int) -> ActivityPage:
        return ActivityPage(
            items=tuple(self.items[offset : offset + limit]), offset=offset, total=len(self.items)
        )

    def activity_items(self, item_ids: Sequence[str]) -> Sequence[ActivityItem | None]:
        self.read += len(item_ids)
        known = {item.item_id: item for item in self.items}
        return [known.get(item_id) for item_id in item_ids]


def shown_ids(model: ActivityModel) -> list[str]:
    return [item.item_id for row in range(model.rowCount()) if (item := model.item(row)) is not None]


def watch(model: ActivityModel) -> tuple[list[None], list[tuple[int, int]], list[tuple[int, int]], list[int]]:
    """What it says: resets, rows inserted, rows removed, rows changed."""
    resets: list[None] = []
    inserted: list[tuple[int, int]] = []
    removed: list[tuple[int, int]] = []
    changed: list[int] = []
    model.modelReset.connect(lambda: resets.append(None))
    model.rowsInserted.connect(lambda _parent, first, last: inserted.append((first, last)))
    model.rowsRemoved.connect(lambda _parent, first, last: removed.append((first, last)))
    model.dataChanged.connect(lambda first, _last: changed.append(first.row()))
    return resets, inserted, removed, changed


def test_activity_is_read_by_the_page_that_is_looked_at(qtbot: QtBot) -> None:
    history = History(2 * PAGE + 30)
    model = ActivityModel(history)
    assert model.rowCount() == 2 * PAGE + 30
    assert history.read == 0
    assert model.data(model.index(PAGE + 5, WHAT)) is not None
    assert history.read == PAGE
    assert model.data(model.index(PAGE + 9, AMOUNT)) is not None
    assert history.read == PAGE
    tester = watched(model)
    assert shown_ids(model) == [item.item_id for item in history.items]
    assert tester is not None


def test_of_a_long_history_only_a_little_is_kept(qtbot: QtBot) -> None:
    history = History(3 * KEPT)
    model = ActivityModel(history)
    for row in range(0, model.rowCount(), 50):
        assert model.item(row) is not None
    assert len(model._kept) <= KEPT
    before = history.read
    model.changed()
    assert history.read - before <= KEPT


def test_a_new_payment_is_inserted_and_one_that_changes_stays(qtbot: QtBot) -> None:
    history = History(20)
    model = ActivityModel(history)
    tester = watched(model)
    assert len(shown_ids(model)) == 20
    resets, inserted, removed, changed = watch(model)
    fresh = replace(history.items[0], item_id="ln:fresh")
    history.items.insert(0, fresh)
    history.items[3] = replace(history.items[3], label="Another note")
    model.changed()
    assert inserted == [(0, 0)]
    assert changed == [3]
    assert (resets, removed) == ([], [])
    assert shown_ids(model) == [item.item_id for item in history.items]
    assert tester is not None


def test_activity_follows_any_change(qtbot: QtBot) -> None:
    rng = random.Random(7)
    history = History(40)
    model = ActivityModel(history)
    tester = watched(model)
    for number in range(60):
        act = rng.randrange(4)
        if act == 0 or len(history.items) < 5:
            made = replace(history.items[0], item_id=f"ln:new{number}")
            history.items.insert(rng.randrange(len(history.items)), made)
        elif act == 1:
            del history.items[rng.randrange(len(history.items))]
        elif act == 2:
            history.items.insert(0, history.items.pop(rng.randrange(len(history.items))))
        else:
            place = rng.randrange(len(history.items))
            history.items[place] = replace(history.items[place], label=f"Note {number}")
        model.changed()
        assert shown_ids(model) == [item.item_id for item in history.items]
        assert [model.item(row) for row in range(model.rowCount())] == history.items
    assert tester is not None


def test_any_difference_is_brought_over(qtbot: QtBot) -> None:
    rng = random.Random(11)
    history = History(24)
    every = list(history.items)
    model = ActivityModel(history)
    tester = watched(model)
    for _round in range(16):
        history.items = rng.sample(every, rng.randrange(len(every) + 1))
        model.changed()
        assert shown_ids(model) == [item.item_id for item in history.items]
    assert tester is not None


def test_many_new_payments_come_in_one_piece(qtbot: QtBot) -> None:
    history = History(4 * ONE_BY_ONE)
    every = list(history.items)
    history.items = every[::3]
    model = ActivityModel(history)
    tester = watched(model)
    _resets, inserted, removed, _changed = watch(model)
    history.items = every
    model.changed()
    assert (len(inserted), len(removed)) == (1, 1)
    assert model.rowCount() == len(every)
    assert shown_ids(model) == [item.item_id for item in every]
    assert tester is not None


def test_filtering_begins_anew(qtbot: QtBot) -> None:
    history = History(50)
    model = ActivityModel(history)
    tester = watched(model)
    model.ask(ActivityQuery(text="coffee"))
    assert model.rowCount() > 0
    assert all("Coffee" in (model.item(row) or history.items[1]).label for row in range(model.rowCount()))
    model.ask(ActivityQuery(kind=ActivityKind.ONCHAIN))
    assert 0 < model.rowCount() < 50
    model.ask(ActivityQuery(text="nothing like it"))
    assert model.rowCount() == 0
    model.ask(ActivityQuery())
    assert model.rowCount() == 50
    before = history.asked
    model.ask(ActivityQuery())
    assert history.asked == before
    assert tester is not None


def test_the_node_sorts_by_the_column_that_is_clicked(qtbot: QtBot) -> None:
    history = History(30)
    model = ActivityModel(history)
    tester = watched(model)
    model.ask(ActivityQuery(kind=ActivityKind.LIGHTNING))
    model.sort(AMOUNT, Qt.SortOrder.AscendingOrder)
    assert model.query == ActivityQuery(
        kind=ActivityKind.LIGHTNING, order=ActivityOrder.AMOUNT, descending=False
    )
    model.sort(WHAT)
    assert model.query.order is ActivityOrder.AMOUNT
    assert tester is not None


def test_what_is_moved_has_no_sign(qtbot: QtBot) -> None:
    history = History(1)
    history.items = [
        replace(
            history.items[0],
            amount_msat=0,
            moved_msat=1_000_000_000,
            channel_id="aa" * 32,
            fee_msat=1_532_000,
        )
    ]
    model = ActivityModel(history)
    assert model.data(model.index(0, AMOUNT)) == "1\u202f000\u202f000"
    assert model.data(model.index(0, FEE)) == "1\u202f532"
    assert "moved, still yours" in model.data(model.index(0, WHAT), Qt.ItemDataRole.AccessibleTextRole)


def test_activity_reads_aloud(qtbot: QtBot) -> None:
    model = ActivityModel(History(5))
    spoken = model.data(model.index(0, WHAT), Qt.ItemDataRole.AccessibleTextRole)
    assert "Coffee and a bun" in spoken
    assert "Lightning" in spoken
    assert "Amount (sat)" in model.data(model.index(0, AMOUNT), Qt.ItemDataRole.AccessibleTextRole)
    assert model.data(model.index(0, AMOUNT)) == "−21\u202f000"


def channels(count: int) -> list[ChannelView]:
    return list(scenes.typical(channels=count).channels.values())


def test_channels_follow_a_snapshot(qtbot: QtBot) -> None:
    rows = channels(8)
    model = ChannelsModel(rows[:6])
    tester = watched(model)
    resets: list[None] = []
    model.modelReset.connect(lambda: resets.append(None))
    model.sync([replace(rows[0], can_send_msat=5_000), *rows[2:]])
    assert model.rowCount() == 7
    assert model.data(model.index(0, CAN_SEND)) == "5"
    assert model.data(model.index(1, PEER)) == model.data(model.index(1, PEER))
    model.sync([])
    assert model.rowCount() == 0
    model.sync(rows)
    assert model.rowCount() == 8
    assert resets == []
    assert tester is not None


def test_a_hostile_alias_stays_text(qtbot: QtBot) -> None:
    row = replace(channels(1)[0], peer_alias="<img src=x>\u202e\n" + "A" * 500)
    model = ChannelsModel([row])
    text = model.data(model.index(0, PEER))
    assert text.startswith("<img src=x> A")
    assert len(text) <= 40


@pytest.mark.parametrize("size", [0, 1, 5])
def test_headers_name_the_unit(qtbot: QtBot, size: int) -> None:
    model = ChannelsModel(channels(size))
    heads = [model.headerData(n, Qt.Orientation.Horizontal) for n in range(model.columnCount())]
    amounts = ["Can send (sat)", "Can receive (sat)", "Capacity (sat)"]
    assert heads[2:] == [*amounts, "Uptime", "Earned (sat)"]


class SlowHistory(History):
    """Its answers come when the test gives them."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.waiting: list[tuple[ActivityQuery, Future[Sequence[str]]]] = []

    def find_activity(self, query: ActivityQuery) -> Future[Sequence[str]]:
        answer: Future[Sequence[str]] = Future()
        self.waiting.append((query, answer))
        return answer

    def give(self) -> None:
        """The answer to the question that has waited longest."""
        query, answer = self.waiting.pop(0)
        if not answer.cancelled():
            answer.set_result(self.answer(query))


def test_a_long_history_begins_with_its_newest_rows(qtbot: QtBot) -> None:
    history = SlowHistory(5 * PAGE)
    model = ActivityModel(history)
    tester = watched(model)
    resets, _inserted, removed, _changed = watch(model)
    assert shown_ids(model) == [item.item_id for item in history.items[:PAGE]]
    assert not model.is_whole
    with qtbot.waitSignal(model.arrived, timeout=PATIENCE_MS):
        history.give()
    assert shown_ids(model) == [item.item_id for item in history.items]
    # The first rows stay where they are.
    assert (resets, removed) == ([], [])
    assert tester is not None


def test_a_new_question_shows_no_row_of_the_one_before(qtbot: QtBot) -> None:
    history = SlowHistory(50)
    model = ActivityModel(history)
    tester = watched(model)
    with qtbot.waitSignal(model.arrived, timeout=PATIENCE_MS):
        history.give()
    model.ask(ActivityQuery(text="coffee"))
    assert model.rowCount() == 0
    assert not model.is_whole
    model.ask(ActivityQuery(text="nothing like it"))
    # Nobody wants the first answer any more.
    assert history.waiting[0][1].cancelled()
    model.ask(ActivityQuery(kind=ActivityKind.ONCHAIN))
    history.give()
    history.give()
    with qtbot.waitSignal(model.arrived, timeout=PATIENCE_MS):
        history.give()
    assert shown_ids(model) == [item.item_id for item in history.items if item.kind is ActivityKind.ONCHAIN]
    assert history.waiting == []
    assert tester is not None


def test_an_answer_that_is_late_is_not_taken(qtbot: QtBot) -> None:
    history = SlowHistory(50)
    model = ActivityModel(history)
    # It is given, and on its way to the window, when another question is asked.
    history.give()
    model.ask(ActivityQuery(text="coffee"))
    with qtbot.waitSignal(model.arrived, timeout=PATIENCE_MS):
        history.give()
    assert model.query.text == "coffee"
    assert shown_ids(model) == list(history.answer(model.query))
    assert 0 < model.rowCount() < 50


def test_news_waits_for_the_answer_and_asks_once_more(qtbot: QtBot) -> None:
    history = SlowHistory(50)
    model = ActivityModel(history)
    tester = watched(model)
    for number in range(3):
        history.items.insert(0, replace(history.items[0], item_id=f"ln:fresh{number}"))
        model.changed()
    assert len(history.waiting) == 1
    query, first = history.waiting[0]
    with qtbot.waitSignal(model.arrived, timeout=PATIENCE_MS):
        history.waiting.pop(0)
        first.set_result(list(history.answer(query))[3:])
    assert model.rowCount() == 50
    assert len(history.waiting) == 1
    with qtbot.waitSignal(model.arrived, timeout=PATIENCE_MS):
        history.give()
    assert shown_ids(model) == [item.item_id for item in history.items]
    assert history.waiting == []
    assert tester is not None


def test_what_is_looked_at_is_read_again_before_the_answer(qtbot: QtBot) -> None:
    history = SlowHistory(50)
    model = ActivityModel(history)
    with qtbot.waitSignal(model.arrived, timeout=PATIENCE_MS):
        history.give()
    assert model.item(3) is not None
    _resets, _inserted, _removed, changed = watch(model)
    history.items[3] = replace(history.items[3], label="Another note")
    model.changed()
    assert changed == [3]
    assert model.item(3) == history.items[3]


def test_a_search_that_fails_is_told_and_the_next_one_is_answered(qtbot: QtBot) -> None:
    history = SlowHistory(50)
    model = ActivityModel(history)
    with qtbot.waitSignal(model.failed, timeout=PATIENCE_MS) as told:
        history.waiting.pop(0)[1].set_exception(CommandError("The file is closed."))
    assert told.args == ["The file is closed."]
    model.changed()
    with qtbot.waitSignal(model.arrived, timeout=PATIENCE_MS):
        history.give()
    assert model.rowCount() == 50


def test_of_a_long_history_news_reads_only_what_is_looked_at(qtbot: QtBot) -> None:
    history = History(3 * KEPT)
    model = ActivityModel(history)
    for row in range(0, model.rowCount(), 50):
        assert model.item(row) is not None
    before = history.read
    model.changed()
    assert history.read - before <= LOOKED_AT
