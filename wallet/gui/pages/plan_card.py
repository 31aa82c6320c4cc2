"""A channel that opens by itself once a deposit has confirmed: what is waited for, how long, and where to deposit;
then the first channel's way to where one can pay."""

from __future__ import annotations

from typing import Any

from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.describe import CLOSED
from wallet.gui.tokens import S2, S3
from wallet.gui.widgets.basic import Button, Card, Label, hbox, vbox
from wallet.gui.widgets.ids import CopyId
from wallet.gui.widgets.stepper import Step, Stepper
from wallet.i18n import _
from wallet.node.api import ChannelPhase, ChannelView, WalletSnapshot

__all__ = ["PlanCard", "first_opening", "opening_steps", "plan_steps"]

_OPENING = frozenset(
    {ChannelPhase.NEGOTIATING, ChannelPhase.AWAITING_CONFIRMATIONS, ChannelPhase.AWAITING_PEER}
)


def first_opening(snapshot: WalletSnapshot) -> ChannelView | None:
    """The channel that will be the first to pay with; None where there is none, or one that can be paid with."""
    own = [channel for channel in snapshot.channels if channel.phase not in CLOSED]
    if any(channel.phase not in _OPENING for channel in own):
        return None
    return next((channel for channel in own if channel.is_outbound), None)


def opening_steps(channel: ChannelView) -> list[tuple[str, Step, str]]:
    """As `plan_steps` goes on, once the channel is on its way."""
    from wallet.gui.pages.channel import open_steps

    *way, (last, state, time) = open_steps(channel)
    if state is Step.WAITING:
        last = _("You can pay")
    return [(_("The deposit has confirmed"), Step.DONE, ""), *way, (last, state, time)]


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
        self._title = Label("", "section")
        self._sentence = Label("", "body", wrap=True)
        self._steps = Stepper()
        self.address: CopyId | None = None
        self._address_row = hbox(Label(_("Deposit address"), "body", "text2"), spacing=S3)
        self._address_holder = QWidget()
        self._address_holder.setLayout(self._address_row)
        self._note = Label("", "caption", "text2", wrap=True)
        self.deposit = Button(
            _("Show the deposit address"), "filled", "receive", on_click=lambda: context.go("receive")
        )
        self.channels = Button(_("To the channels"), "outlined", on_click=lambda: context.go("channels"))
        self.forget = Button(_("Forget it"), "text", on_click=self._forget)
        self.forget.setAccessibleDescription(_("The channel is not opened; a deposit stays yours"))
        self._problem = Label("", "caption", "danger", wrap=True)
        super().__init__(
            vbox(
                self._title, self._sentence, self._steps, self._address_holder,
                self._note, hbox(self.deposit, self.channels, self.forget, "stretch", spacing=S2), self._problem,
                spacing=S3,
            )
        )  # fmt: skip
        self.hide()

    def show_snapshot(self, snapshot: WalletSnapshot) -> None:
        status = snapshot.status
        sentence = fmt.plain(status.planned_channel, 400)
        opening = None if sentence else first_opening(snapshot)
        # With play money the practice round says how far it is.
        if opening is not None and self._context.bridge.api.sandbox() is None:
            self._show_opening(opening)
            return
        self.setVisible(bool(sentence))
        if not sentence:
            self._asked = False
            self._problem.setText("")
            return
        self._title.setText(_("Your planned channel"))
        self._note.setText(_("You may close Leyden meanwhile: the channel opens when it is back."))
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

    def _show_opening(self, channel: ChannelView) -> None:
        self._asked = False
        self._title.setText(_("Your channel is opening"))
        self._sentence.setText(
            _("{amount} with {name}: it opens by itself.").format(
                amount=fmt.amount_sat(channel.capacity_sat),
                name=fmt.node_name(channel.peer_alias, channel.peer_id),
            )
        )
        self._steps.show_steps(opening_steps(channel))
        self._note.setText(_("You can close Leyden now: it goes on when you come back."))
        shown: tuple[QWidget, ...] = (self, self._steps, self._note, self.channels)
        for widget in shown:
            widget.show()
        hidden: tuple[QWidget, ...] = (self.deposit, self.forget, self._address_holder, self._problem)
        for widget in hidden:
            widget.hide()

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
