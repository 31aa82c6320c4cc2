"""Electrum servers that lie, hang or rave, as the one that is asked most, with one honest server beside: what they say
is not believed, the person is told in words, the honest one serves, and when the lie ends all is as before."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.real.conftest import StartRegtest
from tests.real.harness import LdkPeer, Regtest
from tests.real.node_rig import LeydenNode
from tests.real.process import HOST
from tests.real.proxy import (
    HISTORY,
    SUBSCRIBE,
    AbsurdFees,
    Drip,
    EndlessAnswer,
    ForeignHistory,
    FutureBlock,
    HiddenTransactions,
    HugeAnswer,
    Late,
    Lie,
    LyingServer,
    MissingHeader,
    NotJson,
    OneByOne,
    OtherBlock,
    OtherTransaction,
    OtherWitness,
    Silence,
    StaleTip,
    Storm,
    WeakerFork,
    WrongHeader,
    WrongIds,
    WrongProof,
)
from wallet.bitcoin.hashes import sha256
from wallet.chain.electrum import filter as filter_module
from wallet.chain.electrum import server as server_module
from wallet.chain.electrum import session as session_module
from wallet.chain.electrum import sync as sync_module
from wallet.chain.electrum.errors import ServerErrorKind
from wallet.chain.electrum.server import ServerState
from wallet.chain.electrum.session import ServerAddress
from wallet.chain.electrum.sync import ServerStatus
from wallet.chain.interfaces import FLOOR_FEERATE_SAT_PER_KW, ConfirmationTarget

COIN_SAT = 100_000
REQUEST_TIMEOUT_SECONDS = 3.0


class World:
    """A wallet with a channel, between a server that lies when it is told to and an honest one."""

    def __init__(self, net: Regtest, stack: ExitStack, *, name: str = "leyden") -> None:
        self.net = net
        self.liar = stack.enter_context(LyingServer(net.electrum))
        self.honest = stack.enter_context(LyingServer(net.electrum))
        self.us = LeydenNode(net, name, servers=(self.liar, self.honest), real_fees=True)
        stack.enter_context(self.us)

    def status_of(self, server: LyingServer) -> ServerStatus:
        found = [s for s in self.us.node.electrum.status().servers if s.address.port == server.port]
        return found[0]

    def is_primary(self, server: LyingServer) -> bool:
        return self.status_of(server).is_primary

    def bring_back(self) -> None:
        """As if the person named the servers anew: whoever was left is tried again."""
        addresses = [ServerAddress(HOST, server.port, tls=False) for server in (self.liar, self.honest)]
        task = self.us.node.electrum.set_servers(addresses, single_server_ok=False)
        asyncio.run_coroutine_threadsafe(task, self.us.node.loop).result(30)

    def make_healthy(self) -> None:
        """Both honest, both at the tip; the one that will lie is the one that is asked about our own coins."""
        self.honest.tell()
        self.net.sync()
        if self.liar.lies:
            self.liar.tell()
            # What it had told stays told as long as the connection does.
            self.liar.hang_up()
        self.bring_back()
        self.us.wait_height()
        if not self.is_primary(self.liar):
            # Were the liar still being called, the honest one could be back before it.
            self.us.wait("both servers", lambda: self.us.node.electrum.status().agreeing == 2)
            self.honest.hang_up()
            self.us.wait("the other server is asked", lambda: self.is_primary(self.liar))
            self.bring_back()
        self.us.wait("both servers", lambda: self.us.node.electrum.status().agreeing == 2)
        self.us.wait_height()
        self.us.wait("nothing to complain of", self.is_healthy)

    def is_healthy(self) -> bool:
        info = self.us.call("getinfo")
        return [info["problem"], *(server["problem"] for server in info["servers"])] == ["", "", ""]

    def wait_tip(self) -> None:
        """Until the core stands at the real node's tip; it need not be as sure of it as it would like."""
        tip_hash = bytes.fromhex(self.net.node.rpc("getbestblockhash"))[::-1]
        self.us.wait("the tip", lambda: (self.us.node.best_block or (b"", 0))[0] == tip_hash)

    def wait_found_out(self, kind: ServerErrorKind | None, words: str = "") -> ServerStatus:
        """Until the liar has been found out in this way."""

        def found_out() -> ServerStatus | None:
            status = self.status_of(self.liar)
            # The error is there a moment before the connection has ended.
            is_left = kind is None or not kind.is_dishonest or status.state is ServerState.DROPPED
            return status if status.error is kind and words in status.reason and is_left else None

        return self.us.wait(f"the server is found out ({kind}: {words})", found_out)

    def check_all_is_seen(self) -> None:
        """A coin for us in a new block: seen, confirmed, and counted."""
        before = self.us.sat()
        self.net.node.send(self.us.call("createnewaddress"), COIN_SAT)
        self.net.mine(1)
        self.wait_tip()
        self.us.wait("the coin", lambda: self.us.sat() == before + COIN_SAT)


def patch_patience(patch: pytest.MonkeyPatch) -> None:
    """Hours as seconds: how long the wallet puts up with what, and how soon it tries again."""
    patch.setattr(filter_module, "GRACE_MS", 500)
    patch.setattr(filter_module, "RETRY_MS", 100)
    patch.setattr(filter_module, "MISS_PAUSE_MS", 50)
    patch.setattr(sync_module, "BEHIND_AFTER_MS", 500)
    patch.setattr(sync_module, "TICK_SECONDS", 0.2)
    patch.setattr(sync_module, "FIRST_RETRY_MS", 100)
    patch.setattr(sync_module, "LAST_RETRY_MS", 500)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        patch_patience(stack.enter_context(pytest.MonkeyPatch.context()))
        net = stack.enter_context(Regtest(tmp_path_factory.mktemp("liars")))
        made = World(net, stack)
        yield made
        made.us.check_log()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One lie.

    Attributes:
        lie: made when it is told.
        kind, words: what is said of the server then.
        at_once: it shows when the connection is made: the liar is called again.
        impatient: it is found out by a time-out.
    """

    lie: Callable[[World], Lie]
    kind: ServerErrorKind | None
    words: str = ""
    at_once: bool = False
    impatient: bool = False


def foreign_places(world: World) -> list[tuple[str, int]]:
    """Transactions of others: the first block of each miner."""
    node = world.net.node
    return [
        (node.rpc("getblock", node.rpc("getblockhash", height))["tx"][0], height) for height in range(1, 40)
    ]


LIED, BAD, STALE = ServerErrorKind.LIED, ServerErrorKind.BAD_ANSWER, ServerErrorKind.STALE
CASES = {
    "wrong proof": Case(lie=lambda world: WrongProof(), kind=LIED, words="proof for the transaction"),
    "another block": Case(lie=lambda world: OtherBlock(), kind=LIED, words="contradicts itself"),
    "another transaction": Case(lie=lambda world: OtherTransaction(), kind=LIED, words="another transaction"),
    "no work": Case(
        lie=lambda world: WrongHeader(world.net.node), kind=LIED, words="without its work", at_once=True
    ),
    "missing header": Case(
        lie=lambda world: MissingHeader(),
        kind=ServerErrorKind.CLOSED,
        words="while it was read",
        at_once=True,
    ),
    "weaker fork": Case(
        lie=lambda world: WeakerFork(world.net.node, depth_blocks=3, length_blocks=2),
        kind=STALE,
        words="another chain",
        at_once=True,
    ),
    "stale tip": Case(lie=lambda world: StaleTip(world.net.node.height), kind=STALE, words="others are at"),
    "a block to come": Case(lie=lambda world: FutureBlock(), kind=None),
    "others' transactions": Case(
        lie=lambda world: ForeignHistory(foreign_places(world)), kind=LIED, words="where it does not belong"
    ),
    "silence": Case(
        lie=lambda world: Silence(), kind=ServerErrorKind.TIMEOUT, words="hangs", at_once=True, impatient=True
    ),
    "silence about histories": Case(
        lie=lambda world: Silence((HISTORY,)), kind=ServerErrorKind.TIMEOUT, words="hangs", impatient=True
    ),
    "slow drip": Case(
        lie=lambda world: Drip((HISTORY,)), kind=ServerErrorKind.TIMEOUT, words="hangs", impatient=True
    ),
    "huge answer": Case(lie=lambda world: HugeAnswer((HISTORY,)), kind=BAD, words="16,000,000 bytes"),
    "endless answer": Case(lie=lambda world: EndlessAnswer((HISTORY,)), kind=BAD, words="16,000,000 bytes"),
    "storm of notifications": Case(
        lie=lambda world: Storm(), kind=ServerErrorKind.FLOOD, words="notifications of nothing"
    ),
    "not JSON": Case(lie=lambda world: NotJson(), kind=BAD, words="not JSON", at_once=True),
    "wrong ids": Case(lie=lambda world: WrongIds(), kind=BAD, words="rules of JSON-RPC", at_once=True),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_lie_is_found_out_and_told_and_the_honest_server_serves(
    world: World, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.make_healthy()
    if case.impatient:
        # The liar's next connection alone: the honest one may take its time.
        monkeypatch.setattr(session_module, "REQUEST_TIMEOUT_SECONDS", REQUEST_TIMEOUT_SECONDS)
    if case.impatient and not case.at_once:
        call_again(world)
        monkeypatch.undo()
        take_the_lead(world)
        # What it is caught at stays told until it has been read here: called again, it might not be asked again.
        for name in ("FIRST_RETRY_MS", "LAST_RETRY_MS"):
            monkeypatch.setattr(sync_module, name, int(1000 * FOR_EVER_SECONDS))
    world.liar.tell(case.lie(world))
    if case.at_once:
        world.liar.hang_up()
    if case.at_once:
        world.wait_found_out(case.kind, case.words)
        monkeypatch.undo()
    world.check_all_is_seen()
    if case.kind is not None:
        check_told(world, world.wait_found_out(case.kind, case.words))
    monkeypatch.undo()
    world.make_healthy()
    world.check_all_is_seen()


def call_again(world: World) -> None:
    """The liar has a new connection."""
    before = world.liar.connections
    world.liar.hang_up()
    world.us.wait("another connection", lambda: world.liar.connections > before)
    world.us.wait("it is online", lambda: world.status_of(world.liar).state is ServerState.ONLINE)


def take_the_lead(world: World) -> None:
    """The liar is the one that is asked about our own coins, without a new connection."""
    before = world.honest.connections
    world.honest.hang_up()
    world.us.wait("the other server is asked", lambda: world.is_primary(world.liar))
    world.bring_back()
    world.us.wait("another connection", lambda: world.honest.connections > before)
    world.us.wait("both servers", lambda: world.us.node.electrum.status().agreeing == 2)


def check_told(world: World, status: ServerStatus) -> None:
    """Words for the person: which server, what it did, and that one alone does not make the wallet sure."""
    words = ["1 of 2 servers agree on the newest block"]
    if status.error is not None and status.error.is_dishonest:
        words.append(f"{status.address} is not believed any more. {status.reason}")

    def told() -> bool:
        # All at one time: a server that is called again has nothing against it for a moment.
        info = world.us.call("getinfo")
        row = next(server for server in info["servers"] if server["address"] == str(status.address))
        said = all(text in info["problem"] for text in words) and row["problem"].startswith("The server")
        return said and not info["synchronized"]

    world.us.wait(f"the words {words}", told)


# --- patience -------------------------------------------------------------------------------------------

FOR_EVER_SECONDS = 3_600.0


def test_a_server_that_keeps_its_headers_back_keeps_no_other_from_telling_its_blocks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.make_healthy()
    monkeypatch.setattr(session_module, "REQUEST_TIMEOUT_SECONDS", FOR_EVER_SECONDS)
    monkeypatch.setattr(server_module, "HEADERS_TURN_SECONDS", FOR_EVER_SECONDS)
    headers = "blockchain.block.headers"
    asked = world.liar.asked(headers)
    world.liar.tell(MissingHeader(), Silence((headers,)))
    world.liar.hang_up()
    world.liar.wait_asked(headers, asked + 1)
    world.check_all_is_seen()
    assert world.status_of(world.liar).state is ServerState.SYNCING
    monkeypatch.undo()
    world.make_healthy()


def test_a_server_that_tells_its_headers_one_by_one_has_so_much_time_and_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.make_healthy()
    monkeypatch.setattr(server_module, "HEADERS_TURN_SECONDS", 2.0)
    world.liar.tell(WeakerFork(world.net.node, depth_blocks=9, length_blocks=2), OneByOne())
    world.liar.hang_up()
    world.wait_found_out(ServerErrorKind.TIMEOUT, "too slow")
    world.check_all_is_seen()
    monkeypatch.undo()
    world.make_healthy()


def test_a_server_that_never_has_done_with_its_answers_does_not_stop_the_blocks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deadlines are heights: they count on, even while the only one that knows our addresses keeps silent."""
    world.make_healthy()
    monkeypatch.setattr(session_module, "REQUEST_TIMEOUT_SECONDS", FOR_EVER_SECONDS)
    call_again(world)
    monkeypatch.undo()
    take_the_lead(world)
    world.liar.tell(Silence((HISTORY, SUBSCRIBE)))
    world.net.mine(1)
    world.wait_tip()
    assert world.status_of(world.liar).state is ServerState.ONLINE
    world.make_healthy()
    world.check_all_is_seen()


# --- fees -----------------------------------------------------------------------------------------------

HONEST_BTC_PER_KVB, HONEST_SAT_PER_KW = 0.00016, 4_000
ABSURD = {
    "nothing": 0,
    "less than nothing": -1,
    "far less than nothing": -21_000_000,
    "no number": float("nan"),
    "without end": float("inf"),
    "more than there is": 1e9,
    "a hundred times the dearest ever": 2.0,
    "a word": "cheap",
    "missing": None,
}


@pytest.mark.parametrize("rate", ABSURD.values(), ids=ABSURD.keys())
def test_absurd_fees_move_nothing(world: World, rate: float | str | None) -> None:
    """The honest server's rates stand, for whatever is paid; and one that says what is no rate is left."""
    world.make_healthy()
    world.honest.tell(AbsurdFees(HONEST_BTC_PER_KVB, 0.00001))
    world.liar.tell(AbsurdFees(rate))
    estimator = world.us.node.electrum.fee_estimator
    asyncio.run_coroutine_threadsafe(estimator.refresh(), world.us.node.loop).result(30)
    for target in ConfirmationTarget:
        paid = estimator.get_est_sat_per_1000_weight(target)
        assert FLOOR_FEERATE_SAT_PER_KW <= paid <= HONEST_SAT_PER_KW, target
    assert (
        estimator.get_est_sat_per_1000_weight(ConfirmationTarget.URGENT_ON_CHAIN_SWEEP) == HONEST_SAT_PER_KW
    )
    info = world.us.call("getinfo")
    assert info["fee_estimates_sat_per_kw"]["urgent_on_chain_sweep"] == HONEST_SAT_PER_KW
    if isinstance(rate, str | None) or not -1e8 < rate < 1e8:
        world.wait_found_out(BAD)


# --- channels -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Between:
    """A wallet with a channel to a rust-lightning peer, between the two servers."""

    world: World
    alice: LdkPeer
    channel_id: str

    @property
    def funding(self) -> tuple[str, int]:
        txid, _colon, vout = self.world.us.channel(self.channel_id)["channel_point"].partition(":")
        return txid, int(vout)


@pytest.fixture
def between(regtest: StartRegtest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    patch_patience(monkeypatch)
    with ExitStack() as stack:
        net = regtest()
        alice = net.ldk_peer("alice", fund_sat=1_000_000)
        world = World(net, stack)
        world.us.fund(10_000_000)
        channel_id = world.us.open(alice, 1_000_000, push_sat=400_000)
        world.make_healthy()
        yield Between(world, alice, channel_id)
        world.us.check_log()


def test_a_hidden_spend_of_a_channel_is_seen(between: Between) -> None:
    """The peer force-closes, and the server that is asked most shows nothing of it."""
    world, us, net = between.world, between.world.us, between.world.net
    funding_txid, vout = between.funding
    us.hang_up(between.alice)
    known = set(net.node.seen_txids)
    for height in range(net.node.height + 1):
        known.update(net.node.rpc("getblock", net.node.rpc("getblockhash", height))["tx"])
    world.liar.tell(HiddenTransactions(lambda txid: txid not in known))
    between.alice.call("close", channel_id=between.channel_id, force=True)
    commitment_txid = net.node.wait_for_spend(funding_txid, vout)
    net.mine(1)
    status = world.wait_found_out(ServerErrorKind.HIDES)
    assert commitment_txid in status.reason, status
    check_told(world, status)
    us.wait(
        "the close", lambda: us.channel(between.channel_id)["state"] in ("CLOSING", "CLOSED", "FORCE_CLOSING")
    )
    world.make_healthy()
    us.mine_until_swept()
    values = [
        round(out["value"] * 100_000_000)
        for out in net.node.rpc("getrawtransaction", commitment_txid, 1)["vout"]
    ]
    assert len(values) == 4, values
    us.check_coins(paid_away_sat=400_000, commitment_txids=[commitment_txid])


def no_witness(witness: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return ()


def other_preimage(witness: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(secrets.token_bytes(32) if len(item) == 32 else item for item in witness)


@pytest.mark.parametrize("change", [no_witness, other_preimage])
def test_a_preimage_that_a_server_falsifies_is_learnt_all_the_same(
    between: Between, change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]
) -> None:
    """The peer takes our payment on the chain. Its id proves the transaction, but not the witness with the preimage in
    it: the server that tells of it first leaves that out, and the honest one comes later."""
    world, us, net, alice = between.world, between.world.us, between.world.net, between.alice
    funding_txid, vout = between.funding
    preimage = secrets.token_bytes(32)
    payment_hash = sha256(preimage).hex()
    made = alice.call("invoice", amount_msat=50_000_000, payment_hash=payment_hash, min_final_cltv=60)
    paying = us.node.call("lnpay", invoice=made["bolt11"])
    alice.wait_event("PaymentClaimable", payment_hash=payment_hash)
    us.hang_up(between.alice)
    alice.call("close", channel_id=between.channel_id, force=True)
    commitment_txid = net.node.wait_for_spend(funding_txid, vout)
    net.mine(1)
    world.wait_tip()
    honest = Late((HISTORY,))
    world.honest.tell(honest)
    world.liar.tell(OtherWitness(change))
    alice.call("claim", payment_hash=payment_hash, preimage=preimage.hex())
    vouts = net.node.rpc("getrawtransaction", commitment_txid, 1)["vout"]
    htlc_vout = next(out["n"] for out in vouts if round(out["value"] * 100_000_000) == 50_000)
    asked = world.liar.asked("blockchain.transaction.get")
    claim_txid = net.node.wait_for_spend(commitment_txid, htlc_vout)
    net.mine(1)
    world.liar.wait_asked("blockchain.transaction.get", asked + 1)
    if change is no_witness:
        # Nothing of it is believed: not even that the output is spent.
        status = world.wait_found_out(LIED)
        assert "where it does not belong" in status.reason
    else:
        # The block is delivered with what the first has told.
        world.wait_tip()
    honest.go_on()
    paid: Any = paying.result(30)
    assert paid["success"], (paid, claim_txid)
    assert paid["preimage"] == preimage.hex()
