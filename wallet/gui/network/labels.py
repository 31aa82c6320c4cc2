"""Names on the map: as many as there is room for, none over another, each with a halo of the ground's colour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from PyQt6.QtCore import QPointF, QRect, Qt
from PyQt6.QtGui import QFont, QFontMetricsF, QPainter, QPainterPath, QPen, QPixmap

from wallet.gui.theme import theme

__all__ = ["Label", "Wish", "forget", "place", "rendered"]

HALO = 2
GAP = 4
CELL = 96
LARGE = 4.0


@dataclass(frozen=True, slots=True)
class Wish:
    """A name that would like to be shown: at a point of the view that has a radius; in order of importance."""

    text: str
    x: float
    y: float
    radius: float
    token: str = "text"


@dataclass(frozen=True, slots=True)
class Label:
    """A name that has a place: its left top, width and height, beside the point of its wish."""

    text: str
    token: str
    left: float
    top: float
    width: float
    height: float


@lru_cache(maxsize=4_096)
def _width(text: str, scale_percent: int) -> float:
    return float(QFontMetricsF(theme().font("caption")).horizontalAdvance(text)) + 2 * HALO


def label_height() -> float:
    return float(theme().line_height("caption"))


def place(
    wishes: Iterable[Wish], width: float, height: float, limit: int = 80, covered: Sequence[QRect] = ()
) -> list[Label]:
    """Give places to as many as fit, in their order; beside, below or above their points, and not where something is
    `covered`."""
    taken: dict[tuple[int, int], list[Label]] = {}
    found: list[Label] = []
    tall = label_height()
    wanted = list(wishes)
    for rect in covered:
        lid = Label("", "", rect.x(), rect.y(), rect.width(), rect.height())
        for cell in _cells(lid):
            taken.setdefault(cell, []).append(lid)
    # No name over a large dot either.
    for wish in wanted:
        if wish.radius >= LARGE:
            inner = wish.radius * 0.9
            dot = Label("", "", wish.x - inner, wish.y - inner, 2 * inner, 2 * inner)
            for cell in _cells(dot):
                taken.setdefault(cell, []).append(dot)
    for wish in wanted:
        if len(found) >= limit:
            break
        wide = _width(wish.text, theme().scale_percent)
        away = wish.radius + GAP
        for left, top in (
            (wish.x + away, wish.y - tall / 2),
            (wish.x - away - wide, wish.y - tall / 2),
            (wish.x - wide / 2, wish.y + away - HALO),
            (wish.x - wide / 2, wish.y - away - tall + HALO),
        ):
            if left < 0 or top < 0 or left + wide > width or top + tall > height:
                continue
            label = Label(wish.text, wish.token, left, top, wide, tall)
            cells = _cells(label)
            if any(_overlap(label, other) for cell in cells for other in taken.get(cell, ())):
                continue
            for cell in cells:
                taken.setdefault(cell, []).append(label)
            found.append(label)
            break
    return found


def _cells(label: Label) -> list[tuple[int, int]]:
    columns = range(int(label.left // CELL), int((label.left + label.width) // CELL) + 1)
    rows = range(int(label.top // CELL), int((label.top + label.height) // CELL) + 1)
    return [(column, row) for column in columns for row in rows]


def _overlap(a: Label, b: Label) -> bool:
    return (
        a.left < b.left + b.width + GAP
        and b.left < a.left + a.width + GAP
        and a.top < b.top + b.height
        and b.top < a.top + a.height
    )


_made: dict[tuple[str, str, float, str], QPixmap] = {}
MOST_MADE = 600


def forget() -> None:
    """The look has changed."""
    _made.clear()
    _width.cache_clear()


def rendered(text: str, token: str, ratio: float, *, may_make: bool = True) -> QPixmap | None:
    """The name as a picture; None where it would have to be made and may not be yet."""
    key = (text, token, ratio, theme().scheme)
    picture = _made.get(key)
    if picture is None and may_make:
        if len(_made) >= MOST_MADE:
            _made.clear()
        picture = _made[key] = _draw(text, token, ratio)
    return picture


def _draw(text: str, token: str, ratio: float) -> QPixmap:
    font = QFont(theme().font("caption"))
    metrics = QFontMetricsF(font)
    width, height = _width(text, theme().scale_percent), label_height()
    picture = QPixmap(max(1, round(width * ratio)), max(1, round(height * ratio)))
    picture.setDevicePixelRatio(ratio)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    baseline = QPointF(HALO, (height + metrics.ascent() - metrics.descent()) / 2)
    outline = QPainterPath()
    outline.addText(baseline, font, text)
    pen = QPen(theme().colour("network_canvas"), 2 * HALO)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.strokePath(outline, pen)
    painter.setFont(font)
    painter.setPen(theme().colour(token))
    painter.drawText(baseline, text)
    painter.end()
    return picture
