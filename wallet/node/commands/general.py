"""Commands on the node itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wallet.chain.interfaces import ConfirmationTarget
from wallet.i18n import _
from wallet.node.api import CommandError, Json
from wallet.node.commands.registry import COMMANDS, btc_text, command
from wallet.node.version import VERSION

if TYPE_CHECKING:
    from wallet.node.node import Node

__all__: list[str] = []


@command
async def getinfo(node: Node) -> Json:
    """Shows how the wallet stands."""
    status = node.views.snapshot().status
    connected = [server for server in status.servers if server.connected]
    return {
        "network": status.network,
        "path": str(node.options.network_dir),
        "wallet": status.wallet_name,
        "server": connected[0].address if connected else None,
        "blockchain_height": status.height,
        "server_height": max((server.height for server in connected), default=0),
        "spv_nodes": len(connected),
        "connected": bool(connected),
        "synchronized": status.synced,
        "problem": status.problem,
        "servers": [
            {
                "address": server.address,
                "connected": server.connected,
                "height": server.height,
                "problem": server.problem,
            }
            for server in status.servers
        ],
        "version": VERSION,
        "nodeid": status.node_id,
        "peers": status.peers_online,
        "graph_nodes": status.graph_nodes,
        "graph_channels": status.graph_channels,
        "graph_updated_at": status.graph_updated_at,
        "graph_age_seconds": None
        if status.graph_updated_at is None
        else max(0, node.wall_clock_at() - status.graph_updated_at),
        "graph_sync": status.graph_sync.state.value,
        "graph_sync_channels": status.graph_sync.known_channels,
        "graph_sync_channels_listed": status.graph_sync.listed_channels,
        "graph_signatures_waiting": status.graph_sync.signatures_waiting,
        "gossip_peers": "on" if node.gossip_peers.is_on else "off",
        "fee_estimates_sat_per_kw": {
            target.name.lower(): node.fee_sat_per_kw(target) for target in ConfirmationTarget
        },
    }


@command
async def version(node: Node) -> Json:
    """Shows Leyden's version."""
    return VERSION


@command
async def help_(node: Node, name: str | None = None) -> Json:
    """Lists the commands, or explains one."""
    if name is None:
        return {key: found.help.splitlines()[0] for key, found in sorted(COMMANDS.items())}
    found = COMMANDS.get(name)
    if found is None:
        raise CommandError(_("There is no command {name!r}.").format(name=name), code="usage")
    return {"usage": found.usage(), "help": found.help}


@command
async def wait_for_sync(node: Node, *, timeout: int = 600) -> Json:  # noqa: ASYNC109 - as Electrum's
    """Returns once the wallet has caught up with the chain."""
    try:
        async with asyncio.timeout(timeout):
            await node.electrum.wait_synced()
    except TimeoutError:
        raise CommandError(
            _("After {seconds} seconds the wallet has still not caught up with the chain.").format(
                seconds=timeout
            ),
            code="timeout",
        ) from None
    return True


@command
async def wait_for_change(node: Node, seen: int = -1, *, timeout: int = 30) -> Json:  # noqa: ASYNC109 - as Electrum's
    """Returns as soon as anything is newer than version `seen` (or after the time-out), with the version now."""
    try:
        async with asyncio.timeout(timeout):
            return await node.views.changed_since(seen)
    except TimeoutError:
        return node.views.version


@command
async def is_synchronized(node: Node) -> Json:
    """Tells whether the wallet has caught up with the chain."""
    return node.electrum.status().is_synced


@command
async def getseed(node: Node, *, password: str = "") -> Json:
    """Shows the words that bring this wallet's keys back. Whoever reads them can take the coins."""
    # In a thread: checking a password takes a second on purpose, and payments go on meanwhile.
    await node.loop.run_in_executor(None, node.check_password, password)
    return " ".join(node.words())


@command
async def getfeerate(node: Node) -> Json:
    """Shows the fee rate for a payment within about an hour, in BTC per 1000 vbytes."""
    return btc_text(node.fee_sat_per_kw(ConfirmationTarget.NON_ANCHOR_CHANNEL_FEE) * 4)
