"""Raising fees, the reserve for anchor channels, and coins for the Lightning core's claims."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.onchain.world import STRANGER, World
from wallet.bitcoin.amounts import fee_sat_ceil
from wallet.bitcoin.tx import OutPoint, Transaction, Txid, TxIn, TxOut
from wallet.onchain.coins import BASE_INPUT_WEIGHT, BASE_TX_WEIGHT, output_weight_of
from wallet.onchain.errors import CannotBump, InsufficientFunds, UnknownTransaction
from wallet.onchain.ledger import PSBT_OWNER
from wallet.onchain.reserve import CHANNEL_WEIGHT, HTLC_WEIGHT
from wallet.onchain.wallet import MAX_CLAIM_CHAIN, CoinSelection, Draft

FUNDING = b"\x00\x20" + bytes(32)
ANCHOR = OutPoint(Txid(b"\x0a" * 32), 0)


@pytest.fixture
def world() -> World:
    return World()


# --- replacing ----------------------------------------------------------------------------------


def test_a_bump_takes_from_the_change(world: World) -> None:
    world.fund(100_000)
    old = world.send(60_000)
    world.wallet.label(old.tx.txid[::-1].hex(), "rent")
    new = world.check(world.wallet.draft_bump(old.tx.txid, 4_000))
    assert new.replaces == old.tx.txid
    assert TxOut(60_000, STRANGER) in new.tx.outputs
    assert new.fee_sat == 4 * old.fee_sat
    assert old.change_sat is not None
    assert new.change_sat == old.change_sat - 3 * old.fee_sat
    world.wallet.commit(new.tx, "")
    (_, entry) = world.wallet.history()
    assert (entry.txid, entry.label, entry.replaces) == (new.tx.txid, "rent", (old.tx.txid,))
    assert world.total_sat() == 40_000 - new.fee_sat
    world.check_rows()
    # The mempool's echo of the replaced one is not taken for news; a block is.
    world.see(old.tx)
    assert world.wallet.entry(old.tx.txid) is None
    world.mine(old.tx)
    assert world.wallet.entry(new.tx.txid) is None
    assert world.total_sat() == 40_000 - old.fee_sat
    world.check_rows()


def test_bumping_twice_remembers_both(world: World) -> None:
    world.fund(100_000)
    first = world.send(60_000)
    second = world.wallet.draft_bump(first.tx.txid, 2_000)
    world.wallet.commit(second)
    third = world.check(world.wallet.draft_bump(second.tx.txid, 3_000))
    world.wallet.commit(third)
    world.see(first.tx, second.tx)
    assert [entry.txid for entry in world.wallet.history()][1:] == [third.tx.txid]
    world.check_rows()


def test_a_bump_brings_in_further_coins(world: World) -> None:
    world.fund(61_000)
    old = world.send(60_000)
    world.fund(50_000)
    new = world.check(world.wallet.draft_bump(old.tx.txid, 10_000))
    assert len(new.inputs) == 2
    assert TxOut(60_000, STRANGER) in new.tx.outputs


def test_a_bump_that_cannot_be_paid(world: World) -> None:
    world.fund(61_000)
    old = world.send(60_000)
    with pytest.raises(InsufficientFunds):
        world.wallet.draft_bump(old.tx.txid, 10_000)


def test_a_bump_of_all_sends_less(world: World) -> None:
    world.fund(61_000, 30_000)
    old = world.wallet.draft(outputs=(), send_all_to=STRANGER, feerate_sat_per_kw=500, keep_sat=10_000)
    world.wallet.commit(old)
    # What "all" was is known after a restart too, and when a server has shown the transaction.
    world.see(old.tx)
    world.wallet = world.open()
    new = world.check(world.wallet.draft_bump(old.tx.txid, 5_000))
    assert new.change_sat == 10_000
    assert new.fee_sat == 10 * old.fee_sat
    assert new.tx.total_output_sat == 91_000 - new.fee_sat
    world.wallet.commit(new)
    again = world.check(world.wallet.draft_bump(new.tx.txid, 6_000))
    assert again.change_sat == 10_000
    world.check_rows()


def test_too_small_a_step_is_refused(world: World) -> None:
    world.fund(100_000)
    old = world.send(60_000, rate=2_000)
    for rate in (500, 2_000, 2_200):
        with pytest.raises(CannotBump, match="sat per vbyte"):
            world.wallet.draft_bump(old.tx.txid, rate)
    world.wallet.draft_bump(old.tx.txid, 2_254)


def test_what_cannot_be_replaced(world: World) -> None:
    world.fund(100_000)
    old = world.send(60_000)
    child = world.send(10_000)
    with pytest.raises(CannotBump, match="built on"):
        world.wallet.draft_bump(old.tx.txid, 5_000)
    entry = world.wallet.entry(old.tx.txid)
    assert entry is not None
    assert not entry.can_bump
    world.mine(old.tx)
    with pytest.raises(CannotBump, match="in a block"):
        world.wallet.draft_bump(old.tx.txid, 5_000)
    world.wallet.draft_bump(child.tx.txid, 5_000)
    incoming = world.foreign(TxOut(5_000, world.script()))
    world.see(incoming)
    with pytest.raises(CannotBump, match="this wallet alone"):
        world.wallet.draft_bump(incoming.txid, 5_000)
    with pytest.raises(UnknownTransaction):
        world.wallet.draft_bump(Txid(bytes(32)), 5_000)


def test_a_channels_funding_is_never_replaced(world: World) -> None:
    wallet = world.wallet
    world.fund(100_000)
    rival = wallet.draft(outputs=(TxOut(10_000, STRANGER),), feerate_sat_per_kw=5_000)
    draft = wallet.draft(outputs=(TxOut(50_000, FUNDING),), feerate_sat_per_kw=500)
    wallet.reserve(draft.tx, b"channel")
    wallet.commit(draft.tx, "Channel opening")
    with pytest.raises(CannotBump, match="channel"):
        wallet.draft_bump(draft.tx.txid, 5_000)
    with pytest.raises(CannotBump, match="channel"):
        wallet.commit(rival)
    # Nor a parent of one.
    world.check_rows()
    again = world.open()
    with pytest.raises(CannotBump, match="channel"):
        again.draft_bump(draft.tx.txid, 5_000)
    child = world.check(wallet.draft_cpfp(draft.tx.txid, 5_000))
    assert {coin.outpoint.txid for coin in child.inputs} == {draft.tx.txid}


def test_a_parent_of_a_channels_funding_is_not_replaced(world: World) -> None:
    wallet = world.wallet
    world.fund(100_000)
    parent = world.send(20_000)
    funding = wallet.draft(outputs=(TxOut(50_000, FUNDING),), feerate_sat_per_kw=500)
    wallet.reserve(funding, b"channel")
    with pytest.raises(CannotBump, match="built on"):
        wallet.draft_bump(parent.tx.txid, 5_000)
    wallet.commit(funding)
    with pytest.raises(CannotBump, match="built on"):
        wallet.draft_bump(parent.tx.txid, 5_000)


# --- a child pays -------------------------------------------------------------------------------


def test_a_child_brings_both_to_the_feerate(world: World) -> None:
    world.fund(100_000)
    parent = world.send(60_000, rate=300)
    child = world.check(world.wallet.draft_cpfp(parent.tx.txid, 3_000))
    package_weight = parent.tx.weight + child.tx.weight
    package_fee_sat = parent.fee_sat + child.fee_sat
    assert package_fee_sat >= fee_sat_ceil(package_weight, 3_000)
    assert package_fee_sat <= fee_sat_ceil(package_weight + 4, 3_000) + 2
    world.wallet.commit(child)
    world.check_rows()
    with pytest.raises(CannotBump, match="nothing to this wallet"):
        world.wallet.draft_cpfp(parent.tx.txid, 9_000)
    # Raising the child's fee counts the parent's as well.
    bumped = world.check(world.wallet.draft_bump(child.tx.txid, 6_000))
    package_fee_sat = parent.fee_sat + bumped.fee_sat
    assert package_fee_sat >= fee_sat_ceil(package_weight, 6_000)


def test_a_child_for_a_strangers_payment(world: World) -> None:
    incoming = world.foreign(TxOut(50_000, world.script()))
    world.see(incoming)
    child = world.check(world.wallet.draft_cpfp(incoming.txid, 3_000))
    most_sat = fee_sat_ceil(incoming.weight + child.tx.weight + 4, 3_000)
    assert child.fee_sat <= most_sat
    with pytest.raises(UnknownTransaction):
        world.wallet.draft_cpfp(Txid(bytes(32)), 3_000)


def test_a_child_of_a_small_output_brings_coins_along(world: World) -> None:
    world.fund(200_000)
    incoming = world.foreign(TxOut(1_000, world.script()))
    world.see(incoming)
    child = world.check(world.wallet.draft_cpfp(incoming.txid, 20_000))
    assert len(child.inputs) == 2


def test_a_child_is_refused_where_it_is_of_no_use(world: World) -> None:
    world.fund(100_000)
    parent = world.send(60_000, rate=3_000)
    with pytest.raises(CannotBump, match="already"):
        world.wallet.draft_cpfp(parent.tx.txid, 2_000)
    world.mine(parent.tx)
    with pytest.raises(CannotBump, match="in a block"):
        world.wallet.draft_cpfp(parent.tx.txid, 9_000)


# --- the reserve --------------------------------------------------------------------------------


def test_the_reserve_counts_channels_htlcs_and_inputs(world: World) -> None:
    def reserve_sat(channels: int, htlcs: int, rate: int = 1_000) -> int:
        return world.wallet.anchor_reserve_sat(
            anchor_channels=channels, htlc_inputs=htlcs, feerate_sat_per_kw=rate
        )

    assert reserve_sat(0, 0) == 0
    assert reserve_sat(1, 0) == CHANNEL_WEIGHT + 271
    assert reserve_sat(2, 0) == 2 * (CHANNEL_WEIGHT + 271)
    assert reserve_sat(1, 3) == CHANNEL_WEIGHT + 271 + 3 * HTLC_WEIGHT
    assert reserve_sat(1, 0, 10_000) == 10 * (CHANNEL_WEIGHT + 271)
    world.fund(1_000_000)
    assert reserve_sat(1, 0) == CHANNEL_WEIGHT + 271
    # Small coins have inputs of their own; what they cost is needed on top.
    world.fund(*([1_000] * 5))
    assert reserve_sat(1, 0) == CHANNEL_WEIGHT + 271 * 3
    # Coins that give nothing are worth nothing as a reserve.
    world.fund(300)
    assert reserve_sat(1, 0, 2_000) >= 300 + 2 * CHANNEL_WEIGHT


@given(
    st.lists(st.integers(300, 40_000), max_size=12),
    st.integers(0, 4),
    st.integers(0, 12),
    st.sampled_from([253, 1_000, 12_500]),
)
def test_the_reserve_is_worth_what_it_is_for(
    values_sat: list[int], channels: int, htlcs: int, rate: int
) -> None:
    world = World()
    if values_sat:
        world.fund(*values_sat)
    reserve_sat = world.wallet.anchor_reserve_sat(
        anchor_channels=channels, htlc_inputs=htlcs, feerate_sat_per_kw=rate
    )
    more_sat = world.wallet.anchor_reserve_sat(
        anchor_channels=channels + 1, htlc_inputs=htlcs, feerate_sat_per_kw=rate
    )
    assert more_sat > reserve_sat
    if sum(values_sat) >= reserve_sat > 0:
        worth_sat = sum(max(0, value - fee_sat_ceil(271, rate)) for value in values_sat)
        need_sat = fee_sat_ceil(channels * CHANNEL_WEIGHT + htlcs * HTLC_WEIGHT, rate)
        assert worth_sat + len(values_sat) >= need_sat


# --- claims -------------------------------------------------------------------------------------


def claim_tx(selection: CoinSelection, anchor: OutPoint = ANCHOR) -> Transaction:
    outputs = () if selection.change_output is None else (selection.change_output,)
    inputs = (TxIn(anchor), *(TxIn(coin.outpoint) for coin in selection.confirmed_utxos))
    return Transaction(2, inputs, outputs, 0)


def test_coins_for_a_claim_reach_its_feerate(world: World) -> None:
    world.fund(100_000)
    must_spend = ((ANCHOR, 330, 116 + 1_124),)
    found = world.wallet.select_confirmed_utxos(b"claim", must_spend, (), 5_000)
    assert found.change_output is not None
    (coin,) = found.confirmed_utxos
    assert world.wallet.satisfaction_weight(coin) == 107
    total_weight = BASE_TX_WEIGHT + 8 + 2 * BASE_INPUT_WEIGHT + 116 + 1_124 + 107
    total_weight += output_weight_of(found.change_output.script_pubkey)
    assert 330 + 100_000 - found.change_output.value_sat == fee_sat_ceil(total_weight, 5_000)
    unsigned = claim_tx(found)
    signed = world.wallet.sign_inputs(unsigned, (TxOut(330, FUNDING), coin.output))
    assert signed.inputs[0].witness == ()
    assert sum(len(item) + 1 for item in signed.inputs[1].witness) + 1 <= 107
    world.check_rows()


def test_claims_keep_their_coins_apart_and_come_back_to_them(world: World) -> None:
    world.fund(100_000, 100_001)
    first = world.wallet.select_confirmed_utxos(b"one", ((ANCHOR, 330, 116),), (), 1_000)
    other = OutPoint(ANCHOR.txid, 1)
    second = world.wallet.select_confirmed_utxos(b"two", ((other, 330, 116),), (), 1_000)
    assert {coin.outpoint for coin in first.confirmed_utxos}.isdisjoint(
        coin.outpoint for coin in second.confirmed_utxos
    )
    assert first.change_output is not None
    assert second.change_output is not None
    assert first.change_output.script_pubkey != second.change_output.script_pubkey
    with pytest.raises(InsufficientFunds):
        world.send(1_000)
    # The first attempt is seen; the next one replaces it, with the same coin and change.
    world.see(
        world.wallet.sign_inputs(
            claim_tx(first), (TxOut(330, FUNDING), *(coin.output for coin in first.confirmed_utxos))
        )
    )
    again = world.wallet.select_confirmed_utxos(b"one", ((ANCHOR, 330, 116),), (), 3_000)
    assert [coin.outpoint for coin in again.confirmed_utxos] == [
        coin.outpoint for coin in first.confirmed_utxos
    ]
    assert again.change_output is not None
    assert again.change_output.script_pubkey == first.change_output.script_pubkey
    world.check_rows()
    # A block spends what the second one was to claim: its coin is free.
    world.mine(Transaction(2, (TxIn(other),), (TxOut(330, STRANGER),)))
    world.send(1_000)
    world.check_rows()


def test_the_last_coin_is_shared_by_claims_rather_than_none(world: World) -> None:
    world.fund(100_000)
    first = world.wallet.select_confirmed_utxos(b"one", ((ANCHOR, 330, 116),), (), 1_000)
    other = OutPoint(ANCHOR.txid, 1)
    second = world.wallet.select_confirmed_utxos(b"two", ((other, 330, 116),), (), 1_000)
    assert [coin.outpoint for coin in first.confirmed_utxos] == [
        coin.outpoint for coin in second.confirmed_utxos
    ]


def test_a_claim_ends_when_a_block_spends_what_it_claims(world: World) -> None:
    world.fund(100_000)
    world.wallet.select_confirmed_utxos(b"one", ((ANCHOR, 330, 116),), (), 1_000)
    assert world.wallet.balance().reserved_sat == world.wallet.balance().claims_sat == 100_000
    world.mine(world.foreign(TxOut(300, STRANGER), spends=ANCHOR))
    assert world.wallet.balance().reserved_sat == 0
    world.check_rows()


def test_a_claim_that_a_reorganisation_takes_out_is_made_of_the_same_coins(world: World) -> None:
    world.fund(100_000, 100_001, 100_002)

    def made() -> Transaction:
        found = world.wallet.select_confirmed_utxos(b"one", ((ANCHOR, 330, 116 + 1_124),), (), 1_000)
        spent = (TxOut(330, FUNDING), *(coin.output for coin in found.confirmed_utxos))
        return world.wallet.sign_inputs(claim_tx(found), spent)

    before = made()
    world.mine(before)
    world.unmine()
    assert made() == before
    # Another claim that is on its way keeps what it has.
    other = OutPoint(ANCHOR.txid, 1)
    part = world.wallet.select_confirmed_utxos(b"two", ((ANCHOR, 330, 116), (other, 330, 116)), (), 1_000)
    assert not {coin.outpoint for coin in part.confirmed_utxos} & {item.prevout for item in before.inputs}
    world.check_rows()


def test_a_claim_that_falls_silent_lets_its_coins_go(world: World) -> None:
    world.fund(100_000)
    world.wallet.select_confirmed_utxos(b"one", ((ANCHOR, 330, 116),), (), 1_000)
    world.mine_empty(144)
    assert world.wallet.balance().reserved_sat == 100_000
    world.mine()
    assert world.wallet.balance().reserved_sat == 0
    world.check_rows()


def test_claims_take_confirmed_coins_only(world: World) -> None:
    world.fund(100_000)
    world.send(10_000)
    with pytest.raises(InsufficientFunds):
        world.wallet.select_confirmed_utxos(b"one", ((ANCHOR, 330, 116),), (), 1_000)


def htlc_claim(world: World, claim_id: bytes, outpoint: OutPoint, rate: int = 1_000) -> Transaction:
    """An HTLC of 20,000 sat with the output that its transaction has to have, and what the wallet adds."""
    second_stage = TxOut(20_000, FUNDING)
    found = world.wallet.select_confirmed_utxos(claim_id, ((outpoint, 20_000, 320),), (second_stage,), rate)
    assert found.change_output is not None
    inputs = (TxIn(outpoint), *(TxIn(coin.outpoint) for coin in found.confirmed_utxos))
    tx = Transaction(2, inputs, (second_stage, found.change_output), 0)
    return world.wallet.sign_inputs(
        tx, (TxOut(20_000, FUNDING), *(coin.output for coin in found.confirmed_utxos))
    )


def test_the_change_of_a_claim_on_its_way_pays_for_another(world: World) -> None:
    world.fund(100_000)
    one, two = ANCHOR, OutPoint(ANCHOR.txid, 1)
    first = htlc_claim(world, b"one", one)
    world.see(first)
    second = htlc_claim(world, b"two", two)
    assert second.inputs[1].prevout == OutPoint(first.txid, 1)
    world.see(second)
    # Raised, it stands on the same.
    raised = htlc_claim(world, b"two", two, 3_000)
    assert [txin.prevout for txin in raised.inputs] == [txin.prevout for txin in second.inputs]
    # What its parent is replaced by brings new change; what somebody else spends first, none.
    again = htlc_claim(world, b"one", one, 2_000)
    assert [txin.prevout for txin in again.inputs] == [txin.prevout for txin in first.inputs]
    world.see(again)
    anew = htlc_claim(world, b"two", two)
    assert anew.inputs[1].prevout == OutPoint(again.txid, 1)
    world.see(anew)
    world.mine(world.foreign(TxOut(300, STRANGER), spends=one))
    assert htlc_claim(world, b"two", two).inputs[1].prevout == first.inputs[1].prevout
    world.check_rows()


def test_no_claim_stands_on_what_a_conflicting_spend_was_seen_of(world: World) -> None:
    world.fund(100_000)
    first = htlc_claim(world, b"one", ANCHOR)
    world.see(first)
    world.see(world.foreign(TxOut(300, STRANGER), spends=ANCHOR))
    second = htlc_claim(world, b"two", OutPoint(ANCHOR.txid, 1))
    # The coin is free again.
    assert second.inputs[1].prevout == first.inputs[1].prevout


def test_a_commitment_never_waits_for_change(world: World) -> None:
    """A parent that its child pays for is relayed with that child alone, if at all."""
    world.fund(100_000)
    world.see(htlc_claim(world, b"one", ANCHOR))
    with pytest.raises(InsufficientFunds):
        world.wallet.select_confirmed_utxos(b"two", ((OutPoint(ANCHOR.txid, 1), 330, 116),), (), 1_000)


def test_claims_do_not_stand_on_each_other_without_end(world: World) -> None:
    world.fund(1_000_000)
    for number in range(MAX_CLAIM_CHAIN):
        world.see(htlc_claim(world, bytes([number]), OutPoint(ANCHOR.txid, number)))
    with pytest.raises(InsufficientFunds):
        htlc_claim(world, b"more", OutPoint(ANCHOR.txid, 99))


def test_a_claim_that_pays_for_itself_takes_no_coin(world: World) -> None:
    found = world.wallet.select_confirmed_utxos(
        b"htlc", ((ANCHOR, 50_000, 300),), (TxOut(20_000, FUNDING),), 1_000
    )
    assert found.confirmed_utxos == ()
    assert found.change_output is not None


def test_a_coin_just_enough_for_a_claim_makes_no_change(world: World) -> None:
    must_spend = ((ANCHOR, 330, 116),)
    world.fund(600)
    found = world.wallet.select_confirmed_utxos(b"one", must_spend, (), 1_000)
    assert len(found.confirmed_utxos) == 1
    assert found.change_output is None


# --- claims, and PSBTs that are signed and not sent ------------------------------------------------


def set_aside(world: World, owner: bytes, value_sat: int = 10_000) -> Draft:
    draft = world.wallet.draft(outputs=(TxOut(value_sat, STRANGER),), feerate_sat_per_kw=500)
    world.wallet.reserve(draft.tx, owner)
    return draft


def test_the_coins_of_a_psbt_that_is_not_sent_pay_for_a_claim_when_nothing_else_does(world: World) -> None:
    """The reserve counted its change when it was signed: a close must not have to wait for it."""
    world.fund(100_000)
    psbt = set_aside(world, PSBT_OWNER)
    found = world.wallet.select_confirmed_utxos(b"one", ((ANCHOR, 330, 116),), (), 1_000)
    assert [coin.outpoint for coin in found.confirmed_utxos] == [coin.outpoint for coin in psbt.inputs]
    assert found.change_output is not None
    assert found.change_output.script_pubkey not in {output.script_pubkey for output in psbt.tx.outputs}
    world.check_rows()
    # It is the PSBT's until a block has the claim; raised, the claim keeps it.
    assert world.wallet.signed_psbts()
    raised = world.wallet.select_confirmed_utxos(b"one", ((ANCHOR, 330, 116),), (), 3_000)
    assert raised.confirmed_utxos[0].outpoint == psbt.inputs[0].outpoint
    claim = world.wallet.sign_inputs(claim_tx(raised), (TxOut(330, FUNDING), psbt.inputs[0].output))
    world.mine(claim)
    assert world.wallet.signed_psbts() == {}
    assert raised.change_output is not None
    assert world.total_sat() == raised.change_output.value_sat
    world.check_rows()


def test_a_psbt_keeps_its_coins_while_others_pay_for_the_claim(world: World) -> None:
    world.fund(100_000)
    psbt = set_aside(world, PSBT_OWNER)
    world.fund(20_000)
    for claim_id, vout in ((b"one", 0), (b"two", 1)):
        must_spend = ((OutPoint(ANCHOR.txid, vout), 330, 116),)
        found = world.wallet.select_confirmed_utxos(claim_id, must_spend, (), 1_000)
        assert [coin.value_sat for coin in found.confirmed_utxos] == [20_000]
    # Dearer than the other coin: then both.
    dear = world.wallet.select_confirmed_utxos(b"one", ((ANCHOR, 330, 40_000),), (), 1_000)
    assert psbt.inputs[0].outpoint in {coin.outpoint for coin in dear.confirmed_utxos}
    world.check_rows()


def test_claims_take_the_coins_of_psbts_apart_and_share_the_last(world: World) -> None:
    world.fund(100_000)
    set_aside(world, PSBT_OWNER)
    world.fund(100_001)
    set_aside(world, PSBT_OWNER)
    taken = []
    for vout in range(3):
        must_spend = ((OutPoint(ANCHOR.txid, vout), 330, 116),)
        found = world.wallet.select_confirmed_utxos(bytes((vout,)), must_spend, (), 1_000)
        taken.append(tuple(coin.outpoint for coin in found.confirmed_utxos))
    assert [len(outpoints) for outpoints in taken] == [1, 1, 1]
    assert taken[0] != taken[1]
    assert taken[2] in taken[:2]


def test_the_coins_of_a_channels_funding_and_frozen_ones_pay_for_no_claim(world: World) -> None:
    world.fund(100_000)
    set_aside(world, b"a temporary channel id")
    world.fund(100_001)
    psbt = set_aside(world, PSBT_OWNER)
    world.wallet.freeze(psbt.inputs[0].outpoint)
    with pytest.raises(InsufficientFunds):
        world.wallet.select_confirmed_utxos(b"one", ((ANCHOR, 330, 116),), (), 1_000)
    world.wallet.freeze(psbt.inputs[0].outpoint, False)
    found = world.wallet.select_confirmed_utxos(b"one", ((ANCHOR, 330, 116),), (), 1_000)
    assert found.confirmed_utxos[0].outpoint == psbt.inputs[0].outpoint
