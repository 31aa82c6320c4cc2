"""The wallet's file: durable rows in SQLite, encrypted one by one, committed in batches by one writer thread.

Theory of operation. One connection, one writer. `submit` hands over the batch of one entry into the core; the
writer takes all batches that wait, commits them in one transaction (WAL, `synchronous=FULL`), and only then calls
each batch's `released`, in order. Batches without rows keep their place behind those with rows. If a commit fails,
nothing later leaves: `failed` is called once with the error, and every later batch is dropped.

At rest. A row's space is plain; its key is replaced by a keyed hash, and key and value are sealed together with
ChaCha20-Poly1305 under the wallet's data key (the space and the hash are authenticated). The data key is random. It
is kept in the `meta` table, sealed under a key that Argon2id makes from the password; where the person chose no
password it lies there open, and the file says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from wallet.chain.interfaces import Row

__all__ = ["Store", "StoreError", "WalletLock", "WrongPassword"]

FORMAT_VERSION = 1
APPLICATION_ID = 0x4C657964
"""'Leyd': tells our file from another program's."""

ARGON2_MEMORY_KIB = 256 * 1024
ARGON2_ITERATIONS = 3
ARGON2_LANES = 4
KEY_LENGTH = 32
NONCE_LENGTH = 12
ID_LENGTH = 16

ON_DEMAND_SPACES = frozenset({"revoked"})
"""Spaces that grow with a channel's age: read by key, never as a whole."""


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
        except OSError:
            self._file.close()
            raise StoreError(
                "This wallet is already open in another Leyden. Close that one first, or use its window."
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


def _derive(password: str, salt: bytes) -> bytes:
    kdf = Argon2id(
        salt=salt,
        length=KEY_LENGTH,
        iterations=ARGON2_ITERATIONS,
        lanes=ARGON2_LANES,
        memory_cost=ARGON2_MEMORY_KIB,
    )
    return kdf.derive(password.encode())


class Store:
    """One wallet file, open for reading and writing.

    `write` threads: `submit` may be called from any thread (callers order themselves by the core's lock); `released`
    and `failed` are called on the writer thread.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, data_key: bytes, network: str) -> None:
        """Use `create` or `open`."""
        self.path = path
        self.network = network
        self._connection = connection
        self._aead = ChaCha20Poly1305(hashlib.sha256(b"leyden rows" + data_key).digest())
        self._id_hmac = hmac.new(hashlib.sha256(b"leyden keys" + data_key).digest(), digestmod=hashlib.sha256)
        self._data_key = data_key
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._queue: list[_Waiting] = []
        self._uncommitted: dict[tuple[str, bytes], bytes | None] = {}
        self._busy = False
        self._stopping = False
        self._failure: BaseException | None = None
        self.failed: Callable[[BaseException], None] = lambda error: None
        self.commits = 0
        self.rows_written = 0
        self._thread: threading.Thread | None = None

    # --- making and opening -----------------------------------------------------

    @classmethod
    def create(cls, path: Path, *, network: str, password: str) -> Store:
        """Makes a new wallet file, durable when it returns; raises `StoreError` if there is one already."""
        if path.exists():
            raise StoreError(f"There is already a wallet in {path.parent.name}: choose another name.")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        connection = cls._connect(path)
        try:
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
        except sqlite3.Error as error:
            connection.close()
            raise StoreError(f"The wallet file cannot be written: {error}. Is the disk full?") from None
        os.chmod(path, 0o600)
        return cls(path, connection, data_key, network)

    @classmethod
    def open(cls, path: Path, *, password: str) -> Store:
        """Opens a wallet file; raises `WrongPassword` or `StoreError`."""
        if not path.exists():
            raise StoreError(f"There is no wallet file at {path}.")
        connection = cls._connect(path)
        try:
            meta = cls._read_meta(connection)
            data_key = cls._read_key(meta, password)
        except sqlite3.Error as error:
            connection.close()
            raise StoreError(_damaged(path, str(error))) from None
        except StoreError:
            connection.close()
            raise
        return cls(path, connection, data_key, meta["network"].decode())

    @classmethod
    def is_encrypted(cls, path: Path) -> bool:
        """Whether a password is needed; raises `StoreError` if it is not a wallet file."""
        connection = cls._connect(path)
        try:
            return "key_salt" in cls._read_meta(connection)
        except sqlite3.Error as error:
            raise StoreError(_damaged(path, str(error))) from None
        finally:
            connection.close()

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA fullfsync=1")
        except sqlite3.Error as error:
            raise StoreError(_damaged(path, str(error))) from None
        return connection

    @staticmethod
    def _put_meta(connection: sqlite3.Connection, name: str, value: bytes) -> None:
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    @staticmethod
    def _read_meta(connection: sqlite3.Connection) -> dict[str, bytes]:
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise StoreError("This is not a Leyden wallet file.")
        meta = {name: bytes(value) for name, value in connection.execute("SELECT name, value FROM meta")}
        if int(meta.get("format", b"0")) > FORMAT_VERSION:
            raise StoreError("This wallet file was written by a newer Leyden. Update Leyden to open it.")
        return meta

    @classmethod
    def _write_key(cls, connection: sqlite3.Connection, data_key: bytes, password: str) -> None:
        connection.execute("DELETE FROM meta WHERE name IN ('key_salt', 'key_sealed', 'key_open')")
        if not password:
            cls._put_meta(connection, "key_open", data_key)
            return
        salt, nonce = os.urandom(16), os.urandom(NONCE_LENGTH)
        sealed = ChaCha20Poly1305(_derive(password, salt)).encrypt(nonce, data_key, b"leyden data key")
        cls._put_meta(connection, "key_salt", salt)
        cls._put_meta(connection, "key_sealed", nonce + sealed)

    @staticmethod
    def _read_key(meta: dict[str, bytes], password: str) -> bytes:
        if "key_open" in meta:
            return meta["key_open"]
        try:
            salt, sealed = meta["key_salt"], meta["key_sealed"]
            aead = ChaCha20Poly1305(_derive(password, salt))
            return aead.decrypt(sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], b"leyden data key")
        except KeyError:
            raise StoreError("The wallet file lacks its key: it is damaged.") from None
        except InvalidTag:
            raise WrongPassword(
                "This password does not open the wallet. Check capitals and keyboard layout."
            ) from None

    def password_matches(self, password: str) -> bool:
        """Whether the password opens this file; always so where there is none."""
        with self._lock:
            meta = self._read_meta(self._connection)
        try:
            return hmac.compare_digest(self._read_key(meta, password), self._data_key)
        except StoreError:
            return False

    def change_password(self, new_password: str) -> None:
        """Seals the data key under another password, durable when it returns."""
        with self._lock, _transaction(self._connection):
            self._write_key(self._connection, self._data_key, new_password)

    # --- sealing ------------------------------------------------------------------

    def _row_id(self, space: str, key: bytes) -> bytes:
        digest = self._id_hmac.copy()
        digest.update(space.encode() + b"\0" + key)
        return digest.digest()[:ID_LENGTH]

    def _seal(self, space: str, row_id: bytes, key: bytes, value: bytes) -> bytes:
        nonce = os.urandom(NONCE_LENGTH)
        plain = len(key).to_bytes(2, "big") + key + value
        return nonce + self._aead.encrypt(nonce, plain, space.encode() + row_id)

    def _unseal(self, space: str, row_id: bytes, sealed: bytes) -> tuple[bytes, bytes]:
        try:
            plain = self._aead.decrypt(sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], space.encode() + row_id)
        except (InvalidTag, ValueError):
            raise StoreError(_damaged(self.path, f"a row of {space} does not verify")) from None
        size = int.from_bytes(plain[:2], "big")
        return plain[2 : 2 + size], plain[2 + size :]

    # --- reading --------------------------------------------------------------------

    def rows(self, space: str) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of every committed row of a space, in key order; for the start, before
        anything is submitted."""
        if space in ON_DEMAND_SPACES:
            raise StoreError(f"{space} is read by key")
        with self._lock:
            found = self._connection.execute(
                "SELECT id, value FROM rows WHERE space = ?", (space,)
            ).fetchall()
        return iter(sorted(self._unseal(space, bytes(row_id), bytes(value)) for row_id, value in found))

    def read_row(self, space: str, key: bytes) -> bytes | None:
        """One row, whether its batch is committed yet or not."""
        with self._lock:
            if (space, key) in self._uncommitted:
                return self._uncommitted[space, key]
            row_id = self._row_id(space, key)
            found = self._connection.execute(
                "SELECT value FROM rows WHERE space = ? AND id = ?", (space, row_id)
            ).fetchone()
        return None if found is None else self._unseal(space, row_id, bytes(found[0]))[1]

    def read(self, key: bytes) -> bytes | None:
        """`chain.interfaces.RevokedStates`."""
        return self.read_row("revoked", key)

    # --- writing --------------------------------------------------------------------

    def start(self) -> None:
        """Starts the writer thread."""
        self._thread = threading.Thread(target=self._run, name="leyden-writer", daemon=True)
        self._thread.start()

    def submit(self, rows: Iterable[Row], released: Callable[[], None]) -> None:
        """Queues one batch; `released` is called when it is durable. Dropped after a failure."""
        batch = list(rows)
        with self._lock:
            if self._failure is not None:
                return
            if batch or self._queue or self._busy:
                for row in batch:
                    self._uncommitted[row.space, row.key] = row.value
                self._queue.append(_Waiting(batch, released))
                self._wake.notify()
                return
        released()

    def write_now(self, rows: Iterable[Row]) -> None:
        """Commits rows before it returns; for set-up, before the writer thread is started."""
        with self._lock:
            self._commit([_Waiting(list(rows), lambda: None)])

    def close(self) -> None:
        """Commits what waits, then closes the file."""
        with self._lock:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._queue and not self._stopping:
                    self._wake.wait()
                if not self._queue:
                    return
                batches, self._queue = self._queue, []
                self._busy = True
            try:
                self._commit(batches)
            except (sqlite3.Error, OSError) as error:
                with self._lock:
                    self._failure = error
                    self._queue.clear()
                self.failed(error)
                return
            with self._lock:
                self._forget(batches)
            for batch in batches:
                batch.released()
            # Only now may a batch without rows pass at once: it must not overtake those just released.
            with self._lock:
                self._busy = False

    def _commit(self, batches: list[_Waiting]) -> None:
        final: dict[tuple[str, bytes], bytes | None] = {}
        for batch in batches:
            for row in batch.rows:
                final[row.space, row.key] = row.value
        if not final:
            return
        put, gone = [], []
        for (space, key), value in final.items():
            row_id = self._row_id(space, key)
            if value is None:
                gone.append((space, row_id))
            else:
                put.append((space, row_id, self._seal(space, row_id, key, value)))
        with _transaction(self._connection):
            if put:
                self._connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", put)
            if gone:
                self._connection.executemany("DELETE FROM rows WHERE space = ? AND id = ?", gone)
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
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _damaged(path: Path, what: str) -> str:
    return (
        f"The wallet file {path.name} cannot be read ({what}). Do not delete it: keep a copy, and restore from your "
        "words and the channel backup."
    )
