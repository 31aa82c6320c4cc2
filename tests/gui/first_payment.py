"""From the first start to "Paid" by the page's one filled button alone, on a real node in the sandbox:
`python -m tests.gui.first_payment DIR` tells the clicks, what is typed, and for how long each step is waited for.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PyQt6.QtCore import QEventLoop, QTimer
from PyQt6.QtWidgets import QApplication, QWidget

from tests.gui.hands import click, type_text
from wallet.gui.main_window import MainWindow
from wallet.gui.widgets.basic import Button
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.fields import PasswordEdit

__all__ = ["PAID", "PASSWORD", "WAY", "FirstPayment"]

MINE = "Mine"
WAY = (
    "Practise with play money",
    "Create a new wallet",
    "Create wallet",
    "Get 1",
    MINE,
    "Open a channel",
    "Open with",
    MINE,
    "Buy a coffee",
    "Pay 21",
)
"""What the filled button says, step by step."""
PASSWORD = "correct horse"
PAID = "Paid"
PATIENCE_SECONDS = 120


class FirstPayment:
    """Attributes: `clicks`, `typed` (field by field), `waited` (step, seconds until its button could be pressed)."""

    def __init__(self, window: MainWindow, wait_until: Callable[[Callable[[], bool]], object]) -> None:
        self.clicks = 0
        self.typed: list[str] = []
        self.waited: list[tuple[str, float]] = []
        self._window = window
        self._wait_until = wait_until

    def shown(self) -> QWidget:
        """The dialog, where one is open, else the window."""
        dialogs = [d for d in self._window.findChildren(Dialog) if d.isVisible()]
        return dialogs[-1] if dialogs else self._window

    def filled(self) -> list[Button]:
        return [b for b in self.shown().findChildren(Button) if b.kind == "filled" and b.isVisible()]

    def wait(self, step: str, condition: Callable[[], bool]) -> None:
        since = time.monotonic()
        self._wait_until(condition)
        self.waited.append((step, time.monotonic() - since))

    def walk(self) -> None:
        from wallet.gui.pages.send import SendPage

        for text, then in zip(WAY, (*WAY[1:], ""), strict=True):
            for field in self.shown().findChildren(PasswordEdit):
                if field.isVisible() and not field.text():
                    type_text(field, PASSWORD)
                    self.typed.append(PASSWORD)
            if text == MINE:
                # The sandbox's own next block may have come first: then there is nothing to mine for.
                self.wait(text, partial(self._can_go_on, MINE, then))
                if self._can_go_on(then):
                    continue
            else:
                self.wait(text, partial(self._can_go_on, text))
            click(self.filled()[0])
            self.clicks += 1
        send = self._window.findChild(SendPage)
        assert send is not None
        self.wait(PAID, lambda: send.result is not None)
        assert send.result is not None
        assert send.result.title == PAID

    def _can_go_on(self, *texts: str) -> bool:
        """One filled button, it can be pressed, and says one of these."""
        said = [b.text() for b in self.filled() if b.isEnabled()]
        return len(said) == len(self.filled()) == 1 and any(text in said[0] for text in texts)


def main(folder: Path) -> int:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from wallet.gui.app import CLOSE_SECONDS, make_application, make_window
    from wallet.gui.preferences import Preferences
    from wallet.node.cli import parse
    from wallet.sandbox.host import SandboxHost

    app = make_application(["leyden"])
    preferences = Preferences()
    preferences.set_text("look/motion", "no")
    host = SandboxHost(parse(["--sandbox", "--dir", str(folder)]).options)
    window = make_window(host, "mainnet", preferences)

    def wait_until(condition: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        loop = QEventLoop()
        looks = QTimer()
        looks.setInterval(20)
        looks.timeout.connect(lambda: loop.quit() if condition() or time.monotonic() > until else None)
        looks.start()
        loop.exec()
        if not condition():
            raise TimeoutError([b.text() for b in payment.filled()])

    payment = FirstPayment(window, wait_until)
    window.start()
    window.show()
    payment.walk()
    window.close()
    QApplication.sendPostedEvents()
    host.close().result(CLOSE_SECONDS)
    assert app is not None
    print(json.dumps({"clicks": payment.clicks, "typed": payment.typed, "waited": payment.waited}))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
