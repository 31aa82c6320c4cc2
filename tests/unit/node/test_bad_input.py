"""Bad input on the command line and at the window's entry points, against a wallet that runs.

A wallet with coins and channels lives in this process: on the sandbox's chain, behind its Electrum server, with a
friendly peer. The command line reaches it through a daemon's port, as in real life; the window's calls go to the node
itself. Whatever comes: one sentence that says what is wrong, exit code 1, no traceback, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wallet.app import main
from wallet.bitcoin import curve
from wallet.bitcoin.address import MAINNET, REGTEST, SIGNET, Network, address_to_script, script_to_address
from wallet.bitcoin.script import p2tr, p2wpkh
from wallet.chain.electrum import sync
from wallet.chain.electrum.session import ServerAddress
from wallet.ln.config import ChannelHandshakeConfig, UserConfig
from wallet.ln.features import Feature
from wallet.ln.invoice import build_invoice, invoice_features
from wallet.ln.types import PaymentHash, PaymentSecret
from wallet.node import peers
from wallet.node.api import CommandError, Json
from wallet.node.commands import COMMANDS, run
from wallet.node.daemon import Daemon
from wallet.node.host import NodeThread, OpenNode, open_node
from wallet.node.node import Node
from wallet.node.options import NodeOptions
from wallet.node.wallets import create_wallet_file
from wallet.sandbox.chain import SandboxChain
from wallet.sandbox.electrum_server import SandboxElectrumServer

ROOT = Path(__file__).parents[3]
OUR_WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
FRIENDS_WORDS = "letter advice cage absurd amount doctor acoustic avoid letter advice cage above"
LOCALHOST = "127.0.0.1"
WAIT_SECONDS = 60
SECRET = b"\x17" * 32
STRANGER = curve.pubkey_from_secret(SECRET)


class Place:
    """The wallet, its friend, the chain; all on one loop in a thread.

    Attributes:
        options: of our wallet; its daemon takes commands.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.thread = NodeThread()
        self.call(self._start(), WAIT_SECONDS * 2)

    def call(self, work: Any, timeout_seconds: float = WAIT_SECONDS) -> Any:
        return self.thread.submit(work).result(timeout_seconds)

    async def _start(self) -> None:
        config = UserConfig(
            channel_handshake_config=ChannelHandshakeConfig(
                minimum_depth_blocks=1, our_to_self_delay_blocks=144
            ),
            manually_accept_inbound_channels=True,
        )
        self.chain = SandboxChain()
        self.server = SandboxElectrumServer(self.chain)
        address = ServerAddress(LOCALHOST, await self.server.start(), False)
        self.options = NodeOptions(
            network_name="regtest",
            root=self.root / "ours",
            servers=(address,),
            single_server_ok=True,
            listen=(LOCALHOST, 0),
            user_config=config,
        )
        friends = NodeOptions(
            network_name="regtest",
            root=self.root / "friends",
            servers=(address,),
            single_server_ok=True,
            listen=(LOCALHOST, 0),
            user_config=config,
            accept_without_reserve=True,
        )
        create_wallet_file(self.options, OUR_WORDS.split(), "")
        create_wallet_file(friends, FRIENDS_WORDS.split(), "")
        self.friend: OpenNode = await open_node(friends, "")
        self.daemon = Daemon(self.options)
        # As `serve` does, but for the signals, which are the main thread's.
        self._daemon_lock = self.daemon._lock()
        await self.daemon._rpc.start(0)
        await self.daemon.handle("load_wallet", {})
        await self.wait_synced()
        for _ in range(3):
            script = address_to_script(str(await self.ours("createnewaddress")), REGTEST)
            self.chain.faucet(script, 10_000_000)
        self.chain.mine(1)
        await self.until(lambda: self.node.snapshot().balance.onchain_confirmed_sat == 30_000_000)
        opened = await self.ours(
            "open_channel", connection_string=self.friends_uri, amount_sat=2_000_000, push_sat=800_000
        )
        assert isinstance(opened, dict)
        await self.until(lambda: bool(self.chain.mempool_txids()))
        self.chain.mine(6)
        await self.until(lambda: any(channel.is_usable for channel in self.node.snapshot().channels))
        await self.until(
            lambda: any(channel.is_usable for channel in self.friend.node.snapshot().channels),
            self.friend.node,
        )

    @property
    def node(self) -> Node:
        opened = self.daemon._open
        assert opened is not None
        return opened.node

    @property
    def friends_uri(self) -> str:
        return f"{self.friend.node.keys_manager.get_node_id().hex()}@{LOCALHOST}:{self.friend.node.listening_port}"

    async def ours(self, command: str, **arguments: Json) -> Json:
        return await run(self.node, command, arguments)

    async def friends(self, command: str, **arguments: Json) -> Json:
        return await run(self.friend.node, command, arguments)

    async def wait_synced(self) -> None:
        await self.ours("wait_for_sync", timeout=WAIT_SECONDS)

    async def until(self, ready: Callable[[], bool], node: Node | None = None) -> None:
        views = (node or self.node).views
        async with asyncio.timeout(WAIT_SECONDS):
            version = views.version
            while not ready():
                # Most of what is waited for shows up in a snapshot; the rest is looked for now and then.
                try:
                    async with asyncio.timeout(0.2):
                        version = await views.changed_since(version)
                except TimeoutError:
                    continue

    def invoice(self, **arguments: Json) -> str:
        """Of the friend."""
        made = self.call(self.friends("add_request", lightning=True, **arguments))
        return str(made["lightning_invoice"])

    def total_msat(self) -> int:
        balance = self.node.snapshot().balance
        return balance.lightning_msat + 1000 * (
            balance.onchain_confirmed_sat + balance.onchain_unconfirmed_sat
        )

    def close(self) -> None:
        async def end() -> None:
            await self.daemon._rpc.close()
            await self.daemon._close_wallet()
            self._daemon_lock.release()
            await self.friend.close()
            await self.server.stop()

        self.call(end())
        self.thread.stop()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("place"))
    yield made
    made.close()


class Typed:
    """Command lines in this process, answered by the daemon of `place`."""

    def __init__(self, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
        self._place = place
        self._capsys = capsys

    def __call__(self, *words: str) -> Any:
        """The result of a command that works."""
        code = main(["--regtest", "-D", str(self._place.options.root), *words])
        out, err = self._capsys.readouterr()
        assert (code, err) == (0, "")
        try:
            return json.loads(out)
        except ValueError:
            return out.strip()

    def refused(self, *words: str) -> str:
        """The sentence of one that does not; and nothing was lost by it."""
        before_msat = self._place.total_msat()
        code = main(["--regtest", "-D", str(self._place.options.root), *words])
        out, err = self._capsys.readouterr()
        assert (code, out) == (1, ""), (out, err)
        assert self._place.total_msat() == before_msat
        return sentence(err)


def sentence(err: str) -> str:
    """One sentence for a person: no traceback, nothing from within."""
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    assert "within Leyden" not in err, err
    said = err.strip()
    # Names of commands and arguments, and ids, may begin it; how a command is used may end it.
    assert said[0].isupper() or "_" in said.split()[0] or said.split()[0].isascii(), said
    assert said[-1] in ".?)" or "It is used so: " in said, said
    return said


@pytest.fixture
def typed(place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    return Typed(place, capsys)


def made_invoice(network: Network = REGTEST, **changed: Any) -> str:
    """A stranger's invoice, whose payment nobody will ever ask for."""
    fields: dict[str, Any] = {
        "network": network,
        "payment_hash": PaymentHash(b"\x05" * 32),
        "payment_secret": PaymentSecret(b"\x06" * 32),
        "created_at": int(time.time()),
        "sign": lambda digest: curve.sign_recoverable(digest, SECRET),
        "amount_msat": 5_000,
        "description": "coffee",
    }
    return build_invoice(**{**fields, **changed}).text


# --- good input, for once -----------------------------------------------------------------------------


def test_a_payment_typed_with_its_trace_and_a_probe(place: Place, typed: Typed) -> None:
    """As a person types it, through a daemon's port: what is printed can be read."""
    friend = place.friend.node.keys_manager.get_node_id().hex()
    paid = typed("lnpay", place.invoice(amount_msat=2_000_000), "--trace", "--probe")
    assert (paid["success"], paid["fee_msat"], paid["reason"]) == (True, 0, None)
    (probe,) = paid["probes"]
    assert (probe["status"], probe["reached_payee"], probe["failed_hop"]) == ("failed", True, 0)
    assert "came back after" in probe["text"]
    (attempt,) = paid["attempts"]
    assert (attempt["status"], attempt["failure"]) == ("done", "")
    assert [(hop["node_id"], hop["amount_msat"]) for hop in attempt["path"]] == [(friend, 2_000_000)]
    assert attempt["text"].startswith("2\u202f000\u00a0sat and 0\u00a0sat of fees over ")
    assert ": arrived after " in attempt["text"]
    # The probe is in no books.
    told = [
        entry
        for entry in typed("lightning_history", "--details", "--limit=1")
        if entry["payment_hash"] == paid["payment_hash"]
    ]
    assert [entry["attempts"] for entry in told] == [paid["attempts"]]
    # Without being asked for, neither is told.
    plain = typed("lnpay", place.invoice(amount_msat=1_000_000))
    assert plain["success"]
    assert not {"attempts", "probes"} & set(plain)


def test_a_payment_that_fails_is_typed_with_its_trace_too(place: Place, typed: Typed) -> None:
    """The payee refuses: its request is cancelled."""
    held = place.call(place.friends("add_hold_invoice", payment_hash="cd" * 32, amount_msat=3_000_000))
    place.call(place.friends("cancel_hold_invoice", payment_hash="cd" * 32))
    failed = typed("lnpay", held["invoice"], "--trace")
    assert not failed["success"]
    assert "refused the payment of 3\u202f000\u00a0sat. Nothing was paid." in failed["reason"]
    (attempt,) = failed["attempts"]
    assert (attempt["status"], attempt["failure_name"]) == ("failed", "incorrect_or_unknown_payment_details")
    assert attempt["failure"] in attempt["text"]
    assert typed.refused("lnpay", held["invoice"], "--max-fee-msat=-1") == "A fee limit is not below 0."


# --- invoices ---------------------------------------------------------------------------------------


def spoilt(invoice: str) -> str:
    at = len(invoice) // 2
    return invoice[:at] + ("q" if invoice[at] != "q" else "p") + invoice[at + 1 :]


BAD_INVOICES: list[tuple[str, Callable[[], str], str]] = [
    ("nothing", lambda: "", "invoice"),
    ("a word", lambda: "coffee", "invoice"),
    ("an address", lambda: script_to_address(p2wpkh(STRANGER), REGTEST) or "", "invoice"),
    ("a mistyped letter", lambda: spoilt(made_invoice()), "not a valid invoice"),
    ("cut short", lambda: made_invoice()[:-20], "not a valid invoice"),
    ("only its beginning", lambda: "lnbcrt1", "not a valid invoice"),
    ("mixed case", lambda: made_invoice()[:-60] + made_invoice()[-60:].upper(), "not a valid invoice"),
    ("another network", lambda: made_invoice(MAINNET), "invoice is for"),
    ("a test network", lambda: made_invoice(SIGNET), "invoice is for"),
    ("an offer", lambda: "lno1pqpzwyq2qe3k7enxv4j3pjgrcs6a3m5q", "valid invoice"),
    ("characters of any kind", lambda: "lnbcrt1💥☕\u202e", "not a valid invoice"),
    ("very long", lambda: "lnbcrt1" + "q" * 90_000, "not a valid invoice"),
    (
        "a feature from the future",
        lambda: made_invoice(features=invoice_features().with_required(Feature.ROUTE_BLINDING)),
        "",
    ),
    ("run out", lambda: made_invoice(created_at=1_600_000_000), "run out"),
]


@pytest.mark.parametrize(
    ("make", "says"),
    [(make, says) for _name, make, says in BAD_INVOICES if says],
    ids=[n for n, _, s in BAD_INVOICES if s],
)
def test_an_invoice_that_cannot_be_paid(
    place: Place, typed: Typed, make: Callable[[], str], says: str
) -> None:
    invoice = make()
    assert says in typed.refused("lnpay", "--", invoice)
    assert says in typed.refused("lnpay", f"lightning:{invoice}")
    if says != "run out":
        assert says in typed.refused("decode_invoice", "--", invoice)
    # The window shows the same, before it offers to pay.
    if invoice:
        found = place.call(place.ours("recognise", text=invoice))
        assert found["message"]
        assert not found.get("can_pay")
        if found["kind"] == "invoice":
            assert found["expired"]
            assert "run out" in found["why_not"]


def test_an_invoice_of_another_network_is_told_as_such(place: Place) -> None:
    for network in (MAINNET, SIGNET):
        found = place.call(place.ours("recognise", text=made_invoice(network)))
        assert found["kind"] == "unknown"
        assert not found["network_ok"]
        assert network.title in found["message"]


def test_our_own_invoice(place: Place, typed: Typed) -> None:
    invoice = typed("add_request", "0.0001", "--lightning")["lightning_invoice"]
    assert "your own" in typed.refused("lnpay", invoice)
    found = place.call(place.ours("recognise", text=invoice))
    assert found["own"]
    assert not found["can_pay"]
    assert "your own" in found["why_not"]


def test_an_invoice_that_is_paid_already(place: Place, typed: Typed) -> None:
    invoice = place.invoice(amount_msat=20_000)
    assert typed("lnpay", invoice)["success"]
    assert "paid already" in typed.refused("lnpay", invoice)
    assert "paid already" in typed.refused("lnpay", invoice.upper())
    found = place.call(place.ours("recognise", text=invoice))
    assert found["already_paid"]
    assert "paid already" in found["why_not"]


def test_an_invoice_whose_payment_is_under_way(place: Place, typed: Typed) -> None:
    preimage = b"\x21" * 32
    from wallet.bitcoin.hashes import sha256

    made = place.call(
        place.friends("add_hold_invoice", payment_hash=sha256(preimage).hex(), amount_msat=30_000)
    )
    answer = typed("lnpay", made["invoice"], "--timeout", "1")
    assert answer["pending"]
    assert not answer["success"]
    assert "under way" in typed.refused("lnpay", made["invoice"])
    assert "under way" in place.call(place.ours("recognise", text=made["invoice"]))["why_not"]
    place.call(place.friends("settle_hold_invoice", preimage=preimage.hex()))
    payment_hash = sha256(preimage)
    place.call(place.until(lambda: place.node.ledger.payments[payment_hash].preimage is not None))
    assert "paid already" in typed.refused("lnpay", made["invoice"])


def test_amounts_and_invoices(place: Place, typed: Typed) -> None:
    open_amount = place.invoice()
    assert "how much" in typed.refused("lnpay", open_amount)
    assert "how much" in typed.refused("lnpay", open_amount, "--amount_msat", "0")
    assert "how much" in typed.refused("lnpay", open_amount, "--amount_msat", "-5")
    assert "out of all proportion" in typed.refused("lnpay", open_amount, "--amount_msat", "9" * 19)
    assert "whole number" in typed.refused("lnpay", open_amount, "--amount_msat", "9" * 40)
    assert "whole number" in typed.refused("lnpay", open_amount, "--amount_msat", "1.5")
    fixed = place.invoice(amount_msat=20_000)
    assert "leave the amount away" in typed.refused("lnpay", fixed, "--amount_msat", "30000")


@pytest.mark.parametrize(
    ("amount_msat", "fee"), [(2_000_000_000, None), (2**62, None), (21_000_000 * 10**11, None), (20_000, -1)]
)
def test_a_payment_that_the_channels_cannot_make(
    place: Place, typed: Typed, amount_msat: int, fee: int | None
) -> None:
    """It fails in words; it does not count as under way."""
    before_msat = place.total_msat()
    words = ["lnpay", place.invoice(), "--amount_msat", str(amount_msat)]
    words += [] if fee is None else [f"--max_fee_msat={fee}"]
    try:
        answer = typed(*words)
    except AssertionError:
        answer = {"success": False, "reason": typed.refused(*words)}
    assert not answer["success"]
    assert not answer.get("pending")
    assert answer["reason"].strip()
    assert place.total_msat() == before_msat


# --- requests of our own --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("add_request", "0"),
        ("add_request", "-1"),
        ("add_request", "NaN"),
        ("add_request", "1e-3"),
        ("add_request", "0,001"),
        ("add_request", "0.000000001"),
        ("add_request", "22000000"),
        ("add_request", "1", "--amount_msat", "5"),
        ("add_request", "--amount_msat", "0"),
        ("add_request", "--amount_msat", "99999999999999999999"),
        ("add_request", "--lightning", "--amount_msat", str(2**62)),
        ("add_request", "--lightning", "--amount_msat", "5", "--memo", "m" * 2_000),
        ("add_request", "--expiry", "0"),
        ("add_request", "--expiry", "-7"),
        ("add_request", "--expiry", "99999999999"),
        ("add_request", "--lightning=maybe"),
        ("add_hold_invoice", "zz"),
        ("add_hold_invoice", "00" * 31),
        ("add_hold_invoice", "22" * 32, "-1"),
        ("add_hold_invoice", "22" * 32, "--expiry", "-1"),
        ("add_hold_invoice", "22" * 32, "--expiry", str(2**62)),
        ("add_hold_invoice", "22" * 32, "--min_final_cltv_expiry_delta", "-1"),
        ("add_hold_invoice", "22" * 32, "--min_final_cltv_expiry_delta", str(2**40)),
        ("add_hold_invoice", "22" * 32, "--memo", "m" * 2_000),
        ("add_hold_invoice", "22" * 32, "--amount_msat", str(2**62)),
        ("settle_hold_invoice", "zz"),
        ("settle_hold_invoice", "33" * 32),
        ("cancel_hold_invoice", "33" * 32),
        ("cancel_hold_invoice", "zz"),
        ("check_hold_invoice", "zz"),
    ],
    ids=lambda words: " ".join(words)[:60],
)
def test_a_request_that_cannot_be_made(typed: Typed, words: tuple[str, ...]) -> None:
    typed.refused(*words)
    # Nothing of it stays.
    assert "22" * 32 not in json.dumps(typed("list_requests"))


# --- addresses and on-chain amounts -----------------------------------------------------------------------

GOOD_ADDRESS = script_to_address(p2tr(STRANGER[1:]), REGTEST) or ""

BAD_ADDRESSES = {
    "nothing": "",
    "a word": "coffee",
    "a mistyped letter": GOOD_ADDRESS[:-1] + ("q" if GOOD_ADDRESS[-1] != "q" else "p"),
    "cut short": GOOD_ADDRESS[:-4],
    "mixed case": GOOD_ADDRESS[:-4] + GOOD_ADDRESS[-4:].upper(),
    "mainnet": script_to_address(p2wpkh(STRANGER), MAINNET) or "",
    "the first address": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "a test network": script_to_address(p2wpkh(STRANGER), SIGNET) or "",
    "an invoice": "lnbcrt1qqqqqq",
    "characters of any kind": "bcrt1💥\u202e☕",
    "zeros between": GOOD_ADDRESS[:10] + "\x00" + GOOD_ADDRESS[10:],
    "very long": "bcrt1" + "q" * 90_000,
    "a link": f"bitcoin:{GOOD_ADDRESS}",
}


@pytest.mark.parametrize("address", BAD_ADDRESSES.values(), ids=BAD_ADDRESSES)
def test_an_address_that_cannot_be_paid(place: Place, typed: Typed, address: str) -> None:
    if "\x00" in address:
        # No command line can hold it; a window's field can.
        with pytest.raises(CommandError) as caught:
            place.call(place.ours("payto", destination=address, amount="0.001"))
        sentence(caught.value.message + "\n")
    else:
        typed.refused("payto", "--", address, "0.001")
    with pytest.raises(CommandError):
        place.call(place.ours("quote_onchain", destination=address, amount_sat="1000"))


@pytest.mark.parametrize("name", ["mainnet", "the first address", "a test network"])
def test_an_address_of_another_network_is_told_as_such(place: Place, typed: Typed, name: str) -> None:
    said = typed.refused("payto", BAD_ADDRESSES[name], "0.001")
    assert REGTEST.title in said or "network" in said
    found = place.call(place.ours("recognise", text=BAD_ADDRESSES[name]))
    assert found["kind"] == "unknown"
    assert not found["network_ok"]


@pytest.mark.parametrize(
    "words",
    [
        ("0",),
        ("-0.1",),
        ("NaN",),
        ("Infinity",),
        ("1e8",),
        ("0.1.2",),
        ("0x10",),
        ("٣",),
        ("0.000000001",),
        ("21000001",),
        ("0.00000001",),
        ("5",),
        ("0.001", "--feerate", "0"),
        ("0.001", "--feerate", "-1"),
        ("0.001", "--feerate", "NaN"),
        ("0.001", "--feerate", "1e999999"),
        ("0.001", "--feerate", "1E9"),
        ("0.001", "--feerate", ""),
        ("0.001", "--feerate", "cheap"),
        ("0.001", "--feerate_sat_per_vb", "0"),
        ("0.001", "--feerate_sat_per_vb", "99999999"),
        ("0.001", "--target_blocks", "soon"),
        ("--amount_sat", "0"),
        ("--amount_sat", "-1"),
        ("--amount_sat", "1.5"),
        ("--amount_sat", "9" * 5_000),
        (),
    ],
    ids=lambda words: " ".join(words)[:40] or "no amount",
)
def test_an_amount_that_cannot_be_sent(typed: Typed, words: tuple[str, ...]) -> None:
    typed.refused("payto", GOOD_ADDRESS, *(("--",) if words and words[0].startswith("-0") else ()), *words)


@pytest.mark.parametrize("text", ["", "zz", "00", "00" * 100, "0200000000", "💥", "0 1 2", "ff" * 40_000])
def test_no_transaction_to_broadcast(typed: Typed, text: str) -> None:
    assert "not a transaction" in typed.refused("broadcast", "--", text)


def test_a_transaction_that_nobody_takes(typed: Typed) -> None:
    raw = typed("payto", GOOD_ADDRESS, "0.001", "--unsigned")
    said = typed.refused("broadcast", raw)
    assert said


@pytest.mark.parametrize("txid", ["", "zz", "00" * 32, "00" * 31, "💥" * 64])
def test_a_fee_that_cannot_be_raised(typed: Typed, txid: str) -> None:
    typed.refused("bump_fee", txid, "--feerate_sat_per_vb", "5")


# --- peers and channels -----------------------------------------------------------------------------------


def bad_peers(place: Place) -> dict[str, str]:
    own = place.node.keys_manager.get_node_id().hex()
    friend, port = place.friends_uri.split("@")[0], place.friend.node.listening_port
    with socket.socket() as sock:
        sock.bind((LOCALHOST, 0))
        closed = sock.getsockname()[1]
    return {
        "nothing": "",
        "a word": "coffee",
        "an id alone": STRANGER.hex(),
        "no id": f"{LOCALHOST}:9735",
        "an id that is no point": "02" + "11" * 32 + "@localhost:1",
        "an id that is too short": friend[:-2] + f"@{LOCALHOST}:{port}",
        "no host": f"{friend}@",
        "no port": f"{friend}@{LOCALHOST}:x",
        "a port that is none": f"{friend}@{LOCALHOST}:70000",
        "a host that is none": f"{STRANGER.hex()}@exa mple:1",
        "a host of the wrong kind": f"{STRANGER.hex()}@{'a' * 300}:1",
        "a label that is too long": f"{STRANGER.hex()}@{'a' * 80}.example:1",
        "nobody there": f"{STRANGER.hex()}@{LOCALHOST}:{closed}",
        "somebody else there": f"{STRANGER.hex()}@{LOCALHOST}:{port}",
        "no Lightning there": f"{STRANGER.hex()}@{LOCALHOST}:{place.server.port}",
        "ourselves": f"{own}@{LOCALHOST}:{place.node.listening_port}",
    }


PEER_NAMES = [
    "nothing", "a word", "an id alone", "no id", "an id that is no point", "an id that is too short", "no host",
    "no port", "a port that is none", "a host that is none", "a host of the wrong kind", "a label that is too long",
    "nobody there", "somebody else there", "no Lightning there", "ourselves",
]  # fmt: skip


@pytest.mark.parametrize("name", PEER_NAMES)
def test_a_peer_that_cannot_be_reached(
    place: Place, typed: Typed, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "HANDSHAKE_TIMEOUT_SECONDS", 1.0)
    peer = bad_peers(place)[name]
    typed.refused("add_peer", "--", peer)
    typed.refused("open_channel", "--", peer, "0.01")


@pytest.mark.parametrize(
    "words",
    [
        ("0",),
        ("-1",),
        ("NaN",),
        ("0.0000001",),
        ("0.0001",),
        ("20",),
        ("21000001",),
        ("0.01", "--push_amount", "0.01"),
        ("0.01", "--push_amount", "-1"),
        ("0.01", "--push_amount", "x"),
        ("0.01", "--push_sat", "-1"),
        ("0.01", "--feerate", "0"),
        ("--amount_sat", "-5"),
        ("--amount_sat", str(2**62)),
        (),
    ],
    ids=lambda words: " ".join(words) or "no amount",
)
def test_a_channel_that_cannot_be_opened(place: Place, typed: Typed, words: tuple[str, ...]) -> None:
    count = len(place.node.snapshot().channels)
    escaped = ("--",) if words and words[0] == "-1" else ()
    typed.refused("open_channel", *escaped, place.friends_uri, *words)
    assert len(place.node.snapshot().channels) == count


@pytest.mark.parametrize(
    "channel", ["", "coffee", "00" * 32, "00" * 32 + ":0", "1x1x1", "💥", "zz:zz:zz", "a" * 5_000]
)
def test_a_channel_that_is_not_there(place: Place, typed: Typed, channel: str) -> None:
    says = "channel" if not channel else "no channel"
    assert says in typed.refused("close_channel", "--", channel)
    assert says in typed.refused("close_channel", "--force", "--", channel)
    with pytest.raises(CommandError, match="no channel"):
        place.call(place.ours("quote_close", channel_id=channel))
    assert all(channel.is_usable for channel in place.node.snapshot().channels)


# --- labels, passwords, and everything else ------------------------------------------------------------------


@pytest.mark.parametrize(
    "item", ["", "ln:", "ln:zz", "ln:💥", "tx:", "tx:zz", "coffee", "ln:" + "00" * 32, "x" * 100_000]
)
def test_a_label_for_nothing(place: Place, typed: Typed, item: str) -> None:
    if len(item) > 200 or (item.startswith("ln:") and len(item) != 67):
        with pytest.raises(CommandError, match="Nothing has the id"):
            place.call(place.ours("setlabel", key=item, label="mine"))
        typed.refused("setlabel", "--", item, "mine")
    else:
        place.call(place.ours("setlabel", key=item, label="mine"))
    place.node.activity_page(offset=0, limit=50)
    # A label that could not be written would have stopped the wallet.
    assert typed("setlabel", "coffee", "mine") is True


def test_a_lone_half_of_a_character(place: Place) -> None:
    for name, arguments in (
        ("recognise", {"text": "\ud800"}),
        ("setlabel", {"key": "coffee", "label": "\udfff"}),
        ("add_request", {"message": "\ud83d"}),
        ("lnpay", {"invoice": "ln\ud800"}),
        ("payto", {"destination": "\ud800", "amount": "1"}),
    ):
        with pytest.raises(CommandError, match="broken characters"):
            place.call(run(place.node, name, arguments))


@pytest.mark.parametrize("password", ["", "wrong", "💥" * 50, "x" * 100_000])
def test_a_wrong_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: Place, password: str
) -> None:
    options = NodeOptions(
        network_name="regtest",
        root=tmp_path,
        servers=place.options.servers,
        single_server_ok=True,
    )
    create_wallet_file(options, OUR_WORDS.split(), "right")
    before = options.wallet_file.read_bytes()

    async def attempt() -> None:
        daemon = Daemon(options)
        lock = daemon._lock()
        await daemon._rpc.start(0)
        try:
            loop = asyncio.get_running_loop()
            code = await loop.run_in_executor(
                None, main, ["--regtest", "-D", str(tmp_path), "load_wallet", "--password", password]
            )
            assert code == 1
        finally:
            await daemon._rpc.close()
            lock.release()

    asyncio.run(attempt())
    assert "does not open the wallet" in sentence(capsys.readouterr().err)
    assert options.wallet_file.read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ("history", "--limit", "-5"),
        ("history", "--limit", "x"),
        ("wait_for_sync", "--timeout", "x"),
        ("lnpay",),
        ("lnpay", "a", "b"),
        ("getinfo", "now"),
        ("getinfo", "--now"),
        ("coffee",),
        ("💥",),
        ("setlabel", "--key"),
        ("list_channels", "--active=perhaps"),
        ("accept_channel_request", "zz"),
        ("accept_channel_request", "00" * 32),
        ("getseed", "--password", "not it", "twice"),
    ],
    ids=" ".join,
)
def test_commands_that_are_misused(typed: Typed, words: tuple[str, ...]) -> None:
    typed.refused(*words)


# --- what is pasted, dropped, scanned ----------------------------------------------------------------------

PASTED = [
    "", " ", "\n\n", "coffee", "💥", "\x00", "\u202egnihton", "bitcoin:", "BITCOIN:", "bitcoin:?", "bitcoin:?amount=1",
    "lightning:", "LIGHTNING:LNBC", "ln", "lnbc", "lnurl1dp68gurn8ghj7", "lno1qqqq", "@", "@@", "a@b", "a@b@c:1",
    f"bitcoin:{GOOD_ADDRESS}?amount=", f"bitcoin:{GOOD_ADDRESS}?amount=x", f"bitcoin:{GOOD_ADDRESS}?amount=-1",
    f"bitcoin:{GOOD_ADDRESS}?amount=1e9", f"bitcoin:{GOOD_ADDRESS}?amount=22000000", f"bitcoin:{GOOD_ADDRESS}?amount=0",
    f"bitcoin:{GOOD_ADDRESS}?req-coffee=1", f"bitcoin:{GOOD_ADDRESS}x?amount=1", "bitcoin:%00%ff?label=%zz",
    f"bitcoin:{BAD_ADDRESSES['mainnet']}?amount=1", f"bitcoin:{BAD_ADDRESSES['mainnet']}?lightning=lnbc1",
    "bitcoin:?lightning=lnbcrt1", "https://example.com/pay?x=1", "ethereum:0x00", "{}", "[]", "null",
    "'; DROP TABLE rows",
    "lightning:" + "q" * 100_000, "x" * 900_000,
]  # fmt: skip


@pytest.mark.parametrize("text", PASTED, ids=lambda text: repr(text[:40]))
def test_text_that_means_nothing(place: Place, text: str) -> None:
    found = place.call(place.ours("recognise", text=text))
    if found["kind"] == "address":
        # An amount that is left empty, or hints that are not understood: the address stands.
        assert found["address"] == GOOD_ADDRESS
        return
    assert found["kind"] == "unknown", found
    assert len(found["message"]) < 400
    sentence(found["message"] + "\n")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.text(max_size=80),
        st.text(max_size=40).map(lambda text: "bitcoin:" + GOOD_ADDRESS + "?" + text),
        st.text(max_size=40).map(lambda text: "lightning:" + text),
        st.text(max_size=40).map(lambda text: STRANGER.hex() + "@" + text),
    )
)
def test_any_text_gets_an_answer(place: Place, text: str) -> None:
    try:
        found = place.call(place.ours("recognise", text=text))
    except CommandError as error:
        sentence(error.message + "\n")
        return
    assert found["kind"] in ("unknown", "address", "node_uri")
    assert found["message"]


_VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 66), 1 << 66),
    st.sampled_from(
        [0, 1, -1, 2**31, 2**63, "", "!", "all", "0.001", "00" * 32, "ln:00", GOOD_ADDRESS, STRANGER.hex()]
    ),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.floats(),
)
SAFE = sorted(
    set(COMMANDS)
    - {
        # These wait, or do for good what they are asked to.
        "wait_for_sync", "wait_for_change", "open_channel", "add_peer", "payto", "close_channel", "change_password",
        "export_channel_backup", "export_history", "export_labels", "set_backup_folder", "add_server", "remove_server",
        "forget_certificate",
        "set_proxy",
        "set_language",
    }
)  # fmt: skip


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_arguments_get_an_answer(place: Place, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(SAFE))
    parameters = [parameter.name for parameter in COMMANDS[name].parameters]
    required = [parameter.name for parameter in COMMANDS[name].parameters if parameter.required]
    chosen = [*required, *data.draw(st.lists(st.sampled_from(parameters), max_size=3))] if parameters else []
    arguments = {parameter: data.draw(_VALUES) for parameter in chosen}
    arguments.pop("timeout", None)
    try:
        answer = place.call(run(place.node, name, arguments))
    except CommandError as error:
        sentence(error.message.replace("\n", " ").strip() + "\n")
        return
    json.dumps(answer)


def test_after_all_that_it_still_works(place: Place, typed: Typed) -> None:
    assert typed("lnpay", place.invoice(amount_msat=7_000))["success"]
    assert typed("getinfo")["synchronized"]


def test_servers_are_listed_added_and_removed_while_it_runs(place: Place, typed: Typed) -> None:
    before = typed("list_servers")["servers"]
    own = before[0]["address"]
    typed("add_server", "127.0.0.1:1:t")
    assert [s["address"] for s in typed("list_servers")["servers"]] == ["127.0.0.1:1:t", own]
    assert "already" in typed.refused("add_server", "127.0.0.1:1:t")
    assert "nobody to check" in typed.refused("remove_server", "127.0.0.1:1:t")
    assert "not in the list" in typed.refused("remove_server", "127.0.0.1:2:t")
    typed("remove_server", "127.0.0.1:1:t", "--trust_one")
    assert [s["address"] for s in typed("list_servers")["servers"]] == [own]
    assert "only server" in typed.refused("remove_server", own)
    assert "not in the list" in typed.refused("forget_certificate", "127.0.0.1:2:s")
    assert "no other certificate" in typed.refused("forget_certificate", own)
    assert typed("wait_for_sync")


def test_a_proxy_is_set_and_taken_away_while_it_runs(place: Place, typed: Typed) -> None:
    assert "host:port" in typed.refused("set_proxy", "nonsense")
    assert typed("set_proxy", "127.0.0.1:1")["proxy"] == "127.0.0.1:1"
    assert typed("list_servers")["proxy"] == "127.0.0.1:1"
    assert typed("set_proxy", "")["proxy"] == ""
    assert typed("list_servers")["proxy"] == ""
    assert typed("wait_for_sync")


# --- hostile peers and servers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x00" * 50,
        b"\xff" * 50,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        random.Random(70_000).randbytes(70_000),
    ],
    ids=lambda data: data[:8].hex() or "nothing",
)
def test_a_stranger_on_the_port_for_peers(place: Place, typed: Typed, data: bytes) -> None:
    assert place.node.listening_port is not None
    with socket.create_connection((LOCALHOST, place.node.listening_port), timeout=WAIT_SECONDS) as sock:
        sock.sendall(data)
        if len(data) >= 50:
            # Nobody shakes hands like that: we hang up.
            sock.settimeout(WAIT_SECONDS)
            try:
                while sock.recv(4096):
                    pass
            except ConnectionResetError:
                pass
    assert typed("getinfo")["synchronized"]


ABSURD: list[Any] = [
    None,
    True,
    -1,
    10**30,
    "",
    "zz",
    [],
    [1],
    {},
    {"height": -1},
    [{"tx_hash": "zz", "height": 1}],
    "00" * 81,
]


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that talked nonsense is asked again after a moment rather than a minute."""
    monkeypatch.setattr(sync, "ALONE_RETRY_MS", 100)
    monkeypatch.setattr(sync, "LAST_RETRY_MS", 500)


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize(
    "method",
    [
        "blockchain.scripthash.get_history",
        "blockchain.scripthash.subscribe",
        "blockchain.transaction.get",
        "blockchain.transaction.get_merkle",
        "blockchain.headers.subscribe",
        "blockchain.block.headers",
        "blockchain.estimatefee",
        "server.version",
    ],
)
def test_a_server_that_talks_nonsense(place: Place, method: str) -> None:
    """The wallet says so, keeps what it has, and goes on once the server has come to its senses."""
    before_msat = place.total_msat()

    async def lie(answer: object) -> None:
        place.server.lies.replies[method] = answer
        script = address_to_script(str(await place.ours("createnewaddress")), REGTEST)
        place.chain.faucet(script, 10_000)
        place.chain.mine(1)
        place.node.electrum.reconnect()
        # Whether a lie is met, and how far it gets, is told by nothing; the truth at the end is waited for.
        await asyncio.sleep(0.05)

    async def heal() -> None:
        place.server.lies.replies.clear()
        place.node.electrum.reconnect()

    added_msat = 0
    for answer in ABSURD[:: 3 if method != "blockchain.transaction.get" else 2]:
        place.call(lie(answer))
        added_msat += 10_000_000
        status = place.node.snapshot().status
        for server in status.servers:
            assert "Traceback" not in server.problem
    place.call(heal())
    place.call(place.until(lambda: place.total_msat() == before_msat + added_msat))
    place.call(place.wait_synced())


# --- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["headers", "graph.bin", "wallets/default_wallet/scores.bin", "server-certificates.json", "daemon_rpc"],
)
@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 100, b"{", b"[]", b"null", random.Random(500).randbytes(500)], ids=range(6)
)
def test_a_damaged_file_beside_the_wallet(tmp_path: Path, place: Place, name: str, content: bytes) -> None:
    """What can be fetched again is fetched again."""
    options = NodeOptions(
        network_name="regtest", root=tmp_path, servers=place.options.servers, single_server_ok=True
    )
    create_wallet_file(options, FRIENDS_WORDS.split(), "")
    (options.network_dir / name).write_bytes(content)

    async def attempt() -> None:
        opened = await open_node(options, "")
        try:
            await run(opened.node, "wait_for_sync", {"timeout": WAIT_SECONDS})
        finally:
            await opened.close()

    place.call(attempt())


def leyden(*words: str, **given: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LANGUAGE": "C"}
    return subprocess.run(
        [sys.executable, "-m", "wallet", *words],
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
        **given,
    )


@pytest.mark.parametrize("room_bytes", [0, 512, 4_096, 10_000])
def test_a_full_disk_where_a_wallet_is_made(tmp_path: Path, room_bytes: int) -> None:
    """Files cannot grow beyond a limit, as on a full disk."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, room_bytes))

    done = leyden("--regtest", "-D", str(tmp_path), "create", preexec_fn=limit)
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert "cannot be" in sentence(done.stderr)
    assert not list(tmp_path.rglob("wallet.leyden*"))
    # With room, the same works: nothing of the attempt is in the way.
    assert leyden("--regtest", "-D", str(tmp_path), "create").returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("command", ["version", "help"])
def test_an_output_that_is_full(command: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "wallet", command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert done.returncode == 1
    assert "No space left" in sentence(done.stderr)


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind((LOCALHOST, 0))
        sock.listen()
        port = str(sock.getsockname()[1])
        done = leyden("--regtest", "-D", str(tmp_path), "daemon", "--rpcport", port)
    assert done.returncode == 1
    assert port in sentence(done.stderr)


def test_two_daemons_and_two_wallets(place: Place) -> None:
    done = leyden("--regtest", "-D", str(place.options.root), "daemon")
    assert done.returncode == 1
    assert "running here already" in sentence(done.stderr)
