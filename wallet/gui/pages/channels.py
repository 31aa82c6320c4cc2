"""Channels: cards for up to five, a table above that, and a page for each."""

from __future__ import annotations

from functools import partial

from PyQt6.QtCore import QModelIndex, QPoint, Qt
from PyQt6.QtWidgets import QMenu, QStackedWidget, QVBoxLayout, QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.describe import CLOSED, channel_look, channel_sentence
from wallet.gui.models.channels import (
    CAN_RECEIVE,
    CAN_SEND,
    CAPACITY,
    CHANNEL_ROLE,
    EARNED,
    ORDERS,
    PEER,
    STATE,
    UPTIME,
    ChannelsModel,
    arranged,
    order_words,
    uptime_text,
)
from wallet.gui.pages.base import Page, scroller
from wallet.gui.theme import theme
from wallet.gui.tokens import S1, S2, S3, S4, S6
from wallet.gui.widgets.bars import CapacityBar
from wallet.gui.widgets.basic import (
    Button,
    Clickable,
    ElidedLabel,
    Label,
    Pill,
    add_action,
    discard,
    hbox,
    menu,
    vbox,
)
from wallet.gui.widgets.beside import Beside
from wallet.gui.widgets.channel_cells import CapacityDelegate, WaitDelegate, WorthDelegate
from wallet.gui.widgets.fields import LineEdit
from wallet.gui.widgets.ids import Fold, NodeDot, copy_text
from wallet.gui.widgets.notices import Banner, EmptyState, toast
from wallet.gui.widgets.table import Table
from wallet.i18n import _, ngettext
from wallet.node.api import ChannelView

__all__ = ["ChannelCard", "ChannelsPage", "fill_channel_menu", "show_bar"]

CARDS_UP_TO = 5
TOOLS_FROM = 3
"""Fewer channels than this need neither search nor order."""


def show_bar(bar: CapacityBar, channel: ChannelView, scale_sat: int | None = None) -> None:
    """Draws a channel: before it is usable everything is shown as the sides' own, nothing as sendable."""
    bar.show_channel(
        capacity_sat=channel.capacity_sat,
        local_msat=channel.local_msat,
        remote_msat=channel.remote_msat,
        can_send_msat=channel.can_send_msat,
        can_receive_msat=channel.can_receive_msat,
        inflight_msat=channel.inflight_out_msat + channel.inflight_in_msat,
        scale_sat=scale_sat,
    )


def fill_channel_menu(target: QMenu, context: Context, channel: ChannelView, owner: QWidget) -> None:
    """What can be done with a channel, for its "more" button and a right click."""

    def close(force: bool) -> None:
        from wallet.gui.pages.close_channel import CloseChannelDialog

        CloseChannelDialog(owner, context, channel, force=force).open()

    add_action(target, _("Details"), partial(context.show_channel, channel.channel_id), "info")
    add_action(
        target, _("Copy the peer's id"), lambda: copy_text(owner, channel.peer_id, _("Peer's id")), "copy"
    )
    if channel.phase not in CLOSED and not channel.held:
        target.addSeparator()
        add_action(target, _("Close channel"), partial(close, False), "close")
        add_action(target, _("Force-close"), partial(close, True), "warning")


class ChannelCard(Clickable):
    """Peer, state, bar, and what can be sent and received."""

    def __init__(self, context: Context, channel: ChannelView, scale_sat: int) -> None:
        super().__init__(lambda: context.show_channel(self.channel.channel_id))
        self.setProperty("card", "true")
        self._context = context
        self.channel = channel
        self._dot = NodeDot(channel.peer_id)
        self.name = Button("", "title", on_click=lambda: context.show_channel(self.channel.channel_id))
        self.name.setFont(theme().font("section"))
        self._pill = Pill()
        self.more = Button("", "quiet", "more", small=True, name=_("More"), on_click=self._open_menu)
        self._sentence = ElidedLabel("", "caption", "text2")
        self.bar = CapacityBar()
        self._send = Label("", "caption", "text2")
        self._receive = Label("", "caption", "text2")
        self._record = Label("", "caption", "text3")
        box = vbox(spacing=S2, margins=(20, S4, 20, S4))
        # A long state stands below the name where both have no room side by side.
        named = Beside(hbox(self._dot, self.name, "stretch", spacing=S2), self._pill, least=480, spacing=S2)
        head = hbox(spacing=S2)
        head.addLayout(named, 1)
        head.addWidget(self.more)
        box.addLayout(head)
        box.addWidget(self._sentence)
        box.addSpacing(theme().px(S1))
        box.addWidget(self.bar)
        box.addLayout(hbox(self._send, "stretch", self._receive))
        box.addWidget(self._record)
        self.setLayout(box)
        self.show_channel(channel, scale_sat)

    def show_channel(self, channel: ChannelView, scale_sat: int) -> None:
        self.channel = channel
        name = fmt.node_name(channel.peer_alias, channel.peer_id)
        self.name.setText(name)
        self.name.setAccessibleName(_("Channel with {name}").format(name=name))
        self.more.setAccessibleName(_("More on the channel with {name}").format(name=name))
        word, tone, icon = channel_look(channel)
        self._pill.set(word, tone, icon)
        self._sentence.setText(fmt.plain(channel.closure_text, 160) or channel_sentence(channel))
        self._sentence.setVisible(self._sentence.text() not in {word, ""})
        show_bar(self.bar, channel, scale_sat)
        if channel.is_usable:
            self._send.setText(_("Can send {amount}").format(amount=fmt.with_fiat(channel.can_send_msat)))
            self._receive.setText(
                _("Can receive {amount}").format(amount=fmt.with_fiat(channel.can_receive_msat))
            )
        elif channel.phase in CLOSED:
            self._send.setText(_("Was {amount}").format(amount=fmt.amount_sat(channel.capacity_sat)))
            self._receive.setText("")
        else:
            self._send.setText(_("Yours {amount}").format(amount=fmt.with_fiat(channel.local_msat)))
            self._receive.setText(_("Theirs {amount}").format(amount=fmt.with_fiat(channel.remote_msat)))

        told = []
        if channel.phase not in CLOSED and channel.uptime_permille is not None:
            told.append(_("Online {share} of the time").format(share=uptime_text(channel)))
        if channel.forwards:
            told.append(_("earned {amount}").format(amount=fmt.amount(channel.fees_earned_msat)))
        self._record.setText(", ".join(told))
        self._record.setVisible(bool(told))

    def _open_menu(self) -> None:
        made = menu(self)
        fill_channel_menu(made, self._context, self.channel, self)
        made.popup(self.more.mapToGlobal(self.more.rect().bottomLeft()))


class ChannelsPage(Page):
    """Attributes: `model`, `cards` by channel id, `table`, `detail` while a channel's page is shown."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, _("Channels"), scrolls=False, inset=4)
        self.open_button = Button(
            _("Open channel"), "filled", "plus", on_click=lambda: context.open_channel(self.suggested_peer())
        )
        self.head.addWidget(self.open_button)
        self.model = ChannelsModel()
        self.cards: dict[str, ChannelCard] = {}
        self.planned = Banner("", "info", _("Forget it"), self._forget_plan)
        self.body.addWidget(self.planned)
        self.stack = QStackedWidget()
        self.body.addWidget(self.stack)

        self._summary = Label("", "body", "text2", wrap=True)
        self.search = LineEdit(_("Search channels"), _("Search by name, id or state"))
        self.search.setClearButtonEnabled(True)
        self.search.setMaximumWidth(theme().px(320))
        self.search.textChanged.connect(lambda _text: self.refresh())
        self.order = ""
        self.descending = True
        self.sort_button = Button("", "outlined", "chevron-down", on_click=self._open_orders)
        self._tools = QWidget()
        self._tools.setLayout(Beside(self.search, self.sort_button, least=300))
        self._nothing = Label(_("No channel fits the search."), "body", "text2")
        self._cards_box = vbox(spacing=S3)
        self.table = Table(_("Channels"), self._open_row)
        self.table.setModel(self.model)
        self.table.set_widths(
            PEER,
            {STATE: 172, CAN_SEND: 140, CAN_RECEIVE: 144, CAPACITY: 150, UPTIME: 108, EARNED: 116},
            gives_way=(UPTIME, EARNED, CAPACITY, CAN_RECEIVE),
            least=160,
        )
        self.table.setItemDelegateForColumn(STATE, WaitDelegate(self.table))
        worth = WorthDelegate(self.table)
        for column in (CAN_SEND, CAN_RECEIVE, EARNED):
            self.table.setItemDelegateForColumn(column, worth)
        self._capacities = CapacityDelegate(self.table)
        self.table.setItemDelegateForColumn(CAPACITY, self._capacities)
        across = self.table.horizontalHeader()
        if across is not None:
            across.setSectionsClickable(True)
            across.sectionClicked.connect(lambda column: self.sort(ORDERS[column]))
        self.table.customContextMenuRequested.connect(self._row_menu)
        self._closed_box = vbox(spacing=S3)
        closed = QWidget()
        closed.setLayout(self._closed_box)
        self._closed_fold = Fold("", closed)
        self._closed_cards: dict[str, ChannelCard] = {}

        inside = QWidget()
        box = vbox(self._summary, self._tools, self._nothing, spacing=S4, margins=(4, 4, 4, S6))
        box.addLayout(self._cards_box)
        box.addWidget(self.table)
        box.addWidget(self._closed_fold)
        box.addStretch(1)
        inside.setLayout(box)
        inside.setMaximumWidth(theme().px(960))
        self._list = scroller(inside)
        self._empty = EmptyState(
            "channels",
            _("A channel is a tab with another node: with one, you pay in a second and for next to nothing."),
            _("Open channel"),
            lambda: context.open_channel(self.suggested_peer()),
        )
        self.stack.addWidget(self._list)
        self.stack.addWidget(self._empty)
        self.detail: QWidget | None = None
        context.preferences.amounts_changed.connect(self._amounts_changed)

    def suggested_peer(self) -> str:
        """The sandbox's hub; elsewhere the user names a node."""
        sandbox = self.context.bridge.api.sandbox()
        return sandbox.hub_uri() if sandbox is not None else ""

    def _amounts_changed(self) -> None:
        from wallet.gui.pages.channel import ChannelDetail

        self.model.repaint_amounts()
        if isinstance(self.detail, ChannelDetail):
            self.detail.forget()
        if self.isVisible():
            self.refresh()
        else:
            self.mark_stale()

    # --- a channel that waits for a deposit -----------------------------------------

    def _forget_plan(self) -> None:
        self.context.bridge.call("plan_channel", lambda _nothing: None, self._not_forgotten, owner=self)

    def _not_forgotten(self, sentence: str) -> None:
        toast(self, sentence, "warning")

    def _show_plan(self) -> None:
        status = self.context.snapshot.status
        sentence = fmt.plain(status.planned_channel, 400)
        if status.plan_is_waiting:
            balance = self.context.snapshot.balance
            if balance.onchain_unconfirmed_sat:
                step = _(
                    "Your deposit of {amount} has been seen; its first confirmation is waited for."
                ).format(amount=fmt.amount_sat(balance.onchain_unconfirmed_sat))
            else:
                step = _("Deposit to your address on Receive. You may close Leyden meanwhile.")
            sentence = f"{sentence} {step}"
        self.planned.say(sentence, "info" if status.plan_is_waiting else "warning")

    # --- order ----------------------------------------------------------------------

    def sort(self, order: str) -> None:
        """By a column; once more turns it round."""
        self.descending = not self.descending if order == self.order else order != "name"
        self.order = order
        self.refresh()

    def _open_orders(self) -> None:
        made = menu(self)
        for order in ORDERS:
            add_action(made, order_words(order), partial(self.sort, order))
        made.popup(self.sort_button.mapToGlobal(self.sort_button.rect().bottomLeft()))

    def _show_order(self) -> None:
        words = order_words(self.order) if self.order else _("As opened")
        if self.order:
            way = _("largest first") if self.descending else _("smallest first")
            if self.order in {"name", "state"}:
                way = _("from the end") if self.descending else _("from the start")
            words = f"{words}, {way}"
        self.sort_button.setText(_("Sorted: {order}").format(order=words))

    def set_narrow(self, narrow: bool) -> None:
        super().set_narrow(narrow)
        if hasattr(self, "table"):
            self.table.leave_out((UPTIME, EARNED) if narrow else ())

    # --- a channel's own page -----------------------------------------------------

    def show_channel(self, channel_id: str) -> None:
        from wallet.gui.pages.channel import ChannelDetail

        channel = self.context.channel(channel_id)
        if channel is None:
            return
        self._drop_detail()
        detail = ChannelDetail(self.context, channel, self.show_list)
        self.detail = detail
        self.stack.addWidget(detail)
        self.stack.setCurrentWidget(detail)
        self.title.setText(_("Channel"))
        self.open_button.hide()
        detail.back.setFocus(Qt.FocusReason.OtherFocusReason)

    def show_list(self) -> None:
        self._drop_detail()
        self.title.setText(_("Channels"))
        self.refresh()

    def _drop_detail(self) -> None:
        if self.detail is not None:
            self.stack.removeWidget(self.detail)
            discard(self.detail)
            self.detail = None

    # --- the list -------------------------------------------------------------------

    def _open_row(self, index: QModelIndex) -> None:
        channel = index.data(CHANNEL_ROLE)
        if isinstance(channel, ChannelView):
            self.context.show_channel(channel.channel_id)

    def _row_menu(self, place: QPoint) -> None:
        channel = self.table.menu_index(place).data(CHANNEL_ROLE)
        view = self.table.viewport()
        if isinstance(channel, ChannelView) and view is not None:
            made = menu(self)
            fill_channel_menu(made, self.context, channel, self)
            made.popup(view.mapToGlobal(place))

    def refresh(self) -> None:
        from wallet.gui.pages.channel import ChannelDetail

        self._show_plan()

        if isinstance(self.detail, ChannelDetail):
            channel = self.context.channel(self.detail.channel.channel_id)
            if channel is not None:
                self.detail.show_channel(channel)
                return
            self.show_list()
            return
        channels = self.context.snapshot.channels
        live = [channel for channel in channels if channel.phase not in CLOSED]
        gone = [channel for channel in channels if channel.phase in CLOSED]
        text = self.search.text()
        shown = arranged(live, text=text, order=self.order, descending=self.descending)
        self._tools.setVisible(len(channels) >= TOOLS_FROM)
        self._show_order()
        gone_shown = arranged(gone, text=text, order=self.order, descending=self.descending)
        self._nothing.setVisible(bool(channels) and not shown and not gone_shown)
        self.model.sync(shown)
        as_cards = len(live) <= CARDS_UP_TO
        scale_sat = max((channel.capacity_sat for channel in live), default=1)
        self._sync_cards(self.cards, self._cards_box, shown if as_cards else [], scale_sat)
        self._capacities.scale_sat = scale_sat
        self.table.setVisible(not as_cards and bool(shown))
        if not as_cards:
            down, across = self.table.verticalHeader(), self.table.horizontalHeader()
            if down is not None and across is not None:
                rows = min(len(shown), 12)
                self.table.setMinimumHeight(rows * down.defaultSectionSize() + across.height() + 4)
        self._sync_cards(
            self._closed_cards, self._closed_box, gone_shown, max((c.capacity_sat for c in gone), default=1)
        )
        self._closed_fold.setVisible(bool(gone))
        count = ngettext("{n} closed channel", "{n} closed channels", len(gone)).format(n=len(gone))
        self._closed_fold.button.setText(count)
        balance = self.context.snapshot.balance
        self._summary.setText(
            _("You can send {send} and receive {receive} over Lightning now.").format(
                send=fmt.with_fiat(balance.can_send_msat), receive=fmt.with_fiat(balance.can_receive_msat)
            )
        )
        self._summary.setVisible(bool(live))
        self.open_button.setVisible(bool(channels))
        self.stack.setCurrentWidget(self._list if channels else self._empty)
        if gone and not live:
            self._closed_fold.button.setChecked(True)

    def _sync_cards(
        self, cards: dict[str, ChannelCard], box: QVBoxLayout, channels: list[ChannelView], scale_sat: int
    ) -> None:
        wanted = {channel.channel_id for channel in channels}
        for channel_id in [c for c in cards if c not in wanted]:
            discard(cards.pop(channel_id))
        for place, channel in enumerate(channels):
            card = cards.get(channel.channel_id)
            if card is None:
                card = ChannelCard(self.context, channel, scale_sat)
                cards[channel.channel_id] = card
            else:
                card.show_channel(channel, scale_sat)
            if box.indexOf(card) != place:
                box.insertWidget(place, card)
