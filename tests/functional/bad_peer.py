"""A peer that misbehaves: what the tests of bad peers have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.functional.joined import Node, World, config
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.config import UserConfig
from wallet.ln.events import ClosureKind
from wallet.ln.types import ChannelId, PaymentHash

__all__ = ["BAD_SIGNATURE", "add", "assert_failed", "inject", "reestablish", "start"]

BAD_SIGNATURE = bytes(31) + b"\x01" + bytes(31) + b"\x01"


def start(
    world: World, settings: UserConfig | None = None, *, push_msat: int = 400_000_000
) -> tuple[Node, Node, ChannelId]:
    """Alice, whom we watch, and Bob, who will misbehave; Bob is the funder."""
    alice, bob = world.node("alice", settings or config()), world.node("bob", config())
    channel_id = world.open_channel(bob, alice, 1_000_000, push_msat)
    return alice, bob, channel_id


def inject(world: World, alice: Node, bob: Node, *messages: msgs.Message) -> None:
    """As if Bob had sent these; Bob himself is silent from now on."""
    world.filter = lambda sender, _receiver, _msg: sender is not bob
    for msg in messages:
        alice.inbox.append((bob.node_id, msgs.encode_message(msg)))
    world.settle()


def assert_failed(world: World, alice: Node, words: str) -> None:
    closed = alice.one_event(ev.ChannelClosed)
    assert closed.reason.kind is ClosureKind.PROCESSING_ERROR
    assert words in closed.reason.message
    errors = [msg for _, msg in alice.sent if isinstance(msg, msgs.Error)]
    assert len(errors) == 1
    assert errors[0].channel_id == closed.channel_id
    assert len(world.mempool) == 1
    assert not alice.manager.list_channels()
    (other,) = (node for node in world.nodes.values() if node is not alice)
    assert other.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COUNTERPARTY_FORCE_CLOSED


def add(channel_id: ChannelId, **changes: Any) -> msgs.UpdateAddHtlc:
    msg = msgs.UpdateAddHtlc(
        channel_id=channel_id,
        htlc_id=0,
        amount_msat=1_000_000,
        payment_hash=PaymentHash(bytes(32)),
        cltv_expiry_height=200,
        onion_routing_packet=bytes(1366),
    )
    return replace(msg, **changes)


def reestablish(channel_id: ChannelId, point: bytes, **changes: Any) -> msgs.ChannelReestablish:
    msg = msgs.ChannelReestablish(
        channel_id=channel_id,
        next_commitment_number=1,
        next_revocation_number=0,
        your_last_per_commitment_secret=bytes(32),
        my_current_per_commitment_point=point,
    )
    return replace(msg, **changes)
