"""The console: the commands of the command line, typed here, with history and completion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from PyQt6.QtCore import QStringListModel, Qt
from PyQt6.QtGui import QKeyEvent
from PyQt6.QtWidgets import QCompleter, QListView, QWidget

from wallet.gui.context import Context
from wallet.gui.theme import theme
from wallet.gui.tokens import S2
from wallet.gui.widgets.basic import hbox
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.fields import LineEdit, TextArea
from wallet.gui.widgets.notices import Banner
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _

__all__ = ["ConsoleDialog", "ConsoleLine"]

MAX_HISTORY = 200
SECRET_WORDS = ("password", "restore", "create")
"""A line with one of these is not remembered."""
SECRET_COMMANDS = ("getseed", "change_password")
"""What follows one of these may be a password, by its place alone."""


class ConsoleLine(LineEdit):
    """The line being typed. Up and Down walk the lines before; a list offers what fits.

    Attributes: `history`, oldest first. `commands`: names and their first sentences.
    """

    history: ClassVar[list[str]] = []  # of all consoles of this run

    def __init__(self, name: str) -> None:
        super().__init__(name, _("A command, such as help"), mono=True)
        self.commands: dict[str, str] = {}
        self._model = QStringListModel(self)
        completer = QCompleter(self._model, self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setMaxVisibleItems(8)
        popup = QListView()
        popup.setProperty("popup", "true")
        popup.setFont(theme().font("mono"))
        popup.setAccessibleName(_("Commands that fit"))
        completer.setPopup(popup)
        self.setCompleter(completer)
        self._place = 0
        self._draft = ""

    def offer(self, commands: Mapping[str, str]) -> None:
        self.commands = dict(commands)
        self._model.setStringList(sorted(self.commands))

    def remember(self, line: str) -> None:
        """Notes a line that was run; a secret never."""
        lines = ConsoleLine.history
        is_secret = _masked(line) != " ".join(line.split()) or any(
            word in line.lower() for word in SECRET_WORDS
        )
        if line and not is_secret and lines[-1:] != [line]:
            lines.append(line)
            del lines[:-MAX_HISTORY]
        self._place = 0
        self._draft = ""

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        if event is not None and event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self._walk(1 if event.key() == Qt.Key.Key_Up else -1)
            event.accept()
            return
        super().keyPressEvent(event)

    def _walk(self, step: int) -> None:
        lines = ConsoleLine.history
        if self._place == 0:
            self._draft = self.text()
        self._place = min(max(self._place + step, 0), len(lines))
        self.setText(lines[-self._place] if self._place else self._draft)


class ConsoleDialog(Dialog):
    """Attributes: `line`, `output`, `run_button`."""

    def __init__(self, parent: QWidget, context: Context) -> None:
        super().__init__(parent, _("Console"), network=context.network, width=760)
        self._context = context
        warning = _("Commands act at once. Whoever tells you what to type here may be after your coins.")
        self.body.addWidget(Banner(warning, "warning"))
        self.output = TextArea(_("Answers"), lines=16, least_lines=4, mono=True)
        self.gives_way = self.output
        self.output.setReadOnly(True)
        self.output.setMaximumBlockCount(5_000)
        self.body.addWidget(self.output)
        self.line = ConsoleLine(_("Command"))
        row = hbox(spacing=S2)
        row.addWidget(self.line, 1)
        self.body.addLayout(row)
        self.reason.setText(_("Up and Down bring back earlier lines."))
        self.add_cancel(_("Close"))
        self.run_button = self.add_button(_("Run"), "filled", self.run)
        self.run_button.setAutoDefault(False)
        self.run_button.setDefault(False)
        self.line.returnPressed.connect(self.run)
        self.line.setFocus()
        context.bridge.call("help", self._offer, self._say, owner=self)

    def _offer(self, answer: Any) -> None:
        if isinstance(answer, Mapping):
            self.line.offer({str(name): str(sentence) for name, sentence in answer.items()})

    def _say(self, text: str) -> None:
        self.output.appendPlainText(text)

    def run(self) -> None:
        """Runs what is typed; the answer follows the line."""
        line = self.line.text().strip()
        if not line or not self.run_button.isEnabled():
            return
        self.line.remember(line)
        self.line.clear()
        self._say(f"> {_masked(line)}")
        tell_why(self.run_button, _("Running…"), self.reason)
        self._context.bridge.call("console", self._answered, self._refused, owner=self, line=line)

    def _ready(self) -> None:
        tell_why(self.run_button, "")
        self.reason.setText(_("Up and Down bring back earlier lines."))

    def _answered(self, answer: Any) -> None:
        self._ready()
        self._say(answer if isinstance(answer, str) else json.dumps(answer, indent=2, ensure_ascii=False))

    def _refused(self, sentence: str) -> None:
        self._ready()
        self._say(sentence)


_AS_READ = str.maketrans({"-": "_", "'": "", '"': "", "\\": ""})


def _masked(line: str) -> str:
    """A line as it is echoed: neither what follows the word "password", nor a command that takes one."""
    typed = line.split()
    # Quotation marks do not change which command it is, and dashes do not either.
    place = 1 if typed and typed[0].translate(_AS_READ) == "leyden" else 0
    command = "".join(typed[place : place + 1]).translate(_AS_READ)
    if command in SECRET_COMMANDS and len(typed) > place + 1:
        return " ".join((*typed[: place + 1], "••••••"))
    words, hidden = [], False
    for word in typed:
        name, equals, _value = word.partition("=")
        if hidden:
            word, hidden = "••••••", False
        elif "password" in name.lower() and equals:
            word = f"{name}=••••••"
        elif word.startswith("--") and "password" in name.lower():
            hidden = True
        words.append(word)
    return " ".join(words)
