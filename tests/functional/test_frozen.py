"""A defect of ours in one channel: that channel stops, and the others work on."""

from __future__ import annotations

import pytest

from tests.functional.joined import Node, World, config
from wallet.ln import events as ev
from wallet.ln.keysinterface import InMemorySigner
from wallet.ln.sign import ChannelSigner, SignerRefusal
from wallet.ln.types import ChannelId, InvariantError


class Refusing(InMemorySigner):
    """Does as another signer does, and signs no commitment of the peer's."""

    def __init__(self, signer: ChannelSigner) -> None:
        self._other = signer

    def __getattribute__(self, name: str) -> object:
        if name == "sign_counterparty_commitment":
            raise SignerRefusal("no")
        return getattr(object.__getattribute__(self, "_other"), name)


def refuse(node: Node, channel_id: ChannelId) -> None:
    channel = node.manager._channels[channel_id]
    signer = node.keys.derive_channel_signer(channel.terms.channel_keys_id)
    node.manager._signers[channel_id] = Refusing(signer)


@pytest.mark.parametrize("frozen_before", [True, False], ids=["before", "by the claim"])
def test_a_part_on_a_frozen_channel_is_claimed_after_a_restart(world: World, frozen_before: bool) -> None:
    """The payer has the preimage as soon as one part is claimed: none of the others may be forgotten."""
    alice, bob, carol = (world.node(name, config()) for name in ("alice", "bob", "carol"))
    world.open_channel(alice, bob, 1_000_000, 500_000_000)
    world.open_channel(alice, carol, 1_000_000, 500_000_000)
    world.open_channel(bob, carol, 1_000_000, 500_000_000)
    world.check_rows = False
    payment = world.invoice(carol, 3_000_000)
    paths = [world.path([alice, bob, carol], 2_000_000), world.path([alice, carol], 1_000_000)]
    world.send(payment, alice, world.route(paths, carol))
    world.settle()
    assert carol.one_event(ev.PaymentClaimable).amount_msat == 3_000_000
    channel_id = carol.channel(bob).channel_id
    refuse(carol, channel_id)
    if frozen_before:
        carol.manager._freeze(channel_id, InvariantError("a fault of ours"))
        world.settle()
    carol.manager.claim_funds(payment.payment_preimage)
    world.settle()
    assert carol.one_event(ev.PaymentClaimed).amount_msat == 3_000_000
    assert alice.one_event(ev.PaymentSent).payment_hash == payment.payment_hash
    assert len(carol.logger.errors) == 1
    carol.logger.errors.clear()
    # It can neither be given back nor run out.
    carol.manager.fail_htlc_backwards(payment.payment_hash)
    world.mine(3)
    assert carol.channel(bob).pending_htlcs
    world.reload_node(carol)
    for peer in (alice, bob):
        world.connect(carol, peer)
    for one, other in ((alice, carol), (carol, bob), (alice, bob)):
        assert not one.channel(other).pending_htlcs
    bob.one_event(ev.PaymentForwarded)


def test_a_signer_that_refuses_freezes_its_channel_only(world: World) -> None:
    alice, bob, carol = (world.node(name, config()) for name in ("alice", "bob", "carol"))
    channel_id = world.open_channel(alice, bob, 1_000_000, 500_000_000)
    world.open_channel(alice, carol, 1_000_000, 500_000_000)
    world.check_rows = False
    refuse(alice, channel_id)
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


def test_what_was_never_signed_for_is_given_back_when_its_channel_closes(world: World) -> None:
    """No commitment holds it, so that no monitor ever tells its end: the payment must not wait for that."""
    alice, bob = (world.node(name, config()) for name in ("alice", "bob"))
    channel_id = world.open_channel(alice, bob, 1_000_000, 500_000_000)
    world.check_rows = False
    refuse(alice, channel_id)
    payment = world.invoice(bob, 1_000_000)
    world.send(payment, alice, world.route([world.path([alice, bob], 1_000_000)], bob))
    world.settle()
    assert len(alice.logger.errors) == 1
    alice.logger.errors.clear()
    world.reload_node(alice)
    world.force_close(alice, bob)
    failed = alice.one_event(ev.PaymentFailed)
    assert failed.payment_hash == payment.payment_hash
    assert alice.manager.list_recent_payments() == ()
    assert not alice.manager._closed[channel_id].sources
