"""Scenes of receiving and of several wallets."""

from __future__ import annotations

from pathlib import Path

from tests.gui import scenes
from tests.gui.fake_channels import suggested_id
from tests.gui.fake_host import FakeHost
from tests.gui.shots import Stage, wait_for
from wallet.gui.pages.buy_channel import BuyChannelDialog
from wallet.gui.pages.receive import ReceivePage
from wallet.gui.pages.receive_more import AskForChannelDialog
from wallet.node.api import WalletInfo

__all__ = ["RECEIVE_SCENES"]


def _page(stage: Stage) -> ReceivePage:
    assert stage.window is not None
    page = stage.window.findChild(ReceivePage)
    assert page is not None
    return page


def ask_for_channel(stage: Stage) -> None:
    stage.on(scenes.new("mainnet"), "receive")
    page = _page(stage)
    page.ways.ask.click()
    dialog = page.findChild(AskForChannelDialog)
    assert dialog is not None
    dialog.peer.setText(f"{suggested_id(2)}@node.example:9735")
    dialog.connect_button.click()
    wait_for(lambda: dialog._own.isVisible(), "our id")


def _terms(stage: Stage) -> BuyChannelDialog:
    stage.on(scenes.funded(), "receive")
    page = _page(stage)
    page.ways.buy.click()
    dialog = page.findChild(BuyChannelDialog)
    assert dialog is not None
    wait_for(lambda: dialog.offer is not None and dialog.buy_button.isEnabled(), "the terms")
    return dialog


def buy_terms(stage: Stage) -> None:
    _terms(stage).kind.button("public").click()


def buy_channel(stage: Stage) -> None:
    dialog = _terms(stage)
    dialog.buy_button.click()
    wait_for(lambda: dialog.order is not None and dialog.buy_button.isEnabled(), "the price")


def buy_of_a_stranger(stage: Stage) -> None:
    node = scenes.new("mainnet")
    node.strangers.add(suggested_id(3))
    stage.on(node, "receive")
    page = _page(stage)
    page.ways.buy.click()
    dialog = page.findChild(BuyChannelDialog)
    assert dialog is not None
    dialog.seller.setText(f"{suggested_id(3)}@seller.example:9735")
    dialog.buy_button.click()
    wait_for(lambda: bool(dialog.banner.text()), "the refusal")


def wallets(stage: Stage) -> None:
    found = (("Savings", "mainnet"), ("Daily", "mainnet"), ("Practice", "sandbox"))
    stage.host = FakeHost(
        existing=[WalletInfo(name=n, network=on, path=Path("/nowhere"), encrypted=True) for n, on in found]
    )
    stage._window(stage.host, "mainnet")


RECEIVE_SCENES = {
    "wallets": wallets,
    "dialog-ask-for-channel": ask_for_channel,
    "dialog-buy-terms": buy_terms,
    "dialog-buy-channel": buy_channel,
    "dialog-buy-refused": buy_of_a_stranger,
}
