"""Which files are opened as pictures with a code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.gui.codes import picture_of
from tests.gui.conftest import Desk
from wallet.gui.pages.send import SendPage
from wallet.gui.scan.reader import load_picture, read_picture

TEXT = "lnbcrt1hello"


@pytest.mark.parametrize("kind", ["png", "jpg", "jpeg", "webp", "bmp", "pbm", "pgm", "ppm"])
def test_the_usual_kinds_are_read(qapp: object, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"code.{kind}"
    assert picture_of(TEXT, 4).save(str(path))
    image = load_picture(str(path))
    assert image is not None
    assert read_picture(image) == TEXT


@pytest.mark.parametrize("kind", ["tiff", "ico", "xpm"])
@pytest.mark.parametrize("name", ["own", "png"])
def test_an_unusual_kind_is_refused_whatever_its_name(
    qapp: object, tmp_path: Path, kind: str, name: str
) -> None:
    path = tmp_path / ("code.png" if name == "png" else f"code.{kind}")
    assert picture_of(TEXT, 4).save(str(path), kind)
    assert load_picture(str(path)) is None


def test_a_drawing_is_refused(qapp: object, tmp_path: Path) -> None:
    path = tmp_path / "code.png"
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
    )
    assert load_picture(str(path)) is None


def test_what_is_no_file_is_not_opened(qapp: object, tmp_path: Path) -> None:
    # Nobody writes into the pipe: whoever opened it would wait.
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    assert load_picture(str(pipe)) is None
    assert load_picture(str(tmp_path)) is None


def test_a_pipe_does_not_hold_the_window(typical: Desk, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    typical.go("send")
    page = typical.page(SendPage)
    page.take_file(pipe)
    assert "cannot be read" in page.banner.text()
