"""The node's books: payments, requests, peers and closed channels, in memory and in rows.

Each change is written with the batch of the entry that caused it. Lookups are by payment hash, node id or channel
id; what changed since the front ends were last told is collected in `changed`. Payments and requests that are settled
lie on the disk and are read when somebody asks (`wallet/node/shelf.py`).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from wallet.chain.interfaces import Persist, Row
from wallet.node.pages import DONE, FAILED, HIDDEN, IN, LIGHTNING, MOVED, OUT, Line
from wallet.node.records import (
    ChannelStatRecord,
    ClosedChannelRecord,
    MoveRecord,
    PaymentRecord,
    PaymentState,
    PeerRecord,
    RequestRecord,
    RequestState,
    SettingRecord,
    row,
    unpack,
)
from wallet.node.shelf import ReadRows, Shelf

__all__ = ["Changed", "Ledger"]

PAYMENT_SPACE = "node_payment"
REQUEST_SPACE = "node_request"
PEER_SPACE = "node_peer"
CLOSED_SPACE = "node_closed_channel"
STAT_SPACE = "node_channel_stat"
SETTING_SPACE = "node_setting"
MOVE_SPACE = "node_move"
SCRIPT_SPACE = "node_script_old"
"""By script: which request on the disk has its address, was paid over Lightning, and may be paid once more."""
EXPIRED_SECONDS: Final = 3_600
"""So long after its time a request that nobody paid stays in memory: what is on its way may still come."""


def _payment_line(record: PaymentRecord) -> Line:
    done = record.state is PaymentState.SUCCEEDED
    return Line(
        at=record.created_at,
        key=record.payment_hash,
        bits=LIGHTNING | (DONE if done else FAILED) | (OUT if record.amount_msat else MOVED),
        size_msat=record.amount_msat,
        fee_msat=record.fee_msat,
        other_seconds=(record.settled_at or record.created_at) - record.created_at,
        words=record.description.casefold(),
        party=record.payee,
    )


def _request_line(record: RequestRecord) -> Line:
    at = record.paid_at or record.created_at
    paid = record.state is RequestState.PAID
    return Line(
        at=at,
        key=record.request_id,
        bits=LIGHTNING | (DONE if paid else FAILED | HIDDEN) | (IN if record.received_msat else MOVED),
        size_msat=record.received_msat,
        fee_msat=0,
        other_seconds=record.created_at - at,
        words=record.message.casefold(),
        party=b"",
    )


def _no_rows(space: str, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
    return {}


@dataclass(slots=True)
class Changed:
    """What changed since it was last taken: item ids as the front ends know them."""

    activity: set[str] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)
    progress: dict[str, str] = field(default_factory=dict)


class Ledger:
    """All changes happen within an entry into the core.

    Attributes:
        closings: closing transaction to channel id. moves: see `MoveRecord`.
        moves_version: grows when a transaction got another meaning.
        dirty: ids of items whose place in the history has to be looked at again.
    """

    def __init__(
        self,
        persist: Persist,
        read_rows: ReadRows = _no_rows,
        script_of: Callable[[str], bytes] | None = None,
    ) -> None:
        """`read_rows`: those rows of a space that there are, by key; from any thread. `script_of`: of an address;
        without it, what comes to the address of a request on the disk is not noticed."""
        self._persist = persist
        self._read_rows = read_rows
        self._script_of = script_of
        self.payments = Shelf(
            PaymentRecord,
            PAYMENT_SPACE,
            persist=persist,
            read_rows=read_rows,
            key_of=lambda record: record.payment_hash,
            made_at=lambda record: record.created_at,
            is_settled=lambda record: record.state is not PaymentState.PENDING,
            line=_payment_line,
        )
        self.requests = Shelf(
            RequestRecord,
            REQUEST_SPACE,
            persist=persist,
            read_rows=read_rows,
            key_of=lambda record: record.request_id,
            made_at=lambda record: record.created_at,
            is_settled=lambda record: record.state in (RequestState.PAID, RequestState.CANCELLED),
            line=_request_line,
        )
        self._by_time: list[tuple[int, int, bytes]] = []
        self._requests_made = 0
        self.peers: dict[bytes, PeerRecord] = {}
        self.closed: dict[bytes, ClosedChannelRecord] = {}
        self.stats: dict[bytes, ChannelStatRecord] = {}
        self.settings: dict[str, str] = {}
        self.moves: dict[bytes, MoveRecord] = {}
        self.closings: dict[bytes, bytes] = {}
        self.changed = Changed()
        self.dirty: set[str] = set()
        self.version = 0
        self.moves_version = 0

    def read(self, rows: Callable[[str], Iterable[tuple[bytes, bytes]]]) -> None:
        """Takes up what is on disk."""
        self.payments.read(rows)
        self.requests.read(rows)
        self._order_requests()
        self.peers = {key: unpack(PeerRecord, value) for key, value in rows(PEER_SPACE)}
        self.closed = {key: unpack(ClosedChannelRecord, value) for key, value in rows(CLOSED_SPACE)}
        self.stats = {key: unpack(ChannelStatRecord, value) for key, value in rows(STAT_SPACE)}
        self.settings = {
            key.decode(): unpack(SettingRecord, value).text for key, value in rows(SETTING_SPACE)
        }

        self.moves = {key: unpack(MoveRecord, value) for key, value in rows(MOVE_SPACE)}
        self.closings = {
            record.closing_txid: record.channel_id
            for record in self.closed.values()
            if record.closing_txid is not None
        }

    def put_payment(self, record: PaymentRecord) -> None:
        if record.payment_hash not in self.payments.live:
            # What was paid to oneself is one item of the history: that is seen to where both are in memory.
            self._bring_back_requests((record.payment_hash,))
        self.payments.put(record)
        self._touch(f"ln:{record.payment_hash.hex()}")

    def put_request(self, record: RequestRecord) -> None:
        key = record.request_id
        known = self.requests.live.get(key)
        self.requests.put(record)
        if known is None:
            self._requests_made += 1
            insort(self._by_time, (record.created_at, -self._requests_made, key))
        elif known.created_at != record.created_at:
            self._order_requests()
        self.changed.requests.add(key.hex())
        self._touch(f"ln:{key.hex()}")

    def newest_requests(self, count: int) -> list[RequestRecord]:
        """Newest first, up to `KEPT`; of those of one second, the first to be made first. It takes the same time
        however many there are: the window asks for them many times a second."""
        found = (self.requests.get(key) for _at, _place, key in reversed(self._by_time[-count:]))
        return [record for record in found if record is not None]

    def _order_requests(self) -> None:
        live = self.requests.live
        self._requests_made = len(live)
        self._by_time = sorted(
            (record.created_at, -place, key) for place, (key, record) in enumerate(live.items())
        )

    # --- from memory to the disk and back -----------------------------------------------

    @property
    def has_old(self) -> bool:
        """Whether `put_away` has something to do."""
        return self.payments.is_due or self.requests.is_due

    def put_away(self) -> None:
        """Moves a page of what is settled to the disk; within an entry."""
        moved: list[bytes] = []
        if self.payments.is_due:
            moved += self.payments.put_away()
        if self.requests.is_due:
            payments = self.payments

            def shown_once(line: Line) -> Line:
                return line._replace(bits=line.bits | HIDDEN) if line.key in payments else line

            away = self.requests.put_away(shown_once)
            self._note_scripts(away)
            moved += away
            live = self.requests.live
            self._by_time = [entry for entry in self._by_time if entry[2] in live]
        if moved:
            self.version += 1
            self.dirty.update(f"ln:{key.hex()}" for key in moved)

    def _note_scripts(self, keys: Iterable[bytes]) -> None:
        """Coins may come to these requests' addresses for ever."""
        if self._script_of is None:
            return
        rows = [
            Row(SCRIPT_SPACE, self._script_of(record.address), key)
            for key, record in self.requests.many(keys).items()
            if record.address is not None and record.state is RequestState.PAID and record.paid_txid is None
        ]
        if rows:
            self._persist.write(rows)

    def bring_back_paid(self, scripts: Collection[bytes]) -> None:
        """Those requests that were paid over Lightning, and whose addresses these are, into memory; within an entry."""
        if self._script_of is None or len(self.requests) == len(self.requests.live):
            return
        found = self._read_rows(SCRIPT_SPACE, list(scripts))
        if found:
            self._bring_back_requests(found.values())
            # Written again when they leave, unless they were paid once more.
            self._persist.write([Row(SCRIPT_SPACE, script, None) for script in found])

    def note_expired(self, now_at: int) -> None:
        """Requests that nobody paid in time need not be in memory, but for addresses: those can be paid for ever."""
        expired = [
            key
            for key, record in self.requests.live.items()
            if record.state is RequestState.UNPAID
            and record.address is None
            and record.expires_at + EXPIRED_SECONDS < now_at
        ]
        self.requests.settle(expired)

    def bring_back(self, keys: Sequence[bytes]) -> None:
        """Many at once into memory, so that they can be changed one by one; within an entry."""
        back = self.payments.take_out(keys)
        self.dirty.update(f"ln:{key.hex()}" for key in back)
        self._bring_back_requests(keys)
        self.version += 1

    def _bring_back_requests(self, keys: Iterable[bytes]) -> None:
        back = self.requests.take_out(keys)
        if back:
            self._order_requests()
            self.version += 1
            self.dirty.update(f"ln:{key.hex()}" for key in back)

    def put_peer(self, record: PeerRecord) -> None:
        self.peers[record.node_id] = record
        self._persist.write((row(PEER_SPACE, record.node_id, record),))

    def put_closed(self, record: ClosedChannelRecord) -> None:
        before = self.closed.get(record.channel_id)
        self.closed[record.channel_id] = record
        self._persist.write((row(CLOSED_SPACE, record.channel_id, record),))
        if before is not None and before.commitment_cost_msat != record.commitment_cost_msat:
            self.moves_version += 1
        old_txid = before.closing_txid if before is not None else None
        if record.closing_txid != old_txid:
            if old_txid is not None:
                self.closings.pop(old_txid, None)
            if record.closing_txid is not None:
                self.closings[record.closing_txid] = record.channel_id
            self.moves_version += 1

    def put_move(self, txid: bytes, record: MoveRecord) -> None:
        if self.moves.get(txid) != record:
            self.moves[txid] = record
            self._persist.write((row(MOVE_SPACE, txid, record),))
            self.moves_version += 1

    def put_stat(self, channel_id: bytes, record: ChannelStatRecord) -> None:
        self.stats[channel_id] = record
        self._persist.write((row(STAT_SPACE, channel_id, record),))

    def put_setting(self, name: str, text: str) -> None:
        self.settings[name] = text
        self._persist.write((row(SETTING_SPACE, name.encode(), SettingRecord(text=text)),))

    def progress(self, payment_hash: bytes, sentence: str) -> None:
        """What a payment under way is doing; told to the front ends, never stored."""
        self.changed.progress[f"ln:{payment_hash.hex()}"] = sentence

    def onchain_changed(self, txid_hex: str) -> None:
        self._touch(f"tx:{txid_hex}")

    def take_changed(self) -> Changed:
        changed, self.changed = self.changed, Changed()
        return changed

    def _touch(self, item_id: str) -> None:
        self.version += 1
        self.changed.activity.add(item_id)
        self.dirty.add(item_id)
