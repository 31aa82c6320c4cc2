"""Opening a channel: to whom, how much, what it costs now and later, and what can be sent and received then.

The node is asked what it takes before an amount is: nobody learns from a refusal that it wanted more. A quote holds
for the node that it was made for: when the node is edited it is withdrawn, and the new one is asked first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PyQt6.QtCore import Qt, QTimer
from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.pages.peer_choice import PeerChoice, Terms
from wallet.gui.scan.button import ScanButton
from wallet.gui.tokens import S2, S3
from wallet.gui.widgets.basic import Button, Flow, Label, Rule, hbox, vbox
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.fields import AmountField, Field, LineEdit
from wallet.gui.widgets.ids import Fold
from wallet.gui.widgets.notices import Banner, Facts, toast
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _

__all__ = ["OpenChannelDialog"]

QUOTE_AFTER_MS = 250
NODE_ID_LENGTH = 66
LINK = "lightning:"
MAX_PEER = 400
"""An address is shorter; what else a code may hold is not."""


def _sat(quote: Mapping[str, Any], key: str) -> int:
    value = quote.get(key)
    return value if isinstance(value, int) else 0


class OpenChannelDialog(Dialog):
    """Attributes: `peer`, `choice` (the suggestions), `terms` once the node has said what it takes, `away` and
    `another` where it could not be asked, `amount_field`, `sensible` and `least`, `quote` once there is one,
    `open_button`."""

    def __init__(self, parent: QWidget, context: Context, peer: str = "", *, stays: bool = False) -> None:
        """`stays`: the page below goes on by itself once the channel is being opened; else the channel is shown."""
        super().__init__(parent, _("Open a channel"), network=context.network)
        self._context = context
        self._stays = stays
        self._suggested_sat = 0
        self._all = False
        self._plans = False
        self._asked = 0
        self._terms_asked = 0
        self.quote: Mapping[str, Any] | None = None
        self.peer = LineEdit(_("Node"), _("node id@host:port"), mono=True)
        self.peer.setText(peer)
        self.peer.setCursorPosition(0)
        self.paste_button = Button(
            _("Paste"), "outlined", "paste", name=_("Paste a node's address"), on_click=self._paste
        )
        self.scan_button = ScanButton(
            self._take, self._say, network=context.network, name=_("Scan a node's QR code")
        )
        beside = QWidget()
        beside.setLayout(hbox(self.paste_button, self.scan_button, spacing=S2))
        self._peer_row = Field(
            _("With which node"),
            self.peer,
            _("A node's address, as its site or its QR code gives it."),
            beside=beside,
        )
        self.terms: Terms | None = None
        self.choice = PeerChoice(context, self._choose)
        self.body.addWidget(self.choice)
        self.body.addWidget(self._peer_row)
        self._terms_line = Label("", "body", "text2", wrap=True)
        self.body.addWidget(self._terms_line)
        self._terms_line.hide()
        # Why the node could not be asked; None as long as it was not, or is being asked.
        self._unasked: str | None = None
        self.away = Banner("", "warning", _("Try again"), self._ask_terms)
        self.body.addWidget(self.away)
        self.another = Button(_("Choose another node"), "outlined", small=True, on_click=self.peer.clear)
        self._another_row = QWidget()
        self._another_row.setLayout(hbox(self.another, "stretch"))
        self.body.addWidget(self._another_row)
        self._another_row.hide()
        self.amount_field = AmountField(_("Amount"))
        # Of a node that was named from outside only the amount is asked for, once it has said what it takes.
        self._amount_is_next = bool(peer)
        self.all_button = Button(
            _("All"), "outlined", tall=True, name=_("Put in all coins"), on_click=self._put_all
        )
        self._amount_row = Field(
            _("How much to put in"), self.amount_field, self._spendable_text(), beside=self.all_button
        )
        self.body.addWidget(self._amount_row)
        self.sensible = Button("", "chip", "coins", on_click=self._put_sensible)
        self.sensible.setAccessibleDescription(
            _("A size at which today's fees for opening and closing do not matter much")
        )
        self.least = Button("", "chip", "coins", on_click=self._put_least)
        self.least.setAccessibleDescription(_("The smallest channel that this node takes"))
        self._sensible_row = QWidget()
        self._sensible_row.setLayout(Flow(self.sensible, self.least, spacing=S2))
        self.body.addWidget(self._sensible_row)
        self._amount_row.hide()
        self._sensible_row.hide()
        self.plan_note = Label(
            _(
                "You have no coins for it yet. Deposit some: the channel opens by itself once they have confirmed, in "
                "about 20 minutes, and Leyden may be closed meanwhile."
            ),
            "body",
            "text2",
            wrap=True,
        )
        self.body.addWidget(self.plan_note)
        self.plan_note.hide()
        self._facts = Facts(label_width=176)
        self._later = Facts(label_width=176)
        self._fold = Fold(_("Why, and what is kept back"), self._later)
        self._quote_box = QWidget()
        self._quote_box.setLayout(vbox(Rule(), self._facts, self._fold, spacing=S3))
        self.body.addWidget(self._quote_box)
        self._quote_box.hide()
        self._banner = Banner("", "warning")
        self.body.addWidget(self._banner)
        self.body.addStretch(1)
        self.cancel_button = self.add_cancel()
        self.open_button = self.add_button(_("Open channel"), "filled", self._open)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(QUOTE_AFTER_MS)
        self._timer.timeout.connect(self._fetch)
        self._terms_timer = QTimer(self)
        self._terms_timer.setSingleShot(True)
        self._terms_timer.setInterval(QUOTE_AFTER_MS)
        self._terms_timer.timeout.connect(self._ask_terms)
        self.peer.textChanged.connect(lambda _text: self._peer_changed())
        self.amount_field.amount_changed.connect(self._typed)
        if peer:
            self.choice.hide()
            self._ask_terms()
        else:
            self.choice.load()
        self._ask()
        if not peer:
            self.peer.setFocus(Qt.FocusReason.OtherFocusReason)

    # --- whom -----------------------------------------------------------------------

    def _paste(self) -> None:
        self.scan_button.paste()

    def _take(self, text: str) -> None:
        """A node's address that was pasted or scanned."""
        line = text.strip().splitlines()[0] if text.strip() else ""
        if line[: len(LINK)].lower() == LINK:
            line = line[len(LINK) :]
        self.peer.setText(line[:MAX_PEER])
        self.peer.setCursorPosition(0)
        self.peer.setFocus(Qt.FocusReason.OtherFocusReason)

    def _say(self, sentence: str) -> None:
        self._banner.say(sentence, "warning")
        self.fit()

    def _choose(self, terms: Terms) -> None:
        """One of the suggestions; it has answered already."""
        self._terms_asked += 1
        self.choice.hide()
        self.peer.blockSignals(True)
        self.peer.setText(terms.uri)
        self.peer.setCursorPosition(0)
        self.peer.blockSignals(False)
        self._show_terms(terms)
        self._ask()
        self.amount_field.setFocus(Qt.FocusReason.OtherFocusReason)

    def _peer_changed(self) -> None:
        self._terms_asked += 1
        self._amount_is_next = False
        self.terms = None
        self._no_longer_away()
        text = self.peer.text().strip()
        self.choice.setVisible(not text)
        if not text and not self.choice.rows:
            self.choice.load()
        self._terms_line.setVisible(False)
        self._sensible_row.hide()
        self._amount_row.setVisible(False)
        self._plans = False
        self.plan_note.hide()
        if len(text) >= NODE_ID_LENGTH:
            self._terms_timer.start()
        else:
            self._terms_timer.stop()
        self._ask()
        self.fit()

    def _ask_terms(self) -> None:
        self._terms_asked += 1
        number = self._terms_asked
        self._no_longer_away()
        self._terms_line.setText(_("Connecting, and asking the node what it takes…"))
        self._terms_line.show()
        self._ask()

        def done(answer: Any) -> None:
            if number == self._terms_asked and isinstance(answer, Mapping):
                self._show_terms(Terms.of(answer))

        def failed(sentence: str) -> None:
            if number == self._terms_asked:
                self._show_away(sentence)

        self._context.bridge.call("peer_terms", done, failed, owner=self, peer=self.peer.text().strip())

    def _no_longer_away(self) -> None:
        self._unasked = None
        self.away.say("")
        self._another_row.hide()

    def _show_away(self, sentence: str) -> None:
        """The node could not be asked: it is tried again, or another one is taken."""
        node_id = self.peer.text().strip().lower()[:NODE_ID_LENGTH]
        sentence = sentence.replace(node_id, fmt.short_id(node_id))
        self._unasked = sentence
        self._terms_line.hide()
        self.away.say(
            _(
                "{why} A channel can only be opened while the node answers: try again, or choose another."
            ).format(why=sentence)
        )
        self._another_row.show()
        self._ask()
        self.fit()

    def _show_terms(self, terms: Terms) -> None:
        self.terms = terms
        self._no_longer_away()
        self.choice.hide()
        said = f"{terms.name}: {terms.text}" if terms.name else terms.text
        if terms.minimum_sat is None:
            said = _(
                "{said} It may refuse the amount when the channel is opened: that costs nothing."
            ).format(said=said)
        self._terms_line.setText(said)
        self._terms_line.show()
        spendable_sat = self._context.snapshot.balance.onchain_spendable_sat
        # Without coins there is no amount to ask for: the deposit will be it.
        self._plans = spendable_sat <= 0
        self._amount_row.setVisible(not self._plans)
        self.plan_note.setVisible(self._plans)
        if self._amount_is_next and not self._plans:
            self.amount_field.setFocus(Qt.FocusReason.OtherFocusReason)
        self._amount_is_next = False
        fits = 0 < terms.sensible_sat <= spendable_sat
        self.sensible.setText(_("Sensible today: {amount}").format(amount=fmt.amount_sat(terms.sensible_sat)))
        self._suggest(terms.sensible_sat if fits else 0)
        self._ask()
        self.fit()

    def _suggest(self, amount_sat: int) -> None:
        """The sensible amount stands there, marked, so that what is typed takes its place; what was typed stays."""
        field = self.amount_field
        if self._all or (field.text() and field.amount_sat() != self._suggested_sat):
            return
        self._suggested_sat = amount_sat
        field.set_amount_sat(amount_sat or None, quietly=True)
        field.selectAll()

    def _put_sensible(self) -> None:
        if self.terms is not None:
            self.amount_field.set_amount_sat(self.terms.sensible_sat)

    def _offer_sizes(self, *, too_little: bool) -> None:
        """The sensible size, and the node's smallest where the amount is below that."""
        terms = self.terms
        if terms is None:
            self._sensible_row.hide()
            return
        spendable_sat = self._context.snapshot.balance.onchain_spendable_sat
        least_sat = terms.minimum_sat or 0
        fits = 0 < terms.sensible_sat <= spendable_sat
        is_other = too_little and least_sat <= spendable_sat and least_sat != terms.sensible_sat
        self.sensible.setVisible(fits)
        self.least.setText(_("Smallest here: {amount}").format(amount=fmt.amount_sat(least_sat)))
        self.least.setVisible(is_other)
        self._sensible_row.setVisible(fits or is_other)

    def _put_least(self) -> None:
        if self.terms is not None and self.terms.minimum_sat:
            self.amount_field.set_amount_sat(self.terms.minimum_sat)

    def _unasked_reason(self) -> str:
        """Why no amount is asked for yet; empty once the node has answered."""
        if self.terms is not None:
            return ""
        if self._unasked is not None:
            return _("This node could not be asked: no channel can be opened with it now.")
        if len(self.peer.text().strip()) < NODE_ID_LENGTH:
            return _("The node's address is not complete yet.")
        return _("The node is asked what it takes first.")

    def _least_reason(self, amount_sat: int) -> str:
        """Why the chosen node would not take an amount; empty where it would, or has not said."""
        least_sat = 0 if self.terms is None else self.terms.minimum_sat or 0
        if amount_sat >= least_sat:
            return ""
        spendable_sat = self._context.snapshot.balance.onchain_spendable_sat
        if least_sat > spendable_sat:
            return _(
                "This node takes channels from {least}, and you have {amount}. Deposit more first, or choose another "
                "node."
            ).format(least=fmt.amount_sat(least_sat), amount=fmt.amount_sat(spendable_sat))
        return _("This node takes channels from {least}: put in that much, or choose another node.").format(
            least=fmt.amount_sat(least_sat)
        )

    def _spendable_text(self) -> str:
        spendable_sat = self._context.snapshot.balance.onchain_spendable_sat
        return _("You have {amount} on chain.").format(amount=fmt.amount_sat(spendable_sat))

    def _typed(self, _amount_sat: object) -> None:
        self._all = False
        self._ask()

    def _put_all(self) -> None:
        self._all = True
        self._ask()

    def _ask(self) -> None:
        self.quote = None
        self._asked += 1
        too_little = ""
        if self.terms is not None and not self._all and self.amount_field.amount_sat():
            too_little = self._least_reason(self.amount_field.amount_sat() or 0)
        self._amount_row.set_problem(self.amount_field.problem)
        self._offer_sizes(too_little=bool(too_little))
        self._banner.say("")
        self.open_button.setText(_("Open channel"))
        reason = ""
        if not self.peer.text().strip():
            reason = _("Choose a node first.")
        elif self.terms is None:
            reason = self._unasked_reason()
        elif self._plans:
            self._offer_plan()
            return
        elif not self._all and not self.amount_field.amount_sat():
            reason = _("Type an amount first.")
        elif too_little:
            reason = too_little
        self._set_reason(reason)
        if reason:
            self._timer.stop()
            self._quote_box.hide()
        else:
            self._timer.start()

    def _set_reason(self, reason: str) -> None:
        pending = "" if self.quote is not None else _("Working out what it costs.")
        tell_why(self.open_button, reason or pending, self.reason)

    def _fetch(self) -> None:
        self._asked += 1
        number = self._asked

        def done(answer: Any) -> None:
            if number == self._asked and isinstance(answer, Mapping):
                self._show_quote(answer)

        def failed(sentence: str) -> None:
            if number == self._asked:
                self._quote_box.hide()
                self.reason.setText("")
                tell_why(self.open_button, sentence)
                self._banner.say(sentence, "warning")
                self.fit()

        self._context.bridge.call(
            "quote_open_channel",
            done,
            failed,
            owner=self,
            peer=self.peer.text().strip(),
            amount_sat="all" if self._all else self.amount_field.amount_sat(),
        )

    def _show_quote(self, quote: Mapping[str, Any]) -> None:
        self.quote = quote
        amount_sat = _sat(quote, "amount_sat")
        if self._all:
            self.amount_field.set_amount_sat(amount_sat, quietly=True)
        fee_sat = _sat(quote, "funding_fee_sat")
        receive_sat = _sat(quote, "can_receive_sat")
        receive = (
            fmt.amount_sat(receive_sat) if receive_sat else _("nothing yet: it grows with what you spend")
        )
        self._facts.show_facts(
            [
                (_("Opening costs now"), fmt.fee_with_share(fee_sat * 1000, amount_sat * 1000)),
                (
                    _("Closing later, about"),
                    _("{fee} together with the peer, {forced} without it").format(
                        fee=fmt.amount_sat(_sat(quote, "closing_fee_sat_estimate")),
                        forced=fmt.amount_sat(_sat(quote, "forced_fee_sat_estimate")),
                    ),
                ),
                (_("You can send then"), fmt.amount_sat(_sat(quote, "can_send_sat"))),
                (_("You can receive then"), receive),
            ]
        )
        later: list[tuple[str, QWidget | str]] = [
            (
                _("Reserve"),
                _("{amount} stay on your side, so that cheating would cost you").format(
                    amount=fmt.amount_sat(_sat(quote, "reserve_sat"))
                ),
            ),
            (
                _("Kept on chain"),
                _("{amount} of your coins, to be able to close in busy times").format(
                    amount=fmt.amount_sat(_sat(quote, "anchor_reserve_sat"))
                ),
            ),
        ]
        if _sat(quote, "peer_minimum_sat"):
            later.append((_("The peer's minimum"), fmt.amount_sat(_sat(quote, "peer_minimum_sat"))))
        self._later.show_facts(later)
        self._quote_box.show()
        self._banner.say(fmt.plain(str(quote.get("warning") or ""), 300), "warning")
        self.open_button.setText(_("Open with {amount}").format(amount=fmt.amount_sat(amount_sat)))
        self._set_reason(self._least_reason(amount_sat))
        self.fit()

    def _offer_plan(self) -> None:
        self._timer.stop()
        self._quote_box.hide()
        self.open_button.setText(_("Deposit, then open"))
        tell_why(self.open_button, "", self.reason)

    def _plan(self) -> None:
        """The peer is chosen; the deposit comes next."""
        terms = self.terms
        if terms is None:
            return
        self._busy(True)

        def done(_answer: Any) -> None:
            parent = self.parentWidget() or self
            self.accept()
            toast(parent, _("Planned: now deposit"), "check")
            self._context.go("receive")

        def failed(sentence: str) -> None:
            self._busy(False)
            self._banner.say(sentence, "danger")
            self.fit()

        self._context.bridge.call("plan_channel", done, failed, owner=self, peer=terms.uri)

    def _open(self) -> None:
        if self._plans:
            self._plan()
            return
        quote = self.quote
        if quote is None:
            return
        self._busy(True)

        def done(answer: Any) -> None:
            parent = self.parentWidget() or self
            self.accept()
            toast(parent, _("The channel is being opened"), "check")
            if not self._stays and isinstance(answer, Mapping) and answer.get("channel_id"):
                self._context.show_channel(str(answer["channel_id"]))

        def failed(sentence: str) -> None:
            self._busy(False)
            self._banner.say(sentence, "danger")
            self.fit()

        self._context.bridge.call(
            "open_channel",
            done,
            failed,
            owner=self,
            peer=self.peer.text().strip(),
            amount_sat=_sat(quote, "amount_sat"),
        )

    def _busy(self, busy: bool) -> None:
        sentence = _("Connecting and agreeing: at most a minute.") if busy else ""
        for widget in (self.peer, self.amount_field, self.all_button, self.open_button):
            tell_why(widget, sentence)
        self.reason.setText(sentence)
