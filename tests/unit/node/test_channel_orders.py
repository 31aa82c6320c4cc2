"""Orders of channels, by themselves: which channel is which order's, and when the money is back."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from wallet.bitcoin.address import REGTEST, address_to_script, script_to_address
from wallet.bitcoin.tx import OutPoint, Txid
from wallet.ln import lsps1
from wallet.ln.config import UserConfig
from wallet.ln.events import Balance, BalanceKind, OpenChannelRequest
from wallet.ln.lsps1 import BoughtChannel, OrderState
from wallet.ln.types import APIError, ChannelId, NodeId, PaymentHash
from wallet.node.api import CommandError
from wallet.node.commands.buying import order_sentence
from wallet.node.event_handler import EventHandler
from wallet.node.orders import ChannelOrders, OrderRecord, OrderStep, PayBy, assigned, local_id
from wallet.node.records import PaymentState, row, unpack
from wallet.sandbox.seller import ChannelSeller

SELLER = b"\x02" * 33
TOTAL_SAT = 100_000
HASH = b"h" * 32
EXPECTED = lsps1.PaymentState.EXPECT_PAYMENT


def address_of(number: int) -> str:
    return script_to_address(b"\x00\x14" + bytes([number]) * 20, REGTEST) or ""


def order_of(
    name: str, lsp_sat: int, pay_by: PayBy = PayBy.ONCHAIN, step: OrderStep = OrderStep.PAYING
) -> OrderRecord:
    params = lsps1.OrderParams(
        lsp_balance_sat=lsp_sat,
        client_balance_sat=0,
        required_channel_confirmations=1,
        funding_confirms_within_blocks=6,
        channel_expiry_blocks=10,
        announce_channel=False,
        refund_onchain_address=address_of(1),
    )
    common: dict[str, Any] = {
        "state": EXPECTED,
        "expires_at": 10**9,
        "fee_total_sat": TOTAL_SAT,
        "order_total_sat": TOTAL_SAT,
    }
    order = lsps1.Order(
        order_id=name,
        params=params,
        created_at=0,
        state=OrderState.CREATED,
        bolt11=lsps1.Bolt11Terms(invoice="", **common) if pay_by is PayBy.LIGHTNING else None,
        onchain=lsps1.OnchainTerms(address=address_of(2), min_confirmations=1, **common),
    )
    return OrderRecord(
        local_id=local_id(SELLER, name),
        node_id=SELLER,
        connection=f"{SELLER.hex()}@127.0.0.1:9735",
        order=order,
        created_at=0,
        step=step,
        pay_by=pay_by,
        payment_hash=HASH if pay_by is PayBy.LIGHTNING else b"",
    )


def channel_of(number: int, capacity_sat: int, confirmations: int | None = 1, ready: bool = False) -> Any:
    return SimpleNamespace(
        channel_id=bytes([number]) * 32,
        counterparty_node_id=SELLER,
        is_outbound=False,
        funding_outpoint=OutPoint(Txid(bytes([number]) * 32), 0),
        channel_value_sat=capacity_sat,
        balance_msat=0,
        confirmations=confirmations,
        is_channel_ready=ready,
        is_announced=False,
        confirmations_required=1,
        pending_htlcs=(),
    )


def offer_of(capacity_sat: int, push_msat: int = 0, number: int = 99, public: bool = False) -> Any:
    """What the seller's `open_channel` asks."""
    return SimpleNamespace(
        counterparty_node_id=SELLER,
        temporary_channel_id=bytes([number]) * 32,
        funding_sat=capacity_sat,
        push_msat=push_msat,
        is_announced=public,
        needs_anchor_reserve=True,
    )


class FakeCore:
    """Attributes: `broken`, what the next write raises."""

    def __init__(self) -> None:
        self.now = SimpleNamespace(at=1_000)
        self.broken: Exception | None = None

    @contextlib.contextmanager
    def entry(self) -> Iterator[None]:
        yield

    locked = entry

    def write(self, _rows: object) -> None:
        if self.broken is not None:
            raise self.broken


class FakeOnchain:
    """Attributes: `entries`, the history; `paid`, the transaction that pays an order; `addresses`, handed out in turn,
    over and over."""

    def __init__(self) -> None:
        self.version = 0
        self.entries: list[Any] = []
        self.paid: Any = None
        self.addresses = [address_of(number) for number in range(10, 13)]
        self.handed = 0

    def history(self) -> list[Any]:
        return self.entries

    def entry(self, _txid: bytes) -> Any:
        return self.paid

    def new_address(self) -> str:
        self.handed += 1
        return self.addresses[(self.handed - 1) % len(self.addresses)]

    def comes(
        self, txid: bytes, value_sat: int, height: int | None, own: bool = False, number: int = 1
    ) -> None:
        out = SimpleNamespace(
            script_pubkey=address_to_script(address_of(number), REGTEST), value_sat=value_sat
        )
        self.version += 1
        self.entries.append(
            SimpleNamespace(txid=txid, height=height, is_own=own, tx=SimpleNamespace(outputs=[out]))
        )


class Rig:
    """Orders over a wallet that is made up. The seller is not connected, and says nothing."""

    def __init__(self, *records: OrderRecord) -> None:
        self.channels: list[Any] = []
        self.onchain = FakeOnchain()
        self.payments: dict[bytes, Any] = {}
        self.requests: dict[bytes, Any] = {}
        self.closed: dict[bytes, Any] = {}
        self.log: list[str] = []
        self.kept: list[Any] = []
        self.core = FakeCore()
        node: Any = SimpleNamespace(
            core=self.core,
            manager=SimpleNamespace(list_channels=lambda: self.channels),
            chain_monitor=SimpleNamespace(get_claimable_balances=list),
            onchain=self.onchain,
            options=SimpleNamespace(network=REGTEST, user_config=UserConfig(), accept_without_reserve=True),
            alias_of=lambda _node_id: "The seller",
            peers=SimpleNamespace(online=frozenset(), keep=self.kept.append),
            ledger=SimpleNamespace(
                payments=self.payments, requests=SimpleNamespace(live=self.requests), closed=self.closed
            ),
            best_height=100,
            fee_sat_per_kw=lambda _target: 1_000,
            wall_clock_at=lambda: 1_000,
            log=lambda _level, text, *what: self.log.append(text % what),
        )
        self.node = node
        self.orders = node.orders = ChannelOrders(node)
        for record in records:
            self.orders.put(record)

    def look(self) -> None:
        for record in self.orders.awaited():
            self.orders._look_after(record.local_id)

    def now(self, record: OrderRecord) -> OrderRecord:
        return self.orders.records[record.local_id]

    def offers(self, offered: Any) -> list[str]:
        """What a seller is told whose channel is refused; nothing where it is taken."""
        refused: list[str] = []
        self.node.manager.accept_inbound_channel = lambda *_what: None
        self.node.manager.reject_inbound_channel = lambda _id, _node_id, why: refused.append(why)
        handler: Any = SimpleNamespace(_node=self.node, channel_requests={})
        handler._is_private = lambda: EventHandler._is_private(handler)
        EventHandler._open_request(handler, offered)
        return refused

    def sentence(self, record: OrderRecord) -> str:
        return order_sentence(self.node, self.now(record))

    def told(self, record: OrderRecord, number: int) -> None:
        """The seller names an order's channel."""
        channel = BoughtChannel(
            funded_at=0, funding_outpoint=OutPoint(Txid(bytes([number]) * 32), 0), expires_at=10**9
        )
        known = self.now(record)
        order = dataclasses.replace(known.order, channel=channel, state=OrderState.COMPLETED)
        self.orders._take(known, order)


# --- which channel is which order's -------------------------------------------------------


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_a_channel_goes_to_the_largest_order_that_it_satisfies(names: str) -> None:
    small, large = order_of(names[0], 300_000), order_of(names[1], 500_000)
    rig = Rig(small, large)
    rig.channels.append(channel_of(1, 500_000))
    rig.look()
    assert (rig.now(small).step, rig.now(large).step) == (OrderStep.PAYING, OrderStep.ARRIVED)
    assert rig.orders.expects(offer_of(300_000)) is True
    rig.channels.append(channel_of(2, 300_000))
    rig.look()
    assert rig.now(small).channel_id == bytes([2]) * 32


def test_the_channel_that_the_seller_named_is_the_one() -> None:
    first, second = order_of("a", 300_000), order_of("b", 300_000)
    one, other = channel_of(1, 300_000, None), channel_of(2, 300_000, None)
    rig = Rig(first, second)
    rig.channels += [one, other]
    rig.look()
    guessed = {record.local_id: rig.now(record).channel_id for record in (first, second)}
    assert set(guessed.values()) == {one.channel_id, other.channel_id}
    # The other way round than it was guessed.
    swapped = {first.local_id: guessed[second.local_id], second.local_id: guessed[first.local_id]}
    for record in (first, second):
        rig.told(record, (swapped[record.local_id] or b"\x00")[0])
    rig.look()
    assert {record.local_id: rig.now(record).channel_id for record in (first, second)} == swapped


def test_no_order_gets_an_earlier_channel_or_one_that_is_too_small() -> None:
    record = dataclasses.replace(order_of("a", 300_000), channels_before=frozenset({bytes([1]) * 32}))
    assert assigned([record], [channel_of(1, 400_000), channel_of(2, 299_999)]) == {}


# --- when it is there ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("confirmations", "ready"), [(1, False), (None, True)], ids=["confirmed", "ready at once"]
)
def test_a_channel_has_arrived_once_it_cannot_vanish(confirmations: int | None, ready: bool) -> None:
    record = order_of("a", 300_000)
    rig = Rig(record)
    rig.channels.append(channel_of(1, 300_000, None))
    rig.look()
    assert rig.now(record).step is OrderStep.PAYING
    assert rig.now(record).channel_id == bytes([1]) * 32
    # It is under way: a second one is not paid for.
    assert rig.orders.expects(offer_of(300_000)) is None
    rig.channels[:] = [channel_of(1, 300_000, confirmations, ready)]
    rig.look()
    assert rig.now(record).step is OrderStep.ARRIVED


def test_an_order_whose_channel_closes_unfunded_is_awaited_again() -> None:
    record = order_of("a", 300_000)
    rig = Rig(record)
    rig.channels.append(channel_of(1, 300_000, None))
    rig.look()
    rig.channels.clear()
    rig.look()
    assert (rig.now(record).step, rig.now(record).channel_id) == (OrderStep.PAYING, None)
    assert rig.orders.expects(offer_of(300_000)) is True


def test_of_two_channels_that_are_negotiated_only_one_was_bought() -> None:
    record = order_of("a", 300_000)
    rig = Rig(record)
    rig.channels.append(SimpleNamespace(**vars(channel_of(98, 300_000)) | {"funding_outpoint": None}))
    # The one that is asked about is itself listed.
    assert rig.orders.expects(offer_of(300_000, number=98)) is True
    assert rig.orders.expects(offer_of(300_000)) is None


@pytest.mark.parametrize(
    ("push_msat", "accepted"), [(0, True), (40_000_000, False)], ids=["nothing of ours", "our side"]
)
def test_a_bought_channel_with_our_money_in_it_needs_coins_to_close_it(
    push_msat: int, accepted: bool
) -> None:
    rig = Rig(order_of("a", 300_000))
    taken: list[bytes] = []
    rig.node.options.accept_without_reserve = False
    rig.node.has_anchor_reserve = lambda one_more: not one_more
    rig.node.manager.accept_inbound_channel = lambda channel_id, *_more: taken.append(channel_id)
    handler: Any = SimpleNamespace(_node=rig.node, channel_requests={})
    handler._is_private = lambda: True
    offered = offer_of(300_000, push_msat)
    EventHandler._open_request(handler, offered)
    assert (taken == [offered.temporary_channel_id]) is accepted
    assert (offered.temporary_channel_id in handler.channel_requests) is not accepted


@pytest.mark.parametrize("public", [False, True], ids=["wanted", "unwanted"])
def test_a_channel_whose_peer_has_gone_already_is_forgotten(public: bool) -> None:
    rig = Rig()

    def gone(*_what: object) -> None:
        raise APIError("There is no such channel.")

    rig.node.manager = SimpleNamespace(
        list_channels=list, accept_inbound_channel=gone, reject_inbound_channel=gone
    )
    offered = OpenChannelRequest(
        ChannelId(bytes(32)), NodeId(SELLER), 300_000, 0, b"", public, needs_anchor_reserve=False
    )
    # What is raised here would be written down, and tried again at each start.
    EventHandler(rig.node).handle(0, offered)
    assert "There is no such channel." in rig.log[-1]


# --- what a seller does instead ---------------------------------------------------------------


def ordered(record: OrderRecord, **changes: Any) -> OrderRecord:
    params = dataclasses.replace(record.order.params, **changes)
    return dataclasses.replace(record, order=dataclasses.replace(record.order, params=params))


@pytest.mark.parametrize(
    ("bought_public", "offered", "told", "words"),
    [
        (False, offer_of(299_999), "less than what was ordered", "a channel of 299\u202f999\u00a0sat"),
        (
            False,
            offer_of(300_000, public=True),
            "It is public",
            "a public channel, and you paid for a private",
        ),
        (True, offer_of(300_000), "It is private", "a private channel, and you paid for a public"),
    ],
    ids=["smaller", "public", "private"],
)
def test_another_channel_than_was_paid_for_is_refused_and_told_until_the_right_one_comes(
    bought_public: bool, offered: Any, told: str, words: str
) -> None:
    record = ordered(order_of("a", 300_000), announce_channel=bought_public)
    rig = Rig(record)
    assert [told in why for why in rig.offers(offered)] == [True]
    assert words in rig.sentence(record)
    assert "Ask its owner" in rig.sentence(record)
    # What the seller says afterwards takes nothing back.
    rig.orders._take(rig.now(record), record.order)
    assert words in rig.sentence(record)
    assert rig.offers(offer_of(300_000, public=bought_public)) == []
    rig.channels.append(channel_of(1, 300_000))
    rig.channels[0].is_announced = bought_public
    rig.look()
    assert rig.now(record).step is OrderStep.ARRIVED
    assert words not in rig.sentence(record)


def test_a_public_channel_that_nobody_ordered_is_refused() -> None:
    rig = Rig()
    assert rig.offers(offer_of(300_000)) == []
    assert rig.offers(offer_of(300_000, public=True)) == [
        "Our channels are private: please do not announce this one."
    ]


def test_a_private_channel_is_not_the_public_one_that_was_ordered() -> None:
    item = channel_of(1, 400_000)
    record = order_of("a", 300_000)
    assert assigned([record], [item]) == {record.local_id: item}
    assert assigned([ordered(record, announce_channel=True)], [item]) == {}


@pytest.mark.parametrize(
    ("pay_by", "state", "words"),
    [
        (PayBy.LIGHTNING, PaymentState.PENDING, "come back by themselves, at block 240"),
        (PayBy.LIGHTNING, PaymentState.SUCCEEDED, "Ask its owner for the channel or the money"),
        (PayBy.ONCHAIN, None, "name the order a"),
    ],
    ids=["held", "taken", "on chain"],
)
def test_a_channel_that_does_not_come_in_time_is_told_with_what_to_do(
    pay_by: PayBy, state: PaymentState | None, words: str
) -> None:
    record = dataclasses.replace(order_of("a", 300_000, pay_by), paid_height=100, paid_txid=b"p" * 32)
    rig = Rig(record)
    if state is not None:
        rig.payments[HASH] = SimpleNamespace(state=state)
    rig.onchain.paid = SimpleNamespace(height=100)
    hangs = channel_of(9, 1)
    hangs.pending_htlcs = (SimpleNamespace(outbound=True, payment_hash=HASH, cltv_expiry_height=240),)
    rig.channels.append(hangs)
    # Six blocks for the funding, six of grace, and on chain six more in which the payment is counted.
    last = 100 + 6 + 6 + (6 if pay_by is PayBy.ONCHAIN else 0)
    rig.node.best_height = last
    assert "has not opened" not in rig.sentence(record)
    rig.node.best_height = last + 1
    assert "has not opened the channel of 300\u202f000\u00a0sat" in rig.sentence(record)
    assert words in rig.sentence(record)
    # Once it is there, and does not confirm, that is what is told.
    rig.channels.append(channel_of(1, 300_000, None))
    rig.look()
    assert "is opening, but not confirmed" in rig.sentence(record)


def test_of_a_payment_that_a_closed_channel_holds_the_block_is_told_too() -> None:
    record = dataclasses.replace(order_of("a", 300_000, PayBy.LIGHTNING), paid_height=100)
    rig = Rig(record)
    rig.payments[HASH] = SimpleNamespace(state=PaymentState.PENDING)
    rig.node.best_height = 120
    ours, other = (
        Balance(
            kind=BalanceKind.MAYBE_TIMEOUT_CLAIMABLE_HTLC,
            channel_id=ChannelId(bytes(32)),
            amount_sat=TOTAL_SAT,
            height=height,
            payment_hash=PaymentHash(payment_hash),
        )
        for height, payment_hash in ((240, HASH), (300, b"o" * 32))
    )
    rig.node.chain_monitor = SimpleNamespace(get_claimable_balances=lambda: [ours, other])
    assert "come back by themselves, at block 240 at the latest" in rig.sentence(record)


def test_a_payment_on_chain_that_is_not_confirmed_makes_no_seller_late() -> None:
    record = dataclasses.replace(order_of("a", 300_000), paid_height=100, paid_txid=b"p" * 32)
    rig = Rig(record)
    rig.node.best_height = 10_000
    for paid in (None, SimpleNamespace(height=None)):
        rig.onchain.paid = paid
        assert "is awaited" in rig.sentence(record)


def test_a_channel_that_is_not_released_after_what_was_agreed_is_told() -> None:
    record = ordered(order_of("a", 300_000), required_channel_confirmations=3)
    rig = Rig(record)
    rig.channels.append(channel_of(1, 300_000, 9))
    rig.look()
    assert "can be used once it is confirmed" in rig.sentence(record)
    rig.channels[0].confirmations = 10
    assert "has 10 confirmations, and The seller has not released it: 3 were agreed" in rig.sentence(record)
    rig.channels[0].is_channel_ready = True
    assert "is there" in rig.sentence(record)


@pytest.mark.parametrize(
    ("by_us", "closed_height", "told"),
    [(False, 109, True), (False, 110, False), (True, 109, False)],
    ids=["too early", "in time", "by us"],
)
def test_a_channel_that_is_closed_before_its_time_is_told(
    by_us: bool, closed_height: int, told: bool
) -> None:
    record = dataclasses.replace(
        order_of("a", 300_000, step=OrderStep.ARRIVED), channel_id=bytes([1]) * 32, paid_height=100
    )
    rig = Rig(record)
    rig.closed[bytes([1]) * 32] = SimpleNamespace(by_us=by_us, closed_height=closed_height)
    assert ("closed before its time" in rig.sentence(record)) is told


def test_orders_are_looked_after_when_something_happened_to_them_and_not_with_each_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = order_of("a", 300_000, PayBy.LIGHTNING)
    rig = Rig(record)
    rig.payments[HASH] = SimpleNamespace(state=PaymentState.PENDING)
    looks = 0
    clock = 0.0
    listed = rig.node.manager.list_channels

    def list_channels() -> Any:
        nonlocal looks
        looks += 1
        return listed()

    rig.node.manager.list_channels = list_channels
    rig.node.loop = SimpleNamespace(time=lambda: clock)

    def looked() -> int:
        """How often, of a hundred changes of the node."""
        nonlocal looks
        looks = 0
        for _change in range(100):
            if rig.orders._is_news(record):
                rig.orders._look_after(record.local_id)
        return looks

    def later() -> None:
        nonlocal clock
        clock += 30

    def block() -> None:
        rig.node.best_height += 1

    def coins() -> None:
        rig.onchain.version += 1

    def connected() -> None:
        rig.node.peers.online = frozenset({NodeId(SELLER)})
        # The seller was just asked.
        monkeypatch.setattr(rig.orders, "_is_due", lambda _record: False)

    def being_paid() -> None:
        rig.orders.paying.add(record.local_id)

    def paid() -> None:
        rig.orders.paying.discard(record.local_id)

    def arrived() -> None:
        rig.channels.append(channel_of(1, 300_000, None))
        rig.orders.channels_changed()

    assert looked() == 1
    for happens in (later, block, coins, connected, being_paid, paid):
        assert looked() == 0, happens
        happens()
        assert looked() == 1, happens
    arrived()
    # What it changed in the order is news once more.
    assert looked() == 2
    assert rig.now(record).channel_id == bytes([1]) * 32
    rig.payments[HASH] = SimpleNamespace(state=PaymentState.SUCCEEDED)
    assert looked() == 1


# --- when the money is back ------------------------------------------------------------------


def test_only_what_is_confirmed_new_and_from_others_counts_as_a_refund() -> None:
    record = dataclasses.replace(order_of("a", 300_000), coins_before=frozenset({b"old"}))
    rig = Rig(record)
    rig.onchain.comes(b"old", TOTAL_SAT, 90)
    rig.onchain.comes(b"own", TOTAL_SAT, 101, own=True)
    rig.onchain.comes(b"waits", TOTAL_SAT, None)
    rig.onchain.comes(b"elsewhere", TOTAL_SAT, 101, number=2)
    rig.look()
    assert (rig.now(record).step, rig.now(record).problem) == (OrderStep.PAYING, "")
    rig.onchain.comes(b"dust", 294, 101)
    rig.look()
    assert rig.now(record).step is OrderStep.PAYING
    assert "Only 294" in rig.now(record).problem


@pytest.mark.parametrize(
    ("parts", "step"),
    [
        ((TOTAL_SAT,), OrderStep.REFUNDED),
        ((50_000, 48_000), OrderStep.REFUNDED),
        # One part in a hundred, and 1,000 sat for a spend.
        ((97_999,), OrderStep.PAYING),
    ],
    ids=["all", "in two parts", "too little"],
)
def test_a_refund_is_the_whole_price_less_a_fee(parts: tuple[int, ...], step: OrderStep) -> None:
    record = order_of("a", 300_000)
    rig = Rig(record)
    for number, value_sat in enumerate(parts):
        rig.onchain.comes(bytes([number]), value_sat, 101)
    rig.look()
    assert rig.now(record).step is step


@pytest.mark.parametrize("state", [PaymentState.FAILED, None], ids=["failed", "never left"])
def test_a_payment_that_failed_ends_its_order_though_the_seller_is_silent(state: PaymentState | None) -> None:
    record = order_of("a", 300_000, PayBy.LIGHTNING)
    rig = Rig(record)
    if state is not None:
        rig.payments[HASH] = SimpleNamespace(state=state)
    # The command that pays says itself how that ends.
    rig.orders.paying.add(record.local_id)
    rig.look()
    assert rig.now(record).step is OrderStep.PAYING
    rig.orders.paying.clear()
    rig.look()
    assert rig.now(record).step is OrderStep.REFUNDED
    assert "came back" in order_sentence(rig.node, rig.now(record))


@pytest.mark.parametrize(
    ("state", "words"),
    [(PaymentState.PENDING, "are held for"), (PaymentState.SUCCEEDED, "took your")],
    ids=["held", "taken"],
)
def test_a_sentence_says_where_the_money_is_by_our_own_books(state: PaymentState, words: str) -> None:
    record = order_of("a", 300_000, PayBy.LIGHTNING)
    rig = Rig(record)
    rig.payments[HASH] = SimpleNamespace(state=state)
    rig.look()
    assert rig.now(record).step is OrderStep.PAYING
    assert words in order_sentence(rig.node, rig.now(record))


# --- where a refund goes ----------------------------------------------------------------------


def test_a_refund_address_is_shared_with_nobody_who_waits_there() -> None:
    rig = Rig(order_of("a", 300_000))
    taken, asked, _free = rig.onchain.addresses
    paid = order_of("b", 300_000)
    params = dataclasses.replace(paid.order.params, refund_onchain_address=taken)
    rig.orders.put(dataclasses.replace(paid, order=dataclasses.replace(paid.order, params=params)))
    rig.requests[b"r"] = SimpleNamespace(address=asked, expires_at=2_000)
    assert rig.orders.refund_address(SELLER) == rig.onchain.addresses[2]
    rig.requests[b"s"] = SimpleNamespace(address=rig.onchain.addresses[2], expires_at=2_000)
    with pytest.raises(CommandError, match="none for a refund"):
        rig.orders.refund_address(SELLER)
    # One that ran out may still be paid; it is the last choice.
    rig.requests[b"s"].expires_at = 999
    assert rig.orders.refund_address(SELLER) == rig.onchain.addresses[2]
    # Nor is a request given the address of an order.
    rig.onchain.handed = 0
    assert rig.orders.request_address() == asked


def test_the_address_of_an_unpaid_offer_is_used_again_unless_coins_came_there() -> None:
    offer = order_of("a", 300_000, PayBy.NOTHING, OrderStep.OFFERED)
    rig = Rig(offer)
    assert rig.orders.refund_address(SELLER) == address_of(1)
    # Another seller would learn that both orders are one person's.
    assert rig.orders.refund_address(b"\x03" * 33) == rig.onchain.addresses[0]
    rig.onchain.comes(b"coin", 1_000, None)
    assert rig.orders.refund_address(SELLER) == rig.onchain.addresses[1]


# --- rows and trouble ---------------------------------------------------------------------------


def test_an_order_comes_back_from_its_row() -> None:
    record = dataclasses.replace(order_of("a", 300_000), coins_before=frozenset({b"one", b"two"}))
    for kept in (record, dataclasses.replace(record, coins_before=frozenset())):
        value = row("space", b"key", kept).value
        assert value is not None
        assert unpack(OrderRecord, value) == kept


def test_an_order_that_cannot_be_looked_after_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = order_of("a", 300_000), order_of("b", 500_000)
    rig = Rig(bad, good)
    rig.channels.append(channel_of(1, 500_000))
    really_assigned = rig.orders._assigned
    calls = 0

    def fails_first() -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError("made up")
        return really_assigned()

    monkeypatch.setattr(rig.orders, "_assigned", fails_first)

    async def scenario() -> None:
        seen: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def changed_since(_version: int) -> None:
            seen.set_result(None)
            await asyncio.get_running_loop().create_future()

        rig.node.views = SimpleNamespace(version=0, changed_since=changed_since)
        rig.node.loop = asyncio.get_running_loop()
        rig.orders.follow()
        await seen
        await rig.orders.close()

    asyncio.run(scenario())
    # The seller is called again whenever the connection is lost.
    assert {uri.node_id for uri in rig.kept} == {SELLER}
    assert rig.now(good).step is OrderStep.ARRIVED
    assert any("made up" in line for line in rig.log)


def test_an_order_that_the_hub_cannot_serve_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    node: Any = SimpleNamespace(
        store=SimpleNamespace(rows=lambda _space: ()), log=lambda _level, text, *what: log.append(text % what)
    )
    hub = ChannelSeller(node)
    orders: Any = {"bad": "bad", "good": "good"}
    hub._orders = orders
    served: list[str] = []

    async def attend(sold: Any) -> None:
        if sold == "bad":
            raise ValueError("made up")
        served.append(sold)

    monkeypatch.setattr(hub, "_attend", attend)

    class Enough(Exception):
        pass

    async def changed_since(_version: int) -> None:
        raise Enough

    node.views = SimpleNamespace(version=0, changed_since=changed_since)
    with pytest.raises(Enough):
        asyncio.run(hub._attend_to_all())
    assert served == ["good"]
    assert log == ["an order could not be served: ValueError('made up')"]
