"""The practice network's own controls: its hub sells a channel to the wallet, by the protocol."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from tests.functional.whole_nodes import WAIT_SECONDS, play
from wallet.bitcoin.bip39 import mnemonic_from_entropy
from wallet.ln.config import UserConfig
from wallet.node.host import create_wallet_file, open_node
from wallet.node.options import SANDBOX, NodeOptions
from wallet.node.orders import OrderStep
from wallet.sandbox.network import Sandbox


def test_the_hub_of_the_practice_network_sells_a_channel(tmp_path: Path) -> None:
    async def scenario() -> None:
        options = NodeOptions(
            network_name=SANDBOX,
            root=tmp_path,
            user_config=UserConfig(manually_accept_inbound_channels=True),
        )
        sandbox = Sandbox(options)
        address = await sandbox.start()
        options = replace(options, servers=(address,), single_server_ok=True)
        create_wallet_file(options, mnemonic_from_entropy(bytes(16)).split(), "")
        opened = await open_node(options, "")
        try:
            node = opened.node
            sandbox.attach(node)
            await sandbox.welcome(1_000_000)
            async with asyncio.timeout(WAIT_SECONDS):
                version = node.views.version
                while not node.snapshot().balance.onchain_confirmed_sat:
                    version = await node.views.changed_since(version)
                said = await asyncio.wrap_future(sandbox.buy_channel(400_000))
                assert "400" in said
                # It counts once a block holds its funding, and the network mines only now and then.
                version = node.views.version
                while not all(record.channel_id for record in node.orders.records.values()):
                    version = await node.views.changed_since(version)
                with node.core.locked():
                    funding = node.manager.list_channels()[0].funding_outpoint
                assert funding is not None
                touched = asyncio.Event()
                sandbox.chain.listeners.append(lambda _scripts, _tip_changed: touched.set())
                while sandbox.chain.transaction(funding.txid) is None:
                    touched.clear()
                    await touched.wait()
                sandbox.chain.mine(1)
                version = node.views.version
                while {r.step for r in node.orders.records.values()} != {OrderStep.ARRIVED}:
                    version = await node.views.changed_since(version)
            with node.core.locked():
                channels = node.manager.list_channels()
            assert [item.channel_value_sat for item in channels] == [400_000]
            assert not channels[0].is_outbound
            # The wallet does not listen: the hub opened over the connection that was there.
            assert node.listening_port is None
        finally:
            await opened.close()
            await sandbox.close()

    play(scenario())
