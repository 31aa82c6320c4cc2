"""icons.py SVG FOLDER [FILE...]: the app icon in the sizes that desktops ask for.

They are FOLDER/48x48/apps/leyden.png and so on; each FILE is one more, of the kind that its name ends with (.ico for
Windows, .icns for macOS).
"""

import sys
from pathlib import Path

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QGuiApplication, QImage, QPainter
from PyQt6.QtSvg import QSvgRenderer

SIZES = (16, 22, 24, 32, 48, 64, 128, 256, 512)


def drawn(renderer: QSvgRenderer, size: int) -> QImage:
    image = QImage(size, size, QImage.Format.Format_ARGB32)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    renderer.render(painter)
    painter.end()
    return image


def main() -> int:
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    app = QGuiApplication(sys.argv[:1])
    renderer = QSvgRenderer(str(source))
    if not renderer.isValid():
        print(f"{source} is no picture", file=sys.stderr)
        return 1
    wanted = [(folder / f"{size}x{size}" / "apps" / "leyden.png", size) for size in SIZES]
    # Windows knows no larger one; macOS makes the smaller ones of a large one.
    wanted += [(Path(name), 256 if name.endswith(".ico") else 512) for name in sys.argv[3:]]
    for target, size in wanted:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not drawn(renderer, size).save(str(target)):
            print(f"{target} cannot be written", file=sys.stderr)
            return 1
    app.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
