"""Every word has its room where room is scarcest: the smallest window, the largest text, the longest language. All
scenes in all looks are looked at by `make screenshots`; these are the ones that people see most."""

from __future__ import annotations

import re

import pytest
from PyQt6.QtCore import QModelIndex, QPoint, QRect, QSize, QStringListModel, Qt
from PyQt6.QtGui import QFontMetrics, QPainter, QPaintEvent
from PyQt6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListView,
    QPushButton,
    QScrollBar,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)
from pytestqt.qtbot import QtBot

from tests.gui.fit import findings, lasting, settle
from tests.gui.hands import PATIENCE_MS
from tests.gui.screenshots import LARGEST_BYTES, README_SCENES, ROOT
from tests.gui.shot_scenes import SCENES
from tests.gui.shots import Stage
from wallet.gui import format as fmt
from wallet.gui.models.activity import WHAT, WHEN
from wallet.gui.pages.activity import ActivityPageView
from wallet.gui.pages.overview import Starters
from wallet.gui.pages.overview_chart import SplitList
from wallet.gui.pages.receive import ReceivePage
from wallet.gui.theme import theme
from wallet.gui.widgets.basic import ElidedLabel, Label
from wallet.gui.widgets.beside import Beside
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.table import ActivityDelegate

TYPICAL = (
    "overview-typical", "overview-new", "send-onchain", "send-invoice", "send-success", "receive-code",
    "channels-cards", "channels-table", "channel-page", "activity-filters", "settings", "recovery-report",
    "restored-asks", "network-sandbox", "dialog-open", "dialog-force", "wizard-welcome", "wizard-start", "unlock",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "language"),
    [(name, language) for name in TYPICAL for language in ("en", "de")] + [("network-sandbox", "es")],
)
def test_large_text_has_its_room_in_the_smallest_window(name: str, language: str, qtbot: QtBot) -> None:
    stage = Stage((800, 600), "light", language=language, text_percent=150)
    try:
        SCENES[name](stage)
        assert stage.window is not None
        assert lasting(stage.window) == []
    finally:
        stage.end()


@pytest.mark.parametrize(
    ("text_percent", "narrow"), [pytest.param(100, False, id="100"), pytest.param(150, True, id="150")]
)
def test_on_the_overview_nothing_is_pressed_into_a_narrow_column(
    text_percent: int, narrow: bool, qtbot: QtBot
) -> None:
    """Cards stand one below the other, and why an amount is reserved below its name."""
    stage = Stage((800, 600), "light", language="de", text_percent=text_percent)
    try:
        SCENES["overview-new"](stage)
        assert stage.window is not None
        starters = stage.window.findChild(Starters)
        assert starters is not None
        heights = {card.y() for card in starters.cards}
        assert len(heights) == (3 if narrow else 1)
        assert lasting(stage.window) == []
    finally:
        stage.end()
    stage = Stage((800, 600), "light", language="de", text_percent=text_percent)
    try:
        SCENES["overview-split"](stage)
        assert stage.window is not None
        split = stage.window.findChild(SplitList)
        assert split is not None
        assert split.is_narrow is narrow
        why = [label for label in split.findChildren(Label) if label.wordWrap() and len(label.text()) > 40]
        assert why
        for label in why:
            assert label.width() > split.width() * (0.8 if narrow else 0.4)
        assert lasting(stage.window) == []
    finally:
        stage.end()


@pytest.mark.parametrize(
    ("text_percent", "narrow"), [pytest.param(100, False, id="100"), pytest.param(150, True, id="150")]
)
def test_a_payment_keeps_its_name_when_there_is_little_room(
    text_percent: int, narrow: bool, qtbot: QtBot
) -> None:
    """Then the time stands below the name, and has no column of its own."""
    stage = Stage((800, 600), "light", text_percent=text_percent)
    try:
        SCENES["activity"](stage)
        assert stage.window is not None
        page = stage.window.findChild(ActivityPageView)
        assert page is not None
        table = page.table
        assert table.isColumnHidden(WHEN) is narrow
        item = page.model.item(0)
        assert item is not None
        second = ActivityDelegate.second_line(table, item)
        assert (fmt.ago(item.at) in second) is narrow
        for told in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole):
            assert fmt.ago(item.at) in page.model.data(page.model.index(0, WHAT), told)
        room = table.columnWidth(WHAT) - 2 * theme().px(12) - theme().px(32)
        assert QFontMetrics(theme().font("body")).horizontalAdvance("Rent of the server") <= room
        assert QFontMetrics(theme().font("caption")).horizontalAdvance(second) <= room
    finally:
        stage.end()


def test_on_a_large_screen_the_code_stays_beside_what_it_is_made_of(qtbot: QtBot) -> None:
    stage = Stage((3840, 2160), "light")
    try:
        SCENES["receive-code"](stage)
        assert stage.window is not None
        page = stage.window.findChild(ReceivePage)
        assert page is not None

        def gap() -> int:
            field, code = page.amount_field, page.code
            return code.mapTo(page, QPoint(0, 0)).x() - field.mapTo(page, QPoint(field.width(), 0)).x()

        qtbot.waitUntil(lambda: 0 < gap() < 300, timeout=PATIENCE_MS)
    finally:
        stage.end()


def test_the_pictures_of_the_readme_are_there_and_small() -> None:
    named = re.findall(r"\]\((docs/pictures/[^)]+)\)", (ROOT / "README.md").read_text())
    assert len(named) >= 1 + len(README_SCENES)
    assert {f"docs/pictures/{name}.png" for name in README_SCENES.values()} <= set(named)
    sizes = {name: (ROOT / name).stat().st_size for name in named}
    assert {name: size for name, size in sizes.items() if size >= LARGEST_BYTES} == {}


def shown(qtbot: QtBot, *widgets: QWidget, size: tuple[int, int]) -> QWidget:
    """Widgets at fixed places in a parent, without a layout."""
    holder = QWidget()
    qtbot.addWidget(holder)
    holder.resize(*size)
    for widget in widgets:
        widget.setParent(holder)
    holder.show()
    settle()
    return holder


def test_a_label_that_is_too_narrow_is_found(qtbot: QtBot) -> None:
    label = QLabel("A sentence that is longer than this")
    label.setGeometry(0, 0, 60, 30)
    found = findings(shown(qtbot, label, size=(300, 100)))
    assert len(found) == 1
    assert found[0].startswith("cut at its side")


def test_a_label_that_may_be_shortened_is_not_found(qtbot: QtBot) -> None:
    label = ElidedLabel("A sentence that is longer than this")
    label.setGeometry(0, 0, 60, 30)
    assert findings(shown(qtbot, label, size=(300, 100))) == []


def test_a_sentence_that_is_cut_below_is_found(qtbot: QtBot) -> None:
    label = Label("A sentence that goes on in one line after the other", wrap=True)
    label.setGeometry(0, 0, 120, 24)
    found = findings(shown(qtbot, label, size=(300, 100)))
    assert len(found) == 1
    assert found[0].startswith("cut below")


def test_a_button_without_room_for_its_word_is_found(qtbot: QtBot) -> None:
    button = QPushButton("Force-close the channel")
    button.setGeometry(0, 0, 40, 30)
    found = findings(shown(qtbot, button, size=(300, 100)))
    assert [line.split(" (")[0] for line in found] == ["cut at its side"]


def test_what_lies_on_something_else_is_found(qtbot: QtBot) -> None:
    below, above = QLabel("Below"), QLabel("Above")
    below.setGeometry(0, 0, 100, 30)
    above.setGeometry(50, 10, 100, 30)
    found = findings(shown(qtbot, below, above, size=(300, 100)))
    assert len(found) == 1
    assert "lies on" in found[0]


def test_what_sticks_out_of_its_parent_is_found(qtbot: QtBot) -> None:
    label = QLabel("Further on")
    label.setGeometry(250, 0, 100, 30)
    found = findings(shown(qtbot, label, size=(300, 100)))
    assert len(found) == 1
    assert found[0].startswith("sticks out")


class Painted(QWidget):
    """Draws words by its own hand: each of `words` into its rectangle, or at its point."""

    def __init__(self, *words: tuple[QRect | QPoint, str], room: int = 0) -> None:
        super().__init__()
        self.words, self.room = words, room

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        for place, text in self.words:
            if self.room:
                text = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, self.room)
            if isinstance(place, QRect):
                painter.drawText(place, Qt.AlignmentFlag.AlignLeft, text)
            else:
                painter.drawText(place, text)


def told_of(qtbot: QtBot, painted: Painted) -> list[str]:
    painted.setGeometry(0, 0, 300, 100)
    return [line.split(":")[0].split(" (")[0] for line in findings(shown(qtbot, painted, size=(300, 100)))]


def test_painted_words_with_room_are_not_found(qtbot: QtBot) -> None:
    room = QRect(0, 0, 300, 30)
    assert told_of(qtbot, Painted((room, "Capacity"), (QPoint(4, 80), "Below"))) == []


def test_painted_words_without_room_are_found(qtbot: QtBot) -> None:
    text = "A sentence that is longer than this"
    assert told_of(qtbot, Painted((QRect(0, 0, 60, 30), text))) == ["cut at its side"]
    assert told_of(qtbot, Painted((QRect(0, 0, 300, 8), text))) == ["cut below"]
    assert told_of(qtbot, Painted((QPoint(0, 80), text * 4))) == ["cut at its side"]


def test_painted_words_that_lie_on_others_are_found(qtbot: QtBot) -> None:
    found = told_of(qtbot, Painted((QPoint(0, 40), "2026-11-18"), (QPoint(30, 44), "2026-11-22")))
    assert len(found) == 1
    assert found[0].startswith("'2026-11-18', drawn by Painted lies on '2026-11-22'")


def test_painted_words_that_are_shortened_need_a_tooltip(qtbot: QtBot) -> None:
    painted = Painted((QPoint(4, 40), "A sentence that is longer than this"), room=60)
    assert told_of(qtbot, painted) == ["shortened, and nothing tells the whole of it"]
    told = Painted((QPoint(4, 40), "A sentence that is longer than this"), room=60)
    told.setToolTip("A sentence that is longer than this")
    assert told_of(qtbot, told) == []


class Cells(QStyledItemDelegate):
    """Draws a line of a list by its own hand, in a corner of it."""

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        if painter is not None:
            painter.drawText(QRect(option.rect.topLeft(), QSize(30, 30)), 0, str(index.data()))


def test_the_words_of_a_delegate_are_heard_and_the_painters_are_left_as_they_were(qtbot: QtBot) -> None:
    lines, model = QListView(), QStringListModel(["A name that is long"])
    lines.setModel(model)
    cells = Cells(lines)
    lines.setItemDelegate(cells)
    lines.setGeometry(0, 0, 300, 100)
    before = vars(QPainter)["drawText"], vars(QFontMetrics)["elidedText"], Cells.paint
    found = findings(shown(qtbot, lines, size=(300, 100)))
    assert [line.split(" (")[0] for line in found] == ["cut at its side"]
    assert found[0].endswith("drawn by QListView")
    assert (vars(QPainter)["drawText"], vars(QFontMetrics)["elidedText"], Cells.paint) == before


def test_a_row_becomes_a_column_where_it_is_narrow(qtbot: QtBot) -> None:
    field, first, second = QLineEdit(), QPushButton("First"), QPushButton("Second")
    buttons = QHBoxLayout()
    buttons.addWidget(first)
    buttons.addWidget(second)
    row = Beside(field, buttons, least=100)
    holder = QWidget()
    inside = QVBoxLayout(holder)
    inside.addLayout(row)
    inside.addStretch(1)
    qtbot.addWidget(holder)
    holder.resize(600, 300)
    holder.show()
    qtbot.waitUntil(lambda: field.geometry().right() < first.geometry().left())
    assert row.is_row(row.geometry().width())
    holder.resize(first.sizeHint().width() + second.sizeHint().width() + 60, 300)
    qtbot.waitUntil(lambda: field.geometry().bottom() < first.geometry().top())
    assert not row.is_row(row.geometry().width())
    assert findings(holder) == []


def test_a_dialog_never_scrolls_for_the_sake_of_its_own_bar(qtbot: QtBot) -> None:
    host = QWidget()
    qtbot.addWidget(host)
    host.resize(1160, 760)
    host.show()
    dialog = Dialog(host, "A title")
    told = Label("", wrap=True)
    dialog.body.addWidget(told)
    dialog.open()
    bar = next(b for b in dialog.findChildren(QScrollBar) if b.orientation() == Qt.Orientation.Vertical)
    # A line that just fits, and would no more beside a bar.
    words = "w"
    qtbot.waitUntil(lambda: dialog.width() == 560 and told.width() > 400)
    room = told.width()
    while QFontMetrics(told.font()).horizontalAdvance(words + "w") < room - 2:
        words += "w"
    for text in (" ".join([words] * 10), " ".join([words] * 3), words):
        told.setText(text)
        # Too low for a moment, while its size is not yet what its content asks for.
        dialog.resize(dialog.width(), 200)
        settle()
        dialog.fit()
        qtbot.waitUntil(lambda: dialog.height() >= dialog._whole_height and bar.maximum() == 0)
        assert not bar.isVisible()
    # What has no room at all scrolls.
    host.resize(640, 300)
    told.setText("word " * 2_000)
    dialog.fit()
    qtbot.waitUntil(lambda: bar.isVisible() and bar.maximum() > 0)
    dialog.reject()


def test_what_is_kept_narrow_in_a_wide_row_has_the_height_that_it_needs(qtbot: QtBot) -> None:
    form = QWidget()
    form.setMaximumWidth(100)
    inside = QVBoxLayout(form)
    told = Label("One sentence that fits into a wide line, and takes a few narrow ones.", wrap=True)
    inside.addWidget(told)
    holder = QWidget()
    holder.setLayout(Beside(form, QPushButton("Beside"), least=80, top=True))
    qtbot.addWidget(holder)
    holder.resize(900, 400)
    holder.show()
    qtbot.waitUntil(lambda: told.height() >= told.heightForWidth(told.width()))
    assert form.width() == 100
    assert findings(holder) == []
