"""`ElectrumFilter`: registrations in, transactions of blocks out, in the order that the core needs.

Theory of operation. The core registers scripts, transactions and outputs, from any thread and while it is
being fed; registrations go to a queue. One task, `run`, makes passes:

1. Blocks that left the best chain take their transactions with them: `TransactionUnconfirmed`, newest first.
   Whether a transaction is confirmed is decided by our own header chain alone: once proven in a block, it
   stays so until that block leaves the chain, whatever a server says meanwhile.
2. The queue becomes watches; the servers are asked about their scripts (server.py).
3. What is new in a script's history is fetched (its id is checked) and proven against our headers. A server whose
   header at that height is not ours is on another chain: it is asked again later. One that has our header and no
   proof lies.
4. The earliest block with something new is delivered, alone. What the core registers because of it goes back to 2
   before anything later is delivered; so a descendant in the same block, or the spend of a new output a hundred
   blocks on, comes before what follows it.
5. When nothing is left, and servers enough have answered everything at our tip, `BestBlock`. Then the mempool:
   hints, and the ones taken back.

A transaction is delivered to whoever listens once for each watch it matters to, and again after a
registration that it matters to: the core may have had no use for it before.

Servers against each other: outputs are asked of every connected server, scripts of the wallet's own
addresses only of one (privacy). One that does not show, at the same tip, a transaction that another
proved, is asked once more, and dropped. What is claimed of blocks above our tip holds a tip up for a moment at
most: it is looked at again when our chain gets there. A proof covers a transaction without its witnesses, and a witness
may hold a preimage; so of what spends a watched output every server is asked for its version, and versions
that differ are passed on as hints: a preimage proves itself.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wallet.bitcoin.hashes import hash160, sha256
from wallet.bitcoin.script import is_p2wpkh, is_p2wsh
from wallet.bitcoin.tx import BlockHash, OutPoint, Transaction, Txid, txid_hex
from wallet.chain.electrum.errors import ServerError, ServerErrorKind, ServerRefused
from wallet.chain.electrum.headers import PERIOD_BLOCKS, HeaderChain, HeaderError
from wallet.chain.electrum.merkle import could_be_inner_node, verify
from wallet.chain.electrum.server import Server
from wallet.chain.electrum.session import MAX_HEIGHT
from wallet.chain.interfaces import (
    BestBlock,
    ChainStep,
    ChainUpdate,
    Logger,
    LogLevel,
    TransactionsConfirmed,
    TransactionsEvicted,
    TransactionsSeen,
    TransactionUnconfirmed,
    TxInBlock,
)
from wallet.i18n import _

__all__ = ["Deliver", "ElectrumFilter", "FilterPool", "RelevantTxids", "WaitingTxids", "fetch_period"]

Deliver = Callable[[ChainUpdate], Awaitable[None] | None]
RelevantTxids = Callable[[], Sequence[tuple[Txid, int, BlockHash | None]]]
WaitingTxids = Callable[[], Sequence[Txid]]

MAX_CACHED_TXS = 4_000
FETCHED_AT_ONCE = 1_000
REASKED_SCRIPTS = 500
"""Of the wallet's own addresses the latest so many are asked about at each block; notifications serve the
others."""
GRACE_MS = 20_000
"""A tip is announced to the core after this long even if only one server has answered: heights decide over
HTLCs."""
AHEAD_MS = 2_000
"""So long a tip may wait for the blocks above it of which servers tell already: between the two, the core would
replace what has confirmed."""
RETRY_MS = 1_000
MISSES_BEFORE_DROP = 5
MISS_PAUSE_MS = 800
"""Contradictions within this time count once: a race is over by then, a lie is not."""


@dataclass(frozen=True, slots=True)
class _Registration:
    """One call of the core: exactly one of the three."""

    script_pubkey: bytes
    txid: Txid | None = None
    outpoint: OutPoint | None = None


@dataclass(slots=True)
class _Watch:
    """Everything registered for one script.

    Attributes:
        whole: every transaction of the script matters.
        txids, outpoints: else these transactions, and whatever creates or spends these outputs.
        delivered: by id, the block it was delivered in (None: as a hint).
        foreign: seen in the history, and of no matter.
    """

    script_pubkey: bytes
    whole: bool = False
    txids: set[Txid] = field(default_factory=set)
    outpoints: set[OutPoint] = field(default_factory=set)
    delivered: dict[Txid, BlockHash | None] = field(default_factory=dict)
    foreign: set[Txid] = field(default_factory=set)

    def matters(self, tx: Transaction) -> bool:
        if self.whole or tx.txid in self.txids:
            return True
        if any(outpoint.txid == tx.txid for outpoint in self.outpoints):
            return True
        return any(txin.prevout in self.outpoints for txin in tx.inputs)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a transaction was proven to be."""

    height: int
    block_hash: BlockHash
    index: int


@dataclass(slots=True)
class _Pass:
    """What one look at the views has brought to light.

    Attributes:
        confirmed: to be delivered, by height.
        seen: to be passed on as hints.
        scripts: by id of what is delivered, the scripts whose history showed it.
        open: scripts whose history could not be settled yet.
        open_height: the lowest height at which something is claimed that is not settled.
        more: only the earliest part was looked at.
    """

    confirmed: dict[int, dict[Txid, _Place]] = field(default_factory=dict)
    seen: dict[Txid, Transaction] = field(default_factory=dict)
    scripts: dict[Txid, set[bytes]] = field(default_factory=dict)
    open: set[bytes] = field(default_factory=set)
    open_height: int = MAX_HEIGHT
    more: bool = False


class FilterPool(Protocol):
    """What the filter needs of the pool of servers."""

    chain: HeaderChain

    def online(self) -> list[Server]:
        """Connected servers, the primary first."""
        ...

    def primary(self) -> Server | None:
        """The one that is asked about the wallet's own addresses."""
        ...

    def required(self) -> int:
        """How many servers have to answer before the wallet is up to date."""
        ...

    def tip_age_ms(self) -> int:
        """How long our chain has had its tip."""
        ...


class ElectrumFilter:
    """`chain.ScriptFilter` over a pool of Electrum servers.

    Attributes:
        best: the tip that was delivered last, hash and height.
        answered: how many servers had answered everything then.
    """

    def __init__(
        self,
        pool: FilterPool,
        deliver: Deliver,
        relevant_txids: RelevantTxids,
        waiting_txids: WaitingTxids,
        best_known: tuple[BlockHash, int] | None,
        logger: Logger,
        on_progress: Callable[[], None],
    ) -> None:
        self.best: tuple[BlockHash, int] | None = None
        self.answered = 0
        self._pool = pool
        self._deliver = deliver
        self._relevant_txids = relevant_txids
        self._waiting_txids = waiting_txids
        self._best_known = best_known
        self._logger = logger
        self._on_progress = on_progress
        self._mutex = threading.Lock()
        self._queue: deque[_Registration] = deque()
        self._known: set[_Registration] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._watches: dict[bytes, _Watch] = {}
        self._by_outpoint: dict[OutPoint, bytes] = {}
        self._touched: dict[bytes, None] = {}
        self._unanswered: set[bytes] = set()
        self._txs: OrderedDict[Txid, Transaction] = OrderedDict()
        self._places: dict[Txid, _Place] = {}
        self._confirmed: dict[Txid, _Place] = {}
        self._misses: dict[tuple[Server, Txid], tuple[int, int]] = {}
        self._ahead: dict[bytes, None] = {}
        self._looked_at: BlockHash | None = None
        self._shown_by: dict[Txid, set[Server]] = {}
        self._versions: dict[Txid, list[Transaction]] = {}
        self._to_ask_again: dict[Server, set[Txid]] = {}
        self._doubtful: set[Txid] = set()
        self._reorganised = True
        self._settled = False
        self._retry_at_ms: int | None = None

    # --- wallet.chain.interfaces.ScriptFilter: any thread -------------------------------------------

    def register_tx(self, txid: Txid, script_pubkey: bytes) -> None:
        self._register(_Registration(script_pubkey, txid=txid))

    def register_output(
        self, outpoint: OutPoint, script_pubkey: bytes, block_hash: BlockHash | None = None
    ) -> None:
        self._register(_Registration(script_pubkey, outpoint=outpoint))

    def register_script(self, script_pubkey: bytes) -> None:
        self._register(_Registration(script_pubkey))

    def _register(self, registration: _Registration) -> None:
        with self._mutex:
            if registration in self._known:
                return
            self._known.add(registration)
            self._queue.append(registration)
            loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self.poke)

    # --- what the pool tells: the loop's thread ------------------------------------------------------

    def poke(self) -> None:
        """Something changed: another pass."""
        self._wake.set()

    def chain_reorganised(self) -> None:
        self._reorganised = True
        self.poke()

    def script_answered(self, script_pubkey: bytes) -> None:
        self._touched[script_pubkey] = None
        self.poke()

    def scripts_for(self, server: Server) -> list[bytes]:
        """What a server has to be asked at each tip."""
        outputs = [script for script, watch in self._watches.items() if watch.txids or watch.outpoints]
        if server is not self._pool.primary():
            return outputs
        own = [script for script, watch in self._watches.items() if watch.whole]
        if all(script in server.views for script in own):
            own = own[-REASKED_SCRIPTS:]
        return own + outputs

    @property
    def is_settled(self) -> bool:
        """Whether nothing registered is still to be looked up."""
        return self._settled and not self._queue

    @property
    def watched_scripts(self) -> int:
        return len(self._watches)

    # --- the passes ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Makes passes for ever."""
        with self._mutex:
            self._loop = asyncio.get_running_loop()
        # After a fault in between, nothing that was under way is lost.
        self._reorganised = True
        self._touched.update(dict.fromkeys(self._watches))
        while True:
            self._wake.clear()
            await self._pass()
            timeout_seconds = self._seconds_to_next()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _seconds_to_next(self) -> float | None:
        """Until something has to be looked at that nobody will announce."""
        waits_ms = []
        if self._retry_at_ms is not None:
            waits_ms.append(self._retry_at_ms - _now_ms())
        if self.best is None or self.best[0] != self._pool.chain.tip_hash:
            waits_ms.append(
                GRACE_MS - self._pool.tip_age_ms() if self._pool.tip_age_ms() < GRACE_MS else RETRY_MS
            )
        return max(0.05, min(waits_ms) / 1000) if waits_ms else None

    async def _pass(self) -> None:
        chain = self._pool.chain
        if chain.is_empty or not any(server.is_on_best for server in self._pool.online()):
            # Nobody to ask; and after a start it is not known yet which blocks still count.
            return
        self._retry_at_ms = None
        if self._reorganised:
            await self._unconfirm()
        if self._looked_at != chain.tip_hash:
            # What was claimed of blocks that we did not know may be of blocks that we know now.
            self._looked_at = chain.tip_hash
            self._touched.update(self._ahead)
            self._ahead.clear()
        while True:
            self._drain()
            if self._has_unanswered():
                # Something new may stand in an earlier block than what is known: nothing is delivered yet.
                self._settled = False
                return
            found = await self._look()
            await self._deliver_versions()
            for height in sorted(height for height in found.confirmed if height <= found.open_height):
                await self._deliver_block(height, found)
                if self._queue or self._reorganised:
                    # What was registered because of this block comes before any later one.
                    break
            if self._reorganised:
                await self._unconfirm()
            elif not (self._queue or found.more or any(h <= found.open_height for h in found.confirmed)):
                break
        self._settled = not found.open and not self._touched
        if found.open:
            self._retry_at_ms = _now_ms() + RETRY_MS
        await self._deliver_best(found)
        await self._deliver_mempool(found)
        if self._queue:
            self.poke()
        self._on_progress()

    async def _send(self, steps: Sequence[ChainStep]) -> None:
        waited = self._deliver(ChainUpdate(tuple(steps)))
        if waited is not None:
            await waited

    # 1. reorganisations

    async def _unconfirm(self) -> None:
        self._reorganised = False
        chain = self._pool.chain
        gone: dict[Txid, int] = {}
        for txid, place in self._confirmed.items():
            if chain.hash_at(place.height) != place.block_hash:
                gone[txid] = place.height
        for txid, height, block_hash in self._relevant_txids():
            # Above our tip nothing is known: the header cache was lost, or the servers are behind.
            if block_hash is None or txid in gone or height > chain.height:
                continue
            if chain.missing_period(height) is None and chain.hash_at(height) != block_hash:
                gone[txid] = height
        for txid, place in list(self._places.items()):
            if chain.hash_at(place.height) != place.block_hash:
                del self._places[txid]
        if gone:
            newest_first = sorted(gone, key=lambda txid: gone[txid], reverse=True)
            self._logger.log(LogLevel.INFO, "%d transactions left the best chain", len(gone))
            await self._send([TransactionUnconfirmed(txid) for txid in newest_first])
        for txid in gone:
            self._confirmed.pop(txid, None)
        # That these wait is the word of an earlier run, or of the block that they fell out of.
        self._doubtful.update(gone, self._waiting_txids())
        for script, watch in self._watches.items():
            for txid in gone.keys() & watch.delivered.keys():
                del watch.delivered[txid]
                self._touched[script] = None

    # 2. registrations

    def _drain(self) -> None:
        with self._mutex:
            batch, self._queue = self._queue, deque()
        asked: dict[bytes, None] = {}
        for registration in batch:
            script = registration.script_pubkey
            watch = self._watches.get(script)
            if watch is None:
                watch = self._watches[script] = _Watch(script)
                self._unanswered.add(script)
            asked[script] = None
            if registration.txid is not None:
                watch.txids.add(registration.txid)
            elif registration.outpoint is not None:
                watch.outpoints.add(registration.outpoint)
                self._by_outpoint[registration.outpoint] = script
            else:
                watch.whole = True
            # It may matter now what did not before, and to whom it did not: once more.
            watch.foreign.clear()
            for txid in list(watch.delivered):
                tx = self._txs.get(txid)
                if tx is None or _matters_to(registration, tx):
                    del watch.delivered[txid]
            self._touched[script] = None
        if asked:
            self._settled = False
            self._ask(asked)

    def _has_unanswered(self) -> bool:
        """Whether there are new scripts of which no server has told the history yet."""
        servers = [server for server in self._pool.online() if server.is_on_best]
        self._unanswered = {
            script
            for script in self._unanswered
            if not any(
                (view := server.views.get(script)) is not None and view.history is not None
                for server in servers
            )
        }
        return bool(self._unanswered)

    def _ask(self, scripts: Iterable[bytes]) -> None:
        """Has the servers asked about scripts that they have not been asked about."""
        primary = self._pool.primary()
        for server in self._pool.online():
            server.ask(
                script
                for script in scripts
                if script not in server.views
                and (server is primary or self._watches[script].txids or self._watches[script].outpoints)
            )

    # 3. what the servers say

    async def _look(self) -> _Pass:
        """Settles what was touched: fetches and proves what is new there."""
        found = _Pass()
        chain = self._pool.chain
        servers = [server for server in self._pool.online() if server.is_on_best]
        touched, self._touched = self._touched, {}
        wanted: dict[tuple[Txid, int], dict[Server, set[bytes]]] = {}
        for script in touched:
            watch = self._watches.get(script)
            if watch is None:
                continue
            for server in servers:
                view = server.views.get(script)
                for item in (view.history or ()) if view is not None else ():
                    if item.txid in watch.foreign:
                        continue
                    place = self._places.get(item.txid)
                    if place is not None and item.txid in self._txs:
                        continue
                    if item.height <= 0 and item.txid in self._txs:
                        continue
                    if place is None and item.height > chain.height:
                        continue
                    if place is None and item.height > 0:
                        delivered_in = watch.delivered.get(item.txid)
                        if delivered_in is not None and chain.hash_at(item.height) == delivered_in:
                            continue
                    claimants = wanted.setdefault((item.txid, item.height), {})
                    claimants.setdefault(server, set()).add(script)
        if wanted:
            # The earliest first, and not more at once than fits the cache: a wallet may be years old.
            ordered = sorted(wanted, key=lambda claim: claim[1] if claim[1] > 0 else MAX_HEIGHT)
            portion = ordered[:FETCHED_AT_ONCE]
            await asyncio.gather(*(self._fetch(*claim, wanted[claim]) for claim in portion))
            # Where nothing could be had, the next look comes after a pause.
            found.more = len(portion) < len(ordered) and any(txid in self._txs for txid, _height in portion)
        await self._ask_for_versions(touched, servers)
        self._ask_again()
        for script in touched:
            watch = self._watches.get(script)
            if watch is not None and not self._sort(watch, servers, found):
                found.open.add(script)
        for script in found.open:
            self._touched[script] = None
        if found.confirmed or found.more:
            # What is not delivered now is looked at again after the earliest block was.
            self._touched.update(touched)
        return found

    def _sort(self, watch: _Watch, servers: Sequence[Server], found: _Pass) -> bool:
        """Adds what a watch has to be told of; False where something could not be settled."""
        chain = self._pool.chain
        settled = True
        for server in servers:
            view = server.views.get(watch.script_pubkey)
            for item in (view.history or ()) if view is not None else ():
                txid = item.txid
                if txid in watch.foreign:
                    continue
                place = self._places.get(txid)
                if place is None and item.height > chain.height:
                    self._ahead[watch.script_pubkey] = None
                    continue
                if place is None and item.height > 0:
                    delivered_in = watch.delivered.get(txid)
                    if delivered_in is None or chain.hash_at(item.height) != delivered_in:
                        settled = False
                        found.open_height = min(found.open_height, item.height)
                    continue
                tx = self._txs.get(txid)
                if tx is None:
                    if place is None or watch.delivered.get(txid) != place.block_hash:
                        settled = False
                        if place is not None:
                            found.open_height = min(found.open_height, place.height)
                    continue
                if not watch.matters(tx):
                    watch.foreign.add(txid)
                elif place is not None:
                    if watch.delivered.get(txid) != place.block_hash:
                        found.confirmed.setdefault(place.height, {})[txid] = place
                        found.scripts.setdefault(txid, set()).add(watch.script_pubkey)
                elif txid not in watch.delivered:
                    found.seen[txid] = tx
                    found.scripts.setdefault(txid, set()).add(watch.script_pubkey)
        return settled

    async def _fetch(self, txid: Txid, height: int, claimants: Mapping[Server, Collection[bytes]]) -> None:
        """The transaction, and its proof where it is said to be in a block; from the first server that has
        them."""
        for server, scripts in claimants.items():
            if not server.is_online:
                continue
            is_new = txid not in self._txs
            try:
                tx, place = await self._fetch_from(server, txid, height)
            except ServerRefused:
                self._missed(server, txid, _cannot_show(txid))
                continue
            except ServerError:
                continue
            if is_new and not all(_can_concern(tx, script) for script in scripts):
                # Else a history could be filled with any transactions of the chain.
                lie = _("The server shows the transaction {txid} where it does not belong.").format(
                    txid=txid_hex(txid)
                )
                server.fail(ServerError(ServerErrorKind.LIED, lie))
                continue
            if is_new and txid not in self._txs:
                self._shown_by[txid] = {server}
            self._cache(tx)
            if place is not None:
                if could_be_inner_node(tx):
                    lie = _("The server shows a transaction that nothing can prove.")
                    server.fail(ServerError(ServerErrorKind.LIED, lie))
                    continue
                self._places[txid] = place
                self._misses.pop((server, txid), None)
                return
            if height <= 0:
                self._misses.pop((server, txid), None)
                return

    async def _fetch_from(self, server: Server, txid: Txid, height: int) -> tuple[Transaction, _Place | None]:
        tx = self._txs.get(txid)
        if tx is not None:
            return tx, await self._prove(server, txid, height) if height > 0 else None
        if height <= 0:
            return await self._raw(server, txid), None
        # Both at once: one round trip less.
        return await asyncio.gather(self._raw(server, txid), self._prove(server, txid, height))

    async def _raw(self, server: Server, txid: Txid) -> Transaction:
        """The transaction as the server has it. Asks only once it is awaited: what is cancelled before it began
        leaves no question behind that nobody awaits."""
        return await server.guard(server.need().transaction(txid))

    async def _prove(self, server: Server, txid: Txid, height: int) -> _Place | None:
        """Where the transaction is in our chain; None while the server's chain is another there."""
        chain = self._pool.chain
        start = chain.missing_period(height)
        if start is not None:
            await fetch_period(server, chain, start)
        proof = await server.guard(server.need().merkle_proof(txid, height))
        header = chain.header(height)
        if header is None:
            return None
        if verify(txid, proof.branch, proof.index, header.merkle_root):
            return _Place(height, header.hash, proof.index)
        theirs = await server.guard(server.need().block_header(height))
        current = chain.raw(height)
        if current == theirs and current == header.serialize():
            lie = _("The server's proof for the transaction {txid} is wrong.").format(txid=txid_hex(txid))
            server.fail(ServerError(ServerErrorKind.LIED, lie))
        elif server.is_on_best and server.height >= height:
            # Its tip is in our chain, and so must this block be, unless the chain is changing at this moment.
            lie = _("The server contradicts itself: its block {height} is not below its newest one.").format(
                height=height
            )
            self._missed(server, txid, ServerError(ServerErrorKind.LIED, lie))
        return None

    def _missed(
        self, server: Server, txid: Txid, error: ServerError, script_pubkey: bytes | None = None
    ) -> bool:
        """What the server says does not fit together: once may be a race, often is not. True if it is asked
        again (without a script: about all for which it lists the transaction), False when that was enough."""
        count, last_ms = self._misses.get((server, txid), (0, 0))
        if count and _now_ms() - last_ms < MISS_PAUSE_MS:
            return True
        if count + 1 >= MISSES_BEFORE_DROP:
            del self._misses[server, txid]
            server.fail(error)
            return False
        self._misses[server, txid] = (count + 1, _now_ms())
        if script_pubkey is None:
            self._to_ask_again.setdefault(server, set()).add(txid)
        else:
            server.ask_again([script_pubkey])
        return True

    def _ask_again(self) -> None:
        """About every script for which a server lists what it could not show."""
        doubtful, self._to_ask_again = self._to_ask_again, {}
        for server, txids in doubtful.items():
            server.ask_again(
                script
                for script, view in server.views.items()
                if any(item.txid in txids for item in view.history or ())
            )

    async def _ask_for_versions(self, touched: Iterable[bytes], servers: Sequence[Server]) -> None:
        """Of what spends a watched output, the version of every server that shows it."""
        asked: dict[tuple[Server, Txid], None] = {}
        for script in touched:
            for server in servers:
                view = server.views.get(script)
                for item in (view.history or ()) if view is not None else ():
                    tx = self._txs.get(item.txid)
                    if tx is None or server in self._shown_by.get(item.txid, ()):
                        continue
                    if any(txin.prevout in self._by_outpoint for txin in tx.inputs):
                        asked[server, item.txid] = None
        if asked:
            await asyncio.gather(*(self._ask_for_version(server, txid) for server, txid in asked))

    async def _ask_for_version(self, server: Server, txid: Txid) -> None:
        try:
            tx = await self._raw(server, txid)
        except ServerRefused:
            self._missed(server, txid, _cannot_show(txid))
            return
        except ServerError:
            return
        self._shown_by.setdefault(txid, set()).add(server)
        known = self._txs.get(txid)
        if known is not None and tx != known:
            self._logger.log(
                LogLevel.WARN, "%s shows other witnesses of %s than others do", str(server), txid_hex(txid)
            )
            self._versions.setdefault(txid, []).append(tx)

    def _cache(self, tx: Transaction) -> None:
        self._txs[tx.txid] = tx
        self._txs.move_to_end(tx.txid)
        while len(self._txs) > MAX_CACHED_TXS:
            txid, _tx = self._txs.popitem(last=False)
            self._shown_by.pop(txid, None)

    # 4. blocks

    async def _deliver_block(self, height: int, found: _Pass) -> None:
        header = self._pool.chain.header(height)
        places = found.confirmed[height]
        if header is None or any(place.block_hash != header.hash for place in places.values()):
            # Reorganised since: the next look finds them elsewhere.
            for txid in places:
                self._places.pop(txid, None)
            self._reorganised = True
            return
        ordered = sorted(places, key=lambda txid: places[txid].index)
        txdata = tuple(TxInBlock(places[txid].index, self._txs[txid]) for txid in ordered)
        steps: list[ChainStep] = [TransactionsConfirmed(header, height, txdata)]
        # With the block, as what the next one buries is decided by what is known then.
        steps += [
            TransactionsSeen(tuple(self._versions.pop(txid))) for txid in ordered if txid in self._versions
        ]
        await self._send(steps)
        for item in txdata:
            self._confirmed[item.tx.txid] = places[item.tx.txid]
            self._mark(item.tx, header.hash, found)

    def _mark(self, tx: Transaction, block_hash: BlockHash | None, found: _Pass) -> None:
        """Every watch that the transaction matters to has been told."""
        scripts = {output.script_pubkey for output in tx.outputs} | found.scripts.get(tx.txid, set())
        scripts.update(
            self._by_outpoint[txin.prevout] for txin in tx.inputs if txin.prevout in self._by_outpoint
        )
        for script in scripts:
            watch = self._watches.get(script)
            if watch is not None and watch.matters(tx):
                watch.delivered[tx.txid] = block_hash

    async def _deliver_versions(self) -> None:
        """Versions of transactions that were delivered before."""
        told = [
            txid
            for txid in self._versions
            if any(txid in watch.delivered for watch in self._watches.values())
        ]
        for txid in told:
            await self._send([TransactionsSeen(tuple(self._versions.pop(txid)))])

    # 5. the tip, and the mempool

    async def _deliver_best(self, found: _Pass) -> None:
        chain = self._pool.chain
        tip = chain.tip()
        if tip is None or found.open or self._queue:
            return
        if self._looked_at != chain.tip_hash:
            # The tip has moved during this pass: what is in its block is looked at in the next.
            return
        at_tip = [server for server in self._pool.online() if server.is_at_tip and server.is_settled]
        primary = self._pool.primary()
        own = any(watch.whole for watch in self._watches.values())
        # Without the one that knows the addresses something of ours may be missing still.
        answered = len(at_tip) if not own or primary in at_tip else 0
        if self._best_known is not None and chain.height < self._best_known[1]:
            # The wallet has seen more than this: the servers are behind, or on a chain with less work.
            return
        if not at_tip or (answered < self._pool.required() and self._pool.tip_age_ms() < GRACE_MS):
            return
        if self._compare(at_tip):
            self._retry_at_ms = _now_ms() + RETRY_MS
            return
        if self._ahead and self._pool.tip_age_ms() < AHEAD_MS:
            # Their headers are on the way.
            self._retry_at_ms = _now_ms() + AHEAD_MS - self._pool.tip_age_ms()
            return
        self.answered = answered
        if self.best is None or self.best[0] != tip.hash:
            await self._send([BestBlock(tip, chain.height)])
            self.best = (tip.hash, chain.height)
            self._best_known = None

    def _compare(self, at_tip: Sequence[Server]) -> bool:
        """Looks for servers that hide what others have proven; True while one of them is asked again."""
        waiting = False
        for script, watch in self._watches.items():
            if not (watch.txids or watch.outpoints):
                continue
            shown = {
                server: {item.txid for item in view.history if item.height > 0}
                for server in at_tip
                if (view := server.views.get(script)) is not None and view.history is not None
            }
            proven = set().union(*shown.values()) & {
                txid for txid, block_hash in watch.delivered.items() if block_hash is not None
            }
            for server, theirs in shown.items():
                missing = proven - theirs
                if not missing:
                    continue
                txid = min(missing)
                hides = _("The server hides the transaction {txid}, which another has proven.").format(
                    txid=txid_hex(txid)
                )
                if self._missed(server, txid, ServerError(ServerErrorKind.HIDES, hides), script):
                    waiting = True
        return waiting

    async def _deliver_mempool(self, found: _Pass) -> None:
        hints = {txid: tx for txid, tx in found.seen.items() if txid not in self._places}
        steps: list[ChainStep] = []
        if hints:
            steps.append(TransactionsSeen(_parents_first(hints)))
        evicted = [*self._evicted(), *self._vanished()]
        if evicted:
            steps.append(TransactionsEvicted(tuple(evicted)))
        if not steps:
            return
        await self._send(steps)
        self._doubtful.difference_update(evicted)
        for tx in hints.values():
            self._mark(tx, None, found)
        for watch in self._watches.values():
            for txid in evicted:
                watch.delivered.pop(txid, None)

    def _evicted(self) -> list[Txid]:
        """Hints that no server shows any more."""
        hinted: dict[Txid, list[bytes]] = {}
        for script, watch in self._watches.items():
            for txid, block_hash in watch.delivered.items():
                if block_hash is None:
                    hinted.setdefault(txid, []).append(script)
        gone = []
        for txid, scripts in hinted.items():
            if txid in self._confirmed:
                continue
            views = [
                view
                for script in scripts
                for server in self._pool.online()
                if server.is_settled and (view := server.views.get(script)) is not None and not view.outdated
            ]
            if views and not any(item.txid == txid for view in views for item in view.history or ()):
                gone.append(txid)
        return gone

    def _vanished(self) -> list[Txid]:
        """What somebody still holds for waiting, although no server has shown it in this run, and none shows it now."""
        self._doubtful.difference_update(
            self._confirmed, *(watch.delivered for watch in self._watches.values() if self._doubtful)
        )
        primary = self._pool.primary()
        if not self._doubtful or not self._settled or primary is None:
            return []
        views = [primary.views.get(script) for script, watch in self._watches.items() if watch.whole]
        whole = all(view is not None and view.history is not None and not view.outdated for view in views)
        if not (whole and primary.is_at_tip and primary.is_settled):
            return []
        for server in self._pool.online():
            for view in server.views.values():
                self._doubtful.difference_update(item.txid for item in view.history or ())
        return sorted(self._doubtful)


def _matters_to(registration: _Registration, tx: Transaction) -> bool:
    if registration.txid is not None:
        return tx.txid == registration.txid
    outpoint = registration.outpoint
    if outpoint is None:
        return True
    return tx.txid == outpoint.txid or any(txin.prevout == outpoint for txin in tx.inputs)


def _cannot_show(txid: Txid) -> ServerError:
    lie = _("The server lists the transaction {txid} and cannot show it.").format(txid=txid_hex(txid))
    return ServerError(ServerErrorKind.LIED, lie)


def _can_concern(tx: Transaction, script_pubkey: bytes) -> bool:
    """Whether a transaction can stand in a script's history: it pays to it, or an input shows what the script
    commits to. Where a spend does not show that (taproot), the answer is yes."""
    if any(output.script_pubkey == script_pubkey for output in tx.outputs):
        return True
    if is_p2wsh(script_pubkey):
        commit = sha256
    elif is_p2wpkh(script_pubkey):
        commit = hash160
    else:
        return True
    return any(txin.witness and commit(txin.witness[-1]) == script_pubkey[2:] for txin in tx.inputs)


def _parents_first(txs: dict[Txid, Transaction]) -> tuple[Transaction, ...]:
    ordered: dict[Txid, Transaction] = {}

    def visit(txid: Txid, depth: int) -> None:
        if txid in ordered or txid not in txs or depth > len(txs):
            return
        for txin in txs[txid].inputs:
            visit(txin.prevout.txid, depth + 1)
        ordered[txid] = txs[txid]

    for txid in txs:
        visit(txid, 0)
    return tuple(ordered.values())


async def fetch_period(server: Server, chain: HeaderChain, start_height: int) -> None:
    """Fetches the headers of an old difficulty period, and has the chain check them. Raises ServerError."""
    if chain.missing_period(start_height + 1) is None:
        return
    raws: list[bytes] = []
    while len(raws) < PERIOD_BLOCKS:
        more = await server.guard(
            server.need().block_headers(start_height + len(raws), PERIOD_BLOCKS - len(raws))
        )
        if not more:
            error = ServerError(ServerErrorKind.BAD_ANSWER, _("The server does not have old block headers."))
            server.fail(error)
            raise error
        raws += more
    try:
        chain.add_period(start_height, raws)
    except HeaderError as exc:
        lie = ServerError(ServerErrorKind.LIED, exc.message)
        server.fail(lie)
        raise lie from None


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
