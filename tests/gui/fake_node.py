"""A wallet in memory that behaves: it makes addresses and invoices, opens channels, pays, mines, and tells
of it.

It works on a thread of its own, as the real node does, so that everything that reaches the window has
crossed a thread. A script can hold a command (`hold("lnpay")`, then `release`) to look at what is shown
meanwhile, and can make one fail (`fail("lnpay", "sentence")`). Amounts add up to the satoshi.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from tests.gui.fake_channels import FakeChannels
from tests.gui.fake_history import FakeHistory
from tests.gui.fake_map import FakeMap
from tests.gui.fake_orders import FakeOrders, price_sat
from tests.gui.fake_recovery import FakeRecovery
from tests.gui.fake_send import FAKE_PSBT, FakeSend
from tests.gui.fake_settings import FakeSettings
from wallet.node.api import (
    ActivityItem,
    ActivityKind,
    ActivityStatus,
    AttemptView,
    BalanceView,
    ChangeSet,
    ChannelPhase,
    ChannelView,
    CommandError,
    Json,
    LockedCoin,
    NodeStatus,
    PeerView,
    Problem,
    ProblemKind,
    RequestStatus,
    RequestView,
    ReservedPart,
    ReserveReason,
    SandboxControl,
    ServerView,
    WalletSnapshot,
)

HUB = "02" + "ab12cd34" * 8
SHOP = "03" + "5e0f77aa" * 8
HUB_URI = f"{HUB}@127.0.0.1:9735"
FUNDING_FEE_SAT = 1_532
CLOSING_FEE_SAT = 1_090
RESERVE_PARTS = 100
LEAST_PLANNED_SAT = 100_000
ANCHORS_SAT = 10_000
COMMIT_FEE_SAT = 1_452


def digest(*parts: object) -> str:
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()


class FakeSandbox:
    """The practice network's controls."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node

    def mine(self, blocks: int = 1) -> Future[int]:
        return self._node.submit(self._node.mine, blocks)

    def give_coins(self, amount_sat: int) -> Future[str]:
        return self._node.submit(self._node.give_coins, amount_sat)

    def hub_uri(self) -> str:
        return HUB_URI

    def channel_price_sat(self, capacity_sat: int) -> int:
        return price_sat(capacity_sat)

    def buy_channel(self, capacity_sat: int) -> Future[str]:
        return self._node.submit(self._node.buy_of_hub, HUB_URI, capacity_sat)

    def shop_invoice(self, amount_msat: int, description: str) -> Future[str]:
        return self._node.submit(self._node.foreign_invoice, amount_msat, description)

    def shop_pay(self, invoice: str) -> Future[str]:
        return self._node.submit(self._node.be_paid, invoice)


class FakeNode(FakeHistory, FakeChannels, FakeOrders, FakeRecovery, FakeSettings, FakeSend, FakeMap):
    """See the module. Everything that changes state runs on the one worker thread."""

    def __init__(self, *, network: str = "sandbox", name: str = "Practice") -> None:
        FakeChannels.__init__(self)
        FakeHistory.__init__(self)
        FakeOrders.__init__(self)
        FakeRecovery.__init__(self)
        FakeSend.__init__(self)
        FakeSettings.__init__(self)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="fake-node")
        self._pay_pool = ThreadPoolExecutor(4, thread_name_prefix="fake-pay")
        self._listeners: list[Callable[[ChangeSet], None]] = []
        self._lock = threading.RLock()
        self._held: dict[str, threading.Event] = {}
        self._failures: dict[str, list[str]] = {}
        self.refusals: dict[str, str] = {}
        self._counter = itertools.count(1)
        self._sandbox = FakeSandbox(self) if network == "sandbox" else None
        self.calls: list[tuple[str, dict[str, Json]]] = []
        self.attempts: dict[str, tuple[AttemptView, ...]] = {}
        self.network = network
        self.confirmed_sat = 0
        self.unconfirmed_sat = 0
        self.locked: tuple[LockedCoin, ...] = ()
        # Of the confirmed coins, by why.
        self.set_aside: dict[ReserveReason, int] = {}
        self.channels: dict[str, ChannelView] = {}
        self.peers: dict[str, PeerView] = {}
        self.requests: dict[str, RequestView] = {}
        self.invoices: dict[str, dict[str, Any]] = {}
        self.paid: set[str] = set()
        self.channel_requests: list[dict[str, Json]] = []
        now_at = int(time.time())
        self.status = NodeStatus(
            network=network,
            wallet_name=name,
            node_id="02" + digest("node", name),
            synced=True,
            height=150 if network == "sandbox" else 912_345,
            tip_at=now_at - 240,
            servers=(
                ServerView(
                    address="127.0.0.1:50001:t", connected=True, height=150, protocol="1.6", problem=""
                ),
            ),
            peers_online=0,
            peers_total=0,
            graph_nodes=3,
            graph_channels=2,
            graph_updated_at=now_at - 240,
            backup_text="Words and channel backup are up to date",
            safe_until_height=None,
            problem="",
        )

    # --- the Protocol -------------------------------------------------------

    def call(self, command: str, /, **arguments: Json) -> Future[Json]:
        self.calls.append((command, dict(arguments)))
        handler = getattr(self, f"do_{command}", None)
        if handler is None:
            future: Future[Json] = Future()
            future.set_exception(CommandError(f"There is no command {command!r}.", code="unknown"))
            return future
        slow = command in {"lnpay", "keysend", "open_channel"} or command in self._held
        pool = self._pay_pool if slow else self._pool
        return pool.submit(self._guarded, command, handler, arguments)

    def _guarded(self, command: str, handler: Callable[..., Json], arguments: Mapping[str, Json]) -> Json:
        if refused := self.refusals.pop(command, ""):
            raise CommandError(refused)
        sentences = self._failures.get(command)
        held = self._held.get(command)
        if held is not None and command != "lnpay":
            held.wait(30)
        if sentences and command != "lnpay":
            raise CommandError(sentences.pop(0))
        return handler(**arguments)

    def snapshot(self) -> WalletSnapshot:
        with self._lock:
            channels = tuple(self.channels.values())
            total = len(self.peers)
            online = sum(peer.online for peer in self.peers.values())
            return WalletSnapshot(
                status=replace(
                    self.status, peers_total=total, peers_online=online, problems=self._problems()
                ),
                balance=self._balance(channels),
                channels=channels,
                peers=tuple(self.peers.values()),
                requests=tuple(self.requests.values()),
                recent=tuple(self.activity[:10]),
            )

    def payment_attempts(self, item_id: str) -> Sequence[AttemptView]:
        return self.attempts.get(item_id, ())

    def _problems(self) -> tuple[Problem, ...]:
        """Those that a scene names; else the one that its sentence is about."""
        status, recovery = self.status, self.status.recovery
        if status.problems or not status.problem:
            return status.problems
        if recovery.is_restored and status.problem == recovery.problem:
            kind = ProblemKind.RESTORED
        elif status.problem == recovery.backup_problem:
            kind = ProblemKind.BACKUP
        elif self.channel_requests:
            kind = ProblemKind.REQUESTS
        elif not any(server.connected for server in status.servers):
            kind = ProblemKind.SERVERS
        else:
            kind = ProblemKind.FILE
        return (Problem(kind=kind, text=status.problem),)

    def subscribe(self, listener: Callable[[ChangeSet], None]) -> Callable[[], None]:
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    def sandbox(self) -> SandboxControl | None:
        return self._sandbox

    # --- the script ---------------------------------------------------------

    def hold(self, command: str) -> None:
        self._held[command] = threading.Event()

    def release(self, command: str) -> None:
        self._held.pop(command).set()

    def fail(self, command: str, sentence: str) -> None:
        self._failures.setdefault(command, []).append(sentence)

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return self._pool.submit(work, *arguments)

    def stop(self) -> None:
        for event in list(self._held.values()):
            event.set()
        self._pay_pool.shutdown(wait=True)
        self.stop_searching()
        self._pool.shutdown(wait=True)

    def tell(
        self,
        *,
        channels: Sequence[str] = (),
        activity: Sequence[str] = (),
        requests: Sequence[str] = (),
        progress: Mapping[str, str] | None = None,
    ) -> None:
        changes = ChangeSet(
            snapshot=self.snapshot(),
            status=True,
            balance=True,
            channels=frozenset(channels),
            peers=True,
            activity=frozenset(activity),
            requests=frozenset(requests),
            payment_progress=dict(progress or {}),
        )
        for listener in list(self._listeners):
            listener(changes)

    def settle(self) -> None:
        """Waits until everything that was submitted is done."""
        self._pool.submit(lambda: None).result(30)

    def _balance(self, channels: Sequence[ChannelView]) -> BalanceView:
        live = [c for c in channels if c.phase in _LIVE]
        usable = [c for c in live if c.is_usable]
        set_aside_sat = sum(self.set_aside.values())
        free_sat = self.confirmed_sat - set_aside_sat
        anchor_sat = min(10_000 * len(live), free_sat)
        kept_msat: dict[ReserveReason, int] = {}
        for channel in live:
            for reason, amount_msat in _kept_msat(channel):
                kept_msat[reason] = kept_msat.get(reason, 0) + amount_msat
        kept_sat = {
            ReserveReason.ANCHOR_FEES: anchor_sat,
            **self.set_aside,
            **{reason: amount_msat // 1000 for reason, amount_msat in kept_msat.items()},
        }
        return BalanceView(
            onchain_confirmed_sat=self.confirmed_sat,
            onchain_unconfirmed_sat=self.unconfirmed_sat,
            onchain_spendable_sat=free_sat - anchor_sat,
            lightning_msat=sum(c.local_msat for c in live),
            can_send_msat=sum(c.can_send_msat for c in usable),
            can_receive_msat=sum(c.can_receive_msat for c in usable),
            reserved=tuple(
                ReservedPart(reason=reason, amount_sat=kept_sat[reason])
                for reason in ReserveReason
                if kept_sat.get(reason, 0)
            ),
            locked=self.locked,
        )

    # --- money ----------------------------------------------------------------

    def mine(self, blocks: int = 1) -> int:
        with self._lock:
            self.status = replace(self.status, height=self.status.height + blocks, tip_at=int(time.time()))
            self.confirmed_sat += self.unconfirmed_sat
            self.unconfirmed_sat = 0
            changed = []
            for channel in list(self.channels.values()):
                moved = self._after_blocks(channel, blocks)
                if moved is not channel:
                    self.channels[channel.channel_id] = moved
                    changed.append(channel.channel_id)
            items = []
            for place, item in enumerate(self.activity):
                if item.kind is ActivityKind.ONCHAIN and item.height is None:
                    self.activity[place] = replace(
                        item,
                        height=self.status.height,
                        status=ActivityStatus.DONE,
                        status_text=f"Confirmed in block {self.status.height}",
                    )
                    items.append(item.item_id)
        self.tell(channels=changed, activity=items)
        if self.planned_peer and self.confirmed_sat > LEAST_PLANNED_SAT:
            peer = self.planned_peer
            self.do_plan_channel()
            self.do_open_channel(peer, self.confirmed_sat - FUNDING_FEE_SAT - ANCHORS_SAT)
        return self.status.height

    def _after_blocks(self, channel: ChannelView, blocks: int) -> ChannelView:
        if channel.phase is ChannelPhase.AWAITING_CONFIRMATIONS:
            count = min(channel.confirmations + blocks, channel.confirmations_required)
            if count < channel.confirmations_required:
                text = f"{count} of {channel.confirmations_required} confirmations"
                return replace(channel, confirmations=count, phase_text=text)
            reserve_sat = channel.capacity_sat // RESERVE_PARTS
            kept_msat = (reserve_sat + COMMIT_FEE_SAT) * 1000
            return replace(
                channel,
                confirmations=count,
                phase=ChannelPhase.READY,
                phase_text="Ready",
                is_usable=True,
                short_channel_id=f"{self.status.height}x1x0",
                can_send_msat=max(0, channel.local_msat - kept_msat),
                can_receive_msat=max(0, channel.remote_msat - reserve_sat * 1000),
            )
        if channel.phase is ChannelPhase.CLOSING:
            return replace(channel, phase=ChannelPhase.CLOSED, phase_text="Closed", confirmations=blocks)
        if channel.channel_id in self.forced:
            return self.after_forced(channel)
        return channel

    def give_coins(self, amount_sat: int) -> str:
        txid = digest("coins", next(self._counter))
        with self._lock:
            self.unconfirmed_sat += amount_sat
            self._add(
                ActivityItem(
                    item_id=f"tx:{txid}",
                    kind=ActivityKind.ONCHAIN,
                    amount_msat=amount_sat * 1000,
                    fee_msat=0,
                    at=int(time.time()),
                    status=ActivityStatus.PENDING,
                    status_text="Waiting for the first confirmation",
                    label="",
                    txid=txid,
                )
            )
        self.tell(activity=[f"tx:{txid}"])
        return txid

    def _add(self, item: ActivityItem) -> None:
        self.activity.insert(0, item)

    def _replace_item(self, item: ActivityItem) -> None:
        self.activity = [item if old.item_id == item.item_id else old for old in self.activity]

    def foreign_invoice(
        self,
        amount_msat: int | None,
        description: str,
        *,
        payee: str = SHOP,
        alias: str = "The shop",
        **more: Any,
    ) -> str:
        number = next(self._counter)
        payment_hash = digest("hash", number)
        text = f"lnbcrt{number}u1p{digest('invoice', number) * 3}"
        self.invoices[text] = {
            "amount_msat": amount_msat,
            "description": description,
            "payee": payee,
            "payee_alias": alias,
            "payment_hash": payment_hash,
            "expires_at": int(time.time()) + 3600,
            "expired": False,
            "own": False,
            "already_paid": False,
            "can_pay": True,
            "why_not": "",
            "max_fee_msat": max(10_000, (amount_msat or 0) // 100),
            **more,
        }
        return text

    def be_paid(self, invoice: str) -> str:
        with self._lock:
            request = next((r for r in self.requests.values() if r.invoice == invoice), None)
            if request is None or request.payment_hash is None:
                raise CommandError("Nobody knows this invoice.")
            amount_msat = request.amount_msat or 10_000_000
            channel = max(
                (c for c in self.channels.values() if c.is_usable),
                key=lambda c: c.can_receive_msat,
                default=None,
            )
            if channel is None or channel.can_receive_msat < amount_msat:
                raise CommandError("The payer found no route with enough room.")
            self.channels[channel.channel_id] = self._shifted(channel, amount_msat)
            self.requests[request.request_id] = replace(request, status=RequestStatus.PAID)
            item_id = f"ln:{request.payment_hash}"
            preimage = digest("preimage", request.payment_hash)
            self._add(
                ActivityItem(
                    item_id=item_id,
                    kind=ActivityKind.LIGHTNING,
                    amount_msat=amount_msat,
                    fee_msat=0,
                    at=int(time.time()),
                    status=ActivityStatus.DONE,
                    status_text="Received",
                    label=request.message,
                    payment_hash=request.payment_hash,
                    preimage=preimage,
                    invoice=invoice,
                )
            )
        self.tell(channels=[channel.channel_id], activity=[item_id], requests=[request.request_id])
        return preimage

    @staticmethod
    def _shifted(channel: ChannelView, amount_msat: int) -> ChannelView:
        reserve_msat = channel.holder_reserve_sat * 1000
        local_msat = channel.local_msat + amount_msat
        remote_msat = channel.remote_msat - amount_msat
        return replace(
            channel,
            local_msat=local_msat,
            remote_msat=remote_msat,
            can_send_msat=max(0, local_msat - reserve_msat - COMMIT_FEE_SAT * 1000),
            can_receive_msat=max(0, remote_msat - channel.counterparty_reserve_sat * 1000),
        )

    # --- commands -------------------------------------------------------------

    def do_getunusedaddress(self) -> Json:
        return "bcrt1q" + digest("address", len(self.requests))[:38]

    def do_add_request(
        self,
        amount_msat: int | None = None,
        message: str = "",
        expiry_seconds: int = 86_400,
        lightning: bool = False,
        both: bool = False,
    ) -> Json:
        lightning = lightning or both
        with self._lock:
            number = next(self._counter)
            can_receive_msat = self.snapshot().balance.can_receive_msat
            if lightning and can_receive_msat <= 0:
                raise CommandError("No channel can receive now. Use the address instead.")
            if lightning and amount_msat is not None and amount_msat > can_receive_msat:
                raise CommandError("This is more than your channels can receive now.")
            now_at = int(time.time())
            request = RequestView(
                request_id=digest("request", number)[:16],
                amount_msat=amount_msat,
                message=message,
                created_at=now_at,
                expires_at=now_at + expiry_seconds,
                status=RequestStatus.UNPAID,
                invoice=f"lnbcrt{(amount_msat or 0) // 100_000}u1p{digest('own', number) * 4}"
                if lightning
                else None,
                address=None if lightning and not both else "bcrt1q" + digest("address", number)[:38],
                payment_hash=digest("own-hash", number) if lightning else None,
            )
            self.requests[request.request_id] = request
        self.tell(requests=[request.request_id])
        return {
            "request_id": request.request_id,
            "lightning_invoice": request.invoice,
            "address": request.address,
            "amount_msat": amount_msat,
            "message": message,
            "timestamp": now_at,
            "expiry": expiry_seconds,
            "payment_hash": request.payment_hash,
        }

    def do_lnpay(self, invoice: str, amount_msat: int | None = None, max_fee_msat: int | None = None) -> Json:
        details = self.invoices.get(invoice)
        if details is None:
            raise CommandError("This is not an invoice.")
        payment_hash = details["payment_hash"]
        wanted_msat = details["amount_msat"] or amount_msat
        if wanted_msat is None:
            raise CommandError("Say how much to pay: the invoice names no amount.")
        if payment_hash in self.paid:
            raise CommandError("You have paid this invoice already.")
        item_id = f"ln:{payment_hash}"
        with self._lock:
            pending = ActivityItem(
                item_id=item_id,
                kind=ActivityKind.LIGHTNING,
                amount_msat=-wanted_msat,
                fee_msat=0,
                at=int(time.time()),
                status=ActivityStatus.PENDING,
                status_text="Under way",
                label=details["description"],
                counterparty=details["payee_alias"],
                payment_hash=payment_hash,
                invoice=invoice,
            )
            self._add(pending)
        self.tell(activity=[item_id], progress={item_id: "Looking for a route"})
        self.tell(progress={item_id: "Trying a route of 2 hops"})
        held = self._held.get("lnpay")
        if held is not None:
            held.wait(30)
        sentences = self._failures.get("lnpay")
        with self._lock:
            channel = max(
                (c for c in self.channels.values() if c.is_usable),
                key=lambda c: c.can_send_msat,
                default=None,
            )
            fee_msat = 1_000 + wanted_msat // 10_000
            reason = sentences.pop(0) if sentences else ""
            if not reason and (channel is None or channel.can_send_msat < wanted_msat + fee_msat):
                reason = "Your channels can not carry this amount now."
            if reason or channel is None:
                self._replace_item(
                    replace(
                        pending,
                        status=ActivityStatus.FAILED,
                        status_text=reason,
                        attempts=(f"Route 1, 2 hops: {reason}",),
                    )
                )
                result: Json = {"payment_hash": payment_hash, "success": False, "reason": reason}
                changed: list[str] = []
            else:
                self.channels[channel.channel_id] = self._shifted(channel, -wanted_msat - fee_msat)
                self.paid.add(payment_hash)
                preimage = digest("preimage", payment_hash)
                self._replace_item(
                    replace(
                        pending,
                        status=ActivityStatus.DONE,
                        status_text="Paid",
                        fee_msat=fee_msat,
                        preimage=preimage,
                    )
                )
                result = {
                    "payment_hash": payment_hash,
                    "success": True,
                    "preimage": preimage,
                    "fee_msat": fee_msat,
                }
                changed = [channel.channel_id]
        self.tell(channels=changed, activity=[item_id])
        return result

    def do_quote_onchain(
        self,
        destination: str,
        amount_sat: int | str,
        feerate_sat_per_vb: int | None = None,
        target_blocks: int | None = None,
        feerate: str | None = None,
        coins: str = "",
    ) -> Json:
        rate = (
            feerate_sat_per_vb
            or (int(feerate.partition(".")[0]) if feerate else 0)
            or {1: 12, 6: 6, 144: 2}.get(target_blocks or 6, 6)
        )
        fee_sat = 141 * rate
        spendable_sat = self.snapshot().balance.onchain_spendable_sat
        wanted_sat = spendable_sat - fee_sat if isinstance(amount_sat, str) else amount_sat
        if wanted_sat <= 0 or wanted_sat + fee_sat > spendable_sat:
            raise CommandError(
                f"You can spend {spendable_sat} sat on chain, and the fee would be {fee_sat} sat."
            )
        return {
            "fee_sat": fee_sat,
            "amount_sat": wanted_sat,
            "feerate_sat_per_vb": rate,
            "feerate_text": feerate or str(rate),
            "total_sat": wanted_sat + fee_sat,
            "warning": "It may not confirm within two weeks." if rate < 2 else "",
        }

    def do_payto(
        self,
        destination: str,
        amount_sat: int | str,
        feerate_sat_per_vb: int | None = None,
        target_blocks: int | None = None,
        label: str = "",
        feerate: str | None = None,
        coins: str = "",
        psbt: bool = False,
    ) -> Json:
        quote = self.do_quote_onchain(
            destination, amount_sat, feerate_sat_per_vb, target_blocks, feerate, coins
        )
        assert isinstance(quote, dict)
        if psbt:
            return FAKE_PSBT
        txid = digest("payto", next(self._counter))
        with self._lock:
            self.confirmed_sat -= quote["total_sat"]
            self._add(
                ActivityItem(
                    item_id=f"tx:{txid}",
                    kind=ActivityKind.ONCHAIN,
                    amount_msat=-quote["amount_sat"] * 1000,
                    fee_msat=quote["fee_sat"] * 1000,
                    at=int(time.time()),
                    status=ActivityStatus.PENDING,
                    status_text="Waiting for the first confirmation",
                    label=label,
                    txid=txid,
                )
            )
        self.tell(activity=[f"tx:{txid}"])
        return {"txid": txid, "fee_sat": quote["fee_sat"]}

    def do_quote_bump(self, txid: str) -> Json:
        return {"replaces": True, "fee_sat": 2_064, "costs_sat": 1_218, "feerate": "14.5"}

    def do_bump_fee(self, txid: str, feerate: str) -> Json:
        return {"txid": digest("bumped", txid)}

    def do_quote_open_channel(
        self, peer: str, amount_sat: int | str, target_blocks: int | None = None
    ) -> Json:
        if "@" not in peer or len(peer.split("@", 1)[0]) != 66:
            raise CommandError("This is not a node. It looks like 02ab...@host:port.")
        spendable_sat = max(0, self.confirmed_sat - 10_000)
        wanted_sat = spendable_sat - FUNDING_FEE_SAT if isinstance(amount_sat, str) else amount_sat
        if wanted_sat < 20_000:
            raise CommandError("A channel needs at least 20 000 sat: below, fees would eat it.")
        if wanted_sat + FUNDING_FEE_SAT > spendable_sat:
            raise CommandError(
                "Your coins do not reach for this amount, the fee and the reserve for closing."
            )
        reserve_sat = wanted_sat // RESERVE_PARTS
        return {
            "amount_sat": wanted_sat,
            "funding_fee_sat": FUNDING_FEE_SAT,
            "closing_fee_sat_estimate": CLOSING_FEE_SAT,
            "forced_fee_sat_estimate": CLOSING_FEE_SAT * 4,
            "can_send_sat": wanted_sat - reserve_sat - COMMIT_FEE_SAT,
            "can_receive_sat": 0,
            "reserve_sat": reserve_sat,
            "anchor_reserve_sat": 10_000,
            "peer_minimum_sat": 20_000,
            "warning": ""
            if wanted_sat >= 100_000
            else "A channel this small may cost more to close than it carries.",
        }

    def do_open_channel(self, peer: str, amount_sat: int, push_sat: int = 0, public: bool = False) -> Json:
        quote = self.do_quote_open_channel(peer, amount_sat)
        assert isinstance(quote, dict)
        node_id = peer.split("@", 1)[0]
        number = next(self._counter)
        channel = make_channel(
            number,
            node_id=node_id,
            alias="Sandbox hub" if node_id == HUB else "",
            capacity_sat=amount_sat,
            local_msat=(amount_sat - push_sat) * 1000,
            phase=ChannelPhase.AWAITING_CONFIRMATIONS,
            height=self.status.height,
        )
        with self._lock:
            self.confirmed_sat -= amount_sat + FUNDING_FEE_SAT
            self.channels[channel.channel_id] = channel
            self.peers[node_id] = PeerView(
                node_id=node_id,
                alias=channel.peer_alias,
                address=peer.split("@", 1)[1],
                online=True,
                last_seen_at=int(time.time()),
                channels=1,
            )
            item_id = f"tx:{channel.funding_txid}"
            self._add(
                ActivityItem(
                    item_id=item_id,
                    kind=ActivityKind.ONCHAIN,
                    amount_msat=0,
                    moved_msat=amount_sat * 1000,
                    channel_id=channel.channel_id,
                    fee_msat=FUNDING_FEE_SAT * 1000,
                    at=int(time.time()),
                    status=ActivityStatus.PENDING,
                    status_text="Waiting for the first confirmation",
                    label=f"Opened a channel to {channel.peer_alias or 'a node'}",
                    txid=channel.funding_txid,
                )
            )
        self.tell(channels=[channel.channel_id], activity=[item_id])
        return {"channel_id": channel.channel_id, "funding_txid": channel.funding_txid}

    def do_add_peer(self, connection_string: str) -> Json:
        if connection_string.split("@", 1)[0] in self.unreachable:
            raise CommandError("This node cannot be reached. Check the address and your connection.")
        return True

    def do_quote_close(self, channel_id: str, force: bool) -> Json:
        channel = self.channels[channel_id]
        blocks = channel.to_self_delay_blocks if force else 1
        parts: dict[str, Json] = {}
        fee_sat = CLOSING_FEE_SAT
        if force:
            htlcs_sat = 900 if channel.inflight_out_msat else 0
            parts = {
                "commitment_sat": CLOSING_FEE_SAT * 2,
                "bump_sat": CLOSING_FEE_SAT,
                "htlcs_sat": htlcs_sat,
                "sweep_sat": CLOSING_FEE_SAT,
                "from_coins_sat": CLOSING_FEE_SAT + htlcs_sat,
            }
            fee_sat = CLOSING_FEE_SAT * 4 + htlcs_sat
        return {
            **parts,
            "fee_sat": fee_sat,
            "amount_sat": channel.local_msat // 1000 - fee_sat,
            "available_height": self.status.height + blocks,
            "available_blocks": blocks,
            "explanation": (
                "The channel closes without the peer. The rules of Lightning hold your coins back for a while, so "
                "that the other side could object to an old state."
                if force
                else "Both sides sign a last transaction, and your coins come back to your wallet."
            ),
        }

    def do_close_channel(self, channel_id: str, force: bool = False) -> Json:
        channel = self.channels[channel_id]
        txid = digest("close", channel_id)
        fee_sat = CLOSING_FEE_SAT
        back_sat = channel.local_msat // 1000 - fee_sat
        with self._lock:
            locked: tuple[LockedCoin, ...] = ()
            if force:
                locked = (
                    LockedCoin(
                        amount_sat=back_sat,
                        reason="Held back by the force-close of a channel",
                        until_height=self.status.height + channel.to_self_delay_blocks,
                        channel_id=channel_id,
                    ),
                )
                self.locked += locked
                self.forced[channel_id] = (self.status.height, locked[0])
            else:
                self.unconfirmed_sat += back_sat
            self.channels[channel_id] = replace(
                channel,
                phase=ChannelPhase.FORCE_CLOSING if force else ChannelPhase.CLOSING,
                phase_text="Waiting for the closing transaction to confirm",
                is_usable=False,
                closing_txid=txid,
                local_msat=0,
                remote_msat=0,
                can_send_msat=0,
                can_receive_msat=0,
                closure_text="You closed this channel.",
                locked=locked,
            )
            self._add(
                ActivityItem(
                    item_id=f"tx:{txid}",
                    kind=ActivityKind.ONCHAIN,
                    amount_msat=0,
                    moved_msat=0 if force else back_sat * 1000,
                    channel_id=channel_id,
                    fee_msat=fee_sat * 1000,
                    at=int(time.time()),
                    status=ActivityStatus.PENDING,
                    status_text="Waiting for the first confirmation",
                    label=f"Closed the channel to {channel.peer_alias or 'a node'}",
                    txid=txid,
                )
            )
        self.tell(channels=[channel_id], activity=[f"tx:{txid}"])
        return {"channel_id": channel_id, "txid": None}

    def do_list_channel_requests(self) -> Json:
        return list(self.channel_requests)

    def do_accept_channel_request(self, temporary_channel_id: str, accept: bool = True) -> Json:
        self.channel_requests = [
            request
            for request in self.channel_requests
            if request["temporary_channel_id"] != temporary_channel_id
        ]
        self.status = replace(self.status, problem="")
        self.tell()
        return True

    def ask_for_channel(self, amount_sat: int) -> None:
        self.channel_requests.append(
            {
                "temporary_channel_id": digest("temporary", amount_sat),
                "peer": SHOP,
                "amount_sat": amount_sat,
                "risk": "You have no coins to pay for closing this channel yourself.",
            }
        )
        self.status = replace(self.status, problem="A peer wants to open a channel: your word is needed")
        self.tell()

    def do_set_gossip_peers(self, on_or_off: str) -> Json:
        sync = replace(self.status.graph_sync, calls_public_nodes=on_or_off == "on")
        self.status = replace(self.status, graph_sync=sync)
        self.tell()
        return {"gossip_peers": on_or_off}

    def do_import_graph(self, file: str) -> Json:
        self.import_percent(None)
        return {
            "channels": 50_808,
            "new_channels": 41_234,
            "new_updates": 96_000,
            "seen_at": int(time.time()),
        }

    def import_percent(self, percent: int | None) -> None:
        """So much of a snapshot is taken over."""
        sync = replace(self.status.graph_sync, imported_percent=percent)
        self.status = replace(self.status, graph_sync=sync)
        self.tell()

    def do_balance_history(self, days: int = 0) -> Json:
        with self._lock:
            total_sat = self.snapshot().balance.total_sat
            known = sorted(self.activity, key=lambda item: item.at)
        now_at = int(time.time())
        since_at = now_at - days * 86_400 if days else 0
        shown = [item for item in known if item.at >= since_at and item.status is not ActivityStatus.FAILED]
        balance_msat = total_sat * 1000 - sum(item.amount_msat - item.fee_msat for item in shown)
        points: list[Json] = [[since_at, max(0, balance_msat) // 1000]] if days else []
        for item in shown:
            balance_msat += item.amount_msat - item.fee_msat
            points.append([item.at, max(0, balance_msat) // 1000])
        return {"points": points, "until": now_at, "total_sat": total_sat}

    def do_set_label(self, item_id: str, label: str) -> Json:
        with self._lock:
            self.activity = [
                replace(item, label=label) if item.item_id == item_id else item for item in self.activity
            ]
        self.tell(activity=[item_id])
        return None


_LIVE = frozenset(
    {
        ChannelPhase.NEGOTIATING,
        ChannelPhase.AWAITING_CONFIRMATIONS,
        ChannelPhase.AWAITING_PEER,
        ChannelPhase.READY,
        ChannelPhase.PEER_OFFLINE,
        ChannelPhase.SHUTTING_DOWN,
    }
)


def _kept_msat(channel: ChannelView) -> list[tuple[ReserveReason, int]]:
    """What cannot be sent of a channel's balance, and why."""
    if channel.phase is ChannelPhase.SHUTTING_DOWN:
        return [(ReserveReason.CLOSING_CHANNEL, channel.local_msat)]
    if channel.phase not in {ChannelPhase.READY, ChannelPhase.PEER_OFFLINE}:
        return [(ReserveReason.OPENING_CHANNEL, channel.local_msat)]
    reserve_msat = min(channel.local_msat, channel.holder_reserve_sat * 1000)
    fee_msat = min(channel.local_msat - reserve_msat, COMMIT_FEE_SAT * 1000)
    parts = [(ReserveReason.CHANNEL_RESERVE, reserve_msat), (ReserveReason.COMMITMENT_FEE, fee_msat)]
    if not channel.is_usable:
        parts.append((ReserveReason.PEER_AWAY, channel.local_msat - reserve_msat - fee_msat))
    return parts


def make_channel(
    number: int,
    *,
    node_id: str,
    alias: str,
    capacity_sat: int,
    local_msat: int,
    phase: ChannelPhase = ChannelPhase.READY,
    height: int = 912_000,
    inflight_msat: int = 0,
    online: bool = True,
) -> ChannelView:
    """A channel whose numbers agree with each other."""
    reserve_sat = capacity_sat // RESERVE_PARTS
    remote_msat = capacity_sat * 1000 - local_msat - inflight_msat
    usable = phase is ChannelPhase.READY
    ready = phase in {ChannelPhase.READY, ChannelPhase.PEER_OFFLINE}
    texts = {
        ChannelPhase.READY: "Ready",
        ChannelPhase.AWAITING_CONFIRMATIONS: "0 of 3 confirmations",
        ChannelPhase.PEER_OFFLINE: "The peer was last seen 3 hours ago; Leyden tries again each minute",
        ChannelPhase.FORCE_CLOSING: "Your coins come back in about 5 days",
        ChannelPhase.CLOSED: "Closed",
    }
    txid = digest("funding", number)
    return ChannelView(
        channel_id=digest("channel", number),
        short_channel_id=f"{height - number}x{number}x0" if ready else None,
        peer_id=node_id,
        peer_alias=alias,
        peer_online=online and phase is not ChannelPhase.PEER_OFFLINE,
        phase=phase,
        phase_text=texts.get(phase, phase.value),
        is_usable=usable,
        is_outbound=True,
        is_announced=False,
        channel_type="anchors",
        capacity_sat=capacity_sat,
        local_msat=local_msat,
        remote_msat=remote_msat,
        can_send_msat=max(0, local_msat - (reserve_sat + COMMIT_FEE_SAT) * 1000) if usable else 0,
        can_receive_msat=max(0, remote_msat - reserve_sat * 1000) if usable else 0,
        holder_reserve_sat=reserve_sat,
        counterparty_reserve_sat=reserve_sat,
        inflight_out_msat=inflight_msat,
        inflight_in_msat=0,
        funding_txid=txid,
        funding_vout=0,
        closing_txid=None,
        confirmations=0 if phase is ChannelPhase.AWAITING_CONFIRMATIONS else 3,
        confirmations_required=3,
        to_self_delay_blocks=1_008,
        feerate_sat_per_kw=1_250,
        details=(
            ("Funding transaction", txid),
            ("Fee rate of the commitment", "1 250 sat/kw"),
            ("Delay after a force-close", "1 008 blocks"),
            ("Type", "anchors, static remote key"),
            ("Peer", node_id),
        ),
    )
