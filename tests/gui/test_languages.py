"""Nothing is hard-wired to English: every sentence has its German and its Spanish, and the window changes over as a
whole, with what was typed."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from PyQt6.QtWidgets import QLabel, QLineEdit

from tests.gui.conftest import Desk
from tests.gui.hands import click, type_text
from wallet import i18n
from wallet.gui import format as fmt
from wallet.gui import languages
from wallet.gui.assets import asset
from wallet.gui.pages.settings import SettingsPage
from wallet.i18n import _, ngettext

FOLDER = asset(i18n.CATALOGUES)
TRANSLATED = ("de", "es")
PLACEHOLDER = re.compile(r"\{[^{}]*\}|%\(\w+\)[sd]|%[sd]")


def catalogue(language: str) -> Catalog:
    path = FOLDER / language / "LC_MESSAGES" / "leyden.po"
    return read_po(io.BytesIO(path.read_bytes()), locale=language)


def template() -> Catalog:
    return read_po(io.BytesIO((FOLDER / "leyden.pot").read_bytes()))


def texts(value: str | list[str] | tuple[str, ...] | None) -> list[str]:
    return [value or ""] if isinstance(value, str | None) else list(value)


def pairs(language: str) -> list[tuple[Message, Message | None]]:
    known = catalogue(language)
    return [(message, known.get(message.id)) for message in template() if message.id]


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_sentence_is_translated(language: str) -> None:
    found = pairs(language)
    assert len(found) > 1_000
    missing = [
        message.id for message, known in found if known is None or not all(texts(known.string)) or known.fuzzy
    ]
    assert missing == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_has_the_values_of_its_sentence(language: str) -> None:
    wrong = []
    for message, known in pairs(language):
        for original, words in zip(
            texts(message.id), [] if known is None else texts(known.string), strict=False
        ):
            if sorted(PLACEHOLDER.findall(original)) != sorted(PLACEHOLDER.findall(words)):
                wrong.append((original, words))
    assert wrong == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_what_is_shipped_is_what_was_translated(language: str) -> None:
    compiled = read_mo(io.BytesIO((FOLDER / language / "LC_MESSAGES" / "leyden.mo").read_bytes()))
    written = {
        tuple(texts(m.id)): texts(m.string) for m in catalogue(language) if m.id and all(texts(m.string))
    }
    assert {tuple(texts(m.id)): texts(m.string) for m in compiled if m.id} == written


def test_each_language_calls_itself_by_its_own_name() -> None:
    assert languages.choices() == [("de", "Deutsch"), ("en", "English"), ("es", "Español")]


@pytest.mark.parametrize(
    ("language", "word"), [("de", "Einstellungen"), ("es", "Ajustes"), ("en", "Settings")]
)
def test_a_language_is_put_on(language: str, word: str) -> None:
    languages.use(language)
    assert _("Settings") == word
    assert _("") == ""


def test_an_unknown_language_is_english() -> None:
    assert not i18n.install("xx", Path(FOLDER))
    assert _("Settings") == "Settings"


@pytest.mark.parametrize("language", ["de", "es", "en"])
def test_numbers_are_written_alike_in_every_language(language: str) -> None:
    languages.use(language)
    assert fmt.amount_sat(1_234_567) == "1\u202f234\u202f567\u00a0sat"
    assert ngettext("{n} block", "{n} blocks", 2).format(n=fmt.group(2_000)).startswith("2\u202f000 ")


def words_of(desk: Desk) -> set[str]:
    return {label.text() for label in desk.window.findChildren(QLabel) if label.isVisible()}


def test_the_window_changes_its_language_and_keeps_what_was_typed(typical: Desk) -> None:
    typical.go("receive")
    receive = typical.shell.page("receive")
    note = [field for field in receive.findChildren(QLineEdit) if field.isVisible()][-1]
    type_text(note, "two tickets")
    typical.go("settings")
    page = typical.page(SettingsPage)
    before = typical.shell
    click(page.language.button("de"))
    typical.until(lambda: typical.shell is not before)
    typical.until(lambda: "Einstellungen" in words_of(typical))
    assert "Settings" not in words_of(typical)
    typical.until(lambda: typical.node.languages == ["de"])
    typical.go("receive")
    anew = typical.shell.page("receive")
    assert anew is not receive
    typical.until(lambda: any(field.text() == "two tickets" for field in anew.findChildren(QLineEdit)))
    assert typical.window.preferences.language == "de"
