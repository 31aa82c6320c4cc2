"""The Overview's card with the balance over time, and what the balance is made of, to be folded out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PyQt6.QtCore import QModelIndex, Qt
from PyQt6.QtWidgets import QGridLayout, QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.theme import theme
from wallet.gui.tokens import ROW, S2, S3, S4
from wallet.gui.widgets.basic import Button, Card, Label, clear, hbox, vbox
from wallet.gui.widgets.beside import Beside
from wallet.gui.widgets.chart import BALANCE, CHANGE, WHEN, BalanceChart, BalanceTableModel
from wallet.gui.widgets.fields import Segments
from wallet.gui.widgets.table import Table
from wallet.i18n import _
from wallet.node.api import WalletSnapshot

__all__ = ["BalanceOverTime", "SplitList", "SplitRow", "balance_split"]

RANGES = {"week": 7, "month": 31, "year": 366, "all": 0}
TABLE_ROWS = 6


@dataclass(frozen=True, slots=True)
class SplitRow:
    """A part of the balance. `level` 1 is a part of the row of level 0 above it."""

    level: int
    name: str
    amount_msat: int
    why: str


def balance_split(snapshot: WalletSnapshot) -> list[SplitRow]:
    """Every part that is not nothing: on chain, in channels, locked; the rows of level 0 add up to the balance."""
    balance = snapshot.balance
    confirmed_sat, incoming_sat = balance.onchain_confirmed_sat, balance.onchain_unconfirmed_sat
    spendable_sat = min(balance.onchain_spendable_sat, confirmed_sat)
    anchors_sat = min(balance.anchor_reserve_sat, confirmed_sat - spendable_sat)
    set_aside_sat = confirmed_sat - spendable_sat - anchors_sat
    lightning_msat = balance.lightning_msat // 1000 * 1000
    reserve_msat = min(balance.reserve_msat, lightning_msat)
    rows = [
        SplitRow(0, _("On chain"), (confirmed_sat + incoming_sat) * 1000, ""),
        SplitRow(1, _("Spendable"), spendable_sat * 1000, _("Can be sent to any address now.")),
        SplitRow(1, _("Incoming"), incoming_sat * 1000, _("Waits for its first confirmation.")),
        SplitRow(
            1,
            _("Reserved"),
            anchors_sat * 1000,
            _(
                "Pays the fee if a channel has to be closed without its peer. Free once the channels are closed."
            ),
        ),
        SplitRow(
            1,
            _("Set aside"),
            set_aside_sat * 1000,
            _("Spoken for by a transaction on its way, kept by you, or not yet yours to trust."),
        ),
        SplitRow(0, _("In channels"), lightning_msat, ""),
        SplitRow(
            1, _("Spendable"), lightning_msat - reserve_msat, _("Yours beyond what the channels keep back.")
        ),
        SplitRow(
            1,
            _("Reserved"),
            reserve_msat,
            _(
                "Each channel keeps about a hundredth back, so that nobody gains by cheating. It is free after closing."
            ),
        ),
    ]
    if balance.locked:
        rows.append(SplitRow(0, _("Locked"), balance.locked_sat * 1000, ""))
    height = snapshot.status.height
    for coin in balance.locked:
        if coin.until_height is not None and coin.until_height > height:
            blocks = coin.until_height - height
            day = fmt.date(fmt.now() + blocks * fmt.SECONDS_PER_BLOCK)
            name = _("Until about {date}").format(date=day)
        else:
            name = _("On its way home")
        rows.append(SplitRow(1, name, coin.amount_sat * 1000, fmt.plain(coin.reason, 200)))
    return [row for row in rows if row.amount_msat > 0]


class SplitList(QWidget):
    """The parts of the balance, a line each: what, why, how much."""

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout()
        self._grid.setContentsMargins(theme().px(S3), 0, 0, 0)
        self._grid.setHorizontalSpacing(theme().px(S4))
        self._grid.setVerticalSpacing(theme().px(S2))
        self._grid.setColumnStretch(1, 1)
        self.setLayout(self._grid)
        self._shown: object = None

    def show_rows(self, rows: list[SplitRow]) -> None:
        key = (tuple(rows), fmt.style.unit, fmt.style.hidden)
        if key == self._shown:
            return
        self._shown = key
        clear(self._grid)
        for place, row in enumerate(rows):
            whole = row.level == 0
            top = Qt.AlignmentFlag.AlignTop
            name = Label(row.name, "strong" if whole else "body")
            if not whole:
                name.setIndent(theme().px(S4))
            name.setMinimumWidth(theme().px(168))
            self._grid.addWidget(name, place, 0, top)
            self._grid.addWidget(Label(row.why, "body", "text2", wrap=True), place, 1, top)
            amount = Label(
                fmt.amount(row.amount_msat),
                "strong" if whole else "body",
                align=Qt.AlignmentFlag.AlignRight,
            )
            self._grid.addWidget(amount, place, 2, top | Qt.AlignmentFlag.AlignRight)


class BalanceOverTime(QWidget):
    """Attributes: `chart`, `ranges`, `table`, `table_button`, `model`."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self._asked: object = None
        self.ranges = Segments(
            _("Time"),
            [("week", _("Week")), ("month", _("Month")), ("year", _("Year")), ("all", _("All"))],
            "month",
        )
        self.chart = BalanceChart()
        self.model = BalanceTableModel()
        self._said = Label("", "body", "text2", wrap=True)
        self.table_button = Button(_("As a table"), "text", small=True, on_click=self._toggle)
        self.table_button.setCheckable(True)
        self.table_button.setAccessibleDescription(_("Shows or hides what belongs to it"))
        self.table = Table(_("Balance over time"), self._pointed)
        self.table.setModel(self.model)
        self.table.set_widths(WHEN, {BALANCE: 180, CHANGE: 160}, gives_way=(CHANGE,), least=180)
        self.table.setFixedHeight(theme().px(ROW * TABLE_ROWS + 36))
        self.table.hide()
        # The choice stands at the right; below its title where the window is narrow.
        head = Beside(Label(_("Balance over time"), "section"), self.ranges, spacing=S3)
        foot = hbox(spacing=S3)
        foot.addWidget(self._said, 1)
        foot.addWidget(self.table_button)
        self.setLayout(vbox(head, Card(vbox(foot, self.chart, self.table, spacing=S2)), spacing=S2))
        self.ranges.chosen.connect(lambda _key: self.refresh())
        self.chart.chosen.connect(lambda _place: self._say())
        self.hide()

    def refresh(self) -> None:
        """Asks for the figures once for each state of the history; they come a moment later."""
        snapshot = self._context.snapshot
        days = RANGES[self.ranges.current()]
        key = (days, snapshot.balance.total_sat, snapshot.recent, fmt.date(fmt.now()))
        if key == self._asked:
            return
        self._asked = key

        def done(answer: dict[str, Any]) -> None:
            if self._asked == key:
                self._show([(int(at), int(sat)) for at, sat in answer["points"]], int(answer["until"]))

        # What fails is asked again with the next change; the line so far stays.
        self._context.bridge.call("balance_history", done, lambda _sentence: None, owner=self, days=days)

    def repaint_amounts(self) -> None:
        self.model.repaint_amounts()
        self.chart.update()
        self._say()

    def _show(self, points: list[tuple[int, int]], until_at: int) -> None:
        self.chart.show_points(points, until_at)
        self.model.show_points(self.chart.points)
        self._say()
        # A line needs something that it stands on; the year may be empty while all of time is not.
        self.setVisible(any(sat for _at, sat in points) or self.isVisible())

    def _say(self) -> None:
        self._said.setText(self.chart.sentence())

    def _toggle(self) -> None:
        as_table = self.table_button.isChecked()
        self.table.setVisible(as_table)
        self.chart.setVisible(not as_table)
        self.table_button.setText(_("As a line") if as_table else _("As a table"))

    def _pointed(self, _index: QModelIndex) -> None:
        """A row has nothing more to open."""
