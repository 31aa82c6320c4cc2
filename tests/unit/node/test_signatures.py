"""The pool that verifies signatures: every answer, in order, and true."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator

import pytest

from wallet.bitcoin import curve
from wallet.bitcoin.curve import CHECK_LENGTH, EcdsaChecks
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.hashes import sha256
from wallet.node import signatures
from wallet.node.signatures import SignaturePool

TIMEOUT_SECONDS = 60


def check(number: int, *, good: bool = True) -> bytes:
    secret, digest = sha256(b"key %d" % (number % 7)), sha256(b"digest %d" % number)
    record = curve.sign_ecdsa(digest, secret) + digest + curve.pubkey_from_secret(secret)
    return record if good else record[:70] + bytes((record[70] ^ 1,)) + record[71:]


@pytest.fixture(params=[True, False], ids=["compiled", "plain"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(curve, "_curve_batch", None)


@pytest.fixture
def answers() -> queue.SimpleQueue[Callable[[], None]]:
    return queue.SimpleQueue()


@pytest.fixture
def pool(answers: queue.SimpleQueue[Callable[[], None]]) -> Iterator[SignaturePool]:
    pool = SignaturePool(answers.put, threads=3)
    yield pool
    pool.close()


@pytest.mark.usefixtures("form")
def test_verdicts() -> None:
    records = [check(number, good=number % 3 != 1) for number in range(9)]
    records[4] = bytes(CHECK_LENGTH)
    records[5] = records[5][:96] + b"\x04" + records[5][97:]
    records[6] = b"\xff" * 64 + records[6][64:]
    verifier = EcdsaChecks(keys_kept=2)
    for _ in range(2):
        assert verifier.verify(b"".join(records)) == bytes((1, 0, 1, 1, 0, 0, 0, 0, 1))
    assert verifier.verify(b"") == b""
    with pytest.raises(DecodeError):
        verifier.verify(records[0][:-1])


@pytest.mark.usefixtures("form")
def test_answers_come_in_order_whoever_verified(
    pool: SignaturePool, answers: queue.SimpleQueue[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signatures, "BATCH_CHECKS", 4)
    told: list[tuple[int, bytes]] = []
    wanted: list[tuple[int, bytes]] = []

    def tell(number: int) -> Callable[[bytes], None]:
        return lambda verdicts: told.append((number, verdicts))

    for number in range(200):
        good = number % 5 != 0
        records = check(number, good=good) + check(number + 1) * (number % 4)
        pool.submit(records, tell(number))
        wanted.append((number, bytes((good,)) + b"\x01" * (number % 4)))
    while len(told) < 200:
        answers.get(timeout=TIMEOUT_SECONDS)()
    assert told == wanted


def test_one_message_alone_is_answered(
    pool: SignaturePool, answers: queue.SimpleQueue[Callable[[], None]]
) -> None:
    told: list[bytes] = []
    for _ in range(3):
        pool.submit(check(1), told.append)
        answers.get(timeout=TIMEOUT_SECONDS)()
    assert told == [b"\x01"] * 3


def test_a_closed_pool_answers_nothing(answers: queue.SimpleQueue[Callable[[], None]]) -> None:
    pool = SignaturePool(answers.put)
    pool.close()
    pool.submit(check(1), lambda verdicts: None)
    assert answers.empty()
