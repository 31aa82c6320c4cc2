"""Pictures of QR codes as screens and cameras give them: large, noisy, inverted, turned. No number library is needed:
noise is random bytes sent through a table of the normal distribution, and whole pictures are mixed as one number."""

from __future__ import annotations

import random
import statistics

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QColor, QImage, QPainter, QTransform

from wallet.gui.widgets.qr import matrix_image

__all__ = ["SCREEN", "long_text", "on_a_screen", "picture_of", "turned"]

SCREEN = (3840, 2160)


def long_text(length: int) -> str:
    """Looks like an invoice; always the same."""
    dice = random.Random(length)
    return "lnbcrt1" + "".join(dice.choice("qpzry9x8gf2tvdw0s3jn54khce6mua7l") for _ in range(length - 7))


def picture_of(text: str, pixels: int = 4) -> QImage:
    """The code with its margin, so many pixels a module."""
    small = matrix_image(text)
    return small.scaled(small.width() * pixels, small.height() * pixels)


def _table(base: int, sigma: int) -> bytes:
    """What a random byte makes of a grey: the grey, with noise around it."""
    if not sigma:
        return bytes([base]) * 256
    normal = statistics.NormalDist(0, sigma)
    return bytes(max(0, min(255, round(base + normal.inv_cdf((i + 0.5) / 256)))) for i in range(256))


def on_a_screen(text: str, *, pixels: int, sigma: int, inverted: bool) -> QImage:
    """Somewhere on a large screen, with noise all over it."""
    width, height = SCREEN
    code = matrix_image(text)
    side = code.width()
    left, top = 1_411, 333
    mask = bytearray(width * height)
    for y in range(side):
        line = b"".join(
            (b"\xff" if code.pixelColor(x, y).red() < 128 else b"\0") * pixels for x in range(side)
        )
        for copy in range(pixels):
            start = (top + y * pixels + copy) * width + left
            mask[start : start + side * pixels] = line
    noise = random.Random(len(text) + sigma).randbytes(width * height)
    light, dark = (0, 255) if inverted else (255, 0)
    paper = int.from_bytes(noise.translate(_table(light, sigma)), "little")
    ink = int.from_bytes(noise.translate(_table(dark, sigma)), "little")
    mixed = (paper ^ ink) & int.from_bytes(mask, "little") ^ paper
    raw = mixed.to_bytes(width * height, "little")
    return QImage(raw, width, height, width, QImage.Format.Format_Grayscale8).copy()


def turned(text: str, degrees: int, pixels: int = 4) -> QImage:
    """The code, turned, on white paper."""
    code = picture_of(text, pixels).transformed(
        QTransform().rotate(degrees), Qt.TransformationMode.SmoothTransformation
    )
    paper = QImage(code.width() + 80, code.height() + 80, QImage.Format.Format_RGB32)
    paper.fill(QColor("white"))
    painter = QPainter(paper)
    painter.drawImage(40, 40, code)
    painter.end()
    return paper
