"""The index of the history over books of any length: what is looked at again, and what a search costs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from wallet.node.activity import ActivityIndex
from wallet.node.api import ActivityDirection, ActivityOrder, ActivityQuery, ActivityStatus
from wallet.node.ledger import Ledger
from wallet.node.records import PaymentRecord, PaymentState, RequestRecord, RequestState

DAY = 86_400
START_AT = 1_700_000_000
PAYEES = [bytes([2]) + bytes([number]) * 32 for number in range(5)]


class Rows:
    """A `Persist` that only counts."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, rows: Any) -> None:
        self.written += len(rows)


class Books:
    """The part of a node that the index reads; no coins on chain."""

    def __init__(self) -> None:
        self.ledger = Ledger(Rows())
        self.onchain = SimpleNamespace(version=0, history=lambda: ())
        self.core = SimpleNamespace(locked=self._locked)
        self.best_height = 100
        self.named = 0
        self.names = {payee: f"Shop {number}" for number, payee in enumerate(PAYEES)}

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        yield

    def alias_of(self, node_id: bytes) -> str:
        self.named += 1
        return self.names.get(node_id, "Unnamed")


def payment(number: int, **changes: Any) -> PaymentRecord:
    record = PaymentRecord(
        payment_hash=number.to_bytes(32, "big"),
        amount_msat=1_000 * (number % 97 + 1),
        fee_msat=number % 7,
        created_at=START_AT + number * 60,
        settled_at=START_AT + number * 60 + 2,
        state=PaymentState.SUCCEEDED,
        invoice="",
        description=f"Note {number}",
        payee=PAYEES[number % 5],
    )
    return replace(record, **changes)


def index_of(books: Books) -> ActivityIndex:
    # They are what it reads of a node.
    return ActivityIndex(cast("Any", books))


def books_with(count: int) -> tuple[Books, ActivityIndex]:
    books = Books()
    for number in range(count):
        books.ledger.put_payment(payment(number))
    return books, index_of(books)


def change_of(books: Books) -> int:
    """What all payments and requests together changed, in msat."""
    paid = sum(
        record.amount_msat + record.fee_msat
        for record in books.ledger.payments.values()
        if record.state is not PaymentState.FAILED
    )
    got = sum(r.received_msat for r in books.ledger.requests.values() if r.state is RequestState.PAID)
    return got - paid


def test_a_new_payment_is_the_only_one_that_is_looked_at_again() -> None:
    books, index = books_with(3_000)
    assert len(index.ids(ActivityQuery())) == 3_000
    before, books.named = books.named, 0
    assert before == 3_000
    books.ledger.put_payment(payment(3_000))
    assert index.ids(ActivityQuery())[0] == f"ln:{(3_000).to_bytes(32, 'big').hex()}"
    assert books.named == 1


def test_a_question_that_is_asked_again_is_not_answered_again() -> None:
    books, index = books_with(50)
    first = index.ids(ActivityQuery(text="note 4"))
    assert index.ids(ActivityQuery(text="note 4")) is first
    books.ledger.put_payment(payment(49, description="another"))
    assert index.ids(ActivityQuery(text="note 4")) is not first


def test_the_same_history_comes_out_however_it_came_in() -> None:
    books = Books()
    index = index_of(books)
    seen = []
    for number in range(400):
        books.ledger.put_payment(payment(number * 37 % 400))
        if number % 50 == 0:
            seen.append(len(index.ids(ActivityQuery())))
    assert seen == [1 + 50 * step for step in range(8)]
    at_once = books_with(400)[1]
    for query in (
        ActivityQuery(),
        ActivityQuery(descending=False),
        ActivityQuery(text="note 1"),
        ActivityQuery(order=ActivityOrder.AMOUNT),
        ActivityQuery(order=ActivityOrder.FEE, descending=False, status=ActivityStatus.DONE),
        ActivityQuery(since_at=START_AT + 6_000, until_at=START_AT + 12_000),
    ):
        assert index.ids(query) == at_once.ids(query)
    assert len(index.ids(ActivityQuery(since_at=START_AT + 6_000, until_at=START_AT + 12_000))) == 100


def test_names_are_searched_as_they_are_now() -> None:
    books, index = books_with(20)
    assert len(index.ids(ActivityQuery(text="shop 3"))) == 4
    books.names[PAYEES[3]] = "Café Åland"
    books.ledger.put_payment(payment(20))
    assert index.ids(ActivityQuery(text="shop 3")) == ()
    assert len(index.ids(ActivityQuery(text="CAFÉ å"))) == 4


def test_a_request_is_part_of_the_history_once_it_is_paid() -> None:
    books = Books()
    index = index_of(books)
    asked = RequestRecord(
        request_id=bytes(32), amount_msat=None, message="Two tickets", created_at=START_AT, expiry_seconds=60,
        invoice="ln", address=None, state=RequestState.UNPAID, received_msat=0, paid_at=0,
    )  # fmt: skip
    books.ledger.put_request(asked)
    assert index.ids(ActivityQuery()) == ()
    books.ledger.put_request(replace(asked, state=RequestState.HELD, received_msat=5_000_000))
    held = index.items(index.ids(ActivityQuery(status=ActivityStatus.PENDING)))
    assert [item.amount_msat for item in held if item is not None] == [5_000_000]
    # Held, it is not ours yet.
    assert index.each_change(START_AT - 1, 10_000) == [(START_AT - 1, 10_000)]
    books.ledger.put_request(
        replace(asked, state=RequestState.PAID, received_msat=5_000_000, paid_at=START_AT + 9)
    )
    assert len(index.ids(ActivityQuery(direction=ActivityDirection.IN))) == 1
    books.ledger.put_request(asked)
    assert index.ids(ActivityQuery()) == ()


def test_each_days_balance_ends_at_todays() -> None:
    books, index = books_with(4_000)  # almost three days, one a minute
    total_sat = 1_000_000
    days = index.each_day(None, total_sat)
    assert 3 <= len(days) <= 4
    assert days[-1][1] == total_sat
    assert [sat for _at, sat in days] == sorted((sat for _at, sat in days), reverse=True)
    each = index.each_change(START_AT, total_sat)
    assert len(each) == 4_001
    assert each[-1][1] == total_sat
    assert each[0][1] == (total_sat * 1000 - change_of(books)) // 1000
    # What failed after all gives its day the amount back.
    failed = payment(3_999, state=PaymentState.FAILED, amount_msat=0, fee_msat=0)
    before_msat = change_of(books)
    books.ledger.put_payment(failed)
    back_msat = change_of(books) - before_msat
    assert back_msat > 0
    again = index.each_day(None, total_sat)
    assert again[-1][1] == total_sat
    assert days[0][1] - back_msat // 1000 - 1 <= again[0][1] < days[0][1]
    assert index.each_change(START_AT, total_sat)[0][1] == (total_sat * 1000 - change_of(books)) // 1000
    assert index.each_day(START_AT + 10 * DAY, total_sat) == [(START_AT + 10 * DAY, total_sat)]


def test_the_balance_of_long_ago_is_never_below_nothing() -> None:
    books = Books()
    index = index_of(books)
    books.ledger.put_request(
        RequestRecord(
            request_id=bytes(32), amount_msat=None, message="", created_at=START_AT, expiry_seconds=60, invoice="ln",
            address=None, state=RequestState.PAID, received_msat=9_000_000, paid_at=START_AT,
        )
    )  # fmt: skip
    # More came in than there is: the rest left by ways that the books do not have.
    assert index.each_change(START_AT - 1, 5_000)[0][1] == 0
    assert index.each_change(START_AT - 1, 5_000)[-1][1] == 5_000
