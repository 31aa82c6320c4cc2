"""look.py ROOT PICTURES: starts the installed program within the system in ROOT, on an X server of its own, and looks.
look.py --here PROGRAM PICTURES: starts a program of this system, as an AppDir's, and looks at all but the tour.

It has its kernels, languages and icons; the first window shows its one filled button; a second start hands its link
over and ends; the map's process makes a map; the tour through the sandbox comes to its end. Pictures of the screen and
of the tour are written. Run by test-deb.sh and appimage.sh.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from PyQt6 import sip
from PyQt6.QtGui import QColor, QGuiApplication, QImage

from wallet.gui.tokens import DARK, LIGHT
from wallet.node.map_worker import pack, unpack

LIMIT_SECONDS = 120
TOUR_SECONDS = 900
LINK = "lightning:lnbc1"
SOURCES = Path(__file__).resolve().parents[2] / "resources"
LEAST_PIXELS = 5_000
"""Of the filled button's colour: the button is some 280 by 44."""


class Failed(Exception):
    """Something does not hold; the text is a sentence."""


def variables(home: str, display: str) -> list[str]:
    """How a program is started that knows nothing of whoever starts it."""
    shown = [f"DISPLAY={display}", "QT_QPA_PLATFORM=xcb"] if display else []
    return ["env", "-i", "-C", home, f"HOME={home}", "PATH=/usr/bin:/bin", "LANG=C.UTF-8", *shown]


class Place(Protocol):
    """Where the program is."""

    def line(self, *words: str, display: str = "") -> list[str]:
        """The command line that runs it with these words."""
        ...


class InRoot:
    """Installed within another system, and run by a user without rights."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def line(self, *words: str, display: str = "") -> list[str]:
        enter = ["chroot", "--userspec=tester:tester", str(self._root)]
        return [*enter, *variables("/home/tester", display), "leyden", *words]


class Here:
    """A file of this system, with a home folder of its own."""

    def __init__(self, program: Path, home: Path) -> None:
        self._program = program
        self._home = home

    def line(self, *words: str, display: str = "") -> list[str]:
        return [*variables(str(self._home), display), str(self._program), *words]


def start_server() -> str:
    """Starts an X server that lives as long as we do; its display."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x900x24", "-nolisten", "tcp"]
    subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as answer:
        number = answer.readline().strip()
    if not number:
        raise Failed("Xvfb does not start.")
    return f":{number}"


def screen() -> QImage:
    shown = QGuiApplication.primaryScreen()
    if shown is None:
        raise Failed("The X server has no screen.")
    return shown.grabWindow(sip.voidptr(0)).toImage()


def is_painted(picture: QImage) -> bool:
    """Whether anything stands where the window comes: the bare screen is black."""
    return any(
        picture.pixelColor(x, y) != QColor("black")
        for x in range(10, picture.width(), 97)
        for y in range(10, picture.height(), 97)
    )


def has_filled_button(picture: QImage) -> bool:
    """Whether the colour of filled buttons is there, in either theme."""
    wanted = {QColor(palette.accent).rgb() for palette in (LIGHT, DARK)}
    found = sum(
        picture.pixel(x, y) in wanted
        for x in range(0, picture.width(), 2)
        for y in range(0, picture.height(), 2)
    )
    return found * 4 >= LEAST_PIXELS


def wait_for(holds: Callable[[QImage], bool], what: str, process: subprocess.Popen[bytes]) -> QImage:
    end = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < end:
        picture = screen()
        if holds(picture):
            return picture
        if process.poll() is not None:
            raise Failed(f"The program ended with {process.returncode} before there was {what}.")
        time.sleep(0.01)
    raise Failed(f"There is no {what} after {LIMIT_SECONDS} s.")


def look_inside(place: Place) -> None:
    """What nobody would miss at the first look: the program does without compiled kernels, catalogues and icons."""
    said = subprocess.run(
        place.line("--what-is-inside"), capture_output=True, timeout=LIMIT_SECONDS, check=False
    )
    if said.returncode != 0:
        raise Failed(
            f"The program does not say what is inside: {said.stderr.decode(errors='replace')[-500:]}"
        )
    inside = json.loads(said.stdout)
    for name, wanted in (
        ("languages", {"en", *(folder.name for folder in (SOURCES / "locale").iterdir() if folder.is_dir())}),
        ("icons", {file.stem for file in (SOURCES / "icons").glob("*.svg")}),
        ("pictures", {"bmp", "gif", "jpeg", "png", "svg", "webp"}),
    ):
        if missing := wanted - set(inside[name]):
            raise Failed(f"The program comes without these {name}: {', '.join(sorted(missing))}.")
    if without := [name for name, is_there in inside["kernels"].items() if not is_there]:
        raise Failed(f"The program comes without its compiled kernels: {', '.join(without)}.")
    print(
        f"[look] inside: both kernels, {len(inside['languages'])} languages, {len(inside['icons'])} icons",
        flush=True,
    )


def look_at_start(place: Place, display: str, picture: Path) -> None:
    """Starts the program, cold and warm; the last one takes a link from another start."""
    for kind in ("first", "second"):
        began = time.monotonic()
        process = subprocess.Popen(place.line(display=display))
        wait_for(is_painted, "first paint", process)
        painted = time.monotonic() - began
        seen = wait_for(has_filled_button, "wizard", process)
        print(f"[look] {kind} start: first paint after {painted:.2f} s", flush=True)
        if kind == "first":
            if not seen.save(str(picture)):
                raise Failed(f"{picture} cannot be written.")
            end(process)
            continue
        other = subprocess.run(place.line(LINK, display=display), timeout=LIMIT_SECONDS, check=False)
        if other.returncode != 0 or process.poll() is not None:
            raise Failed("A second start does not hand its link over to the window that is open.")
        print("[look] a second start handed its link over and ended", flush=True)
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(LIMIT_SECONDS)


def triangle() -> dict[str, bytes]:
    """A graph of three nodes and three channels, as the map's process takes it."""
    return {
        "node_ids": b"".join(bytes([2, *[node] * 32]) for node in range(3)),
        "announcements": b"",
        "lengths": array("I", (0, 0, 0)).tobytes(),
        "scid": array("Q", (1, 2, 3)).tobytes(),
        "node_1": array("I", (0, 0, 1)).tobytes(),
        "node_2": array("I", (1, 2, 2)).tobytes(),
        "capacity_sat": array("q", (100_000, 200_000, 300_000)).tobytes(),
        "flags": bytes(6),
        "fee_base_msat": array("I", 6 * (0,)).tobytes(),
        "fee_millionths": array("I", 6 * (0,)).tobytes(),
        "live": array("I", (0, 1, 2)).tobytes(),
        "height": b"100",
        "path": b"",
    }


def look_at_map(place: Place) -> None:
    """The map's process is the program again."""
    made = subprocess.run(
        place.line("--make-network-map"),
        input=pack(triangle()),
        capture_output=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    if made.returncode != 0:
        raise Failed(f"The map's process: {made.stderr.decode(errors='replace')[-500:]}")
    across = array("d", unpack(made.stdout)["x"])
    if len(across) != 3 or not all(0 <= place <= 1 for place in across):
        raise Failed(f"The map's process places three nodes at {list(across)}.")
    print("[look] the map's process lays a small network out", flush=True)


def look_at_tour(root: Path, display: str, pictures: Path) -> None:
    command = InRoot(root).line("--sandbox", "--tour", "--shots", "/home/tester/tour", display=display)
    began = time.monotonic()
    tour = subprocess.run(command, capture_output=True, text=True, timeout=TOUR_SECONDS, check=False)
    sys.stdout.write(tour.stdout)
    shown = root / "home" / "tester" / "tour"
    if shown.is_dir():
        shutil.copytree(shown, pictures / "tour", dirs_exist_ok=True)
    if tour.returncode != 0:
        raise Failed(f"The tour ended with {tour.returncode}: {tour.stderr[-500:]}")
    print(f"[look] the tour came to its end after {time.monotonic() - began:.0f} s", flush=True)


def main() -> int:
    here = sys.argv[1] == "--here"
    where, pictures = Path(sys.argv[-2]).absolute(), Path(sys.argv[-1])
    pictures.mkdir(parents=True, exist_ok=True)
    display = start_server()
    os.environ.update(DISPLAY=display, QT_QPA_PLATFORM="xcb")
    app = QGuiApplication(sys.argv[:1])
    try:
        with tempfile.TemporaryDirectory(prefix="leyden-look-") as home:
            place = Here(where, Path(home)) if here else InRoot(where)
            look_inside(place)
            look_at_start(place, display, pictures / "wizard.png")
            look_at_map(place)
        if not here:
            look_at_tour(where, display, pictures)
    except (Failed, subprocess.TimeoutExpired, OSError) as error:
        print(f"[look] {error}", file=sys.stderr)
        screen().save(str(pictures / "stopped-here.png"))
        return 1
    finally:
        app.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
