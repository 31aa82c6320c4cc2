"""A peer that breaks BOLT 2, normal operation: one test for each MUST of a receiver. Our commitment is good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.functional.bad_peer import BAD_SIGNATURE, add, assert_failed, inject, start
from tests.functional.joined import Node, World, config
from wallet.bitcoin.tx import Txid
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.config import ChannelConfig, ChannelHandshakeConfig, MaxDustExposure, UserConfig
from wallet.ln.types import ChannelId, DecodeError, PaymentPreimage


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"amount_msat": 0}, "offers nothing"),
        ({"amount_msat": 999}, "our minimum"),
        ({"htlc_id": 1}, "comes next"),
        ({"cltv_expiry_height": 500_000_000}, "at a time"),
        ({"amount_msat": 300_000_001}, "in flight"),
        ({"amount_msat": 2**63}, "in flight"),
    ],
)
def test_additions(world: World, changes: dict[str, object], words: str) -> None:
    settings = UserConfig(
        channel_handshake_config=ChannelHandshakeConfig(
            our_htlc_minimum_msat=1_000, max_inbound_htlc_value_in_flight_percent=30
        )
    )
    alice, bob, channel_id = start(world, settings)
    inject(world, alice, bob, add(channel_id, **changes))
    assert_failed(world, alice, words)


@pytest.mark.parametrize("amount_msat", [600_000_001, 599_000_000, 590_000_001])
def test_an_addition_that_its_sender_cannot_afford(world: World, amount_msat: int) -> None:
    """Above the balance; into the fee; into the reserve of one percent."""
    alice, bob, channel_id = start(world)
    inject(world, alice, bob, add(channel_id, amount_msat=amount_msat))
    assert_failed(world, alice, "update_add_htlc")


def test_too_many_additions(world: World) -> None:
    alice, bob, channel_id = start(world, config(max_htlcs=3))
    inject(world, alice, bob, *(add(channel_id, htlc_id=number) for number in range(4)))
    assert_failed(world, alice, "limit of 3 HTLCs")


def test_an_addition_after_shutdown(world: World) -> None:
    alice, bob, channel_id = start(world)
    script = bob.keys.get_shutdown_scriptpubkey()
    inject(world, alice, bob, msgs.Shutdown(channel_id=channel_id, script_pubkey=script), add(channel_id))
    assert_failed(world, alice, "after shutdown")


def test_updates_before_channel_ready(world: World) -> None:
    alice, bob = world.node("alice", config()), world.node("bob", config())
    channel_id = world.open_channel(bob, alice, 1_000_000, confirm=False)
    inject(world, alice, bob, add(channel_id))
    closed = alice.one_event(ev.ChannelClosed)
    assert "before channel_ready" in closed.reason.message
    bob.one_event(ev.ChannelClosed)


@pytest.mark.parametrize(
    "make",
    [
        lambda channel_id, htlc_id: msgs.UpdateFulfillHtlc(
            channel_id=channel_id, htlc_id=htlc_id, payment_preimage=PaymentPreimage(bytes(32))
        ),
        lambda channel_id, htlc_id: msgs.UpdateFailHtlc(
            channel_id=channel_id, htlc_id=htlc_id, reason=bytes(292)
        ),
        lambda channel_id, htlc_id: msgs.UpdateFailMalformedHtlc(
            channel_id=channel_id, htlc_id=htlc_id, sha256_of_onion=bytes(32), failure_code=0xC005
        ),
    ],
)
def test_removals_of_what_is_not_there(world: World, make: Callable[[ChannelId, int], msgs.Message]) -> None:
    alice, bob, channel_id = start(world)
    inject(world, alice, bob, make(channel_id, 0))
    assert_failed(world, alice, "not there")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda channel_id: [
                msgs.UpdateFulfillHtlc(
                    channel_id=channel_id, htlc_id=0, payment_preimage=PaymentPreimage(bytes(32))
                )
            ],
            "does not fit",
        ),
        (
            lambda channel_id: [
                msgs.UpdateFailMalformedHtlc(
                    channel_id=channel_id, htlc_id=0, sha256_of_onion=bytes(32), failure_code=0x4005
                )
            ],
            "BADONION",
        ),
        (
            lambda channel_id: [
                msgs.UpdateFailHtlc(channel_id=channel_id, htlc_id=0, reason=bytes(292)),
                msgs.UpdateFailHtlc(channel_id=channel_id, htlc_id=0, reason=bytes(292)),
            ],
            "cannot be removed now",
        ),
    ],
)
def test_bad_removals(world: World, make: Callable[[ChannelId], list[msgs.Message]], words: str) -> None:
    alice, bob, channel_id = start(world)
    world.route_payment([alice, bob], 5_000_000)
    inject(world, alice, bob, *make(channel_id))
    assert_failed(world, alice, words)


def test_a_removal_before_the_addition_is_committed(world: World) -> None:
    alice, bob, channel_id = start(world)
    payment = world.route_payment([alice, bob], 5_000_000, settle=False)
    inject(
        world,
        alice,
        bob,
        msgs.UpdateFulfillHtlc(channel_id=channel_id, htlc_id=0, payment_preimage=payment.payment_preimage),
    )
    assert_failed(world, alice, "cannot be removed now")


@pytest.mark.parametrize("kind", ["signature", "htlc", "missing", "extra", "high_s"])
def test_bad_commitments(world: World, kind: str) -> None:
    alice, bob, _ = start(world)
    payment = world.invoice(alice, 5_000_000)
    seen: list[bool] = []

    def change(sender: Node, receiver: Node, msg: msgs.Message) -> bool:
        if not isinstance(msg, msgs.CommitmentSigned) or sender is not bob:
            return True
        seen.append(True)
        bad = msg
        if kind == "signature":
            bad = replace(msg, signature=BAD_SIGNATURE)
        elif kind == "htlc":
            bad = replace(msg, htlc_signatures=(BAD_SIGNATURE,))
        elif kind == "missing":
            bad = replace(msg, htlc_signatures=())
        elif kind == "extra":
            bad = replace(msg, htlc_signatures=msg.htlc_signatures * 2)
        elif kind == "high_s":
            order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
            s = order - int.from_bytes(msg.signature[32:], "big")
            bad = replace(msg, signature=msg.signature[:32] + s.to_bytes(32, "big"))
        receiver.inbox.append((sender.node_id, msgs.encode_message(bad)))
        return False

    world.filter = change
    world.send(payment, bob, world.route([world.path([bob, alice], 5_000_000)], alice))
    world.settle()
    assert seen
    assert_failed(world, alice, "signature" if kind in ("signature", "htlc", "high_s") else "HTLC signatures")


def test_a_revocation_out_of_the_blue(world: World) -> None:
    alice, bob, channel_id = start(world)
    msg = msgs.RevokeAndAck(
        channel_id=channel_id,
        per_commitment_secret=b"\x01" * 32,
        next_per_commitment_point=bytes(alice.node_id),
    )
    inject(world, alice, bob, msg)
    assert_failed(world, alice, "nothing was to be revoked")


@pytest.mark.parametrize("secret", [bytes(32), b"\x01" * 32])
def test_a_revocation_with_a_wrong_secret(world: World, secret: bytes) -> None:
    alice, bob, channel_id = start(world)
    world.route_payment([alice, bob], 5_000_000, settle=False)
    msg = msgs.RevokeAndAck(
        channel_id=channel_id, per_commitment_secret=secret, next_per_commitment_point=bytes(alice.node_id)
    )
    inject(world, alice, bob, msg)
    assert_failed(world, alice, "secret in revoke_and_ack")


@pytest.mark.parametrize(
    ("feerate_sat_per_kw", "words"), [(200, "too low"), (1_000_000, "above our limit"), (24_999, None)]
)
def test_fee_rates(world: World, feerate_sat_per_kw: int, words: str | None) -> None:
    alice, bob, channel_id = start(world)
    inject(world, alice, bob, msgs.UpdateFee(channel_id=channel_id, feerate_sat_per_kw=feerate_sat_per_kw))
    if words is not None:
        assert_failed(world, alice, words)
    else:
        assert alice.channel(bob).is_usable


def test_a_fee_rate_that_the_funder_cannot_pay(world: World) -> None:
    alice, bob, channel_id = start(world, push_msat=980_000_000)
    inject(world, alice, bob, msgs.UpdateFee(channel_id=channel_id, feerate_sat_per_kw=24_000))
    assert_failed(world, alice, "more than its sender can pay")


def test_a_fee_rate_from_the_side_that_does_not_pay(world: World) -> None:
    alice, bob = world.node("alice", config()), world.node("bob", config())
    channel_id = world.open_channel(alice, bob, 1_000_000, 400_000_000)
    inject(world, alice, bob, msgs.UpdateFee(channel_id=channel_id, feerate_sat_per_kw=500))
    assert_failed(world, alice, "does not pay the fee")


# --- what is ignored, and what piles up ---------------------------------------------------


def test_an_id_is_taken_again_after_a_reconnection(world: World) -> None:
    """BOLT 2, update_add_htlc, receiver: what was never committed is forgotten with the connection, its id too."""
    alice, bob, channel_id = start(world)
    inject(world, alice, bob, *(add(channel_id, htlc_id=number) for number in range(3)))
    world.disconnect(alice, bob)
    world.filter = None
    world.connect(alice, bob)
    assert not alice.channel(bob).pending_htlcs
    inject(world, alice, bob, add(channel_id, htlc_id=0))
    assert alice.channel(bob).is_usable
    world.disconnect(alice, bob)


def test_a_flood_of_fee_rates_keeps_one(world: World) -> None:
    """BOLT 2, update_fee: each replaces the one before; the last one counts."""
    alice, bob, channel_id = start(world)
    rates = [253 + number for number in range(300)]
    inject(
        world, alice, bob, *(msgs.UpdateFee(channel_id=channel_id, feerate_sat_per_kw=each) for each in rates)
    )
    (kept,) = alice.manager._channels[channel_id].core.fee_updates
    assert kept.feerate_sat_per_kw == rates[-1]
    assert alice.channel(bob).is_usable
    world.disconnect(alice, bob)


def test_a_commitment_for_another_funding_is_ignored(world: World) -> None:
    """BOLT 2, commitment_signed, receiver: no splice is pending, so that it is about nothing here."""
    alice, bob, channel_id = start(world)
    said = len(alice.sent)
    msg = msgs.CommitmentSigned(
        channel_id=channel_id, signature=BAD_SIGNATURE, htlc_signatures=(), funding_txid=Txid(b"\x09" * 32)
    )
    inject(world, alice, bob, msg)
    assert alice.sent[said:] == []
    assert alice.channel(bob).is_usable


@pytest.mark.parametrize("point", [bytes(33), b"\x04" + bytes(32), b"\x02" + b"\xff" * 32])
def test_a_next_point_that_is_none_cannot_be_read(point: bytes) -> None:
    msg = msgs.RevokeAndAck(
        channel_id=ChannelId(bytes(32)), per_commitment_secret=bytes(32), next_per_commitment_point=point
    )
    with pytest.raises(DecodeError, match="point"):
        msgs.decode_message(msgs.encode_message(msg))


def dust_config(limit_msat: int, *, anchors: bool) -> UserConfig:
    exposure = MaxDustExposure(fee_rate_multiplier=0, fixed_limit_msat=limit_msat)
    return config(anchors=anchors, channel=ChannelConfig(max_dust_htlc_exposure=exposure))


@pytest.mark.parametrize("from_alice", [False, True])
def test_a_fee_rate_that_turns_too_much_into_dust(world: World, from_alice: bool) -> None:
    """BOLT 2, update_fee, receiver, without anchors: HTLCs under way would become fees, in either commitment."""
    alice, bob = (
        world.node("alice", dust_config(5_000_000, anchors=False)),
        world.node("bob", config(anchors=False)),
    )
    channel_id = world.open_channel(bob, alice, 1_000_000, 400_000_000)
    payments = [
        world.route_payment([alice, bob] if from_alice else [bob, alice], 3_000_000) for _ in range(2)
    ]
    # At 253 sat/kw an HTLC of 3,000 sat has an output; at 5,000 sat/kw its second stage costs more than that.
    inject(world, alice, bob, msgs.UpdateFee(channel_id=channel_id, feerate_sat_per_kw=5_000))
    assert_failed(world, alice, "into dust")
    assert len(payments) == 2


def test_with_anchors_a_fee_rate_makes_no_dust(world: World) -> None:
    """BOLT 2, update_fee, receiver: second stages pay no fee of their own there."""
    alice, bob = world.node("alice", dust_config(5_000_000, anchors=True)), world.node("bob", config())
    channel_id = world.open_channel(bob, alice, 1_000_000, 400_000_000)
    payments = [world.route_payment([bob, alice], 3_000_000) for _ in range(2)]
    inject(world, alice, bob, msgs.UpdateFee(channel_id=channel_id, feerate_sat_per_kw=5_000))
    assert alice.channel(bob).is_usable
    world.disconnect(alice, bob)
    world.filter = None
    world.connect(alice, bob)
    for payment in payments:
        world.claim([bob, alice], payment)
