"""The hub's shop for channels: the seller's end of bLIP 51, as far as the practice network needs it.

Theory of operation. An order is a row; what it is paid with is watched by one task, which looks again whenever the
hub's wallet changed. A Lightning payment is held until the channel's funding transaction is out, and goes back when it
cannot be opened. A payment on chain counts unconfirmed, because nobody cheats here; where the channel cannot be
opened, it is sent back to the address that the order names. Before an opening begins, that is written down with a
number that the channel carries: after a restart it is looked for, and never opened twice.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import uuid
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from wallet.bitcoin.address import address_to_script
from wallet.bitcoin.hashes import sha256
from wallet.chain.interfaces import LogLevel
from wallet.i18n import _
from wallet.ln import lsps1
from wallet.ln.lsps0 import CLIENT_REJECTED, METHOD_NOT_FOUND, Fields, LspsError, invalid_params, unrecognized
from wallet.ln.lsps1 import OrderState, PaymentState
from wallet.ln.types import NodeId
from wallet.node.api import CommandError
from wallet.node.commands import run
from wallet.node.commands.channels import open_to
from wallet.node.commands.onchain import feerate_from
from wallet.node.commands.payments import put_hold_invoice
from wallet.node.records import RequestState, row, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wallet.ln.channel_details import ChannelDetails
    from wallet.node.node import Node
    from wallet.onchain.coins import Coin

__all__ = ["ChannelSeller", "SoldOrder", "SoldStep", "channel_price_sat"]

SOLD_SPACE = "sandbox_sold_channel"
OPTIONS = lsps1.Options(
    min_required_channel_confirmations=1,
    min_funding_confirms_within_blocks=1,
    supports_zero_channel_reserve=False,
    max_channel_expiry_blocks=52_560,
    min_initial_client_balance_sat=0,
    max_initial_client_balance_sat=5_000_000,
    min_initial_lsp_balance_sat=20_000,
    max_initial_lsp_balance_sat=15_000_000,
    min_channel_balance_sat=20_000,
    max_channel_balance_sat=16_000_000,
)
PRICE_FLOOR_SAT = 2_000
PRICE_SHARE = 200
"""A channel costs half a percent of what the seller puts in."""
ORDER_LIFETIME_SECONDS = 3_600
MAX_UNPAID_ORDERS = 5
"""Of one client, at a time: each is a row and an invoice."""
OPEN_TIMEOUT_SECONDS = 60
BLOCK_SECONDS = 600


def channel_price_sat(lsp_balance_sat: int) -> int:
    return max(PRICE_FLOOR_SAT, lsp_balance_sat // PRICE_SHARE)


class SoldStep(Enum):
    """`UNPAID`, then `OPENING` once it is paid, then `SOLD`, or `REFUNDING` and `ENDED`. `SETTLING`: the channel is
    there, and the held payment is still to be taken."""

    UNPAID = 1
    OPENING = 2
    SETTLING = 3
    SOLD = 4
    REFUNDING = 5
    ENDED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class SoldOrder:
    """An order of a client; space `SOLD_SPACE`, key its id.

    Attributes:
        number: what its channel is known by here.
        onchain_paid: by coins rather than over Lightning.
    """

    order: lsps1.Order
    client: bytes
    preimage: bytes
    number: int
    step: SoldStep = SoldStep.UNPAID
    onchain_paid: bool = False

    @property
    def payment_hash(self) -> bytes:
        return sha256(self.preimage)


class ChannelSeller:
    """`LspsService` of a node that sells channels. `start` and `close` on the network loop."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._orders = {key.decode(): unpack(SoldOrder, value) for key, value in node.store.rows(SOLD_SPACE)}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._node.lsps.service = self
        self._task = self._node.loop.create_task(self._attend_to_all())

    async def close(self) -> None:
        self._node.lsps.service = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # --- LspsService: within an entry -------------------------------------------------

    def protocols(self) -> tuple[int, ...]:
        return (lsps1.PROTOCOL,)

    def call(self, their_node_id: NodeId, method: str, params: Mapping[str, object]) -> Mapping[str, object]:
        match method:
            case "lsps1.get_info":
                if params:
                    raise unrecognized(params)
                return lsps1.options_json(OPTIONS)
            case "lsps1.create_order":
                return lsps1.order_json(self._create(their_node_id, params).order)
            case "lsps1.get_order":
                if params.keys() - {"order_id"}:
                    raise unrecognized(params.keys() - {"order_id"})
                sold = self._orders.get(lsps1.order_id_from(Fields(params, invalid_params)))
                if sold is None or sold.client != their_node_id:
                    raise LspsError(lsps1.NOT_FOUND, "Not found")
                return lsps1.order_json(sold.order)
            case _:
                raise LspsError(METHOD_NOT_FOUND, "Method not found")

    def _create(self, client: NodeId, asked: Mapping[str, object]) -> SoldOrder:
        node, now_at = self._node, self._node.core.now.at
        params = lsps1.params_from(asked, node.options.network)
        lsps1.check_against_options(params, OPTIONS)
        if params.token:
            raise LspsError(lsps1.STALE_TOKEN, "Unrecognized or stale token")
        unpaid = [
            sold
            for sold in self._orders.values()
            if sold.client == client and sold.step is SoldStep.UNPAID and self._expires_at(sold) > now_at
        ]
        if len(unpaid) >= MAX_UNPAID_ORDERS:
            raise LspsError(CLIENT_REJECTED, "Client rejected", {"message": "Pay an earlier order first"})
        fee_sat = channel_price_sat(params.lsp_balance_sat)
        total_sat = fee_sat + params.client_balance_sat
        preimage = os.urandom(32)
        invoice = put_hold_invoice(
            node, sha256(preimage), total_sat * 1000, _("A channel from the hub"), ORDER_LIFETIME_SECONDS
        )
        expires_at = now_at + ORDER_LIFETIME_SECONDS
        onchain = None
        if params.refund_onchain_address:
            onchain = lsps1.OnchainTerms(
                state=PaymentState.EXPECT_PAYMENT,
                expires_at=expires_at,
                fee_total_sat=fee_sat,
                order_total_sat=total_sat,
                address=node.onchain.new_address(),
                min_confirmations=0,
                min_fee_for_0conf_sat_per_kw=253,
                refund_onchain_address=params.refund_onchain_address,
            )
        order = lsps1.Order(
            order_id=str(uuid.UUID(bytes=os.urandom(16), version=4)),
            params=params,
            created_at=now_at,
            state=OrderState.CREATED,
            bolt11=lsps1.Bolt11Terms(
                state=PaymentState.EXPECT_PAYMENT,
                expires_at=expires_at,
                fee_total_sat=fee_sat,
                order_total_sat=total_sat,
                invoice=invoice,
            ),
            onchain=onchain,
        )
        # Zero is the number of channels that nobody bought.
        number = 1 + int.from_bytes(os.urandom(6), "big")
        return self._put(SoldOrder(order=order, client=bytes(client), preimage=preimage, number=number))

    @staticmethod
    def _expires_at(sold: SoldOrder) -> int:
        return sold.order.created_at + ORDER_LIFETIME_SECONDS

    # --- rows ---------------------------------------------------------------------------

    def _put(self, sold: SoldOrder) -> SoldOrder:
        """Within an entry."""
        key = sold.order.order_id
        self._orders[key] = sold
        self._node.core.write((row(SOLD_SPACE, key.encode(), sold),))
        return sold

    async def _move(
        self,
        sold: SoldOrder,
        step: SoldStep,
        *,
        state: OrderState | None = None,
        paid: PaymentState | None = None,
        **changes: Any,
    ) -> SoldOrder:
        """Takes an order a step on, durably. `paid` is the new state of the way that it is paid by."""
        with self._node.core.entry():
            sold = dataclasses.replace(sold, step=step)
            if "onchain_paid" in changes:
                sold = dataclasses.replace(sold, onchain_paid=bool(changes.pop("onchain_paid")))
            order = dataclasses.replace(sold.order, **changes)
            if state is not None:
                order = dataclasses.replace(order, state=state)
            if paid is not None:
                order = _with_payment(order, paid, onchain=sold.onchain_paid)
            sold = self._put(dataclasses.replace(sold, order=order))
            durable = self._node.durable()
        await durable
        return sold

    # --- what it is paid with, and the channel ------------------------------------------

    async def _attend_to_all(self) -> None:
        views = self._node.views
        while True:
            version = views.version
            for key in list(self._orders):
                try:
                    await self._attend(self._orders[key])
                except CommandError as error:
                    self._node.log(LogLevel.INFO, "an order waits: %s", error.message)
                except Exception as error:
                    # One order that cannot be served keeps no other waiting.
                    self._node.log(LogLevel.ERROR, "an order could not be served: %r", error)
            await views.changed_since(version)

    async def _attend(self, sold: SoldOrder) -> None:
        """One order, as far as it goes now."""
        if sold.step is SoldStep.UNPAID:
            sold = await self._look_for_payment(sold)
        if sold.step is SoldStep.OPENING:
            sold = await self._open(sold)
        if sold.step is SoldStep.SETTLING:
            await self._settle(sold)
        if sold.step is SoldStep.REFUNDING:
            await self._refund(sold)

    async def _look_for_payment(self, sold: SoldOrder) -> SoldOrder:
        node = self._node
        request = node.ledger.requests.get(sold.payment_hash)
        if request is not None and request.state is RequestState.HELD:
            return await self._move(sold, SoldStep.OPENING, paid=PaymentState.HOLD)
        coins, terms = self._coins(sold), sold.order.onchain
        if terms is None or sum(coin.output.value_sat for coin in coins) < terms.order_total_sat:
            return sold
        # The other way to pay is closed.
        await run(node, "cancel_hold_invoice", {"payment_hash": sold.payment_hash.hex()})
        late = node.wall_clock_at() >= terms.expires_at
        return await self._move(
            sold,
            SoldStep.REFUNDING if late else SoldStep.OPENING,
            state=OrderState.FAILED if late else None,
            onchain_paid=True,
            paid=PaymentState.PAID,
        )

    def _coins(self, sold: SoldOrder) -> list[Coin]:
        node = self._node
        if sold.order.onchain is None:
            return []
        script = address_to_script(sold.order.onchain.address, node.options.network)
        with node.core.locked():
            return [coin for coin in node.onchain.coins() if coin.output.script_pubkey == script]

    def _channel(self, sold: SoldOrder) -> ChannelDetails | None:
        with self._node.core.locked():
            found = self._node.manager.list_channels()
        mine = [item for item in found if item.user_channel_id == sold.number]
        return next((item for item in mine if item.funding_outpoint is not None), None)

    async def _open(self, sold: SoldOrder) -> SoldOrder:
        """bLIP 51, channel open: once paid, and while the client is connected."""
        node, params = self._node, sold.order.params
        client = NodeId(sold.client)
        if self._channel(sold) is None:
            request = node.ledger.requests.get(sold.payment_hash)
            held = request is not None and request.state is RequestState.HELD
            if not sold.onchain_paid and not held:
                # It waited too long for its client, and has gone back.
                return await self._move(
                    sold, SoldStep.ENDED, state=OrderState.FAILED, paid=PaymentState.REFUNDED
                )
            if client not in node.peers.online:
                return sold
            try:
                await open_to(
                    node,
                    client,
                    params.capacity_sat,
                    push_sat=params.client_balance_sat,
                    feerate_sat_per_kw=feerate_from(node, None, None, params.funding_confirms_within_blocks),
                    config=node.open_config(public=params.announce_channel, anchors=True),
                    timeout_seconds=OPEN_TIMEOUT_SECONDS,
                    user_channel_id=sold.number,
                )
            except CommandError as error:
                if self._channel(sold) is None:
                    node.log(LogLevel.INFO, "a channel that was sold did not open: %s", error.message)
                    return await self._move(sold, SoldStep.REFUNDING, state=OrderState.FAILED)
        return await self._opened(sold)

    async def _opened(self, sold: SoldOrder) -> SoldOrder:
        channel, now_at = self._channel(sold), self._node.wall_clock_at()
        if channel is None or channel.funding_outpoint is None:
            return sold
        bought = lsps1.BoughtChannel(
            funded_at=now_at,
            funding_outpoint=channel.funding_outpoint,
            expires_at=now_at + sold.order.params.channel_expiry_blocks * BLOCK_SECONDS,
        )
        step = SoldStep.SOLD if sold.onchain_paid else SoldStep.SETTLING
        return await self._move(sold, step, state=OrderState.COMPLETED, channel=bought)

    async def _settle(self, sold: SoldOrder) -> None:
        try:
            await run(self._node, "settle_hold_invoice", {"preimage": sold.preimage.hex()})
        except CommandError as error:
            if error.code == "settled":
                await self._move(sold, SoldStep.SOLD, paid=PaymentState.PAID)
                return
            # It ran into its deadline meanwhile: the channel was a gift.
            self._node.log(LogLevel.WARN, "a channel that was sold is not paid for: %s", error.message)
            await self._move(sold, SoldStep.ENDED, paid=PaymentState.REFUNDED)
            return
        await self._move(sold, SoldStep.SOLD, paid=PaymentState.PAID)

    async def _refund(self, sold: SoldOrder) -> None:
        """Gives a payment back; what came on chain, once it is confirmed. bLIP 51, payments."""
        node = self._node
        if not sold.onchain_paid:
            await run(node, "cancel_hold_invoice", {"payment_hash": sold.payment_hash.hex()})
        else:
            coins = self._coins(sold)
            if coins:
                paid = await run(
                    node,
                    "payto",
                    {
                        "destination": sold.order.params.refund_onchain_address,
                        "amount_sat": "all",
                        "coins": ",".join(str(coin.outpoint) for coin in coins),
                        "label": _("A refund"),
                    },
                )
                node.log(LogLevel.INFO, "a payment for a channel was sent back: %s", paid)
        await self._move(sold, SoldStep.ENDED, state=OrderState.FAILED, paid=PaymentState.REFUNDED)


def _with_payment(order: lsps1.Order, state: PaymentState, *, onchain: bool) -> lsps1.Order:
    if onchain and order.onchain is not None:
        return dataclasses.replace(order, onchain=dataclasses.replace(order.onchain, state=state))
    if not onchain and order.bolt11 is not None:
        return dataclasses.replace(order, bolt11=dataclasses.replace(order.bolt11, state=state))
    return order
