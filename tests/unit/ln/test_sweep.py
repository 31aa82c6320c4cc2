"""What channels left comes home, once, and after reorganisations too."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.ln.monitor_world import Chain, Channel, Log, Side, make
from wallet.bitcoin.amounts import fee_sat_ceil
from wallet.bitcoin.script import p2wpkh
from wallet.bitcoin.tx import OutPoint, Txid, TxOut
from wallet.chain.interfaces import FLOOR_FEERATE_SAT_PER_KW, TxInBlock
from wallet.ln.events import SpendableOutputDescriptor, SpendableOutputs, StaticOutput
from wallet.ln.features import ANCHORS_ZERO_FEE_HTLC_TX
from wallet.ln.keysinterface import spendable_input_weight
from wallet.ln.sweep import OutputSweeper
from wallet.ln.types import ChannelId

HOME = p2wpkh(b"\x02" + bytes([7]) * 32)


def sweeper_of(chain: Chain, side: Side, change_script: Callable[[], bytes] = lambda: HOME) -> OutputSweeper:
    return OutputSweeper(
        filter=side.watched,
        broadcaster=side.sent,
        fee_estimator=side.fees,
        keys_manager=side.keys,
        change_script=change_script,
        persist=side.rows,
        logger=Log(),
        best_height=chain.height,
    )


def closed() -> tuple[Chain, Side, Channel, list[SpendableOutputDescriptor]]:
    chain, alice, bob, channel = make(ANCHORS_ZERO_FEE_HTLC_TX)
    channel.commit()
    chain.mine(channel.commitment_of(bob))
    chain.mine_empty(5)
    items = [
        item for event in alice.take_events() if isinstance(event, SpendableOutputs) for item in event.outputs
    ]
    assert len(items) == 1
    return chain, alice, channel, items


def tell(chain: Chain, sweeper: OutputSweeper) -> None:
    header, txs = chain.blocks[-1]
    sweeper.transactions_confirmed(
        header, chain.height, [TxInBlock(index, tx) for index, tx in enumerate(txs)]
    )
    sweeper.best_block_updated(header, chain.height)


def test_sweeps_bumps_and_forgets() -> None:
    chain, alice, channel, items = closed()
    sweeper = sweeper_of(chain, alice)
    sweeper.track_spendable_outputs(items, channel.channel_id)
    (first,) = alice.sent.take()
    assert chain.problem(first, chain.height + 1) is None
    # Told twice, swept once.
    sweeper.track_spendable_outputs(items, channel.channel_id)
    assert alice.sent.take() == []
    for _ in range(5):
        chain.mine()
        tell(chain, sweeper)
        assert alice.sent.take() == [first]
    chain.mine()
    tell(chain, sweeper)
    (second,) = alice.sent.take()
    assert second.inputs[0].prevout == first.inputs[0].prevout
    assert second.outputs[0].value_sat < first.outputs[0].value_sat
    assert second.outputs[0].script_pubkey == HOME

    # The earlier one confirms all the same.
    chain.mine(first)
    tell(chain, sweeper)
    assert alice.sent.take() == []
    assert [item[0] for item in sweeper.get_relevant_txids()] == [first.txid]
    # A new process goes on.
    sweeper = sweeper_of(chain, alice)
    sweeper.read(alice.rows.rows)
    chain.disconnect(1)
    sweeper.transaction_unconfirmed(first.txid)
    chain.mine()
    tell(chain, sweeper)
    (third,) = alice.sent.take()
    chain.mine(third)
    tell(chain, sweeper)
    for _ in range(99):
        chain.mine()
        tell(chain, sweeper)
    assert sweeper.tracked_spendable_outputs() == ()
    assert alice.rows.spaces["sweep"] == {}


@pytest.mark.parametrize("sat_per_kw", [FLOOR_FEERATE_SAT_PER_KW, 1_000])
def test_a_sweep_that_does_not_confirm_rises_by_what_nodes_take_and_not_for_ever(sat_per_kw: int) -> None:
    chain, alice, channel, items = closed()
    alice.fees.sat_per_kw = sat_per_kw
    sweeper = sweeper_of(chain, alice)
    sweeper.track_spendable_outputs(items, channel.channel_id)
    sweeps = alice.sent.take()
    for _ in range(400):
        chain.mine()
        tell(chain, sweeper)
        sweeps += [tx for tx in alice.sent.take() if tx != sweeps[-1]]
    spent_sat = items[0].output.value_sat
    fees_sat = [spent_sat - tx.total_output_sat for tx in sweeps]
    assert len(fees_sat) > 4
    # BIP 125, rule 4.
    for tx, before_sat, after_sat in zip(sweeps[1:], fees_sat, fees_sat[1:], strict=False):
        assert after_sat >= before_sat + fee_sat_ceil(tx.weight, 250)
    # Whoever keeps it from the miners gains nothing by that.
    assert fees_sat[-1] <= 5 * fees_sat[0] + 5
    assert alice.sent.take() == []
    sweeper.regenerate_and_broadcast_spend_if_necessary()
    assert alice.sent.take() == [sweeps[-1]]


def test_a_lower_tip_makes_it_due_again() -> None:
    chain, alice, channel, items = closed()
    sweeper = sweeper_of(chain, alice)
    sweeper.track_spendable_outputs(items, channel.channel_id)
    (first,) = alice.sent.take()
    chain.mine(first)
    tell(chain, sweeper)
    chain.disconnect(1)
    sweeper.best_block_updated(chain.blocks[-1][0], chain.height)
    assert alice.sent.take() == [first]


def test_outputs_of_the_wallet_are_left_to_it() -> None:
    chain, alice, channel, _ = closed()
    sweeper = sweeper_of(chain, alice)
    outpoint = OutPoint(Txid(bytes(32)), 0)
    theirs = StaticOutput(outpoint=outpoint, output=TxOut(1_000, HOME), channel_id=ChannelId(bytes(32)))
    sweeper.track_spendable_outputs([theirs], channel.channel_id)
    assert sweeper.tracked_spendable_outputs() == ()


def test_what_costs_more_than_it_brings_waits() -> None:
    chain, alice, channel, items = closed()
    sweeper = sweeper_of(chain, alice)
    alice.fees.sat_per_kw = 3_000_000
    sweeper.track_spendable_outputs(items, channel.channel_id)
    assert alice.sent.take() == []
    alice.fees.sat_per_kw = 1_000
    chain.mine()
    tell(chain, sweeper)
    assert len(alice.sent.take()) == 1


def test_an_address_is_handed_out_for_a_sweep_alone() -> None:
    """Ticks come twice a minute: an address each would have all of the wallet's used up in ten."""
    chain, alice, channel, items = closed()
    scripts: list[bytes] = []

    def change_script() -> bytes:
        scripts.append(p2wpkh(b"\x02" + bytes([len(scripts) + 1]) * 32))
        return scripts[-1]

    sweeper = sweeper_of(chain, alice, change_script)
    for _ in range(3):
        sweeper.regenerate_and_broadcast_spend_if_necessary()
    assert scripts == []
    # Worth its input, and not the transaction around it: what is asked for in vain serves the next try.
    (item,) = items
    alice.fees.sat_per_kw = (item.output.value_sat - 100) * 1_000 // spendable_input_weight(item)
    sweeper.track_spendable_outputs(items, channel.channel_id)
    for _ in range(3):
        sweeper.regenerate_and_broadcast_spend_if_necessary()
    assert alice.sent.take() == []
    assert len(scripts) == 1
    alice.fees.sat_per_kw = 1_000
    sweeper.regenerate_and_broadcast_spend_if_necessary()
    (tx,) = alice.sent.take()
    assert [output.script_pubkey for output in tx.outputs] == scripts
