"""What rust-lightning learnt on the chain, played with our nodes. docs/lessons.md says which test is whose.

Bob forwards, and must not lose: what he is owed upstream he gets, if what he offered downstream was taken.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.functional.joined import Node, Payment, World, config
from wallet.bitcoin.tx import OutPoint, Transaction
from wallet.chain.interfaces import BroadcastPackage
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.channelmonitor import ChannelMonitor
from wallet.ln.config import LATENCY_GRACE_PERIOD_BLOCKS
from wallet.ln.events import ClosureKind
from wallet.ln.outbound_payment import OutboundPayments
from wallet.ln.types import ChannelId, PaymentPreimage


def row(world: World, *, anchors: bool = False) -> list[Node]:
    """Alice, Bob and Carol, with short delays. Without anchors commitments pay their own fees: no coins are needed."""
    settings = config(anchors=anchors)
    handshake = replace(settings.channel_handshake_config, our_to_self_delay_blocks=144)
    return world.line("alice", "bob", "carol", settings=replace(settings, channel_handshake_config=handshake))


def wealth_msat(node: Node) -> int:
    """Open channels, and what closed ones have given."""
    held_msat = sum(details.balance_msat for details in node.manager.list_channels())
    return held_msat + node.came_home_sat() * 1000


def closed(*nodes: Node) -> None:
    for node in nodes:
        node.one_event(ev.ChannelClosed)


def everything_comes_home(world: World, funding: OutPoint, *nodes: Node) -> None:
    world.drain(*nodes)
    world.check_all_claimed(funding, *nodes)


@pytest.mark.parametrize("closer", ["carol", "bob"])
def test_equal_hash_and_amount_both_ways(world: World, closer: str) -> None:
    """#4854: on a commitment that is not revoked, an HTLC of the peer's must not be taken for one of ours."""
    alice, bob, carol = row(world)
    before_msat = wealth_msat(bob)
    channel_id = bob.channel(carol).channel_id
    funding = world.funding_of(bob, channel_id)
    there = world.route_payment([alice, bob, carol], 50_000_000)
    secret = alice.manager.create_inbound_payment_for_hash(there.payment_hash, None, 3600, world.now)
    back = Payment(
        payment_id=world.invoice(alice, 1).payment_id,
        payment_hash=there.payment_hash,
        payment_preimage=PaymentPreimage(bytes(32)),
        payment_secret=secret,
        # Bob keeps a satoshi: on his channel with Carol both amounts are the same.
        amount_msat=49_999_000,
    )
    world.send(back, carol, world.route([world.path([carol, bob, alice], 49_999_000)], alice))
    world.settle()
    alice.one_event(ev.PaymentClaimable)
    amounts = [(htlc.amount_msat, htlc.payment_hash) for htlc in bob.channel(carol).pending_htlcs]
    assert amounts == [(50_000_000, there.payment_hash)] * 2
    world.disconnect(bob, carol)
    node, peer = (carol, bob) if closer == "carol" else (bob, carol)
    node.manager.force_close_broadcasting_latest_txn(channel_id, peer.node_id, "test")
    world.mine(1)
    closed(bob, carol)
    # Carol takes what Bob offered, and shows the preimage by that; Alice takes what Carol had offered.
    carol.manager.claim_funds(there.payment_preimage)
    world.settle()
    world.mine(1)
    assert alice.one_event(ev.PaymentSent).payment_preimage == there.payment_preimage
    alice.manager.claim_funds(there.payment_preimage)
    world.settle()
    world.mine(1)
    assert not alice.channel(bob).pending_htlcs
    assert carol.one_event(ev.PaymentSent).payment_preimage == there.payment_preimage
    everything_comes_home(world, funding, bob, carol)
    alice.one_event(ev.PaymentClaimed)
    carol.one_event(ev.PaymentClaimed)
    # All but the fees of the chain, of which a commitment and a few claims can cost so much.
    assert wealth_msat(bob) > before_msat - 5_000_000


def in_two_parts(world: World, nodes: list[Node], each_msat: int) -> Payment:
    """Two HTLCs with the same hash, amount and expiry on each channel, until the payee can claim them."""
    payment = world.invoice(nodes[-1], 2 * each_msat)
    paths = [world.path(nodes, each_msat) for _ in range(2)]
    world.send(payment, nodes[0], world.route(paths, nodes[-1]))
    world.settle()
    nodes[-1].one_event(ev.PaymentClaimable)
    return payment


def outputs_of_htlcs(node: Node, channel_id: ChannelId, tx: Transaction) -> list[OutPoint]:
    monitor = node.monitor.get_monitor(channel_id)
    assert monitor is not None
    commitment = monitor.state.holder.commitment.commitment
    assert commitment.tx.txid == tx.txid
    return [
        OutPoint(tx.txid, htlc.output_index) for htlc in commitment.htlcs if htlc.output_index is not None
    ]


def keep_from(monkeypatch: pytest.MonkeyPatch, node: Node, *outpoints: OutPoint) -> None:
    """What the node sends to spend these never leaves."""
    send = node.broadcast_transactions

    def some(package: BroadcastPackage) -> None:
        if not any(txin.prevout in outpoints for tx in package.txs for txin in tx.inputs):
            send(package)

    monkeypatch.setattr(node, "broadcast_transactions", some)


@pytest.mark.parametrize("taken", [0, 1])
def test_equal_hash_and_amount_side_by_side(
    world: World, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    """#4854: of two that Bob forwarded alike, Carol takes one; the other goes back to where it came from."""
    alice, bob, carol = row(world)
    before_msat = wealth_msat(bob)
    channel_id = bob.channel(carol).channel_id
    funding = world.funding_of(bob, channel_id)
    payment = in_two_parts(world, [alice, bob, carol], 50_000_000)
    tx = world.commitment_of(carol, channel_id)
    outputs = outputs_of_htlcs(carol, channel_id, tx)
    assert len(outputs) == 2
    keep_from(monkeypatch, carol, outputs[1 - taken])
    world.disconnect(bob, carol)
    world.broadcast(tx)
    world.mine(1)
    closed(bob, carol)
    carol.manager.claim_funds(payment.payment_preimage)
    world.settle()
    world.mine(1)
    assert world.spender_of(outputs[taken]) is not None
    assert world.spender_of(outputs[1 - taken]) is None
    assert alice.one_event(ev.PaymentSent).payment_preimage == payment.payment_preimage
    assert len(alice.channel(bob).pending_htlcs) == 1
    world.mine(100)
    # Bob took the other one back when its time was over.
    assert world.spender_of(outputs[1 - taken]) is not None
    assert not alice.channel(bob).pending_htlcs
    assert alice.channel(bob).is_usable
    carol.one_event(ev.PaymentClaimed)
    everything_comes_home(world, funding, bob, carol)
    assert wealth_msat(bob) > before_msat - 5_000_000


def test_a_revoked_commitment_with_equal_htlcs_closes_no_other_channel(world: World) -> None:
    """#3556, security: the cheater's HTLCs, alike in hash and amount, are each failed back upstream."""
    alice, bob, carol = row(world)
    before_msat = wealth_msat(bob)
    channel_id = bob.channel(carol).channel_id
    funding = world.funding_of(bob, channel_id)
    in_two_parts(world, [alice, bob, carol], 50_000_000)
    cheat = world.commitment_of(carol, channel_id)
    world.pay([alice, bob, carol], 100_000_000)
    world.disconnect(bob, carol)
    world.broadcast(cheat)
    world.mine(1)
    closed(bob, carol)
    # Far beyond every deadline of what Alice has offered.
    world.mine(200)
    alice.one_event(ev.PaymentFailed)
    assert alice.channel(bob).is_usable
    assert not alice.channel(bob).pending_htlcs
    everything_comes_home(world, funding, bob, carol)
    # Everything on the channel with Carol is his.
    assert wealth_msat(bob) > before_msat + 300_000_000


def part_of(world: World, payer: Node, nodes: list[Node], payment: Payment, total_msat: int) -> None:
    """One part of a payment that several payers make together, as those may who know the invoice."""
    recipient = world.route([world.path(nodes, payment.amount_msat)], nodes[-1])
    params = replace(recipient.route_params, final_value_msat=total_msat)
    world.send(payment, payer, replace(recipient, route_params=params))
    world.settle()


def test_of_two_alike_the_revoked_commitment_holds_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """#3556, security: the one that the cheater left out is failed back as well."""
    monkeypatch.setattr(OutboundPayments, "_problem_of", lambda *_args: None)
    alice, bob, carol = row(world)
    dave = world.node("dave", config(anchors=False))
    world.open_channel(dave, bob, 1_000_000, 500_000_000)
    channel_id = bob.channel(carol).channel_id
    funding = world.funding_of(bob, channel_id)
    payment = replace(world.invoice(carol, 100_000_000), amount_msat=50_000_000)
    part_of(world, alice, [alice, bob, carol], payment, 100_000_000)
    cheat = world.commitment_of(carol, channel_id)
    part_of(world, dave, [dave, bob, carol], payment, 100_000_000)
    assert carol.one_event(ev.PaymentClaimable).amount_msat == 100_000_000
    alike = {(htlc.amount_msat, htlc.payment_hash) for htlc in bob.channel(carol).pending_htlcs}
    assert alike == {(50_000_000, payment.payment_hash)}
    world.disconnect(bob, carol)
    world.broadcast(cheat)
    world.mine(1)
    closed(bob, carol)
    world.mine(200)
    for node in (alice, dave):
        node.one_event(ev.PaymentFailed)
        assert node.channel(bob).is_usable
        assert not node.channel(bob).pending_htlcs
    world.drain(bob)
    world.check_all_claimed(funding, bob)


@pytest.mark.parametrize("closer", ["bob", "carol"])
@pytest.mark.parametrize("anchors", [False, True], ids=["plain", "anchors"])
@pytest.mark.parametrize("reorganised", [False, True], ids=["straight", "reorganised"])
def test_preimages_that_come_late_one_by_one(
    world: World, closer: str, anchors: bool, reorganised: bool
) -> None:
    """#4154, security: with some HTLCs of a closed channel claimed already, a later preimage claims the others."""
    alice, bob, carol = row(world, anchors=anchors)
    for node in (bob, carol):
        node.give_coins(8)
    channel_id = bob.channel(carol).channel_id
    funding = world.funding_of(bob, channel_id)
    payments = [world.route_payment([alice, bob, carol], 20_000_000 + place) for place in range(4)]
    world.disconnect(bob, carol)
    node, peer = (carol, bob) if closer == "carol" else (bob, carol)
    node.manager.force_close_broadcasting_latest_txn(channel_id, peer.node_id, "test")
    world.mine(1)
    closed(bob, carol)
    for place, payment in enumerate(payments):
        carol.manager.claim_funds(payment.payment_preimage)
        world.settle()
        world.mine(1)
        if reorganised and place == 1:
            world.reorganise(1)
        assert len(alice.events_of(ev.PaymentSent)) == 1
        carol.one_event(ev.PaymentClaimed)
    assert not alice.channel(bob).pending_htlcs
    everything_comes_home(world, funding, bob, carol)


@pytest.mark.parametrize("closer", ["bob", "carol"])
@pytest.mark.parametrize("anchors", [False, True], ids=["plain", "anchors"])
def test_a_preimage_that_comes_when_time_outs_are_claimed(world: World, closer: str, anchors: bool) -> None:
    """#4154, security: what had expired is claimed already, and must not come along with the new claim."""
    alice, bob, carol = row(world, anchors=anchors)
    for node in (bob, carol):
        node.give_coins(8)
    before_msat = wealth_msat(bob)
    channel_id = bob.channel(carol).channel_id
    funding = world.funding_of(bob, channel_id)
    for place in range(2):
        world.route_payment([alice, bob, carol], 20_000_000 + place)
    expiry_height = max(htlc.cltv_expiry_height for htlc in bob.channel(carol).pending_htlcs)
    # Alice may take her time for what Carol sends her.
    payment = world.invoice(alice, 30_000_000)
    path = world.path([carol, bob, alice], 30_000_000)
    late = replace(path.hops[-1], cltv_expiry_delta=300)
    world.send(payment, carol, world.route([replace(path, hops=(*path.hops[:-1], late))], alice))
    world.settle()
    alice.one_event(ev.PaymentClaimable)
    world.disconnect(bob, carol)
    node, peer = (carol, bob) if closer == "carol" else (bob, carol)
    node.manager.force_close_broadcasting_latest_txn(channel_id, peer.node_id, "test")
    world.mine(1)
    closed(bob, carol)
    # One of Bob's claims is buried, and the other one waits, should they not be one.
    world.mine_to(expiry_height + 1)
    world.mine(1)
    alice.manager.claim_funds(payment.payment_preimage)
    world.settle()
    world.mine(20)
    alice.one_event(ev.PaymentClaimed)
    assert len(alice.events_of(ev.PaymentFailed)) == 2
    assert carol.one_event(ev.PaymentSent).payment_preimage == payment.payment_preimage
    assert not alice.channel(bob).pending_htlcs
    everything_comes_home(world, funding, bob, carol)
    assert wealth_msat(bob) > before_msat - 5_000_000


@pytest.mark.parametrize("kill", [False, True], ids=["on", "killed"])
def test_an_htlc_is_failed_back_before_upstream_has_to_go_to_the_chain(world: World, kill: bool) -> None:
    """#3556: the close downstream does not confirm; one channel less is lost if that is admitted upstream."""
    alice, bob, carol = row(world)
    channel_id = bob.channel(carol).channel_id
    world.route_payment([alice, bob, carol], 50_000_000)
    (upstream,) = alice.channel(bob).pending_htlcs
    world.disconnect(bob, carol)
    bob.manager.force_close_broadcasting_latest_txn(channel_id, carol.node_id, "test")
    bob.one_event(ev.ChannelClosed)
    while world.height < upstream.cltv_expiry_height - LATENCY_GRACE_PERIOD_BLOCKS - 1:
        world.mine(1, empty=True)
    if kill:
        world.reload_node(bob)
        world.connect(alice, bob)
    bob.manager.timer_tick_occurred(world.now)
    world.settle()
    assert alice.channel(bob).pending_htlcs
    world.mine(1, empty=True)
    bob.manager.timer_tick_occurred(world.now)
    world.settle()
    assert alice.one_event(ev.PaymentFailed).attempts
    assert not alice.channel(bob).pending_htlcs
    world.mine(20, empty=True)
    assert alice.channel(bob).is_usable
    # What becomes of it downstream changes nothing any more.
    world.mine(200)
    carol.one_event(ev.ChannelClosed)
    world.drain(bob, carol)
    assert alice.channel(bob).is_usable


@pytest.mark.parametrize("depth", [1, 6, 9])
def test_htlcs_that_expire_apart_are_claimed_through_a_reorganisation(world: World, depth: int) -> None:
    """#4849, #3923: claims that were joined at one height, and cannot be at another, are made all the same."""
    alice, bob, carol = row(world)
    channel_id = bob.channel(carol).channel_id
    funding = world.funding_of(bob, channel_id)
    for place in range(4):
        world.route_payment([alice, bob, carol], 20_000_000 + place)
        world.mine(2)
    expiries = sorted(htlc.cltv_expiry_height for htlc in bob.channel(carol).pending_htlcs)
    assert len(set(expiries)) == 4
    world.disconnect(bob, carol)
    carol.manager.force_close_broadcasting_latest_txn(channel_id, bob.node_id, "test")
    world.mine(1)
    closed(bob, carol)
    # Until all four are due, and claimed together or apart; then some are due no more.
    while world.height < expiries[-1] - 1:
        world.mine(1, empty=True)
    world.mine(2)
    world.reorganise(depth)
    world.mine(30)
    assert len(alice.events_of(ev.PaymentFailed)) == 4
    assert not alice.channel(bob).pending_htlcs
    assert alice.channel(bob).is_usable
    everything_comes_home(world, funding, bob, carol)


def test_what_is_spent_already_is_not_claimed_again_and_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """#3923: a peer that claims one of several expired HTLCs late cannot have us send what can never confirm."""
    alice, bob, carol = row(world)
    channel_id = bob.channel(carol).channel_id
    funding = world.funding_of(bob, channel_id)
    payments = []
    for place in range(3):
        payments.append(world.route_payment([alice, bob, carol], 20_000_000 + place))
        world.mine(2)
    expiries = sorted(htlc.cltv_expiry_height for htlc in bob.channel(carol).pending_htlcs)
    outputs = outputs_of_htlcs(carol, channel_id, world.commitment_of(carol, channel_id))
    world.disconnect(bob, carol)
    carol.manager.force_close_broadcasting_latest_txn(channel_id, bob.node_id, "test")
    world.mine(1)
    closed(bob, carol)
    # Carol has claimed the first one, and keeps her transaction to herself until Bob's own claim is on its way.
    carol.manager.claim_funds(payments[0].payment_preimage)
    withheld: list[BroadcastPackage] = []
    monkeypatch.setattr(carol, "broadcast_transactions", withheld.append)
    world.settle()
    while world.height < expiries[0] + 1:
        world.mine(1, empty=True)
    assert withheld
    for txid in list(world.mempool):
        world.evict(txid)
    hers = {tx.txid for package in withheld for tx in package.txs if world.broadcast(tx)}
    monkeypatch.undo()
    sent: list[Transaction] = []
    send = bob.broadcast_transactions

    def note(package: BroadcastPackage) -> None:
        sent.extend(package.txs)
        send(package)

    monkeypatch.setattr(bob, "broadcast_transactions", note)
    world.mine(1)
    alice.one_event(ev.PaymentSent)
    before = len(sent)
    world.mine(60)
    taken = [outpoint for outpoint in outputs if world.spender_of(outpoint) in hers]
    assert len(taken) == 1
    assert not any(txin.prevout in taken for tx in sent[before:] for txin in tx.inputs)
    claimed = {txin.prevout for tx in sent for txin in tx.inputs}
    assert claimed >= set(outputs) - set(taken)
    assert len(alice.events_of(ev.PaymentFailed)) == 2
    carol.events_of(ev.PaymentClaimed)
    everything_comes_home(world, funding, bob, carol)


@pytest.mark.parametrize("kill", [False, True], ids=["on", "killed"])
def test_an_htlc_whose_update_waited_for_its_copy_is_not_forgotten_at_a_close(
    world: World, kill: bool
) -> None:
    """#3989: Carol has never seen it; Alice gets it back."""
    alice, bob, carol = row(world)
    channel_id = bob.channel(carol).channel_id
    funding = world.funding_of(bob, channel_id)
    bob.copies_late = True
    bob.sent.clear()
    payment = world.invoice(carol, 50_000_000)
    world.send(payment, alice, world.route([world.path([alice, bob, carol], 50_000_000)], carol))
    world.settle()
    while [item for item in bob.copies_due if item[0] != channel_id]:
        for item in [item for item in bob.copies_due if item[0] != channel_id]:
            bob.copies_due.remove(item)
            bob.monitor.channel_monitor_updated(*item)
        world.settle()
    assert not any(isinstance(msg, msgs.CommitmentSigned) for to, msg in bob.sent if to == carol.node_id)
    assert bob.channel(carol).pending_htlcs
    bob.copies_late = False
    bob.manager.force_close_broadcasting_latest_txn(channel_id, carol.node_id, "test")
    if kill:
        world.reload_node(bob)
        world.connect(alice, bob)
    else:
        bob.complete_copies()
    world.settle()
    world.mine(10)
    closed(bob, carol)
    alice.one_event(ev.PaymentFailed)
    assert alice.channel(bob).is_usable
    assert not alice.channel(bob).pending_htlcs
    everything_comes_home(world, funding, bob, carol)


def monitor_of(node: Node) -> ChannelMonitor:
    """Of the only channel."""
    (channel_id,) = node.monitor.list_monitors()
    monitor = node.monitor.get_monitor(channel_id)
    assert monitor is not None
    return monitor


def test_a_channel_that_was_never_funded_leaves_nothing_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """#4081, security: monitors of fundings that never come must not fill our memory and disk."""
    alice, bob = world.nodes_named("alice", "bob")
    monkeypatch.setattr(alice, "broadcast_transactions", lambda package: None)
    world.connect(alice, bob)
    alice.manager.create_channel(bob.node_id, 1_000_000, 0, 1, None)
    world.settle()
    world.fund_channel(alice, bob)
    alice.one_event(ev.ChannelPending)
    bob.one_event(ev.ChannelPending)
    world.disconnect(alice, bob)
    world.mine(2016)
    assert bob.one_event(ev.ChannelClosed).reason.kind is ClosureKind.FUNDING_TIMED_OUT
    assert not bob.balances()
    bob.monitor.archive_fully_resolved_monitors()
    assert not bob.monitor.list_monitors()
    assert not [
        key for key in bob.store.rows if key[0].startswith("monitor") and key[0] != "monitor_archived"
    ]


@pytest.mark.parametrize("comes_late", [False, True], ids=["never", "late"])
def test_a_funder_that_forgot_an_opening_leaves_nothing_to_wait_for(world: World, comes_late: bool) -> None:
    """#4081 as it happens: the funder went before our funding_signed reached it, and knows of no channel any more.
    Its funding may still come, should it lie."""
    alice, bob = world.nodes_named("alice", "bob", settings=config(delay_blocks=20))
    world.connect(alice, bob)
    alice.manager.create_channel(bob.node_id, 1_000_000, 300_000_000, 1, None)
    world.settle()
    ready = alice.one_event(ev.FundingGenerationReady)
    tx = world.fund(ready.output_script, ready.channel_value_sat)
    world.filter = lambda _sender, _receiver, msg: not isinstance(msg, msgs.FundingSigned)
    alice.manager.funding_transaction_generated(ready.temporary_channel_id, bob.node_id, tx)
    world.settle()
    bob.one_event(ev.ChannelPending)
    world.filter = None
    world.disconnect(alice, bob)
    alice.expect_events(ev.ChannelClosed, ev.DiscardFunding)
    world.connect(alice, bob)
    assert bob.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COUNTERPARTY_FORCE_CLOSED
    assert not bob.balances()
    world.reload_node(bob)
    assert not bob.balances()
    for _ in range(20):
        bob.monitor.rebroadcast_pending_claims()
        world.settle()
    assert not monitor_of(bob).state.onchain.claims.requests
    if comes_late:
        alice.broadcast_transactions(BroadcastPackage((tx,)))
        world.mine(1)
        assert bob.balances()
        world.drain(bob)
        assert bob.came_home_sat() == 300_000
    else:
        world.mine(2015)
        bob.monitor.archive_fully_resolved_monitors()
        assert bob.monitor.list_monitors()
        world.mine(1)
        bob.monitor.archive_fully_resolved_monitors()
        assert not bob.monitor.list_monitors()
