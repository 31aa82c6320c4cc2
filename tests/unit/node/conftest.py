"""A cheap password function for every test of the wallet's file: the real one takes a second on purpose."""

from __future__ import annotations

import pytest

from wallet.node import store


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ARGON2_MEMORY_KIB", 64)
    monkeypatch.setattr(store, "ARGON2_ITERATIONS", 1)
    monkeypatch.setattr(store, "ARGON2_LANES", 1)
