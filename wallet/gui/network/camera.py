"""Which part of the map is seen: a place in the middle and a scale. Knows no Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Camera"]

FIT = 0.94
MOST_ZOOM = 90.0
LEAST_ZOOM = 0.6


@dataclass(frozen=True, slots=True)
class Camera:
    """Attributes: `x`, `y` of the map (0 to 1) are in the middle of a view of `width` by `height` pixels; a unit of the
    map is `scale` pixels wide."""

    width: float
    height: float
    x: float = 0.5
    y: float = 0.5
    scale: float = 1.0

    @classmethod
    def fitting(cls, width: float, height: float) -> Camera:
        """The whole map."""
        width, height = max(width, 1.0), max(height, 1.0)
        return cls(width, height, scale=FIT * min(width, height))

    @property
    def fit_scale(self) -> float:
        return FIT * min(self.width, self.height)

    @property
    def zoom(self) -> float:
        """1 for the whole map."""
        return self.scale / self.fit_scale

    def to_view(self, x: float, y: float) -> tuple[float, float]:
        return (x - self.x) * self.scale + self.width / 2, (y - self.y) * self.scale + self.height / 2

    def to_map(self, left: float, top: float) -> tuple[float, float]:
        return (left - self.width / 2) / self.scale + self.x, (top - self.height / 2) / self.scale + self.y

    def bounds(self, margin: float = 0.0) -> tuple[float, float, float, float]:
        """What is seen of the map, with a margin in pixels: least x, least y, most x, most y."""
        return (
            *self.to_map(-margin, -margin),
            *self.to_map(self.width + margin, self.height + margin),
        )

    def panned(self, right: float, down: float) -> Camera:
        """What is seen after the map was pulled by so many pixels; its middle stays within the map."""
        return replace(
            self,
            x=min(max(self.x - right / self.scale, 0.0), 1.0),
            y=min(max(self.y - down / self.scale, 0.0), 1.0),
        )

    def zoomed(self, factor: float, left: float, top: float) -> Camera:
        """Closer, or further away; what is at the given pixel stays there."""
        least, most = self.fit_scale * LEAST_ZOOM, self.fit_scale * MOST_ZOOM
        scale = min(max(self.scale * factor, least), most)
        at_x, at_y = self.to_map(left, top)
        return replace(
            self,
            x=min(max(at_x - (left - self.width / 2) / scale, 0.0), 1.0),
            y=min(max(at_y - (top - self.height / 2) / scale, 0.0), 1.0),
            scale=scale,
        )

    def at(self, x: float, y: float, zoom: float | None = None, inset: float = 0.0) -> Camera:
        """The same with another place in the middle, and at least that close; `inset` pixels at the right do not
        count."""
        scale = self.scale if zoom is None else max(self.scale, zoom * self.fit_scale)
        return replace(self, x=x + inset / 2 / scale, y=y, scale=scale)

    def around(self, places: list[tuple[float, float]], inset: float = 0.0) -> Camera:
        """All of these places, with room around them, beside an inset at the right."""
        if not places:
            return self
        left, right = min(x for x, _ in places), max(x for x, _ in places)
        low, high = min(y for _, y in places), max(y for _, y in places)
        room = max(self.width - inset, 100.0)
        wide = max((right - left) / (0.7 * room), (high - low) / (0.6 * self.height), 1e-9)
        scale = min(1 / wide, self.fit_scale * 12)
        return replace(self, x=(left + right) / 2 + inset / 2 / scale, y=(low + high) / 2, scale=scale)

    def resized(self, width: float, height: float) -> Camera:
        width, height = max(width, 1.0), max(height, 1.0)
        kept = replace(self, width=width, height=height)
        return replace(kept, scale=self.zoom * kept.fit_scale)

    def mixed(self, other: Camera, share: float) -> Camera:
        """On the way to another one: 0 is here, 1 is there."""
        scale = self.scale * (other.scale / self.scale) ** share
        return replace(
            self, x=self.x + (other.x - self.x) * share, y=self.y + (other.y - self.y) * share, scale=scale
        )
