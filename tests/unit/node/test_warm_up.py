"""The core is imported after the first paint, in a thread that troubles nobody."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from wallet.gui import app as gui
from wallet.node import cli, host, warm_up
from wallet.node.api import CommandError, WalletInfo
from wallet.node.options import NodeOptions

PROGRAM = """
import gc, sys
from wallet.node import host, warm_up
assert warm_up.CORE not in sys.modules, "the core came with the host"
warm_up.begin().join()
assert warm_up.CORE in sys.modules, "the core is not there"
assert gc.isenabled(), "nothing is collected any more"
assert gc.get_freeze_count() > 0, "modules are looked through by each collection"
"""


def test_the_thread_imports_the_core_that_was_not_there_before() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_import_that_fails_ends_the_thread_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ImportError("no core today")

    monkeypatch.setattr(warm_up, "import_core", fail)
    with caplog.at_level("INFO", "leyden"):
        warm_up.begin().join()
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["no core today"]


def test_whoever_opens_a_wallet_is_told_what_the_import_failed_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail() -> None:
        raise ImportError("no core today")

    monkeypatch.setattr(host, "import_core", fail)
    opener = host.Host(NodeOptions(network_name="regtest", root=tmp_path))
    info = WalletInfo(name="any", network="regtest", path=tmp_path, encrypted=False)
    try:
        with pytest.raises(CommandError, match="ImportError"):
            opener.open(info, "").result(60)
    finally:
        opener.close().result(60)


@pytest.mark.parametrize("network", [[], ["--sandbox"], ["--regtest"]], ids=["every", "sandbox", "regtest"])
def test_the_window_is_given_the_core_to_import_after_its_first_paint(
    network: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from wallet import app

    given: list[object] = []

    def run_gui(*_words: object, after_paint: object = None, **_named: object) -> int:
        given.append(after_paint)
        return 0

    monkeypatch.setattr(gui, "run_gui", run_gui)
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    tuned: list[float] = []
    monkeypatch.setattr(sys, "setswitchinterval", tuned.append)
    monkeypatch.setattr(gc, "set_threshold", lambda *_objects: None)
    assert app._window(cli.parse([*network, "--dir", str(tmp_path)])) == 0
    assert given == [warm_up.begin]
    assert len(tuned) == 1
