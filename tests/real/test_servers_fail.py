"""Electrum servers that die and come back, and others that take over, while a channel opens, lives and closes."""

from __future__ import annotations

from tests.real.conftest import StartRegtest
from tests.real.harness import ElectrumServer
from tests.real.node_rig import LeydenNode


def connected(us: LeydenNode) -> int:
    """How many servers the wallet is connected to."""
    return int(us.call("getinfo")["spv_nodes"])


def bring_back(us: LeydenNode, server: ElectrumServer) -> None:
    """Starts a server again; the wallet does not sit out its pause, as when the computer wakes up."""
    server.start()
    us.node.loop.call_soon_threadsafe(us.node.electrum.reconnect)


def test_the_only_server_dies_and_comes_back(regtest: StartRegtest) -> None:
    net = regtest()
    alice = net.ldk_peer("alice")
    with LeydenNode(net) as us:
        us.fund(10_000_000)
        # While an opening waits for its confirmations.
        opened = us.call("open_channel", connection_string=alice.uri, amount_sat=1_000_000, push_sat=400_000)
        channel = opened["channel_id"]
        net.node.wait_for_tx(opened["funding_txid"])
        net.electrum.kill()
        us.wait("no server", lambda: connected(us) == 0)
        assert not us.call("is_synchronized")
        net.mine(6)
        net.electrum.start()
        us.wait_height(timeout_seconds=60)
        us.wait_usable(alice, channel)

        # Payments need no server.
        net.electrum.kill()
        us.wait("no server", lambda: connected(us) == 0)
        us.pay(alice, 100_000_001)
        us.paid_by(alice, 50_000_000)
        assert us.local_msat(channel) == 600_000_000 - 100_000_001 + 50_000_000

        # A close that is decided meanwhile is broadcast once there is a server again (the peer could not do it for us).
        alice.stop()
        us.call("close_channel", channel_id=channel, force=True)
        assert net.node.spender(opened["funding_txid"], 0) is None
        bring_back(us, net.electrum)
        funding_txid, _colon, vout = opened["channel_point"].partition(":")
        commitment_txid = net.node.wait_for_spend(funding_txid, int(vout))
        us.mine(1)
        net.electrum.kill()
        net.node.mine(143)
        bring_back(us, net.electrum)
        us.wait_height()
        net.node.wait_until("the sweep", net.node.mempool)
        us.mine_until_swept()
        us.check_coins(paid_away_sat=400_000 + 50_000, commitment_txids=[commitment_txid])
        us.check_log()


def test_a_second_server_takes_over(regtest: StartRegtest) -> None:
    """Both were named by the person: each is trusted alone. The one that is asked about the wallet dies, twice."""
    net = regtest()
    second = net.add_server()
    alice = net.ldk_peer("alice")
    with LeydenNode(net, servers=net.servers, single_server_ok=True) as us:
        us.wait("both servers", lambda: connected(us) == 2)
        us.fund(10_000_000)
        primary = us.call("getinfo")["server"]
        first, other = (
            (net.electrum, second)
            if primary.split(":")[1] == str(net.electrum.port)
            else (second, net.electrum)
        )
        first.kill()
        us.wait("one server", lambda: connected(us) == 1)
        channel = us.open(alice, 1_000_000, push_sat=400_000)
        us.pay(alice, 100_000_000)

        bring_back(us, first)
        us.wait("both servers", lambda: connected(us) == 2)
        other.kill()
        us.wait("one server", lambda: connected(us) == 1)
        us.close_channel(channel)
        us.mine_until_swept()
        us.check_coins(paid_away_sat=500_000)
        us.check_log()


def test_two_servers_are_the_normal_case(regtest: StartRegtest) -> None:
    """Nobody named a single server: two have to agree. One that is missing is waited for, and a third helps out."""
    net = regtest()
    net.add_server()
    alice = net.ldk_peer("alice")
    with LeydenNode(net, servers=net.servers) as us:
        us.fund(10_000_000)
        channel = us.open(alice, 1_000_000, push_sat=400_000)
        us.pay(alice, 100_000_000)
        us.paid_by(alice, 30_000_000)

        net.servers[1].kill()
        us.wait("one server", lambda: connected(us) == 1)
        us.wait("too few servers", lambda: not us.call("is_synchronized"))
        # What is under way goes on meanwhile.
        us.pay(alice, 20_000_000)
        net.mine(1)
        assert not us.call("is_synchronized")
        bring_back(us, net.servers[1])
        us.wait_height()

        us.local_msat(channel)
        alice.stop()
        commitment_txid = us.close_channel(channel, force=True)
        us.mine(144)
        net.node.wait_until("the sweep", net.node.mempool)
        us.mine_until_swept()
        us.check_coins(paid_away_sat=490_000, commitment_txids=[commitment_txid])
        us.check_log()


def test_one_of_three_servers_dies(regtest: StartRegtest) -> None:
    net = regtest()
    net.add_server()
    net.add_server(version="2")
    alice = net.ldk_peer("alice")
    with LeydenNode(net, servers=net.servers) as us:
        us.wait("all servers", lambda: connected(us) == 3)
        us.fund(10_000_000)
        opened = us.call("open_channel", connection_string=alice.uri, amount_sat=1_000_000, push_sat=400_000)
        net.node.wait_for_tx(opened["funding_txid"])
        net.electrum.kill()
        us.wait("two servers", lambda: connected(us) == 2)
        us.mine(6)
        us.wait_usable(alice, opened["channel_id"])
        us.pay(alice, 100_000_000)
        us.close_channel(opened["channel_id"])
        us.mine_until_swept()
        us.check_coins(paid_away_sat=500_000)
        us.check_log()
