"""Reorganisations of three blocks: while a channel opens, and under each kind of close."""

from __future__ import annotations

from tests.real.conftest import StartRegtest
from tests.real.harness import LdkPeer
from tests.real.node_rig import LeydenNode

DEPTH_BLOCKS = 3
DELAY_BLOCKS = 144
"""What the peer asks of our own outputs after we force-close."""


def test_before_channel_ready(regtest: StartRegtest) -> None:
    """A funding loses its confirmations, and the channel gets ready at the place where it confirms again."""
    net = regtest()
    alice = net.ldk_peer("alice", fund_sat=100_000_000, min_depth=6)
    with LeydenNode(net) as us:
        us.fund(10_000_000)

        # Ours: the peer asks for six confirmations.
        opened = us.call("open_channel", connection_string=alice.uri, amount_sat=1_000_000, push_sat=400_000)
        ours = opened["channel_id"]
        net.node.wait_for_tx(opened["funding_txid"])
        us.mine(DEPTH_BLOCKS)
        first_scid = us.wait("a place in the chain", lambda: us.channel(ours)["short_channel_id"])
        us.reorganise(DEPTH_BLOCKS)
        us.wait("no confirmation", lambda: us.channel(ours)["confirmations"] == 0)
        assert net.node.mempool() == {opened["funding_txid"]}
        us.mine(5)
        assert not us.channel(ours)["is_usable"]
        us.mine(1)
        us.wait_usable(alice, ours)
        assert us.channel(ours)["short_channel_id"] not in (None, first_scid)

        # Theirs: we ask for three confirmations; two are taken back, with another one below.
        alice.call("connect", pubkey=us.node_id, port=us.port)
        opened = alice.call("open_channel", pubkey=us.node_id, sats=900_000, push_msat=300_000_000)
        theirs = opened["channel_id"]
        net.node.wait_for_tx(opened["funding"].split(":")[0])
        us.mine(2)
        assert not us.channel(theirs)["is_usable"]
        us.reorganise(DEPTH_BLOCKS)
        us.wait("no confirmation", lambda: us.channel(theirs)["confirmations"] == 0)
        us.mine(6)
        us.wait_usable(alice, theirs)

        us.pay(alice, 700_000_000)
        us.paid_by(alice, 200_000_000)
        assert us.local_msat(ours, theirs) == 600_000_000 + 300_000_000 - 700_000_000 + 200_000_000
        for channel in (ours, theirs):
            us.agrees_with(alice, channel)
        us.check_log()


def test_under_a_cooperative_close(regtest: StartRegtest) -> None:
    net = regtest()
    alice = net.ldk_peer("alice")
    with LeydenNode(net) as us:
        us.fund(10_000_000)
        channel = us.open(alice, 1_000_000, push_sat=400_000)
        closing_txid = us.close_channel(channel)
        us.mine(DEPTH_BLOCKS)
        closed_sat = us.wait("our share", lambda: us.sat() if not us.sat("unconfirmed") else None)
        us.reorganise(DEPTH_BLOCKS)
        us.wait("our share unconfirmed again", lambda: us.sat() < closed_sat)
        assert net.node.mempool() == {closing_txid}
        us.mine_until_swept()
        assert us.sat() == closed_sat
        us.check_coins(paid_away_sat=400_000)
        us.check_log()


def force_close_over_reorganisations(us: LeydenNode, peer: LdkPeer, channel: str) -> str:
    """The commitment and, much later, the sweep are taken out of the chain, and come back. Answers with the former."""
    mempool = us.net.node.mempool
    # Without the peer, whose own commitment could win.
    peer.stop()
    commitment_txid = us.close_channel(channel, force=True)
    us.mine(DEPTH_BLOCKS)
    us.reorganise(DEPTH_BLOCKS)
    assert commitment_txid in mempool()
    # One block for the commitment and 143 on top: the next one may hold a spend of ours.
    us.mine(DELAY_BLOCKS)
    sweep_txids = us.net.node.wait_until("the sweep", mempool)
    us.mine(DEPTH_BLOCKS)
    us.reorganise(DEPTH_BLOCKS)
    assert mempool() == sweep_txids
    return commitment_txid


def test_under_our_force_close(regtest: StartRegtest) -> None:
    """The commitment, its child and, much later, the sweep are taken out of the chain, and everything comes back."""
    net = regtest()
    alice = net.ldk_peer("alice")
    with LeydenNode(net) as us:
        us.fund(10_000_000)
        channel = us.open(alice, 1_000_000, push_sat=400_000)
        us.pay(alice, 12_345_678)
        us.agrees_with(alice, channel)
        commitment_txid = force_close_over_reorganisations(us, alice, channel)
        us.mine_until_swept()
        us.check_coins(paid_away_sat=400_000 + 12_345, commitment_txids=[commitment_txid])
        us.check_log()


def test_under_their_force_close(regtest: StartRegtest) -> None:
    net = regtest()
    alice = net.ldk_peer("alice", fund_sat=10_000_000)
    with LeydenNode(net) as us:
        us.fund(10_000_000)
        channel = us.open(alice, 1_000_000, push_sat=400_000)
        funding_txid, _colon, vout = us.channel(channel)["channel_point"].partition(":")
        alice.call("close", channel_id=channel, force=True)
        net.node.wait_for_spend(funding_txid, int(vout))
        us.mine(DEPTH_BLOCKS)
        us.reorganise(DEPTH_BLOCKS)
        # Their commitment is sent again, and so is ours: one of the two confirms.
        net.node.wait_for_spend(funding_txid, int(vout))
        us.mine(DELAY_BLOCKS)
        last_txid = us.channel(channel)["closing_txid"]
        us.mine_until_swept()
        us.check_coins(paid_away_sat=400_000, commitment_txids=[last_txid])
        us.check_log()
