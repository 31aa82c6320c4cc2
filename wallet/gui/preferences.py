"""What the user chose for the window: kept in one small file, or in memory only (tests, the tour)."""

from __future__ import annotations

from pathlib import Path

from PyQt6.QtCore import QByteArray, QObject, QSettings, pyqtSignal

from wallet.gui import format as fmt
from wallet.gui import languages
from wallet.gui.theme import theme

__all__ = ["Preferences"]


class Preferences(QObject):
    """Theme, text size, motion, language, unit, hidden amounts, locking, closing, notifications, the window's place.

    Signals: `amounts_changed()`, `language_changed()`, `locking_changed()`.
    """

    amounts_changed = pyqtSignal()
    language_changed = pyqtSignal()
    locking_changed = pyqtSignal()

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
        """Puts the stored look and language on; call before the first window."""
        languages.use(self.language)
        theme().choose(
            choice=self.text("look/theme", "system"),
            scale_percent=self.number("look/text_size", 100),
            motion=self.flag("look/motion", True),
        )
        unit = self.text("amounts/unit", "sat")
        fmt.style.unit = unit if unit in fmt.UNITS else "sat"
        fmt.style.hidden = self.flag("amounts/hidden", False)

    @property
    def language(self) -> str:
        """A language's code, or "system"."""
        return self.text("look/language", "system")

    @property
    def lock_minutes(self) -> int:
        """After how many minutes without a hand on the computer the wallet is locked; 0 for never."""
        return self.number("lock/minutes", 0)

    @property
    def closing(self) -> str:
        """What closing the window does: "ask", "quit" or "stay"."""
        choice = self.text("window/closing", "ask")
        return choice if choice in ("ask", "quit", "stay") else "ask"

    @property
    def notifies(self) -> bool:
        return self.flag("notify/desktop", True)

    def choose_language(self, code: str) -> None:
        if code != self.language:
            self.set_text("look/language", code)
            languages.use(code)
            self.language_changed.emit()

    def choose_lock_minutes(self, minutes: int) -> None:
        self.set_text("lock/minutes", str(minutes))
        self.locking_changed.emit()

    def choose_closing(self, choice: str) -> None:
        self.set_text("window/closing", choice)

    def choose_notifies(self, on: bool) -> None:
        self.set_text("notify/desktop", "yes" if on else "no")

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
