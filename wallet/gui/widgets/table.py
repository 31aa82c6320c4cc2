"""Tables without a grid: a line between rows, the hovered one raised, a whole row at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PyQt6.QtCore import QAbstractItemModel, QModelIndex, QPoint, QRect, Qt
from PyQt6.QtGui import QFontMetrics, QPainter, QResizeEvent
from PyQt6.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from wallet.gui import format as fmt
from wallet.gui import icons
from wallet.gui.describe import channel_look, item_icon, item_state, item_title, item_tone, item_worth
from wallet.gui.models.activity import AMOUNT, ITEM_ROLE, WHAT, WHEN
from wallet.gui.models.channels import CHANNEL_ROLE
from wallet.gui.theme import theme
from wallet.gui.tokens import CONTROL, ROW, S3
from wallet.i18n import _
from wallet.node.api import ActivityItem, ChannelView

__all__ = ["ActivityDelegate", "StateDelegate", "Table"]


class Table(QTableView):
    """Enter or a double click opens a row, a right click its menu. Rows that come or go above what is seen do not move
    it; at the very top, what is new is seen."""

    def __init__(self, name: str, on_open: Callable[[QModelIndex], object], *, rows: int = ROW) -> None:
        super().__init__()
        self._gives_way: tuple[int, ...] = ()
        self._least = 0
        self._widths: dict[int, int] = {}
        self._left_out: set[int] = set()
        self._seen_from = 0
        self.setAccessibleName(name)
        self.setAccessibleDescription(_("Arrow keys move within, Enter opens a row"))
        self.setFont(theme().font("body"))
        self.setShowGrid(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setMouseTracking(True)
        self.setCornerButtonEnabled(False)
        down = self.verticalHeader()
        if down is not None:
            down.hide()
            down.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
            down.setDefaultSectionSize(theme().px(rows))
        across = self.horizontalHeader()
        if across is not None:
            across.setFont(theme().font("caption"))
            across.setFixedHeight(theme().px(CONTROL))
            across.setHighlightSections(False)
            across.setSectionsClickable(False)
        self.activated.connect(on_open)
        self.clicked.connect(on_open)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)

    def setModel(self, model: QAbstractItemModel | None) -> None:
        super().setModel(model)
        if model is not None:
            model.rowsAboutToBeInserted.connect(self._note_place)
            model.rowsAboutToBeRemoved.connect(self._note_place)
            # After the view's own: it knows of the rows by then.
            model.rowsInserted.connect(self._rows_came)
            model.rowsRemoved.connect(self._rows_went)

    def _note_place(self) -> None:
        bar = self.verticalScrollBar()
        self._seen_from = 0 if bar is None else bar.value()

    def _rows_came(self, _parent: QModelIndex, first: int, last: int) -> None:
        height = self._row_height()
        if self._seen_from > 0 and first <= self._seen_from // height:
            self._see_from(self._seen_from + (last - first + 1) * height)

    def _rows_went(self, _parent: QModelIndex, first: int, last: int) -> None:
        height = self._row_height()
        top = self._seen_from // height
        if self._seen_from > 0 and first < top:
            self._see_from(self._seen_from - (min(last + 1, top) - first) * height)

    def _row_height(self) -> int:
        down = self.verticalHeader()
        return max(1, 0 if down is None else down.defaultSectionSize())

    def _see_from(self, value: int) -> None:
        bar = self.verticalScrollBar()
        if bar is not None:
            self.updateGeometries()
            bar.setValue(value)

    def set_widths(
        self, stretch: int, widths: dict[int, int], *, gives_way: Sequence[int] = (), least: int = 0
    ) -> None:
        """One column takes what is left; the others are fixed. Where less than `least` would be left, the columns of
        `gives_way` are left out, the first of them first."""
        self._gives_way, self._least, self._widths = tuple(gives_way), least, dict(widths)
        self._left_out -= set(self._gives_way)
        across = self.horizontalHeader()
        if across is None:
            return
        across.setSectionResizeMode(stretch, QHeaderView.ResizeMode.Stretch)
        for column, width in widths.items():
            across.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            across.resizeSection(column, theme().px(width))
        self._leave_out()

    def leave_out(self, columns: Sequence[int]) -> None:
        """Columns that are not shown, however much room there is."""
        self._left_out = set(columns)
        self._leave_out()

    def _leave_out(self) -> None:
        view = self.viewport()
        if view is None or not self._widths:
            return
        out = set(self._left_out)
        for column in self._gives_way:
            taken = sum(theme().px(width) for other, width in self._widths.items() if other not in out)
            if view.width() - taken >= theme().px(self._least):
                break
            out.add(column)
        for column in self._widths:
            if self.isColumnHidden(column) != (column in out):
                self.setColumnHidden(column, column in out)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._leave_out()

    def set_sorting(self, column: int, *, descending: bool = True) -> None:
        """A click on a column's head sorts by it; the first order is shown, not asked for."""
        across = self.horizontalHeader()
        if across is None:
            return
        order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
        across.setSortIndicator(column, order)
        across.setSectionsClickable(True)
        across.setSortIndicatorShown(True)

        def sort(column: int, order: Qt.SortOrder) -> None:
            model = self.model()
            if model is not None:
                model.sort(column, order)

        across.sortIndicatorChanged.connect(sort)

    def menu_index(self, place: QPoint) -> QModelIndex:
        return self.indexAt(place)


class StateDelegate(QStyledItemDelegate):
    """A channel's state as icon and word."""

    def initStyleOption(self, option: QStyleOptionViewItem | None, index: QModelIndex) -> None:
        super().initStyleOption(option, index)
        channel = index.data(CHANNEL_ROLE)
        if option is not None and isinstance(channel, ChannelView):
            _word, tone, icon = channel_look(channel)
            token = "text2" if tone == "neutral" else tone
            option.icon = icons.icon(icon, token)
            option.features |= QStyleOptionViewItem.ViewItemFeature.HasDecoration
            option.decorationSize = icons.size(16)


class ActivityDelegate(QStyledItemDelegate):
    """The first column in two lines with its icon; amounts in their tone."""

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        item = index.data(ITEM_ROLE)
        if painter is None or not isinstance(item, ActivityItem):
            super().paint(painter, option, index)
            return
        self.initStyleOption(option, index)
        column = index.column()
        if column not in {WHAT, AMOUNT}:
            super().paint(painter, option, index)
            return
        text, option.text = option.text or "", ""
        view: QWidget | None = option.widget
        style = QApplication.style() if view is None else view.style()
        if style is not None:
            style.drawControl(QStyle.ControlElement.CE_ItemViewItem, option, painter, view)
        painter.save()
        inner = option.rect.adjusted(theme().px(S3), 0, -theme().px(S3), 0)
        if column == AMOUNT:
            self._amount(painter, inner, text, item)
        else:
            self._what(painter, inner, item, self.second_line(view, item))
        painter.restore()

    @staticmethod
    def second_line(view: QWidget | None, item: ActivityItem) -> str:
        """The state; with the time where that has no column of its own."""
        state = item_state(item)
        if isinstance(view, QTableView) and view.isColumnHidden(WHEN):
            return f"{fmt.ago(item.at)} · {state}"
        return state

    @staticmethod
    def _amount(painter: QPainter, inner: QRect, text: str, item: ActivityItem) -> None:
        side = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        worth = item_worth(item)
        if worth:
            px = theme().px
            upper = QRect(inner.left(), inner.center().y() - px(19), inner.width(), px(20))
            lower = QRect(inner.left(), upper.top() + px(22), inner.width(), px(16))
            painter.setFont(theme().font("caption"))
            painter.setPen(theme().colour("text2"))
            painter.drawText(lower, int(side), worth)
            inner = upper
        painter.setFont(theme().font("strong"))
        painter.setPen(theme().colour(item_tone(item)))
        painter.drawText(inner, int(side), text)

    @staticmethod
    def _what(painter: QPainter, inner: QRect, item: ActivityItem, second: str) -> None:
        px = theme().px
        name, token = item_icon(item)
        side = px(20)
        device = painter.device()
        ratio = device.devicePixelRatioF() if device is not None else 1.0
        picture = icons.pixmap(name, token, side, ratio)
        painter.drawPixmap(inner.left(), inner.center().y() - side // 2, picture)
        left = inner.left() + side + px(S3)
        width = inner.right() - left
        top = inner.center().y() - px(19)
        lines = ((item_title(item), "body", "text", 20), (second, "caption", "text2", 16))
        for words, role, colour, height in lines:
            font = theme().font(role)
            painter.setFont(font)
            painter.setPen(theme().colour(colour))
            shown = QFontMetrics(font).elidedText(words, Qt.TextElideMode.ElideRight, width)
            painter.drawText(QRect(left, top, width, px(height)), int(Qt.AlignmentFlag.AlignVCenter), shown)
            top += px(height) + px(2)
