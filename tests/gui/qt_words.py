"""What Qt complains of in a process of a test's own, where no plugin of pytest listens."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

__all__ = ["qt_warnings"]

_PROJECT = Path(__file__).parents[2] / "pyproject.toml"
_QT_SAYS = re.compile(r"(?:Q[A-Z]\w*\b|qt\.\w|This plugin )")


def qt_warnings(stderr: str) -> list[str]:
    """Lines that Qt wrote, but for those that the tests' configuration names."""
    settings = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    ignored = [re.compile(pattern) for pattern in settings["qt_log_ignore"]]
    return [
        line
        for line in stderr.splitlines()
        if _QT_SAYS.match(line) and not any(pattern.search(line) for pattern in ignored)
    ]
