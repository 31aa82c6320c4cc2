"""The practice network after a restart: it goes on where it stopped, and its nodes are found again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from tests.functional.whole_nodes import WAIT_SECONDS, play
from wallet.bitcoin.bip39 import mnemonic_from_entropy
from wallet.node.commands import run
from wallet.node.host import create_wallet_file, open_node
from wallet.node.node import Node
from wallet.node.options import SANDBOX, NodeOptions
from wallet.sandbox.network import Sandbox

COINS_SAT = 1_000_000
CHANNEL_SAT = 400_000


async def funded(node: Node) -> None:
    version = node.views.version
    while not node.snapshot().balance.onchain_confirmed_sat:
        version = await node.views.changed_since(version)


async def online(node: Node) -> None:
    version = node.views.version
    while not any(channel.peer_online for channel in node.snapshot().channels):
        version = await node.views.changed_since(version)


def test_the_hub_is_found_again_though_it_listens_elsewhere(tmp_path: Path) -> None:
    options = NodeOptions(network_name=SANDBOX, root=tmp_path)
    create_wallet_file(options, mnemonic_from_entropy(bytes(16)).split(), "")

    async def practise(*, first: bool) -> None:
        sandbox = Sandbox(options)
        address = await sandbox.start()
        opened = await open_node(replace(options, servers=(address,), single_server_ok=True), "")
        node = opened.node
        try:
            sandbox.attach(node)
            async with asyncio.timeout(WAIT_SECONDS):
                if first:
                    await sandbox.welcome(COINS_SAT)
                    await funded(node)
                    peer = sandbox.hub_uri()
                    await run(node, "open_channel", {"connection_string": peer, "amount_sat": CHANNEL_SAT})
                await online(node)
        finally:
            await opened.close()
            await sandbox.close()

    async def scenario() -> None:
        await practise(first=True)
        await practise(first=False)

    play(scenario())
