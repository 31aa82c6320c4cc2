"""Commands for buying a channel that somebody opens to us, so that we can receive. bLIP 51."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from wallet.bitcoin.address import address_to_script
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.tx import Txid, TxOut, txid_hex
from wallet.chain.interfaces import BroadcastPackage
from wallet.i18n import _
from wallet.ln import lsps1
from wallet.ln.channel_open import MAX_FUNDING_WITHOUT_WUMBO_SAT
from wallet.ln.features import Feature
from wallet.ln.lsps0 import LspsError
from wallet.node.api import CommandError, Json
from wallet.node.commands.channels import connect, peer_uri
from wallet.node.commands.onchain import feerate_from, insufficient
from wallet.node.commands.payments import (
    PAYMENT_TIMEOUT_SECONDS,
    decode,
    default_max_fee_msat,
    why_not_payable,
)
from wallet.node.commands.registry import command, run
from wallet.node.orders import OrderRecord, OrderStep, PayBy, local_id
from wallet.node.records import PaymentState
from wallet.node.sentences import peer_text, sat_text
from wallet.onchain.errors import OnchainError

if TYPE_CHECKING:
    from wallet.ln.types import NodeId
    from wallet.node.node import Node
    from wallet.node.sockets import NodeUri
    from wallet.onchain.wallet import Draft

__all__: list[str] = []

DEFAULT_LEASE_BLOCKS = 13_140
"""A quarter of a year, where the seller leases for so long."""
DEFAULT_FUNDING_BLOCKS = 6
"""An hour, unless the seller needs longer."""
QUICK_RATE_FACTOR = 2
"""A seller may ask for a rate with which an unconfirmed payment counts. Up to so many times ours it is paid."""
SPARE_BLOCKS = 3
"""On chain is paid only while so many blocks more than the seller asks for are likely before the offer ends."""
BLOCK_SECONDS = 600
ALWAYS_PAID_AFTER_BLOCKS = 6
"""bLIP 51, onchain payments: with as many confirmations a payment counts, whatever the seller says."""
LATE_BLOCKS = 6
"""So many blocks above what was agreed before a person is told: a fee that was right can be too low in an hour."""
AUTO, LIGHTNING, ONCHAIN = "auto", "lightning", "onchain"


async def _options(node: Node, uri: NodeUri) -> lsps1.Options:
    """What a seller sells; connects to it first."""
    await connect(node, uri)
    result = await node.orders.ask(uri.node_id, "lsps1.get_info", {})
    try:
        return lsps1.options_from(result)
    except DecodeError as error:
        raise node.orders.unusable(node.alias_of(uri.node_id), error) from None


def _bounds_sat(node: Node, node_id: NodeId, options: lsps1.Options) -> tuple[int, int]:
    """The least and the most that one can buy for receiving, with nothing on our side but what the seller demands."""
    ours_sat = options.min_initial_client_balance_sat
    smallest_sat, largest_sat = _taken_sat(node, node_id)
    least_sat = max(options.min_channel_balance_sat, smallest_sat) - ours_sat
    most_sat = min(options.max_channel_balance_sat, largest_sat) - ours_sat
    return (
        max(1, options.min_initial_lsp_balance_sat, least_sat),
        min(options.max_initial_lsp_balance_sat, most_sat),
    )


def _taken_sat(node: Node, node_id: NodeId) -> tuple[int, int]:
    """The smallest and the largest channel that this wallet takes of a node."""
    limits = node.options.user_config.channel_handshake_limits
    largest_sat = limits.max_funding_sat
    with node.core.locked():
        ours = node.manager.provided_init_features(node_id)
        theirs = [peer.features for peer in node.peer_manager.list_peers() if peer.node_id == node_id]
    # bLIP 51, create_order: nothing larger without option_support_large_channel.
    if not any(ours.negotiated_with(item, Feature.SUPPORT_LARGE_CHANNEL) for item in theirs):
        largest_sat = min(largest_sat, MAX_FUNDING_WITHOUT_WUMBO_SAT)
    return limits.min_funding_sat, largest_sat


def _check_taken(node: Node, node_id: NodeId, params: lsps1.OrderParams) -> None:
    """Raises `CommandError` for a channel that this wallet would refuse once it is paid."""
    smallest_sat, largest_sat = _taken_sat(node, node_id)
    if not smallest_sat <= params.capacity_sat <= largest_sat:
        raise CommandError(
            _(
                "A channel with {name} has {least} to {most} in all, both sides together, not {amount}. Nothing was "
                "ordered."
            ).format(
                name=node.alias_of(node_id),
                least=sat_text(smallest_sat),
                most=sat_text(largest_sat),
                amount=sat_text(params.capacity_sat),
            ),
            code="amount",
        )


@command
async def channel_offer(node: Node, peer: str) -> Json:
    """Connects to a node (node_id@host:port) and asks what channels it sells. The price comes with an order."""
    uri = peer_uri(node, peer)
    options = await _options(node, uri)
    least_sat, most_sat = _bounds_sat(node, uri.node_id, options)
    return {
        "node_id": uri.node_id.hex(),
        "uri": str(uri),
        "alias": node.alias_of(uri.node_id),
        "min_sat": least_sat,
        "max_sat": most_sat,
        "min_client_sat": options.min_initial_client_balance_sat,
        "max_client_sat": options.max_initial_client_balance_sat,
        "max_expiry_blocks": options.max_channel_expiry_blocks,
        "min_confirmations": options.min_required_channel_confirmations,
        "funding_blocks": options.min_funding_confirms_within_blocks,
    }


@command
async def buy_channel(
    node: Node,
    peer: str,
    amount_sat: int,
    *,
    max_fee_sat: int | None = None,
    pay: str = AUTO,
    client_sat: int | None = None,
    expiry_blocks: int | None = None,
    public: bool = False,
    token: str = "",
) -> Json:
    """Orders a channel in which AMOUNT_SAT can be received, of a node that sells channels (node_id@host:port). Prints
    its price, and how to pay; with --max_fee_sat, it is paid at once if no more than that leaves, --client_sat apart.
    --pay is lightning, onchain, or auto; --client_sat comes to lie on your side, and is paid for on top. It is private,
    so that only those learn of it whom you ask for a payment; with --public everybody sees that it is yours."""
    _check_way(pay)
    uri = peer_uri(node, peer)
    options = await _options(node, uri)
    name = node.alias_of(uri.node_id)
    least_sat, most_sat = _bounds_sat(node, uri.node_id, options)
    if not least_sat <= amount_sat <= most_sat:
        raise CommandError(
            _("{name} sells channels with {least} to {most} to receive, not {amount}.").format(
                name=name, least=sat_text(least_sat), most=sat_text(most_sat), amount=sat_text(amount_sat)
            ),
            code="amount",
        )
    lease_blocks = expiry_blocks
    if lease_blocks is None:
        lease_blocks = min(options.max_channel_expiry_blocks, DEFAULT_LEASE_BLOCKS)
        if max_fee_sat is not None and lease_blocks < DEFAULT_LEASE_BLOCKS:
            raise CommandError(
                _(
                    "{name} keeps a channel open for {blocks} blocks at most, which is short. Nothing was ordered; if "
                    "that is enough, say so with --expiry_blocks."
                ).format(name=name, blocks=lease_blocks),
                code="lease",
            )
    params = lsps1.OrderParams(
        lsp_balance_sat=amount_sat,
        client_balance_sat=options.min_initial_client_balance_sat if client_sat is None else client_sat,
        required_channel_confirmations=options.min_required_channel_confirmations,
        funding_confirms_within_blocks=max(
            options.min_funding_confirms_within_blocks, DEFAULT_FUNDING_BLOCKS
        ),
        channel_expiry_blocks=lease_blocks,
        announce_channel=public,
        token=token,
    )
    _check_taken(node, uri.node_id, params)
    order = await _ordered(node, uri, options, params)
    if max_fee_sat is None:
        return order_json(node, order) | {"ways": _quoted(node, order)}
    way = _way(node, order, pay)
    _check_price(name, order, way, max_fee_sat, client_sat or 0)
    return await _pay(node, order, way)


def _check_price(name: str, record: OrderRecord, way: PayBy, max_fee_sat: int, own_sat: int) -> None:
    """Raises `CommandError` where more would leave than was allowed. What the seller wants on our side without having
    been asked counts as a cost: nobody agreed to it."""
    terms = record.order.bolt11 if way is PayBy.LIGHTNING else record.order.onchain
    if terms is None or terms.order_total_sat <= max_fee_sat + own_sat:
        return
    limit = sat_text(max_fee_sat)
    if terms.fee_total_sat > max_fee_sat:
        sentence = _(
            "{name} asks for a fee of {fee}, more than the {limit} that you allow. Nothing was paid."
        ).format(name=name, fee=sat_text(terms.fee_total_sat), limit=limit)
    else:
        sentence = _(
            "{name} asks for {total}, of which {ours} come to lie on your side: more than the {limit} that you allow. "
            "Nothing was paid; if you want that, name it with --client_sat."
        ).format(
            name=name,
            total=sat_text(terms.order_total_sat),
            ours=sat_text(record.order.params.client_balance_sat),
            limit=limit,
        )
    raise CommandError(sentence, code="fee")


async def _ordered(
    node: Node, uri: NodeUri, options: lsps1.Options, params: lsps1.OrderParams
) -> OrderRecord:
    """Makes an order, holds it against what was asked, and keeps it."""
    name = node.alias_of(uri.node_id)
    try:
        lsps1.check_against_options(params, options)
    except LspsError as error:
        raise CommandError(
            _("{name} does not sell such a channel ({option}).").format(
                name=name, option=error.data.get("property", "")
            ),
            code="amount",
        ) from None
    with node.core.entry():
        address = node.orders.refund_address(uri.node_id)
        durable = node.durable()
    await durable
    params = dataclasses.replace(params, refund_onchain_address=address)
    result = await node.orders.ask(uri.node_id, "lsps1.create_order", lsps1.params_json(params))
    try:
        order = lsps1.check_new_order(lsps1.order_from(result), params, node.options.network)
    except (DecodeError, lsps1.OrderMismatch) as error:
        raise node.orders.unusable(name, error) from None
    key = local_id(uri.node_id, order.order_id)
    if key in node.orders.records:
        raise node.orders.unusable(name, _("it gives two orders one name"))
    payment_hash = b""
    if order.bolt11 is not None:
        payment_hash = bytes(decode(node, order.bolt11.invoice).payment_hash)
    if payment_hash and payment_hash in node.ledger.payments:
        raise node.orders.unusable(name, _("its invoice is one that you paid before"))
    with node.core.entry():
        record = node.orders.put(
            OrderRecord(
                local_id=key,
                node_id=bytes(uri.node_id),
                connection=str(uri),
                order=order,
                created_at=node.core.now.at,
                payment_hash=payment_hash,
            )
        )
        durable = node.durable()
    await durable
    return record


def _quoted(node: Node, record: OrderRecord) -> dict[str, Json]:
    """What each way to pay costs beside the price; None where the coins do not reach."""
    bolt11, onchain = record.order.bolt11, record.order.onchain
    way_sat = None if bolt11 is None else default_max_fee_msat(bolt11.order_total_sat * 1000) // 1000
    mining_sat: int | None = None
    if onchain is not None:
        with node.core.entry(), contextlib.suppress(CommandError):
            mining_sat = _draft(node, onchain).fee_sat
    return {"routing_fee_sat_at_most": way_sat, "mining_fee_sat": mining_sat}


# --- paying ---------------------------------------------------------------------------


@command
async def pay_order(node: Node, order_id: str, *, pay: str = AUTO) -> Json:
    """Pays for a channel that was ordered: over Lightning, where that reaches, else on chain. Over Lightning an
    honest seller takes the money only once the channel is funded."""
    _check_way(pay)
    record = _known(node, order_id)
    return await _pay(node, record, _way(node, record, pay))


@command
async def list_orders(node: Node) -> Json:
    """Lists the channels that you ordered, newest first, and what became of each."""
    records = sorted(node.orders.records.values(), key=lambda record: -record.created_at)
    return [order_json(node, record) for record in records]


def _check_way(pay: str) -> None:
    if pay not in (AUTO, LIGHTNING, ONCHAIN):
        raise CommandError(_("A channel is paid for by lightning, onchain, or auto."), code="usage")


def _known(node: Node, order_id: str) -> OrderRecord:
    try:
        return node.orders.records[bytes.fromhex(order_id)]
    except (KeyError, ValueError):
        raise CommandError(_("There is no order {id}.").format(id=order_id[:70]), code="unknown") from None


def _way(node: Node, record: OrderRecord, pay: str) -> PayBy:
    """How to pay; over Lightning, where one may choose and that reaches: the seller is paid only for a channel."""
    bolt11, onchain = record.order.bolt11, record.order.onchain
    now_at = node.wall_clock_at()
    if record.step is not OrderStep.OFFERED:
        raise CommandError(
            _("This order is paid already, or has ended. Nothing was paid again."), code="paid"
        )
    if bolt11 is not None and pay != ONCHAIN and now_at < bolt11.expires_at:
        with node.core.locked():
            problem = why_not_payable(node, bolt11.order_total_sat * 1000)
        if problem is None:
            return PayBy.LIGHTNING
        if pay == LIGHTNING or onchain is None:
            raise CommandError(_("{why} Nothing was paid.").format(why=problem), code="funds")
    if onchain is not None and pay != LIGHTNING and now_at < onchain.expires_at:
        _check_time(node, onchain)
        return PayBy.ONCHAIN
    if now_at >= record.expires_at:
        raise CommandError(_("This offer has run out. Nothing was paid; ask for a new one."), code="expired")
    raise CommandError(
        _("The seller does not take this way to pay. Nothing was paid; try the other one."), code="usage"
    )


def _check_time(node: Node, terms: lsps1.OnchainTerms) -> None:
    """Raises `CommandError` where a payment on chain could arrive after the offer's end."""
    spare_seconds = (terms.min_confirmations + SPARE_BLOCKS) * BLOCK_SECONDS
    if node.wall_clock_at() + spare_seconds > terms.expires_at:
        raise CommandError(
            _(
                "This order has too little time left for a payment on chain. Nothing was paid; ask for a new price."
            ),
            code="expired",
        )


async def _ask_again(node: Node, record: OrderRecord, way: PayBy) -> None:
    """Raises `CommandError` unless the seller still waits for this payment, on the terms that were agreed to."""
    name = node.alias_of(record.node_id)
    told = await node.orders.told(record)
    if told is None:
        raise CommandError(
            _("{name} no longer stands by this offer. Nothing was paid; ask for a new price.").format(
                name=name
            ),
            code="seller",
        )
    terms = told.bolt11 if way is PayBy.LIGHTNING else told.onchain
    waits = terms is not None and terms.state is lsps1.PaymentState.EXPECT_PAYMENT
    if told.state is not lsps1.OrderState.CREATED or not waits:
        raise CommandError(
            _("{name} no longer waits for your payment. Nothing was paid; ask for a new price.").format(
                name=name
            ),
            code="seller",
        )
    if way is PayBy.ONCHAIN and told.onchain is not None:
        _check_time(node, told.onchain)


async def _pay(node: Node, record: OrderRecord, way: PayBy) -> Json:
    """Asks whether the order still lives, writes down that it is paid, and pays."""
    await connect(node, peer_uri(node, record.connection))
    key = record.local_id
    if key in node.orders.paying:
        raise CommandError(_("This order is being paid just now."), code="paid")
    node.orders.paying.add(key)
    try:
        await _ask_again(node, record, way)
        if way is PayBy.LIGHTNING:
            await _pay_by_lightning(node, key)
        else:
            await _pay_on_chain(node, key)
    finally:
        node.orders.paying.discard(key)
        node.views.publish_soon()
    return order_json(node, node.orders.records[key])


def _begin(node: Node, key: bytes, way: PayBy) -> OrderRecord:
    """Within an entry, before anything leaves."""
    record = node.orders.records[key]
    if record.step is not OrderStep.OFFERED:
        raise CommandError(
            _("This order is paid already, or has ended. Nothing was paid again."), code="paid"
        )
    before = frozenset(
        bytes(item.channel_id)
        for item in node.manager.list_channels()
        if item.counterparty_node_id == record.node_id
    )
    if way is PayBy.ONCHAIN and node.orders.shares_refund_address(record):
        raise CommandError(
            _(
                "Another order at {name} has the same address for a refund. Nothing was paid; ask for a new price."
            ).format(name=node.alias_of(record.node_id)),
            code="refund",
        )
    return node.orders.edit(
        key,
        step=OrderStep.PAYING,
        pay_by=way,
        channels_before=before,
        coins_before=node.orders.coins_at_refund_address(record),
        problem="",
        refusal="",
        paid_height=node.best_height,
    )


async def _pay_by_lightning(node: Node, key: bytes) -> None:
    with node.core.entry():
        record = _begin(node, key, PayBy.LIGHTNING)
        durable = node.durable()
    await durable
    # The seller opens the channel while it holds the payment: that is seen while the payment is waited for.
    node.orders.follow()
    terms = record.order.bolt11
    problem = ""
    try:
        if terms is not None:
            answer = await run(node, "lnpay", {"invoice": terms.invoice, "timeout": PAYMENT_TIMEOUT_SECONDS})
            if isinstance(answer, dict) and not answer["success"] and not answer.get("pending"):
                problem = str(answer["reason"])
    except CommandError as error:
        problem = error.message
    if problem:
        told: lsps1.Order | None = None
        with contextlib.suppress(CommandError):
            told = await node.orders.told(record)
        with node.core.entry():
            record = node.orders.records[key]
            if record.step is OrderStep.PAYING:
                # Where the seller goes on waiting, it can be tried again.
                if told is not None and told.state is lsps1.OrderState.FAILED:
                    node.orders.refunded(record)
                else:
                    node.orders.edit(key, step=OrderStep.OFFERED, pay_by=PayBy.NOTHING, problem=problem)
        raise CommandError(
            _("The channel was not bought, and nothing was paid. {why}").format(why=problem), code="payment"
        )


async def _pay_on_chain(node: Node, key: bytes) -> None:
    terms = node.orders.records[key].order.onchain
    if terms is None:
        raise CommandError(_("The seller is not paid on chain. Nothing was paid."), code="usage")
    label = _("A channel bought from {name}").format(name=node.alias_of(node.orders.records[key].node_id))
    # One entry, one commit: the order is paid if and only if the transaction is ours to send.
    with node.core.entry():
        draft = _draft(node, terms)
        _begin(node, key, PayBy.ONCHAIN)
        node.onchain.commit(draft.tx, label)
        node.core.broadcast_transactions(BroadcastPackage((draft.tx,), label=label))
        node.ledger.onchain_changed(txid_hex(draft.tx.txid))
        node.orders.edit(key, paid_txid=bytes(draft.tx.txid))
        durable = node.durable()
    await durable
    node.orders.follow()


def _draft(node: Node, terms: lsps1.OnchainTerms) -> Draft:
    """The transaction that pays an order; within an entry. Raises `CommandError` where the coins do not reach."""
    rate = feerate_from(node, None, None, None)
    quick = terms.min_fee_for_0conf_sat_per_kw
    if terms.min_confirmations == 0 and rate < quick <= rate * QUICK_RATE_FACTOR:
        rate = quick
    try:
        return node.onchain.draft(
            outputs=(TxOut(terms.order_total_sat, address_to_script(terms.address, node.options.network)),),
            feerate_sat_per_kw=rate,
            keep_sat=node.anchor_reserve_sat(),
            lock_time=node.best_height,
        )
    except OnchainError as error:
        raise insufficient(error) from None


# --- what is shown --------------------------------------------------------------------


def order_json(node: Node, record: OrderRecord) -> dict[str, Json]:
    """An order, with its price and what became of it in words."""
    order, params = record.order, record.order.params
    return {
        "order_id": record.local_id.hex(),
        "node_id": record.node_id.hex(),
        "alias": node.alias_of(record.node_id),
        "status": _status(node, record),
        "sentence": order_sentence(node, record),
        "amount_sat": params.lsp_balance_sat,
        "client_sat": params.client_balance_sat,
        "capacity_sat": params.capacity_sat,
        "expiry_blocks": params.channel_expiry_blocks,
        "public": params.announce_channel,
        "expires_at": record.expires_at,
        "created_at": record.created_at,
        "lightning": None
        if order.bolt11 is None
        else {"total_sat": order.bolt11.order_total_sat, "fee_sat": order.bolt11.fee_total_sat},
        "onchain": None
        if order.onchain is None
        else {
            "total_sat": order.onchain.order_total_sat,
            "fee_sat": order.onchain.fee_total_sat,
            "confirmations": order.onchain.min_confirmations,
        },
        "paid_txid": None if record.paid_txid is None else txid_hex(record.paid_txid),
        "channel_id": None if record.channel_id is None else record.channel_id.hex(),
        "problem": record.problem,
        "late": bool(late_sentence(node, record)),
    }


def _status(node: Node, record: OrderRecord) -> str:
    if record.step is OrderStep.OFFERED:
        return "expired" if node.wall_clock_at() >= record.expires_at else "offered"
    return record.step.name.lower()


def order_sentence(node: Node, record: OrderRecord) -> str:
    """Where an order is."""
    if record.problem:
        return record.problem
    if late := late_sentence(node, record):
        return late
    name = node.alias_of(record.node_id)
    amount, capacity = sat_text(record.total_sat), sat_text(record.order.params.capacity_sat)
    match record.step:
        case OrderStep.OFFERED:
            if node.wall_clock_at() >= record.expires_at:
                return _("This offer has run out. Ask for a new one.")
            return _("{name} opens a channel of {capacity} to you for {amount}. Nothing is paid yet.").format(
                name=name, capacity=capacity, amount=amount
            )
        case OrderStep.PAYING if record.channel_id is not None:
            return _(
                "The channel of {capacity} from {name} is opening: it waits for its first confirmation."
            ).format(name=name, capacity=capacity)
        case OrderStep.PAYING if record.pay_by is PayBy.LIGHTNING:
            return _held_sentence(node, record).format(name=name, capacity=capacity, amount=amount)
        case OrderStep.PAYING:
            return _("{amount} are paid to {name}; its channel of {capacity} is awaited.").format(
                name=name, capacity=capacity, amount=amount
            )
        case OrderStep.ARRIVED:
            return _(
                "The channel of {capacity} from {name} is there: it can be used once it is confirmed."
            ).format(name=name, capacity=capacity)
        case _:
            return _("This order has ended.")


def _held_sentence(node: Node, record: OrderRecord) -> str:
    """What became of a payment over Lightning, by our own books."""
    with node.core.locked():
        state = node.orders.payment_state(record)
    if state is PaymentState.PENDING:
        return _(
            "{amount} are held for {name} until its channel of {capacity} is funded. You may close Leyden."
        )
    if state is PaymentState.SUCCEEDED:
        return _("{name} took your {amount}; its channel of {capacity} is awaited.")
    return _("{amount} are on their way to {name}; its channel of {capacity} is awaited.")


def late_sentence(node: Node, record: OrderRecord) -> str:
    """What a seller owes by now, and what to do about it; empty while all is as it was agreed."""
    if record.step is OrderStep.PAYING:
        return _not_opened_sentence(node, record)
    if record.step is OrderStep.ARRIVED and record.channel_id is not None:
        return _not_usable_sentence(node, record, record.channel_id)
    return ""


def _not_opened_sentence(node: Node, record: OrderRecord) -> str:
    """bLIP 51, channel open: the funding confirms within so many blocks after the payment."""
    params = record.order.params
    with node.core.locked():
        state = node.orders.payment_state(record)
        paid = None if record.paid_txid is None else node.onchain.entry(Txid(record.paid_txid))
        held = [
            htlc.cltv_expiry_height
            for channel in node.manager.list_channels()
            for htlc in channel.pending_htlcs
            if htlc.outbound and record.payment_hash and htlc.payment_hash == record.payment_hash
        ]
        if not held and state is PaymentState.PENDING:
            # The channel that it left through was closed meanwhile: the chain gives it back.
            held = [
                balance.height
                for balance in node.chain_monitor.get_claimable_balances()
                if balance.payment_hash == record.payment_hash and balance.height is not None
            ]
    if record.pay_by is PayBy.ONCHAIN:
        if paid is None or paid.height is None:
            return ""
        # At the latest with these confirmations the seller counts it.
        paid_height = paid.height + ALWAYS_PAID_AFTER_BLOCKS
    else:
        paid_height = record.paid_height
    passed_blocks = node.best_height - paid_height
    if not record.paid_height or passed_blocks <= params.funding_confirms_within_blocks + LATE_BLOCKS:
        return ""
    if record.channel_id is not None:
        sentence = _(
            "The channel of {capacity} from {name} is opening, but not confirmed after {blocks} blocks: {agreed} were "
            "agreed. It can still come; ask its owner for a higher fee, and name the order {id}."
        )
    elif record.pay_by is PayBy.LIGHTNING and state is PaymentState.PENDING:
        sentence = _(
            "{name} has not opened the channel of {capacity} after {blocks} blocks: {agreed} were agreed. Your "
            "{amount} come back by themselves, at block {height} at the latest; you can buy elsewhere meanwhile."
        )
    else:
        sentence = _(
            "{name} has your {amount}, and has not opened the channel of {capacity} after {blocks} blocks: {agreed} "
            "were agreed. Ask its owner for the channel or the money, and name the order {id}."
        )
    return sentence.format(
        name=node.alias_of(record.node_id),
        capacity=sat_text(params.capacity_sat),
        amount=sat_text(record.total_sat),
        blocks=passed_blocks,
        agreed=params.funding_confirms_within_blocks,
        height=max([*held, node.best_height]),
        id=peer_text(record.order.order_id),
    )


def _not_usable_sentence(node: Node, record: OrderRecord, channel_id: bytes) -> str:
    """A channel that is not released after the confirmations that were agreed, or that closed before its time."""
    params = record.order.params
    with node.core.locked():
        closed = node.ledger.closed.get(channel_id)
        found = [item for item in node.manager.list_channels() if item.channel_id == channel_id]
    name, id_text = node.alias_of(record.node_id), peer_text(record.order.order_id)
    capacity = sat_text(params.capacity_sat)
    if closed is not None and not closed.by_us:
        # By the blocks that were agreed, and not by what the seller says of them since.
        if record.paid_height and closed.closed_height < record.paid_height + params.channel_expiry_blocks:
            return _(
                "The channel of {capacity} from {name} closed before its time was over. What was yours in it comes "
                "back to you; ask its owner why, and name the order {id}."
            ).format(capacity=capacity, name=name, id=id_text)
    for item in found:
        # Ours counts as well: both sides wait for their own.
        agreed = max(params.required_channel_confirmations, item.confirmations_required or 0)
        if not item.is_channel_ready and (item.confirmations or 0) > agreed + LATE_BLOCKS:
            return _(
                "The channel of {capacity} from {name} has {blocks} confirmations, and {name} has not released it: "
                "{agreed} were agreed. Stay connected to it; ask its owner, and name the order {id}."
            ).format(capacity=capacity, name=name, blocks=item.confirmations, agreed=agreed, id=id_text)
    return ""
