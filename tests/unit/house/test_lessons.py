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

PULLS = """
    3177 3457 3531 3556 3559 3562 3564 3572 3580 3586 3658 3665 3680 3707 3721 3747
    3750 3755 3785 3790 3796 3799 3858 3890 3907 3923 3928 3933 3984 3988 3989 4026
    4078 4081 4090 4093 4096 4107 4154 4168 4172 4236 4246 4262 4274 4282 4312 4341
    4342 4377 4383 4517 4520 4537 4544 4558 4580 4590 4591 4592 4593 4594 4595 4597
    4598 4605 4618 4651 4656 4667 4669 4670 4672 4677 4684 4697 4701 4707 4709 4712
    4713 4714 4715 4716 4717 4718 4719 4737 4828 4845 4848 4849 4850 4851 4852 4854
"""
"""All pull requests that the change log names under these two heads, from 0.1.1 to 0.2.5."""


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


def test_no_entry_is_left_out() -> None:
    named = {pull for _, pulls, _, _ in rows() for pull in re.findall(r"\d{4}", pulls)}
    assert named == set(PULLS.split())
