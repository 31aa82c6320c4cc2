"""Nothing is paid twice unseen, and what is under way is shown to be: through the real widgets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.gui import scenes
from tests.gui.conftest import Desk
from tests.gui.fake_node import FakeNode
from tests.gui.fake_send import FAKE_LINK
from tests.gui.hands import click, type_text
from wallet.gui import format as fmt
from wallet.gui.pages.item_dialog import ItemDialog
from wallet.gui.pages.link_cards import LinkCard, NodeCard
from wallet.gui.pages.pay_cards import InvoiceCard, OnchainCard, paid_before_sentence
from wallet.gui.pages.receive import ReceivePage
from wallet.gui.pages.send import SendPage
from wallet.gui.widgets.basic import Button, Label
from wallet.gui.widgets.notices import Banner
from wallet.node.api import ActivityItem, ActivityKind, ActivityStatus, AttemptView, RequestStatus

Make = Callable[[FakeNode], Desk]
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


def an_address(desk: Desk, *, paid: bool, times: int = 1) -> dict[str, Any]:
    """What the node says of an address; one that was paid names a transaction of the history."""
    item = next(item for item in desk.node.snapshot().recent if item.item_id.startswith("tx:"))
    before = {
        "txid": item.item_id.removeprefix("tx:"),
        "amount_sat": 250_000,
        "at": fmt.now() - 180,
        "confirmed": False,
        "times": times,
    }
    return {
        "kind": "address",
        "message": "A bitcoin address",
        "network_ok": True,
        "address": ADDRESS,
        "amount_sat": 250_000,
        "label": "",
        "paid_before": before if paid else None,
    }


def send_page(desk: Desk) -> SendPage:
    desk.go("send")
    return desk.page(SendPage)


def banners(card: Any) -> list[Banner]:
    return [banner for banner in card.findChildren(Banner) if banner.isVisible() and banner.text()]


def button_of(banner: Banner) -> Button:
    assert banner.button is not None
    return banner.button


def test_a_link_that_was_paid_on_chain_is_not_paid_over_lightning_unseen(typical: Desk) -> None:
    page = send_page(typical)
    page.take(typical.node.foreign_invoice(250_000_000, "Both", fallback=an_address(typical, paid=True)))
    typical.until(lambda: isinstance(page.card, InvoiceCard))
    card = page.card
    assert isinstance(card, InvoiceCard)
    (banner,) = banners(card)
    assert f"You have sent 250{fmt.THIN}000\u00a0sat to this address already, 3 minutes ago." in banner.text()
    assert "pays it twice" in banner.text()
    assert card.button.text() == f"Pay 250{fmt.THIN}000\u00a0sat all the same"
    assert card.way_on is None, "on chain it is paid"
    click(button_of(banner))
    dialog = typical.dialog(ItemDialog)
    assert dialog.item.item_id.startswith("tx:")
    dialog.reject()


def test_a_link_that_was_not_paid_says_nothing_of_it(typical: Desk) -> None:
    page = send_page(typical)
    page.take(typical.node.foreign_invoice(250_000_000, "Both", fallback=an_address(typical, paid=False)))
    typical.until(lambda: isinstance(page.card, InvoiceCard))
    assert isinstance(page.card, InvoiceCard)
    assert banners(page.card) == []
    assert page.card.button.text() == f"Pay 250{fmt.THIN}000\u00a0sat"


def test_an_address_that_was_paid_before_says_so(typical: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typical.node, "do_recognise", lambda text: an_address(typical, paid=True, times=3))
    page = send_page(typical)
    page.take(ADDRESS)
    typical.until(lambda: isinstance(page.card, OnchainCard))
    (banner,) = [banner for banner in banners(page.card) if banner.button is not None]
    assert "3 times" in banner.text()
    click(button_of(banner))
    typical.dialog(ItemDialog).reject()


def test_a_payment_link_whose_address_was_paid_says_so(
    typical: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = typical.node.recognise_link(FAKE_LINK)
    assert found is not None
    both = found | {"fallback": an_address(typical, paid=True)}
    monkeypatch.setattr(typical.node, "do_recognise", lambda text: both)
    page = send_page(typical)
    page.take(FAKE_LINK)
    typical.until(lambda: isinstance(page.card, LinkCard) and page.card.amount_field is not None)
    assert any("pays it twice" in banner.text() for banner in banners(page.card))


def test_words_for_what_was_sent_before() -> None:
    assert paid_before_sentence(None) == ""
    once = {"txid": "ab", "amount_sat": 1, "at": fmt.now() - 7_200, "times": 1}
    assert paid_before_sentence(once) == "You have sent 1\u00a0sat to this address already, 2 hours ago."


def test_an_invoice_whose_payment_is_under_way_shows_that_payment(typical: Desk) -> None:
    invoice = typical.node.foreign_invoice(
        1_000, "Twice", pending=True, can_pay=False, why_not="A payment for this invoice is under way."
    )
    page = send_page(typical)
    page.take(invoice)
    typical.until(lambda: isinstance(page.card, InvoiceCard))
    assert isinstance(page.card, InvoiceCard)
    assert not page.card.button.isEnabled()
    assert page.card.way_on is not None
    assert page.card.way_on.text() == "Show the payment"


def tried(desk: Desk, status: ActivityStatus) -> AttemptView:
    failed, _arrived = scenes.tried(desk.node.snapshot().recent[0])
    return replace(failed, status=status, took_ms=None, failed_hop=None, failure="")


def test_the_route_of_a_payment_without_an_invoice_is_drawn(typical: Desk) -> None:
    node = typical.node
    page = send_page(typical)
    page.take(node.a_node("shop"))
    typical.until(lambda: isinstance(page.card, NodeCard))
    card = page.card
    assert isinstance(card, NodeCard)
    assert card.amount_field is not None
    type_text(card.amount_field, "700")
    typical.until(card.button.isEnabled)
    node.hold("lnpay")
    click(card.button)
    typical.until(lambda: any(name == "keysend" for name, _arguments in node.calls))
    preimage = str(next(arguments for name, arguments in node.calls if name == "keysend")["preimage"])
    payment_hash = hashlib.sha256(bytes.fromhex(preimage)).hexdigest()
    node.attempts = {f"ln:{payment_hash}": (tried(typical, ActivityStatus.PENDING),)}
    typical.until(lambda: page.progress.route.names[1:-1] == ("ACINQ", "Caf\u00e9 \u00c5land"))
    node.release("lnpay")
    typical.until(lambda: page.result is not None)
    assert page.result is not None
    assert page.result.title == "Paid"


def test_each_payment_without_an_invoice_has_a_secret_of_its_own(typical: Desk) -> None:
    page = send_page(typical)
    for _turn in range(2):
        page.take(typical.node.a_node("shop"))
        typical.until(lambda: isinstance(page.card, NodeCard))
        card = page.card
        assert isinstance(card, NodeCard)
        assert card.amount_field is not None
        type_text(card.amount_field, "700")
        typical.until(card.button.isEnabled)
        click(card.button)
        typical.until(lambda: page.result is not None)
        page.reset()
    used = [arguments["preimage"] for name, arguments in typical.node.calls if name == "keysend"]
    assert len(set(used)) == 2


def test_a_command_that_breaks_off_claims_nothing_while_a_part_is_under_way(typical: Desk) -> None:
    node = typical.node
    invoice = node.foreign_invoice(21_000_000, "Coffee")
    item_id = f"ln:{node.invoices[invoice]['payment_hash']}"
    node.attempts = {item_id: (tried(typical, ActivityStatus.PENDING),)}
    node.refusals["lnpay"] = "The wallet file cannot be written to."
    page = send_page(typical)
    page.take(invoice)
    typical.until(lambda: isinstance(page.card, InvoiceCard))
    assert isinstance(page.card, InvoiceCard)
    click(page.card.button)
    typical.until(lambda: page.result is not None)
    assert page.result is not None
    assert page.result.title == "Still under way"
    assert "cannot be written" in page.result.accessibleName()
    assert "Nothing was" not in page.result.accessibleName()


@pytest.mark.parametrize(
    ("status", "title"),
    [
        pytest.param(ActivityStatus.DONE, "Paid", id="arrived"),
        pytest.param(ActivityStatus.FAILED, "Not paid", id="came back"),
    ],
)
def test_a_payment_that_was_left_under_way_ends_on_the_same_page(
    typical: Desk, status: ActivityStatus, title: str
) -> None:
    """As after a disk that was full for a while."""
    node = typical.node
    invoice = node.foreign_invoice(21_000_000, "Coffee")
    payment_hash = str(node.invoices[invoice]["payment_hash"])
    item_id = f"ln:{payment_hash}"
    item = ActivityItem(
        item_id=item_id,
        kind=ActivityKind.LIGHTNING,
        amount_msat=-21_000_000,
        fee_msat=1_000,
        at=fmt.now(),
        status=ActivityStatus.PENDING,
        status_text="Under way",
        label="Coffee",
        payment_hash=payment_hash,
    )
    node.attempts = {item_id: (tried(typical, ActivityStatus.PENDING),)}
    node.activity.insert(0, item)
    node.refusals["lnpay"] = "The wallet file cannot be written to."
    page = send_page(typical)
    page.take(invoice)
    typical.until(lambda: isinstance(page.card, InvoiceCard))
    assert isinstance(page.card, InvoiceCard)
    click(page.card.button)
    typical.until(lambda: page.result is not None)
    node.tell(activity=[item_id])
    assert page.result is not None
    assert page.result.title == "Still under way"
    node.activity[0] = replace(item, status=status, status_text="It came back. Nothing was paid.")
    node.tell(activity=[item_id])
    typical.until(lambda: page.result is not None and page.result.title == title)


def test_after_a_failure_the_same_request_can_be_paid_on_chain(typical: Desk) -> None:
    node = typical.node
    invoice = node.foreign_invoice(250_000_000, "Both", fallback=an_address(typical, paid=False))
    node.fail("lnpay", "There is no route. Nothing was paid.")
    page = send_page(typical)
    page.take(invoice)
    typical.until(lambda: isinstance(page.card, InvoiceCard))
    assert isinstance(page.card, InvoiceCard)
    click(page.card.button)
    typical.until(lambda: page.result is not None)
    assert page.result is not None
    instead: Button = next(
        button for button in page.result.buttons if button.text() == "Pay on chain instead"
    )
    click(instead)
    typical.until(lambda: type(page.card) is OnchainCard)
    onchain: Any = page.card
    assert onchain.amount_field.amount_sat() == 250_000
    typical.until(onchain.review.isEnabled)
    assert page.card is onchain, "what is in the field is not recognised over it"


def test_a_request_that_was_paid_twice_says_so_in_the_list(typical: Desk) -> None:
    typical.go("receive")
    page = typical.page(ReceivePage)
    type_text(page.amount_field, "15000")
    click(page.create_button)
    typical.until(lambda: "lightning=" in page.code.text())
    request = next(iter(typical.node.requests.values()))

    def said() -> bool:
        return any("Paid twice" in label.text() for label in page.findChildren(Label))

    def seen(*, twice: bool) -> None:
        paid = replace(request, status=RequestStatus.PAID, txid="7a" * 32, paid_twice=twice)
        typical.node.requests[request.request_id] = paid
        typical.node.tell(requests=[request.request_id])

    typical.node.submit(lambda: seen(twice=False))
    typical.until(page.is_paid)
    assert not said()
    typical.node.submit(lambda: seen(twice=True))
    typical.until(said)
