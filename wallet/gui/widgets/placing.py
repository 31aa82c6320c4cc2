"""What layouts of our own have in common: they keep items, and place all of them in a width."""

from __future__ import annotations

from PyQt6.QtCore import QRect
from PyQt6.QtWidgets import QLayout, QLayoutItem

from wallet.gui.theme import theme

__all__ = ["PlacingLayout"]


class PlacingLayout(QLayout):
    """How high it is follows from its width."""

    def __init__(self, *, spacing: int, line_spacing: int) -> None:
        super().__init__()
        self._items: list[QLayoutItem] = []
        self._gap, self._line_gap = theme().px(spacing), theme().px(line_spacing)
        self.setContentsMargins(0, 0, 0, 0)

    def addItem(self, item: QLayoutItem | None) -> None:
        if item is not None:
            self._items.append(item)

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self._place(QRect(0, 0, width, 0), move=False)

    def setGeometry(self, rect: QRect) -> None:
        super().setGeometry(rect)
        self._place(rect, move=True)

    def _place(self, rect: QRect, *, move: bool) -> int:
        """Answers with the height; moves the items only if it is asked to."""
        raise NotImplementedError
