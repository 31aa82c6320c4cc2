"""Settings, The public network: whether a few public nodes are called to learn of it, and a snapshot taken over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PyQt6.QtWidgets import QWidget

from wallet.gui import format as fmt
from wallet.gui.context import Context
from wallet.gui.pages.settings_rows import row, section
from wallet.gui.tokens import S2
from wallet.gui.widgets import files
from wallet.gui.widgets.basic import Button, Flow, vbox
from wallet.gui.widgets.checks import CheckBox
from wallet.gui.widgets.fields import Field, LineEdit
from wallet.gui.widgets.notices import Banner
from wallet.gui.widgets.why import tell_why
from wallet.i18n import _, ngettext

__all__ = ["GraphSection"]


class GraphSection(QWidget):
    """Attributes: `calls`: the control. It cannot be used where no public node is called in any case. `snapshot`: below
    it."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self._failed = Banner("", "danger")
        self.calls = CheckBox(_("On"))
        self.calls.setAccessibleName(_("Learn from public nodes"))
        self.calls.clicked.connect(self._choose)
        sentence = _(
            "While the map of the network is missing or old, a few public nodes are asked for it. They see your node "
            "id, and where you connect from unless you use Tor, but no payments. Peers of your channels tell of it "
            "anyway."
        )
        self.snapshot = SnapshotRow(context)
        rows = section(
            _("The public network"), row(_("Learn from public nodes"), sentence, self.calls), self.snapshot
        )
        self.setLayout(vbox(self._failed, rows, spacing=0))

    @property
    def problem(self) -> str:
        return self._failed.text()

    def refresh(self) -> None:
        calls = self._context.snapshot.status.graph_sync.calls_public_nodes
        absent = _("Not on this network, or not in this run of Leyden.") if calls is None else ""
        tell_why(self.calls, absent)
        self.calls.setChecked(bool(calls))
        self.snapshot.refresh()

    def _choose(self, on: bool) -> None:
        self._failed.say("")
        self._context.bridge.call(
            "set_gossip_peers",
            lambda _answer: None,
            self._not_done,
            owner=self,
            on_or_off="on" if on else "off",
        )

    def _not_done(self, sentence: str) -> None:
        self._failed.say(sentence)
        self.refresh()


class SnapshotRow(QWidget):
    """The whole network at once, from a file or an address.

    Attributes: `address`, `address_button`, `file_button`; `told`: how far it is, and what came of it.
    """

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self._asked = False
        self._result = ""
        self.address = LineEdit(_("Address of a snapshot"), "https://", mono=True)
        self.address.returnPressed.connect(self._take_address)
        self.address_button = Button(_("Take it over"), "outlined", on_click=self._take_address)
        self._field = Field(
            _("The whole map at once"),
            self.address,
            _(
                "From a snapshot of rapid gossip sync, in seconds. Nothing in it is proved: a wrong one makes "
                "payments fail or costs fees, within your limit, until peers have proved the real network. Who serves "
                "it sees where you connect from, unless you use Tor."
            ),
            beside=self.address_button,
        )
        self.file_button = Button(_("From a file…"), "text", on_click=self._choose_file)
        self.told = Banner("", "info")
        box = vbox(self._field, spacing=S2)
        box.addLayout(Flow(self.file_button))
        box.addWidget(self.told)
        self.setLayout(box)

    @property
    def problem(self) -> str:
        return self._field.problem()

    def refresh(self) -> None:
        """How far it is, whoever has asked for it."""
        percent = self._context.snapshot.status.graph_sync.imported_percent
        under_way = self._asked or percent is not None
        for button in (self.address_button, self.file_button):
            tell_why(button, _("The snapshot is fetched and read…") if under_way else "")
        if self._result:
            # It has come before the news of the node: what these said last is over.
            self.told.say(self._result, "success")
        elif percent:
            self.told.say(_("Taken over so far: {n} %").format(n=percent), "info")
        elif under_way:
            self.told.say(_("The snapshot is fetched and read…"), "info")
        else:
            self.told.say("")

    def _take_address(self) -> None:
        address = self.address.text().strip()
        if "://" not in address:
            self._field.set_problem(
                _("Type the snapshot's address first, from https:// on.")
                if not address
                else _("An address begins with https://. For a file there is the button below.")
            )
            return
        self._take(address)

    def _choose_file(self) -> None:
        files.ask_file(self, _("Choose a snapshot of the network"), self.take_file)

    def take_file(self, path: Path) -> None:
        self._take(str(path))

    def _take(self, source: str) -> None:
        if self._asked:
            return
        self._asked = True
        self._result = ""
        self._field.set_problem("")
        self.refresh()
        self._context.bridge.call("import_graph", self._done, self._not_done, owner=self, file=source)

    def _done(self, answer: Any) -> None:
        self._asked = False
        if isinstance(answer, Mapping):
            self._result = _result(answer)
        self.refresh()

    def _not_done(self, sentence: str) -> None:
        self._asked = False
        self._field.set_problem(sentence)
        self.refresh()


def _result(answer: Mapping[str, Any]) -> str:
    """What a snapshot has brought."""
    count, new = int(answer.get("channels", 0)), int(answer.get("new_channels", 0))
    brought = ngettext(
        "{n} channel is in it, {new} not known before.",
        "{n} channels are in it, {new} not known before.",
        count,
    ).format(n=fmt.group(count), new=fmt.group(new))
    made = _("The snapshot was made {when}.").format(when=fmt.ago(int(answer.get("seen_at", 0))))
    so = _("Payments find their way with it from now on.")
    return f"{brought} {made} {so}"
