"""Paints links and nodes of a map into an image, a slice at a time.

Theory of operation. `drawLines` keeps the interpreter's lock, so nothing here draws more than `SLICE` edges in one
call, and `steps` is a generator: whoever drives it decides after each slice whether there is time for the next, or
throws the picture away because the view has moved on. Only what can be seen is drawn: of the whole map the strongest
links, nearer by all links of the nodes in view. Lines are one pixel wide, which Qt draws a hundred times as fast as
any other width; nodes are stamped from a sheet of dots.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from typing import Any

from PyQt6 import sip
from PyQt6.QtCore import QLineF, QPointF, QRect, QRectF, Qt
from PyQt6.QtGui import QBrush, QImage, QPainter, QPen, QPixmap

from wallet.gui.network.camera import Camera
from wallet.gui.theme import theme
from wallet.node.map_api import NetworkMap

__all__ = ["FEW", "MARGIN", "SLICE", "Dots", "Picture", "radius_of"]

SLICE = 1_000
"""Edges a slice; at most 2,000, whatever a test says."""
SLICE_PIXELS = 60_000
LINE_BYTES = 32
"""Four doubles."""
FAR_LINKS = 4_000
MIDWAY_LINKS = 2_500
"""Between the whole map and a neighbourhood, where most links only pass by."""
NEAR_LINKS = 6_000
NEAR_ZOOM = 10.0
PASSING = 0.45
"""How much of its opacity a link keeps whose one end is elsewhere."""
MARGIN = 0.12
"""What is painted beyond the view, of its width and height, for panning."""
FEW = 80
"""Up to so many nodes the map is a drawing: everything large, everything named."""
BAND = 256
SCAN = 3_000
UNKNOWN = 5
OWN_LINK = 2.5
RADII = (0.9, 1.25, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 14.0)
SCALE = ("map_1", "map_2", "map_3", "map_4", "map_5")


def radius_of(network: NetworkMap, node: int, zoom: float) -> float:
    """1.5 to 14 pixels by the root of the capacity; who has one channel is dust from afar."""
    if network.node_count <= FEW:
        largest = max(network.node_capacity_sat) or 1
        return 7.0 + 7.0 * sqrt(max(network.node_capacity_sat[node], 0) / largest)
    largest = network.node_capacity_sat[network.by_size[0]] or 1
    radius = 1.5 + 12.5 * sqrt(network.node_capacity_sat[node] / largest)
    if network.channel_starts[node + 1] - network.channel_starts[node] == 1 and zoom < 3:
        return min(radius, 0.9 if zoom < 1.6 else 1.25)
    return float(min(radius * min(max(zoom, 1.0) ** 0.3, 2.0), 14.0))


class Dots:
    """A sheet of dots: a row for each class, a column for each radius."""

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio
        self.cells: list[float] = []
        left = 0.0
        for radius in RADII:
            self.cells.append(left)
            left += self._side(radius)
        self.sheet = QPixmap(int(left), int(self._side(RADII[-1])) * (UNKNOWN + 1))
        self.sheet.fill(Qt.GlobalColor.transparent)
        painter = QPainter(self.sheet)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for row in range(UNKNOWN + 1):
            for column, radius in enumerate(RADII):
                area = self.area(row, column)
                self._dot(painter, row, area.center(), radius * ratio)
        painter.end()

    def _side(self, radius: float) -> float:
        return float(int(2 * radius * self.ratio) + 4)

    def area(self, row: int, column: int) -> QRectF:
        side = self._side(RADII[column])
        return QRectF(self.cells[column], row * int(self._side(RADII[-1])), side, side)

    @staticmethod
    def _dot(painter: QPainter, row: int, centre: QPointF, radius: float) -> None:
        colour = theme().colour
        if row == UNKNOWN:
            painter.setBrush(colour("network_canvas"))
            painter.setPen(QPen(colour("map_1"), max(1.0, min(radius / 3, 1.5))))
            painter.drawEllipse(centre, radius, radius)
            return
        painter.setBrush(colour(SCALE[row]))
        # An edge of the ground's colour keeps large dots apart.
        painter.setPen(QPen(colour("network_canvas"), 1.0) if radius >= 3 else Qt.PenStyle.NoPen)
        painter.drawEllipse(centre, radius, radius)


@dataclass(frozen=True, slots=True)
class Own:
    """What of the map is ours: a channel each, from the place where we stand to a peer's."""

    lines: tuple[tuple[float, float, float, float], ...] = ()


class _Lines:
    """Lines of one look, in slices of so many, and of so many pixels: long lines take longer.

    They are columns of numbers and not objects: thousands of these would have the collector of garbage look through the
    whole program.
    """

    def __init__(self) -> None:
        self.slices: list[array[float]] = [array("d")]
        self._pixels = 0.0

    def add(self, x1: float, y1: float, x2: float, y2: float, most: float) -> None:
        self._pixels += min(abs(x2 - x1) + abs(y2 - y1), most)
        column = self.slices[-1]
        if self._pixels > SLICE_PIXELS or len(column) >= 4 * SLICE:
            column = array("d")
            self.slices.append(column)
            self._pixels = 0.0
        column.extend((x1, y1, x2, y2))


class Picture:
    """One image of the map: `steps` paints it, then `image`, `nodes` and `channels` (those drawn) are complete.

    Attributes:
        camera: what was seen when it was begun; the image shows that and a margin all round.
        margin: in pixels of the view, left and top.
    """

    def __init__(
        self,
        network: NetworkMap,
        camera: Camera,
        ratio: float,
        mode: str,
        own: Own,
        dots: Dots,
        image: QImage | None = None,
    ) -> None:
        self.network, self.camera, self.ratio, self.mode = network, camera, ratio, mode
        self.own = own
        self.dots = dots
        self.margin = (round(camera.width * MARGIN), round(camera.height * MARGIN))
        width = round((camera.width + 2 * self.margin[0]) * ratio)
        height = round((camera.height + 2 * self.margin[1]) * ratio)
        if image is None or image.width() != width or image.height() != height:
            image = QImage(width, height, QImage.Format.Format_RGB32)
        self.image = image
        self.nodes: list[int] = []
        self.channels: Sequence[int] = ()
        self._scale = camera.scale * ratio
        left, top = camera.to_map(-self.margin[0], -self.margin[1])
        self._left, self._top = left, top
        self._bounds = (left, top, left + width / self._scale, top + height / self._scale)

    def steps(self) -> Iterator[None]:
        """Paints; each step is short."""
        yield from self._clear()
        yield from self._find_nodes()
        yield from self._find_channels()
        yield from self._draw_links()
        yield from self._draw_own()
        yield from self._draw_nodes()

    def _painter(self, *, smooth: bool) -> QPainter:
        painter = QPainter(self.image)
        # Without this, Qt clips each line by itself, which takes ten times as long.
        painter.setClipRect(QRect(0, 0, self.image.width(), self.image.height()))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, smooth)
        return painter

    def _clear(self) -> Iterator[None]:
        rows = max(BAND, 1)
        for top in range(0, self.image.height(), rows):
            painter = QPainter(self.image)
            painter.fillRect(0, top, self.image.width(), rows, theme().colour("network_canvas"))
            painter.end()
            yield

    def _find_nodes(self) -> Iterator[None]:
        """Those in the picture, the smallest first."""
        x, y = self.network.x, self.network.y
        left, top, right, bottom = self._bounds
        order = self.network.by_size
        for start in range(0, len(order), SCAN):
            self.nodes += [
                node
                for node in order[start : start + SCAN]
                if left <= x[node] <= right and top <= y[node] <= bottom
            ]
            yield
        self.nodes.reverse()

    def _find_channels(self) -> Iterator[None]:
        network = self.network
        if 2 * len(self.nodes) > network.node_count:
            self.channels = range(
                min(FAR_LINKS if network.channel_count > NEAR_LINKS else NEAR_LINKS, network.channel_count)
            )
            return
        found: set[int] = set()
        starts, channels_of = network.channel_starts, network.channels_of
        for begin in range(0, len(self.nodes), 400):
            for node in self.nodes[begin : begin + 400]:
                found.update(channels_of[starts[node] : starts[node + 1]])
            yield
        # A channel's number is its rank.
        most = MIDWAY_LINKS if self.camera.zoom < NEAR_ZOOM and network.node_count > FEW else NEAR_LINKS
        self.channels = sorted(found)[:most]
        yield

    def _opacity(self, kind: int) -> int:
        if self.network.node_count <= FEW:
            return 255
        nearness = min(max(self.camera.zoom - 1.0, 0.0) / 8, 1.0)
        crowd = min(len(self.channels) / FAR_LINKS, 1.0)
        # Where thousands lie over each other, each has to be faint.
        far = 0.12 + 0.06 * ((kind if kind != UNKNOWN else 0) / 4) ** 2
        return round(255 * min(far + 0.3 * nearness + 0.12 * (1 - crowd), 1.0))

    def _draw_links(self) -> Iterator[None]:
        network, scale, left, top = self.network, self._scale, self._left, self._top
        classes = network.channel_classes[self.mode]
        # First those that only pass by, then those with both ends in view.
        passing, inside = [_Lines() for _ in range(UNKNOWN + 1)], [_Lines() for _ in range(UNKNOWN + 1)]
        across = hypot(self.image.width(), self.image.height())
        x, y, first, second = network.x, network.y, network.node_1, network.node_2
        seen = bytearray(network.node_count)
        for node in self.nodes:
            seen[node] = 1
        yield
        # The weakest first: the strong ones lie above them.
        order = self.channels[::-1]
        for begin in range(0, len(order), SLICE):
            for channel in order[begin : begin + SLICE]:
                a, b = first[channel], second[channel]
                groups = inside if seen[a] and seen[b] else passing
                groups[classes[channel]].add(
                    (x[a] - left) * scale,
                    (y[a] - top) * scale,
                    (x[b] - left) * scale,
                    (y[b] - top) * scale,
                    across,
                )
            yield
        width = 1.0 if network.node_count > FEW else 2.0 * self.ratio
        for groups, share in ((passing, PASSING), (inside, 1.0)):
            for kind in (UNKNOWN, 0, 1, 2, 3, 4):
                token = SCALE[kind] if kind != UNKNOWN else "map_1"
                pen = QPen(theme().colour(token, round(self._opacity(kind) * share)), width)
                for lines in groups[kind].slices:
                    painter = self._painter(smooth=True)
                    painter.setPen(pen)
                    _draw_lines(painter, lines)
                    painter.end()
                    yield

    def _draw_own(self) -> Iterator[None]:
        scale, left, top = self._scale, self._left, self._top
        lines = self.own.lines
        pen = QPen(theme().colour("brass"), OWN_LINK * self.ratio)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        # Wide lines are slow ones.
        for begin in range(0, len(lines), 20):
            painter = self._painter(smooth=True)
            painter.setPen(pen)
            column = array("d")
            for a, b, c, d in lines[begin : begin + 20]:
                column.extend(((a - left) * scale, (b - top) * scale, (c - left) * scale, (d - top) * scale))
            _draw_lines(painter, column)
            painter.end()
            yield

    def _draw_nodes(self) -> Iterator[None]:
        network, scale, left, top = self.network, self._scale, self._left, self._top
        classes = network.node_classes[self.mode]
        zoom, x, y = self.camera.zoom, network.x, network.y
        make, area = QPainter.PixmapFragment.create, self.dots.area
        columns = {radius: number for number, radius in enumerate(RADII)}
        areas = [[area(row, column) for column in range(len(RADII))] for row in range(UNKNOWN + 1)]
        known: dict[float, int] = {}
        for begin in range(0, len(self.nodes), SLICE):
            stamps = []
            for node in self.nodes[begin : begin + SLICE]:
                radius = radius_of(network, node, zoom)
                column = known.get(radius)
                if column is None:
                    column = known[radius] = columns[min(RADII, key=lambda one: abs(one - radius))]
                stamps.append(
                    make(
                        QPointF((x[node] - left) * scale, (y[node] - top) * scale),
                        areas[classes[node]][column],
                    )
                )
            painter = self._painter(smooth=False)
            painter.setBrush(QBrush(Qt.BrushStyle.NoBrush))
            painter.drawPixmapFragments(stamps, self.dots.sheet)  # type: ignore[arg-type]  # takes lists as well
            painter.end()
            yield


def _draw_lines(painter: QPainter, column: array[float]) -> None:
    """Four numbers a line, copied as they are into Qt's own array of lines."""
    count = len(column) // 4
    if count:
        # The stub of Qt's arrays lacks how they are made and that they can be seen as bytes.
        made: Any = sip.array
        lines = made(QLineF, count)
        view: Any = sip.voidptr(lines, count * LINE_BYTES)
        memoryview(view).cast("B")[:] = memoryview(column).cast("B")
        painter.drawLines(lines)
