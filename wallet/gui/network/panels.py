"""What floats over the map: search with its list, the legend, zoom, and the card of what is selected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from PyQt6.QtCore import QModelIndex, QRect, QSize, Qt, pyqtSignal
from PyQt6.QtGui import QColor, QFontMetrics, QKeyEvent, QPainter, QPaintEvent, QPen
from PyQt6.QtWidgets import (
    QFrame,
    QListView,
    QSizePolicy,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from wallet.gui import format as fmt
from wallet.gui.network.models import (
    ASIDE_ROLE,
    NUMBER_ROLE,
    AttemptsModel,
    ChannelsOfNode,
    NodesModel,
    capacity_text,
    name_of,
)
from wallet.gui.network.picture import SCALE, UNKNOWN
from wallet.gui.pages.base import scroller
from wallet.gui.theme import theme
from wallet.gui.tokens import ROW, S2, S3, S4
from wallet.gui.widgets.basic import Button, ElidedLabel, Label, clear, hbox, vbox
from wallet.gui.widgets.fields import LineEdit, Segments
from wallet.gui.widgets.ids import CopyId, NodeDot
from wallet.gui.widgets.notices import Facts
from wallet.i18n import _
from wallet.node.map_api import NetworkMap, RouteAttempt, scid_text

__all__ = ["AttemptsPanel", "Card", "Legend", "Lines", "SearchPanel", "ZoomPanel"]

CARD_WIDTH = 340
SEARCH_WIDTH = 320


class _Floating(QFrame):
    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setProperty("card", "true")


class _Two(QStyledItemDelegate):
    """A text, and another at its right or below it."""

    def __init__(self, parent: QListView, *, below: bool) -> None:
        super().__init__(parent)
        self._below = below

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        if not self._below:
            return QSize(10, theme().px(36))
        width = max(option.rect.width(), 100) - 2 * theme().px(S3)
        said = QFontMetrics(theme().font("caption")).boundingRect(
            QRect(0, 0, width, 10_000), Qt.TextFlag.TextWordWrap, str(index.data(ASIDE_ROLE))
        )
        return QSize(10, max(theme().px(ROW), theme().px(36) + said.height()))

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        if painter is None:
            return
        colour, px = theme().colour, theme().px
        state = QStyle.StateFlag
        painter.save()
        area = QRect(option.rect)
        if option.state & state.State_Selected:
            painter.fillRect(area, colour("soft_accent"))
        elif option.state & state.State_MouseOver:
            painter.fillRect(area, colour("raised"))
        inside = area.adjusted(px(S3), 0, -px(S3), 0)
        name, aside = str(index.data()), str(index.data(ASIDE_ROLE))
        painter.setPen(colour("text"))
        painter.setFont(theme().font("body"))
        metrics = painter.fontMetrics()
        if self._below:
            head = QRect(inside.left(), inside.top() + px(6), inside.width(), px(20))
            painter.drawText(
                head,
                Qt.AlignmentFlag.AlignVCenter,
                metrics.elidedText(name, Qt.TextElideMode.ElideRight, head.width()),
            )
            painter.setFont(theme().font("caption"))
            painter.setPen(colour("text2"))
            painter.drawText(inside.adjusted(0, px(26), 0, -px(2)), Qt.TextFlag.TextWordWrap, aside)
        else:
            painter.setFont(theme().font("caption"))
            wide = painter.fontMetrics().horizontalAdvance(aside)
            painter.setPen(colour("text2"))
            flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
            painter.drawText(inside, flags, aside)
            painter.setFont(theme().font("body"))
            painter.setPen(colour("text"))
            room = inside.adjusted(0, 0, -wide - px(S3), 0)
            shown = metrics.elidedText(name, Qt.TextElideMode.ElideRight, room.width())
            painter.drawText(room, Qt.AlignmentFlag.AlignVCenter, shown)
        painter.restore()


class Lines(QListView):
    """A list in the look of the panels. Signal: `picked(object)`, a number, by click or Enter; `walked(object)`, by
    arrow keys as well."""

    picked = pyqtSignal(object)
    walked = pyqtSignal(object)

    def __init__(self, name: str, *, below: bool = False) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.setAccessibleDescription(_("Arrow keys move within, Enter picks a line"))
        self.setProperty("lines", "true")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMouseTracking(True)
        self.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setUniformItemSizes(not below)
        self.setItemDelegate(_Two(self, below=below))
        self.setTabKeyNavigation(False)
        self.clicked.connect(self._pick)
        self.activated.connect(self._pick)

    def _pick(self, index: QModelIndex) -> None:
        number = index.data(NUMBER_ROLE)
        if number is not None:
            self.picked.emit(number)

    def currentChanged(self, current: QModelIndex, previous: QModelIndex) -> None:
        super().currentChanged(current, previous)
        number = current.data(NUMBER_ROLE)
        if number is not None:
            self.walked.emit(number)

    def show_row(self, row: int) -> None:
        model = self.model()
        if model is not None:
            self.setCurrentIndex(model.index(row, 0))


class SearchPanel(_Floating):
    """A field, and the real list beside the picture: what was found, else the largest nodes.

    Signals: `chosen(object)`, a node's number; `typed(str)`.
    """

    chosen = pyqtSignal(object)
    typed = pyqtSignal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.field = LineEdit(_("Search the network"), _("Name, node id or channel id"))
        self.field.setClearButtonEnabled(True)
        # The window puts the keyboard into the search of a page.
        self.setFocusProxy(self.field)
        self.toggle = Button("", "quiet", "chevron-down", name=_("List of nodes"))
        self.toggle.setCheckable(True)
        self.toggle.setAccessibleDescription(_("Shows or hides what belongs to it"))
        self.toggle.toggled.connect(lambda _on: self.arrange())
        self.model = NodesModel()
        self.list = Lines(_("Nodes"))
        self.list.setModel(self.model)
        self.list.picked.connect(self.chosen)
        self.said = Label("", "caption", "text2")
        box = vbox(hbox(self.field, self.toggle, spacing=4), self.said, spacing=S2, margins=(S2, S2, S2, S2))
        box.addWidget(self.list, 1)
        self.setLayout(box)
        self.setFixedWidth(theme().px(SEARCH_WIDTH))
        self.field.textChanged.connect(self.typed)
        self.field.returnPressed.connect(self._first)
        self._room = 400
        self.arrange()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        if (
            event is not None
            and event.key() == Qt.Key.Key_Down
            and self.field.hasFocus()
            and self.list.isVisible()
        ):
            self.list.setFocus(Qt.FocusReason.TabFocusReason)
            self.list.show_row(0)
            return
        if event is not None and event.key() == Qt.Key.Key_Escape and self.field.text():
            self.field.clear()
            return
        super().keyPressEvent(event)

    def _first(self) -> None:
        number = self.model.number(0)
        if number is not None and self.field.text().strip():
            self.chosen.emit(number)

    def show_nodes(self, network: NetworkMap, nodes: Sequence[int], said: str) -> None:
        self.model.show_nodes(network, nodes)
        self.said.setText(said)
        self.arrange()

    def set_room(self, height: int) -> None:
        self._room = height
        self.arrange()

    def close_list(self) -> None:
        self.toggle.setChecked(False)
        self.arrange()

    def arrange(self) -> None:
        """As tall as what it shows."""
        shown = self.toggle.isChecked() or bool(self.field.text().strip())
        self.toggle.set_icon("chevron-up" if shown else "chevron-down")
        self.list.setVisible(shown and self.model.rowCount() > 0)
        self.said.setVisible(shown and bool(self.said.text()))
        px = theme().px
        height = px(52)
        if self.said.isVisibleTo(self):
            height += px(24)
        if self.list.isVisibleTo(self):
            height += min(self.model.rowCount() * px(36) + px(16), max(px(120), self._room - height))
        self.setFixedHeight(min(height, max(self._room, px(52))))


class _Swatch(QWidget):
    """A dot of the scale."""

    def __init__(self, kind: int) -> None:
        super().__init__()
        self._kind = kind
        side = theme().px(12)
        self.setFixedSize(side, side)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = self.rect().adjusted(1, 1, -1, -1)
        if self._kind == UNKNOWN:
            painter.setPen(QPen(theme().colour("map_1"), 1.5))
        else:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(theme().colour(SCALE[self._kind])))
        painter.drawEllipse(area)


class Legend(_Floating):
    """What the colours tell. Signal: `chosen(str)`, a mode."""

    chosen = pyqtSignal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        modes = [("capacity", _("Capacity")), ("fee", _("Fee")), ("age", _("Age"))]
        self.modes = Segments(_("Colour by"), modes, "capacity")
        self.modes.chosen.connect(self._choose)
        self._words = [Label("", "caption", "text2") for _kind in range(UNKNOWN + 1)]
        box = vbox(spacing=2)
        for kind, label in enumerate(self._words):
            box.addLayout(hbox(_Swatch(kind), label, "stretch", spacing=S2))
        self.setLayout(vbox(self.modes, box, spacing=S2, margins=(S3, S3, S3, S3)))
        self._choose("capacity")

    def words(self, mode: str) -> tuple[str, ...]:
        """The classes of a mode, from low to high, then unknown."""
        if mode == "fee":
            return (
                _("under 10 ppm"), _("10 to 100 ppm"), _("100 to 300 ppm"), _("300 to 1 000 ppm"),
                _("over 1 000 ppm"), _("forwards nothing"),
            )  # fmt: skip
        if mode == "age":
            return (
                _("under a month"), _("one to six months"), _("six months to a year"), _("one to three years"),
                _("over three years"), _("age unknown"),
            )  # fmt: skip
        return (
            _("under 1 million sat"), _("1 to 5 million sat"), _("5 to 20 million sat"), _("20 to 100 million sat"),
            _("over 1 BTC"), _("capacity unknown"),
        )  # fmt: skip

    def _choose(self, mode: str) -> None:
        for label, word in zip(self._words, self.words(mode), strict=True):
            label.setText(word)
        self.adjustSize()
        self.chosen.emit(mode)


class ZoomPanel(_Floating):
    """Closer, further, all of it."""

    def __init__(
        self,
        parent: QWidget,
        closer: Callable[[], object],
        further: Callable[[], object],
        fit: Callable[[], object],
    ) -> None:
        super().__init__(parent)
        self.closer = Button("", "quiet", "plus", small=True, name=_("Closer"), on_click=closer)
        self.further = Button("", "quiet", "minus", small=True, name=_("Further away"), on_click=further)
        self.all = Button("", "quiet", "fit", small=True, name=_("The whole map"), on_click=fit)
        self.setLayout(vbox(self.closer, self.further, self.all, spacing=0, margins=(4, 4, 4, 4)))


class Card(_Floating):
    """The selected node or channel.

    Signals: `closed()`; `node_wanted(object)` and `channel_wanted(object)` with numbers; `open_wanted(str)` with a node
    id, and its address where it is known; `own_channel_wanted(str)` with a channel id as blocks write it.
    """

    closed = pyqtSignal()
    node_wanted = pyqtSignal(object)
    channel_wanted = pyqtSignal(object)
    open_wanted = pyqtSignal(str)
    own_channel_wanted = pyqtSignal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setFixedWidth(theme().px(CARD_WIDTH))
        self._box = vbox(spacing=S3, margins=(S4, S4, S4, S4))
        self._inside = QWidget()
        self._inside.setLayout(self._box)
        self.setLayout(vbox(scroller(self._inside), spacing=0))
        self.channels = ChannelsOfNode()
        self.list: Lines | None = None
        self.open_button: Button | None = None
        self.title = ""
        self.hide()

    def _head(self, title: str, dot: QWidget | None) -> None:
        clear(self._box)
        self.list = self.open_button = None
        self.title = title
        self.setAccessibleName(title)
        name = ElidedLabel(title, "section")
        row = hbox(spacing=S2)
        if dot is not None:
            row.addWidget(dot)
        row.addWidget(name, 1)
        row.addWidget(Button("", "quiet", "close", small=True, name=_("Close"), on_click=self.closed.emit))
        self._box.addLayout(row)

    def show_node(self, network: NetworkMap, node: int, *, is_ours: bool) -> None:
        node_id = network.node_id(node)
        self._head(name_of(network, node), NodeDot(node_id))
        self._box.addLayout(hbox(CopyId(_("Node id"), node_id), "stretch"))
        count = len(network.channels(node))
        fee = network.node_fee_millionths[node]
        facts = Facts(label_width=116)
        facts.show_facts(
            [
                (_("Capacity"), capacity_text(network.node_capacity_sat[node] or (-1 if count else 0))),
                (_("Channels"), fmt.group(count)),
                (_("Its usual fee"), _("{fee} ppm").format(fee=fmt.group(fee)) if fee >= 0 else _("unknown")),
                (_("First channel"), _age(network, network.oldest_height[node])),
            ]
        )
        self._box.addWidget(facts)
        if is_ours:
            self._box.addWidget(Label(_("This is your node."), "body", "text2", wrap=True))
        else:
            address = network.addresses[node]
            uri = f"{node_id}@{address}" if address else node_id
            self.open_button = Button(
                _("Open a channel here"), "filled", "plus", on_click=lambda: self.open_wanted.emit(uri)
            )
            self._box.addWidget(self.open_button)
        if count:
            self.channels.show_node(network, node)
            self.list = Lines(_("Channels of {name}").format(name=self.title))
            self.list.setModel(self.channels)
            self.list.picked.connect(self.channel_wanted)
            self.list.setMinimumHeight(theme().px(112))
            self._box.addWidget(self.list, 1)
        self.show()

    def show_channel(self, network: NetworkMap, channel: int, *, is_ours: bool) -> None:
        scid = scid_text(network.scid[channel])
        self._head(_("Channel"), None)
        self._box.addLayout(hbox(CopyId(_("Channel id"), scid, shown=scid), "stretch"))
        ends = (network.node_1[channel], network.node_2[channel])
        names = [name_of(network, end) for end in ends]
        facts = Facts(label_width=116)
        rows: list[tuple[str, QWidget | str]] = [
            (_("Capacity"), capacity_text(network.capacity_sat[channel])),
            (_("Opened"), _age(network, network.scid[channel] >> 40)),
        ]
        facts.show_facts(rows)
        self._box.addWidget(facts)
        for side, end in enumerate(ends):
            button = Button(
                fmt.plain(names[side], 30), "outlined", "peer", on_click=partial(self.node_wanted.emit, end)
            )
            button.setAccessibleDescription(_("Shows this node"))
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            self._box.addWidget(button)
            self._box.addWidget(Label(_fee(network, channel, side), "caption", "text2", wrap=True))
        if is_ours:
            self._box.addWidget(
                Button(
                    _("Show this channel of yours"),
                    "filled",
                    "channels",
                    on_click=lambda: self.own_channel_wanted.emit(scid),
                )
            )
        self.show()

    def tall(self, room: int) -> int:
        """How tall it wants to be, within the room that there is."""
        self._box.activate()
        width = self.width()
        wanted = self._box.heightForWidth(width) if self._box.hasHeightForWidth() else 0
        wanted = max(wanted, self._box.sizeHint().height()) + 2
        if self.list is not None:
            rows = min(self.channels.rowCount(), 8)
            wanted = max(
                wanted, wanted - self.list.sizeHint().height() + rows * theme().px(36) + theme().px(16)
            )
        return max(min(wanted, room), theme().px(120))


def _age(network: NetworkMap, height: int) -> str:
    blocks = network.height - height
    if blocks < 0 or height == 0:
        return _("block {height}").format(height=fmt.group(height))
    return _("{time} ago").format(time=fmt.seconds_long(blocks * fmt.SECONDS_PER_BLOCK))


def _fee(network: NetworkMap, channel: int, side: int) -> str:
    rate = network.fee_millionths[2 * channel + side]
    base_msat = network.fee_base_msat[2 * channel + side]
    if rate < 0:
        return _("forwards nothing in this direction")
    if base_msat == 0:
        return _("asks {fee} ppm to forward").format(fee=fmt.group(rate))
    return _("asks {base} and {fee} ppm to forward").format(
        base=fmt.msat_exact(base_msat), fee=fmt.group(rate)
    )


class AttemptsPanel(_Floating):
    """The attempts of a payment; arrow keys walk them. Signals: `closed()`, `walked(object)` with a number."""

    closed = pyqtSignal()
    walked = pyqtSignal(object)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setFixedWidth(theme().px(CARD_WIDTH))
        self.model = AttemptsModel()
        self.list = Lines(_("Attempts"), below=True)
        self.list.setModel(self.model)
        self.list.walked.connect(self.walked)
        close = Button("", "quiet", "close", small=True, name=_("Close"), on_click=self.closed.emit)
        head = hbox(Label(_("Ways that were tried"), "section"), "stretch", close)
        box = vbox(head, spacing=S2, margins=(S4, S4, S4, S4))
        self._steps = Label("", "caption", "text2", wrap=True)
        box.addWidget(self.list, 1)
        box.addWidget(self._steps)
        self.setLayout(box)
        self.hide()

    def show_attempts(self, attempts: Sequence[RouteAttempt], names: Sequence[tuple[str, ...]]) -> None:
        """`names` are those of each attempt's nodes."""
        self._names = tuple(names)
        self.model.show_attempts(attempts, names)
        self.show()

    def show_steps(self, number: int) -> None:
        """In words what the picture shows."""
        self._steps.setText(" \N{RIGHTWARDS ARROW} ".join(self._names[number]))

    def tall(self, room: int) -> int:
        rows = sum(self.list.sizeHintForRow(row) for row in range(self.model.rowCount()))
        steps = self._steps.heightForWidth(theme().px(CARD_WIDTH - 2 * S4)) if self._steps.text() else 0
        return max(min(rows + steps + theme().px(104), room), theme().px(160))
