"""A person's hands: typing, pressing keys, clicking. The stubs of QTest know its functions as methods only."""

from __future__ import annotations

from typing import Any

from PyQt6.QtCore import QPoint, QPointF, Qt
from PyQt6.QtGui import QNativeGestureEvent, QPointingDevice, QWheelEvent, QWindow
from PyQt6.QtTest import QTest
from PyQt6.QtWidgets import QApplication, QScrollArea, QWidget

__all__ = [
    "PATIENCE_MS", "click", "double_click", "drag", "hold", "is_in_reach", "let_go", "move", "pinch", "press",
    "type_text", "wheel",
]  # fmt: skip

PATIENCE_MS = 30_000
"""How long a person waits for what must come: a busy machine is slow, and what never comes is still found."""

_hands: Any = QTest


def type_text(widget: QWidget, text: str) -> None:
    _hands.keyClicks(widget, text)


def press(
    where: QWidget | QWindow,
    key: Qt.Key,
    modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
) -> None:
    _hands.keyClick(where, key, modifier)


def is_in_reach(widget: QWidget) -> bool:
    """Scrolls to it; whether its middle is then in the window, with nothing above it."""
    if not widget.isVisible():
        return False
    step = widget.parentWidget()
    while step is not None:
        if isinstance(step, QScrollArea):
            step.ensureWidgetVisible(widget)
        step = step.parentWidget()
    window = widget.window() or widget
    hit = window.childAt(widget.mapTo(window, widget.rect().center()))
    return hit is not None and (hit is widget or widget.isAncestorOf(hit))


def click(where: QWidget | QWindow, at: QPoint | None = None) -> None:
    """In the middle, or at a place; a control that cannot be pressed is a mistake of the test's."""
    if isinstance(where, QWidget):
        assert where.isEnabled(), where.accessibleName()
    button, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    _hands.mouseClick(where, button, none, at if at is not None else QPoint())


def double_click(where: QWidget, at: QPoint) -> None:
    _hands.mouseDClick(where, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at)


def wheel(where: QWidget, at: QPoint, notches: int) -> None:
    """Away from oneself for more than 0. It comes to the window, which finds who is below the pointer."""
    window = where.window()
    handle = None if window is None else window.windowHandle()
    assert window is not None
    assert handle is not None
    event = QWheelEvent(
        QPointF(where.mapTo(window, at)),
        QPointF(where.mapToGlobal(at)),
        QPoint(),
        QPoint(0, 120 * notches),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(handle, event)


def pinch(where: QWidget, at: QPoint, share: float) -> None:
    """Two fingers on a touchpad, a little apart for more than 0."""
    local, over = QPointF(at), QPointF(where.mapToGlobal(at))
    event = QNativeGestureEvent(
        Qt.NativeGestureType.ZoomNativeGesture, QPointingDevice.primaryPointingDevice(), 2, local, local, over,
        share, QPointF(),
    )  # fmt: skip
    QApplication.sendEvent(where, event)


def hold(where: QWidget, at: QPoint) -> None:
    """Presses the left button."""
    _hands.mousePress(where, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at)


def move(where: QWidget, to: QPoint) -> None:
    _hands.mouseMove(where, to)


def let_go(where: QWidget, at: QPoint) -> None:
    _hands.mouseRelease(where, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at)


def drag(where: QWidget, start: QPoint, end: QPoint) -> None:
    """With the left button held."""
    hold(where, start)
    move(where, end)
    let_go(where, end)
