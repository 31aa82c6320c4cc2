"""The pages, imported while nobody waits for them.

The window is shown with what its first page needs. The others are imported one at a time once it stands there, so that
the first visit to a page is no longer than the next one. In the window's thread: a module takes some milliseconds, and
what a person does comes in between.
"""

from __future__ import annotations

from importlib import import_module

from PyQt6.QtCore import QObject, QTimer

__all__ = ["MODULES", "Ahead"]

PAUSE_MS = 10

MODULES = (
    "pages.overview", "widgets.chart", "widgets.stepper", "typed_amount", "pages.pay_cards", "pages.link_cards",
    "pages.send", "pages.receive", "models.activity", "pages.activity", "pages.item_dialog", "pages.channels",
    "pages.channel", "pages.open_channel", "pages.close_channel", "network.picture", "network.canvas",
    "network.panels", "pages.network", "pages.settings_servers", "pages.settings_backup", "pages.settings",
    "pages.recovery", "pages.receive_more", "pages.buy_channel", "pages.contacts", "pages.console", "pages.about",
    "pages.logs", "pages.channel_request", "pages.wizard", "pages.unlock", "pages.wallet_choice", "shortcuts",
    "closing", "scan.dialog",
)  # fmt: skip
"""What others need stands before them, so that no step is long."""


class Ahead(QObject):
    """Imports a module at each turn of its timer. Attribute: `left`, those that are still to come."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.left = list(MODULES)
        self._timer = QTimer(self)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self._next)

    def begin(self) -> None:
        self._timer.start()

    def _next(self) -> None:
        if not self.left:
            self._timer.stop()
            return
        import_module(f"wallet.gui.{self.left.pop(0)}")
