"""Renders every page and dialog, light and dark, at 800x600 and 1160x760: `python -m tests.gui.shots DIR
[NAME]`.

Each scene is a function that brings a window on the fake node into a state; a second argument picks the
scenes whose name contains it. What `tests.gui.fit` finds in a scene is printed, and ends the run with 1.
`make screenshots` runs this for each of its looks (`tests.gui.screenshots`), which it names in the environment:
SHOTS (schemes), SHOTS_LANGUAGE, SHOTS_TEXT (size of the text in percent).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PyQt6.QtCore import QElapsedTimer, QEvent, QEventLoop
from PyQt6.QtGui import QPixmap
from PyQt6.QtWidgets import QApplication, QDialog

from tests.gui.fake_host import FakeHost
from tests.gui.fake_node import FakeNode
from tests.gui.fit import lasting, top
from tests.gui.hands import PATIENCE_MS
from wallet.gui.app import make_application, make_window
from wallet.gui.grab import grab
from wallet.gui.main_window import MainWindow
from wallet.gui.preferences import Preferences
from wallet.node.api import WalletInfo

SIZES = ((1160, 760), (800, 600))


def spin(milliseconds: int = 60) -> None:
    """Lets the event loop run: what was queued by the fake node's threads arrives."""
    timer = QElapsedTimer()
    timer.start()
    while timer.elapsed() < milliseconds:
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 10)


def wait_for(condition: Callable[[], bool], what: str, milliseconds: int = PATIENCE_MS) -> None:
    timer = QElapsedTimer()
    timer.start()
    while not condition():
        if timer.elapsed() > milliseconds:
            raise TimeoutError(what)
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 10)
    spin(20)


class Stage:
    """A window on a fake node, at one size and scheme."""

    def __init__(
        self, size: tuple[int, int], scheme: str, *, language: str = "", text_percent: int = 0
    ) -> None:
        self.size = size
        self.scheme = scheme
        self.language = language or os.environ.get("SHOTS_LANGUAGE", "en")
        self.text_percent = text_percent or int(os.environ.get("SHOTS_TEXT", "100"))
        self.window: MainWindow | None = None
        self.node: FakeNode | None = None
        self.host: FakeHost | None = None

    def empty(self, network: str = "mainnet") -> MainWindow:
        self.host = FakeHost()
        return self._window(self.host, network)

    def locked(self, network: str = "mainnet") -> MainWindow:
        self.host = FakeHost(
            existing=[WalletInfo(name="Savings", network=network, path=Path("/nowhere"), encrypted=True)]
        )
        return self._window(self.host, network)

    def _preferences(self) -> Preferences:
        preferences = Preferences()
        preferences.set_text("look/theme", self.scheme)
        preferences.set_text("look/motion", "no")
        preferences.set_text("look/language", self.language)
        preferences.set_text("look/text_size", str(self.text_percent))
        return preferences

    def _window(self, host: FakeHost, network: str) -> MainWindow:
        self.window = make_window(host, network, self._preferences())
        self.window.resize(*self.size)
        self.window.start()
        self.window.show()
        spin()
        return self.window

    def on(self, node: FakeNode, page: str = "overview") -> MainWindow:
        self.node = node
        self.host = FakeHost()
        self.window = make_window(self.host, node.network, self._preferences())
        info = WalletInfo(
            name=node.status.wallet_name, network=node.network, path=Path("/nowhere"), encrypted=True
        )
        self.window.show_wallet(info, node)
        self.window.resize(*self.size)
        self.window.show()
        assert self.window.shell is not None
        shell = self.window.shell
        shell.go(page)
        wait_for(lambda: shell.page(page).is_whole, "the whole page")
        spin()
        return self.window

    def end(self) -> None:
        if self.window is not None:
            for dialog in self.window.findChildren(QDialog):
                dialog.reject()
            if (front := top(self.window)) is not self.window:
                front.close()
            self.window.close()
            self.window.deleteLater()
        if self.node is not None:
            self.node.stop()
        if self.host is not None:
            self.host.stop()
        spin(20)
        # Outside a running loop nothing else deletes what was put aside.
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


def picture(window: MainWindow) -> QPixmap:
    """What one looks at: the window with its dialog, or the other window that stands before it."""
    front = top(window)
    return grab(window) if front is window or isinstance(front, QDialog) else front.grab()


def main(arguments: list[str]) -> int:
    from tests.gui.shot_scenes import SCENES

    folder = Path(arguments[0])
    wanted = arguments[1] if len(arguments) > 1 else ""
    schemes = os.environ.get("SHOTS", "light,dark").split(",")
    folder.mkdir(parents=True, exist_ok=True)
    app = make_application(["shots"])
    count = 0
    for name, scene in SCENES.items():
        if wanted not in name:
            continue
        for scheme in schemes:
            for size in SIZES:
                stage = Stage(size, scheme)
                path = folder / f"{name}-{size[0]}-{scheme}.png"
                try:
                    scene(stage)
                    spin()
                    assert stage.window is not None
                    told = lasting(stage.window)
                    picture(stage.window).save(str(path))
                except TimeoutError as error:
                    # The other scenes are shown all the same.
                    told = [f"is not shown: waited in vain for {error}"]
                finally:
                    stage.end()
                count += len(told)
                print(path.name, flush=True)
                for sentence in told:
                    print(f"  {path.stem}: {sentence}", flush=True)
    app.processEvents()
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
