"""Coins that are chosen, rates that are too low, and transactions that several hands sign."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.node.test_bad_input import Place
from wallet.bitcoin import curve
from wallet.bitcoin.address import REGTEST, address_to_script, script_to_address
from wallet.bitcoin.psbt import Psbt
from wallet.bitcoin.script import p2wpkh
from wallet.bitcoin.tx import SEQUENCE_RBF, OutPoint, Transaction, Txid, TxIn, TxOut
from wallet.chain.electrum.fees import ElectrumFeeEstimator, FeeSnapshot
from wallet.node.api import CommandError

STRANGER = script_to_address(p2wpkh(curve.pubkey_from_secret(b"\x17" * 32)), REGTEST) or ""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("psbt"))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def let_go(place: Place) -> Iterator[None]:
    """What one test has signed is free for the next."""
    yield
    for txid in {coin["signed_for"] for coin in ours(place, "listunspent")} - {None}:
        ours(place, "release_psbt", psbt=txid)


class BusyDay(ElectrumFeeEstimator):
    """Servers say 40, 20, 12, 4 and 2 sat/vB; what the real ones say meanwhile is not heard."""

    @property
    def snapshot(self) -> FeeSnapshot:
        return FeeSnapshot(
            rates=((2, 10_000), (6, 5_000), (12, 3_000), (144, 1_000), (1008, 500)), minimum_sat_per_kw=300
        )

    @snapshot.setter
    def snapshot(self, heard: FeeSnapshot) -> None:
        pass


@pytest.fixture
def known_fees(place: Place) -> Iterator[Place]:
    estimator = place.node.electrum.fee_estimator
    estimator.__class__ = BusyDay
    yield place
    estimator.__class__ = ElectrumFeeEstimator


def ours(place: Place, command: str, **arguments: Any) -> Any:
    return place.call(place.ours(command, **arguments))


def said(place: Place, command: str, **arguments: Any) -> str:
    with pytest.raises(CommandError) as refusal:
        ours(place, command, **arguments)
    return refusal.value.message


def coins(place: Place) -> list[str]:
    return [
        f"{coin['prevout_hash']}:{coin['prevout_n']}"
        for coin in ours(place, "listunspent")
        if coin["spendable"] and not coin["frozen"]
    ]


# --- rates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("blocks", "rate"), [(1, None), (2, 40), (6, 20), (144, 4), (2016, 2)])
def test_the_wait_decides_the_rate(known_fees: Place, blocks: int, rate: int | None) -> None:
    quote = ours(known_fees, "quote_onchain", destination=STRANGER, amount_sat="200000", target_blocks=blocks)
    if rate is None:
        assert quote["fee_sat"] > 0
    else:
        assert quote["feerate_text"].partition(".")[0] == str(rate)
    assert quote["total_sat"] == quote["amount_sat"] + quote["fee_sat"]
    assert quote["warning"] == ""


@pytest.mark.parametrize(
    ("rate", "says"), [("1.1", "passed on"), ("1.5", "within two weeks"), ("2", ""), ("2.75", "")]
)
def test_a_rate_below_what_confirms_within_two_weeks_is_warned_about(
    known_fees: Place, rate: str, says: str
) -> None:
    quote = ours(known_fees, "quote_onchain", destination=STRANGER, amount_sat="900000", feerate=rate)
    assert says in quote["warning"]
    assert bool(says) == bool(quote["warning"])


@pytest.mark.parametrize("rate", ["0", "0.5", "5001", "1,5", "fast"])
def test_a_rate_that_is_none(place: Place, rate: str) -> None:
    assert "between 1 and" in said(
        place, "quote_onchain", destination=STRANGER, amount_sat="1000", feerate=rate
    )


# --- coins --------------------------------------------------------------------------------------------


def test_chosen_coins_are_the_ones_that_are_spent(place: Place) -> None:
    one = coins(place)[0]
    raw = ours(place, "payto", destination=STRANGER, amount="0.001", feerate="2", coins=one)
    tx = Transaction.parse(bytes.fromhex(raw))
    assert [f"{txin.prevout.txid[::-1].hex()}:{txin.prevout.vout}" for txin in tx.inputs] == [one]
    quote = ours(place, "quote_onchain", destination=STRANGER, amount_sat="all", feerate="2", coins=one)
    assert quote["coins"] == 1


def test_coins_that_are_none_of_ours_or_too_small(place: Place) -> None:
    assert "txid:n" in said(place, "quote_onchain", destination=STRANGER, amount_sat="1000", coins="hello")
    assert said(place, "quote_onchain", destination=STRANGER, amount_sat="1000", coins="00" * 32 + ":0")
    one = coins(place)[0]
    assert said(place, "quote_onchain", destination=STRANGER, amount_sat="2900000000", coins=one)


def test_a_frozen_coin_is_left_alone(place: Place) -> None:
    everything = ours(place, "quote_onchain", destination=STRANGER, amount_sat="all", feerate="2")
    one = coins(place)[0]
    ours(place, "freeze_utxo", coin=one)
    assert one not in coins(place)
    less = ours(place, "quote_onchain", destination=STRANGER, amount_sat="all", feerate="2")
    assert less["coins"] == everything["coins"] - 1
    ours(place, "unfreeze_utxo", coin=one)
    assert one in coins(place)
    assert "no coin" in said(place, "freeze_utxo", coin="00" * 32 + ":0")


# --- PSBT -----------------------------------------------------------------------------------------------


def test_a_psbt_goes_out_is_read_signed_and_complete(place: Place) -> None:
    text = ours(place, "payto", destination=STRANGER, amount="0.002", feerate="3", psbt=True)
    assert Psbt.parse(text).tx.inputs
    assert ours(place, "recognise", text=text)["kind"] == "psbt"
    info = ours(place, "psbt_info", psbt=text)
    assert info["can_sign"]
    assert not info["complete"]
    assert info["you_pay_sat"] == 200_000 + info["fee_sat"]
    assert [(out["address"], out["value_sat"]) for out in info["outputs"] if not out["mine"]] == [
        (STRANGER, 200_000)
    ]
    assert "missing" in said(place, "broadcast_psbt", psbt=text)
    signed = ours(place, "signpsbt", psbt=text)
    assert signed["complete"]
    tx = Transaction.parse(bytes.fromhex(signed["hex"]))
    assert all(txin.witness for txin in tx.inputs)
    assert "already" in ours(place, "psbt_info", psbt=signed["psbt"])["why_not"]
    assert "already" in said(place, "signpsbt", psbt=signed["psbt"])
    txid = ours(place, "broadcast_psbt", psbt=signed["psbt"])
    assert txid in place.call(_mempool(place))


async def _mempool(place: Place) -> list[str]:
    return [txid[::-1].hex() for txid in place.chain.mempool_txids()]


def changed(text: str, **what: Any) -> str:
    """The same PSBT, with something else said of its first input."""
    psbt = Psbt.parse(text)
    return psbt.with_input(0, dataclasses.replace(psbt.inputs[0], **what)).to_base64()


@pytest.mark.parametrize("lie", ["amount", "sighash", "nothing known", "not ours"])
def test_a_psbt_that_is_not_signed(place: Place, lie: str) -> None:
    text = ours(place, "payto", destination=STRANGER, amount="0.001", feerate="3", psbt=True)
    psbt = Psbt.parse(text)
    spent = psbt.spent_output(0)
    assert spent is not None
    if lie == "amount":
        # A coin that is said to be larger hides a fee that is larger.
        lying = changed(text, witness_utxo=TxOut(spent.value_sat + 1, spent.script_pubkey))
        assert "Do not sign" in said(place, "psbt_info", psbt=lying)
    elif lie == "sighash":
        lying = changed(text, sighash_type=2)
        assert "leaves parts" in ours(place, "psbt_info", psbt=lying)["why_not"]
    elif lie == "nothing known":
        # Of our own coin the wallet knows better, so this one can be signed.
        lying = changed(text, witness_utxo=None)
        assert ours(place, "psbt_info", psbt=lying)["can_sign"]
        return
    else:
        tx = dataclasses.replace(
            psbt.tx,
            inputs=tuple(
                dataclasses.replace(
                    txin, prevout=dataclasses.replace(txin.prevout, vout=txin.prevout.vout + 7)
                )
                for txin in psbt.tx.inputs
            ),
        )
        lying = Psbt.from_transaction(tx, [psbt.spent_output(i) for i in range(len(tx.inputs))]).to_base64()
        assert "None of its coins" in ours(place, "psbt_info", psbt=lying)["why_not"]
    assert said(place, "signpsbt", psbt=lying)


@pytest.mark.parametrize("text", ["", "hello", "cHNidP8=", "70736274ff", "70736274zz", "cHNidP8BAA=="])
def test_what_is_no_psbt_is_a_sentence(place: Place, text: str) -> None:
    sentence = said(place, "psbt_info", psbt=text)
    assert sentence.endswith(".")


def test_two_copies_are_put_together(place: Place) -> None:
    text = ours(place, "payto", destination=STRANGER, amount="0.001", feerate="3", psbt=True)
    signed = ours(place, "signpsbt", psbt=text)["psbt"]
    assert Psbt.parse(ours(place, "combinepsbt", psbt=text, other=signed)).is_final
    other = ours(place, "payto", destination=STRANGER, amount="0.003", feerate="3", psbt=True)
    assert "different transactions" in said(place, "combinepsbt", psbt=text, other=other)


# --- what a signature holds ---------------------------------------------------------------------------


def test_the_coins_of_a_signed_psbt_are_set_aside_until_they_are_let_go(place: Place) -> None:
    one = coins(place)[0]
    text = ours(place, "payto", destination=STRANGER, amount="0.001", feerate="3", coins=one, psbt=True)
    assert not ours(place, "psbt_info", psbt=text)["set_aside"]
    ours(place, "signpsbt", psbt=text)
    assert one not in coins(place)
    assert ours(place, "psbt_info", psbt=text)["set_aside"]
    assert "taken" in said(place, "payto", destination=STRANGER, amount="0.001", feerate="3", coins=one)
    # A second copy without the signature is the same transaction.
    assert ours(place, "signpsbt", psbt=text)["complete"]
    # A start has them as they were.
    with place.node.core.entry():
        place.node._settle_reservations()
    assert one not in coins(place)
    [held] = [coin for coin in ours(place, "listunspent") if coin["signed_for"]]
    assert held["signed_for"] == ours(place, "psbt_info", psbt=text)["txid"]
    answer = ours(place, "release_psbt", psbt=text)
    assert answer["coins"] == 1
    assert "may still send" in answer["message"]
    assert one in coins(place)
    for named in (text, held["signed_for"]):
        assert "No coins are set aside" in said(place, "release_psbt", psbt=named)
    # The coin's own button lets go as well, and so does the id.
    for command, named in (("unfreeze_utxo", {"coin": one}), ("release_psbt", {"psbt": held["signed_for"]})):
        ours(place, "signpsbt", psbt=text)
        assert one not in coins(place)
        ours(place, command, **named)
        assert one in coins(place)


def test_a_psbt_of_ours_that_was_sent_can_be_replaced(place: Place) -> None:
    """Nothing of ours relies on its id, and what was set aside is spent."""
    text = ours(place, "payto", destination=STRANGER, amount="0.004", feerate="3", psbt=True)
    signed = ours(place, "signpsbt", psbt=text)["psbt"]
    txid = ours(place, "broadcast_psbt", psbt=signed)
    assert not [coin for coin in ours(place, "listunspent") if coin["signed_for"]]
    assert ours(place, "bump_fee", txid=txid, feerate_sat_per_vb=9)["txid"] != txid


def test_a_psbt_that_takes_what_closing_channels_needs_is_not_signed(place: Place) -> None:
    """As `payto`, which keeps it back: a channel with anchors is open."""
    with place.node.core.locked():
        keep_sat = place.node.anchor_reserve_sat()
        usable = [coin for coin in place.node.onchain.coins() if coin.trusted and not coin.reserved]
    assert keep_sat > 0
    everything_sat = sum(coin.value_sat for coin in usable)
    back = address_to_script(ours(place, "createnewaddress"), REGTEST)

    def paying(amount_sat: int) -> str:
        tx = Transaction(
            2,
            tuple(TxIn(coin.outpoint, b"", SEQUENCE_RBF) for coin in usable),
            (
                TxOut(amount_sat, p2wpkh(curve.pubkey_from_secret(b"\x17" * 32))),
                TxOut(everything_sat - amount_sat - 2_000, back),
            ),
            0,
        )
        return Psbt.from_transaction(tx, [coin.output for coin in usable]).to_base64()

    too_much = paying(everything_sat - keep_sat - 1_999)
    assert "kept back for closing channels" in ours(place, "psbt_info", psbt=too_much)["why_not"]
    assert "kept back for closing channels" in said(place, "signpsbt", psbt=too_much)
    assert not [coin for coin in ours(place, "listunspent") if coin["signed_for"]]
    just_enough = paying(everything_sat - keep_sat - 2_000)
    assert ours(place, "signpsbt", psbt=just_enough)["complete"]
    ours(place, "release_psbt", psbt=just_enough)


@pytest.mark.parametrize("proof", [None, "previous transaction"])
def test_a_fee_that_rests_on_the_word_of_others_is_said_to_be_unproven(
    place: Place, proof: str | None
) -> None:
    own = min((coin for coin in place.node.onchain.coins() if coin.trusted), key=lambda coin: coin.value_sat)
    theirs = TxOut(50_000, p2wpkh(curve.pubkey_from_secret(b"\x18" * 32)))
    before = Transaction(2, (TxIn(OutPoint(Txid(b"\x44" * 32), 0), b"", 0),), (theirs,), 0)
    tx = Transaction(
        2,
        (TxIn(own.outpoint, b"", SEQUENCE_RBF), TxIn(OutPoint(before.txid, 0), b"", SEQUENCE_RBF)),
        (TxOut(own.value_sat + 40_000, p2wpkh(curve.pubkey_from_secret(b"\x17" * 32))),),
        0,
    )
    previous = [None, before if proof else None]
    text = Psbt.from_transaction(tx, [own.output, theirs], previous_txs=previous).to_base64()
    info = ours(place, "psbt_info", psbt=text)
    assert info["fee_sat"] == 10_000
    assert info["can_sign"]
    assert info["fee_proven"] is (proof is not None)
    assert ("nothing here proves it" in info["fee_note"]) is (proof is None)
    assert not ours(place, "signpsbt", psbt=text)["complete"]
    ours(place, "release_psbt", psbt=text)
