"""The languages of the window: which there are, what they call themselves, and which one is on."""

from __future__ import annotations

from PyQt6.QtCore import QLocale

from wallet import i18n
from wallet.gui.assets import asset

__all__ = ["SYSTEM", "choices", "use"]

SYSTEM = "system"
OWN_NAMES = {"en": "English", "de": "Deutsch", "es": "Español"}
"""Each in its own words, so that a person finds the way back out of one that they cannot read."""


def choices() -> list[tuple[str, str]]:
    """Codes and names of the languages that are there."""
    return [(code, OWN_NAMES.get(code, code)) for code in i18n.languages(asset(i18n.CATALOGUES))]


def use(choice: str) -> None:
    """Puts a language on, the desktop's own for "system"; English where there is no catalogue."""
    code = QLocale.system().name() if choice == SYSTEM else choice
    i18n.install(code, asset(i18n.CATALOGUES))
