"""Which request a transaction pays, where several have one address: at the gap limit addresses come round again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from wallet.bitcoin.address import REGTEST, Network, address_to_script, script_to_address
from wallet.bitcoin.tx import OutPoint, Transaction, Txid, TxIn, TxOut
from wallet.chain.interfaces import Row
from wallet.node import receipts, shelf
from wallet.node.ledger import Ledger
from wallet.node.node import Node
from wallet.node.receipts import note_receipts
from wallet.node.records import RequestRecord, RequestState

SCRIPT = b"\x00\x14" + bytes(20)
PAID, UNPAID = RequestState.PAID, RequestState.UNPAID


class Rows:
    """`Persist`, and the disk."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, bytes], bytes] = {}

    def write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if row.value is None:
                self.kept.pop((row.space, row.key), None)
            else:
                self.kept[row.space, row.key] = row.value

    def read_rows(self, space: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return {key: self.kept[space, key] for key in keys if (space, key) in self.kept}

    def rows(self, space: str) -> list[tuple[bytes, bytes]]:
        return sorted((key, value) for (where, key), value in self.kept.items() if where == space)


class Books:
    """Requests with one address, the first made first; and what the chain shows."""

    def __init__(self, *asked: tuple[RequestState, int | None]) -> None:
        self.disk = Rows()
        self.ledger = self.opened()
        self.entries: dict[bytes, SimpleNamespace] = {}
        self.node = cast(
            "Node",
            SimpleNamespace(
                ledger=self.ledger,
                options=SimpleNamespace(network=REGTEST),
                onchain=SimpleNamespace(entry=self.entries.get),
            ),
        )
        for number, (state, amount_sat) in enumerate(asked):
            record = RequestRecord(
                request_id=bytes([number]) * 32,
                amount_msat=None if amount_sat is None else amount_sat * 1000,
                message="",
                created_at=1_000 + number,
                expiry_seconds=3_600,
                invoice="an invoice",
                address=script_to_address(SCRIPT, REGTEST),
                state=state,
                received_msat=0,
                paid_at=0,
            )
            self.ledger.put_request(record)

    def opened(self) -> Ledger:
        """As after a start."""
        ledger = Ledger(self.disk, self.disk.read_rows, lambda address: address_to_script(address, REGTEST))
        ledger.read(self.disk.rows)
        return ledger

    def put_away(self) -> None:
        """All that is settled goes to the disk, and the program starts anew."""
        while self.ledger.has_old:
            self.ledger.put_away()
        self.ledger = self.node.ledger = self.opened()

    def seen(self, *txs: Transaction, height: int | None = None) -> None:
        note_receipts(self.node, txs)
        for tx in txs:
            self.entries[tx.txid] = SimpleNamespace(tx=tx, height=height)

    def paid_by(self) -> list[Txid | None]:
        found = (self.ledger.requests[bytes([number]) * 32] for number in range(len(self.ledger.requests)))
        return [None if record.paid_txid is None else Txid(record.paid_txid) for record in found]


def payment(value_sat: int, *, coin: int = 0, lock_time: int = 0) -> Transaction:
    spent = OutPoint(Txid(bytes([coin]) * 32), 0)
    return Transaction(inputs=(TxIn(spent),), outputs=(TxOut(value_sat, SCRIPT),), lock_time=lock_time)


@pytest.mark.parametrize(
    ("asked", "value_sat", "payee"),
    [
        pytest.param([(PAID, 30)], 30, 0, id="paid over Lightning, and once more"),
        pytest.param([(PAID, 30), (UNPAID, 30)], 30, 1, id="the older was paid over Lightning"),
        pytest.param([(UNPAID, 30), (PAID, 30)], 30, 0, id="the newer was paid over Lightning"),
        pytest.param([(UNPAID, 30), (UNPAID, 20)], 30, 0, id="the older asked for just that"),
        pytest.param([(UNPAID, 30), (UNPAID, 30)], 30, 1, id="the newer of two that are alike"),
        pytest.param([(UNPAID, 4_000), (UNPAID, None)], 1_000, 1, id="any amount"),
        pytest.param([(UNPAID, None)], 999, None, id="dust for any amount"),
        pytest.param([(PAID, None)], 999, None, id="dust after any amount over Lightning"),
        pytest.param([(UNPAID, 546)], 546, 0, id="little was asked for"),
        pytest.param([(UNPAID, 40), (UNPAID, 50)], 30, None, id="too little for each"),
    ],
)
def test_what_comes_to_an_address_pays_one_request_of_it(
    asked: list[tuple[RequestState, int | None]], value_sat: int, payee: int | None
) -> None:
    books = Books(*asked)
    tx = payment(value_sat)
    wanted = [tx.txid if number == payee else None for number in range(len(asked))]
    books.seen(tx)
    assert books.paid_by() == wanted
    books.seen(tx, height=7)
    assert books.paid_by() == wanted


def test_two_payments_to_one_address_pay_two_requests() -> None:
    books = Books((UNPAID, 30), (UNPAID, 30), (PAID, 30))
    first, second, third = payment(30, coin=1), payment(30, coin=2), payment(30, coin=3)
    books.seen(first)
    books.seen(second)
    assert books.paid_by() == [second.txid, first.txid, None]
    books.seen(first, second, height=7)
    books.seen(third)
    assert books.paid_by() == [second.txid, first.txid, third.txid]


def test_two_payments_in_one_block_pay_two_requests() -> None:
    books = Books((UNPAID, 30), (UNPAID, 30))
    first, second = payment(30, coin=1), payment(30, coin=2)
    books.seen(first, second, height=7)
    assert books.paid_by() == [second.txid, first.txid]


def test_a_replacement_pays_whom_the_first_one_paid() -> None:
    books = Books((UNPAID, 30), (UNPAID, 30))
    first, dearer = payment(30), payment(30, lock_time=1)
    books.seen(first)
    books.seen(dearer)
    assert books.paid_by() == [None, dearer.txid]


def test_what_a_block_holds_is_not_replaced_by_what_is_seen_later() -> None:
    books = Books((UNPAID, 30))
    first = payment(30, coin=1)
    books.seen(first, height=7)
    books.seen(payment(30, coin=2))
    assert books.paid_by() == [first.txid]


def test_an_address_is_decoded_once_not_at_each_step_of_the_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def counted(address: str, network: Network) -> bytes:
        decoded.append(address)
        return address_to_script(address, network)

    monkeypatch.setattr(receipts, "address_to_script", counted)
    receipts.script_of.cache_clear()
    books = Books(*[(UNPAID, 30)] * 5)
    for coin in range(3):
        books.seen(payment(10, coin=coin))
    assert decoded == [script_to_address(SCRIPT, REGTEST)]
    books.seen(payment(30))
    assert sum(txid is not None for txid in books.paid_by()) == 1


def test_what_is_on_the_disk_is_paid_twice_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "KEPT", 0)
    monkeypatch.setattr(shelf, "PAGE_LINES", 1)
    books = Books((PAID, 30), (PAID, 30))
    books.put_away()
    assert books.ledger.requests.live == {}
    little, again, other = payment(20, coin=1), payment(30, coin=2), payment(30, coin=3)
    books.seen(little)
    assert books.paid_by() == [None, None]
    books.put_away()
    # Of two with one address, the one that left last is known by it.
    books.seen(again)
    books.put_away()
    assert books.ledger.requests.live == {}
    paid = books.paid_by()
    assert again.txid in paid
    # The chain tells of it again at each start: nothing is brought back for that.
    books.seen(again, height=7)
    assert books.ledger.requests.live == {}
    assert books.paid_by() == paid
    books.seen(other)
    assert books.paid_by() == paid
