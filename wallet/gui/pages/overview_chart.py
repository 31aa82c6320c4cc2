"""The Overview's card with the balance over time, and what the balance is made of, to be folded out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PyQt6.QtCore import QModelIndex, Qt
from PyQt6.QtGui import QResizeEvent
from PyQt6.QtWidgets import QGridLayout, QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.theme import theme
from wallet.gui.tokens import ROW, S2, S3, S4
from wallet.gui.widgets.basic import Button, Card, Label, clear, discard, hbox, vbox
from wallet.gui.widgets.beside import Beside
from wallet.gui.widgets.chart import BALANCE, CHANGE, WHEN, BalanceChart, BalanceTableModel
from wallet.gui.widgets.fields import Segments
from wallet.gui.widgets.table import Table
from wallet.i18n import _
from wallet.node.api import ReservedPart, ReserveReason, WalletSnapshot

__all__ = ["BalanceOverTime", "SplitList", "SplitRow", "balance_split", "under_way"]

RANGES = {"week": 7, "month": 31, "year": 366, "all": 0}
TABLE_ROWS = 6


@dataclass(frozen=True, slots=True)
class SplitRow:
    """A part of the balance. `level` 1 is a part of the row of level 0 above it."""

    level: int
    name: str
    amount_msat: int
    why: str


def _reason_words(reason: ReserveReason) -> tuple[str, str]:
    """(name, sentence) for why an amount is ours and cannot be sent now."""
    return {
        ReserveReason.ANCHOR_FEES: (
            _("For closing fees"),
            _(
                "Pays the fee if a channel has to be closed without its peer. Free once the channels are closed."
            ),
        ),
        ReserveReason.FROZEN: (
            _("Frozen by you"),
            _("Coins that you keep from being spent. Free once you unfreeze them."),
        ),
        ReserveReason.OPENING_COINS: (
            _("For a new channel"),
            _("Pays into a channel that is being agreed on. Free again if it comes to nothing."),
        ),
        ReserveReason.PSBT: (
            _("In a signed PSBT"),
            _("Spent by a PSBT that you signed and that is not in the chain yet."),
        ),
        ReserveReason.CLAIM_FEES: (
            _("For bringing money home"),
            _("Pays the fees of transactions that bring money back from closed channels."),
        ),
        ReserveReason.CHANNEL_RESERVE: (
            _("Channel reserve"),
            _(
                "Each channel keeps about a hundredth back, so that nobody gains by cheating. It is free after closing."
            ),
        ),
        ReserveReason.COMMITMENT_FEE: (
            _("Fee of the channel"),
            _(
                "Who opened a channel keeps enough in it to pay for closing it, also when fees rise. What is not used "
                "comes home."
            ),
        ),
        ReserveReason.OPENING_CHANNEL: (
            _("Channel opening"),
            _("In a channel that is not ready yet. To be sent once its funding has confirmed."),
        ),
        ReserveReason.PEER_AWAY: (
            _("Peer away"),
            _("In a channel whose peer is not online. To be sent once the peer is back."),
        ),
        ReserveReason.CLOSING_CHANNEL: (
            _("Channel closing"),
            _("In a channel that is being closed. It comes back to your coins."),
        ),
    }[reason]


def balance_split(snapshot: WalletSnapshot) -> list[SplitRow]:
    """Every part that is not nothing: on chain, in channels, locked; the rows of level 0 add up to the balance, and
    the rows of level 1 to the row of level 0 above them."""
    balance = snapshot.balance
    kept = [(part.reason, SplitRow(1, *_kept(part))) for part in balance.reserved]
    rows = [
        SplitRow(0, _("On chain"), balance.onchain_sat * 1000, ""),
        SplitRow(
            1, _("Spendable"), balance.onchain_spendable_sat * 1000, _("Can be sent to any address now.")
        ),
        SplitRow(1, _("Incoming"), balance.incoming_sat * 1000, _("Waits for its first confirmation.")),
        *(row for reason, row in kept if reason.is_onchain),
        SplitRow(0, _("In channels"), balance.lightning_sat * 1000, ""),
        SplitRow(
            1,
            _("Spendable"),
            balance.lightning_spendable_sat * 1000,
            _("Yours beyond what the channels keep back."),
        ),
        *(row for reason, row in kept if not reason.is_onchain),
    ]
    if balance.locked_sat:
        rows.append(SplitRow(0, _("Locked"), balance.locked_sat * 1000, ""))
    height = snapshot.status.height
    for coin in balance.locked:
        if not coin.is_certain:
            # It is told of where it needs attention, and is no part of the whole.
            continue
        if coin.until_height is not None and coin.until_height > height:
            blocks = coin.until_height - height
            day = fmt.date(fmt.now() + blocks * fmt.SECONDS_PER_BLOCK)
            name = _("Until about {date}").format(date=day)
        else:
            name = _("On its way home")
        rows.append(SplitRow(1, name, coin.amount_sat * 1000, fmt.plain(coin.reason, 200)))
    return [row for row in rows if row.amount_msat > 0]


def _kept(part: ReservedPart) -> tuple[str, int, str]:
    name, why = _reason_words(part.reason)
    return name, part.amount_sat * 1000, why


def under_way(snapshot: WalletSnapshot) -> str:
    """What payments carry away just now: it has left the balance, and may come back. Empty when nothing does."""
    amount_msat = sum(channel.inflight_out_msat for channel in snapshot.channels)
    if not amount_msat:
        return ""
    return _(
        "Besides, {amount} are on their way in payments. They have left the balance; what does not arrive comes back."
    ).format(amount=fmt.amount(amount_msat))


class SplitList(QWidget):
    """The parts of the balance: what, why, how much. In a line each; where that is too narrow, why stands below."""

    LEAST = 560
    """For one line each, in pixels at 100 %."""

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout()
        self._grid.setContentsMargins(theme().px(S3), 0, 0, 0)
        self._grid.setHorizontalSpacing(theme().px(S4))
        self._grid.setVerticalSpacing(theme().px(S2))
        self._grid.setColumnStretch(1, 1)
        self.setLayout(self._grid)
        self._rows: list[SplitRow] = []
        self._note = ""
        self._shown: object = None

    def show_rows(self, rows: list[SplitRow], note: str) -> None:
        """`note`: what stands below them and is no part of the sum."""
        self._rows, self._note = rows, note
        self._draw()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._draw()

    @property
    def is_narrow(self) -> bool:
        return self.width() < theme().px(self.LEAST)

    def _draw(self) -> None:
        narrow = self.is_narrow
        key = (tuple(self._rows), self._note, narrow, fmt.style.unit, fmt.style.hidden)
        if key == self._shown:
            return
        self._shown = key
        clear(self._grid)
        top, right = Qt.AlignmentFlag.AlignTop, Qt.AlignmentFlag.AlignRight
        line = 0
        for row in self._rows:
            whole = row.level == 0
            name = Label(row.name, "strong" if whole else "body", wrap=narrow)
            name.setContentsMargins(0 if whole else theme().px(S4), 0, 0, 0)
            name.setMinimumWidth(0 if narrow else theme().px(168))
            why = Label(row.why, "body", "text2", wrap=True)
            why.setContentsMargins(theme().px(S4) if narrow else 0, 0, 0, 0)
            amount = Label(fmt.amount(row.amount_msat), "strong" if whole else "body", align=right)
            self._grid.addWidget(amount, line, 2, top | right)
            if not narrow:
                self._grid.addWidget(name, line, 0, top)
                self._grid.addWidget(why, line, 1, top)
            else:
                self._grid.addWidget(name, line, 0, 1, 2, top)
                if row.why:
                    line += 1
                    self._grid.addWidget(why, line, 0, 1, 3)
                else:
                    discard(why)
            line += 1
        if self._note:
            self._grid.addWidget(Label(self._note, "body", "text2", wrap=True), line, 0, 1, 3)


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
