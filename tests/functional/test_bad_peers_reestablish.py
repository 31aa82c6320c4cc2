"""A peer that breaks BOLT 2, message retransmission: one test for each rule of a receiver."""

from __future__ import annotations

import pytest

from tests.functional.bad_peer import add, assert_failed, inject, reestablish, start
from tests.functional.joined import World
from wallet.ln import manager_messages, msgs
from wallet.ln.types import ChannelId, ShortChannelId


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


def test_a_second_reestablish_fails_the_channel(world: World) -> None:
    alice, bob, channel_id = start(world)
    inject(world, alice, bob, reestablish(channel_id, bytes(bob.node_id)))
    assert_failed(world, alice, "when none was due")


def test_a_channel_ready_with_another_point_fails_the_channel(world: World) -> None:
    alice, bob, channel_id = start(world)
    ready = msgs.ChannelReady(channel_id=channel_id, second_per_commitment_point=bytes(bob.node_id))
    inject(world, alice, bob, ready)
    assert_failed(world, alice, "another point")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"next_commitment_number": 1}, "lost state"),
        ({"next_revocation_number": 1}, "lost state"),
        ({"next_revocation_number": 0}, "lost state"),
        ({"next_commitment_number": 9}, "never signed"),
    ],
    ids=["old_commitment", "old_revocation", "no_revocation", "future"],
)
def test_reestablishing_with_numbers_of_long_ago(world: World, changes: dict[str, int], words: str) -> None:
    """BOLT 2, channel_reestablish, receiver: the secret that it shows is right, and long known."""
    alice, bob, channel_id = start(world)
    for _ in range(2):
        world.pay([bob, alice], 1_000_000)
    number = alice.manager._channels[channel_id].core.holder_number
    world.disconnect(alice, bob)
    world.filter = lambda sender, _receiver, _msg: sender is not bob
    world.connect(alice, bob, settle=False)
    numbers = {
        "next_commitment_number": alice.manager._channels[channel_id].core.counterparty_number + 1,
        "next_revocation_number": number,
        **changes,
    }
    last = numbers["next_revocation_number"] - 1
    signer = alice.keys.derive_channel_signer(alice.manager._channels[channel_id].terms.channel_keys_id)
    secret = signer.release_commitment_secret(last) if last >= 0 else bytes(32)
    msg = reestablish(channel_id, bytes(bob.node_id), your_last_per_commitment_secret=secret, **numbers)
    inject(world, alice, bob, msg)
    assert_failed(world, alice, words)


def test_coming_and_going_without_end_changes_nothing(world: World) -> None:
    """A peer in a loop: the same messages each time, nothing written, nothing kept."""
    alice, bob, channel_id = start(world)
    payment = world.route_payment([bob, alice], 5_000_000)
    seen: list[tuple[list[str], int, int]] = []
    for _ in range(12):
        said, writes = len(alice.sent), alice.store.writes
        world.disconnect(alice, bob)
        world.connect(alice, bob)
        names = [type(msg).__name__ for _, msg in alice.sent[said:]]
        seen.append((names, alice.store.writes - writes, len(alice.store.rows)))
    # The first time may bring what had never been said before.
    assert all(each == seen[1] for each in seen[2:])
    assert "ChannelReestablish" in seen[1][0]
    assert len(seen[1][0]) <= 3
    assert not alice.manager._waiting
    assert not alice.manager._blocked
    assert alice.channel(bob).channel_id == channel_id
    world.claim([bob, alice], payment)


def test_a_channel_that_is_not_there_is_answered_each_time_with_its_name(world: World) -> None:
    """BOLT 2, channel_reestablish: the peer learns that it has to close; the living channels are not touched."""
    alice, bob, _ = start(world)
    said = len(alice.sent)
    names = [ChannelId(bytes([number]) * 32) for number in range(1, 20)]
    inject(world, alice, bob, *(reestablish(name, bytes(bob.node_id)) for name in names))
    errors = [msg for _, msg in alice.sent[said:] if isinstance(msg, msgs.Error)]
    assert [msg.channel_id for msg in errors] == names
    assert alice.channel(bob).is_usable


@pytest.mark.parametrize("owes", ["channel_reestablish", "revoke_and_ack"])
def test_a_peer_that_owes_an_answer_is_hung_up_on_in_the_end(world: World, owes: str) -> None:
    """The channel lives: what is missing may come over the next connection."""
    alice, bob, _ = start(world)
    world.filter = lambda sender, _receiver, _msg: sender is not bob
    if owes == "channel_reestablish":
        world.disconnect(alice, bob)
        world.connect(alice, bob)
    else:
        world.route_payment([alice, bob], 1_000_000, settle=False)
        world.settle()
    world.tick(manager_messages.AWAITING_RESPONSE_TICKS)
    assert world.links
    world.tick()
    assert not world.links
    assert len(alice.manager.list_channels()) == 1
    assert not world.mempool
    world.filter = None
    world.connect(alice, bob)
    assert alice.channel(bob).is_usable
    for node in (alice, bob):
        node.take_events()
