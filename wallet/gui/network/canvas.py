"""The map as a widget: pan, zoom, pick, names, what is selected, and the way of a payment.

Theory of operation. The links and nodes of a view are one picture, painted in slices while nothing else happens
(`Picture`). A frame only moves or scales that picture and draws on top what is few: names, the selection, ourselves,
a route. New input throws a picture away that is being painted; panning within the margin of the last one needs none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from math import hypot

from PyQt6.QtCore import (
    QEasingCurve,
    QEvent,
    QPointF,
    QRect,
    QRectF,
    QSize,
    Qt,
    QTimer,
    QVariantAnimation,
    pyqtSignal,
)
from PyQt6.QtGui import (
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QNativeGestureEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QResizeEvent,
    QShowEvent,
    QWheelEvent,
)
from PyQt6.QtWidgets import QSizePolicy, QWidget

from wallet.gui import format as fmt
from wallet.gui.network import labels
from wallet.gui.network.camera import Camera
from wallet.gui.network.picture import FEW, Dots, Own, Picture, radius_of
from wallet.gui.network.route import Drawn, draw_route
from wallet.gui.theme import theme
from wallet.i18n import _
from wallet.node.map_api import NetworkMap

__all__ = ["MapCanvas"]

REST_MS = 50
"""So long after the last input the sharp picture is begun."""
BUDGET_SECONDS = 0.006
"""Of one turn of the event loop; the next slice waits for the next turn."""
WHEEL_STEP = 1.2
PINCH_LEAST = 0.1
KEY_STEP = 80
MOST_NAMES = 90
NAMED_FROM_AFAR = 26
NEAR_FEES = 60
SELECTED_LINKS = 200
HIT = 6.0
FADED = 0.2
MOTION_MS = 200


class MapCanvas(QWidget):
    """Signals: `node_chosen(object)`, `channel_chosen(object)` with a number of the map, `nothing_chosen()`,
    `walked(object)` with 1 or -1 while attempts are shown, `rested()` when the sharp picture is there.

    Attributes: `network`, `camera`, `picture` (the last complete one), `placed` (the labels), `drawn` (a route).
    """

    node_chosen = pyqtSignal(object)
    channel_chosen = pyqtSignal(object)
    nothing_chosen = pyqtSignal()
    walked = pyqtSignal(object)
    rested = pyqtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName(_("Map of the network"))
        self.setAccessibleDescription(
            _(
                "Arrow keys move it, plus and minus zoom, 0 shows all. The list beside it names the same nodes."
            )
        )
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.network: NetworkMap | None = None
        self.camera = Camera.fitting(100, 100)
        self.mode = "capacity"
        self.picture: Picture | None = None
        self.placed: list[tuple[labels.Label, float, float]] = []
        self._covered: tuple[QRect, ...] = ()
        self.drawn: Drawn | None = None
        self.own_node: int | None = None
        self.own_place: tuple[float, float] | None = None
        self.own_peers: tuple[tuple[float, float], ...] = ()
        self.selected_node: int | None = None
        self.selected_channel: int | None = None
        self.hovered: int | None = None
        self.right_inset = 0.0
        self.slices: list[float] = []
        """What each slice took of the processor, in seconds; the last thousand."""
        self._spare: Picture | None = None
        self._unplaced = False
        self._painting: tuple[Picture, Iterator[None]] | None = None
        self._dots: Dots | None = None
        self._drag: QPointF | None = None
        self._pressed_at: QPointF | None = None
        self._touched = False
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.timeout.connect(self._begin)
        self._slicer = QTimer(self)
        self._slicer.setInterval(0)
        self._slicer.timeout.connect(self._slice)
        self._hover = QTimer(self)
        self._hover.setSingleShot(True)
        self._hover.setInterval(60)
        self._hover.timeout.connect(self._find_hovered)
        self._pointer = QPointF()
        self._motion: QVariantAnimation | None = None
        theme().changed.connect(self._theme_changed)

    def sizeHint(self) -> QSize:
        return QSize(800, 600)

    # --- what is shown ----------------------------------------------------------------

    def show_map(self, network: NetworkMap) -> None:
        """Another map; the view stays where it was if the person has moved it."""
        self.network = network
        self.selected_node = self.selected_channel = self.hovered = None
        self.drawn = None
        if not self._touched:
            self.camera = Camera.fitting(self.width(), self.height())
        self.repaint_all()

    def set_mode(self, mode: str) -> None:
        if mode != self.mode:
            self.mode = mode
            self.repaint_all()

    def set_own(
        self,
        node: int | None,
        place: tuple[float, float] | None,
        peers: Sequence[tuple[float, float]],
    ) -> None:
        """Where we stand, and where the other ends of our channels are."""
        if (node, place, tuple(peers)) != (self.own_node, self.own_place, self.own_peers):
            self.own_node, self.own_place, self.own_peers = node, place, tuple(peers)
            self.repaint_all()

    def select(self, node: int | None = None, channel: int | None = None) -> None:
        self.selected_node, self.selected_channel = node, channel
        self._place_names()
        self.update()

    def show_route(self, drawn: Drawn | None) -> None:
        self.drawn = drawn
        if drawn is not None:
            self.fly(self.camera.around(list(drawn.places), self.right_inset))
        self._place_names()
        self.update()

    def repaint_all(self) -> None:
        """What was painted is not right any more: the old picture stays until the new one is there."""
        self._abort()
        self._rest.start(0)
        self._place_names()
        self.update()

    def _theme_changed(self) -> None:
        self._dots = None
        labels.forget()
        self.repaint_all()

    # --- the view ---------------------------------------------------------------------

    def look(self, camera: Camera) -> None:
        """Shows another part, at once; the sharp picture follows when nothing more comes."""
        scaled = camera.scale != self.camera.scale
        self.camera = camera
        if scaled or self._painting is None or not self._covers(self._painting[0]):
            self._abort()
        if self.picture is None or scaled or not self._covers(self.picture) or self._painting is not None:
            self._rest.start(REST_MS if scaled else 0)
        else:
            self._rest.start(REST_MS)
        if scaled:
            self._place_names()
        self.update()

    def fly(self, camera: Camera) -> None:
        """The same, in a fifth of a second."""
        if self._motion is not None:
            self._motion.stop()
            self._motion = None
        self._touched = True
        if not theme().motion or not self.isVisible():
            self.look(camera)
            return
        begin = self.camera
        motion = QVariantAnimation(self)
        motion.setDuration(MOTION_MS)
        motion.setStartValue(0.0)
        motion.setEndValue(1.0)
        motion.setEasingCurve(QEasingCurve.Type.OutCubic)
        motion.valueChanged.connect(lambda share: self.look(begin.mixed(camera, float(share))))
        self._motion = motion
        motion.start()

    def fit(self) -> None:
        self.fly(Camera.fitting(self.width(), self.height()))
        self._touched = False

    def zoom_by(self, factor: float) -> None:
        self.fly(self.camera.zoomed(factor, self.width() / 2, self.height() / 2))

    def show_node(self, node: int) -> None:
        """Brings a node into the middle, near enough to see what is around it."""
        if self.network is not None:
            near = 1.0 if self.network.node_count <= FEW else 6.0
            self.fly(self.camera.at(self.network.x[node], self.network.y[node], near, self.right_inset))

    def show_channel(self, channel: int) -> None:
        if self.network is not None:
            ends = (self.network.node_1[channel], self.network.node_2[channel])
            self.fly(
                self.camera.around(
                    [(self.network.x[end], self.network.y[end]) for end in ends], self.right_inset
                )
            )

    def is_at_rest(self) -> bool:
        """Whether the sharp picture of this very view is shown, and all of its names."""
        picture = self.picture
        return (
            not self._rest.isActive()
            and self._painting is None
            and picture is not None
            and picture.network is self.network
            and picture.camera == self.camera
            and not self._unplaced
            and not self._unmade()
        )

    def _covers(self, picture: Picture) -> bool:
        """Whether a picture has all of the view, at its scale."""
        if picture.camera.scale != self.camera.scale or picture.network is not self.network:
            return False
        right = abs(self.camera.x - picture.camera.x) * self.camera.scale
        down = abs(self.camera.y - picture.camera.y) * self.camera.scale
        return right <= picture.margin[0] and down <= picture.margin[1]

    # --- painting in slices -------------------------------------------------------------

    def _abort(self) -> None:
        if self._painting is not None:
            self._spare = self._painting[0]
            self._painting = None
        self._slicer.stop()

    def _begin(self) -> None:
        if self.network is None or not self.isVisible():
            return
        self._abort()
        ratio = self.devicePixelRatioF()
        if self._dots is None or self._dots.ratio != ratio:
            self._dots = Dots(ratio)
        place = self.own_place
        own = Own(tuple((*place, *peer) for peer in self.own_peers)) if place is not None else Own()
        spare = self._spare.image if self._spare is not None else None
        self._spare = None
        picture = Picture(self.network, self.camera, ratio, self.mode, own, self._dots, spare)
        self._painting = (picture, picture.steps())
        self._slicer.start()

    def _slice(self) -> None:
        """What comes next: the picture, then where its names go, then names that were not drawn before."""
        began, worked = time.perf_counter(), time.thread_time()
        if self._painting is not None:
            self._paint_until(began + BUDGET_SECONDS)
        elif self._unplaced:
            self._unplaced = False
            self._place_names()
            self.update()
        else:
            self._make_names_until(began + BUDGET_SECONDS)
            if not self._unmade():
                self._slicer.stop()
                self.rested.emit()
        self._measured(worked)

    def _paint_until(self, end: float) -> None:
        if self._painting is None:
            return
        picture, steps = self._painting
        while time.perf_counter() < end:
            if next(steps, self) is self:
                self._painting = None
                self._spare, self.picture = self.picture, picture
                self._unplaced = True
                self.update()
                if picture.camera != self.camera:
                    self._rest.start(REST_MS)
                break

    def _measured(self, worked: float) -> None:
        self.slices.append(time.thread_time() - worked)
        del self.slices[:-1_000]

    # --- names ------------------------------------------------------------------------

    def _wishes(self) -> Iterator[labels.Wish]:
        """Ours, the route's, the selected, then by size; near by the fees of channels."""
        network, camera = self.network, self.camera
        if network is None:
            return
        told: set[int] = set()

        def wish(node: int, token: str) -> labels.Wish:
            told.add(node)
            left, top = camera.to_view(network.x[node], network.y[node])
            radius = radius_of(network, node, camera.zoom)
            return labels.Wish(self.name(node), left, top, radius, token)

        if self.own_place is not None:
            left, top = camera.to_view(*self.own_place)
            if self.own_node is not None:
                told.add(self.own_node)
            yield labels.Wish(_("You"), left, top, 12.0)
        for node in self.drawn.nodes if self.drawn is not None else ():
            if node is not None and node not in told:
                yield wish(node, "text")
        if self.drawn is not None:
            return
        for node in (self.selected_node, self.hovered):
            if node is not None and node not in told:
                yield wish(node, "text")
        if self.selected_channel is not None:
            for node in (network.node_1[self.selected_channel], network.node_2[self.selected_channel]):
                if node not in told:
                    yield wish(node, "text")
        left, top, right, bottom = camera.bounds()
        most = NAMED_FROM_AFAR if camera.zoom < 1.5 and network.node_count > FEW else MOST_NAMES
        count = 0
        x, y = network.x, network.y
        for node in network.by_size:
            if left <= x[node] <= right and top <= y[node] <= bottom and node not in told:
                if not network.names[node] and camera.zoom < 12 and network.node_count > FEW:
                    continue
                yield wish(node, "text2" if count > most // 3 else "text")
                count += 1
                if count >= most:
                    break
        yield from self._fees()

    def _fees(self) -> Iterator[labels.Wish]:
        network, picture = self.network, self.picture
        if network is None or picture is None or (self.camera.zoom < 8 and network.node_count > FEW):
            return
        if len(picture.channels) > 10 * NEAR_FEES:
            return
        for channel in picture.channels[:NEAR_FEES]:
            asked = [fee for fee in network.fee_millionths[2 * channel : 2 * channel + 2] if fee >= 0]
            if asked:
                a, b = network.node_1[channel], network.node_2[channel]
                left, top = self.camera.to_view(
                    (network.x[a] + network.x[b]) / 2, (network.y[a] + network.y[b]) / 2
                )
                shown = fmt.group(min(asked)) if min(asked) == max(asked) else _range(asked)
                yield labels.Wish(_("{fee} ppm").format(fee=shown), left, top, 0.0, "text2")

    def name(self, node: int) -> str:
        if self.network is None:
            return ""
        name = fmt.node_name(self.network.names[node], self.network.node_id(node))
        return name if len(name) <= 28 else name[:27].rstrip() + fmt.ELLIPSIS

    def cover(self, places: tuple[QRect, ...]) -> None:
        """Where panels float over the map: no name goes there, which would be cut by their edge."""
        if places != self._covered:
            self._covered = places
            self._place_names()

    def _place_names(self) -> None:
        if self.network is None:
            self.placed = []
            return
        camera = self.camera
        found = labels.place(self._wishes(), self.width(), self.height(), MOST_NAMES, self._covered)
        self.placed = [(label, *camera.to_map(label.left, label.top)) for label in found]
        if self._unmade() and not self._slicer.isActive():
            self._slicer.start()

    def _unmade(self) -> list[labels.Label]:
        ratio = self.devicePixelRatioF()
        return [
            label
            for label, _x, _y in self.placed
            if labels.rendered(label.text, label.token, ratio, may_make=False) is None
        ]

    def _make_names_until(self, end: float) -> None:
        ratio = self.devicePixelRatioF()
        for label in self._unmade():
            labels.rendered(label.text, label.token, ratio)
            self.update()
            if time.perf_counter() >= end:
                break

    # --- a frame ------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setClipRect(self.rect())
        self._paint_picture(painter)
        network = self.network
        if network is None:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.drawn is not None:
            draw_route(painter, self.camera, self.drawn)
        else:
            self._paint_selection(painter, network)
        self._paint_own(painter)
        ratio = self.devicePixelRatioF()
        for label, x, y in self.placed:
            picture = labels.rendered(label.text, label.token, ratio, may_make=False)
            if picture is not None:
                left, top = self.camera.to_view(x, y)
                painter.drawPixmap(QPointF(round(left), round(top)), picture)
        if self.hasFocus() and self._keyboard:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
            painter.setPen(QPen(theme().colour("accent"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.rect().adjusted(1, 1, -1, -1))

    _keyboard = False

    def focusInEvent(self, event: QFocusEvent | None) -> None:
        super().focusInEvent(event)
        reasons = (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason)
        self._keyboard = event is not None and event.reason() in reasons
        self.update()

    def _paint_picture(self, painter: QPainter) -> None:
        ground = theme().colour("network_canvas")
        picture = self.picture
        if picture is None or self.network is None:
            painter.fillRect(self.rect(), ground)
            return
        grown = self.camera.scale / picture.camera.scale
        left, top = self.camera.to_view(*picture.camera.to_map(-picture.margin[0], -picture.margin[1]))
        width = picture.image.width() / picture.ratio * grown
        height = picture.image.height() / picture.ratio * grown
        area = QRectF(left, top, width, height)
        faded = self.drawn is not None
        if faded or not area.contains(QRectF(self.rect())):
            painter.fillRect(self.rect(), ground)
        if faded:
            painter.setOpacity(FADED)
        if grown == 1.0:
            area.moveTo(round(left), round(top))
        painter.drawImage(area, picture.image)
        painter.setOpacity(1.0)

    def _paint_selection(self, painter: QPainter, network: NetworkMap) -> None:
        node, channel = self.selected_node, self.selected_channel
        colour = theme().colour
        x, y, view = network.x, network.y, self.camera.to_view
        if node is not None:
            middle = QPointF(*view(x[node], y[node]))
            painter.setPen(QPen(colour("accent", 150), 1))
            for link in network.channels(node)[:SELECTED_LINKS]:
                other = network.other_end(link, node)
                painter.drawLine(middle, QPointF(*view(x[other], y[other])))
            self._ring(painter, node, "accent")
        elif channel is not None:
            ends = (network.node_1[channel], network.node_2[channel])
            painter.setPen(QPen(colour("accent"), 3))
            painter.drawLine(*(QPointF(*view(x[end], y[end])) for end in ends))
            for end in ends:
                self._ring(painter, end, "accent")
        if self.hovered is not None and self.hovered != node:
            self._ring(painter, self.hovered, "text2")

    def _ring(self, painter: QPainter, node: int, token: str) -> None:
        network = self.network
        if network is None:
            return
        radius = max(radius_of(network, node, self.camera.zoom), 2.0)
        middle = QPointF(*self.camera.to_view(network.x[node], network.y[node]))
        painter.setPen(QPen(theme().colour("network_canvas"), 5))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawEllipse(middle, radius + 3.5, radius + 3.5)
        painter.setPen(QPen(theme().colour(token), 2))
        painter.setBrush(theme().colour(token))
        painter.drawEllipse(middle, radius, radius)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawEllipse(middle, radius + 3.5, radius + 3.5)

    def _paint_own(self, painter: QPainter) -> None:
        if self.own_place is None:
            return
        left, top = self.camera.to_view(*self.own_place)
        colour = theme().colour
        painter.setBrush(colour("network_canvas"))
        painter.setPen(QPen(colour("brass"), 2))
        painter.drawEllipse(QPointF(left, top), 12, 12)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour("brass"))
        side = 7.0
        painter.drawPolygon(
            QPolygonF(
                [
                    QPointF(left, top - side),
                    QPointF(left + side, top),
                    QPointF(left, top + side),
                    QPointF(left - side, top),
                ]
            )
        )

    # --- input ------------------------------------------------------------------------

    def node_at(self, place: QPointF) -> int | None:
        """The node under a place of the view; of several the largest."""
        network, picture = self.network, self.picture
        if network is None or picture is None:
            return None
        if self.own_node is not None and self.own_place is not None:
            left, top = self.camera.to_view(*self.own_place)
            if hypot(left - place.x(), top - place.y()) <= 14:
                return self.own_node
        at_x, at_y = self.camera.to_map(place.x(), place.y())
        reach = (14.0 + HIT) / self.camera.scale
        x, y = network.x, network.y
        near = [
            node
            for node in reversed(picture.nodes)
            if -reach < x[node] - at_x < reach and -reach < y[node] - at_y < reach
        ]
        best, least = None, 0.0
        for node in near:
            away = hypot(x[node] - at_x, y[node] - at_y) * self.camera.scale
            over = away - max(radius_of(network, node, self.camera.zoom), HIT)
            if over < least:
                best, least = node, over
        return best

    def channel_at(self, place: QPointF) -> int | None:
        """The channel under a place of the view, of those that are drawn; of several the nearest."""
        network, picture = self.network, self.picture
        if network is None or picture is None:
            return None
        at_x, at_y = self.camera.to_map(place.x(), place.y())
        x, y, first, second = network.x, network.y, network.node_1, network.node_2
        best, least = None, HIT / self.camera.scale
        for channel in picture.channels:
            a, b = first[channel], second[channel]
            ax, ay = x[a], y[a]
            dx, dy = x[b] - ax, y[b] - ay
            length = dx * dx + dy * dy
            if length == 0.0:
                continue
            # How far from the line first: that rules out most.
            across = (at_x - ax) * dy - (at_y - ay) * dx
            if across * across > least * least * length:
                continue
            share = ((at_x - ax) * dx + (at_y - ay) * dy) / length
            if 0.0 <= share <= 1.0:
                best, least = channel, abs(across) / length**0.5
        return best

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            self._drag = self._pressed_at = event.position()
            if self._motion is not None:
                self._motion.stop()

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        if event is None:
            return
        self._pointer = event.position()
        if self._drag is None:
            self._hover.start()
            return
        moved = event.position() - self._drag
        if self._pressed_at is not None:
            far = event.position() - self._pressed_at
            if abs(far.x()) + abs(far.y()) < 4:
                return
            self._pressed_at = None
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
        self._drag = event.position()
        self._touched = True
        self.look(self.camera.panned(moved.x(), moved.y()))

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        if event is None or event.button() != Qt.MouseButton.LeftButton:
            return
        clicked = self._pressed_at
        self._drag = self._pressed_at = None
        self.unsetCursor()
        if clicked is None or self.network is None:
            return
        node = self.node_at(clicked)
        channel = self.channel_at(clicked) if node is None else None
        if node is not None:
            self.node_chosen.emit(node)
        elif channel is not None:
            self.channel_chosen.emit(channel)
        else:
            self.nothing_chosen.emit()

    def mouseDoubleClickEvent(self, event: QMouseEvent | None) -> None:
        if event is not None:
            at = event.position()
            self.fly(self.camera.zoomed(2.0, at.x(), at.y()))

    def _find_hovered(self) -> None:
        node = self.node_at(self._pointer) if self.underMouse() and self._drag is None else None
        if node != self.hovered:
            self.hovered = node
            self.setCursor(
                Qt.CursorShape.PointingHandCursor if node is not None else Qt.CursorShape.ArrowCursor
            )
            self._place_names()
            self.update()

    def leaveEvent(self, event: QEvent | None) -> None:
        super().leaveEvent(event)
        if self.hovered is not None:
            self.hovered = None
            self._place_names()
            self.update()

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        if event is None:
            return
        notches = event.angleDelta().y() / 120
        if notches and self.network is not None:
            self._zoom_at(event.position(), WHEEL_STEP**notches)
        event.accept()

    def event(self, event: QEvent | None) -> bool:
        # Two fingers on a touchpad.
        if (
            isinstance(event, QNativeGestureEvent)
            and event.gestureType() == Qt.NativeGestureType.ZoomNativeGesture
        ):
            if self.network is not None:
                self._zoom_at(event.position(), max(PINCH_LEAST, 1.0 + event.value()))
            return True
        return super().event(event)

    def _zoom_at(self, at: QPointF, factor: float) -> None:
        """What is under the pointer stays there."""
        if self._motion is not None:
            self._motion.stop()
        self._touched = True
        self.look(self.camera.zoomed(factor, at.x(), at.y()))

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        if event is None:
            return
        key = event.key()
        moves = {
            Qt.Key.Key_Left: (KEY_STEP, 0),
            Qt.Key.Key_Right: (-KEY_STEP, 0),
            Qt.Key.Key_Up: (0, KEY_STEP),
            Qt.Key.Key_Down: (0, -KEY_STEP),
        }
        if self.drawn is not None and key in moves:
            self.walked.emit(1 if key in (Qt.Key.Key_Right, Qt.Key.Key_Down) else -1)
        elif key in moves:
            self._touched = True
            self.look(self.camera.panned(*moves[Qt.Key(key)]))
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom_by(1.5)
        elif key == Qt.Key.Key_Minus:
            self.zoom_by(1 / 1.5)
        elif key == Qt.Key.Key_0:
            self.fit()
        elif key == Qt.Key.Key_Escape:
            self.nothing_chosen.emit()
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        if self._touched:
            self.camera = self.camera.resized(self.width(), self.height())
        else:
            self.camera = Camera.fitting(self.width(), self.height())
        self.repaint_all()

    def showEvent(self, event: QShowEvent | None) -> None:
        super().showEvent(event)
        if not self.is_at_rest():
            self._rest.start(0)


def _range(values: Sequence[int]) -> str:
    return f"{fmt.group(min(values))}\N{EN DASH}{fmt.group(max(values))}"
