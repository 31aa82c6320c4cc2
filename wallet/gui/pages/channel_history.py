"""A channel's payments under way and its states, the present one and every past one that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.tokens import S1, S2, S3
from wallet.gui.widgets.basic import Button, IconLabel, Label, clear, hbox, vbox
from wallet.gui.widgets.ids import CopyId
from wallet.i18n import _, ngettext

__all__ = ["ChannelStates"]

PAGE = 20


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


class ChannelStates(QWidget):
    """Attributes: `more`, the button for older states; `shown`, how many past states are listed."""

    def __init__(self, context: Context, channel_id: str) -> None:
        super().__init__()
        self._context = context
        self._channel_id = channel_id
        self.shown = 0
        self._total = 0
        self._htlcs = vbox(spacing=S1)
        self._states = vbox(spacing=S1)
        self._problem = Label("", "body", "danger", wrap=True)
        self.more = Button(_("Show older states"), "outlined", small=True, on_click=self._older)
        box = vbox(Label(_("Payments under way"), "strong"), spacing=S2)
        box.addLayout(self._htlcs)
        box.addSpacing(8)
        box.addWidget(Label(_("States"), "strong"))
        explained = _(
            "Each payment makes a new state of the channel and revokes the one before. Should the peer publish a "
            "revoked one, Leyden takes all of the channel."
        )
        box.addWidget(Label(explained, "caption", "text2", wrap=True))
        box.addLayout(self._states)
        box.addWidget(self._problem)
        box.addLayout(hbox(self.more, "stretch"))
        self.setLayout(box)
        self._problem.hide()
        self.more.hide()

    def load(self) -> None:
        """Asks anew, from the newest state on."""
        self._ask(0)

    def _older(self) -> None:
        self._ask(self.shown)

    def _ask(self, offset: int) -> None:
        def done(answer: Any) -> None:
            if isinstance(answer, Mapping):
                self._show(answer, offset)

        def failed(sentence: str) -> None:
            self._problem.setText(sentence)
            self._problem.show()

        self._context.bridge.call(
            "channel_states",
            done,
            failed,
            owner=self,
            channel_id=self._channel_id,
            offset=offset,
            limit=PAGE,
        )

    def _show(self, answer: Mapping[str, Any], offset: int) -> None:
        self._problem.hide()
        if offset == 0:
            clear(self._htlcs)
            clear(self._states)
            self.shown = 0
            htlcs = answer.get("htlcs") or ()
            if not htlcs:
                self._htlcs.addWidget(Label(_("None now."), "body", "text2"))
            for htlc in htlcs:
                self._htlcs.addWidget(self._htlc(htlc, str(htlc.get("state") or "")))
            for state in answer.get("current") or ():
                self._states.addWidget(self._state(state))
        elif offset != self.shown:
            return
        past: Sequence[Mapping[str, Any]] = answer.get("past") or ()
        for state in past:
            self._states.addWidget(self._state(state))
        self.shown += len(past)
        self._total = _count(answer.get("total"))
        self.more.setVisible(self.shown < self._total)

    def _htlc(self, htlc: Mapping[str, Any], state: str) -> QWidget:
        outgoing = bool(htlc.get("outgoing"))
        holder = QWidget()
        row = hbox(IconLabel("send" if outgoing else "receive", "text2", 16), spacing=S3)
        words = _("{amount} out") if outgoing else _("{amount} in")
        row.addWidget(Label(words.format(amount=fmt.msat_exact(_count(htlc.get("amount_msat"))))))
        until = _("until block {height}").format(height=fmt.group(_count(htlc.get("expiry_height"))))
        told = Label(", ".join(part for part in (state, until) if part), "caption", "text2", wrap=True)
        row.addWidget(told, 1)
        row.addWidget(CopyId(_("Payment hash"), str(htlc.get("payment_hash") or "")))
        holder.setLayout(row)
        return holder

    def _state(self, state: Mapping[str, Any]) -> QWidget:
        number, revoked = _count(state.get("number")), bool(state.get("revoked"))
        htlcs: Sequence[Mapping[str, Any]] = state.get("htlcs") or ()
        holder = QWidget()
        box = vbox(spacing=0)
        title = Label(_("State {number}").format(number=fmt.group(number)), "body")
        row = hbox(IconLabel("lock" if revoked else "check", "text3" if revoked else "success", 16), title)
        if revoked:
            words = _("revoked")
            if not state.get("kept", True):
                words = _("revoked before this wallet kept it")
        else:
            words = _("now: {ours} yours, {theirs} the peer's").format(
                ours=fmt.amount_sat(_count(state.get("ours_sat"))),
                theirs=fmt.amount_sat(_count(state.get("theirs_sat"))),
            )
        if htlcs:
            count = ngettext("{n} payment under way", "{n} payments under way", len(htlcs)).format(
                n=len(htlcs)
            )
            words = f"{words}, {count}"
        row.addWidget(Label(words, "caption", "text2", wrap=True), 1)
        box.addLayout(row)
        for htlc in htlcs:
            inner = hbox(spacing=0, margins=(24, 0, 0, 0))
            inner.addWidget(self._htlc(htlc, ""))
            box.addLayout(inner)
        holder.setLayout(box)
        return holder
