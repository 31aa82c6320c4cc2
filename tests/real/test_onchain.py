"""On-chain payments through a real server and node: in, out, all of it, and fees raised afterwards."""

from __future__ import annotations

import pytest

from tests.real.conftest import StartRegtest
from tests.real.harness import Regtest, sat_from_btc
from tests.real.node_rig import LeydenNode
from wallet.node.api import CommandError


def received_sat(net: Regtest, address: str) -> int:
    """What the real node's wallet got at an address of its own, unconfirmed coins included."""
    return sat_from_btc(net.node.rpc("getreceivedbyaddress", address, 0, wallet="miner"))


def new_address(net: Regtest) -> str:
    return str(net.node.rpc("getnewaddress", wallet="miner"))


def rate_sat_per_kvb(net: Regtest, txid: str) -> int:
    """The fee rate of a transaction in the mempool, alone; by its weight, whose quarter is not rounded up."""
    entry = net.node.rpc("getmempoolentry", txid)
    return sat_from_btc(entry["fees"]["base"]) * 4000 // int(entry["weight"])


def test_receive_pay_and_pay_all(regtest: StartRegtest) -> None:
    net = regtest()
    with LeydenNode(net) as us:
        # A payment is seen before it confirms, and is spendable after.
        first = us.call("getunusedaddress")
        txid = net.node.send(first, 1_000_000)
        us.wait("an unconfirmed coin", lambda: us.sat("unconfirmed") == 1_000_000)
        assert us.sat() == 0
        us.mine(1)
        us.wait("a confirmed coin", lambda: us.sat() == 1_000_000 and not us.sat("unconfirmed"))
        assert us.call("getunusedaddress") != first
        us.deposited_sat, us.deposits = 1_000_000, {txid}

        # Out, with a fee rate of our choice; the change is ours.
        theirs = new_address(net)
        paid = us.call("payto", destination=theirs, amount_sat="300000", feerate_sat_per_vb=7, label="rent")
        net.node.wait_for_tx(paid["txid"])
        assert paid["fee_sat"] == us.fee_sat(paid["txid"])
        assert 7_000 <= rate_sat_per_kvb(net, paid["txid"]) < 7_100
        assert received_sat(net, theirs) == 300_000
        us.mine(1)
        us.check_coins(paid_away_sat=300_000)
        entry = next(item for item in us.call("history") if item["txid"] == paid["txid"])
        assert entry["label"] == "rent"
        assert entry["amount_sat"] == -300_000

        # As Electrum does it: a signed transaction first, then its broadcast.
        raw = us.call("payto", destination=theirs, amount="0.001", feerate="3.5")
        assert net.node.mempool() == set()
        txid = us.call("broadcast", tx=raw)
        net.node.wait_for_tx(txid)
        us.mine(1)
        us.check_coins(paid_away_sat=400_000)

        # What is too much is refused in words, and nothing has happened.
        with pytest.raises(CommandError, match="sat"):
            us.call("payto", destination=theirs, amount_sat="700000")
        with pytest.raises(CommandError):
            us.call("payto", destination="bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", amount_sat="1000")

        # All of it leaves nothing.
        last = new_address(net)
        quote = us.call("quote_onchain", destination=last, amount_sat="all", feerate_sat_per_vb=2)
        paid = us.call("payto", destination=last, amount_sat="all", feerate_sat_per_vb=2)
        net.node.wait_for_tx(paid["txid"])
        assert quote["fee_sat"] == paid["fee_sat"]
        us.mine(1)
        us.wait("nothing", lambda: us.sat() == 0 and not us.sat("unconfirmed"))
        us.check_coins(paid_away_sat=400_000 + received_sat(net, last))
        us.check_log()


def test_a_fee_is_raised_by_replacement_and_by_a_child(regtest: StartRegtest) -> None:
    net = regtest()
    with LeydenNode(net) as us:
        us.fund(2_000_000)
        theirs = new_address(net)

        # Ours: replaced, twice; the last one confirms.
        paid = us.call("payto", destination=theirs, amount_sat="500000", feerate_sat_per_vb=1)
        net.node.wait_for_tx(paid["txid"])
        txids = [paid["txid"]]
        for rate in (5, 20):
            bumped = us.call("bump_fee", txid=txids[-1], feerate_sat_per_vb=rate)
            net.node.wait_for_tx(bumped["txid"])
            assert net.node.mempool() == {bumped["txid"]}
            assert rate_sat_per_kvb(net, bumped["txid"]) >= rate * 1000
            txids.append(bumped["txid"])
            us.wait("the replaced one gone", lambda: shown(us) == {txids[-1]})
        us.mine(1)
        us.check_coins(paid_away_sat=500_000)

        # Theirs, to us: a child pays for both.
        address = us.call("getunusedaddress")
        slow = str(
            net.node.rpc("sendtoaddress", address, "0.004", "", "", False, False, None, "unset", None, 1,
                         wallet="miner")
        )  # fmt: skip
        us.wait("an unconfirmed coin", lambda: us.sat("unconfirmed") == 400_000)
        child = us.call("bump_fee", txid=slow, feerate_sat_per_vb=30)
        net.node.wait_for_tx(child["txid"])
        entry = net.node.rpc("getmempoolentry", child["txid"])
        assert entry["depends"] == [slow]
        both_sat = sat_from_btc(entry["fees"]["ancestor"])
        weight = int(entry["weight"]) + int(net.node.rpc("getmempoolentry", slow)["weight"])
        assert both_sat * 4 >= 30 * weight
        us.deposited_sat += 400_000
        us.deposits.add(slow)
        us.mine(1)
        us.check_coins(paid_away_sat=500_000)
        us.check_log()


def shown(us: LeydenNode) -> set[str]:
    """Transactions of ours that the history shows as not confirmed."""
    return {item["txid"] for item in us.call("history") if item["txid"] and item["height"] is None}


def test_coins_come_back_from_the_words_alone(regtest: StartRegtest) -> None:
    """Another folder with the same words finds every coin, change included."""
    net = regtest()
    with LeydenNode(net) as us:
        us.fund(3_000_000, coins=3)
        paid = us.call("payto", destination=new_address(net), amount_sat="1234567", feerate_sat_per_vb=2)
        net.node.wait_for_tx(paid["txid"])
        us.mine(1)
        left_sat = us.sat()
        assert left_sat == 3_000_000 - 1_234_567 - paid["fee_sat"]
    with LeydenNode(net, "restored") as again:
        again.wait("all coins", lambda: again.sat() == left_sat)
        again.check_log()
