"""The chain source against real ElectrumX servers, over every protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.real.conftest import StartRegtest
from tests.real.harness import ElectrumServer, Regtest
from tests.real.process import HOST
from tests.unit.chain.recorder import Recorder, syncing
from wallet.bitcoin.address import REGTEST, address_to_script
from wallet.bitcoin.tx import OutPoint, Transaction, hash_from_hex, txid_from_hex
from wallet.chain.electrum.broadcast import Verdict
from wallet.chain.electrum.server import ServerState
from wallet.chain.electrum.sync import ElectrumSync, ServerAddress
from wallet.chain.interfaces import (
    BestBlock,
    BroadcastPackage,
    ConfirmationTarget,
    TransactionUnconfirmed,
    UtxoAnswer,
    UtxoError,
)

PROTOCOLS: dict[str, dict[str, Any]] = {
    "1.4": {"electrumx": "1", "protocol_max": "1.4"},
    "1.6": {"electrumx": "1"},
    "1.7": {"electrumx": "2"},
    "1.6 as published": {"electrumx": "1", "send_wait": None},
}


def address_of(server: ElectrumServer) -> ServerAddress:
    return ServerAddress(HOST, server.port, tls=False)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


async def off(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """A blocking call of the harness, beside the loop."""
    return await asyncio.to_thread(call, *args, **options)


def new_script(net: Regtest) -> tuple[str, bytes]:
    address = net.node.rpc("getnewaddress", wallet="miner")
    return address, address_to_script(address, REGTEST)


def get_tx(net: Regtest, txid: str) -> Transaction:
    return Transaction.parse(bytes.fromhex(net.node.rpc("getrawtransaction", txid)))


def spend_to(net: Regtest, txid: str, vout: int, amount_sat: int, fee_sat: int) -> tuple[Transaction, str]:
    """A signed, unsent transaction of the node's wallet from one output to a new address."""
    address = net.node.rpc("getnewaddress", wallet="miner")
    raw = net.node.rpc(
        "createrawtransaction",
        [{"txid": txid, "vout": vout, "sequence": 0xFFFFFFFD}],
        [{address: f"{(amount_sat - fee_sat) / 100_000_000:.8f}"}],
    )
    signed = net.node.rpc("signrawtransactionwithwallet", raw, wallet="miner")
    assert signed["complete"]
    return Transaction.parse(bytes.fromhex(signed["hex"])), address


def vout_of(tx: Transaction, script: bytes) -> int:
    return next(i for i, output in enumerate(tx.outputs) if output.script_pubkey == script)


async def at_tip(sync: ElectrumSync, recorder: Recorder, net: Regtest) -> None:
    """Until the recorder stands at the node's tip, all answered."""
    tip = hash_from_hex(await off(net.node.rpc, "getbestblockhash"))
    await recorder.wait_for(lambda: recorder.best is not None and recorder.best[0] == tip)
    await asyncio.wait_for(sync.wait_synced(), 30)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_address_history_spend_confirm_and_reorganisation(
    regtest: StartRegtest, tmp_path: Path, protocol: str
) -> None:
    net = regtest(**PROTOCOLS[protocol])
    run(life_of_a_coin(net, tmp_path, protocol))


async def life_of_a_coin(net: Regtest, tmp_path: Path, protocol: str) -> None:
    recorder = Recorder()
    address, script = await off(new_script, net)
    first = txid_from_hex(first_hex := await off(net.node.send, address, 1_000_000))
    first_tx = await off(get_tx, net, first_hex)
    outpoint = OutPoint(first, vout_of(first_tx, script))
    # The node must not pay the next one with this coin.
    coin = {"txid": first_hex, "vout": outpoint.vout}
    assert await off(net.node.rpc, "lockunspent", False, [coin], wallet="miner")
    await off(net.mine, 2)
    height = net.node.height
    async with syncing(recorder, [address_of(net.electrum)], tmp_path, start=False) as sync:
        sync.filter.register_script(script)
        await sync.start()
        await at_tip(sync, recorder, net)
        assert sync.status().servers[0].protocol == protocol.split()[0]
        assert recorder.confirmed[first][0] == height - 1

        # A payment in the mempool, then its block.
        second_hex = await off(net.node.send, address, 2_000_000)
        second = txid_from_hex(second_hex)
        await recorder.wait_for(lambda: second in recorder.seen)
        await off(net.mine, 1)
        await at_tip(sync, recorder, net)
        assert recorder.confirmed[second][0] == height + 1

        # An output is watched; its spend shows in the mempool, and confirms.
        sync.filter.register_output(outpoint, script)
        spend, _ = await off(spend_to, net, first_hex, outpoint.vout, 1_000_000, 1_000)
        result = await sync.broadcaster.broadcast(BroadcastPackage((spend,), label="spend"))
        assert result.is_success, result
        await recorder.wait_for(lambda: spend.txid in recorder.seen)
        await off(net.mine, 1)
        await at_tip(sync, recorder, net)
        spend_height = recorder.confirmed[spend.txid][0]
        assert spend_height == net.node.height

        # Three blocks are replaced by four, without the spend at first.
        await off(net.mine, 2)
        await at_tip(sync, recorder, net)
        await off(net.node.reorganise, 3, empty=True)
        await off(net.sync)
        await at_tip(sync, recorder, net)
        assert TransactionUnconfirmed(spend.txid) in recorder.steps
        assert spend.txid not in recorder.confirmed
        await recorder.wait_for(lambda: spend.txid in recorder.seen)
        await off(net.mine, 1)
        await at_tip(sync, recorder, net)
        assert recorder.confirmed[spend.txid][0] == net.node.height
        assert set(recorder.confirmed) == {first, second, spend.txid}
        heights = [step.height for step in recorder.steps if isinstance(step, BestBlock)]
        assert heights[-1] == net.node.height


@pytest.mark.parametrize("version", ["1", "2"])
def test_children_in_the_same_block_and_new_outputs_come_before_the_tip(
    regtest: StartRegtest, tmp_path: Path, version: str
) -> None:
    net = regtest(electrumx=version)
    run(chain_in_one_block(net, tmp_path))


async def chain_in_one_block(net: Regtest, tmp_path: Path) -> None:
    recorder = Recorder()
    address, script = await off(new_script, net)
    root_hex = await off(net.node.send, address, 5_000_000)
    root = await off(get_tx, net, root_hex)
    txs = [root]
    txid_hex, vout, amount_sat = root_hex, vout_of(root, script), 5_000_000
    for _ in range(6):
        child, _ = await off(spend_to, net, txid_hex, vout, amount_sat, 2_000)
        await off(net.node.rpc, "sendrawtransaction", child.serialize().hex())
        txs.append(child)
        txid_hex, vout, amount_sat = child.txid[::-1].hex(), 0, amount_sat - 2_000
    await off(net.mine, 1)
    last, _ = await off(spend_to, net, txid_hex, vout, amount_sat, 2_000)
    await off(net.node.rpc, "sendrawtransaction", last.serialize().hex())
    await off(net.mine, 3)
    txs.append(last)

    async with syncing(recorder, [address_of(net.electrum)], tmp_path, start=False) as sync:

        def follow(tx: Transaction, height: int | None) -> None:
            # What a monitor does: each output of a relevant transaction is watched from now on.
            for i, output in enumerate(tx.outputs):
                sync.filter.register_output(tx.outpoint(i), output.script_pubkey)

        recorder.on_tx = follow
        sync.filter.register_tx(root.txid, script)
        await sync.start()
        await at_tip(sync, recorder, net)
        assert [step for step in recorder.steps if isinstance(step, BestBlock)] == [recorder.steps[-1]]
        assert [tx.txid for tx in txs if tx.txid not in recorder.confirmed] == []


def test_server_dies_and_returns_and_another_takes_over(regtest: StartRegtest, tmp_path: Path) -> None:
    net = regtest()
    second = net.add_server()
    run(two_servers(net, second, tmp_path))


async def two_servers(net: Regtest, second: ElectrumServer, tmp_path: Path) -> None:
    recorder = Recorder()
    address, script = await off(new_script, net)
    first = net.electrum
    async with syncing(
        recorder, [address_of(first), address_of(second)], tmp_path, single_server_ok=False
    ) as sync:
        sync.filter.register_script(script)
        await at_tip(sync, recorder, net)
        # Whichever answered first is the one that knows the addresses; the other takes over.
        if not sync.status().servers[0].is_primary:
            first, second = second, first
        addresses = {status.address: i for i, status in enumerate(sync.status().servers)}
        at_first, at_second = addresses[address_of(first)], addresses[address_of(second)]
        await off(first.kill)
        await recorder.wait_for(lambda: sync.status().servers[at_second].is_primary)
        assert not sync.is_synced
        txid = txid_from_hex(await off(net.node.send, address, 700_000))
        await recorder.wait_for(lambda: txid in recorder.seen)
        await off(net.node.mine, 1)
        await off(second.wait_synced)
        await recorder.wait_for(lambda: txid in recorder.confirmed)
        await off(first.start)
        await recorder.wait_for(lambda: sync.status().servers[at_first].state is ServerState.ONLINE)
        await off(net.mine, 1)
        await at_tip(sync, recorder, net)
        # Both die, and one comes back: nothing is lost.
        await off(first.kill)
        await off(second.kill)
        await recorder.wait_for(lambda: not sync.status().connected)
        await off(net.node.mine, 2)
        await off(first.start)
        await off(second.start)
        await at_tip(sync, recorder, net)


def test_restart_continues_and_notices_a_reorganisation_meanwhile(
    regtest: StartRegtest, tmp_path: Path
) -> None:
    net = regtest()
    run(restart(net, tmp_path))


async def restart(net: Regtest, tmp_path: Path) -> None:
    recorder = Recorder()
    address, script = await off(new_script, net)
    txid = txid_from_hex(await off(net.node.send, address, 300_000))
    await off(net.mine, 1)
    async with syncing(recorder, [address_of(net.electrum)], tmp_path) as sync:
        sync.filter.register_script(script)
        await at_tip(sync, recorder, net)
    assert txid in recorder.confirmed
    await off(net.node.reorganise, 1, empty=True)
    await off(net.sync)
    async with syncing(recorder, [address_of(net.electrum)], tmp_path) as sync:
        sync.filter.register_script(script)
        await at_tip(sync, recorder, net)
        assert txid not in recorder.confirmed
        await recorder.wait_for(lambda: txid in recorder.seen)


def test_refusals_are_understood(regtest: StartRegtest, tmp_path: Path) -> None:
    run(refusals(regtest(), tmp_path))


async def refusals(net: Regtest, tmp_path: Path) -> None:
    recorder = Recorder()
    address, script = await off(new_script, net)
    coin_hex = await off(net.node.send, address, 1_000_000)
    coin = await off(get_tx, net, coin_hex)
    vout = vout_of(coin, script)
    await off(net.mine, 1)
    async with syncing(recorder, [address_of(net.electrum)], tmp_path) as sync:
        await at_tip(sync, recorder, net)

        async def verdict(*txs: Transaction) -> list[Verdict]:
            result = await sync.broadcaster.broadcast(BroadcastPackage(txs))
            return [item.verdict for item in result.verdicts]

        free, _ = await off(spend_to, net, coin_hex, vout, 1_000_000, 0)
        assert await verdict(free) == [Verdict.FEE_BELOW_MINIMUM]
        cheap, _ = await off(spend_to, net, coin_hex, vout, 1_000_000, 1_000)
        assert await verdict(cheap) == [Verdict.ACCEPTED]
        assert (await verdict(cheap))[0].is_success
        cheaper, _ = await off(spend_to, net, coin_hex, vout, 1_000_000, 900)
        assert await verdict(cheaper) == [Verdict.REPLACEMENT_FEE_TOO_LOW]
        dearer, _ = await off(spend_to, net, coin_hex, vout, 1_000_000, 5_000)
        assert await verdict(dearer) == [Verdict.ACCEPTED]
        await off(net.mine, 1)
        assert (await verdict(dearer))[0].is_success
        assert await verdict(cheap) == [Verdict.MISSING_INPUTS]
        broken = dearer.with_witness(0, [b"\x01" * 71, b"\x02" * 33])
        assert (await verdict(broken))[0] in (Verdict.ALREADY_KNOWN, Verdict.MISSING_INPUTS)
        deadline = await sync.broadcaster.broadcast(BroadcastPackage((dearer,), deadline_height=500))
        assert deadline.counts_as_sent


def test_fees_and_channel_look_up(regtest: StartRegtest, tmp_path: Path) -> None:
    for i, options in enumerate(PROTOCOLS.values()):
        if options.get("send_wait", 0) is not None:
            run(fees_and_look_up(regtest(**options), tmp_path / str(i)))


async def fees_and_look_up(net: Regtest, tmp_path: Path) -> None:
    recorder = Recorder()
    address, script = await off(new_script, net)
    txid_hex = await off(net.node.send, address, 400_000)
    await off(net.mine, 1)
    height = net.node.height
    block = await off(net.node.rpc, "getblock", await off(net.node.rpc, "getblockhash", height))
    index = block["tx"].index(txid_hex)
    tx = await off(get_tx, net, txid_hex)
    vout = vout_of(tx, script)
    answers: list[UtxoAnswer] = []
    all_answered = asyncio.Event()

    def answered(answer: UtxoAnswer) -> None:
        answers.append(answer)
        if len(answers) == 4:
            all_answered.set()

    async with syncing(recorder, [address_of(net.electrum)], tmp_path) as sync:
        await at_tip(sync, recorder, net)
        await sync.fee_estimator.refresh()
        assert sync.fee_estimator.snapshot.servers == 1
        for target in ConfirmationTarget:
            assert 253 <= sync.fee_estimator.get_est_sat_per_1000_weight(target) <= 10_000
        lookup = sync.utxo_lookup
        assert lookup.get_utxo(bytes(32), 1, answered) == UtxoAnswer(1, None, UtxoError.UNKNOWN_CHAIN)
        places = [
            (height << 40) + (index << 16) + vout,
            (height << 40) + (99 << 16),
            (height + 100 << 40),
            (height << 40) + (index << 16) + 60_000,
        ]
        for place in places:
            assert lookup.get_utxo(REGTEST.chain_hash, place, answered) is None
        await asyncio.wait_for(all_answered.wait(), 30)
        found = {answer.short_channel_id: answer for answer in answers}
        assert found[places[0]].output == tx.outputs[vout]
        for place in places[1:]:
            assert found[place].error is UtxoError.UNKNOWN_TX


def test_tls_is_pinned_at_first_use(regtest: StartRegtest, tmp_path: Path) -> None:
    run(pinned(regtest(tls=True), tmp_path))


async def pinned(net: Regtest, tmp_path: Path) -> None:
    assert net.electrum.tls_port is not None
    address = ServerAddress(HOST, net.electrum.tls_port, tls=True)
    recorder = Recorder()
    async with syncing(recorder, [address], tmp_path) as sync:
        await at_tip(sync, recorder, net)
    pins = tmp_path / "server-certificates.json"
    assert "sha256" in pins.read_text()
    async with syncing(recorder, [address], tmp_path) as sync:
        await at_tip(sync, recorder, net)
    # Another certificate than the one that was pinned: no connection, and a sentence.
    text = pins.read_text()
    start = text.index('"sha256": "') + len('"sha256": "')
    pins.write_text(text[:start] + "00" * 32 + text[start + 64 :])
    async with syncing(recorder, [address], tmp_path) as sync:
        await recorder.wait_for(lambda: sync.status().servers[0].state is ServerState.DROPPED)
        assert "another certificate" in sync.status().servers[0].reason
        sync.forget_certificate(address)
        await at_tip(sync, recorder, net)
