"""What a benchmark is given: read, or refused with a sentence that says what is wrong with it."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path


class InputError(ValueError):
    """A file or a number that cannot be measured with; the message says where and why."""


def count(text: str) -> int:
    """How many of something: for `argparse`."""
    if not text.isascii() or not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def read_bytes(path: Path) -> bytes:
    """A file's contents."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


@contextlib.contextmanager
def refused(parser: argparse.ArgumentParser) -> Iterator[None]:
    """End the program with the sentence, and not with a trace of calls."""
    try:
        yield
    except InputError as error:
        parser.error(str(error))
