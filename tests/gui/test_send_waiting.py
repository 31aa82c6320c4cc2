"""What takes long, or cannot leave yet, says what is waited for and until when: through the real widgets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PyQt6.QtWidgets import QApplication

from tests.gui.conftest import Desk
from tests.gui.fake_node import FakeNode
from tests.gui.hands import click, type_text
from wallet.gui import format as fmt
from wallet.gui.pages.item_dialog import ItemDialog
from wallet.gui.pages.pay_cards import InvoiceCard, OnchainCard
from wallet.gui.pages.send import SendPage
from wallet.gui.widgets.basic import Label
from wallet.node.api import ActivityStatus

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
IN_A_DAY = "about 14 hours (84 blocks)"


def send_page(desk: Desk) -> SendPage:
    desk.go("send")
    return desk.page(SendPage)


def texts(dialog: ItemDialog) -> list[str]:
    return [label.text() for label in dialog.findChildren(Label)]


def test_a_payment_that_hangs_says_when_its_time_ends_and_what_happens_then(typical: Desk) -> None:
    node = typical.node
    page = send_page(typical)
    invoice = node.foreign_invoice(21_000_000, "Coffee")
    page.take(invoice)
    typical.until(lambda: isinstance(page.card, InvoiceCard))
    assert isinstance(page.card, InvoiceCard)
    node.hold("lnpay")
    click(page.card.button)
    typical.until(lambda: page.progress.sentence.text() == "Trying a route of 2 hops")
    # As after ten seconds.
    page.progress._slow.timeout.emit()
    typical.until(lambda: f"Its time limit ends in {IN_A_DAY}:" in page.progress.note.text())
    assert "back on chain, which takes longer" in page.progress.note.text()
    assert "never made twice" in page.progress.note.text()
    item_id = f"ln:{node.invoices[invoice]['payment_hash']}"
    page.context.show_item(item_id)
    dialog = typical.dialog(ItemDialog)
    typical.until(lambda: any(text.startswith(f"Ends in {IN_A_DAY}.") for text in texts(dialog)))
    assert any("back on chain, which takes longer" in text for text in texts(dialog))
    dialog.reject()
    page.progress.say_deadline(0)
    assert "Leyden closes the channel" in page.progress.note.text()
    assert "0 blocks" not in page.progress.note.text()
    node.release("lnpay")
    typical.until(lambda: page.result is not None)


def test_one_that_has_ended_says_nothing_of_it(typical: Desk) -> None:
    page = send_page(typical)
    invoice = typical.node.foreign_invoice(21_000_000, "Coffee")
    page.take(invoice)
    typical.until(lambda: isinstance(page.card, InvoiceCard))
    assert isinstance(page.card, InvoiceCard)
    click(page.card.button)
    typical.until(lambda: page.result is not None)
    page.context.show_item(f"ln:{typical.node.invoices[invoice]['payment_hash']}")
    dialog = typical.dialog(ItemDialog)
    assert not [name for name, _arguments in typical.node.calls if name == "payment_deadline"]
    dialog.reject()


def without_servers(node: FakeNode) -> None:
    gone = tuple(replace(server, connected=False, problem="It hung up") for server in node.status.servers)
    node.status = replace(node.status, servers=gone)
    node.tell()


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "server away"])
def test_coins_that_no_server_has_taken_are_not_said_to_be_sent(typical: Desk, connected: bool) -> None:
    page = send_page(typical)
    if not connected:
        typical.node.submit(without_servers, typical.node)
        typical.until(lambda: not any(s.connected for s in page.context.snapshot.status.servers))
    page.take(ADDRESS)
    typical.until(lambda: isinstance(page.card, OnchainCard))
    card = page.card
    assert isinstance(card, OnchainCard)
    type_text(card.amount_field, "250000")
    typical.until(card.review.isEnabled)
    click(card.review)
    assert card.button is not None
    click(card.button)
    typical.until(lambda: page.result is not None)
    assert page.result is not None
    said = page.result.accessibleName()
    assert page.result.title == ("Sent" if connected else "Waiting for a server")
    assert ("you can close Leyden now" in said) is connected
    assert ("Leave Leyden open until then" in said) is not connected


def test_an_invoice_that_expires_on_the_card_is_no_longer_offered(
    typical: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = send_page(typical)
    page.take(typical.node.foreign_invoice(21_000_000, "Coffee"))
    typical.until(lambda: isinstance(page.card, InvoiceCard))
    card = page.card
    assert isinstance(card, InvoiceCard)
    assert card.button.isEnabled()
    assert card.ages.isActive()
    later_at = fmt.now() + 7_200
    monkeypatch.setattr(fmt, "now", lambda: later_at)
    card.ages.timeout.emit()
    assert not card.button.isEnabled()
    assert "has expired" in card._banner.text()
    assert "Ask for a new one" in card.button.accessibleDescription()


def waiting_item(desk: Desk) -> str:
    page = send_page(desk)
    page.take(ADDRESS)
    desk.until(lambda: isinstance(page.card, OnchainCard))
    card = page.card
    assert isinstance(card, OnchainCard)
    type_text(card.amount_field, "250000")
    desk.until(card.review.isEnabled)
    click(card.review)
    assert card.button is not None
    click(card.button)
    desk.until(lambda: page.result is not None)
    return next(
        i.item_id for i in desk.node.snapshot().recent if i.status is ActivityStatus.PENDING and i.txid
    )


def test_coins_that_wait_are_sped_up_at_a_price_that_is_told(typical: Desk) -> None:
    item_id = waiting_item(typical)
    typical.page(SendPage).context.show_item(item_id)
    dialog = typical.dialog(ItemDialog)
    typical.until(lambda: dialog.speed_up is not None)
    assert dialog.speed_up is not None
    assert dialog.speed_up.text() == f"Speed up for 1{fmt.THIN}218\u00a0sat"
    assert any("14.5 sat/vB" in text for text in texts(dialog))
    typical.node.refusals["bump_fee"] = "The fee would take all of the change."
    click(dialog.speed_up)
    typical.until(lambda: "all of the change" in dialog.reason.text())
    assert dialog.speed_up.isEnabled()
    click(dialog.speed_up)
    typical.until(lambda: not typical.window.findChildren(ItemDialog))
    sent = [arguments for name, arguments in typical.node.calls if name == "bump_fee"]
    assert sent[-1] == {"txid": item_id.removeprefix("tx:"), "feerate": "14.5"}


def test_where_nothing_can_be_sped_up_it_says_why(typical: Desk) -> None:
    item_id = waiting_item(typical)
    typical.node.refusals["quote_bump"] = "No coin is left to pay a higher fee with."
    typical.page(SendPage).context.show_item(item_id)
    dialog = typical.dialog(ItemDialog)
    typical.until(lambda: any("No coin is left" in text for text in texts(dialog)))
    assert dialog.speed_up is None
    dialog.reject()


def pay(desk: Desk, page: SendPage, invoice: str) -> None:
    page.take(invoice)
    desk.until(lambda: isinstance(page.card, InvoiceCard))
    assert isinstance(page.card, InvoiceCard)
    click(page.card.button)


def test_a_link_that_comes_during_a_payment_is_shown_after_it(typical: Desk) -> None:
    node = typical.node
    page = send_page(typical)
    first, second = node.foreign_invoice(21_000_000, "Coffee"), node.foreign_invoice(5_000_000, "Tea")
    node.hold("lnpay")
    pay(typical, page, first)
    for _twice in range(2):
        typical.window.take_link(f"lightning:{second}")
    assert page.views.currentWidget() is page.progress
    node.release("lnpay")
    typical.until(lambda: page.result is not None)
    assert page.result is not None
    click(page.result.buttons[0])
    typical.until(lambda: second in page.field.text() and isinstance(page.card, InvoiceCard))
    assert typical.shell.current_key == "send"
    assert [name for name, _arguments in node.calls].count("lnpay") == 1


@pytest.mark.parametrize("fails", [False, True], ids=["paid", "failed"])
def test_what_is_pasted_over_the_end_of_a_payment_is_recognised(typical: Desk, fails: bool) -> None:
    node = typical.node
    page = send_page(typical)
    if fails:
        node.fail("lnpay", "No route was found.")
    pay(typical, page, node.foreign_invoice(21_000_000, "Coffee"))
    typical.until(lambda: page.result is not None)
    second = node.foreign_invoice(5_000_000, "Tea")
    clipboard = QApplication.clipboard()
    assert clipboard is not None
    clipboard.setText(second)
    typical.shell.paste()
    typical.until(lambda: page.field.text() == second and isinstance(page.card, InvoiceCard))
    assert page.result is None
