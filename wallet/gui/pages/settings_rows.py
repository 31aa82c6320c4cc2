"""How Settings are laid out: sections of rows, each a name, a sentence, and its control at the right."""

from __future__ import annotations

from PyQt6.QtWidgets import QAbstractButton, QFrame, QLineEdit, QWidget

from wallet.gui.tokens import S3
from wallet.gui.widgets.basic import Card, Label, Rule, vbox
from wallet.gui.widgets.beside import Beside

__all__ = ["row", "section"]


def row(title: str, sentence: str | Label, control: QWidget) -> QWidget:
    """`sentence` is a label where it changes."""
    holder = QWidget()
    words = vbox(Label(title, "button"), spacing=0)
    if isinstance(sentence, Label):
        words.addWidget(sentence)
    elif sentence:
        words.addWidget(Label(sentence, "caption", "text2", wrap=True))
        control.setAccessibleDescription(sentence)
    if isinstance(control, QLineEdit | QFrame) or (
        isinstance(control, QAbstractButton) and not control.accessibleName()
    ):
        control.setAccessibleName(control.accessibleName() or title)
    told = QWidget()
    told.setLayout(words)
    holder.setLayout(Beside(told, control, least=220))
    return holder


def section(title: str, *rows: QWidget) -> QWidget:
    box = vbox(spacing=S3)
    for number, one in enumerate(rows):
        if number:
            box.addWidget(Rule())
        box.addWidget(one)
    holder = QWidget()
    holder.setAccessibleName(title)
    holder.setLayout(vbox(Label(title, "section"), Card(box), spacing=S3))
    return holder
