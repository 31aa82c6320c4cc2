"""The balance is the sum of its parts to the satoshi, whatever the wallet holds."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallet.bitcoin.tx import OutPoint, Txid
from wallet.ln.channel_details import ChannelDetails, ChannelState
from wallet.ln.events import Balance, BalanceKind
from wallet.ln.types import ChannelId, NodeId
from wallet.node.api import BalanceView, LockedCoin, ReserveReason
from wallet.node.balance import balance_view
from wallet.node.node import Node
from wallet.node.views import Views
from wallet.onchain.accounting import OnchainBalance

PEER, OTHER = NodeId(b"\x02" + bytes(32)), NodeId(b"\x03" + bytes(32))
SATS = st.integers(0, 2_100_000_000_000_000)
MSATS = st.integers(0, 5_000_000_000)


def channel(**changed: object) -> ChannelDetails:
    """Of a million, seven tenths ours."""
    made = ChannelDetails(
        channel_id=ChannelId(bytes(32)),
        counterparty_node_id=PEER,
        counterparty_features=None,
        user_channel_id=0,
        state=ChannelState.OPEN,
        is_outbound=True,
        is_announced=False,
        is_channel_ready=True,
        is_usable=True,
        is_connected=True,
        channel_type=None,
        channel_value_sat=1_000_000,
        balance_msat=700_000_000,
        outbound_capacity_msat=690_000_000,
        inbound_capacity_msat=290_000_000,
        next_outbound_htlc_limit_msat=687_000_000,
        next_outbound_htlc_minimum_msat=1,
        unspendable_punishment_reserve_sat=10_000,
        counterparty_reserve_sat=10_000,
        funding_outpoint=OutPoint(Txid(bytes(32)), 0),
        commitment_fee_reserve_msat=3_000_000,
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def kept(view: BalanceView) -> dict[str, int]:
    return {part.reason.name: part.amount_sat for part in view.reserved}


def seen(onchain: OnchainBalance, reserve_sat: int, *channels: ChannelDetails) -> BalanceView:
    return balance_view(onchain, reserve_sat, channels, {PEER}, ())


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        pytest.param({}, {"CHANNEL_RESERVE": 10_000, "COMMITMENT_FEE": 3_000}, id="ready"),
        pytest.param(
            {"counterparty_node_id": OTHER, "is_usable": False},
            {"CHANNEL_RESERVE": 10_000, "COMMITMENT_FEE": 3_000, "PEER_AWAY": 687_000},
            id="peer away",
        ),
        pytest.param(
            {"is_channel_ready": False, "is_usable": False, "state": ChannelState.AWAITING_CONFIRMATIONS},
            {"OPENING_CHANNEL": 700_000},
            id="opening",
        ),
        pytest.param(
            {"is_usable": False, "state": ChannelState.SHUTTING_DOWN},
            {"CLOSING_CHANNEL": 700_000},
            id="closing",
        ),
        pytest.param(
            {"balance_msat": 11_000_000}, {"CHANNEL_RESERVE": 10_000, "COMMITMENT_FEE": 1_000}, id="low"
        ),
        pytest.param({"balance_msat": 4_000_000}, {"CHANNEL_RESERVE": 4_000}, id="below the reserve"),
        pytest.param({"balance_msat": 0}, {}, id="nothing"),
        pytest.param(
            {"is_outbound": False, "is_channel_ready": False, "is_usable": False},
            {},
            id="not ours before it is deep",
        ),
    ],
)
def test_what_a_channel_keeps_back_has_its_reason(
    changed: dict[str, object], expected: dict[str, int]
) -> None:
    view = seen(OnchainBalance(), 0, channel(**changed))
    assert kept(view) == expected
    assert view.spendable_sat == view.total_sat - sum(expected.values())


def test_each_coin_that_is_set_aside_has_its_reason() -> None:
    onchain = OnchainBalance(
        confirmed_sat=150_000,
        unconfirmed_sat=7_000,
        spendable_sat=90_000,
        arriving_sat=7_000,
        reserved_sat=60_000,
        frozen_sat=10_000,
        opening_sat=20_000,
        psbt_sat=25_000,
        claims_sat=5_000,
    )
    view = seen(onchain, 30_000)
    assert kept(view) == {
        "ANCHOR_FEES": 30_000, "FROZEN": 10_000, "OPENING_COINS": 20_000, "PSBT": 25_000, "CLAIM_FEES": 5_000,
    }  # fmt: skip
    assert (view.onchain_spendable_sat, view.incoming_sat) == (60_000, 7_000)


def test_a_reserve_beyond_the_coins_takes_no_more_than_there_is() -> None:
    view = seen(OnchainBalance(confirmed_sat=4_000, spendable_sat=4_000), 30_000)
    assert (kept(view), view.spendable_sat) == ({"ANCHOR_FEES": 4_000}, 0)


def test_fractions_of_what_is_kept_back_are_no_satoshi_to_spend() -> None:
    opening = channel(is_channel_ready=False, is_usable=False, balance_msat=1_500)
    closing = channel(state=ChannelState.SHUTTING_DOWN, is_usable=False, balance_msat=1_500)
    view = seen(OnchainBalance(), 0, opening, closing)
    assert (view.total_sat, view.reserved_sat, view.spendable_sat) == (3, 3, 0)


def test_half_a_satoshi_to_spend_and_half_a_one_that_is_kept_back_are_none_to_spend() -> None:
    keeps_nothing = {"unspendable_punishment_reserve_sat": 0, "commitment_fee_reserve_msat": 0}
    here = channel(balance_msat=7_500, **keeps_nothing)
    away = channel(balance_msat=2_900, counterparty_node_id=OTHER, is_usable=False, **keeps_nothing)
    view = seen(OnchainBalance(), 0, here, away)
    assert (view.total_sat, view.spendable_sat, kept(view)) == (10, 7, {"PEER_AWAY": 3})


@st.composite
def coins(draw: st.DrawFn) -> OnchainBalance:
    spendable, arriving, frozen, opening, psbt, claims = (draw(SATS) for _ in range(6))
    reserved = frozen + opening + psbt + claims
    # Change of our own is trusted while it waits: what waits is more than what arrives.
    waiting = draw(st.integers(0, spendable + reserved))
    return OnchainBalance(
        confirmed_sat=spendable + reserved - waiting,
        unconfirmed_sat=arriving + waiting,
        reserved_sat=reserved,
        spendable_sat=spendable,
        arriving_sat=arriving,
        frozen_sat=frozen,
        opening_sat=opening,
        psbt_sat=psbt,
        claims_sat=claims,
    )


CHANNELS = st.builds(
    channel,
    counterparty_node_id=st.sampled_from((PEER, OTHER)),
    state=st.sampled_from(ChannelState),
    is_outbound=st.booleans(),
    is_channel_ready=st.booleans(),
    is_usable=st.booleans(),
    balance_msat=MSATS,
    unspendable_punishment_reserve_sat=st.none() | st.integers(0, 5_000_000),
    commitment_fee_reserve_msat=MSATS,
)
LOCKED = st.lists(
    st.builds(
        LockedCoin, amount_sat=SATS, reason=st.just("why"), until_height=st.none(), channel_id=st.none()
    ),
    max_size=3,
)


@given(coins(), SATS, st.lists(CHANNELS, max_size=5), LOCKED)
def test_the_parts_are_the_whole_to_the_satoshi(
    onchain: OnchainBalance, reserve_sat: int, channels: list[ChannelDetails], locked: list[LockedCoin]
) -> None:
    view = balance_view(onchain, reserve_sat, channels, {PEER}, tuple(locked))
    parts = {part.reason: part.amount_sat for part in view.reserved}
    assert len(parts) == len(view.reserved)
    assert min(parts.values(), default=1) > 0
    assert view.incoming_sat == onchain.arriving_sat
    assert view.onchain_spendable_sat >= 0
    assert view.lightning_spendable_sat >= 0
    counted_msat = sum(item.balance_msat for item in channels if item.is_channel_ready or item.is_outbound)
    assert view.lightning_sat == counted_msat // 1000
    whole_sat = view.spendable_sat + view.incoming_sat + view.reserved_sat + view.locked_sat
    assert whole_sat == view.total_sat
    assert parts.get(ReserveReason.FROZEN, 0) == onchain.frozen_sat


@pytest.mark.parametrize("kind", BalanceKind, ids=lambda kind: kind.name)
def test_what_is_ours_only_by_a_proof_is_in_no_balance(kind: BalanceKind) -> None:
    views = Views(cast("Node", SimpleNamespace()))
    coin = views.locked_coin(
        Balance(kind=kind, channel_id=ChannelId(bytes(32)), amount_sat=30_000, height=900)
    )
    needs_proof = kind is BalanceKind.MAYBE_PREIMAGE_CLAIMABLE_HTLC
    assert coin.is_certain is not needs_proof
    assert BalanceView(locked=(coin,)).total_sat == (0 if needs_proof else 30_000)
