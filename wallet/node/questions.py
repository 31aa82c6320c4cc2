"""Questions that are on their way over the network, so that all of them can be ended at once.

A question goes the way that was chosen when it was asked. Once a person has chosen a proxy, nothing more is to go out
past it: neither what a question would still send, nor its repetitions.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

__all__ = ["EndedError", "Questions"]


class EndedError(TimeoutError):
    """The question was ended before it had an answer."""


class Questions:
    """Keeps what is running; used on one loop only."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Timeout, bool] = {}

    @contextlib.asynccontextmanager
    async def within(self, seconds: float | None) -> AsyncIterator[None]:
        """Bounds what stands in the block: raises `TimeoutError` after that time, `EndedError` after `end_all`."""
        scope = asyncio.timeout(seconds)
        self._running[scope] = False
        try:
            async with scope:
                yield
        except TimeoutError:
            if self._running[scope]:
                raise EndedError from None
            raise
        finally:
            del self._running[scope]

    def end_all(self) -> None:
        """Ends what is running now; what is asked from now on is not touched."""
        now = asyncio.get_running_loop().time()
        for scope, ended in self._running.items():
            if not ended and not scope.expired():
                self._running[scope] = True
                scope.reschedule(now)
