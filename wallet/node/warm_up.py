"""The core, imported while nobody waits for it.

It is the most of what Leyden imports. The window is shown without it; once it stands there, a thread imports the core,
so that it is there when the password has been typed. Whoever opens a wallet goes through the same door: two threads
that imported the same modules from different ends could meet in the middle.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
from importlib import import_module

__all__ = ["begin", "import_core"]

CORE = "wallet.node.node"

_door = threading.Lock()


def import_core() -> None:
    """Imports what an open wallet needs; whoever comes meanwhile waits, and whoever comes later waits for nothing."""
    with _door:
        if CORE in sys.modules:
            return
        # A full collection is the one thing here that would hold the window up, for 20 ms. What modules are made of is
        # not garbage: it is left out of all later collections too.
        gc.disable()
        try:
            import_module(CORE)
            gc.freeze()
        finally:
            gc.enable()


def begin() -> threading.Thread:
    """Does it in a thread, which ends by itself. What goes wrong is told to whoever opens a wallet, by its own try."""
    thread = threading.Thread(target=_quietly, name="leyden-warm-up")
    thread.start()
    return thread


def _quietly() -> None:
    try:
        import_core()
    except Exception:
        logging.getLogger("leyden").info("the core could not be imported ahead of time", exc_info=True)
