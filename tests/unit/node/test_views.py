"""What changed is collected for those who listen, and for nobody else."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import cast

from wallet.chain.interfaces import Row
from wallet.node.ledger import Ledger
from wallet.node.node import Node
from wallet.node.views import Views


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
