"""What lies on the disk while a wallet runs, and afterwards: nothing that could spend, or say whose it is."""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.functional.whole_nodes import WholeNode, WholeWorld, play
from wallet.bitcoin import bip39
from wallet.bitcoin.address import script_to_address
from wallet.node import store
from wallet.node.generation import Generation, first_rows
from wallet.node.store import Store

pytestmark = pytest.mark.timeout(300)

PUBLIC = {"headers", "graph.bin", "server-certificates.json", "lock"}
"""What everybody has, or nobody can tell a wallet from."""
COST = store.ARGON2_MEMORY_KIB, store.ARGON2_ITERATIONS, store.ARGON2_LANES
LABEL = "rent for the lighthouse"


def secrets_of(node: WholeNode) -> dict[str, bytes]:
    """What must not be readable, by what it is."""
    running = node.node
    words = running.store.read_row("node_secret", b"words")
    assert words is not None
    seed = bip39.seed_from_mnemonic(words.decode().split())
    found = {
        "words": words,
        "seed": seed,
        "node id": bytes.fromhex(node.node_id),
        "node id in hex": node.node_id.encode(),
        "start of the node id": node.node_id[:16].encode(),
        "label": LABEL.encode(),
    }
    with running.core.locked():
        for number, channel_id in enumerate(running.chain_monitor.list_monitors()):
            monitor = running.chain_monitor.get_monitor(channel_id)
            assert monitor is not None
            params = monitor.state.params
            found |= {
                f"channel {number}": bytes(channel_id),
                f"funding of {number}": bytes(params.funding_outpoint.txid),
                f"peer of {number}": bytes(monitor.counterparty_node_id),
                f"peer's key of {number}": params.counterparty_pubkeys.htlc_basepoint,
                f"own key of {number}": params.holder_pubkeys.payment_point,
            }
        for coin in running.onchain.coins():
            script = coin.output.script_pubkey
            found[f"script {coin.outpoint}"] = script
            found[f"address {coin.outpoint}"] = str(
                script_to_address(script, running.options.network)
            ).encode()
            found[f"coin {coin.outpoint}"] = bytes(coin.outpoint.txid)
    return found


def look(folder: Path, secrets: dict[str, bytes]) -> list[str]:
    """Which of the secrets stand in a file, or in a file's name."""
    told = []
    for file in folder.rglob("*"):
        name = str(file.relative_to(folder)).encode()
        raw = file.read_bytes() if file.is_file() else b""
        for what, secret in secrets.items():
            if secret in raw or secret[::-1] in raw or secret.hex().encode() in raw or secret in name:
                told.append(f"{what} in {file.relative_to(folder)}")
    return told


def test_nothing_on_the_disk_says_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ARGON2_MEMORY_KIB", 64), ("ARGON2_ITERATIONS", 1), ("ARGON2_LANES", 1)):
        monkeypatch.setattr(store, name, value)

    async def scenario() -> None:
        async with WholeWorld.made(tmp_path / "world", ("alice", "bob")) as world:
            alice, bob = world.nodes
            await alice.call("change_password", new_password="a long one")
            await alice.fund(2_000_000, coins=3)
            await alice.open_channel(bob, 500_000, 120_000)
            request = await bob.call("add_request", amount_msat=7_000_000, message="", lightning=True)
            assert (await alice.call("lnpay", invoice=request["lightning_invoice"]))["success"]
            await alice.call("add_request", amount_msat=9_000_000, message=LABEL, lightning=True)
            stick = tmp_path / "stick"
            stick.mkdir()
            await alice.call("set_backup_folder", folder=str(stick))
            await alice.until("the end of the payment", alice.quiet)
            secrets = secrets_of(alice)
            assert len(secrets) > 12
            # While it runs, with its log; and afterwards.
            assert look(alice.options.network_dir, secrets) == []
            await asyncio.get_running_loop().run_in_executor(None, alice.node.save_caches)
            await alice.bury()
            assert look(alice.options.network_dir, secrets) == []
            assert look(stick, secrets) == []
            there = {file.name for file in alice.options.network_dir.rglob("*") if file.is_file()}
            names = {"wallet.leyden", "channels.backup", "scores.bin"} | PUBLIC
            assert {name for name in there if not re.fullmatch(r"[0-9a-f]{32}(\.lock)?", name)} <= names
            # An attacker learns the kinds of rows, their number and sizes; keys and values are sealed.
            copied = tmp_path / "copied"
            shutil.copy(alice.options.wallet_file, copied)
            connection = sqlite3.connect(copied)
            assert {name for (name,) in connection.execute("SELECT name FROM meta")} == {
                "format",
                "key_cost",
                "key_salt",
                "key_sealed",
                "network",
            }
            spaces = {space for (space,) in connection.execute("SELECT DISTINCT space FROM rows")}
            connection.close()
            assert all(re.fullmatch(r"[a-z0-9_]{1,40}", space) for space in spaces)
            assert not any(file.stat().st_mode & 0o077 for file in alice.options.wallet_dir.glob("*.leyden*"))

    play(scenario())


def test_the_password_costs_what_the_standard_asks_for() -> None:
    """RFC 9106, section 4, where memory is scarce: 64 MiB, three passes, four lanes."""
    memory_kib, iterations, lanes = COST
    assert memory_kib >= 64 * 1024
    assert iterations >= 3
    assert lanes == 4


def test_the_counter_outside_says_nothing_of_the_wallet(tmp_path: Path) -> None:
    rows = first_rows(tmp_path)
    made = Store.create(tmp_path / "w" / "wallet.leyden", network="regtest", password="", rows=rows)
    generation = Generation.take(tmp_path, made)
    made.close()
    generation.close()
    entry = next(file for file in (tmp_path / "generations").iterdir() if not file.suffix)
    assert len(entry.read_bytes()) == 48
    assert re.fullmatch(r"[0-9a-f]{32}", entry.name)
