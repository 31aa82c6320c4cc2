"""What may go wrong between core, disk and sockets: each of these once lost, or could have lost, somebody something."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.functional.whole_nodes import WholeWorld, play

AMOUNT_MSAT = 2_000_000


def test_what_a_slow_disk_holds_back_does_not_go_over_a_later_connection(tmp_path: Path) -> None:
    """The peer would get a commitment_signed before channel_reestablish, and close the channel."""

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("payer", "payee")) as world:
            payer, payee = world.nodes
            await payer.fund(2_000_000, coins=2)
            await payer.open_channel(payee, 1_000_000)
            request = await payee.call("add_request", amount_msat=AMOUNT_MSAT, lightning=True)
            with payer.slow_disk():
                paying = asyncio.ensure_future(payer.call("lnpay", invoice=request["lightning_invoice"]))
                await payer.until("the HTLC on its way", lambda: not payer.quiet())
                payee.hang_up()
                await payer.until("the peer gone", lambda: not payer.node.peers.online)
                await payer.until("the peer back", lambda: payer.node.peers.online)
            assert (await paying)["success"]
            await payer.until("the end of all HTLCs", payer.quiet)
            assert payer.usable(payee)
            assert payee.channel_msat() == AMOUNT_MSAT

    play(scenario())
