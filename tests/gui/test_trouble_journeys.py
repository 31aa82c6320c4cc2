"""What goes wrong around the wallet ends in a sentence and a way on: no server, a computer that slept, a full disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.gui import scenes
from tests.gui.conftest import Desk
from tests.gui.fake_node import FakeNode
from tests.gui.hands import click
from wallet.gui import format as fmt
from wallet.gui.pages.overview import OverviewPage
from wallet.gui.pages.pay_cards import InvoiceCard
from wallet.gui.pages.receive import ReceivePage
from wallet.gui.pages.send import SendPage
from wallet.gui.pages.settings import SettingsPage
from wallet.gui.widgets.basic import Button
from wallet.gui.widgets.dialog import Dialog
from wallet.gui.widgets.notices import Banner
from wallet.gui.widgets.statusbar import status_items

Make = Callable[[FakeNode], Desk]
FULL = "The wallet file cannot be written to (No space left on device). Is the disk full?"


def bar(one: Desk) -> list[str]:
    assert one.window.shell is not None
    return [item.text for item in status_items(one.window.shell.bridge.snapshot)]


def shown(page: OverviewPage) -> list[Banner]:
    return [banner for banner in page.findChildren(Banner) if banner.isVisible()]


def lose_servers(node: FakeNode) -> None:
    status = node.status
    gone = tuple(replace(server, connected=False, problem="It hung up") for server in status.servers)
    node.status = replace(
        status,
        servers=gone,
        tip_at=fmt.now() - 14 * 60,
        problem="No server can be reached: nothing new is seen. Leyden keeps trying.",
    )
    node.tell()


def find_servers(node: FakeNode) -> None:
    back = tuple(replace(server, connected=True) for server in node.status.servers)
    node.status = replace(node.status, servers=back, problem="")
    node.tell()


def test_without_a_server_it_says_so_and_how_old_what_is_shown_is(typical: Desk) -> None:
    """Also what one sees after the computer slept: the node tells at once that nobody has answered since."""
    page = typical.page(OverviewPage)
    assert not page.as_of.isVisible()
    typical.node.submit(lose_servers, typical.node)
    typical.until(page.as_of.isVisible)
    assert (
        page.as_of.text()
        == f"As of block {fmt.group(typical.node.status.height)}, 14 minutes ago: reconnecting"
    )
    assert "No server: reconnecting" in bar(typical)
    assert f"Block {fmt.group(typical.node.status.height)}, 14 minutes ago" in bar(typical)
    typical.until(lambda: any("No server" in banner.text() for banner in shown(page)))
    banner = next(banner for banner in shown(page) if "No server" in banner.text())
    assert banner.button is not None
    click(banner.button)
    typical.until(typical.page(SettingsPage).isVisible)
    typical.go("overview")
    typical.node.submit(find_servers, typical.node)
    typical.until(lambda: not page.as_of.isVisible())
    assert "No server: reconnecting" not in bar(typical)
    assert f"Block {fmt.group(typical.node.status.height)}" in bar(typical)


def test_ages_grow_though_nothing_happens(typical: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert typical.window.shell is not None
    status_bar = typical.window.shell.status_bar

    def graph() -> str:
        return status_bar._buttons["graph"].text()

    assert status_bar.ages.isActive()
    before, now_at = graph(), fmt.now()
    monkeypatch.setattr(fmt, "now", lambda: now_at + 7_200)
    status_bar.ages.timeout.emit()
    assert graph() != before
    assert "2 hours" in graph()


def test_a_full_disk_is_said_where_one_paid_and_can_be_tried_again(typical: Desk) -> None:
    node = typical.node
    node.refusals["lnpay"] = FULL
    typical.go("send")
    page = typical.page(SendPage)
    invoice = node.foreign_invoice(21_000_000, "Coffee")
    page.take(invoice)
    typical.until(lambda: isinstance(page.card, InvoiceCard))
    assert isinstance(page.card, InvoiceCard)
    click(page.card.button)
    typical.until(lambda: page.result is not None)
    assert page.result is not None
    assert page.result.title == "Not paid"
    assert "Is the disk full? Nothing was spent." in page.result.accessibleName()
    again = next(button for button in page.result.buttons if button.text() == "Try again")
    click(again)
    typical.until(lambda: isinstance(page.card, InvoiceCard))
    assert page.field.text() == invoice


def test_a_full_disk_is_said_where_one_asks_to_be_paid(typical: Desk) -> None:
    typical.node.fail("add_request", FULL)
    typical.go("receive")
    page = typical.page(ReceivePage)
    click(page.create_button)
    typical.until(lambda: "Is the disk full?" in page._problem.text())
    assert page.create_button.isEnabled(), "once there is room, it is one click"
    click(page.create_button)
    typical.until(lambda: page._shown is not None)


def test_a_wallet_that_stopped_for_the_disk_says_what_to_do(desk: Make) -> None:
    node = scenes.typical()
    sentence = "The wallet file could not be written; nothing more leaves. Make room on the disk, then start it again."
    node.status = replace(node.status, problem=sentence)
    one = desk(node)
    page = one.page(OverviewPage)
    one.until(lambda: sentence in [banner.text() for banner in shown(page)])
    assert bar(one)[0] == fmt.plain(sentence, 48)


def test_another_certificate_is_accepted_only_after_a_question(typical: Desk) -> None:
    server = typical.node.servers[2]
    server.update(problem="The server shows another certificate than before.", other_certificate=True)
    typical.go("settings")
    page = typical.page(SettingsPage)
    name = f"Accept the new certificate of {server['address']}"

    def button() -> Button | None:
        return next((b for b in page.servers.findChildren(Button) if b.accessibleName() == name), None)

    typical.until(lambda: button() is not None)
    found = button()
    assert found is not None
    found.click()
    dialog = typical.dialog(Dialog)
    assert ("forget_certificate", {"address": server["address"]}) not in typical.node.calls
    next(b for b in dialog.findChildren(Button) if b.kind == "danger").click()
    typical.until(lambda: ("forget_certificate", {"address": server["address"]}) in typical.node.calls)
    typical.until(lambda: button() is None)
