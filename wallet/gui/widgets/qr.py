"""QR codes, drawn module by module from qrcode's matrix: black on white in every scheme, sharp at any
size."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import QRect, QRectF, QSize, Qt
from PyQt6.QtGui import QColor, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PyQt6.QtWidgets import QSizePolicy, QWidget

from wallet.gui.theme import theme
from wallet.gui.tokens import QR_DARK, QR_LIGHT, QR_QUIET_MODULES, QR_SIDE
from wallet.i18n import _

__all__ = ["QrCode", "matrix_image"]

SHORT = 120
"""Characters of a text that gets the stronger error correction, and the best of the eight masks."""
MASK = 0
"""An invoice looks like noise: any mask will do, and trying all eight would hold the window up."""


def matrix_image(text: str) -> QImage:
    """One pixel a module, four of margin; level L, which reads best when there is much to hold."""
    import qrcode
    from qrcode.constants import ERROR_CORRECT_L, ERROR_CORRECT_M

    is_short = len(text) <= SHORT
    level = ERROR_CORRECT_M if is_short else ERROR_CORRECT_L
    mask = None if is_short else MASK
    code = qrcode.QRCode(error_correction=level, border=QR_QUIET_MODULES, mask_pattern=mask)
    code.add_data(text)
    code.make(fit=True)
    rows = code.get_matrix()
    side = len(rows)
    image = QImage(side, side, QImage.Format.Format_RGB32)
    image.fill(QColor(QR_LIGHT))
    dark = QColor(QR_DARK).rgb()
    for y, row in enumerate(rows):
        for x, module in enumerate(row):
            if module:
                image.setPixel(x, y, dark)
    return image


class QrCode(QWidget):
    """A code at least 320 px wide. A click, or Enter, shows it as large as the screen."""

    def __init__(self, *, side: int = QR_SIDE, on_click: Callable[[], object] | None = None) -> None:
        super().__init__()
        self._image: QImage | None = None
        self._text = ""
        self._on_click = on_click
        self._side = side
        self.setAccessibleName(_("QR code"))
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setFixedSize(side, side)  # it is no text, and does not grow with it
        if on_click is not None:
            self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            self.setCursor(Qt.CursorShape.PointingHandCursor)
            self.setToolTip(_("Show it as large as the screen"))
            self.setAccessibleDescription(_("Enter shows it as large as the screen"))
        else:
            self.setAccessibleDescription(_("For another program's camera"))

    def text(self) -> str:
        return self._text

    def show_text(self, text: str) -> None:
        if text != self._text:
            self._text = text
            self._image = matrix_image(text) if text else None
            if self._image is not None:
                # Whole pixels a module, at least the side wanted where that is not much more.
                modules, wanted = self._image.width(), self._side
                pixels = -(-wanted // modules)
                if pixels * modules > wanted * 9 // 8:
                    pixels = max(1, wanted // modules)
                self.setFixedSize(max(wanted, pixels * modules), max(wanted, pixels * modules))
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(theme().px(self._side), theme().px(self._side))

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        if self._on_click is not None and self._image is not None:
            self._on_click()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        keys = {Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space}
        if event is not None and event.key() in keys and self._on_click is not None:
            self._on_click()
            return
        super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(QR_LIGHT))
        radius = theme().px(10)
        painter.drawRoundedRect(QRectF(self.rect()), radius, radius)
        if self._image is None:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        # Whole device pixels a module, so that no edge is blurred.
        ratio = self.devicePixelRatioF()
        modules = self._image.width()
        device = max(1, int(min(self.width(), self.height()) * ratio) // modules)
        side = device * modules / ratio
        left, top = (self.width() - side) / 2, (self.height() - side) / 2
        target = QRectF(round(left * ratio) / ratio, round(top * ratio) / ratio, side, side)
        painter.drawImage(target, self._image, QRectF(QRect(0, 0, modules, modules)))


class QrWindow(QWidget):
    """A code over the whole screen; any key or click closes it."""

    def __init__(self, text: str, word: str, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        from wallet.gui.widgets.basic import Label, Pill, vbox

        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(_("QR code"))
        self.setProperty("ground", "canvas")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        screen = parent.screen()
        room = min(screen.availableGeometry().width(), screen.availableGeometry().height()) if screen else 800
        code = QrCode(side=max(320, room * 100 // theme().scale_percent - 160), on_click=self.close)
        code.show_text(text)
        centre = Qt.AlignmentFlag.AlignHCenter
        box = vbox("stretch", spacing=16)
        if word:
            box.addWidget(Pill(word, "play", "sandbox"), 0, centre)
        box.addWidget(code, 0, centre)
        box.addWidget(Label(_("Press any key to go back"), "body", "text2"), 0, centre)
        box.addStretch(1)
        self.setLayout(box)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        self.close()

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        self.close()
