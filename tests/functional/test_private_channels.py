"""Names of channels that nobody announces: aliases, real ids, no confirmations; and the types that two agree on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.functional.joined import Node, Payment, World, config
from wallet.bitcoin.tx import Transaction
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.config import UserConfig
from wallet.ln.events import ClosureKind
from wallet.ln.features import ChannelTypeFeatures
from wallet.ln.onion_failure import FailureCode
from wallet.ln.types import ShortChannelId


def pay_by_name(world: World, nodes: list[Node], name: ShortChannelId) -> Payment:
    """Over the first two hops, the second of which the payer knows by this name."""
    path = world.path(nodes, 1_000_000)
    named = replace(path, hops=(path.hops[0], replace(path.hops[1], short_channel_id=name)))
    payment = world.invoice(nodes[-1], 1_000_000)
    world.send(payment, nodes[0], world.route([named], nodes[-1]))
    world.settle()
    return payment


@pytest.mark.parametrize("name", ["alias", "real"])
@pytest.mark.parametrize("reload", [False, True])
def test_a_private_channel_is_met_by_either_name(world: World, name: str, reload: bool) -> None:
    nodes = alice, bob, carol = world.line("alice", "bob", "carol")
    details = bob.channel(carol)
    scid = details.outbound_scid_alias if name == "alias" else details.short_channel_id
    assert scid is not None
    if reload:
        world.reload_node(bob)
        world.connect(alice, bob)
        world.connect(bob, carol)
    payment = pay_by_name(world, list(nodes), scid)
    carol.one_event(ev.PaymentClaimable)
    world.claim(list(nodes), payment)


def test_an_alias_outlives_a_reorganisation_and_the_old_id_does_not(world: World) -> None:
    nodes = alice, bob, carol = world.line("alice", "bob", "carol")
    alias, old = bob.channel(carol).outbound_scid_alias, bob.channel(carol).short_channel_id
    assert alias is not None
    assert old is not None
    world.reorganise(6)
    new = bob.channel(carol).short_channel_id
    assert new not in (None, old)
    assert new is not None
    pay_by_name(world, list(nodes), old)
    failed = alice.one_event(ev.PaymentFailed)
    assert failed.attempts[0].failure_code == FailureCode.UNKNOWN_NEXT_PEER
    for name in (alias, new):
        payment = pay_by_name(world, list(nodes), name)
        carol.one_event(ev.PaymentClaimable)
        world.claim(list(nodes), payment)


@pytest.mark.parametrize("name", ["alias", "real"])
def test_a_node_that_forwards_into_public_channels_only_denies_its_private_ones(
    world: World, name: str
) -> None:
    """Whoever probes for them hears what they would hear of a channel that is not there."""
    alice, carol = world.node("alice", config()), world.node("carol", config())
    bob = world.node("bob", UserConfig(accept_forwards=True, accept_forwards_to_priv_channels=False))
    world.open_channel(alice, bob, 1_000_000, 500_000_000)
    world.open_channel(bob, carol, 1_000_000, 500_000_000)
    details = bob.channel(carol)
    scid = details.outbound_scid_alias if name == "alias" else details.short_channel_id
    assert scid is not None
    answers = []
    for asked in (scid, ShortChannelId(4711)):
        pay_by_name(world, [alice, bob, carol], asked)
        answers.append(alice.one_event(ev.PaymentFailed).attempts[0].failure_code)
    assert answers == [FailureCode.UNKNOWN_NEXT_PEER] * 2


# --- no confirmations ---------------------------------------------------------


def open_at_once(world: World, alice: Node, bob: Node, push_msat: int = 300_000_000) -> Transaction:
    """Bob trusts Alice: the channel works while its funding is in the mempool."""
    tx = world.open_without_confirmations(alice, bob, push_msat)
    for node in (alice, bob):
        node.expect_events(ev.ChannelPending, ev.ChannelReadyEvent)
    assert tx.txid in world.mempool
    return tx


def trusting(world: World) -> tuple[Node, Node]:
    return (
        world.node("alice", config(delay_blocks=20)),
        world.node("bob", config(manual=True, delay_blocks=20)),
    )


def test_a_channel_without_confirmations_has_only_its_alias_until_it_has_some(world: World) -> None:
    alice, bob = trusting(world)
    open_at_once(world, alice, bob)
    assert alice.channel(bob).short_channel_id is None
    assert alice.channel(bob).outbound_scid_alias is not None
    world.pay([alice, bob], 10_000_000)
    for node in (alice, bob):
        world.reload_node(node)
    world.connect(alice, bob)
    world.pay([bob, alice], 10_000_000)
    world.mine(1)
    assert alice.channel(bob).short_channel_id == bob.channel(alice).short_channel_id
    assert alice.channel(bob).short_channel_id is not None
    world.pay([alice, bob], 10_000_000)
    # Ready was told once.
    for node in (alice, bob):
        assert not node.events_of(ev.ChannelReadyEvent)


@pytest.mark.parametrize("way", ["agreed", "forced"])
def test_a_channel_without_confirmations_can_be_closed_before_it_has_any(world: World, way: str) -> None:
    alice, bob = trusting(world)
    for node in (alice, bob):
        node.give_coins(4)
    funding = open_at_once(world, alice, bob)
    world.pay([alice, bob], 10_000_000)
    channel_id = bob.channel(alice).channel_id
    if way == "agreed":
        bob.manager.close_channel(channel_id, alice.node_id)
        world.settle()
        for node in (alice, bob):
            node.expect_events(ev.ChannelClosed)
    else:
        world.force_close(bob, alice)
        world.mine(1)
        assert alice.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COMMITMENT_TX_CONFIRMED
    world.drain(alice, bob)
    assert world.is_confirmed(funding.txid)
    assert bob.came_home_sat() == 310_000


def test_without_trust_a_channel_waits_for_its_depth_whatever_the_peer_says(world: World) -> None:
    """Bob asks for no confirmations of his own; Alice's channel_ready alone opens nothing."""
    alice, bob = world.nodes_named("alice", "bob")
    world.open_channel(alice, bob, 1_000_000, 300_000_000, confirm=False)
    point = alice.manager._channels[alice.channel(bob).channel_id].core.holder_next_point
    early = msgs.ChannelReady(channel_id=alice.channel(bob).channel_id, second_per_commitment_point=point)
    bob.inbox.append((alice.node_id, msgs.encode_message(early)))
    world.settle()
    assert not bob.channel(alice).is_usable
    world.mine(2)
    assert not bob.channel(alice).is_usable
    world.mine(1)
    assert bob.channel(alice).is_usable
    for node in (alice, bob):
        node.expect_events(ev.ChannelReadyEvent)
    world.pay([alice, bob], 10_000_000)


# --- types --------------------------------------------------------------------


def channel_type(node: Node, peer: Node) -> ChannelTypeFeatures:
    found = node.channel(peer).channel_type
    assert found is not None
    return found


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("theirs", [False, True])
def test_anchors_only_where_both_want_them(world: World, ours: bool, theirs: bool) -> None:
    alice, bob = world.node("alice", config(anchors=ours)), world.node("bob", config(anchors=theirs))
    world.open_channel(alice, bob, 1_000_000, 500_000_000)
    assert channel_type(alice, bob).anchors is (ours and theirs)
    assert channel_type(alice, bob) == channel_type(bob, alice)
    world.pay([alice, bob], 10_000_000)
    world.pay([bob, alice], 10_000_000)


@pytest.mark.parametrize("announced", [False, True])
def test_a_hidden_id_is_for_private_channels_only(world: World, announced: bool) -> None:
    """BOLT 2, open_channel: option_scid_alias is no part of the type of a channel that is to be announced."""
    settings = config(scid_privacy=True, announced=announced)
    alice, bob = world.node("alice", settings), world.node("bob", settings)
    world.open_channel(alice, bob, 1_000_000, 500_000_000)
    assert channel_type(alice, bob).scid_privacy is not announced
    world.pay([alice, bob], 10_000_000)


@pytest.mark.parametrize("anchors", [False, True])
def test_the_type_stays_over_restarts(world: World, anchors: bool) -> None:
    alice, bob = world.line("alice", "bob", settings=config(anchors=anchors))
    for node in (alice, bob):
        # Whatever is wished for new channels by now.
        node.config = config(anchors=not anchors)
        world.reload_node(node)
    world.connect(alice, bob)
    assert channel_type(alice, bob).anchors is anchors
    world.pay([alice, bob], 10_000_000)
