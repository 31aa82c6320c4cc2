"""Unlocking: the wallet's name, its password, and what is wrong when it does not open.

A wallet that a daemon has open can be taken over: the form makes room for that question, and comes back after it.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.bridge import run
from wallet.gui.pages.base import scroller
from wallet.gui.pages.take_over import TakeOverCard
from wallet.gui.theme import theme
from wallet.gui.tokens import S2, S3, S4
from wallet.gui.widgets.basic import Button, Card, JarLabel, Label, hbox, vbox
from wallet.gui.widgets.fields import Field, PasswordEdit
from wallet.gui.widgets.notices import Banner
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _
from wallet.node.api import CommandError, NodeApi, WalletHost, WalletInfo

__all__ = ["UnlockPage"]


class UnlockPage(QWidget):
    """Signals: `unlocked(NodeApi)`, `wants_new()`. Attributes: `password`, `unlock`, `note`, `taking`."""

    unlocked = pyqtSignal(object)
    wants_new = pyqtSignal()

    def __init__(self, host: WalletHost, info: WalletInfo, *, watching: bool) -> None:
        super().__init__()
        self._host = host
        self._info = info
        centre = Qt.AlignmentFlag.AlignHCenter
        self.password = PasswordEdit(_("Password"))
        self._row = Field(_("Password"), self.password)
        self._row.setVisible(info.encrypted)
        self.unlock = Button(
            _("Unlock") if info.encrypted else _("Open"), "filled", main=True, on_click=self.open_now
        )
        sentence = (
            _("Leyden goes on watching your channels, and payments come in.")
            if watching
            else _("Until it is unlocked, nothing is being watched.")
        )
        self.note = Label(sentence, "caption", "text2", wrap=True, align=centre)
        self._waiting = Label("", "caption", "text2", wrap=True, align=centre)
        self._waiting.hide()
        self._noted = watching or info.encrypted
        self.note.setVisible(self._noted)
        self._banner = Banner("", "danger")
        self.other = Button(_("Create or restore another"), "text", on_click=self.wants_new.emit)
        form = vbox(self._row, self._banner, self.unlock, spacing=S4)
        card = Card(form, padding=24)
        card.setFixedWidth(theme().px(400))
        self._form = card
        self.taking = TakeOverCard()
        self.taking.setFixedWidth(theme().px(400))
        self.taking.hide()
        self.taking.wanted.connect(self._take_over)
        self.taking.cancelled.connect(lambda: self._show_form(""))
        box = vbox(spacing=S3)
        box.addStretch(2)
        box.addWidget(JarLabel(64), 0, centre)
        box.addWidget(Label(fmt.plain(info.name, 40), "amount", align=centre), 0, centre)
        box.addSpacing(theme().px(S2))
        box.addLayout(hbox("stretch", card, self.taking, "stretch", spacing=0))
        box.addWidget(self.note, 0, centre)
        box.addWidget(self._waiting, 0, centre)
        box.addLayout(hbox("stretch", self.other, "stretch"))
        box.addStretch(3)
        inside = QWidget()
        inside.setLayout(box)
        self.setLayout(vbox(scroller(inside), spacing=0))
        for label in (self.note, self._waiting):
            label.setMinimumWidth(theme().px(320))
        self.password.returnPressed.connect(self.open_now)

    def set_first_focus(self) -> None:
        target: QWidget = self.password if self._info.encrypted else self.unlock
        target.setFocus(Qt.FocusReason.OtherFocusReason)

    def tell_of_link(self, waits: bool) -> None:
        """Whether a link waits for the wallet to be open."""
        self._waiting.setText(
            _("The link that you opened is shown once the wallet is open.") if waits else ""
        )
        self._waiting.setVisible(waits)

    def open_now(self) -> None:
        """Opens the wallet with what is in the field."""
        if not self.unlock.isEnabled():
            return
        tell_why(self.unlock, _("Opening…"))
        self.unlock.setText(_("Opening…"))
        self._banner.say("")
        opening = self._host.open(self._info, self.password.text())
        run(opening, self._opened, lambda sentence: self._failed(sentence, _code(opening)), owner=self)

    def _opened(self, api: NodeApi) -> None:
        self.password.clear()
        self.unlocked.emit(api)

    def _failed(self, sentence: str, code: str) -> None:
        if code == "daemon":
            # It is watched, and nothing but this question is to be answered now.
            for widget in (self._form, self.note, self.other):
                widget.hide()
            self.taking.show()
            self.taking.offer()
        else:
            self._show_form(sentence)

    def _show_form(self, sentence: str) -> None:
        self.taking.hide()
        self._form.show()
        self.other.show()
        self.note.setVisible(self._noted)
        tell_why(self.unlock, "")
        self.unlock.setText(_("Unlock") if self._info.encrypted else _("Open"))
        self._banner.say(sentence)
        self.password.selectAll()
        self.set_first_focus()

    # --- a daemon has it --------------------------------------------------------

    def _take_over(self) -> None:
        taking = self._host.take_over(self._info, self.password.text())
        run(taking, self._taken, lambda sentence: self._not_taken(sentence, _code(taking)), owner=self)

    def _taken(self, _nothing: None) -> None:
        # From here on nobody watches it until it is open here: said, should that fail.
        self._noted = True
        self._show_form("")
        self.open_now()

    def _not_taken(self, sentence: str, code: str) -> None:
        if code == "busy":
            self.taking.offer(sentence)
        else:
            self._show_form(sentence)


def _code(future: Future[Any]) -> str:
    """By which code a future failed."""
    error = None if future.cancelled() else future.exception()
    return error.code if isinstance(error, CommandError) else ""
