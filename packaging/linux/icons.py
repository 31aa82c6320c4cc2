"""icons.py SVG FOLDER: the app icon in the sizes that desktops ask for, as FOLDER/48x48/apps/leyden.png and so on."""

import sys
from pathlib import Path

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QGuiApplication, QImage, QPainter
from PyQt6.QtSvg import QSvgRenderer

SIZES = (16, 22, 24, 32, 48, 64, 128, 256, 512)


def main() -> int:
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    app = QGuiApplication(sys.argv[:1])
    renderer = QSvgRenderer(str(source))
    if not renderer.isValid():
        print(f"{source} is no picture", file=sys.stderr)
        return 1
    for size in SIZES:
        image = QImage(size, size, QImage.Format.Format_ARGB32)
        image.fill(Qt.GlobalColor.transparent)
        painter = QPainter(image)
        renderer.render(painter)
        painter.end()
        target = folder / f"{size}x{size}" / "apps" / "leyden.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        if not image.save(str(target)):
            return 1
    app.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
