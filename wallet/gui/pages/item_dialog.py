"""One payment or transaction: the amount, what became of it, a note of one's own, and the details folded."""

from __future__ import annotations

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.describe import item_title
from wallet.gui.tokens import S2
from wallet.gui.widgets.basic import AmountLabel, Label, Pill, hbox, vbox
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.fields import Field, LineEdit
from wallet.gui.widgets.ids import DetailsList, Fold
from wallet.gui.widgets.notices import Banner, Facts, toast
from wallet.i18n import _
from wallet.node.api import ActivityItem, ActivityKind, ActivityStatus

__all__ = ["ItemDialog", "open_item"]

LOOK_IN = 200


def open_item(parent: QWidget, context: Context, item_id: str) -> ItemDialog | None:
    """Looks the item up among the newest, then by its id."""
    found = next((i for i in context.snapshot.recent if i.item_id == item_id), None)
    if found is None:
        key = item_id.split(":", 1)[-1]
        for text in (key, ""):
            page = context.bridge.api.activity_page(offset=0, limit=LOOK_IN, text=text)
            found = next((i for i in page.items if i.item_id == item_id), None)
            if found is not None:
                break
    if found is None:
        toast(parent, _("This payment is not in the history yet."), "info")
        return None
    dialog = ItemDialog(parent, context, found)
    dialog.open()
    return dialog


class ItemDialog(Dialog):
    """Attributes: `item`, `note` (the field of one's own words)."""

    def __init__(self, parent: QWidget, context: Context, item: ActivityItem) -> None:
        super().__init__(parent, item_title(item), network=context.network)
        self.item = item
        self._context = context
        amount = AmountLabel("amount")
        amount.set_msat(item.amount_msat, sign=True, tone="success" if item.amount_msat > 0 else "text")
        lightning = item.kind is ActivityKind.LIGHTNING
        pills = hbox(
            Pill(_("Lightning") if lightning else _("On chain"), "accent", "bolt" if lightning else "chain"),
            self._state_pill(),
            "stretch",
        )
        self.body.addLayout(vbox(amount, pills, spacing=S2))
        if item.status is ActivityStatus.FAILED:
            self.body.addWidget(Banner(fmt.plain(item.status_text, 400), "danger"))
        facts: list[tuple[str, QWidget | str]] = [
            (_("When"), f"{fmt.date_time(item.at)} ({fmt.ago(item.at)})")
        ]
        if item.counterparty:
            facts.append((_("To") if item.amount_msat < 0 else _("From"), fmt.plain(item.counterparty, 80)))
        if item.fee_msat > 0:
            facts.append((_("Fee"), fmt.fee_with_share(item.fee_msat, abs(item.amount_msat))))
        if item.status_text and item.status is not ActivityStatus.FAILED:
            facts.append((_("State"), fmt.plain(item.status_text, 200)))
        shown = Facts(label_width=96)
        shown.show_facts(facts)
        self.body.addWidget(shown)
        self.note = LineEdit(_("Note for yourself"), _("What it was for"))
        self.note.setText(fmt.plain(item.label, 200))
        self.body.addWidget(Field(_("Note for yourself"), self.note))
        if item.attempts:
            attempts = QWidget()
            attempts.setLayout(
                vbox(*(Label(fmt.plain(text, 300), "body", "text2", wrap=True) for text in item.attempts))
            )
            self.body.addWidget(Fold(_("What was tried"), attempts))
        self.body.addWidget(Fold(_("Details"), DetailsList(self._details())))
        self.body.addStretch(1)
        self.add_cancel(_("Close"))
        self.save = self.add_button(_("Save note"), "filled", self._save)
        self.save.setEnabled(False)
        self.note.textChanged.connect(lambda text: self.save.setEnabled(text.strip() != item.label))
        self.note.setFocus(Qt.FocusReason.OtherFocusReason)

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
        pairs = [(_("Exact amount"), fmt.msat_exact(item.amount_msat))]
        if item.fee_msat:
            pairs.append((_("Exact fee"), fmt.msat_exact(item.fee_msat)))
        for name, value in (
            (_("Payment hash"), item.payment_hash),
            (_("Proof of payment"), item.preimage),
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
