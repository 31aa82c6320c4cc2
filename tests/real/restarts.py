"""A wallet that is killed at any moment, and comes back: what the runs of kills and of chaos share."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from tests.real.lightning import Wallet
from tests.real.process import ProcessError
from wallet.node.api import CommandError

__all__ = ["GONE", "start_again"]

GONE = ("no_daemon", "no_wallet", "stopping")
"""What a command says whose process has just died, or is not back yet."""


def start_again(
    us: Wallet,
    up: threading.Event,
    kill: Callable[[], None],
    wait_ready: Callable[[float], None],
    *,
    dice: random.Random,
    killed_within_seconds: float,
) -> int:
    """Starts the wallet; one time in four it is killed before it is ready. Answers with how often that was.

    `wait_ready` gets the moment at which the start began; `up` is set once it has come back.
    """
    cut_short = 0
    while True:
        start = time.monotonic()
        killer: threading.Timer | None = None
        if dice.random() < 0.25:
            # In the middle of what a start does: reading, catching up, meeting the peers again.
            killer = threading.Timer(dice.uniform(0.2, killed_within_seconds), kill)
            killer.start()
        try:
            us.start()
            wait_ready(start)
            up.set()
            if killer is None:
                return cut_short
            killer.join()
        except (ProcessError, CommandError) as error:
            if killer is None or (isinstance(error, CommandError) and error.code not in GONE):
                raise
            killer.join()
        up.clear()
        us.kill()
        cut_short += 1
