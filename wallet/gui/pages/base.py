"""The frame of every page: title at the top left, its one main button at the top right, a column that
scrolls."""

from __future__ import annotations

from PyQt6.QtCore import Qt, QTimer
from PyQt6.QtGui import QShowEvent
from PyQt6.QtWidgets import QHBoxLayout, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from wallet.gui.context import Context
from wallet.gui.theme import theme
from wallet.gui.tokens import S2, S4, S6
from wallet.gui.widgets.basic import Label, hbox, vbox
from wallet.node.api import ChangeSet

__all__ = ["Page", "column", "left_column", "scroller"]


def scroller(inside: QWidget) -> QScrollArea:
    """A scroll area without a frame, on the page's own ground."""
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    inside.setProperty("content", "true")
    area.setWidget(inside)
    return area


def column(width: int, *, spacing: int = S6) -> tuple[QWidget, QVBoxLayout]:
    """A column that is at most `width` wide and starts at the left."""
    inside = QWidget()
    inside.setMaximumWidth(theme().px(width))
    inside.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
    box = vbox(spacing=spacing)
    inside.setLayout(box)
    return inside, box


def left_column(holder: QWidget, *, margin: int = 0) -> QHBoxLayout:
    """Lays a column out at the left, as wide as it may be; `margin` leaves room for the focus ring."""
    row = hbox(spacing=0, margins=(margin, margin, margin, margin))
    row.addWidget(holder, 100)
    row.addStretch(1)
    return row


class Page(QWidget):
    """A page of the main window. `refresh` draws from the snapshot; it is called whenever the page is shown
    and something changed, and must be cheap."""

    def __init__(self, context: Context, title: str, *, scrolls: bool = True, inset: int = 0) -> None:
        super().__init__()
        self.context = context
        self.setObjectName(type(self).__name__)
        self.title = Label(title, "title")
        self.head: QHBoxLayout = hbox(self.title, "stretch", spacing=S2)
        self._dirty = True
        self._narrow = False
        self._inset = theme().px(inset)  # what inner scroll areas leave for the focus ring
        self._body_holder = QWidget()
        self.body: QVBoxLayout = vbox(spacing=S6)
        self._body_holder.setLayout(self.body)
        self.setMinimumWidth(theme().px(320))
        self._outer = vbox(spacing=S4)
        self._outer.addLayout(self.head)
        self._area = scroller(self._body_holder) if scrolls else None
        self._outer.addWidget(self._area or self._body_holder, 1)
        self._wanted: QWidget | None = None
        self._turns = 0
        self._settling = QTimer(self)
        self._settling.setSingleShot(True)
        self._settling.timeout.connect(self._settled)
        self.setLayout(self._outer)
        head_rows = theme().px(36)
        self.title.setMinimumHeight(head_rows)
        self.set_narrow(False)

    def set_narrow(self, narrow: bool) -> None:
        """Margins of 24, of 16 when the window is narrow; what scrolls keeps its bar at the window's edge."""
        self._narrow = narrow
        side = theme().px(S4 if narrow else S6)
        self._outer.setContentsMargins(0, side, 0, 0)
        self.head.setContentsMargins(side, 0, side, 0)
        self.body.setContentsMargins(side - self._inset, 0, side - self._inset, side)

    def show_part(self, name: str) -> None:
        """Brings the part of that name into view, and the keyboard into it, where the page has parts."""
        self.set_first_focus()

    def bring_into_view(self, part: QWidget) -> None:
        """Scrolls as far as it takes to see a part of the body; what has just changed is laid out before."""
        if self._area is None:
            return
        self._wanted = part
        # Each layout around another hears of a change a turn later.
        self._turns = 2
        self._settling.start()

    def _settled(self) -> None:
        self._turns -= 1
        if self._turns:
            self._settling.start()
        elif self._wanted is not None:
            self._scroll_to(self._wanted)
            self._wanted = None

    def _scroll_to(self, part: QWidget) -> None:
        bar = self._area.verticalScrollBar() if self._area is not None else None
        if self._area is None or bar is None:
            return
        margin = theme().px(S4)
        top = part.mapTo(self._body_holder, part.rect().topLeft()).y()
        room = self._area.height()
        if part.height() + 2 * margin > room or top - margin < bar.value():
            bar.setValue(top - margin)
        else:
            bar.setValue(max(bar.value(), top + part.height() + margin - room))

    def changed(self, changes: ChangeSet) -> None:
        """Called by the window for the page that is shown; the others are refreshed when they are shown
        again."""
        self.refresh()

    def mark_stale(self) -> None:
        self._dirty = True

    def showEvent(self, event: QShowEvent | None) -> None:
        if self._dirty:
            self._dirty = False
            self.refresh()
        super().showEvent(event)

    def refresh(self) -> None:
        """Draws what the snapshot says."""

    @property
    def is_whole(self) -> bool:
        """Whether all of it is there; a page may be made a part a turn of the event loop."""
        return True

    def set_first_focus(self) -> None:
        """Puts the keyboard where one starts."""
