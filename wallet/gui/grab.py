"""A picture of the window, with the dialog that stands on it: for the tour and for those who look at
pages."""

from __future__ import annotations

from PyQt6.QtCore import QPoint, QRectF, Qt
from PyQt6.QtGui import QPainter, QPainterPath, QPixmap
from PyQt6.QtWidgets import QApplication, QDialog, QWidget

from wallet.gui.theme import theme
from wallet.gui.widgets.dialog import Dialog

__all__ = ["grab"]


def grab(window: QWidget) -> QPixmap:
    """The window as it is; where a dialog is open on it, dimmed, with the dialog in the middle."""
    # What was just added is shown, and laid out, by events that wait in the queue.
    for _round in range(3):
        QApplication.sendPostedEvents()
    dialogs = [d for d in window.findChildren(QDialog) if d.isVisible()]
    for dialog in dialogs:
        if isinstance(dialog, Dialog):
            dialog.fit()  # else a timer does so, which this picture would not wait for
    QApplication.sendPostedEvents()
    picture = window.grab()
    ratio = picture.devicePixelRatio()
    for dialog in dialogs:
        painter = QPainter(picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(
            window.rect(), theme().colour("text" if theme().scheme == "light" else "canvas", 110)
        )
        shown = dialog.grab()
        width, height = shown.width() / ratio, shown.height() / ratio
        place = QPoint(int(window.width() - width) // 2, int(window.height() - height) // 2)
        shape = QPainterPath()
        shape.addRoundedRect(QRectF(place.x(), place.y(), width, height), 10, 10)
        painter.setClipPath(shape)
        painter.drawPixmap(place, shown)
        painter.setClipping(False)
        painter.setPen(theme().colour("line"))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(shape)
        painter.end()
    return picture
