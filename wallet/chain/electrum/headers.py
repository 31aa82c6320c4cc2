"""Our own chain of block headers: every server's word is measured against it.

Theory of operation. The chain starts at a checkpoint (resources/checkpoints) or, on networks without any,
at the genesis block. From there each header must build on the one before, carry the difficulty that the
rules of its network demand, prove its work, and be later than the median of the eleven before it. A branch
that leaves our chain and has more work replaces our headers from the fork on; one with as much or less is
refused as weaker, and the server that offered it is on another chain than we. A branch that leaves below
the start is a lie.

What the headers of each network are worth:

- mainnet: work that nobody can forge. Retargeting is checked in full from the last two checkpoints on.
- testnet4: the rules of BIP 94 (20-minute exception, first block of a period as the base, no time warp). Work
  there is cheap, so headers protect from mistakes more than from an attacker.
- signet: difficulty and work are checked, but that is little work; what makes a signet block valid is a
  signature in its coinbase, and that cannot be seen from headers. So on signet a server must be believed.
- regtest: no work to speak of, no retargeting.

Headers below the start are fetched when somebody asks for one (an old channel, an old transaction): a whole
difficulty period at once, proven by the checkpoint at its end.

The file holds 80 bytes a height, sparse below the start. It is a cache: whatever in it does not hold
together is cut off, and asked for again.
"""

from __future__ import annotations

import os
import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from wallet.bitcoin.address import Network
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.hashes import sha256d
from wallet.bitcoin.tx import BlockHash, BlockHeader, bits_from_target, hash_from_hex, target_from_bits
from wallet.i18n import _

__all__ = ["Connected", "HeaderChain", "HeaderError", "HeaderFault", "read_checkpoints"]

HEADER_BYTES = 80
PERIOD_BLOCKS = 2016
PERIOD_SECONDS = 14 * 24 * 60 * 60
MEDIAN_BLOCKS = 11
PERIODS_IN_MEMORY = 8
MIN_DIFFICULTY_AFTER_SECONDS = 20 * 60
"""BIP 94: a block that comes later than this after its parent has the lowest difficulty."""
MAX_TIMEWARP_SECONDS = 600
"""BIP 94: the first block of a period is at most this much earlier than its parent."""

_TIME_AND_BITS = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class _Rules:
    """What differs between networks.

    Attributes:
        limit_bits: the lowest difficulty, in compact form.
        retargets: whether the difficulty ever changes.
        bip94: testnet4's rules.
    """

    limit_bits: int
    retargets: bool = True
    bip94: bool = False

    @property
    def limit_target(self) -> int:
        return target_from_bits(self.limit_bits)


_RULES = {
    "mainnet": _Rules(0x1D00FFFF),
    "testnet4": _Rules(0x1D00FFFF, bip94=True),
    "signet": _Rules(0x1E0377AE),
    "regtest": _Rules(0x207FFFFF, retargets=False),
    "sandbox": _Rules(0x207FFFFF, retargets=False),
}


class HeaderFault(Enum):
    """Why headers were not taken.

    UNLINKED: the first does not build on ours: earlier ones are needed.
    WEAKER: they hold together, but ours have as much work or more.
    INVALID: they break a rule: whoever sent them is wrong or lies.
    """

    UNLINKED = auto()
    WEAKER = auto()
    INVALID = auto()


class HeaderError(Exception):
    """Headers were not taken.

    Attributes:
        fault: what to do about it.
        message: what is wrong, as a sentence about the server.
    """

    def __init__(self, fault: HeaderFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message


@dataclass(frozen=True, slots=True)
class Connected:
    """Headers were taken.

    Attributes:
        fork_height: the last height whose header stayed.
        height: the new tip's.
        replaced: how many of our headers left the best chain.
    """

    fork_height: int
    height: int
    replaced: int


def read_checkpoints(path: Path) -> tuple[BlockHash, ...]:
    """Reads a checkpoint file (its head describes the format); a missing one has none. DecodeError on
    nonsense."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as exc:
        raise DecodeError(f"The checkpoints in {path.name} cannot be read: {exc}.") from None
    return tuple(hash_from_hex(line) for line in map(str.strip, lines) if line and not line.startswith("#"))


class HeaderChain:
    """The best chain of headers known, in memory from `base_height` on, and in a file.

    Not thread-safe: it lives in the loop's thread.
    """

    def __init__(
        self, network: Network, path: Path | None = None, checkpoints: Sequence[BlockHash] = ()
    ) -> None:
        self._rules = _RULES[network.name]
        self._checkpoints = tuple(checkpoints)
        # The period between the last two checkpoints is proven by the last one; with it in hand the next
        # difficulty can be worked out.
        self.base_height = max(0, len(self._checkpoints) - 1) * PERIOD_BLOCKS
        self._genesis = network.genesis_header.serialize()
        self._raw = bytearray()
        self._hashes: list[BlockHash] = []
        self._index: dict[BlockHash, int] = {}
        self._periods: OrderedDict[int, bytes] = OrderedDict()
        self._work: dict[int, int] = {}
        self._path: Path | None = None
        if self.base_height == 0:
            self._append(self._genesis, network.genesis_header.hash)
        if path is not None:
            self._open(path)

    # --- reading ---

    @property
    def height(self) -> int:
        """Of the tip; one below the start while nothing is there yet."""
        return self.base_height + len(self._hashes) - 1

    @property
    def tip_hash(self) -> BlockHash:
        return self._hashes[-1] if self._hashes else self._base_parent()

    @property
    def is_empty(self) -> bool:
        """Whether not even the first header is there (only where there are checkpoints)."""
        return not self._hashes

    def tip(self) -> BlockHeader | None:
        return self.header(self.height)

    def raw(self, height: int) -> bytes | None:
        """The 80 bytes at that height of the best chain; None above the tip, and below the start where not
        fetched."""
        if height < 0 or height > self.height:
            return None
        if height >= self.base_height:
            offset = (height - self.base_height) * HEADER_BYTES
            return bytes(self._raw[offset : offset + HEADER_BYTES])
        if height == 0:
            return self._genesis
        period = self._period(height // PERIOD_BLOCKS)
        if period is None:
            return None
        offset = height % PERIOD_BLOCKS * HEADER_BYTES
        return period[offset : offset + HEADER_BYTES]

    def header(self, height: int) -> BlockHeader | None:
        raw = self.raw(height)
        return None if raw is None else BlockHeader.parse(raw)

    def hash_at(self, height: int) -> BlockHash | None:
        """The hash at that height of the best chain; None where it is not known."""
        if height > self.height or height < 0:
            return None
        if height >= self.base_height:
            return self._hashes[height - self.base_height]
        if (height + 1) % PERIOD_BLOCKS == 0:
            return self._checkpoints[height // PERIOD_BLOCKS]
        raw = self.raw(height)
        return None if raw is None else BlockHash(sha256d(raw))

    def contains(self, block_hash: BlockHash) -> bool:
        """Whether a block, of the part that is followed header by header, is in the best chain."""
        return block_hash in self._index

    def missing_period(self, height: int) -> int | None:
        """The first height of the period to fetch before the header at that height can be known; None if
        it is."""
        if 0 < height < self.base_height and self.raw(height) is None:
            return height // PERIOD_BLOCKS * PERIOD_BLOCKS
        return None

    # --- growing ---

    def connect(self, start_height: int, raws: Sequence[bytes]) -> Connected:
        """Takes headers that follow each other from `start_height` on; raises HeaderError where it does not.

        Those that we have already are skipped; what is left must build on our chain. The first ones,
        up to the last checkpoint, are taken only together.
        """
        skipped = 0
        for raw in raws:
            known = self.raw(start_height + skipped)
            if known is None or known != raw:
                break
            skipped += 1
        start_height += skipped
        raws = raws[skipped:]
        if not raws:
            return Connected(self.height, self.height, 0)
        if start_height < self.base_height or (start_height == 0):
            raise HeaderError(
                HeaderFault.INVALID, _("The server is on a chain that leaves ours below the checkpoint.")
            )
        if start_height <= self._checkpointed_height:
            # Up to the last checkpoint only the checkpoint itself proves anything: all of it, or nothing.
            if not self.is_empty or start_height + len(raws) <= self._checkpointed_height:
                raise HeaderError(
                    HeaderFault.INVALID, _("The server is on a chain that leaves ours below the checkpoint.")
                )
        at_base = start_height == self.base_height
        parent_hash = self._base_parent() if at_base else self.hash_at(start_height - 1)
        if parent_hash is None or raws[0][4:36] != parent_hash:
            if at_base:
                raise HeaderError(
                    HeaderFault.INVALID, _("The server is on a chain that does not pass the checkpoint.")
                )
            raise HeaderError(HeaderFault.UNLINKED, _("The server sent headers that do not build on ours."))
        hashes = self._validate(start_height, raws, parent_hash)
        fork_height = start_height - 1
        replaced = self.height - fork_height
        if replaced:
            theirs = sum(self._work_of(raw) for raw in raws)
            ours = sum(self._work_of(self._raw_at(height)) for height in range(start_height, self.height + 1))
            if theirs <= ours:
                raise HeaderError(
                    HeaderFault.WEAKER, _("The server follows a chain with less work than ours.")
                )
            self._truncate(fork_height)
        for raw, block_hash in zip(raws, hashes, strict=True):
            self._append(raw, block_hash)
        self._write(start_height, b"".join(raws), truncate=replaced > 0)
        return Connected(fork_height, self.height, replaced)

    def add_period(self, start_height: int, raws: Sequence[bytes]) -> None:
        """Takes a whole period below the start; the checkpoint at its end is the proof."""
        number = start_height // PERIOD_BLOCKS
        if start_height % PERIOD_BLOCKS or start_height >= self.base_height:
            raise HeaderError(HeaderFault.INVALID, _("The server was asked for something else."))
        period = b"".join(raws)
        if not self._is_period(number, period):
            raise HeaderError(
                HeaderFault.INVALID, _("The server sent old headers that do not lead to the checkpoint.")
            )
        self._keep_period(number, period)
        self._write(start_height, period, truncate=False)

    # --- the rules ---

    def _validate(self, start_height: int, raws: Sequence[bytes], parent_hash: BlockHash) -> list[BlockHash]:
        """The hashes of a branch that keeps every rule."""
        hashes: list[BlockHash] = []
        times_at = [
            self._time_and_bits(start_height - 1 - i, start_height, raws)[0]
            for i in range(MEDIAN_BLOCKS)
            if start_height - 1 - i >= self.base_height
        ][::-1]
        for i, raw in enumerate(raws):
            height = start_height + i
            if raw[4:36] != parent_hash:
                raise HeaderError(
                    HeaderFault.INVALID,
                    _("The server sent headers with a gap below height {height}.").format(height=height),
                )
            block_hash = BlockHash(sha256d(raw))
            time_at, bits = _TIME_AND_BITS.unpack_from(raw, 68)
            if height <= self._checkpointed_height:
                # Proven by the checkpoint at the end, which this branch reaches.
                if height == self._checkpointed_height and block_hash != self._checkpoints[-1]:
                    raise HeaderError(
                        HeaderFault.INVALID, _("The server is on a chain that does not pass the checkpoint.")
                    )
            else:
                expected_bits = self._expected_bits(height, time_at, start_height, raws)
                if bits != expected_bits:
                    raise HeaderError(
                        HeaderFault.INVALID,
                        _("The server sent a header of wrong difficulty at {height}.").format(height=height),
                    )
                if int.from_bytes(block_hash, "little") > target_from_bits(bits):
                    raise HeaderError(
                        HeaderFault.INVALID,
                        _("The server sent a header without its work at {height}.").format(height=height),
                    )
                if len(times_at) == MEDIAN_BLOCKS and time_at <= sorted(times_at)[MEDIAN_BLOCKS // 2]:
                    raise HeaderError(
                        HeaderFault.INVALID,
                        _("The server sent a header with a wrong time at {height}.").format(height=height),
                    )
                if self._rules.bip94 and height % PERIOD_BLOCKS == 0:
                    if time_at < times_at[-1] - MAX_TIMEWARP_SECONDS:
                        raise HeaderError(
                            HeaderFault.INVALID,
                            _("The server sent a header with a wrong time at {height}.").format(
                                height=height
                            ),
                        )
            times_at.append(time_at)
            if len(times_at) > MEDIAN_BLOCKS:
                del times_at[0]
            hashes.append(block_hash)
            parent_hash = block_hash
        return hashes

    def _expected_bits(self, height: int, time_at: int, start_height: int, raws: Sequence[bytes]) -> int:
        rules = self._rules
        if not rules.retargets:
            return rules.limit_bits
        parent_time_at, parent_bits = self._time_and_bits(height - 1, start_height, raws)
        if height % PERIOD_BLOCKS:
            if not rules.bip94:
                return parent_bits
            # BIP 94, 20-minute exception.
            if time_at > parent_time_at + MIN_DIFFICULTY_AFTER_SECONDS:
                return rules.limit_bits
            # Otherwise the difficulty of the last block that did not use the exception.
            walk = height - 1
            while walk % PERIOD_BLOCKS and parent_bits == rules.limit_bits:
                walk -= 1
                parent_bits = self._time_and_bits(walk, start_height, raws)[1]
            return parent_bits
        first_time_at, first_bits = self._time_and_bits(height - PERIOD_BLOCKS, start_height, raws)
        # The span is measured over 2015 intervals, as Bitcoin has done from the start.
        span_seconds = parent_time_at - first_time_at
        span_seconds = min(max(span_seconds, PERIOD_SECONDS // 4), PERIOD_SECONDS * 4)
        # BIP 94: the first block's difficulty is the base, because the last may have used the exception.
        base_bits = first_bits if rules.bip94 else parent_bits
        target = target_from_bits(base_bits) * span_seconds // PERIOD_SECONDS
        return bits_from_target(min(target, rules.limit_target))

    def _time_and_bits(self, height: int, start_height: int, raws: Sequence[bytes]) -> tuple[int, int]:
        """Of a header of the branch, or of ours below it."""
        raw = raws[height - start_height] if height >= start_height else self._raw_at(height)
        time_at, bits = _TIME_AND_BITS.unpack_from(raw, 68)
        return time_at, bits

    def _work_of(self, raw: bytes) -> int:
        _, bits = _TIME_AND_BITS.unpack_from(raw, 68)
        work = self._work.get(bits)
        if work is None:
            target = target_from_bits(bits)
            work = self._work[bits] = (1 << 256) // (target + 1) if target else 0
        return work

    # --- what is kept ---

    @property
    def _checkpointed_height(self) -> int:
        return len(self._checkpoints) * PERIOD_BLOCKS - 1

    def _base_parent(self) -> BlockHash:
        """The hash that the first header must build on."""
        if self.base_height == 0:
            return BlockHash(bytes(32))
        return self._checkpoints[self.base_height // PERIOD_BLOCKS - 1]

    def _raw_at(self, height: int) -> bytes:
        raw = self.raw(height)
        if raw is None:
            raise HeaderError(
                HeaderFault.UNLINKED, _("The server sent headers whose parents we do not have.")
            )
        return raw

    def _append(self, raw: bytes, block_hash: BlockHash) -> None:
        self._index[block_hash] = self.base_height + len(self._hashes)
        self._raw += raw
        self._hashes.append(block_hash)

    def _truncate(self, height: int) -> None:
        keep = height - self.base_height + 1
        for block_hash in self._hashes[keep:]:
            self._index.pop(block_hash, None)
        del self._hashes[keep:]
        del self._raw[keep * HEADER_BYTES :]

    def _is_period(self, number: int, raw: bytes) -> bool:
        """Whether these are the headers between two checkpoints."""
        if len(raw) != PERIOD_BLOCKS * HEADER_BYTES or number >= len(self._checkpoints):
            return False
        parent: bytes = self._checkpoints[number - 1] if number else bytes(32)
        for offset in range(0, len(raw), HEADER_BYTES):
            if raw[offset + 4 : offset + 36] != parent:
                return False
            parent = sha256d(raw[offset : offset + HEADER_BYTES])
        return parent == self._checkpoints[number]

    def _keep_period(self, number: int, raw: bytes) -> None:
        """A few in memory; without a file all of them, as nothing else has them."""
        self._periods[number] = raw
        self._periods.move_to_end(number)
        while self._path is not None and len(self._periods) > PERIODS_IN_MEMORY:
            self._periods.popitem(last=False)

    def _period(self, number: int) -> bytes | None:
        """The headers of a period below the start, from memory or from the file."""
        raw = self._periods.get(number)
        if raw is None and self._path is not None:
            try:
                with self._path.open("rb") as file:
                    file.seek(number * PERIOD_BLOCKS * HEADER_BYTES)
                    raw = file.read(PERIOD_BLOCKS * HEADER_BYTES)
            except OSError:
                return None
            if not self._is_period(number, raw):
                return None
            self._keep_period(number, raw)
        return raw

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            with path.open("rb") as file:
                file.seek(self.base_height * HEADER_BYTES)
                stored = file.read()
        except OSError:
            # Without the file the headers are fetched again at each start; nothing else is lost.
            return
        raws = [
            stored[i : i + HEADER_BYTES]
            for i in range(0, len(stored) - HEADER_BYTES + 1, HEADER_BYTES)
        ]  # fmt: skip
        taken = 0
        # In portions: a damaged header costs what is behind it, not what is before.
        for start in range(0, len(raws), PERIOD_BLOCKS):
            portion = raws[start : start + PERIOD_BLOCKS]
            try:
                self.connect(self.base_height + start, portion)
            except HeaderError:
                taken += self._take_singly(self.base_height + start, portion)
                break
            taken += len(portion)
        self._path = path
        self._write(self.height + 1, b"", truncate=True)
        if self.base_height == 0:
            self._write(0, self._genesis, truncate=False)

    def _take_singly(self, start_height: int, raws: Sequence[bytes]) -> int:
        taken = 0
        for raw in raws:
            try:
                self.connect(start_height + taken, [raw])
            except HeaderError:
                break
            taken += 1
        return taken

    def _write(self, start_height: int, data: bytes, *, truncate: bool) -> None:
        if self._path is None:
            return
        try:
            with self._path.open("r+b") as file:
                file.seek(start_height * HEADER_BYTES)
                if truncate:
                    file.truncate()
                file.write(data)
        except OSError:
            # A full disk: go on in memory.
            self._path = None
