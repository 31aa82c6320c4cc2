"""A peer that breaks BOLT 2, channel establishment: what is refused, what is ignored, and what it can pile up.

Terms that no receiver takes are in `test_life` (offers and acceptances that are refused).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.functional.bad_peer import BAD_SIGNATURE
from tests.functional.joined import Node, World, config
from wallet.bitcoin.tx import Txid
from wallet.ln import events as ev
from wallet.ln import manager_opening, msgs
from wallet.ln.channel_details import ChannelState
from wallet.ln.config import ChannelHandshakeLimits, UserConfig
from wallet.ln.events import ClosureKind
from wallet.ln.types import APIError, ChannelId, DecodeError

NOBODY = ChannelId(b"\x07" * 32)


def strangers(world: World, settings: UserConfig | None = None) -> tuple[Node, Node]:
    """Alice, whom we watch, and Bob, who will misbehave; they are connected."""
    alice, bob = world.node("alice", settings or config()), world.node("bob", config())
    world.connect(alice, bob)
    return alice, bob


def offer(world: World, alice: Node, bob: Node) -> msgs.OpenChannel:
    """An open_channel of Bob's as it should be; Alice has not heard of it."""
    caught: list[msgs.OpenChannel] = []

    def catch(sender: Node, _receiver: Node, msg: msgs.Message) -> bool:
        if isinstance(msg, msgs.OpenChannel) and sender is bob:
            caught.append(msg)
            return False
        return True

    world.filter = catch
    bob.manager.create_channel(alice.node_id, 1_000_000, 0, 1)
    world.settle()
    return caught[0]


def tell(world: World, alice: Node, bob: Node, *messages: msgs.Message) -> list[msgs.Message]:
    """As if Bob had said these, who is deaf and dumb from now on. Answers with what Alice answers."""
    world.filter = lambda _sender, _receiver, _msg: False
    said = len(alice.sent)
    for msg in messages:
        alice.inbox.append((bob.node_id, msgs.encode_message(msg)))
    world.settle()
    return [msg for _, msg in alice.sent[said:]]


def refusals(answers: list[msgs.Message]) -> list[tuple[bytes, str]]:
    return [(msg.channel_id, msg.text) for msg in answers if isinstance(msg, msgs.Error)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channel_type": b"\x01\x00\x00\x10\x00"}, "channel_type"),
        ({"channel_type": b""}, "channel_type"),
        ({"channel_type": b"\xff" * 9_000}, "channel_type"),
        ({"channel_type": b"\x04\x00\x00\x00\x00\x10\x00", "channel_flags": 0}, "do not offer"),
        ({"channel_flags": 1}, "private"),
        ({"funding_sat": 2**63}, "up to"),
        ({"push_msat": 2**63}, "push_msat"),
        ({"max_htlc_value_in_flight_msat": 0}, "in_flight"),
    ],
    ids=["type", "no_type", "huge_type", "zeroconf", "public", "huge", "huge_push", "nothing_in_flight"],
)
def test_more_offers_that_are_refused(world: World, changes: dict[str, Any], words: str) -> None:
    """BOLT 2, open_channel, receiver: each is answered by an error that names the opening, and forgotten."""
    alice, bob = strangers(world)
    msg = offer(world, alice, bob)
    answers = tell(world, alice, bob, replace(msg, **changes))
    ((channel_id, text),) = refusals(answers)
    assert channel_id == msg.temporary_channel_id
    assert words in text
    assert not alice.manager.list_channels()


def test_undefined_channel_flags_are_ignored(world: World) -> None:
    """BOLT 2, open_channel, receiver."""
    alice, bob = strangers(world)
    msg = replace(offer(world, alice, bob), channel_flags=0xFE)
    assert [type(answer) for answer in tell(world, alice, bob, msg)] == [msgs.AcceptChannel]
    world.disconnect(alice, bob)
    assert alice.one_event(ev.ChannelClosed).reason.kind is ClosureKind.DISCONNECTED_BEFORE_FUNDING
    bob.take_events()


@pytest.mark.parametrize("field", range(6))
def test_points_that_are_none_end_the_connection(world: World, field: int) -> None:
    """BOLT 2, open_channel and accept_channel, receiver: they are found out as the message is read."""
    alice, bob = strangers(world)
    for msg in (offer(world, alice, bob), _acceptance()):
        raw = msgs.encode_message(msg)
        # Behind the six points stands one byte of flags in open_channel, and nothing in accept_channel.
        length = 2 + (319 if isinstance(msg, msgs.OpenChannel) else 270)
        end = length - isinstance(msg, msgs.OpenChannel) - 33 * field
        bad = raw[: end - 33] + b"\x05" * 33 + raw[end:]
        with pytest.raises(DecodeError, match="point"):
            msgs.decode_message(bad)
    world.disconnect(alice, bob)
    bob.take_events()


def _acceptance() -> msgs.AcceptChannel:
    point = b"\x02" + bytes(31) + b"\x01"
    return msgs.AcceptChannel(
        temporary_channel_id=NOBODY,
        dust_limit_sat=354,
        max_htlc_value_in_flight_msat=1_000_000_000,
        channel_reserve_sat=10_000,
        htlc_minimum_msat=1,
        minimum_depth_blocks=3,
        to_self_delay_blocks=144,
        max_accepted_htlcs=30,
        funding_pubkey=point,
        revocation_basepoint=point,
        payment_basepoint=point,
        delayed_payment_basepoint=point,
        htlc_basepoint=point,
        first_per_commitment_point=point,
    )


@pytest.mark.parametrize(
    "msg",
    [
        _acceptance(),
        msgs.FundingCreated(
            temporary_channel_id=NOBODY,
            funding_txid=Txid(bytes(32)),
            funding_output_index=0,
            signature=BAD_SIGNATURE,
        ),
        msgs.FundingSigned(channel_id=NOBODY, signature=BAD_SIGNATURE),
        msgs.ChannelReady(channel_id=NOBODY, second_per_commitment_point=b"\x02" + bytes(31) + b"\x01"),
        msgs.Shutdown(channel_id=NOBODY, script_pubkey=b"\x00\x14" + bytes(20)),
    ],
    ids=lambda msg: type(msg).__name__,
)
def test_a_step_of_an_opening_that_is_not_there(world: World, msg: msgs.Message) -> None:
    """BOLT 2: an error names what the peer named; nothing begins by it."""
    alice, bob = strangers(world)
    ((channel_id, _),) = refusals(tell(world, alice, bob, msg))
    assert channel_id == NOBODY
    assert not alice.manager.list_channels()
    assert not alice.take_events()


def test_a_funding_before_the_acceptance(world: World) -> None:
    """The person has not answered yet: what would skip the question ends the opening."""
    alice, bob = strangers(world, config(manual=True))
    msg = offer(world, alice, bob)
    tell(world, alice, bob, msg)
    request = alice.one_event(ev.OpenChannelRequest)
    answers = tell(
        world,
        alice,
        bob,
        msgs.FundingCreated(
            temporary_channel_id=msg.temporary_channel_id,
            funding_txid=Txid(b"\x01" * 32),
            funding_output_index=0,
            signature=BAD_SIGNATURE,
        ),
    )
    assert "none was due" in refusals(answers)[0][1]
    assert alice.one_event(ev.ChannelClosed).channel_id == msg.temporary_channel_id
    with pytest.raises(APIError):
        alice.manager.accept_inbound_channel(request.temporary_channel_id, bob.node_id, 1)


def test_an_acceptance_comes_once(world: World) -> None:
    alice, bob = strangers(world)
    accepted: list[msgs.AcceptChannel] = []

    def watch(_sender: Node, _receiver: Node, msg: msgs.Message) -> bool:
        if isinstance(msg, msgs.AcceptChannel):
            accepted.append(msg)
        return True

    world.filter = watch
    alice.manager.create_channel(bob.node_id, 1_000_000, 0, 1)
    world.settle()
    alice.one_event(ev.FundingGenerationReady)
    answers = tell(world, alice, bob, accepted[0])
    assert "none was due" in refusals(answers)[0][1]
    assert alice.one_event(ev.ChannelClosed).reason.kind is ClosureKind.PROCESSING_ERROR
    bob.take_events()


def test_an_acceptance_of_zero_conf_that_asks_for_confirmations(world: World) -> None:
    """BOLT 2, accept_channel, sender: what we trusted ourselves to do without is not asked of us then."""
    alice, bob = strangers(world)
    seen: list[msgs.OpenChannel] = []

    def watch(sender: Node, receiver: Node, msg: msgs.Message) -> bool:
        if isinstance(msg, msgs.OpenChannel):
            seen.append(msg)
            return False
        return True

    world.filter = watch
    limits = ChannelHandshakeLimits(max_minimum_depth_blocks=2)
    alice.manager.create_channel(
        bob.node_id, 1_000_000, 0, 1, replace(config(), channel_handshake_limits=limits)
    )
    world.settle()
    acceptance = replace(
        _acceptance(),
        temporary_channel_id=seen[0].temporary_channel_id,
        channel_type=seen[0].channel_type,
        minimum_depth_blocks=3,
    )
    ((_, text),) = refusals(tell(world, alice, bob, acceptance))
    assert "3 confirmations" in text
    assert alice.one_event(ev.ChannelClosed).reason.kind is ClosureKind.PROCESSING_ERROR


# --- what piles up ------------------------------------------------------------------------


@pytest.mark.parametrize("manual", [False, True])
def test_the_same_temporary_id_asks_once(world: World, manual: bool) -> None:
    """Otherwise the person could be asked without end, over one opening."""
    alice, bob = strangers(world, config(manual=manual))
    msg = offer(world, alice, bob)
    answers = tell(world, alice, bob, *[replace(msg, funding_sat=500_000 + number) for number in range(50)])
    assert sum(isinstance(answer, msgs.AcceptChannel) for answer in answers) == (not manual)
    assert [channel_id for channel_id, _ in refusals(answers)] == [msg.temporary_channel_id] * 49
    assert len(alice.events_of(ev.OpenChannelRequest)) == manual
    (details,) = alice.manager.list_channels()
    assert details.channel_value_sat == 500_000
    # BOLT 2, open_channel, receiver: over a new connection, it begins anew.
    world.disconnect(alice, bob)
    alice.one_event(ev.ChannelClosed)
    bob.take_events()
    world.connect(alice, bob)
    answers = tell(world, alice, bob, msg)
    assert [type(answer) for answer in answers] == ([] if manual else [msgs.AcceptChannel])
    assert len(alice.events_of(ev.OpenChannelRequest)) == manual
    world.disconnect(alice, bob)
    alice.take_events()


@pytest.mark.parametrize("manual", [False, True])
def test_a_peer_has_only_so_many_openings_at_a_time(world: World, manual: bool) -> None:
    alice, bob = strangers(world, config(manual=manual))
    msg = offer(world, alice, bob)
    most = manager_opening.MAX_UNFUNDED_CHANNELS_PER_PEER
    ids = [ChannelId(bytes([number]) * 32) for number in range(1, 60)]
    signers = len(alice.keys._signers)
    answers = tell(world, alice, bob, *[replace(msg, temporary_channel_id=each) for each in ids])
    assert [channel_id for channel_id, _ in refusals(answers)] == ids[most:]
    assert len(alice.manager.list_channels()) == most
    assert len(alice.events_of(ev.OpenChannelRequest)) == (most if manual else 0)
    # What comes to nothing is gone, its keys too.
    world.disconnect(alice, bob)
    assert len(alice.events_of(ev.ChannelClosed)) == most
    assert not alice.manager.list_channels()
    assert len(alice.keys._signers) == signers
    bob.take_events()


def test_fundings_that_never_confirm_count_over_a_new_connection(world: World) -> None:
    """A peer that funds nothing: each channel would be watched for two weeks."""
    alice, bob = strangers(world)
    most = manager_opening.MAX_UNFUNDED_CHANNELS_PER_PEER
    for _ in range(most):
        world.open_channel(bob, alice, 100_000, confirm=False)
        world.disconnect(alice, bob)
        world.connect(alice, bob)
    msg = offer(world, alice, bob)
    ((_, text),) = refusals(tell(world, alice, bob, msg))
    assert "Too many channels of yours" in text
    world.filter = None
    world.disconnect(alice, bob)
    bob.take_events()
    world.connect(alice, bob)
    world.mine(6)
    assert len(alice.events_of(ev.ChannelReadyEvent)) == most
    bob.take_events()
    world.open_channel(bob, alice, 100_000)


@pytest.mark.parametrize("manual", [False, True])
def test_an_opening_that_never_proceeds_is_given_up(world: World, manual: bool) -> None:
    alice, bob = strangers(world, config(manual=manual))
    msg = offer(world, alice, bob)
    tell(world, alice, bob, msg)
    alice.events_of(ev.OpenChannelRequest)
    world.tick(manager_opening.UNFUNDED_AGE_LIMIT_TICKS)
    (details,) = alice.manager.list_channels()
    assert details.state in (ChannelState.NEGOTIATING, ChannelState.AWAITING_FUNDING)
    said = len(alice.sent)
    world.tick()
    assert not alice.manager.list_channels()
    assert "took too long" in alice.one_event(ev.ChannelClosed).reason.message
    assert [type(msg) for _, msg in alice.sent[said:]] == [msgs.Error]
    assert not alice.manager._unfunded_ticks
    bob.take_events()


def test_our_own_opening_that_nobody_answers_is_given_up(world: World) -> None:
    alice, bob = strangers(world)
    tell(world, alice, bob)
    alice.manager.create_channel(bob.node_id, 1_000_000, 0, 1)
    world.settle()
    world.tick(manager_opening.UNFUNDED_AGE_LIMIT_TICKS + 1)
    closed = alice.one_event(ev.ChannelClosed)
    assert closed.is_outbound
    assert not closed.was_funded
    bob.take_events()


def test_who_opened_a_channel_that_closed_is_told(world: World) -> None:
    """The books keep what we opened, and what was funded; not what strangers offered."""
    alice, bob = strangers(world)
    msg = offer(world, alice, bob)
    tell(world, alice, bob, msg)
    world.disconnect(alice, bob)
    assert not alice.one_event(ev.ChannelClosed).is_outbound
    assert bob.one_event(ev.ChannelClosed).is_outbound
    bob.take_events()


def test_what_was_pushed_is_no_money_before_the_funding_is_deep(world: World) -> None:
    """BOLT 2, open_channel, receiver: no payment leaves over it, nothing is usable."""
    alice, bob = strangers(world)
    channel_id = world.open_channel(bob, alice, 1_000_000, 500_000_000, confirm=False)
    details = alice.channel(bob)
    assert not details.is_usable
    assert not alice.manager.list_usable_channels()
    world.mine(6)
    for node in (alice, bob):
        assert node.one_event(ev.ChannelReadyEvent).channel_id == channel_id
    assert alice.channel(bob).is_usable
