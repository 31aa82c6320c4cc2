"""A peer that names what is not its own: BOLT 1, error; BOLT 2, channel_id."""

from __future__ import annotations

from tests.functional.bad_peer import add, inject, start
from tests.functional.joined import World, config
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.events import ClosureKind
from wallet.ln.types import ChannelId


def test_an_unknown_channel_is_answered_with_an_error(world: World) -> None:
    alice, bob, _ = start(world)
    inject(world, alice, bob, add(ChannelId(b"\x07" * 32)))
    errors = [msg for _, msg in alice.sent if isinstance(msg, msgs.Error)]
    assert [msg.channel_id for msg in errors] == [b"\x07" * 32]
    assert len(alice.manager.list_channels()) == 1


def test_another_peer_cannot_touch_the_channel(world: World) -> None:
    alice, bob, channel_id = start(world)
    mallory = world.node("mallory", config())
    world.connect(alice, mallory)
    alice.inbox.append((mallory.node_id, msgs.encode_message(add(channel_id))))
    alice.inbox.append((mallory.node_id, msgs.encode_message(msgs.Error(channel_id=channel_id, data=b"x"))))
    alice.inbox.append((mallory.node_id, msgs.encode_message(msgs.Error(channel_id=ChannelId(bytes(32))))))
    world.settle()
    assert alice.channel(bob).is_usable
    world.pay([alice, bob], 1_000_000)


def test_an_error_for_all_channels_closes_them_all(world: World) -> None:
    alice, bob, _ = start(world)
    world.open_channel(alice, bob, 500_000)
    inject(world, alice, bob, msgs.Error(channel_id=ChannelId(bytes(32)), data=b"good\x1b[31mbye"))
    closed = [event for event in alice.take_events() if isinstance(event, ev.ChannelClosed)]
    assert len(closed) == 2
    assert {event.reason.kind for event in closed} == {ClosureKind.COUNTERPARTY_FORCE_CLOSED}
    assert "\x1b" not in closed[0].reason.message
    # Bob's own commitments are given until the next block to show themselves.
    assert not world.mempool
    world.mine(1)
    assert len(world.mempool) == 2
