"""The life of a channel over each Electrum protocol, and over a server that holds its answers back as published."""

from __future__ import annotations

from typing import Any

import pytest

from tests.real.conftest import StartRegtest
from tests.real.node_rig import LeydenNode
from tests.real.test_reorganisations import force_close_over_reorganisations

PROTOCOLS: dict[str, dict[str, Any]] = {
    "1.4": {"electrumx": "1", "protocol_max": "1.4"},
    "1.7": {"electrumx": "2"},
    "1.6 as published": {"electrumx": "1", "send_wait": None},
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_open_pay_force_close_reorganise(regtest: StartRegtest, protocol: str) -> None:
    net = regtest(**PROTOCOLS[protocol])
    alice = net.ldk_peer("alice")
    with LeydenNode(net, real_fees=True) as us:
        (server,) = us.node.electrum.status().servers
        assert server.protocol.startswith(protocol.split()[0])
        us.fund(10_000_000)
        channel = us.open(alice, 1_000_000, push_sat=400_000)
        us.pay(alice, 100_000_001)
        us.paid_by(alice, 30_000_000)
        us.agrees_with(alice, channel)
        ours_msat = us.local_msat(channel)
        assert ours_msat == 600_000_000 - 100_000_001 + 30_000_000

        commitment_txid = force_close_over_reorganisations(us, alice, channel)
        us.mine_until_swept()
        us.check_coins(paid_away_sat=1_000_000 - ours_msat // 1000 - 1, commitment_txids=[commitment_txid])
        us.check_log()
