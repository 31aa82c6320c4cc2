"""Our node within the test's process, with coins, channels and rust-lightning peers around it, and the verbs of tests.

The same commands as those of a daemon, without a process around them: several servers, fee rates, forwarding and
protocol versions are a test's to choose, and a test may look at the routing graph. Every wait is for the node's own
word that something changed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, Self, TypeVar

from tests.real.broadcasts import check_broadcasts, write_down
from tests.real.harness import LdkPeer, Regtest, sat_from_btc
from tests.real.process import HOST, ProcessError
from tests.stand_in import put_in_place_of
from wallet.chain.electrum.session import ServerAddress
from wallet.chain.interfaces import ConfirmationTarget
from wallet.ln.config import ChannelHandshakeLimits, UserConfig
from wallet.ln.msgs import ChannelUpdate
from wallet.ln.types import NodeId, ShortChannelId
from wallet.node.host import NodeThread, OpenNode, create_wallet_file, open_node
from wallet.node.map_api import scid_from_text
from wallet.node.node import Node
from wallet.node.options import NodeOptions

T = TypeVar("T")
Json = Any  # what a command answers is the test's to know
WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
ANCHOR_SAT = 330
HARMLESS = ("REPLACEMENT_FEE_TOO_LOW", "MISSING_INPUTS")
"""Refused because another transaction is there that does the same: the peer's, or an earlier one of ours."""
FORWARDING = UserConfig(
    channel_handshake_limits=ChannelHandshakeLimits(force_announced_channel_preference=False),
    accept_forwards=True,
    accept_forwards_to_priv_channels=True,
    manually_accept_inbound_channels=True,
)


class Listening(Protocol):
    """An Electrum server, or what stands before one."""

    port: int


class Rates:
    """A `FeeEstimator` that a test fills: a young chain has no estimates."""

    def __init__(self) -> None:
        self.sat_per_kw = {
            ConfirmationTarget.MAXIMUM_FEE_ESTIMATE: 10_000,
            ConfirmationTarget.URGENT_ON_CHAIN_SWEEP: 5_000,
            ConfirmationTarget.MIN_ALLOWED_ANCHOR_CHANNEL_REMOTE_FEE: 253,
            ConfirmationTarget.MIN_ALLOWED_NON_ANCHOR_CHANNEL_REMOTE_FEE: 253,
            ConfirmationTarget.ANCHOR_CHANNEL_FEE: 500,
            ConfirmationTarget.NON_ANCHOR_CHANNEL_FEE: 2_000,
            ConfirmationTarget.CHANNEL_CLOSE_MINIMUM: 500,
            ConfirmationTarget.OUTPUT_SPENDING_FEE: 1_000,
        }

    def get_est_sat_per_1000_weight(self, confirmation_target: ConfirmationTarget) -> int:
        return self.sat_per_kw[confirmation_target]


class Complaints(logging.Handler):
    """Keeps what the node logged as an error, which no good test has, and what a server refused."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        refused = " refused (" in text and not any(reason in text for reason in HARMLESS)
        if record.levelno >= logging.ERROR or refused:
            self.lines.append(text)


class LeydenNode:
    """Our node on a network loop of its own; `stop` and `start` restart it on the same file and port.

    Attributes:
        node: while it runs.
        rates: the fee rates that it believes in, unless it asks the servers (`real_fees`).
        deposited_sat, deposits: what the test has paid to it, and by which transactions.
    """

    def __init__(
        self,
        net: Regtest,
        name: str = "leyden",
        *,
        servers: Sequence[Listening] = (),
        single_server_ok: bool = False,
        real_fees: bool = False,
        config: UserConfig | None = None,
        words: str = WORDS,
    ) -> None:
        self.net = net
        self.name = name
        self.port = net.ports.take()
        self.rates = Rates()
        self._real_fees = real_fees
        self.deposited_sat = 0
        self.deposits: set[str] = set()
        self.complaints = Complaints()
        chosen: Sequence[Listening] = servers or (net.electrum,)
        self.options = NodeOptions(
            network_name="regtest",
            root=net.directory / name,
            servers=tuple(ServerAddress(HOST, server.port, False) for server in chosen),
            single_server_ok=single_server_ok or len(chosen) == 1,
            listen=(HOST, self.port),
        )
        if config is not None:
            self.options = replace(self.options, user_config=config)
        create_wallet_file(self.options, words.split(), "")
        self._broadcasts = net.directory / f"{name}-broadcasts.hex"
        write_down(self._broadcasts)
        self._thread = NodeThread()
        self._open: OpenNode | None = None

    # --- life -----------------------------------------------------------------------

    @property
    def node(self) -> Node:
        if self._open is None:
            raise ProcessError(f"{self.name} is not running")
        return self._open.node

    @property
    def node_id(self) -> str:
        return self.node.keys_manager.get_node_id().hex()

    def start(self, *, synced: bool = True) -> None:
        """Opens the wallet; returns once it has caught up with the chain."""
        log = logging.getLogger("leyden")
        log.setLevel(logging.INFO)
        log.addHandler(self.complaints)
        fees = None if self._real_fees else self.rates
        self._open = self._thread.submit(open_node(self.options, "", fee_estimator=fees)).result(30)
        self._tell_of_gossip()
        if synced:
            self.call("wait_for_sync", timeout=60)

    def _tell_of_gossip(self) -> None:
        """What `wait` waits for: gossip is no change of the wallet, so front ends are not told of each piece."""
        node, gossip = self.node, self.node.gossip
        apply_update = gossip._apply_update

        def apply_and_tell(msg: ChannelUpdate, encoded: bytes | None = None) -> bool:
            news = apply_update(msg, encoded)
            node.loop.call_soon_threadsafe(node.views.publish_soon)
            return news

        put_in_place_of(gossip, "_apply_update", apply_and_tell)

    def relay_gossip(self) -> None:
        """What others told is passed on once a minute: now, for a test."""
        with self.node.core.entry():
            self.node.peer_manager._flush_relay()
            self.node.peer_manager.process_events()

    def tick_channels(self) -> None:
        """What the timer thread does once a minute: now, for a test."""
        self.node.ticks.channels()

    def wait_graph(self, channels: int, *, timeout_seconds: float = 30) -> None:
        """Until so many public channels are known with the terms of both sides."""

        def both() -> bool:
            graph = self.node.graph
            with self.node.core.locked():
                known = [graph.update_times(scid) for scid in graph.short_channel_ids()]
            return sum(0 not in times for times in known) >= channels

        self.wait(f"{channels} channels by gossip", both, timeout_seconds=timeout_seconds)

    def terms(self, scid: str) -> list[tuple[int, int]]:
        """What both sides of a public channel ask for a forward, where known: base in msat, and millionths."""
        number = scid_from_text(scid)
        assert number is not None, scid
        with self.node.core.locked():
            info = self.node.graph.channel(ShortChannelId(number))
        directions = info.directions if info is not None else ()
        return [(one.fee_base_msat, one.fee_proportional_millionths) for one in directions if one is not None]

    def stop(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            self._thread.submit(opened.close()).result(30)
        logging.getLogger("leyden").removeHandler(self.complaints)

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        self.stop()
        self._thread.stop()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- asking -----------------------------------------------------------------------

    def call(self, command: str, *, timeout_seconds: float = 120, **arguments: Json) -> Json:
        return self.node.call(command, **arguments).result(timeout_seconds)

    def wait(self, what: str, check: Callable[[], T | None], *, timeout_seconds: float = 30) -> T:
        """What `check` answers once that is true; it is asked again whenever the node says that something changed."""
        views = self.node.views
        end = time.monotonic() + timeout_seconds
        while True:
            version = views.version
            if value := check():
                return value
            try:
                self._thread.submit(
                    asyncio.wait_for(views.changed_since(version), end - time.monotonic())
                ).result()
            except TimeoutError:
                raise ProcessError(f"{self.name}: waited {timeout_seconds} s for: {what}") from None

    def check_log(self) -> None:
        """The node met no fault of its own, and no transaction of it was refused."""
        assert not self.complaints.lines, self.complaints.lines
        check_broadcasts(self._broadcasts, self.net)

    # --- chain ------------------------------------------------------------------------

    def sat(self, kind: str = "confirmed") -> int:
        """One line of `getbalance`."""
        return sat_from_btc(self.call("getbalance").get(kind, "0"))

    def wait_height(self, *, timeout_seconds: float = 30) -> None:
        """Until it stands at the real node's tip, whichever block that is, and everything is answered there."""
        tip_hash = bytes.fromhex(self.net.node.rpc("getbestblockhash"))[::-1]
        self.wait(
            f"the tip {self.net.node.height}",
            lambda: (self.node.best_block or (b"", 0))[0] == tip_hash,
            timeout_seconds=timeout_seconds,
        )
        self.call("wait_for_sync", timeout=int(timeout_seconds))

    def mine(self, blocks: int = 1) -> None:
        """Mines; returns once servers, peers and we have seen it."""
        self.net.mine(blocks)
        self.wait_height()

    def reorganise(self, blocks: int) -> None:
        """The last blocks are none any more, and one more than they were, all empty, stand in their place."""
        self.net.node.reorganise(blocks, empty=True)
        self.net.sync()
        self.wait_height()

    def fund(self, amount_sat: int, coins: int = 2) -> None:
        """Gives us confirmed coins."""
        before = self.sat()
        for _ in range(coins):
            self.deposits.add(self.net.node.send(self.call("createnewaddress"), amount_sat // coins))
        self.deposited_sat += amount_sat
        self.mine(1)
        self.wait("the coins", lambda: self.sat() == before + amount_sat)

    def fee_sat(self, txid: str) -> int:
        """What a transaction paid, by the real node's word."""
        raw = self.net.node.rpc("getrawtransaction", txid, 1)
        spent = sum(
            sat_from_btc(self.net.node.rpc("getrawtransaction", vin["txid"], 1)["vout"][vin["vout"]]["value"])
            for vin in raw["vin"]
        )
        return spent - sum(sat_from_btc(out["value"]) for out in raw["vout"])

    # --- channels -----------------------------------------------------------------------

    def channel(self, channel_id: str) -> Json:
        """A channel's row in `list_channels`; None when there is none."""
        found = [c for c in self.call("list_channels") if c["channel_id"] == channel_id]
        return found[0] if found else None

    def wait_usable(self, peer: LdkPeer, channel_id: str) -> None:
        self.wait("a usable channel", lambda: (self.channel(channel_id) or {}).get("is_usable"))
        peer.wait_channel(channel_id)

    def hang_up(self, peer: LdkPeer) -> None:
        """Ends the connection to a peer, and calls it no more."""
        node, node_id = self.node, NodeId(bytes.fromhex(peer.node_id))

        def leave() -> None:
            task = node.peers._tasks.pop(node_id, None)
            if task is not None:
                task.cancel()
            with node.core.entry():
                node.peer_manager.disconnect_by_node_id(node_id)
            node.peers_changed()

        node.loop.call_soon_threadsafe(leave)
        peer.call("wait_peer", pubkey=self.node_id, gone=True)

    def open(self, peer: LdkPeer, amount_sat: int, *, push_sat: int = 0, **options: Json) -> str:
        """A channel from us, confirmed and usable on both sides; its id."""
        opened = self.call(
            "open_channel", connection_string=peer.uri, amount_sat=amount_sat, push_sat=push_sat, **options
        )
        self.net.node.wait_for_tx(opened["funding_txid"])
        self.mine(6)
        self.wait_usable(peer, opened["channel_id"])
        return str(opened["channel_id"])

    def opened_by(self, peer: LdkPeer, amount_sat: int, *, push_sat: int = 0, **options: Json) -> str:
        """A channel to us, confirmed and usable on both sides; its id."""
        peer.call("connect", pubkey=self.node_id, port=self.port)
        opened = peer.call(
            "open_channel", pubkey=self.node_id, sats=amount_sat, push_msat=push_sat * 1000, **options
        )
        self.net.node.wait_for_tx(opened["funding"].split(":")[0])
        self.mine(6)
        self.wait_usable(peer, opened["channel_id"])
        return str(opened["channel_id"])

    def local_msat(self, *channel_ids: str) -> int:
        """Ours in these channels, once no HTLC is under way in them."""

        def settled() -> list[int] | None:
            rows = [self.channel(channel_id) for channel_id in channel_ids]
            pending = any(row["local_unsettled_sent"] or row["remote_unsettled_sent"] for row in rows)
            return None if pending else [row["local_balance_msat"] for row in rows]

        return sum(self.wait("no HTLC", settled))

    def agrees_with(self, peer: LdkPeer, channel_id: str) -> None:
        """Both ends of a channel without HTLCs say the same, to the msat."""
        ours_msat = self.local_msat(channel_id)
        peer.wait_channel(channel_id, htlcs_in=0, htlcs_out=0)
        row = next(c for c in peer.call("list_channels") if c["channel_id"] == channel_id)
        capacity_msat = self.channel(channel_id)["capacity_sat"] * 1000
        assert row["inbound_msat"] == max(0, ours_msat - row["their_reserve_sats"] * 1000), row
        theirs_msat = capacity_msat - ours_msat
        assert row["outbound_msat"] == max(0, theirs_msat - (row["reserve_sats"] or 0) * 1000), row

    # --- closing ------------------------------------------------------------------------

    def close_channel(self, channel_id: str, *, force: bool = False) -> str:
        """Closes a channel; the transaction that spends its funding, which the real node has taken."""
        txid, _colon, vout = self.channel(channel_id)["channel_point"].partition(":")
        self.call("close_channel", channel_id=channel_id, force=force)
        return self.net.node.wait_for_spend(txid, int(vout))

    def mine_until_swept(self, most_blocks: int = 60) -> None:
        """Mines until every coin that was on its way is a confirmed one. A claim may follow upon another, and each
        takes a moment to reach the real node: how many blocks that is, is not said beforehand."""
        for _ in range(most_blocks):
            self.mine(1)
            if not self.sat("closing") and not self.sat("unconfirmed"):
                return
        raise ProcessError(f"{self.name}: after {most_blocks} blocks: {self.node.snapshot().balance.locked}")

    def check_coins(self, *, paid_away_sat: int, commitment_txids: Sequence[str] = ()) -> None:
        """With all channels closed that we had opened: confirmed coins are what was deposited, less what was paid
        away, and less what our transactions cost by the real node's word."""
        ours = {item["txid"] for item in self.call("history") if item["txid"]} - self.deposits
        cost_sat = sum(self.fee_sat(txid) for txid in ours.union(commitment_txids))
        for commitment in commitment_txids:
            outputs = self.net.node.rpc("getrawtransaction", commitment, 1)["vout"]
            cost_sat += sum(ANCHOR_SAT for out in outputs if sat_from_btc(out["value"]) == ANCHOR_SAT)
            for txid in ours:
                for vin in self.net.node.rpc("getrawtransaction", txid, 1)["vin"]:
                    spent = self.net.node.rpc("getrawtransaction", vin["txid"], 1)["vout"][vin["vout"]]
                    if vin["txid"] == commitment and sat_from_btc(spent["value"]) == ANCHOR_SAT:
                        cost_sat -= ANCHOR_SAT
        assert self.sat() == self.deposited_sat - paid_away_sat - cost_sat

    # --- payments -------------------------------------------------------------------------

    def invoice(self, amount_msat: int | None, **options: Json) -> str:
        request = self.call(
            "add_request", amount_msat=amount_msat, lightning=True, message="to us", **options
        )
        return str(request["lightning_invoice"])

    def pay(self, peer: LdkPeer, amount_msat: int, **options: Json) -> Json:
        """Pays a new invoice of a peer; the answer, which is a success."""
        invoice = peer.call("invoice", amount_msat=amount_msat, description="from us")["bolt11"]
        paid = self.call("lnpay", invoice=invoice, **options)
        assert paid["success"], paid
        assert paid["amount_msat"] == amount_msat
        return paid

    def paid_by(self, peer: LdkPeer, amount_msat: int, **options: Json) -> Json:
        """A peer pays a new invoice of ours; its answer, which is a success."""
        paid = peer.call("pay", bolt11=self.invoice(amount_msat), **options)
        assert paid["status"] == "sent", paid
        return paid
