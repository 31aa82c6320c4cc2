"""Words as a grid: shown in their order, or typed in, completed while typing, several pasted at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtWidgets import QGridLayout, QWidget

from wallet.gui.theme import theme
from wallet.gui.tokens import S2, S3
from wallet.gui.widgets.basic import Label, discard, hbox
from wallet.gui.widgets.fields import WordEdit

__all__ = ["RestoreGrid", "WordGrid"]

COLUMNS = 3


class WordGrid(QWidget):
    """Words with their numbers, down the columns."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(theme().px(S3))
        grid.setVerticalSpacing(theme().px(S2))
        rows = -(-len(words) // COLUMNS)
        for place, word in enumerate(words):
            number = Label(str(place + 1), "caption", "text3", align=Qt.AlignmentFlag.AlignRight)
            number.setFixedWidth(theme().px(20))
            number.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            shown = Label(word, "section")
            grid.addLayout(hbox(number, shown, "stretch", spacing=S3), place % rows, place // rows)
        self.setLayout(grid)
        self.setAccessibleName(", ".join(f"{n} {word}" for n, word in enumerate(words, 1)))


class RestoreGrid(QWidget):
    """12 or 24 fields. Signals: `changed()`, `count_changed(object)` when a paste decided how many."""

    changed = pyqtSignal()
    count_changed = pyqtSignal(object)

    def __init__(self, complete: Callable[[str], Sequence[str]]) -> None:
        super().__init__()
        self._complete = complete
        self.edits: list[WordEdit] = []
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(theme().px(S2))
        self._grid.setVerticalSpacing(theme().px(S2))
        self.setLayout(self._grid)
        self.set_count(12)

    def words(self) -> list[str]:
        return [edit.word() for edit in self.edits]

    def set_count(self, count: int) -> None:
        while len(self.edits) > count:
            discard(self.edits.pop())
        while len(self.edits) < count:
            place = len(self.edits)
            edit = WordEdit(place + 1, self._complete)
            edit.textChanged.connect(lambda _text: self.changed.emit())
            edit.pasted.connect(lambda words, start=place: self._pasted(start, words))
            edit.returnPressed.connect(lambda start=place: self._next(start))
            self.edits.append(edit)
            self._grid.addWidget(edit, place // COLUMNS, place % COLUMNS)
        self.changed.emit()

    def fill(self, words: Sequence[str]) -> None:
        """Puts all words into their places."""
        self._pasted(0, words)

    def _next(self, place: int) -> None:
        if place + 1 < len(self.edits):
            self.edits[place + 1].setFocus(Qt.FocusReason.TabFocusReason)

    def _pasted(self, start: int, words: Sequence[str]) -> None:
        if start == 0 and len(words) in {12, 24} and len(words) != len(self.edits):
            self.set_count(len(words))
            self.count_changed.emit(len(words))
        for edit, word in zip(self.edits[start:], words, strict=False):
            edit.setText(word)

    def mark(self, wrong: Collection[int]) -> None:
        """Marks the words that are not on the list."""
        for place, edit in enumerate(self.edits):
            edit.set_wrong(place in wrong)
