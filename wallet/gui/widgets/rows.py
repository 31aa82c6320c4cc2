"""A payment in a line: an icon for the layer and direction, what it was, and the amount at the right."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import QRectF, QSize, Qt
from PyQt6.QtGui import QPainter, QPaintEvent
from PyQt6.QtWidgets import QPushButton, QSizePolicy

from wallet.gui import format as fmt
from wallet.gui.describe import item_icon, item_state, item_title, item_tone
from wallet.gui.theme import theme
from wallet.gui.tokens import ROW_TWO_LINES, S3, S4
from wallet.gui.widgets.basic import AmountLabel, ElidedLabel, IconLabel, hbox, vbox
from wallet.node.api import ActivityDirection, ActivityItem

__all__ = ["PaymentRow"]


class PaymentRow(QPushButton):
    """One line of a short list; the whole of it is a button that opens the details."""

    def __init__(self, item: ActivityItem, on_click: Callable[[], object], *, last: bool) -> None:
        super().__init__()
        self._last = last
        title, state, when = item_title(item), item_state(item), fmt.ago(item.at)
        name, token = item_icon(item)
        amount = AmountLabel("strong", align=Qt.AlignmentFlag.AlignRight)
        moved = item.direction is ActivityDirection.MOVED
        amount.set_msat(
            item.moved_msat if moved else item.amount_msat,
            sign=not moved,
            tone=item_tone(item),
            moment_at=item.at,
        )
        words = vbox(
            ElidedLabel(title, "body"), ElidedLabel(f"{state} · {when}", "caption", "text2"), spacing=0
        )
        row = hbox(spacing=S3, margins=(S4, 0, S4, 0))
        row.addWidget(IconLabel(name, token, 20))
        row.addLayout(words, 1)
        row.addWidget(amount)
        self.setLayout(row)
        for label in self.findChildren(ElidedLabel):
            label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        amount.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setProperty("kind", "row")
        self.setAccessibleName(f"{title}, {amount.text()}, {state}, {when}")
        self.setToolTip(fmt.date_time(item.at))
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(theme().px(ROW_TWO_LINES))
        self.clicked.connect(lambda _checked=False: on_click())

    def sizeHint(self) -> QSize:
        return QSize(theme().px(320), theme().px(ROW_TWO_LINES))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        if self.underMouse() and self.isEnabled():
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme().colour("raised"))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(2, 2, -2, -3), 8, 8)
        if not self._last:
            side = theme().px(S4)
            painter.fillRect(side, self.height() - 1, self.width() - 2 * side, 1, theme().colour("line"))
