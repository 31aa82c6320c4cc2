"""One payment or transaction: the amount, what became of it, a note of one's own, and the details folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QVBoxLayout, QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.describe import item_title
from wallet.gui.tokens import S1, S2, S4
from wallet.gui.widgets.basic import AmountLabel, Button, IconLabel, Label, Pill, hbox, vbox
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.fields import Field, LineEdit
from wallet.gui.widgets.ids import DetailsList, Fold, copy_text
from wallet.gui.widgets.notices import Banner, Facts, toast
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _, ngettext
from wallet.node.api import (
    ActivityDirection,
    ActivityItem,
    ActivityKind,
    ActivityStatus,
    AttemptHopView,
    AttemptView,
)
from wallet.node.map_api import RouteAttempt

__all__ = ["AttemptsList", "ItemDialog", "open_item", "proof_text"]


def open_item(parent: QWidget, context: Context, item_id: str) -> ItemDialog | None:
    """Looks the item up by its id."""
    found = next(iter(context.bridge.api.activity_items([item_id])), None)
    if found is None:
        toast(parent, _("This payment is not in the history yet."), "info")
        return None
    dialog = ItemDialog(parent, context, found)
    dialog.open()
    return dialog


def proof_text(item: ActivityItem) -> str:
    """What is handed to whoever doubts a payment; for programs too, so not translated."""
    lines = [
        f"payment_hash: {item.payment_hash}",
        f"preimage: {item.preimage}",
        f"amount_msat: {abs(item.amount_msat)}",
        f"paid_at: {fmt.date_time(item.at)}",
    ]
    if item.invoice:
        lines.append(f"invoice: {item.invoice}")
    return "\n".join(lines)


class AttemptsList(QWidget):
    """Each attempt: what became of it, its way with amounts and fees, and where it failed."""

    def __init__(self, attempts: Sequence[AttemptView]) -> None:
        super().__init__()
        box = vbox(spacing=S4)
        for number, attempt in enumerate(attempts, 1):
            box.addLayout(self._attempt(number, attempt))
        self.setLayout(box)

    @staticmethod
    def _attempt(number: int, attempt: AttemptView) -> QVBoxLayout:
        icon, token = {
            ActivityStatus.DONE: ("check-circle", "success"),
            ActivityStatus.PENDING: ("hourglass", "brass"),
            ActivityStatus.FAILED: ("cross-circle", "danger"),
        }[attempt.status]
        head = hbox(
            IconLabel(icon, token, 16), Label(attempt_title(number, attempt), "strong", wrap=True), spacing=S2
        )
        lines = vbox(head, spacing=S1)
        if attempt.failure:
            lines.addWidget(Label(fmt.plain(attempt.failure, 300), "body", wrap=True))
        for place, hop in enumerate(attempt.hops):
            failed = attempt.failed_hop == place
            lines.addWidget(Label(hop_sentence(place + 1, hop, failed=failed), "body", "text2", wrap=True))
        return lines


def attempt_title(number: int, attempt: AttemptView) -> str:
    """Number, state in words, amount and fee, and how long it took."""
    words = {
        ActivityStatus.DONE: _("Route {n}: arrived"),
        ActivityStatus.PENDING: _("Route {n}: under way"),
        ActivityStatus.FAILED: _("Route {n}: failed"),
    }[attempt.status].format(n=number)
    parts = [words, fmt.amount(attempt.amount_msat)]
    if attempt.fee_msat:
        parts.append(_("fee {fee}").format(fee=fmt.msat_exact(attempt.fee_msat)))
    if attempt.took_ms is not None:
        parts.append(took_text(attempt.took_ms))
    return ", ".join(parts)


def when_text(at: int) -> str:
    """The moment, and for a day how long ago that is."""
    whole, ago = fmt.date_time(at), fmt.ago(at)
    return whole if whole.startswith(ago) else f"{whole} ({ago})"


def on_graph(own_id: str, attempt: AttemptView) -> RouteAttempt:
    """The same attempt as the map draws it: from us to the payee, with the channel that did not carry it."""
    channels = tuple(hop.short_channel_id for hop in attempt.hops)
    failed_at = None
    if attempt.status is ActivityStatus.FAILED:
        if attempt.failed_channel in channels:
            failed_at = channels.index(attempt.failed_channel)
        elif attempt.failed_hop is not None:
            # A node reports what it could not send on; the payee refuses what came.
            failed_at = min(attempt.failed_hop + 1, len(channels) - 1)
    return RouteAttempt(
        nodes=(own_id, *(hop.node_id for hop in attempt.hops)),
        channels=channels,
        failed_at=failed_at,
        reason=attempt.failure,
        arrived=attempt.status is ActivityStatus.DONE,
    )


def took_text(took_ms: int) -> str:
    """Seconds with one decimal: "2.4 s"."""
    tenths = (took_ms + 50) // 100
    return f"{tenths // 10}.{tenths % 10}\u00a0s"


def hop_sentence(number: int, hop: AttemptHopView, *, failed: bool) -> str:
    """Whom it went to, by which channel, with how much; where it failed is said in words."""
    text = _("{n}. {name} by channel {channel}, {amount}").format(
        n=number,
        name=fmt.node_name(hop.alias, hop.node_id),
        channel=hop.short_channel_id,
        amount=fmt.msat_exact(hop.amount_msat),
    )
    if hop.fee_msat:
        text += ", " + _("keeps {fee}").format(fee=fmt.msat_exact(hop.fee_msat))
    if hop.hold_time_ms is not None:
        text += ", " + _("held it {time}").format(time=took_text(hop.hold_time_ms))
    return text + ". " + _("It failed here.") if failed else text


class ItemDialog(Dialog):
    """Attributes: `item`, `note` (the field of one's own words), `attempts`, `on_graph`, `copy_proof`,
    `speed_up`, `again` where there are any."""

    attempts: AttemptsList | None = None
    copy_proof: Button | None = None
    on_graph: Button | None = None
    speed_up: Button | None = None
    again: Button | None = None

    def __init__(self, parent: QWidget, context: Context, item: ActivityItem) -> None:
        super().__init__(parent, item_title(item), network=context.network)
        self.item = item
        self._context = context
        moved = item.direction is ActivityDirection.MOVED
        amount = AmountLabel("amount")
        amount.set_msat(
            item.moved_msat if moved else item.amount_msat,
            sign=not moved,
            tone="success" if item.amount_msat > 0 else "text",
        )
        lightning = item.kind is ActivityKind.LIGHTNING
        pills = hbox(
            Pill(_("Lightning") if lightning else _("On chain"), "accent", "bolt" if lightning else "chain"),
            self._state_pill(),
            "stretch",
        )
        self.body.addLayout(vbox(amount, pills, spacing=S2))
        if item.status is ActivityStatus.FAILED:
            self.body.addWidget(self._failure(item))
        if moved:
            self.body.addWidget(
                Label(
                    _("Moved between your coins and a channel of yours. Only the fee is gone.")
                    if item.channel_id
                    else _("Sent to an address of your own. Only the fee is gone."),
                    "body",
                    "text2",
                    wrap=True,
                )
            )
        facts: list[tuple[str, QWidget | str]] = [(_("When"), when_text(item.at))]
        if item.counterparty:
            side = _("Channel with") if moved else _("To") if item.amount_msat < 0 else _("From")
            facts.append((side, fmt.foreign(item.counterparty, 80)))
        if item.fee_msat > 0:
            facts.append(
                (_("Fee"), fmt.fee_with_share(item.fee_msat, abs(item.amount_msat) or item.moved_msat))
            )
        if then := fmt.in_fiat_then(item.amount_msat, item.at):
            facts.append((_("On that day"), then))
        if item.status_text and item.status is not ActivityStatus.FAILED:
            facts.append((_("State"), fmt.plain(item.status_text, 200)))
        shown = Facts(label_width=96)
        shown.show_facts(facts)
        self.body.addWidget(shown)
        if lightning and item.amount_msat < 0 and item.status is ActivityStatus.PENDING and item.payment_hash:
            self._show_deadline(shown, facts, item.payment_hash)
        if not lightning and item.status is ActivityStatus.PENDING and item.txid:
            self._offer_speed(item.txid)
        self.note = LineEdit(_("Note for yourself"), _("What it was for"))
        self.note.setText(fmt.plain(item.label, 200))
        self.body.addWidget(Field(_("Note for yourself"), self.note))
        if item.preimage and item.amount_msat < 0:
            self.body.addWidget(self._proof(item.preimage))
        attempts = tuple(context.bridge.api.payment_attempts(item.item_id))
        if attempts:
            is_open = item.status is not ActivityStatus.DONE
            title = ngettext("What was tried: {n} route", "What was tried: {n} routes", len(attempts))
            self.attempts = AttemptsList(attempts)
            self.on_graph = Button(
                _("Show on the graph"),
                "outlined",
                "network",
                small=True,
                on_click=lambda: self._show_on_graph(attempts),
            )
            inside = QWidget()
            inside.setLayout(vbox(self.attempts, hbox(self.on_graph, "stretch"), spacing=S4))
            self.body.addWidget(Fold(title.format(n=len(attempts)), inside, is_open=is_open))
        elif item.attempts:
            sentences = QWidget()
            sentences.setLayout(
                vbox(*(Label(fmt.plain(text, 300), "body", "text2", wrap=True) for text in item.attempts))
            )
            self.body.addWidget(Fold(_("What was tried"), sentences))
        self.body.addWidget(Fold(_("Details"), DetailsList(self._details())))
        self.body.addStretch(1)
        self.add_cancel(_("Close"))
        self.save = self.add_button(_("Save note"), "filled", self._save)
        self.note.textChanged.connect(lambda text: self._check_note(text.strip() != item.label))
        self._check_note(changed=False)
        self.note.setFocus(Qt.FocusReason.OtherFocusReason)

    def _check_note(self, changed: bool) -> None:
        tell_why(self.save, "" if changed else _("Change the note first."), self.reason)

    def _failure(self, item: ActivityItem) -> Banner:
        """Why it failed, and the same invoice once more: Send says whether it can still be paid."""
        invoice = item.invoice
        sentence = fmt.plain(item.status_text, 400)
        if not invoice or item.amount_msat >= 0:
            return Banner(sentence, "danger")

        def again() -> None:
            self.accept()
            self._context.pay(invoice)

        banner = Banner(sentence, "danger", _("Try again"), again)
        self.again = banner.button
        return banner

    def _offer_speed(self, txid: str) -> None:
        """A transaction that waits can be made quicker: what that costs stands on the button."""
        place = vbox(spacing=S2)
        self.body.addLayout(place)

        def told(answer: Any) -> None:
            if not isinstance(answer, Mapping):
                return
            cost = fmt.amount_sat(int(answer["costs_sat"]))
            words = _("A higher fee, {rate} sat/vB, brings it into one of the next blocks.").format(
                rate=answer["feerate"]
            )
            button = Button(_("Speed up for {amount}").format(amount=cost), "outlined")
            button.clicked.connect(lambda _checked=False: self._speed_up(txid, str(answer["feerate"])))
            self.speed_up = button
            place.addWidget(Label(words, "body", "text2", wrap=True))
            place.addLayout(hbox(button, "stretch"))

        def refused(sentence: str) -> None:
            words = _("It cannot be sped up: {why}").format(why=fmt.plain(sentence, 200))
            place.addWidget(Label(words, "caption", "text2", wrap=True))

        self._context.bridge.call("quote_bump", told, refused, owner=self, txid=txid)

    def _speed_up(self, txid: str, feerate: str) -> None:
        if self.speed_up is not None:
            tell_why(self.speed_up, _("Sending it again with a higher fee."))

        def done(_answer: Any) -> None:
            toast(self._context_parent(), _("Sent again with a higher fee"), "check")
            self.accept()

        def failed(sentence: str) -> None:
            if self.speed_up is not None:
                tell_why(self.speed_up, "")
            self.reason.setText(sentence)

        self._context.bridge.call("bump_fee", done, failed, owner=self, txid=txid, feerate=feerate)

    def _show_deadline(self, shown: Facts, facts: list[tuple[str, QWidget | str]], payment_hash: str) -> None:
        """A payment that hangs arrives or comes back by itself: when its time limit ends, and what happens then."""

        def told(answer: Any) -> None:
            if isinstance(answer, Mapping) and "blocks" in answer:
                words = _(
                    "Ends in {time}. By then it mostly has arrived or come back; should it hang even then, Leyden "
                    "closes the channel and takes the amount back on chain, which takes longer."
                ).format(time=fmt.blocks_long(int(answer["blocks"])))
                if int(answer["blocks"]) <= 0:
                    words = _(
                        "Over. Leyden closes the channel, and takes the amount back on chain unless it still arrives."
                    )
                shown.show_facts([*facts, (_("Time limit"), words)])

        self._context.bridge.call(
            "payment_deadline", told, lambda _sentence: None, owner=self, payment_hash=payment_hash
        )

    def _show_on_graph(self, attempts: Sequence[AttemptView]) -> None:
        own_id = self._context.snapshot.status.node_id
        self.accept()
        self._context.show_attempts([on_graph(own_id, attempt) for attempt in attempts])

    def _proof(self, preimage: str) -> Fold:
        """Only the payee knew the preimage, and gives it away for the payment."""
        proof = proof_text(self.item)
        self.copy_proof = Button(
            _("Copy the proof"),
            "outlined",
            "copy",
            small=True,
            on_click=lambda: copy_text(self, proof, _("Proof")),
        )
        inside = QWidget()
        inside.setLayout(
            vbox(
                Label(
                    _(
                        "The preimage is what the payee gave for your money. Its SHA-256 is the payment hash of the "
                        "invoice: whoever has both can see that it was paid."
                    ),
                    "body",
                    "text2",
                    wrap=True,
                ),
                DetailsList(((_("Preimage"), preimage), (_("Payment hash"), self.item.payment_hash or ""))),
                hbox(self.copy_proof, "stretch"),
            )
        )
        return Fold(_("Proof of payment"), inside)

    def _state_pill(self) -> Pill:
        match self.item.status:
            case ActivityStatus.DONE:
                return Pill(_("Done"), "success", "check")
            case ActivityStatus.PENDING:
                return Pill(_("Under way"), "neutral", "hourglass")
            case _:
                return Pill(_("Failed"), "danger", "close")

    def _details(self) -> list[tuple[str, str]]:
        item = self.item
        pairs = [(_("Exact amount"), fmt.msat_exact(item.amount_msat or item.moved_msat))]
        if item.fee_msat:
            pairs.append((_("Exact fee"), fmt.msat_exact(item.fee_msat)))
        for name, value in (
            (_("Payment hash"), item.payment_hash),
            (_("Preimage"), item.preimage if item.amount_msat > 0 else None),
            (_("Transaction"), item.txid),
            (_("Invoice"), item.invoice),
        ):
            if value:
                pairs.append((name, value))
        if item.height is not None:
            pairs.append((_("Block"), fmt.group(item.height)))
        return pairs

    def _save(self) -> None:
        def done(_answer: object) -> None:
            toast(self._context_parent(), _("Note saved"), "check")
            self.accept()

        self._context.bridge.call(
            "set_label",
            done,
            lambda sentence: self.reason.setText(sentence),
            owner=self,
            item_id=self.item.item_id,
            label=self.note.text().strip(),
        )

    def _context_parent(self) -> QWidget:
        return self.parentWidget() or self
