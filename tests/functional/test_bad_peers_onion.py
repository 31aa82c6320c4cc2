"""Onions of BOLT 4 that are none, and what comes back of them."""

from __future__ import annotations

from dataclasses import replace

from tests.functional.bad_peer import start
from tests.functional.joined import Node, World, config
from wallet.ln import events as ev
from wallet.ln import msgs


def test_an_onion_of_noise_is_malformed(world: World) -> None:
    alice, bob, _ = start(world)
    payment = world.invoice(alice, 5_000_000)

    def spoil(sender: Node, receiver: Node, msg: msgs.Message) -> bool:
        if isinstance(msg, msgs.UpdateAddHtlc):
            bad = replace(msg, onion_routing_packet=b"\x00" + bytes(bob.node_id) + bytes(1332))
            receiver.inbox.append((sender.node_id, msgs.encode_message(bad)))
            return False
        return True

    world.filter = spoil
    world.send(payment, bob, world.route([world.path([bob, alice], 5_000_000)], alice))
    world.settle()
    failed = bob.one_event(ev.PaymentFailed)
    assert failed.attempts[0].failure_code == 0xC005
    assert any(isinstance(msg, msgs.UpdateFailMalformedHtlc) for _, msg in alice.sent)


def test_a_malformed_onion_at_the_next_hop_comes_back_readable(world: World) -> None:
    nodes = [world.node(name, config()) for name in ("alice", "bob", "carol")]
    for one, other in ((0, 1), (1, 2)):
        world.open_channel(nodes[one], nodes[other], 1_000_000, 500_000_000)
    payment = world.invoice(nodes[2], 5_000_000)

    def spoil(sender: Node, receiver: Node, msg: msgs.Message) -> bool:
        if isinstance(msg, msgs.UpdateAddHtlc) and sender is nodes[1]:
            bad = replace(msg, onion_routing_packet=b"\x01" + msg.onion_routing_packet[1:])
            receiver.inbox.append((sender.node_id, msgs.encode_message(bad)))
            return False
        return True

    world.filter = spoil
    world.send(payment, nodes[0], world.route([world.path(nodes, 5_000_000)], nodes[2]))
    world.settle()
    failed = nodes[0].one_event(ev.PaymentFailed)
    assert failed.attempts[0].hop_index == 0
    assert failed.attempts[0].failure_code == 0xC004
