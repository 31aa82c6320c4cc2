"""Receive: what can be received, then an amount and a note, then the code, until it is paid.

Where no channel can receive, it shows an address and never an invoice that nobody could pay.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QStackedWidget, QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.describe import request_look
from wallet.gui.pages.base import Page
from wallet.gui.pages.receive_more import WaysToReceive
from wallet.gui.theme import theme
from wallet.gui.tokens import QR_SIDE, S2, S3, S4, S6, S8
from wallet.gui.widgets.basic import (
    AmountLabel,
    Button,
    Card,
    IconLabel,
    Label,
    Pill,
    Rule,
    add_action,
    button_row,
    clear,
    discard,
    hbox,
    menu,
    vbox,
)
from wallet.gui.widgets.beside import Beside
from wallet.gui.widgets.fields import AmountField, Field, LineEdit, Segments
from wallet.gui.widgets.ids import CopyId, copy_text
from wallet.gui.widgets.notices import Banner, toast
from wallet.gui.widgets.qr import QrCode
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _
from wallet.node.api import RequestStatus, RequestView

__all__ = ["ReceivePage"]

SHOWN_REQUESTS = 5
MORE_REQUESTS = 20
"""So many more with each press."""


def payment_uri(address: str, amount_msat: int | None, invoice: str = "") -> str:
    """BIP 21: an address, an amount in bitcoin, and the invoice that asks for the same over Lightning."""
    query = []
    if amount_msat:
        # Rounded up: what is asked for on chain is never less than the invoice's amount.
        whole, rest_sat = divmod(-(-amount_msat // 1000), 100_000_000)
        query.append(f"amount={whole}.{rest_sat:08d}")
    if invoice:
        query.append(f"lightning={invoice}")
    return f"bitcoin:{address}" + ("?" + "&".join(query) if query else "")


class ReceivePage(Page):
    """Attributes: `layer` chooses Lightning or on chain, `code` is the QR widget, `create_button` the main
    button; `new_button` leaves a request that is shown."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, _("Receive"))
        self._address = ""
        self._copy_text = ""
        self._shown: Mapping[str, Any] | None = None
        self._paid: str | None = None
        self._making = False  # a request, until the answer
        self._layer_before = ""  # a request of the list was shown again
        self._fell_back = False  # to on chain, because nothing could be received over Lightning
        self._requests_shown: tuple[object, ...] | None = None

        self.can_receive = Label("", "body", "text2", wrap=True)
        self.can_receive.setMaximumWidth(theme().px(680))
        self.layer = Segments(
            _("Layer"), [("lightning", _("Either way")), ("onchain", _("On chain only"))], "lightning"
        )
        self.layer.chosen.connect(lambda _key: self._choose_layer())
        self.body.setSpacing(theme().px(S4))
        self.body.addWidget(self.can_receive)
        self.ways = WaysToReceive(context)
        self.body.addWidget(self.ways)

        left = QWidget()
        left.setMaximumWidth(theme().px(400))
        left.setMinimumWidth(theme().px(260))
        self.amount_field = AmountField(_("Amount"))
        self.amount_field.amount_changed.connect(lambda _sat: self._check())
        self._amount_row = Field(_("Amount"), self.amount_field, _("Leave it empty to let the payer choose."))
        self.note = LineEdit(_("Note"), _("What it is for"))
        self.note.setMaxLength(300)
        self._note_row = Field(_("Note"), self.note, _("The payer sees it."))
        for edit in (self.amount_field, self.note):
            edit.returnPressed.connect(lambda: self._create() if self.create_button.isEnabled() else None)
        self.create_button = Button(_("Create request"), "filled", main=True, on_click=self._create)
        self.new_button = Button(_("Start over"), "text", main=True, on_click=self.reset)
        self._reason = Label("", "caption", "text2", wrap=True)
        self._problem = Banner("", "warning")
        form = vbox(self.layer, self._amount_row, self._note_row, self._problem, spacing=S4)
        form.addLayout(button_row(self.create_button, self.new_button, reason=self._reason))
        form.addStretch(1)
        left.setLayout(form)

        self._right = QStackedWidget()
        # A code is no text: it stays as large as it is.
        self._right.setFixedWidth(max(QR_SIDE * 9 // 8 + theme().px(2 * S6), theme().px(QR_SIDE + 2 * S6)))
        self._right.addWidget(self._make_blank())
        self._right.addWidget(self._make_code())
        self._paid_page: QWidget | None = None
        # The code stands beside the form; below it where there is no room.
        columns = Beside(left, self._right, least=260, spacing=S8, line_spacing=S4, top=True)
        self.body.addLayout(columns)

        self._list_holder = QWidget()
        self._list = Card(vbox(spacing=0), padding=0)
        self.more_requests = Button(_("Show older requests"), "text", on_click=self._show_more)
        self._list_holder.setLayout(
            vbox(Label(_("Requests"), "section"), self._list, self.more_requests, spacing=S2)
        )
        self._most_requests = SHOWN_REQUESTS
        self.body.addWidget(self._list_holder)
        self.body.addStretch(1)
        # On a large screen the code stays beside what it is made of.
        self._body_holder.setMaximumWidth(theme().px(960 + 2 * S6))

    # --- the parts --------------------------------------------------------------

    def _make_blank(self) -> QWidget:
        centre = Qt.AlignmentFlag.AlignHCenter
        box = vbox("stretch", spacing=S3)
        box.addWidget(IconLabel("qr", "text3", 48), 0, centre)
        box.addWidget(Label(_("The code appears here."), "body", "text2", align=centre), 0, centre)
        box.addStretch(1)
        blank = Card(box)
        blank.setFixedHeight(theme().px(QR_SIDE + 2 * S6))
        return blank

    def _make_code(self) -> QWidget:
        box = vbox(spacing=S3)
        card = Card(box, padding=S6)
        word = fmt.network_word(self.context.network)
        self.code = QrCode(on_click=self._enlarge)
        self.code_amount = AmountLabel("amount", align=Qt.AlignmentFlag.AlignHCenter)
        self.code_id = CopyId(_("Invoice"), "")
        self.copy = Button(_("Copy"), "outlined", "copy", on_click=self._copy)
        self.waiting = Label("", "caption", "text2", wrap=True)
        waiting_row = hbox(IconLabel("hourglass", "brass", 16), spacing=6)
        waiting_row.addWidget(self.waiting, 1)
        if word:
            box.addLayout(hbox("stretch", Pill(word, "play", "sandbox"), "stretch"))
        box.addWidget(self.code_amount)
        box.addWidget(self.code, 0, Qt.AlignmentFlag.AlignHCenter)
        self.save = Button(_("Save"), "text", "save", small=True, on_click=self._save)
        self.save.setAccessibleDescription(_("Saves the code as a picture"))
        self.print = Button(_("Print"), "text", "print", small=True, on_click=self._print)
        self.more = Button(
            "", "quiet", "more", small=True, name=_("More ways to copy"), on_click=self._open_more
        )
        box.addLayout(hbox(self.code_id, "stretch", self.copy))
        box.addLayout(hbox(self.save, self.print, "stretch", self.more))
        box.addLayout(waiting_row)
        # Who practises has nobody else to be paid by.
        self.shop = Button(_("Let the shop pay my request"), "outlined", "shop", on_click=self._let_shop_pay)
        self.shop.hide()
        box.addWidget(self.shop)
        return card

    def _show_paid(self, request: RequestView, amount_msat: int) -> None:
        centre = Qt.AlignmentFlag.AlignHCenter
        box = vbox("stretch", spacing=S2)
        box.addWidget(IconLabel("check-circle", "success", 72), 0, centre)
        box.addWidget(Label(_("Paid"), "title"), 0, centre)
        amount = AmountLabel("display", align=centre)
        amount.set_msat(amount_msat)
        box.addWidget(amount)
        if request.message:
            box.addWidget(Label(fmt.foreign(request.message, 60), "body", "text2"), 0, centre)
        box.addSpacing(theme().px(S4))
        self.paid_done = Button(_("New request"), "outlined", main=True, on_click=self.reset)
        box.addWidget(self.paid_done, 0, centre)
        box.addStretch(1)
        card = Card(box, padding=S6)
        card.setMinimumHeight(theme().px(QR_SIDE + 2 * S6))
        if self._paid_page is not None:
            self._right.removeWidget(self._paid_page)
            discard(self._paid_page)
        self._paid_page = card
        self._right.addWidget(card)
        self._right.setCurrentWidget(card)

    # --- asking -----------------------------------------------------------------

    def set_first_focus(self) -> None:
        if self._shown is None:
            self.amount_field.setFocus(Qt.FocusReason.OtherFocusReason)

    def reset(self) -> None:
        """A new request: the form is empty again."""
        self._shown = None
        self._paid = None
        if self._layer_before:
            can_receive = self.context.snapshot.balance.can_receive_msat > 0
            self.layer.choose(self._layer_before if can_receive else "onchain")
            self._layer_before = ""
        self.amount_field.clear()
        self.note.clear()
        self._problem.say("")
        self._right.setCurrentIndex(0)
        self._layer_chosen()
        self.amount_field.setFocus(Qt.FocusReason.OtherFocusReason)

    def is_paid(self) -> bool:
        """Whether the request that is shown has been paid."""
        return self._paid is not None

    def is_lightning(self) -> bool:
        return self.layer.current() == "lightning"

    def _choose_layer(self) -> None:
        self._fell_back = False
        shown = self._request()
        if shown is None:
            self._layer_chosen()
        else:
            # Another side of the same request; it makes no other.
            self._show_code(shown)
            self._check()

    def _request(self) -> Mapping[str, Any] | None:
        """The request that is shown and waits; None for an address alone, and for what is paid."""
        shown = self._shown
        return shown if shown is not None and "request_id" in shown and self._paid is None else None

    def _layer_chosen(self) -> None:
        self._shown = None
        self._check()
        if not self.is_lightning():
            self._show_address()
        else:
            self._right.setCurrentIndex(0)

    def _check(self) -> None:
        balance = self.context.snapshot.balance
        self._check_layers(can_receive=balance.can_receive_msat > 0)
        problem = self.amount_field.problem
        amount_msat = self.amount_field.amount_msat()
        lightning = self.is_lightning()
        if lightning and not problem and amount_msat and amount_msat > balance.can_receive_msat:
            problem = _("Your channels can receive {amount} at most now. Ask for less, or on chain.").format(
                amount=fmt.with_fiat(balance.can_receive_msat // 1000 * 1000)
            )
        self._amount_row.set_problem(problem)
        reason = ""
        if lightning and balance.can_receive_msat <= 0:
            reason = _("No channel can receive now.")
        if self._making:
            reason = _("Making the request.")
        self._reason.setText(reason)
        tell_why(self.create_button, problem or reason)
        self.create_button.setText(_("Create request") if lightning else _("Put it into the code"))

    def _check_layers(self, *, can_receive: bool) -> None:
        """The switch offers what can be had; of a request that is shown, what that one has."""
        request = self._request()
        self.new_button.setVisible(request is not None)
        lightning = onchain = ""
        if request is None:
            lightning = "" if can_receive else _("No channel can receive now.")
        elif not request.get("lightning_invoice"):
            lightning = _("This request is for on chain alone. A new one can be paid either way.")
        elif not request.get("address"):
            onchain = _("This request is for Lightning alone. A new one can be paid either way.")
        tell_why(self.layer.button("lightning"), lightning)
        tell_why(self.layer.button("onchain"), onchain)

    def _show_address(self) -> None:
        if self._address:
            self._show_code({"address": self._address, "amount_msat": None})
            return

        def done(address: Any) -> None:
            self._address = str(address)
            if not self.is_lightning() and self._shown is None:
                self._show_code({"address": self._address, "amount_msat": None})

        self.context.bridge.call("getunusedaddress", done, self._failed, owner=self)

    def _failed(self, sentence: str) -> None:
        self._making = False
        self._check()
        self._problem.say(sentence, "warning")

    def _create(self) -> None:
        self._problem.say("")
        self._making = True
        self._check()
        self.context.bridge.call(
            "add_request",
            self._created,
            self._failed,
            owner=self,
            amount_msat=self.amount_field.amount_msat(),
            message=self.note.text().strip(),
            both=self.is_lightning(),
        )

    def _created(self, answer: Any) -> None:
        self._making = False
        self._check()
        if isinstance(answer, Mapping):
            self._paid = None
            self._show_code(answer)
            self._check()
            self.bring_into_view(self.code)
            invoice = answer.get("lightning_invoice")
            if invoice:
                copy_text(self, str(invoice), _("Invoice"))

    def _show_code(self, request: Mapping[str, Any]) -> None:
        """Shows an answer of `add_request`, or an address alone; of a request the side that is chosen."""
        self._shown = request
        made_for_both = bool(request.get("lightning_invoice"))
        invoice = request.get("lightning_invoice") if self.is_lightning() else None
        address = str(request.get("address") or "")
        amount_msat = request.get("amount_msat")
        text = payment_uri(address, amount_msat if isinstance(amount_msat, int) else None, str(invoice or ""))
        if invoice:
            self.code.setAccessibleName(_("QR code of the request, for Lightning and on chain"))
        else:
            self.code.setAccessibleName(_("QR code of the address"))
        # Capitals take less room in a code, and bech32 has no others: the code is coarser, and read from further away.
        code = text.replace(str(invoice), str(invoice).upper()) if invoice else text
        if not invoice and "?" not in text:
            text = address
        self.code.show_text(code)
        self._copy_text = text
        self.code_id.set_full(text)
        self.code_amount.setVisible(isinstance(amount_msat, int) and amount_msat > 0)
        if isinstance(amount_msat, int):
            self.code_amount.set_msat(amount_msat)
        made_at, lives_seconds = request.get("timestamp"), request.get("expiry")
        if made_for_both and isinstance(made_at, int) and isinstance(lives_seconds, int):
            expires_at = made_at + lives_seconds
            self.waiting.setText(
                _("Waiting for the payment. It expires {when}.").format(when=fmt.until(expires_at))
            )
        else:
            self.waiting.setText(_("Waiting for coins. This address stays valid."))
        self.shop.setVisible(bool(invoice) and self.context.bridge.api.sandbox() is not None)
        self._right.setCurrentIndex(1)

    def _let_shop_pay(self) -> None:
        from wallet.gui.pages.practice import pay_invoice

        pay_invoice(self.context, self, str((self._shown or {}).get("lightning_invoice") or ""))

    def _copy(self) -> None:
        # An address with an amount is a request too.
        words = _("Address") if self._copy_text == (self._shown or {}).get("address") else _("Request")
        copy_text(self, self._copy_text, words)

    def _open_more(self) -> None:
        shown = self._shown or {}
        made = menu(self)
        invoice, address = str(shown.get("lightning_invoice") or ""), str(shown.get("address") or "")
        if invoice:
            add_action(
                made, _("Copy the invoice alone"), lambda: copy_text(self, invoice, _("Invoice")), "bolt"
            )
        if address:
            add_action(
                made, _("Copy the address alone"), lambda: copy_text(self, address, _("Address")), "chain"
            )
        made.popup(self.more.mapToGlobal(self.more.rect().bottomLeft()))

    def _sheet_lines(self) -> list[str]:
        """What stands below the code on paper: the network's word first where it is not real money."""
        shown = self._shown or {}
        amount_msat = shown.get("amount_msat")
        lines = [
            fmt.network_word(self.context.network),
            fmt.amount(amount_msat) if isinstance(amount_msat, int) and amount_msat else "",
            fmt.foreign(str(shown.get("message") or ""), 120),
            str(shown.get("address") or ""),
        ]
        return [line for line in lines if line]

    def _save(self) -> None:
        from wallet.gui.pages.receive_sheet import save_picture
        from wallet.gui.widgets.files import ask_new_file

        code, lines = self.code.text(), self._sheet_lines()

        def write(path: Path) -> None:
            problem = save_picture(path, code, lines)
            self._problem.say(problem, "warning")
            if not problem:
                toast(self, _("The picture is saved"), "check")

        ask_new_file(self, _("Save the code as a picture"), "request.png", write)

    def _print(self) -> None:
        from wallet.gui.pages.receive_sheet import print_sheet

        print_sheet(self, self.code.text(), self._sheet_lines())

    def _enlarge(self) -> None:
        from wallet.gui.widgets.qr import QrWindow

        QrWindow(self.code.text(), fmt.network_word(self.context.network), self).showFullScreen()

    # --- live -------------------------------------------------------------------

    def refresh(self) -> None:
        self.ways.refresh()
        snapshot = self.context.snapshot
        balance = snapshot.balance
        if balance.can_receive_msat > 0:
            text = _("You can receive up to {amount} over Lightning. On chain there is no limit.").format(
                amount=fmt.with_fiat(balance.can_receive_msat // 1000 * 1000)
            )
        elif snapshot.channels:
            text = _(
                "Your channels cannot receive over Lightning now: spend from one first, or let somebody open one to "
                "you. On chain there is no limit."
            )
        else:
            text = _("Without a channel you receive on chain. There is no limit.")
        self.can_receive.setText(text)
        if balance.can_receive_msat <= 0 and self.is_lightning() and self._shown is None:
            self.layer.choose("onchain")
            self._layer_chosen()
            self._fell_back = True
        elif balance.can_receive_msat > 0 and self._fell_back:
            self._fell_back = False
            if self._shown is None or "request_id" not in self._shown:
                self.layer.choose("lightning")
                self._layer_chosen()
        self._check()
        self._watch_paid()
        self._show_requests()

    def _watch_paid(self) -> None:
        shown = self._shown
        if shown is None or "request_id" not in shown or self._paid == shown["request_id"]:
            return
        request = next(
            (r for r in self.context.snapshot.requests if r.request_id == shown["request_id"]), None
        )
        if request is None:
            return
        if request.status is RequestStatus.PENDING:
            on_chain = _("It is arriving: seen on the network, and paid with its first confirmation.")
            self.waiting.setText(on_chain if request.txid else _("It is arriving."))
        elif request.status is RequestStatus.EXPIRED:
            self.waiting.setText(_("This request has run out. Make a new one."))
        elif request.status is RequestStatus.PAID:
            self._paid = request.request_id
            self._check_layers(can_receive=self.context.snapshot.balance.can_receive_msat > 0)
            amount_msat = request.amount_msat
            if amount_msat is None:
                wanted = {f"ln:{request.payment_hash}", f"tx:{request.txid}"}
                found = [i.amount_msat for i in self.context.snapshot.recent if i.item_id in wanted]
                amount_msat = found[0] if found else 0
            self.amount_field.clear()
            self.note.clear()
            self._show_paid(request, amount_msat)

    def _show_requests(self) -> None:
        requests = sorted(self.context.snapshot.requests, key=lambda r: -r.created_at)
        self.more_requests.setVisible(len(requests) > self._most_requests)
        requests = requests[: self._most_requests]
        self._list_holder.setVisible(bool(requests))
        shown = (tuple(requests), fmt.style.unit, fmt.style.hidden)
        layout = self._list.layout()
        if shown == self._requests_shown or layout is None:
            return
        self._requests_shown = shown
        clear(layout)
        for number, request in enumerate(requests):
            if number:
                layout.addWidget(Rule())
            layout.addWidget(self._request_row(request))

    def _show_more(self) -> None:
        self._most_requests += MORE_REQUESTS
        self._show_requests()

    def _show_again(self, request: RequestView) -> None:
        """The code of a request that is still open, as when it was made."""
        lives_seconds = None if request.expires_at is None else request.expires_at - request.created_at
        self._paid = None
        self._fell_back = False
        self._problem.say("")
        self._layer_before = self._layer_before or self.layer.current()
        self.layer.choose("lightning" if request.invoice else "onchain")
        # It stands beside what it was made of.
        whole = request.amount_msat is not None and request.amount_msat % 1000 == 0
        self.amount_field.set_amount_sat(
            request.amount_msat // 1000 if whole and request.amount_msat is not None else None, quietly=True
        )
        self.note.setText(request.message)
        self._show_code(
            {
                "request_id": request.request_id,
                "amount_msat": request.amount_msat,
                "message": request.message,
                "address": request.address,
                "lightning_invoice": request.invoice,
                "timestamp": request.created_at,
                "expiry": lives_seconds,
            }
        )
        self._check()
        self.bring_into_view(self.code)

    def _request_row(self, request: RequestView) -> QWidget:
        row = QWidget()
        word, tone, icon = request_look(request.status)
        title = Label(fmt.foreign(request.message, 48) or _("Request"), "body")
        when = Label(fmt.ago(request.created_at), "caption", "text2")
        names = QWidget()
        lines = vbox(title, when, spacing=0)
        if request.paid_twice:
            twice = _("Paid twice: over Lightning, and on chain as well. Whoever paid may want one back.")
            lines.addWidget(Label(twice, "caption", "warning", wrap=True))
        names.setLayout(lines)
        line = hbox(spacing=S4)
        amount = Label(
            fmt.amount(request.amount_msat) if request.amount_msat is not None else _("any amount"), "strong"
        )
        line.addWidget(amount)
        line.addWidget(Pill(word, tone, icon))
        text = request.invoice or request.address or ""
        if text and request.status is RequestStatus.UNPAID:
            line.addWidget(CopyId(_("Invoice") if request.invoice else _("Address"), text))
            again = Button(_("Show the code"), "text", small=True, on_click=lambda: self._show_again(request))
            lines.addWidget(again, 0, Qt.AlignmentFlag.AlignLeft)
        # Where it is narrow, what belongs to the request goes below its name.
        row.setLayout(vbox(Beside(names, line, least=160), margins=(S4, S2, S4, S2)))
        return row
