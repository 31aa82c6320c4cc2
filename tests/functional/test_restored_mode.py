"""Wallet files from elsewhere, channel backups that cannot be written, and what a person decides about them."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.test_recovery import (
    CAPACITY_SAT,
    PUSH_SAT,
    RestoredNode,
    close_files,
    lose,
    mine,
    mine_until_swept,
    peer_loses_patience,
    report,
    spends_of_funding,
    sweep_fees_sat,
    until_mempool,
    words_of,
)
from tests.functional.whole_nodes import WholeNode, WholeWorld, play
from tests.gui import scenes
from wallet.node import backup as backup_module
from wallet.node import store
from wallet.node.api import CommandError
from wallet.node.backup import BACKUP_FILE
from wallet.node.commands.recovery import RISK_PHRASE
from wallet.node.host import open_node
from wallet.node.wallets import Restored

pytestmark = pytest.mark.timeout(300)


async def one_channel(world: WholeWorld) -> str:
    alice, bob = world.nodes
    await alice.fund(2_000_000, coins=3)
    return await alice.open_channel(bob, CAPACITY_SAT, PUSH_SAT)


def forget_generations(node: WholeNode) -> None:
    """As if the wallet's own folder alone had been taken to another computer."""
    shutil.rmtree(node.options.network_dir / "generations")


def problem(node: WholeNode) -> str:
    return node.node.snapshot().status.problem


def told(node: WholeNode) -> tuple[bool, int, int]:
    """What the window shows: whether it asks, how many channels are held, how many wait for their peers."""
    recovery = node.node.snapshot().status.recovery
    return recovery.asks, recovery.held, recovery.lost


async def foreign(world: WholeWorld) -> str:
    """Alice's file, opened where it never ran."""
    alice = world.nodes[0]
    channel_id = await one_channel(world)
    await close_files(alice)
    forget_generations(alice)
    await alice.start()
    return channel_id


def test_a_file_from_elsewhere_calls_nobody_before_the_question_is_answered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob")) as world:
            alice, bob = world.nodes
            channel_id = await foreign(world)
            assert "old_installation_stopped" in problem(alice)
            assert told(alice) == (True, 1, 0)
            assert [channel.held for channel in alice.node.snapshot().channels] == [True]
            assert not alice.node.peers.online
            assert alice.node.listening_port is None
            with pytest.raises(CommandError) as refused:
                await alice.call("add_peer", connection_string=bob.uri)
            assert refused.value.code == "restored"
            with pytest.raises(CommandError) as refused:
                await alice.call("close_channel", channel_id=channel_id, force=True)
            assert refused.value.code == "restored"

            await alice.call("old_installation_stopped")
            await alice.until("its channel", lambda: alice.usable(bob))
            # The peer has shown that the file is current: all is as before.
            assert problem(alice) == ""
            assert told(alice) == (False, 0, 0)
            assert [channel.held for channel in alice.node.snapshot().channels] == [False]
            await close_files(alice)
            await alice.start()
            await alice.until("its channel", lambda: alice.usable(bob))
            assert problem(alice) == ""
            await alice.call("close_channel", channel_id=channel_id, force=True)
            await until_mempool(world, 1)
            assert spends_of_funding(world, alice)

    play(scenario())


def test_the_answer_is_remembered_and_so_is_its_absence(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob")) as world:
            alice, bob = world.nodes
            await foreign(world)
            await close_files(alice)
            await alice.start()
            assert "old_installation_stopped" in problem(alice)
            await bob.bury()
            await alice.call("old_installation_stopped")
            assert "old copy" in problem(alice)
            assert told(alice) == (False, 1, 0)
            await close_files(alice)
            await alice.start()
            assert "old copy" in problem(alice)
            await bob.start()
            await alice.until("its channel", lambda: alice.usable(bob))
            assert problem(alice) == ""

    play(scenario())


def test_a_held_channel_is_published_only_in_the_persons_own_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob")) as world:
            alice, bob = world.nodes
            channel_id = await foreign(world)
            await bob.bury()
            for phrase in ("", "yes", RISK_PHRASE.lower()):
                with pytest.raises(CommandError) as refused:
                    await alice.call("publish_held_channel", channel_point=channel_id, confirm=phrase)
                assert refused.value.code == "confirm"
                assert RISK_PHRASE in str(refused.value)
            assert spends_of_funding(world, alice) == []
            await alice.call("publish_held_channel", channel_point=channel_id, confirm=RISK_PHRASE)
            await until_mempool(world, 1)
            assert len(spends_of_funding(world, alice)) == 1
            assert problem(alice) == ""
            await bob.start()

    play(scenario())


def test_channels_that_an_older_file_does_not_know_come_from_the_backup_beside_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob", "carol")) as world:
            alice, bob, carol = world.nodes
            await alice.fund(2_000_000, coins=3)
            await alice.open_channel(bob, CAPACITY_SAT, PUSH_SAT)
            await close_files(alice)
            older = tmp_path / "older"
            shutil.copy(alice.options.wallet_file, older)
            await alice.start()
            await alice.until("its channel", lambda: alice.usable(bob))
            await alice.open_channel(carol, CAPACITY_SAT, PUSH_SAT)
            promised = await report(alice)
            await close_files(alice)
            shutil.copy(older, alice.options.wallet_file)

            await alice.start()
            # Bob's channel has not moved since the copy, and is as it was.
            await alice.until("its channel", lambda: alice.usable(bob))
            assert [item["state"] for item in (await report(alice))["words"]["channels"]] == ["open", "lost"]
            assert "old_installation_stopped" in problem(alice)
            assert told(alice) == (True, 0, 1)
            await alice.call("old_installation_stopped")
            await peer_loses_patience(carol)
            await until_mempool(world, 1)
            await mine_until_swept(alice, 1)
            with alice.node.core.locked():
                ours = alice.node.chain_monitor.get_claimable_balances()
            lightning_sat = next(
                item["amount_sat"]
                for item in promised["words_and_channel_backup"]["channels"]
                if item["peer"] == bob.node_id
            )
            assert ours
            assert (
                alice.onchain_sat() + sweep_fees_sat(alice) + lightning_sat
                == promised["words_and_channel_backup"]["amount_sat"]
            )

    play(scenario())


# --- the channel backup -----------------------------------------------------------------


class FullDisk:
    """Refuses to write under some folders."""

    def __init__(self) -> None:
        self.full: set[Path] = set()
        self.write = backup_module.write_durably

    def __call__(self, path: Path, data: bytes) -> None:
        if path.parent in self.full:
            raise OSError(28, "No space left on device")
        self.write(path, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[FullDisk]:
    made = FullDisk()
    monkeypatch.setattr(backup_module, "write_durably", made)
    yield made
    made.full.clear()


def test_no_funding_leaves_before_its_backup_is_durable(tmp_path: Path, disk: FullDisk) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob")) as world:
            alice, bob = world.nodes
            await alice.fund(2_000_000, coins=3)
            disk.full.add(alice.options.wallet_dir)
            opened = await alice.call("open_channel", connection_string=bob.uri, amount_sat=CAPACITY_SAT)
            assert "backup" in opened["warning"]
            assert "backup" in problem(alice)
            world.chain.mine(2)
            await alice.until("the blocks", lambda: alice.node.best_height == world.chain.height)
            alice.node.ticks.rebroadcast()
            # That nothing is sent is told by nothing: time enough for what would come at once.
            await asyncio.sleep(0.2)
            assert world.chain.mempool_txids() == []

            disk.full.clear()
            alice.node.ticks.rebroadcast()
            world.chain.mine(1)
            await world.mined(opened["funding_txid"])
            await alice.until("its channel", lambda: alice.usable(bob))
            assert alice.node.recovery.backup.problem == ""
            backup = alice.node.recovery.backup.read(alice.options.wallet_dir / BACKUP_FILE)
            assert backup is not None
            assert [channel.channel_id.hex() for channel in backup.channels] == [opened["channel_id"]]

    play(scenario())


def test_a_backup_that_cannot_be_written_holds_up_no_payment(tmp_path: Path, disk: FullDisk) -> None:
    """Only a funding transaction waits for it: what is claimable is claimed, and a close goes out."""

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob")) as world:
            alice, bob = world.nodes
            channel_id = await one_channel(world)
            await bob.fund(1_000_000)
            for node in (alice, bob):
                disk.full.add(node.options.wallet_dir)
            opened = await bob.call("open_channel", connection_string=alice.uri, amount_sat=CAPACITY_SAT)
            assert "backup" in opened["warning"]
            for payer, payee in ((alice, bob), (bob, alice)):
                request = await payee.call("add_request", amount_msat=9_000_000, message="", lightning=True)
                assert (await payer.call("lnpay", invoice=request["lightning_invoice"]))["success"]
            await alice.until("the end of the payments", alice.quiet)
            assert world.chain.mempool_txids() == []
            assert "backup" in alice.node.snapshot().status.recovery.backup_problem
            await alice.call("close_channel", channel_id=channel_id, force=True)
            await until_mempool(world, 1)
            assert len(spends_of_funding(world, alice)) == 1

    play(scenario())


def test_the_backup_is_there_when_the_funding_is_first_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the moment in which a server first has the funding transaction, the backup beside the wallet holds its
    channel, forced to disk; the second folder, which nothing waits for, follows."""

    synced: list[int] = []
    really_sync = os.fsync

    def sync(descriptor: int) -> None:
        synced.append(descriptor)
        really_sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob")) as world:
            alice, bob = world.nodes
            second = tmp_path / "stick"
            second.mkdir()
            await alice.fund(2_000_000, coins=3)
            named = await alice.call("set_backup_folder", folder=str(second))
            backup = alice.node.recovery.backup
            seen: list[int] = []

            def channels_in(path: Path) -> int:
                found = backup.read(path)
                return 0 if found is None else len(found.channels)

            def look(_touched: set[bytes], _tip: bool) -> None:
                if world.chain.mempool_txids() and not seen:
                    seen.append(channels_in(alice.options.wallet_dir / BACKUP_FILE))

            world.chain.listeners.append(look)
            await alice.open_channel(bob, CAPACITY_SAT)
            assert seen == [1]
            assert await asyncio.to_thread(backup.wait_second, 30)
            assert channels_in(Path(named["path"])) == 1
            assert synced

    play(scenario())


def test_a_second_folder_that_is_gone_is_told_and_holds_nothing_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob")) as world:
            alice, bob = world.nodes
            second = tmp_path / "stick"
            second.mkdir()
            await alice.fund(2_000_000, coins=3)
            await alice.call("set_backup_folder", folder=str(second))
            shutil.rmtree(second)
            await alice.open_channel(bob, CAPACITY_SAT)
            backup = alice.node.recovery.backup
            assert await asyncio.to_thread(backup.wait_second, 30)
            assert str(second) in problem(alice)
            second.mkdir()
            alice.node.ticks.rebroadcast()
            assert await asyncio.to_thread(backup.wait_second, 30)
            assert backup.problem == ""
            assert len(list(second.iterdir())) == 1
            await alice.call("set_backup_folder", folder="")
            assert alice.node.recovery.backup.second is None

    play(scenario())


def test_exported_backups_restore_and_a_second_folder_keeps_what_it_holds(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob")) as world:
            alice, bob = world.nodes
            await one_channel(world)
            words = await words_of(alice)
            second = tmp_path / "stick"
            second.mkdir()
            await alice.call("set_backup_folder", folder=str(second))
            exported = await alice.call("export_channel_backup", file=str(tmp_path / "export"))
            assert exported == {"path": str(tmp_path / "export"), "channels": 1}
            with pytest.raises(CommandError, match="already"):
                await alice.call("export_channel_backup", file=str(tmp_path / "export"))
            with pytest.raises(CommandError, match="whole path"):
                await alice.call("export_channel_backup", file="export")
            promised = await report(alice)
            await alice.bury()
            lose(alice)

            # From the words alone; then the old folder is named, and its backup is not written over.
            again = RestoredNode(alice, "again", words, Restored())
            await again.start()
            assert (await report(again))["words"]["channels"] == []
            await again.call("set_backup_folder", folder=str(second))
            assert [item["state"] for item in (await report(again))["words"]["channels"]] == ["lost"]
            found = again.node.recovery.backup.read(next(second.iterdir()))
            assert found is not None
            assert len(found.channels) == 1
            taken = await again.call("import_channel_backup", file=str(tmp_path / "export"))
            assert taken == {"channels": 0}
            await again.call("old_installation_stopped")
            await peer_loses_patience(bob)
            await until_mempool(world, 1)
            await mine_until_swept(again, 1)
            home_sat = again.onchain_sat() + sweep_fees_sat(again)
            assert home_sat == promised["words_and_channel_backup"]["amount_sat"]

    play(scenario())


def test_payments_under_way_count_as_lost(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob")) as world:
            alice, bob = world.nodes
            await one_channel(world)
            before = await report(alice)
            held = await bob.call("add_hold_invoice", payment_hash="11" * 32, amount="0.0005")
            paying = asyncio.ensure_future(alice.call("lnpay", invoice=held["invoice"]))
            await bob.until("the HTLC", lambda: not bob.quiet())
            await alice.until("all of it", lambda: alice.channels_with(bob)[0].pending_htlcs)
            await asyncio.sleep(0.3)
            during = await report(alice)
            assert during["in_flight_sat"] == 50_000
            way = "words_and_channel_backup"
            # The commitment's fee for one HTLC more is the opener's, too.
            assert 50_000 < before[way]["amount_sat"] - during[way]["amount_sat"] < 52_000
            await bob.call("cancel_hold_invoice", payment_hash="11" * 32)
            await asyncio.wait_for(asyncio.gather(paying, return_exceptions=True), 20)
            await alice.until("its end", alice.quiet)

    play(scenario())


def test_the_windows_pretended_node_reports_as_a_real_one(tmp_path: Path) -> None:
    """What the window reads of a report is there under that name."""

    def names(value: object) -> object:
        if isinstance(value, dict):
            return {key: names(inner) for key, inner in value.items()}
        return [names(value[0])] if isinstance(value, list) and value else type(value).__name__

    def is_part(pretended: object, real: object, where: str) -> None:
        if isinstance(pretended, dict):
            assert isinstance(real, dict), where
            for key, inner in pretended.items():
                assert key in real, f"{where}.{key}"
                is_part(inner, real[key], f"{where}.{key}")
        elif isinstance(pretended, list) and pretended and isinstance(real, list) and real:
            is_part(pretended[0], real[0], f"{where}[]")

    pretended = scenes.typical("mainnet")
    told = pretended.do_recovery_report()
    pretended.stop()

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice", "bob")) as world:
            await one_channel(world)
            real = await report(world.nodes[0])
            is_part(names(told), names(real), "report")

    play(scenario())


def test_a_backup_of_a_new_wallet_names_no_channel(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice",)) as world:
            alice = world.nodes[0]
            assert alice.node.snapshot().status.backup_text == "Keep your words safe"
            answer = await report(alice)
            assert answer["words"]["amount_sat"] == 0
            assert answer["words_and_channel_backup"]["channels"] == []
            await mine(alice, 1)

    play(scenario())


def test_the_password_changes_and_the_old_one_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("ARGON2_MEMORY_KIB", 64), ("ARGON2_ITERATIONS", 1), ("ARGON2_LANES", 1)):
        monkeypatch.setattr(store, name, value)

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path, ("alice",)) as world:
            alice = world.nodes[0]
            await alice.call("change_password", new_password="one")
            with pytest.raises(CommandError) as refused:
                await alice.call("change_password", new_password="two", password="wrong")
            assert refused.value.code == "password"
            await alice.call("change_password", new_password="two", password="one")
            await close_files(alice)
            for wrong in ("", "one"):
                with pytest.raises(CommandError) as refused:
                    await open_node(alice.options, wrong)
                assert refused.value.code == "password"
            alice._open = await open_node(alice.options, "two")

    play(scenario())
