"""A channel's page: its bar, its state with the steps it waits for, the peer, then the folded details."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.describe import CLOSED, channel_look, channel_sentence, together_problem
from wallet.gui.models.channels import uptime_text
from wallet.gui.pages.base import left_column, scroller
from wallet.gui.pages.channel_history import ChannelStates
from wallet.gui.pages.channel_resolution import Resolution
from wallet.gui.pages.channels import show_bar
from wallet.gui.pages.contacts import NameDialog
from wallet.gui.pages.peer_away import PeerAway
from wallet.gui.theme import theme
from wallet.gui.tokens import S1, S2, S3, S4, S6, SETTINGS_WIDTH
from wallet.gui.widgets.bars import CapacityBar
from wallet.gui.widgets.basic import AmountLabel, Button, Card, Flow, Label, Pill, Rule, hbox, vbox
from wallet.gui.widgets.ids import CopyId, DetailsList, Fold, NodeDot
from wallet.gui.widgets.notices import Banner, Facts
from wallet.gui.widgets.stepper import Step, Stepper
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _, ngettext
from wallet.node.api import ChannelPhase, ChannelView

__all__ = ["ChannelDetail", "open_steps"]


def open_steps(channel: ChannelView) -> list[tuple[str, Step, str]]:
    """The way of a channel that is being opened; empty once it is open."""
    phase = channel.phase
    if phase not in {
        ChannelPhase.NEGOTIATING,
        ChannelPhase.AWAITING_CONFIRMATIONS,
        ChannelPhase.AWAITING_PEER,
    }:
        return []
    need = max(1, channel.confirmations_required)
    have = min(channel.confirmations, need)
    confirmations = ngettext("{have} of {n} confirmation", "{have} of {n} confirmations", need).format(
        have=have, n=need
    )
    left = fmt.seconds_long(max(1, need - have) * fmt.SECONDS_PER_BLOCK)
    if phase is ChannelPhase.NEGOTIATING:
        return [
            (_("Agreeing with the peer"), Step.CURRENT, _("a few seconds")),
            (confirmations, Step.WAITING, ""),
            (_("Ready"), Step.WAITING, ""),
        ]
    if phase is ChannelPhase.AWAITING_CONFIRMATIONS:
        return [
            (_("Agreed and sent"), Step.DONE, ""),
            (confirmations, Step.CURRENT, left),
            (_("Ready"), Step.WAITING, ""),
        ]
    return [
        (_("Agreed and sent"), Step.DONE, ""),
        (confirmations, Step.DONE, ""),
        (_("Waiting for the peer to say it is ready"), Step.CURRENT, ""),
    ]


class ChannelDetail(QWidget):
    """Attributes: `channel`, `back`, `rename`, `close_button`, `force_button`; `why_not`: it cannot be; `away`;
    `publish_button` for a channel that is held; `states` and its fold; `resolution`, once the channel is closed."""

    def __init__(self, context: Context, channel: ChannelView, on_back: Callable[[], object]) -> None:
        super().__init__()
        self._context = context
        self.channel = channel
        self.back = Button(_("All channels"), "text", "back", small=True, on_click=on_back)
        self._name = Label("", "section")
        self.rename = Button(
            "",
            "quiet",
            "edit",
            small=True,
            name=_("Give this peer a name of your own"),
            on_click=self._rename,
        )
        self._pill = Pill()
        self._sentence = Label("", "body", "text2", wrap=True)
        self._bar = CapacityBar()
        self._can_send = AmountLabel("amount")
        self._can_receive = AmountLabel("amount", align=Qt.AlignmentFlag.AlignRight)
        self._stepper = Stepper()
        self._note = Label(
            _("You can close Leyden now: it goes on when you come back."), "caption", "text2", wrap=True
        )
        self._banner = Banner("", "info")
        self._peer = Facts(label_width=132)
        self._more = Facts(label_width=132)
        self._details = DetailsList()
        self.close_button = Button(_("Close channel"), "outlined", on_click=lambda: self._close(False))
        self.force_button = Button(_("Force-close"), "danger-text", on_click=lambda: self._close(True))
        self.publish_button = Button(_("Close at my own risk"), "danger-text", on_click=self._publish)
        self._shown: ChannelView | None = None
        self.states = ChannelStates(context, channel.channel_id)
        self.states_fold = Fold(_("Payments under way and past states"), self.states)
        self.states_fold.button.toggled.connect(lambda is_open: self.states.load() if is_open else None)
        self.resolution = Resolution(context, channel.channel_id)
        self._height = -1

        self.away = PeerAway(context, lambda: self._close(True))

        self._left_name = Label("", "caption", "text2")
        self._right_name = Label("", "caption", "text2", align=Qt.AlignmentFlag.AlignRight)
        send = vbox(self._left_name, self._can_send, spacing=0)
        receive = vbox(self._right_name, self._can_receive, spacing=0)
        self._amounts = QWidget()
        self._amounts.setLayout(hbox(send, "stretch", receive))
        head = hbox(NodeDot(channel.peer_id), self._name, self.rename, self._pill, "stretch", spacing=S3)
        card_box = vbox(head, self._sentence, spacing=S3)
        card_box.addWidget(self._amounts)
        card_box.addWidget(self._bar)
        card_box.addWidget(self._stepper)
        card_box.addWidget(self._note)
        card = Card(card_box)
        peer_box = vbox(Label(_("Peer"), "section"), self._peer, spacing=S3)
        rules_box = vbox(Label(_("What is kept back"), "section"), self._more, spacing=S3)
        self._rules = QWidget()
        self._rules.setLayout(rules_box)
        self._actions = QWidget()
        buttons = Flow(self.close_button, self.force_button, self.publish_button, spacing=S2)
        self.why_not = Label("", "caption", "text2", wrap=True)
        actions = vbox(spacing=S2)
        actions.addLayout(buttons)
        actions.addWidget(self.why_not)
        self._actions.setLayout(actions)

        holder = QWidget()
        holder.setMaximumWidth(theme().px(SETTINGS_WIDTH))
        box = vbox(hbox(self.back, "stretch"), self._banner, card, spacing=S4, margins=(0, 0, 0, S6))
        box.addWidget(self.away)
        box.addWidget(self.resolution)
        box.addSpacing(theme().px(S1))
        box.addLayout(peer_box)
        box.addWidget(Rule())
        box.addWidget(self._rules)
        box.addWidget(self.states_fold)
        box.addWidget(Fold(_("Details"), self._details))
        box.addWidget(self._actions)
        box.addStretch(1)
        holder.setLayout(box)
        inside = QWidget()
        inside.setLayout(left_column(holder, margin=4))
        self.setLayout(vbox(scroller(inside), spacing=0))
        self.show_channel(channel)

    def _rename(self) -> None:
        peer_id, alias = self.channel.peer_id, self.channel.peer_alias

        def named() -> None:
            self.forget()
            self.show_channel(self.channel)

        NameDialog(self.window() or self, self._context, peer_id, alias, named).open()

    def forget(self) -> None:
        """What is shown is drawn anew next time, though nothing about the channel has changed."""
        self._shown = None

    def show_channel(self, channel: ChannelView) -> None:
        self.channel = channel
        name = fmt.node_name(channel.peer_alias, channel.peer_id)
        self._name.setText(name)
        word, tone, icon = channel_look(channel)
        self._pill.set(word, tone, icon)
        self._sentence.setText(channel_sentence(channel))
        self._sentence.setVisible(self._sentence.text() not in {word, ""})
        is_open = channel.phase not in CLOSED
        self._banner.say(fmt.plain(channel.closure_text, 400), "info")
        show_bar(self._bar, channel)
        self._bar.setVisible(is_open)
        self._amounts.setVisible(is_open)
        if channel.is_usable:
            self._left_name.setText(_("Can send"))
            self._right_name.setText(_("Can receive"))
            self._can_send.set_msat(channel.can_send_msat)
            self._can_receive.set_msat(channel.can_receive_msat)
        else:
            self._left_name.setText(_("Yours"))
            self._right_name.setText(_("Theirs"))
            self._can_send.set_msat(channel.local_msat)
            self._can_receive.set_msat(channel.remote_msat)
        held = channel.held and is_open
        self.close_button.setVisible(not held)
        self.force_button.setVisible(not held)
        self.publish_button.setVisible(held)
        problem = together_problem(channel) if is_open and not held else ""
        tell_why(self.close_button, problem, self.why_not)
        self.why_not.setVisible(bool(problem))
        steps = open_steps(channel)
        self._stepper.show_steps(steps)
        self._stepper.setVisible(bool(steps))
        self._note.setVisible(bool(steps))
        self._rules.setVisible(is_open)
        self._actions.setVisible(is_open)
        self.resolution.setVisible(not is_open)
        self.states_fold.setVisible(is_open and channel.funding_txid is not None)
        is_away = is_open and not channel.peer_online and channel.phase is not ChannelPhase.NEGOTIATING
        self.away.setVisible(is_away)
        if is_away:
            self.away.show_channel(channel)
        height = self._context.snapshot.status.height
        news = channel != self._shown
        if not is_open and (news or height != self._height):
            self.resolution.load()
        self._height = height
        if not news:
            return
        self._shown = channel
        if self.states_fold.isVisible() and self.states_fold.button.isChecked():
            self.states.load()
        online = _("Online") if channel.peer_online else _("Offline")
        opener = _("You opened this channel") if channel.is_outbound else _("The peer opened this channel")
        self._peer.show_facts(
            [
                (_("Node"), CopyId(_("Peer's id"), channel.peer_id)),
                (_("State"), online),
                (_("Opened by"), opener),
                (_("Capacity"), fmt.amount_sat(channel.capacity_sat)),
                *self._record(channel),
            ]
        )
        inflight_msat = channel.inflight_out_msat + channel.inflight_in_msat
        reserve = _("{amount}, so that cheating would cost you").format(
            amount=fmt.amount_sat(channel.holder_reserve_sat)
        )
        self._more.show_facts(
            [
                (_("Your reserve"), reserve),
                (_("Peer's reserve"), fmt.amount_sat(channel.counterparty_reserve_sat)),
                (_("In flight"), fmt.amount(inflight_msat)),
                (
                    _("If forced"),
                    _("your coins wait {time}").format(time=fmt.blocks_long(channel.to_self_delay_blocks)),
                ),
            ]
        )
        pairs = [(_("Channel id"), channel.channel_id)]
        if channel.short_channel_id:
            pairs.append((_("Short channel id"), channel.short_channel_id))
        if channel.closing_txid:
            pairs.append((_("Closing transaction"), channel.closing_txid))
        self._details.show_pairs([*pairs, *channel.details])

    @staticmethod
    def _record(channel: ChannelView) -> list[tuple[str, QWidget | str]]:
        """How the channel has done so far."""
        if channel.phase in CLOSED:
            return []
        told = _("not known yet: that takes ten minutes")
        if channel.uptime_permille is not None:
            told = _("{share} of the time that Leyden ran").format(share=uptime_text(channel))
        count = ngettext("{n} payment passed on", "{n} payments passed on", channel.forwards)
        earned = _("{amount}, {count}").format(
            amount=fmt.amount(channel.fees_earned_msat), count=count.format(n=fmt.group(channel.forwards))
        )
        return [(_("Peer online"), told), (_("Fees earned"), earned)]

    def _publish(self) -> None:
        from wallet.gui.pages.recovery import PublishHeldDialog

        PublishHeldDialog(self, self._context, self.channel).open()

    def _close(self, force: bool) -> None:
        from wallet.gui.pages.close_channel import CloseChannelDialog

        CloseChannelDialog(self, self._context, self.channel, force=force).open()
