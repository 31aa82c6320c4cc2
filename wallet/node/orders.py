"""Channels that this wallet buys: what was ordered, whether it was paid, and whether the channel came. bLIP 51.

Theory of operation. An order is a row before a person sees it, and what they agreed to never changes after: the
seller's later words only move its states. Paying is written down before anything leaves. From then on `_follow`, one
task on the network loop, looks after the order whenever the wallet changed, and asks the seller now and then, until
the channel is there or the money is back; a restart goes on from the row. That the channel came is seen in our own
channels, not believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from wallet.bitcoin.address import address_to_script
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.tx import Txid, txid_hex
from wallet.chain.interfaces import ConfirmationTarget, LogLevel, Row
from wallet.i18n import _
from wallet.ln import lsps0, lsps1
from wallet.ln.features import Feature
from wallet.ln.lsps0 import Answer, Failure, Outcome, Trouble
from wallet.ln.types import NodeId
from wallet.node.api import CommandError
from wallet.node.futures import resolve
from wallet.node.records import PaymentState, row, unpack
from wallet.node.sentences import peer_text, sat_text
from wallet.node.sockets import parse_node_uri
from wallet.onchain.keyring import GAP_LIMIT

if TYPE_CHECKING:
    from wallet.ln.channel_details import ChannelDetails
    from wallet.ln.events import OpenChannelRequest
    from wallet.node.node import Node
    from wallet.onchain.accounting import OnchainEntry

__all__ = ["ORDER_SPACE", "ChannelOrders", "OrderRecord", "OrderStep", "PayBy", "assigned", "local_id"]

ORDER_SPACE = "node_channel_order"
ASK_TIMEOUT_SECONDS = 60
"""bLIP 50: on the scale of minutes."""
QUIET_TIMEOUT_SECONDS = 20
"""For a node that does not announce that it sells: who sells nothing answers nothing, and a person waits."""
POLL_SECONDS = 30
"""How often the seller is asked about an order that is paid, while nothing happens here."""
FORGOTTEN_AFTER_SECONDS = 7 * 86_400
"""An offer that nobody took is kept as long behind its end."""
LOCAL_ID_BYTES = 8
REFUND_SHARE = 100
REFUND_SPEND_WEIGHT = 1_000
"""What a seller may keep of a refund: one part in so many, and what a small transaction costs that spends it."""


class OrderStep(Enum):
    """Where an order is, by our own books.

    `OFFERED`: it can be paid. `PAYING`: money may have left; the channel is awaited. `ARRIVED`: the channel is there,
    and cannot vanish. `REFUNDED`: the money is back, and there is no channel.
    """

    OFFERED = 1
    PAYING = 2
    ARRIVED = 3
    REFUNDED = 4


class PayBy(Enum):
    """How an order is paid."""

    NOTHING = 0
    LIGHTNING = 1
    ONCHAIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecord:
    """An order of ours; space "node_channel_order", key `local_id`.

    Attributes:
        local_id: our own name for it: sellers choose theirs, and two may choose the same.
        connection: where the seller is reached.
        order: with the terms that were agreed to.
        payment_hash: of the invoice; empty without one.
        paid_txid: of a payment on chain.
        channels_before: those with the seller when the order was paid: none of them is the one that was bought.
        channel_id: the bought one; while the order is `PAYING`, one that may still come to nothing.
        problem: a sentence; what is not as it should be.
        coins_before: transactions that paid to the refund address before the order was paid: they are no refund.
        paid_height: of the best block when it was paid; 0 before.
        refusal: a sentence; which other channel the seller offered instead, and that it was refused.
    """

    local_id: bytes
    node_id: bytes
    connection: str
    order: lsps1.Order
    created_at: int
    step: OrderStep = OrderStep.OFFERED
    pay_by: PayBy = PayBy.NOTHING
    payment_hash: bytes = b""
    paid_txid: bytes | None = None
    channels_before: frozenset[bytes] = frozenset()
    channel_id: bytes | None = None
    problem: str = ""
    coins_before: frozenset[bytes] = field(default=frozenset(), metadata={"tlv": 101})
    paid_height: int = field(default=0, metadata={"tlv": 103})
    refusal: str = field(default="", metadata={"tlv": 105})

    @property
    def total_sat(self) -> int:
        """What it costs, what comes back as our side of the channel included; of the way that was taken, or the
        dearer one."""
        onchain, bolt11 = self.order.onchain, self.order.bolt11
        if self.pay_by is PayBy.LIGHTNING:
            onchain = None
        elif self.pay_by is PayBy.ONCHAIN:
            bolt11 = None
        return max((terms.order_total_sat for terms in (onchain, bolt11) if terms is not None), default=0)

    @property
    def expires_at(self) -> int:
        """From when on it can be paid no more."""
        found = [terms.expires_at for terms in (self.order.bolt11, self.order.onchain) if terms is not None]
        return max(found, default=0)


def local_id(node_id: bytes, order_id: str) -> bytes:
    return sha256(node_id + order_id.encode())[:LOCAL_ID_BYTES]


class ChannelOrders:
    """Orders of this wallet. Methods are called on the network loop; those that write, within an entry.

    Attributes:
        records: by local id.
        paying: those whose payment a command is making just now: it says how that ends.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.records: dict[bytes, OrderRecord] = {}
        self.paying: set[bytes] = set()
        self._task: asyncio.Task[None] | None = None
        self._questions: dict[bytes, asyncio.Task[None]] = {}
        self._asked: dict[bytes, tuple[object, float]] = {}
        self._looked: dict[bytes, tuple[object, float]] = {}
        self._news = 0  # of channels and of orders: any of them may be another one's
        self._came_back: dict[bytes, tuple[int, int]] = {}

    def read(self, rows: Callable[[str], Iterable[tuple[bytes, bytes]]]) -> None:
        self.records = {key: unpack(OrderRecord, value) for key, value in rows(ORDER_SPACE)}

    def put(self, record: OrderRecord) -> OrderRecord:
        """Within an entry."""
        self.records[record.local_id] = record
        self._news += 1
        self._node.core.write((row(ORDER_SPACE, record.local_id, record),))
        return record

    def edit(self, key: bytes, **changes: Any) -> OrderRecord:
        """Within an entry; writes only what is news."""
        known = self.records[key]
        record = dataclasses.replace(known, **changes)
        return known if record == known else self.put(record)

    def awaited(self) -> list[OrderRecord]:
        """Orders that money was spent for, and that have not ended."""
        return [record for record in self.records.values() if record.step is OrderStep.PAYING]

    def awaits(self, node_id: bytes) -> bool:
        """Whether a seller has to be kept connected."""
        return any(record.node_id == node_id for record in self.awaited())

    # --- where a refund goes --------------------------------------------------------------

    def refund_address(self, node_id: bytes) -> str:
        """An address for a new order at a seller: that of an unpaid one, so that asking for prices uses up none, else
        one that nobody else waits at. Within an entry; raises `CommandError`."""
        onchain, network = self._node.onchain, self._node.options.network
        requests, now_at = self._node.ledger.requests.live.values(), self._node.core.now.at
        asked = {item.address for item in requests}
        live = {item.address for item in requests if item.expires_at > now_at}
        kept: list[str] = []
        busy: set[str] = set()
        for record in self.records.values():
            address = record.order.params.refund_onchain_address
            if record.step is OrderStep.OFFERED and record.node_id == node_id:
                kept.append(address)
            else:
                busy.add(address)
        paid = {out.script_pubkey for entry in onchain.history() for out in entry.tx.outputs}
        for address in kept:
            if address and address not in asked | busy and address_to_script(address, network) not in paid:
                return address
        # At the gap limit addresses come round again. One of a request that has run out is better than none.
        second = ""
        for _attempt in range(GAP_LIMIT):
            address = onchain.new_address()
            if address not in asked | busy:
                return address
            if address not in live | busy:
                second = address
        if second:
            return second
        raise CommandError(
            _(
                "Too many of your addresses wait for a payment: there is none for a refund. Nothing was ordered; "
                "wait until a request is paid or has run out."
            ),
            code="address",
        )

    def request_address(self) -> str:
        """An address to be paid at; none where an order awaits its refund, if there is another. Within an entry."""
        busy = {record.order.params.refund_onchain_address for record in self.records.values()}
        address = self._node.onchain.new_address()
        for _attempt in range(GAP_LIMIT):
            if address not in busy:
                break
            address = self._node.onchain.new_address()
        return address

    def shares_refund_address(self, record: OrderRecord) -> bool:
        """Whether another order, on which money was spent, has the same address: its refund would look like ours."""
        address = record.order.params.refund_onchain_address
        return any(
            other.local_id != record.local_id
            and other.step is not OrderStep.OFFERED
            and other.order.params.refund_onchain_address == address
            for other in self.records.values()
        )

    # --- life -----------------------------------------------------------------------

    def start(self) -> None:
        """Goes on with what an earlier run paid for; once peers may be called."""
        self.follow()

    def follow(self) -> None:
        """Has orders looked after, and their sellers called, from now on until none is awaited."""
        for record in self.awaited():
            self._node.peers.keep(parse_node_uri(record.connection))
        if self.awaited() and (self._task is None or self._task.done()):
            self._task = self._node.loop.create_task(self._follow())

    async def close(self) -> None:
        tasks = [*self._questions.values(), *([self._task] if self._task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self) -> None:
        views = self._node.views
        while awaited := self.awaited():
            version = views.version
            for record in awaited:
                try:
                    if self._is_news(record):
                        self._look_after(record.local_id)
                except Exception as error:
                    # One order that cannot be looked after keeps no other waiting.
                    self._node.log(LogLevel.ERROR, "an order could not be looked after: %r", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await views.changed_since(version)

    def channels_changed(self) -> None:
        """A channel has come, can be used, or is gone: any of them may be one that was bought."""
        self._news += 1

    def _is_news(self, record: OrderRecord) -> bool:
        """Whether something happened that may matter to an order, or time has passed. Most changes of a node do not:
        payments of others, say, come by the dozen in a second."""
        state = self._seen(record)
        now = self._node.loop.time()
        before = self._looked.get(record.local_id)
        if before is not None and before[0] == state and now - before[1] < POLL_SECONDS:
            return False
        self._looked[record.local_id] = (state, now)
        return True

    def _seen(self, record: OrderRecord) -> tuple[object, ...]:
        node = self._node
        payment = self.payment_state(record)
        online = NodeId(record.node_id) in node.peers.online
        paying = record.local_id in self.paying
        return self._news, node.best_height, node.onchain.version, payment, online, paying

    # --- asking -----------------------------------------------------------------------

    async def ask(self, node_id: NodeId, method: str, params: Mapping[str, object]) -> Mapping[str, object]:
        """One question to a connected seller; raises `CommandError`."""
        node, name = self._node, self._node.alias_of(node_id)
        answered: asyncio.Future[Outcome] = node.promise()

        def tell(outcome: Outcome) -> None:
            node.loop.call_soon_threadsafe(resolve, answered, outcome)

        try:
            with node.core.entry():
                request_id = node.lsps.ask(node_id, method, params, tell)
        except Trouble as error:
            raise self._failed(name, str(error)) from None
        try:
            async with asyncio.timeout(self._patience_seconds(node_id)):
                outcome = await answered
        except TimeoutError:
            raise CommandError(
                _("{name} did not answer: perhaps it sells no channels. Nothing was paid for this.").format(
                    name=name
                ),
                code="seller",
            ) from None
        finally:
            with node.core.locked():
                node.lsps.forget(node_id, request_id)
        if isinstance(outcome, Answer):
            return outcome.result
        if isinstance(outcome, Failure):
            # bLIP 50, error handling: the words are for the log; what a person reads is ours.
            words = peer_text(outcome.message)
            node.log(LogLevel.INFO, "%s refuses %s with %d: %s", name, method, outcome.code, words)
            raise CommandError(_refusal(name, outcome.code), code=f"seller {outcome.code}")
        raise self._failed(name, str(outcome))

    def _patience_seconds(self, node_id: NodeId) -> int:
        with self._node.core.locked():
            peers = self._node.peer_manager.list_peers()
        sells = any(peer.node_id == node_id and peer.features.supports(Feature.LSPS) for peer in peers)
        return ASK_TIMEOUT_SECONDS if sells else QUIET_TIMEOUT_SECONDS

    def _failed(self, name: str, why: str) -> CommandError:
        self._node.log(LogLevel.INFO, "%s did not answer as a seller: %s", name, why)
        return CommandError(
            _("{name} hung up, or gave no answer that can be read. Try again later.").format(name=name),
            code="seller",
        )

    def unusable(self, name: str, why: object) -> CommandError:
        """What a person is told of an answer that cannot be used."""
        self._node.log(LogLevel.WARN, "%s gave an answer that cannot be used: %s", name, why)
        return CommandError(
            _("{name} answered with what cannot be right ({why}). Nothing was paid.").format(
                name=name, why=peer_text(str(why))
            ),
            code="seller",
        )

    # --- what happens meanwhile ---------------------------------------------------------

    def expects(self, request: OpenChannelRequest) -> bool | None:
        """Whether a channel that a peer offers is one that was bought: True; False where it is less than what that
        peer was paid for; None where nothing is awaited from it. Within an entry."""
        waiting = self._waiting(request)
        if not waiting:
            return None
        return any(
            _is_as_ordered(
                record.order.params, request.funding_sat, request.push_msat, public=request.is_announced
            )
            for record in waiting
        )

    def _waiting(self, request: OpenChannelRequest) -> list[OrderRecord]:
        """Those that await a channel of the peer that offers one."""
        # One that is still being talked about is an order's too.
        with_channel = self._assigned(besides=request.temporary_channel_id)
        return [
            record
            for record in self.awaited()
            if record.node_id == request.counterparty_node_id and record.local_id not in with_channel
        ]

    def refuse(self, request: OpenChannelRequest) -> str:
        """Notes that a seller offered another channel than was paid for; what it is told. Within an entry."""
        name, told = self._node.alias_of(request.counterparty_node_id), ""
        for record in self._waiting(request):
            params = record.order.params
            if request.is_announced == params.announce_channel:
                told = "It is less than what was ordered."
                sentence = _(
                    "{name} offered a channel of {offered}, {ours} of it yours, instead of the {capacity}, {agreed} of "
                    "it yours, that you paid for. Leyden refused it. Ask its owner for the right one or your money."
                ).format(
                    name=name,
                    offered=sat_text(request.funding_sat),
                    ours=sat_text(request.push_msat // 1000),
                    capacity=sat_text(params.capacity_sat),
                    agreed=sat_text(params.client_balance_sat),
                )
            elif request.is_announced:
                told = told or "It is public, and a private one was ordered."
                sentence = _(
                    "{name} offered a public channel, and you paid for a private one. Leyden refused it. Ask its owner "
                    "for the right one or your money."
                ).format(name=name)
            else:
                told = told or "It is private, and a public one was ordered."
                sentence = _(
                    "{name} offered a private channel, and you paid for a public one. Leyden refused it. Ask its owner "
                    "for the right one or your money."
                ).format(name=name)
            self.edit(record.local_id, refusal=sentence, problem=sentence)
        return told

    def _look_after(self, key: bytes) -> None:
        """What can be seen here, and a question to the seller where one is due: that keeps no other order waiting."""
        with self._node.core.entry():
            record = self.records[key]
            if record.step is not OrderStep.PAYING:
                return
            found = self._assigned().get(key)
            if found is not None and _is_certain(found):
                self.edit(key, step=OrderStep.ARRIVED, channel_id=bytes(found.channel_id), problem="")
            elif found is None:
                # Until its funding is confirmed, a channel may come to nothing.
                self._look_for_money(self.edit(key, channel_id=None))
            elif record.channel_id != found.channel_id:
                self.edit(key, channel_id=bytes(found.channel_id), problem="")
        question = self._questions.get(key)
        under_way = question is not None and not question.done()
        if self.records[key].step is OrderStep.PAYING and not under_way and self._is_due(record):
            self._questions[key] = self._node.loop.create_task(self._inquire(key))

    async def _inquire(self, key: bytes) -> None:
        try:
            told = await self.told(self.records[key])
        except CommandError as error:
            self._node.log(LogLevel.INFO, "the seller of an order said nothing: %s", error.message)
            return
        if told is not None:
            with self._node.core.entry():
                self._take(self.records[key], told)

    def _is_due(self, record: OrderRecord) -> bool:
        """Whether to ask the seller: at once when something happened here, else now and then."""
        node = self._node
        if record.local_id in self.paying:
            return False
        if NodeId(record.node_id) not in node.peers.online:
            self._asked.pop(record.local_id, None)
            return False
        with node.core.locked():
            payment = node.ledger.payments.get(record.payment_hash)
            entry = None if record.paid_txid is None else node.onchain.entry(Txid(record.paid_txid))
        seen = (record.step, payment and payment.state, entry and entry.height, node.best_height)
        now = node.loop.time()
        before = self._asked.get(record.local_id)
        if before is not None and before[0] == seen and now - before[1] < POLL_SECONDS:
            return False
        self._asked[record.local_id] = (seen, now)
        return True

    async def told(self, record: OrderRecord) -> lsps1.Order | None:
        """What the seller says of an order now; None where it says nothing that counts."""
        name = self._node.alias_of(record.node_id)
        params = {"order_id": record.order.order_id}
        try:
            result = await self.ask(NodeId(record.node_id), "lsps1.get_order", params)
            return lsps1.check_same_terms(lsps1.order_from(result), record.order)
        except CommandError as error:
            if error.code != f"seller {lsps1.NOT_FOUND}":
                raise
            problem = _("{name} says that it does not know this order. Ask its owner about your payment.")
        except (DecodeError, lsps1.OrderMismatch) as error:
            self._node.log(LogLevel.WARN, "%s now says of an order what cannot be: %s", name, error)
            problem = _(
                "{name} now says something else than what was agreed. Ask its owner about your payment."
            )
        if record.step is not OrderStep.OFFERED:
            # Of an offer there is no payment to ask about.
            with self._node.core.entry():
                self.edit(record.local_id, problem=problem.format(name=name))
        return None

    def _take(self, record: OrderRecord, told: lsps1.Order) -> None:
        """Judges an order that is paid, or whose payment has come back; within an entry."""
        if record.step is not OrderStep.PAYING or record.local_id in self.paying:
            return
        record = self.edit(record.local_id, order=told)
        found = self._assigned().get(record.local_id)
        if found is not None:
            self.edit(record.local_id, channel_id=bytes(found.channel_id), problem="")
            return
        name, amount = self._node.alias_of(record.node_id), sat_text(record.total_sat)
        problem = record.refusal
        if told.channel is not None:
            outpoint = told.channel.funding_outpoint
            point = f"{txid_hex(outpoint.txid)[:16]}…:{outpoint.vout}"
            problem = _(
                "{name} says that it opened the channel ({point}), but no channel of {amount} came. Ask its owner."
            ).format(name=name, point=point, amount=sat_text(record.order.params.capacity_sat))
        if told.state is lsps1.OrderState.FAILED:
            if record.pay_by is PayBy.ONCHAIN:
                problem = _(
                    "{name} could not open the channel. It has to send your {amount} back on chain, less the fee for "
                    "that."
                ).format(name=name, amount=amount)
            elif self.payment_state(record) is PaymentState.SUCCEEDED:
                problem = _(
                    "{name} took your {amount}, and says that it could not open the channel. Ask its owner for your "
                    "money."
                ).format(name=name, amount=amount)
        self._look_for_money(self.edit(record.local_id, problem=problem))

    def payment_state(self, record: OrderRecord) -> PaymentState | None:
        """Of a payment over Lightning, by our own books; None where none left."""
        payment = self._node.ledger.payments.get(record.payment_hash)
        return None if payment is None else payment.state

    def _look_for_money(self, record: OrderRecord) -> None:
        """Ends an order without a channel whose money is back, whatever the seller says; within an entry."""
        if record.step is not OrderStep.PAYING or record.local_id in self.paying:
            return
        name = self._node.alias_of(record.node_id)
        if record.pay_by is PayBy.LIGHTNING:
            if self.payment_state(record) in (PaymentState.SUCCEEDED, PaymentState.PENDING):
                return
            if record.order.state is lsps1.OrderState.FAILED:
                self.refunded(record)
                return
            sentence = _(
                "Your payment of {amount} to {name} came back: nothing was paid, and no channel comes of it. Ask for "
                "a new price."
            ).format(name=name, amount=sat_text(record.total_sat))
            self.edit(record.local_id, step=OrderStep.REFUNDED, problem=sentence)
            return
        back_sat = self._came_back_sat(record)
        if not back_sat:
            return
        if back_sat >= self._refund_due_sat(record):
            self.refunded(record)
        else:
            sentence = _(
                "Only {amount} of the {total} that you paid came back from {name}. Ask its owner for the rest."
            ).format(amount=sat_text(back_sat), total=sat_text(record.total_sat), name=name)
            self.edit(record.local_id, problem=sentence)

    def refunded(self, record: OrderRecord) -> None:
        """Ends an order whose money is back; within an entry."""
        sentence = _(
            "{name} could not open the channel, and your {amount} came back. Nothing is left to do; buy elsewhere."
        ).format(name=self._node.alias_of(record.node_id), amount=sat_text(record.total_sat))
        self.edit(record.local_id, step=OrderStep.REFUNDED, problem=sentence)

    def _refund_due_sat(self, record: OrderRecord) -> int:
        """The least that counts as the money back."""
        total_sat = record.total_sat
        rate = self._node.fee_sat_per_kw(ConfirmationTarget.URGENT_ON_CHAIN_SWEEP)
        fee_sat = total_sat // REFUND_SHARE + rate * REFUND_SPEND_WEIGHT // 1000
        # However dear blocks are: of less than half nobody would say that it came back.
        return total_sat - min(fee_sat, total_sat // 2)

    def _came_back_sat(self, record: OrderRecord) -> int:
        """What blocks hold for the order's own refund address, from others, since it was paid; within an entry."""
        version = self._node.onchain.version
        known = self._came_back.get(record.local_id)
        if known is not None and known[0] == version:
            return known[1]
        back_sat = sum(
            value_sat
            for entry, value_sat in self._at_refund_address(record)
            if entry.height is not None and not entry.is_own and bytes(entry.txid) not in record.coins_before
        )
        self._came_back[record.local_id] = version, back_sat
        return back_sat

    def _at_refund_address(self, record: OrderRecord) -> list[tuple[OnchainEntry, int]]:
        address = record.order.params.refund_onchain_address
        if not address:
            return []
        script = address_to_script(address, self._node.options.network)
        return [
            (entry, out.value_sat)
            for entry in self._node.onchain.history()
            for out in entry.tx.outputs
            if out.script_pubkey == script
        ]

    def coins_at_refund_address(self, record: OrderRecord) -> frozenset[bytes]:
        """Transactions that pay to it already; within an entry."""
        return frozenset(bytes(entry.txid) for entry, _value_sat in self._at_refund_address(record))

    def _assigned(self, besides: bytes | None = None) -> dict[bytes, ChannelDetails]:
        """Of the orders that are awaited, those whose channel is there; with `besides`, also those of which one is
        being negotiated that is not this one. Within an entry."""
        ended = {record.channel_id for record in self.records.values() if record.step is not OrderStep.PAYING}
        channels = [
            item
            for item in self._node.manager.list_channels()
            if not item.is_outbound
            and (item.funding_outpoint is not None or besides is not None)
            and item.channel_id not in ended
            and item.channel_id != besides
        ]
        return assigned(self.awaited(), channels)

    def forget_old(self, now_at: int) -> None:
        """Offers that nobody took; within an entry."""
        for key, record in list(self.records.items()):
            old = record.expires_at + FORGOTTEN_AFTER_SECONDS < now_at
            if record.step is OrderStep.OFFERED and old and key not in self.paying:
                del self.records[key]
                self._node.core.write((Row(ORDER_SPACE, key, None),))


def assigned(
    orders: Sequence[OrderRecord], channels: Sequence[ChannelDetails]
) -> dict[bytes, ChannelDetails]:
    """Which order each channel is: the one of which the seller told it, else the largest one that it satisfies."""
    found: dict[bytes, ChannelDetails] = {}
    free = sorted(channels, key=lambda item: (-item.channel_value_sat, item.channel_id))
    for record in orders:
        told = record.order.channel
        if told is not None:
            for item in free:
                if item.funding_outpoint == told.funding_outpoint and _satisfies(item, record):
                    found[record.local_id] = item
                    free.remove(item)
                    break
    # An order of which the seller told another channel comes last.
    waiting = sorted(
        (record for record in orders if record.local_id not in found),
        key=lambda record: (
            record.order.channel is not None,
            -record.order.params.capacity_sat,
            record.created_at,
            record.local_id,
        ),
    )
    for item in free:
        fitting = (record for record in waiting if record.local_id not in found and _satisfies(item, record))
        first = next(fitting, None)
        if first is not None:
            found[first.local_id] = item
    return found


def _satisfies(item: ChannelDetails, record: OrderRecord) -> bool:
    """Whether a channel may be the one that was bought."""
    if item.counterparty_node_id != record.node_id or item.channel_id in record.channels_before:
        return False
    # One that was taken for it before may have been used since.
    return item.channel_id == record.channel_id or _is_as_ordered(
        record.order.params, item.channel_value_sat, item.balance_msat, public=item.is_announced
    )


def _is_certain(item: ChannelDetails) -> bool:
    """Whether a channel can no more come to nothing."""
    return item.is_channel_ready or bool(item.confirmations)


def _is_as_ordered(params: lsps1.OrderParams, capacity_sat: int, ours_msat: int, *, public: bool) -> bool:
    """Whether a channel is at least what was ordered, and as public. bLIP 51, channel open."""
    enough = capacity_sat >= params.capacity_sat and ours_msat >= params.client_balance_sat * 1000
    return enough and public == params.announce_channel


def _refusal(name: str, code: int) -> str:
    """A seller's error code in words."""
    if code == lsps0.METHOD_NOT_FOUND:
        return _("{name} does not sell channels.").format(name=name)
    if code == lsps0.CLIENT_REJECTED:
        return _("{name} sells no channel to you now. Try again later, or another seller.").format(name=name)
    if code == lsps1.OPTION_MISMATCH:
        return _("{name} does not sell such a channel: ask for its terms again.").format(name=name)
    if code == lsps1.STALE_TOKEN:
        return _("{name} does not know this code, or it has run out.").format(name=name)
    if code == lsps1.NOT_FOUND:
        return _("{name} does not know this order.").format(name=name)
    if code == lsps0.INVALID_PARAMS:
        return _("{name} did not understand the order. Nothing was paid.").format(name=name)
    return _("{name} could not answer (error {code}). Try again later.").format(name=name, code=code)
