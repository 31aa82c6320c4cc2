"""Scenes of windows that are neither pages nor dialogs of one page: the large code, the screen's part, what the status
bar tells, and what stands over every page."""

from __future__ import annotations

from PyQt6.QtGui import QGuiApplication, QPixmap

from tests.gui import scenes
from tests.gui.receive_scenes import _page as receive_page
from tests.gui.shots import Stage, wait_for
from wallet.gui import excepthook
from wallet.gui.scan.screen import RegionOverlay
from wallet.gui.theme import theme
from wallet.gui.widgets.ids import Fold
from wallet.gui.widgets.statusbar import Popover, StatusBar

__all__ = ["WINDOW_SCENES"]


def practise(stage: Stage) -> None:
    stage.on(scenes.typical("mainnet")).explain_practice("sandbox")


def mistake(stage: Stage) -> None:
    window = stage.on(scenes.typical("mainnet"))
    dialog = excepthook._report(window, 'File "wallet/gui/pages/send.py", line 101, in take\nValueError')
    for fold in dialog.findChildren(Fold):
        fold.button.click()


def large_code(stage: Stage) -> None:
    stage.on(scenes.new("sandbox"), "receive")
    page = receive_page(stage)
    wait_for(lambda: bool(page.code.text()), "the address")
    page._enlarge()


def screen_region(stage: Stage) -> None:
    window = stage.on(scenes.typical(), "send")
    screen = QGuiApplication.primaryScreen()
    assert screen is not None
    picture = QPixmap(window.size())
    picture.fill(theme().colour("raised"))
    overlay = RegionOverlay(screen, picture)
    overlay.setParent(window, overlay.windowFlags())
    overlay.resize(*stage.size)
    overlay.show()


def status_told(stage: Stage) -> None:
    window = stage.on(scenes.trouble())
    bar = window.findChild(StatusBar)
    assert bar is not None
    lines = (
        "electrum0.example.org:50002:s, block 912 345",
        "The connection timed out; tried again in 40 seconds",
    )
    Popover(bar, "No server: reconnecting", lines).open_above(bar)


WINDOW_SCENES = {
    "dialog-practise": practise,
    "dialog-mistake": mistake,
    "window-code": large_code,
    "window-region": screen_region,
    "window-status": status_told,
}
