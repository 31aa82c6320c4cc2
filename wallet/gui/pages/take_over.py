"""A daemon of this computer has the wallet open: what it would mean to take it over, and the button that does."""

from __future__ import annotations

from PyQt6.QtCore import Qt, pyqtSignal

from wallet.gui.tokens import S3
from wallet.gui.widgets.basic import Button, Card, Label, vbox
from wallet.gui.widgets.notices import Banner
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _

__all__ = ["TakeOverCard"]


class TakeOverCard(Card):
    """Signals: `wanted()`, `cancelled()`. Attributes: `take`, `cancel`, `banner`."""

    wanted = pyqtSignal()
    cancelled = pyqtSignal()

    def __init__(self) -> None:
        self.take = Button(_("Take over"), "filled", main=True, on_click=self._press)
        self.cancel = Button(_("Cancel"), "text", on_click=lambda: self.cancelled.emit())
        self.banner = Banner("", "danger")
        self._state = Label("", "caption", "text2", wrap=True)
        self._state.hide()
        super().__init__(
            vbox(
                Label(_("This wallet is open in a daemon"), "section", wrap=True),
                Label(
                    _(
                        "A Leyden without a window is running it on this computer: it watches your channels and takes "
                        "commands."
                    ),
                    wrap=True,
                ),
                Label(
                    _(
                        "If you take over, the daemon saves everything and closes this wallet; it goes on running "
                        "without it. Payments under way go on in this window."
                    ),
                    wrap=True,
                ),
                self.banner,
                self._state,
                self.take,
                self.cancel,
                spacing=S3,
            ),
            padding=24,
        )

    def _press(self) -> None:
        self.banner.say("")
        sentence = _("The daemon is saving and closing the wallet. This takes seconds, a minute at most.")
        tell_why(self.take, sentence, self._state)
        tell_why(self.cancel, sentence)
        self._state.show()
        self.wanted.emit()

    def offer(self, sentence: str = "") -> None:
        """The choice, after a try that came to nothing with what came of it."""
        self.banner.say(sentence)
        self._state.hide()
        tell_why(self.take, "")
        tell_why(self.cancel, "")
        self.take.setFocus(Qt.FocusReason.OtherFocusReason)
