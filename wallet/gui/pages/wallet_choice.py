"""Which wallet: those on this computer, real and for practice, and a new one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Protocol, runtime_checkable

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.bridge import run
from wallet.gui.pages.base import scroller
from wallet.gui.theme import theme
from wallet.gui.tokens import S2, S3, S4, S6, S8
from wallet.gui.widgets.basic import Button, ClickCard, Label, discard, hbox, vbox
from wallet.gui.widgets.dialog import confirm
from wallet.gui.widgets.notices import Banner
from wallet.i18n import _
from wallet.node.api import WalletHost, WalletInfo

__all__ = ["NETWORKS", "ResetsPractice", "WalletChoice", "all_wallets"]

NETWORKS = ("mainnet", "testnet4", "signet", "regtest", "sandbox")
WIDTH = 560


@runtime_checkable
class ResetsPractice(Protocol):
    """A `WalletHost` that can throw the practice network away."""

    def reset_practice(self) -> Future[None]: ...


def all_wallets(host: WalletHost) -> list[WalletInfo]:
    """Every wallet on this computer, those with real money first."""
    return [info for network in NETWORKS for info in host.wallets(network)]


class WalletChoice(QWidget):
    """Signals: `chosen(WalletInfo)`, `wants_new()`. Attributes: `cards` by network and name, `reset_button` where
    there is a practice wallet."""

    chosen = pyqtSignal(object)
    wants_new = pyqtSignal()

    def __init__(self, host: WalletHost, *, reset: Callable[[], Future[None]] | None = None) -> None:
        super().__init__()
        self._host = host
        self._reset = reset
        self.cards: dict[tuple[str, str], ClickCard] = {}
        self._list = vbox(spacing=S3)
        self._banner = Banner("", "danger")
        self.new_button = Button(_("New wallet"), "outlined", "plus", on_click=self.wants_new.emit)
        self.reset_button = Button(
            _("Reset the practice wallet"), "text", "refresh", on_click=self._ask_reset
        )
        column = QWidget()
        column.setMaximumWidth(theme().px(WIDTH))
        box = vbox(Label(_("Your wallets"), "title"), spacing=S4)
        box.addLayout(self._list)
        box.addWidget(self._banner)
        box.addLayout(hbox(self.new_button, self.reset_button, "stretch", spacing=S2))
        column.setLayout(box)
        inside = QWidget()
        row = hbox("stretch", spacing=0)
        row.addWidget(column, 100)
        row.addStretch(1)
        outer = vbox("stretch", spacing=0, margins=(S6, S8, S6, S8))
        outer.addLayout(row)
        outer.addStretch(2)
        inside.setLayout(outer)
        self.setLayout(vbox(scroller(inside), spacing=0))
        self._fill()

    def _fill(self) -> None:
        for card in self.cards.values():
            self._list.removeWidget(card)
            discard(card)
        self.cards = {}
        found = all_wallets(self._host)
        for info in found:
            money = fmt.network_word(info.network) or _("Real bitcoin")
            locked = _("opens with its password") if info.encrypted else _("has no password")
            icon = "wallet" if info.network == "mainnet" else "sandbox"
            card = ClickCard(
                icon, fmt.plain(info.name, 60), f"{money}, {locked}", partial(self.chosen.emit, info)
            )
            self.cards[(info.network, info.name)] = card
            self._list.addWidget(card)
        practice = any(info.network == "sandbox" for info in found)
        self.reset_button.setVisible(practice and self._reset is not None)

    def set_first_focus(self) -> None:
        first = next(iter(self.cards.values()), None)
        (first or self.new_button).setFocus(Qt.FocusReason.OtherFocusReason)

    def _ask_reset(self) -> None:
        confirm(
            self,
            title=_("Reset the practice wallet"),
            sentence=_(
                "The practice network, its play money and its wallets are thrown away, for a fresh start. Your other "
                "wallets are not touched."
            ),
            action=_("Reset practice"),
            on_yes=self._do_reset,
            network="sandbox",
            danger=True,
        )

    def _do_reset(self) -> None:
        if self._reset is not None:
            run(self._reset(), lambda _nothing: self._fill(), self._banner.say, owner=self)
