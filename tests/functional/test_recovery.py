"""Everything is lost: what comes back from the words, and from the words and the channel backup, is what was promised.

Whole nodes on the sandbox's chain. The promise is `recovery_report`'s, made before the loss; what comes back is counted
on the chain, the fees of bringing it home added.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.functional.whole_nodes import HOST, WAIT_SECONDS, WholeNode, WholeWorld, play
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.tx import Txid, txid_hex
from wallet.ln.channelmonitor import PATIENCE_TICKS
from wallet.ln.lost_channels import LostOutput
from wallet.node.api import CommandError
from wallet.node.backup import BACKUP_FILE
from wallet.node.wallets import Restored, create_wallet_file

pytestmark = pytest.mark.timeout(300)

DELAY_BLOCKS = 144
CAPACITY_SAT = 500_000
PUSH_SAT = 120_000
PAID_SAT = 7_000
HELD_SAT, HELD_BTC = 20_000, "0.0002"


class RestoredNode(WholeNode):
    """The wallet of another node's words, made anew somewhere else."""

    def __init__(self, lost: WholeNode, name: str, words: list[str], restored: Restored) -> None:
        self.world = lost.world
        self.name = name
        self.options = replace(lost.options, root=lost.world.folder / name, listen=(HOST, 0))
        create_wallet_file(self.options, words, "", restored)
        self._open = None
        self.dead = asyncio.Event()
        lost.world.nodes.append(self)


async def words_of(node: WholeNode) -> list[str]:
    return str(await node.call("getseed")).split()


def lose(node: WholeNode) -> None:
    """The disk is gone, the network's folder with it."""
    shutil.rmtree(node.options.root)


async def report(node: WholeNode) -> Any:
    return await node.call("recovery_report")


def found_outputs(node: WholeNode) -> list[LostOutput]:
    """Outputs of lost channels that the chain has shown."""
    with node.node.core.locked():
        lost = node.node.recovery.lost
        return [*lost.other_outputs(), *(output for channel in lost.channels() for output in channel.outputs)]


def sweep_fees_sat(node: WholeNode) -> int:
    """What bringing outputs of channels home has cost, every sweep confirmed."""
    txids = {output.spent_by for output in found_outputs(node)}
    return sum(fee_sat(node.world, txid) for txid in txids if txid is not None)


def fee_sat(world: WholeWorld, txid: Txid) -> int:
    tx = world.chain.transaction(txid)
    assert tx is not None
    total_sat = 0
    for txin in tx.inputs:
        parent = world.chain.transaction(txin.prevout.txid)
        assert parent is not None
        total_sat += parent.outputs[txin.prevout.vout].value_sat
    return total_sat - tx.total_output_sat


def swept(node: WholeNode, count: int) -> bool:
    found = found_outputs(node)
    return len(found) == count and all(output.spent_by is not None for output in found)


async def mine(node: WholeNode, blocks: int) -> None:
    """Mines, and waits until the node knows, and what it sends because of it is on its way."""
    node.world.chain.mine(blocks)
    await synced(node)
    await asyncio.sleep(0.05)


async def synced(node: WholeNode) -> None:
    height = node.world.chain.height
    await node.until(f"block {height}", lambda: node.node.best_height == height)


async def mine_until_swept(node: WholeNode, count: int) -> None:
    """Mines until so many outputs are home: those without a delay first."""
    for blocks in (*[1] * 9, DELAY_BLOCKS, *[1] * 9):
        if swept(node, count):
            return
        await mine(node, blocks)
    assert swept(node, count), found_outputs(node)


async def three_channels(world: WholeWorld) -> WholeNode:
    """Alice, with an open channel and a payment under way in it, one that she has force-closed, and one that its peer
    has."""
    alice, bob, carol, dave = world.nodes
    await alice.fund(3_000_000, coins=4)
    ids = [await alice.open_channel(peer, CAPACITY_SAT, PUSH_SAT) for peer in (bob, carol, dave)]
    request = await bob.call("add_request", amount_msat=PAID_SAT * 1000, message="", lightning=True)
    assert (await alice.call("lnpay", invoice=request["lightning_invoice"]))["success"]
    await alice.until("the end of the payment", alice.quiet)
    await alice.call("close_channel", channel_id=ids[1], force=True)
    await dave.call("close_channel", channel_id=ids[2], force=True)
    await until_mempool(world, 2)
    world.chain.mine(1)
    for closed in ids[1:]:
        await alice.until("its close", partial(monitor_spent, alice, closed))
    held = await bob.call("add_hold_invoice", payment_hash="11" * 32, amount=HELD_BTC)
    assert not (await alice.call("lnpay", invoice=held["invoice"], timeout=1))["success"]
    await bob.until("the HTLC", lambda: not bob.quiet())
    await alice.until("the HTLC", lambda: not alice.quiet())
    # What is under way is lost with the state, whichever way is gone.
    promised = await report(alice)
    assert promised["in_flight_sat"] == HELD_SAT
    open_channel = next(
        item for item in promised["words_and_channel_backup"]["channels"] if item["state"] == "open"
    )
    assert open_channel["amount_sat"] < CAPACITY_SAT - PUSH_SAT - PAID_SAT - HELD_SAT
    return alice


def monitor_spent(node: WholeNode, channel_id: str) -> bool:
    with node.node.core.locked():
        return any(
            key.hex() == channel_id
            and (found := node.node.chain_monitor.get_monitor(key)) is not None
            and found.is_spent
            for key in node.node.chain_monitor.list_monitors()
        )


async def peer_loses_patience(peer: WholeNode) -> None:
    """Who is told by an error leaves it to the other side to publish, for a minute; there is nothing to publish."""
    await peer.until("the close", lambda: not peer.node.manager.list_channels())
    for _tick in range(PATIENCE_TICKS):
        peer.node.ticks.rebroadcast()


async def until_mempool(world: WholeWorld, count: int) -> None:
    """Until so many transactions wait."""
    changed = asyncio.Event()

    def ring(_touched: set[bytes], _tip_changed: bool) -> None:
        changed.set()

    world.chain.listeners.append(ring)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while len(world.chain.mempool_txids()) < count:
                changed.clear()
                await changed.wait()
    finally:
        world.chain.listeners.remove(ring)


def test_words_and_backup_bring_back_what_was_promised(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob", "carol", "dave")) as world:
            alice = await three_channels(world)
            words = await words_of(alice)
            promised = await report(alice)
            assert not promised["restored"]
            backup = (alice.options.wallet_dir / BACKUP_FILE).read_bytes()
            by_state = {item["peer"]: item for item in promised["words_and_channel_backup"]["channels"]}
            assert {item["state"] for item in by_state.values()} == {"open", "closed"}
            assert all(item["amount_sat"] > 0 for item in by_state.values())
            await alice.bury()
            lose(alice)

            again = RestoredNode(alice, "again", words, Restored(backup=backup))
            await again.start()
            assert (await report(again))["restored"]
            # Nobody was called before the question is answered.
            assert "old_installation_stopped" in again.node.snapshot().status.problem
            assert not again.node.peers.online
            await again.call("old_installation_stopped")
            await until_mempool(world, 1)
            await mine_until_swept(again, 3)
            home_sat = again.onchain_sat() + sweep_fees_sat(again)
            assert home_sat == promised["words_and_channel_backup"]["amount_sat"]
            after = await report(again)
            assert after["words"]["amount_sat"] == again.onchain_sat()
            assert after["problem"] == ""
            # It ends with what each channel brought back.
            ended = {item["peer"]: item for item in after["words_and_channel_backup"]["channels"]}
            assert {item["amount_sat"] for item in ended.values()} == {0}
            assert {peer: item["home_sat"] for peer, item in ended.items()} == {
                peer: item["amount_sat"] for peer, item in by_state.items()
            }

    play(scenario())


def test_words_alone_bring_back_what_was_promised_and_more_once_the_peer_closes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob", "carol", "dave")) as world:
            alice = await three_channels(world)
            words = await words_of(alice)
            promised = await report(alice)
            by_state = {
                item["state"]: item for item in promised["words"]["channels"] if not item["amount_sat"]
            }
            assert by_state.keys() == {"open", "closed"}
            # Of what the words alone do not bring back, the report says what the backup would.
            open_channel = next(
                item for item in promised["words_and_channel_backup"]["channels"] if item["state"] == "open"
            )
            await alice.bury()
            lose(alice)

            again = RestoredNode(alice, "again", words, Restored())
            await again.start()
            await mine_until_swept(again, 1)
            assert again.onchain_sat() + sweep_fees_sat(again) == promised["words"]["amount_sat"]
            found = (await report(again))["words"]["channels"]
            assert [item["home_sat"] for item in found] == [
                item["amount_sat"] for item in promised["words"]["channels"] if item["amount_sat"]
            ]

            bob = world.nodes[1]
            await bob.call("close_channel", channel_id=open_channel["channel_id"], force=True)
            await until_mempool(world, 1)
            await mine_until_swept(again, 2)
            assert (
                again.onchain_sat() + sweep_fees_sat(again)
                == promised["words"]["amount_sat"] + open_channel["amount_sat"]
            )

    play(scenario())


# --- restored mode -----------------------------------------------------------------------


def spends_of_funding(world: WholeWorld, node: WholeNode) -> list[str]:
    """Transactions, confirmed or not, that spend the funding output of the node's first channel."""
    with node.node.core.locked():
        monitors = [
            node.node.chain_monitor.get_monitor(key) for key in node.node.chain_monitor.list_monitors()
        ]
    spends = [world.chain.spender(monitor.funding_outpoint) for monitor in monitors if monitor is not None]
    return [txid_hex(tx.txid) for tx in spends if tx is not None]


async def close_files(node: WholeNode) -> None:
    opened, node._open = node._open, None
    assert opened is not None
    await opened.close()


def test_an_older_copy_never_broadcasts_and_its_peer_closes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob")) as world:
            alice, bob = world.nodes
            await alice.fund(2_000_000, coins=3)
            channel_id = await alice.open_channel(bob, CAPACITY_SAT, PUSH_SAT)
            # The old state has an HTLC in it, whose deadline would have its monitor close the channel.
            held = await bob.call("add_hold_invoice", payment_hash=sha256(bytes(32)).hex(), amount="0.0001")
            paying = asyncio.ensure_future(alice.call("lnpay", invoice=held["invoice"]))
            await bob.until("the HTLC", lambda: not bob.quiet())
            await alice.until("the HTLC", lambda: not alice.quiet())
            await asyncio.sleep(0.2)
            copies = tmp_path / "copies"
            shutil.copytree(alice.options.wallet_dir, copies)
            await bob.call("settle_hold_invoice", preimage=bytes(32).hex())
            await paying
            await alice.until("the end of the payment", alice.quiet)
            promised = await report(alice)
            await close_files(alice)
            await bob.bury()
            shutil.rmtree(alice.options.wallet_dir)
            shutil.copytree(copies, alice.options.wallet_dir)

            await alice.start()
            assert "old copy" in alice.node.snapshot().status.problem
            await mine(alice, 400)
            alice.node.ticks.rebroadcast()
            # That nothing is sent is told by nothing: time enough for what would come at once.
            await asyncio.sleep(0.2)
            assert spends_of_funding(world, alice) == []
            with pytest.raises(CommandError) as refused:
                await alice.call("close_channel", channel_id=channel_id, force=True)
            assert refused.value.code == "restored"
            # A restart forgets nothing of it.
            await close_files(alice)
            await alice.start()
            assert "old copy" in alice.node.snapshot().status.problem
            await mine(alice, 1)
            assert spends_of_funding(world, alice) == []

            await bob.start()
            await until_mempool(world, 1)
            assert spends_of_funding(world, alice) == spends_of_funding(world, bob)
            await mine_until_swept(alice, 1)
            before = promised["words_and_channel_backup"]
            assert alice.onchain_sat() + sweep_fees_sat(alice) == before["amount_sat"]
            assert alice.node.snapshot().status.problem == ""

    play(scenario())
