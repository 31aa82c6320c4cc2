"""A window beside a daemon: it offers to take the wallet over, and there is always a way on."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PyQt6.QtCore import Qt
from pytestqt.qtbot import QtBot

from tests.gui.conftest import made_window
from tests.gui.fake_host import FakeHost
from tests.gui.hands import PATIENCE_MS, click, press, type_text
from tests.real.process import Process
from wallet.chain.electrum.session import ServerAddress
from wallet.gui.main_window import MainWindow
from wallet.gui.pages.unlock import UnlockPage
from wallet.gui.widgets.basic import Button
from wallet.node.api import CommandError, Json, WalletInfo
from wallet.node.host import Host
from wallet.node.options import NodeOptions
from wallet.node.rpc_client import call_daemon
from wallet.node.wallets import create_wallet_file, new_words

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 60


def filled(window: MainWindow) -> list[str]:
    """The words of the filled buttons that one sees."""
    return [b.text() for b in window.findChildren(Button) if b.kind == "filled" and b.isVisible()]


def page_of(window: MainWindow) -> UnlockPage:
    page = window.findChild(UnlockPage)
    assert page is not None
    return page


# --- on a fake host -------------------------------------------------------------------------


@pytest.fixture
def host() -> Iterator[FakeHost]:
    """A daemon has its only wallet, which has a password."""
    made = FakeHost(
        existing=[WalletInfo(name="Savings", network="signet", path=Path("/nowhere"), encrypted=True)]
    )
    made.in_daemon = True
    yield made
    made.stop()


@pytest.fixture
def page(qtbot: QtBot, host: FakeHost) -> Iterator[UnlockPage]:
    """The window asks whether to take over."""
    window = made_window(host, "signet", qtbot)
    window.start()
    window.show()
    shown = page_of(window)
    type_text(shown.password, "correct")
    press(shown.password, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: shown.taking.isVisible() and shown.taking.take.isEnabled(), timeout=PATIENCE_MS)
    yield shown
    window.close()


def window_of(page: UnlockPage) -> MainWindow:
    window = page.window()
    assert isinstance(window, MainWindow)
    return window


def test_one_filled_button_takes_over_and_the_wallet_opens_here(
    qtbot: QtBot, host: FakeHost, page: UnlockPage
) -> None:
    window = window_of(page)
    assert filled(window) == ["Take over"]
    assert not page.note.isVisible()
    click(page.taking.take)
    qtbot.waitUntil(lambda: window.shell is not None, timeout=PATIENCE_MS)


def test_cancelled_it_is_as_it_was(qtbot: QtBot, host: FakeHost, page: UnlockPage) -> None:
    click(page.taking.cancel)
    qtbot.waitUntil(page.unlock.isVisible, timeout=PATIENCE_MS)
    assert filled(window_of(page)) == ["Unlock"]
    assert page._banner.text() == ""
    assert host.in_daemon
    click(page.unlock)
    qtbot.waitUntil(page.taking.isVisible, timeout=PATIENCE_MS)


def test_a_daemon_that_is_slow_may_be_asked_again(qtbot: QtBot, host: FakeHost, page: UnlockPage) -> None:
    host.refusal = CommandError("The daemon is still saving.", code="busy")
    click(page.taking.take)
    qtbot.waitUntil(lambda: page.taking.banner.text() == "The daemon is still saving.", timeout=PATIENCE_MS)
    assert page.taking.take.isEnabled()
    host.refusal = None
    window = window_of(page)
    click(page.taking.take)
    qtbot.waitUntil(lambda: window.shell is not None, timeout=PATIENCE_MS)


def test_without_a_daemon_there_is_a_sentence_and_no_button_to_take_over(
    qtbot: QtBot, host: FakeHost, page: UnlockPage
) -> None:
    host.refusal = CommandError("Another Leyden has it.", code="locked")
    click(page.taking.take)
    qtbot.waitUntil(lambda: page._banner.text() == "Another Leyden has it.", timeout=PATIENCE_MS)
    assert filled(window_of(page)) == ["Unlock"]
    assert page.unlock.isEnabled()


def test_where_it_does_not_open_after_all_it_says_that_nobody_watches(
    qtbot: QtBot, host: FakeHost, page: UnlockPage
) -> None:
    host.damage = "The port is in use."
    click(page.taking.take)
    qtbot.waitUntil(lambda: page._banner.text() == "The port is in use.", timeout=PATIENCE_MS)
    assert page.note.isVisible()
    assert "nothing is being watched" in page.note.text()
    assert page.unlock.isEnabled()


# --- a real daemon ---------------------------------------------------------------------------


class Beside:
    """A daemon in a process of its own with a wallet open, whose only server is nobody."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        self.options = NodeOptions(
            network_name="regtest",
            root=folder,
            servers=(ServerAddress("127.0.0.1", port, False),),
            single_server_ok=True,
            listen=("127.0.0.1", 0),
        )
        create_wallet_file(self.options, new_words(), "secret")
        server, listen = f"127.0.0.1:{port}:t", "127.0.0.1:0"
        words = ["--regtest", "-D", str(folder), "--server", server, "--listen", listen, "daemon"]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.process = Process("daemon", [sys.executable, "-m", "wallet", *words], directory=folder, env=env)
        self.process.wait_line(r"commands are taken on port (\d+)")
        self.call("load_wallet", wallet=self.options.wallet_name, password="secret")
        self.node_id = str(self.call("nodeid")).partition("@")[0]

    def call(self, method: str, **given: Json) -> Any:
        return call_daemon(self.options.network_dir, method, given, timeout_seconds=WAIT_SECONDS)


def test_a_window_takes_a_wallet_over_from_a_real_daemon(qtbot: QtBot, tmp_path: Path) -> None:
    daemon = Beside(tmp_path)
    try:
        host = Host(daemon.options)
        window = made_window(host, "regtest", qtbot)
        window.start()
        window.show()
        page = page_of(window)

        # A mistyped password costs nothing: the daemon keeps the wallet.
        type_text(page.password, "Secret")
        click(page.unlock)
        qtbot.waitUntil(lambda: filled(window) == ["Take over"], timeout=WAIT_SECONDS * 1000)
        click(page.taking.take)
        qtbot.waitUntil(lambda: "does not open" in page._banner.text(), timeout=WAIT_SECONDS * 1000)
        assert len(daemon.call("list_wallets")) == 1

        page.password.clear()
        type_text(page.password, "secret")
        click(page.unlock)
        qtbot.waitUntil(lambda: filled(window) == ["Take over"], timeout=WAIT_SECONDS * 1000)
        click(page.taking.take)
        qtbot.waitUntil(lambda: window.shell is not None, timeout=WAIT_SECONDS * 1000)
        assert window.shell is not None
        assert window.shell.bridge.snapshot.status.node_id == daemon.node_id

        # The daemon runs on without it, and cannot have it while it is open here.
        assert daemon.process.alive
        assert daemon.call("list_wallets") == []
        with pytest.raises(CommandError) as caught:
            daemon.call("load_wallet", wallet=daemon.options.wallet_name, password="secret")
        assert caught.value.code == "locked"
        window.close()
        host.close().result(WAIT_SECONDS)
        assert daemon.call("load_wallet", wallet=daemon.options.wallet_name, password="secret") is True
    finally:
        code = daemon.process.stop()
    assert code == 0
