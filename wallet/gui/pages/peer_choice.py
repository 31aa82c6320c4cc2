"""With whom to open a channel: three suggestions, each with its reason, connected to and asked what it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.tokens import S2, S3
from wallet.gui.widgets.basic import Button, Card, Label, clear, hbox, vbox
from wallet.gui.widgets.ids import NodeDot
from wallet.gui.widgets.notices import Banner
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _

__all__ = ["PeerChoice", "Terms"]

SHOWN = 3
ASKED_FOR = 9
"""Some do not answer: then the next one takes the place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a peer has said that it takes. `minimum_sat` is None where it has not said."""

    uri: str
    name: str
    minimum_sat: int | None
    sensible_sat: int
    text: str

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Terms:
        minimum = answer.get("minimum_sat")
        sensible = answer.get("sensible_sat")
        return cls(
            uri=str(answer.get("uri") or ""),
            name=fmt.node_name(str(answer.get("alias") or ""), str(answer.get("node_id") or "")),
            minimum_sat=minimum if isinstance(minimum, int) else None,
            sensible_sat=sensible if isinstance(sensible, int) else 0,
            text=fmt.plain(str(answer.get("text") or ""), 300),
        )


class _Row(Card):
    """One suggestion: its name, why it is one, and what it takes once it has answered."""

    def __init__(self, suggestion: Mapping[str, Any], on_choose: Callable[[Terms], object]) -> None:
        self.uri = str(suggestion.get("uri") or "")
        node_id = str(suggestion.get("node_id") or "")
        name = fmt.node_name(str(suggestion.get("alias") or ""), node_id)
        self.terms: Terms | None = None
        self._on_choose = on_choose
        self.state = Label(_("Connecting…"), "caption", "text2", wrap=True)
        self.choose = Button(_("Choose"), "outlined", small=True, on_click=self._chosen)
        self.choose.setAccessibleName(_("Choose {name}").format(name=name))
        tell_why(self.choose, self.state.text())
        words = vbox(hbox(NodeDot(node_id), Label(name, "strong"), "stretch", spacing=S2), spacing=2)
        words.addWidget(
            Label(fmt.plain(str(suggestion.get("reason") or ""), 200), "body", "text2", wrap=True)
        )
        words.addWidget(self.state)
        row = hbox(spacing=S3)
        row.addLayout(words, 1)
        row.addWidget(self.choose, 0, Qt.AlignmentFlag.AlignVCenter)
        super().__init__(vbox(row, spacing=0), padding=12)

    def answered(self, terms: Terms) -> None:
        self.terms = terms
        self.state.setText(terms.text)
        tell_why(self.choose, "")

    def _chosen(self) -> None:
        if self.terms is not None:
            self._on_choose(self.terms)


class PeerChoice(QWidget):
    """Attribute: `rows`, the suggestions that are shown. `on_choose` is called with the terms of the chosen one."""

    def __init__(self, context: Context, on_choose: Callable[[Terms], object]) -> None:
        super().__init__()
        self._context = context
        self._on_choose = on_choose
        self._left: list[Mapping[str, Any]] = []
        self._asked = 0
        self.rows: list[_Row] = []
        self._rows_box = vbox(spacing=S2)
        self._told = Banner("", "info")
        self.others = Button(_("Others"), "text", "refresh", small=True, on_click=self.load)
        self.others.setAccessibleDescription(_("Suggests other nodes"))
        head = hbox(Label(_("Suggested"), "strong"), "stretch", self.others)
        box = vbox(head, spacing=S2)
        box.addLayout(self._rows_box)
        box.addWidget(self._told)
        self.setLayout(box)

    def load(self) -> None:
        """Draws anew, and asks each that is shown."""
        self._asked += 1
        number = self._asked
        self.rows = []
        clear(self._rows_box)
        self._told.say("")

        def done(answer: Any) -> None:
            if number != self._asked or not isinstance(answer, Sequence):
                return
            self._left = [item for item in answer if isinstance(item, Mapping)]
            for _place in range(SHOWN):
                self._next(number)
            self._none_left()

        def failed(sentence: str) -> None:
            if number == self._asked:
                self._told.say(sentence, "warning")

        self._context.bridge.call("suggest_peers", done, failed, owner=self, count=ASKED_FOR)

    def _next(self, number: int) -> None:
        if not self._left:
            return
        row = _Row(self._left.pop(0), self._on_choose)
        self.rows.append(row)
        self._rows_box.addWidget(row)

        def done(answer: Any) -> None:
            if number == self._asked and isinstance(answer, Mapping):
                row.answered(Terms.of(answer))

        def failed(sentence: str) -> None:
            if number != self._asked:
                return
            if not self._left:
                tell_why(row.choose, _("Not reachable now. {why}").format(why=sentence), row.state)
                return
            self.rows.remove(row)
            self._rows_box.removeWidget(row)
            row.hide()
            row.deleteLater()
            self._next(number)

        self._context.bridge.call("peer_terms", done, failed, owner=row, peer=row.uri)

    def _none_left(self) -> None:
        if not self.rows:
            self._told.say(
                _(
                    "No node is known yet to suggest: paste the address of one, or come back in a few minutes."
                ),
                "info",
            )
