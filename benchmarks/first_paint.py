"""The window's process, as `python -m wallet` starts it, saying when it has painted itself for the first time.

Nothing is imported that Leyden would not import by itself at this moment: the hook is put in when the window is made.
Prints "PAINTED <monotonic nanoseconds>", which the parent compares with its own clock (one clock for all processes).
With `--unlock` the wallet, which has no password, is opened then, and "UNLOCKED" is printed when it is shown; with
`--quit` the process ends after the first paint.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wallet.gui.main_window import MainWindow
    from wallet.gui.preferences import Preferences
    from wallet.node.api import WalletHost
    from wallet.node.cli import Invocation


def main(argv: list[str]) -> int:
    ends = "--quit" in argv
    unlocks = "--unlock" in argv
    from wallet import app

    open_window = app._window

    def hooked(invocation: Invocation) -> int:
        from wallet.gui import app as gui

        make_window = gui.make_window

        def make_and_watch(host: WalletHost, network: str, preferences: Preferences) -> MainWindow:
            window = make_window(host, network, preferences)
            watch(window, ends=ends, unlocks=unlocks)
            return window

        gui.make_window = make_and_watch
        return open_window(invocation)

    app._window = hooked
    return app.main([word for word in argv if word not in ("--quit", "--unlock")])


def watch(window: MainWindow, *, ends: bool, unlocks: bool) -> None:
    from PyQt6.QtCore import QEvent, QObject, QTimer

    class Watcher(QObject):
        def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
            if event is not None and event.type() == QEvent.Type.Paint and watched is window:
                window.removeEventFilter(self)
                # After this round of the event loop the picture is with the display.
                QTimer.singleShot(0, self.painted)
            return False

        def painted(self) -> None:
            print(f"PAINTED {time.monotonic_ns()}", flush=True)
            if ends:
                sys.stdout.flush()
                os._exit(0)
            if unlocks:
                from wallet.gui.pages.unlock import UnlockPage

                page = window.findChild(UnlockPage)
                if page is None:
                    raise RuntimeError("there is no wallet to unlock")
                page.unlocked.connect(lambda _api: print("UNLOCKED", flush=True))
                page.unlock.click()

    watcher = Watcher(window)
    window.installEventFilter(watcher)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
