"""Payments in parts over two channels, both ways, with a real rust-lightning node."""

from __future__ import annotations

from tests.real.conftest import StartRegtest
from tests.real.node_rig import LeydenNode


def test_two_channels_carry_what_one_cannot(regtest: StartRegtest) -> None:
    net = regtest()
    alice = net.ldk_peer("alice", fund_sat=100_000_000)
    with LeydenNode(net) as us:
        us.fund(10_000_000, coins=4)
        first = us.open(alice, 1_000_000, push_sat=400_000)
        second = us.opened_by(alice, 1_000_000, push_sat=600_000)
        assert us.local_msat(first) == us.local_msat(second) == 600_000_000

        # Out: more than either channel holds of ours, and an odd number of msat.
        paid = us.pay(alice, 900_000_001)
        assert paid["fee_msat"] == 0
        received = alice.wait_event("PaymentClaimed", amount_msat=900_000_001)
        assert received["amount_msat"] == 900_000_001
        assert us.local_msat(first, second) == 1_200_000_000 - 900_000_001
        assert all(us.local_msat(channel) < 600_000_000 for channel in (first, second))

        # In: more than either channel holds of theirs.
        paid = us.paid_by(alice, 1_500_000_003)
        assert paid["fee_msat"] == 0
        assert us.local_msat(first, second) == 1_200_000_000 - 900_000_001 + 1_500_000_003
        for channel in (first, second):
            us.agrees_with(alice, channel)

        # What does not fit into both of them fails with a sentence, and nothing has moved.
        invoice = alice.call("invoice", amount_msat=2_000_000_000, description="too much")["bolt11"]
        failed = us.call("lnpay", invoice=invoice)
        assert not failed["success"]
        assert failed["reason"]
        assert us.local_msat(first, second) == 1_200_000_000 - 900_000_001 + 1_500_000_003
        us.check_log()


def test_parts_go_over_different_peers(regtest: StartRegtest) -> None:
    """us - alice - carol and us - bob - carol: neither way is wide enough alone."""
    net = regtest()
    alice = net.ldk_peer("alice", fund_sat=100_000_000)
    bob = net.ldk_peer("bob", fund_sat=100_000_000)
    carol = net.ldk_peer("carol")
    # What carol has on each way is less than what can reach us there: she finds the limits herself.
    for peer in (alice, bob):
        net.open_channel(peer, carol, amount_sat=2_000_000, push_msat=300_000_000, public=True)
    with LeydenNode(net) as us:
        us.fund(10_000_000, coins=4)
        left = us.open(alice, 1_000_000, push_sat=400_000)
        right = us.open(bob, 1_000_000, push_sat=400_000)
        us.wait_graph(2)
        carol.call("wait_graph", channels=2, timeout_ms=30_000)

        paid = us.pay(carol, 1_000_000_001)
        assert paid["fee_msat"] == 2 * 1_000
        assert us.local_msat(left, right) == 1_200_000_000 - 1_000_000_001 - 2_000
        assert us.local_msat(left) < 600_000_000
        assert us.local_msat(right) < 600_000_000

        paid = us.paid_by(carol, 1_100_000_003)
        assert paid["fee_msat"] == 2 * 1_000
        assert us.local_msat(left, right) == 1_200_000_000 - 1_000_000_001 - 2_000 + 1_100_000_003
        us.agrees_with(alice, left)
        us.agrees_with(bob, right)
        us.check_log()
