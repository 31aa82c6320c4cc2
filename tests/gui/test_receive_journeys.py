"""Receiving, through the real widgets: one code for both layers, ways to get more, and paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PyQt6.QtCore import QPoint
from PyQt6.QtGui import QGuiApplication, QImage
from PyQt6.QtWidgets import QAbstractButton, QFileDialog
from pytestqt.qtbot import QtBot

from tests.gui import scenes
from tests.gui.conftest import Desk
from tests.gui.fake_channels import suggested_id
from tests.gui.fake_node import FakeNode
from tests.gui.hands import click, type_text
from wallet.gui.pages.receive import SHOWN_REQUESTS, ReceivePage, payment_uri
from wallet.gui.pages.receive_more import AskForChannelDialog
from wallet.gui.pages.receive_sheet import save_picture, sheet_image
from wallet.gui.widgets.basic import Button, Label
from wallet.gui.widgets.notices import Toast
from wallet.gui.widgets.qr import QrWindow
from wallet.node.api import RequestStatus

Make = Callable[[FakeNode], Desk]


@pytest.mark.parametrize(
    ("amount_msat", "invoice", "text"),
    [
        (None, "", "bitcoin:bc1q"),
        (1, "", "bitcoin:bc1q?amount=0.00000001"),
        (100_000_000_000, "lnbc1", "bitcoin:bc1q?amount=1.00000000&lightning=lnbc1"),
        (None, "lnbc1", "bitcoin:bc1q?lightning=lnbc1"),
        (2_099_999_999_999_999_000, "", "bitcoin:bc1q?amount=20999999.99999999"),
    ],
)
def test_the_code_names_both_layers(amount_msat: int | None, invoice: str, text: str) -> None:
    assert payment_uri("bc1q", amount_msat, invoice) == text


def asked(one: Desk) -> ReceivePage:
    one.go("receive")
    page = one.page(ReceivePage)
    type_text(page.amount_field, "15000")
    page.note.setText("Two tickets")
    click(page.create_button)
    one.until(lambda: "lightning=" in page.code.text())
    return page


def test_one_request_can_be_paid_either_way(typical: Desk) -> None:
    page = asked(typical)
    request = next(iter(typical.node.requests.values()))
    assert request.invoice is not None
    uri = f"bitcoin:{request.address}?amount=0.00015000&lightning={request.invoice}"
    # In the code the invoice stands in capitals, which take less room.
    assert page.code.text() == uri.replace(request.invoice, request.invoice.upper())
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    click(page.copy)
    assert clipboard.text() == uri

    def seen(status: RequestStatus) -> None:
        typical.node.requests[request.request_id] = replace(request, status=status, txid="7a" * 32)
        typical.node.tell(requests=[request.request_id])

    typical.node.submit(seen, RequestStatus.PENDING)
    typical.until(lambda: "first confirmation" in page.waiting.text())
    assert not page.is_paid()
    typical.node.submit(seen, RequestStatus.PAID)
    typical.until(page.is_paid)


def test_what_can_be_received_and_how_to_get_more_stand_before_anything_is_typed(desk: Make) -> None:
    one = desk(scenes.typical())
    one.go("receive")
    page = one.page(ReceivePage)
    assert "You can receive up to" in page.can_receive.text()
    assert page.ways.spend.isVisible()
    assert page.ways.ask.isVisible()
    click(page.ways.spend)
    assert one.shell.current_key == "send"
    bare = desk(scenes.new("mainnet"))
    bare.go("receive")
    ways = bare.page(ReceivePage).ways
    assert not ways.spend.isVisible()
    assert ways.ask.isVisible()
    assert ways.buy.isVisible()


def test_a_node_is_called_and_handed_our_id(desk: Make) -> None:
    node = scenes.new("mainnet")
    node.unreachable.add(suggested_id(1))
    one = desk(node)
    one.go("receive")
    click(one.page(ReceivePage).ways.ask)
    dialog = one.dialog(AskForChannelDialog)
    assert not dialog.connect_button.isEnabled()
    type_text(dialog.peer, f"{suggested_id(1)}@node.example:9735")
    click(dialog.connect_button)
    one.until(lambda: "cannot be reached" in dialog._told.text())
    assert not dialog._own.isVisibleTo(dialog)
    dialog.peer.setText(f"{suggested_id(2)}@node.example:9735")
    click(dialog.connect_button)
    one.until(lambda: dialog._own.isVisibleTo(dialog))
    assert dialog.code.text() == node.status.node_id
    dialog.reject()


def test_the_picture_that_is_saved_holds_the_code_and_nothing_is_written_over(
    qtbot: QtBot, tmp_path: Path
) -> None:
    code = "bitcoin:bcrt1q" + "x" * 38 + "?lightning=lnbcrt1" + "q" * 300
    path = tmp_path / "request"
    assert save_picture(path, code, ["Play money", "15 000 sat"]) == ""
    saved = QImage(str(tmp_path / "request.png"))
    assert not saved.isNull()
    assert saved == sheet_image(code, ["Play money", "15 000 sat"]).convertToFormat(saved.format())
    assert saved != sheet_image(code, ["Play money"]).convertToFormat(saved.format())
    assert "already" in save_picture(path, code, [])
    assert "cannot be written" in save_picture(tmp_path / "none" / "x.png", code, [])


def test_save_asks_for_a_file(typical: Desk, tmp_path: Path) -> None:
    page = asked(typical)
    click(page.save)
    dialog = typical.dialog(QFileDialog)
    target = tmp_path / "ticket.png"
    dialog.fileSelected.emit(str(target))
    assert target.stat().st_size > 1_000
    dialog.reject()
    assert page._sheet_lines()[0] == "Play money: sandbox"


def test_a_click_shows_the_code_as_large_as_the_screen(typical: Desk) -> None:
    page = asked(typical)
    click(page.code)
    typical.until(lambda: any(w.isVisible() for w in page.findChildren(QrWindow)))
    window = page.findChildren(QrWindow)[0]
    click(window)
    typical.until(lambda: not [w for w in page.findChildren(QrWindow) if w.isVisible()])


def in_view(page: ReceivePage) -> bool:
    """Whether a person sees the whole code without scrolling."""
    seen = page.code.visibleRegion().boundingRect()
    return bool(seen.size() == page.code.size())


def test_the_code_comes_into_view_when_it_is_made_in_a_small_window(typical: Desk) -> None:
    typical.window.resize(800, 600)
    page = asked(typical)
    typical.until(lambda: in_view(page))


def test_an_open_request_shows_its_code_again(typical: Desk) -> None:
    page = asked(typical)
    code = page.code.text()
    page.reset()
    click(again(page))
    assert page.code.text() == code
    assert page._right.currentIndex() == 1
    typical.until(lambda: in_view(page))


def again(page: ReceivePage, number: int = 0) -> Button:
    return [b for b in page.findChildren(Button) if b.text() == "Show the code"][number]


def calls(one: Desk) -> int:
    return sum(command in {"add_request", "getunusedaddress"} for command, _arguments in one.node.calls)


def test_the_switch_shows_both_sides_of_a_request_that_is_shown_again_and_makes_no_other(
    typical: Desk,
) -> None:
    page = asked(typical)
    both = page.code.text()
    address = next(iter(typical.node.requests.values())).address
    click(page.new_button)
    assert not page.new_button.isVisible()
    assert page.amount_field.amount_sat() is None
    click(page.layer.button("onchain"))
    typical.until(lambda: page.code.text() != both and page._right.currentIndex() == 1)
    click(again(page))
    assert page.layer.current() == "lightning"
    assert page.code.text() == both
    # It stands beside what it was made of.
    assert (page.amount_field.amount_sat(), page.note.text()) == (15_000, "Two tickets")
    before = calls(typical)
    click(page.layer.button("onchain"))
    assert page.code.text() == f"bitcoin:{address}?amount=0.00015000"
    assert "expires" in page.waiting.text()
    click(page.layer.button("lightning"))
    assert page.code.text() == both
    assert calls(typical) == before
    # The switch is as it was before the request was looked at.
    click(page.new_button)
    assert page.layer.current() == "onchain"
    assert page.note.text() == ""


def test_a_side_that_a_request_does_not_have_cannot_be_switched_to(typical: Desk) -> None:
    typical.go("receive")
    page = typical.page(ReceivePage)
    for kind in ({"lightning": True}, {}):
        typical.node.call("add_request", amount_msat=1_000_000, message="", **kind)
    typical.until(lambda: sum(b.text() == "Show the code" for b in page.findChildren(Button)) == 2)
    requests = sorted(typical.node.requests.values(), key=lambda r: -r.created_at)
    for number, request in enumerate(requests):
        click(again(page, number))
        has, lacks = ("lightning", "onchain") if request.invoice else ("onchain", "lightning")
        assert page.layer.current() == has
        assert page.layer.button(has).isEnabled()
        assert not page.layer.button(lacks).isEnabled()
        assert "alone" in page.layer.button(lacks).toolTip()
    click(page.new_button)
    assert page.layer.current() == "lightning"
    assert page.layer.button("onchain").isEnabled()


def test_a_request_that_is_shown_says_when_it_has_run_out(typical: Desk) -> None:
    page = asked(typical)
    request = next(iter(typical.node.requests.values()))

    def runs_out() -> None:
        typical.node.requests[request.request_id] = replace(request, status=RequestStatus.EXPIRED)
        typical.node.tell(requests=[request.request_id])

    typical.node.submit(runs_out)
    typical.until(lambda: page.waiting.text() == "This request has run out. Make a new one.")


@pytest.mark.parametrize(("width", "height"), [(800, 600), (1160, 760)])
def test_what_was_copied_is_told_beside_what_can_be_pressed(typical: Desk, width: int, height: int) -> None:
    typical.window.resize(width, height)
    page = asked(typical)
    typical.until(lambda: in_view(page))
    click(page.copy)

    def covered() -> list[str]:
        toast = typical.window.findChild(Toast)
        assert toast is not None
        return [
            button.text() or button.accessibleName()
            for button in typical.window.findChildren(QAbstractButton)
            if not (seen := button.visibleRegion().boundingRect()).isEmpty()
            and seen.translated(button.mapTo(typical.window, QPoint(0, 0))).intersects(toast.geometry())
        ]

    typical.until(lambda: typical.window.findChild(Toast) is not None and covered() == [])


def test_all_requests_can_be_seen(typical: Desk) -> None:
    typical.go("receive")
    page = typical.page(ReceivePage)

    def shown() -> int:
        return sum(label.text() == "Number" for label in page.findChildren(Label))

    for _number in range(SHOWN_REQUESTS + 2):
        typical.node.call("add_request", amount_msat=1_000_000, message="Number", both=True)
    typical.until(lambda: page.more_requests.isVisible())
    typical.until(lambda: shown() == SHOWN_REQUESTS)
    click(page.more_requests)
    typical.until(lambda: shown() == SHOWN_REQUESTS + 2)
