"""The tour through the sandbox, its pictures, and what has no room in them: `python -m tests.gui.walk DIR`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PyQt6.QtWidgets import QApplication

from tests.gui.fit import findings, top
from wallet.gui import tour
from wallet.node.cli import parse
from wallet.sandbox.host import SandboxHost


def main(pictures: Path) -> int:
    found: list[str] = []
    take = tour.Tour.picture

    def look(self: tour.Tour, name: str) -> None:
        # What waits is laid out, but no timer runs: the next step of the walk is one.
        for _round in range(3):
            QApplication.sendPostedEvents()
        found.extend(f"{name}: {sentence}" for sentence in findings(top(self._window)))
        take(self, name)

    tour.Tour.picture = look  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        options = parse(["--sandbox", "--dir", folder]).options
        code = tour.run_tour(SandboxHost(options), "sandbox", pictures)
    for sentence in found:
        print(f"  {sentence}")
    return code or (1 if found else 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
