"""The fake node's part in buying channels: a seller's terms, orders, and the channel that comes."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wallet.node.api import ChannelPhase, ChannelView, CommandError, Json, NodeStatus

__all__ = ["FakeOrders", "price_sat"]

LEAST_SAT, MOST_SAT = 20_000, 1_000_000_000
LEASE_BLOCKS = 13_140


def price_sat(capacity_sat: int) -> int:
    return max(2_000, capacity_sat // 200)


class FakeOrders:
    """A part of `FakeNode`. Attributes: `orders`, newest first; `strangers`, node ids that sell nothing;
    `takes_lightning`, `takes_coins`: the ways to pay that the seller knows."""

    channels: dict[str, ChannelView]
    status: NodeStatus
    confirmed_sat: int

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.strangers: set[str] = set()
        self.takes_lightning = True
        self.takes_coins = True
        self._order_numbers = itertools.count(1)

    if TYPE_CHECKING:

        def tell(self, *, channels: Any = ()) -> None: ...
        def submit(self, work: Any, *arguments: Any) -> Future[Any]: ...

    def do_channel_offer(self, peer: str) -> Json:
        node_id, at, _address = peer.partition("@")
        if len(node_id) != 66 or not at:
            raise CommandError("A node id is 66 characters of 0-9 and a-f that begin with 02 or 03.")
        if node_id in self.strangers:
            raise CommandError("The quiet one does not sell channels.", code="seller -32601")
        return {
            "node_id": node_id,
            "uri": peer,
            "alias": "The hub",
            "min_sat": LEAST_SAT,
            "max_sat": MOST_SAT,
            "max_expiry_blocks": 52_560,
        }

    def do_buy_channel(self, peer: str, amount_sat: int, public: bool = False) -> Json:
        fee_sat = price_sat(amount_sat)
        terms = {"total_sat": fee_sat, "fee_sat": fee_sat}
        number = next(self._order_numbers)
        order: dict[str, Any] = {
            "order_id": f"{number:016x}",
            "node_id": peer[:66],
            "alias": "The hub",
            "public": public,
            "status": "offered",
            "sentence": "Nothing is paid yet.",
            "problem": "",
            "amount_sat": amount_sat,
            "expiry_blocks": LEASE_BLOCKS,
            "expires_at": int(time.time()) + 3_600,
            "lightning": dict(terms) if self.takes_lightning else None,
            "onchain": dict(terms) if self.takes_coins else None,
            "ways": {"routing_fee_sat_at_most": 25, "mining_fee_sat": 141},
        }
        self.orders.insert(0, order)
        return order

    def do_list_orders(self) -> Json:
        return list(self.orders)

    def do_pay_order(self, order_id: str, pay: str = "auto") -> Json:
        from tests.gui.fake_node import make_channel

        order = next(item for item in self.orders if item["order_id"] == order_id)
        channel = make_channel(
            900 + int(order_id, 16),
            node_id=order["node_id"],
            alias="The hub",
            capacity_sat=order["amount_sat"],
            local_msat=0,
            phase=ChannelPhase.AWAITING_CONFIRMATIONS,
            height=self.status.height,
        )
        self.confirmed_sat -= order["onchain"]["total_sat"] if pay == "onchain" else 0
        self.channels[channel.channel_id] = replace(channel, is_outbound=False)
        order["status"], order["paid_by"] = "arrived", pay
        order["sentence"] = "The channel is there: it can be used once it is confirmed."
        self.tell(channels=[channel.channel_id])
        return order

    def buy_of_hub(self, hub_uri: str, capacity_sat: int) -> str:
        """What the practice network's controls do in one go."""
        order: Any = self.do_buy_channel(hub_uri, capacity_sat)
        paid: Any = self.do_pay_order(order["order_id"], "onchain")
        return str(paid["sentence"])
