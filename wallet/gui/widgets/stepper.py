"""Waiting in words: the steps of something that takes a while, and a payment's way as a line of dots."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from PyQt6.QtCore import QEasingCurve, QPointF, QRectF, QSize, Qt, QVariantAnimation
from PyQt6.QtGui import QColor, QFontMetrics, QHideEvent, QPainter, QPaintEvent, QPen, QShowEvent
from PyQt6.QtWidgets import QSizePolicy, QWidget

from wallet.gui import icons
from wallet.gui.theme import theme
from wallet.gui.widgets.basic import IconLabel, Label, hbox, vbox

__all__ = ["RouteLine", "Step", "Stepper"]

LEAST_NAME = 32
"""Less room than this shows no name."""


class Step(Enum):
    DONE = "done"
    CURRENT = "current"
    WAITING = "waiting"


_LOOK = {
    Step.DONE: ("check-circle", "success", "text"),
    Step.CURRENT: ("hourglass", "brass", "text"),
    Step.WAITING: ("clock", "text3", "text2"),
}


class Stepper(QWidget):
    """Steps one below the other, each with its icon and word; the current one may say how long it takes."""

    def __init__(self) -> None:
        super().__init__()
        self._box = vbox(spacing=8)
        self.setLayout(self._box)
        self._shown: tuple[tuple[str, Step, str], ...] = ()

    def show_steps(self, steps: Sequence[tuple[str, Step, str]]) -> None:
        """(words, state, expected time or nothing) of each."""
        wanted = tuple(steps)
        if wanted == self._shown:
            return
        self._shown = wanted
        from wallet.gui.widgets.basic import clear

        clear(self._box)
        for words, state, time_text in wanted:
            name, token, tone = _LOOK[state]
            label = Label(words, "strong" if state is Step.CURRENT else "body", tone, wrap=True)
            row = hbox(spacing=12)
            row.addWidget(IconLabel(name, token, 20), 0, Qt.AlignmentFlag.AlignTop)
            row.addWidget(label)
            if time_text:
                row.addWidget(Label(time_text, "caption", "text2"))
            row.addStretch(1)
            self._box.addLayout(row)


class RouteLine(QWidget):
    """You at the left, the payee at the right, and between them, once a route is known, its nodes as dots with their
    names; brass runs along while it is under way. Attribute: `names`, from end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ("", "")
        self._place = 0.0
        self._state = Step.CURRENT
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(theme().px(64))
        self._motion = QVariantAnimation(self)
        self._motion.setStartValue(0.0)
        self._motion.setEndValue(1.0)
        self._motion.setDuration(1600)
        self._motion.setLoopCount(-1)
        self._motion.setEasingCurve(QEasingCurve.Type.InOutSine)
        self._motion.valueChanged.connect(self._moved)

    def _moved(self, value: object) -> None:
        if isinstance(value, float):
            self._place = value
            self.update()

    def show_route(self, names: Sequence[str]) -> None:
        """Two ends at least; without more names, how the way goes is not known yet, and nothing is drawn between."""
        self.names = tuple(names)
        self.setAccessibleName(", ".join(self.names))
        self.update()

    def showEvent(self, event: QShowEvent | None) -> None:
        super().showEvent(event)
        if theme().motion and self._state is Step.CURRENT:
            self._motion.start()

    def hideEvent(self, event: QHideEvent | None) -> None:
        super().hideEvent(event)
        self._motion.stop()

    def sizeHint(self) -> QSize:
        return QSize(theme().px(480), theme().px(64))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        px = theme().px
        inset, y = px(12), px(16)
        left, right = float(inset), float(self.width() - inset)
        painter.setPen(QPen(theme().colour("line"), 2))
        painter.drawLine(QPointF(left, y), QPointF(right, y))
        done = left + (right - left) * self._place
        painter.setPen(QPen(theme().colour("brass"), px(3), cap=Qt.PenCapStyle.RoundCap))
        tail = max(left, done - (right - left) / 4)
        if done > tail:
            painter.drawLine(QPointF(tail, y), QPointF(done, y))
        hops = len(self.names) - 1
        for number in range(hops + 1):
            x = left + (right - left) * number / hops
            end = number in {0, hops}
            self._dot(painter, x, y, px(8 if end else 5), theme().colour("accent" if end else "field"))
        picture = icons.pixmap("bolt", "brass", px(16), self.devicePixelRatioF())
        painter.drawPixmap(QPointF(done - px(8), y - px(26) if y > px(26) else 0), picture)
        self._names(painter, px(34))

    @staticmethod
    def _dot(painter: QPainter, x: float, y: float, radius: float, colour: QColor) -> None:
        painter.setPen(QPen(colour, 2))
        painter.setBrush(theme().colour("canvas"))
        painter.drawEllipse(QPointF(x, y), radius, radius)

    def _names(self, painter: QPainter, top: int) -> None:
        font = theme().font("caption")
        painter.setFont(font)
        painter.setPen(theme().colour("text2"))
        metrics = QFontMetrics(font)
        last = len(self.names) - 1
        part = self.width() // last
        for number, text in enumerate(self.names):
            # The ends have the room up to the next name, the others half of it to each side.
            centre = number * (self.width() - 2 * theme().px(12)) // last + theme().px(12)
            if number == 0:
                area, align = QRectF(0, top, part // 2, 24), Qt.AlignmentFlag.AlignLeft
            elif number == last:
                area, align = (
                    QRectF(self.width() - part // 2, top, part // 2, 24),
                    Qt.AlignmentFlag.AlignRight,
                )
            else:
                area, align = QRectF(centre - part // 2, top, part, 24), Qt.AlignmentFlag.AlignHCenter
            room = int(area.width()) - theme().px(8)
            if room < theme().px(LEAST_NAME):
                continue
            painter.drawText(area, int(align), metrics.elidedText(text, Qt.TextElideMode.ElideRight, room))
