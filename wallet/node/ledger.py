"""The node's books: payments, requests, peers and closed channels, in memory and in rows.

Each change is written with the batch of the entry that caused it. Lookups are by payment hash, node id or channel
id; what changed since the front ends were last told is collected in `changed`.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from wallet.chain.interfaces import Persist, Row
from wallet.node.records import (
    ChannelStatRecord,
    ClosedChannelRecord,
    MoveRecord,
    PaymentRecord,
    PeerRecord,
    RequestRecord,
    SettingRecord,
    row,
    unpack,
)

__all__ = ["Changed", "Ledger"]

PAYMENT_SPACE = "node_payment"
REQUEST_SPACE = "node_request"
PEER_SPACE = "node_peer"
CLOSED_SPACE = "node_closed_channel"
STAT_SPACE = "node_channel_stat"
SETTING_SPACE = "node_setting"
MOVE_SPACE = "node_move"


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

    def __init__(self, persist: Persist) -> None:
        self._persist = persist
        self.payments: dict[bytes, PaymentRecord] = {}
        self.requests: dict[bytes, RequestRecord] = {}
        self._by_time: list[tuple[int, int, bytes]] = []
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
        self.payments = {key: unpack(PaymentRecord, value) for key, value in rows(PAYMENT_SPACE)}
        self.requests = {key: unpack(RequestRecord, value) for key, value in rows(REQUEST_SPACE)}
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
        self.payments[record.payment_hash] = record
        self._persist.write((row(PAYMENT_SPACE, record.payment_hash, record),))
        self._touch(f"ln:{record.payment_hash.hex()}")

    def put_request(self, record: RequestRecord) -> None:
        known = self.requests.get(record.request_id)
        self.requests[record.request_id] = record
        if known is None:
            insort(self._by_time, (record.created_at, -len(self._by_time), record.request_id))
        elif known.created_at != record.created_at:
            self._order_requests()
        self._persist.write((row(REQUEST_SPACE, record.request_id, record),))
        self.changed.requests.add(record.request_id.hex())
        self._touch(f"ln:{record.request_id.hex()}")

    def newest_requests(self, count: int) -> list[RequestRecord]:
        """Newest first; of those of one second, the first to be made first. It takes the same time however many there
        are: the window asks for them many times a second."""
        return [self.requests[key] for _at, _place, key in reversed(self._by_time[-count:])]

    def _order_requests(self) -> None:
        self._by_time = sorted(
            (record.created_at, -place, key) for place, (key, record) in enumerate(self.requests.items())
        )

    def put_peer(self, record: PeerRecord) -> None:
        self.peers[record.node_id] = record
        self._persist.write((row(PEER_SPACE, record.node_id, record),))

    def forget_peer(self, node_id: bytes) -> None:
        if self.peers.pop(node_id, None) is not None:
            self._persist.write((Row(PEER_SPACE, node_id, None),))

    def put_closed(self, record: ClosedChannelRecord) -> None:
        before = self.closed.get(record.channel_id)
        self.closed[record.channel_id] = record
        self._persist.write((row(CLOSED_SPACE, record.channel_id, record),))
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
