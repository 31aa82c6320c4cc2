"""Leyden's daemon as its own process: it starts, is killed, and starts again."""

from __future__ import annotations

from tests.real.conftest import StartLeyden, StartRegtest


def test_it_receives_coins_and_has_them_after_being_killed(
    regtest: StartRegtest, leyden: StartLeyden
) -> None:
    net = regtest()
    wallet = leyden(net)
    wallet.fund(1_000_000, coins=2)
    wallet.wait("sees its coins", lambda: wallet.call("getbalance").get("confirmed") == "0.01")
    node_id = wallet.node_id
    wallet.kill()
    net.mine(1)
    wallet.start()
    assert wallet.node_id == node_id
    assert wallet.call("getbalance")["confirmed"] == "0.01"
    assert wallet.call("getseed").split() == wallet.words
    assert wallet.refusal("payto", destination="nonsense", amount="0.001").message
