"""The desktop's own dialogs for files and folders: opened, never executed; the answer comes to a callback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QFileDialog, QWidget

__all__ = ["ask_file", "ask_folder", "ask_new_file"]

Chosen = Callable[[Path], object]


def _open(dialog: QFileDialog, on_chosen: Chosen) -> QFileDialog:
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.fileSelected.connect(lambda name: on_chosen(Path(name)) if name else None)
    dialog.open()
    return dialog


def ask_file(parent: QWidget, title: str, on_chosen: Chosen) -> QFileDialog:
    """Asks for a file that is there."""
    dialog = QFileDialog(parent, title)
    dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
    return _open(dialog, on_chosen)


def ask_folder(parent: QWidget, title: str, on_chosen: Chosen) -> QFileDialog:
    """Asks for a folder that is there."""
    dialog = QFileDialog(parent, title)
    dialog.setFileMode(QFileDialog.FileMode.Directory)
    dialog.setOption(QFileDialog.Option.ShowDirsOnly)
    return _open(dialog, on_chosen)


def ask_new_file(parent: QWidget, title: str, name: str, on_chosen: Chosen) -> QFileDialog:
    """Asks for the name of a file to be written."""
    dialog = QFileDialog(parent, title)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setFileMode(QFileDialog.FileMode.AnyFile)
    # What is there is never written over; the command says so.
    dialog.setOption(QFileDialog.Option.DontConfirmOverwrite)
    dialog.selectFile(name)
    return _open(dialog, on_chosen)
