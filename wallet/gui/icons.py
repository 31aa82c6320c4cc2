"""Our own icons: 24 px grid, 1.75 px strokes, drawn as SVG, coloured by token, rendered at the screen's own
density.

A file holds `currentColor`; a rendering is cached by name, colour and device pixels. The jar (the program's
icon) has colours of its own: its outline follows the accent, rod, ball and bolt are brass.
"""

from __future__ import annotations

from functools import lru_cache

from PyQt6.QtCore import QByteArray, QRectF, QSize, Qt
from PyQt6.QtGui import QIcon, QPainter, QPixmap
from PyQt6.QtSvg import QSvgRenderer

from wallet.gui.assets import asset
from wallet.gui.theme import theme
from wallet.gui.tokens import JAR_BRASS, JAR_OUTLINE

__all__ = ["app_icon", "icon", "jar", "names", "pixmap"]

JAR = "leyden"


def names() -> list[str]:
    return sorted(path.stem for path in asset("icons").glob("*.svg"))


@lru_cache(maxsize=96)
def _source(name: str) -> str:
    return asset("icons", f"{name}.svg").read_text(encoding="utf-8")


def _draw(source: str, device_pixels: int) -> QPixmap:
    renderer = QSvgRenderer(QByteArray(source.encode()))
    picture = QPixmap(device_pixels, device_pixels)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    renderer.render(painter, QRectF(0, 0, device_pixels, device_pixels))
    painter.end()
    return picture


@lru_cache(maxsize=512)
def _rendered(name: str, colour: str, device_pixels: int) -> QPixmap:
    return _draw(_source(name).replace("currentColor", colour), device_pixels)


@lru_cache(maxsize=32)
def _jar(outline: str, brass: str, device_pixels: int) -> QPixmap:
    return _draw(_source(JAR).replace(JAR_OUTLINE, outline).replace(JAR_BRASS, brass), device_pixels)


def pixmap(name: str, token: str, size: int, ratio: float = 1.0) -> QPixmap:
    """An icon in a token's colour, `size` logical pixels wide on a screen of the given pixel ratio."""
    picture = QPixmap(_rendered(name, getattr(theme().tokens, token), round(size * ratio)))
    picture.setDevicePixelRatio(ratio)
    return picture


def jar(size: int, ratio: float = 1.0) -> QPixmap:
    tokens = theme().tokens
    picture = QPixmap(_jar(tokens.accent, tokens.brass, round(size * ratio)))
    picture.setDevicePixelRatio(ratio)
    return picture


def icon(name: str, token: str = "text", *, off: str = "text3", on: str | None = None) -> QIcon:
    """A QIcon for buttons and menus: sharp at 1 to 3 pixels a pixel, another colour while disabled or
    checked."""
    tokens = theme().tokens
    made = QIcon()
    states = [(QIcon.Mode.Normal, QIcon.State.Off, token), (QIcon.Mode.Disabled, QIcon.State.Off, off)]
    if on is not None:
        states.append((QIcon.Mode.Normal, QIcon.State.On, on))
    for mode, state, wanted in states:
        for size in (16, 20, 24):
            for ratio in (1, 2):
                # No ratio is set: Qt picks by device pixels, and 16 at twice the density is 32 wide.
                made.addPixmap(_rendered(name, getattr(tokens, wanted), size * ratio), mode, state)
    return made


def app_icon() -> QIcon:
    made = QIcon()
    for size in (16, 24, 32, 48, 64, 128):
        made.addPixmap(_jar(JAR_OUTLINE, JAR_BRASS, size))
    return made


def size(pixels: int) -> QSize:
    scaled = theme().px(pixels)
    return QSize(scaled, scaled)
