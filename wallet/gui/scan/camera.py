"""The camera behind one small face, so that tests can put another in its place.

QtMultimedia is imported when a camera is first wanted: it costs a quarter of a second, and needs a library that a
bare system may lack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PyQt6.QtCore import QCameraPermission, QCoreApplication, QObject, Qt, pyqtSignal
from PyQt6.QtGui import QImage

from wallet.i18n import _

__all__ = ["Camera", "QtCamera", "open_camera"]


class Camera(QObject):
    """Signals: `frame(object)`, a `QImage`; `failed(str)`, a sentence."""

    frame = pyqtSignal(object)
    failed = pyqtSignal(str)

    def names(self) -> list[str]:
        """What cameras there are, as the system calls them."""
        return []

    def start(self, index: int = 0) -> None:
        """Starts one of `names`, in place of one that runs; frames and failures come as signals."""

    def stop(self) -> None:
        """No frame comes after it."""


class QtCamera(Camera):
    """The computer's cameras."""

    def __init__(self) -> None:
        super().__init__()
        self._media: Any = None
        self._problem = ""
        self._parts: tuple[Any, ...] = ()
        self._asks_for: int | None = None
        try:
            from PyQt6 import QtMultimedia
        except ImportError:
            self._problem = _(
                "Cameras cannot be used: a part of the system is missing (on Debian and Ubuntu the package "
                "libpulse0). An image file or a part of the screen works without it."
            )
            return
        self._media = QtMultimedia

    def _devices(self) -> list[Any]:
        return [] if self._media is None else list(self._media.QMediaDevices.videoInputs())

    def names(self) -> list[str]:
        return [str(device.description()) for device in self._devices()]

    def start(self, index: int = 0) -> None:
        self.stop()
        devices = self._devices()
        if not 0 <= index < len(devices):
            self.failed.emit(
                self._problem
                or _("There is no camera. Choose an image file or a part of the screen, or plug a camera in.")
            )
            return
        leave = self._leave()
        if leave == Qt.PermissionStatus.Undetermined:
            self._asks_for = index
            self._ask_for_leave()
        elif leave == Qt.PermissionStatus.Denied:
            self.failed.emit(
                _(
                    "The system does not let Leyden use the camera. Allow it in the system's privacy settings and "
                    "try again; an image file or a part of the screen works without it."
                )
            )
        else:
            self._open(devices[index])

    def _leave(self) -> Qt.PermissionStatus:
        """Whether the system lets us: macOS asks the person, and a camera opened before that stays dark."""
        app = QCoreApplication.instance()
        return Qt.PermissionStatus.Granted if app is None else app.checkPermission(QCameraPermission())

    def _ask_for_leave(self) -> None:
        app = QCoreApplication.instance()
        if app is not None:
            app.requestPermission(QCameraPermission(), self._answered)

    def _answered(self, *_answer: object) -> None:
        """The person answered; a camera that was stopped meanwhile stays off."""
        index, self._asks_for = self._asks_for, None
        if index is not None and self._leave() != Qt.PermissionStatus.Undetermined:
            self.start(index)

    def _open(self, device: Any) -> None:
        camera = self._media.QCamera(device)
        session, sink = self._media.QMediaCaptureSession(), self._media.QVideoSink()
        session.setCamera(camera)
        session.setVideoSink(sink)
        sink.videoFrameChanged.connect(self._came)
        camera.errorOccurred.connect(self._broke)
        self._parts = (camera, session, sink)
        camera.start()

    def _came(self, frame: Any) -> None:
        image = frame.toImage()
        if self._parts and isinstance(image, QImage) and not image.isNull():
            self.frame.emit(image)

    def _broke(self, _error: object, _text: str) -> None:
        self.failed.emit(
            _("The camera cannot be used: another program may be using it, or it was unplugged. Try again.")
        )

    def stop(self) -> None:
        self._asks_for = None
        if self._parts:
            camera = self._parts[0]
            self._parts = ()
            camera.stop()


open_camera: Callable[[], Camera] = QtCamera
"""Makes the camera; tests put another in its place."""
