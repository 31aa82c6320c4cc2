"""The wizard's two questions for a wallet that is restored: the channel backup, and whether the old one still runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.bridge import run
from wallet.gui.tokens import S3, S4
from wallet.gui.widgets import files
from wallet.gui.widgets.basic import Button, Card, ClickCard, ElidedLabel, IconLabel, hbox, vbox
from wallet.gui.widgets.notices import Banner
from wallet.i18n import _, ngettext
from wallet.node.api import BackupReport, WalletHost

__all__ = ["BackupChoice", "OldInstallationChoice"]


class BackupChoice(QWidget):
    """A file is chosen and looked into with the words. Attributes: `file` once it is of use, `choose`, `told`.

    `changed` is called whenever `file` does.
    """

    def __init__(
        self, host: WalletHost, network: str, words: list[str], changed: Callable[[], object]
    ) -> None:
        super().__init__()
        self._host, self._network, self._words = host, network, words
        self._changed = changed
        self.file: Path | None = None
        self._newest: Path | None = None
        self.choose = Button(_("Choose the file"), "outlined", on_click=self._ask)
        self._name = ElidedLabel(_("No file is chosen yet"), "body", "text2", middle=True)
        row = hbox(IconLabel("shield", "accent", 24), spacing=S3)
        row.addWidget(self._name, 1)
        row.addWidget(self.choose)
        self.told = Banner("", "success")
        self.setLayout(vbox(Card(row), self.told, spacing=S4))

    def _ask(self) -> None:
        files.ask_file(self, _("Choose the channel backup"), self.take)

    def take(self, path: Path) -> None:
        """Looks into a file; the newest choice counts."""
        self.file, self._newest = None, path
        self._name.setText(path.name)
        self._name.set_tone("text")
        self.told.say(_("Looking into it…"), "info")
        self._changed()

        def read(report: BackupReport) -> None:
            if self._newest == path:
                self.file = path
                self.told.say(_contents(report), "success")
                self._changed()

        def refused(sentence: str) -> None:
            if self._newest == path:
                self.told.say(sentence, "danger")
                self._changed()

        checking = self._host.check_channel_backup(network=self._network, words=self._words, file=path)
        run(checking, read, refused, owner=self)


def _contents(report: BackupReport) -> str:
    if not report.channels:
        return _("It fits the words. It names no channel: the wallet had none when it was written.")
    sentence = ngettext(
        "It fits the words. It names {n} channel, as of {date}, that holds {amount}, your part and the peer's.",
        "It fits the words. It names {n} channels, as of {date}, that hold {amount}, your part and the peers'.",
        report.channels,
    )
    return sentence.format(
        n=report.channels, date=fmt.date(report.made_at), amount=fmt.amount_sat(report.capacity_sat)
    )


class OldInstallationChoice(QWidget):
    """Two cards, one for each answer. Attributes: `stopped`, `runs`."""

    def __init__(self, answered: Callable[[bool], object]) -> None:
        super().__init__()
        self.stopped = ClickCard(
            "check-circle",
            _("It does not run any more"),
            _(
                "The computer is lost or broken, or Leyden is gone from it. The peers of your channels are called."
            ),
            lambda: answered(True),
        )
        self.runs = ClickCard(
            "clock",
            _("It may still run"),
            _("No peer is called yet. Quit the other one for good, then say so here: Leyden asks again."),
            lambda: answered(False),
        )
        row = hbox(spacing=S4)
        row.addWidget(self.stopped, 1)
        row.addWidget(self.runs, 1)
        self.setLayout(row)
