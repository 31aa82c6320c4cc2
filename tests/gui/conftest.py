"""A window on the fake node, and helpers that wait by signals and conditions, never by sleeping."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from PyQt6.QtCore import QEvent
from PyQt6.QtWidgets import QApplication, QDialog, QWidget
from pytestqt.qtbot import QtBot

from tests.gui import scenes
from tests.gui.fake_host import FakeHost
from tests.gui.fake_node import FakeNode
from tests.gui.hands import PATIENCE_MS, click, is_in_reach
from wallet import i18n
from wallet.gui import excepthook
from wallet.gui import format as fmt
from wallet.gui.app import make_window
from wallet.gui.main_window import MainWindow, Shell
from wallet.gui.preferences import Preferences
from wallet.gui.theme import theme
from wallet.node.api import WalletHost, WalletInfo

W = TypeVar("W", bound=QWidget)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/gui" in str(item.path):
            item.add_marker("gui")


@pytest.fixture(scope="session")
def qapp_cls() -> type[QApplication]:
    """With `tests.gui.slices_plugin`, one that hears of each event."""
    if "SLICES" not in os.environ:
        return QApplication
    from tests.gui.slices import Application

    return Application


@pytest.fixture(autouse=True)
def _plain_amounts() -> Iterator[None]:
    fmt.style.unit, fmt.style.hidden, fmt.style.fiat = "sat", False, None
    fmt.own_names.clear()
    yield
    fmt.style.unit, fmt.style.hidden, fmt.style.fiat = "sat", False, None
    i18n.install("en", None)
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    theme().choose(choice="light", scale_percent=100, motion=False)


def made_window(host: WalletHost, network: str, qtbot: QtBot) -> MainWindow:
    excepthook.reporter()
    preferences = Preferences()
    preferences.set_text("look/theme", "light")
    preferences.set_text("look/motion", "no")
    preferences.set_text("look/language", "en")
    window = make_window(host, network, preferences)
    qtbot.addWidget(window)
    return window


class Desk:
    """A window with an open wallet on a fake node."""

    def __init__(self, qtbot: QtBot, node: FakeNode) -> None:
        self.qtbot = qtbot
        self.node = node
        self.host = FakeHost()
        self.window = made_window(self.host, node.network, qtbot)
        info = WalletInfo(
            name=node.status.wallet_name, network=node.network, path=Path("/nowhere"), encrypted=True
        )
        self.window.show_wallet(info, node)
        self.window.resize(1160, 760)
        with qtbot.waitExposed(self.window, timeout=PATIENCE_MS):
            self.window.show()
        # Keys and the focus belong to the window in front.
        qtbot.waitUntil(self.window.isActiveWindow, timeout=PATIENCE_MS)

    @property
    def shell(self) -> Shell:
        """What is in the window while a wallet is open."""
        shell = self.window.shell
        assert shell is not None, "no wallet is open"
        return shell

    def go(self, key: str) -> None:
        self.shell.go(key)
        QApplication.processEvents()
        self.until(lambda: self.shell.page(key).is_whole)

    def show_channel(self, channel_id: str) -> None:
        """And waits until it is there."""
        self.shell.show_channel(channel_id)
        page = self.shell.page("channels")
        self.until(lambda: self.shell.current_key == "channels" and getattr(page, "detail", None) is not None)

    def page(self, kind: type[W]) -> W:
        found = self.window.findChild(kind)
        assert found is not None, kind
        return found

    def until(self, condition: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(condition, timeout=PATIENCE_MS)

    def click(self, control: QWidget | Callable[[], QWidget | None]) -> None:
        """With the mouse, once it can be seen and nothing covers it. One that is drawn anew meanwhile is looked up."""

        def found() -> QWidget | None:
            return control if isinstance(control, QWidget) else control()

        def is_clicked() -> bool:
            # Found and clicked at once: no event comes between.
            widget = found()
            if widget is None or not is_in_reach(widget):
                return False
            click(widget)
            return True

        self.until(is_clicked)

    def dialog(self, kind: type[W]) -> W:
        self.until(
            lambda: any(isinstance(d, kind) and d.isVisible() for d in self.window.findChildren(QDialog))
        )
        return self.page(kind)

    def end(self) -> None:
        self.window.close()
        self.window.deleteLater()
        self.node.stop()
        self.host.stop()


@pytest.fixture
def desk(qtbot: QtBot) -> Iterator[Callable[[FakeNode], Desk]]:
    """Makes windows; all of them are ended after the test, and no report of a mistake may be open."""
    made: list[Desk] = []
    before = len(excepthook.reporter().seen)

    def make(node: FakeNode) -> Desk:
        made.append(Desk(qtbot, node))
        return made[-1]

    yield make
    for one in made:
        one.end()
    assert excepthook.reporter().seen[before:] == []


@pytest.fixture
def typical(desk: Callable[[FakeNode], Desk]) -> Desk:
    return desk(scenes.typical())
