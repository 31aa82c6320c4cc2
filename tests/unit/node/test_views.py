"""What changed is collected for those who listen, and for nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wallet.chain.electrum.session import ServerAddress
from wallet.chain.interfaces import Row
from wallet.node.api import ChangeSet, NodeStatus
from wallet.node.host import open_node
from wallet.node.ledger import Ledger
from wallet.node.node import Node
from wallet.node.options import NodeOptions
from wallet.node.views import Views
from wallet.node.wallets import create_wallet_file, new_words


class Rows:
    """`Persist`."""

    def write(self, rows: Iterable[Row]) -> None:
        """Nothing is kept."""


def test_changes_that_nobody_listens_to_are_not_kept() -> None:
    ledger = Ledger(Rows())
    loop = SimpleNamespace(
        call_soon_threadsafe=lambda call: call(), call_later=lambda _seconds, _call: object()
    )
    views = Views(cast("Node", SimpleNamespace(ledger=ledger, loop=loop)))
    for number in range(3):
        ledger.onchain_changed(f"{number:064x}")
        views.publish_soon()
    assert not ledger.changed.activity
    end = views.subscribe(lambda _change: None)
    ledger.onchain_changed("aa")
    views.publish_soon()
    assert ledger.changed.activity == {"tx:aa"}
    end()
    views.publish_soon()
    assert not ledger.changed.activity


def test_a_command_that_looks_first_hides_no_change_from_the_window(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    peers = 0
    make_status = Views._status

    def status(views: Views, *details: Any) -> NodeStatus:
        return replace(make_status(views, *details), peers_online=peers)

    async def look() -> None:
        nonlocal peers
        opened = await open_node(options, "")
        told: list[ChangeSet] = []
        try:
            views = opened.node.views
            views.subscribe(told.append)
            views._publish()
            peers = 7
            # As `getinfo` does, before what has changed is told.
            assert views.snapshot().status.peers_online == 7
            views._publish()
            assert [change.snapshot.status.peers_online for change in told] == [0, 7]
        finally:
            await opened.close()

    monkeypatch.setattr(Views, "_status", status)
    options = NodeOptions(
        network_name="regtest",
        root=tmp_path,
        servers=(ServerAddress("127.0.0.1", 9, False),),
        single_server_ok=True,
        listen=None,
    )
    create_wallet_file(options, new_words(), "")
    asyncio.run(look())
