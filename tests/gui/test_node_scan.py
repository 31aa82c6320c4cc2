"""A node's address comes into the dialog for a channel from a camera, a picture, the screen or the clipboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from PyQt6.QtCore import QPoint
from PyQt6.QtGui import QColor, QGuiApplication, QImage, QPixmap

from tests.gui.codes import picture_of
from tests.gui.conftest import Desk
from tests.gui.fake_channels import suggested_id
from tests.gui.hands import click, drag
from tests.gui.test_send_journeys import FakeCamera, FakeScreen, desktop_with
from wallet.gui.pages.open_channel import OpenChannelDialog
from wallet.gui.scan import camera as cameras
from wallet.gui.scan import screen as screens
from wallet.gui.scan.dialog import CameraDialog

URI = f"{suggested_id(1)}@198.51.100.1:9735"


def opened(desk: Desk) -> OpenChannelDialog:
    assert desk.window.shell is not None
    desk.window.shell.open_channel("")
    return desk.dialog(OpenChannelDialog)


def until_asked(desk: Desk, dialog: OpenChannelDialog) -> None:
    """The address stands in its field, and the node has said what it takes."""
    desk.until(lambda: dialog.terms is not None)
    assert dialog.peer.text() == URI


def test_from_a_picture(typical: Desk, tmp_path: Path) -> None:
    dialog = opened(typical)
    file = tmp_path / "node.png"
    assert picture_of("LIGHTNING:" + URI).save(str(file))
    dialog.scan_button.take_file(file)
    until_asked(typical, dialog)


def test_from_the_clipboard(typical: Desk) -> None:
    dialog = opened(typical)
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    clipboard.setImage(picture_of(URI))
    click(dialog.paste_button)
    until_asked(typical, dialog)
    clipboard.clear()
    click(dialog.paste_button)
    assert "no text on the clipboard" in dialog._banner.text()
    dialog.peer.clear()
    clipboard.setText(f" lightning:{URI}\nand more")
    click(dialog.paste_button)
    until_asked(typical, dialog)


def test_from_a_cameras_frames(typical: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = FakeCamera()
    monkeypatch.setattr(cameras, "open_camera", lambda: camera)
    dialog = opened(typical)
    dialog.scan_button.scan_camera()
    typical.dialog(CameraDialog)
    camera.frame.emit(picture_of(URI))
    until_asked(typical, dialog)
    assert not camera.running


def test_from_a_part_of_the_screen(typical: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    dialog = opened(typical)
    code = picture_of(URI, 3)
    source = FakeScreen()
    source.picture = QPixmap(desktop_with(code, QPoint(400, 200)))
    monkeypatch.setattr(screens, "open_screen", lambda: source)
    dialog.scan_button.scan_screen()
    assert not typical.window.isVisible()
    assert not dialog.isVisible(), "nothing of ours stands in the way"
    typical.until(lambda: bool(source.overlays) and source.overlays[0].isVisible())
    overlay = source.overlays[0]
    overlay.resize(800, 450)
    drag(overlay, QPoint(190, 90), QPoint(210 + code.width() // 2, 110 + code.height() // 2))
    until_asked(typical, dialog)
    assert typical.window.isVisible()
    assert dialog.isVisible()


def test_what_holds_no_code_is_a_sentence(typical: Desk, tmp_path: Path) -> None:
    dialog = opened(typical)
    file = tmp_path / "notes.png"
    file.write_text("no picture")
    dialog.scan_button.take_file(file)
    assert "notes.png is no picture" in dialog._banner.text()
    blank = QImage(200, 200, QImage.Format.Format_RGB32)
    blank.fill(QColor("white"))
    dialog.scan_button.take_picture(blank)
    typical.until(lambda: "no QR code in this picture" in dialog._banner.text())
    assert dialog.peer.text() == ""
