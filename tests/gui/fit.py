"""Whether every word has its room: what is cut, what lies on something else, what sticks out of its parent.

The check walks the widgets of a window that is shown, and hears what our own painters draw (`tests.gui.painted`). Text
may be shortened where the widget says the whole of it in its tooltip (`ElidedLabel`, a cell, the wallet's name);
anything else that is shortened is a finding.
"""

from __future__ import annotations

from PyQt6.QtCore import QElapsedTimer, QEventLoop, QModelIndex, QPoint, QRect, Qt
from PyQt6.QtWidgets import (
    QAbstractScrollArea,
    QApplication,
    QDialog,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QScrollBar,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionButton,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from tests.gui.painted import painted_findings
from wallet.gui.widgets.basic import AmountLabel, ElidedLabel
from wallet.gui.widgets.checks import CheckBox
from wallet.gui.widgets.navigation import NavItem

__all__ = ["findings", "lasting", "settle", "top"]

# What rounding of sizes and of glyphs may cost.
SLACK = 2

Leaf = QLabel | QPushButton | QLineEdit | CheckBox | NavItem


def top(window: QWidget) -> QWidget:
    """What one looks at: the dialog that is open, or another window of the window's, else the window itself."""
    others = [other for other in window.findChildren(QWidget) if other.isWindow() and other.isVisible()]
    dialogs = [other for other in others if isinstance(other, QDialog)]
    return (dialogs or others or [window])[-1]


def settle() -> None:
    """What was just added is shown, and laid out, by events that wait in the queue."""
    for _round in range(3):
        QApplication.sendPostedEvents()
        QApplication.processEvents()


def lasting(window: QWidget, milliseconds: int = 5_000) -> list[str]:
    """What is found once answers have come and are laid out: what is still there when the time is over."""
    timer = QElapsedTimer()
    timer.start()
    while True:
        settle()
        found = findings(top(window))
        if not found or timer.elapsed() > milliseconds:
            return found
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)


def findings(where: QWidget) -> list[str]:
    """Sentences on what has no room; none where all is well."""
    shown = [w for w in where.findChildren(QWidget) if w.isVisible() and w.window() is where.window()]
    found: list[str] = []
    for widget in shown:
        found += _cut(widget)
        found += _outside(widget)
        if isinstance(widget, QTableView):
            found += _cells(widget)
        if isinstance(widget, QScrollArea):
            found += _too_wide(widget)
    found += _overlaps(where, shown)
    found += painted_findings(where)
    return sorted(set(found))


def _who(widget: QWidget) -> str:
    parent = widget.parentWidget()
    text = ""
    if isinstance(widget, Leaf):
        text = widget.text() or (widget.placeholderText() if isinstance(widget, QLineEdit) else "")
    name = text or widget.accessibleName()
    inside = type(parent).__name__ if parent is not None else "nothing"
    return f"{type(widget).__name__} {name[:60]!r} in {inside}"


# Text that lacks its room.


def _needs(widget: QWidget) -> tuple[int, int] | None:
    """The room that a widget's text takes and the room it has, both in pixels of width; None for no text."""
    metrics = widget.fontMetrics()
    if isinstance(widget, ElidedLabel):
        return None  # its tooltip has all of it; the overlap and the parent's edge are looked at below
    if isinstance(widget, AmountLabel):
        return widget.sizeHint().width(), widget.width()
    if isinstance(widget, QLabel):
        if not widget.text() or widget.wordWrap():
            return None
        lines = widget.text().split("\n")
        return max(metrics.horizontalAdvance(line) for line in lines), widget.contentsRect().width()
    if isinstance(widget, QPushButton):
        style = widget.style()
        if not widget.text() or style is None:
            return None
        option = QStyleOptionButton()
        widget.initStyleOption(option)
        room = style.subElementRect(QStyle.SubElement.SE_PushButtonContents, option, widget)
        needs = metrics.size(int(Qt.TextFlag.TextShowMnemonic), widget.text()).width()
        if not widget.icon().isNull():
            needs += widget.iconSize().width() + 4
        return needs, room.width()
    if isinstance(widget, NavItem):
        words = widget.words()
        return None if words is None else (metrics.horizontalAdvance(widget.text()), words.width())
    if isinstance(widget, QLineEdit):
        if not widget.placeholderText() or widget.text() or widget.toolTip():
            return None
        margins = widget.textMargins()
        style = widget.style()
        frame = (
            0 if style is None else style.pixelMetric(QStyle.PixelMetric.PM_DefaultFrameWidth, None, widget)
        )
        inner = widget.contentsRect().width() - margins.left() - margins.right() - 2 * frame
        return metrics.horizontalAdvance(widget.placeholderText()), inner
    return None


def _cut(widget: QWidget) -> list[str]:
    if widget.width() <= 0 or widget.height() <= 0:
        return []
    wide = _needs(widget)
    if wide is not None and wide[0] > wide[1] + SLACK:
        return [f"cut at its side ({wide[0]} of {wide[1]} px): {_who(widget)}"]
    if isinstance(widget, CheckBox):
        needs = widget.heightForWidth(widget.width())
        return (
            [f"cut below ({needs} of {widget.height()} px): {_who(widget)}"]
            if needs > widget.height() + SLACK
            else []
        )
    if not isinstance(widget, QLabel) or not widget.text():
        return []
    if widget.wordWrap():
        needs = widget.heightForWidth(widget.width())
        longest = max(widget.fontMetrics().horizontalAdvance(word) for word in widget.text().split() or [""])
        if longest > widget.width() + SLACK and longest < widget.fontMetrics().averageCharWidth() * 24:
            return [f"broken within a word ({longest} of {widget.width()} px): {_who(widget)}"]
    else:
        needs = widget.fontMetrics().height() * len(widget.text().split("\n"))
    if needs > widget.height() + SLACK:
        return [f"cut below ({needs} of {widget.height()} px): {_who(widget)}"]
    return []


# What sticks out.


def _outside(widget: QWidget) -> list[str]:
    parent = widget.parentWidget()
    if parent is None or widget.isWindow() or isinstance(widget, QScrollBar) or not _is_seen(widget):
        return []
    holder = parent.parentWidget()
    if isinstance(holder, QAbstractScrollArea) and holder.viewport() is parent:
        return []  # that is what the bars are for
    room = parent.rect().adjusted(-SLACK, -SLACK, SLACK, SLACK)
    if room.contains(widget.geometry()):
        return []
    return [f"sticks out of {_box(parent.rect())} with {_box(widget.geometry())}: {_who(widget)}"]


def _is_seen(widget: QWidget) -> bool:
    return widget.width() > 0 and widget.height() > 0


def _box(rect: QRect) -> str:
    return f"{rect.x()},{rect.y()} {rect.width()}x{rect.height()}"


def _too_wide(area: QScrollArea) -> list[str]:
    inside, view = area.widget(), area.viewport()
    if inside is None or view is None or inside.width() <= view.width() + SLACK:
        return []
    if area.horizontalScrollBarPolicy() != Qt.ScrollBarPolicy.ScrollBarAlwaysOff:
        return [f"scrolls sideways ({inside.width()} in {view.width()} px): {_who(area)}"]
    widest = _widest(inside, view.width())
    return [f"wider than its view ({inside.width()} in {view.width()} px): {_who(area)}, by {widest}"]


def _widest(inside: QWidget, room: int) -> str:
    """Which widgets ask for more than there is: those none of whose children does."""
    asking = []
    for widget in inside.findChildren(QWidget):
        if not widget.isVisible():
            continue
        left = widget.mapTo(inside, QPoint(0, 0)).x()
        if left + max(widget.minimumSizeHint().width(), widget.minimumWidth()) > room:
            asking.append(widget)
    leaves = [w for w in asking if not any(w.isAncestorOf(other) for other in asking)]
    return "; ".join(_who(w) for w in leaves[:4]) or "margins"


# What lies on something else.


def _overlaps(where: QWidget, shown: list[QWidget]) -> list[str]:
    leaves = [(w, _place(w, where)) for w in shown if isinstance(w, Leaf) and _has_words(w)]
    leaves = [(w, place) for w, place in leaves if place.width() > SLACK and place.height() > SLACK]
    found = []
    for number, (one, place) in enumerate(leaves):
        for other, there in leaves[number + 1 :]:
            both = place.intersected(there)
            if both.width() <= SLACK or both.height() <= SLACK:
                continue
            if one.isAncestorOf(other) or other.isAncestorOf(one) or _floats(one) != _floats(other):
                continue
            found.append(f"{_who(one)} lies on {_who(other)} by {both.width()}x{both.height()}")
    return found


def _has_words(widget: QWidget) -> bool:
    return isinstance(widget, QLineEdit) or (isinstance(widget, Leaf) and bool(widget.text()))


def _floats(widget: QWidget) -> QWidget | None:
    """The toast, the menu or the panel that is meant to lie on the page, where a widget is part of one."""
    step: QWidget | None = widget
    while step is not None and not step.isWindow():
        if step.property("toast") or step.property("popover"):
            return step
        step = step.parentWidget()
    return None


def _place(widget: QWidget, where: QWidget) -> QRect:
    """The part of a widget that is within all that it stands in, in the coordinates of `where`."""
    seen = widget.rect()
    step = widget
    offset = QPoint(0, 0)
    while step is not where and not step.isWindow():
        offset += step.pos()
        parent = step.parentWidget()
        if parent is None:
            break
        seen = seen.intersected(parent.rect().translated(-offset))
        step = parent
    return seen.translated(offset)


# Tables.


def _cells(table: QTableView) -> list[str]:
    model, across, view = table.model(), table.horizontalHeader(), table.viewport()
    if model is None or across is None or view is None:
        return []
    found = []
    root = QModelIndex()
    columns = [c for c in range(model.columnCount(root)) if not table.isColumnHidden(c)]
    for column in columns:
        head = model.headerData(column, Qt.Orientation.Horizontal) or ""
        needs = across.fontMetrics().horizontalAdvance(str(head))
        room = across.sectionSize(column) - 2 * table.fontMetrics().averageCharWidth()
        if across.isVisible() and needs > room + SLACK:
            found.append(f"head of a column is cut ({needs} of {room} px): {head!r} of {_who(table)}")
    for row in range(min(model.rowCount(root), 40)):
        for column in columns:
            index = model.index(row, column, root)
            rect = table.visualRect(index)
            delegate = table.itemDelegateForIndex(index)
            if not rect.intersects(view.rect()) or not isinstance(delegate, QStyledItemDelegate):
                continue
            option = QStyleOptionViewItem()
            table.initViewItemOption(option)
            needs = delegate.sizeHint(option, index).width()
            told = index.data(Qt.ItemDataRole.ToolTipRole)
            if needs > rect.width() + SLACK and not told:
                text = index.data(Qt.ItemDataRole.DisplayRole)
                found.append(f"a cell is cut ({needs} of {rect.width()} px): {text!r} of {_who(table)}")
    if columns:
        last = columns[-1]
        end = across.sectionPosition(last) + across.sectionSize(last)
        if end > view.width() + SLACK:
            found.append(f"columns go beyond the table ({end} of {view.width()} px): {_who(table)}")
    return found
