"""The ring round what the keyboard is on: 2 px in accent, 2 px away, drawn above the page.

Only a focus that came by key shows it; a click does not. It follows its widget while that moves or scrolls.
Keys and clicks are watched on the windows, not on the application: an application-wide filter would see
every paint event.
"""

from __future__ import annotations

import time

from PyQt6 import sip
from PyQt6.QtCore import QEvent, QObject, QPoint, QRect, QRectF, Qt
from PyQt6.QtGui import QPainter, QPaintEvent, QPen
from PyQt6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QApplication,
    QGridLayout,
    QLayout,
    QLineEdit,
    QPlainTextEdit,
    QScrollArea,
    QWidget,
)

from wallet.gui.theme import theme

__all__ = ["FocusWatcher", "focus_watcher", "reading_order", "step_on"]

_MOVES = frozenset({QEvent.Type.Move, QEvent.Type.Resize, QEvent.Type.Hide, QEvent.Type.Show})
_ACTS = frozenset(
    {
        QEvent.Type.KeyPress,
        QEvent.Type.MouseButtonPress,
        QEvent.Type.MouseMove,
        QEvent.Type.Wheel,
        QEvent.Type.TouchBegin,
        QEvent.Type.TouchUpdate,
    }
)
_GAP = 4  # 2 px away and 2 px wide


class _Ring(QWidget):
    def __init__(self, carrier: QWidget) -> None:
        super().__init__(carrier)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme().colour("accent"), 2))
        radius = theme().px(8)
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), radius, radius)


class FocusWatcher(QObject):
    """Knows whether the keyboard or the mouse leads, and keeps the ring where it belongs.

    Attributes: `acted_at`, unix time of the last key or movement in a window of ours.
    """

    def __init__(self, app: QApplication) -> None:
        super().__init__(app)
        self.by_keyboard = False
        self.acted_at = time.time()
        self._ring: _Ring | None = None
        self._followed: QWidget | None = None
        self._watched: list[QWidget] = []
        app.focusChanged.connect(self._focus_changed)

    def watch(self, window: QWidget) -> None:
        """Call once a top-level window has its native one."""
        handle = window.windowHandle()
        if handle is not None:
            handle.removeEventFilter(self)
            handle.installEventFilter(self)

    def _focus_changed(self, _old: QWidget | None, new: QWidget | None) -> None:
        self.follow(new if self.by_keyboard else None)

    def follow(self, widget: QWidget | None) -> None:
        for watched in self._watched:
            if not sip.isdeleted(watched):
                watched.removeEventFilter(self)
        self._watched = []
        self._followed = None
        if self._ring is not None and not sip.isdeleted(self._ring):
            self._ring.deleteLater()
        self._ring = None
        # Fields show their focus by their own border; a view by its current row.
        if widget is None or isinstance(widget, QLineEdit | QPlainTextEdit | QAbstractItemView | QScrollArea):
            return
        carrier = self._carrier(widget)
        if carrier is None:
            return
        self._followed = widget
        step: QWidget | None = widget
        while step is not None and step is not carrier:
            step.installEventFilter(self)
            self._watched.append(step)
            step = step.parentWidget()
        self._ring = _Ring(carrier)
        self._place()

    @staticmethod
    def _carrier(widget: QWidget) -> QWidget | None:
        """The content of the scroll area the widget lives in, so that the ring scrolls with it, or its
        window."""
        step = widget.parentWidget()
        while step is not None:
            above = step.parentWidget()
            if step.isWindow() or (above is not None and isinstance(above.parentWidget(), QScrollArea)):
                return step
            step = above
        return None

    def _place(self) -> None:
        ring, widget = self._ring, self._followed
        if ring is None or widget is None or sip.isdeleted(ring) or sip.isdeleted(widget):
            return
        carrier = ring.parentWidget()
        if carrier is None or not widget.isVisible():
            ring.hide()
            return
        where = QRect(widget.mapTo(carrier, QPoint(0, 0)), widget.size()).adjusted(-_GAP, -_GAP, _GAP, _GAP)
        ring.setGeometry(where.intersected(carrier.rect()))
        ring.raise_()
        ring.show()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is None:
            return False
        kind = event.type()
        if kind in _ACTS:
            self.acted_at = time.time()
        if kind in _MOVES:
            self._place()
        elif kind == QEvent.Type.KeyPress:
            self.by_keyboard = True
        elif kind == QEvent.Type.MouseButtonPress and self.by_keyboard:
            self.by_keyboard = False
            self.follow(None)
        return False


def reading_order(window: QWidget) -> list[QWidget]:
    """What Tab comes to, as one reads the window: by its layouts, whatever was made when.

    Qt's own order is that in which widgets were made: what is drawn anew on a page would come after its foot.
    """
    found: list[QWidget] = []

    def walk(widget: QWidget) -> None:
        if not widget.isVisibleTo(window):
            return
        stops = bool(widget.focusPolicy() & Qt.FocusPolicy.TabFocus)
        if stops and widget.isEnabled() and widget.focusProxy() is None and not _is_for_arrows(widget):
            found.append(widget)
        layout = widget.layout()
        laid_out = [] if layout is None else _laid_out(layout)
        # What floats over others has its place only.
        others = [
            child
            for child in widget.children()
            if isinstance(child, QWidget) and not child.isWindow() and child not in laid_out
        ]
        for child in [*laid_out, *sorted(others, key=lambda one: (one.y(), one.x()))]:
            walk(child)

    walk(window)
    return found


def _is_for_arrows(widget: QWidget) -> bool:
    """Whether it is one of a group of choices, another of which is chosen: Tab goes there, and arrows go on."""
    group = widget.group() if isinstance(widget, QAbstractButton) else None
    if group is None or not group.exclusive():
        return False
    chosen = group.checkedButton()
    return chosen is not None and chosen is not widget and chosen.isVisible() and chosen.isEnabled()


def _laid_out(layout: QLayout) -> list[QWidget]:
    items = [(layout.itemAt(number), number) for number in range(layout.count())]
    if isinstance(layout, QGridLayout):
        items.sort(key=lambda one: layout.getItemPosition(one[1])[:2])
    found: list[QWidget] = []
    for item, _number in items:
        widget, inner = (None, None) if item is None else (item.widget(), item.layout())
        if widget is not None:
            found.append(widget)
        elif inner is not None:
            found += _laid_out(inner)
    return found


def step_on(window: QWidget, *, forward: bool) -> bool:
    """Tab, or Shift+Tab: to the next control in reading order. False where the keyboard is on none of them."""
    order, now = reading_order(window), window.focusWidget()
    if now is None or now not in order:
        return False
    reason = Qt.FocusReason.TabFocusReason if forward else Qt.FocusReason.BacktabFocusReason
    order[(order.index(now) + (1 if forward else -1)) % len(order)].setFocus(reason)
    return True


_watcher: FocusWatcher | None = None


def focus_watcher() -> FocusWatcher:
    """The application's one watcher."""
    global _watcher
    app = QApplication.instance()
    if not isinstance(app, QApplication):
        raise RuntimeError("the focus ring needs a QApplication")
    if _watcher is None or sip.isdeleted(_watcher):
        _watcher = FocusWatcher(app)
    return _watcher
