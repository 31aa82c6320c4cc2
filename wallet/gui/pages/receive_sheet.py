"""A request on paper or as a picture: the code with its words, for a shop's counter or a letter."""

from __future__ import annotations

from pathlib import Path

from PyQt6.QtCore import QRectF, Qt
from PyQt6.QtGui import QColor, QFont, QImage, QPainter
from PyQt6.QtWidgets import QWidget

from wallet.gui.theme import theme
from wallet.gui.tokens import QR_DARK, QR_LIGHT
from wallet.gui.widgets.qr import matrix_image
from wallet.i18n import _

__all__ = ["draw_sheet", "print_sheet", "save_picture", "sheet_image"]

SHEET_WIDTH, SHEET_HEIGHT = 1200, 1500


def draw_sheet(painter: QPainter, area: QRectF, code: str, lines: list[str]) -> None:
    """The code at the top, as large as the width lets it, and below it one line each."""
    image = matrix_image(code)
    side = min(area.width(), area.height() * 0.78)
    whole = max(1, int(side) // image.width()) * image.width()
    left = area.left() + (area.width() - whole) / 2
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
    painter.drawImage(QRectF(left, area.top(), whole, whole), image)
    font = QFont(theme().font("body"))
    font.setPixelSize(max(8, int(area.height() / 42)))
    painter.setFont(font)
    painter.setPen(QColor(QR_DARK))
    top = area.top() + whole + area.height() / 40
    for line in lines:
        words = QRectF(area.left(), top, area.width(), area.height() - (top - area.top()))
        flags = int(Qt.AlignmentFlag.AlignHCenter) | int(Qt.TextFlag.TextWrapAnywhere)
        used = painter.boundingRect(words, flags, line)
        painter.drawText(words, flags, line)
        top = used.bottom() + area.height() / 80


def sheet_image(code: str, lines: list[str]) -> QImage:
    image = QImage(SHEET_WIDTH, SHEET_HEIGHT, QImage.Format.Format_RGB32)
    image.fill(QColor(QR_LIGHT))
    painter = QPainter(image)
    draw_sheet(painter, QRectF(60, 40, SHEET_WIDTH - 120, SHEET_HEIGHT - 80), code, lines)
    painter.end()
    return image


def save_picture(path: Path, code: str, lines: list[str]) -> str:
    """Writes a PNG; a sentence where that fails, empty otherwise. What is there is not written over."""
    target = path if path.suffix else path.with_suffix(".png")
    if target.exists():
        return _("{path} is there already: choose another name.").format(path=target)
    if not sheet_image(code, lines).save(str(target)):
        return _("{path} cannot be written. Choose another folder.").format(path=target)
    return ""


def print_sheet(parent: QWidget, code: str, lines: list[str]) -> None:
    """Opens the desktop's print dialog, and prints a page."""
    from PyQt6.QtPrintSupport import QPrintDialog, QPrinter

    printer = QPrinter(QPrinter.PrinterMode.HighResolution)
    dialog = QPrintDialog(printer, parent)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)

    def go() -> None:
        painter = QPainter(printer)
        area = QRectF(printer.pageRect(QPrinter.Unit.DevicePixel))
        draw_sheet(painter, area.adjusted(area.width() / 8, 0, -area.width() / 8, 0), code, lines)
        painter.end()

    dialog.accepted.connect(go)
    dialog.open()
