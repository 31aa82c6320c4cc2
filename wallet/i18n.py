"""Translated sentences for every room of the house: the window, the command line and the core share them.

The source language is English, so `_` hands back what it is given until `install` has found a catalogue of
the wanted language (`<folder>/<language>/LC_MESSAGES/leyden.mo`). gettext is imported only then: the start
stays fast. Sentences are looked up when they are shown, never at import, so that a change of language
reaches all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CATALOGUES", "_", "current_language", "install", "languages", "ngettext"]

DOMAIN = "leyden"
CATALOGUES = "locale"
"""The folder of the catalogues, within the program's resources."""


class _Catalogue(Protocol):
    def gettext(self, message: str) -> str: ...

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str: ...


_catalogue: _Catalogue | None = None
_language = "en"


def install(language: str, folder: Path | None) -> bool:
    """Switches to a language ("de", "pt_BR"); False, and English, where no catalogue is found."""
    global _catalogue, _language
    _catalogue, _language = None, "en"
    if language.split("_", 1)[0] in {"en", "C", ""} or folder is None:
        return True
    import gettext

    try:
        found = gettext.translation(DOMAIN, folder, languages=[language, language.split("_", 1)[0]])
    except OSError:
        return False
    _catalogue, _language = found, language
    return True


def current_language() -> str:
    return _language


def languages(folder: Path) -> list[str]:
    """The languages that there is a catalogue for, and English."""
    return sorted({"en", *(path.parent.parent.name for path in folder.glob(f"*/LC_MESSAGES/{DOMAIN}.mo"))})


def _(message: str) -> str:
    """The sentence in the user's language. Values are put in afterwards: `_("Pay {amount}").format(...)`."""
    # gettext answers to an empty sentence with the catalogue's head.
    return message if _catalogue is None or not message else _catalogue.gettext(message)


def ngettext(singular: str, plural: str, n: int) -> str:
    """The form of a sentence that goes with a number."""
    if _catalogue is None:
        return singular if n == 1 else plural
    return _catalogue.ngettext(singular, plural, n)
