"""What the documents of the house name stands in the house."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for folder, kind in ((".", "*.md"), ("docs", "*.md"), ("packaging", "*/*.md"), ("benchmarks", "*.md"))
    for path in (ROOT / folder).glob(kind)
)
TOPS = ("wallet", "tests", "benchmarks", "packaging", "resources", "docs")
NAMED = re.compile(rf"(?<![\w/.])((?:{'|'.join(TOPS)})/[\w./*-]+)")
LINKED = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


def missing(text: str, beside: Path) -> list[str]:
    """The paths that a text names or links to and that are not there; `*` stands for anything."""
    named = {path.rstrip(".") for path in NAMED.findall(text)}
    gone = [path for path in named if not any(ROOT.glob(path.rstrip("/")))]
    return sorted(gone + [path for path in LINKED.findall(text) if not (beside / path).exists()])


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_a_document_names_is_there(document: str) -> None:
    file = ROOT / document
    assert missing(file.read_text(encoding="utf-8"), file.parent) == []


def test_a_path_that_is_gone_would_be_found() -> None:
    text = "See `wallet/ln/gone.py`, wallet/ln/route.py. and [a picture](docs/gone.png)."
    assert missing(text, ROOT) == ["docs/gone.png", "docs/gone.png", "wallet/ln/gone.py"]
