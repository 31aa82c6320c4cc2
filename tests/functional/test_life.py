"""Opening, ageing and closing: what is refused, fee rates, ranges of closing fees, reorganisations, gossip."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.functional.joined import Node, World, WorldMaker, config
from wallet.bitcoin.script import p2wpkh
from wallet.chain.interfaces import ConfirmationTarget
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.channel_details import ChannelState
from wallet.ln.config import ChannelHandshakeConfig, ChannelHandshakeLimits, UserConfig
from wallet.ln.events import ClosureKind
from wallet.ln.onion_failure import FailureCode
from wallet.ln.types import APIError


def pair(world: World) -> tuple[Node, Node]:
    return world.node("alice", config()), world.node("bob", config())


# --- opening ---


def test_the_type_is_humbled_when_refused(world: World) -> None:
    alice, bob = world.node("alice", config(anchors=True)), world.node("bob", config(anchors=True))
    bob.config = config(anchors=False)
    bob.manager._config = bob.config
    # Bob's init said anchors when he was asked; now he refuses them, and alice tries without.
    world.connect(alice, bob)
    alice.manager._peers[bob.node_id].features = alice.manager.provided_init_features(bob.node_id)
    alice.manager.create_channel(bob.node_id, 1_000_000, 0, 1)
    world.settle()
    assert alice.one_event(ev.FundingGenerationReady).channel_value_sat == 1_000_000
    channel_type = alice.channel(bob).channel_type
    assert channel_type is not None
    assert not channel_type.anchors


def test_accepting_by_hand_and_rejecting(world: World) -> None:
    alice, bob = world.node("alice", config()), world.node("bob", config(manual=True))
    world.open_channel(alice, bob)
    alice.manager.create_channel(bob.node_id, 500_000, 0, 2)
    world.settle()
    request = bob.one_event(ev.OpenChannelRequest)
    assert request.funding_sat == 500_000
    assert request.needs_anchor_reserve
    bob.manager.reject_inbound_channel(request.temporary_channel_id, alice.node_id, "no, thank you")
    world.settle()
    closed = [event for event in alice.take_events() if isinstance(event, ev.ChannelClosed)]
    # A refusal has the type humbled first; that one is asked about again.
    assert not closed
    request = bob.one_event(ev.OpenChannelRequest)
    bob.manager.reject_inbound_channel(request.temporary_channel_id, alice.node_id, "no, thank you")
    world.settle()
    assert alice.one_event(ev.ChannelClosed).reason.message == "no, thank you"
    assert not alice.one_event_or_none(ev.DiscardFunding)
    assert len(bob.events_of(ev.ChannelClosed)) == 2


def test_a_channel_without_confirmations(world: World) -> None:
    alice, bob = world.node("alice", config()), world.node("bob", config(manual=True))
    world.open_without_confirmations(alice, bob)
    assert alice.channel(bob).is_usable
    world.pay([alice, bob], 10_000_000)
    for node in (alice, bob):
        node.expect_events(ev.ChannelPending, ev.ChannelReadyEvent)
    world.mine(3)
    world.pay([bob, alice], 10_000_000)


def test_disconnected_before_the_funding_is_agreed(world: World) -> None:
    alice, bob = pair(world)
    world.connect(alice, bob)
    alice.manager.create_channel(bob.node_id, 1_000_000, 0, 1)
    world.settle()
    ready = alice.one_event(ev.FundingGenerationReady)
    tx = world.fund(ready.output_script, ready.channel_value_sat)
    alice.manager.funding_transaction_generated(ready.temporary_channel_id, bob.node_id, tx)
    world.disconnect(alice, bob)
    told = alice.take_events()
    assert [event.tx for event in told if isinstance(event, ev.DiscardFunding)] == [tx]
    assert [e.reason.kind for e in told if isinstance(e, ev.ChannelClosed)] == [
        ClosureKind.DISCONNECTED_BEFORE_FUNDING
    ]
    bob.expect_events(ev.ChannelClosed)
    assert not world.mempool


def test_killed_before_the_funding_is_agreed(world: World) -> None:
    alice, bob = pair(world)
    world.connect(alice, bob)
    alice.manager.create_channel(bob.node_id, 1_000_000, 0, 1)
    world.settle()
    ready = alice.one_event(ev.FundingGenerationReady)
    tx = world.fund(ready.output_script, ready.channel_value_sat)
    alice.manager.funding_transaction_generated(ready.temporary_channel_id, bob.node_id, tx)
    for _ in range(2):
        world.reload_node(alice)
    told = alice.take_events()
    assert [event.tx for event in told if isinstance(event, ev.DiscardFunding)] == [tx]
    assert [e.user_channel_id for e in told if isinstance(e, ev.ChannelClosed)] == [1]
    assert not world.mempool
    world.reload_node(alice)
    assert not alice.take_events()
    bob.expect_events(ev.ChannelClosed)


def test_a_peer_may_not_announce_what_we_keep_private(world: World) -> None:
    alice, bob = world.node("alice", config(announced=True)), world.node("bob", config())
    world.connect(alice, bob)
    alice.manager.create_channel(bob.node_id, 1_000_000, 0, 1)
    world.settle()
    assert "private" in alice.one_event(ev.ChannelClosed).reason.message


def test_the_real_id_of_a_private_channel_leads_nowhere(world: World) -> None:
    """BOLT 2, channel_ready: with scid_alias in the type, only the alias is known to payers."""
    settings = config(scid_privacy=True)
    alice, bob, carol = (world.node(name, settings) for name in ("alice", "bob", "carol"))
    world.open_channel(alice, bob, 1_000_000)
    world.open_channel(bob, carol, 1_000_000)
    path = world.path([alice, bob, carol], 1_000_000)
    real = bob.channel(carol).short_channel_id
    assert real is not None
    told = replace(path, hops=(path.hops[0], replace(path.hops[1], short_channel_id=real)))
    payment = world.invoice(carol, 1_000_000)
    world.send(payment, alice, world.route([told], carol))
    world.settle()
    failed = alice.one_event(ev.PaymentFailed)
    assert failed.attempts[0].failure_code == FailureCode.UNKNOWN_NEXT_PEER
    world.pay([alice, bob, carol], 1_000_000)


def test_a_large_channel_has_longer_waits(world: World) -> None:
    alice, bob = pair(world)
    world.open_channel(alice, bob, 20_000_000, 0, confirm=False)
    details = alice.channel(bob)
    assert details.confirmations_required == 6
    assert details.force_close_spend_delay_blocks == 2_016
    assert details.state is ChannelState.AWAITING_CONFIRMATIONS
    world.mine(5)
    assert not alice.channel(bob).is_usable
    world.mine(1)
    assert alice.channel(bob).is_usable
    for node in (alice, bob):
        node.expect_events(ev.ChannelReadyEvent)


@pytest.mark.parametrize(
    ("value_sat", "push_msat"), [(1_000, 0), (100_000, 100_000_001), (100_000, 99_500_000)]
)
def test_openings_that_cannot_work(world: World, value_sat: int, push_msat: int) -> None:
    alice, bob = pair(world)
    world.connect(alice, bob)
    with pytest.raises(APIError):
        alice.manager.create_channel(bob.node_id, value_sat, push_msat, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"chain_hash": bytes(32)},
        {"channel_type": None},
        {"channel_type": b"\x01"},
        {"push_msat": 1_000_000_001},
        {"to_self_delay_blocks": 2_017},
        {"max_accepted_htlcs": 484},
        {"max_accepted_htlcs": 0},
        {"feerate_sat_per_kw": 100},
        {"feerate_sat_per_kw": 10_000_000},
        {"dust_limit_sat": 353},
        {"dust_limit_sat": 10_001, "channel_reserve_sat": 10_001},
        {"dust_limit_sat": 2_000, "channel_reserve_sat": 1_000},
        {"channel_reserve_sat": 353},
        {"channel_reserve_sat": 900_000},
        {"htlc_minimum_msat": 10_000_000},
        {"max_htlc_value_in_flight_msat": 10},
        {"funding_sat": 10_000},
        {"funding_sat": 3_000_000_000},
        {"push_msat": 999_900_000},
        {"upfront_shutdown_script": b"\x51"},
    ],
)
def test_offers_that_are_refused(world: World, changes: dict[str, Any]) -> None:
    """BOLT 2, open_channel, receiver: each MUST."""
    alice, bob = pair(world)
    world.connect(alice, bob)
    world.change_on_the_way(alice, msgs.OpenChannel, **changes)
    alice.manager.create_channel(bob.node_id, 1_000_000, 0, 1)
    world.settle()
    assert not bob.manager.list_channels()
    assert any(isinstance(msg, msgs.Error) for _, msg in bob.sent)
    assert not any(isinstance(msg, msgs.AcceptChannel) for _, msg in bob.sent)
    alice.expect_events(ev.ChannelClosed)


@pytest.mark.parametrize(
    "changes",
    [
        {"channel_type": None},
        {"channel_type": b"\x10\x00"},
        {"minimum_depth_blocks": 145},
        {"to_self_delay_blocks": 2_017},
        {"max_accepted_htlcs": 484},
        {"dust_limit_sat": 353},
        {"channel_reserve_sat": 353},
        {"dust_limit_sat": 10_000, "channel_reserve_sat": 9_999},
        {"channel_reserve_sat": 900_000},
        {"htlc_minimum_msat": 10_000_000},
    ],
)
def test_acceptances_that_are_refused(world: World, changes: dict[str, Any]) -> None:
    """BOLT 2, accept_channel, receiver: each MUST."""
    alice, bob = pair(world)
    world.connect(alice, bob)
    world.change_on_the_way(bob, msgs.AcceptChannel, **changes)
    alice.manager.create_channel(bob.node_id, 1_000_000, 0, 1)
    world.settle()
    told = alice.take_events()
    assert not [event for event in told if isinstance(event, ev.FundingGenerationReady)]
    assert [e.reason.kind for e in told if isinstance(e, ev.ChannelClosed)] == [ClosureKind.PROCESSING_ERROR]
    assert not bob.manager.list_channels()
    bob.expect_events(ev.ChannelClosed)


@pytest.mark.parametrize("kind", [msgs.FundingCreated, msgs.FundingSigned])
def test_bad_first_signatures(world: World, kind: type[msgs.Message]) -> None:
    """BOLT 2, funding_created and funding_signed, recipient."""
    alice, bob = pair(world)
    world.connect(alice, bob)
    sender = alice if kind is msgs.FundingCreated else bob
    world.change_on_the_way(sender, kind, signature=bytes(31) + b"\x01" + bytes(31) + b"\x01")
    alice.manager.create_channel(bob.node_id, 1_000_000, 0, 1)
    world.settle()
    tx = world.fund_channel(alice, bob)
    assert not world.mempool
    assert alice.one_event(ev.ChannelClosed).reason.kind in (
        ClosureKind.PROCESSING_ERROR,
        ClosureKind.COUNTERPARTY_FORCE_CLOSED,
    )
    assert alice.one_event(ev.DiscardFunding).tx == tx
    assert not alice.manager.list_channels()
    # Whoever signed last had the channel for real, for a moment.
    assert bob.events_of(ev.ChannelClosed)
    assert len(bob.events_of(ev.ChannelPending)) == (kind is msgs.FundingSigned)


# --- the chain ---


def test_a_reorganisation_before_channel_ready(world: World) -> None:
    alice, bob = pair(world)
    world.open_channel(alice, bob, 1_000_000, 100_000_000, confirm=False)
    world.mine(2)
    before = alice.channel(bob).short_channel_id
    world.reorganise(2)
    assert alice.channel(bob).short_channel_id != before
    assert not alice.channel(bob).is_usable
    world.mine(3)
    assert alice.channel(bob).is_usable
    for node in (alice, bob):
        node.expect_events(ev.ChannelReadyEvent)
    world.pay([alice, bob], 10_000_000)
    world.pay([bob, alice], 10_000_000)


def test_a_deep_reorganisation_closes(world: World) -> None:
    alice, bob = pair(world)
    world.open_channel(alice, bob, 1_000_000)
    world.disconnect_blocks(7, keep_transactions=False)
    world.mine(9, empty=True)
    for node in (alice, bob):
        assert node.one_event(ev.ChannelClosed).reason.kind in (
            ClosureKind.PROCESSING_ERROR,
            ClosureKind.COUNTERPARTY_FORCE_CLOSED,
        )


def test_the_funding_never_confirms(world: World) -> None:
    alice, bob = pair(world)
    world.open_channel(alice, bob, confirm=False)
    world.disconnect(alice, bob)
    world.mine(2016, empty=True)
    assert bob.one_event(ev.ChannelClosed).reason.kind is ClosureKind.FUNDING_TIMED_OUT
    # The funder keeps the channel, and goes on trying.
    assert alice.channel(bob).state is ChannelState.AWAITING_CONFIRMATIONS


# --- fee rates ---


@pytest.mark.parametrize("anchors", [True, False])
def test_the_fee_rate_follows_the_estimate(world: World, anchors: bool) -> None:
    alice, bob = world.node("alice", config(anchors=anchors)), world.node("bob", config(anchors=anchors))
    world.open_channel(alice, bob, 1_000_000, 500_000_000)
    held = world.route_payment([alice, bob], 30_000_000)
    for sat_per_kw in (600, 2_000, 300):
        alice.fees.sat_per_kw = sat_per_kw
        world.tick()
        assert alice.channel(bob).feerate_sat_per_kw == sat_per_kw
        assert bob.channel(alice).feerate_sat_per_kw == sat_per_kw
        world.pay([bob, alice], 1_000_000)
    # Not worth a round: a little lower only.
    alice.fees.sat_per_kw = 280
    world.tick()
    assert alice.channel(bob).feerate_sat_per_kw == 300
    world.claim([alice, bob], held)


def test_a_fee_rate_in_the_middle_of_payments(world: World) -> None:
    alice, bob = pair(world)
    world.open_channel(alice, bob, 1_000_000, 500_000_000)
    payments = [world.route_payment([alice, bob], 1_000_000, settle=False) for _ in range(3)]
    alice.fees.sat_per_kw = 900
    alice.manager.timer_tick_occurred(world.now)
    world.step()
    world.disconnect(alice, bob)
    world.connect(alice, bob)
    world.tick()
    assert alice.channel(bob).feerate_sat_per_kw == 900
    assert len(bob.events_of(ev.PaymentClaimable)) == len(payments)
    for payment in payments:
        bob.manager.claim_funds(payment.payment_preimage)
    world.settle()
    assert not alice.channel(bob).pending_htlcs
    assert len(alice.events_of(ev.PaymentSent)) == len(bob.events_of(ev.PaymentClaimed)) == len(payments)


@pytest.mark.parametrize("anchors", [True, False])
def test_a_fee_rate_that_is_too_low(world: World, anchors: bool) -> None:
    alice, bob = world.node("alice", config(anchors=anchors)), world.node("bob", config(anchors=anchors))
    alice.fees.sat_per_kw = 5_000
    bob.fees.by_target[ConfirmationTarget.MIN_ALLOWED_ANCHOR_CHANNEL_REMOTE_FEE] = 400
    bob.fees.by_target[ConfirmationTarget.MIN_ALLOWED_NON_ANCHOR_CHANNEL_REMOTE_FEE] = 400
    world.open_channel(alice, bob, 1_000_000, 500_000_000)
    alice.fees.sat_per_kw = 253
    world.tick()
    if anchors:
        assert alice.channel(bob).feerate_sat_per_kw == 253
        return
    assert bob.one_event(ev.ChannelClosed).reason.kind is ClosureKind.PROCESSING_ERROR
    alice.expect_events(ev.ChannelClosed)


# --- closing ---


@pytest.mark.parametrize("by_funder", [True, False])
@pytest.mark.parametrize("anchors", [True, False])
def test_closing_waits_for_htlcs(world: World, by_funder: bool, anchors: bool) -> None:
    alice, bob = world.node("alice", config(anchors=anchors)), world.node("bob", config(anchors=anchors))
    channel_id = world.open_channel(alice, bob, 1_000_000, 500_000_000)
    payment = world.route_payment([alice, bob], 30_000_000)
    closer, other = (alice, bob) if by_funder else (bob, alice)
    closer.manager.close_channel(channel_id, other.node_id)
    world.settle()
    assert alice.channel(bob).state is ChannelState.SHUTTING_DOWN
    assert not world.mempool
    with pytest.raises(APIError):
        closer.manager.close_channel(channel_id, other.node_id)
    world.claim([alice, bob], payment)
    (tx,) = world.mempool.values()
    assert sorted(output.value_sat for output in tx.outputs)[1] == 530_000
    for node in (alice, bob):
        node.expect_events(ev.ChannelClosed)
    world.mine(6)


def test_closing_over_a_cut_wire(make_world: WorldMaker) -> None:
    for moment in range(12):
        world = make_world()
        alice, bob = pair(world)
        channel_id = world.open_channel(alice, bob, 1_000_000, 500_000_000)
        alice.manager.close_channel(channel_id, bob.node_id)
        for _ in range(moment):
            world.step()
        world.disconnect(alice, bob)
        if moment % 2:
            world.reload_node(bob)
        world.connect(alice, bob)
        world.settle()
        assert len(world.mempool) == 1
        world.mine(6)
        assert not alice.manager.list_channels()
        assert not bob.manager.list_channels()
        for node in (alice, bob):
            node.expect_events(ev.ChannelClosed)


def test_closing_asked_for_while_disconnected(world: World) -> None:
    alice, bob = pair(world)
    channel_id = world.open_channel(alice, bob, 1_000_000, 500_000_000)
    world.disconnect(alice, bob)
    bob.manager.close_channel(channel_id, alice.node_id)
    world.reload_node(bob)
    world.connect(alice, bob)
    world.settle()
    assert bob.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COOPERATIVE_BY_HOLDER
    assert alice.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COOPERATIVE_BY_COUNTERPARTY
    world.mine(6)


def test_closing_fees_meet_in_the_overlap(world: World) -> None:
    alice, bob = pair(world)
    channel_id = world.open_channel(alice, bob, 1_000_000, 500_000_000)
    # The other side insists on more than we would propose, within what we would pay.
    alice.fees.by_target[ConfirmationTarget.NON_ANCHOR_CHANNEL_FEE] = 300
    bob.fees.by_target[ConfirmationTarget.CHANNEL_CLOSE_MINIMUM] = 1_000
    alice.manager.close_channel(channel_id, bob.node_id)
    world.settle()
    (tx,) = world.mempool.values()
    fee_sat = 1_000_000 - sum(output.value_sat for output in tx.outputs)
    assert fee_sat * 1000 // tx.weight >= 990
    for node in (alice, bob):
        node.expect_events(ev.ChannelClosed)


def test_closing_fees_that_never_meet(world: World) -> None:
    alice, bob = pair(world)
    channel_id = world.open_channel(alice, bob, 1_000_000, 500_000_000)
    bob.fees.by_target[ConfirmationTarget.CHANNEL_CLOSE_MINIMUM] = 50_000
    alice.manager.close_channel(channel_id, bob.node_id)
    world.settle()
    assert world.links
    world.tick(12)
    assert not alice.manager.list_channels()
    assert not bob.manager.list_channels()
    assert len(world.mempool) == 1
    for node in (alice, bob):
        node.expect_events(ev.ChannelClosed)


def test_a_chosen_closing_address_and_fee(world: World) -> None:
    settings = config(fixed_script=False)
    alice, bob = world.node("alice", settings), world.node("bob", settings)
    channel_id = world.open_channel(alice, bob, 1_000_000, 500_000_000)
    script = p2wpkh(b"\x03" * 33)
    alice.manager.close_channel(channel_id, bob.node_id, 2_000, script)
    world.settle()
    (tx,) = world.mempool.values()
    assert script in [output.script_pubkey for output in tx.outputs]
    fee_sat = 1_000_000 - sum(output.value_sat for output in tx.outputs)
    assert 1_900 <= fee_sat * 1000 // tx.weight <= 2_100
    for node in (alice, bob):
        node.expect_events(ev.ChannelClosed)


def test_a_fixed_closing_address_stays(world: World) -> None:
    alice, bob = pair(world)
    channel_id = world.open_channel(alice, bob)
    with pytest.raises(APIError):
        alice.manager.close_channel(channel_id, bob.node_id, None, p2wpkh(b"\x03" * 33))
    world.change_on_the_way(alice, msgs.Shutdown, script_pubkey=p2wpkh(b"\x03" * 33))
    alice.manager.close_channel(channel_id, bob.node_id)
    world.settle()
    # BOLT 2, shutdown, receiver: the connection is failed.
    assert not world.links


def test_force_close_with_htlcs_both_ways(world: World) -> None:
    alice, bob, carol = (world.node(name, config()) for name in ("alice", "bob", "carol"))
    world.open_channel(alice, bob, 1_000_000, 500_000_000)
    channel_id = world.open_channel(bob, carol, 1_000_000, 500_000_000)
    claimed = world.route_payment([alice, bob, carol], 20_000_000)
    lost = world.route_payment([alice, bob, carol], 21_000_000)
    assert len(alice.channel(bob).pending_htlcs) == 2
    bob.manager.force_close_broadcasting_latest_txn(channel_id, carol.node_id, "test")
    world.settle()
    assert carol.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COUNTERPARTY_FORCE_CLOSED
    assert bob.one_event(ev.ChannelClosed).reason.kind is ClosureKind.HOLDER_FORCE_CLOSED
    world.mine(1)
    # The preimage comes back over the chain: Bob claims from Alice, whose channel lives on.
    carol.manager.claim_funds(claimed.payment_preimage)
    world.settle()
    world.mine(2)
    sent = alice.one_event(ev.PaymentSent)
    assert sent.payment_hash == claimed.payment_hash
    assert carol.one_event(ev.PaymentClaimed).payment_hash == claimed.payment_hash
    # The other HTLC runs out, and is failed back once that is buried.
    world.mine(90)
    for _ in range(12):
        bob.monitor.rebroadcast_pending_claims()
        world.mine(1)
    failed = [event for event in alice.take_events() if isinstance(event, ev.PaymentFailed)]
    if failed:
        assert failed[0].payment_hash == lost.payment_hash


# --- gossip ---


def test_an_announced_channel_is_announced(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(announced=True)
    alice, bob = world.node("alice", settings), world.node("bob", settings)
    heard: list[msgs.Message] = []
    original = alice.manager.get_and_clear_pending_msg_events

    def listen() -> list[ev.MessageSendEvent]:
        events = original()
        heard.extend(event.msg for event in events if isinstance(event, ev.BroadcastMessage))
        return events

    monkeypatch.setattr(alice.manager, "get_and_clear_pending_msg_events", listen)
    world.open_channel(alice, bob)
    assert any(isinstance(msg, msgs.AnnouncementSignatures) for _, msg in alice.sent)
    announcements = [msg for msg in heard if isinstance(msg, msgs.ChannelAnnouncement)]
    updates = [msg for msg in heard if isinstance(msg, msgs.ChannelUpdate)]
    assert announcements
    assert updates
    assert not updates[-1].dont_forward
    assert announcements[0].short_channel_id == alice.channel(bob).short_channel_id
    # Away for long: the network is told; and told again when the peer is back.
    world.disconnect(alice, bob)
    world.tick(11)
    updates = [msg for msg in heard if isinstance(msg, msgs.ChannelUpdate)]
    assert updates[-1].disabled
    world.connect(alice, bob)
    world.tick()
    updates = [msg for msg in heard if isinstance(msg, msgs.ChannelUpdate)]
    assert not updates[-1].disabled
    assert [msg.timestamp_at for msg in updates] == sorted({msg.timestamp_at for msg in updates})


def test_a_private_channel_is_known_to_the_peer_only(world: World) -> None:
    settings = config(scid_privacy=True)
    alice, bob = world.node("alice", settings), world.node("bob", settings)
    world.open_channel(alice, bob)
    details = alice.channel(bob)
    assert details.channel_type is not None
    assert details.channel_type.scid_privacy
    assert details.inbound_payment_scid == bob.channel(alice).outbound_scid_alias
    assert details.counterparty_forwarding is not None
    assert details.counterparty_forwarding.fee_base_msat == 1_000
    updates = [msg for _, msg in bob.sent if isinstance(msg, msgs.ChannelUpdate)]
    assert updates
    assert all(msg.dont_forward for msg in updates)
    assert {msg.short_channel_id for msg in updates} == {details.outbound_scid_alias}
    assert not any(isinstance(msg, msgs.AnnouncementSignatures) for _, msg in alice.sent)


def test_settings_refuse_nonsense() -> None:
    with pytest.raises(APIError):
        ChannelHandshakeConfig(our_max_accepted_htlcs=484)
    with pytest.raises(APIError):
        UserConfig(final_cltv_expiry_delta=10)
    assert ChannelHandshakeLimits().their_to_self_delay_blocks == 2_016
