"""The history of both layers, as front ends see it: an index that is kept up, items made on demand, each day's
balance.

Theory of operation. One line of the index stands for one item: when it was, what it is (bits that a filter compares),
how much, and the words that a search looks through. Lines of what may still change are kept sorted by time; what the
books changed is looked at again and nothing else. What is settled lies in the packed pages of `Ledger`, which are read
as they are. A refresh makes a new list and swaps it in, so that a reader needs no lock. Items, with all their
sentences, are made only for what is shown.

What the last two questions found is kept (`Found`), and the lines that came and went since are put into it. A question
to a long history is answered by a thread of the index (`find`): the window's thread neither searches nor sorts.

Opening and closing a channel moves one's own money: such an item has no amount, `moved_msat`, and its fee as the only
cost. What opened a channel, and what brings an output of a closed one home, is in `Ledger.moves`; a closing
transaction, and what spends one, is recognised by `Ledger.closings`. A commitment, which pays no address of ours, is an
item with a fee and nothing else: what was ours in the channel, less what the commitment leaves to us.

The balance of a day is today's, less what changed since: so the newest figures are the exact ones, and what the books
never saw (a fee that was earned, coins of before a restore) lies in the far past. What each day changed is kept as the
lines come and go.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from itertools import chain, compress
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from wallet.bitcoin.tx import txid_hex
from wallet.i18n import _
from wallet.node.api import (
    ActivityDirection,
    ActivityItem,
    ActivityKind,
    ActivityPage,
    ActivityQuery,
    ActivityStatus,
)
from wallet.node.core import SOON_SECONDS
from wallet.node.found import Found, Hit, keys_of
from wallet.node.pages import DONE, FAILED, IN, LIGHTNING, MOVED, ONCHAIN, OUT, PENDING, Page
from wallet.node.records import (
    ClosedChannelRecord,
    MoveKind,
    PaymentRecord,
    PaymentState,
    RequestRecord,
    RequestState,
)

if TYPE_CHECKING:
    from wallet.node.node import Node
    from wallet.onchain.accounting import OnchainEntry

__all__ = ["ActivityIndex"]

ANTI_REORG_BLOCKS = 6
_ID_PART = re.compile(r"(?:ln:|tx:)?[0-9a-f]{3,64}")
"""What may be a part of a payment hash or a transaction id."""
DAY_SECONDS: Final = 86_400

_KIND_BITS = {ActivityKind.LIGHTNING: LIGHTNING, ActivityKind.ONCHAIN: ONCHAIN}
_STATUS_BITS = {ActivityStatus.PENDING: PENDING, ActivityStatus.DONE: DONE, ActivityStatus.FAILED: FAILED}
_DIRECTION_BITS = {ActivityDirection.IN: IN, ActivityDirection.OUT: OUT, ActivityDirection.MOVED: MOVED}
ITEMS_AT_ONCE: Final = 256
"""Of which the records are in memory together."""
SHORT: Final = 2_000
"""A history of no more is searched on the spot: that takes a few milliseconds."""
CHANGES_KEPT: Final = 64
"""So many refreshes behind, an answer can still be brought up to date."""
MOST_CHANGED: Final = 2_048
"""With more lines that came and went, searching anew is as quick."""


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


class _Change(NamedTuple):
    """What one refresh took out of the lines in memory and put into them."""

    generation: int
    gone: tuple[_Line, ...]
    new: tuple[_Line, ...]


class _View(NamedTuple):
    """What a reader sees: lines of what is in memory, and pages, those that end last first.

    Attributes:
        changes: the last ones up to `generation`; none is missing between them.
    """

    lines: list[_Line]
    pages: tuple[Page, ...]
    generation: int = 0
    changes: tuple[_Change, ...] = ()

    @property
    def shown(self) -> int:
        return len(self.lines) + sum(page.shown for page in self.pages)


class _Sought(NamedTuple):
    """A question as lines are compared with it. Attributes: as of `Page.matching`."""

    bits: int
    wanted: str
    id_part: str
    named: frozenset[bytes]


class _GivenUp(Exception):
    """Nobody wants to know any more."""


class ActivityIndex:
    """Reading is for any thread. `wait`: whether a busy core is waited for. Who is told of each change need not: the
    index is brought up to date before he is told. Attributes: `generation` grows with each change."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._view = _View([], ())
        self._known_pages: tuple[dict[int, Page], dict[int, Page]] | None = None
        self._by_id: dict[str, _Line] = {}
        self._entries: dict[str, OnchainEntry] = {}
        self._commitments: dict[str, ClosedChannelRecord] = {}
        self._parties: dict[bytes, int] = {}
        self._days: dict[int, int] = {}
        self._version: tuple[int, int, int] | None = None
        self._found: tuple[Found, ...] = ()
        self._thread: ThreadPoolExecutor | None = None
        self._is_closed = False
        self._zone_seconds = 0

    @property
    def generation(self) -> int:
        return self._view.generation

    @property
    def _is_short(self) -> bool:
        return self._view.shown + len(self._node.ledger.dirty) <= SHORT

    def close(self) -> None:
        """No question is answered from now on."""
        self._is_closed = True
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    # --- items ------------------------------------------------------------------------

    def ids(self, query: ActivityQuery, *, wait: bool = True) -> Sequence[str]:
        """The ids of all that match, in the order that is asked for."""
        self.refresh(wait=wait)
        return self._answer(query, self._view, lambda: False).ids

    def find(self, query: ActivityQuery) -> Future[Sequence[str]]:
        """The same for a window's thread, which does not wait: done already where the history is short or the answer
        is known, else by a thread of the index. Who does not want to know any more cancels it."""
        found: Future[Sequence[str]] = Future()
        view = self._view
        if self._version == self._versions():
            known = self._known(query)
            if known is not None and known.generation == view.generation:
                found.set_result(known.ids)
                return found
        if self._is_closed:
            found.cancel()
        elif self._is_short:
            found.set_result(self.ids(query, wait=False))
        else:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="history")
            self._thread.submit(self._find, query, found)
        return found

    def _find(self, query: ActivityQuery, found: Future[Sequence[str]]) -> None:
        """On the thread of the index. `found` is never said to be running, so that it can be cancelled at any time."""
        if found.cancelled():
            return
        with contextlib.suppress(_GivenUp, InvalidStateError):
            try:
                self.refresh()
                ids = self._answer(query, self._view, found.cancelled).ids
            except _GivenUp:
                raise
            except Exception as error:
                found.set_exception(error)
            else:
                found.set_result(ids)

    def _known(self, query: ActivityQuery) -> Found | None:
        return next((found for found in self._found if found.query == query), None)

    def _answer(self, query: ActivityQuery, view: _View, is_given_up: Callable[[], bool]) -> Found:
        """On any thread. Raises `_GivenUp`."""
        before = self._known(query)
        if before is not None and before.generation >= view.generation:
            return before
        sought = self._sought(view, query)
        found = None
        if before is not None and before.named == sought.named:
            found = self._brought_up_to_date(before, view, sought)
        if found is None:
            keys = keys_of(query, self._matching(view.lines, (), query, sought))
            for page in view.pages:
                if is_given_up():
                    raise _GivenUp
                keys += keys_of(query, self._matching([], (page,), query, sought))
            found = Found.of(query, view.generation, sought.named, view.pages, keys)
        # Two threads may come by here at once: then one of the answers is not kept.
        self._found = (*[other for other in self._found if other.query != query][-1:], found)
        return found

    def _brought_up_to_date(self, before: Found, view: _View, sought: _Sought) -> Found | None:
        """None where too much has changed."""
        changes = [change for change in view.changes if change.generation > before.generation]
        if len(changes) != view.generation - before.generation:
            return None
        old, new = set(before.pages), set(view.pages)
        gone_pages, new_pages = old - new, new - old
        gone = sorted(line for change in changes for line in change.gone)
        came = sorted(line for change in changes for line in change.new)
        many = len(gone) + len(came) + sum(page.count for page in gone_pages | new_pages)
        if many > MOST_CHANGED:
            return None
        query = before.query
        # One line may come and go several times, or from memory into a page: what counts is the sum.
        times: Counter[tuple[int, int, str]] = Counter()
        times.update(keys_of(query, self._matching(came, tuple(new_pages), query, sought)))
        times.subtract(keys_of(query, self._matching(gone, tuple(gone_pages), query, sought)))
        return before.after(
            view.generation,
            view.pages,
            [key for key, count in times.items() if count < 0],
            [key for key, count in times.items() if count > 0],
        )

    def items(self, item_ids: Sequence[str], *, wait: bool = True) -> tuple[ActivityItem | None, ...]:
        """None for what is gone. What is on chain is as the index has it, so that no lock is needed for each item."""
        if any(not item_id.startswith("ln:") for item_id in item_ids):
            self.refresh(wait=wait)
        made: list[ActivityItem | None] = []
        ledger = self._node.ledger
        for first in range(0, len(item_ids), ITEMS_AT_ONCE):
            some = item_ids[first : first + ITEMS_AT_ONCE]
            keys = [bytes.fromhex(item_id[3:]) for item_id in some if item_id.startswith("ln:")]
            payments = ledger.payments.many(keys)
            requests = ledger.requests.many(key for key in keys if key not in payments)
            for item_id in some:
                if item_id.startswith("ln:"):
                    key = bytes.fromhex(item_id[3:])
                    found = self._lightning(item_id, payments.get(key), requests.get(key))
                    made.append(None if found is None else found[0])
                else:
                    shown = self._make(item_id)
                    made.append(None if shown is None else shown[0])
        return tuple(made)

    def each(self, query: ActivityQuery) -> Iterator[ActivityItem]:
        """All that match, with some hundred in memory at a time; not for a window's thread."""
        ids = self.ids(query)
        for first in range(0, len(ids), ITEMS_AT_ONCE):
            for item in self.items(ids[first : first + ITEMS_AT_ONCE]):
                if item is not None:
                    yield item

    def page(self, query: ActivityQuery, *, offset: int, limit: int, wait: bool = True) -> ActivityPage:
        """Takes the lock for a moment. The newest of all are found without looking at the others: the window asks
        for them at each change."""
        self.refresh(wait=wait)
        view = self._view
        if query == ActivityQuery():
            ids: Sequence[str] = _newest(view, offset + limit)
            total = view.shown
        else:
            ids = self.ids(query, wait=wait)
            total = len(ids)
        items = self.items(ids[offset : offset + limit], wait=wait)
        return ActivityPage(items=tuple(item for item in items if item), offset=offset, total=total)

    def _sought(self, view: _View, query: ActivityQuery) -> _Sought:
        bits = 0
        if query.kind is not None:
            bits |= _KIND_BITS[query.kind]
        if query.status is not None:
            bits |= _STATUS_BITS[query.status]
        if query.direction is not None:
            bits |= _DIRECTION_BITS[query.direction]
        wanted = query.text.strip().casefold()
        id_part = wanted if _ID_PART.fullmatch(wanted) else ""
        return _Sought(bits, wanted, id_part, self._named(view, wanted) if wanted else frozenset())

    def _matching(
        self, lines: list[_Line], pages: tuple[Page, ...], query: ActivityQuery, sought: _Sought
    ) -> list[Hit]:
        """Those of some lines, sorted by time, and of some pages that match, in no order."""
        since_at, until_at = query.since_at, query.until_at
        found = [
            (line.at, line.item_id, line.size_msat, line.fee_msat) for line in _hits(lines, query, sought)
        ]
        for page in pages:
            if (since_at is not None and page.last_at < since_at) or (
                until_at is not None and page.first_at >= until_at
            ):
                continue
            hits = page.matching(*sought)
            if since_at is not None and page.first_at < since_at:
                hits = [hit for hit in hits if hit[0] >= since_at]
            if until_at is not None and page.last_at >= until_at:
                hits = [hit for hit in hits if hit[0] < until_at]
            found += hits
        return found

    def _named(self, view: _View, wanted: str) -> frozenset[bytes]:
        """Nodes whose name has the words: names come and go with the graph, so they are asked for now."""
        alias_of = self._node.alias_of
        parties = set(self._parties).union(*(page.parties for page in view.pages))
        return frozenset(party for party in parties if party and wanted in alias_of(party).casefold())

    def _make(self, item_id: str) -> tuple[ActivityItem, bytes] | None:
        """The item and its other node; on any thread."""
        kind, _colon, rest = item_id.partition(":")
        ledger = self._node.ledger
        if kind == "ln":
            key = bytes.fromhex(rest)
            payment = ledger.payments.get(key)
            return self._lightning(item_id, payment, None if payment else ledger.requests.get(key))
        entry = self._entries.get(item_id)
        if entry is not None:
            return self._onchain_item(item_id, entry)
        closed = self._commitments.get(item_id)
        return None if closed is None else self._commitment_item(item_id, rest, closed)

    def _lightning(
        self, item_id: str, payment: PaymentRecord | None, request: RequestRecord | None
    ) -> tuple[ActivityItem, bytes] | None:
        if payment is not None:
            return self._payment_item(item_id, payment), payment.payee
        return None if request is None else (self._request_item(item_id, request), b"")

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

    def _commitment_item(
        self, item_id: str, txid: str, closed: ClosedChannelRecord
    ) -> tuple[ActivityItem, bytes]:
        """A commitment pays to the channel's keys: the on-chain funds do not know it, but its fee is gone."""
        node = self._node
        item = ActivityItem(
            item_id=item_id,
            kind=ActivityKind.ONCHAIN,
            amount_msat=0,
            fee_msat=closed.commitment_cost_msat or 0,
            at=closed.closed_at,
            status=ActivityStatus.DONE,
            status_text=_("Confirmed"),
            label=node.onchain.labels().get(txid) or _("Fee of closing the channel"),
            counterparty=node.alias_of(closed.counterparty_node_id),
            txid=txid,
            channel_id=closed.channel_id.hex(),
        )
        return item, closed.counterparty_node_id

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
        amount_sat, fee_msat, moved_sat, channel_id, party = self._moved(entry)
        item = ActivityItem(
            item_id=item_id,
            kind=ActivityKind.ONCHAIN,
            amount_msat=amount_sat * 1000,
            fee_msat=fee_msat,
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
        """(amount_sat, fee_msat, moved_sat, channel id, its peer) of a transaction."""
        ledger = self._node.ledger
        fee_sat = entry.fee_sat if entry.fee_sat is not None and entry.delta_sat < 0 else 0
        move = ledger.moves.get(entry.txid)
        if move is not None and move.kind is MoveKind.OPENING:
            # Whatever it paid besides is a payment.
            amount_sat = entry.delta_sat + fee_sat + move.moved_sat
            return amount_sat, fee_sat * 1000, move.moved_sat, move.channel_id, move.counterparty_node_id
        channel_id = move.channel_id if move is not None else ledger.closings.get(entry.txid, b"")
        cost_msat = 1000 * move.fee_sat if move is not None else 0
        if channel_id and move is None:
            cost_msat = self._closing_fee_msat(entry, channel_id)
        if not channel_id:
            parents = [
                ledger.closings.get(txin.prevout.txid, b"")
                for txin in entry.tx.inputs
                # What a close brought home is spent like any other coin.
                if not self._node.onchain.is_own_output(txin.prevout)
            ]
            channel_id = next((parent for parent in parents if parent), b"")
            cost_msat = 1000 * (entry.fee_sat or 0)
        if channel_id:
            closed = ledger.closed.get(channel_id)
            party = closed.counterparty_node_id if closed is not None else b""
            if entry.delta_sat <= 0:
                # Coins of ours paid for a claim: all of what they lost is its fee.
                return 0, -entry.delta_sat * 1000, 0, channel_id, party
            return 0, cost_msat, entry.delta_sat, channel_id, party
        amount_sat = entry.delta_sat + fee_sat
        # To an address of one's own: only the fee is gone.
        moved_sat = 0
        if amount_sat == 0:
            moved_sat = sum(
                out.value_sat for out in entry.tx.outputs if self._node.onchain.is_mine(out.script_pubkey)
            )
        return amount_sat, fee_sat * 1000, moved_sat, b"", b""

    def _closing_fee_msat(self, entry: OnchainEntry, channel_id: bytes) -> int:
        """BOLT 2 and 3: who opened the channel pays for closing it, and each side for the rest of its satoshi."""
        closed = self._node.ledger.closed[channel_id]
        if len(entry.tx.inputs) == 1 and closed.final_msat is not None:
            return max(0, closed.final_msat - 1000 * entry.delta_sat)
        if not closed.is_outbound or len(entry.tx.inputs) != 1:
            return 0
        return 1000 * max(0, closed.capacity_sat - sum(out.value_sat for out in entry.tx.outputs))

    # --- the index --------------------------------------------------------------------

    def refresh(self, *, wait: bool = True) -> None:
        """Looks again at what changed; nothing where nothing did. Who does not wait sees a long history as it was
        looked at last: he is told once it was looked at again."""
        if self._version == self._versions():
            return
        if wait:
            with self._lock, self._node.core.locked():
                self._look_again()
        elif self._is_short and self._lock.acquire(timeout=SOON_SECONDS):
            try:
                with self._node.core.locked_soon() as is_held:
                    if is_held:
                        self._look_again()
            finally:
                self._lock.release()

    def _look_again(self) -> None:
        """Within both locks."""
        version = self._versions()
        if version == self._version:
            return
        ledger = self._node.ledger
        dirty, ledger.dirty = ledger.dirty, set()
        lines = list(self._view.lines)
        if self._version is None:
            self._zone_seconds = time.localtime().tm_gmtoff
            dirty = {f"ln:{key.hex()}" for key in (*ledger.payments.live, *ledger.requests.live)}
        if self._version is None or version[1:] != self._version[1:]:
            dirty |= self._changed_entries(again=version[2] != (self._version or (0, 0, -1))[2])
        many = len(dirty) > 256
        gone, new = [], []
        for item_id in dirty:
            old, line = self._take(item_id, lines, many=many)
            if old is not None:
                gone.append(old)
            if line is not None:
                new.append(line)
        if many:
            lines = sorted(self._by_id.values())
        generation = self.generation + 1
        changes = (*self._view.changes[1 - CHANGES_KEPT :], _Change(generation, tuple(gone), tuple(new)))
        self._view = _View(lines, self._current_pages(), generation, _readable(changes))
        self._version = version

    def _current_pages(self) -> tuple[Page, ...]:
        """The pages of the books, with what came and went counted."""
        ledger = self._node.ledger
        now, before = (ledger.payments.pages, ledger.requests.pages), self._known_pages
        if before is not None and now[0] is before[0] and now[1] is before[1]:
            return self._view.pages
        self._known_pages = now
        pages = list(chain(now[0].values(), now[1].values()))
        old, new = set(self._view.pages), set(pages)
        for changed, times in ((old - new, -1), (new - old, 1)):
            for page in changed:
                for at, change_msat in page.changes():
                    day = (at + self._zone_seconds) // DAY_SECONDS
                    self._days[day] = self._days.get(day, 0) + times * change_msat
        return tuple(sorted(pages, key=lambda page: page.last_at, reverse=True))

    def _versions(self) -> tuple[int, int, int]:
        ledger = self._node.ledger
        return ledger.version, self._node.onchain.version, ledger.moves_version

    def _changed_entries(self, *, again: bool) -> set[str]:
        """Transactions that came, went or changed; `again`: all of them, for a channel gave them another meaning."""
        now = {f"tx:{txid_hex(entry.txid)}": entry for entry in self._node.onchain.history()}
        before, self._entries = self._entries, now
        if again:
            known, self._commitments = self._commitments, self._closed_by_commitment()
            return before.keys() | now.keys() | known.keys() | self._commitments.keys()
        gone = before.keys() - now.keys()
        return gone | {
            key
            for key, entry in now.items()
            if (old := before.get(key)) is not entry and (old is None or _differs(old, entry))
        }

    def _closed_by_commitment(self) -> dict[str, ClosedChannelRecord]:
        return {
            f"tx:{txid_hex(record.closing_txid)}": record
            for record in self._node.ledger.closed.values()
            if record.closing_txid is not None and record.commitment_cost_msat is not None
        }

    def _take(self, item_id: str, lines: list[_Line], *, many: bool) -> tuple[_Line | None, _Line | None]:
        """The line that was there, and the one that is."""
        old = self._by_id.pop(item_id, None)
        if old is not None:
            self._count(old, -1)
            if not many:
                del lines[bisect_left(lines, old)]
        made = self._make(item_id) if self._belongs(item_id) else None
        if made is None:
            return old, None
        line = _line(*made)
        self._by_id[item_id] = line
        self._count(line, 1)
        if not many:
            insort(lines, line)
        return old, line

    def _count(self, line: _Line, times: int) -> None:
        day = (line.at + self._zone_seconds) // DAY_SECONDS
        self._days[day] = self._days.get(day, 0) + times * line.change_msat
        left = self._parties.get(line.party, 0) + times
        if left:
            self._parties[line.party] = left
        else:
            self._parties.pop(line.party, None)

    def _belongs(self, item_id: str) -> bool:
        """Whether it has a line of its own. A request is no part of the history before it is paid, and what lies on
        the disk is in a page."""
        kind, _colon, rest = item_id.partition(":")
        if kind != "ln":
            return item_id in self._entries or item_id in self._commitments
        key = bytes.fromhex(rest)
        ledger = self._node.ledger
        if key in ledger.payments.live:
            return True
        request = ledger.requests.live.get(key)
        paid = request is not None and request.state in (RequestState.PAID, RequestState.HELD)
        return paid and key not in ledger.payments

    # --- the balance ------------------------------------------------------------------

    def each_change(self, since_at: int, total_sat: int) -> list[tuple[int, int]]:
        """(at, sat) from `since_at` on: the balance after each change. The first point is what there was before."""
        self.refresh()
        view = self._view
        lines, pages = view.lines, view.pages
        changes = [(line.at, line.change_msat) for line in lines[_place(lines, since_at) :]]
        for page in pages:
            if page.last_at >= since_at:
                changes += [change for change in page.changes() if change[0] >= since_at]
        changes.sort(key=itemgetter(0))
        balance_msat = total_sat * 1000 - sum(change_msat for _at, change_msat in changes)
        points = [(since_at, max(0, balance_msat) // 1000)]
        for at, change_msat in changes:
            if change_msat:
                balance_msat += change_msat
                points.append((at, max(0, balance_msat) // 1000))
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


def _readable(changes: tuple[_Change, ...]) -> tuple[_Change, ...]:
    """The last of them, as many as an answer is brought up to date with: more would only be kept."""
    left = MOST_CHANGED
    for place in range(len(changes) - 1, -1, -1):
        left -= len(changes[place].gone) + len(changes[place].new)
        if left < 0:
            return changes[place + 1 :]
    return changes


def _hits(lines: list[_Line], query: ActivityQuery, sought: _Sought) -> list[_Line]:
    """Those of the lines in memory that match."""
    bits, wanted, id_part, named = sought
    if query.since_at is not None or query.until_at is not None:
        first = 0 if query.since_at is None else _place(lines, query.since_at)
        last = len(lines) if query.until_at is None else _place(lines, query.until_at)
        lines = lines[first:last]
    if bits:
        lines = [line for line in lines if line[2] & bits == bits]
    if wanted:
        hits = [
            wanted in line.words or line.party in named or (id_part and id_part in line.item_id)
            for line in lines
        ]
        lines = list(compress(lines, hits))
    return lines


def _newest(view: _View, count: int) -> list[str]:
    """Ids of the newest, newest first; reads no more pages than it has to."""
    found = [(line.at, line.item_id) for line in view.lines[-count:]] if count else []
    for page in view.pages:
        if len(found) >= count and page.last_at < found[-count][0]:
            break
        found = sorted(chain(found, (line[:2] for line in page.matching(0, "", "", ()))))
        found = found[-count:] if count else []
    return [item_id for _at, item_id in reversed(found)]


def _place(lines: list[_Line], at: int) -> int:
    """Where the lines of that time begin."""
    return bisect_left(lines, at, key=lambda line: line.at)


def _differs(old: OnchainEntry, new: OnchainEntry) -> bool:
    """In what a line of the index has: confirmations are counted when it is shown."""
    return (old.height is None, old.at, old.delta_sat, old.fee_sat, old.label) != (
        new.height is None, new.at, new.delta_sat, new.fee_sat, new.label
    )  # fmt: skip
