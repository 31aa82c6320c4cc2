"""The look that is on: scheme, text size, motion. One object, asked by every widget that paints.

`theme()` is made on first use. `apply` puts Fusion, our palette and the generated sheet on the application;
Qt then sends a StyleChange to every widget, on which painted ones render their icons anew. Signals:
`changed()` after that.
"""

from __future__ import annotations

from functools import cache, lru_cache

from PyQt6.QtCore import QObject, Qt, pyqtSignal
from PyQt6.QtGui import QColor, QFont, QGuiApplication, QPalette
from PyQt6.QtWidgets import QApplication

from wallet.gui import fonts
from wallet.gui.tokens import MOTION_MS, PALETTES, TYPE, Palette

__all__ = ["Theme", "theme"]

SCHEMES = ("system", "light", "dark")
SCALES = (90, 100, 115, 130, 150)


@lru_cache(maxsize=256)
def _colour(text: str) -> QColor:
    return QColor(text)


@lru_cache(maxsize=64)
def _font(role: str, scale_percent: int, prose: bool) -> QFont:
    return fonts.make_font(role, scale_percent, prose=prose)


class Theme(QObject):
    """The tokens of the scheme that is on."""

    changed = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.choice = "system"
        self.scheme = "light"
        self.scale_percent = 100
        self.motion = True
        self._applied = False

    @property
    def tokens(self) -> Palette:
        return PALETTES[self.scheme]

    @property
    def motion_ms(self) -> int:
        return MOTION_MS if self.motion else 0

    def colour(self, token: str, alpha: int = 255) -> QColor:
        colour = _colour(getattr(self.tokens, token))
        if alpha == 255:
            return colour
        faint = QColor(colour)
        faint.setAlpha(alpha)
        return faint

    def px(self, pixels: int) -> int:
        return round(pixels * self.scale_percent / 100)

    def font(self, role: str, *, prose: bool = False) -> QFont:
        return _font(role, self.scale_percent, prose)

    def line_height(self, role: str) -> int:
        return self.px(TYPE[role].line)

    def choose(
        self, *, choice: str | None = None, scale_percent: int | None = None, motion: bool | None = None
    ) -> None:
        """Changes what is given, and repaints the application when that shows."""
        if motion is not None:
            self.motion = motion
        before = (self.scheme, self.scale_percent)
        if choice is not None:
            self.choice = choice if choice in SCHEMES else "system"
        if scale_percent is not None:
            self.scale_percent = min(max(scale_percent, SCALES[0]), SCALES[-1])
        self.scheme = self._resolve()
        if self._applied and (self.scheme, self.scale_percent) != before:
            self.apply()

    def _resolve(self) -> str:
        if self.choice != "system":
            return self.choice
        hints = QGuiApplication.styleHints()
        dark = hints is not None and hints.colorScheme() == Qt.ColorScheme.Dark
        return "dark" if dark else "light"

    def follow_system(self) -> None:
        """Follows the desktop's scheme while the choice is "system"."""
        hints = QGuiApplication.styleHints()
        if hints is not None:
            hints.colorSchemeChanged.connect(lambda _scheme: self.choose())

    def start(self) -> None:
        """Puts the look on, once; later changes come by `choose`."""
        if not self._applied:
            self.apply()
            self.follow_system()

    def apply(self) -> None:
        from wallet.gui.style import sheet

        app = QApplication.instance()
        if not isinstance(app, QApplication):
            return
        self.scheme = self._resolve()
        if not self._applied:
            app.setStyle("Fusion")
        self._applied = True
        app.setFont(self.font("body"))
        app.setPalette(self.palette())
        app.setStyleSheet(sheet(self))
        self.changed.emit()

    def palette(self) -> QPalette:
        palette = QPalette()
        group, role = QPalette.ColorGroup, QPalette.ColorRole
        for target, token in (
            (role.Window, "canvas"),
            (role.WindowText, "text"),
            (role.Base, "surface"),
            (role.AlternateBase, "raised"),
            (role.Text, "text"),
            (role.PlaceholderText, "text3"),
            (role.Button, "surface"),
            (role.ButtonText, "text"),
            (role.BrightText, "danger"),
            (role.Highlight, "accent"),
            (role.HighlightedText, "on_accent"),
            (role.Link, "accent"),
            (role.LinkVisited, "accent"),
            (role.ToolTipBase, "raised"),
            (role.ToolTipText, "text"),
            (role.Light, "raised"),
            (role.Midlight, "raised"),
            (role.Mid, "line"),
            (role.Dark, "field"),
            (role.Shadow, "line"),
            (role.Accent, "accent"),
        ):
            palette.setColor(target, self.colour(token))
        for target in (role.WindowText, role.Text, role.ButtonText):
            palette.setColor(group.Disabled, target, self.colour("text3"))
        return palette


@cache
def theme() -> Theme:
    return Theme()
