"""The generation counter: an older file and a strange one are found out; nothing else ever is."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wallet.chain.interfaces import Row
from wallet.ln import lsps1
from wallet.node.generation import (
    CONTACT_KEY,
    GENERATION_SPACE,
    HELD_SPACE,
    RECOVERY_SPACE,
    Generation,
    Origin,
    first_rows,
)
from wallet.node.ledger import SETTING_SPACE
from wallet.node.orders import ORDER_SPACE, OrderRecord, OrderStep
from wallet.node.plans import PLAN_SETTING, PROBLEM_SETTING
from wallet.node.records import SettingRecord, row, unpack
from wallet.node.store import Store, StoreError

KILLS = 12
CHANNELS = (b"\x01" * 32, b"\x02" * 32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "net"


@pytest.fixture
def path(folder: Path) -> Path:
    """A wallet file with two channels."""
    made = folder / "wallets" / "w" / "wallet.leyden"
    rows = (*first_rows(folder), *(Row("monitor", key, b"static") for key in CHANNELS))
    Store.create(made, network="regtest", password="", rows=rows).close()
    return made


@contextmanager
def opened(folder: Path, path: Path) -> Iterator[tuple[Store, Generation]]:
    store = Store.open(path, password="")
    try:
        generation = Generation.take(folder, store)
        yield store, generation
        store.close()
        generation.close()
    finally:
        store.close()


def held(store: Store) -> list[bytes]:
    return [key for key, _value in store.rows(HELD_SPACE)]


def commit(store: Store, count: int = 1) -> None:
    for number in range(count):
        store.write_now((Row("counter", b"", bytes((number,))),))


def entry_file(folder: Path) -> Path:
    return next(file for file in (folder / "generations").iterdir() if file.suffix == "")


def test_a_new_file_and_every_restart_are_current(folder: Path, path: Path) -> None:
    for _ in range(4):
        with opened(folder, path) as (store, generation):
            assert generation.origin is Origin.CURRENT
            assert held(store) == []
            assert generation.problem == ""
            commit(store, 3)


def test_an_older_copy_is_found_out_after_a_single_commit(folder: Path, path: Path, tmp_path: Path) -> None:
    with opened(folder, path) as (store, _generation):
        commit(store)
    copy = tmp_path / "copy"
    shutil.copy(path, copy)
    with opened(folder, path):
        # The start alone makes the copy an older one.
        pass
    shutil.copy(copy, path)
    with opened(folder, path) as (store, generation):
        assert generation.origin is Origin.OLDER
        assert held(store) == list(CHANNELS)
        # On this computer nobody else can be running it: its peers may be called.
        assert store.read_row(RECOVERY_SPACE, CONTACT_KEY) is None
    # What it found out stays in the file; the file itself is the newest from now on.
    with opened(folder, path) as (store, generation):
        assert generation.origin is Origin.CURRENT
        assert held(store) == list(CHANNELS)


def test_a_copy_made_while_it_runs_is_found_out_too(folder: Path, path: Path, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    with opened(folder, path) as (store, _generation):
        commit(store, 5)
        # With its log, as a careful person would.
        shutil.copytree(path.parent, copies)
        commit(store)
    shutil.rmtree(path.parent)
    shutil.copytree(copies, path.parent)
    with opened(folder, path) as (_store, generation):
        assert generation.origin is Origin.OLDER


def test_a_file_without_its_log_is_an_older_one(folder: Path, path: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    with opened(folder, path) as (store, _generation):
        commit(store, 5)
        shutil.copy(path, bare)
        commit(store, 5)
    shutil.copy(bare, path)
    with opened(folder, path) as (_store, generation):
        assert generation.origin is Origin.OLDER


def test_a_file_from_elsewhere_is_found_out(folder: Path, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with opened(folder, path) as (store, _generation):
        commit(store)
    moved = other / "wallets" / "w" / "wallet.leyden"
    moved.parent.mkdir(parents=True)
    shutil.copy(path, moved)
    with opened(other, moved) as (store, generation):
        assert generation.origin is Origin.FOREIGN
        assert held(store) == list(CHANNELS)
        assert store.read_row(RECOVERY_SPACE, CONTACT_KEY) is not None
    with opened(other, moved) as (store, generation):
        assert generation.origin is Origin.CURRENT
        assert held(store) == list(CHANNELS)
    # Where it came from nothing is amiss.
    with opened(folder, path) as (store, generation):
        assert generation.origin is Origin.CURRENT
        assert held(store) == []


@pytest.mark.parametrize("planned", ["", "02aa@127.0.0.1:9735 0 20000"])
def test_a_restored_file_forgets_the_channel_it_was_to_open(
    folder: Path, path: Path, tmp_path: Path, planned: str
) -> None:
    keys = [name.encode() for name in (PLAN_SETTING, PROBLEM_SETTING)]
    with opened(folder, path) as (store, _generation):
        store.write_now([row(SETTING_SPACE, keys[0], SettingRecord(text=planned))])
    shutil.rmtree(folder / "generations")
    with opened(folder, path) as (store, generation):
        assert generation.origin is Origin.FOREIGN
        rows = [store.read_row(SETTING_SPACE, key) for key in keys]
        kept = [value and unpack(SettingRecord, value).text for value in rows]
    assert not kept[0]
    assert ("was forgotten" in (kept[1] or "")) == bool(planned)


@pytest.mark.parametrize("step", [OrderStep.OFFERED, OrderStep.PAYING, OrderStep.ARRIVED], ids=str)
def test_a_restored_file_forgets_the_orders_that_it_could_still_pay(
    folder: Path, path: Path, step: OrderStep
) -> None:
    terms = lsps1.OnchainTerms(
        state=lsps1.PaymentState.EXPECT_PAYMENT,
        expires_at=1,
        fee_total_sat=1,
        order_total_sat=1,
        address="",
        min_confirmations=1,
    )
    params = lsps1.OrderParams(
        lsp_balance_sat=1,
        client_balance_sat=0,
        required_channel_confirmations=1,
        funding_confirms_within_blocks=1,
        channel_expiry_blocks=1,
        announce_channel=False,
    )
    order = lsps1.Order(
        order_id="a", params=params, created_at=1, state=lsps1.OrderState.CREATED, onchain=terms
    )
    record = OrderRecord(
        local_id=b"order", node_id=b"node", connection="", order=order, created_at=1, step=step
    )
    with opened(folder, path) as (store, _generation):
        store.write_now([row(ORDER_SPACE, record.local_id, record)])
    shutil.rmtree(folder / "generations")
    with opened(folder, path) as (store, generation):
        assert generation.origin is Origin.FOREIGN
        # Elsewhere it may have been paid: what is paid already is followed up, the rest is not paid twice.
        kept = store.read_row(ORDER_SPACE, record.local_id)
        assert (kept is None) == (step is OrderStep.OFFERED)
        assert store.read_row(RECOVERY_SPACE, CONTACT_KEY) is not None


def test_two_copies_used_in_turn_are_told_each_time(folder: Path, path: Path) -> None:
    twin = folder / "wallets" / "twin" / "wallet.leyden"
    with opened(folder, path) as (store, _generation):
        commit(store)
    twin.parent.mkdir()
    shutil.copy(path, twin)
    with opened(folder, path):
        pass
    for file in (twin, path, twin):
        with opened(folder, file) as (_store, generation):
            assert generation.origin is Origin.OLDER


def test_two_copies_cannot_run_at_once(folder: Path, path: Path) -> None:
    twin = folder / "wallets" / "twin" / "wallet.leyden"
    twin.parent.mkdir()
    shutil.copy(path, twin)
    with opened(folder, path), pytest.raises(StoreError, match="already open"), opened(folder, twin):
        pass


def test_a_file_without_channels_is_restored_in_silence(folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "bare" / "wallet.leyden"
    Store.create(made, network="regtest", password="", rows=first_rows(folder)).close()
    shutil.rmtree(folder / "generations")
    with opened(folder, made) as (store, generation):
        assert generation.origin is Origin.FOREIGN
        assert held(store) == []
        assert store.read_row(RECOVERY_SPACE, CONTACT_KEY) is None


def test_a_file_that_does_not_count_yet_is_taken_in(folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "old" / "wallet.leyden"
    rows = [Row("monitor", key, b"static") for key in CHANNELS]
    Store.create(made, network="regtest", password="", rows=rows).close()
    for _ in range(2):
        with opened(folder, made) as (store, generation):
            assert generation.origin is Origin.CURRENT
            assert held(store) == []
            assert store.read_row(GENERATION_SPACE, b"") is not None


# --- what dies, and what fails -------------------------------------------------------------


def test_killed_at_any_moment_it_is_current(folder: Path, path: Path, tmp_path: Path) -> None:
    """SIGKILL between a commit and the counter, within either, at the start: the file is never behind."""
    chance = random.Random(7)
    older = tmp_path / "older"
    for kill in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.node.generation_child", str(folder), str(path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "CURRENT\n"
        for _ in range(chance.randrange(40)):
            child.stdout.readline()
        child.kill()
        child.stdout.close()
        child.wait()
        if kill == KILLS // 2:
            shutil.copytree(path.parent, older)
    with opened(folder, path) as (store, generation):
        assert generation.origin is Origin.CURRENT
        assert held(store) == []
    shutil.rmtree(path.parent)
    shutil.copytree(older, path.parent)
    with opened(folder, path) as (_store, generation):
        assert generation.origin is Origin.OLDER


def test_a_process_that_dies_between_the_commit_and_the_counter_is_current(
    folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(folder, path) as (store, _generation):
        store.stamped = lambda: None
        commit(store, 3)
    with opened(folder, path) as (store, generation):
        assert generation.origin is Origin.CURRENT
        assert held(store) == []


def test_a_full_disk_triggers_nothing(folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with opened(folder, path) as (store, generation):
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            patch.setattr(os, "fsync", full)
            commit(store, 3)
            assert "note of how new" in generation.problem
        # With room again it goes on, and nothing is to be told any more.
        commit(store)
        assert generation.problem == ""
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with opened(folder, path) as (_store, generation):
            assert generation.origin is Origin.CURRENT
            assert "note of how new" in generation.problem
    with opened(folder, path) as (store, generation):
        assert generation.origin is Origin.CURRENT
        assert held(store) == []


def test_a_file_that_cannot_be_written_does_not_open(
    folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    store = Store.open(path, password="")
    monkeypatch.setattr(store, "write_now", full)
    with pytest.raises(StoreError, match="disk full"):
        Generation.take(folder, store)
    store.close()
    with opened(folder, path) as (_store, generation):
        assert generation.origin is Origin.CURRENT


def test_a_torn_slot_leaves_the_one_before(folder: Path, path: Path, tmp_path: Path) -> None:
    with opened(folder, path) as (store, _generation):
        commit(store, 2)
    copy = tmp_path / "copy"
    shutil.copy(path, copy)
    with opened(folder, path) as (store, _generation):
        commit(store, 4)
    file = entry_file(folder)
    data = bytearray(file.read_bytes())
    newest = max((0, 24), key=lambda at: int.from_bytes(data[at : at + 8], "big"))
    data[newest + 3] ^= 0x40
    file.write_bytes(data)
    whole = path.read_bytes()
    with opened(folder, path) as (_store, generation):
        assert generation.origin is Origin.CURRENT
    path.write_bytes(whole)
    file.write_bytes(data)
    shutil.copy(copy, path)
    with opened(folder, path) as (_store, generation):
        assert generation.origin is Origin.OLDER


@pytest.mark.parametrize("data", [b"", b"\0" * 48, b"x" * 48, b"\xff" * 7])
def test_an_entry_that_is_damaged_is_none(folder: Path, path: Path, data: bytes) -> None:
    with opened(folder, path):
        pass
    entry_file(folder).write_bytes(data)
    with opened(folder, path) as (store, generation):
        assert generation.origin is Origin.FOREIGN
        assert held(store) == list(CHANNELS)


def test_a_damaged_row_is_a_sentence(folder: Path, path: Path) -> None:
    store = Store.open(path, password="")
    store.write_now((Row(GENERATION_SPACE, b"", b"\x07"),))
    with pytest.raises(StoreError, match="cannot be read"):
        Generation.take(folder, store)
    store.close()


def test_the_folder_of_entries_may_be_forbidden(folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "old" / "wallet.leyden"
    Store.create(made, network="regtest", password="").close()
    folder.mkdir()
    (folder / "generations").write_text("a file where a folder should be")
    with opened(folder, made) as (store, generation):
        # Uncounted, and told so: next time it is no stranger.
        assert generation.origin is Origin.CURRENT
        assert generation.problem
        assert store.read_row(GENERATION_SPACE, b"") is None
        commit(store)


def test_a_commit_that_fails_leaves_the_counter_behind(folder: Path, path: Path) -> None:
    with opened(folder, path) as (store, _generation):
        before = entry_file(folder).read_bytes()
        # A transaction that breaks off: the file lacks this commit, so the counter must not have it.
        store._connection.execute(
            "CREATE TEMP TRIGGER t BEFORE INSERT ON rows BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        with pytest.raises(sqlite3.IntegrityError):
            commit(store)
        store._connection.execute("DROP TRIGGER t")
        assert entry_file(folder).read_bytes() == before
    with opened(folder, path) as (store, generation):
        assert generation.origin is Origin.CURRENT
        assert held(store) == []
