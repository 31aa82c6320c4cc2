"""The on-chain wallet: addresses, coins, payments, reservations, and that its rows hold all of it."""

from __future__ import annotations

import pytest

from tests.unit.onchain.world import FIRST_AT, STRANGER, World
from wallet.bitcoin.address import REGTEST, address_to_script
from wallet.bitcoin.amounts import fee_sat_ceil
from wallet.bitcoin.errors import APIError, DecodeError
from wallet.bitcoin.script import op_return
from wallet.bitcoin.tx import OutPoint, Transaction, Txid, TxIn, TxOut, txid_hex
from wallet.onchain.errors import AbsurdFee, CoinsTaken, DustOutput, InsufficientFunds, OnchainError
from wallet.onchain.keyring import GAP_LIMIT, Purpose

FUNDING = b"\x00\x20" + bytes(32)


@pytest.fixture
def world() -> World:
    return World()


# --- addresses ----------------------------------------------------------------------------------


def test_unused_address_stays_until_it_is_paid(world: World) -> None:
    wallet = world.wallet
    first = wallet.unused_address()
    assert wallet.unused_address() == first
    assert wallet.new_address() != first
    assert wallet.unused_address() == first
    world.see(world.foreign(TxOut(10_000, address_to_script(first, REGTEST))))
    second = wallet.unused_address()
    assert second != first
    assert wallet.unused_address() == second
    world.check_rows()


def test_new_addresses_differ_up_to_the_gap_limit(world: World) -> None:
    handed = [world.wallet.new_address() for _ in range(GAP_LIMIT)]
    assert len(set(handed)) == GAP_LIMIT
    # Beyond it a restore would not find them: the oldest come again.
    assert world.wallet.new_address() == handed[0]
    assert world.wallet.new_address() == handed[1]
    world.fund(5_000)
    world.check_rows()


def test_the_gap_moves_with_what_is_used(world: World) -> None:
    handed = [world.wallet.new_address() for _ in range(15)]
    world.mine(world.foreign(TxOut(10_000, address_to_script(handed[14], REGTEST))))
    more = [world.wallet.new_address() for _ in range(GAP_LIMIT)]
    assert len({*handed, *more}) == 15 + GAP_LIMIT
    assert len(set(world.filter.scripts)) == len(world.filter.scripts)
    for address in more:
        assert address_to_script(address, REGTEST) in world.filter.scripts


def test_both_account_kinds_are_followed(world: World) -> None:
    wallet = world.wallet
    assert wallet.new_address().startswith("bcrt1q")
    taproot = wallet.unused_address(Purpose.BIP86)
    assert taproot.startswith("bcrt1p")
    assert len(world.filter.scripts) >= 4 * GAP_LIMIT
    world.mine(world.foreign(TxOut(50_000, address_to_script(taproot, REGTEST))))
    assert wallet.balance().confirmed_sat == 50_000
    draft = world.send(20_000)
    assert draft.tx.weight <= 700
    world.check_rows()


def test_next_script_is_change_and_ours(world: World) -> None:
    scripts = [world.wallet.next_script() for _ in range(3)]
    assert len(set(scripts)) == 3
    assert all(world.wallet.is_mine(script) for script in scripts)
    world.mine(world.foreign(TxOut(9_000, scripts[2])))
    assert [coin.is_change for coin in world.wallet.coins()] == [True]


def test_a_late_address_brings_older_outputs_into_view(world: World) -> None:
    """One transaction pays an address within view and one beyond it; both count."""
    wallet = world.wallet
    keyring = wallet._keyring
    branch = next(iter(wallet._state.branches))
    near, far = keyring.script(branch, GAP_LIMIT - 1), World().wallet._keyring.script(branch, GAP_LIMIT + 5)
    world.mine(world.foreign(TxOut(1_000, far), TxOut(2_000, near)))
    assert wallet.balance().confirmed_sat == 3_000
    world.check_rows()


# --- coins and history --------------------------------------------------------------------------


def test_receiving(world: World) -> None:
    wallet = world.wallet
    world.mine_empty(3)
    tx = world.foreign(TxOut(70_000, world.script()), TxOut(5, STRANGER))
    version = wallet.version
    world.see(tx)
    assert wallet.version > version
    assert wallet.balance().unconfirmed_sat == wallet.balance().arriving_sat == 70_000
    assert wallet.balance().spendable_sat == 0
    (entry,) = wallet.history()
    assert (entry.delta_sat, entry.fee_sat, entry.height, entry.at) == (70_000, None, None, FIRST_AT + 1_800)
    assert not entry.can_bump
    world.mine(tx)
    (entry,) = wallet.history()
    assert (entry.height, entry.at) == (4, FIRST_AT + 2_400)
    assert wallet.balance().spendable_sat == 70_000
    assert wallet.entry_by_hex(txid_hex(tx.txid)) == entry
    assert wallet.entry_by_hex("nonsense") is None
    assert wallet.entry_by_hex("00" * 32) is None
    world.check_rows()


def test_strangers_transactions_are_not_kept(world: World) -> None:
    tx = world.foreign(TxOut(70_000, STRANGER))
    world.see(tx)
    world.mine(tx)
    assert world.wallet.history() == ()
    assert not world.wallet.concerns(tx)
    assert world.wallet.get_relevant_txids() == []


def test_paying(world: World) -> None:
    wallet = world.wallet
    world.fund(100_000, 40_000)
    draft = world.send(60_000)
    assert draft.fee_sat == fee_sat_ceil(draft.tx.weight, 1_000) or draft.tx.weight < 561
    (entry,) = [item for item in wallet.history() if item.height is None]
    assert entry.delta_sat == -60_000 - draft.fee_sat
    assert entry.fee_sat == draft.fee_sat
    assert entry.can_bump
    assert world.total_sat() == 140_000 - 60_000 - draft.fee_sat
    # Spent coins are hidden at once, the change is trusted.
    assert not {coin.outpoint for coin in wallet.coins()} & {coin.outpoint for coin in draft.inputs}
    assert wallet.balance().spendable_sat == world.total_sat()
    world.check_rows()
    world.see(draft.tx)
    world.mine(draft.tx)
    assert wallet.balance().confirmed_sat == world.total_sat()
    assert wallet.history()[-1].height == world.height
    world.check_rows()


def test_change_of_change_is_trusted_and_confirmed_coins_come_first(world: World) -> None:
    world.fund(100_000)
    world.send(10_000)
    world.send(10_000)
    (coin,) = world.wallet.coins()
    assert coin.trusted
    world.fund(90_000)
    draft = world.send(30_000)
    assert [item.height for item in draft.inputs] == [world.height]


def test_untrusted_coins_are_spent_only_by_name(world: World) -> None:
    tx = world.foreign(TxOut(50_000, world.script()))
    world.see(tx)
    with pytest.raises(InsufficientFunds):
        world.send(10_000)
    draft = world.check(
        world.wallet.draft(
            outputs=(TxOut(10_000, STRANGER),), feerate_sat_per_kw=500, coins=(tx.outpoint(0),)
        )
    )
    assert [item.outpoint for item in draft.inputs] == [tx.outpoint(0)]


def test_change_of_an_untrusted_coin_is_not_trusted(world: World) -> None:
    tx = world.foreign(TxOut(50_000, world.script()))
    world.see(tx)
    draft = world.wallet.draft(
        outputs=(TxOut(10_000, STRANGER),), feerate_sat_per_kw=500, coins=(tx.outpoint(0),)
    )
    world.wallet.commit(draft)
    assert [coin.trusted for coin in world.wallet.coins()] == [False]


def test_unconfirmed_coins_can_be_ruled_out(world: World) -> None:
    world.fund(100_000)
    world.send(10_000)
    with pytest.raises(InsufficientFunds):
        world.wallet.draft(
            outputs=(TxOut(10_000, STRANGER),), feerate_sat_per_kw=500, allow_unconfirmed=False
        )


def test_a_reward_matures(world: World) -> None:
    world.mine(world.coinbase(TxOut(5_000_000, world.script())))
    assert world.wallet.balance().immature_sat == 5_000_000
    world.mine_empty(98)
    with pytest.raises(InsufficientFunds):
        world.send(10_000)
    world.mine()
    # The next block is the hundredth after it: there it may be spent.
    assert world.wallet.balance().confirmed_sat == 5_000_000
    world.send(10_000)
    world.check_rows()


def test_frozen_coins_stay(world: World) -> None:
    (tx,) = world.fund(50_000)
    world.wallet.freeze(tx.outpoint(0))
    assert world.wallet.balance().reserved_sat == world.wallet.balance().frozen_sat == 50_000
    world.check_rows()
    with pytest.raises(InsufficientFunds):
        world.send(10_000)
    world.wallet.freeze(tx.outpoint(0), False)
    world.send(10_000)
    world.check_rows()


def test_labels(world: World) -> None:
    wallet = world.wallet
    (tx,) = world.fund(50_000)
    wallet.label(txid_hex(tx.txid), "salary, Grüße")
    assert wallet.history()[0].label == "salary, Grüße"
    wallet.label("bcrt1something", "an address")
    assert wallet.labels()["bcrt1something"] == "an address"
    world.check_rows()
    wallet.label("bcrt1something", "")
    assert "bcrt1something" not in wallet.labels()
    world.check_rows()


def test_a_label_leaves_the_entries_of_other_transactions_as_they_are(world: World) -> None:
    wallet = world.wallet
    first, second = world.fund(50_000, 60_000)
    before = {entry.txid: entry for entry in wallet.history()}
    wallet.label_all({txid_hex(first.txid): "salary", "an address": "of the shop"})
    after = {entry.txid: entry for entry in wallet.history()}
    assert after[second.txid] is before[second.txid]
    assert after[first.txid].label == "salary"
    wallet.freeze(OutPoint(second.txid, 0))
    assert wallet.history()[0] is after[wallet.history()[0].txid]
    wallet.label(txid_hex(first.txid), "")
    assert {entry.label for entry in wallet.history()} == {""}
    # What else happens is seen: a block, a payment that waits and then does not.
    sent = world.send(20_000)
    wallet.commit(sent)
    waiting = next(entry for entry in wallet.history() if entry.txid == sent.tx.txid)
    assert waiting.height is None
    wallet.label(txid_hex(sent.tx.txid), "rent")
    assert next(entry for entry in wallet.history() if entry.txid == sent.tx.txid).label == "rent"
    world.mine(sent.tx)
    known = next(entry for entry in wallet.history() if entry.txid == sent.tx.txid)
    assert (known.label, known.height is None) == ("rent", False)


# --- drafts -------------------------------------------------------------------------------------


def test_a_draft_changes_nothing_and_repeats_itself(world: World) -> None:
    world.fund(*range(20_000, 60_000, 3_000))
    before, version, written = world.wallet.coins(), world.wallet.version, world.store.written
    outputs = (TxOut(70_000, STRANGER),)
    first = world.wallet.draft(outputs=outputs, feerate_sat_per_kw=700)
    second = world.wallet.draft(outputs=outputs, feerate_sat_per_kw=700)
    assert first == second
    assert (world.wallet.coins(), world.wallet.version, world.store.written) == (before, version, written)
    world.wallet.commit(first)
    world.wallet.commit(first)
    assert len([item for item in world.wallet.history() if item.height is None]) == 1


def test_send_all(world: World) -> None:
    world.fund(100_000, 40_000, 33_000)
    draft = world.check(
        world.wallet.draft(outputs=(), send_all_to=STRANGER, feerate_sat_per_kw=1_000, lock_time=3)
    )
    assert len(draft.inputs) == 3
    assert draft.tx.outputs == (TxOut(173_000 - draft.fee_sat, STRANGER),)
    assert draft.change_sat is None
    world.wallet.commit(draft)
    assert world.total_sat() == 0
    world.check_rows()


def test_send_all_leaves_the_reserve(world: World) -> None:
    world.fund(100_000, 40_000)
    draft = world.check(
        world.wallet.draft(outputs=(), send_all_to=STRANGER, feerate_sat_per_kw=1_000, keep_sat=25_000)
    )
    assert draft.change_sat == 25_000
    small = world.wallet.draft(outputs=(), send_all_to=STRANGER, feerate_sat_per_kw=1_000, keep_sat=5)
    assert small.change_sat == 294
    with pytest.raises(InsufficientFunds) as caught:
        world.wallet.draft(outputs=(), send_all_to=STRANGER, feerate_sat_per_kw=1_000, keep_sat=139_500)
    assert caught.value.reserve_sat == 139_500
    assert caught.value.needed_sat > caught.value.available_sat


def test_send_all_of_named_coins_counts_the_others_as_reserve(world: World) -> None:
    first, _second = world.fund(100_000, 40_000)
    draft = world.wallet.draft(
        outputs=(),
        send_all_to=STRANGER,
        feerate_sat_per_kw=1_000,
        keep_sat=30_000,
        coins=(first.outpoint(0),),
    )
    assert draft.change_sat is None
    draft = world.wallet.draft(
        outputs=(),
        send_all_to=STRANGER,
        feerate_sat_per_kw=1_000,
        keep_sat=45_000,
        coins=(first.outpoint(0),),
    )
    assert draft.change_sat == 5_000


@pytest.mark.parametrize("keep_sat", [0, 200, 12_000])
@pytest.mark.parametrize("rate", [253, 2_000, 11_111])
def test_what_a_channel_can_hold_at_most_can_then_be_put_into_it(
    world: World, keep_sat: int, rate: int
) -> None:
    world.fund(100_000, 40_000, 35_000, 1_000, 60_000)
    most = world.check(
        world.wallet.draft(outputs=(), send_all_to=FUNDING, feerate_sat_per_kw=rate, keep_sat=keep_sat)
    )
    value_sat = next(out.value_sat for out in most.tx.outputs if out.script_pubkey == FUNDING)
    draft = world.check(
        world.wallet.draft(outputs=(TxOut(value_sat, FUNDING),), feerate_sat_per_kw=rate, keep_sat=keep_sat)
    )
    assert (draft.change_sat or 0) + 1_000 >= keep_sat
    with pytest.raises(InsufficientFunds):
        world.wallet.draft(
            outputs=(TxOut(value_sat + 2_000, FUNDING),), feerate_sat_per_kw=rate, keep_sat=keep_sat
        )


def test_the_reserve_is_kept_by_payments(world: World) -> None:
    world.fund(100_000)
    draft = world.send(60_000, keep_sat=39_000)
    assert draft.change_sat is not None
    assert draft.change_sat >= 39_000
    with pytest.raises(InsufficientFunds) as caught:
        world.send(1_000, keep_sat=39_000)
    assert "kept back" in str(caught.value)
    assert "39,000" in str(caught.value)


def test_refusals_are_sentences(world: World) -> None:
    world.fund(100_000)
    wallet = world.wallet
    with pytest.raises(DustOutput, match="too small"):
        wallet.draft(outputs=(TxOut(293, STRANGER),), feerate_sat_per_kw=500)
    with pytest.raises(InsufficientFunds, match="200,"):
        wallet.draft(outputs=(TxOut(200_000, STRANGER),), feerate_sat_per_kw=500)
    for rate in (0, 252, 1_250_001):
        with pytest.raises(AbsurdFee, match="fee rate"):
            wallet.draft(outputs=(TxOut(2_000, STRANGER),), feerate_sat_per_kw=rate)
    with pytest.raises(OnchainError):
        wallet.draft(outputs=(TxOut(21_000_001 * 10**8, STRANGER),), feerate_sat_per_kw=500)
    with pytest.raises(CoinsTaken):
        wallet.draft(
            outputs=(TxOut(2_000, STRANGER),), feerate_sat_per_kw=500, coins=(OutPoint(Txid(bytes(32)), 0),)
        )
    with pytest.raises(APIError):
        wallet.draft(outputs=(), feerate_sat_per_kw=500)
    assert wallet.balance().confirmed_sat == 100_000


def test_data_outputs_are_not_dust(world: World) -> None:
    world.fund(100_000)
    world.check(
        world.wallet.draft(
            outputs=(TxOut(0, op_return(b"hello")), TxOut(5_000, STRANGER)), feerate_sat_per_kw=500
        )
    )


def test_a_draft_without_rbf_says_so(world: World) -> None:
    world.fund(100_000)
    draft = world.wallet.draft(
        outputs=(TxOut(5_000, STRANGER),), feerate_sat_per_kw=500, rbf=False, lock_time=1
    )
    assert {txin.sequence for txin in draft.tx.inputs} == {0xFFFFFFFE}
    world.wallet.commit(draft)
    assert not world.wallet.history()[-1].can_bump


@pytest.mark.parametrize("rate", [253, 1_000, 7_777, 100_000])
def test_fees_are_those_that_were_asked_for(world: World, rate: int) -> None:
    world.fund(300_000, 310_000, 320_000, 10_000_000)
    for value_sat in (1_000, 299_000, 550_000, 900_000):
        draft = world.check(
            world.wallet.draft(outputs=(TxOut(value_sat, STRANGER),), feerate_sat_per_kw=rate)
        )
        if draft.change_sat is None:
            continue
        # Signatures are a byte shorter now and then, so the real feerate may be a hair above.
        shorter_weight = 2 * len(draft.inputs)
        assert draft.fee_sat >= fee_sat_ceil(draft.tx.weight, rate)
        assert draft.fee_sat <= fee_sat_ceil(draft.tx.weight + shorter_weight, rate)


# --- reservations -------------------------------------------------------------------------------


def test_a_reservation_holds_its_coins(world: World) -> None:
    wallet = world.wallet
    world.fund(100_000)
    draft = wallet.draft(outputs=(TxOut(50_000, FUNDING),), feerate_sat_per_kw=500)
    wallet.reserve(draft.tx, b"channel")
    assert wallet.balance().reserved_sat == wallet.balance().opening_sat == 100_000
    assert wallet.balance().confirmed_sat == 100_000
    assert wallet.reserved_transaction(draft.tx.txid) == draft.tx
    world.check_rows()
    with pytest.raises(InsufficientFunds):
        world.send(10_000)
    with pytest.raises(CoinsTaken):
        wallet.reserve(draft.tx.with_script_sig(0, b"\x00"), b"another")
    wallet.release(draft.tx.txid)
    wallet.release(draft.tx.txid)
    assert wallet.reserved_transaction(draft.tx.txid) is None
    assert wallet.balance().reserved_sat == 0
    world.check_rows()


def test_the_change_of_a_reservation_is_not_given_to_another(world: World) -> None:
    wallet = world.wallet
    world.fund(100_000, 90_000)
    draft = wallet.draft(outputs=(TxOut(50_000, FUNDING),), feerate_sat_per_kw=500)
    wallet.reserve(draft, b"channel")
    change = next(out.script_pubkey for out in draft.tx.outputs if out.script_pubkey != FUNDING)
    assert wallet.next_script() != change
    other = wallet.draft(outputs=(TxOut(5_000, STRANGER),), feerate_sat_per_kw=500)
    assert change not in {out.script_pubkey for out in other.tx.outputs}


def test_a_reserved_transaction_is_committed(world: World) -> None:
    wallet = world.wallet
    world.fund(100_000)
    draft = wallet.draft(outputs=(TxOut(50_000, FUNDING),), feerate_sat_per_kw=500)
    wallet.reserve(draft.tx, b"channel")
    wallet.commit(draft.tx, "Channel opening")
    assert wallet.reserved_transaction(draft.tx.txid) is None
    entry = wallet.history()[-1]
    assert (entry.label, entry.can_bump, entry.can_cpfp) == ("Channel opening", False, True)
    wallet.release(draft.tx.txid)
    assert len(wallet.history()) == 2
    world.check_rows()
    with pytest.raises(OnchainError, match="close the channel"):
        wallet.abandon(draft.tx.txid)
    wallet.abandon(draft.tx.txid, channel_gone=True)
    assert wallet.balance().spendable_sat == 100_000
    world.check_rows()


def test_releasing_by_owner(world: World) -> None:
    wallet = world.wallet
    world.fund(100_000, 90_000)
    for owner in (b"a", b"b"):
        wallet.reserve(wallet.draft(outputs=(TxOut(50_000, FUNDING),), feerate_sat_per_kw=500), owner)
    wallet.release_owner(b"a")
    assert [owner for _txid, owner in wallet.reservations()] == [b"b"]
    world.check_rows()


def test_a_reservation_dies_with_its_coins(world: World) -> None:
    wallet = world.wallet
    world.fund(100_000)
    draft = wallet.draft(outputs=(TxOut(50_000, FUNDING),), feerate_sat_per_kw=500)
    rival = wallet.draft(outputs=(TxOut(10_000, STRANGER),), feerate_sat_per_kw=500)
    wallet.reserve(draft, b"channel")
    with pytest.raises(CoinsTaken):
        wallet.commit(rival)
    world.mine(rival.tx)
    assert wallet.reserved_transaction(draft.tx.txid) is None
    world.check_rows()


def test_spending_the_same_coin_twice_is_refused_once_it_is_in_a_block(world: World) -> None:
    wallet = world.wallet
    world.fund(100_000)
    first = wallet.draft(outputs=(TxOut(50_000, STRANGER),), feerate_sat_per_kw=500)
    second = wallet.draft(outputs=(TxOut(10_000, STRANGER),), feerate_sat_per_kw=500)
    world.mine(first.tx)
    with pytest.raises(CoinsTaken):
        wallet.commit(second)
    with pytest.raises(CoinsTaken):
        wallet.reserve(second, b"channel")
    world.check_rows()


def test_abandoning(world: World) -> None:
    wallet = world.wallet
    world.fund(100_000)
    draft = world.send(50_000)
    world.see(draft.tx)
    with pytest.raises(OnchainError, match="on its way"):
        wallet.abandon(draft.tx.txid)
    wallet.transactions_evicted((draft.tx.txid,))
    assert wallet.pending_transactions() == (draft.tx,)
    wallet.abandon(draft.tx.txid)
    assert wallet.balance().confirmed_sat == 100_000
    world.check_rows()


def test_pending_transactions_come_parents_first(world: World) -> None:
    world.fund(100_000)
    drafts = [world.send(10_000) for _ in range(4)]
    assert world.wallet.pending_transactions() == tuple(draft.tx for draft in drafts)


# --- signing for others -------------------------------------------------------------------------


def test_sign_inputs_signs_ours_only(world: World) -> None:
    (tx,) = world.fund(100_000)
    stranger = OutPoint(Txid(b"\x07" * 32), 1)
    joint = Transaction(2, (TxIn(stranger), TxIn(tx.outpoint(0))), (TxOut(100_000, STRANGER),), 0)
    spent = (TxOut(20_000, STRANGER), tx.outputs[0])
    signed = world.wallet.sign_inputs(joint, spent)
    assert signed.inputs[0].witness == ()
    assert len(signed.inputs[1].witness) == 2
    with pytest.raises(APIError):
        world.wallet.sign_inputs(joint, (spent[0], TxOut(1, tx.outputs[0].script_pubkey)))


def test_rows_of_nonsense_are_refused(world: World) -> None:
    world.fund(100_000)
    for space, key in (("onchain_tx", b"x"), ("onchain_branch", b"x"), ("onchain_label", b"\xff")):
        world.store.data[space, key] = b""
        with pytest.raises(DecodeError):
            world.open()
        del world.store.data[space, key]
    world.check_rows()
