"""The status bar: how the wallet stands, in words, each of them a button that tells more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from PyQt6.QtCore import QPoint, Qt, QTimer
from PyQt6.QtGui import QResizeEvent
from PyQt6.QtWidgets import QFrame, QWidget

from wallet.gui import format as fmt
from wallet.gui.describe import problem_sentence
from wallet.gui.theme import theme
from wallet.gui.tokens import S2, S3, S4, STATUS_BAR
from wallet.gui.widgets.basic import Button, Label, Rule, discard, hbox, restyle, vbox
from wallet.i18n import _, ngettext
from wallet.node.api import GraphSyncState, NodeStatus, WalletSnapshot

__all__ = ["StatusBar", "StatusItem", "is_stale", "status_items"]

AGES_EVERY_MS = 20_000
"""Ages grow while nothing else changes."""
RATE_OLD_SECONDS = 3_600
"""Four questions in a row were not answered."""


@dataclass(frozen=True, slots=True)
class StatusItem:
    """One word group. `lines` is what its button tells; `trouble` brings it to the left with an icon."""

    key: str
    text: str
    lines: tuple[str, ...]
    trouble: bool = False


def _servers(snapshot: WalletSnapshot) -> StatusItem:
    servers = snapshot.status.servers
    connected = sum(server.connected for server in servers)
    lines = tuple(
        _("{address}: block {height}, protocol {protocol}").format(
            address=fmt.plain(server.address, 60), height=fmt.group(server.height), protocol=server.protocol
        )
        if server.connected
        else f"{fmt.plain(server.address, 60)}: {fmt.plain(server.problem, 160) or _('not connected')}"
        for server in servers
    )
    if connected == 0:
        return StatusItem("servers", _("No server: reconnecting"), lines or (_("No server is known."),), True)
    text = ngettext("Connected to {n} server", "Connected to {n} servers", connected).format(n=connected)
    return StatusItem("servers", text, lines)


def is_stale(status: NodeStatus) -> bool:
    """Whether nobody tells what is new just now."""
    return not any(server.connected for server in status.servers)


def status_items(snapshot: WalletSnapshot) -> list[StatusItem]:
    """The status in words, trouble first."""
    status = snapshot.status
    items = []
    if sentence := problem_sentence(status):
        items.append(StatusItem("problem", fmt.plain(sentence, 48), (fmt.plain(sentence, 600),), True))
    items.append(_servers(snapshot))
    tip = _("The newest block came {ago}.").format(ago=fmt.ago(status.tip_at)) if status.tip_at else ""
    if status.tip_at and is_stale(status):
        # What is not current says from when it is.
        block = _("Block {height}, {ago}").format(height=fmt.group(status.height), ago=fmt.ago(status.tip_at))
    elif status.synced:
        block = _("Block {height}").format(height=fmt.group(status.height))
    else:
        block = _("Catching up: block {height}").format(height=fmt.group(status.height))
    items.append(StatusItem("block", block, (tip,) if tip else ()))
    total, online = status.peers_total, status.peers_online
    peers = ngettext("{online} of {n} peer online", "{online} of {n} peers online", total).format(
        online=online, n=total
    )
    names = tuple(
        _peer_line(fmt.node_name(peer.alias, peer.node_id), online=peer.online) for peer in snapshot.peers
    )
    items.append(
        StatusItem("peers", peers if total else _("No peers yet"), names, bool(total and online < total))
    )
    if graph := _graph(status):
        items.append(graph)
    if rate := _rate(status):
        items.append(rate)
    if status.backup_text:
        trouble = status.recovery.backup_problem
        lines = (fmt.plain(trouble or status.backup_text, 600),)
        items.append(StatusItem("backup", fmt.plain(status.backup_text, 40), lines, bool(trouble)))
    if status.safe_until_height is not None and status.safe_until_height > status.height:
        blocks = status.safe_until_height - status.height
        text = _("Safe to be away for {time}").format(time=fmt.seconds_long(blocks * fmt.SECONDS_PER_BLOCK))
        line = _("Your channels are watched while Leyden runs; it may be off for {time}.").format(
            time=fmt.blocks_long(blocks)
        )
        items.append(StatusItem("safe", text, (line,)))
    return sorted(items, key=lambda item: not item.trouble)


def _peer_line(name: str, *, online: bool) -> str:
    return _("{name}: online").format(name=name) if online else _("{name}: offline").format(name=name)


def _graph(status: NodeStatus) -> StatusItem | None:
    """How far the graph's sync is while it goes on, then how old the graph is; None where there is none."""
    sync = status.graph_sync
    size = _("{nodes} nodes and {channels} channels are known.").format(
        nodes=fmt.group(status.graph_nodes), channels=fmt.group(status.graph_channels)
    )
    match sync.state:
        case GraphSyncState.ASKING_RANGES:
            text = _("Graph: asking for channels")
        case GraphSyncState.CHANNELS:
            text = _("Graph: {known} of {listed} channels").format(
                known=fmt.group(sync.known_channels), listed=fmt.group(sync.listed_channels)
            )
        case GraphSyncState.SIGNATURES if not sync.signatures_waiting:
            text = _("Graph: checking channels")
        case GraphSyncState.SIGNATURES:
            text = ngettext(
                "Graph: {n} signature to check", "Graph: {n} signatures to check", sync.signatures_waiting
            ).format(n=fmt.group(sync.signatures_waiting))
        case GraphSyncState.NOT_STARTED | GraphSyncState.DONE:
            if status.graph_updated_at is None:
                return None
            return StatusItem("graph", _age(max(0, fmt.now() - status.graph_updated_at)), (size,))
    return StatusItem("graph", text, (size, _("Payments find their way with what is known by now.")))


def _rate(status: NodeStatus) -> StatusItem | None:
    """What amounts are worth stands beside them on every page: once it is not of now any more, from when it is."""
    view = status.fiat
    if view is None or not view.at or -60 <= fmt.now() - view.at < RATE_OLD_SECONDS:
        return None
    text = _("{currency} rate: {ago}").format(currency=view.currency, ago=fmt.ago(view.at))
    line = _("1 BTC is {worth}, says {source}, {ago}.").format(
        worth=fmt.worth(view.rate_hundredths, view.currency), source=view.source, ago=fmt.ago(view.at)
    )
    problem = fmt.plain(view.problem, 200)
    return StatusItem("rate", text, (line, problem) if problem else (line,), True)


def _age(passed_seconds: int) -> str:
    """ "Graph 4 minutes old"."""
    minutes, hours, days = passed_seconds // 60, passed_seconds // 3_600, passed_seconds // 86_400
    if days >= 2:
        return ngettext("Graph {n} day old", "Graph {n} days old", days).format(n=days)
    if hours:
        return ngettext("Graph {n} hour old", "Graph {n} hours old", hours).format(n=hours)
    if minutes:
        return ngettext("Graph {n} minute old", "Graph {n} minutes old", minutes).format(n=minutes)
    return _("Graph is new")


class Popover(QFrame):
    """A few lines above a button; any click outside closes it."""

    def __init__(self, parent: QWidget, title: str, lines: tuple[str, ...]) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setProperty("popover", "true")
        self.setAccessibleName(title)
        box = vbox(Label(title, "strong"), spacing=4, margins=(S4, S3, S4, S3))
        for line in lines:
            label = Label(line, "body", "text2", wrap=len(line) > 56)
            if len(line) > 56:
                label.setFixedWidth(theme().px(360))
            box.addWidget(label)
        self.setLayout(box)

    def open_above(self, button: QWidget) -> None:
        self.adjustSize()
        place = button.mapToGlobal(QPoint(0, 0))
        self.move(place.x(), place.y() - self.height() - theme().px(4))
        self.show()


class StatusBar(QWidget):
    """28 px at the foot of the window."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("ground", "sidebar")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setFixedHeight(theme().px(STATUS_BAR) + 1)
        self._row = hbox(spacing=4, margins=(S2, 0, S2, 0))
        self._buttons: dict[str, Button] = {}
        self._items: list[StatusItem] = []
        outer = vbox(Rule(), spacing=0)
        outer.addLayout(self._row)
        self.setLayout(outer)
        self._row.addStretch(1)
        self._snapshot: WalletSnapshot | None = None
        self.ages = QTimer(self)
        self.ages.setInterval(AGES_EVERY_MS)
        self.ages.timeout.connect(self._grow_older)
        self.ages.start()

    def _grow_older(self) -> None:
        if self._snapshot is not None and self.isVisible():
            self.show_snapshot(self._snapshot)

    def show_snapshot(self, snapshot: WalletSnapshot) -> None:
        self._snapshot = snapshot
        items = [
            replace(item, text=fmt.retold(item.text), lines=tuple(map(fmt.retold, item.lines)))
            for item in status_items(snapshot)
        ]
        if items == self._items:
            return
        self._items = items
        wanted = {item.key for item in items}
        for key in [key for key in self._buttons if key not in wanted]:
            discard(self._buttons.pop(key))
        for place, item in enumerate(items):
            button = self._buttons.get(item.key)
            if button is None:
                button = Button("", "status", on_click=self._opener(item.key))
                self._buttons[item.key] = button
            button.setText(item.text)
            button.setAccessibleName(item.text)
            button.setAccessibleDescription("; ".join(item.lines) or _("All is well."))
            trouble = "true" if item.trouble else "false"
            if button.property("trouble") != trouble:
                button.setProperty("trouble", trouble)
                button.set_icon("warning" if item.trouble else None)
                restyle(button)
            self._row.insertWidget(place, button)
        self._hide_what_does_not_fit()

    def _opener(self, key: str) -> Callable[[], None]:
        def opened() -> None:
            item = next((item for item in self._items if item.key == key), None)
            if item is not None:
                Popover(self, item.text, item.lines or (_("All is well."),)).open_above(self._buttons[key])

        return opened

    def _hide_what_does_not_fit(self) -> None:
        room = self.width() - theme().px(S2) * 2
        for item in self._items:
            button = self._buttons[item.key]
            room -= button.sizeHint().width() + theme().px(4)
            button.setVisible(room >= 0)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._hide_what_does_not_fit()
