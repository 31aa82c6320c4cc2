"""A peer that breaks BOLT 2, channel close: one test for each rule of a receiver."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.functional.bad_peer import BAD_SIGNATURE, assert_failed, inject, start
from tests.functional.joined import Node, World, config
from wallet.bitcoin.curve import sign_ecdsa
from wallet.bitcoin.script import p2wpkh
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.chan_utils import build_closing_transaction, commitment_sighash
from wallet.ln.events import ClosureKind
from wallet.ln.types import ChannelId


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


SEGWIT_20, SEGWIT_32 = b"\x00\x14" + b"\x07" * 20, b"\x00\x20" + b"\x07" * 32


@pytest.mark.parametrize(
    ("script", "is_legal"),
    [
        (SEGWIT_20, True),
        (SEGWIT_32, True),
        (b"\x51\x20" + b"\x07" * 32, True),
        (b"\x60\x02\x07\x07", True),
        (b"\x60\x28" + b"\x07" * 40, True),
        (b"", False),
        (b"\x00\x15" + b"\x07" * 21, False),
        (b"\x51\x01\x07", False),
        (b"\x51\x29" + b"\x07" * 41, False),
        (b"\x51\x20" + b"\x07" * 33, False),
        (b"\x61\x20" + b"\x07" * 32, False),
        (b"\xa9\x14" + b"\x07" * 20 + b"\x87", False),
        (b"\x6a\x06" + b"\x07" * 6, False),
        (b"\x07" * 10_000, False),
    ],
    ids=[
        "p2wpkh",
        "p2wsh",
        "taproot",
        "shortest",
        "longest",
        "empty",
        "odd_v0",
        "too_short",
        "too_long",
        "trailing",
        "no_version",
        "p2sh",
        "op_return",
        "huge",
    ],
)
def test_forms_of_closing_scripts(world: World, script: bytes, is_legal: bool) -> None:
    """BOLT 2, shutdown, receiver: any other form is answered by a warning, and the channel stays as it is."""
    alice, bob = world.node("alice", config()), world.node("bob", config(fixed_script=False))
    channel_id = world.open_channel(bob, alice, 1_000_000, 400_000_000)
    inject(world, alice, bob, msgs.Shutdown(channel_id=channel_id, script_pubkey=script))
    (details,) = alice.manager.list_channels()
    assert alice.manager._channels[details.channel_id].is_shutting_down == is_legal
    assert bool(world.links) == is_legal
    assert not world.mempool
    if is_legal:
        world.disconnect(alice, bob)


def test_a_shutdown_cannot_be_said_anew(world: World) -> None:
    """BOLT 2, shutdown: where it pays to was settled by the first one."""
    alice, bob = world.node("alice", config()), world.node("bob", config(fixed_script=False))
    channel_id = world.open_channel(bob, alice, 1_000_000, 400_000_000)
    first, other = (
        msgs.Shutdown(channel_id=channel_id, script_pubkey=each) for each in (SEGWIT_20, SEGWIT_32)
    )
    inject(world, alice, bob, first, first)
    assert world.links
    inject(world, alice, bob, other)
    assert not world.links
    (details,) = alice.manager.list_channels()
    closing = alice.manager._channels[channel_id].core.closing
    assert closing is not None
    assert closing.counterparty_script == SEGWIT_20
    assert alice.manager._channels[details.channel_id].is_shutting_down


def test_closing_signed_while_an_htlc_is_under_way(world: World) -> None:
    """BOLT 2, closing_signed: not before both commitments are clear."""
    alice, bob, channel_id = start(world)
    world.route_payment([bob, alice], 5_000_000)
    script = bob.keys.get_shutdown_scriptpubkey()
    inject(
        world,
        alice,
        bob,
        msgs.Shutdown(channel_id=channel_id, script_pubkey=script),
        msgs.ClosingSigned(channel_id=channel_id, fee_sat=500, signature=BAD_SIGNATURE, fee_range=(1, 1_000)),
    )
    assert_failed(world, alice, "still pending")


@pytest.mark.parametrize(
    ("fee_sat", "fee_range", "words"),
    [(100_000, (1, 1_000_000), "outside"), (300, (1, 300), None)],
    ids=["outside", "apart"],
)
def test_a_fee_that_the_funder_never_offered(
    world: World, fee_sat: int, fee_range: tuple[int, int], words: str | None
) -> None:
    """BOLT 2, closing_signed, receiver, as the funder: it has to lie in both ranges; without a common one, warn."""
    alice, bob = world.node("alice", config()), world.node("bob", config())
    channel_id = world.open_channel(alice, bob, 1_000_000, 400_000_000)
    alice.fees.sat_per_kw = 1_000
    caught: list[msgs.ClosingSigned] = []

    def change(sender: Node, receiver: Node, msg: msgs.Message) -> bool:
        if not isinstance(msg, msgs.ClosingSigned):
            return True
        if sender is alice:
            caught.append(msg)
            closing = _closing_of(bob, channel_id, fee_sat)
            receiver_msg = replace(msg, fee_sat=fee_sat, fee_range=fee_range, signature=closing)
            alice.inbox.append((bob.node_id, msgs.encode_message(receiver_msg)))
        return False

    world.filter = change
    alice.manager.close_channel(channel_id, bob.node_id)
    world.settle()
    assert len(caught) == 1
    if words is None:
        # A range that has nothing in common is a reason to wait, not to close.
        (details,) = alice.manager.list_channels()
        assert alice.manager._channels[details.channel_id].is_shutting_down
        assert not world.mempool
        world.disconnect(alice, bob)
    else:
        closed = alice.one_event(ev.ChannelClosed)
        assert closed.reason.kind is ClosureKind.PROCESSING_ERROR
        assert words in closed.reason.message
        bob.events_of(ev.ChannelClosed)


def _closing_of(node: Node, channel_id: ChannelId, fee_sat: int) -> bytes:
    """The signature under a close at this fee by the side that does not pay it: by a signer that asks nothing."""
    channel = node.manager._channels[channel_id]
    closing = channel.core.closing
    assert closing is not None
    assert closing.holder_script is not None
    assert closing.counterparty_script is not None
    ours_sat = channel.core.value_to_self_msat // 1000
    built = build_closing_transaction(
        channel.scope.params,
        to_holder_sat=ours_sat,
        to_counterparty_sat=channel.channel_value_sat - ours_sat - fee_sat,
        to_holder_script=closing.holder_script,
        to_counterparty_script=closing.counterparty_script,
    )
    signer = node.keys.derive_channel_signer(channel.terms.channel_keys_id)
    return sign_ecdsa(commitment_sighash(channel.scope.params, built.tx), signer._secrets.funding_key)
