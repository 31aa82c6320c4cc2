"""All shortcuts in one table: the window binds them, the menu shows them, F1 lists them."""

from __future__ import annotations

from dataclasses import dataclass

from PyQt6.QtGui import QKeySequence
from PyQt6.QtWidgets import QWidget

from wallet.gui.tokens import S2, S3
from wallet.gui.widgets.basic import Label, Rule, hbox, vbox
from wallet.gui.widgets.dialog import Dialog
from wallet.i18n import _

__all__ = ["Shortcut", "ShortcutsDialog", "actions"]


@dataclass(frozen=True, slots=True)
class Shortcut:
    """Attributes: `act` names what the window does; `keys` as Qt writes them."""

    act: str
    keys: str
    words: str


def actions() -> list[Shortcut]:
    """What can be done with a shortcut on every page."""
    return [
        Shortcut("search", "Ctrl+F", _("Search on this page")),
        Shortcut("open_channel", "Ctrl+N", _("Open a channel")),
        Shortcut("hide", "Ctrl+H", _("Hide or show amounts")),
        Shortcut("lock", "Ctrl+L", _("Lock the wallet")),
        Shortcut("wallets", "Ctrl+O", _("Other wallets")),
        Shortcut("console", "Ctrl+Shift+C", _("Console")),
        Shortcut("quit", "Ctrl+Q", _("Quit")),
        Shortcut("help", "F1", _("All shortcuts")),
    ]


def _everywhere() -> list[tuple[str, str]]:
    """What the controls do by themselves."""
    return [
        ("Ctrl+V", _("Send: what was copied is recognised")),
        ("Tab", _("To the next control")),
        ("Shift+Tab", _("To the control before")),
        (_("Arrows"), _("Within a list, a table, a group of choices")),
        (_("Space"), _("Press the control that has the ring")),
        (_("Enter"), _("The main button of a dialog")),
        ("Esc", _("Close a dialog")),
    ]


class ShortcutsDialog(Dialog):
    """Every shortcut with what it does. Attribute: `lines`, pairs of keys and words."""

    def __init__(self, parent: QWidget, places: list[tuple[str, str]]) -> None:
        super().__init__(parent, _("Shortcuts"))
        groups = [
            (_("Pages"), places),
            (_("On every page"), [(one.keys, one.words) for one in actions()]),
            (_("In pages and dialogs"), _everywhere()),
        ]
        self.lines: list[tuple[str, str]] = []
        for title, pairs in groups:
            box = vbox(Label(title, "section"), spacing=S2)
            for number, (keys, words) in enumerate(pairs):
                if number:
                    box.addWidget(Rule())
                shown = QKeySequence(keys).toString(QKeySequence.SequenceFormat.NativeText) or keys
                row = hbox(spacing=S3)
                row.addWidget(Label(words, "body"), 1)
                row.addWidget(Label(shown, "mono", "text2"))
                box.addLayout(row)
                self.lines.append((shown, words))
            self.body.addLayout(box)
        self.add_cancel(_("Close")).setFocus()
