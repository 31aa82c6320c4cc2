"""Payments that arrived and of which nothing is under way: remembered for some ticks, lest one be made twice.

Theory of operation. There may be tens of thousands of them, and all that is asked, but for a list, is whether an id
or a hash is among them. So what is kept of each is its id and its row, as it is on disk: bytes, which no garbage
collector walks over. Those that ended between two ticks are a generation; a tick ends the oldest one, whatever the
others are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator

from wallet.ln.types import PaymentHash, PaymentId

__all__ = ["FinishedPayments"]


class _Generation:
    """Attributes: rows: by payment id. hashes: of those whose id is another number."""

    __slots__ = ("hashes", "rows")

    def __init__(self) -> None:
        self.rows: dict[PaymentId, bytes] = {}
        self.hashes: dict[PaymentHash, PaymentId] = {}


class FinishedPayments:
    def __init__(self, ticks: int) -> None:
        """`ticks`: so many pass at least, before one is forgotten."""
        self._generations = deque([_Generation() for _ in range(ticks + 1)])

    def __len__(self) -> int:
        return sum(len(generation.rows) for generation in self._generations)

    def __iter__(self) -> Iterator[tuple[PaymentId, bytes]]:
        for generation in self._generations:
            yield from generation.rows.items()

    def add(self, payment_id: PaymentId, payment_hash: PaymentHash, row: bytes) -> None:
        newest = self._generations[-1]
        newest.rows[payment_id] = row
        if payment_id != PaymentId(payment_hash):
            newest.hashes[payment_hash] = payment_id

    def get(self, payment_id: PaymentId) -> bytes | None:
        for generation in self._generations:
            if payment_id in generation.rows:
                return generation.rows[payment_id]
        return None

    def knows(self, payment_id: PaymentId, payment_hash: PaymentHash) -> bool:
        """Whether one of them has this id, or this hash under whatever id.

        An id that is the hash of another payment does not happen: ids are drawn, or the payment's own hash.
        """
        by_hash = PaymentId(payment_hash)
        return any(
            payment_id in generation.rows or by_hash in generation.rows or payment_hash in generation.hashes
            for generation in self._generations
        )

    def tick(self, undelivered: Collection[PaymentId]) -> Collection[PaymentId]:
        """Those that are forgotten now. Of `undelivered` nobody was told yet: their time begins anew."""
        newest = _Generation()
        self._generations.append(newest)
        for payment_id in undelivered:
            for generation in self._generations:
                row = generation.rows.pop(payment_id, None)
                if row is None:
                    continue
                newest.rows[payment_id] = row
                for payment_hash in [key for key, value in generation.hashes.items() if value == payment_id]:
                    del generation.hashes[payment_hash]
                    newest.hashes[payment_hash] = payment_id
                break
        return self._generations.popleft().rows
