"""The way of a payment on the map: numbered hops with arrows, and where an attempt ended, dashes and a cross."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import atan2, cos, hypot, sin

from PyQt6.QtCore import QPointF, QRectF, Qt
from PyQt6.QtGui import QPainter, QPen, QPolygonF

from wallet.gui.network.camera import Camera
from wallet.gui.theme import theme
from wallet.node.map_api import NetworkMap, RouteAttempt

__all__ = ["Drawn", "draw_route", "drawn_attempt"]

LINE = 4.0
OUTLINE = 1.5
ARROW = 7.0
BADGE = 9.0
CROSS = 7.0


@dataclass(frozen=True, slots=True)
class Drawn:
    """An attempt with places: `nodes` are numbers of the map, None for one that is not on it; `places` has one each.

    `failed_at` is the hop that did not carry it: what follows was never reached. `lost`: it failed, and nobody can say
    where.
    """

    nodes: tuple[int | None, ...]
    places: tuple[tuple[float, float], ...]
    failed_at: int | None = None
    lost: bool = False


def drawn_attempt(
    network: NetworkMap, attempt: RouteAttempt, own_id: str, own_place: tuple[float, float] | None
) -> Drawn:
    """Finds the places; a node that is not on the map stands between those before and behind it."""
    nodes = tuple(network.node(node_id) for node_id in attempt.nodes)
    known: list[tuple[float, float] | None] = []
    for node_id, node in zip(attempt.nodes, nodes, strict=True):
        if node_id == own_id and own_place is not None:
            known.append(own_place)
        else:
            known.append((network.x[node], network.y[node]) if node is not None else None)
    places: list[tuple[float, float]] = []
    for number, place in enumerate(known):
        if place is not None:
            places.append(place)
            continue
        before = places[-1] if places else None
        behind = next((later for later in known[number + 1 :] if later is not None), None)
        if before is not None and behind is not None:
            places.append(((before[0] + behind[0]) / 2, (before[1] + behind[1]) / 2 + 0.01))
        else:
            # At an end: a little off, away from the middle.
            x, y = before or behind or (0.5, 0.5)
            away = max(hypot(x - 0.5, y - 0.5), 1e-6)
            places.append(
                (
                    min(max(x + 0.04 * (x - 0.5) / away, 0), 1),
                    min(max(y + 0.04 * (y - 0.5) / away + 0.01, 0), 1),
                )
            )
    lost = bool(attempt.reason) and attempt.failed_at is None and not attempt.arrived
    return Drawn(nodes, tuple(places), attempt.failed_at, lost)


def draw_route(painter: QPainter, camera: Camera, drawn: Drawn) -> None:
    """Every hop in brass with its number; a failed one in `danger`, dashed to a cross."""
    colour = theme().colour
    points = [QPointF(*camera.to_view(*place)) for place in drawn.places]
    hops = list(pairwise(points))
    reached = hops if drawn.failed_at is None else hops[: drawn.failed_at]
    if drawn.lost:
        for a, b in hops:
            _dashes(painter, a, b)
        reached = []
    for a, b in reached:
        _line(painter, a, b, LINE + 2 * OUTLINE, "network_canvas")
    for a, b in reached:
        _line(painter, a, b, LINE, "brass")
        _arrow(painter, a, b)
    if drawn.failed_at is not None and drawn.failed_at < len(hops):
        _dashes(painter, *hops[drawn.failed_at])
        for start, end in hops[drawn.failed_at + 1 :]:
            pen = QPen(colour("text3"), 1.5)
            pen.setDashPattern([2, 3])
            painter.setPen(pen)
            painter.drawLine(start, end)
    for point in points:
        painter.setPen(QPen(colour("network_canvas"), 1.5))
        painter.setBrush(colour("brass"))
        painter.drawEllipse(point, 5, 5)
    for number, (a, b) in enumerate(hops, 1):
        if drawn.failed_at is None or number - 1 <= drawn.failed_at:
            _badge(painter, (a + b) / 2, str(number), failed=number - 1 == drawn.failed_at)
    if drawn.failed_at is not None and drawn.failed_at < len(hops):
        _cross(painter, hops[drawn.failed_at][1])


def _line(painter: QPainter, a: QPointF, b: QPointF, width: float, token: str) -> None:
    pen = QPen(theme().colour(token), width)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    painter.setPen(pen)
    painter.drawLine(a, b)


def _dashes(painter: QPainter, a: QPointF, b: QPointF) -> None:
    pen = QPen(theme().colour("danger"), LINE - 1)
    pen.setDashPattern([2.5, 2.0])
    painter.setPen(pen)
    painter.drawLine(a, b)


def _arrow(painter: QPainter, a: QPointF, b: QPointF) -> None:
    """Three quarters of the way, so that the number has the middle."""
    if hypot(b.x() - a.x(), b.y() - a.y()) < 4 * ARROW:
        return
    angle = atan2(b.y() - a.y(), b.x() - a.x())
    tip = QPointF(a.x() + 0.78 * (b.x() - a.x()), a.y() + 0.78 * (b.y() - a.y()))
    turned: Callable[[float, float], QPointF] = lambda away, turn: QPointF(  # noqa: E731
        tip.x() - away * cos(angle + turn), tip.y() - away * sin(angle + turn)
    )
    painter.setPen(QPen(theme().colour("network_canvas"), OUTLINE))
    painter.setBrush(theme().colour("brass"))
    painter.drawPolygon(QPolygonF([tip, turned(1.8 * ARROW, 0.45), turned(1.8 * ARROW, -0.45)]))


def _badge(painter: QPainter, middle: QPointF, text: str, *, failed: bool) -> None:
    token = "danger" if failed else "brass"
    painter.setPen(QPen(theme().colour(token), 1.5))
    painter.setBrush(theme().colour("network_canvas"))
    # It grows with the number that it holds.
    radius = BADGE * theme().scale_percent / 100
    painter.drawEllipse(middle, radius, radius)
    painter.setFont(theme().font("caption"))
    painter.setPen(theme().colour("text"))
    area = QRectF(middle.x() - radius, middle.y() - radius, 2 * radius, 2 * radius)
    painter.drawText(area, Qt.AlignmentFlag.AlignCenter, text)


def _cross(painter: QPainter, at: QPointF) -> None:
    for width, token in ((7.0, "network_canvas"), (3.5, "danger")):
        pen = QPen(theme().colour(token), width)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        painter.setPen(pen)
        painter.drawLine(at + QPointF(-CROSS, -CROSS), at + QPointF(CROSS, CROSS))
        painter.drawLine(at + QPointF(-CROSS, CROSS), at + QPointF(CROSS, -CROSS))
