"""What the tables have in common: headings that name the unit, numbers at the right, and a repaint of all amounts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from PyQt6.QtCore import QAbstractTableModel, QModelIndex, Qt

__all__ = ["ColumnsModel"]


class ColumnsModel(QAbstractTableModel):
    """Attributes: columns: how many. first_number: from this column on the figures stand, at the right."""

    columns: ClassVar[int]
    first_number: ClassVar[int]

    def headings(self) -> Sequence[str]:
        """One a column, in the unit of now."""
        raise NotImplementedError

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008  # Qt's own signature
        return 0 if parent.isValid() else self.columns

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < self.columns:
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return self.alignment(section)
        return self.headings()[section] if role == Qt.ItemDataRole.DisplayRole else None

    def alignment(self, column: int) -> Qt.AlignmentFlag:
        side = Qt.AlignmentFlag.AlignRight if column >= self.first_number else Qt.AlignmentFlag.AlignLeft
        return side | Qt.AlignmentFlag.AlignVCenter

    def repaint_amounts(self) -> None:
        """The unit changed, amounts were hidden, or time has passed."""
        if rows := self.rowCount():
            self.dataChanged.emit(self.index(0, 0), self.index(rows - 1, self.columns - 1))
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, self.columns - 1)
