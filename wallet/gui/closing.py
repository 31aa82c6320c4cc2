"""What closing the window means: it is asked once, with the date until which it is safe to be away."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.widgets.basic import Label
from wallet.gui.widgets.checks import CheckBox
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.notices import Banner
from wallet.i18n import _
from wallet.node.api import ActivityKind, ActivityStatus, WalletSnapshot

__all__ = ["CloseQuestion", "away_sentence", "in_flight_sentence", "is_due"]


def away_sentence(snapshot: WalletSnapshot, *, now_at: int) -> str:
    """Until when Leyden may be off."""
    status = snapshot.status
    if status.safe_until_height is None:
        return _("Nothing is at risk while Leyden is off. Payments to you wait until it runs again.")
    blocks = status.safe_until_height - status.height
    if blocks <= 0:
        return _("Something in your channels is due now. Let Leyden run until it is settled.")
    until = fmt.date(now_at + blocks * fmt.SECONDS_PER_BLOCK)
    return _(
        "Your channels are safe until {date}, for {time}. Start Leyden before then, so that it can watch them."
    ).format(date=until, time=fmt.blocks_long(blocks))


def is_due(snapshot: WalletSnapshot) -> bool:
    """Whether something would be lost by being off now: that is asked about whatever was chosen for good."""
    status = snapshot.status
    return status.safe_until_height is not None and status.safe_until_height <= status.height


def in_flight_sentence(snapshot: WalletSnapshot) -> str:
    """A warning where a payment over Lightning is under way; else empty."""
    under_way = any(
        item.kind is ActivityKind.LIGHTNING and item.status is ActivityStatus.PENDING
        for item in snapshot.recent
    )
    return _("A payment is under way. It is safer to wait for its end.") if under_way else ""


class CloseQuestion(Dialog):
    """Attributes: `quit_button`, `stay_button`, `always` (do the same from now on)."""

    def __init__(
        self, parent: QWidget, snapshot: WalletSnapshot, on_choice: Callable[[str, bool], object]
    ) -> None:
        super().__init__(parent, _("Quit Leyden?"), width=480)
        self._on_choice = on_choice
        self.body.addWidget(Label(away_sentence(snapshot, now_at=fmt.now()), "body", wrap=True))
        if warning := in_flight_sentence(snapshot):
            self.body.addWidget(Banner(warning, "warning"))
        stay = _("If it stays, the window is put away, and Leyden goes on watching and receiving.")
        self.body.addWidget(Label(stay, "caption", "text2", wrap=True))
        self.always = CheckBox(_("Do the same from now on"))
        self.always.setAccessibleDescription(_("It can be changed in the settings."))
        self.always.setChecked(True)
        self.body.addWidget(self.always)
        self.add_cancel()
        self.stay_button = self.add_button(_("Let it run"), "outlined", lambda: self._choose("stay"))
        self.quit_button = self.add_button(_("Quit"), "filled", lambda: self._choose("quit"))
        self.quit_button.setFocus()

    def _choose(self, choice: str) -> None:
        always = self.always.isChecked()
        self.accept()
        self._on_choice(choice, always)
