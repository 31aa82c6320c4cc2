"""A check box in our own drawing: the sheet cannot recolour the system's tick."""

from __future__ import annotations

from PyQt6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PyQt6.QtGui import QPainter, QPaintEvent, QPen
from PyQt6.QtWidgets import QAbstractButton, QSizePolicy

from wallet.gui.theme import theme
from wallet.gui.tokens import S2
from wallet.i18n import _

__all__ = ["CheckBox"]

BOX = 18


class CheckBox(QAbstractButton):
    """A box, a tick, and a sentence that may go on in a second line."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.setCheckable(True)
        self.setFont(theme().font("body", prose=True))
        self.setText(text)
        self.setAccessibleDescription(_("Space ticks it, and takes the tick away"))
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        policy = QSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def sizeHint(self) -> QSize:
        px = theme().px
        width = px(BOX) + px(S2) + self.fontMetrics().horizontalAdvance(self.text()) + 4
        return QSize(width, px(28))

    def minimumSizeHint(self) -> QSize:
        return QSize(min(self.sizeHint().width(), theme().px(240)), theme().px(28))

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        px = theme().px
        room = QRect(0, 0, max(1, width - px(BOX) - px(S2)), 10_000)
        words = self.fontMetrics().boundingRect(room, int(Qt.TextFlag.TextWordWrap), self.text())
        return max(px(28), words.height() + px(28) - self.fontMetrics().height())

    def paintEvent(self, event: QPaintEvent | None) -> None:
        px = theme().px
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        side = px(BOX)
        box = QRectF(0.75, (self.height() - side) / 2, side - 1.5, side - 1.5)
        on = self.isChecked()
        painter.setPen(QPen(theme().colour("accent" if on else "field"), 1.5))
        painter.setBrush(theme().colour("accent" if on else "surface"))
        painter.drawRoundedRect(box, px(4), px(4))
        if on:
            pen = QPen(
                theme().colour("on_accent"), 2, cap=Qt.PenCapStyle.RoundCap, join=Qt.PenJoinStyle.RoundJoin
            )
            painter.setPen(pen)
            x, y, s = box.left(), box.top(), box.width()
            tick = [QPointF(x + s * a, y + s * b) for a, b in ((0.24, 0.52), (0.43, 0.71), (0.77, 0.31))]
            painter.drawPolyline(*tick)
        painter.setPen(theme().colour("text" if self.isEnabled() else "text3"))
        painter.setFont(self.font())
        left = side + px(S2)
        area = QRectF(left, 0, self.width() - left, self.height())
        flags = int(Qt.AlignmentFlag.AlignVCenter) | int(Qt.TextFlag.TextWordWrap)
        painter.drawText(area, flags, self.text())
