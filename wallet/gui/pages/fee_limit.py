"""What a Lightning payment may cost: the larger of 1 % and 10 sat, or what is chosen where the payment is agreed to."""

from __future__ import annotations

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.theme import theme
from wallet.gui.tokens import S2, S4
from wallet.gui.widgets.basic import Button, Label, hbox, vbox
from wallet.gui.widgets.fields import AmountField, Field
from wallet.i18n import _

__all__ = ["FEE_FLOOR_MSAT", "FeeLimit", "default_limit_msat"]

FEE_FLOOR_MSAT = 10_000
FEE_SHARE = 100


def default_limit_msat(amount_msat: int | None) -> int:
    return max(FEE_FLOOR_MSAT, (amount_msat or 0) // FEE_SHARE)


class FeeLimit(QWidget):
    """Signal: `changed()`. Attribute: `field`, in sight once the person wants another limit."""

    changed = pyqtSignal()

    def __init__(self, *, label_width: int = 96) -> None:
        super().__init__()
        self._given_msat: int | None = None
        self._amount_msat: int | None = None
        name = Label(_("Fee at most"), "body", "text2")
        name.setFixedWidth(theme().px(label_width))
        self._shown = Label("", "body")
        self.button = Button(
            _("Change it"), "text", small=True, name=_("Change the largest fee"), on_click=self._open
        )
        self.field = AmountField(_("Largest fee"), large=False)
        self.field.setMaximumWidth(theme().px(200))
        self._own = Field(
            _("Largest fee"),
            self.field,
            _("The payment takes the cheapest route that works. It never costs more than this."),
        )
        self._own.hide()
        self.field.amount_changed.connect(lambda _sat: self._typed())
        row = hbox(name, self._shown, self.button, "stretch", spacing=S4)
        row.setAlignment(name, Qt.AlignmentFlag.AlignVCenter)
        self.setLayout(vbox(row, self._own, spacing=S2))

    @property
    def problem(self) -> str:
        """Why there is no limit now; empty where there is one."""
        if not self._own.isHidden() and self.field.amount_sat() is None:
            return self.field.problem or _("Type the largest fee first.")
        return ""

    def limit_msat(self) -> int:
        if not self._own.isHidden():
            return (self.field.amount_sat() or 0) * 1000
        return self._given_msat if self._given_msat is not None else default_limit_msat(self._amount_msat)

    def show_for(self, amount_msat: int | None, given_msat: int | None = None) -> None:
        """`given_msat` is the node's word, where it has one."""
        self._amount_msat, self._given_msat = amount_msat, given_msat
        self._show()

    def _show(self) -> None:
        self._shown.setText(fmt.fee_with_share(self.limit_msat(), self._amount_msat or 0))

    def _open(self) -> None:
        self.field.set_amount_sat(self.limit_msat() // 1000, quietly=True)
        self._own.show()
        self.button.hide()
        self.field.setFocus(Qt.FocusReason.OtherFocusReason)
        self.field.selectAll()

    def _typed(self) -> None:
        self._own.set_problem(self.field.problem)
        self._show()
        self.changed.emit()
