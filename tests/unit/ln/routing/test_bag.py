"""`Bag`: beside a plain set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wallet.ln.routing.bag import Bag


@given(st.sets(st.integers(0, 12)), st.lists(st.tuples(st.booleans(), st.integers(0, 12))))
def test_it_holds_what_was_put_in_and_not_taken_out(first: set[int], steps: list[tuple[bool, int]]) -> None:
    bag, expected = Bag(sorted(first)), set(first)
    for goes_in, number in steps:
        if goes_in:
            bag.add(number)
            expected.add(number)
        else:
            bag.discard(number)
            expected.discard(number)
        assert sorted(bag[place] for place in range(len(bag))) == sorted(expected)
