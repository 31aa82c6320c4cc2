"""Settings, The public network: whether a few public nodes are called to learn of it."""

from __future__ import annotations

from PyQt6.QtWidgets import QWidget

from wallet.gui.context import Context
from wallet.gui.pages.settings_rows import row, section
from wallet.gui.widgets.basic import vbox
from wallet.gui.widgets.checks import CheckBox
from wallet.gui.widgets.notices import Banner
from wallet.i18n import _

__all__ = ["GraphSection"]


class GraphSection(QWidget):
    """Attributes: `calls`: the control. It cannot be used where no public node is called in any case."""

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
        rows = section(_("The public network"), row(_("Learn from public nodes"), sentence, self.calls))
        self.setLayout(vbox(self._failed, rows, spacing=0))

    @property
    def problem(self) -> str:
        return self._failed.text()

    def refresh(self) -> None:
        calls = self._context.snapshot.status.graph_sync.calls_public_nodes
        self.calls.setEnabled(calls is not None)
        self.calls.setChecked(bool(calls))
        self.calls.setToolTip(
            _("Not on this network, or not in this run of Leyden.") if calls is None else ""
        )

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
