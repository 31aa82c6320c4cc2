"""How Python's interpreter is set for a program that answers at once, and keeps much."""

from __future__ import annotations

import gc
import sys

__all__ = ["tune"]

SWITCH_SECONDS = 0.0005
NEW_OBJECTS = 20_000


def tune() -> None:
    """For the whole process; once, as it starts."""
    # A thread that gave up the interpreter's lock gets it back soon.
    sys.setswitchinterval(SWITCH_SECONDS)
    # What gossip and payments make stays, or goes by its count of references. Looking through it every 700 new objects,
    # as by default, took a fifth of the core's time while it read gossip.
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
