"""The channel backup in a second folder, kept by a thread of its own: a disk that hangs holds up nothing else.

Theory of operation. What is to be written is put down, the newest in place of what waits, and one thread at a time
brings the file up to it. A network folder or a stick may keep that thread for ever, in a call that nobody can end; then
its copy is not up to date, and says so, and whoever names another folder leaves the thread behind. What lies there at
the start is read first, by the same thread: nothing is written over it before its channels were taken over, and are
durable elsewhere. What cannot be read, because the folder fails or is not there, is left alone and looked at again.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from wallet.i18n import _
from wallet.ln.channel_backup import ChannelBackup, ChannelBackups

__all__ = ["PATIENCE_SECONDS", "SecondCopy", "in_time"]

PATIENCE_SECONDS: Final = 20.0
"""A folder that takes longer is said not to answer: sticks and synchronised folders take a second."""


def in_time(work: Callable[[], object], seconds: float) -> None:
    """Does something with a folder that may hang; raises `TimeoutError` when it does, and what `work` raises."""
    done = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)
        done.set()

    threading.Thread(target=run, name="second folder", daemon=True).start()
    if not done.wait(seconds):
        raise TimeoutError(_("the folder does not answer"))
    if failed:
        raise failed[0]


class SecondCopy:
    """The file in one folder. For any thread; nothing here waits for the folder but `wait`.

    Attributes:
        path: the file. saved_at: when it was last written; 0 before.
    """

    def __init__(
        self,
        path: Path,
        *,
        read: Callable[[Path], ChannelBackups | None],
        write: Callable[[Path, ChannelBackups], None],
        clock: Callable[[], float],
    ) -> None:
        self.path = path
        self.saved_at = 0
        self._read = read
        self._write = write
        self._clock = clock
        self._condition = threading.Condition()
        self._is_working = self._is_due = self._is_closed = False
        self._busy_since: float | None = None
        self._found: ChannelBackups | None = None
        self._is_read = self._is_handed = self._is_taken = False
        self._wanted: ChannelBackups | None = None
        self._saved: tuple[ChannelBackup, ...] | None = None
        self._trouble = ""

    def begin(self) -> None:
        """Something is to be done, or to be looked at again."""
        with self._condition:
            self._is_due = True
            if not self._is_working and not self._is_closed:
                self._is_working = True
                threading.Thread(target=self._run, name="second backup", daemon=True).start()

    def put(self, backups: ChannelBackups) -> None:
        """What the file is to hold from now on."""
        with self._condition:
            self._wanted = backups
        self.begin()

    def open(self, backups: ChannelBackups | None, *, is_known: bool) -> None:
        """This folder is named, for the first time or again. `is_known`: what lies there was read and taken over."""
        with self._condition:
            self._is_closed = False
            if backups is not None:
                self._wanted = backups
            if is_known:
                self._may_write_over()
        self.begin()

    def close(self) -> None:
        """Another folder is named: after what it is doing now, the thread ends."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()

    def wait(self, seconds: float) -> bool:
        """Until nothing is to be done any more, well or not; False when that takes too long."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._is_working, seconds)

    # --- what was there -----------------------------------------------------------------

    @property
    def has_found(self) -> bool:
        """Whether what lay there was read, and waits to be taken over."""
        return self._is_read and not self._is_handed and not self._is_taken

    def take(
        self,
        take_over: Callable[[ChannelBackups | None], object],
        afterwards: Callable[[Callable[[], None]], object],
    ) -> None:
        """Hands over what lay there. This file may be the only one that has it: it is written over only once
        `afterwards` calls, when what was taken over is durable."""
        take_over(self._found)
        self._is_handed = True
        afterwards(self._taken)

    def _taken(self) -> None:
        with self._condition:
            self._may_write_over()
        self.begin()

    def _may_write_over(self) -> None:
        self._is_read = self._is_taken = True
        self._found = None
        self._saved = None

    # --- how it is ----------------------------------------------------------------------

    @property
    def problem(self) -> str:
        """A sentence, empty while the file is up to date or about to be."""
        with self._condition:
            since = self._busy_since
            if since is not None and self._clock() - since >= PATIENCE_SECONDS:
                return self._sentence(_("it does not answer"))
            return self._sentence(self._trouble) if self._trouble else ""

    def _sentence(self, why: str) -> str:
        return _(
            "The channel backup could not be written to {folder} ({why}). Without it, a lost computer may cost you "
            "the coins in your channels."
        ).format(folder=self.path.parent, why=why)

    # --- on the thread ------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._condition:
                self._busy_since = None
                if self._is_closed or not self._is_due:
                    self._is_working = False
                    self._condition.notify_all()
                    return
                self._is_due = False
                self._busy_since = self._clock()
                is_read, is_taken = self._is_read, self._is_taken
                wanted, before = self._wanted, self._saved
            trouble, found, saved, is_well = "", None, before, False
            try:
                if not is_read:
                    found = self._read_there()
                elif (
                    is_taken and wanted is not None and not (saved == wanted.channels and self.path.exists())
                ):
                    saved = None
                    self._write(self.path, wanted)
                    saved = wanted.channels
                is_well = True
            except OSError as error:
                trouble = error.strerror or str(error)
            with self._condition:
                self._trouble = trouble
                if not is_read:
                    if is_well and not self._is_read:
                        self._found, self._is_read = found, True
                elif saved is not before:
                    self._saved = saved
                    if saved is not None and wanted is not None:
                        self.saved_at = wanted.made_at

    def _read_there(self) -> ChannelBackups | None:
        """What lies there. A folder that is missing may be one that is not mounted yet: that nothing is to be seen
        does not say that nothing is there. Raises `OSError`."""
        self._need_folder()
        found = self._read(self.path)
        self._need_folder()
        return found

    def _need_folder(self) -> None:
        if not self.path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path.parent))
