"""A whole node and strangers that come, offer channels, and go: its files and memory are as if they had never been."""

from __future__ import annotations

import pytest

from tests.fuzz import full_stack
from wallet.bitcoin import curve
from wallet.bitcoin.address import REGTEST
from wallet.bitcoin.hashes import sha256
from wallet.ln import msgs
from wallet.ln.types import ChannelId

VISITS = 6


def offer(number: int) -> bytes:
    """An open_channel like any other, of a peer that will never fund it."""
    points = [curve.pubkey_from_secret(sha256(b"%d %d" % (number, place))) for place in range(6)]
    return msgs.encode_message(
        msgs.OpenChannel(
            chain_hash=REGTEST.chain_hash,
            temporary_channel_id=ChannelId(sha256(b"offer %d" % number)),
            funding_sat=1_000_000,
            push_msat=0,
            dust_limit_sat=354,
            max_htlc_value_in_flight_msat=1_000_000_000,
            channel_reserve_sat=10_000,
            htlc_minimum_msat=1,
            feerate_sat_per_kw=500,
            to_self_delay_blocks=144,
            max_accepted_htlcs=30,
            funding_pubkey=points[0],
            revocation_basepoint=points[1],
            payment_basepoint=points[2],
            delayed_payment_basepoint=points[3],
            htlc_basepoint=points[4],
            first_per_commitment_point=points[5],
            channel_flags=0,
            upfront_shutdown_script=b"",
            channel_type=b"\x10\x00",
        )
    )


def visit(number: int) -> bytes:
    """Connect, greet, offer four channels, and be gone, in the commands of `full_stack`."""
    peer = bytes((number % 4,))
    offers = b"".join(
        b"\x04\x00" + len(raw).to_bytes(2, "big") + raw for raw in (offer(4 * number + k) for k in range(4))
    )
    return b"\x01" + peer + b"\x05\x00" + offers + b"\x30" + b"\x02\x00"


@pytest.mark.timeout(120)
def test_offers_that_come_to_nothing_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before: list[tuple[int, ...]] = []
    sizes: list[tuple[int, ...]] = []
    most: list[int] = []
    check = full_stack.FullStack.check

    def look(world: full_stack.FullStack) -> None:
        check(world)
        node = world.us.node
        most.append(len(node.manager.list_channels()))
        if not most[-1]:
            (sizes if max(most) else before).append(
                (
                    len(node.ledger.closed),
                    len(node._last_details),
                    len(node.keys_manager._signers),
                    len(node.manager.pending_events()),
                    len(world.us.store.committed),
                )
            )

    monkeypatch.setattr(full_stack.FullStack, "check", look)
    full_stack.play(b"".join(visit(number) for number in range(VISITS)))
    assert max(most) == 4, "the offers were never taken"
    # The first offers take an address each, which later ones take again: one row.
    assert before[-1][-1] + 1 == sizes[0][-1]
    assert len(set(sizes)) == 1, sizes
    assert sizes[-1][:4] == (0, 0, 0, 0)
