"""Sending, through the real widgets: links, nodes, contacts, and codes that are pasted, dropped and scanned."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from PyQt6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PyQt6.QtGui import (
    QColor,
    QDragEnterEvent,
    QDropEvent,
    QGuiApplication,
    QImage,
    QPainter,
    QPixmap,
    QScreen,
)
from PyQt6.QtWidgets import QApplication, QFileDialog, QLabel, QWidget

from tests.gui import scenes
from tests.gui.codes import picture_of
from tests.gui.conftest import Desk
from tests.gui.fake_node import FakeNode
from tests.gui.fake_send import FAKE_LINK, FAKE_PSBT
from tests.gui.hands import click, drag, press, type_text
from wallet.gui import format as fmt
from wallet.gui.pages.channel import ChannelDetail
from wallet.gui.pages.contacts import ContactDialog, NameDialog
from wallet.gui.pages.item_dialog import ItemDialog
from wallet.gui.pages.link_cards import LinkCard, NodeCard
from wallet.gui.pages.overview import OverviewPage
from wallet.gui.pages.pay_cards import InvoiceCard, OnchainCard
from wallet.gui.pages.psbt_card import PsbtCard
from wallet.gui.pages.send import SendPage
from wallet.gui.scan import camera as cameras
from wallet.gui.scan import screen as screens
from wallet.gui.scan.camera import Camera, QtCamera
from wallet.gui.scan.dialog import CameraDialog
from wallet.gui.scan.screen import RegionOverlay, ScreenSource, X11Screen
from wallet.gui.widgets.basic import Button
from wallet.gui.widgets.notices import Banner

Make = Callable[[FakeNode], Desk]


def send_page(desk: Desk) -> SendPage:
    desk.go("send")
    return desk.page(SendPage)


def until_card(desk: Desk, page: SendPage) -> None:
    desk.until(lambda: page.card is not None)


def onchain_card(page: SendPage) -> OnchainCard:
    card = page.card
    assert isinstance(card, OnchainCard)
    return card


def until_said(desk: Desk, page: SendPage, words: str) -> None:
    desk.until(lambda: words in page.banner.text() and page.banner.isVisible())


def paste(page: SendPage, text: str) -> None:
    """By the keyboard, from the clipboard."""
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    clipboard.setText(text)
    press(page.field, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)


def blank() -> QImage:
    image = QImage(400, 300, QImage.Format.Format_RGB32)
    image.fill(QColor("white"))
    return image


def desktop_with(code: QImage, at: QPoint) -> QPixmap:
    """A screen with a window or two, and a code on it."""
    image = QImage(1600, 900, QImage.Format.Format_RGB32)
    image.fill(QColor("#335577"))
    painter = QPainter(image)
    painter.fillRect(100, 80, 900, 700, QColor("#eeeeee"))
    painter.drawImage(at, code)
    painter.end()
    return QPixmap.fromImage(image)


# --- pictures, files, the clipboard ------------------------------------------------------------


def test_an_invoice_is_scanned_from_a_picture_and_paid(typical: Desk, tmp_path: Path) -> None:
    invoice = typical.node.foreign_invoice(21_000_000, "Coffee")
    file = tmp_path / "code.png"
    assert picture_of(invoice.upper()).save(str(file))
    # A code in capitals is smaller; what is recognised is the same.
    typical.node.invoices[invoice.upper()] = typical.node.invoices[invoice]
    page = send_page(typical)
    page.take_file(file)
    until_card(typical, page)
    assert isinstance(page.card, InvoiceCard)
    click(page.card.button)
    typical.until(lambda: page.result is not None)
    assert page.result is not None
    assert page.result.title == "Paid"


def test_a_picture_without_a_code_is_said_to_be_one(typical: Desk, tmp_path: Path) -> None:
    page = send_page(typical)
    file = tmp_path / "cat.png"
    assert blank().save(str(file))
    page.take_file(file)
    until_said(typical, page, "no QR code in this picture")
    assert page.banner.button is not None
    click(page.banner.button)
    assert page.banner.text() == ""


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\x00\x01\x02", "neither a picture"), (b"", "neither a picture"), (None, "cannot be read")],
    ids=["bytes", "empty", "missing"],
)
def test_a_file_that_holds_nothing_of_use(
    typical: Desk, tmp_path: Path, content: bytes | None, says: str
) -> None:
    file = tmp_path / "<b>file.bin"
    if content is not None:
        file.write_bytes(content)
    page = send_page(typical)
    page.take_file(file)
    assert says in page.banner.text()
    assert "<b>file.bin" in page.banner.text()


def test_ctrl_v_on_any_page_opens_send_with_what_it_recognised(typical: Desk) -> None:
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    clipboard.setText("  lightning:" + typical.node.foreign_invoice(1_000_000, "Pasted"))
    overview = typical.page(OverviewPage)
    overview.setFocus()
    press(typical.window, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    page = typical.page(SendPage)
    assert page.isVisible()
    until_card(typical, page)


def test_a_picture_on_the_clipboard_counts_as_a_scan(typical: Desk) -> None:
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    clipboard.setImage(picture_of(typical.node.foreign_invoice(2_000_000, "Copied picture")))
    page = send_page(typical)
    page.field.setFocus()
    press(page.field, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    until_card(typical, page)
    clipboard.setImage(blank())
    page.reset()
    click(page.paste)
    until_said(typical, page, "no QR code in this picture")


def test_ctrl_v_in_a_field_goes_to_that_field(typical: Desk) -> None:
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    page = send_page(typical)
    page.take(typical.node.foreign_invoice(None, "A gift"))
    until_card(typical, page)
    assert isinstance(page.card, InvoiceCard)
    field = page.card.amount_field
    assert field is not None
    clipboard.setText("5000")
    field.setFocus()
    press(field, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    assert field.amount_sat() == 5_000
    assert page.card.amount_field is field


def dropped(page: SendPage, mime: QMimeData) -> None:
    copy, left = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    none = Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(page, QDragEnterEvent(QPoint(50, 50), copy, mime, left, none))
    QApplication.sendEvent(page, QDropEvent(QPointF(50, 50), copy, mime, left, none))


def test_texts_and_files_are_dropped(typical: Desk, tmp_path: Path) -> None:
    page = send_page(typical)
    mime = QMimeData()
    mime.setText(typical.node.foreign_invoice(3_000_000, "Dropped"))
    dropped(page, mime)
    until_card(typical, page)
    file = tmp_path / "invoice.txt"
    file.write_text(typical.node.foreign_invoice(4_000_000, "In a file") + "\n")
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(file))])
    dropped(page, mime)
    typical.until(lambda: isinstance(page.card, InvoiceCard) and page.card._amount_msat() == 4_000_000)


# --- the camera and the screen ---------------------------------------------------------------------


class FakeCamera(Camera):
    """Shows the frames it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.running = False

    def names(self) -> list[str]:
        return ["Built in", "On the desk"]

    def start(self, index: int = 0) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False


def test_an_invoice_is_scanned_from_a_cameras_frames(typical: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = FakeCamera()
    monkeypatch.setattr(cameras, "open_camera", lambda: camera)
    page = send_page(typical)
    page.scan_camera()
    dialog = typical.dialog(CameraDialog)
    assert camera.running
    assert [dialog.choice.itemText(i) for i in range(dialog.choice.count())] == ["Built in", "On the desk"]
    for _frame in range(3):
        camera.frame.emit(blank())
    typical.until(lambda: not dialog.reader.is_busy)
    assert dialog.isVisible()
    invoice = typical.node.foreign_invoice(5_000_000, "Held up")
    camera.frame.emit(picture_of(invoice))
    until_card(typical, page)
    assert page.field.text() == invoice
    assert not camera.running


def test_a_camera_that_fails_is_a_sentence_and_leaves_other_ways(
    typical: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = FakeCamera()
    monkeypatch.setattr(cameras, "open_camera", lambda: camera)
    page = send_page(typical)
    page.scan_camera()
    dialog = typical.dialog(CameraDialog)
    camera.failed.emit("The camera cannot be used.")
    assert dialog.banner.text() == "The camera cannot be used."
    dialog.reject()
    assert not camera.running


def test_without_a_camera_it_says_what_else_there_is(qapp: object, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = QtCamera()
    monkeypatch.setattr(camera, "_devices", list)
    said: list[str] = []
    camera.failed.connect(said.append)
    camera.start()
    assert len(said) == 1
    assert "image file" in said[0]
    camera.stop()


@pytest.mark.parametrize("answer", ["Granted", "Denied"])
def test_the_camera_waits_for_the_person_s_leave_and_takes_a_no(
    qapp: object, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """macOS asks; a camera that starts before the answer stays dark."""
    camera = QtCamera()
    device = object()
    leave = Qt.PermissionStatus.Undetermined
    asked: list[int] = []
    opened: list[object] = []
    said: list[str] = []
    monkeypatch.setattr(camera, "_devices", lambda: [device])
    monkeypatch.setattr(camera, "_leave", lambda: leave)
    monkeypatch.setattr(camera, "_ask_for_leave", lambda: asked.append(1))
    monkeypatch.setattr(camera, "_open", opened.append)
    camera.failed.connect(said.append)
    camera.start()
    assert (len(asked), opened, said) == (1, [], [])
    camera.stop()
    leave = Qt.PermissionStatus[answer]
    camera._answered()
    assert (opened, said) == ([], []), "it was stopped before the answer"
    leave = Qt.PermissionStatus.Undetermined
    camera.start()
    leave = Qt.PermissionStatus[answer]
    camera._answered()
    assert opened == ([device] if answer == "Granted" else [])
    assert [("image file" in text) for text in said] == ([] if answer == "Granted" else [True])


class FakeScreen(X11Screen):
    """A screen with a code on it; the frame is drawn by the test's hands."""

    picture: QPixmap

    def pictures(self) -> list[tuple[QScreen, QPixmap]]:
        screen = QGuiApplication.primaryScreen()
        assert screen is not None
        return [(screen, self.picture)]


def start_screen(
    desk: Desk, page: SendPage, monkeypatch: pytest.MonkeyPatch, picture: QPixmap
) -> RegionOverlay:
    source = FakeScreen()
    source.picture = picture
    monkeypatch.setattr(screens, "open_screen", lambda: source)
    page.scan_screen()
    assert not desk.window.isVisible(), "the window does not stand in the way"
    desk.until(lambda: bool(source.overlays) and source.overlays[0].isVisible())
    overlay = source.overlays[0]
    overlay.resize(800, 450)
    return overlay


def test_an_invoice_is_scanned_from_a_part_of_the_screen(
    typical: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoice = typical.node.foreign_invoice(6_000_000, "On the screen")
    page = send_page(typical)
    code = picture_of(invoice, 3)
    # The overlay is half as large as the picture: what is drawn is scaled.
    overlay = start_screen(typical, page, monkeypatch, desktop_with(code, QPoint(400, 200)))
    drag(overlay, QPoint(190, 90), QPoint(210 + code.width() // 2, 110 + code.height() // 2))
    until_card(typical, page)
    assert page.field.text() == invoice
    assert typical.window.isVisible()


def test_a_part_without_a_code_and_giving_up(typical: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    code = picture_of(typical.node.foreign_invoice(7_000_000, "Elsewhere"), 3)
    page = send_page(typical)
    overlay = start_screen(typical, page, monkeypatch, desktop_with(code, QPoint(400, 200)))
    drag(overlay, QPoint(600, 300), QPoint(780, 430))
    until_said(typical, page, "no QR code in this part of the screen")
    page.reset()
    overlay = start_screen(typical, page, monkeypatch, desktop_with(code, QPoint(400, 200)))
    press(overlay, Qt.Key.Key_Escape)
    typical.until(typical.window.isVisible)
    assert page.banner.text() == ""
    # From the keyboard, all of the screen.
    overlay = start_screen(typical, page, monkeypatch, desktop_with(code, QPoint(400, 200)))
    press(overlay, Qt.Key.Key_Return)
    until_card(typical, page)


def test_a_screen_that_cannot_be_looked_at_is_a_sentence(
    typical: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dark(ScreenSource):
        def begin(self, window: QWidget) -> None:
            self.failed.emit("The screen cannot be looked at here.")

    monkeypatch.setattr(screens, "open_screen", Dark)
    page = send_page(typical)
    page.scan_screen()
    until_said(typical, page, "cannot be looked at")


def test_the_portals_answer_is_read(qapp: object, tmp_path: Path) -> None:
    from wallet.gui.scan.portal import PortalScreen

    file = tmp_path / "Screenshot.png"
    assert picture_of("lnbcrt1portal").save(str(file))
    source = PortalScreen()
    chosen: list[QImage] = []
    failed: list[str] = []
    source.chosen.connect(chosen.append)
    source.failed.connect(failed.append)
    source.take([0, {"uri": QUrl.fromLocalFile(str(file)).toString()}])
    assert len(chosen) == 1
    assert chosen[0].width() == picture_of("lnbcrt1portal").width()
    source.take([1, {}])
    source.take([2, {}])
    source.take([0, {"uri": "file:///nowhere/there.png"}])
    source.take([])
    assert failed[0] == ""
    assert len(failed) == 4
    assert all("as a file" in sentence for sentence in failed[1:])
    assert len(chosen) == 1


def test_which_way_to_look_at_the_screen(qapp: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("XDG_SESSION_TYPE", "x11")
    assert type(screens.open_screen()).__name__ == "X11Screen"
    # Also under XWayland, where a grab would be black.
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert type(screens.open_screen()).__name__ == "PortalScreen"


# --- links, nodes, limits ------------------------------------------------------------------------------


def test_a_lightning_address_is_asked_filled_in_and_paid(typical: Desk) -> None:
    node = typical.node
    node.says = {"payee_says": "Thank you, <i>come again</i>"}
    page = send_page(typical)
    page.take(FAKE_LINK)
    typical.until(lambda: isinstance(page.card, LinkCard) and page.card.amount_field is not None)
    card = page.card
    assert isinstance(card, LinkCard)
    assert card.amount_field is not None
    assert not card.button.isEnabled()
    type_text(card.amount_field, "9000000")
    assert "takes from" in card.banner.text()
    card.amount_field.clear()
    type_text(card.amount_field, "1.000")
    assert not card.button.isEnabled()
    card.amount_field.clear()
    type_text(card.amount_field, "2500")
    assert card.comment is not None
    type_text(card.comment, "x" * 60)
    assert len(card.comment.text()) == 40
    click(card.button)
    typical.until(lambda: page.result is not None)
    assert page.result is not None
    assert page.result.title == "Paid"
    assert "Thank you, <i>come again</i>" in page.result.accessibleName()
    asked = next(call[1] for call in node.calls if call[0] == "lnurlp_invoice")
    assert asked == {"destination": FAKE_LINK, "amount_msat": 2_500_000, "comment": "x" * 40}
    paid = next(call[1] for call in node.calls if call[0] == "lnpay")
    assert paid["max_fee_msat"] == 25_000


def test_a_link_that_does_not_answer_can_be_asked_again(typical: Desk) -> None:
    typical.node.fail("lnurlp_info", "shop.example cannot be reached.")
    page = send_page(typical)
    page.take(FAKE_LINK)
    typical.until(lambda: isinstance(page.card, LinkCard) and page.card.again.isVisible())
    card = page.card
    assert isinstance(card, LinkCard)
    assert "cannot be reached" in card.banner.text()
    assert not card.button.isEnabled()
    click(card.again)
    typical.until(lambda: card.amount_field is not None)
    assert card.banner.text() == ""


def test_a_link_that_lies_is_a_failure_with_a_reason(typical: Desk) -> None:
    typical.node.link |= {"min_msat": 5_000, "max_msat": 5_000, "comment_length": 0}
    typical.node.fail("lnurlp_invoice", "shop.example sent an invoice for something else. Nothing was paid.")
    page = send_page(typical)
    page.take(FAKE_LINK)
    typical.until(
        lambda: page.card is not None and page.card.button is not None and page.card.button.isEnabled()
    )
    assert isinstance(page.card, LinkCard)
    assert page.card.amount_field is None
    assert page.card.comment is None
    click(page.card.button)
    typical.until(lambda: page.result is not None)
    assert page.result is not None
    assert page.result.title == "Not paid"
    assert "something else" in page.result.accessibleName()
    assert not [call for call in typical.node.calls if call[0] == "lnpay"]


def test_a_node_is_paid_without_an_invoice(typical: Desk) -> None:
    page = send_page(typical)
    node_id = typical.node.a_node("shop")
    page.take(node_id)
    typical.until(lambda: isinstance(page.card, NodeCard))
    card = page.card
    assert isinstance(card, NodeCard)
    assert card.amount_field is not None
    type_text(card.amount_field, "700")
    typical.until(card.button.isEnabled)
    click(card.button)
    typical.until(lambda: page.result is not None)
    arguments = next(call[1] for call in typical.node.calls if call[0] == "keysend")
    assert len(bytes.fromhex(str(arguments["preimage"]))) == 32
    assert {key: value for key, value in arguments.items() if key != "preimage"} == {
        "node_id": node_id,
        "amount_msat": 700_000,
        "max_fee_msat": 10_000,
    }


def test_where_there_is_no_keysend_the_card_says_what_else(typical: Desk) -> None:
    typical.node.more_commands = {}
    page = send_page(typical)
    page.take(typical.node.a_node("shop"))
    typical.until(lambda: isinstance(page.card, NodeCard))
    card = page.card
    assert isinstance(card, NodeCard)
    assert card.amount_field is not None
    type_text(card.amount_field, "700")
    typical.node.settle()
    QApplication.processEvents()
    typical.until(lambda: "Ask for an invoice" in card.button.accessibleDescription())
    assert not card.button.isEnabled()
    assert card.open.isEnabled()


def test_the_largest_fee_is_changed_where_one_agrees(typical: Desk) -> None:
    page = send_page(typical)
    page.take(typical.node.foreign_invoice(21_000_000, "Coffee"))
    until_card(typical, page)
    card = page.card
    assert isinstance(card, InvoiceCard)
    assert card.fee_limit.limit_msat() == 210_000
    click(card.fee_limit.button)
    card.fee_limit.field.clear()
    assert not card.button.isEnabled()
    assert "largest fee" in card.button.accessibleDescription()
    type_text(card.fee_limit.field, "3")
    click(card.button)
    typical.until(lambda: page.result is not None)
    assert next(c[1] for c in typical.node.calls if c[0] == "lnpay")["max_fee_msat"] == 3_000


# --- ways on ----------------------------------------------------------------------------------------------


def test_an_expired_a_paid_and_an_own_invoice_each_have_a_way_on(typical: Desk) -> None:
    node = typical.node
    page = send_page(typical)

    def recognised(invoice: str) -> InvoiceCard:
        typical.until(lambda: isinstance(page.card, InvoiceCard) and page.field.text() == invoice)
        card = page.card
        assert isinstance(card, InvoiceCard)
        return card

    def way_on(card: InvoiceCard, said: str, words: str) -> Button:
        assert not card.button.isEnabled()
        assert said in card._banner.text()
        assert card.way_on is not None
        assert card.way_on.text() == words
        return card.way_on

    # Typed.
    expired = node.foreign_invoice(1_000, "Late", expired=True)
    typical.click(page.field)
    type_text(page.field, expired)
    typical.click(way_on(recognised(expired), "expired", "Use another invoice"))
    assert page.field.text() == ""
    # Pasted, paid, and pasted once more.
    twice = node.foreign_invoice(1_000_000, "Twice")
    paste(page, twice)
    typical.click(recognised(twice).button)
    typical.until(lambda: page.result is not None)
    assert page.result is not None
    assert page.result.title == "Paid"
    typical.click(page.result.buttons[0])
    assert typical.shell.current_key == "overview"
    typical.go("send")
    assert page.field.text() == ""
    paste(page, twice)
    typical.click(way_on(recognised(twice), "already", "Show the payment"))
    dialog = typical.dialog(ItemDialog)
    assert dialog.item.payment_hash == node.invoices[twice]["payment_hash"]
    press(dialog, Qt.Key.Key_Escape)
    typical.until(lambda: not any(d.isVisible() for d in typical.window.findChildren(ItemDialog)))
    # Pasted over what stands there.
    own = node.submit(node.do_add_request, 5_000_000, "Mine", 3_600, True).result(30)["lightning_invoice"]
    press(page.field, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    paste(page, own)
    typical.click(way_on(recognised(own), "your own", "Go to Receive"))
    assert typical.shell.current_key == "receive"


def test_a_mainnet_invoice_in_the_sandbox_is_a_sentence_and_a_way_on(typical: Desk) -> None:
    page = send_page(typical)
    typical.click(page.field)
    type_text(page.field, "lnbc210u1pmainnet")
    until_said(typical, page, "mainnet")
    assert page.card is None
    assert page.banner.button is not None
    typical.click(page.banner.button)
    assert page.field.text() == ""
    typical.until(page.field.hasFocus)


def test_an_invoice_with_an_address_can_be_paid_on_chain_instead(typical: Desk) -> None:
    address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
    fallback = {"kind": "address", "network_ok": True, "address": address, "amount_sat": 250_000, "label": ""}
    page = send_page(typical)
    page.take(typical.node.foreign_invoice(250_000_000, "Both", fallback=fallback))
    until_card(typical, page)
    assert isinstance(page.card, InvoiceCard)
    assert page.card.way_on is not None
    click(page.card.way_on)
    assert onchain_card(page).amount_field.amount_sat() == 250_000


# --- contacts and names ---------------------------------------------------------------------------------------


def test_a_payee_is_kept_as_a_contact_and_paid_again(typical: Desk) -> None:
    page = send_page(typical)
    page.take(FAKE_LINK)
    typical.until(lambda: isinstance(page.card, LinkCard) and page.card.amount_field is not None)
    assert isinstance(page.card, LinkCard)
    assert page.card.amount_field is not None
    type_text(page.card.amount_field, "2500")
    click(page.card.button)
    typical.until(lambda: page.result is not None)
    assert page.result is not None
    click(next(button for button in page.result.buttons if "contact" in button.text()))
    dialog = typical.dialog(ContactDialog)
    dialog.name_field.clear()
    assert not dialog.save.isEnabled()
    type_text(dialog.name_field, "Tea shop")
    click(dialog.save)
    typical.until(lambda: typical.node.contacts == {"Tea shop": FAKE_LINK})
    page.reset()
    typical.until(lambda: [row.text() for row in page.contacts.rows] == ["Tea shop"])
    click(page.contacts.rows[0])
    typical.until(lambda: isinstance(page.card, LinkCard))
    assert not page.contacts.isVisible()
    page.reset()
    click(page.contacts.edits[0])
    dialog = typical.dialog(ContactDialog)
    assert dialog.remove is not None
    click(dialog.remove)
    typical.until(lambda: typical.node.contacts == {})


def test_a_destination_that_cannot_be_kept_is_a_sentence(typical: Desk) -> None:
    page = send_page(typical)
    click(page.contacts.add)
    dialog = typical.dialog(ContactDialog)
    type_text(dialog.name_field, "Once")
    dialog.destination_field.setText(typical.node.foreign_invoice(1_000, "Once"))
    click(dialog.save)
    typical.until(lambda: "once only" in dialog.banner.text())
    dialog.reject()


def test_a_payee_gets_a_name_of_ones_own(typical: Desk) -> None:
    page = send_page(typical)
    payee = typical.node.a_node("coffee")
    page.take(typical.node.foreign_invoice(1_000_000, "Coffee", payee=payee, alias="XYZ-77"))
    until_card(typical, page)
    card = page.card
    assert isinstance(card, InvoiceCard)
    assert card._to.name == "XYZ-77"
    click(card._to.edit)
    dialog = typical.dialog(NameDialog)
    dialog.field.setText("Corner café")
    click(dialog.save)
    typical.until(lambda: card._to.name == "Corner café")
    assert typical.node.node_names == {payee: "Corner café"}
    click(card.button)
    typical.until(lambda: page.result is not None)
    assert page.result is not None
    assert "to Corner café" in page.result.accessibleName()


def test_a_peer_gets_a_name_of_ones_own_on_its_channels_page(typical: Desk) -> None:
    shell = typical.shell
    channel = next(iter(typical.node.channels.values()))
    shell.show_channel(channel.channel_id)
    typical.until(lambda: typical.window.findChild(ChannelDetail) is not None)
    detail = typical.page(ChannelDetail)
    click(detail.rename)
    dialog = typical.dialog(NameDialog)
    dialog.field.clear()
    type_text(dialog.field, "My first peer")
    click(dialog.save)
    typical.until(lambda: detail._name.text() == "My first peer")
    assert typical.node.node_names == {channel.peer_id: "My first peer"}


def test_names_of_ones_own_are_read_when_a_wallet_opens(desk: Make) -> None:
    node = scenes.typical()
    node.node_names = {node.a_node("x"): "Grandmother"}
    one = desk(node)
    one.until(lambda: fmt.own_names.get(node.a_node("x")) == "Grandmother")


# --- on chain -----------------------------------------------------------------------------------------------

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


def on_chain(desk: Desk, page: SendPage, amount: str) -> OnchainCard:
    page.take(ADDRESS)
    until_card(desk, page)
    card = onchain_card(page)
    type_text(card.amount_field, amount)
    desk.until(card.review.isEnabled)
    return card


def sent(desk: Desk) -> dict[str, object]:
    return dict(next(call[1] for call in desk.node.calls if call[0] == "payto"))


def test_an_own_rate_is_typed_exactly_and_a_low_one_warned_about(typical: Desk) -> None:
    page = send_page(typical)
    card = on_chain(typical, page, "250000")
    click(card.speed.button("own"))
    assert card.rate.isVisible()
    for text in ("", "1.000", "1,5", "fast", "0", "0.00"):
        card.rate.setText(text)
        assert not card.review.isEnabled(), text
        assert card._reason.text(), text
    card.rate.clear()
    type_text(card.rate, "1.5")
    typical.until(card.review.isEnabled)
    assert "two weeks" in card._banner.text()
    click(card.review)
    assert card.button is not None
    click(card.button)
    typical.until(lambda: page.result is not None)
    assert sent(typical)["feerate"] == "1.5"
    assert "target_blocks" not in sent(typical)


def test_chosen_coins_are_spent_and_a_frozen_one_cannot_be_ticked(typical: Desk) -> None:
    page = send_page(typical)
    card = on_chain(typical, page, "250000")
    click(card.coins.button)
    typical.until(lambda: len(card.coins.boxes) == 3)
    keys = list(card.coins.boxes)
    click(card.coins.freezers[keys[0]])
    typical.until(lambda: len(card.coins.boxes) == 3 and not card.coins.boxes[keys[0]].isEnabled())
    box = card.coins.boxes[keys[1]]
    box.setFocus()
    press(box, Qt.Key.Key_Space)
    assert card.coins.chosen() == keys[1]
    assert "500" in card.coins.summary()
    typical.until(card.review.isEnabled)
    click(card.review)
    assert card.button is not None
    click(card.button)
    typical.until(lambda: page.result is not None)
    assert sent(typical)["coins"] == keys[1]


def test_a_coin_that_a_signed_psbt_holds_is_let_go(typical: Desk) -> None:
    held = typical.node.coins[0]
    held |= {"signed_for": "ab" * 32, "reserved": True, "spendable": False}
    card = on_chain(typical, send_page(typical), "250000")
    click(card.coins.button)
    key = f"{held['prevout_hash']}:{held['prevout_n']}"
    typical.until(lambda: key in card.coins.boxes)
    assert not card.coins.boxes[key].isEnabled()
    assert "PSBT that you signed" in card.coins.boxes[key].accessibleName()
    assert "may still send" in card.coins.freezers[key].toolTip()
    click(card.coins.freezers[key])
    typical.until(lambda: card.coins.boxes[key].isEnabled())


def test_a_fee_that_others_only_claim_is_said_to_be_unproven(typical: Desk) -> None:
    typical.node.psbt_fee_note = "Nothing here proves the fee."
    page = send_page(typical)
    page.take(FAKE_PSBT)
    typical.until(lambda: isinstance(page.card, PsbtCard) and bool(page.card.banner.text()))
    card = page.card
    assert isinstance(card, PsbtCard)
    assert card.banner.text() == "Nothing here proves the fee."
    assert any("not proven" in label.text() for label in card.findChildren(QLabel))
    assert card.button.isEnabled()


def test_a_payment_is_saved_unsigned_and_a_file_is_never_written_over(typical: Desk, tmp_path: Path) -> None:
    page = send_page(typical)
    card = on_chain(typical, page, "250000")
    click(card.review)
    click(card.unsigned)
    typical.until(lambda: bool(page.findChildren(QFileDialog)))
    dialog = page.findChildren(QFileDialog)[0]
    target = tmp_path / "payment.psbt"
    dialog.fileSelected.emit(str(target))
    assert target.read_bytes().startswith(b"psbt\xff")
    dialog.fileSelected.emit(str(target))
    assert any("already" in banner.text() for banner in card.findChildren(Banner))
    dialog.reject()
    assert sent(typical)["psbt"] is True


def test_a_psbt_is_read_signed_and_sent(typical: Desk, tmp_path: Path) -> None:
    file = tmp_path / "payment.psbt"
    file.write_bytes(base64.b64decode(FAKE_PSBT))
    page = send_page(typical)
    page.take_file(file)
    typical.until(lambda: isinstance(page.card, PsbtCard) and page.card.button.isEnabled())
    card = page.card
    assert isinstance(card, PsbtCard)
    assert card.button.text() == "Sign"
    click(card.button)
    typical.until(lambda: card.button.text() == "Send it" and card.button.isEnabled())
    assert not [call for call in typical.node.calls if call[0] == "broadcast_psbt"]
    click(card.button)
    typical.until(lambda: page.result is not None)
    assert page.result is not None
    assert page.result.title == "Sent"


def test_a_psbt_that_is_not_to_be_signed_says_why(typical: Desk) -> None:
    typical.node.psbt_trouble = "None of its coins is yours to sign for."
    page = send_page(typical)
    page.take(FAKE_PSBT)
    typical.until(lambda: isinstance(page.card, PsbtCard) and bool(page.card.banner.text()))
    card = page.card
    assert isinstance(card, PsbtCard)
    assert "None of its coins" in card.banner.text()
    assert not card.button.isEnabled()
    assert card.save.isEnabled()
