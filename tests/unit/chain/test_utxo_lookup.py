"""Channels that are said to stand above our headers: there are none, or there are none yet."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import NoReturn, cast

import pytest

from wallet.bitcoin.address import MAINNET
from wallet.chain.electrum.headers import HeaderChain
from wallet.chain.electrum.server import Server
from wallet.chain.electrum.utxo_lookup import (
    BLOCKS_AHEAD,
    FASTEST_BLOCK_SECONDS,
    OLD_TIP_SECONDS,
    ElectrumUtxoLookup,
)
from wallet.chain.interfaces import UtxoAnswer, UtxoError

TIP = 900_000
TIP_AT = 1_800_000_000
HOUR = 3_600
WEEKS = 21 * 86_400
UNKNOWN, UNAVAILABLE = UtxoError.UNKNOWN_TX, UtxoError.UNAVAILABLE


@dataclass
class OneServer:
    """`Server`, as far as it is looked at; it is not to be asked."""

    is_on_best: bool = True
    is_at_tip: bool = True

    def need(self) -> NoReturn:
        raise AssertionError("a server was asked for a block that we have no header of")


@dataclass
class Pool:
    """`LookupPool` with headers up to `TIP`."""

    highest_announced: int = TIP
    servers: list[OneServer] = field(default_factory=lambda: [OneServer()])
    empty: bool = False

    @property
    def chain(self) -> HeaderChain:
        tip = None if self.empty else SimpleNamespace(time_at=TIP_AT)
        return cast("HeaderChain", SimpleNamespace(height=TIP, tip=lambda: tip))

    def online(self) -> list[Server]:
        return cast("list[Server]", self.servers)


def looked_up(pool: Pool, height: int, *, seconds_later: float) -> UtxoError | None:
    """What is answered so long after the tip's time."""

    async def scenario() -> UtxoError | None:
        lookup = ElectrumUtxoLookup(pool, MAINNET, wall_clock=lambda: TIP_AT + seconds_later)
        answers: asyncio.Queue[UtxoAnswer] = asyncio.Queue()
        task = asyncio.create_task(lookup.run())
        assert lookup.get_utxo(MAINNET.chain_hash, height << 40, answers.put_nowait) is None
        lookup.poke()
        answer = await asyncio.wait_for(answers.get(), 60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (answer.short_channel_id, answer.output) == (height << 40, None)
        return answer.error

    return asyncio.run(scenario())


def test_with_headers_up_to_the_tip_a_channel_above_it_is_made_up() -> None:
    assert looked_up(Pool(), TIP + BLOCKS_AHEAD + 1, seconds_later=HOUR) is UNKNOWN
    assert looked_up(Pool(), 0xFFFFFF, seconds_later=HOUR) is UNKNOWN


def test_the_next_blocks_may_be_about_to_come() -> None:
    assert looked_up(Pool(), TIP + 1, seconds_later=0) is UNAVAILABLE
    assert looked_up(Pool(), TIP + BLOCKS_AHEAD, seconds_later=0) is UNAVAILABLE


@pytest.mark.parametrize(
    "pool",
    [
        pytest.param(Pool(highest_announced=TIP + 1), id="a higher tip was told"),
        pytest.param(Pool(servers=[OneServer(is_at_tip=False)]), id="nobody stands at our tip"),
        pytest.param(Pool(empty=True), id="no header is here"),
    ],
)
def test_while_headers_are_behind_a_channel_above_them_may_be_real(pool: Pool) -> None:
    assert looked_up(pool, TIP + 2 * BLOCKS_AHEAD, seconds_later=HOUR) is UNAVAILABLE


def test_a_server_that_is_weeks_behind_is_no_proof() -> None:
    """Its tip is ours, and it knows of no other: the computer slept, and the server did too."""
    assert looked_up(Pool(), TIP + 2_000, seconds_later=WEEKS) is UNAVAILABLE
    assert looked_up(Pool(), TIP + 100, seconds_later=OLD_TIP_SECONDS) is UNAVAILABLE
    assert looked_up(Pool(), TIP + 100, seconds_later=OLD_TIP_SECONDS - 1) is UNKNOWN


def test_no_chain_can_have_grown_so_far_since_our_tip() -> None:
    behind = Pool(highest_announced=0x7FFFFF, servers=[OneServer(is_at_tip=False)])
    farthest = TIP + BLOCKS_AHEAD + WEEKS // FASTEST_BLOCK_SECONDS
    assert looked_up(behind, farthest, seconds_later=WEEKS) is UNAVAILABLE
    assert looked_up(behind, farthest + 1, seconds_later=WEEKS) is UNKNOWN
    # A clock that is behind does not make it more.
    assert looked_up(behind, TIP + BLOCKS_AHEAD + 1, seconds_later=-WEEKS) is UNKNOWN
