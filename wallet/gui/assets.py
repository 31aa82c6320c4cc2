"""Where the files that come with the program are: beside the sources, in a frozen program, or installed."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

__all__ = ["asset", "assets_folder"]


@cache
def assets_folder() -> Path:
    """The `resources` folder; where none is found, the one beside the sources, so that an error names a
    path."""
    beside_sources = Path(__file__).resolve().parents[2] / "resources"
    candidates = [beside_sources, Path(sys.prefix) / "share" / "leyden" / "resources"]
    frozen = getattr(sys, "_MEIPASS", None)
    if isinstance(frozen, str):
        candidates.insert(0, Path(frozen) / "resources")
    return next((folder for folder in candidates if folder.is_dir()), beside_sources)


def asset(*parts: str) -> Path:
    return assets_folder().joinpath(*parts)
