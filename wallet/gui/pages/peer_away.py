"""A channel's peer that is away: when it was seen, how it is being called, and what can be done, wait or close."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PyQt6.QtCore import Qt, QTimer
from PyQt6.QtGui import QHideEvent, QShowEvent
from PyQt6.QtWidgets import QHBoxLayout

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.tokens import S2, S3
from wallet.gui.widgets.basic import Button, Card, Label, hbox, vbox
from wallet.gui.widgets.notices import Banner, Facts, toast
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _, ngettext
from wallet.node.api import ChannelView, PeerView

__all__ = ["PeerAway", "away_facts"]

AGAIN_AFTER_MS = 15_000
"""What is told is relative to now."""


def away_facts(peer: PeerView | None) -> list[tuple[str, str]]:
    """How a peer that is away is being called."""
    seen_at = None if peer is None else peer.last_seen_at
    facts = [(_("Last seen"), _("not known") if seen_at is None else fmt.ago(seen_at))]
    if peer is None or not peer.address:
        return [*facts, (_("Address"), _("none is known: the peer has to call you"))]
    facts.append((_("Address"), fmt.plain(peer.address, 120)))
    if peer.attempts and peer.tried_at is not None:
        tried = ngettext("{n} time, last {when}: {why}", "{n} times, last {when}: {why}", peer.attempts)
        words = tried.format(
            n=fmt.group(peer.attempts), when=fmt.ago(peer.tried_at), why=fmt.plain(peer.problem, 120)
        )
        facts.append((_("Called in vain"), words))
    next_at = peer.next_try_at
    facts.append((_("Next call"), _("now") if next_at is None else fmt.until(next_at)))
    return facts


class PeerAway(Card):
    """Attributes: `facts`, `try_button`, `close_button`."""

    def __init__(self, context: Context, on_close: Callable[[], object]) -> None:
        self.facts = Facts(label_width=132)
        self.try_button = Button(_("Try now"), "outlined", "refresh", on_click=self._try)
        self.close_button = Button(_("Force-close"), "danger-text", on_click=on_close)
        self._wait = Label(
            _("Wait: most peers are back within hours. Your money stays yours, and Leyden calls by itself."),
            "body",
            "text2",
            wrap=True,
        )
        self._leave = Label("", "body", "text2", wrap=True)
        self._banner = Banner("", "warning")
        box = vbox(Label(_("The peer is away"), "section"), self.facts, spacing=S3)
        box.addLayout(self._advice(self._wait, self.try_button))
        box.addLayout(self._advice(self._leave, self.close_button))
        box.addWidget(self._banner)
        super().__init__(box)
        self._context = context
        self._peer_id = ""
        self._told: list[tuple[str, str]] = []
        self._again = QTimer(self)
        self._again.setInterval(AGAIN_AFTER_MS)
        self._again.timeout.connect(self._tell)

    @staticmethod
    def _advice(words: Label, button: Button) -> QHBoxLayout:
        row = hbox(spacing=S2)
        row.addWidget(words, 1)
        row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        return row

    def show_channel(self, channel: ChannelView) -> None:
        self._peer_id = channel.peer_id
        self._leave.setText(
            _(
                "Close, should it stay away for days: that costs more than closing together, and locks your coins for "
                "{time}."
            ).format(time=fmt.blocks_long(channel.to_self_delay_blocks))
        )
        self._leave.setVisible(not channel.held)
        self.close_button.setVisible(not channel.held)
        self._tell()

    def showEvent(self, event: QShowEvent | None) -> None:
        super().showEvent(event)
        self._again.start()

    def hideEvent(self, event: QHideEvent | None) -> None:
        super().hideEvent(event)
        self._again.stop()

    def _peer(self) -> PeerView | None:
        return next((p for p in self._context.snapshot.peers if p.node_id == self._peer_id), None)

    def _tell(self) -> None:
        peer = self._peer()
        facts = away_facts(peer)
        if facts != self._told:
            self._told = facts
            self.facts.show_facts([(name, words) for name, words in facts])
        known = peer is not None and bool(peer.address)
        tell_why(self.try_button, "" if known else _("No address of this peer is known."))

    def _try(self) -> None:
        self._banner.say("")
        tell_why(self.try_button, _("Calling the peer…"))

        def done(_answer: Any) -> None:
            tell_why(self.try_button, "")
            toast(self, _("The peer is connected"), "check")

        def failed(sentence: str) -> None:
            tell_why(self.try_button, "")
            self._banner.say(sentence)

        self._context.bridge.call("add_peer", done, failed, owner=self, connection_string=self._peer_id)
