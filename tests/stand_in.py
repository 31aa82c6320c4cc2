"""A stand-in for one method of an object, for as long as the object lives.

Where a test takes back what it changed, pytest's monkeypatch or `unittest.mock.patch` is the right tool.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["put_in_place_of"]


def put_in_place_of(target: object, name: str, stand_in: Callable[..., object]) -> None:
    """Fails where there is no such method: a rename must not leave a test that replaces nothing."""
    if not callable(getattr(target, name)):
        raise TypeError(f"{name} is no method")
    setattr(target, name, stand_in)
