"""Reads QR codes out of pictures, in a thread of its own; of frames that wait, the newest wins.

zxing releases the interpreter's lock while it looks, so that neither the window nor the node waits. A picture is
looked at as it is first; what is noisy, tiny or low in contrast gets a second look in another size or with another
threshold.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import zxingcpp
from PyQt6 import sip
from PyQt6.QtCore import QObject, QSize, Qt, pyqtSignal
from PyQt6.QtGui import QColor, QImage, QImageReader, QPainter

from wallet.gui.tokens import QR_LIGHT

__all__ = ["MAX_TEXT", "Reader", "load_picture", "read_picture"]

MAX_TEXT = 8192
"""More than any code holds (7,089 digits)."""
MAX_PIXELS = 64_000_000
"""No screen has as many; a picture that unpacks to more is not opened."""
FORMATS = frozenset({b"png", b"jpeg", b"webp", b"bmp", b"gif", b"pbm", b"pgm", b"ppm"})
"""Pixels only, by what the file holds and not by its name: a drawing or a document may be drawn at any size, or lead
elsewhere."""
SMALL_SIDE = 1_200
"""Below this a picture is looked at enlarged as well."""


def _grey(image: QImage) -> QImage:
    """In shades of grey; what shines through is paper."""
    if image.hasAlphaChannel():
        paper = QImage(image.size(), QImage.Format.Format_RGB32)
        paper.fill(QColor(QR_LIGHT))
        painter = QPainter(paper)
        painter.drawImage(0, 0, image)
        painter.end()
        image = paper
    return image.convertToFormat(QImage.Format.Format_Grayscale8)


def _looks(grey: QImage) -> Iterator[tuple[QImage, zxingcpp.Binarizer]]:
    """The ways to look at a picture, the likeliest first."""
    local, whole = zxingcpp.Binarizer.LocalAverage, zxingcpp.Binarizer.GlobalHistogram
    yield grey, local
    yield grey, whole
    keep, smooth = Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation
    # Each pixel the average of four: noise is halved, where modules are large enough to stand it.
    half = grey.scaled(QSize(max(1, grey.width() // 2), max(1, grey.height() // 2)), keep, smooth)
    yield half, local
    yield half, whole
    thirds = grey.scaled(QSize(max(1, grey.width() * 2 // 3), max(1, grey.height() * 2 // 3)), keep, smooth)
    yield thirds, local
    if max(grey.width(), grey.height()) <= SMALL_SIDE:
        yield grey.scaled(grey.size() * 2, keep, smooth), local
        yield grey.scaled(grey.size() * 3, keep, Qt.TransformationMode.FastTransformation), whole


def _read(grey: QImage, binarizer: zxingcpp.Binarizer) -> str | None:
    bits = grey.constBits()
    stride, height, width = grey.bytesPerLine(), grey.height(), grey.width()
    raw = bits.asstring(stride * height)
    view = memoryview(raw).cast("B", (height, stride))
    if stride != width:
        # zxing wants rows without padding.
        packed = b"".join(raw[y * stride : y * stride + width] for y in range(height))
        view = memoryview(packed).cast("B", (height, width))
    formats = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
    for code in zxingcpp.read_barcodes(view, formats=formats, binarizer=binarizer):
        text = str(code.text).strip()
        if text:
            return text[:MAX_TEXT]
    return None


def read_picture(image: QImage, *, quick: bool = False) -> str | None:
    """The text of a QR code in the picture, if there is one. `quick` takes one look only: the next frame comes soon."""
    if image.isNull():
        return None
    grey = _grey(image)
    for look, binarizer in _looks(grey):
        text = _read(look, binarizer)
        if text is not None or quick:
            return text
    return None


def load_picture(path: str) -> QImage | None:
    """A picture from a file; None where it is none, of an unusual kind, or absurdly large."""
    if not Path(path).is_file():
        return None
    reader = QImageReader(path)
    reader.setAutoTransform(True)
    reader.setDecideFormatFromContent(True)
    if reader.format().data() not in FORMATS:
        return None
    size = reader.size()
    if not size.isValid() or size.width() * size.height() > MAX_PIXELS:
        return None
    image = reader.read()
    return None if image.isNull() else image


class Reader(QObject):
    """Reads one picture at a time; while one is being read, the newest that came waits, the others are dropped.

    Signals: `answered(object)`, a text or None, in the thread this was made in, for each picture that was read.
    """

    answered = pyqtSignal(object)
    _done = pyqtSignal(object)

    def __init__(self, parent: QObject | None = None, *, quick: bool = False) -> None:
        super().__init__(parent)
        self._quick = quick
        self._waiting: QImage | None = None
        self._busy = False
        self._done.connect(self._finished, Qt.ConnectionType.QueuedConnection)  # type: ignore[call-arg]  # stub

    @property
    def is_busy(self) -> bool:
        return self._busy

    def submit(self, image: QImage) -> None:
        if self._busy:
            self._waiting = image
            return
        self._busy = True
        threading.Thread(target=self._work, args=(image,), name="qr", daemon=True).start()

    def _work(self, image: QImage) -> None:
        try:
            text = read_picture(image, quick=self._quick)
        except Exception:
            # A picture that breaks its reader holds nothing that could be paid.
            text = None
        # Whoever asked may be gone by now, or be going at this moment.
        with contextlib.suppress(RuntimeError):
            if not sip.isdeleted(self):
                self._done.emit(text)

    def _finished(self, text: object) -> None:
        self._busy = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None and text is None:
            self.submit(waiting)
        self.answered.emit(text)
