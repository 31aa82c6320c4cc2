"""Small help with futures."""

from __future__ import annotations

import asyncio
from typing import TypeVar

__all__ = ["resolve"]

T = TypeVar("T")


def resolve(future: asyncio.Future[T], value: T) -> None:
    """Gives a future its result, unless whoever waited has gone."""
    if not future.done():
        future.set_result(value)
