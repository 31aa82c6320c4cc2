"""The console's line runs the same commands as the command line, read in the same way."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wallet.node.api import CommandError, Json
from wallet.node.commands import run
from wallet.node.node import Node
from wallet.node.version import VERSION


def typed(line: str) -> Json:
    node: Any = SimpleNamespace(failure="")
    return cast("Json", asyncio.run(cast("Any", run(cast("Node", node), "console", {"line": line}))))


@pytest.mark.parametrize("line", ["version", "  version ", "leyden version"])
def test_a_line_is_run(line: str) -> None:
    assert typed(line) == VERSION


def test_words_in_quotation_marks_are_one() -> None:
    answer = typed("help 'list_servers'")
    assert isinstance(answer, dict)
    assert "Electrum servers" in str(answer["help"])


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", "Type a command"),
        ("leyden", "Type a command"),
        ("nonsense", "There is no command"),
        ("help 'one", "quotation mark"),
        ("console version", "the console already"),
        ("version --loud", "has no option"),
        ("version one two", "takes no more than"),
    ],
)
def test_a_line_that_is_wrong_gets_a_sentence(line: str, sentence: str) -> None:
    with pytest.raises(CommandError) as caught:
        typed(line)
    assert sentence in caught.value.message
