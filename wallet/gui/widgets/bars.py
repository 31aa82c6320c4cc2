"""Bars that show how an amount is divided: a channel's, drawn to scale, and the balance's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PyQt6.QtCore import QPointF, QRectF, QSize, Qt
from PyQt6.QtGui import QBrush, QColor, QPainter, QPainterPath, QPaintEvent, QPen
from PyQt6.QtWidgets import QSizePolicy, QWidget

from wallet.gui import format as fmt
from wallet.gui.theme import theme
from wallet.i18n import _
from wallet.node.api import ChannelView

__all__ = ["BalanceBar", "CapacityBar", "Segment", "Swatch", "channel_segments"]

HEIGHT = 12
GAP = 2


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar. `look` is one of send, receive, inflight, reserve, reserve-peer, incoming, locked."""

    look: str
    amount_msat: int


def _stripes(painter: QPainter, area: QRectF, colour: QColor, width: float, step: float) -> None:
    """45 degree stripes within the clip that is set."""
    painter.setPen(QPen(colour, width))
    x = area.left() - area.height()
    while x < area.right() + area.height():
        painter.drawLine(QPointF(x, area.bottom()), QPointF(x + area.height(), area.top()))
        x += step


def paint_segment(painter: QPainter, area: QRectF, look: str, shape: QPainterPath) -> None:
    """One segment, clipped to the bar's rounded shape."""
    look_of = theme().colour
    painter.save()
    clip = QPainterPath()
    clip.addRect(area)
    inside = shape.intersected(clip)
    painter.setPen(Qt.PenStyle.NoPen)
    outline: QColor | None = None
    if look == "send":
        painter.fillPath(inside, look_of("send"))
    elif look in {"receive", "locked"}:
        painter.fillPath(inside, look_of("receive") if look == "receive" else look_of("raised"))
        outline = look_of("field")
    elif look in {"inflight", "incoming"}:
        painter.fillPath(inside, look_of("brass", 70))
        painter.setClipPath(inside)
        _stripes(painter, area, look_of("brass"), 3, 7)
        outline = look_of("brass")
    else:
        painter.fillPath(inside, look_of("raised"))
        painter.setClipPath(inside)
        _stripes(painter, area, look_of("field"), 1, 4)
        outline = look_of("field")
    painter.restore()
    if outline is not None:
        painter.save()
        painter.setClipPath(inside)
        painter.setPen(QPen(outline, 2))  # half of it lies outside the clip
        painter.setBrush(QBrush(Qt.BrushStyle.NoBrush))
        painter.drawPath(inside)
        painter.restore()


def paint_bar(painter: QPainter, bar: QRectF, segments: Sequence[Segment]) -> None:
    """Segments side by side with gaps of 2 px; each that is not nothing gets at least 4 px."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    shown = [segment for segment in segments if segment.amount_msat > 0]
    shape = QPainterPath()
    radius = bar.height() / 2
    shape.addRoundedRect(bar, radius, radius)
    if not shown:
        painter.fillPath(shape, theme().colour("raised"))
        return
    total_msat = sum(segment.amount_msat for segment in shown)
    room = bar.width() - GAP * (len(shown) - 1)
    least = min(4.0 * bar.height() / HEIGHT, room / len(shown))
    widths = [max(least, room * segment.amount_msat / total_msat) for segment in shown]
    excess = sum(widths) - room
    if excess > 0:
        wide = max(range(len(widths)), key=lambda i: widths[i])
        widths[wide] -= excess
    x = bar.left()
    for segment, width in zip(shown, widths, strict=True):
        paint_segment(painter, QRectF(x, bar.top(), width, bar.height()), segment.look, shape)
        x += width + GAP


class _Bar(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self.segments: tuple[Segment, ...] = ()
        self.setFixedHeight(theme().px(HEIGHT))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        return QSize(theme().px(240), theme().px(HEIGHT))

    def bar_width(self) -> float:
        return float(self.width())

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        # Half a pixel inside, so that outlines are whole.
        area = QRectF(0, 0, self.bar_width(), self.height())
        paint_bar(painter, area, self.segments)


def split(
    *, local_msat: int, remote_msat: int, can_send_msat: int, can_receive_msat: int, inflight_msat: int
) -> tuple[Segment, ...]:
    """What can be sent and received is solid; what the rules keep back of each side is hatched."""
    send_msat = max(0, min(can_send_msat, local_msat))
    receive_msat = max(0, min(can_receive_msat, remote_msat))
    return (
        Segment("reserve", max(0, local_msat - send_msat)),
        Segment("send", send_msat),
        Segment("inflight", inflight_msat),
        Segment("receive", receive_msat),
        Segment("reserve-peer", max(0, remote_msat - receive_msat)),
    )


def channel_segments(channel: ChannelView) -> tuple[Segment, ...]:
    """A channel's bar, from left to right."""
    return split(
        local_msat=channel.local_msat,
        remote_msat=channel.remote_msat,
        can_send_msat=channel.can_send_msat,
        can_receive_msat=channel.can_receive_msat,
        inflight_msat=channel.inflight_out_msat + channel.inflight_in_msat,
    )


class CapacityBar(_Bar):
    """A channel, from left to right: own reserve, can send, in flight, can receive, the peer's reserve.

    Its length is to scale with the largest channel beside it, and at least 48 px.
    """

    def __init__(self) -> None:
        super().__init__()
        self._capacity_sat = 1
        self._scale_sat = 1

    def show_channel(
        self,
        *,
        capacity_sat: int,
        local_msat: int,
        remote_msat: int,
        can_send_msat: int,
        can_receive_msat: int,
        inflight_msat: int,
        scale_sat: int | None = None,
    ) -> None:
        self._capacity_sat = max(1, capacity_sat)
        self._scale_sat = max(self._capacity_sat, scale_sat or 0)
        self.segments = split(
            local_msat=local_msat,
            remote_msat=remote_msat,
            can_send_msat=can_send_msat,
            can_receive_msat=can_receive_msat,
            inflight_msat=inflight_msat,
        )
        self.setAccessibleName(
            _("Capacity {capacity}: can send {send}, can receive {receive}").format(
                capacity=fmt.amount_sat(capacity_sat),
                send=fmt.amount(can_send_msat),
                receive=fmt.amount(can_receive_msat),
            )
        )
        self.update()

    def bar_width(self) -> float:
        return max(theme().px(48), self.width() * self._capacity_sat / self._scale_sat)


class BalanceBar(_Bar):
    """The balance, stacked: spendable, incoming, locked, reserved. Its legend stands beside it in words."""

    def show_segments(self, segments: Sequence[Segment]) -> None:
        self.segments = tuple(segments)
        self.update()


class Swatch(QWidget):
    """The mark of a segment in a legend."""

    def __init__(self, look: str) -> None:
        super().__init__()
        self._look = look
        side = theme().px(12)
        self.setFixedSize(side, side)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(0, 0, self.width(), self.height())
        shape = QPainterPath()
        shape.addRoundedRect(area, theme().px(3), theme().px(3))
        paint_segment(painter, area, self._look, shape)
