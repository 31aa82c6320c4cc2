"""The frame of every dialog: a title, what it asks, and its buttons at the right. Opened, never executed."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import QEvent, QObject, Qt, QTimer
from PyQt6.QtGui import QResizeEvent, QShowEvent
from PyQt6.QtWidgets import QDialog, QScrollArea, QVBoxLayout, QWidget

from wallet.gui import format as fmt
from wallet.gui.theme import theme
from wallet.gui.tokens import S2, S3, S4, S6
from wallet.gui.widgets.basic import Button, Label, Pill, hbox, vbox
from wallet.gui.widgets.fields import TextArea
from wallet.gui.widgets.focus import focus_watcher, step_on
from wallet.i18n import _

__all__ = ["Dialog", "confirm"]


def _shrink(area: TextArea, missing: int) -> int:
    """Lowers it by what is missing as it stands now, or gives it back what there is room for; the change in pixels."""
    height = min(area.whole_height, max(area.least_height, area.maximumHeight() - missing))
    change = height - area.maximumHeight()
    if change:
        area.setFixedHeight(height)
    return change


class Dialog(QDialog):
    """A window-modal dialog at most 560 px wide. Fill `body`, add buttons with `add_button`, then `open()`.

    On any network but mainnet it carries the network's word beside its title.

    Attributes: `gives_way`, the text that is lower where the window is too low for all.
    """

    def __init__(self, parent: QWidget, title: str, *, network: str = "mainnet", width: int = 560) -> None:
        super().__init__(parent)
        self.setProperty("sheet", "true")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(fmt.window_title(title))
        self.setModal(True)
        head = hbox(spacing=S3)
        head.addWidget(Label(title, "title", wrap=True), 1)
        word = fmt.network_word(network)
        if word:
            head.addWidget(Pill(word, "play", "sandbox"))
        self.body: QVBoxLayout = vbox(spacing=S4)
        inside = QWidget()
        inside.setProperty("content", "true")
        inside.setLayout(self.body)
        self.body.setContentsMargins(theme().px(S6), 0, theme().px(S6), theme().px(S2))
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._scroll.setWidget(inside)
        self._inside = inside
        self.reason = Label("", "caption", "text2", wrap=True)
        self._buttons = hbox(spacing=S2)
        foot = hbox(spacing=S3, margins=(S6, 0, S6, S6))
        foot.addWidget(self.reason, 1)
        foot.addLayout(self._buttons)
        head_row = hbox(margins=(S6, S6, S6, 0))
        head_row.addLayout(head, 1)
        outer = vbox(head_row, spacing=S4)
        outer.addWidget(self._scroll, 1)
        outer.addLayout(foot)
        self.setLayout(outer)
        self.gives_way: TextArea | None = None
        self._wide = width
        self._whole_height = 0
        self._fitter = QTimer(self)
        self._fitter.setSingleShot(True)
        self._fitter.setInterval(0)
        self._fitter.timeout.connect(self._fit_now)
        inside.installEventFilter(self)

    def add_button(
        self, text: str, kind: str, on_click: Callable[[], object], icon: str | None = None
    ) -> Button:
        button = Button(text, kind, icon, on_click=on_click)
        self._buttons.addWidget(button)
        if kind in {"filled", "danger"}:
            button.setDefault(True)
        return button

    def add_cancel(self, text: str = "") -> Button:
        return self.add_button(text or _("Cancel"), "outlined", self.reject)

    def to_top(self) -> None:
        """Another step begins at its first line."""
        bar = self._scroll.verticalScrollBar()
        if bar is not None:
            bar.setValue(0)

    def fit(self) -> None:
        """As wide as it may be, as high as what it holds, within the window it stands on.

        Once more whenever the content asks for another size: what was just added counts only once it is shown.
        """
        self._fit_now()
        self._fitter.start()

    def _fit_now(self) -> None:
        px = theme().px
        parent = self.parentWidget()
        host = None if parent is None else parent.window()
        width = px(self._wide) if host is None else min(px(self._wide), host.width() - px(S6))
        self.body.activate()
        inner = self._inside.heightForWidth(width)
        if inner <= 0:
            inner = self._inside.sizeHint().height()
        layout = self.layout()
        rest = 0
        if layout is not None:
            # A title of two lines makes the frame higher than its hint says.
            whole = (
                layout.totalHeightForWidth(width)
                if layout.hasHeightForWidth()
                else layout.sizeHint().height()
            )
            rest = whole - self._scroll.sizeHint().height()
        height = inner + rest + 2
        limit = px(800) if host is None else host.height() - px(S6)
        if self.gives_way is not None:
            height += _shrink(self.gives_way, height - limit)
        self._whole_height = height
        self.resize(width, min(height, limit))
        self._show_bar()

    def _show_bar(self) -> None:
        """A bar takes width, so that text takes more lines, so that a bar is needed: only what has no room gets one."""
        policy = Qt.ScrollBarPolicy
        scrolls = self.height() < self._whole_height
        self._scroll.setVerticalScrollBarPolicy(
            policy.ScrollBarAsNeeded if scrolls else policy.ScrollBarAlwaysOff
        )

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._show_bar()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self._fitter.start()
        return False

    def focusNextPrevChild(self, next: bool) -> bool:
        return step_on(self, forward=next) or super().focusNextPrevChild(next)

    def showEvent(self, event: QShowEvent | None) -> None:
        self.fit()
        super().showEvent(event)
        focus_watcher().watch(self)


def confirm(
    parent: QWidget,
    *,
    title: str,
    sentence: str,
    action: str,
    on_yes: Callable[[], object],
    network: str = "mainnet",
    danger: bool = False,
) -> Dialog:
    """Asks before something that cannot be taken back; the button names the act."""
    dialog = Dialog(parent, title, network=network, width=460)
    dialog.body.addWidget(Label(sentence, "body", "text", wrap=True))
    dialog.add_cancel()

    def go() -> None:
        dialog.accept()
        on_yes()

    dialog.add_button(action, "danger" if danger else "filled", go)
    dialog.open()
    return dialog
