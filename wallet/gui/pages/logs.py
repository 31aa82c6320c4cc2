"""The log for support: shown first, then saved to a file, without what is nobody's business."""

from __future__ import annotations

from pathlib import Path

from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.support import support_log
from wallet.gui.widgets import files
from wallet.gui.widgets.basic import Label
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.fields import TextArea
from wallet.gui.widgets.notices import Banner, toast
from wallet.i18n import _

__all__ = ["LogDialog"]


class LogDialog(Dialog):
    """Attributes: `text` (what will be saved, and nothing else), `save_button`."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, _("Log for support"), width=760)
        sentence = _(
            "This is all that the file will hold. Keys, addresses, amounts, names and places were taken out as the "
            "lines came. Read it before you pass it on."
        )
        self.body.addWidget(Label(sentence, "body", wrap=True))
        self._failed = Banner("", "danger")
        self.body.addWidget(self._failed)
        self.text = TextArea(_("Log"), lines=16, least_lines=4, mono=True)
        self.gives_way = self.text
        self.text.setReadOnly(True)
        self.text.setPlainText(support_log().text() or _("Nothing has been logged yet."))
        self.body.addWidget(self.text)
        self.add_cancel(_("Close"))
        self.save_button = self.add_button(_("Save to a file"), "filled", self._ask)

    def _ask(self) -> None:
        files.ask_new_file(self, _("Save the log"), f"leyden-log-{fmt.date(fmt.now())}.txt", self.save)

    def save(self, path: Path) -> None:
        """Writes what is shown; a file that is there stays as it is."""
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(self.text.toPlainText() + "\n")
        except OSError as error:
            self._failed.say(
                _("{path} cannot be written: {why}. Choose another name or folder.").format(
                    path=fmt.plain(str(path), 200), why=error.strerror or error
                )
            )
            return
        self._failed.say("")
        toast(self, _("The log is saved in {folder}").format(folder=fmt.plain(path.parent.name, 40)))
