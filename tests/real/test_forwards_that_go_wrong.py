"""We forward between two rust-lightning peers, and something happens while the HTLC is held at the payee."""

from __future__ import annotations

from typing import Any

from tests.real.conftest import StartRegtest
from tests.real.harness import LdkPeer, Regtest
from tests.real.node_rig import FORWARDING, LeydenNode

FEE_MSAT = 1_000
AMOUNT_MSAT = 50_000_000


class Forward:
    """A payment from alice to bob over us that bob holds.

    Attributes:
        left, right: our channels, with alice and with bob.
    """

    def __init__(self, net: Regtest, us: LeydenNode, alice: LdkPeer, bob: LdkPeer) -> None:
        us.fund(10_000_000, coins=4)
        self.us = us
        self.alice = alice
        self.left = us.opened_by(alice, 1_000_000, push_sat=200_000)
        self.right = us.open(bob, 800_000, push_sat=100_000)
        invoice = bob.call("invoice", amount_msat=AMOUNT_MSAT, description="held", hold=True)
        self.payment_hash = invoice["payment_hash"]
        self.payment_id = alice.call("pay", bolt11=invoice["bolt11"], wait=False)["payment_id"]
        bob.wait_event("PaymentClaimable", payment_hash=self.payment_hash)

    def outcome(self) -> Any:
        """What alice's payment came to."""
        return self.alice.call("wait_payment", payment_id=self.payment_id, timeout_ms=30_000)["status"]


def test_we_restart_meanwhile(regtest: StartRegtest) -> None:
    net = regtest()
    alice = net.ldk_peer("alice", fund_sat=100_000_000)
    bob = net.ldk_peer("bob")
    with LeydenNode(net, config=FORWARDING) as us:
        forward = Forward(net, us, alice, bob)
        us.restart()
        # Bob is called back by us; alice opened to us and would call herself: here she is asked to.
        us.wait("bob", lambda: us.channel(forward.right)["is_usable"])
        alice.call("connect", pubkey=us.node_id, port=us.port)
        bob.call("claim", payment_hash=forward.payment_hash)
        assert forward.outcome() == "sent"
        assert us.local_msat(forward.left) == 200_000_000 + AMOUNT_MSAT + FEE_MSAT
        assert us.local_msat(forward.right) == 700_000_000 - AMOUNT_MSAT
        us.agrees_with(alice, forward.left)
        us.agrees_with(bob, forward.right)
        us.check_log()


def test_the_payee_claims_on_the_chain(regtest: StartRegtest) -> None:
    """Bob force-closes and takes the HTLC there: we learn the preimage from his transaction, and are paid by alice."""
    net = regtest()
    alice = net.ldk_peer("alice", fund_sat=100_000_000)
    bob = net.ldk_peer("bob", fund_sat=10_000_000)
    with LeydenNode(net, config=FORWARDING) as us:
        forward = Forward(net, us, alice, bob)
        funding_txid, _colon, vout = us.channel(forward.right)["channel_point"].partition(":")
        bob.call("close", channel_id=forward.right, force=True)
        net.node.wait_for_spend(funding_txid, int(vout))
        us.mine(1)
        bob.call("claim", payment_hash=forward.payment_hash)
        commitment_txid = us.channel(forward.right)["closing_txid"]
        net.node.wait_until("bob's claim", lambda: spends(net, commitment_txid))
        us.mine(1)
        assert forward.outcome() == "sent"
        assert us.local_msat(forward.left) == 200_000_000 + AMOUNT_MSAT + FEE_MSAT
        us.agrees_with(alice, forward.left)
        us.mine(144)
        us.mine_until_swept()
        # Bob's channel was ours; what alice pushed stays in hers.
        us.check_coins(paid_away_sat=100_000 + AMOUNT_MSAT // 1000, commitment_txids=[commitment_txid])
        us.check_log()


def test_it_times_out_on_the_chain(regtest: StartRegtest) -> None:
    """Bob is gone: at its expiry we take the HTLC back on the chain, and only then give it back to alice."""
    net = regtest()
    alice = net.ldk_peer("alice", fund_sat=100_000_000)
    bob = net.ldk_peer("bob")
    with LeydenNode(net, config=FORWARDING) as us:
        forward = Forward(net, us, alice, bob)
        expiry_height = next(
            coin.cltv_expiry_height
            for item in us.node.manager.list_channels()
            for coin in item.pending_htlcs
            if item.channel_id.hex() == forward.right
        )
        funding_txid, _colon, vout = us.channel(forward.right)["channel_point"].partition(":")
        bob.stop()
        us.mine(expiry_height - net.node.height)
        us.mine(3)
        net.node.wait_for_spend(funding_txid, int(vout))
        us.mine(1)
        commitment_txid = us.channel(forward.right)["closing_txid"]
        net.node.wait_until("our claim", lambda: spends(net, commitment_txid))
        us.mine(6)
        assert forward.outcome() == "failed"
        assert us.local_msat(forward.left) == 200_000_000
        us.agrees_with(alice, forward.left)
        us.mine(144)
        us.mine_until_swept()
        us.check_coins(paid_away_sat=100_000, commitment_txids=[commitment_txid])
        us.check_log()


def spends(net: Regtest, txid: str) -> list[str]:
    """Transactions of the mempool that spend an output of this one which is no anchor."""
    outputs = net.node.rpc("getrawtransaction", txid, 1)["vout"]
    found = [
        net.node.spender(txid, index)
        for index, out in enumerate(outputs)
        if out["value"] * 100_000_000 != 330
    ]
    return [spender for spender in found if spender is not None]
