"""For everyone: a name for each control, Tab reaches it, one filled button a page, nothing clipped at 800x600, and no
label that takes what others wrote for markup."""

from __future__ import annotations

import ast
import contextlib
from itertools import pairwise
from pathlib import Path

import pytest
from PyQt6.QtCore import QPoint, QRect, Qt
from PyQt6.QtGui import QFontMetrics
from PyQt6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QApplication,
    QComboBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QScrollBar,
    QWidget,
)
from pytestqt.qtbot import QtBot

import wallet.gui
from tests.gui import fit
from tests.gui.hands import PATIENCE_MS, click, press
from tests.gui.scene_kinds import unseen
from tests.gui.shot_scenes import SCENES
from tests.gui.shots import Stage
from tests.gui.test_literal import markup
from wallet.gui.network.canvas import MapCanvas
from wallet.gui.tips import plain_tip
from wallet.gui.widgets.basic import Button, ElidedLabel, Label, hbox
from wallet.gui.widgets.chart import BalanceChart
from wallet.gui.widgets.fields import Segments
from wallet.gui.widgets.focus import focus_watcher, reading_order
from wallet.gui.widgets.qr import QrCode, QrWindow
from wallet.gui.widgets.why import tell_why, why_not

LAYS_OUT_MS = 5_000
WINDOW = Path(wallet.gui.__file__).parent
INTERACTIVE = (
    QAbstractButton
    | QLineEdit
    | QPlainTextEdit
    | QAbstractItemView
    | QComboBox
    | QrCode
    | MapCanvas
    | BalanceChart
)


def top(stage: Stage) -> QWidget:
    """What one can act on."""
    assert stage.window is not None
    return fit.top(stage.window)


def controls(where: QWidget) -> list[QWidget]:
    return [
        widget
        for widget in where.findChildren(QWidget)
        if isinstance(widget, INTERACTIVE)
        and not isinstance(widget, QHeaderView)
        and widget.isVisible()
        and widget.window() is where.window()
    ]


def nameless(where: QWidget) -> list[str]:
    return [
        f"without a name: {type(widget).__name__} in {type(widget.parent()).__name__}"
        for widget in controls(where)
        if not (widget.accessibleName() or (isinstance(widget, QAbstractButton) and widget.text()))
    ]


def undescribed(where: QWidget) -> list[str]:
    """Every control says what it is for, how it is used, or where it stands; to Qt a tooltip is a description too."""
    groups = [segments for segments in where.findChildren(Segments) if segments.isVisible()]
    return [
        f"without a description: {type(widget).__name__} {widget.accessibleName()}"
        for widget in [*controls(where), *groups]
        if not (widget.accessibleDescription() or widget.toolTip())
    ]


def unreachable(where: QWidget) -> list[str]:
    """Controls that Tab does not come to; within a group, arrows do."""
    start = where.focusWidget() or where
    reached = {start}
    step: QWidget | None = start
    for _step in range(2000):
        step = step.nextInFocusChain() if step is not None else None
        if step is None or step is start:
            break
        if step.focusPolicy() & Qt.FocusPolicy.TabFocus:
            reached.add(step)
    return [
        f"Tab does not reach {type(widget).__name__} {widget.accessibleName()}"
        for widget in controls(where)
        if widget.isEnabled()
        and widget not in reached
        and not (isinstance(widget, QAbstractButton) and widget.group() is not None)
    ]


def scrolls_in(widget: QWidget) -> QScrollArea | None:
    step = widget.parentWidget()
    while step is not None and not isinstance(step, QScrollArea):
        step = step.parentWidget()
    return step


def disordered(where: QWidget) -> list[str]:
    """What is not in the order in which Tab goes, or comes after what stands below it in the same column."""
    order = reading_order(where)
    found = [
        f"Tab passes by {type(widget).__name__} {widget.accessibleName()}"
        for widget in controls(where)
        if widget.isEnabled()
        and widget.focusPolicy() & Qt.FocusPolicy.TabFocus
        and widget.focusProxy() is None
        and widget not in order
        and not (isinstance(widget, QAbstractButton) and widget.group() is not None)
    ]
    places = [QRect(widget.mapTo(where, QPoint(0, 0)), widget.size()) for widget in order]
    for (first, before), (second, after) in pairwise(zip(order, places, strict=True)):
        beside = after.left() > before.right() or after.right() < before.left()
        # What is scrolled has no place beside what is not.
        together = scrolls_in(first) is scrolls_in(second)
        if after.bottom() < before.top() and not beside and together:
            found.append(f"Tab goes up: {first.accessibleName()} to {second.accessibleName()}")
    return found


def passed_by(where: QWidget) -> list[str]:
    """Controls that the keyboard does not come to when Tab is pressed round the whole of it, and Shift+Tab back."""
    order = reading_order(where)
    # Any key closes the large code.
    if not order or isinstance(where, QrWindow):
        return []
    wanted = {
        widget
        for widget in controls(where)
        if widget.isEnabled()
        and not (isinstance(widget, QAbstractButton) and widget.group() is not None)
        and widget.focusProxy() is None
    }
    found = []
    for words, modifier in (
        ("Tab", Qt.KeyboardModifier.NoModifier),
        ("Shift+Tab", Qt.KeyboardModifier.ShiftModifier),
    ):
        order[0].setFocus(Qt.FocusReason.TabFocusReason)
        reached: set[QWidget] = set()
        for _step in order:
            focused = QApplication.focusWidget()
            if focused is None or focused in reached:
                break
            reached.add(focused)
            press(focused, Qt.Key.Key_Tab, modifier)
        found += [
            f"{words} does not come to {type(widget).__name__} {widget.accessibleName()}"
            for widget in wanted - reached
        ]
    return found


def too_many_filled(where: QWidget) -> list[str]:
    filled = [
        b.text() for b in where.findChildren(Button) if b.kind in {"filled", "danger"} and b.isVisible()
    ]
    return [f"more than one filled button: {filled}"] if len(filled) > 1 else []


def silent(where: QWidget) -> list[str]:
    """Disabled buttons that do not say why: each does by its tooltip, and to a screen reader; the page's filled one
    where everybody reads it too."""
    read = [label.text() for label in where.findChildren(QLabel) if label.isVisible()]
    found = []
    for button in where.findChildren(QAbstractButton):
        if button.isEnabled() or not button.isVisible():
            continue
        name, reason = button.accessibleName() or button.text(), why_not(button)
        if not reason:
            found.append(f"does not say why it is disabled: {name}")
        elif isinstance(button, Button) and button.kind in {"filled", "danger"}:
            if not any(reason in text for text in [*read, button.text()]):
                found.append(f"says only in its tooltip why it is disabled: {name}")
    return found


def clipped(where: QWidget) -> list[str]:
    """Labels and buttons that lack the room for their text."""
    found = []
    for widget in where.findChildren(QWidget):
        if not widget.isVisible() or widget.visibleRegion().isEmpty():
            continue
        if isinstance(widget, Label) and not isinstance(widget, ElidedLabel) and widget.text():
            if widget.wordWrap():
                if widget.heightForWidth(widget.width()) > widget.height() + 1:
                    found.append(f"clipped: {widget.text()!r} {widget.width()}x{widget.height()}")
                continue
        elif not (isinstance(widget, QPushButton) and widget.text()):
            continue
        if QFontMetrics(widget.font()).horizontalAdvance(widget.text()) > widget.width() + 1:
            found.append(f"clipped: {widget.text()!r} {widget.width()}")
    return found


def sideways(where: QWidget) -> list[str]:
    return [
        f"scrolls sideways: {type(bar.parent()).__name__}"
        for bar in where.findChildren(QScrollBar)
        if bar.orientation() == Qt.Orientation.Horizontal and bar.isVisible() and bar.maximum() > 0
    ]


CHECKS = (nameless, undescribed, unreachable, disordered, too_many_filled, silent, clipped, sideways, markup)


@pytest.mark.parametrize("name", list(SCENES))
def test_each_page_is_for_everyone(name: str, qtbot: QtBot) -> None:
    stage = Stage((800, 600), "light", language="de")
    try:
        SCENES[name](stage)
        for _round in range(3):
            QApplication.processEvents()

        def problems() -> list[str]:
            assert stage.window is not None
            found = [problem for check in CHECKS for problem in check(top(stage))]
            return found + unseen(name, stage.window)

        # Answers may still be on their way, and what they bring is laid out after that.
        with contextlib.suppress(qtbot.TimeoutError):
            qtbot.waitUntil(lambda: not problems(), timeout=LAYS_OUT_MS)
        assert problems() == []
        where = top(stage).window() or top(stage)
        where.activateWindow()
        qtbot.waitUntil(where.isActiveWindow, timeout=PATIENCE_MS)
        assert passed_by(top(stage)) == []
    finally:
        stage.end()


def test_nothing_is_disabled_without_a_sentence() -> None:
    """`tell_why` is the only way."""
    found = [
        f"{path.relative_to(WINDOW)}:{node.lineno}"
        for path in sorted(WINDOW.rglob("*.py"))
        if path != WINDOW / "widgets" / "why.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"setEnabled", "setDisabled"}
    ]
    assert found == []


def test_a_disabled_button_says_why_and_is_as_before_when_it_can_be_pressed(qtbot: QtBot) -> None:
    page, line = QWidget(), Label()
    plain, filled = Button("Plain"), Button("Filled", "filled")
    plain.setToolTip("What it does")
    plain.setAccessibleDescription("For what")
    page.setLayout(hbox(plain, filled, line))
    qtbot.addWidget(page)
    page.show()
    for button in (plain, filled):
        button.setDisabled(True)
    assert silent(page) == [f"does not say why it is disabled: {name}" for name in ("Plain", "Filled")]
    for words in ("First <this>.", "Then that."):
        for button in (plain, filled):
            tell_why(button, words)
        assert silent(page) == ["says only in its tooltip why it is disabled: Filled"]
        tell_why(filled, words, line)
        assert silent(page) == []
        assert plain.accessibleDescription() == words
        assert plain.toolTip() == plain_tip(words)
    tell_why(plain, "")
    tell_why(filled, "", line)
    assert plain.isEnabled()
    assert (plain.toolTip(), plain.accessibleDescription(), line.text()) == ("What it does", "For what", "")
    # What is a part of something that is disabled has the reason of the whole.
    tell_why(page, "Wait a moment.")
    assert why_not(plain) == "Wait a moment."


@pytest.mark.parametrize("name", [name for name in SCENES if name.startswith("dialog")])
def test_a_dialog_shows_all_that_it_asks(name: str, qtbot: QtBot) -> None:
    stage = Stage((1160, 760), "light")
    try:
        SCENES[name](stage)
        where = top(stage)
        bars = [b for b in where.findChildren(QScrollBar) if b.orientation() == Qt.Orientation.Vertical]
        qtbot.waitUntil(
            lambda: not any(bar.isVisible() and bar.maximum() > 0 for bar in bars), timeout=PATIENCE_MS
        )
    finally:
        stage.end()


def test_the_ring_follows_the_keyboard_and_not_the_mouse(qtbot: QtBot) -> None:
    stage = Stage((1160, 760), "light")
    SCENES["overview-typical"](stage)
    assert stage.window is not None
    watcher = focus_watcher()
    handle = stage.window.windowHandle()
    assert handle is not None
    buttons = [
        b for b in stage.window.findChildren(Button) if b.isVisible() and b.text() in {"Receive", "Send"}
    ]
    press(handle, Qt.Key.Key_Shift)
    buttons[0].setFocus(Qt.FocusReason.TabFocusReason)
    watcher.follow(buttons[0])
    ring = watcher._ring
    assert ring is not None
    assert ring.isVisible()
    centre = buttons[0].mapTo(stage.window, buttons[0].rect().center())
    assert ring.geometry().contains(centre)
    click(handle, stage.window.rect().center())
    assert watcher._ring is None
    stage.end()


def test_tab_goes_as_one_reads(qtbot: QtBot) -> None:
    """By key, on a page whose facts are drawn anew while it is shown: its foot comes after them, and the status bar
    after the page."""
    stage = Stage((800, 600), "light")
    try:
        SCENES["channel-page"](stage)
        assert stage.window is not None
        shell = stage.window.shell
        assert shell is not None
        where = top(stage)
        qtbot.waitUntil(where.isActiveWindow, timeout=PATIENCE_MS)
        order = reading_order(where)
        names = [
            widget.accessibleName() or (widget.text() if isinstance(widget, QAbstractButton) else "")
            for widget in order
        ]
        for earlier, later in (
            ("Channels", "All channels"),
            ("Copy: Peer's id", "Force-close"),
            ("Force-close", shell.status_bar._items[0].text),
        ):
            assert names.index(earlier) < names.index(later)
        order[0].setFocus()
        for expected in [*order[1:], order[0]]:
            focused = QApplication.focusWidget()
            assert focused is not None
            press(focused, Qt.Key.Key_Tab)
            assert QApplication.focusWidget() is expected
        press(order[0], Qt.Key.Key_Tab, Qt.KeyboardModifier.ShiftModifier)
        assert QApplication.focusWidget() is order[-1]
    finally:
        stage.end()


def test_shortcuts_lead_to_pages(qtbot: QtBot) -> None:
    stage = Stage((1160, 760), "light")
    SCENES["overview-typical"](stage)
    assert stage.window is not None
    assert stage.window.shell is not None
    shell = stage.window.shell
    seen = []
    numbers = (
        Qt.Key.Key_2,
        Qt.Key.Key_3,
        Qt.Key.Key_4,
        Qt.Key.Key_5,
        Qt.Key.Key_6,
        Qt.Key.Key_7,
        Qt.Key.Key_1,
    )
    for key in numbers:
        press(stage.window, key, Qt.KeyboardModifier.ControlModifier)
        seen.append(shell.current_key)
    assert seen == ["send", "receive", "activity", "channels", "network", "settings", "overview"]
    stage.end()
