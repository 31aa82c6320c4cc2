"""Our wallet is killed with SIGKILL again and again while payments run both ways: nothing may be lost or doubled.

Payments in both directions, several at once, hold invoices, fee updates and blocks go on against a rust-lightning node;
the process is killed at random moments, at its start too, and started again. In the end both sides' books are laid side
by side: an invoice is paid at most once, and whoever paid has its preimage exactly where whoever was paid has the
money.

By hand, for longer: `KILLS=500 SECONDS=400 SEED=7 python -m pytest -s tests/real/test_kills.py`. SECONDS is the time
under load in all lives together.
"""

from __future__ import annotations

import os
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any

import pytest

from tests.real.conftest import StartPair
from tests.real.lightning import Pair
from tests.real.process import ProcessError
from tests.real.restarts import GONE, start_again
from wallet.node.api import CommandError

Json = Any  # what a command answers is the test's to know
KILLS = int(os.environ.get("KILLS", "50"))
SECONDS = float(os.environ.get("SECONDS", KILLS * 0.6))
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))

CAPACITY_SAT = 10_000_000
WORKERS_EACH_WAY = 4
LARGEST_MSAT = 50_000_000
DUST_MSAT = 300_000
PATIENCE_SECONDS = 60


@dataclass(slots=True)
class Order:
    """One invoice, and what became of it by the word of the commands.

    Attributes:
        payment_hash: hex.
        paid: True once the payer was told so, False once it was told that it failed, None while nobody was told.
        interrupted: how often a command for it died with the process.
    """

    to_us: bool
    payment_hash: str
    amount_msat: int
    invoice: str
    paid: bool | None = None
    interrupted: int = 0


@dataclass(slots=True)
class Load:
    """Workers that pay both ways until they are told that it is enough.

    Attributes:
        up: set while our wallet is there and its channel can be used.
        orders: by payment hash.
    """

    pair: Pair
    seed: int
    up: threading.Event = field(default_factory=threading.Event)
    enough: threading.Event = field(default_factory=threading.Event)
    orders: dict[str, Order] = field(default_factory=dict)

    def start(self, pool: ThreadPoolExecutor) -> list[Future[None]]:
        works = (
            [self._we_pay] * WORKERS_EACH_WAY + [self._they_pay] * (WORKERS_EACH_WAY - 1) + [self._we_hold]
        )
        return [
            pool.submit(self._work, work, random.Random(f"{self.seed} {n}")) for n, work in enumerate(works)
        ]

    def _work(self, work: Callable[[random.Random], None], dice: random.Random) -> None:
        while not self.enough.is_set():
            work(dice)

    def _us(self, command: str, **arguments: Json) -> Json:
        """A command to our wallet once it is there; the `CommandError` of a death is the caller's."""
        if not self.up.wait(PATIENCE_SECONDS):
            raise ProcessError("our wallet does not come back")
        return self.pair.us.call(command, timeout_seconds=PATIENCE_SECONDS * 2, **arguments)

    def _ask_us(self, command: str, **arguments: Json) -> Json:
        """A command that may be given twice: given again after a death."""
        while True:
            try:
                return self._us(command, **arguments)
            except CommandError as error:
                if error.code not in GONE:
                    raise

    @staticmethod
    def _amount_msat(dice: random.Random) -> int:
        """One in three is too small for an output of its own."""
        return dice.randrange(1, DUST_MSAT if dice.random() < 0.33 else LARGEST_MSAT)

    # --- from us ------------------------------------------------------------------------

    def _we_pay(self, dice: random.Random) -> None:
        amount_msat = self._amount_msat(dice)
        made = self.pair.them.call("invoice", amount_msat=amount_msat, description="from us")
        order = Order(False, made["payment_hash"], amount_msat, made["bolt11"])
        self.orders[order.payment_hash] = order
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                answer = self._us("lnpay", invoice=order.invoice, timeout=PATIENCE_SECONDS)
            except CommandError as error:
                if error.code in GONE:
                    order.interrupted += 1
                elif error.code == "paid":
                    order.paid = True
                    return
                elif error.code != "pending":
                    raise
                # Whoever asked is not told how it ended: he asks again, and must not pay twice by it.
                continue
            assert not answer.get("pending"), answer
            order.paid = answer["success"]
            if order.paid or dice.random() < 0.5:
                return
        raise ProcessError(f"a payment of ours has no end: {order}")

    # --- to us --------------------------------------------------------------------------

    def _they_pay(self, dice: random.Random) -> None:
        amount_msat = self._amount_msat(dice)
        # A request that died with the process may be in the list, and is never paid.
        made = self._ask_us("add_request", amount_msat=amount_msat, lightning=True, message="to us")
        order = Order(True, made["rhash"], amount_msat, made["lightning_invoice"])
        self.orders[order.payment_hash] = order
        while True:
            answer = self.pair.them.call("pay", bolt11=order.invoice, timeout_ms=PATIENCE_SECONDS * 1000)
            assert answer["status"] != "pending", answer
            order.paid = answer["status"] == "sent"
            if order.paid or dice.random() < 0.5:
                return
            self.up.wait(PATIENCE_SECONDS)

    def _we_hold(self, dice: random.Random) -> None:
        """A hold invoice: settled, or now and then given back, when its payment has come."""
        amount_msat = self._amount_msat(dice)
        preimage = dice.randbytes(32)
        payment_hash = sha256(preimage).hexdigest()
        try:
            made = self._us("add_hold_invoice", payment_hash=payment_hash, amount_msat=amount_msat)
        except CommandError as error:
            if error.code in GONE:
                return
            raise
        order = Order(True, payment_hash, amount_msat, made["invoice"])
        self.orders[payment_hash] = order
        give_back = dice.random() < 0.2
        status = self.pair.them.call("pay", bolt11=order.invoice, wait=False)["status"]
        seen = -1
        while status == "pending":
            try:
                seen = self._us("wait_for_change", seen=seen, timeout=1)
                if self._us("check_hold_invoice", payment_hash=payment_hash)["status"] == "paid":
                    if give_back:
                        self._us("cancel_hold_invoice", payment_hash=payment_hash)
                    else:
                        self._us("settle_hold_invoice", preimage=preimage.hex())
            except CommandError as error:
                # "not_held": the payer's part of it went with a connection, and came back after we had looked.
                if error.code not in (*GONE, "settled", "not_held"):
                    raise
                order.interrupted += 1
            status = self.pair.them.call("wait_payment", payment_id=payment_hash, timeout_ms=1)["status"]
        order.paid = status == "sent"
        assert not (order.paid and give_back)


@dataclass(slots=True)
class Restarts:
    """How long it took to come back, by what."""

    synced_seconds: list[float] = field(default_factory=list)
    usable_seconds: list[float] = field(default_factory=list)
    cut_short: int = 0

    def __str__(self) -> str:
        parts = [f"{len(self.usable_seconds)} restarts"]
        for name, values in (("synced", self.synced_seconds), ("usable", self.usable_seconds)):
            parts.append(f"{name} after {statistics.median(values):.2f} s (at most {max(values):.2f} s)")
        return ", ".join([*parts, f"{self.cut_short} killed while starting"])


def kill(now: Pair, load: Load) -> None:
    """From a timer: the process may not be there yet, which is as well."""
    load.up.clear()
    process = now.us.process
    if process is not None:
        process.kill()


def come_back(now: Pair, load: Load, restarts: Restarts, dice: random.Random) -> None:
    def wait_ready(start: float) -> None:
        restarts.synced_seconds.append(time.monotonic() - start)
        now.wait_usable()
        restarts.usable_seconds.append(time.monotonic() - start)

    restarts.cut_short += start_again(
        now.us, load.up, partial(kill, now, load), wait_ready, dice=dice, killed_within_seconds=1.5
    )


def trouble(now: Pair, dice: random.Random) -> None:
    """What else happens in a life: a new fee rate, a block."""
    if dice.random() < 0.3:
        now.us.call("test_fees", target="ANCHOR_CHANNEL_FEE", sat_per_kw=dice.randrange(253, 2_000))
        now.us.call("test_tick")
    if dice.random() < 0.2:
        now.node.mine(1)


@pytest.mark.timeout(150 + 8 * KILLS + SECONDS)
def test_kills_under_load(pair: StartPair) -> None:
    print(f"\nSEED={SEED} KILLS={KILLS} SECONDS={SECONDS:g}", flush=True)
    dice = random.Random(SEED)
    now = pair()
    now.we_open(CAPACITY_SAT, push_sat=CAPACITY_SAT // 2)
    load = Load(now, SEED)
    restarts = Restarts()
    load.up.set()
    with ThreadPoolExecutor(2 * WORKERS_EACH_WAY) as pool:
        workers = load.start(pool)
        try:
            kills = 0
            while kills + restarts.cut_short < KILLS and not any(worker.done() for worker in workers):
                trouble(now, dice)
                time.sleep(dice.uniform(0, 2 * SECONDS / KILLS))
                load.up.clear()
                now.us.kill()
                kills += 1
                come_back(now, load, restarts, dice)
        except BaseException as error:
            error.add_note(how_it_stands(now))
            raise
        finally:
            load.enough.set()
            load.up.set()
            for worker in workers:
                worker.result(timeout=2 * PATIENCE_SECONDS)
    print(f"{kills + restarts.cut_short} kills; {restarts}", flush=True)
    # Once more, with nothing under way: what is compared is what is on disk.
    now.wait_no_htlcs()
    now.us.kill()
    now.us.start()
    now.wait_usable()
    compare_books(now, load)


def how_it_stands(now: Pair) -> str:
    """Both sides' view of the channel, for whoever has to find out why it stands still."""
    try:
        return f"ours: {now.channel()}\ntheirs: {now.them.call('list_channels')}"
    except (CommandError, ProcessError) as error:
        return f"our wallet does not say how it stands: {error}"


def compare_books(now: Pair, load: Load) -> None:
    """Both sides' books, invoice by invoice and to the msat."""
    history = now.us.call("lightning_history")
    sent = {entry["payment_hash"]: entry for entry in history if entry["direction"] == "sent"}
    received = {entry["payment_hash"]: entry for entry in history if entry["direction"] == "received"}
    theirs = now.them.call("list_payments")
    their_sent = {entry["payment_hash"]: entry for entry in theirs["sent"]}
    their_received = {e["payment_hash"]: e for e in theirs["received"] if e["status"] == "claimed"}
    listed = {request["rhash"] for request in now.us.call("list_requests")}
    claims = Counter(
        event["payment_hash"] for event in now.them.call("events", type="PaymentClaimed", limit=1_000_000)
    )
    for order in load.orders.values():
        payment_hash = order.payment_hash
        ours, paid_to = (received, their_sent) if order.to_us else (sent, their_received)
        arrived = payment_hash in ours
        if order.to_us:
            assert payment_hash in listed, order
            assert paid_to[payment_hash]["status"] == ("sent" if arrived else "failed"), order
        else:
            assert (payment_hash in paid_to) == arrived, order
            assert claims[payment_hash] <= 1, order
        # What the payer was told is what happened.
        assert order.paid == arrived, order
        if arrived:
            entry = ours[payment_hash]
            assert abs(entry["amount_msat"]) == order.amount_msat, (order, entry)
            assert sha256(bytes.fromhex(entry["preimage"])).hexdigest() == payment_hash
    assert set(sent) | set(received) <= set(load.orders)
    assert not now.them.call("events", type="ChannelClosed", limit=1)
    assert [channel["channel_id"] for channel in now.us.call("list_channels")] == [now.channel_id]
    now.ours_msat += sum(entry["amount_msat"] for entry in history)
    now.check_books()
    interrupted = sum(order.interrupted for order in load.orders.values())
    print(
        f"{len(load.orders)} invoices, {len(sent)} paid by us, {len(received)} to us; "
        f"{interrupted} commands died with their process",
        flush=True,
    )
    assert sent
    assert received
