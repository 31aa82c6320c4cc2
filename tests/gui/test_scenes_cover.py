"""Every page, dialog and other window of the program is in a scene, so that the audit, the check of room and `make
screenshots` see it: a new one that no scene shows fails here."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import FrameType

import pytest
from pytestqt.qtbot import QtBot

from tests.gui.scene_kinds import SHOWN, unseen
from tests.gui.shot_scenes import SCENES
from tests.gui.shots import Stage
from wallet import gui

GUI = Path(str(gui.__file__)).parent
BASES = {"Dialog", "QDialog", "Page", "QMainWindow"}
WHOLE = {"pages.unlock.UnlockPage", "pages.wallet_choice.WalletChoice", "pages.wizard.Wizard"}
"""What the main window shows in place of a wallet."""
WITHIN = {"pages.channel.ChannelDetail", "pages.results.ResultPage"}
"""What takes the whole of a page."""
FRAMES = {"widgets.dialog.Dialog"}
OF_THE_SYSTEM = {"widgets.files.ask_file", "widgets.files.ask_folder", "widgets.files.ask_new_file"}
"""Choosing a file is the desktop's own dialog."""


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _makes_a_window(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="Dialog" | "QFileDialog" | "QDialog" | "Step")):
            return True
        case ast.Attribute(attr="Window" | "Popup" | "Dialog" | "Tool", value=owner):
            return _name(owner) == "WindowType"
        case _:
            return False


def _look(node: ast.AST, place: str, found: set[str]) -> None:
    for child in ast.iter_child_nodes(node):
        below = place
        if isinstance(child, ast.ClassDef | ast.FunctionDef):
            below = f"{place}.{child.name}"
        if isinstance(child, ast.ClassDef) and BASES & {_name(base) for base in child.bases}:
            found.add(below)
        if _makes_a_window(child):
            found.add(place.removesuffix(".__init__"))
        _look(child, below, found)


def windows() -> set[str]:
    """What can stand on the screen: subclasses of dialogs and pages, what says that it is a window, and whoever makes a
    plain dialog or a step of the wizard."""
    found: set[str] = set()
    for path in sorted(GUI.rglob("*.py")):
        _look(
            ast.parse(path.read_text(encoding="utf-8")),
            ".".join(path.relative_to(GUI).with_suffix("").parts),
            found,
        )
    return found


def test_each_window_is_in_a_scene() -> None:
    known = windows()
    assert len(known) > 40
    assert known | WHOLE | WITHIN == set(SHOWN) | FRAMES | OF_THE_SYSTEM
    assert set(SHOWN.values()) <= set(SCENES)


@pytest.mark.parametrize("place", [place for place in SHOWN if place.rpartition(".")[2].islower()])
def test_a_scene_goes_through_what_makes_its_window(place: str, qtbot: QtBot) -> None:
    """Plain dialogs and steps have no class of their own; classes are looked for by the audit of each scene."""
    called: set[str] = set()

    def note(frame: FrameType, event: str, _value: object) -> None:
        if event == "call":
            file = frame.f_code.co_filename
            if file.startswith(str(GUI)):
                module = ".".join(Path(file).relative_to(GUI).with_suffix("").parts)
                called.add(f"{module}.{frame.f_code.co_qualname}")

    stage = Stage((800, 600), "light")
    sys.setprofile(note)
    try:
        SCENES[SHOWN[place]](stage)
    finally:
        sys.setprofile(None)
        stage.end()
    assert place in called


def test_what_is_not_seen_is_told(qtbot: QtBot) -> None:
    stage = Stage((800, 600), "light")
    try:
        SCENES["dialog-close"](stage)
        assert stage.window is not None
        assert unseen("dialog-force", stage.window) == []
        assert unseen("dialog-words", stage.window) == ["not shown: WordsDialog"]
    finally:
        stage.end()
