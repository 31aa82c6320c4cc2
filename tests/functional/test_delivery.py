"""Whatever the order in which the chain is told: payments end in the same way, and the same coins come home."""

from __future__ import annotations

import pytest

from tests.functional.delivery import BY_NAME, STYLES, StyleDraw
from tests.functional.joined import Node, World, WorldMaker, config
from tests.functional.test_balances import expiry_of
from wallet.ln import events as ev
from wallet.ln import msgs

every_style = pytest.mark.parametrize("style", [style.name for style in STYLES])


def outcome(node: Node) -> tuple[object, ...]:
    """What a person would see: how each payment ended, what is left to wait for, and what has come home."""
    ends = {
        (type(event).__name__, event.payment_hash)
        for event in node.take_events()
        if isinstance(event, ev.PaymentSent | ev.PaymentFailed | ev.PaymentClaimed)
    }
    told = sorted(item.outpoint for event in node.spendable for item in event.outputs)
    return ends, told, node.came_home_sat(), node.balances(), len(node.manager.list_channels())


def story(world: World, style: str) -> list[tuple[object, ...]]:
    """A close with payments that are claimed, that run out, and that are dust; with two branches on the way."""
    settings = config(anchors=False, delay_blocks=20)
    alice, bob = (world.node(name, settings, style) for name in ("alice", "bob"))
    world.open_channel(alice, bob, 1_000_000, 500_000_000)
    world.pay([alice, bob], 50_000_000)
    claimed = world.route_payment([alice, bob], 40_000_000)
    lost = world.route_payment([alice, bob], 41_000_000)
    back = world.route_payment([bob, alice], 30_000_000)
    world.route_payment([alice, bob], 100_000)
    expiry_height = expiry_of(alice, lost)
    world.force_close(bob, alice)
    world.mine(1)
    for node, payment in ((bob, claimed), (alice, back)):
        node.manager.claim_funds(payment.payment_preimage)
    world.settle()
    world.mine(1)
    world.reorganise(2)
    world.mine_to(expiry_height + 2)
    world.reorganise(2)
    # By now all that remains is waiting; in strides, which some styles take at once.
    world.mine(8)
    for _ in range(10):
        world.mine(4)
    return [outcome(node) for node in (alice, bob)]


@every_style
def test_every_style_ends_in_the_same_state(make_world: WorldMaker, style: str) -> None:
    expected = story(make_world(), "transactions_first")
    assert story(make_world(), style) == expected
    (alice_ends, *_), (bob_ends, *_) = expected
    assert isinstance(alice_ends, set)
    assert isinstance(bob_ends, set)
    # Sent, lost, dust, and a claim; the other claim, and sent.
    assert len(alice_ends) == 4
    assert len(bob_ends) == 2


@every_style
def test_a_channel_is_ready_and_announced_as_soon_as_the_last_block_is_told(world: World, style: str) -> None:
    """Also where the tip came before the funding that it buries, and no other call follows."""
    settings = config(announced=True)
    alice, bob = (world.node(name, settings, style) for name in ("alice", "bob"))
    world.open_channel(alice, bob, 1_000_000, 500_000_000, confirm=False)
    world.mine(3)
    assert alice.channel(bob).is_usable
    assert bob.channel(alice).is_usable
    for node in (alice, bob):
        node.expect_events(ev.ChannelReadyEvent)
        assert not any(isinstance(msg, msgs.AnnouncementSignatures) for _, msg in node.sent)
    world.mine(3)
    for node in (alice, bob):
        assert any(isinstance(msg, msgs.AnnouncementSignatures) for _, msg in node.sent)


@every_style
def test_six_blocks_in_one_go_are_enough_to_announce(world: World, style: str) -> None:
    settings = config(announced=True)
    alice, bob = (world.node(name, settings, style) for name in ("alice", "bob"))
    world.open_channel(alice, bob, 1_000_000, 500_000_000)
    for node in (alice, bob):
        assert any(isinstance(msg, msgs.AnnouncementSignatures) for _, msg in node.sent)


def test_styles_are_drawn_from_the_test_and_the_seed() -> None:
    def drawn(test_id: str, named: str = "", seed: str = "") -> list[str]:
        draw = StyleDraw(test_id, named, seed)
        return [draw.next_style().name for _ in range(40)]

    assert drawn("one") == drawn("one")
    assert drawn("one") != drawn("another")
    assert drawn("one") != drawn("one", seed="1")
    # Every style comes up, and there are enough of them.
    assert set(drawn("one")) <= set(BY_NAME)
    assert {name for number in range(20) for name in drawn(str(number))} == set(BY_NAME)
    assert len(BY_NAME) >= 10
    # Named ones are dealt in order, and the last one goes on.
    assert drawn("one", "doubled, asleep")[:4] == ["doubled", "asleep", "asleep", "asleep"]
    with pytest.raises(KeyError):
        drawn("one", "upside_down")
