"""Three nodes, three channels a link, and a byte for each thing that may happen to them.

What rust-lightning's fuzz target `chanmon_consistency` does, done to our core: its inputs run here. The first byte is
the configuration: bits 0 to 2 let the further copies of a node's monitors lag behind, bits 3 and 4 choose the channel
type (0: without anchors; otherwise with; commitments without fees do not exist here yet and run as anchors), bits 5
to 7 give a node a slow disk. Every byte after it is a command; a byte that is none ends the run. Commands for
splices and for signers that are away do nothing.

A restart (0xb0 to 0xbe) picks, by the command's remainder modulo 3, the newest state that a crash may leave, the
oldest, or one between; see `stored_node`. Zero reserves are not for sale in the core: the channels that have
them in rust-lightning's target get them here by a stroke in the stored terms.

What has to hold: no channel closes unasked; once all is settled no payment and no HTLC hangs, every claim was told
to the payer, and every open channel can still send; after a force-close all that can be claimed arrives; nothing
leaves a node that is not on its disk, or whose further copy is not durable; any legal stored state starts.

`python -m tests.stateful.chanmon_consistency FILE...` runs input files and names the command at fault.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path as FilePath
from typing import Concatenate, Final, ParamSpec

from tests.stateful.payment_book import FIRST_HOP_FEE_MSAT, NOWHERE, Hop, PaymentBook, details
from tests.stateful.small_chain import OP_TRUE_SCRIPT, Coins, SmallChain, thin_air
from tests.stateful.stored_node import (
    FLOOR_SAT_PER_KW,
    HangUp,
    Outgoing,
    StoredNode,
)
from wallet.bitcoin.records import encode
from wallet.bitcoin.tx import OutPoint, TxOut
from wallet.chain.interfaces import Row
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.chan_utils import ANCHOR_OUTPUT_SAT
from wallet.ln.channel_limits import FEE_SPIKE_MULTIPLE
from wallet.ln.config import (
    ANTI_REORG_DELAY_BLOCKS,
    HTLC_FAIL_BACK_BUFFER_BLOCKS,
    ChannelHandshakeConfig,
    UserConfig,
)
from wallet.ln.manager_payments import MPP_TIMEOUT_TICKS
from wallet.ln.types import ChannelId, PaymentHash
from wallet.ln.watch import ChannelMonitorUpdateStatus

MAX_SETTLE_ROUNDS: Final = 256
MAX_CLEANUP_ROUNDS: Final = 512
MINE_COUNTS: Final = (1, 2, 3, 6, 12, 24, 48, 144)
CHANNEL_SAT: Final = 100_000
WALLET_COINS: Final = 50

NAMES: Final = ("alice", "bob", "carol")
LINKS: Final = ((0, 1), (1, 2))

# Which channels have no reserve in rust-lightning's target, anchors given: (link, channel) -> ends that need keep none.
NO_RESERVE: Final = {
    (0, 1): (0, 1),
    (0, 2): (0,),
    (1, 0): (1,),
    (1, 1): (2,),
}


class Violation(AssertionError):
    """A command after which something does not hold that has to."""


class Deliver(Enum):
    ALL = auto()
    """Asks the node for all that it has to say, and delivers it."""
    ONE = auto()
    """Asks as well, but delivers one; of an update of HTLCs not its commitment_signed."""
    ONE_QUEUED = auto()
    """Does not even ask."""


@dataclass
class Link:
    """Two nodes, and their three channels."""

    a: int
    b: int
    channel_ids: tuple[ChannelId, ...]
    is_up: bool = True

    def joins(self, index: int) -> bool:
        return index in (self.a, self.b)

    def other(self, index: int) -> int:
        return self.b if index == self.a else self.a


@dataclass(frozen=True)
class Base:
    """Six open channels, to start every run from."""

    chain: SmallChain
    coins: tuple[dict[OutPoint, TxOut], ...]
    rows: tuple[dict[tuple[str, bytes], bytes], ...]
    channel_ids: tuple[tuple[ChannelId, ...], ...]


def node_config(*, anchors: bool) -> UserConfig:
    return UserConfig(
        channel_handshake_config=ChannelHandshakeConfig(
            negotiate_anchors_zero_fee_htlc_tx=anchors,
            # Shorter than the wallet's own: a force-close is waited for block by block.
            our_to_self_delay_blocks=144,
        ),
        accept_forwards=True,
        accept_forwards_to_priv_channels=True,
    )


# --- setting up ---------------------------------------------------------------


def make_base(*, anchors: bool) -> Base:
    chain = SmallChain()
    wallets: list[Coins] = []
    for index in range(len(NAMES)):
        tx = thin_air(index, tuple(TxOut(100_000, OP_TRUE_SCRIPT) for _ in range(WALLET_COINS)))
        chain.mine_directly(tx)
        wallets.append(
            Coins((OutPoint(tx.txid, vout), output) for vout, output in enumerate(tx.outputs[:-1]))
        )
    config = node_config(anchors=anchors)
    nodes = [StoredNode(name, config, chain, coins) for name, coins in zip(NAMES, wallets, strict=True)]
    ids: list[tuple[ChannelId, ...]] = []
    for link, (a, b) in enumerate(LINKS):
        nodes[a].connected(nodes[b], inbound=True)
        nodes[b].connected(nodes[a], inbound=False)
        ids.append(tuple(_open(nodes, a, b, 10 * link + number + 10) for number in range(3)))
    chain.mine(ANTI_REORG_DELAY_BLOCKS)
    for node in nodes:
        node.follow_chain(None)
    _pump(nodes)
    for node in nodes:
        with node.entry():
            node.manager.process_pending_events(lambda _id, _event: None)
            node.monitor.process_pending_events(lambda _id, _event: None)
    if anchors:
        for (link, number), ends in NO_RESERVE.items():
            for end in ends:
                _waive_reserve(nodes, LINKS[link], end, ids[link][number])
    for node in nodes:
        assert len(node.manager.list_usable_channels()) == (6 if node is nodes[1] else 3)
        node.check()
    return Base(
        chain=chain,
        coins=tuple(dict(coins.coins) for coins in wallets),
        rows=tuple(dict(node.journal.rows) for node in nodes),
        channel_ids=tuple(ids),
    )


def _open(nodes: Sequence[StoredNode], a: int, b: int, number: int) -> ChannelId:
    opener, acceptor = nodes[a], nodes[b]
    with opener.entry():
        opener.manager.create_channel(acceptor.node_id, CHANNEL_SAT, 42, 0, None)
    _pump(nodes)
    opened: list[ChannelId] = []
    asked: list[ev.FundingGenerationReady] = []

    def handle(_event_id: int, event: ev.Event) -> None:
        if isinstance(event, ev.FundingGenerationReady):
            asked.append(event)
        elif isinstance(event, ev.ChannelPending):
            opened.append(event.channel_id)

    with opener.entry():
        opener.manager.process_pending_events(handle)
    (ready,) = asked
    tx = thin_air(number, (TxOut(ready.channel_value_sat, ready.output_script),))
    with opener.entry():
        opener.manager.funding_transaction_generated(ready.temporary_channel_id, acceptor.node_id, tx)
    opener.chain.mine_directly(tx)
    _pump(nodes)
    with opener.entry():
        opener.manager.process_pending_events(handle)
    return opened[-1]


def _pump(nodes: Sequence[StoredNode]) -> None:
    """Delivers whatever is said, until nobody says anything."""
    by_id = {node.node_id: node for node in nodes}
    worked = True
    while worked:
        worked = False
        for node in nodes:
            for item in node.take_fresh():
                assert not isinstance(item.what, HangUp)
                node.left(item.batch)
                by_id[item.to].receive(node.node_id, msgs.encode_message(item.what))
                worked = True


def _waive_reserve(
    nodes: Sequence[StoredNode], link: tuple[int, int], end: int, channel_id: ChannelId
) -> None:
    """`end` need not keep anything in the channel."""
    for index in link:
        node = nodes[index]
        terms = node.manager._channels[channel_id].terms
        if index == end:
            terms = replace(terms, counterparty=replace(terms.counterparty, channel_reserve_sat=0))
        else:
            terms = replace(terms, holder=replace(terms.holder, channel_reserve_sat=0))
        key = channel_id + bytes((0,))
        assert ("channel", key) in node.journal.rows
        node.journal.write((Row("channel", key, encode(terms)),))


_BASES: dict[bool, Base] = {}


def base_for(*, anchors: bool) -> Base:
    if anchors not in _BASES:
        _BASES[anchors] = make_base(anchors=anchors)
    return _BASES[anchors]


# --- the harness --------------------------------------------------------------


@dataclass
class Closes:
    """Channels that this input asked to close."""

    asked: dict[ChannelId, str] = field(default_factory=dict)

    def is_open(self, channel_id: ChannelId) -> bool:
        return channel_id not in self.asked


class Harness:
    def __init__(self, config_byte: int, log: Callable[[str], None] | None = None) -> None:
        self.anchors = config_byte >> 3 & 3 != 0
        base = base_for(anchors=self.anchors)
        self.chain = base.chain.copy()
        self.log = log
        config = node_config(anchors=self.anchors)
        self.wallets = [Coins(coins.items()) for coins in base.coins]
        self.nodes = [
            StoredNode(name, config, self.chain, coins, dict(rows))
            for name, coins, rows in zip(NAMES, self.wallets, base.rows, strict=True)
        ]
        self.index_of = {node.node_id: index for index, node in enumerate(self.nodes)}
        self.links = [
            Link(a, b, channel_ids, is_up=False)
            for (a, b), channel_ids in zip(LINKS, base.channel_ids, strict=True)
        ]
        self.closes = Closes()
        self.told_spendable: dict[OutPoint, int] = {}
        self.fundings = {
            channel.channel_id: channel.funding_outpoint
            for node in self.nodes
            for channel in node.manager.list_channels()
        }
        self.payments = PaymentBook(self.nodes)
        for link in self.links:
            self.reconnect(link)
        self.process_all()
        for index, node in enumerate(self.nodes):
            node.unrelayed.clear()
            if config_byte >> index & 1:
                node.style = ChannelMonitorUpdateStatus.IN_PROGRESS
                node.use_style()
            node.deferred = bool(config_byte >> (5 + index) & 1)
            assert len(node.manager.list_usable_channels()) == (6 if index == 1 else 3)

    def say(self, text: str) -> None:
        if self.log is not None:
            self.log(text)

    # --- links ---

    def link_between(self, a: int, b: int) -> Link:
        return self.links[0] if 0 in (a, b) else self.links[1]

    def cut(self, link: int) -> None:
        self.disconnect(self.links[link])

    def join(self, link: int) -> None:
        self.reconnect(self.links[link])

    def disconnect(self, link: Link) -> None:
        if not link.is_up:
            return
        link.is_up = False
        a, b = self.nodes[link.a], self.nodes[link.b]
        a.disconnected(b.node_id)
        b.disconnected(a.node_id)

    def reconnect(self, link: Link) -> None:
        if link.is_up:
            return
        link.is_up = True
        a, b = self.nodes[link.a], self.nodes[link.b]
        a.connected(b, inbound=True)
        b.connected(a, inbound=False)

    def restart(self, index: int, choice: int) -> None:
        node = self.nodes[index]
        for link in self.links:
            if link.joins(index) and link.is_up:
                link.is_up = False
                self.nodes[link.other(index)].disconnected(node.node_id)
        oldest, newest = node.journal.floor, node.journal.latest
        batch = (newest, oldest, (oldest + newest) // 2)[choice % 3]
        self.say(f"{node} starts from batch {batch} of {oldest} to {newest}")
        node.restart(batch)

    # --- messages ---

    def deliver(self, index: int, *, corrupt: bool, how: Deliver) -> bool:
        node = self.nodes[index]
        waiting = node.queue
        if how is not Deliver.ONE_QUEUED:
            waiting = waiting + node.take_fresh()
        node.queue = waiting
        worked = False
        while node.queue:
            worked = True
            item = node.queue.pop(0)
            is_htlc_update = self._deliver_one(node, item, corrupt=corrupt)
            if how is Deliver.ALL:
                continue
            if not is_htlc_update:
                if isinstance(item.what, msgs.UpdateFee) and self._follows(node, item):
                    continue
                break
            # The other updates of the same commitment_signed.
            while self._follows(node, item) and _is_update(node.queue[0].what):
                self._deliver_one(node, node.queue.pop(0), corrupt=corrupt)
            break
        # In the middle, what goes left is said before what goes right.
        node.queue.sort(key=lambda item: self.index_of[item.to])
        return worked

    @staticmethod
    def _follows(node: StoredNode, before: Outgoing) -> bool:
        """Whether the next message is of the same channel."""
        if not node.queue:
            return False
        return _channel_of(node.queue[0].what) == _channel_of(before.what)

    def _deliver_one(self, node: StoredNode, item: Outgoing, *, corrupt: bool) -> bool:
        """Whether it was an update of HTLCs."""
        node.left(item.batch)
        dest = self.index_of[item.to]
        link = self.link_between(self.index_of[node.node_id], dest)
        msg = item.what
        if isinstance(msg, HangUp):
            self.say(f"{node} hangs up on {self.nodes[dest]}: {msg.message}")
            assert msg.message == "No answer came in time.", f"{node} hangs up: {msg.message}"
            self.disconnect(link)
            return False
        assert link.is_up, f"{node} sends {type(msg).__name__} to a peer that is not there"
        self.say(f"{node} to {self.nodes[dest]}: {type(msg).__name__}")
        match msg:
            case msgs.Error():
                text = msg.data.decode()
                asked = self.closes.asked.get(msg.channel_id)
                assert asked is not None, f"{node} sends an error unasked: {text}"
            case msgs.UpdateAddHtlc() if corrupt:
                self.payments.allow_failure_of(msg.payment_hash)
                onion = bytearray(msg.onion_routing_packet)
                onion[916] ^= 0xFF
                msg = replace(msg, onion_routing_packet=bytes(onion))
            case msgs.UpdateFailHtlc() | msgs.UpdateFailMalformedHtlc():
                self.payments.note_downstream_failure(dest, msg.channel_id, msg.htlc_id)
            case _:
                pass
        self.nodes[dest].receive(node.node_id, msgs.encode_message(msg))
        return _is_htlc_update(msg)

    # --- events ---

    def process_events(self, index: int, *, fail: bool) -> bool:
        node = self.nodes[index]
        with node.entry():
            node.manager.process_pending_monitor_events()
        answered: set[PaymentHash] = set()
        worked = False
        bumps = node.bump_handler()

        def handle(_event_id: int, event: ev.Event) -> None:
            nonlocal worked
            worked = True
            match event:
                case ev.PaymentClaimable(payment_hash=payment_hash):
                    if payment_hash in answered:
                        return
                    answered.add(payment_hash)
                    if fail:
                        self.payments.refuse(index, payment_hash)
                    else:
                        self.payments.claim(index, payment_hash)
                case ev.PaymentSent():
                    self.payments.sent(index, event.payment_id, event.payment_hash)
                case ev.PaymentFailed():
                    self.payments.failed(index, event.payment_id)
                case ev.ChannelClosed():
                    assert not self.closes.is_open(event.channel_id), (
                        f"{node} lost a channel unasked: {event.reason}"
                    )
                case ev.BumpCommitment() | ev.BumpHtlcs():
                    bumps.handle_event(event)
                case ev.PaymentForwarded():
                    assert index == 1
                case (
                    ev.PaymentClaimed()
                    | ev.PaymentPathSuccessful()
                    | ev.PaymentPathFailed()
                    | ev.HTLCHandlingFailed()
                    | ev.ChannelReadyEvent()
                ):
                    pass
                case ev.SpendableOutputs():
                    # What was told to a node that then crashed is told again.
                    for item in event.outputs:
                        self.told_spendable[item.outpoint] = item.output.value_sat
                case _:
                    raise AssertionError(f"{node} tells {event}")

        with node.entry():
            node.manager.process_pending_events(handle)
            node.monitor.process_pending_events(handle)
        while node.manager.needs_forwarding:
            with node.entry():
                node.manager.process_pending_htlc_forwards(node.now)
            self.payments.allow_own_failures(index)
            worked = True
        return worked

    # --- payments ---

    def open_channels(self, link: Link) -> list[ChannelId]:
        return [channel_id for channel_id in link.channel_ids if self.closes.is_open(channel_id)]

    def _hop(self, index: int, channel_id: ChannelId, amount_msat: int, *, usable: bool) -> Hop:
        found = details(self.nodes[index], channel_id)
        scid = None
        if found is not None and (found.is_usable or not usable):
            scid = found.short_channel_id
        return Hop(channel_id, NOWHERE if scid is None else scid, amount_msat)

    def _can_send(self, index: int, channel_id: ChannelId, amount_msat: int) -> bool:
        found = details(self.nodes[index], channel_id)
        if found is None or not found.is_usable:
            return False
        least_msat, most_msat = found.next_outbound_htlc_minimum_msat, found.next_outbound_htlc_limit_msat
        return least_msat <= amount_msat <= most_msat

    def send_on(self, source: int, dest: int, channel_id: ChannelId, amount_msat: int) -> bool:
        if not self.closes.is_open(channel_id):
            return False
        expect = self._can_send(source, channel_id, amount_msat)
        hop = self._hop(source, channel_id, amount_msat, usable=True)
        return self.payments.send(source, (dest,), ((hop,),), expect=expect)

    def send(self, source: int, dest: int, amount_msat: int) -> None:
        channel_ids = self.open_channels(self.link_between(source, dest))
        if channel_ids:
            self.send_on(source, dest, channel_ids[0], amount_msat)

    def _has_half_closed(self, link: Link) -> bool:
        """A channel that was closed at one end, and is still there at the other."""
        return any(
            details(self.nodes[index], channel_id) is not None
            for channel_id in link.channel_ids
            if not self.closes.is_open(channel_id)
            for index in (link.a, link.b)
        )

    def send_hop(self, source: int, dest: int, amount_msat: int) -> None:
        first, second = self.link_between(source, 1), self.link_between(1, dest)
        if self._has_half_closed(first) or self._has_half_closed(second):
            return
        one, two = first.channel_ids[0], second.channel_ids[0]
        if not self.closes.is_open(one) or not self.closes.is_open(two):
            return
        carried_msat = amount_msat + FIRST_HOP_FEE_MSAT
        hops = (
            self._hop(source, one, carried_msat, usable=True),
            self._hop(dest, two, amount_msat, usable=False),
        )
        self.payments.send(source, (1, dest), (hops,), expect=self._can_send(source, one, carried_msat))

    def send_mpp_direct(
        self, source: int, dest: int, channel_ids: Sequence[ChannelId], amount_msat: int
    ) -> None:
        count = len(channel_ids)
        if not count or not all(self.closes.is_open(channel_id) for channel_id in channel_ids):
            return
        paths = [
            (self._hop(dest, channel_id, part_msat, usable=False),)
            for channel_id, part_msat in zip(channel_ids, _shares(amount_msat, count), strict=True)
        ]
        self.payments.send(source, (dest,), paths, expect=None)

    def send_mpp_hop(
        self, source: int, dest: int, amount_msat: int, *, first_all: bool, second_all: bool
    ) -> None:
        first, second = self.link_between(source, 1), self.link_between(1, dest)
        if self._has_half_closed(first) or self._has_half_closed(second):
            return
        ones = self.open_channels(first) if first_all else [first.channel_ids[0]]
        twos = self.open_channels(second) if second_all else [second.channel_ids[0]]
        if not ones or not twos or not all(map(self.closes.is_open, (*ones, *twos))):
            return
        count = max(len(ones), len(twos))
        paths = []
        shares = zip(_shares(amount_msat, count), _shares(FIRST_HOP_FEE_MSAT, count), strict=True)
        for place, (part_msat, fee_msat) in enumerate(shares):
            one, two = ones[place % len(ones)], twos[place % len(twos)]
            paths.append(
                (
                    self._hop(1, one, part_msat + fee_msat, usable=False),
                    self._hop(dest, two, part_msat, usable=False),
                )
            )
        self.payments.send(source, (1, dest), paths, expect=None)

    # --- fees ---

    def bump_fee(self, index: int) -> None:
        node = self.nodes[index]
        most_sat_per_kw = node.last_settled_sat_per_kw
        if not self.anchors:
            most_sat_per_kw *= FEE_SPIKE_MULTIPLE
        node.fees.channel_sat_per_kw = min(node.fees.channel_sat_per_kw + 250, most_sat_per_kw)
        node.tick()

    def reset_fee(self, index: int) -> None:
        self.nodes[index].fees.channel_sat_per_kw = FLOOR_SAT_PER_KW
        self.nodes[index].tick()

    # --- further copies ---

    def complete(self, link: int, index: int, place: int | None) -> bool:
        """Reports one copy of each of the link's channels, or all of them, as durable."""
        worked = False
        for channel_id in self.links[link].channel_ids:
            node = self.nodes[index]
            if place is None:
                worked |= node.complete_copies(channel_id)
            else:
                worked |= node.complete_copy(channel_id, place)
        return worked

    # --- closing and the chain ---

    def commit(self, index: int) -> None:
        self.nodes[index].commit()

    def follow_chain(self, index: int, blocks: int | None) -> None:
        self.nodes[index].follow_chain(blocks)

    def relay(self, index: int) -> None:
        self.nodes[index].relay()

    def force_close(self, index: int, link_number: int) -> None:
        link = self.links[link_number]
        channel_id = link.channel_ids[0]
        if not self.closes.is_open(channel_id):
            return
        for node in self.nodes:
            found = details(node, channel_id)
            if found is not None and found.pending_htlcs:
                return
        node = self.nodes[index]
        assert details(node, channel_id) is not None, "a channel to close is not there"
        message = f"{node} was asked to close"
        with node.entry():
            self.closes.asked[channel_id] = message

            def undo() -> None:
                del self.closes.asked[channel_id]

            node.undo_with_batch(undo)
            node.manager.force_close_broadcasting_latest_txn(
                channel_id, self.nodes[link.other(index)].node_id, message
            )
        self.payments.allow_failure_through(channel_id)

    def _earliest_expiry(self) -> int | None:
        heights = [
            htlc.cltv_expiry_height
            for node in self.nodes
            for channel in node.manager.list_channels()
            for htlc in channel.pending_htlcs
        ]
        return min(heights) if heights else None

    def mine(self, count: int) -> int:
        """Not beyond where an HTLC would have to go to the chain. How many blocks there were."""
        expiry = self._earliest_expiry()
        if expiry is not None:
            deadline = expiry - HTLC_FAIL_BACK_BUFFER_BLOCKS
            assert self.chain.height < deadline, f"an HTLC that expires at {expiry} hangs"
            count = min(count, deadline - self.chain.height - 1)
        if count == 0:
            return 0
        txs = self.chain.mine(count)
        self.payments.allow_failure_too_late(self.chain.height)
        for wallet in self.wallets:
            wallet.block_connected(txs)
        for node in self.nodes:
            node.follow_chain(None)
        return count

    def relay_all(self) -> None:
        for node in self.nodes:
            node.relay()

    # --- settling ---

    def commit_all(self) -> bool:
        worked = False
        for node in self.nodes:
            worked |= node.commit()
        return worked

    def process_all(self) -> None:
        """Until nobody has anything to say or to do."""
        quiet = False
        for _ in range(MAX_SETTLE_ROUNDS):
            worked = self.commit_all()
            for number, link in enumerate(self.links):
                for index in (link.a, link.b):
                    worked |= self.complete(number, index, None)
            spoke = any(self.deliver(index, corrupt=False, how=Deliver.ALL) for index in range(3)) or any(
                self.process_events(index, fail=False) for index in range(3)
            )
            if spoke or worked:
                quiet = False
            elif quiet:
                return
            else:
                quiet = True
        raise AssertionError("the nodes never come to rest")

    def settle(self) -> None:
        for node in self.nodes:
            node.follow_chain(None)
        for _ in range(3):
            # A node that was kept waiting hangs up when it is asked.
            for link in self.links:
                self.reconnect(link)
            self.process_all()
            if all(link.is_up for link in self.links):
                break
        # Parts whose siblings failed on the way wait for a while.
        for _ in range(MPP_TIMEOUT_TICKS + 1):
            for node in self.nodes:
                node.tick()
            self.process_all()
        if self.closes.asked:
            self._settle_closes()
        assert all(link.is_up for link in self.links), "the peers hang up on each other again and again"
        self.payments.check_settled()
        for node in self.nodes:
            node.check_rows()
            for channel in node.manager.list_channels():
                if self.closes.is_open(channel.channel_id):
                    assert not channel.pending_htlcs, f"{node} has HTLCs that hang: {channel.pending_htlcs}"
                    assert channel.is_usable, f"{node} cannot use {channel.channel_id.hex()}"
            assert not node.manager._forwards, f"{node} remembers forwards that are over"
            assert not node.manager._claimable, f"{node} remembers payments that are over"
        self.check_channels()
        self._check_balances()
        for link in self.links:
            for channel_id in self.open_channels(link):
                assert self.send_on(link.a, link.b, channel_id, 10_000_000) or self.send_on(
                    link.b, link.a, channel_id, 10_000_000
                ), f"channel {channel_id.hex()} can send no more"
        for node in self.nodes:
            node.last_settled_sat_per_kw = node.fees.channel_sat_per_kw

    def _check_balances(self) -> None:
        """Both ends of a channel at rest agree, to the millisatoshi."""
        for link in self.links:
            for channel_id in self.open_channels(link):
                ends = [details(self.nodes[index], channel_id) for index in (link.a, link.b)]
                total_msat = sum(end.balance_msat for end in ends if end is not None)
                assert total_msat == CHANNEL_SAT * 1000, f"the ends disagree by {total_msat} msat"

    def _settle_closes(self) -> None:
        for _ in range(MAX_CLEANUP_ROUNDS):
            self.process_all()
            for node in self.nodes:
                with node.entry():
                    node.monitor.rebroadcast_pending_claims()
            self.process_all()
            self.relay_all()
            if self.chain.mempool:
                assert self.mine(ANTI_REORG_DELAY_BLOCKS), "an HTLC hangs, and time is up"
                continue
            claimable = [
                balance
                for node in self.nodes
                for balance in node.monitor.get_claimable_balances(
                    {channel.channel_id for channel in node.manager.list_channels()}
                )
            ]
            if not claimable:
                self._check_spendable()
                return
            assert self.mine(ANTI_REORG_DELAY_BLOCKS), "an HTLC hangs, and time is up"
        raise AssertionError(f"what was closed never comes home: {claimable}")

    def _check_spendable(self) -> None:
        """Of a commitment without HTLCs, every output but the anchors came home."""
        for channel_id in self.closes.asked:
            closing = self.chain.spender_of(self.fundings[channel_id])
            assert closing is not None, f"nothing closes {channel_id.hex()}"
            for vout, output in enumerate(closing.outputs):
                if not (self.anchors and output.value_sat == ANCHOR_OUTPUT_SAT):
                    told_sat = self.told_spendable.get(OutPoint(closing.txid, vout))
                    assert told_sat == output.value_sat, f"output {vout} of a close never came home"

    def check_channels(self) -> None:
        for link in self.links:
            for channel_id in self.open_channels(link):
                for index in (link.a, link.b):
                    assert details(self.nodes[index], channel_id) is not None, (
                        f"{self.nodes[index]} has lost {channel_id.hex()}"
                    )

    def finish(self) -> None:
        """Relays and mines what is left; only what was asked for may have closed."""
        self.commit_all()
        for _ in range(32):
            self.relay_all()
            if not self.chain.mempool or not self.mine(ANTI_REORG_DELAY_BLOCKS):
                break
            self.commit_all()
        self.check_channels()
        self.check()

    def check(self) -> None:
        for node in self.nodes:
            node.check()


def _shares(amount: int, count: int) -> list[int]:
    each = amount // count
    return [each] * (count - 1) + [amount - each * (count - 1)]


def _is_htlc_update(msg: msgs.Message) -> bool:
    return isinstance(
        msg,
        msgs.UpdateAddHtlc | msgs.UpdateFulfillHtlc | msgs.UpdateFailHtlc | msgs.UpdateFailMalformedHtlc,
    )


def _is_update(what: msgs.Message | HangUp) -> bool:
    if isinstance(what, HangUp):
        return False
    return _is_htlc_update(what) or isinstance(what, msgs.UpdateFee)


def _channel_of(what: msgs.Message | HangUp) -> object:
    return getattr(what, "channel_id", None)


# --- commands -----------------------------------------------------------------

Command = Callable[[Harness], object]
P = ParamSpec("P")


def _style(h: Harness, index: int, status: ChannelMonitorUpdateStatus) -> None:
    h.nodes[index].style = status


def _parts_on(h: Harness, *, repeat_first: bool) -> None:
    link = h.links[0]
    channel_ids = [link.channel_ids[0]] * 3 if repeat_first else h.open_channels(link)
    h.send_mpp_direct(0, 1, channel_ids, 1_000_000)


def _nothing(_h: Harness) -> None:
    """For what the core cannot do yet."""


class _Table:
    """Byte, name and command."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[str, Command]] = {}

    def add(
        self,
        byte: int,
        name: str,
        command: Callable[Concatenate[Harness, P], object],
        *args: P.args,
        **options: P.kwargs,
    ) -> None:
        assert byte not in self.found

        def call(harness: Harness) -> None:
            command(harness, *args, **options)

        self.found[byte] = (name, call)


def _commands() -> dict[int, tuple[str, Command]]:
    """What each byte does. Those for splices and signers are there, and do nothing."""
    table = _Table()
    add = table.add
    for index, name in enumerate(NAMES):
        add(
            index,
            f"copies of {name} lag from its next start on",
            _style,
            index,
            ChannelMonitorUpdateStatus.IN_PROGRESS,
        )
        add(4 + index, f"copies of {name} keep up", _style, index, ChannelMonitorUpdateStatus.COMPLETED)
    for byte, link, index in ((0x08, 0, 0), (0x09, 0, 1), (0x0A, 1, 1), (0x0B, 1, 2)):
        add(byte, f"all copies of {NAMES[index]} on link {link}", Harness.complete, link, index, None)
    for link in (0, 1):
        add(0x0C + link, f"link {link} goes", Harness.cut, link)
        add(0x0E + link, f"link {link} comes", Harness.join, link)
    for index, name in enumerate(NAMES):
        start = 0x10 + 8 * index
        for place, how in enumerate(Deliver):
            for clean in (False, True):
                title = f"messages of {name}: {how.name}{'' if clean else ', corrupted'}"
                add(start + 2 * place + clean, title, Harness.deliver, index, corrupt=not clean, how=how)
        add(start + 6, f"events of {name}, refusing", Harness.process_events, index, fail=True)
        add(start + 7, f"events of {name}", Harness.process_events, index, fail=False)
    for place in range(8):
        amount_msat = 10 ** (7 - place)
        start = 0x30 + 8 * place
        for offset, (a, b) in enumerate(((0, 1), (1, 0), (1, 2), (2, 1))):
            add(
                start + offset,
                f"{NAMES[a]} pays {NAMES[b]} {amount_msat} msat",
                Harness.send,
                a,
                b,
                amount_msat,
            )
        for offset, (a, b) in enumerate(((0, 2), (2, 0))):
            title = f"{NAMES[a]} pays {NAMES[b]} {amount_msat} msat through bob"
            add(start + 4 + offset, title, Harness.send_hop, a, b, amount_msat)
    add(0x70, "alice pays bob in parts on all channels", _parts_on, repeat_first=False)
    for byte, first_all, second_all in ((0x71, True, False), (0x72, True, True), (0x73, False, True)):
        title = "alice pays carol in parts"
        add(byte, title, Harness.send_mpp_hop, 0, 2, 1_000_000, first_all=first_all, second_all=second_all)
    add(0x74, "alice pays bob in parts on one channel", _parts_on, repeat_first=True)
    for index, name in enumerate(NAMES):
        add(0x80 + 4 * index, f"fee rates of {name} rise", Harness.bump_fee, index)
        add(0x81 + 4 * index, f"fee rates of {name} fall", Harness.reset_fee, index)
        add(0x90 + index, f"the disk of {name} catches up", Harness.commit, index)
        add(0xA8 + index, f"{name} hears of a block", Harness.follow_chain, index, 1)
        add(0xAB + index, f"{name} hears of all blocks", Harness.follow_chain, index, None)
    for byte in range(0xA0, 0xA8):
        add(byte, "splice", _nothing)
    for byte in range(0xB0, 0xBF):
        index = 0 if byte < 0xB3 else 1 if byte < 0xBC else 2
        # In rust-lightning's target, 0xb1 and every third from there take what was told to be durable.
        add(byte, f"{NAMES[index]} is killed", Harness.restart, index, byte - 0xB1)
    for byte in range(0xC0, 0xD6):
        add(byte, "signer", _nothing)
    for index, name in enumerate(NAMES):
        add(0xD6 + index, f"what {name} broadcast is relayed", Harness.relay, index)
    for place, count in enumerate(MINE_COUNTS):
        add(0xD9 + place, f"{count} blocks", Harness.mine, count)
    for byte, index, link in ((0xE1, 0, 0), (0xE2, 1, 1), (0xE3, 1, 0), (0xE4, 2, 1)):
        add(byte, f"{NAMES[index]} closes", Harness.force_close, index, link)
    for start, link, index in ((0xF0, 0, 0), (0xF4, 0, 1), (0xF8, 1, 1), (0xFC, 1, 2)):
        for offset, (place, word) in enumerate(((0, "first"), (1, "second"), (-1, "last"))):
            title = f"the {word} copy of {NAMES[index]} on link {link}"
            add(start + offset, title, Harness.complete, link, index, place)
    add(0xFF, "settle", Harness.settle)
    return table.found


COMMANDS: Final = _commands()


def run(data: bytes, log: Callable[[str], None] | None = None) -> None:
    """Runs one input. Raises Violation, which names the command at fault."""
    place, name = 0, "setting up"
    try:
        harness = Harness(data[0] if data else 0, log)
        for place, byte in enumerate(data[1:], start=1):
            if byte not in COMMANDS:
                break
            name, command = COMMANDS[byte]
            harness.say(f"--- {place}: {byte:#04x} {name}")
            command(harness)
            harness.check()
        place, name = len(data), "the end"
        harness.finish()
    except Exception as error:
        byte_text = f" {data[place]:#04x}" if 0 < place < len(data) else ""
        raise Violation(f"command {place}{byte_text} ({name}): {error!r}") from error


def main(arguments: Sequence[str]) -> int:
    verbose = "-v" in arguments
    files = [argument for argument in arguments if argument != "-v"]
    if not files:
        print("usage: python -m tests.stateful.chanmon_consistency [-v] FILE...", file=sys.stderr)
        return 2
    failed = 0
    for file in files:
        try:
            run(FilePath(file).read_bytes(), print if verbose else None)
        except Violation as violation:
            failed += 1
            print(f"{file}: {violation}")
            traceback.print_exception(violation.__cause__)
    print(f"{len(files)} inputs, {failed} at fault")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
