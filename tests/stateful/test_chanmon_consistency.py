"""Inputs of `chanmon_consistency`: some by hand, one for each thing that has to be reached, and hypothesis's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stateful.chanmon_consistency import COMMANDS, Harness, Violation, main, run
from wallet.ln.types import ChannelId

ANCHORS = 0x08

# All of a payment from Alice to Carol, message by message; 0x1f and 0x27 are the events of Bob and of Carol, of which
# one makes a payment claimable, and the next one claims it.
FORWARD = "34 11 19 11 19 1f 19 21 19 21 27 27 21 19 21 1f 19 11 19 11 17"

# From here on, copies of Bob are late.
LAG = "01 b4 0e 0f"

BY_HAND = {
    "a forward": f"{FORWARD} ff",
    "all amounts": "30 31 32 33 38 39 48 49 50 51 58 60 68 ff 34 35 4c 4d 54 55 ff",
    "parts": "70 71 72 73 74 11 19 1f 21 27 27 ff",
    "a refused payment": "34 11 19 11 19 1f 19 21 19 21 27 26 21 19 ff",
    "a corrupted onion": "34 11 19 11 19 1f 18 21 19 21 27 27 ff",
    "kills within a forward, newest state": "34 b1 0e 11 19 b4 0e 0f 1f 19 be 0f 21 19 27 27 bd 0f ff",
    "kills within a forward, oldest state": "34 11 19 b5 0e 0f 11 19 11 1f 19 be 0f ff",
    "a slow disk": "34 90 11 19 1f 91 19 21 b8 0e 0f 27 27 92 21 b1 0e ff",
    "cut within a message": "34 13 0c 0e 11 19 12 0c 0e ff 31 1b 0c 0e 1b 15 0c 0e ff",
    "cut between update and commitment": "30 31 13 1b 0c 0e 11 19 13 0c 0e 1b ff",
    "cut between fulfilment and commitment": "30 11 19 11 19 1f 1f 1b 0c 0e 11 1b ff",
    "killed between fulfilment and commitment": "30 11 19 11 19 1f 1f 1b b4 0e 0f 11 1b ff",
    "both at once": "30 31 11 19 11 19 32 33 19 21 19 21 ff",
    "lagging copies": "00 01 02 b1 b4 bd 0e 0f ff 34 13 13 f0 11 19 f4 f5 1b f6 19 f8 1f f9 19 fc 21 fe 27 27 ff",
    "a kill while a copy lags": "01 b4 0e 0f 34 11 19 f4 b5 0e 0f 11 19 09 b3 0e 0f 0a 0b ff",
    "copies done last first": "00 b0 0e 30 30 31 11 f2 19 f2 11 f1 19 f1 08 ff",
    "copies of the far link only": (
        f"{LAG}{6 * ' 11 08 19 09 0a 21 0b'} 34{8 * ' 11 08 19 09 0a 1f 21 0b'} 27 27{8 * ' 21 0b 0a 19 1f'} ff"
    ),
    "parts whose copies come one by one": (
        f"{LAG}{6 * ' 11 08 19 09 0a 21 0b'} 70{8 * ' 11 08 19 09 1f'} 1f{8 * ' f4 19 11 08'} ff"
    ),
    "fee rates": "30 11 80 13 1b 85 80 80 ff 80 11 19 b1 0e ff",
    "alice closes": "e1 d6 d9 ff",
    "bob closes while payments run beside it": "30 11 e2 34 0d 0f 19 21 d7 da ff ff",
    "bob is killed as he closes": "e3 b4 0e 0f d7 db ff",
    "a close that nobody heard of": "0c e1 b1 d6 d9 0e ff",
    "both links closed, and on": "e3 e4 d7 d8 de ff 30 33 ff",
    "blocks": "30 11 e0 ff df a8 a9 ac ff",
    "what rust-lightning's splices and signers would do": "a0 a7 c0 d5 30 ff",
}


@pytest.mark.parametrize("config", [0, ANCHORS, 0x07, ANCHORS | 0x07, 0xE0, ANCHORS | 0xE7])
@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str, config: int) -> None:
    run(bytes((config,)) + bytes.fromhex(BY_HAND[name]))


def inputs() -> st.SearchStrategy[bytes]:
    """Mostly what makes payments and messages go on; the rest as it comes."""
    often = [*range(0x10, 0x28), 0x17, 0x1F, 0x27, 0x11, 0x19, 0x21, *range(0x30, 0x40), 0x70, 0x72]
    byte = st.one_of(st.sampled_from(often), st.sampled_from(sorted(COMMANDS)))
    return st.builds(
        lambda config, commands: bytes((config, *commands, 0xFF)),
        st.integers(0, 255),
        st.lists(byte, max_size=60),
    )


@settings(max_examples=60)
@given(inputs())
def test_whatever_happens(data: bytes) -> None:
    run(data)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=5_000)
@given(inputs())
def test_whatever_happens_for_long(data: bytes) -> None:
    run(data)


def test_a_violation_names_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def close_unasked(h: Harness) -> None:
        node, channel_id = h.nodes[0], h.links[0].channel_ids[1]
        with node.entry():
            node.manager.force_close_broadcasting_latest_txn(channel_id, h.nodes[1].node_id)

    monkeypatch.setitem(COMMANDS, 0xA0, ("a hidden hand", close_unasked))
    file = tmp_path / "input"
    file.write_bytes(bytes((ANCHORS, 0x30, 0xA0, 0x11, 0x17)))
    assert main([str(file)]) == 1
    out = capsys.readouterr().out
    assert "command 3 0x11" in out
    assert "1 inputs, 1 at fault" in out
    file.write_bytes(bytes((ANCHORS, 0x30, 0xFF)))
    assert main([str(file)]) == 0


def test_a_close_brings_home_what_is_ours() -> None:
    harness = Harness(ANCHORS)
    channel_id: ChannelId = harness.links[0].channel_ids[0]
    harness.force_close(0, 0)
    harness.settle()
    assert list(harness.closes.asked) == [channel_id]
    assert sum(harness.told_spendable.values()) > 98_000


def test_bytes_that_are_no_command_end_the_run() -> None:
    assert 0x03 not in COMMANDS
    run(bytes((0, 0x03, 0x30, 0xFF)))
    with pytest.raises(Violation):
        run(bytes((0, 0xFF)), log=_refuse)


def _refuse(text: str) -> None:
    if "settle" in text:
        raise AssertionError(text)
