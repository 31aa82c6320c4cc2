"""Which coins a payment spends: by default those that fit best, or those that the person ticks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.tokens import S2
from wallet.gui.widgets.basic import Button, ElidedLabel, Label, clear, hbox, vbox
from wallet.gui.widgets.checks import CheckBox
from wallet.gui.widgets.notices import Banner
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _, ngettext

__all__ = ["CoinChoice"]

MAX_SHOWN = 200


class CoinChoice(QWidget):
    """Signal: `changed()`. Attributes: `boxes` by coin, once it was opened; `button`, which opens it."""

    changed = pyqtSignal()

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self._values_sat: dict[str, int] = {}
        self.boxes: dict[str, CheckBox] = {}
        self.freezers: dict[str, Button] = {}
        self.button = Button(_("Choose coins"), "fold", "chevron-right", small=True)
        self.button.setCheckable(True)
        self.button.setAccessibleDescription(_("Shows or hides what belongs to it"))
        self.button.toggled.connect(self._toggle)
        self._sum = Label("", "caption", "text2", wrap=True)
        self._list = vbox(spacing=S2)
        self._inside = QWidget()
        self.banner = Banner("", "warning")
        self._inside.setLayout(vbox(self._sum, self._list, self.banner, spacing=S2))
        self._inside.hide()
        self.setLayout(vbox(hbox(self.button, "stretch"), self._inside, spacing=S2))
        self._tell()

    def chosen(self) -> str:
        """The ticked coins as the node reads them; empty for any."""
        return ",".join(coin for coin, box in self.boxes.items() if box.isChecked())

    def summary(self) -> str:
        """In words, for the review."""
        coins = [coin for coin, box in self.boxes.items() if box.isChecked()]
        if not coins:
            return _("Those that fit best")
        total = fmt.amount_sat(sum(self._values_sat[coin] for coin in coins))
        return ngettext("{n} coin, {total}", "{n} coins, {total}", len(coins)).format(
            n=len(coins), total=total
        )

    def _toggle(self, is_open: bool) -> None:
        self._inside.setVisible(is_open)
        self.button.set_icon("chevron-down" if is_open else "chevron-right")
        self.button.setAccessibleDescription(_("Open") if is_open else _("Folded"))
        if is_open:
            self._read()

    def _read(self) -> None:
        def done(answer: Any) -> None:
            coins = [item for item in answer if isinstance(item, Mapping)] if _is_list(answer) else []
            self._show(coins)

        self._context.bridge.call(
            "listunspent", done, lambda sentence: self.banner.say(sentence, "warning"), owner=self
        )

    def _show(self, coins: Sequence[Mapping[str, Any]]) -> None:
        ticked = set(self.chosen().split(","))
        clear(self._list)
        self.boxes, self.freezers, self._values_sat = {}, {}, {}
        coins = sorted(coins, key=lambda coin: -int(coin.get("value_sat") or 0))
        for coin in coins[:MAX_SHOWN]:
            key = f"{coin.get('prevout_hash')}:{coin.get('prevout_n')}"
            value_sat = int(coin.get("value_sat") or 0)
            self._values_sat[key] = value_sat
            box = CheckBox(fmt.amount_sat(value_sat))
            frozen = bool(coin.get("frozen"))
            words = self._words(coin)
            box.setAccessibleName(f"{fmt.amount_sat(value_sat)}, {words}")
            box.setChecked(key in ticked and not frozen)
            free = bool(coin.get("spendable")) and not frozen
            tell_why(box, "" if free else _("It cannot be chosen: {state}.").format(state=_state(coin)))
            box.toggled.connect(lambda _checked: self._tell())
            self.boxes[key] = box
            row = hbox(box, spacing=S2)
            row.addWidget(ElidedLabel(words, "caption", "text2"), 1)
            held = frozen or bool(coin.get("signed_for"))
            freezer = Button(
                _("Release") if held else _("Freeze"),
                "text",
                small=True,
                name=(_("Release the coin of {amount}") if held else _("Freeze the coin of {amount}")).format(
                    amount=fmt.amount_sat(value_sat)
                ),
                on_click=partial(self._freeze, key, not held),
            )
            freezer.setToolTip(
                _("Whoever has your signature may still send that transaction.")
                if coin.get("signed_for")
                else _("A frozen coin is not spent by itself.")
            )
            self.freezers[key] = freezer
            row.addWidget(freezer)
            self._list.addLayout(row)
        if not coins:
            self._list.addWidget(Label(_("There are no coins."), "body", "text2"))
        self._tell()

    def _words(self, coin: Mapping[str, Any]) -> str:
        label = fmt.plain(str(coin.get("label") or ""), 60)
        where = fmt.short_id(str(coin.get("address") or coin.get("prevout_hash") or ""))
        return " · ".join(part for part in (label, where, _state(coin)) if part)

    def _freeze(self, coin: str, frozen: bool) -> None:
        self._context.bridge.call(
            "freeze_utxo" if frozen else "unfreeze_utxo",
            lambda _answer: self._read(),
            lambda sentence: self.banner.say(sentence, "warning"),
            owner=self,
            coin=coin,
        )

    def _tell(self) -> None:
        if self.chosen():
            self._sum.setText(_("Only these are spent: {coins}.").format(coins=self.summary()))
        else:
            self._sum.setText(_("Nothing ticked: Leyden takes those that fit best."))
        self.changed.emit()


def _is_list(answer: object) -> bool:
    return isinstance(answer, Sequence) and not isinstance(answer, str)


def _state(coin: Mapping[str, Any]) -> str:
    """Whether it can be spent, in a few words."""
    if coin.get("frozen"):
        return _("frozen")
    if coin.get("signed_for"):
        return _("set aside for a PSBT that you signed")
    if coin.get("reserved"):
        return _("set aside for a channel")
    confirmations = int(coin.get("confirmations") or 0)
    if not confirmations:
        return _("waiting")
    return ngettext("{n} confirmation", "{n} confirmations", confirmations).format(n=fmt.group(confirmations))
