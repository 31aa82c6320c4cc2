"""The pool and the filter against servers in this process: honest, slow, stale and lying ones."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NoReturn

import pytest

from tests.unit.chain.recorder import Recorder, syncing
from tests.unit.sandbox.test_chain import ADDRESS, SCRIPT, coin_of, give, spend
from wallet.bitcoin.address import REGTEST, SIGNET
from wallet.bitcoin.tx import OutPoint, Transaction, Txid, TxOut, txid_from_hex
from wallet.chain.electrum import broadcast as broadcast_module
from wallet.chain.electrum import fees as fees_module
from wallet.chain.electrum import filter as filter_module
from wallet.chain.electrum import session as session_module
from wallet.chain.electrum import sync as sync_module
from wallet.chain.electrum.broadcast import Verdict
from wallet.chain.electrum.errors import ServerError, ServerErrorKind, ServerRefused
from wallet.chain.electrum.server import Server, ServerState
from wallet.chain.electrum.session import ElectrumSession, Tip
from wallet.chain.electrum.sync import ElectrumSync, ServerAddress, SyncState
from wallet.chain.interfaces import (
    BestBlock,
    BroadcastPackage,
    ConfirmationTarget,
    TransactionsConfirmed,
    TransactionsEvicted,
    TransactionUnconfirmed,
    UtxoAnswer,
    UtxoError,
)
from wallet.sandbox.chain import Coin, SandboxChain
from wallet.sandbox.electrum_server import HOST, Lies, SandboxElectrumServer

pytestmark = pytest.mark.timeout(180)


class Net:
    """A chain, servers on it, a wallet's chain source on them."""

    def __init__(self) -> None:
        self.chain = SandboxChain()
        self.recorder = Recorder()
        self.servers: list[SandboxElectrumServer] = []
        self.sync: ElectrumSync

    def addresses(self) -> list[ServerAddress]:
        return [ServerAddress(HOST, server.port, tls=False) for server in self.servers]

    def status(self, i: int) -> Any:
        return self.sync.status().servers[i]

    async def at_tip(self, chain: SandboxChain | None = None) -> None:
        tip = (chain or self.chain).tip.hash
        await self.recorder.wait_for(
            lambda: self.recorder.best is not None and self.recorder.best[0] == tip, 60
        )
        await asyncio.wait_for(self.sync.wait_synced(), 60)

    async def dropped(self, i: int) -> tuple[ServerErrorKind | None, str]:
        await self.recorder.wait_for(
            lambda: self.status(i).state in (ServerState.DROPPED, ServerState.WAITING), 20
        )
        return self.status(i).error, self.status(i).reason


@asynccontextmanager
async def network(
    *lies: Lies,
    before: Callable[[Net], None] | None = None,
    single_server_ok: bool = True,
    protocol_max: str = "1.6",
) -> AsyncIterator[Net]:
    net = Net()
    if before is not None:
        before(net)
    async with AsyncExitStack() as stack:
        for lie in lies or (Lies(),):
            server = SandboxElectrumServer(net.chain, lies=lie, protocol_max=protocol_max)
            await server.start()
            stack.push_async_callback(server.stop)
            net.servers.append(server)
        net.sync = await stack.enter_async_context(
            syncing(net.recorder, net.addresses(), single_server_ok=single_server_ok)
        )
        yield net


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


@pytest.mark.parametrize("protocol", ["1.4", "1.6"])
def test_life_of_a_coin(protocol: str) -> None:
    async def scenario() -> None:
        async with network(protocol_max=protocol) as net:
            net.sync.filter.register_script(SCRIPT)
            await net.at_tip()
            first = txid_from_hex(net.chain.faucet(ADDRESS, 50_000))
            await net.recorder.wait_for(lambda: first in net.recorder.seen)
            net.chain.mine(1)
            await net.at_tip()
            assert net.recorder.confirmed[first][0] == net.chain.height
            tx = spend(net.chain, [coin_of(net.chain)])
            result = await net.sync.broadcaster.broadcast(BroadcastPackage((tx,)))
            assert result.is_success
            await net.recorder.wait_for(lambda: tx.txid in net.recorder.seen)
            net.chain.evict(tx.txid)
            await net.recorder.wait_for(lambda: tx.txid not in net.recorder.seen)
            assert TransactionsEvicted((tx.txid,)) in net.recorder.steps
            net.chain.send(tx)
            net.chain.mine(2)
            await net.at_tip()
            assert net.recorder.confirmed[tx.txid][0] == net.chain.height - 1

    run(scenario())


def test_what_vanished_while_we_were_away_is_taken_back() -> None:
    """A payment to us waited when the last run ended; its sender replaced it before this one began."""

    async def scenario() -> None:
        async with network() as net:
            net.sync.filter.register_script(SCRIPT)
            await net.at_tip()
            stays = txid_from_hex(net.chain.faucet(ADDRESS, 40_000))
            goes = txid_from_hex(net.chain.faucet(ADDRESS, 50_000))
            await net.recorder.wait_for(lambda: set(net.recorder.seen) == {stays, goes})
            await net.sync.stop()
            net.chain.evict(goes)
            async with syncing(net.recorder, net.addresses()) as net.sync:
                net.sync.filter.register_script(SCRIPT)
                await net.recorder.wait_for(lambda: set(net.recorder.seen) == {stays})
                net.chain.mine(1)
                await net.at_tip()
                assert stays in net.recorder.confirmed

    run(scenario())


def test_what_a_reorganisation_left_nowhere_is_taken_back() -> None:
    async def scenario() -> None:
        async with network() as net:
            net.sync.filter.register_script(SCRIPT)
            txid = txid_from_hex(net.chain.faucet(ADDRESS, 50_000))
            net.chain.mine(1)
            await net.at_tip()
            assert txid in net.recorder.confirmed
            net.chain.reorganise(1, empty=True)
            net.chain.evict(txid)
            await net.recorder.wait_for(lambda: TransactionUnconfirmed(txid) in net.recorder.steps)
            await net.recorder.wait_for(lambda: not net.recorder.seen)

    run(scenario())


def test_stopping_as_a_transaction_is_asked_for_leaves_no_question_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stop comes before the tasks that were just made begin; a coroutine that nobody awaits fails the test."""
    prove = filter_module.ElectrumFilter._prove

    async def scenario() -> None:
        stopping: asyncio.Future[asyncio.Task[None]] = asyncio.get_running_loop().create_future()

        def stop_first(
            self: filter_module.ElectrumFilter, server: Server, txid: Txid, height: int
        ) -> Coroutine[Any, Any, Any]:
            if not stopping.done():
                stopping.set_result(asyncio.create_task(net.sync.stop()))
            return prove(self, server, txid, height)

        monkeypatch.setattr(filter_module.ElectrumFilter, "_prove", stop_first)
        async with network(before=with_coin) as net:
            net.sync.filter.register_script(SCRIPT)
            async with asyncio.timeout(60):
                await (await stopping)

    run(scenario())
    gc.collect()


@pytest.mark.parametrize(
    ("patience_ms", "is_told"), [(60_000, False), (0, True)], ids=["waits", "only so long"]
)
def test_a_tip_waits_for_the_blocks_above_it_that_are_known_to_hold_something(
    monkeypatch: pytest.MonkeyPatch, patience_ms: int, is_told: bool
) -> None:
    """Blocks come faster than their headers: what the next one spends must not be spent again in between."""
    monkeypatch.setattr(filter_module, "AHEAD_MS", patience_ms)
    follow = Server._follow
    deliver_best = filter_module.ElectrumFilter._deliver_best

    async def scenario() -> None:
        looked = asyncio.Event()
        async with network() as net:
            net.sync.filter.register_script(SCRIPT)
            net.chain.mine(1)
            await net.at_tip()
            next_height = net.chain.height + 1

            async def second_comes_late(self: Server, tip: Tip) -> None:
                if tip.height > next_height:
                    await looked.wait()
                await follow(self, tip)

            async def once_they_have_told(self: filter_module.ElectrumFilter, found: Any) -> None:
                between = self._pool.chain.height == next_height
                settled = all(item.is_at_tip and item.is_settled for item in self._pool.online())
                if between and not (self._ahead and settled):
                    return
                await deliver_best(self, found)
                if between:
                    looked.set()

            monkeypatch.setattr(Server, "_follow", second_comes_late)
            monkeypatch.setattr(filter_module.ElectrumFilter, "_deliver_best", once_they_have_told)
            net.chain.mine(1)
            await net.recorder.wait_for(lambda: net.sync.chain.height == next_height)
            txid = txid_from_hex(net.chain.faucet(ADDRESS, 50_000))
            net.chain.mine(1)
            async with asyncio.timeout(60):
                await looked.wait()
            await net.at_tip()
            assert net.recorder.confirmed[txid][0] == next_height + 1
            told = {step.height for step in net.recorder.steps if isinstance(step, BestBlock)}
            assert (next_height in told) is is_told

    run(scenario())


def test_replacement_in_the_mempool() -> None:
    async def scenario() -> None:
        async with network(before=with_coin) as net:
            outpoint, coin = coin_of(net.chain)
            net.sync.filter.register_output(outpoint, SCRIPT)
            await net.at_tip()
            first = spend(net.chain, [(outpoint, coin)])
            net.chain.send(first)
            await net.recorder.wait_for(lambda: first.txid in net.recorder.seen)
            second = spend(net.chain, [(outpoint, coin)], fee_sat=9_000)
            net.chain.send(second)
            await net.recorder.wait_for(lambda: set(net.recorder.seen) == {second.txid})

    run(scenario())


def with_coin(net: Net) -> None:
    give(net.chain)


def watch_everything(net: Net) -> None:
    def follow(tx: Transaction, height: int | None) -> None:
        for i, output in enumerate(tx.outputs):
            net.sync.filter.register_output(tx.outpoint(i), output.script_pubkey)

    net.recorder.on_tx = follow


def family(chain: SandboxChain, count: int) -> list[Transaction]:
    """Each spends the one before; the first spends a new confirmed coin of ours."""
    give(chain)
    txs = []
    for _ in range(count):
        tx = spend(chain, [coin_of(chain)])
        chain.send(tx)
        txs.append(tx)
    return txs


def test_descendants_in_one_block_come_in_order_and_before_the_tip() -> None:
    async def scenario() -> None:
        txs: list[Transaction] = []

        def before(net: Net) -> None:
            txs.extend(family(net.chain, 8))
            net.chain.mine(1)
            txs.extend(family(net.chain, 3))
            net.chain.mine(4)

        async with network(before=before) as net:
            watch_everything(net)
            root = txs[0].inputs[0].prevout
            other = txs[8].inputs[0].prevout
            net.sync.filter.register_output(root, SCRIPT)
            net.sync.filter.register_output(other, SCRIPT)
            await net.at_tip()
            assert all(tx.txid in net.recorder.confirmed for tx in txs)
            kinds = [step for step in net.recorder.steps if isinstance(step, TransactionsConfirmed)]
            heights = [step.height for step in kinds]
            assert heights == sorted(heights)
            delivered_at = {
                item.tx.txid: i
                for i, step in enumerate(net.recorder.steps)
                if isinstance(step, TransactionsConfirmed)
                for item in step.txdata
            }
            tip_at = next(i for i, s in enumerate(net.recorder.steps) if isinstance(s, BestBlock))
            assert max(delivered_at.values()) < tip_at

    run(scenario())


def test_each_registration_gets_what_matters_to_it_again() -> None:
    async def scenario() -> None:
        txs: list[Transaction] = []

        def before(net: Net) -> None:
            txs.extend(family(net.chain, 2))
            net.chain.mine(1)

        async with network(before=before) as net:
            net.sync.filter.register_tx(txs[0].txid, SCRIPT)
            await net.at_tip()
            assert set(net.recorder.confirmed) == {txs[0].txid}
            count = len(net.recorder.steps)
            # Registered later, on the same script: the spend comes, and so does its parent, once more.
            net.sync.filter.register_output(OutPoint(txs[0].txid, 0), SCRIPT)
            await net.recorder.wait_for(lambda: txs[1].txid in net.recorder.confirmed)
            again = [step for step in net.recorder.steps[count:] if isinstance(step, TransactionsConfirmed)]
            assert [item.tx.txid for step in again for item in step.txdata] == [txs[0].txid, txs[1].txid]
            count = len(net.recorder.steps)
            net.sync.filter.register_output(OutPoint(txs[0].txid, 0), SCRIPT)
            net.chain.mine(1)
            await net.at_tip()
            assert [type(step) for step in net.recorder.steps[count:]] == [BestBlock]

    run(scenario())


@pytest.mark.parametrize("empty", [False, True])
def test_reorganisation(empty: bool) -> None:
    async def scenario() -> None:
        async with network(Lies(), Lies(), single_server_ok=False) as net:
            watch_everything(net)
            net.sync.filter.register_script(SCRIPT)
            await net.at_tip()
            txs = family(net.chain, 3)
            net.chain.mine(3)
            await net.at_tip()
            assert all(tx.txid in net.recorder.confirmed for tx in txs)
            net.chain.reorganise(3, empty=empty)
            await net.at_tip()
            for tx in txs:
                assert TransactionUnconfirmed(tx.txid) in net.recorder.steps
                assert (tx.txid in net.recorder.confirmed) is not empty
            net.chain.mine(1)
            await net.at_tip()
            assert all(tx.txid in net.recorder.confirmed for tx in txs)

    run(scenario())


def test_tip_replaced_at_the_same_height_and_below_is_survived() -> None:
    async def scenario() -> None:
        async with network() as net:
            net.sync.filter.register_script(SCRIPT)
            await net.at_tip()
            tx = family(net.chain, 1)[0]
            net.chain.mine(2)
            await net.at_tip()
            height = net.chain.height
            net.chain.reorganise(2, blocks=2)
            await net.recorder.wait_for(lambda: net.status(0).is_on_best is False)
            net.chain.reorganise(2, blocks=1)
            await net.recorder.wait_for(lambda: net.status(0).height == height - 1)
            # What was proven stands until a chain with more work takes its place.
            assert tx.txid in net.recorder.confirmed
            assert net.sync.status().state is SyncState.WAITING
            net.chain.mine(2)
            await net.at_tip()
            assert (
                net.recorder.confirmed[tx.txid][1] == net.chain.blocks[net.chain.height_of(tx.txid) or 0].hash
            )
            assert net.status(0).state is ServerState.ONLINE

    run(scenario())


ABSURD: dict[str, list[Any]] = {
    "blockchain.scripthash.get_history": [
        [{"tx_hash": 7, "height": "x"}],
        [{"tx_hash": "ab" * 32, "height": -7}],
        {"history": []},
    ],
    "blockchain.scripthash.subscribe": ["not a status", 5],
    "blockchain.transaction.get": ["00" * 9, None],
    "blockchain.transaction.get_merkle": [{"block_height": 1, "merkle": ["00"] * 99, "pos": 0}, []],
    "blockchain.headers.subscribe": [{"height": 10**30, "hex": "00" * 80}, None],
    "blockchain.block.headers": [{"headers": ["zz"] * 10}, {"headers": ["00" * 80] * 5000}],
    "server.version": [["x", "nonsense"], "1.6", []],
}

LIES = [
    (Lies(wrong_proof=True), ServerErrorKind.LIED),
    (Lies(wrong_tx=True), ServerErrorKind.LIED),
    (Lies(easy_headers=True), ServerErrorKind.LIED),
    (Lies(replies={"blockchain.block.header": "ff" * 80}), ServerErrorKind.WRONG_NETWORK),
    (Lies(replies={"server.version": ["x", "9.9"]}), ServerErrorKind.TOO_OLD),
    (Lies(replies={"server.version": ["x", "1.2"]}), ServerErrorKind.TOO_OLD),
] + [
    (Lies(replies={method: reply}), ServerErrorKind.BAD_ANSWER)
    for method, replies in ABSURD.items()
    for reply in replies
]


@pytest.mark.parametrize(("lie", "kind"), LIES)
def test_a_lie_is_found_out_and_the_honest_server_serves(lie: Lies, kind: ServerErrorKind) -> None:
    async def scenario() -> None:
        async with network(lie, Lies(), before=with_coin) as net:
            outpoint, _ = coin_of(net.chain)
            net.sync.filter.register_output(outpoint, SCRIPT)
            error, reason = await net.dropped(0)
            assert error is kind, reason
            assert reason.startswith("The server")
            await net.at_tip()
            assert outpoint.txid in net.recorder.confirmed

    run(scenario())


def test_a_hidden_spend_is_found_out() -> None:
    async def scenario() -> None:
        async with network(Lies(), Lies(), single_server_ok=False, before=with_coin) as net:
            outpoint, coin = coin_of(net.chain)
            net.sync.filter.register_output(outpoint, SCRIPT)
            await net.at_tip()
            tx = spend(net.chain, [(outpoint, coin)])
            net.servers[1].lies.hidden.add(tx.txid)
            net.chain.send(tx)
            net.chain.mine(1)
            error, reason = await net.dropped(1)
            assert error is ServerErrorKind.HIDES
            assert "hides" in reason
            assert tx.txid in net.recorder.confirmed
            assert net.status(0).state is ServerState.ONLINE

    run(scenario())


def test_a_stale_server_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_module, "STALE_AFTER_MS", 200)
    monkeypatch.setattr(sync_module, "TICK_SECONDS", 0.1)

    async def scenario() -> None:
        async with network(Lies(stale_height=100), Lies()) as net:
            await net.at_tip()
            error, reason = await net.dropped(0)
            assert error is ServerErrorKind.STALE
            assert "stuck at block 100" in reason

    run(scenario())


def test_a_server_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "REQUEST_TIMEOUT_SECONDS", 0.3)

    async def scenario() -> None:
        lie = Lies(silent={"blockchain.scripthash.subscribe"})
        async with network(lie, Lies(), before=with_coin) as net:
            outpoint, _ = coin_of(net.chain)
            net.sync.filter.register_output(outpoint, SCRIPT)
            error, _reason = await net.dropped(0)
            assert error is ServerErrorKind.TIMEOUT
            await net.at_tip()
            assert outpoint.txid in net.recorder.confirmed

    run(scenario())


def test_lost_notifications_do_no_harm() -> None:
    async def scenario() -> None:
        async with network(Lies(mute=True)) as net:
            net.sync.filter.register_script(SCRIPT)
            await net.at_tip()
            txid = txid_from_hex(net.chain.faucet(ADDRESS, 60_000))
            net.chain.mine(1)
            await net.at_tip()
            assert txid in net.recorder.confirmed

    run(scenario())


def test_one_server_is_not_enough_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_module, "GRACE_MS", 200)

    async def scenario() -> None:
        async with network(single_server_ok=False) as net:
            # Heights matter, so the tip is told after a while; but the wallet is not up to date.
            await net.recorder.wait_for(lambda: net.recorder.best is not None)
            assert not net.sync.is_synced
            assert net.sync.status().state is SyncState.WAITING
            await net.sync.set_servers(net.addresses(), single_server_ok=True)
            await asyncio.wait_for(net.sync.wait_synced(), 60)

    run(scenario())


def test_other_chain_with_less_work_is_not_followed() -> None:
    async def scenario() -> None:
        net = Net()
        weaker = net.chain.clone()
        give(net.chain)
        net.chain.mine(3)
        weaker.mine(2)
        other = SandboxElectrumServer(weaker)
        honest = SandboxElectrumServer(net.chain)
        await other.start()
        await honest.start()
        try:
            net.servers = [other, honest]
            async with syncing(net.recorder, net.addresses()) as net.sync:
                await net.at_tip()
                assert net.status(0).state is ServerState.ONLINE
                assert not net.status(0).is_on_best
                assert net.status(1).is_primary
                # Now it has more: everybody is led over.
                weaker.mine(4)
                await net.at_tip(weaker)
                assert net.status(0).is_on_best
        finally:
            await other.stop()
            await honest.stop()

    run(scenario())


def test_server_returns_and_nothing_was_missed() -> None:
    async def scenario() -> None:
        async with network() as net:
            net.sync.filter.register_script(SCRIPT)
            await net.at_tip()
            port = net.servers[0].port
            await net.servers[0].stop()
            await net.recorder.wait_for(lambda: net.sync.status().state is SyncState.OFFLINE)
            txid = txid_from_hex(net.chain.faucet(ADDRESS, 60_000))
            net.chain.mine(2)
            net.sync.broadcaster.broadcast_transactions(
                BroadcastPackage((spend(net.chain, [coin_of(net.chain)]),))
            )
            await net.servers[0].start(port)
            await net.at_tip()
            assert txid in net.recorder.confirmed
            await net.recorder.wait_for(lambda: bool(net.recorder.broadcasts))
            assert net.recorder.broadcasts[0].is_success

    run(scenario())


def test_broadcast_needs_no_second_server_but_a_deadline_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast_module, "SHOW_PAUSE_SECONDS", 0.01)

    async def scenario() -> None:
        async with network(Lies(deaf=True), Lies(), before=with_coin) as net:
            await net.at_tip()
            await net.recorder.wait_for(lambda: net.sync.status().connected == 2)
            coin = coin_of(net.chain)
            tx = spend(net.chain, [coin])
            result = await net.sync.broadcaster.broadcast(BroadcastPackage((tx,), deadline_height=200))
            assert result.is_success
            assert result.counts_as_sent
            assert tx.txid in net.chain.mempool

        async with network(Lies(deaf=True), before=with_coin) as net:
            await net.at_tip()
            tx = spend(net.chain, [coin_of(net.chain)])
            result = await net.sync.broadcaster.broadcast(BroadcastPackage((tx,), deadline_height=200))
            assert result.is_success
            assert not result.counts_as_sent

    run(scenario())


def test_what_a_package_carries_does_not_go_alone_as_well() -> None:
    async def scenario() -> None:
        async with network(before=with_coin) as net:
            await net.at_tip()
            parent = spend(net.chain, [coin_of(net.chain)])
            child = spend(net.chain, [(parent.outpoint(0), Coin(parent.outputs[0], 0, False))])
            for txs in ((parent,), (parent, child), (parent,), (parent, child)):
                net.sync.broadcaster.broadcast_transactions(BroadcastPackage(txs))
            await net.recorder.wait_for(lambda: child.txid in net.chain.mempool)
            # Whoever waits for an answer gets one.
            await net.sync.broadcaster.broadcast(BroadcastPackage((parent,)))
            assert [result.package.txs for result in net.recorder.broadcasts] == [(parent, child), (parent,)]

    run(scenario())


@pytest.mark.parametrize("protocol", ["1.4", "1.6"])
def test_packages(protocol: str) -> None:
    async def scenario() -> None:
        async with network(protocol_max=protocol, before=with_coin) as net:
            await net.at_tip()
            parent = spend(net.chain, [coin_of(net.chain)], fee_sat=0)
            child = spend(net.chain, [(parent.outpoint(0), Coin(parent.outputs[0], 0, False))], fee_sat=5_000)
            result = await net.sync.broadcaster.broadcast(BroadcastPackage((parent, child)))
            verdicts = [item.verdict for item in result.verdicts]
            if protocol == "1.6":
                assert verdicts == [Verdict.ACCEPTED, Verdict.ACCEPTED]
            else:
                assert verdicts == [Verdict.FEE_BELOW_MINIMUM, Verdict.MISSING_INPUTS]
                assert result.failure is not None
                assert result.failure.verdict.sentence

    run(scenario())


def test_fees() -> None:
    async def scenario() -> None:
        async with network(Lies(), Lies(replies={"blockchain.estimatefee": 5}), Lies()) as net:
            await net.at_tip()
            estimator = net.sync.fee_estimator

            def rate(target: ConfirmationTarget) -> int:
                return estimator.get_est_sat_per_1000_weight(target)

            assert rate(ConfirmationTarget.ANCHOR_CHANNEL_FEE) in (500, 506)
            net.chain.estimate_sat_per_kvb = 8_000
            net.chain.mempool_minimum_sat_per_kvb = 20_000
            await estimator.refresh()
            # 20 sat/vB, and room for nodes that round vbytes up.
            assert rate(ConfirmationTarget.URGENT_ON_CHAIN_SWEEP) == 5_060
            assert rate(ConfirmationTarget.ANCHOR_CHANNEL_FEE) == 7_590
            assert rate(ConfirmationTarget.MIN_ALLOWED_ANCHOR_CHANNEL_REMOTE_FEE) == 1_750
            assert all(253 <= rate(target) < 25_000 for target in ConfirmationTarget)

    run(scenario())


def test_after_a_refusal_for_its_fee_the_rates_are_asked_until_they_are_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fees_module, "REFUSED_SECONDS", 0.02)

    async def scenario() -> None:
        async with network() as net:
            await net.at_tip()
            estimator, changed = net.sync.fee_estimator, asyncio.Event()
            await estimator.refresh()
            estimator._on_change = changed.set
            # As ElectrumX does: what it has told it tells again for a while.
            server = net.servers[0]
            server.lies.replies["mempool.get_info"] = {"mempoolminfee": 0.00001, "minrelaytxfee": 0.00001}
            net.chain.mempool_minimum_sat_per_kvb = 20_000
            rounds: asyncio.Queue[None] = asyncio.Queue()
            refresh = estimator.refresh

            async def counted() -> None:
                await refresh()
                rounds.put_nowait(None)

            monkeypatch.setattr(estimator, "refresh", counted)
            estimator.refused()
            async with asyncio.timeout(60):
                await rounds.get()
                await rounds.get()
                assert not changed.is_set()
                del server.lies.replies["mempool.get_info"]
                await changed.wait()
            assert estimator.get_est_sat_per_1000_weight(ConfirmationTarget.OUTPUT_SPENDING_FEE) == 5_060

    run(scenario())


async def too_busy(_session: ElectrumSession, _height: int, _position: int) -> NoReturn:
    raise ServerRefused("blockchain.transaction.id_from_pos", -102, "server busy - request timed out")


def test_look_up_of_channels() -> None:
    async def scenario() -> None:
        async with network(before=with_coin) as net:
            await net.at_tip()
            outpoint, coin = coin_of(net.chain)
            index = next(
                i for i, tx in enumerate(net.chain.blocks[coin.height].txs) if tx.txid == outpoint.txid
            )
            place = coin.height << 40 | index << 16 | outpoint.vout
            answers: asyncio.Queue[UtxoAnswer] = asyncio.Queue()

            async def ask(short_channel_id: int) -> UtxoAnswer:
                chain_hash = net.chain.network.chain_hash
                assert net.sync.utxo_lookup.get_utxo(chain_hash, short_channel_id, answers.put_nowait) is None
                return await asyncio.wait_for(answers.get(), 60)

            assert await ask(place) == UtxoAnswer(place, TxOut(coin.output.value_sat, SCRIPT), None)
            assert (await ask(place + (99 << 16))).error is UtxoError.UNKNOWN_TX
            # Above our headers there may be a block soon, but not so many.
            assert net.sync.highest_announced == net.chain.height
            assert (await ask((net.chain.height + 1) << 40)).error is UtxoError.UNAVAILABLE
            assert (await ask(0xFFFFFF << 40)).error is UtxoError.UNKNOWN_TX
            with pytest.MonkeyPatch.context() as patch:
                # A busy server refuses as well: that says nothing of the channel.
                patch.setattr(ElectrumSession, "id_from_pos", too_busy)
                assert (await ask(place)).error is UtxoError.UNAVAILABLE
            net.chain.send(spend(net.chain, [(outpoint, coin)]))
            assert (await ask(place)).error is UtxoError.UNKNOWN_TX
            net.servers[0].lies.wrong_proof = True
            assert (await ask(place)).error is UtxoError.UNAVAILABLE
            assert (await net.dropped(0))[0] is ServerErrorKind.LIED

    run(scenario())


async def hostile(answer: Callable[[bytes], bytes]) -> tuple[asyncio.Server, ServerAddress]:
    """A server that answers each line with whatever bytes it likes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(answer(line))
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, HOST, 0)
    return listening, ServerAddress(HOST, listening.sockets[0].getsockname()[1], tls=False)


@pytest.mark.parametrize(
    "answer",
    [
        b"not json\n",
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b'{"jsonrpc": "2.0", "id": 0, "result": ["x", "1.6"], "error": {}}\n',
        b'{"jsonrpc": "2.0", "id": 0, "result": NaN}\n',
        b'{"jsonrpc": "2.0", "id": 0, "result": ' + b"1" * 10_000 + b"}\n",
        b'{"jsonrpc": "2.0", "id": 999, "result": 1}\n',
        b'{"jsonrpc": "2.0", "id": 0, "method": "give.me.your.keys"}\n',
        b'{"jsonrpc": "2.0", "method": "blockchain.headers.subscribe", "params": [7]}\n',
        b"x" * 17_000_000,
        b"[]\n",
        b"\n",
    ],
)
def test_garbage_ends_the_connection_with_a_sentence(answer: bytes) -> None:
    async def scenario() -> None:
        listening, address = await hostile(lambda _line: answer)
        recorder = Recorder()
        async with listening, syncing(recorder, [address]) as sync:
            await recorder.wait_for(lambda: sync.status().servers[0].error is not None)
            status = sync.status().servers[0]
            assert status.error is ServerErrorKind.BAD_ANSWER
            assert status.reason.startswith("The server")
            assert status.state is ServerState.DROPPED

    run(scenario())


def test_nobody_there_and_wrong_network() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with syncing(recorder, [ServerAddress(HOST, 1, tls=False), ServerAddress(HOST, 2)]) as sync:
            await recorder.wait_for(lambda: all(server.error for server in sync.status().servers))
            assert {server.error for server in sync.status().servers} == {ServerErrorKind.UNREACHABLE}
            assert sync.status().state is SyncState.OFFLINE
        chain = SandboxChain(first_blocks=3)
        server = SandboxElectrumServer(chain)
        address = ServerAddress(HOST, await server.start(), tls=False)
        async with syncing(recorder, [address], network=SIGNET) as sync:
            await recorder.wait_for(lambda: sync.status().servers[0].error is ServerErrorKind.WRONG_NETWORK)
        await server.stop()

    run(scenario())


def test_registrations_come_from_other_threads() -> None:
    async def scenario() -> None:
        async with network(before=with_coin) as net:
            await net.at_tip()
            await asyncio.to_thread(net.sync.filter.register_script, SCRIPT)
            await net.recorder.wait_for(lambda: bool(net.recorder.confirmed))

    run(scenario())


def test_a_server_whose_new_certificate_is_accepted_is_as_good_as_any_other() -> None:
    async def scenario() -> None:
        renewed, other = (ServerAddress(f"electrum{i}.example.org", 50002, tls=True) for i in range(2))
        sync = ElectrumSync(REGTEST, [renewed, other], None, lambda _update: None, logger=Recorder().logger)
        server = sync._servers[0]
        server.state = ServerState.DROPPED
        server.error = ServerError(ServerErrorKind.CERTIFICATE, "It shows another certificate than before.")
        server.failures, server.retry_at_ms = 3, 1 << 62
        assert sync.status().servers[0].shows_other_certificate
        assert server not in sync._to_connect()
        sync.forget_certificate(renewed)
        status = sync.status().servers[0]
        assert not status.shows_other_certificate
        assert (status.reason, status.retry_seconds) == ("", 0)
        assert sync._to_connect()[0] is server

    run(scenario())
