"""`ElectrumFeeEstimator`: what transactions should pay, from what the servers say.

Each rate is the median over the servers (the lower of two), so that one that lies moves nothing; rates beyond
reason are thrown away first. A server that does not know (-1, on a young chain) leaves the fallback.
Estimates for longer waits never exceed those for shorter ones. Nothing but the two lowest limits that we
put up with from a peer goes below the servers' mempool minimum: it would not be relayed.

The anchor channels' commitment fee keeps room above that minimum: before protocol 1.6 nobody takes
packages, so a commitment has to get into the mempool by itself, on a day when the minimum has risen since
the last update_fee.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from wallet.chain.electrum.errors import ServerError
from wallet.chain.electrum.server import Server
from wallet.chain.interfaces import FLOOR_FEERATE_SAT_PER_KW, ConfirmationTarget

__all__ = ["ElectrumFeeEstimator", "FeePool", "FeeSnapshot"]

REFRESH_SECONDS = 300.0
RETRY_SECONDS = 30.0
REFUSED_SECONDS = 10.0
REFUSED_REFRESHES = 12
"""After a refusal for its low fee: what is known is too old, and servers keep what they tell for a while themselves."""
MAX_SANE_SAT_PER_KW = 500_000
"""2,000 sat/vB: the market has never gone there."""
MAX_ANCHOR_SAT_PER_KW = 25_000
"""100 sat/vB: an anchor commitment is bumped by its child, beyond this a server that lies would burn our
money."""
MAX_MINIMUM_SAT_PER_KW = 50_000
"""200 sat/vB: twice what the fullest mempool so far has asked for."""
TARGETS_BLOCKS = (2, 6, 12, 144, 1008)


@dataclass(frozen=True, slots=True)
class _Target:
    """How one purpose is served.

    Attributes:
        blocks: the wait that is asked for.
        fallback_sat_per_kw: where no server knows.
        slack_sat_per_kw: taken off, because two honest estimators differ.
        is_limit: a limit that a peer's fee is held against, not a fee that we pay.
    """

    blocks: int
    fallback_sat_per_kw: int
    slack_sat_per_kw: int = 0
    is_limit: bool = False


_TARGETS = {
    ConfirmationTarget.MAXIMUM_FEE_ESTIMATE: _Target(2, 10_000),
    ConfirmationTarget.URGENT_ON_CHAIN_SWEEP: _Target(6, 5_000),
    ConfirmationTarget.MIN_ALLOWED_ANCHOR_CHANNEL_REMOTE_FEE: _Target(
        1008, FLOOR_FEERATE_SAT_PER_KW, slack_sat_per_kw=250, is_limit=True
    ),
    ConfirmationTarget.MIN_ALLOWED_NON_ANCHOR_CHANNEL_REMOTE_FEE: _Target(
        144, 1_000, slack_sat_per_kw=250, is_limit=True
    ),
    ConfirmationTarget.ANCHOR_CHANNEL_FEE: _Target(1008, 500),
    ConfirmationTarget.NON_ANCHOR_CHANNEL_FEE: _Target(12, 2_000),
    ConfirmationTarget.CHANNEL_CLOSE_MINIMUM: _Target(144, 500),
    ConfirmationTarget.OUTPUT_SPENDING_FEE: _Target(12, 1_000),
}


class FeePool(Protocol):
    def online(self) -> list[Server]: ...


@dataclass(frozen=True, slots=True)
class FeeSnapshot:
    """What is known of fees.

    Attributes:
        rates: (blocks, sat per kw), shortest wait first; only what some server knows.
        minimum_sat_per_kw: of the servers' mempools.
        packages: whether every connected server takes packages.
        servers: how many answered.
    """

    rates: tuple[tuple[int, int], ...] = ()
    minimum_sat_per_kw: int = FLOOR_FEERATE_SAT_PER_KW
    packages: bool = False
    servers: int = 0


class ElectrumFeeEstimator:
    """`FeeEstimator` from the servers' estimates. `snapshot` can be read from any thread: it is replaced
    whole."""

    def __init__(self, pool: FeePool, on_change: Callable[[], None] | None = None) -> None:
        self.snapshot = FeeSnapshot()
        self._pool = pool
        self._on_change = on_change
        self._wake = asyncio.Event()
        self._hurried = 0

    def get_est_sat_per_1000_weight(self, confirmation_target: ConfirmationTarget) -> int:
        snapshot = self.snapshot
        target = _TARGETS[confirmation_target]
        rate = dict(snapshot.rates).get(target.blocks)
        wanted = target.fallback_sat_per_kw if rate is None else rate - target.slack_sat_per_kw
        if confirmation_target is ConfirmationTarget.ANCHOR_CHANNEL_FEE:
            # Half as much again as the minimum; twice where a commitment must make its own way.
            minimum = snapshot.minimum_sat_per_kw
            room = minimum * 3 // 2 if snapshot.packages else minimum * 2
            wanted = min(max(wanted, room), MAX_ANCHOR_SAT_PER_KW)
        elif not target.is_limit:
            wanted = max(wanted, snapshot.minimum_sat_per_kw)
        return max(FLOOR_FEERATE_SAT_PER_KW, min(wanted, MAX_SANE_SAT_PER_KW))

    def poke(self) -> None:
        """A server has come: ask it, where nothing is known yet."""
        if self.snapshot.servers == 0:
            self._wake.set()

    def refused(self) -> None:
        """A transaction did not pay what nodes ask for: asks the servers now, and often, until they say another
        rate. Nobody's word is taken for how much it should have been."""
        if not self._hurried:
            self._hurried = REFUSED_REFRESHES
            self._wake.set()

    async def run(self) -> None:
        while True:
            self._wake.clear()
            before = self.snapshot
            await self.refresh()
            pause_seconds = REFRESH_SECONDS if self.snapshot.servers else RETRY_SECONDS
            if self._hurried:
                self._hurried = self._hurried - 1 if self.snapshot == before else 0
                pause_seconds = REFUSED_SECONDS if self._hurried else pause_seconds
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._wake.wait()

    async def refresh(self) -> None:
        """Asks every connected server once."""
        servers = self._pool.online()
        answers = [
            answer for answer in await asyncio.gather(*map(_ask, servers)) if answer is not None
        ]  # fmt: skip
        if not answers:
            return
        rates: list[tuple[int, int]] = []
        for i, blocks in enumerate(TARGETS_BLOCKS):
            median = _median([rates_of[i] for rates_of, _ in answers])
            if median is not None:
                # A longer wait is never dearer than a shorter one.
                rates.append((blocks, min(median, rates[-1][1]) if rates else median))
        minimum = _median([minimum for _, minimum in answers])
        snapshot = FeeSnapshot(
            tuple(rates),
            max(FLOOR_FEERATE_SAT_PER_KW, _with_room(minimum or 0)),
            all(server.session is None or server.session.takes_packages for server in servers),
            len(answers),
        )
        if snapshot != self.snapshot:
            self.snapshot = snapshot
            if self._on_change is not None:
                self._on_change()


def _per_kw(rate_sat_per_kvb: int, limit_sat_per_kw: int) -> int | None:
    """1000 vbytes are 4000 weight; None where the rate is beyond reason."""
    rate_sat_per_kw = -(-rate_sat_per_kvb // 4)
    return rate_sat_per_kw if 0 < rate_sat_per_kw <= limit_sat_per_kw else None


def _with_room(minimum_sat_per_kw: int) -> int:
    """Nodes count in vbytes, and round them up: exactly the minimum by weight would be a little too low for them. The
    same room as between a satoshi per vbyte and the floor; enough from 250 weight on."""
    return -(-minimum_sat_per_kw * FLOOR_FEERATE_SAT_PER_KW // 250)


async def _ask(server: Server) -> tuple[list[int | None], int | None] | None:
    """A server's rate for each wait, and its minimum; None where it would not answer."""
    try:
        session = server.need()
        *estimates, minimum = await server.guard(
            asyncio.gather(
                *(session.estimate_fee_sat_per_kvb(blocks) for blocks in TARGETS_BLOCKS),
                session.mempool_minimum_sat_per_kvb(),
            )
        )
    except ServerError:
        return None
    rates = [None if rate is None else _per_kw(rate, MAX_SANE_SAT_PER_KW) for rate in estimates]
    return rates, None if minimum is None else _per_kw(minimum, MAX_MINIMUM_SAT_PER_KW)


def _median(values: Sequence[int | None]) -> int | None:
    """The lower median of what is known."""
    known = sorted(value for value in values if value is not None)
    return known[(len(known) - 1) // 2] if known else None
