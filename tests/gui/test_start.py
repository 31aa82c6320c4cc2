"""What happens around the window's start: work for after the first paint, and links that come as events."""

from __future__ import annotations

from PyQt6.QtCore import QEvent, QUrl
from PyQt6.QtGui import QPaintEvent
from PyQt6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from wallet.gui.app import AfterPaint, LinkEvents

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
