"""In every journey, and whatever page or dialog there is: no slice of the window's thread is over 50 ms of its own CPU
time and its waits on our locks, and nobody keeps the interpreter's lock for more than 20 ms.

The journeys are the tests that walk them, run once more in a process of their own that listens to Qt's events. What was
too long is walked again, alone, and the best walk counts: what other programs take is no fault of the window's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.gui.slices_plugin import FILE
from tests.gui.test_real_slices import KEPT_LIMIT_MS
from tests.gui.test_slices import LIMIT_MS

ROOT = Path(__file__).parents[2]
LOOK = (
    "test_colours_change_without_a_restart",
    "test_a_larger_text_keeps_what_was_typed",
    "test_settings_change_the_look",
)
LOOK_LIMIT_MS = 500
"""Other colours, or another size of text: one call of Qt's that dresses every widget there anew, some 0.3 s for all of
Settings. It cannot be cut into pieces."""
JOURNEYS = (
    "test_activity_journeys", "test_attention", "test_buying_journeys", "test_channel_journeys", "test_first_run",
    "test_journeys", "test_languages", "test_locked", "test_network_page", "test_receive_journeys",
    "test_recovery_journeys", "test_scenes_cover", "test_send_journeys", "test_send_twice", "test_send_waiting",
    "test_settings_graph", "test_settings_journeys", "test_take_over", "test_trouble_journeys", "test_ways_on",
)  # fmt: skip
TRIES = 6
LEAST_WALKS = 200


def limit_ms(test: str) -> float:
    """For its longest slice."""
    return LOOK_LIMIT_MS if test.partition("::")[2].startswith(LOOK) else LIMIT_MS


def walked(places: Sequence[str], told: Path) -> list[dict[str, Any]]:
    """What the plugin told of the tests at these places; each of them has to pass."""
    environment = {**os.environ, FILE: str(told), "QT_QPA_PLATFORM": "offscreen"}
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
        "-p", "tests.gui.slices_plugin", "-m", "not slow",
        # Who listens from Python makes Qt say things that it does not say otherwise.
        "-o", "qt_log_level_fail=CRITICAL", *places,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return [json.loads(line) for line in told.read_text().splitlines()]


@pytest.mark.timeout(900)
def test_no_journey_has_a_long_slice_and_none_keeps_the_interpreters_lock(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    slices: dict[str, tuple[float, str]] = {}
    kept: dict[str, float] = {}
    places = [f"tests/gui/{name}.py" for name in JOURNEYS]
    for number in range(TRIES):
        for line in walked(places, tmp_path / f"{number}.json"):
            test, scale = line["test"], max(1.0, line["scale"])
            took_ms, waited_ms, what = line["longest"]
            found = took_ms / scale, f"{what}, of which {waited_ms:.0f} ms waited"
            slices[test] = min(slices.get(test, found), found)
            kept_ms = line["kept_ms"] / scale
            kept[test] = min(kept.get(test, kept_ms), kept_ms)
        long = {test: found for test, found in slices.items() if found[0] > limit_ms(test)}
        blocked = {test: kept_ms for test, kept_ms in kept.items() if kept_ms > KEPT_LIMIT_MS}
        if not long and not blocked:
            break
        places = sorted({*long, *blocked})
    worst = sorted(((took_ms, what, test) for test, (took_ms, what) in slices.items()), reverse=True)[:8]
    record_property("worst", worst)
    print(worst, sorted(kept.values())[-5:])
    assert len(slices) >= LEAST_WALKS
    assert long == {}
    assert blocked == {}
