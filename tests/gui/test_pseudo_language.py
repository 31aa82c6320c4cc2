"""No sentence of the window is left in English: under a language that writes every letter of ours in another alphabet,
whatever is still in Latin letters was not looked up."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PyQt6.QtCore import QAbstractItemModel, QAbstractListModel, Qt
from PyQt6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QComboBox,
    QGroupBox,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QWidget,
)
from pytestqt.qtbot import QtBot

from tests.gui.fit import settle
from tests.gui.scene_kinds import SHOWN
from tests.gui.shot_scenes import SCENES
from tests.gui.shots import Stage
from wallet import i18n

HERE = Path(__file__).parent
FAKES = sorted(
    path for path in HERE.glob("*.py") if path.name.startswith("fake_") or path.name.endswith("scenes.py")
)
ROWS = 12
"""What stands below in a long list is made as the rows above are."""

_KEPT = re.compile(r"\{[^{}]*\}|<[^<>]*>|%\(\w+\)[sd]|%[sd]")
_WIDE = {ord(c): ord(c) + 0xFEE0 for c in map(chr, range(0x41, 0x7B)) if c.isalpha()}

ALLOWED = {
    "program": r"Leyden|leyden|Lightning|Electrum|Tor\b|BOLT|PSBT|BIP",
    "networks": r"mainnet|testnet\d?|signet|regtest|sandbox",
    "names": r"ACINQ|Café Åland|Sandbox hub|\b(?:Savings|Practice|Refund)\b",
    "units": r"\b(?:bits|sat|msat|btc|BTC|vB|kB|MB|GB|EUR|USD|ms|ppm|DPI)\b",
    "keys": r"\b(?:Ctrl|Shift|Alt|Esc|Del|Return|Enter|Tab|Space|F\d+|PgUp|PgDown|Home|End|Up|Down|Left|Right)\b"
    r"|\+[A-Z]\b",
    "languages": r"Deutsch|English|Español",
    "ids": r"\b[0-9a-fA-F]{6,}…?[0-9a-fA-F]*|…[0-9a-fA-F]+|\d+x\d+x\d+",
    "addresses": r"\b(?:bc1|tb1|bcrt1|lnbc|lntb|lnbcrt|lnurl)\w*…?\w*|lightning:\S+|bitcoin:\S+",
    "a phrase that is typed as it stands": r"I may lose this channel",
    "libraries": r"^[\w-]+ \d+(?:\.\d+)+$|^(?:Inter|FFmpeg|OpenSSL)$",
    "recovery words": r"\b1 [a-z]+(?:, \d+ [a-z]+)+",
    "places": r"(?:https?|lnurlp?)://\S*|[\w.-]+\.(?:org|com|onion|net|example|exchange)\b\S*|\S*[\w…]:\d+(?::\w)?",
    "files": r"~?/[\w./ -]+|\b[\w-]+\.(?:csv|json|txt|db|psbt|sqlite|backup|log|scb|pdf|png)\b",
}
"""What is the same in every language. Short, and each with its reason as its name."""


class Pseudo:
    """A catalogue that has every sentence."""

    def gettext(self, message: str) -> str:
        parts = _KEPT.split(message)
        kept = [*_KEPT.findall(message), ""]
        return "".join(part.translate(_WIDE) + value for part, value in zip(parts, kept, strict=True))

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


@pytest.fixture
def pseudo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(i18n, "_catalogue", Pseudo())
        patch.setattr(i18n, "install", lambda _language, _folder: True)
        yield


@functools.cache
def said_by_the_fakes() -> tuple[re.Pattern[str], frozenset[str], list[str]]:
    """The sentences of the fake node, of its peers and of the scenes, wherever they stand; and their single words,
    which are allowed where nothing else stands."""
    parts: set[str] = set()
    for path in FAKES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts.add(" ".join(node.value.split()))
    sentences = sorted((p for p in parts if " " in p and re.search("[A-Za-z]{2}", p)), key=len, reverse=True)
    anywhere = "|".join(map(re.escape, sentences))
    return re.compile(rf"(?<!\w)(?:{anywhere})(?!\w)"), frozenset(p for p in parts if " " not in p), sentences


_ALLOWED = re.compile("|".join(ALLOWED.values()))


def _is_shortened(text: str) -> bool:
    """Whether a sentence of the fakes was cut for want of room; the whole of it is in the tooltip."""
    head = text.removesuffix("…").rstrip()
    return text.endswith("…") and len(head) > 20 and any(s.startswith(head) for s in said_by_the_fakes()[2])


def english(text: str) -> list[str]:
    """The words of a text that no catalogue was asked for."""
    plain = " ".join(re.sub(r"</?[a-z]+[^<>]*>", " ", text).replace("&nbsp;", " ").split())
    sentences, words, _whole = said_by_the_fakes()
    if plain in words or _is_shortened(plain):
        return []
    rest = _ALLOWED.sub(" ", sentences.sub(" ", plain))
    return re.findall(r"[A-Za-zÀ-ÿ]{2,}", rest)


def _cells(model: QAbstractItemModel) -> Iterator[str]:
    roles = (
        Qt.ItemDataRole.DisplayRole,
        Qt.ItemDataRole.ToolTipRole,
        Qt.ItemDataRole.AccessibleTextRole,
    )
    # A list model's count of columns is its own affair: it has one.
    columns = 1 if isinstance(model, QAbstractListModel) else model.columnCount()
    for column in range(columns):
        for role in roles:
            found = model.headerData(column, Qt.Orientation.Horizontal, role)
            if isinstance(found, str) and role != Qt.ItemDataRole.AccessibleTextRole:
                yield found
            for row in range(min(ROWS, model.rowCount())):
                value = model.index(row, column).data(role)
                if isinstance(value, str):
                    yield value


def texts(widget: QWidget) -> Iterator[str]:
    yield widget.toolTip()
    yield widget.accessibleName()
    yield widget.accessibleDescription()
    match widget:
        case QLabel() | QAbstractButton():
            yield widget.text()
        case QGroupBox():
            yield widget.title()
        case QLineEdit() | QPlainTextEdit():
            # What stands in a field was typed, or is the wallet's.
            yield widget.placeholderText()
        case QComboBox():
            for row in range(widget.count()):
                yield widget.itemText(row)
        case QAbstractItemView():
            model = widget.model()
            if model is not None:
                yield from _cells(model)
        case _:
            pass
    if widget.isWindow():
        yield widget.windowTitle()


def left_in_english(window: QWidget) -> list[str]:
    found = set()
    for widget in [window, *window.findChildren(QWidget)]:
        if widget.isVisible():
            for text in texts(widget):
                if words := english(text):
                    found.add(f"{type(widget).__name__}: {text!r} ({' '.join(words)})")
    return sorted(found)


@pytest.mark.parametrize("name", sorted(set(SHOWN.values())))
def test_a_scene_is_asked_of_the_catalogue_as_a_whole(name: str, pseudo: None, qtbot: QtBot) -> None:
    stage = Stage((1160, 760), "light")
    try:
        SCENES[name](stage)
        settle()
        assert stage.window is not None
        assert left_in_english(stage.window) == []
    finally:
        stage.end()


def test_a_sentence_that_nobody_looked_up_is_found(pseudo: None, qtbot: QtBot) -> None:
    label = QLabel(i18n._("Settings"))
    qtbot.addWidget(label)
    label.show()
    assert left_in_english(label) == []
    label.setText(f"{i18n._('Settings')} of the wallet")
    assert left_in_english(label) == [f"QLabel: {label.text()!r} (of the wallet)"]
