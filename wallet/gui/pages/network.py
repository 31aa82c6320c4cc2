"""Network: the public nodes and channels as a map, with search, colours, cards, and the ways of a payment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PyQt6.QtCore import QPoint, Qt, QTimer
from PyQt6.QtGui import QResizeEvent, QShowEvent
from PyQt6.QtWidgets import QStackedWidget, QWidget

from wallet.gui import format as fmt
from wallet.gui.bridge import run
from wallet.gui.context import Context
from wallet.gui.describe import CLOSED
from wallet.gui.network.canvas import MapCanvas
from wallet.gui.network.models import name_of
from wallet.gui.network.panels import AttemptsPanel, Card, Legend, SearchPanel, ZoomPanel
from wallet.gui.network.route import drawn_attempt
from wallet.gui.pages.base import Page
from wallet.gui.theme import theme
from wallet.gui.tokens import S3, S4
from wallet.gui.widgets.basic import Label, clear, vbox
from wallet.gui.widgets.notices import EmptyState
from wallet.i18n import _, ngettext
from wallet.node.api import ChangeSet, ChannelView
from wallet.node.map_api import MapSource, NetworkMap, RouteAttempt, scid_from_text, scid_text

__all__ = ["NetworkPage"]

AGAIN_AFTER_MS = 600_000
SOON_MS = 2_000
ZOOM_STEP = 1.6
LISTED = 200


class NetworkPage(Page):
    """`show_attempts` draws the ways of a payment; `show_node_id` selects a node.

    Attributes: `canvas`, `search`, `legend`, `card`, `attempts`, `network` once there is a map.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context, _("Network"), scrolls=False)
        self.title.hide()
        self.network: NetworkMap | None = None
        self._asking = False
        self._shown_attempts: tuple[RouteAttempt, ...] = ()
        self._wanted_node = ""
        self.stack = QStackedWidget()
        self.body.addWidget(self.stack)
        self.map = QWidget()
        self.canvas = MapCanvas()
        self.map.setLayout(vbox(self.canvas, spacing=0))
        # In the order of Tab.
        self.search = SearchPanel(self.map)
        self.legend = Legend(self.map)
        self.zoom = ZoomPanel(
            self.map,
            lambda: self.canvas.zoom_by(ZOOM_STEP),
            lambda: self.canvas.zoom_by(1 / ZOOM_STEP),
            self.canvas.fit,
        )
        self.card = Card(self.map)
        self.attempts = AttemptsPanel(self.map)
        self.message = QWidget()
        self._message_box = vbox()
        self.message.setLayout(self._message_box)
        self.stack.addWidget(self.message)
        self.stack.addWidget(self.map)
        self._connect()
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.timeout.connect(self._load_if_shown)
        self._say_waiting()
        self.set_narrow(False)

    def _connect(self) -> None:
        self.search.typed.connect(self._search)
        self.search.chosen.connect(self._go_to_node)
        self.search.toggle.toggled.connect(lambda _on: self._place_panels())
        self.legend.chosen.connect(self._set_mode)
        self.canvas.node_chosen.connect(self.select_node)
        self.canvas.channel_chosen.connect(self.select_channel)
        self.canvas.nothing_chosen.connect(self.select_nothing)
        self.canvas.walked.connect(self._walk)
        self.card.closed.connect(self.select_nothing)
        self.card.node_wanted.connect(self._go_to_node)
        self.card.channel_wanted.connect(self._go_to_channel)
        self.card.open_wanted.connect(lambda uri: self.context.open_channel(uri))
        self.card.own_channel_wanted.connect(self._show_own_channel)
        self.context.preferences.amounts_changed.connect(self._draw_card_again)
        self.attempts.closed.connect(self.hide_attempts)
        self.attempts.walked.connect(self._draw_attempt)

    def set_narrow(self, narrow: bool) -> None:
        """The picture fills the page."""
        self._narrow = narrow
        self._outer.setSpacing(0)
        self._outer.setContentsMargins(0, 0, 0, 0)
        self.head.setContentsMargins(0, 0, 0, 0)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.title.setMinimumHeight(0)

    def set_first_focus(self) -> None:
        self.canvas.setFocus(Qt.FocusReason.OtherFocusReason)

    # --- the map ------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent | None) -> None:
        super().showEvent(event)
        self._load_if_shown()

    def changed(self, changes: ChangeSet) -> None:
        self.refresh()
        # A network that grows from nothing is looked at again soon; a known one now and then.
        small = self.network is None or self.network.node_count < LISTED
        grown = self.network is not None and (
            changes.snapshot.status.graph_nodes != self.network.node_count
            or changes.snapshot.status.graph_channels != self.network.channel_count
        )
        if (self.network is None or (small and grown)) and not self._asking and not self._again.isActive():
            self._again.start(SOON_MS)

    def _load_if_shown(self) -> None:
        if self.isVisible() and not self._asking:
            self._load()

    def _load(self) -> None:
        api = self.context.bridge.api
        if not isinstance(api, MapSource):
            self._say_nothing_known()
            return
        self._asking = True

        def done(network: NetworkMap) -> None:
            self._asking = False
            self._take(network)
            self._again.start(AGAIN_AFTER_MS)

        def failed(sentence: str) -> None:
            self._asking = False
            if self.network is None:
                self._say(sentence, _("Try again"), self._load)

        run(api.network_map(), done, failed, owner=self)

    def _take(self, network: NetworkMap) -> None:
        if network is self.network:
            return
        if network.node_count == 0:
            self._say_nothing_known()
            return
        before = self.network
        node = self.canvas.selected_node
        selected = before.node_id(node) if before is not None and node is not None else ""
        self.network = network
        self.canvas.show_map(network)
        self.stack.setCurrentWidget(self.map)
        self._place_own()
        self._search(self.search.field.text())
        wanted, self._wanted_node = self._wanted_node or selected, ""
        if self._shown_attempts:
            self.show_attempts(self._shown_attempts)
        elif wanted:
            self.show_node_id(wanted)
        elif self.card.isVisible():
            self.select_nothing()
        self._place_panels()

    def _say(self, sentence: str, action: str, act: Callable[[], object]) -> None:
        clear(self._message_box)
        self._message_box.addWidget(EmptyState("network", sentence, action, act))
        self.stack.setCurrentWidget(self.message)

    def _say_waiting(self) -> None:
        clear(self._message_box)
        said = Label(_("Drawing the map of the network: a second or two."), "lead", "text2")
        said.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._message_box.addWidget(said)
        self.stack.setCurrentWidget(self.message)

    def _say_nothing_known(self) -> None:
        self.network = None
        self._say(
            _(
                "Here is the map of all public nodes and channels. It is empty yet: your peers tell of the network as "
                "soon as you are connected to one."
            ),
            _("Open channel"),
            lambda: self.context.open_channel(""),
        )

    # --- ours ---------------------------------------------------------------------------

    def refresh(self) -> None:
        self._place_own()

    def _own_channels(self) -> list[ChannelView]:
        return [channel for channel in self.context.snapshot.channels if channel.phase not in CLOSED]

    def _place_own(self) -> None:
        """Who is not announced stands near the middle of his peers."""
        network = self.network
        if network is None:
            return
        peers = [
            (network.x[node], network.y[node])
            for channel in self._own_channels()
            if (node := network.node(channel.peer_id)) is not None
        ]
        own = network.node(self.context.snapshot.status.node_id)
        place: tuple[float, float] | None = None
        if own is not None:
            place = (network.x[own], network.y[own])
        elif peers:
            count = len(peers)
            x, y = sum(x for x, _y in peers) / count, sum(y for _x, y in peers) / count
            # Beside the peer where there is only one, never upon it.
            aside = 0.12 if network.node_count < LISTED else 0.02
            place = (x + aside, y - aside) if count == 1 or network.node_count < LISTED else (x, y)
        self.canvas.set_own(own, place, peers if place is not None else [])

    def _is_own_channel(self, channel: int) -> bool:
        network = self.network
        if network is None:
            return False
        scid = scid_text(network.scid[channel])
        return any(own.short_channel_id == scid for own in self._own_channels())

    def _show_own_channel(self, scid: str) -> None:
        own = next((one for one in self._own_channels() if one.short_channel_id == scid), None)
        if own is not None:
            self.context.show_channel(own.channel_id)

    # --- what is selected -----------------------------------------------------------------

    def show_node_id(self, node_id: str) -> None:
        """Selects a node and goes there; waits for the map where it is still being made."""
        node = self.network.node(node_id) if self.network is not None else None
        if node is not None:
            self._go_to_node(node)
        else:
            self._wanted_node = node_id

    def select_node(self, node: int) -> None:
        network = self.network
        if network is None:
            return
        self.hide_attempts()
        self.canvas.right_inset = self.card.width()
        self.canvas.select(node=node)
        is_ours = network.node_id(node) == self.context.snapshot.status.node_id
        self.card.show_node(network, node, is_ours=is_ours)
        self._place_panels()

    def select_channel(self, channel: int) -> None:
        if self.network is None:
            return
        self.hide_attempts()
        self.canvas.right_inset = self.card.width()
        self.canvas.select(channel=channel)
        self.card.show_channel(self.network, channel, is_ours=self._is_own_channel(channel))
        self._place_panels()

    def _draw_card_again(self) -> None:
        """In the unit that was just chosen."""
        if not self.card.isHidden():
            if self.canvas.selected_node is not None:
                self.select_node(self.canvas.selected_node)
            elif self.canvas.selected_channel is not None:
                self.select_channel(self.canvas.selected_channel)

    def select_nothing(self) -> None:
        self.hide_attempts()
        self.canvas.right_inset = 0
        self.canvas.select()
        self.card.hide()
        self._place_panels()

    def _go_to_node(self, node: int) -> None:
        self.search.close_list()
        if self.search.field.text():
            self.search.field.clear()
        self.select_node(node)
        self.canvas.show_node(node)

    def _go_to_channel(self, channel: int) -> None:
        self.select_channel(channel)
        self.canvas.show_channel(channel)

    # --- search and colours -----------------------------------------------------------------

    def _search(self, text: str) -> None:
        network = self.network
        if network is None:
            return
        scid = scid_from_text(text)
        channel = network.channel(scid) if scid is not None else None
        if channel is not None:
            nodes = [network.node_1[channel], network.node_2[channel]]
            said = _("A channel between these two")
            self.search.show_nodes(network, nodes, said)
            self._go_to_channel(channel)
        elif text.strip():
            nodes = network.search(text, LISTED)
            if not nodes:
                said = _("No node has this name or id")
            elif len(nodes) == LISTED:
                said = _("The first {n} that fit").format(n=LISTED)
            else:
                said = ngettext("{n} node fits", "{n} nodes fit", len(nodes)).format(n=len(nodes))
            self.search.show_nodes(network, nodes, said)
        else:
            said = _("{nodes} nodes, {channels} channels; the largest first").format(
                nodes=fmt.group(network.node_count), channels=fmt.group(network.channel_count)
            )
            self.search.show_nodes(network, network.by_size[:LISTED], said)
        self._place_panels()

    def _set_mode(self, mode: str) -> None:
        self.canvas.set_mode(mode)
        self._place_panels()

    # --- the ways of a payment ---------------------------------------------------------------

    def show_attempts(self, attempts: Sequence[RouteAttempt]) -> None:
        """Draws the last of these attempts; the list and arrow keys lead to the others."""
        self._shown_attempts = tuple(attempt for attempt in attempts if len(attempt.nodes) > 1)
        if self.network is None or not self._shown_attempts:
            return
        self.card.hide()
        self.canvas.select()
        names = [tuple(map(self._name_of_id, attempt.nodes)) for attempt in self._shown_attempts]
        self.canvas.right_inset = self.attempts.width()
        self.attempts.show_attempts(self._shown_attempts, names)
        self.attempts.list.show_row(len(self._shown_attempts) - 1)
        self._place_panels()

    def hide_attempts(self) -> None:
        self._shown_attempts = ()
        self.attempts.hide()
        if self.canvas.drawn is not None:
            self.canvas.show_route(None)

    def _name_of_id(self, node_id: str) -> str:
        network = self.network
        if node_id == self.context.snapshot.status.node_id:
            return _("You")
        node = network.node(node_id) if network is not None else None
        return (
            name_of(network, node) if network is not None and node is not None else fmt.node_name("", node_id)
        )

    def _draw_attempt(self, number: int) -> None:
        network = self.network
        if network is None or not 0 <= number < len(self._shown_attempts):
            return
        own_id = self.context.snapshot.status.node_id
        attempt = self._shown_attempts[number]
        self.attempts.show_steps(number)
        self.canvas.show_route(drawn_attempt(network, attempt, own_id, self.canvas.own_place))
        self._place_panels()

    def _walk(self, step: int) -> None:
        current = self.attempts.list.currentIndex().row()
        self.attempts.list.show_row(min(max(current + step, 0), len(self._shown_attempts) - 1))

    # --- places -----------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._place_panels()

    def _place_panels(self) -> None:
        """Search at the top left, legend at the bottom left, zoom at the bottom right, the card at the right."""
        margin = theme().px(S4)
        width, height = self.stack.width(), self.stack.height()
        self.legend.adjustSize()
        self.zoom.adjustSize()
        self.legend.move(margin, height - self.legend.height() - margin)
        self.zoom.move(width - self.zoom.width() - margin, height - self.zoom.height() - margin)
        self.search.move(margin, margin)
        self.search.set_room(height - self.legend.height() - 2 * margin - theme().px(S3))
        room = height - self.zoom.height() - 2 * margin - theme().px(S3)
        beside = width - self.search.width() - 3 * margin
        for panel in (self.card, self.attempts):
            # Where the search has no room beside it, it stands below.
            top = margin if panel.width() <= beside else 2 * margin + self.search.minimumHeight()
            panel.resize(panel.width(), panel.tall(room - top + margin))
            panel.move(width - panel.width() - margin, top)
        shown = [panel.geometry() for panel in (self.card, self.attempts) if not panel.isHidden()]
        self.legend.setVisible(not any(self.legend.geometry().intersects(place) for place in shown))
        panels = (self.search, self.legend, self.zoom)
        shown += [panel.geometry() for panel in panels if not panel.isHidden()]
        corner = self.canvas.mapTo(self.map, QPoint(0, 0))
        self.canvas.cover(tuple(place.translated(-corner) for place in shown))
