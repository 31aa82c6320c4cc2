"""The books: what is newest is found without looking at everything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from wallet.chain.interfaces import Row
from wallet.node.ledger import Ledger
from wallet.node.records import RequestRecord, RequestState


class Rows:
    """`Persist`."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, bytes], bytes | None] = {}

    def write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.rows[row.space, row.key] = row.value

    def read(self, space: str) -> list[tuple[bytes, bytes]]:
        return sorted((key, value) for (where, key), value in self.rows.items() if where == space and value)


def request(number: int, created_at: int) -> RequestRecord:
    return RequestRecord(
        request_id=number.to_bytes(32, "big"),
        amount_msat=1,
        message="",
        created_at=created_at,
        expiry_seconds=60,
        invoice=None,
        address=None,
        state=RequestState.UNPAID,
        received_msat=0,
        paid_at=0,
    )


def newest_by_sorting(ledger: Ledger, count: int) -> list[RequestRecord]:
    return sorted(ledger.requests.values(), key=lambda record: -record.created_at)[:count]


def test_the_newest_requests_are_those_that_sorting_gives() -> None:
    rows = Rows()
    ledger = Ledger(rows)
    assert ledger.newest_requests(100) == []
    for number in range(200):
        # Some in the same second, some with a clock that went back.
        ledger.put_request(request(number * 7919 % 200, 1_000 + number * 37 % 50))
        assert ledger.newest_requests(10) == newest_by_sorting(ledger, 10)
    paid = replace(ledger.newest_requests(1)[0], state=RequestState.PAID, paid_at=5)
    ledger.put_request(paid)
    assert ledger.newest_requests(1) == [paid]
    assert ledger.newest_requests(500) == newest_by_sorting(ledger, 500)
    moved = replace(ledger.newest_requests(200)[-1], created_at=9_999)
    ledger.put_request(moved)
    assert ledger.newest_requests(1) == [moved]
    again = Ledger(rows)
    again.read(rows.read)
    assert again.newest_requests(100) == newest_by_sorting(again, 100)
    assert len(again.newest_requests(1_000)) == 200
