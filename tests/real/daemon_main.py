"""A daemon whose fee rates and ticks a test decides: `python -m tests.real.daemon_main FOLDER SERVER...`.

It is the daemon of the command line with some commands more. A young regtest chain gives no fee estimates, and a tick
comes once a minute: too late for a test. With `--forward` it forwards payments of others.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import replace
from pathlib import Path

from tests.real.broadcasts import write_down
from wallet.chain.electrum.session import ServerAddress
from wallet.chain.interfaces import ConfirmationTarget
from wallet.ln.config import UserConfig
from wallet.ln.types import NodeId
from wallet.node.api import CommandError, Json
from wallet.node.commands.registry import command
from wallet.node.daemon import Daemon
from wallet.node.interpreter import tune
from wallet.node.node import Node
from wallet.node.options import NodeOptions

BROADCASTS = "broadcasts.hex"
RATES_SAT_PER_KW = {
    ConfirmationTarget.MAXIMUM_FEE_ESTIMATE: 10_000,
    ConfirmationTarget.URGENT_ON_CHAIN_SWEEP: 5_000,
    ConfirmationTarget.MIN_ALLOWED_ANCHOR_CHANNEL_REMOTE_FEE: 253,
    ConfirmationTarget.MIN_ALLOWED_NON_ANCHOR_CHANNEL_REMOTE_FEE: 253,
    ConfirmationTarget.ANCHOR_CHANNEL_FEE: 500,
    ConfirmationTarget.NON_ANCHOR_CHANNEL_FEE: 2_000,
    ConfirmationTarget.CHANNEL_CLOSE_MINIMUM: 500,
    ConfirmationTarget.OUTPUT_SPENDING_FEE: 1_000,
}


class Rates:
    """A `FeeEstimator` that a test fills."""

    def get_est_sat_per_1000_weight(self, confirmation_target: ConfirmationTarget) -> int:
        return RATES_SAT_PER_KW[confirmation_target]


@command
async def test_fees(node: Node, target: str, sat_per_kw: int) -> Json:
    """Sets one fee rate."""
    try:
        RATES_SAT_PER_KW[ConfirmationTarget[target]] = sat_per_kw
    except KeyError:
        raise CommandError(f"There is no target {target}.", code="usage") from None
    return True


@command
async def test_tick(node: Node) -> Json:
    """The minute's tick of the channels, now."""
    node.ticks.channels()
    return True


@command
async def test_rebroadcast(node: Node) -> Json:
    """The claims once more, now."""
    node.ticks.rebroadcast()
    return True


@command
async def test_expiries(node: Node) -> Json:
    """When each HTLC under way expires, by its payment hash."""
    with node.core.locked():
        details = node.manager.list_channels()
    return {
        htlc.payment_hash.hex(): htlc.cltv_expiry_height for item in details for htlc in item.pending_htlcs
    }


@command
async def test_hang_up(node: Node, node_id: str) -> Json:
    """Ends the connection to a peer, and leaves it so until `add_peer`."""
    known = NodeId(bytes.fromhex(node_id))
    task = node.peers._tasks.pop(known, None)
    if task is not None:
        task.cancel()
    with node.core.entry():
        node.peer_manager.disconnect_by_node_id(known)
    node.peers_changed()
    return True


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s.%(msecs)03d %(levelname).1s %(name)s: %(message)s"
    )
    tune()
    forward = "--forward" in sys.argv
    folder, listen_port, *servers = (word for word in sys.argv[1:] if word != "--forward")
    write_down(Path(folder, BROADCASTS))
    config = UserConfig(
        manually_accept_inbound_channels=True,
        accept_forwards=forward,
        accept_forwards_to_priv_channels=forward,
    )
    options = NodeOptions(
        network_name="regtest",
        root=Path(folder),
        servers=tuple(ServerAddress.parse(text) for text in servers),
        single_server_ok=len(servers) == 1,
        listen=("127.0.0.1", int(listen_port)),
        user_config=replace(config, accept_inbound_channels=True),
    )
    asyncio.run(Daemon(options, fee_estimator=Rates()).serve(wallet_password=""))


if __name__ == "__main__":
    main()
