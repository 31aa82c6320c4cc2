"""What a person does, through the real widgets: first run, pay, be paid, open, close, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtGui import QGuiApplication
from PyQt6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from tests.gui import scenes
from tests.gui.conftest import Desk, made_window
from tests.gui.fake_host import FakeHost
from tests.gui.fake_node import HUB_URI, FakeNode
from tests.gui.fake_recovery import WORDS
from tests.gui.hands import PATIENCE_MS, click, press, type_text
from wallet.gui import format as fmt
from wallet.gui.describe import CLOSED
from wallet.gui.main_window import MainWindow, Shell
from wallet.gui.pages.activity import ActivityPageView
from wallet.gui.pages.channel import ChannelDetail
from wallet.gui.pages.channel_request import ChannelRequestDialog
from wallet.gui.pages.channels import ChannelsPage
from wallet.gui.pages.close_channel import CloseChannelDialog
from wallet.gui.pages.item_dialog import ItemDialog
from wallet.gui.pages.open_channel import OpenChannelDialog
from wallet.gui.pages.overview import OverviewPage, balance_parts
from wallet.gui.pages.pay_cards import InvoiceCard, OnchainCard
from wallet.gui.pages.receive import ReceivePage
from wallet.gui.pages.send import SendPage
from wallet.gui.pages.settings import SettingsPage
from wallet.gui.pages.settings_backup import WordsDialog
from wallet.gui.pages.unlock import UnlockPage
from wallet.gui.pages.wizard import Step, Wizard
from wallet.gui.pages.wizard_words import RestoreGrid
from wallet.gui.theme import theme
from wallet.gui.widgets.basic import Button
from wallet.gui.widgets.fields import PasswordEdit, WordEdit
from wallet.gui.widgets.notices import Banner
from wallet.node.api import ActivityStatus, ChannelPhase, LockedCoin, WalletInfo

Make = Callable[[FakeNode], Desk]


def filled(where: MainWindow | OverviewPage | SendPage) -> list[Button]:
    return [b for b in where.findChildren(Button) if b.kind == "filled" and b.isVisible()]


# --- first run ------------------------------------------------------------------------


@pytest.fixture
def host() -> Iterator[FakeHost]:
    made = FakeHost()
    yield made
    made.stop()


def test_practising_takes_three_clicks(qtbot: QtBot, host: FakeHost) -> None:
    window = made_window(host, "mainnet", qtbot)
    window.start()
    window.show()
    wizard = window.findChild(Wizard)
    assert wizard is not None
    click(wizard.practise)
    click(next(b for b in wizard.step.findChildren(Button) if b.kind == "filled"))
    for field in wizard.step.findChildren(PasswordEdit):
        type_text(field, "correct horse")
    create = next(b for b in wizard.step.findChildren(Button) if b.kind == "filled")
    click(create)
    qtbot.waitUntil(lambda: window.shell is not None, timeout=PATIENCE_MS)
    assert host.created[0]["network"] == "sandbox"
    assert window._strip is not None
    assert window._strip.label.text() == "Play money: sandbox"
    tools = window._strip.tools
    qtbot.waitUntil(tools.isVisible, timeout=PATIENCE_MS)
    window.close()


def test_real_words_are_shown_and_checked(qtbot: QtBot, host: FakeHost) -> None:
    window = made_window(host, "mainnet", qtbot)
    window.start()
    window.show()
    wizard = window.findChild(Wizard)
    assert wizard is not None
    click(wizard.real)
    assert window._strip is None
    wizard._new_words()
    words = list(wizard._words)
    assert len(words) == 12
    click(next(b for b in wizard.step.findChildren(Button) if b.kind == "filled"))
    edits = wizard.step.findChildren(WordEdit)
    assert len(edits) == 3
    go = next(b for b in wizard.step.findChildren(Button) if b.kind == "filled")
    assert not go.isEnabled()
    for edit in edits:
        edit.setText("zebra")
    click(go)
    assert any("Not what you were shown" in banner.text() for banner in wizard.step.findChildren(Banner))
    for edit in edits:
        edit.setText(words[int(edit._number) - 1])
    click(go)
    step = wizard.step
    assert isinstance(step, Step)
    first, second = step.findChildren(PasswordEdit)
    # Whatever keeps the button from being pressed stands beside it.
    for typed, again, reason in (
        ("", "", "Type a password first."),
        ("short", "", "Type a longer one first."),
        ("long enough", "", "Type it once more."),
        ("long enough", "long enough", ""),
    ):
        first.setText(typed)
        second.setText(again)
        assert step.reason.text() == reason
    window.close()


def test_a_word_is_completed_while_typing(qtbot: QtBot, host: FakeHost) -> None:
    edit = WordEdit(1, host.complete_word)
    qtbot.addWidget(edit)
    edit.show()
    type_text(edit, "ab")
    assert edit._model.stringList()[:3] == ["abandon", "ability", "able"]
    completer = edit.completer()
    assert completer is not None
    popup = completer.popup()
    assert popup is not None
    popup.hide()


def test_restoring_says_what_the_words_bring_back(qtbot: QtBot, host: FakeHost) -> None:
    window = made_window(host, "mainnet", qtbot)
    window.start()
    window.show()
    wizard = window.findChild(Wizard)
    assert wizard is not None
    wizard.choose("mainnet")
    wizard._restore()
    grid = wizard.step.findChild(RestoreGrid)
    assert grid is not None
    go = next(b for b in wizard.step.findChildren(Button) if b.kind == "filled")
    type_text(grid.edits[0], "zebra")
    assert not go.isEnabled()
    # Twelve at once, as from a clipboard.
    grid.edits[0].setText("")
    grid.edits[0]._typed(" ".join(["zebra", *scenes.ELECTRUM_WORDS]))
    banner = next(b for b in wizard.step.findChildren(Banner) if b.isVisible())
    assert "Electrum" in banner.text()
    assert banner.property("banner") == "warning"
    assert go.isEnabled()
    grid.edits[4].setText("nonsense")
    assert not go.isEnabled()
    assert grid.edits[4].property("wrong") == "true"
    grid._pasted(0, WORDS[:24])
    assert len(grid.edits) == 24
    assert go.isEnabled()
    window.close()


@pytest.fixture
def door(qtbot: QtBot) -> Iterator[tuple[FakeHost, MainWindow, UnlockPage]]:
    """The one wallet that there is has a password."""
    info = WalletInfo(name="Savings", network="signet", path=Path("/nowhere"), encrypted=True)
    host = FakeHost(existing=[info])
    window = made_window(host, "signet", qtbot)
    window.start()
    window.show()
    page = window.findChild(UnlockPage)
    assert page is not None
    yield host, window, page
    window.close()
    host.stop()


def knock(page: UnlockPage, password: str) -> None:
    type_text(page.password, password)
    press(page.password, Qt.Key.Key_Return)


def test_a_wrong_password_is_said_and_forgiven(
    qtbot: QtBot, door: tuple[FakeHost, MainWindow, UnlockPage]
) -> None:
    _host, window, page = door
    knock(page, "wrong")
    qtbot.waitUntil(lambda: "wrong" in page._banner.text(), timeout=PATIENCE_MS)
    page.password.clear()
    knock(page, "correct")
    qtbot.waitUntil(lambda: window.shell is not None, timeout=PATIENCE_MS)


def test_a_locked_wallet_goes_on_watching(
    qtbot: QtBot, door: tuple[FakeHost, MainWindow, UnlockPage]
) -> None:
    host, window, page = door
    assert "nothing is being watched" in page.note.text()
    knock(page, "correct")
    qtbot.waitUntil(lambda: window.shell is not None, timeout=PATIENCE_MS)
    running = host.node
    assert running is not None
    window.lock()
    assert host.node is running
    locked = window._content
    assert isinstance(locked, UnlockPage)
    assert "goes on watching" in locked.note.text()
    qtbot.waitUntil(locked.note.isVisible, timeout=PATIENCE_MS)
    knock(locked, "correct")
    qtbot.waitUntil(lambda: isinstance(window._content, Shell), timeout=PATIENCE_MS)
    shell = window._content
    assert isinstance(shell, Shell)
    assert shell.bridge.api is running


# --- sending ----------------------------------------------------------------------------


def recognised(desk: Desk, text: str) -> SendPage:
    desk.go("send")
    page = desk.page(SendPage)
    page.take(text)
    desk.until(lambda: page.card is not None or bool(page.banner.text()))
    return page


def test_paying_an_invoice(typical: Desk) -> None:
    invoice = typical.node.foreign_invoice(21_000_000, "Coffee")
    page = recognised(typical, "lightning:" + invoice)
    card = page.card
    assert isinstance(card, InvoiceCard)
    assert card.button.text() == f"Pay 21{fmt.THIN}000\u00a0sat"
    assert filled(page) == [card.button]
    typical.node.hold("lnpay")
    click(card.button)
    typical.until(lambda: page.progress.sentence.text() == "Trying a route of 2 hops")
    typical.node.release("lnpay")
    typical.until(lambda: page.result is not None)
    assert page.result is not None
    assert page.result.title == "Paid"
    assert f"21{fmt.THIN}000" in page.result.amount.text()
    assert filled(page) == [page.result.buttons[0]]
    name, arguments = next(call for call in typical.node.calls if call[0] == "lnpay")
    assert arguments == {"invoice": invoice, "max_fee_msat": 210_000}, name
    click(page.result.buttons[0])
    assert page.field.text() == ""
    assert page.result is None


def test_the_way_of_a_payment_is_drawn_as_it_is(typical: Desk) -> None:
    node = typical.node
    page = recognised(typical, node.foreign_invoice(21_000_000, "Coffee"))
    card = page.card
    assert isinstance(card, InvoiceCard)
    node.hold("lnpay")
    click(card.button)
    route = page.progress.route
    assert len(route.names) == 2
    typical.until(lambda: page.progress.sentence.text() == "Trying a route of 2 hops")
    item = next(i for i in node.snapshot().recent if i.status is ActivityStatus.PENDING)
    failed, arrived = scenes.tried(item)
    under_way = replace(failed, status=ActivityStatus.PENDING, took_ms=None, failed_hop=None, failure="")
    node.attempts = {item.item_id: (under_way,)}
    typical.until(lambda: route.names[1:-1] == ("ACINQ", "Café Åland"))
    assert route.accessibleName() == ", ".join(route.names)
    node.attempts = {item.item_id: (failed, replace(arrived, status=ActivityStatus.PENDING))}
    typical.until(lambda: route.names[1:-1] == ("ACINQ",))
    route.grab()
    node.release("lnpay")
    typical.until(lambda: page.result is not None)
    assert not page.progress.looking.isActive()


def test_the_first_route_is_told_though_the_node_says_nothing(typical: Desk) -> None:
    failed, arrived = scenes.tried(typical.node.snapshot().recent[0])
    first, second = (replace(a, status=ActivityStatus.PENDING) for a in (failed, arrived))
    typical.go("send")
    progress = typical.page(SendPage).progress
    progress.begin(21_000_000, "The shop")
    progress.draw([failed])
    assert progress.sentence.text() == "Looking for a route"
    progress.draw([first])
    assert progress.sentence.text() == "On its way over 3 channels"
    progress.draw([first, second])
    assert progress.sentence.text() == "On its way by 2 routes"
    progress.say("ACINQ could not pass it on")
    progress.draw([second])
    assert progress.sentence.text() == "ACINQ could not pass it on"
    progress.end()


def test_a_failure_says_why_and_lets_one_try_again(typical: Desk) -> None:
    # As the node says it, which knows that nothing is under way any more.
    typical.node.fail("lnpay", "Nothing was paid. The second hop could carry at most 12 000 sat")
    page = recognised(typical, typical.node.foreign_invoice(21_000_000, "Coffee"))
    assert page.card is not None
    assert page.card.button is not None
    typical.click(page.card.button)
    typical.until(lambda: page.result is not None)
    assert page.result is not None
    assert page.result.title == "Not paid"
    assert "second hop" in page.result.accessibleName()
    assert "Nothing was paid" in page.result.accessibleName()
    assert "Nothing was spent" not in page.result.accessibleName(), "it is said once"
    tried = next(button for button in page.result.buttons if button.text() == "What was tried")
    click(tried)
    dialog = typical.dialog(ItemDialog)
    assert dialog.item.status is ActivityStatus.FAILED
    dialog.reject()
    typical.click(page.result.buttons[0])
    typical.until(
        lambda: page.card is not None and page.card.button is not None and page.card.button.isEnabled()
    )


def test_the_amount_is_asked_for_and_an_ambiguous_one_refused(typical: Desk) -> None:
    page = recognised(typical, typical.node.foreign_invoice(None, "A gift"))
    card = page.card
    assert isinstance(card, InvoiceCard)
    assert card.amount_field is not None
    assert not card.button.isEnabled()
    type_text(card.amount_field, "1.000")
    assert "two ways" in card._field.problem()
    assert not card.button.isEnabled()
    card.amount_field.clear()
    type_text(card.amount_field, "3000000000")
    assert card.amount_field.amount_sat() == 3_000_000_000
    assert card.amount_field.text() == fmt.group(3_000_000_000)
    assert "more than your channels" in card._banner.text()
    card.amount_field.clear()
    type_text(card.amount_field, "5000")
    typical.click(card.button)
    typical.until(lambda: page.result is not None)
    arguments = next(call[1] for call in typical.node.calls if call[0] == "lnpay")
    assert arguments["amount_msat"] == 5_000_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lnbc210u1pmainnet", "mainnet"),
        ("hello", "not something that can be paid"),
    ],
)
def test_what_cannot_be_paid_is_a_sentence(typical: Desk, text: str, words: str) -> None:
    page = recognised(typical, text)
    assert words in page.banner.text()
    assert page.card is None


def test_invoices_that_are_expired_paid_or_our_own(typical: Desk) -> None:
    node = typical.node
    page = recognised(typical, node.foreign_invoice(1_000, "Late", expired=True))
    assert isinstance(page.card, InvoiceCard)
    assert "expired" in page.card._banner.text()
    assert not page.card.button.isEnabled()
    assert "expired" in page.card.button.accessibleDescription()
    paid = node.foreign_invoice(1_000, "Twice")
    node.paid.add(node.invoices[paid]["payment_hash"])
    page = recognised(typical, paid)
    assert isinstance(page.card, InvoiceCard)
    assert "already" in page.card._banner.text()
    own = node.submit(node.do_add_request, 5_000_000, "Mine", 3_600, True).result(30)["lightning_invoice"]
    page = recognised(typical, own)
    assert isinstance(page.card, InvoiceCard)
    assert "your own" in page.card._banner.text()


def test_only_the_newest_text_counts(typical: Desk) -> None:
    node = typical.node
    first, second = node.foreign_invoice(1_000_000, "First"), node.foreign_invoice(2_000_000, "Second")
    node.hold("recognise")
    typical.go("send")
    page = typical.page(SendPage)
    page.take(first)
    page.take(second)
    node.release("recognise")
    typical.until(lambda: page.card is not None)
    assert isinstance(page.card, InvoiceCard)
    assert page.card._amount_msat() == 2_000_000
    node.settle()
    QApplication.processEvents()
    assert isinstance(page.card, InvoiceCard)
    assert page.card._amount_msat() == 2_000_000


def test_sending_on_chain_is_shown_once_more_before_it_leaves(typical: Desk) -> None:
    page = recognised(typical, "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080")
    card = page.card
    assert isinstance(card, OnchainCard)
    assert not card.review.isEnabled()
    type_text(card.amount_field, "250000")
    typical.until(card.review.isEnabled)
    typical.click(card.review)
    assert card.button is not None
    assert card.button.text() == f"Send 250{fmt.THIN}000\u00a0sat"
    assert [call for call in typical.node.calls if call[0] == "payto"] == []
    typical.click(card.button)
    typical.until(lambda: page.result is not None)
    arguments = next(call[1] for call in typical.node.calls if call[0] == "payto")
    assert arguments["amount_sat"] == 250_000
    assert arguments["target_blocks"] == 6
    assert page.result is not None
    assert page.result.title == "Sent"


def test_sending_all(typical: Desk) -> None:
    page = recognised(typical, "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080")
    card = page.card
    assert isinstance(card, OnchainCard)
    typical.click(card.all_button)
    typical.until(card.review.isEnabled)
    assert card.amount_field.amount_sat() == typical.node.snapshot().balance.onchain_spendable_sat - 846
    typical.click(card.review)
    assert card.button is not None
    typical.click(card.button)
    typical.until(lambda: page.result is not None)
    assert next(call[1] for call in typical.node.calls if call[0] == "payto")["amount_sat"] == "all"


def test_a_node_pasted_into_send_opens_the_dialog(typical: Desk) -> None:
    typical.go("send")
    typical.page(SendPage).take(HUB_URI)
    dialog = typical.dialog(OpenChannelDialog)
    assert dialog.peer.text() == HUB_URI
    dialog.reject()


def test_pasting(typical: Desk) -> None:
    typical.go("send")
    page = typical.page(SendPage)
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    clipboard.setText("")
    typical.click(page.paste)
    assert "no text" in page.banner.text()
    clipboard.setText(typical.node.foreign_invoice(1_000_000, "Pasted"))
    typical.click(page.paste)
    typical.until(lambda: page.card is not None)


# --- receiving ----------------------------------------------------------------------------


def test_being_paid_turns_the_code_into_a_check_mark(typical: Desk) -> None:
    typical.go("receive")
    page = typical.page(ReceivePage)
    type_text(page.amount_field, "15000")
    page.note.setText("Two tickets")
    click(page.create_button)
    typical.until(lambda: "&lightning=LNBCRT" in page.code.text())
    assert page.code.text().startswith("bitcoin:bcrt1q")
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    request = next(iter(typical.node.requests.values()))
    assert clipboard.text() == request.invoice
    typical.node.submit(typical.node.be_paid, request.invoice)
    typical.until(page.is_paid)
    assert page._right.currentWidget() is page._paid_page


def test_without_a_channel_there_is_an_address_and_no_invoice(desk: Make) -> None:
    one = desk(scenes.new("mainnet"))
    one.go("receive")
    page = one.page(ReceivePage)
    one.until(lambda: page.code.text().startswith("bitcoin:bcrt1"))
    assert not page.layer.button("lightning").isEnabled()
    assert "Without a channel" in page.can_receive.text()
    typed = page.amount_field
    type_text(typed, "100000")
    one.click(page.create_button)
    one.until(lambda: "amount=0.00100000" in page.code.text())
    assert all(call[1].get("lightning") is not True for call in one.node.calls if call[0] == "add_request")


def test_more_than_can_be_received_is_said_before_asking(typical: Desk) -> None:
    typical.go("receive")
    page = typical.page(ReceivePage)
    type_text(page.amount_field, "900000000")
    assert "at most now" in page._amount_row.problem()
    assert not page.create_button.isEnabled()


def test_every_code_carries_the_network_word(typical: Desk) -> None:
    from wallet.gui.widgets.basic import Pill

    typical.go("receive")
    page = typical.page(ReceivePage)
    pills = [pill.text() for pill in page.findChildren(Pill)]
    assert "Play money: sandbox" in pills


# --- channels -----------------------------------------------------------------------------


def test_opening_a_channel(desk: Make) -> None:
    one = desk(scenes.funded())
    one.go("channels")
    page = one.page(ChannelsPage)
    assert page.stack.currentWidget() is page._empty
    assert page._empty.button is not None
    one.click(page._empty.button)
    dialog = one.dialog(OpenChannelDialog)
    assert dialog.peer.text() == HUB_URI
    type_text(dialog.amount_field, "500000")
    one.until(lambda: dialog.quote is not None)
    one.until(dialog.open_button.isEnabled)
    click(dialog.open_button)
    one.until(lambda: page.detail is not None)
    assert isinstance(page.detail, ChannelDetail)
    assert page.detail.channel.phase is ChannelPhase.AWAITING_CONFIRMATIONS
    one.node.submit(one.node.mine, 3)
    one.until(lambda: isinstance(page.detail, ChannelDetail) and page.detail.channel.is_usable)
    page.show_list()
    assert list(page.cards) == [page.context.snapshot.channels[0].channel_id]


def test_opening_too_much_is_refused_with_a_sentence(desk: Make) -> None:
    one = desk(scenes.funded())
    one.shell.open_channel(HUB_URI)
    dialog = one.dialog(OpenChannelDialog)
    type_text(dialog.amount_field, "5000000")
    one.until(lambda: bool(dialog._banner.text()))
    assert "do not reach" in dialog._banner.text()
    assert not dialog.open_button.isEnabled()
    dialog.reject()


def test_a_failed_opening_leaves_the_dialog_as_it_was(desk: Make) -> None:
    one = desk(scenes.funded())
    one.node.fail("open_channel", "The peer wants at least 1 000 000 sat.")
    one.shell.open_channel(HUB_URI)
    dialog = one.dialog(OpenChannelDialog)
    type_text(dialog.amount_field, "500000")
    one.until(dialog.open_button.isEnabled)
    one.click(dialog.open_button)
    one.until(lambda: "1 000 000" in dialog._banner.text())
    assert dialog.open_button.isEnabled()
    dialog.reject()


def test_a_peer_that_wants_a_channel_is_asked_about_once(typical: Desk) -> None:
    typical.node.submit(typical.node.ask_for_channel, 700_000)
    dialog = typical.dialog(ChannelRequestDialog)
    assert any("no coins" in banner.text() for banner in dialog.findChildren(Banner))
    typical.node.submit(typical.node.tell)
    typical.node.settle()
    assert len(typical.window.findChildren(ChannelRequestDialog)) == 1
    typical.click(dialog.accept_button)
    typical.until(lambda: typical.node.channel_requests == [])
    typical.until(lambda: typical.window.findChild(ChannelRequestDialog) is None)


def test_closing_together(typical: Desk) -> None:
    channel = next(iter(typical.node.channels.values()))
    typical.show_channel(channel.channel_id)
    detail = typical.page(ChannelDetail)
    typical.click(detail.close_button)
    dialog = typical.dialog(CloseChannelDialog)
    typical.until(dialog.close_button.isEnabled)
    assert dialog.close_button.kind == "filled"
    typical.click(dialog.close_button)
    typical.until(lambda: typical.node.channels[channel.channel_id].phase in CLOSED)
    typical.until(lambda: detail.channel.phase in CLOSED)
    assert not detail.close_button.isVisible()


def test_forcing_needs_a_second_word_and_is_marked_as_danger(typical: Desk) -> None:
    channel = next(iter(typical.node.channels.values()))
    dialog = CloseChannelDialog(typical.window, typical.shell.context, channel, force=True)
    dialog.open()
    typical.until(lambda: dialog.quote is not None)
    assert dialog.close_button.kind == "danger"
    assert not dialog.close_button.isEnabled()
    assert dialog.reason.text()
    assert "7 days" in dialog.agreed.text()
    click(dialog.agreed)
    assert dialog.close_button.isEnabled()
    typical.click(dialog.close_button)
    typical.until(lambda: typical.node.channels[channel.channel_id].phase is ChannelPhase.FORCE_CLOSING)


def test_cards_up_to_five_a_table_above(desk: Make) -> None:
    few, many = desk(scenes.typical(channels=5)), desk(scenes.typical(channels=6))
    few.go("channels")
    page = few.page(ChannelsPage)
    assert len(page.cards) == 5
    assert not page.table.isVisible()
    many.go("channels")
    page = many.page(ChannelsPage)
    assert page.cards == {}
    assert page.table.isVisible()
    assert page.model.rowCount() == 6


# --- the rest ---------------------------------------------------------------------------------


def test_the_parts_of_a_balance_are_its_whole(desk: Make) -> None:
    for node in (scenes.typical(), scenes.trouble(), scenes.new(), scenes.funded()):
        balance = node.snapshot().balance
        assert (
            sum(part_msat for _look, _name, part_msat, _why in balance_parts(balance))
            == balance.total_sat * 1000
        )
        node.stop()


def test_the_guide_leads_round(desk: Make) -> None:
    one = desk(scenes.new())
    page = one.page(OverviewPage)

    def go_on(text: str) -> None:
        one.until(lambda: any(text in b.text() for b in filled(page)))
        assert len(filled(page)) == 1
        one.click(lambda: next((b for b in filled(page) if text in b.text()), None))

    go_on("Get 1")
    go_on("Mine")
    go_on("Open a channel")
    dialog = one.dialog(OpenChannelDialog)
    type_text(dialog.amount_field, "500000")
    one.until(dialog.open_button.isEnabled)
    one.click(dialog.open_button)
    go_on("Mine")
    go_on("Buy a coffee")
    one.until(lambda: bool(one.window.findChildren(SendPage)) and one.page(SendPage).card is not None)
    send = one.page(SendPage)
    assert send.card is not None
    assert send.card.button is not None
    one.click(send.card.button)
    one.until(lambda: send.result is not None)
    one.go("overview")
    go_on("Make a request")
    assert one.shell.current_key == "receive"


def test_trouble_is_shown_with_a_way_on(desk: Make) -> None:
    one = desk(scenes.trouble())
    page = one.page(OverviewPage)
    one.until(lambda: any(banner.isVisible() for banner in page.findChildren(Banner)))
    banners = [banner for banner in page.findChildren(Banner) if banner.isVisible()]
    text = " ".join(banner.text() for banner in banners)
    assert "No server answers" in text
    assert "about 6 days (840 blocks)" in text
    buttons = [banner.button for banner in banners if banner.button is not None]
    assert buttons[0].text() == "To the servers"
    one.click(next(button for button in buttons if button.text() == "Show channel"))
    one.until(lambda: one.shell.current_key == "channels")
    assert one.page(ChannelsPage).detail is not None


def test_live_changes_reach_the_page(typical: Desk) -> None:
    page = typical.page(OverviewPage)
    before = page.balance.text()
    typical.node.submit(typical.node.give_coins, 123_456)
    typical.until(lambda: page.balance.text() != before)


def test_activity_searches_filters_and_opens(typical: Desk) -> None:
    typical.go("activity")
    page = typical.page(ActivityPageView)
    everything = page.model.rowCount()
    type_text(page.search, "train")
    typical.until(lambda: 0 < page.model.rowCount() < everything)
    page.search.clear()
    click(page.filter_button)
    typical.click(page.filters.kinds.button("onchain"))
    typical.until(lambda: 0 < page.model.rowCount() < everything)
    page.table.activated.emit(page.model.index(0, 0))
    dialog = typical.dialog(ItemDialog)
    dialog.note.setText("My own words")
    typical.click(dialog.save)
    typical.until(lambda: any(item.label == "My own words" for item in typical.node.activity))


def test_settings_change_the_look_at_once(typical: Desk) -> None:
    typical.go("settings")
    page = typical.page(SettingsPage)
    typical.click(page.scheme.button("dark"))
    assert theme().scheme == "dark"
    typical.click(page.unit.button("BTC"))
    typical.go("overview")
    assert "BTC" in typical.page(OverviewPage).balance.text()
    typical.go("settings")
    page = typical.page(SettingsPage)
    typical.click(page.text_size.button("150"))
    assert theme().px(100) == 150
    assert typical.shell.current_key == "settings"


def test_words_need_the_password(typical: Desk) -> None:
    typical.go("settings")
    click(typical.page(SettingsPage).backup.words_button)
    dialog = typical.dialog(WordsDialog)
    type_text(dialog.password, "wrong")
    typical.click(dialog.show_button)
    typical.until(lambda: "wrong" in dialog._row.problem())
    dialog.password.setText("correct")
    typical.click(dialog.show_button)
    typical.until(lambda: not dialog.password.isVisible())
    dialog.reject()


def test_hostile_names_are_literal_everywhere(desk: Make) -> None:
    node = scenes.typical()
    for key, channel in list(node.channels.items()):
        node.channels[key] = replace(channel, peer_alias="<b>bold</b>\u202e", phase_text="<script>x</script>")
    node.status = replace(node.status, problem="<img src=x>")
    node.locked = (LockedCoin(amount_sat=5, reason="<i>why</i>", until_height=None, channel_id=None),)
    one = desk(node)
    for key in ("overview", "send", "receive", "channels", "activity"):
        one.go(key)
    from PyQt6.QtWidgets import QLabel

    for label in one.window.findChildren(QLabel):
        assert label.textFormat() == Qt.TextFormat.PlainText, label.text()
    names = [card.name.text() for card in one.page(ChannelsPage).cards.values()]
    assert "<b>bold</b>" in names


def test_a_narrow_window_still_works(typical: Desk) -> None:
    typical.window.resize(800, 600)
    QApplication.processEvents()
    for key in ("overview", "send", "receive", "activity", "channels", "settings"):
        typical.go(key)
        page = typical.shell.page(key)
        assert page.width() == 736
    assert typical.window.width() == 800
