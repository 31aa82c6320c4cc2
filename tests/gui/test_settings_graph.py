"""Settings, The public network: whether public nodes are called is shown, and chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.gui import scenes
from tests.gui.conftest import Desk
from tests.gui.fake_node import FakeNode
from tests.gui.hands import click
from wallet.gui.pages.settings_graph import GraphSection
from wallet.node.api import CommandError, GraphSync

Make = Callable[[FakeNode], Desk]


def section(desk: Make, calls: bool | None) -> tuple[Desk, GraphSection]:
    node = scenes.typical("mainnet")
    node.status = replace(node.status, graph_sync=GraphSync(calls_public_nodes=calls))
    made = desk(node)
    made.go("settings")
    return made, made.page(GraphSection)


def test_the_choice_is_shown_and_changed(desk: Make) -> None:
    made, shown = section(desk, True)
    made.until(shown.calls.isChecked)
    click(shown.calls)
    made.until(lambda: made.node.status.graph_sync.calls_public_nodes is False)
    made.until(lambda: not shown.calls.isChecked())
    click(shown.calls)
    made.until(lambda: made.node.status.graph_sync.calls_public_nodes is True)


def test_where_there_is_nothing_to_choose_it_says_so(desk: Make) -> None:
    made, shown = section(desk, None)
    made.until(lambda: not shown.calls.isEnabled())
    assert not shown.calls.isChecked()
    assert "Not on this network" in shown.calls.toolTip()


def test_a_choice_that_is_not_taken_goes_back_with_a_reason(
    desk: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, shown = section(desk, True)
    made.until(shown.calls.isChecked)

    def refuse(on_or_off: str) -> None:
        raise CommandError("The disk is full.")

    monkeypatch.setattr(made.node, "do_set_gossip_peers", refuse)
    click(shown.calls)
    made.until(lambda: shown.problem == "The disk is full.")
    made.until(shown.calls.isChecked)
