"""Buying a channel: name a seller, see its terms, see the price, pay. bLIP 51's steps, one at a time, each with one
filled button: what was settled before is a line above, with a button to change it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.tokens import S4
from wallet.gui.widgets.basic import AmountLabel, Button, Label, vbox
from wallet.gui.widgets.beside import Beside
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.fields import AmountField, Field, LineEdit, Segments
from wallet.gui.widgets.notices import Banner, Facts, toast
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _

__all__ = ["BuyChannelDialog"]

BOUGHT_SAT = 1_000_000
LABEL_WIDTH = 176
LIGHTNING, ONCHAIN = "lightning", "onchain"
PRIVATE, PUBLIC = "private", "public"


_KINDS: dict[str, Callable[[], str]] = {
    PRIVATE: lambda: _("Only those whom you ask for a payment. Right for a wallet that receives and pays."),
    PUBLIC: lambda: _("Everybody: the channel and its size stand in the public map, under your node's id."),
}


class BuyChannelDialog(Dialog):
    """Attributes: `seller`, `amount_field`, `kind` (private or public), `buy_button` (which asks, then orders, then
    pays), `way` (how to pay), `change` (a step back), `offer` and `order` as the node answered; `earlier` tells of
    orders that are under way."""

    def __init__(self, parent: QWidget, context: Context) -> None:
        super().__init__(parent, _("Buy a channel"), network=context.network)
        self._context = context
        self._busy = ""
        self.offer: dict[str, Any] | None = None
        self.order: dict[str, Any] | None = None
        sentence = _(
            "Somebody who sells channels opens one to you, filled on their side: you can receive that much at once."
        )
        self._intro = Label(sentence, "body", "text2", wrap=True)
        self.body.addWidget(self._intro)
        self.earlier = Banner("", "info")
        self.body.addWidget(self.earlier)
        self.seller = LineEdit(_("Seller"), _("node id@host:port"), mono=True)
        self._seller_row = Field(
            _("Whom you buy from"), self.seller, _("A node that sells channels tells you its address.")
        )
        self.body.addWidget(self._seller_row)
        self._settled = QWidget()
        self._settled_text = Label("", "strong", wrap=True)
        self.change = Button("", "text", small=True, on_click=self._step_back)
        self._settled.setLayout(Beside(self._settled_text, self.change, spacing=S4))
        self.body.addWidget(self._settled)
        self._terms = QWidget()
        self._terms_facts = Facts(label_width=LABEL_WIDTH)
        self.amount_field = AmountField(_("Size"))
        self._amount_row = Field(_("How much you want to receive"), self.amount_field)
        self.kind = Segments(
            _("Private or public"), [(PRIVATE, _("Private")), (PUBLIC, _("Public"))], PRIVATE
        )
        self._kind_row = Field(_("Who learns of it"), self.kind, _KINDS[PRIVATE]())
        self._terms.setLayout(vbox(self._terms_facts, self._amount_row, self._kind_row, spacing=S4))
        self.body.addWidget(self._terms)
        self._price_box = QWidget()
        self._price = AmountLabel("amount")
        self._price_facts = Facts(label_width=LABEL_WIDTH)
        self.way = Segments(_("Pay"), [(LIGHTNING, _("Over Lightning")), (ONCHAIN, _("On chain"))], LIGHTNING)
        self._price_box.setLayout(
            vbox(Label(_("Price"), "caption", "text2"), self._price, self.way, self._price_facts)
        )
        self.body.addWidget(self._price_box)
        self.banner = Banner("", "warning")
        self.body.addWidget(self.banner)
        self.body.addStretch(1)
        self.add_cancel()
        self.buy_button = self.add_button(_("Ask for the terms"), "filled", self._go_on)
        self.amount_field.set_amount_sat(BOUGHT_SAT, quietly=True)
        self.seller.textChanged.connect(lambda _text: self._seller_changed())
        self.amount_field.amount_changed.connect(lambda _sat: self._amount_changed())
        self.kind.chosen.connect(lambda _key: self._kind_changed())
        self.way.chosen.connect(lambda _key: self._show())
        self._show()
        context.bridge.call("list_orders", self._tell_earlier, None, owner=self)
        sandbox = context.bridge.api.sandbox()
        if sandbox is not None:
            # The practice network's hub sells: its terms are asked for at once.
            self.seller.setText(sandbox.hub_uri())
            self._ask()
        else:
            self.seller.setFocus(Qt.FocusReason.OtherFocusReason)

    # --- what is shown --------------------------------------------------------------

    def _tell_earlier(self, orders: list[dict[str, Any]]) -> None:
        """Orders that are paid and not there yet, or that ended without a channel."""
        told = [item for item in orders if item["status"] == "paying" or item["problem"] or item.get("late")]
        self.earlier.say(" ".join(fmt.plain(str(item["sentence"]), 400) for item in told[:2]))
        self._show()

    def _show(self) -> None:
        # Each step takes the place of the one before, so that it is seen whole in a small window.
        for widget in (self._intro, self._seller_row):
            widget.setVisible(self.offer is None)
        self.earlier.setVisible(self.order is None and bool(self.earlier.text()))
        self._settled.setVisible(self.offer is not None)
        self._terms.setVisible(self.offer is not None and self.order is None)
        self._price_box.setVisible(self.order is not None)
        if self.order is not None:
            self._show_price(self.order)
        elif self.offer is not None:
            self._settled_text.setText(self._seller_name(self.offer))
            self.change.setText(_("Another seller"))
        texts = (_("Ask for the terms"), _("Show the price"))
        if self.order is not None:
            text = _("Buy for {price}").format(price=fmt.amount_sat(self._total_sat()))
        else:
            text = texts[self.offer is not None]
        self.buy_button.setText(text)
        reason = self._busy or self._why_not()
        tell_why(self.buy_button, reason, self.reason)
        self.fit()

    def _why_not(self) -> str:
        if not self.seller.text().strip():
            return _("Name the seller first.")
        offer = self.offer
        if offer is None:
            return ""
        if self.amount_field.problem:
            return self.amount_field.problem
        size_sat = self.amount_field.amount_sat() or 0
        if not size_sat:
            return _("Say how much first.")
        if not int(offer["min_sat"]) <= size_sat <= int(offer["max_sat"]):
            return _("This seller's channels have {least} to {most} to receive.").format(
                least=fmt.amount_sat(int(offer["min_sat"])), most=fmt.amount_sat(int(offer["max_sat"]))
            )
        if self.order is not None:
            return self._why_not_paid()
        return ""

    def _why_not_paid(self) -> str:
        balance = self._context.snapshot.balance
        total_sat = self._total_sat()
        if self.way.current() == LIGHTNING and total_sat * 1000 > balance.can_send_msat:
            return _("Your channels do not reach for the price. Pay on chain instead.")
        if self.way.current() == ONCHAIN and total_sat > balance.onchain_spendable_sat:
            return _("Your on-chain coins do not reach for the price. Get some first.")
        return ""

    def _chosen(self) -> dict[str, Any]:
        """The terms of the way that is chosen."""
        found: dict[str, Any] = {} if self.order is None else self.order[self.way.current()] or {}
        return found

    def _total_sat(self) -> int:
        return int(self._chosen().get("total_sat", 0))

    def _show_terms(self, offer: dict[str, Any]) -> None:
        sizes = _("{least} to {most}").format(
            least=fmt.amount_sat(int(offer["min_sat"])), most=fmt.amount_sat(int(offer["max_sat"]))
        )
        self._terms_facts.show_facts(
            [
                (_("To receive"), sizes),
                (_("Kept open, at most"), fmt.blocks_long(int(offer["max_expiry_blocks"]))),
            ]
        )

    @staticmethod
    def _seller_name(offer: dict[str, Any]) -> str:
        return _("From {name}").format(name=fmt.node_name(str(offer["alias"]), str(offer["node_id"])))

    def _show_price(self, order: dict[str, Any]) -> None:
        words = (
            _("A public channel from {name}, {amount} to receive")
            if order["public"]
            else _("A private channel from {name}, {amount} to receive")
        )
        name = fmt.node_name(str(order["alias"]), str(order["node_id"]))
        self._settled_text.setText(words.format(name=name, amount=fmt.amount_sat(int(order["amount_sat"]))))
        self.change.setText(_("Change it"))
        for key in (LIGHTNING, ONCHAIN):
            missing = order[key] is None
            tell_why(self.way.button(key), _("The seller does not take this way to pay.") if missing else "")
        terms = self._chosen()
        self._price.set_sat(self._total_sat())
        on_lightning = self.way.current() == LIGHTNING
        safety = (
            _("An honest seller takes the money only once the channel is funded.")
            if on_lightning
            else _("The seller gets the money first. If the channel fails, it has to send it back.")
        )
        # What the network takes comes on top of the seller's price.
        ways: dict[str, Any] = order.get("ways") or {}
        extra_sat = ways.get("routing_fee_sat_at_most" if on_lightning else "mining_fee_sat")
        extra = _("On the way, at most") if on_lightning else _("Network fee")
        fee_msat, size_msat = int(terms.get("fee_sat", 0)) * 1000, int(order["amount_sat"]) * 1000
        ours_sat = int(order.get("client_sat") or 0)
        facts: list[tuple[str, QWidget | str]] = [
            (_("Of this, the fee"), fmt.fee_with_share(fee_msat, size_msat)),
            *([(_("Yours, on your side of it"), fmt.amount_sat(ours_sat))] if ours_sat else []),
            *([] if extra_sat is None else [(extra, fmt.amount_sat(int(extra_sat)))]),
            (_("Kept open for"), fmt.blocks_long(int(order["expiry_blocks"]))),
            (_("The offer ends"), fmt.date_time(int(order["expires_at"]))),
            (_("Your safety"), safety),
        ]
        self._price_facts.show_facts(facts)

    # --- steps --------------------------------------------------------------------------

    def _seller_changed(self) -> None:
        self.offer = self.order = None
        self.banner.say("")
        self._show()

    def _kind_changed(self) -> None:
        self._kind_row.set_help(_KINDS[self.kind.current()]())
        self.order = None
        self._show()

    def _step_back(self) -> None:
        """From the price to what is ordered, from there to the seller."""
        if self.order is not None:
            self.order = None
            target: QWidget = self.amount_field
        else:
            self.offer = None
            target = self.seller
        self.banner.say("")
        self._show()
        target.setFocus(Qt.FocusReason.OtherFocusReason)

    def _amount_changed(self) -> None:
        self._amount_row.set_problem(self.amount_field.problem)
        self.order = None
        self._show()

    def _go_on(self) -> None:
        if self.order is not None:
            self._pay(self.order)
        elif self.offer is not None:
            self._ask_price()
        else:
            self._ask()

    def _wait(self, sentence: str) -> None:
        """While an answer is awaited nothing that it depends on can be changed."""
        self._busy = sentence
        for control in (self.seller, self.amount_field, self.kind, self.way, self.change):
            tell_why(control, sentence)
        self._show()

    def _failed(self, sentence: str) -> None:
        self._wait("")
        self.banner.say(sentence, "danger")
        self.fit()

    def _ask(self) -> None:
        def done(offer: dict[str, Any]) -> None:
            self.offer = offer
            self._show_terms(offer)
            self._wait("")
            self.amount_field.setFocus(Qt.FocusReason.OtherFocusReason)

        self.banner.say("")
        self._wait(_("Asking the seller: at most a minute."))
        self._context.bridge.call(
            "channel_offer", done, self._failed, owner=self, peer=self.seller.text().strip()
        )

    def _ask_price(self) -> None:
        def done(order: dict[str, Any]) -> None:
            self.order = order
            self.way.choose(self._better_way(order))
            self._wait("")
            self.to_top()
            self.buy_button.setFocus(Qt.FocusReason.OtherFocusReason)

        self.banner.say("")
        self._wait(_("Asking for the price: at most a minute."))
        self._context.bridge.call(
            "buy_channel",
            done,
            self._failed,
            owner=self,
            peer=self.seller.text().strip(),
            amount_sat=self.amount_field.amount_sat() or 0,
            public=self.kind.current() == PUBLIC,
        )

    def _better_way(self, order: dict[str, Any]) -> str:
        """Over Lightning where that reaches: there the seller is paid only for a channel."""
        terms = order[LIGHTNING]
        can_send_msat = self._context.snapshot.balance.can_send_msat
        reaches = terms is not None and int(terms["total_sat"]) * 1000 <= can_send_msat
        return LIGHTNING if reaches or order[ONCHAIN] is None else ONCHAIN

    def _pay(self, order: dict[str, Any]) -> None:
        def done(paid: dict[str, Any]) -> None:
            parent = self.parentWidget() or self
            self.accept()
            toast(parent, fmt.plain(str(paid["sentence"]), 300), "check")

        def failed(sentence: str) -> None:
            # What became of the order is its own: the next try begins with a new one.
            self.order = None
            self._failed(sentence)

        self.banner.say("")
        self._wait(_("Paying, and waiting for the seller to open it."))
        self._context.bridge.call(
            "pay_order", done, failed, owner=self, order_id=str(order["order_id"]), pay=self.way.current()
        )
