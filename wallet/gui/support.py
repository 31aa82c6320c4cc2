"""The log that can be shown to others: the last lines, without keys, addresses, amounts, names or places.

Lines are cleaned as they come, so what must not be told is never kept. Numbers of four digits and more go as well:
nobody can tell a block's height from an amount by looking at it.
"""

from __future__ import annotations

import logging
import re
import time
import traceback
from collections import deque
from pathlib import PurePath

__all__ = ["SupportLog", "cleaned", "start", "support_log"]

MAX_LINES = 2_000
MAX_LINE = 2_000

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"“[^”]*”|‘[^’]*’|«[^»]*»|\"[^\"]*\"|'[^']*'"), "[text]"),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE), "[address]"),
    (re.compile(r"\b(?:lightning|bitcoin|lnurlp|lnurl|keyauth):\S+", re.IGNORECASE), "[address]"),
    (re.compile(r"\b(?:ln|bc|tb|bcrt)[a-z0-9]*1[a-z0-9]{6,}\b", re.IGNORECASE), "[address]"),
    (re.compile(r"\b[xyztuv](?:pub|prv)[1-9A-HJ-NP-Za-km-z]{20,}\b"), "[key]"),
    (re.compile(r"\b[13mn2K5Lc9][1-9A-HJ-NP-Za-km-z]{24,}\b"), "[address]"),
    (re.compile(r"[\w.+-]+@[\w.-]+(?::\d+)?"), "[address]"),
    (re.compile(r"\b\d+x\d+x\d+\b"), "[channel]"),
    (re.compile(r"\[[0-9a-f:]*:[0-9a-f:.]*\](?::\d+)?", re.IGNORECASE), "[host]"),
    (re.compile(r"\b[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){2,}\b", re.IGNORECASE), "[host]"),
    (re.compile(r"\b(?:localhost|\d{1,3}(?:\.\d{1,3}){3})(?::\d+)?(?::[st]\b)?"), "[host]"),
    (re.compile(r"\b(?=[\w-]*[a-z])[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?::\d+)?(?::[st]\b)?", re.IGNORECASE), "[host]"),
    (re.compile(r"(?<![\w\]])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\:;,()\[\]]+)+[/\\]?"), "[path]"),
    (re.compile(r"\b[0-9a-f]{8,}(?:…[0-9a-f]*)?(?::\d+)?\b", re.IGNORECASE), "[id]"),
    (
        re.compile(
            r"[-+−]?\d[\d\s,._'\u202f\u00a0]*(?:m?sats?|msat|satoshis?|bits|btc|₿)\b", re.IGNORECASE
        ),
        "[amount]",
    ),
    (re.compile(r"\b(\w*(?:amount|fee|value|balance|sat)\w*\s*[=:]?\s*)[-+−]?\d[\d.,]*", re.IGNORECASE), r"\1[amount]"),
    (re.compile(r"\b[A-Za-z0-9+/_-]{32,}={0,2}"), "[key]"),
    (re.compile(r"\d(?:[\d,.\u202f\u00a0]*\d){3,}"), "[number]"),
)  # fmt: skip


def cleaned(line: str) -> str:
    """A line without what is nobody's business."""
    for pattern, word in _RULES:
        line = pattern.sub(word, line)
    return line[:MAX_LINE]


class SupportLog(logging.Handler):
    """Keeps the last lines, cleaned."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines: deque[str] = deque(maxlen=MAX_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
            head = f"{when} {record.levelname.lower()} {record.name.removeprefix('wallet.')}"
            self._lines.append(f"{head}: {cleaned(record.getMessage())}")
            if record.exc_info and record.exc_info[1] is not None:
                self._lines.extend(_trace(record.exc_info[1]))
        except Exception:
            self.handleError(record)

    def text(self) -> str:
        self.acquire()
        try:
            return "\n".join(self._lines)
        finally:
            self.release()


def _trace(error: BaseException) -> list[str]:
    """Where a mistake happened: files by their names only, no source lines, the message cleaned."""
    frames = [
        f"    {PurePath(frame.filename).name}, line {frame.lineno}, in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    return [*frames, f"    {type(error).__name__}: {cleaned(str(error))}"]


_log = SupportLog()


def support_log() -> SupportLog:
    return _log


def start() -> None:
    """From now on what is logged is kept; warnings still go to the terminal that the program was started from."""
    root = logging.getLogger()
    if _log in root.handlers:
        return
    root.addHandler(_log)
    if root.level > logging.INFO:
        root.setLevel(logging.INFO)
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.WARNING)
    root.addHandler(terminal)
