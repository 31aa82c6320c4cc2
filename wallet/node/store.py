"""The wallet's file: durable rows in SQLite, encrypted one by one, committed in batches by one writer thread.

Theory of operation. One connection, one writer at a time. `submit` hands over the batch of one entry into the core;
the writer takes all batches that wait, commits them in one transaction (WAL, `synchronous=FULL`), and only then calls
each batch's `released`, in order. Batches without rows keep their place behind those with rows, also behind those
that are committed and just being released. If a commit fails, nothing later leaves: `failed` is called once with the
error, and every later batch is dropped.

The writer is a thread, or whoever calls `commit_here`: on a quick disk a commit takes less than two changes of thread,
so the network loop makes its commits itself. On a slow one it leaves them to the thread and goes on meanwhile.

A new file is made under another name, with its first rows, and takes its own name when all of it is durable: a wallet
file that exists is a whole one.

At rest. A row's space is plain; its key is replaced by a keyed hash, and key and value are sealed together with
ChaCha20-Poly1305 under the wallet's data key (the space and the hash are authenticated). The data key is random. It
is kept in the `meta` table, sealed under a key that Argon2id makes from the password; where the person chose no
password it lies there open, and the file says so. The cost of Argon2id is written beside its salt, so that it can
rise later without locking anybody out.

What is damaged is found out when the file is opened: SQLite's own check of the pages, then the seals. A log that is
cut short is not damage to SQLite; it leaves an older file, which the generation counter recognises.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import os
import sqlite3
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from wallet.chain.interfaces import Row
from wallet.i18n import _

__all__ = ["Store", "StoreError", "WalletLock", "WrongPassword", "sync_folder"]

FORMAT_VERSION = 1
APPLICATION_ID = 0x4C657964
"""'Leyd': tells our file from another program's."""

ARGON2_MEMORY_KIB = 256 * 1024
ARGON2_ITERATIONS = 3
ARGON2_LANES = 4
ARGON2_MAX_MEMORY_KIB = 4 * 1024 * 1024
ARGON2_MAX_ITERATIONS = 64
ARGON2_MAX_LANES = 64
"""What a file may ask for: a damaged or hostile one must not take the computer's memory."""
KEY_LENGTH = 32
SALT_LENGTH = 16
NONCE_LENGTH = 12
ID_LENGTH = 16
TAG_LENGTH = 16
SEALED_KEY_LENGTH = NONCE_LENGTH + KEY_LENGTH + TAG_LENGTH
KEY_PURPOSE = b"leyden data key"
_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What a damaged file has Python's sqlite3 raise: the second where SQLite's own words quote bytes that are no text."""

QUICK_COMMIT_SECONDS = 0.004
"""Above this, on average, a commit is not made on the network loop: whatever else it serves would wait for the disk."""
COMMIT_MEMORY = 4
"""How many commits the average is about."""

ON_DEMAND_SPACES = frozenset({"revoked", "node_payment_old", "node_request_old", "node_script_old"})
"""Spaces that grow with a wallet's age: read by key, never as a whole."""
KEYS_AT_ONCE = 256
"""In one question to SQLite."""


class StoreError(Exception):
    """The wallet file cannot be used: a sentence for a person."""


class WrongPassword(StoreError):
    """The password does not open the file."""


@dataclass(slots=True)
class _Waiting:
    rows: list[Row]
    released: Callable[[], None]


class WalletLock:
    """Keeps two processes off one wallet. Held until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        """Raises `StoreError` when another process holds it."""
        self._file = path.open("a+b")
        try:
            _lock_file(self._file.fileno())
        except (BlockingIOError, PermissionError):
            self._file.close()
            raise StoreError(
                _("This wallet is already open in another Leyden. Close that one first, or use its window.")
            ) from None
        except OSError as error:
            self._file.close()
            raise StoreError(
                _(
                    "The folder {folder} cannot be locked ({why}). Keep wallets on a disk of this computer."
                ).format(folder=path.parent, why=error.strerror)
            ) from None

    def release(self) -> None:
        self._file.close()


def _lock_file(descriptor: int) -> None:
    if os.name == "nt":  # pragma: no cover - exercised on Windows only
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # this module is Windows only
        return
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@dataclass(frozen=True, slots=True)
class _Cost:
    """What Argon2id is to spend on one guess of a password."""

    memory_kib: int
    iterations: int
    lanes: int

    def to_bytes(self) -> bytes:
        return b"argon2id %d %d %d" % (self.memory_kib, self.iterations, self.lanes)

    @classmethod
    def parse(cls, text: bytes) -> _Cost:
        """Raises `StoreError` for what no Leyden wrote."""
        name, numbers = text[:9], text[9:].split()
        if name == b"argon2id " and len(numbers) == 3 and all(n.isdigit() and len(n) < 10 for n in numbers):
            cost = cls(*(int(number) for number in numbers))
            least_kib = 8 * cost.lanes
            if (
                1 <= cost.lanes <= ARGON2_MAX_LANES
                and 1 <= cost.iterations <= ARGON2_MAX_ITERATIONS
                and least_kib <= cost.memory_kib <= ARGON2_MAX_MEMORY_KIB
            ):
                return cost
        raise StoreError(
            _(
                "The wallet file's key cannot be used: the file is damaged, or of a newer Leyden. Update Leyden; if "
                "that does not help, restore from your words and the channel backup beside the file."
            )
        )


def _derive(password: str, salt: bytes, cost: _Cost) -> bytes:
    """The same text typed on different keyboards gives the same key (NFKC); bytes that are no text are kept."""
    kdf = Argon2id(
        salt=salt,
        length=KEY_LENGTH,
        iterations=cost.iterations,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    )
    try:
        return kdf.derive(unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass"))
    except MemoryError:
        raise StoreError(
            _(
                "There is not enough memory to unlock the wallet: it takes {size} MB. Close other programs."
            ).format(size=cost.memory_kib // 1024)
        ) from None


class Store:
    """One wallet file, open for reading and writing.

    Threads: `submit` may be called from any thread (callers order themselves by the core's lock). `released` is called
    on the writer thread or within `commit_here`, or within `submit` where nothing had to be waited for: it hands over
    and returns. `failed` is called on the writer thread or within `commit_here`.

    `stamp` gives one row more to each commit, and `stamped` is called when that is durable, before anything of the
    commit is released: the generation counter. `has_password` says whether one is needed to open the file.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, data_key: bytes, network: str) -> None:
        """Use `create` or `open`."""
        self.path = path
        self.network = network
        self.has_password = False
        self._connection = connection
        self._aead = ChaCha20Poly1305(hashlib.sha256(b"leyden rows" + data_key).digest())
        self._id_hmac = hmac.new(hashlib.sha256(b"leyden keys" + data_key).digest(), digestmod=hashlib.sha256)
        self._data_key = data_key
        self._lock = threading.Lock()
        self._transactions = threading.Lock()
        """One transaction at a time on the one connection: the writer's, or a change of password."""
        self._wake = threading.Condition(self._lock)
        self._queue: list[_Waiting] = []
        self._uncommitted: dict[tuple[str, bytes], bytes | None] = {}
        self._due = False
        self._busy = False
        self._stopping = False
        self._failure: BaseException | None = None
        self._commit_seconds = 0.0
        """What a commit takes, of late."""
        self.failed: Callable[[BaseException], None] = lambda error: None
        self.stamp: Callable[[], Row] | None = None
        self.stamped: Callable[[], None] = lambda: None
        self.commits = 0
        self.rows_written = 0
        self._thread: threading.Thread | None = None

    # --- making and opening -----------------------------------------------------

    @classmethod
    def create(cls, path: Path, *, network: str, password: str, rows: Iterable[Row] = ()) -> Store:
        """Makes a new wallet file with its first rows, durable when it returns; raises `StoreError` if there is one
        already, or where it cannot be written."""
        if path.exists():
            raise StoreError(
                _("There is already a wallet in {folder}: choose another name.").format(
                    folder=path.parent.name
                )
            )
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            unfinished.unlink(missing_ok=True)
            # Made by us, because SQLite would leave it to the umask who may read it.
            os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            try:
                data_key = cls._fill(unfinished, network, password, tuple(rows))
                _take_name(unfinished, path)
            finally:
                unfinished.unlink(missing_ok=True)
        except FileExistsError:
            raise StoreError(
                _("There is already a wallet in {folder}: choose another name.").format(
                    folder=path.parent.name
                )
            ) from None
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                _("The wallet file cannot be written to {folder} ({why}). Is the disk full?").format(
                    folder=path.parent, why=_why(error)
                )
            ) from None
        connection = cls._connect(path)
        cls._prepare(connection)
        store = cls(path, connection, data_key, network)
        store.has_password = bool(password)
        return store

    @classmethod
    def _fill(cls, path: Path, network: str, password: str, rows: tuple[Row, ...]) -> bytes:
        """Writes a whole file; its data key."""
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            data_key = os.urandom(KEY_LENGTH)
            with _transaction(connection):
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.execute(
                    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
                )
                connection.execute(
                    "CREATE TABLE rows (space TEXT, id BLOB, value BLOB NOT "
                    "NULL, PRIMARY KEY (space, id)) WITHOUT ROWID"
                )
                cls._put_meta(connection, "format", str(FORMAT_VERSION).encode())
                cls._put_meta(connection, "network", network.encode())
                cls._write_key(connection, data_key, password)
            cls(path, connection, data_key, network).write_now(rows)
        finally:
            connection.close()
        return data_key

    @classmethod
    def open(cls, path: Path, *, password: str) -> Store:
        """Opens a wallet file; raises `WrongPassword` or `StoreError`."""
        if not path.is_file():
            raise StoreError(_("There is no wallet file at {path}.").format(path=path))
        connection = cls._connect(path)
        try:
            meta = cls._read_meta(connection, path)
            data_key = cls._read_key(meta, path, password)
            network = _text(meta, path, "network")
            # Only now that the file is known to be ours: this writes to it.
            cls._prepare(connection)
            store = cls(path, connection, data_key, network)
            store.has_password = "key_open" not in meta
            store._check_whole()
            # A change of password that was killed half-way ends here: the old seal leaves the main file.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except _UNREADABLE as error:
            connection.close()
            raise StoreError(_refused(path, error)) from None
        except BaseException:
            connection.close()
            raise
        return store

    def _check_whole(self) -> None:
        """Raises `StoreError` for damage that reading the rows would not meet: pages that hold less than they should,
        and a row that has strayed into a space of its own (a row's seal names its space).

        The full check, because the quick one overlooks rows out of order, which a search does not find. It reads some
        300 MB a second.
        """
        found = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != ("ok",):
            raise StoreError(_damaged(self.path, str(found[0]) if found else ""))
        space: object = ""
        while True:
            first = self._connection.execute(
                "SELECT space, id, value FROM rows WHERE space > ? ORDER BY space, id LIMIT 1", (space,)
            ).fetchone()
            if first is None:
                return
            space = first[0]
            if not isinstance(space, str):
                raise StoreError(_damaged(self.path, _("a row has no space")))
            self._unseal(space, first[1], first[2])

    @classmethod
    def is_encrypted(cls, path: Path) -> bool:
        """Whether a password is needed; raises `StoreError` if it is not a wallet file."""
        return "key_salt" in cls._peek(path)

    @classmethod
    def check(cls, path: Path, *, password: str) -> str:
        """The network of a wallet file that this password opens, without opening it for writing; raises
        `WrongPassword` or `StoreError`."""
        meta = cls._peek(path)
        cls._read_key(meta, path, password)
        return _text(meta, path, "network")

    @classmethod
    def _peek(cls, path: Path) -> dict[str, bytes]:
        """The meta table. What a killed process left in the log counts; where another process has the file open, the
        main file is read past its lock: what is in there was written at creation or by a finished change of
        password."""
        if not path.is_file():
            raise StoreError(_("There is no wallet file at {path}.").format(path=path))
        uri = f"{path.resolve().as_uri()}?mode=ro"
        left_over = path.with_name(f"{path.name}-wal")
        if left_over.exists() and left_over.stat().st_size:
            with contextlib.suppress(sqlite3.OperationalError, UnicodeDecodeError):
                return cls._peek_at(uri, path)
        try:
            return cls._peek_at(f"{uri}&immutable=1", path)
        except _UNREADABLE as error:
            raise StoreError(_refused(path, error)) from None

    @classmethod
    def _peek_at(cls, uri: str, path: Path) -> dict[str, bytes]:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=0)) as connection:
            return cls._read_meta(connection, path)

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        """Opens a file that is there; what is not there is not made."""
        # SQLite opens what may only be read as well, and stumbles later, with words that sound like damage.
        if not os.access(path, os.R_OK | os.W_OK):
            raise StoreError(_not_ours(path, os.strerror(errno.EACCES)))
        connection = None
        try:
            connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
            )
            # The file may come from anybody: its schema may not call functions.
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("PRAGMA cell_size_check=ON")
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        except _UNREADABLE as error:
            if connection is not None:
                connection.close()
            raise StoreError(_refused(path, error)) from None
        return connection

    @staticmethod
    def _prepare(connection: sqlite3.Connection) -> None:
        """A commit is durable when it returns."""
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA fullfsync=1")
        # Rows are sealed: what they leave behind says nothing. Some builds overwrite it all the same, page by page.
        connection.execute("PRAGMA secure_delete=OFF")

    @staticmethod
    def _put_meta(connection: sqlite3.Connection, name: str, value: bytes) -> None:
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    @staticmethod
    def _read_meta(connection: sqlite3.Connection, path: Path) -> dict[str, bytes]:
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            if not path.stat().st_size:
                raise StoreError(_damaged(path, _("it is empty")))
            raise StoreError(
                _(
                    "{name} is not a Leyden wallet file, and was left as it is. If it used to be one, it is damaged: "
                    "keep it, and restore from your words and the channel backup beside it."
                ).format(name=path)
            )
        meta = {}
        for name, value in connection.execute("SELECT name, value FROM meta"):
            if isinstance(name, str) and isinstance(value, bytes):
                meta[name] = value
        version = _text(meta, path, "format")
        if not (version.isascii() and version.isdigit() and len(version) < 10):
            raise StoreError(_damaged(path, _("it does not say how it is written")))
        if int(version) > FORMAT_VERSION:
            raise StoreError(
                _(
                    "The wallet file {name} was written by a newer Leyden, and was left as it is. Update Leyden to "
                    "open it."
                ).format(name=path.name)
            )
        return meta

    @classmethod
    def _write_key(cls, connection: sqlite3.Connection, data_key: bytes, password: str) -> None:
        connection.execute(
            "DELETE FROM meta WHERE name IN ('key_salt', 'key_cost', 'key_sealed', 'key_open')"
        )
        if not password:
            cls._put_meta(connection, "key_open", data_key)
            return
        salt, nonce = os.urandom(SALT_LENGTH), os.urandom(NONCE_LENGTH)
        cost = _Cost(ARGON2_MEMORY_KIB, ARGON2_ITERATIONS, ARGON2_LANES)
        sealed = ChaCha20Poly1305(_derive(password, salt, cost)).encrypt(nonce, data_key, KEY_PURPOSE)
        cls._put_meta(connection, "key_salt", salt)
        cls._put_meta(connection, "key_cost", cost.to_bytes())
        cls._put_meta(connection, "key_sealed", nonce + sealed)

    @staticmethod
    def _read_key(meta: dict[str, bytes], path: Path, password: str) -> bytes:
        data_key = meta.get("key_open")
        if data_key is None:
            try:
                salt, cost, sealed = meta["key_salt"], _Cost.parse(meta["key_cost"]), meta["key_sealed"]
            except KeyError:
                raise StoreError(_damaged(path, _("it lacks its key"))) from None
            if len(salt) != SALT_LENGTH or len(sealed) != SEALED_KEY_LENGTH:
                raise StoreError(_damaged(path, _("its key is cut short")))
            aead = ChaCha20Poly1305(_derive(password, salt, cost))
            try:
                data_key = aead.decrypt(sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], KEY_PURPOSE)
            except InvalidTag:
                raise WrongPassword(
                    _("This password does not open the wallet. Check capitals and keyboard layout.")
                ) from None
        if len(data_key) != KEY_LENGTH:
            raise StoreError(_damaged(path, _("its key is cut short")))
        return data_key

    def password_matches(self, password: str) -> bool:
        """Whether the password opens this file; always so where there is none. Takes as long as unlocking does."""
        with self._reading():
            meta = self._read_meta(self._connection, self.path)
        try:
            return hmac.compare_digest(self._read_key(meta, self.path, password), self._data_key)
        except StoreError:
            return False

    def change_password(self, new_password: str) -> None:
        """Seals the data key under another password, durable when it returns; raises `StoreError`."""
        with self._transactions:
            try:
                # Nothing of the old seal is to stay in the file: who knows the old password could use it.
                self._connection.execute("PRAGMA secure_delete=ON")
                with _transaction(self._connection):
                    self._write_key(self._connection, self._data_key, new_password)
                self.has_password = bool(new_password)
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self._connection.execute("PRAGMA secure_delete=OFF")
            except _UNREADABLE as error:
                raise StoreError(
                    _("The password was not changed: the wallet file cannot be written ({why}).").format(
                        why=_why(error)
                    )
                ) from None

    # --- sealing ------------------------------------------------------------------

    def _row_id(self, space: str, key: bytes) -> bytes:
        digest = self._id_hmac.copy()
        digest.update(space.encode() + b"\0" + key)
        return digest.digest()[:ID_LENGTH]

    def _seal(self, space: str, row_id: bytes, key: bytes, value: bytes) -> bytes:
        nonce = os.urandom(NONCE_LENGTH)
        plain = len(key).to_bytes(2, "big") + key + value
        return nonce + self._aead.encrypt(nonce, plain, space.encode() + row_id)

    def _unseal(self, space: str, row_id: object, sealed: object) -> tuple[bytes, bytes]:
        try:
            if not isinstance(row_id, bytes) or not isinstance(sealed, bytes):
                raise ValueError("SQLite stores what it is given; these are not ours")
            plain = self._aead.decrypt(sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], space.encode() + row_id)
        except (InvalidTag, ValueError):
            raise StoreError(
                _damaged(self.path, _("a row of {space} does not verify").format(space=space))
            ) from None
        size = int.from_bytes(plain[:2], "big")
        return plain[2 : 2 + size], plain[2 + size :]

    # --- reading --------------------------------------------------------------------

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Holds the lock; what SQLite says about the file becomes a sentence."""
        try:
            with self._lock:
                yield
        except _UNREADABLE as error:
            raise StoreError(_refused(self.path, error)) from None

    def rows(self, space: str) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of every committed row of a space, in key order; for the start, before
        anything is submitted. Raises `StoreError` for a damaged file."""
        if space in ON_DEMAND_SPACES:
            raise StoreError(f"{space} is read by key")
        with self._reading():
            found = self._connection.execute(
                "SELECT id, value FROM rows WHERE space = ?", (space,)
            ).fetchall()
        return iter(sorted(self._unseal(space, row_id, value) for row_id, value in found))

    def read_row(self, space: str, key: bytes) -> bytes | None:
        """One row, whether its batch is committed yet or not. Raises `StoreError` for a damaged file."""
        row_id = self._row_id(space, key)
        with self._reading():
            if (space, key) in self._uncommitted:
                return self._uncommitted[space, key]
            found = self._connection.execute(
                "SELECT value FROM rows WHERE space = ? AND id = ?", (space, row_id)
            ).fetchone()
        return None if found is None else self._unseal(space, row_id, found[0])[1]

    def read_rows(self, space: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those rows that there are, whether their batches are committed yet or not. Raises `StoreError` for a damaged
        file."""
        there: dict[bytes, bytes] = {}
        found: list[tuple[object, object]] = []
        for first in range(0, len(keys), KEYS_AT_ONCE):
            asked: list[bytes] = []
            with self._reading():
                for key in keys[first : first + KEYS_AT_ONCE]:
                    if (space, key) not in self._uncommitted:
                        asked.append(self._row_id(space, key))
                    elif (value := self._uncommitted[space, key]) is not None:
                        there[key] = value
                marks = ",".join("?" * len(asked))
                found += self._connection.execute(
                    f"SELECT id, value FROM rows WHERE space = ? AND id IN ({marks})", (space, *asked)
                ).fetchall()
        there.update(self._unseal(space, row_id, value) for row_id, value in found)
        return there

    def read(self, key: bytes) -> bytes | None:
        """`chain.interfaces.RevokedStates`."""
        return self.read_row("revoked", key)

    # --- writing --------------------------------------------------------------------

    def start(self) -> None:
        """Starts the writer thread."""
        self._thread = threading.Thread(target=self._run, name="leyden-writer", daemon=True)
        self._thread.start()

    def submit(self, rows: Iterable[Row], released: Callable[[], None], *, urgent: bool = True) -> None:
        """Queues one batch; `released` is called when it is durable. Dropped after a failure, and once closed.

        A batch that is not urgent, because nothing waits for it, is committed with the next one that is, or at the
        next `flush`.
        """
        batch = list(rows)
        with self._lock:
            if self._failure is not None or self._stopping:
                return
            if batch or self._queue or self._busy:
                for row in batch:
                    self._uncommitted[row.space, row.key] = row.value
                self._queue.append(_Waiting(batch, released))
                if urgent:
                    self._due = True
                    self._wake.notify_all()
                return
        released()

    def flush(self) -> None:
        """Has everything that waits committed soon; returns at once."""
        with self._lock:
            if self._queue:
                self._due = True
                self._wake.notify_all()

    @property
    def is_quick(self) -> bool:
        """Whether a commit takes so little time that the network loop may make it."""
        return self._commit_seconds < QUICK_COMMIT_SECONDS

    def commit_here(self) -> None:
        """Commits what waits, on the calling thread, which must not be inside the core; leaves it to the writer thread
        where that is busy, called already or not started yet, or where the disk is slow."""
        with self._lock:
            if not self._queue or self._failure is not None:
                return
            called = self._due or self._busy or self._stopping or self._thread is None
            if called or not self.is_quick or self._transactions.locked():
                self._due = True
                self._wake.notify_all()
                return
            batches = self._take()
        self._work(batches)

    def write_now(self, rows: Iterable[Row]) -> None:
        """Commits rows before it returns; for set-up, before the writer thread is started."""
        self._commit([_Waiting(list(rows), lambda: None)])

    def close(self) -> None:
        """Commits what waits, then closes the file. Nothing is taken any more; closing twice is closing once."""
        with self._lock:
            self._stopping = True
            self._wake.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _run(self) -> None:
        while True:
            with self._lock:
                while self._busy or not (self._stopping or (self._queue and self._due)):
                    self._wake.wait()
                if not self._queue:
                    return
                batches = self._take()
            if not self._work(batches):
                return

    def _take(self) -> list[_Waiting]:
        """All that waits; whoever takes it works on it, and nobody else until that is done. Within the lock."""
        batches, self._queue = self._queue, []
        self._due = False
        self._busy = True
        return batches

    def _work(self, batches: list[_Waiting]) -> bool:
        """Commits and releases what was taken; whether that went well."""
        try:
            began_seconds = time.perf_counter()
            self._commit(batches)
            took_seconds = time.perf_counter() - began_seconds
            with self._lock:
                self._forget(batches)
                self._commit_seconds += (took_seconds - self._commit_seconds) / COMMIT_MEMORY
            for batch in batches:
                batch.released()
        except BaseException as error:
            # Whatever it was: what is not durable, or could not be handed over, must not be overtaken.
            with self._lock:
                self._failure = error
                self._queue.clear()
                self._busy = False
                self._wake.notify_all()
            self.failed(error)
            if not isinstance(error, Exception):
                # On the network loop: somebody ends the program.
                raise
            return False
        with self._lock:
            # Not before the last `released`: a batch without rows would overtake those that still wait here.
            self._busy = False
            if self._due or self._stopping:
                self._wake.notify_all()
        return True

    def _commit(self, batches: list[_Waiting]) -> None:
        final: dict[tuple[str, bytes], bytes | None] = {}
        for batch in batches:
            for row in batch.rows:
                final[row.space, row.key] = row.value
        if not final:
            return
        if self.stamp is not None:
            row = self.stamp()
            final[row.space, row.key] = row.value
        put, gone = [], []
        for (space, key), value in final.items():
            row_id = self._row_id(space, key)
            if value is None:
                gone.append((space, row_id))
            else:
                put.append((space, row_id, self._seal(space, row_id, key, value)))
        with self._transactions, _transaction(self._connection):
            if put:
                self._connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", put)
            if gone:
                self._connection.executemany("DELETE FROM rows WHERE space = ? AND id = ?", gone)
        if self.stamp is not None:
            self.stamped()
        self.commits += 1
        self.rows_written += len(final)

    def _forget(self, batches: list[_Waiting]) -> None:
        waiting = {(row.space, row.key) for batch in self._queue for row in batch.rows}
        for batch in batches:
            for row in batch.rows:
                if (row.space, row.key) not in waiting:
                    self._uncommitted.pop((row.space, row.key), None)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _take_name(unfinished: Path, path: Path) -> None:
    """Gives a finished file its name, durable when it returns; raises `FileExistsError` where somebody was faster."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links, such as a memory stick's.
        if path.exists():
            raise FileExistsError(path) from None
        os.replace(unfinished, path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable; raises `OSError`."""
    if os.name == "nt":  # pragma: no cover - Windows has no folder to sync
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _text(meta: dict[str, bytes], path: Path, name: str) -> str:
    """A text of the meta table; raises `StoreError`."""
    try:
        return meta[name].decode()
    except (KeyError, UnicodeDecodeError):
        raise StoreError(_damaged(path, _("it lacks its {name}").format(name=name))) from None


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _refused(path: Path, error: Exception) -> str:
    """What SQLite's refusal of a file means."""
    if isinstance(error, UnicodeDecodeError):
        return _damaged(path, _("a text in it cannot be read"))
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return _("The wallet file {name} is in use by another program.").format(name=path.name)
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY):
        return _not_ours(path, error)
    if code == sqlite3.SQLITE_FULL:
        return _("The disk is full: the wallet file {name} cannot be opened. Free some space.").format(
            name=path.name
        )
    return _damaged(path, str(error))


def _not_ours(path: Path, why: object) -> str:
    return _("The wallet file {name} cannot be opened ({why}). May you read and write it?").format(
        name=path, why=why
    )


def _damaged(path: Path, what: str) -> str:
    return _(
        "The wallet file {name} cannot be read: it is damaged ({what}). Do not delete it and put no older copy in its "
        "place. Keep it, and restore from your words and the channel backup beside it."
    ).format(name=path.name, what=what)
