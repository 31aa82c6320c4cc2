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
from wallet.node.api import ChangeSet, NodeStatus, ProblemKind, RecoveryView
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


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, id=kind.value) for kind in ProblemKind if kind is not ProblemKind.FILE]
)
def test_each_thing_that_needs_attention_says_what_it_is_about(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: ProblemKind
) -> None:
    """The wallet file cannot be written either: that comes first, and hides nothing."""
    recovery = RecoveryView()
    if kind is ProblemKind.RESTORED:
        recovery = RecoveryView(held=1, problem="held back")
    elif kind is ProblemKind.BACKUP:
        recovery = RecoveryView(problem="no backup", backup_problem="no backup")

    async def look() -> None:
        opened = await open_node(options, "")
        try:
            node = opened.node
            node.failure = "stopped"
            monkeypatch.setattr(node.recovery, "view", lambda: recovery)
            chain = "offline" if kind is ProblemKind.SERVERS else ""
            monkeypatch.setattr(Views, "_chain_problem", lambda _views, _chain: chain)
            coins = "too few" if kind is ProblemKind.COINS else ""
            monkeypatch.setattr(Views, "_coins_problem", lambda _views: coins)
            asked = "a peer asks" if kind is ProblemKind.REQUESTS else ""
            monkeypatch.setattr(Views, "_request_problem", lambda _views, _count: asked)
            status = node.views.snapshot().status
            assert status.problem == "stopped"
            assert [problem.kind for problem in status.problems] == [ProblemKind.FILE, kind]
            assert status.problems[1].text == (recovery.problem or chain or coins or asked)
        finally:
            await opened.close()

    options = NodeOptions(
        network_name="regtest",
        root=tmp_path,
        servers=(ServerAddress("127.0.0.1", 9, False),),
        single_server_ok=True,
        listen=None,
    )
    create_wallet_file(options, new_words(), "")
    asyncio.run(look())
