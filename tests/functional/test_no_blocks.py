"""No block for hours: the chain may be hidden from us, and with it every deadline. First the person is told; then no
HTLC is offered, forwarded or accepted until a block comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.functional.whole_nodes import WholeNode, WholeWorld, play
from wallet.chain.electrum.sync import NO_BLOCK_SECONDS
from wallet.ln.types import Now
from wallet.node import core as core_module
from wallet.node import node as node_module
from wallet.node.api import CommandError
from wallet.node.details import route_hint
from wallet.node.options import PAUSE_WITHOUT_BLOCK_SECONDS, NodeOptions

AMOUNT_MSAT = 3_000_000
OLD_SECONDS = 60
"""So old the newest block may be when the clock is put forward: the test has taken less."""


def put_forward(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """The computer's wall clock, for a test to put forward; the monotonic one goes on as it is."""
    read_clocks = core_module.read_clocks
    ahead_seconds = 0

    def later() -> Now:
        now = read_clocks()
        return Now(at=now.at + ahead_seconds, mono_ms=now.mono_ms)

    monkeypatch.setattr(core_module, "read_clocks", later)
    monkeypatch.setattr(node_module, "read_clocks", later)

    def by(seconds: int) -> None:
        nonlocal ahead_seconds
        ahead_seconds = seconds

    return by


def test_without_blocks_no_htlc_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_clock = put_forward(monkeypatch)

    async def pay(payer: WholeNode, payee: WholeNode) -> bool:
        request = await payee.call("add_request", amount_msat=AMOUNT_MSAT, lightning=True)
        paid = await payer.call("lnpay", invoice=request["lightning_invoice"])
        return bool(paid["success"])

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("payer", "careful", "payee")) as world:
            payer, careful, payee = world.nodes
            # Only one of them minds: what the others see of it is what we want to see.
            careful.options = replace(
                careful.options, pause_without_block_seconds=PAUSE_WITHOUT_BLOCK_SECONDS
            )
            await careful.reopen()
            await payer.fund(3_000_000, coins=2)
            await careful.fund(3_000_000, coins=2)
            await payer.open_channel(careful, 1_000_000, push_sat=300_000)
            await careful.open_channel(payee, 1_000_000)
            await payee.until("a way to it", lambda: all(map(route_hint, payee.channels_with(careful))))
            assert await pay(payer, payee)
            assert careful.node.snapshot().status.problem == ""

            put_clock(NO_BLOCK_SECONDS + OLD_SECONDS)
            assert "No new block has come for 2 hours" in careful.node.snapshot().status.problem
            assert await pay(payer, payee)

            for node in world.nodes:
                await node.until("the end of all HTLCs", node.quiet)
            put_clock(PAUSE_WITHOUT_BLOCK_SECONDS + OLD_SECONDS)
            before = careful.channel_msat()
            assert not await pay(payer, payee)
            assert not await pay(payer, careful)
            with pytest.raises(CommandError) as refused:
                await pay(careful, payer)
            assert refused.value.code == "paused"
            assert "No new block has come for 8 hours" in str(refused.value)
            assert "Nothing was paid" in str(refused.value)
            problem = (await careful.call("getinfo"))["problem"]
            assert "Payments over Lightning are paused" in problem
            for node in world.nodes:
                await node.until("the end of all HTLCs", node.quiet)
            assert careful.channel_msat() == before
            assert await careful.history() == {}

            world.chain._clock = careful.node.wall_clock_at
            world.chain.mine(1)
            height = world.chain.height
            await careful.until("the block", lambda: careful.node.best_height == height)
            await careful.until("that all is well", lambda: not careful.node.snapshot().status.problem)
            assert await pay(payer, payee)
            assert await pay(payer, careful)
            assert await pay(careful, payer)

    play(scenario())


@pytest.mark.parametrize(
    ("network", "seconds"),
    [("mainnet", 8 * 3600), ("testnet4", 8 * 3600), ("signet", 8 * 3600), ("regtest", 0), ("sandbox", 0)],
)
def test_it_is_the_rule_where_blocks_come_by_themselves(tmp_path: Path, network: str, seconds: int) -> None:
    assert NodeOptions(network_name=network, root=tmp_path).htlc_pause_seconds == seconds
