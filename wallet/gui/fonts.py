"""The typeface: Inter where it loads, the system's otherwise; a monospace for keys and ids only.

Inter is a variable font. Qt does not pick its weights by `setWeight` (it emboldens the outline instead), so
a weight is a coordinate on the font's own axis. Figures are tabular everywhere: amounts stand still while
they change.
"""

from __future__ import annotations

import logging
from pathlib import Path

from PyQt6.QtGui import QFont, QFontDatabase

from wallet.gui.tokens import TYPE, TypeRole

__all__ = ["load", "make_font"]

_log = logging.getLogger(__name__)
_WEIGHT = QFont.Tag(b"wght")
_OPTICAL_SIZE = QFont.Tag(b"opsz")
_TABULAR = QFont.Tag(b"tnum")

_family: str | None = None


def _file() -> Path | None:
    try:
        import fontpkg_inter
    except ImportError:
        return None
    return next(iter(sorted(Path(fontpkg_inter.ROOT, "files").glob("Inter?opsz*.ttf"))), None)


def load() -> str:
    """Loads Inter once and gives the family's name; needs a QGuiApplication."""
    global _family
    if _family is None:
        path = _file()
        number = -1 if path is None else QFontDatabase.addApplicationFont(str(path))
        families = QFontDatabase.applicationFontFamilies(number) if number >= 0 else []
        if families:
            _family = families[0]
        else:
            _log.warning("Inter did not load; the system's font is used")
            _family = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont).family()
    return _family


def make_font(role: str, scale_percent: int = 100, *, prose: bool = False) -> QFont:
    """A font for a use named in `tokens.TYPE`; `prose` for sentences, whose hyphens must not be as wide as
    digits."""
    style: TypeRole = TYPE[role]
    pixels = max(12, round(style.size * scale_percent / 100))
    if role == "mono":
        font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
        font.setStyleHint(QFont.StyleHint.Monospace)
        font.setPixelSize(pixels)
        return font
    font = QFont(load())
    font.setPixelSize(pixels)
    font.setVariableAxis(_WEIGHT, style.weight)
    font.setVariableAxis(_OPTICAL_SIZE, min(32, max(14, pixels)))
    if not prose:
        font.setFeature(_TABULAR, 1)
    return font
