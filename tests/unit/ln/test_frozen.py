"""`replace` gives what the standard library's gives, for every kind of record."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import pytest

from wallet.bitcoin.frozen import replace
from wallet.ln.sign import SignerState


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    first: int
    second: str = "b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Child(Parent):
    third: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Positional:
    only: int


@dataclass(frozen=True)
class Slotless:
    first: int
    second: int


@dataclass(frozen=True, slots=True)
class Checked:
    first: int
    second: int

    def __post_init__(self) -> None:
        if self.first > self.second:
            raise ValueError("the wrong way round")


@dataclass(frozen=True, slots=True)
class Derived:
    first: int
    second: int
    sum: int = field(init=False, default=0)


def test_a_record_is_changed_as_the_library_changes_it() -> None:
    state = SignerState(holder_number=3, counterparty_points=((1, b"x"),))
    assert replace(state, holder_number=4) == dataclasses.replace(state, holder_number=4)
    assert state.holder_number == 3
    assert replace(state) == state
    child = Child(first=1, third=(2,))
    assert replace(child, first=5, third=()) == Child(first=5, third=())
    assert type(replace(child, second="c")) is Child
    assert replace(Positional(1), only=2) == Positional(2)
    assert replace(Slotless(1, 2), second=3) == Slotless(1, 3)
    assert hash(replace(child, first=1)) == hash(child)


def test_a_record_with_a_check_of_its_own_is_checked() -> None:
    with pytest.raises(ValueError, match="wrong way round"):
        replace(Checked(1, 2), first=3)
    assert replace(Checked(1, 2), first=2) == Checked(2, 2)


def test_a_field_that_is_not_there_is_refused() -> None:
    records: list[Any] = [Parent(first=1), Slotless(1, 2), Positional(1)]
    for record in records:
        with pytest.raises(TypeError):
            replace(record, nothing=1)
    with pytest.raises((TypeError, ValueError)):
        replace(Derived(1, 2), sum=4)
