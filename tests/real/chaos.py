"""Our wallet under a mixed load, killed with SIGKILL at random moments, while everything around it goes wrong as well.

    make chaos KILLS=50 SECONDS=120        whichever comes last ends it; SEED=N takes the dice of an earlier run

Two rust-lightning nodes pay us, are paid by us, and pay each other through us; both sides open channels and close
them together; fees change; connections are cut, Electrum servers die, blocks come, and up to three of them go again.
In the end the books of all three are laid side by side (`chaos_books.py`): no payment is lost or doubled, balances
agree to the msat, nothing was closed that nobody asked for, and the coins on the chain add up.

The seed decides what is done in which order and after how long. What meets what, the machine decides.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.real.broadcasts import check_broadcasts
from tests.real.chaos_books import US, Books, Order, Send, push_sat
from tests.real.harness import ElectrumServer, LdkPeer, Regtest, RPCError, sat_from_btc
from tests.real.lightning import Wallet
from tests.real.process import ProcessError
from tests.real.restarts import GONE, start_again
from wallet.bitcoin.hashes import sha256
from wallet.node.api import CommandError

__all__ = ["Chaos", "main"]

Json = Any  # what a command answers is the test's to know

FIRST_CHANNEL_SAT = 6_000_000
SMALLEST_CHANNEL_SAT, LARGEST_CHANNEL_SAT = 1_000_000, 4_000_000
CHANNELS_EACH = 4
"""As many with one peer, at most; two at least, so that one can be closed and payments go on."""
LARGEST_MSAT = 40_000_000
DUST_MSAT = 300_000
PEER_FINAL_BLOCKS = 144
"""The peers' invoices let a payment rest for a day: one that waits for us while blocks come is no reason to close."""
PATIENCE_SECONDS = 60
LINE_SECONDS = 5.0
REST_BLOCKS, SECONDS_A_BLOCK = 40, 2
THREADS = 20


class Chaos:
    """One run. `run` does everything and raises `AssertionError` for what must not be.

    Attributes:
        up: set while our wallet is there and can be asked.
        enough: set once nothing new is to be begun.
        count: the figures.
        usable_seconds: how long each start took until payments could go on.
    """

    def __init__(
        self,
        directory: Path,
        *,
        kills: int,
        seconds: float,
        seed: int,
        say: Callable[[str], None] = lambda line: print(line, flush=True),
    ) -> None:
        self.directory = directory
        self.kills = kills
        self.seconds = seconds
        self.seed = seed
        self.say = say
        self.up = threading.Event()
        self.enough = threading.Event()
        self.count: Counter[str] = Counter()
        self.usable_seconds: list[float] = []
        self.began = time.monotonic()
        self._chain = threading.Lock()
        self._broken = False
        self.pool: ThreadPoolExecutor
        self.net: Regtest
        self.us: Wallet
        self.peers: list[LdkPeer]
        self.books: Books

    def _dice(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")

    # --- the whole ------------------------------------------------------------------------

    def run(self) -> None:
        self.say(f"SEED={self.seed} KILLS={self.kills} SECONDS={self.seconds:g}")
        # A child ends with the thread that started it: those threads live as long as the network does.
        with ThreadPoolExecutor(THREADS) as self.pool, Regtest(self.directory) as self.net:
            self.net.add_server(version="2")
            self.peers = [self.net.ldk_peer(name) for name in ("alice", "bob")]
            self.us = Wallet(self.net, forward=True)
            self.books = Books(self.net.node, self.peers)
            try:
                self._set_up()
                self._storm()
                self._come_to_rest()
                self._pay_once_more()
                self._come_to_rest()
                self.us.kill()
                self.us.start()
                self._come_to_rest()
                self._compare()
                self.say(self._summary())
            finally:
                self.us.stop()

    def _set_up(self) -> None:
        for peer in self.peers:
            peer.fund(400_000_000, coins=40)
        self.us.start()
        for _ in range(10):
            self._deposit(20_000_000)
        self.us.mine(1)
        alice, bob = self.peers
        for peer in self.peers:
            self.us.call("add_peer", connection_string=peer.uri)
        self.us.call(
            "open_channel", connection_string=alice.uri, amount_sat=FIRST_CHANNEL_SAT,
            push_sat=push_sat(FIRST_CHANNEL_SAT),
        )  # fmt: skip
        bob.call(
            "open_channel", pubkey=self.us.node_id, sats=FIRST_CHANNEL_SAT,
            push_msat=push_sat(FIRST_CHANNEL_SAT) * 1000,
        )  # fmt: skip
        self.books.read()
        for channel in [c for journal in self.books.journals.values() for c in journal.channels()]:
            self.net.node.wait_for_tx(channel.funding.split(":")[0])
        self.us.mine(6)
        self.us.wait("has its first channels", self._all_usable)

    def _storm(self) -> None:
        self.began = time.monotonic()
        works: list[Callable[[random.Random], None]] = [
            *[self._we_pay] * 3, *[self._they_pay] * 3, *[self._they_pay_each_other] * 3, self._we_hold,
            self._channels, self._trouble, self._servers, self._tell,
        ]  # fmt: skip
        self.up.set()
        threads = [
            self.pool.submit(self._work, work, self._dice(f"{work.__name__} {n}"))
            for n, work in enumerate(works)
        ]
        try:
            self._kill_and_kill(self._dice("kills"), threads)
        except BaseException as error:
            self._broken = True
            error.add_note(self._how_it_stands())
            raise
        finally:
            self.enough.set()
            self.up.set()
            for thread in threads:
                thread.result(timeout=3 * PATIENCE_SECONDS)

    def _work(self, work: Callable[[random.Random], None], dice: random.Random) -> None:
        try:
            while not self.enough.is_set():
                work(dice)
        except BaseException as error:
            # The rest is called off; who waits for the threads hears of it later.
            self.say(f"{self._elapsed_seconds:5.0f} s  {work.__name__}: {error!r}")
            self._broken = True
            raise

    @property
    def _elapsed_seconds(self) -> float:
        return time.monotonic() - self.began

    # --- asking us --------------------------------------------------------------------------

    def _us(self, command: str, **arguments: Json) -> Json:
        """A command to our wallet once it is there; the `CommandError` of a death is the caller's."""
        if not self.up.wait(2 * PATIENCE_SECONDS) or self._broken:
            raise ProcessError("our wallet does not come back")
        return self.us.call(command, timeout_seconds=PATIENCE_SECONDS * 2, **arguments)

    def _ask_us(self, command: str, **arguments: Json) -> Json:
        """A command that may be given twice: given again after a death."""
        while True:
            try:
                return self._us(command, **arguments)
            except CommandError as error:
                if error.code not in GONE:
                    raise

    @contextlib.contextmanager
    def _may_die(self, *codes: str) -> Iterator[None]:
        """What a command meets that may as well not have been given; `codes` are further answers that it may get."""
        try:
            yield
        except CommandError as error:
            if error.code not in (*GONE, *codes):
                raise
            self.count["commands that died" if error.code in GONE else "commands refused"] += 1

    # --- payments ---------------------------------------------------------------------------

    @staticmethod
    def _amount_msat(dice: random.Random) -> int:
        """One in three is too small for an output of its own."""
        return dice.randrange(1, DUST_MSAT if dice.random() < 0.33 else LARGEST_MSAT)

    def _their_order(self, payer: str, payee: LdkPeer, amount_msat: int) -> Order:
        made = payee.call("invoice", amount_msat=amount_msat, min_final_cltv=PEER_FINAL_BLOCKS)
        order = Order(payer, payee.name, made["payment_hash"], amount_msat, made["bolt11"])
        self.books.orders[order.payment_hash] = order
        return order

    def _done(self, order: Order, kind: str) -> None:
        self.count[kind if order.paid else f"{kind} failed"] += 1

    def _we_pay(self, dice: random.Random) -> None:
        order = self._their_order(US, dice.choice(self.peers), self._amount_msat(dice))
        again = dice.random() < 0.5
        while order.paid is None or (order.paid is False and again and not self.enough.is_set()):
            try:
                answer = self._us("lnpay", invoice=order.invoice, timeout=PATIENCE_SECONDS)
                if not answer.get("pending"):
                    order.paid = answer["success"]
                    again = again and dice.random() < 0.5
            except CommandError as error:
                # Whoever asked is not told how it ended: he asks again, and must not pay twice by it.
                if error.code == "paid":
                    order.paid = True
                elif error.code in GONE:
                    order.paid = None
                    order.interrupted += 1
                elif error.code == "pending":
                    with self._may_die():
                        self._us("wait_for_change", seen=-1, timeout=1)
                else:
                    raise
        self._done(order, "out")

    def _they_pay(self, dice: random.Random) -> None:
        amount_msat = self._amount_msat(dice)
        # A request that died with the process may be in the list, and is never paid.
        made = self._ask_us("add_request", amount_msat=amount_msat, lightning=True, message="to us")
        peer = dice.choice(self.peers)
        order = Order(peer.name, US, made["rhash"], amount_msat, made["lightning_invoice"])
        self.books.orders[order.payment_hash] = order
        self._peer_pays(order, peer, dice)
        self._done(order, "in")

    def _they_pay_each_other(self, dice: random.Random) -> None:
        payer, payee = dice.sample(self.peers, 2)
        order = self._their_order(payer.name, payee, self._amount_msat(dice))
        self._peer_pays(order, payer, dice)
        self._done(order, "forwards")

    def _peer_pays(self, order: Order, peer: LdkPeer, dice: random.Random) -> None:
        while True:
            self.up.wait(PATIENCE_SECONDS)
            answer = peer.call("pay", bolt11=order.invoice, timeout_ms=PATIENCE_SECONDS * 1000)
            while answer["status"] == "pending":
                answer = peer.call(
                    "wait_payment", payment_id=order.payment_hash, timeout_ms=PATIENCE_SECONDS * 1000
                )
                if self.enough.is_set() and answer["status"] == "pending":
                    raise ProcessError(f"a payment has no end: {order}")
            order.paid = answer["status"] == "sent"
            if order.paid or dice.random() < 0.5 or self.enough.is_set():
                return

    def _we_hold(self, dice: random.Random) -> None:
        """A hold invoice: settled, or now and then given back, when its payment has come."""
        amount_msat, give_back = self._amount_msat(dice), dice.random() < 0.3
        preimage = dice.randbytes(32)
        payment_hash = sha256(preimage).hex()
        peer = dice.choice(self.peers)
        try:
            made = self._us("add_hold_invoice", payment_hash=payment_hash, amount_msat=amount_msat)
        except CommandError as error:
            if error.code in GONE:
                return
            raise
        order = Order(peer.name, US, payment_hash, amount_msat, made["invoice"])
        self.books.orders[payment_hash] = order
        status = peer.call("pay", bolt11=order.invoice, wait=False)["status"]
        seen = -1
        while status == "pending":
            # "not_held": the payer's part of it went with a connection, and came back after we had looked.
            with self._may_die("settled", "not_held"):
                seen = self._us("wait_for_change", seen=seen, timeout=1)
                if self._us("check_hold_invoice", payment_hash=payment_hash)["status"] == "paid":
                    if give_back:
                        self._us("cancel_hold_invoice", payment_hash=payment_hash)
                    else:
                        self._us("settle_hold_invoice", preimage=preimage.hex())
            status = peer.call("wait_payment", payment_id=payment_hash, timeout_ms=1)["status"]
        order.paid = status == "sent"
        assert not (order.paid and give_back), order
        self._done(order, "held")

    # --- channels -----------------------------------------------------------------------------

    def _channels(self, dice: random.Random) -> None:
        """Opens or closes one, with the blocks that it takes."""
        self.enough.wait(dice.uniform(0.3, 3))
        peer, many, by_us = dice.choice(self.peers), dice.random() < 0.5, dice.random() < 0.5
        # A peer opens and closes with somebody who is there.
        self.up.wait(PATIENCE_SECONDS)
        rows = peer.call("list_channels")
        living = [row["channel_id"] for row in rows if row["ready"] and row["shutdown"] == "NotShuttingDown"]
        ready = [channel_id for channel_id in living if channel_id not in self.books.closing]
        if self.enough.is_set():
            return
        if half_closed := [channel_id for channel_id in living if channel_id in self.books.closing]:
            # Whoever was asked was away, or died of it.
            self._close(peer, half_closed[0], by_us)
        elif len(rows) < CHANNELS_EACH and (many or len(ready) < 2):
            self._open(peer, by_us, dice)
        elif len(ready) >= 2:
            self._close(peer, dice.choice(ready), by_us)
        for _ in range(dice.randint(1, 6)):
            if not self.enough.wait(dice.uniform(0, 0.5)):
                self._mine(1)

    def _open(self, peer: LdkPeer, by_us: bool, dice: random.Random) -> None:
        amount_sat = dice.randrange(SMALLEST_CHANNEL_SAT, LARGEST_CHANNEL_SAT)
        anchors = dice.random() < 0.75
        self.count["opens tried"] += 1
        if by_us:
            with self._may_die("peer", "channel"):
                self._us(
                    "open_channel", connection_string=peer.uri, amount_sat=amount_sat,
                    push_sat=push_sat(amount_sat), static_remotekey=not anchors, timeout=20,
                )  # fmt: skip
            return
        try:
            peer.call(
                "open_channel", pubkey=self.us.node_id, sats=amount_sat, anchors=anchors, timeout_ms=20_000,
                push_msat=push_sat(amount_sat) * 1000,
            )  # fmt: skip
        except RPCError:
            # Not connected, or no longer.
            self.count["commands refused"] += 1

    def _close(self, peer: LdkPeer, channel_id: str, by_us: bool) -> None:
        self.books.closing.add(channel_id)
        if by_us:
            with self._may_die("offline", "channel", "closed"):
                self._us("close_channel", channel_id=channel_id)
            return
        try:
            peer.call("close", channel_id=channel_id, wait=False)
        except RPCError:
            self.count["commands refused"] += 1

    # --- what else goes wrong -------------------------------------------------------------------

    def _trouble(self, dice: random.Random) -> None:
        self.enough.wait(dice.uniform(0.1, 1.5))
        act = dice.choices(
            (
                self._a_block,
                self._we_send,
                self._reorganise,
                self._our_fees,
                self._their_fees,
                self._we_hang_up,
                self._they_hang_up,
            ),
            (3, 1, 2, 1, 1, 2, 2),
        )[0]
        if not self.enough.is_set():
            act(dice)

    def _mine(self, blocks: int) -> None:
        with self._chain:
            self.net.node.mine(blocks)
        self.count["blocks"] += blocks

    def _deposit(self, amount_sat: int) -> None:
        txid = self.net.node.send(self.us.call("createnewaddress"), amount_sat)
        self.books.deposits[txid] = amount_sat

    def _send_deposits_again(self) -> None:
        """As their sender would, some time after a reorganisation."""
        for txid in list(self.books.deposits):
            with contextlib.suppress(RPCError):
                raw = self.net.node.rpc("gettransaction", txid, wallet="miner")
                if raw["confirmations"] <= 0:
                    self.net.node.rpc("sendrawtransaction", raw["hex"])

    def _a_block(self, dice: random.Random) -> None:
        with self._may_die():
            if dice.random() < 0.3:
                address = self._us("createnewaddress")
                amount_sat = dice.randrange(100_000, 1_000_000)
                self.books.deposits[self.net.node.send(address, amount_sat)] = amount_sat
        self._send_deposits_again()
        self._mine(1)

    def _we_send(self, dice: random.Random) -> None:
        """A payment on the chain. Who does not hear what became of it does not send it again."""
        address = self.net.node.rpc("getnewaddress", wallet="miner")
        amount_sat = dice.randrange(10_000, 2_000_000)
        send = Send(address, amount_sat)
        self.books.sends.append(send)
        with self._may_die():
            answer = self._us("payto", destination=address, amount_sat=str(amount_sat), feerate_sat_per_vb=2)
            send.txid = answer["txid"]
            self.count["sends"] += 1

    def _reorganise(self, dice: random.Random) -> None:
        """One to three blocks; never so deep that a channel's funding goes, which would close it.

        A deposit may go from everywhere: its sender dates it, and the node drops what is dated ahead of its tip.
        """
        depth_blocks, empty = dice.randint(1, 3), dice.random() < 0.3
        with self._chain:
            self.books.read()
            for channel in self.books.channels().values():
                raw = self.net.node.rpc("getrawtransaction", channel.funding.split(":")[0], 1)
                if 0 < raw.get("confirmations", 0) <= depth_blocks:
                    self.net.node.mine(1)
                    return
            self.net.node.reorganise(depth_blocks, empty=empty)
        self.count["reorganisations"] += 1
        self.count["blocks"] += 1

    def _our_fees(self, dice: random.Random) -> None:
        target = dice.choice(("ANCHOR_CHANNEL_FEE", "NON_ANCHOR_CHANNEL_FEE"))
        with self._may_die():
            self._us("test_fees", target=target, sat_per_kw=dice.randrange(253, 3_000))
            self._us("test_tick")
            self.count["fee changes"] += 1

    def _their_fees(self, dice: random.Random) -> None:
        """The peers hold a close that takes two ticks for a broken one: none is hurried while they close."""
        peer, target = dice.choice(self.peers), dice.choice(("AnchorChannelFee", "NonAnchorChannelFee"))
        peer.call("set", fees={target: dice.randrange(253, 3_000)})
        if all(row["shutdown"] == "NotShuttingDown" for row in peer.call("list_channels")):
            peer.call("tick")
            self.count["fee changes"] += 1

    def _we_hang_up(self, dice: random.Random) -> None:
        peer = dice.choice(self.peers)
        with self._may_die("peer"):
            self._us("test_hang_up", node_id=peer.node_id)
            self.count["disconnects"] += 1
            self.enough.wait(dice.uniform(0, 0.5))
            self._us("add_peer", connection_string=peer.uri)

    def _they_hang_up(self, dice: random.Random) -> None:
        """We call back by ourselves; the second peer calls as well."""
        peer, calls = dice.choice(self.peers), dice.random() < 0.5
        peer.call("disconnect", pubkey=self.us.node_id)
        self.count["disconnects"] += 1
        if calls:
            with contextlib.suppress(RPCError):
                peer.call("connect", pubkey=self.us.node_id, port=self.us.port, keep=True, timeout_ms=5_000)

    def _servers(self, dice: random.Random) -> None:
        """An Electrum server dies and comes back: both are needed."""
        self.enough.wait(dice.uniform(3, 14))
        server: ElectrumServer = dice.choice(self.net.servers)
        pause_seconds = dice.uniform(0, 2)
        if self.enough.is_set():
            return
        server.kill()
        self.count["server deaths"] += 1
        self.enough.wait(pause_seconds)
        server.start()

    # --- kills ----------------------------------------------------------------------------------

    def _kill_and_kill(self, dice: random.Random, threads: list[Future[None]]) -> None:
        while self.count["kills"] < self.kills or self._elapsed_seconds < self.seconds:
            if any(thread.done() for thread in threads):
                return
            left = max(1, self.kills - self.count["kills"])
            pace_seconds = min(10.0, max(0.6, (self.seconds - self._elapsed_seconds) / left))
            # Coming back takes a second or two of each life.
            self.enough.wait(dice.uniform(0, max(1.0, 2 * pace_seconds - 3)))
            self._kill()
            self._start_again(dice)

    def _kill(self) -> None:
        """Also from a timer: the process may not be there yet, which is as well."""
        self.up.clear()
        process = self.us.process
        if process is not None and process.alive:
            process.kill()
            self.count["kills"] += 1

    def _start_again(self, dice: random.Random) -> None:
        def wait_ready(start: float) -> None:
            self.us.wait("has a usable channel with each peer", self._some_usable)
            self.usable_seconds.append(time.monotonic() - start)

        self.count["kills while starting"] += start_again(
            self.us, self.up, self._kill, wait_ready, dice=dice, killed_within_seconds=2.5
        )

    def _rows(self) -> list[Json]:
        return list(self.us.call("list_channels"))

    def _some_usable(self) -> bool:
        usable = {row["remote_pubkey"] for row in self._rows() if row["is_usable"]}
        return all(peer.node_id in usable for peer in self.peers)

    def _all_usable(self) -> bool:
        rows = self._rows()
        return self._some_usable() and all(row["is_usable"] for row in rows if row["state"] != "CLOSED")

    # --- the end --------------------------------------------------------------------------------

    def _come_to_rest(self) -> None:
        """With blocks, until no HTLC, opening or closing is under way anywhere."""
        for server in self.net.servers:
            if server.process is None:
                server.start()
        for peer in self.peers:
            # One of the peers calls us as well: of two connections at once one goes.
            with self._may_die("peer"):
                self.us.call("add_peer", connection_string=peer.uri)
        self._send_deposits_again()
        self.us.call("test_rebroadcast")
        seen, blocks = -1, 0
        ends_at = time.monotonic() + 2 * PATIENCE_SECONDS
        while time.monotonic() < ends_at:
            if blocks < REST_BLOCKS:
                self.us.mine(1)
                blocks += 1
            # A busy machine takes its time between two blocks: a peer that was lost is called again after seconds.
            block_ends_at = time.monotonic() + SECONDS_A_BLOCK
            while time.monotonic() < block_ends_at:
                if self._at_rest():
                    return
                seen = int(self.us.call("wait_for_change", seen=seen, timeout=SECONDS_A_BLOCK))
        raise AssertionError(f"something has no end\n{self._how_it_stands()}")

    def _pay_once_more(self) -> None:
        """As if nothing had been."""
        dice = self._dice("afterwards")
        for kind, work in (
            ("out", self._we_pay),
            ("in", self._they_pay),
            ("forwards", self._they_pay_each_other),
        ):
            before = self.count[kind]
            for _ in range(3):
                work(dice)
            assert self.count[kind] > before, f"none of three is paid: {kind}\n{self._how_it_stands()}"

    def _at_rest(self) -> bool:
        rows = self._rows()
        live = [row for row in rows if row["state"] != "CLOSED"]
        theirs = [row for peer in self.peers for row in peer.call("list_channels")]
        return (
            self._all_usable()
            and not any(row["local_unsettled_sent"] or row["remote_unsettled_sent"] for row in live)
            and not any(row["htlcs_in"] or row["htlcs_out"] for row in theirs)
            and {row["channel_id"] for row in live} == {row["channel_id"] for row in theirs}
            and set(self.us.call("getbalance")) == {"confirmed", "lightning"}
        )

    def _compare(self) -> None:
        self.books.read()
        rows, history = self._rows(), self.us.call("lightning_history")
        self.books.check_closings(rows)
        listed = {request["rhash"] for request in self.us.call("list_requests")}
        self.books.check_payments(history, listed)
        self.books.check_balances(rows, history)
        self.books.check_coins(sat_from_btc(self.us.call("getbalance")["confirmed"]))
        for line in self.us.log().splitlines():
            assert not any(word in line for word in ("Traceback", " E leyden")), line
        check_broadcasts(self.us.directory / "broadcasts.hex", self.net, self.books.never_funded(rows))

    # --- telling --------------------------------------------------------------------------------

    def _tell(self, _dice: random.Random) -> None:
        if not self.enough.wait(LINE_SECONDS):
            self.books.read()
            self.books.check_closings()
            self.say(f"{self._elapsed_seconds:5.0f} s  {self._figures()}")

    def _figures(self) -> str:
        count = self.count
        paid = ", ".join(
            f"{kind} {count[kind]} (+{count[kind + ' failed']} failed)"
            for kind in ("out", "in", "held", "forwards")
        )
        rest = ", ".join(
            f"{name} {count[name]}"
            for name in (
                "opens tried",
                "sends",
                "blocks",
                "reorganisations",
                "fee changes",
                "disconnects",
                "server deaths",
            )
        )
        channels, closed = self.books.channels(), self.books.closed()
        done = f"opened {len(channels)}, closed {len(channels.keys() & closed.keys())}"
        return f"kills {count['kills']}; {paid}; {done}, {rest}"

    def _summary(self) -> str:
        interrupted = sum(order.interrupted for order in self.books.orders.values())
        return (
            f"All books agree after {self._elapsed_seconds:.0f} s. {self._figures()}; "
            f"{self.count['kills while starting']} kills while starting; "
            f"{self.count['commands that died'] + interrupted} commands died with their process; "
            f"usable after {statistics.median(self.usable_seconds):.2f} s "
            f"(at most {max(self.usable_seconds):.2f} s). SEED={self.seed}"
        )

    def _how_it_stands(self) -> str:
        """Everybody's view, for whoever has to find out why it stands still."""
        lines = [f"SEED={self.seed}; logs in {self.directory}", self._figures()]
        for peer in self.peers:
            with contextlib.suppress(RPCError, OSError):
                lines += [f"{peer.name}: {row}" for row in peer.call("list_channels")]
        try:
            lines += [f"ours: {row}" for row in self._rows()]
            lines.append(f"ours: {self.us.call('getbalance')}")
        except (CommandError, ProcessError) as error:
            lines.append(f"our wallet does not say how it stands: {error}")
        return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.real.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument(
        "--dir", type=Path, help="where it lives (default: a folder that is removed if all is well)"
    )
    args = parser.parse_args()
    directory = (args.dir or Path(tempfile.mkdtemp(prefix="leyden-chaos-"))).resolve()
    try:
        Chaos(directory, kills=args.kills, seconds=args.seconds, seed=args.seed).run()
    except BaseException:
        print(f"SEED={args.seed}; the logs are in {directory}", file=sys.stderr, flush=True)
        raise
    if args.dir is None:
        shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
