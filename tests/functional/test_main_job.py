"""Two nodes: open, confirm, pay both ways, close."""

from __future__ import annotations

import pytest

from tests.functional.joined import World, config
from wallet.ln import events as ev
from wallet.ln.events import ClosureKind


@pytest.mark.parametrize("anchors", [True, False])
def test_open_pay_close(world: World, anchors: bool) -> None:
    alice, bob = world.node("alice", config(anchors=anchors)), world.node("bob", config(anchors=anchors))
    channel_id = world.open_channel(alice, bob, 1_000_000, 200_000_000)
    details = alice.channel(bob)
    assert details.is_usable
    assert details.channel_type is not None
    assert details.channel_type.anchors is anchors
    world.pay([alice, bob], 50_000_000)
    world.pay([bob, alice], 70_000_001)
    world.pay([alice, bob], 1)
    assert alice.channel(bob).balance_msat == 1_000_000_000 - 200_000_000 - 50_000_000 + 70_000_001 - 1
    alice.manager.close_channel(channel_id, bob.node_id)
    world.settle()
    assert alice.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COOPERATIVE_BY_HOLDER
    assert bob.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COOPERATIVE_BY_COUNTERPARTY
    assert len(world.mempool) == 1
    world.mine(6)
