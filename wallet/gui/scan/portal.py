"""The desktop portal's picture of the screen, asked for over D-Bus: under Wayland the only way to one."""

from __future__ import annotations

import os
from typing import Any

from PyQt6.QtCore import QUrl, pyqtSlot
from PyQt6.QtDBus import QDBusConnection, QDBusMessage
from PyQt6.QtWidgets import QWidget

from wallet.gui.scan.reader import load_picture
from wallet.gui.scan.screen import ScreenSource
from wallet.i18n import _

__all__ = ["PortalScreen"]

PORTAL = "org.freedesktop.portal.Desktop"
PORTAL_PATH = "/org/freedesktop/portal/desktop"


class PortalScreen(ScreenSource):
    """The desktop's own tool, through its portal."""

    def __init__(self) -> None:
        super().__init__()
        self._path = ""
        self._bus: Any = None

    def begin(self, window: QWidget) -> None:
        bus = QDBusConnection.sessionBus()
        self._bus = bus
        token = f"leyden{os.getpid()}_{id(self) & 0xFFFFFF}"
        sender = bus.baseService().removeprefix(":").replace(".", "_")
        self._path = f"/org/freedesktop/portal/desktop/request/{sender}/{token}"
        self._listen(self._path)
        message = QDBusMessage.createMethodCall(
            PORTAL, PORTAL_PATH, "org.freedesktop.portal.Screenshot", "Screenshot"
        )
        message.setArguments(["", {"handle_token": token, "interactive": True}])
        answer = bus.call(message)
        if answer.type() == QDBusMessage.MessageType.ErrorMessage:
            self._forget()
            self.failed.emit(
                _("The desktop offers no way to look at the screen. Save a picture, and choose it as a file.")
            )
            return
        given = answer.arguments()
        path = str(getattr(given[0], "path", lambda: given[0])()) if given else self._path
        if path != self._path:
            # Older portals choose the request's name by themselves.
            self._forget()
            self._path = path
            self._listen(path)

    def _listen(self, path: str) -> None:
        self._bus.connect(PORTAL, path, "org.freedesktop.portal.Request", "Response", self._answered)

    def _forget(self) -> None:
        self._bus.disconnect(PORTAL, self._path, "org.freedesktop.portal.Request", "Response", self._answered)

    @pyqtSlot(QDBusMessage)
    def _answered(self, message: QDBusMessage) -> None:
        self._forget()
        self.take(message.arguments())

    def take(self, arguments: list[Any]) -> None:
        """The portal's answer: 0 and where the picture is, or why there is none."""
        code = arguments[0] if arguments else 2
        results = arguments[1] if len(arguments) > 1 and isinstance(arguments[1], dict) else {}
        path = QUrl(str(results.get("uri", ""))).toLocalFile()
        image = load_picture(path) if code == 0 and path else None
        if image is not None:
            self.chosen.emit(image)
        elif code == 1:
            self.failed.emit("")
        else:
            self.failed.emit(
                _("The desktop made no picture of the screen. Save one, and choose it as a file.")
            )
