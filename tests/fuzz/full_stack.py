"""One complete node against bytes: `python -m tests.fuzz.full_stack FILE...`.

Theory of operation. "We" are a whole `wallet.node.Node`: peer manager, channel manager, chain monitor, gossip,
on-chain wallet, event handler, books and views, composed as in the wallet. Only its edges are replaced: rows go to a
store in memory, the chain is the sandbox's (mempool and scripts are judged there), servers and sockets are objects
of this module, the clocks stand still until the input moves them, and randomness counts. The transport's ciphers are
trivial (`PlainCipher`: sixteen zero bytes follow the plain text), so that bytes of a file get through to the messages.

Two kinds of peers talk to us. Raw ones are made of the input alone. The companion is a second whole node, honest by
itself, through which channels open and payments flow; the input may hold back, spoil, drop, repeat and add messages of
its. So deep states are reached, and then hit.

The format: a file is a sequence of commands, one byte each, with their arguments behind; numbers are big-endian. What
is missing at the end counts as zeros, unknown commands do nothing.

    00           a raw peer connects, its handshake included in what it will say
    01 k         raw peer number k (mod 4) connects with an honest handshake
    02 k         connection k (mod those that are there) is lost
    03 k nn ..   nn bytes come over connection k
    04 k nn ..   a message of nn bytes, type first, comes over connection k, framed as the transport frames it
    05 k         an honest `init` comes over connection k
    06           the companion connects            07           the connection to the companion is lost
    08 n         n messages of the companion reach us, and ours it; 0: until nobody has anything to say
    09 nn x      the companion's next message is spoilt: its byte nn (mod its length) is XORed with x
    0a           the companion's next message is lost
    0b           the companion's next message comes twice
    0c nn ..     a message of nn bytes comes from the companion
    10 vv        we open a channel of vv thousand sat      11 vv    the companion opens one
    12 vvvv      we pay the companion vvvv msat            13 vvvv  it pays us
    14 15        we close the first channel, together or by force
    16 17        the companion closes it
    18 vvvv      we pay an invoice that the companion holds back; 19 it takes the payment, 1a it gives it back
    1b vvvv      the companion pays an invoice that we hold back; 1c we take the payment, 1d we give it back
    20 n         n blocks are mined, the mempool in the first       21 n  n empty ones
    22 n         n blocks of which we are told the last only, with what was in them
    23 n         n blocks (1 to 6) are replaced by n + 1; what was in them is mined again
    24 nn ..     a transaction of nn bytes is seen, unconfirmed, that spends nothing that is there
    25           we are told of the last block again       26     we are told of the mempool
    30 31 32 33  the timer: peers, channels, rebroadcast, graph
    38           we are killed and start again from our rows; 39 the companion is
    3a 3b        our disk is slow from now on (nothing of later entries is written), and has caught up
    40 rr        fee rates are rr sat per 1000 weight (253 to 5,000)
    50 nn ..     nn bytes of text are pasted

At the end everybody is disconnected, every channel of ours is closed by force, and blocks are mined until nothing is
left to claim.

What must hold: no exception leaves the node, nor is one swallowed by the loop; every transaction of ours is valid;
without a command that is not honest, no channel closes unasked; a restart finds what was there; and in the end we have
what we put in, plus what we were paid, less what we paid and bounded fees.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast
from unittest.mock import patch

from cryptography.exceptions import InvalidTag

from wallet.bitcoin import curve
from wallet.bitcoin.address import address_to_script
from wallet.bitcoin.bip39 import mnemonic_from_entropy, seed_from_mnemonic
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.tx import BlockHash, Transaction, Txid
from wallet.chain.electrum.sync import SyncState, SyncStatus
from wallet.chain.interfaces import (
    BestBlock,
    BroadcastPackage,
    ChainStep,
    ChainUpdate,
    ConfirmationTarget,
    Row,
    TransactionsConfirmed,
    TransactionsSeen,
    TransactionUnconfirmed,
    TxInBlock,
    UtxoAnswer,
)
from wallet.ln import msgs
from wallet.ln.features import Features
from wallet.ln.types import NodeId, Now
from wallet.node.api import CommandError, Json
from wallet.node.commands import run
from wallet.node.node import Node
from wallet.node.options import NodeOptions
from wallet.node.records import PaymentState, RequestState
from wallet.node.store import Store
from wallet.node.wallets import SECRET_SPACE, WORDS_KEY
from wallet.sandbox.chain import SandboxChain, TxRejected

__all__ = ["FullStack", "LossError", "main", "play"]

START_AT: Final = 1_700_000_000
BASE_BLOCKS: Final = 130
DEPOSIT_SAT: Final = 20_000_000
TAG: Final = bytes(16)
HONEST_FEATURES: Final = Features([1, 5, 7, 8, 12, 14, 17, 23, 45, 47])
MAX_STEPS: Final = 400
"""Commands of one input: what comes behind is left out, so that a file takes seconds, not hours."""
MAX_CHANNELS: Final = 6
CHANNEL_ALLOWANCE_SAT: Final = 40_000
"""A channel's commitment, anchor, claims and sweep at up to 5,000 sat per 1000 weight."""
PAYMENT_ALLOWANCE_SAT: Final = 25_000
"""An HTLC that is claimed on chain: second stage, CPFP, sweep; or the whole of it where it is dust."""
CHANNEL_DEAD_BLOCKS: Final = 2_200
"""Longer than any delay and any HTLC's expiry."""


class LossError(AssertionError):
    """Something that must hold does not."""


class PlainCipher:
    """In the place of ChaCha20-Poly1305: the plain text, and a tag of zeros."""

    def __init__(self, key: bytes) -> None:
        pass

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        return data + TAG

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        if not data.endswith(TAG):
            raise InvalidTag
        return data[:-16]


def frame(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + TAG + message + TAG


# --- the edges of a node ---------------------------------------------------------------------------


class MemoryStore:
    """`wallet.node.store.Store`, in memory: a batch is durable at once, or once the slow disk has caught up."""

    def __init__(self, words: str) -> None:
        self.committed: dict[tuple[str, bytes], bytes] = {(SECRET_SPACE, WORDS_KEY): words.encode()}
        self.waiting: deque[tuple[list[Row], Callable[[], None]]] = deque()
        self.is_slow = False
        self.is_quick = False  # a writer thread of its own commits: the loop is never asked to
        self.failed: Callable[[BaseException], None] = lambda error: None
        self.network = "regtest"

    def rows(self, space: str) -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted((key, value) for (name, key), value in self.committed.items() if name == space))

    def read_row(self, space: str, key: bytes) -> bytes | None:
        for rows, _released in reversed(self.waiting):
            for row in reversed(rows):
                if (row.space, row.key) == (space, key):
                    return row.value
        return self.committed.get((space, key))

    def read_rows(self, space: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found = {key: self.read_row(space, key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def read(self, key: bytes) -> bytes | None:
        return self.read_row("revoked", key)

    def submit(self, rows: Iterable[Row], released: Callable[[], None], *, urgent: bool = True) -> None:
        self.waiting.append((list(rows), released))
        if urgent:
            self.flush()

    def flush(self) -> None:
        if not self.is_slow:
            self.catch_up()

    def commit_here(self) -> None:
        self.flush()

    def catch_up(self) -> None:
        while self.waiting:
            rows, released = self.waiting.popleft()
            for row in rows:
                if row.value is None:
                    self.committed.pop((row.space, row.key), None)
                else:
                    self.committed[row.space, row.key] = row.value
            released()

    def crash(self) -> None:
        """What was not written is gone."""
        self.waiting.clear()
        self.is_slow = False

    def password_matches(self, password: str) -> bool:
        return True


class Wire:
    """A `SocketDescriptor`: what the node sends piles up here."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.closed = False

    def send_data(self, data: bytes, resume_read: bool) -> int:
        self.sent += data
        return len(data)

    def disconnect_socket(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        data = bytes(self.sent)
        self.sent.clear()
        return data


class Fees:
    """`FeeEstimator`."""

    def __init__(self) -> None:
        self.sat_per_kw = 500

    def get_est_sat_per_1000_weight(self, confirmation_target: ConfirmationTarget) -> int:
        match confirmation_target:
            case ConfirmationTarget.MAXIMUM_FEE_ESTIMATE:
                return self.sat_per_kw * 4
            case (
                ConfirmationTarget.MIN_ALLOWED_ANCHOR_CHANNEL_REMOTE_FEE
                | ConfirmationTarget.MIN_ALLOWED_NON_ANCHOR_CHANNEL_REMOTE_FEE
                | ConfirmationTarget.CHANNEL_CLOSE_MINIMUM
            ):
                return 253
            case _:
                return self.sat_per_kw


class NoFilter:
    """The chain is small: everything is delivered."""

    def register_tx(self, txid: Txid, script_pubkey: bytes) -> None:
        pass

    def register_output(self, *_args: object) -> None:
        pass

    def register_script(self, script_pubkey: bytes) -> None:
        pass


class Servers:
    """In the place of `ElectrumSync`."""

    def __init__(self, world: FullStack, **given: Any) -> None:
        self._world = world
        self.filter = NoFilter()
        self.fee_estimator = world.fees
        self.broadcaster = self
        self.utxo_lookup = self

    def broadcast_transactions(self, package: BroadcastPackage) -> None:
        self._world.broadcast(package)

    async def broadcast(self, package: BroadcastPackage) -> SimpleNamespace:
        self._world.broadcast(package)
        return SimpleNamespace(failure=None)

    def get_utxo(
        self, chain_hash: bytes, short_channel_id: int, answer: Callable[[UtxoAnswer], None]
    ) -> UtxoAnswer:
        block = short_channel_id >> 40
        index, vout = short_channel_id >> 16 & 0xFFFFFF, short_channel_id & 0xFFFF
        blocks = self._world.chain.blocks
        output = None
        if block < len(blocks) and index < len(blocks[block].txs):
            outputs = blocks[block].txs[index].outputs
            output = outputs[vout] if vout < len(outputs) else None
        return UtxoAnswer(short_channel_id, output, None)

    def status(self) -> SyncStatus:
        height = self._world.chain.height
        return SyncStatus(
            state=SyncState.SYNCED,
            height=height,
            tip_hash=self._world.chain.tip.hash,
            tip_at=self._world.now_at,
            connected=1,
            agreeing=1,
            required=1,
            watched_scripts=0,
            servers=(),
        )

    async def wait_synced(self) -> None:
        pass


@cache
def _base_chain() -> SandboxChain:
    return SandboxChain(clock=lambda: START_AT, first_blocks=BASE_BLOCKS)


# --- a node and its connections ----------------------------------------------------------------------


class Member:
    """A node of this world: we, or the companion."""

    def __init__(self, world: FullStack, name: str) -> None:
        self.world = world
        self.name = name
        self.words = mnemonic_from_entropy(sha256(name.encode())[:16])
        self.store = MemoryStore(self.words)
        self.options = NodeOptions(
            network_name="regtest", root=world.folder / name, accept_without_reserve=True
        )
        # For the channel backup: without it, no funding transaction leaves.
        self.options.wallet_dir.mkdir(parents=True)
        self.tasks: set[asyncio.Task[Json]] = set()
        self.node = self._make()

    def _make(self) -> Node:
        node = Node(
            self.options,
            cast("Store", self.store),
            bip39_seed=seed_from_mnemonic(self.words),
            loop=self.world.loop,
            fee_estimator=self.world.fees,
        )
        # As `Node.start` does it, without sockets, threads and files but the backup.
        with node.core.entry():
            node.recovery.start()
            node.onchain.start()
            contents = node.recovery.contents()
        node.recovery.backup.save(contents)
        with node.core.entry():
            node._fail_interrupted_payments()
            node._settle_reservations()
            node.send_pending_again()
        return node

    @property
    def node_id(self) -> NodeId:
        return self.node.keys_manager.get_node_id()

    def restart_now(self) -> None:
        """As after SIGKILL."""
        self.node._stopping = True
        for task in list(self.tasks):
            task.cancel()
        self.tasks.clear()
        self.store.crash()
        self.node = self._make()

    def follow_now(self, tip_only: bool) -> None:
        """Delivers what the chain has and the node was not told."""
        world, node = self.world, self.node
        blocks = world.chain.blocks
        heights = {block.hash: height for height, block in enumerate(blocks)}
        steps: list[ChainStep] = []
        for txid, _height, block_hash in node._relevant_txids():
            if block_hash is not None and block_hash not in heights:
                steps.append(TransactionUnconfirmed(txid))
        known = node.best_block[0] if node.best_block is not None else blocks[0].hash
        while known not in heights:
            known = world.parents[known]
        start = heights[known] + 1
        for height in range(start, len(blocks)):
            block = blocks[height]
            found = tuple(TxInBlock(index, tx) for index, tx in enumerate(block.txs) if index)
            if found:
                steps.append(TransactionsConfirmed(block.header, height, found))
            if not tip_only or height == len(blocks) - 1:
                steps.append(BestBlock(block.header, height))
        if start == len(blocks) and node.best_height != len(blocks) - 1:
            steps.append(BestBlock(blocks[-1].header, len(blocks) - 1))
        if steps:
            node._deliver(ChainUpdate(tuple(steps)))

    def repeat_tip_now(self) -> None:
        tip, height = self.world.chain.tip, self.world.chain.height
        found = tuple(TxInBlock(index, tx) for index, tx in enumerate(tip.txs) if index)
        steps: list[ChainStep] = [TransactionsConfirmed(tip.header, height, found)] if found else []
        self.node._deliver(ChainUpdate((*steps, BestBlock(tip.header, height))))

    def command(self, name: str, **arguments: Json) -> asyncio.Task[Json]:
        task = self.world.loop.create_task(_quietly(run(self.node, name, arguments)))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        self.world.run()
        return task

    def answer(self, name: str, **arguments: Json) -> Json:
        """Of a command that waits for the disk at most; None where it was refused or waits."""
        task = self.command(name, **arguments)
        return task.result() if task.done() and not task.cancelled() else None

    def channels(self) -> list[Any]:
        with self.node.core.locked():
            return list(self.node.manager.list_channels())


async def _quietly(work: Coroutine[Any, Any, Json]) -> Json:
    """A command's refusal is an answer; anything else it raises is the world's to see."""
    try:
        return await work
    except CommandError as error:
        if not error.message or "Traceback" in error.message:
            raise
        return None


@dataclass
class Link:
    """The two wires between us and the companion, and the messages of its that have not reached us yet."""

    ours: Wire
    theirs: Wire
    inbox: deque[bytes]
    partial: bytearray


class FullStack:
    """The world of one input."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_at = START_AT
        self.mono_ms = 1_000_000
        self.randomness = 0
        self.fees = Fees()
        self.problems: list[str] = []
        self.chain = _base_chain().clone()
        self.chain._clock = lambda: self.now_at
        self.parents: dict[BlockHash, BlockHash] = {}
        self.raw: list[Wire] = []
        self.link: Link | None = None
        self.is_honest = True
        self.asked_to_close = False
        self.opened = 0
        self.payments = 0
        self.held: dict[str, list[str]] = {"us": [], "companion": []}
        self.preimages = 0
        self.seen_channels: set[bytes] = set()
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._swallowed)
        self.us: Member
        self.companion: Member

    # --- life ---

    @contextmanager
    def running(self) -> Iterator[None]:
        """The edges of the modules are ours meanwhile."""

        def random_bytes(count: int) -> bytes:
            self.randomness += 1
            return sha256(b"random %d" % self.randomness)[:count]

        def clocks() -> Now:
            return Now(self.now_at, self.mono_ms)

        level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        with ExitStack() as stack:
            stack.callback(self._close)
            stack.callback(logging.disable, level)
            for name, replaced in (
                ("wallet.ln.peer_channel_encryptor.ChaCha20Poly1305", PlainCipher),
                ("wallet.node.node.ElectrumSync", lambda **given: Servers(self, **given)),
                ("wallet.node.node.os", SimpleNamespace(urandom=random_bytes)),
                ("wallet.node.core.read_clocks", clocks),
                ("wallet.node.node.read_clocks", clocks),
            ):
                stack.enter_context(patch(name, replaced))
            asyncio.set_event_loop(self.loop)
            self.loop.run_until_complete(self._begin())
            self.run()
            yield

    async def _begin(self) -> None:
        # On the loop, because some parts of a node ask which loop is running.
        self._note_blocks()
        self.us, self.companion = Member(self, "us"), Member(self, "companion")
        for member in (self.us, self.companion):
            member.node._deliver(ChainUpdate((BestBlock(self.chain.tip.header, self.chain.height),)))
        for member in (self.us, self.companion):
            for _ in range(4):
                with member.node.core.entry():
                    address = member.node.onchain.new_address()
                script = address_to_script(address, self.options.network)
                self.chain.faucet(script, DEPOSIT_SAT // 4)

    @property
    def options(self) -> NodeOptions:
        return self.us.options

    def _close(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        with suppress(Exception):
            self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        asyncio.set_event_loop(None)

    def _swallowed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What asyncio would only have logged."""
        error = context.get("exception")
        if isinstance(error, BaseException):
            self.problems.append("".join(traceback.format_exception(error)))
        else:
            self.problems.append(str(context.get("message")))

    def run(self) -> None:
        """Lets the loop do all that it can do now; what waits for a time goes on waiting."""
        for _ in range(200):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
            if not cast("Any", self.loop)._ready:
                break
        if self.problems:
            raise LossError("an exception was swallowed:\n" + "\n".join(self.problems))

    def on_loop(self, call: Callable[[], object]) -> None:
        """Runs a call as the loop would; what it raises is raised here."""
        failure: list[BaseException] = []

        def guarded() -> None:
            try:
                call()
            except BaseException as error:
                failure.append(error)

        self.loop.call_soon(guarded)
        self.run()
        if failure:
            raise failure[0]

    # --- the chain ---

    def _note_blocks(self) -> None:
        for before, block in zip(self.chain.blocks, self.chain.blocks[1:], strict=False):
            self.parents[block.hash] = before.hash

    def broadcast(self, package: BroadcastPackage) -> None:
        """A refusal is a fact of life, unless it says that what was sent can never be valid."""
        try:
            if len(package.txs) > 1:
                self.chain.send_package(package.txs)
            else:
                self.chain.send(package.txs[0])
        except TxRejected as error:
            words = str(error)
            if (
                "script-verify" in words
                or "belowout" in words
                or "vout-empty" in words
                or "duplicate" in words
            ):
                tx = package.txs[-1]
                self.problems.append(
                    f"a transaction that is not valid was sent ({words}): {tx.serialize().hex()}"
                )

    def mine(self, count: int, *, empty: bool = False, tip_only: bool = False) -> None:
        for _ in range(count):
            self.now_at += 600
            self.mono_ms += 1_000
            self.chain.mine(1, txs=() if empty else None)
            self._note_blocks()
            if not tip_only:
                self._told()
        if tip_only:
            self._told(tip_only=True)

    def _told(self, *, tip_only: bool = False) -> None:
        for member in (self.us, self.companion):
            self.on_loop(partial(member.follow_now, tip_only))
        self.settle()

    # --- wires ---

    def received(self, member: Member, wire: Wire, data: bytes) -> None:
        if not wire.closed:
            self.on_loop(lambda: member.node._peer_received(cast("Any", wire), data))

    def connect_raw(self) -> Wire:
        wire = Wire()
        self.raw.append(wire)
        self.on_loop(lambda: self.us.node._peer_inbound(cast("Any", wire), ("8.8.8.8", 9735)))
        return wire

    def shake_hands(self, wire: Wire, secret: bytes) -> None:
        pubkey = curve.pubkey_from_secret(secret)
        self.received(self.us, wire, b"\x00" + pubkey + TAG)
        self.received(self.us, wire, b"\x00" + pubkey + TAG + TAG)

    def lose_raw(self, wire: Wire) -> None:
        self.raw.remove(wire)
        wire.closed = True
        self.on_loop(lambda: self.us.node._peer_lost(cast("Any", wire)))

    def connect(self) -> None:
        if self.link is not None:
            return
        link = Link(Wire(), Wire(), deque(), bytearray())
        act_one = b""

        def begin() -> None:
            nonlocal act_one
            self.us.node._peer_inbound(cast("Any", link.ours), None)
            act_one = self.companion.node._peer_outbound(self.us.node_id, cast("Any", link.theirs), None)

        self.on_loop(begin)
        self.link = link
        # The three acts are not messages yet.
        self.received(self.us, link.ours, act_one)
        self.received(self.companion, link.theirs, link.ours.take())
        said = link.theirs.take()
        self.received(self.us, link.ours, said[:66])
        link.partial += said[66:]
        self.settle()

    def disconnect(self) -> None:
        link, self.link = self.link, None
        if link is None:
            return
        link.ours.closed = link.theirs.closed = True
        self.on_loop(lambda: self.us.node._peer_lost(cast("Any", link.ours)))
        self.on_loop(lambda: self.companion.node._peer_lost(cast("Any", link.theirs)))

    def _collect(self, link: Link) -> None:
        """Cuts what the companion sent into messages."""
        link.partial += link.theirs.take()
        while len(link.partial) >= 18:
            end = 18 + int.from_bytes(link.partial[:2], "big") + 16
            if len(link.partial) < end:
                break
            link.inbox.append(bytes(link.partial[18 : end - 16]))
            del link.partial[:end]

    def step(self, change: Callable[[bytes], Sequence[bytes]] = lambda message: (message,)) -> bool:
        """One message of the companion's reaches us, and all of ours reach it. False where there was nothing."""
        link = self.link
        if link is None:
            return False
        worked = False
        if ours := link.ours.take():
            worked = True
            self.received(self.companion, link.theirs, ours)
        self._collect(link)
        if link.inbox:
            worked = True
            for message in change(link.inbox.popleft()):
                self.received(self.us, link.ours, frame(message))
        if link.ours.closed or link.theirs.closed:
            # What was said last still arrives.
            if last := link.ours.take():
                self.received(self.companion, link.theirs, last)
            self._collect(link)
            while link.inbox and not link.ours.closed:
                self.received(self.us, link.ours, frame(link.inbox.popleft()))
            self.disconnect()
        return worked

    def settle(self) -> None:
        for _ in range(3_000):
            if not self.step():
                return
        raise LossError("the two nodes never come to rest")

    # --- payments and channels ---

    def open(self, opener: Member, other: Member, value_sat: int) -> None:
        if self.opened >= MAX_CHANNELS:
            return
        config = opener.node.open_config(public=False, anchors=self.opened % 3 != 2)

        def begin() -> None:
            with suppress(APIError), opener.node.core.entry():
                opener.node.manager.create_channel(other.node_id, value_sat, 0, 0, config)

        self.opened += 1
        self.on_loop(begin)

    def pay(self, payer: Member, payee: Member, amount_msat: int, *, hold: bool = False) -> None:
        amount_msat = max(1, amount_msat % 8_000_000_000)
        if hold:
            self.preimages += 1
            preimage = sha256(b"preimage %d" % self.preimages)
            found = payee.answer(
                "add_hold_invoice", payment_hash=sha256(preimage).hex(), amount_msat=amount_msat
            )
            if isinstance(found, dict):
                self.held[payee.name].append(preimage.hex())
            invoice = found.get("invoice") if isinstance(found, dict) else None
        else:
            found = payee.answer("add_request", amount_msat=amount_msat, lightning=True)
            invoice = found.get("lightning_invoice") if isinstance(found, dict) else None
        if isinstance(invoice, str):
            self.payments += 1
            payer.command("lnpay", invoice=invoice)

    def end_held(self, payee: Member, *, take: bool) -> None:
        for preimage in self.held[payee.name]:
            if take:
                payee.command("settle_hold_invoice", preimage=preimage)
            else:
                payee.command("cancel_hold_invoice", payment_hash=sha256(bytes.fromhex(preimage)).hex())
        self.held[payee.name].clear()

    def close(self, closer: Member, *, force: bool) -> None:
        channels = closer.channels()
        if channels:
            self.asked_to_close = True
            closer.command("close_channel", channel_id=channels[0].channel_id.hex(), force=force)

    # --- what must hold ---

    def check(self) -> None:
        """After every command."""
        self.us.node.snapshot()
        live = {bytes(item.channel_id) for item in self.us.channels() if item.is_channel_ready}
        closed = set(self.us.node.ledger.closed)
        gone = (self.seen_channels & closed) if self.is_honest and not self.asked_to_close else set()
        if gone:
            reasons = [self.us.node.ledger.closed[key].reason for key in gone]
            raise LossError(f"a channel closed that nobody asked to close: {reasons}")
        self.seen_channels |= live

    def finish(self) -> None:
        """Everything comes home; then the books are compared."""
        self.is_honest = False
        self.us.store.is_slow = False
        self.us.store.catch_up()
        self.run()
        self.settle()
        self.disconnect()
        for wire in list(self.raw):
            self.lose_raw(wire)
        for member in (self.us, self.companion):
            for item in member.channels():
                member.command("close_channel", channel_id=item.channel_id.hex(), force=True)
        mined = 0
        while mined < CHANNEL_DEAD_BLOCKS:
            part = 1 if mined < 30 else 20
            self.mine(part)
            mined += part
            for member in (self.us, self.companion):
                self.on_loop(member.node.ticks.rebroadcast)
                self.on_loop(member.node.ticks.channels)
            if mined > 300 and not self.chain.mempool and not self._unsettled():
                break
        self.mine(8)
        self._compare()

    def _unsettled(self) -> int:
        node = self.us.node
        with node.core.locked():
            balances = node.chain_monitor.get_claimable_balances(frozenset())
        return len(balances)

    def _compare(self) -> None:
        node = self.us.node
        with node.core.locked():
            balance = node.onchain.balance()
            left = node.chain_monitor.get_claimable_balances(frozenset())
        have_sat = balance.confirmed_sat + balance.unconfirmed_sat + balance.immature_sat
        paid_msat = sum(
            record.amount_msat + record.fee_msat
            for record in node.ledger.payments.values()
            if record.state is PaymentState.SUCCEEDED
        )
        received_msat = sum(
            record.received_msat
            for record in node.ledger.requests.values()
            if record.state is RequestState.PAID
        )
        pending = [r for r in node.ledger.payments.values() if r.state is PaymentState.PENDING]
        allowed_sat = CHANNEL_ALLOWANCE_SAT * self.opened + PAYMENT_ALLOWANCE_SAT * self.payments
        expected_sat = DEPOSIT_SAT + (received_msat - paid_msat) // 1000
        if have_sat < expected_sat - allowed_sat:
            raise LossError(
                f"{have_sat:,} sat are left of {expected_sat:,} (fees may take {allowed_sat:,}); "
                f"paid {paid_msat:,} msat, received {received_msat:,} msat; still to come: {left}"
            )
        if pending:
            raise LossError(f"{len(pending)} payments never ended")


# --- the input -----------------------------------------------------------------------------------------


class Input:
    """Takes numbers and bytes from the front; behind the end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, length: int) -> bytes:
        found = self._data[self._at : self._at + length]
        self._at += length
        return found.ljust(length, b"\x00")

    def number(self, width: int = 1) -> int:
        return int.from_bytes(self.take(width), "big")

    def sized(self) -> bytes:
        """No longer than what is left."""
        length = self.number(2)
        return self.take(min(length, max(0, len(self._data) - self._at)))


RAW_SECRETS: Final = tuple(sha256(b"raw peer %d" % number) for number in range(4))


def _connection(world: FullStack, number: int) -> Wire | None:
    world.raw = [wire for wire in world.raw if not wire.closed]
    return world.raw[number % len(world.raw)] if world.raw else None


def execute(world: FullStack, command: int, data: Input) -> None:
    """One command."""
    us, companion = world.us, world.companion
    match command:
        case 0x00:
            world.connect_raw()
        case 0x01:
            world.shake_hands(world.connect_raw(), RAW_SECRETS[data.number() % 4])
        case 0x02:
            if (wire := _connection(world, data.number())) is not None:
                world.lose_raw(wire)
        case 0x03 | 0x04 | 0x05:
            wire = _connection(world, data.number())
            if command == 0x05:
                raw = frame(
                    msgs.encode_message(
                        msgs.Init(features=HONEST_FEATURES, networks=(us.options.network.chain_hash,))
                    )
                )
            else:
                raw = data.sized() if command == 0x03 else frame(data.sized())
            if wire is not None:
                world.received(us, wire, raw)
                wire.take()
        case 0x06:
            world.connect()
        case 0x07:
            world.disconnect()
        case 0x08:
            count = data.number()
            if count == 0:
                world.settle()
            for _ in range(count):
                world.step()
        case 0x09:
            place, mask = data.number(2), data.number()
            world.is_honest = False

            def spoilt(message: bytes) -> tuple[bytes, ...]:
                at = place % len(message)
                return (message[:at] + bytes((message[at] ^ mask,)) + message[at + 1 :],)

            world.step(spoilt)
        case 0x0A:
            world.is_honest = False
            world.step(lambda message: ())
        case 0x0B:
            world.is_honest = False
            world.step(lambda message: (message, message))
        case 0x0C:
            world.is_honest = False
            message = data.sized()
            if world.link is not None:
                world.received(us, world.link.ours, frame(message))
        case 0x10:
            world.open(us, companion, 1_000 * max(20, data.number(2) % 6_000))
        case 0x11:
            world.open(companion, us, 1_000 * max(20, data.number(2) % 6_000))
        case 0x12:
            world.pay(us, companion, data.number(4))
        case 0x13:
            world.pay(companion, us, data.number(4))
        case 0x14 | 0x15:
            world.close(us, force=command == 0x15)
        case 0x16 | 0x17:
            world.close(companion, force=command == 0x17)
        case 0x18:
            world.pay(us, companion, data.number(4), hold=True)
        case 0x19 | 0x1A:
            world.end_held(companion, take=command == 0x19)
        case 0x1B:
            world.pay(companion, us, data.number(4), hold=True)
        case 0x1C | 0x1D:
            world.end_held(us, take=command == 0x1C)
        case 0x20 | 0x21 | 0x22:
            count = data.number()
            if any(item.pending_htlcs for item in us.channels()) and count > 5:
                # Time-outs of HTLCs close channels, as they should.
                world.asked_to_close = True
            world.mine(count, empty=command == 0x21, tip_only=command == 0x22)
        case 0x23:
            # A funding that leaves the chain may close its channel.
            world.asked_to_close = True
            world.now_at += 600
            world.chain.reorganise(1 + data.number() % 6)
            world._note_blocks()
            world._told()
        case 0x24:
            with suppress(DecodeError):
                tx = Transaction.parse(data.sized())
                if all(world.chain.transaction(txin.prevout.txid) is None for txin in tx.inputs):
                    update = TransactionsSeen((tx,))
                    world.on_loop(lambda: us.node._deliver(ChainUpdate((update,))))
        case 0x25:
            world.on_loop(us.repeat_tip_now)
            world.settle()
        case 0x26:
            txs = tuple(entry.tx for entry in world.chain.mempool.values())
            world.on_loop(lambda: us.node._deliver(ChainUpdate((TransactionsSeen(txs),))))
            world.settle()
        case 0x30 | 0x31 | 0x32 | 0x33:
            seconds = 10 if command == 0x30 else 60
            world.now_at += seconds
            world.mono_ms += 1_000 * seconds
            node = us.node
            tick = (node.ticks.peers, node.ticks.channels, node.ticks.rebroadcast, node.ticks.graph)[
                command - 0x30
            ]
            world.on_loop(tick)
            if command in (0x30, 0x31):
                other = companion.node
                world.on_loop(other.ticks.peers if command == 0x30 else other.ticks.channels)
        case 0x38 | 0x39:
            member = us if command == 0x38 else companion
            world.disconnect()
            if member is us:
                for wire in list(world.raw):
                    world.lose_raw(wire)
            world.on_loop(member.restart_now)
            world._told()
        case 0x3A:
            us.store.is_slow = True
        case 0x3B:
            us.store.is_slow = False
            world.on_loop(us.store.catch_up)
            world.settle()
        case 0x40:
            world.fees.sat_per_kw = 253 + data.number(2) % 4_748
            # Both judge each other's fees by this: a jump may close a channel.
            world.asked_to_close = True
        case 0x50:
            text = data.sized().decode("latin-1")
            us.command("recognise", text=text)
            us.command("decode_invoice", invoice=text)
        case _:
            pass


def play(raw: bytes) -> FullStack:
    """Runs one input; raises whatever is a violation."""
    with (
        tempfile.TemporaryDirectory(prefix="leyden-fuzz-") as folder,
        (world := FullStack(Path(folder))).running(),
    ):
        data = Input(raw)
        world.mine(1)
        for _ in range(MAX_STEPS):
            if not data:
                break
            execute(world, data.number(), data)
            world.run()
            world.check()
        world.finish()
    return world


def main(argv: Sequence[str]) -> int:
    if not argv or argv[0].startswith("-"):
        print("usage: python -m tests.fuzz.full_stack FILE...", file=sys.stderr)
        return 2
    bad = 0
    for name in argv:
        try:
            raw = Path(name).read_bytes()
        except OSError as error:
            print(f"{name}: {error.strerror}", file=sys.stderr)
            return 2
        try:
            play(raw)
        except Exception:
            bad += 1
            print(f"{name}: VIOLATION:\n{traceback.format_exc()}")
        else:
            print(f"{name}: held")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
