"""Our wallet and a rust-lightning node with coins and channels between them, and the verbs that tests are made of.

The books are kept beside: what each payment moved is added up here, and `check_books` compares it with what the wallet
says, with what the peer says and, on the chain, with what the real node says of every transaction.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.real.broadcasts import came_too_late, check_broadcasts, was_made_anew
from tests.real.harness import LdkLines, LdkPeer, Regtest, RPCError, sat_from_btc
from tests.real.leyden import ROOT, LeydenDaemon
from tests.real.process import Process
from wallet.bitcoin.hashes import sha256

Json = Any  # what a command answers is the test's to know
WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
ANCHOR_SAT = 330
HELD_BLOCKS = 60
"""How long the peer may hold a payment of ours: it gives it back some twenty blocks before."""


class Wallet(LeydenDaemon):
    """Our daemon with the commands of `daemon_main`, at a port that stays the same after a restart."""

    def __init__(self, net: Regtest, name: str = "leyden", *, forward: bool = False) -> None:
        extra_args = ("--forward",) if forward else ()
        super().__init__(net, net.directory, name, extra_args, words=WORDS.split())
        self.port = net.ports.take()

    def start(self, *, sync: bool = True) -> None:
        argv = [sys.executable, "-X", "faulthandler", "-m", "tests.real.daemon_main"]
        argv += [*self.extra_args, str(self.directory), str(self.port)]
        argv += [f"{server.host}:{server.port}:t" for server in self.net.servers]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.process = Process(self.name, argv, directory=self.directory, env=env)
        self.process.wait_line(r"commands are taken on port")
        self.node_id = str(self.call("nodeid")).split("@")[0]
        if sync:
            self.sync()

    def log(self) -> str:
        """What all its runs have said."""
        return (self.directory / f"{self.name}.log").read_text(errors="replace")


@dataclass(frozen=True, slots=True)
class Held:
    """A payment that its payee holds; `end` is the payer's word on how it went."""

    amount_msat: int
    payment_hash: str
    preimage: str
    end: Future[Json]

    @property
    def sat(self) -> int:
        return self.amount_msat // 1000


class Pair:
    """Us and one rust-lightning peer, and the books of what has moved.

    Attributes:
        ours_msat: what should be ours in the open channel.
        channel_id: of the channel opened last.
        log_mark: where our log stood when the closing began.
        may_be_refused: a pattern of the lines that tell of transactions that the node may refuse in this test.
    """

    def __init__(self, net: Regtest, us: Wallet, them: LdkPeer) -> None:
        self.net = net
        self.us = us
        self.them = them
        self.channel_id = ""
        self.channel_point = ""
        self.capacity_sat = 0
        self.ours_msat = 0
        self.onchain_sat = 0
        self.log_mark = 0
        self.may_be_refused = ""
        self.pool = ThreadPoolExecutor(64)
        self._raw: dict[str, Json] = {}
        self._spends: dict[tuple[str, int], list[str]] = {}
        self._spends_read = 0

    @property
    def node(self) -> Any:
        return self.net.node

    # --- coins ----------------------------------------------------------------------

    def fund(self, amount_sat: int, coins: int = 2) -> None:
        """Gives us confirmed coins."""
        for _ in range(coins):
            self.node.send(self.us.call("createnewaddress"), amount_sat // coins)
        self.onchain_sat += amount_sat
        self.mine(1)
        self.us.wait("coins", lambda: self.balance_sat() == self.onchain_sat)

    def balance_sat(self, kind: str = "confirmed") -> int:
        return sat_from_btc(self.us.call("getbalance").get(kind, "0"))

    def mine(self, blocks: int = 1) -> None:
        """Mines; returns once servers, peers and we have seen it."""
        self.us.mine(blocks)

    # --- channels -------------------------------------------------------------------

    def channel(self, channel_id: str = "") -> Json:
        wanted = channel_id or self.channel_id
        found = [c for c in self.us.call("list_channels") if c["channel_id"] == wanted]
        return found[0] if found else None

    def wait_usable(self) -> None:
        self.us.wait("a usable channel", lambda: (self.channel() or {}).get("is_usable"))
        self.them.wait_channel(self.channel_id)

    def we_open(
        self,
        amount_sat: int,
        *,
        push_sat: int = 0,
        static_remotekey: bool = False,
        confirm: bool = True,
        usable: bool = True,
    ) -> str:
        """Without `confirm` no block comes; without `usable` it is not waited for."""
        opened = self.us.call(
            "open_channel", connection_string=self.them.uri, amount_sat=amount_sat, push_sat=push_sat,
            static_remotekey=static_remotekey,
        )  # fmt: skip
        self.ours_msat = (amount_sat - push_sat) * 1000
        self.node.wait_for_tx(opened["funding_txid"])
        self.onchain_sat -= amount_sat + self.fee_sat(opened["funding_txid"])
        self._opened(
            opened["channel_id"], opened["channel_point"], amount_sat, confirm=confirm, usable=usable
        )
        return self.channel_id

    def they_open(
        self,
        amount_sat: int,
        *,
        push_sat: int = 0,
        confirm: bool = True,
        usable: bool = True,
        **options: Json,
    ) -> str:
        self.them.call("connect", pubkey=self.us.node_id, port=self.us.port)
        opened = self.them.call(
            "open_channel", pubkey=self.us.node_id, sats=amount_sat, push_msat=push_sat * 1000, **options
        )
        self.ours_msat = push_sat * 1000
        self.node.wait_for_tx(opened["funding"].split(":")[0])
        self._opened(opened["channel_id"], opened["funding"], amount_sat, confirm=confirm, usable=usable)
        return self.channel_id

    def _opened(
        self, channel_id: str, channel_point: str, amount_sat: int, *, confirm: bool, usable: bool
    ) -> None:
        self.channel_id, self.channel_point, self.capacity_sat = channel_id, channel_point, amount_sat
        if confirm:
            self.mine(6)
        if usable:
            self.wait_usable()
            self.check_books()

    def onchain_confirmed(self) -> None:
        """Until nothing on the chain is unconfirmed; it is what the books say."""
        self.us.wait("has its coins", lambda: self.balance_sat() == self.onchain_sat)
        assert not self.balance_sat("unconfirmed")

    def mine_closing(self) -> str:
        """A cooperative close confirms; who funded is not told here, so the books take what the chain says."""
        txid = self.wait_closing_tx()
        self.mine(6)
        self.us.wait_channel(self.channel_id, state="CLOSED")
        self.us.wait("has its coins", lambda: list(self.us.call("getbalance")) == ["confirmed"])
        assert self.balance_sat() - self.onchain_sat in self.values_sat(txid)
        self.onchain_sat = self.balance_sat()
        return txid

    def hang_up(self) -> None:
        """We end the connection, and call back only when `call_back` says so."""
        self.us.call("test_hang_up", node_id=self.them.node_id)
        self.them.call("wait_peer", pubkey=self.us.node_id, gone=True)

    def call_back(self) -> None:
        self.us.call("add_peer", connection_string=self.them.uri)
        self.wait_usable()

    # --- payments -------------------------------------------------------------------

    def their_invoice(self, amount_msat: int | None, **options: Json) -> str:
        invoice = self.them.call("invoice", amount_msat=amount_msat, description="from us", **options)
        return str(invoice["bolt11"])

    def our_invoice(self, amount_msat: int | None, **options: Json) -> str:
        request = self.us.call(
            "add_request", amount_msat=amount_msat, lightning=True, message="to us", **options
        )
        return str(request["lightning_invoice"])

    def we_pay(self, amount_msat: int, invoice: str = "", *, named: bool = True) -> Json:
        """`named`: the invoice says the amount; else the payer does."""
        amount = {} if named else {"amount_msat": amount_msat}
        paid = self.us.call("lnpay", invoice=invoice or self.their_invoice(amount_msat), **amount)
        assert paid["success"], paid
        assert (paid["amount_msat"], paid["fee_msat"]) == (amount_msat, 0)
        self.ours_msat -= amount_msat
        return paid

    def they_pay(self, amount_msat: int, invoice: str = "", *, named: bool = True) -> Json:
        amount = {} if named else {"amount_msat": amount_msat}
        paid = self.them.call("pay", bolt11=invoice or self.our_invoice(amount_msat), **amount)
        assert paid["status"] == "sent", paid
        self.ours_msat += amount_msat
        return paid

    def at_once(
        self,
        *,
        ours_msat: Sequence[int] = (),
        theirs_msat: Sequence[int] = (),
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """Many payments at the same time, all of which arrive."""
        to_them = [self.their_invoice(amount_msat) for amount_msat in ours_msat]
        to_us = [self.our_invoice(amount_msat) for amount_msat in theirs_msat]
        with LdkLines(self.them) as lines, ThreadPoolExecutor(max(1, len(to_them))) as pool:
            for invoice in to_us:
                lines.send("pay", bolt11=invoice)
            paid = [pool.submit(self.us.call, "lnpay", invoice=invoice) for invoice in to_them]
            meanwhile()
            for _ in to_us:
                _number, answer = lines.receive()
                assert answer["status"] == "sent", answer
            for future in paid:
                assert future.result()["success"], future.result()
        self.ours_msat += sum(theirs_msat) - sum(ours_msat)

    def wait_no_htlcs(self) -> None:
        """Until no HTLC is pending on either side."""
        self.us.wait(
            "no HTLC",
            lambda: (c := self.channel()) and not (c["local_unsettled_sent"] or c["remote_unsettled_sent"]),
        )
        self.them.wait_channel(self.channel_id, htlcs_in=0, htlcs_out=0)

    # --- held payments ----------------------------------------------------------------

    def we_pay_held(self, amount_msat: int) -> Held:
        """A payment of ours that they hold."""
        preimage = secrets.token_bytes(32)
        payment_hash = sha256(preimage).hex()
        made = self.them.call(
            "invoice", amount_msat=amount_msat, payment_hash=payment_hash, min_final_cltv=HELD_BLOCKS
        )
        end: Future[Json] = self.pool.submit(self.us.call, "lnpay", invoice=made["bolt11"])
        self.them.wait_event("PaymentClaimable", payment_hash=payment_hash)
        return Held(amount_msat, payment_hash, preimage.hex(), end)

    def they_claim(self, held: Held) -> None:
        self.them.call("claim", payment_hash=held.payment_hash, preimage=held.preimage)

    def they_pay_held(self, amount_msat: int) -> Held:
        """A payment of theirs that we hold."""
        preimage = secrets.token_bytes(32)
        payment_hash = sha256(preimage).hex()
        made = self.us.call("add_hold_invoice", payment_hash=payment_hash, amount_msat=amount_msat)
        end: Future[Json] = self.pool.submit(
            self.them.call, "pay", bolt11=made["invoice"], timeout_ms=120_000
        )
        self.us.wait("holds it", lambda: self.held_status(payment_hash) == "paid")
        return Held(amount_msat, payment_hash, preimage.hex(), end)

    def held_status(self, payment_hash: str) -> str:
        return str(self.us.call("check_hold_invoice", payment_hash=payment_hash)["status"])

    def close(self) -> None:
        """Lets go of payments that nobody waits for any more."""
        self.pool.shutdown(wait=False, cancel_futures=True)

    # --- books ----------------------------------------------------------------------

    def check_books(self) -> None:
        """Wallet, peer and these books agree to the msat. For a time without HTLCs."""
        self.wait_no_htlcs()
        ours = self.channel()
        assert ours["local_balance_msat"] == self.ours_msat, (ours, self.ours_msat)
        assert ours["capacity_sat"] == self.capacity_sat
        theirs = next(c for c in self.them.call("list_channels") if c["channel_id"] == self.channel_id)
        theirs_msat = self.capacity_sat * 1000 - self.ours_msat
        assert theirs["inbound_msat"] == max(0, self.ours_msat - theirs["their_reserve_sats"] * 1000), theirs
        assert theirs["outbound_msat"] == max(0, theirs_msat - (theirs["reserve_sats"] or 0) * 1000), theirs
        assert theirs["feerate_per_kw"] == ours["feerate_sat_per_kw"]
        assert self.balance_sat() + self.balance_sat("unconfirmed") == self.onchain_sat

    def check_log(self) -> None:
        """Our log, all runs of it, tells of no fault of ours and of no transaction that the node refused."""
        written = self.us.directory / "broadcasts.hex"
        for line in self.us.log().splitlines():
            if self.may_be_refused and re.search(self.may_be_refused, line):
                continue
            late = re.search(r"broadcast sweep: ([0-9a-f]{64}) refused \(MISSING_INPUTS\)", line)
            if late is not None and came_too_late(written, self.net, late[1]):
                continue
            again = re.search(
                r"broadcast HTLC claims: ([0-9a-f]{64}) refused \(REPLACEMENT_FEE_TOO_LOW\)", line
            )
            if again is not None and was_made_anew(written, self.net, again[1]):
                continue
            assert not re.search(r"Traceback| E leyden|broadcast .* refused", line), line
        check_broadcasts(written, self.net)

    def raw(self, txid: str) -> Json:
        """A transaction of the mempool or the chain, as the node tells it."""
        if txid not in self._raw:
            self._raw[txid] = self.node.rpc("getrawtransaction", txid, 1)
        return self._raw[txid]

    def values_sat(self, txid: str) -> list[int]:
        """What its outputs hold."""
        return [sat_from_btc(out["value"]) for out in self.raw(txid)["vout"]]

    def fee_sat(self, txid: str) -> int:
        """What a transaction paid, by the node's word."""
        spent_sat = sum(self.values_sat(vin["txid"])[vin["vout"]] for vin in self.raw(txid)["vin"])
        return int(spent_sat - sum(self.values_sat(txid)))

    def spender(self, txid: str, vout: int) -> str | None:
        """Which transaction spends an output, in the mempool or in the chain; one that was replaced does not."""
        for seen in self.node.seen_txids[self._spends_read :]:
            self._spends_read += 1
            with contextlib.suppress(RPCError):  # replaced already
                for vin in self.raw(seen)["vin"]:
                    self._spends.setdefault((vin["txid"], vin["vout"]), []).append(seen)
        for candidate in reversed(self._spends.get((txid, vout), [])):
            with contextlib.suppress(RPCError):
                self.node.rpc("getrawtransaction", candidate, 1)
                return candidate
        return None

    def wait_spent(self, txid: str, vout: int, *, timeout_seconds: float = 30) -> str:
        """Until an output is spent; by which transaction."""
        found: str = self.node.wait_until(
            f"has a spend of {txid}:{vout}",
            lambda: self.spender(txid, vout),
            timeout_seconds=timeout_seconds,
        )
        return found

    def wait_closing_tx(self) -> str:
        """Until the channel's funding is spent; by which transaction."""
        txid, vout = self.channel_point.split(":")
        return self.wait_spent(txid, int(vout))

    def our_txids(self, since: int = 0) -> list[str]:
        """What we broadcast (the log says it) and the chain has."""
        lines = re.findall(r" broadcast [^:]*:((?: [0-9a-f]{64})+)", self.us.log()[since:])
        found = dict.fromkeys(" ".join(lines).split())
        kept = []
        for txid in found:
            with contextlib.suppress(RPCError):
                if self.node.rpc("getrawtransaction", txid, 1).get("confirmations"):
                    kept.append(txid)
        return kept
