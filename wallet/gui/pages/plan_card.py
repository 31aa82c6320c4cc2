"""A channel that opens by itself once a deposit has confirmed: what is waited for, how long, and where to deposit."""

from __future__ import annotations

from typing import Any

from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.tokens import S2, S3
from wallet.gui.widgets.basic import Button, Card, Label, hbox, vbox
from wallet.gui.widgets.ids import CopyId
from wallet.gui.widgets.stepper import Step, Stepper
from wallet.i18n import _
from wallet.node.api import WalletSnapshot

__all__ = ["PlanCard", "plan_steps"]


def plan_steps(snapshot: WalletSnapshot) -> list[tuple[str, Step, str]]:
    """(words, state, expected time) of each step from the deposit to the usable channel."""
    balance = snapshot.balance
    if balance.onchain_unconfirmed_sat:
        seen = _("Your deposit of {amount} has been seen").format(
            amount=fmt.amount_sat(balance.onchain_unconfirmed_sat)
        )
        at = 1
    else:
        seen = _("Deposit to your address")
        at = 0
        if balance.onchain_confirmed_sat:
            # A confirmed deposit that is too small, or whose peer is away, waits here as well.
            seen = _("{amount} are here").format(amount=fmt.amount_sat(balance.onchain_confirmed_sat))
            at = 2
    words = (
        (seen, ""),
        (_("The deposit confirms"), _("about 10 minutes")),
        (_("The channel opens"), _("at the next block")),
        (_("You can pay"), _("about 30 minutes later")),
    )
    states = [Step.DONE if n < at else Step.CURRENT if n == at else Step.WAITING for n in range(len(words))]
    return [(text, state, time) for (text, time), state in zip(words, states, strict=True)]


class PlanCard(Card):
    """In sight while there is a plan, or something to say of the last one. Attributes: `deposit`, the button to the
    address as a QR code; `address` once it is known; `forget`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._asked = False
        self._sentence = Label("", "body", wrap=True)
        self._steps = Stepper()
        self.address: CopyId | None = None
        self._address_row = hbox(Label(_("Deposit address"), "body", "text2"), spacing=S3)
        self._address_holder = QWidget()
        self._address_holder.setLayout(self._address_row)
        self._note = Label(
            _("You may close Leyden meanwhile: the channel opens when it is back."),
            "caption",
            "text2",
            wrap=True,
        )
        self.deposit = Button(
            _("Show the deposit address"), "filled", "receive", on_click=lambda: context.go("receive")
        )
        self.channels = Button(_("To the channels"), "outlined", on_click=lambda: context.go("channels"))
        self.forget = Button(_("Forget it"), "text", on_click=self._forget)
        self.forget.setAccessibleDescription(_("The channel is not opened; a deposit stays yours"))
        self._problem = Label("", "caption", "danger", wrap=True)
        super().__init__(
            vbox(
                Label(_("Your planned channel"), "section"), self._sentence, self._steps, self._address_holder,
                self._note, hbox(self.deposit, self.channels, self.forget, "stretch", spacing=S2), self._problem,
                spacing=S3,
            )
        )  # fmt: skip
        self.hide()

    def show_snapshot(self, snapshot: WalletSnapshot) -> None:
        status = snapshot.status
        sentence = fmt.plain(status.planned_channel, 400)
        self.setVisible(bool(sentence))
        if not sentence:
            self._asked = False
            self._problem.setText("")
            return
        self._sentence.setText(sentence)
        waits = status.plan_is_waiting
        for widget in (self._steps, self._note, self.deposit, self.forget):
            widget.setVisible(waits)
        self.channels.setVisible(not waits)
        self._problem.setVisible(waits and bool(self._problem.text()))
        self._address_holder.setVisible(waits and self.address is not None)
        if waits:
            self._steps.show_steps(plan_steps(snapshot))
            if not self._asked:
                self._asked = True
                self._context.bridge.call("getunusedaddress", self._got_address, owner=self)

    def _got_address(self, answer: Any) -> None:
        if not isinstance(answer, str):
            return
        if self.address is None:
            self.address = CopyId(_("Deposit address"), answer)
            self._address_row.addWidget(self.address)
            self._address_row.addStretch(1)
        else:
            self.address.set_full(answer)
        self._address_holder.setVisible(self.deposit.isVisibleTo(self))

    def _forget(self) -> None:
        def failed(sentence: str) -> None:
            self._problem.setText(sentence)
            self._problem.show()

        self._context.bridge.call("plan_channel", lambda _nothing: None, failed, owner=self)
