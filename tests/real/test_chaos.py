"""A short run of `make chaos`: everything goes wrong at once, and all books agree in the end."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.real.chaos import Chaos

KILLS, SECONDS = 8, 12
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))


@pytest.mark.timeout(300)
def test_nothing_is_lost(tmp_path: Path) -> None:
    Chaos(tmp_path, kills=KILLS, seconds=SECONDS, seed=SEED).run()
