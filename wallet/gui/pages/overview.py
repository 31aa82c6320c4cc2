"""Overview: one balance for both layers, what needs attention, what to do next, the last payments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QResizeEvent
from PyQt6.QtWidgets import QGridLayout, QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.describe import CLOSED, channel_sentence
from wallet.gui.pages.base import Page, column
from wallet.gui.pages.overview_chart import BalanceOverTime, SplitList, balance_split, under_way
from wallet.gui.pages.plan_card import PlanCard
from wallet.gui.theme import theme
from wallet.gui.tokens import S1, S2, S3, S4, S6
from wallet.gui.widgets.bars import BalanceBar, Segment, Swatch
from wallet.gui.widgets.basic import (
    AmountLabel,
    Button,
    Card,
    ClickCard,
    Flow,
    IconLabel,
    Label,
    clear,
    hbox,
    keyboard_on,
    vbox,
)
from wallet.gui.widgets.ids import Fold
from wallet.gui.widgets.notices import Banner
from wallet.gui.widgets.rows import PaymentRow
from wallet.gui.widgets.statusbar import is_stale
from wallet.i18n import _
from wallet.node.api import (
    ActivityItem,
    ActivityKind,
    ActivityStatus,
    BalanceView,
    ChannelPhase,
    NodeStatus,
    ProblemKind,
    WalletSnapshot,
)

__all__ = ["Attention", "OverviewPage", "attention", "balance_parts", "guide_step"]

RECENT = 5


@dataclass(frozen=True, slots=True)
class Attention:
    """What wants the user's eye, and the button that leads to where it is mended: to a channel, else to a page."""

    tone: str
    sentence: str
    verb: str
    place: str = ""
    channel_id: str = ""


def balance_parts(balance: BalanceView) -> list[tuple[str, str, int, str]]:
    """(look, name, amount_msat, what it means) of each part; together they are the total.

    Everything is in whole satoshis, as the total is.
    """
    parts = [
        (
            "send",
            _("Spendable"),
            balance.spendable_sat * 1000,
            _("What you can send now, on either layer"),
        ),
        ("incoming", _("Incoming"), balance.incoming_sat * 1000, _("Waiting for its first confirmation")),
        ("locked", _("Locked"), balance.locked_sat * 1000, _("On its way home from closed channels")),
        (
            "reserve",
            _("Reserved"),
            balance.reserved_sat * 1000,
            _('Yours, and not to be sent now: each reason stands under "What it is made of"'),
        ),
    ]
    return [part for part in parts if part[2] > 0]


def _mending(kind: ProblemKind) -> tuple[str, str]:
    """(the button's words, where it leads)."""
    return {
        ProblemKind.FILE: (_("Quit Leyden"), "quit"),
        ProblemKind.RESTORED: (_("Recovery report"), "recovery"),
        ProblemKind.BACKUP: (_("To the backup"), "settings/backup"),
        ProblemKind.SERVERS: (_("To the servers"), "settings/servers"),
        ProblemKind.COINS: (_("Show an address"), "receive"),
        ProblemKind.REQUESTS: (_("Answer"), "requests"),
    }[kind]


def attention(snapshot: WalletSnapshot) -> list[Attention]:
    """Everything that wants the user's eye; what a restored wallet waits for stands above every page instead."""
    found = []
    for problem in snapshot.status.problems:
        if problem.kind is not ProblemKind.RESTORED:
            verb, place = _mending(problem.kind)
            found.append(Attention("warning", fmt.plain(problem.text, 300), verb, place))
    for channel in snapshot.channels:
        name = fmt.node_name(channel.peer_alias, channel.peer_id)
        if channel.held and channel.phase not in CLOSED:
            sentence = channel_sentence(channel)
        elif channel.phase is ChannelPhase.PEER_OFFLINE:
            sentence = fmt.plain(channel.phase_text, 200) + "."
        elif channel.phase is ChannelPhase.FORCE_CLOSING:
            sentence = fmt.plain(channel.closure_text or channel.phase_text, 240)
        else:
            continue
        found.append(
            Attention("warning", f"{name}. {sentence}", _("Show channel"), channel_id=channel.channel_id)
        )
    height = snapshot.status.height
    known = {channel.channel_id for channel in snapshot.channels}
    for coin in snapshot.balance.locked:
        reason = fmt.plain(coin.reason, 160).rstrip(".")
        if not coin.is_certain:
            sentence = f"{fmt.amount_sat(coin.amount_sat)}. {reason}."
        elif coin.until_height is not None and coin.until_height > height:
            blocks = coin.until_height - height
            sentence = _("{amount} is free {when}, on {date}. {reason}.").format(
                amount=fmt.amount_sat(coin.amount_sat),
                when=fmt.blocks_ahead(blocks),
                date=fmt.date(fmt.now() + blocks * fmt.SECONDS_PER_BLOCK),
                reason=reason,
            )
        else:
            sentence = _("{amount} is on its way home. {reason}.").format(
                amount=fmt.amount_sat(coin.amount_sat), reason=reason
            )
        if coin.channel_id is not None and coin.channel_id in known:
            found.append(Attention("info", sentence, _("Show channel"), channel_id=coin.channel_id))
        else:
            found.append(Attention("info", sentence, _("Recovery report"), "recovery"))
    return found


_OPEN_PHASES = frozenset(
    {ChannelPhase.READY, ChannelPhase.PEER_OFFLINE, ChannelPhase.SHUTTING_DOWN, ChannelPhase.AWAITING_PEER}
)


def guide_step(snapshot: WalletSnapshot, lightning: Sequence[ActivityItem]) -> int:
    """How far the practice round is: 0 receive coins, 1 open a channel, 2 pay, 3 be paid, 4 close, 5 done."""
    done = [item for item in lightning if item.status is ActivityStatus.DONE]
    has_paid = any(item.amount_msat < 0 for item in done)
    if has_paid and any(item.amount_msat > 0 for item in done):
        return 5 if any(channel.phase in CLOSED for channel in snapshot.channels) else 4
    # A channel that was closed before its time, or never opened, is no step: another one is needed to go on.
    if any(channel.phase not in CLOSED for channel in snapshot.channels):
        return 3 if has_paid else 2
    return 1 if snapshot.balance.total_sat > 0 else 0


class GuideCard(Card):
    """The practice round, step by step; the step that is next carries the page's filled button."""

    def __init__(self, context: Context) -> None:
        self._box = vbox(spacing=S2)
        super().__init__(self._box)
        self._context = context
        self._shown: tuple[int, bool] | None = None
        self.action: Button | None = None
        self.busy = False

    def show_step(self, step: int, *, waiting: bool) -> None:
        if (step, waiting) == self._shown:
            return
        self._shown = (step, waiting)
        # The keyboard goes on with the round, from a button to the one that takes its place.
        led = self.action is not None and keyboard_on(self) is self.action
        clear(self._box)
        self.action = None
        if step >= 5:
            self._box.addWidget(Label(_("You have been all the way round"), "section"))
            self._box.addWidget(
                Label(
                    _(
                        "Received, opened, paid, been paid, closed. Go on as you like: nothing here is real money."
                    ),
                    "body",
                    "text2",
                    wrap=True,
                )
            )
            return
        self._box.addWidget(Label(_("Try it with play money"), "section"))
        self._box.addSpacing(theme().px(S1))
        for number, (name, sentence, verb) in enumerate(self._steps()):
            self._box.addLayout(self._row(number, step, name, sentence, verb, waiting=waiting))
        if led:
            self._lead_on()

    def _lead_on(self) -> None:
        if self.action is not None:
            self.action.setFocus(Qt.FocusReason.OtherFocusReason)

    @staticmethod
    def _steps() -> list[tuple[str, str, str]]:
        return [
            (_("Receive coins"), _("Play coins arrive in your wallet, on chain."), _("Get 1 000 000 sat")),
            (
                _("Open a channel"),
                _("To the friendly hub, so that you can pay in a second."),
                _("Open a channel"),
            ),
            (
                _("Pay the shop"),
                _("It has a channel to the hub: your payment finds its way."),
                _("Buy a coffee"),
            ),
            (_("Be paid"), _("Make a request, and the shop pays it."), _("Make a request")),
            (_("Close the channel"), _("What is yours comes back to your coins."), _("Show the channel")),
        ]

    def _row(  # the parts of one line
        self, number: int, step: int, name: str, sentence: str, verb: str, *, waiting: bool
    ) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(theme().px(S3))
        grid.setContentsMargins(0, theme().px(S1), 0, theme().px(S1))
        grid.setColumnStretch(1, 1)
        if number < step:
            icon = IconLabel("check-circle", "success", 20)
        elif number == step:
            icon = IconLabel("chevron-right", "accent", 20)
        else:
            icon = IconLabel("clock", "text3", 20)
        grid.addWidget(icon, 0, 0)
        current = number == step
        grid.addWidget(
            Label(name, "strong" if current else "body", "text" if number <= step else "text2"), 0, 1
        )
        if current:
            if waiting:
                sentence = _("Waiting for blocks. They come by themselves, or by this button.")
            grid.addWidget(Label(sentence, "body", "text2", wrap=True), 1, 1)
            if waiting:
                context = self._context
                self.action = Button(
                    _("Mine three blocks"), "filled", "pickaxe", on_click=lambda: self._mine(context)
                )
            else:
                self.action = Button(verb, "filled", on_click=lambda: self._act(number))
            grid.addWidget(self.action, 0, 2, 2, 1)
        return grid

    def _mine(self, context: Context) -> None:
        from wallet.gui.pages.practice import mine

        mine(context, self, 3)

    def _act(self, step: int) -> None:
        from wallet.gui.pages.practice import buy_coffee, get_coins

        context = self._context
        sandbox = context.bridge.api.sandbox()
        if step == 0:
            get_coins(context, self)
        elif step == 1:
            context.open_channel(sandbox.hub_uri() if sandbox is not None else "")
        elif step == 2:
            buy_coffee(context, self)
        elif step == 3:
            context.go("receive")
        else:
            usable = [c for c in context.snapshot.channels if c.phase in _OPEN_PHASES]
            if usable:
                context.show_channel(usable[0].channel_id)
            else:
                context.go("channels")


class Starters(QWidget):
    """Cards side by side; one below the other where each would be too narrow for its words."""

    LEAST = 180
    """Of a card, in pixels at 100 %."""

    def __init__(self, *cards: ClickCard) -> None:
        super().__init__()
        self.cards = cards
        self._columns = 0
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(theme().px(S4))
        self.setLayout(self._grid)
        self._arrange(len(cards))

    def _arrange(self, columns: int) -> None:
        if columns == self._columns:
            return
        self._columns = columns
        for place, card in enumerate(self.cards):
            self._grid.addWidget(card, place // columns, place % columns)
            self._grid.setColumnStretch(place, int(place < columns))

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        count = len(self.cards)
        room = self.width() - theme().px(S4) * (count - 1)
        self._arrange(count if room >= theme().px(self.LEAST) * count else 1)


class OverviewPage(Page):
    """Shown first; also what tells a newcomer what to do."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, _("Overview"))
        self.receive = Button(_("Receive"), "outlined", "receive", on_click=lambda: context.go("receive"))
        self.send = Button(_("Send"), "filled", "send", on_click=lambda: context.go("send"))
        self.head.addWidget(self.receive)
        self.head.addWidget(self.send)
        holder, box = column(960)
        self.body.addWidget(holder)
        self.body.addStretch(1)

        self.balance = AmountLabel("display")
        self._hide = Button(
            "", "quiet", "eye", small=True, name=_("Hide amounts"), on_click=self._toggle_hidden
        )
        top = hbox(self.balance, self._hide, "stretch", spacing=S3)
        self.as_of = Label("", "caption", "warning")
        self.as_of.hide()
        self._bar = BalanceBar()
        self._legend = Flow(spacing=S6, line_spacing=S1)
        self._legend_holder = QWidget()
        self._legend_holder.setLayout(self._legend)
        self._empty_note = Label(
            _("Nothing here yet. Your first coins will show in this place."), "body", "text2", wrap=True
        )
        self.split = SplitList()
        self.split_fold = Fold(_("What it is made of"), self.split)
        box.addLayout(
            vbox(
                Label(_("Balance"), "caption", "text2"), top, self.as_of, S2, self._bar, S1, self._legend_holder,
                self.split_fold, self._empty_note, spacing=S1,
            )
        )  # fmt: skip
        self._attention = vbox(spacing=S2)
        self._attention_title = Label(_("Needs attention"), "section")
        self._attention_holder = QWidget()
        self._attention_holder.setLayout(vbox(self._attention_title, self._attention, spacing=S3))
        box.addWidget(self._attention_holder)
        self.plan = PlanCard(context)
        box.addWidget(self.plan)
        self._guide: GuideCard | None = None
        self._guide_place = vbox()
        self._guide_place.setContentsMargins(0, 0, 0, 0)
        box.addLayout(self._guide_place)
        self._starters: QWidget | None = None
        self.over_time = BalanceOverTime(context)
        box.addWidget(self.over_time)

        self._recent_holder = QWidget()
        self._recent_card = Card(vbox(spacing=0), padding=0)
        title = hbox(
            Label(_("Last payments"), "section"),
            "stretch",
            Button(_("All activity"), "text", on_click=lambda: context.go("activity")),
        )
        self._recent_holder.setLayout(vbox(title, self._recent_card, spacing=S2))
        box.addWidget(self._recent_holder)
        self._recent_shown: tuple[object, ...] = ()
        self._recent_rows: dict[str, PaymentRow] = {}
        self._attention_shown: list[Attention] | None = None
        self._legend_shown: list[tuple[str, str, int, str]] | None = None
        context.preferences.amounts_changed.connect(self._amounts_changed)

    def _amounts_changed(self) -> None:
        self._recent_shown = ()
        self._legend_shown = None
        self._attention_shown = None
        self.over_time.repaint_amounts()
        if self.isVisible():
            self.refresh()
        else:
            self.mark_stale()

    def _toggle_hidden(self) -> None:
        self.context.preferences.choose_hidden(not fmt.style.hidden)

    def refresh(self) -> None:
        snapshot = self.context.snapshot
        balance = snapshot.balance
        self.balance.set_sat(balance.total_sat)
        self._hide.set_icon("eye-off" if fmt.style.hidden else "eye")
        self._hide.setToolTip(_("Show amounts") if fmt.style.hidden else _("Hide amounts"))
        self._hide.setAccessibleName(self._hide.toolTip())
        self._show_age(snapshot.status)
        self._show_balance(balance)
        self._show_attention(snapshot)
        is_new = balance.total_sat == 0 and not snapshot.recent and not snapshot.channels
        self._empty_note.setVisible(is_new)
        self.split.show_rows(balance_split(snapshot), under_way(snapshot))
        self.split_fold.setVisible(balance.total_sat > 0)
        self.over_time.refresh()
        self.plan.show_snapshot(snapshot)
        self._show_next(snapshot, is_new=is_new)
        self._show_recent(snapshot.recent[:RECENT])
        self.send.setVisible(not is_new)
        self.receive.setVisible(not is_new)

    def _show_age(self, status: NodeStatus) -> None:
        """What nobody keeps current says from when it is."""
        stale = is_stale(status) and status.tip_at > 0
        self.as_of.setVisible(stale)
        if stale:
            self.as_of.setText(
                _("As of block {height}, {ago}: reconnecting").format(
                    height=fmt.group(status.height), ago=fmt.ago(status.tip_at)
                )
            )

    def _show_balance(self, balance: BalanceView) -> None:
        parts = balance_parts(balance)
        self._bar.show_segments([Segment(look, amount_msat) for look, _name, amount_msat, _why in parts])
        self._bar.setVisible(bool(parts))
        self._legend_holder.setVisible(bool(parts))
        if parts == self._legend_shown:
            return
        self._legend_shown = parts
        clear(self._legend)
        for look, name, amount_msat, why in parts:
            cell = QWidget()
            cell.setToolTip(why)
            number = Label(fmt.amount(amount_msat), "strong")
            row = hbox(Swatch(look), Label(name, "body", "text2"), number, spacing=S2)
            cell.setLayout(row)
            cell.setAccessibleName(f"{name}: {fmt.amount(amount_msat)}. {why}")
            self._legend.addWidget(cell)

    def _show_attention(self, snapshot: WalletSnapshot) -> None:
        found = attention(snapshot)
        self._attention_holder.setVisible(bool(found))
        if found == self._attention_shown:
            return
        self._attention_shown = found
        clear(self._attention)
        for item in found:
            if item.channel_id:
                act = partial(self.context.show_channel, item.channel_id)
            else:
                act = partial(self.context.go, item.place)
            banner = Banner(item.sentence, item.tone, item.verb, act)
            self._attention.addWidget(banner)

    def _show_next(self, snapshot: WalletSnapshot, *, is_new: bool) -> None:
        if self.context.bridge.api.sandbox() is not None:
            if self._guide is None:
                self._guide = GuideCard(self.context)
                self._guide_place.addWidget(self._guide)
            page = self.context.bridge.api.activity_page(offset=0, limit=50, kind=ActivityKind.LIGHTNING)
            step = guide_step(snapshot, page.items)
            has_ready = any(c.is_usable for c in snapshot.channels)
            waiting = (step == 1 and snapshot.balance.onchain_spendable_sat == 0) or (
                step in {2, 3, 4} and not has_ready
            )
            self._guide.show_step(step, waiting=waiting)
            # One filled button a page: the guide's, while it has one.
            acts = self._guide.action is not None
            self.send.set_kind("outlined" if acts or snapshot.status.plan_is_waiting else "filled")
            self.plan.deposit.set_kind("outlined" if acts else "filled")
            return
        planned = snapshot.status.plan_is_waiting
        # One filled button a page: while a deposit is waited for, it is the one that leads to the address.
        self.send.set_kind("outlined" if planned else "filled")
        is_new = is_new and not planned
        if is_new and self._starters is None:
            context = self.context
            starters = Starters(
                ClickCard(
                    "receive",
                    _("Receive coins"),
                    _("Show an address and send bitcoin to it."),
                    lambda: context.go("receive"),
                ),
                ClickCard(
                    "channels",
                    _("Open a first channel"),
                    _("Choose a peer, then deposit: it opens by itself, and you pay in a second."),
                    lambda: context.open_channel(""),
                ),
                ClickCard(
                    "sandbox",
                    _("Practise with play money"),
                    _("In a wallet of its own, with a small network inside Leyden. Nothing can go wrong."),
                    lambda: context.go("practise"),
                ),
            )
            self._starters = starters
            self._guide_place.addWidget(starters)
        if self._starters is not None:
            self._starters.setVisible(is_new)

    def _show_recent(self, items: tuple[ActivityItem, ...]) -> None:
        self._recent_holder.setVisible(bool(items))
        shown = (items, fmt.style.unit, fmt.style.hidden, fmt.now() // 60)
        layout = self._recent_card.layout()
        if shown == self._recent_shown or layout is None:
            return
        self._recent_shown = shown
        held = keyboard_on(self)
        held_id = next((item_id for item_id, row in self._recent_rows.items() if row is held), None)
        clear(layout)
        self._recent_rows = {}
        for number, item in enumerate(items):
            row = PaymentRow(
                item, partial(self.context.show_item, item.item_id), last=number == len(items) - 1
            )
            layout.addWidget(row)
            self._recent_rows[item.item_id] = row
        if held_id is not None and held_id in self._recent_rows:
            self._recent_rows[held_id].setFocus(Qt.FocusReason.OtherFocusReason)
