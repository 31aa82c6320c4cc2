"""A peer that breaks BOLT 2, channel close: one test for each rule of a receiver."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.functional.bad_peer import BAD_SIGNATURE, assert_failed, inject, start
from tests.functional.joined import Node, World
from wallet.bitcoin.script import p2wpkh
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.events import ClosureKind


def test_a_shutdown_to_a_strange_script(world: World) -> None:
    alice, bob, channel_id = start(world)
    inject(
        world,
        alice,
        bob,
        msgs.Shutdown(channel_id=channel_id, script_pubkey=b"\x76\xa9\x14" + bytes(20) + b"\x88\xac"),
    )
    # BOLT 2, shutdown, receiver: a warning; the channel lives.
    assert not world.links
    assert len(alice.manager.list_channels()) == 1
    assert not world.mempool


def test_closing_signed_out_of_the_blue(world: World) -> None:
    alice, bob, channel_id = start(world)
    msg = msgs.ClosingSigned(
        channel_id=channel_id, fee_sat=500, signature=BAD_SIGNATURE, fee_range=(1, 1_000)
    )
    inject(world, alice, bob, msg)
    assert_failed(world, alice, "before both sides")


@pytest.mark.parametrize("kind", ["signature", "too_much"])
def test_bad_closing_signed(world: World, kind: str) -> None:
    alice, bob, channel_id = start(world)

    def change(sender: Node, receiver: Node, msg: msgs.Message) -> bool:
        if not isinstance(msg, msgs.ClosingSigned) or sender is not bob:
            return True
        if kind == "signature":
            bad = replace(msg, signature=BAD_SIGNATURE)
        else:
            bad = replace(msg, fee_sat=900_000_000)
        receiver.inbox.append((sender.node_id, msgs.encode_message(bad)))
        return False

    world.filter = change
    bob.manager.close_channel(channel_id, alice.node_id)
    world.settle()
    closed = alice.one_event(ev.ChannelClosed)
    assert closed.reason.kind is ClosureKind.PROCESSING_ERROR
    bob.one_event(ev.ChannelClosed)


def test_a_script_that_was_fixed(world: World) -> None:
    alice, bob, channel_id = start(world)
    inject(world, alice, bob, msgs.Shutdown(channel_id=channel_id, script_pubkey=p2wpkh(b"\x02" * 33)))
    assert not world.links
