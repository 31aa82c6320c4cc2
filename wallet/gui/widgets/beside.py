"""A row that becomes a column where the window is too narrow, or the text too large, for a row."""

from __future__ import annotations

from PyQt6.QtCore import QRect, QSize
from PyQt6.QtWidgets import QLayout, QLayoutItem, QWidget

from wallet.gui.theme import theme
from wallet.gui.tokens import S2, S4
from wallet.gui.widgets.placing import PlacingLayout

__all__ = ["Beside"]


class Beside(PlacingLayout):
    """The first item, or that numbered `grows`, takes the width that the others leave. Where that is less than `least`
    and less than it asks for, all stand one below the other."""

    def __init__(
        self,
        *items: QWidget | QLayout,
        least: int = 200,
        grows: int = 0,
        spacing: int = S4,
        line_spacing: int = S2,
        top: bool = False,
    ) -> None:
        super().__init__(spacing=spacing, line_spacing=line_spacing)
        self._least = theme().px(least)
        self._top = top
        self._grows = grows
        for item in items:
            if isinstance(item, QLayout):
                self.addChildLayout(item)
                self.addItem(item)
            else:
                self.addWidget(item)

    def _shown(self) -> list[QLayoutItem]:
        return [item for item in self._items if not item.isEmpty()]

    def sizeHint(self) -> QSize:
        shown = self._shown()
        width = sum(item.sizeHint().width() for item in shown) + self._gap * max(0, len(shown) - 1)
        return QSize(width, max((item.sizeHint().height() for item in shown), default=0))

    def minimumSize(self) -> QSize:
        sizes = [item.minimumSize() for item in self._shown()]
        return QSize(
            max((size.width() for size in sizes), default=0),
            max((size.height() for size in sizes), default=0),
        )

    @staticmethod
    def _height(item: QLayoutItem, width: int) -> int:
        wanted = item.heightForWidth(width) if item.hasHeightForWidth() else item.sizeHint().height()
        return max(wanted, item.minimumSize().height())

    def is_row(self, width: int) -> bool:
        """Whether there is room for all of it side by side."""
        shown = self._shown()
        growing = self._growing(shown)
        if growing is None or len(shown) < 2:
            return True
        others = sum(item.sizeHint().width() + self._gap for item in shown) - self._gap
        others -= growing.sizeHint().width()
        return width - others >= min(self._least, growing.sizeHint().width())

    def _growing(self, shown: list[QLayoutItem]) -> QLayoutItem | None:
        one = self._items[self._grows] if self._grows < len(self._items) else None
        return one if one in shown else None

    def _place(self, rect: QRect, *, move: bool) -> int:
        shown = self._shown()
        if not shown:
            return 0
        if not self.is_row(rect.width()):
            y = rect.y()
            growing = self._growing(shown)
            for number, item in enumerate(shown):
                y += self._line_gap if number else 0
                most = rect.width() if item is growing else min(rect.width(), item.sizeHint().width())
                width = min(most, item.maximumSize().width())
                height = self._height(item, width)
                if move:
                    item.setGeometry(QRect(rect.x(), y, width, height))
                y += height
            return y - rect.y()
        growing = self._growing(shown)
        widths = [0 if item is growing else item.sizeHint().width() for item in shown]
        rest = rect.width() - sum(widths) - self._gap * (len(widths) - 1)
        widths = [rest if item is growing else width for item, width in zip(shown, widths, strict=True)]
        # What is kept narrower than its place is as high as that makes it.
        kept = [min(width, item.maximumSize().width()) for item, width in zip(shown, widths, strict=True)]
        heights = [self._height(item, width) for item, width in zip(shown, kept, strict=True)]
        tall = max(heights)
        if move:
            x = rect.x()
            whole = max(rect.height(), tall)
            for item, width, own, height in zip(shown, widths, kept, heights, strict=True):
                y = rect.y() + (0 if self._top else (whole - height) // 2)
                item.setGeometry(QRect(x, y, own, height))
                x += width + self._gap
        return tall
