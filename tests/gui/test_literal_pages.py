"""Names and memos of the nasty kind stand on each page as far as they can be read: nothing that turns a line round,
hides in it, or breaks it, and no markup, in what is written, painted, spoken or told by a tooltip."""

from __future__ import annotations

import ast
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QAbstractButton, QAbstractItemView, QLabel, QLineEdit, QPlainTextEdit, QWidget
from pytestqt.qtbot import QtBot

import wallet.gui
from tests.gui import fake_map, scenes
from tests.gui.conftest import Desk
from tests.gui.fake_node import HUB, FakeNode
from tests.gui.painted import _listening
from tests.gui.test_literal import MEMO, markup
from wallet.gui import format as fmt
from wallet.gui.notify import Notifier
from wallet.gui.pages.network import NetworkPage
from wallet.gui.widgets.dialog import Dialog
from wallet.node.api import ChannelPhase

# The stubs do not know this function of Qt's.
could_be_markup: Callable[[str], bool] = getattr(Qt, "mightBeRichText")  # noqa: B009
Make = Callable[[FakeNode], Desk]
WINDOW = Path(wallet.gui.__file__).parent

NASTY = {
    "markup": '<b>B</b><img src="file:///x">&lt;',
    "turned-round": "abc\u202egpj.exe\u202c\u2066\u200f",
    "invisible": "zero\u200bwidth\u200d\ufeff\u00ad",
    "many-lines": "one\ntwo\r\n\tthree\u2028four\x00\x1b[31m",
    "very-long": "W" * 300,
    "pictures": "\u26a1\U0001f3f4\u200d\u2620\ufe0fnode",
    "an-amount": "5\u202f000\u00a0sat",
    "percent": "{name} %s %1 [*] & PB&J",
}


def bad(text: str) -> bool:
    """Whether something in it is no character to read. What we write ourselves may break lines."""
    return any(unicodedata.category(char) in {"Cc", "Cf", "Co", "Cs"} and char != "\n" for char in text)


def said(where: QWidget) -> list[str]:
    """All that is written, spoken or told by a tooltip, of what the window knows now."""
    found = [where.windowTitle()]
    for widget in [where, *where.findChildren(QWidget)]:
        found += [widget.accessibleName(), widget.accessibleDescription(), widget.toolTip()]
        if isinstance(widget, QLabel | QAbstractButton | QLineEdit):
            found.append(widget.text())
        elif isinstance(widget, QPlainTextEdit):
            found.append(widget.toPlainText())
        elif isinstance(widget, QAbstractItemView) and (model := widget.model()) is not None:
            columns = getattr(model, "columns", 1)
            for row in range(min(model.rowCount(), 30)):
                for column in range(columns):
                    for role in (
                        Qt.ItemDataRole.DisplayRole,
                        Qt.ItemDataRole.ToolTipRole,
                        Qt.ItemDataRole.AccessibleTextRole,
                    ):
                        text = model.data(model.index(row, column), role)
                        found += [text] if isinstance(text, str) else []
    return [text for text in found if text]


def painted(where: QWidget) -> list[str]:
    with _listening() as heard:
        where.grab()
    whole = {text for texts in heard.whole.values() for text in texts}
    return [word.text for word in heard.words] + sorted(whole)


def hostile(name: str) -> FakeNode:
    """Everything that another one can choose is this name."""
    node = scenes.typical()
    for key, channel in list(node.channels.items()):
        node.channels[key] = replace(channel, peer_alias=name, closure_text=name)
    first = next(iter(node.channels))
    node.channels[first] = replace(node.channels[first], phase=ChannelPhase.PEER_OFFLINE, peer_online=False)
    for key, peer in list(node.peers.items()):
        node.peers[key] = replace(peer, alias=name, problem=name)
    node.activity = [replace(item, label="", counterparty=name) for item in node.activity]
    servers = tuple(replace(server, problem=name) for server in node.status.servers)
    node.status = replace(node.status, wallet_name=name, backup_text=name, servers=servers, problem=name)
    ids = [HUB, *(fake_map.node_id(number) for number in range(1, 4))]
    channels = [(number << 40, 0, number, 1_000_000) for number in range(1, 4)]
    node.network_made = fake_map.made(ids, channels, dict.fromkeys(range(4), name))
    node.do_add_request(amount_msat=21_000_000, message=name)
    return node


def where_it_stands(name: str) -> dict[str, str]:
    return {
        "overview": fmt.foreign(name, 60), "receive": fmt.foreign(name, 48), "activity": fmt.foreign(name, 60),
        "channels": fmt.foreign(name, 40), "network": "", "settings": fmt.foreign(name, 60),
    }  # fmt: skip


@pytest.mark.parametrize("kind", list(NASTY))
def test_what_others_wrote_stands_on_each_page_and_does_nothing_there(kind: str, desk: Make) -> None:
    name = NASTY[kind]
    one = desk(hostile(name))
    fmt.own_names.clear()
    # What the node says of amounts is said in another unit: not what others wrote.
    one.window.preferences.choose_unit("BTC")
    for page, wanted in where_it_stands(name).items():
        one.go(page)
        if page == "network":
            network = one.page(NetworkPage)
            one.until(partial(is_drawn, network))
            assert network.network is not None
            # What the graph keeps of it: at most 32 bytes.
            wanted = fmt.foreign(network.network.names[1], 40)
        assert wanted
        one.until(partial(stands_in, one.shell.page(page), wanted))
        texts = [*said(one.window), *painted(one.window)]
        assert [text for text in texts if bad(text)] == [], page
        assert markup(one.window) == [], page


def is_drawn(page: NetworkPage) -> bool:
    return page.network is not None and page.canvas.is_at_rest()


def stands_in(page: QWidget, wanted: str) -> bool:
    return any(wanted in text for text in [*said(page), *painted(page)])


def told_by_the_rows_of(view: QAbstractItemView) -> list[str]:
    model = view.model()
    if model is None:
        return []
    places = [
        (row, column) for row in range(model.rowCount()) for column in range(getattr(model, "columns", 1))
    ]
    tips = [model.data(model.index(*place), Qt.ItemDataRole.ToolTipRole) for place in places]
    return [tip for tip in tips if isinstance(tip, str)]


def test_tooltips_that_could_be_markup_are_ours(desk: Make) -> None:
    """Qt reads a tooltip as rich text when it looks so: those that do were made by `plain_tip`."""
    one = desk(hostile(MEMO))
    for page in ("overview", "activity", "channels", "receive", "settings"):
        one.go(page)
        one.shell.page(page).grab()
        tips = [widget.toolTip() for widget in one.window.findChildren(QWidget)]
        for view in one.shell.page(page).findChildren(QAbstractItemView):
            tips += told_by_the_rows_of(view)
        looks = [tip for tip in tips if could_be_markup(tip)]
        assert [tip for tip in looks if not tip.startswith("<qt>") or "<b>" in tip or "<img" in tip] == []


@pytest.mark.parametrize("kind", list(NASTY))
def test_a_notification_says_the_name_as_it_is(kind: str, desk: Make) -> None:
    one = desk(scenes.typical())
    told: list[tuple[str, str]] = []
    assert one.window.bridge is not None
    notifier = Notifier(
        one.window.bridge, one.window.preferences, lambda: False, lambda *news: told.append(news)
    )
    key = list(one.node.channels)[1]
    channel = one.node.channels[key]
    one.node.channels[key] = replace(
        channel, peer_alias=NASTY[kind], phase=ChannelPhase.FORCE_CLOSING, closure_text=NASTY[kind]
    )
    one.node.tell(channels=[key])
    one.until(lambda: len(told) == 1)
    title, text = told[0]
    assert fmt.foreign(NASTY[kind], 40) in text
    assert not bad(title + text)
    assert notifier is not None


@pytest.mark.parametrize("kind", list(NASTY))
def test_a_title_is_the_name_as_it_is(kind: str, qtbot: QtBot) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    shown = fmt.foreign(NASTY[kind], 40)
    dialog = Dialog(parent, shown)
    dialog.show()
    handle = dialog.windowHandle()
    assert handle is not None
    assert handle.title().startswith(shown)


def test_an_amount_in_a_name_is_a_name(qtbot: QtBot) -> None:
    """What the node says of amounts is said in the person's unit, or hidden; what others call themselves is not."""
    name = NASTY["an-amount"]
    for fmt.style.unit, fmt.style.hidden in (("BTC", False), ("sat", True)):
        assert fmt.retold(fmt.foreign(name, 40)) == "5 000 sat"
        assert fmt.retold(fmt.node_name(name, HUB)) == "5 000 sat"
        assert fmt.retold(fmt.plain(name, 40)) != fmt.plain(name, 40)


TAKES_MARKUP = {
    "QTextDocument", "QStaticText", "QTextEdit", "QTextBrowser", "QMessageBox", "QWhatsThis", "QToolTip", "setHtml",
    "insertHtml", "appendHtml", "setMarkdown", "RichText", "MarkdownText", "AutoText", "setWhatsThis",
}  # fmt: skip


def test_nothing_in_the_window_draws_markup() -> None:
    found = []
    for path in sorted(WINDOW.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) if (
                    name in TAKES_MARKUP
                ):
                    found.append(f"{path.relative_to(WINDOW)}: {name}")
                case _:
                    pass
    assert found == []
