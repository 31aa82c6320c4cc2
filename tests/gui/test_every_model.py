"""Every item model of the window is run under Qt's own tester: a new one that is not run here fails."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import replace

import pytest
from PyQt6.QtCore import QAbstractItemModel, Qt
from pytestqt.qtbot import QtBot

import wallet.gui
from tests.gui import fake_map, scenes
from tests.gui.test_models import History, watched
from wallet.gui.models.activity import ActivityModel
from wallet.gui.models.channels import ChannelsModel
from wallet.gui.network.models import AttemptsModel, ChannelsOfNode, NodesModel
from wallet.gui.widgets.chart import BalanceTableModel
from wallet.node.map_api import RouteAttempt

Step = Callable[[], object]


def activity() -> tuple[QAbstractItemModel, list[Step]]:
    history = History(30)
    model = ActivityModel(history)

    def news() -> None:
        newest = history.items[0]
        history.items.insert(0, replace(newest, item_id="ln:fresh"))
        history.items[4] = replace(history.items[4], label="Another note")
        del history.items[7]
        model.changed()

    return model, [news]


def channels() -> tuple[QAbstractItemModel, list[Step]]:
    rows = list(scenes.typical(channels=8).channels.values())
    model = ChannelsModel(rows[:5])
    return model, [
        lambda: model.sync([replace(rows[0], can_send_msat=5_000), *rows[2:]]),
        lambda: model.sync([]),
        lambda: model.sync(rows),
    ]


def balance_table() -> tuple[QAbstractItemModel, list[Step]]:
    model = BalanceTableModel()
    return model, [
        lambda: model.show_points([(1_000, 5), (2_000, 70), (3_000, 20)]),
        lambda: model.show_points([]),
        lambda: model.show_points([(1_000, 5)]),
    ]


def nodes() -> tuple[QAbstractItemModel, list[Step]]:
    network, model = fake_map.grown(), NodesModel()
    return model, [
        lambda: model.show_nodes(network, network.by_size[:20]),
        lambda: model.show_nodes(network, []),
        lambda: model.show_nodes(network, network.search("harbour")),
    ]


def channels_of_a_node() -> tuple[QAbstractItemModel, list[Step]]:
    network, model = fake_map.grown(), ChannelsOfNode()
    return model, [
        lambda: model.show_node(network, network.by_size[0]),
        lambda: model.show_node(network, network.by_size[1]),
    ]


def attempts() -> tuple[QAbstractItemModel, list[Step]]:
    model = AttemptsModel()
    one = RouteAttempt(nodes=("a", "b"))
    return model, [
        lambda: model.show_attempts([one], [("a", "b")]),
        lambda: model.show_attempts([], []),
        lambda: model.show_attempts([one, one], [("a", "b"), ("a", "b")]),
    ]


RUN: dict[type[QAbstractItemModel], Callable[[], tuple[QAbstractItemModel, list[Step]]]] = {
    ActivityModel: activity,
    AttemptsModel: attempts,
    BalanceTableModel: balance_table,
    ChannelsModel: channels,
    ChannelsOfNode: channels_of_a_node,
    NodesModel: nodes,
}


def models_of_the_window() -> set[type[QAbstractItemModel]]:
    """Those that nothing else of the window is made of: the others are run as a part of them."""
    for found in pkgutil.walk_packages(wallet.gui.__path__, "wallet.gui."):
        importlib.import_module(found.name)

    def ours(kind: type[QAbstractItemModel]) -> set[type[QAbstractItemModel]]:
        below = {model for child in kind.__subclasses__() for model in ours(child)}
        return below or ({kind} if kind.__module__.startswith("wallet.") else set())

    return ours(QAbstractItemModel)


def test_no_model_is_left_out(qtbot: QtBot) -> None:
    assert models_of_the_window() == set(RUN)


@pytest.mark.parametrize("kind", list(RUN), ids=lambda kind: kind.__name__)
def test_a_model_is_sound_whatever_comes_and_goes(kind: type[QAbstractItemModel], qtbot: QtBot) -> None:
    model, steps = RUN[kind]()
    tester = watched(model)
    seen = []
    for step in steps:
        step()
        seen.append(model.rowCount())
        for row in range(model.rowCount()):
            for column in range(getattr(model, "columns", 1)):
                index = model.index(row, column)
                for role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
                    assert isinstance(model.data(index, role), str), (row, column, role)
    assert type(model) is kind
    assert max(seen) > 0
    assert tester is not None
