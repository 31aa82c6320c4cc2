"""The look: contrast by formula, one place for colours, sharp icons, and what is banned from a window."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from PyQt6.QtGui import QColor, QFontInfo
from pytestqt.qtbot import QtBot

from wallet.gui import fonts, icons, tokens
from wallet.gui.assets import asset
from wallet.gui.describe import phase_look, request_look
from wallet.gui.main_window import places
from wallet.gui.style import sheet
from wallet.gui.theme import theme
from wallet.node.api import ChannelPhase, RequestStatus

GUI = Path(tokens.__file__).parent


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible(scheme: str) -> None:
    palette = tokens.PALETTES[scheme]
    poor = [
        (text, ground, round(tokens.contrast(getattr(palette, text), getattr(palette, ground)), 2))
        for text, ground in tokens.TEXT_PAIRS
        if tokens.contrast(getattr(palette, text), getattr(palette, ground)) < 4.5
    ]
    assert poor == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_are_seen(scheme: str) -> None:
    palette = tokens.PALETTES[scheme]
    poor = [
        (mark, ground)
        for mark, ground in tokens.MARK_PAIRS
        if tokens.contrast(getattr(palette, mark), getattr(palette, ground)) < 3
    ]
    assert poor == []


def test_contrast_is_that_of_the_web_guidelines() -> None:
    assert tokens.contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert tokens.contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


HEX = re.compile(r"#(?:[0-9A-Fa-f]{8}|[0-9A-Fa-f]{6}|[0-9A-Fa-f]{3,4})(?![0-9A-Za-z_])")
FUNCTION = re.compile(r"\b(?:rgb|hsl|hsv)a?\(\s*[\d.]", re.IGNORECASE)
NAMED = re.compile(
    rf"(?:color|background|border|outline|fill|stroke)[\w-]*\s*[:=][^;{{}}]*\b(?:{'|'.join(QColor.colorNames())})\b"
)
MAKES_COLOURS = {"QColor", "fromRgb", "fromRgbF", "fromRgba", "fromHsl", "fromHsv", "fromCmyk", "fromString", "qRgb",
                 "qRgba", "QBrush", "QPen"}  # fmt: skip


def colours_in(source: str) -> list[str]:
    """What names a colour by itself: in a text, as numbers, by one of Qt's names. Nothing and no ink is none."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=str(text)):
                for pattern in (HEX, FUNCTION, NAMED):
                    found += [
                        f"{node.lineno}: {m.group()}"
                        for m in pattern.finditer(text.replace("transparent", ""))
                    ]
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.Constant(), *_]) if (
                name in MAKES_COLOURS
            ):
                found.append(f"{node.lineno}: {ast.unparse(node)}")
            case ast.Attribute(attr=name, value=ast.Attribute(attr="GlobalColor")) if name != "transparent":
                found.append(f"{node.lineno}: {ast.unparse(node)}")
            case _:
                pass
    return found


def test_no_colour_outside_the_tokens() -> None:
    house = GUI.parent
    found = {
        str(path.relative_to(house)): colours
        for path in sorted(house.rglob("*.py"))
        if path != GUI / "tokens.py" and (colours := colours_in(path.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        'a = "#fff"', 'a = "#FFF8"', 'a = "#12345A"', 'a = "#12345A80"', 'a = "color: rgb(1, 2, 3)"',
        'a = f"border: 1px solid {b}; color: #123"', 'a = "background: rgba(0, 0, 0, 0.5)"', 'a = QColor("red")',
        'a = "QLabel { color: white; }"', "a = QColor(1, 2, 3)", "a = QColor.fromHsv(10, 20, 30)",
        "a = Qt.GlobalColor.red", "a = QtCore.Qt.GlobalColor.black", "a = QColor(0xFFEEDD)",
    ],
)  # fmt: skip
def test_a_colour_is_found_however_it_is_written(source: str) -> None:
    assert colours_in(source)


@pytest.mark.parametrize(
    "source",
    ['a = "#RRGGBB"', 'a = "issue #1"', "a = QColor(QR_LIGHT)", "a = Qt.GlobalColor.transparent",
     'a = "QLabel { background: transparent; }"', 'a = "color: {text}"'],
)  # fmt: skip
def test_what_is_no_colour_is_let_be(source: str) -> None:
    assert colours_in(source) == []


def test_the_drawings_hold_no_colour_but_the_jars() -> None:
    found = {
        path.stem: set(HEX.findall(path.read_text(encoding="utf-8")))
        for path in asset("icons").glob("*.svg")
        if HEX.search(path.read_text(encoding="utf-8"))
    }
    assert found == {icons.JAR: {tokens.JAR_OUTLINE, tokens.JAR_BRASS}}


def test_the_sheet_has_no_hole(qapp: object) -> None:
    text = sheet(theme())
    assert "{{" not in text
    assert theme().tokens.accent in text


def test_inter_loads_and_weights_differ(qtbot: QtBot) -> None:
    assert fonts.load() == "Inter"
    thin, bold = theme().font("body"), theme().font("strong")
    assert QFontInfo(thin).family() == "Inter"
    assert thin.variableAxisValue(fonts._WEIGHT) == 400
    assert bold.variableAxisValue(fonts._WEIGHT) == 600
    assert asset("licences", "Inter-OFL.txt").is_file()


def test_every_icon_draws_in_its_colour(qtbot: QtBot) -> None:
    for name in icons.names():
        if name == icons.JAR:
            continue
        source = asset("icons", f"{name}.svg").read_text(encoding="utf-8")
        assert 'viewBox="0 0 24 24"' in source, name
        assert "currentColor" in source, name
        picture = icons.pixmap(name, "accent", 24, 2.0).toImage()
        assert picture.width() == 48
        seen = {
            picture.pixelColor(x, y).name()
            for x in range(48)
            for y in range(48)
            if picture.pixelColor(x, y).alpha() == 255
        }
        assert theme().tokens.accent.lower() in seen, name


def test_icons_that_are_named_exist(qtbot: QtBot) -> None:
    known = set(icons.names())
    used: set[str] = set()
    for path in GUI.rglob("*.py"):
        for match in re.finditer(r'(?:IconLabel|EmptyState|ClickCard)\(\s*"([a-z-]+)"', path.read_text()):
            used.add(match.group(1))
        for match in re.finditer(
            r'\), "(?:filled|outlined|text|quiet|chip|on-play)", "([a-z-]+)"', path.read_text()
        ):
            used.add(match.group(1))
    used |= {phase_look(phase)[2] for phase in ChannelPhase} | {request_look(s)[2] for s in RequestStatus}
    used |= {place.icon for place in places()}
    assert len(used) > 20
    assert used - known == set()


def test_what_a_window_must_not_do() -> None:
    """No executed dialog, no 32-bit number in a signal or a field, no resets of models."""
    found = []
    for path in sorted(GUI.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(attr="exec", value=ast.Name(id="app"))) if path.name in {
                    "app.py",
                    "tour.py",
                }:
                    pass
                case ast.Call(
                    func=ast.Attribute(attr="exec" | "exec_" | "beginResetModel" | "setHtml" as name)
                ):
                    found.append(f"{path.name}:{node.lineno} {name}")
                case ast.Call(func=ast.Name(id="pyqtSignal" | "pyqtSlot"), args=args) if any(
                    isinstance(arg, ast.Name) and arg.id == "int" for arg in args
                ):
                    found.append(f"{path.name}:{node.lineno} a signal with int")
                case ast.Name(id="QSpinBox" | "QDoubleSpinBox" | "QMessageBox" as name):
                    found.append(f"{path.name}:{node.lineno} {name}")
                case _:
                    pass
    assert found == []
