"""What a person has typed survives pages that are made anew, for another language or text size.

Theory of operation. A page that is made twice has the same controls in the same order. So each control's content is
noted with its kind and its place among those of its kind, and put back likewise. Some controls come later, when the
node has answered to what the first ones hold: they are waited for, for a while, by watching the page's layout.
"""

from __future__ import annotations

from dataclasses import dataclass

from PyQt6 import sip
from PyQt6.QtCore import QEvent, QObject, QTimer
from PyQt6.QtWidgets import QAbstractButton, QLineEdit, QPlainTextEdit, QWidget

from wallet.gui.widgets.fields import Segments

__all__ = ["Kept", "keep", "put_back"]

WAIT_MS = 5_000
KINDS: tuple[type[QWidget], ...] = (QLineEdit, QPlainTextEdit, QAbstractButton, Segments)


@dataclass(frozen=True, slots=True)
class Kept:
    """One control's content. Attributes: `kind` and `place` say which; `value` is a text or a tick."""

    kind: int
    place: int
    value: str | bool


def _controls(page: QWidget, kind: int) -> list[QWidget]:
    return [widget for widget in page.findChildren(KINDS[kind]) if _may_be_kept(widget)]


def _may_be_kept(widget: QWidget) -> bool:
    match widget:
        case QLineEdit():
            return not widget.isReadOnly()
        case QPlainTextEdit():
            return not widget.isReadOnly()
        case QAbstractButton():
            return widget.isCheckable() and widget.group() is None
        case _:
            return True


def _content(widget: QWidget) -> str | bool:
    match widget:
        case QLineEdit():
            return widget.text()
        case QPlainTextEdit():
            return widget.toPlainText()
        case QAbstractButton():
            return widget.isChecked()
        case Segments():
            return widget.current()
        case _:
            return ""


def keep(page: QWidget) -> list[Kept]:
    """What stands in a page's fields."""
    return [
        Kept(kind, place, value)
        for kind in range(len(KINDS))
        for place, widget in enumerate(_controls(page, kind))
        if (value := _content(widget))
    ]


def _put(widget: QWidget, value: str | bool) -> None:
    if _content(widget) == value:
        return
    match widget:
        case QLineEdit():
            widget.setText(str(value))
            widget.textEdited.emit(widget.text())
        case QPlainTextEdit():
            widget.setPlainText(str(value))
        case QAbstractButton():
            widget.setChecked(bool(value))
        case Segments():
            widget.button(str(value)).click()


class _Waiting(QObject):
    """Puts back what is left, whenever the page has been laid out anew, until all of it is or time is up."""

    def __init__(self, page: QWidget, kept: list[Kept]) -> None:
        super().__init__(page)
        self._page = page
        self._kept = kept
        page.installEventFilter(self)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self.try_again)
        for widget in page.findChildren(QWidget):
            widget.installEventFilter(self)
        patience = QTimer(self)
        patience.setSingleShot(True)
        patience.timeout.connect(self._give_up)
        patience.start(WAIT_MS)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is not None and event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.ChildAdded):
            self._soon.start(0)
        return False

    def try_again(self) -> None:
        self._kept = _put_back_now(self._page, self._kept)
        if not self._kept:
            self._give_up()

    def _give_up(self) -> None:
        if not sip.isdeleted(self):
            self.deleteLater()


def _put_back_now(page: QWidget, kept: list[Kept]) -> list[Kept]:
    """What found no control yet."""
    left = []
    for one in kept:
        controls = _controls(page, one.kind)
        if one.place < len(controls):
            _put(controls[one.place], one.value)
        else:
            left.append(one)
    return left


def put_back(page: QWidget, kept: list[Kept]) -> None:
    """Fills a page that was made anew."""
    left = _put_back_now(page, kept)
    if left:
        _Waiting(page, left)
