"""What happens around the window's start: work for after the first paint, and links that come as events."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from PyQt6.QtCore import QEvent, QUrl
from PyQt6.QtGui import QPaintEvent
from PyQt6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from tests.gui.qt_words import qt_warnings
from tests.gui.scene_kinds import SHOWN
from wallet.gui.app import AfterPaint, LinkEvents

ROOT = Path(__file__).parents[2]
WAIT_MS = 60_000


def test_what_is_for_after_the_first_paint_happens_once(qtbot: QtBot) -> None:
    paints: list[str] = []

    class Window(QWidget):
        def paintEvent(self, _event: QPaintEvent | None) -> None:
            paints.append("painted")

    window = Window()
    qtbot.addWidget(window)
    calls: list[str] = []
    AfterPaint(window, lambda: calls.append("called"))
    assert calls == []
    window.show()
    qtbot.waitUntil(lambda: bool(calls), timeout=WAIT_MS)
    assert paints
    seen = len(paints)
    again: list[str] = []
    AfterPaint(window, lambda: again.append("called"))
    window.update()
    # The second one is called after a second paint, and the first is not.
    qtbot.waitUntil(lambda: bool(again), timeout=WAIT_MS)
    assert len(paints) > seen
    assert calls == ["called"]


PROGRAM = """
import json, sys
from PyQt6.QtCore import QTimer
from PyQt6.QtWidgets import QApplication
from tests.gui.fake_host import FakeHost
from wallet.gui.app import run_gui

before = []

def look():
    from wallet.gui.ahead import Ahead
    ahead = next(w.findChild(Ahead) for w in QApplication.topLevelWidgets() if w.findChild(Ahead))
    if ahead.left:
        QTimer.singleShot(1, look)
    else:
        QApplication.exit()

def painted():
    before.extend(sys.modules)
    look()

run_gui(FakeHost(), "mainnet", ["leyden"], after_paint=painted)
print(json.dumps([before, list(sys.modules)]))
"""


def test_the_pages_are_imported_once_the_window_stands_there(tmp_path: Path) -> None:
    env = os.environ | {"QT_QPA_PLATFORM": "offscreen", "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert qt_warnings(done.stderr) == []
    before, after = (set(names) for names in json.loads(done.stdout.splitlines()[-1]))
    wanted = {
        f"wallet.gui.{'.'.join(p for p in place.split('.') if p.islower() and p[0] != '_')}"
        for place in SHOWN
    }
    modules = {name for name in wanted if (ROOT / (name.replace(".", "/") + ".py")).is_file()}
    # Those over the screen that the person asks for are Qt's alone, and small.
    modules -= {"wallet.gui.scan.screen"}
    assert len(modules) > 25
    assert modules - after == set()
    assert "wallet.gui.pages.send" not in before


class Opened(QEvent):
    """As macOS sends it; Qt's own class cannot be made by hand."""

    def __init__(self, link: str) -> None:
        super().__init__(QEvent.Type.FileOpen)
        self._link = link

    def url(self) -> QUrl:
        return QUrl(self._link)


LINKS = {
    "lightning:lnbc1abc": True,
    "bitcoin:bc1qxyz?amount=0.1": True,
    "file:///a/file": False,
    "https://a.example/": False,
}


def test_a_link_that_comes_as_an_event_is_taken_and_a_file_is_not(qapp: QApplication) -> None:
    links: list[str] = []
    events = LinkEvents(qapp, links.append)
    try:
        assert {link: events.eventFilter(qapp, Opened(link)) for link in LINKS} == LINKS
        assert not events.eventFilter(qapp, QEvent(QEvent.Type.Paint))
    finally:
        qapp.removeEventFilter(events)
        events.deleteLater()
    assert links == [link for link, is_ours in LINKS.items() if is_ours]
