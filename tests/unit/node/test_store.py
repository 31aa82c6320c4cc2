"""The wallet's file: what is released is durable, in order, and a file that is not whole says so in a sentence."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wallet.chain.interfaces import Row
from wallet.node import store as store_module
from wallet.node.store import Store, StoreError, WalletLock, WrongPassword

ROOT = Path(__file__).parents[3]
WAIT_SECONDS = 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "alice" / "wallet.leyden"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store.create(path, network="regtest", password="")
    yield opened
    opened.close()


def both(*calls: Callable[..., object]) -> Callable[..., None]:
    def call(*arguments: object) -> None:
        for each in calls:
            each(*arguments)

    return call


def child_command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tests.unit.node.store_child", *map(str, arguments)]


def child_says(*arguments: object) -> str:
    done = subprocess.run(
        child_command(*arguments), capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    return done.stdout.strip()


def put(key: int, value: bytes = b"v") -> Row:
    return Row("channel", key.to_bytes(4, "big"), value)


def submit_and_wait(store: Store, rows: list[Row]) -> None:
    done = threading.Event()
    store.submit(rows, done.set)
    assert done.wait(WAIT_SECONDS)


def reopen(store: Store, password: str = "") -> Store:
    store.close()
    return Store.open(store.path, password=password)


class Gate:
    """Holds the writer thread inside a commit until it is opened."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Semaphore(0)
        self.sizes: list[int] = []
        commit = store._commit

        def held(batches: list[store_module._Waiting]) -> None:
            self.sizes.append(len(batches))
            self.entered.release()
            assert self.open.acquire(timeout=WAIT_SECONDS)
            commit(batches)

        monkeypatch.setattr(store, "_commit", held)


@pytest.fixture
def gate(store: Store, monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(store, monkeypatch)


# --- batches -----------------------------------------------------------------------------


def test_rows_come_back_in_key_order(store: Store) -> None:
    store.start()
    submit_and_wait(store, [put(3, b"c"), put(1, b"a"), put(2, b"b")])
    submit_and_wait(store, [Row("channel", put(2).key, None), put(3, b"d"), Row("other", b"", b"x")])
    again = reopen(store)
    assert list(again.rows("channel")) == [(put(1).key, b"a"), (put(3).key, b"d")]
    assert again.network == "regtest"
    again.close()


def test_the_last_write_of_a_key_counts_within_one_commit(store: Store) -> None:
    for value in (b"1", None, b"2"):
        store.submit([Row("channel", b"k", value)], lambda: None)
    store.submit([Row("channel", b"gone", b"1")], lambda: None)
    store.submit([Row("channel", b"gone", None)], lambda: None)
    store.start()
    again = reopen(store)
    assert list(again.rows("channel")) == [(b"k", b"2")]
    again.close()


def test_what_waits_is_one_commit_and_is_released_in_order(store: Store, gate: Gate) -> None:
    released: list[int] = []
    done = threading.Event()
    store.start()
    for number in range(20):
        store.submit([] if number % 3 == 2 else [put(number)], partial(released.append, number))
        if number == 0:
            assert gate.entered.acquire(timeout=WAIT_SECONDS)
    store.submit([], done.set)
    assert released == []
    gate.open.release(2)
    assert done.wait(WAIT_SECONDS)
    assert released == list(range(20))
    assert gate.sizes == [1, 20]
    assert store.commits == 2


def test_a_batch_without_rows_does_not_overtake_those_being_released(store: Store) -> None:
    """The writer had said that it was idle before it released what it had committed."""
    released: list[str] = []
    inside, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        inside.set()
        assert go_on.wait(WAIT_SECONDS)
        released.append("first")

    store.start()
    store.submit([put(1)], slow)
    store.submit([put(2)], lambda: released.append("second"))
    assert inside.wait(WAIT_SECONDS)
    store.submit([], both(partial(released.append, "empty"), done.set))
    go_on.set()
    assert done.wait(WAIT_SECONDS)
    assert released == ["first", "second", "empty"]


def test_an_empty_batch_leaves_at_once_when_nothing_waits(store: Store) -> None:
    released = threading.Event()
    store.submit([], released.set)
    assert released.is_set()
    assert store.commits == 0


def test_a_row_is_read_before_it_is_committed(store: Store, gate: Gate) -> None:
    store.start()
    done = threading.Event()
    store.submit([Row("revoked", b"k", b"one")], lambda: None)
    assert gate.entered.acquire(timeout=WAIT_SECONDS)
    store.submit([Row("revoked", b"k", b"two"), Row("revoked", b"l", b"x")], lambda: None)
    store.submit([Row("revoked", b"l", None)], done.set)
    assert store.read(b"k") == b"two"
    assert store.read(b"l") is None
    gate.open.release(5)
    assert done.wait(WAIT_SECONDS)
    assert store.read(b"k") == b"two"
    assert store.read(b"l") is None
    assert store.read(b"never") is None
    assert store._uncommitted == {}


def test_spaces_that_grow_are_read_by_key_only(store: Store) -> None:
    with pytest.raises(StoreError):
        store.rows("revoked")


def test_keys_and_values_are_not_in_the_file(path: Path) -> None:
    store = Store.create(path, network="regtest", password="secret")
    store.start()
    submit_and_wait(store, [Row("channel", b"KEY-IN-CLEAR", b"VALUE-IN-CLEAR")])
    store.close()
    raw = path.read_bytes()
    assert b"IN-CLEAR" not in raw
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(child.name for child in path.parent.iterdir()) == [path.name]


def test_a_row_moved_to_another_key_does_not_verify(store: Store) -> None:
    store.write_now([put(1, b"mine"), put(2, b"yours")])
    store.close()
    with sqlite3.connect(store.path) as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM rows")]
        value = connection.execute("SELECT value FROM rows WHERE id = ?", (ids[0],)).fetchone()[0]
        connection.execute("UPDATE rows SET value = ? WHERE id = ?", (value, ids[1]))
    connection.close()
    again = Store.open(store.path, password="")
    with pytest.raises(StoreError, match="cannot be read"):
        again.rows("channel")
    again.close()


# --- a commit on the thread that asks for it --------------------------------------------------


def test_a_quick_disk_is_written_on_the_thread_that_asks(store: Store) -> None:
    released: list[int] = []
    threads: set[int] = set()

    def note_thread() -> None:
        threads.add(threading.get_ident())

    store.start()
    for number in range(3):
        store.submit([put(number)], both(partial(released.append, number), note_thread), urgent=False)
    assert released == []
    store.commit_here()
    assert released == [0, 1, 2]
    assert threads == {threading.get_ident()}
    assert store.commits == 1
    store.commit_here()
    assert store.commits == 1


def test_a_slow_disk_is_left_to_the_writer_thread(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "QUICK_COMMIT_SECONDS", 0.0)
    threads: list[int] = []
    done = threading.Event()
    store.start()
    store.submit([put(1)], both(lambda: threads.append(threading.get_ident()), done.set), urgent=False)
    store.commit_here()
    assert done.wait(WAIT_SECONDS)
    assert threads != [threading.get_ident()]


def test_how_quick_the_disk_is_follows_its_commits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first commit takes a second, the others no time.
    clock = iter([0.0, 1.0, *(float(number // 2) for number in range(4, 200))])
    monkeypatch.setattr(store_module, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    store.start()
    found = [store.is_quick]
    submit_and_wait(store, [put(1)])
    found.append(store.is_quick)
    for number in range(40):
        submit_and_wait(store, [put(number)])
    found.append(store.is_quick)
    assert found == [True, False, True]


def test_a_commit_under_way_is_not_overtaken_by_another_thread(store: Store, gate: Gate) -> None:
    released: list[int] = []
    done = threading.Event()
    store.start()
    store.submit([put(1)], partial(released.append, 1))
    assert gate.entered.acquire(timeout=WAIT_SECONDS)
    store.submit([put(2)], both(partial(released.append, 2), done.set), urgent=False)
    store.commit_here()
    assert released == []
    gate.open.release(2)
    assert done.wait(WAIT_SECONDS)
    assert released == [1, 2]
    assert gate.sizes == [1, 1]


def test_the_writer_thread_waits_for_a_commit_on_another(store: Store, gate: Gate) -> None:
    released: list[int] = []
    done = threading.Event()
    store.start()
    store.submit([put(1)], partial(released.append, 1), urgent=False)
    other = threading.Thread(target=store.commit_here)
    other.start()
    assert gate.entered.acquire(timeout=WAIT_SECONDS)
    store.submit([put(2)], both(partial(released.append, 2), done.set))
    assert released == []
    gate.open.release(2)
    assert done.wait(WAIT_SECONDS)
    other.join(WAIT_SECONDS)
    assert released == [1, 2]
    assert gate.sizes == [1, 1]


def test_closing_waits_for_a_commit_on_another_thread(store: Store, gate: Gate) -> None:
    released: list[int] = []
    store.start()
    store.submit([put(1)], partial(released.append, 1), urgent=False)
    committing, closing = threading.Thread(target=store.commit_here), threading.Thread(target=store.close)
    committing.start()
    assert gate.entered.acquire(timeout=WAIT_SECONDS)
    closing.start()
    gate.open.release(2)
    closing.join(WAIT_SECONDS)
    committing.join(WAIT_SECONDS)
    assert released == [1]
    again = Store.open(store.path, password="")
    assert list(again.rows("channel")) == [(put(1).key, b"v")]
    again.close()


def test_what_is_asked_for_before_the_start_is_committed_by_it(store: Store) -> None:
    done = threading.Event()
    store.submit([put(1)], done.set, urgent=False)
    store.commit_here()
    assert not done.is_set()
    store.start()
    assert done.wait(WAIT_SECONDS)


def test_after_a_commit_that_failed_where_it_was_asked_for_nothing_leaves(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(batches: object) -> None:
        raise OSError(28, "No space left on device")

    failures: list[BaseException] = []
    released: list[int] = []
    store.failed = failures.append
    monkeypatch.setattr(store, "_commit", fail)
    store.start()
    store.submit([put(1)], partial(released.append, 1), urgent=False)
    store.commit_here()
    assert [type(error) for error in failures] == [OSError]
    store.submit([put(2)], partial(released.append, 2))
    store.submit([], partial(released.append, 3))
    store.commit_here()
    store.close()
    assert released == []


# --- a disk that fails ---------------------------------------------------------------------


def test_after_a_failed_commit_nothing_later_leaves(store: Store) -> None:
    failures: list[BaseException] = []
    failed = threading.Event()
    released: list[str] = []
    store.failed = both(failures.append, lambda _error: failed.set())
    # What a full disk is to SQLite: no page may be added.
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count={pages}")
    store.start()
    submit_and_wait(store, [put(1, b"small")])
    store.submit([put(2, bytes(1_000_000))], lambda: released.append("too big"))
    assert failed.wait(WAIT_SECONDS)
    store.submit([put(3)], lambda: released.append("later"))
    store.submit([], lambda: released.append("empty"))
    assert [type(error) for error in failures] == [sqlite3.OperationalError]
    again = reopen(store)
    assert released == []
    assert list(again.rows("channel")) == [(put(1).key, b"small")]
    again.close()


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), ValueError("whatever"), MemoryError()]
)
def test_any_error_of_the_writer_is_a_failure(
    store: Store, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(batches: object) -> None:
        raise error

    failures: list[BaseException] = []
    failed = threading.Event()
    store.failed = both(failures.append, lambda _error: failed.set())
    monkeypatch.setattr(store, "_commit", fail)
    store.start()
    store.submit([put(1)], lambda: pytest.fail("it left"))
    assert failed.wait(WAIT_SECONDS)
    assert failures == [error]


def test_what_cannot_be_handed_over_is_not_overtaken(store: Store) -> None:
    failed = threading.Event()
    store.failed = lambda error: failed.set()

    def broken() -> None:
        raise RuntimeError("the loop is closed")

    released: list[int] = []
    store.submit([put(1)], broken)
    store.submit([put(2)], lambda: released.append(2))
    store.start()
    assert failed.wait(WAIT_SECONDS)
    store.submit([], lambda: released.append(3))
    assert released == []


def test_close_commits_what_waits_and_takes_no_more(store: Store) -> None:
    released: list[int] = []
    store.start()
    for number in range(50):
        store.submit([put(number)], partial(released.append, number))
    store.close()
    store.submit([put(99)], lambda: released.append(99))
    store.submit([], lambda: released.append(100))
    store.close()
    assert released == list(range(50))
    with pytest.raises(StoreError):
        store.read_row("channel", b"x")


def test_creating_on_a_full_disk_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: object, name: str, value: bytes) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Store, "_put_meta", fail)
    with pytest.raises(StoreError, match=r"cannot be written .* Is the disk full\?"):
        Store.create(path, network="regtest", password="")
    assert list(path.parent.iterdir()) == []


# --- passwords -------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["secret", "pässwörd ☂", "\udcff\udc80", "x" * 10_000])
def test_a_password_opens_the_file_and_no_other_does(path: Path, password: str) -> None:
    store = Store.create(path, network="signet", password=password, rows=[put(7, b"seven")])
    assert store.password_matches(password)
    assert not store.password_matches(password + "x")
    store.close()
    assert Store.is_encrypted(path)
    assert Store.check(path, password=password) == "signet"
    for wrong in ("", password.upper() + "!", " " + password):
        with pytest.raises(WrongPassword):
            Store.open(path, password=wrong)
        with pytest.raises(WrongPassword):
            Store.check(path, password=wrong)
    again = Store.open(path, password=password)
    assert list(again.rows("channel")) == [(put(7).key, b"seven")]
    again.close()


def test_a_password_typed_on_another_keyboard_is_the_same(path: Path) -> None:
    Store.create(path, network="regtest", password="caf\u00e9").close()
    Store.open(path, password="cafe\u0301").close()


def test_a_changed_password_takes_the_old_one_out_of_the_file(path: Path) -> None:
    store = Store.create(path, network="regtest", password="old", rows=[put(1, b"one")])
    old_seal = store._read_meta(store._connection, path)["key_sealed"]
    assert old_seal in path.read_bytes()
    store.start()
    store.change_password("new")
    assert store.password_matches("new")
    assert not store.password_matches("old")
    # Somebody else may look while it is open.
    assert Store.check(path, password="new") == "regtest"
    store.change_password("")
    assert not Store.is_encrypted(path)
    store.change_password("newer")
    again = reopen(store, "newer")
    assert list(again.rows("channel")) == [(put(1).key, b"one")]
    again.close()
    assert old_seal not in path.read_bytes()


def test_the_password_can_change_while_batches_are_committed(store: Store) -> None:
    store.start()
    done = threading.Event()
    left = [200]

    def count() -> None:
        left[0] -= 1
        if not left[0]:
            done.set()

    def write() -> None:
        for number in range(200):
            store.submit([put(number)], count)

    writer = threading.Thread(target=write)
    writer.start()
    for number in range(20):
        store.change_password(f"p{number}")
    writer.join()
    assert done.wait(WAIT_SECONDS)
    again = reopen(store, "p19")
    assert len(list(again.rows("channel"))) == 200
    again.close()


# --- files that are not whole, or not ours -----------------------------------------------------


def damaged(path: Path, change: Callable[[Path], None]) -> None:
    store = Store.create(path, network="regtest", password="")
    store.write_now([put(number, os.urandom(500)) for number in range(200)])
    store.close()
    change(path)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def truncate_to_header(path: Path) -> None:
    os.truncate(path, 90)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def scribble(path: Path) -> None:
    """Random bytes over half of the pages, the first apart."""
    size = path.stat().st_size
    chance = random.Random(1)
    with path.open("r+b") as file:
        for offset in range(4096, size, 8192):
            file.seek(offset)
            file.write(chance.randbytes(4096))


def not_a_database(path: Path) -> None:
    path.write_text("Dear diary, " * 1000)


def another_program(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE meta (name, value)")
    connection.commit()
    connection.close()


def run_sql(*statements: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    return change


def newer(path: Path) -> None:
    run_sql("UPDATE meta SET value = CAST('2' AS BLOB) WHERE name = 'format'")(path)


def read_all(path: Path) -> None:
    store = Store.open(path, password="")
    try:
        store.rows("channel")
    finally:
        store.close()


DAMAGES = {
    "truncated": (truncate, "cannot be read"),
    "header only": (truncate_to_header, "cannot be read|not a Leyden"),
    "empty": (empty, "it is empty"),
    "scribbled": (scribble, "cannot be read"),
    "not a database": (not_a_database, "cannot be read"),
    "another program's": (another_program, "not a Leyden wallet"),
    "newer": (newer, "newer Leyden"),
    "format is text": (run_sql("UPDATE meta SET value = 'x' WHERE name = 'format'"), "damaged"),
    "format is a word": (
        run_sql("UPDATE meta SET value = CAST('x' AS BLOB) WHERE name = 'format'"),
        "damaged",
    ),
    "no format": (run_sql("DELETE FROM meta WHERE name = 'format'"), "damaged"),
    "no network": (run_sql("DELETE FROM meta WHERE name = 'network'"), "damaged"),
    "network is no text": (run_sql("UPDATE meta SET value = x'ff' WHERE name = 'network'"), "damaged"),
    "no key": (run_sql("DELETE FROM meta WHERE name = 'key_open'"), "damaged"),
    "short key": (run_sql("UPDATE meta SET value = x'00' WHERE name = 'key_open'"), "damaged"),
    "key is a number": (run_sql("UPDATE meta SET value = 99999999999 WHERE name = 'key_open'"), "damaged"),
    "no tables": (run_sql("DROP TABLE rows", "DROP TABLE meta"), "cannot be read"),
    "no rows table": (run_sql("DROP TABLE rows"), "cannot be read"),
    "rows of another type": (run_sql("UPDATE rows SET value = 5"), "cannot be read"),
    "rows as text": (run_sql("UPDATE rows SET value = 'abc'"), "cannot be read"),
    "short rows": (run_sql("UPDATE rows SET value = x'0102'"), "cannot be read"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_file_that_is_not_whole_is_a_sentence(path: Path, name: str) -> None:
    change, words = DAMAGES[name]
    damaged(path, change)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=words):
        read_all(path)
    if name in ("not a database", "another program's", "empty", "newer"):
        assert path.read_bytes() == before, "it is not ours to write to"


@pytest.mark.parametrize(
    "cost",
    [b"", b"scrypt 1 2 3", b"argon2id 999999999 1 1", b"argon2id 64 0 1", b"argon2id 64 1 9999", b"\xff" * 9],
)
def test_a_file_cannot_ask_for_all_memory(path: Path, cost: bytes) -> None:
    Store.create(path, network="regtest", password="secret").close()
    run_sql(f"UPDATE meta SET value = x'{cost.hex()}' WHERE name = 'key_cost'")(path)
    with pytest.raises(StoreError, match="cannot be used"):
        Store.open(path, password="secret")


@pytest.mark.parametrize("name", ["key_salt", "key_sealed"])
def test_a_damaged_seal_is_not_called_a_wrong_password(path: Path, name: str) -> None:
    Store.create(path, network="regtest", password="secret").close()
    run_sql(f"UPDATE meta SET value = x'00' WHERE name = '{name}'")(path)
    with pytest.raises(StoreError, match="damaged") as caught:
        Store.open(path, password="secret")
    assert not isinstance(caught.value, WrongPassword)


def test_looking_at_a_file_that_is_not_there_makes_none(path: Path) -> None:
    path.parent.mkdir()
    for look in (Store.is_encrypted, lambda found: Store.open(found, password="")):
        with pytest.raises(StoreError, match="no wallet file"):
            look(path)
    assert not path.exists()
    Store.create(path, network="regtest", password="").close()


def test_a_folder_in_place_of_the_file(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match="no wallet file"):
        Store.open(path, password="")
    with pytest.raises(StoreError, match="already a wallet"):
        Store.create(path, network="regtest", password="")


def test_a_wallet_is_never_written_over(path: Path) -> None:
    Store.create(path, network="regtest", password="", rows=[put(1)]).close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="already a wallet"):
        Store.create(path, network="regtest", password="other")
    assert path.read_bytes() == before


def test_two_that_create_at_once_make_one_wallet(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill = Store._fill

    def slower(*args: Any) -> bytes:
        key = fill(*args)
        monkeypatch.setattr(Store, "_fill", fill)
        Store.create(path, network="signet", password="").close()
        return key

    monkeypatch.setattr(Store, "_fill", slower)
    # The two are told apart by their process; here they are one.
    monkeypatch.setattr(os, "getpid", iter(range(10)).__next__)
    with pytest.raises(StoreError, match="already a wallet"):
        Store.create(path, network="regtest", password="")
    again = Store.open(path, password="")
    assert again.network == "signet"
    again.close()


# --- two processes ---------------------------------------------------------------------------


def test_a_second_process_is_kept_out(path: Path) -> None:
    store = Store.create(path, network="regtest", password="")
    lock = WalletLock(path.parent / "lock")
    assert "already open" in child_says("lock", path)
    assert not Store.is_encrypted(path), "looking past the lock is allowed"
    lock.release()
    store.close()
    assert child_says("lock", path) == "mine"
    WalletLock(path.parent / "lock").release()


def test_a_file_that_is_open_elsewhere_is_in_use(path: Path) -> None:
    store = Store.create(path, network="regtest", password="")
    store.write_now([put(1)])
    assert "in use" in child_says("open", path)
    store.close()


# --- killed ------------------------------------------------------------------------------------


def test_killed_at_any_moment_it_has_what_it_released(path: Path) -> None:
    """The child writes rows and says which are released; what it said is there afterwards, whole, and nothing that is
    half a batch."""
    Store.create(path, network="regtest", password="").close()
    chance = random.Random(20)
    last = -1
    for _ in range(12):
        child = subprocess.Popen(
            child_command("write", path, last + 1), stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert child.stdout is not None
        lines = chance.randrange(1, 300)
        said = last
        for line in child.stdout:
            said = int(line)
            lines -= 1
            if not lines:
                break
        child.send_signal(signal.SIGKILL)
        said = max([said, *(int(line) for line in child.stdout if line.endswith("\n"))])
        child.stdout.close()
        child.wait()
        store = Store.open(path, password="")
        left = {int.from_bytes(key, "big"): value for key, value in store.rows("left")}
        right = {int.from_bytes(key, "big"): value for key, value in store.rows("right")}
        counter = store.read_row("counter", b"")
        store.close()
        assert counter is not None
        last = int.from_bytes(counter, "big")
        assert last >= said, "what was released was lost"
        assert left.keys() == right.keys() == set(range(last + 1)), "half a batch, or a gap"
        assert all(left[number] == right[number] == number.to_bytes(4, "big") * 20 for number in left)
