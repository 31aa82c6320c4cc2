"""The books of a chaos run: what was ordered, what both sides say became of it, and whether that is the same."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.real.harness import BitcoinNode, LdkPeer, RPCError, sat_from_btc
from wallet.bitcoin.hashes import sha256

__all__ = ["US", "Books", "Channel", "Journal", "Order", "Send", "push_sat"]

Json = Any  # what a command answers is the test's to know
US = "us"
COOPERATIVE = (
    "LegacyCooperativeClosure",
    "LocallyInitiatedCooperativeClosure",
    "CounterpartyInitiatedCooperativeClosure",
    # Our last word died with us, and the chain tells: that it is the transaction that both signed shows in the end.
    "CommitmentTxConfirmed",
)


def push_sat(amount_sat: int) -> int:
    """What whoever opens a channel gives to the other side: always the same share, so that it can be told later."""
    return amount_sat * 2 // 5


@dataclass(slots=True)
class Order:
    """One invoice, and what became of it by the word of the commands.

    Attributes:
        payer, payee: `US`, or the name of a peer. Between two peers it goes through us.
        payment_hash: hex.
        paid: True once the payer was told so, False once it was told that it failed, None while nobody was told.
        interrupted: how often a command for it died with the process.
    """

    payer: str
    payee: str
    payment_hash: str
    amount_msat: int
    invoice: str
    paid: bool | None = None
    interrupted: int = 0


@dataclass(slots=True)
class Send:
    """A payment of ours on the chain, to an address of its own.

    Attributes:
        txid: once we were told that it is sent.
    """

    address: str
    amount_sat: int
    txid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel whose funding transaction the node has seen.

    Attributes:
        peer: its name.
        funding: txid:vout.
    """

    channel_id: str
    peer: str
    capacity_sat: int
    by_us: bool
    funding: str

    @property
    def first_msat(self) -> int:
        """What was ours in it at the beginning."""
        pushed_sat = push_sat(self.capacity_sat)
        return (self.capacity_sat - pushed_sat if self.by_us else pushed_sat) * 1000


class Journal:
    """Every event of a peer, fetched before the peer forgets the oldest. Any thread may ask."""

    def __init__(self, peer: LdkPeer) -> None:
        self.peer = peer
        self._lock = threading.Lock()
        self._events: list[Json] = []

    def read(self) -> None:
        with self._lock:
            since = self._events[-1]["seq"] if self._events else 0
            new = self.peer.call("events", since=since, limit=1_000_000)
            if new and new[0]["seq"] != since + 1:
                raise AssertionError(f"{self.peer.name} has forgotten events before they were read")
            self._events += new

    def of(self, kind: str) -> list[Json]:
        with self._lock:
            return [event for event in self._events if event["type"] == kind]

    def channels(self) -> list[Channel]:
        """Those whose funding was agreed on, whether it has left or not."""
        asked = {event["temporary_channel_id"] for event in self.of("OpenChannelRequest")}
        sizes = {
            event["temporary_channel_id"]: event["sats"]
            for kind in ("OpenChannelRequest", "FundingGenerationReady")
            for event in self.of(kind)
        }
        return [
            Channel(
                channel_id=event["channel_id"],
                peer=self.peer.name,
                capacity_sat=sizes[event["temporary_channel_id"]],
                by_us=event["temporary_channel_id"] in asked,
                funding=event["funding"],
            )
            for event in self.of("ChannelPending")
        ]


class Books:
    """What happened in a run.

    Attributes:
        orders: by payment hash.
        closing: the channels that somebody was asked to close.
        deposits: what was paid to our wallet on the chain, by txid.
        sends: what our wallet was told to pay there.
    """

    def __init__(self, node: BitcoinNode, peers: Sequence[LdkPeer]) -> None:
        self.node = node
        self.journals = {peer.name: Journal(peer) for peer in peers}
        self.orders: dict[str, Order] = {}
        self.closing: set[str] = set()
        self.deposits: dict[str, int] = {}
        self.sends: list[Send] = []

    # --- while it runs ------------------------------------------------------------------

    def read(self) -> None:
        for journal in self.journals.values():
            journal.read()

    def channels(self) -> dict[str, Channel]:
        """Those whose funding the node has seen, by id; of the rest nothing can be lost."""
        seen = set(self.node.seen_txids)
        return {
            channel.channel_id: channel
            for journal in self.journals.values()
            for channel in journal.channels()
            if channel.funding.split(":")[0] in seen
        }

    def never_funded(self, rows: Iterable[Json]) -> set[str]:
        """The funding transactions of openings that died before these left; `rows` are our channels."""
        return {str(row["channel_point"]).split(":")[0] for row in rows} - set(self.node.seen_txids)

    def closed(self) -> dict[str, Json]:
        """The peers' word on how channels have ended, by id."""
        return {
            event["channel_id"]: event
            for journal in self.journals.values()
            for event in journal.of("ChannelClosed")
        }

    def check_closings(self, rows: Iterable[Json] = ()) -> None:
        """Nothing was closed that nobody asked for, by the word of the peers and of our `rows`."""
        channels = self.channels()
        for channel_id, event in self.closed().items():
            if channel_id in channels:
                assert channel_id in self.closing, f"closed unasked: {event}"
                assert event["reason"] in COOPERATIVE, f"was to be closed by both: {event}"
        for row in rows:
            if row["channel_id"] in channels and row["state"] in ("SHUTDOWN", "CLOSING", "CLOSED"):
                assert row["channel_id"] in self.closing, f"closed unasked: {row}"

    # --- in the end ---------------------------------------------------------------------

    def check_payments(self, history: Sequence[Json], listed: set[str]) -> None:
        """Each order: whoever paid has its preimage exactly where whoever was paid has the money, and once.

        `history` and `listed` are our payments and the hashes of our requests.
        """
        sent = {entry["payment_hash"]: entry for entry in history if entry["direction"] == "sent"}
        received = {entry["payment_hash"]: entry for entry in history if entry["direction"] == "received"}
        assert len(sent) + len(received) == len(history)
        of_us = {order.payment_hash for order in self.orders.values() if US in (order.payer, order.payee)}
        assert set(sent) | set(received) <= of_us
        payments = {name: journal.peer.call("list_payments") for name, journal in self.journals.items()}
        their_sent = {name: {e["payment_hash"]: e for e in found["sent"]} for name, found in payments.items()}
        their_received = {
            name: {e["payment_hash"]: e for e in found["received"] if e["status"] == "claimed"}
            for name, found in payments.items()
        }
        claims = Counter(
            event["payment_hash"]
            for journal in self.journals.values()
            for event in journal.of("PaymentClaimed")
        )
        for order in self.orders.values():
            payment_hash = order.payment_hash
            if order.payee == US:
                arrived = payment_hash in received
                assert payment_hash in listed, order
            else:
                arrived = payment_hash in their_received[order.payee]
                assert claims[payment_hash] <= 1, order
            if order.payer == US:
                entry = sent.get(payment_hash)
                assert (entry is not None) == arrived, (order, entry)
            else:
                entry = their_sent[order.payer][payment_hash]
                assert entry["status"] == ("sent" if arrived else "failed"), (order, entry)
            # What the payer was told is what happened.
            assert order.paid == arrived, order
            if entry is not None and arrived:
                assert abs(entry["amount_msat"]) == order.amount_msat, (order, entry)
                assert sha256(bytes.fromhex(entry["preimage"])).hex() == payment_hash
            if arrived and order.payee == US:
                assert received[payment_hash]["amount_msat"] == order.amount_msat, order

    def fee_msat(self, order: Order, history: Mapping[str, Json]) -> int:
        """What the payer of an order that arrived paid above it."""
        if order.payer == US:
            return int(history[order.payment_hash]["fee_msat"])
        sent = self.journals[order.payer].of("PaymentSent")
        return next(int(e["fee_msat"]) for e in sent if e["payment_hash"] == order.payment_hash)

    def check_balances(self, rows: Sequence[Json], history: Sequence[Json]) -> None:
        """Both ends of each channel say the same to the msat, and with each peer it is what the payments come to."""
        channels, closed = self.channels(), self.closed()
        ours = {row["channel_id"]: row for row in rows if row["state"] == "OPEN"}
        sent = {entry["payment_hash"]: entry for entry in history if entry["direction"] == "sent"}
        for name, journal in self.journals.items():
            theirs = {row["channel_id"]: row for row in journal.peer.call("list_channels")}
            of_peer = [channel for channel in channels.values() if channel.peer == name]
            still_open = {channel.channel_id for channel in of_peer if channel.channel_id not in closed}
            assert set(theirs) == still_open == {key for key in ours if key in channels} & set(theirs)
            end_msat = 0
            for channel in of_peer:
                if channel.channel_id in closed:
                    last_msat = closed[channel.channel_id]["last_local_balance_msat"]
                    end_msat += channel.capacity_sat * 1000 - last_msat
                    continue
                row, their_row = ours[channel.channel_id], theirs[channel.channel_id]
                ours_msat = row["local_balance_msat"]
                theirs_msat = channel.capacity_sat * 1000 - ours_msat
                kept_msat, our_kept_msat = (
                    (their_row[key] or 0) * 1000 for key in ("reserve_sats", "their_reserve_sats")
                )
                assert row["capacity_sat"] == channel.capacity_sat
                assert their_row["inbound_msat"] == max(0, ours_msat - our_kept_msat), (row, their_row)
                assert their_row["outbound_msat"] == max(0, theirs_msat - kept_msat), (row, their_row)
                assert their_row["feerate_per_kw"] == row["feerate_sat_per_kw"], (row, their_row)
                end_msat += ours_msat
            moved_msat = sum(channel.first_msat for channel in of_peer)
            for order in self.orders.values():
                if order.paid and order.payer == name:
                    moved_msat += order.amount_msat
                    moved_msat += 0 if order.payee == US else self.fee_msat(order, sent)
                if order.paid and order.payee == name:
                    moved_msat -= order.amount_msat
                    moved_msat -= self.fee_msat(order, sent) if order.payer == US else 0
            assert end_msat == moved_msat, f"{name}: {end_msat - moved_msat} msat too many are ours"

    def check_coins(self, confirmed_sat: int) -> None:
        """Our coins are what was deposited, less what was sent and what went into channels, plus what came out."""
        closed, spends = self.closed(), self._spends()
        paid: dict[str, list[Json]] = {}
        for raw in {raw["txid"]: raw for raw in spends.values()}.values():
            for out in raw["vout"]:
                paid.setdefault(out["scriptPubKey"].get("address", ""), []).append(raw)
        expected_sat = sum(self.deposits[txid] for txid in self.deposits if self._is_confirmed(txid))
        for send in self.sends:
            txids = [raw["txid"] for raw in paid.get(send.address, [])]
            assert len(txids) <= 1, f"sent twice: {send} {txids}"
            assert send.txid is None or txids == [send.txid], f"not sent: {send} {txids}"
            expected_sat -= sum(send.amount_sat + self._fee_sat(txid) for txid in txids)
        for channel in self.channels().values():
            if channel.by_us:
                expected_sat -= channel.capacity_sat + self._fee_sat(channel.funding.split(":")[0])
            if channel.channel_id in closed:
                last_msat = closed[channel.channel_id]["last_local_balance_msat"]
                ours_msat = channel.capacity_sat * 1000 - last_msat
                expected_sat += self._paid_out_sat(channel, spends[channel.funding], ours_msat)
        assert confirmed_sat == expected_sat, f"{confirmed_sat - expected_sat} sat too many"

    def _paid_out_sat(self, channel: Channel, closing: Json, ours_msat: int) -> int:
        """What a cooperative close pays us: our share, less the fee if we had opened."""
        values_sat = [sat_from_btc(out["value"]) for out in closing["vout"]]
        ours_sat, theirs_sat = ours_msat // 1000, (channel.capacity_sat * 1000 - ours_msat) // 1000
        fee_sat = ours_sat + theirs_sat - sum(values_sat)
        assert 0 < fee_sat < 20_000, (channel, closing)
        if channel.by_us:
            ours_sat -= fee_sat
        else:
            theirs_sat -= fee_sat
        assert sorted(values_sat) == sorted((ours_sat, theirs_sat)), (channel, values_sat, ours_msat)
        return ours_sat

    def _fee_sat(self, txid: str) -> int:
        raw = self.node.rpc("getrawtransaction", txid, 2)
        spent_sat = sum(sat_from_btc(vin["prevout"]["value"]) for vin in raw["vin"])
        return spent_sat - sum(sat_from_btc(out["value"]) for out in raw["vout"])

    def _is_confirmed(self, txid: str) -> bool:
        with contextlib.suppress(RPCError):
            return bool(self.node.rpc("getrawtransaction", txid, 1).get("confirmations"))
        return False

    def _spends(self) -> dict[str, Json]:
        """The confirmed transactions, by the outputs that they spend."""
        found = {}
        for txid in self.node.seen_txids:
            # One that was replaced is not known any more.
            with contextlib.suppress(RPCError):
                raw = self.node.rpc("getrawtransaction", txid, 1)
                if raw.get("confirmations"):
                    found.update({f"{vin['txid']}:{vin['vout']}": raw for vin in raw["vin"]})
        return found
