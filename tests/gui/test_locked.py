"""A wallet behind its lock runs on: what comes in is told, closing the window asks, links wait, and it opens again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from tests.gui.conftest import made_window
from tests.gui.fake_host import FakeHost
from tests.gui.fake_node import FakeNode
from tests.gui.hands import PATIENCE_MS, click, press, type_text
from wallet.gui import format as fmt
from wallet.gui.closing import CloseQuestion
from wallet.gui.main_window import MainWindow
from wallet.gui.pages.send import SendPage
from wallet.gui.pages.unlock import UnlockPage
from wallet.gui.pages.wallet_choice import WalletChoice
from wallet.node.api import ActivityItem, ActivityKind, ActivityStatus, WalletInfo

SAVINGS = WalletInfo(name="Savings", network="signet", path=Path("/nowhere"), encrypted=True)
TRAVEL = WalletInfo(name="Travel", network="signet", path=Path("/nowhere/travel"), encrypted=False)


class Door:
    """A window with a wallet that has a password, and another one that has none."""

    def __init__(self, qtbot: QtBot) -> None:
        self.qtbot = qtbot
        self.host = FakeHost(existing=[SAVINGS, TRAVEL])
        self.window: MainWindow = made_window(self.host, "signet", qtbot)
        self.told: list[tuple[str, str]] = []
        self.window.notify = lambda title, text: self.told.append((title, text))
        self.window.start()
        self.window.show()

    @property
    def page(self) -> UnlockPage:
        page = self.window._content
        assert isinstance(page, UnlockPage)
        return page

    @property
    def node(self) -> FakeNode:
        assert self.host.node is not None
        return self.host.node

    def choose(self, info: WalletInfo) -> None:
        choice = self.window._content
        assert isinstance(choice, WalletChoice)
        click(choice.cards[(info.network, info.name)])
        self.qtbot.waitUntil(lambda: isinstance(self.window._content, UnlockPage), timeout=PATIENCE_MS)

    def unlock(self) -> None:
        type_text(self.page.password, "correct")
        press(self.page.password, Qt.Key.Key_Return)
        self.qtbot.waitUntil(lambda: self.window.shell is not None, timeout=PATIENCE_MS)


@pytest.fixture
def door(qtbot: QtBot) -> Iterator[Door]:
    made = Door(qtbot)
    yield made
    made.window.asks_before_closing = False
    made.window.close()
    made.host.stop()


@pytest.fixture
def locked(door: Door) -> Door:
    """It was unlocked, and locked again."""
    door.choose(SAVINGS)
    door.unlock()
    door.window.lock()
    return door


def receive(node: FakeNode) -> None:
    item = ActivityItem(
        item_id="ln:aa", kind=ActivityKind.LIGHTNING, amount_msat=21_000_000, fee_msat=0, at=fmt.now(),
        status=ActivityStatus.DONE, status_text="Received", label="",
    )  # fmt: skip
    node.activity.insert(0, item)
    node.tell(activity=[item.item_id])


def test_a_payment_behind_the_lock_is_told_without_its_amount(
    locked: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locked.window, "isActiveWindow", lambda: False)
    receive(locked.node)
    locked.qtbot.waitUntil(lambda: bool(locked.told), timeout=PATIENCE_MS)
    assert locked.told == [("Payment received", "Unlock Leyden to see it.")]
    # It is no news any more once the wallet is open.
    locked.unlock()
    locked.node.tell()
    assert len(locked.told) == 1


def test_closing_a_locked_window_does_as_it_was_chosen(locked: Door) -> None:
    window = locked.window
    window.asks_before_closing = True
    window.preferences.choose_closing("stay")
    window.close()
    locked.qtbot.waitUntil(window.isMinimized, timeout=PATIENCE_MS)
    window.showNormal()
    window.preferences.choose_closing("ask")
    window.close()
    locked.qtbot.waitUntil(
        lambda: any(d.isVisible() for d in window.findChildren(CloseQuestion)), timeout=PATIENCE_MS
    )
    dialog = window.findChild(CloseQuestion)
    assert dialog is not None
    click(dialog.quit_button)
    locked.qtbot.waitUntil(lambda: not window.isVisible(), timeout=PATIENCE_MS)


def test_before_a_wallet_is_open_closing_asks_nothing(door: Door) -> None:
    door.window.asks_before_closing = True
    door.choose(SAVINGS)
    door.window.close()
    assert not door.window.isVisible()


def test_from_the_list_a_locked_wallet_is_still_watched_and_asks_for_its_password(locked: Door) -> None:
    locked.window.act("wallets")
    locked.choose(SAVINGS)
    assert "goes on watching" in locked.page.note.text()
    locked.unlock()


def test_a_wallet_that_was_given_a_password_since_it_was_opened_asks_for_it(door: Door) -> None:
    door.choose(TRAVEL)
    door.qtbot.waitUntil(lambda: door.window.shell is not None, timeout=PATIENCE_MS)
    door.host.set_password(TRAVEL, "correct")
    door.window.lock()
    door.qtbot.waitUntil(door.page.password.isVisible, timeout=PATIENCE_MS)
    door.unlock()


def test_a_link_waits_for_unlocking_says_so_and_pays_nothing(locked: Door) -> None:
    text = "lightning:lntbs1nothing"
    for _twice in range(2):
        locked.window.take_link(text)
    waiting = [label.text() for label in locked.page.findChildren(QLabel) if "link" in label.text()]
    assert waiting == ["The link that you opened is shown once the wallet is open."]
    locked.unlock()
    shell = locked.window.shell
    assert shell is not None
    page = shell.page("send")
    assert isinstance(page, SendPage)
    assert shell.current_key == "send"
    assert page.field.text() == text
    assert "lnpay" not in [name for name, _arguments in locked.node.calls]
    locked.window.lock()
    assert not [
        label for label in locked.page.findChildren(QLabel) if label.isVisible() and "link" in label.text()
    ]


def test_a_link_leaves_a_window_that_filled_the_screen_as_it_was(locked: Door) -> None:
    window = locked.window
    window.showMaximized()
    window.setWindowState(window.windowState() | Qt.WindowState.WindowMinimized)
    window.take_link("")
    assert window.isMaximized()
    assert not window.isMinimized()
