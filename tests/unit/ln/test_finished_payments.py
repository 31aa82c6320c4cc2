"""Payments that arrived are known for some ticks, by id and by hash."""

from wallet.ln.finished_payments import FinishedPayments
from wallet.ln.types import PaymentHash, PaymentId

FIRST, SECOND, HASH = (PaymentId(bytes([number]) * 32) for number in (1, 2, 3))


def ticks_until_forgotten(finished: FinishedPayments, payment_id: PaymentId) -> int:
    ticks = 1
    while payment_id not in finished.tick(()):
        ticks += 1
        assert ticks < 100
    return ticks


def test_each_has_its_own_time() -> None:
    finished = FinishedPayments(3)
    finished.add(FIRST, PaymentHash(FIRST), b"first")
    finished.tick(())
    finished.add(SECOND, PaymentHash(SECOND), b"second")
    assert dict(finished) == {FIRST: b"first", SECOND: b"second"}
    assert ticks_until_forgotten(finished, FIRST) == 3
    assert finished.get(FIRST) is None
    assert finished.get(SECOND) == b"second"
    assert ticks_until_forgotten(finished, SECOND) == 1
    assert len(finished) == 0


def test_the_hash_is_known_under_another_id() -> None:
    finished = FinishedPayments(3)
    finished.add(FIRST, PaymentHash(HASH), b"first")
    finished.add(SECOND, PaymentHash(SECOND), b"second")
    assert finished.knows(PaymentId(HASH), PaymentHash(HASH))
    assert finished.knows(FIRST, PaymentHash(bytes(32)))
    assert finished.knows(PaymentId(bytes(32)), PaymentHash(SECOND))
    assert not finished.knows(PaymentId(bytes(32)), PaymentHash(bytes(32)))


def test_what_nobody_was_told_of_begins_anew_with_its_hash() -> None:
    finished = FinishedPayments(3)
    finished.add(FIRST, PaymentHash(HASH), b"first")
    finished.add(SECOND, PaymentHash(SECOND), b"second")
    for _ in range(3):
        finished.tick(())
    assert SECOND in finished.tick([FIRST])
    assert not finished.knows(SECOND, PaymentHash(SECOND))
    for _ in range(3):
        assert FIRST not in finished.tick(())
    assert finished.knows(PaymentId(bytes(32)), PaymentHash(HASH))
    assert FIRST in finished.tick(())
    assert not finished.knows(FIRST, PaymentHash(HASH))
