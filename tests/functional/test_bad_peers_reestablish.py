"""A peer that breaks BOLT 2, message retransmission: one test for each rule of a receiver."""

from __future__ import annotations

import pytest

from tests.functional.bad_peer import add, assert_failed, inject, reestablish, start
from tests.functional.joined import World
from wallet.ln import msgs
from wallet.ln.types import ShortChannelId


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"next_commitment_number": 0}, "commitment number 0"),
        ({"next_commitment_number": 5}, "never signed"),
        ({"next_revocation_number": 1, "your_last_per_commitment_secret": b"\x05" * 32}, "never gave"),
        ({"next_revocation_number": 7, "your_last_per_commitment_secret": bytes(32)}, "never gave"),
    ],
)
def test_reestablishing_with_wrong_numbers(world: World, changes: dict[str, object], words: str) -> None:
    alice, bob, channel_id = start(world)
    world.disconnect(alice, bob)
    world.filter = lambda sender, _receiver, _msg: sender is not bob
    world.connect(alice, bob, settle=False)
    inject(world, alice, bob, reestablish(channel_id, bytes(bob.node_id), **changes))
    assert_failed(world, alice, words)


def test_updates_before_reestablishing(world: World) -> None:
    alice, bob, channel_id = start(world)
    world.disconnect(alice, bob)
    world.filter = lambda sender, _receiver, _msg: sender is not bob
    world.connect(alice, bob, settle=False)
    inject(world, alice, bob, add(channel_id))
    assert_failed(world, alice, "before channel_reestablish")


def test_a_repeated_channel_ready_changes_the_alias_only(world: World) -> None:
    alice, bob, channel_id = start(world)
    point = alice.manager._channels[channel_id].core.counterparty_next_point
    assert point is not None
    inject(
        world,
        alice,
        bob,
        msgs.ChannelReady(
            channel_id=channel_id,
            second_per_commitment_point=point,
            short_channel_id_alias=ShortChannelId(4711 << 40),
        ),
    )
    assert alice.channel(bob).inbound_scid_alias == 4711 << 40
    assert alice.channel(bob).is_usable
