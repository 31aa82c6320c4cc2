"""The camera's picture, until a QR code is in it."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import QRectF, QSize, Qt
from PyQt6.QtGui import QImage, QPainter, QPainterPath, QPaintEvent
from PyQt6.QtWidgets import QComboBox, QSizePolicy, QWidget

from wallet.gui.scan import camera as cameras
from wallet.gui.scan.reader import Reader
from wallet.gui.theme import theme
from wallet.gui.widgets.basic import Label
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.notices import Banner
from wallet.i18n import _

__all__ = ["CameraDialog"]

VIEW_WIDTH, VIEW_HEIGHT = 480, 320


class _View(QWidget):
    """The newest frame, mirrored as one expects of oneself, cut to fill."""

    def __init__(self) -> None:
        super().__init__()
        self._image: QImage | None = None
        self.setAccessibleName(_("The camera's picture"))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(theme().px(VIEW_HEIGHT))

    def show_frame(self, image: QImage) -> None:
        self._image = image
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(theme().px(VIEW_WIDTH), theme().px(VIEW_HEIGHT))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        shape = QPainterPath()
        shape.addRoundedRect(QRectF(self.rect()), theme().px(10), theme().px(10))
        painter.setClipPath(shape)
        painter.fillRect(self.rect(), theme().colour("raised"))
        if self._image is None:
            painter.setPen(theme().colour("text2"))
            painter.setFont(theme().font("body"))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, _("Waiting for the camera"))
            return
        size = self._image.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatioByExpanding)
        painter.translate(self.width(), 0)
        painter.scale(-1, 1)
        left, top = (self.width() - size.width()) / 2, (self.height() - size.height()) / 2
        painter.drawImage(QRectF(left, top, size.width(), size.height()), self._image)


class CameraDialog(Dialog):
    """Holds the camera while it is open; closes itself with the first code, which goes to `on_text`."""

    def __init__(self, parent: QWidget, on_text: Callable[[str], object], *, network: str) -> None:
        super().__init__(parent, _("Scan with the camera"), network=network, width=VIEW_WIDTH + 48)
        self._on_text = on_text
        self.camera = cameras.open_camera()
        self.reader = Reader(self, quick=True)
        self.reader.answered.connect(self._answered)
        self.view = _View()
        self.body.addWidget(self.view)
        self.banner = Banner("", "warning")
        self.body.addWidget(self.banner)
        names = self.camera.names()
        self.choice = QComboBox()
        self.choice.setAccessibleName(_("Camera"))
        self.choice.setFont(theme().font("body"))
        self.choice.addItems(names)
        self.choice.setVisible(len(names) > 1)
        self.choice.currentIndexChanged.connect(self.camera.start)
        self.body.addWidget(self.choice)
        self.body.addWidget(
            Label(
                _("Hold the code in front of the camera. It is read on this computer, and nothing is kept."),
                "body",
                "text2",
                wrap=True,
            )
        )
        self.add_cancel()
        self.camera.frame.connect(self._came)
        self.camera.failed.connect(self._failed)
        self.finished.connect(lambda _result: self.camera.stop())

    def begin(self) -> None:
        self.open()
        self.camera.start(max(0, self.choice.currentIndex()))

    def _came(self, image: QImage) -> None:
        self.banner.say("")
        self.view.show_frame(image)
        self.reader.submit(image)

    def _failed(self, sentence: str) -> None:
        self.banner.say(sentence, "warning")

    def _answered(self, text: object) -> None:
        if isinstance(text, str) and self.isVisible():
            self.accept()
            self._on_text(text)
