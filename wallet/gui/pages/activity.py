"""Activity: both layers in one list, newest first, searched and filtered by the node's index."""

from __future__ import annotations

from PyQt6.QtCore import QModelIndex, Qt, QTimer
from PyQt6.QtWidgets import QStackedWidget

from wallet.gui.context import Context
from wallet.gui.models.activity import AMOUNT, FEE, ITEM_ROLE, WHAT, WHEN, ActivityModel
from wallet.gui.pages.base import Page
from wallet.gui.theme import theme
from wallet.gui.tokens import ROW_TWO_LINES, S3
from wallet.gui.widgets.basic import hbox
from wallet.gui.widgets.fields import LineEdit, Segments
from wallet.gui.widgets.notices import EmptyState
from wallet.gui.widgets.table import ActivityDelegate, Table
from wallet.i18n import _
from wallet.node.api import ActivityItem, ActivityKind, ChangeSet

__all__ = ["ActivityPageView"]

SEARCH_AFTER_MS = 150
KINDS = {"all": None, "lightning": ActivityKind.LIGHTNING, "onchain": ActivityKind.ONCHAIN}


class ActivityPageView(Page):
    """Attributes: `model`, `table`, `search`, `kinds`."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, _("Activity"), scrolls=False)
        api = context.bridge.api
        self.model = ActivityModel(
            lambda offset, limit, text, kind: api.activity_page(
                offset=offset, limit=limit, text=text, kind=kind
            )
        )
        self.search = LineEdit(_("Search"), _("Search notes, payees, ids"))
        self.search.setMaximumWidth(theme().px(320))
        self.kinds = Segments(
            _("Show"),
            [("all", _("All")), ("lightning", _("Lightning")), ("onchain", _("On chain"))],
            "all",
        )
        self.body.setSpacing(theme().px(S3))
        row = hbox(spacing=S3)
        row.addWidget(self.search, 100)
        row.addWidget(self.kinds)
        row.addStretch(1)
        self.body.addLayout(row)
        self.table = Table(_("History"), self._open, rows=ROW_TWO_LINES)
        self.table.setModel(self.model)
        self.table.setItemDelegate(ActivityDelegate(self.table))
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
        self.body.addWidget(self._stack, 1)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SEARCH_AFTER_MS)
        self._timer.timeout.connect(self._filter)
        self.search.textChanged.connect(lambda _text: self._timer.start())
        self.kinds.chosen.connect(lambda _key: self._filter())
        context.preferences.amounts_changed.connect(self.model.repaint_amounts)
        self.set_narrow(False)

    def set_narrow(self, narrow: bool) -> None:
        super().set_narrow(narrow)
        if hasattr(self, "table"):
            self.table.set_widths(
                WHAT, {WHEN: 150, FEE: 96 if narrow else 120, AMOUNT: 140 if narrow else 180}
            )

    def set_first_focus(self) -> None:
        self.search.setFocus(Qt.FocusReason.OtherFocusReason)

    def _filter(self) -> None:
        self._timer.stop()
        self.model.filter(self.search.text().strip(), KINDS[self.kinds.current()])
        self._choose_view()

    def _choose_view(self) -> None:
        filtered = bool(self.search.text().strip()) or self.kinds.current() != "all"
        if self.model.rowCount():
            self._stack.setCurrentWidget(self.table)
        else:
            self._stack.setCurrentWidget(self._nothing if filtered else self._empty)
        self.search.setVisible(filtered or self.model.rowCount() > 0)
        self.kinds.setVisible(filtered or self.model.rowCount() > 0)

    def _open(self, index: QModelIndex) -> None:
        item = index.data(ITEM_ROLE)
        if isinstance(item, ActivityItem):
            self.context.show_item(item.item_id)

    def changed(self, changes: ChangeSet) -> None:
        if changes.activity:
            self.model.changed()
            self._choose_view()

    def refresh(self) -> None:
        self.model.changed()
        self.model.repaint_amounts()
        self._choose_view()
