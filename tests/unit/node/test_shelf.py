"""Settled payments and requests on the disk: found as if they were in memory, whatever happened in between, and at no
cost in memory that grows with the records."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wallet.bitcoin.errors import DecodeError
from wallet.chain.interfaces import Row
from wallet.node import shelf
from wallet.node.activity import ActivityIndex
from wallet.node.api import ActivityDirection, ActivityOrder, ActivityQuery, ActivityStatus
from wallet.node.ledger import EXPIRED_SECONDS, Ledger
from wallet.node.pages import DONE, LIGHTNING, OUT, KnownKeys, Line, LinePage, Page, pack
from wallet.node.records import PaymentRecord, PaymentState, RequestRecord, RequestState
from wallet.node.store import Store

START_AT = 1_700_000_000
PAYEES = [bytes([2]) + bytes([number]) * 32 for number in range(5)]
QUERIES = [
    ActivityQuery(),
    ActivityQuery(descending=False),
    ActivityQuery(text="note 1"),
    ActivityQuery(text="SHOP 3"),
    ActivityQuery(text="0a0"),
    ActivityQuery(text="ln:0"),
    ActivityQuery(text="ln:00000"),
    ActivityQuery(text="tx:000"),
    ActivityQuery(order=ActivityOrder.AMOUNT),
    ActivityQuery(order=ActivityOrder.AMOUNT, descending=False),
    ActivityQuery(order=ActivityOrder.FEE, status=ActivityStatus.DONE),
    ActivityQuery(status=ActivityStatus.FAILED),
    ActivityQuery(status=ActivityStatus.PENDING),
    ActivityQuery(direction=ActivityDirection.IN),
    ActivityQuery(direction=ActivityDirection.OUT, text="note"),
    ActivityQuery(since_at=START_AT + 600),
    ActivityQuery(since_at=START_AT + 600, until_at=START_AT + 1_800),
]


class Rows:
    """`Persist`, and the disk: what was written can be read at once."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[bytes, bytes]] = {}
        self.read_whole: dict[str, int] = {}

    def write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            space = self.rows.setdefault(row.space, {})
            if row.value is None:
                space.pop(row.key, None)
            else:
                space[row.key] = row.value

    def read(self, space: str) -> list[tuple[bytes, bytes]]:
        assert not space.endswith("_old"), "what is settled is read by key"
        found = sorted(self.rows.get(space, {}).items())
        self.read_whole[space] = len(found)
        return found

    def read_rows(self, space: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        there = self.rows.get(space, {})
        return {key: there[key] for key in keys if key in there}


class Books:
    """The part of a node that the index reads; no coins on chain."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.onchain = SimpleNamespace(version=0, history=lambda: ())
        self.core = SimpleNamespace(locked=self._locked)
        self.best_height = 100

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        yield

    def alias_of(self, node_id: bytes) -> str:
        return f"Shop {PAYEES.index(node_id)}" if node_id in PAYEES else ""


def index_of(ledger: Ledger) -> ActivityIndex:
    # They are what it reads of a node.
    return ActivityIndex(cast("Any", Books(ledger)))


def key_of(number: int) -> bytes:
    return (number * 2_654_435_761 % (1 << 32)).to_bytes(32, "big")


def payment(number: int, **changes: Any) -> PaymentRecord:
    record = PaymentRecord(
        payment_hash=key_of(number),
        amount_msat=1_000 * (number % 97 + 1),
        fee_msat=number % 7,
        created_at=START_AT + number * 60,
        settled_at=START_AT + number * 60 + 2,
        state=PaymentState.SUCCEEDED,
        invoice="lnbc" + "x" * 200,
        description=f"Note {number}",
        payee=PAYEES[number % 5],
        preimage=bytes(32),
    )
    return replace(record, **changes)


def request(number: int, **changes: Any) -> RequestRecord:
    record = RequestRecord(
        request_id=key_of(number),
        amount_msat=1_000,
        message=f"Note {number}",
        created_at=START_AT + number * 60,
        expiry_seconds=3_600,
        invoice="lnbc" + "x" * 200,
        address=None,
        state=RequestState.UNPAID,
        received_msat=0,
        paid_at=0,
    )
    return replace(record, **changes)


def received(number: int, **changes: Any) -> RequestRecord:
    return request(
        number,
        **{"state": RequestState.PAID, "received_msat": 7_000, "paid_at": START_AT + number * 60 + 9}
        | changes,
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of few lines, so that few records fill many."""
    monkeypatch.setattr(shelf, "KEPT", 6)
    monkeypatch.setattr(shelf, "PAGE_LINES", 5)


def put_all_away(ledger: Ledger) -> None:
    while ledger.has_old:
        ledger.put_away()


def seen(index: ActivityIndex) -> list[Any]:
    """All that a front end may ask for."""
    found: list[Any] = [index.ids(query) for query in QUERIES]
    found.append(index.items(index.ids(ActivityQuery())))
    found += [index.page(ActivityQuery(), offset=offset, limit=4) for offset in (0, 3, 17)]
    found += [index.each_day(None, 10**9), index.each_day(START_AT + 86_400, 10**9)]
    found.append(sorted(index.each_change(START_AT + 600, 10**9)))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_books_on_the_disk_say_what_books_in_memory_say(small: None, seed: int) -> None:
    draw = random.Random(seed)
    disk, plain = Rows(), Ledger(Rows())
    ledger = Ledger(disk, disk.read_rows)
    index, plain_index = index_of(ledger), index_of(plain)
    for step in range(240):
        number = draw.randrange(60)
        change: PaymentRecord | RequestRecord
        match draw.randrange(9):
            case 0:
                change = payment(number, state=PaymentState.PENDING, settled_at=0)
            case 1:
                change = payment(number, state=PaymentState.FAILED, fee_msat=0)
            case 2 | 3:
                change = payment(number, description=f"Note {draw.randrange(30)}")
            case 4 | 5:
                change = received(100 + number)
            case 6:
                change = request(100 + number, state=RequestState.CANCELLED)
            case 7:
                # What was asked for by oneself and paid by oneself has one hash.
                change = received(number)
            case _:
                change = request(100 + number)
        for books in (ledger, plain):
            if isinstance(change, PaymentRecord):
                books.put_payment(change)
            else:
                books.put_request(change)
        if draw.random() < 0.5:
            ledger.note_expired(START_AT + draw.randrange(60) * 60)
        if draw.random() < 0.5:
            put_all_away(ledger)
        if draw.random() < 0.1:
            keys = [key_of(draw.randrange(160)) for _ in range(draw.choice((1, 9)))]
            ledger.bring_back(keys)
        if draw.random() < 0.1:
            ledger = Ledger(disk, disk.read_rows)
            ledger.read(disk.read)
            index = index_of(ledger)
        if step % 20 == 19:
            assert seen(index) == seen(plain_index)
            for here, there in ((ledger.payments, plain.payments), (ledger.requests, plain.requests)):
                assert len(here) == len(there)
                assert {key: here[key] for key in here} == dict(there.live)
                assert len(list(here.values())) == len(there)
                assert here.many(there.live) == dict(there.live)
                assert all(key in here for key in there.live)
                assert here.get(b"\xff" * 32) is None
            newest = sorted((r.created_at for r in plain.requests.live.values()), reverse=True)[:6]
            assert [record.created_at for record in ledger.newest_requests(6)] == newest
    assert ledger.payments.pages
    assert ledger.requests.pages


def test_what_is_held_in_memory_does_not_grow_with_payments() -> None:
    disk = Rows()
    ledger = Ledger(disk, disk.read_rows)
    index = index_of(ledger)
    packed = []
    for number in range(4_000):
        ledger.put_payment(payment(number, state=PaymentState.PENDING))
        ledger.put_payment(payment(number))
        ledger.put_request(request(10_000 + number))
        ledger.put_request(received(10_000 + number))
        put_all_away(ledger)
        index.refresh()
        assert len(ledger.payments.live) <= shelf.KEPT + shelf.PAGE_LINES
        assert len(ledger.requests.live) <= shelf.KEPT + shelf.PAGE_LINES
        assert len(index._by_id) <= 2 * (shelf.KEPT + shelf.PAGE_LINES)
        assert not ledger.dirty
    for page in (*ledger.payments.pages.values(), *ledger.requests.pages.values()):
        columns = [getattr(page.row, name) for name in LinePage.__dataclass_fields__]
        packed.append(sum(map(sys.getsizeof, columns)) / page.count)
    assert max(packed) < 90
    assert len(ledger.payments) == len(ledger.requests) == 4_000


def test_a_start_reads_what_is_pending_and_a_few_of_the_newest() -> None:
    disk = Rows()
    ledger = Ledger(disk, disk.read_rows)
    for number in range(3_000):
        pending = number % 1_000 == 0
        ledger.put_payment(payment(number, state=PaymentState.PENDING if pending else PaymentState.SUCCEEDED))
        put_all_away(ledger)
    again = Ledger(disk, disk.read_rows)
    again.read(disk.read)
    assert disk.read_whole["node_payment"] < shelf.KEPT + shelf.PAGE_LINES + 3
    assert disk.read_whole["node_payment_page"] == len(again.payments.pages) <= 3_000 // shelf.PAGE_LINES
    assert {key_of(0), key_of(1_000), key_of(2_000)} <= set(again.payments.live)
    assert again.payments[key_of(7)] == payment(7)
    assert len(index_of(again).ids(ActivityQuery())) == 3_000


def test_books_of_before_are_put_away_a_page_at_a_time(small: None) -> None:
    disk = Rows()
    ledger = Ledger(disk, disk.read_rows)
    for number in range(40):
        ledger.put_payment(payment(number))
    again = Ledger(disk, disk.read_rows)
    again.read(disk.read)
    assert len(again.payments.live) == 40
    put_all_away(again)
    assert len(again.payments.live) < 6 + 5
    assert set(again.payments.live) == {key_of(number) for number in range(40 - len(again.payments.live), 40)}


def test_a_new_payment_is_not_looked_for_on_the_disk() -> None:
    disk = Rows()
    asked: list[bytes] = []

    def read_rows(space: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        asked.extend(keys)
        return disk.read_rows(space, keys)

    ledger = Ledger(disk, read_rows)
    for number in range(2_000):
        assert ledger.payments.get(key_of(number)) is None
        ledger.put_payment(payment(number))
        put_all_away(ledger)
    # A filter is wrong now and then.
    assert len(asked) < 100


def test_requests_that_nobody_paid_leave_memory_but_an_address_stays(small: None) -> None:
    disk = Rows()
    ledger = Ledger(disk, disk.read_rows)
    for number in range(30):
        ledger.put_request(request(number, address="bcrt1q" if number == 3 else None))
    late_at = request(20).expires_at + EXPIRED_SECONDS
    ledger.note_expired(late_at)
    put_all_away(ledger)
    assert key_of(3) in ledger.requests.live
    assert key_of(0) not in ledger.requests.live
    assert {key_of(number) for number in range(21, 30)} <= set(ledger.requests.live)
    # Paid after all, it is in memory again, and in the history.
    index = index_of(ledger)
    assert index.ids(ActivityQuery()) == ()
    ledger.put_request(received(0))
    assert ledger.requests.live[key_of(0)].state is RequestState.PAID
    assert index.ids(ActivityQuery()) == (f"ln:{key_of(0).hex()}",)
    assert len(ledger.requests) == 30


def test_many_labels_at_once_read_each_page_once(small: None) -> None:
    disk = Rows()
    ledger = Ledger(disk, disk.read_rows)
    for number in range(200):
        ledger.put_payment(payment(number))
        put_all_away(ledger)
    ledger.bring_back([key_of(number) for number in range(0, 200, 2)])
    assert sum(page.count for page in ledger.payments.pages.values()) <= 100
    for number in range(0, 200, 2):
        ledger.put_payment(payment(number, description="even"))
    put_all_away(ledger)
    index = index_of(ledger)
    assert len(index.ids(ActivityQuery(text="even"))) == 100
    assert len(index.ids(ActivityQuery())) == len(ledger.payments) == 200


def test_a_page_is_read_as_it_was_packed() -> None:
    lines = [
        Line(
            START_AT - number, key_of(number), LIGHTNING | DONE | OUT, number, 1, -number, f"nö{number}", b""
        )
        for number in range(20)
    ]
    lines.append(lines[0]._replace(key=key_of(50), party=PAYEES[0], words="", size_msat=1 << 70))
    page = Page(pack(lines))
    assert [line.key for line in page.lines()] == [line.key for line in sorted(lines)]
    assert next(iter(page.lines())) == sorted(lines)[0]
    assert (page.first_at, page.last_at, page.count) == (START_AT - 19, START_AT, 21)
    assert page.holds([key_of(7)])
    assert not page.holds([key_of(7)[1:] + b"\0"])


def test_a_page_whose_columns_do_not_fit_is_refused() -> None:
    whole = pack([Line(START_AT, key_of(1), LIGHTNING | DONE | OUT, 1, 0, 0, "words", PAYEES[0])])
    for name in LinePage.__dataclass_fields__:
        with pytest.raises(DecodeError):
            Page(replace(whole, **{name: getattr(whole, name) + b"\xff"}))
    with pytest.raises(DecodeError):
        Page(LinePage(**dict.fromkeys(LinePage.__dataclass_fields__, b"")))


def test_the_filter_of_keys_forgets_none() -> None:
    known = KnownKeys()
    assert not known.may_hold(key_of(1))
    known.add(key_of(number) for number in range(40_000))
    assert all(known.may_hold(key_of(number)) for number in range(40_000))
    assert sum(known.may_hold(key_of(number)) for number in range(50_000, 60_000)) < 500


def test_the_file_gives_rows_by_key_committed_or_not(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "wallet.leyden", network="regtest", password="")
    try:
        store.write_now([Row("node_payment_old", key_of(number), b"%d" % number) for number in range(600)])
        # The writer is not started: this batch waits.
        store.submit(
            [Row("node_payment_old", key_of(3), b"new"), Row("node_payment_old", key_of(4), None)],
            lambda: None,
        )
        found = store.read_rows("node_payment_old", [key_of(number) for number in range(700)])
        assert len(found) == 599
        assert found[key_of(3)] == b"new"
        assert found[key_of(599)] == b"599"
        assert store.read_rows("node_request_old", [key_of(1)]) == {}
        assert store.read_rows("node_payment_old", []) == {}
    finally:
        store.close()
