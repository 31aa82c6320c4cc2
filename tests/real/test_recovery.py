"""Everything is lost, and the peer is a real rust-lightning node: what was promised comes back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.real.conftest import StartLdkPeer, StartLeyden, StartRegtest
from tests.real.harness import LdkPeer, Regtest
from tests.real.leyden import ROOT, LeydenDaemon
from wallet.node.backup import BACKUP_FILE

CAPACITY_SAT = 1_000_000
PUSH_SAT = 400_000
PEERS_DELAY_BLOCKS = 144
FINAL_BLOCKS = 6
MOST_BLOCKS = 30
BACKUP = "words_and_channel_backup"


class RestoredDaemon(LeydenDaemon):
    """A daemon whose wallet the command line makes of words, and of a channel backup if there is one."""

    def __init__(self, lost: LeydenDaemon, *options: str) -> None:
        super().__init__(lost.net, lost.directory.parent, f"{lost.name}-again", words=lost.words)
        shutil.rmtree(self.directory)
        self.directory.mkdir()
        argv = [sys.executable, "-m", "wallet", "--regtest", "-D", str(self.directory), "restore", *options]
        subprocess.run(
            [*argv, "--old_installation_stopped", " ".join(lost.words)],
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
        )


def open_channel(ours: LeydenDaemon, peer: LdkPeer, *, anchors: bool) -> str:
    opened = ours.call(
        "open_channel",
        connection_string=peer.uri,
        amount_sat=CAPACITY_SAT,
        push_sat=PUSH_SAT,
        static_remotekey=not anchors,
    )
    ours.net.node.wait_for_tx(opened["funding_txid"])
    ours.mine(6)
    ours.wait_channel(opened["channel_id"])
    return str(opened["channel_id"])


def wait_spent(net: Regtest, channel_point: str) -> None:
    """Until something in the mempool spends the funding output; then it is mined."""
    txid, vout = channel_point.split(":")

    def spent() -> bool:
        waiting = [net.node.rpc("getrawtransaction", waits, 1) for waits in net.node.rpc("getrawmempool")]
        return any(
            (txin.get("txid"), txin.get("vout")) == (txid, int(vout)) for tx in waiting for txin in tx["vin"]
        )

    net.node.wait_until("has the close", spent)


def confirmed_sat(ours: LeydenDaemon) -> int:
    return int(ours.call("recovery_report")["onchain_sat"])


def fees_of_sweeps_sat(net: Regtest, ours: LeydenDaemon, since: int) -> int:
    """What transactions of the restored wallet from a height on cost: sweeps, since it pays nobody."""
    total_sat = 0
    for entry in ours.call("history"):
        if not entry["txid"] or not entry["height"] or entry["height"] <= since:
            continue
        tx = net.node.rpc("getrawtransaction", entry["txid"], 1)
        for txin in tx["vin"]:
            parent = net.node.rpc("getrawtransaction", txin["txid"], 1)
            total_sat += sat(parent["vout"][txin["vout"]]["value"])
        total_sat -= sum(sat(out["value"]) for out in tx["vout"])
    return total_sat


def sat(value_btc: Any) -> int:
    amount_sat: int = round(value_btc * 100_000_000)
    return amount_sat


def three_channels(ours: LeydenDaemon, peer: LdkPeer, *, anchors: bool) -> list[Any]:
    """One open, one force-closed by us, one by the peer; the last two confirmed."""
    ids = [open_channel(ours, peer, anchors=anchors) for _ in range(3)]
    invoice = peer.call("invoice", amount_msat=30_000_700, description="")["bolt11"]
    ours.pay(invoice)
    rows = [ours.channel(channel_id) for channel_id in ids]
    ours.call("close_channel", channel_id=ids[1], force=True)
    wait_spent(ours.net, rows[1]["channel_point"])
    ours.mine(1)
    peer.call("close", channel_id=ids[2], force=True)
    wait_spent(ours.net, rows[2]["channel_point"])
    ours.mine(1)
    for channel_id in ids[1:]:
        ours.wait_channel(channel_id, state="CLOSING")
    return rows


@pytest.mark.parametrize("anchors", [True, False], ids=["anchors", "static_remotekey"])
def test_three_channels_come_back(
    regtest: StartRegtest, ldk_peer: StartLdkPeer, leyden: StartLeyden, tmp_path: Path, anchors: bool
) -> None:
    net = regtest()
    peer = ldk_peer(net, "alice", fund_sat=10_000_000, no_anchors=not anchors)
    ours = leyden(net)
    ours.fund(6_000_000, coins=4)
    rows = three_channels(ours, peer, anchors=anchors)
    promised = ours.call("recovery_report")
    backup = tmp_path / "kept.backup"
    shutil.copy(ours.options.wallet_dir / BACKUP_FILE, backup)
    states = sorted(item["state"] for item in promised[BACKUP]["channels"])
    assert states == ["closed", "closed", "open"], promised
    ours.kill()
    shutil.rmtree(ours.directory)
    ours.directory.mkdir()
    since = net.node.height

    again = RestoredDaemon(ours, "--backup", str(backup))
    with again:
        # The peer is told that we have lost everything, and closes.
        wait_spent(net, rows[0]["channel_point"])
        again.mine(FINAL_BLOCKS)
        again.mine(PEERS_DELAY_BLOCKS)

        def home() -> bool:
            after = again.call("recovery_report")
            unconfirmed = again.call("getbalance").get("unconfirmed")
            return (
                not after["problem"]
                and not unconfirmed
                and after[BACKUP]["amount_sat"] == after["onchain_sat"]
            )

        # A sweep may have been mined with the blocks that it waited for, or wait for one more.
        for _ in range(MOST_BLOCKS):
            if home():
                break
            again.mine(1)
        assert home(), again.call("recovery_report")
        home_sat = confirmed_sat(again) + fees_of_sweeps_sat(net, again, since)
        assert home_sat == promised[BACKUP]["amount_sat"]
