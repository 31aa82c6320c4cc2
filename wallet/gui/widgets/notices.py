"""What the window says without being asked: toasts for what was done, banners for trouble, empty pages."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import QPoint, QRect, Qt, QTimer
from PyQt6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QFrame,
    QGraphicsDropShadowEffect,
    QLineEdit,
    QScrollArea,
    QWidget,
)

from wallet.gui import format as fmt
from wallet.gui.theme import theme
from wallet.gui.tokens import S2, S3, S4, S6, TOAST_SECONDS
from wallet.gui.widgets.basic import Button, IconLabel, Label, clear, discard, hbox, prose, restyle, vbox

__all__ = ["Banner", "EmptyState", "Toast", "toast"]


FOLLOWS_EVERY_MS = 100


class Toast(QFrame):
    """A line for five seconds: what was copied or saved. At the bottom right, or the next place to it that covers
    nothing one may want to press."""

    def __init__(self, host: QWidget, text: str, icon: str = "check") -> None:
        super().__init__(host)
        self.setProperty("toast", "true")
        self.setAccessibleName(fmt.retold(text))
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._taken: list[QRect] = []
        self.setLayout(
            hbox(
                IconLabel(icon, "canvas", 20),
                Label(text, "body", "canvas"),
                spacing=S3,
                margins=(S4, S3, S4, S3),
            )
        )
        shadow = QGraphicsDropShadowEffect(self)
        shadow.setBlurRadius(theme().px(24))
        shadow.setOffset(0, theme().px(4))
        shadow.setColor(theme().colour("text", 60))
        self.setGraphicsEffect(shadow)
        self.adjustSize()
        timer = QTimer(self)  # dies with the toast
        timer.setSingleShot(True)
        timer.timeout.connect(self.deleteLater)
        timer.start(TOAST_SECONDS * 1000)
        self.place()
        self.show()
        self.raise_()
        # What was just shown is laid out, and scrolls, after this.
        follower = QTimer(self)
        follower.timeout.connect(self._make_room)
        follower.start(FOLLOWS_EVERY_MS)

    def place(self) -> None:
        host = self.parentWidget()
        if host is None:
            return
        taken = self._taken = _taken_places(host)
        margin, foot, step = theme().px(S6), theme().px(40), theme().px(S2)
        right, bottom = host.width() - self.width() - margin, host.height() - self.height() - foot
        columns = (right, right // 2, margin)
        places = [QRect(QPoint(x, y), self.size()) for y in range(bottom, margin, -step) for x in columns]

        def covers(place: QRect) -> int:
            covered = [place.intersected(other) for other in taken]
            return sum(part.width() * part.height() for part in covered if not part.isEmpty())

        # Where all is full, the least is covered; presses go through to it.
        found = next((place for place in places if not covers(place)), None)
        found = found or min(places, key=covers, default=QRect(QPoint(right, bottom), self.size()))
        self.move(found.topLeft())

    def _make_room(self) -> None:
        host = self.parentWidget()
        if host is not None and _taken_places(host) != self._taken:
            self.place()


def _taken_places(host: QWidget) -> list[QRect]:
    """Where a window has what a person can act on, as far as it is seen."""
    found = []
    for control in host.findChildren(QWidget):
        pressed = isinstance(control, QAbstractButton | QLineEdit | QAbstractItemView)
        if not control.isVisible() or not (pressed or control.focusPolicy() & Qt.FocusPolicy.TabFocus):
            continue
        seen = control.visibleRegion().boundingRect()
        if not seen.isEmpty() and control.window() is host:
            found.append(seen.translated(control.mapTo(host, QPoint(0, 0))))
    return found


def toast(anywhere: QWidget, text: str, icon: str = "check") -> None:
    """Shows a toast in the window that `anywhere` is part of, in place of the one before."""
    host = anywhere.window()
    if host is None:
        return
    for old in host.findChildren(Toast, options=Qt.FindChildOption.FindDirectChildrenOnly):
        discard(old)
    Toast(host, text, icon)


_BANNERS = {
    "warning": ("warning", "warning"),
    "danger": ("warning", "danger"),
    "info": ("info", "accent"),
    "success": ("check-circle", "success"),
}


class Banner(QFrame):
    """A sentence that stays until its cause is gone, with what can be done about it."""

    def __init__(
        self,
        text: str = "",
        tone: str = "warning",
        action: str = "",
        on_action: Callable[[], object] | None = None,
    ) -> None:
        super().__init__()
        icon, token = _BANNERS[tone]
        self._icon = IconLabel(icon, token, 20)
        self._label = Label(text, "body", "text", wrap=True)
        self._box = hbox(spacing=S3, margins=(S4, S3, S3, S3))
        self._box.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        self._box.addWidget(self._label, 1)
        self.button: Button | None = None
        if action and on_action is not None:
            self.button = Button(action, "outlined", small=True, on_click=on_action)
            self._box.addWidget(self.button, 0, Qt.AlignmentFlag.AlignVCenter)
        self.setLayout(self._box)
        self.setProperty("banner", tone)
        if not text:
            self.hide()

    def text(self) -> str:
        return self._label.text()

    def say(self, text: str, tone: str | None = None) -> None:
        """Shows a sentence; hides the banner when there is none."""
        if tone is not None and tone != self.property("banner"):
            icon, token = _BANNERS[tone]
            self._icon.set_icon(icon, token)
            self.setProperty("banner", tone)
            restyle(self)
        self._label.setText(text)
        self.setVisible(bool(text))


class EmptyState(QWidget):
    """A page with nothing on it yet: an icon, one sentence on what it is for, one button."""

    def __init__(
        self, icon: str, sentence: str, action: str = "", on_action: Callable[[], object] | None = None
    ) -> None:
        super().__init__()
        box = vbox("stretch", spacing=S4)
        centre = Qt.AlignmentFlag.AlignHCenter
        box.addWidget(IconLabel(icon, "accent", 48), 0, centre)
        box.addWidget(prose(sentence, 420, "lead", "text2", align=centre), 0, centre)
        self.button: Button | None = None
        if action and on_action is not None:
            self.button = Button(action, "filled", main=True, on_click=on_action)
            box.addSpacing(theme().px(S2))
            box.addWidget(self.button, 0, centre)
        box.addStretch(1)
        inside = QWidget()
        inside.setProperty("content", "true")
        inside.setLayout(box)
        # In a low window it scrolls.
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidget(inside)
        self.setLayout(vbox(area, spacing=0))


class Facts(QWidget):
    """Pairs of label and value, one a line: what a card or a dialog tells."""

    def __init__(self, *, label_width: int = 132) -> None:
        super().__init__()
        self._box = vbox(spacing=S2)
        self._label_width = label_width
        self.setLayout(self._box)

    def show_facts(self, facts: list[tuple[str, QWidget | str]]) -> None:
        clear(self._box)
        for name, value in facts:
            label = Label(name, "body", "text2", wrap=True)
            label.setFixedWidth(theme().px(self._label_width))
            shown = Label(value, "body", wrap=True, selectable=True) if isinstance(value, str) else value
            row = hbox(spacing=S4)
            row.addWidget(label, 0, Qt.AlignmentFlag.AlignTop)
            if isinstance(shown, Label):
                row.addWidget(shown, 1)
            else:
                row.addWidget(shown)
                row.addStretch(1)
            self._box.addLayout(row)
