"""About: the version, what Leyden is made of, and under which licences."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QListWidget, QListWidgetItem, QWidget

from wallet.gui.assets import asset, assets_folder
from wallet.gui.context import Context
from wallet.gui.theme import theme
from wallet.gui.tokens import S3, S4
from wallet.gui.widgets.basic import JarLabel, Label, hbox, vbox
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.fields import TextArea
from wallet.i18n import _

__all__ = ["AboutDialog", "Part", "parts"]

PACKAGES = (
    "PyQt6", "PyQt6-Qt6", "PyQt6-sip", "aiorpcx", "appdirs", "cffi", "coincurve", "cryptography", "dnspython", "qrcode",
    "wallycore", "zxing-cpp",
)  # fmt: skip
LICENCE_FILES = ("licen", "copying", "notice")


@dataclass(frozen=True, slots=True)
class Part:
    """Something that Leyden is made of. Attributes: `licence`, its short name; `text`, all of it, where it came with
    the part."""

    name: str
    version: str
    licence: str
    text: str


def _short(meta: metadata.PackageMetadata) -> str:
    """The licence's name, from the newest of the three fields that a package may use for it."""
    given = next(iter(meta.get_all("License-Expression") or []), "")
    if not given:
        classifiers = meta.get_all("Classifier") or []
        given = ", ".join(
            line.rsplit(" :: ", 1)[-1] for line in classifiers if line.startswith("License :: ")
        )
    if not given or given == "OSI Approved":
        given = next(iter(meta.get_all("License") or []), "").partition("\n")[0]
    return given[:80]


def _texts(found: metadata.Distribution) -> str:
    texts = []
    for file in found.files or ():
        if ".dist-info" in str(file) and any(word in file.name.lower() for word in LICENCE_FILES):
            try:
                texts.append(file.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError):
                continue
    return "\n\n".join(texts)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _beneath() -> list[Part]:
    """What the packages stand on, and the packaged program brings: none of it is a package that could be asked."""

    def text(name: str) -> str:
        return _read(asset("licences", name))

    return [
        Part("Python", platform.python_version(), "PSF-2.0", text("Python-PSF.txt")),
        # Of both only their own files know which version it is; Qt reads the camera with the second.
        Part("OpenSSL", "", "Apache-2.0", text("Apache-2.0.txt")),
        Part("FFmpeg", "", "LGPL-2.1-or-later", text("LGPL-2.1.txt")),
        *map(_of_the_system, sorted(asset("licences", "system").glob("*.txt"))),
    ]


def _of_the_system(file: Path) -> Part:
    """A library that packaging/leyden.spec took from the system it was built on, with what Debian says of it."""
    text = file.read_text(encoding="utf-8", errors="replace")
    named = dict.fromkeys(re.findall(r"^License: *(\S.*)$", text, re.MULTILINE))
    return Part(file.stem, "", ", ".join(named)[:80], text)


def parts(version: str) -> list[Part]:
    """Leyden itself, its typeface, what it stands on, and the packages that are there."""
    own = Part("Leyden", version, "GPL-3.0-or-later", _read(assets_folder().parent / "LICENSE"))
    face = Part("Inter", "", "OFL-1.1", _read(asset("licences", "Inter-OFL.txt")))
    made = [own, face, *_beneath()]
    for name in PACKAGES:
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        made.append(Part(name, found.version, _short(found.metadata), _texts(found)))
    return made


class AboutDialog(Dialog):
    """Attributes: `list`, `text` (the licence of what is chosen in the list)."""

    def __init__(self, parent: QWidget, context: Context) -> None:
        super().__init__(parent, _("About Leyden"), width=760)
        self._version = Label("", "body", "text2")
        sentence = _(
            "A Lightning wallet for the desktop. Your keys stay on this computer. Free software under the GNU GPL, "
            "version 3 or later: use it, study it, change it, pass it on. It comes without any warranty."
        )
        words = vbox(self._version, Label(sentence, "body", wrap=True), spacing=S3)
        head = hbox(JarLabel(64), spacing=S4)
        head.addLayout(words, 1)
        self.body.addLayout(head)
        self.body.addWidget(Label(_("What it is made of"), "section"))
        self.list = QListWidget()
        self.list.setAccessibleName(_("Parts and their licences"))
        self.list.setAccessibleDescription(_("The licence of the chosen part stands beside the list."))
        self.list.setProperty("popup", "true")
        self.list.setFont(theme().font("body"))
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setFixedWidth(theme().px(240))
        self.text = TextArea(_("Licence"), lines=12, mono=True)
        self.text.setReadOnly(True)
        self.list.setFixedHeight(self.text.height())
        row = hbox(self.list, spacing=S3)
        row.addWidget(self.text, 1)
        self.body.addLayout(row)
        self.list.currentRowChanged.connect(self._show)
        self._parts: list[Part] = []
        self.add_cancel(_("Close"))
        self._fill("")
        context.bridge.call("version", self._told, lambda _sentence: None, owner=self)

    def _told(self, answer: Any) -> None:
        self._fill(str(answer))

    def _fill(self, version: str) -> None:
        self._version.setText(_("Version {version}").format(version=version) if version else "")
        self._parts = parts(version)
        row = max(0, self.list.currentRow())
        self.list.clear()
        for part in self._parts:
            QListWidgetItem(f"{part.name} {part.version}".strip(), self.list)
        self.list.setCurrentRow(row)

    def _show(self, row: int) -> None:
        if not 0 <= row < len(self._parts):
            return
        part = self._parts[row]
        head = _("{name}: {licence}").format(name=part.name, licence=part.licence or _("see its own pages"))
        self.text.setPlainText(f"{head}\n\n{part.text}".strip())
        self.text.setAccessibleName(_("Licence of {name}").format(name=part.name))
