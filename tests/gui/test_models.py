"""The item models, under Qt's own tester: rows come, go and change one by one, never by a reset."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from PyQt6.QtCore import QAbstractItemModel, QModelIndex, Qt
from PyQt6.QtTest import QAbstractItemModelTester
from pytestqt.qtbot import QtBot

from tests.gui import scenes
from wallet.gui.models.activity import AMOUNT, PAGE, WHAT, ActivityModel
from wallet.gui.models.channels import CAN_SEND, PEER, ChannelsModel
from wallet.node.api import ActivityItem, ActivityKind, ActivityPage, ChannelView


def watched(model: QAbstractItemModel) -> QAbstractItemModelTester:
    return QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Fatal)


class History:
    """An index of items, as the node keeps one."""

    def __init__(self, count: int) -> None:
        self.items: list[ActivityItem] = scenes.items(count)
        self.fetched = 0

    def fetch(self, offset: int, limit: int, text: str, kind: ActivityKind | None) -> ActivityPage:
        self.fetched += 1
        wanted = [
            i for i in self.items if (kind is None or i.kind is kind) and text.lower() in i.label.lower()
        ]
        return ActivityPage(items=tuple(wanted[offset : offset + limit]), offset=offset, total=len(wanted))


def shown_ids(model: ActivityModel) -> list[str]:
    return [item.item_id for row in range(model.rowCount()) if (item := model.item(row)) is not None]


def test_activity_is_paged(qtbot: QtBot) -> None:
    history = History(2 * PAGE + 30)
    model = ActivityModel(history.fetch)
    assert model.rowCount() == PAGE
    assert history.fetched == 1
    model.fetchMore(QModelIndex())
    assert model.rowCount() == 2 * PAGE
    tester = watched(model)  # fetches what is left
    assert model.rowCount() == 2 * PAGE + 30
    assert not model.canFetchMore(QModelIndex())
    assert tester is not None


def test_a_new_payment_is_inserted_and_one_that_changes_stays(qtbot: QtBot) -> None:
    history = History(20)
    model = ActivityModel(history.fetch)
    tester = watched(model)
    resets: list[None] = []
    inserted: list[tuple[int, int]] = []
    changed: list[int] = []
    model.modelReset.connect(lambda: resets.append(None))
    model.rowsInserted.connect(lambda _parent, first, last: inserted.append((first, last)))
    model.dataChanged.connect(lambda first, _last: changed.append(first.row()))
    fresh = replace(history.items[0], item_id="ln:fresh")
    history.items.insert(0, fresh)
    history.items[3] = replace(history.items[3], label="Another note")
    model.changed()
    assert inserted == [(0, 0)]
    assert changed == [3]
    assert resets == []
    assert shown_ids(model) == [item.item_id for item in history.items]
    assert tester is not None


def test_activity_follows_any_change(qtbot: QtBot) -> None:
    rng = random.Random(7)
    history = History(40)
    model = ActivityModel(history.fetch)
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
        assert shown_ids(model) == [item.item_id for item in history.items[: model.rowCount()]]
        assert model.rowCount() >= min(len(history.items), 30)
    assert tester is not None


def test_filtering_begins_anew(qtbot: QtBot) -> None:
    history = History(50)
    model = ActivityModel(history.fetch)
    tester = watched(model)
    model.filter("coffee", None)
    assert model.rowCount() > 0
    assert all("Coffee" in (model.item(row) or history.items[0]).label for row in range(model.rowCount()))
    model.filter("", ActivityKind.ONCHAIN)
    assert 0 < model.rowCount() < 50
    model.filter("nothing like it", None)
    assert model.rowCount() == 0
    model.filter("", None)
    assert model.rowCount() == 50
    assert tester is not None


def test_activity_reads_aloud(qtbot: QtBot) -> None:
    model = ActivityModel(History(5).fetch)
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
