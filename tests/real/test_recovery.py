"""Everything is lost, and the peer is a real rust-lightning node: what was promised comes back, to the satoshi.

From the words alone, and from the words and the channel backup. What peers keep (BOLT 1, option_provide_storage) is
shown between Leyden nodes, in tests/functional/test_peer_storage.py: rust-lightning 0.1.2 offers no storage.
"""

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
WORDS, BACKUP = "words", "words_and_channel_backup"
HELD_MSAT = 20_000_300
"""Far above dust: an output of its own in both commitments."""
LONG_ENOUGH_SECONDS = 2


class RestoredDaemon(LeydenDaemon):
    """A daemon whose wallet the command line makes of words, and of a channel backup if there is one."""

    def __init__(self, lost: LeydenDaemon, name: str, *options: str) -> None:
        super().__init__(lost.net, lost.directory.parent, name, words=lost.words)
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
    """One open, with a payment under way in it; one force-closed by us, one by the peer, both confirmed."""
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
    held = peer.call("invoice", amount_msat=HELD_MSAT, description="", hold=True)["bolt11"]
    assert not ours.call("lnpay", invoice=held, timeout=LONG_ENOUGH_SECONDS)["success"]
    ours.wait("has it under way", lambda: ours.call("recovery_report")["in_flight_sat"])
    return rows


def lose(wallet: LeydenDaemon) -> None:
    """The process dies and the disk with it."""
    wallet.kill()
    shutil.rmtree(wallet.directory)
    wallet.directory.mkdir()


def all_home(again: LeydenDaemon, way: str) -> Any:
    """Mines until what the wallet knows of is on chain and confirmed; the report then."""

    def report() -> Any:
        after = again.call("recovery_report")
        unconfirmed = again.call("getbalance").get("unconfirmed")
        if after["problem"] or unconfirmed or after[way]["amount_sat"] != after["onchain_sat"]:
            return None
        return after

    # A sweep may have been mined with the blocks that it waited for, or wait for one more.
    for _ in range(MOST_BLOCKS):
        if found := report():
            return found
        again.mine(1)
    found = report()
    assert found, again.call("recovery_report")
    return found


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
    # What is under way counts as lost, and of an open channel the words alone bring back nothing.
    assert promised["in_flight_sat"] == HELD_MSAT // 1000
    by_words = {item["channel_id"]: item["amount_sat"] for item in promised[WORDS]["channels"]}
    assert by_words[rows[0]["channel_id"]] == by_words[rows[1]["channel_id"]] == 0
    assert by_words[rows[2]["channel_id"]] > 0
    lose(ours)
    since = net.node.height

    # From the words alone: the open channel stays as it is, because nobody is asked to close it.
    from_words = RestoredDaemon(ours, "from-words")
    with from_words:
        from_words.mine(FINAL_BLOCKS)
        after = all_home(from_words, WORDS)
        home_sat = after["onchain_sat"] + fees_of_sweeps_sat(net, from_words, since)
        assert home_sat == promised[WORDS]["amount_sat"]
        txid, vout = rows[0]["channel_point"].split(":")
        assert net.node.rpc("gettxout", txid, int(vout)) is not None
        lose(from_words)

    # From the words and the backup: the peer is told that we have lost everything, and closes.
    from_backup = RestoredDaemon(ours, "from-backup", "--backup", str(backup))
    with from_backup:
        wait_spent(net, rows[0]["channel_point"])
        from_backup.mine(FINAL_BLOCKS)
        from_backup.mine(PEERS_DELAY_BLOCKS)
        after = all_home(from_backup, BACKUP)
        home_sat = after["onchain_sat"] + fees_of_sweeps_sat(net, from_backup, since)
        assert home_sat == promised[BACKUP]["amount_sat"]
