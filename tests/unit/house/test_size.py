"""No source file of the project grows over 1,200 lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LIMIT_LINES = 1200
FOLDERS = ("wallet", "tests", "benchmarks", "packaging", ".ci")
SUFFIXES = frozenset({".py", ".pyi", ".sh", ".mjs"})


def oversized(root: Path) -> Iterator[str]:
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in SUFFIXES or "node_modules" in path.parts or not path.is_file():
                continue
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > LIMIT_LINES:
                yield f"{path.relative_to(root)}: {lines} lines"


def test_no_file_is_too_long() -> None:
    assert list(oversized(ROOT)) == []


def test_a_long_file_is_caught(tmp_path: Path) -> None:
    (tmp_path / "wallet" / "ln").mkdir(parents=True)
    (tmp_path / "wallet" / "ln" / "short.py").write_text("x\n" * LIMIT_LINES)
    (tmp_path / "wallet" / "ln" / "long.py").write_text("x\n" * (LIMIT_LINES + 1))
    assert list(oversized(tmp_path)) == ["wallet/ln/long.py: 1201 lines"]
