"""What was recognised, as a card: whom, what for, how much, the fee at most, over which layer; and the
button.

A Lightning card is the confirmation. One for an address is filled in first (amount, speed), then shown once
more as it will be sent, because a transaction cannot be taken back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PyQt6.QtCore import Qt, QTimer, pyqtSignal
from PyQt6.QtWidgets import QVBoxLayout, QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.describe import CLOSED
from wallet.gui.pages.coin_choice import CoinChoice
from wallet.gui.pages.contacts import NodeName
from wallet.gui.pages.fee_limit import FeeLimit
from wallet.gui.theme import theme
from wallet.gui.tokens import S3, S4
from wallet.gui.widgets.basic import (
    AmountLabel,
    Button,
    Card,
    Flow,
    Label,
    Pill,
    Rule,
    button_row,
    discard,
    hbox,
    vbox,
)
from wallet.gui.widgets.fields import AmountField, Field, LineEdit, Segments
from wallet.gui.widgets.ids import CopyId, DetailsList, Fold
from wallet.gui.widgets.notices import Banner, Facts
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _, ngettext

__all__ = ["ChannelWay", "InvoiceCard", "OnchainCard", "PayCard", "paid_before_sentence"]

QUOTE_AFTER_MS = 200
AGES_MS = 10_000
SPEEDS = {"fast": 1, "hour": 6, "day": 144}
_RATE = re.compile(r"[0-9]{1,4}(\.[0-9]{1,2})?")


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def paid_before_sentence(before: Any) -> str:
    """What this wallet has sent to an address already; empty for nothing. Whoever pays twice should mean it."""
    if not isinstance(before, Mapping):
        return ""
    times = _whole(before.get("times")) or 1
    amount, when = fmt.amount_sat(int(before.get("amount_sat") or 0)), fmt.ago(int(before.get("at") or 0))
    if times > 1:
        return ngettext(
            "You have sent coins to this address {n} time, most recently {amount}, {when}.",
            "You have sent coins to this address {n} times, most recently {amount}, {when}.",
            times,
        ).format(n=times, amount=amount, when=when)
    return _("You have sent {amount} to this address already, {when}.").format(amount=amount, when=when)


class PayCard(Card):
    """Signals: `pay(dict)`, `cancelled()`; `instead(dict)`, what else was recognised, to be paid in its place."""

    pay = pyqtSignal(object)
    cancelled = pyqtSignal()
    instead = pyqtSignal(object)

    def __init__(self, context: Context, layer: str, icon: str) -> None:
        self.box: QVBoxLayout = vbox(spacing=S4)
        super().__init__(self.box)
        self.context = context
        pills = [Pill(layer, "accent", icon)]
        word = fmt.network_word(context.network)
        if word:
            pills.append(Pill(word, "play", "sandbox"))
        self.box.addLayout(Flow(*pills))

    def set_first_focus(self) -> None: ...

    def refresh(self) -> None: ...


class ChannelWay(QWidget):
    """What helps where the channels cannot send an amount: another channel, or a look at those that are not ready.
    Attributes: `button`, in sight while `show_for` was told of a lack."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self._waits = False
        self.button = Button("", "outlined", "channels", on_click=self._go)
        self.setLayout(hbox(self.button, "stretch"))
        self.hide()

    def show_for(self, *, lacking: bool) -> None:
        self._waits = any(
            channel.phase not in CLOSED and not channel.is_usable
            for channel in self._context.snapshot.channels
        )
        self.button.setText(_("To the channels") if self._waits else _("Open a channel"))
        self.setVisible(lacking)

    def _go(self) -> None:
        if self._waits:
            self._context.go("channels")
        else:
            self._context.open_channel("")


class InvoiceCard(PayCard):
    """A BOLT 11 invoice."""

    def __init__(self, context: Context, text: str, invoice: Mapping[str, Any]) -> None:
        super().__init__(context, _("Lightning"), "bolt")
        self._text = text
        self._invoice = invoice
        self._fixed_msat = _whole(invoice.get("amount_msat"))
        self.amount_field: AmountField | None = None
        if self._fixed_msat is not None:
            amount = AmountLabel("amount")
            amount.set_msat(self._fixed_msat)
            self.box.addWidget(amount)
        else:
            self.amount_field = AmountField(_("Amount"))
            self.amount_field.amount_changed.connect(lambda _sat: self._update())
            self._field = Field(_("Amount"), self.amount_field, _("The invoice leaves it to you."))
            self.box.addWidget(self._field)
        payee = str(invoice.get("payee") or "")
        self._to = NodeName(context, payee, str(invoice.get("payee_alias") or ""))
        self.box.addWidget(self._to)
        self._facts = Facts(label_width=96)
        self.box.addWidget(self._facts)
        self.fee_limit = FeeLimit()
        self.fee_limit.changed.connect(self._update)
        self.box.addWidget(self.fee_limit)
        self._banner = Banner("", "warning")
        self.box.addWidget(self._banner)
        self.twice = self._make_twice()
        self.button = Button(_("Pay"), "filled", main=True, on_click=self._pay)
        self.cancel = Button(_("Cancel"), "outlined", main=True, on_click=self.cancelled.emit)
        self._reason = Label("", "caption", "text2", wrap=True)
        self.box.addLayout(button_row(self.button, self.cancel, reason=self._reason))
        self.way_on = self._make_way_on()
        if self.way_on is not None:
            self.box.addLayout(hbox(self.way_on, "stretch"))
        self.channel_way = ChannelWay(context)
        self.box.addWidget(self.channel_way)
        self._lacked = self._is_lacking(self._amount_msat())
        details = DetailsList(
            [
                (_("Payee"), payee),
                (_("Payment hash"), str(invoice.get("payment_hash") or "")),
                (_("Invoice"), text),
            ]
        )
        self.box.addWidget(Fold(_("Details"), details))
        # How long it can still be paid is told anew while nobody does anything.
        self.ages = QTimer(self)
        self.ages.setInterval(AGES_MS)
        self.ages.timeout.connect(self._update)
        self.ages.start()
        self._update()

    def _amount_msat(self) -> int | None:
        if self._fixed_msat is not None:
            return self._fixed_msat
        return None if self.amount_field is None else self.amount_field.amount_msat()

    def _make_twice(self) -> Banner | None:
        """The same link may be paid on chain already: paying it here as well has to be meant."""
        fallback = self._invoice.get("fallback")
        before = fallback.get("paid_before") if isinstance(fallback, Mapping) else None
        sentence = paid_before_sentence(before)
        if not isinstance(before, Mapping) or not sentence:
            return None
        item_id = f"tx:{before.get('txid')}"
        banner = Banner(
            _("{sent} It belongs to the same request: paying here as well pays it twice.").format(
                sent=sentence
            ),
            "warning",
            _("Show the payment"),
            lambda: self.context.show_item(item_id),
        )
        self.box.addWidget(banner)
        return banner

    def _make_way_on(self) -> Button | None:
        """What can be done with an invoice that is not to be paid, or paid otherwise."""
        invoice = self._invoice
        payment_hash = str(invoice.get("payment_hash") or "")
        if invoice.get("already_paid") or invoice.get("pending"):
            return Button(
                _("Show the payment"),
                "outlined",
                "activity",
                on_click=lambda: self.context.show_item(f"ln:{payment_hash}"),
            )
        if invoice.get("own"):
            return Button(
                _("Go to Receive"), "outlined", "receive", on_click=lambda: self.context.go("receive")
            )
        if invoice.get("expired"):
            return Button(_("Use another invoice"), "outlined", "refresh", on_click=self.cancelled.emit)
        fallback = invoice.get("fallback")
        if isinstance(fallback, Mapping) and self.twice is None:
            return Button(
                _("Pay on chain instead"),
                "outlined",
                "chain",
                on_click=lambda: self.instead.emit(dict(fallback)),
            )
        return None

    def _max_fee_msat(self, amount_msat: int | None) -> int:
        """The person's word; else the node's; else the larger of 1 % and 10 sat."""
        given_msat = _whole(self._invoice.get("max_fee_msat"))
        self.fee_limit.show_for(amount_msat, given_msat if self._fixed_msat is not None else None)
        return self.fee_limit.limit_msat()

    def _is_expired(self) -> bool:
        """By now: a card may stay open for long."""
        expires_at = _whole(self._invoice.get("expires_at"))
        return bool(self._invoice.get("expired")) or (expires_at is not None and expires_at <= fmt.now())

    def _is_lacking(self, amount_msat: int | None) -> bool:
        """Whether it is the channels, and nothing about the invoice, that cannot send the amount now."""
        invoice = self._invoice
        refused = any(invoice.get(word) for word in ("already_paid", "pending", "own")) or self._is_expired()
        return not refused and (amount_msat or 1) > self.context.snapshot.balance.can_send_msat

    def is_to_be_asked_again(self) -> bool:
        """The node refused it for want of a channel, and by now there is one."""
        amount_msat = self._amount_msat()
        refused = not self._invoice.get("can_pay", True)
        return refused and self._lacked and not self._is_expired() and not self._is_lacking(amount_msat)

    def _problem(self, amount_msat: int | None) -> str:
        invoice = self._invoice
        if self._is_expired():
            return _("This invoice has expired. Ask for a new one.")
        if not invoice.get("can_pay", True):
            return fmt.plain(str(invoice.get("why_not") or ""), 300) or _(
                "This invoice cannot be paid from here."
            )
        can_send_msat = self.context.snapshot.balance.can_send_msat
        if amount_msat is not None and amount_msat > can_send_msat:
            return _("This is more than your channels can send now, which is {amount}.").format(
                amount=fmt.amount(can_send_msat)
            )
        return ""

    def _update(self) -> None:
        amount_msat = self._amount_msat()
        facts: list[tuple[str, QWidget | str]] = []
        description = fmt.foreign(str(self._invoice.get("description") or ""), 300)
        if description:
            facts.append((_("For"), description))
        self._max_fee_msat(amount_msat)
        expires_at = _whole(self._invoice.get("expires_at"))
        if expires_at is not None and not self._is_expired():
            facts.append((_("Expires"), fmt.until(expires_at)))
        self._facts.show_facts(facts)
        problem = self._problem(amount_msat)
        self._banner.say(problem, "warning")
        self.channel_way.show_for(lacking=bool(problem) and self._is_lacking(amount_msat))
        reason = ""
        if self.amount_field is not None:
            self._field.set_problem(self.amount_field.problem)
            if not amount_msat and not self.amount_field.problem:
                reason = _("Type an amount first.")
        reason = reason or self.fee_limit.problem
        self._reason.setText(reason)
        wrong = "" if self.amount_field is None else self.amount_field.problem
        nothing = "" if amount_msat else _("Type an amount first.")
        tell_why(self.button, problem or wrong or reason or nothing)
        words = _("Pay {amount}") if self.twice is None else _("Pay {amount} all the same")
        self.button.setText(words.format(amount=fmt.amount(amount_msat)) if amount_msat else _("Pay"))

    def refresh(self) -> None:
        amount_msat = self._amount_msat()
        problem = self._problem(amount_msat)
        if problem != self._banner.text():
            self._update()
        else:
            self.channel_way.show_for(lacking=bool(problem) and self._is_lacking(amount_msat))

    def set_first_focus(self) -> None:
        target = self.amount_field if self.amount_field is not None else self.button
        target.setFocus(Qt.FocusReason.OtherFocusReason)

    def _pay(self) -> None:
        amount_msat = self._amount_msat()
        if not amount_msat:
            return
        arguments: dict[str, Any] = {"invoice": self._text, "max_fee_msat": self._max_fee_msat(amount_msat)}
        if self._fixed_msat is None:
            arguments["amount_msat"] = amount_msat
        self.pay.emit(
            {
                "arguments": arguments,
                "amount_msat": amount_msat,
                "payee": self._to.name,
                "payment_hash": self._invoice.get("payment_hash"),
                "fallback": self._invoice.get("fallback"),
            }
        )


class OnchainCard(PayCard):
    """An address: amount and speed, the quote, then once more all of it before it leaves."""

    def __init__(self, context: Context, address: Mapping[str, Any]) -> None:
        super().__init__(context, _("On chain"), "chain")
        self._address = str(address.get("address") or "")
        self._label = fmt.plain(str(address.get("label") or ""), 120)
        self._all = False
        self._asked = 0
        self._quote: Mapping[str, Any] | None = None
        self._content = QWidget()
        sentence = paid_before_sentence(address.get("paid_before"))
        if sentence:
            txid = str(address["paid_before"].get("txid") or "")
            self.box.addWidget(
                Banner(sentence, "info", _("Show the payment"), lambda: self.context.show_item(f"tx:{txid}"))
            )
        self.box.addWidget(self._content)
        self.amount_field = AmountField(_("Amount"))
        given_sat = _whole(address.get("amount_sat"))
        if given_sat is not None:
            self.amount_field.set_amount_sat(given_sat)
        self.amount_field.amount_changed.connect(self._typed)
        self.all_button = Button(_("All"), "outlined", tall=True, name=_("Send all"), on_click=self._send_all)
        self._amount_row = Field(_("Amount"), self.amount_field, beside=self.all_button)
        self.speed = Segments(
            _("Speed"),
            [
                ("fast", _("About 10 minutes")),
                ("hour", _("An hour")),
                ("day", _("A day")),
                ("own", _("Own rate")),
            ],
            "hour",
        )
        self.speed.chosen.connect(lambda _key: self._ask())
        self.rate = LineEdit(_("Fee rate in sat per vbyte"), "1.5")
        self.rate.setMaximumWidth(theme().px(72))
        self.rate.setVisible(False)
        self._rate_unit = Label(_("sat/vB"), "body", "text2")
        self._rate_unit.setVisible(False)
        self.rate.textChanged.connect(lambda _text: self._ask())
        self.coins = CoinChoice(context)
        self.coins.changed.connect(self._ask)
        self.note = LineEdit(_("Note for yourself"), _("What it is for"))
        self.note.setText(self._label)
        self._facts = Facts(label_width=96)
        self._banner = Banner("", "warning")
        self._reason = Label("", "caption", "text2", wrap=True)
        self.review = Button(_("Review"), "filled", main=True, on_click=self._show_review)
        self.cancel = Button(_("Cancel"), "outlined", main=True, on_click=self.cancelled.emit)
        self.button: Button | None = None
        rows = vbox(spacing=S4)
        rows.addWidget(self._to_row())
        rows.addWidget(self._amount_row)
        rows.addLayout(
            vbox(
                Label(_("Confirms in"), "button"),
                hbox(self.speed, "stretch"),
                hbox(self.rate, self._rate_unit, "stretch"),
                spacing=6,
            )
        )
        rows.addWidget(Field(_("Note for yourself"), self.note))
        rows.addWidget(self.coins)
        rows.addWidget(self._facts)
        rows.addWidget(self._banner)
        rows.addLayout(button_row(self.review, self.cancel, reason=self._reason))
        self._content.setLayout(rows)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(QUOTE_AFTER_MS)
        self._timer.timeout.connect(self._fetch)
        self._ask()

    def _to_row(self) -> QWidget:
        facts = Facts(label_width=96)
        facts.show_facts([(_("To"), CopyId(_("Address"), self._address))])
        return facts

    def set_first_focus(self) -> None:
        self.amount_field.setFocus(Qt.FocusReason.OtherFocusReason)

    def _typed(self, _amount_sat: object) -> None:
        self._all = False
        self._ask()

    def _send_all(self) -> None:
        self._all = True
        self._ask()

    def _rate(self) -> str | None:
        """As it is typed. Two decimals at most: whether 1.000 is one or a thousand is asked, never guessed."""
        text = self.rate.text().strip()
        return text if _RATE.fullmatch(text) and text.strip("0.") else None

    def _rate_problem(self) -> str:
        if self._rate() is not None:
            return ""
        if not self.rate.text().strip():
            return _("Type a fee rate first.")
        return _("Type the rate with a point and at most two decimals, such as 1.5.")

    def _ask(self) -> None:
        self._quote = None
        self._asked += 1
        own = self.speed.current() == "own"
        self.rate.setVisible(own)
        self._rate_unit.setVisible(own)
        self._amount_row.set_problem(self.amount_field.problem)
        reason = ""
        if not self._all and not self.amount_field.amount_sat():
            reason = _("Type an amount first.")
        elif own:
            reason = self._rate_problem()
        tell_why(self.review, reason or _("Working out what it costs."), self._reason)
        self._banner.say("")
        if not reason:
            self._timer.start()
        else:
            self._timer.stop()
            self._facts.show_facts([])

    def _arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = {"destination": self._address}
        arguments["amount_sat"] = "all" if self._all else self.amount_field.amount_sat()
        key = self.speed.current()
        if key == "own":
            arguments["feerate"] = self._rate()
        else:
            arguments["target_blocks"] = SPEEDS[key]
        if self.coins.chosen():
            arguments["coins"] = self.coins.chosen()
        return arguments

    def _fetch(self) -> None:
        self._asked += 1
        number = self._asked

        def done(answer: Any) -> None:
            if number == self._asked and isinstance(answer, Mapping):
                self._show_quote(answer)

        def failed(sentence: str) -> None:
            if number == self._asked:
                self._reason.setText("")
                tell_why(self.review, sentence)
                self._banner.say(sentence, "warning")
                self._facts.show_facts([])

        self.context.bridge.call("quote_onchain", done, failed, owner=self, **self._arguments())

    def _show_quote(self, quote: Mapping[str, Any]) -> None:
        self._quote = quote
        if self._all:
            self.amount_field.set_amount_sat(_whole(quote.get("amount_sat")), quietly=True)
        fee_sat, amount_sat = int(quote["fee_sat"]), int(quote["amount_sat"])
        rate = _("{rate} sat/vB").format(rate=quote.get("feerate_text") or quote.get("feerate_sat_per_vb"))
        self._facts.show_facts(
            [
                (_("Fee"), f"{fmt.fee_with_share(fee_sat * 1000, amount_sat * 1000)}, {rate}"),
                (_("Total"), fmt.amount_sat(int(quote["total_sat"]))),
            ]
        )
        self._banner.say(fmt.plain(str(quote.get("warning") or ""), 300), "warning")
        tell_why(self.review, "", self._reason)

    def _save_unsigned(self, arguments: dict[str, Any], banner: Banner) -> None:
        """The same payment, to be signed elsewhere; nothing is sent."""
        from wallet.gui.pages.psbt_card import save_psbt
        from wallet.gui.widgets.files import ask_new_file

        def done(answer: Any) -> None:
            def chosen(path: Path) -> None:
                banner.say(save_psbt(self, str(answer), path), "warning")

            ask_new_file(self, _("Save PSBT"), "payment.psbt", chosen)

        def failed(sentence: str) -> None:
            banner.say(sentence, "warning")

        self.context.bridge.call("payto", done, failed, owner=self, **(arguments | {"psbt": True}))

    def _wait(self) -> str:
        blocks = SPEEDS.get(self.speed.current())
        return (
            fmt.seconds_long(blocks * fmt.SECONDS_PER_BLOCK) if blocks else _("a time that the rate decides")
        )

    def _show_review(self) -> None:
        quote = self._quote
        if quote is None:
            return
        amount_sat, fee_sat = int(quote["amount_sat"]), int(quote["fee_sat"])
        arguments = self._arguments() | {"label": self.note.text().strip()}
        if not self._all:
            arguments["amount_sat"] = amount_sat
        self._content.hide()
        view = QWidget()
        amount = AmountLabel("amount")
        amount.set_sat(amount_sat)
        facts = Facts(label_width=96)
        spaced = " ".join(self._address[i : i + 4] for i in range(0, len(self._address), 4))
        shown = Label(spaced, "mono", wrap=True)
        pairs: list[tuple[str, QWidget | str]] = [(_("To"), shown)]
        if self.note.text().strip():
            pairs.append((_("Note"), fmt.plain(self.note.text(), 120)))
        pairs.append((_("Fee"), fmt.fee_with_share(fee_sat * 1000, amount_sat * 1000)))
        pairs.append((_("Total"), fmt.amount_sat(int(quote["total_sat"]))))
        pairs.append((_("Confirms in"), self._wait()))
        if self.coins.chosen():
            pairs.append((_("Coins"), self.coins.summary()))
        facts.show_facts(pairs)
        banner = Banner(fmt.plain(str(quote.get("warning") or ""), 300), "warning")
        order = {
            "arguments": arguments,
            "amount_sat": amount_sat,
            "fee_sat": fee_sat,
            "payee": self._label or fmt.short_id(self._address),
            "wait": self._wait(),
        }

        def send() -> None:
            tell_why(button, _("Sending it."), note)
            self.pay.emit(order)

        button = Button(_("Send {amount}").format(amount=fmt.amount_sat(amount_sat)), "filled", main=True)
        button.clicked.connect(lambda _checked=False: send())
        self.button = button

        def back() -> None:
            discard(view)
            self.button = None
            self._content.show()

        change = Button(_("Change it"), "outlined", main=True, on_click=back)
        self.unsigned = Button(
            _("Save unsigned instead (PSBT)"),
            "text",
            small=True,
            on_click=lambda: self._save_unsigned(arguments, banner),
        )
        note = Label(_("A transaction on chain cannot be taken back."), "caption", "text2", wrap=True)
        view.setLayout(
            vbox(
                Label(_("Send this"), "section"),
                amount,
                facts,
                banner,
                Rule(),
                button_row(button, change, reason=note),
                hbox(self.unsigned, "stretch"),
                spacing=S3,
            )
        )
        self.box.addWidget(view)
        button.setFocus(Qt.FocusReason.OtherFocusReason)
