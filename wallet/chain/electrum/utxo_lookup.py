"""`ElectrumUtxoLookup` (`chain.Access`): the funding outputs of other people's channels.

A short channel id names a place in a block; the server says which transaction stands there, and proves it
against our header. Then the output, and whether it is unspent, which one server's word must do for: a
channel that is wrongly believed to be open costs a failed payment at most.

A place above our headers is no channel where they are known to reach the tip: a server stands there, none has
told of a higher one, and it is not old. Until then, and in the few blocks that the next moments may bring, nothing
is known of it (`UNAVAILABLE`), and no server is asked. A height that not even a block each minute since our tip
would have reached is made up in any case.

Look-ups run in the background, few at a time, in random order and at random servers: a server that saw which
channels are looked up when, could tell what is about to be paid.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from wallet.bitcoin.address import Network
from wallet.bitcoin.tx import TxOut
from wallet.chain.electrum.errors import ServerError, ServerErrorKind, ServerRefused
from wallet.chain.electrum.filter import fetch_period
from wallet.chain.electrum.headers import HeaderChain
from wallet.chain.electrum.merkle import could_be_inner_node, verify
from wallet.chain.electrum.server import Server
from wallet.chain.interfaces import UtxoAnswer, UtxoError
from wallet.i18n import _

__all__ = ["Answer", "ElectrumUtxoLookup", "Enter", "LookupPool"]

Answer = Callable[[UtxoAnswer], None]
Enter = Callable[[Callable[[], None]], None]

AT_ONCE = 8
MAX_PENDING = 100_000
SERVERS_TO_TRY = 3
BLOCKS_AHEAD = 6
"""So far above our tip a block may be that we are about to hear of."""
FASTEST_BLOCK_SECONDS = 60
"""Ten times as fast as blocks come, so that no chain outruns it, nor a clock that is wrong by an hour."""
OLD_TIP_SECONDS = 86_400
"""With a tip of that age no server's word is taken for it that there is no higher one."""
BAD_REQUEST = 1
"""How servers refuse a place that is not in a block; a busy one, or one whose node is, has another code."""


class LookupPool(Protocol):
    @property
    def chain(self) -> HeaderChain: ...

    def online(self) -> list[Server]: ...

    @property
    def highest_announced(self) -> int:
        """The height of the highest tip that a server has told, its headers here already or not; -1 for none."""
        ...


class _NoSuchPlace(Exception):
    """The server says that the block has no transaction there."""


class ElectrumUtxoLookup:
    """Answers come one by one, each through `enter`, which the node gives: it takes the lock."""

    def __init__(
        self,
        pool: LookupPool,
        network: Network,
        enter: Enter | None = None,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._wall_clock = wall_clock
        self._network = network
        self._enter: Enter = enter if enter is not None else _call
        self._mutex = threading.Lock()
        self._waiting: dict[int, list[Answer]] = {}
        self._order: list[int] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._random = random.Random()

    def get_utxo(self, chain_hash: bytes, short_channel_id: int, answer: Answer) -> UtxoAnswer | None:
        if chain_hash != self._network.chain_hash:
            return UtxoAnswer(short_channel_id, None, UtxoError.UNKNOWN_CHAIN)
        with self._mutex:
            waiting = self._waiting.get(short_channel_id)
            if waiting is not None:
                waiting.append(answer)
                return None
            if len(self._waiting) >= MAX_PENDING:
                return UtxoAnswer(short_channel_id, None, UtxoError.UNAVAILABLE)
            self._waiting[short_channel_id] = [answer]
            # A place drawn at random: whoever watches the order learns nothing.
            self._order.append(short_channel_id)
            other = self._random.randrange(len(self._order))
            self._order[-1], self._order[other] = self._order[other], self._order[-1]
            loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self._wake.set)
        return None

    def poke(self) -> None:
        """A server has come."""
        self._wake.set()

    async def run(self) -> None:
        with self._mutex:
            self._loop = asyncio.get_running_loop()
        slots = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._servers():
                    with self._mutex:
                        if not self._order:
                            break
                        short_channel_id = self._order.pop()
                    await slots.acquire()
                    task = group.create_task(self._look_up(short_channel_id))
                    task.add_done_callback(lambda _task: slots.release())

    def _servers(self) -> list[Server]:
        return [server for server in self._pool.online() if server.is_on_best]

    async def _look_up(self, short_channel_id: int) -> None:
        answer = await self._find(short_channel_id)
        with self._mutex:
            waiting = self._waiting.pop(short_channel_id, [])
        for tell in waiting:
            self._enter(partial(tell, answer))

    async def _find(self, short_channel_id: int) -> UtxoAnswer:
        height = short_channel_id >> 40
        if height > self._pool.chain.height:
            above = UtxoError.UNKNOWN_TX if self._is_made_up(height) else UtxoError.UNAVAILABLE
            return UtxoAnswer(short_channel_id, None, above)
        servers = self._servers()
        self._random.shuffle(servers)
        no_such_place = False
        for server in servers[:SERVERS_TO_TRY]:
            try:
                output = await self._ask(server, short_channel_id)
            except _NoSuchPlace:
                no_such_place = True
            except ServerError:
                # A refusal too: it may be busy, or its node may.
                continue
            else:
                if output is None:
                    return UtxoAnswer(short_channel_id, None, UtxoError.UNKNOWN_TX)
                return UtxoAnswer(short_channel_id, output, None)
        # BOLT 7, short_channel_id: a place that no server can show holds no channel.
        error = UtxoError.UNKNOWN_TX if no_such_place else UtxoError.UNAVAILABLE
        return UtxoAnswer(short_channel_id, None, error)

    def _is_made_up(self, height: int) -> bool:
        """Of a height above our headers: whether they reach far enough to tell that there is no such block."""
        chain = self._pool.chain
        tip = chain.tip()
        ahead = height - chain.height - BLOCKS_AHEAD
        if ahead <= 0 or tip is None:
            return False
        tip_age_seconds = max(0, int(self._wall_clock()) - tip.time_at)
        if ahead > tip_age_seconds // FASTEST_BLOCK_SECONDS:
            return True
        # Who stands at our tip may be behind himself.
        at_tip = any(server.is_at_tip for server in self._pool.online())
        return at_tip and self._pool.highest_announced <= chain.height and tip_age_seconds < OLD_TIP_SECONDS

    async def _ask(self, server: Server, short_channel_id: int) -> TxOut | None:
        height, index, vout = (
            short_channel_id >> 40,
            short_channel_id >> 16 & 0xFFFFFF,
            short_channel_id & 0xFFFF,
        )
        chain = self._pool.chain
        if height == 0:
            return None
        start = chain.missing_period(height)
        if start is not None:
            await fetch_period(server, chain, start)
        session = server.need()
        try:
            txid, proof = await server.guard(session.id_from_pos(height, index))
        except ServerRefused as refusal:
            if refusal.code == BAD_REQUEST:
                raise _NoSuchPlace from None
            raise
        header = chain.header(height)
        if header is None:
            return None
        if not verify(txid, proof.branch, index, header.merkle_root):
            if await server.guard(session.block_header(height)) == chain.raw(height) == header.serialize():
                server.fail(
                    ServerError(ServerErrorKind.LIED, _("The server's proof for a channel is wrong."))
                )
            raise ServerError(ServerErrorKind.LIED, _("The server's proof does not fit our headers."))
        tx = await server.guard(session.transaction(txid))
        if could_be_inner_node(tx) or vout >= len(tx.outputs):
            return None
        output = tx.outputs[vout]
        outpoint = tx.outpoint(vout)
        if session.speaks_scripts:
            status = await server.guard(session.outpoint_status(outpoint, output.script_pubkey))
            unspent = status.funder_height is not None and status.spender_txid is None
        else:
            listed = await server.guard(session.script_unspent(output.script_pubkey))
            unspent = any(item.outpoint == outpoint for item in listed)
        return output if unspent else None


def _call(action: Callable[[], None]) -> None:
    action()
