"""What others wrote (names of nodes, memos) is shown on every page as they wrote it: no markup, no keys, no turning
round of lines."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtGui import QTextDocument
from PyQt6.QtWidgets import QAbstractButton, QLabel, QMenu, QWidget
from pytestqt.qtbot import QtBot

from tests.gui import fake_map, scenes
from tests.gui.conftest import Desk
from tests.gui.fake_node import FakeNode
from wallet.gui import format as fmt
from wallet.gui.models.activity import WHAT
from wallet.gui.network.models import NodesModel
from wallet.gui.pages.activity import ActivityPageView
from wallet.gui.pages.channel import ChannelDetail
from wallet.gui.pages.channels import ChannelsPage
from wallet.gui.pages.item_dialog import ItemDialog
from wallet.gui.pages.pay_cards import InvoiceCard
from wallet.gui.pages.send import SendPage
from wallet.gui.tips import plain_tip
from wallet.gui.widgets.basic import Button, Label, add_action

Make = Callable[[FakeNode], Desk]
MEMO = '<b>Tea</b> & <img src="file:///x"> &lt;3'

# Names that nodes of the public network really have.
ODD = (
    "Yes&yeS", "Alice_<3_Bob", "Nana&PapasNode2", "<(-_-)>baby yoda best<(°.°)>", '<script>alert("LDK");</script>',
    "D&R' lightning", "< BJNode >", ">>> OUTPOST <<<", "TT&S_LN", "PB&J", "Mutton, Mead & Music",
    "Zero Fee Routing Mission Plan <B", "JPMorgan Chase & Co.", "%^&doitnow%^&", "E&E",
)  # fmt: skip
ALIASES = Path(__file__).parents[1] / "vectors" / "data" / "mainnet-node-aliases.json.gz"
"""All names of the public network on one day."""


@pytest.fixture(params=["odd", "public"])
def names(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "odd":
        return list(ODD)
    found = [str(name) for name in json.loads(gzip.decompress(ALIASES.read_bytes()))]
    assert len(found) > 10_000
    return found


def as_shown(button: QAbstractButton) -> str:
    """What Qt draws: one ampersand of two, and none of one."""
    return QAbstractButton.text(button).replace("&&", "\0").replace("&", "").replace("\0", "&")


def markup(where: QWidget) -> list[str]:
    """Labels that Qt could take for markup, and buttons that lose an ampersand."""
    labels = [
        f"{label.textFormat()}: {label.text()}"
        for label in where.findChildren(QLabel)
        if label.textFormat() != Qt.TextFormat.PlainText
    ]
    return labels + [
        f"{button.text()} is drawn as {as_shown(button)}"
        for button in where.findChildren(QAbstractButton)
        if isinstance(button, Button) and as_shown(button) != button.text()
    ]


def texts(where: QWidget) -> list[str]:
    return [label.text() for label in where.findChildren(Label)] + [
        b.text() for b in where.findChildren(Button)
    ]


def test_every_name_is_drawn_as_it_is(qtbot: QtBot, names: list[str]) -> None:
    button = Button()
    qtbot.addWidget(button)
    document = QTextDocument()
    wrong = []
    for name in names:
        shown = fmt.plain(name, 40)
        button.setText(shown)
        tip = plain_tip(shown)
        if tip.startswith("<qt>"):
            document.setHtml(tip)
            tip = document.toPlainText()
        if as_shown(button) != shown or button.text() != shown or " ".join(tip.split()) != shown:
            wrong.append(name)
    assert wrong == []


def test_every_name_is_in_the_lists_of_the_map(qtbot: QtBot, names: list[str]) -> None:
    ids = [fake_map.node_id(number) for number in range(1, len(names) + 1)]
    channels = [(number << 40, 0, number, 1_000_000) for number in range(1, len(ids))]
    model = NodesModel()
    model.show_nodes(fake_map.made(ids, channels, dict(enumerate(names))), list(range(len(ids))))
    spoken = [model.data(model.index(row), Qt.ItemDataRole.AccessibleTextRole) for row in range(len(ids))]
    wrong = [
        name
        for name, text in zip(names, spoken, strict=True)
        if name.strip() and not text.startswith(fmt.plain(name, 40))
    ]
    assert wrong == []


def test_a_line_of_a_menu_keeps_its_ampersand(qtbot: QtBot) -> None:
    made = QMenu()
    qtbot.addWidget(made)
    assert add_action(made, "PB&J", lambda: None).text() == "PB&&J"


@pytest.mark.parametrize("name", ODD)
def test_names_and_memos_are_literal_on_every_page(desk: Make, name: str) -> None:
    node = scenes.typical()
    for key, channel in list(node.channels.items()):
        node.channels[key] = replace(channel, peer_alias=name, phase_text=MEMO)
    node.activity = [replace(item, label="", counterparty=name) for item in node.activity]
    node.activity[0] = replace(node.activity[0], label=MEMO)
    node.status = replace(node.status, problem=MEMO)
    one = desk(node)
    one.window.show()
    fmt.own_names.clear()
    assert one.window.shell is not None
    for key in ("overview", "receive", "network", "settings"):
        one.go(key)
        assert markup(one.window) == [], key
    one.go("channels")
    assert fmt.plain(name, 40) in texts(one.page(ChannelsPage))
    one.window.shell.show_channel(next(iter(node.channels)))
    assert fmt.plain(name, 40) in " ".join(texts(one.page(ChannelDetail)))
    one.go("activity")
    model = one.page(ActivityPageView).model
    assert [model.index(row, WHAT).data() for row in range(2)] == [MEMO, fmt.plain(name, 60)]
    assert markup(one.window) == []
    one.go("send")
    send = one.page(SendPage)
    send.take(node.foreign_invoice(21_000_000, MEMO))
    one.until(lambda: isinstance(send.card, InvoiceCard))
    assert MEMO in texts(send)
    assert markup(one.window) == []
    one.window.shell.show_item(node.activity[0].item_id)
    dialog = one.dialog(ItemDialog)
    assert dialog.note.text() == MEMO
    assert markup(dialog) == []
