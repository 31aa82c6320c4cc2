"""A peer that lies about our own channels: BOLT 7, announcement_signatures and channel_update, receiver."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.functional.bad_peer import BAD_SIGNATURE, inject
from tests.functional.joined import Node, World, config
from wallet.bitcoin.address import MAINNET, REGTEST
from wallet.ln import msgs
from wallet.ln.types import ChannelId, ShortChannelId


def announced(world: World) -> tuple[Node, Node, msgs.AnnouncementSignatures]:
    """A channel that is deep enough to be announced; Bob's half of the signatures has not come."""
    alice, bob = world.node("alice", config(announced=True)), world.node("bob", config(announced=True))
    caught: list[msgs.AnnouncementSignatures] = []

    def catch(sender: Node, _receiver: Node, msg: msgs.Message) -> bool:
        if isinstance(msg, msgs.AnnouncementSignatures) and sender is bob:
            caught.append(msg)
            return False
        return True

    world.filter = catch
    world.open_channel(alice, bob, 1_000_000)
    world.mine(6)
    return alice, bob, caught[-1]


def signatures_of(alice: Node, channel_id: ChannelId) -> tuple[bytes, bytes] | None:
    return alice.manager._channels[channel_id].core.announcement_sigs_received


@pytest.mark.parametrize(
    "changes",
    [
        {"short_channel_id": ShortChannelId(1)},
        {"node_signature": BAD_SIGNATURE},
        {"bitcoin_signature": BAD_SIGNATURE},
        {"node_signature": bytes(64)},
    ],
    ids=["other_channel", "node", "bitcoin", "zeros"],
)
def test_signatures_that_are_none(world: World, changes: dict[str, Any]) -> None:
    """BOLT 7, announcement_signatures, receiver: a warning, and the connection ends; nothing is published."""
    alice, bob, good = announced(world)
    inject(world, alice, bob, replace(good, **changes))
    assert not world.links
    assert signatures_of(alice, good.channel_id) is None
    assert len(alice.manager.list_channels()) == 1


def test_good_signatures_are_taken_once(world: World) -> None:
    alice, bob, good = announced(world)
    inject(world, alice, bob, good)
    assert signatures_of(alice, good.channel_id) == (good.node_signature, good.bitcoin_signature)
    said, writes = len(alice.sent), alice.store.writes
    inject(world, alice, bob, *[good] * 20)
    assert world.links
    assert len(alice.sent) == said
    assert alice.store.writes == writes


def test_a_private_channel_is_not_announced_by_its_peer(world: World) -> None:
    alice, bob = world.node("alice", config()), world.node("bob", config())
    channel_id = world.open_channel(alice, bob, 1_000_000)
    scid = alice.channel(bob).short_channel_id
    assert scid is not None
    inject(
        world,
        alice,
        bob,
        msgs.AnnouncementSignatures(
            channel_id=channel_id,
            short_channel_id=scid,
            node_signature=BAD_SIGNATURE,
            bitcoin_signature=BAD_SIGNATURE,
        ),
    )
    assert world.links
    assert signatures_of(alice, channel_id) is None


def terms(alice: Node, bob: Node, *, signer: Node | None = None, **changes: Any) -> msgs.ChannelUpdate:
    """What Bob asks for forwarding over the channel between them, signed."""
    details = alice.channel(bob)
    assert details.short_channel_id is not None
    made = msgs.ChannelUpdate(
        signature=bytes(64),
        chain_hash=REGTEST.chain_hash,
        short_channel_id=details.short_channel_id,
        timestamp_at=2_000_000_000,
        message_flags=3,
        channel_flags=0 if bob.node_id < alice.node_id else 1,
        cltv_expiry_delta=77,
        htlc_minimum_msat=1,
        fee_base_msat=7,
        fee_proportional_millionths=7,
        htlc_maximum_msat=900_000_000,
    )
    made = replace(made, **changes)
    signature = (signer or bob).keys.sign_gossip_message(made.digest())
    return replace(made, signature=signature)


def test_terms_for_our_own_channel(world: World) -> None:
    """BOLT 7, channel_update, receiver: the newest, rightly signed, of the peer's direction, on our chain."""
    alice, bob = world.node("alice", config()), world.node("bob", config())
    channel_id = world.open_channel(alice, bob, 1_000_000)

    def known() -> int | None:
        found = alice.manager._channels[channel_id].core.counterparty_forwarding
        return None if found is None else found.fee_base_msat

    before = known()
    good = terms(alice, bob)
    ignored = [
        terms(alice, bob, chain_hash=MAINNET.chain_hash),
        terms(alice, bob, channel_flags=good.channel_flags ^ 1),
        terms(alice, bob, timestamp_at=1),
        terms(alice, bob, short_channel_id=ShortChannelId(1)),
        terms(alice, bob, htlc_minimum_msat=2, htlc_maximum_msat=1),
    ]
    inject(world, alice, bob, *ignored)
    assert known() == before != 7
    assert world.links
    inject(world, alice, bob, good)
    assert known() == 7
    # The same time once more says nothing new, whatever stands in it.
    inject(world, alice, bob, terms(alice, bob, fee_base_msat=8))
    assert known() == 7


@pytest.mark.parametrize("by", ["nobody", "alice"])
def test_terms_that_are_not_signed_by_the_peer(world: World, by: str) -> None:
    """BOLT 7, channel_update, receiver: a warning, and the connection ends."""
    alice, bob = world.node("alice", config()), world.node("bob", config())
    channel_id = world.open_channel(alice, bob, 1_000_000)
    made = terms(alice, bob, signer=alice)
    inject(world, alice, bob, made if by == "alice" else replace(made, signature=BAD_SIGNATURE))
    assert not world.links
    found = alice.manager._channels[channel_id].core.counterparty_forwarding
    assert found is None or found.fee_base_msat != 7


def test_another_peer_says_nothing_about_our_channel(world: World) -> None:
    alice, bob, mallory = (world.node(name, config()) for name in ("alice", "bob", "mallory"))
    channel_id = world.open_channel(alice, bob, 1_000_000)
    world.connect(alice, mallory)
    alice.inbox.append((mallory.node_id, msgs.encode_message(terms(alice, bob))))
    world.settle()
    found = alice.manager._channels[channel_id].core.counterparty_forwarding
    assert found is None or found.fee_base_msat != 7
