"""A peer that breaks BOLT 2: one test for each MUST of a receiver. The channel is failed, our commitment is good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.functional.joined import Node, World, config
from wallet.bitcoin.script import p2wpkh
from wallet.ln import events as ev
from wallet.ln import msgs
from wallet.ln.config import ChannelHandshakeConfig, UserConfig
from wallet.ln.events import ClosureKind
from wallet.ln.types import ChannelId, PaymentHash, PaymentPreimage, ShortChannelId

BAD_SIGNATURE = bytes(31) + b"\x01" + bytes(31) + b"\x01"


def start(
    world: World, settings: UserConfig | None = None, *, push_msat: int = 400_000_000
) -> tuple[Node, Node, ChannelId]:
    """Alice, whom we watch, and Bob, who will misbehave; Bob is the funder."""
    alice, bob = world.node("alice", settings or config()), world.node("bob", config())
    channel_id = world.open_channel(bob, alice, 1_000_000, push_msat)
    return alice, bob, channel_id


def inject(world: World, alice: Node, bob: Node, *messages: msgs.Message) -> None:
    """As if Bob had sent these; Bob himself is silent from now on."""
    world.filter = lambda sender, _receiver, _msg: sender is not bob
    for msg in messages:
        alice.inbox.append((bob.node_id, msgs.encode_message(msg)))
    world.settle()


def assert_failed(world: World, alice: Node, words: str) -> None:
    closed = alice.one_event(ev.ChannelClosed)
    assert closed.reason.kind is ClosureKind.PROCESSING_ERROR
    assert words in closed.reason.message
    errors = [msg for _, msg in alice.sent if isinstance(msg, msgs.Error)]
    assert len(errors) == 1
    assert errors[0].channel_id == closed.channel_id
    assert len(world.mempool) == 1
    assert not alice.manager.list_channels()
    (other,) = (node for node in world.nodes.values() if node is not alice)
    assert other.one_event(ev.ChannelClosed).reason.kind is ClosureKind.COUNTERPARTY_FORCE_CLOSED


def add(channel_id: ChannelId, **changes: object) -> msgs.UpdateAddHtlc:
    msg = msgs.UpdateAddHtlc(
        channel_id=channel_id,
        htlc_id=0,
        amount_msat=1_000_000,
        payment_hash=PaymentHash(bytes(32)),
        cltv_expiry_height=200,
        onion_routing_packet=bytes(1366),
    )
    return replace(msg, **changes)  # type: ignore[arg-type]  # the tests name real fields


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


def test_a_shutdown_to_a_strange_script(world: World) -> None:
    alice, bob, channel_id = start(world)
    inject(
        world,
        alice,
        bob,
        msgs.Shutdown(channel_id=channel_id, script_pubkey=b"\x76\xa9\x14" + bytes(20) + b"\x88\xac"),
    )
    # BOLT 2, shutdown, receiver: a warning; the channel lives.
    assert not world.links
    assert len(alice.manager.list_channels()) == 1
    assert not world.mempool


def test_closing_signed_out_of_the_blue(world: World) -> None:
    alice, bob, channel_id = start(world)
    msg = msgs.ClosingSigned(
        channel_id=channel_id, fee_sat=500, signature=BAD_SIGNATURE, fee_range=(1, 1_000)
    )
    inject(world, alice, bob, msg)
    assert_failed(world, alice, "before both sides")


@pytest.mark.parametrize("kind", ["signature", "too_much"])
def test_bad_closing_signed(world: World, kind: str) -> None:
    alice, bob, channel_id = start(world)

    def change(sender: Node, receiver: Node, msg: msgs.Message) -> bool:
        if not isinstance(msg, msgs.ClosingSigned) or sender is not bob:
            return True
        if kind == "signature":
            bad = replace(msg, signature=BAD_SIGNATURE)
        else:
            bad = replace(msg, fee_sat=900_000_000)
        receiver.inbox.append((sender.node_id, msgs.encode_message(bad)))
        return False

    world.filter = change
    bob.manager.close_channel(channel_id, alice.node_id)
    world.settle()
    closed = alice.one_event(ev.ChannelClosed)
    assert closed.reason.kind is ClosureKind.PROCESSING_ERROR
    bob.one_event(ev.ChannelClosed)


def reestablish(channel_id: ChannelId, point: bytes, **changes: object) -> msgs.ChannelReestablish:
    msg = msgs.ChannelReestablish(
        channel_id=channel_id,
        next_commitment_number=1,
        next_revocation_number=0,
        your_last_per_commitment_secret=bytes(32),
        my_current_per_commitment_point=point,
    )
    return replace(msg, **changes)  # type: ignore[arg-type]  # the tests name real fields


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"next_commitment_number": 0}, "commitment number 0"),
        ({"next_commitment_number": 5}, "never signed"),
        ({"next_revocation_number": 1, "your_last_per_commitment_secret": b"\x05" * 32}, "never gave"),
        ({"next_revocation_number": 7, "your_last_per_commitment_secret": bytes(32)}, "never gave"),
    ],
)
def test_reestablishing_with_wrong_numbers(world: World, changes: dict[str, object], words: str) -> None:
    alice, bob, channel_id = start(world)
    world.disconnect(alice, bob)
    world.filter = lambda sender, _receiver, _msg: sender is not bob
    world.connect(alice, bob, settle=False)
    inject(world, alice, bob, reestablish(channel_id, bytes(bob.node_id), **changes))
    assert_failed(world, alice, words)


def test_updates_before_reestablishing(world: World) -> None:
    alice, bob, channel_id = start(world)
    world.disconnect(alice, bob)
    world.filter = lambda sender, _receiver, _msg: sender is not bob
    world.connect(alice, bob, settle=False)
    inject(world, alice, bob, add(channel_id))
    assert_failed(world, alice, "before channel_reestablish")


def test_a_repeated_channel_ready_changes_the_alias_only(world: World) -> None:
    alice, bob, channel_id = start(world)
    point = alice.manager._channels[channel_id].core.counterparty_next_point
    assert point is not None
    inject(
        world,
        alice,
        bob,
        msgs.ChannelReady(
            channel_id=channel_id,
            second_per_commitment_point=point,
            short_channel_id_alias=ShortChannelId(4711 << 40),
        ),
    )
    assert alice.channel(bob).inbound_scid_alias == 4711 << 40
    assert alice.channel(bob).is_usable


def test_an_unknown_channel_is_answered_with_an_error(world: World) -> None:
    alice, bob, _ = start(world)
    inject(world, alice, bob, add(ChannelId(b"\x07" * 32)))
    errors = [msg for _, msg in alice.sent if isinstance(msg, msgs.Error)]
    assert [msg.channel_id for msg in errors] == [b"\x07" * 32]
    assert len(alice.manager.list_channels()) == 1


def test_another_peer_cannot_touch_the_channel(world: World) -> None:
    alice, bob, channel_id = start(world)
    mallory = world.node("mallory", config())
    world.connect(alice, mallory)
    alice.inbox.append((mallory.node_id, msgs.encode_message(add(channel_id))))
    alice.inbox.append((mallory.node_id, msgs.encode_message(msgs.Error(channel_id=channel_id, data=b"x"))))
    alice.inbox.append((mallory.node_id, msgs.encode_message(msgs.Error(channel_id=ChannelId(bytes(32))))))
    world.settle()
    assert alice.channel(bob).is_usable
    world.pay([alice, bob], 1_000_000)


def test_an_error_for_all_channels_closes_them_all(world: World) -> None:
    alice, bob, _ = start(world)
    world.open_channel(alice, bob, 500_000)
    inject(world, alice, bob, msgs.Error(channel_id=ChannelId(bytes(32)), data=b"good\x1b[31mbye"))
    closed = [event for event in alice.take_events() if isinstance(event, ev.ChannelClosed)]
    assert len(closed) == 2
    assert {event.reason.kind for event in closed} == {ClosureKind.COUNTERPARTY_FORCE_CLOSED}
    assert "\x1b" not in closed[0].reason.message
    # Bob's own commitments are given until the next block to show themselves.
    assert not world.mempool
    world.mine(1)
    assert len(world.mempool) == 2


def test_a_script_that_was_fixed(world: World) -> None:
    alice, bob, channel_id = start(world)
    inject(world, alice, bob, msgs.Shutdown(channel_id=channel_id, script_pubkey=p2wpkh(b"\x02" * 33)))
    assert not world.links


def test_an_onion_of_noise_is_malformed(world: World) -> None:
    alice, bob, _ = start(world)
    payment = world.invoice(alice, 5_000_000)

    def spoil(sender: Node, receiver: Node, msg: msgs.Message) -> bool:
        if isinstance(msg, msgs.UpdateAddHtlc):
            bad = replace(msg, onion_routing_packet=b"\x00" + bytes(bob.node_id) + bytes(1332))
            receiver.inbox.append((sender.node_id, msgs.encode_message(bad)))
            return False
        return True

    world.filter = spoil
    world.send(payment, bob, world.route([world.path([bob, alice], 5_000_000)], alice))
    world.settle()
    failed = bob.one_event(ev.PaymentFailed)
    assert failed.attempts[0].failure_code == 0xC005
    assert any(isinstance(msg, msgs.UpdateFailMalformedHtlc) for _, msg in alice.sent)


def test_a_malformed_onion_at_the_next_hop_comes_back_readable(world: World) -> None:
    nodes = [world.node(name, config()) for name in ("alice", "bob", "carol")]
    for one, other in ((0, 1), (1, 2)):
        world.open_channel(nodes[one], nodes[other], 1_000_000, 500_000_000)
    payment = world.invoice(nodes[2], 5_000_000)

    def spoil(sender: Node, receiver: Node, msg: msgs.Message) -> bool:
        if isinstance(msg, msgs.UpdateAddHtlc) and sender is nodes[1]:
            bad = replace(msg, onion_routing_packet=b"\x01" + msg.onion_routing_packet[1:])
            receiver.inbox.append((sender.node_id, msgs.encode_message(bad)))
            return False
        return True

    world.filter = spoil
    world.send(payment, nodes[0], world.route([world.path(nodes, 5_000_000)], nodes[2]))
    world.settle()
    failed = nodes[0].one_event(ev.PaymentFailed)
    assert failed.attempts[0].hop_index == 0
    assert failed.attempts[0].failure_code == 0xC004
