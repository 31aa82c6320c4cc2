"""Cards for a payment link or lightning address, and for a node that is paid without an invoice."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from PyQt6.QtCore import Qt

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.pages.contacts import NodeName
from wallet.gui.pages.fee_limit import FeeLimit
from wallet.gui.pages.pay_cards import ChannelWay, PayCard, paid_before_sentence
from wallet.gui.widgets.basic import AmountLabel, Button, Label, button_row, hbox
from wallet.gui.widgets.fields import AmountField, Field, LineEdit
from wallet.gui.widgets.notices import Banner, Facts
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _

__all__ = ["LinkCard", "NodeCard"]


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class _LightningCard(PayCard):
    """The foot that both share: the limit, the banner, the buttons. Attributes: `button`, `amount_field`."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, _("Lightning"), "bolt")
        self.fee_limit = FeeLimit()
        self.fee_limit.changed.connect(self._update)
        self.banner = Banner("", "warning")
        self.button = Button(_("Pay"), "filled", main=True, on_click=self._pay)
        self.cancel = Button(_("Cancel"), "outlined", main=True, on_click=self.cancelled.emit)
        self._reason = Label("", "caption", "text2", wrap=True)
        self.channel_way = ChannelWay(context)
        self.amount_field: AmountField | None = None
        self._field: Field | None = None

    def _add_foot(self) -> None:
        self.box.addWidget(self.fee_limit)
        self.box.addWidget(self.banner)
        self.box.addLayout(button_row(self.button, self.cancel, reason=self._reason))
        self.box.addWidget(self.channel_way)

    def _add_amount(self, help_text: str) -> AmountField:
        field = AmountField(_("Amount"))
        field.amount_changed.connect(lambda _sat: self._update())
        self._field = Field(_("Amount"), field, help_text)
        self.amount_field = field
        return field

    def _amount_msat(self) -> int | None:
        return None if self.amount_field is None else self.amount_field.amount_msat()

    def _problem(self, amount_msat: int | None) -> str:
        can_send_msat = self.context.snapshot.balance.can_send_msat
        if amount_msat is not None and amount_msat > can_send_msat:
            return _("This is more than your channels can send now, which is {amount}.").format(
                amount=fmt.amount(can_send_msat)
            )
        return ""

    def _not_yet(self, amount_msat: int | None) -> str:
        """Why it cannot be paid yet; what is missing."""
        if self.amount_field is not None and not amount_msat and not self.amount_field.problem:
            return _("Type an amount first.")
        return self.fee_limit.problem

    def _update(self) -> None:
        amount_msat = self._amount_msat()
        self.fee_limit.show_for(amount_msat)
        problem = self._problem(amount_msat)
        self.banner.say(problem, "warning")
        self._show_way(problem)
        if self._field is not None and self.amount_field is not None:
            self._field.set_problem(self.amount_field.problem)
        reason = self._not_yet(amount_msat)
        self._reason.setText(reason)
        wrong = "" if self.amount_field is None else self.amount_field.problem
        nothing = "" if amount_msat else _("Type an amount first.")
        tell_why(self.button, problem or wrong or reason or nothing)
        self.button.setText(
            _("Pay {amount}").format(amount=fmt.amount(amount_msat)) if amount_msat else _("Pay")
        )

    def _show_way(self, problem: str) -> None:
        can_send_msat = self.context.snapshot.balance.can_send_msat
        self.channel_way.show_for(lacking=bool(problem) and (self._amount_msat() or 1) > can_send_msat)

    def refresh(self) -> None:
        problem = self._problem(self._amount_msat())
        if problem != self.banner.text():
            self._update()
        else:
            self._show_way(problem)

    def set_first_focus(self) -> None:
        target = self.amount_field if self.amount_field is not None else self.button
        target.setFocus(Qt.FocusReason.OtherFocusReason)

    def _pay(self) -> None: ...


class LinkCard(_LightningCard):
    """A payment link or lightning address: its server is asked what it takes, then the card is filled in.

    Attributes: `comment` where the payee takes one; `again`, to ask once more after a failure.
    """

    def __init__(self, context: Context, found: Mapping[str, Any]) -> None:
        super().__init__(context)
        self._found = found
        self._destination = str(found.get("destination") or "")
        self._shown = fmt.plain(str(found.get("contact") or found.get("shown") or ""), 120)
        self._info: Mapping[str, Any] | None = None
        self._fixed_msat: int | None = None
        self.comment: LineEdit | None = None
        self._facts = Facts(label_width=96)
        self._waiting = Label(
            _("Asking {host} what it takes").format(host=fmt.plain(str(found.get("host") or ""), 80)),
            "body",
            "text2",
            wrap=True,
        )
        self.again = Button(_("Ask again"), "outlined", "refresh", on_click=self._ask)
        self.box.addWidget(self._facts)
        self.box.addWidget(self._waiting)
        self._place = self.box.count()
        self._add_foot()
        self.box.addLayout(hbox(self.again, "stretch"))
        fallback = found.get("fallback")
        self.onchain: Button | None = None
        if isinstance(fallback, Mapping):
            sentence = paid_before_sentence(fallback.get("paid_before"))
            if sentence:
                self.box.insertWidget(
                    self.box.indexOf(self.fee_limit),
                    Banner(
                        _("{sent} It belongs to the same request: paying here as well pays it twice.").format(
                            sent=sentence
                        ),
                        "warning",
                    ),
                )
            self.onchain = Button(
                _("Pay on chain instead"),
                "outlined",
                "chain",
                on_click=lambda: self.instead.emit(dict(fallback)),
            )
            self.box.addLayout(hbox(self.onchain, "stretch"))
        self._facts.show_facts([(_("To"), self._shown)])
        self.fee_limit.hide()
        self._ask()

    def _ask(self) -> None:
        self.again.hide()
        self.banner.say("")
        self._waiting.show()
        tell_why(self.button, self._waiting.text())
        self._reason.setText("")

        def failed(sentence: str) -> None:
            tell_why(self.button, sentence)
            self._waiting.hide()
            self.banner.say(sentence, "warning")
            self.again.show()

        self.context.bridge.call("lnurlp_info", self._fill, failed, owner=self, destination=self._destination)

    def _fill(self, info: Any) -> None:
        if not isinstance(info, Mapping) or self._info is not None:
            return
        self._info = info
        self._waiting.hide()
        self.fee_limit.show()
        least_msat, most_msat = int(info["min_msat"]), int(info["max_msat"])
        facts: list[tuple[str, Any]] = [(_("To"), self._shown)]
        host = fmt.plain(str(info.get("host") or ""), 120)
        if host and host not in self._shown:
            facts.append((_("Server"), host))
        description = fmt.foreign(str(info.get("description") or ""), 300)
        if description:
            facts.append((_("For"), description))
        self._facts.show_facts(facts)
        place = self.box.indexOf(self._facts)
        if least_msat == most_msat:
            self._fixed_msat = least_msat
            amount = AmountLabel("amount")
            amount.set_msat(least_msat)
            self.box.insertWidget(place, amount)
        else:
            field = self._add_amount(
                _("From {least} to {most}.").format(
                    least=fmt.amount(-(-least_msat // 1000) * 1000), most=fmt.amount(most_msat)
                )
            )
            if self._field is not None:
                self.box.insertWidget(place, self._field)
            wished_sat = _whole(self._found.get("amount_sat"))
            if wished_sat is not None:
                field.set_amount_sat(wished_sat)
        length = _whole(info.get("comment_length")) or 0
        if length > 0:
            self.comment = LineEdit(_("Message to the payee"), "")
            self.comment.setMaxLength(length)
            self.box.insertWidget(
                self.box.indexOf(self.fee_limit),
                Field(
                    _("Message to the payee"),
                    self.comment,
                    _("The payee reads it. Up to {n} characters; leave it empty if you like.").format(
                        n=length
                    ),
                ),
            )
        self._update()
        if self.isVisible():
            self.set_first_focus()

    def _amount_msat(self) -> int | None:
        return self._fixed_msat if self._fixed_msat is not None else super()._amount_msat()

    def _problem(self, amount_msat: int | None) -> str:
        info = self._info
        if (
            info is not None
            and amount_msat
            and not int(info["min_msat"]) <= amount_msat <= int(info["max_msat"])
        ):
            return _("The payee takes from {least} to {most}.").format(
                least=fmt.amount(-(-int(info["min_msat"]) // 1000) * 1000),
                most=fmt.amount(int(info["max_msat"])),
            )
        return super()._problem(amount_msat)

    def refresh(self) -> None:
        if self._info is not None:
            super().refresh()

    def set_first_focus(self) -> None:
        if self._info is None:
            self.cancel.setFocus(Qt.FocusReason.OtherFocusReason)
        else:
            super().set_first_focus()

    def _pay(self) -> None:
        amount_msat = self._amount_msat()
        if not amount_msat:
            return
        arguments: dict[str, Any] = {"destination": self._destination, "amount_msat": amount_msat}
        if self.comment is not None and self.comment.text().strip():
            arguments["comment"] = self.comment.text().strip()
        self.pay.emit(
            {
                "kind": "lnurlp",
                "ask": arguments,
                "arguments": {"max_fee_msat": self.fee_limit.limit_msat()},
                "amount_msat": amount_msat,
                "payee": self._shown,
                "host": str(self._found.get("host") or ""),
                "payment_hash": None,
                "contact": None if self._found.get("contact") else self._destination,
            }
        )


class NodeCard(_LightningCard):
    """A node's id: an amount is all that is needed to pay it. Attribute: `open`, a channel to it instead."""

    def __init__(self, context: Context, found: Mapping[str, Any]) -> None:
        super().__init__(context)
        self._found = found
        self._node_id = str(found.get("node_id") or "")
        self._can = False
        self.to = NodeName(context, self._node_id, str(found.get("payee_alias") or ""))
        self._add_amount(
            _("Sent without an invoice: nothing says what it is for, and there is no proof of payment.")
        )
        if self._field is not None:
            self.box.addWidget(self._field)
        self.box.addWidget(self.to)
        self._add_foot()
        self.open = Button(
            _("Open a channel to it"),
            "outlined",
            "channels",
            on_click=lambda: context.open_channel(self._node_id),
        )
        self.box.addLayout(hbox(self.open, "stretch"))
        self._update()

        def known(answer: Any) -> None:
            self._can = isinstance(answer, Mapping) and "keysend" in answer
            self._update()

        context.bridge.call("help", known, lambda _sentence: None, owner=self)

    def _problem(self, amount_msat: int | None) -> str:
        if not self._found.get("can_pay", True):
            return fmt.plain(str(self._found.get("why_not") or ""), 300)
        return super()._problem(amount_msat)

    def _show_way(self, problem: str) -> None:
        """A channel to the node itself is offered in any case."""

    def _not_yet(self, amount_msat: int | None) -> str:
        if not self._can:
            return _(
                "This Leyden cannot pay a node without an invoice. Ask for an invoice, or open a channel."
            )
        return super()._not_yet(amount_msat)

    def _pay(self) -> None:
        amount_msat = self._amount_msat()
        if not amount_msat:
            return
        # Drawn here, so that the payment's hash is known while it is under way, and with it the route it takes.
        preimage = secrets.token_bytes(32)
        self.pay.emit(
            {
                "kind": "keysend",
                "arguments": {
                    "node_id": self._node_id,
                    "amount_msat": amount_msat,
                    "max_fee_msat": self.fee_limit.limit_msat(),
                    "preimage": preimage.hex(),
                },
                "amount_msat": amount_msat,
                "payee": self.to.name,
                "payment_hash": hashlib.sha256(preimage).hexdigest(),
                "contact": None if self._found.get("contact") else self._node_id,
            }
        )
