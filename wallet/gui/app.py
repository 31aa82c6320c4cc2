"""The window's entry: one application, one window, until it is closed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from PyQt6.QtCore import (
    QEvent,
    QMessageLogContext,
    QObject,
    QStandardPaths,
    Qt,
    QTimer,
    QtMsgType,
    qInstallMessageHandler,
)
from PyQt6.QtGui import QGuiApplication
from PyQt6.QtWidgets import QApplication, QWidget

from wallet.gui import excepthook, support
from wallet.gui.ahead import Ahead
from wallet.gui.preferences import Preferences
from wallet.gui.theme import theme

if TYPE_CHECKING:
    from PyQt6.QtGui import QFileOpenEvent

    from wallet.gui.main_window import MainWindow
    from wallet.node.api import WalletHost

__all__ = ["AfterPaint", "LinkEvents", "make_application", "make_window", "run_gui"]

CLOSE_SECONDS = 60
AFTER_PAINT_MS = 100


_qt_log = logging.getLogger("leyden.qt")
_LEVELS = {
    QtMsgType.QtDebugMsg: logging.DEBUG,
    QtMsgType.QtInfoMsg: logging.INFO,
    QtMsgType.QtWarningMsg: logging.WARNING,
    QtMsgType.QtCriticalMsg: logging.ERROR,
    QtMsgType.QtFatalMsg: logging.CRITICAL,
}


def _take_message(kind: QtMsgType, _where: QMessageLogContext, text: str | None) -> None:
    """Qt's own messages go into our log, not onto the user's terminal."""
    # A platform without a window manager (offscreen) says so at every dialog; it is no news to anybody.
    missing = (text or "").startswith("This plugin does not support")
    _qt_log.log(logging.DEBUG if missing else _LEVELS.get(kind, logging.WARNING), "%s", text)


def make_application(argv: Sequence[str]) -> QApplication:
    """The QApplication with our hooks and look; the one that exists where there is one."""
    excepthook.install()
    existing = QApplication.instance()
    if isinstance(existing, QApplication):
        return existing
    QGuiApplication.setHighDpiScaleFactorRoundingPolicy(Qt.HighDpiScaleFactorRoundingPolicy.PassThrough)
    qInstallMessageHandler(_take_message)
    app = QApplication(list(argv[:1]) or ["leyden"])
    app.setApplicationName("leyden")
    app.setApplicationDisplayName("Leyden")
    app.setDesktopFileName("leyden")
    return app


def _preferences_file() -> Path | None:
    folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericConfigLocation)
    return Path(folder, "leyden", "window.ini") if folder else None


def make_window(host: WalletHost, network: str, preferences: Preferences) -> MainWindow:
    """Puts the look on and makes the window; it shows its first page after `start`."""
    from wallet.gui.main_window import MainWindow

    preferences.apply()
    theme().start()
    return MainWindow(host, network, preferences)


class OnlyWindow(Protocol):
    """Keeps to one window a folder. `link` is what this start was given, empty where nothing was."""

    link: str

    def hand_over(self) -> bool:
        """Whether a window that is open already has taken the link."""
        ...

    def listen(self, on_link: Callable[[str], object]) -> None: ...

    def close(self) -> None: ...


class AfterPaint(QObject):
    """Calls once, soon after the window was painted for the first time."""

    def __init__(self, window: QWidget, then: Callable[[], object]) -> None:
        super().__init__(window)
        self._then = then
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if watched is not None and event is not None and event.type() == QEvent.Type.Paint:
            watched.removeEventFilter(self)
            # The picture is with the display by then, and what came with the first showing is done.
            QTimer.singleShot(AFTER_PAINT_MS, self._then)
        return False


class LinkEvents(QObject):
    """macOS hands a link over as an event to the application that runs, not as an argument to another start."""

    def __init__(self, app: QApplication, on_link: Callable[[str], object]) -> None:
        super().__init__(app)
        self._on_link = on_link
        app.installEventFilter(self)

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:
        if event is None or event.type() != QEvent.Type.FileOpen:
            return False
        link = cast("QFileOpenEvent", event).url().toString()
        if not link.lower().startswith(("lightning:", "bitcoin:")):
            return False
        self._on_link(link)
        return True


def run_gui(
    host: WalletHost,
    network: str,
    argv: Sequence[str] = (),
    *,
    single: OnlyWindow | None = None,
    after_paint: Callable[[], object] | None = None,
) -> int:
    """Runs the window until it is closed, then closes the wallet; the exit code. Where a window of this folder is open
    already it is given the link instead. `after_paint` is called once when the window stands there."""
    support.start()
    app = make_application(argv or sys.argv)
    if single is not None and single.hand_over():
        return 0
    window = make_window(host, network, Preferences(_preferences_file()))
    window.asks_before_closing = True
    ahead = Ahead(window)

    def painted() -> None:
        ahead.begin()
        if after_paint is not None:
            after_paint()

    AfterPaint(window, painted)
    window.start()
    window.show()
    if sys.platform == "darwin":
        LinkEvents(app, window.take_link)
    if single is not None:
        single.listen(window.take_link)
        if single.link:
            window.take_link(single.link)
    code = app.exec()
    if single is not None:
        single.close()
    try:
        host.close().result(CLOSE_SECONDS)
    except FutureTimeoutError:
        return 1
    return int(code)
