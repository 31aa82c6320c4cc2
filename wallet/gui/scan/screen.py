"""A part of the screen, chosen with the mouse: from a picture of it where the system gives one, else through the
desktop's own tool.

Under Wayland no program may look at the screen by itself: the desktop portal is asked over D-Bus, which shows a tool
of the desktop's, and hands over the file that the person made with it. Elsewhere (X11) the screens are photographed,
and shown with a frame to be drawn over them.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from PyQt6.QtCore import QObject, QPoint, QRect, Qt, QTimer, pyqtSignal
from PyQt6.QtGui import (
    QCloseEvent,
    QGuiApplication,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QScreen,
)
from PyQt6.QtWidgets import QWidget

from wallet.gui.theme import theme
from wallet.i18n import _

__all__ = ["RegionOverlay", "ScreenSource", "X11Screen", "open_screen"]

HIDE_MS = 250
"""What a window manager may take to put our window away."""
LEAST_SIDE = 12


class ScreenSource(QObject):
    """Signals: `chosen(object)`, a `QImage`; `failed(str)`, a sentence, empty where the person gave up."""

    chosen = pyqtSignal(object)
    failed = pyqtSignal(str)

    def begin(self, window: QWidget) -> None:
        """Lets the person choose a part of the screen; `window` is ours, and stands in the way."""


class RegionOverlay(QWidget):
    """A picture of one screen, over that screen: the mouse draws a frame, Enter takes all of it, Escape nothing.

    Signals: `chosen(object)`, a `QImage`, or None where nothing was chosen.
    """

    chosen = pyqtSignal(object)

    def __init__(self, screen: QScreen, picture: QPixmap) -> None:
        flags = Qt.WindowType.FramelessWindowHint | Qt.WindowType.WindowStaysOnTopHint | Qt.WindowType.Window
        super().__init__(None, flags)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(_("Choose a part of the screen"))
        self.setAccessibleName(_("Choose a part of the screen"))
        self.setAccessibleDescription(
            _("Draw a frame around the code with the mouse. Enter takes the whole screen, Escape goes back.")
        )
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setGeometry(screen.geometry())
        self._picture = picture
        self._from: QPoint | None = None
        self._frame = QRect()
        self._told = False

    def _tell(self, image: QImage | None) -> None:
        if not self._told:
            self._told = True
            self.chosen.emit(image)

    def _part(self, frame: QRect) -> QImage:
        """The picture may have more pixels than the screen has points."""
        across = self._picture.width() / max(1, self.width())
        down = self._picture.height() / max(1, self.height())
        part = QRect(
            round(frame.x() * across),
            round(frame.y() * down),
            round(frame.width() * across),
            round(frame.height() * down),
        )
        return self._picture.toImage().copy(part.intersected(self._picture.rect()))

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        if event is not None:
            self._from = event.position().toPoint()
            self._frame = QRect(self._from, self._from)
            self.update()

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        if event is not None and self._from is not None:
            self._frame = QRect(self._from, event.position().toPoint()).normalized()
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        if event is None or self._from is None:
            return
        frame = QRect(self._from, event.position().toPoint()).normalized()
        self._from = None
        if frame.width() < LEAST_SIDE or frame.height() < LEAST_SIDE:
            self._frame = QRect()
            self.update()
            return
        self._tell(self._part(frame))

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        if event is None:
            return
        if event.key() == Qt.Key.Key_Escape:
            self._tell(None)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._tell(self._picture.toImage())

    def closeEvent(self, event: QCloseEvent | None) -> None:
        super().closeEvent(event)
        self._tell(None)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.drawPixmap(self.rect(), self._picture)
        veil = theme().colour("text" if theme().scheme == "light" else "canvas", 110)
        outside = self.rect()
        if self._frame.isEmpty():
            painter.fillRect(outside, veil)
        else:
            frame = self._frame
            painter.fillRect(QRect(0, 0, outside.width(), frame.top()), veil)
            below = frame.bottom() + 1
            painter.fillRect(QRect(0, below, outside.width(), outside.height() - below), veil)
            painter.fillRect(QRect(0, frame.top(), frame.left(), frame.height()), veil)
            right = frame.right() + 1
            painter.fillRect(QRect(right, frame.top(), outside.width() - right, frame.height()), veil)
            painter.setPen(QPen(theme().colour("accent"), 2))
            painter.drawRect(frame)
        self._paint_words(painter)

    def _paint_words(self, painter: QPainter) -> None:
        words = _("Draw a frame around the code. Enter takes the whole screen, Escape goes back.")
        painter.setFont(theme().font("body"))
        box = painter.fontMetrics().boundingRect(words).adjusted(-16, -10, 16, 10)
        box.moveCenter(QPoint(self.width() // 2, theme().px(48)))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(theme().colour("line"))
        painter.setBrush(theme().colour("surface"))
        painter.drawRoundedRect(box, 6, 6)
        painter.setPen(theme().colour("text"))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, words)


class X11Screen(ScreenSource):
    """Photographs every screen once our window is out of the way. Attribute: `overlays`, while one chooses."""

    def __init__(self) -> None:
        super().__init__()
        self.overlays: list[RegionOverlay] = []
        self._window: QWidget | None = None

    def begin(self, window: QWidget) -> None:
        self._window = window
        window.hide()
        QTimer.singleShot(HIDE_MS, self._photograph)

    def pictures(self) -> list[tuple[QScreen, QPixmap]]:
        return [
            (screen, picture)
            for screen in QGuiApplication.screens()
            if not (picture := screen.grabWindow()).isNull()
        ]

    def _photograph(self) -> None:
        for screen, picture in self.pictures():
            overlay = RegionOverlay(screen, picture)
            overlay.chosen.connect(self._ended)
            self.overlays.append(overlay)
            overlay.showFullScreen()
            overlay.activateWindow()
        if not self.overlays:
            self._show_window()
            self.failed.emit(
                _("The screen cannot be looked at here. Save a picture of the code, and choose it as a file.")
            )

    def _ended(self, image: QImage | None) -> None:
        overlays, self.overlays = self.overlays, []
        for overlay in overlays:
            overlay.blockSignals(True)
            overlay.close()
        self._show_window()
        if image is None:
            self.failed.emit("")
        else:
            self.chosen.emit(image)

    def _show_window(self) -> None:
        if self._window is not None:
            self._window.show()
            self._window.activateWindow()
            self._window = None


def _open_screen() -> ScreenSource:
    wayland = bool(os.environ.get("WAYLAND_DISPLAY")) or os.environ.get("XDG_SESSION_TYPE") == "wayland"
    if wayland:
        # XWayland's own windows are all that an X11 grab would show there.
        from wallet.gui.scan.portal import PortalScreen

        return PortalScreen()
    return X11Screen()


open_screen: Callable[[], ScreenSource] = _open_screen
"""Makes what looks at the screen; tests put another in its place."""
