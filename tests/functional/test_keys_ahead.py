"""What commitments will need is derived before they come, while nobody waits."""

from __future__ import annotations

from tests.functional.joined import World
from wallet.ln import events as ev
from wallet.ln.chan_utils import derive_tx_keys


def test_the_next_commitments_of_both_sides_find_their_keys_derived(world: World) -> None:
    alice, bob = nodes = world.line("alice", "bob")
    world.pay(nodes, 1_000_000)
    derive_tx_keys.cache_clear()
    for node in nodes:
        node.manager.derive_keys_ahead()
    payment = world.route_payment(nodes, 2_000_000, settle=False)
    world.collect(alice)
    # The update, and the commitment: signed, checked and revoked.
    while world.deliver_one(bob):
        pass
    assert bob.channel(alice).pending_htlcs
    # Two were derived ahead; the signer, the builder and the checker found them.
    assert derive_tx_keys.cache_info().misses == 2
    world.settle()
    bob.one_event(ev.PaymentClaimable)
    world.claim(nodes, payment)
