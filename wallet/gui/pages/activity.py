"""Activity: both layers in one list, searched, filtered and sorted by the node; out as a table, labels out and in."""

from __future__ import annotations

import re
import time
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

from PyQt6.QtCore import QEvent, QModelIndex, QObject, QPoint, QSize, Qt, QTimer
from PyQt6.QtGui import QResizeEvent
from PyQt6.QtWidgets import QSizePolicy, QStackedWidget, QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.describe import item_title
from wallet.gui.models.activity import AMOUNT, FEE, ITEM_ROLE, WHAT, WHEN, ActivityModel
from wallet.gui.pages.base import Page, scroller
from wallet.gui.theme import theme
from wallet.gui.tokens import CONTROL, FORM_WIDTH, ROW_TWO_LINES, S2, S3
from wallet.gui.widgets import files
from wallet.gui.widgets.basic import Button, Flow, Label, add_action, hbox, menu, vbox
from wallet.gui.widgets.fields import Field, LineEdit, Segments
from wallet.gui.widgets.ids import copy_text
from wallet.gui.widgets.notices import Banner, EmptyState, toast
from wallet.gui.widgets.table import ActivityDelegate, Table
from wallet.i18n import _, ngettext
from wallet.node.api import (
    ActivityDirection,
    ActivityItem,
    ActivityKind,
    ActivityQuery,
    ActivityStatus,
    ChangeSet,
)

__all__ = ["ActivityPageView", "Filters", "day_at"]

SEARCH_AFTER_MS = 150
LEAST_FILTERS = 84
KINDS = {"all": None, "lightning": ActivityKind.LIGHTNING, "onchain": ActivityKind.ONCHAIN}
DIRECTIONS = {
    "all": None,
    "in": ActivityDirection.IN,
    "out": ActivityDirection.OUT,
    "moved": ActivityDirection.MOVED,
}
STATES = {
    "all": None,
    "done": ActivityStatus.DONE,
    "pending": ActivityStatus.PENDING,
    "failed": ActivityStatus.FAILED,
}
SORTED_BY = {"when": WHEN, "amount": AMOUNT, "fee": FEE}
_DAY = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")


def day_at(text: str, *, days_later: int = 0) -> int | None:
    """When a day begins here, as unix time; None for what is no day."""
    found = _DAY.fullmatch(text.strip())
    if found is None:
        return None
    try:
        day = date(*(int(part) for part in found.groups())) + timedelta(days=days_later)
        return int(time.mktime(day.timetuple()))
    except (ValueError, OverflowError):
        return None


class Filters(QWidget):
    """Layer, direction, state, dates and order. Attributes: `since`, `until`, the two fields for days."""

    def __init__(self, page: ActivityPageView) -> None:
        super().__init__()
        self._page = page
        self.kinds = Segments(
            _("Layer"),
            [("all", _("All layers")), ("lightning", _("Lightning")), ("onchain", _("On chain"))],
            "all",
        )
        self.directions = Segments(
            _("Direction"),
            [("all", _("In and out")), ("in", _("In")), ("out", _("Out")), ("moved", _("Moved"))],
            "all",
        )
        self.states = Segments(
            _("State"),
            [
                ("all", _("Any state")),
                ("done", _("Done")),
                ("pending", _("Under way")),
                ("failed", _("Failed")),
            ],
            "all",
        )
        self.periods = Segments(
            _("Time"),
            [
                ("all", _("Any time")), ("week", _("A week")), ("month", _("A month")), ("year", _("A year")),
                ("days", _("Days")),
            ],
            "all",
        )  # fmt: skip
        self.orders = Segments(
            _("Sort by"),
            [("when", _("Newest")), ("amount", _("Largest")), ("fee", _("Highest fee"))],
            "when",
        )
        self.since = LineEdit(_("From this day"), _("2026-01-31"))
        self.until = LineEdit(_("To this day"), _("2026-12-31"))
        self._days = QWidget()
        self._since_field = Field(_("From this day"), self.since)
        self._until_field = Field(_("To this day"), self.until)
        row = hbox(spacing=S3)
        for day in (self._since_field, self._until_field):
            row.addWidget(day, 1, Qt.AlignmentFlag.AlignTop)
        self._days.setLayout(row)
        self._days.setMaximumWidth(theme().px(FORM_WIDTH))
        flow = Flow(spacing=S3, line_spacing=S2)
        for segments in (self.kinds, self.directions, self.states, self.periods):
            flow.addWidget(segments)
            segments.chosen.connect(lambda _key: self._chosen())
        flow.addWidget(self.orders)
        holder = QWidget()
        holder.setLayout(flow)
        self._holder = holder
        self._inside = QWidget()
        self._inside.setLayout(vbox(holder, self._days, spacing=S2))
        # In a low window the table gives way first; then these scroll.
        area = scroller(self._inside)
        self.setLayout(vbox(area, spacing=0))
        self.setMinimumHeight(theme().px(LEAST_FILTERS))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._inside.installEventFilter(self)
        for field in (self.since, self.until):
            field.textEdited.connect(lambda _text: self._chosen())
            field.left.connect(self._judge)
        self._days.hide()

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), max(0, self._inside.heightForWidth(self.width())))

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self.updateGeometry()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return False

    def _chosen(self) -> None:
        self._days.setVisible(self.periods.current() == "days")
        for field, holder in self._fields():
            if not field.text().strip() or day_at(field.text()) is not None:
                holder.set_problem("")
        self._page.ask()

    def _fields(self) -> tuple[tuple[LineEdit, Field], ...]:
        return ((self.since, self._since_field), (self.until, self._until_field))

    def _judge(self) -> None:
        for field, holder in self._fields():
            wrong = bool(field.text().strip()) and day_at(field.text()) is None
            holder.set_problem(_("Year, month, day: 2026-01-31") if wrong else "")

    def count(self) -> int:
        """How many are set."""
        groups = (self.kinds, self.directions, self.states)
        return sum(group.current() != "all" for group in groups) + (self._times() != (None, None))

    def clear(self) -> None:
        for group in (self.kinds, self.directions, self.states, self.periods):
            group.choose("all")
        self.since.clear()
        self.until.clear()
        self._chosen()

    def query(self, text: str) -> ActivityQuery:
        since_at, until_at = self._times()
        return ActivityQuery(
            text=text,
            kind=KINDS[self.kinds.current()],
            status=STATES[self.states.current()],
            direction=DIRECTIONS[self.directions.current()],
            since_at=since_at,
            until_at=until_at,
        )

    def _times(self) -> tuple[int | None, int | None]:
        period = self.periods.current()
        if period == "days":
            return day_at(self.since.text()), day_at(self.until.text(), days_later=1)
        days = {"week": 7, "month": 31, "year": 366}.get(period)
        if days is None:
            return None, None
        # From the beginning of a day: a search that is asked again is the same search.
        today = datetime.fromtimestamp(fmt.now()).date()
        return int(time.mktime((today - timedelta(days=days)).timetuple())), None


class ActivityPageView(Page):
    """Attributes: `model`, `table`, `search`, `filters`, `filter_button`, `clear_button`, `banner`.
    `broken_off`, shown while a search has failed."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, _("Activity"), scrolls=False)
        self.model = ActivityModel(context.bridge.api)
        self.search = LineEdit(_("Search"), _("Search notes, payees, ids"))
        self.search.setMaximumWidth(theme().px(320))
        self.filter_button = Button(_("Filters"), "outlined", on_click=self._toggle_filters)
        self.filter_button.setCheckable(True)
        self.filter_button.setAccessibleDescription(_("Shows or hides what belongs to it"))
        self.clear_button = Button(_("Show all"), "text", on_click=self._clear)
        self.filters = Filters(self)
        self.filters.hide()
        self.count = Label("", "caption", "text2")
        self.more = Button(_("Export"), "outlined", on_click=self._show_menu)
        self.head.addWidget(self.more)
        self.body.setSpacing(theme().px(S3))
        row = hbox(spacing=S3)
        row.addWidget(self.search, 100)
        row.addWidget(self.filter_button)
        row.addWidget(self.clear_button)
        row.addStretch(1)
        row.addWidget(self.count)
        self.body.addLayout(row)
        self.body.addWidget(self.filters)
        self.banner = Banner()
        self.body.addWidget(self.banner)
        self.broken_off = Banner("", "warning", _("Try again"), self._look_again)
        self.body.addWidget(self.broken_off)
        self.table = Table(_("History"), self._open, rows=ROW_TWO_LINES)
        self.table.setModel(self.model)
        self.table.setItemDelegate(ActivityDelegate(self.table))
        self.table.set_sorting(WHEN)
        self.filters.orders.chosen.connect(self._sort)
        across = self.table.horizontalHeader()
        if across is not None:
            across.sortIndicatorChanged.connect(lambda column, _order: self._sorted(column))
        self.table.customContextMenuRequested.connect(self._row_menu)
        self._empty = EmptyState(
            "activity",
            _("Every payment shows here, in and out."),
            _("Receive"),
            lambda: context.go("receive"),
        )
        self._nothing = EmptyState("search", _("Nothing matches. Search for less, or show all."))
        self._stack = QStackedWidget()
        for widget in (self.table, self._empty, self._nothing):
            self._stack.addWidget(widget)
        # A low window leaves room for the head and a row.
        self._stack.setMinimumHeight(theme().px(ROW_TWO_LINES + CONTROL))
        self.body.addWidget(self._stack, 1)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SEARCH_AFTER_MS)
        self._timer.timeout.connect(self.ask)
        self.search.textChanged.connect(lambda _text: self._timer.start())
        context.preferences.amounts_changed.connect(self.model.repaint_amounts)
        self.model.arrived.connect(self._choose_view)
        self.model.failed.connect(self._not_found)
        self.set_narrow(False)

    def set_narrow(self, narrow: bool) -> None:
        super().set_narrow(narrow)
        if hasattr(self, "table"):
            self.table.set_widths(
                WHAT,
                {WHEN: 140 if narrow else 150, FEE: 112 if narrow else 120, AMOUNT: 140 if narrow else 180},
                # The time stands below the name then.
                gives_way=(FEE, WHEN),
                least=170,
            )

    def set_first_focus(self) -> None:
        self.search.setFocus(Qt.FocusReason.OtherFocusReason)

    # --- what is shown ------------------------------------------------------------------

    def _toggle_filters(self) -> None:
        self.filters.setVisible(self.filter_button.isChecked())

    def _sort(self, key: str) -> None:
        """The same as a click on a column's head, for the keyboard."""
        across = self.table.horizontalHeader()
        if across is not None:
            across.setSortIndicator(SORTED_BY[key], Qt.SortOrder.DescendingOrder)

    def _sorted(self, column: int) -> None:
        for key, by in SORTED_BY.items():
            if by == column:
                self.filters.orders.choose(key)

    def ask(self) -> None:
        """Asks the node for what the fields say, in the order that the table has."""
        self._timer.stop()
        wanted = self.filters.query(self.search.text().strip())
        before = self.model.query
        self.model.ask(
            ActivityQuery(
                text=wanted.text, kind=wanted.kind, status=wanted.status, direction=wanted.direction,
                since_at=wanted.since_at, until_at=wanted.until_at, order=before.order, descending=before.descending,
            )
        )  # fmt: skip
        self._choose_view()

    def _clear(self) -> None:
        self.search.clear()
        self.filters.clear()
        self.ask()

    def _choose_view(self) -> None:
        count = self.filters.count()
        filtered = bool(self.search.text().strip()) or count > 0
        rows = self.model.rowCount()
        is_whole = self.model.is_whole
        if rows or not is_whole:
            self._stack.setCurrentWidget(self.table)
        else:
            self._stack.setCurrentWidget(self._nothing if filtered else self._empty)
        any_at_all = filtered or rows > 0 or not is_whole
        self.search.setVisible(any_at_all)
        self.filter_button.setVisible(any_at_all)
        self.filter_button.setText(_("Filters ({n})").format(n=count) if count else _("Filters"))
        self.filters.setVisible(any_at_all and self.filter_button.isChecked())
        self.clear_button.setVisible(filtered)
        self.count.setVisible(any_at_all)
        if is_whole:
            self.broken_off.say("")
            self.count.setText(ngettext("{n} item", "{n} items", rows).format(n=fmt.group(rows)))
        elif self.broken_off.isHidden():
            self.count.setText(_("Looking through the history…"))
        else:
            self.count.setText(_("Not all of it is here"))
        self.more.setVisible(any_at_all)

    def _not_found(self, sentence: str) -> None:
        self.broken_off.say(fmt.plain(sentence, 300))
        self._choose_view()

    def _look_again(self) -> None:
        self.broken_off.say("")
        self.model.changed()
        self._choose_view()

    def changed(self, changes: ChangeSet) -> None:
        if changes.activity or changes.status:
            self.model.changed()
            self._choose_view()

    def refresh(self) -> None:
        self.model.changed()
        self.model.repaint_amounts()
        self._choose_view()

    # --- rows ---------------------------------------------------------------------------

    def _open(self, index: QModelIndex) -> None:
        item = index.data(ITEM_ROLE)
        if isinstance(item, ActivityItem):
            self.context.show_item(item.item_id)

    def _row_menu(self, place: QPoint) -> None:
        item = self.table.menu_index(place).data(ITEM_ROLE)
        view = self.table.viewport()
        if not isinstance(item, ActivityItem) or view is None:
            return
        made = menu(self.table)
        made.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        add_action(
            made,
            _("Details of {what}").format(what=item_title(item)),
            lambda: self.context.show_item(item.item_id),
        )
        for name, value in (
            (_("Payment hash"), item.payment_hash),
            (_("Proof of payment"), item.preimage if item.amount_msat < 0 else None),
            (_("Transaction id"), item.txid),
        ):
            if value:
                text = _("Copy: {what}").format(what=name)
                add_action(made, text, partial(copy_text, self, value, name), "copy")
        made.popup(view.mapToGlobal(place))

    # --- out and in ---------------------------------------------------------------------

    def _show_menu(self) -> None:
        made = menu(self)
        made.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        add_action(made, _("Save the history as a table (CSV)"), self.ask_history)
        add_action(made, _("Save the labels (BIP 329)"), self.ask_labels)
        made.addSeparator()
        add_action(made, _("Take over labels from a file (BIP 329)"), self.ask_import)
        made.popup(self.more.mapToGlobal(QPoint(0, self.more.height())))

    def ask_history(self) -> None:
        files.ask_new_file(
            self, _("Save the history as a table"), f"leyden-{fmt.date(fmt.now())}.csv", self.save_history
        )

    def ask_labels(self) -> None:
        name = f"leyden-labels-{fmt.date(fmt.now())}.jsonl"
        files.ask_new_file(self, _("Save the labels"), name, self.save_labels)

    def ask_import(self) -> None:
        files.ask_file(self, _("Take over labels"), self.import_labels)

    def save_history(self, path: Path) -> None:
        self._run("export_history", path)

    def save_labels(self, path: Path) -> None:
        self._run("export_labels", path)

    def _run(self, command: str, path: Path) -> None:
        def saved(_answer: object) -> None:
            self.banner.say("")
            toast(self, _("Saved as {name}").format(name=fmt.plain(path.name, 60)))

        self.context.bridge.call(command, saved, self._failed, owner=self, file=str(path))

    def import_labels(self, path: Path) -> None:
        def done(answer: dict[str, object]) -> None:
            self.banner.say(fmt.plain(str(answer["message"]), 300), "success")

        self.context.bridge.call("import_labels", done, self._failed, owner=self, file=str(path))

    def _failed(self, sentence: str) -> None:
        self.banner.say(sentence, "danger")
