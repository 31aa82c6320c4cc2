"""Ids that are copied whole with one click, and folds that hold the details."""

from __future__ import annotations

from collections.abc import Sequence

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QColor, QGuiApplication, QPainter, QPaintEvent, QPen
from PyQt6.QtWidgets import QSizePolicy, QWidget

from wallet.gui import format as fmt
from wallet.gui.theme import theme
from wallet.gui.tips import plain_tip
from wallet.gui.tokens import NODE_SATURATION, NODE_VALUE, S2, S3
from wallet.gui.widgets.basic import Button, Label, clear, hbox, vbox
from wallet.i18n import _

__all__ = ["CopyId", "Fold", "NodeDot", "copy_text"]


def copy_text(anywhere: QWidget, text: str, what: str) -> None:
    """Puts a text on the clipboard and says so."""
    from wallet.gui.widgets.notices import toast

    clipboard = QGuiApplication.clipboard()
    if clipboard is not None:
        clipboard.setText(text)
    toast(anywhere, _("{what} copied").format(what=what), "copy")


class CopyId(Button):
    """First 8 and last 8 characters, monospace; one click copies all of it."""

    def __init__(self, what: str, full: str, *, shown: str | None = None) -> None:
        super().__init__(shown or fmt.short_id(full), "id", "copy", name=_("Copy: {what}").format(what=what))
        self.full = full
        self._what = what
        self.setFont(theme().font("mono"))
        self.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
        self.setToolTip(plain_tip(full if len(full) <= 200 else full[:200] + fmt.ELLIPSIS))
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.setIconSize(self.iconSize() * 0.8)
        self.clicked.connect(lambda _checked=False: copy_text(self, self.full, self._what))

    def set_full(self, full: str) -> None:
        self.full = full
        self.setText(fmt.short_id(full))
        self.setToolTip(plain_tip(full if len(full) <= 200 else full[:200] + fmt.ELLIPSIS))


class NodeDot(QWidget):
    """A node's dot in the colour that its id gives it, outlined."""

    def __init__(self, node_id: str) -> None:
        super().__init__()
        side = theme().px(12)
        self.setFixedSize(side, side)
        self._hue = int(node_id[2:6], 16) % 360 if len(node_id) >= 6 else 0
        self._online = True

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme().colour("field"), 1))
        painter.setBrush(QColor.fromHsv(self._hue, NODE_SATURATION, NODE_VALUE))
        painter.drawEllipse(self.rect().adjusted(1, 1, -1, -1))


class Fold(QWidget):
    """A line that opens to show more. `content` is laid out only once it is open."""

    def __init__(self, title: str, content: QWidget, *, is_open: bool = False) -> None:
        super().__init__()
        self._content = content
        self.button = Button(title, "fold", "chevron-right", small=True)
        self.button.setCheckable(True)
        self.button.setAccessibleDescription(_("Shows or hides what belongs to it"))
        self.button.setChecked(is_open)
        self.button.toggled.connect(self._toggle)
        row = hbox(self.button, "stretch")
        self.setLayout(vbox(row, content, spacing=S2))
        self._toggle(is_open)

    def _toggle(self, is_open: bool) -> None:
        self._content.setVisible(is_open)
        self.button.set_icon("chevron-down" if is_open else "chevron-right")
        self.button.setAccessibleDescription(_("Open") if is_open else _("Folded"))


class DetailsList(QWidget):
    """Label and value pairs, the long ones copied by a click."""

    def __init__(self, pairs: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__()
        self._box = vbox(spacing=4)
        self.setLayout(self._box)
        self._shown: tuple[tuple[str, str], ...] | None = None
        self.show_pairs(pairs)

    def show_pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        wanted = tuple(pairs)
        if wanted == self._shown:
            return
        self._shown = wanted
        clear(self._box)
        for name, value in wanted:
            label = Label(name, "body", "text2")
            label.setFixedWidth(theme().px(200))
            row = hbox(spacing=S3)
            row.addWidget(label, 0, Qt.AlignmentFlag.AlignTop)
            if len(value) >= 24 and " " not in value:
                row.addWidget(CopyId(name, value))
                row.addStretch(1)
            else:
                row.addWidget(Label(fmt.plain(value, 300), "body", wrap=True, selectable=True), 1)
            self._box.addLayout(row)
