"""Reading QR codes: how small, noisy and turned they may be; that no frame waits in a queue; what is no picture."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from tests.gui.codes import long_text, on_a_screen, picture_of, turned
from tests.gui.hands import PATIENCE_MS
from wallet.gui.scan import reader as reading
from wallet.gui.scan.reader import Reader, load_picture, read_picture

LENGTHS = (300, 1_000, 2_000, 2_900)


@pytest.mark.parametrize("inverted", [False, True], ids=["plain", "inverted"])
@pytest.mark.parametrize("pixels", [2, 4])
@pytest.mark.parametrize(
    "length",
    [300, pytest.param(1_000, marks=pytest.mark.slow), pytest.param(2_000, marks=pytest.mark.slow), 2_900],
)
def test_a_code_on_a_large_noisy_screen_is_read(
    qapp: object, length: int, pixels: int, inverted: bool
) -> None:
    text = long_text(length)
    for sigma in (0, 20, 40):
        assert read_picture(on_a_screen(text, pixels=pixels, sigma=sigma, inverted=inverted)) == text, sigma


@pytest.mark.parametrize(
    "length",
    [300, *(pytest.param(length, marks=pytest.mark.slow) for length in LENGTHS[1:])],
)
def test_a_turned_code_is_read(qapp: object, length: int) -> None:
    text = long_text(length)
    unread = [degrees for degrees in range(0, 360, 15) if read_picture(turned(text, degrees)) != text]
    # At least 95 % of 24 positions.
    assert len(unread) <= 1, unread


def test_a_see_through_picture_and_a_tiny_one(qapp: object) -> None:
    code = picture_of("lnbcrt1hello", 3)
    clear = code.convertToFormat(QImage.Format.Format_ARGB32)
    clear.setAlphaChannel(clear.createMaskFromColor(QColor("black").rgb(), Qt.MaskMode.MaskInColor))
    assert read_picture(clear) == "lnbcrt1hello"
    assert read_picture(picture_of("lnbcrt1hello", 1)) == "lnbcrt1hello"


def test_no_code_is_no_text(qapp: object) -> None:
    blank = QImage(320, 200, QImage.Format.Format_RGB32)
    blank.fill(QColor("white"))
    assert read_picture(blank) is None
    assert read_picture(QImage()) is None


def test_files_that_are_no_pictures(qapp: object, tmp_path: Path) -> None:
    noise = tmp_path / "noise.png"
    noise.write_bytes(b"\x89PNG\r\n\x1a\n" + b"?" * 100)
    assert load_picture(str(noise)) is None
    assert load_picture(str(tmp_path / "nothing.png")) is None


def test_a_picture_that_unpacks_without_end_is_not_opened(qapp: object, tmp_path: Path) -> None:
    # A bitmap's head that promises 60,000 x 60,000 pixels.
    head = b"BM" + (54).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    head += (40).to_bytes(4, "little") + (60_000).to_bytes(4, "little") * 2
    head += (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24)
    bomb = tmp_path / "bomb.bmp"
    bomb.write_bytes(head)
    assert load_picture(str(bomb)) is None


def test_of_frames_that_wait_the_newest_is_read(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()
    seen: list[int] = []
    threads: set[str] = set()

    def slow(image: QImage, *, quick: bool = False) -> str | None:
        threads.add(threading.current_thread().name)
        seen.append(image.width())
        assert let_go.wait(30)
        return None

    monkeypatch.setattr(reading, "read_picture", slow)
    reader = Reader()
    answers: list[object] = []
    reader.answered.connect(answers.append)
    for width in (10, 11, 12, 13):
        reader.submit(QImage(width, 5, QImage.Format.Format_RGB32))
    let_go.set()
    qtbot.waitUntil(lambda: len(answers) == 2, timeout=PATIENCE_MS)
    assert seen == [10, 13]
    assert threads == {"qr"}
    assert not reader.is_busy


def test_once_a_code_is_read_no_further_frame_is_looked_at(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    seen: list[int] = []

    def slow(image: QImage, *, quick: bool = False) -> str | None:
        seen.append(image.width())
        assert let_go.wait(30)
        return "found"

    monkeypatch.setattr(reading, "read_picture", slow)
    reader = Reader()
    answers: list[object] = []
    reader.answered.connect(answers.append)
    for width in (10, 11):
        reader.submit(QImage(width, 5, QImage.Format.Format_RGB32))
    let_go.set()
    qtbot.waitUntil(lambda: bool(answers), timeout=PATIENCE_MS)
    assert answers == ["found"]
    assert seen == [10]
    assert not reader.is_busy
