"""Mistakes of our own: logged, shown in a report, and survived.

An exception in a Qt slot would end the process, and the node with it. Both hooks are set before
QApplication is made; the report opens in the GUI's thread, whichever thread the exception came from, and
one report at a time.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from types import TracebackType

from PyQt6 import sip
from PyQt6.QtCore import QObject, Qt, pyqtSignal, pyqtSlot
from PyQt6.QtWidgets import QApplication, QWidget

from wallet.i18n import _

__all__ = ["install", "reporter"]

_log = logging.getLogger(__name__)


class Reporter(QObject):
    """Opens the report. Signal: `raised(str)`, the traceback as text."""

    raised = pyqtSignal(str)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self._open: QObject | None = None
        self.raised.connect(self._show, Qt.ConnectionType.QueuedConnection)  # type: ignore[call-arg]  # the stub lacks it

    @pyqtSlot(str)
    def _show(self, text: str) -> None:
        self.seen.append(text)
        if self._open is not None and not sip.isdeleted(self._open):
            return
        parent = QApplication.activeWindow()
        if parent is None:
            windows = [w for w in QApplication.topLevelWidgets() if w.isVisible()]
            parent = windows[0] if windows else None
        if parent is not None:
            self._open = _report(parent, text)


def _report(parent: QWidget, text: str) -> QObject:
    from wallet.gui.widgets.basic import Label
    from wallet.gui.widgets.dialog import Dialog
    from wallet.gui.widgets.fields import TextArea
    from wallet.gui.widgets.ids import Fold, copy_text

    dialog = Dialog(parent, _("Leyden made a mistake"))
    sentence = _(
        "Something in the window went wrong. Your wallet goes on running and nothing was lost. If it happens "
        "again, send the report to the people who make Leyden: it holds no keys and no amounts of yours."
    )
    dialog.body.addWidget(Label(sentence, "body", wrap=True))
    details = TextArea(_("Report"), lines=10, least_lines=4, mono=True)
    dialog.gives_way = details
    details.setReadOnly(True)
    details.setPlainText(text)
    dialog.body.addWidget(Fold(_("Details"), details))
    dialog.add_button(_("Copy the report"), "outlined", lambda: copy_text(parent, text, _("Report")), "copy")
    dialog.add_button(_("Go on"), "filled", dialog.accept)
    dialog.open()
    return dialog


_reporter: Reporter | None = None


def reporter() -> Reporter:
    """The one of this process; make it in the GUI's thread."""
    global _reporter
    if _reporter is None:
        _reporter = Reporter()
    return _reporter


def _handle(kind: type[BaseException], value: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        app = QApplication.instance()
        if app is not None:
            app.quit()
        return
    _log.critical("uncaught exception", exc_info=(kind, value or kind(), trace))
    # The last line of a traceback may quote what was typed: the report names files, lines and the kind only.
    places = traceback.format_tb(trace)
    reporter().raised.emit("".join(places) + kind.__name__)


def install() -> None:
    """Call before QApplication is made."""
    reporter()
    sys.excepthook = _handle
    threading.excepthook = lambda given: _handle(given.exc_type, given.exc_value, given.exc_traceback)
