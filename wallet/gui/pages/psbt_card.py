"""A transaction that several hands sign: what it does, a signature of one's own, and its way on."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.pages.pay_cards import PayCard
from wallet.gui.widgets.basic import AmountLabel, Button, Label, button_row, hbox
from wallet.gui.widgets.files import ask_new_file
from wallet.gui.widgets.ids import CopyId, copy_text
from wallet.gui.widgets.notices import Banner, Facts, toast
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _

__all__ = ["PsbtCard", "save_psbt"]

MAX_OUTPUTS_SHOWN = 20


def save_psbt(anywhere: QWidget, psbt: str, path: Path) -> str:
    """Writes a new file; a sentence where that fails."""
    try:
        with path.open("xb") as file:
            file.write(base64.b64decode(psbt, validate=True))
    except FileExistsError:
        return _("There is a file of this name already. Choose another one.")
    except (OSError, binascii.Error):
        return _("The file cannot be written there. Choose another folder.")
    toast(anywhere, _("Saved as {name}").format(name=fmt.plain(path.name, 40)), "check")
    return ""


class PsbtCard(PayCard):
    """Attributes: `button`, which signs or sends; `save`, `copy`; `psbt`, as it is by now."""

    def __init__(self, context: Context, found: Mapping[str, Any]) -> None:
        super().__init__(context, _("On chain"), "chain")
        self.psbt = str(found.get("psbt") or "")
        self._info: Mapping[str, Any] = {}
        self._amount = AmountLabel("amount")
        self.box.addWidget(self._amount)
        self._facts = Facts(label_width=96)
        self.box.addWidget(self._facts)
        self.banner = Banner("", "warning")
        self.box.addWidget(self.banner)
        self.button = Button(_("Sign"), "filled", main=True, on_click=self._act)
        self.cancel = Button(_("Cancel"), "outlined", main=True, on_click=self.cancelled.emit)
        self._reason = Label("", "caption", "text2", wrap=True)
        self.box.addLayout(button_row(self.button, self.cancel, reason=self._reason))
        self.save = Button(_("Save PSBT"), "outlined", on_click=self._save)
        self.copy = Button(
            _("Copy PSBT"), "outlined", "copy", on_click=lambda: copy_text(self, self.psbt, _("PSBT"))
        )
        self.box.addLayout(hbox(self.save, self.copy, "stretch"))
        tell_why(self.button, _("Reading the transaction."), self._reason)
        self._amount.hide()
        self._read()

    def set_first_focus(self) -> None:
        self.button.setFocus(Qt.FocusReason.OtherFocusReason)

    def _failed(self, sentence: str) -> None:
        self.banner.say(sentence, "danger")
        self._reason.setText("")
        tell_why(self.button, sentence)

    def _read(self) -> None:
        self.context.bridge.call("psbt_info", self._show, self._failed, owner=self, psbt=self.psbt)

    def _show(self, info: Any) -> None:
        if not isinstance(info, Mapping):
            return
        self._info = info
        you_pay_sat = int(info.get("you_pay_sat") or 0)
        self._amount.set_sat(max(0, you_pay_sat))
        self._amount.show()
        outputs = [out for out in info.get("outputs") or () if isinstance(out, Mapping)]
        facts: list[tuple[str, QWidget | str]] = [
            (_("You pay"), fmt.amount_sat(you_pay_sat) if you_pay_sat >= 0 else _("nothing; you are paid"))
        ]
        foreign = [out for out in outputs if not out.get("mine")]
        for out in foreign[:MAX_OUTPUTS_SHOWN]:
            where = str(out.get("address") or out.get("script") or "")
            row = QWidget()
            amount = Label(fmt.amount_sat(int(out.get("value_sat") or 0)), "body")
            row.setLayout(hbox(amount, CopyId(_("Address"), where), "stretch"))
            facts.append((_("To"), row))
        if len(foreign) > MAX_OUTPUTS_SHOWN:
            facts.append(("", _("and {n} more").format(n=len(foreign) - MAX_OUTPUTS_SHOWN)))
        fee_sat = info.get("fee_sat")
        fee = fmt.amount_sat(fee_sat) if isinstance(fee_sat, int) else _("not known")
        note = fmt.plain(str(info.get("fee_note") or ""), 300)
        facts.append((_("Fee"), _("{fee}, not proven").format(fee=fee) if note else fee))
        facts.append(
            (
                _("Coins"),
                _("{mine} of {all} are yours").format(mine=info.get("mine"), all=info.get("inputs")),
            )
        )
        self._facts.show_facts(facts)
        complete = bool(info.get("complete"))
        why_not = "" if complete else fmt.plain(str(info.get("why_not") or ""), 300)
        self.button.setText(_("Send it") if complete else _("Sign"))
        possible = complete or bool(info.get("can_sign"))
        tell_why(self.button, "" if possible else why_not or _("No key of this wallet is asked for."))
        self.button.setAccessibleDescription(self.button.toolTip() or why_not)
        self.banner.say(why_not or note, "warning")
        self._reason.setText(
            _("A transaction on chain cannot be taken back.") if complete else _("Signing sends nothing.")
        )
        if self.isVisible():
            self.set_first_focus()

    def _act(self) -> None:
        complete = bool(self._info.get("complete"))
        tell_why(self.button, _("Sending it.") if complete else _("Signing it."), self._reason)
        if complete:
            amount_sat = max(0, int(self._info.get("you_pay_sat") or 0))
            fee_sat = self._info.get("fee_sat")
            fee_sat = fee_sat if isinstance(fee_sat, int) else 0
            self.pay.emit(
                {
                    "kind": "psbt",
                    "arguments": {"psbt": self.psbt},
                    "amount_sat": max(0, amount_sat - fee_sat),
                    "fee_sat": fee_sat,
                    "payee": _("those that it names"),
                    "wait": _("a time that the rate decides"),
                }
            )
            return

        def signed(answer: Any) -> None:
            if isinstance(answer, Mapping):
                self.psbt = str(answer.get("psbt") or self.psbt)
                self._read()
                if not answer.get("complete"):
                    toast(self, _("Signed. Others still have to."), "check")

        self.context.bridge.call("signpsbt", signed, self._failed, owner=self, psbt=self.psbt)

    def _save(self) -> None:
        def chosen(path: Path) -> None:
            sentence = save_psbt(self, self.psbt, path)
            if sentence:
                self.banner.say(sentence, "warning")

        ask_new_file(self, _("Save PSBT"), "payment.psbt", chosen)
