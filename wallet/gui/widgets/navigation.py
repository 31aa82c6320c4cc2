"""The navigation at the left: icon and word, icons alone when the window is narrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PyQt6.QtCore import QRect, QRectF, QSize, Qt, pyqtSignal
from PyQt6.QtGui import QPainter, QPaintEvent
from PyQt6.QtWidgets import QAbstractButton, QButtonGroup, QSizePolicy, QWidget

from wallet.gui import format as fmt
from wallet.gui import icons
from wallet.gui.theme import theme
from wallet.gui.tokens import NAV_NARROW, NAV_WIDE, S1, S2, S3
from wallet.gui.widgets.basic import vbox
from wallet.i18n import _

__all__ = ["NavItem", "Navigation", "Place", "WalletButton"]


@dataclass(frozen=True, slots=True)
class Place:
    """A page in the navigation."""

    key: str
    word: str
    icon: str


class NavItem(QAbstractButton):
    """One page; the current one has a soft fill and a bar at its left."""

    def __init__(self, place: Place, shortcut: str) -> None:
        super().__init__()
        self.place = place
        self.narrow = False
        self._shortcut = shortcut
        self.setText(place.word)
        self.setAccessibleName(place.word)
        self.setCheckable(True)
        self.setFont(theme().font("button"))
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(theme().px(40))
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.set_narrow(False)

    def set_narrow(self, narrow: bool) -> None:
        self.narrow = narrow
        self.setToolTip(f"{self.place.word} ({self._shortcut})" if narrow else self._shortcut)
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(theme().px(NAV_NARROW if self.narrow else NAV_WIDE), theme().px(40))

    def words(self) -> QRect | None:
        """Where the word stands; None while the navigation is narrow."""
        px = theme().px
        left = px(S2 + S3) + px(20) + px(S3)
        return None if self.narrow else QRect(left, 0, self.width() - left - px(S2 + S1), self.height())

    def paintEvent(self, event: QPaintEvent | None) -> None:
        px = theme().px
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect()).adjusted(px(S2), 0, -px(S2), 0)
        current = self.isChecked()
        if current or self.underMouse():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme().colour("soft_accent" if current else "line", 255 if current else 120))
            painter.drawRoundedRect(area, px(6), px(6))
        if current:
            painter.setBrush(theme().colour("accent"))
            painter.drawRoundedRect(QRectF(0, px(8), px(3), self.height() - px(16)), 1.5, 1.5)
        token = "accent" if current else "text2"
        side = px(20)
        x = (self.width() - side) // 2 if self.narrow else px(S2 + S3)
        picture = icons.pixmap(self.place.icon, token, side, self.devicePixelRatioF())
        painter.drawPixmap(x, (self.height() - side) // 2, picture)
        words = self.words()
        if words is not None:
            painter.setFont(self.font())
            painter.setPen(theme().colour("text" if current else "text2"))
            painter.drawText(words, int(Qt.AlignmentFlag.AlignVCenter), self.text())


class WalletButton(QAbstractButton):
    """The wallet's name at the head, with the jar; it opens the menu of all actions."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = False
        self.setFont(theme().font("strong"))
        self.setFixedHeight(theme().px(48))
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.set_wallet("Leyden")

    def set_wallet(self, name: str) -> None:
        name = fmt.foreign(name, 60)
        self.setText(name)
        self.setAccessibleName(_("Menu of the wallet {name}").format(name=name))
        self.setToolTip(_("All actions"))

    def set_narrow(self, narrow: bool) -> None:
        self.narrow = narrow
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(theme().px(NAV_NARROW if self.narrow else NAV_WIDE), theme().px(48))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        px = theme().px
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.underMouse() or self.isDown():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme().colour("line", 120))
            area = QRectF(self.rect()).adjusted(px(S2), px(S1), -px(S2), -px(S1))
            painter.drawRoundedRect(area, px(6), px(6))
        ratio = self.devicePixelRatioF()
        side = px(28)
        x = (self.width() - side) // 2 if self.narrow else px(S2 + S2)
        painter.drawPixmap(x, (self.height() - side) // 2, icons.jar(side, ratio))
        if self.narrow:
            return
        arrow = px(16)
        right = self.width() - px(S2 + S2) - arrow
        painter.drawPixmap(
            right, (self.height() - arrow) // 2, icons.pixmap("chevron-down", "text2", arrow, ratio)
        )
        painter.setFont(self.font())
        painter.setPen(theme().colour("text"))
        words = QRect(x + side + px(S2), 0, right - x - side - px(S2 + S1), self.height())
        shown = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, words.width())
        painter.drawText(words, int(Qt.AlignmentFlag.AlignVCenter), shown)


class Navigation(QWidget):
    """All pages, the last one (Settings) at the foot. Signal: `chosen(str)`, the page's key."""

    chosen = pyqtSignal(str)

    def __init__(self, places: Sequence[Place]) -> None:
        super().__init__()
        self.setProperty("ground", "sidebar")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.wallet = WalletButton()
        self._group = QButtonGroup(self)
        self.items: dict[str, NavItem] = {}
        box = vbox(S2, self.wallet, S2, spacing=2, margins=(0, 0, 0, S2))
        for number, place in enumerate(places, 1):
            item = NavItem(place, f"Ctrl+{number}")
            item.clicked.connect(lambda _checked=False, key=place.key: self.chosen.emit(key))
            self._group.addButton(item)
            self.items[place.key] = item
            if number == len(places):
                box.addStretch(1)
            box.addWidget(item)
        self.setLayout(box)
        self.set_narrow(False)

    def set_current(self, key: str) -> None:
        if key in self.items:
            self.items[key].setChecked(True)

    def set_narrow(self, narrow: bool) -> None:
        self.setFixedWidth(theme().px(NAV_NARROW if narrow else NAV_WIDE))
        self.wallet.set_narrow(narrow)
        for item in self.items.values():
            item.set_narrow(narrow)
