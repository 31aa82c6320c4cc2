"""Fees that matter: a full mempool, and fees that rise while a claim of ours waits, on the real node.

The node takes nothing into its blocks, or into its small mempool, that pays less than others do; what that is, we know
from an Electrum server's answers alone. A proxy before it rewrites those of the fee estimates.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.real.conftest import StartRegtest
from tests.real.harness import LdkPeer, Regtest, btc_text, sat_from_btc
from tests.real.node_rig import ANCHOR_SAT, LeydenNode
from tests.real.proxy import AbsurdFees, LyingServer
from wallet.bitcoin.address import REGTEST, script_to_address
from wallet.bitcoin.hashes import sha256
from wallet.bitcoin.script import p2wsh
from wallet.node import ticks

CAPACITY_SAT, PUSH_SAT, BACK_MSAT = 1_000_000, 700_000, 400_000_000
HELD_SAT = (50_000, 60_000)
AWAY_BLOCKS = 100
FILLER_OUTPUTS, FILLER_SAT = 2_200, 1_000
FILLER_SAT_PER_VB, MOST_FILLERS = 40, 60
SMALL_MEMPOOL = "-maxmempool=5"
DEAREST_FALLBACK_SAT_PER_KW = 5_000
"""What a claim pays that has no deadline near, where no server knows: a full mempool has to ask for more."""


@dataclass(slots=True)
class Cheat:
    """A wallet, and a peer with a channel and with an older copy of its files.

    Attributes:
        funding: of the channel.
        outputs: of the commitment that the peer will publish.
    """

    net: Regtest
    us: LeydenNode
    alice: LdkPeer
    funding: tuple[str, int]
    outputs: int
    copy: Path

    def publish(self) -> str:
        """The peer, put back to the copy, publishes what it has revoked since; the txid."""
        self.alice.stop()
        self.alice.restore_state(self.copy)
        self.alice.start()
        channel = self.alice.call("list_channels")[0]["channel_id"]
        self.alice.call("close", channel_id=channel, force=True)
        txid = self.net.node.wait_for_spend(*self.funding)
        assert len(outputs_sat(self.net, txid)) == self.outputs
        return txid


def outputs_sat(net: Regtest, txid: str) -> list[int]:
    return [sat_from_btc(out["value"]) for out in net.node.rpc("getrawtransaction", txid, 1)["vout"]]


def prepare_cheat(net: Regtest, us: LeydenNode, *, anchors: bool, htlcs: bool) -> Cheat:
    """A channel in which most was the peer's once, perhaps with HTLCs under way both ways, and is ours now."""
    alice = net.ldk_peer("alice", fund_sat=1_000_000, persistent=True, no_anchors=not anchors)
    us.fund(20_000_000, coins=4)
    channel_id = us.open(alice, CAPACITY_SAT, push_sat=PUSH_SAT, static_remotekey=not anchors)
    txid, _colon, vout = us.channel(channel_id)["channel_point"].partition(":")
    pending: list[Any] = []
    if htlcs:
        ours, theirs = secrets.token_bytes(32), secrets.token_bytes(32)
        made = alice.call(
            "invoice", amount_msat=HELD_SAT[0] * 1000, payment_hash=sha256(ours).hex(), min_final_cltv=60
        )
        paying = us.node.call("lnpay", invoice=made["bolt11"])
        alice.wait_event("PaymentClaimable", payment_hash=sha256(ours).hex())
        held = us.call("add_hold_invoice", payment_hash=sha256(theirs).hex(), amount_msat=HELD_SAT[1] * 1000)
        sent = alice.call("pay", bolt11=held["invoice"], wait=False)
        us.wait(
            "the held payment",
            lambda: us.call("check_hold_invoice", payment_hash=sha256(theirs).hex())["status"] == "paid",
        )
        pending = [ours, theirs, paying, sent]
    us.hang_up(alice)
    alice.stop()
    copy = alice.save_state("copy")
    alice.start()
    us.call("add_peer", connection_string=alice.uri)
    us.wait_usable(alice, channel_id)
    if htlcs:
        ours, theirs, paying, sent = pending
        alice.call("fail", payment_hash=sha256(ours).hex())
        assert not paying.result(30)["success"]
        us.call("cancel_hold_invoice", payment_hash=sha256(theirs).hex())
        alice.call("wait_payment", payment_id=sent["payment_id"])
    us.local_msat(channel_id)
    us.paid_by(alice, BACK_MSAT)
    us.agrees_with(alice, channel_id)
    return Cheat(net, us, alice, (txid, int(vout)), 2 + 2 * anchors + 2 * htlcs, copy)


def fill_mempool(net: Regtest) -> int:
    """Until the node's small mempool throws out what pays less; what it asks for then, in satoshis per 1000 weight."""
    node = net.node
    scripts = (p2wsh(i.to_bytes(2, "big")) for i in range(FILLER_OUTPUTS))
    outputs = [{script_to_address(script, REGTEST): btc_text(FILLER_SAT)} for script in scripts]
    raw = node.rpc("createrawtransaction", [], outputs)
    for i in range(MOST_FILLERS):
        fee = btc_text((FILLER_SAT_PER_VB + i) * 1000)
        funded = node.rpc("fundrawtransaction", raw, {"minconf": 1, "feeRate": fee}, wallet="miner")
        signed = node.rpc("signrawtransactionwithwallet", funded["hex"], wallet="miner")
        node.rpc("sendrawtransaction", signed["hex"], 0)
        info = node.rpc("getmempoolinfo")
        if info["mempoolminfee"] > info["minrelaytxfee"]:
            return -(-sat_from_btc(info["mempoolminfee"]) // 4)
    raise AssertionError(f"the mempool is never full: {info}")


@pytest.mark.parametrize(
    ("anchors", "htlcs"),
    [
        pytest.param(True, True, id="anchors, with HTLCs"),
        pytest.param(False, False, id="static_remotekey, plain"),
        # The same again, crosswise.
        pytest.param(True, False, id="anchors, plain", marks=pytest.mark.slow),
        pytest.param(False, True, id="static_remotekey, with HTLCs", marks=pytest.mark.slow),
    ],
)
def test_an_old_commitment_after_a_hundred_blocks_and_with_a_full_mempool(
    regtest: StartRegtest, anchors: bool, htlcs: bool
) -> None:
    """The wallet is off when the peer cheats, and for a hundred blocks more; then it has to outbid the others."""
    net = regtest(bitcoind_args=[SMALL_MEMPOOL])
    with LyingServer(net.electrum) as proxy, one_server(net, proxy) as us:
        cheat = prepare_cheat(net, us, anchors=anchors, htlcs=htlcs)
        us.stop()
        txid = cheat.publish()
        net.mine(AWAY_BLOCKS)
        minimum_sat_per_kw = fill_mempool(net)
        assert minimum_sat_per_kw > DEAREST_FALLBACK_SAT_PER_KW
        # ElectrumX itself tells a minimum that may be a minute old.
        proxy.tell(AbsurdFees(-1, btc_per_kvb(minimum_sat_per_kw)))
        us.start()
        assert "The peer cheated" in str(us.node.snapshot().balance.locked)
        theirs = [vout for vout, sat in enumerate(outputs_sat(net, txid)) if sat != ANCHOR_SAT]
        theirs = [vout for vout in theirs if not is_ours(us, txid, vout)]
        assert len(theirs) == 1 + 2 * htlcs
        for vout in theirs:
            penalty = net.node.wait_for_spend(txid, vout)
            assert feerate_sat_per_kw(us, penalty) >= minimum_sat_per_kw
        us.mine_until_swept()
        us.check_coins(paid_away_sat=0, commitment_txids=[txid])
        us.check_log()


LOW_SAT_PER_KW, HIGH_SAT_PER_KW = 2_000, 10_000
MINED_FROM_BTC_PER_KVB = "0.0002"
"""5,000 per 1000 weight: what pays the low rate waits, what pays five times as much does not."""
NEVER_SECONDS = 3_600.0
"""It is the news of the fees that makes the claim rise, not the next round of sending everything again."""
PICKY_MINERS = [f"-blockmintxfee={MINED_FROM_BTC_PER_KVB}", "-fallbackfee=0.0003"]


def test_a_penalty_is_replaced_when_fees_rise_fivefold(
    regtest: StartRegtest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticks, "REBROADCAST_SECONDS", NEVER_SECONDS)
    net = regtest(bitcoind_args=PICKY_MINERS)
    with LyingServer(net.electrum) as proxy, one_server(net, proxy) as us:
        tell_fees(us, proxy, HIGH_SAT_PER_KW)
        cheat = prepare_cheat(net, us, anchors=True, htlcs=False)
        tell_fees(us, proxy, LOW_SAT_PER_KW)
        # Else we might call the peer first, see that it has lost its state, and close the channel ourselves.
        us.hang_up(cheat.alice)
        txid = cheat.publish()
        mine_this(us, txid)
        values = outputs_sat(net, txid)
        vout = values.index(max(values))
        penalty = net.node.wait_for_spend(txid, vout)
        assert LOW_SAT_PER_KW <= feerate_sat_per_kw(us, penalty) < 1.1 * LOW_SAT_PER_KW
        us.mine(2)
        assert net.node.spender(txid, vout) == penalty
        tell_fees(us, proxy, HIGH_SAT_PER_KW)
        dearer = net.node.wait_until("has the dearer one", lambda: other_spender(net, txid, vout, penalty))
        assert HIGH_SAT_PER_KW <= feerate_sat_per_kw(us, dearer) < 1.1 * HIGH_SAT_PER_KW
        us.mine(1)
        assert net.node.rpc("getrawtransaction", dearer, 1)["confirmations"] == 1
        us.mine_until_swept()
        us.check_coins(paid_away_sat=0, commitment_txids=[txid])
        us.check_log()


def test_our_commitment_is_paid_for_by_its_child_when_fees_rise_fivefold(
    regtest: StartRegtest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticks, "REBROADCAST_SECONDS", NEVER_SECONDS)
    net = regtest(bitcoind_args=PICKY_MINERS)
    with LyingServer(net.electrum) as proxy, one_server(net, proxy) as us:
        alice = net.ldk_peer("alice")
        us.fund(10_000_000)
        tell_fees(us, proxy, LOW_SAT_PER_KW)
        opened = us.call(
            "open_channel", connection_string=alice.uri, amount_sat=CAPACITY_SAT, push_sat=PUSH_SAT
        )
        net.node.wait_for_tx(opened["funding_txid"])
        mine_this(us, opened["funding_txid"])
        us.mine(5)
        us.wait_usable(alice, opened["channel_id"])
        alice.stop()
        txid = us.close_channel(opened["channel_id"], force=True)
        assert feerate_sat_per_kw(us, txid) < 1.1 * LOW_SAT_PER_KW
        us.mine(2)
        assert "confirmations" not in net.node.rpc("getrawtransaction", txid, 1)
        tell_fees(us, proxy, HIGH_SAT_PER_KW)
        anchors = [vout for vout, sat in enumerate(outputs_sat(net, txid)) if sat == ANCHOR_SAT]
        child = net.node.wait_until(
            "has the child", lambda: next((s for v in anchors if (s := net.node.spender(txid, v))), None)
        )
        weight = sum(net.node.rpc("getrawtransaction", each, 1)["weight"] for each in (txid, child))
        package_sat_per_kw = (us.fee_sat(txid) + us.fee_sat(child)) * 1000 // weight
        assert HIGH_SAT_PER_KW <= package_sat_per_kw < 1.1 * HIGH_SAT_PER_KW
        us.mine(1)
        for each in (txid, child):
            assert net.node.rpc("getrawtransaction", each, 1)["confirmations"] == 1
        us.mine(144)
        net.node.wait_until("the sweep", net.node.mempool)
        us.mine_until_swept()
        us.check_coins(paid_away_sat=PUSH_SAT, commitment_txids=[txid])
        us.check_log()


def one_server(net: Regtest, proxy: LyingServer) -> LeydenNode:
    return LeydenNode(net, servers=(proxy,), single_server_ok=True, real_fees=True)


def btc_per_kvb(sat_per_kw: int) -> float:
    """As Electrum servers tell a rate."""
    return sat_per_kw * 4 / 100_000_000


def tell_fees(us: LeydenNode, proxy: LyingServer, sat_per_kw: int) -> None:
    """From now on fees are so high, and the wallet has heard of it."""
    proxy.tell(AbsurdFees(btc_per_kvb(sat_per_kw), 0.00001))
    asyncio.run_coroutine_threadsafe(us.node.electrum.fee_estimator.refresh(), us.node.loop).result(30)


def mine_this(us: LeydenNode, txid: str) -> None:
    """A miner takes it, whatever it pays."""
    us.net.node.rpc("generateblock", us.net.node.miner_address, [txid])
    us.net.sync()
    us.wait_height()


def other_spender(net: Regtest, txid: str, vout: int, known: str) -> str | None:
    spender = net.node.spender(txid, vout)
    return None if spender == known else spender


def feerate_sat_per_kw(us: LeydenNode, txid: str) -> int:
    """What a transaction paid per 1000 weight, by the real node's word."""
    weight = int(us.net.node.rpc("getrawtransaction", txid, 1)["weight"])
    return -(-us.fee_sat(txid) * 1000 // weight)


def is_ours(us: LeydenNode, txid: str, vout: int) -> bool:
    """Whether an output of the peer's commitment is our own balance, which needs no penalty."""
    own_sat = CAPACITY_SAT - PUSH_SAT
    value_sat = outputs_sat(us.net, txid)[vout]
    return abs(value_sat - own_sat) < 60_000
