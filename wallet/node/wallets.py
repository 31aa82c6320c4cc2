"""Wallets as files: names, words, and the making of a new one. Light: it needs neither the core nor a loop.

A wallet's words are one row of its file, in the space `SECRET_SPACE`; everything else of a new wallet follows from
them.
"""

from __future__ import annotations

import errno
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wallet.bitcoin import bip39
from wallet.bitcoin.errors import DecodeError
from wallet.chain.interfaces import Row
from wallet.i18n import _, ngettext
from wallet.node.api import CommandError, WordsReport
from wallet.node.generation import (
    ALLOWED,
    ASK_KEY,
    CONTACT_KEY,
    FORBIDDEN,
    LOST_CHANNEL_SPACE,
    RECOVERY_SPACE,
    SCAN_KEY,
    first_rows,
)
from wallet.node.store import Store, StoreError, WalletLock, WrongPassword

if TYPE_CHECKING:
    from pathlib import Path

    from wallet.ln.channel_backup import ChannelBackups
    from wallet.node.options import NodeOptions

__all__ = [
    "LOCK_FILE",
    "SECRET_SPACE",
    "WALLET_FILE",
    "WORDS_KEY",
    "Restored",
    "check_new_wallet",
    "check_password",
    "check_wallet_name",
    "check_words",
    "clean_words",
    "create_wallet_file",
    "folder_refused",
    "lock_wallet",
    "make_folder",
    "new_words",
    "read_backup",
]

SECRET_SPACE = "node_secret"
WORDS_KEY = b"words"
WALLET_FILE = "wallet.leyden"
LOCK_FILE = "lock"
MAX_NAME = 100
ENTROPY_BYTES = {12: 16, 24: 32}
ELECTRUM_SEED_VERSIONS = ("01", "100", "101", "102")
AEZEED_FIRST_WORDS = frozenset(bip39.ENGLISH[:8])
"""LND's words begin with a version byte of 0: their first eleven bits are below 8."""
_WORD_SET = frozenset(bip39.ENGLISH)


def check_wallet_name(name: str) -> None:
    """Raises `CommandError` for a name that cannot be a folder of its own, on any system."""
    if not name or name.startswith(".") or len(name) > MAX_NAME:
        raise CommandError(
            _("A wallet's name has 1 to {most} characters, and does not begin with a dot.").format(
                most=MAX_NAME
            ),
            code="usage",
        )
    if not name.isprintable() or any(c in '/\\:*?"<>|' for c in name):
        raise CommandError(
            _("A wallet's name has no slashes in it, nor any of : * ? \" < > | or invisible characters."),
            code="usage",
        )


def folder_refused(folder: Path, error: OSError) -> CommandError:
    """The system said no to one of our folders."""
    return CommandError(
        _(
            "The folder {folder} cannot be used: {why}. Choose another with -D, or see who may write there."
        ).format(folder=folder, why=error.strerror or error),
        code="folder",
    )


def make_folder(folder: Path) -> None:
    """Makes a folder, and those above it, for its owner alone; raises `OSError`."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def lock_wallet(options: NodeOptions) -> WalletLock:
    """Keeps others off the wallet; raises `CommandError`."""
    try:
        return WalletLock(options.wallet_dir / LOCK_FILE)
    except FileNotFoundError:
        raise CommandError(
            _("There is no wallet {name!r} here. `leyden create` makes one.").format(
                name=options.wallet_name
            ),
            code="unknown",
        ) from None
    except OSError as error:
        raise folder_refused(options.wallet_dir, error) from None
    except StoreError as error:
        raise CommandError(str(error), code="locked") from None


def _is_there(options: NodeOptions) -> bool:
    """Whether there is a file of this wallet; raises `CommandError` where nobody may look."""
    try:
        return options.wallet_file.exists()
    except OSError as error:
        raise folder_refused(options.wallet_dir, error) from None


def check_password(options: NodeOptions, password: str) -> None:
    """Raises `CommandError` unless the wallet is there, is of this network, and the password opens it."""
    check_wallet_name(options.wallet_name)
    if not _is_there(options):
        raise CommandError(
            _("There is no wallet {name!r} here. `leyden create` makes one.").format(
                name=options.wallet_name
            ),
            code="unknown",
        )
    try:
        network = Store.check(options.wallet_file, password=password)
    except WrongPassword as error:
        raise CommandError(str(error), code="password") from None
    except StoreError as error:
        raise CommandError(str(error), code="file") from None
    if network != options.network_name:
        raise CommandError(
            _("This wallet belongs to {other}, not to {network}.").format(
                other=network, network=options.network_name
            ),
            code="network",
        )


def check_new_wallet(options: NodeOptions) -> None:
    """Raises `CommandError` where no new wallet of this name can be."""
    check_wallet_name(options.wallet_name)
    if _is_there(options):
        raise CommandError(
            _(
                "There is a wallet {name!r} already. Choose another name with -w; it was left as it is."
            ).format(name=options.wallet_name),
            code="exists",
        )


def create_wallet_file(
    options: NodeOptions, words: Sequence[str], password: str, restored: Restored | None = None
) -> None:
    """Makes the wallet's folder and file, durable when it returns; raises `CommandError`."""
    # Said before the lock is asked for: the wallet may well be open.
    check_new_wallet(options)
    cleaned = clean_words(words)
    try:
        bip39.mnemonic_to_entropy(cleaned)
    except DecodeError as error:
        raise CommandError(str(error), code="words") from None
    try:
        make_folder(options.wallet_dir)
    except OSError as error:
        raise folder_refused(options.wallet_dir, error) from None
    lock = lock_wallet(options)
    try:
        rows = (Row(SECRET_SPACE, WORDS_KEY, " ".join(cleaned).encode()), *first_rows(options.network_dir))
        if restored is not None:
            rows += restored_rows(options, cleaned, restored)
        Store.create(options.wallet_file, network=options.network_name, password=password, rows=rows).close()
    except OSError as error:
        raise folder_refused(options.network_dir, error) from None
    except StoreError as error:
        raise CommandError(str(error), code="file") from None
    finally:
        lock.release()


# --- restoring -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a wallet is brought back from, beside its words.

    Attributes:
        backup: a channel backup's bytes, None without one.
        old_installation_stopped: the person has said that no other copy of the wallet is running, so that its peers
            may be called.
    """

    backup: bytes | None = None
    old_installation_stopped: bool = False


def read_backup(network_name: str, words: Sequence[str], data: bytes) -> ChannelBackups:
    """A channel backup of these words; raises `CommandError` for one of no use."""
    from wallet.node.backup import BackupError, open_backup

    try:
        backups = open_backup(bip39.seed_from_mnemonic(words), data)
    except BackupError as error:
        raise CommandError(str(error), code="backup") from None
    if backups.network != network_name:
        raise CommandError(
            _("This channel backup belongs to {other}, not to {network}.").format(
                other=backups.network, network=network_name
            ),
            code="network",
        )
    return backups


def restored_rows(options: NodeOptions, words: Sequence[str], restored: Restored) -> tuple[Row, ...]:
    """The rows by which a new file knows what to look for; raises `CommandError` for a backup of no use."""
    rows = [Row(RECOVERY_SPACE, SCAN_KEY, ALLOWED)]
    if not restored.old_installation_stopped:
        rows.append(Row(RECOVERY_SPACE, ASK_KEY, FORBIDDEN))
    if restored.backup is not None:
        from wallet.bitcoin.records import encode

        backups = read_backup(options.network_name, words, restored.backup)
        rows += [Row(LOST_CHANNEL_SPACE, item.channel_id, encode(item)) for item in backups.channels]
        if not restored.old_installation_stopped:
            rows.append(Row(RECOVERY_SPACE, CONTACT_KEY, FORBIDDEN))
    return tuple(rows)


# --- words -----------------------------------------------------------------------------


def new_words(count: int = 12) -> list[str]:
    """Fresh words for a new wallet: 12, or 24."""
    if count not in ENTROPY_BYTES:
        raise CommandError(_("A wallet has 12 or 24 words."), code="usage")
    return bip39.mnemonic_from_entropy(os.urandom(ENTROPY_BYTES[count])).split()


def clean_words(words: Sequence[str]) -> list[str]:
    """Words as they are typed, in the list's own writing: lower case, no blanks."""
    return [word.strip().lower() for word in words if word.strip()]


def check_words(words: Sequence[str]) -> WordsReport:
    """What a list of words is, and what it can bring back in Leyden."""
    cleaned = clean_words(words)
    wrong = tuple(index for index, word in enumerate(cleaned) if word not in _WORD_SET)
    if not cleaned:
        return WordsReport(kind="invalid", usable=False, message=_("Type your words, one after the other."))
    if _is_electrum_seed(cleaned):
        return WordsReport(
            kind="electrum",
            usable=False,
            message=_(
                "These are words of an Electrum wallet. Leyden derives its "
                "keys another way and cannot bring its coins back: "
                "open them in Electrum and send the coins here."
            ),
        )
    if len(cleaned) == 24 and not wrong and not _valid(cleaned) and cleaned[0] in AEZEED_FIRST_WORDS:
        return WordsReport(
            kind="aezeed",
            usable=False,
            message=_(
                "These look like words of an LND node. Leyden cannot restore that kind: sweep its coins with LND."
            ),
        )
    if wrong:
        positions = ", ".join(str(index + 1) for index in wrong[:5])
        return WordsReport(
            kind="invalid",
            usable=False,
            message=_("These words are not in the list: number {positions}. Check their spelling.").format(
                positions=positions
            ),
            wrong_words=wrong,
        )
    if len(cleaned) not in (12, 15, 18, 21, 24):
        return WordsReport(
            kind="invalid",
            usable=False,
            message=ngettext(
                "{count} word so far: a wallet has 12 or 24.",
                "{count} words so far: a wallet has 12 or 24.",
                len(cleaned),
            ).format(count=len(cleaned)),
        )
    if not _valid(cleaned):
        return WordsReport(
            kind="invalid",
            usable=False,
            message=_(
                "One of the words is not the right one, or two are swapped: their checksum does not fit."
            ),
        )
    return WordsReport(
        kind="leyden",
        usable=True,
        message=_(
            "These words bring back the on-chain coins, and what peers "
            "pay out of channels that they close. Open channels "
            "need the channel backup as well."
        ),
    )


def _valid(words: list[str]) -> bool:
    try:
        bip39.mnemonic_to_entropy(words)
    except DecodeError:
        return False
    return True


def _is_electrum_seed(words: list[str]) -> bool:
    """Electrum marks its seeds by an HMAC that begins with a version; a BIP39 seed does so by chance one time in 256,
    which is why a valid BIP39 checksum goes first."""
    if _valid(words) or len(words) < 12:
        return False
    digest = hmac.new(b"Seed version", " ".join(words).encode("utf-8", "replace"), "sha512").hexdigest()
    return digest.startswith(ELECTRUM_SEED_VERSIONS)
