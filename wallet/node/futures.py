"""Small help with futures."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["resolve", "run_on"]

T = TypeVar("T")


def resolve(future: asyncio.Future[T], value: T) -> None:
    """Gives a future its result, unless whoever waited has gone."""
    if not future.done():
        future.set_result(value)


def run_on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    """Runs a coroutine on a loop, from any thread. Raises RuntimeError, the coroutine closed, where the loop has
    ended."""
    try:
        return asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:
        work.close()
        raise
