"""The channel backup as a file: sealed with a key from the seed, and rewritten at each change.

Theory of operation. A new file is written beside the old one, forced to disk, and takes its name; the folder is forced
to disk after it. It is written after the commit that changed the channels and before anything of that commit leaves,
so that a funding transaction is broadcast only when the backup that names its channel is durable. Where that cannot
be, the funding transaction is held back, the person is told, and both are tried again.

A backup that is found where one is to be written is never lost: channels in it that the wallet does not know are
taken over (see `recovery.py`), and one that the wallet's words do not open keeps a name of its own.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.hashes import hkdf_sha256
from wallet.bitcoin.records import decode, encode
from wallet.bitcoin.tx import Txid
from wallet.i18n import _
from wallet.ln.channel_backup import ChannelBackup, ChannelBackups
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


class BackupKeeper:
    """Keeps the backup of one wallet written. `save` is called on one thread at a time, whichever it is.

    Attributes:
        path: the file beside the wallet's.
        second: the file in the folder that the person named, None without one.
        problem: a sentence on the file that could not be written, empty when both are up to date.
        second_problem: the same for the second file alone.
        saved_at, second_saved_at: when each file was last written; 0 before.
    """

    def __init__(self, bip39_seed: bytes, path: Path, second_name: str) -> None:
        self._seed = bip39_seed
        self._second_name = second_name
        self._saved: dict[Path, tuple[ChannelBackup, ...]] = {}
        self._missing: frozenset[Txid] = frozenset()
        self._latest: ChannelBackups | None = None
        self._guard = threading.Lock()
        self.path = path
        self.second: Path | None = None
        self.problem = self.second_problem = ""
        self.saved_at = self.second_saved_at = 0

    def second_path(self, folder: str) -> Path:
        """The backup's name in another folder: of this wallet alone, whatever other wallets keep theirs there."""
        return Path(folder) / self._second_name

    def use_second(self, folder: str) -> None:
        """Names a second folder, or none; the next `save` writes there."""
        self.second = self.second_path(folder) if folder else None
        self.second_problem, self.second_saved_at = "", 0
        if self.second is not None:
            # Whatever lies there, it is written anew.
            self._saved.pop(self.second, None)

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

    def save(self, backups: ChannelBackups) -> bool:
        """Writes what differs, durable when this returns; whether the file beside the wallet is up to date."""
        with self._guard:
            self._latest = backups
            problems = []
            second, second_problem = self.second, ""
            for path in (self.path, second):
                if path is None or self._saved.get(path) == backups.channels:
                    continue
                try:
                    write_durably(path, seal_backup(self._seed, backups))
                except OSError as error:
                    sentence = _(
                        "The channel backup could not be written to {folder} ({why}). Without it, a lost "
                        "computer may cost you the coins in your channels."
                    ).format(folder=path.parent, why=error.strerror or error)
                    problems.append(sentence)
                    if path == second:
                        second_problem = sentence
                else:
                    self._saved[path] = backups.channels
                    if path == second:
                        self.second_saved_at = backups.made_at
                    else:
                        self.saved_at = backups.made_at
            self.problem = problems[0] if problems else ""
            self.second_problem = second_problem
            saved = self._saved.get(self.path, ())
            if saved == backups.channels and self.path in self._saved:
                self._missing = frozenset()
                return True
            durable = {channel.funding_outpoint.txid for channel in saved}
            fundings = {channel.funding_outpoint.txid for channel in backups.channels}
            self._missing = frozenset(fundings - durable)
            return False

    def save_again(self) -> bool:
        """Tries once more what could not be written, or is gone; whether something had to be."""
        with self._guard:
            gone = [path for path in self._saved if path in (self.path, self.second) and not path.exists()]
            for path in gone:
                del self._saved[path]
        if not (self.problem or gone) or self._latest is None:
            return False
        self.save(self._latest)
        return True

    def lacks(self, txid: Txid) -> bool:
        """Whether a transaction funds a channel that no durable backup names yet: it must not be broadcast."""
        return txid in self._missing
