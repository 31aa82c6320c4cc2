"""Threads: what comes from the node's thread is handled in the GUI's; mistakes are reported, not fatal."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
from PyQt6.QtCore import QObject
from PyQt6.QtGui import QImage
from PyQt6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from tests.gui import scenes
from tests.gui.conftest import Desk
from tests.gui.fake_host import FakeHost
from tests.gui.hands import PATIENCE_MS
from wallet.gui import excepthook
from wallet.gui.bridge import Bridge, error_sentence, run
from wallet.gui.tour import run_tour
from wallet.gui.widgets.bars import CapacityBar, Segment
from wallet.gui.widgets.qr import QrCode, matrix_image
from wallet.node.api import ChangeSet, CommandError


def test_changes_arrive_in_the_windows_thread(qtbot: QtBot) -> None:
    node = scenes.new()
    bridge = Bridge(node)
    threads: list[int] = []
    totals: list[int] = []

    def seen(changes: ChangeSet) -> None:
        threads.append(threading.get_ident())
        totals.append(changes.snapshot.balance.total_sat)

    bridge.changed.connect(seen)
    node.submit(node.give_coins, 3_000_000_000)
    qtbot.waitUntil(lambda: bool(totals), timeout=PATIENCE_MS)
    assert set(threads) == {threading.get_ident()}
    assert totals == [3_000_000_000]  # more than 32 bits hold
    assert bridge.snapshot.balance.total_sat == 3_000_000_000
    bridge.stop()
    node.submit(node.give_coins, 1).result(5)
    QApplication.processEvents()
    assert totals == [3_000_000_000]
    node.stop()


def test_results_come_back_in_the_windows_thread(qtbot: QtBot) -> None:
    future: Future[int] = Future()
    seen: list[tuple[int, int]] = []
    run(future, lambda value: seen.append((value, threading.get_ident())))
    threading.Thread(target=lambda: future.set_result(2**40)).start()
    qtbot.waitUntil(lambda: bool(seen), timeout=PATIENCE_MS)
    assert seen == [(2**40, threading.get_ident())]


def test_errors_are_sentences(qtbot: QtBot) -> None:
    future: Future[int] = Future()
    seen: list[str] = []
    run(future, lambda _value: None, seen.append)
    future.set_exception(CommandError("Not enough coins."))
    qtbot.waitUntil(lambda: bool(seen), timeout=PATIENCE_MS)
    assert seen == ["Not enough coins."]
    assert "ZeroDivisionError" in error_sentence(ZeroDivisionError("x"))


def test_an_owner_that_is_gone_is_not_called(qtbot: QtBot) -> None:
    from PyQt6 import sip

    future: Future[int] = Future()
    owner = QObject()
    seen: list[int] = []
    run(future, seen.append, owner=owner)
    sip.delete(owner)
    future.set_result(1)
    QApplication.processEvents()
    assert seen == []


def test_a_mistake_opens_a_report_and_the_window_lives(
    typical: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter = excepthook.reporter()
    before = len(reporter.seen)
    words = " ".join(["secret", "words"])  # as if a person had typed them
    try:
        raise ValueError(words)
    except ValueError:
        excepthook._handle(*sys.exc_info())
    typical.until(lambda: len(reporter.seen) > before)
    text = reporter.seen.pop()
    assert "ValueError" in text
    assert words not in text
    assert reporter._open is not None
    typical.go("send")


def test_codes_can_be_read(qtbot: QtBot) -> None:
    zxingcpp = pytest.importorskip("zxingcpp")
    for text in ("bitcoin:bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "LIGHTNING:LNBC" + "Q9" * 400):
        code = QrCode()
        qtbot.addWidget(code)
        code.show_text(text)
        code.show()
        image = code.grab().toImage().convertToFormat(QImage.Format.Format_Grayscale8)
        bits = image.constBits()
        assert bits is not None
        bits.setsize(image.sizeInBytes())
        flat = memoryview(bits)  # type: ignore[arg-type]  # a voidptr is a buffer; the stub forgets it
        rows = flat.cast("B", (image.height(), image.bytesPerLine()))
        found = zxingcpp.read_barcodes(rows)
        assert [barcode.text for barcode in found] == [text]
        assert code.width() >= 320


def test_a_long_code_is_drawn_once(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    """All eight masks of an invoice took the window's thread 40 ms, and the longest code 150."""
    import qrcode

    drawn: list[int] = []
    make = qrcode.QRCode.makeImpl

    def counted(self: qrcode.QRCode, test: bool, mask_pattern: int) -> None:
        drawn.append(mask_pattern)
        make(self, test, mask_pattern)

    monkeypatch.setattr(qrcode.QRCode, "makeImpl", counted)
    matrix_image("lnbcrt" + "q7" * 200)
    assert len(drawn) == 1


def test_a_code_has_a_margin_of_four(qtbot: QtBot) -> None:
    image = matrix_image("test")
    white = [image.pixelColor(x, y).lightness() for x in range(image.width()) for y in range(4)]
    assert set(white) == {255}
    assert image.pixelColor(4, 4).lightness() == 0


def test_bars_are_to_scale(qtbot: QtBot) -> None:
    bar = CapacityBar()
    qtbot.addWidget(bar)
    bar.resize(400, 12)
    for capacity_sat, width in ((1_000_000, 400), (500_000, 200), (1_000, 48)):
        bar.show_channel(
            capacity_sat=capacity_sat,
            local_msat=capacity_sat * 600,
            remote_msat=capacity_sat * 400,
            can_send_msat=capacity_sat * 590,
            can_receive_msat=capacity_sat * 390,
            inflight_msat=0,
            scale_sat=1_000_000,
        )
        assert bar.bar_width() == width
    assert bar.segments[0] == Segment("reserve", 10_000)
    assert "can send" in bar.accessibleName()


def test_the_tour_walks_on_the_fake_node(
    qtbot: QtBot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_tour(FakeHost(), "sandbox", tmp_path)
    shown = capsys.readouterr()
    assert code == 0, shown.err
    lines = shown.out.splitlines()
    assert len(lines) == 8
    assert lines[-1].endswith("the wallet holds exactly that.")
    assert len(list(tmp_path.glob("*.png"))) >= 20


def test_the_tour_says_where_it_stopped(
    qtbot: QtBot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.gui.fake_node import FakeNode
    from wallet.node.api import WalletInfo

    def broken(info: WalletInfo) -> FakeNode:
        node = FakeNode(network=info.network, name=info.name)
        node.fail("lnpay", "The hub is asleep")
        return node

    assert run_tour(FakeHost(make=broken), "sandbox", tmp_path) == 1
    assert "The hub is asleep" in capsys.readouterr().err
    assert (tmp_path / "stopped-here.png").is_file()
