"""The generation counter: finds out a wallet file that is older than another run has been, or comes from elsewhere.

Theory of operation. A wallet file holds an id and a generation, which every commit raises by one, in the same
transaction as what the commit changes. After the commit, and before anything of it leaves, the generation is written
outside the file as well: to an entry of the network's folder, named by the wallet's id. Whatever the program or the
computer dies of, the entry so never runs ahead of the file; a file that is behind its entry is an older copy, and one
without an entry has never run here. Both open restored: no commitment transaction of theirs may leave before the
channel's peer has shown that it is current, because it may be revoked, and the peer would take all of the channel.

An entry has two places, written in turn, each with a checksum: what is torn by a power cut is the older of the two. It
is forced to disk at each start, now and then, and at the end. A power cut may take it back to there; that does not
matter to the file itself, and only older copies of the moments in between would go unnoticed.

An entry that cannot be written is told to the person and keeps nobody from the coins.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.records import decode, encode
from wallet.chain.interfaces import Row
from wallet.i18n import _
from wallet.node.ledger import SETTING_SPACE
from wallet.node.orders import ORDER_SPACE, OrderRecord, OrderStep
from wallet.node.plans import PLAN_SETTING, PROBLEM_SETTING
from wallet.node.records import SettingRecord, row, unpack
from wallet.node.store import Store, StoreError, WalletLock, sync_folder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ALLOWED",
    "ASK_KEY",
    "CONTACT_KEY",
    "FORBIDDEN",
    "GENERATION_SPACE",
    "HELD_SPACE",
    "LOST_CHANNEL_SPACE",
    "RECOVERY_SPACE",
    "SCAN_KEY",
    "Generation",
    "Origin",
    "first_rows",
    "hold_everything",
]

FOLDER = "generations"
GENERATION_SPACE = "node_generation"
HELD_SPACE = "node_held"
"""Channels whose commitment must not leave: key, channel id."""
RECOVERY_SPACE = "node_recovery"
CONTACT_KEY = b"contact"
"""Whether old peers may be contacted: absent, yes."""
ASK_KEY = b"ask"
"""Whether peers may be asked to close channels that only a backup names: absent, yes."""
SCAN_KEY = b"scan"
"""The wallet was made of words that had been used before: what peers pay to them is looked for."""
FORBIDDEN = b"no"
ALLOWED = b"yes"
LOST_CHANNEL_SPACE = "lost_channel"
"""As `wallet.ln.lost_channels` names it; here, so that a new wallet can be made without the core."""
ID_LENGTH = 16
SLOT_LENGTH = 24
CHECK_LENGTH = SLOT_LENGTH - 8


class Origin(Enum):
    """What a wallet file turned out to be when it was opened."""

    CURRENT = 1
    """The one that ran here last, or a new one."""
    OLDER = 2
    """A copy: a newer state of the same wallet has run here."""
    FOREIGN = 3
    """It has never run here: it comes from another computer, or from another folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRecord:
    """What the file itself says."""

    wallet_id: bytes
    generation: int


class _Entry:
    """The counter outside of the file. Its methods raise `OSError`."""

    def __init__(self, folder: Path, wallet_id: bytes) -> None:
        self._wallet_id = wallet_id
        self.path = folder / FOLDER / wallet_id.hex()
        self._descriptor: int | None = None

    def read(self) -> int | None:
        """The highest whole generation; None where there is none."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        found = [
            generation
            for at in (0, SLOT_LENGTH)
            if (generation := self._parse(data[at : at + SLOT_LENGTH])) is not None
        ]
        return max(found, default=None)

    def create(self, generation: int) -> None:
        """Makes it, durable when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        try:
            with temporary.open("wb") as file:
                file.write(self._slot(generation) * 2)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(self.path.parent)
        sync_folder(self.path.parent.parent)

    def write(self, generation: int) -> None:
        """In place, so that a full disk does not matter; in the hands of the system when this returns."""
        descriptor = self._open()
        os.lseek(descriptor, SLOT_LENGTH * (generation % 2), os.SEEK_SET)
        os.write(descriptor, self._slot(generation))

    def sync(self) -> None:
        os.fsync(self._open())

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            # O_BINARY: Windows would change some bytes on their way.
            self._descriptor = os.open(self.path, os.O_WRONLY | getattr(os, "O_BINARY", 0))
        return self._descriptor

    def _slot(self, generation: int) -> bytes:
        number = generation.to_bytes(8, "big")
        return number + sha256(b"leyden generation" + self._wallet_id + number)[:CHECK_LENGTH]

    def _parse(self, slot: bytes) -> int | None:
        generation = int.from_bytes(slot[:8], "big")
        return generation if slot == self._slot(generation) else None


class Generation:
    """The counter of one open wallet; it follows each commit of the store until `close`.

    Attributes:
        origin: what the file turned out to be.
        problem: a sentence, when the entry cannot be written; empty otherwise.
    """

    def __init__(self, store: Store, entry: _Entry, record: GenerationRecord) -> None:
        """Use `take`."""
        self._store = store
        self._entry = entry
        self._record = record
        self._lock: WalletLock | None = None
        self._dirty = False
        self._closed = False
        self._guard = threading.Lock()
        self.origin = Origin.CURRENT
        self.problem = ""

    @classmethod
    def take(cls, folder: Path, store: Store) -> Generation:
        """Compares a file that was just opened with its entry in the network's `folder`, and raises both.

        What it finds out is durable in the file when this returns. Raises `StoreError` when the file cannot be
        written, or when another process has this wallet open under another name.
        """
        # As a whole: a row whose key is damaged would not be found by it.
        found = dict(store.rows(GENERATION_SPACE)).get(b"")
        if found is None:
            return cls._adopt(folder, store)
        try:
            record = decode(GenerationRecord, found)
        except DecodeError as error:
            raise StoreError(
                _("The wallet file cannot be read ({what}). Keep a copy of it.").format(what=error)
            ) from None
        entry = _Entry(folder, record.wallet_id)
        problem = ""
        try:
            outside = entry.read()
        except OSError as error:
            # It may be there: whether the file is current cannot be told, so it is not believed to be.
            outside, problem = None, _not_kept(error)
        origin = Origin.CURRENT
        if outside is None:
            origin = Origin.FOREIGN
        elif record.generation < outside:
            origin = Origin.OLDER
        made = cls(store, entry, record)
        made.origin, made.problem = origin, problem
        if outside is not None:
            made._take_lock()
        made._begin(outside)
        return made

    @classmethod
    def _adopt(cls, folder: Path, store: Store) -> Generation:
        """A file of a Leyden that did not count yet."""
        record = GenerationRecord(wallet_id=os.urandom(ID_LENGTH), generation=1)
        entry = _Entry(folder, record.wallet_id)
        made = cls(store, entry, record)
        try:
            entry.create(record.generation)
        except OSError as error:
            # Without an entry the file would be a stranger next time: it stays uncounted until there is one.
            made.problem = _not_kept(error)
            made._closed = True
            return made
        made._take_lock()
        made._begin(record.generation)
        return made

    def _begin(self, outside: int | None) -> None:
        """Raises both, the file first."""
        generation = max(self._record.generation, outside or 0) + 1
        self._record = GenerationRecord(wallet_id=self._record.wallet_id, generation=generation)
        rows = [self._row()]
        if self.origin is not Origin.CURRENT:
            rows += hold_everything(self._store, foreign=self.origin is Origin.FOREIGN)
        try:
            self._store.write_now(rows)
        except sqlite3.Error as error:
            self._let_go()
            raise StoreError(
                _("The wallet file {name} cannot be written ({why}). Is the disk full?").format(
                    name=self._store.path, why=error
                )
            ) from None
        try:
            if outside is None:
                self._entry.create(generation)
                self._take_lock()
            else:
                self._entry.write(generation)
                self._entry.sync()
        except OSError as error:
            self.problem = _not_kept(error)
        self._store.stamp = self._stamp
        self._store.stamped = self._stamped

    # --- with each commit, on whichever thread commits ---

    def _stamp(self) -> Row:
        record = self._record
        self._record = GenerationRecord(wallet_id=record.wallet_id, generation=record.generation + 1)
        return self._row()

    def _stamped(self) -> None:
        with self._guard:
            if self._closed:
                return
            try:
                self._entry.write(self._record.generation)
            except OSError as error:
                self.problem = _not_kept(error)
            else:
                self._dirty = True
                self.problem = ""

    def _row(self) -> Row:
        return Row(GENERATION_SPACE, b"", encode(self._record))

    # --- now and then ---

    def sync(self) -> None:
        """Forces the entry to disk, if it has moved. It waits for the disk: not for the loop."""
        with self._guard:
            if not self._dirty or self._closed:
                return
            try:
                self._entry.sync()
            except OSError as error:
                self.problem = _not_kept(error)
            else:
                self._dirty = False

    def close(self) -> None:
        """After the store was closed."""
        self.sync()
        with self._guard:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        self._entry.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _take_lock(self) -> None:
        """One process for all copies of a wallet; raises `StoreError` when there is another."""
        try:
            self._lock = WalletLock(self._entry.path.with_suffix(".lock"))
        except OSError as error:
            self.problem = _not_kept(error)


def first_rows(folder: Path) -> tuple[Row, ...]:
    """The rows of a new wallet file, whose entry is durable when this returns. Raises `OSError`."""
    record = GenerationRecord(wallet_id=os.urandom(ID_LENGTH), generation=1)
    _Entry(folder, record.wallet_id).create(record.generation)
    return (Row(GENERATION_SPACE, b"", encode(record)),)


def hold_everything(store: Store, *, foreign: bool) -> list[Row]:
    """The rows of restored mode: every channel of the file is held. A file from elsewhere may still run there:
    its peers are not contacted before the person has said that it does not."""
    rows = [Row(HELD_SPACE, key, b"\x01") for key, _value in store.rows("monitor")]
    plan = store.read_row(SETTING_SPACE, PLAN_SETTING.encode())
    if plan is not None and unpack(SettingRecord, plan).text:
        # Where the file comes from the channel may have been opened.
        sentence = _(
            "The planned channel was forgotten, because this wallet was restored: it may have been opened already. "
            "Plan it again if you still want it."
        )
        rows += [
            Row(SETTING_SPACE, PLAN_SETTING.encode(), None),
            row(SETTING_SPACE, PROBLEM_SETTING.encode(), SettingRecord(text=sentence)),
        ]
    orders = [unpack(OrderRecord, value) for _key, value in store.rows(ORDER_SPACE)]
    # Where the file comes from these may have been paid: coins to the same address would be lost.
    rows += [Row(ORDER_SPACE, order.local_id, None) for order in orders if order.step is OrderStep.OFFERED]
    if foreign and (rows or orders):
        # A channel that was bought meanwhile is not in this file either.
        rows.append(Row(RECOVERY_SPACE, CONTACT_KEY, FORBIDDEN))
    return rows


def _not_kept(error: OSError) -> str:
    return _(
        "Leyden cannot keep its note of how new the wallet file is ({why}). Never put an older copy of the file in "
        "its place: it could lose the coins in your channels."
    ).format(why=error.strerror or error)
