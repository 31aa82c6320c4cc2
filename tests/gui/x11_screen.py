"""A program of its own on a real X server (`test_scan_x11`): a window shows a code, and the screen is looked at."""

from __future__ import annotations

import sys

from PyQt6.QtCore import QTimer
from PyQt6.QtGui import QPixmap
from PyQt6.QtWidgets import QApplication, QLabel

from tests.gui.codes import picture_of
from wallet.gui.scan.reader import read_picture
from wallet.gui.scan.screen import X11Screen

GIVES_UP_AFTER_MS = 80_000
"""Before whoever started it does, so that it is known that nothing was read."""


def main(text: str) -> int:
    app = QApplication([])
    window = QLabel()
    window.setPixmap(QPixmap.fromImage(picture_of(text)))
    window.show()
    source = X11Screen()

    def look() -> None:
        # Until the server has drawn the window.
        for _screen, picture in source.pictures():
            if read_picture(picture.toImage()) == text:
                print(app.platformName(), text)
                app.quit()

    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(50)
    QTimer.singleShot(GIVES_UP_AFTER_MS, lambda: app.exit(2))
    return app.exec()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
