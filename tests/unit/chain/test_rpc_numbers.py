"""What a server may write as a number: none of it may stop the wallet."""

from __future__ import annotations

import pytest

from wallet.chain.electrum.rpc import RpcBroken, _Protocol


@pytest.mark.parametrize(
    "number", [b"1e99999999999999999999", b"-1E-9999999999999999999999", b"NaN", b"-Infinity"]
)
def test_a_number_that_cannot_be_is_no_json(number: bytes) -> None:
    with pytest.raises(RpcBroken, match="not JSON"):
        _Protocol._message_to_payload(b'{"id":0,"result":' + number + b"}")
