"""Hiding amounts hides them at once, on whatever is open; another unit is there at once too."""

from __future__ import annotations

import re

import pytest
from PyQt6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from tests.gui.hands import PATIENCE_MS
from tests.gui.shot_scenes import SCENES
from tests.gui.shots import Stage

OPEN = (
    "overview-trouble",
    "channel-page",
    "channel-closing",
    "channel-forced",
    "send-failure",
    "send-success",
    "receive-code",
)
AMOUNT = re.compile(r"\d[\d\u202f ]*[\u00a0 ](sat|bits)\b")


@pytest.mark.parametrize("scene", OPEN)
def test_amounts_are_hidden_on_whatever_is_open(scene: str, qtbot: QtBot) -> None:
    stage = Stage((1160, 760), "light")
    try:
        SCENES[scene](stage)
        window = stage.window
        assert window is not None

        def told() -> set[tuple[str, str]]:
            """(amount's unit, the text it stands in) of what one sees."""
            texts = [label.text() for label in window.findChildren(QLabel) if label.isVisible()]
            return {(found[1], text) for text in texts if (found := AMOUNT.search(text))}

        before = told()
        assert before
        window.preferences.choose_hidden(True)
        qtbot.waitUntil(lambda: not told(), timeout=PATIENCE_MS)
        window.preferences.choose_hidden(False)
        # More may have come meanwhile.
        qtbot.waitUntil(lambda: told() >= before, timeout=PATIENCE_MS)
        window.preferences.choose_unit("bits")
        qtbot.waitUntil(lambda: {unit for unit, _text in told()} == {"bits"}, timeout=PATIENCE_MS)
    finally:
        stage.end()
