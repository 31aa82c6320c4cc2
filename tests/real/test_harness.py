"""The harness itself: the node mines, the servers follow, two rust-lightning peers pay each other."""

from __future__ import annotations

import hashlib
import os
import signal
import ssl
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.real.conftest import StartLdkPeer, StartRegtest
from tests.real.harness import LdkLines, RPCError, btc_text, sat_from_btc
from tests.real.process import HOST, Ports, Process, ProcessError


def script_hash_and_script(net_info: dict[str, Any]) -> tuple[str, str]:
    script = net_info["scriptPubKey"]
    return hashlib.sha256(bytes.fromhex(script)).digest()[::-1].hex(), script


@pytest.mark.parametrize("version", ["1", "2"])
def test_node_mines_and_server_follows(regtest: StartRegtest, version: Literal["1", "2"]) -> None:
    net = regtest(electrumx=version)
    before = net.node.height
    connection = net.electrum.connect(version="1.4" if version == "1" else "1.7")
    connection.follow()
    address = net.node.rpc("getnewaddress", wallet="miner")
    txid = net.node.send(address, 123_456)
    net.node.wait_for_tx(txid)
    net.mine(3)
    connection.wait_height(before + 3)
    script_hash, script = script_hash_and_script(net.node.rpc("getaddressinfo", address, wallet="miner"))
    if version == "1":
        history = connection.call("blockchain.scripthash.get_history", script_hash)
    else:
        history = connection.call("blockchain.scriptpubkey.get_history", script)["history"]
    assert [(h["tx_hash"], h["height"]) for h in history] == [(txid, before + 1)]
    connection.close()


def test_highest_protocol_can_be_capped(regtest: StartRegtest) -> None:
    net = regtest(protocol_max="1.4.2")
    with pytest.raises(RPCError):
        net.electrum.connect(version="1.6")
    connection = net.electrum.connect(version="1.4")
    connection.close()


def test_stock_server_and_tls(regtest: StartRegtest) -> None:
    net = regtest(send_wait=None, tls=True)
    assert net.electrum.tls_port is not None
    assert ssl.get_server_certificate((HOST, net.electrum.tls_port)) == net.electrum.certificate.read_text()


def test_server_comes_back_and_second_one_takes_over(regtest: StartRegtest) -> None:
    net = regtest()
    second = net.add_server()
    net.electrum.kill()
    net.mine(2)
    second.connect().close()
    with pytest.raises(OSError, match="refused"):
        net.electrum.connect()
    net.electrum.start()
    net.mine(1)


def test_reorganisation_reaches_the_server(regtest: StartRegtest) -> None:
    net = regtest()
    txid = net.node.send(net.node.rpc("getnewaddress", wallet="miner"), 50_000)
    net.mine(3)
    old_tip = net.node.rpc("getbestblockhash")
    net.node.reorganise(3, empty=True)
    net.sync()
    assert txid in net.node.mempool()
    tip_height = net.node.height
    net.node.reorganise(2)
    net.sync()
    assert net.node.height == tip_height + 1
    assert net.node.rpc("getblockheader", old_tip)["confirmations"] == -1


@pytest.mark.parametrize("anchors", [True, False])
def test_two_peers_open_pay_and_close(regtest: StartRegtest, ldk_peer: StartLdkPeer, anchors: bool) -> None:
    net = regtest()
    alice = ldk_peer(net, "alice", fund_sat=30_000_000)
    bob = ldk_peer(net, "bob")
    channel_id = net.open_channel(alice, bob, amount_sat=1_000_000, push_msat=300_000_000, anchors=anchors)
    invoice = bob.call("invoice", amount_msat=1_234_567, description="tea")
    paid = alice.call("pay", bolt11=invoice["bolt11"])
    assert paid["status"] == "sent"
    assert hashlib.sha256(bytes.fromhex(paid["preimage"])).hexdigest() == invoice["payment_hash"]
    claimed = bob.wait_event("PaymentClaimed", payment_hash=invoice["payment_hash"])
    assert claimed["amount_msat"] == 1_234_567
    row = bob.wait_channel(channel_id, htlcs_in=0)
    assert row["capacity_sats"] == 1_000_000
    assert any("anchors" in name for name in row["channel_type"]) == anchors
    alice.call("close", channel_id=channel_id)
    funding_txid, vout = row["funding"].split(":")
    closing = net.node.wait_for_spend(funding_txid, int(vout))
    net.mine(1)
    assert net.node.rpc("getrawtransaction", closing, 1)["confirmations"] == 1


def test_many_payments_in_flight(regtest: StartRegtest, ldk_peer: StartLdkPeer) -> None:
    net = regtest(electrumx=None)
    alice, bob = ldk_peer(net, "alice", fund_sat=30_000_000), ldk_peer(net, "bob")
    net.open_channel(alice, bob, amount_sat=1_000_000)
    invoices = [bob.call("invoice", amount_msat=1000 + n)["bolt11"] for n in range(20)]
    with LdkLines(alice) as lines:
        sent = {lines.send("pay", bolt11=invoice) for invoice in invoices}
        answers = dict(lines.receive() for _ in invoices)
    assert set(answers) == sent
    assert {answer["status"] for answer in answers.values()} == {"sent"}


def test_persistent_peer_restarts_with_its_channel(regtest: StartRegtest, ldk_peer: StartLdkPeer) -> None:
    net = regtest(electrumx=None)
    alice = ldk_peer(net, "alice", fund_sat=30_000_000, persistent=True)
    bob = ldk_peer(net, "bob")
    channel_id = net.open_channel(alice, bob, amount_sat=1_000_000, push_msat=100_000_000)
    node_id = alice.node_id
    alice.stop()
    old = alice.save_state("old")
    bob.call("wait_peer", pubkey=node_id, gone=True)
    alice.restore_state(old)
    alice.start()
    assert alice.node_id == node_id
    alice.call("connect", pubkey=bob.node_id, port=bob.port)
    alice.wait_channel(channel_id)
    alice.kill()
    bob.call("wait_peer", pubkey=node_id, gone=True)


def test_everything_ends_by_its_pid(regtest: StartRegtest, ldk_peer: StartLdkPeer) -> None:
    net = regtest()
    ldk_peer(net, "alice")
    pids = [process.pid for process in net.processes()]
    assert len(pids) == 3
    net.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_child_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    child = Process("child", ["sh", "-c", "echo hello; echo trouble >&2; exit 7"], directory=tmp_path)
    assert child.wait_line("^hel(lo)").group(1) == "lo"
    with pytest.raises(ProcessError, match=r"ended before it prints 'never'(.|\n)*trouble"):
        child.wait_line("never", timeout_seconds=10)
    assert child.stop() == 7
    assert child.log_path.read_text() == "hello\ntrouble\n"


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    child = Process(
        "child",
        ["sh", "-c", "trap '' TERM; echo up; while :; do read x < /dev/zero; done"],
        directory=tmp_path,
    )
    child.wait_line("up")
    assert child.stop(timeout_seconds=0.2) == -signal.SIGKILL
    assert not child.alive


def test_a_peer_that_cannot_start_ends_and_says_why(regtest: StartRegtest, ldk_peer: StartLdkPeer) -> None:
    net = regtest(electrumx=None)
    alice = ldk_peer(net, "alice")
    with pytest.raises(ProcessError, match=f"(?s)bob ended before.*cannot listen on {HOST}:{alice.port}"):
        ldk_peer(net, "bob", ln_port=alice.port)


def test_ports_are_given_once() -> None:
    ports, others = Ports(), Ports()
    taken = [p.take() for p in (ports, others) for _ in range(20)]
    assert len(set(taken)) == len(taken)
    assert all(Ports.FIRST <= port < Ports.LAST for port in taken)
    ports.close()
    others.close()


def test_amounts_cross_the_rpc_without_floats() -> None:
    assert btc_text(2_100_000_000_000_001) == "21000000.00000001"
    assert sat_from_btc("0.00012345") == 12_345
    with pytest.raises(ValueError, match="not a whole number"):
        sat_from_btc("0.000000001")
