"""What `tests/stateful/chanmon_consistency.py` found, each finding as a few calls."""

from __future__ import annotations

from tests.functional.joined import World, config


def test_a_peer_that_was_slow_to_reestablish_is_not_hung_up_on_later(world: World) -> None:
    alice, bob = world.node("alice", config()), world.node("bob", config())
    world.open_channel(alice, bob, 1_000_000, 500_000_000)
    world.disconnect(alice, bob)
    world.connect(alice, bob, settle=False)
    for _ in range(2):
        alice.manager.timer_tick_occurred(world.now)
    world.settle()
    # It has answered by now; the revoke_and_ack that this tick asks for is another thing.
    alice.fees.sat_per_kw = 900
    world.tick()
    assert frozenset((alice.node_id, bob.node_id)) in world.links
    assert bob.channel(alice).feerate_sat_per_kw == 900
