"""A second backup folder that answers late, on a whole node."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from tests.functional.whole_nodes import WAIT_SECONDS, WholeWorld
from tests.unit.node.test_backup import backups
from wallet.bitcoin.bip39 import mnemonic_from_entropy, seed_from_mnemonic
from wallet.bitcoin.hashes import sha256
from wallet.node import backup, recovery
from wallet.node.backup import read_file, seal_backup, write_durably


def test_while_the_start_waits_for_the_second_folder_everything_else_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder answers only once the loop has had a turn; a start that held the loop would go on without it."""
    stick = tmp_path / "stick"
    stick.mkdir()
    words = mnemonic_from_entropy(sha256(b"alice")[:16]).split()
    may_read = threading.Event()

    async def scenario() -> None:
        async with asyncio.timeout(WAIT_SECONDS), WholeWorld.made(tmp_path, ("alice",)) as world:
            alice = world.nodes[0]
            await alice.call("set_backup_folder", folder=str(stick))
            there = alice.node.recovery.backup.second_path(str(stick))
            assert alice.node.recovery.backup.wait_second(WAIT_SECONDS)
            await alice.bury()
            write_durably(there, seal_backup(seed_from_mnemonic(words), backups(5)))
            loop = asyncio.get_running_loop()

            def slow(path: Path) -> bytes:
                if path == there:
                    loop.call_soon_threadsafe(may_read.set)
                    assert may_read.wait(WAIT_SECONDS)
                return read_file(path)

            monkeypatch.setattr(backup, "read_file", slow)
            monkeypatch.setattr(recovery, "SECOND_READ_SECONDS", WAIT_SECONDS / 2)
            await alice.start()
            assert may_read.is_set()
            # All of it at the start, before anything could be written over it.
            assert len(alice.node.recovery.lost.channels()) == 5

    asyncio.run(scenario())
