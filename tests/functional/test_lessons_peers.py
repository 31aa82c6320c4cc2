"""What rust-lightning learnt from peers, played with our nodes. docs/lessons.md says which test is whose."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from tests.functional.joined import Node, World, config
from wallet.bitcoin import curve
from wallet.bitcoin.records import encode
from wallet.chain.interfaces import Row
from wallet.ln import events as ev
from wallet.ln import manager_opening, manager_payments, msgs
from wallet.ln.chan_utils import ANCHOR_OUTPUT_SAT, commit_tx_fee_sat
from wallet.ln.channel_limits import dust_exposure_msat
from wallet.ln.events import ClosureKind
from wallet.ln.onion_utils import FailurePacket
from wallet.ln.outbound_payment import OutboundPayments, PaymentNotSent, Retry
from wallet.ln.route import Path, Route
from wallet.ln.types import APIError, ChannelError, ChannelId, NodeId, PaymentHash, PaymentId, ShortChannelId

CHANNEL_SAT = 1_000_000
RESERVE_SAT = CHANNEL_SAT // 100


def start(
    world: World, funder_sat: int, *, anchors: bool, feerate_sat_per_kw: int = 253
) -> tuple[Node, Node, ChannelId]:
    """Alice, whom we watch, and Bob, who funds a channel in which he is left with so much."""
    alice, bob = world.nodes_named("alice", "bob", settings=config(anchors=anchors))
    for node in (alice, bob):
        node.fees.sat_per_kw = feerate_sat_per_kw
    channel_id = world.open_channel(bob, alice, CHANNEL_SAT, (CHANNEL_SAT - funder_sat) * 1000)
    return alice, bob, channel_id


def change_terms(node: Node, channel_id: ChannelId, side: str, **changes: int) -> None:
    """As if something else had been agreed on, which our own code would not have asked for."""
    channel = node.manager._channels[channel_id]
    changed = replace(getattr(channel.terms, side), **changes)
    terms = replace(channel.terms, **{side: changed})
    node.manager._channels[channel_id] = replace(channel, terms=terms)
    node.store.write([Row("channel", channel_id + bytes((0,)), encode(terms))])


def offer(world: World, alice: Node, bob: Node, channel_id: ChannelId, amounts_msat: Iterable[int]) -> None:
    """As if Bob had offered these HTLCs; Bob himself is silent from now on."""
    world.filter = lambda sender, _receiver, _msg: sender is not bob
    for number, amount_msat in enumerate(amounts_msat):
        msg = msgs.UpdateAddHtlc(
            channel_id=channel_id,
            htlc_id=number,
            amount_msat=amount_msat,
            payment_hash=PaymentHash(bytes(32)),
            cltv_expiry_height=200,
            onion_routing_packet=bytes(1366),
        )
        alice.inbox.append((bob.node_id, msgs.encode_message(msg)))
    world.settle()


def hang_up(world: World, alice: Node, bob: Node) -> None:
    """What Bob said, and never committed to, is forgotten; he is himself again."""
    world.disconnect(alice, bob)
    world.filter = None
    world.connect(alice, bob)


@pytest.mark.parametrize("short_sat", [0, 1], ids=["just_enough", "a_satoshi_short"])
def test_htlcs_at_the_dust_limit_cost_their_funder_a_fee(world: World, short_sat: int) -> None:
    """#3933, security: an HTLC of exactly the limit has an output. Taken for dust, it would overdraw the reserve."""
    feerate_sat_per_kw = 2_000
    # BOLT 3: 354 sat, and the fee of an HTLC-timeout transaction of 663 weight units.
    limit_sat = 354 + 663 * feerate_sat_per_kw // 1000
    count = 10
    fee_sat = (724 + 172 * count) * feerate_sat_per_kw // 1000
    funder_sat = RESERVE_SAT + fee_sat + count * limit_sat - short_sat
    alice, bob, channel_id = start(world, funder_sat, anchors=False, feerate_sat_per_kw=feerate_sat_per_kw)
    offer(world, alice, bob, channel_id, [limit_sat * 1000] * count)
    if short_sat:
        closed = alice.one_event(ev.ChannelClosed)
        assert closed.reason.kind is ClosureKind.PROCESSING_ERROR
        assert "less than its reserve and the fee" in closed.reason.message
        world.filter = None
        world.settle()
        world.disconnect(alice, bob)
        world.mine(1)
        bob.one_event(ev.ChannelClosed)
    else:
        assert len(alice.channel(bob).pending_htlcs) == count
        hang_up(world, alice, bob)


@pytest.mark.parametrize(("count", "taken"), [(18, True), (19, False)])
def test_what_is_dust_to_the_funder_only_is_paid_for_on_our_commitment_too(
    world: World, count: int, taken: bool
) -> None:
    """#3933: Bob's dust limit is the highest that we take; on Alice's commitment each of his HTLCs has an output."""
    # Without HTLCs a commitment costs 3,620 sat; each HTLC with an output adds 860. On Bob's own none has one.
    alice, bob, channel_id = start(
        world, RESERVE_SAT + 3_620 + 20 * 5_000, anchors=False, feerate_sat_per_kw=5_000
    )
    change_terms(alice, channel_id, "counterparty", dust_limit_sat=10_000)
    offer(world, alice, bob, channel_id, [5_000_000] * count)
    assert (RESERVE_SAT + 3_620 + (20 - count) * 5_000 >= 3_620 + count * 860) == taken
    if taken:
        assert len(alice.channel(bob).pending_htlcs) == count
        hang_up(world, alice, bob)
    else:
        assert "less than its reserve and the fee" in alice.one_event(ev.ChannelClosed).reason.message
        world.filter = None
        world.settle()
        world.disconnect(alice, bob)
        world.mine(1)
        bob.one_event(ev.ChannelClosed)


@pytest.mark.parametrize("short_sat", [0, 1], ids=["just_enough", "a_satoshi_short"])
def test_a_rising_fee_rate_takes_nothing_that_is_not_there(world: World, short_sat: int) -> None:
    """#3796, security: where the peer waives our reserve, our balance still has to cover the anchors."""
    bob, alice, channel_id = start(world, CHANNEL_SAT // 2, anchors=True)
    # Bob waives what Alice has to keep; then she pays him all but what a commitment costs at the new rate.
    change_terms(alice, channel_id, "counterparty", channel_reserve_sat=0)
    change_terms(bob, channel_id, "holder", channel_reserve_sat=0)
    new_sat_per_kw = 1_000
    # At twice the rate and with one HTLC more a funder has to be able to pay: so much is left in any case.
    kept_sat = 2 * ANCHOR_OUTPUT_SAT + (1124 + 172) * new_sat_per_kw // 1000 - short_sat
    paid_msat = alice.channel(bob).balance_msat - kept_sat * 1000
    world.pay([alice, bob], paid_msat)
    assert alice.channel(bob).balance_msat == kept_sat * 1000
    alice.sent.clear()
    alice.fees.sat_per_kw = bob.fees.sat_per_kw = new_sat_per_kw
    world.tick()
    asked = [msg for _, msg in alice.sent if isinstance(msg, msgs.UpdateFee)]
    assert bool(asked) == (short_sat == 0)
    assert alice.channel(bob).is_usable
    assert bob.channel(alice).is_usable
    monitor = alice.monitor.get_monitor(channel_id)
    assert monitor is not None
    newest = monitor.state.holder.commitment.commitment
    cost_sat = commit_tx_fee_sat(
        newest.feerate_sat_per_kw, 0, alice.manager._channels[channel_id].channel_type
    )
    assert kept_sat >= cost_sat + 2 * ANCHOR_OUTPUT_SAT
    assert CHANNEL_SAT - newest.tx.total_output_sat >= cost_sat


@pytest.mark.parametrize("length", [65_491, 65_491 - 924, 65_491 - 923, 300])
def test_a_failure_as_long_as_a_message_goes_upstream(
    world: World, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """#4845, #4852, security: what a node adds to a failure must not make the message too long to be sent."""
    nodes = world.line("alice", "bob", "carol")
    alice, bob, carol = nodes
    payment = world.route_payment(nodes, 10_000_000)
    with monkeypatch.context() as patch:
        patch.setattr(
            manager_payments, "build_failure_packet", lambda *_args: FailurePacket(bytes(length), None)
        )
        carol.manager.fail_htlc_backwards(payment.payment_hash)
        carol.manager.get_our_node_id()
    world.settle()
    failed = alice.one_event(ev.PaymentFailed)
    assert failed.payment_hash == payment.payment_hash
    relayed = [msg for _, msg in bob.sent if isinstance(msg, msgs.UpdateFailHtlc)]
    assert [len(msg.reason) for msg in relayed] == [length]
    assert (relayed[0].attribution_data is not None) == (length <= 65_491 - 924)
    assert all(len(msgs.encode_message(msg)) <= 65_535 for msg in relayed)
    for node in nodes:
        assert not any(channel.pending_htlcs for channel in node.manager.list_channels())


def test_openings_by_many_peers_have_a_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """#4851, security: a peer that is many costs no more memory than fifty."""
    alice, bob = world.nodes_named("alice", "bob")
    world.open_channel(alice, bob)
    alice.manager.create_channel(bob.node_id, 500_000, 0, 1, None)
    world.settle()
    sample = next(msg for _, msg in reversed(alice.sent) if isinstance(msg, msgs.OpenChannel))
    init = msgs.Init(features=alice.manager.provided_init_features(bob.node_id))
    strangers = [NodeId(curve.pubkey_from_secret((number + 1).to_bytes(32, "big"))) for number in range(60)]

    def open_from(stranger: NodeId, number: int) -> None:
        temporary = ChannelId(number.to_bytes(4, "big") * 8)
        bob.manager.handle_open_channel(stranger, replace(sample, temporary_channel_id=temporary))

    refused = 0
    for number, stranger in enumerate(strangers):
        bob.manager.peer_connected(stranger, init, True)
        try:
            open_from(stranger, 1_000 + number)
        except ChannelError:
            refused += 1
    assert refused == len(strangers) - manager_opening.MAX_UNFUNDED_PEERS
    # One that has begun may go on, up to what one peer may; one with a channel is not kept out.
    open_from(strangers[0], 5_000)
    alice.manager.create_channel(bob.node_id, 400_000, 0, 2, None)
    world.settle()
    assert len(alice.events_of(ev.FundingGenerationReady)) == 2
    # Who leaves makes room.
    bob.manager.peer_disconnected(strangers[1])
    open_from(strangers[55], 6_000)
    for stranger in strangers:
        bob.manager.peer_disconnected(stranger)
    world.disconnect(alice, bob)
    for node in (alice, bob):
        node.events_of(ev.ChannelClosed)


def test_a_second_part_of_a_spontaneous_payment_is_refused_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """#4558: what we never send ourselves, a spontaneous payment in parts, waits for nothing that may not come."""
    monkeypatch.setattr(OutboundPayments, "_problem_of", lambda *_args: None)
    alice, bob = world.nodes_named("alice", "bob")
    for _ in range(2):
        world.open_channel(alice, bob, 1_000_000, 0)
    paths = [world.path([alice, bob], 5_000_000, index=index) for index in range(2)]
    route = world.route(paths, bob)
    alice.router.routes.append(route)
    alice.manager.send_spontaneous_payment(
        None, PaymentId(bytes(32)), route.route_params, Retry.attempts(0), world.now
    )
    world.settle()
    claimable = bob.one_event(ev.PaymentClaimable)
    assert claimable.amount_msat == 5_000_000
    assert sum(len(details.pending_htlcs) for details in bob.channels(alice)) == 1
    bob.manager.fail_htlc_backwards(claimable.payment_hash)
    world.settle()
    assert not any(details.pending_htlcs for details in bob.channels(alice))
    alice.one_event(ev.PaymentFailed)


def test_a_route_that_is_none_is_refused_and_leaves_nothing_pending(world: World) -> None:
    """#4707, #3531: nothing hangs, and nothing falls over."""
    alice, bob = world.nodes_named("alice", "bob")
    world.open_channel(alice, bob)
    payment = world.invoice(bob, 1_000_000)
    good = world.route([world.path([alice, bob], 1_000_000)], bob)
    with pytest.raises(APIError):
        Path(hops=())
    nowhere = replace(good.paths[0].hops[0], short_channel_id=ShortChannelId(1))
    for paths in ((), (Path(hops=(nowhere,)),)):
        bad = Route(paths=paths, route_params=good.route_params)
        try:
            world.send(payment, alice, bad)
        except PaymentNotSent:
            assert not paths
        world.settle()
        for failed in alice.events_of(ev.PaymentFailed):
            assert failed.payment_id == payment.payment_id
            world.tick(10)
        assert not alice.channel(bob).pending_htlcs
        assert not any(found.parts_pending for found in alice.manager.list_recent_payments())
    again = replace(payment, payment_id=PaymentId(bytes(32)))
    world.send(again, alice, good)
    world.settle()
    bob.one_event(ev.PaymentClaimable)
    world.claim([alice, bob], payment)


def test_a_block_without_news_writes_little(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """#4544: a block costs a small row for each channel, once, and never a whole monitor."""
    nodes = world.line("alice", "bob", "carol")
    bob = nodes[1]
    world.route_payment(nodes, 10_000_000)
    written: list[Row] = []
    write = bob.store.write

    def note(rows: Iterable[Row]) -> None:
        kept = list(rows)
        written.extend(kept)
        write(kept)

    monkeypatch.setattr(bob.store, "write", note)
    before = {key: value for key, value in bob.store.rows.items() if key[0].startswith("monitor")}
    world.mine(1)
    after = {key: value for key, value in bob.store.rows.items() if key[0].startswith("monitor")}
    assert {key for key in after if after[key] != before.get(key)} <= {
        ("monitor_head", channel_id) for channel_id in bob.monitor.list_monitors()
    }
    assert {row.space for row in written if row.space.startswith("monitor")} == {"monitor_head"}
    world.claim(nodes, world.route_payment(nodes, 1_000_000))


def test_dust_is_added_up_in_full_millisatoshis(world: World) -> None:
    """#3572: parts of a satoshi are not lost in the sum of what dust may cost."""
    alice, bob = world.nodes_named("alice", "bob")
    channel = alice.manager._channels[world.open_channel(alice, bob)]
    amounts = [(True, 999)] * 500 + [(False, 1)] * 501
    for of_holder in (True, False):
        assert dust_exposure_msat(channel, amounts, 253, of_holder=of_holder) == 500 * 999 + 501
