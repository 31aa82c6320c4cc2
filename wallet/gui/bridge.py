"""The way between the node's threads and Qt's: change-sets and finished commands arrive here as queued
signals.

Theory of operation. The node calls its listener, and futures call theirs, on threads of their own. Both
only emit a signal of an object that lives in the GUI's thread, through a queued connection, so that whoever
reacts is always in the GUI's thread and never inside the node's call. A result whose owner was deleted
meanwhile is dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from PyQt6 import sip
from PyQt6.QtCore import QObject, Qt, pyqtSignal, pyqtSlot

from wallet.gui import format as fmt
from wallet.i18n import _
from wallet.node.api import ChangeSet, CommandError, Json, NodeApi, WalletSnapshot

__all__ = ["Bridge", "error_sentence", "run"]

_log = logging.getLogger(__name__)
T = TypeVar("T")


def error_sentence(error: BaseException) -> str:
    """What a person is told about a command that failed."""
    if isinstance(error, CommandError):
        return fmt.plain(error.message, 400)
    if isinstance(error, CancelledError):
        return _("This was cancelled.")
    _log.error("a command failed in a way it should not", exc_info=error)
    return _("Leyden made a mistake: {what}. Nothing was lost; the log has the details.").format(
        what=fmt.plain(f"{type(error).__name__}: {error}", 200)
    )


class _Returner(QObject):
    """Carries finished futures into the thread it was made in. Signal: `settled(callable)`."""

    settled = pyqtSignal(object)

    def __init__(self) -> None:
        super().__init__()
        self.settled.connect(self._call, Qt.ConnectionType.QueuedConnection)  # type: ignore[call-arg]  # the stub lacks it

    @pyqtSlot(object)
    def _call(self, finish: Callable[[], None]) -> None:
        finish()


_returner: _Returner | None = None


def returner() -> _Returner:
    """Made on first use, in the GUI's thread."""
    global _returner
    if _returner is None:
        _returner = _Returner()
    return _returner


def run(
    future: Future[T],
    on_done: Callable[[T], object],
    on_error: Callable[[str], object] | None = None,
    *,
    owner: QObject | None = None,
) -> None:
    """Calls `on_done` with the result, or `on_error` with a sentence, in the GUI's thread.

    `owner` is the object the callbacks belong to: once it is deleted, neither is called.
    """
    carrier = returner()

    def finish() -> None:
        if owner is not None and sip.isdeleted(owner):
            return
        try:
            value = future.result()
        except (Exception, CancelledError) as error:
            sentence = error_sentence(error)
            if on_error is not None:
                on_error(sentence)
            else:
                _log.warning("a command failed and nobody listened: %s", type(error).__name__)
            return
        on_done(value)

    def done(_future: Future[T]) -> None:
        if not sip.isdeleted(carrier):
            carrier.settled.emit(finish)

    future.add_done_callback(done)


class Bridge(QObject):
    """One running wallet as the pages see it.

    Signals: `changed(ChangeSet)`, in the GUI's thread, after each change-set of the node.
    """

    changed = pyqtSignal(object)
    _arrived = pyqtSignal(object)

    def __init__(self, api: NodeApi) -> None:
        super().__init__()
        self.api = api
        self._snapshot = api.snapshot()
        self._arrived.connect(self._take, Qt.ConnectionType.QueuedConnection)  # type: ignore[call-arg]  # as above
        self._unsubscribe: Callable[[], None] | None = api.subscribe(self._listen)

    @property
    def snapshot(self) -> WalletSnapshot:
        """The last one that was announced; what the pages show agrees with it."""
        return self._snapshot

    @property
    def network(self) -> str:
        return self._snapshot.status.network

    def _listen(self, changes: ChangeSet) -> None:
        # On the node's thread.
        if not sip.isdeleted(self):
            self._arrived.emit(changes)

    @pyqtSlot(object)
    def _take(self, changes: ChangeSet) -> None:
        if self._unsubscribe is None:
            return
        self._snapshot = changes.snapshot
        self.changed.emit(changes)

    def call(
        self,
        command: str,
        /,
        on_done: Callable[[Any], object],
        on_error: Callable[[str], object] | None = None,
        *,
        owner: QObject | None = None,
        **arguments: Json,
    ) -> None:
        """Runs a command; the callbacks come in the GUI's thread."""
        run(self.api.call(command, **arguments), on_done, on_error, owner=owner or self)

    def stop(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
