"""The screen is looked at on a real X server, as on a person's desktop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_code_on_a_real_screen_is_read() -> None:
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x800x24", "-nolisten", "tcp"],
        pass_fds=(writing,),
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            display = pipe.readline().strip()
        assert display.isdigit(), "the X server did not start"
        found = subprocess.run(
            [sys.executable, "-m", "tests.gui.x11_screen", "lnbcrt1onarealscreen"],
            cwd=ROOT,
            env={**os.environ, "DISPLAY": f":{display}", "QT_QPA_PLATFORM": "xcb"},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        assert found.stdout.split() == ["xcb", "lnbcrt1onarealscreen"]
    finally:
        server.terminate()
        server.wait(30)
