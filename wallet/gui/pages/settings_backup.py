"""Settings, Backup: what would come back, the words, the channel backup and its second folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.tokens import S1, S3, S4
from wallet.gui.widgets import files
from wallet.gui.widgets.basic import Button, Card, Flow, Label, Rule, vbox
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.fields import LEAST_PASSWORD, Field, PasswordEdit
from wallet.gui.widgets.notices import Banner, toast
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _

__all__ = ["BackupSection", "PasswordDialog", "WordsDialog"]

BACKUP = "words_and_channel_backup"


def _part(title: str, sentence: Label, *controls: QWidget) -> QWidget:
    """A heading, what it is about in words, and its buttons below."""
    part = QWidget()
    box = vbox(vbox(Label(title, "button"), sentence, spacing=S1), spacing=S3)
    box.addLayout(Flow(*controls))
    part.setLayout(box)
    return part


def _caption(text: str = "") -> Label:
    return Label(text, "caption", "text2", wrap=True)


class BackupSection(QWidget):
    """Attributes: `report_button`, `words_button`, `copy_button`, `folder_button`, `no_folder_button`,
    `warning` (a folder that cannot be written)."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self._asking = False
        self._report: Mapping[str, Any] = {}
        self.warning = Banner("", "warning")
        self._failed = Banner("", "danger")
        self._report_text = _caption(_("Asking what would come back…"))
        self.report_button = Button(
            _("Recovery report"), "outlined", "shield", on_click=lambda: context.go("recovery")
        )
        self.words_button = Button(_("Show the words"), "outlined", "words", on_click=self._show_words)
        self._file_text = _caption()
        self.copy_button = Button(_("Save a copy"), "outlined", on_click=self._ask_copy)
        self._folder_text = _caption()
        self.folder_button = Button(_("Choose a folder"), "outlined", on_click=self._ask_folder)
        self.no_folder_button = Button(_("Stop using it"), "text", on_click=lambda: self._set_folder(""))
        words = _("They bring back coins on chain, and what peers pay out of channels that they close.")
        never = _(
            "Never put an older copy of the wallet file, or of Leyden's whole folder, in place of the present one, "
            "not from a backup of the computer either: coins in channels could be lost, and where the whole folder "
            "was put back Leyden cannot notice. After a loss, restore from the words and the channel backup."
        )
        parts = [
            _part(_("If this computer were lost"), self._report_text, self.report_button),
            _part(_("Words"), _caption(words), self.words_button),
            _part(_("Channel backup"), self._file_text, self.copy_button),
            _part(_("Second folder"), self._folder_text, self.folder_button, self.no_folder_button),
        ]
        box = vbox(spacing=S4)
        for number, part in enumerate(parts):
            if number:
                box.addWidget(Rule())
            box.addWidget(part)
        self.setLayout(
            vbox(
                Label(_("Backup"), "section"),
                self.warning,
                self._failed,
                Card(box),
                Banner(never, "info"),
                spacing=S3,
            )
        )
        self._draw()

    # --- what stands ---------------------------------------------------------------------

    def refresh(self) -> None:
        """Asks for the report again, unless an answer is on its way."""
        if self._asking:
            return
        self._asking = True
        self._context.bridge.call("recovery_report", self._take, self._not_told, owner=self)

    def _take(self, answer: Any) -> None:
        self._asking = False
        if isinstance(answer, Mapping):
            self._report = answer
        self._draw()

    def _not_told(self, sentence: str) -> None:
        self._asking = False
        self._report_text.setText(sentence)

    def _draw(self) -> None:
        report = self._report
        backup = report.get(BACKUP)
        if not isinstance(backup, Mapping):
            self.no_folder_button.hide()
            return
        words = report.get("words")
        words_sat = words.get("amount_sat", 0) if isinstance(words, Mapping) else 0
        self._report_text.setText(
            _("{words} would come back from the words alone, {backup} with the channel backup.").format(
                words=fmt.amount_sat(words_sat), backup=fmt.amount_sat(backup.get("amount_sat", 0))
            )
        )
        second = backup.get("second_file")
        second_problem = str(backup.get("second_problem") or "")
        problem = str(backup.get("problem") or "")
        self.warning.say(fmt.plain(second_problem or problem, 400), "warning")
        first_fails = bool(problem) and problem != second_problem
        self._file_text.setText(
            _("Rewritten whenever a channel is opened, and sealed: only the words open it. {written}").format(
                written=_written(backup.get("written_at"), failing=first_fails)
            )
        )
        self.no_folder_button.setVisible(bool(second))
        self.folder_button.setText(_("Choose another folder") if second else _("Choose a folder"))
        if second:
            self._folder_text.setText(
                _("{file}. {written}").format(
                    file=fmt.plain(str(second), 200),
                    written=_written(backup.get("second_written_at"), failing=bool(second_problem)),
                )
            )
        else:
            self._folder_text.setText(
                _(
                    "None. Name one on another disk, or one that is synchronised, and the channel backup is kept "
                    "there too: what lies only on this computer is lost with it."
                )
            )

    # --- what can be done ----------------------------------------------------------------

    def _show_words(self) -> None:
        WordsDialog(self, self._context).open()

    def _ask_copy(self) -> None:
        name = f"leyden-channels-{fmt.date(fmt.now())}.backup"
        files.ask_new_file(self, _("Save a copy of the channel backup"), name, self._save_copy)

    def _save_copy(self, path: Path) -> None:
        self._failed.say("")

        def saved(_answer: Any) -> None:
            toast(
                self,
                _("A copy is saved in {folder}").format(folder=fmt.plain(path.parent.name, 40)),
                "shield",
            )

        self._context.bridge.call(
            "export_channel_backup", saved, self._failed.say, owner=self, file=str(path)
        )

    def _ask_folder(self) -> None:
        files.ask_folder(
            self, _("A second folder for the channel backup"), lambda path: self._set_folder(str(path))
        )

    def _set_folder(self, folder: str) -> None:
        self._failed.say("")

        def done(_answer: Any) -> None:
            toast(
                self, _("The channel backup is kept there too") if folder else _("No second folder"), "shield"
            )
            self.refresh()

        def failed(sentence: str) -> None:
            self._failed.say(sentence)
            self.refresh()

        self._context.bridge.call("set_backup_folder", done, failed, owner=self, folder=folder)


def _written(moment_at: object, *, failing: bool) -> str:
    written = _("Not written yet.")
    if isinstance(moment_at, int) and moment_at > 0:
        written = _("Last written {ago}.").format(ago=fmt.ago(moment_at))
    return _("The last write failed. {written}").format(written=written) if failing else written


class WordsDialog(Dialog):
    """Shows the words after the password was given once more."""

    def __init__(self, parent: QWidget, context: Context) -> None:
        super().__init__(parent, _("Show the words"), network=context.network)
        self._context = context
        sentence = _("Whoever sees these words can take the money. Look round before you go on.")
        self.body.addWidget(Banner(sentence, "warning"))
        self.password = PasswordEdit(_("Password"))
        self._row = Field(_("Password"), self.password)
        self.body.addWidget(self._row)
        self._place = vbox(spacing=S1)
        self.body.addLayout(self._place)
        self.body.addStretch(1)
        self.add_cancel(_("Close"))
        self.show_button = self.add_button(_("Show the words"), "filled", self._ask)
        self.password.returnPressed.connect(self._ask)
        self.password.setFocus()

    def _ask(self) -> None:
        tell_why(self.show_button, _("Checking the password…"), self.reason)
        self._context.bridge.call(
            "getseed", self._shown, self._failed, owner=self, password=self.password.text()
        )

    def _failed(self, sentence: str) -> None:
        tell_why(self.show_button, "", self.reason)
        self._row.set_problem(sentence)
        self.fit()

    def _shown(self, answer: object) -> None:
        from wallet.gui.pages.wizard_words import WordGrid

        self.password.clear()
        self.reason.setText("")
        self._row.hide()
        self.show_button.hide()
        self._place.addWidget(WordGrid(str(answer).split()))
        self.fit()


class PasswordDialog(Dialog):
    """Asks for the present password and twice for the new one. Attributes: `old`, `new`, `again`, `change`."""

    def __init__(self, parent: QWidget, context: Context) -> None:
        super().__init__(parent, _("Change the password"), network=context.network, width=460)
        self._context = context
        self.old = PasswordEdit(_("Present password"))
        self.new = PasswordEdit(_("New password"))
        self.again = PasswordEdit(_("New password again"))
        self._old_row = Field(_("Present password"), self.old, _("Empty if the wallet has none"))
        self._new_row = Field(
            _("New password"), self.new, _("At least {n} characters").format(n=LEAST_PASSWORD)
        )
        self._again_row = Field(_("New password again"), self.again)
        for row in (self._old_row, self._new_row, self._again_row):
            self.body.addWidget(row)
        note = _(
            "It cannot be recovered. If you forget it, the words and the channel backup make the wallet anew."
        )
        self.body.addWidget(_caption(note))
        self.body.addStretch(1)
        self.add_cancel()
        self.change = self.add_button(_("Change the password"), "filled", self._change)
        for edit in (self.old, self.new, self.again):
            edit.textChanged.connect(lambda _text: self._update())
        self.again.left.connect(self._compare)
        self._update()
        self.old.setFocus()

    def _update(self) -> None:
        new, again = self.new.text(), self.again.text()
        if len(new) < LEAST_PASSWORD:
            reason = _("Type a longer one first.") if new else _("Type the new one first.")
        else:
            reason = "" if new == again else _("Type it once more.")
        tell_why(self.change, reason, self.reason)

    def _compare(self) -> None:
        differs = bool(self.again.text()) and self.again.text() != self.new.text()
        self._again_row.set_problem(_("The two are not the same.") if differs else "")
        self.fit()

    def _change(self) -> None:
        if not self.change.isEnabled():
            return
        tell_why(self.change, _("Changing it. This takes a few seconds."), self.reason)
        self._old_row.set_problem("")

        def done(_answer: Any) -> None:
            for edit in (self.old, self.new, self.again):
                edit.clear()
            parent = self.parentWidget() or self
            self.accept()
            toast(parent, _("The password is changed"), "key")

        def failed(sentence: str) -> None:
            self._update()
            self._old_row.set_problem(sentence)
            self.fit()

        self._context.bridge.call(
            "change_password",
            done,
            failed,
            owner=self,
            new_password=self.new.text(),
            password=self.old.text(),
        )
