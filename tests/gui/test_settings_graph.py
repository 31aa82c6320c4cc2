"""Settings, The public network: whether public nodes are called is shown, and chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

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


def test_a_snapshot_is_taken_over_from_an_address(desk: Make) -> None:
    made, shown = section(desk, True)
    row = shown.snapshot
    row.address.setText(" https://gossip.example/snapshot/0 ")
    made.node.hold("import_graph")
    click(row.address_button)
    made.until(lambda: "fetched and read" in row.told.text())
    assert not row.address_button.isEnabled()
    assert not row.file_button.isEnabled()
    made.node.import_percent(40)
    made.until(lambda: row.told.text() == "Taken over so far: 40 %")
    made.node.release("import_graph")
    made.until(lambda: "41\N{NARROW NO-BREAK SPACE}234 not known before" in row.told.text())
    made.until(row.address_button.isEnabled)
    assert "The snapshot was made just now." in row.told.text()
    assert ("import_graph", {"file": "https://gossip.example/snapshot/0"}) in made.node.calls
    assert row.problem == ""


def test_a_snapshot_is_taken_over_from_a_file(desk: Make, tmp_path: Path) -> None:
    made, shown = section(desk, True)
    row = shown.snapshot
    row.take_file(tmp_path / "network.lngossip")
    made.until(lambda: "not known before" in row.told.text())
    assert ("import_graph", {"file": str(tmp_path / "network.lngossip")}) in made.node.calls


def test_a_snapshot_that_is_no_use_is_told_and_can_be_tried_again(desk: Make) -> None:
    made, shown = section(desk, True)
    row = shown.snapshot
    made.node.fail("import_graph", "gossip.example has nothing at this address.")
    row.address.setText("https://gossip.example/none")
    click(row.address_button)
    made.until(lambda: row.problem == "gossip.example has nothing at this address.")
    made.until(row.address_button.isEnabled)
    assert row.told.text() == ""
    click(row.address_button)
    made.until(lambda: "not known before" in row.told.text())
    assert row.problem == ""


@pytest.mark.parametrize(
    ("typed", "said"), [("", "first"), ("/tmp/file", "button below")], ids=["none", "path"]
)
def test_an_address_that_is_none_is_not_asked(desk: Make, typed: str, said: str) -> None:
    made, shown = section(desk, True)
    shown.snapshot.address.setText(typed)
    click(shown.snapshot.address_button)
    assert said in shown.snapshot.problem
    assert not any(command == "import_graph" for command, _arguments in made.node.calls)


def test_what_another_has_asked_for_is_shown(desk: Make) -> None:
    """The command line, say."""
    made, shown = section(desk, True)
    made.node.import_percent(60)
    made.until(lambda: shown.snapshot.told.text() == "Taken over so far: 60 %")
    assert not shown.snapshot.address_button.isEnabled()
    made.node.import_percent(None)
    made.until(lambda: shown.snapshot.told.text() == "")
    assert shown.snapshot.address_button.isEnabled()
