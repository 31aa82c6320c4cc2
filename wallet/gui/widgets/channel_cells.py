"""Amounts of a channel as cells of a table: with what they are worth below; the capacity with its bar, to scale with
the largest row."""

from __future__ import annotations

from PyQt6.QtCore import QModelIndex, QRect, QRectF, Qt
from PyQt6.QtGui import QFontMetrics, QPainter
from PyQt6.QtWidgets import QApplication, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from wallet.gui.models.channels import CHANNEL_ROLE, WAIT_ROLE, WORTH_ROLE
from wallet.gui.theme import theme
from wallet.gui.tokens import S1, S2, S3
from wallet.gui.widgets.bars import HEIGHT, channel_segments, paint_bar
from wallet.gui.widgets.table import StateDelegate
from wallet.node.api import ChannelView

__all__ = ["CapacityDelegate", "WaitDelegate", "WorthDelegate"]

LEAST_BAR = 48
WAIT_LINE = 18


class WaitDelegate(StateDelegate):
    """A channel's state, and below it how far its opening is, where it is being opened."""

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        wait = index.data(WAIT_ROLE)
        if painter is None or not wait:
            super().paint(painter, option, index)
            return
        self.initStyleOption(option, index)
        text, icon = _ground(painter, option), option.icon
        px = theme().px
        inner = option.rect.adjusted(px(S3) + px(2), 0, -px(S1), 0)
        line, mark = px(WAIT_LINE), px(16)
        beside = mark + px(S2)
        top = inner.center().y() - line
        side = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        painter.save()
        icon.paint(painter, QRect(inner.left(), top + (line - mark) // 2, mark, mark))
        for words, role, token, place in (
            (
                text,
                "body",
                "text",
                QRect(inner.left() + beside, top, inner.width() - beside, line),
            ),
            (str(wait), "caption", "text2", QRect(inner.left(), inner.center().y(), inner.width(), line)),
        ):
            font = theme().font(role)
            painter.setFont(font)
            painter.setPen(theme().colour(token))
            shown = QFontMetrics(font).elidedText(words, Qt.TextElideMode.ElideRight, place.width())
            painter.drawText(place, side, shown)
        painter.restore()


def _ground(painter: QPainter, option: QStyleOptionViewItem) -> str:
    """Paints a cell without its text, which is returned, and without its mark."""
    text, option.text = option.text or "", ""
    option.features &= ~QStyleOptionViewItem.ViewItemFeature.HasDecoration
    view: QWidget | None = option.widget
    style = QApplication.style() if view is None else view.style()
    if style is not None:
        style.drawControl(QStyle.ControlElement.CE_ItemViewItem, option, painter, view)
    return text


class WorthDelegate(QStyledItemDelegate):
    """An amount, and below it what it is worth, once the person chose to see that."""

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        worth = index.data(WORTH_ROLE)
        if painter is None or not worth:
            super().paint(painter, option, index)
            return
        self.initStyleOption(option, index)
        text = _ground(painter, option)
        px = theme().px
        inner = option.rect.adjusted(px(S3), 0, -px(S3), 0)
        line = px(18)
        side = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        painter.save()
        for words, role, token, top in (
            (text, "body", "text", inner.center().y() - line),
            (str(worth), "caption", "text2", inner.center().y()),
        ):
            painter.setFont(theme().font(role))
            painter.setPen(theme().colour(token))
            painter.drawText(QRect(inner.left(), top, inner.width(), line), side, words)
        painter.restore()


class CapacityDelegate(QStyledItemDelegate):
    """Attribute: `scale_sat`, the capacity whose bar takes the whole width."""

    scale_sat = 1

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        channel = index.data(CHANNEL_ROLE)
        if painter is None or not isinstance(channel, ChannelView):
            super().paint(painter, option, index)
            return
        self.initStyleOption(option, index)
        text = _ground(painter, option)
        px = theme().px
        inner = option.rect.adjusted(px(S3), 0, -px(S3), 0)
        line = px(16)
        top = inner.center().y() - (line + px(HEIGHT)) // 2
        painter.save()
        painter.setFont(theme().font("caption"))
        painter.setPen(theme().colour("text"))
        words = QRect(inner.left(), top, inner.width(), line)
        painter.drawText(words, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), text)
        share = inner.width() * channel.capacity_sat // max(1, self.scale_sat)
        width = min(inner.width(), max(px(LEAST_BAR), share))
        bar = QRectF(inner.right() - width + 1, top + line + px(S2) // 4, width, px(HEIGHT) - px(2))
        paint_bar(painter, bar, channel_segments(channel))
        painter.restore()
