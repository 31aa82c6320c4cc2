"""Files and folders that a person names to a command: what is no path is said to be none, by each of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wallet.node.api import CommandError
from wallet.node.commands import run
from wallet.node.commands.files import whole_path

NO_PATHS = {
    "relative": "backup",
    "nobody": "~nobody-of-that-name/backup",
    "zero": "/tmp/back\0up",
}
COMMANDS = {
    "export_channel_backup": "file",
    "import_channel_backup": "file",
    "set_backup_folder": "folder",
    "import_labels": "file",
    "import_graph": "file",
}


def test_a_path_from_the_root_or_from_home_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert whole_path(str(tmp_path / "x")) == tmp_path / "x"
    assert whole_path("~/x") == tmp_path / "x"


@pytest.mark.parametrize("text", NO_PATHS.values(), ids=NO_PATHS.keys())
@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_no_path_is_said_to_be_none(name: str, text: str) -> None:
    node = SimpleNamespace(
        failure="",
        graph_is_read=True,
        views=SimpleNamespace(imported_percent=None, publish_soon=lambda: None),
        wall_clock_at=lambda: 0,
    )
    with pytest.raises(CommandError, match="whole path") as refused:
        asyncio.run(run(cast("Any", node), name, {COMMANDS[name]: text}))
    assert refused.value.code == "usage"
