"""What the console shows and keeps of a line that holds a password."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from wallet.gui.pages.console import ConsoleLine, _masked
from wallet.node.cli import PASSWORD_COMMANDS

SECRET_LINES = [
    "change_password hunter2 hunter3",
    "change-password 'hunter2 hunter3'",
    "leyden change_password hunter2",
    "'leyden'   getseed   hunter2",
    "getseed -- hunter2",
    '"getseed" hunter2',
    "getseed --password=hunter2",
    "help --password hunter2",
    "help password=hunter2",
]


@pytest.mark.parametrize("line", SECRET_LINES, ids=range(len(SECRET_LINES)))
def test_a_password_is_neither_echoed_nor_kept(qtbot: QtBot, line: str) -> None:
    assert "hunter" not in _masked(line)
    assert "••••••" in _masked(line)
    ConsoleLine.history.clear()
    console = ConsoleLine("Command")
    qtbot.addWidget(console)
    console.remember(line)
    assert ConsoleLine.history == []


@pytest.mark.parametrize("command", sorted(PASSWORD_COMMANDS))
def test_every_command_that_takes_a_password_is_known(command: str) -> None:
    assert "hunter2" not in _masked(f"{command} hunter2")
    assert _masked(command) == command


@pytest.mark.parametrize("line", ["getseed", "help getseed", "setlabel aa tea"])
def test_other_lines_are_echoed_whole_and_come_back(qtbot: QtBot, line: str) -> None:
    assert _masked(line) == line
    ConsoleLine.history.clear()
    console = ConsoleLine("Command")
    qtbot.addWidget(console)
    console.remember(line)
    assert ConsoleLine.history == [line]
    ConsoleLine.history.clear()
