"""Every test that docs/lessons.md names is there, and every row of it has an answer."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "lessons.md"

RELEASES = re.compile(r"0\.(1\.(1[0-2]|[1-9])|2(\.[1-5])?)(, 0\.(1\.(1[0-2]|[1-9])|2(\.[1-5])?))*")
NAMED = re.compile(r"`(tests/[\w/.]+\.py)::(\w+)`")


def rows() -> list[tuple[str, str, str, str]]:
    """Release, PR, lesson and answer of each row, without the heads of the tables."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("| ") or line.startswith(("| release", "| ---")):
            continue
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        assert len(cells) == 4, f"not a row of four: {line}"
        found.append((cells[0], cells[1], cells[2], cells[3]))
    return found


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(
        item.name
        for item in ast.walk(tree)
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name.startswith("test_")
    )


def test_every_test_that_is_named_is_there() -> None:
    named = NAMED.findall(PAGE.read_text(encoding="utf-8"))
    assert len(named) > 50
    missing = [
        f"{path}::{name}" for path, name in named if not (ROOT / path).is_file() or name not in names_in(path)
    ]
    assert not missing, f"docs/lessons.md names what is not there: {missing}"


def test_every_row_names_a_test_or_a_reason() -> None:
    found = rows()
    assert len(found) > 80
    for release, pulls, lesson, answer in found:
        assert RELEASES.fullmatch(release), f"no release: {release}"
        assert re.fullmatch(r"none|#\d{4}(, #\d{4})*", pulls), f"no pull request: {pulls}"
        assert lesson
        given = NAMED.search(answer) or re.match(r"does not apply: \w.{5,}", answer)
        assert given, f"{pulls} has neither a test nor a reason: {answer}"
        # What looks like the name of a test is one.
        for quoted in re.findall(r"`([^`]+)`", answer):
            assert NAMED.fullmatch(f"`{quoted}`"), f"{pulls} names {quoted}"
