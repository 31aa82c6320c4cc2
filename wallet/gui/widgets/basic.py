"""Labels, buttons, icons, cards and the rules that lay them out."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6 import sip
from PyQt6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt
from PyQt6.QtGui import (
    QAction,
    QFontMetricsF,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QShowEvent,
    QTextLayout,
    QTextOption,
)
from PyQt6.QtWidgets import (
    QBoxLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QLayoutItem,
    QMenu,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from wallet.gui import format as fmt
from wallet.gui import icons
from wallet.gui.theme import theme
from wallet.gui.tips import plain_tip
from wallet.gui.tokens import CARD_PADDING, S2, S3
from wallet.gui.widgets.beside import Beside
from wallet.gui.widgets.placing import PlacingLayout

__all__ = [
    "WIDEST_PROSE", "AmountLabel", "Button", "Card", "Clickable", "ClickCard", "ElidedLabel", "Flow", "IconLabel",
    "JarLabel", "Label", "Pill", "Rule", "add_action", "button_row", "clear", "discard", "hbox", "keyboard_on", "menu",
    "prose", "restyle", "vbox",
]  # fmt: skip

Item = QWidget | QLayout | int | str
"""What `vbox` and `hbox` take: a widget, a layout, a space in pixels, or "stretch"."""


def _fill(box: QBoxLayout, items: tuple[Item, ...], spacing: int, margins: tuple[int, int, int, int]) -> None:
    px = theme().px
    box.setSpacing(px(spacing))
    box.setContentsMargins(*(px(m) for m in margins))
    for item in items:
        if isinstance(item, QWidget):
            box.addWidget(item)
        elif isinstance(item, QLayout):
            box.addLayout(item)
        elif isinstance(item, int):
            box.addSpacing(px(item))
        else:
            box.addStretch(1)


def vbox(*items: Item, spacing: int = S2, margins: tuple[int, int, int, int] = (0, 0, 0, 0)) -> QVBoxLayout:
    box = QVBoxLayout()
    _fill(box, items, spacing, margins)
    return box


def hbox(*items: Item, spacing: int = S2, margins: tuple[int, int, int, int] = (0, 0, 0, 0)) -> QHBoxLayout:
    box = QHBoxLayout()
    _fill(box, items, spacing, margins)
    return box


WIDEST_PROSE = 620
"""What the smallest window has room for, however large the text is."""

_limbo: QWidget | None = None


def keyboard_on(anywhere: QWidget) -> QWidget | None:
    """What the keyboard is on, in the window that `anywhere` is part of, be that in front or not."""
    window = anywhere.window()
    return None if window is None else window.focusWidget()


def discard(widget: QWidget) -> None:
    """Takes a widget out of the window at once, and deletes it when no event of its own is under way.

    It waits in a hidden parent: without one it would belong to Python, which may delete it in the middle of the
    click that led here. The keyboard lets go of it first: else Qt moves it to some other control, and the page
    scrolls there.
    """
    global _limbo
    held = keyboard_on(widget)
    if held is not None and (held is widget or widget.isAncestorOf(held)):
        held.clearFocus()
    if _limbo is None or sip.isdeleted(_limbo):
        _limbo = QWidget()
    widget.hide()
    widget.setParent(_limbo)
    widget.deleteLater()


def clear(layout: QLayout) -> None:
    """Takes everything out of a layout and deletes its widgets."""
    while layout.count():
        item = layout.takeAt(0)
        if item is None:
            continue
        widget, inner = item.widget(), item.layout()
        if widget is not None:
            discard(widget)
        elif inner is not None:
            clear(inner)


def restyle(widget: QWidget) -> None:
    """Lets the sheet see that a property changed."""
    style = widget.style()
    if style is not None:
        style.unpolish(widget)
        style.polish(widget)
    widget.update()


class Label(QLabel):
    """Plain text in a type role and a tone; never rich text, whatever it is given."""

    def __init__(
        self,
        text: str = "",
        role: str = "body",
        tone: str = "text",
        *,
        wrap: bool = False,
        selectable: bool = False,
        align: Qt.AlignmentFlag | None = None,
    ) -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.role = role
        self.setFont(theme().font(role, prose=wrap))
        self.setProperty("tone", tone)
        self._flows = wrap and not selectable
        self._heights: dict[int, int] = {}
        self._heights_of = ("", "")
        self.setWordWrap(wrap)
        if wrap:
            policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
            policy.setHeightForWidth(True)
            self.setSizePolicy(policy)
        if selectable:
            self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        if align is not None:
            self.setAlignment(align)
        self.setMinimumHeight(theme().line_height(role))
        self.setText(text)

    def setText(self, text: str | None) -> None:
        """What the node says of amounts is said in the person's unit."""
        self._given = text or ""
        super().setText(fmt.retold(self._given))

    def retell(self) -> None:
        """Once more, after another unit was chosen, or amounts were hidden."""
        told = fmt.retold(self._given)
        if told != self.text():
            super().setText(told)

    def set_tone(self, tone: str) -> None:
        if self.property("tone") != tone:
            self.setProperty("tone", tone)
            restyle(self)

    # Qt sets lines as tight as the font says; the line height is the token's here.

    def _lay_out(self, width: int) -> tuple[QTextLayout, int]:
        laid = QTextLayout(self.text(), self.font())
        option = QTextOption(self.alignment() & Qt.AlignmentFlag.AlignHorizontal_Mask)
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        laid.setTextOption(option)
        step = theme().line_height(self.role)
        y = 0
        laid.beginLayout()
        while (line := laid.createLine()).isValid():
            line.setLineWidth(max(1, width))
            line.setPosition(QPointF(0, y + (step - line.height()) / 2))
            y += step
        laid.endLayout()
        return laid, max(y, step)

    def _height(self, width: int) -> int:
        """Layouts ask for the same few widths dozens of times."""
        now = (self.text(), self.font().key())
        if now != self._heights_of:
            self._heights_of = now
            self._heights.clear()
        if width not in self._heights:
            self._heights[width] = self._lay_out(width)[1]
        return self._heights[width]

    def hasHeightForWidth(self) -> bool:
        return self._flows or super().hasHeightForWidth()

    def heightForWidth(self, width: int) -> int:
        return self._height(width) if self._flows else super().heightForWidth(width)

    def sizeHint(self) -> QSize:
        if not self._flows:
            return super().sizeHint()
        natural = int(QFontMetricsF(self.font()).horizontalAdvance(self.text())) + 2
        width = min(natural, theme().px(360))
        return QSize(width, self._height(width))

    def minimumSizeHint(self) -> QSize:
        if not self._flows:
            return super().minimumSizeHint()
        return QSize(theme().px(64), theme().line_height(self.role))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        if not self._flows:
            super().paintEvent(event)
            return
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        laid, height = self._lay_out(self.width())
        top = max(0, (self.height() - height) // 2) if self.alignment() & Qt.AlignmentFlag.AlignVCenter else 0
        laid.draw(painter, QPointF(0, top))


def button_row(*buttons: QWidget, reason: QWidget) -> QLayout:
    """Buttons at the left, and beside them why one of them cannot be pressed; below them where it is narrow."""
    return Beside(Flow(*buttons), reason, grows=1, least=150, spacing=S3)


def prose(
    text: str,
    width: int,
    role: str = "body",
    tone: str = "text",
    *,
    align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
) -> Label:
    """A sentence of a fixed width and the height it needs: for places where a layout cannot ask for it."""
    label = Label(text, role, tone, wrap=True, align=align)
    natural = int(QFontMetricsF(label.font()).horizontalAdvance(text)) + 4
    wide = min(natural, theme().px(width), WIDEST_PROSE)
    label.setFixedSize(wide, label.heightForWidth(wide))
    return label


class ElidedLabel(Label):
    """One line that is cut short by its width, at its end or in its middle; the whole of it is the
    tooltip."""

    def __init__(
        self, text: str = "", role: str = "body", tone: str = "text", *, middle: bool = False
    ) -> None:
        self._mode = Qt.TextElideMode.ElideMiddle if middle else Qt.TextElideMode.ElideRight
        super().__init__(text, role, tone)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def minimumSizeHint(self) -> QSize:
        return QSize(theme().px(48), super().minimumSizeHint().height())

    def sizeHint(self) -> QSize:
        hint = super().sizeHint()
        return QSize(hint.width() + 2, hint.height())

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setFont(self.font())
        painter.setPen(self.palette().color(self.foregroundRole()))
        shown = self.fontMetrics().elidedText(self.text(), self._mode, self.width())
        flags = int(self.alignment()) | int(Qt.TextFlag.TextSingleLine)
        painter.drawText(self.contentsRect(), flags, shown)
        self.setToolTip(plain_tip(self.text()) if shown != self.text() else "")


class AmountLabel(QLabel):
    """An amount, the largest thing on its page: the number in the role's weight, its unit smaller and
    lighter.

    The text is the whole ("1 234 sat"), for screen readers; only the painting differs. What it is worth in the
    person's money follows, where that was chosen.
    """

    def __init__(self, role: str = "amount", *, align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft) -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self._role = role
        self._number = ""
        self._unit = ""
        self._fiat = ""
        self._tone = "text"
        self._given: tuple[int, bool, int | None] = 0, False, None
        self.setAlignment(align | Qt.AlignmentFlag.AlignVCenter)
        self.setFont(theme().font(role))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.set_msat(0)

    def set_msat(
        self, amount_msat: int, *, sign: bool = False, tone: str = "text", moment_at: int | None = None
    ) -> None:
        """`moment_at`: what was paid then is worth what it was on that day."""
        self._given = amount_msat, sign, moment_at
        self._number = fmt.signed(amount_msat) if sign else fmt.number(amount_msat)
        self._fiat = (
            fmt.in_fiat(amount_msat) if moment_at is None else fmt.in_fiat_then(amount_msat, moment_at)
        )
        self._unit = f"{fmt.unit()}  {self._fiat}" if self._fiat else fmt.unit()
        self._tone = tone
        self.setText(f"{self._number}\u00a0{fmt.unit()} {self._fiat}".rstrip())
        self.updateGeometry()
        self.update()

    def set_sat(self, amount_sat: int, *, sign: bool = False, tone: str = "text") -> None:
        self.set_msat(amount_sat * 1000, sign=sign, tone=tone)

    def retell(self) -> None:
        """Once more, after another unit was chosen, or amounts were hidden."""
        amount_msat, sign, moment_at = self._given
        self.set_msat(amount_msat, sign=sign, tone=self._tone, moment_at=moment_at)

    def _unit_role(self) -> str:
        return "title" if self._role == "display" else "body"

    def _metrics(self) -> tuple[float, float, float]:
        number = QFontMetricsF(theme().font(self._role)).horizontalAdvance(self._number)
        unit_font = theme().font(self._unit_role())
        unit = QFontMetricsF(unit_font).horizontalAdvance(self._unit)
        return number, theme().px(6 if self._role != "display" else S2), unit

    def sizeHint(self) -> QSize:
        return QSize(int(sum(self._metrics())) + 2, theme().line_height(self._role))

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.TextAntialiasing)
        number, gap, unit = self._metrics()
        font = theme().font(self._role)
        metrics = QFontMetricsF(font)
        x = 0.0
        if self.alignment() & Qt.AlignmentFlag.AlignHCenter:
            x = (self.width() - number - gap - unit) / 2
        elif self.alignment() & Qt.AlignmentFlag.AlignRight:
            x = self.width() - number - gap - unit
        baseline = (self.height() + metrics.ascent() - metrics.descent()) / 2
        painter.setFont(font)
        painter.setPen(theme().colour(self._tone))
        painter.drawText(QPointF(x, baseline), self._number)
        unit_font = theme().font(self._unit_role())
        painter.setFont(unit_font)
        painter.setPen(theme().colour("text2"))
        painter.drawText(QPointF(x + number + gap, baseline), self._unit)


class IconLabel(QWidget):
    """An icon that is looked at, not pressed; whatever it says stands in words beside it."""

    def __init__(self, name: str, token: str = "text2", size: int = 20) -> None:
        super().__init__()
        self._name, self._token = name, token
        self._side = size
        side = theme().px(size)
        self.setFixedSize(side, side)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def set_icon(self, name: str, token: str) -> None:
        self._name, self._token = name, token
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        picture = icons.pixmap(self._name, self._token, theme().px(self._side), self.devicePixelRatioF())
        QPainter(self).drawPixmap(0, 0, picture)


class JarLabel(QWidget):
    """The program's own mark."""

    def __init__(self, size: int) -> None:
        super().__init__()
        side = theme().px(size)
        self.setFixedSize(side, side)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        QPainter(self).drawPixmap(0, 0, icons.jar(self.width(), self.devicePixelRatioF()))


_ICON_TOKENS = {
    "filled": "on_accent",
    "danger": "on_danger",
    "outlined": "text",
    "text": "accent",
    "quiet": "text2",
    "fold": "text2",
    "id": "text2",
    "danger-text": "danger",
    "on-play": "on_play",
    "status": "text2",
    "segment": "text2",
    "chip": "accent",
}


def _without_keys(text: str) -> str:
    """For Qt, which makes a key of the letter behind an ampersand."""
    return text.replace("&", "&&")


class Button(QPushButton):
    """A button whose word names the act. `kind` is one of filled, outlined, text, quiet, danger, danger-text.

    An icon alone needs `name`, which is also its tooltip. Who hears the page learns besides where a button stands: that
    is its description, where it has no other. Its text is shown as it is: names that others chose have
    ampersands, which Qt would take out, and make a key of the letter behind.
    """

    def __init__(
        self,
        text: str = "",
        kind: str = "outlined",
        icon: str | None = None,
        *,
        main: bool = False,
        small: bool = False,
        tall: bool = False,
        name: str = "",
        on_click: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(_without_keys(text))
        self._icon_name = icon
        self._place = ""
        self.setProperty("kind", kind)
        if main or small or tall:
            self.setProperty("metric", "main" if main else "small" if small else "amount")
        self.setFont(theme().font("caption" if kind in {"status", "chip"} else "button", prose=True))
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAutoDefault(False)
        if name:
            self.setAccessibleName(name)
            if not text:
                self.setToolTip(plain_tip(name))
        if on_click is not None:
            self.clicked.connect(lambda _checked=False: on_click())
        self._render_icon()

    def setText(self, text: str | None) -> None:
        super().setText(_without_keys(text or ""))

    def text(self) -> str:
        return super().text().replace("&&", "&")

    @property
    def kind(self) -> str:
        return str(self.property("kind"))

    def set_kind(self, kind: str) -> None:
        if kind != self.kind:
            self.setProperty("kind", kind)
            restyle(self)
            self._render_icon()

    def set_icon(self, name: str | None) -> None:
        if name != self._icon_name:
            self._icon_name = name
            self._render_icon()

    def _render_icon(self) -> None:
        if self._icon_name is None:
            if not self.icon().isNull():
                self.setIcon(icons.icon("check").__class__())
            return
        token = _ICON_TOKENS.get(self.kind, "text")
        if self.kind == "status" and self.property("trouble") == "true":
            token = "warning"
        size = 16 if self.kind in {"status", "chip", "on-play", "segment"} else 20
        self.setIconSize(icons.size(size))
        self.setIcon(icons.icon(self._icon_name, token, on="text" if self.kind == "segment" else None))

    def changeEvent(self, event: QEvent | None) -> None:
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.StyleChange and hasattr(self, "_icon_name"):
            self._render_icon()

    def showEvent(self, event: QShowEvent | None) -> None:
        super().showEvent(event)
        before, self._place = self._place, _place_of(self)
        if self.accessibleDescription() == before and not self.toolTip():
            self.setAccessibleDescription(self._place)

    def setAccessibleDescription(self, description: str | None) -> None:
        """Why it is disabled, say; nothing brings its place back."""
        super().setAccessibleDescription(description or self._place)


def _place_of(widget: QWidget) -> str:
    """The group, the page, the dialog or the window that a widget is part of, in words."""
    step = widget.parentWidget()
    while step is not None:
        title = getattr(step, "title", None)
        words = step.accessibleDescription() or step.accessibleName()
        words = words or (title.text() if isinstance(title, QLabel) else "") or step.windowTitle()
        if words:
            return words
        step = step.parentWidget()
    return ""


class Rule(QFrame):
    """A hairline."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("rule", "true")
        self.setFixedHeight(1)


class Card(QFrame):
    """A surface with rounded corners; never one inside another."""

    def __init__(
        self, layout: QLayout | None = None, *, padding: int = CARD_PADDING, look: str = "true"
    ) -> None:
        super().__init__()
        self.setProperty("card", look)
        if layout is not None:
            side = theme().px(padding)
            layout.setContentsMargins(side, side, side, side)
            self.setLayout(layout)


class ClickCard(QPushButton):
    """A card that is one large button: an icon, a title, a sentence."""

    def __init__(self, icon: str, title: str, sentence: str, on_click: Callable[[], object]) -> None:
        super().__init__()
        self.setAccessibleName(title)
        self.setAccessibleDescription(sentence)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAutoDefault(False)
        self.setProperty("kind", "card")
        self._hover = False
        side = CARD_PADDING
        box = vbox(
            IconLabel(icon, "accent", 24),
            S2,
            Label(title, "section", wrap=True),
            Label(sentence, "body", "text2", wrap=True),
            "stretch",
            spacing=4,
            margins=(side, side, side, side),
        )
        for child in range(box.count()):
            item = box.itemAt(child)
            widget = None if item is None else item.widget()
            if widget is not None:
                widget.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setLayout(box)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.clicked.connect(lambda _checked=False: on_click())

    def sizeHint(self) -> QSize:
        layout = self.layout()
        return super().sizeHint() if layout is None else layout.sizeHint()

    def minimumSizeHint(self) -> QSize:
        layout = self.layout()
        return super().minimumSizeHint() if layout is None else layout.minimumSize()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        over = self.underMouse() and self.isEnabled()
        painter.setPen(QPen(theme().colour("accent" if over else "line"), 1))
        painter.setBrush(theme().colour("raised" if over else "surface"))
        radius = theme().px(10)
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), radius, radius)


class Pill(QFrame):
    """A state in a word with its icon, on a soft ground."""

    def __init__(self, text: str = "", tone: str = "neutral", icon: str | None = None) -> None:
        super().__init__()
        self._icon = IconLabel(icon or "info", "text2", 16)
        self._label = Label(text, "caption", "text2")
        self.setLayout(hbox(self._icon, self._label, spacing=4, margins=(S2, 4, S3 - 2, 4)))
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(theme().px(24))
        self.set(text, tone, icon)

    def text(self) -> str:
        return self._label.text()

    def set(self, text: str, tone: str, icon: str | None) -> None:
        """`tone`: neutral, success, warning, danger, accent, play."""
        token = {"neutral": "text2", "play": "on_play"}.get(tone, tone)
        self._icon.setVisible(icon is not None)
        if icon is not None:
            self._icon.set_icon(icon, token)
        self._label.setText(text)
        self._label.set_tone({"neutral": "text2", "play": "on_play"}.get(tone, tone))
        if self.property("pill") != tone:
            self.setProperty("pill", tone)
            restyle(self)


class Clickable(QFrame):
    """A frame that calls back when pressed with the mouse; its keyboard twin is a button inside it."""

    def __init__(self, on_click: Callable[[], object]) -> None:
        super().__init__()
        self._on_click = on_click
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        super().mouseReleaseEvent(event)
        if (
            event is not None
            and event.button() == Qt.MouseButton.LeftButton
            and self.rect().contains(event.position().toPoint())
        ):
            self._on_click()


def menu(parent: QWidget) -> QMenu:
    """A menu in our fonts."""
    made = QMenu(parent)
    made.setFont(theme().font("body"))
    made.setToolTipsVisible(True)
    return made


def add_action(
    target: QMenu, text: str, on_click: Callable[[], object], icon: str | None = None, shortcut: str = ""
) -> QAction:
    """Adds a line to a menu. A shortcut is only shown: the window owns the real ones."""
    text = _without_keys(text)
    action = QAction(text, target)
    if icon is not None:
        action.setIcon(icons.icon(icon, "text2"))
    if shortcut:
        action.setText(f"{text}\t{shortcut}")
    action.triggered.connect(lambda _checked=False: on_click())
    target.addAction(action)
    return action


class Flow(PlacingLayout):
    """Items side by side, going on in the next line where the width ends; each line at the left, or `centred`."""

    def __init__(
        self, *items: QWidget, spacing: int = S2, line_spacing: int = S2, centred: bool = False
    ) -> None:
        super().__init__(spacing=spacing, line_spacing=line_spacing)
        self._centred = centred
        for item in items:
            self.addWidget(item)

    def sizeHint(self) -> QSize:
        hints = [item.sizeHint() for item in self._items if not item.isEmpty()]
        width = sum(hint.width() for hint in hints) + self._gap * max(0, len(hints) - 1)
        return self._with_margins(width, max((hint.height() for hint in hints), default=0))

    def minimumSize(self) -> QSize:
        hints = [item.minimumSize() for item in self._items if not item.isEmpty()]
        return self._with_margins(
            max((hint.width() for hint in hints), default=0),
            max((hint.height() for hint in hints), default=0),
        )

    def _with_margins(self, width: int, height: int) -> QSize:
        around = self.contentsMargins()
        return QSize(width + around.left() + around.right(), height + around.top() + around.bottom())

    def _place(self, rect: QRect, *, move: bool) -> int:
        around = self.contentsMargins()
        rect = rect.marginsRemoved(around)
        x, y, line = rect.x(), rect.y(), 0
        placed: list[tuple[QLayoutItem, QRect]] = []
        for item in self._items:
            if item.isEmpty():
                continue
            hint = item.sizeHint()
            if hint.width() > rect.width() > 0:
                # Alone in its line, and as high as that makes it.
                width = rect.width()
                hint = QSize(width, item.heightForWidth(width) if item.hasHeightForWidth() else hint.height())
            if x > rect.x() and x + hint.width() > rect.x() + rect.width():
                x, y, line = rect.x(), y + line + self._line_gap, 0
            placed.append((item, QRect(QPoint(x, y), hint)))
            x += hint.width() + self._gap
            line = max(line, hint.height())
        ends = {place.y(): place.x() + place.width() for _item, place in placed}
        for item, place in placed if move else ():
            spare = rect.x() + rect.width() - ends[place.y()]
            item.setGeometry(place.translated(max(0, spare) // 2, 0) if self._centred else place)
        return y + line - rect.y() + around.top() + around.bottom()
