"""Recovery: what would come back if this computer were lost, and in a restored wallet, how far it has come.

The report is the node's (`recovery_report`); it is asked for again whenever something changed while the page is shown,
one question at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QHideEvent
from PyQt6.QtWidgets import QHBoxLayout, QLabel, QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.pages.base import Page, left_column
from wallet.gui.theme import theme
from wallet.gui.tokens import S1, S2, S3, S4, S6, SETTINGS_WIDTH
from wallet.gui.widgets.basic import (
    AmountLabel,
    Button,
    Card,
    Label,
    Pill,
    Rule,
    clear,
    hbox,
    vbox,
)
from wallet.gui.widgets.beside import Beside
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.fields import Field, LineEdit, Segments
from wallet.gui.widgets.ids import NodeDot
from wallet.gui.widgets.notices import Banner, toast
from wallet.gui.widgets.stepper import Step, Stepper
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _, ngettext
from wallet.node.api import HELD_CHANNEL_PHRASE, ChannelView, NodeStatus

__all__ = [
    "OldInstallationDialog",
    "PublishHeldDialog",
    "RecoveryPage",
    "recovery_steps",
]

WORDS, BACKUP, STORAGE = "words", "words_and_channel_backup", "words_and_peer_storage"
Report = Mapping[str, Any]


def _way(report: Report, key: str) -> Report:
    found = report.get(key)
    return found if isinstance(found, Mapping) else {}


def _rows(report: Report, key: str) -> list[Report]:
    found = _way(report, key).get("channels")
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, Sequence) else []


def _sat(row: Report, key: str = "amount_sat") -> int:
    value = row.get(key)
    return value if isinstance(value, int) else 0


def _when_at(row: Report) -> int:
    """0 where no date is known."""
    value = row.get("when_at")
    return value if isinstance(value, int) else 0


def _last_at(rows: Sequence[Report]) -> int:
    """When the last of it comes, as far as a date is known."""
    return max((_when_at(row) for row in rows), default=0)


def recovery_steps(status: NodeStatus, report: Report) -> list[tuple[str, Step, str]]:
    """How far bringing everything back has come."""
    recovery = status.recovery
    height = fmt.group(status.height)
    steps = []
    if status.synced:
        steps.append((_("The chain is searched, up to block {height}").format(height=height), Step.DONE, ""))
    else:
        searching = _("Searching the chain for your coins: block {height}")
        steps.append((searching.format(height=height), Step.CURRENT, ""))
    rows = _rows(report, BACKUP)
    if recovery.asks:
        steps.append((_("Your word that no other copy of this wallet runs"), Step.CURRENT, ""))
    elif rows or recovery.is_restored:
        steps.append((_("No other copy of this wallet runs"), Step.DONE, ""))
    waiting = recovery.lost + recovery.held
    if waiting:
        words = ngettext(
            "{n} channel waits for its peer", "{n} channels wait for their peers", waiting
        ).format(n=waiting)
        steps.append((words, Step.WAITING if recovery.asks else Step.CURRENT, ""))
    elif rows:
        steps.append((_("All channels have answered"), Step.DONE, ""))
    coming_sat = _coming_sat(report)
    if coming_sat:
        last_at = _last_at(rows)
        steps.append(
            (
                _("{amount} is still to come").format(amount=fmt.amount_sat(coming_sat)),
                Step.WAITING if waiting else Step.CURRENT,
                _("until about {date}").format(date=fmt.date(last_at)) if last_at else "",
            )
        )
    elif status.synced and not waiting:
        steps.append((_("All that was found is home"), Step.DONE, ""))
    return steps


def _coming_sat(report: Report) -> int:
    return max(0, _sat(_way(report, BACKUP)) - _sat(report, "onchain_sat"))


_STATES: dict[str, tuple[Callable[[], str], str, str]] = {
    "open": (lambda: _("Open"), "success", "check"),
    "closing": (lambda: _("Closing"), "neutral", "hourglass"),
    "closed": (lambda: _("Closed"), "neutral", "hourglass"),
    "lost": (lambda: _("Waiting for the peer"), "accent", "hourglass"),
}


class ChannelRow(QWidget):
    """One channel: whose, how it stands, what comes back of it, and when."""

    def __init__(self, row: Report, *, held: bool) -> None:
        super().__init__()
        peer = str(row.get("peer") or "")
        name = fmt.node_name(str(row.get("alias") or ""), peer) if peer else _("A channel that a peer closed")
        word, tone, icon = _STATES.get(str(row.get("state")), _STATES["closed"])
        home_sat = 0 if _sat(row) else _sat(row, "home_sat")
        if held:
            pill = Pill(_("Held back"), "warning", "lock")
        elif home_sat:
            pill = Pill(_("Home"), "success", "check")
        else:
            pill = Pill(word(), tone, icon)
        amount: QLabel
        if row.get("state") == "lost" and not _sat(row):
            # A backup knows how large a channel is, not how much of it is ours.
            unknown = _("Part of {amount}").format(amount=fmt.amount_sat(_sat(row, "capacity_sat")))
            amount = Label(unknown, "body", "text2", align=Qt.AlignmentFlag.AlignVCenter)
        else:
            known = AmountLabel("strong", align=Qt.AlignmentFlag.AlignRight)
            known.set_sat(_sat(row) or home_sat)
            amount = known
        when_at = _when_at(row)
        when = _("about {date}").format(date=fmt.date(when_at)) if when_at else ""
        text = fmt.plain(str(row.get("text") or ""), 300)
        who = hbox(spacing=S2)
        if peer:
            who.addWidget(NodeDot(peer))
        title = Label(name, "body")
        who.addWidget(title)
        who.addWidget(pill)
        who.addStretch(1)
        # Side by side, or the amount below where there is no room.
        head = Beside(who, amount, least=480, spacing=S2, line_spacing=S1)
        foot = hbox(spacing=S4)
        foot.addWidget(Label(text, "caption", "text2", wrap=True), 1)
        date = Label(when, "caption", "text2", align=Qt.AlignmentFlag.AlignRight)
        foot.addWidget(date, 0, Qt.AlignmentFlag.AlignTop)
        date.setVisible(bool(when))
        self.setLayout(vbox(head, foot, spacing=S1))
        self.setAccessibleName(f"{name}, {pill.text()}, {amount.text()}. {text} {when}".strip())


class RecoveryPage(Page):
    """Attributes: `report` once it came, `way` (the choice), `steps`, `total`, `channels`: the rows shown."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, _("Recovery"))
        self.report: Report = {}
        self.fresh = False
        self._asking = self._again = False
        self._shown: tuple[object, ...] = ()
        self.back = Button(_("Settings"), "text", "back", small=True, on_click=lambda: context.go("settings"))
        self.banner = Banner("", "danger")
        self.steps = Stepper()
        self.home = AmountLabel("amount")
        self.coming = AmountLabel("amount", align=Qt.AlignmentFlag.AlignRight)
        self._coming_title = Label("", "caption", "text2", align=Qt.AlignmentFlag.AlignRight)
        amounts: QHBoxLayout = hbox(
            vbox(Label(_("Home now"), "caption", "text2"), self.home, spacing=0),
            "stretch",
            vbox(self._coming_title, self.coming, spacing=0),
        )
        self._unknown = Label(
            _("What is yours in the channels that wait shows once their peers have closed them."),
            "caption",
            "text2",
            wrap=True,
        )
        self._note = Label(
            _("You can close Leyden now: it goes on when you come back."), "caption", "text2", wrap=True
        )
        self._progress = Card(vbox(amounts, S1, self.steps, self._unknown, self._note, spacing=S3))
        self.way = Segments(
            _("What is left"),
            [(WORDS, _("Words alone")), (BACKUP, _("And channel backup")), (STORAGE, _("And a peer's copy"))],
            BACKUP,
        )
        self.way.chosen.connect(lambda _key: self._draw())
        self._question = Label("", "section", wrap=True)
        self.total = AmountLabel("amount")
        self._sentence = Label("", "body", "text2", wrap=True)
        self._in_flight = Label("", "caption", "text2", wrap=True)
        self._keepers = Label("", "caption", "text2", wrap=True)
        self._list = vbox(spacing=S3)
        self.channels: list[ChannelRow] = []
        self._report_card = Card(vbox(self.total, self._sentence, self._in_flight, self._keepers, spacing=S2))
        self._list_card = Card(self._list)
        self._list_title = Label(_("Channels"), "section")
        self._list_holder = QWidget()
        self._list_holder.setLayout(vbox(self._list_title, self._list_card, spacing=S3))
        self._ways = QWidget()
        self._ways.setLayout(vbox(self._question, hbox(self.way, "stretch"), self._report_card, spacing=S3))
        holder = QWidget()
        holder.setMaximumWidth(theme().px(SETTINGS_WIDTH))
        holder.setLayout(
            vbox(
                hbox(self.back, "stretch"),
                self.banner,
                self._progress,
                self._ways,
                self._list_holder,
                spacing=S6,
            )
        )
        self.body.addLayout(left_column(holder))
        self.body.addStretch(1)
        self._draw()
        context.preferences.amounts_changed.connect(self._draw)

    def begin(self) -> None:
        """A wallet was just restored: its progress is shown, though nothing may come of it."""
        self.fresh = True
        self._draw()

    def hideEvent(self, event: QHideEvent | None) -> None:
        super().hideEvent(event)
        if event is not None and not event.spontaneous():
            self.fresh = False
            self.mark_stale()

    def set_first_focus(self) -> None:
        self.back.setFocus(Qt.FocusReason.OtherFocusReason)

    def refresh(self) -> None:
        self._draw()
        if self._asking:
            self._again = True
            return
        self._asking = True
        self.context.bridge.call("recovery_report", self._take, self._failed, owner=self)

    def _take(self, answer: Any) -> None:
        self._asking = False
        self.banner.say("")
        if isinstance(answer, Mapping):
            self.report = answer
        self._draw()
        if self._again:
            self._again = False
            self.refresh()

    def _failed(self, sentence: str) -> None:
        self._asking = self._again = False
        self.banner.say(sentence, "danger")

    def _draw(self) -> None:
        status, report = self.context.snapshot.status, self.report
        coming = bool(report.get("restored")) and _coming_sat(report) > 0
        restored = self.fresh or status.recovery.is_restored or coming
        # Who looks on sees how it ends.
        self.fresh = restored
        self._progress.setVisible(restored)
        # Until everything is back, what counts is how far it has come.
        self._ways.setVisible(not restored)
        self._list_title.setVisible(restored)
        self._report_card.setVisible(bool(report))
        way = _way(report, BACKUP if restored else self.way.current())
        if restored:
            self._unknown.setVisible(status.recovery.lost > 0)
            self._note.setVisible(status.recovery.is_restored or _coming_sat(report) > 0 or not status.synced)
            self.steps.show_steps(recovery_steps(status, report))
            self.home.set_sat(_sat(report, "onchain_sat"))
            self.coming.set_sat(_coming_sat(report))
            last_at = _last_at(_rows(report, BACKUP))
            self._coming_title.setText(
                _("Still to come, until about {date}").format(date=fmt.date(last_at))
                if last_at
                else _("Still to come")
            )
        self._question.setText(_("If this computer were lost now, and you had"))
        self.total.set_sat(_sat(way))
        self._sentence.setText(fmt.plain(str(way.get("text") or ""), 400))
        in_flight_sat = _sat(report, "in_flight_sat")
        self._in_flight.setText(
            _("{amount} is under way in payments just now, and is not counted.").format(
                amount=fmt.amount_sat(in_flight_sat)
            )
        )
        self._in_flight.setVisible(in_flight_sat > 0)
        self._keepers.setText(self._keepers_text(way))
        self._keepers.setVisible(bool(self._keepers.text()))
        self._draw_rows(_rows(report, BACKUP if restored else self.way.current()))

    def _keepers_text(self, way: Report) -> str:
        peers = way.get("peers")
        if self.way.current() != STORAGE or not isinstance(peers, Sequence):
            return ""
        if not peers:
            return _("None of your peers keeps a copy at the moment.")
        known = {channel.peer_id: channel.peer_alias for channel in self.context.snapshot.channels}
        names = ", ".join(fmt.node_name(known.get(str(peer), ""), str(peer)) for peer in peers)
        return _("Kept by {names}. Note the address of one of them with your words.").format(names=names)

    def _draw_rows(self, rows: list[Report]) -> None:
        held = {c.channel_id for c in self.context.snapshot.channels if c.held}
        shown = (
            tuple(tuple(sorted((k, str(v)) for k, v in row.items())) for row in rows),
            frozenset(held), fmt.style.unit, fmt.style.hidden,
        )  # fmt: skip
        self._list_holder.setVisible(bool(rows))
        if shown == self._shown:
            return
        self._shown = shown
        clear(self._list)
        self.channels = []
        for number, row in enumerate(rows):
            if number:
                self._list.addWidget(Rule())
            made = ChannelRow(row, held=str(row.get("channel_id")) in held)
            self.channels.append(made)
            self._list.addWidget(made)


class OldInstallationDialog(Dialog):
    """The question before any peer of an old channel is called. Attributes: `runs`, `stopped`: the two answers."""

    def __init__(self, parent: QWidget, context: Context) -> None:
        super().__init__(
            parent, _("Does another copy of this wallet still run?"), network=context.network, width=520
        )
        self._context = context
        sentence = _(
            "On an old computer, in another folder, or as a copy. Two copies that talk to the same peers get each "
            "other's channels closed, and a channel that is closed with an old state is lost."
        )
        self.body.addWidget(Label(sentence, "body", wrap=True))
        self.body.addWidget(
            Label(
                _("Quit the other one for good first. Then the peers of your channels are called."),
                "body",
                "text2",
                wrap=True,
            )
        )
        self._banner = Banner("", "danger")
        self.body.addWidget(self._banner)
        self.runs = self.add_button(_("It may still run"), "outlined", self.reject)
        self.stopped = self.add_button(_("It does not run any more"), "filled", self._stopped)

    def _stopped(self) -> None:
        tell_why(self.stopped, _("Calling the peers…"), self.reason)

        def done(_answer: Any) -> None:
            parent = self.parentWidget() or self
            self.accept()
            toast(parent, _("The peers of your channels are being called"), "check")

        def failed(sentence: str) -> None:
            tell_why(self.stopped, "", self.reason)
            self._banner.say(sentence, "danger")
            self.fit()

        self._context.bridge.call("old_installation_stopped", done, failed, owner=self)


class PublishHeldDialog(Dialog):
    """Closing a held channel from here, at the risk of all of it. Attributes: `phrase`, `publish`."""

    def __init__(self, parent: QWidget, context: Context, channel: ChannelView) -> None:
        name = fmt.node_name(channel.peer_alias, channel.peer_id)
        super().__init__(
            parent,
            _("Close the channel with {name} at your own risk").format(name=name),
            network=context.network,
        )
        self._context = context
        self._channel = channel
        self.body.addWidget(
            Banner(
                _(
                    "If this wallet file is not the newest, the peer may take all {amount} of this channel. Leyden "
                    "cannot tell, because the peer has not answered yet."
                ).format(amount=fmt.amount_sat(channel.capacity_sat)),
                "danger",
            )
        )
        self.body.addWidget(
            Label(
                _(
                    "Better wait: once the peer is back, it shows whether the file is current, or closes the channel "
                    "by itself, and your coins come back. Go on only if the peer is gone for good."
                ),
                "body",
                wrap=True,
            )
        )
        self.phrase = LineEdit(_("The words that you take the risk"))
        self._field = Field(
            _("Type “{phrase}”").format(phrase=HELD_CHANNEL_PHRASE), self.phrase, _("Exactly so, in English.")
        )
        self.body.addWidget(self._field)
        self._banner = Banner("", "danger")
        self.body.addWidget(self._banner)
        self.add_cancel(_("Wait for the peer"))
        self.publish = self.add_button(_("Close at my own risk"), "danger", self._publish)
        self.phrase.textChanged.connect(lambda _text: self._update())
        self._update()
        self.phrase.setFocus()

    def _update(self) -> None:
        typed = self.phrase.text().strip() == HELD_CHANNEL_PHRASE
        reason = "" if typed else _("Type the sentence first.")
        tell_why(self.publish, reason, self.reason)

    def _publish(self) -> None:
        if not self.publish.isEnabled():
            return
        tell_why(self.publish, _("Closing…"), self.reason)

        def done(_answer: Any) -> None:
            parent = self.parentWidget() or self
            self.accept()
            toast(parent, _("The channel is being closed"), "check")

        def failed(sentence: str) -> None:
            self._update()
            self._banner.say(sentence, "danger")
            self.fit()

        self._context.bridge.call(
            "publish_held_channel",
            done,
            failed,
            owner=self,
            channel_point=self._channel.channel_id,
            confirm=self.phrase.text().strip(),
        )
