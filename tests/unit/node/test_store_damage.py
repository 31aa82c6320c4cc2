"""A wallet file that is damaged anywhere: it is recognised, or nothing of it is lost; it never opens with less in it.

What SQLite itself takes for an older file, because its log is cut short, is the generation counter's to recognise.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.unit.node.test_store import ROOT, child_command, child_says
from wallet.chain.interfaces import Row
from wallet.node.generation import GENERATION_SPACE, RECOVERY_SPACE, Generation, Origin, first_rows
from wallet.node.store import Store, StoreError, WalletLock, WrongPassword

SPACES = ("channel", "monitor", "node_held", RECOVERY_SPACE, GENERATION_SPACE, "payment")
HEADER_LENGTH = 100
PAGE_LENGTH = 4096
FLIPS = 300
PASSWORD_KILLS = 10
WAIT_SECONDS = 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "net"


@pytest.fixture
def path(folder: Path) -> Path:
    """A wallet file of a dozen pages."""
    made = folder / "wallets" / "w" / "wallet.leyden"
    chance = random.Random(3)
    rows = [
        Row(space, number.to_bytes(4, "big"), chance.randbytes(400))
        for space in ("channel", "monitor", "node_held", "payment")
        for number in range(20)
    ]
    rows.append(Row(RECOVERY_SPACE, b"contact", b"no"))
    Store.create(made, network="regtest", password="", rows=[*rows, *first_rows(folder)]).close()
    return made


def contents(path: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    store = Store.open(path, password="")
    try:
        return {space: list(store.rows(space)) for space in SPACES}
    finally:
        store.close()


def flip(path: Path, at: int, mask: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes((byte ^ mask,)))


def judge(path: Path, whole: dict[str, list[tuple[bytes, bytes]]]) -> str:
    """Either the damage is recognised ("said"), by a sentence that says what to do, or nothing is missing ("whole")."""
    try:
        found = contents(path)
    except WrongPassword:
        # One bit in the name of the open key's row, and the file looks locked: nothing is lost by saying so.
        return "said"
    except StoreError as error:
        text = str(error)
        assert any(way in text for way in ("restore from your words", "Update Leyden", "left as it was")), (
            text
        )
        return "said"
    assert found == whole, "rows are missing, and nobody says so"
    return "whole"


def each(path: Path, damages: Sequence[Callable[[], object]]) -> dict[str, int]:
    whole = contents(path)
    kept = path.read_bytes()
    told = {"said": 0, "whole": 0}
    for damage in damages:
        for left in path.parent.glob(f"{path.name}-*"):
            left.unlink()
        path.write_bytes(kept)
        damage()
        told[judge(path, whole)] += 1
    return told


def test_a_bit_anywhere_in_the_header(path: Path) -> None:
    told = each(path, [partial(flip, path, at, 1 << bit) for at in range(HEADER_LENGTH) for bit in (0, 7)])
    # Counters and version numbers of SQLite's mean nothing for what is in the file.
    assert told["said"] > 80
    assert told["whole"] > 0


def test_a_bit_anywhere_in_the_pages(path: Path) -> None:
    chance = random.Random(5)
    size = path.stat().st_size
    told = each(
        path,
        [
            partial(flip, path, chance.randrange(HEADER_LENGTH, size), 1 << chance.randrange(8))
            for _ in range(FLIPS)
        ],
    )
    # What is not used of a page may change without harm.
    assert told["said"] > FLIPS // 2


def test_it_is_cut_short_anywhere(path: Path) -> None:
    size = path.stat().st_size
    cuts = {0, 1, 15, 16, 99, 100, 101, size - 1, *range(512, size, 1500), *range(0, size, PAGE_LENGTH)}
    told = each(path, [partial(os.truncate, path, cut) for cut in sorted(cuts)])
    assert told == {"said": len(cuts), "whole": 0}


def test_pages_of_nothing_or_of_another_place(path: Path) -> None:
    def copy(source: int, target: int) -> None:
        data = path.read_bytes()
        page = data[source * PAGE_LENGTH : (source + 1) * PAGE_LENGTH] if source >= 0 else bytes(PAGE_LENGTH)
        with path.open("r+b") as file:
            file.seek(target * PAGE_LENGTH)
            file.write(page)

    pages = path.stat().st_size // PAGE_LENGTH
    assert pages > 8
    damages = [partial(copy, s, t) for t in range(pages) for s in (-1, (t + 1) % pages)]
    assert each(path, damages) == {"said": len(damages), "whole": 0}


def test_a_row_that_strays_into_another_space_or_to_another_key_is_missed(path: Path) -> None:
    def run(change: str, one: str) -> None:
        connection = sqlite3.connect(path)
        connection.execute(f"UPDATE rows SET {change} WHERE {one}")
        connection.commit()
        connection.close()

    damages: list[Callable[[], object]] = []
    for space in SPACES:
        one = f"space = '{space}' AND id = (SELECT min(id) FROM rows WHERE space = '{space}')"
        damages += [
            partial(run, f"space = '{space[:-1]}q'", one),
            partial(run, "id = x'00112233445566778899aabbccddeeff'", one),
            partial(run, "space = x'00'", one),
        ]
    assert each(path, damages) == {"said": len(damages), "whole": 0}


def test_a_counter_that_strays_is_damage_and_not_a_new_wallet(folder: Path, path: Path) -> None:
    """It would count anew, and an older copy pass for current."""
    connection = sqlite3.connect(path)
    connection.execute(
        "UPDATE rows SET id = x'00112233445566778899aabbccddeeff' WHERE space = ?", (GENERATION_SPACE,)
    )
    connection.commit()
    connection.close()
    # As if it had happened after the file was opened and checked.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "_check_whole", lambda _store: None)
        store = Store.open(path, password="")
    with pytest.raises(StoreError, match="does not verify"):
        Generation.take(folder, store)
    store.close()


@contextmanager
def running(folder: Path, path: Path) -> Iterator[Store]:
    store = Store.open(path, password="")
    generation = Generation.take(folder, store)
    try:
        yield store
    finally:
        store.close()
        generation.close()


def test_a_damaged_log_leaves_an_older_file_and_that_is_recognised(
    folder: Path, path: Path, tmp_path: Path
) -> None:
    """As after a power cut on a disk that lies: the main file, and a log with a wrong bit in it, or that ends early."""
    with running(folder, path) as store:
        for number in range(30):
            store.write_now((Row("payment", b"new", bytes((number,)) * 300),))
        log = path.with_name(f"{path.name}-wal")
        kept = {file: file.read_bytes() for file in (path, log)}
    entry = next(file for file in (folder / "generations").iterdir() if not file.suffix)
    newest = entry.read_bytes()
    chance = random.Random(9)
    size = len(kept[log])
    assert size > 30 * PAGE_LENGTH
    for number in range(60):
        for file, data in kept.items():
            file.write_bytes(data)
        entry.write_bytes(newest)
        if number % 2:
            # The last frames are those that may be read again as they were before.
            flip(log, chance.randrange(32, size - 1), 1 << chance.randrange(8))
        else:
            os.truncate(log, chance.randrange(0, size - 1))
        opened = Store.open(path, password="")
        try:
            generation = Generation.take(folder, opened)
            last = opened.read_row("payment", b"new")
            assert generation.origin is Origin.OLDER or last == bytes((29,)) * 300
            generation.close()
        finally:
            opened.close()


# --- a change of password that does not come to its end ---------------------------------------


class Dies:
    """A connection whose process ends before its n-th statement."""

    def __init__(self, connection: sqlite3.Connection, after: int) -> None:
        self._connection = connection
        self._left = after

    def execute(self, *arguments: str) -> sqlite3.Cursor:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        return self._connection.execute(*arguments)

    def close(self) -> None:
        raise KeyboardInterrupt


def opens(path: Path, password: str) -> bool:
    try:
        Store.open(path, password=password).close()
    except WrongPassword:
        return False
    return True


def test_the_password_changes_wholly_or_not_at_all(path: Path, tmp_path: Path) -> None:
    """The process dies before each statement of the change; what it leaves on the disk is looked at elsewhere."""
    store = Store.open(path, password="")
    store.change_password("old")
    old_seal = store._read_meta(store._connection, path)["key_sealed"]
    real = store._connection
    outcomes = []
    for after in range(20):
        died = False
        with patch.object(store, "_connection", Dies(real, after)):
            try:
                store.change_password("new")
            except KeyboardInterrupt:
                died = True
        dead = tmp_path / f"dead-{after}"
        # While the file is open: what a process that was killed now would leave.
        shutil.copytree(path.parent, dead)
        left = dead / path.name
        says = Store.is_encrypted(left), [p for p in ("old", "new") if checks(left, p)]
        started = Store.open(left, password=says[1][0])
        # Already the start ends what was begun: this process may be killed as well.
        seals = [file.name for file in dead.iterdir() if old_seal in file.read_bytes()]
        assert seals == ([left.name] if says[1] == ["old"] else [])
        started.close()
        works = [p for p in ("old", "new") if opens(left, p)]
        assert len(works) == 1
        assert says == (True, works), "what is looked at from outside is what opens"
        assert (old_seal in left.read_bytes()) == (works == ["old"]), "the old seal stays in the file"
        assert not list(dead.glob("*-wal"))
        outcomes.append(works[0])
        if real.in_transaction:
            real.execute("ROLLBACK")
        store.change_password("old")
        old_seal = store._read_meta(real, path)["key_sealed"]
        if not died:
            break
    else:
        pytest.fail("it never came to its end")
    store.close()
    assert outcomes[0] == "old"
    assert outcomes[-1] == "new"
    assert outcomes == sorted(outcomes, key=["old", "new"].index)


def checks(path: Path, password: str) -> bool:
    try:
        Store.check(path, password=password)
    except WrongPassword:
        return False
    return True


def test_killed_while_the_password_changes_one_of_the_two_opens(path: Path) -> None:
    """SIGKILL at random instants of a process that changes it again and again."""
    store = Store.open(path, password="")
    store.change_password("0")
    whole = list(store.rows("channel"))
    store.close()
    chance = random.Random(11)
    last = 0
    for _ in range(PASSWORD_KILLS):
        child = subprocess.Popen(
            child_command("password", path, last), stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert child.stdout is not None
        lines = chance.randrange(1, 40)
        for line in child.stdout:
            last = int(line)
            lines -= 1
            if not lines:
                break
        child.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in child.stdout if line.endswith("\n"))])
        child.stdout.close()
        child.wait()
        works = [number for number in (last, last + 1) if opens(path, str(number))]
        assert len(works) == 1
        assert not opens(path, str(last - 1))
        last = works[0]
        again = Store.open(path, password=str(last))
        assert list(again.rows("channel")) == whole
        again.close()


def test_an_open_key_is_gone_from_the_disk_once_there_is_a_password(path: Path) -> None:
    store = Store.open(path, password="")
    # Some builds of SQLite have this on from the start.
    store._connection.execute("PRAGMA secure_delete=OFF")
    key = store._read_meta(store._connection, path)["key_open"]
    assert key in path.read_bytes()
    for number in range(40):
        # In the log as well, between other pages.
        store.write_now((Row("payment", bytes((number,)), bytes(900)),))
    store.change_password("first")
    assert pieces_left(path.parent, key) == []
    # The other way round, what is written is smaller than what goes.
    seal = store._read_meta(store._connection, path)["key_sealed"]
    store._connection.execute("PRAGMA secure_delete=OFF")
    store.change_password("")
    assert pieces_left(path.parent, seal) == []
    store.close()


def pieces_left(folder: Path, secret: bytes) -> list[str]:
    """Where a part of a secret still lies."""
    pieces = [secret[at : at + 12] for at in range(0, len(secret) - 11, 4)]
    return [file.name for file in folder.iterdir() if any(piece in file.read_bytes() for piece in pieces)]


# --- the lock -----------------------------------------------------------------------------------


def test_a_lock_that_a_killed_process_left_is_nobodys(path: Path) -> None:
    child = subprocess.Popen(
        child_command("hold", path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "mine"
    with pytest.raises(StoreError, match="already open"):
        WalletLock(path.parent / "lock")
    child.send_signal(signal.SIGKILL)
    child.stdin.close()
    child.stdout.close()
    child.wait()
    assert (path.parent / "lock").exists()
    WalletLock(path.parent / "lock").release()
    assert child_says("lock", path) == "mine"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_folder_that_cannot_be_locked_is_a_sentence(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_descriptor: int, _how: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        with pytest.raises(StoreError, match=r"cannot be locked .* Keep wallets on a disk of this computer"):
            WalletLock(path.parent / "lock")
    WalletLock(path.parent / "lock").release()


def test_two_threads_of_one_process_do_not_share_a_lock(path: Path) -> None:
    lock = WalletLock(path.parent / "lock")
    refused = threading.Event()

    def second() -> None:
        try:
            WalletLock(path.parent / "lock")
        except StoreError:
            refused.set()

    thread = threading.Thread(target=second)
    thread.start()
    thread.join(WAIT_SECONDS)
    assert refused.is_set()
    lock.release()
