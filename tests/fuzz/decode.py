"""Feeds files to a decoder: `python -m tests.fuzz.decode TARGET FILE...`.

A target's name is that of a BOLT message (its payload, without the two bytes of the type), or one of those that
`--list` shows. A decoder may refuse in its own way, and nothing else may come out of it; what it accepts is written
again and has to be read as the same. `-` is standard input. The exit code is 0 where that holds for every file, 1 where
it does not (each violation is printed), 2 for a mistake in the call.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.targets import TARGETS, Refused, Violation

__all__ = ["feed", "main"]


def feed(target: str, raw: bytes) -> bool:
    """Whether the decoder accepted the bytes; raises whatever is a violation."""
    try:
        TARGETS[target](raw)
    except Refused:
        return False
    return True


def main(argv: Sequence[str]) -> int:
    if list(argv) == ["--list"]:
        print("\n".join(sorted(TARGETS)))
        return 0
    if len(argv) < 2 or argv[0].startswith("-"):
        print("usage: python -m tests.fuzz.decode TARGET FILE... | --list", file=sys.stderr)
        return 2
    target, *names = argv
    if target not in TARGETS:
        print(f"There is no target {target!r}. --list shows them.", file=sys.stderr)
        return 2
    bad = 0
    for name in names:
        try:
            raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            print(f"{name}: {error.strerror}", file=sys.stderr)
            return 2
        try:
            accepted = feed(target, raw)
        except Violation as violation:
            bad += 1
            print(f"{name}: VIOLATION of {target}: {violation}")
        except Exception:
            bad += 1
            print(f"{name}: VIOLATION of {target}: it let this out:\n{traceback.format_exc()}")
        else:
            print(f"{name}: {'accepted' if accepted else 'refused'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
