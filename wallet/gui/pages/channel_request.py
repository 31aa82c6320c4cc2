"""A peer wants to open a channel to a wallet that has no coins to close it with: the user decides, the risk
stated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.widgets.basic import AmountLabel, Label
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.ids import CopyId
from wallet.gui.widgets.notices import Banner, Facts, toast
from wallet.i18n import _

__all__ = ["ChannelRequestDialog"]


class ChannelRequestDialog(Dialog):
    """Attributes: `accept_button`, `refuse_button`. Closing it otherwise leaves the question open."""

    def __init__(self, parent: QWidget, context: Context, request: Mapping[str, Any]) -> None:
        super().__init__(parent, _("A peer wants to open a channel to you"), network=context.network)
        self._context = context
        self._id = str(request.get("temporary_channel_id") or "")
        peer = str(request.get("peer") or "")
        amount_sat = request.get("amount_sat")
        amount = AmountLabel("amount")
        amount.set_sat(amount_sat if isinstance(amount_sat, int) else 0)
        self.body.addWidget(amount)
        facts = Facts(label_width=96)
        facts.show_facts([(_("Peer"), fmt.node_name("", peer)), (_("Node"), CopyId(_("Peer's id"), peer))])
        self.body.addWidget(facts)
        self.body.addWidget(Banner(fmt.plain(str(request.get("risk") or ""), 500), "warning"))
        self.body.addWidget(
            Label(_("The coins in it are the peer's. You could receive through it."), wrap=True)
        )
        self._banner = Banner("", "danger")
        self.body.addWidget(self._banner)
        self.body.addStretch(1)
        self.refuse_button = self.add_button(_("Refuse"), "outlined", lambda: self._answer(False))
        self.accept_button = self.add_button(_("Accept the risk"), "filled", lambda: self._answer(True))

    def _answer(self, accepted: bool) -> None:
        def done(_answer: object) -> None:
            parent = self.parentWidget() or self
            self.accept()
            toast(parent, _("The channel is being opened") if accepted else _("Refused"), "check")

        def failed(sentence: str) -> None:
            self._banner.say(sentence)
            self.fit()

        self._context.bridge.call(
            "accept_channel_request",
            done,
            failed,
            owner=self,
            temporary_channel_id=self._id,
            accept=accepted,
        )
