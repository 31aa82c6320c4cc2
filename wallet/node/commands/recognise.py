"""What a pasted, typed, dropped or scanned text is, and what can be done with it. Nothing is asked of anybody here."""

from __future__ import annotations

import contextlib
import re
import urllib.parse
from typing import TYPE_CHECKING

from wallet.bitcoin.address import NETWORKS, address_to_script
from wallet.bitcoin.curve import is_valid_pubkey
from wallet.bitcoin.tx import txid_hex
from wallet.i18n import _
from wallet.ln.invoice import parse_invoice
from wallet.ln.types import DecodeError
from wallet.node.api import CommandError, Json
from wallet.node.commands.payments import decode, default_max_fee_msat, why_not_payable
from wallet.node.commands.registry import command, sat_from_btc
from wallet.node.lnurl import LnurlError, parse_lnurl
from wallet.node.records import PaymentState
from wallet.node.sockets import parse_node_uri

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__: list[str] = []

_NODE_ID = re.compile("[0-9a-f]{66}")
_PSBT_BASE64 = "cHNidP"
_PSBT_HEX = "70736274ff"
_TRANSACTION = re.compile(r"0[12]000000[0-9a-f]{100,}")


def _unknown(message: str, *, network_ok: bool = True) -> dict[str, Json]:
    return {"kind": "unknown", "message": message, "network_ok": network_ok}


@command
async def recognise(node: Node, text: str) -> Json:
    """Tells what a pasted or scanned text is, and what can be done with it."""
    contact = node.address_book.find(text)
    if contact is not None:
        return {**_recognised(node, contact.destination), "contact": contact.name}
    return _recognised(node, text)


def _recognised(node: Node, text: str) -> dict[str, Json]:
    stripped = text.strip()
    lowered = stripped.lower()
    if not stripped:
        return _unknown(_("Paste an invoice, an address or a node."))
    if lowered.startswith("bitcoin:"):
        return _bip21(node, stripped)
    if stripped.startswith("\u20bf"):
        return _unknown(_("Names with ₿ in front (BIP 353) cannot be looked up yet. Ask for an invoice."))
    try:
        link = parse_lnurl(stripped)
    except LnurlError as error:
        return _unknown(str(error))
    if link is not None:
        return {
            "kind": "lnurlp",
            "message": _("A lightning address") if link.is_address else _("A payment link"),
            "network_ok": True,
            "destination": stripped,
            "shown": link.shown,
            "host": link.url.host,
            "is_address": link.is_address,
        }
    for prefix in ("lightning://", "lightning:"):
        if lowered.startswith(prefix):
            stripped = stripped[len(prefix) :]
            return _recognised_node(node, stripped) or _invoice(node, stripped)
    if lowered.startswith("lno1"):
        return _unknown(_("This is an offer (BOLT 12), which Leyden cannot pay yet. Ask for an invoice."))
    if lowered.startswith("ln"):
        return _invoice(node, stripped)
    if stripped.startswith(_PSBT_BASE64) or lowered.startswith(_PSBT_HEX):
        return {
            "kind": "psbt",
            "message": _("A transaction to be signed (PSBT)"),
            "network_ok": True,
            "psbt": stripped,
        }
    if _TRANSACTION.fullmatch(lowered):
        return {
            "kind": "transaction",
            "message": _("A transaction"),
            "network_ok": True,
            "transaction": lowered,
        }
    found = _recognised_node(node, stripped)
    if found is not None:
        return found
    if lowered.startswith(("https://", "http://")):
        return _unknown(
            _("This is a web page, not something that can be paid. Look there for an invoice or an address.")
        )
    return _address(node, stripped, None, "")


def _recognised_node(node: Node, text: str) -> dict[str, Json] | None:
    if "@" in text:
        try:
            uri = parse_node_uri(text, node.options.network.default_ln_port)
        except ValueError as error:
            return _unknown(str(error))
        return {
            "kind": "node_uri",
            "message": _("A Lightning node"),
            "network_ok": True,
            "uri": str(uri),
            "node_id": uri.node_id.hex(),
        }
    lowered = text.lower()
    if not _NODE_ID.fullmatch(lowered):
        return None
    node_id = bytes.fromhex(lowered)
    if node_id[0] not in (2, 3) or not is_valid_pubkey(node_id):
        return _unknown(_("There is no node of this id: a character of it must be wrong."))
    own = node_id == bytes(node.keys_manager.get_node_id())
    with node.core.locked():
        why_not = _("This node is your own.") if own else why_not_payable(node, 1)
    return {
        "kind": "node",
        "message": _("A Lightning node"),
        "network_ok": True,
        "node_id": lowered,
        "payee": lowered,
        "payee_alias": node.alias_of(node_id),
        "own": own,
        "can_pay": why_not is None,
        "why_not": why_not,
    }


def _address(node: Node, address: str, amount_sat: int | None, label: str) -> dict[str, Json]:
    try:
        script = address_to_script(address, node.options.network)
    except DecodeError as error:
        other = _other_network(address, node.options.network.name)
        return _unknown(str(error), network_ok=other is None)
    return {
        "kind": "address",
        "message": _("A bitcoin address"),
        "network_ok": True,
        "address": address,
        "amount_sat": amount_sat,
        "label": label,
        "paid_before": _paid_before(node, script),
    }


def _paid_before(node: Node, script: bytes) -> Json:
    """The newest payment of ours to an address; None where there is none. Whoever pays twice should mean it."""
    with node.core.locked():
        sent = node.onchain.sent_to(script)
    if not sent:
        return None
    # What waits has no place in the chain: it comes last.
    entry, value_sat = max(sent, key=lambda pair: (pair[0].height is None, pair[0].height or 0))
    return {
        "txid": txid_hex(entry.txid),
        "amount_sat": value_sat,
        "at": entry.at,
        "confirmed": entry.height is not None,
        "times": len(sent),
    }


def _other_network(address: str, own: str) -> str | None:
    for name, network in NETWORKS.items():
        if name != own:
            try:
                address_to_script(address, network)
            except DecodeError:
                continue
            return name
    return None


def _query_fields(query: str) -> dict[str, str] | None:
    """BIP 21's parameters, keys in lower case; None where one that decides over money is there twice."""
    fields: dict[str, str] = {}
    for part in query.split("&"):
        key, _equals, value = part.partition("=")
        # Percent signs only: a plus is a plus (RFC 3986), unlike in a web form.
        key, value = urllib.parse.unquote(key).lower(), urllib.parse.unquote(value)
        if fields.get(key, value) != value and key in ("amount", "lightning"):
            return None
        fields.setdefault(key, value)
    return fields


def _bip21(node: Node, text: str) -> dict[str, Json]:
    rest = text[len("bitcoin:") :].removeprefix("//")
    address, _question, query = rest.partition("?")
    address = urllib.parse.unquote(address)
    fields = _query_fields(query)
    if fields is None:
        return _unknown(_("This link names two amounts or two invoices. Ask for a new one."))
    demanded = [key for key in fields if key.startswith("req-")]
    if demanded:
        return _unknown(
            _("This link demands something that Leyden does not know ({key}).").format(key=demanded[0][:40])
        )
    amount_sat = None
    if "amount" in fields:
        try:
            amount_sat = sat_from_btc(fields["amount"], what=_("The link's amount"))
        except CommandError as error:
            return _unknown(error.message)
    label = fields.get("label", "") or fields.get("message", "")
    onchain = _address(node, address, amount_sat, label) if address else None
    good_address = onchain is not None and onchain["kind"] == "address"
    found: dict[str, Json] | None = None
    if fields.get("lightning"):
        found = _recognised(node, "lightning:" + fields["lightning"])
    if found is not None and found["kind"] == "invoice":
        asked_msat = found["amount_msat"]
        if amount_sat is not None and asked_msat is not None and asked_msat != amount_sat * 1000:
            return _unknown(_("This link names two amounts that differ. Ask for a new one."))
        if found["already_paid"] or found["pending"]:
            # The other layer would pay a second time.
            return found
        if found["can_pay"] or not good_address or found["own"]:
            return {**found, "fallback": onchain if good_address else None}
        # Lightning does not work out; the same payment on chain does.
        return {**(onchain or {}), "instead_of_lightning": found["why_not"]}
    if found is not None and found["kind"] == "lnurlp":
        return {**found, "amount_sat": amount_sat, "fallback": onchain if good_address else None}
    if onchain is None:
        return found or _unknown(_("This link holds neither an address nor an invoice."))
    if not good_address and found is not None and found["network_ok"] is False:
        return found
    return onchain


def _of_another_network(node: Node, text: str) -> bool:
    """Whether an invoice that cannot be read here is a good one elsewhere."""
    for network in NETWORKS.values():
        if network != node.options.network:
            with contextlib.suppress(DecodeError):
                parse_invoice(text, network)
                return True
    return False


def _invoice(node: Node, text: str) -> dict[str, Json]:
    try:
        invoice = decode(node, text)
    except CommandError as error:
        return _unknown(error.message, network_ok=not _of_another_network(node, text))
    payment = node.ledger.payments.get(bytes(invoice.payment_hash))
    own = bytes(invoice.payee) == bytes(node.keys_manager.get_node_id())
    expired = invoice.is_expired(node.wall_clock_at())
    paid = payment is not None and payment.state is PaymentState.SUCCEEDED
    pending = payment is not None and payment.state is PaymentState.PENDING
    why_not = None
    if own:
        why_not = _("This invoice is your own.")
    elif paid:
        why_not = _("This invoice is paid already.")
    elif pending:
        why_not = _("A payment for this invoice is under way.")
    elif expired:
        why_not = _("This invoice has run out. Ask for a new one.")
    else:
        with node.core.locked():
            why_not = why_not_payable(node, invoice.amount_msat or 1)
    return {
        "kind": "invoice",
        "message": _("A Lightning invoice"),
        "network_ok": True,
        "invoice": text.strip(),
        "payment_hash": invoice.payment_hash.hex(),
        "amount_msat": invoice.amount_msat,
        "description": invoice.description or "",
        "payee": invoice.payee.hex(),
        "payee_alias": node.alias_of(invoice.payee),
        "expires_at": invoice.expires_at,
        "expired": expired,
        "own": own,
        "already_paid": paid,
        "pending": pending,
        "can_pay": why_not is None,
        "why_not": why_not,
        "max_fee_msat": default_max_fee_msat(invoice.amount_msat) if invoice.amount_msat else None,
    }
