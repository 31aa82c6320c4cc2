"""The command for payments that nobody asked for: the payer makes the preimage, and the onion carries it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wallet.bitcoin.curve import is_valid_pubkey
from wallet.bitcoin.hashes import sha256
from wallet.i18n import _
from wallet.ln.outbound_payment import Retry
from wallet.ln.route import PaymentParameters, RouteParameters
from wallet.ln.types import NodeId, PaymentId, PaymentPreimage
from wallet.node.api import CommandError, Json
from wallet.node.commands.payments import (
    PAYMENT_TIMEOUT_SECONDS,
    RETRY_ATTEMPTS,
    default_max_fee_msat,
    pay,
)
from wallet.node.commands.registry import command, sat_from_btc
from wallet.node.records import PaymentRecord, PaymentState

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__: list[str] = []


@command
async def keysend(
    node: Node,
    node_id: str,
    amount: str | None = None,
    *,
    amount_msat: int | None = None,
    memo: str = "",
    max_fee_msat: int | None = None,
    preimage: str = "",
    timeout: int = PAYMENT_TIMEOUT_SECONDS,  # noqa: ASYNC109 - as of `lnpay`
    trace: bool = False,
) -> Json:
    """Pays a node that did not ask for it, without an invoice, as one part. The amount is in BTC. The memo stays here.
    Answers as `lnpay` does. --preimage, 64 characters that nobody else knows and that were never used, lets a program
    know the payment's hash beforehand; without it one is drawn.
    """
    if max_fee_msat is not None and max_fee_msat < 0:
        raise CommandError(_("A fee limit is not below 0."), code="usage")
    payee = _payee(node, node_id)
    value_msat = _value_msat(amount, amount_msat)
    if paused := node.pause_sentence():
        raise CommandError(_("{why} Nothing was paid.").format(why=paused), code="paused")
    secret = _secret(node, preimage)
    limit_msat = max_fee_msat if max_fee_msat is not None else default_max_fee_msat(value_msat)
    route_params = RouteParameters(
        # Nobody said which final delta the payee wants; ours is enough for every implementation.
        payment_params=PaymentParameters(
            payee=payee, final_cltv_delta=node.options.user_config.final_cltv_expiry_delta
        ),
        final_value_msat=value_msat,
        max_total_routing_fee_msat=limit_msat,
    )
    record = PaymentRecord(
        payment_hash=sha256(secret),
        amount_msat=value_msat,
        fee_msat=0,
        created_at=node.wall_clock_at(),
        settled_at=0,
        state=PaymentState.PENDING,
        invoice="",
        description=memo,
        payee=bytes(payee),
    )

    def send() -> None:
        node.manager.send_spontaneous_payment(
            secret,
            PaymentId(record.payment_hash),
            route_params,
            Retry(max_retries=RETRY_ATTEMPTS, timeout_ms=timeout * 1000),
            node.core.now,
        )

    return await pay(node, record, send, timeout_seconds=timeout, trace=trace)


def _secret(node: Node, preimage: str) -> PaymentPreimage:
    """A fresh preimage: one that was used before is known to the nodes that it went through."""
    if not preimage:
        return PaymentPreimage(os.urandom(32))
    try:
        secret = bytes.fromhex(preimage.strip())
    except ValueError:
        secret = b""
    if len(secret) != 32:
        raise CommandError(_("A preimage is 64 characters of 0-9 and a-f."), code="usage")
    key = sha256(secret)
    if key in node.ledger.payments or key in node.ledger.requests:
        raise CommandError(
            _("This preimage was used before: whoever saw it then could take the payment. Nothing was paid."),
            code="exists",
        )
    return PaymentPreimage(secret)


def _payee(node: Node, text: str) -> NodeId:
    try:
        payee = NodeId(bytes.fromhex(text.strip()))
    except ValueError:
        payee = NodeId(b"")
    if len(payee) != 33 or payee[0] not in (2, 3):
        raise CommandError(
            _("A node id is 66 characters of 0-9 and a-f, and begins with 02 or 03."), code="usage"
        )
    if not is_valid_pubkey(payee):
        raise CommandError(
            _("No node has the id {id}: it is no point of the curve.").format(id=text.strip()), code="usage"
        )
    if payee == node.keys_manager.get_node_id():
        raise CommandError(_("This node id is your own: a wallet cannot pay itself."), code="own")
    return payee


def _value_msat(amount: str | None, amount_msat: int | None) -> int:
    if amount is not None and amount_msat is not None:
        raise CommandError(_("Say the amount once: in BTC, or as amount_msat."), code="usage")
    if amount is not None:
        return sat_from_btc(amount, what=_("The amount")) * 1000
    if amount_msat is None or amount_msat <= 0:
        raise CommandError(_("Say how much is to be paid: in BTC, or as amount_msat."), code="amount")
    return amount_msat
