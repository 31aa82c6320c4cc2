"""The banner above every page of a restored wallet."""

from __future__ import annotations

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QWidget

from wallet.gui.context import Context
from wallet.gui.describe import restored_sentence
from wallet.gui.theme import theme
from wallet.gui.tokens import S4, S6
from wallet.gui.widgets.basic import discard, vbox
from wallet.gui.widgets.notices import Banner
from wallet.i18n import _
from wallet.node.api import NodeStatus

__all__ = ["RestoredBanner"]


class RestoredBanner(QWidget):
    """Above every page of a restored wallet, until nothing waits any more. Attribute: `banner`, None while hidden."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self._box = vbox(spacing=0, margins=(S6, S4, S6, 0))
        self.setLayout(self._box)
        self.banner: Banner | None = None
        self._shown: tuple[str, bool] | None = None
        self._page = ""
        self.setProperty("ground", "canvas")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.show_status(context.snapshot.status)

    def set_narrow(self, narrow: bool) -> None:
        """In line with the page below it."""
        side = theme().px(S4 if narrow else S6)
        self._box.setContentsMargins(side, theme().px(S4), side, 0)

    def show_status(self, status: NodeStatus) -> None:
        recovery = status.recovery
        sentence = restored_sentence(recovery)
        if (sentence, recovery.asks) == self._shown:
            return
        self._shown = sentence, recovery.asks
        if self.banner is not None:
            self._box.removeWidget(self.banner)
            discard(self.banner)
            self.banner = None
        self.setVisible(bool(sentence))
        if sentence:
            if recovery.asks:
                self.banner = Banner(sentence, "warning", _("Answer"), self._ask)
            else:
                self.banner = Banner(sentence, "warning", _("Show"), lambda: self._context.go("recovery"))
            self._box.addWidget(self.banner)
        self.set_page(self._page)

    def set_page(self, key: str) -> None:
        """Where one is already, nothing leads."""
        self._page = key
        if self.banner is not None and self.banner.button is not None:
            asks = self._shown is not None and self._shown[1]
            self.banner.button.setVisible(asks or key != "recovery")

    def _ask(self) -> None:
        from wallet.gui.pages.recovery import OldInstallationDialog

        OldInstallationDialog(self.window() or self, self._context).open()
