"""How often news of one direction of a channel, or of one node, is passed on: each has a bucket of tokens.

Theory of operation. Passing on takes a token; a bucket holds `BURST` of them, and one comes back every
`REFILL_MINUTES`. A bucket that is full is not kept; of another it is enough to know by when it will be. Each minute a
part of them is looked through, the longest unseen first, so that no minute has more work than another.

It is a limit on telling, never on learning. Core Lightning gives back a token a day, LND one a minute; ours is in
between: after a quiet half day six changes are told as they come, and then one every two hours.

Who calls: `PeerManager`, with the minutes that it has counted.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import islice
from typing import Final

__all__ = ["BURST", "REFILL_MINUTES", "RelayLimit"]

BURST: Final = 6
REFILL_MINUTES: Final = 120
MAX_BUCKETS: Final = 65_536
"""About two in three directions of the public network. Who has none when there are so many has to wait."""
SWEPT_PER_MINUTE: Final = 4_096


class RelayLimit:
    """See the module's docstring."""

    def __init__(self) -> None:
        # The minute in which each that lacks tokens has them all again.
        self._full_at: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: Hashable, minute: int) -> bool:
        """Take one of its tokens; False when there is none."""
        known = self._full_at.get(key)
        if known is None and len(self._full_at) >= MAX_BUCKETS:
            return False
        full_at = minute if known is None or known < minute else known
        if full_at - minute > (BURST - 1) * REFILL_MINUTES:
            return False
        self._full_at[key] = full_at + REFILL_MINUTES
        return True

    def sweep(self, minute: int) -> None:
        """Forget those that are full again, once a minute."""
        for key, full_at in list(islice(self._full_at.items(), SWEPT_PER_MINUTE)):
            del self._full_at[key]
            if full_at > minute:
                # To the end: the next minute begins with others.
                self._full_at[key] = full_at
