"""Closing a channel: what comes back, what it costs in all, when it can be spent. Forcing it has to be agreed to twice.

The dialog follows the channel while it is open: what is in flight, whether the peer is there to agree, and what the
closing costs then.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.describe import CLOSED, together_problem
from wallet.gui.widgets.basic import AmountLabel, Label, vbox
from wallet.gui.widgets.checks import CheckBox
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.ids import Fold
from wallet.gui.widgets.notices import Banner, Facts, toast
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _
from wallet.node.api import ChannelView

__all__ = ["CloseChannelDialog"]


def _sat(quote: Mapping[str, Any], key: str) -> int:
    value = quote.get(key)
    return value if isinstance(value, int) else 0


class CloseChannelDialog(Dialog):
    """Attributes: `quote` once there is one, `other_way`: what the other kind of closing would cost, `refused`: why the
    peer cannot agree now, `in_flight`: what is on its way, `parts`: what a forced close pays for, `agreed` (force
    only), `close_button`."""

    def __init__(self, parent: QWidget, context: Context, channel: ChannelView, *, force: bool) -> None:
        name = fmt.node_name(channel.peer_alias, channel.peer_id)
        title = _("Force-close the channel with {name}") if force else _("Close the channel with {name}")
        super().__init__(parent, title.format(name=name), network=context.network)
        self._context = context
        self._channel = channel
        self._force = force
        self._busy = False
        self._asked = 0
        self.quote: Mapping[str, Any] | None = None
        self._other: Mapping[str, Any] | None = None
        self._explanation = Label(_("Asking what it costs…"), "body", "text", wrap=True)
        self.body.addWidget(self._explanation)
        self._amount = AmountLabel("amount")
        self._amount_box = QWidget()
        self._amount_box.setLayout(
            vbox(Label(_("Comes back to you"), "caption", "text2"), self._amount, spacing=0)
        )
        self._amount_box.hide()
        self.body.addWidget(self._amount_box)
        self._facts = Facts(label_width=132)
        self.body.addWidget(self._facts)
        self._costs = Facts(label_width=220)
        self.parts = Fold(_("What is paid for"), self._costs)
        self.parts.hide()
        self.body.addWidget(self.parts)
        self.other_way = Label("", "caption", "text2", wrap=True)
        self.other_way.hide()
        self.body.addWidget(self.other_way)
        self.in_flight = Banner("", "warning")
        self.body.addWidget(self.in_flight)
        self.refused = Banner("", "warning", _("Force-close instead"), self._force_instead)
        self.body.addWidget(self.refused)
        self._together = Banner("", "info")
        self.body.addWidget(self._together)
        self.agreed = CheckBox("")
        self.agreed.setVisible(False)
        self.agreed.toggled.connect(lambda _on: self._update())
        self.body.addWidget(self.agreed)
        self._banner = Banner("", "danger")
        self.body.addWidget(self._banner)
        self.body.addStretch(1)
        self.add_cancel(_("Keep it open"))
        self.close_button = self.add_button(
            _("Force-close") if force else _("Close channel"), "danger" if force else "filled", self._close
        )
        context.bridge.changed.connect(self._follow)
        self._update()
        self._ask()

    def _ask(self) -> None:
        """What both ways cost now."""
        self._asked += 1
        number = self._asked

        def answered(force: bool, quote: Any) -> None:
            if number == self._asked and isinstance(quote, Mapping):
                if force is self._force:
                    self._show_quote(quote)
                else:
                    self._other = quote
                    self._show_other()

        def failed(sentence: str) -> None:
            if number == self._asked:
                self._failed(sentence)

        for force, on_error in ((self._force, failed), (not self._force, lambda _sentence: None)):
            self._context.bridge.call(
                "quote_close",
                partial(answered, force),
                on_error,
                owner=self,
                channel_id=self._channel.channel_id,
                force=force,
            )

    def _follow(self, _changes: object) -> None:
        """The channel as it stands now; what it costs is asked again where that depends on what has changed."""
        channel = self._context.channel(self._channel.channel_id)
        before = self._channel
        if channel is None or channel == before or self._busy:
            return
        self._channel = channel
        moved = (channel.local_msat, channel.inflight_out_msat, channel.inflight_in_msat) != (
            before.local_msat,
            before.inflight_out_msat,
            before.inflight_in_msat,
        )
        if channel.phase not in CLOSED and (moved or channel.feerate_sat_per_kw != before.feerate_sat_per_kw):
            self._ask()
        self._show_other()
        self._update()

    def _force_instead(self) -> None:
        parent, context, channel = self.parentWidget() or self, self._context, self._channel
        self.reject()
        CloseChannelDialog(parent, context, channel, force=True).open()

    def _show_other(self) -> None:
        """The other way, in a line: what it costs, and when the money is free."""
        quote = self._other
        possible = not self._force or not together_problem(self._channel)
        self.other_way.setVisible(quote is not None and possible)
        if quote is None:
            return
        fee = fmt.amount_sat(_sat(quote, "fee_sat"))
        blocks = _sat(quote, "available_blocks")
        sentence = (
            _("Closing together with the peer would cost {fee}, and the money would be free {when}.")
            if self._force
            else _("Forcing it without the peer would cost {fee}, and lock the money for {time}.")
        )
        self.other_way.setText(
            sentence.format(fee=fee, time=fmt.blocks_long(blocks), when=fmt.blocks_ahead(blocks))
        )
        self.fit()

    def _failed(self, sentence: str) -> None:
        self._banner.say(sentence, "danger")
        self._update()
        self.fit()

    def _show_quote(self, quote: Mapping[str, Any]) -> None:
        self.quote = quote
        self._banner.say("")
        self._explanation.setText(fmt.plain(str(quote.get("explanation") or ""), 500))
        amount_sat, fee_sat = _sat(quote, "amount_sat"), _sat(quote, "fee_sat")
        self._amount.set_sat(amount_sat)
        self._amount_box.show()
        blocks = _sat(quote, "available_blocks")
        wait = fmt.blocks_long(blocks)
        height = quote.get("available_height")
        spendable = fmt.blocks_ahead(blocks)
        if isinstance(height, int):
            spendable = _("{when}, from block {height}").format(when=spendable, height=fmt.group(height))
        facts: list[tuple[str, QWidget | str]] = [
            (
                _("Fees in all, about") if self._force else _("Fee, about"),
                fmt.fee_with_share(fee_sat * 1000, max(1, amount_sat) * 1000),
            )
        ]
        from_coins_sat = _sat(quote, "from_coins_sat")
        if from_coins_sat:
            coins = _("{amount} of them are paid with your coins on chain").format(
                amount=fmt.amount_sat(from_coins_sat)
            )
            facts.append(("", coins))
        self._facts.show_facts([*facts, (_("Spendable"), spendable)])
        self._show_costs(quote)
        if self._force:
            self.agreed.setText(_("I know that my coins are locked for {time}").format(time=wait))
            self.agreed.setVisible(True)
        self._update()
        self.fit()

    def _show_costs(self, quote: Mapping[str, Any]) -> None:
        """Each transaction of a forced close that is paid for."""
        costs: list[tuple[str, QWidget | str]] = [
            (name, fmt.amount_sat(cost_sat))
            for name, cost_sat in (
                (_("The channel's own transaction, with its anchors"), _sat(quote, "commitment_sat")),
                (_("Speeding it up at today's fees"), _sat(quote, "bump_sat")),
                (_("Payments in flight, if they come back"), _sat(quote, "htlcs_sat")),
                (_("Bringing your part home"), _sat(quote, "sweep_sat")),
            )
            if cost_sat
        ]
        self._costs.show_facts(costs)
        self.parts.setVisible(self._force and bool(costs))

    def _update(self) -> None:
        """What the channel allows now, and why not."""
        channel = self._channel
        is_closed = channel.phase in CLOSED
        problem = together_problem(channel)
        inflight_msat = channel.inflight_out_msat + channel.inflight_in_msat
        words = ""
        if inflight_msat and (self._force or not problem):
            words = (
                _(
                    "{amount} is in flight in this channel. Forced now, each payment takes transactions of its own. "
                    "Better wait until it has arrived."
                )
                if self._force
                else _(
                    "{amount} is in flight in this channel. The closing waits until it has arrived or come back; "
                    "nothing new is sent meanwhile."
                )
            ).format(amount=fmt.amount(inflight_msat))
        self.in_flight.say(words)
        # That a channel is closed says the line beside the button.
        self.refused.say(problem if not self._force and not is_closed else "")
        self._together.say(
            _("The peer is online: closing together costs less, and your coins come back at once.")
            if self._force and not problem
            else ""
        )
        reason = ""
        if is_closed or (not self._force and problem):
            reason = problem
        elif self.quote is None:
            reason = self._banner.text() or _("Working out what it costs.")
        elif self._force and not self.agreed.isChecked():
            reason = _("Tick the box above first.")
        tell_why(self.close_button, reason)
        shown_above = (self._banner.text(), self.refused.text())
        self.reason.setText("" if reason in shown_above else reason)
        self.fit()

    def _close(self) -> None:
        self._busy = True
        tell_why(self.close_button, _("Closing…"), self.reason)

        def done(_answer: Any) -> None:
            parent = self.parentWidget() or self
            self.accept()
            toast(parent, _("The channel is being closed"), "check")

        def failed(sentence: str) -> None:
            self._busy = False
            self._failed(sentence)

        self._context.bridge.call(
            "close_channel",
            done,
            failed,
            owner=self,
            channel_id=self._channel.channel_id,
            force=self._force,
        )
