"""Tooltips: other people's words are shown in them as they are, not as markup."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtGui import QTextDocument
from pytestqt.qtbot import QtBot

from tests.gui import fake_map, scenes
from wallet.gui.models.channels import STATE, ChannelsModel
from wallet.gui.network.models import NodesModel
from wallet.gui.tips import plain_tip
from wallet.gui.widgets.basic import Button, ElidedLabel

HOSTILE = "<img src=file:///x>&lt;b>"
TIP, SPOKEN = Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole


def as_shown(tip: str) -> str:
    """What a person reads in a tooltip that Qt takes for markup."""
    assert tip.startswith("<qt>")
    document = QTextDocument()
    document.setHtml(tip)
    return document.toPlainText()


@pytest.mark.parametrize("text", [HOSTILE, "<script>alert(1)</script>", "&lt;b&gt; & 'co'"], ids=range(3))
def test_what_looks_like_markup_is_read_as_it_was_written(qapp: object, text: str) -> None:
    assert as_shown(plain_tip(text)) == text


@pytest.mark.parametrize("text", ["", "Nodeland, 3 channels", "a > b"])
def test_any_other_text_is_its_own_tooltip(text: str) -> None:
    assert plain_tip(text) == text


def test_a_node_s_name_is_no_markup(qtbot: QtBot) -> None:
    model = NodesModel()
    ids = [fake_map.node_id(1), fake_map.node_id(2)]
    model.show_nodes(fake_map.made(ids, [(1 << 40, 0, 1, 1_000_000)], {0: HOSTILE}), [0])
    spoken = model.data(model.index(0), SPOKEN)
    assert spoken.startswith(HOSTILE)
    assert as_shown(model.data(model.index(0), TIP)) == spoken


def test_a_peer_s_words_on_a_channel_are_no_markup(qtbot: QtBot) -> None:
    [channel, *_others] = scenes.typical(channels=1).channels.values()
    model = ChannelsModel([replace(channel, held=False, phase_text=HOSTILE)])
    assert as_shown(model.data(model.index(0, STATE), TIP)) == HOSTILE


def test_a_text_that_is_cut_short_is_no_markup(qtbot: QtBot) -> None:
    label = ElidedLabel(HOSTILE)
    qtbot.addWidget(label)
    label.resize(60, 20)
    label.grab()
    assert as_shown(label.toolTip()) == HOSTILE
    assert label.text() == HOSTILE


def test_a_button_s_name_is_no_markup(qtbot: QtBot) -> None:
    button = Button("", "plain", "copy", name=HOSTILE)
    qtbot.addWidget(button)
    assert as_shown(button.toolTip()) == HOSTILE
    assert button.accessibleName() == HOSTILE
