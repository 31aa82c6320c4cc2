"""Words that our own painters draw: whether each has its room, and whether one lies on another.

What Qt's widgets draw, `tests.gui.fit` measures; what a paint event or a delegate of ours tells `QPainter.drawText` is
heard here, while the window is drawn once into a picture. A text may be shortened by `elidedText` where the tooltip of
the widget, of what it stands in, or of the cell says the whole of it. Names on the map are no part of this: they are
pictures that `wallet.gui.network.labels` places where they have room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from PyQt6.QtCore import QModelIndex, QPoint, QPointF, QRect, QRectF, Qt
from PyQt6.QtGui import QFontMetrics, QFontMetricsF, QPainter
from PyQt6.QtWidgets import QAbstractItemView, QStyledItemDelegate, QStyleOptionViewItem, QWidget

__all__ = ["painted_findings"]

SLACK = 2.0
ELLIPSIS = "\u2026"


@dataclass(frozen=True, slots=True)
class Word:
    """One text that was drawn: `box` is where its glyphs are in the widget, `room` what it was given (None: the whole
    widget)."""

    owner: QWidget
    text: str
    box: QRectF
    room: QRectF | None


@dataclass(slots=True)
class Heard:
    words: list[Word]
    whole: dict[str, set[str]]
    """Shortened text: what it stands for."""


def _asked(args: tuple[Any, ...]) -> tuple[QRectF | QPointF, int, str]:
    """The forms of `drawText`: place, flags, text."""
    match args:
        case (QRectF() | QRect() as place, flags, str() as text, *_rest):
            return QRectF(place), int(getattr(flags, "value", flags)), text
        case (QRectF() as place, str() as text, *_rest):
            return QRectF(place), 0, text
        case (QPointF() | QPoint() as place, str() as text):
            return QPointF(place), 0, text
        case (int() as x, int() as y, str() as text):
            return QPointF(x, y), 0, text
        case (int() as x, int() as y, int() as width, int() as height, flags, str() as text):
            return QRectF(x, y, width, height), int(getattr(flags, "value", flags)), text
        case _:
            raise TypeError(f"a form of drawText that the check does not know: {args}")


def _word(painter: QPainter, args: tuple[Any, ...], owner: QWidget | None) -> Word | None:
    place, flags, text = _asked(args)
    if owner is None or not text.strip():
        return None
    metrics = QFontMetricsF(painter.font())
    if isinstance(place, QPointF):
        box = QRectF(
            place.x(), place.y() - metrics.ascent(), metrics.horizontalAdvance(text), metrics.height()
        )
        return Word(owner, text, painter.worldTransform().mapRect(box), None)
    box = metrics.boundingRect(place, flags, text)
    turn = painter.worldTransform()
    return Word(owner, text, turn.mapRect(box), turn.mapRect(place))


def _delegates(kind: type[QStyledItemDelegate]) -> Iterator[type[QStyledItemDelegate]]:
    """Those of ours."""
    for below in kind.__subclasses__():
        yield below
        yield from _delegates(below)


@contextmanager
def _listening() -> Iterator[Heard]:
    heard = Heard([], {})
    draw: Callable[..., Any] = QPainter.drawText
    elide: Callable[..., str] = QFontMetrics.elidedText
    delegates = [kind for kind in _delegates(QStyledItemDelegate) if "paint" in vars(kind)]
    # A delegate's painter does not know its widget.
    views: list[QWidget | None] = []

    def paint_by(paint: Callable[..., None]) -> Callable[..., None]:
        def paint_cell(
            delegate: object, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex
        ) -> None:
            view = option.widget
            views.append(view.viewport() if isinstance(view, QAbstractItemView) else view)
            try:
                paint(delegate, painter, option, index)
            finally:
                views.pop()

        return paint_cell

    def draw_text(painter: QPainter, *args: Any) -> Any:
        device = painter.device()
        word = _word(painter, args, views[-1] if views else device if isinstance(device, QWidget) else None)
        if word is not None:
            heard.words.append(word)
        return draw(painter, *args)

    def elided_text(metrics: QFontMetrics, text: str, *args: Any, **named: Any) -> str:
        shown = elide(metrics, text, *args, **named)
        if shown != text:
            heard.whole.setdefault(shown, set()).add(text)
        return shown

    with ExitStack() as stack:
        stack.enter_context(patch.object(QPainter, "drawText", draw_text))
        stack.enter_context(patch.object(QFontMetrics, "elidedText", elided_text))
        for kind in delegates:
            stack.enter_context(patch.object(kind, "paint", paint_by(vars(kind)["paint"])))
        yield heard


def painted_findings(where: QWidget) -> list[str]:
    """Draws the window once; sentences on the words that lack room, none where all is well."""
    with _listening() as heard:
        where.grab()
    found = []
    for word in heard.words:
        found += _cut(word)
        found += _lost(word, heard.whole)
    for owner in {id(word.owner): word.owner for word in heard.words}.values():
        found += _overlaps([word for word in heard.words if word.owner is owner])
    return found


def _who(word: Word) -> str:
    return f"{word.text[:60]!r}, drawn by {type(_view(word.owner)).__name__}"


def _view(owner: QWidget) -> QWidget:
    """The list or table whose viewport it is, else the widget itself."""
    parent = owner.parentWidget()
    return parent if isinstance(parent, QAbstractItemView) and parent.viewport() is owner else owner


def _cut(word: Word) -> list[str]:
    if word.room is None:
        room = QRectF(word.owner.rect())
        # A row that is half scrolled away is no mistake.
        if isinstance(_view(word.owner), QAbstractItemView):
            return []
        if word.box.left() < -SLACK or word.box.right() > room.right() + SLACK:
            return [f"cut at its side ({word.box.left():.0f} to {word.box.right():.0f} px): {_who(word)}"]
    else:
        room = word.room
    if word.box.width() > room.width() + SLACK:
        return [f"cut at its side ({word.box.width():.0f} of {room.width():.0f} px): {_who(word)}"]
    if word.box.height() > room.height() + SLACK:
        return [f"cut below ({word.box.height():.0f} of {room.height():.0f} px): {_who(word)}"]
    return []


def _lost(word: Word, whole: dict[str, set[str]]) -> list[str]:
    if ELLIPSIS not in word.text or word.text not in whole:
        return []
    told = "\n".join(_told(word))
    if any(_words(text) in _words(told) for text in whole[word.text]):
        return []
    return [f"shortened, and nothing tells the whole of it: {_who(word)}"]


def _words(text: str) -> str:
    return " ".join(text.replace(">", "> ").split())


def _told(word: Word) -> list[str]:
    """What a person can learn besides: tooltips of the widget and of those it stands in, and those of the cell."""
    told: list[str] = []
    step: QWidget | None = word.owner
    while step is not None and not step.isWindow():
        told.append(step.toolTip())
        step = step.parentWidget()
    view = _view(word.owner)
    if isinstance(view, QAbstractItemView):
        index = view.indexAt(word.box.center().toPoint())
        told += _of_cell(index)
    return [text for text in told if text]


def _of_cell(index: QModelIndex) -> list[str]:
    if not index.isValid():
        return []
    tip = index.data(Qt.ItemDataRole.ToolTipRole)
    return [str(tip)] if tip else []


def _overlaps(words: list[Word]) -> list[str]:
    found = []
    for number, one in enumerate(words):
        for other in words[number + 1 :]:
            both = one.box.intersected(other.box)
            if both.width() > SLACK and both.height() > SLACK and one.text != other.text:
                size = f"{both.width():.0f}x{both.height():.0f}"
                found.append(f"{_who(one)} lies on {other.text[:60]!r} by {size}")
    return found
