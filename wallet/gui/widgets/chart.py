"""The balance over time: a step line, since it jumps and does not slope; and the same figures as a table.

The pointer, or the arrow keys once the chart has the focus, choose a step; its day and amount stand in words above
the line, and are the chart's accessible description. Coordinates are floats here: they are places on a screen, and no
amount is computed from them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

from PyQt6.QtCore import QModelIndex, QPointF, QRectF, QSize, Qt, pyqtSignal
from PyQt6.QtGui import (
    QFocusEvent,
    QFontMetricsF,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
)
from PyQt6.QtWidgets import QSizePolicy, QWidget

from wallet.gui import format as fmt
from wallet.gui.models.columns import ColumnsModel
from wallet.gui.theme import theme
from wallet.gui.tokens import S2
from wallet.i18n import _

__all__ = [
    "BalanceChart", "BalanceTableModel", "Point", "nice_step_sat", "tick_days", "tick_text", "without_emptiness",
]  # fmt: skip

Point = tuple[int, int]
"""(unix time, satoshis): the balance from that moment on."""

HEIGHT: Final = 200
LINES: Final = 4
MOST_DATES: Final = 6
INSET: Final = 8
"""Between the focus ring and the line."""
DAY_SECONDS: Final = 86_400
EMPTY_PART: Final = 16
"""The part of the line that shows the nothing before the first coins."""
FILL_ALPHA: Final = 26
"""A tenth of 255."""


def nice_step_sat(top_sat: int) -> int:
    """The distance of the lines: 1, 2 or 5 and zeros, so that four of them reach above the top."""
    step_sat = 1
    while True:
        for factor in (1, 2, 5):
            if step_sat * factor * LINES >= top_sat:
                return step_sat * factor
        step_sat *= 10


def tick_days(first_at: int, last_at: int, room: int = MOST_DATES) -> list[int]:
    """At most six moments to write dates under, evenly apart, no two on one day but the two ends."""
    length_seconds = max(1, last_at - first_at)
    days = length_seconds // DAY_SECONDS
    count = max(2, min(MOST_DATES, room, days + 1))
    return [first_at + length_seconds * place // (count - 1) for place in range(count)]


def tick_text(at: int, length_seconds: int) -> str:
    """A date, or the hour where the whole line is about a day or two."""
    return fmt.date(at) if length_seconds >= 2 * DAY_SECONDS else fmt.date_time(at)[-len("23:59") :]


def without_emptiness(points: Sequence[Point], until_at: int) -> list[Point]:
    """The same line, without the time before there was anything: a young wallet would be a needle at the edge."""
    if len(points) < 2 or points[0][1]:
        return list(points)
    lead_seconds = max(60, (until_at - points[1][0]) // EMPTY_PART)
    return [(max(points[0][0], points[1][0] - lead_seconds), 0), *points[1:]]


class BalanceChart(QWidget):
    """Signal: `chosen(object)`, the place of the step that is pointed at, -1 for none."""

    chosen = pyqtSignal(object)

    def __init__(self) -> None:
        super().__init__()
        self.points: list[Point] = []
        self._step_sat = nice_step_sat(0)
        self.until_at = 0
        self.place = -1
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(theme().px(HEIGHT))
        self.setAccessibleName(_("Balance over time"))
        self._describe()

    def sizeHint(self) -> QSize:
        return QSize(theme().px(480), theme().px(HEIGHT))

    def show_points(self, points: Sequence[Point], until_at: int) -> None:
        """Oldest first; the last one holds until `until_at`."""
        self.until_at = max([until_at, *(at for at, _sat in points[-1:])])
        self.points = without_emptiness(points, self.until_at)
        # Once: each point's place is reckoned with it.
        self._step_sat = nice_step_sat(max((sat for _at, sat in self.points), default=0))
        self._choose(-1)
        self.update()

    def sentence(self) -> str:
        """The chosen step in words, or the whole line in short."""
        if not self.points:
            return _("Nothing to show yet.")
        if 0 <= self.place < len(self.points):
            at, sat = self.points[self.place]
            return _("{date}: {amount}").format(date=self._when(at), amount=fmt.amount_sat(sat))
        (first_at, first_sat), (_last_at, last_sat) = self.points[0], self.points[-1]
        return _("From {start} on {date} to {end} now").format(
            start=fmt.amount_sat(first_sat), date=fmt.date(first_at), end=fmt.amount_sat(last_sat)
        )

    def _when(self, at: int) -> str:
        # Steps of whole days begin at midnight: their hour says nothing.
        text = fmt.date_time(at)
        return fmt.date(at) if text.endswith("00:00") else text

    def _choose(self, place: int) -> None:
        if place != self.place:
            self.place = place
            self.chosen.emit(place)
            self.update()
        self._describe()

    def _describe(self) -> None:
        self.setAccessibleDescription(self.sentence())

    # --- pointer and keys ---------------------------------------------------------------

    def place_at(self, x: float) -> int:
        """The step that holds at a place on the screen."""
        if not self.points:
            return -1
        area = self._area()
        share = min(1.0, max(0.0, (x - area.left()) / max(1.0, area.width())))
        first_at = self.points[0][0]
        at = first_at + round((self.until_at - first_at) * share)
        return max(0, bisect_right(self.points, at, key=lambda point: point[0]) - 1)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        if event is not None:
            self._choose(self.place_at(event.position().x()))

    def leaveEvent(self, event: Any) -> None:
        super().leaveEvent(event)
        if not self.hasFocus():
            self._choose(-1)

    def focusInEvent(self, event: QFocusEvent | None) -> None:
        super().focusInEvent(event)
        if self.place < 0 and event is not None and event.reason() != Qt.FocusReason.MouseFocusReason:
            self._choose(len(self.points) - 1)
        self.update()

    def focusOutEvent(self, event: QFocusEvent | None) -> None:
        super().focusOutEvent(event)
        self._choose(-1)
        self.update()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        if event is None or not self.points:
            super().keyPressEvent(event)
            return
        last = len(self.points) - 1
        here = last if self.place < 0 else self.place
        steps = {
            Qt.Key.Key_Left: here - 1,
            Qt.Key.Key_Right: here + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: last,
        }
        wanted = steps.get(Qt.Key(event.key()))
        if wanted is None:
            super().keyPressEvent(event)
            return
        self._choose(min(last, max(0, wanted)))

    # --- painting -----------------------------------------------------------------------

    def _area(self) -> QRectF:
        """Where the line lies: left of it the amounts, under it the dates."""
        px = theme().px
        caption = QFontMetricsF(theme().font("caption"))
        widest = max((caption.horizontalAdvance(text) for text in self._amounts()), default=0.0)
        left = px(INSET) + widest + px(S2) + 2
        top = px(INSET) + theme().line_height("caption") / 2
        return QRectF(
            left, top, max(1.0, self.width() - left - px(INSET)), self.height() - top - px(28) - px(INSET)
        )

    def _amounts(self) -> list[str]:
        step_sat = self._step_sat
        return [fmt.number_sat(step_sat * line) for line in range(LINES + 1)]

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = self._area()
        self._paint_lines(painter, area)
        if self.points:
            self._paint_dates(painter, area)
            self._paint_balance(painter, area)
        if self.hasFocus():
            painter.setPen(QPen(theme().colour("accent"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 6, 6)

    def _y(self, area: QRectF, sat: int) -> float:
        return area.bottom() - area.height() * sat / max(1, self._step_sat * LINES)

    def _x(self, area: QRectF, at: int) -> float:
        first_at = self.points[0][0]
        return area.left() + area.width() * (at - first_at) / max(1, self.until_at - first_at)

    def _paint_lines(self, painter: QPainter, area: QRectF) -> None:
        painter.setFont(theme().font("caption"))
        line_height = theme().line_height("caption")
        for line, text in enumerate(self._amounts()):
            y = area.bottom() - area.height() * line / LINES
            painter.setPen(QPen(theme().colour("line"), 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(theme().colour("text2"))
            where = QRectF(0, y - line_height / 2, area.left() - theme().px(S2), line_height)
            painter.drawText(where, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), text)

    def _paint_dates(self, painter: QPainter, area: QRectF) -> None:
        painter.setFont(theme().font("caption"))
        painter.setPen(theme().colour("text2"))
        metrics = QFontMetricsF(theme().font("caption"))
        # The dates at both ends stand within the line's width, so that their neighbours need half a date more.
        apart = 1.5 * metrics.horizontalAdvance("2026-12-31") + theme().px(S2)
        ticks = tick_days(self.points[0][0], self.until_at, int(area.width() / apart) + 1)
        top = area.bottom() + theme().px(6)
        for at in ticks:
            text = tick_text(at, self.until_at - self.points[0][0])
            width = metrics.horizontalAdvance(text)
            x = min(max(self._x(area, at) - width / 2, area.left()), area.right() - width)
            painter.drawText(QPointF(x, top + metrics.ascent()), text)

    def _paint_balance(self, painter: QPainter, area: QRectF) -> None:
        line = QPainterPath()
        for number, (at, sat) in enumerate(self.points):
            x, y = self._x(area, at), self._y(area, sat)
            if number == 0:
                line.moveTo(x, y)
            else:
                line.lineTo(x, line.currentPosition().y())
                line.lineTo(x, y)
        line.lineTo(area.right(), line.currentPosition().y())
        filled = QPainterPath(line)
        filled.lineTo(area.right(), area.bottom())
        filled.lineTo(self._x(area, self.points[0][0]), area.bottom())
        filled.closeSubpath()
        painter.fillPath(filled, theme().colour("accent", FILL_ALPHA))
        painter.setPen(QPen(theme().colour("accent"), 2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(line)
        if 0 <= self.place < len(self.points):
            at, sat = self.points[self.place]
            x, y = self._x(area, at), self._y(area, sat)
            painter.setPen(QPen(theme().colour("field"), 1))
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
            painter.setPen(QPen(theme().colour("surface"), 2))
            painter.setBrush(theme().colour("accent"))
            radius = theme().px(5)
            painter.drawEllipse(QPointF(x, y), radius, radius)


WHEN, BALANCE, CHANGE = range(3)


class BalanceTableModel(ColumnsModel):
    """What the chart shows, newest first: when, the balance from then on, and how much that changed it."""

    columns = 3
    first_number = BALANCE

    def __init__(self) -> None:
        super().__init__()
        self._points: list[Point] = []

    def show_points(self, points: Sequence[Point]) -> None:
        wanted = list(points)
        if wanted == self._points:
            return
        if self._points:
            self.beginRemoveRows(QModelIndex(), 0, len(self._points) - 1)
            self._points = []
            self.endRemoveRows()
        if wanted:
            self.beginInsertRows(QModelIndex(), 0, len(wanted) - 1)
            self._points = wanted
            self.endInsertRows()

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else len(self._points)

    def headings(self) -> Sequence[str]:
        unit = fmt.unit()
        return (_("When"), _("Balance ({unit})").format(unit=unit), _("Change ({unit})").format(unit=unit))

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or not 0 <= index.row() < len(self._points):
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self.alignment(index.column())
        if role not in {Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole}:
            return None
        place = len(self._points) - 1 - index.row()
        at, sat = self._points[place]
        text = ""
        if index.column() == WHEN:
            text = fmt.date(at) if fmt.date_time(at).endswith("00:00") else fmt.date_time(at)
        elif index.column() == BALANCE:
            text = fmt.number_sat(sat)
        elif place > 0:
            text = fmt.signed((sat - self._points[place - 1][1]) * 1000)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{self.headerData(index.column(), Qt.Orientation.Horizontal)}: {text}"
        return text
