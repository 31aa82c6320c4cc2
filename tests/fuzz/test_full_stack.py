"""A whole node against raw peers, a companion that is spoilt, blocks and reorganisations.

Nothing breaks, and nothing is lost.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.fuzz import decode, full_stack
from tests.fuzz.full_stack import play
from tests.fuzz.rows import PLAIN_SPACES, SPACES
from tests.unit.ln.test_msgs import SAMPLES
from wallet.ln.channel_details import ChannelState
from wallet.ln.msgs import encode_message
from wallet.node.records import PaymentState, RequestState

EXAMPLES = 10
EFFORT = int(os.environ.get("LEYDEN_FUZZ_EFFORT", "1"))
"""So many times as many examples, for a search by hand."""

OPEN_A_CHANNEL = bytes.fromhex("06 10 03e8 08 00 20 06 08 00")
OPENED_TO_US = bytes.fromhex("06 11 07d0 08 00 20 06 08 00")
PAID_BOTH_WAYS = bytes.fromhex("12 01000000 08 00 13 00100000 08 00")
HELD_BOTH_WAYS = bytes.fromhex("18 02000000 08 00 1b 00200000 08 00")


def _u8(low: int = 0, high: int = 255) -> st.SearchStrategy[bytes]:
    return st.integers(low, high).map(lambda number: bytes((number,)))


def _sized(data: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return data.map(lambda raw: len(raw).to_bytes(2, "big") + raw)


def _command(code: int, *arguments: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.tuples(st.just(bytes((code,))), *arguments).map(b"".join)


_MESSAGES = st.one_of(
    st.sampled_from([encode_message(message) for message in SAMPLES]),
    st.tuples(
        st.sampled_from([message.MESSAGE_TYPE.to_bytes(2, "big") for message in SAMPLES]),
        st.binary(max_size=150),
    ).map(b"".join),
)
_VALUE = st.integers(20, 5_000).map(lambda value: value.to_bytes(2, "big"))
_MSAT = st.one_of(st.integers(1, 2_000_000), st.integers(1, 1_500_000_000)).map(
    lambda msat: msat.to_bytes(4, "big")
)

HONEST = st.one_of(
    _command(0x06),
    _command(0x07),
    _command(0x08, _u8(0, 6)),
    _command(0x08, _u8(0, 0)),
    _command(0x10, _VALUE),
    _command(0x11, _VALUE),
    _command(0x12, _MSAT),
    _command(0x13, _MSAT),
    _command(0x18, _MSAT),
    _command(0x1B, _MSAT),
    *(_command(code) for code in (0x19, 0x1A, 0x1C, 0x1D, 0x25, 0x26, 0x30, 0x31, 0x32, 0x33)),
    _command(0x20, _u8(0, 7)),
    _command(0x22, _u8(1, 5)),
    *(_command(code) for code in (0x38, 0x39, 0x3A, 0x3B)),
)
ROUGH = st.one_of(
    _command(0x00),
    _command(0x01, _u8(0, 3)),
    _command(0x02, _u8(0, 3)),
    _command(0x03, _u8(0, 3), _sized(st.binary(max_size=90))),
    _command(0x04, _u8(0, 3), _sized(_MESSAGES)),
    _command(0x05, _u8(0, 3)),
    _command(0x09, st.binary(min_size=2, max_size=2), _u8(1, 255)),
    _command(0x0A),
    _command(0x0B),
    _command(0x0C, _sized(_MESSAGES)),
    *(_command(code) for code in (0x14, 0x15, 0x16, 0x17)),
    _command(0x21, _u8(0, 40)),
    _command(0x20, _u8(0, 200)),
    _command(0x23, _u8(0, 5)),
    _command(0x24, _sized(st.binary(max_size=60))),
    _command(0x40, st.binary(min_size=2, max_size=2)),
    _command(0x50, _sized(st.text(max_size=30).map(lambda text: text.encode()))),
)
START = st.sampled_from(
    [
        b"",
        OPEN_A_CHANNEL,
        OPENED_TO_US + OPEN_A_CHANNEL,
        OPEN_A_CHANNEL + PAID_BOTH_WAYS + HELD_BOTH_WAYS,
        OPEN_A_CHANNEL + PAID_BOTH_WAYS + HELD_BOTH_WAYS,
    ]
)
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


@settings(max_examples=EXAMPLES * EFFORT, suppress_health_check=CHECKS)
@given(START, st.lists(HONEST, max_size=25).map(b"".join))
@pytest.mark.timeout(300)
def test_among_honest_nodes_no_channel_closes_and_nothing_is_lost(start: bytes, rest: bytes) -> None:
    note((start + rest).hex())
    play(start + rest)


@settings(max_examples=EXAMPLES * EFFORT, suppress_health_check=CHECKS)
@given(START, st.lists(st.one_of(HONEST, ROUGH, ROUGH), max_size=25).map(b"".join))
@pytest.mark.timeout(300)
def test_whatever_peers_and_blocks_do_nothing_is_lost(start: bytes, rest: bytes) -> None:
    note((start + rest).hex())
    play(start + rest)


@settings(max_examples=5 * EFFORT, suppress_health_check=CHECKS)
@given(st.binary(max_size=300))
@pytest.mark.timeout(300)
def test_noise_is_no_danger(raw: bytes) -> None:
    play(raw)


# --- the harness itself: it reaches what it is meant to reach, and sees what it is meant to see --------------


def test_the_commands_do_what_they_say() -> None:
    world = play(OPEN_A_CHANNEL + PAID_BOTH_WAYS)
    node = world.us.node
    assert [record.state for record in node.ledger.payments.values()] == [PaymentState.SUCCEEDED]
    assert [record.state for record in node.ledger.requests.values()] == [RequestState.PAID]
    assert [record.was_funded for record in node.ledger.closed.values()] == [True]


def test_payments_wait_over_a_restart_and_a_slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[list[int]] = []

    def look(world: full_stack.FullStack) -> None:
        states.append([len(item.pending_htlcs) for item in world.us.channels()])

    monkeypatch.setattr(full_stack.FullStack, "finish", look)
    world = play(
        OPEN_A_CHANNEL + PAID_BOTH_WAYS + HELD_BOTH_WAYS + bytes.fromhex("3a 08 00 38 06 08 00 39 06 08 00")
    )
    assert states == [[2]]
    assert [item.state for item in world.us.channels()] == [ChannelState.OPEN]


def test_every_row_of_a_node_that_ran_has_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that `decode` leaves none out; and what stands in the rows is what their targets accept."""
    seen: set[str] = set()
    check = full_stack.FullStack.check

    def look(world: full_stack.FullStack) -> None:
        check(world)
        for member in (world.us, world.companion):
            for (space, _key), value in member.store.committed.items():
                seen.add(space)
                targets = [f"row_{name}" for name in SPACES.get(space, {})]
                targets += ["row_event"] if space == "event" else []
                assert targets or space in PLAIN_SPACES, f"{space} has no target"
                assert not targets or any(decode.feed(target, value) for target in targets), space

    monkeypatch.setattr(full_stack.FullStack, "check", look)
    play(
        OPEN_A_CHANNEL
        + PAID_BOTH_WAYS
        + HELD_BOTH_WAYS
        + bytes.fromhex("15 20 06 32 20 ff 20 ff 20 ff 20 ff 20 ff")
    )
    assert {"channel", "channel_htlc", "monitor", "node_payment", "onchain_tx", "sweep", "revoked"} <= seen


def test_a_loss_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our claims are kept from leaving: then the money stays behind, and the harness says so."""
    monkeypatch.setattr("wallet.ln.sweep.OutputSweeper.track_spendable_outputs", lambda *args, **kwargs: None)
    with pytest.raises(full_stack.LossError, match="are left of"):
        play(OPEN_A_CHANNEL)


def test_an_exception_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("wallet.node.views.Views.publish_soon", broken)
    with pytest.raises((KeyError, full_stack.LossError)):
        play(OPEN_A_CHANNEL)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "input"
    path.write_bytes(bytes.fromhex("01 00 05 00 04 00 0002 ffff"))
    assert full_stack.main([str(path)]) == 0
    assert capsys.readouterr().out.endswith("held\n")
    assert full_stack.main([]) == 2
    assert full_stack.main([str(tmp_path / "missing")]) == 2
