"""Commands for payment links (LNURL-pay, lightning addresses), contacts, and names of one's own for nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wallet.bitcoin.curve import is_valid_pubkey
from wallet.i18n import _
from wallet.node.address_book import ContactRecord, LinkRecord
from wallet.node.api import CommandError, Json
from wallet.node.commands.payments import PAYMENT_TIMEOUT_SECONDS, decode, default_max_fee_msat, lnpay
from wallet.node.commands.registry import command, sat_from_btc
from wallet.node.lnurl import (
    LnurlError,
    LnurlTarget,
    PayRequest,
    check_invoice,
    open_secret,
    parse_lnurl,
    request_invoice,
    request_pay,
)

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__ = ["link_target", "node_id_bytes"]

MAX_NAME = 60
MAX_DESTINATION = 4096


def link_target(node: Node, text: str) -> LnurlTarget:
    """Where a payment link, a lightning address or a contact with one leads; raises `CommandError`."""
    contact = node.address_book.find(text)
    try:
        target = parse_lnurl(contact.destination if contact is not None else text)
    except LnurlError as error:
        raise CommandError(str(error), code="lnurl") from None
    if target is None:
        raise CommandError(
            _("This is neither a payment link (lnurl1…, lnurlp://) nor a lightning address (name@host)."),
            code="lnurl",
        )
    return target


async def _asked(node: Node, target: LnurlTarget) -> PayRequest:
    try:
        return await request_pay(node.web_client(), target)
    except LnurlError as error:
        raise CommandError(str(error), code="lnurl") from None


@command
async def lnurlp_info(node: Node, destination: str) -> Json:
    """Asks a payment link or a lightning address what it takes: amounts in msat, description, length of a comment."""
    target = link_target(node, destination)
    request = await _asked(node, target)
    return {
        "destination": destination.strip(),
        "shown": target.shown,
        "host": target.url.host,
        "is_address": target.is_address,
        "description": request.description,
        "min_msat": request.min_msat,
        "max_msat": request.max_msat,
        "comment_length": request.comment_length,
    }


@command
async def lnurlp_invoice(node: Node, destination: str, *, amount_msat: int, comment: str = "") -> Json:
    """Gets an invoice from a payment link or a lightning address, and checks that it is over this amount."""
    target = link_target(node, destination)
    request = await _asked(node, target)
    host = target.url.host
    try:
        text, action = await request_invoice(node.web_client(), host, request, amount_msat, comment)
        invoice = decode(node, text)
        check_invoice(host, invoice, request, amount_msat)
    except LnurlError as error:
        raise CommandError(str(error), code="lnurl") from None
    except CommandError as error:
        raise CommandError(
            _("{host} sent an invoice that cannot be paid: {why} Nothing was paid.").format(
                host=host, why=error.message
            ),
            code="lnurl",
        ) from None
    record = LinkRecord(
        shown=target.shown,
        description=request.description,
        comment=comment,
        tag="" if action is None else action.tag,
        text="" if action is None else action.text,
        url="" if action is None else action.url,
        ciphertext=b"" if action is None else action.ciphertext,
        iv=b"" if action is None else action.iv,
    )
    # On disk before it is paid: what was bought may be in the answer.
    with node.core.entry():
        if bytes(invoice.payment_hash) not in node.ledger.payments:
            node.address_book.put_link(bytes(invoice.payment_hash), record)
        durable = node.durable()
    await durable
    return {
        "invoice": text.strip(),
        "payment_hash": invoice.payment_hash.hex(),
        "payee": invoice.payee.hex(),
        "payee_alias": node.alias_of(invoice.payee),
        "amount_msat": amount_msat,
        "description": request.description,
        "expires_at": invoice.expires_at,
        "max_fee_msat": default_max_fee_msat(amount_msat),
    }


@command
async def lnurlp(
    node: Node,
    destination: str,
    amount: str | None = None,
    *,
    amount_msat: int | None = None,
    comment: str = "",
    max_fee_msat: int | None = None,
    timeout: int = PAYMENT_TIMEOUT_SECONDS,  # noqa: ASYNC109 - as lnpay's
) -> Json:
    """Pays a payment link (lnurl1…, lnurlp://) or a lightning address (name@host); the amount is in BTC. Prints how it
    ended, and what the payee says once it is paid."""
    if (amount is None) == (amount_msat is None):
        raise CommandError(_("Say the amount once: in BTC, or as amount_msat."), code="usage")
    value_msat = amount_msat
    if amount is not None:
        value_msat = sat_from_btc(amount, what=_("The amount")) * 1000
    asked = await lnurlp_invoice(node, destination, amount_msat=value_msat, comment=comment)
    if not isinstance(asked, dict):
        raise TypeError("an invoice's fields are a dictionary")
    paid = await lnpay(node, asked["invoice"], timeout=timeout, max_fee_msat=max_fee_msat)
    said = await payee_message(node, str(asked["payment_hash"]))
    return {**paid, **said} if isinstance(paid, dict) and isinstance(said, dict) else paid


@command
async def payee_message(node: Node, payment_hash: str) -> Json:
    """Shows what the payee of a payment link says now that it is paid, and the comment that was sent."""
    try:
        key = bytes.fromhex(payment_hash)
    except ValueError:
        key = b""
    record = node.address_book.links.get(key)
    if record is None:
        return {}
    answer: dict[str, Json] = {"paid_to": record.shown, "comment": record.comment}
    payment = node.ledger.payments.get(key)
    action = record.action
    if action is None or payment is None or payment.preimage is None:
        return answer
    answer["payee_says"] = action.text
    if action.tag == "url":
        answer["payee_link"] = action.url
    if action.tag == "aes":
        answer["payee_secret"] = open_secret(action, payment.preimage)
    return answer


# --- contacts ----------------------------------------------------------------------------------


@command
async def listcontacts(node: Node) -> Json:
    """Lists your contacts."""
    found = sorted(node.address_book.contacts.values(), key=lambda record: record.name.casefold())
    return [{"name": record.name, "destination": record.destination} for record in found]


@command
async def addcontact(node: Node, name: str, destination: str) -> Json:
    """Keeps a name for an address, a lightning address, a payment link or a node; replaces what had this name."""
    from wallet.node.commands.recognise import recognise

    name = _name(name)
    destination = destination.strip()
    if not name:
        raise CommandError(_("A contact needs a name."), code="usage")
    if len(destination) > MAX_DESTINATION:
        raise CommandError(_("This is too long to be a destination."), code="usage")
    found = await recognise(node, destination)
    kind = found.get("kind") if isinstance(found, dict) else None
    if kind == "invoice":
        raise CommandError(
            _(
                "An invoice can be paid once only: keep a lightning address, a payment link or a node instead."
            ),
            code="usage",
        )
    if kind not in ("address", "lnurlp", "node", "node_uri") or parse_contact_loop(node, destination):
        raise CommandError(
            _("This cannot be paid again: keep an address, a lightning address, a payment link or a node."),
            code="usage",
        )
    with node.core.entry():
        before = node.address_book.find(name)
        if before is not None and before.name != name:
            node.address_book.remove_contact(before.name)
        node.address_book.put_contact(
            ContactRecord(name=name, destination=destination, created_at=node.core.now.at)
        )
        durable = node.durable()
    await durable
    return True


def parse_contact_loop(node: Node, destination: str) -> bool:
    """A contact that stands for another one would follow it wherever it goes."""
    return node.address_book.find(destination) is not None


@command
async def removecontact(node: Node, name: str) -> Json:
    """Forgets a contact."""
    found = node.address_book.find(name)
    if found is None:
        raise CommandError(_("There is no contact {name!r}.").format(name=name[:40]), code="unknown")
    with node.core.entry():
        node.address_book.remove_contact(found.name)
        durable = node.durable()
    await durable
    return True


# --- names for nodes -----------------------------------------------------------------------------


def node_id_bytes(text: str) -> bytes:
    """A node's public key; raises `CommandError`."""
    try:
        node_id = bytes.fromhex(text.strip())
    except ValueError:
        node_id = b""
    if len(node_id) != 33 or node_id[0] not in (2, 3) or not is_valid_pubkey(node_id):
        raise CommandError(
            _("A node id is 66 characters of 0-9 and a-f that begin with 02 or 03."), code="usage"
        )
    return node_id


def _name(text: str) -> str:
    return " ".join("".join(char for char in text if char.isprintable()).split())[:MAX_NAME]


@command
async def name_node(node: Node, node_id: str, name: str = "") -> Json:
    """Gives a node a name of your own, which is shown in place of what it calls itself; no name takes it away."""
    key = node_id_bytes(node_id)
    with node.core.entry():
        node.address_book.name_node(key, _name(name))
        durable = node.durable()
    await durable
    node.views.publish_soon()
    return True


@command
async def node_names(node: Node) -> Json:
    """Lists the names that you gave to nodes."""
    return {key.hex(): name for key, name in sorted(node.address_book.names.items())}
