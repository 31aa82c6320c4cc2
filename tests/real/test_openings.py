"""Openings of every kind with a real rust-lightning node: large, aliased, unconfirmed, refused, interrupted."""

from __future__ import annotations

import pytest

from tests.real.conftest import StartPair
from tests.real.lightning import Pair
from wallet.node.api import CommandError


def use(pair: Pair) -> None:
    """It carries payments both ways, and both sides count alike."""
    pair.we_pay(20_000_001)
    pair.they_pay(10_000_001)
    pair.check_books()


def test_large_channels(pair: StartPair) -> None:
    """Above 2^24 satoshis, by either side, and payments above 2^32 millisatoshis."""
    now = pair(fund_us_sat=60_000_000, fund_them_sat=150_000_000)
    now.we_open(25_000_000, push_sat=10_000_000)
    now.they_pay(4_500_000_001)
    use(now)
    now.they_open(40_000_000, push_sat=10_000_000)
    now.us.call("test_tick")
    assert len(now.us.call("list_channels", active=True)) == 2


def test_a_channel_type_with_alias(pair: StartPair) -> None:
    """They ask for `option_scid_alias`: invoices and routes use the alias only."""
    now = pair(scid_privacy=True)
    now.they_open(1_000_000, push_sat=300_000)
    real = now.them.wait_channel(now.channel_id)["scid"]
    hints = [
        hop["short_channel_id"]
        for route in now.us.call("decode_invoice", invoice=now.our_invoice(1_000))["r_tags"]
        for hop in route
    ]
    assert hints
    assert real not in hints
    use(now)


def test_without_confirmations(pair: StartPair) -> None:
    """They trust us for the funding: it can be used at once, by its alias, and goes on once it is confirmed."""
    now = pair(zeroconf=True)
    now.we_open(1_000_000, push_sat=300_000, confirm=False)
    use(now)
    now.mine(6)
    now.onchain_confirmed()
    use(now)
    now.us.call("close_channel", channel_id=now.channel_id)
    now.mine_closing()


def test_no_upfront_shutdown_script(pair: StartPair) -> None:
    now = pair(no_upfront_shutdown=True)
    now.we_open(1_000_000, push_sat=300_000)
    use(now)
    now.them.call("close", channel_id=now.channel_id)
    now.mine_closing()


def test_all_coins(pair: StartPair) -> None:
    """A channel of everything: what is left is the reserve for closing, and it suffices."""
    now = pair()
    opened = now.us.call("open_channel", connection_string=now.them.uri, amount="!")
    now.node.wait_for_tx(opened["funding_txid"])
    now.mine(6)
    now.channel_id, now.channel_point = opened["channel_id"], opened["channel_point"]
    now.wait_usable()
    now.capacity_sat = now.channel()["capacity_sat"]
    now.ours_msat = now.capacity_sat * 1000
    before_sat, now.onchain_sat = now.onchain_sat, now.balance_sat()
    assert now.onchain_sat == before_sat - now.capacity_sat - now.fee_sat(opened["funding_txid"])
    assert 0 < now.onchain_sat < 100_000
    now.we_pay(400_000_000)  # above what they have to keep
    use(now)


def test_they_refuse(pair: StartPair) -> None:
    """A sentence, and no coin is used or kept back."""
    now = pair()
    now.them.call("set", accept=False)
    with pytest.raises(CommandError, match="not opened"):
        now.us.call("open_channel", connection_string=now.them.uri, amount_sat=1_000_000)
    assert now.balance_sat() == now.onchain_sat
    now.them.call("set", accept=True)
    now.we_open(now.onchain_sat - 200_000)


def test_a_channel_too_small_or_unfunded(pair: StartPair) -> None:
    now = pair()
    with pytest.raises(CommandError, match="eaten by its fees"):
        now.us.call("open_channel", connection_string=now.them.uri, amount_sat=10_000)
    with pytest.raises(CommandError):
        now.us.call("open_channel", connection_string=now.them.uri, amount_sat=now.onchain_sat)
    assert now.us.call("list_channels") == []


@pytest.mark.parametrize("we_open", [True, False], ids=["we open", "they open"])
def test_killed_before_it_confirms(pair: StartPair, we_open: bool) -> None:
    now = pair()
    if we_open:
        now.we_open(1_000_000, push_sat=300_000, confirm=False, usable=False)
    else:
        now.they_open(1_000_000, push_sat=300_000, confirm=False, usable=False)
    now.us.kill()
    now.node.mine(2)
    now.us.start()
    now.mine(4)
    now.them.call("connect", pubkey=now.us.node_id, port=now.us.port)
    now.wait_usable()
    now.onchain_confirmed()
    use(now)
