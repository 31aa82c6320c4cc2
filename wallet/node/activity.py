"""The history of both layers, as front ends see it: an index that is kept up, items made on demand, each day's
balance.

Theory of operation. One line of the index stands for one item: when it was, what it is (bits that a filter compares),
how much, and the words that a search looks through. Lines are kept sorted by time; what the books changed is looked
at again and nothing else. A refresh makes a new list and swaps it in, so that a reader needs no lock. Items, with all
their sentences, are made only for what is shown.

Opening and closing a channel moves one's own money: such an item has no amount, `moved_msat`, and its fee as the only
cost. What opened a channel, and what brings an output of a closed one home, is in `Ledger.moves`; a closing
transaction, and what spends one, is recognised by `Ledger.closings`.

The balance of a day is today's, less what changed since: so the newest figures are the exact ones, and what the books
never saw (a fee that was earned, coins of before a restore) lies in the far past. What each day changed is kept as the
lines come and go.
"""

from __future__ import annotations

import re
import threading
import time
from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import compress
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from wallet.bitcoin.tx import OutPoint, txid_hex
from wallet.i18n import _
from wallet.node.api import (
    ActivityDirection,
    ActivityItem,
    ActivityKind,
    ActivityOrder,
    ActivityPage,
    ActivityQuery,
    ActivityStatus,
)
from wallet.node.records import MoveKind, PaymentRecord, PaymentState, RequestRecord, RequestState

if TYPE_CHECKING:
    from wallet.node.node import Node
    from wallet.onchain.accounting import OnchainEntry

__all__ = ["ActivityIndex"]

ANTI_REORG_BLOCKS = 6
_ID_PART = re.compile(r"(?:ln:|tx:)?[0-9a-f]{3,64}")
"""What may be a part of a payment hash or a transaction id."""
DAY_SECONDS: Final = 86_400

_KIND_BITS = {ActivityKind.LIGHTNING: 1, ActivityKind.ONCHAIN: 2}
_STATUS_BITS = {ActivityStatus.PENDING: 4, ActivityStatus.DONE: 8, ActivityStatus.FAILED: 16}
_DIRECTION_BITS = {ActivityDirection.IN: 32, ActivityDirection.OUT: 64, ActivityDirection.MOVED: 128}


class _Line(NamedTuple):
    """One item in short. Sorted by its first two fields.

    Attributes:
        bits: layer, state and direction. size_msat: without its sign. change_msat: what it changed in the balance.
        words: the label in small letters; a search looks through it, the id and the other node's name.
        party: the node whose name may be searched for.
    """

    at: int
    item_id: str
    bits: int
    size_msat: int
    fee_msat: int
    change_msat: int
    words: str
    party: bytes


def _line(item: ActivityItem, party: bytes) -> _Line:
    counts = item.status is not ActivityStatus.FAILED and not (
        # A held payment is not ours before it is settled.
        item.kind is ActivityKind.LIGHTNING and item.status is ActivityStatus.PENDING and item.amount_msat > 0
    )
    return _Line(
        at=item.at,
        item_id=item.item_id,
        bits=_KIND_BITS[item.kind] | _STATUS_BITS[item.status] | _DIRECTION_BITS[item.direction],
        size_msat=abs(item.amount_msat) or item.moved_msat,
        fee_msat=item.fee_msat,
        change_msat=item.amount_msat - item.fee_msat if counts else 0,
        words=item.label.casefold(),
        party=party,
    )


class ActivityIndex:
    """Reading is for any thread. Attributes: `generation` grows with each change."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._lines: list[_Line] = []
        self._by_id: dict[str, _Line] = {}
        self._entries: dict[str, OnchainEntry] = {}
        self._parties: dict[bytes, int] = {}
        self._days: dict[int, int] = {}
        self._version: tuple[int, int, int] | None = None
        self._found: tuple[tuple[int, ActivityQuery], Sequence[str]] | None = None
        self._zone_seconds = 0
        self.generation = 0

    # --- items ------------------------------------------------------------------------

    def ids(self, query: ActivityQuery) -> Sequence[str]:
        """The ids of all that match, in the order that is asked for."""
        self.refresh()
        key = (self.generation, query)
        found = self._found
        if found is not None and found[0] == key:
            return found[1]
        ids = tuple(map(itemgetter(1), self._matching(query)))
        self._found = (key, ids)
        return ids

    def items(self, item_ids: Sequence[str]) -> tuple[ActivityItem | None, ...]:
        return tuple(self.item(item_id) for item_id in item_ids)

    def page(self, query: ActivityQuery, *, offset: int, limit: int) -> ActivityPage:
        """Takes the lock for a moment."""
        ids = self.ids(query)
        items = self.items(ids[offset : offset + limit])
        return ActivityPage(items=tuple(item for item in items if item), offset=offset, total=len(ids))

    def _matching(self, query: ActivityQuery) -> list[_Line]:
        lines = self._lines
        if query.since_at is not None or query.until_at is not None:
            first = 0 if query.since_at is None else _place(lines, query.since_at)
            last = len(lines) if query.until_at is None else _place(lines, query.until_at)
            lines = lines[first:last]
        bits = 0
        if query.kind is not None:
            bits |= _KIND_BITS[query.kind]
        if query.status is not None:
            bits |= _STATUS_BITS[query.status]
        if query.direction is not None:
            bits |= _DIRECTION_BITS[query.direction]
        if bits:
            lines = [line for line in lines if line[2] & bits == bits]
        wanted = query.text.strip().casefold()
        if wanted:
            hits = [wanted in words for words in map(itemgetter(6), lines)]
            if _ID_PART.fullmatch(wanted):
                hits = [
                    hit or wanted in item_id
                    for hit, item_id in zip(hits, map(itemgetter(1), lines), strict=True)
                ]
            if named := self._named(wanted):
                hits = [
                    hit or party in named for hit, party in zip(hits, map(itemgetter(7), lines), strict=True)
                ]
            lines = list(compress(lines, hits))
        match query.order:
            case ActivityOrder.WHEN:
                return lines[::-1] if query.descending else list(lines)
            case ActivityOrder.AMOUNT:
                place = 3
            case ActivityOrder.FEE:
                place = 4
        return sorted(lines, key=itemgetter(place), reverse=query.descending)

    def _named(self, wanted: str) -> frozenset[bytes]:
        """Nodes whose name has the words: names come and go with the graph, so they are asked for now."""
        alias_of = self._node.alias_of
        return frozenset(
            party for party in list(self._parties) if party and wanted in alias_of(party).casefold()
        )

    def item(self, item_id: str) -> ActivityItem | None:
        if item_id.startswith("ln:"):
            made = self._make(item_id)
        else:
            with self._node.core.locked():
                made = self._make(item_id)
        return None if made is None else made[0]

    def _make(self, item_id: str) -> tuple[ActivityItem, bytes] | None:
        """The item and its other node; within the lock where it is on chain."""
        kind, _colon, rest = item_id.partition(":")
        ledger = self._node.ledger
        if kind == "ln":
            key = bytes.fromhex(rest)
            payment = ledger.payments.get(key)
            if payment is not None:
                return self._payment_item(item_id, payment), payment.payee
            request = ledger.requests.get(key)
            return None if request is None else (self._request_item(item_id, request), b"")
        entry = self._node.onchain.entry_by_hex(rest)
        return None if entry is None else self._onchain_item(item_id, entry)

    def _payment_item(self, item_id: str, record: PaymentRecord) -> ActivityItem:
        status, text = {
            PaymentState.PENDING: (ActivityStatus.PENDING, _("Under way")),
            PaymentState.SUCCEEDED: (ActivityStatus.DONE, _("Paid")),
            PaymentState.FAILED: (ActivityStatus.FAILED, record.failure),
        }[record.state]
        return ActivityItem(
            item_id=item_id,
            kind=ActivityKind.LIGHTNING,
            amount_msat=-record.amount_msat,
            fee_msat=record.fee_msat,
            at=record.created_at,
            status=status,
            status_text=text,
            label=record.description,
            counterparty=self._node.alias_of(record.payee),
            payment_hash=record.payment_hash.hex(),
            preimage=record.preimage.hex() if record.preimage is not None else None,
            invoice=record.invoice,
            attempts=record.attempts,
        )

    @staticmethod
    def _request_item(item_id: str, record: RequestRecord) -> ActivityItem:
        held = record.state is RequestState.HELD
        return ActivityItem(
            item_id=item_id,
            kind=ActivityKind.LIGHTNING,
            amount_msat=record.received_msat,
            fee_msat=0,
            at=record.paid_at or record.created_at,
            status=ActivityStatus.PENDING if held else ActivityStatus.DONE,
            status_text=_("Held: waiting for you to settle it") if held else _("Received"),
            label=record.message,
            payment_hash=record.request_id.hex(),
            preimage=record.preimage.hex() if record.preimage is not None else None,
            invoice=record.invoice,
        )

    def _onchain_item(self, item_id: str, entry: OnchainEntry) -> tuple[ActivityItem, bytes]:
        node = self._node
        depth = 0 if entry.height is None else max(0, node.best_height - entry.height + 1)
        if depth >= ANTI_REORG_BLOCKS:
            status, text = ActivityStatus.DONE, _("Confirmed")
        elif depth:
            status, text = (
                ActivityStatus.DONE,
                _("{count} of {need} confirmations").format(count=depth, need=ANTI_REORG_BLOCKS),
            )
        else:
            status, text = ActivityStatus.PENDING, _("Waiting for its first confirmation")
        amount_sat, fee_sat, moved_sat, channel_id, party = self._moved(entry)
        item = ActivityItem(
            item_id=item_id,
            kind=ActivityKind.ONCHAIN,
            amount_msat=amount_sat * 1000,
            fee_msat=fee_sat * 1000,
            at=entry.at,
            status=status,
            status_text=text,
            label=entry.label,
            counterparty=node.alias_of(party) if party else "",
            txid=txid_hex(entry.txid),
            height=entry.height,
            moved_msat=moved_sat * 1000,
            channel_id=channel_id.hex() if channel_id else None,
        )
        return item, party

    def _moved(self, entry: OnchainEntry) -> tuple[int, int, int, bytes, bytes]:
        """(amount_sat, fee_sat, moved_sat, channel id, its peer) of a transaction."""
        ledger = self._node.ledger
        fee_sat = entry.fee_sat if entry.fee_sat is not None and entry.delta_sat < 0 else 0
        move = ledger.moves.get(entry.txid)
        if move is not None and move.kind is MoveKind.OPENING:
            # Whatever it paid besides is a payment.
            amount_sat = entry.delta_sat + fee_sat + move.moved_sat
            return amount_sat, fee_sat, move.moved_sat, move.channel_id, move.counterparty_node_id
        channel_id = move.channel_id if move is not None else ledger.closings.get(entry.txid, b"")
        cost_sat = move.fee_sat if move is not None else 0
        if channel_id and move is None:
            cost_sat = self._closing_fee_sat(entry, channel_id)
        if not channel_id:
            parents = [
                ledger.closings.get(txin.prevout.txid, b"")
                for txin in entry.tx.inputs
                if not self._is_coin(txin.prevout)
            ]
            channel_id = next((parent for parent in parents if parent), b"")
            cost_sat = entry.fee_sat or 0
        if channel_id:
            closed = ledger.closed.get(channel_id)
            party = closed.counterparty_node_id if closed is not None else b""
            if entry.delta_sat <= 0:
                # Coins of ours paid for a claim: all of what they lost is its fee.
                return 0, -entry.delta_sat, 0, channel_id, party
            return 0, cost_sat, entry.delta_sat, channel_id, party
        amount_sat = entry.delta_sat + fee_sat
        # To an address of one's own: only the fee is gone.
        moved_sat = 0
        if amount_sat == 0:
            moved_sat = sum(
                out.value_sat for out in entry.tx.outputs if self._node.onchain.is_mine(out.script_pubkey)
            )
        return amount_sat, fee_sat, moved_sat, b"", b""

    def _is_coin(self, outpoint: OutPoint) -> bool:
        """Whether it paid to an address of ours: what a close brought home is spent like any other coin."""
        entry = self._node.onchain.entry(outpoint.txid)
        if entry is None or outpoint.vout >= len(entry.tx.outputs):
            return False
        return self._node.onchain.is_mine(entry.tx.outputs[outpoint.vout].script_pubkey)

    def _closing_fee_sat(self, entry: OnchainEntry, channel_id: bytes) -> int:
        """BOLT 2 and 3: who opened the channel pays for closing it."""
        closed = self._node.ledger.closed[channel_id]
        if not closed.is_outbound or len(entry.tx.inputs) != 1:
            return 0
        return max(0, closed.capacity_sat - sum(out.value_sat for out in entry.tx.outputs))

    # --- the index --------------------------------------------------------------------

    def refresh(self) -> None:
        """Looks again at what changed; nothing where nothing did."""
        node = self._node
        if self._version == self._versions():
            return
        with self._lock, node.core.locked():
            version = self._versions()
            if version == self._version:
                return
            ledger = node.ledger
            dirty, ledger.dirty = ledger.dirty, set()
            lines = list(self._lines)
            if self._version is None:
                self._zone_seconds = time.localtime().tm_gmtoff
                dirty = {f"ln:{key.hex()}" for key in (*ledger.payments, *ledger.requests)}
            if self._version is None or version[1:] != self._version[1:]:
                dirty |= self._changed_entries(again=version[2] != (self._version or (0, 0, -1))[2])
            many = len(dirty) > 256
            for item_id in dirty:
                self._take(item_id, lines, many=many)
            if many:
                lines = sorted(self._by_id.values())
            self._lines = lines
            self._version = version
            self.generation += 1

    def _versions(self) -> tuple[int, int, int]:
        ledger = self._node.ledger
        return ledger.version, self._node.onchain.version, ledger.moves_version

    def _changed_entries(self, *, again: bool) -> set[str]:
        """Transactions that came, went or changed; `again`: all of them, for a channel gave them another meaning."""
        now = {f"tx:{txid_hex(entry.txid)}": entry for entry in self._node.onchain.history()}
        before, self._entries = self._entries, now
        if again:
            return before.keys() | now.keys()
        gone = before.keys() - now.keys()
        return gone | {
            key
            for key, entry in now.items()
            if (old := before.get(key)) is not entry and (old is None or _differs(old, entry))
        }

    def _take(self, item_id: str, lines: list[_Line], *, many: bool) -> None:
        old = self._by_id.pop(item_id, None)
        if old is not None:
            self._count(old, -1)
            if not many:
                del lines[bisect_left(lines, old)]
        made = self._make(item_id) if self._belongs(item_id) else None
        if made is None:
            return
        line = _line(*made)
        self._by_id[item_id] = line
        self._count(line, 1)
        if not many:
            insort(lines, line)

    def _count(self, line: _Line, times: int) -> None:
        day = (line.at + self._zone_seconds) // DAY_SECONDS
        self._days[day] = self._days.get(day, 0) + times * line.change_msat
        left = self._parties.get(line.party, 0) + times
        if left:
            self._parties[line.party] = left
        else:
            self._parties.pop(line.party, None)

    def _belongs(self, item_id: str) -> bool:
        """A request is no part of the history before it is paid."""
        kind, _colon, rest = item_id.partition(":")
        if kind != "ln":
            return item_id in self._entries
        key = bytes.fromhex(rest)
        request = self._node.ledger.requests.get(key)
        paid = request is not None and request.state in (RequestState.PAID, RequestState.HELD)
        return paid or key in self._node.ledger.payments

    # --- the balance ------------------------------------------------------------------

    def each_change(self, since_at: int, total_sat: int) -> list[tuple[int, int]]:
        """(at, sat) from `since_at` on: the balance after each change. The first point is what there was before."""
        self.refresh()
        lines = self._lines[_place(self._lines, since_at) :]
        balance_msat = total_sat * 1000 - sum(line.change_msat for line in lines)
        points = [(since_at, max(0, balance_msat) // 1000)]
        for line in lines:
            if line.change_msat:
                balance_msat += line.change_msat
                points.append((line.at, max(0, balance_msat) // 1000))
        return points

    def each_day(self, since_at: int | None, total_sat: int) -> list[tuple[int, int]]:
        """(at, sat): the balance at the end of each day on which it changed."""
        self.refresh()
        days = sorted(item for item in self._days.items() if item[1])
        first_day = None if since_at is None else (since_at + self._zone_seconds) // DAY_SECONDS
        shown = [item for item in days if first_day is None or item[0] >= first_day]
        balance_msat = total_sat * 1000 - sum(change_msat for _day, change_msat in shown)
        points: list[tuple[int, int]] = []
        if since_at is not None:
            points.append((since_at, max(0, balance_msat) // 1000))
        for day, change_msat in shown:
            balance_msat += change_msat
            points.append((day * DAY_SECONDS - self._zone_seconds, max(0, balance_msat) // 1000))
        return points


def _place(lines: list[_Line], at: int) -> int:
    """Where the lines of that time begin."""
    return bisect_left(lines, at, key=lambda line: line.at)


def _differs(old: OnchainEntry, new: OnchainEntry) -> bool:
    """In what a line of the index has: confirmations are counted when it is shown."""
    return (old.height is None, old.at, old.delta_sat, old.fee_sat, old.label) != (
        new.height is None, new.at, new.delta_sat, new.fee_sat, new.label
    )  # fmt: skip
