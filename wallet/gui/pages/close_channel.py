"""Closing a channel: what comes back, what it costs, when it can be spent. Forcing it has to be agreed to
twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.widgets.basic import AmountLabel, Label, vbox
from wallet.gui.widgets.checks import CheckBox
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.notices import Banner, Facts, toast
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _
from wallet.node.api import ChannelView

__all__ = ["CloseChannelDialog"]


class CloseChannelDialog(Dialog):
    """Attributes: `quote` once there is one, `other_way`: what the other kind of closing would cost, `agreed` (force
    only), `close_button`."""

    def __init__(self, parent: QWidget, context: Context, channel: ChannelView, *, force: bool) -> None:
        name = fmt.node_name(channel.peer_alias, channel.peer_id)
        title = _("Force-close the channel with {name}") if force else _("Close the channel with {name}")
        super().__init__(parent, title.format(name=name), network=context.network)
        self._context = context
        self._channel = channel
        self._force = force
        self.quote: Mapping[str, Any] | None = None
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
        self.other_way = Label("", "caption", "text2", wrap=True)
        self.other_way.hide()
        self.body.addWidget(self.other_way)
        inflight_msat = channel.inflight_out_msat + channel.inflight_in_msat
        if inflight_msat:
            self.body.addWidget(
                Banner(
                    _("{amount} is in flight in this channel. Better wait until it has arrived.").format(
                        amount=fmt.amount(inflight_msat)
                    ),
                    "warning",
                )
            )
        if force and channel.peer_online:
            sentence = _("The peer is online: closing together costs less, and your coins come back at once.")
            self.body.addWidget(Banner(sentence, "info"))
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
        self._update()
        context.bridge.call(
            "quote_close",
            self._show_quote,
            self._failed,
            owner=self,
            channel_id=channel.channel_id,
            force=force,
        )

        context.bridge.call(
            "quote_close",
            self._show_other,
            lambda _sentence: None,
            owner=self,
            channel_id=channel.channel_id,
            force=not force,
        )

    def _show_other(self, quote: Any) -> None:
        """The other way, in a line: what it costs, and when the money is free."""
        if not isinstance(quote, Mapping):
            return
        fee = fmt.amount_sat(int(quote.get("fee_sat") or 0))
        blocks = int(quote.get("available_blocks") or 0)
        sentence = (
            _("Closing together with the peer would cost {fee}, and the money would be free {when}.")
            if self._force
            else _("Forcing it without the peer would cost {fee}, and lock the money for {time}.")
        )
        self.other_way.setText(
            sentence.format(fee=fee, time=fmt.blocks_long(blocks), when=fmt.blocks_ahead(blocks))
        )
        self.other_way.show()
        self.fit()

    def _failed(self, sentence: str) -> None:
        self._banner.say(sentence, "danger")
        self._update()
        self.fit()

    def _show_quote(self, quote: Any) -> None:
        if not isinstance(quote, Mapping):
            return
        self.quote = quote
        self._explanation.setText(fmt.plain(str(quote.get("explanation") or ""), 500))
        amount_sat, fee_sat = int(quote.get("amount_sat") or 0), int(quote.get("fee_sat") or 0)
        self._amount.set_sat(amount_sat)
        self._amount_box.show()
        blocks = int(quote.get("available_blocks") or 0)
        wait = fmt.blocks_long(blocks)
        height = quote.get("available_height")
        spendable = fmt.blocks_ahead(blocks)
        if isinstance(height, int):
            spendable = _("{when}, from block {height}").format(when=spendable, height=fmt.group(height))
        self._facts.show_facts(
            [
                (_("Fee"), fmt.fee_with_share(fee_sat * 1000, max(1, amount_sat) * 1000)),
                (_("Spendable"), spendable),
            ]
        )
        if self._force:
            self.agreed.setText(_("I know that my coins are locked for {time}").format(time=wait))
            self.agreed.setVisible(True)
        self._update()
        self.fit()

    def _update(self) -> None:
        reason = ""
        if self.quote is None:
            reason = self._banner.text() or _("Working out what it costs.")
        elif self._force and not self.agreed.isChecked():
            reason = _("Tick the box above first.")
        tell_why(self.close_button, reason)
        self.reason.setText("" if reason == self._banner.text() else reason)

    def _close(self) -> None:
        tell_why(self.close_button, _("Closing…"), self.reason)

        def done(_answer: Any) -> None:
            parent = self.parentWidget() or self
            self.accept()
            toast(parent, _("The channel is being closed"), "check")

        def failed(sentence: str) -> None:
            self._failed(sentence)

        self._context.bridge.call(
            "close_channel",
            done,
            failed,
            owner=self,
            channel_id=self._channel.channel_id,
            force=self._force,
        )
