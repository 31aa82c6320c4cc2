"""Peers keep the channel backup, and the words with one peer's address bring the channels back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.functional.test_recovery import (
    CAPACITY_SAT,
    PUSH_SAT,
    RestoredNode,
    close_files,
    found_outputs,
    lose,
    mine_until_swept,
    peer_loses_patience,
    report,
    spends_of_funding,
    sweep_fees_sat,
    three_channels,
    until_mempool,
    words_of,
)
from tests.functional.whole_nodes import WholeNode, WholeWorld, play
from wallet.bitcoin.bip39 import seed_from_mnemonic
from wallet.ln.msgs import PeerStorage
from wallet.ln.types import DecodeError, NodeId
from wallet.node import peer_storage
from wallet.node.peer_storage import BLOB_LENGTH, open_blob, seal_blob
from wallet.node.wallets import Restored

pytestmark = pytest.mark.timeout(300)
WAY = "words_and_peer_storage"


def minute_passes(node: WholeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(peer_storage, "INTERVAL_MS", 0)
        node.node.ticks.channels()


def test_words_and_peer_storage_bring_back_what_was_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob", "carol", "dave")) as world:
            bob = world.nodes[1]
            alice = await three_channels(world)
            minute_passes(alice, monkeypatch)
            # A blob that has come and waits for its minute is no news to front ends.
            await asyncio.sleep(0.2)
            minute_passes(bob, monkeypatch)
            await bob.until("the blob", lambda: bob.node.recovery.storage._kept)
            words = await words_of(alice)
            promised = await report(alice)
            assert promised[WAY]["amount_sat"] == promised["words_and_channel_backup"]["amount_sat"]
            assert promised[WAY]["amount_sat"] > promised["words"]["amount_sat"]
            await alice.bury()
            lose(alice)
            # The peer's own restart loses nothing of it.
            await close_files(bob)
            await bob.start()

            again = RestoredNode(alice, "again", words, Restored())
            await again.start()
            assert (await report(again))["problem"] == ""
            await again.call("add_peer", connection_string=bob.uri)
            await again.until("the blob", lambda: again.node.recovery.to_be_closed())
            # Nothing is closed before the question is answered.
            assert "old_installation_stopped" in again.node.snapshot().status.problem
            assert world.chain.mempool_txids() == []
            await again.call("old_installation_stopped")
            await peer_loses_patience(bob)
            await until_mempool(world, 1)
            await mine_until_swept(again, 3)
            assert again.onchain_sat() + sweep_fees_sat(again) == promised[WAY]["amount_sat"]

    play(scenario())


def test_words_and_a_peer_without_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that says it has a channel is asked to close it, once the person has answered; not before."""

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob")) as world:
            alice, bob = world.nodes
            for node in world.nodes:
                node.node.manager.offers_storage = False
            await alice.fund(2_000_000, coins=3)
            await alice.open_channel(bob, CAPACITY_SAT, PUSH_SAT)
            words = await words_of(alice)
            promised = await report(alice)
            assert promised[WAY]["amount_sat"] == promised["words"]["amount_sat"]
            assert promised[WAY]["peers"] == []
            await alice.bury()
            lose(alice)

            again = RestoredNode(alice, "again", words, Restored())
            await again.start()
            await again.call("add_peer", connection_string=bob.uri)
            await again.until("the claim", lambda: again.node.manager.claimants)
            assert "says that it has a channel" in again.node.snapshot().status.problem
            # That nothing is sent is told by nothing: time enough for what would come at once.
            await asyncio.sleep(0.2)
            assert spends_of_funding(world, bob) == []
            await again.call("old_installation_stopped")
            await peer_loses_patience(bob)
            await until_mempool(world, 1)
            await mine_until_swept(again, 1)
            assert (
                again.onchain_sat() + sweep_fees_sat(again)
                == promised["words_and_channel_backup"]["amount_sat"]
            )
            assert len(found_outputs(again)) == 1

    play(scenario())


def test_blobs_of_strangers_and_floods_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob")) as world:
            alice, bob = world.nodes
            storage = bob.node.recovery.storage
            alice_id = NodeId(bytes.fromhex(alice.node_id))
            await alice.call("add_peer", connection_string=bob.uri)
            with bob.node.core.entry():
                storage.handle_peer_storage(alice_id, PeerStorage(blob=b"stranger"))
            assert storage._kept == {}

            await alice.fund(2_000_000, coins=3)
            await alice.open_channel(bob, CAPACITY_SAT, PUSH_SAT)
            rows = bob.node.store.rows_written
            with bob.node.core.entry():
                for number in range(100):
                    storage.handle_peer_storage(alice_id, PeerStorage(blob=bytes((number,))))
            # The latest goes back, written or not.
            assert storage._waiting.get(alice_id, storage._kept.get(alice_id)) == bytes((99,))
            minute_passes(bob, monkeypatch)
            assert storage._kept[alice_id] == bytes((99,))
            assert bob.node.store.rows_written - rows < 20

    play(scenario())


def test_what_peers_keep_is_forgotten_with_the_last_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their blob, whether it was written yet or not; and ours is not counted on once they may drop it."""

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob")) as world:
            alice, bob = world.nodes
            await alice.fund(2_000_000, coins=3)
            channel_id = await alice.open_channel(bob, CAPACITY_SAT, PUSH_SAT)
            storage = bob.node.recovery.storage
            await bob.until("the blob", lambda: storage._kept or storage._waiting)
            minute_passes(bob, monkeypatch)
            alice_id = NodeId(bytes.fromhex(alice.node_id))
            with bob.node.core.entry():
                storage.handle_peer_storage(alice_id, PeerStorage(blob=b"not written yet"))
            assert alice_id in storage._kept
            assert alice_id in storage._waiting
            minute_passes(alice, monkeypatch)
            assert (await report(alice))[WAY]["peers"] == [bob.node_id]
            with bob.node.core.entry():
                storage.forget_strangers()
            assert alice_id in storage._waiting, "there is a channel still"

            await alice.call("close_channel", channel_id=channel_id)
            await until_mempool(world, 1)
            world.chain.mine(1)
            await alice.until("its close", lambda: not alice.channels_with(bob))
            assert (await report(alice))[WAY]["peers"] == []
            # As some weeks later, when the monitors are put away.
            for node in (alice, bob):
                monkeypatch.setattr(node.node.chain_monitor, "list_monitors", list)
                with node.node.core.entry():
                    node.node.recovery.storage.forget_strangers()
            assert (storage._waiting, storage._kept, storage._kept_at_ms) == ({}, {}, {})
            assert alice.node.recovery.storage._sent == {}
            await bob.until(
                "its row's end", lambda: bob.node.store.read_row("peer_storage", alice_id) is None
            )

    play(scenario())


def test_blobs_have_one_length_and_one_owner() -> None:
    from tests.unit.node.test_backup import OTHER_SEED, SEED, backups

    for count in (0, 1, 100):
        blob, held = seal_blob(SEED, backups(count))
        assert len(blob) == BLOB_LENGTH
        assert held == backups(count)
        assert open_blob(SEED, blob) == held
        with pytest.raises(DecodeError):
            open_blob(OTHER_SEED, blob)
    blob, held = seal_blob(SEED, backups(250))
    assert len(blob) == BLOB_LENGTH
    assert 100 < len(held.channels) < 250
    assert open_blob(SEED, blob) == held
    assert seed_from_mnemonic(("abandon " * 11 + "about").split()) == SEED
    for nonsense in (b"", b"\0" * 28, b"\0" * BLOB_LENGTH):
        with pytest.raises(DecodeError):
            open_blob(SEED, nonsense)
