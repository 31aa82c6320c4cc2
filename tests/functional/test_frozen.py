"""A defect of ours in one channel: that channel stops, and the others work on."""

from __future__ import annotations

from tests.functional.joined import World, config
from wallet.ln import events as ev
from wallet.ln.keysinterface import InMemorySigner
from wallet.ln.sign import SignerRefusal


def test_a_signer_that_refuses_freezes_its_channel_only(world: World) -> None:
    alice, bob, carol = (world.node(name, config()) for name in ("alice", "bob", "carol"))
    channel_id = world.open_channel(alice, bob, 1_000_000, 500_000_000)
    world.open_channel(alice, carol, 1_000_000, 500_000_000)
    world.check_rows = False
    channel = alice.manager._channels[channel_id]
    signer = alice.keys.derive_channel_signer(channel.terms.channel_keys_id)

    class Refusing(InMemorySigner):
        def __init__(self) -> None:
            pass

        def __getattribute__(self, name: str) -> object:
            if name == "sign_counterparty_commitment":
                raise SignerRefusal("no")
            return getattr(signer, name)

    alice.manager._signers[channel_id] = Refusing()
    payment = world.invoice(bob, 1_000_000)
    world.send(payment, alice, world.route([world.path([alice, bob], 1_000_000)], bob))
    world.settle()
    assert not bob.one_event_or_none(ev.PaymentClaimable)
    assert len(alice.logger.errors) == 1
    assert frozenset((alice.node_id, bob.node_id)) not in world.links
    # Nothing was broadcast, nothing else is touched.
    assert not world.mempool
    world.pay([alice, carol], 1_000_000)
    alice.logger.errors.clear()
    # After a restart the payment that had got stuck goes its way.
    world.reload_node(alice)
    for peer in (bob, carol):
        world.connect(alice, peer)
    assert bob.one_event(ev.PaymentClaimable).payment_hash == payment.payment_hash
    world.claim([alice, bob], payment)
