"""Buying a channel: what is said of offers and orders, and what of it may be believed. bLIP 51 (LSPS1).

Everything here is a pure function over frozen records. `*_from` reads what a peer sent, `*_json` writes what a peer
is sent; both ends use both. A seller's words are a promise and no more: `check_new_order` and `check_same_terms` hold
them against what was asked, so that a person never pays more, or for something else, than they were shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from wallet.bitcoin.address import Network, address_to_script
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.tx import OutPoint
from wallet.i18n import _
from wallet.ln.invoice import parse_invoice
from wallet.ln.lsps0 import (
    Fields,
    Json,
    LspsError,
    datetime_text,
    invalid_params,
    sat_text,
    unrecognized,
)

__all__ = [
    "NOT_FOUND",
    "OPTION_MISMATCH",
    "PROTOCOL",
    "STALE_TOKEN",
    "Bolt11Terms",
    "BoughtChannel",
    "OnchainTerms",
    "Options",
    "Order",
    "OrderMismatch",
    "OrderParams",
    "OrderState",
    "PaymentState",
    "check_against_options",
    "check_new_order",
    "check_same_terms",
    "options_from",
    "options_json",
    "order_from",
    "order_id_from",
    "order_json",
    "params_from",
    "params_json",
]

PROTOCOL: Final = 1
OPTION_MISMATCH: Final = 100
NOT_FOUND: Final = 101
STALE_TOKEN: Final = 102

MAX_ORDER_ID_LENGTH: Final = 64
MAX_INVOICE_LENGTH: Final = 2_048
MAX_TOKEN_LENGTH: Final = 1_024
"""The specification names no limit; a token is typed, or pasted."""
MAX_OUTPOINT_LENGTH: Final = 64 + 1 + 10
MAX_ADDRESS_LENGTH: Final = 90
"""BIP 173."""

_SEGWIT_LENGTHS: Final = frozenset({22, 34})
"""Of scripts: P2WPKH; P2WSH and taproot. LSPS0.onchain_address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a seller sells: the answer of `lsps1.get_info`."""

    min_required_channel_confirmations: int
    min_funding_confirms_within_blocks: int
    supports_zero_channel_reserve: bool
    max_channel_expiry_blocks: int
    min_initial_client_balance_sat: int
    max_initial_client_balance_sat: int
    min_initial_lsp_balance_sat: int
    max_initial_lsp_balance_sat: int
    min_channel_balance_sat: int
    max_channel_balance_sat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderParams:
    """What is ordered.

    Attributes:
        refund_onchain_address: empty where none is named: then it cannot be paid on chain.
    """

    lsp_balance_sat: int
    client_balance_sat: int
    required_channel_confirmations: int
    funding_confirms_within_blocks: int
    channel_expiry_blocks: int
    announce_channel: bool
    token: str = ""
    refund_onchain_address: str = ""

    @property
    def capacity_sat(self) -> int:
        return self.lsp_balance_sat + self.client_balance_sat


class OrderState(Enum):
    """Where an order is, by the seller's word."""

    CREATED = 1
    COMPLETED = 2
    FAILED = 3


class PaymentState(Enum):
    """Where a way to pay is, by the seller's word."""

    EXPECT_PAYMENT = 1
    HOLD = 2
    PAID = 3
    REFUNDED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Bolt11Terms:
    """Paying by an invoice that the seller settles once the channel is funded."""

    state: PaymentState
    expires_at: int
    fee_total_sat: int
    order_total_sat: int
    invoice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OnchainTerms:
    """Paying to an address.

    Attributes:
        min_confirmations: from which on the seller counts it as paid.
        min_fee_for_0conf_sat_per_kw: with this rate it counts unconfirmed; 0 where it never does.
    """

    state: PaymentState
    expires_at: int
    fee_total_sat: int
    order_total_sat: int
    address: str
    min_confirmations: int
    min_fee_for_0conf_sat_per_kw: int = 0
    refund_onchain_address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoughtChannel:
    """The channel, once its funding transaction is published.

    Attributes:
        expires_at: before that the seller does not close it.
    """

    funded_at: int
    funding_outpoint: OutPoint
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order, as the seller tells it."""

    order_id: str
    params: OrderParams
    created_at: int
    state: OrderState
    bolt11: Bolt11Terms | None = None
    onchain: OnchainTerms | None = None
    channel: BoughtChannel | None = None


class OrderMismatch(Exception):
    """What the seller says does not fit what was asked, or what it said before; the words are for the person's log."""


# --- reading ----------------------------------------------------------------------------------


def _malformed(name: str, why: str) -> Exception:
    return DecodeError(f"The seller's {name} cannot be used: {why}.")


def options_from(result: Json) -> Options:
    """Reads a seller's options; raises `DecodeError`."""
    fields = Fields(result, _malformed)
    found = Options(
        min_required_channel_confirmations=fields.number("min_required_channel_confirmations", 16),
        min_funding_confirms_within_blocks=fields.number("min_funding_confirms_within_blocks", 16),
        supports_zero_channel_reserve=fields.boolean("supports_zero_channel_reserve"),
        max_channel_expiry_blocks=fields.number("max_channel_expiry_blocks", 32),
        min_initial_client_balance_sat=fields.sat("min_initial_client_balance_sat"),
        max_initial_client_balance_sat=fields.sat("max_initial_client_balance_sat"),
        min_initial_lsp_balance_sat=fields.sat("min_initial_lsp_balance_sat"),
        max_initial_lsp_balance_sat=fields.sat("max_initial_lsp_balance_sat"),
        min_channel_balance_sat=fields.sat("min_channel_balance_sat"),
        max_channel_balance_sat=fields.sat("max_channel_balance_sat"),
    )
    # bLIP 51, get_info: each minimum is at most its maximum, and nothing is leased for no time.
    pairs = (
        (found.min_initial_client_balance_sat, found.max_initial_client_balance_sat),
        (found.min_initial_lsp_balance_sat, found.max_initial_lsp_balance_sat),
        (found.min_channel_balance_sat, found.max_channel_balance_sat),
    )
    if any(least_sat > most_sat for least_sat, most_sat in pairs):
        raise DecodeError(_("A minimum of the seller is above its maximum."))
    if found.max_channel_expiry_blocks < 1 or found.min_funding_confirms_within_blocks < 1:
        raise DecodeError(_("The seller sells channels for no time."))
    return found


def _order_fields(fields: Fields, refund_onchain_address: str) -> OrderParams:
    return OrderParams(
        lsp_balance_sat=fields.sat("lsp_balance_sat"),
        client_balance_sat=fields.sat("client_balance_sat"),
        required_channel_confirmations=fields.number("required_channel_confirmations", 16),
        funding_confirms_within_blocks=fields.number("funding_confirms_within_blocks", 16),
        channel_expiry_blocks=fields.number("channel_expiry_blocks", 32),
        announce_channel=fields.boolean("announce_channel"),
        # Some sellers leave the token out of the mirror where none was given.
        token=fields.text("token", MAX_TOKEN_LENGTH) if fields.has("token") else "",
        refund_onchain_address=refund_onchain_address,
    )


def order_id_from(fields: Fields) -> str:
    """An order's id: 64 characters at most. bLIP 51, create_order."""
    order_id = fields.text("order_id", MAX_ORDER_ID_LENGTH)
    if not order_id:
        raise fields.wrong("order_id", "Empty")
    return order_id


def order_from(result: Json) -> Order:
    """Reads an order; raises `DecodeError`. What it promises is still to be checked."""
    fields = Fields(result, _malformed)
    payment = fields.part("payment")
    bolt11 = _bolt11_from(payment.part("bolt11")) if payment.has("bolt11") else None
    onchain = _onchain_from(payment.part("onchain")) if payment.has("onchain") else None
    refund_address = onchain.refund_onchain_address if onchain is not None else ""
    try:
        state = OrderState[fields.text("order_state")]
    except KeyError:
        raise DecodeError(_("The seller's order is in no state that is known.")) from None
    return Order(
        order_id=order_id_from(fields),
        params=_order_fields(fields, refund_address),
        created_at=fields.moment_at("created_at"),
        state=state,
        bolt11=bolt11,
        onchain=onchain,
        channel=_channel_from(fields.part("channel")) if fields.has("channel") else None,
    )


def _state_from(fields: Fields) -> PaymentState:
    text = fields.text("state")
    # bLIP 51, payments: earlier versions said so.
    if text == "CANCELLED":
        return PaymentState.REFUNDED
    try:
        return PaymentState[text]
    except KeyError:
        raise fields.wrong("state", "Unknown") from None


def _bolt11_from(fields: Fields) -> Bolt11Terms:
    return Bolt11Terms(
        state=_state_from(fields),
        expires_at=fields.moment_at("expires_at"),
        fee_total_sat=fields.sat("fee_total_sat"),
        order_total_sat=fields.sat("order_total_sat"),
        invoice=fields.text("invoice", MAX_INVOICE_LENGTH),
    )


def _onchain_from(fields: Fields) -> OnchainTerms:
    quick = fields.has("min_fee_for_0conf")
    # Optional, because earlier versions of the specification did not have it.
    refund = fields.has("refund_onchain_address")
    return OnchainTerms(
        state=_state_from(fields),
        expires_at=fields.moment_at("expires_at"),
        fee_total_sat=fields.sat("fee_total_sat"),
        order_total_sat=fields.sat("order_total_sat"),
        address=fields.text("address", MAX_ADDRESS_LENGTH),
        min_confirmations=(
            fields.number("min_onchain_payment_confirmations", 16)
            if fields.has("min_onchain_payment_confirmations")
            else 0
        ),
        min_fee_for_0conf_sat_per_kw=fields.number("min_fee_for_0conf", 32) if quick else 0,
        refund_onchain_address=(fields.text("refund_onchain_address", MAX_ADDRESS_LENGTH) if refund else ""),
    )


def _channel_from(fields: Fields) -> BoughtChannel:
    try:
        outpoint = OutPoint.from_text(fields.text("funding_outpoint", MAX_OUTPOINT_LENGTH))
    except DecodeError:
        raise fields.wrong("funding_outpoint", "Not txid:n") from None
    return BoughtChannel(
        funded_at=fields.moment_at("funded_at"),
        funding_outpoint=outpoint,
        expires_at=fields.moment_at("expires_at"),
    )


# --- writing ------------------------------------------------------------------------------------


def options_json(options: Options) -> Json:
    return {
        "min_required_channel_confirmations": options.min_required_channel_confirmations,
        "min_funding_confirms_within_blocks": options.min_funding_confirms_within_blocks,
        "supports_zero_channel_reserve": options.supports_zero_channel_reserve,
        "max_channel_expiry_blocks": options.max_channel_expiry_blocks,
        "min_initial_client_balance_sat": sat_text(options.min_initial_client_balance_sat),
        "max_initial_client_balance_sat": sat_text(options.max_initial_client_balance_sat),
        "min_initial_lsp_balance_sat": sat_text(options.min_initial_lsp_balance_sat),
        "max_initial_lsp_balance_sat": sat_text(options.max_initial_lsp_balance_sat),
        "min_channel_balance_sat": sat_text(options.min_channel_balance_sat),
        "max_channel_balance_sat": sat_text(options.max_channel_balance_sat),
    }


def params_json(params: OrderParams) -> Json:
    """What `lsps1.create_order` is asked with."""
    found: dict[str, object] = {
        "lsp_balance_sat": sat_text(params.lsp_balance_sat),
        "client_balance_sat": sat_text(params.client_balance_sat),
        "required_channel_confirmations": params.required_channel_confirmations,
        "funding_confirms_within_blocks": params.funding_confirms_within_blocks,
        "channel_expiry_blocks": params.channel_expiry_blocks,
        "token": params.token,
        "announce_channel": params.announce_channel,
    }
    if params.refund_onchain_address:
        found["refund_onchain_address"] = params.refund_onchain_address
    return found


def order_json(order: Order) -> Json:
    payment: dict[str, object] = {}
    if order.bolt11 is not None:
        payment["bolt11"] = {
            "state": order.bolt11.state.name,
            "expires_at": datetime_text(order.bolt11.expires_at),
            "fee_total_sat": sat_text(order.bolt11.fee_total_sat),
            "order_total_sat": sat_text(order.bolt11.order_total_sat),
            "invoice": order.bolt11.invoice,
        }
    if order.onchain is not None:
        payment["onchain"] = {
            "state": order.onchain.state.name,
            "expires_at": datetime_text(order.onchain.expires_at),
            "fee_total_sat": sat_text(order.onchain.fee_total_sat),
            "order_total_sat": sat_text(order.onchain.order_total_sat),
            "address": order.onchain.address,
            "min_onchain_payment_confirmations": order.onchain.min_confirmations,
            "min_fee_for_0conf": order.onchain.min_fee_for_0conf_sat_per_kw or None,
            "refund_onchain_address": order.onchain.refund_onchain_address,
        }
    mirrored = dict(params_json(replace(order.params, refund_onchain_address="")))
    return {
        "order_id": order.order_id,
        **mirrored,
        "created_at": datetime_text(order.created_at),
        "order_state": order.state.name,
        "payment": payment,
        "channel": None if order.channel is None else _channel_json(order.channel),
    }


def _channel_json(channel: BoughtChannel) -> Json:
    return {
        "funded_at": datetime_text(channel.funded_at),
        "funding_outpoint": str(channel.funding_outpoint),
        "expires_at": datetime_text(channel.expires_at),
    }


# --- server ---------------------------------------------------------------------------------------


_PARAM_NAMES: Final = frozenset(
    {
        "lsp_balance_sat",
        "client_balance_sat",
        "required_channel_confirmations",
        "funding_confirms_within_blocks",
        "channel_expiry_blocks",
        "token",
        "refund_onchain_address",
        "announce_channel",
    }
)


def params_from(params: Json, network: Network) -> OrderParams:
    """Reads what a client orders; raises `LspsError`. bLIP 51, create_order, errors."""
    if not params.keys() <= _PARAM_NAMES:
        raise unrecognized(params.keys() - _PARAM_NAMES)
    fields = Fields(params, invalid_params)
    address = ""
    if fields.has("refund_onchain_address"):
        address = fields.text("refund_onchain_address", MAX_ADDRESS_LENGTH)
        if not _is_segwit(address, network):
            raise invalid_params("refund_onchain_address", "Not a SegWit address of this network")
    found = _order_fields(fields, address)
    if found.lsp_balance_sat < 1:
        raise invalid_params("lsp_balance_sat", "Not 1 or greater")
    if found.channel_expiry_blocks < 1:
        raise invalid_params("channel_expiry_blocks", "Not 1 or greater")
    return found


def _is_segwit(address: str, network: Network) -> bool:
    try:
        script = address_to_script(address, network)
    except DecodeError:
        return False
    return len(script) in _SEGWIT_LENGTHS and script[0] in (0x00, 0x51)


def check_against_options(params: OrderParams, options: Options) -> None:
    """Raises `LspsError`, naming the option, for an order that was not offered; clients ask before they send."""
    rules = (
        ("min_initial_lsp_balance_sat", params.lsp_balance_sat >= options.min_initial_lsp_balance_sat),
        ("max_initial_lsp_balance_sat", params.lsp_balance_sat <= options.max_initial_lsp_balance_sat),
        (
            "min_initial_client_balance_sat",
            params.client_balance_sat >= options.min_initial_client_balance_sat,
        ),
        (
            "max_initial_client_balance_sat",
            params.client_balance_sat <= options.max_initial_client_balance_sat,
        ),
        ("min_channel_balance_sat", params.capacity_sat >= options.min_channel_balance_sat),
        ("max_channel_balance_sat", params.capacity_sat <= options.max_channel_balance_sat),
        (
            "min_required_channel_confirmations",
            params.required_channel_confirmations >= options.min_required_channel_confirmations,
        ),
        (
            "min_funding_confirms_within_blocks",
            params.funding_confirms_within_blocks >= options.min_funding_confirms_within_blocks,
        ),
        ("max_channel_expiry_blocks", params.channel_expiry_blocks <= options.max_channel_expiry_blocks),
    )
    for name, holds in rules:
        if not holds:
            data: Json = {"property": name, "message": "The order does not match this option"}
            raise LspsError(OPTION_MISMATCH, "Option mismatch", data)


# --- client ---------------------------------------------------------------------------------------


def check_new_order(order: Order, params: OrderParams, network: Network) -> Order:
    """The order with what was asked in it; raises `OrderMismatch` for one that was not asked for, that is not as a
    new one is, or whose ways to pay are for another amount than it says.
    """
    mirrored = replace(order.params, refund_onchain_address=params.refund_onchain_address)
    if mirrored != params:
        raise OrderMismatch(_("it is for another channel than the one that was asked for"))
    if order.state is not OrderState.CREATED or order.channel is not None:
        raise OrderMismatch(_("it is new, and not in the state of a new one"))
    if order.bolt11 is None and order.onchain is None:
        raise OrderMismatch(_("it cannot be paid in a way that Leyden knows"))
    for terms in (order.bolt11, order.onchain):
        if terms is None:
            continue
        if terms.state is not PaymentState.EXPECT_PAYMENT:
            raise OrderMismatch(_("it is said to be paid, though nothing was paid"))
        # bLIP 51, payments: the total is the fee and what comes back as our side of the channel.
        if terms.order_total_sat != terms.fee_total_sat + params.client_balance_sat:
            raise OrderMismatch(_("its fee and its total do not agree"))
    if order.bolt11 is not None:
        _check_invoice(order.bolt11, network)
    if order.onchain is not None:
        _check_address(order.onchain, params, network)
    return replace(order, params=params)


def _check_invoice(terms: Bolt11Terms, network: Network) -> None:
    try:
        invoice = parse_invoice(terms.invoice, network)
    except DecodeError as error:
        raise OrderMismatch(_("its invoice cannot be read ({error})").format(error=error)) from None
    if invoice.amount_msat != terms.order_total_sat * 1000:
        raise OrderMismatch(_("its invoice is over another amount"))


def _check_address(terms: OnchainTerms, params: OrderParams, network: Network) -> None:
    if not params.refund_onchain_address:
        # bLIP 51, create_order: without a refund address nothing is paid on chain.
        raise OrderMismatch(_("it can be paid on chain, with no address for a refund"))
    if not _is_segwit(terms.address, network):
        raise OrderMismatch(_("its address is none of this network"))
    if terms.refund_onchain_address not in ("", params.refund_onchain_address):
        raise OrderMismatch(_("its refund would go to somebody else's address"))


def check_same_terms(told: Order, kept: Order) -> Order:
    """What the seller now says of an order, over the terms that were kept; raises `OrderMismatch` where it has changed
    what was agreed."""
    if told.order_id != kept.order_id:
        raise OrderMismatch(_("it is another order"))
    mirrored = replace(told.params, refund_onchain_address=kept.params.refund_onchain_address)
    if mirrored != kept.params:
        raise OrderMismatch(_("the channel is another one now"))
    bolt11, onchain = kept.bolt11, kept.onchain
    if told.bolt11 is not None:
        if bolt11 is None or replace(told.bolt11, state=bolt11.state, expires_at=bolt11.expires_at) != bolt11:
            raise OrderMismatch(_("its terms for Lightning have changed"))
        bolt11 = told.bolt11
    if told.onchain is not None:
        same = onchain is not None and (
            told.onchain.address == onchain.address
            and told.onchain.fee_total_sat == onchain.fee_total_sat
            and told.onchain.order_total_sat == onchain.order_total_sat
            and told.onchain.refund_onchain_address in ("", kept.params.refund_onchain_address)
        )
        if onchain is None or not same:
            raise OrderMismatch(_("its terms for paying on chain have changed"))
        # What it asks of confirmations are estimates, which may change.
        onchain = told.onchain
    if told.state is OrderState.COMPLETED and told.channel is None:
        raise OrderMismatch(_("it is complete, and has no channel"))
    return replace(
        kept, state=told.state, bolt11=bolt11, onchain=onchain, channel=told.channel or kept.channel
    )
