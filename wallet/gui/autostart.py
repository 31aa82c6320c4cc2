"""Starting with the desktop's session: one entry in the folder that the desktop reads at login."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from PyQt6.QtCore import QStandardPaths

__all__ = ["command_line", "entry_file", "is_on", "is_possible", "set_on"]

NAME = "leyden.desktop"


def is_possible() -> bool:
    """Desktops on Linux and the BSDs read such entries."""
    return sys.platform not in ("win32", "darwin")


def entry_file() -> Path:
    folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericConfigLocation)
    return Path(folder, "autostart", NAME)


def command_line(network: str) -> list[str]:
    """What starts this program again, as it was installed."""
    program = shutil.which("leyden")
    image, mounted = os.environ.get("APPIMAGE", ""), os.environ.get("APPDIR", "")
    if image and mounted and Path(sys.executable).is_relative_to(mounted):
        # The program itself lies in a folder that is mounted for as long as it runs. An AppImage that started us, like
        # a terminal, hands both names on to us too.
        words = [image]
    elif getattr(sys, "frozen", False):
        words = [sys.executable]
    elif program is not None:
        words = [program]
    else:
        words = [sys.executable, "-m", "wallet"]
    return words if network == "mainnet" else [*words, f"--{network}"]


def _quoted(word: str) -> str:
    """A word of an Exec line, by the rules of desktop entries: quoted, and escaped once more as a string's value."""
    escaped = "".join(f"\\{char}" if char in '"`$\\' else char for char in word)
    return '"' + _escaped(escaped).replace("%", "%%") + '"'


def _escaped(value: str) -> str:
    """A string's value in a desktop entry."""
    return value.replace("\\", "\\\\")


def is_on() -> bool:
    return entry_file().is_file()


def set_on(on: bool, network: str) -> None:
    """Writes the entry, or takes it away; raises `OSError`."""
    file = entry_file()
    if not on:
        file.unlink(missing_ok=True)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    command = command_line(network)
    lines = (
        "[Desktop Entry]",
        "Type=Application",
        "Name=Leyden",
        f"Exec={' '.join(map(_quoted, command))}",
        # A desktop passes over the entry of a program that is gone.
        f"TryExec={_escaped(command[0])}",
        "Icon=leyden",
        "X-GNOME-Autostart-enabled=true",
    )
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
