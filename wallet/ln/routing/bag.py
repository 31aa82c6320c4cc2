"""`Bag`: numbers in no order, each once; any can be added, taken out or drawn in the same short time."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final

__all__ = ["Bag"]

_NOWHERE: Final = -1


class Bag:
    """Eight bytes for each number up to the highest that was ever in it.

    `bag[n]` with n drawn below `len(bag)` is one of them at random.
    """

    __slots__ = ("_numbers", "_place")

    def __init__(self, ascending: Sequence[int] = ()) -> None:
        """With these in it, each once."""
        self._numbers = array("I", ascending)
        # By number: where it stands.
        self._place = array("i", (_NOWHERE,)) * (ascending[-1] + 1 if ascending else 0)
        for place, number in enumerate(ascending):
            self._place[number] = place

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: int) -> int:
        return self._numbers[place]

    def add(self, number: int) -> None:
        """Put a number in, unless it is."""
        places = self._place
        if number >= len(places):
            places.extend((_NOWHERE,) * (number + 1 - len(places)))
        if places[number] == _NOWHERE:
            places[number] = len(self._numbers)
            self._numbers.append(number)

    def discard(self, number: int) -> None:
        """Take a number out, if it is in; the last takes its place."""
        places = self._place
        place = places[number] if number < len(places) else _NOWHERE
        if place == _NOWHERE:
            return
        last = self._numbers.pop()
        if last != number:
            self._numbers[place] = last
            places[last] = place
        places[number] = _NOWHERE
