"""A button that reads a code from the camera, a part of the screen, an image file or the clipboard's picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PyQt6.QtGui import QGuiApplication, QImage

from wallet.gui import format as fmt
from wallet.gui.scan import screen as screens
from wallet.gui.scan.reader import Reader, load_picture
from wallet.gui.widgets.basic import Button, add_action, menu
from wallet.gui.widgets.files import ask_file
from wallet.i18n import _

__all__ = ["ScanButton"]


class ScanButton(Button):
    """`on_text` gets what was read or pasted, `say` a sentence where nothing was. Attribute: `reader`."""

    def __init__(
        self, on_text: Callable[[str], object], say: Callable[[str], object], *, network: str, name: str
    ) -> None:
        super().__init__(_("Scan"), "outlined", "scan", name=name, on_click=self._open_menu)
        self._on_text, self._say, self._network = on_text, say, network
        self._unread = ""
        self._screen: screens.ScreenSource | None = None
        self.reader = Reader(self)
        self.reader.answered.connect(self._read)

    def _open_menu(self) -> None:
        made = menu(self)
        add_action(made, _("With the camera"), self.scan_camera, "scan")
        add_action(made, _("From a part of the screen"), self.scan_screen, "screen")
        add_action(made, _("From an image file"), self.scan_file, "qr")
        made.popup(self.mapToGlobal(self.rect().bottomLeft()))

    def scan_camera(self) -> None:
        from wallet.gui.scan.dialog import CameraDialog

        CameraDialog(self, self._on_text, network=self._network).begin()

    def scan_screen(self) -> None:
        source = screens.open_screen()
        self._screen = source  # kept until it has answered
        dialog = self.window() or self
        parent = dialog.parentWidget()
        host = (parent.window() or dialog) if parent is not None else dialog

        def back() -> None:
            self._screen = None
            if dialog is not host:
                dialog.show()
                dialog.activateWindow()

        def chosen(image: QImage) -> None:
            back()
            self.take_picture(
                image, _("There is no QR code in this part of the screen that can be read. Try again.")
            )

        def failed(sentence: str) -> None:
            back()
            if sentence:
                self._say(sentence)

        source.chosen.connect(chosen)
        source.failed.connect(failed)
        # Both stand in the way: the source hides the one, and we the other.
        if dialog is not host:
            dialog.hide()
        source.begin(host)

    def scan_file(self) -> None:
        ask_file(self, _("Choose a picture with a code"), self.take_file)

    def take_file(self, path: Path) -> None:
        image = load_picture(str(path))
        if image is None:
            name = fmt.plain(path.name, 60)
            self._say(_("The file {name} is no picture that can be read.").format(name=name))
        else:
            self.take_picture(image)

    def take_picture(self, image: QImage, unread: str = "") -> None:
        """Looks for a code, in a thread; `unread` is what is said where there is none."""
        self._unread = unread or _(
            "There is no QR code in this picture that can be read. Try a larger or a sharper one."
        )
        self.reader.submit(image)

    def paste(self) -> None:
        """What is on the clipboard: a text, or a picture with a code."""
        clipboard = QGuiApplication.clipboard()
        mime = None if clipboard is None else clipboard.mimeData()
        text = "" if mime is None else mime.text().strip()
        image = mime.imageData() if mime is not None and mime.hasImage() else None
        if isinstance(image, QImage) and not image.isNull():
            self.take_picture(image)
        elif text:
            self._on_text(text)
        else:
            self._say(_("There is no text on the clipboard, and no picture with a code."))

    def _read(self, text: object) -> None:
        if self.reader.is_busy:
            return  # a newer picture is being looked at
        if isinstance(text, str):
            self._on_text(text)
        else:
            self._say(self._unread)
