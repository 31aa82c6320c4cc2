"""Locks the wallet after minutes without a hand on the computer, where the person asked for it.

The wall clock counts, so that the time asleep does as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from PyQt6.QtCore import QObject, QTimer

from wallet.gui.preferences import Preferences
from wallet.gui.widgets.focus import focus_watcher

__all__ = ["CHOICES_MINUTES", "IdleLock"]

CHOICES_MINUTES = (0, 1, 5, 15, 60)
LOOK_MS = 15_000
"""How often it looks at most: a computer that wakes up is locked this soon."""


class IdleLock(QObject):
    """Attributes: `clock`, unix seconds."""

    def __init__(self, parent: QObject, preferences: Preferences, lock: Callable[[], object]) -> None:
        super().__init__(parent)
        self.clock: Callable[[], float] = time.time
        self._preferences = preferences
        self._lock = lock
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.look)
        preferences.locking_changed.connect(self._arm)
        self._arm()

    def _arm(self) -> None:
        minutes = self._preferences.lock_minutes
        if minutes > 0:
            self._timer.start(min(LOOK_MS, minutes * 60_000))
        else:
            self._timer.stop()

    def look(self) -> None:
        """Locks once it has been quiet for long enough."""
        minutes = self._preferences.lock_minutes
        quiet_seconds = self.clock() - focus_watcher().acted_at
        # A clock that was put back proves nothing, and is counted from anew.
        if quiet_seconds < 0:
            focus_watcher().acted_at = self.clock()
        elif minutes > 0 and quiet_seconds >= minutes * 60:
            self._lock()
