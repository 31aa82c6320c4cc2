"""No hand of a person holds the window's thread for more than 50 ms of its own CPU time.

CPU time, because what other programs take from the machine is no fault of the window's; of several windows the best
counts, because caches that others emptied are none either. A machine that is slower than the one the limit was meant
for has as much more as a fixed piece of work takes it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

from PyQt6.QtWidgets import QApplication

from tests.gui import scenes
from tests.gui.conftest import Desk
from tests.gui.fake_node import FakeNode
from tests.gui.slices import work
from wallet.gui.pages.receive import ReceivePage
from wallet.gui.pages.send import SendPage
from wallet.gui.widgets.basic import Label

Make = Callable[[FakeNode], Desk]
LIMIT_MS = 50
TRIES = 8


def cpu_ms(act: Callable[[], object]) -> float:
    since = time.thread_time()
    act()
    return (time.thread_time() - since) * 1000


def journeys(one: Desk) -> dict[str, Callable[[], object]]:
    """In order: what a person does, each of it one slice and then what the event loop makes of it."""
    shell = one.window.shell
    assert shell is not None
    node = one.node
    invoice = node.foreign_invoice(21_000_000, "Coffee")
    preferences = one.window.preferences
    return {
        "send": lambda: shell.go("send"),
        "an invoice": lambda: one.page(SendPage).take(invoice),
        "receive": lambda: shell.go("receive"),
        "a request": lambda: one.page(ReceivePage)._show_code(
            {"invoice": "lnbcrt" + "q7" * 300, "address": "", "amount_msat": 5_000_000}
        ),
        "activity": lambda: shell.go("activity"),
        "channels": lambda: shell.go("channels"),
        "a channel": lambda: shell.show_channel(next(iter(node.channels))),
        "settings": lambda: shell.go("settings"),
        "hidden amounts": lambda: preferences.choose_hidden(True),
        "another unit": lambda: preferences.choose_unit("bits"),
        "overview": lambda: shell.go("overview"),
        "news": lambda: node.tell(
            channels=list(node.channels), activity=[i.item_id for i in node.activity[:5]]
        ),
        "details": lambda: shell.show_item(node.activity[0].item_id),
    }


def measured(one: Desk) -> dict[str, float]:
    took = {}
    for name, act in journeys(one).items():
        gc.collect()
        took[name] = cpu_ms(act)
        took[f"{name}, laid out"] = cpu_ms(QApplication.processEvents)
        one.node.settle()
        took[f"{name}, answered"] = cpu_ms(QApplication.processEvents)
    return took


def test_no_slice_is_long(desk: Make, record_property: Callable[[str, object], None]) -> None:
    best: dict[str, float] = {}
    scale = 1.0
    for _try in range(TRIES):
        before = work()
        for name, took in measured(desk(scenes.typical("mainnet", channels=8))).items():
            best[name] = min(best.get(name, took), took)
        scale = max(scale, before, work())
        if max(best.values()) <= LIMIT_MS * scale:
            break
    worst = sorted(((took, name) for name, took in best.items()), reverse=True)[:5]
    record_property("worst", worst)
    print("worst:", ", ".join(f"{name} {took:.1f} ms" for took, name in worst), f"scale {scale:.2f}")
    assert [f"{name}: {took:.0f} ms" for took, name in worst if took > LIMIT_MS * scale] == []


def test_the_height_of_a_sentence_follows_its_text_its_width_and_its_font(qapp: QApplication) -> None:
    """It is kept, because layouts ask for it dozens of times."""
    label = Label("A sentence that goes on for a while, and then some more. " * 3, wrap=True)
    wide, narrow = label.heightForWidth(600), label.heightForWidth(150)
    assert narrow > wide == label.heightForWidth(600)
    font = label.font()
    font.setPointSizeF(font.pointSizeF() * 2 if font.pointSizeF() > 0 else 30)
    label.setFont(font)
    assert label.heightForWidth(600) > wide
    label.setText("Short.")
    assert label.heightForWidth(150) < narrow
