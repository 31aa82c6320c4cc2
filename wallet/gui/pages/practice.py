"""What only play money can do: coins as a gift, blocks by a button, a shop that sells and pays."""

from __future__ import annotations

from PyQt6.QtWidgets import QMenu, QWidget

from wallet.gui import format as fmt
from wallet.gui.bridge import run
from wallet.gui.context import Context
from wallet.gui.widgets.basic import add_action
from wallet.gui.widgets.notices import toast
from wallet.i18n import _
from wallet.node.api import RequestStatus

__all__ = ["buy_channel", "buy_coffee", "fill_menu", "get_coins", "mine", "pay_invoice", "pay_request"]

GIFT_SAT = 1_000_000
COFFEE_MSAT = 21_000_000
BOUGHT_SAT = 1_000_000


def get_coins(context: Context, owner: QWidget) -> None:
    sandbox = context.bridge.api.sandbox()
    if sandbox is None:
        return
    text = _("{amount} are on their way").format(amount=fmt.amount_sat(GIFT_SAT))
    run(
        sandbox.give_coins(GIFT_SAT),
        lambda _txid: toast(owner, text, "receive"),
        lambda sentence: toast(owner, sentence, "warning"),
        owner=owner,
    )


def mine(context: Context, owner: QWidget, blocks: int = 1) -> None:
    sandbox = context.bridge.api.sandbox()
    if sandbox is None:
        return
    run(
        sandbox.mine(blocks),
        lambda height: toast(owner, _("Block {height} was mined").format(height=fmt.group(height)), "block"),
        lambda sentence: toast(owner, sentence, "warning"),
        owner=owner,
    )


def buy_coffee(context: Context, owner: QWidget) -> None:
    """Asks the shop for an invoice and opens Send with it."""
    sandbox = context.bridge.api.sandbox()
    if sandbox is None:
        return
    run(
        sandbox.shop_invoice(COFFEE_MSAT, _("A coffee")),
        context.pay,
        lambda sentence: toast(owner, sentence, "warning"),
        owner=owner,
    )


def pay_request(context: Context, owner: QWidget) -> None:
    """The shop pays the newest open request."""
    sandbox = context.bridge.api.sandbox()
    if sandbox is None:
        return
    waiting = [r for r in context.snapshot.requests if r.status is RequestStatus.UNPAID and r.invoice]
    if not waiting:
        toast(owner, _("Make a request first: the shop pays the newest one."), "info")
        return
    newest = max(waiting, key=lambda request: request.created_at)
    pay_invoice(context, owner, newest.invoice or "")


def pay_invoice(context: Context, owner: QWidget, invoice: str) -> None:
    """The shop pays one."""
    sandbox = context.bridge.api.sandbox()
    if sandbox is None:
        return
    run(
        sandbox.shop_pay(invoice),
        lambda _preimage: toast(owner, _("The shop has paid"), "check"),
        lambda sentence: toast(owner, sentence, "warning"),
        owner=owner,
    )


def buy_channel(context: Context, owner: QWidget) -> None:
    """The hub opens a channel to us, for a price: the way to receive without having spent."""
    sandbox = context.bridge.api.sandbox()
    if sandbox is None:
        return
    run(
        sandbox.buy_channel(BOUGHT_SAT),
        lambda sentence: toast(owner, sentence, "check"),
        lambda sentence: toast(owner, sentence, "warning"),
        owner=owner,
    )


def fill_menu(menu: QMenu, context: Context, owner: QWidget) -> None:
    """The menu behind the network's strip."""
    gift = _("Give me {amount}").format(amount=fmt.amount_sat(GIFT_SAT))
    add_action(menu, gift, lambda: get_coins(context, owner), "coins")
    add_action(menu, _("Mine a block"), lambda: mine(context, owner), "pickaxe")
    add_action(menu, _("Mine six blocks"), lambda: mine(context, owner, 6), "block")
    menu.addSeparator()
    sandbox = context.bridge.api.sandbox()
    if sandbox is not None:
        price = fmt.amount_sat(sandbox.channel_price_sat(BOUGHT_SAT))
        text = _("Buy a channel of {amount} for {price}").format(
            amount=fmt.amount_sat(BOUGHT_SAT), price=price
        )
        add_action(menu, text, lambda: buy_channel(context, owner), "channels")
    add_action(menu, _("Buy a coffee at the shop"), lambda: buy_coffee(context, owner), "shop")
    add_action(menu, _("Let the shop pay my request"), lambda: pay_request(context, owner), "receive")
