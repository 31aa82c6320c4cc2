"""A plugin for pytest that tells of each test what it made of the window's thread: `-p tests.gui.slices_plugin`.

`SLICES` names the file to which it adds a line of JSON a test: its id, its longest slice (ms, of these waited, what it
was), how many slices there were, and for how many ms at a stretch somebody kept the interpreter's lock. What a
slice is, `tests.gui.slices` says; what a test does itself, between two events, is none.
"""

from __future__ import annotations

import gc
import json
import os
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from PyQt6.QtWidgets import QApplication

from tests.gui.slices import Application, LockWatch, Longest, Waits, cost_of_hearing_ms, count_waits, work

__all__ = ["FILE"]

FILE = "SLICES"

_waits = Waits()


@cache
def _prepare(app: Application) -> float:
    """As the program does before anybody's hand is at it; what it costs to hear one event, in ms."""
    from wallet.gui.ahead import Ahead

    ahead = Ahead(app)
    while ahead.left:
        ahead._next()
    return cost_of_hearing_ms(app)


def pytest_configure() -> None:
    assert threading.current_thread() is threading.main_thread()
    count_waits(_waits)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    app = QApplication.instance()
    if not isinstance(app, Application):
        # A test without a window.
        return (yield)
    longest = Longest(_waits, heard_ms=_prepare(app))
    # What the tests before have left, and pytest's own, is none of the window's.
    gc.collect()
    gc.freeze()
    watch = LockWatch()
    app.longest = longest
    try:
        return (yield)
    finally:
        app.longest = None
        watch.end()
        told = {
            "test": item.nodeid, "longest": longest.found.get(0, (0.0, 0.0, "")), "slices": longest.slices,
            "kept_ms": watch.longest_ms(), "scale": work(),
        }  # fmt: skip
        with Path(os.environ[FILE]).open("a") as file:
            file.write(json.dumps(told) + "\n")
