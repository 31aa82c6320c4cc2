"""What the user chose for the window: kept in one small file, or in memory only (tests, the tour)."""

from __future__ import annotations

from pathlib import Path

from PyQt6.QtCore import QByteArray, QObject, QSettings, pyqtSignal

from wallet.gui import format as fmt
from wallet.gui.theme import theme

__all__ = ["Preferences"]


class Preferences(QObject):
    """Theme, text size, motion, unit, hidden amounts, the window's place. Signal: `amounts_changed()`."""

    amounts_changed = pyqtSignal()

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()
        self._file = None if path is None else QSettings(str(path), QSettings.Format.IniFormat)
        self._memory: dict[str, str] = {}

    def text(self, key: str, default: str) -> str:
        if self._file is None:
            return self._memory.get(key, default)
        value = self._file.value(key, default)
        return value if isinstance(value, str) else default

    def set_text(self, key: str, value: str) -> None:
        if self._file is None:
            self._memory[key] = value
        else:
            self._file.setValue(key, value)

    def flag(self, key: str, default: bool) -> bool:
        return self.text(key, "yes" if default else "no") == "yes"

    def number(self, key: str, default: int) -> int:
        text = self.text(key, str(default))
        return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else default

    def geometry(self) -> QByteArray:
        return QByteArray.fromBase64(self.text("window/geometry", "").encode())

    def set_geometry(self, value: QByteArray) -> None:
        self.set_text("window/geometry", bytes(value.toBase64().data()).decode())

    def apply(self) -> None:
        """Puts the stored look on; call before the first window."""
        theme().choose(
            choice=self.text("look/theme", "system"),
            scale_percent=self.number("look/text_size", 100),
            motion=self.flag("look/motion", True),
        )
        fmt.style.unit = "BTC" if self.text("amounts/unit", "sat") == "BTC" else "sat"
        fmt.style.hidden = self.flag("amounts/hidden", False)

    def choose_theme(self, choice: str) -> None:
        self.set_text("look/theme", choice)
        theme().choose(choice=choice)

    def choose_text_size(self, percent: int) -> None:
        self.set_text("look/text_size", str(percent))
        theme().choose(scale_percent=percent)

    def choose_motion(self, on: bool) -> None:
        self.set_text("look/motion", "yes" if on else "no")
        theme().choose(motion=on)

    def choose_unit(self, unit: str) -> None:
        self.set_text("amounts/unit", unit)
        fmt.style.unit = unit
        self.amounts_changed.emit()

    def choose_hidden(self, hidden: bool) -> None:
        self.set_text("amounts/hidden", "yes" if hidden else "no")
        fmt.style.hidden = hidden
        self.amounts_changed.emit()
