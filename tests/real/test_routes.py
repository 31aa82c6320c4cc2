"""Payments over several hops between real rust-lightning nodes: through us, from us, and to us."""

from __future__ import annotations

from tests.real.conftest import StartRegtest
from tests.real.node_rig import FORWARDING, LeydenNode

FEE_MSAT = 1_000
"""Our forwarding fee, and that of the peers."""


def test_we_forward_between_two_peers_and_back(regtest: StartRegtest) -> None:
    """Over private channels: each peer's invoice names us as the way."""
    net = regtest()
    alice = net.ldk_peer("alice", fund_sat=100_000_000)
    bob = net.ldk_peer("bob")
    with LeydenNode(net, config=FORWARDING) as us:
        us.fund(10_000_000)
        left = us.opened_by(alice, 1_000_000, push_sat=200_000)
        right = us.open(bob, 800_000, push_sat=100_000)
        ours_msat = us.local_msat(left, right)
        assert ours_msat == 900_000_000

        for payer, payee, amount_msat in ((alice, bob, 300_000_007), (bob, alice, 200_000_001)):
            invoice = payee.call("invoice", amount_msat=amount_msat, description="over us")["bolt11"]
            paid = payer.call("pay", bolt11=invoice)
            assert paid["status"] == "sent", paid
            assert paid["fee_msat"] == FEE_MSAT
            ours_msat += FEE_MSAT
            assert us.local_msat(left, right) == ours_msat
        assert us.local_msat(left) == 200_000_000 + 300_000_007 - 200_000_001 + FEE_MSAT
        us.agrees_with(alice, left)
        us.agrees_with(bob, right)

        # One that the payee gives back goes back to the payer, and costs nobody anything.
        invoice = bob.call("invoice", amount_msat=50_000_000, description="no, thanks", hold=True)
        started = alice.call("pay", bolt11=invoice["bolt11"], wait=False)
        bob.wait_event("PaymentClaimable", payment_hash=invoice["payment_hash"])
        assert us.channel(left)["remote_unsettled_sent"] == 50_001
        bob.call("fail", payment_hash=invoice["payment_hash"])
        assert alice.call("wait_payment", payment_id=started["payment_id"])["status"] == "failed"
        assert us.local_msat(left, right) == ours_msat
        us.agrees_with(alice, left)
        us.agrees_with(bob, right)
        us.check_log()


def test_we_are_a_public_hop(regtest: StartRegtest) -> None:
    """Our announcements are believed by others, who find the way over us in their graphs."""
    net = regtest()
    alice = net.ldk_peer("alice", fund_sat=100_000_000)
    bob = net.ldk_peer("bob")
    with LeydenNode(net, config=FORWARDING) as us:
        us.fund(10_000_000)
        left = us.opened_by(alice, 1_000_000, push_sat=200_000, public=True)
        right = us.open(bob, 800_000, push_sat=100_000, public=True)
        us.wait_graph(2)
        us.relay_gossip()
        for peer in (alice, bob):
            peer.call("wait_graph", channels=2, timeout_ms=30_000)
        said = []
        for _turn in range(2):
            us.tick_channels()
            said.append(us.node.graph.node_announcement(us.node.keys_manager.get_node_id()))
        # Once is enough: what was said stands in our own graph.
        assert said[0] is not None
        assert said[1] == said[0]
        ours_msat = us.local_msat(left, right)
        for payer, payee in ((alice, bob), (bob, alice)):
            invoice = payee.call("invoice", amount_msat=10_000_000, description="public")["bolt11"]
            paid = payer.call("pay", bolt11=invoice)
            assert paid["status"] == "sent", paid
            assert paid["fee_msat"] == FEE_MSAT
            ours_msat += FEE_MSAT
        assert us.local_msat(left, right) == ours_msat
        # What was said before the payments has been read before them: our name and signature are believed.
        for peer in (alice, bob):
            nodes = peer.call("graph", detail=True)["node_list"]
            assert {node["node_id"]: node["announced"] for node in nodes}[us.node_id]
        us.check_log()


def test_we_pay_over_two_public_hops_and_are_paid_by_hint(regtest: StartRegtest) -> None:
    """us - alice - bob - carol: the first channel is private, the others are known by gossip."""
    net = regtest()
    alice = net.ldk_peer("alice", fund_sat=100_000_000)
    bob = net.ldk_peer("bob", fund_sat=100_000_000)
    carol = net.ldk_peer("carol")
    net.open_channel(alice, bob, amount_sat=2_000_000, push_msat=1_000_000_000, public=True)
    net.open_channel(bob, carol, amount_sat=2_000_000, push_msat=1_000_000_000, public=True)
    with LeydenNode(net) as us:
        us.fund(10_000_000)
        ours = us.open(alice, 1_000_000, push_sat=500_000)
        us.wait_graph(2)

        # The invoice of an announced node names no way: it is in our graph.
        invoice = carol.call("invoice", amount_msat=100_000_003, description="far away")["bolt11"]
        assert us.call("decode_invoice", invoice=invoice)["r_tags"] == []
        paid = us.call("lnpay", invoice=invoice)
        assert paid["success"], paid
        assert paid["fee_msat"] == 2 * FEE_MSAT
        assert us.local_msat(ours) == 500_000_000 - 100_000_003 - 2 * FEE_MSAT

        # Ours names alice: carol finds alice in its graph, over bob.
        carol.call("wait_graph", channels=2, timeout_ms=30_000)
        request = us.invoice(70_000_001)
        assert len(us.call("decode_invoice", invoice=request)["r_tags"]) == 1
        paid = carol.call("pay", bolt11=request)
        assert paid["status"] == "sent", paid
        assert paid["fee_msat"] == 2 * FEE_MSAT
        assert us.local_msat(ours) == 500_000_000 - 100_000_003 - 2 * FEE_MSAT + 70_000_001
        us.agrees_with(alice, ours)

        # What was heard is there again after a restart, before anybody tells it again.
        net.peers[0].stop()
        us.restart()
        us.wait("the graph from the file", lambda: us.node.graph.channel_count == 2)
        us.check_log()


def test_dearer_terms_arrive_and_a_hop_without_liquidity_is_gone_around(regtest: StartRegtest) -> None:
    """us - alice - carol is shorter, but alice has nothing in it; us - alice - bob - carol has become dearer."""
    net = regtest()
    alice = net.ldk_peer("alice", fund_sat=100_000_000)
    bob = net.ldk_peer("bob", fund_sat=100_000_000)
    carol = net.ldk_peer("carol", fund_sat=100_000_000)
    net.open_channel(carol, alice, amount_sat=2_000_000, public=True)
    net.open_channel(alice, bob, amount_sat=2_000_000, push_msat=1_000_000_000, public=True)
    far = net.open_channel(bob, carol, amount_sat=2_000_000, push_msat=1_000_000_000, public=True)
    scid = next(row["scid"] for row in bob.call("list_channels") if row["channel_id"] == far)
    with LeydenNode(net) as us:
        us.fund(10_000_000)
        ours = us.open(alice, 1_000_000, push_sat=500_000)
        us.wait_graph(3)

        # Bob's word comes by alice, to whom alone we are connected.
        bob.call("set_channel_fees", channel_id=far, base_msat=3_000, ppm=100)
        us.wait("bob's new terms", lambda: (3_000, 100) in us.terms(scid))
        assert sorted(us.terms(scid)) == [(FEE_MSAT, 0), (3_000, 100)]

        amount_msat = 100_000_003
        invoice = carol.call("invoice", amount_msat=amount_msat, description="round about")["bolt11"]
        paid = us.call("lnpay", invoice=invoice, trace=True)
        assert paid["success"], paid
        nodes = [[hop["node_id"] for hop in attempt["path"]] for attempt in paid["attempts"]]
        assert nodes == [
            [alice.node_id, carol.node_id],
            [alice.node_id, bob.node_id, carol.node_id],
        ]
        assert paid["attempts"][0]["failure_name"] == "temporary_channel_failure"
        fee_msat = FEE_MSAT + 3_000 + amount_msat * 100 // 1_000_000
        assert paid["fee_msat"] == fee_msat
        assert us.local_msat(ours) == 500_000_000 - amount_msat - fee_msat
        us.agrees_with(alice, ours)
        us.check_log()
