"""Ways to be able to receive more: spend from a channel, have a node open one to us, or buy one (`buy_channel.py`)."""

from __future__ import annotations

from typing import Any

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.pages.buy_channel import BuyChannelDialog
from wallet.gui.tokens import S2
from wallet.gui.widgets.basic import Button, Flow, Label, vbox
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.fields import Field, LineEdit
from wallet.gui.widgets.ids import CopyId
from wallet.gui.widgets.notices import Banner
from wallet.gui.widgets.qr import QrCode, QrWindow
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _

__all__ = ["AskForChannelDialog", "WaysToReceive"]

ID_QR_SIDE = 200


class WaysToReceive(QWidget):
    """Attributes: `spend`, `ask`, `buy`."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self.spend = Button(_("Spend from a channel"), "outlined", "send", small=True, on_click=self._spend)
        self.ask = Button(
            _("Have a node open one to you"), "outlined", "peer", small=True, on_click=self._ask
        )
        self.buy = Button(_("Buy a channel"), "outlined", "shop", small=True, on_click=self._buy)
        row = QWidget()
        row.setLayout(Flow(self.spend, self.ask, self.buy, spacing=S2))
        self.setLayout(
            vbox(Label(_("Ways to receive more over Lightning"), "caption", "text2"), row, spacing=S2)
        )

    def refresh(self) -> None:
        """Without a channel there is nothing to spend from."""
        self.spend.setVisible(self._context.snapshot.balance.can_send_msat > 0)

    def _spend(self) -> None:
        self._context.go("send")

    def _ask(self) -> None:
        AskForChannelDialog(self, self._context).open()

    def _buy(self) -> None:
        BuyChannelDialog(self, self._context).open()


class AskForChannelDialog(Dialog):
    """Connects to a node and shows our id for its owner. Attributes: `peer`, `connect_button`, `code`."""

    def __init__(self, parent: QWidget, context: Context) -> None:
        super().__init__(parent, _("Have a node open a channel to you"), network=context.network)
        self._context = context
        sentence = _(
            "A channel that somebody else opens to you is room to receive. Connect to their node first, then give them "
            "your node's id: they open the channel, and pay for it."
        )
        self.body.addWidget(Label(sentence, "body", "text2", wrap=True))
        self.peer = LineEdit(_("Node"), _("node id@host:port"), mono=True)
        self.connect_button = Button(_("Connect"), "filled", on_click=self._connect)
        self.body.addWidget(
            Field(_("Their node"), self.peer, _("They tell you its address."), beside=self.connect_button)
        )
        self._told = Banner("", "info")
        self.body.addWidget(self._told)
        node_id = context.snapshot.status.node_id
        self._own = QWidget()
        self.code = QrCode(side=ID_QR_SIDE, on_click=self._enlarge)
        self.code.setAccessibleName(_("QR code of your node's id"))
        self.code.show_text(node_id)
        box = vbox(Label(_("Your node's id, for them"), "strong"), spacing=S2)
        box.addWidget(self.code, 0, Qt.AlignmentFlag.AlignHCenter)
        box.addWidget(CopyId(_("Your node's id"), node_id), 0, Qt.AlignmentFlag.AlignHCenter)
        self._own.setLayout(box)
        self._own.hide()
        self.body.addWidget(self._own)
        self.body.addStretch(1)
        self.add_cancel(_("Close"))
        self.peer.textChanged.connect(lambda _text: self._update())
        self.peer.returnPressed.connect(lambda: self._connect() if self.connect_button.isEnabled() else None)
        self._update()
        self.peer.setFocus(Qt.FocusReason.OtherFocusReason)

    def _update(self) -> None:
        empty = not self.peer.text().strip()
        tell_why(self.connect_button, _("Name their node first.") if empty else "", self.reason)

    def _enlarge(self) -> None:
        QrWindow(self.code.text(), fmt.network_word(self._context.network), self).showFullScreen()

    def _connect(self) -> None:
        tell_why(self.connect_button, _("Connecting: at most a minute."), self.reason)

        def done(_answer: Any) -> None:
            tell_why(self.connect_button, "", self.reason)
            self._told.say(_("Connected. Stay online until the channel is open: Leyden says so."), "success")
            self._own.show()
            self.fit()

        def failed(sentence: str) -> None:
            self._update()
            self._told.say(sentence, "warning")
            self.fit()

        self._context.bridge.call(
            "add_peer", done, failed, owner=self, connection_string=self.peer.text().strip()
        )
