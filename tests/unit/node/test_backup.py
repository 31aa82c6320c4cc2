"""The channel backup's file: only the words open it, and whatever else it is told is a sentence."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from wallet.bitcoin.address import REGTEST
from wallet.bitcoin.bip39 import seed_from_mnemonic
from wallet.bitcoin.tx import OutPoint, Txid
from wallet.chain.interfaces import Row
from wallet.ln.channel_backup import ChannelBackup, ChannelBackups
from wallet.ln.features import ChannelTypeFeatures
from wallet.ln.keysinterface import KeysManager
from wallet.ln.types import ChannelId, NodeId
from wallet.node import cli
from wallet.node.api import BackupReport, CommandError
from wallet.node.backup import (
    BackupError,
    BackupKeeper,
    backup_name,
    open_backup,
    read_file,
    seal_backup,
    write_durably,
)
from wallet.node.cli import parse, run_command
from wallet.node.commands.recovery import set_backup_folder
from wallet.node.core import Batch, Core
from wallet.node.generation import ASK_KEY, CONTACT_KEY, RECOVERY_SPACE, SCAN_KEY
from wallet.node.host import Host
from wallet.node.node import Node
from wallet.node.options import NodeOptions
from wallet.node.recovery import NodeRecovery
from wallet.node.second_copy import PATIENCE_SECONDS, in_time
from wallet.node.store import Store
from wallet.node.wallets import Restored, create_wallet_file, new_words

WORDS = "abandon " * 11 + "about"
SEED = seed_from_mnemonic(WORDS.split())
OTHER_SEED = seed_from_mnemonic(new_words())
WAIT_SECONDS = 30


def channel(number: int) -> ChannelBackup:
    keys = KeysManager(bytes(31) + b"\x05", REGTEST, entropy=lambda: bytes(32))
    return ChannelBackup(
        channel_id=ChannelId(bytes((number,)) * 32),
        channel_keys_id=bytes((number,)) * 32,
        counterparty_node_id=NodeId(b"\x02" + bytes(32)),
        addresses=("127.0.0.1:9735", "[::1]:9735"),
        counterparty_pubkeys=keys.derive_channel_signer(bytes(32)).pubkeys(),
        holder_selected_contest_delay_blocks=1_008,
        counterparty_selected_contest_delay_blocks=144,
        is_outbound=True,
        funding_outpoint=OutPoint(Txid(bytes((number,)) * 32), 1),
        channel_value_sat=500_000,
        channel_type=ChannelTypeFeatures.from_bytes(b"\x40\x10\x00"),
    )


def backups(count: int, network: str = "regtest", made_at: int = 1_700_000_000) -> ChannelBackups:
    return ChannelBackups(
        network=network,
        node_id=NodeId(b"\x03" + bytes(32)),
        made_at=made_at,
        channels=tuple(channel(number) for number in range(1, count + 1)),
    )


def test_the_words_open_it_and_it_says_nothing_without_them() -> None:
    made = backups(2)
    sealed = seal_backup(SEED, made)
    assert open_backup(SEED, sealed) == made
    assert bytes(made.channels[0].funding_outpoint.txid) not in sealed
    assert b"9735" not in sealed
    assert seal_backup(SEED, made) != sealed
    with pytest.raises(BackupError, match="do not open"):
        open_backup(OTHER_SEED, sealed)


def test_every_damage_is_a_sentence() -> None:
    sealed = seal_backup(SEED, backups(1))
    for at in range(len(sealed)):
        broken = bytearray(sealed)
        broken[at] ^= 1
        with pytest.raises(BackupError):
            open_backup(SEED, bytes(broken))
        with pytest.raises(BackupError):
            open_backup(SEED, sealed[:at])
    with pytest.raises(BackupError, match="newer"):
        open_backup(SEED, sealed[:8] + b"\x02" + sealed[9:])
    for nonsense in (b"", b"LEYDENCB", b"PK\x03\x04 a zip", b"\0" * 500):
        with pytest.raises(BackupError):
            open_backup(SEED, nonsense)


def test_a_file_is_whole_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "b"
    write_durably(path, b"one")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="space"):
            write_durably(path, b"two")
    assert path.read_bytes() == b"one"
    assert [file.name for file in tmp_path.iterdir()] == ["b"]
    write_durably(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_too_large_is_no_backup(tmp_path: Path) -> None:
    path = tmp_path / "b"
    with path.open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    with pytest.raises(BackupError, match="too large"):
        read_file(path)


def test_the_keeper_writes_what_changed_and_knows_what_is_missing(tmp_path: Path) -> None:
    keeper = BackupKeeper(SEED, tmp_path / "w" / "channels.backup", "second.backup")
    (tmp_path / "w").mkdir()
    assert keeper.save(backups(1))
    written = keeper.path.read_bytes()
    assert keeper.save(backups(1, made_at=1_800_000_000))
    assert keeper.path.read_bytes() == written
    second = tmp_path / "stick"
    keeper.use_second(str(second), is_known=True)
    assert keeper.save(backups(1))
    assert keeper.wait_second(WAIT_SECONDS)
    assert str(second) in keeper.problem
    second.mkdir()
    assert not keeper.save_again(), "the one beside the wallet is up to date"
    assert keeper.wait_second(WAIT_SECONDS)
    assert keeper.problem == ""
    assert open_backup(SEED, (second / "second.backup").read_bytes()) == backups(1)

    (tmp_path / "w").rename(tmp_path / "gone")
    assert not keeper.save(backups(2))
    assert keeper.lacks(channel(2).funding_outpoint.txid)
    assert not keeper.lacks(channel(1).funding_outpoint.txid)
    assert not keeper.lacks(Txid(bytes(32)))
    (tmp_path / "gone").rename(tmp_path / "w")
    assert keeper.save_again()
    assert not keeper.lacks(channel(2).funding_outpoint.txid)


def test_what_other_words_sealed_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "channels.backup"
    path.write_bytes(seal_backup(OTHER_SEED, backups(3)))
    keeper = BackupKeeper(SEED, path, "second.backup")
    assert keeper.read(path) is None
    aside = next(tmp_path.iterdir())
    assert aside.name.endswith(".old")
    assert open_backup(OTHER_SEED, aside.read_bytes()) == backups(3)
    assert keeper.read(path) is None


# --- a wallet made of words and a backup ---------------------------------------------------


def restored(tmp_path: Path, made: Restored) -> Store:
    options = NodeOptions(network_name="regtest", root=tmp_path)
    create_wallet_file(options, WORDS.split(), "", made)
    return Store.open(options.wallet_file, password="")


def test_a_new_wallet_looks_for_nothing(tmp_path: Path) -> None:
    options = NodeOptions(network_name="regtest", root=tmp_path)
    create_wallet_file(options, WORDS.split(), "")
    store = Store.open(options.wallet_file, password="")
    assert list(store.rows(RECOVERY_SPACE)) == []
    store.close()


def test_restored_wallets_know_what_to_look_for(tmp_path: Path) -> None:
    data = seal_backup(SEED, backups(2))
    store = restored(tmp_path / "a", Restored(backup=data))
    assert {key for key, _value in store.rows(RECOVERY_SPACE)} == {SCAN_KEY, ASK_KEY, CONTACT_KEY}
    assert len(list(store.rows("lost_channel"))) == 2
    store.close()
    store = restored(tmp_path / "b", Restored(backup=data, old_installation_stopped=True))
    assert {key for key, _value in store.rows(RECOVERY_SPACE)} == {SCAN_KEY}
    store.close()
    store = restored(tmp_path / "c", Restored())
    assert {key for key, _value in store.rows(RECOVERY_SPACE)} == {SCAN_KEY, ASK_KEY}
    store.close()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (seal_backup(OTHER_SEED, backups(1)), "backup"),
        (b"nonsense", "backup"),
        (seal_backup(SEED, backups(1, network="mainnet")), "network"),
    ],
)
def test_a_backup_of_no_use_makes_no_wallet(tmp_path: Path, data: bytes, code: str) -> None:
    options = NodeOptions(network_name="regtest", root=tmp_path)
    with pytest.raises(CommandError) as refused:
        create_wallet_file(options, WORDS.split(), "", Restored(backup=data))
    assert refused.value.code == code
    assert not options.wallet_file.exists()
    create_wallet_file(options, WORDS.split(), "")


# --- from the command line -----------------------------------------------------------------


def typed(tmp_path: Path, *argv: str) -> Store:
    folder = tmp_path / "dir"
    assert run_command(parse(["--regtest", "-D", str(folder), *argv])) == 0
    return Store.open(NodeOptions(network_name="regtest", root=folder).wallet_file, password="")


@pytest.mark.parametrize(
    ("options", "called"),
    [
        (("--backup", "{file}"), False),
        (("--backup={file}", "--old_installation_stopped"), True),
        (("--old-installation-stopped", "--backup", "{file}"), True),
    ],
)
def test_restore_from_a_backup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], called: bool
) -> None:
    file = tmp_path / "b"
    write_durably(file, seal_backup(SEED, backups(1)))
    store = typed(tmp_path, "restore", *(text.format(file=file) for text in options), WORDS)
    assert (store.read_row(RECOVERY_SPACE, CONTACT_KEY) is None) is called
    assert len(list(store.rows("lost_channel"))) == 1
    store.close()
    assert ("old_installation_stopped" in capsys.readouterr().out) is not called


@pytest.mark.parametrize(("answer", "called"), [("stopped\n", True), ("yes\n", False), ("", False)])
def test_restore_asks_whether_the_old_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, called: bool
) -> None:
    file = tmp_path / "b"
    write_durably(file, seal_backup(SEED, backups(1)))
    monkeypatch.setattr(cli, "_somebody_there", lambda: True)
    monkeypatch.setattr(cli, "_ask_hidden", lambda prompt: "")
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    store = typed(tmp_path, "restore", "--backup", str(file), WORDS)
    assert (store.read_row(RECOVERY_SPACE, CONTACT_KEY) is None) is called
    store.close()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--backup",), "wants a value"),
        (("--backup", "{file}x"), "No such file"),
        (("--back", "{file}"), "is used so"),
        (("--backup", "{nonsense}"), "not a channel backup"),
    ],
)
def test_a_restore_that_cannot_be(tmp_path: Path, argv: tuple[str, ...], says: str) -> None:
    file, nonsense = tmp_path / "b", tmp_path / "n"
    write_durably(file, seal_backup(SEED, backups(1)))
    nonsense.write_text("nonsense")
    words = [text.format(file=file, nonsense=nonsense) for text in argv]
    with pytest.raises(CommandError, match=says):
        run_command(parse(["-D", str(tmp_path / "dir"), "restore", WORDS, *words]))


def test_the_daemon_gets_whole_paths_and_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []

    def call(_folder: Path, method: str, params: object) -> bool:
        told.append((method, params))
        return True

    monkeypatch.setattr(cli, "call_daemon", call)
    monkeypatch.chdir(tmp_path)
    run_command(parse(["export-channel-backup", "b"]))
    run_command(parse(["set_backup_folder", ""]))
    run_command(parse(["change_password", "new", "-W", "old"]))
    assert told == [
        ("command_line", {"command": "export-channel-backup", "words": [str(tmp_path / "b")]}),
        ("command_line", {"command": "set_backup_folder", "words": [""]}),
        ("command_line", {"command": "change_password", "words": ["new", "--password=old"]}),
    ]


# --- the front ends' host ---------------------------------------------------------------------


def test_a_host_tells_what_a_backup_holds_and_restores_from_it(tmp_path: Path) -> None:
    file = tmp_path / "kept.backup"
    write_durably(file, seal_backup(SEED, backups(3)))
    host = Host(NodeOptions(network_name="regtest", root=tmp_path))
    typed = [f" {word.upper()} " for word in WORDS.split()]
    report = host.check_channel_backup(network="regtest", words=typed, file=file).result(WAIT_SECONDS)
    assert report == BackupReport(
        made_at=1_700_000_000,
        channels=3,
        capacity_sat=1_500_000,
        peers=((b"\x02" + bytes(32)).hex(),),
    )
    for stopped in (False, True):
        host.create(
            network="regtest",
            name=str(stopped),
            words=WORDS.split(),
            password="",
            restored=True,
            channel_backup=file,
            old_installation_stopped=stopped,
        ).result(WAIT_SECONDS)
        made = Store.open(
            NodeOptions(network_name="regtest", root=tmp_path, wallet_name=str(stopped)).wallet_file,
            password="",
        )
        assert len(list(made.rows("lost_channel"))) == 3
        assert (made.read_row(RECOVERY_SPACE, CONTACT_KEY) is None) == stopped
        assert (made.read_row(RECOVERY_SPACE, ASK_KEY) is None) == stopped
        made.close()


@pytest.mark.parametrize(
    ("data", "words", "code"),
    [
        (seal_backup(SEED, backups(1, network="signet")), WORDS, "network"),
        (seal_backup(OTHER_SEED, backups(1)), WORDS, "backup"),
        (b"Dear diary", WORDS, "backup"),
        (None, WORDS, "file"),
    ],
    ids=["another network", "other words", "no backup", "no file"],
)
def test_a_host_refuses_what_is_no_backup_of_these_words(
    tmp_path: Path, data: bytes | None, words: str, code: str
) -> None:
    file = tmp_path / "kept.backup"
    if data is not None:
        file.write_bytes(data)
    host = Host(NodeOptions(network_name="regtest", root=tmp_path))
    checking = host.check_channel_backup(network="regtest", words=words.split(), file=file)
    with pytest.raises(CommandError) as refused:
        checking.result(WAIT_SECONDS)
    assert refused.value.code == code
    assert str(refused.value).endswith(".")


def test_what_vanishes_is_written_again(tmp_path: Path) -> None:
    """A stick that was pulled, a folder that a synchroniser emptied: noticed without a change of channels."""
    keeper = BackupKeeper(SEED, tmp_path / "w" / "channels.backup", "second.backup")
    (tmp_path / "w").mkdir()
    stick = tmp_path / "stick"
    stick.mkdir()
    keeper.use_second(str(stick), is_known=True)
    assert keeper.save(backups(1, made_at=100))
    assert keeper.wait_second(WAIT_SECONDS)
    assert (keeper.saved_at, keeper.second_saved_at) == (100, 100)
    keeper.path.unlink()
    assert keeper.save_again()
    assert keeper.path.exists()
    assert not keeper.save_again()
    assert keeper.wait_second(WAIT_SECONDS)
    (stick / "second.backup").unlink()
    keeper.save_again()
    assert keeper.wait_second(WAIT_SECONDS)
    assert (stick / "second.backup").exists()
    (stick / "second.backup").unlink()
    stick.rmdir()
    keeper.save_again()
    assert keeper.wait_second(WAIT_SECONDS)
    assert str(stick) in keeper.second_problem
    assert keeper.problem == keeper.second_problem
    assert keeper.save(backups(2, made_at=200)), "the one beside the wallet is what funding waits for"
    assert keeper.wait_second(WAIT_SECONDS)
    assert (keeper.saved_at, keeper.second_saved_at) == (200, 100)
    stick.mkdir()
    keeper.save_again()
    assert keeper.wait_second(WAIT_SECONDS)
    assert (keeper.problem, keeper.second_problem, keeper.second_saved_at) == ("", "", 200)


class HungFolder:
    """Writes into one folder wait until the test lets them go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.is_entered, self.may_go = threading.Event(), threading.Event()
        self.folder = folder
        self.inside = self.most = 0
        monkeypatch.setattr("wallet.node.backup.write_durably", self.write)

    def write(self, path: Path, data: bytes) -> None:
        if path.parent != self.folder:
            write_durably(path, data)
            return
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.is_entered.set()
        assert self.may_go.wait(WAIT_SECONDS)
        write_durably(path, data)
        self.inside -= 1


def test_a_second_folder_that_hangs_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network folder that is gone keeps whoever writes there waiting: the first file and the commit do not wait."""
    stick, other = tmp_path / "stick", tmp_path / "other"
    for folder in (stick, other):
        folder.mkdir()
    hung = HungFolder(monkeypatch, stick)
    seconds = 0.0
    keeper = BackupKeeper(SEED, tmp_path / "channels.backup", "second.backup", clock=lambda: seconds)
    keeper.use_second(str(stick), is_known=True)
    try:
        assert keeper.save(backups(1, made_at=100))
        assert hung.is_entered.wait(WAIT_SECONDS)
        # Nobody waits, and what comes meanwhile is durable beside the wallet.
        for count in (2, 3):
            assert keeper.save(backups(count, made_at=100 * count))
            assert open_backup(SEED, keeper.path.read_bytes()) == backups(count, made_at=100 * count)
            assert not keeper.lacks(channel(count).funding_outpoint.txid)
        assert not keeper.save_again()
        assert not keeper.wait_second(0)
        assert keeper.problem == ""
        seconds = PATIENCE_SECONDS
        assert "does not answer" in keeper.problem
        assert str(stick) in keeper.second_problem
        assert keeper.second_saved_at == 0
        # Another folder does not wait for that one.
        keeper.use_second(str(other), is_known=True)
        assert keeper.save(backups(3, made_at=300))
        assert keeper.wait_second(WAIT_SECONDS)
        assert open_backup(SEED, (other / "second.backup").read_bytes()) == backups(3, made_at=300)
        assert keeper.problem == ""
    finally:
        hung.may_go.set()


def test_a_folder_that_answers_again_has_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    hung = HungFolder(monkeypatch, stick)
    keeper = BackupKeeper(SEED, tmp_path / "channels.backup", "second.backup")
    keeper.use_second(str(stick), is_known=True)
    keeper.save(backups(1, made_at=100))
    assert hung.is_entered.wait(WAIT_SECONDS)
    for count in (2, 3):
        keeper.save(backups(count, made_at=100 * count))
    hung.may_go.set()
    assert keeper.wait_second(WAIT_SECONDS)
    assert open_backup(SEED, (stick / "second.backup").read_bytes()) == backups(3, made_at=300)
    assert (keeper.problem, keeper.second_saved_at) == ("", 300)


def test_what_lies_in_a_slow_folder_is_taken_over_before_it_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    there = stick / "second.backup"
    write_durably(there, seal_backup(SEED, backups(5)))
    may_read = threading.Event()

    def slow(path: Path) -> bytes:
        assert may_read.wait(WAIT_SECONDS)
        return path.read_bytes()

    monkeypatch.setattr("wallet.node.backup.read_file", slow)
    keeper = BackupKeeper(SEED, tmp_path / "channels.backup", "second.backup")
    keeper.use_second(str(stick))
    taken: list[ChannelBackups | None] = []
    afterwards: list[Callable[[], None]] = []
    assert not keeper.take_second(taken.append, 0, afterwards.append)
    assert keeper.save(backups(1))
    may_read.set()
    assert keeper.wait_second(WAIT_SECONDS)
    assert keeper.has_found_second
    assert open_backup(SEED, there.read_bytes()) == backups(5)
    assert keeper.take_second(taken.append, 0, afterwards.append)
    assert taken == [backups(5)]
    # They are in memory only: until their rows are on disk, this file is the one place that has them.
    assert not keeper.take_second(never_called, 0, never_called)
    keeper.save_again()
    assert keeper.save(backups(2))
    assert keeper.wait_second(WAIT_SECONDS)
    assert open_backup(SEED, there.read_bytes()) == backups(5)
    assert keeper.save(backups(5))
    (durable,) = afterwards
    durable()
    assert keeper.save(backups(6))
    assert keeper.wait_second(WAIT_SECONDS)
    assert open_backup(SEED, there.read_bytes()) == backups(6)


def channels_in(path: Path) -> int:
    return len(open_backup(SEED, path.read_bytes()).channels)


def never_called(_value: object) -> None:
    raise AssertionError("nothing is to be taken over")


class TickedRecovery(NodeRecovery):
    """What `tick` needs of it; what is taken over is a row, as lost channels are."""

    def __init__(self, core: Core, keeper: BackupKeeper) -> None:
        self._node = cast("Node", SimpleNamespace(core=core))
        self._generation = None
        self.backup = keeper

    def take_over(self, backups: ChannelBackups | None) -> int:
        self._node.core.write((Row("lost_channel", b"found", b"row"),))
        return 0 if backups is None else len(backups.channels)


def test_a_second_backup_found_late_is_written_over_only_after_its_rows_are_on_disk(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    there = stick / "second.backup"
    write_durably(there, seal_backup(SEED, backups(5)))
    keeper = BackupKeeper(SEED, tmp_path / "channels.backup", "second.backup")
    assert keeper.save(backups(1))
    keeper.use_second(str(stick))
    assert keeper.wait_second(WAIT_SECONDS)
    wallet_file = Store.create(tmp_path / "w" / "wallet.leyden", network="regtest", password="")
    core = Core(wallet_file)
    released = threading.Event()

    def release(batch: Batch) -> None:
        keeper.save(backups(6))
        for call in batch.afterwards:
            call()
        released.set()

    core.release = release
    recovery = TickedRecovery(core, keeper)
    # The writer thread has not come to it yet: a crash now finds the channels in the second folder alone.
    for _again in range(2):
        recovery.tick()
        assert keeper.wait_second(WAIT_SECONDS)
        assert channels_in(there) == 5
    wallet_file.start()
    assert released.wait(WAIT_SECONDS)
    assert keeper.wait_second(WAIT_SECONDS)
    assert channels_in(there) == 6
    wallet_file.close()


def test_what_lies_in_a_newly_named_folder_is_written_over_only_after_its_rows_are_on_disk(
    tmp_path: Path,
) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    there = stick / "second.backup"
    write_durably(there, seal_backup(SEED, backups(5)))
    keeper = BackupKeeper(SEED, tmp_path / "channels.backup", "second.backup")
    assert keeper.save(backups(1, made_at=100))
    wallet_file = Store.create(tmp_path / "w" / "wallet.leyden", network="regtest", password="")

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        core = Core(wallet_file)
        taken: asyncio.Future[ChannelBackups | None] = loop.create_future()

        def release(batch: Batch) -> None:
            keeper.save(backups(6))
            for call in batch.afterwards:
                loop.call_soon_threadsafe(call)

        def take_over(found: ChannelBackups | None) -> None:
            core.write((Row("lost_channel", b"found", b"row"),))
            taken.set_result(found)

        def durable() -> asyncio.Future[None]:
            done: asyncio.Future[None] = loop.create_future()
            core.afterwards(lambda: done.set_result(None))
            return done

        core.release = release
        node = SimpleNamespace(
            core=core,
            recovery=SimpleNamespace(backup=keeper, take_over=take_over, contents=lambda: backups(6)),
            ledger=SimpleNamespace(put_setting=lambda name, value: None),
            durable=durable,
            views=SimpleNamespace(publish_soon=lambda: None),
        )

        async def name_it() -> object:
            return await set_backup_folder(cast("Node", node), str(stick))

        naming = asyncio.create_task(name_it())
        async with asyncio.timeout(WAIT_SECONDS):
            assert await taken == backups(5)
        # An entry before this one: what it saves does not name them.
        assert keeper.save(backups(2))
        assert await asyncio.to_thread(keeper.wait_second, WAIT_SECONDS)
        assert channels_in(there) == 5
        wallet_file.start()
        async with asyncio.timeout(WAIT_SECONDS):
            assert await naming == {"path": str(there)}
        assert channels_in(there) == 6

    asyncio.run(scenario())
    wallet_file.close()


def test_what_could_not_be_read_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    there = stick / "second.backup"
    write_durably(there, seal_backup(SEED, backups(5)))
    is_broken = True

    def read(path: Path) -> bytes:
        if is_broken:
            raise OSError(errno.EIO, "Input/output error")
        return read_file(path)

    monkeypatch.setattr("wallet.node.backup.read_file", read)
    keeper = BackupKeeper(SEED, tmp_path / "channels.backup", "second.backup")
    keeper.use_second(str(stick))
    assert not keeper.take_second(never_called, WAIT_SECONDS, never_called)
    for count in (1, 2):
        assert keeper.save(backups(count))
        assert keeper.wait_second(WAIT_SECONDS)
        assert channels_in(there) == 5
        assert not keeper.has_found_second
        assert f"{stick} (Input/output error)" in keeper.problem
    is_broken = False
    keeper.save_again()
    assert keeper.wait_second(WAIT_SECONDS)
    assert keeper.has_found_second
    assert keeper.problem == ""
    taken: list[ChannelBackups | None] = []
    assert keeper.take_second(taken.append, 0, lambda call: call())
    assert taken == [backups(5)]
    assert keeper.wait_second(WAIT_SECONDS)
    assert channels_in(there) == 2


def test_a_folder_that_is_not_mounted_yet_is_not_an_empty_one(tmp_path: Path) -> None:
    drawer, stick = tmp_path / "drawer", tmp_path / "stick"
    drawer.mkdir()
    write_durably(drawer / "second.backup", seal_backup(SEED, backups(5)))
    keeper = BackupKeeper(SEED, tmp_path / "channels.backup", "second.backup")
    keeper.use_second(str(stick))
    assert not keeper.take_second(never_called, WAIT_SECONDS, never_called)
    assert keeper.save(backups(1))
    assert keeper.wait_second(WAIT_SECONDS)
    assert f"{stick} (No such file or directory)" in keeper.problem
    drawer.rename(stick)
    keeper.save_again()
    assert keeper.wait_second(WAIT_SECONDS)
    assert channels_in(stick / "second.backup") == 5
    assert keeper.has_found_second
    assert keeper.problem == ""


def test_a_folder_that_goes_while_it_is_read_is_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick, drawer = tmp_path / "stick", tmp_path / "drawer"
    stick.mkdir()
    write_durably(stick / "second.backup", seal_backup(SEED, backups(5)))

    def pulled(path: Path) -> bytes:
        if stick.exists():
            stick.rename(drawer)
        return read_file(path)

    with monkeypatch.context() as patch:
        patch.setattr("wallet.node.backup.read_file", pulled)
        keeper = BackupKeeper(SEED, tmp_path / "channels.backup", "second.backup")
        keeper.use_second(str(stick))
        assert keeper.wait_second(WAIT_SECONDS)
    assert not keeper.take_second(never_called, 0, never_called)
    drawer.rename(stick)
    assert keeper.save(backups(1))
    assert keeper.wait_second(WAIT_SECONDS)
    assert keeper.has_found_second
    assert channels_in(stick / "second.backup") == 5


def test_a_folder_that_comes_while_it_is_read_is_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick, drawer = tmp_path / "stick", tmp_path / "drawer"
    drawer.mkdir()
    write_durably(drawer / "second.backup", seal_backup(SEED, backups(5)))

    def mounted_late(path: Path) -> bytes:
        try:
            return read_file(path)
        except FileNotFoundError:
            drawer.rename(stick)
            raise

    with monkeypatch.context() as patch:
        patch.setattr("wallet.node.backup.read_file", mounted_late)
        keeper = BackupKeeper(SEED, tmp_path / "channels.backup", "second.backup")
        keeper.use_second(str(stick))
        assert not keeper.take_second(never_called, WAIT_SECONDS, never_called)


@pytest.mark.parametrize("is_known", [True, False], ids=["just named", "named at a start"])
def test_an_empty_folder_has_the_backup_at_once(tmp_path: Path, is_known: bool) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    keeper = BackupKeeper(SEED, tmp_path / "channels.backup", "second.backup")
    keeper.use_second(str(stick), is_known=is_known)
    if not is_known:
        taken: list[ChannelBackups | None] = []
        assert keeper.take_second(taken.append, WAIT_SECONDS, lambda call: call())
        assert taken == [None]
    assert keeper.save(backups(1))
    assert keeper.wait_second(WAIT_SECONDS)
    assert channels_in(stick / "second.backup") == 1
    assert keeper.problem == ""


def test_a_folder_that_is_named_again_while_it_hangs_has_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two would write the same file, the older one last perhaps."""
    stick, other = tmp_path / "stick", tmp_path / "other"
    for folder in (stick, other):
        folder.mkdir()
    before = set(threading.enumerate())
    hung = HungFolder(monkeypatch, stick)
    keeper = BackupKeeper(SEED, tmp_path / "channels.backup", "second.backup")

    def threads() -> int:
        return sum(thread.name == "second backup" for thread in set(threading.enumerate()) - before)

    keeper.use_second(str(stick), is_known=True)
    try:
        assert keeper.save(backups(1, made_at=100))
        assert hung.is_entered.wait(WAIT_SECONDS)
        keeper.use_second(str(stick), is_known=True)
        assert keeper.save(backups(2, made_at=200))
        assert threads() == 1
        # By way of another folder, or of none, it is the same.
        for way in (str(other), ""):
            keeper.use_second(way, is_known=True)
            assert keeper.wait_second(WAIT_SECONDS)
            keeper.use_second(str(stick), is_known=True)
        assert keeper.save(backups(3, made_at=300))
        assert not keeper.wait_second(0)
    finally:
        hung.may_go.set()
    assert keeper.wait_second(WAIT_SECONDS)
    assert hung.most == 1
    assert open_backup(SEED, (stick / "second.backup").read_bytes()) == backups(3, made_at=300)
    assert channels_in(other / "second.backup") == 2
    assert (keeper.problem, keeper.second_saved_at) == ("", 300)


def test_a_folder_that_is_named_again_is_written_again(tmp_path: Path) -> None:
    """Something else may lie there by now: it was read, and taken over, when the folder was named."""
    stick = tmp_path / "stick"
    stick.mkdir()
    there = stick / "second.backup"
    keeper = BackupKeeper(SEED, tmp_path / "channels.backup", "second.backup")
    assert keeper.save(backups(3))
    for _again in range(2):
        keeper.use_second(str(stick), is_known=True)
        assert keeper.wait_second(WAIT_SECONDS)
        assert channels_in(there) == 3
        write_durably(there, seal_backup(SEED, backups(1)))


def test_a_question_to_a_folder_that_hangs_ends(tmp_path: Path) -> None:
    never = threading.Event()
    with pytest.raises(TimeoutError, match="does not answer"):
        in_time(never.wait, 0.01)
    never.set()
    with pytest.raises(FileNotFoundError):
        in_time((tmp_path / "nowhere").stat, WAIT_SECONDS)
    in_time(tmp_path.stat, WAIT_SECONDS)


def test_the_name_of_a_second_backup_tells_nothing_and_differs_by_wallet() -> None:
    assert backup_name(SEED) != backup_name(OTHER_SEED)
    assert backup_name(SEED) == backup_name(SEED)
    assert len(backup_name(SEED)) == 16
