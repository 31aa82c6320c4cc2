"""What every test shares: an offscreen Qt, and how hypothesis looks for examples."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Set before anything imports Qt: no test may open a window on somebody's desk.
os.environ["QT_QPA_PLATFORM"] = "offscreen"

# No deadline: two cores are shared by test workers and real servers, so a slow example says nothing.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "ci", deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") else "default")
