"""`docs/receiver-rules.md` names tests, modules and constants that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "receiver-rules.md"
FOLDERS = ("tests/functional", "tests/unit/ln", "")


def _file(name: str) -> Path | None:
    found = (ROOT / folder / name for folder in FOLDERS)
    return next((path for path in found if path.is_file()), None)


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE.read_text())
    assert len(named) > 150
    missing = []
    for file, test in dict.fromkeys(named):
        path = _file(file)
        if path is None or not re.search(rf"^\s*def {test}\(", path.read_text(), re.MULTILINE):
            missing.append(f"{file}::{test}")
    assert not missing


def test_every_module_that_the_page_names_is_there() -> None:
    named = dict.fromkeys(re.findall(r"`([\w/]+(?:\.py|/))`", PAGE.read_text()))
    missing = [
        name
        for name in named
        if not any((ROOT / folder / name).exists() for folder in ("wallet/ln", *FOLDERS))
    ]
    assert not missing


def test_every_constant_that_the_page_names_is_there() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "wallet").rglob("*.py"))
    named = dict.fromkeys(re.findall(r"`([A-Z][A-Z_]{5,})`", PAGE.read_text()))
    assert len(named) > 15
    assert not [name for name in named if not re.search(rf"^{name}\b", source, re.MULTILINE)]
