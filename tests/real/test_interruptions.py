"""Connections cut, and our process killed, in the middle of payments with a real rust-lightning node: then all settle.

`test_kills.py` does the same at random moments and for long; here each moment is one that the test chose.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import wait

import pytest

from tests.real.conftest import StartPair
from tests.real.harness import LdkLines
from tests.real.lightning import Held, Pair
from wallet.node.api import CommandError

EACH_WAY = 12


class Load:
    """Payments both ways at the same time, of which some may fail because of what the test does meanwhile.

    Attributes:
        done: how many payments from us have come to their end.
    """

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.changed = threading.Condition()
        self.done = 0
        # Every other one is too small for an output of its own.
        self.sizes_msat = [(1_000 + n) * (1 if n % 2 else 5_000) for n in range(EACH_WAY)]
        self.lines = LdkLines(pair.them)
        self.to_us = {pair.our_invoice(size_msat): size_msat for size_msat in self.sizes_msat}
        self.to_them = {pair.their_invoice(size_msat): size_msat for size_msat in self.sizes_msat}
        for invoice in self.to_us:
            self.lines.send("pay", bolt11=invoice)
        self.ours = [pair.pool.submit(self._pay, invoice) for invoice in self.to_them]

    def _pay(self, invoice: str) -> None:
        try:
            self.pair.us.call("lnpay", invoice=invoice)
        except CommandError as error:
            # The process went, or this came to the next one while that was starting.
            if error.code not in ("no_daemon", "no_wallet", "stopping"):
                raise
        with self.changed:
            self.done += 1
            self.changed.notify_all()

    def wait_done(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.done >= count, 30)

    def finish(self) -> int:
        """Waits for the end of each, whatever it was; how many arrived. The books follow."""
        arrived = 0
        for _ in self.to_us:
            _number, answer = self.lines.receive()
            assert answer["status"] in ("sent", "failed"), answer
            arrived += answer["status"] == "sent"
            self.pair.ours_msat += answer["amount_msat"] * (answer["status"] == "sent")
        self.lines.close()
        wait(self.ours, timeout=30)
        for future in self.ours:
            future.result(timeout=0)
        self.pair.us.wait("has no payment under way", lambda: "pending" not in self.outcomes().values())
        for invoice, size_msat in self.to_them.items():
            payment_hash = self.pair.them.call("decode", bolt11=invoice)["payment_hash"]
            # What never got into the file before the process went was never sent.
            if self.outcomes().get(payment_hash) == "done":
                arrived += 1
                self.pair.ours_msat -= size_msat
        return arrived

    def outcomes(self) -> dict[str, str]:
        return {
            item["payment_hash"]: item["status"]
            for item in self.pair.us.call("history")
            if item["type"] == "lightning"
        }


def we_hang_up(pair: Pair) -> None:
    pair.hang_up()
    pair.call_back()


def they_hang_up(pair: Pair) -> None:
    """Our wallet calls back by itself."""
    pair.them.call("disconnect", pubkey=pair.us.node_id)
    pair.them.call("wait_peer", pubkey=pair.us.node_id)
    pair.wait_usable()


def we_are_killed(pair: Pair) -> None:
    pair.us.kill()
    pair.us.start()
    pair.wait_usable()


INTERRUPTIONS = pytest.mark.parametrize("interrupt", [we_hang_up, they_hang_up, we_are_killed])


@pytest.mark.parametrize("anchors", [True, False], ids=["anchors", "static_remotekey"])
@INTERRUPTIONS
def test_in_the_middle_of_payments(pair: StartPair, anchors: bool, interrupt: Callable[[Pair], None]) -> None:
    now = pair(anchors=anchors)
    now.we_open(5_000_000, push_sat=2_500_000, static_remotekey=not anchors)
    arrived = 0
    for after in (0, 1, 4):
        load = Load(now)
        load.wait_done(after)
        interrupt(now)
        arrived += load.finish()
        now.check_books()
    assert arrived > 0
    # And as if nothing had been.
    now.we_pay(1_000_000)
    now.they_pay(1_000_000)
    now.check_books()


@INTERRUPTIONS
def test_held_payments_survive(pair: StartPair, interrupt: Callable[[Pair], None]) -> None:
    """Each payment is committed on both sides when the cut comes; half are taken, half given back, during another."""
    now = pair()
    now.we_open(5_000_000, push_sat=2_500_000)
    before_msat = now.ours_msat
    ours = [now.we_pay_held(1_000_000 + n) for n in range(6)]
    theirs = [now.they_pay_held(2_000_000 + n) for n in range(6)]
    interrupt(now)
    assert now.channel()["local_balance_msat"] == before_msat - sum(held.amount_msat for held in ours)
    # Decided while nobody is there to be told.
    now.hang_up()
    for held in ours[:3]:
        now.they_claim(held)
    for held in ours[3:]:
        now.them.call("fail", payment_hash=held.payment_hash)
    for held in theirs[:3]:
        now.us.call("settle_hold_invoice", preimage=held.preimage)
    for held in theirs[3:]:
        now.us.call("cancel_hold_invoice", payment_hash=held.payment_hash)
    if interrupt is we_are_killed:
        now.us.kill()
        now.us.start()
        now.wait_usable()
    else:
        now.call_back()
    for n, held in enumerate(theirs):
        assert held.end.result(timeout=30)["status"] == ("sent" if n < 3 else "failed")
    now.us.wait("has no payment under way", lambda: set(ends(now, ours)) <= {"done", "failed"})
    assert ends(now, ours) == ["done"] * 3 + ["failed"] * 3
    now.ours_msat += sum(held.amount_msat for held in theirs[:3]) - sum(held.amount_msat for held in ours[:3])
    now.check_books()


def ends(pair: Pair, payments: list[Held]) -> list[str]:
    known = {item["payment_hash"]: item["status"] for item in pair.us.call("history")}
    return [known[held.payment_hash] for held in payments]
