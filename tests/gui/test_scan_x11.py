"""The screen is looked at on a real X server, as on a person's desktop."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gui.qt_words import qt_warnings

ROOT = Path(__file__).parents[2]
START_SECONDS = 30
NOT_HANDED_ON = ("XAUTHORITY", "WAYLAND_DISPLAY")
"""What leads to another screen than the one made here; so does whatever is meant for Qt."""


def plain_environment(display: str) -> dict[str, str]:
    """Nothing of how these tests themselves are shown."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in NOT_HANDED_ON and not name.startswith("QT_")
    }
    return {**kept, "DISPLAY": f":{display}", "QT_QPA_PLATFORM": "xcb"}


@pytest.mark.timeout(240)
def test_a_code_on_a_real_screen_is_read() -> None:
    reading, writing = os.pipe()
    server = None
    try:
        with os.fdopen(reading) as pipe:
            try:
                server = subprocess.Popen(
                    ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x800x24", "-nolisten", "tcp"],
                    pass_fds=(writing,),
                    stderr=subprocess.DEVNULL,
                )
            finally:
                os.close(writing)
            ready, _, _ = select.select([pipe], [], [], START_SECONDS)
            assert ready, f"the X server did not start within {START_SECONDS} s"
            display = pipe.readline().strip()
        assert display.isdigit(), "the X server did not start"
        found = subprocess.run(
            [sys.executable, "-m", "tests.gui.x11_screen", "lnbcrt1onarealscreen"],
            cwd=ROOT,
            env=plain_environment(display),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        assert qt_warnings(found.stderr) == []
        assert found.stdout.split() == ["xcb", "lnbcrt1onarealscreen"]
    finally:
        if server is not None:
            server.terminate()
            server.wait(30)
