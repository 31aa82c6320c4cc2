"""The channel backup as a file: sealed with a key from the seed, and rewritten at each change.

Theory of operation. A new file is written beside the old one, forced to disk, and takes its name; the folder is forced
to disk after it. It is written after the commit that changed the channels and before anything of that commit leaves,
so that a funding transaction is broadcast only when the backup that names its channel is durable. Where that cannot
be, the funding transaction is held back, the person is told, and both are tried again. The copy in a second folder
(`second_copy.py`) follows on a thread of its own: no commit waits for it.

A backup that is found where one is to be written is never lost: channels in it that the wallet does not know are
taken over (see `recovery.py`), and one that the wallet's words do not open keeps a name of its own.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.hashes import hkdf_sha256
from wallet.bitcoin.records import decode, encode
from wallet.bitcoin.tx import Txid
from wallet.i18n import _
from wallet.ln.channel_backup import ChannelBackup, ChannelBackups
from wallet.node.second_copy import SecondCopy
from wallet.node.store import sync_folder

__all__ = [
    "BACKUP_FILE",
    "BackupError",
    "BackupKeeper",
    "backup_name",
    "open_backup",
    "seal_backup",
    "write_durably",
]

BACKUP_FILE = "channels.backup"
MAGIC = b"LEYDENCB"
FORMAT_VERSION = 1
HEADER_LENGTH = len(MAGIC) + 1
NONCE_LENGTH = 12
MAX_BYTES = 16 * 1024 * 1024
KEY_SALT = b"leyden channel backup"


class BackupError(Exception):
    """A backup cannot be used: a sentence for a person."""


def _aead(bip39_seed: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(hkdf_sha256(KEY_SALT, bip39_seed, b"sealing", 32))


def backup_name(bip39_seed: bytes) -> str:
    """What tells this wallet's backup from others in a folder that strangers may see: it says nothing of the wallet,
    not its node id either."""
    return hkdf_sha256(KEY_SALT, bip39_seed, b"name", 8).hex()


def seal_backup(bip39_seed: bytes, backups: ChannelBackups) -> bytes:
    """A backup as it may lie anywhere: only the words open it."""
    header = MAGIC + bytes((FORMAT_VERSION,))
    nonce = os.urandom(NONCE_LENGTH)
    return header + nonce + _aead(bip39_seed).encrypt(nonce, encode(backups), header)


def open_backup(bip39_seed: bytes, data: bytes) -> ChannelBackups:
    """A backup of the wallet of this seed; raises `BackupError`."""
    header = data[:HEADER_LENGTH]
    if len(header) < HEADER_LENGTH or not header.startswith(MAGIC):
        raise BackupError(_("This is not a channel backup of Leyden."))
    if header[-1] > FORMAT_VERSION:
        raise BackupError(_("This channel backup was written by a newer Leyden. Update Leyden to use it."))
    nonce = data[HEADER_LENGTH : HEADER_LENGTH + NONCE_LENGTH]
    try:
        plain = _aead(bip39_seed).decrypt(nonce, data[HEADER_LENGTH + NONCE_LENGTH :], header)
        return decode(ChannelBackups, plain)
    except (InvalidTag, ValueError) as error:
        if isinstance(error, DecodeError):
            raise BackupError(
                _("This channel backup cannot be read ({why}): was it written by a newer Leyden?").format(
                    why=error
                )
            ) from None
        raise BackupError(
            _("These words do not open this channel backup: it is another wallet's, or it is damaged.")
        ) from None


def read_file(path: Path) -> bytes:
    """A backup's bytes; raises `OSError`, and `BackupError` for what cannot be one."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise BackupError(_("This is not a channel backup of Leyden: it is too large."))
    return data


def write_durably(path: Path, data: bytes) -> None:
    """Replaces a file by a whole new one, on disk when this returns; raises `OSError`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _why_not_written(path: Path, error: OSError) -> str:
    return _(
        "The channel backup could not be written to {folder} ({why}). Without it, a lost computer may cost you the "
        "coins in your channels."
    ).format(folder=path.parent, why=error.strerror or error)


class BackupKeeper:
    """Keeps the backup of one wallet written. `save` is called on one thread at a time, whichever it is; it never waits
    for the second folder.

    Attributes:
        path: the file beside the wallet's.
        problem: a sentence on the file that could not be written, empty when both are up to date or about to be.
        saved_at: when the file beside the wallet was last written; 0 before.
    """

    def __init__(
        self,
        bip39_seed: bytes,
        path: Path,
        second_name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seed = bip39_seed
        self._second_name = second_name
        self._clock = clock
        self._saved: tuple[ChannelBackup, ...] | None = None
        self._missing: frozenset[Txid] = frozenset()
        self._latest: ChannelBackups | None = None
        self._guard = threading.Lock()
        self._copies: dict[Path, SecondCopy] = {}
        self._copy: SecondCopy | None = None
        # Held for a moment only: no commit of the second folder's name waits for a disk.
        self._naming = threading.Lock()
        self._problem = ""
        self.path = path
        self.saved_at = 0

    # --- the second folder --------------------------------------------------------------

    def second_path(self, folder: str) -> Path:
        """The backup's name in another folder: of this wallet alone, whatever other wallets keep theirs there."""
        return Path(folder) / self._second_name

    def use_second(self, folder: str, *, is_known: bool = False) -> None:
        """Names a second folder, or none. Unless what lies there is known already, it is read first, and written over
        only after `take_second`."""
        with self._naming:
            old, self._copy = self._copy, None
            if folder:
                path = self.second_path(folder)
                # One for each folder: a thread that hangs there, and another, would write the same file.
                if path not in self._copies:
                    self._copies[path] = SecondCopy(
                        path, read=self.read, write=self._write, clock=self._clock
                    )
                self._copy = self._copies[path]
            if old is not None and old is not self._copy:
                old.close()
            if self._copy is not None:
                self._copy.open(self._latest, is_known=is_known)

    def take_second(
        self,
        take_over: Callable[[ChannelBackups | None], object],
        seconds: float,
        afterwards: Callable[[Callable[[], None]], object],
    ) -> bool:
        """Hands over what lay in the second folder once it is read, within an entry; False while it cannot be read. The
        file is written over only once `afterwards` makes its call, when the entry is durable."""
        copy = self._copy
        if copy is None:
            return True
        copy.wait(seconds)
        if copy.has_found:
            copy.take(take_over, afterwards)
            return True
        return False

    def wait_second(self, seconds: float) -> bool:
        """Until the second file is up to date, or found not to be; False where it does not answer."""
        copy = self._copy
        return copy is None or copy.wait(seconds)

    @property
    def has_found_second(self) -> bool:
        copy = self._copy
        return copy is not None and copy.has_found

    @property
    def second(self) -> Path | None:
        """The file in the folder that the person named, None without one."""
        copy = self._copy
        return None if copy is None else copy.path

    @property
    def second_problem(self) -> str:
        """As `problem`, of the second file alone."""
        copy = self._copy
        return "" if copy is None else copy.problem

    @property
    def second_saved_at(self) -> int:
        copy = self._copy
        return 0 if copy is None else copy.saved_at

    @property
    def problem(self) -> str:
        return self._problem or self.second_problem

    # --- reading and writing ------------------------------------------------------------

    def read(self, path: Path) -> ChannelBackups | None:
        """What lies where a backup is to be written; None for nothing of ours. What our words do not open is put
        aside under another name. Raises `OSError`."""
        try:
            return open_backup(self._seed, read_file(path))
        except FileNotFoundError:
            return None
        except BackupError:
            aside = path.with_name(f"{path.name}.{os.urandom(4).hex()}.old")
            path.rename(aside)
            return None

    def open(self, data: bytes) -> ChannelBackups:
        """A backup of this wallet; raises `BackupError`."""
        return open_backup(self._seed, data)

    def seal(self, backups: ChannelBackups) -> bytes:
        return seal_backup(self._seed, backups)

    def _write(self, path: Path, backups: ChannelBackups) -> None:
        write_durably(path, seal_backup(self._seed, backups))

    def save(self, backups: ChannelBackups) -> bool:
        """Writes what differs, durable when this returns; whether the file beside the wallet is up to date. The second
        file follows in its own time."""
        with self._guard:
            self._latest = backups
            if self._saved != backups.channels:
                try:
                    self._write(self.path, backups)
                except OSError as error:
                    self._problem = _why_not_written(self.path, error)
                else:
                    self._saved, self.saved_at, self._problem = backups.channels, backups.made_at, ""
            with self._naming:
                if self._copy is not None:
                    self._copy.put(backups)
            if self._saved == backups.channels:
                self._missing = frozenset()
                return True
            durable = {channel.funding_outpoint.txid for channel in self._saved or ()}
            fundings = {channel.funding_outpoint.txid for channel in backups.channels}
            self._missing = frozenset(fundings - durable)
            return False

    def save_again(self) -> bool:
        """Tries once more what could not be written, or is gone; whether the file beside the wallet had to be."""
        copy = self._copy
        if copy is not None:
            copy.begin()
        with self._guard:
            if self._saved is not None and not self.path.exists():
                self._saved = None
        if self._latest is None or self._saved == self._latest.channels:
            return False
        self.save(self._latest)
        return True

    def lacks(self, txid: Txid) -> bool:
        """Whether a transaction funds a channel that no durable backup names yet: it must not be broadcast."""
        return txid in self._missing
