"""A history of a hundred thousand: what a window's thread has to do for it, counted in lines and not in time."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.node.test_activity import START_AT, Books, Rows, index_of, payment
from wallet.chain.interfaces import Row
from wallet.node import activity, shelf
from wallet.node.activity import ActivityIndex
from wallet.node.api import ActivityDirection, ActivityOrder, ActivityQuery, ActivityStatus
from wallet.node.commands import history, run
from wallet.node.found import AT_ONCE, Key, in_order
from wallet.node.ledger import PAYMENT_SPACE, Ledger, _payment_line
from wallet.node.pages import pack
from wallet.node.records import PaymentState, RequestRecord, RequestState, row

COUNT = 391 * shelf.PAGE_LINES
PATIENCE_SECONDS = 60
LABELLED = "tea"
LABELLED_COUNT = len(range(7, COUNT, 1_000))


def old_payment(number: int) -> Any:
    return payment(number, description=LABELLED if number % 1_000 == 7 else f"Note {number}")


class LongBooks(Books):
    """All but the newest payments lie on the disk. Attribute: `read`, how many records were asked for."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.read = 0
        page_space = f"{PAYMENT_SPACE}_page"
        pages = [
            row(
                page_space,
                place.to_bytes(4, "big"),
                pack(
                    [_payment_line(old_payment(number)) for number in range(first, first + shelf.PAGE_LINES)]
                ),
            )
            for place, first in enumerate(range(0, count, shelf.PAGE_LINES))
        ]

        def rows(space: str) -> Iterable[tuple[bytes, bytes]]:
            return [(page.key, page.value or b"") for page in pages] if space == page_space else []

        self.ledger = Ledger(Rows(), self._rows)
        self.ledger.read(rows)

    def _rows(self, space: str, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        self.read += len(keys)
        return {key: row(space, key, old_payment(int.from_bytes(key, "big"))).value or b"" for key in keys}


@pytest.fixture(scope="module")
def books() -> LongBooks:
    return LongBooks(COUNT)


class Watched:
    """The lines that each thread compared with questions."""

    def __init__(self, index: ActivityIndex, monkeypatch: pytest.MonkeyPatch) -> None:
        self.here = self.elsewhere = 0
        self._me = threading.get_ident()
        matching = index._matching

        def watched(lines: Any, pages: Any, query: Any, sought: Any) -> Any:
            count = len(lines) + sum(page.count for page in pages)
            if threading.get_ident() == self._me:
                self.here += count
            else:
                self.elsewhere += count
            return matching(lines, pages, query, sought)

        monkeypatch.setattr(index, "_matching", watched)


@pytest.fixture
def index(books: LongBooks) -> Iterator[ActivityIndex]:
    made = index_of(books)
    made.refresh()
    yield made
    made.close()


def found(index: ActivityIndex, query: ActivityQuery) -> Sequence[str]:
    return index.find(query).result(PATIENCE_SECONDS)


def test_no_line_of_a_long_history_is_compared_on_the_thread_that_asks(
    books: LongBooks, index: ActivityIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(index, monkeypatch)
    everything = found(index, ActivityQuery())
    assert len(everything) >= COUNT
    assert watched.elsewhere >= COUNT
    for query in (
        ActivityQuery(text=LABELLED),
        ActivityQuery(text="shop 3"),
        ActivityQuery(status=ActivityStatus.FAILED),
        ActivityQuery(direction=ActivityDirection.OUT, order=ActivityOrder.AMOUNT),
        ActivityQuery(since_at=START_AT + 6_000, until_at=START_AT + 12_000),
    ):
        assert found(index, query) == index.ids(query)
    assert len(found(index, ActivityQuery(text=LABELLED))) == LABELLED_COUNT
    assert watched.here == 0


def test_what_is_known_is_there_at_once(index: ActivityIndex) -> None:
    everything = found(index, ActivityQuery())
    # Of another question in between, both are kept.
    found(index, ActivityQuery(text=LABELLED))
    again = index.find(ActivityQuery())
    assert again.done()
    assert again.result() is everything


def test_a_new_payment_costs_a_few_lines_and_not_a_hundred_thousand(
    books: LongBooks, index: ActivityIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = ActivityQuery(order=ActivityOrder.FEE)
    before, by_fee = found(index, ActivityQuery()), found(index, query)
    watched = Watched(index, monkeypatch)
    number = len(books.ledger.payments)
    books.ledger.put_payment(payment(number, fee_msat=5))
    item_id = f"ln:{number.to_bytes(32, 'big').hex()}"
    assert found(index, ActivityQuery()) == (item_id, *before)
    assert sorted(found(index, query)) == sorted((item_id, *by_fee))
    assert (watched.here, watched.elsewhere) == (0, 2)


def test_a_screen_of_items_reads_no_more_records_than_it_shows(
    books: LongBooks, index: ActivityIndex
) -> None:
    ids = found(index, ActivityQuery())
    books.read = 0
    items = index.items(ids[50_000:50_100], wait=False)
    assert [item is not None for item in items] == [True] * 100
    assert books.read <= 2 * 100
    assert index.page(ActivityQuery(), offset=0, limit=100, wait=False).total == len(ids)


def test_who_does_not_wait_looks_at_nothing_again(
    books: LongBooks, index: ActivityIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block may have changed a hundred thousand lines: the window shows what there was, and is told."""
    ids = found(index, ActivityQuery())
    books.ledger.put_payment(payment(len(books.ledger.payments)))
    looked: list[None] = []
    look_again = index._look_again

    def watched() -> None:
        looked.append(None)
        look_again()

    monkeypatch.setattr(index, "_look_again", watched)
    monkeypatch.setattr(books.onchain, "history", lambda: pytest.fail("the window's thread read it"))
    page = index.page(ActivityQuery(), offset=0, limit=5, wait=False)
    assert [item.item_id for item in page.items] == list(ids[:5])
    assert index.items(["tx:" + "ab" * 32], wait=False) == (None,)
    assert looked == []
    assert len(found(index, ActivityQuery())) == len(ids) + 1
    assert looked == [None]


def test_who_gives_up_is_not_answered_and_holds_nobody_up(books: LongBooks, index: ActivityIndex) -> None:
    given_up, wanted = ActivityQuery(text="note 1"), ActivityQuery(text=LABELLED)
    with index._lock:
        # The thread waits here: it looks at the books before it searches.
        books.ledger.put_payment(payment(len(books.ledger.payments)))
        first = index.find(given_up)
        second = index.find(wanted)
        assert not second.done()
        assert first.cancel()
    assert len(second.result(PATIENCE_SECONDS)) == LABELLED_COUNT
    assert first.cancelled()
    assert index._known(given_up) is None


def test_a_mistake_within_a_search_is_told_to_who_asked(
    index: ActivityIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(index, "_matching", broken)
    with pytest.raises(ValueError, match="broken"):
        found(index, ActivityQuery(text="anything"))


def test_a_wallet_that_closes_answers_nothing_more(books: LongBooks) -> None:
    closing = index_of(books)
    closing.refresh()
    assert len(found(closing, ActivityQuery())) >= COUNT
    closing.close()
    assert closing.find(ActivityQuery(text="anything")).cancelled()


QUERIES = (
    ActivityQuery(),
    ActivityQuery(descending=False),
    ActivityQuery(text="note 1"),
    ActivityQuery(text="shop 2", order=ActivityOrder.AMOUNT),
    ActivityQuery(order=ActivityOrder.FEE, descending=False),
    ActivityQuery(status=ActivityStatus.DONE, order=ActivityOrder.AMOUNT, descending=False),
    ActivityQuery(since_at=START_AT + 60 * 20, until_at=START_AT + 60 * 70),
)


@pytest.mark.parametrize("place", range(len(QUERIES)))
def test_an_answer_that_follows_is_the_same_as_a_new_one(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Payments change, fail, leave memory in pages and come back; requests are paid; names change."""
    monkeypatch.setattr(shelf, "KEPT", 10)
    monkeypatch.setattr(shelf, "PAGE_LINES", 8)
    stored: dict[tuple[str, bytes], bytes | None] = {}

    class Disk:
        def write(self, rows: Iterable[Row]) -> None:
            stored.update(((written.space, written.key), written.value) for written in rows)

    def read_rows(space: str, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        return {key: value for key in keys if (value := stored.get((space, key))) is not None}

    rng = random.Random(place)
    books = Books()
    books.ledger = Ledger(Disk(), read_rows)
    index = index_of(books)
    query = QUERIES[place]
    followed = 0
    before = index._brought_up_to_date

    def counted(*arguments: Any) -> Any:
        nonlocal followed
        answer = before(*arguments)
        followed += answer is not None
        return answer

    monkeypatch.setattr(index, "_brought_up_to_date", counted)
    for step in range(300):
        for _change in range(rng.randrange(1, 4)):
            number = rng.randrange(90)
            match rng.randrange(5):
                case 0:
                    books.ledger.put_payment(payment(number, state=PaymentState.PENDING))
                case 1:
                    books.ledger.put_payment(payment(number, state=PaymentState.FAILED, amount_msat=0))
                case 2:
                    books.ledger.put_payment(payment(number, description=f"Note {rng.randrange(30)}"))
                case 3:
                    paid = rng.random() < 0.7
                    books.ledger.put_request(
                        RequestRecord(
                            request_id=(1_000 + number).to_bytes(32, "big"), amount_msat=None, message=f"Note {step}",
                            created_at=START_AT + 60 * number, expiry_seconds=60, invoice="ln", address=None,
                            state=RequestState.PAID if paid else RequestState.UNPAID,
                            received_msat=1_000 * number if paid else 0, paid_at=START_AT + 60 * number if paid else 0,
                        )
                    )  # fmt: skip
                case _:
                    if books.ledger.has_old:
                        books.ledger.put_away()
        if step % 50 == 49:
            name = next(iter(books.names))
            books.names[name] = f"Shop {rng.randrange(4)}"
        answer = index.ids(query)
        kept, index._found = index._found, ()
        assert answer == index.ids(query)
        index._found = kept
    assert books.ledger.payments.pages
    assert followed > 200


def test_who_was_away_for_long_searches_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "CHANGES_KEPT", 4)
    books = Books()
    index = index_of(books)
    by_fee = ActivityQuery(order=ActivityOrder.FEE)
    for number in range(30):
        books.ledger.put_payment(payment(number))
        index.refresh()
        if number in {10, 13, 20}:
            assert len(index.ids(by_fee)) == number + 1
    assert len(index._view.changes) == 4
    assert sorted(index.ids(by_fee)) == sorted(index.ids(ActivityQuery()))


@pytest.mark.parametrize("count", [0, 1, AT_ONCE, 5 * AT_ONCE + 3])
@pytest.mark.parametrize("spread", [1, 50, 10**12])
def test_sorting_in_pieces_is_sorting(count: int, spread: int) -> None:
    rng = random.Random(count + spread)
    keys: list[Key] = [
        (rng.randrange(spread), rng.randrange(spread), f"{rng.randrange(10**9):x}")
        for _number in range(count)
    ]
    assert in_order(keys) == sorted(keys)


def test_a_table_of_a_long_history_has_a_few_hundred_items_in_memory(
    books: LongBooks, index: ActivityIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none of it is made on the thread of the loop."""
    sizes: list[int] = []
    threads: set[int] = set()
    items = index.items

    def watched(item_ids: Sequence[str], *, wait: bool = True) -> Any:
        sizes.append(len(item_ids))
        threads.add(threading.get_ident())
        return items(item_ids, wait=wait)

    monkeypatch.setattr(index, "items", watched)
    node: Any = SimpleNamespace(failure="", views=SimpleNamespace(activity=index))
    text = cast("str", asyncio.run(cast("Any", run(node, "export_history", {}))))
    count = len(books.ledger.payments)
    assert text.count("\n") == count + 1
    assert sum(sizes) == count
    assert max(sizes) <= activity.ITEMS_AT_ONCE
    assert threading.get_ident() not in threads


def test_a_chart_of_many_changes_has_a_point_for_each_hour() -> None:
    few = [(START_AT + number, number) for number in range(history.MOST_POINTS)]
    assert history.by_hour(few) == few
    at = START_AT - START_AT % 3_600
    many = [(at + 60 * number, number) for number in range(60 * 24)]
    assert history.by_hour(many) == [many[0], *many[59::60]]
