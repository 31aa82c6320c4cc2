"""Commands on the node itself, and on what a pasted text is."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.parse
from typing import TYPE_CHECKING

from wallet.bitcoin.address import NETWORKS, address_to_script
from wallet.chain.interfaces import ConfirmationTarget
from wallet.i18n import _
from wallet.ln.invoice import parse_invoice
from wallet.ln.types import DecodeError
from wallet.node.api import CommandError, Json
from wallet.node.commands.payments import decode, default_max_fee_msat, why_not_payable
from wallet.node.commands.registry import COMMANDS, btc_text, command, sat_from_btc
from wallet.node.records import PaymentState
from wallet.node.sockets import parse_node_uri
from wallet.node.version import VERSION

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__: list[str] = []


@command
async def getinfo(node: Node) -> Json:
    """Shows how the wallet stands."""
    status = node.views.snapshot().status
    connected = [server for server in status.servers if server.connected]
    return {
        "network": status.network,
        "path": str(node.options.network_dir),
        "wallet": status.wallet_name,
        "server": connected[0].address if connected else None,
        "blockchain_height": status.height,
        "server_height": max((server.height for server in connected), default=0),
        "spv_nodes": len(connected),
        "connected": bool(connected),
        "synchronized": status.synced,
        "problem": status.problem,
        "servers": [
            {
                "address": server.address,
                "connected": server.connected,
                "height": server.height,
                "problem": server.problem,
            }
            for server in status.servers
        ],
        "version": VERSION,
        "nodeid": status.node_id,
        "peers": status.peers_online,
        "graph_nodes": status.graph_nodes,
        "graph_channels": status.graph_channels,
        "fee_estimates_sat_per_kw": {
            target.name.lower(): node.fee_sat_per_kw(target) for target in ConfirmationTarget
        },
    }


@command
async def version(node: Node) -> Json:
    """Shows Leyden's version."""
    return VERSION


@command
async def help_(node: Node, name: str | None = None) -> Json:
    """Lists the commands, or explains one."""
    if name is None:
        return {key: found.help.splitlines()[0] for key, found in sorted(COMMANDS.items())}
    found = COMMANDS.get(name)
    if found is None:
        raise CommandError(_("There is no command {name!r}.").format(name=name), code="usage")
    return {"usage": found.usage(), "help": found.help}


@command
async def wait_for_sync(node: Node, *, timeout: int = 600) -> Json:  # noqa: ASYNC109 - as Electrum's
    """Returns once the wallet has caught up with the chain."""
    try:
        async with asyncio.timeout(timeout):
            await node.electrum.wait_synced()
    except TimeoutError:
        raise CommandError(
            _("After {seconds} seconds the wallet has still not caught up with the chain.").format(
                seconds=timeout
            ),
            code="timeout",
        ) from None
    return True


@command
async def wait_for_change(node: Node, seen: int = -1, *, timeout: int = 30) -> Json:  # noqa: ASYNC109 - as Electrum's
    """Returns as soon as anything is newer than version `seen` (or after the time-out), with the version now."""
    try:
        async with asyncio.timeout(timeout):
            return await node.views.changed_since(seen)
    except TimeoutError:
        return node.views.version


@command
async def is_synchronized(node: Node) -> Json:
    """Tells whether the wallet has caught up with the chain."""
    return node.electrum.status().is_synced


@command
async def getseed(node: Node, *, password: str = "") -> Json:
    """Shows the words that bring this wallet's keys back. Whoever reads them can take the coins."""
    # In a thread: checking a password takes a second on purpose, and payments go on meanwhile.
    await node.loop.run_in_executor(None, node.check_password, password)
    return " ".join(node.words())


@command
async def recognise(node: Node, text: str) -> Json:
    """Tells what a pasted or scanned text is, and what can be done with it."""
    stripped = text.strip()
    lowered = stripped.lower()
    if not stripped:
        return {
            "kind": "unknown",
            "message": _("Paste an invoice, an address or a node."),
            "network_ok": True,
        }
    if lowered.startswith("bitcoin:"):
        return _recognise_bip21(node, stripped)
    if lowered.removeprefix("lightning:").startswith("ln"):
        return _recognise_invoice(node, stripped)
    if "@" in stripped:
        try:
            uri = parse_node_uri(stripped, node.options.network.default_ln_port)
        except ValueError as error:
            return {"kind": "unknown", "message": str(error), "network_ok": True}
        return {"kind": "node_uri", "message": _("A Lightning node"), "network_ok": True, "uri": str(uri)}
    return _recognise_address(node, stripped, None, "")


def _recognise_address(node: Node, address: str, amount_sat: int | None, label: str) -> dict[str, Json]:
    try:
        address_to_script(address, node.options.network)
    except DecodeError as error:
        other = _other_network(address, node.options.network.name)
        return {"kind": "unknown", "message": str(error), "network_ok": other is None}
    return {
        "kind": "address",
        "message": _("A bitcoin address"),
        "network_ok": True,
        "address": address,
        "amount_sat": amount_sat,
        "label": label,
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


def _recognise_bip21(node: Node, text: str) -> dict[str, Json]:
    address, _question, query = text[len("bitcoin:") :].partition("?")
    fields = {key.lower(): value for key, value in urllib.parse.parse_qsl(query)}
    if "lightning" in fields:
        found = _recognise_invoice(node, fields["lightning"])
        if found["kind"] == "invoice":
            return {**found, "fallback_address": address}
    unknown = [key for key in fields if key.startswith("req-")]
    if unknown:
        return {
            "kind": "unknown",
            "message": _("This link demands something that Leyden does not know ({key}).").format(
                key=unknown[0][:40]
            ),
            "network_ok": True,
        }
    amount_sat = None
    if "amount" in fields:
        try:
            amount_sat = sat_from_btc(fields["amount"], what=_("The link's amount"))
        except CommandError as error:
            return {"kind": "unknown", "message": error.message, "network_ok": True}
    return _recognise_address(node, address, amount_sat, fields.get("label", "") or fields.get("message", ""))


def _of_another_network(node: Node, text: str) -> bool:
    """Whether an invoice that cannot be read here is a good one elsewhere."""
    for network in NETWORKS.values():
        if network != node.options.network:
            with contextlib.suppress(DecodeError):
                parse_invoice(text, network)
                return True
    return False


def _recognise_invoice(node: Node, text: str) -> dict[str, Json]:
    try:
        invoice = decode(node, text)
    except CommandError as error:
        return {
            "kind": "unknown",
            "message": error.message,
            "network_ok": not _of_another_network(node, text),
        }
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
        "can_pay": why_not is None,
        "why_not": why_not,
        "max_fee_msat": default_max_fee_msat(invoice.amount_msat) if invoice.amount_msat else None,
    }


@command
async def getfeerate(node: Node) -> Json:
    """Shows the fee rate for a payment within about an hour, in BTC per 1000 vbytes."""
    return btc_text(node.fee_sat_per_kw(ConfirmationTarget.NON_ANCHOR_CHANNEL_FEE) * 4)
